//! BSON: documents are read where they lie.

use std::fmt::Write;

use kwsync_core::{Error, ErrorKind, Result, TimeUnit, Value};

/// How deep documents may lie within each other; servers take a hundred.
pub(super) const MOST_DEPTH: usize = 120;

/// What a field is called whose name is not UTF-8.
pub(super) const NO_NAME: &str = "\u{fffd}";

/// The bytes are no document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Broken;

impl From<Broken> for Error {
    fn from(_: Broken) -> Self {
        Self::new(ErrorKind::Protocol, "the server sent a document that is none")
            .with_hint("check that what listens there is MongoDB")
    }
}

/// A document, or an array, whose names are numbers then.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Doc<'a>(pub(super) &'a [u8]);

/// A value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Elem<'a> {
    Double(f64),
    Text(&'a str),
    /// What should be text and is not UTF-8.
    Ill(&'a [u8]),
    Doc(Doc<'a>),
    Array(Doc<'a>),
    /// Bytes of a kind.
    Binary(u8, &'a [u8]),
    ObjectId(&'a [u8; 12]),
    Bool(bool),
    /// Milliseconds.
    Date(i64),
    Null,
    /// A pattern and its options.
    Regex(&'a str, &'a str),
    Code(&'a str),
    Int32(i32),
    /// Seconds, and a counter within them.
    Timestamp(u32, u32),
    Int64(i64),
    Decimal([u8; 16]),
    MinKey,
    MaxKey,
}

pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Broken> {
        let (head, rest) = self.0.split_at_checked(count).ok_or(Broken)?;
        self.0 = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<&'a [u8; N], Broken> {
        self.take(N)?.try_into().map_err(|_| Broken)
    }

    fn i32(&mut self) -> Result<i32, Broken> {
        self.array().map(|bytes| i32::from_le_bytes(*bytes))
    }

    fn i64(&mut self) -> Result<i64, Broken> {
        self.array().map(|bytes| i64::from_le_bytes(*bytes))
    }

    fn until_nul(&mut self) -> Result<&'a [u8], Broken> {
        let end = memchr::memchr(0, self.0).ok_or(Broken)?;
        let text = self.take(end)?;
        self.take(1)?;
        Ok(text)
    }

    /// A text with its length in front and a NUL behind.
    fn text(&mut self) -> Result<Elem<'a>, Broken> {
        let length =
            usize::try_from(self.i32()?).ok().and_then(|length| length.checked_sub(1)).ok_or(Broken)?;
        let text = self.take(length)?;
        if self.take(1)? != [0] {
            return Err(Broken);
        }
        Ok(simdutf8::basic::from_utf8(text).map_or(Elem::Ill(text), Elem::Text))
    }

    fn code(&mut self) -> Result<Elem<'a>, Broken> {
        self.text().map(|text| if let Elem::Text(text) = text { Elem::Code(text) } else { text })
    }

    fn doc(&mut self) -> Result<Doc<'a>, Broken> {
        let length = self.0.first_chunk::<4>().ok_or(Broken)?;
        let length = usize::try_from(i32::from_le_bytes(*length)).map_err(|_| Broken)?;
        Doc::new(self.take(length)?)
    }

    pub(super) fn elem(&mut self, kind: u8) -> Result<Elem<'a>, Broken> {
        Ok(match kind {
            0x01 => Elem::Double(f64::from_bits(self.i64()?.cast_unsigned())),
            0x02 | 0x0e => self.text()?,
            0x03 => Elem::Doc(self.doc()?),
            0x04 => Elem::Array(self.doc()?),
            0x05 => {
                let length = usize::try_from(self.i32()?).map_err(|_| Broken)?;
                let kind = self.array::<1>()?[0];
                let mut bytes = self.take(length)?;
                if kind == 2 {
                    // Its length stands there twice.
                    bytes = bytes.get(4..).ok_or(Broken)?;
                }
                Elem::Binary(kind, bytes)
            }
            0x06 | 0x0a => Elem::Null,
            0x07 => Elem::ObjectId(self.array()?),
            0x08 => Elem::Bool(self.array::<1>()?[0] != 0),
            0x09 => Elem::Date(self.i64()?),
            0x0b => {
                let (pattern, options) = (self.until_nul()?, self.until_nul()?);
                match (std::str::from_utf8(pattern), std::str::from_utf8(options)) {
                    (Ok(pattern), Ok(options)) => Elem::Regex(pattern, options),
                    _ => Elem::Ill(pattern),
                }
            }
            0x0c => {
                // A reference of old: what it refers to is enough.
                self.text()?;
                Elem::ObjectId(self.array()?)
            }
            0x0d => self.code()?,
            0x0f => {
                let length = usize::try_from(self.i32()?)
                    .ok()
                    .and_then(|length| length.checked_sub(4))
                    .ok_or(Broken)?;
                Bytes(self.take(length)?).code()?
            }
            0x10 => Elem::Int32(self.i32()?),
            0x11 => {
                let both = self.i64()?.cast_unsigned();
                Elem::Timestamp((both >> 32) as u32, both as u32)
            }
            0x12 => Elem::Int64(self.i64()?),
            0x13 => Elem::Decimal(*self.array()?),
            0x7f => Elem::MaxKey,
            0xff => Elem::MinKey,
            _ => return Err(Broken),
        })
    }
}

