//! Configurations of Kafka Connect for KaiwuDB's connector: a sink or a source, as JSON as it is posted to the REST
//! interface, or as properties.
//!
//! Which brokers there are is not in these files: it comes from the command line, or from the file of a worker.

mod sink;
mod source;
#[cfg(test)]
mod tests;
mod worker;

pub use worker::Worker;

use super::Translation;
use super::document::{self, Faults, Fields, Node, Wrong};
use crate::Result;
use crate::config::{Dsn, Secret, did_you_mean};

const SINK: &str = "com.kaiwudb.kafka.connect.sink.KwdbSinkConnector";
const SOURCE: &str = "com.kaiwudb.kafka.connect.source.KwdbSourceConnector";
/// Converters that leave values as they are.
const CONVERTERS: [&str; 2] = [
    "org.apache.kafka.connect.storage.StringConverter",
    "org.apache.kafka.connect.converters.ByteArrayConverter",
];
const FORMATS: [&str; 4] = ["json_kaiwudb", "json_opentsdb", "line_opentsdb", "line_influxdb"];

/// The spec of the configuration `text`, which is called `name` in errors: JSON if the name ends in `.json` or the text
/// starts with `{`, else properties.
///
/// The connector's name becomes the name of the job and, with `connect-` before it, the group of the consumer, as it is in
/// Kafka Connect: the job goes on where it stopped.
///
/// # Errors
/// `Config` with all faults at once, each with its key and place; `Unsupported` for what is understood, but has no
/// counterpart here.
///
/// # Examples
/// ```
/// use kwsync_core::spec::kafka_connect::{self, Worker};
///
/// let text = "\
/// name=cpu
/// connector.class=com.kaiwudb.kafka.connect.sink.KwdbSinkConnector
/// topics=cpu
/// connection.url=jdbc:kaiwudb://k:26257
/// connection.user=me
/// connection.password=secret
/// connection.database=tsdb
/// protocol.type=line_influxdb
/// timestamp.precision=ms
/// ";
/// let worker = Worker::new("b1:9092,b2:9092")?;
/// let spec = kafka_connect::read("cpu.properties", text, &worker)?.specs.remove(0);
/// assert_eq!(
///     spec.from.dsn()?.to_string(),
///     "kafka://b1:9092,b2:9092?topics=cpu&group=connect-cpu&timeout=never&format=line_influxdb&dialect=kwdb&precision=ms"
/// );
///
/// let error = kafka_connect::read("cpu.properties", &text.replace("=ms", "=s"), &worker).unwrap_err();
/// assert!(error.to_string().contains("`timestamp.precision` of line_influxdb is one of ms, us, ns, and \"s\" is none"), "{error}");
/// # Ok::<(), kwsync_core::Error>(())
/// ```
pub fn read(name: &str, text: &str, worker: &Worker) -> Result<Translation> {
    let json = name.ends_with(".json") || text.trim_start().starts_with('{');
    let root = if json { document::parse_json(name, text)? } else { document::parse_properties(name, text)? };
    let faults = Faults::default();
    let mut notes = worker.notes().to_vec();
    let spec = connector(&root, json, &faults, worker, &mut notes);
    faults.finish(|_| "")?;
    Ok(Translation { specs: spec.into_iter().collect(), notes })
}

