//! The settings of a job from a file, the environment and the command line.

use super::document::{self, Entry, Faults, Fields, Node, Place, Value, Wrong};
use super::{Address, PipelineSpec, TransformSpec};
use crate::config::Expand;
use crate::{Budget, Error, ErrorPolicy, Result};

/// Every key of a spec, in the order in which they are documented, and whether its value is a list.
const KEYS: [(&str, bool); 20] = [
    ("from", false),
    ("to", false),
    ("parser", false),
    ("transforms", true),
    ("job", false),
    ("restart", false),
    ("jobs", false),
    ("errors", false),
    ("max_errors", false),
    ("batch_rows", false),
    ("batch_bytes", false),
    ("linger_ms", false),
    ("commit_rows", false),
    ("rate_rows", false),
    ("rate_bytes", false),
    ("pre_sql", true),
    ("post_sql", true),
    ("retries", false),
    ("retry_wait_ms", false),
    ("checkpoint", false),
];

/// Puts a [`PipelineSpec`] together from several places: what is set on the command line wins over a file, and a file
/// over the environment. All faults are told at once, each with its place, its path and, where a key is misspelt, the
/// nearest known one.
///
/// # Examples
/// ```
/// use kwsync_core::spec::Settings;
///
/// let file = "from: metrics.lp\nto: postgres://me@localhost/metrics\njobs: 4\ntransforms:\n  - add-tag:site=berlin\n";
/// let spec = Settings::new()
///     .with_environment([("KWSYNC_JOBS", "8"), ("KWSYNC_ERRORS", "skip")])
///     .with_file("job.yaml", file)?
///     .with_flag("to", "--to", "file:out?format=parquet")
///     .spec()?;
/// assert_eq!((spec.jobs, spec.errors.to_string(), spec.to), (4, "skip".to_owned(), "file:out?format=parquet".into()));
///
/// let error = Settings::new().with_file("job.yaml", "form: a.lp\nto: out\njobs: many\n")?.spec().unwrap_err();
/// let report = error.report();
/// assert!(report.contains("(1) unknown key `form`, did you mean `from`? (job.yaml, line 1, column 1)"), "{report}");
/// assert!(report.contains("(2) `jobs` takes a whole number from 1, and \"many\" is none (job.yaml, line 3, column 7)"));
/// # Ok::<(), kwsync_core::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Settings {
    environment: Vec<Entry>,
    file: Option<Node>,
    flags: Vec<Entry>,
}

impl std::fmt::Debug for Settings {
    /// Keys alone: values may hold secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let keys = |entries: &[Entry]| entries.iter().map(|entry| entry.key.clone()).collect::<Vec<_>>();
        f.debug_struct("Settings")
            .field("environment", &keys(&self.environment))
            .field("has_file", &self.file.is_some())
            .field("flags", &keys(&self.flags))
            .finish()
    }
}

impl Settings {
    /// Nothing but the defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the variables that are called `KWSYNC_` and the name of a key in capitals, as `KWSYNC_JOBS`. Lists have no
    /// variables. An empty value counts as not set.
    #[must_use]
    pub fn with_environment<N: AsRef<str>, V: Into<String>>(
        mut self,
        variables: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        for (name, value) in variables {
            let Some(key) = name.as_ref().strip_prefix("KWSYNC_").map(str::to_ascii_lowercase) else {
                continue;
            };
            let value = value.into();
            if !value.is_empty() && KEYS.contains(&(key.as_str(), false)) {
                self.environment.push(outside(key, &format!("variable {}", name.as_ref()), value));
            }
        }
        self
    }

    /// Takes a file: JSON if `name` ends in `.json` or the text starts with `{`, else YAML. The keys are those of
    /// [`PipelineSpec`]; `parser` may be an object, too.
    ///
    /// # Errors
    /// `Config` with line and column for a fault of syntax. All other faults are told by [`spec`](Self::spec).
    pub fn with_file(mut self, name: &str, text: &str) -> Result<Self> {
        let json = name.ends_with(".json") || text.trim_start().starts_with('{');
        self.file =
            Some(if json { document::parse_json(name, text)? } else { document::parse_yaml(name, text)? });
        Ok(self)
    }

