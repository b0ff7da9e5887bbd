//! From topics into KWDB.

use super::Common;
use crate::ErrorPolicy;
use crate::spec::PipelineSpec;
use crate::spec::document::Wrong;

/// The precisions of each format.
fn precisions(format: &str) -> &'static [&'static str] {
    match format {
        "json_opentsdb" | "line_opentsdb" => &["s", "ms"],
        _ => &["ms", "us", "ns"],
    }
}

pub(super) fn read(common: &Common<'_>, notes: &mut Vec<String>) -> Option<PipelineSpec> {
    let fields = &common.fields;
    let before = fields.faults().len();
    let topics = topics(common);
    let database = common.database();
    let retries: u32 = fields.whole("max.retries", 0..=1_000, true).unwrap_or(3);
    let backoff: u64 = fields.whole("retry.backoff.ms", 0..=u64::from(u32::MAX), true).unwrap_or(3_000);
    let batch: usize = fields.whole("batch.size", 1..=100_000, true).unwrap_or(1_000);
    let format = common.format("protocol.type");
    let precision = precision(common, format);
    let jobs = common.tasks();
    let errors = Errors::read(common, notes);
    common.converters(notes);
    common.framework(notes);
    if fields.faults().len() > before {
        return None;
    }
    let (format, precision) = (format?, precision?);
    let mut from = common.worker.dsn();
    for (key, value) in topics {
        from = from.with_param(key, Some(value));
    }
    from = from.with_param("group", Some(format!("connect-{}", common.name)));
    // A connector waits for what comes; it has no end.
    from = from.with_param("timeout", Some("never".to_owned())).with_param("format", Some(format.to_owned()));
    if format == "line_influxdb" {
        from = from.with_param("dialect", Some("kwdb".to_owned()));
    }
    from = from.with_param("precision", Some(precision.to_owned()));
    // Line protocol says nothing of the lengths of columns, so that no table is made from it.
    let create = if format == "line_influxdb" { "never" } else { "missing" };
    let to = database?
        .with_param("mode", Some("insert".to_owned()))
        .with_param("create", Some(create.to_owned()))
        .with_param("statement_rows", Some(batch.to_string()));
    let mut spec =
        PipelineSpec::new(from.literal().to_string_with_secrets(), to.literal().to_string_with_secrets())
            .with_jobs(jobs)
            .with_job(common.name);
    spec.retries = Some(retries);
    spec.retry_wait_ms = Some(backoff);
    spec.errors = errors.policy(common, notes);
    spec.log_errors = errors.log;
    if format.ends_with("opentsdb") {
        // Whatever the value of a point is, its column is text there.
        spec.transforms.extend("cast:value=varchar".parse().ok());
    }
    if format != "json_kaiwudb" || precision != "ms" {
        notes.push(format!("{format} in {precision} goes into time series only: a relational database takes json_kaiwudb in ms"));
    }
    Some(spec)
}

/// What a configuration says of records that cannot be loaded, with the framework's own defaults.
struct Errors {
    tolerant: bool,
    topic: Option<String>,
    replication: i16,
    headers: bool,
    log: bool,
}

impl Errors {
    fn read(common: &Common<'_>, notes: &mut Vec<String>) -> Self {
        const TOPIC: &str = "errors.deadletterqueue.topic.name";
        let fields = &common.fields;
        let tolerant = fields.parsed("errors.tolerance", "one of none, all", |text| match text {
            "none" => Some(false),
            "all" => Some(true),
            _ => None,
        });
        let topic = fields.filled(TOPIC).map(str::to_owned);
        if let Some(topic) = topic.as_deref().filter(|topic| !is_topic(topic)) {
            let text = format!("`{TOPIC}`: {topic:?} is no name of a topic");
            let hint = "letters, digits, `.`, `_` and `-`, 249 of them at most".to_owned();
            fields.fault(TOPIC, Wrong::Value, text, Some(hint));
        }
        for key in ["errors.retry.timeout", "errors.retry.delay.max.ms"] {
            if fields.get(key).is_some() {
                notes.push(format!("`{key}` is ignored: `max.retries` and `retry.backoff.ms` count"));
            }
        }
        // The place of a message stands in the log in either case.
        fields.flag("errors.log.include.messages");
        Self {
            tolerant: tolerant.unwrap_or(false),
            topic,
            replication: fields
                .whole("errors.deadletterqueue.topic.replication.factor", 1..=i16::MAX, true)
                .unwrap_or(3),
            headers: fields.flag("errors.deadletterqueue.context.headers.enable").unwrap_or(false),
            log: fields.flag("errors.log.enable").unwrap_or(false),
        }
    }

    fn policy(&self, common: &Common<'_>, notes: &mut Vec<String>) -> ErrorPolicy {
        match (&self.topic, self.tolerant) {
            (None, false) => ErrorPolicy::Fail,
            (None, true) => ErrorPolicy::Skip,
            (Some(topic), false) => {
                notes.push(format!(
                    "nothing goes to the topic {topic}: `errors.tolerance` is none, so that the first record that cannot be \
                     loaded stops the connector"
                ));
                ErrorPolicy::Fail
            }
            (Some(topic), true) => {
                let mut dsn = common.worker.dsn().with_object(topic.as_str());
                for (key, value) in [
                    ("partitions", "1".to_owned()),
                    ("replication", self.replication.to_string()),
                    ("context_headers", self.headers.to_string()),
                ] {
                    dsn = dsn.with_param(key, Some(value));
                }
                ErrorPolicy::DeadLetters(Box::new(dsn.literal()))
            }
        }
    }
}

/// Whether brokers would take the name.
fn is_topic(name: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    !matches!(name, "" | "." | "..") && name.len() <= 249 && name.chars().all(legal)
}

fn topics(common: &Common<'_>) -> Vec<(&'static str, String)> {
    let fields = &common.fields;
    let list: Vec<_> = fields
        .text("topics")
        .unwrap_or_default()
        .split(',')
        .map(str::trim)
        .filter(|topic| !topic.is_empty())
        .map(str::to_owned)
        .collect();
    let pattern = fields.filled("topics.regex");
    match (list.is_empty(), pattern) {
        (false, Some(_)) => fields.fault(
            "topics.regex",
            Wrong::Form,
            "`topics.regex` stands beside `topics`",
            Some("leave one out".to_owned()),
        ),
        (false, None) => return vec![("topics", list.join(","))],
        (true, Some(pattern)) => return vec![("topics_regex", pattern.to_owned())],
        (true, None) => fields.missing("topics", "the topics to read, separated by commas"),
    }
    Vec::new()
}

fn precision(common: &Common<'_>, format: Option<&'static str>) -> Option<&'static str> {
    const KEY: &str = "timestamp.precision";
    let fields = &common.fields;
    let known = format.map_or(&["s", "ms", "us", "ns"][..], precisions);
    let given = fields.required(KEY, &format!("one of {}", known.join(", ")))?;
    let found = known.iter().find(|known| **known == given).copied();
    if found.is_none() {
        let of = format.map(|format| format!(" of {format}")).unwrap_or_default();
        let text = format!("`{KEY}`{of} is one of {}, and {given:?} is none", known.join(", "));
        fields.fault(KEY, Wrong::Value, text, None);
    }
    found
}
