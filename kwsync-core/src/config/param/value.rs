//! Text to typed values.

use std::time::Duration;

use super::ParamType;
use crate::config::nearest::did_you_mean;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Text(String),
    Flag(bool),
    Int(i64),
    Size(u64),
    Duration(Duration),
    Choice(&'static str),
    List(Vec<String>),
    Pairs(Vec<(String, String)>),
}

/// The value of `text`, or what would be one. `None` is a key alone.
pub(super) fn parse(kind: ParamType, text: Option<&str>) -> Result<Value, String> {
    let Some(text) = text else {
        return if kind == ParamType::Flag {
            Ok(Value::Flag(true))
        } else {
            Err("a value: key=value".to_owned())
        };
    };
    let text_or_trimmed = if kind == ParamType::Text { text } else { text.trim() };
    let parsed = match kind {
        // The rest of a prefix's name is not known here.
        ParamType::Text | ParamType::Prefix => Some(Value::Text(text_or_trimmed.to_owned())),
        ParamType::Flag => flag(text_or_trimmed).map(Value::Flag),
        ParamType::Int { min, max } => {
            let number = text_or_trimmed.replace('_', "").parse().ok();
            number.filter(|number| (min..=max).contains(number)).map(Value::Int)
        }
        ParamType::Size => size(text_or_trimmed).map(Value::Size),
        ParamType::Duration { unit, never } => match text_or_trimmed {
            "never" if never => Some(Value::Duration(Duration::MAX)),
            other => duration(other, unit).map(Value::Duration),
        },
        ParamType::Choice(words) => words
            .iter()
            .find(|word| word.eq_ignore_ascii_case(text_or_trimmed))
            .map(|word| Value::Choice(word)),
        ParamType::List => {
            let items = text.split([',', '\n']).map(str::trim).filter(|item| !item.is_empty());
            Some(Value::List(items.map(str::to_owned).collect()))
        }
    };
    parsed.ok_or_else(|| match kind {
        ParamType::Choice(words) => {
            format!("{}{}", describe(kind), did_you_mean(text_or_trimmed, words.iter().copied()))
        }
        _ => describe(kind),
    })
}

/// What a parameter takes, in words.
fn describe(kind: ParamType) -> String {
    match kind {
        ParamType::Text | ParamType::Prefix => "any text".to_owned(),
        ParamType::Flag => "true or false".to_owned(),
        ParamType::Int { min: i64::MIN, max: i64::MAX } => "a whole number".to_owned(),
        ParamType::Int { min, max: i64::MAX } => format!("a whole number from {min}"),
        ParamType::Int { min, max } => format!("a whole number from {min} to {max}"),
        ParamType::Size => "a number of bytes, as 4096, 64KiB or 16MiB".to_owned(),
        ParamType::Duration { never: false, .. } => "a time, as 500ms, 30s or 5m".to_owned(),
        ParamType::Duration { never: true, .. } => "a time, as 500ms, 30s or 5m, or never".to_owned(),
        ParamType::Choice(words) => format!("one of {}", words.join(", ")),
        ParamType::List => "texts between commas".to_owned(),
    }
}

impl std::fmt::Display for ParamType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&describe(*self))
    }
}

fn flag(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Some(true),
        "false" | "no" | "off" | "0" => Some(false),
        _ => None,
    }
}

/// A number and the letters behind it.
fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '_').unwrap_or(text.len());
    let (digits, unit) = text.split_at_checked(end)?;
    Some((digits.replace('_', "").parse().ok()?, unit.trim_start()))
}

/// A number of bytes: `4096`, `64KiB`.
pub(crate) fn size(text: &str) -> Option<u64> {
    let (number, unit) = number_and_unit(text)?;
    let factor: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "t" | "tib" => 1 << 40,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => return None,
    };
    number.checked_mul(factor)
}

pub(crate) fn duration(text: &str, bare: Duration) -> Option<Duration> {
    let (number, unit) = number_and_unit(text)?;
    let unit = match unit.to_ascii_lowercase().as_str() {
        "" => bare,
        "ns" => Duration::from_nanos(1),
        "us" | "µs" => Duration::from_micros(1),
        "ms" => Duration::from_millis(1),
        "s" => Duration::from_secs(1),
        "m" | "min" => Duration::from_secs(60),
        "h" => Duration::from_secs(3_600),
        "d" => Duration::from_secs(86_400),
        _ => return None,
    };
    let nanos = unit.as_nanos().checked_mul(u128::from(number))?;
    let seconds = u64::try_from(nanos / 1_000_000_000).ok()?;
    Some(Duration::new(seconds, u32::try_from(nanos % 1_000_000_000).ok()?))
}
