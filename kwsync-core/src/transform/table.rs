//! Other names for tables.

use super::{Transform, Transformed};
use crate::{Error, Result, TableBatch};

/// Names tables by a template in which `{table}` stands for the old name.
///
/// # Examples
/// ```
/// use kwsync_core::RenameTable;
///
/// assert_eq!(RenameTable::template("raw_{table}")?.name("cpu"), "raw_cpu");
/// assert!(RenameTable::template("all").is_ok());
/// assert!(RenameTable::template("{tabel}").is_err());
/// # Ok::<(), kwsync_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct RenameTable {
    template: String,
}

impl RenameTable {
    /// A transform that names tables by `template`.
    ///
    /// # Errors
    /// `Config` for another placeholder than `{table}`, and for an empty template.
    pub fn template(template: impl Into<String>) -> Result<Self> {
        let template = template.into();
        let rest = template.replace("{table}", "");
        if template.is_empty() || rest.contains(['{', '}']) {
            return Err(Error::config(format!("{template:?} is no template of a table's name"))
                .with_hint("use {table} for the old name, as in raw_{table}"));
        }
        Ok(Self { template })
    }

    /// The new name of a table.
    pub fn name(&self, table: &str) -> String {
        self.template.replace("{table}", table)
    }
}

impl Transform for RenameTable {
    fn apply(&self, batch: TableBatch) -> Result<Transformed> {
        let table = batch.table().renamed(self.name(batch.table().name()));
        Ok(batch.with_table(table).into())
    }
}
