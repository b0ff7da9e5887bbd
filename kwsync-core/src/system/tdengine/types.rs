//! Types of columns and tags.

use std::fmt;

use crate::{DataType, Error, ErrorKind, Result, TimeUnit};

/// The most bytes of a text in a column, and in a tag.
pub(super) const MOST_BYTES: u32 = 65_517;
pub(super) const MOST_TAG_BYTES: u32 = 16_382;

/// The type of a column or a tag.
///
/// | [`DataType`] | column | tag |
/// |---|---|---|
/// | `bool` | BOOL | the same |
/// | `i8` ... `i64` | TINYINT, SMALLINT, INT, BIGINT | the same |
/// | `u8` ... `u64` | the same, UNSIGNED | the same |
/// | `f32`, `f64` | FLOAT, DOUBLE | the same |
/// | `timestamp`, `timestamptz` | TIMESTAMP, in the precision of the database | the same |
/// | `varchar(n)`, `char(n)`, `text` | VARCHAR | the same |
/// | `nvarchar(n)`, `nchar(n)` | NCHAR | the same |
/// | `bytes`, `varbytes(n)` | VARBINARY | the same |
/// | `numeric(p,s)` to 38 digits | DECIMAL from TDengine 3.3.6 on, else VARCHAR | VARCHAR |
/// | `json`, `jsonb` | VARCHAR | JSON where it is the only tag, else VARCHAR |
/// | `numeric`, `date`, `time`, `interval`, `uuid`, `inet`, `money`, `xml` and others that are written as text | VARCHAR | the same |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "they are TDengine's own names")]
pub enum ColumnType {
    Timestamp,
    Bool,
    TinyInt,
    SmallInt,
    Int,
    BigInt,
    TinyIntUnsigned,
    SmallIntUnsigned,
    IntUnsigned,
    BigIntUnsigned,
    Float,
    Double,
    /// So many bytes.
    VarChar(u32),
    /// So many characters.
    NChar(u32),
    /// So many bytes.
    VarBinary(u32),
    /// Digits, and how many of them stand behind the point.
    Decimal(u8, u8),
    /// Only of a tag.
    Json,
    Geometry,
    Blob,
}

/// What a server can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// DECIMAL, from 3.3.6 on.
    pub decimal: bool,
    /// A second column of the primary key, from 3.3.0 on.
    pub composite_key: bool,
}

impl ColumnType {
    /// The type of a column that is made for values of `data_type`. `length` is that of texts without one of their own, `only_tag`
    /// is whether it is the only tag of its table.
    ///
    /// # Errors
    /// `Schema` with the code `no_exact_cast` for what has no counterpart.
    pub fn of(
        data_type: &DataType,
        tag: bool,
        only_tag: bool,
        length: u32,
        features: Features,
    ) -> Result<Self> {
        use DataType as T;
        let most = if tag { MOST_TAG_BYTES } else { MOST_BYTES };
        Ok(match data_type {
            T::Bool => Self::Bool,
            T::Int8 => Self::TinyInt,
            T::Int16 => Self::SmallInt,
            T::Int32 => Self::Int,
            T::Int64 => Self::BigInt,
            T::UInt8 => Self::TinyIntUnsigned,
            T::UInt16 => Self::SmallIntUnsigned,
            T::UInt32 => Self::IntUnsigned,
            T::UInt64 => Self::BigIntUnsigned,
            T::Float32 => Self::Float,
            T::Float64 => Self::Double,
            T::Timestamp(_) | T::TimestampTz(_) => Self::Timestamp,
            T::Char(length) | T::VarChar(Some(length)) => Self::VarChar((*length).min(most)),
            T::NChar(length) | T::NVarChar(Some(length)) => Self::NChar((*length).min(most / 4)),
            T::NVarChar(None) => Self::NChar(length.min(most / 4)),
            T::Bytes | T::VarBytes(None) => Self::VarBinary(length.min(most)),
            T::VarBytes(Some(length)) => Self::VarBinary((*length).min(most)),
            T::Numeric(Some((precision @ 1..=38, scale)))
                if features.decimal && !tag && (0..=*precision as i16).contains(scale) =>
            {
                Self::Decimal(*precision as u8, *scale as u8)
            }
            T::Numeric(Some((precision, _))) => Self::VarChar(u32::from(*precision) + 3),
            T::Json | T::Jsonb if tag && only_tag => Self::Json,
            T::Date => Self::VarChar(16),
            T::Time(_) => Self::VarChar(18),
            T::TimeTz => Self::VarChar(32),
            T::Uuid => Self::VarChar(36),
            T::VarChar(None)
            | T::Text
            | T::Numeric(None)
            | T::Money
            | T::Interval
            | T::Json
            | T::Jsonb
            | T::Inet
            | T::Cidr
            | T::MacAddr
            | T::MacAddr8
            | T::Bit(_)
            | T::VarBit(_)
            | T::Xml => Self::VarChar(length.min(most)),
            T::Geometry | T::Array(_) | T::Other(_) => {
                let what = if tag { "tag" } else { "column" };
                return Err(Error::new(
                    ErrorKind::Schema,
                    format!("no {what} of TDengine can be {data_type} here"),
                )
                .with_code("no_exact_cast")
                .with_hint(
                    "leave the column out: -T drop-columns:NAME, or make text of it: -T cast:NAME=text",
                ));
            }
        })
    }

