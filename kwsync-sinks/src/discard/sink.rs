//! The sink itself.

use std::sync::Arc;

use kwsync_core::{
    Capabilities, Delivery, Lane, Plan, Result, RowCounts, Schema, Settled, Sink, TableBatch, TableId, Writer,
};

/// Takes every row and keeps none.
#[derive(Clone, Copy, Debug, Default)]
pub struct DiscardSink {}

impl DiscardSink {
    /// One that has nothing to be told.
    pub fn new() -> Self {
        Self {}
    }
}

impl Sink for DiscardSink {
    type Writer = DiscardWriter;

    fn capabilities(&self) -> Capabilities {
        // A row that is dropped twice is dropped.
        Capabilities::new("discard").with_delivery(Delivery::Idempotent)
    }

    fn share(&self) -> Option<Self> {
        Some(*self)
    }

    async fn plan(&self, table: &TableId, _schema: &Arc<Schema>) -> Result<Plan> {
        Ok(Plan::new(table.to_string(), "counted and dropped", Delivery::Idempotent))
    }

    async fn prepare(&self, _table: &TableId, _schema: &Arc<Schema>) -> Result<()> {
        Ok(())
    }

    async fn open(&self, _lane: &Lane) -> Result<DiscardWriter> {
        Ok(DiscardWriter { pending: Settled::default() })
    }
}

/// The writer of [`DiscardSink`]. Rows settle at the next flush, as they do elsewhere.
#[derive(Debug)]
pub struct DiscardWriter {
    pending: Settled,
}

impl Writer for DiscardWriter {
    async fn write(&mut self, batch: &TableBatch) -> Result<Settled> {
        self.pending.add(batch.table(), RowCounts { written: batch.rows() as u64, ..RowCounts::default() });
        Ok(Settled::default())
    }

    async fn flush(&mut self) -> Result<Settled> {
        Ok(std::mem::take(&mut self.pending))
    }
}
