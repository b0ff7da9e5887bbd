//! One run of a job in one place of a bucket: its uploads, which commits they belong to, and what a run that died has left.
//!
//! `.kwsync/JOB/run-GENERATION-TOKEN/` holds `run`, which is there as long as the run has the job, and for each lane
//! `uploads-N.json`, the uploads since its last commit, and `lane-N-NUMBER.json`, its last commit. There are no conditions to be
//! had everywhere, and no renaming, so a run is fenced off like this: whoever takes over removes `run` and then reads what
//! uploads there are, and gives them up; whoever commits has written its uploads down before it looks for `run`, and
//! completes them after. One of the two sees the other.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use kwsync_core::system::object::{ObjectClient, Upload};
use kwsync_core::{Checkpoint, Delivered, Error, ErrorKind, JobId, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use super::Layout;
use super::upload::Whole;

/// Requests at once, where many are of one kind.
const AT_ONCE: usize = 8;

#[derive(Debug)]
pub(super) struct Session {
    client: ObjectClient,
    layout: Layout,
    job: JobId,
    generation: u64,
    token: u128,
    /// Where the state of the job is, and that of this run in it.
    state: String,
    own: String,
    objects: AtomicU64,
    /// How many commits were written down: each under a key of its own, so that whoever undoes one removes no other.
    written: AtomicU64,
    /// What each lane has begun and not committed.
    uploads: Mutex<BTreeMap<usize, Vec<Upload>>>,
    /// The last commits, by the keys under which they are written down: those of our lanes, and those of dead runs
    /// of which it does not show yet whether they were recorded.
    commits: Mutex<BTreeMap<String, Commit>>,
}

/// The last commit of a lane.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Commit {
    checkpoints: Vec<Mark>,
    uploads: Vec<Upload>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Mark {
    split: String,
    sequence: u64,
}

impl Session {
    /// Takes the job over: older runs of it are fenced off, their uploads given up, and their last commits are kept until it
    /// shows whether they were recorded.
    pub(super) async fn open(
        client: &ObjectClient,
        layout: &Layout,
        job: &JobId,
        generation: u64,
    ) -> Result<Self> {
        let token = std::time::UNIX_EPOCH.elapsed().unwrap_or_default().as_nanos();
        let state = layout.state(job.as_str());
        let own = format!("{state}run-{generation}-{token}/");
        let session = Self {
            client: client.clone(),
            layout: layout.clone(),
            job: job.clone(),
            generation,
            token,
            state,
            own,
            objects: AtomicU64::new(0),
            written: AtomicU64::new(0),
            uploads: Mutex::default(),
            commits: Mutex::default(),
        };
        session.take_over().await?;
        Ok(session)
    }

    async fn take_over(&self) -> Result<()> {
        let found = self.keys().await?;
        // The first run of a job knows of no commit: whatever is there belongs to a job that was given up.
        let fresh = self.generation <= 1;
        for key in found.iter().filter(|key| key.ends_with("/run")) {
            let theirs = key.strip_prefix(self.state.as_str()).and_then(|rest| rest.strip_prefix("run-"));
            let theirs = theirs.and_then(|rest| rest.split('-').next()?.parse::<u64>().ok());
            if theirs.unwrap_or_default() > self.generation && !fresh {
                return Err(self.fenced());
            }
        }
        for key in found.iter().filter(|key| key.ends_with("/run")) {
            self.client.delete(key).await?;
        }
        self.client.write_small(&self.run(), self.job.as_str().to_owned() + "\n").await?;
        if found.is_empty() {
            return Ok(());
        }
        let others = |keys: Vec<String>, name: &'static str| {
            let own = self.own.clone();
            keys.into_iter().filter(move |key| !key.starts_with(&own) && file_name(key).starts_with(name))
        };
        for key in others(self.keys().await?, "uploads-") {
            for upload in self.read::<Vec<Upload>>(&key).await?.unwrap_or_default() {
                self.client.abort_upload(&upload).await?;
            }
            self.client.delete(&key).await?;
        }
        // What was committed in between is written down by now, and the rest cannot be completed any more.
        for key in others(self.keys().await?, "lane-") {
            if fresh {
                self.client.delete(&key).await?;
            } else if let Some(commit) = self.read(&key).await? {
                self.lock_commits().insert(key, commit);
            }
        }
        Ok(())
    }

    /// The keys of the state of all runs of the job.
    async fn keys(&self) -> Result<Vec<String>> {
        let objects = self.client.list(&format!("{}run-", self.state), true).await?;
        Ok(objects.into_iter().map(|object| object.key).collect())
    }

    async fn read<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        let Some(text) = self.client.read_small(key).await? else { return Ok(None) };
        serde_json::from_slice(&text).map(Some).map_err(|error| {
            Error::new(ErrorKind::Io, format!("{} is damaged", self.client.place(key)))
                .with_source(error)
                .with_hint("remove it and the objects of the last commit, or begin anew with --restart")
        })
    }

    async fn write(&self, key: &str, value: &(impl Serialize + Sync)) -> Result<()> {
        let text = serde_json::to_vec(value).map_err(|error| {
            Error::new(ErrorKind::Internal, "the state of a run cannot be written down").with_source(error)
        })?;
        self.client.write_small(key, text).await
    }

    fn run(&self) -> String {
        format!("{}run", self.own)
    }

    /// The key under which the next commit of a lane is written down.
    fn lane(&self, lane: usize) -> String {
        let number = self.written.fetch_add(1, Ordering::Relaxed);
        format!("{}lane-{lane}-{number}.json", self.own)
    }

    fn fenced(&self) -> Error {
        let text = format!("run {} of job {} was taken over by a later run", self.generation, self.job);
        Error::new(ErrorKind::Fenced, text).with_hint("this process may be ended; the later one goes on")
    }

    fn lock_commits(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Commit>> {
        self.commits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_uploads(&self) -> std::sync::MutexGuard<'_, BTreeMap<usize, Vec<Upload>>> {
        self.uploads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_of(&self, job: &JobId, generation: u64) -> bool {
        self.job == *job && self.generation == generation
    }

    pub(super) fn client(&self) -> &ObjectClient {
        &self.client
    }

    /// The key of the next object of a lane.
    pub(super) fn key(&self, folder: &str, lane: usize, ending: &str) -> String {
        let number = self.objects.fetch_add(1, Ordering::Relaxed);
        self.layout.key(folder, self.token, lane, number, ending)
    }

    /// Begins an upload, and writes down that it was begun.
    pub(super) async fn begin_upload(&self, lane: usize, key: &str) -> Result<Upload> {
        let upload = self.client.begin_upload(key).await?;
        let open = {
            let mut uploads = self.lock_uploads();
            let open = uploads.entry(lane).or_default();
            open.push(upload.clone());
            open.clone()
        };
        self.write(&format!("{}uploads-{lane}.json", self.own), &open).await?;
        Ok(upload)
    }

    /// Gives up what a lane has begun and not committed.
    pub(super) async fn abandon(&self, lane: usize) -> Result<()> {
        let open = self.lock_uploads().get(&lane).cloned().unwrap_or_default();
        for upload in &open {
            self.client.abort_upload(upload).await?;
        }
        if let Some(uploads) = self.lock_uploads().get_mut(&lane) {
            uploads.retain(|upload| !open.contains(upload));
        }
        Ok(())
    }

    /// Removes the objects of a commit that covers the split and was never recorded.
    pub(super) async fn begin(&self, checkpoint: &Checkpoint) -> Result<()> {
        let known = self.lock_commits().clone();
        for (key, commit) in known {
            let Some(mark) = commit.checkpoints.iter().find(|mark| *mark.split == *checkpoint.split) else {
                continue;
            };
            if mark.sequence > checkpoint.sequence {
                for upload in &commit.uploads {
                    // In this order: an upload that is given up becomes no object any more.
                    self.client.abort_upload(upload).await?;
                    self.client.delete(&upload.key).await?;
                }
            } else if key.starts_with(&self.own) {
                // It was recorded, and its lane goes on.
                continue;
            }
            self.client.delete(&key).await?;
            self.lock_commits().remove(&key);
        }
        Ok(())
    }

    /// Makes objects of whole uploads, together with the checkpoints that go with them. `last` is the key of what the
    /// same writer has committed before, which has been recorded since, and that of this commit in the end.
    pub(super) async fn commit(
        &self,
        lane: usize,
        checkpoints: &[Checkpoint],
        whole: Vec<Whole>,
        last: &mut Option<String>,
    ) -> Result<()> {
        if whole.is_empty() {
            return Ok(());
        }
        let mut written = None;
        if !checkpoints.is_empty() {
            let marks = checkpoints.iter().map(|c| Mark { split: c.split.to_string(), sequence: c.sequence });
            let uploads = whole.iter().map(|whole| whole.upload.clone()).collect();
            let commit = Commit { checkpoints: marks.collect(), uploads };
            // Known before it is written: it may be there although the answer was lost.
            let key = self.lane(lane);
            self.lock_commits().insert(key.clone(), commit.clone());
            self.write(&key, &commit).await?;
            written = Some(key);
        }
        if self.client.head(&self.run()).await?.is_none() {
            return Err(self.fenced());
        }
        let in_doubt = |error: Error| error.with_delivered(Delivered::InDoubt);
        let mut completing = JoinSet::new();
        for Whole { upload, parts } in whole {
            if completing.len() >= AT_ONCE {
                joined(completing.join_next().await).map_err(in_doubt)?;
            }
            let client = self.client.clone();
            completing.spawn(async move { client.complete_upload(&upload, parts).await });
        }
        while let Some(ended) = completing.join_next().await {
            joined(Some(ended)).map_err(in_doubt)?;
        }
        self.lock_uploads().remove(&lane);
        if let Some(written) = written
            && let Some(before) = last.replace(written)
            && let Err(error) = self.forget(&before).await
        {
            // It goes with the state of the job, and says nothing that is wrong until then.
            tracing::debug!(%error, "the record of a commit is left");
        }
        Ok(())
    }

    /// Forgets a commit that has been recorded.
    pub(super) async fn forget(&self, key: &str) -> Result<()> {
        self.client.delete(key).await?;
        self.lock_commits().remove(key);
        Ok(())
    }

    /// Removes the state of the job, which has ended well.
    pub(super) async fn end(&self) -> Result<()> {
        if self.client.head(&self.run()).await?.is_none() {
            // A later run has the job, and what is there is its own.
            return Ok(());
        }
        for key in self.keys().await? {
            self.client.delete(&key).await?;
        }
        Ok(())
    }
}

fn file_name(key: &str) -> &str {
    key.rsplit_once('/').map_or(key, |(_, name)| name)
}

fn joined(ended: Option<Result<Result<()>, tokio::task::JoinError>>) -> Result<()> {
    match ended {
        None => Ok(()),
        Some(ended) => ended.map_err(|fault| {
            Error::new(ErrorKind::Internal, "the end of an upload broke off").with_source(fault)
        })?,
    }
}
