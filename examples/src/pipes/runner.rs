//! The process that runs pipes: it follows what stands in the folder.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use kwsync_core::spec::Attributes;
use kwsync_core::{DynSink, Error, ErrorKind, Result, Retry};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::store::Record;
use super::{PipeState, Pipes};
use crate::Job;

/// How soon a statement of another process shows.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// A pipe that runs here.
struct Running {
    record: Record,
    cancel: CancellationToken,
    task: AbortOnDropHandle<Result<()>>,
}

/// Sinks by their attributes, for the pipes that have them in common.
type Sinks = BTreeMap<Attributes, Arc<dyn DynSink>>;

/// The right to run the pipes of a folder, which one process has at a time. Dropping it gives it back.
#[derive(Debug)]
pub struct PipeRunner {
    pipes: Pipes,
    _lock: File,
}

impl Pipes {
    /// Asks for the right to run the pipes; `None` while another process has it.
    ///
    /// # Errors
    /// `Io` when the folder cannot be made or written.
    pub fn runner(&self) -> Result<Option<PipeRunner>> {
        Ok(self.store.lock_runner()?.map(|lock| PipeRunner { pipes: self.clone(), _lock: lock }))
    }
}

impl PipeRunner {
    /// Runs all pipes whose state is RUNNING, and follows the statements that this and other processes execute, until
    /// `cancel` is cancelled: then each pipe writes and commits what it has read. They go on with the next runner.
    ///
    /// A fault that may pass is tried again for as long as it takes. One that does not stops the pipe, and
    /// `ExceptionMessage` says why.
    ///
    /// # Errors
    /// `Io` when the folder can no longer be read.
    ///
    /// # Cancel safety
    /// Dropping the future breaks the pipes off; they resume from their last commit.
    pub async fn run(self, cancel: CancellationToken) -> Result<()> {
        self.run_until(cancel, false).await
    }

    /// As [`run`](Self::run), and ends as well when no pipe is RUNNING any more: for pipes whose sources end.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    ///
    /// # Cancel safety
    /// As [`run`](Self::run).
    pub async fn run_until_done(self, cancel: CancellationToken) -> Result<()> {
        self.run_until(cancel, true).await
    }

