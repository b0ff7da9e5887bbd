//! What a server's catalog says of tables, asked by the simple protocol alone.
//!
//! Whatever keeps to PostgreSQL's `information_schema` answers, so that a server of that kind can stand in; only KWDB knows of
//! tags.

use super::ddl;
use crate::system::postgres::ddl::literal;
use crate::system::postgres::wire::Connection;
use crate::{Error, ErrorKind, Result, TableId};

/// A column or tag.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CatalogColumn {
    /// The name.
    pub name: String,
    /// The type as KWDB writes it, `TIMESTAMPTZ(3)`; as `information_schema` has it on other servers.
    pub type_name: String,
    /// Whether it may be null.
    pub nullable: bool,
    /// Whether it is a tag.
    pub tag: bool,
    /// Whether it is one of the primary tags.
    pub primary: bool,
}

/// The table as SQL names it.
///
/// # Errors
/// As [`ddl::quote`].
pub fn table_name(table: &TableId) -> Result<String> {
    let name = ddl::quote(table.name())?;
    Ok(match table.schema() {
        Some(schema) => format!("{}.{name}", ddl::quote(schema)?),
        None => name,
    })
}

/// The rows of a statement that has one result; null is the empty text.
async fn rows(connection: &mut Connection, sql: &str) -> Result<Vec<Vec<String>>> {
    let results = connection.simple_query(sql).await?;
    // The tag of a SELECT says 0 here whatever came.
    Ok(results.first().map_or_else(Vec::new, |result| {
        let width = result.rows.columns().len();
        let row =
            |row| (0..width).map(|column| result.rows.get(row, column).unwrap_or("").to_owned()).collect();
        (0..result.rows.len()).map(row).collect()
    }))
}

fn yes(text: &str) -> bool {
    matches!(text, "YES" | "t" | "true")
}

/// The tables and views of the database, each with its schema, by name; without the server's own.
///
/// # Errors
/// What the server says.
///
/// # Cancel safety
/// Dropping the future breaks the session.
pub async fn tables(connection: &mut Connection) -> Result<Vec<(TableId, bool)>> {
    let sql = "SELECT table_schema, table_name, table_type FROM information_schema.tables \
               WHERE table_catalog = current_database() \
               AND table_schema NOT IN ('information_schema', 'pg_catalog', 'kwdb_internal', 'crdb_internal', 'pg_extension') \
               ORDER BY table_schema, table_name";
    let found = rows(connection, sql).await?;
    found
        .into_iter()
        .map(|row| match row.as_slice() {
            [schema, name, kind] => {
                Ok((TableId::with_schema(schema.as_str(), name.as_str()), kind.contains("VIEW")))
            }
            _ => Err(Error::new(ErrorKind::Protocol, "the catalog's answer has not three columns")),
        })
        .collect()
}

/// The columns of a table in order, then its tags; none if there is no such table. `kwdb` says that the server is one, and
/// `series` that the database is of time series.
///
/// # Errors
/// What the server says.
///
/// # Cancel safety
/// Dropping the future breaks the session.
pub async fn columns(
    connection: &mut Connection,
    table: &TableId,
    kwdb: bool,
    series: bool,
) -> Result<Vec<CatalogColumn>> {
    let schema = table.schema().unwrap_or("public");
    let own = if kwdb { "kwdb_sql_type, is_nullable, is_tag" } else { "data_type, is_nullable, 'NO'" };
    let sql = format!(
        "SELECT column_name, {own} FROM information_schema.columns \
         WHERE table_catalog = current_database() AND table_schema = {} AND table_name = {} ORDER BY ordinal_position",
        literal(schema),
        literal(table.name())
    );
    let found = rows(connection, &sql).await?;
    let tags = match series && !found.is_empty() {
        true => rows(connection, &format!("SHOW TAGS FROM {}", table_name(table)?)).await?,
        false => Vec::new(),
    };
    let mut columns = Vec::with_capacity(found.len());
    for row in found {
        let [name, type_name, nullable, tag] = row.as_slice() else {
            return Err(Error::new(ErrorKind::Protocol, "the catalog's answer has not four columns"));
        };
        let primary =
            tags.iter().any(|row| row.first() == Some(name) && row.get(2).is_some_and(|is| yes(is)));
        columns.push(CatalogColumn {
            name: name.clone(),
            type_name: type_name.clone(),
            nullable: yes(nullable),
            tag: yes(tag),
            primary,
        });
    }
    columns.sort_by_key(|column| column.tag);
    Ok(columns)
}

/// The columns of a relational table's primary key, in their order.
///
/// # Errors
/// What the server says.
///
/// # Cancel safety
/// Dropping the future breaks the session.
pub async fn primary_key(connection: &mut Connection, table: &TableId) -> Result<Vec<String>> {
    let sql = format!(
        "SELECT k.column_name FROM information_schema.table_constraints c \
         JOIN information_schema.key_column_usage k ON k.constraint_name = c.constraint_name \
         AND k.table_schema = c.table_schema AND k.table_name = c.table_name \
         WHERE c.constraint_type = 'PRIMARY KEY' AND c.table_catalog = current_database() AND c.table_schema = {} \
         AND c.table_name = {} ORDER BY k.ordinal_position",
        literal(table.schema().unwrap_or("public")),
        literal(table.name())
    );
    Ok(rows(connection, &sql).await?.into_iter().flatten().collect())
}

/// What becomes of rows with the primary tags and the time of others; none where we may not ask.
///
/// # Errors
/// What the server says otherwise.
///
/// # Cancel safety
/// Dropping the future breaks the session.
pub async fn dedup_rule(connection: &mut Connection) -> Result<Option<String>> {
    match rows(connection, "SHOW CLUSTER SETTING ts.dedup.rule").await {
        Ok(rows) => Ok(rows.into_iter().next().and_then(|row| row.into_iter().next())),
        Err(error) if matches!(error.kind(), ErrorKind::Permission | ErrorKind::Schema) => Ok(None),
        Err(error) => Err(error),
    }
}
