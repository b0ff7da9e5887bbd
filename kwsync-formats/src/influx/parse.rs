//! The general parser: any record, one pass, into reusable spans.

use super::Reason;
use super::number::{self, Number, NumberError};
use super::scan::{name_stop, string_stop};

/// Which escapes a text knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Names {
    /// `\,` and `\ `
    Measurement,
    /// `\,`, `\=` and `\ `: keys and tag values
    Key,
    /// `\"` and `\\`
    String,
    /// KWDB's names and tag values: `\ `, `\=`, `\,`, `\"`, `\\`
    KwdbName,
    /// KWDB's strings: the same and `\'`
    KwdbString,
    /// KWDB's strings that have been quoted once more
    KwdbDoubled,
    /// TDengine's measurements
    TdMeasurement,
    /// TDengine's keys and tag values
    TdKey,
}

impl Names {
    #[inline(always)]
    pub(super) const fn escapes(self, byte: u8) -> bool {
        match self {
            Self::Measurement => matches!(byte, b',' | b' '),
            Self::Key => matches!(byte, b',' | b'=' | b' '),
            Self::String => matches!(byte, b'"' | b'\\'),
            Self::KwdbName => matches!(byte, b',' | b'=' | b' ' | b'"' | b'\\'),
            Self::KwdbString | Self::KwdbDoubled => {
                matches!(byte, b',' | b'=' | b' ' | b'"' | b'\'' | b'\\')
            }
            Self::TdMeasurement => matches!(byte, b',' | b' ' | b'\\'),
            Self::TdKey => matches!(byte, b',' | b'=' | b' ' | b'\\'),
        }
    }
}

/// Appends `raw` with its escapes undone.
pub(crate) fn unescape(raw: &[u8], kind: Names, out: &mut Vec<u8>) {
    if kind == Names::KwdbDoubled {
        let mut once = Vec::with_capacity(raw.len());
        unescape(raw, Names::String, &mut once);
        return unescape(&once, Names::KwdbString, out);
    }
    let mut rest = raw;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        match rest.get(at + 1) {
            Some(&next) if kind.escapes(next) => {
                out.extend_from_slice(&rest[..at]);
                out.push(next);
                rest = &rest[at + 2..];
            }
            _ => {
                out.extend_from_slice(&rest[..=at]);
                rest = &rest[at + 1..];
            }
        }
    }
    out.extend_from_slice(rest);
}

/// A part of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Span {
    pub(crate) start: usize,
    pub(crate) end: usize,
    /// Whether there are escapes to undo.
    pub(crate) escaped: bool,
    /// Whether those are of a string that has been quoted once more ([`Names::KwdbDoubled`]).
    pub(crate) doubled: bool,
}

impl Span {
    #[inline(always)]
    pub(crate) fn of<'a>(&self, data: &'a [u8]) -> &'a [u8] {
        data.get(self.start..self.end).unwrap_or_default()
    }

    /// The escapes to undo, where `usual` are the dialect's.
    #[inline(always)]
    pub(crate) const fn kind(&self, usual: Names) -> Names {
        if self.doubled { Names::KwdbDoubled } else { usual }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Value {
    I64(i64),
    U64(u64),
    F64(f64),
    Bool(bool),
    /// Without the quotes
    Str(Span),
    I8(i8),
    I16(i16),
    I32(i32),
    U8(u8),
    U16(u16),
    U32(u32),
    F32(f32),
    /// Text of a national character type
    NStr(Span),
    /// Pairs of hexadecimal digits, or the bytes themselves with the escapes of a string
    Bytes {
        span: Span,
        hex: bool,
    },
    /// A shape as text
    Geometry(Span),
}

impl Value {
    pub(crate) fn same_type(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }

    pub(crate) const fn is_text(&self) -> bool {
        matches!(self, Self::Str(_) | Self::NStr(_) | Self::Bytes { .. } | Self::Geometry(_))
    }
}

/// A parsed record. Kept from line to line, so that it allocates only while it grows.
#[derive(Debug, Default)]
pub(crate) struct Record {
    pub(crate) measurement: Span,
    pub(crate) tags: Vec<(Span, Span)>,
    pub(crate) fields: Vec<(Span, Value)>,
    /// As written
    pub(crate) timestamp: Option<i64>,
    pub(crate) timestamp_at: usize,
    /// End of the last field's value
    pub(crate) fields_end: usize,
    /// End of the text that counts, before blanks and the line end
    pub(crate) text_end: usize,
    /// After the line end
    pub(crate) end: usize,
    /// Line feeds inside strings
    pub(crate) inner_lines: u64,
    /// Opening quote of the string with the first of them
    open_quote: usize,
    /// How many fields repeat an earlier one of the same record
    pub(crate) repeated: usize,
    order: Vec<u32>,
}

/// What stands at the start of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// In the [`Record`]
    Record,
    /// A blank line or comment; where the next line begins
    Blank(usize),
    /// The data end too early; more is needed
    Incomplete,
    /// What is wrong and at which offset
    Bad(Reason, usize),
}

