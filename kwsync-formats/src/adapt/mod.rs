//! Decoders in the clothes of others: iterators, Arrow's `RecordBatchReader`, streams, tokio's codecs.

#[cfg(feature = "codec")]
mod codec;
mod read;
mod reader;
#[cfg(feature = "stream")]
mod stream;

#[cfg(feature = "codec")]
pub use codec::DecoderCodec;
pub use read::ReadDecoder;
pub use reader::TableReader;
#[cfg(feature = "stream")]
pub use stream::DecoderStream;

use bytes::{Buf, Bytes};
use kwsync_core::{Decoded, Decoder, Result};

/// Bytes that a decoder has not taken yet, because it wants to be flushed first.
#[derive(Debug, Default)]
struct Pump {
    rest: Bytes,
    finished: bool,
}

impl Pump {
    /// Feeds the decoder with what is left. What it has finished, if it is full.
    fn turn<D: Decoder>(&mut self, decoder: &mut D) -> Result<Option<Decoded>> {
        while !self.rest.is_empty() {
            let used = decoder.decode(&self.rest)?;
            self.rest.advance(used);
            if decoder.wants_flush() {
                return decoder.flush().map(Some);
            }
        }
        Ok(None)
    }

    /// Ends the input. What is left, if there is anything.
    fn finish<D: Decoder>(&mut self, decoder: &mut D) -> Result<Option<Decoded>> {
        if self.finished {
            return Ok(None);
        }
        self.finished = true;
        decoder.finish()?;
        let decoded = decoder.flush()?;
        let empty = decoded.batches.is_empty() && decoded.rejects.is_empty();
        Ok((!empty).then_some(decoded))
    }
}
