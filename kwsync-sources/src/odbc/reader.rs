//! Reads one split, on a thread of its own: drivers block.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef, BooleanArray};
use bytes::Bytes;
use kwsync_core::{
    DecodeCounts, Decoded, Error, ErrorKind, Input, Origin, Position, Reader, RecordRef, Reject, Result,
    Segment, SourceBatch, SplitPosition, Stage, TableBatch, Value,
};
use tokio::sync::mpsc;

use super::config::OdbcSourceOptions;
use super::convert;
use super::fetch::{Bounds, Failed, Fetched, Rows, blocks, next_block};
use super::session::Session;
use super::shape::Shape;
use super::source;
use crate::relational::ranged::Spec;

/// Batches that wait for the lane; more would only take memory.
const AHEAD: usize = 2;

/// Reads one split of an [`OdbcSource`](super::OdbcSource).
#[derive(Debug)]
pub struct OdbcReader {
    batches: mpsc::Receiver<Message>,
    ended: bool,
}

/// What the thread has to say. An end is said, too: a thread that is gone without a word was not at the end.
#[derive(Debug)]
enum Message {
    Batch(Box<SourceBatch>),
    End(Result<()>),
}

/// What the thread has to do.
pub(super) struct Reading {
    pub(super) options: Arc<OdbcSourceOptions>,
    pub(super) spec: Spec,
    pub(super) shape: Option<Arc<Shape>>,
    pub(super) input: Arc<Input>,
    pub(super) after: Option<Vec<String>>,
}

impl OdbcReader {
    pub(super) fn start(reading: Reading) -> Result<Self> {
        let (sender, batches) = mpsc::channel(AHEAD);
        let run = move || {
            let name = reading.input.name().to_owned();
            let done = reading.run(&sender).map_err(|error| error.context(format!("cannot read {name}")));
            // Nobody may listen any more; then nobody wants to know.
            drop(sender.blocking_send(Message::End(done)));
        };
        std::thread::Builder::new()
            .name("kwsync-odbc".to_owned())
            .spawn(run)
            .map_err(|error| Error::io("cannot start a thread", error))?;
        Ok(Self { batches, ended: false })
    }
}

impl Reader for OdbcReader {
    async fn next(&mut self) -> Result<Option<SourceBatch>> {
        if self.ended {
            return Ok(None);
        }
        match self.batches.recv().await {
            Some(Message::Batch(batch)) => Ok(Some(*batch)),
            Some(Message::End(done)) => {
                self.ended = true;
                done.map(|()| None)
            }
            None => Err(Error::new(ErrorKind::Internal, "the ODBC driver broke its thread")
                .with_hint("the standard error has more; another version of the driver may help")),
        }
    }

    fn is_interruptible(&self) -> bool {
        true
    }
}

impl Reading {
    fn run(&self, sender: &mpsc::Sender<Message>) -> Result<()> {
        let session = Session::open(&self.options)?;
        let shape = match &self.shape {
            Some(shape) => Arc::clone(shape),
            None => Arc::new(source::shape(&session, &self.options, &self.spec)?),
        };
        let mut making =
            Making { reading: self, shape: &shape, last: self.after.clone(), record: 0, sent: false };
        let mut by_blocks = shape.by_blocks;
        loop {
            match making.pass(&session, by_blocks, sender) {
                Ok(()) => return Ok(()),
                // Some drivers do not know how long values are: the rest comes row by row.
                Err(Failed::TooLong) if by_blocks && (!shape.key.is_empty() || !making.sent) => {
                    tracing::debug!(name = %self.input.name(), "a value is longer than the driver said: by rows");
                    by_blocks = false;
                }
                Err(Failed::TooLong) => {
                    let text = "a value is longer than the driver said, and there is no key to read on by";
                    return Err(Error::new(ErrorKind::Unsupported, text).with_hint("use fetch=rows"));
                }
                Err(Failed::Error(error)) => return Err(error),
            }
        }
    }
}

/// Rows on their way into batches.
struct Making<'a> {
    reading: &'a Reading,
    shape: &'a Shape,
    /// The last key, each part as SQL has it.
    last: Option<Vec<String>>,
    record: u64,
    sent: bool,
}

