//! One lane's session with a database of KWDB.

use std::collections::HashMap;
use std::sync::Arc;

use kwsync_core::system::postgres::wire::{Connection, ServerError};
use kwsync_core::{
    Checkpoint, Delivered, Delivery, Error, ErrorKind, Result, Retry, RowCounts, Schema, Settled,
    SqlStateClass, Stage, TableBatch, TableId, Writer,
};
use kwsync_formats::kwdb::InsertEncoder;

use super::catalog::SeriesTable;
use super::series::Series;
use crate::postgres::PostgresWriter;

/// Bytes of a statement; the server takes 128 MiB.
const STATEMENT_BYTES: usize = 16 << 20;
/// Rows encoded at a time.
const PIECE_ROWS: usize = 256;

/// Writes one lane's rows. See [`KwdbSink`](super::KwdbSink).
#[derive(Debug)]
pub enum KwdbWriter {
    /// To a relational database
    Relational(Box<PostgresWriter>),
    /// To a database of time series
    Series(Box<SeriesWriter>),
}

impl Writer for KwdbWriter {
    async fn write(&mut self, batch: &TableBatch) -> Result<Settled> {
        match self {
            Self::Relational(writer) => writer.write(batch).await,
            Self::Series(writer) => writer.write(batch).await,
        }
    }

    async fn flush(&mut self) -> Result<Settled> {
        match self {
            Self::Relational(writer) => writer.flush().await,
            Self::Series(writer) => writer.flush().await,
        }
    }

    async fn flush_with(&mut self, checkpoints: &[Checkpoint]) -> Result<Settled> {
        match self {
            Self::Relational(writer) => writer.flush_with(checkpoints).await,
            Self::Series(writer) => writer.flush().await,
        }
    }

    async fn close(&mut self) -> Result<Settled> {
        match self {
            Self::Relational(writer) => writer.close().await,
            Self::Series(writer) => writer.close().await,
        }
    }
}

/// Writes rows of time series; each statement is settled when it is answered.
#[derive(Debug)]
pub struct SeriesWriter {
    series: Arc<Series>,
    connection: Option<Connection>,
    encodings: HashMap<TableId, Encoding>,
    statement: Vec<u8>,
}

#[derive(Debug)]
struct Encoding {
    schema: Arc<Schema>,
    table: Arc<SeriesTable>,
    encoder: InsertEncoder,
}

impl SeriesWriter {
    pub(super) fn new(series: Arc<Series>) -> Self {
        Self { series, connection: None, encodings: HashMap::new(), statement: Vec::new() }
    }

    /// Makes the encoder of the batch's columns, if it is not there.
    fn encoding(&mut self, batch: &TableBatch) -> Result<()> {
        let target = self.series.target(batch.table());
        let Some(table) = self.series.table(&target) else {
            return Err(Error::new(ErrorKind::Internal, format!("table {target} has not been prepared")));
        };
        if let Some(known) = self.encodings.get(batch.table())
            && Arc::ptr_eq(&known.table, &table)
            && (Arc::ptr_eq(&known.schema, batch.schema()) || known.schema == *batch.schema())
        {
            return Ok(());
        }
        let schema = Arc::clone(batch.schema());
        let encoder = self.series.encoder(&table, &schema)?;
        self.encodings.insert(batch.table().clone(), Encoding { schema, table, encoder });
        Ok(())
    }

    /// Makes a statement of rows from `rows` on, the first of which are left out for their faults. Returns the rows
    /// that it has; what is left in `rows` comes later.
    fn encode(
        &mut self,
        batch: &TableBatch,
        rows: &mut Vec<usize>,
        settled: &mut Settled,
    ) -> Result<(Vec<usize>, u64)> {
        let Some(Encoding { encoder, .. }) = self.encodings.get_mut(batch.table()) else {
            return Err(Error::new(ErrorKind::Internal, format!("no encoder for table {}", batch.table())));
        };
        self.statement.clear();
        encoder.begin(&mut self.statement);
        let (mut taken, mut changed) = (Vec::new(), 0);
        let most = self.series.statement_rows;
        let mut at = 0;
        while at < rows.len() && taken.len() < most && self.statement.len() < STATEMENT_BYTES {
            // Rows that follow each other go together.
            let from = rows[at];
            let room = PIECE_ROWS.min(most - taken.len());
            let run =
                rows[at..].iter().take(room).enumerate().take_while(|(i, row)| **row == from + i).count();
            at += run;
            let coerced = encoder.coerced();
            let faults = encoder.encode(batch, from..from + run, &mut self.statement)?;
            changed += encoder.coerced() - coerced;
            taken.extend((from..from + run).filter(|row| !faults.iter().any(|fault| fault.row == *row)));
            let counts = RowCounts { rejected: faults.len() as u64, ..RowCounts::default() };
            settled.add(batch.table(), counts);
            settled.rejects.extend(
                faults
                    .into_iter()
                    .map(|fault| batch.reject(fault.row, Stage::Encode, fault.code, fault.reason)),
            );
        }
        rows.drain(..at);
        Ok((taken, changed))
    }

