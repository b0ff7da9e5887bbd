//! Line protocol to Arrow batches.

mod boundary;
mod cast;
mod fast;
#[cfg(test)]
mod messages;
mod options;
mod record;
mod shape;
mod table;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use kwsync_core::{
    DecodeCounts, Decoded, Decoder, Input, Position, Reject, Result, Schema, SchemaRegistry, Segment, Stage,
    TableId,
};

use self::boundary::Boundary;
pub use self::options::{LineOptions, MissingTimestamp};
use self::shape::Shapes;
use self::table::Table;
use super::Reason;
use super::error::runs_on;
use super::lines::{BOM, is_blank};
use super::parse::{Outcome, Record};
use super::{Dialect, typed};
use crate::build::{Chunk, Pool};
use crate::framing::Arena;
use crate::utf8::Checked;

/// The format's name in rejects and reports.
const FORMAT: &str = "line_influxdb";
/// Of a line that is too long, this much goes into its reject.
const MAX_RAW: usize = 64 << 10;
/// Chunks are taken in pieces of at most this, so that offsets fit 32 bits.
const MAX_PIECE: usize = 1 << 30;
/// Bytes of which only a copy may be kept are taken in pieces of at most this.
const MAX_COPY: usize = 256 << 10;

/// Decoder of InfluxDB line protocol: bytes in, one Arrow batch a table out.
///
/// A column for the time, one for each tag and each field. Long strings stay in the chunk that they came in.
/// A table's columns have the type that they were first seen with; a record that has another is the reject
/// `type_conflict`. A record with a fault of grammar costs its first physical line; a well-formed record that
/// its table cannot take is refused as a whole.
///
/// # Examples
///
/// ```
/// use kwsync_core::Decoder;
/// use kwsync_formats::influx::{LineDecoder, LineOptions, Precision};
///
/// let mut decoder = LineDecoder::new(LineOptions::default().with_precision(Precision::S));
/// decoder.decode(&"cpu,host=a usage=42i 17000".into())?;
/// decoder.decode(&"00000\nmem free=1.5 1700000001\noops\n".into())?;
/// decoder.finish()?;
/// let decoded = decoder.flush()?;
/// assert_eq!(decoded.batches.len(), 2);
/// assert_eq!(decoded.batches[0].batch().num_columns(), 3);
/// assert_eq!(decoded.rejects[0].code, "missing_fields");
/// # Ok::<(), kwsync_core::Error>(())
/// ```
pub struct LineDecoder {
    options: LineOptions,
    registry: Arc<SchemaRegistry>,
    targets: HashMap<TableId, Arc<Schema>>,
    tables: Vec<Table>,
    by_name: HashMap<Box<[u8]>, u32>,
    shapes: Shapes,
    record: Record,
    columns: Vec<u32>,
    input: Arc<Input>,
    /// First byte that belongs to no finished record; the column is that of the first byte in hand
    at: Position,
    /// The input may still begin with a byte order mark
    start: bool,
    /// The record in hand, and small pieces of input
    arena: Arena,
    boundary: Boundary,
    /// There may be a whole record in hand
    ready: bool,
    /// A line that is skipped up to its end
    skip: Option<Skip>,
    segments: Vec<Segment>,
    chunks: u64,
    pool: Pool,
    rows: usize,
    record_bytes: usize,
    rejects: Vec<Reject>,
    counts: DecodeCounts,
    now: Option<i64>,
}

/// A comment or an oversized line of which the end has not come yet.
#[derive(Debug)]
struct Skip {
    /// Why it is refused, the offset of the fault, and its first bytes; a comment is not refused
    refused: Option<(Reason, usize, Vec<u8>)>,
    len: u64,
}

/// How far a piece of input has been read, relative to its start.
#[derive(Clone, Copy)]
struct Progress {
    base: Position,
    at: usize,
    line: u32,
    record: u32,
    /// Where the current line begins; before the piece's start if a byte order mark was cut off
    column: u64,
}

impl fmt::Debug for LineDecoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LineDecoder")
            .field("options", &self.options)
            .field("at", &self.at)
            .field("rows", &self.rows)
            .finish_non_exhaustive()
    }
}

