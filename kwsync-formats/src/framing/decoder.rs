//! The decoder of any format of records.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use kwsync_core::{DecodeCounts, Decoded, Decoder, Input, Metadata, Position, Result, Segment};

use super::output::{Output, Place};
use super::{Arena, Boundary, Extent, Fault, Limits, Piece, Read, RecordFormat};
use crate::build::{Chunk, Tables};
use crate::utf8::Checked;

/// A byte order mark, which is dropped where it begins an input.
pub(crate) const BOM: &[u8] = b"\xef\xbb\xbf";
/// Of a record that is too long, this much goes into its reject.
const MAX_RAW: usize = 64 << 10;
/// Chunks are taken in pieces of at most this, so that offsets fit 32 bits.
const MAX_PIECE: usize = 1 << 30;
/// Bytes of which only a copy may be kept are taken in pieces of at most this.
const MAX_COPY: usize = 256 << 10;

/// A format made into a decoder. Its public types take it in their own; see `record_decoder!`.
pub(crate) struct RecordDecoder<F: RecordFormat> {
    pub(crate) format: F,
    pub(crate) output: Output,
    /// First byte that belongs to no finished record
    at: Position,
    /// The input may still begin with a byte order mark.
    start: bool,
    /// The record in hand, and small pieces of input
    arena: Arena,
    boundary: F::Boundary,
    /// There may be a whole record in hand.
    ready: bool,
    skip: Option<Skip<F::Boundary>>,
    segments: Vec<Segment>,
    chunks: u64,
}

/// A record that is refused and whose end has not come yet.
struct Skip<B> {
    fault: Fault,
    /// The place of the fault
    position: Position,
    /// Where it ends: at a line feed, or where the boundary says
    boundary: Option<B>,
    raw: Vec<u8>,
    most: usize,
    len: u64,
    lines: u64,
    /// Column after what was skipped
    column: u64,
}

impl<F: RecordFormat> fmt::Debug for RecordDecoder<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordDecoder")
            .field("format", &self.format.name())
            .field("at", &self.at)
            .field("rows", &self.output.rows)
            .finish_non_exhaustive()
    }
}

impl<F: RecordFormat> RecordDecoder<F> {
    pub(crate) fn new(mut format: F, limits: Limits, tables: Tables) -> Self {
        format.restart(Position::START);
        let tables = tables.with_limits(limits.max_columns, limits.max_tables);
        Self {
            output: Output::new(format.name(), limits, tables),
            at: Position::START,
            start: true,
            arena: Arena::default(),
            boundary: format.boundary(),
            format,
            ready: false,
            skip: None,
            segments: Vec::new(),
            chunks: 0,
        }
    }

    /// Reads records of `bytes`, which begin at `self.at`. Returns the offset of the first byte not used.
    fn process_bytes(&mut self, bytes: &Bytes) -> usize {
        self.arena.seal(self.at, &mut self.segments);
        self.chunks += 1;
        let chunk = Chunk { bytes, shared: Some(bytes), id: self.chunks };
        let (base, rows) = (self.at, self.output.rows);
        let used = self.process(chunk, bytes.len(), 0, base, false);
        if self.output.rows > rows {
            let base = Position { column: 1, ..base };
            let input = Arc::clone(&self.output.input);
            self.segments.push(Segment { input, bytes: Some(bytes.clone()), base });
        }
        used
    }

    /// The same for what is in the arena; `last` says that nothing more belongs to its last record.
    fn process_arena(&mut self, last: bool) -> usize {
        let (len, from, rows) = (self.arena.len(), self.arena.done(), self.output.rows);
        let bytes = self.arena.lend(last);
        let chunk = Chunk { bytes: &bytes, shared: None, id: 0 };
        let used = self.process(chunk, len, from, self.arena.base(), last);
        self.arena.take_back(bytes, used, self.output.rows > rows);
        used - from
    }

