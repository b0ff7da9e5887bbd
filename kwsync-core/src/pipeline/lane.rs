//! One lane: a reading task and a writing loop, tried again from the last commit when a fault may pass.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;

use super::coalesce::Coalescer;
use super::ledger::Ledger;
use super::meter::Count;
use super::queue::{Receiver, Sender, queue};
use super::transformed::Transformed;
use super::{Progress, Shared};
use crate::{
    Assignment, Checkpoint, DecodeCounts, DynReader, DynWriter, Error, ErrorKind, Lane, Parts, Reject,
    Result, Retry, RowCounts, Settled, SourceBatch, Split, SplitPosition, TableBatch, TableId,
};

/// Finished splits that wait for one commit; more would only keep files open.
const MAX_WAITING_SPLITS: usize = 64;
/// Bytes of rejects after which a lane commits, so that they do not pile up in memory.
const MAX_REJECT_BYTES: usize = 8 << 20;
/// How long the reading task may take to tell of the last commit when the writing has failed.
const LAST_ACKS: Duration = Duration::from_secs(1);
/// How long a stop waits for a table to be made, where somebody waits for an answer.
const LAST_PREPARE: Duration = Duration::from_secs(20);

enum Message {
    Begin(Checkpoint),
    Batch {
        /// `None` where it is made of parts, of which the batch tells.
        split: Option<Arc<str>>,
        batch: SourceBatch,
        bytes: usize,
    },
    /// What was read is to be committed now.
    Commit,
    /// Somebody else gets these parts.
    Release(Vec<Arc<str>>),
    End {
        split: Arc<str>,
        /// Whether it is made of parts, and has no checkpoint itself.
        parts: bool,
    },
}

/// What the writing loop tells the reading task.
enum Ack {
    Settled {
        checkpoints: Vec<Checkpoint>,
        /// What was refused before, where the source answers.
        refused: Vec<Reject>,
    },
    /// All of these parts has been told.
    Released(Vec<Arc<str>>),
    /// The writing has failed; dropped when all before has been told.
    Failed(oneshot::Sender<()>),
}

/// Splits that an attempt has taken and not finished.
type Taken = Arc<Mutex<Vec<Split>>>;

pub(super) async fn run(shared: Arc<Shared>, index: usize) -> Result<()> {
    let mut backoff = shared.options.backoff();
    loop {
        let taken = Taken::default();
        let mut writing = Writing::new(&shared);
        let Err(error) = attempt(&shared, index, &taken, &mut writing).await else { return Ok(()) };
        let lost = std::mem::take(&mut *taken.lock().unwrap_or_else(PoisonError::into_inner));
        // A part that another process has taken over is no fault where processes share them.
        let handed_over = error.kind() == ErrorKind::Fenced
            && shared.sink.capabilities().stores_checkpoints
            && lost.iter().any(|split| split.parts == Parts::Shared);
        if error.retry() == Retry::Never && !handed_over {
            return Err(error);
        }
        if lost.iter().any(|split| !split.resumable && !split.redelivers) {
            return Err(Ledger::cannot_retry(error));
        }
        if writing.commits > 0 {
            backoff.reset();
        }
        let Some(wait) = backoff.next_wait() else {
            return Err(error.context(format!("gave up after {} tries", backoff.made() + 1)));
        };
        let wait = if error.retry() == Retry::Now { wait.min(Duration::from_millis(100)) } else { wait };
        shared.progress.meter.add(Count::Retries, 1);
        tracing::warn!(wait_ms = wait.as_millis() as u64, error = %error, "trying again");
        shared.progress.take_back(&writing.tally);
        shared.give_back(lost);
        tokio::select! {
            () = shared.stop.cancelled() => return Err(error),
            () = tokio::time::sleep(wait) => {}
        }
    }
}

