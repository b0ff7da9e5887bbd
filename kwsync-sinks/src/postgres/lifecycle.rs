//! What happens once for a job: statements before and after, tables that are emptied or replaced.
//!
//! Where checkpoints are kept in the target, what was done to a table is marked there in the same transaction, so that
//! a job that is resumed never empties what it has written itself.

use std::collections::BTreeMap;

use kwsync_core::system::postgres::catalog::{self, CatalogTable};
use kwsync_core::system::postgres::ddl::{self, literal, quote};
use kwsync_core::system::postgres::wire::Connection;
use kwsync_core::{Error, ErrorKind, JobId, Result, TableId};

use super::blocked;
use super::config::{Mode, PostgresOptions};
use super::shared::Claimed;

/// What this run has done so far.
#[derive(Debug, Default)]
pub(super) struct Lifecycle {
    job: Option<JobId>,
    /// Whether nothing of this job has settled before.
    fresh: bool,
    /// Tables that were seen to, and the new table of those that are replaced.
    done: BTreeMap<TableId, Option<String>>,
}

/// The table that takes the place of another, in the same schema.
fn successor(table: &TableId) -> String {
    // FNV-1a: the name of the table may be too long to be extended.
    let hash = table.to_string().bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("kwsync_new_{hash:016x}")
}

impl Lifecycle {
    /// The job of the run.
    pub(super) fn job(&self) -> Option<&JobId> {
        self.job.as_ref()
    }

    /// A run begins.
    pub(super) async fn start(
        &mut self,
        control: &mut Connection,
        options: &PostgresOptions,
        job: &JobId,
        fresh: bool,
        claimed: bool,
    ) -> Result<()> {
        *self = Self { job: Some(job.clone()), fresh, done: BTreeMap::new() };
        if options.mode == Mode::Replace && !fresh && !claimed {
            return Err(Error::config(
                "a replacement that was broken off cannot be resumed without checkpoints in the target",
            )
            .with_hint("start over with --restart, or use delivery=exactly-once"));
        }
        match &options.pre_sql {
            Some(sql) if fresh => run(control, "pre_sql", sql).await,
            _ => Ok(()),
        }
    }

    /// Empties a table, or makes its successor, before its first row in this job. Returns the table that rows go to.
    pub(super) async fn table(
        &mut self,
        control: &mut Connection,
        options: &PostgresOptions,
        claimed: Option<&Claimed>,
        table: &TableId,
    ) -> Result<TableId> {
        if !matches!(options.mode, Mode::Truncate | Mode::Replace) {
            return Ok(table.clone());
        }
        if let Some(done) = self.done.get(table) {
            return Ok(done.as_ref().map_or_else(|| table.clone(), |new| table.renamed(new.as_str())));
        }
        ddl::table_name(table, options.schema.as_deref())?;
        let found = catalog::table(control, table, options.schema.as_deref()).await?;
        let target = match &found {
            Some(found) => TableId::with_schema(found.schema.as_str(), found.name.as_str()),
            None => table.clone(),
        };
        let marked = match claimed {
            Some(claimed) => self.is_marked(control, claimed, options.mode, &target).await?,
            // Without marks only a job that begins knows that nothing of its own is there.
            None => !self.fresh,
        };
        let mut statements = Vec::new();
        let new = (options.mode == Mode::Replace).then(|| successor(&target));
        if !marked {
            match (&new, &found) {
                (Some(new), found) => {
                    statements.extend(make_successor(&target, new, found.as_ref(), options)?)
                }
                (None, Some(_)) => statements.push(format!("TRUNCATE {}", ddl::table_name(&target, None)?)),
                (None, None) => {}
            }
            if let (Some(claimed), Some(job)) = (claimed, &self.job) {
                statements.push(format!(
                    "INSERT INTO {} (job, split, sequence, generation, done) VALUES ({}, {}, 0, {}, true) \
                     ON CONFLICT (job, split) DO NOTHING",
                    claimed.table,
                    literal(job.as_str()),
                    literal(&mark(options.mode, &target)),
                    claimed.generation
                ));
            }
        }
        if !statements.is_empty()
            && let Err(error) = transaction(control, &statements).await
        {
            let error = error.context(format!("mode={}", options.mode));
            return Err(blocked::explained(control, error, &ddl::table_name(&target, None)?).await);
        }
        self.done.insert(table.clone(), new.clone());
        Ok(new.map_or_else(|| table.clone(), |new| target.renamed(new)))
    }

    async fn is_marked(
        &self,
        control: &mut Connection,
        claimed: &Claimed,
        mode: Mode,
        table: &TableId,
    ) -> Result<bool> {
        let sql = format!("SELECT 1 FROM {} WHERE job = $1 AND split = $2", claimed.table);
        let job = self.job.as_ref().map(JobId::as_str);
        Ok(!control.query(&sql, &[job, Some(&mark(mode, table))]).await?.rows.is_empty())
    }