    /// The type as DESCRIBE and `column_meta` tell of it: `VARCHAR` and its length, `DECIMAL(10, 2)`.
    pub fn of_described(name: &str, length: u32) -> Option<Self> {
        let name = name.trim().to_ascii_uppercase();
        let (word, arguments) = match name.split_once('(') {
            Some((word, rest)) => (word.trim(), rest.trim_end_matches(')')),
            None => (name.as_str(), ""),
        };
        let mut numbers = arguments.split(',').filter_map(|number| number.trim().parse::<u32>().ok());
        let first = numbers.next();
        let length = first.unwrap_or(length);
        Some(match word {
            "TIMESTAMP" => Self::Timestamp,
            "BOOL" => Self::Bool,
            "TINYINT" => Self::TinyInt,
            "SMALLINT" => Self::SmallInt,
            "INT" => Self::Int,
            "BIGINT" => Self::BigInt,
            "TINYINT UNSIGNED" => Self::TinyIntUnsigned,
            "SMALLINT UNSIGNED" => Self::SmallIntUnsigned,
            "INT UNSIGNED" => Self::IntUnsigned,
            "BIGINT UNSIGNED" => Self::BigIntUnsigned,
            "FLOAT" => Self::Float,
            "DOUBLE" => Self::Double,
            "VARCHAR" | "BINARY" => Self::VarChar(length),
            "NCHAR" => Self::NChar(length),
            "VARBINARY" => Self::VarBinary(length),
            "DECIMAL" => {
                let precision = first.and_then(|precision| u8::try_from(precision).ok())?;
                Self::Decimal(
                    precision,
                    numbers.next().and_then(|scale| u8::try_from(scale).ok()).unwrap_or(0),
                )
            }
            "JSON" => Self::Json,
            "GEOMETRY" => Self::Geometry,
            "BLOB" | "MEDIUMBLOB" => Self::Blob,
            _ => return None,
        })
    }

