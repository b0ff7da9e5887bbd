//! What a split and a position say.

use kwsync_core::{Error, ErrorKind, Result, Split, SplitPosition, TableId};
use serde::{Deserialize, Serialize};

use super::config::MysqlSourceOptions;

/// What a split says to the source that opens it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Spec {
    /// What its rows are called.
    pub(super) table: TableId,
    /// The table with its database; none for a query.
    pub(super) asked: Option<TableId>,
    /// The columns in whose order rows come, and which tell them apart; none where there are none.
    pub(super) key: Vec<String>,
    /// Whether a unique index says that they do; if not, it is checked while it is read.
    pub(super) unique: bool,
    /// The range of it that this is.
    pub(super) range: Option<Range>,
    /// What is read of it.
    pub(super) what: What,
}

/// Rows whose `column`, an integer, is from `from` on and below `to`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Range {
    pub(super) column: String,
    pub(super) from: Option<i128>,
    pub(super) to: Option<i128>,
    /// Whether rows belong to it that have no value there.
    pub(super) nulls: bool,
}

/// The columns, condition and query, as they were asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct What {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    columns: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    condition: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    query: Option<String>,
}

impl What {
    pub(super) fn of(options: &MysqlSourceOptions) -> Self {
        Self {
            columns: options.columns.clone(),
            condition: options.condition.clone(),
            query: options.query.clone(),
        }
    }
}

impl Spec {
    /// Reads the spec of a split, and checks that the job still asks for the same.
    pub(super) fn of(split: &Split, options: &MysqlSourceOptions) -> Result<Self> {
        let spec: Self = serde_json::from_value(split.spec.clone()).map_err(|error| {
            Error::config(format!("the split `{}` of the checkpoint is not one of MySQL", split.id))
                .with_source(error)
                .with_hint("the job of this name read something else: use another --job, or --restart")
        })?;
        if spec.what != What::of(options) {
            let text = format!(
                "the job has begun to read `{}` with other columns, another condition or query",
                split.id
            );
            return Err(Error::config(text).with_hint("use another --job, or --restart"));
        }
        Ok(spec)
    }

    pub(super) fn into_split(self, id: String, bytes: Option<u64>) -> Result<Split> {
        let resumable = !self.key.is_empty();
        let spec = serde_json::to_value(self).map_err(|error| {
            Error::new(ErrorKind::Internal, "cannot write a split down").with_source(error)
        })?;
        Ok(Split { spec, bytes, resumable, ..Split::whole(id) })
    }
}

/// The key of the last row before a position, each part as SQL has it; none at the beginning.
pub(super) fn after(at: Option<&SplitPosition>) -> Result<Option<Vec<String>>> {
    match at.map(|at| &at.0) {
        None | Some(serde_json::Value::Null) => Ok(None),
        Some(value) => serde_json::from_value(value.clone()).map(Some).map_err(|error| {
            Error::config("the checkpoint has a position of another source")
                .with_source(error)
                .with_hint("use another --job, or --restart")
        }),
    }
}
