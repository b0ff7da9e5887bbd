//! Columns known by their position alone.

use std::sync::Arc;

use super::{Transform, Transformed};
use crate::{Error, ErrorKind, Location, Result, Schema, TableBatch};

/// Gives every column of a table a name, by position; a table with more or fewer columns is an error. For rows out of a
/// query, whose columns are called as the server likes.
///
/// # Examples
/// ```
/// use kwsync_core::NameColumns;
///
/// assert!(NameColumns::new(["time", "host"].map(String::from)).is_ok());
/// assert!(NameColumns::new(["a", "a"].map(String::from)).is_err());
/// # Ok::<(), kwsync_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameColumns(Vec<String>);

impl NameColumns {
    /// Names the columns `names`, from the first on.
    ///
    /// # Errors
    /// `Config` for an empty list or name, and for a name that stands twice.
    pub fn new(names: impl IntoIterator<Item = String>) -> Result<Self> {
        let names: Vec<_> = names.into_iter().collect();
        if names.is_empty() || names.iter().any(String::is_empty) {
            return Err(Error::config("a list of columns needs at least one name, and no empty one"));
        }
        for (at, name) in names.iter().enumerate() {
            if names.iter().skip(at + 1).any(|other| other == name) {
                return Err(Error::config(format!("the column {name:?} is named twice"))
                    .with_hint("a table has each column once; leave one out"));
            }
        }
        Ok(Self(names))
    }

    /// The names.
    pub fn names(&self) -> &[String] {
        &self.0
    }
}

impl Transform for NameColumns {
    fn apply(&self, batch: TableBatch) -> Result<Transformed> {
        let found = batch.schema().columns();
        if found.len() != self.0.len() {
            let text = format!("{} columns are read, but {} are written", found.len(), self.0.len());
            let read: Vec<_> = found.iter().map(crate::Column::name).collect();
            return Err(Error::new(ErrorKind::Schema, text)
                .with_hint(format!("read are {}; written are {}", read.join(", "), self.0.join(", ")))
                .with_location(Location::new().with_table(batch.table().name())));
        }
        if found.iter().zip(&self.0).all(|(column, name)| column.name() == name) {
            return Ok(batch.into());
        }
        let (table, schema, record_batch, origin) = batch.into_parts();
        let columns = schema
            .columns()
            .iter()
            .zip(&self.0)
            .map(|(column, name)| column.clone().with_name(name.as_str()));
        let renamed = Schema::new(columns.collect())?.with_version(schema.version());
        Ok(TableBatch::from_columns(table, Arc::new(renamed), record_batch.columns().to_vec(), origin)?
            .into())
    }
}
