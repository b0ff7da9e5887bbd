//! Pipes: jobs that are made, started, stopped and shown by statements, and that survive the process that runs them.

mod answer;
mod endpoints;
mod runner;
mod store;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use kwsync_core::config::{ConnectorKind, Dsn, Expand, Registry, did_you_mean};
use kwsync_core::spec::{Attributes, PipeDefinition, PipePlan, PipeSettings, PipeStatement, TransformSpec};
use kwsync_core::{Error, ErrorKind, Result, TimeUnit, Transform, Value};

pub use answer::{PipeAnswer, PipePlugin, PipeStatus};
pub use runner::PipeRunner;
pub use store::PipeState;

use store::{Record, Store};

type MakeProcessor = Arc<dyn Fn(&Attributes) -> Result<Arc<dyn Transform>> + Send + Sync>;

/// A processor of the program that embeds this.
#[derive(Clone)]
struct Processor {
    summary: String,
    make: MakeProcessor,
}

/// The pipes of a folder: statements change them, and one process at a time runs them.
///
/// # Examples
/// ```
/// use kwsync::pipes::{PipeAnswer, Pipes};
///
/// # let dir = tempfile::tempdir().unwrap();
/// let pipes = Pipes::new(dir.path(), kwsync::registry());
/// pipes.execute_all("CREATE PIPE a2b WITH SOURCE ('source'='file', 'path'='metrics.lp') WITH SINK ('sink'='do-nothing-sink')")?;
/// let PipeAnswer::Pipes(shown) = pipes.execute(&"SHOW PIPE a2b".parse()?)? else { unreachable!() };
/// assert_eq!((shown[0].state.as_str(), shown[0].exception.as_str()), ("RUNNING", "{}"));
/// # Ok::<(), kwsync_core::Error>(())
/// ```
#[derive(Clone)]
pub struct Pipes {
    registry: Arc<Registry>,
    store: Store,
    processors: BTreeMap<String, Processor>,
    settings: Option<PipeSettings>,
    created: PipeState,
}

