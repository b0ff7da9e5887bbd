//! The knobs of a pipeline.

use std::time::Duration;

use crate::{Backoff, Budget, Earlier, ErrorPolicy};

/// How a pipeline runs. All bounds hold for each lane.
///
/// # Examples
/// ```
/// use kwsync_core::{ErrorPolicy, PipelineOptions};
///
/// let options = PipelineOptions::new().with_lanes(2).with_errors(ErrorPolicy::Skip);
/// assert_eq!(options.lanes, 2);
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct PipelineOptions {
    /// Lanes: splits that are read and written at the same time.
    pub lanes: usize,
    /// Rows of a batch as the sink gets it; smaller batches of one table are put together up to this.
    pub batch_rows: usize,
    /// Bytes of batches that a lane puts together before it writes them.
    pub batch_bytes: usize,
    /// How long a row may wait for others.
    pub linger: Duration,
    /// Bytes of batches that may wait between reading and writing.
    pub queue_bytes: usize,
    /// Rows after which a lane commits.
    pub commit_rows: u64,
    /// Bytes of batches after which a lane commits.
    pub commit_bytes: u64,
    /// How long a written row may wait for its commit.
    pub commit_interval: Duration,
    /// What happens to records that cannot be loaded.
    pub errors: ErrorPolicy,
    /// How many of them may be.
    pub max_errors: Budget,
    /// What other pipelines have used of it already.
    pub earlier: Earlier,
    /// Whether each of them is logged as a warning, with its place and its reason.
    pub log_errors: bool,
    /// Rows a second over all lanes; 0 is no limit.
    pub rate_rows: u64,
    /// Bytes of input a second over all lanes; 0 is no limit.
    pub rate_bytes: u64,
    /// How often a fault that may pass is tried again, before the job gives up.
    pub retries: u32,
    /// The longest wait between two tries.
    pub retry_max_wait: Duration,
    /// Whether the state of the job is kept after it has ended well, so that the next run reads only what is new.
    pub keep_state: bool,
}

impl Default for PipelineOptions {
    fn default() -> Self {
        Self {
            lanes: 1,
            batch_rows: 65_536,
            batch_bytes: 16 << 20,
            linger: Duration::from_secs(1),
            queue_bytes: 8 << 20,
            commit_rows: 1_000_000,
            commit_bytes: 256 << 20,
            commit_interval: Duration::from_secs(10),
            errors: ErrorPolicy::Fail,
            max_errors: Budget::Unlimited,
            earlier: Earlier::default(),
            log_errors: false,
            rate_rows: 0,
            rate_bytes: 0,
            retries: 5,
            retry_max_wait: Duration::from_secs(30),
            keep_state: false,
        }
    }
}

impl PipelineOptions {
    /// One lane, and the defaults above.
    pub fn new() -> Self {
        Self::default()
    }

    /// The waits between tries.
    pub(crate) fn backoff(&self) -> Backoff {
        Backoff::new(Duration::from_millis(100), self.retry_max_wait, self.retries)
    }

    /// Sets the number of lanes; 0 counts as 1.
    #[must_use]
    pub fn with_lanes(mut self, lanes: usize) -> Self {
        self.lanes = lanes.max(1);
        self
    }

    /// Sets what happens to records that cannot be loaded.
    #[must_use]
    pub fn with_errors(mut self, errors: ErrorPolicy) -> Self {
        self.errors = errors;
        self
    }

    /// Sets how many of them may be.
    #[must_use]
    pub fn with_max_errors(mut self, budget: Budget) -> Self {
        self.max_errors = budget;
        self
    }

    /// Makes the budget one that earlier pipelines have used part of.
    #[must_use]
    pub fn with_earlier(mut self, earlier: Earlier) -> Self {
        self.earlier = earlier;
        self
    }

    /// Sets rows and bytes after which a lane commits, and how long a written row may wait for it.
    #[must_use]
    pub fn with_commit(mut self, rows: u64, bytes: u64, interval: Duration) -> Self {
        (self.commit_rows, self.commit_bytes, self.commit_interval) = (rows, bytes, interval);
        self
    }
}
