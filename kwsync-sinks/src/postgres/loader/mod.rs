//! Rows one at a time: the client of AnalyticDB's SDK, in Rust's terms.

mod commit;
mod config;
mod error;
mod row;
mod value;

use std::collections::HashMap;
use std::sync::Arc;

use kwsync_core::system::postgres::catalog::{self, CatalogTable};
use kwsync_core::system::postgres::wire::Connection;
use kwsync_core::{Column, DataType, Error, ErrorKind, Schema, Sink, TableBatch, TableId, Value};
use serde::Serialize;

pub use self::config::LoaderConfig;
pub use self::error::{FailedRow, LoadCode, LoadError};
pub use self::row::{LoadRow, LoadValue};
use super::config::{Create, DeliveryMode, Mode, PostgresOptions};
use super::sink::PostgresSink;
use super::writer::PostgresWriter;

/// What has become of rows since the loader was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoadCounts {
    /// Rows committed.
    pub written: u64,
    /// Rows dropped because their key was there already.
    pub ignored: u64,
    /// Rows that were refused, and returned with an error.
    pub failed: u64,
    /// Commits that were tried again.
    pub retries: u64,
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ColumnInfo {
    /// The name.
    pub name: String,
    /// The type, as the server writes it.
    pub type_name: String,
    /// The type.
    pub data_type: DataType,
    /// Whether it may be null.
    pub nullable: bool,
    /// Whether the server fills it in when it is left out.
    pub has_default: bool,
    /// Whether it can be written.
    pub writable: bool,
}

/// A table.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TableInfo {
    /// Schema and name.
    pub table: TableId,
    /// All its columns, in order.
    pub columns: Vec<ColumnInfo>,
    /// The columns of its primary key.
    pub primary_key: Vec<String>,
}

/// Takes rows one at a time and writes them in bulk, over several connections.
///
/// Rows are buffered; they are written by [`commit`](Self::commit), and by themselves once `commit_size` bytes are there. A
/// row counts as written only when its commit has returned. A commit returns the rows that the server refused
/// ([`LoadCode::CommitRows`]), and they leave the buffer; when the server or the connection fails, even after
/// retries, all rows that are not committed stay for another commit ([`LoadCode::CommitOther`]).
///
/// The tables must exist. Values are read for the type of their column: numbers may be text and the other way round,
/// an integer in a timestamp is milliseconds. The order of rows is not kept between connections.
///
/// Dropping a loader closes its connections and loses what is buffered; [`stop`](Self::stop) refuses to.
///
/// # Examples
/// ```no_run
/// use kwsync_sinks::postgres::{LoadRow, Loader, LoaderConfig};
///
/// # async fn load() -> Result<(), kwsync_sinks::postgres::LoadError> {
/// let config = LoaderConfig::from_address("postgres://me:secret@localhost:5432/metrics")?
///     .with_table("cpu", ["host", "usage"]);
/// let mut loader = Loader::connect(config).await?;
/// let mut row = LoadRow::new(2);
/// for usage in 0..1000 {
///     row.set_column(0, "a").set_column(1, usage);
///     loader.add_row("cpu", &row).await?;
/// }
/// loader.commit().await?;
/// loader.stop().await
/// # }
/// ```
#[derive(Debug)]
pub struct Loader {
    config: LoaderConfig,
    sink: PostgresSink,
    writers: Vec<Option<PostgresWriter>>,
    tables: HashMap<TableId, Table>,
    buffered_bytes: usize,
    counts: LoadCounts,
    stopped: bool,
}

/// A configured table and its buffer.
#[derive(Debug)]
struct Table {
    catalog: CatalogTable,
    /// The configured columns, as their values travel
    schema: Arc<Schema>,
    /// The types of the target's columns
    types: Vec<DataType>,
    rows: Vec<Vec<Value<'static>>>,
}

type Result<T> = std::result::Result<T, LoadError>;

