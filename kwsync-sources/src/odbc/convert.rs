//! What was fetched into columns of their types, value by value: what cannot be had costs its row.

use std::str::FromStr;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{
    Array, ArrayRef, BooleanArray, Date32Array, Decimal128Array, Decimal256Array, FixedSizeBinaryArray,
    Int64Array, PrimitiveArray, StringArray, UInt64Array,
};
use kwsync_core::arrow::buffer::i256;
use kwsync_core::{DataType, Error, ErrorKind, Result, TimeUnit};

/// Why a value cannot be taken.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fault {
    pub(super) code: &'static str,
    pub(super) reason: String,
}

fn fault<T>(code: &'static str, reason: impl Into<String>) -> Result<T, Fault> {
    Err(Fault { code, reason: reason.into() })
}

/// The faults of a batch: the first of each row, with the column.
pub(super) type Faults = Vec<Option<(usize, Fault)>>;

/// The values of `fetched` as a column of `data_type`. A value that cannot be had is null there, and its row has a fault.
pub(super) fn column(
    at: usize,
    data_type: &DataType,
    fetched: &ArrayRef,
    faults: &mut Faults,
) -> Result<ArrayRef> {
    if let Some(numbers) = fetched.as_primitive_opt::<Int64Type>() {
        return integers(at, data_type, numbers, faults);
    }
    let Some(texts) = fetched.as_string_opt::<i32>() else { return Ok(Arc::clone(fetched)) };
    let mut text = Texts { at, texts, faults };
    Ok(match data_type {
        DataType::Bool => Arc::new(BooleanArray::from(text.each(boolean))),
        DataType::Int64 => Arc::new(Int64Array::from(text.each(whole::<i64>))),
        DataType::UInt64 => Arc::new(UInt64Array::from(text.each(whole::<u64>))),
        DataType::Date => Arc::new(Date32Array::from(text.each(|text| date(text).map(|days| days as i32)))),
        DataType::Time(unit) => {
            let values = text.each(|text| {
                let at = clock(text)?;
                scaled(at, *unit, text)
            });
            times(values, *unit)
        }
        DataType::Timestamp(unit) => {
            stamps(text.each(|text| timestamp(text, *unit, false)), *unit, data_type)
        }
        DataType::TimestampTz(unit) => {
            stamps(text.each(|text| timestamp(text, *unit, true)), *unit, data_type)
        }
        DataType::Uuid => {
            let values = text.each(uuid);
            let rows = values.iter().map(|value| value.map(u128::to_be_bytes));
            let made = FixedSizeBinaryArray::try_from_sparse_iter_with_size(rows, 16);
            Arc::new(made.map_err(|error| {
                Error::new(ErrorKind::Internal, "cannot build a column").with_source(error)
            })?)
        }
        DataType::Bit(_) => {
            Arc::new(StringArray::from(text.each(|text| boolean(text).map(|is| if is { "1" } else { "0" }))))
        }
        DataType::Numeric(Some((precision, scale))) => {
            let (precision, scale) = (*precision, *scale);
            let values = text.each(|text| decimal(text, precision, scale));
            let (bits, digits) = (u8::try_from(precision), i8::try_from(scale));
            let (Ok(precision), Ok(scale)) = (bits, digits) else {
                return Err(Error::new(ErrorKind::Internal, format!("no way to {data_type}")));
            };
            if precision <= 38 {
                let values: Decimal128Array =
                    values.iter().map(|value| value.and_then(i256::to_i128)).collect();
                Arc::new(fits(values.with_precision_and_scale(precision, scale))?)
            } else {
                let values: Decimal256Array = values.into_iter().collect();
                Arc::new(fits(values.with_precision_and_scale(precision, scale))?)
            }
        }
        DataType::Numeric(None) => {
            let values = text.each(|text| number(text).map(str::to_owned));
            Arc::new(values.into_iter().collect::<StringArray>())
        }
        // Text of any kind, as it is.
        _ => {
            let marked = text.texts.iter().any(|text| text.is_some_and(|text| text.contains('\u{fffd}')));
            if marked {
                text.each(|text| match text.contains('\u{fffd}') {
                    true => {
                        fault("bad_text", "a part of it is no text; fetch=rows shows which rows are meant")
                    }
                    false => Ok(()),
                });
            }
            Arc::clone(fetched)
        }
    })
}

