//! What a user may choose.

use kwsync_core::TimeUnit;

use crate::Limits;
use crate::influx::Precision;
use crate::opentsdb::MetricNames;

/// Options of a [`TelnetDecoder`](super::TelnetDecoder).
#[derive(Debug, Clone)]
pub struct TelnetOptions {
    pub(super) metric: MetricNames,
    pub(super) precision: Precision,
    pub(super) time_column: Option<String>,
    pub(super) floats: bool,
    pub(super) limits: Limits,
}

impl Default for TelnetOptions {
    fn default() -> Self {
        Self {
            metric: MetricNames::Verbatim,
            precision: Precision::Auto,
            time_column: None,
            floats: false,
            limits: Limits::default(),
        }
    }
}

impl TelnetOptions {
    /// The defaults: metrics as tables, times in seconds or milliseconds by their size.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How a metric becomes a table and a column.
    #[must_use]
    pub const fn with_metric(mut self, metric: MetricNames) -> Self {
        self.metric = metric;
        self
    }

    /// The unit of the times. `Auto`, the default, is OpenTSDB's rule: what fits 32 bits is seconds, else
    /// milliseconds. A time with a point is in seconds.
    #[must_use]
    pub const fn with_precision(mut self, precision: Precision) -> Self {
        self.precision = precision;
        self
    }

    /// The name of the time column (default `timestamp`, with `Underscore` `k_timestamp`).
    #[must_use]
    pub fn with_time_column(mut self, name: impl Into<String>) -> Self {
        self.time_column = Some(name.into());
        self
    }

    /// All values are floats; an integer above 2^53 that is none exactly is refused. Without it a column is of
    /// integers until a float comes, which makes it one of floats if that is exact.
    #[must_use]
    pub const fn with_floats(mut self, floats: bool) -> Self {
        self.floats = floats;
        self
    }

    /// Bounds of memory.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The unit of the time column.
    pub(super) const fn unit(&self) -> TimeUnit {
        match self.precision {
            Precision::Us => TimeUnit::Microsecond,
            Precision::Ns => TimeUnit::Nanosecond,
            Precision::S | Precision::Ms | Precision::Auto => TimeUnit::Millisecond,
        }
    }

    /// A time as written in that unit; `None` if it does not fit.
    #[inline(always)]
    pub(super) fn time(&self, (whole, milliseconds): (i64, Option<i64>)) -> Option<i64> {
        if let Some(part) = milliseconds {
            let per_milli = 1_000_000 / self.unit().nanos();
            return whole.checked_mul(1000)?.checked_add(part)?.checked_mul(per_milli);
        }
        match self.precision {
            Precision::S => whole.checked_mul(1000),
            Precision::Auto if whole <= i64::from(u32::MAX) => Some(whole * 1000),
            // OpenTSDB's largest time has 13 digits.
            Precision::Auto => (whole < 10_000_000_000_000).then_some(whole),
            Precision::Ms | Precision::Us | Precision::Ns => Some(whole),
        }
    }
}
