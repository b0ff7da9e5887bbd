//! What is known of the target, for plan, preparation and all writers.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use kwsync_core::system::postgres::catalog::CatalogTable;
use kwsync_core::system::postgres::profile::Profile;
use kwsync_core::system::postgres::wire::Connection;
use kwsync_core::{Backoff, Result, Retry, TableId};

use super::config::PostgresOptions;

/// What the writers of a sink share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) options: PostgresOptions,
    /// What the catalog had of each table when it was prepared last.
    tables: RwLock<HashMap<TableId, Arc<CatalogTable>>>,
    /// The checkpoints in the target, once this run has claimed its job there.
    claimed: RwLock<Option<Claimed>>,
    profile: RwLock<Option<Arc<Profile>>>,
    /// Sessions that nobody uses, where several jobs share the target.
    idle: Option<Arc<Idle>>,
    /// Whether changes of rows will come.
    changes: AtomicBool,
}

/// Sessions that wait for their next writer.
#[derive(Debug, Default)]
pub(super) struct Idle(Mutex<Vec<Connection>>);

/// As many as are worth keeping.
const MAX_IDLE: usize = 8;

/// A job that this run has claimed in the target.
#[derive(Clone, Debug)]
pub(super) struct Claimed {
    /// The checkpoint table as SQL names it.
    pub(super) table: Arc<str>,
    /// The number that the rows of this run carry.
    pub(super) generation: u64,
}

impl Shared {
    pub(super) fn new(options: PostgresOptions) -> Self {
        Self {
            options,
            tables: RwLock::default(),
            claimed: RwLock::default(),
            profile: RwLock::default(),
            idle: None,
            changes: AtomicBool::new(false),
        }
    }

    /// The same target for another job.
    pub(super) fn share(&self, idle: &Arc<Idle>) -> Self {
        let profile = self.profile.read().unwrap_or_else(PoisonError::into_inner).clone();
        Self {
            profile: RwLock::new(profile),
            idle: Some(Arc::clone(idle)),
            ..Self::new(self.options.clone())
        }
    }

    /// Takes a session that has done its work: another job may go on with it.
    pub(super) async fn release(&self, mut connection: Connection) {
        if let Some(Idle(idle)) = self.idle.as_deref()
            && !connection.is_broken()
            && idle.lock().unwrap_or_else(PoisonError::into_inner).len() < MAX_IDLE
            // What the writer has left behind, as prepared statements, must not meet the next one.
            && connection.simple_query("DISCARD ALL").await.is_ok()
        {
            idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            return;
        }
        // All is settled: a good-bye that gets lost changes nothing.
        drop(connection.close().await);
    }

    /// A session that another job has released, if it still answers.
    async fn reuse(&self) -> Option<Connection> {
        let Idle(idle) = self.idle.as_deref()?;
        loop {
            let mut connection = idle.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
            if connection.simple_query("SELECT 1").await.is_ok() {
                return Some(connection);
            }
        }
    }

    /// Says that changes of rows will come.
    pub(super) fn expect_changes(&self) {
        self.changes.store(true, Ordering::Relaxed);
    }

    /// Whether changes of rows will come.
    pub(super) fn expects_changes(&self) -> bool {
        self.changes.load(Ordering::Relaxed)
    }

    /// The table as it was prepared last.
    pub(super) fn table(&self, table: &TableId) -> Option<Arc<CatalogTable>> {
        self.tables.read().unwrap_or_else(PoisonError::into_inner).get(table).cloned()
    }

    /// The claim of this run, if checkpoints are kept in the target.
    pub(super) fn claimed(&self) -> Option<Claimed> {
        self.claimed.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Remembers that checkpoints are kept in the target.
    pub(super) fn claim(&self, claimed: Claimed) {
        *self.claimed.write().unwrap_or_else(PoisonError::into_inner) = Some(claimed);
    }

    /// What the server can do: as the options say, else as it says itself, asked once.
    pub(super) async fn profile(&self, connection: &mut Connection) -> Result<Arc<Profile>> {
        let known = self.profile.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(known) = known {
            return Ok(known);
        }
        let probed = Profile::probe(connection).await?;
        let profile = match self.options.profile {
            Some(server) if server != probed.server => {
                tracing::warn!(found = %probed.server, profile = %server, "the server looks like another");
                let mut profile = Profile::of(server, None);
                profile.timed = probed.timed;
                profile
            }
            _ => probed,
        };
        let profile = Arc::new(profile);
        *self.profile.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&profile));
        Ok(profile)
    }

    /// Another session, tried as often as the options say.
    pub(super) async fn connect(&self) -> Result<Connection> {
        if let Some(connection) = self.reuse().await {
            return Ok(connection);
        }
        let options = &self.options;
        let tries = options.connect_attempts.saturating_sub(1);
        let mut backoff = Backoff::new(Duration::from_millis(200), options.connect_backoff, tries);
        loop {
            let error = match Connection::connect(&options.connect).await {
                Ok(connection) => return Ok(connection),
                Err(error) if error.retry() == Retry::Never => return Err(error),
                Err(error) => error,
            };
            let Some(wait) = backoff.next_wait() else { return Err(error) };
            tracing::warn!(error = %error, "connecting again");
            tokio::time::sleep(wait).await;
        }
    }

    /// Remembers what the catalog has now.
    pub(super) fn learn(&self, table: TableId, found: CatalogTable) {
        self.tables.write().unwrap_or_else(PoisonError::into_inner).insert(table, Arc::new(found));
    }
}
