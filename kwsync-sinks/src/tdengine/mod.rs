//! TDengine 3, by INSERT statements of literals over the REST interface of taosAdapter.
//!
//! Rows with tags go to subtables of a supertable, rows without to tables. There are no transactions: each statement is settled when the
//! server has answered it, and a row that is sent twice replaces itself, since a table has one row at a time. A row that the server
//! refuses is found by halves, and costs no other.

mod config;
mod layout;
mod naming;
mod sink;
mod tags;
#[cfg(test)]
mod tests;
mod writer;

pub use config::{Create, PARAMS, TdengineOptions};
pub use naming::Template;
pub use sink::TdengineSink;
pub use writer::TdengineWriter;

use kwsync_core::config::{ConnectorInfo, Registry};

/// Adds the sink `taos` to `registry`.
pub fn register(registry: &mut Registry) {
    let info = ConnectorInfo::sink("taos", "TDengine 3: supertables with their subtables, and tables")
        .with_aliases(&["tdengine"])
        .with_params(PARAMS);
    registry.register_sink(info, |request| {
        let options = TdengineOptions::from_dsn(request.dsn, request.params)?;
        Ok(Box::new(TdengineSink::new(options)))
    });
}
