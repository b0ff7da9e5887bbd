//! How far a job has come: the unit that makes it resumable.

#[cfg(feature = "runtime")]
mod store;
#[cfg(all(test, feature = "runtime"))]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Column, Result, Schema, SchemaRegistry, TableId};

#[cfg(feature = "runtime")]
pub use store::{CheckpointStore, FileStore, MemoryStore};

/// The name of a job: the user's own, or a hash of what it does.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(Arc<str>);

impl JobId {
    /// A job of this name.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A piece of a source that can be read again on its own: a file, a byte range of one, a key range, a
/// partition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Split {
    /// Stable over runs: the same piece has the same id.
    pub id: Arc<str>,
    /// What the source needs to open it; nobody else looks inside.
    pub spec: serde_json::Value,
    /// Bytes it has, where that is known: for the progress bar.
    pub bytes: Option<u64>,
    /// Whether it can be read again from a position. Standard input cannot.
    pub resumable: bool,
    /// Whether opening it once more brings again what was not acknowledged, as a broker does for a session that it keeps:
    /// then the job may try again after a fault, although no position leads back.
    #[serde(default)]
    pub redelivers: bool,
    /// Whether its reader comes by parts of it while it runs.
    #[serde(default)]
    pub parts: Parts,
    /// Whether its end is the end for this run alone, as of a table that grows: the next run of the job opens it again, at
    /// the position behind the last row. A reader that never ends is of such a split, too.
    #[serde(default)]
    pub continues: bool,
    /// Whether it is opened only when all others are done: changes of rows that the others read. There is one at most, the last.
    #[serde(default)]
    pub after_others: bool,
}

/// What a split is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Parts {
    /// It is one piece, with one checkpoint.
    #[default]
    None,
    /// Its reader names the parts, each of which has a checkpoint of its own and the split none; they are this job's.
    Owned,
    /// As `Owned`, but processes of the same job share the parts, which come and go: the partitions that a group of
    /// consumers is assigned. What the target knows of a part counts, and nothing is kept beside it.
    Shared,
}

impl Split {
    /// The one piece of a source that is not cut, and that can be read again from a position.
    pub fn whole(id: impl Into<Arc<str>>) -> Self {
        Self {
            id: id.into(),
            spec: serde_json::Value::Null,
            bytes: None,
            resumable: true,
            redelivers: false,
            parts: Parts::None,
            continues: false,
            after_others: false,
        }
    }
}

/// A place in a split where reading can go on. Only the source understands it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SplitPosition(pub serde_json::Value);

/// How far one split has come. It is stored once everything before its position has settled: by the sink in
/// the data's own transaction where it can, else by a checkpoint store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The job.
    pub job: JobId,
    /// The split.
    pub split: Arc<str>,
    /// Where to go on; `None` before the first commit.
    pub position: Option<SplitPosition>,
    /// Commits of this split so far, over all runs: the number of the next piece of output.
    pub sequence: u64,
    /// Which run of the job this is; a run with a lower number is fenced off.
    pub generation: u64,
    /// Whether the split is finished.
    pub done: bool,
}

impl Checkpoint {
    /// The checkpoint of a split that nobody has read yet.
    pub fn start(job: JobId, split: Arc<str>, generation: u64) -> Self {
        Self { job, split, position: None, sequence: 0, generation, done: false }
    }

    /// The checkpoint after one more commit.
    #[must_use]
    pub fn next(&self, position: SplitPosition, done: bool) -> Self {
        Self { position: Some(position), sequence: self.sequence + 1, done, ..self.clone() }
    }
}

/// Everything that is remembered of a job between runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobState {
    /// The job.
    pub job: JobId,
    /// The run that wrote this; each run counts one up, and fences off those before it.
    pub generation: u64,
    /// The pieces that the source was cut into.
    pub splits: Vec<Split>,
    /// How far each piece has come; a piece that is missing has not been begun.
    pub checkpoints: BTreeMap<Arc<str>, Checkpoint>,
    /// Tells apart two runs of the same number, which began in the same moment.
    #[serde(default)]
    pub run: u64,
    /// Durable bytes of the reject file when this was written.
    pub rejects_len: u64,
    /// The reject file.
    #[serde(default)]
    pub rejects_path: Option<PathBuf>,
    /// The schemas that the job's decoders have agreed on.
    #[serde(default)]
    pub schemas: Vec<SavedTable>,
}

impl JobState {
    /// The state of a job that has not begun.
    pub fn new(job: JobId) -> Self {
        Self {
            job,
            generation: 0,
            splits: Vec::new(),
            checkpoints: BTreeMap::new(),
            run: 0,
            rejects_len: 0,
            rejects_path: None,
            schemas: Vec::new(),
        }
    }
}

/// A table's columns as they are kept between runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedTable {
    table: TableId,
    /// Name, type and role, as text.
    columns: Vec<(String, String, String)>,
}

impl SavedTable {
    /// The columns of `table`.
    pub fn of(table: &TableId, schema: &Schema) -> Self {
        let text = |column: &Column| {
            (column.name().to_owned(), column.data_type().to_string(), column.role().as_str().to_owned())
        };
        Self { table: table.clone(), columns: schema.columns().iter().map(text).collect() }
    }

    /// Tells `registry` of the columns again.
    ///
    /// # Errors
    /// `Config` for a type or role that cannot be read: the state was written by a newer version.
    pub fn restore(&self, registry: &SchemaRegistry) -> Result<()> {
        for (name, data_type, role) in &self.columns {
            let column = Column::new(name.as_str(), data_type.parse()?).with_role(role.parse()?);
            registry.claim(&self.table, &column);
        }
        Ok(())
    }
}
