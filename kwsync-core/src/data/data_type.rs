//! The types of columns: everything that PostgreSQL and KWDB have.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::{Error, Result};

/// The unit of a time or timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TimeUnit {
    /// Seconds.
    Second,
    /// Milliseconds.
    Millisecond,
    /// Microseconds.
    Microsecond,
    /// Nanoseconds.
    Nanosecond,
}

impl TimeUnit {
    /// Nanoseconds in one unit.
    pub fn nanos(self) -> i64 {
        match self {
            Self::Second => 1_000_000_000,
            Self::Millisecond => 1_000_000,
            Self::Microsecond => 1_000,
            Self::Nanosecond => 1,
        }
    }

    /// `s`, `ms`, `us` or `ns`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Second => "s",
            Self::Millisecond => "ms",
            Self::Microsecond => "us",
            Self::Nanosecond => "ns",
        }
    }
}

impl FromStr for TimeUnit {
    type Err = Error;

    /// Takes `s`, `ms`, `us`, `ns`, or the number of digits behind the point: 0, 3, 6, 9.
    fn from_str(text: &str) -> Result<Self> {
        match text {
            "s" | "0" => Ok(Self::Second),
            "ms" | "3" => Ok(Self::Millisecond),
            "us" | "u" | "6" => Ok(Self::Microsecond),
            "ns" | "n" | "9" => Ok(Self::Nanosecond),
            _ => Err(Error::config(format!("{text:?} is no precision")).with_hint("use s, ms, us or ns")),
        }
    }
}

/// The logical type of a column. How the values lie in memory (plain, view or dictionary) is not part of it.
///
/// `Display` and `FromStr` use one text form: `i64`, `numeric(10,2)`, `varchar(20)`, `timestamptz(us)`,
/// `i32[]`; `FromStr` also takes the usual SQL names (`bigint`, `double precision`, `bytea` ...).
///
/// # Examples
/// ```
/// use kwsync_core::DataType;
///
/// let t: DataType = "varchar(20)".parse()?;
/// assert_eq!(t, DataType::VarChar(Some(20)));
/// assert_eq!("bigint".parse::<DataType>()?.to_string(), "i64");
/// # Ok::<(), kwsync_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum DataType {
    /// True or false.
    Bool,
    /// Signed 8-bit integer.
    Int8,
    /// Signed 16-bit integer.
    Int16,
    /// Signed 32-bit integer.
    Int32,
    /// Signed 64-bit integer.
    Int64,
    /// Unsigned 8-bit integer.
    UInt8,
    /// Unsigned 16-bit integer.
    UInt16,
    /// Unsigned 32-bit integer.
    UInt32,
    /// Unsigned 64-bit integer.
    UInt64,
    /// IEEE 754 single precision.
    Float32,
    /// IEEE 754 double precision.
    Float64,
    /// Exact decimal: digits in all and digits behind the point; `None` is a numeric without bounds.
    Numeric(Option<(u16, i16)>),
    /// PostgreSQL's money, with two digits behind the point.
    Money,
    /// Text of fixed length, in characters (KWDB: bytes), padded with blanks.
    Char(u32),
    /// Text of bounded length.
    VarChar(Option<u32>),
    /// KWDB's NCHAR, in characters.
    NChar(u32),
    /// KWDB's NVARCHAR, in characters.
    NVarChar(Option<u32>),
    /// Text without a bound.
    Text,
    /// Bytes (bytea).
    Bytes,
    /// KWDB's VARBYTES, in bytes.
    VarBytes(Option<u32>),
    /// Days since 1970-01-01.
    Date,
    /// Time of day.
    Time(TimeUnit),
    /// Time of day with its own offset, as text: `12:30:00+02`.
    TimeTz,
    /// A point in local time, from 1970-01-01 00:00.
    Timestamp(TimeUnit),
    /// A point in time, from 1970-01-01 00:00 UTC.
    TimestampTz(TimeUnit),
    /// Months, days and nanoseconds.
    Interval,
    /// JSON text, kept as it is.
    Json,
    /// JSON that the database normalises.
    Jsonb,
    /// A UUID: 16 bytes.
    Uuid,
    /// A host address with an optional netmask, as text.
    Inet,
    /// A network address, as text.
    Cidr,
    /// A MAC address of 6 bytes, as text.
    MacAddr,
    /// A MAC address of 8 bytes, as text.
    MacAddr8,
    /// A bit string of fixed length, as text of `0` and `1`.
    Bit(u32),
    /// A bit string of bounded length, as text of `0` and `1`.
    VarBit(Option<u32>),
    /// XML text.
    Xml,
    /// A shape as WKT text.
    Geometry,
    /// A list of one element type; an element may be null. Lists of lists are `T[][]`.
    Array(Box<Self>),
    /// A type known only by its name (enums, composites, ranges), carried as the database's text.
    Other(Arc<str>),
}

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bounded = |f: &mut fmt::Formatter<'_>, name: &str, length: &Option<u32>| match length {
            Some(length) => write!(f, "{name}({length})"),
            None => f.write_str(name),
        };
        match self {
            Self::Bool => f.write_str("bool"),
            Self::Int8 => f.write_str("i8"),
            Self::Int16 => f.write_str("i16"),
            Self::Int32 => f.write_str("i32"),
            Self::Int64 => f.write_str("i64"),
            Self::UInt8 => f.write_str("u8"),
            Self::UInt16 => f.write_str("u16"),
            Self::UInt32 => f.write_str("u32"),
            Self::UInt64 => f.write_str("u64"),
            Self::Float32 => f.write_str("f32"),
            Self::Float64 => f.write_str("f64"),
            Self::Numeric(None) => f.write_str("numeric"),
            Self::Numeric(Some((precision, scale))) => write!(f, "numeric({precision},{scale})"),
            Self::Money => f.write_str("money"),
            Self::Char(length) => write!(f, "char({length})"),
            Self::VarChar(length) => bounded(f, "varchar", length),
            Self::NChar(length) => write!(f, "nchar({length})"),
            Self::NVarChar(length) => bounded(f, "nvarchar", length),
            Self::Text => f.write_str("text"),
            Self::Bytes => f.write_str("bytes"),
            Self::VarBytes(length) => bounded(f, "varbytes", length),
            Self::Date => f.write_str("date"),
            Self::Time(unit) => write!(f, "time({})", unit.as_str()),
            Self::TimeTz => f.write_str("timetz"),
            Self::Timestamp(unit) => write!(f, "timestamp({})", unit.as_str()),
            Self::TimestampTz(unit) => write!(f, "timestamptz({})", unit.as_str()),
            Self::Interval => f.write_str("interval"),
            Self::Json => f.write_str("json"),
            Self::Jsonb => f.write_str("jsonb"),
            Self::Uuid => f.write_str("uuid"),
            Self::Inet => f.write_str("inet"),
            Self::Cidr => f.write_str("cidr"),
            Self::MacAddr => f.write_str("macaddr"),
            Self::MacAddr8 => f.write_str("macaddr8"),
            Self::Bit(length) => write!(f, "bit({length})"),
            Self::VarBit(length) => bounded(f, "varbit", length),
            Self::Xml => f.write_str("xml"),
            Self::Geometry => f.write_str("geometry"),
            Self::Array(item) => write!(f, "{item}[]"),
            Self::Other(name) => write!(f, "other:{name}"),
        }
    }
}

