//! Values on their way into a column.

use kwsync_core::{DataType, TimeUnit};

use super::rows::EXACT;
use super::{Chunk, Column, Data};
use crate::calendar;

/// Where the text of a value is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Str<'a> {
    /// In the chunk, from here to there
    Here(usize, usize),
    /// Elsewhere, for this call only
    Made(&'a [u8]),
}

impl<'a> Str<'a> {
    fn of(self, chunk: Chunk<'a>) -> &'a [u8] {
        match self {
            Self::Here(start, end) => chunk.bytes.get(start..end).unwrap_or_default(),
            Self::Made(text) => text,
        }
    }
}

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    Null,
    Bool(bool),
    Int(i64),
    /// Above what an i64 holds
    UInt(u64),
    /// Beyond 64 bits
    Huge,
    Float(f64),
    Text,
    /// An array or an object
    Json,
}

/// A value and its text; that of a number is as it was written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Cell<'a> {
    pub(crate) kind: Kind,
    pub(crate) text: Str<'a>,
}

impl<'a> Cell<'a> {
    pub(crate) const fn new(kind: Kind, text: Str<'a>) -> Self {
        Self { kind, text }
    }
}

/// Why a value does not go into its column.
#[derive(Debug)]
pub(crate) struct Unfit {
    pub(crate) code: &'static str,
    pub(crate) reason: String,
}

/// At most so many bytes of a value stand in a message.
const SHOWN: usize = 40;

fn unfit<T>(code: &'static str, text: &[u8], what: &str) -> Result<T, Unfit> {
    let shown = String::from_utf8_lossy(text.get(..SHOWN).unwrap_or(text));
    let more = if text.len() > SHOWN { "..." } else { "" };
    Err(Unfit { code, reason: format!("{shown}{more} {what}") })
}

fn push_text(column: &mut Column, chunk: Chunk<'_>, text: Str<'_>) {
    match (&mut column.data, text) {
        (Data::Text(values) | Data::Bytes(values), Str::Here(start, end)) => {
            values.push_ref(chunk, start, end);
        }
        (Data::Text(values) | Data::Bytes(values), Str::Made(text)) => {
            values.push_copy(text, 0, text.len());
        }
        _ => {}
    }
}

/// Appends a value to a column whose type was chosen by its first value.
pub(crate) fn infer(
    column: &mut Column,
    data_type: &DataType,
    chunk: Chunk<'_>,
    cell: Cell<'_>,
) -> Result<(), Unfit> {
    let text = cell.text.of(chunk);
    let kept = if *data_type == DataType::Json { Kind::Json } else { Kind::Text };
    match (&mut column.data, cell.kind) {
        (Data::I64(values), Kind::Int(value)) => values.push(value),
        (Data::F64(values), Kind::Float(value)) => values.push(value),
        (Data::F64(values), Kind::Int(value)) if value.unsigned_abs() <= EXACT => values.push(value as f64),
        (Data::F64(values), Kind::Int(_) | Kind::UInt(_) | Kind::Huge) => match exact(text) {
            Some(value) => values.push(value),
            None => return unfit("inexact", text, "is no float exactly; see types="),
        },
        (Data::U64(values), Kind::UInt(value)) => values.push(value),
        (Data::U64(values), Kind::Int(value)) if value >= 0 => values.push(value as u64),
        (Data::Bool(values), Kind::Bool(value)) => values.push(value),
        (Data::Text(_), kind) if kind == kept => push_text(column, chunk, cell.text),
        (_, Kind::Huge) => return unfit("integer_overflow", text, "has more than 64 bits"),
        (Data::I64(_), Kind::Float(_)) => {
            return unfit("type_conflict", text, "is none, and integers above 2^53 stand in the column");
        }
        _ => return unfit("type_conflict", text, "is none; the first type stands"),
    }
    Ok(())
}

/// An integer as the float that it is exactly.
fn exact(digits: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(digits).ok()?;
    let value: f64 = text.parse().ok().filter(|value: &f64| value.is_finite())?;
    (format!("{value:.0}") == text).then_some(value)
}

/// Milliseconds of a time in seconds or milliseconds. Up to 32 bits are seconds, as OpenTSDB has it.
pub(crate) const fn clock_ms(value: i64) -> Option<i64> {
    if value < 0 {
        None
    } else if value <= u32::MAX as i64 {
        Some(value * 1000)
    } else {
        Some(value)
    }
}

