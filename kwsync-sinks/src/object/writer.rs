//! The writer of one lane.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use kwsync_core::{
    Checkpoint, Delivered, Error, ErrorKind, Result, RowCounts, Schema, Settled, Stage, TableBatch, TableId,
    Writer,
};
use tokio::sync::Semaphore;

use super::blocks::Blocks;
use super::session::Session;
use super::sink::Shared;
use super::upload::{Uploading, Whole};
use crate::file::encoded::Encoded;
use crate::file::sink::blocking;
use crate::file::{Compression, FileFormat};

/// Most objects that a lane has open.
const MAX_OPEN: usize = 256;

/// Writes the objects of one lane.
///
/// # Cancel safety
/// As [`Writer`] says: after a dropped future the next call gives up the uploads that are no objects yet, and fails, since the
/// rows accepted before are gone with them. If a commit was dropped, delivery is in doubt.
pub struct ObjectWriter {
    shared: Arc<Shared>,
    session: Arc<Session>,
    lane: usize,
    workers: Arc<Semaphore>,
    open: BTreeMap<TableId, Open>,
    /// Uploads that are whole and wait for the commit.
    whole: Vec<Whole>,
    /// What the commit will settle.
    pending: Settled,
    /// The record of the last commit.
    last: Option<String>,
    /// What was begun and has not come to its end.
    under_way: Option<Call>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Call {
    Write,
    Commit,
}

/// An object that rows go into.
struct Open {
    encoded: Encoded<Blocks>,
    blocks: Blocks,
    uploading: Uploading,
}

impl fmt::Debug for ObjectWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectWriter")
            .field("lane", &self.lane)
            .field("open", &self.open.len())
            .finish_non_exhaustive()
    }
}

impl Writer for ObjectWriter {
    async fn write(&mut self, batch: &TableBatch) -> Result<Settled> {
        self.recover().await?;
        self.under_way = Some(Call::Write);
        let written = self.write_batch(batch).await;
        self.ended(written).await.map(|()| Settled::default())
    }

    async fn flush(&mut self) -> Result<Settled> {
        self.flush_with(&[]).await
    }

    async fn flush_with(&mut self, checkpoints: &[Checkpoint]) -> Result<Settled> {
        self.recover().await?;
        self.under_way = Some(Call::Commit);
        let committed = self.commit(checkpoints).await;
        self.ended(committed).await
    }

    async fn close(&mut self) -> Result<Settled> {
        self.recover().await?;
        self.under_way = Some(Call::Commit);
        let closed = async {
            let settled = self.commit(&[]).await?;
            if let Some(last) = self.last.take() {
                self.session.forget(&last).await?;
            }
            Ok(settled)
        };
        let closed = closed.await;
        self.ended(closed).await
    }
}

impl ObjectWriter {
    pub(super) fn new(shared: Arc<Shared>, session: Arc<Session>, lane: usize) -> Self {
        let workers = Arc::new(Semaphore::new(shared.options.workers.max(1)));
        Self {
            shared,
            session,
            lane,
            workers,
            open: BTreeMap::new(),
            whole: Vec::new(),
            pending: Settled::default(),
            last: None,
            under_way: None,
        }
    }

    /// Undoes what a dropped call had begun, and says so.
    async fn recover(&mut self) -> Result<()> {
        let Some(before) = self.under_way else { return Ok(()) };
        self.roll_back().await;
        self.under_way = None;
        let (what, delivered) = match before {
            Call::Write => {
                ("a call was broken off, and the rows since the last commit are rolled back", Delivered::No)
            }
            Call::Commit => ("a commit of objects was broken off", Delivered::InDoubt),
        };
        Err(Error::new(ErrorKind::Unavailable, what).with_delivered(delivered))
    }

    async fn ended<T>(&mut self, result: Result<T>) -> Result<T> {
        if result.is_err() {
            self.roll_back().await;
        }
        self.under_way = None;
        result
    }

    /// Gives up what is no object yet. What cannot be given up now is when the job is run again.
    async fn roll_back(&mut self) {
        self.open.clear();
        self.whole.clear();
        self.pending = Settled::default();
        if let Err(error) = self.session.abandon(self.lane).await {
            tracing::debug!(%error, "uploads are left for the next run");
        }
    }

