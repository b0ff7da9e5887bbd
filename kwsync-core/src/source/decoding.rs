//! Where bytes meet formats.

use std::any::Any;
use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Buf;

use super::{Assignment, ByteReader, ByteSource, Chunk, Reader, Source, SourceBatch};
use crate::{Decoder, Error, ErrorKind, Input, Result, Split, SplitPosition};

/// Makes a decoder; one for every split that is opened.
pub type DecoderFactory = Arc<dyn Fn() -> Result<Box<dyn Decoder>> + Send + Sync>;

/// A source of bytes joined with a decoder: a source of batches. The one place where bytes meet formats.
#[derive(Clone)]
pub struct Decoding<B> {
    bytes: B,
    decoder: DecoderFactory,
}

impl<B: ByteSource> Decoding<B> {
    /// Joins `bytes` with the decoders that `decoder` makes.
    pub fn new(bytes: B, decoder: DecoderFactory) -> Self {
        Self { bytes, decoder }
    }
}

impl<B: std::fmt::Debug> std::fmt::Debug for Decoding<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decoding").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

impl<B: ByteSource> Source for Decoding<B> {
    type Reader = DecodingReader<B::Reader>;

    fn positions(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        self.bytes.positions()
    }

    async fn splits(&self, lanes: usize, known: &[Split]) -> Result<Vec<Split>> {
        self.bytes.splits(lanes, known).await
    }

    async fn open(&self, split: &Split, at: Option<&SplitPosition>) -> Result<Self::Reader> {
        let bytes = self.bytes.open(split, at).await?;
        Ok(DecodingReader {
            bytes,
            decoder: (self.decoder)()?,
            input: None,
            pending: VecDeque::new(),
            read: 0,
            finished: false,
            commit: false,
            assignment: Assignment::default(),
            limit: None,
        })
    }
}

/// The reader of [`Decoding`].
pub struct DecodingReader<R> {
    bytes: R,
    decoder: Box<dyn Decoder>,
    input: Option<Arc<Input>>,
    pending: VecDeque<Chunk>,
    read: u64,
    finished: bool,
    /// Whether nothing more comes before a commit.
    commit: bool,
    /// What is to be told behind what has been decoded.
    assignment: Assignment,
    /// Rows and bytes after which a batch is returned, although the decoder would take more.
    limit: Option<(usize, u64)>,
}

/// What a decoder gets at a time when batches are to be small.
const SMALL_PIECE: usize = 1024;

impl<R> std::fmt::Debug for DecodingReader<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DecodingReader")
            .field("input", &self.input)
            .field("read", &self.read)
            .finish_non_exhaustive()
    }
}

impl<R: ByteReader> DecodingReader<R> {
    /// Decodes what is pending until the decoder is full or all is consumed; true when it is full.
    fn decode_pending(&mut self) -> Result<bool> {
        while let Some(chunk) = self.pending.front_mut() {
            if let Some((input, at)) = chunk.begin.take() {
                self.decoder.begin(Arc::clone(&input), at);
                self.input = Some(input);
            }
            if let Some(metadata) = chunk.metadata.take() {
                self.decoder.message(&metadata);
            }
            let mut ended = false;
            if let Some(window) = chunk.window.as_mut().filter(|_| self.limit.is_none()) {
                let taken = self.decoder.decode_message(&chunk.bytes, window)?;
                ended = taken == chunk.bytes.len();
                chunk.bytes.advance(taken);
                window.advance(taken);
                self.read += taken as u64;
                if self.decoder.wants_flush() && !ended {
                    return Ok(true);
                }
            }
            while !chunk.bytes.is_empty() {
                let piece = match self.limit {
                    Some(_) => chunk.bytes.slice(..SMALL_PIECE.min(chunk.bytes.len())),
                    None => chunk.bytes.clone(),
                };
                let taken = self.decoder.decode(&piece)?;
                chunk.bytes.advance(taken);
                self.read += taken as u64;
                let enough = |(rows, bytes)| self.decoder.buffered_rows() >= rows || self.read >= bytes;
                if self.decoder.wants_flush() || self.limit.is_some_and(enough) {
                    return Ok(true);
                }
                if taken == 0 {
                    let text = format!("the decoder of {} stands still", self.decoder.format());
                    return Err(Error::new(ErrorKind::Internal, text));
                }
            }
            if chunk.end_of_record && !ended {
                self.decoder.end_record()?;
            }
            self.commit |= chunk.last_before_commit;
            self.assignment = std::mem::take(&mut chunk.assignment);
            self.pending.pop_front();
            if !self.assignment.is_empty() {
                return Ok(true);
            }
        }
        Ok(self.decoder.wants_flush())
    }

    fn flush(&mut self) -> Result<SourceBatch> {
        let mut decoded = self.decoder.flush()?;
        if let Some(input) = &self.input {
            for reject in &mut decoded.rejects {
                reject.position = input.resolve(reject.position);
            }
        }
        let at = self.decoder.position();
        Ok(SourceBatch {
            bytes: std::mem::take(&mut self.read),
            parts: self.bytes.parts(at),
            ..SourceBatch::of(decoded, self.bytes.position(at))
        })
    }
}

impl<R: ByteReader> Reader for DecodingReader<R> {
    async fn next(&mut self) -> Result<Option<SourceBatch>> {
        loop {
            if self.decode_pending()? {
                let assignment = std::mem::take(&mut self.assignment);
                return self.flush().map(|batch| Some(SourceBatch { assignment, ..batch }));
            }
            if std::mem::take(&mut self.commit) {
                return self.flush().map(|batch| Some(SourceBatch { commit: true, ..batch }));
            }
            if self.finished {
                return Ok(None);
            }
            match self.bytes.next_chunk().await? {
                Some(chunk) => {
                    if chunk.begin.is_some() && self.decoder.has_partial_record() {
                        // Another input begins: what the former one left unfinished ends with it.
                        self.decoder.finish()?;
                    }
                    self.pending.push_back(chunk);
                }
                None => {
                    self.decoder.finish()?;
                    self.finished = true;
                    return self.flush().map(Some);
                }
            }
        }
    }

    fn is_interruptible(&self) -> bool {
        true
    }

    fn limit_batches(&mut self, rows: usize, bytes: u64) {
        self.limit = Some((rows.max(1), bytes.max(1)));
    }

    fn take_partial(&mut self) -> Result<Option<SourceBatch>> {
        let batch = self.flush()?;
        if batch.decoded.batches.is_empty() && batch.decoded.rejects.is_empty() && batch.parts.is_empty() {
            self.read += batch.bytes;
            return Ok(None);
        }
        Ok(Some(batch))
    }

    async fn commit(&mut self, position: &SplitPosition) -> Result<()> {
        self.bytes.commit(position).await
    }

    fn start_parts(&mut self, parts: Vec<(Arc<str>, Option<SplitPosition>)>) -> Result<()> {
        self.bytes.start_parts(parts)
    }

    async fn commit_parts(&mut self, parts: &[(Arc<str>, SplitPosition)]) -> Result<()> {
        self.bytes.commit_parts(parts).await
    }

    async fn release_parts(&mut self, parts: &[Arc<str>]) -> Result<()> {
        self.bytes.release_parts(parts).await
    }

    async fn close(&mut self) -> Result<()> {
        self.bytes.close().await
    }
}
