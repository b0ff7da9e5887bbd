//! Lines into fields.

use super::options::{DelimitedOptions, Form, Newline};
use super::scan::Needles;

/// A field as it lies in the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) start: usize,
    pub(super) end: usize,
    /// A part of it stood in quotes.
    pub(super) quoted: bool,
    /// There are escapes to undo, or quotes elsewhere than around it all; without, the offsets are those of the value.
    pub(super) escaped: bool,
}

impl Field {
    #[inline(always)]
    pub(super) fn of<'a>(&self, data: &'a [u8]) -> &'a [u8] {
        data.get(self.start..self.end).unwrap_or_default()
    }
}

/// What stands at the start of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Split {
    /// A record, in the fields; the end of its text, and of its line.
    Record { text_end: usize, end: usize },
    /// `\.`, the end of the data; where the next line begins.
    EndMarker(usize),
    /// The data end too early; more is needed.
    Incomplete,
    /// Code, what is wrong, and at which offset.
    Bad(&'static str, &'static str, usize),
}

pub(super) const UNTERMINATED_QUOTE: &str = "unterminated_quote";

const LITERAL_CR: Split = Split::Bad(
    "literal_carriage_return",
    "a carriage return stands where lines end otherwise; write \\r, quote the field, or set newline=",
    0,
);
const LITERAL_LF: Split = Split::Bad(
    "literal_newline",
    "a line feed stands where lines end otherwise; write \\n, quote the field, or set newline=",
    0,
);

/// Cuts lines. It knows what ends a line once it has seen the first one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Splitter {
    needles: Needles,
    delimiter: Option<u8>,
    quote: Option<u8>,
    escape: Option<u8>,
    text: bool,
    asked: Newline,
    /// `Auto` until the first line has ended
    pub(super) newline: Newline,
    /// No quote that opens in the data is closed in them
    pub(super) unclosed: bool,
}

impl Splitter {
    pub(super) fn new(options: &DelimitedOptions) -> Self {
        let text = options.form == Form::Text;
        let escape = if text { options.escape } else { options.escape.or(options.quote) };
        let other = if text { escape } else { options.quote };
        let needles =
            Needles::new([b'\n', b'\r', options.delimiter.unwrap_or(b'\n'), other.unwrap_or(b'\n')]);
        Self {
            needles,
            delimiter: options.delimiter,
            quote: options.quote,
            escape,
            text,
            asked: options.newline,
            newline: options.newline,
            unclosed: false,
        }
    }

    /// Once a quote has not been closed up to the end of the data, no later one is either: each is behind an escape, or
    /// it would have closed the first. Where quotes escape themselves that does not follow.
    pub(super) fn stays_unclosed(&self) -> bool {
        self.escape != self.quote
    }

    /// The same for a text that is one record, without its end.
    pub(super) const fn within_line(mut self) -> Self {
        self.newline = Newline::Lf;
        self
    }

    /// The last byte of a line.
    pub(super) fn line_end(&self) -> u8 {
        if self.newline == Newline::Cr { b'\r' } else { b'\n' }
    }

    /// Quote and escape.
    pub(super) const fn marks(&self) -> (Option<u8>, Option<u8>) {
        (self.quote, self.escape)
    }

    /// Forgets what ends a line.
    pub(super) fn restart(&mut self) {
        self.newline = self.asked;
    }

    /// Reads the line at `start`. With `last`, the end of the data ends it.
    pub(super) fn split(&mut self, data: &[u8], start: usize, last: bool, fields: &mut Vec<Field>) -> Split {
        fields.clear();
        let mut from = start;
        let (mut quoted, mut escaped) = (false, false);
        let needles = self.needles;
        let mut walk = needles.walk(data, start);
        loop {
            let stop = walk.next();
            let Some(&byte) = data.get(stop) else {
                if !last {
                    return Split::Incomplete;
                }
                fields.push(Self::field(from, data.len(), quoted, escaped));
                return Split::Record { text_end: data.len(), end: data.len() };
            };
            if self.delimiter == Some(byte) {
                fields.push(Self::field(from, stop, quoted, escaped));
                (from, quoted, escaped) = (stop + 1, false, false);
            } else if byte == b'\n' || byte == b'\r' {
                match self.end_of_line(data, stop, byte, last) {
                    Ok(end) => {
                        fields.push(Self::field(from, stop, quoted, escaped));
                        return Split::Record { text_end: stop, end };
                    }
                    Err(split) => return split,
                }
            } else if self.text {
                // The escape
                if byte == b'\\' && data.get(stop + 1) == Some(&b'.') {
                    return self.end_marker(data, start, stop, last);
                }
                match data.get(stop + 1) {
                    None if !last => return Split::Incomplete,
                    None => {}
                    Some(_) => {
                        escaped = true;
                        walk.skip(stop + 2);
                    }
                }
            } else {
                // The quote. An escape is one only within quotes.
                escaped |= quoted || stop != from;
                quoted = true;
                match self.quoted(data, stop, last) {
                    Ok((end, pairs)) => {
                        escaped |= pairs;
                        let after = data.get(end).copied();
                        escaped |= !matches!(after, None | Some(b'\n' | b'\r')) && after != self.delimiter;
                        walk.skip(end);
                    }
                    Err(split) => return split,
                }
            }
        }
    }

