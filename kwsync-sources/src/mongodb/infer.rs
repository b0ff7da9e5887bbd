//! Columns and their types from documents.

use kwsync_core::DataType;

use super::bson::{Broken, Doc, Elem, NO_NAME};
use super::columns::{Column, Target};

/// How deep documents are taken apart.
const MOST_DEPTH: usize = 16;
/// More columns than this no table has.
const MOST_COLUMNS: usize = 1500;

/// What was seen of a field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Seen(u16);

impl Seen {
    const BOOL: u16 = 1;
    const INT32: u16 = 1 << 1;
    const INT64: u16 = 1 << 2;
    /// A whole number that no float is.
    const LONG: u16 = 1 << 3;
    const DOUBLE: u16 = 1 << 4;
    const DECIMAL: u16 = 1 << 5;
    const DATE: u16 = 1 << 6;
    const TEXT: u16 = 1 << 7;
    const ID: u16 = 1 << 8;
    const BYTES: u16 = 1 << 9;
    const UUID: u16 = 1 << 10;
    const NESTED: u16 = 1 << 11;
    const OTHER: u16 = 1 << 12;

    fn add(&mut self, elem: &Elem<'_>) {
        self.0 |= match elem {
            Elem::Null => 0,
            Elem::Bool(_) => Self::BOOL,
            Elem::Int32(_) => Self::INT32,
            Elem::Int64(value) if value.unsigned_abs() > 1 << 53 => Self::INT64 | Self::LONG,
            Elem::Int64(_) => Self::INT64,
            Elem::Double(_) => Self::DOUBLE,
            Elem::Decimal(_) => Self::DECIMAL,
            Elem::Date(_) => Self::DATE,
            Elem::Text(_) | Elem::Ill(_) => Self::TEXT,
            Elem::ObjectId(_) => Self::ID,
            Elem::Binary(4, bytes) if bytes.len() == 16 => Self::UUID,
            Elem::Binary(..) => Self::BYTES,
            Elem::Doc(_) | Elem::Array(_) => Self::NESTED,
            _ => Self::OTHER,
        };
    }

    /// The type that has all of it, exactly.
    fn of(self) -> DataType {
        let only = |kinds: u16| self.0 & !kinds == 0;
        if self.0 == 0 || self.0 == Self::TEXT {
            DataType::Text
        } else if only(Self::BOOL) {
            DataType::Bool
        } else if only(Self::INT32) {
            DataType::Int32
        } else if only(Self::INT32 | Self::INT64 | Self::LONG) {
            DataType::Int64
        } else if only(Self::INT32 | Self::INT64 | Self::DOUBLE) {
            DataType::Float64
        } else if only(Self::INT32 | Self::INT64 | Self::LONG | Self::DECIMAL) {
            DataType::Numeric(None)
        } else if only(Self::DATE) {
            DataType::TimestampTz(kwsync_core::TimeUnit::Millisecond)
        } else if only(Self::ID) {
            DataType::VarChar(Some(24))
        } else if only(Self::UUID) {
            DataType::Uuid
        } else if only(Self::BYTES | Self::UUID) {
            DataType::Bytes
        } else if self.0 & Self::NESTED != 0 {
            DataType::Json
        } else {
            DataType::Text
        }
    }
}

/// Fields in the order in which they were seen.
#[derive(Debug, Default)]
pub(super) struct Inferring {
    fields: Vec<(String, Seen, Option<Self>)>,
    documents: u64,
}

impl Inferring {
    /// Looks at a document; with `nested` also within those in it.
    pub(super) fn look(&mut self, doc: Doc<'_>, nested: bool) -> Result<(), Broken> {
        self.documents += 1;
        self.look_at(doc, nested, 0)
    }

    fn look_at(&mut self, doc: Doc<'_>, nested: bool, depth: usize) -> Result<(), Broken> {
        let mut next = 0;
        for found in doc.elems() {
            let (name, elem) = found?;
            if name == NO_NAME && matches!(elem, Elem::Ill(_)) {
                // Its document is refused when it is read.
                continue;
            }
            let known = match self.fields.get(next) {
                Some((known, ..)) if known == name => Some(next),
                _ => self.fields.iter().position(|(known, ..)| known == name),
            };
            let at = match known {
                Some(at) => at,
                None if self.fields.len() < MOST_COLUMNS => {
                    self.fields.push((name.to_owned(), Seen::default(), None));
                    self.fields.len() - 1
                }
                // What is beyond is told of when it is read.
                None => continue,
            };
            next = at + 1;
            let Some((_, seen, within)) = self.fields.get_mut(at) else { continue };
            match elem {
                // A dot in a name would be taken for a path.
                Elem::Doc(inner) if nested && depth < MOST_DEPTH && !has_odd_names(inner)? => {
                    within.get_or_insert_default().look_at(inner, nested, depth + 1)?;
                }
                elem => seen.add(&elem),
            }
        }
        Ok(())
    }

    /// Documents that were looked at.
    pub(super) fn documents(&self) -> u64 {
        self.documents
    }

    /// The columns; `given` says what some of them are.
    pub(super) fn columns(&self, given: &impl Fn(&str) -> Option<Target>) -> Vec<Column> {
        let mut columns = Vec::new();
        self.collect("", given, &mut columns);
        if let Some(id) = columns.iter_mut().find(|column| column.name == "_id") {
            // What a key may be everywhere.
            let seen = self.fields.iter().find(|(name, ..)| name == "_id").map(|(_, seen, _)| *seen);
            id.key = seen
                .is_some_and(|seen| matches!(seen.0, Seen::ID | Seen::INT32 | Seen::INT64 | Seen::UUID))
                && given("_id").is_none();
        }
        columns
    }

    fn collect(&self, above: &str, given: &impl Fn(&str) -> Option<Target>, columns: &mut Vec<Column>) {
        for (name, seen, within) in &self.fields {
            let path = format!("{above}{name}");
            let target = given(&path);
            match within {
                // Beside documents there was something else: only JSON has both.
                Some(within) if seen.0 == 0 && target.is_none() && !within.fields.is_empty() => {
                    within.collect(&format!("{path}."), given, columns);
                }
                Some(_) => columns.push(Column::new(path, &target.unwrap_or(Target::Of(DataType::Json)))),
                None => columns.push(Column::new(path, &target.unwrap_or_else(|| Target::Of(seen.of())))),
            }
        }
    }

    /// The type of a path, as far as it was seen.
    pub(super) fn at(&self, path: &str) -> DataType {
        let (name, rest) = match path.split_once('.') {
            Some((name, rest)) => (name, Some(rest)),
            None => (path, None),
        };
        match (self.fields.iter().find(|(known, ..)| known == name), rest) {
            (Some((_, _, Some(within))), Some(rest)) => within.at(rest),
            (Some((_, _, Some(_))), None) => DataType::Json,
            (Some((_, seen, None)), None) => seen.of(),
            _ => DataType::Text,
        }
    }
}

fn has_odd_names(doc: Doc<'_>) -> Result<bool, Broken> {
    for found in doc.elems() {
        let (name, _) = found?;
        if name.is_empty() || name.contains('.') {
            return Ok(true);
        }
    }
    Ok(false)
}
