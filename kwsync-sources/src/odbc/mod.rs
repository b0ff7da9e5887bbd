//! Whatever has an ODBC driver: Oracle, SQL Server and others.
//!
//! # Fetching
//! Blocks of rows come by the crate arrow-odbc, as integers, floats, text and bytes; dates, decimals and all else come as text
//! and are made here, value by value, so that one that cannot be had costs its row and no other. Text is UTF-16 on the way: what
//! drivers make of bytes depends on the locale. Tables with columns whose values have no bound worth reserving memory for
//! come row by row.
//!
//! # Splits
//! As of the source `mysql`: ranges of an integer, rows in the order of the primary key, the position is the last key. ODBC has no
//! snapshot that sessions could share: each piece is read at a moment of its own, and the notes say so.
//!
//! It needs the library of a driver manager (unixODBC) when it is built and when it runs, and so is in no default.

mod config;
mod convert;
mod dialect;
mod fetch;
mod reader;
mod session;
mod shape;
mod source;
#[cfg(test)]
mod tests;
mod types;

pub use config::{FetchBy, OdbcSourceOptions, PARAMS, TimestampUnit, Types};
pub use reader::OdbcReader;
pub use source::OdbcSource;

use kwsync_core::config::{ConnectorInfo, Registry};

/// Adds the source `odbc` to `registry`, also by the names `oracle` and `sqlserver`.
pub fn register(registry: &mut Registry) {
    let info = ConnectorInfo::source(
        "odbc",
        "tables and queries of Oracle, SQL Server and whatever has an ODBC driver",
    )
    .with_aliases(&["oracle", "sqlserver"])
    .with_params(PARAMS);
    registry.register_source(info, |request| {
        let options = OdbcSourceOptions::from_dsn(request.dsn, request.params)?;
        Ok(Box::new(OdbcSource::new(options)))
    });
}
