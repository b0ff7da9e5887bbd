//! What the server says of its tables.

use std::collections::HashMap;

use kwsync_core::system::clickhouse::sql::literal;
use kwsync_core::{Error, ErrorKind, Result, TableId};

use super::answer::Session;
use super::config::ClickHouseOptions;

/// Engines whose tables patterns do not mean: they show what other tables have, hold no rows, or lose what is read.
const NOT_ITS_OWN: [&str; 18] = [
    "AzureQueue",
    "Buffer",
    "Dictionary",
    "Distributed",
    "FileLog",
    "GenerateRandom",
    "Kafka",
    "LiveView",
    "MaterializedView",
    "Merge",
    "NATS",
    "Null",
    "RabbitMQ",
    "S3Queue",
    "Set",
    "URL",
    "View",
    "WindowView",
];

/// A table.
#[derive(Clone, Debug)]
pub(super) struct Table {
    pub(super) database: String,
    pub(super) name: String,
    pub(super) engine: String,
    sorting_key: String,
    /// Whether the job names it, and no pattern only.
    pub(super) named: bool,
    /// Whether the server told its rows and their bytes; both are 0 otherwise.
    pub(super) counted: bool,
    pub(super) rows: u64,
    pub(super) bytes: u64,
}

impl Table {
    pub(super) fn id(&self) -> TableId {
        TableId::with_schema(self.database.as_str(), self.name.as_str())
    }

    /// The first column of the sorting key, if it is one and no expression.
    pub(super) fn first_key<'c>(&self, columns: &'c [Column]) -> Option<&'c Column> {
        columns.iter().find(|column| {
            let rest = self.sorting_key.strip_prefix(column.name.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(','))
        })
    }
}

/// A column of a table.
#[derive(Clone, Debug)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) text: String,
    /// `DEFAULT`, `MATERIALIZED`, `ALIAS`, `EPHEMERAL`, or nothing.
    pub(super) kind: String,
    pub(super) expression: String,
    pub(super) comment: String,
}

impl Column {
    /// Whether `SELECT *` has it.
    pub(super) fn is_ordinary(&self) -> bool {
        matches!(self.kind.as_str(), "" | "DEFAULT")
    }
}

/// The tables that the options ask for. `strict` makes an error of a name or pattern that means none.
pub(super) async fn asked(
    session: &mut Session,
    options: &ClickHouseOptions,
    strict: bool,
) -> Result<Vec<Table>> {
    let rows = session
        .rows(
            "SELECT database, name, engine, sorting_key FROM system.tables WHERE NOT is_temporary AND database NOT IN ('system', \
             'INFORMATION_SCHEMA', 'information_schema') ORDER BY database, name",
        )
        .await
        .map_err(|error| error.context("cannot list the tables"))?;
    let sizes = sizes(session).await.map_err(|error| error.context("cannot list the tables"))?;
    let all = rows.into_iter().filter_map(|row| {
        let mut row = row.into_iter().map(Option::unwrap_or_default);
        let mut next = || row.next();
        let (database, name, engine, sorting_key) = (next()?, next()?, next()?, next()?);
        let size = sizes.as_ref().map(|sizes| sizes.get(&(database.clone(), name.clone())).copied());
        let (rows, bytes) = size.flatten().unwrap_or_default();
        Some(Table {
            database,
            name,
            engine,
            sorting_key,
            named: false,
            counted: size.is_some(),
            rows,
            bytes,
        })
    });
    let all: Vec<Table> = all.collect();
    let default = Some(options.database.as_str());
    let mut found: Vec<Table> = Vec::new();
    for pattern in &options.tables {
        let before = found.len();
        for table in &all {
            let is = match pattern.exact() {
                Some((schema, name)) => schema.or(default) == Some(&table.database) && name == table.name,
                None => {
                    !NOT_ITS_OWN.contains(&table.engine.as_str())
                        && !table.name.starts_with(".inner")
                        && pattern.matches(default, &table.database, &table.name)
                }
            };
            let out =
                options.exclude.iter().any(|other| other.matches(default, &table.database, &table.name));
            if !is || out {
                continue;
            }
            let named = pattern.exact().is_some();
            match found.iter_mut().find(|known| known.id() == table.id()) {
                Some(known) => known.named |= named,
                None => found.push(Table { named, ..table.clone() }),
            }
        }
        if strict && found.len() == before && (pattern.exact().is_some() || options.exclude.is_empty()) {
            return Err(gone(&pattern, default));
        }
    }
    Ok(found)
}

/// Rows and bytes of tables by database and name; none where the user may not see them.
async fn sizes(session: &mut Session) -> Result<Option<HashMap<(String, String), (u64, u64)>>> {
    let found = session
        .rows(
            "SELECT database, table, sum(rows), sum(data_uncompressed_bytes) FROM system.parts WHERE active GROUP BY database, table",
        )
        .await;
    let rows = match found {
        Ok(rows) => rows,
        // Who has no more than SELECT on what is to be read reads that.
        Err(error) if error.kind() == ErrorKind::Permission => {
            tracing::debug!(%error, "the user may not see how large tables are");
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let sizes = rows.into_iter().filter_map(|row| {
        let mut row = row.into_iter().map(Option::unwrap_or_default);
        let mut next = || row.next();
        let place = (next()?, next()?);
        Some((place, (next()?.parse().unwrap_or(0), next()?.parse().unwrap_or(0))))
    });
    Ok(Some(sizes.collect()))
}

/// The columns of a table.
pub(super) async fn columns(session: &mut Session, table: &TableId) -> Result<Vec<Column>> {
    let sql = format!(
        "SELECT name, type, default_kind, default_expression, comment FROM system.columns WHERE database = {} AND table = {}",
        literal(table.schema().unwrap_or_default()),
        literal(table.name())
    );
    let rows = session.rows(&sql).await?;
    let columns = rows.into_iter().filter_map(|row| {
        let mut row = row.into_iter().map(Option::unwrap_or_default);
        let mut next = || row.next();
        Some(Column { name: next()?, text: next()?, kind: next()?, expression: next()?, comment: next()? })
    });
    let columns: Vec<_> = columns.collect();
    if columns.is_empty() { Err(gone(table, None)) } else { Ok(columns) }
}

pub(super) fn gone(name: &dyn std::fmt::Display, database: Option<&str>) -> Error {
    let place = database.map(|name| format!(" in database {name:?}")).unwrap_or_default();
    Error::new(ErrorKind::NotFound, format!("there is no table {name}{place} to read")).with_hint(
        "check the database and the case of the name, and that the user may read it; it may have been dropped or renamed",
    )
}
