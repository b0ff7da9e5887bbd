//! KWDB: tables of time series with their tags, relational tables, queries.
//!
//! KWDB has no COPY TO: rows come by the extended protocol, in binary where that is exact, and times of nine digits as
//! text. A table of time series is read by its first column, which is a cursor: in windows of time that
//! lanes share, and on from the last time when a job is resumed or goes on reading. So are relational tables by a column
//! that is named, or by a primary key of one column.

mod config;
mod cursor;
mod source;
mod table;
#[cfg(test)]
mod tests;
mod travel;

pub use config::{KwdbSourceOptions, PARAMS};
pub use source::{KwdbReader, KwdbSource};

use kwsync_core::config::{ConnectorInfo, Registry};

/// Adds the source `kwdb` to `registry`.
pub fn register(registry: &mut Registry) {
    let info = ConnectorInfo::source("kwdb", "KWDB (KaiwuDB): time series, relational tables, queries")
        .with_aliases(&["kaiwudb"])
        .with_params(PARAMS);
    registry.register_source(info, |request| {
        let options = KwdbSourceOptions::from_dsn(request.dsn, request.params)?;
        Ok(Box::new(KwdbSource::new(options)))
    });
}
