//! What a server and its tables need to have for changes to be followed: all that is missing is told at once.

use kwsync_core::system::mysql::binlog::Flavor;
use kwsync_core::system::mysql::ddl::{literal, table_name};
use kwsync_core::system::mysql::session::error;
use kwsync_core::{DataType, Error, ErrorKind, ReferentialAction, Result, TableId};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};

use super::config::ChangesOptions;
use super::listed::Listed;
use super::log::Log;
use super::server::{self, Server};
use super::{Looked, ahead, is_steady, prepared, replica};
use crate::mysql::config::MysqlSourceOptions;
use crate::mysql::shape::Table;

fn missing(text: impl Into<String>, hint: impl Into<String>) -> Error {
    Error::config(text.into()).with_hint(hint.into())
}

/// Looks at the server and the tables.
///
/// # Errors
/// `Config` with everything that is missing, and what to do about each.
pub(super) async fn check(
    session: &mut Conn,
    server: &Server,
    options: &MysqlSourceOptions,
    changes: &ChangesOptions,
    tables: &[Looked],
) -> Result<()> {
    let mut faults = settings(server);
    faults.extend(rights(session, server, options, tables).await?);
    faults.extend(replicas(session, server, options, changes).await?);
    if let Err(refused) = prepared::names(session).await {
        if refused.kind() == ErrorKind::Unavailable {
            return Err(refused);
        }
        faults.push(missing(
            format!("the server does not tell of prepared transactions ({refused})"),
            format!("GRANT XA_RECOVER_ADMIN ON *.* TO {}: what is prepared before the stream begins would be lost", options.connect.user),
        ));
    }
    let told = faults.iter().any(|fault| fault.to_string().contains("REPLICATION SLAVE"));
    let (number, name) = replica(options, changes);
    if let Err(refused) = Log::try_out(options, (ahead::other(number), &name)).await {
        match refused.kind() {
            ErrorKind::Unsupported => faults.push(refused),
            ErrorKind::Permission if told => {}
            ErrorKind::Permission => faults.push(missing(
                refused.to_string(),
                format!("GRANT REPLICATION SLAVE ON *.* TO {}", options.connect.user),
            )),
            _ => return Err(refused),
        }
    }
    for table in tables {
        faults.extend(of_table(session, server, changes, table).await?);
    }
    faults.extend(names(tables));
    Error::all(faults)
}

fn settings(server: &Server) -> Vec<Error> {
    let mut faults = Vec::new();
    let mut wants = |name: &str, wanted: &str, always: bool, hint: &str| {
        let found = server.get(name);
        if found.is_some_and(|found| !found.eq_ignore_ascii_case(wanted)) || (always && found.is_none()) {
            faults.push(missing(format!("{name} is {:?}", found.unwrap_or_default()), hint));
        }
    };
    wants(
        "log_bin",
        "ON",
        true,
        "set log-bin in the server's configuration and restart it: without it there is no log of changes",
    );
    wants(
        "binlog_format",
        "ROW",
        true,
        "SET GLOBAL binlog_format = 'ROW', and set it in the configuration: otherwise the log has statements, which do not tell of rows",
    );
    wants(
        "binlog_row_image",
        "FULL",
        false,
        "SET GLOBAL binlog_row_image = 'FULL', and set it in the configuration: otherwise the log leaves columns out",
    );
    wants(
        "binlog_row_value_options",
        "",
        false,
        "SET GLOBAL binlog_row_value_options = '': parts of JSON are not read here",
    );
    wants(
        "binlog_transaction_compression",
        "OFF",
        false,
        "SET GLOBAL binlog_transaction_compression = OFF: transactions that MySQL has compressed are not read here",
    );
    if server.id() == 0 {
        faults.push(missing("server_id is 0", "give the server a number: without one it has no replicas"));
    }
    faults
}

