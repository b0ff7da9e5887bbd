//! What KWDB's catalog says of a table of time series, asked by the simple protocol alone.

use kwsync_core::system::kwdb::ddl;
use kwsync_core::system::postgres::wire::Connection;
use kwsync_core::{Error, ErrorKind, Result, TableId};
use kwsync_formats::kwdb::SeriesType;

/// A column or tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SeriesColumn {
    pub(super) name: String,
    /// None: a type that rows cannot be written to
    pub(super) series_type: Option<SeriesType>,
    pub(super) type_name: String,
    pub(super) nullable: bool,
    pub(super) tag: bool,
    pub(super) primary: bool,
}

/// A table of time series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SeriesTable {
    /// As SQL names it
    pub(super) name: String,
    /// The columns in their order, then the tags
    pub(super) columns: Vec<SeriesColumn>,
}

impl SeriesTable {
    pub(super) fn column(&self, name: &str) -> Option<&SeriesColumn> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// The column of the time, which is the first.
    pub(super) fn time(&self) -> Option<&SeriesColumn> {
        self.columns.iter().find(|column| !column.tag)
    }
}

/// The table as SQL names it.
pub(super) fn table_name(table: &TableId) -> Result<String> {
    let name = ddl::quote(table.name())?;
    Ok(match table.schema() {
        Some(schema) => format!("{}.{name}", ddl::quote(schema)?),
        None => name,
    })
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// The rows of a statement that has one result.
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

/// What the catalog has of `table`; none if there is no such table.
pub(super) async fn table(connection: &mut Connection, table: &TableId) -> Result<Option<SeriesTable>> {
    let schema = table.schema().unwrap_or("public");
    let sql = format!(
        "SELECT column_name, kwdb_sql_type, is_nullable, is_tag FROM information_schema.columns \
         WHERE table_catalog = current_database() AND table_schema = {} AND table_name = {} ORDER BY ordinal_position",
        literal(schema),
        literal(table.name())
    );
    let found = rows(connection, &sql).await?;
    if found.is_empty() {
        return Ok(None);
    }
    let name = table_name(table)?;
    let tags = rows(connection, &format!("SHOW TAGS FROM {name}")).await?;
    let yes = |text: &String| matches!(text.as_str(), "YES" | "t" | "true");
    let mut columns = Vec::with_capacity(found.len());
    for row in found {
        let [column, type_name, nullable, tag] = row.as_slice() else {
            return Err(Error::new(ErrorKind::Protocol, "the catalog's answer has not four columns"));
        };
        let primary = tags.iter().any(|row| row.first() == Some(column) && row.get(2).is_some_and(yes));
        columns.push(SeriesColumn {
            name: column.clone(),
            series_type: type_name.parse().ok(),
            type_name: type_name.clone(),
            nullable: yes(nullable),
            tag: yes(tag),
            primary,
        });
    }
    columns.sort_by_key(|column| column.tag);
    Ok(Some(SeriesTable { name, columns }))
}

/// What becomes of rows with the primary tags and the time of others; none where we may not ask.
pub(super) async fn dedup_rule(connection: &mut Connection) -> Result<Option<String>> {
    match rows(connection, "SHOW CLUSTER SETTING ts.dedup.rule").await {
        Ok(rows) => Ok(rows.into_iter().next().and_then(|row| row.into_iter().next())),
        Err(error) if matches!(error.kind(), ErrorKind::Permission | ErrorKind::Schema) => Ok(None),
        Err(error) => Err(error),
    }
}
