//! PostgreSQL, by COPY BINARY.
//!
//! Rows are encoded for the types that the target's columns have in its catalog, and sent in messages of 1 to 2 MB.
//! All rows between two commits are one transaction, which may write to many tables. A fault before the commit
//! leaves nothing behind; the error tells when delivery is in doubt, which it is only when the connection is lost
//! while the server commits.
//!
//! What a value's column cannot hold exactly is a reject of its row, unless an option allows the loss. A row that the
//! server refuses (a constraint, a trigger) fails the job, and the error names its record in the input.

mod blocked;
mod checkpoint;
mod config;
mod identity;
mod key;
mod lifecycle;
mod loader;
mod made;
mod shared;
mod sink;
mod target;
#[cfg(test)]
mod tests;
#[cfg(feature = "tokio-postgres")]
mod tokio_client;
mod way;
mod writer;

pub use config::{
    Create, DEFAULT_PORT, DeliveryMode, Duplicates, Mode, PARAMS, PostgresOptions, Sort, Strategy,
    TimestampNs,
};
pub use loader::{
    ColumnInfo, FailedRow, LoadCode, LoadCounts, LoadError, LoadRow, LoadValue, Loader, LoaderConfig,
    TableInfo,
};
pub use sink::PostgresSink;
#[cfg(feature = "tokio-postgres")]
pub use tokio_client::{CopyClient, copy_into};
pub use writer::PostgresWriter;

use kwsync_core::config::{ConnectorInfo, Registry};

/// Adds the sink `postgres` to `registry`.
pub fn register(registry: &mut Registry) {
    let family: [(&str, &str, &[&str]); 3] = [
        ("postgres", "PostgreSQL, by COPY BINARY", &["postgresql", "pg"]),
        ("adb", "AnalyticDB for PostgreSQL and Greenplum", &["analyticdb", "adb4pg", "greenplum", "gp"]),
        ("cockroach", "CockroachDB", &["cockroachdb", "crdb"]),
    ];
    for (name, summary, aliases) in family {
        let info = ConnectorInfo::sink(name, summary).with_aliases(aliases).with_params(PARAMS);
        registry.register_sink(info, |request| {
            let options = PostgresOptions::from_dsn(request.dsn, request.params)?;
            Ok(Box::new(PostgresSink::new(options)))
        });
    }
}
