//! From a source to a sink: lanes, coalescing, back-pressure, commits, retries, a report.
//!
//! A lane is a reading task and a writing task joined by one queue that is bounded in bytes. The reading task
//! takes splits one after the other; the writing task transforms, puts small batches of one table together,
//! writes, and commits with a checkpoint for each split that the rows came from. Order is kept within a split.

#[cfg(test)]
mod answer_tests;
#[cfg(test)]
mod changes_tests;
mod coalesce;
mod lane;
mod ledger;
mod meter;
mod options;
mod queue;
mod rate;
mod report;
#[cfg(test)]
mod tests;
mod transformed;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;

pub use options::PipelineOptions;
pub use report::{Progress, Report, Snapshot, Status, TableReport};

use crate::{
    Backoff, BoxFuture, Capabilities, CheckpointStore, DeadLetters, DynSink, DynSource, Error, ErrorKind,
    JobId, JobState, MemoryStore, Parts, Result, Retry, Run, Schema, SchemaRegistry, TableId, Transform,
    widen,
};
use ledger::{Keeping, Ledger};
use rate::RateLimit;

/// How a run ended: what it did, and why it stopped if it did not do all.
#[derive(Debug)]
pub struct Outcome {
    /// What was done; true also when the run failed.
    pub report: Report,
    /// The fault that ended the run; `Cancelled` when it was stopped on request.
    pub error: Option<Error>,
}

impl Outcome {
    /// The report, or the fault.
    ///
    /// # Errors
    /// The fault that ended the run.
    pub fn into_result(self) -> Result<Report> {
        match self.error {
            Some(error) => Err(error),
            None => Ok(self.report),
        }
    }

    /// The exit status of a command that ends this way: 0, 3 with rejects, or the one of the error's kind.
    pub fn exit_status(&self) -> u8 {
        match (&self.error, self.report.status) {
            (Some(error), _) => error.kind().exit_status(),
            (None, Status::DoneWithRejects) => 3,
            (None, _) => 0,
        }
    }
}

/// Moves all rows of a source into a sink.
///
/// # Examples
/// See `examples/pipeline.rs` of package `kwsync`.
#[derive(Clone)]
pub struct Pipeline {
    job: JobId,
    source: Arc<dyn DynSource>,
    sink: Arc<dyn DynSink>,
    transforms: Vec<Arc<dyn Transform>>,
    store: Arc<dyn CheckpointStore>,
    options: PipelineOptions,
    progress: Arc<Progress>,
    cancel: CancellationToken,
    schemas: Arc<SchemaRegistry>,
    restart: bool,
    observer: Option<(Duration, Observer)>,
    dead_letters: Option<Arc<dyn DeadLetters>>,
}

/// What looks at a running job now and then.
type Observer = Arc<dyn Fn(&Snapshot) + Send + Sync>;

