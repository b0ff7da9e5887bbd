//! What the server says of its tables.

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
    /// Its rows and their bytes, as far as the server tells.
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
            "SELECT database, name, engine, sorting_key, rows, bytes FROM (SELECT database, name, engine, sorting_key FROM system.tables \
             WHERE NOT is_temporary AND database NOT IN ('system', 'INFORMATION_SCHEMA', 'information_schema')) ANY LEFT JOIN (SELECT \
             database, table AS name, sum(rows) AS rows, sum(data_uncompressed_bytes) AS bytes FROM system.parts WHERE active GROUP BY \
             database, table) USING database, name ORDER BY database, name",
        )
        .await
        .map_err(|error| error.context("cannot list the tables"))?;
    let all = rows.into_iter().filter_map(|row| {
        let mut row = row.into_iter().map(Option::unwrap_or_default);
        let mut next = || row.next();
        Some(Table {
            database: next()?,
            name: next()?,
            engine: next()?,
            sorting_key: next()?,
            rows: next()?.parse().unwrap_or(0),
            bytes: next()?.parse().unwrap_or(0),
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
            let twice = found.iter().any(|known| known.id() == table.id());
            if is && !out && !twice {
                found.push(table.clone());
            }
        }
        if strict && found.len() == before && (pattern.exact().is_some() || options.exclude.is_empty()) {
            return Err(gone(&pattern, default));
        }
    }
    Ok(found)
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
