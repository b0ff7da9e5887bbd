//! Tables and queries read in the order of a column.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::{Array, ArrayRef};
use kwsync_core::system::clickhouse::sql::quote;
use kwsync_core::{DecodeCounts, Error, ErrorKind, Input, Result, Retry, TableBatch, TableId};
use tokio::sync::mpsc;

use super::answer::Session;
use super::batches::{Batching, Made};
use super::catalog;
use super::config::ClickHouseOptions;
use super::shape::{Key, Shape};
use crate::relational::{Clock, CursorTable, Database, Page, Window};

/// The time, and the time that the server's clock on the wall shows, as if it were UTC: a Date is a day of the latter.
const CLOCK: &str = "SELECT toUnixTimestamp(now() AS at), toUnixTimestamp(toDateTime(toString(at), 'UTC'))";
/// Rows of one value are held together, and are no more than these bytes.
const MOST_HELD: usize = 512 << 20;

/// The tables of a source, read in the order of a column.
#[derive(Clone, Debug)]
pub(super) struct Cursor {
    pub(super) options: Arc<ClickHouseOptions>,
    /// The tables that were looked at, and whether they had the column.
    seen: Arc<Mutex<BTreeMap<String, bool>>>,
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
        Self { options: Arc::clone(options), seen: Arc::default() }
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
        let mut left_out = None;
        for found in catalog::asked(session, &self.options, strict).await? {
            let id = found.id();
            if !own(&id) {
                continue;
            }
            let columns = match catalog::columns(session, &id).await {
                Ok(columns) => columns,
                // Gone since the list was made.
                Err(error) if !strict && error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            let key = self.key(&found, &columns);
            let before =
                self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(id.to_string(), key.is_ok());
            let key = match key {
                Ok(key) => key,
                Err(error) if before == Some(true) || (strict && found.named) => return Err(error),
                // One of many ends nothing: it is read when it has the column.
                Err(error) => {
                    if before.is_none() {
                        tracing::warn!(table = %id, %error, "the table is left out");
                    }
                    left_out = Some(error);
                    continue;
                }
            };
            let called = self.options.called(&id);
            match Shape::of_table(session, &self.options, &id, &columns).await {
                Ok(shape) => tables.extend(key.map(|key| Arc::new(self.made(id, called, shape, key)))),
                Err(error) if !strict && error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        if let Some(error) = left_out.filter(|_| strict && tables.is_empty()) {
            return Err(error);
        }
        Ok(tables)
    }

    async fn clock(&self, session: &mut Session) -> Result<Clock> {
        let rows = session.rows(CLOCK).await?;
        let row = rows.first().map(Vec::as_slice).unwrap_or_default();
        let nanos =
            |at: usize| row.get(at)?.as_deref()?.parse::<i128>().ok().map(|seconds| seconds * 1_000_000_000);
        match (nanos(0), nanos(1)) {
            (Some(utc), Some(local)) => Ok(Clock { utc, local }),
            _ => Err(Error::new(ErrorKind::Protocol, "the server does not tell the time")),
        }
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
        let mut held = Held::default();
        while let Some(made) = batching.next().await.map_err(cannot)? {
            let Made { arrays, origin, rejects, refused, bytes, .. } = made;
            let mut batches = Vec::new();
            let passed = held.last();
            if let Some((at, own)) = arrays.split_last().filter(|(at, _)| !at.is_empty()) {
                let values = info.kind.values(at.as_ref(), &info.column)?;
                held.add(&values, own).map_err(|bytes| too_many(info, bytes))?;
                let schema = Arc::clone(&info.schema);
                let made = TableBatch::from_columns(info.table.clone(), schema, own.to_vec(), origin)?;
                batches.push((made, values));
            }
            let mut page = Page { batches, rejects: Vec::new(), counts: DecodeCounts::default(), bytes };
            let values = match &refused {
                Some(at) => values_of_refused(info, at, passed)?,
                None => Some(Vec::new()),
            };
            match values {
                Some(values) => {
                    let none = TableBatch::empty(info.table.clone(), Arc::clone(&info.schema))?;
                    page.refuse(&none, values.into_iter().zip(rejects).collect());
                }
                None => page.rejects = rejects,
            }
            if pages.send(page).await.is_err() {
                return Err(Error::new(ErrorKind::Cancelled, "nobody takes the rows any more"));
            }
        }
        Ok(())
    }
}

/// The values of rows that were refused. A value that is refused itself counts as the one before; none where there is no such.
fn values_of_refused(info: &CursorTable, at: &ArrayRef, passed: Option<i128>) -> Result<Option<Vec<i128>>> {
    let mut last = passed;
    let mut values = Vec::with_capacity(at.len());
    for row in 0..at.len() {
        if at.is_valid(row) {
            last = info.kind.values(at.slice(row, 1).as_ref(), &info.column)?.pop().max(last);
        }
        let Some(value) = last else { return Ok(None) };
        values.push(value);
    }
    Ok(Some(values))
}

/// How much of the last value there is.
#[derive(Debug, Default)]
struct Held {
    last: Option<i128>,
    bytes: usize,
}

impl Held {
    fn last(&self) -> Option<i128> {
        self.last
    }

    /// Adds rows; an error is the bytes that are too many.
    fn add(&mut self, values: &[i128], rows: &[ArrayRef]) -> Result<(), usize> {
        let Some(last) = values.last().copied() else { return Ok(()) };
        let behind = values.len() - values.partition_point(|value| *value < last);
        let bytes: usize = rows.iter().map(|array| array.get_array_memory_size()).sum();
        let bytes = bytes / values.len() * behind;
        self.bytes = if self.last == Some(last) { self.bytes.saturating_add(bytes) } else { bytes };
        self.last = Some(last);
        if self.bytes > MOST_HELD { Err(self.bytes) } else { Ok(()) }
    }
}

fn too_many(info: &CursorTable, bytes: usize) -> Error {
    let text = format!(
        "{}: the rows of one value of {:?} are more than {} MiB, and are held together",
        info.asked,
        info.column,
        bytes >> 20
    );
    Error::new(ErrorKind::Limit, text)
        .with_retry(Retry::Never)
        .with_hint("name another column with split_by= (or cursor=), or read without an order: order=none")
}

#[cfg(test)]
mod tests {
    use arrow_array::Int64Array;

    use super::*;

    #[test]
    fn what_is_held_is_of_one_value() {
        let rows = |count: i64| -> Vec<ArrayRef> { vec![Arc::new(Int64Array::from_iter_values(0..count))] };
        let mut held = Held::default();
        held.add(&[1, 1, 2, 2], &rows(4)).unwrap();
        let half = held.bytes;
        assert!(half > 0 && held.last() == Some(2));
        held.add(&[2, 2, 2, 2], &rows(4)).unwrap();
        assert_eq!(held.bytes, 3 * half);
        held.add(&[2, 3, 3, 3], &rows(4)).unwrap();
        assert!(held.bytes < 2 * half);
        held.bytes = MOST_HELD;
        held.add(&[4], &rows(1)).unwrap();
        held.bytes = MOST_HELD;
        assert!(held.add(&[4], &rows(1)).is_err());
    }

    #[test]
    fn a_value_that_is_refused_counts_as_the_one_before() {
        let schema = Arc::new(kwsync_core::Schema::new(Vec::new()).unwrap());
        let id = TableId::new("t");
        let (asked, table) = (id.clone(), id);
        let kind = crate::relational::Kind::Integer;
        let info = CursorTable { asked, table, schema, column: "n".to_owned(), kind, unique: false };
        let at: ArrayRef = Arc::new(Int64Array::from(vec![Some(4), None, Some(6), None]));
        assert_eq!(values_of_refused(&info, &at, None).unwrap(), Some(vec![4, 4, 6, 6]));
        let at: ArrayRef = Arc::new(Int64Array::from(vec![None, Some(6)]));
        assert_eq!(values_of_refused(&info, &at, None).unwrap(), None);
        assert_eq!(values_of_refused(&info, &at, Some(3)).unwrap(), Some(vec![3, 6]));
    }
}
