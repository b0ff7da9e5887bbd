//! Lines of a body.

use bytes::{Buf, Bytes, BytesMut};
use kwsync_core::{Error, ErrorKind, Result};

use super::Answer;

/// The lines of an answer, of which none may be longer than a bound.
#[derive(Debug)]
pub(crate) struct Lines {
    answer: Answer,
    pending: Bytes,
    begun: BytesMut,
    most: usize,
}

impl Lines {
    pub(crate) fn new(answer: Answer, most: usize) -> Self {
        Self { answer, pending: Bytes::new(), begun: BytesMut::new(), most }
    }

    /// The next line without its end; the last one may have none.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.pending) {
                let line = self.pending.split_to(end);
                self.pending.advance(1);
                if self.begun.is_empty() {
                    return Ok(Some(line));
                }
                self.begun.extend_from_slice(&line);
                return Ok(Some(self.begun.split().freeze()));
            }
            self.begun.extend_from_slice(&self.pending);
            self.pending = Bytes::new();
            if self.begun.len() > self.most {
                let text = format!("the server sent more than {} bytes of rows at once", self.most);
                return Err(Error::new(ErrorKind::Limit, text)
                    .with_hint("lower batch_rows=: rows come by so many, or raise batch_size="));
            }
            match self.answer.chunk().await? {
                Some(chunk) => self.pending = chunk,
                None if self.begun.is_empty() => return Ok(None),
                None => return Ok(Some(self.begun.split().freeze())),
            }
        }
    }
}
