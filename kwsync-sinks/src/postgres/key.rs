//! Keys: which columns tell rows apart, and batches in their order.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_ord::ord::{DynComparator, make_comparator};
use arrow_select::concat::concat;
use arrow_select::interleave::interleave_record_batch;
use kwsync_core::arrow::schema::ArrowError;
use kwsync_core::system::postgres::catalog::CatalogTable;
use kwsync_core::system::postgres::profile::Profile;
use kwsync_core::system::postgres::wire::Connection;
use kwsync_core::{Error, ErrorKind, Origin, Reject, Result, Schema, Stage, TableBatch};

use super::config::{Duplicates, Mode, PostgresOptions, Sort};

/// The columns that tell rows of a table apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) columns: Vec<String>,
    /// Whether rows with the same key in one batch must become one.
    pub(super) fold: Option<Duplicates>,
    /// Whether batches are brought into the order of the key.
    pub(super) sort: bool,
    /// Whether those that are out of it are ordered together. Where rows with the same key become one, that stays within a
    /// batch, and so does what is told of them; and where triggers look at rows, those of foreign keys among them, which
    /// may refer to the table itself, a row must not overtake one of an earlier batch.
    pub(super) gather: bool,
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
    let gather = sort && fold.is_none() && found.is_some_and(|found| !found.triggers);
    Ok(Some(Key { columns, fold, sort, gather }))
}

/// The key by which changes of rows are applied to `found`: that of their source, which has to be one here, too.
///
/// # Errors
/// `Config` when the table has no unique index over its columns.
pub(super) fn of_changes(found: &CatalogTable, schema: &Schema) -> Result<Key> {
    let columns: Vec<String> = schema.key().into_iter().map(str::to_owned).collect();
    let name = format!("{}.{}", found.schema, found.name);
    if columns.is_empty() {
        return Err(Error::config(format!("changes of {name} come without their key"))
            .with_hint("a transform has dropped a part of it: leave it in"));
    }
    let same =
        |index: &[String]| index.len() == columns.len() && index.iter().all(|name| columns.contains(name));
    if !found.unique.iter().any(|index| same(&index.columns)) {
        let list = columns.join(", ");
        return Err(Error::config(format!(
            "changes of {name} come by the key ({list}), and it has no unique index over it"
        ))
        .with_hint(format!("make one: ALTER TABLE {name} ADD PRIMARY KEY ({list})")));
    }
    Ok(Key { columns, fold: None, sort: false, gather: false })
}

/// What the user lacks to apply changes to a table, in the words of the catalog.
pub(super) async fn lacking_rights(
    control: &mut Connection,
    found: &CatalogTable,
    keyless: bool,
) -> Result<Option<Error>> {
    let sql = "SELECT string_agg(r, ', ') FROM unnest($2::text[]) AS r WHERE NOT pg_catalog.has_table_privilege($1::oid, r)";
    let wanted = if keyless { "{INSERT,TRUNCATE}" } else { "{INSERT,UPDATE,DELETE,TRUNCATE,SELECT}" };
    let rows = control.query(sql, &[Some(&found.oid.to_string()), Some(wanted)]).await?.rows;
    Ok(rows.get(0, 0).map(|rights| {
        let name = format!("{}.{}", found.schema, found.name);
        Error::new(ErrorKind::Permission, format!("the user may not {rights} on {name}, which changes need"))
            .with_hint(format!("GRANT {rights} ON {name} TO the user"))
    }))
}

/// Batches as they are written.
pub(super) struct Arranged {
    pub(super) batches: Vec<TableBatch>,
    /// Rows that gave way to others with their key.
    pub(super) folded: u64,
    pub(super) rejects: Vec<Reject>,
}

/// The columns of a key, of one batch or of several in a row.
struct Keys {
    comparators: Vec<DynComparator>,
    /// Those in which rows may have no value.
    nullable: Vec<ArrayRef>,
}

