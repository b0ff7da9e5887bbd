//! Transforms as operators write them: `add-tag:site=berlin`.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    AddColumn, CastColumn, DataType, DropColumns, Error, NameColumns, RenameColumn, RenameTable, Result,
    SelectColumns, Transform,
};

/// A transform as text, in the form of `-T`:
///
/// | text | what it does |
/// |---|---|
/// | `add-tag:NAME=VALUE` | adds a tag |
/// | `add-column:NAME=VALUE` | adds a text column |
/// | `drop-columns:A,B` | leaves columns out |
/// | `select-columns:A,B` | keeps these columns, in this order |
/// | `rename-column:OLD=NEW` | renames a column |
/// | `cast:COLUMN=TYPE` | casts a column; a value that does not fit rejects its row |
/// | `name-columns:A,B` | names all columns, by position; `name-columns:["A","B"]` for names with commas |
/// | `rename-table:prefix:TEXT`, `rename-table:suffix:TEXT` | puts text before or behind the name |
/// | `rename-table:template:TEXT` | names the table; `{table}` stands for the old name |
/// | `rename-table:replace_with_regex:REGEX::TEXT` | replaces what a regular expression finds in the name |
/// | `rename-child-table:...`, `rename-super-table:...` | likewise, for subtables or for tables that have some |
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TransformSpec {
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq)]
enum Kind {
    AddTag(String, String),
    AddColumn(String, String),
    Drop(Vec<String>),
    Select(Vec<String>),
    RenameColumn(String, String),
    Cast(String, DataType),
    NameColumns(NameColumns),
    RenameTable(RenameTable),
}

impl TransformSpec {
    /// The transform, ready to run.
    ///
    /// # Errors
    /// `Config` for one that makes no sense, such as an unknown placeholder.
    pub fn build(&self) -> Result<Arc<dyn Transform>> {
        Ok(match &self.kind {
            Kind::AddTag(name, value) => Arc::new(AddColumn::tag(name.as_str(), value)),
            Kind::AddColumn(name, value) => Arc::new(AddColumn::field(name.as_str(), value)),
            Kind::Drop(names) => Arc::new(DropColumns::new(names.clone())?),
            Kind::Select(names) => Arc::new(SelectColumns::new(names.clone())?),
            Kind::RenameColumn(from, to) => Arc::new(RenameColumn::new(from, to)),
            Kind::Cast(column, to) => Arc::new(CastColumn::new(column, to.clone())),
            Kind::NameColumns(names) => Arc::new(names.clone()),
            Kind::RenameTable(rename) => Arc::new(rename.clone()),
        })
    }
}

impl FromStr for TransformSpec {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let fault = |what: &str, example: &str| {
            Err(Error::config(format!("the transform {text:?} {what}")).with_hint(format!("write {example}")))
        };
        let (name, rest) = text.split_once(':').unwrap_or((text, ""));
        let pair = || match rest.split_once('=') {
            Some((name, value)) if !name.is_empty() => Some((name.to_owned(), value.to_owned())),
            _ => None,
        };
        let list = || {
            let names: Vec<_> = rest.split(',').map(|name| name.trim().to_owned()).collect();
            (!names.iter().any(String::is_empty)).then_some(names)
        };
        let kind = match name {
            "add-tag" => match pair() {
                Some((name, value)) => Kind::AddTag(name, value),
                None => return fault("needs a name and a value", "add-tag:NAME=VALUE"),
            },
            "add-column" => match pair() {
                Some((name, value)) => Kind::AddColumn(name, value),
                None => return fault("needs a name and a value", "add-column:NAME=VALUE"),
            },
            "rename-column" => match pair() {
                Some((from, to)) if !to.is_empty() => Kind::RenameColumn(from, to),
                _ => return fault("needs the old and the new name", "rename-column:OLD=NEW"),
            },
            "drop-columns" => match list() {
                Some(names) => Kind::Drop(names),
                None => return fault("needs the names of columns", "drop-columns:A,B"),
            },
            "select-columns" => match list() {
                Some(names) => Kind::Select(names),
                None => return fault("needs the names of columns", "select-columns:A,B"),
            },
            "cast" => match pair() {
                Some((column, to)) => Kind::Cast(column, to.parse()?),
                None => return fault("needs a column and a type", "cast:COLUMN=TYPE"),
            },
            "name-columns" => match list_or_json(rest) {
                Some(names) => Kind::NameColumns(NameColumns::new(names)?),
                None => return fault("needs the names of all columns", "name-columns:A,B"),
            },
            "rename-table" | "rename-child-table" | "rename-super-table" => Kind::RenameTable(text.parse()?),
            _ => {
                return fault(
                    "is not known",
                    "one of add-tag, add-column, drop-columns, select-columns, rename-column, name-columns, cast, \
                     rename-table, rename-child-table, rename-super-table",
                );
            }
        };
        Ok(Self { kind })
    }
}

impl fmt::Display for TransformSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::AddTag(name, value) => write!(f, "add-tag:{name}={value}"),
            Kind::AddColumn(name, value) => write!(f, "add-column:{name}={value}"),
            Kind::Drop(names) => write!(f, "drop-columns:{}", names.join(",")),
            Kind::Select(names) => write!(f, "select-columns:{}", names.join(",")),
            Kind::RenameColumn(from, to) => write!(f, "rename-column:{from}={to}"),
            Kind::Cast(column, to) => write!(f, "cast:{column}={to}"),
            Kind::NameColumns(names) => write!(f, "name-columns:{}", joined(names.names())),
            Kind::RenameTable(rename) => write!(f, "{rename}"),
        }
    }
}

impl TryFrom<String> for TransformSpec {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<TransformSpec> for String {
    fn from(spec: TransformSpec) -> Self {
        spec.to_string()
    }
}

/// Names between commas, or a JSON list of them.
fn list_or_json(text: &str) -> Option<Vec<String>> {
    if text.starts_with('[') {
        return serde_json::from_str(text).ok();
    }
    Some(text.split(',').map(|name| name.trim().to_owned()).collect())
}

/// Names as [`list_or_json`] reads them.
fn joined(names: &[String]) -> String {
    let plain = |name: &String| !name.contains(',') && !name.starts_with('[') && name.trim() == name;
    if names.iter().all(plain) {
        return names.join(",");
    }
    serde_json::to_string(names).unwrap_or_default()
}

impl From<NameColumns> for TransformSpec {
    fn from(names: NameColumns) -> Self {
        Self { kind: Kind::NameColumns(names) }
    }
}
