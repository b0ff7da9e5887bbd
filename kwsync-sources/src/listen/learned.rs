//! What decoders have learned of the columns of tables, and what of it the target has taken.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kwsync_core::{Schema, SchemaRegistry, TableId};

/// Most schemas that are remembered; clients choose them.
const MOST: usize = 256;

/// The columns of the tables, in each schema that requests name.
///
/// The first type of a column stands, whoever sends it: a column of a wrong type, or one that the target does not take, would
/// spoil its table for everybody. So what was refused is forgotten, and what was committed is kept.
#[derive(Default)]
pub(super) struct Learned {
    schemas: Mutex<HashMap<Option<Arc<str>>, Tables>>,
    epoch: AtomicU64,
}

#[derive(Default)]
struct Tables {
    /// What decoders claim.
    claimed: Arc<SchemaRegistry>,
    /// What has been committed.
    taken: SchemaRegistry,
}

impl Learned {
    fn schemas(&self) -> MutexGuard<'_, HashMap<Option<Arc<str>>, Tables>> {
        self.schemas.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How often something was forgotten: decoders of an earlier time know too much.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// What decoders of a schema share.
    pub(super) fn of(&self, schema: Option<&Arc<str>>) -> Arc<SchemaRegistry> {
        let mut schemas = self.schemas();
        let schema = schema.cloned();
        if schemas.len() >= MOST && !schemas.contains_key(&schema) {
            schemas.clear();
        }
        Arc::clone(&schemas.entry(schema).or_default().claimed)
    }

    /// The target has taken rows of these columns.
    pub(super) fn keep(&self, schema: Option<&Arc<str>>, table: &TableId, columns: &Schema) {
        let mut schemas = self.schemas();
        let taken = &schemas.entry(schema.cloned()).or_default().taken;
        let same = taken.get(table).is_some_and(|known| {
            let own =
                |column: &kwsync_core::Column| known.column(column.name()).map(|own| own.data_type().clone());
            columns.columns().iter().all(|column| own(column).as_ref() == Some(column.data_type()))
        });
        // Of two types that were taken both, the first one stands.
        if !same && let Err(error) = taken.merge(table, columns) {
            tracing::debug!(table = %table, error = %error, "columns of two types");
        }
    }

    /// Forgets what was never taken.
    pub(super) fn forget(&self) {
        for tables in self.schemas().values_mut() {
            let claimed = SchemaRegistry::new();
            for (table, schema) in tables.taken.tables() {
                if let Err(error) = claimed.merge(&table, &schema) {
                    tracing::debug!(table = %table, error = %error, "columns are learned anew");
                }
            }
            tables.claimed = Arc::new(claimed);
        }
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }
}
