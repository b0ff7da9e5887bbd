//! Rows as the bytes of one file or object, whatever takes them.

use std::io::{BufWriter, Write};
use std::sync::Arc;

use flate2::write::GzEncoder;
use kwsync_core::{Encoder, Error, ErrorKind, Reject, Result, Schema, Stage, TableBatch};
use kwsync_formats::ipc;
use kwsync_formats::parquet::{BatchWriter, Compression as ParquetCompression, WriteOptions};

use super::{Compression, FileFormat};

/// Bytes gathered before they are written.
const BUFFER_BYTES: usize = 1 << 20;

/// How rows become bytes.
#[derive(Clone, Debug)]
pub(crate) struct Encoding {
    pub(crate) format: FileFormat,
    pub(crate) compression: Compression,
    /// The level of gzip around records.
    pub(crate) gzip_level: u32,
    pub(crate) row_group_rows: usize,
}

impl Encoding {
    /// The ending of names, without the first dot.
    pub(crate) fn ending(&self) -> String {
        let gzip = self.compression == Compression::Gzip && matches!(self.format, FileFormat::Records { .. });
        let ending = self.format.ending();
        if gzip { format!("{ending}.gz") } else { ending.to_owned() }
    }
}

/// Rows on their way into `W`.
pub(crate) struct Encoded<W: Write + Send> {
    /// What it is called in messages.
    place: String,
    schema: Arc<Schema>,
    out: Out<W>,
    rows: u64,
}

enum Out<W: Write + Send> {
    Parquet(Box<BatchWriter<BufWriter<W>>>),
    Arrow(Box<ipc::BatchWriter<BufWriter<W>>>),
    Records { encoder: Box<dyn Encoder>, buffer: Vec<u8>, written: u64, out: Records<W> },
}

enum Records<W: Write> {
    Plain(W),
    Gzip(GzEncoder<W>),
}

impl<W: Write + Send> Encoded<W> {
    pub(crate) fn new(out: W, place: String, schema: &Arc<Schema>, encoding: &Encoding) -> Result<Self> {
        let out = match &encoding.format {
            FileFormat::Parquet => {
                let compression = match encoding.compression {
                    Compression::None => ParquetCompression::None,
                    Compression::Gzip => ParquetCompression::Gzip,
                    Compression::Snappy => ParquetCompression::Snappy,
                    Compression::Auto | Compression::Lz4 | Compression::Zstd => ParquetCompression::Zstd,
                };
                let options = WriteOptions::new()
                    .with_compression(compression)
                    .with_row_group_rows(encoding.row_group_rows);
                let out = BufWriter::with_capacity(BUFFER_BYTES, out);
                Out::Parquet(Box::new(BatchWriter::try_new(out, schema.arrow_schema(), &options)?))
            }
            FileFormat::Arrow => {
                let compression = match encoding.compression {
                    Compression::Lz4 => ipc::Compression::Lz4,
                    Compression::Zstd => ipc::Compression::Zstd,
                    _ => ipc::Compression::None,
                };
                let options = ipc::WriteOptions::new().with_compression(compression);
                let out = BufWriter::with_capacity(BUFFER_BYTES, out);
                Out::Arrow(Box::new(ipc::BatchWriter::try_new(out, schema.arrow_schema(), &options)?))
            }
            FileFormat::Records { encoders, .. } => {
                let mut encoder = encoders()?;
                let mut buffer = Vec::new();
                encoder.begin(&mut buffer)?;
                let out = match encoding.compression {
                    Compression::Gzip => {
                        Records::Gzip(GzEncoder::new(out, flate2::Compression::new(encoding.gzip_level)))
                    }
                    _ => Records::Plain(out),
                };
                Out::Records { encoder, buffer, written: 0, out }
            }
        };
        Ok(Self { place, schema: Arc::clone(schema), out, rows: 0 })
    }

    /// Whether rows of `schema` go into this file. Records hold any columns; other files have one schema.
    pub(crate) fn takes(&self, schema: &Arc<Schema>) -> bool {
        matches!(self.out, Out::Records { .. })
            || Arc::ptr_eq(&self.schema, schema)
            || self.schema.columns() == schema.columns()
    }

    /// Writes rows; returns those that the format cannot hold.
    pub(crate) fn write(&mut self, batch: &TableBatch) -> Result<Vec<Reject>> {
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
            Out::Records { encoder, buffer, written, out } => {
                encoder.encode(batch, from..to, buffer)?;
                if buffer.len() >= BUFFER_BYTES {
                    out.write_all(buffer).map_err(|error| failed(&self.place, error))?;
                    *written += buffer.len() as u64;
                    buffer.clear();
                }
            }
        }
        self.rows += (to - from) as u64;
        Ok(())
    }

    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    /// Bytes so far, those that are not written yet included; of records in gzip the uncompressed ones.
    pub(crate) fn bytes(&self) -> u64 {
        match &self.out {
            Out::Parquet(writer) => writer.bytes(),
            Out::Arrow(writer) => writer.bytes(),
            Out::Records { buffer, written, .. } => written + buffer.len() as u64,
        }
    }

    pub(crate) fn buffered_bytes(&self) -> usize {
        match &self.out {
            Out::Parquet(writer) => writer.buffered_bytes() + BUFFER_BYTES,
            Out::Arrow(_) => BUFFER_BYTES,
            Out::Records { buffer, .. } => buffer.capacity(),
        }
    }

    /// Writes what is left, and returns the output.
    pub(crate) fn finish(self) -> Result<W> {
        let place = self.place;
        let failed = |error| failed(&place, error);
        match self.out {
            Out::Parquet(writer) => writer.finish()?.into_inner().map_err(|error| failed(error.into_error())),
            Out::Arrow(writer) => writer.finish()?.into_inner().map_err(|error| failed(error.into_error())),
            Out::Records { mut encoder, mut buffer, mut out, .. } => {
                encoder.end(&mut buffer)?;
                out.write_all(&buffer).map_err(failed)?;
                match out {
                    Records::Plain(out) => Ok(out),
                    Records::Gzip(encoder) => encoder.finish().map_err(failed),
                }
            }
        }
    }
}

impl<W: Write> Write for Records<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Self::Plain(out) => out.write(bytes),
            Self::Gzip(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn failed(place: &str, error: std::io::Error) -> Error {
    Error::io(format_args!("cannot write {place}"), error)
}
