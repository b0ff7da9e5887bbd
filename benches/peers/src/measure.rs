//! Time and medians.

use std::time::Duration;

/// CPU time of this thread so far, by the kernel's own count, which it brings up to date when one yields.
fn cpu_time() -> Duration {
    std::thread::yield_now();
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let ns = text.split_whitespace().next().and_then(|ns| ns.parse().ok());
    ns.map_or_else(|| std::time::UNIX_EPOCH.elapsed().unwrap_or_default(), Duration::from_nanos)
}

/// The CPU time that `run` takes, and what it returns.
pub fn timed<T>(run: impl FnOnce() -> T) -> (Duration, T) {
    let start = cpu_time();
    let made = run();
    (cpu_time().saturating_sub(start), made)
}

/// The median, in seconds.
///
/// # Panics
/// When there are none.
#[must_use]
pub fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64().max(1e-9)
}
