//! The sink and its writers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use kwsync_core::{
    Capabilities, Cast, Checkpoint, DataType, Delivered, Delivery, Error, ErrorKind, JobId, Lane, Plan,
    Result, RowCounts, Schema, Settled, Sink, Stage, TableBatch, TableId, TimeUnit, Writer,
};

use super::encoded::Encoding;
use super::part::Part;
use super::session::{Named, Session, cannot, remove};
use super::{FileFormat, FileSinkOptions, names};

/// Most files that a lane has open.
const MAX_OPEN: usize = 256;

/// Writes each table into files in a folder of its own.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use kwsync_core::{Column, DataType, JobId, Lane, Schema, Sink, TableBatch, Value, Writer};
/// use kwsync_sinks::file::{FileFormat, FileSink, FileSinkOptions};
///
/// # let dir = tempfile::tempdir().unwrap();
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let sink = FileSink::new(dir.path(), FileFormat::Parquet, FileSinkOptions::new())?;
/// let schema = Arc::new(Schema::new(vec![Column::new("n", DataType::Int64)])?);
/// let batch = TableBatch::from_rows("cpu", schema, &[vec![Value::Int(1)]])?;
/// let mut writer = sink.open(&Lane { job: JobId::new("job"), index: 0, generation: 1 }).await?;
/// writer.write(&batch).await?;
/// assert_eq!(writer.close().await?.total().written, 1);
/// assert_eq!(dir.path().join("cpu").read_dir().unwrap().count(), 1);
/// # Ok::<(), kwsync_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct FileSink {
    shared: Arc<Shared>,
}

struct Shared {
    root: PathBuf,
    encoding: Encoding,
    options: FileSinkOptions,
    /// The run, and how many writers it has.
    session: Mutex<Option<(Arc<Session>, usize)>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("root", &self.root)
            .field("format", &self.encoding.format)
            .finish_non_exhaustive()
    }
}

impl FileSink {
    /// Writes below the directory `root`, which is made when it is needed.
    ///
    /// # Errors
    /// [`Config`](ErrorKind::Config) if `root` is standard output, or a compression that the format has not.
    pub fn new(root: impl Into<PathBuf>, format: FileFormat, options: FileSinkOptions) -> Result<Self> {
        let root = root.into();
        if root.as_os_str() == "-" {
            return Err(Error::config("the file sink writes a directory, not standard output")
                .with_hint("name a directory; `kwsync convert` writes to standard output"));
        }
        if !format.takes(options.compression) {
            return Err(Error::config(format!(
                "files of the format {} cannot be compressed that way",
                format.name()
            ))
            .with_hint(format!("use {}", format.compressions())));
        }
        let encoding = Encoding {
            format,
            compression: options.compression,
            gzip_level: flate2::Compression::fast().level(),
            row_group_rows: options.row_group_rows,
        };
        Ok(Self { shared: Arc::new(Shared { root, encoding, options, session: Mutex::new(None) }) })
    }

    fn folder(&self, table: &TableId) -> Option<String> {
        names::folder(table, self.shared.options.hash_names)
    }
}

impl Shared {
    fn session(&self, job: &JobId, generation: u64, writers: usize) -> Result<Arc<Session>> {
        let mut held = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((session, count)) = held.as_mut().filter(|(session, _)| session.is_of(job, generation)) {
            *count += writers;
            return Ok(Arc::clone(session));
        }
        let session = Arc::new(Session::open(&self.root, job, generation, self.options.fsync)?);
        *held = Some((Arc::clone(&session), writers));
        Ok(session)
    }

    /// One writer less; with the last one the run's folders go, unless a try that failed has left a commit there
    /// that the next one has to look at.
    fn release(&self, session: &Arc<Session>) {
        let mut held = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((current, count)) = held.as_mut().filter(|(current, _)| Arc::ptr_eq(current, session)) {
            *count = count.saturating_sub(1);
            if *count == 0 && current.end() {
                *held = None;
            }
        }
    }
}

/// What a format changes.
pub(crate) fn casts(format: &FileFormat, schema: &Schema) -> Vec<Cast> {
    if !matches!(format, FileFormat::Parquet) {
        return Vec::new();
    }
    let stored = |data_type: &DataType| {
        Some(match data_type {
            DataType::Timestamp(TimeUnit::Second) => "timestamp(ms)",
            DataType::TimestampTz(TimeUnit::Second) => "timestamptz(ms)",
            DataType::Time(TimeUnit::Second) => "time(ms)",
            DataType::Interval => "text (ISO 8601)",
            _ => return None,
        })
    };
    let columns = schema.columns().iter();
    columns
        .filter_map(|column| {
            Some(Cast {
                column: column.name().to_owned(),
                from: column.data_type().to_string(),
                to: stored(column.data_type())?.to_owned(),
                lossy: None,
            })
        })
        .collect()
}