    /// What values of such a column are here, in a database of the precision `unit`; none where they cannot be read.
    pub fn data_type(self, unit: TimeUnit) -> Option<DataType> {
        use DataType as T;
        Some(match self {
            Self::Timestamp => T::TimestampTz(unit),
            Self::Bool => T::Bool,
            Self::TinyInt => T::Int8,
            Self::SmallInt => T::Int16,
            Self::Int => T::Int32,
            Self::BigInt => T::Int64,
            Self::TinyIntUnsigned => T::UInt8,
            Self::SmallIntUnsigned => T::UInt16,
            Self::IntUnsigned => T::UInt32,
            Self::BigIntUnsigned => T::UInt64,
            Self::Float => T::Float32,
            Self::Double => T::Float64,
            Self::VarChar(length) => T::VarChar(Some(length.max(1))),
            Self::NChar(length) => T::NVarChar(Some(length.max(1))),
            Self::VarBinary(length) => T::VarBytes(Some(length.max(1))),
            Self::Decimal(precision, scale) => T::Numeric(Some((precision.into(), scale.into()))),
            Self::Json => T::Json,
            Self::Geometry | Self::Blob => return None,
        })
    }

    /// Whether values of `from` can go into such a column; `Err` says what helps.
    ///
    /// # Errors
    /// What helps where they cannot.
    pub fn takes(self, from: &DataType) -> std::result::Result<(), &'static str> {
        use DataType as T;
        const CAST: &str = "cast the column before: -T cast:NAME=TYPE";
        let integer = matches!(
            from,
            T::Int8 | T::Int16 | T::Int32 | T::Int64 | T::UInt8 | T::UInt16 | T::UInt32 | T::UInt64
        );
        let fits = match self {
            Self::Timestamp => matches!(from, T::Timestamp(_) | T::TimestampTz(_)),
            Self::Bool => *from == T::Bool,
            Self::TinyInt
            | Self::SmallInt
            | Self::Int
            | Self::BigInt
            | Self::TinyIntUnsigned
            | Self::SmallIntUnsigned
            | Self::IntUnsigned
            | Self::BigIntUnsigned => integer,
            Self::Float | Self::Double => integer || matches!(from, T::Float32 | T::Float64),
            Self::Decimal(..) => integer || matches!(from, T::Numeric(_)),
            Self::VarBinary(_) => matches!(from, T::Bytes | T::VarBytes(_)) || is_text(from),
            Self::Json => matches!(from, T::Json | T::Jsonb) || is_text(from),
            Self::VarChar(_) | Self::NChar(_) => {
                is_text(from)
                    || matches!(
                        Self::of(from, false, false, 1, Features::default()),
                        Ok(Self::VarChar(_) | Self::NChar(_))
                    )
            }
            Self::Geometry | Self::Blob => {
                return Err("rows cannot be written to a column of this type: leave it out of the rows");
            }
        };
        if fits { Ok(()) } else { Err(CAST) }
    }

    /// The type with room for so many bytes, or characters of NCHAR; none where it has no length, or can have no such one.
    pub fn with_length(self, length: u32, tag: bool) -> Option<Self> {
        let most = if tag { MOST_TAG_BYTES } else { MOST_BYTES };
        match self {
            Self::VarChar(_) if length <= most => Some(Self::VarChar(length)),
            Self::NChar(_) if length <= most / 4 => Some(Self::NChar(length)),
            Self::VarBinary(_) if length <= most => Some(Self::VarBinary(length)),
            _ => None,
        }
    }

    /// Bytes that it takes in a row.
    pub(super) fn bytes(self) -> u32 {
        match self {
            Self::Bool | Self::TinyInt | Self::TinyIntUnsigned => 1,
            Self::SmallInt | Self::SmallIntUnsigned => 2,
            Self::Int | Self::IntUnsigned | Self::Float => 4,
            Self::Timestamp | Self::BigInt | Self::BigIntUnsigned | Self::Double => 8,
            Self::Decimal(..) => 16,
            Self::VarChar(length) | Self::VarBinary(length) => length + 2,
            Self::NChar(length) => 4 * length + 2,
            Self::Json => 4_096,
            Self::Geometry | Self::Blob => 64,
        }
    }
}

/// Whether values are text as they are.
fn is_text(data_type: &DataType) -> bool {
    use DataType as T;
    matches!(
        data_type,
        T::Text
            | T::Char(_)
            | T::VarChar(_)
            | T::NChar(_)
            | T::NVarChar(_)
            | T::Json
            | T::Jsonb
            | T::Xml
            | T::Other(_)
    )
}

