//! A spec made into a pipeline.

use std::path::PathBuf;
use std::sync::Arc;

use kwsync_core::config::{ConnectorKind, Dsn, Expand, OpenOptions, Params, Registry};
use kwsync_core::spec::{PipelineSpec, TransformSpec};
use kwsync_core::{
    CheckpointStore, DeadLetters, DynSink, DynSource, Earlier, Ending, Error, ErrorPolicy, FileStore, JobId,
    Outcome, Pipeline, Plan, Progress, Result, Split, TableBatch, TableId, Transform,
};
use tokio_util::sync::CancellationToken;

/// A job that is ready to run: addresses expanded, parameters checked, connectors made; nothing touched yet.
pub struct Job {
    id: JobId,
    source: Arc<dyn DynSource>,
    sink: Arc<dyn DynSink>,
    store: Arc<dyn CheckpointStore>,
    dead_letters: Option<Arc<dyn DeadLetters>>,
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
    /// What happens to rows on their way, in order.
    pub transforms: Vec<TransformSpec>,
    /// What the source has to say of the reading, and where rejects go if not to a file.
    pub notes: Vec<String>,
    /// A plan for every table that the source knows beforehand, or that is among the first rows.
    pub plans: Vec<Plan>,
    /// What is done when all rows are there.
    pub ending: Ending,
}

impl Job {
    /// Puts the job of `spec` together.
    ///
    /// # Errors
    /// `Config` for a fault in an address, a parameter or a transform; nothing has been touched then.
    pub fn new(spec: &PipelineSpec, registry: &Registry) -> Result<Self> {
        Self::build(spec, registry, None)
    }

    /// As [`new`](Self::new), but into a sink that is there: one of the spec's address, which several jobs share.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_sink(spec: &PipelineSpec, registry: &Registry, sink: Box<dyn DynSink>) -> Result<Self> {
        Self::build(spec, registry, Some(sink))
    }

    /// The sink alone.
    ///
    /// # Errors
    /// `Config` for a fault in the address or a parameter of it.
    pub fn sink_of(spec: &PipelineSpec, registry: &Registry) -> Result<Box<dyn DynSink>> {
        let to = sink_address(spec, &Expand::from_environment())?;
        registry.sink(&to, &open_options(spec))
    }

    fn build(spec: &PipelineSpec, registry: &Registry, sink: Option<Box<dyn DynSink>>) -> Result<Self> {
        let expand = Expand::from_environment();
        let open = |address: &kwsync_core::spec::Address| address.dsn()?.expand(&expand);
        let from = open(&spec.from).map_err(|error| error.context("source"))?;
        let to = sink_address(spec, &expand)?;
        let options = open_options(spec).with_job(spec.job_id()?);
        let (mut params, mut faults) = (Vec::new(), Vec::new());
        for (kind, dsn) in [(ConnectorKind::Source, &from), (ConnectorKind::Sink, &to)] {
            match registry.check(kind, dsn) {
                Ok(sets) => params.extend(sets.into_iter().map(|set| (kind, set))),
                Err(error) => faults.push(error),
            }
        }
        // Both ends at once: whoever mends one should not meet the other only then.
        Error::all(faults)?;
        let source: Arc<dyn DynSource> = registry.source(&from, &options)?.into();
        let sink: Arc<dyn DynSink> = match sink {
            Some(sink) => sink.into(),
            None => registry.sink(&to, &options)?.into(),
        };
        let store = store(spec.checkpoint.as_ref().map(open).transpose()?)?;
        let id = spec.job_id()?;
        let mut pipeline = Pipeline::new(id.clone(), Arc::clone(&source), Arc::clone(&sink))
            .with_store(Arc::clone(&store))
            .with_schemas(Arc::clone(&options.schemas))
            .with_options(spec.options());
        for transform in spec.build_transforms(&expand)? {
            pipeline = pipeline.with_transform(transform);
        }
        let dead_letters = dead_letters(spec, registry, &expand).map_err(|error| error.context("rejects"))?;
        if let Some(target) = &dead_letters {
            pipeline = pipeline.with_dead_letters(Arc::clone(target));
        }
        pipeline.check()?;
        let restart = spec.restart;
        Ok(Self { id, source, sink, store, dead_letters, params, restart, pipeline, spec: spec.clone() })
    }

    /// The counters, to be read while the job runs.
    pub fn progress(&self) -> Arc<Progress> {
        self.pipeline.progress()
    }

    /// Adds a transform behind those of the spec.
    #[must_use]
    pub fn with_transform(mut self, transform: Arc<dyn Transform>) -> Self {
        self.pipeline = self.pipeline.with_transform(transform);
        self
    }

    /// Stops gracefully when `cancel` is cancelled.
    #[must_use]
    pub fn with_cancel(mut self, cancel: CancellationToken) -> Self {
        self.pipeline = self.pipeline.with_cancel(cancel);
        self
    }

    /// Makes the job's budget of errors one that other jobs have used part of.
    #[must_use]
    pub fn with_earlier(mut self, earlier: Earlier) -> Self {
        self.pipeline = self.pipeline.with_options(self.spec.options().with_earlier(earlier));
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

    /// Forgets what earlier runs of the job have done, here, in the target, and what the source keeps for it.
    ///
    /// # Errors
    /// When the state cannot be removed, or source or target cannot be reached.
    pub async fn forget(&self) -> Result<()> {
        self.source.forget().await?;
        self.sink.forget(&self.id).await?;
        self.store.remove(&self.id).await
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
        let splits = self.source.preview(self.spec.jobs).await?;
        let transforms = self.spec.build_transforms(&Expand::from_environment())?;
        let tables = self.source.tables();
        let mut batches = Vec::new();
        if tables.is_empty()
            && let Some(split) = splits.first().filter(|split| split.resumable)
        {
            let mut reader = self.source.open(split, None).await?;
            batches = reader.next().await?.map(|batch| batch.decoded.batches).unwrap_or_default();
        }
        for (table, schema) in tables {
            batches.push(TableBatch::empty(table, schema)?);
        }
        for transform in &transforms {
            let mut changed = Vec::new();
            for batch in batches {
                changed.extend(transform.apply(batch)?.batches);
            }
            batches = changed;
        }
        let mut plans = Vec::new();
        let mut seen: Vec<TableId> = Vec::new();
        for batch in batches {
            if !seen.contains(batch.table()) {
                plans.push(self.sink.plan(batch.table(), batch.schema()).await?);
                seen.push(batch.table().clone());
            }
        }
        let mut notes = self.source.notes();
        notes.extend(self.dead_letters.iter().map(|target| format!("rejects go to {}", target.place())));
        Ok(Preview {
            job: self.id.clone(),
            splits,
            params: self.params.clone(),
            transforms: self.spec.transforms.clone(),
            notes,
            plans,
            ending: self.sink.plan_ending().await?,
        })
    }
}

