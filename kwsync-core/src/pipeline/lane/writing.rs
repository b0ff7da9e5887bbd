//! The writing loop: batches into the writer, commits, what becomes of rejects.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::super::coalesce::Coalescer;
use super::super::meter::Count;
use super::super::queue::Receiver;
use super::super::transformed::Transformed;
use super::super::{Progress, Shared};
use super::{Ack, Message, Taken};
use crate::{
    Checkpoint, DecodeCounts, DynWriter, Error, ErrorKind, Reject, Result, Retry, RowCounts, Settled,
    SplitPosition, TableBatch, TableId,
};

/// Finished splits that wait for one commit; more would only keep files open.
const MAX_WAITING_SPLITS: usize = 64;
/// Bytes of rejects after which a lane commits, so that they do not pile up in memory.
const MAX_REJECT_BYTES: usize = 8 << 20;
/// How long a stop waits for a table to be made, where somebody waits for an answer.
const LAST_PREPARE: Duration = Duration::from_secs(20);

/// The error that has a transaction of the source read again from its beginning, once the tables that changed in its midst are prepared: our own
/// transaction would be in the way.
fn changed_within(shared: &Shared, batch: &Transformed) -> Error {
    let new = batch.batches.iter().filter(|batch| !shared.is_ready(batch.table(), batch.schema()));
    let new: Vec<_> = new.map(|batch| (batch.table().clone(), Arc::clone(batch.schema()))).collect();
    let names = new.iter().map(|(table, _)| table.to_string()).collect::<Vec<_>>().join(", ");
    shared.due.lock().unwrap_or_else(PoisonError::into_inner).extend(new);
    Error::new(
        ErrorKind::Conflict,
        format!("{names}: the columns changed within a transaction of the source"),
    )
    .with_retry(Retry::Now)
    .with_delivered(crate::Delivered::No)
    .with_hint("it is read again from its beginning")
}

/// Waits until the job is to stop, and what is being prepared with it: where somebody waits for an answer, there is time left.
async fn stopped(shared: &Shared) {
    shared.stop.cancelled().await;
    if shared.answers {
        tokio::time::sleep(LAST_PREPARE).await;
    }
}

/// What a reject takes in memory, about.
pub(super) fn reject_bytes(reject: &Reject) -> usize {
    reject.raw.len() + reject.reason.len() + 256
}

/// Rows and records that the counters hold and no commit has confirmed.
#[derive(Debug, Default)]
pub(in crate::pipeline) struct Tally {
    pub(in crate::pipeline) counts: DecodeCounts,
    pub(in crate::pipeline) bytes: u64,
    /// Rows as they came from the source.
    pub(in crate::pipeline) rows_read: u64,
    pub(in crate::pipeline) filtered: u64,
    pub(in crate::pipeline) rejected: u64,
    /// Rows of each table, behind the transforms.
    pub(in crate::pipeline) rows: BTreeMap<TableId, u64>,
    /// Rows that the writer has told the fate of and that will be written again all the same.
    pub(in crate::pipeline) settled: BTreeMap<TableId, RowCounts>,
    pub(in crate::pipeline) coerced: u64,
}

/// The writing loop's state.
pub(super) struct Writing {
    coalescer: Coalescer,
    /// The last commit of each split in hand.
    begun: HashMap<Arc<str>, Checkpoint>,
    /// How far each has come since.
    reached: HashMap<Arc<str>, (Option<SplitPosition>, bool)>,
    pub(super) rejects: Vec<Reject>,
    /// What the reader will be told of.
    refused: Vec<Reject>,
    reject_bytes: usize,
    rows: u64,
    bytes: u64,
    since: Option<Instant>,
    pub(super) tally: Tally,
    pub(super) commits: u64,
    /// Whether the rows that came last are of a transaction of the source that is not over.
    pub(super) unfinished: bool,
}

impl Writing {
    pub(super) fn new(shared: &Shared) -> Self {
        Self {
            coalescer: Coalescer::new(shared.options.batch_rows, shared.options.batch_bytes),
            begun: HashMap::new(),
            reached: HashMap::new(),
            rejects: Vec::new(),
            refused: Vec::new(),
            reject_bytes: 0,
            rows: 0,
            bytes: 0,
            since: None,
            tally: Tally::default(),
            commits: 0,
            unfinished: false,
        }
    }