impl std::fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pipeline")
            .field("job", &self.job)
            .field("transforms", &self.transforms)
            .field("store", &self.store)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Pipeline {
    /// A pipeline with the default options. Its checkpoints live in memory, which serves retries within one run.
    pub fn new(job: JobId, source: Arc<dyn DynSource>, sink: Arc<dyn DynSink>) -> Self {
        if let Some(positions) = source.positions()
            && sink.adopt(&positions)
        {
            tracing::debug!(job = %job, "the sink keeps the positions of the source");
        }
        if source.yields_changes() && sink.capabilities().changes {
            sink.expect_changes();
        }
        Self {
            job,
            source,
            sink,
            transforms: Vec::new(),
            store: Arc::new(MemoryStore::default()),
            options: PipelineOptions::default(),
            progress: Arc::default(),
            cancel: CancellationToken::new(),
            schemas: Arc::default(),
            restart: false,
            observer: None,
            dead_letters: None,
        }
    }

    /// Sends refused records there, whatever the options say of them.
    #[must_use]
    pub fn with_dead_letters(mut self, target: Arc<dyn DeadLetters>) -> Self {
        self.dead_letters = Some(target);
        self
    }

    /// Shares the schemas that the job's decoders agree on. They are kept with its checkpoints, so that a resumed job
    /// judges types as the one that it goes on from did.
    #[must_use]
    pub fn with_schemas(mut self, schemas: Arc<SchemaRegistry>) -> Self {
        self.schemas = schemas;
        self
    }

    /// Adds a transform behind those that are there.
    #[must_use]
    pub fn with_transform(mut self, transform: Arc<dyn Transform>) -> Self {
        self.transforms.push(transform);
        self
    }

    /// Keeps checkpoints in `store`, so that the job can be resumed by another process.
    #[must_use]
    pub fn with_store(mut self, store: Arc<dyn CheckpointStore>) -> Self {
        self.store = store;
        self
    }

    /// Sets the options.
    #[must_use]
    pub fn with_options(mut self, options: PipelineOptions) -> Self {
        self.options = options;
        self
    }

    /// Stops gracefully when `cancel` is cancelled: reading ends, what was read is written and committed.
    #[must_use]
    pub fn with_cancel(mut self, cancel: CancellationToken) -> Self {
        self.cancel = cancel;
        self
    }

    /// Forgets what earlier runs of the job have done before it starts.
    #[must_use]
    pub fn with_restart(mut self, restart: bool) -> Self {
        self.restart = restart;
        self
    }

    /// Calls `observer` every so often while [`run`](Self::run) is under way, and once when it has ended. It is called on a
    /// thread of the runtime, and should return soon.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// # use kwsync_core::Pipeline;
    /// # fn watched(pipeline: Pipeline) -> Pipeline {
    /// pipeline.with_observer(Duration::from_secs(1), |now| println!("{} rows settled", now.rows_settled))
    /// # }
    /// ```
    #[must_use]
    pub fn with_observer(
        mut self,
        every: Duration,
        observer: impl Fn(&Snapshot) + Send + Sync + 'static,
    ) -> Self {
        self.observer = Some((every.max(Duration::from_millis(1)), Arc::new(observer)));
        self
    }

    /// Looks whether source, transforms and sink go together, which [`run`](Self::run) does first of all.
    ///
    /// # Errors
    /// `Config` where the source yields changes, and the sink or a transform takes none.
    pub fn check(&self) -> Result<()> {
        if !self.source.yields_changes() {
            return Ok(());
        }
        let Capabilities { name, changes, .. } = self.sink.capabilities();
        if !changes {
            let text = format!(
                "the source yields inserts, updates and deletes, and the sink `{name}` takes rows only"
            );
            return Err(Error::config(text)
                .with_hint("write to PostgreSQL, which takes them; or read without changes=true, what is there or by a cursor"));
        }
        match self.transforms.iter().find(|transform| !transform.takes_changes()) {
            Some(transform) => {
                let text = format!(
                    "the source yields inserts, updates and deletes, which {transform:?} cannot judge"
                );
                Err(Error::config(text).with_hint(
                    "of a row that is deleted the key alone is known: leave the transform out, or let a view of the target do it",
                ))
            }
            None => Ok(()),
        }
    }

    /// The counters, to be read while [`run`](Self::run) is under way.
    pub fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }

    /// Runs to the end of all splits, or to the first fault that trying again does not mend.
    ///
    /// # Cancel safety
    /// Dropping the future stops everything at once and commits nothing more; the job can be resumed. To stop
    /// gracefully use [`with_cancel`](Self::with_cancel).
    pub async fn run(self) -> Outcome {
        let span = tracing::info_span!("job", job = %self.job);
        self.run_observed().instrument(span).await
    }

    async fn run_observed(mut self) -> Outcome {
        self.progress.meter.start(self.job.as_str());
        let Some((every, observer)) = self.observer.take() else { return self.run_job().await };
        let progress = Arc::clone(&self.progress);
        let ticking = Arc::clone(&observer);
        let watched = Arc::clone(&progress);
        let ticks = AbortOnDropHandle::new(tokio::spawn(async move {
            loop {
                tokio::time::sleep(every).await;
                ticking(&watched.snapshot());
            }
        }));
        let outcome = self.run_job().await;
        drop(ticks);
        observer(&progress.snapshot());
        outcome
    }

    async fn run_job(self) -> Outcome {
        let (source, sink) = (Arc::clone(&self.source), Arc::clone(&self.sink));
        let (progress, job) = (Arc::clone(&self.progress), self.job.clone());
        let (keep_state, options) = (self.options.keep_state, self.options.clone());
        let (store, cancel) = (Arc::clone(&self.store), self.cancel.clone());
        let (kept, mut error) = match self.run_lanes().await {
            Ok(kept) => (kept, None),
            Err(error) => (false, Some(error)),
        };
        if error.is_none() && cancel.is_cancelled() && !all_done(&progress) {
            error = Some(
                Error::new(ErrorKind::Cancelled, "stopped on request").with_hint("run it again to resume"),
            );
        }
        source.end(error.as_ref()).await;
        if error.is_none() {
            error = retried(&options, &cancel, || sink.finish(&job)).await.err();
        }
        // What other processes of the job have done is not this one's to forget.
        let forget = !keep_state && !kept;
        if error.is_none() && forget {
            error = retried(&options, &cancel, || sink.forget(&job)).await.err();
        }
        if error.is_none() && forget {
            error = store.remove(&job).await.err();
        }
        if error.is_none() && forget {
            error = retried(&options, &cancel, || source.forget()).await.err();
        }
        let status = match &error {
            Some(error) if error.kind() == ErrorKind::Cancelled => Status::Interrupted,
            Some(_) => Status::Failed,
            None if progress.rejected.load(Ordering::Relaxed) > 0 => Status::DoneWithRejects,
            None => Status::Done,
        };
        Outcome { report: progress.report(job.as_str(), sink.capabilities().delivery, status), error }
    }

    /// Whether what the job has done is to be remembered when it has ended: others go on from there.
    async fn run_lanes(self) -> Result<bool> {
        self.check()?;
        let stored = if self.restart { None } else { self.store.load(&self.job).await? };
        let mut state = stored.unwrap_or_else(|| JobState::new(self.job.clone()));
        let lanes = if self.sink.capabilities().parallel { self.options.lanes.max(1) } else { 1 };
        state.splits = {
            let known = std::mem::take(&mut state.splits);
            let mut backoff = self.options.backoff();
            loop {
                match self.source.splits(lanes, &known).await {
                    Ok(splits) => break splits,
                    Err(error) => wait_to_retry(&mut backoff, &self.cancel, error).await?,
                }
            }
        };
        let parts_shared = state.splits.iter().any(|split| split.parts == Parts::Shared);
        if self.restart && parts_shared {
            return Err(Error::config("a job whose processes share the input cannot be started over by one of them")
                .with_hint("set the group's offsets back, as kafka-consumer-groups --reset-offsets does, and give the job another --job NAME"));
        }
        if self.restart {
            retried(&self.options, &self.cancel, || self.sink.forget(&self.job)).await?;
            self.store.remove(&self.job).await?;
        }
        state.generation += 1;
        state.run = new_run();
        for saved in &state.schemas {
            saved.restore(&self.schemas)?;
        }
        let resumable = state.splits.iter().any(|split| split.resumable);
        // What a group remembers of parts that are read alone is behind what the target knows.
        let kept =
            parts_shared || state.splits.iter().any(|split| split.parts == Parts::Owned && split.redelivers);
        let redelivers = state.splits.iter().any(|split| split.redelivers);
        let (generation, fresh) = (state.generation, state.checkpoints.is_empty());
        let run = Run { job: self.job.clone(), generation, fresh, resumable, shared: parts_shared };

        let unrepeatable =
            state.splits.iter().filter(|split| !split.resumable).map(|split| Arc::clone(&split.id)).collect();
        let continuing =
            state.splits.iter().filter(|split| split.continues).map(|split| Arc::clone(&split.id)).collect();
        let open: VecDeque<_> = state
            .splits
            .iter()
            .filter(|split| !state.checkpoints.get(&split.id).is_some_and(|checkpoint| checkpoint.done))
            .cloned()
            .collect();
        let bytes = open.iter().filter_map(|split| split.bytes).sum();
        self.progress.bytes_total.store(bytes, Ordering::Relaxed);
        self.progress.splits_total.store(open.len() as u64, Ordering::Relaxed);
        let lanes = lanes.min(open.len()).max(1);

        if let Some(target) = &self.dead_letters {
            let prepared = retried(&self.options, &self.cancel, || target.prepare()).await;
            prepared.map_err(|error| error.context(format!("rejects cannot go to {}", target.place())))?;
        }
        let stop = self.cancel.child_token();
        let ledger = Ledger::open(
            state,
            self.store,
            self.schemas,
            Keeping {
                // Processes that share the parts do not share a state: the target keeps it, or the broker.
                resumable: resumable && !parts_shared,
                continues: parts_shared || redelivers,
            },
            &self.options,
            self.dead_letters,
            Arc::clone(&self.progress),
        )
        .await?;
        retried(&self.options, &self.cancel, || self.sink.start(&run)).await?;
        let shared = Arc::new(Shared {
            job: self.job,
            answers: self.source.answers(),
            source: self.source,
            sink: self.sink,
            transforms: self.transforms,
            rate: RateLimit::new(self.options.rate_rows, self.options.rate_bytes),
            lanes,
            options: self.options,
            progress: self.progress,
            stop: stop.clone(),
            splits: std::sync::Mutex::new(open),
            known: SchemaRegistry::new(),
            preparing: tokio::sync::Mutex::default(),
            due: std::sync::Mutex::default(),
            committed: tokio::sync::Notify::new(),
            prepared: RwLock::default(),
            ledger,
            unrepeatable,
            continuing,
        });
        let mut tasks = JoinSet::new();
        for index in 0..lanes {
            let span = tracing::info_span!("lane", lane = index);
            tasks.spawn(lane::run(Arc::clone(&shared), index).instrument(span));
        }
        let mut first = None;
        while let Some(ended) = tasks.join_next().await {
            let ended = ended.unwrap_or_else(|fault| {
                Err(Error::new(ErrorKind::Internal, "a lane broke off").with_source(fault))
            });
            if let Err(error) = ended {
                // The other lanes commit what they have and stop: their rows are good.
                stop.cancel();
                first.get_or_insert(error);
            }
        }
        match first {
            Some(error) => Err(error),
            // A share of rejects is judged by all records, which an interrupted run has not seen.
            None if stop.is_cancelled() => Ok(kept),
            None => shared.ledger.check_budget(true).map(|()| kept),
        }
    }
}

