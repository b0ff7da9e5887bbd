//! One run of a job in one directory: where its parts are, which commits its files belong to, and what a run
//! that died has left behind.
//!
//! `DIR/.kwsync/JOB/run-GENERATION-TOKEN` holds the parts and, for each lane, `lane-N.json`: the files of its last
//! commit and the checkpoints that go with them. A commit is recorded by whoever stores checkpoints before the
//! lane commits again, so that one such record for each lane is enough.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{ErrorKind as Io, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use kwsync_core::{Checkpoint, Error, ErrorKind, JobId, Result};
use serde::{Deserialize, Serialize};

use super::names;

/// The folder for what is not data. Readers of data sets skip names that start with a dot.
const HIDDEN: &str = ".kwsync";

pub(super) struct Session {
    root: PathBuf,
    own: PathBuf,
    job: JobId,
    generation: u64,
    token: String,
    files: AtomicU64,
    fsync: bool,
}

/// A file that is whole: its part, and the name it gets, from the directory on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Named {
    pub(super) part: PathBuf,
    pub(super) path: PathBuf,
}

/// The last commit of a lane.
#[derive(Debug, Serialize, Deserialize)]
struct Commit {
    checkpoints: Vec<Mark>,
    files: Vec<PathBuf>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Mark {
    split: String,
    sequence: u64,
}

impl Session {
    /// Takes the job over: what older runs of it left is fenced off, their parts are removed, and their last
    /// commits are kept until it shows whether they were recorded.
    pub(super) fn open(root: &Path, job: &JobId, generation: u64, fsync: bool) -> Result<Self> {
        let jobs = root.join(HIDDEN).join(names::job(job.as_str()));
        fs::create_dir_all(&jobs).map_err(|error| cannot("create", &jobs, error))?;
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let token = format!("{:x}-{:x}", now.as_micros(), std::process::id());
        let own = jobs.join(format!("run-{generation}-{token}"));
        // The first run of a job knows of no commit: whatever is there belongs to a job that was given up.
        let fresh = generation <= 1;
        let mut dead = Vec::new();
        for entry in fs::read_dir(&jobs).map_err(|error| cannot("look into", &jobs, error))? {
            let path = entry.map_err(|error| cannot("look into", &jobs, error))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.starts_with("dead-") {
                dead.push(path);
            } else if let Some(rest) = name.strip_prefix("run-") {
                let theirs: u64 =
                    rest.split('-').next().and_then(|text| text.parse().ok()).unwrap_or_default();
                if theirs > generation && !fresh {
                    return Err(fenced(job, generation));
                }
                // From here on that run cannot name a file.
                let fenced = jobs.join(format!("dead-{rest}"));
                match fs::rename(&path, &fenced) {
                    Ok(()) => dead.push(fenced),
                    Err(error) if error.kind() == Io::NotFound => {}
                    Err(error) => return Err(cannot("take over", &path, error)),
                }
            }
        }
        fs::create_dir(&own).map_err(|error| cannot("create", &own, error))?;
        let session = Self {
            root: root.to_owned(),
            own,
            job: job.clone(),
            generation,
            token,
            files: AtomicU64::new(0),
            fsync,
        };
        for path in dead {
            session.bury(&path, fresh)?;
        }
        session.sync_folder(&jobs)?;
        Ok(session)
    }

    pub(super) fn is_of(&self, job: &JobId, generation: u64) -> bool {
        self.job == *job && self.generation == generation
    }

    /// Keeps the commits of a dead run, unless all is `fresh`, and removes the rest of it.
    fn bury(&self, dead: &Path, fresh: bool) -> Result<()> {
        if !fresh {
            for commit in commits(dead)? {
                let name = commit.file_name().unwrap_or_default().to_string_lossy().into_owned();
                let run = dead.file_name().unwrap_or_default().to_string_lossy();
                let kept = if name.starts_with("old-") { name } else { format!("old-{run}-{name}") };
                fs::rename(&commit, self.own.join(kept))
                    .map_err(|error| cannot("take over", &commit, error))?;
            }
            self.sync_folder(&self.own)?;
        }
        fs::remove_dir_all(dead).map_err(|error| cannot("clean up", dead, error))
    }

    /// Removes the files of a commit that covers the split and was never recorded.
    pub(super) fn begin(&self, checkpoint: &Checkpoint) -> Result<()> {
        for path in commits(&self.own)? {
            let text = match fs::read(&path) {
                // Its lane has ended in the meantime: it was recorded.
                Err(error) if error.kind() == Io::NotFound => continue,
                text => text.map_err(|error| cannot("read", &path, error))?,
            };
            let commit: Commit = serde_json::from_slice(&text).map_err(|error| {
                Error::new(ErrorKind::Io, format!("{} is damaged", path.display()))
                    .with_source(error)
                    .with_hint("remove it and the files of the last commit, or begin anew with --restart")
            })?;
            let Some(mark) = commit.checkpoints.iter().find(|mark| *mark.split == *checkpoint.split) else {
                continue;
            };
            if mark.sequence > checkpoint.sequence {
                for file in &commit.files {
                    remove(&self.root.join(file))?;
                }
                self.sync_folders(&commit.files)?;
                remove(&path)?;
            } else if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("old-")) {
                // It was recorded: nobody will ask again.
                remove(&path)?;
            }
        }
        Ok(())
    }

