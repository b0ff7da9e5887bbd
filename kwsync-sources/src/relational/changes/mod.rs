//! What the streams of changes of databases share: how changes wait to become batches, and when these are passed on.

mod config;
mod flow;
mod gather;
mod groups;

use std::fmt;
use std::sync::Arc;

use kwsync_core::{Change, Decoded, Input, Position, Result};

pub(crate) use config::{Extent, Operations, Order};
pub(crate) use flow::{Flow, Place, Telling, Told};
pub(crate) use gather::Gathered;
pub(crate) use groups::{Grouped, Related, grouped, order_notes};

/// The values of one row, as the stream's table keeps them, and the columns of it that are not known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Values {
    pub(crate) record: Vec<u8>,
    pub(crate) missing: Vec<u16>,
}

/// A table of a stream, with one set of columns.
pub(crate) trait Changing: fmt::Debug + Send + Sync {
    /// Tables whose changes must stay in order have the same number.
    fn group(&self) -> usize;

    /// Whether changes of one row may be put together, and rows of the table change places.
    fn folds(&self) -> bool;

    /// Whether its rows are told apart by a key.
    fn is_keyed(&self) -> bool;

    /// The values of the key, as they tell rows apart.
    fn key_of(&self, values: &Values) -> Box<[u8]>;

    /// Puts what `older` knows in the place of what `values` lack.
    fn fill(values: &mut Values, older: &Values);

    /// Rows of one kind as batches, and what of them cannot be read. All lack the same columns.
    fn batches(&self, change: Change, rows: &[Values], input: &Arc<Input>, at: Position) -> Result<Decoded>;
}
