//! Types of columns, as the server writes them.

use std::sync::Arc;

use crate::{DataType, Error, ErrorKind, Result, TimeUnit};

/// How deep types may lie within each other.
const MOST_DEPTH: usize = 32;

/// The type of a column.
///
/// # Examples
/// ```
/// use kwsync_core::DataType;
/// use kwsync_core::system::clickhouse::types::Type;
///
/// let found = Type::parse("Array(Nullable(DateTime64(3, 'Asia/Shanghai')))")?;
/// assert_eq!(found.data_type(false).to_string(), "timestamptz(ms)[]");
/// assert_eq!(Type::parse("LowCardinality(String)")?.data_type(false), DataType::Text);
/// # Ok::<(), kwsync_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Type {
    /// `Bool`.
    Bool,
    /// `Int8` to `Int256`, by its bytes.
    Int(u8),
    /// `UInt8` to `UInt256`, by its bytes.
    UInt(u8),
    /// `Float32`.
    Float32,
    /// `Float64`.
    Float64,
    /// `BFloat16`.
    BFloat16,
    /// `Decimal(P, S)`: digits in all, and behind the point.
    Decimal(u8, u8),
    /// `String`: any bytes.
    String,
    /// `FixedString(N)`: so many bytes.
    FixedString(usize),
    /// `Date`: days, of two bytes.
    Date,
    /// `Date32`: days, of four bytes.
    Date32,
    /// `DateTime`: seconds.
    DateTime,
    /// `DateTime64(P)`: so many digits behind the second.
    DateTime64(u8),
    /// `Enum8` and `Enum16`, by their bytes: numbers and names.
    Enum(u8, Arc<[(i16, Arc<str>)]>),
    /// `UUID`.
    Uuid,
    /// `IPv4`.
    Ipv4,
    /// `IPv6`.
    Ipv6,
    /// `Nothing`, of which there are no values.
    Nothing,
    /// `Nullable(T)`.
    Nullable(Box<Self>),
    /// `LowCardinality(T)`.
    LowCardinality(Box<Self>),
    /// `Array(T)`.
    Array(Box<Self>),
    /// `Tuple(...)`, with the names of its parts where they have some.
    Tuple(Vec<(Option<Arc<str>>, Self)>),
    /// `Map(K, V)`.
    Map(Box<Self>, Box<Self>),
}

impl Type {
    /// Reads a type as the server writes it.
    ///
    /// # Errors
    /// `Unsupported` for a type that cannot be read: states of aggregates, `Dynamic`, `Variant`, `JSON` and what is not known here;
    /// `Protocol` for what is no type.
    pub fn parse(text: &str) -> Result<Self> {
        let mut parser = Parser { rest: text, whole: text };
        let found = parser.any(0)?;
        parser.skip();
        if parser.rest.is_empty() { Ok(found) } else { Err(parser.wrong()) }
    }

    /// What a column of it is here; with `binary` texts are bytes. What lies within each other, other than arrays of plain values, is
    /// JSON.
    pub fn data_type(&self, binary: bool) -> DataType {
        match self {
            Self::Bool => DataType::Bool,
            Self::Int(1) => DataType::Int8,
            Self::Int(2) => DataType::Int16,
            Self::Int(4) => DataType::Int32,
            Self::Int(8) => DataType::Int64,
            Self::UInt(1) => DataType::UInt8,
            Self::UInt(2) => DataType::UInt16,
            Self::UInt(4) => DataType::UInt32,
            Self::UInt(8) => DataType::UInt64,
            Self::Int(16) | Self::UInt(16) => DataType::Numeric(Some((39, 0))),
            Self::Int(_) | Self::UInt(_) => DataType::Numeric(Some((78, 0))),
            Self::Float32 | Self::BFloat16 => DataType::Float32,
            Self::Float64 => DataType::Float64,
            Self::Decimal(precision, scale) => {
                DataType::Numeric(Some((u16::from(*precision), i16::from(*scale))))
            }
            Self::String | Self::FixedString(_) if binary => DataType::Bytes,
            Self::String | Self::FixedString(_) | Self::Enum(..) | Self::Nothing => DataType::Text,
            Self::Date | Self::Date32 => DataType::Date,
            Self::DateTime => DataType::TimestampTz(TimeUnit::Second),
            Self::DateTime64(digits) => DataType::TimestampTz(unit_of(*digits)),
            Self::Uuid => DataType::Uuid,
            Self::Ipv4 | Self::Ipv6 => DataType::Inet,
            Self::Nullable(inner) | Self::LowCardinality(inner) => inner.data_type(binary),
            Self::Array(item) if item.is_plain() => DataType::Array(Box::new(item.data_type(binary))),
            Self::Array(_) | Self::Tuple(_) | Self::Map(..) => DataType::Json,
        }
    }

