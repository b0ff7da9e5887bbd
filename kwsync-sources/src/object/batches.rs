//! Objects that hold batches: Parquet and Arrow IPC.

use std::sync::Arc;

use kwsync_core::arrow::array::RecordBatch;
use kwsync_core::system::object::ObjectClient;
use kwsync_core::{
    DecodeCounts, Decoded, Origin, Reader, Result, Schema, Source, SourceBatch, Split, SplitPosition,
    TableBatch, TableId,
};

use super::ranges::{Cursor, Fetching, Ranges};
use super::source::{object, split};
use super::{ObjectSourceOptions, select};
use crate::file::{Ahead, decoded};

/// Most rows of a batch.
const BATCH_ROWS: usize = 16 << 10;

/// What the objects of an [`ObjectBatchSource`] are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    #[cfg(feature = "parquet")]
    Parquet,
    #[cfg(feature = "ipc")]
    Arrow,
}

/// The rows of Parquet objects, or of Arrow IPC files and streams; a split is an object. They are fetched in blocks of 1 MiB,
/// of which 64 are remembered.
///
/// The table is named, in this order, by [`with_table`](Self::with_table), by the folder below the one that is read (as the
/// sink writes them), or by the object, without its ending.
#[derive(Clone, Debug)]
pub struct ObjectBatchSource {
    client: ObjectClient,
    options: ObjectSourceOptions,
    table: Option<TableId>,
    kind: Kind,
}

impl ObjectBatchSource {
    /// Reads Parquet objects. Nothing is asked of the bucket yet.
    #[cfg(feature = "parquet")]
    pub fn parquet(client: ObjectClient, options: ObjectSourceOptions) -> Self {
        Self { client, options, table: None, kind: Kind::Parquet }
    }

    /// Reads Arrow IPC files or streams. Nothing is asked of the bucket yet.
    #[cfg(feature = "ipc")]
    pub fn arrow(client: ObjectClient, options: ObjectSourceOptions) -> Self {
        Self { client, options, table: None, kind: Kind::Arrow }
    }

    /// Names the table of all objects.
    #[must_use]
    pub fn with_table(mut self, table: impl Into<TableId>) -> Self {
        self.table = Some(table.into());
        self
    }

    fn table_of(&self, key: &str) -> TableId {
        if let Some(table) = &self.table {
            return table.clone();
        }
        let below = key.strip_prefix(self.options.selection.base()).unwrap_or(key);
        TableId::new(match below.rsplit_once('/') {
            Some((folder, _)) => decoded(folder),
            None => {
                let name = key.rsplit_once('/').map_or(key, |(_, name)| name);
                name.rsplit_once('.').map_or(name, |(stem, _)| stem).to_owned()
            }
        })
    }
}

impl Source for ObjectBatchSource {
    type Reader = ObjectBatchReader;

    async fn splits(&self, _lanes: usize, known: &[Split]) -> Result<Vec<Split>> {
        split(&self.client, select::find(&self.client, &self.options.selection).await?, known)
    }

    async fn open(&self, split: &Split, at: Option<&SplitPosition>) -> Result<ObjectBatchReader> {
        let object = object(split)?;
        let at = at.map_or(0, |at| at.0.as_u64().unwrap_or_default());
        let place = self.client.place(&object.key);
        let (ranges, fetching) = Ranges::open(&self.client, &object);
        let kind = self.kind;
        let bytes = object.size;
        let (named, reading) = (place.clone(), ranges.clone());
        let batches = Ahead::spawn(place.clone(), move |send| {
            kind.read(&reading, at, send)
                // The service's own words say more than those of whoever wrapped them.
                .map_err(|error| reading.take_fault().unwrap_or_else(|| error.context(named)))
        })?;
        let table = self.table_of(&object.key);
        Ok(ObjectBatchReader {
            batches,
            _fetching: fetching,
            schema: None,
            table,
            place,
            at,
            bytes: Some(bytes),
        })
    }
}

impl Kind {
    /// Sends the batches of an object from the place `at` on, each with what the place grows by.
    fn read(self, ranges: &Ranges, at: u64, send: &mut dyn FnMut((RecordBatch, u64)) -> bool) -> Result<()> {
        let skip = usize::try_from(at).unwrap_or(usize::MAX);
        match self {
            #[cfg(feature = "parquet")]
            Self::Parquet => {
                use kwsync_formats::parquet::{BatchReader, ReadOptions};
                let options = ReadOptions::new().with_batch_rows(BATCH_ROWS).with_skip_rows(skip);
                let reading = ranges.clone();
                let batches =
                    BatchReader::from_ranges(ranges.len(), move |range| reading.read(range), &options)?;
                for batch in batches {
                    let batch = batch?;
                    let rows = batch.num_rows() as u64;
                    if !send((batch, rows)) {
                        break;
                    }
                }
            }
            #[cfg(feature = "ipc")]
            Self::Arrow => {
                use kwsync_formats::ipc::{BatchReader, ReadOptions};
                let file = Cursor::new(ranges.clone());
                // A file knows how many it has, and a stream ends by itself.
                let count = BatchReader::count(file)?.unwrap_or(usize::MAX);
                let options = ReadOptions::new().with_batches(skip.min(count)..count);
                for batch in BatchReader::try_new(Cursor::new(ranges.clone()), &options)? {
                    if !send((batch?, 1)) {
                        break;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Reads one split of an [`ObjectBatchSource`]. The reading itself is done by a thread of its own.
#[derive(Debug)]
pub struct ObjectBatchReader {
    batches: Ahead<(RecordBatch, u64)>,
    _fetching: Fetching,
    schema: Option<Arc<Schema>>,
    table: TableId,
    place: String,
    /// Rows of Parquet, batches of Arrow
    at: u64,
    /// The object's, told with its first batch: how many each has nobody knows.
    bytes: Option<u64>,
}

impl Reader for ObjectBatchReader {
    async fn next(&mut self) -> Result<Option<SourceBatch>> {
        let Some((batch, step)) = self.batches.next().await? else { return Ok(None) };
        let schema = match &self.schema {
            Some(schema) => Arc::clone(schema),
            None => {
                let schema =
                    Schema::from_arrow(&batch.schema()).map_err(|error| error.context(&self.place))?;
                Arc::clone(self.schema.insert(Arc::new(schema)))
            }
        };
        self.at += step;
        let rows = batch.num_rows();
        let mut batches = Vec::with_capacity(rows.div_ceil(BATCH_ROWS));
        for from in (0..rows).step_by(BATCH_ROWS) {
            let piece = batch.slice(from, BATCH_ROWS.min(rows - from));
            let origin = Origin::unknown(piece.num_rows());
            batches.push(TableBatch::new(self.table.clone(), Arc::clone(&schema), piece, origin)?);
        }
        let counts = DecodeCounts { records: rows as u64, ..DecodeCounts::default() };
        let decoded = Decoded { batches, rejects: Vec::new(), counts };
        let bytes = self.bytes.take().unwrap_or_default();
        Ok(Some(SourceBatch { bytes, ..SourceBatch::of(decoded, SplitPosition(self.at.into())) }))
    }
}
