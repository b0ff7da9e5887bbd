//! The books of a job: rejects against the budget, and the checkpoints of its splits.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::Mutex;

use super::meter::Count;
use super::{PipelineOptions, Progress};
use crate::{
    Budget, Checkpoint, CheckpointStore, DeadLetters, Earlier, Error, ErrorPolicy, JobState, Reject,
    RejectWriter, Result, SavedTable, SchemaRegistry,
};

pub(super) struct Ledger {
    policy: ErrorPolicy,
    /// Whether each reject is logged.
    log: bool,
    /// Where rejects go, if not to a file.
    dead_letters: Option<Arc<dyn DeadLetters>>,
    budget: Budget,
    earlier: Earlier,
    progress: Arc<Progress>,
    store: Arc<dyn CheckpointStore>,
    schemas: Arc<SchemaRegistry>,
    resumable: bool,
    books: Mutex<Books>,
}

/// What becomes of the books when the job ends or stops.
pub(super) struct Keeping {
    /// Whether its state is saved, so that another run goes on from there.
    pub(super) resumable: bool,
    /// Whether it goes on without a state, so that rejects of earlier runs stay.
    pub(super) continues: bool,
}

struct Books {
    state: JobState,
    rejects: Option<RejectWriter>,
}

impl Ledger {
    pub(super) async fn open(
        mut state: JobState,
        store: Arc<dyn CheckpointStore>,
        schemas: Arc<SchemaRegistry>,
        Keeping { resumable, continues }: Keeping,
        options: &PipelineOptions,
        dead_letters: Option<Arc<dyn DeadLetters>>,
        progress: Arc<Progress>,
    ) -> Result<Self> {
        let rejects = match &options.errors {
            _ if dead_letters.is_some() => None,
            ErrorPolicy::DeadLetters(dsn) => {
                return Err(Error::config(format!("nobody has made the place for rejects {dsn}"))
                    .with_hint("give it to Pipeline::with_dead_letters"));
            }
            ErrorPolicy::Reject(path) => {
                // The length belongs to the file that it was recorded of.
                let keep = if state.rejects_path.as_ref() == Some(path) { state.rejects_len } else { 0 };
                (state.rejects_path, state.rejects_len) = (Some(path.clone()), keep);
                // A stream goes on without a state: what it refused before will not come again.
                Some(if continues { RejectWriter::append_to(path)? } else { RejectWriter::open(path, keep)? })
            }
            _ => None,
        };
        if resumable {
            // From here on an older run of this job is fenced off.
            store.save(&state).await?;
        }
        Ok(Self {
            policy: options.errors.clone(),
            log: options.log_errors,
            dead_letters,
            budget: options.max_errors,
            earlier: options.earlier,
            progress,
            store,
            schemas,
            resumable,
            books: Mutex::new(Books { state, rejects }),
        })
    }

    /// Which run of the job this is.
    pub(super) async fn generation(&self) -> u64 {
        self.books.lock().await.state.generation
    }

    /// Where a split stands.
    pub(super) async fn checkpoint(&self, split: &Arc<str>) -> Checkpoint {
        let books = self.books.lock().await;
        match books.state.checkpoints.get(split) {
            Some(known) => Checkpoint { generation: books.state.generation, ..known.clone() },
            None => Checkpoint::start(books.state.job.clone(), Arc::clone(split), books.state.generation),
        }
    }

    /// Counts rejects. What stays to be written to the reject file or sent as a dead letter is returned, its bytes copied,
    /// since a reject must not keep a chunk of input alive until the next commit.
    pub(super) fn judge(&self, rejects: Vec<Reject>) -> Result<Vec<Reject>> {
        let Some(first) = rejects.first() else { return Ok(rejects) };
        if self.policy == ErrorPolicy::Fail && self.dead_letters.is_none() {
            return Err(first.to_error());
        }
        if self.log {
            rejects.iter().for_each(log);
        }
        Progress::add(&self.progress.rejected, rejects.len() as u64);
        self.progress.meter.add(Count::RowsRejected, rejects.len() as u64);
        if self.dead_letters.is_none() && !matches!(self.policy, ErrorPolicy::Reject(_)) {
            return Ok(Vec::new());
        }
        Ok(rejects.into_iter().map(Reject::detached).collect())
    }

