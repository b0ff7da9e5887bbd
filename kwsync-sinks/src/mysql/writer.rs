//! Rows into statements, statements into transactions.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use kwsync_core::system::mysql::ddl::quote;
use kwsync_core::system::mysql::session::error;
use kwsync_core::{
    Checkpoint, Delivered, Error, ErrorKind, Reject, Result, Retry, RowCounts, Schema, Settled, Stage,
    TableBatch, TableId, Value, Writer,
};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use super::checkpoint;
use super::config::{Mode, Strategy};
use super::literal::Target;
use super::load;
use super::sink::{Known, Shared};
use super::target;

/// Bytes of a statement at which it is sent; larger ones gain nothing.
const STATEMENT_BYTES: usize = 1 << 20;

/// Writes the rows of one lane.
#[derive(Debug)]
pub struct MysqlWriter {
    shared: Arc<Shared>,
    connection: Conn,
    /// The longest statement that the server takes.
    packet: usize,
    /// Whether the server takes LOAD DATA LOCAL.
    loads: bool,
    in_transaction: bool,
    /// A statement is under way; if a future is dropped then, the session is lost.
    busy: bool,
    ways: HashMap<TableId, Way>,
}

/// How rows of one set of columns go into a table.
#[derive(Debug)]
struct Way {
    schema: Arc<Schema>,
    known: Arc<Known>,
    targets: Vec<Target>,
    /// What stands before the rows, and behind them.
    head: String,
    tail: String,
    /// The LOAD DATA that reads the same rows, where that is the way.
    load: Option<String>,
    /// Batches that go in by INSERT before LOAD DATA is tried again.
    patience: u32,
}

/// Rows as they stand in a statement: where each begins.
#[derive(Debug, Default)]
struct Rows {
    text: Bytes,
    /// The row of the batch, and its part of `text`.
    places: Vec<(usize, Range<usize>)>,
}

impl MysqlWriter {
    pub(super) async fn connect(shared: Arc<Shared>) -> Result<Self> {
        let mut connection = shared.connect().await?;
        let packet: Option<usize> =
            connection.query_first("SELECT @@max_allowed_packet").await.map_err(error)?;
        let packet = packet.unwrap_or(1 << 20).saturating_sub(1 << 10);
        let loads = shared.options.strategy != Strategy::Insert && load::is_allowed(&mut connection).await?;
        Ok(Self {
            shared,
            connection,
            packet,
            loads,
            in_transaction: false,
            busy: false,
            ways: HashMap::new(),
        })
    }

    fn plan(&mut self, batch: &TableBatch) -> Result<()> {
        let table = batch.table();
        let Some(known) = self.shared.table(table) else {
            return Err(Error::new(ErrorKind::Internal, format!("table {table} has not been prepared")));
        };
        let same = self.ways.get(table).is_some_and(|way| {
            Arc::ptr_eq(&way.known, &known)
                && (Arc::ptr_eq(&way.schema, batch.schema()) || way.schema == *batch.schema())
        });
        if same {
            return Ok(());
        }
        let schema = Arc::clone(batch.schema());
        let targets = target::targets(&known.name, &known.columns, &schema)?;
        let names: Vec<_> =
            schema.columns().iter().map(|column| quote(column.name())).collect::<Result<_>>()?;
        let verb = if self.shared.options.mode == Mode::Replace { "REPLACE" } else { "INSERT" };
        let head = format!("{verb} INTO {} ({}) VALUES ", known.name, names.join(", "));
        let tail = match (self.shared.options.mode, names.first()) {
            // Not INSERT IGNORE, which makes warnings of all faults and changes values until they fit.
            (Mode::InsertIgnore, Some(first)) => {
                format!(" ON DUPLICATE KEY UPDATE {first} = {}.{first}", known.name)
            }
            (Mode::Upsert, _) => {
                let set: Vec<_> = names.iter().map(|name| format!("{name} = VALUES({name})")).collect();
                format!(" ON DUPLICATE KEY UPDATE {}", set.join(", "))
            }
            _ => String::new(),
        };
        let options = &self.shared.options;
        let hindrance = load::hindrance(options, self.loads, known.revocable, &targets);
        let load = match load::chosen(options, hindrance)? {
            true => Some(load::statement(&known.name, options.mode, &schema, &targets)?),
            false => None,
        };
        let way = Way { schema, known, targets, head, tail, load, patience: 0 };
        self.ways.insert(table.clone(), way);
        Ok(())
    }

