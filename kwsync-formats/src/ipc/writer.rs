//! Batches to Arrow IPC.

use std::io::Write;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_ipc::CompressionType;
use arrow_ipc::writer::{FileWriter, IpcWriteOptions, StreamWriter};
use arrow_schema::{DataType as Arrow, Field, Schema, SchemaRef};
use kwsync_core::{Error, ErrorKind, Location, Result};

use super::fault;

/// Bytes of text of a column that a batch can hold: offsets have 31 bits.
const MOST_TEXT: usize = i32::MAX as usize;

/// How batches follow each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Layout {
    /// A file of random access, with a list of its batches at its end (`.arrow`, Feather 2).
    #[default]
    File,
    /// A stream, which can be read while it is written (`.arrows`).
    Stream,
}

/// How the buffers of a batch are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Compression {
    /// Not at all: a reader may map the file into memory.
    #[default]
    None,
    /// LZ4 frames: fast.
    Lz4,
    /// Zstandard: small.
    Zstd,
}

/// How [`BatchWriter`] writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WriteOptions {
    /// How batches follow each other.
    pub layout: Layout,
    /// How their buffers are compressed.
    pub compression: Compression,
}

impl WriteOptions {
    /// A file that is not compressed.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets how batches follow each other.
    #[must_use]
    pub fn with_layout(mut self, layout: Layout) -> Self {
        self.layout = layout;
        self
    }

    /// Sets how buffers are compressed.
    #[must_use]
    pub fn with_compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }
}

/// Writes batches of one schema as Arrow IPC. Columns may lie in memory in another encoding from batch to batch (plain,
/// view, dictionary); text and bytes are written plain, which every reader of Arrow takes, and everything else is kept
/// as it is. A batch whose text exceeds 2 GiB a column becomes several.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use arrow_array::{ArrayRef, Int64Array, RecordBatch};
/// use kwsync_formats::ipc::{BatchReader, BatchWriter, ReadOptions, WriteOptions};
///
/// let column: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
/// let batch = RecordBatch::try_from_iter([("n", column)])?;
/// let mut writer = BatchWriter::try_new(Vec::new(), &batch.schema(), &WriteOptions::new())?;
/// writer.write(&batch)?;
/// let file = std::io::Cursor::new(writer.finish()?);
///
/// let mut reader = BatchReader::try_new(file, &ReadOptions::new())?;
/// assert_eq!(reader.next().unwrap()?, batch);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct BatchWriter<W: Write> {
    out: Out<W>,
    schema: SchemaRef,
    rows: u64,
}

enum Out<W: Write> {
    File(FileWriter<Counted<W>>),
    Stream(StreamWriter<Counted<W>>),
}

