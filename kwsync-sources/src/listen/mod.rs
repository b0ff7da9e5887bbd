//! An ingest endpoint: HTTP as InfluxDB and OpenTSDB speak it, and OpenTSDB's telnet protocol.
//!
//! | request | what it takes | answer |
//! |---|---|---|
//! | `POST /write?db=&precision=` | line protocol, as InfluxDB 1.x | 204 |
//! | `POST /api/v2/write?bucket=&precision=` | line protocol, as InfluxDB 2.x | 204 |
//! | `POST /api/put`, `?summary`, `?details` | OpenTSDB's JSON | 204, or 200 with counts |
//! | `POST /ingest/FORMAT?table=&...` | any format of records, with its parameters | 204 |
//! | `GET /ping`, `/health`, `/api/version` | | 204, 200 |
//! | telnet `put`, `version`, `help`, `exit` | OpenTSDB's lines | errors alone |
//!
//! Bodies may be gzip (`Content-Encoding`).
//!
//! # What an answer means
//! A request is answered when its rows are committed (`ack=commit`). A client that comes again after anything but a 2xx or
//! a 400 loses nothing, and may write rows twice: at least once. Requests that come while others are being committed are
//! committed together next, so that one alone waits for nobody, and a thousand for two commits.
//!
//! A body with bad records: the good ones are written, and the answer is 400 with the lines of the bad ones, which are
//! rejects as everywhere. Where the target is away, requests wait for `answer_timeout`, then they are told to come again
//! (503). All bodies that wait take `max_waiting` bytes at most; what is more is told to come again at once.

mod answer;
mod auth;
mod body;
mod config;
mod formats;
mod http;
mod learned;
mod queue;
mod server;
mod source;
mod telnet;
#[cfg(test)]
mod tests;
mod tls;

pub use config::{AckMode, DEFAULT_PORT, DEFAULT_TELNET_PORT, DatabaseMode, ListenOptions, PARAMS};
pub use server::Listening;
pub use source::{ListenReader, ListenSource};

use kwsync_core::config::{ConnectorInfo, Registry};

/// Adds the source `listen` to `registry`.
pub fn register(registry: &mut Registry) {
    register_with(registry, |_| {});
}

/// The same, and calls `ready` with the addresses whenever a job of that source takes requests.
///
/// # Examples
/// ```
/// let mut registry = kwsync_core::config::Registry::new();
/// kwsync_sources::listen::register_with(&mut registry, |listening| println!("http://{}", listening.http));
/// assert!(registry.find("listen").is_ok());
/// ```
pub fn register_with(registry: &mut Registry, ready: impl Fn(&Listening) + Clone + Send + Sync + 'static) {
    let info = ConnectorInfo::source(
        "listen",
        "HTTP and telnet endpoints as InfluxDB and OpenTSDB have them, answered when rows are committed",
    )
    .with_params(PARAMS)
    .with_parser();
    registry.register_source(info, move |request| {
        let options = ListenOptions::from_dsn(request.dsn, request.params)?;
        let source = ListenSource::new(options, request.registry, request.options)?;
        Ok(Box::new(source.with_ready(ready.clone())))
    });
}
