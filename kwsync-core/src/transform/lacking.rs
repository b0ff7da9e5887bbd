//! Columns that a transform looks for in vain.

use std::collections::HashSet;
use std::fmt::Display;
use std::sync::{Arc, Mutex, PoisonError};

use crate::config::did_you_mean;
use crate::{Change, Column, TableBatch, TableId};

/// As many warnings as a person would read.
const MAX_WARNINGS: usize = 100;

/// Says once for each table which columns a transform looks for in vain.
#[derive(Debug, Default)]
pub(super) struct Lacking(Mutex<HashSet<(TableId, Arc<str>)>>);

impl Lacking {
    /// Warns of those of `columns` that `batch` lacks and that `what`, the transform, looks for.
    pub(super) fn warn<'a>(
        &self,
        what: &dyn Display,
        columns: impl Iterator<Item = &'a str>,
        batch: &TableBatch,
    ) {
        // Of rows that are gone the key alone is told, and of updates what has changed.
        if matches!(batch.change(), Change::Delete | Change::Update) {
            return;
        }
        for column in columns.filter(|name| batch.schema().index_of(name).is_none()) {
            let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if known.len() < MAX_WARNINGS && known.insert((batch.table().clone(), column.into())) {
                drop(known);
                let names = batch.schema().columns().iter().map(Column::name);
                let meant = did_you_mean(column, names);
                tracing::warn!(
                    table = %batch.table(),
                    "`{what}` looks for column `{column}`, which rows of this table lack{meant}"
                );
            }
        }
    }
}