    /// Reads records of the first `len` bytes of `chunk`, which begins at `base`, from `from` on until they end
    /// or a bound is reached. Returns the offset of the first byte not used.
    fn process(&mut self, chunk: Chunk<'_>, len: usize, from: usize, base: Position, last: bool) -> usize {
        let data = chunk.bytes.get(..len).unwrap_or_default();
        self.output.checked = Checked::default();
        self.output.segment = self.segments.len() as u32;
        self.output.place = Place {
            base,
            at: from,
            line: self.at.line.wrapping_sub(base.line) as u32,
            record: self.at.record.wrapping_sub(base.record) as u32,
            column: self.at.column,
        };
        if self.start {
            let first = data.get(from..).unwrap_or_default();
            if first.starts_with(BOM) {
                self.output.place.at += BOM.len();
                self.output.place.column += BOM.len() as u64;
            } else if !first.is_empty() && !last && BOM.starts_with(first) {
                // It may become one.
                return from;
            }
        }
        let most = self.output.limits.max_record_bytes;
        while self.output.place.at < len && !self.output.full() {
            let start = self.output.place.at;
            let window = start.saturating_add(most).min(len);
            let all = window == len;
            let piece =
                Piece { chunk, data: data.get(..window).unwrap_or_default(), at: start, last: last && all };
            match self.format.read(piece, &mut self.output) {
                Read::Taken(extent) => self.output.place = self.output.place.moved(extent),
                Read::Refused(extent, len, fault) => {
                    self.refuse(data, len, fault);
                    self.output.place = self.output.place.moved(extent);
                }
                Read::Bad(fault) => {
                    let rest = data.get(start..).unwrap_or_default();
                    let Some(len) = memchr::memchr(self.format.line_end(), rest)
                        .map(|n| n + 1)
                        .or(last.then_some(rest.len()))
                    else {
                        return self.start_skip(data, fault, None, most.max(MAX_RAW));
                    };
                    self.refuse(data, len.min(most.max(MAX_RAW)), fault);
                    let next = start + len;
                    self.output.place = self.output.place.moved(Extent::of(data, start, next));
                }
                Read::Incomplete if all && !last => break,
                Read::Incomplete => {
                    let rest = data.get(start..).unwrap_or_default();
                    let mut boundary = self.format.boundary();
                    let end = boundary.find(rest).or((all || last).then_some(rest.len()));
                    let fault = if all {
                        Fault::new("incomplete_record", "the record is not complete", data.len())
                    } else {
                        let reason = format!("the record is longer than {most} bytes (max_record_bytes)");
                        Fault::new("record_too_long", reason, start)
                    };
                    let Some(end) = end else {
                        return self.start_skip(data, fault, Some(boundary), MAX_RAW);
                    };
                    self.refuse(data, end.min(MAX_RAW), fault);
                    self.output.place = self.output.place.moved(Extent::of(data, start, start + end));
                }
            }
        }
        self.advance();
        self.output.place.at
    }

    /// Refuses the record that begins at the current place, `len` bytes of which its reject shows.
    fn refuse(&mut self, data: &[u8], len: usize, fault: Fault) {
        let start = self.output.place.at;
        let raw = data.get(start..start + len).unwrap_or_default();
        let len = without_line_end(raw, self.format.line_end()).len();
        self.output.refuse(data, start, len, fault, None);
    }

    /// The record at the current place is refused, and its end has not come: skips what follows.
    fn start_skip(&mut self, data: &[u8], fault: Fault, boundary: Option<F::Boundary>, most: usize) -> usize {
        let place = self.output.place;
        let rest = data.get(place.at..).unwrap_or_default();
        let position = place.position_of(data, fault.at);
        let extent = Extent::of(data, place.at, data.len());
        let raw = rest.get(..most).unwrap_or(rest).to_vec();
        let fault = Fault { at: fault.at - place.at, ..fault };
        let column = place.moved(extent).column;
        let (len, lines) = (rest.len() as u64, extent.lines.into());
        self.advance();
        self.skip = Some(Skip { fault, position, boundary, raw, most, len, lines, column });
        data.len()
    }

    /// Takes over the progress.
    fn advance(&mut self) {
        self.at = self.output.place.position();
        self.start &= self.at.byte == 0;
    }