async fn attempt(shared: &Arc<Shared>, index: usize, taken: &Taken, writing: &mut Writing) -> Result<()> {
    shared.prepare_due().await?;
    let lane = Lane { job: shared.job.clone(), index, generation: shared.ledger.generation().await };
    let mut writer = shared.sink.open(&lane).await?;
    let (sender, mut receiver) = queue(shared.options.queue_bytes);
    let (acks, acked) = mpsc::unbounded_channel();
    // Dropped with us, the reading task ends too.
    let reading = AbortOnDropHandle::new(tokio::spawn(
        read(Arc::clone(shared), Arc::clone(taken), sender, acked).instrument(tracing::Span::current()),
    ));

    if let Err(error) = writing.run(shared, writer.as_mut(), &mut receiver, &acks, taken).await {
        if error.kind() == ErrorKind::Budget {
            // Whoever has to find out why wants to see them; the next run meets them again and replaces these.
            if let Err(fault) = shared.ledger.spill(std::mem::take(&mut writing.rejects)).await {
                tracing::warn!("the last rejects are not written down: {}", fault.report());
            }
        }
        if shared.answers {
            // Whoever has been committed before is to be told, and not written again.
            let (failed, told) = oneshot::channel();
            drop(acks.send(Ack::Failed(failed)));
            drop(tokio::time::timeout(LAST_ACKS, told).await);
        }
        return Err(error);
    }
    drop((receiver, acks));
    let read = reading.await;
    read.map_err(|fault| Error::new(ErrorKind::Internal, "a reading task broke off").with_source(fault))??;
    if writing.unfinished {
        // What the source's own transaction has not ended is not committed: the writer goes as after a fault.
        if !shared.stop.is_cancelled() {
            let text = "the source ended within a transaction of its own; what came of it is not written";
            return Err(Error::new(ErrorKind::Internal, text));
        }
        return Ok(());
    }
    let closed = writer.close().await?;
    writing.settle(shared, closed)
}

/// Reads splits one after the other until none is left.
async fn read(
    shared: Arc<Shared>,
    taken: Taken,
    queue: Sender<Message>,
    mut acked: mpsc::UnboundedReceiver<Ack>,
) -> Result<()> {
    // Readers stay open until their last rows have settled: a consumer of messages acknowledges them then.
    let mut readers: HashMap<Arc<str>, Box<dyn DynReader>> = HashMap::new();
    let mut fault = None;
    while let Some(split) = shared.next_split() {
        let id = Arc::clone(&split.id);
        taken.lock().unwrap_or_else(PoisonError::into_inner).push(split.clone());
        if split.after_others && !others_done(&shared, &queue, &mut acked, &mut readers).await? {
            break;
        }
        let span = tracing::info_span!("split", split = %id);
        let read = read_split(&shared, &split, &queue, &mut acked, &mut readers);
        match read.instrument(span).await {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => {
                tracing::debug!(error = %error, "reading stopped");
                fault = Some(error);
                break;
            }
        }
    }
    drop(queue);
    while let Some(ack) = acked.recv().await {
        acknowledge(None, &mut readers, ack).await?;
    }
    for reader in readers.values_mut() {
        reader.close().await?;
    }
    fault.map_or(Ok(()), Err)
}

/// Waits until all other splits are done, which those of this lane are once they are committed; false when the job stops before.
async fn others_done(
    shared: &Shared,
    queue: &Sender<Message>,
    acked: &mut mpsc::UnboundedReceiver<Ack>,
    readers: &mut HashMap<Arc<str>, Box<dyn DynReader>>,
) -> Result<bool> {
    if !shared.is_last_left() && !queue.send(Message::Commit, 0).await {
        return Ok(false);
    }
    loop {
        let committed = shared.committed.notified();
        if shared.is_last_left() {
            return Ok(true);
        }
        tokio::select! {
            () = shared.stop.cancelled() => return Ok(false),
            () = committed => {}
            ack = acked.recv() => match ack {
                Some(ack) => acknowledge(None, readers, ack).await?,
                None => return Ok(false),
            },
        }
    }
}

