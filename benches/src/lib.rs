//! Deterministic input for benchmarks: the same bytes on every machine.

pub mod delimited;
pub mod json;
pub mod line_protocol;
mod rng;

pub use rng::Rng;
