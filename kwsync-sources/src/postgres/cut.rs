//! How a table is cut into splits.

use kwsync_core::system::postgres::catalog::{CatalogColumn, CatalogTable};
use kwsync_core::system::postgres::ddl::{quote, table_name};
use kwsync_core::system::postgres::profile::Server;
use kwsync_core::system::postgres::relations::{Relation, RelationKind};
use kwsync_core::system::postgres::types::oid;
use kwsync_core::{Error, Result, TableId};

use super::config::{PostgresSourceOptions, SplitMode};
use super::relation::Named;
use super::session::{Coordinator, first};
use super::spec::{Order, Range};
use crate::relational::{even, picked};

/// Least bytes of a piece that is cut without being asked for.
const PIECE_BYTES: u64 = 32 << 20;
/// Pieces of a table for each lane: enough that a slow lane leaves little for the others to wait for.
const PIECES_PER_LANE: u64 = 4;
/// How well rows must lie in the order of the key for it to be the way of reading; 1 is perfectly.
const CORRELATED: f64 = 0.9;

/// The pieces of one table or query.
#[derive(Debug)]
pub(super) struct Pieces {
    pub(super) order: Order,
    pub(super) ranges: Vec<Option<Range>>,
    pub(super) note: Option<String>,
}

impl Pieces {
    fn whole(order: Order, note: Option<String>) -> Self {
        Self { order, ranges: vec![None], note }
    }
}

/// Cuts a table.
pub(super) async fn table(
    own: &mut Coordinator,
    options: &PostgresSourceOptions,
    stored: &Relation,
    catalog: &CatalogTable,
    lanes: usize,
) -> Result<Pieces> {
    let id = TableId::with_schema(stored.schema.as_str(), stored.name.as_str());
    let from = table_name(&id, None)?;
    let name = stored.to_string_id();
    // Places mean something where rows lie in this very table, and while all is read at one moment.
    let placed = stored.kind == RelationKind::Plain && own.snapshot.is_shared();
    // Only a server that knows ranges of places finds one without reading the whole table.
    let ranged = placed && own.profile.version >= (14, 0);
    let pieces = match (own.profile.server, options.split) {
        (_, SplitMode::Never) => 1,
        (Server::PostgreSql, _) => count(options, stored.bytes, stored.rows, lanes),
        _ => 1,
    };
    if let Some(column) = &options.split_by {
        let column = catalog.column(column).ok_or_else(|| {
            let there: Vec<_> = catalog.columns.iter().map(|column| column.name.as_str()).collect();
            Error::config(format!("split_by={column}: {name} has no such column"))
                .with_hint(format!("it has {}", there.join(", ")))
        })?;
        let unique = is_unique(catalog, column);
        let order = if unique || !placed { key(column, unique) } else { Order::Ctid };
        let (ranges, note) = by_column(own, stored, &from, column, pieces, !unique).await?;
        return Ok(Pieces { order, ranges, note });
    }
    let primary = catalog.unique.first().filter(|index| index.primary);
    let primary = match primary.map(|index| index.columns.as_slice()) {
        Some([only]) => catalog.column(only),
        _ => None,
    };
    let integer = primary.filter(|column| is_integer(column));
    let by_key = match options.split {
        SplitMode::Key => Some(primary.ok_or_else(|| {
            Error::config(format!("split=key: {name} has no primary key of one column"))
                .with_hint("use split=ctid, or name a column with split_by=")
        })?),
        SplitMode::Ctid => None,
        _ if !placed => integer.or(primary),
        _ if pieces > 1 && !ranged => integer,
        _ => match integer {
            Some(column) if in_order(own, stored, column).await? => Some(column),
            _ => None,
        },
    };
    if let Some(column) = by_key {
        let (ranges, note) = by_column(own, stored, &from, column, pieces, false).await?;
        return Ok(Pieces { order: key(column, true), ranges, note });
    }
    if !placed {
        let why = match stored.kind {
            RelationKind::Plain => {
                "it has no primary key of one column, and its rows are not read at one moment"
            }
            _ => "it is no table of its own",
        };
        let note = format!(
            "{name} is read in one piece, and cannot be read on from the middle: {why}; split_by= can name a column \
             whose values are distinct"
        );
        return Ok(Pieces::whole(Order::None, Some(note)));
    }
    if !ranged && pieces > 1 {
        let note =
            format!("{name} is read in one piece: before version 14 the server finds no range of places");
        return Ok(Pieces::whole(Order::Ctid, Some(note)));
    }
    let block = first(&mut own.connection, "SHOW block_size").await?.parse::<u64>().unwrap_or(8192);
    let blocks = stored.bytes.div_ceil(block.max(1));
    let bounds = even(0, i128::from(blocks) - 1, pieces).iter().map(|at| format!("({at},0)")).collect();
    Ok(Pieces { order: Order::Ctid, ranges: ranges("ctid", "tid", bounds, false), note: None })
}

