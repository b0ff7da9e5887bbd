//! Other names for tables.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, StringViewArray};
use regex::Regex;

use super::{Transform, Transformed};
use crate::{Error, ErrorKind, Location, Result, Role, TableBatch, Value};

/// The tag in which a table of many subtables keeps their names.
const CHILD: &str = "tbname";

/// Which tables a [`RenameTable`] is about. Systems that have subtables (TDengine) keep all of them in one table here,
/// with the name of each in the tag `tbname`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TableScope {
    /// Every table, and the subtables in the tag `tbname`.
    #[default]
    All,
    /// Only subtables: the values of the tag `tbname`.
    Child,
    /// Only tables that have subtables.
    Super,
}

impl TableScope {
    const ALL: [Self; 3] = [Self::All, Self::Child, Self::Super];

    fn as_str(self) -> &'static str {
        match self {
            Self::All => "rename-table",
            Self::Child => "rename-child-table",
            Self::Super => "rename-super-table",
        }
    }
}

/// Names tables anew: by a prefix, a suffix, a template or a regular expression. As text it is written
/// `rename-table:prefix:TEXT`, `:suffix:TEXT`, `:template:TEXT` or `:replace_with_regex:REGEX::REPLACEMENT`; in the place of
/// `rename-table` may stand `rename-child-table` and `rename-super-table`.
///
/// In a template `{table}` is the name of the table or subtable, `{stable}` that of the table that it belongs to, and
/// `{old}` the name that is replaced. A replacement names groups of the expression as `$name` or `${name}`; the expression
/// ends at the first `::`.
///
/// # Examples
/// ```
/// use kwsync_core::RenameTable;
///
/// assert_eq!(RenameTable::template("raw_{table}")?.name("cpu")?, "raw_cpu");
/// assert!(RenameTable::template("all").is_ok());
/// assert!(RenameTable::template("{tabel}").is_err());
///
/// let rename: RenameTable = r"rename-table:replace_with_regex:^(?<site>\w+)\.::${site}_".parse()?;
/// assert_eq!(rename.name("berlin.cpu")?, "berlin_cpu");
/// # Ok::<(), kwsync_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct RenameTable {
    scope: TableScope,
    way: Way,
}

#[derive(Clone, Debug)]
enum Way {
    Prefix(String),
    Suffix(String),
    Template(String),
    Replace { pattern: Regex, by: String },
}

impl RenameTable {
    /// A transform that names tables by `template`.
    ///
    /// # Errors
    /// `Config` for another placeholder than `{table}`, `{stable}` and `{old}`, and for an empty template.
    pub fn template(template: impl Into<String>) -> Result<Self> {
        let template = template.into();
        let rest = ["{table}", "{stable}", "{old}"]
            .iter()
            .fold(template.clone(), |rest, known| rest.replace(known, ""));
        if template.is_empty() || rest.contains(['{', '}']) {
            return Err(Error::config(format!("{template:?} is no template of a table's name"))
                .with_hint("use {table}, {stable} and {old} for the old names, as in raw_{table}"));
        }
        Ok(Self { scope: TableScope::All, way: Way::Template(template) })
    }

    /// A transform that replaces what `pattern` finds in a name by `by`.
    ///
    /// # Errors
    /// `Config` for a pattern that is none, and for a replacement that names a group which the pattern lacks.
    pub fn regex(pattern: &str, by: impl Into<String>) -> Result<Self> {
        let by = by.into();
        let pattern = Regex::new(pattern).map_err(|error| {
            // The last line says what is wrong, those before it show where.
            let said = error.to_string();
            let what = said.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            Error::config(format!("the regular expression {pattern:?} is wrong: {what}"))
                .with_hint("its syntax is that of Rust's crate `regex`; it ends at the first `::`")
                .with_source(error)
        })?;
        check_groups(&pattern, &by)?;
        Ok(Self { scope: TableScope::All, way: Way::Replace { pattern, by } })
    }

    /// Sets which tables it is about.
    #[must_use]
    pub fn with_scope(mut self, scope: TableScope) -> Self {
        self.scope = scope;
        self
    }

    /// The new name of a table that belongs to no other.
    ///
    /// # Errors
    /// `Schema` when nothing would be left of the name.
    pub fn name(&self, table: &str) -> Result<String> {
        self.child_name(table, table)
    }

    /// The new name of the subtable `table` of `stable`.
    fn child_name(&self, table: &str, stable: &str) -> Result<String> {
        let name = match &self.way {
            Way::Prefix(prefix) => format!("{prefix}{table}"),
            Way::Suffix(suffix) => format!("{table}{suffix}"),
            Way::Template(template) => fill(template, table, stable),
            Way::Replace { pattern, by } => pattern.replace_all(table, by.as_str()).into_owned(),
        };
        if name.is_empty() {
            return Err(Error::new(ErrorKind::Schema, format!("`{self}` leaves nothing of a table's name"))
                .with_location(Location::new().with_table(table)));
        }
        Ok(name)
    }

    /// The names of subtables anew, each different one once.
    fn children(&self, old: &ArrayRef, stable: &str) -> Result<ArrayRef> {
        if let Some(dictionary) = old.as_any_dictionary_opt() {
            return Ok(dictionary.with_values(self.children(dictionary.values(), stable)?));
        }
        let mut known: HashMap<String, String> = HashMap::new();
        let mut names = Vec::with_capacity(old.len());
        for row in 0..old.len() {
            let Value::Text(name) = Value::of(old.as_ref(), row)? else {
                names.push(None);
                continue;
            };
            if !known.contains_key(name.as_ref()) {
                known.insert(name.to_string(), self.child_name(&name, stable)?);
            }
            names.push(known.get(name.as_ref()).cloned());
        }
        Ok(Arc::new(StringViewArray::from_iter(names)))
    }
}

