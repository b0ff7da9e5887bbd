//! Which record of the input each row came from.

use std::fmt;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::{Metadata, Position};

/// One input: a file, a split of one, a topic's partition. Shared by all rows that came from it.
pub struct Input {
    name: Arc<str>,
    split: Arc<str>,
    topic: Option<Arc<str>>,
    partition: Option<i32>,
    message: Option<Arc<Metadata>>,
    once: bool,
    lines_before: OnceLock<u64>,
    count_lines: Option<Box<dyn Fn() -> u64 + Send + Sync>>,
}

impl Input {
    /// An input that is read from its first line; `name` is what a person calls it.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        let name = name.into();
        Self {
            split: Arc::clone(&name),
            name,
            topic: None,
            partition: None,
            message: None,
            once: false,
            lines_before: OnceLock::new(),
            count_lines: None,
        }
    }

    /// Names the split that is being read.
    #[must_use]
    pub fn with_split(mut self, split: impl Into<Arc<str>>) -> Self {
        self.split = split.into();
        self
    }

    /// Names the topic of messages, and its partition where it has some.
    #[must_use]
    pub fn with_topic(mut self, topic: impl Into<Arc<str>>, partition: Option<i32>) -> Self {
        (self.topic, self.partition) = (Some(topic.into()), partition);
        self
    }

    /// One message, with what it carries beside its bytes.
    #[must_use]
    pub fn with_message(mut self, message: Arc<Metadata>) -> Self {
        self.message = Some(message);
        self
    }

    /// It is read once, from its start: nothing needs to be kept for reading on from its middle.
    #[must_use]
    pub fn with_once(mut self, once: bool) -> Self {
        self.once = once;
        self
    }

    /// For a split that starts in the middle: `count` finds the number of lines before it. It runs once, when
    /// the first line number is asked for, since hardly any row ever needs one.
    #[must_use]
    pub fn with_line_counter(mut self, count: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        self.count_lines = Some(Box::new(count));
        self
    }

    /// What a person calls it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The split that is being read; the name again where there are none.
    pub fn split(&self) -> &str {
        &self.split
    }

    /// Whether it is read once, from its start, and never from its middle.
    pub fn is_once(&self) -> bool {
        self.once
    }

    /// The topic of messages.
    pub fn topic(&self) -> Option<&str> {
        self.topic.as_deref().or_else(|| self.message.as_ref()?.topic.as_deref())
    }

    /// The topic's partition.
    pub fn partition(&self) -> Option<i32> {
        self.partition.or_else(|| self.message.as_ref()?.partition)
    }

    /// The message, where the input is one.
    pub fn message(&self) -> Option<&Arc<Metadata>> {
        self.message.as_ref()
    }

    /// Makes a position exact that a decoder counted from the start of its split.
    pub fn resolve(&self, mut position: Position) -> Position {
        if position.line != 0
            && let Some(count) = &self.count_lines
        {
            position.line += self.lines_before.get_or_init(count);
        }
        position
    }
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Input").field("name", &self.name).field("split", &self.split).finish()
    }
}

/// A stretch of an input that rows point into.
#[derive(Clone, Debug)]
pub struct Segment {
    /// The input.
    pub input: Arc<Input>,
    /// The bytes of the stretch, while they are still in memory.
    pub bytes: Option<Bytes>,
    /// The place of the first byte; line and record count from the start of the split.
    pub base: Position,
}

/// One row's record, relative to its segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecordRef {
    /// Index of the segment.
    pub segment: u32,
    /// First byte of the record, from the segment's first.
    pub start: u32,
    /// Bytes of the record, without its line end.
    pub len: u32,
    /// Lines after the segment's first.
    pub line: u32,
    /// Records after the segment's base.
    pub record: u32,
}

/// The origins of the rows of one batch: one [`RecordRef`] a row.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    segments: Arc<[Segment]>,
    rows: Rows,
}

#[derive(Clone, Debug)]
enum Rows {
    /// Nothing is known of any of these rows.
    Unknown(usize),
    Known {
        refs: Arc<Vec<RecordRef>>,
        from: usize,
        len: usize,
    },
}

impl Default for Rows {
    fn default() -> Self {
        Self::Unknown(0)
    }
}

impl Origin {
    /// `rows` rows of which nothing is known: made by a program, or read from where there are no records.
    pub fn unknown(rows: usize) -> Self {
        Self { segments: Arc::from([]), rows: Rows::Unknown(rows) }
    }

