//! Where bytes are gathered that arrive in small pieces: copied once, one after another, so that neither a
//! message nor a record that is cut in two needs memory of its own.

use std::sync::Arc;

use bytes::Bytes;
use kwsync_core::{Input, Position, Segment};

/// So many bytes can be read after the text, for those who look ahead.
const PADDING: usize = 64;

/// Bytes of one input without a gap: finished records first, then the record in hand.
#[derive(Debug, Default)]
pub(crate) struct Arena {
    bytes: Vec<u8>,
    /// Where the record in hand begins
    done: usize,
    /// The place of the first byte
    base: Position,
    input: Option<Arc<Input>>,
    /// Whether rows point into it
    rows: bool,
    /// Room that the last one needed
    usual: usize,
}

impl Arena {
    /// The record in hand.
    pub(crate) fn carry(&self) -> &[u8] {
        self.bytes.get(self.done..).unwrap_or_default()
    }

    pub(crate) fn has_rows(&self) -> bool {
        self.rows
    }

    /// Bytes of finished records.
    pub(crate) fn done(&self) -> usize {
        self.done
    }

    pub(crate) fn base(&self) -> Position {
        self.base
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Appends bytes; the record in hand, or else they, begin at `at`. What rows point into and does not go on
    /// there becomes a segment.
    pub(crate) fn push(
        &mut self,
        bytes: &[u8],
        input: &Arc<Input>,
        at: Position,
        segments: &mut Vec<Segment>,
    ) {
        let goes_on = self.rows
            && self.base.byte + self.done as u64 == at.byte
            && (self.base.line == 0) == (at.line == 0)
            && self.input.as_ref().is_some_and(|own| Arc::ptr_eq(own, input));
        if !goes_on {
            self.seal(at, segments);
            if !self.input.as_ref().is_some_and(|own| Arc::ptr_eq(own, input)) {
                self.input = Some(Arc::clone(input));
            }
        }
        if self.bytes.capacity() == 0 {
            self.bytes.reserve(self.usual.max(bytes.len() + PADDING));
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Makes what rows point into a segment; the record in hand, which begins at `at`, stays.
    pub(crate) fn seal(&mut self, at: Position, segments: &mut Vec<Segment>) {
        let done = std::mem::take(&mut self.done);
        let base = std::mem::replace(&mut self.base, at);
        if !std::mem::take(&mut self.rows) {
            self.bytes.drain(..done);
            return;
        }
        let carry = self.bytes.split_off(done);
        let mut bytes = std::mem::replace(&mut self.bytes, carry);
        // No more than it takes for as much again.
        self.usual = done + done / 8 + PADDING;
        if bytes.capacity() > 2 * bytes.len() {
            bytes.shrink_to_fit();
        }
        if let Some(input) = &self.input {
            let base = Position { column: 1, ..base };
            segments.push(Segment { input: Arc::clone(input), bytes: Some(Bytes::from(bytes)), base });
        }
    }

    /// Drops the record in hand, or what was appended and not used.
    pub(crate) fn drop_carry(&mut self) {
        self.bytes.truncate(self.done);
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.done = 0;
        self.rows = false;
    }

    /// Lends the bytes, padded, to be read from [`done`](Self::done) on. Where `last` says so a line feed stands
    /// after the text, to be seen by those who do not know where it ends.
    pub(crate) fn lend(&mut self, last: bool) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut self.bytes);
        let len = bytes.len();
        bytes.resize(len + PADDING, 0);
        // A carriage return there must not become part of a line end.
        if last && len > 0 && bytes.get(len - 1) != Some(&b'\r') {
            bytes[len] = b'\n';
        }
        bytes
    }

    /// Takes back what was lent: finished up to `done`, perhaps with rows.
    pub(crate) fn take_back(&mut self, mut bytes: Vec<u8>, done: usize, rows: bool) {
        bytes.truncate(bytes.len() - PADDING);
        self.bytes = bytes;
        self.done = done;
        self.rows |= rows;
    }
}
