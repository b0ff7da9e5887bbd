//! Reads one split: a task drives the statement and decodes its rows.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow_array::ArrayRef;
use bytes::Bytes;
use kwsync_core::system::mysql::ddl::{bytes_literal, literal};
use kwsync_core::system::mysql::session::error;
use kwsync_core::system::mysql::wire::{self, Cell, Malformed};
use kwsync_core::{
    Change, Column, DecodeCounts, Decoded, Error, ErrorKind, Input, Origin, Position, Reader, RecordRef,
    Reject, Result, Schema, Segment, SourceBatch, SplitPosition, Stage, TableBatch, TableId,
};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Params, Value};
use tokio::sync::mpsc;

use super::changes::Telling;
use super::config::ZeroDates;
use super::cursor::Cursor;
use super::decode::{Columns, MOST_DAYS};
use super::sessions::{Lane, Session, Sessions};
use crate::relational::{Batches, Follow};

/// Reads one split of a [`MysqlSource`](super::MysqlSource).
#[derive(Debug)]
pub struct MysqlReader {
    batches: Batches,
    /// Where changes are followed: tells their task what has settled.
    telling: Option<Telling>,
}

/// What the task has to do.
pub(super) struct Reading {
    pub(super) sessions: Arc<Sessions>,
    pub(super) sql: String,
    /// Columns of the key.
    pub(super) key: Vec<String>,
    /// Where each of them stands in a row, whose first columns are those of the schema.
    pub(super) key_at: Vec<usize>,
    pub(super) unique: bool,
    pub(super) table: TableId,
    pub(super) schema: Arc<Schema>,
    pub(super) input: Arc<Input>,
    /// The last key, each part as SQL has it.
    pub(super) after: Option<Vec<String>>,
    /// The key of the last row, as it came; empty before the first.
    pub(super) last: Vec<Value>,
    pub(super) zero_dates: ZeroDates,
    /// What the rows are.
    pub(super) change: Change,
    pub(super) batch_rows: usize,
    pub(super) batch_bytes: usize,
}

impl MysqlReader {
    pub(super) fn start(reading: Reading, lane: Lane) -> Self {
        Self { batches: Batches::of(|sender| async move { reading.run(lane, &sender).await }), telling: None }
    }

    /// Reads what comes by a cursor.
    pub(super) fn follow(follow: Follow<Cursor>, at: Option<SplitPosition>) -> Self {
        Self { batches: Batches::of(|sender| async move { follow.run(at, &sender).await }), telling: None }
    }

    /// Reads changes as they come.
    pub(super) fn stream((batches, telling): (Batches, Telling)) -> Self {
        Self { batches, telling: Some(telling) }
    }
}

impl Reader for MysqlReader {
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
    async fn run(mut self, mut lane: Lane, sender: &mpsc::Sender<Result<SourceBatch>>) -> Result<()> {
        let sql = std::mem::take(&mut self.sql);
        let to_the_end = match &mut lane.session {
            Session::Wire(session) => self.by_wire(session, &sql, sender).await?,
            Session::Client(session) => self.by_client(session, sql, sender).await?,
        };
        if to_the_end {
            self.sessions.give_back(lane);
        }
        Ok(())
    }

    fn making(&self) -> Result<Making> {
        Making::new(&self.schema, &self.table, Arc::clone(&self.input), self.zero_dates)
    }

    /// Reads the rows from their packets. False when nobody takes them any more.
    async fn by_wire(
        &mut self,
        session: &mut wire::Connection,
        sql: &str,
        sender: &mpsc::Sender<Result<SourceBatch>>,
    ) -> Result<bool> {
        let name = self.input.name().to_owned();
        let cannot = |error: Error| error.context(format!("cannot read {name}"));
        let mut making = self.making()?;
        let mut rows = session.select(sql).await.map_err(cannot)?;
        let mut empty = true;
        loop {
            let mut taken = Ok(());
            let more = rows
                .read(|row| {
                    taken = self.take(row.cells(), &mut making);
                    match &taken {
                        Ok(()) if !making.is_full(self.batch_rows, self.batch_bytes) => {
                            ControlFlow::Continue(())
                        }
                        _ => ControlFlow::Break(()),
                    }
                })
                .await
                .map_err(cannot)?;
            taken?;
            if !self.pass_on(&mut making, !more, &mut empty, sender).await? {
                return Ok(false);
            }
            if !more {
                return Ok(true);
            }
        }
    }

