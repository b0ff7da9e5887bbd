//! Batches that a task makes ahead of whoever takes them.

use std::future::Future;

use kwsync_core::{Result, SourceBatch};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Batches that wait for the lane; more would only take memory.
const AHEAD: usize = 2;

/// The batches of a task; it ends when they are dropped.
#[derive(Debug)]
pub(crate) struct Batches {
    batches: mpsc::Receiver<Result<SourceBatch>>,
    task: JoinHandle<()>,
}

impl Batches {
    /// Starts what makes them.
    pub(crate) fn of<F>(run: impl FnOnce(mpsc::Sender<Result<SourceBatch>>) -> F) -> Self
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let (sender, batches) = mpsc::channel(AHEAD);
        let running = run(sender.clone());
        let task = tokio::spawn(async move {
            if let Err(error) = running.await {
                // Nobody may listen any more; then nobody wants to know.
                drop(sender.send(Err(error)).await);
            }
        });
        Self { batches, task }
    }

    pub(crate) async fn next(&mut self) -> Result<Option<SourceBatch>> {
        self.batches.recv().await.transpose()
    }
}

impl Drop for Batches {
    fn drop(&mut self) {
        // The session goes with the task, and the server notices.
        self.task.abort();
    }
}
