//! What happens to a refused record, and how many may be.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::config::Dsn;
use crate::{Error, ErrorKind, Result};

/// What to do with a record that cannot be loaded. Faults of the system are never treated this way.
///
/// # Examples
/// ```
/// use kwsync_core::ErrorPolicy;
///
/// let policy: ErrorPolicy = "reject:kafka://me:secret@broker:9092/dead-letters".parse()?;
/// assert_eq!(policy.to_string(), "reject:kafka://me:***@broker:9092/dead-letters");
/// assert_eq!("reject:bad.jsonl".parse::<ErrorPolicy>()?, ErrorPolicy::Reject("bad.jsonl".into()));
/// # Ok::<(), kwsync_core::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ErrorPolicy {
    /// Stop at the first one.
    #[default]
    Fail,
    /// Count it and go on.
    Skip,
    /// Write it to this file and go on.
    Reject(PathBuf),
    /// Send it to this address, as a topic of dead letters, and go on.
    DeadLetters(Box<Dsn>),
}

impl FromStr for ErrorPolicy {
    type Err = Error;

    /// Takes `fail`, `skip`, `reject:PATH` or `reject:ADDRESS`; an address has `://` in it.
    fn from_str(text: &str) -> Result<Self> {
        match text {
            "fail" => Ok(Self::Fail),
            "skip" => Ok(Self::Skip),
            _ => match text.strip_prefix("reject:") {
                Some(place) if is_address(place) => {
                    let dsn: Dsn = place.parse()?;
                    match dsn.driver() {
                        "file" => dsn.path().map(|path| Self::Reject(path.into())),
                        _ => Ok(Self::DeadLetters(Box::new(dsn))),
                    }
                }
                Some(path) if !path.is_empty() => Ok(Self::Reject(path.into())),
                _ => Err(Error::config(format!("{text:?} is no way to treat errors"))
                    .with_hint("use fail, skip, reject:PATH or reject:kafka://BROKER:9092/TOPIC")),
            },
        }
    }
}

/// Whether a place is an address rather than a path: `SCHEME://...`.
fn is_address(place: &str) -> bool {
    place.split_once("://").is_some_and(|(scheme, _)| {
        !scheme.is_empty()
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
    })
}

impl fmt::Display for ErrorPolicy {
    /// Without secrets; [`String::from`] keeps them, so that what was written can be read again.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fail => f.write_str("fail"),
            Self::Skip => f.write_str("skip"),
            Self::Reject(path) => write!(f, "reject:{}", path.display()),
            Self::DeadLetters(dsn) => write!(f, "reject:{dsn}"),
        }
    }
}

impl TryFrom<String> for ErrorPolicy {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<ErrorPolicy> for String {
    fn from(policy: ErrorPolicy) -> Self {
        match policy {
            ErrorPolicy::DeadLetters(dsn) => format!("reject:{}", dsn.to_string_with_secrets()),
            _ => policy.to_string(),
        }
    }
}

/// How many records may be refused before a job stops.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Budget {
    /// Any number.
    #[default]
    Unlimited,
    /// At most this many; one more stops the job.
    Count(u64),
    /// At most this share of the records, in percent, judged from the 1,000th record on and at the end.
    Percent(f64),
}

impl Budget {
    /// Records that must have been read before a percentage means anything.
    pub const SAMPLE: u64 = 1_000;

    /// Whether `rejected` of `records` is still allowed; `finished` when no more records come.
    ///
    /// # Errors
    /// `Budget`, with both numbers.
    pub fn check(&self, rejected: u64, records: u64, finished: bool) -> Result<()> {
        let exceeded = match *self {
            Self::Unlimited => false,
            Self::Count(limit) => rejected > limit,
            Self::Percent(limit) => {
                (finished || records >= Self::SAMPLE)
                    && rejected as f64 * 100.0 > limit * records.max(1) as f64
            }
        };
        if !exceeded {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Budget,
            format!("{rejected} of {records} records rejected, {self} allowed"),
        )
        .with_hint("look at the rejects, mend the input or raise --max-errors, then run again: it resumes"))
    }
}

/// What the pipelines before this one have counted, where several share one budget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Earlier {
    /// Records that they have read.
    pub records: u64,
    /// Records of these that were refused.
    pub rejected: u64,
    /// Whether more pipelines follow: a share is judged at the end of the last one then.
    pub more_follow: bool,
}

impl FromStr for Budget {
    type Err = Error;

    /// Takes a number, or a percentage such as `0.5%`.
    fn from_str(text: &str) -> Result<Self> {
        let fault = || {
            Error::config(format!("{text:?} is no number of errors"))
                .with_hint("use a number, or a share such as 0.5%")
        };
        match text.strip_suffix('%') {
            Some(share) => match share.trim().parse::<f64>() {
                Ok(share) if (0.0..=100.0).contains(&share) => Ok(Self::Percent(share)),
                _ => Err(fault()),
            },
            None => text.parse().map(Self::Count).map_err(|_| fault()),
        }
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unlimited => f.write_str("unlimited"),
            Self::Count(limit) => write!(f, "{limit}"),
            Self::Percent(limit) => write!(f, "{limit}%"),
        }
    }
}

impl TryFrom<String> for Budget {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        if text == "unlimited" { Ok(Self::Unlimited) } else { text.parse() }
    }
}

impl From<Budget> for String {
    fn from(budget: Budget) -> Self {
        budget.to_string()
    }
}