    pub(super) async fn run(
        &mut self,
        shared: &Shared,
        writer: &mut dyn DynWriter,
        messages: &mut Receiver<Message>,
        acks: &mpsc::UnboundedSender<Ack>,
        taken: &Taken,
    ) -> Result<()> {
        let options = &shared.options;
        loop {
            let linger = self.coalescer.since().map(|since| since + options.linger);
            let commit = self.since.filter(|_| !self.unfinished).map(|since| since + options.commit_interval);
            let message = match linger.into_iter().chain(commit).min() {
                Some(at) => match timeout_at(at, messages.recv()).await {
                    Ok(message) => message,
                    Err(_) => {
                        let now = Instant::now();
                        if linger.is_some_and(|at| at <= now) {
                            let due = self.coalescer.drain()?;
                            self.write(shared, writer, due).await?;
                        }
                        if commit.is_some_and(|at| at <= now) {
                            self.commit(shared, writer, acks, taken).await?;
                        }
                        continue;
                    }
                },
                None => messages.recv().await,
            };
            match message {
                None => break,
                Some(Message::Begin(checkpoint)) => {
                    self.begun.insert(Arc::clone(&checkpoint.split), checkpoint);
                }
                Some(Message::Batch { split, batch, bytes }) => {
                    let (commit, unfinished) = (batch.commit, batch.unfinished);
                    let mut batch = Transformed::new(shared, split, batch)?;
                    if self.prepare_conflicts(shared, &batch) {
                        if self.unfinished {
                            return Err(changed_within(shared, &batch));
                        }
                        self.commit(shared, writer, acks, taken).await?;
                    }
                    let prepared = tokio::select! {
                        // First, or a stop would drop what is ready to be written.
                        biased;
                        prepared = batch.prepare(shared) => prepared,
                        // What was not taken is read again by the next run; or, where somebody waits, by nobody.
                        () = stopped(shared) => break,
                    };
                    prepared?;
                    self.take(shared, writer, batch, bytes).await?;
                    self.unfinished = unfinished;
                    if commit {
                        self.commit(shared, writer, acks, taken).await?;
                    }
                }
                Some(Message::Commit) => self.commit(shared, writer, acks, taken).await?,
                Some(Message::Release(parts)) => {
                    self.commit(shared, writer, acks, taken).await?;
                    parts.iter().for_each(|part| drop(self.begun.remove(part)));
                    // The reader may have gone: then nobody holds them.
                    drop(acks.send(Ack::Released(parts)));
                }
                Some(Message::End { split, parts: true }) => {
                    self.commit(shared, writer, acks, taken).await?;
                    taken.lock().unwrap_or_else(PoisonError::into_inner).retain(|other| other.id != split);
                    Progress::add(&shared.progress.splits_done, 1);
                }
                Some(Message::End { split, parts: false }) => {
                    let last = self.reached.remove(&split).and_then(|(position, _)| position);
                    self.reached.insert(split, (last, true));
                    self.since.get_or_insert_with(Instant::now);
                }
            }
            let finished = self.reached.values().filter(|(_, done)| *done).count();
            if self.unfinished {
                continue;
            }
            if self.rows >= options.commit_rows
                || self.bytes >= options.commit_bytes
                || self.reject_bytes >= MAX_REJECT_BYTES
                || finished >= MAX_WAITING_SPLITS
                || self.since.is_some_and(|since| since.elapsed() >= options.commit_interval)
            {
                self.commit(shared, writer, acks, taken).await?;
            }
        }
        if self.unfinished {
            // The rest of the transaction did not come: the next run reads it again from its beginning.
            shared.progress.take_back(&std::mem::take(&mut self.tally));
            return Ok(());
        }
        self.commit(shared, writer, acks, taken).await
    }

    /// Whether a table must be made or changed while this lane holds a transaction: then that is committed first. The
    /// change would wait for it, if the table is one that this lane writes to; and while this lane waits for its turn
    /// to prepare, another one's change may wait for it.
    fn prepare_conflicts(&self, shared: &Shared, batch: &Transformed) -> bool {
        self.since.is_some()
            && shared.sink.capabilities().exclusive_prepare
            && batch.batches.iter().any(|batch| !shared.is_ready(batch.table(), batch.schema()))
    }

    async fn take(
        &mut self,
        shared: &Shared,
        writer: &mut dyn DynWriter,
        batch: Transformed,
        bytes: usize,
    ) -> Result<()> {
        let Transformed { batches, rejects, counts, rows, filtered, read, reached } = batch;
        self.since.get_or_insert_with(Instant::now);
        self.tally.bytes += read;
        self.tally.counts += counts;
        self.tally.rows_read += rows;
        self.tally.filtered += filtered;
        let mut by_table: BTreeMap<TableId, u64> = BTreeMap::new();
        for batch in &batches {
            *by_table.entry(batch.table().clone()).or_default() += batch.rows() as u64;
        }
        shared.progress.decoded(counts, read, rows, filtered, &by_table);
        for (table, rows) in by_table {
            *self.tally.rows.entry(table).or_default() += rows;
        }
        self.judge(shared, rejects)?;
        let mut due = Vec::new();
        for batch in batches {
            // Buffers that batches share are counted once; each bears its part by its rows.
            let share = bytes as u64 * batch.rows() as u64 / rows.max(1);
            due.extend(self.coalescer.push(batch, share as usize)?);
            self.bytes += share;
        }
        self.rows += rows;
        self.reached.extend(reached.into_iter().map(|(split, position)| (split, (Some(position), false))));
        self.write(shared, writer, due).await
    }