impl std::fmt::Debug for Pipes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pipes")
            .field("store", &self.store)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl Pipes {
    /// The pipes of the folder `dir`, which is made when the first one is; every connector of `registry` is a plugin.
    pub fn new(dir: impl Into<PathBuf>, registry: Registry) -> Self {
        Self {
            registry: Arc::new(registry),
            store: Store::new(dir),
            processors: BTreeMap::new(),
            settings: None,
            created: PipeState::Running,
        }
    }

    /// Adds a processor: `make` gets the attributes that stand behind `WITH PROCESSOR`. `SHOW PIPEPLUGINS` lists it.
    #[must_use]
    pub fn with_processor(
        mut self,
        name: impl Into<String>,
        summary: impl Into<String>,
        make: impl Fn(&Attributes) -> Result<Arc<dyn Transform>> + Send + Sync + 'static,
    ) -> Self {
        let processor = Processor { summary: summary.into(), make: Arc::new(make) };
        self.processors.insert(name.into().to_ascii_lowercase(), processor);
        self
    }

    /// Sets what IoTDB's `iotdb-common.properties` sets.
    #[must_use]
    pub fn with_settings(mut self, settings: PipeSettings) -> Self {
        self.settings = Some(settings);
        self
    }

    /// As IoTDB 1.3.0 had it: a pipe that is made is stopped, and begins with `START PIPE`.
    #[must_use]
    pub fn created_stopped(mut self) -> Self {
        self.created = PipeState::Stopped;
        self
    }

    /// Executes all statements of a text, in order, up to the first that fails.
    ///
    /// # Errors
    /// `Config` with line and column when the text cannot be read: nothing is executed then. Else as
    /// [`execute`](Self::execute).
    pub fn execute_all(&self, text: &str) -> Result<Vec<PipeAnswer>> {
        PipeStatement::parse_all(text)?.iter().map(|statement| self.execute(statement)).collect()
    }

    /// Executes one statement. It changes what is kept in the folder; the process that runs the pipes ([`PipeRunner`])
    /// follows at once.
    ///
    /// # Errors
    /// `Config` for a pipe that is not there, or is there already, and for attributes that its plugins do not take;
    /// `Unsupported` for a plugin that is not in this build.
    pub fn execute(&self, statement: &PipeStatement) -> Result<PipeAnswer> {
        match statement {
            PipeStatement::Create(definition) => self.create(definition),
            PipeStatement::Start(name) => {
                self.change(name, |record| {
                    // On a pipe that runs it is no error, and changes nothing.
                    record.state = PipeState::Running;
                    record.exception = None;
                })?;
                Ok(PipeAnswer::Done(format!("pipe {name} is RUNNING{}", self.nobody_runs()?)))
            }
            PipeStatement::Stop(name) => {
                self.change(name, |record| record.state = PipeState::Stopped)?;
                Ok(PipeAnswer::Done(format!("pipe {name} is STOPPED")))
            }
            PipeStatement::Drop(name) => match self.store.remove(name)? {
                Some(_) => Ok(PipeAnswer::Done(format!("pipe {name} is DROPPED"))),
                None => Err(self.missing(name)),
            },
            PipeStatement::Show(None) => {
                Ok(PipeAnswer::Pipes(self.store.all()?.iter().map(status).collect()))
            }
            PipeStatement::Show(Some(name)) => match self.store.get(name)? {
                Some(record) => Ok(PipeAnswer::Pipes(vec![status(&record)])),
                None => Err(self.missing(name)),
            },
            PipeStatement::ShowSharing(name) => {
                let Some(shown) = self.store.get(name)? else { return Err(self.missing(name)) };
                let mut all = self.store.all()?;
                all.retain(|record| record.definition.sink_key() == shown.definition.sink_key());
                Ok(PipeAnswer::Pipes(all.iter().map(status).collect()))
            }
            PipeStatement::ShowPlugins => Ok(PipeAnswer::Plugins(self.plugins())),
        }
    }

    fn create(&self, definition: &PipeDefinition) -> Result<PipeAnswer> {
        self.check(definition)?;
        let mut notes = endpoints::judge(definition, &self.store.all()?)?;
        let record = self.store.create(definition.clone(), self.created)?;
        let nobody = if record.state == PipeState::Running { self.nobody_runs()? } else { String::new() };
        let mut text = format!("pipe {} is {}{nobody}", definition.name, record.state.as_str());
        for note in notes.drain(..) {
            text.push_str("\nwarning: ");
            text.push_str(&note);
        }
        Ok(PipeAnswer::Done(text))
    }

    /// Whether the pipe could run: its plugins are there, and take its attributes.
    fn check(&self, definition: &PipeDefinition) -> Result<PipePlan> {
        let mut plan = definition.plan()?;
        let name = &definition.name;
        for (kind, address) in
            [(ConnectorKind::Source, &plan.spec.from), (ConnectorKind::Sink, &plan.spec.to)]
        {
            let dsn = address.dsn()?;
            if dsn.driver() == "iotdb" {
                iotdb(name, kind, &dsn)?;
            }
            let dsn = dsn.expand(&Expand::from_environment())?;
            self.registry
                .check(kind, &dsn)
                .map_err(|error| error.context(format!("the {kind} of pipe {name}")))?;
        }
        if let Some((processor, attributes)) = &plan.processor {
            self.processor(processor, attributes).map_err(|error| error.context(format!("pipe {name}")))?;
        }
        plan.spec.build_transforms(&Expand::from_environment())?;
        self.limit(&mut plan)?;
        Ok(plan)
    }

    /// Puts the bounds on a pipe that the settings of the server give.
    fn limit(&self, plan: &mut PipePlan) -> Result<()> {
        let Some(settings) = &self.settings else { return Ok(()) };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        plan.spec.jobs = plan.spec.jobs.min(settings.lanes(cores).max(1));
        let to = plan.spec.to.dsn()?;
        let takes = |name: &str| {
            Ok::<_, Error>(self.registry.sink_info(&to)?.params().iter().any(|param| param.name() == name))
        };
        if to.get("connect_timeout").is_none() && takes("connect_timeout")? {
            let timeout = format!("{}ms", settings.sink_timeout.as_millis());
            let to = to.with_param("connect_timeout", Some(timeout));
            plan.spec.to = to.to_string_with_secrets().into();
        }
        Ok(())
    }

    fn processor(&self, name: &str, attributes: &Attributes) -> Result<Arc<dyn Transform>> {
        match self.processors.get(name) {
            Some(processor) => (processor.make)(attributes),
            None => {
                let known = self.processors.keys().map(String::as_str);
                let meant = did_you_mean(name, known.chain(TransformSpec::names().iter().copied()));
                Err(Error::config(format!("there is no processor `{name}`{meant}"))
                    .with_hint("SHOW PIPEPLUGINS lists all of them"))
            }
        }
    }

    fn change(&self, name: &str, change: impl FnOnce(&mut Record)) -> Result<()> {
        if self.store.update(name, None, change)? { Ok(()) } else { Err(self.missing(name)) }
    }

    fn missing(&self, name: &str) -> Error {
        let known = self.store.all().unwrap_or_default();
        let names = known.iter().map(|record| record.definition.name.as_str());
        Error::config(format!("there is no pipe {name}{}", did_you_mean(name, names)))
            .with_hint("SHOW PIPES lists all of them")
    }

    /// What to say where no process runs the pipes.
    fn nobody_runs(&self) -> Result<String> {
        Ok(match self.store.lock_runner()? {
            Some(_) => "; no process runs pipes here now: `kwsync pipe --run` does".to_owned(),
            None => String::new(),
        })
    }

    fn plugins(&self) -> Vec<PipePlugin> {
        let ours = crate::registry();
        let ours = ours.connectors();
        let plugin = |name: &str, kind, origin, summary: &str| PipePlugin {
            name: name.to_owned(),
            kind,
            origin,
            summary: summary.to_owned(),
        };
        let mut plugins = vec![
            plugin("do-nothing-processor", "processor", "Builtin", "changes nothing"),
            plugin("do-nothing-sink", "sink", "Builtin", "counts rows and drops them"),
            plugin("transforms", "processor", "Builtin", "several transforms, in the order of their keys"),
        ];
        plugins.extend(
            TransformSpec::names()
                .iter()
                .map(|name| plugin(name, "processor", "Builtin", "a transform; its text is 'value'")),
        );
        for info in self.registry.connectors() {
            let kind = match info.kind() {
                ConnectorKind::Source => "source",
                ConnectorKind::Sink => "sink",
                ConnectorKind::Format | ConnectorKind::DeadLetters => continue,
            };
            let own = ours.iter().any(|other| other.kind() == info.kind() && other.name() == info.name());
            plugins.push(plugin(info.name(), kind, if own { "Builtin" } else { "External" }, info.summary()));
        }
        plugins.extend(
            self.processors
                .iter()
                .map(|(name, processor)| plugin(name, "processor", "External", &processor.summary)),
        );
        plugins.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
        plugins
    }
}

