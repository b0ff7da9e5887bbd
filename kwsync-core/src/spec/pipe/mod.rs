//! Pipes, as Apache IoTDB has them: statements that make, start, stop, drop and show tasks of a source, a processor and
//! a sink.

mod parse;
mod settings;
mod spec;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use settings::PipeSettings;
pub use spec::PipePlan;

use crate::config::{Dsn, is_secret_name};
use crate::spec::TransformSpec;
use crate::{Error, Result};

/// A statement about pipes.
///
/// The grammar is IoTDB's, with what people write in fact: any case, `--` comments, a comma behind the last attribute,
/// several statements with or without `;`, keys with the name of their part or without (`'sink.ip'` or `'ip'`), and
/// `EXTRACTOR` and `CONNECTOR` for what was renamed to `SOURCE` and `SINK`.
///
/// # Examples
/// ```
/// use kwsync_core::spec::PipeStatement;
///
/// let all = PipeStatement::parse_all(
///     "create pipe a2b with source ('source'='file', 'source.dsn'='metrics.lp') \
///      with sink ('sink'='postgres', 'dsn'='postgres://u@h/db',)
///      show pipes",
/// )?;
/// assert_eq!(all.len(), 2);
/// assert!(matches!(&all[0], PipeStatement::Create(pipe) if pipe.sink.get("dsn") == Some("postgres://u@h/db")));
/// assert_eq!(all[1], PipeStatement::Show(None));
/// # Ok::<(), kwsync_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PipeStatement {
    /// `CREATE PIPE name WITH SOURCE (...) WITH PROCESSOR (...) WITH SINK (...)`
    Create(PipeDefinition),
    /// `START PIPE name`
    Start(String),
    /// `STOP PIPE name`
    Stop(String),
    /// `DROP PIPE name`
    Drop(String),
    /// `SHOW PIPE name`, or `SHOW PIPES`
    Show(Option<String>),
    /// `SHOW PIPES WHERE SINK USED BY name`
    ShowSharing(String),
    /// `SHOW PIPEPLUGINS`
    ShowPlugins,
}

impl PipeStatement {
    /// Reads all statements of a text.
    ///
    /// # Errors
    /// `Config` with line and column of what does not belong there; with the code `incomplete` where the text ends too soon,
    /// as between two lines that a person types.
    pub fn parse_all(text: &str) -> Result<Vec<Self>> {
        parse::statements(text)
    }
}

impl FromStr for PipeStatement {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut all = Self::parse_all(text)?;
        match (all.pop(), all.is_empty()) {
            (Some(one), true) => Ok(one),
            (Some(_), false) => Err(Error::config("more than one statement where one belongs")),
            (None, _) => Err(Error::config("an empty statement")),
        }
    }
}

/// A pipe: what it is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PipeDefinition {
    /// Its name.
    pub name: String,
    /// Where data comes from.
    #[serde(default)]
    pub source: Attributes,
    /// What happens to it.
    #[serde(default)]
    pub processor: Attributes,
    /// Where it goes.
    pub sink: Attributes,
}

/// The attributes of one part of a pipe, by key, without the name of the part. `Display` and `Debug` hide secrets.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Attributes(BTreeMap<String, String>);

impl Attributes {
    /// The value of `key`.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// Keys and values, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// Sets `key`; false when it was there already.
    pub fn insert(&mut self, key: impl Into<String>, value: impl Into<String>) -> bool {
        match self.0.entry(key.into()) {
            std::collections::btree_map::Entry::Vacant(free) => {
                free.insert(value.into());
                true
            }
            std::collections::btree_map::Entry::Occupied(_) => false,
        }
    }

    /// The plugin that the part names, in lower case.
    fn plugin(&self, part: &str) -> Option<String> {
        self.get(part).map(str::trim).filter(|name| !name.is_empty()).map(str::to_ascii_lowercase)
    }
}

impl fmt::Display for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (index, (key, value)) in self.iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            // A transform hides what must not be seen, as the key of a hash.
            let whole = match (key, self.plugin("processor")) {
                ("value", Some(name)) => format!("{name}:{value}").parse::<TransformSpec>().ok(),
                (_, Some(_)) => value.parse::<TransformSpec>().ok(),
                _ => None,
            };
            if is_secret_name(key) {
                write!(f, "{key}=***")?;
            } else if let Some(transform) = whole {
                let text = transform.to_string();
                let shown = match key {
                    "value" => text.split_once(':').map_or("", |(_, value)| value),
                    _ => &text,
                };
                write!(f, "{key}={shown}")?;
            } else if key == "dsn" {
                match value.parse::<Dsn>() {
                    Ok(dsn) => write!(f, "{key}={dsn}")?,
                    Err(_) => write!(f, "{key}=(an address that cannot be parsed)")?,
                }
            } else {
                write!(f, "{key}={value}")?;
            }
        }
        f.write_str("}")
    }
}

impl fmt::Debug for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
