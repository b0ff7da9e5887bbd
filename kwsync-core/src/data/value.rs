//! One value, out of an array or on its way into one.

use std::borrow::Cow;
use std::fmt;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Decimal256Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, IntervalMonthDayNanoType, Time32MillisecondType, Time32SecondType, Time64MicrosecondType,
    Time64NanosecondType, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, downcast_dictionary_array};
use arrow_buffer::i256;
use arrow_schema::{DataType as Arrow, TimeUnit as ArrowUnit};

use super::TimeUnit;
use crate::{Error, ErrorKind, Result};

/// One value of a row. Text and bytes are borrowed from the batch where it has them.
///
/// `Display` writes the exact value: integers and decimals with all digits, floats with the fewest digits that
/// read back the same, timestamps as RFC 3339.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// No value.
    Null,
    /// True or false.
    Bool(bool),
    /// Any signed integer.
    Int(i64),
    /// Any unsigned integer.
    UInt(u64),
    /// Single precision.
    Float32(f32),
    /// Double precision.
    Float64(f64),
    /// An exact decimal: digits, and how many stand behind the point.
    Decimal(i256, i8),
    /// Text of any kind.
    Text(Cow<'a, str>),
    /// Bytes of any kind, UUIDs among them.
    Bytes(Cow<'a, [u8]>),
    /// Days since 1970-01-01.
    Date(i32),
    /// Time of day.
    Time(i64, TimeUnit),
    /// Units since 1970-01-01 00:00; `true` for a point in time (UTC), `false` for local time.
    Timestamp(i64, TimeUnit, bool),
    /// Months, days, nanoseconds.
    Interval(i32, i32, i64),
    /// A list.
    List(Vec<Self>),
}

impl<'a> Value<'a> {
    /// The value at `row` of an array in any encoding that [`DataType`](super::DataType) knows.
    ///
    /// # Errors
    /// `Unsupported` for other Arrow types.
    ///
    /// # Panics
    /// When `row` is outside the array.
    pub fn of(array: &'a dyn Array, row: usize) -> Result<Self> {
        if array.is_null(row) {
            return Ok(Self::Null);
        }
        Ok(match array.data_type() {
            Arrow::Null => Self::Null,
            Arrow::Boolean => Self::Bool(array.as_boolean().value(row)),
            Arrow::Int8 => Self::Int(array.as_primitive::<Int8Type>().value(row).into()),
            Arrow::Int16 => Self::Int(array.as_primitive::<Int16Type>().value(row).into()),
            Arrow::Int32 => Self::Int(array.as_primitive::<Int32Type>().value(row).into()),
            Arrow::Int64 => Self::Int(array.as_primitive::<Int64Type>().value(row)),
            Arrow::UInt8 => Self::UInt(array.as_primitive::<UInt8Type>().value(row).into()),
            Arrow::UInt16 => Self::UInt(array.as_primitive::<UInt16Type>().value(row).into()),
            Arrow::UInt32 => Self::UInt(array.as_primitive::<UInt32Type>().value(row).into()),
            Arrow::UInt64 => Self::UInt(array.as_primitive::<UInt64Type>().value(row)),
            Arrow::Float32 => Self::Float32(array.as_primitive::<Float32Type>().value(row)),
            Arrow::Float64 => Self::Float64(array.as_primitive::<Float64Type>().value(row)),
            Arrow::Decimal128(_, scale) => {
                Self::Decimal(i256::from_i128(array.as_primitive::<Decimal128Type>().value(row)), *scale)
            }
            Arrow::Decimal256(_, scale) => {
                Self::Decimal(array.as_primitive::<Decimal256Type>().value(row), *scale)
            }
            Arrow::Utf8 => Self::Text(array.as_string::<i32>().value(row).into()),
            Arrow::LargeUtf8 => Self::Text(array.as_string::<i64>().value(row).into()),
            Arrow::Utf8View => Self::Text(array.as_string_view().value(row).into()),
            Arrow::Binary => Self::Bytes(array.as_binary::<i32>().value(row).into()),
            Arrow::LargeBinary => Self::Bytes(array.as_binary::<i64>().value(row).into()),
            Arrow::BinaryView => Self::Bytes(array.as_binary_view().value(row).into()),
            Arrow::FixedSizeBinary(_) => Self::Bytes(array.as_fixed_size_binary().value(row).into()),
            Arrow::Date32 => Self::Date(array.as_primitive::<Date32Type>().value(row)),
            Arrow::Time32(ArrowUnit::Second) => {
                Self::Time(array.as_primitive::<Time32SecondType>().value(row).into(), TimeUnit::Second)
            }
            Arrow::Time32(_) => Self::Time(
                array.as_primitive::<Time32MillisecondType>().value(row).into(),
                TimeUnit::Millisecond,
            ),
            Arrow::Time64(ArrowUnit::Microsecond) => {
                Self::Time(array.as_primitive::<Time64MicrosecondType>().value(row), TimeUnit::Microsecond)
            }
            Arrow::Time64(_) => {
                Self::Time(array.as_primitive::<Time64NanosecondType>().value(row), TimeUnit::Nanosecond)
            }
            Arrow::Timestamp(unit, zone) => {
                let value = match unit {
                    ArrowUnit::Second => array.as_primitive::<TimestampSecondType>().value(row),
                    ArrowUnit::Millisecond => array.as_primitive::<TimestampMillisecondType>().value(row),
                    ArrowUnit::Microsecond => array.as_primitive::<TimestampMicrosecondType>().value(row),
                    ArrowUnit::Nanosecond => array.as_primitive::<TimestampNanosecondType>().value(row),
                };
                Self::Timestamp(value, (*unit).into(), zone.is_some())
            }
            Arrow::Interval(arrow_schema::IntervalUnit::MonthDayNano) => {
                let value = array.as_primitive::<IntervalMonthDayNanoType>().value(row);
                Self::Interval(value.months, value.days, value.nanoseconds)
            }
            Arrow::Dictionary(_, _) => {
                return downcast_dictionary_array!(
                    array => match array.key(row) {
                        Some(key) => Self::of(array.values().as_ref(), key),
                        None => Ok(Self::Null),
                    },
                    other => Err(no_such_value(other))
                );
            }
            Arrow::List(_) => {
                let list = array.as_list::<i32>();
                let (from, to) = (list.value_offsets()[row] as usize, list.value_offsets()[row + 1] as usize);
                Self::List((from..to).map(|at| Self::of(list.values().as_ref(), at)).collect::<Result<_>>()?)
            }
            Arrow::LargeList(_) => {
                let list = array.as_list::<i64>();
                let (from, to) = (list.value_offsets()[row] as usize, list.value_offsets()[row + 1] as usize);
                Self::List((from..to).map(|at| Self::of(list.values().as_ref(), at)).collect::<Result<_>>()?)
            }
            other => return Err(no_such_value(other)),
        })
    }

    /// Whether it is null.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The value as JSON. Numbers that JSON readers would round (integers and decimals are safe as text of
    /// digits) stay numbers; NaN, infinities, bytes and times become strings.
    pub fn to_json(&self) -> serde_json::Value {
        use serde_json::Value as Json;
        match self {
            Self::Null => Json::Null,
            Self::Bool(value) => Json::Bool(*value),
            Self::Int(value) => Json::from(*value),
            Self::UInt(value) => Json::from(*value),
            Self::Float32(value) if value.is_finite() => {
                serde_json::from_str(&value.to_string()).unwrap_or_else(|_| Json::String(value.to_string()))
            }
            Self::Float64(value) if value.is_finite() => Json::from(*value),
            Self::List(items) => Json::Array(items.iter().map(Self::to_json).collect()),
            other => Json::String(other.to_string()),
        }
    }

    /// The same value, owning its text and bytes.
    pub fn into_owned(self) -> Value<'static> {
        match self {
            Self::Text(text) => Value::Text(Cow::Owned(text.into_owned())),
            Self::Bytes(bytes) => Value::Bytes(Cow::Owned(bytes.into_owned())),
            Self::List(items) => Value::List(items.into_iter().map(Value::into_owned).collect()),
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Bool(value),
            Self::Int(value) => Value::Int(value),
            Self::UInt(value) => Value::UInt(value),
            Self::Float32(value) => Value::Float32(value),
            Self::Float64(value) => Value::Float64(value),
            Self::Decimal(value, scale) => Value::Decimal(value, scale),
            Self::Date(days) => Value::Date(days),
            Self::Time(value, unit) => Value::Time(value, unit),
            Self::Timestamp(value, unit, zoned) => Value::Timestamp(value, unit, zoned),
            Self::Interval(months, days, nanos) => Value::Interval(months, days, nanos),
        }
    }
}

