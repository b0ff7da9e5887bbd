//! Topics: whether they are there, and how they are made.

use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::consumer::Consumer;
use rdkafka::consumer::base_consumer::BaseConsumer;
use rdkafka::types::RDKafkaErrorCode;

use super::{ClientOptions, KafkaContext, code_error, error};
use crate::config::did_you_mean;
use crate::{Error, ErrorKind, Result};

/// Asks a cluster what topics it has. It makes none, though the brokers may be set up to make those that are asked for.
///
/// # Examples
/// ```no_run
/// use kwsync_core::system::kafka::{ClientOptions, Topics};
///
/// let topics = Topics::new(&ClientOptions::new("broker:9092"))?;
/// println!("{:?}", topics.partitions("metrics")?);
/// # Ok::<(), kwsync_core::Error>(())
/// ```
pub struct Topics {
    client: BaseConsumer<KafkaContext>,
    patience: Duration,
}

impl std::fmt::Debug for Topics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Topics").field("patience", &self.patience).finish_non_exhaustive()
    }
}

impl Topics {
    /// A client of the cluster. Nothing is connected yet.
    ///
    /// # Errors
    /// `Config` for properties that the client refuses.
    pub fn new(options: &ClientOptions) -> Result<Self> {
        let config = options.config(&[("allow.auto.create.topics", "false")]);
        let client = config.create_with_context(KafkaContext::default()).map_err(error)?;
        Ok(Self { client, patience: options.connect_timeout() })
    }

    /// Waits until a broker answers. It blocks.
    ///
    /// # Errors
    /// As what the connections failed of: `Unavailable`, `Auth`, `Tls`.
    pub fn connect(&self) -> Result<()> {
        self.client
            .fetch_metadata(None, self.patience)
            .map(drop)
            .map_err(|fault| self.explained(error(fault)))
    }

    /// The numbers of a topic's partitions. It blocks.
    ///
    /// # Errors
    /// `NotFound`, with the nearest name there is, for a topic that is missing; else as [`connect`](Self::connect).
    pub fn partitions(&self, topic: &str) -> Result<Vec<i32>> {
        let asked = |topic| {
            self.client.fetch_metadata(topic, self.patience).map_err(|fault| self.explained(error(fault)))
        };
        let metadata = asked(Some(topic))?;
        let described = metadata.topics().iter().find(|known| known.name() == topic);
        let fault = described.and_then(|known| known.error());
        if let Some(fault) = fault.filter(|fault| code_error((*fault).into()).kind() != ErrorKind::NotFound) {
            return Err(code_error(fault.into()).context(format!("topic {topic}")));
        }
        let partitions: Vec<i32> = described
            .map(|known| known.partitions().iter().map(|partition| partition.id()).collect())
            .unwrap_or_default();
        if fault.is_some() || partitions.is_empty() {
            let all = asked(None)?;
            let names = all.topics().iter().map(|topic| topic.name()).filter(|name| !name.starts_with("__"));
            let meant = did_you_mean(topic, names);
            return Err(Error::new(ErrorKind::NotFound, format!("there is no topic {topic:?}{meant}")));
        }
        Ok(partitions)
    }

    /// The error with what the connections failed of.
    fn explained(&self, fault: Error) -> Error {
        // It waits to be asked for.
        while self.client.poll(Duration::from_millis(1)).is_some() {}
        self.client.context().explained(fault)
    }
}

/// Makes a topic where it is missing; false where this user may not. -1 leaves partitions and replicas to the brokers.
///
/// # Errors
/// What the brokers say against it, and what the connection failed of.
///
/// # Cancel safety
/// The topic may be made all the same.
pub async fn make_topic(
    options: &ClientOptions,
    topic: &str,
    partitions: i32,
    replication: i32,
) -> Result<bool> {
    let admin: AdminClient<KafkaContext> =
        options.config(&[]).create_with_context(KafkaContext::default()).map_err(error)?;
    let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(replication));
    let patience = AdminOptions::new()
        .request_timeout(Some(options.connect_timeout()))
        .operation_timeout(Some(options.connect_timeout()));
    let made = admin
        .create_topics(&[new], &patience)
        .await
        .map_err(|fault| admin.inner().context().explained(error(fault)))?;
    for made in made {
        match made {
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((
                _,
                RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::ClusterAuthorizationFailed,
            )) => {
                tracing::info!(topic, "the topic may not be made");
                return Ok(false);
            }
            Err((_, code)) => {
                return Err(code_error(code).context(format!("the topic {topic} cannot be made")));
            }
        }
    }
    Ok(true)
}