/// Runs what waits for a disk where it holds up nobody else.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|fault| Error::new(ErrorKind::Internal, "the writing broke off").with_source(fault))?
}

impl Sink for FileSink {
    type Writer = FileWriter;

    fn capabilities(&self) -> Capabilities {
        Capabilities::new("file").with_delivery(Delivery::Idempotent)
    }

    async fn plan(&self, table: &TableId, schema: &Arc<Schema>) -> Result<Plan> {
        let format = &self.shared.encoding.format;
        let mut plan = Plan::new(table.to_string(), format!("{} files", format.name()), Delivery::Idempotent);
        match self.folder(table) {
            Some(folder) => plan.notes.push(format!("into {}", self.shared.root.join(folder).display())),
            None => plan.notes.push(
                "the name is too long for a folder: all rows are rejected; names=hash shortens it".to_owned(),
            ),
        }
        plan.casts = casts(format, schema);
        plan.notes.push(
            "a commit that was not recorded before a crash is undone when the job is resumed".to_owned(),
        );
        Ok(plan)
    }

    async fn prepare(&self, table: &TableId, _schema: &Arc<Schema>) -> Result<()> {
        let Some(folder) = self.folder(table) else { return Ok(()) };
        let path = self.shared.root.join(folder);
        blocking(move || std::fs::create_dir_all(&path).map_err(|error| cannot("create", &path, error))).await
    }

    async fn begin(&self, checkpoint: &Checkpoint) -> Result<Checkpoint> {
        let (shared, checkpoint) = (Arc::clone(&self.shared), checkpoint.clone());
        blocking(move || {
            shared.session(&checkpoint.job, checkpoint.generation, 0)?.begin(&checkpoint)?;
            Ok(checkpoint)
        })
        .await
    }

    async fn open(&self, lane: &Lane) -> Result<FileWriter> {
        let (shared, lane) = (Arc::clone(&self.shared), lane.clone());
        blocking(move || {
            let session = shared.session(&lane.job, lane.generation, 1)?;
            let state = State {
                shared,
                session,
                lane: lane.index,
                open: BTreeMap::new(),
                whole: Vec::new(),
                pending: Settled::default(),
                number: 0,
            };
            Ok(FileWriter { state: Arc::new(Mutex::new(state)), under_way: None, number: 0 })
        })
        .await
    }
}

/// Writes the files of one lane.
///
/// # Cancel safety
/// As [`Writer`] says: after a dropped future the next call removes the files that have no name yet, and fails, since
/// the rows accepted before are gone with them. If a commit was dropped, delivery is in doubt.
#[derive(Debug)]
pub struct FileWriter {
    pub(super) state: Arc<Mutex<State>>,
    /// What was begun and has not been seen to end.
    under_way: Option<Call>,
    /// The number of the last call.
    number: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Call {
    Write,
    Commit,
}

pub(super) struct State {
    shared: Arc<Shared>,
    session: Arc<Session>,
    lane: usize,
    open: BTreeMap<TableId, (Part, Named)>,
    /// Files that are whole and wait for the commit.
    whole: Vec<Named>,
    /// What the commit will settle.
    pending: Settled,
    /// The number of the last call that got here.
    pub(super) number: u64,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("lane", &self.lane)
            .field("open", &self.open.len())
            .finish_non_exhaustive()
    }
}

impl FileWriter {
    async fn call(
        &mut self,
        call: Call,
        work: impl FnOnce(&mut State) -> Result<Settled> + Send + 'static,
    ) -> Result<Settled> {
        let before = self.under_way;
        // A commit stays in doubt until a call has come to its end and said so.
        self.under_way = before.filter(|before| *before == Call::Commit).or(Some(call));
        self.number += 1;
        let (state, number) = (Arc::clone(&self.state), self.number);
        let result = blocking(move || {
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            if number < state.number {
                // Dropped, and overtaken on its way here: nobody asks, and its rows must not come after all.
                return Err(Error::new(ErrorKind::Cancelled, "a call was broken off"));
            }
            state.number = number;
            if let Some(before) = before {
                state.roll_back();
                let (what, delivered) = match before {
                    Call::Write => (
                        "a call was broken off, and the rows since the last commit are rolled back",
                        Delivered::No,
                    ),
                    Call::Commit => ("a commit of files was broken off", Delivered::InDoubt),
                };
                return Err(Error::new(ErrorKind::Unavailable, what).with_delivered(delivered));
            }
            let result = work(&mut state);
            if result.is_err() {
                state.roll_back();
            }
            result
        })
        .await;
        self.under_way = None;
        result
    }
}

impl Writer for FileWriter {
    async fn write(&mut self, batch: &TableBatch) -> Result<Settled> {
        let batch = batch.clone();
        self.call(Call::Write, move |state| state.write(&batch).map(|()| Settled::default())).await
    }

    async fn flush(&mut self) -> Result<Settled> {
        self.call(Call::Commit, |state| state.commit(&[])).await
    }

