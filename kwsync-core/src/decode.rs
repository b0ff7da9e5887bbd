//! Bytes in, batches out: the contract that every format's decoder keeps.

use std::sync::Arc;

use bytes::Bytes;

use crate::{Input, Position, Reject, Result, TableBatch};

/// What a decoder has finished: batches, the records it refused, and counts since the last flush.
#[derive(Debug, Default)]
pub struct Decoded {
    /// The rows, one batch or more a table, in no order among tables.
    pub batches: Vec<TableBatch>,
    /// The records that were refused, in input order.
    pub rejects: Vec<Reject>,
    /// What was counted on the way.
    pub counts: DecodeCounts,
}

/// What a decoder counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DecodeCounts {
    /// Records read, good and bad; blank lines and comments are none.
    pub records: u64,
    /// Records whose missing timestamp was filled in.
    pub missing_timestamps: u64,
    /// Fields that stood twice in a record with one type; the last one won.
    pub duplicate_fields: u64,
    /// Values changed by an option that allows it (truncation, rounding).
    pub coerced: u64,
}

impl std::ops::AddAssign for DecodeCounts {
    fn add_assign(&mut self, other: Self) {
        self.records += other.records;
        self.missing_timestamps += other.missing_timestamps;
        self.duplicate_fields += other.duplicate_fields;
        self.coerced += other.coerced;
    }
}

/// What a message carries beside its bytes.
///
/// # Examples
/// ```
/// use kwsync_core::Metadata;
///
/// let metadata = Metadata::new().with_topic("cars").with_partition(3).with_offset(17).with_timestamp(1_700_000_000_000);
/// assert_eq!(metadata.topic.as_deref(), Some("cars"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metadata {
    /// The topic.
    pub topic: Option<Arc<str>>,
    /// The topic's partition.
    pub partition: Option<i32>,
    /// The place in the partition.
    pub offset: Option<i64>,
    /// The message's key.
    pub key: Option<Bytes>,
    /// The message's own time: milliseconds since the Unix epoch.
    pub timestamp: Option<i64>,
    /// What else the sender has put beside it: names, not always different ones, and values where there are some.
    pub headers: Vec<(Box<str>, Option<Bytes>)>,
}

impl Metadata {
    /// Nothing is known.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the topic.
    #[must_use]
    pub fn with_topic(mut self, topic: impl Into<Arc<str>>) -> Self {
        self.topic = Some(topic.into());
        self
    }

    /// Sets the partition.
    #[must_use]
    pub fn with_partition(mut self, partition: i32) -> Self {
        self.partition = Some(partition);
        self
    }

    /// Sets the offset.
    #[must_use]
    pub fn with_offset(mut self, offset: i64) -> Self {
        self.offset = Some(offset);
        self
    }

    /// Sets the key.
    #[must_use]
    pub fn with_key(mut self, key: impl Into<Bytes>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<Box<str>>, value: Option<Bytes>) -> Self {
        self.headers.push((name.into(), value));
        self
    }

    /// The value of the last header of this name; nothing where it has none, or there is no such header.
    ///
    /// # Examples
    /// ```
    /// use kwsync_core::Metadata;
    ///
    /// let metadata = Metadata::new().with_header("trace", Some("abc".into()));
    /// assert_eq!(metadata.header("trace").map(|value| &value[..]), Some(&b"abc"[..]));
    /// ```
    pub fn header(&self, name: &str) -> Option<&Bytes> {
        self.headers.iter().rfind(|(known, _)| **known == *name)?.1.as_ref()
    }

    /// The same, with bytes of its own, so that it keeps no others alive.
    #[cfg(feature = "runtime")]
    pub(crate) fn detached(&self) -> Self {
        let own = |bytes: &Bytes| Bytes::copy_from_slice(bytes);
        Self {
            key: self.key.as_ref().map(own),
            headers: self
                .headers
                .iter()
                .map(|(name, value)| (name.clone(), value.as_ref().map(own)))
                .collect(),
            ..self.clone()
        }
    }

    /// Sets the time, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn with_timestamp(mut self, ms: i64) -> Self {
        self.timestamp = Some(ms);
        self
    }
}

/// A decoder of one format: push bytes in, take batches out. It does no I/O and knows no clock but the one it
/// was given.
///
/// Every way of cutting an input into chunks gives the same rows, rejects and positions. A bad record never
/// harms a good one: it comes out of [`flush`](Self::flush) as a [`Reject`], and the decoder goes on.
///
/// The caller's loop:
///
/// ```text
/// begin(input, position)
/// for each chunk:
///     while the chunk is not empty:
///         chunk.advance(decode(chunk)?)
///         if wants_flush(): flush()          // batches and rejects
/// finish()?; flush()
/// ```
pub trait Decoder: Send {
    /// The format's name, as it stands in rejects: `line_influxdb`, `csv` ...
    fn format(&self) -> &'static str;

