//! A decoder as tokio's codec.

use bytes::BytesMut;
use kwsync_core::{Decoded, Decoder, Error, Result};

use super::Pump;

/// A decoder for `tokio_util::codec::FramedRead`: a connection in, what has been decoded out.
///
/// A frame is all records that have arrived whole since the last one, up to a batch. Nothing waits for more.
///
/// # Examples
/// ```
/// use futures_util::StreamExt;
/// use kwsync_formats::adapt::DecoderCodec;
/// use kwsync_formats::opentsdb::{TelnetDecoder, TelnetOptions};
/// use tokio_util::codec::FramedRead;
///
/// # futures_util::FutureExt::now_or_never(async {
/// let connection = b"put sys.cpu 1700000000 42 host=a\n".as_slice();
/// let codec = DecoderCodec::new(TelnetDecoder::new(TelnetOptions::new()));
/// let mut frames = FramedRead::new(connection, codec);
/// assert_eq!(frames.next().await.unwrap().unwrap().batches[0].rows(), 1);
/// # }).unwrap();
/// ```
#[derive(Debug)]
pub struct DecoderCodec<D> {
    decoder: D,
    pump: Pump,
}

impl<D: Decoder> DecoderCodec<D> {
    /// A codec of this decoder.
    pub fn new(decoder: D) -> Self {
        Self { decoder, pump: Pump::default() }
    }

    /// The decoder.
    pub fn get_ref(&self) -> &D {
        &self.decoder
    }
}

impl<D: Decoder> tokio_util::codec::Decoder for DecoderCodec<D> {
    type Item = Decoded;
    type Error = Error;

    fn decode(&mut self, source: &mut BytesMut) -> Result<Option<Decoded>> {
        if self.pump.rest.is_empty() {
            self.pump.rest = source.split().freeze();
        }
        if let Some(full) = self.pump.turn(&mut self.decoder)? {
            return Ok(Some(full));
        }
        if !source.is_empty() {
            return self.decode(source);
        }
        let decoded = self.decoder.flush()?;
        let empty = decoded.batches.is_empty() && decoded.rejects.is_empty();
        Ok((!empty).then_some(decoded))
    }

    fn decode_eof(&mut self, source: &mut BytesMut) -> Result<Option<Decoded>> {
        match self.decode(source)? {
            Some(decoded) => Ok(Some(decoded)),
            None => self.pump.finish(&mut self.decoder),
        }
    }
}