impl LineDecoder {
    /// A decoder with schemas of its own.
    #[must_use]
    pub fn new(options: LineOptions) -> Self {
        Self {
            boundary: Boundary::new(options.dialect),
            options,
            registry: Arc::default(),
            targets: HashMap::new(),
            tables: Vec::new(),
            by_name: HashMap::new(),
            shapes: Shapes::default(),
            record: Record::default(),
            columns: Vec::new(),
            input: Arc::new(Input::new("input")),
            at: Position::START,
            start: true,
            arena: Arena::default(),
            ready: false,
            skip: None,
            segments: Vec::new(),
            chunks: 0,
            pool: Pool::default(),
            rows: 0,
            record_bytes: 0,
            rejects: Vec::new(),
            counts: DecodeCounts::default(),
            now: None,
        }
    }

    /// Shares the schemas of a job.
    #[must_use]
    pub fn with_registry(mut self, registry: Arc<SchemaRegistry>) -> Self {
        self.registry = registry;
        self
    }

    /// Gives columns of a table their types: values are cast to them where that is exact, and a record with one that
    /// does not fit is refused. Integers in columns of times count the column's own unit. Columns that the schema
    /// does not have are added as usual.
    #[must_use]
    pub fn with_target(mut self, table: impl Into<TableId>, schema: Arc<Schema>) -> Self {
        self.targets.insert(table.into(), schema);
        self
    }

    fn full(&self) -> bool {
        self.rows + self.rejects.len() >= self.options.batch_rows
            || self.record_bytes >= self.options.batch_bytes
    }

    /// Reads records of `bytes`, which begin at `self.at`. Returns the offset of the first byte not used.
    fn process_bytes(&mut self, bytes: &Bytes) -> usize {
        self.arena.seal(self.at, &mut self.segments);
        self.chunks += 1;
        let chunk = Chunk { bytes, shared: Some(bytes), id: self.chunks };
        let (base, rows) = (self.at, self.rows);
        let used = self.process(chunk, bytes.len(), 0, base, false);
        if self.rows > rows {
            let base = Position { column: 1, ..base };
            self.segments.push(Segment { input: Arc::clone(&self.input), bytes: Some(bytes.clone()), base });
        }
        used
    }

    /// The same for what is in the arena; `last` says that nothing more belongs to its last record.
    fn process_arena(&mut self, last: bool) -> usize {
        let (len, from, rows) = (self.arena.len(), self.arena.done(), self.rows);
        let bytes = self.arena.lend(last);
        let chunk = Chunk { bytes: &bytes, shared: None, id: 0 };
        let used = self.process(chunk, len, from, self.arena.base(), last);
        self.arena.take_back(bytes, used, self.rows > rows);
        used - from
    }

    /// Reads records of the first `len` bytes of `chunk`, which begins at `base`, from `from` on until they end
    /// or a bound is reached. Returns the offset of the first byte not used.
    fn process(&mut self, chunk: Chunk<'_>, len: usize, from: usize, base: Position, last: bool) -> usize {
        let data = chunk.bytes.get(..len).unwrap_or_default();
        let mut checked = Checked::default();
        let mut progress = Progress {
            base,
            at: from,
            line: self.at.line.wrapping_sub(base.line) as u32,
            record: self.at.record.wrapping_sub(base.record) as u32,
            column: self.at.column,
        };
        if self.start && data.get(from..).is_some_and(|data| data.starts_with(BOM)) {
            progress.at += BOM.len();
            progress.column += BOM.len() as u64;
        }
        // Lines that are like others go straight into columns; the dialects with typed values are read in full.
        let plain = self.options.dialect == Dialect::Influx;
        while progress.at < data.len() && !self.full() {
            if plain && self.guess(chunk, len, &mut checked, &mut progress) {
                continue;
            }
            let start = progress.at;
            let window_end = start.saturating_add(self.options.max_line_bytes).min(data.len());
            let window = data.get(..window_end).unwrap_or_default();
            let all = window_end == data.len();
            match typed::parse(self.options.dialect, window, start, last && all, &mut self.record) {
                Outcome::Record => {
                    let end = self.record.end;
                    match checked.check(data, start, end) {
                        Ok(()) => self.take(chunk, &mut progress),
                        Err(fault) => {
                            if !self.refuse(data, Reason::InvalidUtf8, fault, last, &mut progress) {
                                break;
                            }
                        }
                    }
                }
                Outcome::Blank(next) => progress.next_line(next, 1),
                Outcome::Bad(reason, fault) => {
                    if !self.refuse(data, reason, fault, last, &mut progress) {
                        if data.len() - start <= self.options.max_line_bytes {
                            break;
                        }
                        return self.start_skip(data, Some((reason, fault - start)), &progress);
                    }
                }
                Outcome::Incomplete if all => break,
                Outcome::Incomplete => {
                    let comment = is_blank(window, start);
                    let found = memchr::memchr(b'\n', data.get(start..).unwrap_or_default());
                    if comment && let Some(n) = found {
                        progress.next_line(start + n + 1, 1);
                    } else if found.is_some() {
                        self.refuse(data, Reason::LineTooLong, start, last, &mut progress);
                    } else {
                        let reason = (!comment).then_some((Reason::LineTooLong, 0));
                        return self.start_skip(data, reason, &progress);
                    }
                }
            }
        }
        self.advance(&progress);
        progress.at
    }

