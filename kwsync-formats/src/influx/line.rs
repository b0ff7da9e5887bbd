//! One line, borrowed from the input.

use std::borrow::Cow;
use std::fmt;

use super::number::{self, Number};
use super::parse::{self, Names, Span, Value};
use super::scan::string_stop;
use super::{Dialect, typed};
use crate::utf8;

/// A name or value as it stands in the input, with its escapes unless it has none.
#[derive(Clone, Copy)]
pub struct EscapedStr<'a> {
    raw: &'a str,
    kind: Names,
    escaped: bool,
}

impl<'a> EscapedStr<'a> {
    pub(crate) const fn new(raw: &'a str, kind: Names, escaped: bool) -> Self {
        Self { raw, kind, escaped }
    }

    /// The text as written, escapes included.
    #[must_use]
    pub const fn raw(&self) -> &'a str {
        self.raw
    }

    /// Whether [`raw`](Self::raw) differs from the text that is meant.
    #[must_use]
    pub const fn is_escaped(&self) -> bool {
        self.escaped
    }

    /// The text that is meant; borrowed unless an escape has to be undone.
    #[must_use]
    pub fn unescape(&self) -> Cow<'a, str> {
        if !self.escaped {
            return Cow::Borrowed(self.raw);
        }
        let mut out = Vec::with_capacity(self.raw.len());
        parse::unescape(self.raw.as_bytes(), self.kind, &mut out);
        Cow::Owned(
            String::from_utf8(out).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned()),
        )
    }
}

impl fmt::Display for EscapedStr<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.unescape())
    }
}

impl fmt::Debug for EscapedStr<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.unescape(), f)
    }
}

/// Two are equal if they mean the same text.
impl PartialEq for EscapedStr<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.unescape() == other.unescape()
    }
}

impl PartialEq<str> for EscapedStr<'_> {
    fn eq(&self, other: &str) -> bool {
        self.unescape() == other
    }
}

impl PartialEq<&str> for EscapedStr<'_> {
    fn eq(&self, other: &&str) -> bool {
        self.unescape() == *other
    }
}

/// Bytes as they stand in the input, as hexadecimal digits or as text.
#[derive(Clone, Copy, PartialEq)]
pub struct EscapedBytes<'a> {
    text: EscapedStr<'a>,
    hex: bool,
}

impl EscapedBytes<'_> {
    /// The bytes that are meant.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        if !self.hex {
            return self.text.unescape().into_owned().into_bytes();
        }
        let mut out = Vec::with_capacity(self.text.raw.len() / 2);
        typed::unhex(self.text.raw.as_bytes(), &mut out);
        out
    }

    /// Whether they are written as hexadecimal digits.
    #[must_use]
    pub const fn is_hex(&self) -> bool {
        self.hex
    }
}

impl fmt::Debug for EscapedBytes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.to_vec(), f)
    }
}

/// The value of a field.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum FieldValue<'a> {
    /// `42i`
    I64(i64),
    /// `42u`
    U64(u64),
    /// `4.2`; always finite
    F64(f64),
    /// `true`, `F` and so on
    Bool(bool),
    /// `"text"`, without the quotes
    Str(EscapedStr<'a>),
    /// `42i8` of `tdengine`
    I8(i8),
    /// `42i16` of `kwdb` and `tdengine`
    I16(i16),
    /// `42i32` of `kwdb` and `tdengine`
    I32(i32),
    /// `42u8` of `tdengine`
    U8(u8),
    /// `42u16` of `tdengine`
    U16(u16),
    /// `42u32` of `tdengine`
    U32(u32),
    /// `4.2f32` of `kwdb` and `tdengine`; always finite
    F32(f32),
    /// `L"text"` of `kwdb` and `tdengine`, without the quotes
    NStr(EscapedStr<'a>),
    /// `"\x3132"` of `kwdb`, `B"..."` of `tdengine`
    Bytes(EscapedBytes<'a>),
    /// `G"POINT(1 2)"` of `tdengine`, without the quotes
    Geometry(EscapedStr<'a>),
}

impl FieldValue<'_> {
    /// The name of the type: `i64`, `u64`, `f64`, `bool`, `string`, and in the dialects with typed values `i8`,
    /// `i16`, `i32`, `u8`, `u16`, `u32`, `f32`, `nstring`, `bytes`, `geometry`.
    #[must_use]
    pub const fn type_name(&self) -> &'static str {
        match self {
            Self::I64(_) => "i64",
            Self::U64(_) => "u64",
            Self::F64(_) => "f64",
            Self::Bool(_) => "bool",
            Self::Str(_) => "string",
            Self::I8(_) => "i8",
            Self::I16(_) => "i16",
            Self::I32(_) => "i32",
            Self::U8(_) => "u8",
            Self::U16(_) => "u16",
            Self::U32(_) => "u32",
            Self::F32(_) => "f32",
            Self::NStr(_) => "nstring",
            Self::Bytes(_) => "bytes",
            Self::Geometry(_) => "geometry",
        }
    }
}

/// The unit of the timestamps of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Precision {
    /// Seconds
    S,
    /// Milliseconds
    Ms,
    /// Microseconds
    Us,
    /// Nanoseconds
    #[default]
    Ns,
    /// Told from each timestamp's size, as InfluxDB 3 does: below 5·10⁹ seconds, below 5·10¹² milliseconds, below
    /// 5·10¹⁵ microseconds, else nanoseconds. Written, it is nanoseconds.
    Auto,
}

