//! The values of a column as JSON, read from whatever encoding the column lies in.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    IntervalMonthDayNanoType, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{
    Array, BinaryArray, BinaryViewArray, BooleanArray, FixedSizeBinaryArray, LargeBinaryArray,
    LargeStringArray, StringArray, StringViewArray,
};
use arrow_buffer::{IntervalMonthDayNano, NullBuffer};
use arrow_schema::{DataType as Arrow, IntervalUnit, TimeUnit};
use kwsync_core::{DataType, Result, Value};

use super::NonFinite;
use crate::interval::interval;
use crate::json::escape::write_string;

/// One column, its type looked at once.
pub(in crate::json) struct Cells<'a> {
    nulls: Option<&'a NullBuffer>,
    kind: Kind<'a>,
}

enum Kind<'a> {
    Null,
    Bool(&'a BooleanArray),
    Int8(&'a [i8]),
    Int16(&'a [i16]),
    Int32(&'a [i32]),
    Int64(&'a [i64]),
    UInt8(&'a [u8]),
    UInt16(&'a [u16]),
    UInt32(&'a [u32]),
    UInt64(&'a [u64]),
    Float32(&'a [f32]),
    Float64(&'a [f64]),
    Text(&'a StringArray),
    LargeText(&'a LargeStringArray),
    TextView(&'a StringViewArray),
    Bytes(&'a BinaryArray),
    LargeBytes(&'a LargeBinaryArray),
    BytesView(&'a BinaryViewArray),
    FixedBytes(&'a FixedSizeBinaryArray),
    Uuid(&'a FixedSizeBinaryArray),
    Date(&'a [i32]),
    Timestamp {
        values: &'a [i64],
        unit: TimeUnit,
        zoned: bool,
    },
    Interval(&'a [IntervalMonthDayNano]),
    Dictionary {
        keys: Vec<usize>,
        values: Box<Cells<'a>>,
    },
    List {
        offsets: Vec<usize>,
        items: Box<Cells<'a>>,
    },
    /// Rare types, by way of [`Value`].
    Other(&'a dyn Array),
}

impl<'a> Cells<'a> {
    pub(in crate::json) fn new(array: &'a dyn Array, data_type: &DataType) -> Result<Self> {
        let kind = match array.data_type() {
            Arrow::Null => Kind::Null,
            Arrow::Boolean => Kind::Bool(array.as_boolean()),
            Arrow::Int8 => Kind::Int8(array.as_primitive::<Int8Type>().values()),
            Arrow::Int16 => Kind::Int16(array.as_primitive::<Int16Type>().values()),
            Arrow::Int32 => Kind::Int32(array.as_primitive::<Int32Type>().values()),
            Arrow::Int64 => Kind::Int64(array.as_primitive::<Int64Type>().values()),
            Arrow::UInt8 => Kind::UInt8(array.as_primitive::<UInt8Type>().values()),
            Arrow::UInt16 => Kind::UInt16(array.as_primitive::<UInt16Type>().values()),
            Arrow::UInt32 => Kind::UInt32(array.as_primitive::<UInt32Type>().values()),
            Arrow::UInt64 => Kind::UInt64(array.as_primitive::<UInt64Type>().values()),
            Arrow::Float32 => Kind::Float32(array.as_primitive::<Float32Type>().values()),
            Arrow::Float64 => Kind::Float64(array.as_primitive::<Float64Type>().values()),
            Arrow::Utf8 => Kind::Text(array.as_string()),
            Arrow::LargeUtf8 => Kind::LargeText(array.as_string()),
            Arrow::Utf8View => Kind::TextView(array.as_string_view()),
            Arrow::Binary => Kind::Bytes(array.as_binary()),
            Arrow::LargeBinary => Kind::LargeBytes(array.as_binary()),
            Arrow::BinaryView => Kind::BytesView(array.as_binary_view()),
            Arrow::FixedSizeBinary(16) if *data_type == DataType::Uuid => {
                Kind::Uuid(array.as_fixed_size_binary())
            }
            Arrow::FixedSizeBinary(_) => Kind::FixedBytes(array.as_fixed_size_binary()),
            Arrow::Date32 => Kind::Date(array.as_primitive::<Date32Type>().values()),
            Arrow::Timestamp(unit, zone) => {
                let values = match unit {
                    TimeUnit::Second => array.as_primitive::<TimestampSecondType>().values(),
                    TimeUnit::Millisecond => array.as_primitive::<TimestampMillisecondType>().values(),
                    TimeUnit::Microsecond => array.as_primitive::<TimestampMicrosecondType>().values(),
                    TimeUnit::Nanosecond => array.as_primitive::<TimestampNanosecondType>().values(),
                };
                Kind::Timestamp { values, unit: *unit, zoned: zone.is_some() }
            }
            Arrow::Interval(IntervalUnit::MonthDayNano) => {
                Kind::Interval(array.as_primitive::<IntervalMonthDayNanoType>().values())
            }
            Arrow::Dictionary(_, _) => {
                let dictionary = array.as_any_dictionary();
                // Where there are no values every key is null, and no key is valid to ask for.
                let keys =
                    if dictionary.values().is_empty() { Vec::new() } else { dictionary.normalized_keys() };
                Kind::Dictionary { keys, values: Box::new(Self::new(dictionary.values(), data_type)?) }
            }
            Arrow::List(_) => {
                let list = array.as_list::<i32>();
                let offsets = list.value_offsets().iter().map(|offset| *offset as usize).collect();
                Kind::List { offsets, items: Box::new(Self::new(list.values(), item_type(data_type))?) }
            }
            Arrow::LargeList(_) => {
                let list = array.as_list::<i64>();
                let offsets = list.value_offsets().iter().map(|offset| *offset as usize).collect();
                Kind::List { offsets, items: Box::new(Self::new(list.values(), item_type(data_type))?) }
            }
            _ => {
                // Whether `Value` knows the type shows at the first value that is there.
                if let Some(row) = (0..array.len()).find(|row| array.is_valid(*row)) {
                    Value::of(array, row)?;
                }
                Kind::Other(array)
            }
        };
        Ok(Self { nulls: array.nulls(), kind })
    }

    pub(in crate::json) fn is_null(&self, row: usize) -> bool {
        if self.nulls.is_some_and(|nulls| nulls.is_null(row)) {
            return true;
        }
        match &self.kind {
            Kind::Null => true,
            Kind::Dictionary { keys, values } => keys.get(row).is_none_or(|key| values.is_null(*key)),
            _ => false,
        }
    }

    /// Appends the value of a row that is not null; false if it is not finite and must be.
    pub(in crate::json) fn write(&self, row: usize, non_finite: NonFinite, out: &mut Vec<u8>) -> bool {
        match &self.kind {
            Kind::Null => out.extend_from_slice(b"null"),
            Kind::Bool(values) => out.extend_from_slice(if values.value(row) { b"true" } else { b"false" }),
            Kind::Int8(values) => number(values[row], out),
            Kind::Int16(values) => number(values[row], out),
            Kind::Int32(values) => number(values[row], out),
            Kind::Int64(values) => number(values[row], out),
            Kind::UInt8(values) => number(values[row], out),
            Kind::UInt16(values) => number(values[row], out),
            Kind::UInt32(values) => number(values[row], out),
            Kind::UInt64(values) => number(values[row], out),
            Kind::Float32(values) if values[row].is_finite() => number(values[row], out),
            Kind::Float32(values) => return special(values[row].into(), non_finite, out),
            Kind::Float64(values) if values[row].is_finite() => number(values[row], out),
            Kind::Float64(values) => return special(values[row], non_finite, out),
            Kind::Text(values) => write_string(values.value(row), out),
            Kind::LargeText(values) => write_string(values.value(row), out),
            Kind::TextView(values) => write_string(values.value(row), out),
            Kind::Bytes(values) => bytes(values.value(row), out),
            Kind::LargeBytes(values) => bytes(values.value(row), out),
            Kind::BytesView(values) => bytes(values.value(row), out),
            Kind::FixedBytes(values) => bytes(values.value(row), out),
            Kind::Uuid(values) => uuid(values.value(row), out),
            Kind::Date(values) => {
                out.push(b'"');
                date(values[row].into(), out);
                out.push(b'"');
            }
            Kind::Timestamp { values, unit, zoned } => timestamp(values[row], *unit, *zoned, out),
            Kind::Interval(values) => {
                let IntervalMonthDayNano { months, days, nanoseconds } = values[row];
                write_string(&interval(months, days, nanoseconds), out);
            }
            Kind::Dictionary { keys, values } => return values.write(keys[row], non_finite, out),
            Kind::List { offsets, items } => {
                out.push(b'[');
                for item in offsets[row]..offsets[row + 1] {
                    if item > offsets[row] {
                        out.push(b',');
                    }
                    if items.is_null(item) {
                        out.extend_from_slice(b"null");
                    } else if !items.write(item, non_finite, out) {
                        return false;
                    }
                }
                out.push(b']');
            }
            Kind::Other(array) => match Value::of(*array, row) {
                Ok(value) => write_string(&value.to_string(), out),
                Err(_) => out.extend_from_slice(b"null"),
            },
        }
        true
    }
}

fn item_type(data_type: &DataType) -> &DataType {
    match data_type {
        DataType::Array(item) => item,
        other => other,
    }
}

/// Integers with all digits, floats with the fewest that read back the same.
fn number(value: impl serde::Serialize, out: &mut Vec<u8>) {
    // Writing a finite number to a vector cannot fail.
    serde_json::to_writer(out, &value).ok();
}

fn special(value: f64, policy: NonFinite, out: &mut Vec<u8>) -> bool {
    match policy {
        NonFinite::Reject => return false,
        NonFinite::Null => out.extend_from_slice(b"null"),
        NonFinite::Text if value.is_nan() => out.extend_from_slice(b"\"NaN\""),
        NonFinite::Text if value > 0.0 => out.extend_from_slice(b"\"Infinity\""),
        NonFinite::Text => out.extend_from_slice(b"\"-Infinity\""),
    }
    true
}

const HEX: &[u8; 16] = b"0123456789abcdef";

fn hex(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend(bytes.iter().flat_map(|byte| [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]));
}

fn bytes(value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"\"\\\\x");
    hex(value, out);
    out.push(b'"');
}

fn uuid(value: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let mut from = 0;
    for to in [4, 6, 8, 10, 16] {
        if from > 0 {
            out.push(b'-');
        }
        hex(&value[from..to], out);
        from = to;
    }
    out.push(b'"');
}

/// `digits` decimal digits of `value`.
fn digits(mut value: u64, digits: usize, out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + digits, b'0');
    for place in out[start..].iter_mut().rev() {
        *place = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

/// A day of the proleptic Gregorian calendar, after Howard Hinnant's `civil_from_days`.
fn date(days: i64, out: &mut Vec<u8>) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    if year < 0 {
        out.push(b'-');
    }
    if year.abs() <= 9_999 {
        digits(year.unsigned_abs(), 4, out);
    } else {
        number(year.unsigned_abs(), out);
    }
    out.push(b'-');
    digits(month.unsigned_abs(), 2, out);
    out.push(b'-');
    digits(day.unsigned_abs(), 2, out);
}

fn timestamp(value: i64, unit: TimeUnit, zoned: bool, out: &mut Vec<u8>) {
    let (per_second, places) = match unit {
        TimeUnit::Second => (1, 0),
        TimeUnit::Millisecond => (1_000, 3),
        TimeUnit::Microsecond => (1_000_000, 6),
        TimeUnit::Nanosecond => (1_000_000_000, 9),
    };
    let (seconds, part) = (value.div_euclid(per_second), value.rem_euclid(per_second).unsigned_abs());
    let (day, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400).unsigned_abs());
    out.push(b'"');
    date(day, out);
    out.push(b'T');
    digits(second / 3_600, 2, out);
    out.push(b':');
    digits(second / 60 % 60, 2, out);
    out.push(b':');
    digits(second % 60, 2, out);
    if places > 0 {
        out.push(b'.');
        digits(part, places, out);
    }
    if zoned {
        out.push(b'Z');
    }
    out.push(b'"');
}
