//! Tables of time series as rows are written to them.

use kwsync_core::system::kwdb::catalog;
use kwsync_core::system::postgres::wire::Connection;
use kwsync_core::{Result, TableId};
use kwsync_formats::kwdb::SeriesType;

pub(super) use kwsync_core::system::kwdb::catalog::{dedup_rule, table_name};

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

/// What the catalog has of `table`; none if there is no such table.
pub(super) async fn table(connection: &mut Connection, table: &TableId) -> Result<Option<SeriesTable>> {
    let found = catalog::columns(connection, table, true, true).await?;
    if found.is_empty() {
        return Ok(None);
    }
    let column = |found: catalog::CatalogColumn| SeriesColumn {
        series_type: found.type_name.parse().ok(),
        name: found.name,
        type_name: found.type_name,
        nullable: found.nullable,
        tag: found.tag,
        primary: found.primary,
    };
    let columns = found.into_iter().map(column).collect();
    Ok(Some(SeriesTable { name: table_name(table)?, columns }))
}
