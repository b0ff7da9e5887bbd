//! Bounds of memory, and the clock.

use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// What bounds a decoder's memory, and the clock that dates records without a time.
///
/// # Examples
/// ```
/// use kwsync_formats::Limits;
///
/// let limits = Limits::new().with_max_record_bytes(1 << 20).with_batch_rows(1000);
/// # let _ = limits;
/// ```
#[derive(Clone)]
pub struct Limits {
    pub(crate) max_record_bytes: usize,
    pub(crate) batch_rows: usize,
    pub(crate) batch_bytes: usize,
    pub(crate) max_columns: usize,
    pub(crate) max_tables: usize,
    pub(crate) clock: Arc<dyn Fn() -> i64 + Send + Sync>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_record_bytes: 64 << 20,
            batch_rows: 8192,
            batch_bytes: 16 << 20,
            max_columns: 4096,
            max_tables: 65_536,
            clock: Arc::new(|| {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                // Finer parts mean nothing, and most targets would refuse them.
                i64::try_from(now.as_micros()).unwrap_or(i64::MAX).saturating_mul(1_000)
            }),
        }
    }
}

impl fmt::Debug for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limits")
            .field("max_record_bytes", &self.max_record_bytes)
            .field("batch_rows", &self.batch_rows)
            .field("batch_bytes", &self.batch_bytes)
            .field("max_columns", &self.max_columns)
            .field("max_tables", &self.max_tables)
            .finish_non_exhaustive()
    }
}

impl Limits {
    /// The defaults: records of 64 MiB, batches of 8192 rows or 16 MiB, 4096 columns a table, 65,536 tables.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Refuses records longer than this (at most 1 GiB).
    #[must_use]
    pub fn with_max_record_bytes(mut self, bytes: usize) -> Self {
        self.max_record_bytes = bytes.clamp(1, 1 << 30);
        self
    }

    /// Asks for a flush after so many rows and rejects.
    #[must_use]
    pub fn with_batch_rows(mut self, rows: usize) -> Self {
        self.batch_rows = rows.max(1);
        self
    }

    /// Asks for a flush after so many bytes of records (at most 512 MiB).
    #[must_use]
    pub fn with_batch_bytes(mut self, bytes: usize) -> Self {
        self.batch_bytes = bytes.clamp(1, 512 << 20);
        self
    }

    /// Refuses records that would give a table more columns.
    #[must_use]
    pub fn with_max_columns(mut self, columns: usize) -> Self {
        self.max_columns = columns;
        self
    }

    /// Refuses records of further tables.
    #[must_use]
    pub fn with_max_tables(mut self, tables: usize) -> Self {
        self.max_tables = tables;
        self
    }

    /// The clock: nanoseconds since the Unix epoch.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Fn() -> i64 + Send + Sync + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }
}
