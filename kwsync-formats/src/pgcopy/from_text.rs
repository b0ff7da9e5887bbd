//! Values as a server prints them, turned into their binary form: for what hands out text alone, as logical replication does before version 14.
//!
//! The session's settings are to be `DateStyle` ISO, `IntervalStyle` postgres, `bytea_output` hex or escape, and `extra_float_digits` above 0.

use kwsync_core::system::postgres::types::PgType;

use super::fault::Fault;
use super::form::Form;
use super::{EPOCH_DAYS, EPOCH_MICROS, calendar, numeric, parse};

/// Turns the text of values of one type into their binary form.
///
/// # Examples
/// ```
/// use kwsync_core::system::postgres::types::{PgType, oid};
/// use kwsync_formats::pgcopy::TextValues;
///
/// let dates = TextValues::new(&PgType::base(oid::DATE, -1, "date")).expect("a type whose binary form is known");
/// let mut out = Vec::new();
/// dates.write("2000-01-03", &mut out)?;
/// assert_eq!(out, [0, 0, 0, 2]);
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Debug)]
pub struct TextValues(Form);

impl TextValues {
    /// For values of a type; `None` where its binary form is not known.
    pub fn new(pg_type: &PgType) -> Option<Self> {
        Form::of(pg_type).map(Self)
    }

    /// Appends the binary form of a value, without its length.
    ///
    /// # Errors
    /// Why the text is none of the type; nothing is appended then.
    pub fn write(&self, text: &str, out: &mut Vec<u8>) -> Result<(), String> {
        let before = out.len();
        write(&self.0, text, out).map_err(|fault| {
            out.truncate(before);
            fault.reason
        })
    }
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, Fault> {
    text.parse().map_err(|_| Fault::text("bad_value", text, "number of the column's type"))
}

fn write(form: &Form, text: &str, out: &mut Vec<u8>) -> Result<(), Fault> {
    match form {
        Form::Bool => out.push(u8::from(text.starts_with('t'))),
        Form::Int2 => out.extend_from_slice(&number::<i16>(text)?.to_be_bytes()),
        Form::Int4 => out.extend_from_slice(&number::<i32>(text)?.to_be_bytes()),
        Form::Int8 => out.extend_from_slice(&number::<i64>(text)?.to_be_bytes()),
        Form::Oid => out.extend_from_slice(&number::<u32>(text)?.to_be_bytes()),
        Form::Float4 => out.extend_from_slice(&number::<f32>(text)?.to_be_bytes()),
        Form::Float8 => out.extend_from_slice(&number::<f64>(text)?.to_be_bytes()),
        // Without bounds: the server has seen to those.
        Form::Numeric(_) => numeric::from_text(text, true, None, out)?,
        Form::Money => out.extend_from_slice(&cents(text)?.to_be_bytes()),
        Form::Text(of) => {
            out.extend(of.versioned.then_some(1));
            out.extend_from_slice(text.as_bytes());
        }
        Form::Bytea => bytes(text, out)?,
        Form::Date => {
            let days = match infinite(text) {
                Some(true) => i32::MAX,
                Some(false) => i32::MIN,
                None => narrow(calendar::date(&of_era(text))? - i64::from(EPOCH_DAYS), text)?,
            };
            out.extend_from_slice(&days.to_be_bytes());
        }
        Form::Time(_) => out.extend_from_slice(&(calendar::time(text)? / 1_000).to_be_bytes()),
        Form::TimeTz(_) => {
            let (nanos, east) = calendar::timetz(text)?;
            out.extend_from_slice(&(nanos / 1_000).to_be_bytes());
            out.extend_from_slice(&narrow(-east, text)?.to_be_bytes());
        }
        Form::Timestamp(..) => {
            let micros = match infinite(text) {
                Some(true) => i64::MAX,
                Some(false) => i64::MIN,
                None => {
                    let (seconds, nanos, _) = calendar::timestamp(&of_era(text))?;
                    let micros = seconds.checked_mul(1_000_000).map(|micros| micros + nanos / 1_000);
                    let micros = micros.and_then(|micros| micros.checked_sub(EPOCH_MICROS));
                    micros.ok_or_else(|| {
                        Fault::text("bad_timestamp", text, "timestamp of PostgreSQL's range")
                    })?
                }
            };
            out.extend_from_slice(&micros.to_be_bytes());
        }
        Form::Interval(_) => {
            let (months, days, micros) = interval(text)
                .ok_or_else(|| Fault::text("bad_interval", text, "interval as PostgreSQL prints it"))?;
            out.extend_from_slice(&micros.to_be_bytes());
            out.extend_from_slice(&days.to_be_bytes());
            out.extend_from_slice(&months.to_be_bytes());
        }
        Form::Uuid => out.extend_from_slice(&parse::uuid(text)?),
        Form::Inet { cidr } => parse::inet(text, *cidr, out)?,
        Form::Mac(length) => parse::mac(text, *length, out)?,
        Form::Bits { .. } => parse::bits(text, None, true, out)?,
        Form::Array { oid, item } => array(*oid, item, text, out)?,
        Form::Tid => return Err(Fault::text("bad_value", text, "value that is read as text")),
    }
    Ok(())
}

fn narrow(wide: i64, text: &str) -> Result<i32, Fault> {
    i32::try_from(wide).map_err(|_| Fault::text("bad_value", text, "value of the column's range"))
}

/// Whether it is the infinity at the end, or at the beginning.
fn infinite(text: &str) -> Option<bool> {
    match text {
        "infinity" => Some(true),
        "-infinity" => Some(false),
        _ => None,
    }
}

/// `0044-03-15 BC` as `-0043-03-15`: the year before 1 is 0.
fn of_era(text: &str) -> std::borrow::Cow<'_, str> {
    let before = || {
        let (year, rest) = text.strip_suffix(" BC")?.split_once('-')?;
        Some(format!("-{:04}-{rest}", year.parse::<u32>().ok()?.checked_sub(1)?))
    };
    before().map_or(text.into(), Into::into)
}

