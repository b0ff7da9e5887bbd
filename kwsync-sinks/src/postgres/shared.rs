//! What is known of the target, for plan, preparation and all writers.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use kwsync_core::TableId;
use kwsync_core::system::postgres::catalog::CatalogTable;

use super::config::PostgresOptions;

/// What the writers of a sink share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) options: PostgresOptions,
    /// What the catalog had of each table when it was prepared last.
    tables: RwLock<HashMap<TableId, Arc<CatalogTable>>>,
}

impl Shared {
    pub(super) fn new(options: PostgresOptions) -> Self {
        Self { options, tables: RwLock::default() }
    }

    /// The table as it was prepared last.
    pub(super) fn table(&self, table: &TableId) -> Option<Arc<CatalogTable>> {
        self.tables.read().unwrap_or_else(PoisonError::into_inner).get(table).cloned()
    }

    /// Remembers what the catalog has now.
    pub(super) fn learn(&self, table: TableId, found: CatalogTable) {
        self.tables.write().unwrap_or_else(PoisonError::into_inner).insert(table, Arc::new(found));
    }
}