impl Precision {
    /// Nanoseconds in one unit.
    #[must_use]
    pub const fn nanoseconds(self) -> i64 {
        match self {
            Self::S => 1_000_000_000,
            Self::Ms => 1_000_000,
            Self::Us => 1_000,
            Self::Ns | Self::Auto => 1,
        }
    }

    /// `timestamp` in nanoseconds since the Unix epoch; `None` if that does not fit.
    #[must_use]
    pub const fn to_nanoseconds(self, timestamp: i64) -> Option<i64> {
        let unit = match self {
            Self::Auto => Self::of_size(timestamp.unsigned_abs()),
            unit => unit,
        };
        timestamp.checked_mul(unit.nanoseconds())
    }

    const fn of_size(timestamp: u64) -> Self {
        match timestamp {
            0..5_000_000_000 => Self::S,
            5_000_000_000..5_000_000_000_000 => Self::Ms,
            5_000_000_000_000..5_000_000_000_000_000 => Self::Us,
            _ => Self::Ns,
        }
    }
}

/// `s`, `ms`, `us`, `ns`, `auto`; the error is the text that was none of them.
impl std::str::FromStr for Precision {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "s" => Ok(Self::S),
            "ms" => Ok(Self::Ms),
            "us" | "u" | "µs" => Ok(Self::Us),
            "ns" | "n" => Ok(Self::Ns),
            "auto" => Ok(Self::Auto),
            other => Err(format!("unknown precision {other:?}; one of s, ms, us, ns, auto")),
        }
    }
}

/// One record, checked as a whole, borrowed from the input.
#[derive(Debug, Clone, Copy)]
pub struct Line<'a> {
    pub(crate) dialect: Dialect,
    pub(crate) raw: &'a str,
    pub(crate) measurement: EscapedStr<'a>,
    /// From after the comma; empty if there are no tags.
    pub(crate) tags: &'a str,
    /// From the first field's key to the end of its last value.
    pub(crate) fields: &'a str,
    pub(crate) timestamp: Option<i64>,
    pub(crate) repeated: usize,
    pub(crate) position: super::Position,
}

impl<'a> Line<'a> {
    /// The whole record as written, without its line end.
    #[must_use]
    pub const fn raw(&self) -> &'a str {
        self.raw
    }

    /// The measurement, which names the table.
    #[must_use]
    pub const fn measurement(&self) -> EscapedStr<'a> {
        self.measurement
    }

    /// The tags in the order of the input; no key occurs twice.
    #[must_use]
    pub const fn tags(&self) -> Tags<'a> {
        Tags { rest: self.tags, dialect: self.dialect }
    }

    /// The fields in the order of the input. A key that occurs twice has one type; the last value counts.
    #[must_use]
    pub const fn fields(&self) -> Fields<'a> {
        Fields { rest: self.fields, dialect: self.dialect }
    }

    /// How many fields repeat the key of an earlier one of this line.
    #[must_use]
    pub const fn repeated_fields(&self) -> usize {
        self.repeated
    }

    /// The timestamp as written, in the unit of the input ([`Precision`]).
    #[must_use]
    pub const fn timestamp(&self) -> Option<i64> {
        self.timestamp
    }

    /// Where the record begins.
    #[must_use]
    pub const fn position(&self) -> super::Position {
        self.position
    }
}

/// Takes a name off the front; the line has been checked.
fn take_name<'a>(rest: &mut &'a str, dialect: Dialect) -> EscapedStr<'a> {
    let (end, escaped) = match dialect {
        Dialect::Influx => parse::name_end(rest.as_bytes(), 0, Names::Key),
        Dialect::Kwdb | Dialect::Tdengine => typed::name_end(rest.as_bytes(), 0, dialect.key()),
    };
    let (name, after) = split(rest, end);
    *rest = after;
    EscapedStr::new(name, dialect.key(), escaped)
}

