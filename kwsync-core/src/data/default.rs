//! What a server fills in where a row leaves a column out.

use std::str::FromStr;
use std::sync::Arc;

use crate::{Error, Result};

/// What a server fills in where a row leaves a column out. It is written down with the column so that a table that is made
/// can have the same; no row of a batch is changed by it.
///
/// # Examples
/// ```
/// use kwsync_core::{Column, ColumnDefault, DataType};
///
/// let count = Column::new("count", DataType::Int32).with_default(ColumnDefault::Value("0".into()));
/// assert_eq!(count.default().map(ToString::to_string).as_deref(), Some("=0"));
/// // Of another type it would be another column.
/// assert_eq!(count.with_data_type(DataType::Date).default(), None);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ColumnDefault {
    /// A value, as text that the server reads for the column's type; bytes as `\x00ff`, bits as `0101`.
    Value(Arc<str>),
    /// The time at which the row is written.
    Now,
    /// Numbers that count on: AUTO_INCREMENT, serial, identity.
    Identity,
}

impl std::fmt::Display for ColumnDefault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Value(text) => write!(f, "={text}"),
            Self::Now => f.write_str("now"),
            Self::Identity => f.write_str("identity"),
        }
    }
}

impl FromStr for ColumnDefault {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match (text, text.strip_prefix('=')) {
            (_, Some(value)) => Ok(Self::Value(value.into())),
            ("now", _) => Ok(Self::Now),
            ("identity", _) => Ok(Self::Identity),
            _ => Err(Error::config(format!("{text:?} is no default of a column"))
                .with_hint("it is =VALUE, now or identity")),
        }
    }
}