fn status(record: &Record) -> PipeStatus {
    let created = i64::try_from(record.created).unwrap_or(i64::MAX);
    let definition = &record.definition;
    PipeStatus {
        id: definition.name.clone(),
        creation_time: Value::Timestamp(created, TimeUnit::Millisecond, false).to_string(),
        state: record.state,
        source: definition.source.to_string(),
        processor: definition.processor.to_string(),
        sink: definition.sink.to_string(),
        exception: record.exception.clone().unwrap_or_else(|| "{}".to_owned()),
    }
}

/// What of IoTDB's own plugins cannot run here, by name; and that its own source has to be told where it is.
fn iotdb(name: &str, kind: ConnectorKind, dsn: &Dsn) -> Result<()> {
    let plugin = match dsn.protocol() {
        Some("legacy") => "iotdb-legacy-pipe-sink",
        Some("air-gap") => "iotdb-air-gap-sink",
        _ => {
            let nowhere =
                dsn.hosts().iter().all(|host| host.name().is_empty()) && dsn.get("node-urls").is_none();
            if !nowhere {
                return Ok(());
            }
            let word = kind.to_string();
            return Err(Error::config(format!("the {kind} of pipe {name} is not told where IoTDB is")).with_hint(format!(
                "kwsync does not run inside of IoTDB: add '{word}.ip'='HOST', '{word}.port'='6667', or '{word}.node-urls'"
            )));
        }
    };
    let text = format!("pipe {name} cannot run: {plugin} is not in this build");
    Err(Error::new(ErrorKind::Unsupported, text)
        .with_hint("'sink'='iotdb-thrift-sink' writes to every server from 1.2 on; over a gap, write files: 'sink'='file'"))
}
