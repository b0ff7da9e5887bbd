//! TDengine's names of types.

use kwsync_core::{DataType, TimeUnit};

/// The type of this name; `None` if there is none.
pub(super) fn data_type(text: &str) -> Option<DataType> {
    let lower = text.trim().to_ascii_lowercase();
    let (name, argument) = match lower.split_once('(') {
        Some((name, rest)) => (name.trim(), Some(rest.strip_suffix(')')?.trim())),
        None => (lower.as_str(), None),
    };
    let length = match argument {
        Some(text) => text.parse::<u32>().ok().filter(|length| *length > 0),
        None => None,
    };
    let bounded =
        |make: fn(Option<u32>) -> DataType| (argument.is_none() || length.is_some()).then(|| make(length));
    let plain = |data_type| argument.is_none().then_some(data_type);
    match name {
        "timestamp" => match argument {
            None => Some(DataType::TimestampTz(TimeUnit::Millisecond)),
            Some(unit) => unit.parse().ok().map(DataType::TimestampTz),
        },
        "bool" => plain(DataType::Bool),
        "tinyint" => plain(DataType::Int8),
        "smallint" => plain(DataType::Int16),
        "int" | "integer" => plain(DataType::Int32),
        "bigint" => plain(DataType::Int64),
        "tinyint unsigned" | "utinyint" => plain(DataType::UInt8),
        "smallint unsigned" | "usmallint" => plain(DataType::UInt16),
        "int unsigned" | "uint" => plain(DataType::UInt32),
        "bigint unsigned" | "ubigint" => plain(DataType::UInt64),
        "float" => plain(DataType::Float32),
        "double" => plain(DataType::Float64),
        "varchar" | "binary" => bounded(DataType::VarChar),
        "nchar" => bounded(DataType::NVarChar),
        "varbinary" => bounded(DataType::VarBytes),
        "json" => plain(DataType::Json),
        "geometry" => Some(DataType::Geometry),
        _ => text.parse().ok(),
    }
}

/// The names for an error's hint.
pub(super) const NAMES: [&str; 17] = [
    "timestamp",
    "bool",
    "tinyint",
    "smallint",
    "int",
    "bigint",
    "utinyint",
    "usmallint",
    "uint",
    "ubigint",
    "float",
    "double",
    "varchar",
    "binary",
    "nchar",
    "varbinary",
    "json",
];
