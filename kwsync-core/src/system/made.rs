//! Tables of a target as a job met them, and the indexes and foreign keys that those it made are to have when the rows are there.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Error, ErrorKind, ForeignKey, Index, Retry, Schema, TableId};

/// A table of the target. Written down with the job's checkpoints, it tells a later run what is still to be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MadeTable {
    /// The table in the target.
    table: TableId,
    /// Whether the job made it; others are only pointed to.
    made: bool,
    /// Each column's name here, and the table and column that it is in the source.
    homes: Vec<(Arc<str>, TableId, Arc<str>)>,
    indexes: Vec<Index>,
    keys: Vec<ForeignKey>,
}

/// Which of a source's indexes a table that is made gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum CarriedIndexes {
    /// All that translate.
    #[default]
    All,
    /// Those that keep values distinct.
    Unique,
    /// None.
    None,
}

impl CarriedIndexes {
    /// By the name that a parameter has: `all`, `unique`, `none`; all for any other.
    pub fn named(name: Option<&str>) -> Self {
        match name {
            Some("unique") => Self::Unique,
            Some("none") => Self::None,
            _ => Self::All,
        }
    }
}

impl MadeTable {
    /// The table `table` with the columns of `schema`. `made` says that the job makes it, with those of the indexes and, if
    /// `keys`, with the foreign keys.
    pub fn new(table: TableId, schema: &Schema, made: bool, indexes: CarriedIndexes, keys: bool) -> Self {
        let home = |column: &crate::Column| {
            let (home, name) = column.home()?;
            Some((column.name().into(), home.clone(), name.into()))
        };
        let mut taken = match (made, indexes) {
            (false, _) | (_, CarriedIndexes::None) => Vec::new(),
            _ => schema.indexes(),
        };
        taken.retain(|index| index.unique || indexes == CarriedIndexes::All);
        Self {
            table,
            made,
            homes: schema.columns().iter().filter_map(home).collect(),
            indexes: taken,
            keys: if made && keys { schema.foreign_keys() } else { Vec::new() },
        }
    }

    /// Takes out what a later run is told not to make.
    pub fn limit(&mut self, indexes: CarriedIndexes, keys: bool) {
        match indexes {
            CarriedIndexes::All => {}
            CarriedIndexes::Unique => self.indexes.retain(|index| index.unique),
            CarriedIndexes::None => self.indexes.clear(),
        }
        if !keys {
            self.keys.clear();
        }
    }

    /// The table in the target.
    pub fn table(&self) -> &TableId {
        &self.table
    }

    /// Whether the job made it.
    pub fn is_made(&self) -> bool {
        self.made
    }

    /// Indexes that it is to have, those that keep values distinct first: keys may point to what those cover.
    pub fn indexes(&self) -> Vec<&Index> {
        let (mut first, second): (Vec<_>, Vec<_>) = self.indexes.iter().partition(|index| index.unique);
        first.extend(second);
        first
    }

    /// Changes the indexes, or takes some out: `with` says why one cannot be here. Returns what it says.
    pub fn fit_indexes(&mut self, mut with: impl FnMut(&mut Index) -> Result<(), String>) -> Vec<String> {
        let mut left_out = Vec::new();
        self.indexes.retain_mut(|index| match with(index) {
            Ok(()) => true,
            Err(why) => {
                left_out.push(format!("index {:?}: {why}", index.name));
                false
            }
        });
        left_out
    }
}

/// The foreign keys of all `tables`, each with the table that has it, and with the names that tables and columns have in the target.
/// Second, those that point to what is not among the tables, in words.
pub fn foreign_keys(tables: &[MadeTable]) -> (Vec<(TableId, ForeignKey)>, Vec<String>) {
    let mut places: HashMap<(&TableId, &str), (&TableId, &Arc<str>)> = HashMap::new();
    for table in tables {
        for (name, home, column) in &table.homes {
            places.entry((home, column)).or_insert((&table.table, name));
        }
    }
    let (mut keys, mut left_out) = (Vec::new(), Vec::new());
    for table in tables {
        for key in &table.keys {
            let found: Option<Vec<_>> =
                key.referenced.iter().map(|column| places.get(&(&key.table, &**column))).collect();
            let one = found.filter(|found| found.windows(2).all(|pair| pair[0].0 == pair[1].0));
            match one.as_deref() {
                Some([first, ..]) => {
                    let here = one.iter().flatten().map(|(_, name)| Arc::clone(name)).collect();
                    let key = ForeignKey { table: first.0.clone(), referenced: here, ..key.clone() };
                    keys.push((table.table.clone(), key));
                }
                _ => left_out.push(format!(
                    "foreign key {:?} of {}: {} is not among the tables of this job, or lacks a column",
                    key.name, table.table, key.table
                )),
            }
        }
    }
    (keys, left_out)
}

