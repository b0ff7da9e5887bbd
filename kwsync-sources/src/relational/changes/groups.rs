//! Which tables' changes must stay in the order of the source.

use std::collections::HashMap;

use kwsync_core::TableId;

use super::Order;

/// What a table has to do with others.
#[derive(Debug)]
pub(crate) struct Related<'a> {
    pub(crate) id: TableId,
    /// The tables that it refers to.
    pub(crate) refers_to: Vec<&'a TableId>,
    /// Whether something beside its key must be distinct.
    pub(crate) has_other_unique: bool,
}

/// The group of a table, and whether its changes may be put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grouped {
    pub(crate) group: usize,
    pub(crate) folds: bool,
}

/// Gives tables that refer to each other one number.
pub(crate) fn grouped(tables: &[Related<'_>], order: Order) -> Vec<Grouped> {
    let mut groups: Vec<usize> = (0..tables.len()).collect();
    let places: HashMap<&TableId, usize> =
        tables.iter().enumerate().map(|(at, table)| (&table.id, at)).collect();
    for (at, table) in tables.iter().enumerate() {
        for other in table.refers_to.iter().filter_map(|id| places.get(id)) {
            let (old, new) = (groups[at].max(groups[*other]), groups[at].min(groups[*other]));
            groups.iter_mut().filter(|group| **group == old).for_each(|group| *group = new);
        }
    }
    let own = |(at, table): (usize, &Related<'_>)| {
        let refers = table.refers_to.contains(&&table.id);
        let alone = groups.iter().filter(|group| **group == groups[at]).count() == 1 && !refers;
        let (group, folds) = match order {
            Order::Auto => (groups[at], alone && !table.has_other_unique),
            Order::Source => (0, false),
            Order::Table => (at, true),
        };
        Grouped { group, folds }
    };
    tables.iter().enumerate().map(own).collect()
}

/// What to say of tables in order, and of those without a key; each is its name, whether it folds, and whether it has one.
pub(crate) fn order_notes<'a>(tables: impl Iterator<Item = (&'a TableId, bool, bool)>) -> Vec<String> {
    let (mut ordered, mut keyless) = (Vec::new(), Vec::new());
    for (id, folds, keyed) in tables {
        match keyed {
            false => keyless.push(id.to_string()),
            true if !folds => ordered.push(id.to_string()),
            true => {}
        }
    }
    let mut notes = Vec::new();
    if !ordered.is_empty() {
        notes.push(format!(
            "changes are applied one after the other, which is slower, to tables that refer to others or have several unique indexes: {} \
             (order=table where the target checks neither)",
            ordered.join(", ")
        ));
    }
    if !keyless.is_empty() {
        notes.push(format!(
            "of tables without a key the inserts alone are followed, and not what is updated or deleted: {}",
            keyless.join(", ")
        ));
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_that_refer_to_each_other_are_one_group() {
        let ids: Vec<TableId> = ["a", "b", "c", "d", "e"].map(TableId::new).to_vec();
        let of = |at: usize, to: &[usize], unique: bool| Related {
            id: ids[at].clone(),
            refers_to: to.iter().map(|at| &ids[*at]).collect(),
            has_other_unique: unique,
        };
        let tables =
            [of(0, &[], false), of(1, &[2], false), of(2, &[], false), of(3, &[3], false), of(4, &[], true)];
        let made = |order| grouped(&tables, order).iter().map(|g| (g.group, g.folds)).collect::<Vec<_>>();
        assert_eq!(made(Order::Auto), [(0, true), (1, false), (1, false), (3, false), (4, false)]);
        assert_eq!(made(Order::Source), [(0, false); 5]);
        assert_eq!(made(Order::Table), [(0, true), (1, true), (2, true), (3, true), (4, true)]);
    }
}