/// The template with its placeholders replaced in one pass: what stands in a name is never looked at again.
fn fill(template: &str, table: &str, stable: &str) -> String {
    let mut name = String::with_capacity(template.len() + table.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        name.push_str(before);
        let (placeholder, after) = after.split_once('}').unwrap_or((after, ""));
        name.push_str(if placeholder == "stable" { stable } else { table });
        rest = after;
    }
    name.push_str(rest);
    name
}

/// Whether `pattern` has every group that `by` names; the crate would write nothing for one that it lacks.
fn check_groups(pattern: &Regex, by: &str) -> Result<()> {
    let known: Vec<&str> = pattern.capture_names().flatten().collect();
    let mut rest = by;
    while let Some((_, after)) = rest.split_once('$') {
        if let Some(after) = after.strip_prefix('$') {
            rest = after;
            continue;
        }
        let (group, braced, after) = match after.strip_prefix('{').and_then(|inner| inner.split_once('}')) {
            Some((group, after)) => (group, true, after),
            None => {
                let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
                let (group, after) = after.split_at_checked(end).unwrap_or((after, ""));
                (group, false, after)
            }
        };
        rest = after;
        let numbered = group.parse::<usize>().is_ok_and(|number| number < pattern.captures_len());
        if group.is_empty() || numbered || known.contains(&group) {
            continue;
        }
        // `$old_x` names the group `old_x`: the longest name counts.
        let meant =
            known.iter().filter(|name| !braced && group.starts_with(**name)).max_by_key(|name| name.len());
        let hint = match meant {
            Some(name) => {
                let tail = group.strip_prefix(*name).unwrap_or_default();
                format!("write ${{{name}}}{tail}, or the group's name would be {group}")
            }
            None if known.is_empty() => {
                "the expression has no named group; write one as (?<name>...)".to_owned()
            }
            None => format!("it has: {}; a plain dollar sign is $$", known.join(", ")),
        };
        return Err(Error::config(format!(
            "the replacement {by:?} names the group `{group}`, which {:?} lacks",
            pattern.as_str()
        ))
        .with_hint(hint));
    }
    Ok(())
}

impl Transform for RenameTable {
    fn takes_changes(&self) -> bool {
        true
    }

    fn apply(&self, batch: TableBatch) -> Result<Transformed> {
        let children = batch.schema().columns().iter().position(|column| {
            column.name() == CHILD && matches!(column.role(), Role::Tag | Role::PrimaryTag)
        });
        let old = batch.table().clone();
        let batch = match children {
            Some(at) if self.scope != TableScope::Super => {
                let (table, schema, record_batch, origin) = batch.into_parts();
                let mut arrays = record_batch.columns().to_vec();
                if let Some(names) = arrays.get_mut(at) {
                    *names = self.children(names, old.name())?;
                }
                TableBatch::from_columns(table, schema, arrays, origin)?
            }
            _ => batch,
        };
        let renamed = match self.scope {
            TableScope::All => true,
            TableScope::Child => false,
            TableScope::Super => children.is_some(),
        };
        if !renamed {
            return Ok(batch.into());
        }
        Ok(batch.with_table(old.renamed(self.name(old.name())?)).into())
    }
}

impl FromStr for RenameTable {
    type Err = Error;

    /// # Errors
    /// `Config` for a text of another form, a wrong template or a wrong regular expression.
    fn from_str(text: &str) -> Result<Self> {
        let fault = |what: &str| {
            Err(Error::config(format!("the transform {text:?} {what}")).with_hint(
                "write rename-table:prefix:TEXT, :suffix:TEXT, :template:{table} or :replace_with_regex:REGEX::REPLACEMENT",
            ))
        };
        let (scope, rest) = text.split_once(':').unwrap_or((text, ""));
        let Some(scope) = TableScope::ALL.into_iter().find(|known| known.as_str() == scope) else {
            return fault("renames no table");
        };
        let Some((way, value)) = rest.split_once(':') else {
            return fault("does not say how");
        };
        let plain = |way| Ok(Self { scope, way });
        match way {
            "prefix" | "suffix" if value.is_empty() => fault("has no text"),
            "prefix" => plain(Way::Prefix(value.to_owned())),
            "suffix" => plain(Way::Suffix(value.to_owned())),
            "template" => Self::template(value).map(|made| made.with_scope(scope)),
            "replace_with_regex" => match value.split_once("::") {
                Some((pattern, by)) if !pattern.is_empty() => {
                    Self::regex(pattern, by).map(|made| made.with_scope(scope))
                }
                _ => fault("lacks `::` between the regular expression and its replacement"),
            },
            _ => fault("does not say how"),
        }
    }
}

impl fmt::Display for RenameTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.scope.as_str())?;
        match &self.way {
            Way::Prefix(text) => write!(f, ":prefix:{text}"),
            Way::Suffix(text) => write!(f, ":suffix:{text}"),
            Way::Template(text) => write!(f, ":template:{text}"),
            Way::Replace { pattern, by } => write!(f, ":replace_with_regex:{}::{by}", pattern.as_str()),
        }
    }
}

impl PartialEq for RenameTable {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}