/// `-$1,234.50`, with any sign of a currency.
fn cents(text: &str) -> Result<i64, Fault> {
    let digits: String = text.chars().filter(|c| c.is_ascii_digit() || matches!(c, '.' | '-')).collect();
    let amount = numeric::small(&digits).filter(|(_, scale)| *scale == 2);
    amount
        .and_then(|(cents, _)| i64::try_from(cents).ok())
        .ok_or_else(|| Fault::text("bad_money", text, "amount of money with two digits behind a point"))
}

/// `\x0aff`, or of old `a\\\012`.
fn bytes(text: &str, out: &mut Vec<u8>) -> Result<(), Fault> {
    let fault = || Fault::text("bad_value", text, "string of bytes");
    let digit = |byte: Option<&u8>, base| byte.and_then(|byte| char::from(*byte).to_digit(base));
    let source = text.as_bytes();
    if let Some(hex) = source.strip_prefix(b"\\x") {
        for pair in hex.chunks(2) {
            let (Some(high), Some(low)) = (digit(pair.first(), 16), digit(pair.get(1), 16)) else {
                return Err(fault());
            };
            out.push((high << 4 | low) as u8);
        }
        return Ok(());
    }
    let mut at = 0;
    while let Some(byte) = source.get(at) {
        match (byte, source.get(at + 1)) {
            (b'\\', Some(b'\\')) => {
                out.push(b'\\');
                at += 2;
            }
            (b'\\', _) => {
                let code =
                    (1..=3).try_fold(0, |code, next| Some(code << 3 | digit(source.get(at + next), 8)?));
                out.push(code.and_then(|code| u8::try_from(code).ok()).ok_or_else(fault)?);
                at += 4;
            }
            (byte, _) => {
                out.push(*byte);
                at += 1;
            }
        }
    }
    Ok(())
}

/// `1 year -2 mons +3 days -04:05:06.789`: months, days, microseconds.
fn interval(text: &str) -> Option<(i32, i32, i64)> {
    let (mut months, mut days, mut micros) = (0_i32, 0_i32, 0_i64);
    let mut words = text.split(' ');
    while let Some(word) = words.next() {
        if word.contains(':') {
            let (sign, clock) = match word.split_at_checked(1)? {
                ("-", rest) => (-1, rest),
                ("+", rest) => (1, rest),
                _ => (1, word),
            };
            let mut parts = clock.splitn(3, ':');
            let (hours, minutes, seconds) = (parts.next()?, parts.next()?, parts.next().unwrap_or("0"));
            let (seconds, part) = seconds.split_once('.').unwrap_or((seconds, ""));
            let part = format!("{part:0<6}");
            let whole = hours.parse::<i64>().ok()?.checked_mul(3_600)?;
            let whole = whole + minutes.parse::<i64>().ok()? * 60 + seconds.parse::<i64>().ok()?;
            let all = whole.checked_mul(1_000_000)?.checked_add(part.get(..6)?.parse().ok()?)?;
            micros = micros.checked_add(sign * all)?;
            continue;
        }
        let count: i32 = word.parse().ok()?;
        match words.next()? {
            "year" | "years" => months = months.checked_add(count.checked_mul(12)?)?,
            "mon" | "mons" => months = months.checked_add(count)?,
            "day" | "days" => days = days.checked_add(count)?,
            _ => return None,
        }
    }
    Some((months, days, micros))
}