    /// Whether rejects have to be durable before the target commits what lies around them, though it stores no checkpoint:
    /// dead letters may wait for brokers, and each new try would write the same rows again.
    pub(super) fn records_first(&self) -> bool {
        self.dead_letters.is_some()
    }

    /// Whether the rejects so far are still allowed; `finished` when no more records come.
    pub(super) fn check_budget(&self, finished: bool) -> Result<()> {
        let get = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        let rejected = get(&self.progress.rejected);
        let records = get(&self.progress.records).max(get(&self.progress.rows_read)).max(rejected);
        let Earlier { records: before, rejected: refused, more_follow } = self.earlier;
        self.budget.check(refused + rejected, before + records, finished && !more_follow)
    }

    /// Records that everything before `checkpoints` has settled; `done` splits are done with it. Rejects first, then the
    /// state that knows how long their file is. A crash between the two leaves rejects that the next run cuts off and
    /// meets again.
    pub(super) async fn commit(
        &self,
        rejects: Vec<Reject>,
        checkpoints: Vec<Checkpoint>,
        done: usize,
    ) -> Result<()> {
        let mut books = self.books.lock().await;
        let Books { state, rejects: file } = &mut *books;
        if let Some(file) = file {
            state.rejects_len = file.append(&rejects)?;
        }
        self.send(state, &rejects).await?;
        for checkpoint in checkpoints {
            state.checkpoints.insert(Arc::clone(&checkpoint.split), checkpoint);
        }
        if self.resumable {
            state.schemas =
                self.schemas.tables().iter().map(|(table, schema)| SavedTable::of(table, schema)).collect();
            self.store.save(state).await?;
        }
        Progress::add(&self.progress.splits_done, done as u64);
        Ok(())
    }

    /// Writes rejects to their file and records its length, before a sink that stores checkpoints itself commits: once
    /// it has, nobody would meet them again. A crash in between may leave them in the file twice.
    pub(super) async fn record(&self, rejects: &mut Vec<Reject>) -> Result<()> {
        if rejects.is_empty() {
            return Ok(());
        }
        let mut books = self.books.lock().await;
        let Books { state, rejects: file } = &mut *books;
        if let Some(file) = file {
            state.rejects_len = file.append(&std::mem::take(rejects))?;
            if self.resumable {
                self.store.save(state).await?;
            }
        }
        self.send(state, rejects).await?;
        rejects.clear();
        Ok(())
    }

    /// Sends rejects to where dead letters go.
    async fn send(&self, state: &JobState, rejects: &[Reject]) -> Result<()> {
        match &self.dead_letters {
            Some(target) if !rejects.is_empty() => {
                let sent = target.append(&state.job, rejects).await;
                sent.map_err(|error| {
                    error.context(format!("{} rejects do not get to {}", rejects.len(), target.place()))
                })
            }
            _ => Ok(()),
        }
    }

    /// Writes rejects to their file without recording them, so that a job that stops for them shows them.
    pub(super) async fn spill(&self, rejects: Vec<Reject>) -> Result<()> {
        let mut books = self.books.lock().await;
        if let Some(file) = &mut books.rejects {
            file.append(&rejects)?;
        }
        self.send(&books.state, &rejects).await
    }

    /// The error for rows that were lost with a connection and cannot be read again.
    pub(super) fn cannot_retry(error: Error) -> Error {
        error.context("the input cannot be read again to replace the rows that were under way")
    }
}

fn log(reject: &Reject) {
    let message = reject.message.as_deref();
    let position = reject.position;
    tracing::warn!(
        split = reject.split,
        line = position.line,
        column = position.column,
        offset = message.and_then(|message| message.offset),
        timestamp = message.and_then(|message| message.timestamp),
        table = reject.table.as_ref().map(tracing::field::display),
        code = reject.code,
        "record refused: {}",
        reject.reason
    );
}