    /// Says which input the next bytes belong to, and where in it they begin. A record that the former input
    /// left unfinished is dropped; call [`finish`](Self::finish) before to keep it.
    fn begin(&mut self, input: Arc<Input>, at: Position);

    /// Says what the message carries that the next bytes are of, up to [`end_record`](Self::end_record). Most
    /// formats have no use for it.
    fn message(&mut self, metadata: &Metadata) {
        let _ = metadata;
    }

    /// Takes bytes from the front of `chunk` and returns how many. Fewer than all were taken only when
    /// [`wants_flush`](Self::wants_flush) is true: flush, then go on with the rest. Rows may keep `chunk` alive.
    ///
    /// # Errors
    /// Only for faults that no later record can survive (the input as a whole is not of this format).
    fn decode(&mut self, chunk: &Bytes) -> Result<usize>;

    /// Like [`decode`](Self::decode) for bytes that the caller keeps: what rows need of them is copied.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    fn decode_slice(&mut self, bytes: &[u8]) -> Result<usize> {
        self.decode(&Bytes::copy_from_slice(bytes))
    }

    /// Like [`decode`](Self::decode) for a message: when all of it was taken, its last record has [ended](Self::end_record).
    /// `window` is the message with more behind it in memory, which a decoder may look at, but not take: a line feed first,
    /// unless the message ends with a carriage return, and 64 bytes of anything at least. So records are read in place
    /// that would have to be copied otherwise.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    fn decode_message(&mut self, message: &Bytes, window: &Bytes) -> Result<usize> {
        let _ = window;
        let taken = self.decode(message)?;
        if taken == message.len() {
            self.end_record()?;
        }
        Ok(taken)
    }

    /// Ends the record in hand although no terminator was seen, as at the end of a message. The input goes on.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    fn end_record(&mut self) -> Result<()>;

    /// Ends the input.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    fn finish(&mut self) -> Result<()> {
        self.end_record()
    }

    /// Hands over all finished rows and rejects; a record in hand stays.
    ///
    /// # Errors
    /// `Internal` when the columns do not make up a batch, which is a fault of the decoder.
    fn flush(&mut self) -> Result<Decoded>;

    /// Whether a bound of rows or bytes is reached and [`decode`](Self::decode) will take no more.
    fn wants_flush(&self) -> bool;

    /// The place of the first byte that belongs to no finished record: where to resume once everything flushed
    /// so far has been settled.
    fn position(&self) -> Position;

    /// Whether bytes of an unfinished record are held.
    fn has_partial_record(&self) -> bool;

    /// Rows that the next [`flush`](Self::flush) would return.
    fn buffered_rows(&self) -> usize;

    /// Bytes of memory held for rows and for the record in hand; an estimate that never falls short of the
    /// input bytes held.
    fn buffered_bytes(&self) -> usize;

    /// Forgets the record in hand and all buffered rows and rejects. What was learned of the schemas stays.
    fn reset(&mut self);
}

impl<D: Decoder + ?Sized> Decoder for Box<D> {
    fn format(&self) -> &'static str {
        (**self).format()
    }

    fn begin(&mut self, input: Arc<Input>, at: Position) {
        (**self).begin(input, at);
    }

    fn message(&mut self, metadata: &Metadata) {
        (**self).message(metadata);
    }

    fn decode(&mut self, chunk: &Bytes) -> Result<usize> {
        (**self).decode(chunk)
    }

    fn decode_message(&mut self, message: &Bytes, window: &Bytes) -> Result<usize> {
        (**self).decode_message(message, window)
    }

    fn decode_slice(&mut self, bytes: &[u8]) -> Result<usize> {
        (**self).decode_slice(bytes)
    }

    fn end_record(&mut self) -> Result<()> {
        (**self).end_record()
    }

    fn finish(&mut self) -> Result<()> {
        (**self).finish()
    }

    fn flush(&mut self) -> Result<Decoded> {
        (**self).flush()
    }

    fn wants_flush(&self) -> bool {
        (**self).wants_flush()
    }

    fn position(&self) -> Position {
        (**self).position()
    }

    fn has_partial_record(&self) -> bool {
        (**self).has_partial_record()
    }

    fn buffered_rows(&self) -> usize {
        (**self).buffered_rows()
    }

    fn buffered_bytes(&self) -> usize {
        (**self).buffered_bytes()
    }

    fn reset(&mut self) {
        (**self).reset();
    }
}
