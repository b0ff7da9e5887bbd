//! Rows that go to the server together, and are sent again in part when it refuses one of them.

use std::ops::Range;

use kwsync_core::{Change, Reject, Stage, TableBatch, TableId};

/// By what an encoding is found: the rows' table, and what they are.
pub(super) type Place = (TableId, Change);

/// Rows of one table, in order.
#[derive(Debug)]
pub(super) struct Segment {
    /// The rows' table.
    pub(super) table: TableId,
    /// What they are.
    change: Change,
    pub(super) pieces: Vec<Piece>,
    /// Whether it is part of one that was refused for nobody knows which row: it must not grow again.
    pub(super) alone: bool,
}

/// Rows of one batch.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) batch: TableBatch,
    pub(super) rows: Range<usize>,
    /// Rows that could not be encoded; known once it has been encoded.
    pub(super) faults: Vec<usize>,
    /// Whether it has been encoded before, and its faults told.
    pub(super) told: bool,
}

impl Piece {
    fn sent(&self) -> usize {
        self.rows.len() - self.faults.len()
    }

    /// The same for some of its rows.
    fn part(&self, rows: Range<usize>) -> Self {
        let faults = self.faults.iter().copied().filter(|row| rows.contains(row)).collect();
        Self { batch: self.batch.clone(), rows, faults, told: self.told }
    }
}

impl Segment {
    /// All rows of a batch.
    pub(super) fn new(batch: &TableBatch) -> Self {
        let piece = Piece { batch: batch.clone(), rows: 0..batch.rows(), faults: Vec::new(), told: false };
        Self { table: batch.table().clone(), change: batch.change(), pieces: vec![piece], alone: false }
    }

    /// By what its encoding is found.
    pub(super) fn place(&self) -> Place {
        (self.table.clone(), self.change)
    }

    /// Appends all rows of a batch of the same table and columns.
    pub(super) fn push(&mut self, batch: &TableBatch) {
        self.pieces.extend(Self::new(batch).pieces);
    }

    /// Whether a batch may be appended.
    pub(super) fn takes(&self, batch: &TableBatch) -> bool {
        self.change == batch.change()
            && self.table == *batch.table()
            && self.pieces.last().is_some_and(|piece| {
                std::sync::Arc::ptr_eq(piece.batch.schema(), batch.schema())
                    || piece.batch.schema() == batch.schema()
            })
    }

    /// Appends the first rows of another segment of the same table and columns, up to `rows` in all. Returns the rest,
    /// or all of it.
    pub(super) fn fill(&mut self, mut other: Self, rows: usize) -> Option<Self> {
        let fits =
            !self.alone && !other.alone && other.pieces.first().is_some_and(|piece| self.takes(&piece.batch));
        if !fits || self.rows() >= rows {
            return Some(other);
        }
        let rest = other.split_off(rows - self.rows());
        self.pieces.append(&mut other.pieces);
        (rest.rows() > 0).then_some(rest)
    }

    /// Rows, those that cannot be encoded among them.
    pub(super) fn rows(&self) -> usize {
        self.pieces.iter().map(|piece| piece.rows.len()).sum()
    }

    /// Rows that are sent.
    pub(super) fn sent(&self) -> usize {
        self.pieces.iter().map(Piece::sent).sum()
    }

    /// Keeps the first `rows` rows, and returns the others.
    pub(super) fn split_off(&mut self, rows: usize) -> Self {
        let mut rest = Vec::new();
        let mut left = rows;
        let mut kept = Vec::with_capacity(self.pieces.len());
        for piece in self.pieces.drain(..) {
            let (at, end) = (piece.rows.start + left.min(piece.rows.len()), piece.rows.end);
            left -= at - piece.rows.start;
            if at == end {
                kept.push(piece);
            } else {
                if at > piece.rows.start {
                    kept.push(piece.part(piece.rows.start..at));
                }
                rest.push(piece.part(at..end));
            }
        }
        self.pieces = kept;
        Self { table: self.table.clone(), change: self.change, pieces: rest, alone: self.alone }
    }

    /// The rows before the one that was sent as number `line` (from 1), the reject of that one, and the rows behind.
    pub(super) fn cut(mut self, line: u64, code: &str, reason: &str) -> Result<(Self, Reject, Self), Self> {
        let Some(mut left) = line.checked_sub(1) else { return Err(self) };
        let mut before = 0;
        for piece in &self.pieces {
            if left >= piece.sent() as u64 {
                left -= piece.sent() as u64;
                before += piece.rows.len();
                continue;
            }
            let mut sent = piece.rows.clone().filter(|row| piece.faults.binary_search(row).is_err());
            let Some(row) = sent.nth(left as usize) else { return Err(self) };
            before += row - piece.rows.start;
            let reject = piece.batch.reject(row, Stage::Write, code, reason);
            let mut behind = self.split_off(before);
            let behind = behind.split_off(1);
            return Ok((self, reject, behind));
        }
        Err(self)
    }
}
