//! The source and its reader.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kwsync_core::{
    Error, ErrorKind, Reader, Result, Schema, Source, SourceBatch, Split, SplitPosition, TableId,
};
use tokio::task::JoinHandle;

use super::OpcUaOptions;
use super::buffer::{Buffer, Handed};
use super::collect::run;
use super::nodes::types;
use super::plan::Plan;
use super::session::Link;

/// Seconds by which clocks may differ without a word.
const MAX_SKEW: u64 = 60;

/// Values of nodes of a server, as they change.
///
/// # Examples
/// ```no_run
/// use kwsync_core::config::{Dsn, Params};
/// use kwsync_core::{Reader, Source};
/// use kwsync_sources::opcua::{OpcUaOptions, OpcUaSource, PARAMS};
///
/// # async fn read() -> kwsync_core::Result<()> {
/// let dsn: Dsn = r#"opcua://localhost:4840?ua.nodes=ns=2;i=2::boiler&timeout=10s&opc_table_config={"stable_prefix": "plant",
///     "column_configs": [{"column_name": "received_time", "is_primary_key": true}, {"column_name": "value"}]}"#.parse()?;
/// let params = Params::parse("opcua", PARAMS, dsn.params())?;
/// let source = OpcUaSource::new(OpcUaOptions::from_dsn(&dsn, &params)?);
/// for split in source.splits(1, &[]).await? {
///     let mut reader = source.open(&split, None).await?;
///     while let Some(read) = reader.next().await? {
///         for batch in read.decoded.batches {
///             println!("{} rows of {}", batch.rows(), batch.table());
///         }
///         reader.commit(&read.position).await?;
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct OpcUaSource {
    options: Arc<OpcUaOptions>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    plan: Option<Arc<Plan>>,
    running: Option<Running>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("plan", &self.plan).finish_non_exhaustive()
    }
}

/// The task that listens. It ends with this value.
struct Running {
    buffer: Arc<Buffer>,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl OpcUaSource {
    /// A source with the options given. Nothing is connected yet.
    pub fn new(options: OpcUaOptions) -> Self {
        Self { options: Arc::new(options), state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the nodes.
    async fn plan(&self) -> Result<Arc<Plan>> {
        let link = Link::open(&self.options).await?;
        if link.in_the_clear {
            tracing::warn!(
                "the password goes in the clear: this server does not encrypt it without a security_policy"
            );
        }
        if link.ahead.unsigned_abs() > MAX_SKEW {
            tracing::warn!(
                server = %self.options.url,
                seconds = link.ahead,
                "the server's clock is not ours; times that it gives are taken as they are"
            );
        }
        let found = types(&link, &self.options).await;
        let namespaces = link.namespaces.clone();
        link.close().await;
        let plan = Plan::new(&self.options.url, &self.options.points, &found?)?;
        let plan = Arc::new(plan.with_namespaces(namespaces));
        self.state().plan = Some(Arc::clone(&plan));
        Ok(plan)
    }
}

impl Source for OpcUaSource {
    type Reader = OpcUaReader;

    fn notes(&self) -> Vec<String> {
        let options = &self.options;
        let often = match options.sampling {
            Duration::ZERO => "every change is asked for".to_owned(),
            time => format!("the server looks every {time:?}: what a value was in between is not seen"),
        };
        vec![format!("{} nodes; {often}", options.points.len())]
    }

    fn tables(&self) -> Vec<(TableId, Arc<Schema>)> {
        self.state().plan.as_ref().map(|plan| plan.tables().to_vec()).unwrap_or_default()
    }

    /// One piece, with one session: what `concurrent` asks for are subscriptions of it.
    async fn splits(&self, _lanes: usize, _known: &[Split]) -> Result<Vec<Split>> {
        self.plan().await?;
        let id = self.options.url.clone();
        Ok(vec![Split { resumable: false, redelivers: true, continues: true, ..Split::whole(id) }])
    }

    /// Listens, or goes on listening: what an earlier reader gave and nobody has committed comes again.
    async fn open(&self, _split: &Split, _at: Option<&SplitPosition>) -> Result<OpcUaReader> {
        let known = self.state().plan.clone();
        let plan = match known {
            Some(plan) => plan,
            None => self.plan().await?,
        };
        let mut state = self.state();
        let kept = state.running.take();
        let buffer = match &kept {
            Some(running) => Arc::clone(&running.buffer),
            None => Arc::new(Buffer::eager(self.options.points.len())),
        };
        buffer.rewind();
        state.running = Some(match kept {
            Some(running) if !running.task.is_finished() => running,
            _ => {
                let task = run(Arc::clone(&self.options), Arc::clone(&plan), Arc::clone(&buffer));
                Running { buffer: Arc::clone(&buffer), task: tokio::spawn(task) }
            }
        });
        Ok(OpcUaReader { options: Arc::clone(&self.options), plan, buffer })
    }

    async fn end(&self, _fault: Option<&Error>) {
        let Some(mut running) = self.state().running.take() else { return };
        running.buffer.stop.notify_one();
        // The task says good-bye to the server, or the server has to find out.
        if tokio::time::timeout(Duration::from_secs(3), &mut running.task).await.is_err() {
            tracing::debug!("the server was left without a good-bye");
        }
    }
}

/// Hands out what an [`OpcUaSource`] hears.
pub struct OpcUaReader {
    options: Arc<OpcUaOptions>,
    plan: Arc<Plan>,
    buffer: Arc<Buffer>,
}

impl std::fmt::Debug for OpcUaReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpcUaReader").field("options", &self.options).finish_non_exhaustive()
    }
}

impl OpcUaReader {
    fn batch(&self, handed: Option<Handed>) -> Result<Option<SourceBatch>> {
        let Some(handed) = handed else { return Ok(None) };
        let behind = handed.first + handed.samples.len() as u64;
        let decoded = self.plan.rows(&handed)?;
        let mut batch = SourceBatch::of(decoded, SplitPosition(behind.into()));
        batch.commit = handed.full;
        batch.bytes =
            batch.decoded.batches.iter().map(|batch| batch.batch().get_array_memory_size() as u64).sum();
        Ok(Some(batch))
    }
}

impl Reader for OpcUaReader {
    async fn next(&mut self) -> Result<Option<SourceBatch>> {
        let options = &self.options;
        let handed = self.buffer.next(options.batch_size, options.batch_timeout, options.timeout).await?;
        self.batch(handed)
    }

    fn is_interruptible(&self) -> bool {
        true
    }

    fn take_partial(&mut self) -> Result<Option<SourceBatch>> {
        let handed = self.buffer.take(self.options.batch_size);
        self.batch(handed)
    }

    /// The server would not tell of it once more.
    fn last_batch(&mut self) -> Result<Option<SourceBatch>> {
        self.buffer.close();
        self.take_partial()
    }

    async fn commit(&mut self, position: &SplitPosition) -> Result<()> {
        let behind = position
            .0
            .as_u64()
            .ok_or_else(|| Error::new(ErrorKind::Internal, "a position of OPC UA is a number"))?;
        self.buffer.settle(behind);
        Ok(())
    }
}