enum Stop {
    Incomplete,
    Bad(Reason, usize),
}

impl From<(Reason, usize)> for Stop {
    fn from((reason, at): (Reason, usize)) -> Self {
        Self::Bad(reason, at)
    }
}

type Step<T> = Result<T, Stop>;

/// End of the name at `at`: the first separator that no backslash escapes; and whether there are escapes.
#[inline(always)]
pub(crate) fn name_end(data: &[u8], at: usize, kind: Names) -> (usize, bool) {
    let (mut at, mut escaped) = (at, false);
    loop {
        at = name_stop(data, at);
        match data.get(at) {
            Some(b'\\') => {
                let pair = data.get(at + 1).is_some_and(|&next| kind.escapes(next));
                escaped |= pair;
                at += 1 + usize::from(pair);
            }
            Some(b'=') if kind == Names::Measurement => at += 1,
            _ => return (at, escaped),
        }
    }
}

const TRUE: [&[u8]; 5] = [b"true", b"True", b"TRUE", b"t", b"T"];
const FALSE: [&[u8]; 5] = [b"false", b"False", b"FALSE", b"f", b"F"];

/// The boolean at `at` and where it ends; the longest spelling wins.
#[inline]
pub(crate) fn boolean(data: &[u8], at: usize) -> Option<(bool, usize)> {
    let rest = data.get(at..)?;
    let find = |words: &[&[u8]]| words.iter().find(|word| rest.starts_with(word)).map(|word| at + word.len());
    find(&TRUE).map(|end| (true, end)).or_else(|| find(&FALSE).map(|end| (false, end)))
}

/// Reads the record or blank line at `start`. With `last`, the end of the data ends the line.
pub(crate) fn parse(data: &[u8], start: usize, last: bool, record: &mut Record) -> Outcome {
    let mut at = start;
    while matches!(data.get(at), Some(b' ' | b'\t')) {
        at += 1;
    }
    let parser = Parser { data, last };
    match data.get(at) {
        None if last => return Outcome::Blank(at),
        None => return Outcome::Incomplete,
        Some(b'\n') => return Outcome::Blank(at + 1),
        Some(b'#') => {
            return match memchr::memchr(b'\n', &data[at..]) {
                Some(n) => Outcome::Blank(at + n + 1),
                None if last => Outcome::Blank(data.len()),
                None => Outcome::Incomplete,
            };
        }
        Some(b'\r') => {
            return match parser.line_end(at) {
                Ok(Some(end)) => Outcome::Blank(end),
                Ok(None) | Err(Stop::Bad(..)) => Outcome::Bad(Reason::ControlCharacter, at),
                Err(Stop::Incomplete) => Outcome::Incomplete,
            };
        }
        Some(_) => {}
    }
    match parser.record(at, record).and_then(|()| Ok(record.check(data)?)) {
        Ok(()) => Outcome::Record,
        Err(Stop::Incomplete) => Outcome::Incomplete,
        Err(Stop::Bad(reason, at)) => Outcome::Bad(reason, at),
    }
}

#[derive(Clone, Copy)]
struct Parser<'a> {
    data: &'a [u8],
    last: bool,
}

