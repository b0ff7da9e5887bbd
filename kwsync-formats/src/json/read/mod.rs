//! JSON as records: one pass over an object gives its values, flat, with their places.

pub(crate) mod number;
pub(crate) mod scan;
pub(crate) mod string;

use self::number::NumberFault;
use self::string::End;
use crate::build::{Kind, NONE};

/// Objects and arrays within each other.
pub(crate) const MAX_DEPTH: usize = 128;

/// Values in an object
const MAX_VALUES: usize = 1 << 18;

/// A stretch of the input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: usize,
    pub(crate) end: usize,
    /// It is a string with escapes.
    pub(crate) escaped: bool,
}

impl Span {
    pub(crate) fn of<'a>(&self, data: &'a [u8]) -> &'a [u8] {
        data.get(self.start..self.end).unwrap_or_default()
    }

    /// What it says, without escapes.
    pub(crate) fn text(&self, data: &[u8]) -> Vec<u8> {
        let raw = self.of(data);
        let mut out = Vec::with_capacity(raw.len());
        if self.escaped {
            string::unescape(raw, &mut out)
        } else {
            out.extend_from_slice(raw)
        }
        out
    }
}

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum What {
    /// A scalar, or with [`Kind::Json`] an array or object that is kept as text
    Value(Kind),
    /// An object whose values follow
    Object,
}

/// A value of an object.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Field {
    /// Without the quotes
    pub(crate) key: Span,
    /// The object that it stands in; [`NONE`] for the outermost
    pub(crate) parent: u32,
    pub(crate) what: What,
    /// The value; a string without its quotes
    pub(crate) value: Span,
}

impl Field {
    /// Where the value begins, the quote of a string included.
    pub(crate) fn start(&self) -> usize {
        self.value.start - usize::from(self.is_text())
    }

    /// Where it ends, quote included.
    pub(crate) fn end(&self) -> usize {
        self.value.end + usize::from(self.is_text())
    }

    pub(crate) fn is_text(&self) -> bool {
        self.what == What::Value(Kind::Text)
    }
}

/// Why no value was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The data end before the value does.
    Open,
    /// Code, reason, place
    Bad(&'static str, &'static str, usize),
}

impl From<NumberFault> for (&'static str, &'static str) {
    fn from(fault: NumberFault) -> Self {
        match fault {
            NumberFault::Grammar => ("bad_number", "no number of JSON's"),
            NumberFault::Overflow => ("float_overflow", "the number is beyond what a float can hold"),
        }
    }
}

/// Which objects are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nested {
    /// The values of nested objects are read, too.
    Open,
    /// Nested objects are kept as text.
    Keep,
}

/// The values of an object. Kept from record to record, so that it allocates only while it grows.
#[derive(Debug, Default)]
pub(crate) struct Object {
    pub(crate) fields: Vec<Field>,
    /// After the closing brace
    pub(crate) end: usize,
    /// Line feeds in it, and the byte after the last of them
    pub(crate) lines: u32,
    pub(crate) line_start: usize,
    open: Vec<u32>,
}

