//! ClickHouse: tables and queries, by the format Native over HTTP.
//!
//! # Splits
//! A table is cut into ranges of about as many rows, by the first column of its sorting key or by `split_by`, and each range is read
//! by a query of its own, in the order of that column. A position is the last value of which all rows were given: no batch ends within
//! one, so the column needs not be unique. Without such a column, and with `order=none`, a piece cannot be read on from the middle.
//!
//! # Moments
//! Each piece is read at a moment of its own: the server has no snapshot that queries could share.
//!
//! # Blocks
//! An answer is made of blocks, each with the names and types of its columns. What the server complains of in the middle of an answer
//! stands where a block would begin, and so is never taken for rows.

mod answer;
mod arrays;
mod batches;
mod catalog;
mod config;
mod cursor;
mod native;
mod node;
mod plan;
mod shape;
mod source;
#[cfg(test)]
mod tests;

pub use config::{ClickHouseOptions, PARAMS};
pub use source::{ClickHouseReader, ClickHouseSource};

use kwsync_core::config::{ConnectorInfo, Registry};

/// Adds the source `clickhouse` to `registry`.
pub fn register(registry: &mut Registry) {
    let info =
        ConnectorInfo::source("clickhouse", "tables and queries of ClickHouse, by HTTP").with_params(PARAMS);
    registry.register_source(info, |request| {
        let options = ClickHouseOptions::from_dsn(request.dsn, request.params)?;
        Ok(Box::new(ClickHouseSource::new(options)))
    });
}