impl<'a> Doc<'a> {
    /// The document that these bytes are, all of them.
    pub(super) fn new(bytes: &'a [u8]) -> Result<Self, Broken> {
        let length = bytes.first_chunk::<4>().ok_or(Broken)?;
        if usize::try_from(i32::from_le_bytes(*length)) != Ok(bytes.len()) {
            return Err(Broken);
        }
        match bytes.get(4..) {
            Some([rest @ .., 0]) => Ok(Self(rest)),
            _ => Err(Broken),
        }
    }

    /// Its values with their names, in their order.
    pub(super) fn elems(self) -> impl Iterator<Item = Result<(&'a str, Elem<'a>), Broken>> {
        let mut bytes = Bytes(self.0);
        std::iter::from_fn(move || {
            let (kind, rest) = bytes.0.split_first()?;
            bytes.0 = rest;
            let found = bytes.until_nul().and_then(|name| {
                let elem = bytes.elem(*kind)?;
                // Nobody can ask for such a name, and who takes all of them sees that something is wrong.
                Ok(simdutf8::basic::from_utf8(name).map_or((NO_NAME, Elem::Ill(name)), |name| (name, elem)))
            });
            if found.is_err() {
                bytes.0 = &[];
            }
            Some(found)
        })
    }

    /// The first value of a name.
    pub(super) fn get(self, wanted: &str) -> Result<Option<Elem<'a>>, Broken> {
        for found in self.elems() {
            let (name, elem) = found?;
            if name == wanted {
                return Ok(Some(elem));
            }
        }
        Ok(None)
    }

    /// A number of whatever kind.
    pub(super) fn number(self, name: &str) -> Result<Option<f64>, Broken> {
        Ok(match self.get(name)? {
            Some(Elem::Double(value)) => Some(value),
            Some(Elem::Int32(value)) => Some(value.into()),
            Some(Elem::Int64(value)) => Some(value as f64),
            Some(Elem::Bool(value)) => Some(u8::from(value).into()),
            _ => None,
        })
    }

    pub(super) fn text(self, name: &str) -> Result<Option<&'a str>, Broken> {
        Ok(match self.get(name)? {
            Some(Elem::Text(text)) => Some(text),
            _ => None,
        })
    }

    pub(super) fn doc(self, name: &str) -> Result<Option<Self>, Broken> {
        Ok(match self.get(name)? {
            Some(Elem::Doc(doc) | Elem::Array(doc)) => Some(doc),
            _ => None,
        })
    }
}