    /// How much of a line goes into its reject.
    fn raw_limit(&self, reason: Reason) -> usize {
        if reason == Reason::LineTooLong { MAX_RAW } else { self.options.max_line_bytes.max(MAX_RAW) }
    }

    /// The line that `progress` is at is longer than allowed and its end has not come: skips what follows.
    fn start_skip(&mut self, bytes: &[u8], why: Option<(Reason, usize)>, progress: &Progress) -> usize {
        let rest = bytes.get(progress.at..).unwrap_or_default();
        let refused = why.map(|(reason, fault)| {
            let raw = rest.get(..self.raw_limit(reason)).unwrap_or(rest);
            (reason, fault, raw.to_vec())
        });
        self.skip = Some(Skip { refused, len: rest.len() as u64 });
        self.advance(progress);
        bytes.len()
    }

    /// Takes over the progress.
    fn advance(&mut self, progress: &Progress) {
        self.at = Position { column: progress.column, ..progress.position(progress.at) };
        self.start &= self.at.byte == 0;
    }

    /// Refuses the physical line that `progress` is at. False if its end is not there yet.
    fn refuse(
        &mut self,
        data: &[u8],
        reason: Reason,
        fault: usize,
        last: bool,
        progress: &mut Progress,
    ) -> bool {
        let start = progress.at;
        let rest = data.get(start..).unwrap_or_default();
        let (len, next) = match memchr::memchr(b'\n', rest) {
            Some(n) => (n, start + n + 1),
            None if last => (rest.len(), data.len()),
            None => return false,
        };
        let raw = rest.get(..len).unwrap_or_default();
        let raw = raw.strip_suffix(b"\r").unwrap_or(raw);
        let fault = self.record.fault(data, start, reason, fault);
        progress.record += 1;
        let column = progress.column + (fault.at - start) as u64;
        let position = Position { column, ..progress.position(fault.at) };
        let message = match fault.later {
            Some((later, lines)) => {
                let line = self.input.resolve(position).line;
                runs_on(later, (line != 0).then_some(line + lines))
            }
            None => reason.message().to_owned(),
        };
        let raw = raw.get(..self.raw_limit(reason)).unwrap_or(raw);
        self.reject(position, None, fault.reason.code(), message, raw, fault.at - start);
        progress.next_line(next, 1);
        true
    }

    fn reject(
        &mut self,
        position: Position,
        table: Option<TableId>,
        code: &str,
        reason: String,
        raw: &[u8],
        at: usize,
    ) {
        self.counts.records += 1;
        self.record_bytes += raw.len();
        self.rejects.push(Reject {
            position,
            split: self.input.split().to_owned(),
            stage: Stage::Decode,
            format: FORMAT.to_owned(),
            table,
            code: code.to_owned(),
            reason,
            raw: Bytes::copy_from_slice(raw),
            message: self.input.message().cloned(),
            at: u32::try_from(at).ok().filter(|&at| at as usize <= raw.len()),
        });
    }

    /// Skips up to the end of the line. Returns how many bytes of `bytes` that took, and whether it is over.
    fn skip(&mut self, bytes: &[u8]) -> usize {
        let limit = self.skip.as_ref().and_then(|skip| skip.refused.as_ref());
        let limit = limit.map_or(0, |(reason, ..)| self.raw_limit(*reason));
        let Some(skip) = &mut self.skip else { return 0 };
        let end = memchr::memchr(b'\n', bytes);
        let more = bytes.get(..end.unwrap_or(bytes.len())).unwrap_or_default();
        if let Some((_, _, raw)) = &mut skip.refused {
            let room = limit.saturating_sub(raw.len()).min(more.len());
            raw.extend_from_slice(more.get(..room).unwrap_or_default());
        }
        skip.len += more.len() as u64;
        match end {
            Some(n) => {
                self.end_skip(1);
                n + 1
            }
            None => bytes.len(),
        }
    }

