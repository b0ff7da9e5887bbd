//! Collections read by a cursor.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use kwsync_core::{
    Column as SchemaColumn, DecodeCounts, Error, ErrorKind, Input, Result, TableBatch, TableId,
};
use tokio::sync::mpsc;

use super::bson::{Doc, Elem, decimal};
use super::columns::{self, Column};
use super::config::MongoDbOptions;
use super::plan;
use super::reading::{Find, Made, Making, documents};
use super::session::Session;
use super::written::{Key, Written};
use crate::relational::{Bound, Clock, CursorTable, Database, Kind, Page, Window};

/// The collections of a source, read by a cursor.
#[derive(Debug)]
pub(super) struct Cursor {
    options: Arc<MongoDbOptions>,
    /// The collections that were looked at, as they were read; none for one that lacks the field.
    seen: Mutex<BTreeMap<String, Option<Arc<Table>>>>,
}

/// A collection as it is read.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) info: CursorTable,
    columns: Vec<Column>,
    pub(super) notes: Vec<String>,
}

impl AsRef<CursorTable> for Table {
    fn as_ref(&self) -> &CursorTable {
        &self.info
    }
}

impl Cursor {
    pub(super) fn new(options: &Arc<MongoDbOptions>) -> Self {
        Self { options: Arc::clone(options), seen: Mutex::default() }
    }

    /// A collection as it is read; an error within says why its cursor is none.
    async fn table(&self, session: &mut Session, collection: &str) -> Result<Result<Table>> {
        let (columns, mut notes) = plan::columns(session, &self.options, collection).await?;
        let schema = columns::schema(&columns)?;
        let name = self.options.cursor.column.clone().unwrap_or_default();
        let Some(column) = schema.column(&name) else {
            let there: Vec<_> = schema.columns().iter().map(SchemaColumn::name).collect();
            return Ok(Err(Error::config(format!("cursor={name}: {collection} has no such column"))
                .with_hint(format!("it has {}", there.join(", ")))));
        };
        let Some(kind) = Kind::of(column.data_type()) else {
            let of = column.data_type();
            return Ok(Err(Error::config(format!("cursor={name}: the column of {collection} is {of}"))
                .with_hint("a cursor is a column of integers or dates; types= can say that it is one")));
        };
        notes.push(format!(
            "documents of {collection} without a value in {name:?}, or with one of another type, are not read"
        ));
        let info = CursorTable {
            asked: TableId::new(format!("{}.{collection}", self.options.database)),
            table: TableId::new(collection),
            schema: Arc::clone(&schema),
            unique: name == "_id",
            column: name,
            kind,
        };
        Ok(Ok(Table { info, columns, notes }))
    }

    /// A value of the cursor as the server compares it.
    fn key(table: &Table, value: i128) -> Key {
        let value = i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX });
        if table.info.kind == Kind::Integer { Key::i64(value) } else { Key::date(value) }
    }

    /// What the operator wrote.
    fn written(table: &Table, name: &str, text: &str) -> Result<Key> {
        let value = match table.info.kind {
            Kind::Integer => text.trim().parse::<i128>().ok(),
            _ => kwsync_formats::nanoseconds(text.trim()).map(|nanos| nanos.div_euclid(1_000_000)),
        };
        value.map(|value| Self::key(table, value)).ok_or_else(|| {
            Error::config(format!("{name}={text}: this is no value of {:?}", table.info.column))
                .with_hint("write a number, or a time as 2024-05-01T00:00:00Z")
        })
    }

    fn filters(&self, table: &Table, window: &Window) -> Result<Vec<Written>> {
        let mut filters: Vec<Written> =
            self.options.condition.iter().map(|(_, filter)| filter.clone()).collect();
        let mut add = |operator: &str, key: &Key| {
            filters.push(Written::new().doc(&table.info.column, &Written::new().raw(operator, key)));
        };
        if let Some((value, bound)) = window.from {
            add(if bound == Bound::With { "$gte" } else { "$gt" }, &Self::key(table, value));
        }
        if let Some(value) = window.upto {
            add("$lte", &Self::key(table, value));
        }
        if let Some(value) = window.below {
            add("$lt", &Self::key(table, value));
        }
        if let Some(text) = &window.begin {
            add("$gte", &Self::written(table, "begin", text)?);
        }
        if let Some(text) = &window.end {
            add("$lt", &Self::written(table, "end", text)?);
        }
        if *window == Window::default() {
            // A range finds values of its own kind only: so does this one.
            add("$gte", &Self::key(table, i128::MIN));
        }
        Ok(filters)
    }
}

/// The value of a path.
fn at<'d>(doc: Doc<'d>, path: &str) -> Result<Option<Elem<'d>>> {
    match path.split_once('.') {
        None => Ok(doc.get(path)?),
        Some((name, rest)) => match doc.get(name)? {
            Some(Elem::Doc(inner)) => at(inner, rest),
            _ => Ok(None),
        },
    }
}

/// A value of the cursor, as a whole number.
fn value(elem: Option<Elem<'_>>) -> Option<i128> {
    match elem? {
        Elem::Int32(value) => Some(value.into()),
        Elem::Int64(value) | Elem::Date(value) => Some(value.into()),
        Elem::Double(value) if value.fract() == 0.0 => Some(value as i128),
        _ => None,
    }
}