/// Reads one split to its end; false when the job stops before.
async fn read_split(
    shared: &Shared,
    split: &Split,
    queue: &Sender<Message>,
    acked: &mut mpsc::UnboundedReceiver<Ack>,
    readers: &mut HashMap<Arc<str>, Box<dyn DynReader>>,
) -> Result<bool> {
    let id = &split.id;
    let parts = split.parts != Parts::None;
    let mut position = None;
    if !parts {
        let checkpoint = shared.ledger.checkpoint(id).await;
        let checkpoint = match shared.sink.capabilities().stores_checkpoints && !split.resumable {
            // What cannot be read again has no checkpoint that would help.
            true => checkpoint,
            false => shared.sink.begin(&checkpoint).await?,
        };
        let done = checkpoint.done;
        position.clone_from(&checkpoint.position);
        if !queue.send(Message::Begin(checkpoint), 0).await {
            return Ok(false);
        }
        if done {
            return Ok(queue.send(Message::End { split: Arc::clone(id), parts }, 0).await);
        }
    }
    let mut reader = shared.source.open(split, position.as_ref()).await?;
    if let Some((rows, bytes)) = shared.rate.share(shared.lanes) {
        reader.limit_batches(rows, bytes);
    }
    loop {
        while let Ok(ack) = acked.try_recv() {
            acknowledge(Some((id, reader.as_mut())), readers, ack).await?;
        }
        let interruptible = reader.is_interruptible();
        let next = tokio::select! {
            biased;
            () = shared.stop.cancelled() => {
                while let Some(batch) = reader.last_batch()? {
                    if !pass_on(shared, split, queue, batch).await {
                        break;
                    }
                }
                readers.insert(Arc::clone(id), reader);
                return Ok(false);
            }
            Some(ack) = acked.recv(), if interruptible => {
                acknowledge(Some((id, reader.as_mut())), readers, ack).await?;
                continue;
            }
            () = tokio::time::sleep(shared.options.linger), if interruptible => None,
            next = reader.next() => Some(next),
        };
        let mut batch = match next {
            Some(next) => match next? {
                Some(batch) => batch,
                None => break,
            },
            // The input pauses: what is there must not wait for more.
            None => match reader.take_partial()? {
                Some(batch) => batch,
                None => continue,
            },
        };
        let assignment = std::mem::take(&mut batch.assignment);
        if !pass_on(shared, split, queue, batch).await {
            return Ok(false);
        }
        if !assignment.is_empty() && !hand_over(shared, split, queue, reader.as_mut(), assignment).await? {
            return Ok(false);
        }
    }
    readers.insert(Arc::clone(id), reader);
    Ok(queue.send(Message::End { split: Arc::clone(id), parts }, 0).await)
}

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

/// Puts a batch into the queue, no faster than the job may be; false when the writing loop is gone.
async fn pass_on(shared: &Shared, split: &Split, queue: &Sender<Message>, batch: SourceBatch) -> bool {
    let rows: usize = batch.decoded.batches.iter().map(TableBatch::rows).sum();
    tokio::select! {
        biased;
        () = shared.rate.take(rows as u64, batch.bytes) => {}
        // What was read is written; the next look at the reader ends this.
        () = shared.stop.cancelled() => {}
    }
    let bytes = TableBatch::retained_together(&batch.decoded.batches);
    let refused: usize = batch.decoded.rejects.iter().map(reject_bytes).sum();
    let id = (split.parts == Parts::None).then(|| Arc::clone(&split.id));
    queue.send(Message::Batch { split: id, batch, bytes }, bytes + refused).await
}

/// Gives parts up, and takes others over where they stand; false when the writing loop is gone.
async fn hand_over(
    shared: &Shared,
    split: &Split,
    queue: &Sender<Message>,
    reader: &mut dyn DynReader,
    assignment: Assignment,
) -> Result<bool> {
    if !assignment.released.is_empty() && !queue.send(Message::Release(assignment.released), 0).await {
        return Ok(false);
    }
    let mut from = Vec::with_capacity(assignment.taken.len());
    for part in assignment.taken {
        let known = shared.ledger.checkpoint(&part).await;
        let begun = match split.parts {
            Parts::Shared => shared.sink.take_over(&known).await?,
            _ => shared.sink.begin(&known).await?,
        };
        from.push((part, begun.position.clone()));
        if !queue.send(Message::Begin(begun), 0).await {
            return Ok(false);
        }
    }
    reader.start_parts(from)?;
    Ok(true)
}