    /// The rows as text, and those that no column can hold.
    fn encode(&self, batch: &TableBatch, settled: &mut Settled) -> Result<Rows> {
        let Some(way) = self.ways.get(batch.table()) else { return Ok(Rows::default()) };
        let (mut text, mut places) = (Vec::new(), Vec::with_capacity(batch.rows()));
        let truncate = self.shared.options.truncate_seconds;
        'rows: for row in 0..batch.rows() {
            let start = text.len();
            text.push(b'(');
            let columns = batch.batch().columns().iter().zip(&way.targets).zip(way.schema.columns());
            for (at, ((array, target), column)) in columns.enumerate() {
                if at > 0 {
                    text.push(b',');
                }
                let value = Value::of(array.as_ref(), row)?;
                match target.write(&value, column.data_type(), truncate, &mut text) {
                    Ok(cut) => settled.coerced += u64::from(cut),
                    Err(fault) => {
                        text.truncate(start);
                        let reason = format!("column {:?}: {}", column.name(), fault.reason);
                        settled.rejects.push(batch.reject(row, Stage::Encode, fault.code, reason));
                        continue 'rows;
                    }
                }
            }
            text.push(b')');
            let length = text.len() - start;
            if length + way.head.len() + way.tail.len() > self.packet {
                let reason =
                    format!("the row takes {length} bytes, more than the server's max_allowed_packet");
                settled.rejects.push(batch.reject(row, Stage::Encode, "row_too_large", reason));
                text.truncate(start);
                continue;
            }
            places.push((row, start..text.len()));
        }
        Ok(Rows { text: text.into(), places })
    }

    /// Sends all rows by LOAD DATA, if that is the way. False if they have to go in otherwise; then nothing was left behind.
    async fn load(&mut self, batch: &TableBatch, rows: &Rows, settled: &mut Settled) -> Result<bool> {
        let few = self.shared.options.strategy == Strategy::Auto && rows.places.len() < load::FEW_ROWS;
        let Some(way) = self.ways.get_mut(batch.table()) else { return Ok(false) };
        let Some(statement) = way.load.as_ref().filter(|_| !few && !rows.places.is_empty()) else {
            return Ok(false);
        };
        if way.patience > 0 {
            way.patience -= 1;
            return Ok(false);
        }
        self.busy = true;
        let connection = &mut self.connection;
        connection.query_drop("SAVEPOINT kwsync_load").await.map_err(error)?;
        let count = rows.places.len() as u64;
        let sent = match load::run(connection, statement, rows.text.clone()).await {
            Ok(loaded) if loaded.is_exact(count) => Some(loaded),
            Ok(loaded) => {
                tracing::debug!(table = %batch.table(), ?loaded, "LOAD DATA is taken back: INSERT tells which rows");
                None
            }
            Err(fault) if fault.kind() == ErrorKind::Data => None,
            Err(fault) => return Err(fault.context(format!("cannot write to {}", batch.table()))),
        };
        // The next savepoint of the name takes the place of this one.
        if sent.is_none() {
            connection.query_drop("ROLLBACK TO SAVEPOINT kwsync_load").await.map_err(error)?;
        }
        self.busy = false;
        let Some(loaded) = sent else {
            way.patience = load::AFTER_FAULTS;
            return Ok(false);
        };
        settled.bytes += rows.text.len() as u64;
        let updated = loaded.deleted.min(count);
        let counts = RowCounts { written: count - updated, updated, ..RowCounts::default() };
        settled.add(batch.table(), counts);
        Ok(true)
    }

    /// Sends some rows. What the server refuses of them is found by halves: a refused statement leaves nothing behind.
    async fn send(
        &mut self,
        batch: &TableBatch,
        rows: &Rows,
        all: Range<usize>,
        settled: &mut Settled,
    ) -> Result<()> {
        let mut waiting = vec![all];
        while let Some(range) = waiting.pop() {
            let Some(way) = self.ways.get(batch.table()) else { return Ok(()) };
            let places = rows.places.get(range.clone()).unwrap_or_default();
            let mut sql = Vec::with_capacity(
                way.head.len()
                    + way.tail.len()
                    + places.iter().map(|(_, part)| part.len() + 1).sum::<usize>(),
            );
            sql.extend_from_slice(way.head.as_bytes());
            for (at, (_, part)) in places.iter().enumerate() {
                if at > 0 {
                    sql.push(b',');
                }
                sql.extend_from_slice(rows.text.get(part.clone()).unwrap_or_default());
            }
            sql.extend_from_slice(way.tail.as_bytes());
            let bytes = sql.len() as u64;
            self.busy = true;
            let done = self.connection.query_drop(sql).await.map_err(error);
            match done {
                Ok(()) => {
                    self.busy = false;
                    settled.bytes += bytes;
                    settled.add(batch.table(), self.counts(places.len() as u64));
                }
                Err(fault) if fault.kind() == ErrorKind::Data => {
                    self.busy = false;
                    if let [(row, _)] = places {
                        settled.rejects.push(refused(batch, *row, &fault));
                        continue;
                    }
                    let middle = range.start + places.len() / 2;
                    // The first half first: rows stay in order.
                    waiting.push(middle..range.end);
                    waiting.push(range.start..middle);
                }
                Err(fault) => {
                    return Err(fault.context(format!("cannot write to {}", batch.table())));
                }
            }
        }
        Ok(())
    }

    /// What became of the rows of the last statement.
    fn counts(&self, rows: u64) -> RowCounts {
        let affected = self.connection.affected_rows();
        let info = self.connection.info().into_owned();
        let duplicates = info.split("Duplicates: ").nth(1).and_then(|rest| {
            rest.split(|c: char| !c.is_ascii_digit()).next().and_then(|digits| digits.parse::<u64>().ok())
        });
        let none = RowCounts::default();
        match self.shared.options.mode {
            Mode::Insert => RowCounts { written: rows, ..none },
            Mode::InsertIgnore => {
                RowCounts { written: affected.min(rows), ignored: rows.saturating_sub(affected), ..none }
            }
            // An updated row counts twice, an equal one not at all.
            Mode::Upsert => {
                let changed = duplicates.unwrap_or(if affected == 1 { 0 } else { affected / 2 });
                let written = affected.saturating_sub(2 * changed).min(rows);
                RowCounts { written, updated: rows - written, ..none }
            }
            Mode::Replace => {
                let updated = duplicates.unwrap_or(affected.saturating_sub(rows)).min(rows);
                RowCounts { written: rows - updated, updated, ..none }
            }
        }
    }

    async fn begin(&mut self) -> Result<()> {
        if self.busy {
            return Err(Error::new(
                ErrorKind::Unavailable,
                "the session was broken off in the middle of a statement",
            )
            .with_retry(Retry::Now));
        }
        if !self.in_transaction {
            self.busy = true;
            self.connection.query_drop("START TRANSACTION").await.map_err(error)?;
            (self.busy, self.in_transaction) = (false, true);
        }
        Ok(())
    }

    async fn commit(&mut self, checkpoints: &[Checkpoint]) -> Result<()> {
        let claimed = self.shared.claimed().filter(|_| !checkpoints.is_empty());
        if claimed.is_none() && !self.in_transaction {
            return Ok(());
        }
        self.begin().await?;
        self.busy = true;
        let mine: Vec<_> = match &claimed {
            Some(claimed) => checkpoints
                .iter()
                .map(|checkpoint| Checkpoint { generation: claimed.generation, ..checkpoint.clone() })
                .collect(),
            None => Vec::new(),
        };
        if let Some(claimed) = &claimed {
            // Not for us any more: the transaction goes with the session.
            checkpoint::advance(&mut self.connection, &claimed.table, &mine).await?;
        }
        if let Err(fault) = self.connection.query_drop("COMMIT").await.map_err(error) {
            let lost = matches!(fault.kind(), ErrorKind::Unavailable | ErrorKind::Timeout);
            let Some(claimed) = claimed.filter(|_| lost) else {
                let delivered = if lost { Delivered::InDoubt } else { Delivered::No };
                return Err(fault.context("cannot commit").with_delivered(delivered));
            };
            // The connection was lost in the middle of the commit: the checkpoint knows.
            self.connection = self.shared.connect().await?;
            if !checkpoint::is_committed(&mut self.connection, &claimed.table, &mine).await? {
                return Err(fault.context("cannot commit"));
            }
        }
        (self.busy, self.in_transaction) = (false, false);
        Ok(())
    }
}

