//! Iterating over the lines of an input that is in memory.

use super::line::{EscapedStr, Line};
use super::parse::{Outcome, Record};
use super::{Dialect, LineError, Position, Reason, typed};
use crate::utf8::{self, Checked};

/// How long a record may be, in bytes, unless told otherwise: 64 MiB.
pub const DEFAULT_MAX_LINE_BYTES: usize = 64 << 20;

/// The byte order mark that an input may begin with.
pub(crate) const BOM: &[u8] = b"\xef\xbb\xbf";

/// The records of `input` in order. Blank lines and comments are passed over.
///
/// A record that cannot be read is an `Err` and costs its first physical line; reading goes on with the next.
///
/// # Examples
///
/// ```
/// use kwsync_formats::influx::{lines, FieldValue};
/// let input = b"cpu,host=a\\ b usage=42i,idle=.5 1700000000\nbroken\ncpu usage=43i";
/// let all: Vec<_> = lines(input).collect();
/// let first = all[0].as_ref().unwrap();
/// assert_eq!(first.measurement(), "cpu");
/// assert_eq!(first.tags().next().unwrap().1, "a b");
/// assert_eq!(first.fields().nth(1).unwrap().1, FieldValue::F64(0.5));
/// let error = all[1].as_ref().unwrap_err();
/// assert_eq!((error.reason().code(), error.position().line), ("missing_fields", 2));
/// assert_eq!(all[2].as_ref().unwrap().timestamp(), None);
/// ```
#[must_use]
pub fn lines(input: &[u8]) -> Lines<'_> {
    let at = if input.starts_with(BOM) { BOM.len() } else { 0 };
    Lines {
        data: input,
        at,
        line: 1,
        line_start: 0,
        records: 0,
        max: DEFAULT_MAX_LINE_BYTES,
        dialect: Dialect::Influx,
        record: Record::default(),
        checked: Checked::default(),
    }
}

/// Iterator over records; see [`lines`].
#[derive(Debug)]
pub struct Lines<'a> {
    data: &'a [u8],
    at: usize,
    line: u64,
    /// Of the current line, with the byte order mark if there is one
    line_start: usize,
    records: u64,
    max: usize,
    dialect: Dialect,
    record: Record,
    checked: Checked,
}

impl<'a> Lines<'a> {
    /// Refuses records longer than `bytes`, line end included (default 64 MiB).
    #[must_use]
    pub fn with_max_line_bytes(mut self, bytes: usize) -> Self {
        self.max = bytes.max(1);
        self
    }

    /// Reads this dialect (default `influx`).
    #[must_use]
    pub fn with_dialect(mut self, dialect: Dialect) -> Self {
        self.dialect = dialect;
        self
    }

    /// Numbers the first physical line `line` (default 1), for bytes cut from a longer input.
    #[must_use]
    pub fn at_line(mut self, line: u64) -> Self {
        self.line = line;
        self
    }

    fn place(&self, at: usize, line: u64, line_start: usize) -> Position {
        Position { byte: at as u64, line, column: (at - line_start) as u64 + 1, record: self.records }
    }

    fn next_line(&mut self, at: usize, lines: u64) {
        self.at = at;
        self.line += lines;
        self.line_start = at;
    }

    /// Gives up the physical line that begins at `start`.
    fn give_up(&mut self, start: usize, reason: Reason, fault: usize) -> LineError<'a> {
        self.records += 1;
        let fault = self.record.fault(self.data, start, reason, fault);
        let position = self.place(fault.at, self.line, self.line_start);
        let later = fault.later.map(|(reason, lines)| (reason, self.line + lines));
        let rest = &self.data[start..];
        let (raw, next) = match memchr::memchr(b'\n', rest) {
            Some(n) => (&rest[..n], start + n + 1),
            None => (rest, self.data.len()),
        };
        self.next_line(next, 1);
        LineError { reason: fault.reason, position, raw: raw.strip_suffix(b"\r").unwrap_or(raw), later }
    }

    #[allow(unsafe_code)]
    fn text(&self, start: usize, end: usize) -> &'a str {
        // SAFETY: only called within a record that `checked` found valid, with offsets at ASCII separators.
        unsafe { utf8::trusted(self.data.get(start..end).unwrap_or_default()) }
    }

    fn line(&mut self, start: usize) -> Line<'a> {
        self.records += 1;
        let record = &self.record;
        let tags = match (record.tags.first(), record.tags.last()) {
            (Some((first, _)), Some((_, last))) => self.text(first.start, last.end),
            _ => "",
        };
        let fields = match record.fields.first() {
            Some((first, _)) => self.text(first.start, record.fields_end),
            None => "",
        };
        let name = record.measurement;
        let line = Line {
            dialect: self.dialect,
            raw: self.text(start, record.text_end),
            measurement: EscapedStr::new(
                self.text(name.start, name.end),
                self.dialect.measurement(),
                name.escaped,
            ),
            tags,
            fields,
            timestamp: record.timestamp,
            repeated: record.repeated,
            position: self.place(name.start, self.line, self.line_start),
        };
        let (end, lines) = (record.end, record.inner_lines + 1);
        self.next_line(end, lines);
        line
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = Result<Line<'a>, LineError<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let start = self.at;
            if start >= self.data.len() {
                return None;
            }
            let window_end = start.saturating_add(self.max).min(self.data.len());
            let window = &self.data[..window_end];
            match typed::parse(self.dialect, window, start, window_end == self.data.len(), &mut self.record) {
                Outcome::Record => {
                    let (start, end) = (start, self.record.end);
                    return Some(match self.checked.check(self.data, start, end) {
                        Ok(()) => Ok(self.line(start)),
                        Err(fault) => Err(self.give_up(start, Reason::InvalidUtf8, fault)),
                    });
                }
                Outcome::Blank(next) => self.next_line(next, 1),
                Outcome::Bad(reason, fault) => return Some(Err(self.give_up(start, reason, fault))),
                // A comment may be as long as it likes; a record may not.
                Outcome::Incomplete if is_blank(window, start) => {
                    let rest = &self.data[start..];
                    let next = memchr::memchr(b'\n', rest).map_or(self.data.len(), |n| start + n + 1);
                    self.next_line(next, 1);
                }
                Outcome::Incomplete => return Some(Err(self.give_up(start, Reason::LineTooLong, start))),
            }
        }
    }
}

impl std::iter::FusedIterator for Lines<'_> {}

/// Whether what `data` has of the line at `start` is a comment.
pub(crate) fn is_blank(data: &[u8], start: usize) -> bool {
    let rest = data.get(start..).unwrap_or_default();
    rest.iter().find(|&&b| !matches!(b, b' ' | b'\t')) == Some(&b'#')
}
