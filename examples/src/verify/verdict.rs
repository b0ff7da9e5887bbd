//! What a comparison says.

use std::collections::HashMap;
use std::fmt;

use kwsync_core::TableId;
use serde::Serialize;

use super::side::Row;

/// Whether a table is the same on both sides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The same rows, by value.
    #[default]
    Equal,
    /// Other rows, or columns that the target lacks, or rows that could not be read.
    Different,
    /// The target has no such table.
    Missing,
}

/// What was found of one table.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct TableVerdict {
    /// The table, as the target calls it.
    #[serde(serialize_with = "shown")]
    pub table: TableId,
    /// Its rows in the source.
    pub rows_from: u64,
    /// Its rows in the target.
    pub rows_to: Option<u64>,
    /// Rows that a side could not read.
    pub unreadable: u64,
    /// Whether they are the same.
    pub verdict: Verdict,
    /// Some of the rows that differ, by their keys.
    pub rows: Vec<String>,
    /// What a person should know beside that.
    pub notes: Vec<String>,
}

fn shown<S: serde::Serializer>(table: &TableId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(table)
}

impl TableVerdict {
    pub(super) fn new(table: TableId) -> Self {
        Self {
            table,
            rows_from: 0,
            rows_to: None,
            unreadable: 0,
            verdict: Verdict::Equal,
            rows: Vec::new(),
            notes: Vec::new(),
        }
    }
}

/// What was found of all tables. `Display` writes it as a table for a person.
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct Verification {
    /// The tables of the source.
    pub tables: Vec<TableVerdict>,
    /// Tables that only the target has; they are no difference.
    #[serde(serialize_with = "all_shown")]
    pub only_in_target: Vec<TableId>,
}

fn all_shown<S: serde::Serializer>(tables: &[TableId], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(tables.iter().map(ToString::to_string))
}

impl Verification {
    /// Whether every table of the source is the same in the target.
    pub fn is_equal(&self) -> bool {
        self.tables.iter().all(|table| table.verdict == Verdict::Equal)
    }
}

impl fmt::Display for Verification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.tables.iter().map(|one| one.table.to_string()).collect();
        let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0).max(5);
        writeln!(f, "{:<width$}  {:>14}  {:>14}  verdict", "table", "source", "target")?;
        for (one, name) in self.tables.iter().zip(&names) {
            let there = one.rows_to.map_or_else(|| "-".to_owned(), |rows| rows.to_string());
            let verdict = match one.verdict {
                Verdict::Equal => "equal",
                Verdict::Different => "different",
                Verdict::Missing => "missing in the target",
            };
            writeln!(f, "{name:<width$}  {:>14}  {there:>14}  {verdict}", one.rows_from)?;
            if one.unreadable > 0 {
                writeln!(f, "  {} rows could not be read", one.unreadable)?;
            }
            for line in one.notes.iter().chain(&one.rows) {
                writeln!(f, "  {line}")?;
            }
        }
        for table in &self.only_in_target {
            writeln!(f, "{table} is in the target only")?;
        }
        let count = |verdict| self.tables.iter().filter(|one| one.verdict == verdict).count();
        writeln!(
            f,
            "{} tables: {} equal, {} different, {} missing",
            self.tables.len(),
            count(Verdict::Equal),
            count(Verdict::Different),
            count(Verdict::Missing)
        )
    }
}

/// Some of the rows that one side has and the other has not, or has otherwise.
pub(super) fn differing(from: &HashMap<u128, Row>, to: &HashMap<u128, Row>, most: usize) -> Vec<String> {
    let mut found = Vec::new();
    for (key, row) in from {
        match to.get(key) {
            None => found.push(format!("only in the source: {}", row.name)),
            Some(other) if other.sum != row.sum || other.count != row.count => {
                found.push(format!("differs: {}", row.name));
            }
            Some(_) => {}
        }
    }
    let only = to.iter().filter(|(key, _)| !from.contains_key(key));
    found.extend(only.map(|(_, row)| format!("only in the target: {}", row.name)));
    found.sort();
    found.truncate(most);
    found
}
