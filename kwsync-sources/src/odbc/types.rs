//! What a column of a result is here, and as what it is fetched.
//!
//! | SQL Server | here | under `types=dts` |
//! |---|---|---|
//! | int, smallint, bigint | `i32`, `i16`, `i64` | the same |
//! | tinyint | `u8` | `i16` |
//! | bit | `bool` | `bit(1)` |
//! | decimal(p,s), numeric(p,s) | `numeric(p,s)` | the same |
//! | money, smallmoney | `numeric(19,4)`, `numeric(10,4)` | the same |
//! | float, real | `f64`, `f32` | the same |
//! | char(n), varchar(n), nchar(n), nvarchar(n) | `varchar(n)` | `char(n)` |
//! | text, ntext, varchar(max), nvarchar(max) | `text` | the same |
//! | date | `date` | the same |
//! | datetime, datetime2, smalldatetime | `timestamp` of s, ms, us or ns | the same |
//! | datetimeoffset | `timestamptz` | the same |
//! | time | `time` of us or ns | the same |
//! | binary, varbinary, image | `bytes` | the same |
//! | uniqueidentifier | `uuid` | `varchar(36)` |
//! | xml | `xml` | the same |
//! | rowversion, sql_variant, hierarchyid, geometry, geography | refused by name | |

use arrow_odbc::odbc_api::DataType as Sql;
use kwsync_core::{DataType, Error, ErrorKind, Location, Result, TimeUnit};

use super::config::{TimestampUnit, Types};
use super::dialect::Server;

/// Most bytes of a value that memory is reserved for; columns of longer ones are fetched row by row.
const BLOCK_VALUE: usize = 8 << 10;

/// A column as the driver describes it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Described {
    pub(super) name: String,
    pub(super) sql: Sql,
    pub(super) unsigned: bool,
    pub(super) nullable: bool,
    /// The server's name of the type, where it is a column of a table.
    pub(super) type_name: Option<String>,
}

/// As what values are fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fetch {
    Int,
    Float32,
    Float64,
    Text,
    Bytes,
}

/// What becomes of a column.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Way {
    pub(super) data_type: DataType,
    pub(super) fetch: Fetch,
    /// Most bytes of a value on the way; none where there is no bound worth the name.
    pub(super) bound: Option<usize>,
    /// Whether it comes as something else than it is.
    pub(super) as_text: bool,
}

/// What the source was told of types.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) server: Server,
    pub(super) types: Types,
    pub(super) timestamp_unit: TimestampUnit,
}

