//! What is kept at the server for a job: a publication, which says which tables, and a slot, which holds the log back.

use std::time::Duration;

use kwsync_core::system::postgres::ddl::{literal, quote, table_name};
use kwsync_core::system::postgres::wire::{ConnectConfig, Connection};
use kwsync_core::{Error, ErrorKind, Result, Retry};
use tokio::time::Instant;

use super::lsn::Lsn;
use super::table::Followed;

/// How long a slot may be held by a session that is ending.
const RELEASE: Duration = Duration::from_secs(90);
/// How long making a slot may take before it is said why.
const PATIENCE: Duration = Duration::from_secs(5);

/// The names of what a job keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Names {
    pub(super) slot: String,
    /// Whether the slot's name was given; else the job's own, which it may drop.
    pub(super) slot_given: bool,
    pub(super) publication: String,
    pub(super) publication_given: bool,
}

impl Names {
    /// The names given, or those of the job on a database.
    pub(super) fn new(job: &str, database: &str, slot: Option<&str>, publication: Option<&str>) -> Self {
        // FNV-1a: names of jobs have letters that those of slots may not, and one server has many databases.
        let hash = [job, "\0", database].concat().bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let letters = job.chars().map(|c| match c.to_ascii_lowercase() {
            c @ ('a'..='z' | '0'..='9') => c,
            _ => '_',
        });
        let own = format!("kwsync_{}_{:08x}", letters.take(40).collect::<String>(), hash as u32);
        Self {
            slot: slot.map_or_else(|| own.clone(), str::to_owned),
            slot_given: slot.is_some(),
            publication: publication.map_or(own, str::to_owned),
            publication_given: publication.is_some(),
        }
    }

    /// The publication of tables without a key, of which inserts alone are published.
    pub(super) fn inserts(&self) -> String {
        format!("{}_i", self.publication)
    }
}

/// A slot as the server shows it.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) active: Option<String>,
    /// From where on the server still has changes for it.
    pub(super) confirmed: Option<Lsn>,
    /// Why nothing can be read from it, where that is so.
    pub(super) fault: Option<String>,
}

pub(super) async fn look(connection: &mut Connection, name: &str) -> Result<Option<Slot>> {
    let sql = "SELECT s.active_pid::text, s.confirmed_flush_lsn::text, s.plugin, s.database, current_database(), \
               to_jsonb(s) ->> 'wal_status' FROM pg_catalog.pg_replication_slots s WHERE s.slot_name = $1";
    let rows = connection.query(sql, &[Some(name)]).await?.rows;
    if rows.is_empty() {
        return Ok(None);
    }
    let fault = match (rows.get(0, 2), rows.get(0, 3), rows.get(0, 5)) {
        (Some("pgoutput"), own, Some("lost")) if own == rows.get(0, 4) => {
            Some("the server has removed the log that it held back (max_slot_wal_keep_size)".to_owned())
        }
        (Some("pgoutput"), own, _) if own == rows.get(0, 4) => None,
        (plugin, database, _) => Some(format!(
            "it is of the plugin {} and the database {}",
            plugin.unwrap_or("-"),
            database.unwrap_or("-")
        )),
    };
    Ok(Some(Slot {
        active: rows.get(0, 0).map(str::to_owned),
        confirmed: rows.get(0, 1).map(str::parse).transpose()?,
        fault,
    }))
}

/// The error of a slot that no longer has what the job needs.
pub(super) fn lost(name: &str, at: Lsn, why: &str) -> Error {
    let text = format!("the slot {name:?} cannot go on from {at}: {why}");
    Error::new(ErrorKind::NotFound, text).with_retry(Retry::Never).with_hint(
        "changes since then may be lost: begin anew with --restart, which copies the tables again (with mode=truncate for the target, \
         what is there goes first)",
    )
}

/// Whether the publication is there.
pub(super) async fn published(connection: &mut Connection, name: &str) -> Result<bool> {
    let sql = "SELECT 1 FROM pg_catalog.pg_publication WHERE pubname = $1";
    Ok(!connection.query(sql, &[Some(name)]).await?.rows.is_empty())
}

/// The statements that make the publications of a job.
pub(super) fn publications(names: &Names, tables: &[Followed], version: u16) -> Result<Vec<String>> {
    let made = |name: &str, keyless: bool, operations: &str| -> Result<Option<String>> {
        let own = tables.iter().filter(|table| table.key.is_empty() == keyless);
        let own: Vec<_> = own.map(|table| table_name(&table.asked, None)).collect::<Result<_>>()?;
        if own.is_empty() {
            return Ok(None);
        }
        let root = if version >= 13 { ", publish_via_partition_root = true" } else { "" };
        let sql = format!(
            "CREATE PUBLICATION {} FOR TABLE {} WITH (publish = '{operations}'{root})",
            quote(name)?,
            own.join(", ")
        );
        Ok(Some(sql))
    };
    let truncate = if version >= 11 { ", truncate" } else { "" };
    let all = made(&names.publication, false, &format!("insert, update, delete{truncate}"))?;
    let inserts = made(&names.inserts(), true, &format!("insert{truncate}"))?;
    Ok(all.into_iter().chain(inserts).collect())
}

