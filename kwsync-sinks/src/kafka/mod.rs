//! Topics of Kafka, by librdkafka: each row, or some rows together, a message in any of the formats.
//!
//! A commit waits until the brokers have every message (`acks=all`, idempotent producer); with a `transactional_id` it is
//! one transaction, so that who reads committed messages alone sees all of its rows or none. Delivery is at least once:
//! after a crash the rows since the last commit are sent again.

mod config;
mod dead_letters;
mod producer;
mod sink;
mod topic;

pub use config::{KafkaSinkOptions, MessageKey, PARAMS};
pub use dead_letters::DeadLetterTopic;
pub use sink::{KafkaSink, KafkaWriter};
pub use topic::TopicNaming;

use kwsync_core::config::{ConnectorInfo, Registry};

/// Adds the sink `kafka` to `registry`, and topics as a place for refused records.
pub fn register(registry: &mut Registry) {
    let info = ConnectorInfo::sink("kafka", "topics of Kafka: rows as messages of any format")
        .with_aliases(&["kafkas"])
        .with_params(PARAMS)
        .with_formats(|_| Some("ndjson"));
    registry.register_sink(info, |request| {
        let format = request.format.as_ref().map_or("ndjson", |format| format.name);
        let options = KafkaSinkOptions::from_dsn(request.dsn, request.params, format)?;
        Ok(Box::new(KafkaSink::new(options, request.encoder()?)))
    });
    let info = ConnectorInfo::dead_letters("kafka", "a topic of Kafka for records that cannot be loaded")
        .with_aliases(&["kafkas"])
        .with_params(dead_letters::PARAMS);
    registry.register_dead_letters(info, |request| {
        Ok(std::sync::Arc::new(DeadLetterTopic::from_dsn(request.dsn, request.params)?))
    });
}