    /// Sets one key; `flag` is what faults call it. For a list call it once for each item.
    #[must_use]
    pub fn with_flag(mut self, key: &str, flag: &str, value: impl Into<String>) -> Self {
        let entry = outside(key.to_owned(), flag, value.into());
        let list = KEYS.contains(&(key, true));
        match self.flags.iter_mut().find(|old| old.key == key) {
            Some(Entry { value: Node { value: Value::List(items), .. }, .. }) if list => {
                items.push(entry.value)
            }
            Some(old) => *old = entry,
            None if list => {
                let Entry { key, place, value } = entry;
                let value = Node { value: Value::List(vec![value]), place: place.clone() };
                self.flags.push(Entry { key, place, value });
            }
            None => self.flags.push(entry),
        }
        self
    }

    /// The spec.
    ///
    /// # Errors
    /// `Config` with every fault of every place at once.
    pub fn spec(self) -> Result<PipelineSpec> {
        let faults = Faults::default();
        let mut entries = self.environment;
        let mut place = Place::outside("the command line");
        if let Some(file) = self.file {
            place = file.place.clone();
            match file.value {
                Value::Map(own) => {
                    another_form(&own)?;
                    overlay(&mut entries, own);
                }
                _ => drop(Fields::of(&file, "", &faults)),
            }
        }
        overlay(&mut entries, self.flags);
        let root = Node { value: Value::Map(entries), place };
        let spec = Fields::of(&root, "", &faults).and_then(|fields| read(fields, &faults));
        faults.finish(|_| "")?;
        spec.ok_or_else(|| Error::config("the job is incomplete"))
    }
}

fn outside(key: String, origin: &str, value: String) -> Entry {
    let place = Place::outside(origin);
    Entry { key, value: Node::text(value, place.clone()), place }
}

fn overlay(entries: &mut Vec<Entry>, upper: Vec<Entry>) {
    entries.retain(|old| upper.iter().all(|new| new.key != old.key));
    entries.extend(upper);
}

/// Says so when the file is a job of another form.
fn another_form(entries: &[Entry]) -> Result<()> {
    let has = |key: &str| entries.iter().any(|entry| entry.key == key);
    let object = |key: &str| {
        entries.iter().any(|entry| entry.key == key && matches!(entry.value.value, Value::Map(_)))
    };
    let (what, command) = if object("job") {
        ("a job of DataX", "kwsync job FILE")
    } else if has("connector.class") || object("config") {
        ("a configuration of Kafka Connect", "kwsync connect FILE")
    } else {
        return Ok(());
    };
    Err(Error::config(format!("this is {what}")).with_hint(format!("run it with `{command}`")))
}

fn read(fields: Fields<'_>, faults: &Faults) -> Option<PipelineSpec> {
    let address = |key: &'static str, what: &str| {
        let text = fields.required(key, what)?;
        checked_address(&fields, key, text)
    };
    let from = address("from", "where data comes from (-f, --from): a file, a pattern, '-', or driver://...");
    let to = address("to", "where data goes (-t, --to): driver://...");
    let mut spec =
        PipelineSpec::new(from.unwrap_or_else(|| Address::from("")), to.unwrap_or_else(|| Address::from("")));
    spec.parser = fields.get("parser").and_then(|node| match &node.value {
        Value::Map(_) => Some(node.to_json().to_string()),
        _ => fields.filled("parser").map(str::to_owned),
    });
    if let Some(text) = spec.parser.as_deref().filter(|text| text.trim_start().starts_with('{'))
        && let Some(node) = fields.get("parser")
        && let Err(error) = document::parse_json(&node.place.to_string(), text)
    {
        let place = error.location().map(ToString::to_string).unwrap_or_default();
        let message = format!("`parser`: {} ({place})", error.message());
        faults.add(&node.place, Wrong::Value, message, error.hint().map(str::to_owned));
    }
    for (path, node) in fields.items("transforms") {
        let Some(text) = node.scalar() else {
            let text = format!("`{path}` takes a text such as `add-tag:site=berlin`");
            faults.add(&node.place, Wrong::Value, text, None);
            continue;
        };
        match text.parse::<TransformSpec>() {
            Ok(transform) => spec.transforms.push(transform),
            Err(error) => faults.add_error(&node.place, &path, &error),
        }
    }
    spec.job = fields.filled("job").map(str::to_owned);
    spec.restart = fields.flag("restart").unwrap_or_default();
    spec.jobs = fields.whole("jobs", 1..=usize::MAX, false).unwrap_or(1);
    if let Some(policy) = of_text::<ErrorPolicy>(&fields, "errors") {
        spec.errors = policy;
    }
    if fields.filled("errors").is_none()
        && let Some(policy) = fails_to(&fields, &spec.to)
    {
        spec.errors = policy;
    }
    if let Some(budget) = of_text::<Budget>(&fields, "max_errors") {
        spec.max_errors = budget;
    }
    spec.log_errors = fields.flag("log_errors").unwrap_or_default();
    spec.batch_rows = fields.whole("batch_rows", 1..=usize::MAX, false);
    let bytes = |key: &'static str| {
        fields.parsed(key, "a number of bytes, as 4096, 64KiB or 16MiB", crate::config::parse_size)
    };
    spec.batch_bytes = bytes("batch_bytes").and_then(|bytes| usize::try_from(bytes).ok());
    spec.linger_ms = fields.whole("linger_ms", 0..=u64::MAX, false);
    spec.commit_rows = fields.whole("commit_rows", 1..=u64::MAX, false);
    spec.rate_rows = fields.whole("rate_rows", 0..=u64::MAX, false);
    spec.rate_bytes = bytes("rate_bytes");
    let statements = |key| fields.texts(key).unwrap_or_default().into_iter().map(str::to_owned).collect();
    (spec.pre_sql, spec.post_sql) = (statements("pre_sql"), statements("post_sql"));
    spec.retries = fields.whole("retries", 0..=u32::MAX, false);
    spec.retry_wait_ms = fields.whole("retry_wait_ms", 0..=u64::MAX, false);
    spec.checkpoint =
        fields.filled("checkpoint").and_then(|text| checked_address(&fields, "checkpoint", text));
    fields.finish();
    Some(spec)
}

