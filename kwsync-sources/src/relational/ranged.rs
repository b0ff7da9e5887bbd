//! What a split and a position say, of sources that cut by ranges of an integer and read in the order of a key.

use kwsync_core::{Error, ErrorKind, Result, Split, SplitPosition, TableId};
use serde::{Deserialize, Serialize};

use super::ranges::even;

/// What a split says to the source that opens it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Spec {
    /// What its rows are called.
    pub(crate) table: TableId,
    /// The table with its database; none for a query.
    pub(crate) asked: Option<TableId>,
    /// The columns in whose order rows come, and which tell them apart; none where there are none.
    pub(crate) key: Vec<String>,
    /// Whether a unique index says that they do; if not, it is checked while it is read.
    pub(crate) unique: bool,
    /// The range of it that this is.
    pub(crate) range: Option<Range>,
    /// What is read of it.
    pub(crate) what: What,
}

/// Rows whose `column`, an integer, is from `from` on and below `to`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Range {
    pub(crate) column: String,
    pub(crate) from: Option<i128>,
    pub(crate) to: Option<i128>,
    /// Whether rows belong to it that have no value there.
    pub(crate) nulls: bool,
}

/// The columns, condition and query, as they were asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct What {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    columns: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    condition: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    query: Option<String>,
}

impl What {
    pub(crate) fn new(columns: &[String], condition: Option<&str>, query: Option<&str>) -> Self {
        Self {
            columns: columns.to_vec(),
            condition: condition.map(str::to_owned),
            query: query.map(str::to_owned),
        }
    }
}

impl Spec {
    /// Reads the spec of a split of a source, and checks that the job still asks for the same.
    pub(crate) fn of(split: &Split, source: &str, what: &What) -> Result<Self> {
        let spec: Self = serde_json::from_value(split.spec.clone()).map_err(|error| {
            Error::config(format!("the split `{}` of the checkpoint is not one of {source}", split.id))
                .with_source(error)
                .with_hint("the job of this name read something else: use another --job, or --restart")
        })?;
        if spec.what != *what {
            let text = format!(
                "the job has begun to read `{}` with other columns, another condition or query",
                split.id
            );
            return Err(Error::config(text).with_hint("use another --job, or --restart"));
        }
        Ok(spec)
    }

    pub(crate) fn into_split(self, id: String, bytes: Option<u64>) -> Result<Split> {
        let resumable = !self.key.is_empty();
        let spec = serde_json::to_value(self).map_err(|error| {
            Error::new(ErrorKind::Internal, "cannot write a split down").with_source(error)
        })?;
        Ok(Split { spec, bytes, resumable, ..Split::whole(id) })
    }
}

/// Ranges of `column` of equal width, from `min` to `max`, open at both ends of the whole; the last has the nulls.
pub(crate) fn cut_evenly(
    column: &str,
    min: i128,
    max: i128,
    pieces: usize,
    nulls: bool,
) -> Vec<Option<Range>> {
    let bounds = even(min, max, pieces);
    if bounds.is_empty() {
        return vec![None];
    }
    let mut start = None;
    bounds
        .into_iter()
        .map(Some)
        .chain([None])
        .map(|to| {
            let from = std::mem::replace(&mut start, to);
            Some(Range { column: column.to_owned(), from, to, nulls: nulls && to.is_none() })
        })
        .collect()
}

/// The key of the last row before a position, each part as SQL has it; none at the beginning.
pub(crate) fn after(at: Option<&SplitPosition>) -> Result<Option<Vec<String>>> {
    match at.map(|at| &at.0) {
        None | Some(serde_json::Value::Null) => Ok(None),
        Some(value) => serde_json::from_value(value.clone()).map(Some).map_err(|error| {
            Error::config("the checkpoint has a position of another source")
                .with_source(error)
                .with_hint("use another --job, or --restart")
        }),
    }
}
