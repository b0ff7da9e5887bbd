//! OpenTSDB 2.3 and later, by its HTTP API.
//!
//! Metrics are tables of a time, a value and the tags of their series. Series are read as they are, not aggregated, in windows of
//! time; the points of a window are put into the order of time here, so that the position is a time of which every point has been
//! given.

mod answer;
mod config;
mod cursor;
mod server;
mod source;
#[cfg(test)]
mod tests;

pub use config::{OpenTsdbOptions, PARAMS};
pub use source::{OpenTsdbReader, OpenTsdbSource};

use kwsync_core::config::{ConnectorInfo, Registry};

/// Adds the source `opentsdb` to `registry`.
pub fn register(registry: &mut Registry) {
    let info = ConnectorInfo::source("opentsdb", "metrics of OpenTSDB 2.3 and later, once or without an end")
        .with_params(PARAMS);
    registry.register_source(info, |request| {
        let options = OpenTsdbOptions::from_dsn(request.dsn, request.params)?;
        Ok(Box::new(OpenTsdbSource::new(options)))
    });
}
