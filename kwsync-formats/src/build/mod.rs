//! Column builders whose last row can be taken back, made for parsers: values go straight in, columns that a
//! row does not mention catch up with nulls later.

mod column;
mod dictionary;
mod pool;
mod text;

pub use column::TagEncoding;
pub(crate) use column::{Column, Data};
pub(crate) use dictionary::Dictionary;
pub(crate) use pool::{Pool, Stack};
pub(crate) use text::{Chunk, INLINE, Text};
