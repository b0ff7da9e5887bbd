//! Arrow IPC to batches.

use std::io::{BufReader, Read, Seek};
use std::ops::Range;

use arrow_array::RecordBatch;
use arrow_ipc::reader::{FileReader, StreamReader};
use arrow_schema::{ArrowError, SchemaRef};
use kwsync_core::{Error, ErrorKind, Result};

use super::fault;

/// What a file of random access begins with; a stream begins otherwise.
const MAGIC: &[u8; 6] = b"ARROW1";

/// What [`BatchReader`] reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReadOptions {
    /// The batches to read, by their place from 0 on; all if `None`. Of a stream those before are read and dropped.
    pub batches: Option<Range<usize>>,
}

impl ReadOptions {
    /// Everything.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads these batches only.
    #[must_use]
    pub fn with_batches(mut self, batches: Range<usize>) -> Self {
        self.batches = Some(batches);
        self
    }
}

/// Reads the batches of an Arrow IPC file or stream, as they were written. It blocks: give it a thread of its own where
/// that matters. One batch is in memory at a time.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use arrow_array::{ArrayRef, Int64Array, RecordBatch};
/// use kwsync_formats::ipc::{BatchReader, BatchWriter, Layout, ReadOptions, WriteOptions};
///
/// let column: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
/// let batch = RecordBatch::try_from_iter([("n", column)])?;
/// let options = WriteOptions::new().with_layout(Layout::Stream);
/// let mut writer = BatchWriter::try_new(Vec::new(), &batch.schema(), &options)?;
/// writer.write(&batch)?;
/// let stream = writer.finish()?;
///
/// let mut reader = BatchReader::from_stream(&stream[..], &ReadOptions::new())?;
/// assert_eq!(reader.next().unwrap()?, batch);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct BatchReader<'a> {
    batches: Box<dyn Iterator<Item = Result<RecordBatch, ArrowError>> + Send + 'a>,
    schema: SchemaRef,
}

impl<'a> BatchReader<'a> {
    /// Reads what can be read anywhere: a file, or a stream that lies in one.
    ///
    /// # Errors
    /// `Data` if it is no Arrow IPC or damaged; `Config` for batches that it has not; those of the input.
    pub fn try_new(mut input: impl Read + Seek + Send + 'a, options: &ReadOptions) -> Result<Self> {
        if !is_file(&mut input)? {
            return Self::from_stream(input, options);
        }
        let mut reader = FileReader::try_new_buffered(input, None).map_err(not_arrow)?;
        let (schema, known) = (reader.schema(), reader.num_batches());
        let Range { start, end } = options.batches.clone().unwrap_or(0..known);
        if end > known || start > end {
            return Err(Error::config(format!("batches {start}..{end} of a file that has {known}")));
        }
        if start < known {
            reader.set_index(start).map_err(not_arrow)?;
        }
        Ok(Self { batches: Box::new(reader.take(end - start)), schema })
    }

    /// Reads a stream from its start.
    ///
    /// # Errors
    /// As [`try_new`](Self::try_new), but that batches which it has not are found only when they are missing.
    pub fn from_stream(input: impl Read + Send + 'a, options: &ReadOptions) -> Result<Self> {
        let reader = StreamReader::try_new_buffered(input, None).map_err(not_arrow)?;
        let schema = reader.schema();
        let Range { start, end } = options.batches.clone().unwrap_or(0..usize::MAX);
        let wanted = end.saturating_sub(start);
        // A batch that cannot be read counts as one: its error must come out, wherever it stands.
        let batches = reader.enumerate().filter(move |(at, batch)| *at >= start || batch.is_err());
        Ok(Self { batches: Box::new(batches.map(|(_, batch)| batch).take(wanted)), schema })
    }

    /// The columns of the batches.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// How many batches a file has: pieces that may be read side by side. `None` of a stream, which says so only at its
    /// end.
    ///
    /// # Errors
    /// `Data` if it is no Arrow IPC or damaged; those of the input.
    pub fn count(input: impl Read + Seek) -> Result<Option<usize>> {
        let mut file = BufReader::new(input);
        if is_file(&mut file)? {
            let reader = FileReader::try_new(file, None).map_err(not_arrow)?;
            return Ok(Some(reader.num_batches()));
        }
        StreamReader::try_new(file, None).map_err(not_arrow)?;
        Ok(None)
    }
}

/// Whether this is a file of random access. Leaves the input at its start.
fn is_file(input: &mut (impl Read + Seek)) -> Result<bool> {
    let failed = |error| Error::io("cannot read the start of the file", error);
    let mut start = Vec::with_capacity(MAGIC.len());
    input.by_ref().take(MAGIC.len() as u64).read_to_end(&mut start).map_err(failed)?;
    input.rewind().map_err(failed)?;
    Ok(start == MAGIC)
}

fn not_arrow(error: ArrowError) -> Error {
    let made = fault(ErrorKind::Data, "this cannot be read as Arrow", error);
    if made.kind() == ErrorKind::Data {
        made.with_hint("is the file whole, and is it Arrow IPC at all?")
    } else {
        made
    }
}

impl Iterator for BatchReader<'_> {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.batches.next()?;
        Some(next.map_err(|error| fault(ErrorKind::Data, "cannot read Arrow", error)))
    }
}

impl std::fmt::Debug for BatchReader<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BatchReader").field("schema", &self.schema).finish_non_exhaustive()
    }
}
