//! Tables and queries read in the order of a column.

use std::sync::Arc;

use kwsync_core::system::clickhouse::sql::quote;
use kwsync_core::{DecodeCounts, Error, ErrorKind, Input, Result, TableBatch, TableId};
use tokio::sync::mpsc;

use super::answer::Session;
use super::batches::{Batching, Made};
use super::catalog;
use super::config::ClickHouseOptions;
use super::shape::{Key, Shape};
use crate::relational::{Clock, CursorTable, Database, Page, Window};

/// The tables of a source, read in the order of a column.
#[derive(Clone, Debug)]
pub(super) struct Cursor {
    pub(super) options: Arc<ClickHouseOptions>,
}

/// A table as it is read.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) info: CursorTable,
    pub(super) shape: Shape,
    pub(super) key: Key,
}

impl AsRef<CursorTable> for Table {
    fn as_ref(&self) -> &CursorTable {
        &self.info
    }
}

impl Cursor {
    pub(super) fn new(options: &Arc<ClickHouseOptions>) -> Self {
        Self { options: Arc::clone(options) }
    }

    /// The columns of a table, and the one in whose order it is read: the cursor, or what it is cut by.
    pub(super) fn key(&self, table: &catalog::Table, columns: &[catalog::Column]) -> Result<Option<Key>> {
        let (name, called) = match (&self.options.cursor.column, &self.options.split_by) {
            (Some(name), _) => (name, "cursor"),
            (None, Some(name)) => (name, "split_by"),
            (None, None) => {
                return Ok(table.first_key(columns).and_then(|column| Key::of(&column.name, &column.text)));
            }
        };
        let id = table.id();
        let column = columns.iter().find(|column| column.name == *name).ok_or_else(|| {
            let there: Vec<_> = columns.iter().map(|column| column.name.clone()).collect();
            no_column(called, name, &id.to_string(), &there)
        })?;
        Key::of(&column.name, &column.text)
            .map(Some)
            .ok_or_else(|| no_key(called, name, &id.to_string(), &column.text))
    }

    /// The column in whose order a query is read.
    pub(super) fn query_key(&self, shape: &Shape) -> Result<Option<Key>> {
        let (name, called) = match (&self.options.cursor.column, &self.options.split_by) {
            (Some(name), _) => (name, "cursor"),
            (None, Some(name)) => (name, "split_by"),
            (None, None) => return Ok(None),
        };
        let Some(field) = shape.fields.iter().find(|field| *field.name == **name) else {
            let there: Vec<_> = shape.fields.iter().map(|field| field.name.to_string()).collect();
            return Err(no_column(called, name, "the query", &there));
        };
        shape.key(name).map(Some).ok_or_else(|| no_key(called, name, "the query", &field.text))
    }

    fn made(&self, asked: TableId, table: TableId, shape: Shape, key: Key) -> Table {
        let info = CursorTable {
            asked,
            table,
            schema: Arc::clone(&shape.schema),
            column: key.name.clone(),
            kind: key.kind,
            // No index says that values are distinct. Of a range that is read once a value is passed with all its rows.
            unique: self.options.cursor.column.is_none(),
        };
        Table { info, shape, key }
    }
}

fn no_column(called: &str, name: &str, what: &str, there: &[String]) -> Error {
    Error::config(format!("{called}={name}: {what} has no such column"))
        .with_hint(format!("it has {}", there.join(", ")))
}

fn no_key(called: &str, name: &str, what: &str, found: &str) -> Error {
    Error::config(format!("{called}={name}: the column of {what} is {found}"))
        .with_hint("it is a column of integers to 64 bits, dates or times")
}

/// What the rows of a query are known by.
pub(super) fn query_id(table: &TableId) -> TableId {
    TableId::new(format!("query:{table}"))
}

impl Database for Cursor {
    type Session = Session;
    type Table = Table;

    async fn session(&self) -> Result<Session> {
        Session::new(&self.options)
    }

    async fn tables(&self, session: &mut Session, strict: bool) -> Result<Vec<Arc<Table>>> {
        self.own_tables(session, strict, &|_| true).await
    }

    async fn own_tables(
        &self,
        session: &mut Session,
        strict: bool,
        own: &(dyn Fn(&TableId) -> bool + Send + Sync),
    ) -> Result<Vec<Arc<Table>>> {
        if let Some(query) = &self.options.query {
            let table = self.options.query_table();
            let shape = Shape::of_query(session, &self.options, query).await?;
            let key = self.query_key(&shape)?;
            return Ok(key
                .map(|key| Arc::new(self.made(query_id(&table), table, shape, key)))
                .into_iter()
                .collect());
        }
        let mut tables = Vec::new();
        for found in catalog::asked(session, &self.options, strict).await? {
            let id = found.id();
            if !own(&id) {
                continue;
            }
            let looking = async {
                let columns = catalog::columns(session, &id).await?;
                let key = self.key(&found, &columns)?;
                let shape = Shape::of_table(session, &self.options, &id, &columns).await?;
                Ok(key.map(|key| self.made(id.clone(), TableId::new(id.name()), shape, key)))
            };
            match looking.await {
                Ok(made) => tables.extend(made.map(Arc::new)),
                // Gone since the list was made.
                Err(error) if !strict && Error::kind(&error) == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(tables)
    }

    async fn clock(&self, session: &mut Session) -> Result<Clock> {
        let rows = session.rows("SELECT toUnixTimestamp(now())").await?;
        let seconds = rows.first().and_then(|row| row.first()?.as_deref()?.parse::<i128>().ok());
        let seconds =
            seconds.ok_or_else(|| Error::new(ErrorKind::Protocol, "the server does not tell the time"))?;
        let utc = seconds * 1_000_000_000;
        Ok(Clock { utc, local: utc })
    }

    async fn ends(&self, session: &mut Session, table: &Table) -> Result<Option<(i128, i128)>> {
        let name = quote(&table.info.column)?;
        let (min, max) =
            (table.key.number(&format!("min({name})")), table.key.number(&format!("max({name})")));
        let rows = session.rows(&table.shape.look(&format!("count({name}), {min}, {max}"), &[])).await?;
        let number = |at: usize| rows.first()?.get(at)?.as_deref()?.parse::<i128>().ok();
        Ok(number(0).filter(|count| *count > 0).and_then(|_| number(1).zip(number(2))))
    }

    async fn read(
        &self,
        session: &mut Session,
        table: &Table,
        window: &Window,
        pages: mpsc::Sender<Page>,
    ) -> Result<()> {
        let (info, key) = (&table.info, &table.key);
        let name = quote(&info.column)?;
        let mut conditions: Vec<String> =
            self.options.condition.iter().map(|sql| format!("({sql}\n)")).collect();
        if key.is_nullable() {
            conditions.push(format!("{name} IS NOT NULL"));
        }
        conditions.extend(window.conditions(&name, |value| key.literal(value), |text| key.written(text)));
        let sql = table.shape.statement(Some(key), &conditions)?;
        tracing::debug!(%sql, "reading");
        let cannot = |error: Error| error.context(format!("cannot read {}", info.asked));
        let input = Arc::new(Input::new(info.asked.to_string()));
        let rows = self.options.cursor.fetch_rows.unwrap_or(self.options.batch_rows);
        let sql = format!("{sql}\nFORMAT Native");
        let answer = session.ask(&sql, rows).await.map_err(cannot)?;
        let fields = table.shape.fields_with(key);
        let mut batching = Batching::new(answer, &fields, &self.options, &info.table, input);
        while let Some(made) = batching.next().await.map_err(cannot)? {
            let Made { arrays, origin, rejects, bytes, .. } = made;
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