    /// Skips up to the end of the record. Returns how many bytes of `bytes` that took.
    fn skip(&mut self, bytes: &[u8]) -> usize {
        let Some(skip) = &mut self.skip else { return 0 };
        let end = match &mut skip.boundary {
            Some(boundary) => boundary.find(bytes),
            None => memchr::memchr(self.format.line_end(), bytes).map(|n| n + 1),
        };
        let more = bytes.get(..end.unwrap_or(bytes.len())).unwrap_or_default();
        let room = skip.most.saturating_sub(skip.raw.len()).min(more.len());
        skip.raw.extend_from_slice(more.get(..room).unwrap_or_default());
        skip.len += more.len() as u64;
        match memchr::memrchr(b'\n', more) {
            Some(last) => {
                skip.lines += memchr::memchr_iter(b'\n', more).count() as u64;
                skip.column = (more.len() - last) as u64;
            }
            None => skip.column += more.len() as u64,
        }
        if end.is_some() {
            self.end_skip();
        }
        more.len()
    }

    fn end_skip(&mut self) {
        let Some(skip) = self.skip.take() else { return };
        self.start = false;
        self.at.byte += skip.len;
        self.at.line += if self.at.line == 0 { 0 } else { skip.lines };
        self.at.column = skip.column;
        self.at.record += 1;
        let position = Position { record: self.at.record, ..skip.position };
        let raw = without_line_end(&skip.raw, self.format.line_end());
        let Fault { code, reason, at, table } = skip.fault;
        self.output.reject(position, table, code, reason, raw, Some(at));
    }

    /// Works on the record in hand. `last` says that nothing more belongs to it.
    fn process_carry(&mut self, last: bool) {
        let used = self.process_arena(last);
        if self.skip.is_some() {
            self.ready = false;
            return;
        }
        self.boundary = self.format.boundary();
        // What is left is incomplete, unless a bound was reached.
        self.ready = self.boundary.find(self.arena.carry()).is_some() && (used > 0 || self.output.full());
    }

    fn gather(&mut self, bytes: &[u8]) {
        self.arena.push(bytes, &self.output.input, self.at, &mut self.segments);
    }

    /// Takes bytes while no record is in hand, and keeps what is left in hand. Returns how many were taken.
    fn start_record(&mut self, bytes: &[u8], shared: Option<&Bytes>) -> usize {
        match shared {
            Some(shared) => {
                let piece = shared.slice(..bytes.len().min(MAX_PIECE));
                let used = self.process_bytes(&piece);
                if used == piece.len() || self.output.full() {
                    return used;
                }
                // A record that goes on in the next chunk.
                self.gather(piece.get(used..).unwrap_or_default());
            }
            None => {
                let piece = bytes.get(..MAX_COPY).unwrap_or(bytes);
                self.gather(piece);
                let used = self.process_arena(false);
                if self.skip.is_some() {
                    return piece.len();
                }
                if self.output.full() {
                    self.arena.drop_carry();
                    return used;
                }
            }
        }
        self.boundary = self.format.boundary();
        self.ready = self.boundary.find(self.arena.carry()).is_some();
        bytes.len().min(if shared.is_some() { MAX_PIECE } else { MAX_COPY })
    }

    fn decode_some(&mut self, bytes: &[u8], shared: Option<&Bytes>) -> usize {
        self.output.now = None;
        let mut used = 0;
        while used < bytes.len() && !self.output.full() {
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
                let most = self.output.limits.max_record_bytes + if self.start { BOM.len() } else { 0 };
                let room = (most + 1).saturating_sub(self.arena.carry().len());
                let piece = rest.get(..room).unwrap_or(rest);
                let end = self.boundary.find(piece);
                let n = end.unwrap_or(piece.len());
                self.gather(piece.get(..n).unwrap_or_default());
                self.ready = end.is_some() || self.arena.carry().len() > most;
                used += n;
            }
        }
        if self.ready && !self.output.full() {
            self.process_carry(false);
        }
        if self.arena.has_rows() {
            // What stands between records takes no part in the bound of bytes, but here it is held with them.
            self.output.record_bytes = self.output.record_bytes.max(self.arena.done());
        }
        used
    }
}

