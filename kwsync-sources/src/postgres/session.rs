//! Sessions: one that holds the snapshot, and those that read in it.

use std::sync::{Arc, Mutex, PoisonError};

use kwsync_core::system::postgres::ddl::literal;
use kwsync_core::system::postgres::profile::{Profile, Server};
use kwsync_core::system::postgres::wire::Connection;
use kwsync_core::{Error, ErrorKind, Result};

use super::config::PostgresSourceOptions;
use super::spec::Taken;

/// A moment at which tables are read.
#[derive(Debug)]
pub(super) struct Snapshot {
    /// By what name sessions take it over; none where each has its own.
    id: Option<String>,
    /// The oldest transaction that it may not see: what was written by this one or later may be missing.
    pub(super) xmin: String,
    /// Tells the snapshots of one source apart.
    pub(super) number: u64,
}

impl Snapshot {
    pub(super) fn is_shared(&self) -> bool {
        self.id.is_some()
    }

    /// The moment as a split records it.
    pub(super) fn taken(&self, file: u64) -> Taken {
        Taken { snapshot: self.id.clone().unwrap_or_default(), xmin: self.xmin.clone(), file }
    }

    /// Whether it is the one that was recorded.
    pub(super) fn is(&self, taken: &Taken) -> bool {
        self.id.as_deref() == Some(taken.snapshot.as_str())
    }
}

/// The session that looks at the catalog and holds the snapshot for the others.
#[derive(Debug)]
pub(super) struct Coordinator {
    pub(super) connection: Connection,
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) profile: Arc<Profile>,
}

#[derive(Debug)]
pub(super) struct Sessions {
    options: Arc<PostgresSourceOptions>,
    coordinator: tokio::sync::Mutex<(Option<Coordinator>, u64)>,
    /// Sessions that have read a split and can read another in the same snapshot.
    idle: Mutex<Vec<Lane>>,
    /// The snapshot in which the next coordinator reads, instead of one of its own.
    given: Mutex<Option<String>>,
}

/// A session in which splits are read.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) connection: Connection,
    pub(super) snapshot: Arc<Snapshot>,
}

/// A guard of the coordinator, connected.
pub(super) struct Held<'a>(tokio::sync::MutexGuard<'a, (Option<Coordinator>, u64)>);

impl Held<'_> {
    pub(super) fn get(&mut self) -> Result<&mut Coordinator> {
        self.0
            .0
            .as_mut()
            .ok_or_else(|| Error::new(ErrorKind::Internal, "the session of the snapshot is gone"))
    }
}

impl Sessions {
    pub(super) fn new(options: Arc<PostgresSourceOptions>) -> Self {
        Self {
            options,
            coordinator: tokio::sync::Mutex::default(),
            idle: Mutex::default(),
            given: Mutex::default(),
        }
    }

    /// Has all be read in a snapshot that another session exports.
    pub(super) fn read_in(&self, snapshot: String) {
        *self.given.lock().unwrap_or_else(PoisonError::into_inner) = Some(snapshot);
    }

    /// Ends the snapshot and the sessions in it, when all has been read.
    pub(super) async fn end(&self) {
        self.idle().clear();
        self.coordinator.lock().await.0 = None;
    }

