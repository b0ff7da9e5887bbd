//! Tables of time series: plan, preparation, and what the writers share.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use kwsync_core::system::kwdb::ddl;
use kwsync_core::system::postgres::wire::Connection;
use kwsync_core::{
    Backoff, Cast, Column, Delivery, Error, ErrorKind, Location, Plan, Result, Retry, Role, Schema, TableId,
};
use kwsync_formats::kwdb::{InsertColumn, InsertEncoder, InsertOptions};

use super::catalog::{self, SeriesTable};
use crate::postgres::{Create, Mode, PostgresOptions, TimestampNs};

/// Rows of a statement, unless told otherwise: where the server is quickest, and far from its limit of bytes.
pub(super) const STATEMENT_ROWS: usize = 10_000;
/// How often a lost connection is made again for one statement.
const RECONNECTS: u32 = 5;

/// What the writers of time series share.
#[derive(Debug)]
pub(super) struct Series {
    pub(super) options: PostgresOptions,
    pub(super) statement_rows: usize,
    tables: RwLock<HashMap<TableId, Arc<SeriesTable>>>,
    rule: RwLock<Option<String>>,
}

/// The statements that make a table ready, and the table as it is then, if it is there already.
pub(super) struct Ready {
    pub(super) statements: Vec<String>,
    pub(super) found: Option<SeriesTable>,
}

impl Series {
    pub(super) fn new(options: PostgresOptions, statement_rows: usize) -> Result<Self> {
        match options.mode {
            Mode::Insert | Mode::Append => {}
            mode => {
                let text = format!("mode={mode} is not for KWDB's time series");
                return Err(Error::new(ErrorKind::Unsupported, text).with_hint(
                    "use mode=insert: rows with the primary tags and time of others follow the server's ts.dedup.rule",
                ));
            }
        }
        Ok(Self { options, statement_rows, tables: RwLock::default(), rule: RwLock::default() })
    }

    /// The table that rows of `table` go to.
    pub(super) fn target(&self, table: &TableId) -> TableId {
        let renamed = self.options.table.as_ref().map(|name| table.renamed(name.as_str()));
        let table = renamed.unwrap_or_else(|| table.clone());
        match (table.schema(), &self.options.schema) {
            (None, Some(schema)) => TableId::with_schema(schema.as_str(), table.name()),
            _ => table,
        }
    }

    /// The table as it was prepared last.
    pub(super) fn table(&self, table: &TableId) -> Option<Arc<SeriesTable>> {
        self.tables.read().unwrap_or_else(PoisonError::into_inner).get(table).cloned()
    }

    pub(super) fn learn(&self, table: TableId, found: SeriesTable) {
        self.tables.write().unwrap_or_else(PoisonError::into_inner).insert(table, Arc::new(found));
    }

    /// Whether a row that is sent twice is there once.
    pub(super) fn delivery(&self) -> Delivery {
        let rule = self.rule.read().unwrap_or_else(PoisonError::into_inner);
        match rule.as_deref() {
            Some("override" | "merge" | "discard") => Delivery::Idempotent,
            _ => Delivery::AtLeastOnce,
        }
    }

    pub(super) async fn ask_rule(&self, connection: &mut Connection) -> Result<()> {
        let rule = catalog::dedup_rule(connection).await?;
        *self.rule.write().unwrap_or_else(PoisonError::into_inner) = rule;
        Ok(())
    }

