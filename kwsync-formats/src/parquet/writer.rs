//! Batches to a Parquet file.

use std::io::Write;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    IntervalMonthDayNanoType, Time32MillisecondType, Time32SecondType, TimestampMillisecondType,
    TimestampSecondType,
};
use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, StringViewArray};
use arrow_schema::{DataType as Arrow, Field, IntervalUnit, Schema, SchemaRef, TimeUnit};
use kwsync_core::{Error, ErrorKind, Location, Result};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression as ParquetCompression, Encoding, GzipLevel, ZstdLevel};
use parquet::file::properties::{WriterProperties, WriterVersion};
use parquet::schema::types::ColumnPath;

use super::fault;
use crate::interval::interval;

/// How pages are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Compression {
    /// Not at all.
    None,
    /// Snappy: fast, and known to every reader.
    Snappy,
    /// gzip at its usual level.
    Gzip,
    /// Zstandard at level 1: smaller than Snappy at nearly its speed.
    #[default]
    Zstd,
}

/// How [`BatchWriter`] writes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WriteOptions {
    /// How pages are compressed.
    pub compression: Compression,
    /// Most rows of a row group.
    pub row_group_rows: usize,
    /// Most bytes of a row group, as encoded: the bound of the writer's memory.
    pub row_group_bytes: usize,
}

impl Default for WriteOptions {
    fn default() -> Self {
        Self { compression: Compression::default(), row_group_rows: 1 << 20, row_group_bytes: 64 << 20 }
    }
}

impl WriteOptions {
    /// Zstandard, row groups of up to 1,048,576 rows and 64 MiB.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets how pages are compressed.
    #[must_use]
    pub fn with_compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// Sets the most rows of a row group; at least one.
    #[must_use]
    pub fn with_row_group_rows(mut self, rows: usize) -> Self {
        self.row_group_rows = rows.max(1);
        self
    }

    /// Sets the most encoded bytes of a row group.
    #[must_use]
    pub fn with_row_group_bytes(mut self, bytes: usize) -> Self {
        self.row_group_bytes = bytes.max(1);
        self
    }
}

/// Writes batches of one schema as a Parquet file. Columns may lie in memory in another encoding from batch to
/// batch (plain, view, dictionary); the file holds the Arrow schema, so that [`BatchReader`](super::BatchReader)
/// gives back the same types.
///
/// Times and timestamps in seconds become milliseconds, since Parquet knows no seconds; intervals become text
/// (ISO 8601). Everything else is kept exactly.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use arrow_array::{ArrayRef, Int64Array, RecordBatch};
/// use kwsync_formats::parquet::{BatchReader, BatchWriter, ReadOptions, WriteOptions};
///
/// let column: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
/// let batch = RecordBatch::try_from_iter([("n", column)])?;
/// let mut writer = BatchWriter::try_new(Vec::new(), &batch.schema(), &WriteOptions::new())?;
/// writer.write(&batch)?;
/// let file = writer.finish()?;
///
/// let mut reader = BatchReader::from_bytes(file.into(), &ReadOptions::new())?;
/// assert_eq!(reader.next().unwrap()?, batch);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct BatchWriter<W: Write + Send> {
    writer: ArrowWriter<W>,
    schema: SchemaRef,
    rows: u64,
}

