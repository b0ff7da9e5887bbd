//! Where the state of jobs is kept when the sink does not keep it itself.

use std::collections::HashMap;
use std::fmt;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::{JobId, JobState};
use crate::{BoxFuture, Error, ErrorKind, Result};

/// Keeps the state of jobs between runs.
pub trait CheckpointStore: fmt::Debug + Send + Sync {
    /// The state of a job; `None` when it has never run or has been removed.
    fn load<'a>(&'a self, job: &'a JobId) -> BoxFuture<'a, Result<Option<JobState>>>;

    /// Replaces the state of a job, durably and as a whole.
    ///
    /// The error is `Fenced` when a run of a higher generation has saved before.
    fn save<'a>(&'a self, state: &'a JobState) -> BoxFuture<'a, Result<()>>;

    /// Forgets a job.
    fn remove<'a>(&'a self, job: &'a JobId) -> BoxFuture<'a, Result<()>>;
}

/// One JSON file a job in a directory, replaced by rename.
#[derive(Clone, Debug)]
pub struct FileStore {
    dir: PathBuf,
}

impl FileStore {
    /// A store in `dir`, which is made when the first state is saved.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// The file of a job.
    pub fn path(&self, job: &JobId) -> PathBuf {
        // A job's name is the user's: anything but plain characters is written as its code.
        let mut name = String::new();
        for byte in job.as_str().bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => name.push(char::from(byte)),
                _ => name.push_str(&format!("%{byte:02X}")),
            }
        }
        self.dir.join(name + ".json")
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        Error::new(ErrorKind::Internal, "the checkpoint task broke off").with_source(error)
    })?
}

/// Who has written a state: all of it that a writer must look at.
#[derive(serde::Deserialize)]
struct Fence {
    generation: u64,
    #[serde(default)]
    run: u64,
}

impl Fence {
    fn of(state: &JobState) -> Self {
        Self { generation: state.generation, run: state.run }
    }

    /// Whether the run that wants to write `state` has been taken over.
    fn fences(&self, state: &JobState) -> bool {
        self.generation > state.generation || (self.generation == state.generation && self.run != state.run)
    }
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io(format!("cannot read the checkpoint {}", path.display()), error)),
    };
    serde_json::from_slice(&bytes).map(Some).map_err(|error| {
        Error::new(ErrorKind::Config, format!("the checkpoint {} is damaged: {error}", path.display()))
            .with_hint("restore it, or start over with --restart")
    })
}

fn write(path: &Path, state: &JobState) -> Result<()> {
    if let Some(stored) = read::<Fence>(path)?
        && stored.fences(state)
    {
        return Err(fenced(state, stored.generation));
    }
    let text = serde_json::to_vec(state).map_err(|error| {
        Error::new(ErrorKind::Internal, "cannot write a checkpoint as JSON").with_source(error)
    })?;
    let what = || format!("cannot write the checkpoint {}", path.display());
    let dir = path.parent().unwrap_or_else(|| Path::new("."));
    fs::create_dir_all(dir).map_err(|error| Error::io(what(), error))?;
    let part = path.with_extension(format!("{}.part", std::process::id()));
    let replaced = (|| {
        let mut file = File::create(&part)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&part, path)?;
        File::open(dir)?.sync_all()
    })();
    replaced.map_err(|error| {
        // A part that cannot be removed either is harmless: nobody reads it.
        let removed = fs::remove_file(&part);
        drop(removed);
        Error::io(what(), error)
    })
}

fn fenced(state: &JobState, by: u64) -> Error {
    Error::new(
        ErrorKind::Fenced,
        format!("run {} of job {} was taken over by run {by}", state.generation, state.job),
    )
    .with_hint(
        "another process runs the same job; let one of them finish, or give them different --job names",
    )
}

impl CheckpointStore for FileStore {
    fn load<'a>(&'a self, job: &'a JobId) -> BoxFuture<'a, Result<Option<JobState>>> {
        let path = self.path(job);
        Box::pin(blocking(move || read(&path)))
    }

    fn save<'a>(&'a self, state: &'a JobState) -> BoxFuture<'a, Result<()>> {
        let (path, state) = (self.path(&state.job), state.clone());
        Box::pin(blocking(move || write(&path, &state)))
    }

    fn remove<'a>(&'a self, job: &'a JobId) -> BoxFuture<'a, Result<()>> {
        let path = self.path(job);
        Box::pin(blocking(move || match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::io(format!("cannot remove the checkpoint {}", path.display()), error))
            }
            _ => Ok(()),
        }))
    }
}

/// Keeps states for the life of the process: for tests, and for embedders who store them elsewhere.
#[derive(Debug, Default)]
pub struct MemoryStore {
    states: Mutex<HashMap<JobId, JobState>>,
}

impl CheckpointStore for MemoryStore {
    fn load<'a>(&'a self, job: &'a JobId) -> BoxFuture<'a, Result<Option<JobState>>> {
        let state = self.states.lock().unwrap_or_else(PoisonError::into_inner).get(job).cloned();
        Box::pin(async move { Ok(state) })
    }

    fn save<'a>(&'a self, state: &'a JobState) -> BoxFuture<'a, Result<()>> {
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        let saved = match states.get(&state.job) {
            Some(stored) if Fence::of(stored).fences(state) => Err(fenced(state, stored.generation)),
            _ => {
                states.insert(state.job.clone(), state.clone());
                Ok(())
            }
        };
        Box::pin(async move { saved })
    }

    fn remove<'a>(&'a self, job: &'a JobId) -> BoxFuture<'a, Result<()>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner).remove(job);
        Box::pin(async { Ok(()) })
    }
}