    /// A session, tried again while the server cannot be reached.
    pub(super) async fn connect(&self, tries: u32) -> Result<Connection> {
        let longest = self.options.connect_backoff.max(Duration::from_millis(200));
        let mut backoff = Backoff::new(Duration::from_millis(200), longest, tries);
        loop {
            match Connection::connect(&self.options.connect).await {
                Ok(connection) => return Ok(connection),
                Err(error) if error.retry() == Retry::Never => return Err(error),
                Err(error) => {
                    let Some(wait) = backoff.next_wait() else { return Err(error) };
                    tracing::warn!(%error, "connecting again");
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }

    /// How often a session that was lost is made again.
    pub(super) fn reconnects(&self) -> u32 {
        self.options.connect_attempts.max(RECONNECTS)
    }

    /// How to make `table` ready for `schema`.
    pub(super) async fn look(
        &self,
        connection: &mut Connection,
        table: &TableId,
        schema: &Schema,
    ) -> Result<Ready> {
        let target = self.target(table);
        let at = |error: Error| {
            let place = error.location().cloned().unwrap_or_default();
            error.with_location(place.with_table(table.name()))
        };
        let name = catalog::table_name(&target).map_err(at)?;
        let Some(found) = catalog::table(connection, &target).await? else {
            if self.options.create == Create::Never {
                return Err(at(Error::new(ErrorKind::NotFound, format!("there is no table {name}"))
                    .with_hint("create it, or let it be created: create=missing")));
            }
            let create = ddl::create_ts_table(&name, schema, &self.options.primary_tags, &self.options.tags)
                .map_err(at)?;
            return Ok(Ready { statements: vec![create], found: None });
        };
        let mut statements = Vec::new();
        for column in schema.columns() {
            if place_of(&found, column).is_some() {
                continue;
            }
            if self.options.create == Create::Never {
                let text = format!("{name} has no column {:?}", column.name());
                return Err(at(Error::new(ErrorKind::Schema, text).with_hint(format!(
                    "add it, let it be added with create=missing, or leave it out: -T drop-columns:{}",
                    column.name()
                ))));
            }
            let tag = matches!(column.role(), Role::Tag | Role::PrimaryTag);
            let sql_type = ddl::sql_type(column.data_type(), tag, false).map_err(at)?;
            let what = if tag { "TAG" } else { "COLUMN" };
            statements.push(format!(
                "ALTER TABLE {name} ADD {what} {} {sql_type}",
                ddl::quote(column.name()).map_err(at)?
            ));
        }
        if let Some(lacking) = found.columns.iter().find(|known| {
            (known.primary || found.time() == Some(known))
                && !schema
                    .columns()
                    .iter()
                    .any(|column| place_of(&found, column) == Some(known.name.as_str()))
        }) {
            let what = if lacking.primary { "primary tag" } else { "time column" };
            let text = format!("{name} wants its {what} {:?}, which the rows do not have", lacking.name);
            return Err(at(Error::new(ErrorKind::Schema, text)
                .with_hint("rename a column to it, or add it as a constant, by a transform")));
        }
        Ok(Ready { statements, found: Some(found) })
    }

    /// The encoder of rows of `schema` into a table.
    pub(super) fn encoder(&self, found: &SeriesTable, schema: &Schema) -> Result<InsertEncoder> {
        let mut columns = Vec::with_capacity(schema.columns().len());
        let mut targets = Vec::with_capacity(columns.len());
        for column in schema.columns() {
            let known = place_of(found, column).and_then(|name| found.column(name)).ok_or_else(|| {
                let text = format!("{} has no column {:?}", found.name, column.name());
                Error::new(ErrorKind::NotFound, text)
            })?;
            let Some(series_type) = known.series_type else {
                let text = format!("rows cannot be written to {}, the type of the column", known.type_name);
                let place = Location::new().with_table(found.name.as_str()).with_column(column.name());
                return Err(Error::new(ErrorKind::Unsupported, text).with_location(place));
            };
            columns.push(column.clone().with_name(known.name.as_str()));
            let not_null = !known.nullable || known.primary || found.time() == Some(known);
            targets.push(InsertColumn::new(known.name.as_str(), series_type).with_not_null(not_null));
        }
        let truncate = self.options.timestamp_ns == TimestampNs::Truncate;
        let options = InsertOptions::new().with_truncate_times(truncate);
        InsertEncoder::try_new(&found.name, &Schema::new(columns)?, &targets, options)
    }

    pub(super) async fn plan(
        &self,
        connection: &mut Connection,
        table: &TableId,
        schema: &Schema,
    ) -> Result<Plan> {
        self.ask_rule(connection).await?;
        let Ready { statements, found } = self.look(connection, table, schema).await?;
        let name = catalog::table_name(&self.target(table))?;
        let strategy = format!("INSERT of literals, up to {} rows a statement", self.statement_rows);
        let mut plan = Plan::new(name, strategy, self.delivery());
        if let Some(found) = &found
            && statements.is_empty()
        {
            self.encoder(found, schema)?;
        }
        if !statements.is_empty() {
            let key = schema.key();
            plan.left_out.extend((!key.is_empty()).then(|| {
                format!(
                    "the primary key ({}): a series is told by its primary tags, a row by its time",
                    key.join(", ")
                )
            }));
            let defined = schema.columns().iter().filter(|c| c.default().is_some() || c.values().is_some());
            plan.left_out.extend(defined.map(|column| format!("default and values of {:?}", column.name())));
        }
        plan.statements = statements;
        for column in schema.columns() {
            let known = found.as_ref().and_then(|found| found.column(place_of(found, column)?));
            if let Some(known) = known {
                plan.casts.push(Cast {
                    column: column.name().to_owned(),
                    from: column.data_type().to_string(),
                    to: known.type_name.clone(),
                    lossy: None,
                });
                if known.name != column.name() {
                    plan.notes.push(format!(
                        "column {:?} goes to the table's time, {:?}",
                        column.name(),
                        known.name
                    ));
                }
            }
        }
        plan.notes.push("time series know no transactions: each statement counts for itself".to_owned());
        if plan.delivery == Delivery::AtLeastOnce {
            plan.notes.push(
                "ts.dedup.rule is unknown or keeps rows twice: a row may be there twice after a fault"
                    .to_owned(),
            );
        }
        Ok(plan)
    }
}

/// The column of the table that `column` goes to: the one of its name, or for the time the table's first.
fn place_of<'t>(found: &'t SeriesTable, column: &Column) -> Option<&'t str> {
    let by_name = found.column(column.name());
    let time = || found.time().filter(|_| column.role() == Role::Timestamp);
    by_name.or_else(time).map(|known| known.name.as_str())
}
