//! The bytes of a request, within bounds.

use std::io::Write;

use bytes::Bytes;
use flate2::write::MultiGzDecoder;
use http_body_util::BodyExt;
use hyper::body::Body;
use hyper::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use hyper::{HeaderMap, StatusCode};
use tokio::time::{Instant, timeout_at};

use super::answer::Fault;
use super::queue::Hold;
use super::server::Shared;

/// Bytes a second that a client must not fall below once its patience is used up.
const SLOWEST: u64 = 16 << 10;

/// What a body becomes, no longer than it may be.
struct Sink {
    bytes: Vec<u8>,
    most: usize,
    /// How long it will be, as far as that is known.
    told: usize,
    hold: Hold,
    fault: Option<StatusCode>,
}

impl Sink {
    /// Makes room for so many bytes, which has its share of the memory.
    fn fits(&mut self, more: usize) -> bool {
        let len = self.bytes.len() + more;
        if len > self.most {
            self.fault = Some(StatusCode::PAYLOAD_TOO_LARGE);
        } else if len > self.bytes.capacity() {
            // Twice as much each time, or a long body would be moved again and again.
            let ample = (self.bytes.capacity() * 2).min(self.told).max(len);
            match [ample, len].into_iter().find(|room| self.hold.cover(*room)) {
                Some(room) => self.bytes.reserve_exact(room - self.bytes.len()),
                None => self.fault = Some(StatusCode::SERVICE_UNAVAILABLE),
            }
        }
        self.fault.is_none()
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if !self.fits(bytes.len()) {
            return Err(std::io::Error::other("too long"));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

enum Reading {
    Plain(Sink),
    Gzip(Box<MultiGzDecoder<Sink>>),
}

impl Reading {
    fn sink(&self) -> &Sink {
        match self {
            Self::Plain(sink) => sink,
            Self::Gzip(decoder) => decoder.get_ref(),
        }
    }
}

/// Reads a body to its end, decompressed; with its share of the memory.
///
/// # Errors
/// 413 for a body that is too long, 503 where there is no room, 408 for a client that is too slow, 400 for gzip that is none,
/// 415 for another compression.
pub(super) async fn read<B>(shared: &Shared, headers: &HeaderMap, mut body: B) -> Result<(Bytes, Hold), Fault>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let most = shared.options.max_body;
    let too_long = || {
        Fault::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the body is longer than {most} bytes (max_body)"))
    };
    let told = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let told = told.and_then(|told| told.parse::<u64>().ok());
    if told.is_some_and(|told| told > most as u64) {
        return Err(too_long());
    }
    let sink = Sink { bytes: Vec::new(), most, told: most, hold: shared.queue.hold(), fault: None };
    let encoding = headers.get(CONTENT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or("").trim();
    let mut reading = match encoding {
        "" | "identity" => Reading::Plain(Sink { told: told.map_or(most, |told| told as usize), ..sink }),
        "gzip" | "x-gzip" => Reading::Gzip(Box::new(MultiGzDecoder::new(sink))),
        other => {
            let text = format!("Content-Encoding {other:?} is not read here; gzip is");
            return Err(Fault::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
        }
    };
    let no_gzip =
        |error: std::io::Error| Fault::new(StatusCode::BAD_REQUEST, format!("the body is no gzip: {error}"));
    let (began, mut came) = (Instant::now(), 0_u64);
    loop {
        let patience = shared.options.client_timeout;
        let until = began + patience + std::time::Duration::from_secs(came / SLOWEST);
        let frame = match timeout_at(until, body.frame()).await {
            Ok(Some(Ok(frame))) => frame,
            Ok(Some(Err(error))) => {
                return Err(Fault::new(StatusCode::BAD_REQUEST, format!("the body breaks off: {error}")));
            }
            Ok(None) => break,
            Err(_) => {
                let text = "the body does not come (client_timeout)";
                return Err(Fault::new(StatusCode::REQUEST_TIMEOUT, text));
            }
        };
        let Ok(data) = frame.into_data() else { continue };
        came += data.len() as u64;
        // Gzip may go on for ever and become nothing.
        if came > most as u64 {
            return Err(too_long());
        }
        let written = match &mut reading {
            Reading::Plain(sink) => sink.write_all(&data),
            Reading::Gzip(decoder) => decoder.write_all(&data),
        };
        if let Err(error) = written {
            return Err(match reading.sink().fault {
                Some(StatusCode::PAYLOAD_TOO_LARGE) => too_long(),
                Some(_) => Fault::busy(),
                None => no_gzip(error),
            });
        }
    }
    let mut sink = match reading {
        Reading::Plain(sink) => sink,
        Reading::Gzip(decoder) if came == 0 => decoder.get_ref().empty(shared),
        Reading::Gzip(mut decoder) => {
            if let Err(error) = decoder.try_finish() {
                return Err(match decoder.get_ref().fault {
                    Some(StatusCode::PAYLOAD_TOO_LARGE) => too_long(),
                    Some(_) => Fault::busy(),
                    None => no_gzip(error),
                });
            }
            decoder.finish().map_err(no_gzip)?
        }
    };
    sink.bytes.shrink_to_fit();
    if !sink.hold.cover(sink.bytes.capacity()) {
        return Err(Fault::busy());
    }
    sink.hold.shrink(sink.bytes.capacity());
    Ok((Bytes::from(sink.bytes), sink.hold))
}

impl Sink {
    fn empty(&self, shared: &Shared) -> Self {
        Self { bytes: Vec::new(), most: self.most, told: self.told, hold: shared.queue.hold(), fault: None }
    }
}