    /// The session that holds the snapshot. If it was lost, another one takes a new snapshot.
    pub(super) async fn coordinator(&self) -> Result<Held<'_>> {
        let mut held = self.coordinator.lock().await;
        let alive = match &mut held.0 {
            Some(own) => !own.connection.is_broken() && own.connection.simple_query("SELECT 1").await.is_ok(),
            None => false,
        };
        if !alive {
            if held.0.take().is_some() {
                tracing::warn!(
                    "the session that held the snapshot was lost: what is still to be read is of a later moment"
                );
            }
            self.idle().clear();
            held.1 += 1;
            let opened = self.open_coordinator(held.1).await?;
            held.0 = Some(opened);
        }
        Ok(Held(held))
    }

    async fn open_coordinator(&self, number: u64) -> Result<Coordinator> {
        let mut connection = Connection::connect(&self.options.connect).await?;
        let profile = Arc::new(Profile::probe(&mut connection).await?);
        refuse(&profile)?;
        let given = self.given.lock().unwrap_or_else(PoisonError::into_inner).take();
        connection.simple_query(&begin(&self.options, given.as_deref())).await?;
        let shared = self.options.shared_snapshot && profile.server == Server::PostgreSql;
        let id = match shared {
            true => Some(first(&mut connection, "SELECT pg_catalog.pg_export_snapshot()").await?),
            false => None,
        };
        // As a transaction's own 32 bits, which is what rows carry.
        let xmin = "SELECT txid_snapshot_xmin(txid_current_snapshot()) % 4294967296";
        let xmin = match profile.server {
            Server::PostgreSql => first(&mut connection, xmin).await?,
            _ => String::new(),
        };
        let snapshot = Arc::new(Snapshot { id, xmin, number });
        Ok(Coordinator { connection, snapshot, profile })
    }

    /// A session in the snapshot.
    pub(super) async fn lane(&self) -> Result<Lane> {
        let snapshot = Arc::clone(&self.coordinator().await?.get()?.snapshot);
        if snapshot.is_shared() {
            let found = {
                let mut idle = self.idle();
                let at = idle.iter().position(|lane| lane.snapshot.number == snapshot.number);
                at.map(|at| idle.swap_remove(at))
            };
            if let Some(lane) = found {
                return Ok(lane);
            }
        }
        let mut connection = Connection::connect(&self.options.connect).await?;
        connection.simple_query(&begin(&self.options, snapshot.id.as_deref())).await?;
        Ok(Lane { connection, snapshot })
    }

    /// Takes a session back that has read a split to its end.
    pub(super) fn give_back(&self, lane: Lane) {
        if lane.snapshot.is_shared() && !lane.connection.is_broken() {
            self.idle().push(lane);
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Lane>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Refuses servers that have no COPY TO.
pub(super) fn refuse(profile: &Profile) -> Result<()> {
    if matches!(profile.server, Server::Kwdb | Server::KwdbTimeSeries | Server::Cockroach) {
        let text = format!("the server is {}, which this source does not read", profile.server);
        let error = Error::new(ErrorKind::Unsupported, text);
        return Err(match profile.server {
            Server::Cockroach => error,
            _ => error.with_hint("use kwdb:// instead of postgres://"),
        });
    }
    Ok(())
}

/// What begins a transaction, in a snapshot or in one of its own.
pub(super) fn begin(options: &PostgresSourceOptions, snapshot: Option<&str>) -> String {
    let mut sql = String::from("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;");
    if let Some(id) = snapshot {
        sql.push_str(&format!("SET TRANSACTION SNAPSHOT {};", literal(id)));
    }
    for (name, value) in [
        ("statement_timeout", "0"),
        ("idle_in_transaction_session_timeout", "0"),
        ("DateStyle", "ISO"),
        ("IntervalStyle", "postgres"),
        ("extra_float_digits", "3"),
        // Several scans must not begin in the middle of a table, nor share one among processes: the order of rows
        // would not be that of their places.
        ("synchronize_seqscans", "off"),
        ("max_parallel_workers_per_gather", "0"),
        ("timezone", options.timezone.as_str()),
        // Off means: an error rather than rows left out silently.
        ("row_security", if options.row_security { "on" } else { "off" }),
    ] {
        // Through a function, which does nothing for what an older server does not know.
        sql.push_str(&format!(
            "SELECT pg_catalog.set_config(name, {}, true) FROM pg_catalog.pg_settings WHERE name = {};",
            literal(value),
            literal(name)
        ));
    }
    sql
}

/// The first value of the first row.
pub(super) async fn first(connection: &mut Connection, sql: &str) -> Result<String> {
    let result = connection.query(sql, &[]).await?;
    Ok(result.rows.get(0, 0).unwrap_or_default().to_owned())
}
