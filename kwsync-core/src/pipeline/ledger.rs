//! The books of a job: rejects against the budget, and the checkpoints of its splits.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::Mutex;

use super::{PipelineOptions, Progress};
use crate::{
    Budget, Checkpoint, CheckpointStore, Error, ErrorPolicy, JobState, Reject, RejectWriter, Result,
};

pub(super) struct Ledger {
    policy: ErrorPolicy,
    budget: Budget,
    progress: Arc<Progress>,
    store: Arc<dyn CheckpointStore>,
    resumable: bool,
    books: Mutex<Books>,
}

struct Books {
    state: JobState,
    rejects: Option<RejectWriter>,
}

impl Ledger {
    pub(super) async fn open(
        state: JobState,
        store: Arc<dyn CheckpointStore>,
        resumable: bool,
        options: &PipelineOptions,
        progress: Arc<Progress>,
    ) -> Result<Self> {
        let rejects = match &options.errors {
            ErrorPolicy::Reject(path) => Some(RejectWriter::open(path, state.rejects_len)?),
            _ => None,
        };
        if resumable {
            // From here on an older run of this job is fenced off.
            store.save(&state).await?;
        }
        Ok(Self {
            policy: options.errors.clone(),
            budget: options.max_errors,
            progress,
            store,
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
        self.check_budget(false)?;
        match self.policy {
            ErrorPolicy::Reject(_) => Ok(rejects
                .into_iter()
                .map(|reject| Reject { raw: bytes::Bytes::copy_from_slice(&reject.raw), ..reject })
                .collect()),
            _ => Ok(Vec::new()),
        }
    }

    fn check_budget(&self, finished: bool) -> Result<()> {
        let get = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        let rejected = get(&self.progress.rejected);
        let records = get(&self.progress.records).max(get(&self.progress.rows_read)).max(rejected);
        self.budget.check(rejected, records, finished)
    }

    /// Records that everything before `checkpoints` has settled: rejects first, then the state that knows how
    /// long their file is. A crash between the two leaves rejects that the next run cuts off and meets again.
    pub(super) async fn commit(
        &self,
        rejects: Vec<Reject>,
        checkpoints: &HashMap<Arc<str>, Checkpoint>,
    ) -> Result<()> {
        let mut books = self.books.lock().await;
        if let Some(file) = &mut books.rejects {
            books.state.rejects_len = file.append(&rejects)?;
        }
        for checkpoint in checkpoints.values() {
            if checkpoint.done {
                Progress::add(&self.progress.splits_done, 1);
            }
            books.state.checkpoints.insert(Arc::clone(&checkpoint.split), checkpoint.clone());
        }
        if self.resumable { self.store.save(&books.state).await } else { Ok(()) }
    }

    pub(super) async fn finish(&self) -> Result<()> {
        self.check_budget(true)
    }

    /// The error for rows that were lost with a connection and cannot be read again.
    pub(super) fn cannot_retry(error: Error) -> Error {
        error.context("the input cannot be read again to replace the rows that were under way")
    }
}
