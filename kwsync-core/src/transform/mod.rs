//! Batch in, batch out: what happens to rows between a source and a sink. Every row keeps its origin.

mod columns;
mod positions;
mod table;
#[cfg(test)]
mod tests;

use std::fmt;

pub use columns::{AddColumn, CastColumn, DropColumns, RenameColumn, SelectColumns};
pub(crate) use columns::{without, without_column};
pub use positions::NameColumns;
pub use table::{RenameTable, TableScope};

use crate::{Reject, Result, TableBatch};

/// What a transform made of a batch.
#[derive(Debug, Default)]
pub struct Transformed {
    /// The rows that go on.
    pub batches: Vec<TableBatch>,
    /// The rows that could not be transformed.
    pub rejects: Vec<Reject>,
}

impl From<TableBatch> for Transformed {
    fn from(batch: TableBatch) -> Self {
        Self { batches: vec![batch], rejects: Vec::new() }
    }
}

/// Changes batches on their way. It is shared by all lanes and keeps no state between batches.
pub trait Transform: fmt::Debug + Send + Sync {
    /// Transforms one batch. Rows may be dropped or moved to other tables, and each keeps its origin.
    ///
    /// # Errors
    /// `Schema` or `Config` when the transform does not fit the table at all; a fault of one row is a reject.
    fn apply(&self, batch: TableBatch) -> Result<Transformed>;
}
