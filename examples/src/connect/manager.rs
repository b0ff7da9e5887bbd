//! The connectors: what they are, which of them run, and what became of those that do not.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kwsync_core::config::Registry;
use kwsync_core::spec::PipelineSpec;
use kwsync_core::spec::kafka_connect::{self, Worker};
use kwsync_core::{Error, ErrorKind, FileStore, JobId, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::Job;

/// What stands for a secret that is not shown; as a new value it leaves the old one.
const HIDDEN: &str = "***";

/// What a connector does, by the words of Kafka Connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ConnectorState {
    /// It moves data.
    Running,
    /// Somebody has paused it.
    Paused,
    /// Somebody has stopped it; it gives its partitions up as when it is paused.
    Stopped,
    /// It met a fault that trying again does not mend.
    Failed,
}

impl ConnectorState {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Running => "RUNNING",
            Self::Paused => "PAUSED",
            Self::Stopped => "STOPPED",
            Self::Failed => "FAILED",
        }
    }
}

/// What is kept of a connector.
#[derive(Clone, Serialize, Deserialize)]
struct Record {
    name: String,
    config: Map<String, Value>,
    state: ConnectorState,
}

struct Connector {
    record: Record,
    spec: PipelineSpec,
    run: Option<Run>,
    /// Why it failed.
    trace: Option<String>,
    /// Counts up with each start, so that the end of an earlier run is not taken for that of this one.
    started: u64,
}

struct Run {
    cancel: CancellationToken,
    task: JoinHandle<()>,
}

/// The connectors of a process. They are kept in a folder, and run again when the process does.
#[derive(Clone)]
pub struct Connectors {
    shared: Arc<Shared>,
}

struct Shared {
    dir: PathBuf,
    worker: Worker,
    registry: Registry,
    connectors: Mutex<BTreeMap<String, Connector>>,
    /// Held while a connector is changed, so that two requests do not change one at the same time.
    changing: tokio::sync::Mutex<()>,
    _lock: File,
}

impl std::fmt::Debug for Connectors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connectors").field("dir", &self.shared.dir).finish_non_exhaustive()
    }
}

/// A connector that is not there.
pub(super) fn unknown(name: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("there is no connector {name:?}"))
}

fn cannot(verb: &str, path: &Path, error: std::io::Error) -> Error {
    Error::io(format!("cannot {verb} {}", path.display()), error)
}

impl Connectors {
    /// The connectors that are kept in `dir`, which is made where it is missing. None of them runs yet.
    ///
    /// # Errors
    /// `Config` while another process has the folder, and for a file in it that is damaged; `Io`.
    pub fn open(dir: impl Into<PathBuf>, worker: Worker, registry: Registry) -> Result<Self> {
        let dir = dir.into();
        fs::create_dir_all(dir.join("definitions")).map_err(|error| cannot("make", &dir, error))?;
        let path = dir.join("lock");
        let lock = File::create(&path).map_err(|error| cannot("make", &path, error))?;
        if lock.try_lock().is_err() {
            return Err(Error::config(format!("another process runs the connectors of {}", dir.display()))
                .with_hint("--state names another folder"));
        }
        let shared = Shared {
            dir,
            worker,
            registry,
            connectors: Mutex::default(),
            changing: tokio::sync::Mutex::default(),
            _lock: lock,
        };
        let own = Self { shared: Arc::new(shared) };
        for record in own.kept()? {
            let spec = own.spec(&record.name, &record.config);
            // A configuration that was fine for an older version need not be for this one: it shows as failed.
            let (spec, trace) = match spec {
                Ok(spec) => (spec, None),
                Err(error) => (PipelineSpec::new("discard:", "discard:"), Some(error.report())),
            };
            let connector = Connector { record: record.clone(), spec, run: None, trace, started: 0 };
            own.lock().insert(record.name, connector);
        }
        Ok(own)
    }

    fn kept(&self) -> Result<Vec<Record>> {
        let dir = self.shared.dir.join("definitions");
        let mut records = Vec::new();
        for entry in fs::read_dir(&dir).map_err(|error| cannot("read", &dir, error))? {
            let path = entry.map_err(|error| cannot("read", &dir, error))?.path();
            if path.extension().is_none_or(|ending| ending != "json") {
                continue;
            }
            let text = fs::read(&path).map_err(|error| cannot("read", &path, error))?;
            records.push(serde_json::from_slice(&text).map_err(|fault| {
                Error::config(format!("{} is damaged: {fault}", path.display()))
                    .with_hint("remove it, and make the connector anew")
            })?);
        }
        Ok(records)
    }

