//! A spec made into a pipeline.

use std::path::PathBuf;
use std::sync::Arc;

use kwsync_core::config::{ConnectorKind, Dsn, Expand, OpenOptions, Params, Registry};
use kwsync_core::spec::PipelineSpec;
use kwsync_core::{
    CheckpointStore, DynSink, DynSource, Error, FileStore, JobId, Outcome, Pipeline, Plan, Progress, Result,
    Split, TableId,
};
use tokio_util::sync::CancellationToken;

/// A job that is ready to run: addresses expanded, parameters checked, connectors made; nothing touched yet.
pub struct Job {
    id: JobId,
    source: Arc<dyn DynSource>,
    sink: Arc<dyn DynSink>,
    store: Arc<dyn CheckpointStore>,
    params: Vec<(ConnectorKind, Params)>,
    restart: bool,
    pipeline: Pipeline,
    spec: PipelineSpec,
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job").field("id", &self.id).field("spec", &self.spec).finish_non_exhaustive()
    }
}

/// What a job would do.
#[derive(Debug)]
pub struct Preview {
    /// The job.
    pub job: JobId,
    /// The pieces that the source would be cut into.
    pub splits: Vec<Split>,
    /// The parameters of source, sink and formats, given and by default.
    pub params: Vec<(ConnectorKind, Params)>,
    /// What the source has to say of the reading.
    pub notes: Vec<String>,
    /// A plan for every table among the first rows.
    pub plans: Vec<Plan>,
}

impl Job {
    /// Puts the job of `spec` together.
    ///
    /// # Errors
    /// `Config` for a fault in an address, a parameter or a transform; nothing has been touched then.
    pub fn new(spec: &PipelineSpec, registry: &Registry) -> Result<Self> {
        let expand = Expand::from_environment();
        let open = |address: &kwsync_core::spec::Address| address.dsn()?.expand(&expand);
        let from = open(&spec.from).map_err(|error| error.context("source"))?;
        let mut to = open(&spec.to).map_err(|error| error.context("sink"))?;
        // As parameters of the sink: one that runs no statements refuses them.
        for (name, statements) in [("pre_sql", &spec.pre_sql), ("post_sql", &spec.post_sql)] {
            let given: Vec<_> =
                statements.iter().map(|sql| sql.trim()).filter(|sql| !sql.is_empty()).collect();
            if !given.is_empty() {
                to = to.with_param(name, Some(given.join(";\n")));
            }
        }
        let mut options = OpenOptions::new();
        if let Some(parser) = &spec.parser {
            options = options.with_parser(parser.as_str());
        }
        let mut params = Vec::new();
        for (kind, dsn) in [(ConnectorKind::Source, &from), (ConnectorKind::Sink, &to)] {
            params.extend(registry.check(kind, dsn)?.into_iter().map(|set| (kind, set)));
        }
        let source: Arc<dyn DynSource> = registry.source(&from, &options)?.into();
        let sink: Arc<dyn DynSink> = registry.sink(&to, &options)?.into();
        let store = store(spec.checkpoint.as_ref().map(open).transpose()?)?;
        let id = spec.job_id()?;
        let mut pipeline = Pipeline::new(id.clone(), Arc::clone(&source), Arc::clone(&sink))
            .with_store(Arc::clone(&store))
            .with_schemas(Arc::clone(&options.schemas))
            .with_options(spec.options());
        for transform in spec.build_transforms()? {
            pipeline = pipeline.with_transform(transform);
        }
        Ok(Self { id, source, sink, store, params, restart: spec.restart, pipeline, spec: spec.clone() })
    }

    /// The counters, to be read while the job runs.
    pub fn progress(&self) -> Arc<Progress> {
        self.pipeline.progress()
    }

    /// Stops gracefully when `cancel` is cancelled.
    #[must_use]
    pub fn with_cancel(mut self, cancel: CancellationToken) -> Self {
        self.pipeline = self.pipeline.with_cancel(cancel);
        self
    }

    /// Whether an earlier run has left a state behind that this one will go on from.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn resumes(&self) -> Result<bool> {
        Ok(!self.restart
            && self.store.load(&self.id).await?.is_some_and(|state| !state.checkpoints.is_empty()))
    }

    /// Runs to the end.
    ///
    /// # Errors
    /// None: what happens is in the [`Outcome`].
    ///
    /// # Cancel safety
    /// As [`Pipeline::run`].
    pub async fn run(self) -> Result<Outcome> {
        Ok(self.pipeline.with_restart(self.restart).run().await)
    }

    /// What the job would do: reads the first rows, looks at the target, changes nothing.
    ///
    /// # Errors
    /// When the source cannot be read or the sink cannot plan.
    ///
    /// # Cancel safety
    /// Nothing is changed, so it may be dropped at any time.
    pub async fn preview(&self) -> Result<Preview> {
        let splits = self.source.splits(self.spec.jobs, &[]).await?;
        let transforms = self.spec.build_transforms()?;
        let mut plans = Vec::new();
        if let Some(split) = splits.first().filter(|split| split.resumable) {
            let mut reader = self.source.open(split, None).await?;
            let mut batches = reader.next().await?.map(|batch| batch.decoded.batches).unwrap_or_default();
            for transform in &transforms {
                let mut changed = Vec::new();
                for batch in batches {
                    changed.extend(transform.apply(batch)?.batches);
                }
                batches = changed;
            }
            let mut seen: Vec<TableId> = Vec::new();
            for batch in batches {
                if !seen.contains(batch.table()) {
                    plans.push(self.sink.plan(batch.table(), batch.schema()).await?);
                    seen.push(batch.table().clone());
                }
            }
        }
        let notes = self.source.notes();
        Ok(Preview { job: self.id.clone(), splits, params: self.params.clone(), notes, plans })
    }
}

/// The store at an address, or in the user's state folder.
fn store(address: Option<Dsn>) -> Result<Arc<dyn CheckpointStore>> {
    let dir = match address {
        Some(dsn) if dsn.driver() == "file" => PathBuf::from(dsn.path()?),
        Some(dsn) => {
            return Err(Error::config(format!("checkpoints cannot be kept at a {} address", dsn.driver()))
                .with_hint("give a directory: --checkpoint file:DIR"));
        }
        None => state_dir(),
    };
    Ok(Arc::new(FileStore::new(dir)))
}

fn state_dir() -> PathBuf {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    match (set("XDG_STATE_HOME"), set("HOME")) {
        (Some(state), _) => state.join("kwsync"),
        (None, Some(home)) => home.join(".local/state/kwsync"),
        (None, None) => PathBuf::from(".kwsync"),
    }
}
