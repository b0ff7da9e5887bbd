//! Messages of Kafka into a table of PostgreSQL, exactly once, from a program of your own.
//!
//! `cargo run --example kafka -- localhost:9092 metrics postgres://me@localhost/metrics`
//!
//! Run it twice at the same time: both processes share the topic's partitions.

use std::sync::Arc;
use std::time::Duration;

use kwsync_core::config::{OpenOptions, Registry};
use kwsync_core::system::kafka::ClientOptions;
use kwsync_core::{Decoding, Error, JobId, Pipeline, PipelineOptions, Result};
use kwsync_sources::kafka::{KafkaOptions, KafkaSource};

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [brokers, topic, target] = &arguments[..] else {
        return Err(Error::config("three arguments: HOST:PORT TOPIC postgres://..."));
    };
    let mut registry = Registry::new();
    kwsync_formats::register(&mut registry);
    kwsync_sinks::register(&mut registry);

    let options = OpenOptions::new();
    let decoder = registry.decoder("line_influxdb", &"line_influxdb:".parse()?, &options)?;
    let kafka = KafkaOptions::new(ClientOptions::new(brokers.as_str()), [topic])
        .with_group("kwsync-example")
        // Ends when nothing came for five seconds; `Duration::MAX` would go on.
        .with_timeout(Duration::from_secs(5));
    let source = Decoding::new(KafkaSource::new(kafka), decoder);
    let sink = registry.sink(&target.parse()?, &options)?;

    let pipeline = Pipeline::new(JobId::new("kafka-example"), Arc::new(source), Arc::from(sink))
        .with_options(PipelineOptions::new().with_lanes(2));
    let report = pipeline.run().await.into_result()?;
    print!("{report}");
    Ok(())
}
