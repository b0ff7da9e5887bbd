//! One lane's session: a transaction at a time, one COPY after the other within it.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use kwsync_core::system::postgres::catalog::CatalogTable;
use kwsync_core::system::postgres::wire::{COPY_HEADER_BYTES, Connection, ServerError};
use kwsync_core::{
    Delivered, Error, ErrorKind, Reject, Result, RowCounts, Schema, Settled, SqlStateClass, Stage,
    TableBatch, TableId, Writer,
};
use kwsync_formats::pgcopy::CopyEncoder;

use super::shared::Shared;
use super::target;

/// Bytes of a COPY message.
const MESSAGE_BYTES: usize = 1 << 20;
/// Rows encoded at a time; a message ends behind one of these.
const PIECE_ROWS: usize = 2_048;
/// Bytes behind what was sent for which rows are kept, to name the one that the server refuses. The server is never
/// further behind than the buffers of both sockets.
const RECENT_BYTES: usize = 12 << 20;

/// Writes one lane's rows. See [`PostgresSink`](super::PostgresSink).
#[derive(Debug)]
pub struct PostgresWriter {
    shared: Arc<Shared>,
    connection: Option<Connection>,
    encoders: HashMap<TableId, Encoding>,
    copy: Option<OpenCopy>,
    frame: Vec<u8>,
    /// Rows of finished COPYs of the open transaction.
    copied: HashMap<TableId, u64>,
    bytes: u64,
    state: State,
}

/// What a call that is under way has done; a dropped future leaves it behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Clean,
    Busy,
    Committing,
}

/// How rows of one set of columns are encoded.
#[derive(Debug)]
struct Encoding {
    schema: Arc<Schema>,
    /// The catalog's table that the encoder was made for.
    table: Arc<CatalogTable>,
    encoder: CopyEncoder,
    statement: String,
}

/// A COPY under way.
#[derive(Debug)]
struct OpenCopy {
    /// The rows' table, and the target's.
    table: TableId,
    relation: String,
    statement: String,
    /// Rows sent or about to be.
    rows: u64,
    recent: VecDeque<Piece>,
    recent_bytes: usize,
}

/// Rows that may still be on their way.
#[derive(Debug)]
struct Piece {
    /// The number of the first row within the COPY, from 1.
    first: u64,
    batch: TableBatch,
    /// Rows of the batch that were sent: this range but for those at `faults`.
    rows: Range<usize>,
    faults: Vec<usize>,
    bytes: usize,
}

impl PostgresWriter {
    pub(super) async fn connect(shared: Arc<Shared>) -> Result<Self> {
        let connection = Connection::connect(&shared.options.connect).await?;
        Ok(Self {
            shared,
            connection: Some(connection),
            encoders: HashMap::new(),
            copy: None,
            frame: new_frame(),
            copied: HashMap::new(),
            bytes: 0,
            state: State::Clean,
        })
    }

    /// Refuses to go on after a call that was broken off: its transaction is rolled back with its connection.
    fn check(&mut self) -> Result<()> {
        let delivered = match self.state {
            State::Clean => return Ok(()),
            State::Busy => Delivered::No,
            State::Committing => Delivered::InDoubt,
        };
        self.forget();
        Err(Error::new(ErrorKind::Unavailable, "a call was broken off, and its transaction is rolled back")
            .with_delivered(delivered))
    }

    /// Drops the connection and all that belongs to its transaction.
    fn forget(&mut self) {
        self.connection = None;
        self.copy = None;
        self.frame = new_frame();
        self.copied.clear();
        self.state = State::Clean;
    }

    async fn session(&mut self) -> Result<&mut Connection> {
        let connection = match self.connection.take() {
            Some(connection) if !connection.is_broken() => connection,
            _ => Connection::connect(&self.shared.options.connect).await?,
        };
        Ok(self.connection.insert(connection))
    }