/// Appends a time in seconds or milliseconds to a column of milliseconds.
pub(crate) fn clock(column: &mut Column, chunk: Chunk<'_>, cell: Cell<'_>) -> Result<(), Unfit> {
    let value = if let Kind::Int(value) = cell.kind { clock_ms(value) } else { None };
    match (&mut column.data, value) {
        (Data::I64(values), Some(value)) => values.push(value),
        _ => return unfit("bad_timestamp", cell.text.of(chunk), "is no time in seconds or milliseconds"),
    }
    Ok(())
}

/// As [`cast`], but times have to be text.
pub(crate) fn written(
    column: &mut Column,
    data_type: &DataType,
    chunk: Chunk<'_>,
    cell: Cell<'_>,
) -> Result<(), Unfit> {
    let time = matches!(data_type, DataType::Timestamp(_) | DataType::TimestampTz(_));
    if time && cell.kind != Kind::Text {
        return unfit("bad_timestamp", cell.text.of(chunk), "is no text; times of relational tables are");
    }
    cast(column, data_type, TimeUnit::Millisecond, false, chunk, cell)
}

/// `value`, which counts `from`, in units of `to`; `None` where that is not exact or does not fit.
pub(crate) fn scale_time(value: i64, from: TimeUnit, to: TimeUnit) -> Option<i64> {
    let (from, to) = (from.nanos(), to.nanos());
    if from >= to {
        value.checked_mul(from / to)
    } else {
        let factor = to / from;
        (value % factor == 0).then_some(value / factor)
    }
}

/// Milliseconds as a number that [`clock_ms`] reads back; `None` where there is none.
pub(crate) fn by_size(milliseconds: i64) -> Option<i64> {
    const SECONDS: i64 = u32::MAX as i64;
    match milliseconds {
        0..=SECONDS => (milliseconds % 1000 == 0).then_some(milliseconds / 1000),
        _ => (milliseconds > 0).then_some(milliseconds),
    }
}

