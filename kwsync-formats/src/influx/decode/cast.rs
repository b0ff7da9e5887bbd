//! Values into columns whose types are given.

use kwsync_core::{DataType, TimeUnit};

use super::table::{Misfit, Table};
use crate::build::{Cell, Chunk, Data, Kind, Str, cast};
use crate::influx::number;
use crate::influx::parse::{self, Names, Value};
use crate::influx::typed::unhex;

/// Puts `value`, written as `raw`, into the row in hand, exactly or not at all. A value that is there already is
/// replaced.
pub(super) fn push(
    table: &mut Table,
    column: u32,
    chunk: Chunk<'_>,
    (value, raw): (Value, &[u8]),
    names: Names,
) -> Result<(), Misfit> {
    let (rows, index) = (table.rows, column as usize);
    let (Some(column), Some(known)) = (table.columns.get_mut(index), table.known.get(index)) else {
        return Ok(());
    };
    if column.len() > rows {
        column.take_back(rows);
    }
    let mut made = Vec::new();
    let (kind, text) = match value {
        Value::Bool(v) => (Kind::Bool(v), Str::Made(raw)),
        Value::I64(_)
        | Value::U64(_)
        | Value::I8(_)
        | Value::I16(_)
        | Value::I32(_)
        | Value::U8(_)
        | Value::U16(_)
        | Value::U32(_)
        | Value::F64(_)
        | Value::F32(_) => {
            // Without the suffix it is what a number looks like everywhere.
            let digits = raw.iter().position(|byte| matches!(byte, b'i' | b'u' | b'f'));
            let raw = raw.get(..digits.unwrap_or(raw.len())).unwrap_or(raw);
            (number_kind(raw, value), Str::Made(raw))
        }
        Value::Bytes { span, hex } => {
            if hex {
                unhex(span.of(chunk.bytes), &mut made);
            } else {
                parse::unescape(span.of(chunk.bytes), names, &mut made);
            }
            if let Data::Bytes(values) = &mut column.data {
                values.push_copy(&made, 0, made.len());
                return Ok(());
            }
            (Kind::Json, Str::Made(raw))
        }
        Value::Str(span) | Value::NStr(span) | Value::Geometry(span) if span.escaped => {
            parse::unescape(span.of(chunk.bytes), span.kind(names), &mut made);
            (Kind::Text, Str::Made(made.as_slice()))
        }
        Value::Str(span) | Value::NStr(span) | Value::Geometry(span) => {
            (Kind::Text, Str::Here(span.start, span.end))
        }
    };
    let unit = match known.data_type() {
        DataType::Timestamp(unit) | DataType::TimestampTz(unit) => *unit,
        _ => TimeUnit::Nanosecond,
    };
    cast(column, known.data_type(), unit, true, chunk, Cell::new(kind, text)).map_err(|fault| {
        let (name, data_type, reason) = (known.name(), known.data_type(), fault.reason);
        let reason = format!("column {name:?} of table {} is {data_type}: {reason}", table.id);
        Misfit { code: fault.code, reason }
    })
}

fn number_kind(digits: &[u8], value: Value) -> Kind {
    match (number::integer(digits, 0), value) {
        ((Some(integer), end), _) if end == digits.len() => Kind::Int(integer),
        (_, Value::U64(v)) => Kind::UInt(v),
        (_, Value::F64(v)) => Kind::Float(v),
        (_, Value::F32(v)) => Kind::Float(v.into()),
        _ => Kind::Huge,
    }
}