    fn field(start: usize, end: usize, quoted: bool, escaped: bool) -> Field {
        if quoted && !escaped {
            return Field { start: start + 1, end: end - 1, quoted, escaped };
        }
        Field { start, end, quoted, escaped }
    }

    /// Where the next line begins, if the byte at `stop` ends this one.
    fn end_of_line(&mut self, data: &[u8], stop: usize, byte: u8, last: bool) -> Result<usize, Split> {
        let next = data.get(stop + 1);
        if byte == b'\r' && next.is_none() && !last && matches!(self.newline, Newline::Auto | Newline::CrLf) {
            return Err(Split::Incomplete);
        }
        let found = match (byte, next) {
            (b'\n', _) => Newline::Lf,
            (_, Some(b'\n')) if self.newline != Newline::Cr => Newline::CrLf,
            _ => Newline::Cr,
        };
        if self.newline == Newline::Auto {
            self.newline = found;
        }
        match found == self.newline {
            true if found == Newline::CrLf => Ok(stop + 2),
            true => Ok(stop + 1),
            false => Err(match if found == Newline::Lf { LITERAL_LF } else { LITERAL_CR } {
                Split::Bad(code, text, _) => Split::Bad(code, text, stop),
                other => other,
            }),
        }
    }

    /// The end of the quoted part whose quote stands at `open`, and whether there are escapes in it.
    fn quoted(self, data: &[u8], open: usize, last: bool) -> Result<(usize, bool), Split> {
        let (quote, escape) = (self.quote.unwrap_or(b'"'), self.escape.unwrap_or(b'"'));
        let (mut at, mut pairs) = (open + 1, false);
        loop {
            let rest = if self.unclosed { &[] } else { data.get(at..).unwrap_or_default() };
            let Some(n) = memchr::memchr2(quote, escape, rest) else {
                return Err(if last {
                    Split::Bad(UNTERMINATED_QUOTE, "a quoted field has no closing quote", open)
                } else {
                    Split::Incomplete
                });
            };
            at += n;
            let next = data.get(at + 1).copied();
            let byte = data.get(at).copied();
            if byte == Some(escape) {
                match next {
                    None if !last => return Err(Split::Incomplete),
                    Some(next) if next == quote || next == escape => {
                        pairs = true;
                        at += 2;
                        continue;
                    }
                    _ => {}
                }
            }
            at += 1;
            if byte == Some(quote) {
                return Ok((at, pairs));
            }
        }
    }

    /// A line that is `\.`, or a fault.
    fn end_marker(&mut self, data: &[u8], start: usize, stop: usize, last: bool) -> Split {
        let bad = Split::Bad("end_marker", "the end marker \\. stands alone on its line", stop);
        if stop != start {
            return bad;
        }
        match data.get(stop + 2).copied() {
            None if last => Split::EndMarker(data.len()),
            None => Split::Incomplete,
            Some(byte @ (b'\n' | b'\r')) => match self.end_of_line(data, stop + 2, byte, last) {
                Ok(end) => Split::EndMarker(end),
                Err(split) => split,
            },
            Some(_) => bad,
        }
    }

    /// Appends the value of a field that has escapes or quotes to undo.
    pub(super) fn undo(&self, raw: &[u8], out: &mut Vec<u8>) {
        if self.text { undo_text(raw, self.escape.unwrap_or(b'\\'), out) } else { self.undo_csv(raw, out) }
    }

    fn undo_csv(&self, raw: &[u8], out: &mut Vec<u8>) {
        let (quote, escape) = (self.quote.unwrap_or(b'"'), self.escape.unwrap_or(b'"'));
        let (mut inside, mut at) = (false, 0);
        while let Some(&byte) = raw.get(at) {
            let next = raw.get(at + 1).copied();
            at += 1;
            if inside && byte == escape && next.is_some_and(|next| next == quote || next == escape) {
                out.extend(next);
                at += 1;
            } else if byte == quote {
                inside = !inside;
            } else {
                out.push(byte);
            }
        }
    }
}

/// `\b \f \n \r \t \v`, `\123` and `\x5b` are what they are in C; any other byte behind an escape is itself.
fn undo_text(raw: &[u8], escape: u8, out: &mut Vec<u8>) {
    let mut at = 0;
    while let Some(&byte) = raw.get(at) {
        at += 1;
        if byte != escape {
            out.push(byte);
            continue;
        }
        let Some(&next) = raw.get(at) else {
            out.push(byte);
            break;
        };
        at += 1;
        match next {
            b'b' => out.push(0x08),
            b'f' => out.push(0x0c),
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            b'v' => out.push(0x0b),
            b'0'..=b'7' => {
                let mut value = u32::from(next - b'0');
                for _ in 0..2 {
                    match raw.get(at) {
                        Some(digit @ b'0'..=b'7') => value = value * 8 + u32::from(digit - b'0'),
                        _ => break,
                    }
                    at += 1;
                }
                out.push(value as u8);
            }
            b'x' => {
                let digits = raw.get(at..).unwrap_or_default().iter().take(2);
                let digits: Vec<u32> = digits.map_while(|d| char::from(*d).to_digit(16)).collect();
                if digits.is_empty() {
                    out.push(b'x');
                } else {
                    out.push(digits.iter().fold(0, |value, digit| value * 16 + digit) as u8);
                    at += digits.len();
                }
            }
            other => out.push(other),
        }
    }
}
