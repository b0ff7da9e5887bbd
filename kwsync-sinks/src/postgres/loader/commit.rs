//! Buffers into the database: parts in parallel, each tried again on its own.

use kwsync_core::{
    Delivered, Error, JobId, Lane, Origin, Position, RecordRef, Retry, Segment, Settled, Sink, TableBatch,
    TableId, Writer,
};
use std::sync::Arc;
use std::time::Duration;

use kwsync_core::{Input, Value};
use tokio::task::JoinSet;

use super::{FailedRow, LoadCode, LoadError, Loader, PostgresWriter, Result, Table};

/// Fewer rows than this are not worth a further connection.
const PART_ROWS: usize = 500;

type Rows = Vec<Vec<Value<'static>>>;

/// What one connection writes in one transaction.
struct Part {
    lane: usize,
    batches: Vec<TableBatch>,
    rows: Vec<(TableId, Rows)>,
}

struct Done {
    part: Part,
    writer: PostgresWriter,
    outcome: std::result::Result<Settled, Error>,
    retries: u64,
}

impl Loader {
    pub(super) async fn commit_if_full(&mut self) -> Result<()> {
        if self.buffered_bytes >= self.config.commit_size { self.commit().await } else { Ok(()) }
    }

    /// Writes and commits what is buffered, over several connections where there is enough of it.
    ///
    /// # Errors
    /// [`LoadCode::CommitRows`] with the rows that were refused. The others are committed, unless a connection failed as
    /// well, which the message says: then those of it are buffered again.
    /// [`LoadCode::CommitOther`] when the server or a connection fails even after retries: what could not be
    /// committed is buffered for another commit. If [it is in doubt](LoadError::in_doubt) whether the server has
    /// committed, and rows that are there already are not ignored, another commit may write rows twice.
    ///
    /// # Cancel safety
    /// Not safe: rows that were on their way are lost with the future, and may have been committed.
    pub async fn commit(&mut self) -> Result<()> {
        let mut running = JoinSet::new();
        let mut failure: Option<Error> = None;
        for part in self.parts()? {
            let writer = match self.writers.get_mut(part.lane).and_then(Option::take) {
                Some(writer) => Ok(writer),
                None => {
                    let lane = Lane { job: JobId::new("loader"), index: part.lane, generation: 1 };
                    self.sink.open(&lane).await
                }
            };
            match writer {
                Ok(writer) => {
                    let (times, interval) = (self.config.retry_times, self.config.retry_interval);
                    let again = self.config.insert_ignore
                        && part
                            .rows
                            .iter()
                            .all(|(id, _)| self.tables.get(id).is_some_and(Table::is_idempotent));
                    running.spawn(write(part, writer, times, interval, again));
                }
                Err(error) => {
                    self.put_back(part);
                    keep(&mut failure, error);
                }
            }
        }
        let mut failed = Vec::new();
        while let Some(done) = running.join_next().await {
            let Ok(Done { part, writer, outcome, retries }) = done else {
                let error =
                    Error::new(kwsync_core::ErrorKind::Internal, "a writing task was lost, and its rows");
                keep(&mut failure, error.with_delivered(Delivered::InDoubt));
                continue;
            };
            self.counts.retries += retries;
            if let Some(slot) = self.writers.get_mut(part.lane) {
                *slot = Some(writer);
            }
            match outcome {
                Ok(settled) => {
                    let total = settled.total();
                    self.counts.written += total.written + total.updated;
                    self.counts.ignored += total.ignored;
                    self.counts.failed += total.rejected;
                    failed.extend(settled.rejects.iter().filter_map(|reject| {
                        let table = reject.table.as_ref()?;
                        let (_, rows) = part.rows.iter().find(|(id, _)| id == table)?;
                        let index = usize::try_from(reject.position.record).ok()?.checked_sub(1)?;
                        Some(FailedRow {
                            table: table.clone(),
                            values: rows.get(index)?.clone(),
                            code: reject.code.clone(),
                            reason: reject.reason.clone(),
                        })
                    }));
                }
                Err(error) => {
                    self.put_back(part);
                    keep(&mut failure, error);
                }
            }
        }
        match failure {
            // What was refused would be lost behind the other fault: it is told first, the rest is still there.
            failure if !failed.is_empty() => Err(LoadError::rows(failed).with_failure(failure)),
            Some(error) => Err(LoadError::new(LoadCode::CommitOther, error)),
            None => Ok(()),
        }
    }