/// The name of a connector and its configuration as it would be posted, of the same texts that [`read`] takes. Whether the
/// configuration makes sense is not looked at.
///
/// # Errors
/// `Config` for a text that is neither JSON nor properties, and without a name.
///
/// # Examples
/// ```
/// use kwsync_core::spec::kafka_connect;
///
/// let (name, config) = kafka_connect::config("cpu.properties", "name=cpu\ntopics=a,b\n")?;
/// assert_eq!((name.as_str(), &config["topics"]), ("cpu", &"a,b".into()));
/// # Ok::<(), kwsync_core::Error>(())
/// ```
pub fn config(name: &str, text: &str) -> Result<(String, serde_json::Map<String, serde_json::Value>)> {
    let json = name.ends_with(".json") || text.trim_start().starts_with('{');
    let root = if json { document::parse_json(name, text)? } else { document::parse_properties(name, text)? };
    let pairs = |node: &Node| match &node.value {
        document::Value::Map(entries) => entries
            .iter()
            .map(|entry| {
                let value = match &entry.value.value {
                    document::Value::Flag(flag) => (*flag).into(),
                    document::Value::Number(text) | document::Value::Text(text) => text.as_str().into(),
                    _ => serde_json::Value::Null,
                };
                (entry.key.clone(), value)
            })
            .collect(),
        _ => serde_json::Map::new(),
    };
    let outer = pairs(&root);
    let inner = match &root.value {
        document::Value::Map(entries) => entries.iter().find(|entry| entry.key == "config"),
        _ => None,
    };
    let config = inner.map_or_else(|| outer.clone(), |entry| pairs(&entry.value));
    let called = |from: &serde_json::Map<String, serde_json::Value>| {
        from.get("name").and_then(|name| name.as_str()).map(str::to_owned)
    };
    match called(&outer).or_else(|| called(&config)) {
        Some(called) => Ok((called, config)),
        None => Err(crate::Error::config(format!("{name}: `name` is missing: the connector's name"))),
    }
}

/// The pairs of a configuration, in whichever shape.
fn connector(
    root: &Node,
    json: bool,
    faults: &Faults,
    worker: &Worker,
    notes: &mut Vec<String>,
) -> Option<super::PipelineSpec> {
    let outer = Fields::of(root, "", faults)?;
    // As it is posted: the name, and the configuration beside it. As it is put: the configuration alone.
    let (fields, name) = if outer.has("config") || (json && !outer.has("connector.class")) {
        let name = outer.filled("name");
        let config = outer.object("config");
        if config.is_none() {
            outer.missing_unless_there(
                "config",
                "the connector's configuration: {\"connector.class\": ..., ...}",
            );
        }
        outer.finish();
        (config?, name)
    } else {
        (outer, None)
    };
    let inner = fields.filled("name");
    if let (Some(outer), Some(inner)) = (name, inner)
        && outer != inner
    {
        let text =
            format!("the connector is called {outer:?} outside of its configuration, and {inner:?} in it");
        fields.fault("name", Wrong::Form, text, Some("leave one out".to_owned()));
    }
    let name = name.or(inner);
    if name.is_none() {
        fields.missing("name", "the connector's name");
    }
    let common = Common { name: name.unwrap_or_default(), fields, worker };
    let class = common.fields.required("connector.class", &format!("{SINK} or {SOURCE}"));
    let short = |class: &'static str| class.rsplit('.').next().unwrap_or_default();
    let is = |known: &'static str| class.is_some_and(|class| class == known || class == short(known));
    let spec = if is(SINK) {
        sink::read(&common, notes)
    } else if is(SOURCE) {
        source::read(&common, notes)
    } else {
        if let Some(class) = class {
            let meant = did_you_mean(class, [SINK, SOURCE]);
            let text = format!("`connector.class`: there is no connector {class:?}{meant}");
            common.fields.fault(
                "connector.class",
                Wrong::Value,
                text,
                Some(format!("known are {SINK} and {SOURCE}")),
            );
        }
        // What else there is cannot be judged without it.
        return None;
    };
    common.fields.finish();
    spec
}

/// What sinks and sources have in common.
struct Common<'a> {
    name: &'a str,
    fields: Fields<'a>,
    worker: &'a Worker,
}

