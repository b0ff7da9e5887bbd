//! Indexes and foreign keys of tables that the job has made. They are made when the rows are there: that is faster, and in no
//! order of the tables is one pointed to that is not there yet.
//!
//! Where checkpoints are kept in the target, each table is marked there as it is made: a run that resumes knows what is still to
//! be done to tables that it does not read again.

use std::collections::BTreeMap;

use kwsync_core::system::made::{self, CarriedIndexes, MadeTable};
use kwsync_core::system::postgres::catalog::{self, CatalogTable};
use kwsync_core::system::postgres::ddl::{self, literal};
use kwsync_core::system::postgres::keys::{self, CatalogKeys};
use kwsync_core::system::postgres::profile::{Profile, Server};
use kwsync_core::system::postgres::wire::Connection;
use kwsync_core::{Ending, Error, ErrorKind, ForeignKey, Index, JobId, Result, Retry, Schema, TableId};

use super::config::PostgresOptions;
use super::shared::Claimed;

/// What stands before a mark among the splits of the checkpoint table.
const MARK: &str = "(made) ";

/// The tables of a run.
#[derive(Debug, Default)]
pub(super) struct Made {
    planned: Vec<MadeTable>,
    met: BTreeMap<TableId, MadeTable>,
}

/// The table as it is to be when the rows are there. Second, what it will lack of its source, in words.
pub(super) fn of(
    table: &TableId,
    schema: &Schema,
    made: bool,
    options: &PostgresOptions,
    profile: &Profile,
) -> (MadeTable, Vec<String>) {
    let id = match (table.schema(), &options.schema) {
        (None, Some(schema)) => TableId::with_schema(schema.as_str(), table.name()),
        _ => table.clone(),
    };
    let able = profile.server == Server::PostgreSql;
    let indexes = if able && options.definitions { options.indexes } else { CarriedIndexes::None };
    let keys = able && options.definitions && options.foreign_keys;
    let mut own = MadeTable::new(id, schema, made, indexes, keys);
    let mut left_out =
        own.fit_indexes(|index| match index.columns.iter().find(|column| column.prefix.is_some()) {
            Some(column) => Err(format!("it covers only the start of {:?}", column.name)),
            None => Ok(()),
        });
    if made && options.definitions {
        left_out.extend(made::broken(schema));
        if !able {
            let names = schema.indexes().into_iter().map(|index| index.name);
            let names = names.chain(schema.foreign_keys().into_iter().map(|key| key.name));
            left_out.extend(
                names.map(|name| format!("index or foreign key {name:?}: not made on {}", profile.server)),
            );
        }
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
    pub(super) fn ending(&self, options: &PostgresOptions) -> Result<Ending> {
        let name = |table: &TableId| ddl::table_name(table, options.schema.as_deref());
        let mut ending = Ending::new();
        for table in &self.planned {
            for index in table.indexes() {
                ending.statements.push(ddl::create_index(&name(table.table())?, table.table(), index, true)?);
            }
        }
        let (keys, left_out) = made::foreign_keys(&self.planned);
        for (table, key) in &keys {
            ending.statements.push(ddl::add_foreign_key(&name(table)?, key, &name(&key.table)?)?);
        }
        ending.left_out = left_out;
        Ok(ending)
    }

    /// Notes a table that rows will go to.
    pub(super) fn meet(&mut self, table: MadeTable) {
        self.met.entry(table.table().clone()).or_insert(table);
    }

    /// Makes what the tables lack, those of earlier runs of the job too. What the server refuses does not hold up the others.
    pub(super) async fn finish(
        &mut self,
        control: &mut Connection,
        options: &PostgresOptions,
        claimed: Option<&Claimed>,
        job: Option<&JobId>,
    ) -> Result<()> {
        let mut all = self.met.clone();
        let mut done = Vec::new();
        let marks = claimed.zip(job);
        if let Some((claimed, job)) = marks {
            let sql = format!(
                "SELECT position, done FROM {} WHERE job = $1 AND split LIKE '{MARK}%'",
                claimed.table
            );
            let rows = control.query(&sql, &[Some(job.as_str())]).await?.rows;
            for row in 0..rows.len() {
                let table = rows.get(row, 0).and_then(|text| serde_json::from_str::<MadeTable>(text).ok());
                let Some(mut table) = table else { continue };
                table.limit(options.indexes, options.foreign_keys);
                if rows.get(row, 1) == Some("t") {
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
        // It takes as long as it takes.
        control.simple_query("SET statement_timeout = 0").await?;
        let mut work = Work { control, options, refused: Vec::new(), there: BTreeMap::new() };
        let worked = work.all(&tables, &keys, &done).await;
        let refused = std::mem::take(&mut work.refused);
        control.simple_query("RESET statement_timeout").await?;
        worked?;
        if !refused.is_empty() {
            return Err(made::refusal(&refused, marks.is_some()));
        }
        if let Some((claimed, job)) = marks {
            let sql =
                format!("UPDATE {} SET done = true WHERE job = $1 AND split LIKE '{MARK}%'", claimed.table);
            control.query(&sql, &[Some(job.as_str())]).await?;
        }
        self.met.clear();
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
        "INSERT INTO {} (job, split, position, sequence, generation, done) VALUES ({}, {}, {}, 0, {}, false) \
         ON CONFLICT (job, split) DO NOTHING",
        claimed.table,
        literal(job.as_str()),
        literal(&format!("{MARK}{id}")),
        literal(&json),
        claimed.generation
    ))
}

/// What is under way.
struct Work<'a> {
    control: &'a mut Connection,
    options: &'a PostgresOptions,
    refused: Vec<String>,
    /// What the catalog has of each table.
    there: BTreeMap<TableId, Option<(CatalogTable, CatalogKeys)>>,
}

impl Work<'_> {
    /// Makes all that tables lack that are not `done`.
    async fn all(
        &mut self,
        tables: &[MadeTable],
        keys: &[(TableId, ForeignKey)],
        done: &[TableId],
    ) -> Result<()> {
        for table in tables.iter().filter(|table| !done.contains(table.table())) {
            for index in table.indexes() {
                self.index(table.table(), index).await?;
            }
        }
        for (table, key) in keys.iter().filter(|(table, _)| !done.contains(table)) {
            self.key(table, key).await?;
        }
        Ok(())
    }

    /// What the catalog has of a table; nothing of one that is gone.
    async fn look(&mut self, table: &TableId) -> Result<Option<(CatalogTable, CatalogKeys)>> {
        if let Some(known) = self.there.get(table) {
            return Ok(known.clone());
        }
        let found = match catalog::table(self.control, table, self.options.schema.as_deref()).await? {
            Some(found) => {
                let keys = keys::keys(self.control, &found).await?;
                Some((found, keys))
            }
            None => {
                tracing::warn!(%table, "the table is gone: its indexes and foreign keys are not made");
                None
            }
        };
        self.there.insert(table.clone(), found.clone());
        Ok(found)
    }

    async fn index(&mut self, table: &TableId, index: &Index) -> Result<()> {
        let Some((found, keys)) = self.look(table).await? else { return Ok(()) };
        // A run that was broken off may have made it.
        let same = |known: &Index| known.unique == index.unique && known.columns == index.columns;
        if keys.indexes.iter().any(same) {
            return Ok(());
        }
        let id = TableId::with_schema(found.schema.as_str(), found.name.as_str());
        let name = ddl::table_name(&id, None)?;
        let sql = ddl::create_index(&name, table, index, true)?;
        match self.run(&sql).await {
            // Something else is called so.
            Err(error) if error.code() == Some("42P07") => {
                let sql = ddl::create_index(&name, table, index, false)?;
                let made = self.run(&sql).await;
                self.note(&sql, made)
            }
            made => self.note(&sql, made),
        }
    }

    async fn key(&mut self, table: &TableId, key: &ForeignKey) -> Result<()> {
        let (Some((own, keys)), Some((other, _))) = (self.look(table).await?, self.look(&key.table).await?)
        else {
            return Ok(());
        };
        let id = |found: &CatalogTable| TableId::with_schema(found.schema.as_str(), found.name.as_str());
        let pointed = id(&other);
        let same = |known: &ForeignKey| {
            known.columns == key.columns && known.referenced == key.referenced && known.table == pointed
        };
        if keys.keys.iter().any(same) {
            return Ok(());
        }
        let sql =
            ddl::add_foreign_key(&ddl::table_name(&id(&own), None)?, key, &ddl::table_name(&pointed, None)?)?;
        let made = self.run(&sql).await;
        self.note(&sql, made)
    }

    async fn run(&mut self, sql: &str) -> Result<()> {
        tracing::info!("{sql}");
        self.control.simple_query(sql).await.map(|_| ())
    }

    /// What became of a statement; what may pass by is an error, so that it is tried again.
    fn note(&mut self, sql: &str, made: Result<()>) -> Result<()> {
        match made {
            Ok(()) => Ok(()),
            Err(error) if error.retry() != Retry::Never && error.kind() != ErrorKind::Server => Err(error),
            Err(error) => {
                self.refused.push(format!("{sql}: {}", error.message()));
                Ok(())
            }
        }
    }
}