impl Rules {
    /// What becomes of a column.
    ///
    /// # Errors
    /// `Unsupported` for the types of SQL Server that have no counterpart.
    pub(super) fn way(&self, column: &Described) -> Result<Way> {
        let name = column.type_name.as_deref().unwrap_or_default().to_ascii_lowercase();
        // SQL Server says `int identity`, others `varchar(20)`.
        let name = name.split(['(', ' ']).next().unwrap_or_default();
        if self.server == Server::MsSql && self.refused(column, name) {
            let told = column.type_name.as_deref().unwrap_or("a type of its own");
            let text = format!("column {:?} is {told}, which has no counterpart", column.name);
            return Err(Error::new(ErrorKind::Unsupported, text)
                .with_location(Location::new().with_column(column.name.as_str()))
                .with_hint("leave it out, or convert it, by columns="));
        }
        let made = |data_type, fetch, bound| Way { data_type, fetch, bound, as_text: false };
        if let Some((data_type, bound)) = self.by_name(name) {
            let fetch = if data_type == DataType::Bytes { Fetch::Bytes } else { Fetch::Text };
            return Ok(made(data_type, fetch, bound));
        }
        let int = |data_type| made(data_type, Fetch::Int, Some(8));
        let text = |data_type, bound: usize| made(data_type, Fetch::Text, Some(bound));
        let dts = self.server == Server::MsSql && self.types == Types::Dts;
        Ok(match column.sql {
            Sql::TinyInt if dts => int(DataType::Int16),
            Sql::TinyInt if column.unsigned || self.server == Server::MsSql => int(DataType::UInt8),
            Sql::TinyInt => int(DataType::Int8),
            Sql::SmallInt if column.unsigned => int(DataType::UInt16),
            Sql::SmallInt => int(DataType::Int16),
            Sql::Integer if column.unsigned => int(DataType::UInt32),
            Sql::Integer => int(DataType::Int32),
            // No signed integer holds them all.
            Sql::BigInt if column.unsigned => text(DataType::UInt64, 48),
            Sql::BigInt => int(DataType::Int64),
            Sql::Bit if dts => text(DataType::Bit(1), 16),
            Sql::Bit => text(DataType::Bool, 16),
            Sql::Real => made(DataType::Float32, Fetch::Float32, Some(4)),
            // Oracle's NUMBER without bounds is told as a float, which it is not.
            Sql::Float { .. } | Sql::Double if self.server == Server::Oracle && name == "number" => {
                made(DataType::Numeric(None), Fetch::Text, None)
            }
            Sql::Float { .. } | Sql::Double => made(DataType::Float64, Fetch::Float64, Some(8)),
            Sql::Numeric { precision, scale } | Sql::Decimal { precision, scale } => {
                self.numeric(precision, scale)
            }
            Sql::Char { length } | Sql::WChar { length } => {
                self.characters(length.map(|length| length.get()), true)
            }
            Sql::Varchar { length } | Sql::WVarchar { length } => {
                self.characters(length.map(|length| length.get()), false)
            }
            Sql::LongVarchar { .. } | Sql::WLongVarchar { .. } => made(DataType::Text, Fetch::Text, None),
            Sql::Binary { length } | Sql::Varbinary { length } => {
                let bound = length.map(|length| length.get()).filter(|length| *length <= BLOCK_VALUE);
                made(DataType::Bytes, Fetch::Bytes, bound.filter(|_| self.has_bounds()))
            }
            Sql::LongVarbinary { .. } => made(DataType::Bytes, Fetch::Bytes, None),
            Sql::Date => text(DataType::Date, 32),
            Sql::Time { precision } => text(DataType::Time(self.unit(precision.max(6))), 64),
            Sql::Timestamp { precision } => {
                let unit = self.unit(precision);
                // MySQL's timestamp is a point in time; the session's zone is UTC.
                match self.server == Server::MySql && name == "timestamp" {
                    true => text(DataType::TimestampTz(unit), 80),
                    false => text(DataType::Timestamp(unit), 80),
                }
            }
            Sql::Other { data_type, decimal_digits, .. } => match data_type.0 {
                -11 if dts => text(DataType::VarChar(Some(36)), 96),
                -11 => text(DataType::Uuid, 96),
                -152 => made(DataType::Xml, Fetch::Text, None),
                -154 => text(DataType::Time(self.unit(decimal_digits.max(6))), 64),
                -155 => text(DataType::TimestampTz(self.unit(decimal_digits)), 96),
                _ => Way { as_text: true, ..made(DataType::Text, Fetch::Text, None) },
            },
            Sql::Unknown => Way { as_text: true, ..made(DataType::Text, Fetch::Text, None) },
        })
    }

    /// Types of SQL Server that nothing here can hold, or that mean nothing elsewhere.
    fn refused(&self, column: &Described, name: &str) -> bool {
        let udt_or_variant =
            matches!(column.sql, Sql::Other { data_type, .. } if matches!(data_type.0, -150 | -151 | -153));
        udt_or_variant
            || matches!(
                name,
                "timestamp"
                    | "rowversion"
                    | "sql_variant"
                    | "hierarchyid"
                    | "geometry"
                    | "geography"
                    | "cursor"
                    | "table"
            )
    }

    /// Types that drivers describe as others, by the server's own names.
    fn by_name(&self, name: &str) -> Option<(DataType, Option<usize>)> {
        Some(match (self.server, name) {
            (Server::PostgreSql, "bool") => (DataType::Bool, Some(16)),
            (Server::PostgreSql, "uuid") => (DataType::Uuid, Some(96)),
            (Server::PostgreSql, "timestamptz") => (DataType::TimestampTz(self.unit(6)), Some(96)),
            (Server::PostgreSql, "json") => (DataType::Json, None),
            (Server::PostgreSql, "jsonb") => (DataType::Jsonb, None),
            (Server::PostgreSql, "xml") => (DataType::Xml, None),
            (Server::MySql | Server::Other, "json") => (DataType::Json, None),
            (Server::MySql, "uuid") => (DataType::Uuid, Some(96)),
            // A column holds what it likes there: a value that is no whole number is seen only in its text.
            (Server::Sqlite, "blob") => (DataType::Bytes, None),
            (Server::Sqlite, name) if name.contains("int") => (DataType::Int64, Some(64)),
            _ => return None,
        })
    }

