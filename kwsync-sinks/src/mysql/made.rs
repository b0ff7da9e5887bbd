//! Indexes and foreign keys of tables that the job has made. They are made when the rows are there: that is faster, and in no
//! order of the tables is one pointed to that is not there yet.
//!
//! Where checkpoints are kept in the target, each table is marked there before it is made: a run that resumes knows what is still
//! to be done to tables that it does not read again.

use std::collections::BTreeMap;

use kwsync_core::system::made::{self, CarriedIndexes, MadeTable};
use kwsync_core::system::mysql::catalog;
use kwsync_core::system::mysql::ddl::{self, literal};
use kwsync_core::system::mysql::keys::{self, CatalogKeys};
use kwsync_core::system::mysql::session::error;
use kwsync_core::{Ending, Error, ErrorKind, ForeignKey, Index, JobId, Result, Retry, Schema, TableId};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use super::config::MysqlOptions;
use super::sink::Claimed;

/// What stands before a mark among the splits of the checkpoint table.
const MARK: &str = "(made) ";

/// The tables of a run.
#[derive(Clone, Debug, Default)]
pub(super) struct Made {
    planned: Vec<MadeTable>,
    met: BTreeMap<TableId, MadeTable>,
}

/// The table as it is to be when the rows are there. Second, what it will lack of its source, in words.
pub(super) fn of(
    table: &TableId,
    schema: &Schema,
    made: bool,
    options: &MysqlOptions,
) -> (MadeTable, Vec<String>) {
    let id = match (table.schema(), &options.connect.database) {
        (None, Some(schema)) => TableId::with_schema(schema.as_str(), table.name()),
        _ => table.clone(),
    };
    let indexes = if options.definitions { options.indexes } else { CarriedIndexes::None };
    let mut own = MadeTable::new(id, schema, made, indexes, options.definitions && options.foreign_keys);
    let key: Vec<String> = match options.key.as_slice() {
        [] => schema.key().into_iter().map(str::to_owned).collect(),
        key => key.to_vec(),
    };
    let mut left_out = own.fit_indexes(|index| ddl::fit_index(schema, &key, index));
    if made && options.definitions {
        left_out.extend(made::broken(schema));
    }
    (own, left_out)
}

impl Made {
    /// Notes a table of a dry run.
    pub(super) fn plan(&mut self, table: MadeTable) {
        if self.planned.iter().all(|known| known.table() != table.table()) {
            self.planned.push(table);
        }
    }

