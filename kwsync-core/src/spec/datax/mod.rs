//! Jobs of DataX: a file of JSON with a reader, a writer and settings, as the tool and KaiwuDB's plugins for it take it.
//!
//! [`read`] turns a job into specs: one for each content, and for each connection and query within it, to be run one
//! after the other. Everything that a job may say is either carried over, refused with its place, or listed in the notes.

mod jdbc;
mod plugin;
mod reader;
mod stores;
mod summary;
mod template;
#[cfg(test)]
mod tests;
mod writer;

pub use summary::Summary;
pub use template::template;

use super::document::{self, Faults, Fields, Node, Wrong};
use super::{NameColumns, PipelineSpec, Translation};
use crate::config::Dsn;
use crate::{Budget, Error, ErrorKind, ErrorPolicy, Result};

/// The specs of the job `text`, which is called `name` in errors.
///
/// Comments and commas behind a last value are fine. Rows that cannot be loaded are counted and left out, as the tool
/// does it, within the limits of `errorLimit`.
///
/// # Errors
/// `Config` with all faults at once, each with its code, path and place; `Unsupported` for what is understood, but has no
/// counterpart here.
///
/// # Examples
/// ```
/// use kwsync_core::spec::datax;
///
/// let job = r#"{"job": {"content": [{
///     "reader": {"name": "mysqlreader", "parameter": {
///         "username": "me", "password": "secret", "column": ["ts", "1 as id"],
///         "connection": [{"table": ["cpu"], "jdbcUrl": ["jdbc:mysql://h:3306/db"]}]}},
///     "writer": {"name": "kaiwudbwriter", "parameter": {
///         "username": "me", "password": "secret", "jdbcUrl": "jdbc:kaiwudb://k:26257/tsdb",
///         "table": "cpu", "column": ["k_timestamp", "id"]}}
/// }], "setting": {"speed": {"channel": 2}}}}"#;
/// let spec = datax::read("job.json", job)?.specs.remove(0);
/// assert_eq!(spec.to.dsn()?.to_string(), "kwdb://me:***@k:26257/tsdb?table=cpu&mode=insert&create=never");
/// assert_eq!((spec.jobs, spec.transforms[0].to_string()), (2, "name-columns:k_timestamp,id".to_owned()));
///
/// let error = datax::read("job.json", &job.replace("\"table\": \"cpu\"", "\"tabel\": \"cpu\"")).unwrap_err();
/// assert!(error.to_string().starts_with("KaiwuDBWriter-00: Invalid configuration: unknown key"), "{error}");
/// # Ok::<(), kwsync_core::Error>(())
/// ```
pub fn read(name: &str, text: &str) -> Result<Translation> {
    let root = document::parse_json(name, text)
        .map_err(|error| error.context(heading(Wrong::Form).trim_end_matches(": ")))?;
    let faults = Faults::default();
    let mut notes = Vec::new();
    let specs = Fields::of(&root, "", &faults).map(|root| job(root, &mut notes)).unwrap_or_default();
    faults.finish(heading)?;
    if specs.is_empty() {
        return Err(Error::config(format!("{}the job has no content", heading(Wrong::Missing))));
    }
    Ok(Translation { specs, notes })
}