    async fn write_batch(&mut self, batch: &TableBatch) -> Result<()> {
        let (shared, table) = (Arc::clone(&self.shared), batch.table());
        let options = &shared.options;
        let Some(folder) = shared.folder(table) else {
            let reason = "the table's name is too long for a key; names=hash shortens it";
            let rejects =
                (0..batch.rows()).map(|row| batch.reject(row, Stage::Encode, "name_too_long", reason));
            self.pending.rejects.extend(rejects);
            self.pending.add(table, RowCounts { rejected: batch.rows() as u64, ..RowCounts::default() });
            return Ok(());
        };
        let mut from = 0;
        while from < batch.rows() {
            if self.open.get(table).is_some_and(|open| !open.encoded.takes(batch.schema())) {
                self.end(table).await?;
            }
            let mut open = match self.open.remove(table) {
                Some(open) => open,
                None => self.begin(&folder, batch.schema()).await?,
            };
            // Rows of one call that an object may take at most: its bytes are looked at in between.
            let most = options.object_rows.saturating_sub(open.encoded.rows()).clamp(1, 65_536) as usize;
            let count = most.min(batch.rows() - from);
            let rows = batch.slice(from, count);
            let (mut open, rejects) = blocking(move || {
                let rejects = open.encoded.write(&rows)?;
                Ok((open, rejects))
            })
            .await?;
            while let Some(pieces) = open.blocks.take(options.part_bytes) {
                open.uploading.send(pieces, &self.workers).await?;
            }
            let counts = RowCounts {
                written: (count - rejects.len()) as u64,
                rejected: rejects.len() as u64,
                ..RowCounts::default()
            };
            self.pending.add(table, counts);
            self.pending.rejects.extend(rejects);
            from += count;
            let full =
                open.encoded.rows() >= options.object_rows || open.size(&shared) >= options.object_bytes;
            self.open.insert(table.clone(), open);
            if full {
                self.end(table).await?;
            }
        }
        while self.open.len() > 1
            && self.open.values().map(Open::memory).sum::<usize>() > options.buffer_bytes
        {
            self.end_largest().await?;
        }
        Ok(())
    }

    async fn begin(&mut self, folder: &str, schema: &Arc<Schema>) -> Result<Open> {
        if self.open.len() >= MAX_OPEN {
            self.end_largest().await?;
        }
        let encoding = &self.shared.encoding;
        let key = self.session.key(folder, self.lane, &encoding.ending());
        let blocks = Blocks::default();
        let place = self.shared.client.place(&key);
        let encoded = Encoded::new(blocks.clone(), place, schema, encoding)?;
        let uploading = Uploading::new(Arc::clone(&self.session), self.lane, key);
        Ok(Open { encoded, blocks, uploading })
    }

    /// Uploads the rest of a table's object; it is one at the commit.
    async fn end(&mut self, table: &TableId) -> Result<()> {
        let Some(open) = self.open.remove(table) else { return Ok(()) };
        let Open { encoded, blocks, mut uploading } = open;
        if encoded.rows() == 0 {
            // Its rows were all refused.
            return Ok(());
        }
        blocking(move || encoded.finish().map(drop)).await?;
        self.pending.bytes += blocks.total();
        // What the footer of a large object adds may be more than a part.
        while let Some(pieces) = blocks.take(self.shared.options.part_bytes) {
            uploading.send(pieces, &self.workers).await?;
        }
        let rest = blocks.take_rest();
        if !rest.is_empty() {
            uploading.send(rest, &self.workers).await?;
        }
        self.whole.extend(uploading.finish().await?);
        Ok(())
    }

    async fn end_largest(&mut self) -> Result<()> {
        let largest = self.open.iter().max_by_key(|(_, open)| open.memory());
        match largest.map(|(table, _)| table.clone()) {
            Some(table) => self.end(&table).await,
            None => Ok(()),
        }
    }

    async fn commit(&mut self, checkpoints: &[Checkpoint]) -> Result<Settled> {
        let tables: Vec<_> = self.open.keys().cloned().collect();
        for table in &tables {
            self.end(table).await?;
        }
        let whole = std::mem::take(&mut self.whole);
        self.session.commit(self.lane, checkpoints, whole, &mut self.last).await?;
        Ok(std::mem::take(&mut self.pending))
    }
}

impl Open {
    /// Bytes that the object has so far.
    fn size(&self, shared: &Shared) -> u64 {
        let encoding = &shared.encoding;
        let gzip = encoding.compression == Compression::Gzip
            && matches!(encoding.format, FileFormat::Records { .. });
        if gzip { self.blocks.total() } else { self.encoded.bytes() }
    }

    /// Bytes of memory that it takes.
    fn memory(&self) -> usize {
        self.encoded.buffered_bytes() + self.blocks.held()
    }
}