/// Appends a value to a column of a given type, exactly or not at all.
pub(crate) fn cast(
    column: &mut Column,
    data_type: &DataType,
    unit: TimeUnit,
    from_text: bool,
    chunk: Chunk<'_>,
    cell: Cell<'_>,
) -> Result<(), Unfit> {
    let text = cell.text.of(chunk);
    if cell.kind == Kind::Text && !from_text && is_number(data_type) {
        return unfit("type_conflict", text, "is text");
    }
    macro_rules! integer {
        ($values:expr, $type:ty) => {{
            match integer(cell.kind, text).and_then(|value| <$type>::try_from(value).ok()) {
                Some(value) => $values.push(value),
                None => return unfit(number_code(cell.kind), text, "does not fit"),
            }
        }};
    }
    match data_type {
        DataType::Timestamp(own) | DataType::TimestampTz(own) => {
            let zoned = matches!(data_type, DataType::TimestampTz(_));
            let value = time_of(cell.kind, text, unit, *own, zoned)?;
            if let Data::I64(values) = &mut column.data {
                values.push(value);
            }
            return Ok(());
        }
        DataType::Date => {
            let days = calendar::date(text).filter(|_| cell.kind == Kind::Text);
            match (&mut column.data, days.and_then(|days| i32::try_from(days).ok())) {
                (Data::I32(values), Some(days)) => values.push(days),
                _ => return unfit("bad_date", text, "is no date (YYYY-MM-DD)"),
            }
            return Ok(());
        }
        DataType::Time(own) => {
            let nanos = calendar::time(text).filter(|_| cell.kind == Kind::Text);
            let value = nanos.and_then(|nanos| scale_time(nanos, TimeUnit::Nanosecond, *own));
            match (&mut column.data, value) {
                (Data::I64(values), Some(value)) => values.push(value),
                (Data::I32(values), Some(value)) => values.push(value as i32),
                _ => return unfit("bad_time", text, "is no time of day (HH:MM:SS[.f]) of that precision"),
            }
            return Ok(());
        }
        _ => {}
    }
    match &mut column.data {
        Data::I8(values) => integer!(values, i8),
        Data::I16(values) => integer!(values, i16),
        Data::I32(values) => integer!(values, i32),
        Data::I64(values) => integer!(values, i64),
        Data::U8(values) => integer!(values, u8),
        Data::U16(values) => integer!(values, u16),
        Data::U32(values) => integer!(values, u32),
        Data::U64(values) => integer!(values, u64),
        Data::F64(values) => match (cell.kind, float(cell.kind, text)) {
            (Kind::Int(value), _) if value.unsigned_abs() <= EXACT => values.push(value as f64),
            (Kind::Int(_) | Kind::UInt(_) | Kind::Huge, _) => match exact(text) {
                Some(value) => values.push(value),
                None => return unfit("inexact", text, "is no float exactly"),
            },
            (_, Some(value)) => values.push(value),
            _ => return unfit(number_code(cell.kind), text, "does not fit"),
        },
        Data::F32(values) => match (cell.kind, float32(cell.kind, text)) {
            (Kind::Int(value), _) if value.unsigned_abs() <= 1 << 24 => values.push(value as f32),
            (Kind::Int(_) | Kind::UInt(_) | Kind::Huge, _) => match exact(text) {
                Some(value) if f64::from(value as f32) == value => values.push(value as f32),
                _ => return unfit("inexact", text, "is no float of that size exactly"),
            },
            (_, Some(value)) => values.push(value),
            _ => return unfit(number_code(cell.kind), text, "does not fit"),
        },
        Data::Bool(values) => match (cell.kind, text) {
            (Kind::Bool(value), _) => values.push(value),
            (Kind::Text, b"true" | b"TRUE" | b"True" | b"t") if from_text => values.push(true),
            (Kind::Text, b"false" | b"FALSE" | b"False" | b"f") if from_text => values.push(false),
            _ => return unfit("type_conflict", text, "is no bool"),
        },
        Data::I128(values, precision, scale) => match decimal(text, *precision, *scale) {
            Some(value) if !matches!(cell.kind, Kind::Bool(_) | Kind::Json) => values.push(value),
            _ => return unfit("bad_decimal", text, "does not fit"),
        },
        Data::Uuid(values) => match uuid(text) {
            Some(value) if cell.kind == Kind::Text => values.push(value),
            _ => return unfit("bad_uuid", text, "is no UUID"),
        },
        Data::Bytes(values) => {
            if cell.kind != Kind::Text {
                return unfit("type_conflict", text, "is no text");
            }
            let limit =
                if let DataType::VarBytes(Some(limit)) = data_type { *limit as usize } else { usize::MAX };
            match text.strip_prefix(b"\\x") {
                Some(digits) => {
                    if digits.len() / 2 > limit {
                        return unfit("too_long", text, "is too long");
                    }
                    let Some(bytes) = hex(digits) else {
                        return unfit("bad_hex", text, "is no hexadecimal text");
                    };
                    values.push_copy(&bytes, 0, bytes.len());
                }
                None if text.len() > limit => return unfit("too_long", text, "is too long"),
                None => push_text(column, chunk, cell.text),
            }
        }
        Data::Text(_) => {
            let limit = match data_type {
                DataType::Char(limit) | DataType::NChar(limit) => Some(*limit),
                DataType::VarChar(limit) | DataType::NVarChar(limit) => *limit,
                _ => None,
            };
            let structured = matches!(data_type, DataType::Json | DataType::Jsonb);
            if !structured && !from_text && cell.kind != Kind::Text {
                return unfit("type_conflict", text, "is no text");
            }
            if let Some(limit) = limit {
                let limit = limit as usize;
                if text.len() > limit && chars(text) > limit {
                    return unfit("too_long", text, &format!("is longer than {limit} characters"));
                }
            }
            push_text(column, chunk, cell.text);
        }
        Data::Dictionary(_) => {
            if column.push_text(text).is_none() {
                return unfit("invalid_utf8", text, "is no text");
            }
        }
    }
    Ok(())
}

fn chars(text: &[u8]) -> usize {
    text.iter().filter(|byte| **byte & 0xc0 != 0x80).count()
}

fn is_number(data_type: &DataType) -> bool {
    use DataType as T;
    matches!(
        data_type,
        T::Bool
            | T::Int8
            | T::Int16
            | T::Int32
            | T::Int64
            | T::UInt8
            | T::UInt16
            | T::UInt32
            | T::UInt64
            | T::Float32
            | T::Float64
    )
}

const fn number_code(kind: Kind) -> &'static str {
    match kind {
        Kind::Bool(_) | Kind::Text | Kind::Json | Kind::Null => "type_conflict",
        Kind::Float(_) => "inexact",
        Kind::Int(_) | Kind::UInt(_) | Kind::Huge => "integer_overflow",
    }
}

/// An integer, exactly.
fn integer(kind: Kind, text: &[u8]) -> Option<i128> {
    match kind {
        Kind::Int(value) => Some(value.into()),
        Kind::UInt(value) => Some(value.into()),
        Kind::Float(value) if value.fract() == 0.0 && value.abs() <= EXACT as f64 => Some(value as i128),
        Kind::Text => {
            let text = std::str::from_utf8(text).ok()?;
            // One form only: digits, and a minus before them.
            let digits = text.strip_prefix('-').unwrap_or(text);
            digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
        }
        _ => None,
    }
}

