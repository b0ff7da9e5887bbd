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

/// CPU seconds of this process so far, all threads together.
#[must_use]
pub fn cpu_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    ticks(&text, 11)
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

/// CPU seconds of the children that have ended and been waited for.
#[must_use]
pub fn children_cpu_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    ticks(&text, 13)
}

/// Two fields of `/proc/PID/stat` from the one with this index behind the name, in seconds.
fn ticks(stat: &str, index: usize) -> f64 {
    // Behind the name, which may hold blanks; in ticks of a hundredth of a second.
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().skip(index).take(2);
    fields.filter_map(|field| field.parse::<f64>().ok()).sum::<f64>() / 100.0
}

fn status_mib(process: &str, key: &str) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    let kib = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<f64>().ok());
    kib.unwrap_or_default() / 1024.0
}

/// The most memory that a process has held so far, in MiB; 0 when it is gone.
#[must_use]
pub fn peak_mib(process: u32) -> f64 {
    status_mib(&process.to_string(), "VmHWM")
}

/// The most memory of this process from a moment on, beyond what it held then.
#[derive(Debug)]
pub struct Peak {
    before: f64,
}

impl Peak {
    /// From now on.
    #[must_use]
    pub fn start() -> Self {
        // Linux forgets the peak then; elsewhere there is nothing to read below either.
        std::fs::write("/proc/self/clear_refs", "5").ok();
        Self { before: status_mib("self", "VmRSS") }
    }

    /// So far, in MiB.
    #[must_use]
    pub fn mib(&self) -> f64 {
        status_mib("self", "VmHWM") - self.before
    }
}
