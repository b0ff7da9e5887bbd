//! Reading by a cursor: a column whose values tell what is new.
//!
//! A run reads the rows of each table in the order of the column, and its position is the last value of which it has given
//! every row: no batch ends within a value. What may still come at that value or before it is kept in view in one of two
//! ways. With a *lag*, a value is read only when the server's clock has passed it by so much, so rows that are late by less
//! are in order. With an *overlap*, rows so far behind the position are read again each time, and those that were given
//! already are told by the digests that the position remembers. Where the column may have a value twice and there is no lag,
//! the rows of the last value are remembered.
//!
//! A run ends when it has read what is there (mode `history`), and the next run of the job goes on; or it goes on by itself
//! (`realtime`, `all`), in one split that never ends, whose position has all tables.

mod config;
mod database;
mod follow;
mod pages;
mod position;
#[cfg(test)]
#[cfg(any(feature = "postgres", feature = "kwdb", feature = "mysql"))]
mod tests;
mod value;

#[cfg(any(feature = "mysql", feature = "postgres", feature = "series"))]
pub(crate) use config::Mode;
pub(crate) use config::{CursorOptions, with_cursor};
#[cfg(any(feature = "mongodb", feature = "series"))]
pub(crate) use database::Bound;
pub(crate) use database::{Clock, CursorTable, Database, Page, Window};
pub(crate) use follow::{Follow, splits};
pub(crate) use position::CursorSpec;
pub(crate) use value::Kind;
#[cfg(feature = "series")]
pub(crate) use value::Span;
