//! Changes that wait to become batches: the net effect of whole transactions, in an order that the target can take.
//!
//! Tables form groups. Of a table that is alone in its group and has no unique index beside its key, the last state of
//! each row counts, and its deletes come before its updates and inserts. Where tables refer to each other, or rows
//! have other values that must be distinct, changes stay in the order of the source, and only neighbours of one kind
//! are put together.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use kwsync_core::{Change, Decoded, Input, Position, Result};

use super::{Changing, Values};

/// Changes of some tables.
#[derive(Debug)]
pub(crate) struct Gathered<T> {
    groups: BTreeMap<usize, Vec<Run<T>>>,
    pub(super) rows: usize,
    pub(super) bytes: usize,
}

impl<T> Default for Gathered<T> {
    fn default() -> Self {
        Self { groups: BTreeMap::new(), rows: 0, bytes: 0 }
    }
}

/// Changes of one table with one set of columns.
#[derive(Debug)]
enum Run<T> {
    /// Of each row the last state.
    Folded { table: Arc<T>, places: HashMap<Box<[u8]>, usize>, rows: Vec<(Change, Values)> },
    /// Of one kind, in order; no key twice.
    Ordered { table: Arc<T>, change: Change, keys: HashSet<Box<[u8]>>, rows: Vec<Values> },
}

/// What a row takes beside its bytes, about.
const ROW_BYTES: usize = 96;

impl<T: Changing> Gathered<T> {
    pub(crate) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Takes an insert.
    pub(crate) fn insert(&mut self, table: &Arc<T>, new: Values) {
        match table.is_keyed() {
            false => self.ordered(table, Change::Rows, Box::default(), new),
            true => self.put(table, Change::Upsert, new),
        }
    }

    /// Takes an update of a row of the same key.
    pub(crate) fn update(&mut self, table: &Arc<T>, new: Values) {
        let change = if new.missing.is_empty() { Change::Upsert } else { Change::Update };
        self.put(table, change, new);
    }

    /// Takes a delete, of which the key is known at least.
    pub(crate) fn delete(&mut self, table: &Arc<T>, old: Values) {
        self.put(table, Change::Delete, Values { missing: Vec::new(), ..old });
    }

    /// The last state of a row that waits to be written, if there is one.
    #[cfg(feature = "postgres")]
    pub(crate) fn state(&self, table: &Arc<T>, key: &[u8]) -> Option<&Values> {
        match self.groups.get(&table.group())?.last()? {
            Run::Folded { table: own, places, rows } if Arc::ptr_eq(own, table) => {
                let (change, values) = rows.get(*places.get(key)?)?;
                (*change != Change::Delete).then_some(values)
            }
            _ => None,
        }
    }

    /// Takes the emptying of a table.
    pub(crate) fn truncate(&mut self, table: &Arc<T>) {
        let runs = self.groups.entry(table.group()).or_default();
        if table.folds() {
            // What was there before does not matter any more.
            runs.clear();
        }
        runs.push(Run::Ordered {
            table: Arc::clone(table),
            change: Change::Truncate,
            keys: HashSet::new(),
            rows: Vec::new(),
        });
    }

    fn put(&mut self, table: &Arc<T>, change: Change, mut values: Values) {
        let key = table.key_of(&values);
        if !table.folds() {
            return self.ordered(table, change, key, values);
        }
        let bytes = values.record.len() + key.len() + ROW_BYTES;
        let runs = self.groups.entry(table.group()).or_default();
        if !matches!(runs.last(), Some(Run::Folded { table: own, .. }) if Arc::ptr_eq(own, table)) {
            runs.push(Run::Folded { table: Arc::clone(table), places: HashMap::new(), rows: Vec::new() });
        }
        let Some(Run::Folded { places, rows, .. }) = runs.last_mut() else { return };
        match places.get(&key).and_then(|at| rows.get_mut(*at)) {
            Some((before, known)) => {
                let mut change = change;
                if change == Change::Update {
                    match *before {
                        // The row is not there: what is not known of it will never be.
                        Change::Delete => return,
                        _ => T::fill(&mut values, known),
                    }
                    if values.missing.is_empty() {
                        change = Change::Upsert;
                    }
                }
                (*before, *known) = (change, values);
            }
            None => {
                places.insert(key, rows.len());
                rows.push((change, values));
                self.rows += 1;
            }
        }
        self.bytes += bytes;
    }

    fn ordered(&mut self, table: &Arc<T>, change: Change, key: Box<[u8]>, values: Values) {
        self.rows += 1;
        self.bytes += values.record.len() + key.len() + ROW_BYTES;
        let runs = self.groups.entry(table.group()).or_default();
        if let Some(Run::Ordered { table: own, change: kind, keys, rows }) = runs.last_mut()
            && Arc::ptr_eq(own, table)
            && *kind == change
            // The server may update rows in any order, and check their other unique values meanwhile.
            && change != Change::Update
            && rows.first().is_none_or(|first| first.missing == values.missing)
            && (change == Change::Rows || keys.insert(key.clone()))
        {
            rows.push(values);
            return;
        }
        let (table, keys) = (Arc::clone(table), HashSet::from([key]));
        runs.push(Run::Ordered { table, change, keys, rows: vec![values] });
    }

    /// All that was gathered, as batches in the order in which they are to be applied.
    pub(crate) fn take(&mut self, input: &Arc<Input>, at: Position) -> Result<Decoded> {
        let gathered = std::mem::take(self);
        let mut made = Decoded::default();
        let mut add = |decoded: Decoded| {
            made.batches.extend(decoded.batches);
            made.rejects.extend(decoded.rejects);
            made.counts += decoded.counts;
        };
        for run in gathered.groups.into_values().flatten() {
            match run {
                Run::Ordered { table, change, rows, .. } => add(table.batches(change, &rows, input, at)?),
                Run::Folded { table, rows, .. } => {
                    let mut deletes = Vec::new();
                    let mut upserts = Vec::new();
                    let mut updates: BTreeMap<Vec<u16>, Vec<Values>> = BTreeMap::new();
                    for (change, values) in rows {
                        match change {
                            Change::Delete => deletes.push(values),
                            Change::Update => updates.entry(values.missing.clone()).or_default().push(values),
                            _ => upserts.push(values),
                        }
                    }
                    // Deletes first: what is equal for the target need not have the same bytes, as 1.0 and 1.00.
                    let kinds = std::iter::once((Change::Delete, deletes))
                        .chain(updates.into_values().map(|rows| (Change::Update, rows)))
                        .chain([(Change::Upsert, upserts)]);
                    for (change, rows) in kinds.filter(|(_, rows)| !rows.is_empty()) {
                        add(table.batches(change, &rows, input, at)?);
                    }
                }
            }
        }
        Ok(made)
    }
}