    /// Whether a column of it may hold null.
    pub fn is_nullable(&self) -> bool {
        match self {
            Self::Nullable(_) | Self::Nothing => true,
            Self::LowCardinality(inner) => inner.is_nullable(),
            _ => false,
        }
    }

    /// Without `Nullable` and `LowCardinality` around it.
    pub fn bare(&self) -> &Self {
        match self {
            Self::Nullable(inner) | Self::LowCardinality(inner) => inner.bare(),
            other => other,
        }
    }

    /// Whether nothing lies within it.
    pub fn is_plain(&self) -> bool {
        !matches!(self.bare(), Self::Array(_) | Self::Tuple(_) | Self::Map(..))
    }
}

/// The unit that holds so many digits behind the second.
pub fn unit_of(digits: u8) -> TimeUnit {
    match digits {
        0 => TimeUnit::Second,
        1..=3 => TimeUnit::Millisecond,
        4..=6 => TimeUnit::Microsecond,
        _ => TimeUnit::Nanosecond,
    }
}

struct Parser<'a> {
    rest: &'a str,
    whole: &'a str,
}

impl<'a> Parser<'a> {
    fn wrong(&self) -> Error {
        Error::new(
            ErrorKind::Protocol,
            format!("{:?} is no type of ClickHouse that is known here", self.whole),
        )
    }

