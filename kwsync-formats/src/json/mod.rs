//! JSON.

#[cfg(feature = "json")]
mod engine;
pub mod escape;
#[cfg(feature = "json")]
mod infer;
#[cfg(feature = "json")]
pub mod kaiwudb;
#[cfg(feature = "json")]
pub mod mapping;
#[cfg(feature = "json")]
mod ndjson;
#[cfg(feature = "json")]
pub mod opentsdb;
#[cfg(feature = "json")]
mod read;
#[cfg(feature = "json")]
mod records;
#[cfg(feature = "json")]
mod register;
#[cfg(feature = "json")]
mod shape;

#[cfg(feature = "json")]
pub use infer::{Conflict, JsonDecoder, JsonOptions, Objects};
#[cfg(feature = "json")]
pub use ndjson::{NdjsonEncoder, NdjsonOptions, NonFinite, Nulls};
#[cfg(feature = "json")]
pub use records::Records;
#[cfg(feature = "json")]
pub(crate) use register::register;
