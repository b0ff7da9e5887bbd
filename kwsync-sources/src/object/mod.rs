//! Objects of Amazon S3, Alibaba Cloud OSS, MinIO and what else speaks like them.
//!
//! # Selection
//! By exactly one of: what follows the bucket in the address (a key, a pattern, or a folder that ends in `/`, with what
//! lies below it), `prefix` (how keys begin, literally and however deep), `dir` (a folder, and not what lies in folders
//! of it), `filepath` (`f`, `f.1`, `f.2` and so on, up to the first that is missing). Objects without bytes, and what this
//! program keeps below `.kwsync/`, are left out.
//!
//! # Splits and resuming
//! An object is one split; lanes take them in the order of their keys. A position knows the object: ETag and size, or
//! the time of its last change where the service tells no ETag. An object that was changed since is refused. Records are read on by a
//! request for the bytes from the position on; a gzip object is read from its start, and what was loaded is passed over;
//! Parquet is read on by rows, Arrow by batches.

#[cfg(any(feature = "ipc", feature = "parquet"))]
mod batches;
mod config;
mod feed;
#[cfg(any(feature = "ipc", feature = "parquet"))]
mod ranges;
mod select;
mod source;
#[cfg(test)]
mod tests;

#[cfg(any(feature = "ipc", feature = "parquet"))]
pub use batches::{ObjectBatchReader, ObjectBatchSource};
pub use config::{ObjectSourceOptions, PARAMS, Selection};
pub use source::{ObjectReader, ObjectSource};

use kwsync_core::config::{ConnectorInfo, Registry};
use kwsync_core::system::object::{ObjectClient, ObjectOptions};
use kwsync_core::{Decoding, Result};

/// Adds the source `s3` to `registry`.
pub fn register(registry: &mut Registry) {
    let info = ConnectorInfo::source("s3", "objects of S3, OSS and what speaks like them, plain or gzip")
        .with_aliases(&["oss"])
        .with_params(PARAMS)
        .with_formats(config::guess_format);
    registry.register_source(info, |request| -> Result<_> {
        let (connection, object) = ObjectOptions::from_dsn(request.dsn, request.params)?;
        let options = ObjectSourceOptions::from_params(request.params, object.as_deref())?;
        let client = ObjectClient::new(connection)?;
        #[cfg(any(feature = "ipc", feature = "parquet"))]
        {
            let source = match request.format.as_ref().map(|format| format.name) {
                #[cfg(feature = "parquet")]
                Some("parquet") => Some(ObjectBatchSource::parquet(client.clone(), options.clone())),
                #[cfg(feature = "ipc")]
                Some("arrow") => Some(ObjectBatchSource::arrow(client.clone(), options.clone())),
                _ => None,
            };
            if let Some(source) = source {
                return Ok(match request.params.text("table") {
                    Some(table) => Box::new(source.with_table(table)),
                    None => Box::new(source),
                });
            }
        }
        Ok(Box::new(Decoding::new(ObjectSource::new(client, options), request.decoder()?)))
    });
    #[cfg(feature = "ipc")]
    registry.register_format(ConnectorInfo::format("arrow", "Arrow IPC files and streams"));
    #[cfg(feature = "parquet")]
    registry.register_format(ConnectorInfo::format("parquet", "Parquet files"));
}
