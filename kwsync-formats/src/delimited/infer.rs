//! Types told from a sample.

use kwsync_core::{DataType, TimeUnit};

use crate::build::EXACT;
use crate::calendar;
use crate::influx::number::{self, Number};

/// What all values of a column so far have been.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Guess {
    /// None but nulls
    #[default]
    Nothing,
    Bool,
    /// Whether all of them are floats exactly
    Int(bool),
    Float,
    Date,
    /// With an offset or without; whether there are nanoseconds
    Timestamp(bool, bool),
    Text,
}

impl Guess {
    /// What `text` looks like. A number that its type would not give back as it is written is text: `007`, or more
    /// digits than a float has.
    pub(super) fn of(text: &[u8]) -> Self {
        let first = text.first().copied().unwrap_or(0);
        if first.is_ascii_digit() || matches!(first, b'-' | b'.') {
            if let Some(value) = integer(text) {
                return Self::Int(value.unsigned_abs() <= EXACT);
            }
            if is_float(text) {
                return Self::Float;
            }
            if calendar::date(text).is_some() {
                return Self::Date;
            }
            if text.len() > 10
                && let Some((_, nanos, offset)) = calendar::timestamp(text)
            {
                return Self::Timestamp(offset.is_some(), nanos % 1000 != 0);
            }
            return Self::Text;
        }
        match text {
            b"t" | b"f" | b"true" | b"false" | b"TRUE" | b"FALSE" | b"True" | b"False" => Self::Bool,
            _ => Self::Text,
        }
    }

    /// What holds both exactly.
    pub(super) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Nothing, other) | (other, Self::Nothing) => other,
            (Self::Int(a), Self::Int(b)) => Self::Int(a && b),
            (Self::Int(true), Self::Float) | (Self::Float, Self::Int(true)) => Self::Float,
            (Self::Timestamp(zone, a), Self::Timestamp(other, b)) if zone == other => {
                Self::Timestamp(zone, a || b)
            }
            (Self::Timestamp(false, nanos), Self::Date) | (Self::Date, Self::Timestamp(false, nanos)) => {
                Self::Timestamp(false, nanos)
            }
            (a, b) if a == b => a,
            _ => Self::Text,
        }
    }

    pub(super) fn data_type(self) -> DataType {
        let unit = |nanos| if nanos { TimeUnit::Nanosecond } else { TimeUnit::Microsecond };
        match self {
            Self::Nothing | Self::Text => DataType::Text,
            Self::Bool => DataType::Bool,
            Self::Int(_) => DataType::Int64,
            Self::Float => DataType::Float64,
            Self::Date => DataType::Date,
            Self::Timestamp(true, nanos) => DataType::TimestampTz(unit(nanos)),
            Self::Timestamp(false, nanos) => DataType::Timestamp(unit(nanos)),
        }
    }
}

/// An integer as nobody would write it otherwise.
fn integer(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let plain = !digits.is_empty() && (digits.first() != Some(&b'0') || text.len() == 1);
    match number::integer(text, 0) {
        (Some(value), end) if plain && end == text.len() => Some(value),
        _ => None,
    }
}

fn is_float(text: &[u8]) -> bool {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let zeros =
        digits.len() > 1 && digits.first() == Some(&b'0') && digits.get(1).is_some_and(u8::is_ascii_digit);
    let mantissa = digits.split(|byte| matches!(byte, b'e' | b'E')).next().unwrap_or_default();
    let significant = mantissa.iter().filter(|byte| byte.is_ascii_digit()).count();
    !zeros
        && significant <= 17
        && mantissa.contains(&b'.') | (mantissa.len() < digits.len())
        && matches!(number::parse(text), Ok(Number::F64(_)))
}

#[cfg(test)]
mod tests {
    use super::Guess;

    #[test]
    fn what_text_looks_like() {
        let of = |texts: &[&str]| {
            texts
                .iter()
                .fold(Guess::Nothing, |all, text| all.and(Guess::of(text.as_bytes())))
                .data_type()
                .to_string()
        };
        for (texts, expected) in [
            (&["1", "-2"][..], "i64"),
            (&["1", "2.5"], "f64"),
            (&["9007199254740993", "2.5"], "text"),
            (&["007"], "text"),
            (&["0"], "i64"),
            (&["-0"], "text"),
            (&["0.5", "1e5", "-.5"], "f64"),
            (&["1.23456789012345678"], "text"),
            (&["99999999999999999999"], "text"),
            (&["1e400"], "text"),
            (&["t", "false"], "bool"),
            (&["t", "1"], "text"),
            (&["2023-08-11"], "date"),
            (&["2023-08-11", "2023-08-11 12:00:00"], "timestamp(us)"),
            (&["2023-08-11T12:00:00.123456789Z"], "timestamptz(ns)"),
            (&["2023-08-11T12:00:00Z", "2023-08-11T12:00:00"], "text"),
            (&["2023-08-32"], "text"),
            (&[""], "text"),
            (&[], "text"),
        ] {
            assert_eq!(of(texts), expected, "{texts:?}");
        }
    }
}
