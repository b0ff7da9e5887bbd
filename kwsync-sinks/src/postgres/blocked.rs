//! Who stands in the way of a statement that has waited for a lock in vain.

use kwsync_core::Error;
use kwsync_core::system::postgres::wire::Connection;

/// SQLSTATE of a lock that was not to be had in time.
const LOCK_NOT_AVAILABLE: &str = "55P03";

/// Sessions that hold a lock of the table, the one that has been at it longest first.
const HOLDERS: &str = "
SELECT a.pid, a.usename, a.application_name, a.state, l.mode, date_trunc('second', clock_timestamp() - a.xact_start)
FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
WHERE l.relation = to_regclass($1) AND l.granted AND l.pid <> pg_catalog.pg_backend_pid()
ORDER BY a.xact_start, l.mode LIMIT 5";

/// The error of a statement that concerned `table`, as SQL names it. If it was a lock that was not to be had, it says who has it.
pub(super) async fn explained(control: &mut Connection, error: Error, table: &str) -> Error {
    if error.code() != Some(LOCK_NOT_AVAILABLE) {
        return error;
    }
    let hint = "end that session, or what it does, or wait longer with lock_timeout=; a job that reads the same table holds it, too";
    // Whoever has just let go is not found, and a server that does not tell keeps the error as it is.
    let Ok(found) = control.query(HOLDERS, &[Some(table)]).await else { return error.with_hint(hint) };
    let text = |row, column| found.rows.get(row, column).unwrap_or_default().to_owned();
    let holders: Vec<_> = (0..found.rows.len())
        .map(|row| {
            format!(
                "session {} of {} ({:?}, {}) has held {} for {}",
                text(row, 0),
                text(row, 1),
                text(row, 2),
                text(row, 3),
                text(row, 4),
                text(row, 5)
            )
        })
        .collect();
    match holders.is_empty() {
        true => error.with_hint(hint),
        false => error.context(holders.join("; ")).with_hint(hint),
    }
}