/// Cuts at a separator, which is ASCII, so the cut is on a character.
#[allow(unsafe_code)]
fn split(text: &str, at: usize) -> (&str, &str) {
    let (a, b) = text.as_bytes().split_at(at.min(text.len()));
    // SAFETY: `at` is the offset of an ASCII byte, or the end, of valid UTF-8.
    unsafe { (utf8::trusted(a), utf8::trusted(b)) }
}

fn skip(text: &str, n: usize) -> &str {
    split(text, n).1
}

/// Iterator over the tags of a [`Line`]: key and value.
#[derive(Debug, Clone)]
pub struct Tags<'a> {
    rest: &'a str,
    dialect: Dialect,
}

impl<'a> Iterator for Tags<'a> {
    type Item = (EscapedStr<'a>, EscapedStr<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let key = take_name(&mut self.rest, self.dialect);
        self.rest = skip(self.rest, 1);
        let value = take_name(&mut self.rest, self.dialect);
        self.rest = skip(self.rest, 1);
        Some((key, value))
    }
}

/// Iterator over the fields of a [`Line`]: key and value.
#[derive(Debug, Clone)]
pub struct Fields<'a> {
    rest: &'a str,
    dialect: Dialect,
}

impl<'a> Iterator for Fields<'a> {
    type Item = (EscapedStr<'a>, FieldValue<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let key = take_name(&mut self.rest, self.dialect);
        self.rest = skip(self.rest, 1);
        if self.dialect != Dialect::Influx {
            let (value, end) = typed_value(self.rest, self.dialect)?;
            self.rest = skip(self.rest, end + 1);
            return Some((key, value));
        }
        let bytes = self.rest.as_bytes();
        let (value, end) = match bytes.first()? {
            b'"' => {
                let (mut at, mut escaped) = (1, false);
                loop {
                    at = string_stop(bytes, at);
                    match bytes.get(at)? {
                        b'"' => break,
                        b'\\' => {
                            let pair = matches!(bytes.get(at + 1), Some(b'"' | b'\\'));
                            escaped |= pair;
                            at += 1 + usize::from(pair);
                        }
                        _ => at += 1,
                    }
                }
                let (text, _) = split(skip(self.rest, 1), at - 1);
                (FieldValue::Str(EscapedStr::new(text, Names::String, escaped)), at + 1)
            }
            b't' | b'T' | b'f' | b'F' => {
                let (value, end) = parse::boolean(bytes, 0)?;
                (FieldValue::Bool(value), end)
            }
            _ => {
                let (value, end) = number::number(bytes, 0).ok()?;
                let value = match value {
                    Number::I64(v) => FieldValue::I64(v),
                    Number::U64(v) => FieldValue::U64(v),
                    Number::F64(v) => FieldValue::F64(v),
                };
                (value, end)
            }
        };
        self.rest = skip(self.rest, end + 1);
        Some((key, value))
    }
}

/// The value that `text` begins with, and where it ends.
fn typed_value(text: &str, dialect: Dialect) -> Option<(FieldValue<'_>, usize)> {
    let (value, end) = typed::value(dialect, text.as_bytes(), 0)?;
    let part = |span: Span| {
        let (text, _) = split(skip(text, span.start), span.end - span.start);
        EscapedStr::new(text, span.kind(dialect.string()), span.escaped)
    };
    let value = match value {
        Value::I64(v) => FieldValue::I64(v),
        Value::U64(v) => FieldValue::U64(v),
        Value::F64(v) => FieldValue::F64(v),
        Value::Bool(v) => FieldValue::Bool(v),
        Value::Str(span) => FieldValue::Str(part(span)),
        Value::I8(v) => FieldValue::I8(v),
        Value::I16(v) => FieldValue::I16(v),
        Value::I32(v) => FieldValue::I32(v),
        Value::U8(v) => FieldValue::U8(v),
        Value::U16(v) => FieldValue::U16(v),
        Value::U32(v) => FieldValue::U32(v),
        Value::F32(v) => FieldValue::F32(v),
        Value::NStr(span) => FieldValue::NStr(part(span)),
        Value::Bytes { span, hex } => FieldValue::Bytes(EscapedBytes { text: part(span), hex }),
        Value::Geometry(span) => FieldValue::Geometry(part(span)),
    };
    Some((value, end))
}