impl<W: Write + Send> BatchWriter<W> {
    /// Starts a file of `schema`.
    ///
    /// # Errors
    /// `Unsupported` for a type that Parquet does not have, naming the column; those of writing to `out`.
    pub fn try_new(out: W, schema: &SchemaRef, options: &WriteOptions) -> Result<Self> {
        let fields: Vec<_> = schema.fields().iter().map(|field| stored(field)).collect();
        let schema = Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()));
        let compression = match options.compression {
            Compression::None => ParquetCompression::UNCOMPRESSED,
            Compression::Snappy => ParquetCompression::SNAPPY,
            Compression::Gzip => ParquetCompression::GZIP(GzipLevel::default()),
            Compression::Zstd => ParquetCompression::ZSTD(ZstdLevel::default()),
        };
        let mut properties = WriterProperties::builder()
            .set_writer_version(WriterVersion::PARQUET_1_0)
            .set_created_by(concat!("kwsync ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_compression(compression)
            .set_max_row_group_row_count(Some(options.row_group_rows))
            .set_max_row_group_bytes(Some(options.row_group_bytes));
        for field in schema.fields() {
            // Times mostly grow by about the same step: differences are small, and no dictionary would help.
            if matches!(field.data_type(), Arrow::Timestamp(_, _) | Arrow::Date32) {
                let path = ColumnPath::new(vec![field.name().clone()]);
                properties = properties
                    .set_column_dictionary_enabled(path.clone(), false)
                    .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED);
            }
        }
        let writer =
            ArrowWriter::try_new(out, Arc::clone(&schema), Some(properties.build())).map_err(|error| {
                Error::new(
                    ErrorKind::Unsupported,
                    format!("these columns cannot be written as Parquet: {error}"),
                )
                .with_hint("cast the column to another type, or drop it, by a transform")
            })?;
        Ok(Self { writer, schema, rows: 0 })
    }

    /// Writes the rows of `batch`, whose columns must be those of the schema.
    ///
    /// # Errors
    /// `Schema` when they are not, before anything is written; `Data` for seconds too large to be milliseconds;
    /// those of the output. After an error of the output the file is of no use.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let fault_of = |text: String| Error::new(ErrorKind::Schema, text);
        if batch.num_columns() != self.schema.fields().len() {
            let text =
                format!("{} columns for a file of {}", batch.num_columns(), self.schema.fields().len());
            return Err(fault_of(text));
        }
        let mut columns = Vec::with_capacity(batch.num_columns());
        let mut fields = Vec::with_capacity(batch.num_columns());
        for (field, column) in self.schema.fields().iter().zip(batch.columns()) {
            let column = converted(column, field)?;
            fields.push(Field::clone(field).with_data_type(column.data_type().clone()));
            columns.push(column);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let batch = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)
            .map_err(|error| fault_of(error.to_string()))?;
        self.writer
            .write(&batch)
            .map_err(|error| fault(ErrorKind::Internal, "cannot write Parquet", error))?;
        self.rows += batch.num_rows() as u64;
        Ok(())
    }

    /// Rows written so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Bytes of the file so far; of the open row group an estimate.
    pub fn bytes(&self) -> u64 {
        (self.writer.bytes_written() + self.writer.in_progress_size()) as u64
    }

    /// Bytes of memory that the open row group holds.
    pub fn buffered_bytes(&self) -> usize {
        self.writer.memory_size()
    }

    /// Writes the open row group and the footer, and returns the output.
    ///
    /// # Errors
    /// Those of the output.
    pub fn finish(self) -> Result<W> {
        self.writer.into_inner().map_err(|error| fault(ErrorKind::Internal, "cannot finish Parquet", error))
    }
}

impl<W: Write + Send> std::fmt::Debug for BatchWriter<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BatchWriter")
            .field("schema", &self.schema)
            .field("rows", &self.rows)
            .finish_non_exhaustive()
    }
}

/// The field as the file has it.
fn stored(field: &Field) -> Field {
    let data_type = match field.data_type() {
        Arrow::Timestamp(TimeUnit::Second, zone) => Arrow::Timestamp(TimeUnit::Millisecond, zone.clone()),
        Arrow::Time32(TimeUnit::Second) => Arrow::Time32(TimeUnit::Millisecond),
        Arrow::Interval(IntervalUnit::MonthDayNano) => Arrow::Utf8View,
        other => other.clone(),
    };
    field.clone().with_data_type(data_type)
}

fn converted(column: &ArrayRef, field: &Field) -> Result<ArrayRef> {
    let overflow = |_| {
        Error::new(
            ErrorKind::Data,
            "a time in seconds is too large to be stored in milliseconds, as Parquet needs it",
        )
        .with_code("out_of_range")
        .with_location(Location::new().with_column(field.name().as_str()))
    };
    let millis = |seconds: i64| {
        seconds
            .checked_mul(1_000)
            .ok_or_else(|| arrow_schema::ArrowError::ComputeError("overflow".to_owned()))
    };
    Ok(match column.data_type() {
        Arrow::Timestamp(TimeUnit::Second, zone) => {
            let seconds = column.as_primitive::<TimestampSecondType>();
            let made = seconds.try_unary::<_, TimestampMillisecondType, _>(millis).map_err(overflow)?;
            Arc::new(made.with_timezone_opt(zone.clone()))
        }
        Arrow::Time32(TimeUnit::Second) => {
            let seconds = column.as_primitive::<Time32SecondType>();
            // A day has 86,400 seconds: this fits.
            Arc::new(seconds.unary::<_, Time32MillisecondType>(|seconds| seconds.wrapping_mul(1_000)))
        }
        Arrow::Interval(IntervalUnit::MonthDayNano) => {
            let values = column.as_primitive::<IntervalMonthDayNanoType>();
            let texts = values.iter().map(|value| value.map(|v| interval(v.months, v.days, v.nanoseconds)));
            Arc::new(StringViewArray::from_iter(texts))
        }
        _ => Arc::clone(column),
    })
}
