//! What a database does for reading by a cursor.

use std::future::Future;
use std::sync::Arc;

use kwsync_core::{DecodeCounts, Reject, Result, Schema, TableBatch, TableId};
use tokio::sync::mpsc;

use super::value::Kind;

/// A table, or the rows of a query, that is read by a cursor.
#[derive(Clone, Debug)]
pub(crate) struct CursorTable {
    /// What it is called at the server; a position knows it by this.
    pub(crate) asked: TableId,
    /// What its rows are called.
    pub(crate) table: TableId,
    pub(crate) schema: Arc<Schema>,
    /// The cursor, and what its values are.
    pub(crate) column: String,
    pub(crate) kind: Kind,
    /// Whether no two rows have one value, and none is without.
    pub(crate) unique: bool,
}

/// The server's clock, in nanoseconds: as a point in time, and as the local time that columns without a zone are in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    pub(crate) utc: i128,
    pub(crate) local: i128,
}

impl Clock {
    pub(crate) fn of(self, kind: Kind) -> i128 {
        if matches!(kind, Kind::Timestamp(_, true)) { self.utc } else { self.local }
    }
}

/// The values whose rows are to be read. Rows without a value, and infinite ones, belong to none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Window {
    /// From this value on, or from behind it.
    pub(crate) from: Option<(i128, Bound)>,
    /// Up to this value.
    pub(crate) upto: Option<i128>,
    /// Below this value.
    pub(crate) below: Option<i128>,
    /// From this value on, as the operator wrote it.
    pub(crate) begin: Option<String>,
    /// Below this value, as the operator wrote it.
    pub(crate) end: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bound {
    With,
    Behind,
}

impl Window {
    /// The conditions of it, as SQL: `column` is quoted, `literal` makes one of a value, `text` one of what the operator wrote.
    pub(crate) fn conditions(
        &self,
        column: &str,
        literal: impl Fn(i128) -> String,
        text: impl Fn(&str) -> String,
    ) -> Vec<String> {
        let mut conditions = Vec::new();
        if let Some((value, bound)) = self.from {
            let operator = if bound == Bound::With { ">=" } else { ">" };
            conditions.push(format!("{column} {operator} {}", literal(value)));
        }
        conditions.extend(self.upto.map(|value| format!("{column} <= {}", literal(value))));
        conditions.extend(self.below.map(|value| format!("{column} < {}", literal(value))));
        conditions.extend(self.begin.as_deref().map(|value| format!("{column} >= {}", text(value))));
        conditions.extend(self.end.as_deref().map(|value| format!("{column} < {}", text(value))));
        conditions
    }
}

/// Rows in the order of the cursor, and its values.
#[derive(Debug)]
pub(crate) struct Page {
    /// Beside batches with a value for each row, one without rows at most that has values: those of the rejects, in their order.
    pub(crate) batches: Vec<(TableBatch, Vec<i128>)>,
    pub(crate) rejects: Vec<Reject>,
    pub(crate) counts: DecodeCounts,
    pub(crate) bytes: u64,
}

impl Page {
    /// Adds what was refused, with its values, in the order of the cursor; these are passed with it then, as with rows. `of` is any
    /// batch of the table.
    #[cfg(any(feature = "clickhouse", feature = "influxdb", feature = "mongodb", feature = "opentsdb"))]
    pub(crate) fn refuse(&mut self, of: &TableBatch, refused: Vec<(i128, Reject)>) {
        let (values, rejects): (Vec<_>, Vec<_>) = refused.into_iter().unzip();
        if !values.is_empty() {
            self.batches.push((of.slice(0, 0), values));
            self.rejects.extend(rejects);
        }
    }

    /// Takes out what was refused, where it has values.
    pub(crate) fn refused(&mut self) -> Vec<(i128, Reject)> {
        let marks = |(batch, values): &(TableBatch, Vec<i128>)| batch.rows() == 0 && !values.is_empty();
        match self.batches.iter().position(marks) {
            Some(at) => {
                let (_, values) = self.batches.remove(at);
                values.into_iter().zip(std::mem::take(&mut self.rejects)).collect()
            }
            None => Vec::new(),
        }
    }
}

/// A database whose tables can be read by a cursor.
pub(crate) trait Database: std::fmt::Debug + Send + Sync + 'static {
    type Session: Send;
    type Table: Send + Sync + AsRef<CursorTable>;

    fn session(&self) -> impl Future<Output = Result<Self::Session>> + Send;

    /// The tables that the job asks for and that are there now; `strict` makes an error of one that is missing.
    fn tables(
        &self,
        session: &mut Self::Session,
        strict: bool,
    ) -> impl Future<Output = Result<Vec<Arc<Self::Table>>>> + Send;

    /// As [`Database::tables`], and perhaps without those that are not its own: a database that asks for each table by itself needs not
    /// ask for others.
    fn own_tables(
        &self,
        session: &mut Self::Session,
        strict: bool,
        _own: &(dyn Fn(&TableId) -> bool + Send + Sync),
    ) -> impl Future<Output = Result<Vec<Arc<Self::Table>>>> + Send {
        self.tables(session, strict)
    }

    fn clock(&self, session: &mut Self::Session) -> impl Future<Output = Result<Clock>> + Send;

    /// The least and the greatest value that a table has.
    fn ends(
        &self,
        session: &mut Self::Session,
        table: &Self::Table,
    ) -> impl Future<Output = Result<Option<(i128, i128)>>> + Send;

    /// Sends the rows of a window, in the order of the cursor, each look at a moment of its own. It ends early when nobody
    /// takes them any more.
    fn read(
        &self,
        session: &mut Self::Session,
        table: &Self::Table,
        window: &Window,
        pages: mpsc::Sender<Page>,
    ) -> impl Future<Output = Result<()>> + Send;
}