fn no_such_value(arrow: &Arrow) -> Error {
    Error::new(ErrorKind::Unsupported, format!("values of the Arrow type {arrow} cannot be read"))
}

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Int(value) => write!(f, "{value}"),
            Self::UInt(value) => write!(f, "{value}"),
            Self::Float32(value) => write!(f, "{value}"),
            Self::Float64(value) => write!(f, "{value}"),
            Self::Decimal(value, scale) => f.write_str(&decimal(&value.to_string(), *scale)),
            Self::Text(text) => f.write_str(text),
            Self::Bytes(bytes) => {
                f.write_str("\\x")?;
                bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
            Self::Date(days) => date(f, i64::from(*days)),
            Self::Time(value, unit) => time_of_day(f, *value, *unit),
            Self::Timestamp(value, unit, zoned) => {
                let day = 86_400 * (1_000_000_000 / unit.nanos());
                date(f, value.div_euclid(day))?;
                f.write_str("T")?;
                time_of_day(f, value.rem_euclid(day), *unit)?;
                f.write_str(if *zoned { "Z" } else { "" })
            }
            Self::Interval(months, days, nanos) => write!(f, "{months} mons {days} days {nanos} ns"),
            Self::List(items) => {
                f.write_str("{")?;
                for (index, item) in items.iter().enumerate() {
                    let comma = if index > 0 { "," } else { "" };
                    write!(f, "{comma}{item}")?;
                }
                f.write_str("}")
            }
        }
    }
}

