//! The text of values, as PostgreSQL's types read them.

use std::io::Write;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{Array, StringArray, StringViewArray};
use arrow_buffer::NullBuffer;
use arrow_schema::DataType as Arrow;
use kwsync_core::{DataType, Error, ErrorKind, Result, Value};

use crate::interval::interval;

/// One column, its type looked at once.
pub(super) struct Cells<'a> {
    nulls: Option<&'a NullBuffer>,
    kind: Kind<'a>,
    data_type: &'a DataType,
}

enum Kind<'a> {
    Int64(&'a [i64]),
    Float64(&'a [f64]),
    Text(&'a StringArray),
    TextView(&'a StringViewArray),
    Other(&'a dyn Array),
}

impl<'a> Cells<'a> {
    pub(super) fn new(array: &'a dyn Array, data_type: &'a DataType) -> Self {
        let kind = match array.data_type() {
            Arrow::Int64 => Kind::Int64(array.as_primitive::<Int64Type>().values()),
            Arrow::Float64 => Kind::Float64(array.as_primitive::<Float64Type>().values()),
            Arrow::Utf8 => Kind::Text(array.as_string()),
            Arrow::Utf8View => Kind::TextView(array.as_string_view()),
            _ => Kind::Other(array),
        };
        Self { nulls: array.nulls(), kind, data_type }
    }

    /// Appends the text of a row's value; false if it is null.
    ///
    /// # Errors
    /// For a value of a type that has no text.
    pub(super) fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<bool> {
        if self.nulls.is_some_and(|nulls| nulls.is_null(row)) {
            return Ok(false);
        }
        match &self.kind {
            Kind::Int64(values) => put(out, format_args!("{}", values[row])),
            Kind::Float64(values) => float(values[row], out),
            Kind::Text(values) => out.extend_from_slice(values.value(row).as_bytes()),
            Kind::TextView(values) => out.extend_from_slice(values.value(row).as_bytes()),
            Kind::Other(array) => match Value::of(*array, row)? {
                Value::Null => return Ok(false),
                value => write_value(&value, self.data_type, out)?,
            },
        }
        Ok(true)
    }
}

/// Writing to a vector does not fail.
fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).unwrap_or_default();
}

fn float(value: f64, out: &mut Vec<u8>) {
    if value.is_finite() {
        put(out, format_args!("{value:?}"));
    } else {
        special(value.is_nan(), value > 0.0, out);
    }
}

fn special(nan: bool, positive: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(if nan {
        b"NaN"
    } else if positive {
        b"Infinity"
    } else {
        b"-Infinity"
    });
}

fn write_value(value: &Value<'_>, data_type: &DataType, out: &mut Vec<u8>) -> Result<()> {
    match value {
        Value::Null => {}
        Value::Bool(v) => out.push(if *v { b't' } else { b'f' }),
        Value::Float32(v) if v.is_finite() => put(out, format_args!("{v:?}")),
        Value::Float32(v) => special(v.is_nan(), *v > 0.0, out),
        Value::Float64(v) => float(*v, out),
        Value::Bytes(bytes) if *data_type == DataType::Uuid && bytes.len() == 16 => {
            for (index, byte) in bytes.iter().enumerate() {
                put(
                    out,
                    format_args!("{}{byte:02x}", if matches!(index, 4 | 6 | 8 | 10) { "-" } else { "" }),
                );
            }
        }
        Value::Interval(months, days, nanos) => {
            out.extend_from_slice(interval(*months, *days, *nanos).as_bytes());
        }
        Value::Date(_) => era(&value.to_string(), "", out),
        Value::Timestamp(..) => {
            let text = value.to_string();
            match text.strip_suffix('Z') {
                Some(local) => era(&local.replacen('T', " ", 1), "+00", out),
                None => era(&text.replacen('T', " ", 1), "", out),
            }
        }
        Value::List(items) => list(items, data_type, out)?,
        other => put(out, format_args!("{other}")),
    }
    Ok(())
}

/// Years before the first one are counted backwards from it: 0000 is `0001 BC`.
fn era(text: &str, zone: &str, out: &mut Vec<u8>) {
    let (sign, rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text),
    };
    match rest.split_once('-') {
        Some((year, rest)) if sign * year.parse::<i64>().unwrap_or(1) <= 0 => {
            let year = 1 - sign * year.parse::<i64>().unwrap_or(0);
            put(out, format_args!("{year:04}-{rest}{zone} BC"));
        }
        _ => put(out, format_args!("{text}{zone}")),
    }
}

/// An array as PostgreSQL writes it: `{1,NULL,"a b"}`.
fn list(items: &[Value<'_>], data_type: &DataType, out: &mut Vec<u8>) -> Result<()> {
    let DataType::Array(item_type) = data_type else {
        return Err(Error::new(ErrorKind::Internal, format!("a list in a column of {data_type}")));
    };
    out.push(b'{');
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        match item {
            Value::Null => out.extend_from_slice(b"NULL"),
            Value::List(_) => write_value(item, item_type, out)?,
            item => {
                let mut text = Vec::new();
                write_value(item, item_type, &mut text)?;
                let plain = !text.is_empty()
                    && !text.eq_ignore_ascii_case(b"null")
                    && !text.iter().any(|byte| {
                        matches!(byte, b'{' | b'}' | b',' | b'"' | b'\\')
                            || byte.is_ascii_whitespace()
                            || *byte == 0x0b
                    });
                if plain {
                    out.extend_from_slice(&text);
                } else {
                    out.push(b'"');
                    for byte in text {
                        if matches!(byte, b'"' | b'\\') {
                            out.push(b'\\');
                        }
                        out.push(byte);
                    }
                    out.push(b'"');
                }
            }
        }
    }
    out.push(b'}');
    Ok(())
}
