//! Keys: which columns tell rows apart, and batches in their order.

use std::cmp::Ordering;

use arrow_array::{Array, UInt32Array};
use arrow_ord::ord::make_comparator;
use kwsync_core::system::postgres::catalog::CatalogTable;
use kwsync_core::system::postgres::profile::Profile;
use kwsync_core::{Error, ErrorKind, Reject, Result, Schema, Stage, TableBatch};

use super::config::{Duplicates, Mode, PostgresOptions, Sort};

/// The columns that tell rows of a table apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) columns: Vec<String>,
    /// Whether rows with the same key in one batch must become one.
    pub(super) fold: Option<Duplicates>,
    /// Whether batches are brought into the order of the key.
    pub(super) sort: bool,
}

/// The key by which rows of `schema` are written to `found`, or to a table that will be made.
///
/// # Errors
/// `Config` when the mode needs a key and there is none, or when no unique index has the columns that were asked for.
pub(super) fn find(
    found: Option<&CatalogTable>,
    name: &str,
    schema: &Schema,
    options: &PostgresOptions,
    profile: &Profile,
) -> Result<Option<Key>> {
    let unique = found.map(|found| found.unique.as_slice()).unwrap_or_default();
    let by_key = options.mode == Mode::InsertIgnore && !profile.on_conflict;
    let merging = matches!(options.mode, Mode::Upsert | Mode::Update) || by_key;
    let columns = if !options.key.is_empty() {
        let same = |columns: &[String]| {
            columns.len() == options.key.len() && columns.iter().all(|column| options.key.contains(column))
        };
        let real = unique.iter().find(|index| same(&index.columns));
        let checked = merging || options.mode == Mode::InsertIgnore;
        if found.is_some() && checked && real.is_none() {
            let there = match unique {
                [] => "it has none".to_owned(),
                all => {
                    let list: Vec<_> = all
                        .iter()
                        .map(|index| format!("{} ({})", index.name, index.columns.join(", ")))
                        .collect();
                    format!("it has {}", list.join("; "))
                }
            };
            return Err(Error::config(format!(
                "{name} has no unique index over ({}): {there}",
                options.key.join(", ")
            ))
            .with_hint("give the columns of one of its unique indexes as key=, or make such an index"));
        }
        Some(real.map_or_else(|| options.key.clone(), |index| index.columns.clone()))
    } else {
        match unique {
            [first, ..] if first.primary || unique.len() == 1 => Some(first.columns.clone()),
            // The table will be made with the key that its rows have where they come from.
            [] if found.is_none() && !schema.key().is_empty() => {
                Some(schema.key().into_iter().map(str::to_owned).collect())
            }
            _ if merging => {
                let why = match (found, unique) {
                    (None, _) => "does not exist yet",
                    (_, []) => "has no unique index",
                    _ => "has several unique indexes and no primary key",
                };
                return Err(Error::config(format!("mode={} needs a key, and {name} {why}", options.mode))
                    .with_hint("say which columns tell its rows apart: key=COLUMN,COLUMN"));
            }
            _ => None,
        }
    };
    let Some(columns) = columns else { return Ok(None) };
    if let Some(missing) = columns.iter().find(|column| schema.column(column).is_none()) {
        if !merging && options.key.is_empty() {
            // A key that the server fills in, such as a serial.
            return Ok(None);
        }
        return Err(Error::new(ErrorKind::Schema, format!("the rows have no key column {missing:?}"))
            .with_hint("key= names columns of the rows as they reach the sink"));
    }
    let sort = match options.sort {
        Sort::Auto => found.is_none_or(|found| !found.unique.is_empty()),
        Sort::Key => true,
        Sort::None => false,
    };
    let fold = match by_key {
        // The first is there when the others come.
        true => Some(Duplicates::First),
        false => merging.then_some(options.duplicates),
    };
    Ok(Some(Key { columns, fold, sort }))
}

/// A batch as it is written.
pub(super) struct Arranged {
    pub(super) batch: TableBatch,
    /// Rows that gave way to others with their key.
    pub(super) folded: u64,
    pub(super) rejects: Vec<Reject>,
}

/// Brings a batch into the order of its key, and makes rows with the same key one. Which of two rows came first is kept
/// where they do not become one.
pub(super) fn arrange(batch: &TableBatch, key: &Key) -> Result<Arranged> {
    let whole = || Arranged { batch: batch.clone(), folded: 0, rejects: Vec::new() };
    if !key.sort && key.fold.is_none() || batch.rows() < 2 {
        return Ok(whole());
    }
    let internal = |error| Error::new(ErrorKind::Internal, "cannot sort a batch").with_source(error);
    let mut comparators = Vec::with_capacity(key.columns.len());
    let mut nullable = Vec::new();
    for name in &key.columns {
        let at = batch.schema().index_of(name);
        let column = at
            .map(|at| batch.batch().column(at))
            .ok_or_else(|| Error::new(ErrorKind::Schema, format!("the rows have no key column {name:?}")))?;
        comparators.push(make_comparator(column, column, Default::default()).map_err(internal)?);
        nullable.extend((column.null_count() > 0).then_some(column));
    }
    let compare = |a: usize, b: usize| {
        comparators.iter().map(|compare| compare(a, b)).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
    };
    let rows = batch.rows();
    let unsorted = (1..rows).any(|row| compare(row - 1, row).is_gt());
    let equal =
        |a: usize, b: usize| compare(a, b).is_eq() && !nullable.iter().any(|column| column.is_null(a));
    if !unsorted && (key.fold.is_none() || !(1..rows).any(|row| equal(row - 1, row))) {
        return Ok(whole());
    }
    let mut order: Vec<usize> = (0..rows).collect();
    if unsorted {
        order.sort_by(|a, b| compare(*a, *b));
    }
    let mut rejects = Vec::new();
    let mut folded = 0;
    if let Some(policy) = key.fold {
        let mut kept: Vec<usize> = Vec::with_capacity(rows);
        for row in order {
            match kept.last_mut() {
                Some(last) if equal(*last, row) => match policy {
                    Duplicates::Last => (*last, folded) = (row, folded + 1),
                    Duplicates::First => folded += 1,
                    Duplicates::Error => {
                        let reason =
                            format!("an earlier row of the batch has the same {}", key.columns.join(", "));
                        rejects.push(batch.reject(row, Stage::Write, "duplicate_key", reason));
                    }
                },
                _ => kept.push(row),
            }
        }
        order = kept;
    }
    if !key.sort {
        order.sort_unstable();
    }
    let indices: UInt32Array = order.iter().map(|row| *row as u32).collect();
    let taken = arrow_select::take::take_record_batch(batch.batch(), &indices).map_err(internal)?;
    let origin = batch.origin().take(order);
    let batch = TableBatch::new(batch.table().clone(), std::sync::Arc::clone(batch.schema()), taken, origin)?;
    Ok(Arranged { batch, folded, rejects })
}