impl Keys {
    fn of(batches: &[TableBatch], key: &Key) -> Result<Self> {
        let mut keys = Self { comparators: Vec::with_capacity(key.columns.len()), nullable: Vec::new() };
        for name in &key.columns {
            let missing = || Error::new(ErrorKind::Schema, format!("the rows have no key column {name:?}"));
            let parts = batches.iter().map(|batch| {
                let at = batch.schema().index_of(name);
                at.map(|at| batch.batch().column(at)).ok_or_else(missing)
            });
            let parts: Vec<&ArrayRef> = parts.collect::<Result<_>>()?;
            let column = match parts[..] {
                [only] => Arc::clone(only),
                _ => {
                    let parts: Vec<&dyn Array> = parts.iter().map(|part| &***part).collect();
                    concat(&parts).map_err(internal)?
                }
            };
            keys.comparators.push(make_comparator(&column, &column, Default::default()).map_err(internal)?);
            if column.null_count() > 0 {
                keys.nullable.push(column);
            }
        }
        Ok(keys)
    }

    fn compare(&self, a: usize, b: usize) -> Ordering {
        let mut orders = self.comparators.iter().map(|compare| compare(a, b));
        orders.find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
    }

    /// Whether two rows have the same key; one without a value is like no other.
    fn equal(&self, a: usize, b: usize) -> bool {
        self.compare(a, b).is_eq() && !self.nullable.iter().any(|column| column.is_null(a))
    }

    fn is_ordered(&self, rows: usize) -> bool {
        !(1..rows).any(|row| self.compare(row - 1, row).is_gt())
    }
}

fn internal(error: ArrowError) -> Error {
    Error::new(ErrorKind::Internal, "cannot sort rows by their key").with_source(error)
}

/// Whether the rows of a batch are in the order of the key.
pub(super) fn is_ordered(batch: &TableBatch, key: &Key) -> Result<bool> {
    Ok(Keys::of(std::slice::from_ref(batch), key)?.is_ordered(batch.rows()))
}

/// Brings batches of one table and of the same columns into the order of their key, as one batch, and makes rows with the
/// same key one. Which of two rows came first is kept where they do not become one. Without anything to be done they
/// are left as they are.
pub(super) fn arrange(batches: Vec<TableBatch>, key: &Key) -> Result<Arranged> {
    let rows: usize = batches.iter().map(TableBatch::rows).sum();
    if !key.sort && key.fold.is_none() || rows < 2 {
        return Ok(Arranged { batches, folded: 0, rejects: Vec::new() });
    }
    let keys = Keys::of(&batches, key)?;
    let unsorted = !keys.is_ordered(rows);
    if !unsorted && (key.fold.is_none() || !(1..rows).any(|row| keys.equal(row - 1, row))) {
        return Ok(Arranged { batches, folded: 0, rejects: Vec::new() });
    }
    // Where each row stands.
    let places: Vec<(usize, usize)> = batches
        .iter()
        .enumerate()
        .flat_map(|(nth, batch)| (0..batch.rows()).map(move |row| (nth, row)))
        .collect();
    let mut order: Vec<usize> = (0..rows).collect();
    if unsorted {
        order.sort_by(|a, b| keys.compare(*a, *b));
    }
    let mut rejects = Vec::new();
    let mut folded = 0;
    if let Some(policy) = key.fold {
        let mut kept: Vec<usize> = Vec::with_capacity(rows);
        for row in order {
            match kept.last_mut() {
                Some(last) if keys.equal(*last, row) => match policy {
                    Duplicates::Last => (*last, folded) = (row, folded + 1),
                    Duplicates::First => folded += 1,
                    Duplicates::Error => {
                        let reason =
                            format!("an earlier row of the batch has the same {}", key.columns.join(", "));
                        let (nth, row) = places[row];
                        rejects.push(batches[nth].reject(row, Stage::Write, "duplicate_key", reason));
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
    let indices: Vec<(usize, usize)> = order.iter().map(|row| places[*row]).collect();
    let records: Vec<&RecordBatch> = batches.iter().map(TableBatch::batch).collect();
    let taken = interleave_record_batch(&records, &indices).map_err(internal)?;
    let origin = Origin::concat(batches.iter().map(TableBatch::origin)).take(order);
    let first = &batches[0];
    let batch = TableBatch::new(first.table().clone(), Arc::clone(first.schema()), taken, origin)?;
    Ok(Arranged { batches: vec![batch], folded, rejects })
}
