//! Files: one, those of a pattern, those of a directory, or standard input.
//!
//! # Splits
//! A plain file is cut into pieces that lanes read side by side only where that is exact: if the format says
//! that a line end always ends a record, or if the operator says so (`split=lines`). Line protocol is not cut on
//! its own account, since a string in it may hold a line end, and whether one stands within a string shows only
//! from the start of the file. gzip files, pipes and standard input are never cut.
//!
//! # Resuming
//! A position knows the file: its inode, its length and a hash of its first 4 KiB. A file that was replaced or
//! truncated since is refused, and the error says which of these changed. One that has grown is read on: what was
//! appended is a further piece. It is refused if it has grown from the middle of a line, since the part that was
//! there has been read as a record. A Parquet, Arrow or gzip file that has grown is refused, too. Only what comes in
//! order can be read again, so not standard input or a pipe.
//!
//! Byte positions of gzip files count the uncompressed bytes.

mod ahead;
#[cfg(any(feature = "ipc", feature = "parquet"))]
mod batches;
mod config;
mod identity;
mod input;
mod paths;
mod source;
#[cfg(test)]
mod tests;

#[cfg(any(feature = "ipc", feature = "parquet"))]
pub use batches::{BatchFileReader, BatchFileSource};
pub use config::{Compression, FileOptions, PARAMS, SplitMode};
pub use source::{FileReader, FileSource};
#[cfg(all(feature = "object", any(feature = "ipc", feature = "parquet")))]
pub(crate) use {ahead::Ahead, batches::decoded};

use kwsync_core::config::{ConnectorInfo, Registry};
use kwsync_core::{Decoding, Result};

/// Adds the source `file` to `registry`.
pub fn register(registry: &mut Registry) {
    let info = ConnectorInfo::source("file", "files, patterns, directories or standard input, plain or gzip")
        .with_aliases(&["csv", "local"])
        .with_params(PARAMS)
        .with_formats(config::guess_format);
    registry.register_source(info, |request| -> Result<_> {
        let path = request.dsn.path()?;
        #[cfg(any(feature = "ipc", feature = "parquet"))]
        {
            let source = match request.format.as_ref().map(|format| format.name) {
                #[cfg(feature = "parquet")]
                Some("parquet") => Some(BatchFileSource::parquet(&path)),
                #[cfg(feature = "ipc")]
                Some("arrow") => Some(BatchFileSource::arrow(&path)),
                _ => None,
            };
            if let Some(source) = source {
                return Ok(match request.params.text("table") {
                    Some(table) => Box::new(source.with_table(table)),
                    None => Box::new(source),
                });
            }
        }
        let decoder = request.decoder()?;
        let line_records = request.format.as_ref().is_some_and(|format| format.line_records);
        let options = FileOptions::from_params(request.params, line_records);
        Ok(Box::new(Decoding::new(FileSource::new(path, options), decoder)))
    });
    #[cfg(feature = "ipc")]
    registry.register_format(ConnectorInfo::format("arrow", "Arrow IPC files and streams"));
    #[cfg(feature = "parquet")]
    registry.register_format(ConnectorInfo::format("parquet", "Parquet files"));
}
