//! The values of a column, read from whatever encoding the column lies in.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type,
    UInt64Type,
};
use arrow_array::{Array, BooleanArray, LargeStringArray, StringArray, StringViewArray};
use arrow_buffer::NullBuffer;
use arrow_schema::DataType as Arrow;

use crate::influx::parse::Names;
use crate::influx::write::{
    name_fault, write_escaped, write_f64, write_float, write_i64, write_short, write_u64,
};

/// The values of a column, as tags or as fields.
pub(super) trait RowCells {
    /// Whether the value of a row is null.
    fn is_null(&self, row: usize) -> bool;
    /// Appends the value of a row, which is not null, as a tag's.
    fn write_tag(&self, row: usize, out: &mut Vec<u8>) -> Result<(), Fault>;
    /// Appends the value of a row, which is not null, as a field's.
    fn write_field(&self, row: usize, out: &mut Vec<u8>) -> Result<(), Fault>;
}

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
    Float64(&'a [f64]),
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
            Arrow::Float64 => Values::Float64(array.as_primitive::<Float64Type>().values()),
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

    /// Numbers and booleans as tags are text, so they have no suffix.
    #[inline(never)]
    fn write_rare_tag(&self, row: usize, out: &mut Vec<u8>) -> Result<(), Fault> {
        match &self.values {
            Values::TextView(values) => return tag(values.value(row), out),
            Values::LargeText(values) => return tag(values.value(row), out),
            Values::Dictionary { keys, values } => {
                return keys.get(row).map_or(Ok(()), |key| values.write_rare_tag(*key, out));
            }
            _ => self.write_field(row, out)?,
        }
        if self.is_integer() {
            out.pop();
        }
        Ok(())
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

    #[inline(never)]
    fn write_rare_field(&self, row: usize, out: &mut Vec<u8>) -> Result<(), Fault> {
        match &self.values {
            Values::Null => {}
            Values::Bool(values) => out.extend_from_slice(if values.value(row) { b"true" } else { b"false" }),
            Values::Int8(values) => signed(values[row].into(), out),
            Values::Int16(values) => signed(values[row].into(), out),
            Values::Int32(values) => signed(values[row].into(), out),
            Values::Int64(values) => signed(values[row], out),
            Values::UInt8(values) => unsigned(values[row].into(), out),
            Values::UInt16(values) => unsigned(values[row].into(), out),
            Values::UInt32(values) => unsigned(values[row].into(), out),
            Values::UInt64(values) => unsigned(values[row], out),
            Values::Float32(values) if values[row].is_finite() => write_float(values[row], out),
            Values::Float32(_) => return Err(NOT_FINITE),
            Values::Float64(values) => return float(values[row], out),
            Values::Text(values) => string(values.value(row), out),
            Values::LargeText(values) => string(values.value(row), out),
            Values::TextView(values) => string(values.value(row), out),
            Values::Dictionary { keys, values } => {
                return keys.get(row).map_or(Ok(()), |key| values.write_rare_field(*key, out));
            }
        }
        Ok(())
    }
}

impl RowCells for Cells<'_> {
    #[inline(always)]
    fn is_null(&self, row: usize) -> bool {
        if self.nulls.is_some_and(|nulls| nulls.is_null(row)) {
            return true;
        }
        match &self.values {
            Values::Null => true,
            Values::Dictionary { keys, values } => keys.get(row).is_none_or(|key| values.is_null(*key)),
            _ => false,
        }
    }

    #[inline(always)]
    fn write_tag(&self, row: usize, out: &mut Vec<u8>) -> Result<(), Fault> {
        match &self.values {
            Values::TextView(values) => {
                let view = values.views()[row];
                let len = view as u32 as usize;
                if len <= 12 && write_short(&(view >> 32).to_le_bytes(), len, out) {
                    return Ok(());
                }
                tag(values.value(row), out)
            }
            Values::Text(values) => tag(values.value(row), out),
            Values::LargeText(values) => tag(values.value(row), out),
            Values::Dictionary { keys, values } => match (keys.get(row), &values.values) {
                (Some(key), Values::Text(values)) => tag(values.value(*key), out),
                (Some(key), _) => values.write_rare_tag(*key, out),
                _ => Ok(()),
            },
            _ => self.write_rare_tag(row, out),
        }
    }

    #[inline(always)]
    fn write_field(&self, row: usize, out: &mut Vec<u8>) -> Result<(), Fault> {
        match &self.values {
            Values::Int64(values) => signed(values[row], out),
            Values::Float64(values) => return float(values[row], out),
            Values::TextView(values) => string(values.value(row), out),
            _ => return self.write_rare_field(row, out),
        }
        Ok(())
    }
}

fn tag(value: &str, out: &mut Vec<u8>) -> Result<(), Fault> {
    let value = value.as_bytes();
    match name_fault(value) {
        Some(fault) => Err(fault),
        None => {
            write_escaped(value, Names::Key, out);
            Ok(())
        }
    }
}

#[inline(always)]
fn signed(value: i64, out: &mut Vec<u8>) {
    write_i64(value, out);
    out.push(b'i');
}

fn unsigned(value: u64, out: &mut Vec<u8>) {
    write_u64(value, out);
    out.push(b'u');
}

fn float(value: f64, out: &mut Vec<u8>) -> Result<(), Fault> {
    if value.is_finite() {
        write_f64(value, out);
        Ok(())
    } else {
        Err(NOT_FINITE)
    }
}

fn string(value: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    write_escaped(value.as_bytes(), Names::String, out);
    out.push(b'"');
}