    async fn write_rows(&mut self, batch: &TableBatch) -> Result<Settled> {
        let mut settled = Settled::default();
        if batch.rows() == 0 {
            return Ok(settled);
        }
        self.plan(batch)?;
        self.begin_copy(batch).await?;
        let mut from = 0;
        while from < batch.rows() {
            let rows = from..batch.rows().min(from + PIECE_ROWS);
            from = rows.end;
            let before = self.frame.len();
            let Some(encoding) = self.encoders.get_mut(batch.table()) else {
                return Err(Error::new(
                    ErrorKind::Internal,
                    format!("no encoder for table {}", batch.table()),
                ));
            };
            let coerced = encoding.encoder.coerced();
            let faults = encoding.encoder.encode(batch, rows.clone(), &mut self.frame)?;
            settled.coerced += encoding.encoder.coerced() - coerced;
            let sent = (rows.len() - faults.len()) as u64;
            let bytes = self.frame.len() - before;
            if let Some(copy) = &mut self.copy {
                let first = copy.rows + 1;
                copy.rows += sent;
                copy.recent_bytes += bytes;
                let at = faults.iter().map(|fault| fault.row).collect();
                copy.recent.push_back(Piece { first, batch: batch.clone(), rows, faults: at, bytes });
                while copy.recent.len() > 1 && copy.recent_bytes > RECENT_BYTES {
                    copy.recent_bytes -= copy.recent.pop_front().map_or(0, |piece| piece.bytes);
                }
            }
            if !faults.is_empty() {
                let counts = RowCounts { rejected: faults.len() as u64, ..RowCounts::default() };
                settled.add(batch.table(), counts);
                settled.rejects.extend(
                    faults
                        .into_iter()
                        .map(|fault| batch.reject(fault.row, Stage::Encode, fault.code, fault.reason)),
                );
            }
            if self.frame.len() >= MESSAGE_BYTES {
                self.send().await?;
            }
        }
        Ok(settled)
    }

    /// Makes sure that there is an encoder for the batch's columns.
    fn plan(&mut self, batch: &TableBatch) -> Result<()> {
        let target = target::renamed(batch.table(), &self.shared.options);
        let Some(table) = self.shared.table(&target) else {
            return Err(Error::new(ErrorKind::Internal, format!("table {target} has not been prepared")));
        };
        if let Some(known) = self.encoders.get(batch.table())
            && Arc::ptr_eq(&known.table, &table)
            && (Arc::ptr_eq(&known.schema, batch.schema()) || known.schema == *batch.schema())
        {
            return Ok(());
        }
        let schema = Arc::clone(batch.schema());
        let columns = target::copy_columns(&table, &schema)?;
        let encoder = CopyEncoder::try_new(&schema, &columns, self.shared.options.copy_options())?;
        let statement = target::copy_statement(&table, &schema)?;
        self.encoders.insert(batch.table().clone(), Encoding { schema, table, encoder, statement });
        Ok(())
    }

    /// Makes sure that the COPY under way is the one for this batch.
    async fn begin_copy(&mut self, batch: &TableBatch) -> Result<()> {
        let Some(encoding) = self.encoders.get(batch.table()) else { return Ok(()) };
        if self
            .copy
            .as_ref()
            .is_some_and(|copy| copy.statement == encoding.statement && copy.table == *batch.table())
        {
            return Ok(());
        }
        let (statement, relation) = (encoding.statement.clone(), encoding.table.name.clone());
        self.end_copy().await?;
        let connection = self.session().await?;
        if !connection.in_transaction() {
            connection.simple_query("BEGIN").await?;
        }
        connection
            .copy_start(&statement)
            .await
            .map_err(|error| error.context(format!("cannot write to {relation}")))?;
        CopyEncoder::write_header(&mut self.frame);
        self.copy = Some(OpenCopy {
            table: batch.table().clone(),
            relation,
            statement,
            rows: 0,
            recent: VecDeque::new(),
            recent_bytes: 0,
        });
        Ok(())
    }

    async fn send(&mut self) -> Result<()> {
        if self.frame.len() <= COPY_HEADER_BYTES {
            return Ok(());
        }
        let Some(connection) = &mut self.connection else {
            return Err(Error::new(ErrorKind::Internal, "no session while a COPY is under way"));
        };
        self.bytes += self.frame.len() as u64;
        let sent = connection.copy_send(&mut self.frame).await;
        self.frame.truncate(COPY_HEADER_BYTES);
        sent.map_err(|error| self.named(error))
    }

