//! Places in the binary log.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use kwsync_core::{Error, Result, SplitPosition};
use serde::{Deserialize, Serialize};

use super::listed::Listed;
use crate::relational::changes::Place;

/// A place in the binary log behind a whole transaction, and what has to be known to read on there.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in super::super) struct BinlogPlace {
    pub(super) file: Arc<str>,
    pub(super) at: u64,
    /// The global identifiers of the last transactions before it, where the server has them.
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub(super) gtid: Arc<str>,
    /// Tables that were altered since the job began; the columns of those whose names the log does not tell.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub(super) altered: Arc<Vec<Altered>>,
}

/// A table that was altered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Altered {
    /// `DATABASE.TABLE`
    pub(super) table: String,
    /// Its columns since, where they are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) columns: Option<Vec<Listed>>,
    /// What the catalog had of it when the stream came to that, which may be later than the alteration.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) since: Vec<Listed>,
}

fn is_empty(altered: &Arc<Vec<Altered>>) -> bool {
    altered.is_empty()
}

impl BinlogPlace {
    pub(super) fn new(file: impl Into<Arc<str>>, at: u64) -> Self {
        Self { file: file.into(), at, gtid: "".into(), altered: Arc::default() }
    }

    /// Files are numbered.
    fn key(&self) -> (u64, u64) {
        let number = self.file.rsplit('.').next().and_then(|digits| digits.parse().ok());
        (number.unwrap_or(0), self.at)
    }
}

impl PartialEq for BinlogPlace {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for BinlogPlace {}

impl PartialOrd for BinlogPlace {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for BinlogPlace {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

impl fmt::Display for BinlogPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.at)
    }
}

impl Place for BinlogPlace {
    fn position(&self) -> SplitPosition {
        // Texts and numbers always become JSON.
        SplitPosition(serde_json::to_value(self).unwrap_or_default())
    }

    fn of(position: &SplitPosition) -> Result<Self> {
        serde_json::from_value(position.0.clone()).map_err(|error| {
            Error::config("the checkpoint has a position that is no place in a binary log")
                .with_source(error)
                .with_hint("it is of another source: use another --job, or --restart")
        })
    }

    fn byte(&self) -> u64 {
        self.at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_in_order_and_read_what_they_write() {
        let places =
            [("bin.000009", 900), ("bin.000010", 4), ("bin.000010", 5_000_000_000), ("bin.1000000", 4)];
        let places = places.map(|(file, at)| BinlogPlace::new(file, at));
        assert!(places.is_sorted());
        for place in &places {
            assert_eq!(BinlogPlace::of(&place.position()).unwrap(), *place);
        }
        assert!(BinlogPlace::of(&SplitPosition("16/B374D848".into())).is_err());
    }
}
