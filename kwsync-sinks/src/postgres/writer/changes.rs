//! Changes of rows: each batch is a segment of its own, in order; tables that are emptied together are so by one statement.

use std::sync::Arc;

use arrow_array::ArrayRef;
use kwsync_core::{Change, Column, Error, ErrorKind, Result, TableBatch};
use kwsync_formats::pgcopy::CopyEncoder;

use super::super::config::Mode;
use super::super::key;
use super::super::target;
use super::super::way::{self, Way};
use super::{Encoding, PostgresWriter};

impl PostgresWriter {
    /// Accepts changes of rows that are there, or are to be.
    pub(super) async fn accept_change(&mut self, batch: &TableBatch) -> Result<()> {
        let change = batch.change();
        if self.shared.options.mode == Mode::Replace {
            return Err(Error::config("mode=replace and changes of rows contradict each other")
                .with_hint("use mode=truncate, which empties the tables before the copy"));
        }
        // What waits to be ordered is older.
        self.release().await?;
        if change == Change::Truncate {
            return self.truncate(batch).await;
        }
        let kept;
        let batch = match change {
            // Whatever else there is of a row that is gone means nothing.
            Change::Delete => {
                kept = key_alone(batch)?;
                &kept
            }
            _ => batch,
        };
        self.plan_change(batch).await?;
        self.enqueue(batch).await
    }

    /// Makes sure that there is an encoder for the batch's columns and kind.
    async fn plan_change(&mut self, batch: &TableBatch) -> Result<()> {
        let target = target::renamed(batch.table(), &self.shared.options);
        let Some(table) = self.shared.table(&target) else {
            return Err(Error::new(ErrorKind::Internal, format!("table {target} has not been prepared")));
        };
        let place = (batch.table().clone(), batch.change());
        if let Some(known) = self.encodings.get(&place)
            && Arc::ptr_eq(&known.table, &table)
            && (Arc::ptr_eq(&known.schema, batch.schema()) || known.schema == *batch.schema())
        {
            return Ok(());
        }
        // Rows that wait are of the old columns.
        if self.encodings.contains_key(&place) {
            self.drain_all().await?;
            // Its place is taken: sets of columns that take turns must not leave a table each.
            if let Some(Way::Merge { stage, .. }) = self.encodings.remove(&place).map(|known| known.way) {
                self.session().await?.simple_query(&format!("DROP TABLE IF EXISTS {stage}")).await?;
            }
        }
        let schema = Arc::clone(batch.schema());
        let (options, profile) = (self.shared.options.for_changes(), &self.profile);
        let columns = target::staged_columns(&table, &schema)?;
        let encoder = CopyEncoder::try_new(&schema, &columns, options.copy_options(profile))?;
        let key = key::of_changes(&table, &schema)?;
        self.made += 1;
        let change = batch.change();
        let way = Way::of_change(&table, &schema, &key, change, &options, profile, self.made)?;
        let few = Way::of_few_changes(&table, &schema, &key, change, &options, profile)?;
        let count = (change == Change::Upsert).then(|| way::count(&table, &options, profile)).flatten();
        let number = self.made;
        let encoding = Encoding { schema, table, encoder, text: None, key: None, way, few, count, number };
        self.encodings.insert(place, encoding);
        Ok(())
    }

    /// Empties a table, with those that are to be emptied next.
    async fn truncate(&mut self, batch: &TableBatch) -> Result<()> {
        let target = target::renamed(batch.table(), &self.shared.options);
        let Some(table) = self.shared.table(&target) else {
            return Err(Error::new(ErrorKind::Internal, format!("table {target} has not been prepared")));
        };
        let id = kwsync_core::TableId::with_schema(table.schema.as_str(), table.name.as_str());
        let name = kwsync_core::system::postgres::ddl::table_name(&id, None)?;
        if self.emptied.is_empty() {
            self.drain_all().await?;
        }
        if !self.emptied.contains(&name) {
            self.emptied.push(name);
        }
        Ok(())
    }

    /// Empties the tables that wait for it.
    pub(super) async fn empty(&mut self) -> Result<()> {
        if self.emptied.is_empty() {
            return Ok(());
        }
        let names = std::mem::take(&mut self.emptied).join(", ");
        let sql = match std::mem::replace(&mut self.begun, true) {
            // What is deferred and waits for the commit would keep the server from it.
            true if self.profile.deferrable => format!(
                "SET CONSTRAINTS ALL IMMEDIATE; TRUNCATE {names}; SET CONSTRAINTS ALL DEFERRED; RELEASE SAVEPOINT kwsync; SAVEPOINT kwsync"
            ),
            true => format!("TRUNCATE {names}; RELEASE SAVEPOINT kwsync; SAVEPOINT kwsync"),
            false => format!("BEGIN; TRUNCATE {names}; SAVEPOINT kwsync"),
        };
        let emptied = self.session().await?.simple_query(&sql).await;
        emptied.map(|_| ()).map_err(|error| error.context(format!("cannot empty {names}")))
    }
}

/// The columns of the key, of each row.
fn key_alone(batch: &TableBatch) -> Result<TableBatch> {
    let own = batch.schema().columns().iter().zip(batch.batch().columns());
    let own = own.filter(|(column, _)| column.key().is_some());
    let (columns, arrays): (Vec<Column>, Vec<ArrayRef>) =
        own.map(|(column, array)| (column.clone(), Arc::clone(array))).unzip();
    if columns.len() == batch.schema().columns().len() {
        return Ok(batch.clone());
    }
    let schema = Arc::new(kwsync_core::Schema::new(columns)?);
    let kept = TableBatch::from_columns(batch.table().clone(), schema, arrays, batch.origin().clone())?;
    Ok(kept.with_change(batch.change()))
}