    fn end_skip(&mut self, newline: u64) {
        let Some(skip) = self.skip.take() else { return };
        let start = self.at;
        self.start = false;
        self.at.byte += skip.len + newline;
        // The end of a message ends its last line, as elsewhere.
        self.at.line += u64::from(self.at.line != 0);
        self.at.column = 1;
        if let Some((reason, fault, raw)) = skip.refused {
            self.at.record += 1;
            let offset = fault as u64;
            let (byte, column) = (start.byte + offset, start.column + offset);
            let position = Position { byte, column, record: self.at.record, ..start };
            let cut = skip.len > raw.len() as u64;
            let raw = if cut { raw.as_slice() } else { raw.strip_suffix(b"\r").unwrap_or(&raw) };
            self.reject(position, None, reason.code(), reason.message().to_owned(), raw, fault);
        }
    }

    /// Works on the record in hand. `last` says that nothing more belongs to it.
    fn process_carry(&mut self, last: bool) {
        let used = self.process_arena(last);
        self.boundary = Boundary::new(self.options.dialect);
        // What is left is incomplete, unless a bound was reached.
        self.ready = self.boundary.find(self.arena.carry()).is_some() && (used > 0 || self.full());
    }

    fn gather(&mut self, bytes: &[u8]) {
        self.arena.push(bytes, &self.input, self.at, &mut self.segments);
    }

    /// Takes bytes while no record is in hand, and keeps what is left in hand. Returns how many were taken.
    fn start_record(&mut self, bytes: &[u8], shared: Option<&Bytes>) -> usize {
        match shared {
            Some(shared) => {
                let piece = shared.slice(..bytes.len().min(MAX_PIECE));
                let used = self.process_bytes(&piece);
                if used == piece.len() || self.full() {
                    return used;
                }
                // A record that goes on in the next chunk.
                self.gather(piece.get(used..).unwrap_or_default());
            }
            None => {
                let piece = bytes.get(..MAX_COPY).unwrap_or(bytes);
                self.gather(piece);
                let used = self.process_arena(false);
                if self.full() {
                    self.arena.drop_carry();
                    return used;
                }
            }
        }
        self.boundary = Boundary::new(self.options.dialect);
        self.ready = self.boundary.find(self.arena.carry()).is_some();
        bytes.len().min(if shared.is_some() { MAX_PIECE } else { MAX_COPY })
    }

    fn decode_some(&mut self, bytes: &[u8], shared: Option<&Bytes>) -> usize {
        self.now = None;
        let mut used = 0;
        while used < bytes.len() && !self.full() {
            let rest = bytes.get(used..).unwrap_or_default();
            if self.skip.is_some() {
                used += self.skip(rest);
            } else if self.ready {
                self.process_carry(false);
            } else if self.arena.carry().is_empty() {
                let shared = shared.map(|shared| shared.slice(used..));
                used += self.start_record(rest, shared.as_ref());
            } else {
                // One byte more than allowed shows that it is too long; a byte order mark does not count.
                let most = self.options.max_line_bytes + if self.start { BOM.len() } else { 0 };
                let room = (most + 1).saturating_sub(self.arena.carry().len());
                let piece = rest.get(..room).unwrap_or(rest);
                let end = self.boundary.find(piece);
                let n = end.unwrap_or(piece.len());
                self.gather(piece.get(..n).unwrap_or_default());
                self.ready = end.is_some() || self.arena.carry().len() > most;
                used += n;
            }
        }
        if self.ready && !self.full() {
            self.process_carry(false);
        }
        if self.arena.has_rows() {
            // Comments take no part in the bound of bytes, but here they are held with their neighbours.
            self.record_bytes = self.record_bytes.max(self.arena.done());
        }
        used
    }
}

impl Progress {
    /// The place of the byte at `at` on the current line, but for its column.
    fn position(&self, at: usize) -> Position {
        Position {
            byte: self.base.byte + at as u64,
            line: if self.base.line == 0 { 0 } else { self.base.line + u64::from(self.line) },
            column: 1,
            record: self.base.record + u64::from(self.record),
        }
    }

    #[inline(always)]
    fn next_line(&mut self, at: usize, lines: u64) {
        self.at = at;
        self.line += lines as u32;
        self.column = 1;
    }
}

