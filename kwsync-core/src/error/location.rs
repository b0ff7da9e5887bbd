//! Where in the input, or in the target, something happened.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A place in a stream of bytes. It is exact across chunks, splits and resumption.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Position {
    /// Bytes before this place, from the start of the input.
    pub byte: u64,
    /// Physical line, from 1; 0 where the input has no lines or they were not counted.
    pub line: u64,
    /// Byte within the line, from 1; 0 where it is not known.
    pub column: u64,
    /// Record, from 1, blank lines and comments not counted; 0 where it is not known.
    pub record: u64,
}

impl Position {
    /// The first byte of an input of lines.
    pub const START: Self = Self { byte: 0, line: 1, column: 1, record: 0 };
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.line, self.column) {
            (0, _) => write!(f, "byte {}", self.byte),
            (line, 0) => write!(f, "line {line}"),
            (line, column) => write!(f, "line {line}, column {column}"),
        }
    }
}

/// Where an error happened; every part is optional.
///
/// # Examples
/// ```
/// use kwsync_core::{Location, Position};
///
/// let place = Location::new()
///     .with_input("metrics.lp")
///     .with_position(Position { byte: 120, line: 3, column: 9, record: 3 });
/// assert_eq!(place.to_string(), "metrics.lp, line 3, column 9");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Location {
    input: Option<Arc<str>>,
    position: Option<Position>,
    table: Option<Arc<str>>,
    column: Option<Arc<str>>,
    row: Option<u64>,
    excerpt: Option<String>,
}

impl Location {
    /// A place of which nothing is known yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Names the file, topic or query.
    #[must_use]
    pub fn with_input(mut self, input: impl Into<Arc<str>>) -> Self {
        self.input = Some(input.into());
        self
    }

    /// The place within the input.
    #[must_use]
    pub fn with_position(mut self, position: Position) -> Self {
        self.position = Some(position);
        self
    }

    /// The table.
    #[must_use]
    pub fn with_table(mut self, table: impl Into<Arc<str>>) -> Self {
        self.table = Some(table.into());
        self
    }

    /// The column of the table.
    #[must_use]
    pub fn with_column(mut self, column: impl Into<Arc<str>>) -> Self {
        self.column = Some(column.into());
        self
    }

    /// The row within the batch or statement, from 0.
    #[must_use]
    pub fn with_row(mut self, row: u64) -> Self {
        self.row = Some(row);
        self
    }

    /// The lines to show: the offending text, and a caret below it. See [`caret`].
    #[must_use]
    pub fn with_excerpt(mut self, excerpt: impl Into<String>) -> Self {
        self.excerpt = Some(excerpt.into());
        self
    }

    /// The file, topic or query.
    pub fn input(&self) -> Option<&str> {
        self.input.as_deref()
    }

    /// The place within the input.
    pub fn position(&self) -> Option<Position> {
        self.position
    }

    /// The table.
    pub fn table(&self) -> Option<&str> {
        self.table.as_deref()
    }

    /// The column of the table.
    pub fn column(&self) -> Option<&str> {
        self.column.as_deref()
    }

    /// The row within the batch or statement, from 0.
    pub fn row(&self) -> Option<u64> {
        self.row
    }

    /// The offending text with a caret below it.
    pub fn excerpt(&self) -> Option<&str> {
        self.excerpt.as_deref()
    }

    /// Whether there is nothing to print.
    pub fn is_empty(&self) -> bool {
        self.input.is_none()
            && self.position.is_none()
            && self.table.is_none()
            && self.column.is_none()
            && self.row.is_none()
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        let mut part = |f: &mut fmt::Formatter<'_>, text: fmt::Arguments<'_>| {
            let written = write!(f, "{separator}{text}");
            separator = ", ";
            written
        };
        if let Some(input) = &self.input {
            part(f, format_args!("{input}"))?;
        }
        if let Some(position) = &self.position {
            part(f, format_args!("{position}"))?;
        }
        if let Some(table) = &self.table {
            part(f, format_args!("table {table}"))?;
        }
        if let Some(column) = &self.column {
            part(f, format_args!("column {column}"))?;
        }
        if let Some(row) = &self.row {
            part(f, format_args!("row {row}"))?;
        }
        Ok(())
    }
}

/// Two lines: the part of `line` around byte `at` (from 0), and a caret below that byte.
///
/// Bytes that are not UTF-8 and control characters are shown as `?`, so that the caret stays in place;
/// at most about seventy characters are shown.
///
/// # Examples
/// ```
/// assert_eq!(kwsync_core::caret(b"cpu usage=1x 5", 11), "    cpu usage=1x 5\n               ^");
/// ```
pub fn caret(line: &[u8], at: usize) -> String {
    const BEFORE: usize = 45;
    const SHOWN: usize = 72;
    let at = at.min(line.len());
    let start = at.saturating_sub(BEFORE);
    let end = line.len().min(start + SHOWN);
    let shown = String::from_utf8_lossy(line.get(start..end).unwrap_or_default());
    let before = String::from_utf8_lossy(line.get(start..at).unwrap_or_default());
    let clean = |text: &str| -> String {
        text.chars()
            .map(|c| if c.is_control() || c == char::REPLACEMENT_CHARACTER { '?' } else { c })
            .collect()
    };
    let left = if start > 0 { "..." } else { "" };
    let right = if end < line.len() { "..." } else { "" };
    let pad = 4 + left.len() + before.chars().count();
    format!("    {left}{}{right}\n{:pad$}^", clean(&shown), "")
}
