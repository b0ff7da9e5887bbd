//! What is known of the target, for plan, preparation and all writers.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

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
}

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
        Self { options, tables: RwLock::default(), claimed: RwLock::default(), profile: RwLock::default() }
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
                Profile::of(server, None)
            }
            _ => probed,
        };
        let profile = Arc::new(profile);
        *self.profile.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&profile));
        Ok(profile)
    }

    /// Another session, tried as often as the options say.
    pub(super) async fn connect(&self) -> Result<Connection> {
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
