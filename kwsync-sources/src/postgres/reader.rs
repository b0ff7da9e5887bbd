//! Reads one split: a task drives the COPY and decodes it.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int16Type, Int32Type, Int64Type};
use arrow_array::{Array, ArrayRef, ArrowPrimitiveType, PrimitiveArray};
use kwsync_core::arrow::schema::DataType as ArrowType;
use kwsync_core::system::postgres::ddl::table_name;
use kwsync_core::{
    Change, DataType, Decoded, Decoder, Error, ErrorKind, Input, Position, Reader, Result, Schema,
    SourceBatch, SplitPosition, TableBatch, TableId,
};
use kwsync_formats::pgcopy::{CopyColumn, CopyDecoder};
use tokio::sync::mpsc;

use super::changes::Telling;
use super::config::PostgresSourceOptions;
use super::cursor::Cursor;
use super::session::{Lane, Sessions};
use super::spec::Order;
use super::statement::{Places, Statement, fetch};
use crate::relational::{Batches, Follow};

/// Reads one split of a [`PostgresSource`](super::PostgresSource).
#[derive(Debug)]
pub struct PostgresReader {
    batches: Batches,
    /// Where changes are followed: tells their task what has settled.
    telling: Option<Telling>,
}

/// What the task has to do.
pub(super) struct Reading {
    pub(super) sessions: Arc<Sessions>,
    pub(super) options: Arc<PostgresSourceOptions>,
    pub(super) lane: Lane,
    pub(super) statement: Statement,
    pub(super) order: Order,
    pub(super) table: TableId,
    pub(super) schema: Arc<Schema>,
    pub(super) input: Input,
    pub(super) after: Option<String>,
    pub(super) batch_rows: usize,
    pub(super) batch_bytes: usize,
    /// What the rows are.
    pub(super) change: Change,
}

impl PostgresReader {
    pub(super) fn start(reading: Reading) -> Self {
        let batches = Batches::of(|sender| async move { reading.run(&sender).await });
        Self { batches, telling: None }
    }

    /// Reads what comes by a cursor.
    pub(super) fn follow(follow: Follow<Cursor>, at: Option<SplitPosition>) -> Self {
        let batches = Batches::of(|sender| async move { follow.run(at, &sender).await });
        Self { batches, telling: None }
    }

    /// Reads changes as they come.
    pub(super) fn stream((batches, telling): (Batches, Telling)) -> Self {
        Self { batches, telling: Some(telling) }
    }
}

impl Reader for PostgresReader {
    async fn next(&mut self) -> Result<Option<SourceBatch>> {
        self.batches.next().await
    }

    fn is_interruptible(&self) -> bool {
        true
    }

    async fn commit(&mut self, position: &SplitPosition) -> Result<()> {
        self.telling.as_ref().map_or(Ok(()), |telling| telling.settled(position))
    }

    async fn close(&mut self) -> Result<()> {
        if let Some(telling) = self.telling.take() {
            telling.close().await;
        }
        Ok(())
    }
}

