//! How the encoder treats what does not fit as it is.

use kwsync_core::system::postgres::types::PgType;

/// What becomes of parts of a second that the column cannot keep: below the microsecond, or below what
/// `timestamp(3)` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TimestampNs {
    /// The row is a fault, with the code `timestamp_ns` (or `timestamp_precision`, `time_precision`,
    /// `interval_precision`).
    #[default]
    Reject,
    /// They are cut off, towards the past, and counted.
    Truncate,
}

/// What becomes of timestamps without a zone for a timestamptz column, and the other way round.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TimestampZone {
    /// The encoder is not made: nobody can know the zone.
    #[default]
    Reject,
    /// Timestamps without a zone are in UTC.
    Utc,
}

/// How [`CopyEncoder`](super::CopyEncoder) writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CopyOptions {
    /// What becomes of parts of a second that the column cannot keep.
    pub timestamp_ns: TimestampNs,
    /// What becomes of timestamps with the wrong kind of zone.
    pub timestamp_zone: TimestampZone,
    /// Whether the server's numeric has infinities: from PostgreSQL 14 on.
    pub numeric_infinity: bool,
}

impl CopyOptions {
    /// Nothing is changed on the way, for any server.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets what becomes of parts of a second that the column cannot keep.
    #[must_use]
    pub fn with_timestamp_ns(mut self, timestamp_ns: TimestampNs) -> Self {
        self.timestamp_ns = timestamp_ns;
        self
    }

    /// Sets what becomes of timestamps with the wrong kind of zone.
    #[must_use]
    pub fn with_timestamp_zone(mut self, timestamp_zone: TimestampZone) -> Self {
        self.timestamp_zone = timestamp_zone;
        self
    }

    /// Sets whether the server's numeric has infinities.
    #[must_use]
    pub fn with_numeric_infinity(mut self, numeric_infinity: bool) -> Self {
        self.numeric_infinity = numeric_infinity;
        self
    }
}

/// A column of the COPY's column list.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CopyColumn {
    /// The name, which is also that of the batch's column.
    pub name: String,
    /// The type, domains resolved.
    pub pg_type: PgType,
}

impl CopyColumn {
    /// A column.
    pub fn new(name: impl Into<String>, pg_type: PgType) -> Self {
        Self { name: name.into(), pg_type }
    }
}