    /// What will be done to the tables that were planned.
    pub(super) fn ending(&self) -> Result<Ending> {
        let mut ending = Ending::new();
        for table in &self.planned {
            let name = ddl::table_name(table.table(), None)?;
            for index in table.indexes() {
                ending.statements.push(ddl::create_index(&name, index)?);
            }
        }
        let (keys, left_out) = made::foreign_keys(&self.planned);
        ending.left_out = left_out;
        for (table, key) in &keys {
            let (own, other) = (ddl::table_name(table, None)?, ddl::table_name(&key.table, None)?);
            match ddl::add_foreign_key(&own, table, key, &other) {
                Ok(sql) => ending.statements.push(sql),
                Err(error) if error.kind() == ErrorKind::Unsupported => {
                    ending.left_out.push(error.message().to_owned());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(ending)
    }

    /// Notes a table that rows will go to.
    pub(super) fn meet(&mut self, table: MadeTable) {
        self.met.entry(table.table().clone()).or_insert(table);
    }

    /// Makes what the tables lack, those of earlier runs of the job too. What the server refuses does not hold up the others.
    pub(super) async fn finish(
        &self,
        control: &mut Conn,
        options: &MysqlOptions,
        claimed: Option<&Claimed>,
        job: &JobId,
    ) -> Result<()> {
        let mut all = self.met.clone();
        let mut done = Vec::new();
        if let Some(claimed) = claimed {
            let sql = format!(
                "SELECT position, done FROM {} WHERE job = {} AND split LIKE '{MARK}%'",
                claimed.table,
                literal(job.as_str())
            );
            let rows: Vec<(Option<String>, bool)> = control.query(sql).await.map_err(error)?;
            for (text, finished) in rows {
                let table = text.and_then(|text| serde_json::from_str::<MadeTable>(&text).ok());
                let Some(mut table) = table else { continue };
                table.limit(options.indexes, options.foreign_keys);
                if finished {
                    done.push(table.table().clone());
                }
                all.insert(table.table().clone(), table);
            }
        }
        let tables: Vec<MadeTable> = all.into_values().collect();
        if tables.iter().all(|table| !table.is_made() || done.contains(table.table())) {
            return Ok(());
        }
        let (keys, left_out) = made::foreign_keys(&tables);
        left_out.iter().for_each(|what| tracing::warn!("not carried over: {what}"));
        let mut work = Work { control, refused: Vec::new(), there: BTreeMap::new() };
        for table in tables.iter().filter(|table| !done.contains(table.table())) {
            for index in table.indexes() {
                work.index(table.table(), index).await?;
            }
        }
        for (table, key) in keys.iter().filter(|(table, _)| !done.contains(table)) {
            work.key(table, key).await?;
        }
        if !work.refused.is_empty() {
            return Err(made::refusal(&work.refused, claimed.is_some()));
        }
        if let Some(claimed) = claimed {
            let sql = format!(
                "UPDATE {} SET done = true WHERE job = {} AND split LIKE '{MARK}%'",
                claimed.table,
                literal(job.as_str())
            );
            control.query_drop(sql).await.map_err(error)?;
        }
        Ok(())
    }
}

/// The statement that marks a table among the checkpoints.
pub(super) fn mark(table: &MadeTable, claimed: &Claimed, job: &JobId) -> Result<String> {
    let json = serde_json::to_string(table).map_err(|error| {
        Error::new(ErrorKind::Internal, "cannot write down what a table is to have").with_source(error)
    })?;
    let id = serde_json::json!([table.table().schema(), table.table().name()]);
    Ok(format!(
        "INSERT IGNORE INTO {} (job, split, position, sequence, generation, done) VALUES ({}, {}, {}, 0, {}, false)",
        claimed.table,
        literal(job.as_str()),
        literal(&format!("{MARK}{id}")),
        literal(&json),
        claimed.generation
    ))
}

/// What is under way.
struct Work<'a> {
    control: &'a mut Conn,
    refused: Vec<String>,
    /// What the catalog has of each table.
    there: BTreeMap<TableId, Option<CatalogKeys>>,
}

impl Work<'_> {
    /// What the catalog has of a table; nothing of one that is gone.
    async fn look(&mut self, table: &TableId) -> Result<Option<CatalogKeys>> {
        if let Some(known) = self.there.get(table) {
            return Ok(known.clone());
        }
        let schema = table.schema().unwrap_or_default();
        let found = match catalog::columns(self.control, schema, table.name()).await?.is_empty() {
            false => Some(keys::keys(self.control, schema, table.name()).await?),
            true => {
                tracing::warn!(%table, "the table is gone: its indexes and foreign keys are not made");
                None
            }
        };
        self.there.insert(table.clone(), found.clone());
        Ok(found)
    }

    async fn index(&mut self, table: &TableId, index: &Index) -> Result<()> {
        let Some(keys) = self.look(table).await? else { return Ok(()) };
        // A run that was broken off may have made it.
        let same = |known: &Index| known.unique == index.unique && known.columns == index.columns;
        if keys.indexes.iter().any(same) {
            return Ok(());
        }
        let sql = ddl::create_index(&ddl::table_name(table, None)?, index)?;
        self.run(&sql).await
    }

    async fn key(&mut self, table: &TableId, key: &ForeignKey) -> Result<()> {
        let (Some(keys), Some(_)) = (self.look(table).await?, self.look(&key.table).await?) else {
            return Ok(());
        };
        let same = |known: &ForeignKey| {
            known.columns == key.columns && known.referenced == key.referenced && known.table == key.table
        };
        if keys.keys.iter().any(same) {
            return Ok(());
        }
        let (own, other) = (ddl::table_name(table, None)?, ddl::table_name(&key.table, None)?);
        match ddl::add_foreign_key(&own, table, key, &other) {
            Ok(sql) => self.run(&sql).await,
            Err(error) if error.kind() == ErrorKind::Unsupported => {
                tracing::warn!("not carried over: {}", error.message());
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Runs a statement; what may pass by is an error, so that it is tried again.
    async fn run(&mut self, sql: &str) -> Result<()> {
        tracing::info!("{sql}");
        match self.control.query_drop(sql).await.map_err(error) {
            Ok(()) => Ok(()),
            Err(error) if error.retry() != Retry::Never && error.kind() != ErrorKind::Server => Err(error),
            Err(error) => {
                self.refused.push(format!("{sql}: {}", error.message()));
                Ok(())
            }
        }
    }
}
