//! The parameters of the Kafka sink.

use kwsync_core::config::{Dsn, Param, Params};
use kwsync_core::system::kafka::{ClientOptions, params as client};
use kwsync_core::{Error, Result};

use super::TopicNaming;

/// The parameters, beside those of the format.
pub static PARAMS: &[Param] = &[
    Param::text("topic", "one topic for all rows, instead of one a table"),
    Param::text("topic_prefix", "what the names of topics begin with: PREFIX-DATABASE-TABLE"),
    Param::text("topic_delimiter", "what stands between the parts of a topic's name").with_default("-"),
    Param::text("topic_database", "the database in a topic's name; a table's schema where it is not given"),
    Param::flag("topic_ignore_database", "leave the database out"),
    Param::flag("topic_per_table", "a topic for each table; otherwise one a database").with_default("true"),
    Param::flag("topic_format_suffix", "let a topic's name end with the format's"),
    Param::choice("create", &["missing", "never"], "whether topics are made that are missing")
        .with_default("missing"),
    Param::int("partitions", -1, 100_000, "partitions of a topic that is made; -1 is the brokers' default")
        .with_default("-1"),
    Param::int("replication", -1, 100, "replicas of a topic that is made; -1 is the brokers' default")
        .with_default("-1"),
    Param::list("key", "a message's key: `table`, `tags`, or columns; rows of one key keep their order"),
    Param::int("message_rows", 1, 1_000_000, "rows of a message").with_default("1"),
    Param::text(
        "transactional_id",
        "makes each commit one transaction; processes that run at the same time must have different ones",
    ),
    client::USE_SSL,
    client::CA,
    client::CERT,
    client::CERT_KEY,
    client::SASL_MECHANISM,
    client::CONNECT_TIMEOUT,
    client::PROPERTIES,
];

/// What the key of a message is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum MessageKey {
    /// There is none: messages go to all partitions in turn.
    #[default]
    None,
    /// The name of the table.
    Table,
    /// The values of the tags, as `host=a,region=b`.
    Tags,
    /// The values of these columns: one as it is, several as `a=1,b=2`.
    Columns(Vec<String>),
}

/// Where [`KafkaSink`](super::KafkaSink) writes, and how.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct KafkaSinkOptions {
    /// The cluster.
    pub client: ClientOptions,
    /// How topics are called.
    pub naming: TopicNaming,
    /// Whether topics are made that are missing.
    pub create: bool,
    /// Partitions of a topic that is made; -1 is the brokers' default.
    pub partitions: i32,
    /// Replicas of a topic that is made; -1 is the brokers' default.
    pub replication: i32,
    /// What the key of a message is.
    pub key: MessageKey,
    /// Rows of a message.
    pub message_rows: usize,
    /// Makes each commit one transaction.
    pub transactional_id: Option<String>,
}

impl KafkaSinkOptions {
    /// A topic for each table, made where it is missing; a message for each row, without a key.
    pub fn new(client: ClientOptions) -> Self {
        Self {
            client,
            naming: TopicNaming::default(),
            create: true,
            partitions: -1,
            replication: -1,
            key: MessageKey::None,
            message_rows: 1,
            transactional_id: None,
        }
    }

    /// The options of an address and its checked parameters; `format` is the name of the format.
    ///
    /// # Errors
    /// `Config` for what does not go together, `Unsupported` for what this build lacks.
    pub fn from_dsn(dsn: &Dsn, params: &Params, format: &str) -> Result<Self> {
        let text = |name: &str| params.text(name).filter(|text| !text.is_empty()).map(str::to_owned);
        let mut options = Self::new(ClientOptions::from_dsn(dsn, params)?);
        options.naming = TopicNaming {
            topic: text("topic"),
            prefix: text("topic_prefix").unwrap_or_default(),
            delimiter: text("topic_delimiter").unwrap_or_else(|| "-".to_owned()),
            database: text("topic_database"),
            ignore_database: params.flag("topic_ignore_database"),
            per_table: params.flag("topic_per_table"),
            suffix: params.flag("topic_format_suffix").then(|| format.to_owned()),
        };
        let number = |name: &str| params.int(name).and_then(|number| i32::try_from(number).ok());
        options.create = params.choice("create") != Some("never");
        options.partitions = number("partitions").unwrap_or(-1);
        options.replication = number("replication").unwrap_or(-1);
        if options.partitions == 0 || options.replication == 0 {
            return Err(Error::config("a topic has one partition and one replica at least")
                .with_hint("-1 leaves it to the brokers"));
        }
        options.message_rows = params.int("message_rows").and_then(|n| usize::try_from(n).ok()).unwrap_or(1);
        options.transactional_id = text("transactional_id");
        options.key = match params.list("key") {
            [] => MessageKey::None,
            [word] if word == "none" => MessageKey::None,
            [word] if word == "table" => MessageKey::Table,
            [word] if word == "tags" => MessageKey::Tags,
            columns => MessageKey::Columns(columns.to_vec()),
        };
        let by_row = matches!(options.key, MessageKey::Tags | MessageKey::Columns(_));
        if by_row && options.message_rows > 1 {
            return Err(Error::config(
                "a key of a row's values, and several rows a message, do not go together",
            )
            .with_hint("leave message_rows out, or say key=table"));
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(address: &str) -> Result<KafkaSinkOptions> {
        let dsn: Dsn = address.parse()?;
        KafkaSinkOptions::from_dsn(&dsn, &Params::parse("kafka sink", PARAMS, dsn.params())?, "line_influxdb")
    }

    #[test]
    fn addresses_are_read() {
        let made = options("kafka://broker:9092?topic_prefix=kw&topic_delimiter=_&topic_per_table=false&topic_ignore_database=true&topic_format_suffix=true&key=host,region").unwrap();
        assert_eq!(made.naming.prefix, "kw");
        assert_eq!(made.naming.suffix.as_deref(), Some("line_influxdb"));
        assert!(!made.naming.per_table && made.naming.ignore_database && made.create);
        assert_eq!(made.key, MessageKey::Columns(vec!["host".into(), "region".into()]));
        assert_eq!(options("kafka://h?key=tags").unwrap().key, MessageKey::Tags);
        for (address, expected) in [
            ("kafka://h?partitions=0", "-1"),
            ("kafka://h?key=tags&message_rows=5", "key=table"),
            ("kafka://h?topik=a", "did you mean `topic`?"),
        ] {
            let error = options(address).unwrap_err().report();
            assert!(error.contains(expected), "{address}: {error}");
        }
    }
}
