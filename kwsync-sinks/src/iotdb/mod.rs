//! Apache IoTDB, by tablets: rows of one device, column by column.
//!
//! A table and its tags name a device, its fields are measurements, its time is the timestamp. There are no transactions: each
//! request is settled when the server has answered it, and a row that is sent twice replaces itself, since a series has one value at
//! a time. Types are looked up before rows are sent, and a value that a series cannot hold exactly is a reject of its row: the
//! server alone would write the other values of that row.

mod config;
mod device;
mod sink;
#[cfg(test)]
mod tests;
mod values;
mod writer;

pub use config::{Aligned, IotdbOptions, PARAMS};
pub use sink::IotdbSink;
pub use writer::IotdbWriter;

use kwsync_core::config::{ConnectorInfo, Registry};

/// Adds the sink `iotdb` to `registry`.
pub fn register(registry: &mut Registry) {
    let info =
        ConnectorInfo::sink("iotdb", "Apache IoTDB: tables and tags as devices, fields as measurements")
            .with_aliases(&["iotdb+thrift", "iotdb+thrift-async", "iotdb+thrift-sync"])
            .with_params(PARAMS);
    registry.register_sink(info, |request| {
        let options = IotdbOptions::from_dsn(request.dsn, request.params)?;
        Ok(Box::new(IotdbSink::new(options)))
    });
}
