//! Which subtable a row belongs to.

use std::str::FromStr;

use kwsync_core::system::tdengine::{CHILD_COLUMN, child_name, is_table_name};
use kwsync_core::{Error, ErrorKind, Result, Schema, TableBatch, Value};
use kwsync_formats::tdengine::LiteralTarget;

/// The name of a subtable, out of text, the table's name and tags.
///
/// # Examples
/// ```
/// use kwsync_sinks::tdengine::Template;
///
/// let template: Template = "{table}_d{id}".parse()?;
/// assert!("d{id".parse::<Template>().is_err());
/// # Ok::<(), kwsync_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    text: String,
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Column(String),
}

impl FromStr for Template {
    type Err = Error;

    /// # Errors
    /// `Config` for a brace that is not closed, or names nothing.
    fn from_str(text: &str) -> Result<Self> {
        let wrong = |what: &str| {
            Error::config(format!("subtable={text}: {what}"))
                .with_hint("write text with {table} and the names of tags, as in subtable=d{id}")
        };
        let (mut pieces, mut rest) = (Vec::new(), text);
        while let Some((before, behind)) = rest.split_once('{') {
            if !before.is_empty() {
                pieces.push(Piece::Text(before.to_owned()));
            }
            let (name, behind) = behind.split_once('}').ok_or_else(|| wrong("a brace is not closed"))?;
            if name.is_empty() {
                return Err(wrong("{} names no tag"));
            }
            pieces.push(Piece::Column(name.to_owned()));
            rest = behind;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        if pieces.is_empty() {
            return Err(wrong("this is no name"));
        }
        Ok(Self { text: text.to_owned(), pieces })
    }
}

/// How the subtables of a table's rows are named.
#[derive(Clone, Debug)]
pub(super) enum Naming {
    /// By a column.
    Column(usize),
    /// By a template.
    Parts(Vec<Part>),
    /// By the tags, whose names these are.
    Tags(Vec<String>),
}

#[derive(Clone, Debug)]
pub(super) enum Part {
    Text(String),
    Column(usize),
}

impl Naming {
    /// # Errors
    /// `Config` for a template that asks for a column that the rows do not have.
    pub(super) fn of(
        table: &str,
        schema: &Schema,
        template: Option<&Template>,
        tags: &[LiteralTarget],
    ) -> Result<Self> {
        if let Some(column) = schema.index_of(CHILD_COLUMN) {
            return Ok(Self::Column(column));
        }
        let Some(template) = template else {
            return Ok(Self::Tags(tags.iter().map(|tag| tag.name.clone()).collect()));
        };
        let part = |piece: &Piece| match piece {
            Piece::Text(text) => Ok(Part::Text(text.clone())),
            Piece::Column(name) if name == "table" => Ok(Part::Text(table.to_owned())),
            Piece::Column(name) => schema.index_of(name).map(Part::Column).ok_or_else(|| {
                Error::config(format!(
                    "subtable={} asks for a column {name:?} that {table} does not have",
                    template.text
                ))
            }),
        };
        template.pieces.iter().map(part).collect::<Result<_>>().map(Self::Parts)
    }

    /// Whether a name may belong to several sets of tags.
    pub(super) fn is_free(&self) -> bool {
        !matches!(self, Self::Tags(_))
    }

    /// What tells rows of one subtable from those of another goes to `key`: `tags` are those of the row, as literals between commas.
    ///
    /// # Errors
    /// `Data` for values that name none.
    pub(super) fn key(&self, batch: &TableBatch, row: usize, tags: &[u8], key: &mut Vec<u8>) -> Result<()> {
        let row = batch.row(row);
        let push = |column: usize, key: &mut Vec<u8>| -> Result<()> {
            match row.at(column)? {
                Value::Text(text) => key.extend_from_slice(text.as_bytes()),
                Value::Null => {
                    let text = "the row has a null where the name of its subtable comes from";
                    return Err(Error::new(ErrorKind::Data, text).with_code("no_subtable"));
                }
                other => key.extend_from_slice(other.to_string().as_bytes()),
            }
            Ok(())
        };
        match self {
            Self::Column(column) => push(*column, key)?,
            Self::Parts(parts) => {
                for part in parts {
                    match part {
                        Part::Column(column) => push(*column, key)?,
                        Part::Text(text) => key.extend_from_slice(text.as_bytes()),
                    }
                }
            }
            Self::Tags(_) => key.extend_from_slice(tags),
        }
        Ok(())
    }

    /// The name of the subtable of a key; `each` are the row's tags as literals.
    ///
    /// # Errors
    /// `Data` for a name that no table can have.
    pub(super) fn name(&self, table: &str, key: &[u8], each: &[Vec<u8>]) -> Result<String> {
        let name = match self {
            Self::Tags(names) => {
                let tags = names.iter().zip(each).filter(|(_, value)| value.as_slice() != b"NULL");
                child_name(table, tags.map(|(name, value)| (name.as_str(), value.as_slice())).collect())
            }
            _ => String::from_utf8_lossy(key).into_owned(),
        };
        if is_table_name(&name) {
            return Ok(name);
        }
        let text =
            format!("{name:?} cannot be the name of a subtable: no dot, no backtick, no NUL, 1 to 192 bytes");
        Err(Error::new(ErrorKind::Data, text).with_code("bad_name"))
    }
}
