//! A Parquet file to batches.

use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use bytes::Bytes;
use kwsync_core::{Error, ErrorKind, Result};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};

use super::fault;

/// What [`BatchReader`] reads.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReadOptions {
    /// Most rows of a batch.
    pub batch_rows: usize,
    /// The row groups to read, all if `None`.
    pub row_groups: Option<Range<usize>>,
    /// Rows of these row groups to leave out at the start: where an earlier reader stopped.
    pub skip_rows: usize,
    /// The names of the columns to read, all if `None`. They come in the order of the file.
    pub columns: Option<Vec<String>>,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self { batch_rows: 8_192, row_groups: None, skip_rows: 0, columns: None }
    }
}

impl ReadOptions {
    /// Everything, in batches of 8,192 rows.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the most rows of a batch; at least one.
    #[must_use]
    pub fn with_batch_rows(mut self, rows: usize) -> Self {
        self.batch_rows = rows.max(1);
        self
    }

    /// Reads these row groups only.
    #[must_use]
    pub fn with_row_groups(mut self, row_groups: Range<usize>) -> Self {
        self.row_groups = Some(row_groups);
        self
    }

    /// Leaves out rows at the start.
    #[must_use]
    pub fn with_skip_rows(mut self, rows: usize) -> Self {
        self.skip_rows = rows;
        self
    }

    /// Reads these columns only.
    #[must_use]
    pub fn with_columns(mut self, columns: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.columns = Some(columns.into_iter().map(Into::into).collect());
        self
    }
}

/// A part of a Parquet file that can be read on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowGroup {
    /// Rows it has.
    pub rows: u64,
    /// Bytes it takes in the file.
    pub bytes: u64,
}

/// Reads the batches of a Parquet file. It blocks: give it a thread of its own where that matters.
pub struct BatchReader {
    reader: ParquetRecordBatchReader,
    schema: SchemaRef,
}

impl BatchReader {
    /// Reads a file.
    ///
    /// # Errors
    /// `Data` if it is no Parquet file or a damaged one; `Config` for a column or row group that it has not.
    pub fn from_file(file: File, options: &ReadOptions) -> Result<Self> {
        Self::open(file, options)
    }

    /// Reads a file that is in memory.
    ///
    /// # Errors
    /// As [`from_file`](Self::from_file).
    pub fn from_bytes(bytes: Bytes, options: &ReadOptions) -> Result<Self> {
        Self::open(bytes, options)
    }

    /// Reads a file of `len` bytes that lies elsewhere, by ranges: `read` returns the bytes of one, all of them. It is asked
    /// for small ranges one behind the other, and for some more than once, so that it had better remember.
    ///
    /// # Errors
    /// As [`from_file`](Self::from_file). An error of `read` comes back as the text of another: keep it where it matters.
    pub fn from_ranges(
        len: u64,
        read: impl Fn(Range<u64>) -> std::io::Result<Bytes> + Send + Sync + 'static,
        options: &ReadOptions,
    ) -> Result<Self> {
        Self::open(Ranges { len, read: Arc::new(read) }, options)
    }

