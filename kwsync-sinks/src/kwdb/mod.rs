//! KWDB: its relational databases as those of PostgreSQL's family, its time series by INSERT statements of literals.
//!
//! What the database is, is asked when the sink starts. Time series know no transactions: each statement is settled when
//! the server has answered it. A statement that was lost with its connection is sent again, which the server's rule for
//! rows of the same primary tags and time makes harmless (`ts.dedup.rule`: override, merge or discard); where the rule
//! keeps both, delivery is at least once, and it says so in the plan.

mod catalog;
mod series;
mod sink;
mod writer;

pub use sink::KwdbSink;
pub use writer::{KwdbWriter, SeriesWriter};

use kwsync_core::config::{ConnectorInfo, Registry};

use crate::postgres::{PARAMS, PostgresOptions};

/// Adds the sink `kwdb` to `registry`.
pub fn register(registry: &mut Registry) {
    let info = ConnectorInfo::sink("kwdb", "KWDB (KaiwuDB): time series and relational databases")
        .with_aliases(&["kaiwudb"])
        .with_params(PARAMS);
    registry.register_sink(info, |request| {
        let mut sink = KwdbSink::new(PostgresOptions::from_dsn(request.dsn, request.params)?);
        if let Some(rows) = request.params.int("statement_rows").and_then(|rows| usize::try_from(rows).ok()) {
            sink = sink.with_statement_rows(rows);
        }
        Ok(Box::new(sink))
    });
}
