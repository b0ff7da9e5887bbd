//! The parameters of the Kafka source.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use kwsync_core::config::{Dsn, Param, Params};
use kwsync_core::system::kafka::{ClientOptions, params as client};
use kwsync_core::{Error, ErrorKind, Result};

/// The parameters, beside those of the format.
pub static PARAMS: &[Param] = &[
    Param::list("topics", "topics to read"),
    Param::list(
        "topic_partitions",
        "partitions to read, as tp1:0..2,tp2:1 (both ends included); of the topics named here no others are read",
    ),
    Param::text(
        "topics_regex",
        "topics to read, by a regular expression for their whole names; needs a group",
    ),
    Param::text(
        "group",
        "the consumer group whose processes share the partitions; without one this job reads them alone",
    ),
    Param::text(
        "fallback_offset",
        "where a partition begins of which nothing was read: Earliest, Latest or ByTime(MS)",
    )
    .with_default("Earliest"),
    Param::choice("offset_storage", &["Kafka", "Zookeeper"], "where the group's offsets are: Kafka alone")
        .with_default("Kafka"),
    Param::duration_or_never("timeout", Duration::from_millis(1), "end when all has come that there is, and nothing new for so long")
        .with_default("500ms"),
    Param::duration(
        "linger",
        Duration::from_millis(1),
        "commit when nothing more has come for so long: a lonely message waits no longer",
    )
    .with_default("20ms"),
    Param::duration(
        "latency",
        Duration::from_millis(1),
        "commit at least so often while messages keep coming; with a smaller one commits are smaller, and cost more",
    )
    .with_default("1s"),
    Param::choice(
        "lost_messages",
        &["fail", "skip"],
        "what to do when messages are gone before they were read",
    )
    .with_default("fail"),
    client::USE_SSL,
    client::CA,
    client::CERT,
    client::CERT_KEY,
    client::SASL_MECHANISM,
    client::CONNECT_TIMEOUT,
    client::PROPERTIES,
];

/// Where a partition begins of which nothing was read before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FallbackOffset {
    /// With the first message that is there.
    Earliest,
    /// With what comes from now on.
    Latest,
    /// With the first message of this time or later: milliseconds since the Unix epoch.
    ByTime(i64),
}

impl FromStr for FallbackOffset {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let text = text.trim();
        if text.eq_ignore_ascii_case("earliest") {
            return Ok(Self::Earliest);
        }
        if text.eq_ignore_ascii_case("latest") {
            return Ok(Self::Latest);
        }
        let time = text
            .get(..7)
            .filter(|name| name.eq_ignore_ascii_case("ByTime("))
            .and_then(|_| text.get(7..)?.strip_suffix(')')?.trim().parse().ok());
        time.map(Self::ByTime).ok_or_else(|| {
            Error::config(format!("`fallback_offset={text}` is wrong")).with_hint(
                "it is Earliest, Latest or ByTime(MS), milliseconds since the Unix epoch: ByTime(1700000000000)",
            )
        })
    }
}

/// What to do when messages are gone, by the topic's retention, before they were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LostMessages {
    /// Stop and say so.
    Fail,
    /// Go on with the first that is left, with a warning.
    Skip,
}

/// What [`KafkaSource`](super::KafkaSource) reads, and how.
///
/// # Examples
/// ```
/// use kwsync_core::system::kafka::ClientOptions;
/// use kwsync_sources::kafka::KafkaOptions;
///
/// let options = KafkaOptions::new(ClientOptions::new("localhost:9092"), ["metrics"]).with_group("kwsync");
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct KafkaOptions {
    /// The cluster.
    pub client: ClientOptions,
    /// Topics to read whole.
    pub topics: Vec<String>,
    /// Partitions to read of other topics.
    pub partitions: BTreeMap<String, Vec<i32>>,
    /// Topics to read, by a regular expression for their whole names.
    pub topics_regex: Option<String>,
    /// The consumer group.
    pub group: Option<String>,
    /// Where a partition begins of which nothing was read before.
    pub fallback: FallbackOffset,
    /// The end, when all has come that there is, and nothing new for so long; [`Duration::MAX`] is never.
    pub timeout: Duration,
    /// How long a message waits for others before it is committed.
    pub linger: Duration,
    /// The longest that a message waits to be committed while others keep coming.
    pub latency: Duration,
    /// What to do about messages that are gone.
    pub lost: LostMessages,
}

