//! Integration tests; one binary.

#[cfg(feature = "arrow")]
mod decoder;
mod inputs;
mod line_reference;
mod number;
#[cfg(feature = "arrow")]
mod output;
mod samples;