    fn path(&self, name: &str) -> PathBuf {
        FileStore::new(self.shared.dir.join("definitions")).path(&JobId::new(name))
    }

    fn keep(&self, record: &Record) -> Result<()> {
        let path = self.path(&record.name);
        let part = path.with_extension("part");
        let text = serde_json::to_vec_pretty(record).map_err(|fault| {
            Error::new(ErrorKind::Internal, "a connector cannot be written").with_source(fault)
        })?;
        let write = || {
            let mut options = fs::OpenOptions::new();
            options.create(true).write(true).truncate(true);
            // It holds a password.
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            let mut file = options.open(&part)?;
            file.write_all(&text)?;
            file.sync_all()?;
            fs::rename(&part, &path)
        };
        write().map_err(|error| cannot("write", &path, error))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Connector>> {
        self.shared.connectors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The pipeline of a configuration, which can be put together.
    fn spec(&self, name: &str, config: &Map<String, Value>) -> Result<PipelineSpec> {
        let text = json!({"name": name, "config": config}).to_string();
        let mut made = kafka_connect::read(&format!("{name}.json"), &text, &self.shared.worker)?;
        let mut spec = made.specs.pop().ok_or_else(|| Error::config("there is nothing to run"))?;
        let checkpoints = self.shared.dir.join("checkpoints");
        spec.checkpoint = Some(format!("file:{}", checkpoints.display()).as_str().into());
        Job::new(&spec, &self.shared.registry)?;
        Ok(spec)
    }

    /// The names, in order.
    pub fn names(&self) -> Vec<String> {
        self.lock().keys().cloned().collect()
    }

    /// What a connector does, and why it failed if it did; `None` for one that is not there.
    pub fn state(&self, name: &str) -> Option<(ConnectorState, Option<String>)> {
        let connectors = self.lock();
        let connector = connectors.get(name)?;
        let state = if connector.trace.is_some() { ConnectorState::Failed } else { connector.record.state };
        Some((state, connector.trace.clone()))
    }

    /// The configuration, without its secrets.
    pub(super) fn config(&self, name: &str) -> Option<Map<String, Value>> {
        let connectors = self.lock();
        let mut config = connectors.get(name)?.record.config.clone();
        for (key, value) in &mut config {
            if is_secret(key, value) {
                *value = HIDDEN.into();
            }
        }
        config.insert("name".to_owned(), name.into());
        Some(config)
    }

    /// `sink` or `source`.
    pub(super) fn kind(&self, name: &str) -> Option<&'static str> {
        let connectors = self.lock();
        let class = connectors.get(name)?.record.config.get("connector.class")?.as_str()?;
        Some(if class.ends_with("SinkConnector") { "sink" } else { "source" })
    }

    /// The number of lanes, which Kafka Connect calls tasks.
    pub(super) fn tasks(&self, name: &str) -> Option<usize> {
        self.lock().get(name).map(|connector| connector.spec.jobs.max(1))
    }

    /// Where rows come from and go to, without secrets.
    pub(super) fn topics(&self, name: &str) -> Option<Vec<String>> {
        let connectors = self.lock();
        let topics = connectors.get(name)?.record.config.get("topics").and_then(Value::as_str).unwrap_or("");
        Some(topics.split(',').map(str::trim).filter(|topic| !topic.is_empty()).map(str::to_owned).collect())
    }

    /// Makes a connector, or gives it another configuration, and starts it; true where it is new.
    ///
    /// # Errors
    /// `Config` and `Unsupported` for a configuration that makes no sense, of which nothing is kept then; `Conflict` where
    /// it is there and `replace` is false; `Io`.
    ///
    /// # Cancel safety
    /// A dropped call may have stopped the connector without starting it again.
    pub async fn put(&self, name: &str, mut config: Map<String, Value>, replace: bool) -> Result<bool> {
        let changing = self.shared.changing.lock().await;
        config.remove("name");
        let before = self.lock().get(name).map(|connector| connector.record.clone());
        if let Some(before) = &before {
            if !replace {
                return Err(Error::new(ErrorKind::Conflict, format!("Connector {name} already exists")));
            }
            for (key, value) in &mut config {
                if *value == HIDDEN {
                    *value = before.config.get(key).cloned().unwrap_or_default();
                }
            }
        }
        let spec = self.spec(name, &config)?;
        let state = match &before {
            Some(before) => before.state,
            None => ConnectorState::Running,
        };
        let record = Record { name: name.to_owned(), config, state };
        self.keep(&record)?;
        self.halt(name).await;
        self.lock().insert(name.to_owned(), Connector { record, spec, run: None, trace: None, started: 0 });
        if state == ConnectorState::Running {
            self.start(name);
        }
        drop(changing);
        Ok(before.is_none())
    }

    /// Removes a connector. What it has moved, and the offsets of its group, stay.
    ///
    /// # Errors
    /// `NotFound`, `Io`.
    pub async fn delete(&self, name: &str) -> Result<()> {
        let _changing = self.shared.changing.lock().await;
        if !self.lock().contains_key(name) {
            return Err(unknown(name));
        }
        let path = self.path(name);
        fs::remove_file(&path).map_err(|error| cannot("remove", &path, error))?;
        self.halt(name).await;
        self.lock().remove(name);
        Ok(())
    }

    /// Pauses a connector, stops it, or lets it run again.
    ///
    /// # Errors
    /// `NotFound`, `Io`.
    pub async fn set(&self, name: &str, state: ConnectorState) -> Result<()> {
        let _changing = self.shared.changing.lock().await;
        let record = {
            let mut connectors = self.lock();
            let connector = connectors.get_mut(name).ok_or_else(|| unknown(name))?;
            connector.record.state = state;
            connector.record.clone()
        };
        self.keep(&record)?;
        match state {
            ConnectorState::Running => {
                let idle = self.lock().get(name).is_some_and(|connector| connector.run.is_none());
                if idle {
                    self.start(name);
                }
            }
            _ => self.halt(name).await,
        }
        Ok(())
    }

    /// Starts a connector anew; one that is paused stays so.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn restart(&self, name: &str) -> Result<()> {
        let _changing = self.shared.changing.lock().await;
        let state =
            self.lock().get(name).map(|connector| connector.record.state).ok_or_else(|| unknown(name))?;
        self.halt(name).await;
        if state == ConnectorState::Running {
            self.start(name);
        }
        Ok(())
    }

