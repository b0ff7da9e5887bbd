//! Segments on their way: sending without waiting, and what follows when the server refuses a row.

use std::time::{Duration, Instant};

use kwsync_core::system::postgres::wire::{Answer, Connection, ServerError};
use kwsync_core::{Error, ErrorKind, Result, RowCounts, SqlStateClass, TableBatch};

use super::super::way::{Form, Way};
use super::send::{Outlet, Taught};
use super::{PostgresWriter, Segment};

/// Bytes from which several small segments are sent together.
const TOGETHER_BYTES: usize = 64 << 10;
/// Segments that may wait for their answers, and bytes that those before the last may keep alive. When one is refused, those
/// behind it are sent again.
const DEPTH: usize = 2;
const DEPTH_BYTES: usize = 16 << 20;
/// Rows, bytes and time from which a COPY ends. A server takes 8,192 rows a COPY 5 to 10 % slower than these (it begins each
/// with buffers that its caches do not hold), and more than these hardly faster; what was sent is kept until it is answered.
const COPY_ROWS: usize = 32_768;
const COPY_BYTES: u64 = 8 << 20;
const COPY_TIME: Duration = Duration::from_secs(1);
/// Bytes from which it ends that the batches in it keep alive: many small ones may be parts of large buffers.
const COPY_RETAINED: usize = 64 << 20;

/// A segment that was sent, and the answers that will tell its fate.
#[derive(Debug)]
pub(super) struct Flight {
    segment: Segment,
    answers: usize,
    /// Bytes that its batches keep alive.
    retained: usize,
    /// Its COPY, while it is open for more rows.
    open: Option<OpenCopy>,
}

#[derive(Debug)]
struct OpenCopy {
    since: Instant,
    bytes: u64,
}

/// A fault that costs a row, not the job.
fn is_row_fault(fault: &ServerError, located: bool) -> bool {
    // 54000 with a line: a value that is too long for an index.
    fault.class() == SqlStateClass::Row || (fault.code == "54000" && located)
}

impl PostgresWriter {
    /// Sends a segment, and reads answers of those before it. Unless it is full, its COPY stays open for
    /// [`more`](Self::more).
    pub(super) async fn send(&mut self, mut segment: Segment) -> Result<()> {
        self.end_copy();
        self.session().await?;
        let (Some(encoding), Some(connection)) =
            (self.encodings.get_mut(&segment.place()), &mut self.connection)
        else {
            return Err(Error::new(ErrorKind::Internal, format!("no encoder for table {}", segment.table)));
        };
        // What the source checks at the end of a transaction is so checked here.
        let deferred = !self.profile.deferrable || self.shared.expects_changes();
        let immediate = self.shared.options.immediate_constraints && !deferred;
        let opening = match (self.begun, immediate) {
            (true, _) if std::mem::take(&mut self.undo) => "ROLLBACK TO SAVEPOINT kwsync",
            (true, _) => "RELEASE SAVEPOINT kwsync; SAVEPOINT kwsync",
            (false, true) => "BEGIN; SET CONSTRAINTS ALL IMMEDIATE; SAVEPOINT kwsync",
            (false, false) => "BEGIN; SAVEPOINT kwsync",
        };
        self.begun = true;
        let mut outlet = Outlet {
            connection: &mut *connection,
            frame: &mut self.frame,
            taught: &mut self.taught,
            told: &mut self.told,
            opening: opening.to_owned(),
            together: self.profile.copy_beside_others,
        };
        let before = outlet.bytes();
        let answers = outlet.put(encoding, &mut segment).await?;
        let bytes = outlet.bytes() - before;
        let open = matches!(encoding.way_of(&segment), Way::Copy { .. })
            .then(|| OpenCopy { since: Instant::now(), bytes });
        let retained = segment.pieces.iter().map(|piece| piece.batch.retained_bytes()).sum();
        self.flight.push_back(Flight { segment, answers, retained, open });
        self.sent().await
    }

    /// Sends a batch in the COPY that is open. False where there is none that takes it.
    pub(super) async fn more(&mut self, batch: &TableBatch) -> Result<bool> {
        let (Some(Flight { segment, retained, open: Some(open), .. }), Some(connection)) =
            (self.flight.back_mut(), &mut self.connection)
        else {
            return Ok(false);
        };
        let fits = segment.rows() + batch.rows() <= self.pace.rows();
        if !fits || !segment.takes(batch) || connection.has_fault() {
            return Ok(false);
        }
        let Some(encoding) = self.encodings.get_mut(&segment.place()) else { return Ok(false) };
        let mut outlet = Outlet {
            connection,
            frame: &mut self.frame,
            taught: &mut self.taught,
            told: &mut self.told,
            opening: String::new(),
            together: self.profile.copy_beside_others,
        };
        let before = outlet.bytes();
        segment.push(batch);
        outlet
            .stream(encoding, segment.pieces.last_mut().map(std::slice::from_mut).unwrap_or_default())
            .await?;
        open.bytes += outlet.bytes() - before;
        *retained += batch.retained_bytes();
        self.sent().await?;
        Ok(true)
    }

