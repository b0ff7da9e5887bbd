//! Objects in a bucket of Amazon S3, Alibaba Cloud OSS, MinIO and what else speaks like them.
//!
//! # Keys
//! `FOLDER/TABLE/RUN-LANE-NUMBER.parquet`, as the sink `file` names files; with `prefix=P` `P_TABLE-RUN-LANE-NUMBER.csv`, with
//! `dir=D/` `D/TABLE.NUMBER`.
//!
//! # Faults
//! Every object is an upload in parts, of which nothing is visible before it is complete. A commit writes down its uploads
//! together with the checkpoints that they belong to, below `.kwsync/` beside the objects, looks whether the run still has the
//! job, and only then completes them. A job that is resumed compares what was written down with its checkpoint: objects of
//! a commit that was never recorded are removed before their rows are read again. So no row is missing and none is there
//! twice once the job has been resumed to its end; between a commit and a crash, readers may have seen objects that
//! go again. The process that died may still be alive: its uploads are given up first, so that it completes none.
//!
//! What was uploaded and is in no commit is given up by the next run of the job. One upload can escape it: whose beginning was
//! answered and not yet written down when the process died; a rule of the bucket for unfinished uploads removes it.

mod blocks;
mod config;
mod keys;
mod session;
mod sink;
#[cfg(test)]
mod tests;
mod upload;
mod writer;

pub use config::{Layout, ObjectSinkOptions, PARAMS};
pub use sink::ObjectSink;
pub use writer::ObjectWriter;

use kwsync_core::Result;
use kwsync_core::config::{ConnectorInfo, Registry};
use kwsync_core::system::object::{ObjectClient, ObjectOptions};

use crate::file::FileFormat;

/// Adds the sink `s3` to `registry`.
pub fn register(registry: &mut Registry) {
    let info = ConnectorInfo::sink("s3", "objects in a bucket of S3, OSS and what speaks like them")
        .with_aliases(&["oss"])
        .with_params(PARAMS)
        .with_formats(crate::file::guess_format);
    registry.register_sink(info, |request| -> Result<_> {
        let format = match request.format.as_ref().map(|format| format.name) {
            Some("parquet") | None => FileFormat::Parquet,
            Some("arrow") => FileFormat::Arrow,
            Some(name) => FileFormat::Records { name, encoders: request.encoder()? },
        };
        let (connection, object) = ObjectOptions::from_dsn(request.dsn, request.params)?;
        let options = ObjectSinkOptions::from_params(request.params, object.as_deref())?;
        Ok(Box::new(ObjectSink::new(ObjectClient::new(connection)?, format, options)?))
    });
}