impl Loader {
    /// Connects, and looks at the tables.
    ///
    /// # Errors
    /// [`LoadCode::Config`] for tables and columns that do not exist or are not configured rightly;
    /// [`LoadCode::Connect`] when the server cannot be reached.
    pub async fn connect(config: LoaderConfig) -> Result<Self> {
        config.check()?;
        let mut options = PostgresOptions::new(config.connect.clone()).with_create(Create::Never);
        options.delivery = DeliveryMode::AtLeastOnce;
        options.mode = if config.insert_ignore { Mode::InsertIgnore } else { Mode::Insert };
        let sink = PostgresSink::new(options);
        let connected = Connection::connect(&config.connect).await;
        let mut connection = connected.map_err(|error| LoadError::new(LoadCode::Connect, error))?;
        let mut tables = HashMap::new();
        for (id, columns) in &config.tables {
            let id = config.qualified(id);
            let found = catalog::table(&mut connection, &id, None).await;
            let found = found.map_err(|error| LoadError::new(LoadCode::Other, error))?;
            let Some(mut found) = found else {
                return Err(LoadError::config(format!("table {id} does not exist")));
            };
            found.unique = catalog::unique_indexes(&mut connection, &found)
                .await
                .map_err(|error| LoadError::new(LoadCode::Other, error))?;
            let table = Table::new(&id, found, columns.as_deref())?;
            sink.prepare(&id, &table.schema)
                .await
                .map_err(|error| LoadError::new(LoadCode::Config, error))?;
            tables.insert(id, table);
        }
        // All is settled: a good-bye that gets lost changes nothing.
        drop(connection.close().await);
        let writers = (0..config.parallel).map(|_| None).collect();
        Ok(Self {
            config,
            sink,
            writers,
            tables,
            buffered_bytes: 0,
            counts: LoadCounts::default(),
            stopped: false,
        })
    }

    fn table(&mut self, table: impl Into<TableId>) -> Result<(TableId, &mut Table)> {
        let id = self.config.qualified(&table.into());
        if self.stopped {
            let error = Error::new(ErrorKind::Config, "the loader has been stopped");
            return Err(LoadError::new(LoadCode::AddData, error));
        }
        let known: Vec<String> = self.tables.keys().map(ToString::to_string).collect();
        match self.tables.get_mut(&id) {
            Some(table) => Ok((id, table)),
            None => {
                let text = format!("table {id} is not among the configured ones ({})", known.join(", "));
                Err(LoadError::new(LoadCode::AddData, Error::new(ErrorKind::NotFound, text)))
            }
        }
    }

    /// Adds a row, its values in the order of the configured columns.
    ///
    /// # Errors
    /// [`LoadCode::AddData`] when it does not fit its table: nothing is added then. As [`commit`](Self::commit) when
    /// the buffer is full: then the row is in the buffer, or among the failed ones.
    ///
    /// # Cancel safety
    /// As [`commit`](Self::commit); the row is added before anything is awaited.
    pub async fn add_row(&mut self, table: impl Into<TableId>, row: &LoadRow) -> Result<()> {
        self.push(table.into(), row.values().to_vec())?;
        self.commit_if_full().await
    }

