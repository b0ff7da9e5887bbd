//! Integration tests; one binary.
#![allow(clippy::unwrap_used, clippy::string_slice, clippy::type_complexity)]

#[cfg(feature = "arrow")]
mod adapt;
#[cfg(all(feature = "arrow", feature = "delimited"))]
mod bounds;
mod conformance;
#[cfg(feature = "arrow")]
mod decoder;
#[cfg(feature = "delimited")]
mod delimited;
mod dialects;
#[cfg(feature = "arrow")]
mod encode;
#[cfg(feature = "arrow")]
mod encode_reference;
mod inputs;
#[cfg(feature = "json")]
mod json;
#[cfg(feature = "json")]
mod json_bounds;
#[cfg(feature = "json")]
mod json_kaiwudb;
#[cfg(feature = "json")]
mod json_mapping;
#[cfg(feature = "json")]
mod json_opentsdb;
mod line_reference;
mod number;
#[cfg(feature = "arrow")]
mod output;
#[cfg(feature = "delimited")]
mod regressions;
mod samples;
mod servers;
#[cfg(feature = "arrow")]
mod steady;
#[cfg(feature = "arrow")]
mod tags;
#[cfg(feature = "arrow")]
mod telnet;
