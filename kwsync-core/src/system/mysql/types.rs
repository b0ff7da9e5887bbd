//! MySQL's types: which [`DataType`] each is, and what columns are made as.
//!
//! | MySQL, MariaDB | [`DataType`] | and back |
//! |---|---|---|
//! | tinyint, smallint, mediumint, int, bigint | `i8`, `i16`, `i32`, `i32`, `i64` | tinyint, smallint, int, bigint |
//! | the same, unsigned | `u8` ... `u64` | the same, unsigned |
//! | float, double | `f32`, `f64` | float, double |
//! | decimal(p,s) | `numeric(p,s)` | decimal(p,s); numeric without bounds, or with more than 65 digits: longtext |
//! | bit(n) | `bit(n)` | bit(n) up to 64, else text |
//! | char(n), varchar(n) | `char(n)`, `varchar(n)` | the same |
//! | tinytext ... longtext, enum, set | `text` | longtext |
//! | binary(n), varbinary(n), tinyblob ... longblob | `bytes` | longblob |
//! | date | `date` | date |
//! | datetime(f) | `timestamp` of s, ms, us | datetime(0), (3), (6) |
//! | timestamp(f) | `timestamptz` of s, ms, us | datetime of UTC, as timestamp ends in 2038 |
//! | time(f) | `time(us)` | time(6) |
//! | year | `i16` | smallint |
//! | json | `json` | json |
//! | uuid | `uuid` | char(36) |
//! | geometry and its kinds | `geometry`, as WKT | geometry |

use crate::{DataType, TimeUnit};

/// The unit that keeps `digits` of a second.
pub fn unit_of(digits: u32) -> TimeUnit {
    match digits {
        0 => TimeUnit::Second,
        1..=3 => TimeUnit::Millisecond,
        _ => TimeUnit::Microsecond,
    }
}

/// The [`DataType`] of a column by what the catalog says: its type's name, in lower case and without length, its whole type,
/// its length in characters, precision and scale of a number, digits of the second. `None` where the result of a query tells as
/// much.
pub fn declared(name: &str, length: Option<u64>) -> Option<DataType> {
    let length = length.and_then(|length| u32::try_from(length).ok()).filter(|length| *length > 0);
    Some(match (name, length) {
        ("char", Some(length)) => DataType::Char(length),
        ("varchar", Some(length)) => DataType::VarChar(Some(length)),
        ("json", _) => DataType::Json,
        ("uuid", _) => DataType::Uuid,
        ("inet4" | "inet6", _) => DataType::Inet,
        (
            "geometry" | "point" | "linestring" | "polygon" | "multipoint" | "multilinestring"
            | "multipolygon" | "geometrycollection" | "geomcollection",
            _,
        ) => DataType::Geometry,
        _ => return None,
    })
}

/// The type that a column of `data_type` is created with.
pub fn sql_type(data_type: &DataType) -> String {
    use DataType as T;
    let digits = |name: &str, unit: &TimeUnit| match unit {
        TimeUnit::Second => format!("{name}(0)"),
        TimeUnit::Millisecond => format!("{name}(3)"),
        TimeUnit::Microsecond | TimeUnit::Nanosecond => format!("{name}(6)"),
    };
    match data_type {
        T::Bool => "tinyint(1)".to_owned(),
        T::Int8 => "tinyint".to_owned(),
        T::Int16 => "smallint".to_owned(),
        T::Int32 => "int".to_owned(),
        T::Int64 => "bigint".to_owned(),
        T::UInt8 => "tinyint unsigned".to_owned(),
        T::UInt16 => "smallint unsigned".to_owned(),
        T::UInt32 => "int unsigned".to_owned(),
        T::UInt64 => "bigint unsigned".to_owned(),
        T::Float32 => "float".to_owned(),
        T::Float64 => "double".to_owned(),
        T::Numeric(Some((precision @ 1..=65, scale @ 0..=30))) if *scale as u16 <= *precision => {
            format!("decimal({precision},{scale})")
        }
        T::Money => "decimal(19,2)".to_owned(),
        T::Char(length @ ..=255) | T::NChar(length @ ..=255) => format!("char({length})"),
        // In utf8mb4 a row holds 65,535 bytes; many columns of the greatest length would not fit.
        T::Char(length @ ..=4096)
        | T::NChar(length @ ..=4096)
        | T::VarChar(Some(length @ ..=4096))
        | T::NVarChar(Some(length @ ..=4096)) => format!("varchar({length})"),
        T::Bytes => "longblob".to_owned(),
        T::VarBytes(Some(length @ ..=4096)) => format!("varbinary({length})"),
        T::VarBytes(_) => "longblob".to_owned(),
        T::Date => "date".to_owned(),
        T::Time(unit) => digits("time", unit),
        T::Timestamp(unit) | T::TimestampTz(unit) => digits("datetime", unit),
        T::Json | T::Jsonb | T::Array(_) => "json".to_owned(),
        T::Uuid => "char(36)".to_owned(),
        T::Inet | T::Cidr => "varchar(43)".to_owned(),
        T::MacAddr | T::MacAddr8 => "varchar(23)".to_owned(),
        T::TimeTz => "varchar(30)".to_owned(),
        T::Bit(length @ 1..=64) => format!("bit({length})"),
        T::Geometry => "geometry".to_owned(),
        _ => "longtext".to_owned(),
    }
}