/// An output that counts what goes into it.
struct Counted<W> {
    inner: W,
    bytes: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let n = self.inner.write(bytes)?;
        self.bytes += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

impl<W: Write> BatchWriter<W> {
    /// Starts a file or a stream of `schema`.
    ///
    /// # Errors
    /// Those of writing to `out`.
    pub fn try_new(out: W, schema: &SchemaRef, options: &WriteOptions) -> Result<Self> {
        let fields: Vec<_> = schema
            .fields()
            .iter()
            .map(|field| Field::clone(field).with_data_type(stored(field.data_type())))
            .collect();
        let schema = Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()));
        let compression = match options.compression {
            Compression::None => None,
            Compression::Lz4 => Some(CompressionType::LZ4_FRAME),
            Compression::Zstd => Some(CompressionType::ZSTD),
        };
        let failed = |error| fault(ErrorKind::Internal, "cannot write Arrow", error);
        let settings = IpcWriteOptions::default().try_with_compression(compression).map_err(failed)?;
        let out = Counted { inner: out, bytes: 0 };
        let out = match options.layout {
            Layout::File => {
                Out::File(FileWriter::try_new_with_options(out, &schema, settings).map_err(failed)?)
            }
            Layout::Stream => {
                Out::Stream(StreamWriter::try_new_with_options(out, &schema, settings).map_err(failed)?)
            }
        };
        Ok(Self { out, schema, rows: 0 })
    }

    /// Writes the rows of `batch`, whose columns must be those of the schema, as a batch. None, if it has no rows.
    ///
    /// # Errors
    /// `Schema` when they are not, before anything is written; `Data` for a value of more than 2 GiB; those of the
    /// output. After an error of the output what was written is of no use.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let fault_of = |text: String| Error::new(ErrorKind::Schema, text);
        if batch.num_columns() != self.schema.fields().len() {
            let text =
                format!("{} columns for a file of {}", batch.num_columns(), self.schema.fields().len());
            return Err(fault_of(text));
        }
        let rows = batch.num_rows();
        if rows == 0 {
            return Ok(());
        }
        let columns = batch.columns().iter().zip(self.schema.fields());
        if let Some((_, field)) = columns.clone().find(|(column, _)| text_bytes(column) > MOST_TEXT) {
            if rows == 1 {
                let location = Location::new().with_column(field.name().as_str());
                return Err(Error::new(ErrorKind::Data, "a value of more than 2 GiB")
                    .with_code("too_long")
                    .with_location(location));
            }
            self.write(&batch.slice(0, rows / 2))?;
            return self.write(&batch.slice(rows / 2, rows - rows / 2));
        }
        let columns = columns
            .map(|(column, field)| {
                if column.data_type() == field.data_type() {
                    return Ok(Arc::clone(column));
                }
                let wanted = stored(column.data_type());
                if wanted != *field.data_type() {
                    let text = format!(
                        "column {:?} is {}, and the file has {}",
                        field.name(),
                        column.data_type(),
                        field.data_type()
                    );
                    return Err(fault_of(text));
                }
                arrow_cast::cast(column, &wanted)
                    .map_err(|error| fault_of(format!("column {:?}: {error}", field.name())))
            })
            .collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
            .map_err(|error| fault_of(error.to_string()))?;
        let written = match &mut self.out {
            Out::File(out) => out.write(&batch),
            Out::Stream(out) => out.write(&batch),
        };
        written.map_err(|error| fault(ErrorKind::Internal, "cannot write Arrow", error))?;
        self.rows += rows as u64;
        Ok(())
    }

    /// Rows written so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Bytes written so far.
    pub fn bytes(&self) -> u64 {
        match &self.out {
            Out::File(out) => out.get_ref().bytes,
            Out::Stream(out) => out.get_ref().bytes,
        }
    }

    /// Writes what stands at the end, and returns the output.
    ///
    /// # Errors
    /// Those of the output.
    pub fn finish(self) -> Result<W> {
        let out = match self.out {
            Out::File(out) => out.into_inner(),
            Out::Stream(out) => out.into_inner(),
        };
        out.map(|out| out.inner).map_err(|error| fault(ErrorKind::Internal, "cannot finish Arrow", error))
    }
}

impl<W: Write> std::fmt::Debug for BatchWriter<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BatchWriter")
            .field("schema", &self.schema)
            .field("rows", &self.rows)
            .finish_non_exhaustive()
    }
}

/// The type as it is written: text and bytes plain.
fn stored(data_type: &Arrow) -> Arrow {
    match data_type {
        Arrow::Utf8View | Arrow::LargeUtf8 => Arrow::Utf8,
        Arrow::BinaryView | Arrow::LargeBinary => Arrow::Binary,
        Arrow::Dictionary(_, values) => stored(values),
        Arrow::List(item) => {
            Arrow::List(Arc::new(Field::clone(item).with_data_type(stored(item.data_type()))))
        }
        other => other.clone(),
    }
}

/// Bytes of text of a column whose offsets will have 31 bits, or more than these.
fn text_bytes(column: &ArrayRef) -> usize {
    let sum = |lengths: &mut dyn Iterator<Item = u32>| {
        lengths.fold(0usize, |sum, len| sum.saturating_add(len as usize))
    };
    // What is used of what lies behind a column, which may be a slice.
    let span = |offsets: &[i64]| match offsets {
        [first, .., last] => usize::try_from(last - first).unwrap_or_default(),
        _ => 0,
    };
    match column.data_type() {
        Arrow::Utf8View => sum(&mut column.as_string_view().lengths()),
        Arrow::BinaryView => sum(&mut column.as_binary_view().lengths()),
        Arrow::LargeUtf8 => span(column.as_string::<i64>().value_offsets()),
        Arrow::LargeBinary => span(column.as_binary::<i64>().value_offsets()),
        Arrow::Dictionary(..) => {
            let dictionary = column.as_any_dictionary();
            let longest = match dictionary.values().data_type() {
                Arrow::Utf8 => dictionary.values().as_string::<i32>().iter().flatten().map(str::len).max(),
                Arrow::Utf8View => dictionary.values().as_string_view().iter().flatten().map(str::len).max(),
                _ => None,
            };
            // The most that it can be: a batch too many is better than a look at every key.
            longest.unwrap_or_default().saturating_mul(column.len())
        }
        Arrow::List(_) => {
            let list = column.as_list::<i32>();
            let offsets = list.value_offsets();
            let (first, last) = (offsets[0] as usize, offsets[list.len()] as usize);
            text_bytes(&list.values().slice(first, last - first))
        }
        _ => 0,
    }
}