impl KafkaOptions {
    /// All of the topics, from their beginning, until nothing comes for half a second.
    pub fn new(client: ClientOptions, topics: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            client,
            topics: topics.into_iter().map(Into::into).collect(),
            partitions: BTreeMap::new(),
            topics_regex: None,
            group: None,
            fallback: FallbackOffset::Earliest,
            timeout: Duration::from_millis(500),
            linger: Duration::from_millis(20),
            latency: Duration::from_secs(1),
            lost: LostMessages::Fail,
        }
    }

    /// Shares the partitions with the other processes of a group.
    #[must_use]
    pub fn with_group(mut self, group: impl Into<String>) -> Self {
        self.group = Some(group.into());
        self
    }

    /// Ends when all has come that there is, and nothing new for so long; [`Duration::MAX`] is never.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The options of an address and its checked parameters.
    ///
    /// # Errors
    /// `Config` for what makes no sense, `Unsupported` for what is not built.
    pub fn from_dsn(dsn: &Dsn, params: &Params) -> Result<Self> {
        let text = |name: &str| params.text(name).filter(|text| !text.is_empty()).map(str::to_owned);
        if params.choice("offset_storage") == Some("Zookeeper") {
            return Err(Error::new(ErrorKind::Unsupported, "offset_storage=Zookeeper is not built")
                .with_hint("brokers keep offsets themselves since Kafka 0.8.2: leave it out"));
        }
        let mut options = Self::new(ClientOptions::from_dsn(dsn, params)?, params.list("topics"));
        options.partitions = partitions(params.list("topic_partitions"))?;
        options.topics.retain(|topic| !options.partitions.contains_key(topic));
        options.topics.sort_unstable();
        options.topics.dedup();
        options.topics_regex = text("topics_regex");
        options.group = text("group");
        if let Some(fallback) = text("fallback_offset") {
            options.fallback = fallback.parse()?;
        }
        options.timeout = params.duration("timeout").unwrap_or(options.timeout);
        options.linger = params.duration("linger").unwrap_or(options.linger);
        options.latency = params.duration("latency").unwrap_or(options.latency);
        if params.choice("lost_messages") == Some("skip") {
            options.lost = LostMessages::Skip;
        }
        if options.topics.is_empty() && options.partitions.is_empty() && options.topics_regex.is_none() {
            return Err(Error::config("no topic is named")
                .with_hint("topics=tp1,tp2, or topic_partitions=tp1:0..2,tp2:1"));
        }
        if let Some(regex) = &options.topics_regex {
            if options.group.is_none() || !options.topics.is_empty() || !options.partitions.is_empty() {
                return Err(Error::config("topics_regex stands alone, and needs a group")
                    .with_hint("topics_regex=metrics[.].*&group=kwsync"));
            }
            if regex.contains('\0') {
                return Err(Error::config("topics_regex has a NUL in it"));
            }
        }
        Ok(options)
    }

    /// Whether processes of a group share the partitions: they come and go then.
    pub(super) fn shares(&self) -> bool {
        self.group.is_some() && self.partitions.is_empty()
    }
}

/// `tp1:0..2`, `tp2:1`.
fn partitions(texts: &[String]) -> Result<BTreeMap<String, Vec<i32>>> {
    let mut found: BTreeMap<String, Vec<i32>> = BTreeMap::new();
    for text in texts {
        let wrong = || {
            Error::config(format!("`topic_partitions`: {text:?} is wrong"))
                .with_hint("write TOPIC:PARTITION or TOPIC:FIRST..LAST, as tp1:0..2,tp2:1")
        };
        let (topic, range) =
            text.rsplit_once(':').filter(|(topic, _)| !topic.is_empty()).ok_or_else(wrong)?;
        let (first, last) = range.split_once("..").unwrap_or((range, range));
        let number = |text: &str| text.trim().parse::<i32>().ok().filter(|number| *number >= 0);
        let (Some(first), Some(last)) = (number(first), number(last)) else { return Err(wrong()) };
        if first > last || last - first > 100_000 {
            return Err(wrong());
        }
        found.entry(topic.to_owned()).or_default().extend(first..=last);
    }
    for numbers in found.values_mut() {
        numbers.sort_unstable();
        numbers.dedup();
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(address: &str) -> Result<KafkaOptions> {
        let dsn: Dsn = address.parse()?;
        KafkaOptions::from_dsn(&dsn, &Params::parse("kafka source", PARAMS, dsn.params())?)
    }

    #[test]
    fn addresses_are_read() {
        let made = options("kafka://h/?topics=tp1,tp2&timeout=5000").unwrap();
        assert_eq!(made.topics, ["tp1", "tp2"]);
        assert_eq!(made.timeout, Duration::from_secs(5));
        assert!(!made.shares());
        let made =
            options("kafka://h?topics=tp1,x&topic_partitions=tp1:0..2,tp2:1,tp1:2&timeout=never&group=")
                .unwrap();
        assert_eq!(made.topics, ["x"]);
        assert_eq!(made.partitions["tp1"], [0, 1, 2]);
        assert_eq!(made.partitions["tp2"], [1]);
        assert_eq!((made.timeout, made.group), (Duration::MAX, None));
        let made =
            options("kafka://h?topics=a&fallback_offset=ByTime(17)&group=g&offset_storage=kafka").unwrap();
        assert_eq!(made.fallback, FallbackOffset::ByTime(17));
        assert!(made.shares());
    }

    #[test]
    fn mistakes_say_what_to_do() {
        for (address, expected) in [
            ("kafka://h", "topics=tp1,tp2"),
            ("kafka://h?topic=a", "did you mean `topics`?"),
            ("kafka://h?topic_partitions=a", "FIRST..LAST"),
            ("kafka://h?topic_partitions=a:2..1", "FIRST..LAST"),
            ("kafka://h?topic_partitions=a:x", "FIRST..LAST"),
            ("kafka://h?topics=a&fallback_offset=Oldest", "Earliest, Latest or ByTime"),
            ("kafka://h?topics=a&fallback_offset=ByTime(x)", "Earliest, Latest or ByTime"),
            ("kafka://h?topics=a&offset_storage=zookeeper", "leave it out"),
            ("kafka://h?topics_regex=a.*", "needs a group"),
            ("kafka://h?topics=a&timeout=soon", "never"),
        ] {
            let error = options(address).unwrap_err().report();
            assert!(error.contains(expected), "{address}: {error}");
        }
    }
}
