//! How changes are followed.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Whether values come in binary form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in super::super) enum Wire {
    /// Where the server can and all types of all tables have one that is read here.
    #[default]
    Auto,
    Text,
}

/// In which order changes are applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in super::super) enum Order {
    /// That of the source where tables refer to each other or have unique indexes beside their key; the net effect of each table elsewhere.
    #[default]
    Auto,
    /// That of the source, over all tables.
    Source,
    /// The net effect of each table.
    Table,
}

/// What is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in super::super) enum Extent {
    /// What is there, and the changes that have come meanwhile; then the job ends.
    #[default]
    CaughtUp,
    /// What comes.
    Realtime,
    /// Both, without an end.
    All,
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
    /// Whether a stream of this process has met values that come as text alone: the next fetches all so.
    pub(in super::super) as_text: Arc<AtomicBool>,
}
