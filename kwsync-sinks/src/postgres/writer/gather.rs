//! Rows out of the order of their key wait for others, to be ordered together: the more rows are in order, the fewer pages of
//! its index does the server touch for each.

use std::sync::Arc;

use kwsync_core::TableBatch;

/// Rows that are ordered together, at most.
const MOST_ROWS: usize = 131_072;
/// Bytes of batches that wait, at most. Ordering takes as many once more, and what was ordered is kept until it is answered.
const MOST_BYTES: usize = 16 << 20;

/// Batches of one table that wait.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    batches: Vec<TableBatch>,
    rows: usize,
    bytes: usize,
}

impl Gathered {
    pub(super) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// Whether a batch may wait with those that do. Other tables may not: their rows may refer to these.
    pub(super) fn takes(&self, batch: &TableBatch) -> bool {
        self.batches.last().is_none_or(|last| {
            last.table() == batch.table()
                && (Arc::ptr_eq(last.schema(), batch.schema()) || last.schema() == batch.schema())
                && last.batch().schema_ref() == batch.batch().schema_ref()
        })
    }

    pub(super) fn push(&mut self, batch: TableBatch) {
        self.rows += batch.rows();
        self.bytes += batch.retained_bytes();
        self.batches.push(batch);
    }

    pub(super) fn is_full(&self) -> bool {
        self.rows >= MOST_ROWS || self.bytes >= MOST_BYTES
    }

    pub(super) fn take(&mut self) -> Vec<TableBatch> {
        std::mem::take(self).batches
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}