    /// Adds several rows.
    ///
    /// # Errors
    /// As [`add_row`](Self::add_row); rows before the one that does not fit have been added.
    pub async fn add_rows<'r>(
        &mut self,
        table: impl Into<TableId>,
        rows: impl IntoIterator<Item = &'r LoadRow>,
    ) -> Result<()> {
        let table = table.into();
        for row in rows {
            self.push(table.clone(), row.values().to_vec())?;
            self.commit_if_full().await?;
        }
        Ok(())
    }

    /// Adds a row by the names of its columns; those that it does not name are null.
    ///
    /// # Errors
    /// As [`add_row`](Self::add_row); also for a name that is not among the configured columns.
    pub async fn add_map<K: AsRef<str>, V: Into<LoadValue>>(
        &mut self,
        table: impl Into<TableId>,
        map: impl IntoIterator<Item = (K, V)>,
    ) -> Result<()> {
        let id = table.into();
        let (name, table) = self.table(id.clone())?;
        let mut values = vec![Value::Null; table.schema.columns().len()];
        for (key, value) in map {
            let key = key.as_ref();
            match table.schema.index_of(key).and_then(|index| values.get_mut(index)) {
                Some(slot) => *slot = value.into().0,
                None => {
                    let columns: Vec<&str> = table.schema.columns().iter().map(Column::name).collect();
                    let text = format!(
                        "column {key:?} is not among the configured ones of table {name} ({})",
                        columns.join(", ")
                    );
                    return Err(LoadError::new(LoadCode::AddData, Error::new(ErrorKind::NotFound, text)));
                }
            }
        }
        self.push(id, values)?;
        self.commit_if_full().await
    }

    /// Adds several rows by the names of their columns.
    ///
    /// # Errors
    /// As [`add_map`](Self::add_map); rows before the one that does not fit have been added.
    pub async fn add_maps<M, K: AsRef<str>, V: Into<LoadValue>>(
        &mut self,
        table: impl Into<TableId>,
        maps: impl IntoIterator<Item = M>,
    ) -> Result<()>
    where
        M: IntoIterator<Item = (K, V)>,
    {
        let table = table.into();
        for map in maps {
            self.add_map(table.clone(), map).await?;
        }
        Ok(())
    }

    /// Adds a structure as a row: its fields are columns by their names.
    ///
    /// # Errors
    /// As [`add_map`](Self::add_map); also for what serde does not make a map of.
    pub async fn add(&mut self, table: impl Into<TableId>, row: &(impl Serialize + Sync)) -> Result<()> {
        let made = serde_json::to_value(row);
        let fields = match made {
            Ok(serde_json::Value::Object(fields)) => fields,
            Ok(_) => {
                let error = Error::new(ErrorKind::Data, "a row is a structure or a map");
                return Err(LoadError::new(LoadCode::AddData, error));
            }
            Err(error) => {
                return Err(LoadError::new(
                    LoadCode::AddData,
                    Error::new(ErrorKind::Data, error.to_string()),
                ));
            }
        };
        self.add_map(table, fields.into_iter().map(|(name, value)| (name, LoadValue(row::from_json(value)))))
            .await
    }

    fn push(&mut self, table: TableId, values: Vec<Value<'static>>) -> Result<()> {
        let empty_as_null = self.config.empty_as_null;
        let (id, table) = self.table(table)?;
        let columns = table.schema.columns();
        let add = |text: String| Err(LoadError::new(LoadCode::AddData, Error::new(ErrorKind::Data, text)));
        if values.len() != columns.len() {
            return add(format!(
                "the row has {} values, and table {id} {} columns",
                values.len(),
                columns.len()
            ));
        }
        let mut row = Vec::with_capacity(values.len());
        let mut bytes = 0;
        for ((value, column), data_type) in values.into_iter().zip(columns).zip(&table.types) {
            let empty = matches!(&value, Value::Text(text) if text.is_empty());
            let value = if empty && empty_as_null { Value::Null } else { value };
            match value::fit(value, data_type, column.data_type()) {
                Ok(value) => {
                    bytes += value::size(&value);
                    row.push(value);
                }
                Err(fault) => return add(format!("column {:?} of table {id}: {fault}", column.name())),
            }
        }
        // The items of lists are looked at here, so that none of them stands in the way of a commit.
        if table.types.iter().any(|data_type| matches!(data_type, DataType::Array(_))) {
            let one = TableBatch::from_rows(id, Arc::clone(&table.schema), std::slice::from_ref(&row));
            one.map_err(|error| LoadError::new(LoadCode::AddData, error))?;
        }
        table.rows.push(row);
        self.buffered_bytes += bytes;
        Ok(())
    }

    /// Rows that are not committed.
    #[must_use]
    pub fn buffered_rows(&self) -> usize {
        self.tables.values().map(|table| table.rows.len()).sum()
    }

    /// What has become of rows so far.
    #[must_use]
    pub const fn counts(&self) -> LoadCounts {
        self.counts
    }

    /// What the server knows of a configured table.
    ///
    /// # Errors
    /// [`LoadCode::AddData`] when it is not configured.
    pub fn table_info(&mut self, table: impl Into<TableId>) -> Result<TableInfo> {
        let (id, table) = self.table(table)?;
        let primary = table.catalog.unique.iter().find(|index| index.primary);
        Ok(TableInfo {
            table: id,
            columns: table.catalog.columns.iter().map(ColumnInfo::of).collect(),
            primary_key: primary.map_or_else(Vec::new, |index| index.columns.clone()),
        })
    }

    /// The columns of a configured table.
    ///
    /// # Errors
    /// As [`table_info`](Self::table_info).
    pub fn column_info(&mut self, table: impl Into<TableId>) -> Result<Vec<ColumnInfo>> {
        Ok(self.table_info(table)?.columns)
    }

    /// A connection of one's own, for anything but loading.
    ///
    /// # Errors
    /// [`LoadCode::Connect`] when the server cannot be reached.
    pub async fn connection(&self) -> Result<Connection> {
        let made = Connection::connect(&self.config.connect).await;
        made.map_err(|error| LoadError::new(LoadCode::Connect, error))
    }

    /// Closes the connections. The loader is of no use afterwards.
    ///
    /// # Errors
    /// [`LoadCode::Stop`] while rows are not committed: nothing happens then. [`LoadCode::Close`] when a connection
    /// cannot be closed.
    pub async fn stop(&mut self) -> Result<()> {
        let left = self.buffered_rows();
        if left > 0 {
            let text = format!("{left} rows are not committed");
            let error = Error::new(ErrorKind::Config, text).with_hint("commit them, or call force_stop");
            return Err(LoadError::new(LoadCode::Stop, error));
        }
        self.stopped = true;
        for writer in self.writers.iter_mut().filter_map(Option::take) {
            let mut writer = writer;
            let closed = kwsync_core::Writer::close(&mut writer).await;
            closed.map_err(|error| LoadError::new(LoadCode::Close, error))?;
        }
        Ok(())
    }

    /// Closes the connections at once. Returns how many rows are lost by that.
    pub fn force_stop(mut self) -> usize {
        self.stopped = true;
        self.buffered_rows()
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        let left = self.buffered_rows();
        if left > 0 && !self.stopped {
            tracing::warn!(rows = left, "a loader was dropped with rows that are not committed");
        }
    }
}

