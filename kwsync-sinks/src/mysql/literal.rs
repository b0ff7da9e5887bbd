//! Values as literals of SQL, exactly as a column can hold them, or not at all.

use std::io::Write;

use kwsync_core::system::mysql::catalog::CatalogColumn;
use kwsync_core::{DataType, TimeUnit, Value};

/// What a column can hold.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Target {
    /// From the least to the greatest.
    Int(i128, i128),
    Float,
    Double,
    /// Digits in all and behind the point.
    Decimal(u16, i16),
    Bit,
    /// Text of so many characters.
    Text(Option<u64>),
    Bytes,
    Date,
    /// With so many digits of the second.
    DateTime(u32),
    Time(u32),
    Uuid,
    Geometry,
}

/// Why a value cannot be had.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) code: &'static str,
    pub(super) reason: String,
}

fn fault(code: &'static str, reason: impl Into<String>) -> Fault {
    Fault { code, reason: reason.into() }
}

/// Microseconds that a time column can hold: 838:59:59.
const MAX_TIME: i64 = 3_020_399 * 1_000_000 + 999_999;

impl Target {
    pub(super) fn of(column: &CatalogColumn) -> Self {
        let bits = match column.type_name.as_str() {
            "tinyint" => 8,
            "smallint" => 16,
            "mediumint" => 24,
            "int" => 32,
            "bigint" => 64,
            _ => 0,
        };
        if bits > 0 {
            let all = 1_i128 << bits;
            return if column.is_unsigned() {
                Self::Int(0, all - 1)
            } else {
                Self::Int(-all / 2, all / 2 - 1)
            };
        }
        match column.type_name.as_str() {
            "year" => Self::Int(0, 2155),
            "float" => Self::Float,
            "double" | "real" => Self::Double,
            "decimal" | "numeric" => Self::Decimal(column.precision.unwrap_or(10), column.scale.unwrap_or(0)),
            "bit" => Self::Bit,
            "char" | "varchar" => Self::Text(column.length),
            "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => Self::Bytes,
            "date" => Self::Date,
            "datetime" | "timestamp" => Self::DateTime(column.second_digits),
            "time" => Self::Time(column.second_digits),
            "uuid" => Self::Uuid,
            _ if column.declared == Some(DataType::Geometry) => Self::Geometry,
            _ => Self::Text(None),
        }
    }

    /// Whether there is an exact way from a type, though not for each value.
    pub(super) fn takes(&self, from: &DataType) -> bool {
        use DataType as T;
        let integer = matches!(
            from,
            T::Bool | T::Int8 | T::Int16 | T::Int32 | T::Int64 | T::UInt8 | T::UInt16 | T::UInt32 | T::UInt64
        );
        let float = matches!(from, T::Float32 | T::Float64);
        let decimal = matches!(from, T::Numeric(_) | T::Money);
        let text = from.to_arrow() == kwsync_core::arrow::schema::DataType::Utf8View;
        match self {
            Self::Int(..) => integer || decimal || float,
            Self::Float | Self::Double => integer || float,
            Self::Decimal(..) => integer || decimal || float,
            Self::Bit => matches!(from, T::Bit(_) | T::VarBit(_)),
            Self::Text(_) => text || matches!(from, T::Uuid | T::Array(_) | T::Interval),
            Self::Bytes => matches!(from, T::Bytes | T::VarBytes(_) | T::Uuid),
            Self::Date => *from == T::Date,
            Self::DateTime(_) => matches!(from, T::Date | T::Timestamp(_) | T::TimestampTz(_)),
            Self::Time(_) => matches!(from, T::Time(_) | T::Interval),
            Self::Uuid => text || *from == T::Uuid,
            Self::Geometry => text,
        }
    }

