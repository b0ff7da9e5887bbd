//! What a user may choose.

use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use kwsync_core::Schema;

use crate::build::TagEncoding;
use crate::influx::{DEFAULT_MAX_LINE_BYTES, Dialect, Precision};

/// What becomes of a record without a timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MissingTimestamp {
    /// It gets the time of its arrival, and is counted.
    #[default]
    Receive,
    /// Its time is null.
    Null,
    /// It is refused.
    Reject,
}

/// Options of a [`LineDecoder`](super::LineDecoder).
#[derive(Clone)]
pub struct LineOptions {
    pub(super) dialect: Dialect,
    pub(super) precision: Precision,
    pub(super) time_column: String,
    pub(super) missing_timestamp: MissingTimestamp,
    pub(super) tag_encoding: TagEncoding,
    pub(super) types: Option<Arc<Schema>>,
    pub(super) max_line_bytes: usize,
    pub(super) batch_rows: usize,
    pub(super) batch_bytes: usize,
    pub(super) max_columns: usize,
    pub(super) max_tables: usize,
    pub(super) clock: Arc<dyn Fn() -> i64 + Send + Sync>,
}

impl Default for LineOptions {
    fn default() -> Self {
        Self {
            dialect: Dialect::Influx,
            precision: Precision::Ns,
            time_column: "time".to_owned(),
            missing_timestamp: MissingTimestamp::Receive,
            tag_encoding: TagEncoding::default(),
            types: None,
            max_line_bytes: DEFAULT_MAX_LINE_BYTES,
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

impl fmt::Debug for LineOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LineOptions")
            .field("dialect", &self.dialect)
            .field("precision", &self.precision)
            .field("time_column", &self.time_column)
            .field("missing_timestamp", &self.missing_timestamp)
            .field("batch_rows", &self.batch_rows)
            .finish_non_exhaustive()
    }
}

impl LineOptions {
    /// Whose line protocol it is (default InfluxDB's).
    #[must_use]
    pub fn with_dialect(mut self, dialect: Dialect) -> Self {
        self.dialect = dialect;
        self
    }

    /// The unit of the timestamps (default nanoseconds).
    #[must_use]
    pub fn with_precision(mut self, precision: Precision) -> Self {
        self.precision = precision;
        self
    }

    /// The name of the time column (default `time`). A record with a tag or field of this name is refused.
    #[must_use]
    pub fn with_time_column(mut self, name: impl Into<String>) -> Self {
        self.time_column = name.into();
        self
    }

    /// What becomes of a record without a timestamp (default: the time of arrival).
    #[must_use]
    pub fn with_missing_timestamp(mut self, policy: MissingTimestamp) -> Self {
        self.missing_timestamp = policy;
        self
    }

    /// How tags lie in memory (default: as views).
    #[must_use]
    pub fn with_tag_encoding(mut self, encoding: TagEncoding) -> Self {
        self.tag_encoding = encoding;
        self
    }

    /// Gives columns of these names their types, in any table that has no target of its own: values are cast to them
    /// where that is exact, as with [`LineDecoder::with_target`](super::LineDecoder::with_target).
    #[must_use]
    pub fn with_types(mut self, types: Arc<Schema>) -> Self {
        self.types = Some(types);
        self
    }

    /// Refuses records longer than this, line end included (default 64 MiB, at most 1 GiB).
    #[must_use]
    pub fn with_max_line_bytes(mut self, bytes: usize) -> Self {
        self.max_line_bytes = bytes.clamp(1, 1 << 30);
        self
    }

    /// Asks for a flush after so many rows and rejects (default 8192).
    #[must_use]
    pub fn with_batch_rows(mut self, rows: usize) -> Self {
        self.batch_rows = rows.max(1);
        self
    }

    /// Asks for a flush after so many bytes of records (default 16 MiB, at most 512 MiB).
    #[must_use]
    pub fn with_batch_bytes(mut self, bytes: usize) -> Self {
        self.batch_bytes = bytes.clamp(1, 512 << 20);
        self
    }

    /// Refuses records that would give a table more columns, its time not counted (default 4096).
    #[must_use]
    pub fn with_max_columns(mut self, columns: usize) -> Self {
        self.max_columns = columns;
        self
    }

    /// Refuses records of further tables (default 65,536).
    #[must_use]
    pub fn with_max_tables(mut self, tables: usize) -> Self {
        self.max_tables = tables;
        self
    }

    /// The clock that records without a timestamp are dated by: nanoseconds since the Unix epoch.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Fn() -> i64 + Send + Sync + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }
}