impl fmt::Display for ColumnType {
    /// As SQL has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timestamp => f.write_str("TIMESTAMP"),
            Self::Bool => f.write_str("BOOL"),
            Self::TinyInt => f.write_str("TINYINT"),
            Self::SmallInt => f.write_str("SMALLINT"),
            Self::Int => f.write_str("INT"),
            Self::BigInt => f.write_str("BIGINT"),
            Self::TinyIntUnsigned => f.write_str("TINYINT UNSIGNED"),
            Self::SmallIntUnsigned => f.write_str("SMALLINT UNSIGNED"),
            Self::IntUnsigned => f.write_str("INT UNSIGNED"),
            Self::BigIntUnsigned => f.write_str("BIGINT UNSIGNED"),
            Self::Float => f.write_str("FLOAT"),
            Self::Double => f.write_str("DOUBLE"),
            Self::VarChar(length) => write!(f, "VARCHAR({length})"),
            Self::NChar(length) => write!(f, "NCHAR({length})"),
            Self::VarBinary(length) => write!(f, "VARBINARY({length})"),
            Self::Decimal(precision, scale) => write!(f, "DECIMAL({precision}, {scale})"),
            Self::Json => f.write_str("JSON"),
            Self::Geometry => f.write_str("GEOMETRY"),
            Self::Blob => f.write_str("BLOB"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_there_and_back() {
        let features = Features { decimal: true, composite_key: true };
        for data_type in [
            DataType::Bool,
            DataType::Int8,
            DataType::Int16,
            DataType::Int32,
            DataType::Int64,
            DataType::UInt8,
            DataType::UInt16,
            DataType::UInt32,
            DataType::UInt64,
            DataType::Float32,
            DataType::Float64,
            DataType::TimestampTz(TimeUnit::Nanosecond),
            DataType::VarChar(Some(20)),
            DataType::NVarChar(Some(20)),
            DataType::VarBytes(Some(9)),
            DataType::Numeric(Some((38, 10))),
        ] {
            let made = ColumnType::of(&data_type, false, false, 64, features).unwrap();
            assert_eq!(made.data_type(TimeUnit::Nanosecond), Some(data_type.clone()));
            assert_eq!(ColumnType::of_described(&made.to_string(), 0), Some(made), "{made}");
            assert_eq!(made.takes(&data_type), Ok(()));
        }
        let tag = |data_type: &DataType, only| ColumnType::of(data_type, true, only, 64, features).unwrap();
        assert_eq!(tag(&DataType::Json, true), ColumnType::Json);
        assert_eq!(tag(&DataType::Json, false), ColumnType::VarChar(64));
        assert_eq!(tag(&DataType::Numeric(Some((10, 2))), true), ColumnType::VarChar(13));
        assert_eq!(ColumnType::of_described("BINARY", 7), Some(ColumnType::VarChar(7)));
        assert_eq!(ColumnType::of_described("POLYGON", 7), None);
        assert_eq!(ColumnType::VarChar(7).with_length(70_000, false), None);
        assert_eq!(ColumnType::Int.with_length(7, false), None);
    }

    #[test]
    fn what_has_no_counterpart_is_told() {
        for data_type in [DataType::Geometry, DataType::Array(Box::new(DataType::Int32))] {
            let error = ColumnType::of(&data_type, false, false, 64, Features::default()).unwrap_err();
            assert_eq!(error.code(), Some("no_exact_cast"));
        }
        assert!(ColumnType::Int.takes(&DataType::Float64).is_err());
        assert!(ColumnType::VarChar(9).takes(&DataType::Int32).is_err());
        assert!(ColumnType::VarChar(9).takes(&DataType::Uuid).is_ok());
        assert!(ColumnType::VarChar(9).takes(&DataType::Bytes).is_err());
        assert!(ColumnType::Geometry.takes(&DataType::Text).is_err());
    }
}