fn refused(batch: &TableBatch, row: usize, fault: &Error) -> Reject {
    batch.reject(row, Stage::Write, fault.code().unwrap_or("refused").to_owned(), fault.message().to_owned())
}

impl Writer for MysqlWriter {
    async fn write(&mut self, batch: &TableBatch) -> Result<Settled> {
        self.plan(batch)?;
        let mut settled = Settled::default();
        if batch.rows() == 0 {
            return Ok(settled);
        }
        let rows = self.encode(batch, &mut settled)?;
        self.begin().await?;
        let most = self.shared.options.statement_rows;
        let mut start = match self.load(batch, &rows, &mut settled).await? {
            true => rows.places.len(),
            false => 0,
        };
        while start < rows.places.len() {
            let first = rows.places.get(start).map_or(0, |(_, part)| part.start);
            let bound = STATEMENT_BYTES.min(self.packet / 2);
            let fits = |(_, part): &&(usize, Range<usize>)| part.end - first <= bound;
            let count = rows.places.iter().skip(start).take(most).take_while(fits).count().max(1);
            self.send(batch, &rows, start..start + count, &mut settled).await?;
            start += count;
        }
        let rejected = settled.rejects.len() as u64;
        settled.add(batch.table(), RowCounts { rejected, ..RowCounts::default() });
        Ok(settled)
    }

    async fn flush(&mut self) -> Result<Settled> {
        self.commit(&[]).await?;
        Ok(Settled::default())
    }

    async fn flush_with(&mut self, checkpoints: &[Checkpoint]) -> Result<Settled> {
        self.commit(checkpoints).await?;
        Ok(Settled::default())
    }
}
