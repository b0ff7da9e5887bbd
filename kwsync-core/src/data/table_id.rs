//! The name of a table: data, never SQL.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A table's name, and its schema (namespace) where one was given. Case is kept; a dot within a name is
/// part of the name. Sinks quote it, each in its own dialect.
///
/// # Examples
/// ```
/// use kwsync_core::TableId;
///
/// assert_eq!(TableId::new("cpu.load").name(), "cpu.load");
/// assert_eq!(TableId::with_schema("public", "cpu").to_string(), "public.cpu");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TableId {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    schema: Option<Arc<str>>,
    name: Arc<str>,
}

impl TableId {
    /// A table of which only the name is known; the sink chooses the schema.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self { schema: None, name: name.into() }
    }

    /// A table in a schema.
    pub fn with_schema(schema: impl Into<Arc<str>>, name: impl Into<Arc<str>>) -> Self {
        Self { schema: Some(schema.into()), name: name.into() }
    }

    /// The schema, where one was given.
    pub fn schema(&self) -> Option<&str> {
        self.schema.as_deref()
    }

    /// The name without the schema.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same schema with another name.
    #[must_use]
    pub fn renamed(&self, name: impl Into<Arc<str>>) -> Self {
        Self { schema: self.schema.clone(), name: name.into() }
    }
}

impl fmt::Display for TableId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.schema {
            Some(schema) => write!(f, "{schema}.{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

impl From<&str> for TableId {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}
