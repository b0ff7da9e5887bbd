//! How values travel, and how they become what they are.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMicrosecondType;
use arrow_array::{ArrayRef, TimestampMillisecondArray, TimestampNanosecondArray, TimestampSecondArray};
use kwsync_core::system::postgres::types::{PgType, oid};
use kwsync_core::system::postgres::wire::{Described, Form};
use kwsync_core::{DataType, Error, ErrorKind, Result, TimeUnit};
use kwsync_formats::pgcopy::CopyDecoder;

/// KWDB's own types, by their number.
const NCHAR: u32 = 91_002;
const NVARCHAR: u32 = 91_004;
const VARBYTES: u32 = 91_006;
const GEOMETRY: u32 = 91_008;

/// How the values of a column come from the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Travel {
    /// What the column is.
    pub(super) data_type: DataType,
    pub(super) form: Form,
    /// The type by which what comes is decoded.
    pub(super) pg_type: PgType,
}

fn text() -> PgType {
    PgType::base(oid::TEXT, -1, "text")
}

impl Travel {
    /// Of a column of KWDB; `declared` is its type in the catalog, none of an expression.
    pub(super) fn of_kwdb(field: &Described, declared: Option<&str>) -> Self {
        let declared = declared.and_then(|name| name.parse::<DataType>().ok());
        let by_number = || match field.type_oid {
            NCHAR | NVARCHAR => DataType::Text,
            GEOMETRY => DataType::Geometry,
            VARBYTES => DataType::Bytes,
            number => PgType::base(number, field.modifier, "").data_type(),
        };
        let data_type = declared.unwrap_or_else(by_number);
        // Binary knows no more than microseconds: nanoseconds come as text. So do arrays, of which only that is known.
        let nanos = matches!(
            data_type,
            DataType::Timestamp(TimeUnit::Nanosecond) | DataType::TimestampTz(TimeUnit::Nanosecond)
        );
        let binary = match field.type_oid {
            _ if nanos => None,
            VARBYTES => Some(PgType::base(oid::BYTEA, -1, "bytea")),
            NCHAR | NVARCHAR | GEOMETRY => None,
            number => {
                let pg_type = PgType::base(number, field.modifier, "");
                let known = CopyDecoder::reads(&pg_type) && stored_alike(&pg_type.data_type(), &data_type);
                known.then_some(pg_type)
            }
        };
        match binary {
            Some(pg_type) => Self { data_type, form: Form::Binary, pg_type },
            None => {
                let data_type = if nanos || is_text(&data_type) {
                    data_type
                } else {
                    DataType::Other(data_type.to_string().as_str().into())
                };
                Self { data_type, form: Form::Text, pg_type: text() }
            }
        }
    }

    /// Of a column of a server that keeps to PostgreSQL.
    pub(super) fn of_postgres(pg_type: PgType) -> Self {
        if CopyDecoder::reads(&pg_type) && pg_type.oid != oid::TID {
            return Self { data_type: pg_type.data_type(), form: Form::Binary, pg_type };
        }
        let data_type = DataType::Other(pg_type.name.as_str().into());
        Self { data_type, form: Form::Text, pg_type: text() }
    }

    /// What came, as what it is.
    pub(super) fn arrived(&self, array: ArrayRef) -> Result<ArrayRef> {
        let (unit, zoned) = match &self.data_type {
            DataType::Timestamp(unit) => (*unit, false),
            DataType::TimestampTz(unit) => (*unit, true),
            _ => return Ok(array),
        };
        let zone = zoned.then_some("UTC");
        if unit == TimeUnit::Nanosecond {
            let texts = array.as_string_view();
            let nanos = texts
                .iter()
                .map(|text| text.map(|text| nanoseconds(text, zoned)).transpose())
                .collect::<Result<TimestampNanosecondArray>>()?;
            return Ok(Arc::new(nanos.with_timezone_opt(zone)));
        }
        let micros = array.as_primitive::<TimestampMicrosecondType>();
        Ok(match unit {
            TimeUnit::Second => {
                let made: TimestampSecondArray = micros.unary(|micros| micros.div_euclid(1_000_000));
                Arc::new(made.with_timezone_opt(zone))
            }
            TimeUnit::Millisecond => {
                let made: TimestampMillisecondArray = micros.unary(|micros| micros.div_euclid(1_000));
                Arc::new(made.with_timezone_opt(zone))
            }
            _ => array,
        })
    }
}