    /// Deals out what is buffered.
    fn parts(&mut self) -> Result<Vec<Part>> {
        let count = self.buffered_rows();
        self.buffered_bytes = 0;
        let lanes = count.div_ceil(PART_ROWS).clamp(1, self.config.parallel);
        let mut parts: Vec<Part> =
            (0..lanes).map(|lane| Part { lane, batches: Vec::new(), rows: Vec::new() }).collect();
        for (id, table) in &mut self.tables {
            let rows = std::mem::take(&mut table.rows);
            let each = rows.len().div_ceil(lanes).max(1);
            let mut rows = rows.into_iter();
            for part in &mut parts {
                let own: Rows = rows.by_ref().take(each).collect();
                if own.is_empty() {
                    break;
                }
                let batch = TableBatch::from_rows(id.clone(), Arc::clone(&table.schema), &own)
                    .and_then(numbered)
                    .map_err(|error| LoadError::new(LoadCode::Other, error));
                match batch {
                    Ok(batch) => {
                        part.batches.push(batch);
                        part.rows.push((id.clone(), own));
                    }
                    Err(error) => {
                        // Nothing is lost: `fit` should have seen to it that this does not happen.
                        table.rows.extend(own);
                        table.rows.extend(rows);
                        parts.into_iter().for_each(|part| self.put_back(part));
                        return Err(error);
                    }
                }
            }
        }
        parts.retain(|part| !part.batches.is_empty());
        Ok(parts)
    }

    fn put_back(&mut self, part: Part) {
        for (id, rows) in part.rows {
            self.buffered_bytes += rows.iter().flatten().map(super::value::size).sum::<usize>();
            if let Some(table) = self.tables.get_mut(&id) {
                table.rows.extend(rows);
            }
        }
    }
}

/// Keeps the failure that says more: the one that leaves rows in doubt.
fn keep(failure: &mut Option<Error>, error: Error) {
    if failure.as_ref().is_none_or(|failure| failure.delivered() != Delivered::InDoubt) {
        *failure = Some(error);
    }
}

/// The batch with its rows numbered from 1, so that one that is refused can be told.
fn numbered(batch: TableBatch) -> kwsync_core::Result<TableBatch> {
    let input = Arc::new(Input::new("loader"));
    let segment = Segment { input, bytes: None, base: Position::START };
    let refs = (1..).take(batch.rows()).map(|record| RecordRef { record, ..RecordRef::default() });
    let origin = Origin::new(vec![segment], refs.collect());
    let (table, schema, arrow, _) = batch.into_parts();
    TableBatch::from_columns(table, schema, arrow.columns().to_vec(), origin)
}

async fn write(
    part: Part,
    mut writer: PostgresWriter,
    times: u32,
    interval: Duration,
    idempotent: bool,
) -> Done {
    let mut retries = 0;
    let outcome = loop {
        match write_once(&part.batches, &mut writer).await {
            Ok(settled) => break Ok(settled),
            Err(error) => {
                let doubt = error.delivered() == Delivered::InDoubt && !idempotent;
                if doubt || error.retry() == Retry::Never || retries >= u64::from(times) {
                    break Err(error);
                }
                tracing::warn!(%error, lane = part.lane, "a commit is tried again");
                retries += 1;
                tokio::time::sleep(interval).await;
            }
        }
    };
    Done { part, writer, outcome, retries }
}

async fn write_once(batches: &[TableBatch], writer: &mut PostgresWriter) -> kwsync_core::Result<Settled> {
    let mut settled = Settled::default();
    for batch in batches {
        settled.merge(writer.write(batch).await?);
    }
    settled.merge(writer.flush().await?);
    Ok(settled)
}