fn fits<T>(made: std::result::Result<T, kwsync_core::arrow::schema::ArrowError>) -> Result<T> {
    made.map_err(|error| Error::new(ErrorKind::Internal, "cannot build a column").with_source(error))
}

/// A column of texts that are read.
struct Texts<'a> {
    at: usize,
    texts: &'a StringArray,
    faults: &'a mut Faults,
}

impl<'a> Texts<'a> {
    fn each<T>(&mut self, read: impl Fn(&'a str) -> Result<T, Fault>) -> Vec<Option<T>> {
        let mut values = Vec::with_capacity(self.texts.len());
        for (row, text) in self.texts.iter().enumerate() {
            values.push(match text.map(&read) {
                None => None,
                Some(Ok(value)) => Some(value),
                Some(Err(found)) => {
                    tell(self.faults, row, self.at, found);
                    None
                }
            });
        }
        values
    }
}

fn tell(faults: &mut Faults, row: usize, column: usize, fault: Fault) {
    if let Some(place) = faults.get_mut(row).filter(|place| place.is_none()) {
        *place = Some((column, fault));
    }
}

fn integers(
    at: usize,
    data_type: &DataType,
    numbers: &PrimitiveArray<Int64Type>,
    faults: &mut Faults,
) -> Result<ArrayRef> {
    macro_rules! narrow {
        ($array:ty, $native:ty) => {{
            let values: $array = numbers
                .iter()
                .enumerate()
                .map(|(row, value)| {
                    let value = value?;
                    let fits = <$native>::try_from(value).ok();
                    if fits.is_none() {
                        let reason = format!("{value} is no {data_type}");
                        tell(faults, row, at, Fault { code: "integer_overflow", reason });
                    }
                    fits
                })
                .collect();
            Arc::new(values) as ArrayRef
        }};
    }
    Ok(match data_type {
        DataType::Int8 => narrow!(arrow_array::Int8Array, i8),
        DataType::Int16 => narrow!(arrow_array::Int16Array, i16),
        DataType::Int32 => narrow!(arrow_array::Int32Array, i32),
        DataType::Int64 => Arc::new(numbers.clone()),
        DataType::UInt8 => narrow!(arrow_array::UInt8Array, u8),
        DataType::UInt16 => narrow!(arrow_array::UInt16Array, u16),
        DataType::UInt32 => narrow!(arrow_array::UInt32Array, u32),
        other => {
            return Err(Error::new(ErrorKind::Internal, format!("no way from an integer to {other}")));
        }
    })
}

fn times(values: Vec<Option<i64>>, unit: TimeUnit) -> ArrayRef {
    match unit {
        TimeUnit::Nanosecond => Arc::new(arrow_array::Time64NanosecondArray::from(values)),
        _ => Arc::new(arrow_array::Time64MicrosecondArray::from(values)),
    }
}

fn stamps(values: Vec<Option<i64>>, unit: TimeUnit, data_type: &DataType) -> ArrayRef {
    let zoned = data_type.to_arrow();
    match unit {
        TimeUnit::Second => Arc::new(arrow_array::TimestampSecondArray::from(values).with_data_type(zoned)),
        TimeUnit::Millisecond => {
            Arc::new(arrow_array::TimestampMillisecondArray::from(values).with_data_type(zoned))
        }
        TimeUnit::Microsecond => {
            Arc::new(arrow_array::TimestampMicrosecondArray::from(values).with_data_type(zoned))
        }
        TimeUnit::Nanosecond => {
            Arc::new(arrow_array::TimestampNanosecondArray::from(values).with_data_type(zoned))
        }
    }
}

fn boolean(text: &str) -> Result<bool, Fault> {
    match text.trim() {
        "1" | "t" | "true" | "TRUE" | "T" | "-1" => Ok(true),
        "0" | "f" | "false" | "FALSE" | "F" => Ok(false),
        _ => fault("bad_value", format!("{text:?} is neither true nor false")),
    }
}

fn whole<T: FromStr>(text: &str) -> Result<T, Fault> {
    text.trim()
        .parse()
        .or_else(|_| fault("not_an_integer", format!("{text:?} is no whole number of the column's type")))
}

/// A plain number: digits, a sign, a point.
pub(super) fn number(text: &str) -> Result<&str, Fault> {
    let text = text.trim();
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let numeric = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    match !(whole.is_empty() && part.is_empty()) && numeric(whole) && numeric(part) {
        true => Ok(text),
        false => fault("bad_numeric", format!("{text:?} is no decimal")),
    }
}

/// A decimal as an integer of `scale` digits behind the point.
fn decimal(text: &str, precision: u16, scale: i16) -> Result<i256, Fault> {
    let text = number(text)?;
    let (sign, digits) = text.strip_prefix('-').map_or(("", text), |digits| ("-", digits));
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let (whole, part) = (whole.trim_start_matches('0'), part.trim_end_matches('0'));
    let scale = usize::from(scale.unsigned_abs());
    if part.len() > scale {
        return fault("numeric_scale", format!("{text} has more than {scale} digits behind the point"));
    }
    let room = usize::from(precision) - scale.min(usize::from(precision));
    if whole.len() > room {
        return fault("numeric_overflow", format!("{text} has more than {room} digits before the point"));
    }
    match i256::from_string(&format!("{sign}0{whole}{part:0<scale$}")) {
        Some(number) => Ok(number),
        None => fault("bad_numeric", format!("{text} is no decimal")),
    }
}

fn uuid(text: &str) -> Result<u128, Fault> {
    let digits: String = text.chars().filter(|c| !matches!(c, '-' | '{' | '}')).collect();
    match u128::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 32) {
        Some(number) => Ok(number),
        None => fault("bad_value", format!("{text:?} is no UUID")),
    }
}

