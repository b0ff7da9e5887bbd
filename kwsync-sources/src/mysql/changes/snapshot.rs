//! The snapshot of a copy, and its place in the log.

use kwsync_core::system::mysql::ddl::table_name;
use kwsync_core::system::mysql::session::error;
use kwsync_core::{Error, ErrorKind, Result, TableId};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use super::place::BinlogPlace;
use super::prepared::Prepared;
use super::server::status;
use crate::mysql::sessions::{Sessions, good_bye};

/// A snapshot that was taken.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) place: BinlogPlace,
    /// What was prepared as soon as one could ask.
    pub(super) prepared: Prepared,
    /// What to say of it.
    pub(super) note: Option<String>,
}

pub(super) fn no_log() -> Error {
    Error::config("the server has no binary log").with_hint("set log-bin in its configuration and restart it")
}

impl Sessions {
    /// Opens the sessions of all lanes as of one place in the log. `tells` says whether the server tells of a snapshot's place, as
    /// MariaDB does.
    pub(super) async fn open_at(&self, lanes: usize, tables: &[TableId], tells: bool) -> Result<Taken> {
        // A try before this one may have begun at another place.
        self.end();
        if tells && lanes < 2 {
            return self.open_where_it_is(None).await;
        }
        let mut holder = self.connect().await?;
        // The lock waits for statements that run; for that long nobody else may have to wait for us.
        holder.query_drop("SET SESSION lock_wait_timeout = 10").await.map_err(error)?;
        if let Err(why) = holder.query_drop("FLUSH TABLES WITH READ LOCK").await.map_err(error) {
            if !matches!(why.kind(), ErrorKind::Permission | ErrorKind::Conflict) {
                return Err(why.context("cannot lock the tables for a common snapshot"));
            }
            if tells {
                let note = format!(
                    "one lane reads all as of one moment, and others at later ones, since tables cannot be locked ({why}): what they read is \
                     upserted, and right once the stream has caught up"
                );
                return self.open_where_it_is(Some(note)).await;
            }
            lock(&mut holder, tables).await.map_err(|also| {
                also.context(format!("the place in the log of the copy cannot be told: tables cannot be locked ({why})")).with_hint(
                    "for a moment FLUSH TABLES WITH READ LOCK is needed (the right RELOAD, or FLUSH_TABLES of MySQL 8), or LOCK TABLES ... READ (the \
                     right LOCK TABLES); where another transaction was in the way, run the job again",
                )
            })?;
        }
        let place = status(&mut holder).await?.ok_or_else(no_log)?.place;
        let prepared = Prepared::look(&mut holder).await?;
        self.open_lanes(lanes).await?;
        holder.query_drop("UNLOCK TABLES").await.map_err(error)?;
        good_bye(holder).await;
        Ok(Taken { place, prepared, note: None })
    }

    /// Opens one session, and asks the server for the place of its snapshot.
    async fn open_where_it_is(&self, note: Option<String>) -> Result<Taken> {
        let mut lane = self.open().await?;
        let told = lane.session.pairs("SHOW STATUS LIKE 'binlog\\_snapshot\\_%'").await?;
        let get = |wanted: &str| {
            told.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.as_str())
        };
        let at = get("binlog_snapshot_position").and_then(|at| at.parse().ok());
        let (Some(file), Some(at)) = (get("binlog_snapshot_file").filter(|file| !file.is_empty()), at) else {
            return Err(no_log());
        };
        let place = BinlogPlace::new(file, at);
        self.keep(lane);
        let mut session = self.connect().await?;
        let prepared = Prepared::look(&mut session).await?;
        good_bye(session).await;
        Ok(Taken { place, prepared, note })
    }
}

/// Keeps others from writing to the tables alone.
async fn lock(holder: &mut Conn, tables: &[TableId]) -> Result<()> {
    let names: Vec<String> =
        tables.iter().map(|id| Ok(format!("{} READ", table_name(id, None)?))).collect::<Result<_>>()?;
    holder.query_drop(format!("LOCK TABLES {}", names.join(", "))).await.map_err(error)
}