impl Elem<'_> {
    /// What it is, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Double(_) => "a double",
            Self::Text(_) => "a string",
            Self::Ill(_) => "text that is not UTF-8",
            Self::Doc(_) => "a document",
            Self::Array(_) => "an array",
            Self::Binary(..) => "bytes",
            Self::ObjectId(_) => "an ObjectId",
            Self::Bool(_) => "a boolean",
            Self::Date(_) => "a date",
            Self::Null => "null",
            Self::Regex(..) => "a regular expression",
            Self::Code(_) => "code",
            Self::Int32(_) | Self::Int64(_) => "an integer",
            Self::Timestamp(..) => "a timestamp",
            Self::Decimal(_) => "a decimal",
            Self::MinKey | Self::MaxKey => "the end of all values",
        }
    }

    /// The bracket in which the server compares it with others: a range finds only values of its own.
    pub(super) fn bracket(&self) -> u8 {
        match self {
            Self::MinKey => 0,
            Self::Null => 1,
            Self::Double(_) | Self::Int32(_) | Self::Int64(_) | Self::Decimal(_) => 2,
            Self::Text(_) | Self::Ill(_) => 3,
            Self::Doc(_) => 4,
            Self::Array(_) => 5,
            Self::Binary(..) => 6,
            Self::ObjectId(_) => 7,
            Self::Bool(_) => 8,
            Self::Date(_) => 9,
            Self::Timestamp(..) => 10,
            Self::Regex(..) => 11,
            Self::Code(_) => 12,
            Self::MaxKey => 13,
        }
    }

    /// The value as plain text, where it is one value.
    pub(super) fn text(&self) -> Option<String> {
        Some(match self {
            Self::Text(text) | Self::Code(text) => (*text).to_owned(),
            Self::Double(value) => value.to_string(),
            Self::Bool(value) => value.to_string(),
            Self::Int32(value) => value.to_string(),
            Self::Int64(value) => value.to_string(),
            Self::ObjectId(bytes) => hex(&bytes[..]),
            Self::Date(millis) => Value::Timestamp(*millis, TimeUnit::Millisecond, true).to_string(),
            Self::Decimal(bytes) => decimal(*bytes),
            Self::Binary(4, bytes) if bytes.len() == 16 => uuid(bytes),
            Self::Binary(_, bytes) => format!("\\x{}", hex(bytes)),
            Self::Regex(pattern, options) => format!("/{pattern}/{options}"),
            Self::Timestamp(seconds, counter) => format!("{seconds}:{counter}"),
            Self::MinKey => "MinKey".to_owned(),
            Self::MaxKey => "MaxKey".to_owned(),
            Self::Null | Self::Doc(_) | Self::Array(_) | Self::Ill(_) => return None,
        })
    }

    /// Appends the value as JSON; what JSON has no word for is its text. False where a text in it is not UTF-8: its bytes stand there
    /// as digits then.
    pub(super) fn json(&self, out: &mut String) -> Result<bool, Broken> {
        self.json_at(out, 0)
    }

    fn json_at(&self, out: &mut String, depth: usize) -> Result<bool, Broken> {
        let mut whole = true;
        if depth > MOST_DEPTH {
            return Err(Broken);
        }
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            // A String takes whatever is written.
            Self::Int32(value) => write!(out, "{value}").unwrap_or_default(),
            Self::Int64(value) => write!(out, "{value}").unwrap_or_default(),
            Self::Double(value) if value.is_finite() => {
                out.push_str(&serde_json::Value::from(*value).to_string())
            }
            Self::Doc(doc) => {
                out.push('{');
                for (nth, found) in doc.elems().enumerate() {
                    let (name, elem) = found?;
                    out.push_str(if nth > 0 { "," } else { "" });
                    quoted(name, out);
                    out.push(':');
                    whole &= elem.json_at(out, depth + 1)?;
                }
                out.push('}');
            }
            Self::Array(items) => {
                out.push('[');
                for (nth, found) in items.elems().enumerate() {
                    let (_, elem) = found?;
                    out.push_str(if nth > 0 { "," } else { "" });
                    whole &= elem.json_at(out, depth + 1)?;
                }
                out.push(']');
            }
            Self::Ill(bytes) => {
                whole = false;
                quoted(&format!("\\x{}", hex(bytes)), out);
            }
            other => quoted(&other.text().unwrap_or_default(), out),
        }
        Ok(whole)
    }
}

fn quoted(text: &str, out: &mut String) {
    out.push_str(&serde_json::Value::from(text).to_string());
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap_or_default();
        text
    })
}

/// The bytes of hexadecimal digits.
pub(super) fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
    Some(digits.chunks_exact(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect())
}

fn uuid(bytes: &[u8]) -> String {
    let hex = hex(bytes);
    let part = |range: std::ops::Range<usize>| hex.get(range).unwrap_or_default().to_owned();
    [part(0..8), part(8..12), part(12..16), part(16..20), part(20..32)].join("-")
}

/// Digits of a decimal of 128 bits (IEEE 754, binary integers), without an exponent.
pub(super) fn decimal(bytes: [u8; 16]) -> String {
    let bits = u128::from_le_bytes(bytes);
    let sign = if bits >> 127 == 1 { "-" } else { "" };
    let top = (bits >> 122) & 0x1f;
    if top == 0x1f {
        return "NaN".to_owned();
    }
    if top == 0x1e {
        return format!("{sign}Infinity");
    }
    // Where the two top bits are set the digits would be more than it may have: they count as zero.
    let (exponent, digits) = match (bits >> 125) & 3 {
        3 => ((bits >> 111) & 0x3fff, 0),
        _ => ((bits >> 113) & 0x3fff, bits & ((1 << 113) - 1)),
    };
    let digits = if digits >= 10_u128.pow(34) { 0 } else { digits };
    let exponent = exponent as i32 - 6176;
    let text = digits.to_string();
    if digits == 0 && exponent >= 0 {
        return format!("{sign}0");
    }
    match usize::try_from(exponent) {
        Ok(zeros) => format!("{sign}{text}{}", "0".repeat(zeros)),
        Err(_) => {
            let scale = exponent.unsigned_abs() as usize;
            let padded = format!("{text:0>width$}", width = scale + 1);
            let (whole, part) = padded.split_at_checked(padded.len() - scale).unwrap_or((&padded, ""));
            format!("{sign}{whole}.{part}")
        }
    }
}
