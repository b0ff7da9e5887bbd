//! Parquet files: batches in, batches out, over anything that can be written to, or a file.

mod reader;
#[cfg(test)]
mod tests;
mod writer;

pub use reader::{BatchReader, ReadOptions, RowGroup};
pub use writer::{BatchWriter, Compression, WriteOptions};

use kwsync_core::{Error, ErrorKind};
use parquet::errors::ParquetError;

/// An error of the parquet crate as ours: faults of the system keep their kind, others are of `kind`.
fn fault(kind: ErrorKind, what: &str, error: ParquetError) -> Error {
    match error {
        ParquetError::External(source) => match source.downcast::<std::io::Error>() {
            Ok(io) => Error::io(what, *io),
            Err(source) => Error::new(ErrorKind::Io, format!("{what}: {source}")),
        },
        other => Error::new(kind, format!("{what}: {other}")),
    }
}