    /// Appends a value; true where something was cut off, as `truncate` allows. After a fault `out` may hold a part of it.
    pub(super) fn write(
        &self,
        value: &Value<'_>,
        data_type: &DataType,
        truncate: bool,
        out: &mut Vec<u8>,
    ) -> Result<bool, Fault> {
        match (self, value) {
            (_, Value::Null) => put(out, format_args!("NULL")),
            (Self::Int(min, max), value) => {
                let number = integer(value)
                    .ok_or_else(|| fault("not_an_integer", format!("{value} is no whole number")))?;
                if !(*min..=*max).contains(&number) {
                    return Err(fault("integer_overflow", format!("{number} is not within {min} and {max}")));
                }
                put(out, format_args!("{number}"));
            }
            (Self::Float | Self::Double, value) => float(value, *self == Self::Float, out)?,
            (Self::Decimal(precision, scale), value) => decimal(value, *precision, *scale, out)?,
            (Self::Bit, Value::Text(bits)) => put(out, format_args!("b'{bits}'")),
            (Self::Bytes, Value::Bytes(bytes)) => hex(bytes, out),
            (Self::Uuid | Self::Text(_), Value::Bytes(bytes)) => {
                let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                let part = |range| digits.get(range).unwrap_or_default();
                let text = [part(0..8), part(8..12), part(12..16), part(16..20), part(20..32)].join("-");
                put(out, format_args!("'{text}'"));
            }
            (Self::Text(length), value) => {
                let list;
                let text: &str = match value {
                    Value::Text(text) => text,
                    Value::List(_) => {
                        list = json(value);
                        &list
                    }
                    other => {
                        list = other.to_string();
                        &list
                    }
                };
                let padded = matches!(data_type, DataType::Char(_) | DataType::NChar(_));
                let text = if padded { text.trim_end_matches(' ') } else { text };
                if let Some(length) = length.filter(|length| text.chars().count() as u64 > *length) {
                    let count = text.chars().count();
                    return Err(fault(
                        "text_too_long",
                        format!("{count} characters where the column takes {length}"),
                    ));
                }
                quoted(text, out);
            }
            (Self::Uuid, Value::Text(text)) => quoted(text, out),
            (Self::Geometry, Value::Text(text)) => {
                out.extend_from_slice(b"ST_GeomFromText(");
                quoted(text, out);
                out.push(b')');
            }
            (Self::Date, Value::Date(days)) => date(i64::from(*days), out)?,
            (Self::DateTime(_), Value::Date(days)) => date(i64::from(*days), out)?,
            (Self::DateTime(digits), Value::Timestamp(at, unit, _)) => {
                let day = 86_400 * (1_000_000_000 / unit.nanos());
                date(at.div_euclid(day), out)?;
                // The literal's closing quote makes room for the time.
                out.pop();
                out.push(b' ');
                let cut = time(at.rem_euclid(day), *unit, *digits, truncate, out)?;
                out.push(b'\'');
                return Ok(cut);
            }
            (Self::Time(digits), Value::Time(at, unit)) => {
                out.push(b'\'');
                let cut = time(*at, *unit, *digits, truncate, out)?;
                out.push(b'\'');
                return Ok(cut);
            }
            (Self::Time(digits), Value::Interval(months, days, nanos)) => {
                let total = i64::from(*days)
                    .checked_mul(86_400_000_000_000)
                    .and_then(|days| days.checked_add(*nanos));
                let total = total.filter(|total| *months == 0 && total.abs() / 1_000 <= MAX_TIME);
                let total = total.ok_or_else(|| {
                    fault(
                        "time_out_of_range",
                        format!("{value} is not within 838:59:59 on either side of zero"),
                    )
                })?;
                out.push(b'\'');
                if total < 0 {
                    out.push(b'-');
                }
                let size = i64::try_from(total.unsigned_abs()).unwrap_or(i64::MAX);
                let cut = time(size, TimeUnit::Nanosecond, *digits, truncate, out)?;
                out.push(b'\'');
                return Ok(cut);
            }
            (_, other) => {
                return Err(fault("bad_value", format!("{other} is no value of the column's type")));
            }
        }
        Ok(false)
    }
}

fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // Writing to a Vec does not fail.
    out.write_fmt(text).unwrap_or_default();
}

/// The whole number that a value is.
fn integer(value: &Value<'_>) -> Option<i128> {
    match value {
        Value::Bool(is) => Some((*is).into()),
        Value::Int(number) => Some((*number).into()),
        Value::UInt(number) => Some((*number).into()),
        Value::Float32(number) => whole(f64::from(*number)),
        Value::Float64(number) => whole(*number),
        Value::Decimal(..) | Value::Text(_) => {
            let text = value.to_string();
            let (whole, part) = text.split_once('.').unwrap_or((&text, ""));
            part.bytes().all(|digit| digit == b'0').then(|| whole.parse().ok()).flatten()
        }
        _ => None,
    }
}

fn whole(number: f64) -> Option<i128> {
    (number.fract() == 0.0 && number.abs() < 1e30).then_some(number as i128)
}

