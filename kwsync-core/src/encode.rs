//! Batches in, bytes out: the contract that every format's encoder keeps.

use std::ops::Range;

use crate::{Result, TableBatch};

/// An encoder of one format. It appends to a buffer of the caller's and does no I/O.
pub trait Encoder: Send {
    /// The format's name, such as `ndjson`.
    fn format(&self) -> &'static str;

    /// Appends what stands before the first row (a header, a signature).
    ///
    /// # Errors
    /// When the format cannot be started for these columns.
    fn begin(&mut self, out: &mut Vec<u8>) -> Result<()> {
        let _ = out;
        Ok(())
    }

    /// Appends the rows `rows` of `batch`. On an error `out` ends where it ended before.
    ///
    /// # Errors
    /// `Data`, with column and row, for a value that the format cannot hold; `Unsupported` for a type.
    ///
    /// # Panics
    /// When `rows` reaches beyond the batch.
    fn encode(&mut self, batch: &TableBatch, rows: Range<usize>, out: &mut Vec<u8>) -> Result<()>;

    /// Appends what stands behind the last row (a trailer).
    ///
    /// # Errors
    /// When the format cannot be ended here.
    fn end(&mut self, out: &mut Vec<u8>) -> Result<()> {
        let _ = out;
        Ok(())
    }
}
