//! Dates and times as text, with the faults of this format.

use super::fault::Fault;
use crate::calendar;

/// As [`calendar::date`].
pub(crate) fn date(text: &str) -> Result<i64, Fault> {
    calendar::date(text.as_bytes()).ok_or_else(|| Fault::text("bad_date", text, "date (YYYY-MM-DD)"))
}

/// As [`calendar::time`].
pub(crate) fn time(text: &str) -> Result<i64, Fault> {
    calendar::time(text.as_bytes()).ok_or_else(|| Fault::text("bad_time", text, "time of day (HH:MM:SS[.f])"))
}

/// As [`calendar::timetz`].
pub(crate) fn timetz(text: &str) -> Result<(i64, i64), Fault> {
    calendar::timetz(text.as_bytes())
        .ok_or_else(|| Fault::text("bad_timetz", text, "time of day with an offset (HH:MM:SS[.f]+hh[:mm])"))
}

/// As [`calendar::timestamp`].
pub(crate) fn timestamp(text: &str) -> Result<(i64, i64, Option<i64>), Fault> {
    calendar::timestamp(text.as_bytes())
        .ok_or_else(|| Fault::text("bad_timestamp", text, "timestamp (YYYY-MM-DD HH:MM:SS[.f][+hh:mm])"))
}