/// The indexes and foreign keys of which columns are not among those of `schema`, in words.
pub fn broken(schema: &Schema) -> impl Iterator<Item = String> {
    let names = schema.broken_relations().into_iter();
    names.map(|name| format!("index or foreign key {name:?}: columns of it do not come along"))
}

/// The error of a job whose rows are all there, and whose indexes or foreign keys the server `refused`: statements, each with the
/// reason. `kept` says that the target keeps what is still to be made, for another run of the job.
pub fn refusal(refused: &[String], kept: bool) -> Error {
    let what = if refused.len() == 1 { "an index or foreign key" } else { "indexes and foreign keys" };
    let text = format!("all rows are there, but {what} could not be made: {}", refused.join("; "));
    Error::new(ErrorKind::Schema, text).with_retry(Retry::Never).with_hint(if kept {
        "mend the rows, or the target, and run the same command again: it reads nothing anew and makes what is missing; \
         foreign_keys=false and indexes=none leave them out"
    } else {
        "mend the rows, or the target, and run these statements by hand: without checkpoints in the target no later run \
         knows of them"
    })
}

/// Whether the name of an index or a key begins with that of its table.
pub(super) fn is_of(name: &str, table: &TableId) -> bool {
    name.strip_prefix(table.name()).is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
}

/// A name of at most `max`, by `length`; a longer one is cut, and told apart by a hash.
pub(super) fn fitted(name: &str, max: usize, length: fn(&str) -> usize) -> String {
    if length(name) <= max {
        return name.to_owned();
    }
    // FNV-1a.
    let hash =
        name.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let mut start = name;
    while let Some((at, _)) = start.char_indices().next_back()
        && length(start) + 9 > max
    {
        start = start.get(..at).unwrap_or_default();
    }
    format!("{start}_{hash:08x}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Column, DataType, IndexColumn};

    #[test]
    fn keys_find_tables_and_columns_under_their_new_names() {
        let of = |table: &str, home: &str, name: &str| {
            Column::new(name, DataType::Int64).with_home(TableId::new(table.to_owned()), home)
        };
        let key = ForeignKey::new("to_a", vec!["a_id".into()], TableId::new("a"), vec!["id".into()]);
        let lost = ForeignKey::new("to_c", vec!["a_id".into()], TableId::new("c"), vec!["id".into()]);
        let index = Index::new("b_a", false, vec![IndexColumn::new("a_id")]);
        let a = Schema::new(vec![of("a", "id", "nr")]).unwrap();
        let b = Schema::new(vec![of("b", "a_id", "a")]).unwrap();
        let b = b.with_relations(&[index], &[key, lost]).unwrap();
        let tables = [
            MadeTable::new("new_b".into(), &b, true, CarriedIndexes::All, true),
            MadeTable::new("new_a".into(), &a, false, CarriedIndexes::All, true),
        ];
        let text = serde_json::to_string(&tables).unwrap();
        let tables: Vec<MadeTable> = serde_json::from_str(&text).unwrap();
        let (keys, left_out) = foreign_keys(&tables);
        let [(table, key)] = &keys[..] else { panic!("{keys:?}") };
        assert_eq!((table.name(), key.table.name()), ("new_b", "new_a"));
        assert_eq!((&*key.columns[0], &*key.referenced[0]), ("a", "nr"));
        assert!(left_out[0].contains("to_c") && left_out.len() == 1, "{left_out:?}");
        assert_eq!(*tables[0].indexes()[0].columns[0].name, *"a");
        let mut limited = tables[0].clone();
        limited.limit(CarriedIndexes::Unique, false);
        assert!(limited.indexes().is_empty() && foreign_keys(&[limited]).0.is_empty());
        let unique = MadeTable::new("new_b".into(), &b, true, CarriedIndexes::Unique, false);
        assert!(unique.indexes().is_empty() && foreign_keys(&[unique]).0.is_empty());
    }
}
