//! Transforms as operators write them: `add-tag:site=berlin`.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::config::{Expand, Secret, did_you_mean};
use crate::{
    AddColumn, CastColumn, ComputeColumn, DataType, DropColumns, Error, Expression, FilterRows, HashColumn,
    JobId, Mask, MaskColumn, MergeTables, NameColumns, RenameColumn, RenameTable, Result, SelectColumns,
    SetRole, Transform,
};

/// A transform as text, in the form of `-T`; `Display` hides a key that is written out:
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
/// | `filter:EXPRESSION` | keeps the rows for which an SQL [`Expression`] is true |
/// | `compute:NAME=EXPRESSION` | adds a column with the value of an expression, or replaces it |
/// | `mask:COLUMN`, `mask:COLUMN=TEXT` | puts `***`, or the text, in the place of every value |
/// | `mask:COLUMN=first:N`, `mask:COLUMN=last:N` | shows that many characters, and asterisks |
/// | `hash:COLUMN`, `hash:COLUMN=${KEY}` | puts the SHA-256 in the place of every value; with a key, the HMAC |
/// | `merge-tables:TABLE`, `merge-tables:TABLE=COLUMN` | puts all tables into one; `__dts_data_source`, or the column, says where a row came from |
/// | `set-role:ROLE=A,B` | says what columns stand for: `timestamp`, `tag`, `primary_tag` or `field` |
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
    SetRole(SetRole),
    RenameTable(RenameTable),
    Filter(Expression),
    Compute(String, Expression),
    Mask(String, Mask),
    Hash(String, Option<Secret>),
    Merge(String, String),
}

/// The column that says which table a merged row came from, as Data Transmission Service names it.
const SOURCE_COLUMN: &str = "__dts_data_source";

/// The names of all transforms.
const NAMES: &[&str] = &[
    "add-column",
    "add-tag",
    "cast",
    "compute",
    "drop-columns",
    "filter",
    "hash",
    "mask",
    "merge-tables",
    "name-columns",
    "rename-child-table",
    "rename-column",
    "rename-super-table",
    "rename-table",
    "select-columns",
    "set-role",
];

/// What transforms are told of the job that they are made for.
#[derive(Debug)]
pub struct TransformContext<'a> {
    /// The job.
    pub job: &'a JobId,
    /// The database that rows come from, where they come from one.
    pub database: Option<&'a str>,
    /// Finds what stands as `${NAME}`.
    pub expand: &'a Expand<'a>,
}

