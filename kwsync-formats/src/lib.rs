//! Fast zero-copy parsers and encoders between time-series protocols and Arrow batches.

#[cfg(feature = "arrow")]
mod build;
pub mod influx;
pub mod json;
mod utf8;
