//! Tables and queries read by a cursor.

use std::sync::Arc;

use kwsync_core::system::mysql::ddl::{literal, quote};
use kwsync_core::system::mysql::session::error;
use kwsync_core::{Column, DecodeCounts, Error, ErrorKind, Input, Result, Schema, TableBatch, TableId};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Params, Row, Value};
use tokio::sync::mpsc;

use super::config::MysqlSourceOptions;
use super::reader::{Made, Making, cells};
use super::shape::Shape;
use super::source::{asked, look};
use crate::relational::{Clock, CursorTable, Database, Kind, Page, Window};

/// What the column of the cursor is called on its way; no column of the user's is called so.
const AT: &str = "kwsync at";

/// The tables of a source, read by a cursor.
#[derive(Debug)]
pub(super) struct Cursor {
    options: Arc<MysqlSourceOptions>,
}

/// A table as it is read.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) info: CursorTable,
    shape: Shape,
    /// The columns on their way: those of the table, and the cursor behind them.
    travelling: Arc<Schema>,
    nullable: bool,
}

impl AsRef<CursorTable> for Table {
    fn as_ref(&self) -> &CursorTable {
        &self.info
    }
}

impl Table {
    pub(super) fn notes(&self) -> Vec<String> {
        let mut notes = self.shape.notes.clone();
        if self.nullable {
            let (table, column) = (&self.info.asked, &self.info.column);
            notes.push(format!("rows of {table} without a value in {column:?} are not read"));
        }
        notes
    }

    fn literal(&self, value: i128) -> String {
        self.text(&self.info.kind.text(value))
    }

    fn text(&self, text: &str) -> String {
        match self.info.kind {
            // Without quotes: as a text it would be compared as a float.
            Kind::Integer if text.trim().parse::<i128>().is_ok() => text.trim().to_owned(),
            _ => literal(text),
        }
    }
}

impl Cursor {
    pub(super) fn new(options: Arc<MysqlSourceOptions>) -> Self {
        Self { options }
    }

    /// What is read, as splits have it.
    pub(super) fn what(&self) -> Result<serde_json::Value> {
        let (options, cursor) = (&self.options, &self.options.cursor);
        serde_json::to_value((
            (&cursor.column, &cursor.begin, &cursor.end),
            (&options.columns, &options.condition, &options.query),
        ))
        .map_err(|error| Error::new(ErrorKind::Internal, "cannot write a cursor down").with_source(error))
    }

    fn column(&self) -> Result<&str> {
        let column = self.options.cursor.column.as_deref();
        column.ok_or_else(|| Error::new(ErrorKind::Internal, "there is no cursor"))
    }

    async fn of_query(&self, connection: &mut Conn, query: &str) -> Result<Table> {
        let shape = Shape::of_query(connection, &self.options, query).await?;
        let there: Vec<_> = shape.schema.columns().iter().map(|column| column.name().to_owned()).collect();
        let column = self.column()?;
        if !there.iter().any(|name| name == column) {
            return Err(no_column(column, "the query", &there));
        }
        let table = self.options.query_table();
        let asked = TableId::new(format!("query:{table}"));
        self.made(connection, asked, table, shape, false, true).await
    }

    async fn of_table(&self, connection: &mut Conn, id: TableId) -> Result<Table> {
        let found = look(connection, &id).await?;
        let shape = Shape::of_table(connection, &self.options, &id, &found).await?;
        let name = self.column()?;
        let column = found.column(name).ok_or_else(|| {
            let there: Vec<_> = found.columns.iter().map(|column| column.name.clone()).collect();
            no_column(name, &id.to_string(), &there)
        })?;
        let unique =
            !column.nullable && found.unique.iter().any(|index| index.columns == [column.name.as_str()]);
        let nullable = column.nullable;
        let table = TableId::new(id.name());
        self.made(connection, id, table, shape, unique, nullable).await
    }

    async fn made(
        &self,
        connection: &mut Conn,
        asked: TableId,
        table: TableId,
        shape: Shape,
        unique: bool,
        nullable: bool,
    ) -> Result<Table> {
        let column = self.column()?.to_owned();
        let data_type = shape.type_of(connection, &self.options, &column).await?;
        let kind = Kind::of(&data_type).ok_or_else(|| {
            Error::config(format!("cursor={column}: the column of {asked} is {data_type}"))
                .with_hint("a cursor is a column of integers, dates or timestamps")
        })?;
        let mut columns = shape.schema.columns().to_vec();
        columns.push(Column::new(AT, data_type));
        let travelling = Arc::new(Schema::new(columns)?);
        let info = CursorTable { asked, table, schema: Arc::clone(&shape.schema), column, kind, unique };
        Ok(Table { info, shape, travelling, nullable })
    }
}

fn no_column(name: &str, what: &str, there: &[String]) -> Error {
    Error::config(format!("cursor={name}: {what} has no such column"))
        .with_hint(format!("it has {}", there.join(", ")))
}

impl Database for Cursor {
    type Session = Conn;
    type Table = Table;

