//! The values of a column, read from whatever encoding the column lies in.

use std::ops::Range;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type,
    UInt64Type,
};
use arrow_array::{Array, BooleanArray, LargeStringArray, StringArray, StringViewArray};
use arrow_buffer::NullBuffer;
use arrow_schema::DataType as Arrow;

use super::put;

/// One column, its type looked at once.
pub(super) struct Cells<'a> {
    nulls: Option<&'a NullBuffer>,
    values: Values<'a>,
}

enum Values<'a> {
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
    Float64(&'a [f64], put::Floats),
    Text(&'a StringArray),
    LargeText(&'a LargeStringArray),
    TextView(&'a StringViewArray),
    Dictionary { keys: Vec<usize>, values: Box<Cells<'a>> },
}

/// Why a value cannot be written.
pub(super) type Fault = &'static str;

pub(super) const NOT_FINITE: Fault = "is not finite, and line protocol has no NaN or infinity";

impl<'a> Cells<'a> {
    /// `None` for types that line protocol does not have.
    pub(super) fn new(array: &'a dyn Array) -> Option<Self> {
        let values = match array.data_type() {
            Arrow::Boolean => Values::Bool(array.as_boolean()),
            Arrow::Int8 => Values::Int8(array.as_primitive::<Int8Type>().values()),
            Arrow::Int16 => Values::Int16(array.as_primitive::<Int16Type>().values()),
            Arrow::Int32 => Values::Int32(array.as_primitive::<Int32Type>().values()),
            Arrow::Int64 => Values::Int64(array.as_primitive::<Int64Type>().values()),
            Arrow::UInt8 => Values::UInt8(array.as_primitive::<UInt8Type>().values()),
            Arrow::UInt16 => Values::UInt16(array.as_primitive::<UInt16Type>().values()),
            Arrow::UInt32 => Values::UInt32(array.as_primitive::<UInt32Type>().values()),
            Arrow::UInt64 => Values::UInt64(array.as_primitive::<UInt64Type>().values()),
            Arrow::Float32 => Values::Float32(array.as_primitive::<Float32Type>().values()),
            Arrow::Float64 => {
                Values::Float64(array.as_primitive::<Float64Type>().values(), put::Floats::default())
            }
            Arrow::Utf8 => Values::Text(array.as_string()),
            Arrow::LargeUtf8 => Values::LargeText(array.as_string()),
            Arrow::Utf8View => Values::TextView(array.as_string_view()),
            Arrow::Dictionary(..) => {
                let dictionary = array.as_any_dictionary();
                if dictionary.values().is_empty() {
                    Values::Null
                } else {
                    let values = Box::new(Self::new(dictionary.values())?);
                    Values::Dictionary { keys: dictionary.normalized_keys(), values }
                }
            }
            _ if array.null_count() == array.len() || array.data_type() == &Arrow::Null => Values::Null,
            _ => return None,
        };
        Some(Self { nulls: array.nulls(), values })
    }

    /// The bytes of the longest text that one of these rows may hold; 0 where there is none.
    pub(super) fn longest_text(&self, rows: Range<usize>) -> usize {
        let longest = match &self.values {
            Values::Text(values) => rows.map(|row| values.value_length(row) as usize).max(),
            Values::LargeText(values) => rows.map(|row| values.value_length(row) as usize).max(),
            // What is so short lies in the view itself.
            Values::TextView(values) if values.data_buffers().is_empty() => Some(12),
            Values::TextView(values) => values.views()[rows].iter().map(|view| *view as u32 as usize).max(),
            Values::Dictionary { keys, values } => {
                keys[rows].iter().map(|key| values.longest_text(*key..key + 1)).max()
            }
            _ => None,
        };
        longest.unwrap_or_default()
    }

    /// Whether the value of a row is null.
    #[inline(always)]
    pub(super) fn is_null(&self, row: usize) -> bool {
        if self.nulls.is_some_and(|nulls| nulls.is_null(row)) {
            return true;
        }
        match &self.values {
            Values::Null => true,
            Values::Dictionary { keys, values } => keys.get(row).is_none_or(|key| values.is_null(*key)),
            _ => false,
        }
    }

    /// Writes the value of a row, which is not null, as a tag's. Numbers and booleans as tags are text, so they have
    /// no suffix.
    #[inline(always)]
    pub(super) fn write_tag(&self, row: usize, buf: &mut [u8], at: usize) -> Result<usize, Fault> {
        if let Values::TextView(values) = &self.values {
            let view = values.views()[row];
            let len = view as u32 as usize;
            if len <= 12 {
                return put::short_tag(buf, at, (view >> 32).to_le_bytes(), len);
            }
        }
        self.write_rare_tag(row, buf, at)
    }

    #[inline(never)]
    fn write_rare_tag(&self, row: usize, buf: &mut [u8], at: usize) -> Result<usize, Fault> {
        match &self.values {
            Values::TextView(values) => put::tag(buf, at, values.value(row).as_bytes()),
            Values::Text(values) => put::tag(buf, at, values.value(row).as_bytes()),
            Values::LargeText(values) => put::tag(buf, at, values.value(row).as_bytes()),
            Values::Dictionary { keys, values } => match (keys.get(row), &values.values) {
                (Some(key), Values::Text(values)) => put::tag(buf, at, values.value(*key).as_bytes()),
                (Some(key), _) => values.write_rare_tag(*key, buf, at),
                _ => Ok(at),
            },
            _ => Ok(self.write_rare_field(row, buf, at)? - usize::from(self.is_integer())),
        }
    }

    const fn is_integer(&self) -> bool {
        matches!(
            self.values,
            Values::Int8(_)
                | Values::Int16(_)
                | Values::Int32(_)
                | Values::Int64(_)
                | Values::UInt8(_)
                | Values::UInt16(_)
                | Values::UInt32(_)
                | Values::UInt64(_)
        )
    }

    /// Writes the value of a row, which is not null, as a field's.
    #[inline(always)]
    pub(super) fn write_field(&self, row: usize, buf: &mut [u8], at: usize) -> Result<usize, Fault> {
        match &self.values {
            Values::Int64(values) => Ok(put::signed(buf, at, values[row], b'i')),
            Values::Float64(values, floats) => floats.write(buf, at, values[row]),
            Values::TextView(values) => {
                let view = values.views()[row];
                match view as u32 as usize {
                    len @ ..=12 => Ok(put::short_string(buf, at, (view >> 32).to_le_bytes(), len)),
                    _ => self.write_rare_field(row, buf, at),
                }
            }
            _ => self.write_rare_field(row, buf, at),
        }
    }

    #[inline(never)]
    fn write_rare_field(&self, row: usize, buf: &mut [u8], at: usize) -> Result<usize, Fault> {
        let at = match &self.values {
            Values::Null => at,
            Values::Bool(values) if values.value(row) => put::bytes(buf, at, b"true"),
            Values::Bool(_) => put::bytes(buf, at, b"false"),
            Values::Int8(values) => put::signed(buf, at, values[row].into(), b'i'),
            Values::Int16(values) => put::signed(buf, at, values[row].into(), b'i'),
            Values::Int32(values) => put::signed(buf, at, values[row].into(), b'i'),
            Values::Int64(values) => put::signed(buf, at, values[row], b'i'),
            Values::UInt8(values) => put::unsigned(buf, at, values[row].into(), b'u'),
            Values::UInt16(values) => put::unsigned(buf, at, values[row].into(), b'u'),
            Values::UInt32(values) => put::unsigned(buf, at, values[row].into(), b'u'),
            Values::UInt64(values) => put::unsigned(buf, at, values[row], b'u'),
            Values::Float32(values) => put::float(buf, at, values[row])?,
            Values::Float64(values, floats) => floats.write(buf, at, values[row])?,
            Values::Text(values) => put::string(buf, at, values.value(row).as_bytes()),
            Values::LargeText(values) => put::string(buf, at, values.value(row).as_bytes()),
            Values::TextView(values) => put::string(buf, at, values.value(row).as_bytes()),
            Values::Dictionary { keys, values } => {
                return keys.get(row).map_or(Ok(at), |key| values.write_rare_field(*key, buf, at));
            }
        };
        Ok(at)
    }
}