/// Cuts a query or a view: by the column that the options name, whose least and greatest values are looked for only where
/// several pieces were asked for, since that runs the query once more.
pub(super) async fn query(
    own: &mut Coordinator,
    options: &PostgresSourceOptions,
    from: &str,
    column: Option<(&str, &str, u32)>,
) -> Result<Pieces> {
    let Some((name, data_type, type_oid)) = column else {
        let note = "the query is read in one piece, and cannot be read on from the middle; split_by= can name a column \
                    of it whose values are distinct";
        return Ok(Pieces::whole(Order::None, Some(note.to_owned())));
    };
    let order = Order::Key { column: name.to_owned(), data_type: data_type.to_owned(), unique: false };
    let pieces = options.splits.unwrap_or(1);
    if pieces < 2 || !matches!(type_oid, oid::INT2 | oid::INT4 | oid::INT8) {
        return Ok(Pieces::whole(order, None));
    }
    let bounds = bounds_of(own, from, name, pieces).await?;
    Ok(Pieces { order, ranges: ranges(name, data_type, bounds, true), note: None })
}

/// How many pieces a table has.
fn count(options: &PostgresSourceOptions, bytes: u64, rows: Option<u64>, lanes: usize) -> usize {
    if let Some(splits) = options.splits {
        return splits;
    }
    if let (Some(each), Some(rows)) = (options.split_rows, rows) {
        return usize::try_from(rows.div_ceil(each)).unwrap_or(usize::MAX).clamp(1, 100_000);
    }
    if lanes < 2 {
        return 1;
    }
    (bytes / PIECE_BYTES).clamp(1, lanes as u64 * PIECES_PER_LANE) as usize
}

fn key(column: &CatalogColumn, unique: bool) -> Order {
    Order::Key { column: column.name.clone(), data_type: column.pg_type.name.clone(), unique }
}

fn is_integer(column: &CatalogColumn) -> bool {
    matches!(column.pg_type.oid, oid::INT2 | oid::INT4 | oid::INT8)
}

fn is_unique(catalog: &CatalogTable, column: &CatalogColumn) -> bool {
    column.not_null && catalog.unique.iter().any(|index| index.columns == [column.name.as_str()])
}

/// Whether the rows lie in the order of the key, as far as the server's statistics know; a small table may lie as it
/// likes.
async fn in_order(own: &mut Coordinator, stored: &Relation, column: &CatalogColumn) -> Result<bool> {
    if stored.bytes < PIECE_BYTES {
        return Ok(true);
    }
    let sql = "SELECT correlation FROM pg_catalog.pg_stats WHERE schemaname = $1 AND tablename = $2 AND attname = $3 \
               ORDER BY inherited LIMIT 1";
    let parameters = [Some(stored.schema.as_str()), Some(stored.name.as_str()), Some(column.name.as_str())];
    let found = own.connection.query(sql, &parameters).await?;
    let correlation = found.rows.get(0, 0).and_then(|text| text.parse::<f64>().ok());
    Ok(correlation.is_some_and(|correlation| correlation >= CORRELATED))
}

