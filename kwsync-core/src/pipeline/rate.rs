//! Limits on rows and bytes a second, for all lanes together.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};

pub(super) struct RateLimit {
    per_second: (u64, u64),
    rows: Option<Mutex<Bucket>>,
    bytes: Option<Mutex<Bucket>>,
}

struct Bucket {
    per_second: f64,
    /// When what has been taken so far is paid for.
    paid: Instant,
}

impl RateLimit {
    pub(super) fn new(rows: u64, bytes: u64) -> Self {
        let bucket = |per_second: u64| {
            (per_second > 0)
                .then(|| Mutex::new(Bucket { per_second: per_second as f64, paid: Instant::now() }))
        };
        Self { per_second: (rows, bytes), rows: bucket(rows), bytes: bucket(bytes) }
    }

    /// The rows and bytes that each of `lanes` may have in a twentieth of a second, where there is a limit: batches of that
    /// size pass evenly.
    pub(super) fn share(&self, lanes: usize) -> Option<(usize, u64)> {
        let part = |per_second: u64| match per_second {
            0 => u64::MAX,
            limit => (limit / 20 / lanes as u64).max(1),
        };
        let (rows, bytes) = self.per_second;
        (rows > 0 || bytes > 0).then(|| (usize::try_from(part(rows)).unwrap_or(usize::MAX), part(bytes)))
    }

    /// Waits until `rows` and `bytes` may pass.
    pub(super) async fn take(&self, rows: u64, bytes: u64) {
        for (bucket, amount) in [(&self.rows, rows), (&self.bytes, bytes)] {
            if let Some(bucket) = bucket {
                let wait = {
                    let mut bucket = bucket.lock().await;
                    // No credit for idle time: a burst after a pause would break the limit.
                    let from = bucket.paid.max(Instant::now());
                    bucket.paid = from + Duration::from_secs_f64(amount as f64 / bucket.per_second);
                    bucket.paid
                };
                sleep_until(wait).await;
            }
        }
    }
}