    /// Whether values are never longer than the driver says. SQLite's may be.
    fn has_bounds(&self) -> bool {
        self.server != Server::Sqlite
    }

    fn unit(&self, digits: i16) -> TimeUnit {
        match digits {
            // SQLite's columns hold any, and the driver of MariaDB does not tell.
            _ if matches!(self.server, Server::Sqlite | Server::MySql) => TimeUnit::Microsecond,
            ..=0 => TimeUnit::Second,
            1..=3 => TimeUnit::Millisecond,
            4..=6 => TimeUnit::Microsecond,
            _ if self.timestamp_unit == TimestampUnit::Micros => TimeUnit::Microsecond,
            _ => TimeUnit::Nanosecond,
        }
    }

    fn numeric(&self, precision: usize, scale: i16) -> Way {
        // The PostgreSQL driver says this of numbers without bounds, which may have more digits.
        let unbounded = self.server == Server::PostgreSql && (precision, scale) == (28, 6);
        let bounds = u16::try_from(precision).ok().filter(|precision| {
            !unbounded
                && self.has_bounds()
                && (1..=76).contains(precision)
                && (0..=*precision as i16).contains(&scale)
        });
        Way {
            data_type: DataType::Numeric(bounds.map(|precision| (precision, scale))),
            fetch: Fetch::Text,
            bound: bounds.map(|precision| 2 * (usize::from(precision) + 4)),
            as_text: false,
        }
    }

