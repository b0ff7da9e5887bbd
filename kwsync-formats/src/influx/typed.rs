//! The parser of the dialects with typed values, `kwdb` and `tdengine`: one record a physical line.

use super::parse::{self, Names, Outcome, Record, Span, Value};
use super::scan::name_stop;
use super::{Dialect, Reason, number};

type Step<T> = Result<T, (Reason, usize)>;

/// Reads the record or blank line at `start` in any dialect. With `last`, the end of the data ends the line.
#[inline(always)]
pub(crate) fn parse(dialect: Dialect, data: &[u8], start: usize, last: bool, record: &mut Record) -> Outcome {
    match dialect {
        Dialect::Influx => parse::parse(data, start, last, record),
        Dialect::Kwdb | Dialect::Tdengine => parse_line(dialect, data, start, last, record),
    }
}

#[inline(never)]
fn parse_line(dialect: Dialect, data: &[u8], start: usize, last: bool, record: &mut Record) -> Outcome {
    let rest = data.get(start..).unwrap_or_default();
    let (line, next) = match memchr::memchr(b'\n', rest) {
        Some(n) => {
            let line = rest.get(..n).unwrap_or_default();
            (line.strip_suffix(b"\r").unwrap_or(line), start + n + 1)
        }
        None if last => (rest, data.len()),
        None => return Outcome::Incomplete,
    };
    let data = data.get(..start + line.len()).unwrap_or_default();
    let at = start + line.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    if matches!(data.get(at), None | Some(b'#')) {
        return Outcome::Blank(next);
    }
    record.tags.clear();
    record.fields.clear();
    record.inner_lines = 0;
    record.timestamp = None;
    record.end = next;
    match (Parser { dialect, data }).record(at, record).and_then(|()| record.check(data)) {
        Ok(()) => Outcome::Record,
        Err((reason, at)) => Outcome::Bad(reason, at),
    }
}

/// End of the name or tag value at `at`, and whether there are escapes.
///
/// A backslash before any byte that it does not escape is itself; `None` where that, or a special byte without its
/// backslash, would give one name two spellings. Tag values may do so (`value`).
fn text_end(data: &[u8], at: usize, kind: Names, value: bool) -> Option<(usize, bool)> {
    let (mut at, mut escaped) = (at, false);
    let equals = matches!(kind, Names::TdMeasurement);
    loop {
        let stop = name_stop(data, at);
        let plain = data.get(at..stop).unwrap_or_default();
        if kind == Names::KwdbName && !value && plain.contains(&b'"') {
            return None;
        }
        at = stop;
        match data.get(at) {
            Some(b'\\') => {
                let pair = data.get(at + 1).is_some_and(|&next| kind.escapes(next));
                if !pair && !value {
                    return None;
                }
                escaped |= pair;
                at += 1 + usize::from(pair);
            }
            Some(b'=') if equals => at += 1,
            _ => return Some((at, escaped)),
        }
    }
}

/// The end of a tag or field key, or of a tag value, of a record that has been checked.
pub(crate) fn name_end(data: &[u8], at: usize, kind: Names) -> (usize, bool) {
    text_end(data, at, kind, true).unwrap_or((data.len(), false))
}

/// The value at `at` of a record that has been checked, and where it ends.
pub(crate) fn value(dialect: Dialect, data: &[u8], at: usize) -> Option<(Value, usize)> {
    Parser { dialect, data }.value(at).ok()
}

#[derive(Clone, Copy)]
struct Parser<'a> {
    dialect: Dialect,
    /// Up to the end of the line
    data: &'a [u8],
}

