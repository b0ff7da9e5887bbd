//! MySQL and MariaDB: tables and queries, by rows of the binary protocol.
//!
//! # Splits
//! A table is cut into ranges of an integer: the first column of its primary key, or the column given. Rows come in the
//! order of the primary key (or of another unique index whose columns are never null), and the position is the last key.
//! Tables without such a key, and queries and views without `split_by`, cannot be read on from the middle.
//!
//! # One moment
//! The sessions of all lanes take their snapshot under one short lock of all tables. Where that is not allowed, each lane
//! reads at a moment of its own, and the notes of the dry run say so.
//!
//! # Changes
//! With `changes=true` inserts, updates and deletes are followed by the binary log, behind a copy.

mod changes;
mod config;
mod cursor;
mod cut;
mod decode;
mod reader;
mod sessions;
mod shape;
mod source;
#[cfg(test)]
mod tests;

pub use config::{MysqlSourceOptions, PARAMS, TimeAs, ZeroDates};
pub use reader::MysqlReader;
pub use source::MysqlSource;

use kwsync_core::config::{ConnectorInfo, Registry};

/// Adds the source `mysql` to `registry`.
pub fn register(registry: &mut Registry) {
    let info = ConnectorInfo::source("mysql", "tables and queries of MySQL and MariaDB")
        .with_aliases(&["mariadb"])
        .with_params(PARAMS);
    registry.register_source(info, |request| {
        let mut options = MysqlSourceOptions::from_dsn(request.dsn, request.params)?;
        if let Some(job) = &request.options.job {
            options = options.with_job(job);
        }
        Ok(Box::new(MysqlSource::new(options)))
    });
}
