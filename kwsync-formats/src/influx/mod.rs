//! InfluxDB line protocol.
//!
//! [`lines`] is the borrowed layer: an iterator of [`Line`]s over bytes in memory, without Arrow.
//! What is accepted is the strict dialect `influx`, or another [`Dialect`]; docs/formats.md compares it with the
//! servers.

#[cfg(feature = "arrow")]
mod decode;
mod dialect;
#[cfg(feature = "arrow")]
mod encode;
mod error;
mod line;
mod lines;
pub mod number;
mod parse;
mod points;
#[cfg(feature = "reference")]
pub mod reference;
pub(crate) mod scan;
mod typed;
pub(crate) mod write;

#[cfg(feature = "arrow")]
pub use crate::build::TagEncoding;
#[cfg(feature = "arrow")]
pub use decode::{LineDecoder, LineOptions, MissingTimestamp};
pub use dialect::Dialect;
#[cfg(feature = "arrow")]
pub use encode::LineEncoder;
pub use error::{LineError, Position, Reason};
pub use line::{EscapedBytes, EscapedStr, FieldValue, Fields, Line, Precision, Tags};
pub use lines::{DEFAULT_MAX_LINE_BYTES, Lines, lines};
pub use points::write_point;
pub use write::write_line;