/// Tells the reader in hand, and those that wait, what has settled.
async fn acknowledge(
    mut in_hand: Option<(&Arc<str>, &mut dyn DynReader)>,
    readers: &mut HashMap<Arc<str>, Box<dyn DynReader>>,
    ack: Ack,
) -> Result<()> {
    let checkpoints = match ack {
        Ack::Settled { checkpoints, refused } => {
            if !refused.is_empty() {
                readers.values_mut().for_each(|reader| reader.refused(&refused));
                if let Some((_, reader)) = &mut in_hand {
                    reader.refused(&refused);
                }
            }
            checkpoints
        }
        Ack::Failed(told) => {
            drop(told);
            return Ok(());
        }
        Ack::Released(parts) => {
            if let Some((_, reader)) = in_hand {
                reader.release_parts(&parts).await?;
            }
            return Ok(());
        }
    };
    let mut parts = Vec::new();
    for checkpoint in checkpoints {
        if let Some((id, reader)) = &mut in_hand
            && checkpoint.split == **id
        {
            if let Some(position) = &checkpoint.position {
                reader.commit(position).await?;
            }
            continue;
        }
        let Some(reader) = readers.get_mut(&checkpoint.split) else {
            parts.extend(checkpoint.position.map(|position| (checkpoint.split, position)));
            continue;
        };
        if let Some(position) = &checkpoint.position {
            reader.commit(position).await?;
        }
        if checkpoint.done
            && let Some(mut reader) = readers.remove(&checkpoint.split)
        {
            reader.close().await?;
        }
    }
    if parts.is_empty() {
        return Ok(());
    }
    for reader in readers.values_mut() {
        reader.commit_parts(&parts).await?;
    }
    match in_hand {
        Some((_, reader)) => reader.commit_parts(&parts).await,
        None => Ok(()),
    }
}

/// Waits until the job is to stop, and what is being prepared with it: where somebody waits for an answer, there is time left.
async fn stopped(shared: &Shared) {
    shared.stop.cancelled().await;
    if shared.answers {
        tokio::time::sleep(LAST_PREPARE).await;
    }
}

/// What a reject takes in memory, about.
fn reject_bytes(reject: &Reject) -> usize {
    reject.raw.len() + reject.reason.len() + 256
}

/// Rows and records that the counters hold and no commit has confirmed.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) counts: DecodeCounts,
    pub(super) bytes: u64,
    /// Rows as they came from the source.
    pub(super) rows_read: u64,
    pub(super) filtered: u64,
    pub(super) rejected: u64,
    /// Rows of each table, behind the transforms.
    pub(super) rows: BTreeMap<TableId, u64>,
    /// Rows that the writer has told the fate of and that will be written again all the same.
    pub(super) settled: BTreeMap<TableId, RowCounts>,
    pub(super) coerced: u64,
}

/// The writing loop's state.
struct Writing {
    coalescer: Coalescer,
    /// The last commit of each split in hand.
    begun: HashMap<Arc<str>, Checkpoint>,
    /// How far each has come since.
    reached: HashMap<Arc<str>, (Option<SplitPosition>, bool)>,
    rejects: Vec<Reject>,
    /// What the reader will be told of.
    refused: Vec<Reject>,
    reject_bytes: usize,
    rows: u64,
    bytes: u64,
    since: Option<Instant>,
    tally: Tally,
    commits: u64,
    /// Whether the rows that came last are of a transaction of the source that is not over.
    unfinished: bool,
}

impl Writing {
    fn new(shared: &Shared) -> Self {
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

    async fn run(
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

    fn settle(&mut self, shared: &Shared, settled: Settled) -> Result<()> {
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
