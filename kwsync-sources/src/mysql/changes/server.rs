//! What a server says of itself and of its log.

use std::collections::HashMap;

use kwsync_core::system::mysql::binlog::Flavor;
use kwsync_core::system::mysql::ddl::literal;
use kwsync_core::system::mysql::session::error;
use kwsync_core::{Error, ErrorKind, Result, Retry};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};

use super::place::BinlogPlace;

/// The settings that matter. Not every server has all of them.
const SETTINGS: &str = "'version', 'log_bin', 'binlog_format', 'binlog_row_image', 'binlog_row_metadata', 'binlog_row_value_options', \
    'binlog_transaction_compression', 'binlog_checksum', 'server_id', 'server_uuid', 'lower_case_table_names', 'log_slave_updates', \
    'log_replica_updates', 'expire_logs_days', 'binlog_expire_logs_seconds'";

/// The settings of a server.
#[derive(Clone, Debug)]
pub(super) struct Server {
    settings: HashMap<String, String>,
}

impl Server {
    pub(super) async fn look(session: &mut Conn) -> Result<Self> {
        let sql = format!("SHOW GLOBAL VARIABLES WHERE Variable_name IN ({SETTINGS})");
        let rows: Vec<(String, String)> = session.query(sql).await.map_err(error)?;
        Ok(Self { settings: rows.into_iter().collect() })
    }

    /// A setting; none where the server has not got it.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.settings.get(name).map(String::as_str)
    }

    pub(super) fn flavor(&self) -> Flavor {
        match self.get("version").is_some_and(|version| version.contains("MariaDB")) {
            true => Flavor::MariaDb,
            false => Flavor::MySql,
        }
    }

    /// The version, as three numbers.
    pub(super) fn version(&self) -> [u32; 3] {
        let text = self.get("version").unwrap_or_default();
        let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(|digits| digits.parse().unwrap_or(0));
        [(); 3].map(|()| numbers.next().unwrap_or(0))
    }

    pub(super) fn id(&self) -> u32 {
        self.get("server_id").and_then(|id| id.parse().ok()).unwrap_or(0)
    }

    /// What tells it from other servers.
    pub(super) fn identity(&self) -> String {
        match self.get("server_uuid") {
            Some(uuid) => uuid.to_owned(),
            None => format!("server_id {}", self.id()),
        }
    }

    /// Whether the log tells the names of columns.
    pub(super) fn names_columns(&self) -> bool {
        self.get("binlog_row_metadata").is_some_and(|how| how.eq_ignore_ascii_case("FULL"))
    }

    /// Whether names of tables differ where only their case does.
    pub(super) fn minds_case(&self) -> bool {
        self.get("lower_case_table_names").is_none_or(|how| how == "0")
    }

    /// For how long the server keeps its log.
    pub(super) fn keeps(&self) -> String {
        let number =
            |name| self.get(name).and_then(|text| text.parse::<f64>().ok()).filter(|number| *number > 0.0);
        let days = number("binlog_expire_logs_seconds")
            .map(|seconds| seconds / 86_400.0)
            .or_else(|| number("expire_logs_days"));
        match days {
            Some(days) => format!("for {days} days"),
            None => "until somebody removes it".to_owned(),
        }
    }
}

/// What `SHOW MASTER STATUS` says.
#[derive(Clone, Debug)]
pub(super) struct Status {
    pub(super) place: BinlogPlace,
    /// The databases that are logged alone, and those that are not.
    pub(super) only: String,
    pub(super) without: String,
}

/// Where the log ends now; none where there is no log.
///
/// # Errors
/// `Permission` without the right to ask.
pub(super) async fn status(session: &mut Conn) -> Result<Option<Status>> {
    let mut found: Option<Row> = None;
    // MySQL 8.4 no longer knows the older words.
    for (at, sql) in ["SHOW MASTER STATUS", "SHOW BINARY LOG STATUS"].into_iter().enumerate() {
        match session.query_first(sql).await {
            Ok(row) => {
                found = row;
                break;
            }
            Err(mysql_async::Error::Server(server)) if server.code == 1064 && at == 0 => {}
            Err(other) => return Err(error(other)),
        }
    }
    Ok(found.map(|row| {
        let text =
            |at: usize| row.get_opt::<String, _>(at).and_then(std::result::Result::ok).unwrap_or_default();
        let at = text(1).parse().unwrap_or(0);
        Status { place: BinlogPlace::new(text(0), at), only: text(2), without: text(3) }
    }))
}

/// The global identifiers of the last transactions before a place; none where the server does not tell.
pub(super) async fn identifiers(
    session: &mut Conn,
    server: &Server,
    place: &BinlogPlace,
) -> Result<Option<String>> {
    if server.flavor() != Flavor::MariaDb {
        return Ok(None);
    }
    let sql = format!("SELECT BINLOG_GTID_POS({}, {})", literal(&place.file), place.at);
    let found: Option<Option<String>> = session.query_first(sql).await.map_err(error)?;
    Ok(found.flatten())
}

/// The error of a log that cannot be read on.
pub(super) fn lost(place: &BinlogPlace, why: &str) -> Error {
    let text = format!("the binary log cannot be read on from {place}: {why}");
    Error::new(ErrorKind::NotFound, text).with_retry(Retry::Never).with_hint(
        "changes since then may be lost: begin anew with --restart, which copies the tables again (with mode=truncate for the target, \
         what is there goes first)",
    )
}

/// Makes sure that a place is one of this server's log still.
///
/// # Errors
/// `NotFound` where it is not.
pub(super) async fn check(
    session: &mut Conn,
    server: &Server,
    identity: &str,
    place: &BinlogPlace,
) -> Result<()> {
    if server.identity() != identity {
        let why = format!("this is another server ({}) than that of the job ({identity})", server.identity());
        return Err(lost(place, &why));
    }
    let logs: Vec<Row> = session.query("SHOW BINARY LOGS").await.map_err(error)?;
    let size = logs.iter().find_map(|row| {
        let name: String = row.get_opt(0)?.ok()?;
        let size: u64 = row.get_opt(1)?.ok()?;
        (*name == *place.file).then_some(size)
    });
    match size {
        None => {
            return Err(lost(
                place,
                "the server has that file no more, or never had it (binlog_expire_logs_seconds, expire_logs_days, PURGE BINARY LOGS)",
            ));
        }
        Some(size) if size < place.at => {
            let why = format!(
                "the file ends at {size}: the server was restored from a backup, or its log was begun anew"
            );
            return Err(lost(place, &why));
        }
        Some(_) => {}
    }
    if place.gtid.is_empty() {
        return Ok(());
    }
    if server.flavor() != Flavor::MariaDb {
        let sql = format!("SELECT GTID_SUBSET({}, @@GLOBAL.gtid_executed)", literal(&place.gtid));
        // Servers from before global identifiers cannot be asked.
        let known: Option<u8> = session.query_first(sql).await.unwrap_or_default();
        return match known {
            Some(0) => {
                let why =
                    format!("the server has not run transaction {}: its log was begun anew", place.gtid);
                Err(lost(place, &why))
            }
            _ => Ok(()),
        };
    }
    let there = identifiers(session, server, place).await?.unwrap_or_default();
    let mut own = place.gtid.split(',');
    if own.any(|id| !there.split(',').any(|there| there == id)) {
        let why = format!(
            "transaction {} does not end there, but {there:?}: the log was begun anew, or is another server's",
            place.gtid
        );
        return Err(lost(place, &why));
    }
    Ok(())
}
