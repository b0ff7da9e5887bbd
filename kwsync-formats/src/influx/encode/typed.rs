//! Rows in the dialects that write the type behind each number.

use std::io::Write;
use std::ops::Range;

use arrow_array::Array;
use kwsync_core::{Column, DataType, Value};

use super::cells::{Fault, NOT_FINITE};
use super::{Batch, parts};
use crate::influx::Dialect;
use crate::influx::parse::Names;
use crate::influx::write::{write_escaped, write_float, write_i64, write_u64};

const LINE_FEED: &str = "holds a line feed, and in this dialect a record is one line";

/// Why `name` cannot be written as a name or a tag value.
pub(super) fn name_fault(name: &[u8]) -> Option<Fault> {
    if name.is_empty() {
        return Some("is empty");
    }
    name.iter().any(u8::is_ascii_control).then_some("holds a control character")
}

/// One column.
struct TypedCells<'a> {
    dialect: Dialect,
    array: &'a dyn Array,
    data_type: &'a DataType,
}

impl<'a> TypedCells<'a> {
    /// `None` for types that the dialect does not have.
    fn new(dialect: Dialect, array: &'a dyn Array, column: &'a Column) -> Option<Self> {
        use DataType as T;
        let data_type = column.data_type();
        let known = match data_type {
            T::Bool | T::Int8 | T::Int16 | T::Int32 | T::Int64 => true,
            T::UInt8 | T::UInt16 | T::UInt32 | T::UInt64 => true,
            T::Float32 | T::Float64 | T::Bytes | T::VarBytes(_) | T::Geometry => true,
            T::Char(_) | T::VarChar(_) | T::NChar(_) | T::NVarChar(_) | T::Text => true,
            T::Timestamp(_) | T::TimestampTz(_) => dialect == Dialect::Kwdb,
            _ => false,
        };
        known.then_some(Self { dialect, array, data_type })
    }

    fn value(&self, row: usize) -> Result<Value<'_>, Fault> {
        Value::of(self.array, row).map_err(|_| "is of a type that line protocol does not have")
    }

    fn is_null(&self, row: usize) -> bool {
        matches!(self.value(row), Ok(Value::Null))
    }

    fn write_tag(&self, row: usize, out: &mut Vec<u8>) -> Result<(), Fault> {
        let value = self.value(row)?;
        let text = match &value {
            Value::Text(text) => text.to_string(),
            Value::Float32(v) if !v.is_finite() => return Err(NOT_FINITE),
            Value::Float64(v) if !v.is_finite() => return Err(NOT_FINITE),
            other => other.to_string(),
        };
        match name_fault(text.as_bytes()) {
            Some(fault) => Err(fault),
            None => {
                write_escaped(text.as_bytes(), self.dialect.key(), out);
                Ok(())
            }
        }
    }

    fn write_field(&self, row: usize, out: &mut Vec<u8>) -> Result<(), Fault> {
        let kwdb = self.dialect == Dialect::Kwdb;
        match self.value(row)? {
            Value::Null => {}
            Value::Bool(v) => out.extend_from_slice(if v { b"true" } else { b"false" }),
            Value::Int(v) => {
                write_i64(v, out);
                out.extend_from_slice(match self.data_type {
                    DataType::Int8 if !kwdb => b"i8",
                    DataType::Int8 | DataType::Int16 => b"i16",
                    DataType::Int32 => b"i32",
                    _ => b"i64",
                });
            }
            // KWDB has no unsigned integers; the next wider type holds them.
            Value::UInt(v) if kwdb && i64::try_from(v).is_err() => {
                return Err("does not fit KWDB's signed 64 bits");
            }
            Value::UInt(v) => {
                write_u64(v, out);
                out.extend_from_slice(match (self.data_type, kwdb) {
                    (DataType::UInt8, true) => b"i16",
                    (DataType::UInt16, true) => b"i32",
                    (_, true) => b"i64",
                    (DataType::UInt8, false) => b"u8",
                    (DataType::UInt16, false) => b"u16",
                    (DataType::UInt32, false) => b"u32",
                    (_, false) => b"u64",
                });
            }
            Value::Float32(v) if v.is_finite() => {
                write_float(v, out);
                out.extend_from_slice(b"f32");
            }
            Value::Float64(v) if v.is_finite() => {
                write_float(v, out);
                out.extend_from_slice(b"f64");
            }
            Value::Float32(_) | Value::Float64(_) => return Err(NOT_FINITE),
            Value::Text(text) => return write_text(self.dialect, self.data_type, &text, out),
            Value::Bytes(bytes) => {
                out.extend_from_slice(if kwdb { b"\"\\x" } else { b"B\"\\x" });
                // Writing to a vector does not fail.
                bytes.iter().for_each(|byte| write!(out, "{byte:02x}").unwrap_or_default());
                out.push(b'"');
            }
            time @ Value::Timestamp(..) if kwdb => {
                let text = time.to_string().replace('T', " ");
                write!(out, "\"{}\"", text.trim_end_matches('Z')).unwrap_or_default();
            }
            _ => return Err("is of a type that this dialect does not have"),
        }
        Ok(())
    }
}

/// Rows of a dialect with typed values.
pub(super) fn write_rows(
    batch: &Batch<'_>,
    dialect: Dialect,
    rows: Range<usize>,
    out: &mut Vec<u8>,
) -> kwsync_core::Result<()> {
    let known = batch.known;
    let tags = parts(&known.tags, batch.batch, |array, column| TypedCells::new(dialect, array, column))?;
    let fields = parts(&known.fields, batch.batch, |array, column| TypedCells::new(dialect, array, column))?;
    for row in rows {
        out.extend_from_slice(known.measurement.as_bytes());
        for part in &tags {
            if !part.cells.is_null(row) {
                out.extend_from_slice(part.key.as_bytes());
                part.cells.write_tag(row, out).map_err(|text| batch.fault(row, part.index, text))?;
            }
        }
        let end = out.len();
        for part in &fields {
            if !part.cells.is_null(row) {
                out.extend_from_slice(part.key.as_bytes());
                part.cells.write_field(row, out).map_err(|text| batch.fault(row, part.index, text))?;
            }
        }
        match out.get_mut(end) {
            // The first field comes after a space.
            Some(separator) => *separator = b' ',
            None => return Err(batch.no_field(row)),
        }
        if let Some(time) = batch.time(row)? {
            out.push(b' ');
            write_i64(time, out);
        }
        out.push(b'\n');
    }
    Ok(())
}

fn write_text(dialect: Dialect, data_type: &DataType, text: &str, out: &mut Vec<u8>) -> Result<(), Fault> {
    if text.contains('\n') {
        return Err(LINE_FEED);
    }
    let kwdb = dialect == Dialect::Kwdb;
    // What would be read as bytes stands in the other quotes.
    let single = kwdb && text.starts_with("\\x");
    let (prefix, quote) = match data_type {
        DataType::NChar(_) | DataType::NVarChar(_) => ("L", '"'),
        DataType::Geometry if !kwdb => ("G", '"'),
        _ if single => ("", '\''),
        _ => ("", '"'),
    };
    write!(out, "{prefix}{quote}").unwrap_or_default();
    let kind = if single { Names::KwdbString } else { Names::String };
    write_escaped(text.as_bytes(), kind, out);
    write!(out, "{quote}").unwrap_or_default();
    Ok(())
}
