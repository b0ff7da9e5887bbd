//! Messages on their way from the client's thread to the reader: many in one buffer.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;
use kwsync_core::Metadata;

use super::native::Incoming;

/// Bytes after which a batch is handed over.
const BATCH_BYTES: usize = 512 << 10;
/// Messages after which it is.
const BATCH_MESSAGES: usize = 8192;
/// Decoders may look so far behind a message.
const PADDING: usize = 64;

/// A partition of this reader.
#[derive(Debug)]
pub(super) struct Part {
    /// Under which its checkpoint is kept.
    pub(super) id: Arc<str>,
    pub(super) topic: Arc<str>,
    pub(super) partition: i32,
    /// The offset behind the last message that came, or where reading begins; below zero while neither is known.
    next: AtomicI64,
}

impl Part {
    pub(super) fn new(topic: &str, partition: i32) -> Self {
        let id = format!("kafka:{topic}[{partition}]").into();
        Self { id, topic: topic.into(), partition, next: AtomicI64::new(-1) }
    }

    pub(super) fn next(&self) -> i64 {
        self.next.load(Ordering::Relaxed)
    }

    pub(super) fn set_next(&self, offset: i64) {
        self.next.store(offset, Ordering::Relaxed);
    }
}

/// A message, as ranges of its batch's bytes.
#[derive(Debug)]
struct Raw {
    part: Arc<Part>,
    offset: i64,
    timestamp: Option<i64>,
    skip: usize,
    payload: Range<usize>,
    key: Option<Range<usize>>,
    headers: Vec<(Box<str>, Option<Range<usize>>)>,
}

/// Messages in the order in which they came.
#[derive(Debug)]
pub(super) struct Batch {
    bytes: Bytes,
    messages: std::vec::IntoIter<Raw>,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) part: Arc<Part>,
    pub(super) offset: i64,
    /// Bytes of the payload that were read before.
    pub(super) skip: usize,
    pub(super) payload: Bytes,
    /// The payload, and what lies behind it.
    pub(super) window: Bytes,
    pub(super) metadata: Metadata,
}

impl Iterator for Batch {
    type Item = Message;

    fn next(&mut self) -> Option<Message> {
        let raw = self.messages.next()?;
        let mut metadata = Metadata::new();
        metadata.topic = Some(Arc::clone(&raw.part.topic));
        metadata.partition = Some(raw.part.partition);
        metadata.offset = Some(raw.offset);
        metadata.timestamp = raw.timestamp;
        metadata.key = raw.key.map(|key| self.bytes.slice(key));
        metadata.headers = raw
            .headers
            .into_iter()
            .map(|(name, value)| (name, value.map(|value| self.bytes.slice(value))))
            .collect();
        let window = self.bytes.slice(raw.payload.start..);
        let payload = self.bytes.slice(raw.payload);
        Some(Message {
            window,
            part: raw.part,
            offset: raw.offset,
            skip: raw.skip.min(payload.len()),
            payload,
            metadata,
        })
    }
}

/// Puts a batch together.
#[derive(Debug, Default)]
pub(super) struct Builder {
    bytes: Vec<u8>,
    messages: Vec<Raw>,
    /// About how large a message is.
    size: usize,
}

impl Builder {
    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() >= BATCH_BYTES || self.messages.len() >= BATCH_MESSAGES
    }

    /// How many messages of the size of the last ones there is room for; one at least.
    pub(super) fn room(&self) -> usize {
        let bytes = BATCH_BYTES.saturating_sub(self.bytes.len()) / self.size.max(1);
        bytes.min(BATCH_MESSAGES.saturating_sub(self.messages.len())).max(1)
    }

    pub(super) fn push(&mut self, part: &Arc<Part>, message: &Incoming<'_>, skip: u64) {
        part.set_next(message.offset() + 1);
        let bytes = &mut self.bytes;
        let start = bytes.len();
        let mut add = |added: &[u8]| {
            let start = bytes.len();
            bytes.extend_from_slice(added);
            start..bytes.len()
        };
        let payload = message.payload();
        let range = add(payload);
        // What a decoder may find behind a message: the end of its last line, if that is none of its own.
        add(if payload.last() == Some(&b'\r') { b"\0" } else { b"\n" });
        let key = message.key().map(&mut add);
        let mut headers = Vec::new();
        message.headers(|name, value| headers.push((name.into(), value.map(&mut add))));
        self.messages.push(Raw {
            part: Arc::clone(part),
            offset: message.offset(),
            timestamp: message.timestamp(),
            skip: usize::try_from(skip).unwrap_or(usize::MAX),
            payload: range,
            key,
            headers,
        });
        // Large ones count at once, small ones by and by.
        let size = self.bytes.len() - start;
        self.size = size.max((self.size * 15 + size) / 16);
    }

    /// What is there, and a builder for what follows.
    pub(super) fn take(&mut self) -> Batch {
        self.bytes.extend_from_slice(&[0; PADDING]);
        let (bytes, messages) = (std::mem::take(&mut self.bytes), std::mem::take(&mut self.messages));
        (self.bytes, self.messages) = (Vec::with_capacity(bytes.len()), Vec::with_capacity(messages.len()));
        Batch { bytes: bytes.into(), messages: messages.into_iter() }
    }
}
