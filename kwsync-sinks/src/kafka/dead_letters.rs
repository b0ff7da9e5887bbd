//! Refused records as messages of a topic: dead letters.

use std::fmt;

use kwsync_core::config::{Dsn, Param, Params};
use kwsync_core::system::kafka::{ClientOptions, Topics, make_topic, params as client};
use kwsync_core::{BoxFuture, DeadLetters, Error, ErrorKind, JobId, Reject, Result, Stage};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::BaseRecord;
use tokio::sync::Mutex;

use super::producer::Producer;

/// The parameters of an address `kafka://BROKER:9092/TOPIC`.
pub(super) static PARAMS: &[Param] = &[
    Param::choice("create", &["missing", "never"], "whether the topic is made where it is missing")
        .with_default("missing"),
    Param::int("partitions", -1, 100_000, "partitions of a topic that is made; -1 is the brokers' default")
        .with_default("-1"),
    Param::int("replication", -1, 32_767, "replicas of a topic that is made; -1 is the brokers' default")
        .with_default("-1"),
    Param::flag(
        "context_headers",
        "say in headers where the record stood and why it was refused, as Kafka Connect does",
    )
    .with_default("true"),
    client::USE_SSL,
    client::CA,
    client::CERT,
    client::CERT_KEY,
    client::SASL_MECHANISM,
    client::CONNECT_TIMEOUT,
    client::PROPERTIES,
];

/// Sends refused records to a topic: the record's own bytes as the value, the key, headers and time of the message that it
/// lay in, and beside them headers that say where it stood and why it was refused.
///
/// Headers that Kafka Connect has are called as there (`__connect.errors.topic`, `.partition`, `.offset`, `.stage`,
/// `.exception.class.name` for the code, `.exception.message`, `.connector.name` for the job); the others are
/// `kwsync.code`, `.stage`, `.split`, `.format`, `.table`, `.line`, `.column`, `.byte` and `.record`.
///
/// # Examples
/// ```
/// use kwsync_core::DeadLetters;
/// use kwsync_core::system::kafka::ClientOptions;
/// use kwsync_sinks::kafka::DeadLetterTopic;
///
/// let letters = DeadLetterTopic::new(ClientOptions::new("broker:9092"), "dead-letters").with_create(false);
/// assert_eq!(letters.place(), "topic dead-letters of Kafka broker:9092");
/// ```
pub struct DeadLetterTopic {
    client: ClientOptions,
    topic: String,
    create: bool,
    partitions: i32,
    replication: i32,
    context: bool,
    /// None before the first use and after a fault.
    producer: Mutex<Option<Producer>>,
}

impl fmt::Debug for DeadLetterTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadLetterTopic")
            .field("client", &self.client)
            .field("topic", &self.topic)
            .finish_non_exhaustive()
    }
}

impl DeadLetterTopic {
    /// A topic that is made where it is missing, as the brokers make topics. Nothing is connected yet.
    pub fn new(client: ClientOptions, topic: impl Into<String>) -> Self {
        Self {
            client,
            topic: topic.into(),
            create: true,
            partitions: -1,
            replication: -1,
            context: true,
            producer: Mutex::default(),
        }
    }

    /// Sets whether the topic is made where it is missing.
    #[must_use]
    pub fn with_create(mut self, create: bool) -> Self {
        self.create = create;
        self
    }

    /// Sets whether headers say where a record stood and why it was refused.
    #[must_use]
    pub fn with_context_headers(mut self, context: bool) -> Self {
        self.context = context;
        self
    }

    /// The topic of an address and its checked parameters.
    ///
    /// # Errors
    /// `Config` for an address without a topic, and as [`ClientOptions::from_dsn`].
    pub(super) fn from_dsn(dsn: &Dsn, params: &Params) -> Result<Self> {
        const EXAMPLE: &str = "reject:kafka://broker:9092/dead-letters";
        let Some(topic) = dsn.object() else {
            return Err(Error::config("no topic is named for the rejects").with_hint(EXAMPLE));
        };
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if matches!(topic, "." | "..") || topic.len() > 249 || !topic.chars().all(legal) {
            return Err(Error::config(format!("{topic:?} is no name of a topic"))
                .with_hint(format!("letters, digits, `.`, `_` and `-`: {EXAMPLE}")));
        }
        let number =
            |name: &str| params.int(name).and_then(|number| i32::try_from(number).ok()).unwrap_or(-1);
        let made = Self {
            create: params.choice("create") != Some("never"),
            partitions: number("partitions"),
            replication: number("replication"),
            context: params.flag("context_headers"),
            ..Self::new(ClientOptions::from_dsn(dsn, params)?, topic)
        };
        if made.partitions == 0 || made.replication == 0 {
            return Err(Error::config("a topic has one partition and one replica at least")
                .with_hint("-1 leaves it to the brokers"));
        }
        Ok(made)
    }

    async fn look(&self) -> Result<()> {
        let (client, topic) = (self.client.clone(), self.topic.clone());
        let looked = tokio::task::spawn_blocking(move || Topics::new(&client)?.partitions(&topic)).await;
        let looked = looked.map_err(|fault| {
            Error::new(ErrorKind::Internal, "asking the brokers broke off").with_source(fault)
        })?;
        match looked {
            Ok(_) => Ok(()),
            Err(fault) if fault.kind() != ErrorKind::NotFound => Err(fault),
            Err(fault) if !self.create => Err(fault.with_hint("make the topic, or leave create=never out")),
            Err(fault) => {
                match make_topic(&self.client, &self.topic, self.partitions, self.replication).await {
                    Ok(true) => Ok(()),
                    Ok(false) => Err(fault.with_hint("and this user may not make it")),
                    // Kafka Connect asks for three replicas where nothing is said.
                    Err(fault) if fault.code() == Some("InvalidReplicationFactor") => Err(fault.with_hint(
                        "say how many: replication=1, or errors.deadletterqueue.topic.replication.factor",
                    )),
                    Err(fault) => Err(fault),
                }
            }
        }
    }

