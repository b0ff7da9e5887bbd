//! Files of configuration as trees whose every part knows its place, so that a fault can be shown where it stands.

mod faults;
mod fields;
mod json;
mod properties;
#[cfg(test)]
mod tests;
mod yaml;

use std::fmt;
use std::sync::Arc;

pub(crate) use faults::{Faults, Wrong};
pub(crate) use fields::Fields;
pub(crate) use json::parse as parse_json;
pub(crate) use properties::parse as parse_properties;
pub(crate) use yaml::parse as parse_yaml;

use crate::{Location, Position};

/// Objects and lists within each other, at most; far more than any configuration has.
const MAX_DEPTH: usize = 100;

/// Where a part of a configuration stands: a place in a file, or a flag or variable, which have no lines.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    origin: Arc<str>,
    line: u64,
    column: u64,
}

impl Place {
    /// A flag or a variable.
    pub(crate) fn outside(origin: impl Into<Arc<str>>) -> Self {
        Self { origin: origin.into(), line: 0, column: 0 }
    }

    fn location(&self) -> Location {
        let place = Location::new().with_input(Arc::clone(&self.origin));
        match self.line {
            0 => place,
            line => place.with_position(Position { line, column: self.column, ..Position::default() }),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.line, self.column) {
            (0, _) => f.write_str(&self.origin),
            (line, column) => write!(f, "{}, line {line}, column {column}", self.origin),
        }
    }
}

/// A value and its place. It may be a secret, so there is no `Debug`.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) place: Place,
}

/// What a value is. Numbers keep their text.
#[derive(Clone)]
pub(crate) enum Value {
    Null,
    Flag(bool),
    Number(String),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// One key and its value.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) place: Place,
    pub(crate) value: Node,
}

impl Node {
    pub(crate) fn text(text: impl Into<String>, place: Place) -> Self {
        Self { value: Value::Text(text.into()), place }
    }

    /// What it is, in words.
    fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "null",
            Value::Flag(_) => "true or false",
            Value::Number(_) => "a number",
            Value::Text(_) => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "an object",
        }
    }

    /// The text of a scalar: numbers and flags as they were written.
    pub(crate) fn scalar(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) | Value::Number(text) => Some(text),
            Value::Flag(true) => Some("true"),
            Value::Flag(false) => Some("false"),
            _ => None,
        }
    }

    /// The same as JSON.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Flag(on) => (*on).into(),
            Value::Number(text) => {
                text.parse().map_or_else(|_| text.as_str().into(), serde_json::Value::Number)
            }
            Value::Text(text) => text.as_str().into(),
            Value::List(items) => items.iter().map(Self::to_json).collect(),
            Value::Map(entries) => {
                entries.iter().map(|entry| (entry.key.clone(), entry.value.to_json())).collect()
            }
        }
    }
}

/// The lines of a text, to find the line and column of a byte.
struct Lines<'a> {
    text: &'a str,
    origin: Arc<str>,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    fn of(name: &str, text: &'a str) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { text, origin: name.into(), starts }
    }

    fn place(&self, byte: usize) -> Place {
        let line = self.starts.partition_point(|start| *start <= byte);
        let start = self.starts.get(line.saturating_sub(1)).copied().unwrap_or_default();
        let column =
            self.text.get(start..byte).map_or(byte.saturating_sub(start), |before| before.chars().count());
        Place { origin: Arc::clone(&self.origin), line: line as u64, column: column as u64 + 1 }
    }

    /// The line of a place with a caret below it, unless the line may hold a secret.
    fn excerpt(&self, place: &Place) -> Option<String> {
        let line = self.text.lines().nth(usize::try_from(place.line).ok()?.checked_sub(1)?)?;
        let folded = line.to_ascii_lowercase();
        let telling = ["pass", "pwd", "secret", "token", "key", "credential", "auth", "://"];
        if telling.iter().any(|word| folded.contains(word)) {
            return None;
        }
        let at = line.char_indices().nth(usize::try_from(place.column).ok()?.checked_sub(1)?);
        Some(crate::caret(line.as_bytes(), at.map_or(line.len(), |(at, _)| at)))
    }

    /// A fault of syntax.
    fn fault(&self, place: &Place, message: String) -> crate::Error {
        let mut location = place.location();
        if let Some(excerpt) = self.excerpt(place) {
            location = location.with_excerpt(excerpt);
        }
        crate::Error::config(message).with_location(location)
    }
}