impl Parser<'_> {
    fn byte(self, at: usize) -> Option<u8> {
        self.data.get(at).copied()
    }

    /// The fault of a token that stops at `at`, where `reason` is what a separator or the line end means.
    fn fault<T>(self, at: usize, reason: Reason) -> Step<T> {
        match self.byte(at) {
            Some(byte) if byte < b' ' || byte == 0x7f => Err((Reason::ControlCharacter, at)),
            _ => Err((reason, at)),
        }
    }

    fn spaces(self, at: usize) -> usize {
        let rest = self.data.get(at..).unwrap_or_default();
        at + rest.iter().take_while(|&&byte| byte == b' ').count()
    }

    /// A measurement or key.
    fn name(self, start: usize, kind: Names) -> Step<Span> {
        match text_end(self.data, start, kind, false) {
            Some((end, escaped)) => Ok(Span { start, end, escaped, doubled: false }),
            None => Err((Reason::BadEscape, start)),
        }
    }

    fn record(self, start: usize, record: &mut Record) -> Step<()> {
        record.measurement = self.name(start, self.dialect.measurement())?;
        let mut at = record.measurement.end;
        if at == start {
            return self.fault(at, Reason::MissingMeasurement);
        }
        while self.byte(at) == Some(b',') {
            at = self.tag(at + 1, record)?;
        }
        if self.byte(at) != Some(b' ') {
            return self.fault(at, Reason::MissingFields);
        }
        at = self.spaces(at);
        if at == self.data.len() {
            return Err((Reason::MissingFields, at));
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

    fn tag(self, start: usize, record: &mut Record) -> Step<usize> {
        let key = self.name(start, self.dialect.key())?;
        if key.end == start {
            return self.fault(start, Reason::EmptyTagKey);
        }
        if self.byte(key.end) != Some(b'=') {
            return self.fault(key.end, Reason::MissingTagValue);
        }
        let start = key.end + 1;
        let (end, escaped) = name_end(self.data, start, self.dialect.key());
        match self.byte(end) {
            Some(b'=') => return Err((Reason::UnescapedEquals, end)),
            _ if end == start => return self.fault(end, Reason::EmptyTagValue),
            Some(b',' | b' ') => {}
            _ => return self.fault(end, Reason::MissingFields),
        }
        record.tags.push((key, Span { start, end, escaped, doubled: false }));
        Ok(end)
    }

    fn field(self, start: usize, record: &mut Record) -> Step<usize> {
        let key = self.name(start, self.dialect.key())?;
        if key.end == start {
            let comma = !record.fields.is_empty() && self.byte(start) != Some(b'=');
            return self.fault(start, if comma { Reason::TrailingComma } else { Reason::EmptyFieldKey });
        }
        if self.byte(key.end) != Some(b'=') {
            return self.fault(key.end, Reason::MissingFieldValue);
        }
        let (value, end) = self.value(key.end + 1)?;
        if !matches!(self.byte(end), None | Some(b',' | b' ')) {
            let reason = if value.is_text() { Reason::TextAfterString } else { Reason::BadValue };
            return self.fault(end, reason);
        }
        record.fields.push((key, value));
        Ok(end)
    }

    fn value(self, at: usize) -> Step<(Value, usize)> {
        let kwdb = self.dialect == Dialect::Kwdb;
        match (self.byte(at), self.byte(at + 1)) {
            (None | Some(b',' | b' '), _) => self.fault(at, Reason::MissingFieldValue),
            (Some(b'"'), _) => {
                let (span, end) = self.string(at, b'"')?;
                Ok((if kwdb { self.maybe_bytes(span) } else { Value::Str(span) }, end))
            }
            (Some(b'\''), _) if kwdb => {
                let (span, end) = self.string(at, b'\'')?;
                Ok((Value::Str(span), end))
            }
            (Some(b'\\'), Some(b'"')) if kwdb => {
                let (span, end) = self.doubled(at)?;
                Ok((self.maybe_bytes(span), end))
            }
            (Some(b'L'), Some(quote @ (b'"' | b'\''))) if kwdb || quote == b'"' => {
                let (span, end) = self.string(at + 1, quote)?;
                Ok((Value::NStr(span), end))
            }
            (Some(b'L'), Some(b'\\')) if kwdb && self.byte(at + 2) == Some(b'"') => {
                let (span, end) = self.doubled(at + 1)?;
                Ok((Value::NStr(span), end))
            }
            (Some(b'B'), Some(b'"')) if !kwdb => {
                let (span, end) = self.string(at + 1, b'"')?;
                Ok((self.binary(span)?, end))
            }
            (Some(b'G'), Some(b'"')) if !kwdb => {
                let (span, end) = self.string(at + 1, b'"')?;
                Ok((Value::Geometry(span), end))
            }
            (Some(b'-' | b'.' | b'0'..=b'9'), _) => {
                let end = name_stop(self.data, at);
                Ok((self.number(at, end)?, end))
            }
            (Some(_), _) => {
                let end = name_stop(self.data, at);
                match self.boolean(self.data.get(at..end).unwrap_or_default()) {
                    Some(value) => Ok((Value::Bool(value), end)),
                    None => self.fault(at, Reason::BadValue),
                }
            }
        }
    }

    fn boolean(self, token: &[u8]) -> Option<bool> {
        if self.dialect == Dialect::Kwdb {
            let is = |word: &[u8]| token.eq_ignore_ascii_case(word);
            return is(b"true").then_some(true).or_else(|| is(b"false").then_some(false));
        }
        let (value, end) = parse::boolean(token, 0)?;
        (end == token.len()).then_some(value)
    }

    /// The string whose opening quote stands at `at`, and the offset after its closing one.
    fn string(self, at: usize, quote: u8) -> Step<(Span, usize)> {
        let kind = self.dialect.string();
        let start = at + 1;
        let (mut end, mut escaped) = (start, false);
        loop {
            let rest = self.data.get(end..).unwrap_or_default();
            let Some(n) = memchr::memchr2(quote, b'\\', rest) else {
                return Err((Reason::UnterminatedString, at));
            };
            end += n;
            if self.byte(end) == Some(quote) {
                return Ok((Span { start, end, escaped, doubled: false }, end + 1));
            }
            let pair = self.byte(end + 1).is_some_and(|next| kind.escapes(next));
            escaped |= pair;
            end += 1 + usize::from(pair);
        }
    }

    /// The string whose opening `\"` stands at `at`: the whole line has been quoted once more, so each backslash
    /// inside stands twice and a quote is `\\\"`.
    fn doubled(self, at: usize) -> Step<(Span, usize)> {
        let start = at + 2;
        let mut end = start;
        loop {
            let rest = self.data.get(end..).unwrap_or_default();
            let Some(n) = memchr::memchr(b'\\', rest) else {
                return Err((Reason::UnterminatedString, at));
            };
            end += n;
            match self.byte(end + 1) {
                Some(b'"') => {
                    let escaped =
                        memchr::memchr(b'\\', self.data.get(start..end).unwrap_or_default()).is_some();
                    return Ok((Span { start, end, escaped, doubled: true }, end + 2));
                }
                // An escape of the text itself; what it escapes may be quoted in turn.
                Some(b'\\') => {
                    let quoted =
                        self.byte(end + 2) == Some(b'\\') && matches!(self.byte(end + 3), Some(b'"' | b'\\'));
                    end += if quoted { 4 } else { 2 };
                }
                _ => end += 1,
            }
        }
    }

    /// `\x` or `\\x` and pairs of hexadecimal digits, to the end of the string, are bytes.
    fn maybe_bytes(self, span: Span) -> Value {
        let text = span.of(self.data);
        let prefix = [b"\\\\x".as_slice(), b"\\x"].into_iter().find(|prefix| text.starts_with(prefix));
        match prefix {
            Some(prefix) if is_hex(text.get(prefix.len()..).unwrap_or_default()) => Value::Bytes {
                span: Span { start: span.start + prefix.len(), escaped: false, doubled: false, ..span },
                hex: true,
            },
            _ => Value::Str(span),
        }
    }

    /// TDengine's `B"..."`: hexadecimal behind `\x`, else the bytes of the text.
    fn binary(self, span: Span) -> Step<Value> {
        match span.of(self.data).strip_prefix(b"\\x") {
            Some(digits) if is_hex(digits) => {
                Ok(Value::Bytes { span: Span { start: span.start + 2, ..span }, hex: true })
            }
            Some(_) => Err((Reason::BadBytes, span.start)),
            None => Ok(Value::Bytes { span, hex: false }),
        }
    }

    fn number(self, start: usize, end: usize) -> Step<Value> {
        let token = self.data.get(start..end).unwrap_or_default();
        let suffix = token.iter().position(|byte| matches!(byte, b'i' | b'u' | b'f')).unwrap_or(token.len());
        let (digits, suffix) = token.split_at(suffix);
        let tdengine = self.dialect == Dialect::Tdengine;
        match suffix {
            b"" | b"f64" => float(digits).map(Value::F64),
            b"f32" => float(digits).and_then(|wide| {
                let narrow = wide as f32;
                // The decimal text is rounded once, not by way of the double.
                let exact = std::str::from_utf8(digits).ok().and_then(|text| text.parse().ok());
                if narrow.is_finite() {
                    Ok(Value::F32(exact.unwrap_or(narrow)))
                } else {
                    Err(Reason::OutOfRange)
                }
            }),
            b"i" | b"i64" => signed(digits).map(Value::I64),
            b"i32" => signed(digits).and_then(narrow).map(Value::I32),
            b"i16" => signed(digits).and_then(narrow).map(Value::I16),
            b"i8" if tdengine => signed(digits).and_then(narrow).map(Value::I8),
            b"u" | b"u64" if tdengine => unsigned(digits).map(Value::U64),
            b"u32" if tdengine => unsigned(digits).and_then(narrow).map(Value::U32),
            b"u16" if tdengine => unsigned(digits).and_then(narrow).map(Value::U16),
            b"u8" if tdengine => unsigned(digits).and_then(narrow).map(Value::U8),
            _ => Err(Reason::BadSuffix),
        }
        .map_err(|reason| (reason, start))
    }

    /// Timestamp and line end.
    fn tail(self, start: usize, record: &mut Record) -> Step<()> {
        record.text_end = start;
        record.fields_end = start;
        let at = self.spaces(start);
        if at == self.data.len() {
            return Ok(());
        }
        let (timestamp, end) = number::integer(self.data, at);
        match (timestamp, self.byte(end)) {
            (None, _) if end > at => return Err((Reason::TimestampOverflow, at)),
            (Some(_), None | Some(b' ')) => {}
            _ => return self.fault(end, Reason::BadTimestamp),
        }
        record.timestamp = timestamp;
        record.timestamp_at = at;
        record.text_end = end;
        let at = self.spaces(end);
        // TDengine ignores what follows.
        if at < self.data.len() && self.dialect == Dialect::Kwdb {
            return self.fault(at, Reason::TrailingText);
        }
        Ok(())
    }
}

fn is_hex(digits: &[u8]) -> bool {
    digits.len().is_multiple_of(2) && digits.iter().all(u8::is_ascii_hexdigit)
}

/// Appends the bytes that pairs of hexadecimal digits stand for.
pub(crate) fn unhex(digits: &[u8], out: &mut Vec<u8>) {
    let value = |digit: u8| (digit as char).to_digit(16).unwrap_or(0) as u8;
    out.extend(digits.chunks_exact(2).map(|pair| match pair {
        [high, low] => value(*high) << 4 | value(*low),
        _ => 0,
    }));
}

fn float(digits: &[u8]) -> Result<f64, Reason> {
    match number::parse(digits) {
        Ok(number::Number::F64(value)) => Ok(value),
        Err(number::NumberError::FloatOverflow) => Err(Reason::FloatOverflow),
        _ => Err(Reason::BadFloat),
    }
}

fn signed(digits: &[u8]) -> Result<i64, Reason> {
    match number::integer(digits, 0) {
        (Some(value), end) if end == digits.len() => Ok(value),
        (None, end) if end > 0 => Err(Reason::IntegerOverflow),
        _ => Err(Reason::BadInteger),
    }
}

fn unsigned(digits: &[u8]) -> Result<u64, Reason> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Reason::BadInteger);
    }
    let value = std::str::from_utf8(digits).ok().and_then(|text| text.parse().ok());
    value.ok_or(Reason::IntegerOverflow)
}

fn narrow<A, B: TryFrom<A>>(value: A) -> Result<B, Reason> {
    B::try_from(value).map_err(|_| Reason::OutOfRange)
}
