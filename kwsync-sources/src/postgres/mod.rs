//! PostgreSQL, by COPY BINARY.
//!
//! `COPY (SELECT ...) TO STDOUT (FORMAT BINARY)` is decoded straight into Arrow, by a task beside the lane's own.
//!
//! # What is read
//! Tables, by name or pattern, with the columns and the condition that were asked for; or the rows of a statement. Rows
//! of partitions and of tables that inherit are read where they lie, under the name of the table that was asked for.
//! Every type is read: one without a counterpart comes as its text, and the notes of the dry run say so.
//!
//! # Splits
//! A table is cut into ranges of its integer primary key, of the places of its rows (ctid), or of the column given. All
//! splits are read in one snapshot, which a session of its own exports: the copy is of one moment.
//!
//! # Changes
//! With `changes=true` the tables are copied in the snapshot of a replication slot, and inserts, updates and deletes are followed from there on.
//!
//! # Resuming
//! The position in a split is the last key, or the last place, behind which reading goes on. A run that resumes another
//! reads in a snapshot of its own. By key every row is there once all the same; rows that were changed in between may be
//! of either moment. By place that holds only while no row has moved: a table that was changed since is refused, and the
//! error says so. Statements and views have neither, unless `split_by` names a column of theirs whose values are
//! distinct: without one, they cannot be read on from the middle.

mod changes;
mod config;
mod cursor;
mod cut;
mod reader;
mod relation;
mod session;
mod source;
mod spec;
mod statement;
#[cfg(test)]
mod tests;

pub use config::{PARAMS, PostgresSourceOptions, SplitMode};
pub use reader::PostgresReader;
pub use source::PostgresSource;

use kwsync_core::config::{ConnectorInfo, Registry};

/// Adds the source `postgres`, and those of its family, to `registry`.
pub fn register(registry: &mut Registry) {
    let family: [(&str, &str, &[&str]); 2] = [
        ("postgres", "tables and queries of PostgreSQL, by COPY BINARY", &["postgresql", "pg"]),
        (
            "adb",
            "tables and queries of AnalyticDB for PostgreSQL and Greenplum",
            &["analyticdb", "adb4pg", "greenplum", "gp"],
        ),
    ];
    for (name, summary, aliases) in family {
        let info = ConnectorInfo::source(name, summary).with_aliases(aliases).with_params(PARAMS);
        registry.register_source(info, |request| {
            let mut options = PostgresSourceOptions::from_dsn(request.dsn, request.params)?;
            if let Some(job) = &request.options.job {
                options = options.with_job(job);
            }
            Ok(Box::new(PostgresSource::new(options)))
        });
    }
}