impl<F: RecordFormat> Decoder for RecordDecoder<F> {
    fn format(&self) -> &'static str {
        self.format.name()
    }

    fn begin(&mut self, input: Arc<Input>, at: Position) {
        self.output.input = input;
        self.at = Position { column: at.column.max(1), ..at };
        self.start = at.byte == 0;
        self.format.restart(at);
        self.arena.drop_carry();
        self.boundary = self.format.boundary();
        self.ready = false;
        self.skip = None;
    }

    fn message(&mut self, metadata: &Metadata) {
        self.format.message(metadata);
    }

    fn decode(&mut self, chunk: &Bytes) -> Result<usize> {
        Ok(self.decode_some(chunk, Some(chunk)))
    }

    fn decode_slice(&mut self, bytes: &[u8]) -> Result<usize> {
        Ok(self.decode_some(bytes, None))
    }

    fn end_record(&mut self) -> Result<()> {
        self.output.now = None;
        while !self.arena.carry().is_empty() || self.skip.is_some() {
            if self.skip.is_some() {
                self.end_skip();
            } else {
                // Bounds are for `decode`; what is in hand is little.
                let limits = &mut self.output.limits;
                let (rows, bytes) = (limits.batch_rows, limits.batch_bytes);
                (limits.batch_rows, limits.batch_bytes) = (usize::MAX, usize::MAX);
                self.process_carry(true);
                let limits = &mut self.output.limits;
                (limits.batch_rows, limits.batch_bytes) = (rows, bytes);
            }
        }
        self.ready = false;
        if let Some(fault) = self.format.end() {
            self.at.record += 1;
            let Fault { code, reason, table, .. } = fault;
            self.output.reject(self.at, table, code, reason, &[], None);
        }
        self.format.restart(self.at);
        Ok(())
    }

    fn flush(&mut self) -> Result<Decoded> {
        self.arena.seal(self.at, &mut self.segments);
        let held: usize =
            self.segments.iter().filter_map(|segment| segment.bytes.as_ref()).map(Bytes::len).sum();
        let segments: Arc<[Segment]> = self.segments.drain(..).collect();
        let batches = self.output.tables.flush(&segments, held)?;
        self.output.rows = 0;
        self.output.record_bytes = 0;
        Ok(Decoded {
            batches,
            rejects: std::mem::take(&mut self.output.rejects),
            counts: std::mem::take(&mut self.output.counts),
        })
    }

    fn wants_flush(&self) -> bool {
        self.output.full()
    }

    fn position(&self) -> Position {
        self.at
    }

    fn has_partial_record(&self) -> bool {
        !self.arena.carry().is_empty() || self.skip.is_some()
    }

    fn buffered_rows(&self) -> usize {
        self.output.rows
    }

    fn buffered_bytes(&self) -> usize {
        let chunks: usize = self.segments.iter().filter_map(|s| s.bytes.as_ref()).map(Bytes::len).sum();
        let rejects: usize = self.output.rejects.iter().map(|reject| reject.raw.len()).sum();
        let skipped = self.skip.as_ref().map_or(0, |skip| skip.raw.len());
        chunks + self.output.tables.bytes() + self.arena.len() + rejects + skipped
    }

    fn reset(&mut self) {
        self.output.tables.clear();
        self.segments.clear();
        self.output.rejects.clear();
        self.output.counts = DecodeCounts::default();
        self.output.rows = 0;
        self.output.record_bytes = 0;
        self.arena.clear();
        self.boundary = self.format.boundary();
        self.format.reset();
        self.ready = false;
        self.skip = None;
    }
}

/// What a reject shows of a record: its bytes up to the end of its line.
fn without_line_end(raw: &[u8], line_end: u8) -> &[u8] {
    match raw.split_last() {
        Some((&end, rest)) if end == line_end && end == b'\n' => rest.strip_suffix(b"\r").unwrap_or(rest),
        Some((&end, rest)) if end == line_end => rest,
        _ => raw,
    }
}
