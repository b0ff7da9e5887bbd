//! The definitions of pipes in a folder: one file a pipe, each replaced as a whole.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use kwsync_core::spec::PipeDefinition;
use kwsync_core::{Error, ErrorKind, FileStore, JobId, Result};
use serde::{Deserialize, Serialize};

/// Whether a pipe moves data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum PipeState {
    /// It moves data, as soon as a process runs pipes.
    Running,
    /// It was stopped, or met an error that trying again does not mend, or has moved all that its source had.
    Stopped,
}

impl PipeState {
    /// As IoTDB writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "RUNNING",
            Self::Stopped => "STOPPED",
        }
    }
}

/// What is kept of a pipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) definition: PipeDefinition,
    /// Milliseconds since 1970; with the name it makes the job, so that a pipe that is dropped and made again starts
    /// over.
    pub(super) created: u64,
    pub(super) state: PipeState,
    /// Why it was stopped, where that was an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) exception: Option<String>,
}

impl Record {
    pub(super) fn job(&self) -> JobId {
        JobId::new(format!("pipe-{}-{}", self.definition.name, self.created))
    }
}

/// The folder of the pipes.
#[derive(Clone, Debug)]
pub(super) struct Store {
    dir: PathBuf,
}

impl Store {
    pub(super) fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// Where the checkpoints of all pipes are kept.
    pub(super) fn checkpoints(&self) -> PathBuf {
        self.dir.join("checkpoints")
    }

    fn path(&self, name: &str) -> PathBuf {
        FileStore::new(self.dir.join("definitions")).path(&JobId::new(name))
    }

    /// All pipes, by the time at which they were made.
    pub(super) fn all(&self) -> Result<Vec<Record>> {
        let dir = self.dir.join("definitions");
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(cannot("read", &dir, error)),
        };
        let mut records = Vec::new();
        for entry in entries {
            let path = entry.map_err(|error| cannot("read", &dir, error))?.path();
            if path.extension().is_some_and(|ending| ending == "json") {
                records.extend(read(&path)?);
            }
        }
        records
            .sort_by(|a: &Record, b| (a.created, &a.definition.name).cmp(&(b.created, &b.definition.name)));
        Ok(records)
    }

    pub(super) fn get(&self, name: &str) -> Result<Option<Record>> {
        read(&self.path(name))
    }

    /// Keeps a new pipe.
    pub(super) fn create(&self, definition: PipeDefinition, state: PipeState) -> Result<Record> {
        let _locked = self.lock()?;
        let path = self.path(&definition.name);
        if read(&path)?.is_some() {
            return Err(Error::config(format!("there is a pipe {} already", definition.name))
                .with_hint("DROP PIPE removes it; SHOW PIPES lists all"));
        }
        // Never the same as of one that was dropped a moment ago.
        let created = UNIX_EPOCH.elapsed().map_or(0, |since| since.as_millis() as u64);
        let record = Record { definition, created, state, exception: None };
        write(&path, &record)?;
        Ok(record)
    }

    /// Changes a pipe; false when it is gone, or is another one by now.
    pub(super) fn update(
        &self,
        name: &str,
        created: Option<u64>,
        change: impl FnOnce(&mut Record),
    ) -> Result<bool> {
        let _locked = self.lock()?;
        let path = self.path(name);
        let Some(mut record) =
            read(&path)?.filter(|found| created.is_none_or(|created| created == found.created))
        else {
            return Ok(false);
        };
        let before = record.clone();
        change(&mut record);
        if record != before {
            write(&path, &record)?;
        }
        Ok(true)
    }

    /// Removes a pipe and its checkpoint; the pipe as it was.
    pub(super) fn remove(&self, name: &str) -> Result<Option<Record>> {
        let _locked = self.lock()?;
        let path = self.path(name);
        let Some(record) = read(&path)? else { return Ok(None) };
        fs::remove_file(&path).map_err(|error| cannot("remove", &path, error))?;
        let checkpoint = FileStore::new(self.checkpoints()).path(&record.job());
        match fs::remove_file(&checkpoint) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(cannot("remove", &checkpoint, error))
            }
            _ => Ok(Some(record)),
        }
    }

    /// Held while definitions change, by whichever process.
    fn lock(&self) -> Result<File> {
        let file = self.lock_file("definitions.lock")?;
        file.lock().map_err(|error| cannot("lock", &self.dir, error))?;
        Ok(file)
    }

    /// Held by the one process that runs the pipes; `None` when another one does.
    pub(super) fn lock_runner(&self) -> Result<Option<File>> {
        let file = self.lock_file("runner.lock")?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) => Err(cannot("lock", &self.dir, error)),
        }
    }

    fn lock_file(&self, name: &str) -> Result<File> {
        let path = self.dir.join(name);
        fs::create_dir_all(&self.dir)
            .and_then(|()| File::options().create(true).append(true).open(&path))
            .map_err(|error| cannot("open", &path, error))
    }
}

fn cannot(what: &str, path: &Path, error: std::io::Error) -> Error {
    Error::io(format!("cannot {what} {}", path.display()), error)
}

fn read(path: &Path) -> Result<Option<Record>> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| {
            Error::new(ErrorKind::Config, format!("the pipe in {} is damaged: {error}", path.display()))
                .with_hint("restore the file, or remove it and create the pipe again")
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(cannot("read", path, error)),
    }
}

fn write(path: &Path, record: &Record) -> Result<()> {
    let text = serde_json::to_vec_pretty(record)
        .map_err(|error| Error::new(ErrorKind::Internal, "cannot write a pipe as JSON").with_source(error))?;
    let dir = path.parent().unwrap_or_else(|| Path::new("."));
    let part = path.with_extension("part");
    let replaced = (|| {
        fs::create_dir_all(dir)?;
        let mut file = private(&part)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&part, path)?;
        File::open(dir)?.sync_all()
    })();
    replaced.map_err(|error| cannot("write", path, error))
}

/// A file for its owner alone: a definition may hold a password.
fn private(path: &Path) -> std::io::Result<File> {
    let mut options = File::options();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}
