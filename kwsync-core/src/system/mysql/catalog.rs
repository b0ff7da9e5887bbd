//! What a server's catalog says of tables.

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};

use super::ddl::literal;
use super::defaults::{self, CatalogDefault};
use super::session::error;
use super::types::declared;
use crate::{DataType, Result};

/// A table, or what can be read like one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CatalogTable {
    /// The database.
    pub schema: String,
    /// The name.
    pub name: String,
    /// Whether it is a view.
    pub view: bool,
    /// Its engine, in its own spelling: `InnoDB`.
    pub engine: String,
    /// Bytes of its rows, as far as the server knows.
    pub bytes: u64,
    /// Its rows, as far as the server knows.
    pub rows: u64,
}

/// A column as the catalog has it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CatalogColumn {
    /// The name.
    pub name: String,
    /// The name of the type, in lower case, without length: `int`, `varchar`. `json` also for MariaDB's columns that are
    /// checked for being so.
    pub type_name: String,
    /// The whole type: `int(10) unsigned`.
    pub column_type: String,
    /// What it is where the result of a query would not tell: lengths, JSON, UUID.
    pub declared: Option<DataType>,
    /// Whether it may be null.
    pub nullable: bool,
    /// Whether the server fills it in when it is left out.
    pub has_default: bool,
    /// Whether it can never be written.
    pub generated: bool,
    /// Characters, of text.
    pub length: Option<u64>,
    /// Digits in all, of a number.
    pub precision: Option<u16>,
    /// Digits behind the point, of a number.
    pub scale: Option<i16>,
    /// Digits of the second.
    pub second_digits: u32,
    /// Its comment.
    pub comment: Option<String>,
    /// What the server fills in.
    pub default: CatalogDefault,
    /// The values of an enum, in their order.
    pub values: Option<Vec<String>>,
    /// The values of a set, in their order.
    pub members: Option<Vec<String>>,
    /// The character set of its text.
    pub character_set: Option<String>,
    /// The most bytes of a text.
    pub octets: Option<u64>,
}

impl CatalogColumn {
    /// Whether it is unsigned.
    pub fn is_unsigned(&self) -> bool {
        self.column_type.contains("unsigned")
    }

    /// Whether it is a whole number.
    pub fn is_integer(&self) -> bool {
        matches!(self.type_name.as_str(), "tinyint" | "smallint" | "mediumint" | "int" | "bigint")
    }
}

/// A unique index over whole columns.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UniqueIndex {
    /// The name; `PRIMARY` for the primary key.
    pub name: String,
    /// The columns in order.
    pub columns: Vec<String>,
}

/// The tables and views of a database, or of all but the server's own, by name.
///
/// # Errors
/// What the server says.
///
/// # Cancel safety
/// Dropping the future may leave the session unusable.
pub async fn tables(
    connection: &mut Conn,
    schema: Option<&str>,
    name: Option<&str>,
) -> Result<Vec<CatalogTable>> {
    let mut sql = String::from(
        "SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE LIKE '%VIEW%', COALESCE(ENGINE, ''), COALESCE(DATA_LENGTH, 0), \
         COALESCE(TABLE_ROWS, 0) FROM information_schema.TABLES \
         WHERE TABLE_SCHEMA NOT IN ('mysql', 'information_schema', 'performance_schema', 'sys')",
    );
    for (column, value) in [("TABLE_SCHEMA", schema), ("TABLE_NAME", name)] {
        if let Some(value) = value {
            sql.push_str(&format!(" AND {column} = {}", literal(value)));
        }
    }
    sql.push_str(" ORDER BY TABLE_SCHEMA, TABLE_NAME");
    let rows: Vec<(String, String, u8, String, u64, u64)> = connection.query(sql).await.map_err(error)?;
    let made = |(schema, name, view, engine, bytes, rows)| CatalogTable {
        schema,
        name,
        view: view != 0,
        engine,
        bytes,
        rows,
    };
    Ok(rows.into_iter().map(made).collect())
}