impl Decoder for LineDecoder {
    fn format(&self) -> &'static str {
        FORMAT
    }

    fn begin(&mut self, input: Arc<Input>, at: Position) {
        self.input = input;
        self.at = Position { column: at.column.max(1), ..at };
        self.start = at.byte == 0;
        self.arena.drop_carry();
        self.boundary = Boundary::new(self.options.dialect);
        self.ready = false;
        self.skip = None;
    }

    fn decode(&mut self, chunk: &Bytes) -> Result<usize> {
        Ok(self.decode_some(chunk, Some(chunk)))
    }

    fn decode_message(&mut self, message: &Bytes, window: &Bytes) -> Result<usize> {
        let whole = window.starts_with(message) && message.len() <= MAX_COPY;
        if !whole || self.ready || self.skip.is_some() || !self.arena.carry().is_empty() {
            let taken = self.decode(message)?;
            if taken == message.len() {
                self.end_record()?;
            }
            return Ok(taken);
        }
        self.now = None;
        self.arena.seal(self.at, &mut self.segments);
        // Long strings are copied: a column would have as many buffers as messages.
        let chunk = Chunk { bytes: window, shared: None, id: 0 };
        let (base, rows) = (self.at, self.rows);
        let used = self.process(chunk, message.len(), 0, base, true);
        if self.rows > rows {
            let base = Position { column: 1, ..base };
            self.segments.push(Segment {
                input: Arc::clone(&self.input),
                bytes: Some(message.clone()),
                base,
            });
        }
        if used < message.len() && !self.full() {
            // A comment or a line that is too long, up to the end of the message.
            self.gather(message.get(used..).unwrap_or_default());
            self.end_record()?;
            return Ok(message.len());
        }
        if used == message.len() && self.skip.is_some() {
            self.end_record()?;
        }
        Ok(used)
    }

    fn decode_slice(&mut self, bytes: &[u8]) -> Result<usize> {
        Ok(self.decode_some(bytes, None))
    }

    fn end_record(&mut self) -> Result<()> {
        self.now = None;
        while !self.arena.carry().is_empty() || self.skip.is_some() {
            if self.skip.is_some() {
                self.end_skip(0);
            } else {
                // Bounds are for `decode`; what is in hand is little.
                let (rows, bytes) = (self.options.batch_rows, self.options.batch_bytes);
                (self.options.batch_rows, self.options.batch_bytes) = (usize::MAX, usize::MAX);
                self.process_carry(true);
                (self.options.batch_rows, self.options.batch_bytes) = (rows, bytes);
            }
        }
        self.ready = false;
        Ok(())
    }

    fn flush(&mut self) -> Result<Decoded> {
        self.arena.seal(self.at, &mut self.segments);
        let held: usize =
            self.segments.iter().filter_map(|segment| segment.bytes.as_ref()).map(Bytes::len).sum();
        let used: usize = self.tables.iter().map(|table| table.input_bytes).sum();
        let compact = held > used.saturating_mul(4);
        let segments: Arc<[Segment]> = self.segments.drain(..).collect();
        let mut batches = Vec::new();
        for table in self.tables.iter_mut().filter(|table| table.rows > 0) {
            batches.push(table.finish(&segments, compact)?);
        }
        self.rows = 0;
        self.record_bytes = 0;
        Ok(Decoded {
            batches,
            rejects: std::mem::take(&mut self.rejects),
            counts: std::mem::take(&mut self.counts),
        })
    }

    fn wants_flush(&self) -> bool {
        self.full()
    }

    fn position(&self) -> Position {
        self.at
    }

    fn has_partial_record(&self) -> bool {
        !self.arena.carry().is_empty() || self.skip.is_some()
    }

    fn buffered_rows(&self) -> usize {
        self.rows
    }

    fn buffered_bytes(&self) -> usize {
        let chunks: usize = self.segments.iter().filter_map(|s| s.bytes.as_ref()).map(Bytes::len).sum();
        let columns: usize = self.tables.iter().map(Table::bytes).sum();
        chunks + columns + self.arena.len() + self.rejects.iter().map(|r| r.raw.len()).sum::<usize>()
    }

    fn reset(&mut self) {
        self.tables.iter_mut().for_each(Table::clear);
        self.segments.clear();
        self.rejects.clear();
        self.counts = DecodeCounts::default();
        self.rows = 0;
        self.record_bytes = 0;
        self.arena.clear();
        self.boundary = Boundary::new(self.options.dialect);
        self.ready = false;
        self.skip = None;
    }
}
