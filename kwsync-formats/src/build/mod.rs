//! Column builders whose last row can be taken back, made for parsers: values go straight in, columns that a
//! row does not mention catch up with nulls later.
// JSON uses all of it.
#![cfg_attr(not(feature = "json"), allow(dead_code, unused_imports))]

mod cast;
mod column;
mod dictionary;
mod pool;
mod rows;
#[cfg(test)]
mod tests;
mod text;

pub(crate) use cast::{Cell, Kind, Str, by_size, cast, clock_ms, scale_time};
pub use column::TagEncoding;
pub(crate) use column::{Column, Data};
pub(crate) use dictionary::Dictionary;
pub(crate) use pool::{Pool, Stack};
pub(crate) use rows::{EXACT, Misfit, NONE, Rule, Table, Tables, Target};
pub(crate) use text::{Chunk, INLINE, Text};
