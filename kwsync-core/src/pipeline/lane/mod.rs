//! One lane: a reading task and a writing loop, tried again from the last commit when a fault may pass.

mod reading;
mod writing;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;

use self::reading::read;
pub(super) use self::writing::Tally;
use self::writing::Writing;
use super::Shared;
use super::ledger::Ledger;
use super::meter::Count;
use super::queue::queue;
use crate::{Checkpoint, Error, ErrorKind, Lane, Parts, Reject, Result, Retry, SourceBatch, Split};

/// How long the reading task may take to tell of the last commit when the writing has failed.
const LAST_ACKS: Duration = Duration::from_secs(1);

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