    async fn write_rows(&mut self, batch: &TableBatch) -> Result<Settled> {
        let mut settled = Settled::default();
        self.encoding(batch)?;
        // The last list is the next one to be sent; what was refused as a whole comes again in halves.
        let mut lists: Vec<Vec<usize>> = vec![(0..batch.rows()).collect()];
        while let Some(mut rows) = lists.pop() {
            if rows.is_empty() {
                continue;
            }
            let (taken, changed) = self.encode(batch, &mut rows, &mut settled)?;
            lists.push(rows);
            if taken.is_empty() {
                continue;
            }
            match self.send().await {
                Ok(affected) if affected == taken.len() as u64 => {
                    // Only now: rows that come again in halves would be counted again.
                    settled.coerced += changed;
                    settled.add(batch.table(), RowCounts { written: affected, ..RowCounts::default() });
                }
                Ok(affected) => {
                    let text = format!("the server says that it wrote {affected} of {} rows", taken.len());
                    return Err(Error::new(ErrorKind::Server, text).with_delivered(Delivered::InDoubt));
                }
                Err(error) => match refusal(&error) {
                    Some(server) if taken.len() == 1 => {
                        settled.add(batch.table(), RowCounts { rejected: 1, ..RowCounts::default() });
                        let (code, text) = (server.code.as_str(), server.message.as_str());
                        settled.rejects.push(batch.reject(taken[0], Stage::Write, code, text));
                    }
                    Some(_) => {
                        let (first, second) = taken.split_at(taken.len() / 2);
                        lists.push(second.to_vec());
                        lists.push(first.to_vec());
                    }
                    None => return Err(error),
                },
            }
        }
        Ok(settled)
    }

    /// Sends the statement, again where the connection was lost and that does no harm. Returns the rows written.
    async fn send(&mut self) -> Result<u64> {
        let sql = std::str::from_utf8(&self.statement)
            .map_err(|error| Error::new(ErrorKind::Internal, error.to_string()))?;
        let mut left = self.series.reconnects();
        loop {
            let connection = match self.connection.take() {
                Some(connection) if !connection.is_broken() => connection,
                _ => self.series.connect(left).await?,
            };
            let connection = self.connection.insert(connection);
            let error = match connection.simple_query(sql).await {
                Ok(results) => return Ok(results.iter().map(|result| result.affected()).sum()),
                Err(error) => error,
            };
            let lost = connection.is_broken() && error.retry() != Retry::Never;
            if !lost || left == 0 || self.series.delivery() != Delivery::Idempotent {
                return Err(error);
            }
            left -= 1;
            tracing::warn!(%error, bytes = sql.len(), "the statement is sent again");
        }
    }
}

/// What the server says, where it is a row that it refuses. Nothing of a statement is written then.
fn refusal(error: &Error) -> Option<&ServerError> {
    let server = std::error::Error::source(error)?.downcast_ref::<ServerError>()?;
    (server.class() == SqlStateClass::Row || server.code == "42804").then_some(server)
}

impl Writer for SeriesWriter {
    async fn write(&mut self, batch: &TableBatch) -> Result<Settled> {
        self.write_rows(batch).await
    }

    async fn flush(&mut self) -> Result<Settled> {
        Ok(Settled::default())
    }

    async fn close(&mut self) -> Result<Settled> {
        if let Some(connection) = self.connection.take() {
            // All is settled: a good-bye that gets lost changes nothing.
            drop(connection.close().await);
        }
        Ok(Settled::default())
    }
}
