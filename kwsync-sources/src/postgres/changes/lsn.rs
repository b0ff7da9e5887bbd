//! Places in the server's log.

use std::fmt;
use std::str::FromStr;

use kwsync_core::{Error, Result, SplitPosition};
use serde::{Deserialize, Serialize};

use crate::relational::changes::Place;

/// A place in the write-ahead log, written as the server does: `16/B374D848`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub(in super::super) struct Lsn(pub(super) u64);

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xffff_ffff)
    }
}

impl FromStr for Lsn {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parsed = || {
            let (high, low) = text.split_once('/')?;
            let part = |text: &str| u32::from_str_radix(text, 16).ok();
            Some(Self(u64::from(part(high)?) << 32 | u64::from(part(low)?)))
        };
        parsed().ok_or_else(|| {
            Error::config(format!("{text:?} is no place in a log of PostgreSQL"))
                .with_hint("the checkpoint is of another source: use another --job, or --restart")
        })
    }
}

impl From<Lsn> for String {
    fn from(lsn: Lsn) -> Self {
        lsn.to_string()
    }
}

impl TryFrom<String> for Lsn {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl Place for Lsn {
    fn position(&self) -> SplitPosition {
        SplitPosition(self.to_string().into())
    }

    fn of(position: &SplitPosition) -> Result<Self> {
        position.0.as_str().unwrap_or_default().parse()
    }

    fn byte(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_prints() {
        for text in ["0/0", "16/B374D848", "FFFFFFFF/1"] {
            assert_eq!(text.parse::<Lsn>().unwrap().to_string(), text);
        }
        assert!("16-1".parse::<Lsn>().is_err() && "1/FFFFFFFFF".parse::<Lsn>().is_err());
    }
}
