//! What columns a table had at a place in the log, where the log does not tell their names.

use kwsync_core::system::mysql::binlog::{Event, Name, Statement};
use kwsync_core::{Error, ErrorKind, Result, Retry};
use mysql_async::Conn;

use super::Followed;
use super::listed::Listed;
use super::log::Log;
use super::place::BinlogPlace;
use super::server::{Server, lost, status};
use crate::mysql::config::MysqlSourceOptions;
use crate::mysql::source::look;

/// The columns that a table has now, if it was not altered between `here` and now.
///
/// # Errors
/// `Schema` where it was.
pub(super) async fn columns(
    session: &mut Conn,
    options: &MysqlSourceOptions,
    server: &Server,
    here: &BinlogPlace,
    followed: &Followed,
    replica: u32,
) -> Result<Vec<Listed>> {
    let asked = &followed.asked;
    let table = look(session, asked).await?;
    let listed: Vec<Listed> = table.columns.iter().map(Listed::from).collect();
    let ends = status(session).await?.ok_or_else(|| lost(here, "the server has no log any more"))?.place;
    tracing::info!(table = %asked, from = %here, to = %ends, "the log is looked through for what else was done to the table");
    // Under another number: two with one would throw each other out.
    let number = 0x4000_0000 | (replica.wrapping_mul(0x9e37_79b1) >> 2);
    let mut log = Log::open(options, server, here, (number, "kwsync-ahead")).await?;
    while log.here() < ends {
        let Some(packet) = log.next().await? else {
            return Err(Error::new(ErrorKind::Unavailable, "the server has ended the stream of changes"));
        };
        let (_, event) = log.read(&packet)?;
        let Event::Query(query) = event else { continue };
        let schema = String::from_utf8_lossy(query.schema).into_owned();
        let is = |name: &Name| {
            let own = name.schema.as_deref().unwrap_or(&schema);
            own.eq_ignore_ascii_case(asked.schema().unwrap_or_default())
                && name.name.eq_ignore_ascii_case(asked.name())
        };
        let again = match Statement::parse(&query.sql, query.ansi_quotes) {
            Statement::Alter { table, .. } => is(&table),
            Statement::Drop(names) => names.iter().any(is),
            Statement::Rename(names) => names.iter().any(|(from, to)| is(from) || is(to)),
            _ => false,
        };
        if again {
            let text = format!(
                "{asked} was altered more than once, the last time at {}, and the log does not tell the names of its columns between (binlog_row_metadata)",
                log.here()
            );
            return Err(Error::new(ErrorKind::Schema, text).with_retry(Retry::Never).with_hint(
                "SET GLOBAL binlog_row_metadata = FULL, which MySQL has since 8.0.1 and MariaDB since 10.5, and begin anew with --restart",
            ));
        }
    }
    Ok(listed)
}
