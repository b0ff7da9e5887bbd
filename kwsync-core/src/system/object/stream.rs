//! The bytes of an object as they come.

use std::fmt;
use std::ops::Range;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use tokio::time::timeout;

use super::error::too_slow;
use super::{ObjectClient, ObjectInfo};
use crate::{Backoff, Error, ErrorKind, Result, Retry};

/// How often in a row a stream is taken up again without that a byte comes.
const TRIES: u32 = 5;

/// Bytes of an object, in pieces as the network has them.
pub struct ObjectStream {
    client: ObjectClient,
    object: ObjectInfo,
    left: Range<u64>,
    body: Option<BoxStream<'static, object_store::Result<Bytes>>>,
    backoff: Backoff,
    /// Bytes that came in the time that was waited for them, since it was last found fast enough.
    came: u64,
    waited: Duration,
}

impl fmt::Debug for ObjectStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectStream")
            .field("object", &self.object)
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}

fn backoff() -> Backoff {
    Backoff::new(Duration::from_millis(100), Duration::from_secs(5), TRIES)
}

impl ObjectStream {
    pub(super) async fn open(client: ObjectClient, object: ObjectInfo, range: Range<u64>) -> Result<Self> {
        let mut stream = Self {
            client,
            object,
            left: range,
            body: None,
            backoff: backoff(),
            came: 0,
            waited: Duration::ZERO,
        };
        if !stream.left.is_empty() {
            stream.request().await?;
        }
        Ok(stream)
    }

    /// The object that is read, with the ETag that it turned out to have.
    pub fn object(&self) -> &ObjectInfo {
        &self.object
    }

    async fn request(&mut self) -> Result<()> {
        let got = self.client.get(&self.object, self.left.clone()).await?;
        if self.object.etag.is_none() {
            // What is read from here on is this object, and no other of its size.
            self.object.etag = got.meta.e_tag.clone();
        }
        self.body = Some(got.into_stream());
        Ok(())
    }

    /// The next bytes, or `None` at the end. A connection that is lost is taken up again.
    ///
    /// # Errors
    /// What the service says; `NotFound` if the object is another one now; `Timeout` with the code `too_slow` if fewer bytes come
    /// than `oss_speed_limit` allows.
    ///
    /// # Cancel safety
    /// No bytes are lost when the future is dropped.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            if self.left.is_empty() {
                return Ok(None);
            }
            let fault = match &mut self.body {
                None => match self.request().await {
                    Ok(()) => continue,
                    Err(error) => error,
                },
                Some(body) => match piece(body, &self.client, &mut self.waited).await {
                    Ok(Some(Ok(bytes))) => {
                        self.left.start += bytes.len() as u64;
                        self.came += bytes.len() as u64;
                        self.look_at_speed()?;
                        self.backoff = backoff();
                        return Ok(Some(bytes));
                    }
                    Ok(Some(Err(error))) => self.client.fault("read", &self.object.key, error),
                    Ok(None) => {
                        let text = format!(
                            "{} breaks off at byte {} of {}",
                            self.client.place(&self.object.key),
                            self.left.start,
                            self.left.end
                        );
                        Error::new(ErrorKind::Unavailable, text)
                    }
                    Err(TimedOut) => {
                        self.look_at_speed()?;
                        continue;
                    }
                },
            };
            self.body = None;
            if fault.retry() == Retry::Never {
                return Err(fault);
            }
            let Some(wait) = self.backoff.next_wait() else { return Err(fault) };
            tracing::debug!(error = %fault, "reading is taken up again");
            tokio::time::sleep(wait).await;
        }
    }

    /// Begins a new span where the last was fast enough.
    fn look_at_speed(&mut self) -> Result<()> {
        let speed = self.client.options().speed;
        if self.waited < speed.time {
            return Ok(());
        }
        if speed.is_missed(self.came, self.waited) {
            let what = format!("reading {} is given up", self.client.place(&self.object.key));
            let slow = format!(
                "{} bytes came in {:.1?}, and oss_speed_limit is {} a second",
                self.came, self.waited, speed.bytes
            );
            return Err(too_slow(&what, &slow));
        }
        (self.came, self.waited) = (0, Duration::ZERO);
        Ok(())
    }
}

/// The span is over, and nothing came.
struct TimedOut;

/// The next piece, and the time that it took added to `waited`: what the consumer takes does not count.
async fn piece(
    body: &mut BoxStream<'static, object_store::Result<Bytes>>,
    client: &ObjectClient,
    waited: &mut Duration,
) -> std::result::Result<Option<object_store::Result<Bytes>>, TimedOut> {
    let speed = client.options().speed;
    let began = Instant::now();
    let next = match speed.bytes {
        0 => Ok(body.next().await),
        _ => timeout(speed.time.saturating_sub(*waited), body.next()).await,
    };
    *waited += began.elapsed();
    next.map_err(|_| {
        *waited = (*waited).max(speed.time);
        TimedOut
    })
}