/// `{1,NULL,"a b",{...}}`, with `[0:2]=` before it where its first item is not number 1.
fn array(oid: u32, item: &Form, text: &str, out: &mut Vec<u8>) -> Result<(), Fault> {
    let fault = || Fault::text("bad_value", text, "array");
    let (bounds, body) = match text.strip_prefix('[') {
        Some(rest) => rest.split_once("]=").ok_or_else(fault)?,
        None => ("", text),
    };
    let first = |at: usize| {
        let bound = bounds.split("][").nth(at).and_then(|bound| bound.split(':').next());
        bound.map_or(Some(1), |bound| if bound.is_empty() { Some(1) } else { bound.parse::<i32>().ok() })
    };
    let mut items = Items { rest: body.as_bytes(), lengths: Vec::new(), data: Vec::new(), nulls: false };
    items.list(0, item)?;
    if !items.rest.is_empty() {
        return Err(fault());
    }
    let empty = items.lengths.first().is_none_or(|length| *length == Some(0));
    let dimensions = if empty { &[][..] } else { items.lengths.as_slice() };
    out.extend_from_slice(&(dimensions.len() as i32).to_be_bytes());
    out.extend_from_slice(&i32::from(items.nulls).to_be_bytes());
    out.extend_from_slice(&oid.to_be_bytes());
    for (at, length) in dimensions.iter().enumerate() {
        let length = length.and_then(|length| i32::try_from(length).ok()).ok_or_else(fault)?;
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&first(at).ok_or_else(fault)?.to_be_bytes());
    }
    out.extend_from_slice(&items.data);
    Ok(())
}

/// The items of an array, as they are read.
struct Items<'a> {
    rest: &'a [u8],
    /// Of each dimension; none before its first list has ended.
    lengths: Vec<Option<usize>>,
    data: Vec<u8>,
    nulls: bool,
}

impl Items<'_> {
    fn fault(&self) -> Fault {
        Fault::new("bad_value", "the text is no array of the column's type")
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    /// One list with its brackets, `depth` lists within others.
    fn list(&mut self, depth: usize, item: &Form) -> Result<(), Fault> {
        // PostgreSQL has six dimensions.
        if self.byte() != Some(b'{') || depth > 5 {
            return Err(self.fault());
        }
        if self.lengths.len() == depth {
            self.lengths.push(None);
        }
        let mut count = 0;
        if self.rest.first() == Some(&b'}') {
            self.byte();
        } else {
            loop {
                match self.rest.first() {
                    Some(b'{') => self.list(depth + 1, item)?,
                    _ => self.item(item)?,
                }
                count += 1;
                match self.byte() {
                    Some(b',') => {}
                    Some(b'}') => break,
                    _ => return Err(self.fault()),
                }
            }
        }
        match self.lengths.get_mut(depth) {
            Some(Some(known)) if *known != count => Err(self.fault()),
            Some(known) => {
                *known = Some(count);
                Ok(())
            }
            None => Err(self.fault()),
        }
    }

    fn item(&mut self, item: &Form) -> Result<(), Fault> {
        let mut text = Vec::new();
        let quoted = self.rest.first() == Some(&b'"');
        if quoted {
            self.byte();
            loop {
                match self.byte() {
                    Some(b'"') => break,
                    Some(b'\\') => text.push(self.byte().ok_or_else(|| self.fault())?),
                    Some(byte) => text.push(byte),
                    None => return Err(self.fault()),
                }
            }
        } else {
            while let Some(byte) = self.rest.first().filter(|byte| !matches!(byte, b',' | b'}')) {
                text.push(*byte);
                self.byte();
            }
        }
        if !quoted && text.eq_ignore_ascii_case(b"null") {
            self.nulls = true;
            self.data.extend_from_slice(&(-1_i32).to_be_bytes());
            return Ok(());
        }
        let text = String::from_utf8(text).map_err(|_| self.fault())?;
        let at = self.data.len();
        self.data.extend_from_slice(&[0; 4]);
        write(item, &text, &mut self.data)?;
        let length = (self.data.len() - at - 4) as i32;
        if let Some(field) = self.data.get_mut(at..at + 4) {
            field.copy_from_slice(&length.to_be_bytes());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_eras_and_arrays() {
        assert_eq!(interval("1 year -2 mons +3 days -04:05:06.789"), Some((10, 3, -14_706_789_000)));
        assert_eq!(interval("00:00:00"), Some((0, 0, 0)));
        assert_eq!(interval("-00:00:01.5"), Some((0, 0, -1_500_000)));
        assert_eq!(interval("3 fortnights"), None);
        assert_eq!(of_era("0044-03-15 BC"), "-0043-03-15");
        assert_eq!(of_era("0001-01-01 00:00:00+00 BC"), "-0000-01-01 00:00:00+00");
        assert_eq!(cents("-$1,234.50").unwrap(), -123_450);
        let mut out = Vec::new();
        array(23, &Form::Int4, "[0:1]={1,NULL}", &mut out).unwrap();
        assert_eq!(
            out,
            [
                0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 23, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 1, 255,
                255, 255, 255
            ]
        );
        for wrong in ["", "{", "{1,}", "{1}}", "{{1},{2,3}}", "{\"1"] {
            assert!(array(23, &Form::Int4, wrong, &mut out).is_err(), "{wrong}");
        }
        out.clear();
        bytes("a\\\\\\012", &mut out).unwrap();
        assert_eq!(out, b"a\\\n");
    }
}
