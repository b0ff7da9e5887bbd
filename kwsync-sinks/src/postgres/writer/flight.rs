//! Segments on their way: sending without waiting, and what follows when the server refuses a row.

use std::sync::Arc;

use kwsync_core::system::postgres::wire::{Answer, Connection, ServerError};
use kwsync_core::{Error, ErrorKind, Result, RowCounts, SqlStateClass, Stage};
use kwsync_formats::pgcopy::CopyEncoder;

use super::{PostgresWriter, Segment};

/// Bytes of a COPY message.
const MESSAGE_BYTES: usize = 1 << 20;
/// Bytes from which several small segments are sent together.
const TOGETHER_BYTES: usize = 64 << 10;
/// Rows encoded at a time; a message ends behind one of these.
const PIECE_ROWS: usize = 2_048;
/// Segments that may wait for their answers. When one is refused, those behind it are sent again.
const DEPTH: usize = 2;

/// A segment that was sent, and the answers that will tell its fate.
#[derive(Debug)]
pub(super) struct Flight {
    segment: Segment,
    answers: usize,
}

/// A fault that costs a row, not the job.
fn is_row_fault(fault: &ServerError, located: bool) -> bool {
    // 54000 with a line: a value that is too long for an index.
    fault.class() == SqlStateClass::Row || (fault.code == "54000" && located)
}

impl PostgresWriter {
    /// Sends a segment, and reads answers of those before it.
    pub(super) async fn send(&mut self, mut segment: Segment) -> Result<()> {
        self.session().await?;
        let (Some(encoding), Some(connection)) =
            (self.encodings.get_mut(&segment.table), &mut self.connection)
        else {
            return Err(Error::new(ErrorKind::Internal, format!("no encoder for table {}", segment.table)));
        };
        let opening = match (self.begun, self.shared.options.immediate_constraints) {
            (true, _) if std::mem::take(&mut self.undo) => "ROLLBACK TO SAVEPOINT kwsync",
            (true, _) => "RELEASE SAVEPOINT kwsync; SAVEPOINT kwsync",
            (false, true) => "BEGIN; SET CONSTRAINTS ALL IMMEDIATE; SAVEPOINT kwsync",
            (false, false) => "BEGIN; SAVEPOINT kwsync",
        };
        self.begun = true;
        self.frame.query(&format!("{opening}; {}", encoding.statement))?;
        CopyEncoder::write_header(self.frame.copy_data());
        let coerced = encoding.encoder.coerced();
        let mut fresh = 0;
        for piece in &mut segment.pieces {
            let mut faults = Vec::new();
            let mut from = piece.rows.start;
            while from < piece.rows.end {
                let rows = from..piece.rows.end.min(from + PIECE_ROWS);
                from = rows.end;
                faults.extend(encoding.encoder.encode(&piece.batch, rows, self.frame.copy_data())?);
                if self.frame.len() < MESSAGE_BYTES {
                    continue;
                }
                if connection.has_fault() {
                    // Nobody will read it; what cannot be encoded is found out all the same.
                    self.frame.clear();
                    continue;
                }
                self.frame.end_copy_data();
                self.told.bytes += self.frame.len() as u64;
                connection.pipe(&mut self.frame).await?;
            }
            piece.faults = faults.iter().map(|fault| fault.row).collect();
            if !std::mem::replace(&mut piece.told, true) {
                fresh += piece.rows.len();
                let rejects = faults
                    .into_iter()
                    .map(|fault| piece.batch.reject(fault.row, Stage::Encode, fault.code, fault.reason));
                let before = self.told.rejects.len();
                self.told.rejects.extend(rejects);
                let rejected = (self.told.rejects.len() - before) as u64;
                if rejected > 0 {
                    self.told.add(&segment.table, RowCounts { rejected, ..RowCounts::default() });
                }
            }
        }
        if fresh > 0 {
            // Rows that are sent again would be counted again.
            self.told.coerced += encoding.encoder.coerced() - coerced;
        }
        CopyEncoder::write_trailer(self.frame.copy_data());
        self.frame.end_copy_data();
        self.frame.copy_done();
        self.flight.push_back(Flight { segment, answers: 1 });
        if connection.has_fault() {
            self.frame.clear();
        } else if self.frame.len() >= TOGETHER_BYTES {
            self.ship().await?;
        }
        while self.flight.len() > DEPTH || self.connection.as_ref().is_some_and(Connection::has_fault) {
            self.settle_first().await?;
        }
        Ok(())
    }