/// The columns of a table in order; none if there is no such table.
///
/// # Errors
/// What the server says.
///
/// # Cancel safety
/// Dropping the future may leave the session unusable.
pub async fn columns(connection: &mut Conn, schema: &str, table: &str) -> Result<Vec<CatalogColumn>> {
    let place = format!("TABLE_SCHEMA = {} AND TABLE_NAME = {}", literal(schema), literal(table));
    let sql = format!(
        "SELECT COLUMN_NAME, DATA_TYPE, COLUMN_TYPE, IS_NULLABLE = 'YES', \
         COLUMN_DEFAULT IS NOT NULL OR EXTRA LIKE '%auto_increment%', \
         EXTRA LIKE '%GENERATED%' AND EXTRA NOT LIKE '%DEFAULT_GENERATED%', \
         CHARACTER_MAXIMUM_LENGTH, NUMERIC_PRECISION, NUMERIC_SCALE, DATETIME_PRECISION, COLUMN_COMMENT, \
         COLUMN_DEFAULT, EXTRA, VERSION() LIKE '%MariaDB%', CHARACTER_SET_NAME, CHARACTER_OCTET_LENGTH FROM information_schema.COLUMNS WHERE {place} ORDER BY ORDINAL_POSITION"
    );
    let rows: Vec<Row> = connection.query(sql).await.map_err(error)?;
    // MariaDB has no type of JSON: it checks text. MySQL's table of checks has no names of tables.
    let checks = format!(
        "SELECT CHECK_CLAUSE FROM information_schema.CHECK_CONSTRAINTS WHERE CONSTRAINT_SCHEMA = {} AND TABLE_NAME = {} \
         AND CHECK_CLAUSE LIKE 'json_valid%'",
        literal(schema),
        literal(table)
    );
    let checks: Vec<String> = connection.query(checks).await.unwrap_or_default();
    let mut columns = Vec::with_capacity(rows.len());
    for mut row in rows {
        let mut text = |at: usize| row.take::<Option<String>, _>(at).flatten();
        let name = text(0).unwrap_or_default();
        let mut type_name = text(1).unwrap_or_default().to_lowercase();
        let check = format!("json_valid(`{}`)", name.replace('`', "``"));
        if type_name == "longtext" && checks.contains(&check) {
            "json".clone_into(&mut type_name);
        }
        let whole_type = text(2).unwrap_or_default();
        let column_type = whole_type.to_lowercase();
        let mut number = |at: usize| row.take::<Option<u64>, _>(at).flatten();
        let [nullable, has_default, generated] = [3, 4, 5].map(|at| number(at) == Some(1));
        let [length, precision, scale, digits] = [6, 7, 8, 9].map(&mut number);
        let quoted = number(13) == Some(1);
        let octets = number(15);
        let mut text = |at: usize| row.take::<Option<String>, _>(at).flatten();
        let (comment, default, extra) = (text(10), text(11), text(12).unwrap_or_default());
        let character_set = text(14);
        columns.push(CatalogColumn {
            declared: declared(&type_name, length),
            name,
            type_name,
            column_type,
            nullable,
            has_default,
            generated,
            length,
            precision: precision.and_then(|number| u16::try_from(number).ok()),
            scale: scale.and_then(|number| i16::try_from(number).ok()),
            second_digits: digits.and_then(|number| u32::try_from(number).ok()).unwrap_or_default(),
            comment: comment.filter(|text| !text.is_empty()),
            default: CatalogDefault::new(default, &extra, quoted),
            values: defaults::values(&whole_type),
            members: defaults::members(&whole_type),
            character_set,
            octets,
        });
    }
    Ok(columns)
}

/// The unique indexes of a table over whole columns, the primary key first.
///
/// # Errors
/// What the server says.
///
/// # Cancel safety
/// Dropping the future may leave the session unusable.
pub async fn unique_indexes(connection: &mut Conn, schema: &str, table: &str) -> Result<Vec<UniqueIndex>> {
    let sql = format!(
        "SELECT INDEX_NAME, COALESCE(COLUMN_NAME, ''), SUB_PART IS NOT NULL FROM information_schema.STATISTICS \
         WHERE TABLE_SCHEMA = {} AND TABLE_NAME = {} AND NON_UNIQUE = 0 \
         ORDER BY INDEX_NAME <> 'PRIMARY', INDEX_NAME, SEQ_IN_INDEX",
        literal(schema),
        literal(table)
    );
    let rows: Vec<(String, String, u8)> = connection.query(sql).await.map_err(error)?;
    let mut found: Vec<(UniqueIndex, bool)> = Vec::new();
    for (name, column, part) in rows {
        let whole = part == 0 && !column.is_empty();
        match found.last_mut() {
            Some((last, all)) if last.name == name => {
                last.columns.push(column);
                *all &= whole;
            }
            _ => found.push((UniqueIndex { name, columns: vec![column] }, whole)),
        }
    }
    Ok(found.into_iter().filter(|(_, whole)| *whole).map(|(index, _)| index).collect())
}
