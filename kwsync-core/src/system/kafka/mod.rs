//! Kafka: addresses, properties and errors of the client, which is librdkafka.

mod client;
mod context;
mod error;
mod group;
#[cfg(test)]
mod tests;
mod topic;

pub use client::{ClientOptions, params};
pub use context::KafkaContext;
pub use error::{code_error, error};
pub use group::{GroupOffsets, Membership, Place};
pub use topic::{Topics, make_topic};
