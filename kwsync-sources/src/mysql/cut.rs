//! How a table is cut into splits.

use kwsync_core::Result;
use kwsync_core::system::mysql::catalog::CatalogTable;
use kwsync_core::system::mysql::ddl::quote;
use kwsync_core::system::mysql::session::error;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row, Value};

use super::config::MysqlSourceOptions;
use crate::relational::ranged::{Range, cut_evenly};

/// Least bytes of a piece that is cut without being asked for.
const PIECE_BYTES: u64 = 32 << 20;
/// Pieces of a table for each lane: enough that a slow lane leaves little for the others to wait for.
const PIECES_PER_LANE: u64 = 4;

/// How many pieces a table has.
pub(super) fn count(options: &MysqlSourceOptions, table: &CatalogTable, lanes: usize) -> usize {
    if let Some(splits) = options.splits {
        return splits;
    }
    if let Some(each) = options.split_rows {
        return usize::try_from(table.rows.div_ceil(each)).unwrap_or(usize::MAX).clamp(1, 100_000);
    }
    if lanes < 2 {
        return 1;
    }
    (table.bytes / PIECE_BYTES).clamp(1, lanes as u64 * PIECES_PER_LANE) as usize
}

/// Ranges of a column of integers, of equal width, open at both ends of the whole.
pub(super) async fn ranges(
    connection: &mut Conn,
    from: &str,
    column: &str,
    nulls: bool,
    pieces: usize,
) -> Result<Vec<Option<Range>>> {
    if pieces < 2 {
        return Ok(vec![None]);
    }
    let name = quote(column)?;
    // By the binary protocol, in which integers come as such.
    let sql = format!("SELECT MIN({name}), MAX({name}) FROM {from}");
    let found: Option<Row> = connection.exec_first(sql, ()).await.map_err(error)?;
    let number = |at: usize| match found.as_ref().and_then(|row| row.as_ref(at)) {
        Some(Value::Int(number)) => Some(i128::from(*number)),
        Some(Value::UInt(number)) => Some(i128::from(*number)),
        _ => None,
    };
    let (Some(min), Some(max)) = (number(0), number(1)) else { return Ok(vec![None]) };
    Ok(cut_evenly(column, min, max, pieces, nulls))
}