    /// Where the next file of a lane is written, and the name it gets.
    pub(super) fn name(&self, folder: &str, lane: usize, ending: &str) -> Named {
        let number = self.files.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-{lane}-{number:06}.{ending}", self.token);
        Named { part: self.own.join(format!("{name}.part")), path: Path::new(folder).join(name) }
    }

    /// Gives whole files their names, together with the checkpoints that go with them.
    pub(super) fn commit(&self, lane: usize, checkpoints: &[Checkpoint], files: &[Named]) -> Result<()> {
        if files.is_empty() {
            return Ok(());
        }
        if !checkpoints.is_empty() {
            let marks = checkpoints.iter().map(|c| Mark { split: c.split.to_string(), sequence: c.sequence });
            let commit = Commit {
                checkpoints: marks.collect(),
                files: files.iter().map(|file| file.path.clone()).collect(),
            };
            self.write_down(lane, &commit)?;
        }
        for file in files {
            let path = self.root.join(&file.path);
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder).map_err(|error| cannot("create", folder, error))?;
            }
            fs::rename(&file.part, &path).map_err(|error| self.lost(&path, error))?;
        }
        self.sync_folders(&files.iter().map(|file| file.path.clone()).collect::<Vec<_>>())
    }

    fn write_down(&self, lane: usize, commit: &Commit) -> Result<()> {
        let path = self.own.join(format!("lane-{lane}.json"));
        let new = self.own.join(format!("lane-{lane}.part"));
        let text = serde_json::to_vec(commit).map_err(|error| {
            Error::new(ErrorKind::Internal, "a commit cannot be written down").with_source(error)
        })?;
        let write = || -> std::io::Result<()> {
            let mut file = File::create(&new)?;
            file.write_all(&text)?;
            if self.fsync {
                file.sync_all()?;
            }
            fs::rename(&new, &path)
        };
        write().map_err(|error| self.lost(&path, error))?;
        self.sync_folder(&self.own)
    }

    /// Forgets a lane's last commit, which has been recorded, when the lane ends.
    pub(super) fn end_lane(&self, lane: usize) -> Result<()> {
        remove(&self.own.join(format!("lane-{lane}.json")))
    }

    /// Removes the folders of the run as far as they are empty; false if the run's own is not, because a commit
    /// in it may not have been recorded.
    pub(super) fn end(&self) -> bool {
        let own = fs::remove_dir(&self.own).is_ok();
        // Those above may serve other runs and jobs.
        self.own.ancestors().skip(1).take(2).try_for_each(fs::remove_dir).ok();
        own
    }

    /// A fault within the run's own folder: if that is gone, a later run has taken over.
    pub(super) fn lost(&self, path: &Path, error: std::io::Error) -> Error {
        if error.kind() == Io::NotFound && !self.own.exists() {
            return fenced(&self.job, self.generation);
        }
        cannot("write", path, error)
    }

    fn sync_folders(&self, files: &[PathBuf]) -> Result<()> {
        let folders: BTreeSet<_> = files.iter().filter_map(|file| file.parent()).collect();
        folders.into_iter().try_for_each(|folder| self.sync_folder(&self.root.join(folder)))?;
        self.sync_folder(&self.root)
    }

    /// Makes names in a folder last. Other systems than Unix do that on their own.
    fn sync_folder(&self, folder: &Path) -> Result<()> {
        if cfg!(unix) && self.fsync {
            match File::open(folder).and_then(|folder| folder.sync_all()) {
                // A folder whose files were removed may itself be gone.
                Err(error) if error.kind() != Io::NotFound => return Err(cannot("sync", folder, error)),
                _ => {}
            }
        }
        Ok(())
    }
}

/// The commits that were written down in a run's folder.
fn commits(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(|error| cannot("look into", folder, error))? {
        let path = entry.map_err(|error| cannot("look into", folder, error))?.path();
        if path.extension().is_some_and(|ending| ending == "json") {
            found.push(path);
        }
    }
    Ok(found)
}

/// Removes a file, unless it is gone.
pub(super) fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != Io::NotFound => Err(cannot("remove", path, error)),
        _ => Ok(()),
    }
}

fn fenced(job: &JobId, generation: u64) -> Error {
    Error::new(ErrorKind::Fenced, format!("run {generation} of job {job} was taken over by a later run"))
        .with_hint("this process may be ended; the later one goes on")
}

pub(super) fn cannot(what: &str, path: &Path, error: std::io::Error) -> Error {
    Error::io(format_args!("cannot {what} {}", path.display()), error)
}
