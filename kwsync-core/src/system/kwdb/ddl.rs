//! Tables of time series: `CREATE TABLE ... TAGS (...) PRIMARY TAGS (...)`.
//!
//! A series is told by its primary tags; the first column is the timestamp. What the server asks for is checked here, so
//! that its own words, which name no column, are not what an operator has to read.
//!
//! | [`DataType`] | column | tag |
//! |---|---|---|
//! | `bool` | BOOL | BOOL |
//! | `i8`, `i16`, `u8` | INT2 | INT2 |
//! | `i32`, `u16` | INT4 | INT4 |
//! | `i64`, `u32`, `u64` | INT8 | INT8 |
//! | `f32`, `f64` | FLOAT4, FLOAT8 | the same, but never of a primary tag |
//! | `char(n)`, `nchar(n)` | CHAR(n), NCHAR(n) | the same |
//! | `varchar(n)`, `text` | VARCHAR(n), VARCHAR(65534) | VARCHAR(n), of a primary tag at most VARCHAR(128) |
//! | `nvarchar(n)` | NVARCHAR(n) | VARCHAR(4n) |
//! | `bytes`, `varbytes(n)` | VARBYTES(n) | VARBYTES(n), but never of a primary tag |
//! | `timestamp`, `timestamptz` | TIMESTAMP, TIMESTAMPTZ of 3, 6 or 9 digits | |
//! | `geometry` | GEOMETRY | |

use crate::{Column, DataType, Error, ErrorKind, Location, Result, Role, Schema, TimeUnit};

/// The longest name, in bytes.
pub const MAX_NAME_BYTES: usize = 128;
/// Primary tags of a table.
const MAX_PRIMARY_TAGS: usize = 4;
/// Bytes of the longest VARCHAR and VARBYTES.
const MAX_BYTES: u32 = 65_534;
/// Bytes of the longest VARCHAR of a primary tag.
const MAX_PRIMARY_BYTES: u32 = 128;

/// A name as an identifier, its case kept.
///
/// # Errors
/// `Data` with the code `name_too_long` or `bad_name`: the server takes no empty name, no NUL and no CJK character.
pub fn quote(name: &str) -> Result<String> {
    let cjk = |c: char| matches!(u32::from(c), 0x2e80..=0x9fff | 0xac00..=0xd7af | 0xf900..=0xfaff | 0x20000..=0x3ffff);
    let (code, why) = if name.is_empty() || name.contains('\0') {
        ("bad_name", "cannot be a name")
    } else if name.contains(cjk) {
        ("bad_name", "has characters that KWDB does not take in names")
    } else if name.len() > MAX_NAME_BYTES {
        ("name_too_long", "is longer than the 128 bytes that KWDB keeps")
    } else {
        return Ok(format!("\"{}\"", name.replace('"', "\"\"")));
    };
    Err(Error::new(ErrorKind::Data, format!("{name:?} {why}"))
        .with_code(code)
        .with_hint("rename it with a transform"))
}

/// The tags that tell series apart: those of the role, else those named in `chosen`, else all tags if there are no more
/// than four.
///
/// # Errors
/// `Config` when none or too many would be left, or a chosen one is no column.
pub fn primary_tags<'a>(schema: &'a Schema, chosen: &[String]) -> Result<Vec<&'a Column>> {
    let by_role =
        |role| schema.columns().iter().filter(move |column| column.role() == role).collect::<Vec<_>>();
    let mut tags = by_role(Role::PrimaryTag);
    if !chosen.is_empty() {
        tags = chosen
            .iter()
            .map(|name| {
                schema.column(name).ok_or_else(|| {
                    Error::config(format!("primary_tags names {name:?}, which the rows do not have"))
                })
            })
            .collect::<Result<_>>()?;
    } else if tags.is_empty() {
        tags = by_role(Role::Tag);
    }
    if tags.is_empty() || tags.len() > MAX_PRIMARY_TAGS {
        return Err(Error::config(format!(
            "{} primary tags, and KWDB wants 1 to {MAX_PRIMARY_TAGS}",
            tags.len()
        ))
        .with_hint("choose those that tell series apart: primary_tags=NAME,NAME"));
    }
    Ok(tags)
}

