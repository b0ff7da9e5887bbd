//! What columns stand for.

use super::columns::{pairs, rebuild};
use super::{Transform, Transformed};
use crate::{Error, Result, Role, TableBatch};

/// Gives columns a role, in the tables that have them: rows of a database know none, and formats of time series need to be
/// told which column is the time and which are tags. The time moves to the front, tags behind it and the tags that are there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetRole {
    role: Role,
    names: Vec<String>,
}

impl SetRole {
    /// Gives `names` the role.
    ///
    /// # Errors
    /// `Config` for an empty list or name, and for several columns as the time.
    pub fn new(role: Role, names: Vec<String>) -> Result<Self> {
        if names.is_empty() || names.iter().any(String::is_empty) {
            return Err(Error::config("a role needs at least one column, and no empty name"));
        }
        if role == Role::Timestamp && names.len() > 1 {
            return Err(Error::config("a table has one time"));
        }
        Ok(Self { role, names })
    }

    /// The role.
    pub fn role(&self) -> Role {
        self.role
    }

    /// The columns.
    pub fn names(&self) -> &[String] {
        &self.names
    }
}

impl Transform for SetRole {
    fn takes_changes(&self) -> bool {
        true
    }

    fn apply(&self, batch: TableBatch) -> Result<Transformed> {
        let columns = pairs(&batch);
        let named = |name: &str| self.names.iter().any(|known| known == name);
        let (mut chosen, mut others): (Vec<_>, Vec<_>) =
            columns.into_iter().partition(|(column, _)| named(column.name()));
        if chosen.is_empty() {
            return Ok(batch.into());
        }
        // In the order in which they were named.
        chosen.sort_by_key(|(column, _)| self.names.iter().position(|name| name == column.name()));
        for (column, _) in &mut chosen {
            *column = column.clone().with_role(self.role);
        }
        let at = match self.role {
            Role::Timestamp => {
                for (column, _) in &mut others {
                    if column.role() == Role::Timestamp {
                        *column = column.clone().with_role(Role::Field);
                    }
                }
                0
            }
            Role::Field => others.len(),
            Role::Tag | Role::PrimaryTag => {
                others.iter().rposition(|(column, _)| column.role() != Role::Field).map_or(0, |last| last + 1)
            }
        };
        others.splice(at..at, chosen);
        Ok(rebuild(batch, others)?.into())
    }
}