async fn rights(
    session: &mut Conn,
    server: &Server,
    options: &MysqlSourceOptions,
    tables: &[Looked],
) -> Result<Vec<Error>> {
    let mut faults = Vec::new();
    let user = &options.connect.user;
    match server::status(session).await {
        Ok(None) => {}
        Ok(Some(status)) => {
            let names = |list: &str| {
                list.split(',')
                    .map(str::trim)
                    .filter(|name| !name.is_empty())
                    .map(str::to_owned)
                    .collect::<Vec<_>>()
            };
            let (only, without) = (names(&status.only), names(&status.without));
            let mut left_out: Vec<&str> = tables
                .iter()
                .filter_map(|table| table.id.schema())
                .filter(|schema| {
                    let is = |name: &String| name == schema;
                    (!only.is_empty() && !only.iter().any(is)) || without.iter().any(is)
                })
                .collect();
            left_out.dedup();
            if !left_out.is_empty() {
                faults.push(missing(
                    format!("the server does not log changes of the database {}", left_out.join(", ")),
                    "take it out of binlog-ignore-db, or add it to binlog-do-db, in the server's configuration",
                ));
            }
        }
        Err(refused) if refused.kind() == ErrorKind::Permission => faults.push(missing(
            format!("the user {user:?} has not the right REPLICATION CLIENT"),
            format!("GRANT REPLICATION CLIENT ON *.* TO {user}: without it nobody tells where the log ends"),
        )),
        Err(other) => return Err(other),
    }
    let grants: Vec<String> = session.query("SHOW GRANTS").await.map_err(error)?;
    let grants: Vec<String> = grants.iter().map(|grant| grant.to_ascii_uppercase()).collect();
    let has = |right: &str| {
        grants.iter().any(|grant| {
            let words = grant.split(" ON ").next().unwrap_or_default();
            grant.contains(" ON *.* TO ")
                && (words.starts_with("GRANT ALL PRIVILEGES") || words.contains(right))
        })
    };
    // Of what a role grants nothing stands here: the server says so later.
    let roles = grants.iter().any(|grant| !grant.contains(" ON "));
    if !roles
        && !has("REPLICATION SLAVE,")
        && !has("REPLICATION REPLICA")
        && !has_last(&grants, "REPLICATION SLAVE")
    {
        faults.push(missing(
            format!("the user {user:?} has not the right REPLICATION SLAVE"),
            format!("GRANT REPLICATION SLAVE ON *.* TO {user}: without it the server does not send its log"),
        ));
    }
    // A replica that does not log what it is sent has no changes to tell of.
    let logs = server.get("log_slave_updates").or_else(|| server.get("log_replica_updates"));
    if logs == Some("OFF") {
        let state: std::result::Result<Vec<Row>, _> = session.query("SHOW SLAVE STATUS").await;
        if state.is_ok_and(|rows| !rows.is_empty()) {
            faults.push(missing(
                "the server is a replica, and does not log what it gets from its source (log_slave_updates)",
                "connect to the source, or set log-slave-updates (log-replica-updates) in the configuration and restart the server",
            ));
        }
    }
    Ok(faults)
}

/// Whether a right stands last in a list of them.
fn has_last(grants: &[String], right: &str) -> bool {
    grants.iter().any(|grant| grant.contains(&format!("{right} ON *.* TO ")))
}

/// Whether the number of the replica is free.
async fn replicas(
    session: &mut Conn,
    server: &Server,
    options: &MysqlSourceOptions,
    changes: &ChangesOptions,
) -> Result<Option<Error>> {
    let (own, name) = replica(options, changes);
    if own == server.id() {
        return Ok(Some(missing(
            format!("server_id={own} is the number of the server itself"),
            "give the job another, which no replica has",
        )));
    }
    for sql in ["SHOW REPLICAS", "SHOW SLAVE HOSTS"] {
        // Whoever may not ask cannot know.
        let rows: Vec<Row> = session.query(sql).await.unwrap_or_default();
        for row in rows {
            let text = |at: usize| {
                row.get_opt::<String, _>(at).and_then(std::result::Result::ok).unwrap_or_default()
            };
            if text(0) == own.to_string() && text(1) != name {
                return Ok(Some(missing(
                    format!("server_id={own} is that of a replica that is connected ({})", text(1)),
                    "give the job another with server_id=: two with one number throw each other out",
                )));
            }
        }
    }
    Ok(None)
}