/// What taosX says in the address of its target: rejects go to a file, and the rest goes on.
fn fails_to(fields: &Fields<'_>, to: &Address) -> Option<ErrorPolicy> {
    let dsn = to.dsn().ok().filter(|dsn| matches!(dsn.driver(), "taos" | "tdengine"))?;
    let path = dsn.get("failes-to").or_else(|| dsn.get("fails-to")).filter(|path| !path.is_empty())?;
    match format!("reject:{path}").parse::<ErrorPolicy>() {
        Ok(policy) => Some(policy),
        Err(error) => {
            let text = format!("`to`: failes-to={path}: {}", error.message());
            fields.fault("to", Wrong::Value, text, error.hint().map(str::to_owned));
            None
        }
    }
}

fn checked_address(fields: &Fields<'_>, key: &'static str, text: &str) -> Option<Address> {
    let address = Address::from(text);
    if let Err(error) = address.dsn() {
        fields.fault(
            key,
            Wrong::Value,
            format!("`{key}`: {}", error.message()),
            error.hint().map(str::to_owned),
        );
    }
    Some(address)
}

fn of_text<T: std::str::FromStr<Err = Error>>(fields: &Fields<'_>, key: &'static str) -> Option<T> {
    let text = fields.filled(key)?;
    match text.parse() {
        Ok(value) => Some(value),
        Err(error) => {
            fields.fault(
                key,
                Wrong::Value,
                format!("`{key}`: {}", error.message()),
                error.hint().map(str::to_owned),
            );
            None
        }
    }
}

impl PipelineSpec {
    /// Reads a spec from a file's text: YAML, or JSON if `name` ends in `.json` or the text starts with `{`.
    ///
    /// # Errors
    /// `Config` with all faults at once, as [`Settings`] tells them.
    ///
    /// # Examples
    /// ```
    /// use kwsync_core::spec::PipelineSpec;
    ///
    /// let spec = PipelineSpec::parse("job.yaml", "from: a.lp\nto: 'file:out?format=parquet'\njobs: 2\n")?;
    /// assert_eq!(spec, PipelineSpec::new("a.lp", "file:out?format=parquet").with_jobs(2));
    /// # Ok::<(), kwsync_core::Error>(())
    /// ```
    pub fn parse(name: &str, text: &str) -> Result<Self> {
        Settings::new().with_file(name, text)?.spec()
    }

    /// Replaces `${NAME}` and `@path` in the parser configuration, once. Addresses are expanded when the job is put
    /// together.
    ///
    /// # Errors
    /// `Config` for an unset variable and for a file that cannot be read.
    pub fn expand_parser(mut self, expand: &Expand<'_>) -> Result<Self> {
        self.parser = self.parser.map(|text| expand.value("parser", &text)).transpose()?;
        Ok(self)
    }
}
