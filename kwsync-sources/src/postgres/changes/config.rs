//! How changes are followed.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::relational::changes::{Extent, Operations, Order};

/// Whether values come in binary form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in super::super) enum Wire {
    /// Where the server can and all types of all tables have one that is read here.
    #[default]
    Auto,
    Text,
}

/// How the changes of tables are followed.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct ChangesOptions {
    pub(in super::super) extent: Extent,
    /// The job, by which slot and publication are called.
    pub(in super::super) job: Option<String>,
    pub(in super::super) slot: Option<String>,
    pub(in super::super) publication: Option<String>,
    /// Whether tables without a key are followed, by their inserts.
    pub(in super::super) keyless: bool,
    pub(in super::super) wire: Wire,
    pub(in super::super) order: Order,
    pub(in super::super) operations: Operations,
    /// Whether a stream of this process has met values that come as text alone: the next fetches all so.
    pub(in super::super) as_text: Arc<AtomicBool>,
}