/// Whether values that come as one type can be kept as another: of one kind, whatever their lengths.
fn stored_alike(comes: &DataType, is: &DataType) -> bool {
    use DataType as T;
    match (comes, is) {
        (T::Timestamp(_), T::Timestamp(_)) | (T::TimestampTz(_), T::TimestampTz(_)) => true,
        (a, b) if is_text(a) && is_text(b) => true,
        (T::Bytes, T::VarBytes(_)) => true,
        (a, b) => a.to_arrow() == b.to_arrow(),
    }
}

fn is_text(data_type: &DataType) -> bool {
    use DataType as T;
    matches!(
        data_type,
        T::Text
            | T::VarChar(_)
            | T::Char(_)
            | T::NChar(_)
            | T::NVarChar(_)
            | T::Geometry
            | T::Json
            | T::Jsonb
    )
}

/// Nanoseconds since 1970 of a time as a server writes it: `2024-05-01 10:00:00.123456789+00:00`. In UTC, or as the local
/// time that stands there.
pub(super) fn nanoseconds(text: &str, zoned: bool) -> Result<i64> {
    let fault = || Error::new(ErrorKind::Protocol, format!("the server sent {text:?} for a time"));
    let (nanos, offset) = instant(text).ok_or_else(fault)?;
    i64::try_from(if zoned { nanos - offset } else { nanos }).map_err(|_| fault())
}

/// Nanoseconds of the local time, and of its offset from UTC.
pub(super) fn instant(text: &str) -> Option<(i128, i128)> {
    let text = text.trim();
    let (date, rest) = text.split_once([' ', 'T']).unwrap_or((text, "00:00:00"));
    let mut parts = date.split('-');
    let (year, month, day) = (number(parts.next()?)?, number(parts.next()?)?, number(parts.next()?)?);
    let at = rest.find(['+', '-', 'Z']).unwrap_or(rest.len());
    let (clock, zone) = rest.split_at_checked(at)?;
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let mut parts = clock.split(':');
    let (hour, minute) = (number(parts.next()?)?, number(parts.next()?)?);
    let second = parts.next().map_or(Some(0), number)?;
    let mut seconds = days(year, month, day)? * 86_400;
    seconds += hour * 3_600 + minute * 60 + second;
    let digits = u32::try_from(fraction.len()).ok().filter(|digits| (1..=9).contains(digits))?;
    let nanos = number(fraction)? * 10_i128.pow(9 - digits);
    let offset = match zone {
        "" | "Z" => 0,
        zone => {
            let (sign, zone) = zone.split_at_checked(1)?;
            let mut parts = zone.split(':');
            let mut offset = number(parts.next()?)? * 3_600;
            offset += parts.next().map_or(Some(0), number)? * 60;
            offset += parts.next().map_or(Some(0), number)?;
            if sign == "-" { -offset } else { offset }
        }
    };
    Some((seconds * 1_000_000_000 + nanos, offset * 1_000_000_000))
}

fn number(text: &str) -> Option<i128> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// Days since 1970-01-01, after Howard Hinnant's `days_from_civil`.
fn days(year: i128, month: i128, day: i128) -> Option<i128> {
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    Some(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
}

#[cfg(test)]
mod times {
    use super::*;

    #[test]
    fn times_are_read_to_the_nanosecond() {
        for (text, zoned, nanos) in [
            ("1970-01-01 00:00:00.000000001+00:00", true, 1),
            ("1970-01-01 01:00:00+01", true, 0),
            ("1969-12-31 23:59:59.5-00:30", true, 1_799_500_000_000),
            ("2024-05-01T10:00:00.123456789Z", true, 1_714_557_600_123_456_789),
            ("2024-05-01 10:00:00.123456789+08:00", false, 1_714_557_600_123_456_789),
            ("2262-04-11 23:47:16.854775807+00:00", true, i64::MAX),
        ] {
            assert_eq!(nanoseconds(text, zoned).unwrap(), nanos, "{text}");
        }
        for text in [
            "",
            "2024-13-01 00:00:00",
            "now",
            "2024-05-01 10",
            "2024-05-01 10:00:00.1234567890",
            "2970-01-01 00:00:00Z",
        ] {
            assert!(nanoseconds(text, true).is_err(), "{text}");
        }
    }
}