/// Puts the point into a string of digits.
fn decimal(digits: &str, scale: i8) -> String {
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits), |rest| ("-", rest));
    if scale <= 0 {
        let zeros = if digits == "0" { 0 } else { usize::from(scale.unsigned_abs()) };
        return format!("{sign}{digits}{}", "0".repeat(zeros));
    }
    let scale = scale as usize;
    let padded = format!("{digits:0>width$}", width = scale + 1);
    let (whole, part) = padded.split_at(padded.len() - scale);
    format!("{sign}{whole}.{part}")
}

/// The year, month and day that lie so many days behind 1970-01-01 in the proleptic Gregorian calendar, after Howard Hinnant's
/// `civil_from_days`. For days that are not within some millions of years it means nothing.
///
/// # Examples
/// ```
/// assert_eq!(kwsync_core::civil_date(19_782), (2024, 2, 29));
/// ```
pub fn civil_date(days: i64) -> (i64, u8, u8) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month as u8, day as u8)
}

fn date(f: &mut fmt::Formatter<'_>, days: i64) -> fmt::Result {
    let (year, month, day) = civil_date(days);
    let sign = if year < 0 { "-" } else { "" };
    write!(f, "{sign}{:04}-{month:02}-{day:02}", year.abs())
}

fn time_of_day(f: &mut fmt::Formatter<'_>, value: i64, unit: TimeUnit) -> fmt::Result {
    let per_second = 1_000_000_000 / unit.nanos();
    let (seconds, part) = (value.div_euclid(per_second), value.rem_euclid(per_second));
    write!(f, "{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)?;
    match unit {
        TimeUnit::Second => Ok(()),
        TimeUnit::Millisecond => write!(f, ".{part:03}"),
        TimeUnit::Microsecond => write!(f, ".{part:06}"),
        TimeUnit::Nanosecond => write!(f, ".{part:09}"),
    }
}