/// Does what concerns the whole job, again when a fault may pass.
async fn retried<'a>(
    options: &PipelineOptions,
    cancel: &CancellationToken,
    what: impl Fn() -> BoxFuture<'a, Result<()>>,
) -> Result<()> {
    let mut backoff = options.backoff();
    while let Err(error) = what().await {
        wait_to_retry(&mut backoff, cancel, error).await?;
    }
    Ok(())
}

/// Waits before another try; the error itself where there is none.
async fn wait_to_retry(backoff: &mut Backoff, cancel: &CancellationToken, error: Error) -> Result<()> {
    match backoff.next_wait() {
        Some(wait) if error.retry() != Retry::Never => {
            tracing::warn!(wait_ms = wait.as_millis() as u64, error = %error, "trying again");
            tokio::select! {
                () = tokio::time::sleep(wait) => Ok(()),
                () = cancel.cancelled() => Err(error),
            }
        }
        _ => Err(error),
    }
}

/// A number that tells two runs of a job apart which began in the same moment.
fn new_run() -> u64 {
    let now = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
    (now.as_nanos() as u64) ^ (u64::from(std::process::id()) << 40)
}

fn all_done(progress: &Progress) -> bool {
    let now = progress.snapshot();
    now.splits_done == now.splits_total
}

