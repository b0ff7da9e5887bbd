//! The types of columns and tags of time series.

use std::fmt;
use std::str::FromStr;

use kwsync_core::{DataType, Error, Result, TimeUnit};

/// The type of a column or tag of a table of time series, as KWDB's catalog writes it.
///
/// # Examples
/// ```
/// use kwsync_formats::kwdb::SeriesType;
/// assert_eq!("VARCHAR(50)".parse::<SeriesType>()?, SeriesType::VarChar(50));
/// assert_eq!("TIMESTAMPTZ".parse::<SeriesType>()?.to_string(), "TIMESTAMPTZ(3)");
/// # Ok::<(), kwsync_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SeriesType {
    /// TIMESTAMP or TIMESTAMPTZ, with 3, 6 or 9 digits; and whether it is a point in time
    Timestamp(TimeUnit, bool),
    /// INT2
    Int2,
    /// INT4
    Int4,
    /// INT8
    Int8,
    /// FLOAT4
    Float4,
    /// FLOAT8
    Float8,
    /// BOOL
    Bool,
    /// CHAR of so many bytes
    Char(u32),
    /// VARCHAR of so many bytes
    VarChar(u32),
    /// NCHAR of so many characters
    NChar(u32),
    /// NVARCHAR of so many characters
    NVarChar(u32),
    /// VARBYTES of so many bytes
    VarBytes(u32),
    /// GEOMETRY
    Geometry,
}

impl FromStr for SeriesType {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let upper = text.trim().to_ascii_uppercase();
        let (name, rest) = upper.split_once('(').unwrap_or((&upper, ""));
        let number = rest.split(')').next().and_then(|digits| digits.trim().parse::<u32>().ok());
        let unit = match number {
            None | Some(3) => Some(TimeUnit::Millisecond),
            Some(6) => Some(TimeUnit::Microsecond),
            Some(9) => Some(TimeUnit::Nanosecond),
            Some(_) => None,
        };
        Ok(match (name.trim(), unit) {
            ("TIMESTAMP" | "TIMESTAMP WITHOUT TIME ZONE", Some(unit)) => Self::Timestamp(unit, false),
            ("TIMESTAMPTZ" | "TIMESTAMP WITH TIME ZONE", Some(unit)) => Self::Timestamp(unit, true),
            ("INT2" | "SMALLINT", _) => Self::Int2,
            ("INT4" | "INT" | "INTEGER", _) => Self::Int4,
            ("INT8" | "BIGINT" | "INT64", _) => Self::Int8,
            ("FLOAT4" | "REAL", _) => Self::Float4,
            ("FLOAT8" | "FLOAT" | "DOUBLE" | "DOUBLE PRECISION", _) => Self::Float8,
            ("BOOL" | "BOOLEAN", _) => Self::Bool,
            ("CHAR", _) => Self::Char(number.unwrap_or(1)),
            ("NCHAR", _) => Self::NChar(number.unwrap_or(1)),
            ("VARCHAR", _) => Self::VarChar(number.unwrap_or(254)),
            ("NVARCHAR", _) => Self::NVarChar(number.unwrap_or(63)),
            ("VARBYTES", _) => Self::VarBytes(number.unwrap_or(254)),
            ("GEOMETRY", _) => Self::Geometry,
            _ => return Err(Error::config(format!("{text:?} is no type of KWDB's time series"))),
        })
    }
}

impl fmt::Display for SeriesType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = |unit: &TimeUnit| match unit {
            TimeUnit::Nanosecond => 9,
            TimeUnit::Microsecond => 6,
            TimeUnit::Second | TimeUnit::Millisecond => 3,
        };
        match self {
            Self::Timestamp(unit, false) => write!(f, "TIMESTAMP({})", digits(unit)),
            Self::Timestamp(unit, true) => write!(f, "TIMESTAMPTZ({})", digits(unit)),
            Self::Int2 => f.write_str("INT2"),
            Self::Int4 => f.write_str("INT4"),
            Self::Int8 => f.write_str("INT8"),
            Self::Float4 => f.write_str("FLOAT4"),
            Self::Float8 => f.write_str("FLOAT8"),
            Self::Bool => f.write_str("BOOL"),
            Self::Char(length) => write!(f, "CHAR({length})"),
            Self::VarChar(length) => write!(f, "VARCHAR({length})"),
            Self::NChar(length) => write!(f, "NCHAR({length})"),
            Self::NVarChar(length) => write!(f, "NVARCHAR({length})"),
            Self::VarBytes(length) => write!(f, "VARBYTES({length})"),
            Self::Geometry => f.write_str("GEOMETRY"),
        }
    }
}

impl SeriesType {
    /// Whether values of `from` can go into such a column; `Err` says what helps.
    pub(super) fn takes(self, from: &DataType) -> std::result::Result<(), &'static str> {
        use DataType as T;
        let integer = matches!(
            from,
            T::Int8 | T::Int16 | T::Int32 | T::Int64 | T::UInt8 | T::UInt16 | T::UInt32 | T::UInt64
        );
        let text = from.to_arrow() == T::Text.to_arrow();
        match self {
            Self::Timestamp(..) if matches!(from, T::Timestamp(_) | T::TimestampTz(_)) => Ok(()),
            Self::Int2 | Self::Int4 | Self::Int8 if integer => Ok(()),
            Self::Float4 | Self::Float8 if integer || matches!(from, T::Float32 | T::Float64) => Ok(()),
            Self::Bool if *from == T::Bool => Ok(()),
            Self::Char(_) | Self::VarChar(_) | Self::NChar(_) | Self::NVarChar(_) | Self::Geometry
                if text =>
            {
                Ok(())
            }
            Self::VarBytes(_) if text || matches!(from, T::Bytes | T::VarBytes(_) | T::Uuid) => Ok(()),
            Self::Timestamp(..) => Err("cast the column to a timestamp before, by a transform"),
            Self::Char(_) | Self::VarChar(_) | Self::NChar(_) | Self::NVarChar(_) | Self::Geometry => {
                Err("cast the column to text before, by a transform")
            }
            _ => Err("cast the column before, by a transform"),
        }
    }
}