impl<'a> Common<'a> {
    /// The address of the database, with its user.
    fn database(&self) -> Option<Dsn> {
        const EXAMPLE: &str = "jdbc:kaiwudb://HOST:26257";
        let fields = &self.fields;
        let url = fields.required("connection.url", &format!("the database's address, as {EXAMPLE}"));
        let user = fields.required("connection.user", "the user of the database");
        let password = fields.text("connection.password");
        let database = fields.required("connection.database", "the database");
        let attempts: u32 = fields.whole("connection.attempts", 1..=1_000, true).unwrap_or(3);
        let backoff: u64 =
            fields.whole("connection.backoff.ms", 0..=u64::from(u32::MAX), true).unwrap_or(5_000);
        let dsn: Dsn = match url?.parse() {
            Ok(dsn) => dsn,
            Err(error) => {
                let error: crate::Error = error;
                let hint = error.hint().map_or_else(|| format!("write {EXAMPLE}"), str::to_owned);
                fields.fault(
                    "connection.url",
                    Wrong::Value,
                    format!("`connection.url`: {}", error.message()),
                    Some(hint),
                );
                return None;
            }
        };
        if dsn.driver() != "kaiwudb" || dsn.hosts().is_empty() {
            let text =
                format!("`connection.url` takes the address of a KaiwuDB, and this is `{}`", dsn.driver());
            fields.fault("connection.url", Wrong::Value, text, Some(format!("write {EXAMPLE}")));
            return None;
        }
        if let (Some(own), Some(database)) = (dsn.object(), database)
            && own != database
        {
            let text = format!(
                "`connection.url` names the database {own:?}, and `connection.database` {database:?}"
            );
            fields.fault(
                "connection.database",
                Wrong::Form,
                text,
                Some("leave it out of `connection.url`".to_owned()),
            );
        }
        let mut dsn = dsn.with_driver("kwdb", None).with_user(user?).with_object(database?);
        if let Some(password) = password.filter(|password| !password.is_empty()) {
            dsn = dsn.with_password(Secret::from(password));
        }
        dsn = dsn.with_param("connect_attempts", Some(attempts.to_string()));
        Some(dsn.with_param("connect_backoff", Some(format!("{backoff}ms"))))
    }

    /// One of the formats.
    fn format(&self, key: &'static str) -> Option<&'static str> {
        let fields = &self.fields;
        if !fields.has(key) {
            fields.missing(key, &format!("one of {}", FORMATS.join(", ")));
        }
        fields.parsed(key, &format!("one of {}", FORMATS.join(", ")), |text| {
            FORMATS.into_iter().find(|format| *format == text)
        })
    }

    /// Lanes.
    fn tasks(&self) -> usize {
        self.fields.whole("tasks.max", 1..=1_024, true).unwrap_or(1)
    }

    /// Converters of values: those that leave them as they are.
    fn converters(&self, notes: &mut Vec<String>) {
        let mut given = Vec::new();
        for key in ["key.converter", "value.converter"] {
            let Some(class) = self.fields.filled(key) else { continue };
            given.push(key);
            let known =
                CONVERTERS.iter().any(|known| *known == class || known.rsplit('.').next() == Some(class));
            if !known {
                let text = format!("`{key}` {class} has no counterpart here: values are taken as they are");
                let hint = format!("use {}", CONVERTERS.join(" or "));
                self.fields.fault(key, Wrong::Unsupported, text, Some(hint));
            }
        }
        if self.fields.filled("header.converter").is_some() {
            given.push("header.converter");
        }
        if !given.is_empty() {
            notes.push(format!("{} ignored: values are taken as they are", given.join(", ")));
        }
    }

    /// Keys that the framework has for every connector.
    fn framework(&self, notes: &mut Vec<String>) {
        for prefix in ["consumer.override.", "producer.override.", "key.converter.", "value.converter."] {
            for key in self.fields.skip_prefix(prefix) {
                notes.push(format!("`{key}` is ignored: it has no counterpart here"));
            }
        }
        if self.fields.get("config.action.reload").is_some() {
            notes.push("`config.action.reload` is ignored: it has no counterpart here".to_owned());
        }
        for (key, hint) in [
            ("transforms", "take it out, and give `kwsync connect` transforms with -T (docs/transforms.md)"),
            ("predicates", "take it out, and give `kwsync connect` a filter with -T (docs/transforms.md)"),
        ] {
            if self.fields.filled(key).is_some() {
                let text = format!("`{key}` of the framework have no counterpart here");
                self.fields.fault(key, Wrong::Unsupported, text, Some(hint.to_owned()));
                self.fields.skip_prefix(&format!("{key}."));
            }
        }
    }
}
