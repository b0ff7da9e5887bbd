//! TDengine 3, by the REST interface of taosAdapter.
//!
//! Supertables are read with their subtables together, in the order of time and in windows of it, so that the position is a time of
//! which every row has been given. The name of a row's subtable is the primary tag `tbname`, its tags are tags. An answer that ends early is
//! noticed by the number of rows, which is asked for before.

mod answer;
mod columns;
mod config;
mod cursor;
mod source;
mod tables;
#[cfg(test)]
mod tests;

pub use config::{PARAMS, TdengineOptions};
pub use source::{TdengineReader, TdengineSource};

use kwsync_core::config::{ConnectorInfo, Registry};

/// Adds the source `taos` to `registry`.
pub fn register(registry: &mut Registry) {
    let info = ConnectorInfo::source("taos", "TDengine 3: supertables with their subtables, and tables")
        .with_aliases(&["tdengine"])
        .with_params(PARAMS);
    registry.register_source(info, |request| {
        let options = TdengineOptions::from_dsn(request.dsn, request.params)?;
        Ok(Box::new(TdengineSource::new(options)))
    });
}
