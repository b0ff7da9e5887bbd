//! Arrow IPC: batches as files (`.arrow`, also called Feather 2) and as streams (`.arrows`), read and written.
//!
//! Follows the [Arrow columnar format](https://arrow.apache.org/docs/format/Columnar.html#serialization-and-interprocess-communication-ipc).

mod reader;
#[cfg(test)]
mod tests;
mod writer;

pub use reader::{BatchReader, ReadOptions};
pub use writer::{BatchWriter, Compression, Layout, WriteOptions};

use arrow_schema::ArrowError;
use kwsync_core::{Error, ErrorKind};

/// An error of the arrow crates as ours: faults of the system keep their kind, others are of `kind`.
fn fault(kind: ErrorKind, what: &str, error: ArrowError) -> Error {
    match error {
        ArrowError::IoError(_, io) if io.raw_os_error().is_some() || is_of_system(io.kind()) => {
            Error::io(what, io)
        }
        other => Error::new(kind, format!("{what}: {other}")),
    }
}

/// Whether an error is one of the output or the input, and not of what stands in it: that a file ends too early is
/// told as an error of reading, too.
fn is_of_system(kind: std::io::ErrorKind) -> bool {
    use std::io::ErrorKind as Io;
    !matches!(kind, Io::UnexpectedEof | Io::InvalidData | Io::InvalidInput | Io::Other)
}