/// What the lanes of a job share.
struct Shared {
    job: JobId,
    source: Arc<dyn DynSource>,
    /// Whether readers are told of rejects.
    answers: bool,
    sink: Arc<dyn DynSink>,
    transforms: Vec<Arc<dyn Transform>>,
    rate: RateLimit,
    lanes: usize,
    options: PipelineOptions,
    progress: Arc<Progress>,
    stop: CancellationToken,
    splits: std::sync::Mutex<VecDeque<crate::Split>>,
    /// The columns of each table that the sink has agreed to.
    known: SchemaRegistry,
    preparing: tokio::sync::Mutex<()>,
    /// Tables that a lane could not have prepared within a transaction of the source, and that are due before it is tried again.
    due: std::sync::Mutex<Vec<(TableId, Arc<Schema>)>>,
    /// Told of each commit.
    committed: tokio::sync::Notify,
    /// What the sink has been told of each table. Read without waiting for a lane that prepares another table, or
    /// two lanes could wait for each other's transactions.
    prepared: RwLock<HashMap<TableId, Arc<Schema>>>,
    ledger: Ledger,
    /// The splits that cannot be read again from a position.
    unrepeatable: HashSet<Arc<str>>,
    /// The splits that are never done for good.
    continuing: HashSet<Arc<str>>,
}