/// `2024-02-29` as days since 1970-01-01.
fn date(text: &str) -> Result<i64, Fault> {
    let bad = || fault("date_out_of_range", format!("{text:?} is no date of the calendar"));
    let mut parts = text.trim().splitn(3, '-').map(str::parse::<i64>);
    let (Some(Ok(y)), Some(Ok(m)), Some(Ok(d)), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return bad();
    };
    let leap = y % 4 == 0 && (y % 100 != 0 || y % 400 == 0);
    let length = match m {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 28 + i64::from(leap),
        _ => return bad(),
    };
    if !(1..=length).contains(&d) || !(1..=9999).contains(&y) {
        return bad();
    }
    // Years from March on, so that the leap day is the last.
    let y = if m <= 2 { y - 1 } else { y };
    let (era, of_era) = (y.div_euclid(400), y.rem_euclid(400));
    let of_year = (153 * ((m + 9) % 12) + 2) / 5 + d - 1;
    Ok(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
}

/// `12:30:00.5` as nanoseconds of a day.
fn clock(text: &str) -> Result<i64, Fault> {
    let bad = || fault("time_out_of_range", format!("{text:?} is no time of day"));
    let (whole, part) = text.trim().split_once('.').unwrap_or((text.trim(), ""));
    let mut parts = whole.splitn(3, ':').map(str::parse::<i64>);
    let (Some(Ok(h)), Some(Ok(m)), s) = (parts.next(), parts.next(), parts.next()) else { return bad() };
    let Ok(s) = s.unwrap_or(Ok(0)) else { return bad() };
    let fine = part.len() <= 9 && part.bytes().all(|byte| byte.is_ascii_digit());
    let nanos = format!("{part:0<9}").parse::<i64>();
    match nanos {
        Ok(nanos) if fine && (0..24).contains(&h) && (0..60).contains(&m) && (0..60).contains(&s) => {
            Ok(((h * 60 + m) * 60 + s) * 1_000_000_000 + nanos)
        }
        _ => bad(),
    }
}

/// Nanoseconds in a unit, if that is exact.
fn scaled(nanos: i64, unit: TimeUnit, text: &str) -> Result<i64, Fault> {
    let each = unit.nanos();
    match nanos % each {
        0 => Ok(nanos / each),
        _ => fault("timestamp_precision", format!("{text} has a finer part of a second than the column")),
    }
}

/// `2024-02-29 12:30:00.5`, with a zone behind it or not.
fn timestamp(text: &str, unit: TimeUnit, zoned: bool) -> Result<i64, Fault> {
    let trimmed = text.trim();
    let (day, rest) = trimmed.split_once([' ', 'T']).unwrap_or((trimmed, "00:00:00"));
    let (time, offset) = match zoned {
        true => zone(rest)?,
        false => (rest, 0),
    };
    let (days, nanos) = (date(day)?, clock(time)?);
    let part = scaled(nanos, unit, trimmed)?;
    let second = 1_000_000_000 / unit.nanos();
    let seconds = days * 86_400 - offset;
    match seconds.checked_mul(second).and_then(|whole| whole.checked_add(part)) {
        Some(value) => Ok(value),
        None => fault(
            "timestamp_out_of_range",
            format!(
                "{trimmed} is not within the years 1678 and 2261, as nanoseconds are; timestamp_unit=us takes it"
            ),
        ),
    }
}

/// A time without the zone behind it, and that in seconds.
fn zone(text: &str) -> Result<(&str, i64), Fault> {
    let text = text.trim();
    if let Some(time) = text.strip_suffix('Z') {
        return Ok((time, 0));
    }
    let Some(at) = text.rfind(['+', '-']) else { return Ok((text, 0)) };
    let (time, sign_and_zone) = text.split_at_checked(at).unwrap_or((text, ""));
    let (sign, zone) = sign_and_zone.split_at_checked(1).unwrap_or(("", ""));
    let (hours, minutes) = match zone.split_once(':') {
        Some(pair) => pair,
        None if zone.len() == 4 => zone.split_at_checked(2).unwrap_or((zone, "0")),
        None => (zone, "0"),
    };
    match (hours.parse::<i64>(), minutes.parse::<i64>()) {
        (Ok(hours @ 0..=15), Ok(minutes @ 0..=59)) => {
            let seconds = (hours * 60 + minutes) * 60;
            Ok((time.trim_end(), if sign == "-" { -seconds } else { seconds }))
        }
        _ => fault("bad_value", format!("{text:?} has no zone that can be read")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_exactly_or_not_at_all() {
        assert_eq!(date("1970-01-01"), Ok(0));
        assert_eq!(date("0001-01-01"), Ok(-719_162));
        assert_eq!(date("9999-12-31"), Ok(2_932_896));
        for wrong in ["2023-02-29", "0000-00-00", "2024-13-01", "2024-1", "x", "infinity"] {
            assert_eq!(date(wrong).unwrap_err().code, "date_out_of_range", "{wrong}");
        }
        assert_eq!(clock("23:59:59.999999999"), Ok(86_399_999_999_999));
        assert_eq!(clock("08:30"), Ok(30_600_000_000_000));
        for wrong in ["24:00:00", "1:2:3.1234567890", "-01:00:00", "838:59:59"] {
            assert!(clock(wrong).is_err(), "{wrong}");
        }
        let us = TimeUnit::Microsecond;
        assert_eq!(timestamp("1970-01-01 00:00:01.5", us, false), Ok(1_500_000));
        assert_eq!(timestamp("1970-01-01 02:00:00.0000000 +01:30", us, true), Ok(1_800_000_000));
        assert_eq!(timestamp("1970-01-01 00:00:00-0130", us, true), Ok(5_400_000_000));
        assert_eq!(timestamp("1969-12-31 23:59:59.999999", us, false), Ok(-1));
        assert_eq!(
            timestamp("2024-01-01 00:00:00.0000001", us, false).unwrap_err().code,
            "timestamp_precision"
        );
        let ns = TimeUnit::Nanosecond;
        assert_eq!(timestamp("0001-01-01 00:00:00", ns, false).unwrap_err().code, "timestamp_out_of_range");
        assert_eq!(decimal("-.50", 5, 2), Ok(i256::from_i128(-50)));
        assert_eq!(decimal("00123", 3, 0), Ok(i256::from_i128(123)));
        assert_eq!(decimal("1.005", 5, 2).unwrap_err().code, "numeric_scale");
        assert_eq!(decimal("1000", 5, 2).unwrap_err().code, "numeric_overflow");
        for wrong in ["", "-", ".", "1e5", "NaN", "1,5"] {
            assert_eq!(decimal(wrong, 9, 2).unwrap_err().code, "bad_numeric", "{wrong}");
        }
        assert_eq!(
            uuid("{A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11}"),
            Ok(0xa0ee_bc99_9c0b_4ef8_bb6d_6bb9_bd38_0a11)
        );
    }
}
