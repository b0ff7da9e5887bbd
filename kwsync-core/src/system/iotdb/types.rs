//! Types of series.

use crate::{DataType, TimeUnit};

/// The type of a series, as IoTDB has them.
///
/// | IoTDB | here | from |
/// |---|---|---|
/// | BOOLEAN | `bool` | `bool` |
/// | INT32 | `i32` | `i8`, `i16`, `i32`, `u8`, `u16` |
/// | INT64 | `i64` | `i64`, `u32`, `u64` as far as it reaches |
/// | FLOAT, DOUBLE | `f32`, `f64` | the same |
/// | TEXT | `text` | text of every kind, and as text what IoTDB has no type for |
/// | STRING | `varchar` | `varchar` |
/// | BLOB | `bytes` | bytes |
/// | DATE | `date` | `date` |
/// | TIMESTAMP | `timestamptz` in the server's precision | `timestamp`, `timestamptz` |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SeriesType {
    /// True or false.
    Boolean,
    /// 32-bit integer.
    Int32,
    /// 64-bit integer.
    Int64,
    /// Single precision.
    Float,
    /// Double precision.
    Double,
    /// Text of any length.
    Text,
    /// A time in the server's precision (2.0, 1.3.3).
    Timestamp,
    /// A date (2.0, 1.3.3).
    Date,
    /// Bytes (2.0, 1.3.3).
    Blob,
    /// Text for which the server keeps statistics (2.0, 1.3.3).
    String,
}

const ALL: [(SeriesType, i32, &str); 10] = [
    (SeriesType::Boolean, 0, "BOOLEAN"),
    (SeriesType::Int32, 1, "INT32"),
    (SeriesType::Int64, 2, "INT64"),
    (SeriesType::Float, 3, "FLOAT"),
    (SeriesType::Double, 4, "DOUBLE"),
    (SeriesType::Text, 5, "TEXT"),
    (SeriesType::Timestamp, 8, "TIMESTAMP"),
    (SeriesType::Date, 9, "DATE"),
    (SeriesType::Blob, 10, "BLOB"),
    (SeriesType::String, 11, "STRING"),
];

impl SeriesType {
    /// By the number that the protocol has for it.
    pub fn from_code(code: i32) -> Option<Self> {
        ALL.iter().find(|(_, number, _)| *number == code).map(|(found, ..)| *found)
    }

    /// By the name that the server has for it.
    pub fn from_name(name: &str) -> Option<Self> {
        ALL.iter().find(|(_, _, text)| text.eq_ignore_ascii_case(name)).map(|(found, ..)| *found)
    }

    /// The number that the protocol has for it.
    pub fn code(self) -> i32 {
        ALL.iter().find(|(found, ..)| *found == self).map_or(0, |(_, code, _)| *code)
    }

    /// The name that the server has for it.
    pub fn name(self) -> &'static str {
        ALL.iter().find(|(found, ..)| *found == self).map_or("", |(.., name)| *name)
    }

    /// Whether servers before 1.3.3 lack it.
    pub fn is_recent(self) -> bool {
        matches!(self, Self::Timestamp | Self::Date | Self::Blob | Self::String)
    }

    /// The type of its values here; `unit` is the server's precision.
    pub fn data_type(self, unit: TimeUnit) -> DataType {
        match self {
            Self::Boolean => DataType::Bool,
            Self::Int32 => DataType::Int32,
            Self::Int64 => DataType::Int64,
            Self::Float => DataType::Float32,
            Self::Double => DataType::Float64,
            Self::Text => DataType::Text,
            Self::Timestamp => DataType::TimestampTz(unit),
            Self::Date => DataType::Date,
            Self::Blob => DataType::Bytes,
            Self::String => DataType::VarChar(None),
        }
    }

    /// The type that holds values of `data_type`, at a server that has the [recent](Self::is_recent) types or not. `None` where such
    /// a server has none: times, dates and bytes at an old one, and lists.
    pub fn of(data_type: &DataType, recent: bool) -> Option<Self> {
        let wanted = match data_type {
            DataType::Bool => Self::Boolean,
            DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::UInt8 | DataType::UInt16 => {
                Self::Int32
            }
            DataType::Int64 | DataType::UInt32 | DataType::UInt64 => Self::Int64,
            DataType::Float32 => Self::Float,
            DataType::Float64 => Self::Double,
            DataType::VarChar(_) if recent => Self::String,
            DataType::Bytes | DataType::VarBytes(_) => Self::Blob,
            DataType::Date => Self::Date,
            DataType::Timestamp(_) | DataType::TimestampTz(_) => Self::Timestamp,
            DataType::Array(_) => return None,
            _ => Self::Text,
        };
        (recent || !wanted.is_recent()).then_some(wanted)
    }
}