impl ColumnInfo {
    fn of(column: &catalog::CatalogColumn) -> Self {
        Self {
            name: column.name.clone(),
            type_name: column.pg_type.name.clone(),
            data_type: column.pg_type.data_type(),
            nullable: !column.not_null,
            has_default: column.has_default,
            writable: !column.generated,
        }
    }
}

impl Table {
    /// Whether a row that is sent twice is there once: a unique index sees to it whose columns the rows have.
    fn is_idempotent(&self) -> bool {
        self.catalog.unique.iter().any(|index| {
            index.columns.iter().all(|name| {
                let never_null = self.catalog.column(name).is_some_and(|column| column.not_null);
                never_null && self.schema.column(name).is_some()
            })
        })
    }

    fn new(id: &TableId, catalog: CatalogTable, columns: Option<&[String]>) -> Result<Self> {
        let writable = catalog.columns.iter().filter(|column| !column.generated);
        let names: Vec<String> = match columns {
            Some(columns) => columns.to_vec(),
            None => writable.map(|column| column.name.clone()).collect(),
        };
        let (mut schema, mut types) = (Vec::new(), Vec::new());
        for name in &names {
            let Some(column) = catalog.column(name) else {
                let known: Vec<&str> = catalog.columns.iter().map(|column| column.name.as_str()).collect();
                return Err(LoadError::config(format!(
                    "table {id} has no column {name:?}; it has {}",
                    known.join(", ")
                )));
            };
            if column.generated {
                return Err(LoadError::config(format!("column {name:?} of table {id} cannot be written")));
            }
            let data_type = column.pg_type.data_type();
            schema.push(Column::new(name.as_str(), value::carrier(&data_type)));
            types.push(data_type);
        }
        let schema = Schema::new(schema).map_err(|error| LoadError::new(LoadCode::Config, error))?;
        Ok(Self { catalog, schema: Arc::new(schema), types, rows: Vec::new() })
    }
}