    async fn send(&self, job: &JobId, rejects: &[Reject]) -> Result<()> {
        let mut held = self.producer.lock().await;
        let producer = match held.take() {
            Some(producer) => producer,
            None => {
                // How large a message may be is the brokers' to say.
                let made = Producer::new(&self.client, None, &[("message.max.bytes", "1000000000")])?;
                made.connect(self.client.connect_timeout(), false).await?;
                made
            }
        };
        for (number, reject) in rejects.iter().enumerate() {
            let sent = producer.send_record(self.record(job, reject, number)).await;
            sent.map_err(|fault| about(producer.told(fault), reject))?;
        }
        if let Some((number, fault)) = producer.settle().await.into_iter().next() {
            let fault = producer.told(fault);
            return Err(match rejects.get(number) {
                Some(reject) => about(fault, reject),
                None => fault,
            });
        }
        // What a call that was broken off has sent is settled with its own producer.
        *held = Some(producer);
        Ok(())
    }

    fn record<'a>(
        &'a self,
        job: &JobId,
        reject: &'a Reject,
        number: usize,
    ) -> BaseRecord<'a, [u8], [u8], usize> {
        let mut record = BaseRecord::with_opaque_to(&self.topic, number).payload(&reject.raw[..]);
        let mut headers = OwnedHeaders::new();
        if let Some(message) = &reject.message {
            record.key = message.key.as_deref();
            record.timestamp = message.timestamp;
            for (key, value) in &message.headers {
                headers = headers.insert(Header { key, value: value.as_deref() });
            }
        }
        if self.context {
            for (key, value) in context(job, reject) {
                headers = headers.insert(Header { key, value: Some(value.as_bytes()) });
            }
        }
        record.headers = Some(headers);
        record
    }
}

/// Which reject it is about, and what to do where it is too large.
fn about(fault: Error, reject: &Reject) -> Error {
    let fault = match fault.kind() {
        // No row is at fault here.
        ErrorKind::Data => Error::config(fault.message().to_owned()).with_hint(
            "raise max.message.bytes of the topic: a reject is as large as its record, and has headers beside it",
        ),
        _ => fault,
    };
    fault.context(format!("the reject of {} at {}", reject.split, reject.position))
}

/// Where the record stood, and why it was refused.
fn context(job: &JobId, reject: &Reject) -> Vec<(&'static str, String)> {
    let message = reject.message.as_deref();
    let topic = message.and_then(|message| message.topic.as_deref());
    let partition = message.and_then(|message| message.partition);
    let offset = message.and_then(|message| message.offset);
    // The stages of Kafka Connect, and ours.
    let (stage, own) = match reject.stage {
        Stage::Decode => ("VALUE_CONVERTER", "decode"),
        Stage::Transform => ("TRANSFORMATION", "transform"),
        Stage::Encode => ("TASK_PUT", "encode"),
        Stage::Write => ("TASK_PUT", "write"),
    };
    let at = reject.position;
    let known = |number: u64| (number > 0).then(|| number.to_string());
    let all = [
        ("__connect.errors.topic", topic.map(str::to_owned)),
        ("__connect.errors.partition", partition.map(|number| number.to_string())),
        ("__connect.errors.offset", offset.map(|number| number.to_string())),
        ("__connect.errors.connector.name", Some(job.to_string())),
        ("__connect.errors.stage", Some(stage.to_owned())),
        ("__connect.errors.exception.class.name", Some(reject.code.clone())),
        ("__connect.errors.exception.message", Some(reject.reason.clone())),
        ("kwsync.code", Some(reject.code.clone())),
        ("kwsync.stage", Some(own.to_owned())),
        ("kwsync.split", Some(reject.split.clone())),
        ("kwsync.format", Some(reject.format.clone()).filter(|format| !format.is_empty())),
        ("kwsync.table", reject.table.as_ref().map(ToString::to_string)),
        ("kwsync.line", known(at.line)),
        ("kwsync.column", known(at.column)),
        ("kwsync.byte", Some(at.byte.to_string())),
        ("kwsync.record", known(at.record)),
    ];
    all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

impl DeadLetters for DeadLetterTopic {
    fn place(&self) -> String {
        format!("topic {} of Kafka {}", self.topic, self.client.brokers())
    }

    fn prepare(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.look())
    }

    fn append<'a>(&'a self, job: &'a JobId, rejects: &'a [Reject]) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.send(job, rejects))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(address: &str) -> Result<DeadLetterTopic> {
        let dsn: Dsn = address.parse()?;
        DeadLetterTopic::from_dsn(&dsn, &Params::parse("dead-letter target", PARAMS, dsn.params())?)
    }

    #[test]
    fn addresses_are_read() {
        let topic =
            made("kafka://b/dead?create=never&replication=3&partitions=2&context_headers=false").unwrap();
        assert_eq!((topic.topic.as_str(), topic.create, topic.context), ("dead", false, false));
        assert_eq!((topic.replication, topic.partitions), (3, 2));
        for (address, expected) in [
            ("kafka://b", "no topic is named"),
            ("kafka://b/a/b", "no name of a topic"),
            ("kafka:///dead", "names its brokers"),
            ("kafka://b/dead?creat=never", "did you mean `create`?"),
            ("kafka://b/dead?replication=0", "one replica at least"),
        ] {
            let error = made(address).unwrap_err().report();
            assert!(error.contains(expected), "{address}: {error}");
        }
    }
}
