//! Puts small batches of one table together before they are written.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_select::concat::concat_batches;
use tokio::time::Instant;

use crate::{Error, ErrorKind, Origin, Result, TableBatch, TableId};

/// A batch of this many rows is written as it is: putting it together with others would only copy it.
const LARGE_ROWS: usize = 4_096;
/// So is one of fewer and long rows: of so many, with so many bytes.
const LONG_ROWS: usize = 1_024;
const LONG_BYTES: usize = 1 << 20;

/// Batches that wait for others of their table.
pub(super) struct Coalescer {
    max_rows: usize,
    max_bytes: usize,
    tables: HashMap<TableId, Waiting>,
    bytes: usize,
    since: Option<Instant>,
}

#[derive(Default)]
struct Waiting {
    batches: Vec<TableBatch>,
    rows: usize,
    bytes: usize,
}

impl Coalescer {
    pub(super) fn new(max_rows: usize, max_bytes: usize) -> Self {
        Self { max_rows: max_rows.max(1), max_bytes, tables: HashMap::new(), bytes: 0, since: None }
    }

    /// When the oldest waiting batch came.
    pub(super) fn since(&self) -> Option<Instant> {
        self.since
    }

    /// Takes a batch of `bytes`, and returns those that are due: the table's own when it is full, all when the
    /// bytes are.
    pub(super) fn push(&mut self, batch: TableBatch, bytes: usize) -> Result<Vec<TableBatch>> {
        if batch.change().is_change() {
            // Changes come in the size that is good for them, and overtake nothing.
            let mut due = self.drain()?;
            due.push(batch);
            return Ok(due);
        }
        let table = batch.table().clone();
        let waiting = self.tables.entry(table.clone()).or_default();
        let mut due = Vec::new();
        let differs = |last: &TableBatch| last.batch().schema_ref() != batch.batch().schema_ref();
        let long = batch.rows() >= LONG_ROWS && bytes >= LONG_BYTES;
        let large = long || batch.rows() >= LARGE_ROWS.min(self.max_rows);
        if large || waiting.batches.last().is_some_and(differs) {
            self.bytes -= waiting.bytes;
            due.extend(std::mem::take(waiting).join()?);
        }
        if large {
            due.push(batch);
            self.tables.remove(&table);
            self.since = self.since.filter(|_| !self.tables.is_empty());
            return Ok(due);
        }
        waiting.rows += batch.rows();
        waiting.bytes += bytes;
        self.bytes += bytes;
        // A small batch must not keep a large chunk of input alive while it waits.
        waiting.batches.push(if batch.rows() < 1_024 { batch.compact() } else { batch });
        if waiting.rows >= self.max_rows
            && let Some(full) = self.tables.remove(&table)
        {
            self.bytes -= full.bytes;
            due.extend(full.join()?);
        }
        if self.bytes >= self.max_bytes {
            due.extend(self.drain()?);
        }
        self.since = if self.tables.is_empty() { None } else { self.since.or_else(|| Some(Instant::now())) };
        Ok(due)
    }

    /// All that wait.
    pub(super) fn drain(&mut self) -> Result<Vec<TableBatch>> {
        (self.bytes, self.since) = (0, None);
        let mut tables: Vec<_> = self.tables.drain().collect();
        tables.sort_by(|a, b| a.0.cmp(&b.0));
        tables.into_iter().filter_map(|(_, waiting)| waiting.join().transpose()).collect()
    }
}

impl Waiting {
    fn join(mut self) -> Result<Option<TableBatch>> {
        if self.batches.len() < 2 {
            return Ok(self.batches.pop());
        }
        let Some(first) = self.batches.first() else { return Ok(None) };
        let (table, schema) = (first.table().clone(), Arc::clone(first.schema()));
        let batch = concat_batches(first.batch().schema_ref(), self.batches.iter().map(TableBatch::batch))
            .map_err(|error| Error::new(ErrorKind::Internal, "cannot join batches").with_source(error))?;
        let origin = Origin::concat(self.batches.iter().map(TableBatch::origin));
        TableBatch::new(table, schema, batch, origin).map(Some)
    }
}
