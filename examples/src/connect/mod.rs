//! Connectors of Kafka Connect in one process, with the REST interface by which Kafka Connect is told what to run.
//!
//! `kwsync connect --listen` serves it; a program that embeds kwsync can as well:
//!
//! ```no_run
//! use kwsync::connect::Connectors;
//! use kwsync_core::spec::kafka_connect::Worker;
//! use tokio_util::sync::CancellationToken;
//!
//! # async fn serve() -> kwsync_core::Result<()> {
//! let connectors = Connectors::open("connectors", Worker::new("localhost:9092")?, kwsync::registry())?;
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:8083").await.unwrap();
//! connectors.serve(listener, CancellationToken::new()).await
//! # }
//! ```

mod manager;
mod rest;

pub use manager::{ConnectorState, Connectors};
