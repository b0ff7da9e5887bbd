//! Records out of bytes, however these are cut: what decoders of records share.
//!
//! A format says where a record ends and what rows it holds ([`RecordFormat`]); [`RecordDecoder`] makes a
//! [`Decoder`](kwsync_core::Decoder) of it: partial records, limits, positions, rejects, counts and batches.
// JSON uses all of it.
#![cfg_attr(not(feature = "json"), allow(dead_code, unused_imports, unused_macros))]

mod arena;
mod decoder;
mod limits;
mod output;
#[cfg(test)]
mod tests;

pub(crate) use arena::Arena;
#[cfg(feature = "delimited")]
pub(crate) use decoder::BOM;
pub(crate) use decoder::RecordDecoder;
pub use limits::Limits;
pub(crate) use output::{Output, Place};

use std::borrow::Cow;

use kwsync_core::TableId;

use crate::build::{Chunk, Misfit};

/// Makes a public type that wraps a [`RecordDecoder`] a [`Decoder`](kwsync_core::Decoder).
macro_rules! record_decoder {
    ($name:ty) => {
        impl kwsync_core::Decoder for $name {
            fn format(&self) -> &'static str {
                self.0.format()
            }

            fn begin(&mut self, input: std::sync::Arc<kwsync_core::Input>, at: kwsync_core::Position) {
                self.0.begin(input, at);
            }

            fn message(&mut self, metadata: &kwsync_core::Metadata) {
                self.0.message(metadata);
            }

            fn decode(&mut self, chunk: &bytes::Bytes) -> kwsync_core::Result<usize> {
                self.0.decode(chunk)
            }

            fn decode_slice(&mut self, bytes: &[u8]) -> kwsync_core::Result<usize> {
                self.0.decode_slice(bytes)
            }

            fn end_record(&mut self) -> kwsync_core::Result<()> {
                self.0.end_record()
            }

            fn flush(&mut self) -> kwsync_core::Result<kwsync_core::Decoded> {
                self.0.flush()
            }

            fn wants_flush(&self) -> bool {
                self.0.wants_flush()
            }

            fn position(&self) -> kwsync_core::Position {
                self.0.position()
            }

            fn has_partial_record(&self) -> bool {
                self.0.has_partial_record()
            }

            fn buffered_rows(&self) -> usize {
                self.0.buffered_rows()
            }

            fn buffered_bytes(&self) -> usize {
                self.0.buffered_bytes()
            }

            fn reset(&mut self) {
                self.0.reset();
            }
        }
    };
}
pub(crate) use record_decoder;

/// How records lie in bytes, and what becomes of each.
pub(crate) trait RecordFormat: Send {
    /// What follows a record that arrives in pieces up to its end.
    type Boundary: Boundary;

    /// The name in rejects and reports.
    fn name(&self) -> &'static str;

    /// A follower for a record that begins now.
    fn boundary(&self) -> Self::Boundary;

    /// What ends a line, which is what something costs that is no record.
    fn line_end(&self) -> u8 {
        b'\n'
    }

    /// Another input or message begins, at this place.
    fn restart(&mut self, _at: kwsync_core::Position) {}

    /// What the message carries that is read next.
    fn message(&mut self, _metadata: &kwsync_core::Metadata) {}

    /// The input or message ends, between two records: what is wrong with that, if anything.
    fn end(&mut self) -> Option<Fault> {
        None
    }

    /// All rows and what they made known are forgotten: shapes and the like that tables are numbered in.
    fn reset(&mut self) {}

    /// Reads one record at `piece.at`, or what stands between records there. At least one byte is there. Rows go
    /// to `output`; what it says of the record must not depend on bytes after `piece.data`.
    fn read(&mut self, piece: Piece<'_>, output: &mut Output) -> Read;
}

/// Follows a record over pieces of it.
pub(crate) trait Boundary: Send {
    /// Offset after the record's end, if it lies in `bytes`, which continue those of earlier calls. Exact for a
    /// record without faults; where one has a fault its end may seem to be later.
    fn find(&mut self, bytes: &[u8]) -> Option<usize>;
}

/// Records end at a line feed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lines;

impl Boundary for Lines {
    fn find(&mut self, bytes: &[u8]) -> Option<usize> {
        memchr::memchr(b'\n', bytes).map(|n| n + 1)
    }
}

/// Bytes that are there to be read.
#[derive(Clone, Copy)]
pub(crate) struct Piece<'a> {
    /// Everything that may be looked at: more than `data`, but what is more is perhaps not of the input.
    pub(crate) chunk: Chunk<'a>,
    /// The bytes of the input
    pub(crate) data: &'a [u8],
    /// Where the record begins
    pub(crate) at: usize,
    /// Nothing comes after `data`.
    pub(crate) last: bool,
}

/// A stretch that has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Its end
    pub(crate) end: usize,
    /// Line feeds in it
    pub(crate) lines: u32,
    /// The byte after the last of them
    pub(crate) line_start: usize,
}

impl Extent {
    /// A stretch without a line feed.
    pub(crate) const fn within_line(end: usize) -> Self {
        Self { end, lines: 0, line_start: 0 }
    }

    /// The stretch of `data` from `start` to `end`, whose line feeds are counted.
    pub(crate) fn of(data: &[u8], start: usize, end: usize) -> Self {
        let bytes = data.get(start..end).unwrap_or_default();
        match memchr::memrchr(b'\n', bytes) {
            None => Self::within_line(end),
            Some(last) => {
                let lines = memchr::memchr_iter(b'\n', bytes).count() as u32;
                Self { end, lines, line_start: start + last + 1 }
            }
        }
    }
}

/// What is wrong with a record, and where.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) code: &'static str,
    pub(crate) reason: Cow<'static, str>,
    /// Offset of the offending byte
    pub(crate) at: usize,
    pub(crate) table: Option<TableId>,
}

impl Fault {
    pub(crate) fn new(code: &'static str, reason: impl Into<Cow<'static, str>>, at: usize) -> Self {
        Self { code, reason: reason.into(), at, table: None }
    }

    /// The fault of a record that its table cannot take.
    pub(crate) fn of(misfit: Misfit, table: &TableId, at: usize) -> Self {
        Self { code: misfit.code, reason: misfit.reason.into(), at, table: Some(table.clone()) }
    }
}

/// What was found.
#[derive(Debug)]
pub(crate) enum Read {
    /// A record whose rows are in the output now, or something between records.
    Taken(Extent),
    /// A well-formed record that is refused as a whole; `len` bytes of it, without what follows it, are its text.
    Refused(Extent, usize, Fault),
    /// No record; it costs the line that it begins in.
    Bad(Fault),
    /// The record goes on after the data. Not where nothing comes after them.
    Incomplete,
}
