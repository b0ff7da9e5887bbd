//! The `points` format: what the parser saw, one JSON object a line.

use std::io::Write;

use super::{EscapedStr, FieldValue, Line, Precision, Reason};
use crate::json::escape::write_string;

/// Appends one JSON object and a newline for `line`: its physical line, table, tags, fields and timestamp in
/// nanoseconds (null if it has none). Values are exact strings; floats the shortest that read back the same.
/// Of a field that occurs twice the last value is shown, in the place of the first.
///
/// # Errors
///
/// [`Reason::TimestampOverflow`] if the timestamp does not fit in nanoseconds; nothing is written then.
///
/// # Examples
///
/// ```
/// use kwsync_formats::influx::{lines, write_point, Precision};
/// let line = lines(b"cpu,host=a usage=42i 1700000000").next().unwrap().unwrap();
/// let mut out = Vec::new();
/// write_point(&line, Precision::S, &mut out).unwrap();
/// assert_eq!(
///     String::from_utf8(out).unwrap(),
///     concat!(
///         r#"{"line":1,"table":"cpu","tags":[["host","a"]],"fields":[["usage","i64","42"]],"#,
///         r#""timestamp":1700000000000000000}"#,
///         "\n"
///     )
/// );
/// ```
pub fn write_point(line: &Line<'_>, precision: Precision, out: &mut Vec<u8>) -> Result<(), Reason> {
    let timestamp = match line.timestamp() {
        Some(raw) => Some(precision.to_nanoseconds(raw).ok_or(Reason::TimestampOverflow)?),
        None => None,
    };
    out.extend_from_slice(b"{\"line\":");
    number(line.position().line, out);
    out.extend_from_slice(b",\"table\":");
    write_string(&line.measurement().unescape(), out);
    out.extend_from_slice(b",\"tags\":[");
    for (i, (key, value)) in line.tags().enumerate() {
        out.extend_from_slice(if i == 0 { b"[" } else { b",[" });
        write_string(&key.unescape(), out);
        out.push(b',');
        write_string(&value.unescape(), out);
        out.push(b']');
    }
    out.extend_from_slice(b"],\"fields\":[");
    if line.repeated_fields() == 0 {
        line.fields().enumerate().for_each(|(i, (key, value))| field(i, key, value, out));
    } else {
        let mut places = std::collections::HashMap::new();
        let mut fields: Vec<(EscapedStr<'_>, FieldValue<'_>)> = Vec::new();
        for (key, value) in line.fields() {
            let place = *places.entry(key.raw()).or_insert(fields.len());
            match fields.get_mut(place) {
                Some(field) => field.1 = value,
                None => fields.push((key, value)),
            }
        }
        fields.into_iter().enumerate().for_each(|(i, (key, value))| field(i, key, value, out));
    }
    out.extend_from_slice(b"],\"timestamp\":");
    match timestamp {
        Some(ns) => number(ns, out),
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b"}\n");
    Ok(())
}

fn field(i: usize, key: EscapedStr<'_>, value: FieldValue<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(if i == 0 { b"[" } else { b",[" });
    write_string(&key.unescape(), out);
    out.extend_from_slice(b",\"");
    out.extend_from_slice(value.type_name().as_bytes());
    out.extend_from_slice(b"\",");
    match value {
        FieldValue::Str(text) | FieldValue::NStr(text) | FieldValue::Geometry(text) => {
            write_string(&text.unescape(), out);
        }
        FieldValue::I64(v) => quoted(v, out),
        FieldValue::U64(v) => quoted(v, out),
        FieldValue::F64(v) => quoted(v, out),
        FieldValue::Bool(v) => quoted(v, out),
        FieldValue::I8(v) => quoted(v, out),
        FieldValue::I16(v) => quoted(v, out),
        FieldValue::I32(v) => quoted(v, out),
        FieldValue::U8(v) => quoted(v, out),
        FieldValue::U16(v) => quoted(v, out),
        FieldValue::U32(v) => quoted(v, out),
        FieldValue::F32(v) => quoted(v, out),
        FieldValue::Bytes(bytes) => {
            out.extend_from_slice(b"\"\\\\x");
            bytes.to_vec().iter().for_each(|byte| write!(out, "{byte:02x}").unwrap_or_default());
            out.push(b'"');
        }
    }
    out.push(b']');
}

fn quoted(value: impl std::fmt::Display, out: &mut Vec<u8>) {
    out.push(b'"');
    number(value, out);
    out.push(b'"');
}

fn number(value: impl std::fmt::Display, out: &mut Vec<u8>) {
    // Writing to a Vec does not fail.
    write!(out, "{value}").unwrap_or_default();
}
