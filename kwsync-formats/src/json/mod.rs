//! JSON.

pub mod escape;
#[cfg(feature = "json")]
mod ndjson;

#[cfg(feature = "json")]
pub use ndjson::{NdjsonEncoder, NdjsonOptions, NonFinite, Nulls};
