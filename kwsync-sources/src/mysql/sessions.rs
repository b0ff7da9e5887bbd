//! Sessions in which splits are read, and the moments at which they were begun.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use kwsync_core::system::mysql::session::error;
use kwsync_core::system::mysql::wire::{self, Cell, Connected};
use kwsync_core::{ErrorKind, Result};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use super::config::MysqlSourceOptions;

/// A session in which splits are read, its transaction begun.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) session: Session,
    /// Whether it is of the moment that was taken when the job began.
    pub(super) first: bool,
}

/// Whose it is.
#[derive(Debug)]
pub(super) enum Session {
    /// Our own, which hands rows out in their packets.
    Wire(Box<wire::Connection>),
    /// The library's, where the server wants to be signed in to in a way that only it knows.
    Client(Conn),
}

impl Session {
    async fn execute(&mut self, sql: &str) -> Result<()> {
        match self {
            Self::Wire(session) => session.execute(sql).await,
            Self::Client(session) => session.query_drop(sql).await.map_err(error),
        }
    }

    /// The rows of a statement that has two columns of text.
    pub(super) async fn pairs(&mut self, sql: &str) -> Result<Vec<(String, String)>> {
        match self {
            Self::Client(session) => session.query(sql).await.map_err(error),
            Self::Wire(session) => {
                let mut made = Vec::new();
                let mut rows = session.select(sql).await?;
                while rows
                    .read(|row| {
                        let mut texts = row.cells().map(|cell| match cell {
                            Ok(Cell::Bytes(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
                            _ => String::new(),
                        });
                        made.extend(texts.next().zip(texts.next()));
                        ControlFlow::Continue(())
                    })
                    .await?
                {}
                Ok(made)
            }
        }
    }

    async fn is_alive(&mut self) -> bool {
        match self {
            Self::Wire(session) => session.ping().await.is_ok(),
            Self::Client(session) => session.ping().await.is_ok(),
        }
    }
}

/// The sessions of all lanes.
#[derive(Debug)]
pub(super) struct Sessions {
    options: Arc<MysqlSourceOptions>,
    idle: Mutex<Vec<Lane>>,
    /// Whether all were to be of one moment.
    shared: Mutex<bool>,
    /// Whether the server is known to need the library's client.
    by_client: AtomicBool,
}

const BEGIN: &str = "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY";
const LEVEL: &str = "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ";

impl Sessions {
    pub(super) fn new(options: Arc<MysqlSourceOptions>) -> Self {
        Self { options, idle: Mutex::default(), shared: Mutex::new(false), by_client: AtomicBool::new(false) }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Lane>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A session of the library's client, to look at tables.
    pub(super) async fn connect(&self) -> Result<Conn> {
        self.options.connect.connect().await
    }

    /// Forgets the sessions, and with them their moment.
    pub(super) fn end(&self) {
        self.idle().clear();
        *self.shared.lock().unwrap_or_else(PoisonError::into_inner) = false;
    }

    /// Opens the sessions of so many lanes.
    pub(super) async fn open_lanes(&self, lanes: usize) -> Result<()> {
        for _ in 0..lanes.max(1) {
            let lane = self.open().await?;
            self.keep(lane);
        }
        Ok(())
    }

    /// Keeps a session that is of the first moment.
    pub(super) fn keep(&self, lane: Lane) {
        self.idle().push(Lane { first: true, ..lane });
    }

    pub(super) async fn open(&self) -> Result<Lane> {
        let mut session = self.session().await?;
        session.execute(LEVEL).await?;
        session.execute(BEGIN).await?;
        Ok(Lane { session, first: false })
    }

    async fn session(&self) -> Result<Session> {
        let connect = &self.options.connect;
        // Signing in and breaking off counts as a failure with some servers: it is tried once.
        if !self.by_client.load(Ordering::Relaxed) {
            match wire::Connection::connect(connect).await? {
                Connected::Ready(session) => return Ok(Session::Wire(session)),
                Connected::Unsupported(what) => {
                    tracing::debug!(%what, "rows are read by mysql_async");
                    self.by_client.store(true, Ordering::Relaxed);
                }
            }
        }
        Ok(Session::Client(connect.connect().await?))
    }

    /// Opens the sessions of `lanes`, all at one moment where that may be. Returns what to say of it.
    pub(super) async fn open_all(&self, lanes: usize) -> Result<Option<String>> {
        if !self.idle().is_empty() {
            return Ok(None);
        }
        if !self.options.shared_snapshot {
            return Ok(Some(
                "each lane is read at a moment of its own, not all at one (snapshot=none)".to_owned(),
            ));
        }
        let mut holder = None;
        let mut note = None;
        if lanes > 1 {
            let mut connection = self.options.connect.connect().await?;
            // The lock waits for statements that run; for that long nobody else may have to wait for us.
            connection.query_drop("SET SESSION lock_wait_timeout = 10").await.map_err(error)?;
            match connection.query_drop("FLUSH TABLES WITH READ LOCK").await.map_err(error) {
                Ok(()) => holder = Some(connection),
                Err(why) if matches!(why.kind(), ErrorKind::Permission | ErrorKind::Conflict) => {
                    note = Some(format!(
                        "each lane is read at a moment of its own, not all at one: tables cannot be locked ({why}); one \
                         lane (--jobs 1) reads all at one"
                    ));
                }
                Err(other) => return Err(other.context("cannot lock the tables for a common snapshot")),
            }
        }
        self.open_lanes(lanes).await?;
        if let Some(mut holder) = holder {
            holder.query_drop("UNLOCK TABLES").await.map_err(error)?;
            good_bye(holder).await;
        }
        *self.shared.lock().unwrap_or_else(PoisonError::into_inner) = note.is_none();
        Ok(note)
    }

    /// A session to read in.
    pub(super) async fn lane(&self) -> Result<Lane> {
        while let Some(mut lane) = { self.idle().pop() } {
            if lane.session.is_alive().await {
                return Ok(lane);
            }
        }
        if *self.shared.lock().unwrap_or_else(PoisonError::into_inner) {
            tracing::warn!(
                "a session of the common snapshot was lost: what it had to read is of a later moment"
            );
        }
        self.open().await
    }

    /// Takes a session back that has read a split to its end.
    pub(super) fn give_back(&self, lane: Lane) {
        if self.options.shared_snapshot {
            self.idle().push(lane);
        }
    }
}

/// Ends a session. The socket is closed in any case.
pub(super) async fn good_bye(session: Conn) {
    drop(session.disconnect().await);
}