/// Ranges of a table's column, by the server's statistics, or evenly over its integers.
async fn by_column(
    own: &mut Coordinator,
    stored: &Relation,
    from: &str,
    column: &CatalogColumn,
    pieces: usize,
    nulls: bool,
) -> Result<(Vec<Option<Range>>, Option<String>)> {
    if pieces < 2 {
        return Ok((vec![None], None));
    }
    let made = |bounds| ranges(&column.name, &column.pg_type.name, bounds, nulls && !column.not_null);
    let known = histogram(own, stored, column).await?;
    if is_integer(column) {
        let (min, max) = ends(own, from, &column.name).await?;
        let seen: Vec<i128> = known.iter().filter_map(|text| text.parse().ok()).collect();
        // Statistics that are old know nothing of what has come since.
        let covered = match (seen.as_slice(), min, max) {
            ([first, .., last], Some(min), Some(max)) => (last - first) * 10 >= (max - min) * 9,
            _ => false,
        };
        let bounds = match (covered && seen.len() > pieces, min, max) {
            (true, ..) => picked(&seen, pieces),
            (false, Some(min), Some(max)) => even(min, max, pieces),
            _ => Vec::new(),
        };
        return Ok((made(bounds.iter().map(i128::to_string).collect()), None));
    }
    if known.len() < 3 {
        let note = format!(
            "{} is read in one piece: the server has no statistics of {:?}; ANALYZE gathers some",
            stored.to_string_id(),
            column.name
        );
        return Ok((vec![None], Some(note)));
    }
    Ok((made(picked(&known, pieces)), None))
}

/// Values that divide a column evenly, by the server's statistics.
async fn histogram(own: &mut Coordinator, stored: &Relation, column: &CatalogColumn) -> Result<Vec<String>> {
    let sql = "SELECT unnest(histogram_bounds::text::text[]) FROM pg_catalog.pg_stats \
               WHERE schemaname = $1 AND tablename = $2 AND attname = $3 AND NOT inherited";
    let parameters = [Some(stored.schema.as_str()), Some(stored.name.as_str()), Some(column.name.as_str())];
    let rows = own.connection.query(sql, &parameters).await?.rows;
    Ok((0..rows.len()).filter_map(|row| rows.get(row, 0).map(str::to_owned)).collect())
}

async fn ends(own: &mut Coordinator, from: &str, column: &str) -> Result<(Option<i128>, Option<i128>)> {
    let name = quote(column)?;
    let rows = own.connection.query(&format!("SELECT min({name}), max({name}) FROM {from}"), &[]).await?.rows;
    let number = |column| rows.get(0, column).and_then(|text| text.parse().ok());
    Ok((number(0), number(1)))
}

async fn bounds_of(own: &mut Coordinator, from: &str, column: &str, pieces: usize) -> Result<Vec<String>> {
    let (Some(min), Some(max)) = ends(own, from, column).await? else { return Ok(Vec::new()) };
    Ok(even(min, max, pieces).iter().map(i128::to_string).collect())
}

/// The ranges between bounds, open at both ends of the whole: rows that the statistics did not know are read, too.
fn ranges(column: &str, data_type: &str, bounds: Vec<String>, nulls: bool) -> Vec<Option<Range>> {
    if bounds.is_empty() {
        return vec![None];
    }
    let mut from = None;
    let ends: Vec<Option<String>> = bounds.into_iter().map(Some).chain([None]).collect();
    ends.into_iter()
        .map(|to| {
            let start = std::mem::replace(&mut from, to.clone());
            let nulls = nulls && to.is_none();
            let (column, data_type) = (column.to_owned(), data_type.to_owned());
            Some(Range { column, data_type, from: start, to, nulls })
        })
        .collect()
}
