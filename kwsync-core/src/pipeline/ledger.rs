//! The books of a job: rejects against the budget, and the checkpoints of its splits.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::Mutex;

use super::meter::Count;
use super::{PipelineOptions, Progress};
use crate::{
    Budget, Checkpoint, CheckpointStore, Earlier, Error, ErrorPolicy, JobState, Reject, RejectWriter, Result,
    SavedTable, SchemaRegistry,
};

pub(super) struct Ledger {
    policy: ErrorPolicy,
    budget: Budget,
    earlier: Earlier,
    progress: Arc<Progress>,
    store: Arc<dyn CheckpointStore>,
    schemas: Arc<SchemaRegistry>,
    resumable: bool,
    books: Mutex<Books>,
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
        resumable: bool,
        continues: bool,
        options: &PipelineOptions,
        progress: Arc<Progress>,
    ) -> Result<Self> {
        let rejects = match &options.errors {
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

    /// Counts rejects. What stays to be written to the reject file is returned, its bytes copied, since a
    /// reject must not keep a chunk of input alive until the next commit.
    pub(super) fn judge(&self, rejects: Vec<Reject>) -> Result<Vec<Reject>> {
        let Some(first) = rejects.first() else { return Ok(rejects) };
        if self.policy == ErrorPolicy::Fail {
            return Err(first.to_error());
        }
        Progress::add(&self.progress.rejected, rejects.len() as u64);
        self.progress.meter.add(Count::RowsRejected, rejects.len() as u64);
        match self.policy {
            ErrorPolicy::Reject(_) => Ok(rejects
                .into_iter()
                .map(|reject| Reject { raw: bytes::Bytes::copy_from_slice(&reject.raw), ..reject })
                .collect()),
            _ => Ok(Vec::new()),
        }
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
        let mut books = self.books.lock().await;
        let Books { state, rejects: Some(file) } = &mut *books else { return Ok(()) };
        if !rejects.is_empty() {
            state.rejects_len = file.append(&std::mem::take(rejects))?;
            if self.resumable {
                self.store.save(state).await?;
            }
        }
        Ok(())
    }

    /// Writes rejects to their file without recording them, so that a job that stops for them shows them.
    pub(super) async fn spill(&self, rejects: Vec<Reject>) -> Result<()> {
        match &mut self.books.lock().await.rejects {
            Some(file) => file.append(&rejects).map(|_| ()),
            None => Ok(()),
        }
    }

    /// The error for rows that were lost with a connection and cannot be read again.
    pub(super) fn cannot_retry(error: Error) -> Error {
        error.context("the input cannot be read again to replace the rows that were under way")
    }
}
