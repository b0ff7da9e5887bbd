//! Directories of files: one folder for each table, named after it and percent-encoded.
//!
//! # Layout
//! `DIR/TABLE/RUN-LANE-NUMBER.parquet`. A file has its name only when it is whole and on the disk: until then it
//! is a `.part` in `DIR/.kwsync`, which readers of data sets skip, and which is gone when the job has ended well.
//!
//! # Faults
//! A commit closes the files of a lane, forces them to the disk, writes down which files they are and which
//! checkpoints they belong to, and only then gives them their names. A job that is resumed compares what was
//! written down with its checkpoint: files of a commit that was never recorded are removed before their rows are
//! read again. So no row is missing and none is there twice once the job has been resumed to its end. The
//! process that died may still be alive: its folder in `DIR/.kwsync` is renamed first, so that it cannot name
//! another file.

mod config;
pub(crate) mod encoded;
pub(crate) mod names;
mod part;
mod session;
pub(crate) mod sink;
#[cfg(test)]
mod tests;

#[cfg(feature = "object")]
pub(crate) use config::guess_format;
pub use config::{Compression, FileFormat, FileSinkOptions, PARAMS};
pub use sink::{FileSink, FileWriter};

use kwsync_core::Result;
use kwsync_core::config::{ConnectorInfo, Registry};

/// Adds the sink `file` to `registry`.
pub fn register(registry: &mut Registry) {
    let info = ConnectorInfo::sink("file", "a directory with a folder of files for each table")
        .with_aliases(&["local"])
        .with_params(PARAMS)
        .with_formats(config::guess_format);
    registry.register_sink(info, |request| -> Result<_> {
        let format = match request.format.as_ref().map(|format| format.name) {
            Some("parquet") | None => FileFormat::Parquet,
            Some("arrow") => FileFormat::Arrow,
            Some(name) => FileFormat::Records { name, encoders: request.encoder()? },
        };
        let options = FileSinkOptions::from_params(request.params);
        Ok(Box::new(FileSink::new(request.dsn.path()?, format, options)?))
    });
}
