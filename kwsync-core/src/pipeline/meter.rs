//! Counters for those who watch many jobs: the `metrics` facade, behind the feature of that name.

/// The names of the counters and what they count; each has the label `job`.
#[cfg(feature = "metrics")]
const COUNTERS: [(&str, metrics::Unit, &str); 9] = {
    use metrics::Unit::{Bytes, Count};
    [
        ("kwsync_rows_read_total", Count, "Rows decoded"),
        ("kwsync_bytes_read_total", Bytes, "Bytes of input"),
        ("kwsync_rows_settled_total", Count, "Rows whose fate at the target is known"),
        ("kwsync_bytes_written_total", Bytes, "Bytes sent or written"),
        ("kwsync_rows_filtered_total", Count, "Rows that a transform left out on purpose"),
        ("kwsync_rows_rejected_total", Count, "Records and rows refused"),
        ("kwsync_rows_retried_total", Count, "Rows read again after a fault"),
        ("kwsync_commits_total", Count, "Commits of lanes"),
        ("kwsync_retries_total", Count, "Tries of lanes after the first"),
    ]
};

/// A counter of a job.
#[derive(Clone, Copy, Debug)]
#[repr(usize)]
pub(super) enum Count {
    RowsRead,
    BytesRead,
    RowsSettled,
    BytesWritten,
    RowsFiltered,
    RowsRejected,
    RowsRetried,
    Commits,
    Retries,
}

/// The counters of one job. Without the feature there are none, and this is nothing.
#[derive(Default)]
pub(super) struct Meter {
    #[cfg(feature = "metrics")]
    counters: std::sync::OnceLock<([metrics::Counter; 9], metrics::Histogram)>,
}

impl std::fmt::Debug for Meter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Meter").finish_non_exhaustive()
    }
}

#[cfg(feature = "metrics")]
impl Meter {
    /// Registers the counters of `job` with the recorder of this process.
    pub(super) fn start(&self, job: &str) {
        self.counters.get_or_init(|| {
            let counters = COUNTERS.map(|(name, unit, help)| {
                metrics::describe_counter!(name, unit, help);
                metrics::counter!(name, "job" => job.to_owned())
            });
            metrics::describe_histogram!(
                "kwsync_commit_seconds",
                metrics::Unit::Seconds,
                "How long a commit of a lane takes"
            );
            (counters, metrics::histogram!("kwsync_commit_seconds", "job" => job.to_owned()))
        });
    }

    pub(super) fn add(&self, what: Count, n: u64) {
        if let Some((counters, _)) = self.counters.get()
            && let Some(counter) = counters.get(what as usize)
        {
            counter.increment(n);
        }
    }

    /// How long a commit took.
    pub(super) fn commit(&self, took: std::time::Duration) {
        if let Some((_, commits)) = self.counters.get() {
            commits.record(took.as_secs_f64());
        }
    }
}

#[cfg(not(feature = "metrics"))]
impl Meter {
    #[expect(clippy::unused_self, reason = "the twin that counts does use it")]
    pub(super) fn start(&self, _job: &str) {}

    #[expect(clippy::unused_self, reason = "the twin that counts does use it")]
    pub(super) fn add(&self, _what: Count, _n: u64) {}

    #[expect(clippy::unused_self, reason = "the twin that counts does use it")]
    pub(super) fn commit(&self, _took: std::time::Duration) {}
}
