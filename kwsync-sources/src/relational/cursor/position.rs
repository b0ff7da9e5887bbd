//! What the splits and positions of a cursor say.

use std::collections::{BTreeMap, BTreeSet};

use kwsync_core::{Error, ErrorKind, Result, Split, SplitPosition, TableId};
use serde::{Deserialize, Serialize};

/// What a split says to the source that opens it. Values are written as digits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CursorSpec {
    /// The one table that is read; none for all that the job asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) table: Option<TableId>,
    /// The moment from which on a table is read, in nanoseconds: as a point in time, and as the server's local time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) since: Option<(String, String)>,
    /// The greatest values that tables with a cursor of integers had when the job began.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) behind: BTreeMap<String, String>,
    /// The values that belong to it: from the first on, below the second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) range: Option<(Option<String>, Option<String>)>,
    /// Which of all tables are its own, where there are several such splits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) share: Option<Share>,
    /// What is read, as the source writes it down.
    pub(crate) cursor: serde_json::Value,
}

/// Tables dealt out to splits that never end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Share {
    /// Which split this is, from 0, and how many there are.
    pub(crate) index: usize,
    pub(crate) of: usize,
    /// The tables that were there at the beginning, which are dealt in turn.
    pub(crate) dealt: Vec<String>,
}

impl Share {
    /// Whether a table belongs to the split. One that was not there at the beginning goes by its name.
    pub(crate) fn has(&self, table: &str) -> bool {
        let at = self.dealt.iter().position(|name| name == table).unwrap_or_else(|| {
            // FNV-1a: every process and version must come to the same.
            table
                .bytes()
                .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
                as usize
        });
        at % self.of.max(1) == self.index
    }
}

impl CursorSpec {
    /// Reads the spec of a split, and checks that the job still asks for the same.
    pub(crate) fn of(split: &Split, cursor: &serde_json::Value) -> Result<Self> {
        let wrong = || {
            let text = format!("the job has begun to read `{}` in another way: {}", split.id, split.spec);
            Error::config(text).with_hint("use another --job, or --restart")
        };
        let spec: Self =
            serde_json::from_value(split.spec.clone()).map_err(|error| wrong().with_source(error))?;
        if spec.cursor == *cursor { Ok(spec) } else { Err(wrong()) }
    }

    /// The split; one that `continues` is read on by later runs.
    pub(crate) fn into_split(self, id: String, continues: bool) -> Result<Split> {
        let spec = serde_json::to_value(self).map_err(internal)?;
        Ok(Split { spec, continues, ..Split::whole(id) })
    }
}

fn internal(error: serde_json::Error) -> Error {
    Error::new(ErrorKind::Internal, "cannot write a cursor down").with_source(error)
}

/// How far one table has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct At {
    /// What its values are.
    pub(super) kind: String,
    /// The last value of which every row that was there has been given.
    pub(super) value: Option<i128>,
    /// The digests of the rows from the overlap on, by value; none where rows are not remembered.
    pub(super) seen: Option<BTreeMap<i128, Vec<u128>>>,
    /// The digests of what was refused when this was last read, so that it is not told again.
    pub(super) refused: BTreeSet<u128>,
}

impl At {
    pub(super) fn remembered(&self) -> usize {
        self.seen.as_ref().map_or(0, |seen| seen.values().map(Vec::len).sum())
    }
}

/// How far all tables of a split have come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) tables: BTreeMap<String, At>,
}

#[derive(Serialize, Deserialize)]
struct Written {
    kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seen: Option<BTreeMap<String, Vec<String>>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    refused: Vec<String>,
}

impl Position {
    pub(super) fn of(at: Option<&SplitPosition>) -> Result<Self> {
        let json = match at.map(|at| &at.0) {
            None | Some(serde_json::Value::Null) => return Ok(Self::default()),
            Some(json) => json,
        };
        let wrong = || {
            Error::config("the checkpoint has a position of another source")
                .with_hint("use another --job, or --restart")
        };
        let written: BTreeMap<String, Written> =
            serde_json::from_value(json.clone()).map_err(|error| wrong().with_source(error))?;
        let number = |text: &String| text.parse::<i128>().map_err(|_| wrong());
        let digest = |text: &String| u128::from_str_radix(text, 16).map_err(|_| wrong());
        let mut tables = BTreeMap::new();
        for (name, one) in written {
            let seen = one.seen.map(|seen| {
                seen.iter()
                    .map(|(value, rows)| {
                        Ok((number(value)?, rows.iter().map(digest).collect::<Result<_>>()?))
                    })
                    .collect::<Result<_>>()
            });
            let at = At {
                kind: one.kind,
                value: one.value.as_ref().map(number).transpose()?,
                seen: seen.transpose()?,
                refused: one.refused.iter().map(digest).collect::<Result<_>>()?,
            };
            tables.insert(name, at);
        }
        Ok(Self { tables })
    }

    pub(super) fn written(&self) -> Result<SplitPosition> {
        let digest = |digest: &u128| format!("{digest:032x}");
        let one = |at: &At| Written {
            kind: at.kind.clone(),
            value: at.value.map(|value| value.to_string()),
            seen: at.seen.as_ref().map(|seen| {
                seen.iter()
                    .map(|(value, rows)| (value.to_string(), rows.iter().map(digest).collect()))
                    .collect()
            }),
            refused: at.refused.iter().map(digest).collect(),
        };
        let written: BTreeMap<&str, Written> =
            self.tables.iter().map(|(name, at)| (name.as_str(), one(at))).collect();
        serde_json::to_value(written).map(SplitPosition).map_err(internal)
    }
}
