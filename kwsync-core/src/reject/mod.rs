//! Records and rows that could not be loaded: what they are, how many are allowed, and where they go.

mod dead_letters;
mod file;
mod policy;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub use dead_letters::DeadLetters;
#[cfg(feature = "mysql")]
pub(crate) use file::base64;
pub use file::{RejectReader, RejectWriter};
pub use policy::{Budget, Earlier, ErrorPolicy};

use crate::{Error, ErrorKind, Location, Metadata, Position, TableBatch, TableId, caret};

/// Where on its way a row was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// The decoder could not read the record.
    Decode,
    /// A transform could not be applied.
    Transform,
    /// The value cannot be written to the target without loss.
    Encode,
    /// The target refused the row.
    Write,
}

/// One refused record: where it stood, why it was refused, and its own bytes, so that it can be mended and
/// replayed.
///
/// As JSON it is one line: `{"position":{"byte","line","column","record"},"split","stage","format","table",
/// "code","reason","raw"}`, with `raw_base64` in place of `raw` where the bytes are not UTF-8.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    /// The place in the input; line and column point at the offending byte.
    pub position: Position,
    /// The input or split.
    pub split: String,
    /// Where on its way.
    pub stage: Stage,
    /// The input's format, such as `line_influxdb`.
    pub format: String,
    /// The table, as far as it is known.
    pub table: Option<TableId>,
    /// A stable code in snake case (`bad_integer`, `type_conflict`), or a SQLSTATE.
    pub code: String,
    /// The reason, for a person.
    pub reason: String,
    /// The record as it stood in the input, without its line end; the row as JSON when that is gone.
    pub raw: Bytes,
    /// The message that it is, or lies in.
    pub message: Option<Arc<Metadata>>,
    /// Byte of `raw` that the reason speaks of, from 0; not written to the file.
    pub at: Option<u32>,
}

impl Reject {
    /// The same, with bytes of its own: it keeps no chunk of the input alive.
    #[cfg(feature = "runtime")]
    #[must_use]
    pub(crate) fn detached(self) -> Self {
        let message = self.message.map(|message| Arc::new(message.detached()));
        Self { raw: Bytes::copy_from_slice(&self.raw), message, ..self }
    }

    /// The error that stops a job which allows no rejects: one line, and the record with a caret.
    pub fn to_error(&self) -> Error {
        let mut place = Location::new().with_input(self.split.as_str()).with_position(self.position);
        if let Some(table) = &self.table {
            place = place.with_table(table.name());
        }
        if !self.raw.is_empty() {
            let at = self.at.unwrap_or_else(|| self.position.column.saturating_sub(1) as u32) as usize;
            let line = self.raw.split(|byte| *byte == b'\n').next().unwrap_or_default();
            place = place.with_excerpt(caret(line, at));
        }
        Error::new(ErrorKind::Data, self.reason.clone()).with_code(self.code.clone()).with_location(place).with_hint(
            "mend the record; or load the others with --errors skip, or --errors reject:FILE to keep this one for later",
        )
    }
}

impl TableBatch {
    /// The reject of one of its rows, with its place in the input as far as that is known. `raw` is the record as
    /// it stood in the input, or the row as JSON when those bytes are gone. Of a [change](crate::Change) the reason says which.
    ///
    /// # Panics
    /// When `row` is not below [`rows`](Self::rows).
    pub fn reject(
        &self,
        row: usize,
        stage: Stage,
        code: impl Into<String>,
        reason: impl Into<String>,
    ) -> Reject {
        let origin = self.origin();
        let reason = match self.change().is_change() {
            true => format!("{}: {}", self.change(), reason.into()),
            false => reason.into(),
        };
        let raw = match origin.raw(row) {
            Some(raw) => Bytes::copy_from_slice(raw),
            None => Bytes::from(self.row(row).to_json().to_string()),
        };
        Reject {
            position: origin
                .position(row)
                .unwrap_or(Position { record: row as u64 + 1, ..Position::default() }),
            split: origin.input(row).map_or_else(String::new, |input| input.split().to_owned()),
            stage,
            format: String::new(),
            table: Some(self.table().clone()),
            code: code.into(),
            reason,
            raw,
            message: origin.input(row).and_then(|input| input.message()).cloned(),
            at: Some(0),
        }
    }
}