/// Text that JSON would take for a number.
fn number_text(text: &[u8]) -> Option<&str> {
    let starts = |text: &[u8]| text.first().is_some_and(u8::is_ascii_digit);
    let unsigned = text.strip_prefix(b"-").unwrap_or(text);
    (starts(unsigned) && unsigned.last().is_some_and(u8::is_ascii_digit))
        .then(|| std::str::from_utf8(text).ok())?
}

fn float(kind: Kind, text: &[u8]) -> Option<f64> {
    match kind {
        Kind::Float(value) => Some(value),
        Kind::Text => number_text(text)?.parse().ok().filter(|value: &f64| value.is_finite()),
        _ => None,
    }
}

/// Rounded once, from the text.
fn float32(kind: Kind, text: &[u8]) -> Option<f32> {
    match kind {
        Kind::Float(_) => std::str::from_utf8(text).ok()?.parse().ok(),
        Kind::Text => number_text(text)?.parse().ok(),
        _ => None,
    }
    .filter(|value: &f32| value.is_finite())
}

/// A time out of an integer that counts `unit`, or of text.
fn time_of(kind: Kind, text: &[u8], unit: TimeUnit, own: TimeUnit, zoned: bool) -> Result<i64, Unfit> {
    let value = match kind {
        Kind::Int(value) => match scale_time(value, unit, own) {
            Some(value) => return Ok(value),
            None => return unfit("timestamp_overflow", text, &format!("is no time in {}", own.as_str())),
        },
        Kind::Text => calendar::timestamp(text),
        _ => None,
    };
    let Some((seconds, nanos, offset)) = value else {
        return unfit(
            "bad_timestamp",
            text,
            "is no timestamp (an integer, or YYYY-MM-DD HH:MM:SS[.f][+hh:mm])",
        );
    };
    if !zoned && offset.is_some_and(|offset| offset != 0) {
        return unfit("bad_timestamp", text, "has an offset, and the column is local time");
    }
    let per_second = 1_000_000_000 / own.nanos();
    let part = nanos % own.nanos();
    let value = seconds.checked_mul(per_second).and_then(|value| value.checked_add(nanos / own.nanos()));
    match value {
        Some(value) if part == 0 => Ok(value),
        Some(_) => unfit("timestamp_precision", text, &format!("has digits beyond {}", own.as_str())),
        None => unfit("timestamp_overflow", text, &format!("is no time in {}", own.as_str())),
    }
}

/// A decimal number as an integer of `scale` digits behind the point, exactly.
fn decimal(text: &[u8], precision: u8, scale: i8) -> Option<i128> {
    let negative = text.first() == Some(&b'-');
    let unsigned = if negative { text.get(1..)? } else { text };
    let (mantissa, exponent) = match unsigned.iter().position(|byte| matches!(byte, b'e' | b'E')) {
        Some(at) => {
            let exponent = std::str::from_utf8(unsigned.get(at + 1..)?).ok()?;
            (unsigned.get(..at)?, exponent.parse::<i32>().ok().filter(|e| e.unsigned_abs() < 1000)?)
        }
        None => (unsigned, 0),
    };
    let mut value: i128 = 0;
    let (mut seen, mut point, mut behind) = (false, false, 0i32);
    for byte in mantissa {
        match byte {
            b'0'..=b'9' => {
                seen = true;
                behind += i32::from(point);
                value = value.checked_mul(10)?.checked_add(i128::from(byte - b'0'))?;
            }
            b'.' if !point => point = true,
            _ => return None,
        }
    }
    let mut shift = i32::from(scale) + exponent - behind;
    while value != 0 && shift > 0 {
        value = value.checked_mul(10)?;
        shift -= 1;
    }
    while value != 0 && shift < 0 {
        if value % 10 != 0 {
            return None;
        }
        value /= 10;
        shift += 1;
    }
    let limit = 10i128.checked_pow(precision.into())?;
    (seen && value < limit).then_some(if negative { -value } else { value })
}

fn hex(digits: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| (byte as char).to_digit(16);
    let pairs = digits.chunks(2);
    pairs
        .map(|pair| match pair {
            [high, low] => Some((digit(*high)? * 16 + digit(*low)?) as u8),
            _ => None,
        })
        .collect()
}

fn uuid(text: &[u8]) -> Option<[u8; 16]> {
    let plain: Vec<u8> = text.iter().copied().filter(|byte| *byte != b'-').collect();
    let hyphens = text.len() - plain.len();
    let placed = [8, 13, 18, 23].iter().all(|at| text.get(*at) == Some(&b'-'));
    if !(hyphens == 0 || (hyphens == 4 && placed)) {
        return None;
    }
    hex(&plain)?.try_into().ok()
}
