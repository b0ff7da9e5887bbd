//! Messages of Kafka, by librdkafka.
//!
//! Without a group a job has its partitions for itself, and where it stands is kept with its checkpoints. With a `group`
//! all processes that run the same job share the partitions: each has those that the group's coordinator assigns to it, and
//! gives them up when another one comes. A partition is taken over where the target says that it stands, in the data's own
//! transaction where the target can do that (exactly once), else where the group has committed (at least once). Offsets are
//! committed to the group behind the rows in either case, so that one sees the lag by the usual tools.
//!
//! Each message is decoded by itself, by any format, and may hold many records. What it carries beside its bytes is there
//! for the parser of JSON by mapping, for expressions (`topic()`, `partition()`, `message_offset()`, `message_key()`,
//! `message_time()`), and stands in the reject of a message that cannot be decoded.

mod batch;
mod config;
mod desk;
mod ends;
mod native;
mod source;
mod worker;

pub use config::{FallbackOffset, KafkaOptions, LostMessages, PARAMS};
pub use source::{KafkaReader, KafkaSource};

use kwsync_core::Decoding;
use kwsync_core::config::{ConnectorInfo, Registry};

/// Adds the source `kafka` to `registry`.
pub fn register(registry: &mut Registry) {
    let info = ConnectorInfo::source("kafka", "messages of Kafka, with offsets committed behind the rows")
        .with_aliases(&["kafkas"])
        .with_params(PARAMS)
        .with_formats(|_| Some("json"));
    registry.register_source(info, |request| {
        let options = KafkaOptions::from_dsn(request.dsn, request.params)?;
        Ok(Box::new(Decoding::new(KafkaSource::new(options), request.decoder()?)))
    });
}
