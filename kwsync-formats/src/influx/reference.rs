//! A slow parser of the same dialect, written for reading rather than speed, from the grammar and not from the
//! fast one. It is what the fast parser is checked against.

use nom::branch::alt;
use nom::bytes::complete::{tag, take, take_while, take_while1};
use nom::character::complete::{char, one_of};
use nom::combinator::{all_consuming, map, not, opt, peek, recognize, value, verify};
use nom::multi::{many0, many1, separated_list1};
use nom::sequence::{pair, preceded, terminated};
use nom::{IResult, Parser};

/// The value of a field.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub enum Value {
    I64(i64),
    U64(u64),
    F64(f64),
    Bool(bool),
    Str(String),
}

/// A record that was read.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct Point {
    pub measurement: String,
    pub tags: Vec<(String, String)>,
    pub fields: Vec<(String, Value)>,
    pub timestamp: Option<i64>,
}

/// A record or a refusal: its first physical line, and the point if it was read.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct Verdict {
    pub line: u64,
    pub point: Option<Point>,
}

type Bytes<'a> = &'a [u8];

/// One byte that `accept` likes.
fn byte<'a>(
    accept: impl Fn(u8) -> bool,
) -> impl Parser<Bytes<'a>, Output = u8, Error = nom::error::Error<Bytes<'a>>> {
    verify(take(1usize), move |b: &[u8]| accept(b[0])).map(|b: Bytes<'a>| b[0])
}

/// Characters of a text: `special` need a backslash, and only they take one.
fn name<'a>(
    special: &'static str,
) -> impl Parser<Bytes<'a>, Output = String, Error = nom::error::Error<Bytes<'a>>> {
    let escaped = preceded(char('\\'), one_of(special)).map(|c| c as u8);
    let plain = byte(move |b| !special.as_bytes().contains(&b) && !b.is_ascii_control());
    many1(alt((escaped, plain))).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

fn string(input: Bytes<'_>) -> IResult<Bytes<'_>, String> {
    let escaped = preceded(char('\\'), one_of("\"\\")).map(|c| c as u8);
    let plain = byte(|b| b != b'"');
    let (rest, bytes) =
        (char('"'), many0(alt((escaped, plain))), char('"')).map(|(_, b, _)| b).parse(input)?;
    Ok((rest, String::from_utf8_lossy(&bytes).into_owned()))
}

fn digits(input: Bytes<'_>) -> IResult<Bytes<'_>, Bytes<'_>> {
    take_while1(|b: u8| b.is_ascii_digit()).parse(input)
}

fn text(bytes: Bytes<'_>) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

fn failed<T>(input: Bytes<'_>) -> IResult<Bytes<'_>, T> {
    Err(nom::Err::Error(nom::error::Error::new(input, nom::error::ErrorKind::Fail)))
}

fn number(input: Bytes<'_>) -> IResult<Bytes<'_>, Value> {
    if let Ok((rest, digits)) = terminated(recognize(pair(opt(char('-')), digits)), char('i')).parse(input) {
        return match text(digits).parse() {
            Ok(v) => Ok((rest, Value::I64(v))),
            Err(_) => failed(input),
        };
    }
    if let Ok((rest, digits)) = terminated(digits, char('u')).parse(input) {
        return match text(digits).parse() {
            Ok(v) => Ok((rest, Value::U64(v))),
            Err(_) => failed(input),
        };
    }
    let some = |b: u8| b.is_ascii_digit();
    let mantissa = alt((
        recognize((digits, opt(pair(char('.'), take_while(some))))),
        recognize(pair(char('.'), digits)),
    ));
    let exponent = (one_of("eE"), opt(one_of("+-")), digits);
    let (rest, float) = recognize((opt(char('-')), mantissa, opt(exponent))).parse(input)?;
    match text(float).parse::<f64>() {
        Ok(v) if v.is_finite() => Ok((rest, Value::F64(v))),
        _ => failed(input),
    }
}

fn boolean(input: Bytes<'_>) -> IResult<Bytes<'_>, Value> {
    let yes = alt((tag("true"), tag("True"), tag("TRUE"), tag("t"), tag("T")));
    let no = alt((tag("false"), tag("False"), tag("FALSE"), tag("f"), tag("F")));
    alt((value(Value::Bool(true), yes), value(Value::Bool(false), no))).parse(input)
}

fn line_end(input: Bytes<'_>) -> IResult<Bytes<'_>, ()> {
    value((), alt((tag("\n"), tag("\r\n"), all_consuming(tag(""))))).parse(input)
}

fn record(input: Bytes<'_>) -> IResult<Bytes<'_>, Point> {
    let blanks = |b: u8| b == b' ' || b == b'\t';
    let spaces = || take_while(|b: u8| b == b' ');
    let spaces1 = || take_while1(|b: u8| b == b' ');
    let key = || name(",= ");
    let field_value = alt((map(string, Value::Str), number, boolean));
    let (rest, (_, _, measurement, tags, _, fields, timestamp, _, _)) = (
        take_while(blanks),
        not(peek(char('#'))),
        name(", "),
        many0((char(','), key(), char('='), key()).map(|(_, k, _, v)| (k, v))),
        spaces1(),
        separated_list1(char(','), (key(), char('='), field_value).map(|(k, _, v)| (k, v))),
        opt(preceded(spaces1(), recognize(pair(opt(char('-')), digits)))),
        spaces(),
        line_end,
    )
        .parse(input)?;
    let timestamp = match timestamp.map(|t| text(t).parse()) {
        None => None,
        Some(Ok(t)) => Some(t),
        Some(Err(_)) => return failed(input),
    };
    for (i, (key, _)) in tags.iter().enumerate() {
        let clash = fields.iter().any(|(field, _)| field == key);
        if clash || tags[..i].iter().any(|(other, _)| other == key) {
            return failed(input);
        }
    }
    for (i, (key, value)) in fields.iter().enumerate() {
        let other =
            |(k, v): &(String, Value)| k == key && std::mem::discriminant(v) != std::mem::discriminant(value);
        if fields[..i].iter().any(other) {
            return failed(input);
        }
    }
    Ok((rest, Point { measurement, tags, fields, timestamp }))
}

/// Every record of `input`, read or refused.
#[must_use]
pub fn parse(input: &[u8]) -> Vec<Verdict> {
    let mut rest = input.strip_prefix(b"\xef\xbb\xbf").unwrap_or(input);
    let mut verdicts = Vec::new();
    let mut line = 1;
    while !rest.is_empty() {
        let first_line = rest.split_inclusive(|&b| b == b'\n').next().unwrap_or(rest);
        let trimmed = first_line.strip_suffix(b"\n").unwrap_or(first_line);
        // A carriage return is part of a line end only before a line feed.
        let trimmed = if trimmed.len() < first_line.len() {
            trimmed.strip_suffix(b"\r").unwrap_or(trimmed)
        } else {
            trimmed
        };
        let start = trimmed.iter().position(|&b| b != b' ' && b != b'\t');
        let blank = start.is_none_or(|at| trimmed[at] == b'#');
        let mut used = first_line.len();
        if !blank {
            let point = match record(rest) {
                Ok((after, point)) if std::str::from_utf8(&rest[..rest.len() - after.len()]).is_ok() => {
                    used = rest.len() - after.len();
                    Some(point)
                }
                _ => None,
            };
            verdicts.push(Verdict { line, point });
        }
        line += rest[..used].iter().filter(|&&b| b == b'\n').count() as u64;
        rest = &rest[used..];
    }
    verdicts
}