/// `CREATE TABLE` for a time-series database: the timestamp first, then the fields, then tags; `table` is quoted already. Tags are
/// the columns of that role, those of `chosen` ([`primary_tags`]) and those of `tags`.
///
/// # Errors
/// `Config` for a schema that such a table cannot have: no timestamp, too few columns, wrong primary tags; `Schema` with
/// the code `no_exact_cast` for a type without a counterpart; and as [`quote`].
pub fn create_ts_table(table: &str, schema: &Schema, chosen: &[String], tags: &[String]) -> Result<String> {
    if let Some(name) = tags.iter().find(|name| schema.column(name).is_none()) {
        return Err(Error::config(format!("tags names {name:?}, which the rows do not have")));
    }
    let primary = primary_tags(schema, chosen)?;
    let is_primary = |column: &Column| primary.iter().any(|tag| tag.name() == column.name());
    let is_tag = |column: &Column| {
        matches!(column.role(), Role::Tag | Role::PrimaryTag)
            || is_primary(column)
            || tags.iter().any(|name| name == column.name())
    };
    let columns = || schema.columns().iter().filter(|column| !is_tag(column));
    let is_time =
        |column: &&Column| matches!(column.data_type(), DataType::Timestamp(_) | DataType::TimestampTz(_));
    let time = columns()
        .find(|column| column.role() == Role::Timestamp)
        .filter(is_time)
        .or_else(|| columns().find(is_time))
        .ok_or_else(|| {
            Error::config("a table of time series begins with a timestamp, and the rows have none")
        })?;
    let fields: Vec<_> = columns().filter(|column| column.name() != time.name()).collect();
    if fields.is_empty() {
        return Err(Error::config("a table of time series has a timestamp and at least one more column"));
    }
    let at = |column: &Column| {
        let name = column.name().to_owned();
        move |error: Error| error.with_location(Location::new().with_column(name))
    };
    let one = |column: &Column, tag: bool| -> Result<String> {
        let name = quote(column.name()).map_err(at(column))?;
        Ok(format!("{name} {}", sql_type(column.data_type(), tag, is_primary(column)).map_err(at(column))?))
    };
    let mut data = vec![format!("{} NOT NULL", one(time, false)?)];
    for column in fields {
        let null = if column.is_nullable() { "" } else { " NOT NULL" };
        data.push(one(column, false)? + null);
    }
    let mut tags = Vec::new();
    for column in schema.columns().iter().filter(|column| is_tag(column)) {
        let null = if is_primary(column) { " NOT NULL" } else { "" };
        tags.push(one(column, true)? + null);
    }
    let names: Vec<_> = primary.iter().map(|tag| quote(tag.name())).collect::<Result<_>>()?;
    Ok(format!(
        "CREATE TABLE IF NOT EXISTS {table} ({}) TAGS ({}) PRIMARY TAGS ({})",
        data.join(", "),
        tags.join(", "),
        names.join(", ")
    ))
}