    /// The same by the client of a library, for servers that want to be signed in to in a way that only it knows.
    async fn by_client(
        &mut self,
        session: &mut Conn,
        sql: String,
        sender: &mpsc::Sender<Result<SourceBatch>>,
    ) -> Result<bool> {
        let name = self.input.name().to_owned();
        let cannot = |found| error(found).context(format!("cannot read {name}"));
        let mut making = self.making()?;
        let mut result = session.exec_iter(sql, Params::Empty).await.map_err(cannot)?;
        let mut empty = true;
        loop {
            let row = result.next().await.map_err(cannot)?;
            let more = row.is_some();
            if let Some(row) = row {
                self.take(cells(&row.unwrap_raw()), &mut making)?;
            }
            if !self.pass_on(&mut making, !more, &mut empty, sender).await? {
                return Ok(false);
            }
            if !more {
                return Ok(true);
            }
        }
    }

    /// Passes on a batch that is full, or the last one. False when nobody takes it.
    async fn pass_on(
        &mut self,
        making: &mut Making,
        done: bool,
        empty: &mut bool,
        sender: &mpsc::Sender<Result<SourceBatch>>,
    ) -> Result<bool> {
        if !making.is_full(self.batch_rows, self.batch_bytes) && !done {
            return Ok(true);
        }
        // A table without rows is one batch without rows.
        if making.columns.rows() == 0 && !*empty {
            return Ok(true);
        }
        *empty = false;
        let batch = self.batch(making.finish()?)?;
        Ok(sender.send(Ok(batch)).await.is_ok())
    }

    fn take<'a>(
        &mut self,
        cells: impl Iterator<Item = Result<Cell<'a>, Malformed>> + Clone,
        making: &mut Making,
    ) -> Result<()> {
        let mut twice = !self.last.is_empty();
        for (nth, at) in self.key_at.iter().enumerate() {
            let cell = cells.clone().nth(*at).ok_or(Malformed)??;
            if matches!(cell, Cell::Null | Cell::Float(_) | Cell::Double(_)) {
                self.part(&cell.into())?;
            }
            // As SQL has it only the last one of a batch is needed.
            match self.last.get_mut(nth) {
                Some(last) if Cell::from(&*last) == cell => {}
                Some(last) => {
                    twice = false;
                    match (last, cell) {
                        (Value::Bytes(last), Cell::Bytes(bytes)) => {
                            last.clear();
                            last.extend_from_slice(bytes);
                        }
                        (last, cell) => *last = cell.into(),
                    }
                }
                None => self.last.push(cell.into()),
            }
        }
        if twice && !self.unique {
            let parts = self.last.iter().map(|value| self.part(value)).collect::<Result<Vec<_>>>()?;
            return Err(no_key(self, &format!("has a value twice: {}", parts.join(", "))));
        }
        making.add(cells)
    }

    /// A part of a key as SQL has it.
    fn part(&self, value: &Value) -> Result<String> {
        Ok(match value {
            Value::NULL => return Err(no_key(self, "is null in some rows")),
            Value::Bytes(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => literal(text),
                Err(_) => bytes_literal(bytes),
            },
            Value::Float(_) | Value::Double(_) => return Err(no_key(self, "is a float")),
            other => sql(other, false),
        })
    }

    fn batch(&mut self, made: Made) -> Result<SourceBatch> {
        if !self.last.is_empty() {
            let parts = self.last.iter().map(|value| self.part(value));
            self.after = Some(parts.collect::<Result<_>>()?);
        }
        let Made { arrays, origin, rejects, rows, bytes } = made;
        let good = rows - rejects.len();
        let batch = TableBatch::from_columns(self.table.clone(), Arc::clone(&self.schema), arrays, origin)?
            .with_change(self.change);
        let counts = DecodeCounts { records: rows as u64, ..DecodeCounts::default() };
        // A table without rows is one, too: whoever takes it makes it.
        let batches = if good > 0 || rows == 0 { vec![batch] } else { Vec::new() };
        let position = match &self.after {
            Some(key) => key.iter().map(|part| serde_json::Value::from(part.as_str())).collect(),
            None => serde_json::Value::Null,
        };
        let decoded = Decoded { batches, rejects, counts };
        Ok(SourceBatch { bytes, ..SourceBatch::of(decoded, SplitPosition(position)) })
    }
}