/// The whole number beside a value of the cursor that is none, towards the end of the order that is looked at.
fn beside(elem: Option<Elem<'_>>, last: bool) -> Option<i128> {
    let number = match elem? {
        Elem::Double(value) if !value.is_nan() => value,
        Elem::Decimal(bytes) => decimal(bytes).parse::<f64>().ok().filter(|value| !value.is_nan())?,
        _ => return None,
    };
    Some(if last { number.floor() } else { number.ceil() } as i128)
}

impl Database for Cursor {
    type Session = Session;
    type Table = Table;

    async fn session(&self) -> Result<Session> {
        Session::open(&self.options.connect).await
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
        let (mut tables, mut left_out) = (Vec::new(), None);
        for collection in plan::collections(session, &self.options, strict).await? {
            if !own(&TableId::new(format!("{}.{collection}", self.options.database))) {
                continue;
            }
            let looked = self.table(session, &collection).await?;
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            match (looked, seen.get(&collection).cloned()) {
                (Ok(table), _) => {
                    let table = Arc::new(table);
                    seen.insert(collection, Some(Arc::clone(&table)));
                    tables.push(table);
                }
                // Emptied since, as it seems. It is the same collection, and what comes into it is read on.
                (Err(_), Some(Some(table))) => tables.push(table),
                (Err(error), _) if strict && plan::is_named(&self.options, &collection) => return Err(error),
                // One of many ends nothing: it is read when it has the field.
                (Err(error), before) => {
                    if before.is_none() {
                        tracing::warn!(%collection, %error, "the collection is left out");
                    }
                    seen.insert(collection, None);
                    left_out = Some(error);
                }
            }
        }
        if let Some(error) = left_out.filter(|_| strict && tables.is_empty()) {
            return Err(error);
        }
        Ok(tables)
    }

    async fn clock(&self, session: &mut Session) -> Result<Clock> {
        let reply = session.command(&Written::new().i32("isMaster", 1).text("$db", "admin")).await?;
        match reply.doc()?.get("localTime")? {
            Some(Elem::Date(millis)) => {
                let utc = i128::from(millis) * 1_000_000;
                Ok(Clock { utc, local: utc })
            }
            _ => Err(Error::new(ErrorKind::Protocol, "the server does not tell the time")),
        }
    }

    async fn ends(&self, session: &mut Session, table: &Table) -> Result<Option<(i128, i128)>> {
        let mut ends = Vec::new();
        for direction in [1, -1] {
            let filters = self.filters(table, &Window::default())?;
            let column = table.info.column.as_str();
            let name = table.info.table.name();
            let mut find = Find::new(&self.options, name, filters, Some((column, direction))).with_limit(1);
            if let Some(reply) = find.page(session).await? {
                for doc in documents(&reply)? {
                    let found = at(doc?, column)?;
                    ends.extend(value(found).or_else(|| beside(found, direction < 0)));
                }
            }
        }
        Ok(match ends.as_slice() {
            [first, last] => Some((*first, *last)),
            _ => None,
        })
    }

    async fn read(
        &self,
        session: &mut Session,
        table: &Table,
        window: &Window,
        pages: mpsc::Sender<Page>,
    ) -> Result<()> {
        let (info, options) = (&table.info, &self.options);
        let cannot = |error: Error| error.context(format!("cannot read {}", info.asked));
        let filters = self.filters(table, window)?;
        let mut find = Find::new(options, info.table.name(), filters, Some((&info.column, 1)));
        let strict = options.columns.is_empty() && !options.ignores_unknown;
        let input = Arc::new(Input::new(info.asked.to_string()));
        let mut making = Making::new(&table.columns, strict, &info.table, input)?;
        let rows = options.cursor.fetch_rows.unwrap_or(options.batch_rows);
        let (mut values, mut refused) = (Vec::new(), Vec::new());
        let mut skipped = 0_u64;
        let mut done = false;
        while !done {
            match find.page(session).await.map_err(cannot)? {
                Some(reply) => {
                    making.came(reply.bytes());
                    for doc in documents(&reply)? {
                        let doc = doc?;
                        let Some(value) = value(at(doc, &info.column)?) else {
                            skipped += 1;
                            continue;
                        };
                        if making.add(doc).map_err(cannot)? { &mut values } else { &mut refused }.push(value);
                    }
                }
                None => done = true,
            }
            if !making.is_full(rows, options.batch_bytes) && !done {
                continue;
            }
            let Made { arrays, origin, rejects, bytes, .. } = making.finish();
            let values = std::mem::take(&mut values);
            let mut batches = Vec::new();
            if !values.is_empty() {
                let schema = Arc::clone(&info.schema);
                let made = TableBatch::from_columns(info.table.clone(), schema, arrays, origin)?;
                batches.push((made, values));
            }
            let mut page = Page { batches, rejects: Vec::new(), counts: DecodeCounts::default(), bytes };
            let none = TableBatch::empty(info.table.clone(), Arc::clone(&info.schema))?;
            page.refuse(&none, refused.drain(..).zip(rejects).collect());
            if pages.send(page).await.is_err() {
                return Err(Error::new(ErrorKind::Cancelled, "nobody takes the rows any more"));
            }
        }
        if skipped > 0 {
            tracing::warn!(
                collection = %info.asked,
                skipped,
                "documents were not read: their {:?} is no whole number and no date, as a cursor is",
                info.column
            );
        }
        Ok(())
    }
}
