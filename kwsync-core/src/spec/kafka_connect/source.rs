//! From KWDB into topics.

use super::Common;
use crate::spec::document::Wrong;
use crate::spec::{PipelineSpec, time};

pub(super) fn read(common: &Common<'_>, notes: &mut Vec<String>) -> Option<PipelineSpec> {
    let fields = &common.fields;
    let before = fields.faults().len();
    let database = common.database();
    let format = common.format("out.format");
    let millis = |key: &'static str, default: u64| -> String {
        format!("{}ms", fields.whole(key, 1..=u64::from(u32::MAX), true).unwrap_or(default))
    };
    let (poll, query) = (millis("poll.interval.ms", 5_000), millis("query.interval.ms", 1_000));
    let rows: u64 = fields.whole("fetch.max.rows", 1..=1_000_000, true).unwrap_or(100);
    let begin = fields.filled("timestamp.initial").and_then(|text| {
        let normal = time::normal(text);
        if normal.is_none() {
            let message =
                format!("`timestamp.initial` takes a time such as 2024-05-01 10:00:00, and {text:?} is none");
            fields.fault("timestamp.initial", Wrong::Value, message, None);
        }
        normal.map(|(normal, _)| normal)
    });
    let method = fields.filled("read.method").unwrap_or("query");
    if method != "query" {
        let text = format!("`read.method` is query, and {method:?} is none");
        fields.fault(
            "read.method",
            Wrong::Unsupported,
            text,
            Some("it is the only one; leave the key out".to_owned()),
        );
    }
    let prefix = fields.filled("topic.prefix").map(str::to_owned);
    let delimiter = fields.filled("topic.delimiter").unwrap_or("-").to_owned();
    let per_table = fields.flag("topic.per.stable").unwrap_or(true);
    let ignore_database = fields.flag("topic.ignore.db").unwrap_or(false);
    let suffix = fields.flag("topic.format.suffix").unwrap_or(false);
    let jobs = common.tasks();
    common.converters(notes);
    common.framework(notes);
    // Rows of a database are none that could not be read.
    for key in fields.skip_prefix("errors.") {
        notes.push(format!("`{key}` is ignored: it has no counterpart here"));
    }
    if fields.faults().len() > before {
        return None;
    }
    let mut from = database?;
    let name = from.object().map(str::to_owned);
    for (key, value) in [
        ("follow", Some("true".to_owned())),
        ("begin", begin),
        ("poll_interval", Some(poll)),
        ("query_interval", Some(query)),
        ("fetch_rows", Some(rows.to_string())),
    ] {
        if value.is_some() {
            from = from.with_param(key, value);
        }
    }
    let mut to = common.worker.dsn();
    for (key, value) in [
        ("topic_prefix", prefix),
        ("topic_delimiter", Some(delimiter)),
        ("topic_database", name),
        ("topic_per_table", Some(per_table.to_string())),
        ("topic_ignore_database", Some(ignore_database.to_string())),
        ("topic_format_suffix", Some(suffix.to_string())),
        ("format", format.map(str::to_owned)),
    ] {
        if value.is_some() {
            to = to.with_param(key, value);
        }
    }
    if format == Some("line_influxdb") {
        to = to.with_param("dialect", Some("kwdb".to_owned()));
    }
    let spec =
        PipelineSpec::new(from.literal().to_string_with_secrets(), to.literal().to_string_with_secrets());
    Some(spec.with_jobs(jobs).with_job(common.name))
}