impl Making<'_> {
    /// Reads from behind the last key to the end.
    fn pass(
        &mut self,
        session: &Session,
        by_blocks: bool,
        sender: &mpsc::Sender<Message>,
    ) -> Result<(), Failed> {
        let (reading, shape) = (self.reading, self.shape);
        let sql =
            shape.statement(&reading.spec, reading.options.condition.as_deref(), self.last.as_deref())?;
        tracing::debug!(split = %reading.input.split(), %sql, by_blocks, "reading");
        let cursor = session.connection.execute(&sql, (), None).map_err(|error| session.error(error))?;
        let cursor = cursor.ok_or_else(|| Error::new(ErrorKind::Schema, "the statement has no rows"))?;
        let bounds = Bounds { rows: reading.options.batch_rows, bytes: reading.options.batch_bytes };
        let told = session.told();
        let mut empty = !self.sent;
        let deliver = |making: &mut Self, fetched: Fetched| -> Result<bool> {
            let batch = making.batch(fetched)?;
            making.sent = true;
            Ok(sender.blocking_send(Message::Batch(Box::new(batch))).is_ok())
        };
        if by_blocks {
            let mut blocks = blocks(cursor, &shape.ways, bounds)?;
            while let Some(fetched) = next_block(&mut blocks, &told)? {
                empty = false;
                if !deliver(self, fetched)? {
                    return Ok(());
                }
            }
        } else {
            let mut rows = Rows::new(cursor, &shape.ways, bounds);
            while let Some(fetched) = rows.next(&told)? {
                empty = false;
                if !deliver(self, fetched)? {
                    return Ok(());
                }
            }
        }
        if empty {
            // A table without rows is one, too: whoever takes it makes it.
            let none = TableBatch::empty(reading.spec.table.clone(), Arc::clone(&shape.schema))?;
            let decoded = Decoded { batches: vec![none], ..Decoded::default() };
            let batch = SourceBatch::of(decoded, self.position());
            drop(sender.blocking_send(Message::Batch(Box::new(batch))));
        }
        Ok(())
    }

    fn position(&self) -> SplitPosition {
        SplitPosition(match &self.last {
            Some(key) => key.iter().map(|part| serde_json::Value::from(part.as_str())).collect(),
            None => serde_json::Value::Null,
        })
    }

    fn batch(&mut self, (fetched, mut faults): Fetched) -> Result<SourceBatch> {
        let (reading, shape) = (self.reading, self.shape);
        let own = shape.schema.columns().len();
        let (columns, key) = fetched.split_at_checked(own).ok_or_else(|| {
            Error::new(ErrorKind::Protocol, format!("{}: rows lack columns", reading.input.name()))
        })?;
        let rows = faults.len();
        self.keys(key, rows)?;
        let mut arrays = Vec::with_capacity(own);
        for (at, (column, array)) in shape.schema.columns().iter().zip(columns).enumerate() {
            arrays.push(convert::column(at, column.data_type(), array, &mut faults)?);
        }
        let first = self.record + 1;
        self.record += rows as u64;
        let mut rejects = Vec::new();
        for (row, fault) in faults.iter().enumerate() {
            let Some((at, fault)) = fault else { continue };
            let name = shape.schema.columns().get(*at).map(|column| column.name()).unwrap_or_default();
            rejects.push(Reject {
                position: Position { record: first + row as u64, ..Position::default() },
                split: reading.input.split().to_owned(),
                stage: Stage::Decode,
                format: "odbc".to_owned(),
                table: Some(reading.spec.table.clone()),
                code: fault.code.to_owned(),
                reason: format!("column {name:?}: {}", fault.reason),
                raw: Bytes::from(raw(columns, row)?),
                message: None,
                at: None,
            });
        }
        let refs = faults.iter().enumerate().filter(|(_, fault)| fault.is_none());
        let refs: Vec<RecordRef> =
            refs.map(|(record, _)| RecordRef { record: record as u32, ..RecordRef::default() }).collect();
        if !rejects.is_empty() {
            let keep: BooleanArray = faults.iter().map(|fault| Some(fault.is_none())).collect();
            for array in &mut arrays {
                *array = arrow_select::filter::filter(array.as_ref(), &keep).map_err(|error| {
                    Error::new(ErrorKind::Internal, "cannot filter a batch").with_source(error)
                })?;
            }
        }
        let bytes: usize = fetched.iter().map(|array| array.get_buffer_memory_size()).sum();
        let base = Position { record: first, ..Position::default() };
        let segment = Segment { input: Arc::clone(&reading.input), bytes: None, base };
        let good = refs.len();
        let batch = TableBatch::from_columns(
            reading.spec.table.clone(),
            Arc::clone(&shape.schema),
            arrays,
            Origin::new([segment], refs),
        )?;
        let counts = DecodeCounts { records: rows as u64, ..DecodeCounts::default() };
        let batches = if good > 0 { vec![batch] } else { Vec::new() };
        let decoded = Decoded { batches, rejects, counts };
        Ok(SourceBatch { bytes: bytes as u64, ..SourceBatch::of(decoded, self.position()) })
    }

    /// Takes the key of the last row, once all have been seen to be one.
    fn keys(&mut self, key: &[ArrayRef], rows: usize) -> Result<()> {
        if key.is_empty() {
            return Ok(());
        }
        let unique = self.reading.spec.unique;
        // Where an index says that they are distinct and never null, only the last row has to be looked at.
        let from = if unique { rows.saturating_sub(1) } else { 0 };
        for row in from..rows {
            let mut parts = Vec::with_capacity(key.len());
            for (at, array) in key.iter().enumerate() {
                if array.is_null(row) {
                    return Err(self.no_key("is null in some rows"));
                }
                let text = match array.as_primitive_opt::<Int64Type>() {
                    Some(numbers) => numbers.value(row).to_string(),
                    None => array
                        .as_string_opt::<i32>()
                        .map(|texts| texts.value(row).to_owned())
                        .unwrap_or_default(),
                };
                let part = self.shape.literal(at, &text);
                parts.push(part.ok_or_else(|| self.no_key(&format!("holds {text:?}, which is no number")))?);
            }
            if !unique && self.last.as_ref() == Some(&parts) {
                return Err(self.no_key(&format!("has a value twice: {}", parts.join(", "))));
            }
            self.last = Some(parts);
        }
        Ok(())
    }

    fn no_key(&self, what: &str) -> Error {
        let names = self.shape.key.join(", ");
        Error::new(ErrorKind::Schema, format!("column {names:?}, by which rows are told apart, {what}"))
            .with_hint("name another column with split_by=, whose values are distinct and never null")
    }
}

/// A row as it was fetched.
fn raw(columns: &[ArrayRef], row: usize) -> Result<String> {
    let texts: Vec<String> = columns
        .iter()
        .map(|array| {
            let value = Value::of(array.as_ref(), row)?;
            Ok(match &value {
                Value::Text(text) => format!("'{}'", text.replace('\'', "''")),
                other => other.to_string(),
            })
        })
        .collect::<Result<_>>()?;
    Ok(texts.join(", "))
}