/// The text of a job in which every `${name}` stands for its value; the values of others come from the environment, when an
/// address is expanded.
///
/// # Examples
/// ```
/// use kwsync_core::spec::datax;
///
/// let values = [("day".to_owned(), "2024-05-01".to_owned())];
/// assert_eq!(datax::substitute(r#"{"where": "d = '${day}' and ${x}"}"#, &values), r#"{"where": "d = '2024-05-01' and ${x}"}"#);
/// ```
pub fn substitute(text: &str, values: &[(String, String)]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        out.push_str(before);
        let found = after.split_once('}').and_then(|(name, behind)| {
            values.iter().find(|(known, _)| known == name).map(|(_, value)| (value, behind))
        });
        match found {
            Some((value, behind)) => {
                // Most stand within text.
                let quoted = serde_json::Value::from(value.as_str()).to_string();
                out.push_str(quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default());
                rest = behind;
            }
            None => {
                out.push_str("${");
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

/// The code and the text that KaiwuDB's plugin has for errors of this kind: `KaiwuDBWriter-03: Runtime exception`.
pub fn code(kind: ErrorKind) -> &'static str {
    match kind.datax_code() {
        "00" => "KaiwuDBWriter-00: Invalid configuration",
        "01" => "KaiwuDBWriter-01: Missing required value",
        "02" => "KaiwuDBWriter-02: Invalid value",
        "04" => "KaiwuDBWriter-04: DataX data type cannot be mapped to KWDB data type",
        "05" => "KaiwuDBWriter-05: Feature not supported",
        _ => "KaiwuDBWriter-03: Runtime exception",
    }
}

fn heading(wrong: Wrong) -> &'static str {
    match wrong {
        Wrong::Form => "KaiwuDBWriter-00: Invalid configuration: ",
        Wrong::Missing => "KaiwuDBWriter-01: Missing required value: ",
        Wrong::Value => "KaiwuDBWriter-02: Invalid value: ",
        Wrong::Unsupported => "KaiwuDBWriter-05: Feature not supported: ",
    }
}

/// How a whole job runs.
#[derive(Default)]
struct Setting {
    channel: Option<usize>,
    byte: Option<u64>,
    record: Option<u64>,
    budget: Budget,
}

fn job(root: Fields<'_>, notes: &mut Vec<String>) -> Vec<PipelineSpec> {
    if root.get("core").is_some() {
        notes.push("`core` is ignored: it tunes the tool's own engine".to_owned());
    }
    let Some(job) = root.object("job") else {
        root.missing_unless_there("job", "the job: {\"content\": [...], \"setting\": {...}}");
        root.finish();
        return Vec::new();
    };
    root.finish();
    let setting = job.object("setting").map(|fields| read_setting(fields, notes)).unwrap_or_default();
    let contents = job.items("content");
    if contents.is_empty() {
        job.missing("content", "a list of {\"reader\": ..., \"writer\": ...}");
    }
    for key in ["entry", "container"] {
        if job.get(key).is_some() {
            notes.push(format!("`{}` is ignored: it tunes the tool's own engine", job.path(key)));
        }
    }
    let faults = job.faults();
    let several = contents.len() > 1;
    job.finish();
    let mut specs = Vec::new();
    for (at, (path, node)) in contents.into_iter().enumerate() {
        let first_note = notes.len();
        specs.extend(content(path, node, faults, &setting, notes));
        if several {
            notes.iter_mut().skip(first_note).for_each(|note| *note = format!("content {}: {note}", at + 1));
        }
    }
    specs
}

fn read_setting(setting: Fields<'_>, notes: &mut Vec<String>) -> Setting {
    let mut read = Setting::default();
    if let Some(speed) = setting.object("speed") {
        read.channel = speed.whole("channel", 1..=1_024, true);
        let limit = |key: &'static str| {
            speed
                .parsed(key, "a whole number, or -1 for no limit", |text| {
                    text.parse::<i64>().ok().filter(|number| *number == -1 || *number > 0)
                })
                .and_then(|number| u64::try_from(number).ok())
        };
        (read.byte, read.record) = (limit("byte"), limit("record"));
        speed.finish();
    }
    if let Some(limit) = setting.object("errorLimit") {
        let record = limit.whole("record", 0..=u64::MAX, false);
        let share = limit.parsed("percentage", "a share from 0 to 1, as 0.02 for 2 %", |text| {
            text.parse::<f64>().ok().filter(|share| (0.0..=1.0).contains(share))
        });
        read.budget = match (record, share) {
            (Some(count), share) => {
                if share.is_some() {
                    notes.push("`errorLimit.percentage` is ignored: `errorLimit.record` wins".to_owned());
                }
                Budget::Count(count)
            }
            // As it was written: 0.029 is 2.9 %, not a little more.
            (None, Some(share)) => Budget::Percent((share * 1e12).round() / 1e10),
            (None, None) => Budget::Unlimited,
        };
        limit.finish();
    }
    for key in ["keyVersion", "restore", "log"] {
        if setting.get(key).is_some() {
            notes.push(format!("`{}` is ignored: it has no counterpart here", setting.path(key)));
        }
    }
    setting.finish();
    read
}

