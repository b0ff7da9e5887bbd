//! JSON.

#[cfg(feature = "json")]
mod cells;
pub mod escape;
#[cfg(feature = "json")]
mod ndjson;
#[cfg(all(test, feature = "json"))]
mod tests;

#[cfg(feature = "json")]
pub use ndjson::{NdjsonEncoder, NdjsonOptions, NonFinite, Nulls};
