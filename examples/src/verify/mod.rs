//! Both sides of a migration compared, table by table, by value.
//!
//! Each side is read as a source, its rows become digests of their values ([`RowDigest`](kwsync_core::RowDigest)), and the
//! digests of a table are added up, so that neither the order of rows nor the types of a database count. Where the sums
//! differ, the rows that do are looked for in a second reading, and named by their keys.

mod side;
mod verdict;

use std::collections::BTreeMap;
use std::sync::Arc;

use kwsync_core::config::{Dsn, Registry};
use kwsync_core::{Comparable, Result, Schema, TableId, Transform};

use side::{Side, Suspects};
pub use verdict::{TableVerdict, Verdict, Verification};

/// How two sides are compared.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct VerifyOptions {
    /// Pieces of each side that are read at the same time.
    pub jobs: usize,
    /// Rows that differ which are named, for each table; none saves the second reading.
    pub keys: usize,
    /// What happens to the rows of the source before they are compared, as in the job that moved them.
    pub transforms: Vec<Arc<dyn Transform>>,
}

impl Default for VerifyOptions {
    fn default() -> Self {
        Self { jobs: 1, keys: 5, transforms: Vec::new() }
    }
}

/// How the rows of a table are compared.
#[derive(Clone, Debug)]
struct Shared {
    columns: Vec<(String, Comparable)>,
    /// The columns by which a row is named; all of them where there is no key.
    key: Vec<String>,
}

/// Compares the tables of `from` with those of the same names in `to`. An address that names no tables, such as a sink's,
/// stands for the tables that the other side has.
///
/// # Errors
/// When a side cannot be read. That they differ is no error.
///
/// # Cancel safety
/// Nothing is changed, so it may be dropped at any time.
pub async fn verify(
    from: &Dsn,
    to: &Dsn,
    registry: &Registry,
    options: &VerifyOptions,
) -> Result<Verification> {
    let source = Side::open(from, registry, options, options.transforms.clone()).await;
    let source = source.map_err(|error| error.context("source"))?;
    let target = side::of_target(to, registry, options, source.tables()).await;
    let target = target.map_err(|error| error.context("target"))?;
    let mut made = Verification::default();
    let mut shared: BTreeMap<TableId, Shared> = BTreeMap::new();
    for (table, schema) in source.tables() {
        let mut verdict = TableVerdict::new(table.clone());
        match target.tables().iter().find(|(other, _)| other == table) {
            None => verdict.verdict = Verdict::Missing,
            Some((_, other)) => {
                shared.insert(table.clone(), columns(schema, other, &mut verdict));
            }
        }
        made.tables.push(verdict);
    }
    let known = |table: &TableId| source.tables().iter().any(|(own, _)| own == table);
    made.only_in_target =
        target.tables().iter().map(|(table, _)| table).filter(|table| !known(table)).cloned().collect();
    let shared = Arc::new(shared);
    let (left, right) = tokio::try_join!(source.totals(&shared), target.totals(&shared))?;
    let mut suspects = Suspects::new();
    for verdict in &mut made.tables {
        let left = left.get(&verdict.table).cloned().unwrap_or_default();
        verdict.rows_from = left.rows;
        verdict.unreadable += left.unreadable;
        if verdict.verdict == Verdict::Missing {
            continue;
        }
        let right = right.get(&verdict.table).cloned().unwrap_or_default();
        verdict.rows_to = Some(right.rows);
        verdict.unreadable += right.unreadable;
        let buckets = left.differing(&right);
        if !buckets.is_empty() || verdict.unreadable > 0 {
            verdict.verdict = Verdict::Different;
        }
        if !buckets.is_empty() && options.keys > 0 {
            suspects.insert(verdict.table.clone(), buckets);
        }
    }
    if !suspects.is_empty() {
        let suspects = Arc::new(suspects);
        let (left, right) =
            tokio::try_join!(source.rows(&shared, &suspects), target.rows(&shared, &suspects))?;
        for verdict in &mut made.tables {
            if let (Some(left), Some(right)) = (left.get(&verdict.table), right.get(&verdict.table)) {
                verdict.rows = verdict::differing(left, right, options.keys);
            }
        }
    }
    Ok(made)
}

/// The columns that both sides have; what one of them lacks is noted.
fn columns(from: &Schema, to: &Schema, verdict: &mut TableVerdict) -> Shared {
    let mut columns = Vec::new();
    for column in from.columns() {
        match to.column(column.name()) {
            Some(other) => columns
                .push((column.name().to_owned(), Comparable::between(column.data_type(), other.data_type()))),
            None => {
                verdict.verdict = Verdict::Different;
                verdict.notes.push(format!("the target lacks the column {:?}", column.name()));
            }
        }
    }
    for column in to.columns().iter().filter(|column| from.column(column.name()).is_none()) {
        verdict.notes.push(format!("the column {:?} is in the target only, and not compared", column.name()));
    }
    let key_of = |schema: &Schema| -> Vec<String> {
        let mut key: Vec<_> = schema
            .columns()
            .iter()
            .filter_map(|column| column.key().map(|key| (key, column.name().to_owned())))
            .collect();
        key.sort();
        key.into_iter().map(|(_, name)| name).collect()
    };
    let mut key = key_of(from);
    if key.is_empty() {
        key = key_of(to);
    }
    if key.iter().any(|name| columns.iter().all(|(known, _)| known != name)) {
        key.clear();
    }
    Shared { columns, key }
}