impl Reading {
    async fn run(mut self, sender: &mpsc::Sender<Result<SourceBatch>>) -> Result<()> {
        let name = self.input.name().to_owned();
        let travelling = Arc::new(travelling(&self.statement.columns, &self.order)?);
        let mut decoder = CopyDecoder::try_new(self.table.clone(), &travelling, &self.statement.columns)?
            .with_batch(self.batch_rows, self.batch_bytes);
        let input = std::mem::replace(&mut self.input, Input::new(""));
        decoder.begin(Arc::new(input), Position::START);
        let context = |error: Error| error.context(format!("cannot read {name}"));
        let mut guard = Guard::new(&self.order, self.after.take(), &name);
        let mut empty = true;
        {
            let mut copy = fetch(&mut self.lane.connection, &self.statement.sql, &self.options)
                .await
                .map_err(context)?;
            let mut bytes = 0;
            let mut full = Vec::new();
            loop {
                let more = copy
                    .read(|data| {
                        bytes += data.len() as u64;
                        let mut rest = data;
                        while !rest.is_empty() {
                            let used = decoder.decode_slice(rest)?;
                            rest = rest.get(used..).unwrap_or_default();
                            if decoder.wants_flush() {
                                full.push((decoder.flush()?, std::mem::take(&mut bytes)));
                            }
                        }
                        Ok(())
                    })
                    .await
                    .map_err(context)?;
                if !more {
                    decoder.finish()?;
                    full.push((decoder.flush()?, std::mem::take(&mut bytes)));
                }
                for (decoded, bytes) in full.drain(..) {
                    if decoded.batches.is_empty() && decoded.rejects.is_empty() {
                        continue;
                    }
                    empty = false;
                    let mut batch =
                        made(decoded, bytes, &self.table, &self.schema, self.statement.places, &mut guard)?;
                    if self.change.is_change() {
                        let rows = std::mem::take(&mut batch.decoded.batches);
                        batch.decoded.batches =
                            rows.into_iter().map(|rows| rows.with_change(self.change)).collect();
                    }
                    if sender.send(Ok(batch)).await.is_err() {
                        return Ok(());
                    }
                }
                if !more {
                    break;
                }
            }
        }
        if empty {
            // A table without rows is one, too: whoever takes it makes it.
            let none = TableBatch::empty(self.table.clone(), Arc::clone(&self.schema))?;
            let batch = SourceBatch::new(vec![none], guard.position());
            if sender.send(Ok(batch)).await.is_err() {
                return Ok(());
            }
        }
        self.sessions.give_back(self.lane);
        Ok(())
    }
}

/// What the decoder makes of the columns that are sent: places as numbers, the others as they are.
fn travelling(columns: &[CopyColumn], order: &Order) -> Result<Schema> {
    let schema = CopyDecoder::schema_of(columns)?;
    let mut columns = schema.columns().to_vec();
    if let (Order::Ctid, Some(place)) = (order, columns.last_mut()) {
        *place = place.clone().with_data_type(DataType::Int64);
    }
    Schema::new(columns)
}

/// The batches as the lane takes them: without the column that tells where a row is, and under the table's own schema.
fn made(
    decoded: Decoded,
    bytes: u64,
    table: &TableId,
    schema: &Arc<Schema>,
    places: Places,
    guard: &mut Guard,
) -> Result<SourceBatch> {
    let Decoded { batches, rejects, counts } = decoded;
    let mut out = Vec::with_capacity(batches.len());
    for batch in batches {
        let (_, _, batch, origin) = batch.into_parts();
        let mut arrays = batch.columns().to_vec();
        let at = match places {
            Places::None => None,
            Places::Among(at) => arrays.get(at).cloned(),
            Places::Behind => arrays.pop(),
        };
        match at {
            Some(at) => guard.check(&at)?,
            None if places == Places::None => {}
            None => return Err(Error::new(ErrorKind::Internal, "the column of the places is missing")),
        }
        out.push(TableBatch::from_columns(table.clone(), Arc::clone(schema), arrays, origin)?);
    }
    let decoded = Decoded { batches: out, rejects, counts };
    Ok(SourceBatch { bytes, ..SourceBatch::of(decoded, guard.position()) })
}

/// Sees to it that rows come in an order by which reading can go on, and knows how far it has come.
#[derive(Debug)]
struct Guard {
    kind: Kind,
    name: String,
    last: Option<String>,
}

#[derive(Debug)]
enum Kind {
    None,
    /// The last place: the number of its block times 65,536, and its item.
    Ctid(Option<i64>),
    /// The last key, where it is an integer.
    Key {
        column: String,
        last: Option<i64>,
    },
}

impl Guard {
    fn new(order: &Order, after: Option<String>, name: &str) -> Self {
        let kind = match order {
            Order::None => Kind::None,
            Order::Ctid => Kind::Ctid(after.as_deref().and_then(place)),
            Order::Key { column, .. } => Kind::Key {
                column: column.clone(),
                last: after.as_deref().and_then(|text| text.parse().ok()),
            },
        };
        Self { kind, name: name.to_owned(), last: after }
    }

    fn position(&self) -> SplitPosition {
        SplitPosition(self.last.clone().map_or(serde_json::Value::Null, serde_json::Value::String))
    }

