//! How long to wait before trying again.

use std::time::Duration;

/// Exponential backoff with full jitter, bounded by attempts.
///
/// The random numbers are a function of the seed, so that a test that prints the seed can be repeated.
///
/// # Examples
/// ```
/// use kwsync_core::Backoff;
/// use std::time::Duration;
///
/// let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(10), 3).with_seed(7);
/// let waits: Vec<_> = std::iter::from_fn(|| backoff.next_wait()).collect();
/// assert_eq!(waits.len(), 3);
/// assert!(waits[0] <= Duration::from_millis(100));
/// ```
#[derive(Clone, Debug)]
pub struct Backoff {
    base: Duration,
    max: Duration,
    attempts: u32,
    made: u32,
    state: u64,
}

impl Backoff {
    /// Waits of up to `base`, doubled each time up to `max`, for at most `attempts` retries.
    pub fn new(base: Duration, max: Duration, attempts: u32) -> Self {
        let seed = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(1, |since| since.as_nanos() as u64);
        Self { base, max, attempts, made: 0, state: seed | 1 }
    }

    /// Fixes the seed of the jitter.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.state = seed | 1;
        self
    }

    /// The next wait, or `None` when the attempts are used up. Half of each wait is fixed, half random,
    /// so that many clients neither return at once nor hammer.
    pub fn next_wait(&mut self) -> Option<Duration> {
        if self.made >= self.attempts {
            return None;
        }
        let full = self.base.saturating_mul(1u32.checked_shl(self.made).unwrap_or(u32::MAX)).min(self.max);
        self.made += 1;
        // xorshift64: good enough to spread clients, and no dependency.
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        let half = full / 2;
        let share = (self.state >> 11) as f64 / (1u64 << 53) as f64;
        Some(half + half.mul_f64(share))
    }

    /// Retries handed out since the start or the last reset.
    pub fn made(&self) -> u32 {
        self.made
    }

    /// Starts over, after a success.
    pub fn reset(&mut self) {
        self.made = 0;
    }
}
