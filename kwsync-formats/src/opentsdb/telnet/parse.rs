//! One line, taken apart.

use std::fmt;

use crate::influx::number::{self, Number};
use crate::influx::scan::name_stop;

/// A part of the input.
pub(super) type Span = (usize, usize);

/// The value of a point: integers and floats are kept apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Figure {
    Int(i64),
    Float(f64),
}

/// A parsed line, kept from one to the next.
#[derive(Debug, Default)]
pub(super) struct Parts {
    /// After `put `, if that stands there
    pub(super) metric: Span,
    /// As written: an integer, and milliseconds behind a point
    pub(super) time: (i64, Option<i64>),
    pub(super) time_at: usize,
    pub(super) value: Option<Figure>,
    pub(super) value_span: Span,
    pub(super) tags: Vec<(Span, Span)>,
}

/// What is wrong, and at which offset.
pub(super) type Fault = (&'static str, &'static str, usize);

/// OpenTSDB's other commands.
const COMMANDS: [&[u8]; 9] =
    [b"version", b"histogram", b"rollup", b"stats", b"help", b"exit", b"diediedie", b"dropcaches", b"put"];

impl Parts {
    /// Reads the line `data[start..end]`, which is not blank.
    pub(super) fn read(&mut self, data: &[u8], start: usize, end: usize) -> Result<(), Fault> {
        let data = data.get(..end).unwrap_or_default();
        self.tags.clear();
        self.value = None;
        let mut metric = token(data, spaces(data, start))?;
        let (first, second) = (of(data, metric), token(data, spaces(data, metric.1))?);
        if first == b"put" {
            metric = second;
            if metric.0 == metric.1 {
                return Err(("missing_metric", "a metric follows `put`", metric.0));
            }
        } else if COMMANDS.contains(&first) && read_time(of(data, second)).is_err() {
            return Err((
                "unsupported_command",
                "the line is a command of OpenTSDB that is not supported; points are `put METRIC TIME VALUE TAG=VALUE`",
                metric.0,
            ));
        }
        if of(data, metric).contains(&b'=') {
            return Err((
                "bad_metric",
                "the metric holds a '='; a line is METRIC TIME VALUE TAG=VALUE",
                metric.0,
            ));
        }
        self.metric = metric;
        let time = token(data, spaces(data, metric.1))?;
        self.time_at = time.0;
        self.time = read_time(of(data, time)).map_err(|(code, text)| (code, text, time.0))?;
        let value = token(data, spaces(data, time.1))?;
        self.value_span = value;
        self.value = Some(read_value(of(data, value)).map_err(|(code, text)| (code, text, value.0))?);
        let mut at = spaces(data, value.1);
        while at < end {
            let (from, to) = token(data, at)?;
            let tag = of(data, (from, to));
            let equals = memchr::memchr(b'=', tag)
                .filter(|equals| !tag.get(equals + 1..).unwrap_or_default().contains(&b'='));
            let Some(equals) = equals.filter(|equals| *equals > 0 && equals + 1 < tag.len()) else {
                return Err(("bad_tag", "a tag is KEY=VALUE, neither of them empty", from));
            };
            let (key, value) = ((from, from + equals), (from + equals + 1, to));
            match self.tags.iter().find(|(other, _)| of(data, *other) == of(data, key)) {
                None => self.tags.push((key, value)),
                Some((_, other)) if of(data, *other) == of(data, value) => {}
                Some(_) => return Err(("duplicate_tag", "a tag occurs twice with different values", from)),
            }
            at = spaces(data, to);
        }
        Ok(())
    }
}

pub(super) fn of(data: &[u8], (start, end): Span) -> &[u8] {
    data.get(start..end).unwrap_or_default()
}

fn spaces(data: &[u8], at: usize) -> usize {
    at + data.get(at..).unwrap_or_default().iter().take_while(|byte| **byte == b' ').count()
}

/// The text up to the next blank; empty at the end.
fn token(data: &[u8], start: usize) -> Result<Span, Fault> {
    let end = token_end(data, start);
    match data.get(end) {
        None | Some(b' ') => Ok((start, end)),
        Some(_) => Err(("control_character", "a control character stands in the line", end)),
    }
}

/// Offset of the next blank or control character.
#[inline(always)]
pub(super) fn token_end(data: &[u8], at: usize) -> usize {
    let mut at = at;
    loop {
        at = name_stop(data, at);
        match data.get(at) {
            Some(b',' | b'\\' | b'=') => at += 1,
            _ => return at,
        }
    }
}

