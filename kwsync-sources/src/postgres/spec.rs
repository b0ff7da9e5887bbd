//! What a split and a position say.

use kwsync_core::{Error, Result, Split, SplitPosition, TableId};
use serde::{Deserialize, Serialize};

use super::config::PostgresSourceOptions;

/// What a split says to the source that opens it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Spec {
    /// What its rows are called.
    pub(super) table: TableId,
    /// The table that was asked for; none for a query.
    pub(super) asked: Option<TableId>,
    /// The table that the rows lie in: the one asked for, or a partition of it.
    pub(super) stored: Option<TableId>,
    /// How its rows are told apart, so that reading can go on behind one of them.
    pub(super) order: Order,
    /// The range of it that this is.
    pub(super) range: Option<Range>,
    /// What is read of it.
    pub(super) what: What,
    /// The moment at which it was cut.
    pub(super) taken: Taken,
}

/// By what reading goes on behind a row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Order {
    /// By a column whose values are distinct, and its type.
    Key {
        column: String,
        data_type: String,
        /// Whether a unique index says so; if not, it is checked while it is read.
        unique: bool,
    },
    /// By the place of a row in its table.
    Ctid,
    /// By nothing.
    None,
}

/// Rows whose `column` is from `from` on and below `to`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Range {
    pub(super) column: String,
    pub(super) data_type: String,
    pub(super) from: Option<String>,
    pub(super) to: Option<String>,
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

/// What tells whether the rows of a table still lie where they lay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Taken {
    /// The snapshot; the empty text where there is none that sessions share.
    pub(super) snapshot: String,
    /// The oldest transaction that had not ended.
    pub(super) xmin: String,
    /// The file that held the rows.
    pub(super) file: u64,
}

impl What {
    pub(super) fn of(options: &PostgresSourceOptions) -> Self {
        Self {
            columns: options.columns.clone(),
            condition: options.condition.clone(),
            query: options.query.clone(),
        }
    }
}

impl Spec {
    /// Reads the spec of a split, and checks that the job still asks for the same.
    pub(super) fn of(split: &Split, options: &PostgresSourceOptions) -> Result<Self> {
        let spec: Self = serde_json::from_value(split.spec.clone()).map_err(|error| {
            Error::config(format!("the split `{}` of the checkpoint is not one of PostgreSQL", split.id))
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
        let resumable = self.order != Order::None;
        let spec = serde_json::to_value(self).map_err(|error| {
            Error::new(kwsync_core::ErrorKind::Internal, "cannot write a split down").with_source(error)
        })?;
        Ok(Split { spec, bytes, resumable, ..Split::whole(id) })
    }
}

/// The key or place of the last row before a position; none at the beginning.
pub(super) fn after(at: Option<&SplitPosition>) -> Result<Option<String>> {
    match at.map(|at| &at.0) {
        None | Some(serde_json::Value::Null) => Ok(None),
        Some(serde_json::Value::String(text)) => Ok(Some(text.clone())),
        Some(other) => {
            Err(Error::config(format!("the checkpoint has a position of another source: {other}"))
                .with_hint("use another --job, or --restart"))
        }
    }
}
