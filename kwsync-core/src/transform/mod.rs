//! Batch in, batch out: what happens to rows between a source and a sink. Every row keeps its origin.

mod cast;
mod columns;
#[cfg(feature = "expressions")]
mod expr;
mod lacking;
mod merge;
mod positions;
mod privacy;
mod roles;
#[cfg(feature = "expressions")]
mod rows;
mod table;
#[cfg(test)]
mod tests;

use std::fmt;

pub use columns::{AddColumn, CastColumn, DropColumns, RenameColumn, SelectColumns};
pub(crate) use columns::{without, without_column};
#[cfg(feature = "expressions")]
pub use expr::{Evaluated, Expression};
pub use merge::MergeTables;
pub use positions::NameColumns;
pub use privacy::{HashColumn, Mask, MaskColumn};
pub use roles::SetRole;
#[cfg(feature = "expressions")]
pub use rows::{ComputeColumn, FilterRows};
pub use table::{RenameTable, TableScope};

use crate::{Reject, Result, TableBatch};

/// What a transform made of a batch.
#[derive(Debug, Default)]
pub struct Transformed {
    /// The rows that go on.
    pub batches: Vec<TableBatch>,
    /// The rows that could not be transformed.
    pub rejects: Vec<Reject>,
    /// How many rows are left out on purpose.
    pub filtered: u64,
}

impl From<TableBatch> for Transformed {
    fn from(batch: TableBatch) -> Self {
        Self { batches: vec![batch], rejects: Vec::new(), filtered: 0 }
    }
}

/// Changes batches on their way. It is shared by all lanes and keeps no state between batches.
pub trait Transform: fmt::Debug + Send + Sync {
    /// Transforms one batch. Rows may be dropped or moved to other tables, and each keeps its origin.
    ///
    /// # Errors
    /// `Schema` or `Config` when the transform does not fit the table at all; a fault of one row is a reject.
    fn apply(&self, batch: TableBatch) -> Result<Transformed>;

    /// Whether it may be applied to [changes](crate::Change): to batches that lack columns, as of a delete all but the key. One that decides by
    /// values which rows go on may not: a delete has none, and would be lost.
    fn takes_changes(&self) -> bool {
        false
    }
}