/// Rows on their way into a batch.
pub(super) struct Making {
    columns: Columns,
    schema: Arc<Schema>,
    table: TableId,
    input: Arc<Input>,
    rejects: Vec<Reject>,
    record: u64,
}

/// Rows as columns; those that were refused are left out.
pub(super) struct Made {
    pub(super) arrays: Vec<ArrayRef>,
    pub(super) origin: Origin,
    pub(super) rejects: Vec<Reject>,
    /// Those that were refused among them.
    pub(super) rows: usize,
    pub(super) bytes: u64,
}

impl Making {
    pub(super) fn new(
        schema: &Arc<Schema>,
        table: &TableId,
        input: Arc<Input>,
        zero_dates: ZeroDates,
    ) -> Result<Self> {
        let columns = Columns::new(schema, zero_dates)?;
        Ok(Self {
            columns,
            schema: Arc::clone(schema),
            table: table.clone(),
            input,
            rejects: Vec::new(),
            record: 0,
        })
    }

    pub(super) fn is_full(&self, rows: usize, bytes: usize) -> bool {
        self.columns.rows() >= rows || self.columns.bytes() >= bytes
    }

    /// Adds a row; one that cannot be taken becomes a reject.
    pub(super) fn add<'a>(
        &mut self,
        cells: impl Iterator<Item = Result<Cell<'a>, Malformed>> + Clone,
    ) -> Result<()> {
        self.record += 1;
        let Some((at, fault)) = self.columns.push(cells.clone())? else { return Ok(()) };
        let columns = self.schema.columns();
        let text = cells
            .take(columns.len())
            .map(|cell| cell.map(|cell| sql(&cell.into(), true)))
            .collect::<Result<Vec<_>, _>>()?;
        let name = columns.get(at).map(Column::name).unwrap_or_default();
        self.rejects.push(Reject {
            position: Position { record: self.record, ..Position::default() },
            split: self.input.split().to_owned(),
            stage: Stage::Decode,
            format: "mysql".to_owned(),
            table: Some(self.table.clone()),
            code: fault.code.to_owned(),
            reason: format!("column {name:?}: {}", fault.reason),
            raw: Bytes::from(text.join(", ")),
            message: None,
            at: None,
        });
        Ok(())
    }

    pub(super) fn finish(&mut self) -> Result<Made> {
        let (rows, bytes) = (self.columns.rows(), self.columns.bytes() as u64);
        let arrays = self.columns.finish()?;
        let rejects = std::mem::take(&mut self.rejects);
        // The records of the good rows: those between that were refused are left out.
        let first = self.record - rows as u64 + 1;
        let refused: HashSet<u64> = rejects.iter().map(|reject| reject.position.record).collect();
        let refs: Vec<RecordRef> = (0..rows as u32)
            .filter(|at| !refused.contains(&(first + u64::from(*at))))
            .map(|record| RecordRef { record, ..RecordRef::default() })
            .collect();
        let base = Position { record: first, ..Position::default() };
        let segment = Segment { input: Arc::clone(&self.input), bytes: None, base };
        Ok(Made { arrays, origin: Origin::new([segment], refs), rejects, rows, bytes })
    }
}

/// A value as SQL has it.
fn sql(value: &Value, no_backslash_escape: bool) -> String {
    match value {
        // More than the library can write; no server sends it.
        Value::Time(_, days, ..) if *days > MOST_DAYS => format!("'{days} days'"),
        value => value.as_sql(no_backslash_escape),
    }
}

/// The values of a row of the library's client.
pub(super) fn cells(
    values: &[Option<Value>],
) -> impl Iterator<Item = Result<Cell<'_>, Malformed>> + Clone + '_ {
    values.iter().map(|value| Ok(value.as_ref().map_or(Cell::Null, Cell::from)))
}

fn no_key(reading: &Reading, what: &str) -> Error {
    let text = format!(
        "{}: column {:?}, by which rows are told apart, {what}",
        reading.input.name(),
        reading.key.join(", ")
    );
    Error::new(ErrorKind::Schema, text)
        .with_hint("name another column with split_by=, whose values are distinct and never null")
}