    /// Rows whose records lie in `segments`.
    ///
    /// A reference past the end of its segment, or to none, is harmless: that row's origin is unknown.
    pub fn new(segments: impl Into<Arc<[Segment]>>, rows: Vec<RecordRef>) -> Self {
        let len = rows.len();
        Self { segments: segments.into(), rows: Rows::Known { refs: Arc::new(rows), from: 0, len } }
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        match &self.rows {
            Rows::Unknown(len) | Rows::Known { len, .. } => *len,
        }
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn refs(&self) -> &[RecordRef] {
        match &self.rows {
            Rows::Unknown(_) => &[],
            Rows::Known { refs, from, len } => refs.get(*from..from + len).unwrap_or_default(),
        }
    }

    fn find(&self, row: usize) -> Option<(&Segment, &RecordRef)> {
        let record = self.refs().get(row)?;
        Some((self.segments.get(record.segment as usize)?, record))
    }

    /// The segments that rows point into.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The input that a row came from.
    pub fn input(&self, row: usize) -> Option<&Arc<Input>> {
        self.find(row).map(|(segment, _)| &segment.input)
    }

    /// The place of a row's record in its input, with the exact line (counted now, if need be).
    pub fn position(&self, row: usize) -> Option<Position> {
        let (segment, record) = self.find(row)?;
        let base = segment.base;
        Some(segment.input.resolve(Position {
            byte: base.byte + u64::from(record.start),
            line: if base.line == 0 { 0 } else { base.line + u64::from(record.line) },
            column: 1,
            record: base.record + u64::from(record.record),
        }))
    }

    /// A row's record as it stood in the input, while the bytes are in memory.
    pub fn raw(&self, row: usize) -> Option<&[u8]> {
        let (segment, record) = self.find(row)?;
        let start = record.start as usize;
        segment.bytes.as_ref()?.get(start..start + record.len as usize)
    }

    /// `len` rows from row `offset` on; shares everything.
    ///
    /// # Panics
    /// When the range is not within the rows.
    #[must_use]
    pub fn slice(&self, offset: usize, len: usize) -> Self {
        assert!(offset + len <= self.len(), "slice {offset}+{len} of {} rows", self.len());
        let rows = match &self.rows {
            Rows::Unknown(_) => Rows::Unknown(len),
            Rows::Known { refs, from, .. } => {
                Rows::Known { refs: Arc::clone(refs), from: from + offset, len }
            }
        };
        Self { segments: Arc::clone(&self.segments), rows }
    }

    /// The rows at `indices`, in that order; what lies outside is dropped.
    #[must_use]
    pub fn take(&self, indices: impl IntoIterator<Item = usize>) -> Self {
        match &self.rows {
            Rows::Unknown(len) => Self::unknown(indices.into_iter().filter(|index| index < len).count()),
            Rows::Known { .. } => {
                let refs = self.refs();
                let taken: Vec<_> =
                    indices.into_iter().filter_map(|index| refs.get(index).copied()).collect();
                Self::new(Arc::clone(&self.segments), taken)
            }
        }
    }

    /// The rows of all `parts`, one after the other.
    pub fn concat<'a>(parts: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut builder = OriginBuilder::default();
        for part in parts {
            builder.append(part);
        }
        builder.finish()
    }

    /// A copy that keeps only its own records' bytes, when the segments hold more than four times those.
    #[must_use]
    pub fn compact(&self) -> Self {
        let held: usize =
            self.segments.iter().filter_map(|segment| segment.bytes.as_ref()).map(Bytes::len).sum();
        let used: usize = self.refs().iter().map(|record| record.len as usize).sum();
        if held <= 4 * used || held == 0 {
            return self.clone();
        }
        let mut bytes = Vec::with_capacity(used);
        let mut places = Vec::with_capacity(self.len());
        for row in 0..self.len() {
            let start = bytes.len();
            bytes.extend_from_slice(self.raw(row).unwrap_or_default());
            places.push((start, bytes.len()));
        }
        let bytes = Bytes::from(bytes);
        let mut segments = Vec::with_capacity(places.len());
        let mut refs = Vec::with_capacity(places.len());
        for (row, (start, end)) in places.into_iter().enumerate() {
            let Some((segment, record)) = self.find(row) else {
                refs.push(RecordRef { segment: u32::MAX, ..RecordRef::default() });
                continue;
            };
            // One segment a row: few rows point into a chunk, or there would be nothing to compact.
            refs.push(RecordRef {
                segment: segments.len() as u32,
                start: 0,
                len: record.len,
                line: record.line,
                record: record.record,
            });
            segments.push(Segment {
                input: Arc::clone(&segment.input),
                bytes: segment.bytes.is_some().then(|| bytes.slice(start..end)),
                base: Position { byte: segment.base.byte + u64::from(record.start), ..segment.base },
            });
        }
        Self::new(segments, refs)
    }

    /// The same places without the records' bytes: for rows that must not be shown as they were.
    #[must_use]
    pub fn without_raw(self) -> Self {
        let hide = |segment: &Segment| Segment { bytes: None, ..segment.clone() };
        Self { segments: self.segments.iter().map(hide).collect(), ..self }
    }

    /// Bytes that the row references take; the segments' bytes are counted by
    /// [`TableBatch::retained_bytes`](super::TableBatch::retained_bytes), once each.
    pub fn index_bytes(&self) -> usize {
        match &self.rows {
            Rows::Unknown(_) => 0,
            Rows::Known { refs, .. } => refs.capacity() * size_of::<RecordRef>(),
        }
    }
}

/// Puts the origins of several batches together.
#[derive(Debug, Default)]
pub struct OriginBuilder {
    segments: Vec<Segment>,
    refs: Vec<RecordRef>,
    known: bool,
}

impl OriginBuilder {
    /// Appends the rows of `part`.
    pub fn append(&mut self, part: &Origin) {
        match &part.rows {
            Rows::Unknown(len) => {
                let unknown = RecordRef { segment: u32::MAX, ..RecordRef::default() };
                self.refs.extend(std::iter::repeat_n(unknown, *len));
            }
            Rows::Known { .. } => {
                self.known = true;
                let shift = self.segments.len() as u32;
                self.segments.extend(part.segments.iter().cloned());
                self.refs.extend(
                    part.refs()
                        .iter()
                        .map(|record| RecordRef { segment: record.segment.saturating_add(shift), ..*record }),
                );
            }
        }
    }

    /// The rows of all parts.
    pub fn finish(self) -> Origin {
        if self.known { Origin::new(self.segments, self.refs) } else { Origin::unknown(self.refs.len()) }
    }
}