impl Shared {
    fn next_split(&self) -> Option<crate::Split> {
        if self.stop.is_cancelled() {
            return None;
        }
        self.splits.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    /// Whether all splits are done but the one that comes after them.
    fn is_last_left(&self) -> bool {
        let now = self.progress.snapshot();
        now.splits_done + 1 >= now.splits_total
    }

    /// Prepares what could not be prepared before.
    async fn prepare_due(&self) -> Result<()> {
        let due = std::mem::take(&mut *self.due.lock().unwrap_or_else(PoisonError::into_inner));
        for (table, schema) in due {
            self.prepare(&table, &schema).await?;
        }
        Ok(())
    }

    /// Gives splits back whose rows were lost with a connection, so that they are read again.
    fn give_back(&self, splits: Vec<crate::Split>) {
        let mut queue = self.splits.lock().unwrap_or_else(PoisonError::into_inner);
        for split in splits.into_iter().rev() {
            queue.push_front(split);
        }
    }

    /// Whether the target has been prepared for rows of `schema`.
    fn is_ready(&self, table: &TableId, schema: &Schema) -> bool {
        let prepared = self.prepared.read().unwrap_or_else(PoisonError::into_inner);
        prepared.get(table).is_some_and(|known| {
            schema.columns().iter().all(|column| {
                known.column(column.name()).is_some_and(|own| {
                    widen(own.data_type(), column.data_type()).as_ref() == Some(own.data_type())
                })
            })
        })
    }

    /// Prepares a table for all columns met so far; one lane at a time.
    async fn prepare(&self, table: &TableId, schema: &Schema) -> Result<()> {
        let _one_at_a_time = self.preparing.lock().await;
        if self.is_ready(table, schema) {
            return Ok(());
        }
        // Kept only once the sink has agreed: a column that it cannot have must not spoil the table for others.
        let merged = self.known.merged(table, schema)?;
        self.sink.prepare(table, &merged).await?;
        tracing::debug!(table = %table, columns = merged.columns().len(), "prepared");
        self.known.merge(table, schema)?;
        self.prepared.write().unwrap_or_else(PoisonError::into_inner).insert(table.clone(), merged);
        Ok(())
    }
}
