//! A stream of bytes as a stream of what a decoder makes of them.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_core::Stream;
use kwsync_core::{Decoded, Decoder, Error, Result};

use super::Pump;

/// Stream over what `decoder` makes of the bytes of `input`.
///
/// What is finished comes when a batch is full, when the input has nothing ready, and at the end. The stream ends
/// after the first error.
///
/// # Cancel safety
/// Dropping a `next()` loses nothing.
///
/// # Examples
/// ```
/// use futures_util::{StreamExt, stream};
/// use kwsync_formats::adapt::DecoderStream;
/// use kwsync_formats::influx::{LineDecoder, LineOptions};
///
/// # futures_util::FutureExt::now_or_never(async {
/// let chunks = ["cpu usage=1", "i 1\ncpu usage=2i 2\n"].map(|text| Ok::<_, std::io::Error>(text.into()));
/// let decoder = LineDecoder::new(LineOptions::default());
/// let all: Vec<_> = DecoderStream::new(stream::iter(chunks), decoder).collect().await;
/// assert_eq!(all[0].as_ref().unwrap().batches[0].rows(), 2);
/// # }).unwrap();
/// ```
#[derive(Debug)]
pub struct DecoderStream<S, D> {
    input: S,
    decoder: D,
    pump: Pump,
    ended: bool,
}

impl<S, D> DecoderStream<S, D> {
    /// Reads `input` from its start.
    pub fn new(input: S, decoder: D) -> Self {
        Self { input, decoder, pump: Pump::default(), ended: false }
    }
}

impl<S, D, E> Stream for DecoderStream<S, D>
where
    S: Stream<Item = std::result::Result<Bytes, E>> + Unpin,
    D: Decoder + Unpin,
    E: Into<Error>,
{
    type Item = Result<Decoded>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let next = loop {
            if this.ended {
                return Poll::Ready(None);
            }
            match this.pump.turn(&mut this.decoder) {
                Ok(None) => {}
                done => break done,
            }
            match Pin::new(&mut this.input).poll_next(cx) {
                Poll::Ready(Some(Ok(bytes))) => this.pump.rest = bytes,
                Poll::Ready(Some(Err(error))) => break Err(error.into()),
                Poll::Ready(None) => {
                    let done = this.pump.finish(&mut this.decoder);
                    this.ended = true;
                    break done;
                }
                // Nothing is coming just now: what is there need not wait for it.
                Poll::Pending if this.decoder.buffered_rows() > 0 => break this.decoder.flush().map(Some),
                Poll::Pending => return Poll::Pending,
            }
        };
        this.ended |= next.is_err();
        Poll::Ready(next.transpose())
    }
}