    /// All rows have settled: successors take their places.
    pub(super) async fn finish(
        &mut self,
        control: &mut Connection,
        options: &PostgresOptions,
        claimed: Option<&Claimed>,
    ) -> Result<()> {
        if options.mode == Mode::Replace {
            let mut tables: Vec<TableId> = Vec::new();
            for table in self.done.keys() {
                let found = catalog::table(control, table, options.schema.as_deref()).await?;
                tables.push(match found {
                    Some(found) => TableId::with_schema(found.schema.as_str(), found.name.as_str()),
                    None => table.clone(),
                });
            }
            if let (Some(claimed), Some(job)) = (claimed, &self.job) {
                // Those of earlier runs of the job too.
                let sql = format!(
                    "SELECT split FROM {} WHERE job = $1 AND split LIKE '(replace) %'",
                    claimed.table
                );
                let rows = control.query(&sql, &[Some(job.as_str())]).await?.rows;
                for row in 0..rows.len() {
                    tables.extend(rows.get(row, 0).and_then(unmark));
                }
            }
            tables.sort();
            tables.dedup();
            for table in tables {
                self.swap(control, options, claimed, &table).await?;
            }
        }
        Ok(())
    }

    /// Everything else is done: the operator's statements.
    pub(super) async fn close(&self, control: &mut Connection, options: &PostgresOptions) -> Result<()> {
        match &options.post_sql {
            Some(sql) => run(control, "post_sql", sql).await,
            None => Ok(()),
        }
    }

    async fn swap(
        &self,
        control: &mut Connection,
        options: &PostgresOptions,
        claimed: Option<&Claimed>,
        table: &TableId,
    ) -> Result<()> {
        let new = table.renamed(successor(table));
        if catalog::table(control, &new, options.schema.as_deref()).await?.is_none() {
            // It was swapped before.
            return Ok(());
        }
        let name = |table: &TableId| ddl::table_name(table, options.schema.as_deref());
        let (old_name, new_name) = (name(table)?, name(&new)?);
        // A serial's sequence goes with the table that owns it.
        let owned = control
            .query(
                "SELECT s.oid::regclass::text, a.attname FROM pg_catalog.pg_depend d \
                 JOIN pg_catalog.pg_class s ON s.oid = d.objid AND s.relkind = 'S' \
                 JOIN pg_catalog.pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid \
                 WHERE d.refobjid = to_regclass($1) AND d.deptype = 'a'",
                &[Some(&old_name)],
            )
            .await?
            .rows;
        let mut statements = Vec::new();
        for row in 0..owned.len() {
            let (sequence, column) =
                (owned.get(row, 0).unwrap_or_default(), owned.get(row, 1).unwrap_or_default());
            statements.push(format!("ALTER SEQUENCE {sequence} OWNED BY {new_name}.{}", quote(column)?));
        }
        statements.push(format!("DROP TABLE IF EXISTS {old_name}"));
        statements.push(format!("ALTER TABLE {new_name} RENAME TO {}", quote(table.name())?));
        if let (Some(claimed), Some(job)) = (claimed, &self.job) {
            statements.push(format!(
                "DELETE FROM {} WHERE job = {} AND split = {}",
                claimed.table,
                literal(job.as_str()),
                literal(&mark(Mode::Replace, table))
            ));
        }
        let Err(error) = transaction(control, &statements).await else { return Ok(()) };
        let error = error.context(format!("cannot replace {table}")).with_hint(format!(
            "the rows are in {new_name}; drop what depends on the old table, or use mode=truncate"
        ));
        Err(blocked::explained(control, error, &old_name).await)
    }
}

/// What the checkpoint table is told of a table.
fn mark(mode: Mode, table: &TableId) -> String {
    format!("({mode}) {}", serde_json::json!([table.schema(), table.name()]))
}

fn unmark(text: &str) -> Option<TableId> {
    let (schema, name): (Option<String>, String) =
        serde_json::from_str(text.strip_prefix("(replace) ")?).ok()?;
    Some(match schema {
        Some(schema) => TableId::with_schema(schema, name),
        None => TableId::new(name),
    })
}

fn make_successor(
    table: &TableId,
    new: &str,
    found: Option<&CatalogTable>,
    options: &PostgresOptions,
) -> Result<Vec<String>> {
    let new = ddl::table_name(&table.renamed(new), options.schema.as_deref())?;
    let mut statements = vec![format!("DROP TABLE IF EXISTS {new}")];
    if found.is_some() {
        let unlogged = if options.unlogged { "UNLOGGED " } else { "" };
        let old = ddl::table_name(table, None)?;
        statements.push(format!("CREATE {unlogged}TABLE {new} (LIKE {old} INCLUDING ALL)"));
    }
    Ok(statements)
}

async fn transaction(control: &mut Connection, statements: &[String]) -> Result<()> {
    // Several statements in one query are one transaction.
    for statement in statements {
        tracing::info!("{statement}");
    }
    control.simple_query(&statements.join("; ")).await.map(|_| ())
}

async fn run(control: &mut Connection, what: &'static str, sql: &str) -> Result<()> {
    tracing::info!("{what}: {sql}");
    control.simple_query(sql).await.map(|_| ()).map_err(|error| {
        let error = error.context(what);
        match error.kind() {
            // It is the operator's statement: no row is at fault.
            ErrorKind::Data => {
                Error::new(ErrorKind::Server, error.to_string()).with_retry(kwsync_core::Retry::Never)
            }
            _ => error,
        }
    })
}