    async fn end_copy(&mut self) -> Result<()> {
        if self.copy.is_none() {
            return Ok(());
        }
        CopyEncoder::write_trailer(&mut self.frame);
        self.send().await?;
        let Some(connection) = &mut self.connection else { return Ok(()) };
        // Within a transaction nothing is delivered before it commits.
        let ended = connection.copy_finish().await.map_err(|error| error.with_delivered(Delivered::No));
        let rows = ended.map_err(|error| self.named(error))?;
        if let Some(copy) = self.copy.take() {
            *self.copied.entry(copy.table).or_default() += rows;
        }
        Ok(())
    }

    async fn commit(&mut self) -> Result<Settled> {
        self.end_copy().await?;
        let mut settled = Settled { bytes: std::mem::take(&mut self.bytes), ..Settled::default() };
        if let Some(connection) = &mut self.connection
            && connection.in_transaction()
        {
            self.state = State::Committing;
            match connection.simple_query("COMMIT").await {
                Ok(results) if results.iter().all(|result| result.tag == "COMMIT") => {}
                Ok(_) => return Err(Error::new(ErrorKind::Server, "the server rolled the transaction back")),
                Err(error) => {
                    // An answer of the server means that it has rolled back, but for the two codes that say that it
                    // does not know; without an answer nobody knows.
                    let rolled_back = !matches!(error.code(), None | Some("08007" | "40003"));
                    let delivered = if rolled_back { Delivered::No } else { Delivered::InDoubt };
                    return Err(error.context("cannot commit").with_delivered(delivered));
                }
            }
        }
        for (table, rows) in self.copied.drain() {
            settled.add(&table, RowCounts { written: rows, ..RowCounts::default() });
        }
        Ok(settled)
    }

    /// Names the record of the input that a COPY stumbled over, as far as the server tells and it is known.
    fn named(&self, error: Error) -> Error {
        let Some(copy) = &self.copy else { return error };
        let server =
            std::error::Error::source(&error).and_then(|source| source.downcast_ref::<ServerError>());
        let Some(server) = server.filter(|server| server.class() == SqlStateClass::Row) else {
            return error;
        };
        let Some(reject) = server.copy_line(&copy.relation).and_then(|line| copy.find(line, server)) else {
            return error;
        };
        reject
            .to_error()
            .with_hint("mend the record, the table or its constraint, then run again: it resumes")
            .with_source(server.clone())
    }

    /// Runs to its end a call that a dropped future would leave dirty.
    fn settle<T>(&mut self, done: Result<T>) -> Result<T> {
        match &done {
            Ok(_) => self.state = State::Clean,
            Err(_) => self.forget(),
        }
        done
    }
}

impl OpenCopy {
    /// The record that row `line` of this COPY (from 1) came from.
    fn find(&self, line: u64, server: &ServerError) -> Option<Reject> {
        let piece = self.recent.iter().rev().find(|piece| piece.first <= line)?;
        let mut left = line - piece.first;
        for row in piece.rows.clone() {
            if piece.faults.contains(&row) {
                continue;
            }
            if left == 0 {
                return Some(piece.batch.reject(
                    row,
                    Stage::Write,
                    server.code.as_str(),
                    server.message.as_str(),
                ));
            }
            left -= 1;
        }
        None
    }
}

fn new_frame() -> Vec<u8> {
    let mut frame = Vec::with_capacity(MESSAGE_BYTES + (MESSAGE_BYTES >> 1));
    frame.resize(COPY_HEADER_BYTES, 0);
    frame
}

impl Writer for PostgresWriter {
    async fn write(&mut self, batch: &TableBatch) -> Result<Settled> {
        self.check()?;
        self.state = State::Busy;
        let done = self.write_rows(batch).await;
        self.settle(done)
    }

    async fn flush(&mut self) -> Result<Settled> {
        self.check()?;
        self.state = State::Busy;
        let done = self.commit().await;
        self.settle(done)
    }

    async fn close(&mut self) -> Result<Settled> {
        let settled = self.flush().await?;
        if let Some(connection) = self.connection.take() {
            // All is settled: a good-bye that gets lost changes nothing.
            drop(connection.close().await);
        }
        Ok(settled)
    }
}
