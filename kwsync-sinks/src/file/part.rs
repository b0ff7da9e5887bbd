//! A file that is being written.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kwsync_core::{Error, Reject, Result, Schema, TableBatch};

use super::encoded::{Encoded, Encoding};

pub(super) struct Part {
    path: PathBuf,
    encoded: Encoded<File>,
}

impl Part {
    pub(super) fn create(path: PathBuf, schema: &Arc<Schema>, encoding: &Encoding) -> Result<Self> {
        let file = File::create_new(&path).map_err(|error| failed(&path, error))?;
        let encoded = Encoded::new(file, path.display().to_string(), schema, encoding)?;
        Ok(Self { path, encoded })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// As [`Encoded::takes`].
    pub(super) fn takes(&self, schema: &Arc<Schema>) -> bool {
        self.encoded.takes(schema)
    }

    /// Writes rows; returns those that the format cannot hold.
    pub(super) fn write(&mut self, batch: &TableBatch) -> Result<Vec<Reject>> {
        self.encoded.write(batch)
    }

    pub(super) fn rows(&self) -> u64 {
        self.encoded.rows()
    }

    /// As [`Encoded::bytes`].
    pub(super) fn bytes(&self) -> u64 {
        self.encoded.bytes()
    }

    pub(super) fn buffered_bytes(&self) -> usize {
        self.encoded.buffered_bytes()
    }

    /// Ends the file and forces it to the disk; returns its size.
    pub(super) fn finish(self, fsync: bool) -> Result<u64> {
        let path = self.path;
        let failed = |error| failed(&path, error);
        let file = self.encoded.finish()?;
        if fsync {
            file.sync_all().map_err(failed)?;
        }
        Ok(file.metadata().map_err(failed)?.len())
    }
}

fn failed(path: &Path, error: std::io::Error) -> Error {
    Error::io(format_args!("cannot write {}", path.display()), error)
}
