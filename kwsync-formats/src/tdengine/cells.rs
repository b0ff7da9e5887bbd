//! The values of a column, whose type is looked at once and not for each row.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow_array::{
    Array, BooleanArray, Float32Array, Float64Array, Int8Array, Int16Array, Int32Array, Int64Array,
    StringArray, StringViewArray, UInt8Array, UInt16Array, UInt32Array, UInt64Array,
};
use arrow_schema::{DataType as Arrow, TimeUnit as ArrowUnit};
use kwsync_core::{Result, TimeUnit, Value};

/// A column of a batch.
pub(super) enum Cells<'a> {
    Bool(&'a BooleanArray),
    Int8(&'a Int8Array),
    Int16(&'a Int16Array),
    Int32(&'a Int32Array),
    Int64(&'a Int64Array),
    UInt8(&'a UInt8Array),
    UInt16(&'a UInt16Array),
    UInt32(&'a UInt32Array),
    UInt64(&'a UInt64Array),
    Float32(&'a Float32Array),
    Float64(&'a Float64Array),
    Time(&'a dyn Array, &'a [i64], TimeUnit, bool),
    Text(&'a StringArray),
    View(&'a StringViewArray),
    Other(&'a dyn Array),
}

impl<'a> Cells<'a> {
    pub(super) fn of(array: &'a dyn Array) -> Self {
        match array.data_type() {
            Arrow::Boolean => Self::Bool(array.as_boolean()),
            Arrow::Int8 => Self::Int8(array.as_primitive::<Int8Type>()),
            Arrow::Int16 => Self::Int16(array.as_primitive::<Int16Type>()),
            Arrow::Int32 => Self::Int32(array.as_primitive::<Int32Type>()),
            Arrow::Int64 => Self::Int64(array.as_primitive::<Int64Type>()),
            Arrow::UInt8 => Self::UInt8(array.as_primitive::<UInt8Type>()),
            Arrow::UInt16 => Self::UInt16(array.as_primitive::<UInt16Type>()),
            Arrow::UInt32 => Self::UInt32(array.as_primitive::<UInt32Type>()),
            Arrow::UInt64 => Self::UInt64(array.as_primitive::<UInt64Type>()),
            Arrow::Float32 => Self::Float32(array.as_primitive::<Float32Type>()),
            Arrow::Float64 => Self::Float64(array.as_primitive::<Float64Type>()),
            Arrow::Timestamp(unit, zone) => {
                let values: &[i64] = match unit {
                    ArrowUnit::Second => array.as_primitive::<TimestampSecondType>().values(),
                    ArrowUnit::Millisecond => array.as_primitive::<TimestampMillisecondType>().values(),
                    ArrowUnit::Microsecond => array.as_primitive::<TimestampMicrosecondType>().values(),
                    ArrowUnit::Nanosecond => array.as_primitive::<TimestampNanosecondType>().values(),
                };
                Self::Time(array, values, (*unit).into(), zone.is_some())
            }
            Arrow::Utf8 => Self::Text(array.as_string::<i32>()),
            Arrow::Utf8View => Self::View(array.as_string_view()),
            _ => Self::Other(array),
        }
    }

    /// The value of a row.
    pub(super) fn get(&self, row: usize) -> Result<Value<'a>> {
        macro_rules! cell {
            ($array:expr, $make:expr) => {
                if $array.is_null(row) { Value::Null } else { $make($array.value(row)) }
            };
        }
        Ok(match self {
            Self::Bool(array) => cell!(array, Value::Bool),
            Self::Int8(array) => cell!(array, |value: i8| Value::Int(value.into())),
            Self::Int16(array) => cell!(array, |value: i16| Value::Int(value.into())),
            Self::Int32(array) => cell!(array, |value: i32| Value::Int(value.into())),
            Self::Int64(array) => cell!(array, Value::Int),
            Self::UInt8(array) => cell!(array, |value: u8| Value::UInt(value.into())),
            Self::UInt16(array) => cell!(array, |value: u16| Value::UInt(value.into())),
            Self::UInt32(array) => cell!(array, |value: u32| Value::UInt(value.into())),
            Self::UInt64(array) => cell!(array, Value::UInt),
            Self::Float32(array) => cell!(array, Value::Float32),
            Self::Float64(array) => cell!(array, Value::Float64),
            Self::Time(array, ..) if array.is_null(row) => Value::Null,
            Self::Time(_, values, unit, zoned) => Value::Timestamp(values[row], *unit, *zoned),
            Self::Text(array) => cell!(array, |text: &'a str| Value::Text(text.into())),
            Self::View(array) => cell!(array, |text: &'a str| Value::Text(text.into())),
            Self::Other(array) => Value::of(*array, row)?,
        })
    }

    /// The most bytes, or characters, of a text in it; none where it holds no texts.
    pub(super) fn longest(&self, characters: bool) -> Option<usize> {
        let length = |text: &str| if characters { text.chars().count() } else { text.len() };
        match self {
            Self::Text(array) => array.iter().flatten().map(length).max(),
            Self::View(array) => array.iter().flatten().map(length).max(),
            Self::Other(array) => {
                let texts = (0..array.len()).filter_map(|row| match Value::of(*array, row) {
                    Ok(Value::Text(text)) => Some(length(&text)),
                    Ok(Value::Bytes(bytes)) => Some(bytes.len()),
                    Ok(Value::Null) | Err(_) => None,
                    Ok(other) => Some(other.to_string().len()),
                });
                texts.max()
            }
            _ => None,
        }
    }
}
