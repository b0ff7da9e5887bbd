//! InfluxDB 1 by InfluxQL, InfluxDB 2 by Flux.
//!
//! Measurements are tables, tags columns of [`Role::Tag`](kwsync_core::Role::Tag), fields columns of the type that the server
//! tells. Points come in the order of time, in windows that grow where there are few points and shrink where a server cannot
//! answer; stretches without points are jumped over. The position is the last time of which every point has been given, so that a
//! job that is killed goes on with the next. Without an end reading goes on, behind a lag.

mod annotated;
mod answer;
mod config;
mod cursor;
mod flux;
mod influxql;
mod layout;
mod server;
mod source;
#[cfg(test)]
mod tests;
mod v1;
mod v2;

pub use config::{InfluxOptions, InfluxVersion, PARAMS};
pub use source::{InfluxReader, InfluxSource};

use kwsync_core::config::{ConnectorInfo, Registry};

/// Adds the source `influxdb` to `registry`.
pub fn register(registry: &mut Registry) {
    let info = ConnectorInfo::source("influxdb", "measurements of InfluxDB 1 and 2, once or without an end")
        .with_params(PARAMS);
    registry.register_source(info, |request| {
        let options = InfluxOptions::from_dsn(request.dsn, request.params)?;
        Ok(Box::new(InfluxSource::new(options)))
    });
}
