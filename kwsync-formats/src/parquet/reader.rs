//! A Parquet file to batches.

use std::fs::File;
use std::ops::Range;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use bytes::Bytes;
use kwsync_core::{Error, ErrorKind, Result};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::file::reader::ChunkReader;

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

    fn open<R: ChunkReader + 'static>(input: R, options: &ReadOptions) -> Result<Self> {
        let mut builder = builder(input)?.with_batch_size(options.batch_rows);
        if let Some(range) = &options.row_groups {
            let known = builder.metadata().num_row_groups();
            if range.end > known || range.start > range.end {
                return Err(Error::config(format!("row groups {range:?} of a file that has {known}")));
            }
            builder = builder.with_row_groups(range.clone().collect());
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
        if options.skip_rows > 0 {
            builder = builder.with_offset(options.skip_rows);
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