    fn check(&mut self, places: &ArrayRef) -> Result<()> {
        match &mut self.kind {
            Kind::None => Ok(()),
            Kind::Ctid(last) => {
                let places = places.as_primitive::<Int64Type>();
                let mut before = last.unwrap_or(-1);
                let ordered = places.values().iter().all(|at| std::mem::replace(&mut before, *at) < *at);
                if !ordered || places.null_count() > 0 {
                    let text =
                        format!("{}: the server sent rows out of the order of their places", self.name);
                    return Err(Error::new(ErrorKind::Server, text)
                        .with_retry(kwsync_core::Retry::Never)
                        .with_hint("a condition may have led it another way: use split=key or split_by="));
                }
                *last = places.values().last().copied().or(*last);
                self.last = last.map(|at| format!("({},{})", at >> 16, at & 0xffff));
                Ok(())
            }
            Kind::Key { column, last } => {
                let fault = |what: &str| {
                    let text =
                        format!("{}: column {column:?}, by which rows are told apart, {what}", self.name);
                    Err(Error::new(ErrorKind::Schema, text).with_hint(
                        "name another column with split_by=, whose values are distinct and never null",
                    ))
                };
                if places.null_count() > 0 {
                    return fault("is null in some rows");
                }
                let twice = match places.data_type() {
                    ArrowType::Int64 => follow(last, places.as_primitive::<Int64Type>()),
                    ArrowType::Int32 => follow(last, places.as_primitive::<Int32Type>()),
                    ArrowType::Int16 => follow(last, places.as_primitive::<Int16Type>()),
                    _ => {
                        for text in places.as_string_view().iter().flatten() {
                            if self.last.as_deref() == Some(text) {
                                return fault(&format!("has the value {text:?} twice"));
                            }
                            text.clone_into(self.last.get_or_insert_default());
                        }
                        return Ok(());
                    }
                };
                self.last = last.map(|number| number.to_string());
                twice.map_or(Ok(()), |number| fault(&format!("has the value {number} twice")))
            }
        }
    }
}

/// Follows rising keys from behind `last`; the key that does not rise, if there is one.
fn follow<T: ArrowPrimitiveType<Native: Into<i64>>>(
    last: &mut Option<i64>,
    keys: &PrimitiveArray<T>,
) -> Option<i64> {
    for key in keys.values() {
        let key = (*key).into();
        if last.is_some_and(|last| last >= key) {
            return Some(key);
        }
        *last = Some(key);
    }
    None
}

/// `(12,3)`
fn place(text: &str) -> Option<i64> {
    let (block, item) = text.strip_prefix('(')?.strip_suffix(')')?.split_once(',')?;
    Some(i64::from(block.parse::<u32>().ok()?) << 16 | i64::from(item.parse::<u16>().ok()?))
}

/// Refuses to go on by place where rows may have moved since.
pub(super) async fn unmoved(lane: &mut Lane, stored: &TableId, taken: &super::spec::Taken) -> Result<()> {
    let name = table_name(stored, None)?;
    let moved = |why: &str| {
        let text = format!("{stored} {why} since the job began to read it by the places of its rows");
        Err(Error::new(ErrorKind::Conflict, text).with_retry(kwsync_core::Retry::Never).with_hint(
            "rows may have moved to where the job has been or will be: begin anew with --restart; with split=key it \
             could have gone on",
        ))
    };
    let sql = "SELECT c.relfilenode FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n \
               ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2";
    let found = lane.connection.query(sql, &[stored.schema(), Some(stored.name())]).await?;
    match found.rows.get(0, 0).and_then(|text| text.parse::<u64>().ok()) {
        None => {
            let text = format!("the table {stored} is gone");
            return Err(Error::new(ErrorKind::NotFound, text).with_hint(
                "it was dropped or renamed since the job began; run the job again with --restart",
            ));
        }
        Some(file) if file != taken.file => return moved("was written anew"),
        Some(_) => {}
    }
    let sql = format!("SELECT EXISTS (SELECT 1 FROM ONLY {name} WHERE age(xmin) <= age($1::xid))");
    let found = lane.connection.query(&sql, &[Some(&taken.xmin)]).await?;
    if found.rows.get(0, 0) != Some("f") {
        return moved("was changed");
    }
    Ok(())
}