    async fn flush_with(&mut self, checkpoints: &[Checkpoint]) -> Result<Settled> {
        let checkpoints = checkpoints.to_vec();
        self.call(Call::Commit, move |state| state.commit(&checkpoints)).await
    }

    async fn close(&mut self) -> Result<Settled> {
        self.call(Call::Commit, |state| {
            let settled = state.commit(&[])?;
            state.session.end_lane(state.lane)?;
            Ok(settled)
        })
        .await
    }
}

impl State {
    fn write(&mut self, batch: &TableBatch) -> Result<()> {
        let (shared, table) = (Arc::clone(&self.shared), batch.table());
        let options = &shared.options;
        let Some(folder) = names::folder(table, options.hash_names) else {
            let reason = "the table's name is too long for a folder; names=hash shortens it";
            let rejects =
                (0..batch.rows()).map(|row| batch.reject(row, Stage::Encode, "name_too_long", reason));
            self.pending.rejects.extend(rejects);
            self.pending.add(table, RowCounts { rejected: batch.rows() as u64, ..RowCounts::default() });
            return Ok(());
        };
        let mut from = 0;
        while from < batch.rows() {
            if self.open.get(table).is_some_and(|(part, _)| !part.takes(batch.schema())) {
                self.end(table)?;
            }
            if !self.open.contains_key(table) {
                self.begin(table, &folder, batch.schema())?;
            }
            let Some((part, _)) = self.open.get_mut(table) else { continue };
            // Rows of one call that a file may take at most: its bytes are looked at in between.
            let most = options.file_rows.saturating_sub(part.rows()).clamp(1, 65_536) as usize;
            let count = most.min(batch.rows() - from);
            let rows = batch.slice(from, count);
            let rejects = part.write(&rows)?;
            let full = part.rows() >= options.file_rows || part.bytes() >= options.file_bytes;
            let counts = RowCounts {
                written: (count - rejects.len()) as u64,
                rejected: rejects.len() as u64,
                ..RowCounts::default()
            };
            self.pending.add(table, counts);
            self.pending.rejects.extend(rejects);
            from += count;
            if full {
                self.end(table)?;
            }
        }
        self.keep_within_bounds()
    }

    fn begin(&mut self, table: &TableId, folder: &str, schema: &Arc<Schema>) -> Result<()> {
        if self.open.len() >= MAX_OPEN {
            self.end_largest()?;
        }
        let encoding = &self.shared.encoding;
        let named = self.session.name(folder, self.lane, &encoding.ending());
        let part =
            Part::create(named.part.clone(), schema, encoding).map_err(|error| self.explained(error))?;
        self.open.insert(table.clone(), (part, named));
        Ok(())
    }

    /// A file that cannot be made because the run's folder is gone tells of another run.
    fn explained(&self, error: Error) -> Error {
        if error.kind() != ErrorKind::NotFound {
            return error;
        }
        self.session.lost(Path::new("a file"), std::io::ErrorKind::NotFound.into())
    }

    /// Ends the file of a table; it gets its name at the commit.
    fn end(&mut self, table: &TableId) -> Result<()> {
        let Some((part, named)) = self.open.remove(table) else { return Ok(()) };
        let rows = part.rows();
        // Listed first, so that it is removed if it cannot be ended.
        self.whole.push(named);
        self.pending.bytes += part.finish(self.shared.options.fsync)?;
        if rows == 0
            && let Some(empty) = self.whole.pop()
        {
            remove(&empty.part)?;
        }
        Ok(())
    }

    fn end_largest(&mut self) -> Result<()> {
        let largest = self.open.iter().max_by_key(|(_, (part, _))| part.buffered_bytes());
        match largest.map(|(table, _)| table.clone()) {
            Some(table) => self.end(&table),
            None => Ok(()),
        }
    }

    fn keep_within_bounds(&mut self) -> Result<()> {
        let held = |state: &Self| state.open.values().map(|(part, _)| part.buffered_bytes()).sum::<usize>();
        while self.open.len() > 1 && held(self) > self.shared.options.buffer_bytes {
            self.end_largest()?;
        }
        Ok(())
    }

    fn commit(&mut self, checkpoints: &[Checkpoint]) -> Result<Settled> {
        let tables: Vec<_> = self.open.keys().cloned().collect();
        tables.iter().try_for_each(|table| self.end(table))?;
        self.session.commit(self.lane, checkpoints, &self.whole)?;
        self.whole.clear();
        Ok(std::mem::take(&mut self.pending))
    }

    /// Removes what has no name yet. What cannot be removed now is when the job is run again.
    fn roll_back(&mut self) {
        for (part, _) in std::mem::take(&mut self.open).into_values() {
            remove(part.path()).ok();
        }
        for named in self.whole.drain(..) {
            remove(&named.part).ok();
        }
        self.pending = Settled::default();
    }
}

impl Drop for State {
    fn drop(&mut self) {
        self.roll_back();
        self.shared.release(&self.session);
    }
}