/// The address of the sink, with what the spec says beside it.
fn sink_address(spec: &PipelineSpec, expand: &Expand<'_>) -> Result<Dsn> {
    let opened = spec.to.dsn().and_then(|to| to.expand(expand));
    let mut to = opened.map_err(|error| error.context("sink"))?;
    // As parameters of the sink: one that runs no statements refuses them.
    for (name, statements) in [("pre_sql", &spec.pre_sql), ("post_sql", &spec.post_sql)] {
        let given: Vec<_> = statements.iter().map(|sql| sql.trim()).filter(|sql| !sql.is_empty()).collect();
        if !given.is_empty() {
            to = to.with_param(name, Some(given.join(";\n")));
        }
    }
    Ok(to)
}

/// Where rejects go that do not go to a file.
fn dead_letters(
    spec: &PipelineSpec,
    registry: &Registry,
    expand: &Expand<'_>,
) -> Result<Option<Arc<dyn DeadLetters>>> {
    let ErrorPolicy::DeadLetters(dsn) = &spec.errors else { return Ok(None) };
    registry.dead_letters(&dsn.as_ref().clone().expand(expand)?).map(Some)
}

fn open_options(spec: &PipelineSpec) -> OpenOptions {
    match &spec.parser {
        Some(parser) => OpenOptions::new().with_parser(parser.as_str()),
        None => OpenOptions::new(),
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

/// Where the command keeps what it has to remember: `$XDG_STATE_HOME/kwsync`, `~/.local/state/kwsync` or `.kwsync`.
pub fn state_dir() -> PathBuf {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    match (set("XDG_STATE_HOME"), set("HOME")) {
        (Some(state), _) => state.join("kwsync"),
        (None, Some(home)) => home.join(".local/state/kwsync"),
        (None, None) => PathBuf::from(".kwsync"),
    }
}