    async fn run_until(self, cancel: CancellationToken, until_done: bool) -> Result<()> {
        let mut running: HashMap<String, Running> = HashMap::new();
        let mut sinks = Sinks::new();
        let mut fault = String::new();
        loop {
            // Those that run go on while somebody mends the folder.
            if let Err(error) = self.pipes.follow(&mut running, &mut sinks).await
                && std::mem::replace(&mut fault, error.to_string()) != error.to_string()
            {
                tracing::error!(error = %error, "the pipes cannot be looked at");
            }
            if until_done && running.is_empty() && self.pipes.is_idle()? {
                break;
            }
            tokio::select! {
                () = cancel.cancelled() => break,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
        for pipe in running.values() {
            pipe.cancel.cancel();
        }
        let mut written = Ok(());
        for (_, pipe) in running {
            written = written.and(self.pipes.ended(&pipe.record, true, pipe.task.await));
        }
        written
    }
}

impl Pipes {
    /// Whether no pipe is RUNNING.
    fn is_idle(&self) -> Result<bool> {
        Ok(self.store.all()?.iter().all(|record| record.state == PipeState::Stopped))
    }

    /// Starts and stops what the folder says.
    async fn follow(&self, running: &mut HashMap<String, Running>, sinks: &mut Sinks) -> Result<()> {
        let mut wanted: HashMap<String, Record> =
            self.store.all()?.into_iter().map(|record| (record.definition.name.clone(), record)).collect();
        let names: Vec<String> = running.keys().cloned().collect();
        for name in names {
            let Some(pipe) = running.get(&name) else { continue };
            let stays = wanted.get(&name).is_some_and(|record| {
                record.created == pipe.record.created && record.state == PipeState::Running
            });
            if !stays {
                pipe.cancel.cancel();
            }
            if pipe.task.is_finished()
                && let Some(pipe) = running.remove(&name)
            {
                self.ended(&pipe.record, pipe.cancel.is_cancelled(), pipe.task.await)?;
                // What is wanted now is looked at the next time: it may have been changed by the end.
                wanted.remove(&name);
            }
        }
        sinks.retain(|attributes, _| {
            running.values().any(|pipe| pipe.record.definition.sink_key() == attributes)
        });
        for (name, record) in wanted {
            if record.state == PipeState::Running && !running.contains_key(&name) {
                let cancel = CancellationToken::new();
                let sink = self.sink(&record, sinks);
                let moving = self.clone().move_data(record.clone(), sink, cancel.clone());
                let task = AbortOnDropHandle::new(tokio::spawn(moving));
                tracing::info!(pipe = %name, "started");
                running.insert(name, Running { record, cancel, task });
            }
        }
        Ok(())
    }

    /// The sink of a pipe: one that shares with those of the same attributes, where that is possible.
    fn sink(&self, record: &Record, sinks: &mut Sinks) -> Result<Option<Box<dyn DynSink>>> {
        let key = record.definition.sink_key();
        if let Some(shared) = sinks.get(key) {
            return Ok(shared.share());
        }
        let plan = self.check(&record.definition)?;
        let sink = Job::sink_of(&plan.spec, &self.registry)?;
        let shared = sink.share();
        sinks.insert(key.clone(), sink.into());
        Ok(shared)
    }

    /// Runs a pipe to its end: that of its source, or the first fault that does not pass.
    async fn move_data(
        self,
        record: Record,
        sink: Result<Option<Box<dyn DynSink>>>,
        cancel: CancellationToken,
    ) -> Result<()> {
        let mut sink = sink?;
        loop {
            let plan = self.check(&record.definition)?;
            let mut spec = plan.spec.with_job(record.job().as_str());
            spec.checkpoint = Some(format!("file:{}", self.store.checkpoints().display()).into());
            // A server that is away for a night must not stop a pipe.
            spec.retries = Some(u32::MAX);
            let next = sink.as_ref().and_then(|sink| sink.share());
            let mut job = match sink.take() {
                Some(sink) => Job::with_sink(&spec, &self.registry, sink)?,
                None => Job::new(&spec, &self.registry)?,
            };
            sink = next;
            if let Some((name, attributes)) = &plan.processor {
                job = job.with_transform(self.processor(name, attributes)?);
            }
            let outcome = job.with_cancel(cancel.clone()).run().await?;
            if let Some(error) = outcome.error {
                return Err(error);
            }
            let Some(wait) = plan.realtime else { return Ok(()) };
            tokio::select! {
                () = cancel.cancelled() => return Err(Error::new(ErrorKind::Cancelled, "stopped on request")),
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Writes down how a pipe ended.
    fn ended(
        &self,
        record: &Record,
        stopped: bool,
        ended: std::result::Result<Result<()>, tokio::task::JoinError>,
    ) -> Result<()> {
        let name = &record.definition.name;
        let ended = ended.unwrap_or_else(|fault| {
            Err(Error::new(ErrorKind::Internal, "the pipe broke off").with_source(fault))
        });
        let exception = match ended {
            Err(error) if error.kind() == ErrorKind::Cancelled => return Ok(()),
            // It would have been tried again.
            Err(error) if stopped && error.retry() != Retry::Never => return Ok(()),
            Err(error) => {
                tracing::error!(pipe = %name, error = %error, "stopped");
                Some(error.report())
            }
            Ok(()) => {
                tracing::info!(pipe = %name, "all is moved");
                None
            }
        };
        self.store.update(name, Some(record.created), |record| {
            record.state = PipeState::Stopped;
            record.exception = exception;
        })?;
        Ok(())
    }
}