/// The type of a column, of a tag, of a primary tag.
///
/// # Errors
/// `Schema` with the code `no_exact_cast` for one without a counterpart.
pub fn sql_type(data_type: &DataType, tag: bool, primary: bool) -> Result<String> {
    use DataType as T;
    let longest = if primary { MAX_PRIMARY_BYTES } else { MAX_BYTES };
    let digits = |unit: &TimeUnit| match unit {
        TimeUnit::Second | TimeUnit::Millisecond => 3,
        TimeUnit::Microsecond => 6,
        TimeUnit::Nanosecond => 9,
    };
    let name = match data_type {
        T::Bool => "BOOL".to_owned(),
        T::Int8 | T::Int16 | T::UInt8 => "INT2".to_owned(),
        T::Int32 | T::UInt16 => "INT4".to_owned(),
        T::Int64 | T::UInt32 | T::UInt64 => "INT8".to_owned(),
        T::Float32 if !primary => "FLOAT4".to_owned(),
        T::Float64 if !primary => "FLOAT8".to_owned(),
        T::Char(length) if *length <= 1_023 => format!("CHAR({length})"),
        T::NChar(length) if *length <= 254 => format!("NCHAR({length})"),
        T::VarChar(Some(length)) if *length <= longest => format!("VARCHAR({length})"),
        T::VarChar(_) | T::Text => format!("VARCHAR({longest})"),
        T::NVarChar(length) if !tag && length.is_none_or(|length| length <= 16_383) => {
            format!("NVARCHAR({})", length.unwrap_or(16_383))
        }
        T::NVarChar(length) if tag => {
            format!("VARCHAR({})", length.unwrap_or(longest).saturating_mul(4).min(longest))
        }
        T::Bytes if !primary => format!("VARBYTES({MAX_BYTES})"),
        T::VarBytes(length) if !primary && length.is_none_or(|length| length <= MAX_BYTES) => {
            format!("VARBYTES({})", length.unwrap_or(MAX_BYTES))
        }
        T::Timestamp(unit) if !tag => format!("TIMESTAMP({})", digits(unit)),
        T::TimestampTz(unit) if !tag => format!("TIMESTAMPTZ({})", digits(unit)),
        T::Geometry if !tag => "GEOMETRY".to_owned(),
        _ => {
            let what = if primary {
                "primary tag"
            } else if tag {
                "tag"
            } else {
                "column"
            };
            return Err(Error::new(
                ErrorKind::Schema,
                format!("no {what} of KWDB's time series can be {data_type}"),
            )
            .with_code("no_exact_cast")
            .with_hint("cast it with a transform, as to text"));
        }
    };
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(tags: usize) -> Schema {
        let mut columns = vec![
            Column::new("usage", DataType::Float64),
            Column::new("k_timestamp", DataType::TimestampTz(TimeUnit::Nanosecond))
                .with_role(Role::Timestamp),
            Column::new("n", DataType::UInt8).with_nullable(false),
        ];
        columns
            .extend((0..tags).map(|n| Column::new(format!("tag{n}"), DataType::Text).with_role(Role::Tag)));
        Schema::new(columns).unwrap()
    }

    #[test]
    fn an_operator_names_the_tags_of_relational_rows() {
        let columns = [("id", DataType::Int32), ("at", DataType::Timestamp(TimeUnit::Millisecond))];
        let more =
            [("v", DataType::Float64), ("site", DataType::VarChar(Some(20))), ("floor", DataType::Int16)];
        let columns = columns.into_iter().chain(more).map(|(name, data_type)| Column::new(name, data_type));
        let schema = Schema::new(columns.collect()).unwrap();
        let (primary, tags) = (["site".to_owned()], ["floor".to_owned()]);
        assert_eq!(
            create_ts_table("t", &schema, &primary, &tags).unwrap(),
            "CREATE TABLE IF NOT EXISTS t (\"at\" TIMESTAMP(3) NOT NULL, \"id\" INT4, \"v\" FLOAT8) \
             TAGS (\"site\" VARCHAR(20) NOT NULL, \"floor\" INT2) PRIMARY TAGS (\"site\")"
        );
        let error = create_ts_table("t", &schema, &primary, &["none".to_owned()]).unwrap_err();
        assert!(error.to_string().contains("none"), "{error}");
    }

    #[test]
    fn tables_of_time_series() {
        assert_eq!(
            create_ts_table("\"cpu\"", &schema(2), &[], &[]).unwrap(),
            "CREATE TABLE IF NOT EXISTS \"cpu\" (\"k_timestamp\" TIMESTAMPTZ(9) NOT NULL, \"usage\" FLOAT8, \
             \"n\" INT2 NOT NULL) TAGS (\"tag0\" VARCHAR(128) NOT NULL, \"tag1\" VARCHAR(128) NOT NULL) \
             PRIMARY TAGS (\"tag0\", \"tag1\")"
        );
        assert_eq!(
            create_ts_table("\"cpu\"", &schema(6), &["tag3".into()], &[])
                .unwrap()
                .matches("NOT NULL")
                .count(),
            3
        );
        for (schema, chosen) in [
            (schema(0), vec![]),
            (schema(5), vec![]),
            (schema(1), vec!["usage".into()]),
            (schema(1), vec!["x".into()]),
        ] {
            let error = create_ts_table("\"cpu\"", &schema, &chosen, &[]).unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::Config | ErrorKind::Schema), "{error}");
        }
    }

    #[test]
    fn types_and_names_that_kwdb_does_not_take() {
        for data_type in
            [DataType::Numeric(None), DataType::Json, DataType::Date, DataType::Uuid, DataType::Interval]
        {
            assert_eq!(sql_type(&data_type, false, false).unwrap_err().code(), Some("no_exact_cast"));
        }
        assert!(sql_type(&DataType::Timestamp(TimeUnit::Second), true, false).is_err());
        assert!(sql_type(&DataType::Bytes, true, true).is_err());
        for wrong in ["", "a\0", "温度", &"x".repeat(129)] {
            assert!(quote(wrong).is_err(), "{wrong}");
        }
        assert_eq!(quote("a\"; drop").unwrap(), "\"a\"\"; drop\"");
    }
}
