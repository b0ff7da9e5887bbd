//! The telnet protocol: `put METRIC TIME VALUE TAG=VALUE ...` a line.

mod decode;
mod options;
mod parse;
mod shape;

pub use decode::TelnetDecoder;
pub use options::TelnetOptions;
pub use parse::{Point, PointError, points};
