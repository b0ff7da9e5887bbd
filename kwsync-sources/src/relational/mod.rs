//! What the sources of databases share: how tables and columns are written down, and how ranges are cut.

mod batches;
#[cfg(any(feature = "mysql", feature = "postgres"))]
pub(crate) mod changes;
mod cursor;
mod list;
mod pattern;
#[cfg(any(feature = "mysql", feature = "odbc"))]
pub(crate) mod ranged;
mod ranges;

pub(crate) use batches::Batches;
#[cfg(any(feature = "mongodb", feature = "series"))]
pub(crate) use cursor::Bound;
#[cfg(any(feature = "mysql", feature = "postgres", feature = "series"))]
pub(crate) use cursor::Mode;
#[cfg(feature = "series")]
pub(crate) use cursor::Span;
pub(crate) use cursor::{
    Clock, CursorOptions, CursorSpec, CursorTable, Database, Follow, Kind, Page, Window, splits, with_cursor,
};
pub(crate) use list::{items, one_line};
pub(crate) use pattern::Pattern;
#[cfg(feature = "postgres")]
pub(crate) use ranges::{even, picked};