    /// Starts every connector that is to run.
    pub(super) fn start_all(&self) {
        for name in self.names() {
            let runs = self.lock().get(&name).is_some_and(|connector| {
                connector.record.state == ConnectorState::Running
                    && connector.trace.is_none()
                    && connector.run.is_none()
            });
            if runs {
                self.start(&name);
            }
        }
    }

    /// Stops all; they run again with the next process.
    pub(super) async fn halt_all(&self) {
        let _changing = self.shared.changing.lock().await;
        for connector in self.lock().values() {
            connector.run.iter().for_each(|run| run.cancel.cancel());
        }
        for name in self.names() {
            self.halt(&name).await;
        }
    }

    fn start(&self, name: &str) {
        let own = self.clone();
        let mut connectors = self.lock();
        let Some(connector) = connectors.get_mut(name) else { return };
        connector.trace = None;
        connector.started += 1;
        let (spec, started, cancel) = (connector.spec.clone(), connector.started, CancellationToken::new());
        let (name, token) = (name.to_owned(), cancel.clone());
        let task = tokio::spawn(async move {
            let ended = async {
                let job = Job::new(&spec, &own.shared.registry)?.with_cancel(token.clone());
                job.run().await?.into_result().map(drop)
            };
            tracing::info!(connector = %name, "started");
            let error = match ended.await {
                Err(error) if token.is_cancelled() && error.kind() == ErrorKind::Cancelled => return,
                Err(error) => error,
                Ok(()) if token.is_cancelled() => return,
                Ok(()) => Error::new(ErrorKind::Unavailable, "there is nothing more to read"),
            };
            tracing::error!(connector = %name, error = %error, "failed");
            let mut connectors = own.lock();
            if let Some(connector) =
                connectors.get_mut(&name).filter(|connector| connector.started == started)
            {
                connector.trace = Some(error.report());
                connector.run = None;
            }
        });
        connector.run = Some(Run { cancel, task });
    }

    /// Waits until a connector has written and committed what it has read.
    async fn halt(&self, name: &str) {
        let run = self.lock().get_mut(name).and_then(|connector| {
            connector.trace = None;
            connector.run.take()
        });
        if let Some(run) = run {
            run.cancel.cancel();
            if run.task.await.is_err() {
                tracing::error!(connector = %name, "broke off");
            }
        }
    }
}

/// Whether a key holds what must not be seen.
fn is_secret(key: &str, value: &Value) -> bool {
    const WORDS: [&str; 6] = ["password", "secret", "token", "credential", "sasl.jaas", "ssl.keystore.key"];
    // An address may hold a password before its host or among its parameters.
    let hides = |text: &str| text.contains('@') || text.contains("password");
    WORDS.iter().any(|word| key.contains(word))
        || (key.ends_with(".url") && value.as_str().is_some_and(hides))
}