/// Reads bytes from front to back.
pub(crate) struct Reader<'a> {
    pub(crate) data: &'a [u8],
    pub(crate) at: usize,
    /// A line feed ends everything.
    pub(crate) one_line: bool,
    lines: u32,
    line_start: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(data: &'a [u8], at: usize, one_line: bool) -> Self {
        Self { data, at, one_line, lines: 0, line_start: 0 }
    }

    fn bad<T>(&self, reason: &'static str) -> Result<T, Stop> {
        match self.data.get(self.at) {
            Some(_) => Err(Stop::Bad("bad_json", reason, self.at)),
            None => Err(Stop::Open),
        }
    }

    /// The next byte that is no blank.
    #[inline(always)]
    pub(crate) fn peek(&mut self) -> Option<u8> {
        loop {
            let byte = *self.data.get(self.at)?;
            match byte {
                b' ' | b'\t' | b'\r' => self.at += 1,
                b'\n' if !self.one_line => {
                    self.at += 1;
                    self.lines += 1;
                    self.line_start = self.at;
                }
                _ => return Some(byte),
            }
        }
    }

    /// The string whose opening quote is at hand.
    pub(crate) fn string(&mut self) -> Result<Span, Stop> {
        let start = self.at + 1;
        match string::end(self.data, start) {
            End::Quote(end, escaped) => {
                self.at = end + 1;
                Ok(Span { start, end, escaped })
            }
            End::Bad(code, reason, at) => Err(Stop::Bad(code, reason, at)),
            End::Open => Err(Stop::Open),
        }
    }

    fn word(&mut self, word: &[u8], kind: Kind) -> Result<(Kind, Span), Stop> {
        let rest = self.data.get(self.at..).unwrap_or_default();
        if rest.starts_with(word) {
            let start = self.at;
            self.at += word.len();
            return Ok((kind, Span { start, end: self.at, escaped: false }));
        }
        if word.starts_with(rest) {
            return Err(Stop::Open);
        }
        self.bad("true, false, null, a number, a string, an object or an array is missing here")
    }

    /// The scalar at hand.
    pub(crate) fn scalar(&mut self) -> Result<(Kind, Span), Stop> {
        match self.data.get(self.at) {
            Some(b'"') => Ok((Kind::Text, self.string()?)),
            Some(b'-' | b'0'..=b'9') => {
                let start = self.at;
                match number::number(self.data, start) {
                    // It may go on, or become one.
                    Ok((_, end)) | Err((_, end)) if end >= self.data.len() => Err(Stop::Open),
                    Ok((kind, end)) => {
                        self.at = end;
                        Ok((kind, Span { start, end, escaped: false }))
                    }
                    Err((fault, at)) => {
                        let (code, reason) = fault.into();
                        Err(Stop::Bad(code, reason, at))
                    }
                }
            }
            Some(b't') => self.word(b"true", Kind::Bool(true)),
            Some(b'f') => self.word(b"false", Kind::Bool(false)),
            _ => self.word(b"null", Kind::Null),
        }
    }

    /// Reads the value at hand, whatever it is, and forgets it. Returns where it lay.
    pub(crate) fn skip(&mut self) -> Result<Span, Stop> {
        let start = self.at;
        // Bit 0 is set in an object.
        let (mut kinds, mut depth) = (0u128, 0usize);
        loop {
            match self.peek() {
                Some(b'{') => {
                    self.at += 1;
                    self.deeper(&mut depth)?;
                    kinds = kinds << 1 | 1;
                    match self.peek() {
                        Some(b'}') => {}
                        _ => {
                            self.key()?;
                            continue;
                        }
                    }
                }
                Some(b'[') => {
                    self.at += 1;
                    self.deeper(&mut depth)?;
                    kinds <<= 1;
                    match self.peek() {
                        Some(b']') => {}
                        _ => continue,
                    }
                }
                _ => {
                    self.scalar()?;
                }
            }
            // After a value, or before the bracket that closes an empty one
            loop {
                if depth == 0 {
                    return Ok(Span { start, end: self.at, escaped: false });
                }
                let object = kinds & 1 == 1;
                match (self.peek(), object) {
                    (Some(b'}'), true) | (Some(b']'), false) => {
                        self.at += 1;
                        depth -= 1;
                        kinds >>= 1;
                    }
                    (Some(b','), true) => {
                        self.at += 1;
                        self.key()?;
                        break;
                    }
                    (Some(b','), false) => {
                        self.at += 1;
                        break;
                    }
                    (_, true) => return self.bad("a comma or } is missing here"),
                    (_, false) => return self.bad("a comma or ] is missing here"),
                }
            }
        }
    }

    /// Goes to the end of the array or object at hand by its brackets and strings alone. Returns where it lay.
    pub(crate) fn leap(&mut self) -> Result<Span, Stop> {
        let start = self.at;
        let Some(end) = scan::Leap::default().find(self.data, start) else {
            return Err(self.open_end(start));
        };
        let lay = self.data.get(start..end).unwrap_or_default();
        if let Some(last) = memchr::memrchr(b'\n', lay) {
            if self.one_line {
                return Err(self.open_end(start));
            }
            self.lines += memchr::memchr_iter(b'\n', lay).count() as u32;
            self.line_start = start + last + 1;
        }
        self.at = end;
        Ok(Span { start, end, escaped: false })
    }

    /// The data, or the line, end within what began at `start`.
    fn open_end(&self, start: usize) -> Stop {
        match memchr::memchr(b'\n', self.data.get(start..).unwrap_or_default()) {
            Some(n) if self.one_line => {
                Stop::Bad("bad_json", "the line ends within an array or object", start + n)
            }
            _ => Stop::Open,
        }
    }

    /// Line feeds read over, and the byte after the last of them.
    pub(crate) fn lines(&self) -> (u32, usize) {
        (self.lines, self.line_start)
    }

    fn deeper(&self, depth: &mut usize) -> Result<(), Stop> {
        *depth += 1;
        if *depth > MAX_DEPTH {
            return Err(Stop::Bad(
                "too_deep",
                "more than 128 arrays and objects within each other",
                self.at - 1,
            ));
        }
        Ok(())
    }

    /// A key and its colon.
    pub(crate) fn key(&mut self) -> Result<Span, Stop> {
        if self.peek() != Some(b'"') {
            return self.bad("a key in double quotes is missing here");
        }
        let key = self.string()?;
        if self.peek() != Some(b':') {
            return self.bad("a colon is missing after the key");
        }
        self.at += 1;
        self.peek();
        Ok(key)
    }
}