impl TransformSpec {
    /// The names of all transforms, in order.
    pub fn names() -> &'static [&'static str] {
        NAMES
    }

    /// The transform, ready to run.
    ///
    /// # Errors
    /// `Config` for one that makes no sense, such as an unknown placeholder.
    pub fn build(&self, context: &TransformContext<'_>) -> Result<Arc<dyn Transform>> {
        Ok(match &self.kind {
            Kind::AddTag(name, value) => Arc::new(AddColumn::tag(name.as_str(), value)),
            Kind::AddColumn(name, value) => Arc::new(AddColumn::field(name.as_str(), value)),
            Kind::Drop(names) => Arc::new(DropColumns::new(names.clone())?),
            Kind::Select(names) => Arc::new(SelectColumns::new(names.clone())?),
            Kind::RenameColumn(from, to) => Arc::new(RenameColumn::new(from, to)),
            Kind::Cast(column, to) => Arc::new(CastColumn::new(column, to.clone())),
            Kind::NameColumns(names) => Arc::new(names.clone()),
            Kind::SetRole(role) => Arc::new(role.clone()),
            Kind::RenameTable(rename) => Arc::new(rename.clone()),
            Kind::Filter(expression) => Arc::new(FilterRows::new(expression.clone())),
            Kind::Compute(name, expression) => {
                Arc::new(ComputeColumn::new(name.as_str(), expression.clone()))
            }
            Kind::Mask(column, mask) => Arc::new(MaskColumn::new(column, mask.clone())),
            Kind::Hash(column, key) => {
                let key = key.as_ref().map(|key| context.expand.value("hash", key.expose())).transpose()?;
                if key.as_ref().is_some_and(String::is_empty) {
                    return Err(Error::config(format!("the key of hash:{column} is empty"))
                        .with_hint("write hash:COLUMN for a hash without a key"));
                }
                Arc::new(HashColumn::new(column, key.map(Secret::new)))
            }
            Kind::Merge(into, column) => {
                let database = context.database.map(|database| format!("{database}.")).unwrap_or_default();
                let prefix = format!("{}:{database}", context.job);
                Arc::new(MergeTables::new(into.as_str(), column.as_str(), prefix))
            }
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
            "set-role" => match pair() {
                Some((role, names)) => {
                    let names = names.split(',').map(|name| name.trim().to_owned()).collect();
                    Kind::SetRole(SetRole::new(role.trim().parse()?, names)?)
                }
                None => {
                    return fault("needs a role and columns", "set-role:tag=A,B or set-role:timestamp=C");
                }
            },
            "filter" if !rest.trim().is_empty() => Kind::Filter(rest.parse()?),
            "filter" => return fault("needs an expression", "filter:usage > 0.5 AND host = 'web1'"),
            "compute" => match pair() {
                Some((name, expression)) => Kind::Compute(name, expression.parse()?),
                None => return fault("needs a name and an expression", "compute:NAME=EXPRESSION"),
            },
            "mask" => match rest.split_once('=').unwrap_or((rest, "***")) {
                ("", _) => {
                    return fault("needs a column", "mask:COLUMN, mask:COLUMN=TEXT or mask:COLUMN=last:4");
                }
                (column, shown) => {
                    let count = |shown: &str| {
                        shown.parse().map_err(|_| {
                            Error::config(format!(
                                "{shown:?} in the transform {text:?} is no number of characters"
                            ))
                        })
                    };
                    let mask = match shown.split_once(':') {
                        Some(("first", shown)) => Mask::First(count(shown)?),
                        Some(("last", shown)) => Mask::Last(count(shown)?),
                        _ => Mask::Text(shown.to_owned()),
                    };
                    Kind::Mask(column.to_owned(), mask)
                }
            },
            "hash" => match rest.split_once('=') {
                Some((column, key)) if !column.is_empty() && !key.is_empty() => {
                    Kind::Hash(column.to_owned(), Some(Secret::new(key)))
                }
                None if !rest.is_empty() => Kind::Hash(rest.to_owned(), None),
                _ => {
                    return Err(Error::config("the transform `hash` needs a column, and a key behind `=`")
                        .with_hint("write hash:COLUMN or hash:COLUMN=${KEY}"));
                }
            },
            "merge-tables" => match rest.split_once('=').unwrap_or((rest, SOURCE_COLUMN)) {
                (into, column) if !into.is_empty() && !column.is_empty() => {
                    Kind::Merge(into.to_owned(), column.to_owned())
                }
                _ => {
                    return fault(
                        "needs the name of a table",
                        "merge-tables:TABLE or merge-tables:TABLE=COLUMN",
                    );
                }
            },
            "rename-table" | "rename-child-table" | "rename-super-table" => Kind::RenameTable(text.parse()?),
            _ => {
                let meant = did_you_mean(name, NAMES.iter().copied());
                return Err(Error::config(format!("there is no transform {name:?}{meant}"))
                    .with_hint(format!("known are: {}", NAMES.join(", "))));
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
            Kind::SetRole(set) => write!(f, "set-role:{}={}", set.role().as_str(), set.names().join(",")),
            Kind::NameColumns(names) => write!(f, "name-columns:{}", joined(names.names())),
            Kind::RenameTable(rename) => write!(f, "{rename}"),
            Kind::Filter(expression) => write!(f, "filter:{expression}"),
            Kind::Compute(name, expression) => write!(f, "compute:{name}={expression}"),
            Kind::Mask(column, Mask::Text(text)) => write!(f, "mask:{column}={text}"),
            Kind::Mask(column, Mask::First(shown)) => write!(f, "mask:{column}=first:{shown}"),
            Kind::Mask(column, Mask::Last(shown)) => write!(f, "mask:{column}=last:{shown}"),
            Kind::Hash(column, None) => write!(f, "hash:{column}"),
            Kind::Hash(column, Some(key)) => match key.expose() {
                place if place.starts_with("${") || place.starts_with('@') => {
                    write!(f, "hash:{column}={place}")
                }
                _ => write!(f, "hash:{column}={key}"),
            },
            Kind::Merge(into, column) => write!(f, "merge-tables:{into}={column}"),
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
        match &spec.kind {
            // To be read again, by who may read it.
            Kind::Hash(column, Some(key)) => format!("hash:{column}={}", key.expose()),
            _ => spec.to_string(),
        }
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
