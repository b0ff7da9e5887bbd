//! Reads one split: a task drives the statement and decodes its rows.

use std::sync::Arc;

use bytes::Bytes;
use kwsync_core::system::mysql::ddl::{bytes_literal, literal};
use kwsync_core::system::mysql::session::error;
use kwsync_core::{
    DecodeCounts, Decoded, Error, ErrorKind, Input, Origin, Position, Reader, RecordRef, Reject, Result,
    Schema, Segment, SourceBatch, SplitPosition, Stage, TableBatch, TableId,
};
use mysql_async::prelude::Queryable;
use mysql_async::{Params, Row, Value};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::config::ZeroDates;
use super::decode::Columns;
use super::source::{Lane, Sessions};

/// Batches that wait for the lane; more would only take memory.
const AHEAD: usize = 2;

/// Reads one split of a [`MysqlSource`](super::MysqlSource).
#[derive(Debug)]
pub struct MysqlReader {
    batches: mpsc::Receiver<Result<SourceBatch>>,
    task: JoinHandle<()>,
}

impl Drop for MysqlReader {
    fn drop(&mut self) {
        // The session goes with the task, and the server notices.
        self.task.abort();
    }
}

/// What the task has to do.
pub(super) struct Reading {
    pub(super) sessions: Arc<Sessions>,
    pub(super) sql: String,
    /// Columns of the key, behind those of the schema.
    pub(super) key: Vec<String>,
    pub(super) unique: bool,
    pub(super) table: TableId,
    pub(super) schema: Arc<Schema>,
    pub(super) input: Arc<Input>,
    pub(super) after: Option<Vec<String>>,
    pub(super) zero_dates: ZeroDates,
    pub(super) batch_rows: usize,
    pub(super) batch_bytes: usize,
}

impl MysqlReader {
    pub(super) fn start(reading: Reading, lane: Lane) -> Self {
        let (sender, batches) = mpsc::channel(AHEAD);
        let task = tokio::spawn(async move {
            if let Err(error) = reading.run(lane, &sender).await {
                // Nobody may listen any more; then nobody wants to know.
                drop(sender.send(Err(error)).await);
            }
        });
        Self { batches, task }
    }
}

impl Reader for MysqlReader {
    async fn next(&mut self) -> Result<Option<SourceBatch>> {
        self.batches.recv().await.transpose()
    }

    fn is_interruptible(&self) -> bool {
        true
    }
}

impl Reading {
    async fn run(mut self, mut lane: Lane, sender: &mpsc::Sender<Result<SourceBatch>>) -> Result<()> {
        let name = self.input.name().to_owned();
        let cannot = |found| error(found).context(format!("cannot read {name}"));
        let mut making = Making {
            columns: Columns::new(&self.schema, self.zero_dates)?,
            rejects: Vec::new(),
            last: self.after.take(),
            record: 0,
        };
        let mut empty = true;
        {
            let sql = std::mem::take(&mut self.sql);
            let mut result = lane.connection.exec_iter(sql, Params::Empty).await.map_err(cannot)?;
            let mut done = false;
            while !done {
                match result.next().await.map_err(cannot)? {
                    Some(row) => making.take(row, &self)?,
                    None => done = true,
                }
                let full =
                    making.columns.rows() >= self.batch_rows || making.columns.bytes() >= self.batch_bytes;
                if !full && !done {
                    continue;
                }
                if making.columns.rows() == 0 && !empty {
                    continue;
                }
                empty = false;
                let batch = making.batch(&self)?;
                if sender.send(Ok(batch)).await.is_err() {
                    return Ok(());
                }
            }
        }
        self.sessions.give_back(lane);
        Ok(())
    }
}

/// Rows on their way into a batch.
struct Making {
    columns: Columns,
    rejects: Vec<Reject>,
    /// The last key, each part as SQL has it.
    last: Option<Vec<String>>,
    record: u64,
}

impl Making {
    fn take(&mut self, row: Row, reading: &Reading) -> Result<()> {
        let values = row.unwrap_raw();
        let values: Vec<Value> = values.into_iter().map(|value| value.unwrap_or(Value::NULL)).collect();
        let (own, key) = values.split_at_checked(reading.schema.columns().len()).ok_or_else(|| {
            Error::new(ErrorKind::Protocol, format!("{}: a row lacks columns", reading.input.name()))
        })?;
        self.record += 1;
        if !reading.key.is_empty() {
            let key = key.iter().map(|value| self.part(value, reading)).collect::<Result<Vec<_>>>()?;
            if !reading.unique && self.last.as_ref() == Some(&key) {
                return Err(no_key(reading, &format!("has a value twice: {}", key.join(", "))));
            }
            self.last = Some(key);
        }
        if let Err((column, fault)) = self.columns.push(own) {
            let text: Vec<String> = own.iter().map(|value| value.as_sql(true)).collect();
            self.rejects.push(Reject {
                position: Position { record: self.record, ..Position::default() },
                split: reading.input.split().to_owned(),
                stage: Stage::Decode,
                format: "mysql".to_owned(),
                table: Some(reading.table.clone()),
                code: fault.code.to_owned(),
                reason: format!("column {column:?}: {}", fault.reason),
                raw: Bytes::from(text.join(", ")),
                message: None,
                at: None,
            });
        }
        Ok(())
    }

    /// A part of a key as SQL has it.
    fn part(&self, value: &Value, reading: &Reading) -> Result<String> {
        Ok(match value {
            Value::NULL => return Err(no_key(reading, "is null in some rows")),
            Value::Bytes(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => literal(text),
                Err(_) => bytes_literal(bytes),
            },
            Value::Float(_) | Value::Double(_) => return Err(no_key(reading, "is a float")),
            other => other.as_sql(false),
        })
    }

    fn batch(&mut self, reading: &Reading) -> Result<SourceBatch> {
        let (rows, bytes) = (self.columns.rows(), self.columns.bytes());
        let arrays = self.columns.finish()?;
        let rejects = std::mem::take(&mut self.rejects);
        let good = rows - rejects.len();
        // The records of the good rows: those between that were refused are left out.
        let first = self.record - rows as u64 + 1;
        let refused: Vec<u64> = rejects.iter().map(|reject| reject.position.record).collect();
        let refs: Vec<RecordRef> = (0..rows as u32)
            .filter(|at| !refused.contains(&(first + u64::from(*at))))
            .map(|record| RecordRef { record, ..RecordRef::default() })
            .collect();
        let base = Position { record: first, ..Position::default() };
        let segment = Segment { input: Arc::clone(&reading.input), bytes: None, base };
        let batch = TableBatch::from_columns(
            reading.table.clone(),
            Arc::clone(&reading.schema),
            arrays,
            Origin::new([segment], refs),
        )?;
        let counts = DecodeCounts { records: rows as u64, ..DecodeCounts::default() };
        // A table without rows is one, too: whoever takes it makes it.
        let batches = if good > 0 || rows == 0 { vec![batch] } else { Vec::new() };
        let position = match &self.last {
            Some(key) => key.iter().map(|part| serde_json::Value::from(part.as_str())).collect(),
            None => serde_json::Value::Null,
        };
        let decoded = Decoded { batches, rejects, counts };
        Ok(SourceBatch { bytes: bytes as u64, ..SourceBatch::of(decoded, SplitPosition(position)) })
    }
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