fn float(value: &Value<'_>, single: bool, out: &mut Vec<u8>) -> Result<(), Fault> {
    let not_exact = |text: String| fault("float_precision", format!("{text} is not exact as a float"));
    let number = match value {
        // With the digits of a double, as which the server reads it first.
        Value::Float32(number) => f64::from(*number),
        Value::Float64(number) => *number,
        other => {
            let exact = integer(other).ok_or_else(|| not_exact(other.to_string()))?;
            let number = exact as f64;
            if number as i128 != exact {
                return Err(not_exact(exact.to_string()));
            }
            number
        }
    };
    if !number.is_finite() {
        return Err(fault("float_not_finite", format!("the server has no {number}")));
    }
    if single && f64::from(number as f32) != number {
        return Err(not_exact(number.to_string()));
    }
    put(out, format_args!("{number:e}"));
    Ok(())
}

fn decimal(value: &Value<'_>, precision: u16, scale: i16, out: &mut Vec<u8>) -> Result<(), Fault> {
    let text = match value {
        // The shortest decimal that reads back the same.
        Value::Float32(number) => number.to_string(),
        Value::Float64(number) => number.to_string(),
        Value::Bool(is) => u8::from(*is).to_string(),
        other => other.to_string(),
    };
    let digits = text.strip_prefix('-').unwrap_or(&text);
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let numeric = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !numeric(whole) || !numeric(part) {
        return Err(fault("bad_numeric", format!("{text:?} is no decimal")));
    }
    let part = part.trim_end_matches('0');
    if part.len() > usize::from(scale.unsigned_abs()) {
        let reason = format!("{text} has more than {scale} digits behind the point");
        return Err(fault("numeric_scale", reason));
    }
    let room = usize::from(precision).saturating_sub(usize::from(scale.unsigned_abs()));
    if whole.trim_start_matches('0').len() > room {
        return Err(fault(
            "numeric_overflow",
            format!("{text} has more than {room} digits before the point"),
        ));
    }
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

fn hex(bytes: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.extend_from_slice(b"x'");
    for byte in bytes {
        out.extend([DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
    out.push(b'\'');
}

/// Text in quotes. The session's `sql_mode` is ours, and gives the backslash its meaning.
fn quoted(text: &str, out: &mut Vec<u8>) {
    out.push(b'\'');
    for byte in text.bytes() {
        match byte {
            b'\'' => out.extend_from_slice(b"''"),
            b'\\' => out.extend_from_slice(b"\\\\"),
            0 => out.extend_from_slice(b"\\0"),
            other => out.push(other),
        }
    }
    out.push(b'\'');
}

/// `'2024-02-29'`, by the calendar of the proleptic Gregorian years 0 to 9999.
fn date(days: i64, out: &mut Vec<u8>) -> Result<(), Fault> {
    let text = i32::try_from(days).map(|days| Value::Date(days).to_string()).unwrap_or_default();
    // Years beyond four digits, and those before the year 0, have another length.
    if text.len() != 10 || text.starts_with('-') || text.starts_with("0000") {
        return Err(fault("date_out_of_range", format!("{text} is not within the years 1 and 9999")));
    }
    put(out, format_args!("'{text}'"));
    Ok(())
}

/// `12:30:00.5`, with as many digits as the column has; true where something was cut off.
fn time(at: i64, unit: TimeUnit, digits: u32, truncate: bool, out: &mut Vec<u8>) -> Result<bool, Fault> {
    let second = 1_000_000_000 / unit.nanos();
    let (seconds, part) = (at / second, at % second * unit.nanos());
    put(out, format_args!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60));
    let kept = 10_i64.pow(9 - digits.min(9));
    let cut = part % kept != 0;
    if cut && !truncate {
        let reason = format!(
            "the column keeps {digits} digits of the second; timestamp_ns=truncate cuts the rest off"
        );
        return Err(fault("timestamp_precision", reason));
    }
    if digits > 0 {
        put(out, format_args!(".{:0width$}", part / kept, width = digits as usize));
    }
    Ok(cut)
}

/// A list as JSON.
fn json(value: &Value<'_>) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::List(items) => format!("[{}]", items.iter().map(json).collect::<Vec<_>>().join(",")),
        Value::Bool(_) | Value::Int(_) | Value::UInt(_) => value.to_string(),
        Value::Float32(number) if number.is_finite() => number.to_string(),
        Value::Float64(number) if number.is_finite() => number.to_string(),
        other => serde_json::Value::from(other.to_string()).to_string(),
    }
}
