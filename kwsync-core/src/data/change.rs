//! What the rows of a batch are for their table.

use std::fmt;

/// What the rows of a batch are: rows, or changes of rows. One batch has one kind.
///
/// Changes are by key: the columns that have a place in it ([`Column::key`](crate::Column::key)). Changes of one table are applied in the order
/// in which they come, and all of a batch before the next batch of any table; within a batch no key comes twice, unless the rows are
/// [`Rows`](Self::Rows).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Change {
    /// Rows, which are written as the sink's own mode says.
    #[default]
    Rows,
    /// Rows that were inserted, or updated as a whole: each takes the place of the one with its key, or is new.
    Upsert,
    /// Rows of which only some columns are known to have changed: those of the batch. A row that is not there is ignored.
    Update,
    /// Rows that were deleted; of each the columns of its key are there, and others mean nothing. A row that is not there is ignored.
    Delete,
    /// The table was emptied. The batch has no rows.
    Truncate,
}

impl Change {
    /// Whether it is a change rather than a row.
    pub fn is_change(self) -> bool {
        self != Self::Rows
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rows => "row",
            Self::Upsert => "upsert",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Truncate => "truncate",
        })
    }
}