    fn skip(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn take(&mut self, c: char) -> bool {
        self.skip();
        match self.rest.strip_prefix(c) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn need(&mut self, c: char) -> Result<()> {
        if self.take(c) { Ok(()) } else { Err(self.wrong()) }
    }

    fn word(&mut self) -> &'a str {
        self.skip();
        let end = self.rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at_checked(end).unwrap_or((self.rest, ""));
        self.rest = rest;
        word
    }

    fn number<N: std::str::FromStr>(&mut self) -> Result<N> {
        self.skip();
        let end = self.rest.find(|c: char| !c.is_ascii_digit() && c != '-').unwrap_or(self.rest.len());
        let (digits, rest) = self.rest.split_at_checked(end).unwrap_or((self.rest, ""));
        let number = digits.parse().map_err(|_| self.wrong())?;
        self.rest = rest;
        Ok(number)
    }

    /// A text between quotes, behind the first of which this is.
    fn quoted(&mut self, quote: char) -> Result<String> {
        let mut text = String::new();
        let mut chars = self.rest.char_indices();
        while let Some((at, c)) = chars.next() {
            if c == quote {
                self.rest = self.rest.get(at + c.len_utf8()..).unwrap_or_default();
                return Ok(text);
            }
            if c != '\\' {
                text.push(c);
                continue;
            }
            match chars.next() {
                Some((_, 'n')) => text.push('\n'),
                Some((_, 't')) => text.push('\t'),
                Some((_, 'r')) => text.push('\r'),
                Some((_, 'b')) => text.push('\u{8}'),
                Some((_, 'f')) => text.push('\u{c}'),
                Some((_, '0')) => text.push('\0'),
                Some((_, c)) => text.push(c),
                None => break,
            }
        }
        Err(self.wrong())
    }

    fn any(&mut self, depth: usize) -> Result<Type> {
        if depth > MOST_DEPTH {
            return Err(self.wrong());
        }
        let name = self.word();
        self.named(name, depth)
    }

    fn named(&mut self, name: &str, depth: usize) -> Result<Type> {
        let inner = |parser: &mut Self| -> Result<Box<Type>> {
            parser.need('(')?;
            let found = parser.any(depth + 1)?;
            parser.need(')')?;
            Ok(Box::new(found))
        };
        let point = || {
            let axis = || (None, Type::Float64);
            Type::Tuple(vec![axis(), axis()])
        };
        let array = |item: Type| Type::Array(Box::new(item));
        Ok(match name {
            "Bool" => Type::Bool,
            "Int8" => Type::Int(1),
            "Int16" => Type::Int(2),
            "Int32" => Type::Int(4),
            "Int64" => Type::Int(8),
            "Int128" => Type::Int(16),
            "Int256" => Type::Int(32),
            "UInt8" => Type::UInt(1),
            "UInt16" => Type::UInt(2),
            "UInt32" => Type::UInt(4),
            "UInt64" => Type::UInt(8),
            "UInt128" => Type::UInt(16),
            "UInt256" => Type::UInt(32),
            "Float32" => Type::Float32,
            "Float64" => Type::Float64,
            "BFloat16" => Type::BFloat16,
            "Decimal" => {
                self.need('(')?;
                let precision: u8 = self.number()?;
                let scale: u8 = if self.take(',') { self.number()? } else { 0 };
                self.need(')')?;
                if !(1..=76).contains(&precision) || scale > precision {
                    return Err(self.wrong());
                }
                Type::Decimal(precision, scale)
            }
            "String" => Type::String,
            "FixedString" => {
                self.need('(')?;
                let length: usize = self.number()?;
                self.need(')')?;
                if length == 0 || length > 1 << 24 {
                    return Err(self.wrong());
                }
                Type::FixedString(length)
            }
            "Date" => Type::Date,
            "Date32" => Type::Date32,
            "DateTime" => {
                self.zone()?;
                Type::DateTime
            }
            "DateTime64" => {
                self.need('(')?;
                let digits: u8 = self.number()?;
                if self.take(',') {
                    self.need('\'')?;
                    self.quoted('\'')?;
                }
                self.need(')')?;
                if digits > 9 {
                    return Err(self.wrong());
                }
                Type::DateTime64(digits)
            }
            "Enum8" => self.values(1)?,
            "Enum16" => self.values(2)?,
            "UUID" => Type::Uuid,
            "IPv4" => Type::Ipv4,
            "IPv6" => Type::Ipv6,
            "Nothing" => Type::Nothing,
            "Nullable" => match inner(self)? {
                found if found.is_plain() && *found.bare() == *found => Type::Nullable(found),
                _ => return Err(self.wrong()),
            },
            "LowCardinality" => match inner(self)? {
                found if found.is_plain() && !matches!(*found, Type::LowCardinality(_)) => {
                    Type::LowCardinality(found)
                }
                _ => return Err(self.wrong()),
            },
            "Array" => Type::Array(inner(self)?),
            "Tuple" => Type::Tuple(self.parts(depth)?),
            // With flatten_nested=0; else its parts are columns of arrays.
            "Nested" => array(Type::Tuple(self.parts(depth)?)),
            "Map" => {
                self.need('(')?;
                let key = self.any(depth + 1)?;
                self.need(',')?;
                let value = self.any(depth + 1)?;
                self.need(')')?;
                Type::Map(Box::new(key), Box::new(value))
            }
            "SimpleAggregateFunction" => {
                self.need('(')?;
                self.function()?;
                self.need(',')?;
                let found = self.any(depth + 1)?;
                self.need(')')?;
                found
            }
            "Point" => point(),
            "Ring" | "LineString" => array(point()),
            "Polygon" | "MultiLineString" => array(array(point())),
            "MultiPolygon" => array(array(array(point()))),
            name if name.starts_with("Interval") => Type::Int(8),
            name => {
                let text = format!("columns of the type {name} cannot be read, as {:?}", self.whole);
                return Err(Error::new(ErrorKind::Unsupported, text).with_hint(match name {
                    "AggregateFunction" => "finish the state: columns=...,finalizeAggregation(c) AS c",
                    _ => "read its text: columns=...,toString(c) AS c",
                }));
            }
        })
    }

    fn zone(&mut self) -> Result<()> {
        if self.take('(') {
            self.need('\'')?;
            self.quoted('\'')?;
            self.need(')')?;
        }
        Ok(())
    }

    /// The function of an aggregate, perhaps with parameters.
    fn function(&mut self) -> Result<()> {
        self.word();
        if self.take('(') {
            while !self.take(')') {
                if self.take('\'') {
                    self.quoted('\'')?;
                } else if self.rest.is_empty() {
                    return Err(self.wrong());
                } else {
                    let mut chars = self.rest.chars();
                    chars.next();
                    self.rest = chars.as_str();
                }
            }
        }
        Ok(())
    }

    fn values(&mut self, bytes: u8) -> Result<Type> {
        self.need('(')?;
        let mut values = Vec::new();
        loop {
            self.need('\'')?;
            let name = self.quoted('\'')?;
            self.need('=')?;
            values.push((self.number::<i16>()?, Arc::from(name)));
            if !self.take(',') {
                break;
            }
        }
        self.need(')')?;
        values.sort_unstable_by_key(|(number, _)| *number);
        Ok(Type::Enum(bytes, values.into()))
    }

    fn parts(&mut self, depth: usize) -> Result<Vec<(Option<Arc<str>>, Type)>> {
        self.need('(')?;
        let mut parts = Vec::new();
        loop {
            let quoted = ['`', '"'].into_iter().find(|quote| self.take(*quote));
            let (name, found) = match quoted {
                Some(quote) => (Some(self.quoted(quote)?), self.any(depth + 1)?),
                None => {
                    let word = self.word();
                    self.skip();
                    // A second word behind the first is its type.
                    match self.rest.starts_with(|c: char| c.is_ascii_alphabetic()) {
                        true => (Some(word.to_owned()), self.any(depth + 1)?),
                        false if depth < MOST_DEPTH => (None, self.named(word, depth + 1)?),
                        false => return Err(self.wrong()),
                    }
                }
            };
            parts.push((name.map(Arc::from), found));
            if !self.take(',') {
                break;
            }
        }
        self.need(')')?;
        Ok(parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_read_as_the_server_writes_them() {
        for (text, shown, nullable) in [
            ("UInt64", "u64", false),
            ("Int128", "numeric(39,0)", false),
            ("UInt256", "numeric(78,0)", false),
            ("Decimal(76, 20)", "numeric(76,20)", false),
            ("Nullable(Decimal(9, 4))", "numeric(9,4)", true),
            ("LowCardinality(Nullable(String))", "text", true),
            ("FixedString(3)", "text", false),
            ("DateTime", "timestamptz(s)", false),
            ("DateTime('Asia/Shanghai')", "timestamptz(s)", false),
            ("DateTime64(9, 'UTC')", "timestamptz(ns)", false),
            ("DateTime64(1)", "timestamptz(ms)", false),
            ("Enum8('a' = 1, 'b,\\'c)' = -2)", "text", false),
            ("IPv6", "inet", false),
            ("Array(Nullable(UInt8))", "u8[]", false),
            ("Array(Array(UInt8))", "json", false),
            ("Tuple(UInt8, String)", "json", false),
            ("Tuple(a UInt8, `b c` Array(String), Int8 Int8)", "json", false),
            ("Map(String, Array(Nullable(Float64)))", "json", false),
            ("Nested(k String, v UInt8)", "json", false),
            ("SimpleAggregateFunction(sum, UInt64)", "u64", false),
            ("SimpleAggregateFunction(groupArrayArray(10), Array(String))", "text[]", false),
            ("MultiPolygon", "json", false),
            ("IntervalDay", "i64", false),
            ("Nullable(Nothing)", "text", true),
            ("BFloat16", "f32", false),
        ] {
            let found = Type::parse(text).unwrap();
            let told = (found.data_type(false).to_string(), found.is_nullable());
            assert_eq!((told.0.as_str(), told.1), (shown, nullable), "{text}");
        }
        let Type::Enum(1, values) = Type::parse("Enum8('a' = 1, 'b,\\'c)' = -2)").unwrap() else { panic!() };
        assert_eq!(&*values, [(-2, Arc::from("b,'c)")), (1, Arc::from("a"))]);
        let Type::Tuple(parts) = Type::parse("Tuple(a UInt8, `b c` String, Int8)").unwrap() else { panic!() };
        let names: Vec<_> = parts.iter().map(|(name, _)| name.as_deref()).collect();
        assert_eq!(names, [Some("a"), Some("b c"), None]);
    }

    #[test]
    fn what_cannot_be_read_is_refused_by_name() {
        let of = |text: &str| Type::parse(text).unwrap_err();
        let error = of("AggregateFunction(sum, UInt64)");
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("AggregateFunction"), "{error}");
        assert!(of("Array(Dynamic)").hint().unwrap().contains("toString"));
        let deep = format!("{}UInt8{}", "Array(".repeat(5_000), ")".repeat(5_000));
        let tuples = "Tuple(".repeat(5_000);
        for wrong in [
            "",
            "UInt8)",
            "Decimal(77, 0)",
            "FixedString(0)",
            "Enum8('a'",
            "Nullable(Array(UInt8))",
            "Array(",
            &deep,
            &tuples,
        ] {
            of(wrong);
        }
    }
}