/// The specs of one reader and its writer.
fn content(
    path: String,
    node: &Node,
    faults: &Faults,
    setting: &Setting,
    notes: &mut Vec<String>,
) -> Vec<PipelineSpec> {
    let Some(content) = Fields::of(node, path, faults) else { return Vec::new() };
    let plugin = |key: &'static str| match content.object(key) {
        Some(plugin) => Some(plugin),
        None => {
            content.missing_unless_there(key, "{\"name\": ..., \"parameter\": {...}}");
            None
        }
    };
    let (reader, writer) = (plugin("reader"), plugin("writer"));
    if content.get("transformer").is_some() {
        content.fault(
            "transformer",
            Wrong::Unsupported,
            format!("`{}` has no counterpart here", content.path("transformer")),
            Some("take it out, and give `kwsync job` transforms with -T (docs/transforms.md)".to_owned()),
        );
    }
    content.finish();
    let read = reader.and_then(|fields| reader::read(fields, notes));
    let written =
        writer.and_then(|fields| writer::read(fields, read.as_ref().map(|read| &read.family), notes));
    let (Some(read), Some(written)) = (read, written) else { return Vec::new() };
    let read = read.with_columns(&written.columns);
    let Some(names) = names(&read, &written, faults, notes) else { return Vec::new() };

    let last = read.sources.len().saturating_sub(1);
    let spec = |(at, source): (usize, Dsn)| {
        let mut spec = PipelineSpec::new(
            source.literal().to_string_with_secrets(),
            written.sink.clone().literal().to_string_with_secrets(),
        );
        spec.transforms.extend(names.clone().map(Into::into));
        spec.jobs = setting.channel.unwrap_or(1);
        (spec.rate_bytes, spec.rate_rows) = (setting.byte, setting.record);
        (spec.errors, spec.max_errors) = (ErrorPolicy::Skip, setting.budget);
        (spec.batch_rows, spec.batch_bytes) = (written.batch_rows, written.batch_bytes);
        // Before all rows of the content, and behind them.
        if at == 0 {
            spec.pre_sql.clone_from(&written.pre_sql);
        }
        if at == last {
            spec.post_sql.clone_from(&written.post_sql);
        }
        spec
    };
    read.sources.into_iter().enumerate().map(spec).collect()
}

/// Columns go by position. `None` after a fault; `Some(None)` where the names are the same already.
fn names(
    read: &reader::Read,
    written: &writer::Written,
    faults: &Faults,
    notes: &mut Vec<String>,
) -> Option<Option<NameColumns>> {
    let (Some(place), false) = (&written.columns_place, written.columns.is_empty()) else {
        return Some(None);
    };
    let fault = |wrong, text: String, hint: &str| {
        faults.add(place, wrong, text, Some(hint.to_owned()));
        None
    };
    let path = &written.columns_path;
    let all = |columns: &[String]| columns == ["*"];
    if all(&written.columns) {
        if read
            .columns
            .as_deref()
            .is_none_or(|columns| columns.iter().all(|column| column.as_deref() != Some("*")))
        {
            return fault(
                Wrong::Unsupported,
                format!("`{path}` is `*`, but the reader names its columns"),
                "name the columns to write, in the order of the reader's",
            );
        }
        notes.push("both sides have the column `*`: columns go by name, not by position".to_owned());
        return Some(None);
    }
    if let Some(columns) = &read.columns
        && columns.iter().all(|column| column.as_deref() != Some("*"))
    {
        if columns.len() != written.columns.len() {
            return fault(
                Wrong::Form,
                format!("{} columns are read, but `{path}` has {}", columns.len(), written.columns.len()),
                "name as many columns on both sides: they go by position",
            );
        }
        let same =
            columns.iter().zip(&written.columns).all(|(read, written)| read.as_deref() == Some(written));
        if same && !read.by_position {
            return Some(None);
        }
    }
    match NameColumns::new(written.columns.iter().cloned()) {
        Ok(names) => Some(Some(names)),
        Err(error) => {
            fault(Wrong::Value, format!("`{path}`: {}", error.message()), error.hint().unwrap_or_default())
        }
    }
}
