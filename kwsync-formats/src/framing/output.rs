//! Where formats put their rows.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use kwsync_core::{DecodeCounts, Input, Position, RecordRef, Reject, Stage, TableId};

use super::{Extent, Fault, Limits};
use crate::build::Tables;
use crate::utf8::Checked;

/// How far a piece of input has been read, relative to its start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(super) base: Position,
    pub(super) at: usize,
    pub(super) line: u32,
    pub(super) record: u32,
    /// Column of the byte at `at`, from 1
    pub(super) column: u64,
}

impl Place {
    /// Column of the byte that is read next, from 1.
    pub(crate) fn column(&self) -> u64 {
        self.column
    }

    /// The byte that is read next, in the input.
    pub(crate) fn byte(&self) -> u64 {
        self.base.byte + self.at as u64
    }

    /// The place of `at`.
    pub(super) fn position(&self) -> Position {
        Position {
            byte: self.base.byte + self.at as u64,
            line: if self.base.line == 0 { 0 } else { self.base.line + u64::from(self.line) },
            column: self.column,
            record: self.base.record + u64::from(self.record),
        }
    }

    /// The place of the byte `fault`, at or after `at`, of `data`.
    pub(super) fn position_of(&self, data: &[u8], fault: usize) -> Position {
        Self { line: self.line, ..*self }.moved(Extent::of(data, self.at, fault)).position()
    }

    #[inline(always)]
    pub(super) fn moved(mut self, extent: Extent) -> Self {
        self.column = if extent.lines == 0 {
            self.column + (extent.end - self.at) as u64
        } else {
            (extent.end - extent.line_start) as u64 + 1
        };
        self.line += extent.lines;
        self.at = extent.end;
        self
    }
}

/// The rows, rejects and counts since the last flush.
pub(crate) struct Output {
    pub(crate) limits: Limits,
    pub(crate) tables: Tables,
    pub(crate) counts: DecodeCounts,
    pub(super) format: &'static str,
    pub(super) input: Arc<Input>,
    pub(super) rejects: Vec<Reject>,
    pub(super) rows: usize,
    /// Bytes of the records
    pub(super) record_bytes: usize,
    /// The segment that rows point into
    pub(super) segment: u32,
    pub(super) place: Place,
    pub(super) checked: Checked,
    pub(super) now: Option<i64>,
}

impl Output {
    pub(super) fn new(format: &'static str, limits: Limits, tables: Tables) -> Self {
        let base = Position::START;
        Self {
            limits,
            tables,
            counts: DecodeCounts::default(),
            format,
            input: Arc::new(Input::new("input")),
            rejects: Vec::new(),
            rows: 0,
            record_bytes: 0,
            segment: 0,
            place: Place { base, at: 0, line: 0, record: 0, column: 1 },
            checked: Checked::default(),
            now: None,
        }
    }

    /// The input that is read.
    pub(crate) fn input(&self) -> &Arc<Input> {
        &self.input
    }

    /// Where the record in hand begins.
    pub(crate) fn place(&self) -> Place {
        self.place
    }

    /// The time of receipt: nanoseconds since the Unix epoch, one for all records of a call.
    pub(crate) fn now(&mut self) -> i64 {
        let clock = &self.limits.clock;
        *self.now.get_or_insert_with(|| clock())
    }

    /// Is `data[start..end]` UTF-8? Records are asked about in order.
    ///
    /// # Errors
    /// The offset of the first byte that is not.
    #[inline(always)]
    pub(crate) fn check(&mut self, data: &[u8], start: usize, end: usize) -> Result<(), usize> {
        self.checked.check(data, start, end)
    }

    /// Whether a bound is reached. A record that holds many rows goes on to its end nevertheless.
    pub(super) fn full(&self) -> bool {
        self.rows + self.rejects.len() >= self.limits.batch_rows
            || self.record_bytes >= self.limits.batch_bytes
    }

    /// Ends a row of the table, whose values have been pushed: it makes up the record `data[start..start + len]`,
    /// `lines` line feeds after the place of the record in hand.
    #[inline(always)]
    pub(crate) fn commit(&mut self, table: u32, start: usize, len: usize, lines: u32) {
        self.place.record += 1;
        self.counts.records += 1;
        self.commit_more(table, start, len, lines);
    }

    /// As [`commit`](Self::commit), for a further row of the same record.
    #[inline(always)]
    pub(crate) fn commit_more(&mut self, table: u32, start: usize, len: usize, lines: u32) {
        self.rows += 1;
        self.record_bytes += len;
        let origin = RecordRef {
            segment: self.segment,
            start: start as u32,
            len: len as u32,
            line: self.place.line + lines,
            record: self.place.record,
        };
        if let Some(table) = self.tables.get_mut(table) {
            table.commit(origin);
        }
    }

    /// Takes back the rows of the record in hand, each the last of its table, and the record: it will be refused.
    #[cold]
    pub(crate) fn retract(&mut self, tables: &[u32], len: usize) {
        for table in tables.iter().rev() {
            self.rows -= 1;
            self.record_bytes = self.record_bytes.saturating_sub(len);
            if let Some(table) = self.tables.get_mut(*table) {
                table.retract(len);
            }
        }
        if !tables.is_empty() {
            self.place.record -= 1;
            self.counts.records -= 1;
        }
    }

    /// Refuses a part of the record in hand, `data[start..start + len]`, as a record of its own; `raw` where it
    /// takes more to read it again.
    pub(crate) fn refuse(
        &mut self,
        data: &[u8],
        start: usize,
        len: usize,
        fault: Fault,
        raw: Option<Vec<u8>>,
    ) {
        self.place.record += 1;
        let position = self.place.position_of(data, fault.at);
        let at = fault.at.checked_sub(start).filter(|at| *at <= len);
        match raw {
            Some(raw) => {
                let at = at.filter(|_| raw.len() == len);
                self.reject(position, fault.table, fault.code, fault.reason, &raw, at);
            }
            None => {
                let raw = data.get(start..start + len).unwrap_or_default();
                self.reject(position, fault.table, fault.code, fault.reason, raw, at);
            }
        }
    }

    pub(super) fn reject(
        &mut self,
        position: Position,
        table: Option<TableId>,
        code: &str,
        reason: Cow<'static, str>,
        raw: &[u8],
        at: Option<usize>,
    ) {
        self.counts.records += 1;
        self.record_bytes += raw.len();
        self.rejects.push(Reject {
            position,
            split: self.input.split().to_owned(),
            stage: Stage::Decode,
            format: self.format.to_owned(),
            table,
            code: code.to_owned(),
            reason: reason.into_owned(),
            raw: Bytes::copy_from_slice(raw),
            message: self.input.message().cloned(),
            at: at.filter(|at| *at <= raw.len()).and_then(|at| u32::try_from(at).ok()),
        });
    }
}
