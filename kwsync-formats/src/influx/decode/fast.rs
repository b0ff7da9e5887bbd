//! A line of the expected shape: compare the keys, put the values into their columns.

use super::shape::{Kind, Shape};
use super::table::Table;
use crate::build::{Chunk, Column, Data, INLINE, Text};
use crate::influx::number::{self, Number};
use crate::influx::parse::{self, Names};
use crate::influx::scan::{Window, name_mask, name_stop, string_stop};

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

/// Whether the line at `start` begins as lines of this shape do.
#[inline]
pub(super) fn begins(shape: &Shape, data: &[u8], start: usize) -> bool {
    Window::new(data, start)
        .is_some_and(|window| shape.ops.first().is_some_and(|op| op.prefix.matches(window).is_some()))
}

#[inline(always)]
fn read_some(shape: &Shape, table: &mut Table, chunk: Chunk<'_>, start: usize) -> Option<Tail> {
    let data = chunk.bytes;
    let mut at = start;
    for op in &shape.ops {
        let mut window = Window::new(data, at)?;
        // Where the value begins, in the window and in the input.
        let mut value = op.prefix.matches(window)?;
        at += value;
        if !op.rest.is_empty() {
            at = long_key(data, at, &op.rest)?;
            window = Window::new(data, at)?;
            value = 0;
        }
        let column = table.columns.get_mut(op.column as usize)?;
        match (op.kind, &mut column.data) {
            (Kind::Tag, Data::Text(values)) => {
                let block = window.block(value);
                let mask = name_mask(block);
                let len = mask.trailing_zeros() as usize;
                if mask != 0 && len.wrapping_sub(1) < INLINE && block[len & 15] != b'\\' {
                    values.push_short(block, len);
                    at += len;
                } else {
                    at = long_tag(values, data, at)?;
                }
            }
            (Kind::Tag, Data::Dictionary(values)) => {
                let block = window.block(value);
                let mask = name_mask(block);
                let len = mask.trailing_zeros() as usize;
                let short = mask != 0 && len.wrapping_sub(1) < INLINE && block[len & 15] != b'\\';
                if short && values.push_short(block, len) {
                    at += len;
                } else {
                    at = dictionary_tag(column, data, at)?;
                }
            }
            (Kind::I64, Data::I64(values)) => {
                let (number, len) = match number::short_integer(window, value) {
                    Some(short) => short,
                    None => long_integer(data, at)?,
                };
                values.push(number);
                at += len;
            }
            (Kind::F64, Data::F64(values)) => {
                let (number, len) = match number::short_float(window, value) {
                    Some((number, len)) if !matches!(data.get(at + len), Some(b'e' | b'E')) => (number, len),
                    _ => long_float(data, at)?,
                };
                values.push(number);
                at += len;
            }
            (Kind::Str, Data::Text(values)) => at = string(values, chunk, at)?,
            (Kind::U64, Data::U64(values)) => match number::number(data, at) {
                Ok((Number::U64(number), end)) => {
                    values.push(number);
                    at = end;
                }
                _ => return None,
            },
            (Kind::Bool, Data::Bool(values)) => {
                let (flag, end) = parse::boolean(data, at)?;
                values.push(flag);
                at = end;
            }
            _ => return None,
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

/// A tag value that is longer than a view or has escapes; returns its end.
#[inline(never)]
fn long_tag(values: &mut Text, data: &[u8], at: usize) -> Option<usize> {
    let stop = name_stop(data, at);
    if data.get(stop) == Some(&b'\\') {
        let (end, _) = parse::name_end(data, at, Names::Key);
        values.push_with(|out| parse::unescape(data.get(at..end).unwrap_or_default(), Names::Key, out));
        return Some(end);
    }
    if stop == at {
        return None;
    }
    values.push_copy(data, at, stop);
    Some(stop)
}

/// A tag value that the dictionary has to look for; returns its end.
#[inline(never)]
fn dictionary_tag(column: &mut Column, data: &[u8], at: usize) -> Option<usize> {
    let stop = name_stop(data, at);
    if data.get(stop) == Some(&b'\\') {
        let (end, _) = parse::name_end(data, at, Names::Key);
        let mut text = Vec::with_capacity(end - at);
        parse::unescape(data.get(at..end)?, Names::Key, &mut text);
        column.push_text(&text)?;
        return Some(end);
    }
    if stop == at {
        return None;
    }
    column.push_text(data.get(at..stop)?)?;
    Some(stop)
}

#[inline(never)]
fn long_integer(data: &[u8], at: usize) -> Option<(i64, usize)> {
    match number::number(data, at) {
        Ok((Number::I64(number), end)) => Some((number, end - at)),
        _ => None,
    }
}

#[inline(never)]
fn long_float(data: &[u8], at: usize) -> Option<(f64, usize)> {
    match number::number(data, at) {
        Ok((Number::F64(number), end)) => Some((number, end - at)),
        _ => None,
    }
}

#[inline]
fn string(values: &mut Text, chunk: Chunk<'_>, at: usize) -> Option<usize> {
    let data = chunk.bytes;
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
    Some(stop + 1)
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