impl Object {
    /// Reads the object whose opening brace is at `at`.
    pub(crate) fn read(
        &mut self,
        data: &[u8],
        at: usize,
        one_line: bool,
        nested: Nested,
    ) -> Result<(), Stop> {
        self.fields.clear();
        self.open.clear();
        let mut reader = Reader::new(data, at, one_line);
        let mut parent = NONE;
        reader.at += 1;
        let mut first = true;
        loop {
            // In an object: a key, or its end.
            match reader.peek() {
                Some(b'}') if first => {
                    if self.close(&mut reader, &mut parent) {
                        return Ok(());
                    }
                }
                _ => {
                    let key = reader.key()?;
                    let start = reader.at;
                    if self.fields.len() >= MAX_VALUES {
                        return Err(Stop::Bad(
                            "too_many_columns",
                            "the object has more than 262,144 values",
                            start,
                        ));
                    }
                    match reader.data.get(start) {
                        Some(b'{') if nested == Nested::Open => {
                            if self.open.len() + 1 >= MAX_DEPTH {
                                let reason = "more than 128 arrays and objects within each other";
                                return Err(Stop::Bad("too_deep", reason, start));
                            }
                            let value = Span { start, end: start + 1, escaped: false };
                            self.open.push(self.fields.len() as u32);
                            self.fields.push(Field { key, parent, what: What::Object, value });
                            parent = self.fields.len() as u32 - 1;
                            reader.at += 1;
                            first = true;
                            continue;
                        }
                        Some(b'{' | b'[') => {
                            let value = reader.skip()?;
                            self.fields.push(Field { key, parent, what: What::Value(Kind::Json), value });
                        }
                        _ => {
                            let (kind, value) = reader.scalar()?;
                            self.fields.push(Field { key, parent, what: What::Value(kind), value });
                        }
                    }
                }
            }
            loop {
                match reader.peek() {
                    Some(b',') => {
                        reader.at += 1;
                        // A key must follow.
                        first = false;
                        break;
                    }
                    Some(b'}') => {
                        if self.close(&mut reader, &mut parent) {
                            return Ok(());
                        }
                    }
                    _ => return reader.bad("a comma or } is missing here"),
                }
            }
        }
    }

    /// Takes a closing brace; true if it was the outermost one's.
    fn close(&mut self, reader: &mut Reader<'_>, parent: &mut u32) -> bool {
        reader.at += 1;
        match self.open.pop() {
            Some(object) => {
                if let Some(field) = self.fields.get_mut(object as usize) {
                    field.value.end = reader.at;
                    *parent = field.parent;
                }
                false
            }
            None => {
                self.end = reader.at;
                self.lines = reader.lines;
                self.line_start = reader.line_start;
                true
            }
        }
    }

    /// The value of a key of the outermost object; the last one where it stands several times.
    pub(crate) fn get(&self, data: &[u8], key: &[u8]) -> Option<(usize, &Field)> {
        self.child(data, NONE, key)
    }

    /// The value of a key of the object `parent`.
    pub(crate) fn child(&self, data: &[u8], parent: u32, key: &[u8]) -> Option<(usize, &Field)> {
        self.fields.iter().enumerate().rev().find(|(_, field)| {
            field.parent == parent
                && if field.key.escaped { field.key.text(data) == key } else { field.key.of(data) == key }
        })
    }
}