    async fn session(&self) -> Result<Conn> {
        self.options.connect.connect().await
    }

    async fn tables(&self, connection: &mut Conn, strict: bool) -> Result<Vec<Arc<Table>>> {
        if let Some(query) = &self.options.query {
            return Ok(vec![Arc::new(self.of_query(connection, query).await?)]);
        }
        let mut tables = Vec::new();
        for found in asked(connection, &self.options, strict).await? {
            let id = TableId::with_schema(found.schema.as_str(), found.name.as_str());
            match self.of_table(connection, id).await {
                Ok(table) => tables.push(Arc::new(table)),
                // Gone since the list was made.
                Err(error) if !strict && error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(tables)
    }

    async fn clock(&self, connection: &mut Conn) -> Result<Clock> {
        let sql = format!(
            "SELECT TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)), \
             TIMESTAMPDIFF(MICROSECOND, '1970-01-01', CONVERT_TZ(UTC_TIMESTAMP(6), '+00:00', {}))",
            literal(&self.options.timezone)
        );
        let found: Option<Row> = connection.exec_first(sql, ()).await.map_err(error)?;
        let nanos = |at: usize| match found.as_ref().and_then(|row| row.as_ref(at)) {
            Some(Value::Int(micros)) => Some(i128::from(*micros) * 1_000),
            Some(Value::UInt(micros)) => Some(i128::from(*micros) * 1_000),
            _ => None,
        };
        match (nanos(0), nanos(1)) {
            (Some(utc), Some(local)) => Ok(Clock { utc, local }),
            _ => {
                let text = format!("the server does not know the time zone {:?}", self.options.timezone);
                Err(Error::config(text).with_hint("give an offset, such as timezone=+08:00"))
            }
        }
    }

    async fn ends(&self, connection: &mut Conn, table: &Table) -> Result<Option<(i128, i128)>> {
        let (name, from) = (quote(&table.info.column)?, table.shape.from());
        let (of, scale) = match table.info.kind {
            Kind::Integer => (name.clone(), 1),
            Kind::Date => (format!("TO_DAYS({name}) - TO_DAYS('1970-01-01')"), 1),
            Kind::Timestamp(unit, _) => {
                (format!("TIMESTAMPDIFF(MICROSECOND, '1970-01-01', {name})"), unit.nanos())
            }
        };
        let sql = format!("SELECT MIN({of}), MAX({of}) FROM {from}");
        let found: Option<Row> = connection.exec_first(sql, ()).await.map_err(error)?;
        let factor = if scale == 1 { 1 } else { 1_000 };
        let value = |at: usize| match found.as_ref().and_then(|row| row.as_ref(at)) {
            Some(Value::Int(value)) => Some(i128::from(*value) * factor / i128::from(scale)),
            Some(Value::UInt(value)) => Some(i128::from(*value) * factor / i128::from(scale)),
            _ => None,
        };
        Ok(value(0).zip(value(1)))
    }

    async fn read(
        &self,
        connection: &mut Conn,
        table: &Table,
        window: &Window,
        pages: mpsc::Sender<Page>,
    ) -> Result<()> {
        let info = &table.info;
        let name = quote(&info.column)?;
        let mut conditions: Vec<String> =
            self.options.condition.iter().map(|sql| format!("({sql}\n)")).collect();
        conditions.push(format!("{name} IS NOT NULL"));
        conditions.extend(window.conditions(&name, |value| table.literal(value), |text| table.text(text)));
        let sql = table.shape.ordered(&name, AT, &conditions)?;
        tracing::debug!(%sql, "reading");
        let cannot = |found| error(found).context(format!("cannot read {}", info.asked));
        let input = Arc::new(Input::new(info.asked.to_string()));
        let mut making = Making::new(&table.travelling, &info.table, input, self.options.zero_dates)?;
        let rows = self.options.cursor.fetch_rows.unwrap_or(self.options.batch_rows);
        let mut result = connection.exec_iter(sql, Params::Empty).await.map_err(cannot)?;
        let mut done = false;
        while !done {
            match result.next().await.map_err(cannot)? {
                Some(row) => making.add(cells(&row.unwrap_raw()))?,
                None => done = true,
            }
            if !making.is_full(rows, self.options.batch_bytes) && !done {
                continue;
            }
            let Made { arrays, origin, rejects, bytes, .. } = making.finish()?;
            let mut batches = Vec::new();
            if let Some((at, own)) = arrays.split_last().filter(|(at, _)| !at.is_empty()) {
                let values = info.kind.values(at.as_ref(), &info.column)?;
                let schema = Arc::clone(&info.schema);
                let made = TableBatch::from_columns(info.table.clone(), schema, own.to_vec(), origin)?;
                batches.push((made, values));
            }
            let page = Page { batches, rejects, counts: DecodeCounts::default(), bytes };
            if pages.send(page).await.is_err() {
                return Err(Error::new(ErrorKind::Cancelled, "nobody takes the rows any more"));
            }
        }
        Ok(())
    }
}
