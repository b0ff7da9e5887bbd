//! A line of the expected shape: compare the keys, put the values into their columns.

use super::shape::Shape;
use super::table::Table;
use crate::build::{Chunk, Data};
use crate::influx::number::{self, Number};
use crate::influx::parse::{self, Names};
use crate::influx::scan::{name_stop, string_stop};

/// What was found after the values.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tail {
    pub(super) timestamp: Option<i64>,
    /// End of the record's text
    pub(super) text_end: usize,
    /// Start of the next line
    pub(super) end: usize,
}

/// Reads the line at `start` if it has this shape. The row is in the columns then, but not yet committed.
/// If not, nothing has changed.
#[inline(always)]
pub(super) fn read(shape: &Shape, table: &mut Table, chunk: Chunk<'_>, start: usize) -> Option<Tail> {
    let tail = read_some(shape, table, chunk, start);
    if tail.is_none() {
        table.roll_back(shape.ops.iter().map(|op| op.column));
    }
    tail
}

#[inline(always)]
fn read_some(shape: &Shape, table: &mut Table, chunk: Chunk<'_>, start: usize) -> Option<Tail> {
    let data: &[u8] = chunk.bytes;
    let mut at = start;
    for op in &shape.ops {
        at = op.prefix.matches(data, at)?;
        if !op.rest.is_empty() {
            at = long_key(data, at, &op.rest)?;
        }
        match &mut table.columns.get_mut(op.column as usize)?.data {
            Data::I64(values) => {
                let (value, end) = number::suffixed(data, at, b'i')?;
                values.push(value);
                at = end;
            }
            Data::F64(values) => match number::number(data, at) {
                Ok((Number::F64(value), end)) => {
                    values.push(value);
                    at = end;
                }
                _ => return None,
            },
            Data::Text(values) if op.is_tag => {
                let stop = name_stop(data, at);
                if data.get(stop) == Some(&b'\\') {
                    let (end, _) = parse::name_end(data, at, Names::Key);
                    values.push_with(|out| {
                        parse::unescape(data.get(at..end).unwrap_or_default(), Names::Key, out);
                    });
                    at = end;
                } else if stop > at {
                    values.push_copy(data, at, stop);
                    at = stop;
                } else {
                    return None;
                }
            }
            Data::Text(values) => {
                if data.get(at) != Some(&b'"') {
                    return None;
                }
                let mut stop = string_stop(data, at + 1);
                match data.get(stop) {
                    Some(b'"') => values.push_ref(chunk, at + 1, stop),
                    Some(b'\\') => {
                        stop = escaped_string(data, stop)?;
                        values.push_with(|out| {
                            parse::unescape(data.get(at + 1..stop).unwrap_or_default(), Names::String, out);
                        });
                    }
                    _ => return None,
                }
                at = stop + 1;
            }
            Data::U64(values) => match number::number(data, at) {
                Ok((Number::U64(value), end)) => {
                    values.push(value);
                    at = end;
                }
                _ => return None,
            },
            Data::Bool(values) => {
                let (value, end) = parse::boolean(data, at)?;
                values.push(value);
                at = end;
            }
        }
    }
    let mut tail = Tail { timestamp: None, text_end: at, end: at };
    if data.get(at) == Some(&b' ') {
        let (timestamp, end) = number::integer(data, at + 1);
        tail.timestamp = Some(timestamp?);
        tail.text_end = end;
    }
    tail.end = match data.get(tail.text_end)? {
        b'\n' => tail.text_end + 1,
        b'\r' if data.get(tail.text_end + 1) == Some(&b'\n') => tail.text_end + 2,
        _ => return None,
    };
    Some(tail)
}

#[cold]
fn long_key(data: &[u8], at: usize, rest: &[u8]) -> Option<usize> {
    data.get(at..)?.starts_with(rest).then_some(at + rest.len())
}

/// End of a string of one line, from its first backslash on.
fn escaped_string(data: &[u8], backslash: usize) -> Option<usize> {
    let mut at = backslash;
    loop {
        match data.get(at)? {
            b'"' => return Some(at),
            b'\\' => at += 1 + usize::from(matches!(data.get(at + 1), Some(b'"' | b'\\'))),
            _ => return None,
        }
        at = string_stop(data, at);
    }
}
