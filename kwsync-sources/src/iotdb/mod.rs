//! Apache IoTDB, device by device.
//!
//! A database is a table, with the time, the path of the device as a primary tag, and a column a measurement. Batches have the
//! measurements of their device alone, each in its own type, so that rows that go back to IoTDB are what they were. Devices are read
//! in the order of their paths, and rows in that of their times: the position is a device and a time, and a job that is killed goes
//! on with the next row. History is read first, as far as it reaches when the job begins; with `follow` reading goes on behind it, in
//! windows of time that end a lag behind the clock.

mod catalog;
mod config;
mod reading;
mod source;
#[cfg(test)]
mod tests;

pub use config::{IotdbOptions, Moment, PARAMS, TableOf};
pub use source::{IotdbReader, IotdbSource};

use kwsync_core::config::{ConnectorInfo, Registry};

/// Adds the source `iotdb` to `registry`.
pub fn register(registry: &mut Registry) {
    let info =
        ConnectorInfo::source("iotdb", "devices of Apache IoTDB, once or without an end").with_params(PARAMS);
    registry.register_source(info, |request| {
        let options = IotdbOptions::from_dsn(request.dsn, request.params)?;
        Ok(Box::new(IotdbSource::new(options)))
    });
}