impl Parser<'_> {
    #[inline(always)]
    fn byte(self, at: usize) -> Option<u8> {
        self.data.get(at).copied()
    }

    /// Where the next line begins, if this one ends at `at`.
    #[inline(always)]
    fn line_end(self, at: usize) -> Step<Option<usize>> {
        match self.byte(at) {
            Some(b'\n') => Ok(Some(at + 1)),
            Some(b'\r') => match self.byte(at + 1) {
                Some(b'\n') => Ok(Some(at + 2)),
                None if !self.last => Err(Stop::Incomplete),
                _ => Err(Stop::Bad(Reason::ControlCharacter, at)),
            },
            None if self.last => Ok(Some(at)),
            None => Err(Stop::Incomplete),
            Some(_) => Ok(None),
        }
    }

    /// The error for a token that stops at `at` where `reason` is what a separator or line end means there.
    #[cold]
    fn fault(self, at: usize, reason: Reason) -> Stop {
        match self.byte(at) {
            None if !self.last => Stop::Incomplete,
            Some(b'\r') => match self.line_end(at) {
                Ok(_) => Stop::Bad(reason, at),
                Err(stop) => stop,
            },
            Some(b'\n') => Stop::Bad(reason, at),
            Some(byte) if byte < b' ' || byte == 0x7f => Stop::Bad(Reason::ControlCharacter, at),
            _ => Stop::Bad(reason, at),
        }
    }

    /// The same for a value that begins at `start`: one that runs to the end of the data may yet go on.
    #[cold]
    fn value_fault(self, start: usize, at: usize, reason: Reason) -> Stop {
        if !self.last && name_stop(self.data, start) == self.data.len() {
            return Stop::Incomplete;
        }
        self.fault(at, reason)
    }

    fn record(self, start: usize, record: &mut Record) -> Step<()> {
        record.tags.clear();
        record.fields.clear();
        record.inner_lines = 0;
        record.timestamp = None;
        let (mut at, escaped) = name_end(self.data, start, Names::Measurement);
        if at == start {
            return Err(self.fault(at, Reason::MissingMeasurement));
        }
        record.measurement = Span { start, end: at, escaped, doubled: false };
        while self.byte(at) == Some(b',') {
            at = self.tag(at + 1, record)?;
        }
        if self.byte(at) != Some(b' ') {
            return Err(self.fault(at, Reason::MissingFields));
        }
        at = self.spaces(at);
        if self.line_end(at)?.is_some() {
            return Err(Stop::Bad(Reason::MissingFields, at));
        }
        loop {
            at = self.field(at, record)?;
            if self.byte(at) != Some(b',') {
                break;
            }
            at += 1;
        }
        self.tail(at, record)
    }

    #[inline(always)]
    fn spaces(self, at: usize) -> usize {
        let mut at = at;
        while self.byte(at) == Some(b' ') {
            at += 1;
        }
        at
    }

    #[inline(always)]
    fn tag(self, start: usize, record: &mut Record) -> Step<usize> {
        let (at, escaped) = name_end(self.data, start, Names::Key);
        if at == start {
            return Err(self.fault(at, Reason::EmptyTagKey));
        }
        if self.byte(at) != Some(b'=') {
            return Err(self.fault(at, Reason::MissingTagValue));
        }
        let key = Span { start, end: at, escaped, doubled: false };
        let start = at + 1;
        let (at, escaped) = name_end(self.data, start, Names::Key);
        match self.byte(at) {
            Some(b'=') => return Err(Stop::Bad(Reason::UnescapedEquals, at)),
            Some(b',' | b' ') if at > start => {}
            _ if at == start => return Err(self.fault(at, Reason::EmptyTagValue)),
            _ => return Err(self.fault(at, Reason::MissingFields)),
        }
        record.tags.push((key, Span { start, end: at, escaped, doubled: false }));
        Ok(at)
    }

    #[inline(always)]
    fn field(self, start: usize, record: &mut Record) -> Step<usize> {
        let (at, escaped) = name_end(self.data, start, Names::Key);
        if at == start {
            let comma = !record.fields.is_empty() && self.byte(at) != Some(b'=');
            let reason = if comma { Reason::TrailingComma } else { Reason::EmptyFieldKey };
            return Err(self.fault(at, reason));
        }
        if self.byte(at) != Some(b'=') {
            return Err(self.fault(at, Reason::MissingFieldValue));
        }
        let key = Span { start, end: at, escaped, doubled: false };
        let start = at + 1;
        let (value, at) = match self.byte(start) {
            Some(b'"') => self.string(start, record)?,
            Some(b'-' | b'.' | b'0'..=b'9') => self.number(start)?,
            Some(b't' | b'T' | b'f' | b'F') => match boolean(self.data, start) {
                Some((value, end)) => (Value::Bool(value), end),
                None => return Err(self.value_fault(start, start, Reason::BadValue)),
            },
            Some(b',' | b' ' | b'\r' | b'\n') | None => {
                return Err(self.fault(start, Reason::MissingFieldValue));
            }
            Some(_) => return Err(self.fault(start, Reason::BadValue)),
        };
        match self.byte(at) {
            Some(b',' | b' ') => {}
            _ => {
                if self.line_end(at)?.is_none() {
                    let reason = match value {
                        Value::Str(_) => Reason::TextAfterString,
                        Value::Bool(_) => Reason::BadValue,
                        Value::F64(_) => Reason::BadFloat,
                        _ => Reason::BadInteger,
                    };
                    return Err(self.value_fault(at.min(start), at, reason));
                }
            }
        }
        record.fields.push((key, value));
        Ok(at)
    }

    #[inline(always)]
    fn number(self, start: usize) -> Step<(Value, usize)> {
        match number::number(self.data, start) {
            Ok((Number::I64(v), end)) => Ok((Value::I64(v), end)),
            Ok((Number::U64(v), end)) => Ok((Value::U64(v), end)),
            Ok((Number::F64(v), end)) => Ok((Value::F64(v), end)),
            Err((error, at)) => Err(self.value_fault(
                start,
                at,
                match error {
                    NumberError::BadInteger => Reason::BadInteger,
                    NumberError::IntegerOverflow => Reason::IntegerOverflow,
                    NumberError::BadFloat => Reason::BadFloat,
                    NumberError::FloatOverflow => Reason::FloatOverflow,
                },
            )),
        }
    }

    /// The string whose opening quote stands at `quote`, and the offset after its closing one.
    ///
    /// A search that fails reads to the end of the data, yet the whole parse stays linear: an opening quote
    /// follows `=`, so it would itself have ended the failed search. At most one search fails.
    #[inline(always)]
    fn string(self, quote: usize, record: &mut Record) -> Step<(Value, usize)> {
        let (mut at, mut escaped) = (quote + 1, false);
        loop {
            at = string_stop(self.data, at);
            match self.byte(at) {
                Some(b'"') => break,
                Some(b'\n') => {
                    if record.inner_lines == 0 {
                        record.open_quote = quote;
                    }
                    record.inner_lines += 1;
                    at += 1;
                }
                Some(_) => {
                    let pair = self.byte(at + 1).is_some_and(|next| Names::String.escapes(next));
                    escaped |= pair;
                    at += 1 + usize::from(pair);
                }
                None if self.last => return Err(Stop::Bad(Reason::UnterminatedString, quote)),
                None => return Err(Stop::Incomplete),
            }
        }
        Ok((Value::Str(Span { start: quote + 1, end: at, escaped, doubled: false }), at + 1))
    }

    /// Timestamp and line end.
    #[inline(always)]
    fn tail(self, start: usize, record: &mut Record) -> Step<()> {
        record.text_end = start;
        record.fields_end = start;
        let mut at = self.spaces(start);
        if let Some(end) = self.line_end(at)? {
            record.end = end;
            return Ok(());
        }
        let (timestamp, end) = number::integer(self.data, at);
        match (timestamp, self.byte(end)) {
            (_, None) if !self.last => return Err(Stop::Incomplete),
            (None, _) if end > at => return Err(Stop::Bad(Reason::TimestampOverflow, at)),
            (Some(_), Some(b' ' | b'\r' | b'\n') | None) => {}
            _ => return Err(self.value_fault(at, end, Reason::BadTimestamp)),
        }
        record.timestamp = timestamp;
        record.timestamp_at = at;
        record.text_end = end;
        at = self.spaces(end);
        match self.line_end(at)? {
            Some(end) => record.end = end,
            None => return Err(self.fault(at, Reason::TrailingText)),
        }
        Ok(())
    }
}