    /// Ends the COPY that is open, if there is one.
    fn end_copy(&mut self) {
        if let Some(flight) = self.flight.back_mut()
            && flight.open.take().is_some()
            && let Some(encoding) = self.encodings.get(&flight.segment.place())
        {
            encoding.end_copy(&mut self.frame);
        }
    }

    /// Ends the COPY that is open if it has had enough, sends what has gathered, and reads what has been answered.
    async fn sent(&mut self) -> Result<()> {
        let timed = self.profile.timed;
        let full = self.flight.back().is_some_and(|Flight { segment, retained, open, .. }| {
            segment.alone
                || segment.rows() >= COPY_ROWS.min(self.pace.rows())
                || open.as_ref().is_some_and(|open| {
                    // A statement that waits for rows runs, by the server's clock.
                    timed
                        || open.bytes >= COPY_BYTES
                        || *retained >= COPY_RETAINED
                        || open.since.elapsed() >= COPY_TIME
                })
        });
        if full {
            self.end_copy();
        }
        if self.connection.as_ref().is_some_and(Connection::has_fault) {
            self.frame.clear();
        } else if self.frame.len() >= TOGETHER_BYTES || timed {
            self.ship().await?;
        }
        while self.flight.len() > DEPTH
            || self.kept() > DEPTH_BYTES
            || self.connection.as_ref().is_some_and(Connection::has_fault)
            || self.is_first_answered()
        {
            self.settle_first().await?;
        }
        Ok(())
    }

    /// Bytes that the segments before the last keep alive.
    fn kept(&self) -> usize {
        self.flight.iter().rev().skip(1).map(|flight| flight.retained).sum()
    }

    /// Whether all answers of the first segment on its way are here: then its rows need not be kept any longer.
    fn is_first_answered(&self) -> bool {
        let ready = self.connection.as_ref().map_or(0, Connection::answers_ready);
        self.flight.front().is_some_and(|first| first.open.is_none() && first.answers <= ready)
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
        self.end_copy();
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
        } else if !self.is_first_answered() {
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

    /// The server has taken a segment: how many of its rows are new, how many replaced others; the others it has
    /// dropped, for they were there already or a trigger would not have them.
    fn taken(&mut self, segment: &Segment, answers: &[Answer]) {
        self.pace.passed(segment.rows());
        let Some(encoding) = self.encodings.get(&segment.place()) else { return };
        let results = answers.iter().flat_map(|answer| &answer.results);
        let mut counts = RowCounts::default();
        let mut updates = Vec::new();
        for result in results {
            let word = result.tag.split(' ').next().unwrap_or_default();
            let number = |column| result.rows.get(0, column).and_then(|text| text.parse().ok()).unwrap_or(0);
            match (word, encoding.way_of(segment)) {
                ("COPY", Way::Copy { .. }) | ("INSERT", _) => counts.written += result.affected(),
                ("DELETE", _) => counts.deleted += result.affected(),
                ("UPDATE", _) => counts.updated += result.affected(),
                // How many rows the transaction had updated before, and after.
                ("SELECT", _) if encoding.count.is_some() => updates.push(number(0)),
                ("SELECT", _) if result.rows.len() == 1 => {
                    counts.written += number(0);
                    counts.updated += number(1);
                }
                _ => {}
            }
        }
        if let [before, .., after] = updates[..] {
            counts.updated = after.saturating_sub(before);
            counts.written = counts.written.saturating_sub(counts.updated);
        }
        counts.ignored =
            (segment.sent() as u64).saturating_sub(counts.written + counts.updated + counts.deleted);
        *self.counts.entry(segment.table.clone()).or_default() += counts;
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
        // What was prepared behind the fault was not.
        self.taught = Taught::default();
        let encoding = self.encodings.get(&culprit.place());
        let relation = encoding.map_or(String::new(), |encoding| encoding.table.name.clone());
        let line = match encoding.map(|encoding| encoding.way_of(&culprit)) {
            // CSV counts lines, of which a value may have several.
            Some(Way::Copy { form, .. }) if *form != Form::Csv => fault.copy_line(&relation),
            Some(Way::Merge { relation, .. }) => fault.copy_line(relation),
            _ => None,
        };
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
                    let table = reject.table.clone().unwrap_or_else(|| relation.as_str().into());
                    self.told.add(&table, counts);
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