fn read_time(text: &[u8]) -> Result<(i64, Option<i64>), (&'static str, &'static str)> {
    const BAD: (&str, &str) = (
        "bad_timestamp",
        "the time is no number of seconds or milliseconds since 1970 (1700000000, 1700000000.250)",
    );
    if text.is_empty() {
        return Err((
            "missing_timestamp",
            "the line ends before the time; it is METRIC TIME VALUE TAG=VALUE",
        ));
    }
    let (Some(whole), end) = number::integer(text, 0) else { return Err(BAD) };
    if whole < 0 || text.first() == Some(&b'-') {
        return Err(BAD);
    }
    if end == text.len() {
        return Ok((whole, None));
    }
    let digits = text.get(end + 1..).unwrap_or_default();
    if text.get(end) != Some(&b'.')
        || digits.is_empty()
        || digits.len() > 3
        || !digits.iter().all(u8::is_ascii_digit)
    {
        return Err(BAD);
    }
    let part = digits.iter().fold(0, |part, digit| part * 10 + i64::from(digit - b'0'));
    Ok((whole, Some(part * [0, 100, 10, 1].get(digits.len()).copied().unwrap_or(1))))
}

/// A number as OpenTSDB reads it.
pub(super) fn read_value(text: &[u8]) -> Result<Figure, (&'static str, &'static str)> {
    if text.is_empty() {
        return Err(("missing_value", "the line ends before the value; it is METRIC TIME VALUE TAG=VALUE"));
    }
    match number::integer(text, 0) {
        (Some(value), end) if end == text.len() => return Ok(Figure::Int(value)),
        (None, end) if end == text.len() => {
            return Err(("integer_overflow", "the value does not fit 64 bits"));
        }
        _ => {}
    }
    match number::parse(text) {
        Ok(Number::F64(value)) => Ok(Figure::Float(value)),
        Err(number::NumberError::FloatOverflow) => {
            Err(("float_overflow", "the value is too large for a 64-bit float"))
        }
        _ => Err(("bad_value", "the value is no number")),
    }
}

/// A point, borrowed from the input.
#[derive(Debug, Clone, PartialEq)]
pub struct Point<'a> {
    /// The metric
    pub metric: &'a str,
    /// The time as written; its unit is that of the input
    pub time: i64,
    /// Milliseconds behind the point of a time in seconds
    pub milliseconds: Option<i64>,
    /// The value, if it is an integer
    pub integer: Option<i64>,
    /// The value as a float
    pub value: f64,
    /// The tags in the order of the input; no key occurs twice
    pub tags: Vec<(&'a str, &'a str)>,
    /// Its physical line, from 1
    pub line: u64,
}

/// A line that is no point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PointError<'a> {
    /// The reason's stable name
    pub code: &'static str,
    /// The reason, for a person
    pub reason: &'static str,
    /// Its physical line, from 1
    pub line: u64,
    /// The byte of the line that is wrong, from 1
    pub column: u64,
    /// The line
    pub raw: &'a [u8],
}

impl fmt::Display for PointError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.reason)
    }
}

impl std::error::Error for PointError<'_> {}

/// The points of `input` in order; blank lines are passed over. A line that is none costs itself only.
///
/// # Examples
/// ```
/// use kwsync_formats::opentsdb::points;
/// let all: Vec<_> = points(b"put sys.cpu 1700000000 42 host=a\nsys.cpu 1700000001 1.5\nversion\n").collect();
/// assert_eq!(all[0].as_ref().unwrap().integer, Some(42));
/// assert_eq!(all[1].as_ref().unwrap().value, 1.5);
/// assert_eq!(all[2].as_ref().unwrap_err().code, "unsupported_command");
/// ```
pub fn points(input: &[u8]) -> impl Iterator<Item = Result<Point<'_>, PointError<'_>>> {
    let lines = input.split(|byte| *byte == b'\n').zip(1..);
    lines.filter_map(|(line, number)| {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.iter().all(|byte| *byte == b' ') {
            return None;
        }
        let mut parts = Parts::default();
        let fault = |(code, reason, at): Fault| PointError {
            code,
            reason,
            line: number,
            column: at as u64 + 1,
            raw: line,
        };
        Some(match std::str::from_utf8(line) {
            Err(error) => Err(fault(("invalid_utf8", "the line is not valid UTF-8", error.valid_up_to()))),
            Ok(text) => parts.read(line, 0, line.len()).map_err(fault).map(|()| {
                let part = |(start, end): Span| text.get(start..end).unwrap_or_default();
                let (integer, value) = match parts.value {
                    Some(Figure::Int(value)) => (Some(value), value as f64),
                    Some(Figure::Float(value)) => (None, value),
                    None => (None, f64::NAN),
                };
                Point {
                    metric: part(parts.metric),
                    time: parts.time.0,
                    milliseconds: parts.time.1,
                    integer,
                    value,
                    tags: parts.tags.iter().map(|(key, value)| (part(*key), part(*value))).collect(),
                    line: number,
                }
            }),
        })
    })
}