/// A slot that was just made.
#[derive(Debug)]
pub(super) struct Made {
    /// Holds the snapshot as long as it does nothing else.
    pub(super) connection: Connection,
    pub(super) start: Lsn,
    pub(super) snapshot: String,
}

/// Makes a slot and exports the snapshot from which on its changes count.
pub(super) async fn create(config: &ConnectConfig, name: &str) -> Result<Made> {
    let mut connection = Connection::connect(&config.clone().with_session("replication", "database")).await?;
    let sql = format!("CREATE_REPLICATION_SLOT {} LOGICAL pgoutput EXPORT_SNAPSHOT", quote(name)?);
    let made = {
        let making = connection.simple_query(&sql);
        tokio::pin!(making);
        match tokio::time::timeout(PATIENCE, &mut making).await {
            Ok(made) => made,
            Err(_) => {
                tracing::warn!(
                    "the slot is made when all transactions have ended that write now (pg_stat_activity shows them)"
                );
                making.await
            }
        }
    };
    let made = made.map_err(|error| error.context(format!("cannot make the slot {name:?}")))?;
    let row = made.first().map(|result| &result.rows);
    let get = |column| row.and_then(|rows| rows.get(0, column)).map(str::to_owned);
    let (Some(start), Some(snapshot)) = (get(1), get(2)) else {
        return Err(Error::new(ErrorKind::Protocol, "the server does not tell of the slot that it made"));
    };
    Ok(Made { connection, start: start.parse()?, snapshot })
}

/// Drops a slot, if it is there, once nobody holds it any more.
pub(super) async fn drop_slot(connection: &mut Connection, name: &str) -> Result<()> {
    let began = Instant::now();
    loop {
        let sql = "SELECT pg_catalog.pg_drop_replication_slot(slot_name) FROM pg_catalog.pg_replication_slots WHERE slot_name = $1";
        match connection.query(sql, &[Some(name)]).await {
            // A session that has just gone holds it for a moment.
            Err(error) if error.code() == Some("55006") && began.elapsed() < RELEASE / 9 => {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Err(error) => {
                return Err(error.context(format!("cannot drop the slot {name:?}")).with_hint(format!(
                    "it holds the server's log back until it is dropped: SELECT pg_drop_replication_slot({})",
                    literal(name)
                )));
            }
            Ok(_) => return Ok(()),
        }
    }
}

/// Waits until nobody holds a slot.
pub(super) async fn released(connection: &mut Connection, name: &str) -> Result<Option<Slot>> {
    let began = Instant::now();
    let mut said = false;
    loop {
        let found = look(connection, name).await?;
        let Some(holder) = found.as_ref().and_then(|slot| slot.active.clone()) else { return Ok(found) };
        if began.elapsed() >= RELEASE {
            let text = format!("the slot {name:?} is in use by the server's process {holder}");
            return Err(Error::new(ErrorKind::Unavailable, text).with_retry(Retry::Never).with_hint(
                "another process runs the same job; let one of them finish, or give them different --job names",
            ));
        }
        if !std::mem::replace(&mut said, true) {
            tracing::info!(slot = name, holder, "waiting until the slot is free");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Removes what a job keeps at the server.
pub(super) async fn forget(connection: &mut Connection, names: &Names) -> Result<()> {
    if names.slot_given {
        tracing::warn!(
            slot = names.slot,
            "the slot was given, and is kept: it holds the server's log back until it is dropped"
        );
    } else {
        drop_slot(connection, &names.slot).await?;
    }
    if !names.publication_given {
        for name in [&names.publication, &names.inserts()] {
            connection.simple_query(&format!("DROP PUBLICATION IF EXISTS {}", quote(name)?)).await?;
        }
    } else {
        for name in [names.publication.clone(), names.inserts()] {
            if published(connection, &name).await? {
                tracing::warn!(publication = name, "the publication has a name that was given, and is kept");
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_job() {
        let names = Names::new("Nightly-Büro", "shop", None, None);
        assert!(names.slot.starts_with("kwsync_nightly_b_ro_") && names.slot.len() <= 56, "{}", names.slot);
        assert_ne!(names.slot, Names::new("nightly-b_ro", "shop", None, None).slot);
        assert_ne!(names.slot, Names::new("Nightly-Büro", "other", None, None).slot);
        let given = Names::new("x", "shop", Some("s"), Some("p"));
        assert_eq!((given.slot.as_str(), given.publication.as_str(), given.slot_given), ("s", "p", true));
    }
}