async fn of_table(
    session: &mut Conn,
    server: &Server,
    changes: &ChangesOptions,
    looked: &Looked,
) -> Result<Vec<Error>> {
    let id = &looked.id;
    let mut faults = Vec::new();
    let out = "leave it out with exclude=";
    if looked.view {
        return Ok(vec![missing(
            format!("{id} is a view, and the log tells of tables alone"),
            format!("{out}, and follow its tables"),
        )]);
    }
    if let Some(kind) = kind(session, id).await?.filter(|kind| kind != "BASE TABLE") {
        return Ok(vec![missing(format!("{id} is of the kind {kind}, which is not followed"), out)]);
    }
    if matches!(
        looked.engine.to_ascii_uppercase().as_str(),
        "MEMORY" | "HEAP" | "BLACKHOLE" | "FEDERATED" | "CONNECT" | "CSV" | "SPIDER"
    ) {
        faults.push(missing(
            format!(
                "{id} is of the engine {}, whose rows come and go without a word in the log",
                looked.engine
            ),
            format!("{out}, or ALTER TABLE ... ENGINE=InnoDB"),
        ));
    }
    if looked.key().is_empty() && !changes.keyless {
        faults.push(missing(
            format!("{id} has no primary key, and no unique index over columns that are NOT NULL, by which a changed row could be found"),
            "give it a primary key; or say keyless=inserts, and its inserts alone are followed",
        ));
    }
    if looked.key().is_empty() && changes.keyless && !is_steady(&looked.engine) {
        faults.push(missing(
            format!(
                "{id} has no key, and its engine {} has no snapshots: rows that come while it is copied would be there twice",
                looked.engine
            ),
            format!("give it a primary key, {out}, or ALTER TABLE ... ENGINE=InnoDB"),
        ));
    }
    if !server.names_columns() {
        for index in hidden(session, id).await? {
            faults.push(missing(
                format!(
                    "the unique index {index:?} of {id} is over long text: the server keeps a hidden column for it, and its log does not tell the names of                      columns (binlog_row_metadata)"
                ),
                format!("SET GLOBAL binlog_row_metadata = FULL; give the index prefixes; or {out}"),
            ));
        }
    }
    for column in looked.table.columns.iter().filter(|column| !column.generated) {
        let swapped = server.flavor() == Flavor::MySql && server.version() >= [8, 0, 0];
        if column.declared == Some(DataType::Geometry) && swapped {
            faults.push(missing(
                format!(
                    "the column {:?} of {id} is a geometry: MySQL since 8.0 prints the axes of some reference systems the other way round, which the                      stream would not",
                    column.name
                ),
                out,
            ));
        }
        if let Some(why) = Listed::fault(column) {
            faults.push(missing(
                format!("the column {:?} of {id} cannot be followed: {why}", column.name),
                out,
            ));
        }
        let old = [10, 11, 5];
        if column.type_name == "uuid" && server.flavor() == Flavor::MariaDb && server.version() < old {
            faults.push(missing(
                format!("the column {:?} of {id} is a UUID, and lies otherwise in the log of MariaDB before 10.11.5", column.name),
                format!("upgrade the server, or {out}"),
            ));
        }
    }
    if !changes.cascades {
        faults.extend(silent(id, &looked.table).map(|text| missing(text, CASCADES)));
    }
    let name = table_name(id, None)?;
    let tried: std::result::Result<Vec<Row>, _> =
        session.query(format!("SELECT 1 FROM {name} LIMIT 0")).await;
    if let Err(refused) = tried.map_err(error) {
        match refused.kind() {
            ErrorKind::Permission => faults.push(missing(
                format!("the user may not read {id}"),
                format!("GRANT SELECT ON {name} TO the user"),
            )),
            _ => return Err(refused),
        }
    }
    Ok(faults)
}

/// The unique indexes for which MariaDB keeps a column that its catalog does not show.
async fn hidden(session: &mut Conn, id: &TableId) -> Result<Vec<String>> {
    let sql = format!(
        "SELECT DISTINCT INDEX_NAME FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = {} AND TABLE_NAME = {} \
         AND NON_UNIQUE = 0 AND INDEX_TYPE = 'HASH' AND VERSION() LIKE '%MariaDB%'",
        literal(id.schema().unwrap_or_default()),
        literal(id.name())
    );
    session.query(sql).await.map_err(error)
}

/// What to do about foreign keys that change rows.
pub(super) const CASCADES: &str = "have the target do the same by such a key of its own, and say cascades=target; or leave the table out with exclude=";

/// The foreign keys by which rows of a table change without a word in the log, each in words.
pub(super) fn silent<'a>(id: &'a TableId, table: &'a Table) -> impl Iterator<Item = String> + 'a {
    let acts = |action: ReferentialAction| {
        action != ReferentialAction::NoAction && action != ReferentialAction::Restrict
    };
    let silent = table.keys.keys.iter().filter(move |key| acts(key.on_delete) || acts(key.on_update));
    silent.map(move |key| {
        format!(
            "the foreign key {:?} of {id} changes its rows when those of {} are (CASCADE, SET NULL), and the server does that without a word in its log",
            key.name, key.table
        )
    })
}

async fn kind(session: &mut Conn, id: &TableId) -> Result<Option<String>> {
    let sql = format!(
        "SELECT TABLE_TYPE FROM information_schema.TABLES WHERE TABLE_SCHEMA = {} AND TABLE_NAME = {}",
        literal(id.schema().unwrap_or_default()),
        literal(id.name())
    );
    session.query_first(sql).await.map_err(error)
}

/// Tables whose rows would go into one, and be taken for each other's.
fn names(tables: &[Looked]) -> Vec<Error> {
    let mut faults = Vec::new();
    for (at, table) in tables.iter().enumerate() {
        if let Some(other) = tables.iter().take(at).find(|other| other.named == table.named) {
            faults.push(missing(
                format!("{} and {} would both be {} in the target", other.id, table.id, table.named),
                "qualified=always keeps the names of databases as schemas",
            ));
        }
    }
    faults
}