    fn judge(&mut self, shared: &Shared, rejects: Vec<Reject>) -> Result<()> {
        if rejects.is_empty() {
            return Ok(());
        }
        self.tally.rejected += rejects.len() as u64;
        if shared.answers {
            self.reject_bytes += rejects.iter().map(reject_bytes).sum::<usize>();
            self.refused.extend(rejects.iter().cloned());
        }
        let kept = shared.ledger.judge(rejects)?;
        self.reject_bytes += kept.iter().map(reject_bytes).sum::<usize>();
        self.rejects.extend(kept);
        shared.ledger.check_budget(false)
    }

    async fn write(
        &mut self,
        shared: &Shared,
        writer: &mut dyn DynWriter,
        due: Vec<TableBatch>,
    ) -> Result<()> {
        for batch in due {
            let settled = writer.write(&batch).await?;
            self.settle(shared, settled)?;
        }
        Ok(())
    }

    pub(super) fn settle(&mut self, shared: &Shared, settled: Settled) -> Result<()> {
        shared.progress.settled(&settled);
        for (table, counts) in &settled.tables {
            *self.tally.settled.entry(table.clone()).or_default() += *counts;
        }
        self.tally.coerced += settled.coerced;
        self.judge(shared, settled.rejects)
    }

    async fn commit(
        &mut self,
        shared: &Shared,
        writer: &mut dyn DynWriter,
        acks: &mpsc::UnboundedSender<Ack>,
        taken: &Taken,
    ) -> Result<()> {
        let due = self.coalescer.drain()?;
        self.write(shared, writer, due).await?;
        if self.reached.is_empty() {
            return Ok(());
        }
        let (began, rows, rejects) = (Instant::now(), self.rows, self.rejects.len());
        let mut checkpoints = HashMap::new();
        for (split, (position, done)) in self.reached.drain() {
            let Some(last) = self.begun.get(&split) else { continue };
            let next = match position.or_else(|| last.position.clone()) {
                Some(position) => last.next(position, done),
                None => Checkpoint { done, sequence: last.sequence + 1, ..last.clone() },
            };
            checkpoints.insert(split, next);
        }
        // What continues is done for this run, and not in what later runs find.
        let lasting = |checkpoint: &Checkpoint| {
            let done = checkpoint.done && !shared.continuing.contains(&checkpoint.split);
            Checkpoint { done, ..checkpoint.clone() }
        };
        let all: Vec<_> = checkpoints.values().cloned().collect();
        let stored: Vec<_> = all.iter().map(lasting).collect();
        // Rejects are judged before anything around them is committed.
        let drained = writer.drain().await?;
        self.settle(shared, drained)?;
        let stores = shared.sink.capabilities().stores_checkpoints;
        if stores || shared.ledger.records_first() {
            shared.ledger.record(&mut self.rejects).await?;
        }
        let settled = if stores {
            let once = |checkpoint: &&Checkpoint| !shared.unrepeatable.contains(&checkpoint.split);
            let again: Vec<_> = stored.iter().filter(once).cloned().collect();
            writer.flush_with(&again).await?
        } else {
            writer.flush_with(&stored).await?
        };
        self.settle(shared, settled)?;
        let done = all.iter().filter(|checkpoint| checkpoint.done).count();
        shared.ledger.commit(std::mem::take(&mut self.rejects), stored, done).await?;
        taken
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|split| !checkpoints.get(&split.id).is_some_and(|checkpoint| checkpoint.done));
        for (split, checkpoint) in checkpoints {
            if checkpoint.done {
                self.begun.remove(&split);
            } else {
                self.begun.insert(split, checkpoint);
            }
        }
        (self.rows, self.bytes, self.reject_bytes, self.since) = (0, 0, 0, None);
        self.tally = Tally::default();
        self.commits += 1;
        shared.committed.notify_waiters();
        let took = began.elapsed();
        shared.progress.meter.add(Count::Commits, 1);
        shared.progress.meter.commit(took);
        tracing::debug!(rows, rejects, splits = all.len(), elapsed_ms = took.as_millis() as u64, "committed");
        // The reader may have failed and gone: then nobody needs to be told.
        let told = acks.send(Ack::Settled { checkpoints: all, refused: std::mem::take(&mut self.refused) });
        drop(told);
        Ok(())
    }
}
