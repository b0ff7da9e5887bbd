//! Fast zero-copy parsers and encoders between time-series protocols and Arrow batches.

pub mod influx;
pub mod json;
mod utf8;
