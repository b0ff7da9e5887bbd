//! A file that is being written.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flate2::write::GzEncoder;
use kwsync_core::{Encoder, Error, ErrorKind, Reject, Result, Schema, Stage, TableBatch};
use kwsync_formats::ipc;
use kwsync_formats::parquet::{BatchWriter, Compression as ParquetCompression, WriteOptions};

use super::{Compression, FileFormat, FileSinkOptions};

/// Bytes gathered before they are written.
const BUFFER_BYTES: usize = 1 << 20;

pub(super) struct Part {
    path: PathBuf,
    schema: Arc<Schema>,
    out: Out,
    rows: u64,
}

enum Out {
    Parquet(Box<BatchWriter<BufWriter<File>>>),
    Arrow(Box<ipc::BatchWriter<BufWriter<File>>>),
    Records { encoder: Box<dyn Encoder>, buffer: Vec<u8>, written: u64, file: Records },
}

enum Records {
    Plain(File),
    Gzip(GzEncoder<File>),
}

impl Part {
    pub(super) fn create(
        path: PathBuf,
        schema: &Arc<Schema>,
        format: &FileFormat,
        options: &FileSinkOptions,
    ) -> Result<Self> {
        let file = File::create_new(&path).map_err(|error| failed(&path, error))?;
        let out = match format {
            FileFormat::Parquet => {
                let compression = match options.compression {
                    Compression::None => ParquetCompression::None,
                    Compression::Gzip => ParquetCompression::Gzip,
                    Compression::Snappy => ParquetCompression::Snappy,
                    Compression::Auto | Compression::Lz4 | Compression::Zstd => ParquetCompression::Zstd,
                };
                let options = WriteOptions::new()
                    .with_compression(compression)
                    .with_row_group_rows(options.row_group_rows);
                let file = BufWriter::with_capacity(BUFFER_BYTES, file);
                Out::Parquet(Box::new(BatchWriter::try_new(file, schema.arrow_schema(), &options)?))
            }
            FileFormat::Arrow => {
                let compression = match options.compression {
                    Compression::Lz4 => ipc::Compression::Lz4,
                    Compression::Zstd => ipc::Compression::Zstd,
                    _ => ipc::Compression::None,
                };
                let options = ipc::WriteOptions::new().with_compression(compression);
                let file = BufWriter::with_capacity(BUFFER_BYTES, file);
                Out::Arrow(Box::new(ipc::BatchWriter::try_new(file, schema.arrow_schema(), &options)?))
            }
            FileFormat::Records { encoders, .. } => {
                let mut encoder = encoders()?;
                let mut buffer = Vec::new();
                encoder.begin(&mut buffer)?;
                let file = match options.compression {
                    Compression::Gzip => Records::Gzip(GzEncoder::new(file, flate2::Compression::fast())),
                    _ => Records::Plain(file),
                };
                Out::Records { encoder, buffer, written: 0, file }
            }
        };
        Ok(Self { path, schema: Arc::clone(schema), out, rows: 0 })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether rows of `schema` go into this file. Records hold any columns; other files have one schema.
    pub(super) fn takes(&self, schema: &Arc<Schema>) -> bool {
        matches!(self.out, Out::Records { .. })
            || Arc::ptr_eq(&self.schema, schema)
            || self.schema.columns() == schema.columns()
    }

    /// Writes rows; returns those that the format cannot hold.
    pub(super) fn write(&mut self, batch: &TableBatch) -> Result<Vec<Reject>> {
        let mut rejects = Vec::new();
        let mut row = 0;
        while row < batch.rows() {
            let Err(error) = self.write_rows(batch, row, batch.rows()) else { break };
            if error.kind() != ErrorKind::Data {
                return Err(error);
            }
            // The first bad row, wherever it is: half of the rows at a time.
            let (mut good, mut bad) = (row, batch.rows());
            while bad - good > 1 {
                let middle = good + (bad - good) / 2;
                match self.write_rows(batch, good, middle) {
                    Ok(()) => good = middle,
                    Err(error) if error.kind() == ErrorKind::Data => bad = middle,
                    Err(error) => return Err(error),
                }
            }
            // What is left is one row; it is bad, or the ones behind it are.
            if let Err(error) = self.write_rows(batch, good, good + 1) {
                if error.kind() != ErrorKind::Data {
                    return Err(error);
                }
                let code = error.code().unwrap_or("data").to_owned();
                rejects.push(batch.reject(good, Stage::Encode, code, error.message()));
            }
            row = good + 1;
        }
        Ok(rejects)
    }

    /// Writes all of the rows, or none and the error is one of data.
    fn write_rows(&mut self, batch: &TableBatch, from: usize, to: usize) -> Result<()> {
        match &mut self.out {
            Out::Parquet(writer) => writer.write(&batch.batch().slice(from, to - from))?,
            Out::Arrow(writer) => writer.write(&batch.batch().slice(from, to - from))?,
            Out::Records { encoder, buffer, written, file } => {
                encoder.encode(batch, from..to, buffer)?;
                if buffer.len() >= BUFFER_BYTES {
                    file.write_all(buffer).map_err(|error| failed(&self.path, error))?;
                    *written += buffer.len() as u64;
                    buffer.clear();
                }
            }
        }
        self.rows += (to - from) as u64;
        Ok(())
    }

    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// Bytes so far, those that are not written yet included; of a gzip file the uncompressed ones.
    pub(super) fn bytes(&self) -> u64 {
        match &self.out {
            Out::Parquet(writer) => writer.bytes(),
            Out::Arrow(writer) => writer.bytes(),
            Out::Records { buffer, written, .. } => written + buffer.len() as u64,
        }
    }

    pub(super) fn buffered_bytes(&self) -> usize {
        match &self.out {
            Out::Parquet(writer) => writer.buffered_bytes() + BUFFER_BYTES,
            Out::Arrow(_) => BUFFER_BYTES,
            Out::Records { buffer, .. } => buffer.capacity(),
        }
    }

    /// Ends the file and forces it to the disk; returns its size.
    pub(super) fn finish(self, fsync: bool) -> Result<u64> {
        let path = self.path;
        let failed = |error| failed(&path, error);
        let file = match self.out {
            Out::Parquet(writer) => {
                writer.finish()?.into_inner().map_err(|error| failed(error.into_error()))?
            }
            Out::Arrow(writer) => {
                writer.finish()?.into_inner().map_err(|error| failed(error.into_error()))?
            }
            Out::Records { mut encoder, mut buffer, mut file, .. } => {
                encoder.end(&mut buffer)?;
                file.write_all(&buffer).map_err(failed)?;
                match file {
                    Records::Plain(file) => file,
                    Records::Gzip(encoder) => encoder.finish().map_err(failed)?,
                }
            }
        };
        if fsync {
            file.sync_all().map_err(failed)?;
        }
        Ok(file.metadata().map_err(failed)?.len())
    }
}

impl Write for Records {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Self::Plain(file) => file.write(bytes),
            Self::Gzip(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn failed(path: &Path, error: std::io::Error) -> Error {
    Error::io(format_args!("cannot write {}", path.display()), error)
}