    /// Sends what the frame holds.
    async fn ship(&mut self) -> Result<()> {
        let Some(connection) = &mut self.connection else { return Ok(()) };
        if self.frame.is_empty() {
            return Ok(());
        }
        self.told.bytes += self.frame.len() as u64;
        connection.pipe(&mut self.frame).await
    }

    /// Waits for all that was sent; rows that must be sent again are in the backlog then.
    pub(super) async fn settle_all(&mut self) -> Result<()> {
        while !self.flight.is_empty() {
            self.settle_first().await?;
        }
        Ok(())
    }

    /// Learns the fate of the first segment on its way.
    async fn settle_first(&mut self) -> Result<()> {
        if self.connection.as_ref().is_some_and(Connection::has_fault) {
            // What has not been sent would be refused anyway.
            self.frame.clear();
        } else {
            self.ship().await?;
        }
        let (Some(connection), Some(first)) = (&mut self.connection, self.flight.front()) else {
            return Ok(());
        };
        let mut answers = Vec::with_capacity(first.answers);
        for _ in 0..first.answers {
            let mut answer = connection.next_answer().await?;
            if let Some(fault) = answer.fault.take() {
                return self.recover(fault).await;
            }
            answers.push(answer);
        }
        if let Some(flight) = self.flight.pop_front() {
            self.taken(&flight.segment, &answers);
        }
        Ok(())
    }

    /// The server has taken a segment.
    fn taken(&mut self, segment: &Segment, answers: &[Answer]) {
        self.pace.passed(segment.rows());
        let copied =
            answers.iter().flat_map(|answer| &answer.results).find(|result| result.tag.starts_with("COPY"));
        let written = copied.map_or(0, |result| result.affected());
        self.counts.entry(segment.table.clone()).or_default().written += written;
    }

    /// The first segment on its way was refused: undoes it, rejects the row if it is known, and puts the others, with
    /// those behind them, back in line.
    async fn recover(&mut self, fault: ServerError) -> Result<()> {
        let Some(connection) = &mut self.connection else { return Err(fault.into()) };
        self.frame.clear();
        while connection.answers_due() > 0 {
            connection.next_answer().await?;
        }
        let mut flights = std::mem::take(&mut self.flight).into_iter();
        let Some(Flight { segment: culprit, .. }) = flights.next() else { return Err(fault.into()) };
        let relation = self.encodings.get(&culprit.table).map(|encoding| Arc::clone(&encoding.table));
        let relation = relation.as_ref().map_or("", |table| table.name.as_str());
        let line = fault.copy_line(relation);
        if !is_row_fault(&fault, line.is_some()) || culprit.sent() == 0 {
            return Err(Error::from(fault).context(format!("cannot write to {relation}")));
        }
        self.undo = true;
        for flight in flights.rev() {
            self.backlog.push_front(flight.segment);
        }
        let single = (culprit.sent() == 1).then_some(1);
        let culprit = match line.or(single) {
            None => culprit,
            Some(line) => match culprit.cut(line, &fault.code, &fault.message) {
                Ok((before, reject, behind)) => {
                    for part in [behind, before] {
                        if part.rows() > 0 {
                            self.backlog.push_front(part);
                        }
                    }
                    let counts = RowCounts { rejected: 1, ..RowCounts::default() };
                    self.told.add(reject.table.as_ref().unwrap_or(&relation.into()), counts);
                    self.told.rejects.push(reject);
                    self.pace.failed();
                    self.refused += 1;
                    return Ok(());
                }
                // The line is none of ours.
                Err(culprit) => culprit,
            },
        };
        self.halve(culprit);
        Ok(())
    }

    /// Nobody knows which row it was: each half is tried.
    fn halve(&mut self, mut culprit: Segment) {
        culprit.alone = true;
        let behind = culprit.split_off(culprit.rows() / 2);
        self.backlog.push_front(behind);
        self.backlog.push_front(culprit);
    }
}