/// What a record is refused for, told of its first physical line, which is the one that it costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) reason: Reason,
    /// Offset in the data
    pub(crate) at: usize,
    /// What is wrong on a later line, so many lines on, that a string of the first one runs into
    pub(crate) later: Option<(Reason, u64)>,
}

/// Up to this many keys are compared each with each; more are sorted.
const FEW: usize = 24;

impl Record {
    /// The text of the value number `index` of the tags and fields, as written.
    #[cfg(feature = "arrow")]
    pub(crate) fn value_text<'a>(&self, data: &'a [u8], index: usize) -> &'a [u8] {
        let tags = self.tags.len();
        let (start, end) = match (self.tags.get(index), index.checked_sub(tags)) {
            (Some((_, span)), _) => (span.start, span.end),
            (None, Some(index)) => {
                let start = self.fields.get(index).map_or(0, |(key, _)| key.end + 1);
                let next = self.fields.get(index + 1).map(|(key, _)| key.start - 1);
                (start, next.unwrap_or(self.fields_end))
            }
            _ => (0, 0),
        };
        data.get(start..end).unwrap_or_default()
    }

    /// The fault of the record at `start` that was read last.
    #[cold]
    pub(crate) fn fault(&self, data: &[u8], start: usize, reason: Reason, at: usize) -> Fault {
        match memchr::memchr_iter(b'\n', data.get(start..at).unwrap_or_default()).count() {
            0 => Fault { reason, at, later: None },
            lines => {
                let later = Some((reason, lines as u64));
                Fault { reason: Reason::UnterminatedString, at: self.open_quote, later }
            }
        }
    }

    /// Repeated keys, and keys that are tag and field at once. Raw spellings decide: a text has only one.
    #[inline]
    pub(super) fn check(&mut self, data: &[u8]) -> Result<(), (Reason, usize)> {
        self.repeated = 0;
        if self.tags.len() + self.fields.len() > FEW {
            return self.check_many(data);
        }
        for (i, (key, _)) in self.tags.iter().enumerate() {
            let bytes = key.of(data);
            if self.tags[..i].iter().any(|(other, _)| same(other.of(data), bytes)) {
                return Err((Reason::DuplicateTag, key.start));
            }
        }
        for (i, (key, value)) in self.fields.iter().enumerate() {
            let bytes = key.of(data);
            if self.tags.iter().any(|(other, _)| same(other.of(data), bytes)) {
                return Err((Reason::TagFieldClash, key.start));
            }
            if let Some((_, other)) = self.fields[..i].iter().find(|(other, _)| same(other.of(data), bytes)) {
                if !other.same_type(value) {
                    return Err((Reason::FieldTypeConflict, key.start));
                }
                self.repeated += 1;
            }
        }
        Ok(())
    }

    /// The same in n log n. The first fault in the input is reported, as above.
    #[cold]
    fn check_many(&mut self, data: &[u8]) -> Result<(), (Reason, usize)> {
        let tags = self.tags.len();
        let count = u32::try_from(tags + self.fields.len()).unwrap_or(u32::MAX);
        let mut order = std::mem::take(&mut self.order);
        order.clear();
        order.extend(0..count);
        let key = |i: u32| {
            let i = i as usize;
            if i < tags { self.tags[i].0 } else { self.fields[i - tags].0 }
        };
        order.sort_unstable_by(|&a, &b| key(a).of(data).cmp(key(b).of(data)).then(a.cmp(&b)));
        let mut fault: Option<(u32, Reason)> = None;
        let mut repeated = 0;
        for group in order.chunk_by(|&a, &b| key(a).of(data) == key(b).of(data)) {
            for &i in &group[1..] {
                let (first, this) = (group[0] as usize, i as usize);
                let reason = if this < tags {
                    Reason::DuplicateTag
                } else if first < tags {
                    Reason::TagFieldClash
                } else if !self.fields[first - tags].1.same_type(&self.fields[this - tags].1) {
                    Reason::FieldTypeConflict
                } else {
                    repeated += 1;
                    continue;
                };
                if fault.is_none_or(|(other, _)| i < other) {
                    fault = Some((i, reason));
                }
            }
        }
        let result = match fault {
            Some((i, reason)) => Err((reason, key(i).start)),
            None => Ok(()),
        };
        self.repeated = repeated;
        self.order = order;
        result
    }
}

#[inline(always)]
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.first() == b.first() && a == b
}