    /// Text of so many characters.
    fn characters(&self, length: Option<usize>, padded: bool) -> Way {
        // Two units of UTF-16 for each, at most.
        let bound =
            length.map(|length| 4 * length).filter(|bytes| *bytes <= BLOCK_VALUE && self.has_bounds());
        let length = length.and_then(|length| u32::try_from(length).ok()).filter(|length| *length <= 65_535);
        let dts = self.types == Types::Dts;
        let data_type = match (self.server, length) {
            // What its columns are called binds nothing there.
            (Server::Sqlite, _) | (_, None) => DataType::Text,
            (Server::MsSql, Some(length)) if dts => DataType::Char(length),
            (Server::MsSql, Some(length)) => DataType::VarChar(Some(length)),
            (_, Some(length)) if padded => DataType::Char(length),
            (_, Some(length)) => DataType::VarChar(Some(length)),
        };
        Way { data_type, fetch: Fetch::Text, bound, as_text: false }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use arrow_odbc::odbc_api::sys::SqlDataType;

    use super::*;

    fn way(server: Server, types: Types, sql: Sql, type_name: &str) -> Result<Way> {
        let rules = Rules { server, types, timestamp_unit: TimestampUnit::Auto };
        let type_name = Some(type_name.to_owned()).filter(|name| !name.is_empty());
        rules.way(&Described { name: "c".to_owned(), sql, unsigned: false, nullable: true, type_name })
    }

    fn other(number: i16, digits: i16) -> Sql {
        Sql::Other { data_type: SqlDataType(number), column_size: None, decimal_digits: digits }
    }

    #[test]
    fn sql_servers_types() {
        let length = NonZeroUsize::new;
        for (sql, name, default, dts) in [
            (Sql::Integer, "int identity", "i32", "i32"),
            (Sql::SmallInt, "smallint", "i16", "i16"),
            (Sql::TinyInt, "tinyint", "u8", "i16"),
            (Sql::BigInt, "bigint", "i64", "i64"),
            (Sql::Bit, "bit", "bool", "bit(1)"),
            (Sql::Decimal { precision: 20, scale: 5 }, "decimal", "numeric(20,5)", "numeric(20,5)"),
            (Sql::Decimal { precision: 19, scale: 4 }, "money", "numeric(19,4)", "numeric(19,4)"),
            (Sql::Decimal { precision: 10, scale: 4 }, "smallmoney", "numeric(10,4)", "numeric(10,4)"),
            (Sql::Float { precision: 53 }, "float", "f64", "f64"),
            (Sql::Real, "real", "f32", "f32"),
            (Sql::Char { length: length(9) }, "char", "varchar(9)", "char(9)"),
            (Sql::Varchar { length: length(9) }, "varchar", "varchar(9)", "char(9)"),
            (Sql::WChar { length: length(9) }, "nchar", "varchar(9)", "char(9)"),
            (Sql::WVarchar { length: length(9) }, "nvarchar", "varchar(9)", "char(9)"),
            (Sql::WVarchar { length: None }, "nvarchar", "text", "text"),
            (Sql::WLongVarchar { length: length(1 << 30) }, "ntext", "text", "text"),
            (Sql::Date, "date", "date", "date"),
            (Sql::Timestamp { precision: 3 }, "datetime", "timestamp(ms)", "timestamp(ms)"),
            (Sql::Timestamp { precision: 7 }, "datetime2", "timestamp(ns)", "timestamp(ns)"),
            (Sql::Timestamp { precision: 0 }, "smalldatetime", "timestamp(s)", "timestamp(s)"),
            (other(-155, 7), "datetimeoffset", "timestamptz(ns)", "timestamptz(ns)"),
            (other(-154, 7), "time", "time(ns)", "time(ns)"),
            (Sql::Varbinary { length: length(9) }, "varbinary", "bytes", "bytes"),
            (Sql::LongVarbinary { length: None }, "image", "bytes", "bytes"),
            (other(-11, 0), "uniqueidentifier", "uuid", "varchar(36)"),
            (other(-152, 0), "xml", "xml", "xml"),
        ] {
            for (types, expected) in [(Types::Default, default), (Types::Dts, dts)] {
                let way = way(Server::MsSql, types, sql, name).unwrap();
                assert_eq!(way.data_type.to_string(), expected, "{name} {types:?}");
            }
        }
        for (sql, name) in [
            (Sql::Binary { length: length(8) }, "timestamp"),
            (other(-150, 0), "sql_variant"),
            (other(-151, 0), "hierarchyid"),
            (other(-151, 0), "geography"),
            // A result of a query, of which the name is not known.
            (other(-151, 0), ""),
        ] {
            let error = way(Server::MsSql, Types::Default, sql, name).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{name}");
            assert!(error.to_string().contains(name), "{error}");
        }
    }

    #[test]
    fn other_servers_types() {
        let length = NonZeroUsize::new;
        for (server, sql, name, expected) in [
            (Server::Oracle, Sql::Decimal { precision: 10, scale: 2 }, "NUMBER", "numeric(10,2)"),
            (Server::Oracle, Sql::Double, "NUMBER", "numeric"),
            (Server::Oracle, Sql::Double, "BINARY_DOUBLE", "f64"),
            (Server::Oracle, Sql::Timestamp { precision: 0 }, "DATE", "timestamp(s)"),
            (Server::Oracle, Sql::WVarchar { length: length(20) }, "NVARCHAR2", "varchar(20)"),
            (Server::Oracle, Sql::LongVarchar { length: None }, "CLOB", "text"),
            (Server::PostgreSql, Sql::Numeric { precision: 28, scale: 6 }, "numeric", "numeric"),
            (Server::PostgreSql, Sql::Char { length: length(5) }, "bool", "bool"),
            (Server::PostgreSql, Sql::Timestamp { precision: 6 }, "timestamptz", "timestamptz(us)"),
            (Server::MySql, Sql::Timestamp { precision: 0 }, "timestamp", "timestamptz(us)"),
            // So many decimal digits, as PostgreSQL's driver has it, not bits.
            (Server::PostgreSql, Sql::Float { precision: 17 }, "float8", "f64"),
            (Server::Sqlite, Sql::Integer, "INTEGER", "i64"),
            (Server::Sqlite, Sql::Varchar { length: length(5) }, "VARCHAR(5)", "text"),
            (Server::Other, Sql::Char { length: length(5) }, "CHAR", "char(5)"),
            (Server::Other, Sql::Numeric { precision: 99, scale: 0 }, "", "numeric"),
        ] {
            let way = way(server, Types::Default, sql, name).unwrap();
            assert_eq!(way.data_type.to_string(), expected, "{server:?} {name}");
        }
        assert!(way(Server::Other, Types::Default, other(-100, 0), "").unwrap().as_text);
    }
}