    fn open<R: ChunkReader + 'static>(input: R, options: &ReadOptions) -> Result<Self> {
        let mut builder = builder(input)?.with_batch_size(options.batch_rows);
        let known = builder.metadata().num_row_groups();
        let mut wanted = options.row_groups.clone().unwrap_or(0..known);
        if wanted.end > known || wanted.start > wanted.end {
            return Err(Error::config(format!("row groups {wanted:?} of a file that has {known}")));
        }
        // Row groups that are left out as a whole need not be looked at.
        let mut skip = options.skip_rows;
        while !wanted.is_empty() {
            let rows = builder.metadata().row_group(wanted.start).num_rows();
            let Some(left) = usize::try_from(rows).ok().and_then(|rows| skip.checked_sub(rows)) else {
                break;
            };
            (skip, wanted.start) = (left, wanted.start + 1);
        }
        if wanted != (0..known) {
            builder = builder.with_row_groups(wanted.collect());
        }
        if let Some(columns) = &options.columns {
            let schema = builder.schema();
            let missing: Vec<_> =
                columns.iter().filter(|name| schema.index_of(name).is_err()).cloned().collect();
            if !missing.is_empty() {
                let known: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
                return Err(Error::config(format!("the Parquet file has no column {}", missing.join(", ")))
                    .with_hint(format!("it has: {}", known.join(", "))));
            }
            let roots = columns.iter().filter_map(|name| schema.index_of(name).ok());
            let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
            builder = builder.with_projection(mask);
        }
        if skip > 0 {
            builder = builder.with_offset(skip);
        }
        let reader = builder.build().map_err(|error| fault(ErrorKind::Data, "cannot read Parquet", error))?;
        let schema = arrow_array::RecordBatchReader::schema(&reader);
        Ok(Self { reader, schema })
    }

    /// The columns of the batches.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The row groups of a file: the pieces that may be read side by side.
    ///
    /// # Errors
    /// `Data` if it is no Parquet file or a damaged one.
    pub fn row_groups(file: File) -> Result<Vec<RowGroup>> {
        let builder = builder(file)?;
        let groups = builder.metadata().row_groups().iter();
        Ok(groups
            .map(|group| RowGroup {
                rows: u64::try_from(group.num_rows()).unwrap_or_default(),
                bytes: u64::try_from(group.compressed_size()).unwrap_or_default(),
            })
            .collect())
    }
}

fn builder<R: ChunkReader + 'static>(input: R) -> Result<ParquetRecordBatchReaderBuilder<R>> {
    ParquetRecordBatchReaderBuilder::try_new(input).map_err(|error| {
        let made = fault(ErrorKind::Data, "this cannot be read as Parquet", error);
        if made.kind() == ErrorKind::Data {
            made.with_hint("is the file whole, and is it Parquet at all?")
        } else {
            made
        }
    })
}

impl Iterator for BatchReader {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.reader.next()?;
        Some(next.map_err(|error| Error::new(ErrorKind::Data, format!("cannot read Parquet: {error}"))))
    }
}

impl std::fmt::Debug for BatchReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BatchReader").field("schema", &self.schema).finish_non_exhaustive()
    }
}

/// What is read of ranges without a length of their own.
const PIECE: u64 = 64 << 10;

/// A file that lies elsewhere.
struct Ranges<F> {
    len: u64,
    read: Arc<F>,
}

impl<F> Length for Ranges<F> {
    fn len(&self) -> u64 {
        self.len
    }
}

impl<F: Fn(Range<u64>) -> std::io::Result<Bytes> + Send + Sync> ChunkReader for Ranges<F> {
    type T = RangesFrom<F>;

    fn get_read(&self, start: u64) -> parquet::errors::Result<RangesFrom<F>> {
        Ok(RangesFrom { at: start, len: self.len, read: Arc::clone(&self.read), piece: Bytes::new() })
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        let end = start.saturating_add(length as u64);
        if end > self.len {
            return Err(ParquetError::EOF(format!("bytes up to {end} of {}", self.len)));
        }
        (self.read)(start..end).map_err(|error| ParquetError::External(Box::new(error)))
    }
}

/// Reads on from a place.
struct RangesFrom<F> {
    at: u64,
    len: u64,
    read: Arc<F>,
    piece: Bytes,
}

impl<F: Fn(Range<u64>) -> std::io::Result<Bytes>> Read for RangesFrom<F> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        if self.piece.is_empty() && self.at < self.len {
            let end = self.len.min(self.at + PIECE);
            self.piece = (self.read)(self.at..end)?;
            self.at += self.piece.len() as u64;
        }
        let taken = out.len().min(self.piece.len());
        let piece = self.piece.split_to(taken);
        if let Some(out) = out.get_mut(..taken) {
            out.copy_from_slice(&piece);
        }
        Ok(taken)
    }
}