impl FromStr for DataType {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        parse(text.trim()).ok_or_else(|| {
            Error::config(format!("{text:?} is no column type")).with_hint(
                "examples: bool, i32, bigint, f64, numeric(10,2), varchar(20), timestamptz(us), i64[]",
            )
        })
    }
}

fn parse(text: &str) -> Option<DataType> {
    if let Some(item) = text.strip_suffix("[]") {
        return parse(item.trim_end()).map(|item| DataType::Array(Box::new(item)));
    }
    if let Some(name) = text.strip_prefix("other:") {
        return Some(DataType::Other(name.into()));
    }
    let lower = text.to_ascii_lowercase();
    let (name, arguments) = match lower.split_once('(') {
        Some((name, rest)) => (name.trim(), Some(rest.strip_suffix(')')?.trim())),
        None => (lower.as_str(), None),
    };
    let length = match arguments {
        Some(text) => text.parse::<u32>().ok().filter(|length| *length > 0),
        None => None,
    };
    // A length that is written must be a number.
    let bound = |make: fn(Option<u32>) -> DataType| match (arguments, length) {
        (Some(_), None) => None,
        (_, length) => Some(make(length)),
    };
    let unit = |default: TimeUnit| match arguments {
        Some(text) => text.parse().ok(),
        None => Some(default),
    };
    let plain = |data_type: DataType| arguments.is_none().then_some(data_type);
    match name {
        "bool" | "boolean" => plain(DataType::Bool),
        "i8" | "int1" | "tinyint" => plain(DataType::Int8),
        "i16" | "int2" | "smallint" => plain(DataType::Int16),
        "i32" | "int4" | "int" | "integer" => plain(DataType::Int32),
        "i64" | "int8" | "int64" | "bigint" => plain(DataType::Int64),
        "u8" => plain(DataType::UInt8),
        "u16" => plain(DataType::UInt16),
        "u32" => plain(DataType::UInt32),
        "u64" => plain(DataType::UInt64),
        "f32" | "float4" | "real" => plain(DataType::Float32),
        "f64" | "float8" | "float" | "double" | "double precision" => plain(DataType::Float64),
        "numeric" | "decimal" => match arguments {
            None => Some(DataType::Numeric(None)),
            Some(text) => {
                let (precision, scale) = text.split_once(',').unwrap_or((text, "0"));
                Some(DataType::Numeric(Some((precision.trim().parse().ok()?, scale.trim().parse().ok()?))))
            }
        },
        "money" => plain(DataType::Money),
        "char" | "character" | "bpchar" => bound(|length| DataType::Char(length.unwrap_or(1))),
        "varchar" | "character varying" => bound(DataType::VarChar),
        "nchar" => bound(|length| DataType::NChar(length.unwrap_or(1))),
        "nvarchar" => bound(DataType::NVarChar),
        "text" | "string" => plain(DataType::Text),
        "bytes" | "bytea" | "blob" => plain(DataType::Bytes),
        "varbytes" => bound(DataType::VarBytes),
        "date" => plain(DataType::Date),
        "time" => unit(TimeUnit::Microsecond).map(DataType::Time),
        "timetz" => plain(DataType::TimeTz),
        "timestamp" => unit(TimeUnit::Microsecond).map(DataType::Timestamp),
        "timestamptz" => unit(TimeUnit::Microsecond).map(DataType::TimestampTz),
        "interval" => plain(DataType::Interval),
        "json" => plain(DataType::Json),
        "jsonb" => plain(DataType::Jsonb),
        "uuid" => plain(DataType::Uuid),
        "inet" => plain(DataType::Inet),
        "cidr" => plain(DataType::Cidr),
        "macaddr" => plain(DataType::MacAddr),
        "macaddr8" => plain(DataType::MacAddr8),
        "bit" => bound(|length| DataType::Bit(length.unwrap_or(1))),
        "varbit" | "bit varying" => bound(DataType::VarBit),
        "xml" => plain(DataType::Xml),
        "geometry" => plain(DataType::Geometry),
        _ => None,
    }
}
