//! Plan and preparation: what the catalog has, and what is made.

use std::collections::HashMap;
use std::sync::Arc;

use kwsync_core::system::postgres::catalog::{self, CatalogTable};
use kwsync_core::system::postgres::ddl;
use kwsync_core::system::postgres::profile::Server;
use kwsync_core::system::postgres::wire::Connection;
use kwsync_core::{
    Capabilities, Cast, Checkpoint, Delivery, Ending, Error, ErrorKind, JobId, Lane, Location, Plan, Result,
    Run, Schema, Sink, TableId,
};
use kwsync_formats::pgcopy::CopyEncoder;
use tokio::sync::Mutex;

use super::blocked;
use super::checkpoint;
use super::config::{Create, DeliveryMode, Mode, PostgresOptions, TimestampNs};
use super::identity::Identities;
use super::key;
use super::lifecycle::Lifecycle;
use super::made::{self, Made};
use super::shared::{Claimed, Idle, Shared};
use super::target;
use super::way::Way;
use super::writer::PostgresWriter;

/// Writes to PostgreSQL by COPY BINARY.
///
/// # Examples
/// ```no_run
/// use kwsync_core::system::postgres::wire::ConnectConfig;
/// use kwsync_sinks::postgres::{PostgresOptions, PostgresSink};
///
/// let connect = ConnectConfig::new("localhost", 5432, "me", "metrics");
/// let sink = PostgresSink::new(PostgresOptions::new(connect).with_schema("raw"));
/// ```
#[derive(Debug)]
pub struct PostgresSink {
    shared: Arc<Shared>,
    /// The session for looking at the catalog and for DDL; it never holds a transaction.
    control: Arc<Mutex<Option<Connection>>>,
    lifecycle: Mutex<Lifecycle>,
    identities: Mutex<Identities>,
    made: Mutex<Made>,
    /// Sessions for those that this sink is shared with.
    idle: Arc<Idle>,
}

impl PostgresSink {
    /// A sink for the server and with the options given. Nothing is connected yet.
    pub fn new(options: PostgresOptions) -> Self {
        Self {
            shared: Arc::new(Shared::new(options)),
            control: Arc::default(),
            lifecycle: Mutex::default(),
            identities: Mutex::default(),
            made: Mutex::default(),
            idle: Arc::default(),
        }
    }

    /// What the catalog has of `table`, and how to make it ready for `schema`.
    async fn look(
        &self,
        control: &mut Connection,
        table: &TableId,
        schema: &Schema,
    ) -> Result<(Option<CatalogTable>, target::Change)> {
        let options = &self.shared.options;
        // Before the server is asked: it would cut a long name off, and find another table.
        ddl::table_name(table, options.schema.as_deref())
            .map_err(|error| error.with_location(Location::new().with_table(table.name())))?;
        let mut found = catalog::table(control, table, options.schema.as_deref()).await?;
        if let Some(found) = &mut found {
            found.unique = catalog::unique_indexes(control, found).await?;
        }
        let profile = self.shared.profile(control).await?;
        let mut change = target::change(table, schema, found.as_ref(), options, &profile)?;
        change.key = key::find(found.as_ref(), &change.name, schema, options, &profile)?;
        Ok((found, change))
    }

    /// The statement that makes the schema of the options, where it is missing and may be made.
    async fn missing_schema(&self, control: &mut Connection) -> Result<Option<String>> {
        let options = &self.shared.options;
        let Some(schema) = options.schema.as_deref().filter(|_| options.create != Create::Never) else {
            return Ok(None);
        };
        let sql = "SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = $1";
        let there = !control.query(sql, &[Some(schema)]).await?.rows.is_empty();
        if there {
            return Ok(None);
        }
        Ok(Some(format!("CREATE SCHEMA IF NOT EXISTS {}", ddl::quote(schema)?)))
    }

    /// The table of the checkpoints as SQL names it.
    fn checkpoint_table(&self) -> Result<String> {
        let options = &self.shared.options;
        checkpoint::table_name(&options.checkpoint_table, options.schema.as_deref())
    }

    /// What a run will promise, and the table that it needs for that.
    async fn plan_checkpoints(&self, control: &mut Connection, plan: &mut Plan) -> Result<()> {
        let table = self.checkpoint_table()?;
        let there = checkpoint::exists(control, &table).await?;
        if let Some(statement) = self.missing_schema(control).await? {
            // Whoever may make it may make a table in it.
            plan.statements.push(statement);
        } else if !there && self.shared.options.delivery == DeliveryMode::Auto {
            let schema = self.shared.options.schema.as_deref();
            let may = control
                .query("SELECT has_schema_privilege(coalesce($1, current_schema()), 'CREATE')", &[schema])
                .await;
            if !may.is_ok_and(|found| found.rows.get(0, 0) == Some("t")) {
                plan.notes.push(format!("delivery is at least once: {table} is missing and may not be made"));
                return Ok(());
            }
        }
        plan.delivery = Delivery::ExactlyOnce;
        if !there {
            plan.statements.push(checkpoint::create(&table));
        }
        Ok(())
    }

    /// Looks whether changes can be applied to a table: it needs their key, and rights.
    async fn check_changes(
        &self,
        control: &mut Connection,
        found: &CatalogTable,
        schema: &Schema,
    ) -> Result<()> {
        if self.shared.options.mode == Mode::Replace {
            return Err(Error::config("mode=replace and changes of rows contradict each other")
                .with_hint("use mode=truncate, which empties the tables before the copy"));
        }
        let keyless = schema.key().is_empty();
        let mut faults = Vec::new();
        if !keyless {
            faults.extend(key::of_changes(found, schema).err());
        }
        faults.extend(key::lacking_rights(control, found, keyless).await?);
        Error::all(faults)
    }

    /// Notes what a table is to have when the rows are there. The mark comes before the table: one without the other is a table that is
    /// made yet.
    async fn mark(
        &self,
        control: &mut Connection,
        table: &TableId,
        schema: &Schema,
        made: bool,
    ) -> Result<()> {
        if schema.columns().iter().all(|column| column.home().is_none()) {
            return Ok(());
        }
        let profile = self.shared.profile(control).await?;
        let (own, _) = made::of(table, schema, made, &self.shared.options, &profile);
        let lifecycle = self.lifecycle.lock().await;
        if let (Some(claimed), Some(job)) = (self.shared.claimed(), lifecycle.job()) {
            control.simple_query(&made::mark(&own, &claimed, job)?).await?;
        }
        self.made.lock().await.meet(own);
        Ok(())
    }

    /// The control session, connected.
    async fn control(&self) -> Result<tokio::sync::MutexGuard<'_, Option<Connection>>> {
        let mut control = self.control.lock().await;
        if control.as_ref().is_none_or(Connection::is_broken) {
            let mut connection = self.shared.connect().await?;
            let profile = self.shared.profile(&mut connection).await?;
            if profile.server == Server::PostgreSql {
                let timeout = self.shared.options.lock_timeout.as_millis();
                connection.simple_query(&format!("SET lock_timeout = {timeout}")).await?;
            }
            *control = Some(connection);
        }
        Ok(control)
    }
}

fn connected(control: &mut Option<Connection>) -> Result<&mut Connection> {
    control.as_mut().ok_or_else(|| Error::new(ErrorKind::Internal, "the control session is gone"))
}

/// Whether the user may not do it, or not here.
fn is_forbidden(error: &Error) -> bool {
    matches!(error.code(), Some("42501" | "25006" | "3F000"))
}

impl Sink for PostgresSink {
    type Writer = PostgresWriter;

    fn capabilities(&self) -> Capabilities {
        let once = self.shared.claimed().is_some();
        Capabilities::new("postgres")
            .with_exclusive_prepare(true)
            .with_changes(true)
            .with_checkpoints(once)
            .with_delivery(if once { Delivery::ExactlyOnce } else { Delivery::AtLeastOnce })
    }

    /// The session for the catalog is one; sessions of writers that have ended are used again.
    fn share(&self) -> Option<Self> {
        Some(Self {
            shared: Arc::new(self.shared.share(&self.idle)),
            control: Arc::clone(&self.control),
            lifecycle: Mutex::default(),
            identities: Mutex::default(),
            made: Mutex::default(),
            idle: Arc::clone(&self.idle),
        })
    }

    fn expect_changes(&self) {
        self.shared.expect_changes();
    }

    async fn start(&self, run: &Run) -> Result<()> {
        let options = &self.shared.options;
        if run.shared && matches!(options.mode, Mode::Replace | Mode::Truncate) {
            let text =
                "mode=replace and mode=truncate would drop what other processes of the group have written";
            return Err(Error::config(text)
                .with_hint("empty the table before the first of them starts, and use mode=insert"));
        }
        let mut control = self.control().await?;
        let control = connected(&mut control)?;
        let mut fresh = run.fresh;
        let profile = self.shared.profile(control).await?;
        if let Some(statement) = self.missing_schema(control).await? {
            tracing::info!("{statement}");
            control
                .simple_query(&statement)
                .await
                .map_err(|error| error.context("cannot make the schema"))?;
        }
        let can = profile.transactions && profile.on_conflict;
        if options.delivery == DeliveryMode::ExactlyOnce && !can {
            let text = format!("delivery=exactly-once is not possible on {}", profile.server);
            return Err(Error::new(ErrorKind::Unsupported, text).with_hint("use delivery=at-least-once"));
        }
        if can && options.delivery != DeliveryMode::AtLeastOnce && run.resumable {
            let table = self.checkpoint_table()?;
            let claimed = async {
                checkpoint::prepare(control, &table).await?;
                checkpoint::claim_job(control, &table, &run.job, run.generation).await
            };
            match claimed.await {
                Ok((generation, new)) => {
                    fresh &= new;
                    self.shared.claim(Claimed { table: table.into(), generation });
                }
                Err(error) if options.delivery == DeliveryMode::Auto && is_forbidden(&error) => {
                    tracing::warn!(error = %error, "no checkpoints in the target: delivery is at least once");
                }
                Err(error) => return Err(error),
            }
        }
        let claimed = self.shared.claimed().is_some();
        self.lifecycle.lock().await.start(control, options, &run.job, fresh, claimed).await
    }

    async fn finish(&self, job: &JobId) -> Result<()> {
        let mut control = self.control().await?;
        let claimed = self.shared.claimed();
        self.identities.lock().await.advance(connected(&mut control)?, claimed.as_ref(), Some(job)).await?;
        let (control, options) = (connected(&mut control)?, &self.shared.options);
        let mut lifecycle = self.lifecycle.lock().await;
        lifecycle.finish(control, options, claimed.as_ref()).await?;
        self.made.lock().await.finish(control, options, claimed.as_ref(), Some(job)).await?;
        lifecycle.close(control, options).await
    }

    async fn forget(&self, job: &JobId) -> Result<()> {
        if self.shared.options.delivery == DeliveryMode::AtLeastOnce {
            return Ok(());
        }
        let table = self.checkpoint_table()?;
        let mut control = self.control().await?;
        let control = connected(&mut control)?;
        let forgotten = async {
            match checkpoint::exists(control, &table).await? {
                true => checkpoint::forget(control, &table, job).await,
                false => Ok(()),
            }
        };
        match forgotten.await {
            Err(error) if self.shared.claimed().is_none() && is_forbidden(&error) => Ok(()),
            done => done,
        }
    }

    async fn begin(&self, checkpoint: &Checkpoint) -> Result<Checkpoint> {
        let Some(claimed) = self.shared.claimed() else { return Ok(checkpoint.clone()) };
        let mut control = self.control().await?;
        let mine = Checkpoint { generation: claimed.generation, ..checkpoint.clone() };
        checkpoint::claim(connected(&mut control)?, &claimed.table, &mine).await
    }

    async fn take_over(&self, checkpoint: &Checkpoint) -> Result<Checkpoint> {
        let Some(claimed) = self.shared.claimed() else { return Ok(checkpoint.clone()) };
        let mut control = self.control().await?;
        let mine = Checkpoint { generation: claimed.generation, ..checkpoint.clone() };
        checkpoint::take_over(connected(&mut control)?, &claimed.table, &mine).await
    }

    async fn plan(&self, table: &TableId, schema: &Arc<Schema>) -> Result<Plan> {
        let table = target::renamed(table, &self.shared.options);
        let mut control = self.control().await?;
        let (found, change) = self.look(connected(&mut control)?, &table, schema).await?;
        let options = &self.shared.options;
        let profile = self.shared.profile(connected(&mut control)?).await?;
        let strategy = format!("{}, one transaction a commit", options.chosen_strategy(&profile)?);
        let mut plan = Plan::new(change.name, strategy, Delivery::AtLeastOnce);
        plan.notes.push(profile.to_string());
        if let Some(key) = &change.key {
            plan.notes.push(format!("key ({})", key.columns.join(", ")));
        }
        if let (Some(found), true) = (&found, change.created.iter().all(Option::is_none)) {
            let way = Way::new(found, schema, change.key.as_ref(), options, &profile, 1)?;
            plan.notes.push(format!("rows go in by: {}", way.statement()));
        }
        for (when, sql) in [("before", &options.pre_sql), ("after", &options.post_sql)] {
            plan.notes.extend(sql.as_ref().map(|sql| format!("{when} the load: {sql}")));
        }
        if options.delivery != DeliveryMode::AtLeastOnce && profile.transactions && profile.on_conflict {
            self.plan_checkpoints(connected(&mut control)?, &mut plan).await?;
        }
        match (options.mode, &found) {
            (Mode::Truncate, Some(_)) => plan.statements.push(format!("TRUNCATE {}", plan.table)),
            (Mode::Replace, _) => {
                plan.notes.push("rows go to a new table that replaces this one at the end".to_owned())
            }
            _ => {}
        }
        if self.shared.expects_changes() {
            match &found {
                Some(found) => self.check_changes(connected(&mut control)?, found, schema).await?,
                None if schema.key().is_empty() => {}
                None => plan
                    .notes
                    .push("changes are applied by the key, in the transactions of the source".to_owned()),
            }
        }
        plan.statements.extend(change.statements);
        plan.left_out = change.left_out;
        let (own, lacking) = made::of(&table, schema, found.is_none(), options, &profile);
        plan.left_out.extend(lacking);
        self.made.lock().await.plan(own);
        let known: Vec<_> = schema
            .columns()
            .iter()
            .zip(&change.created)
            .map(|(column, created)| match (created, &found) {
                (Some(created), _) => created.clone(),
                (None, Some(found)) => {
                    found.column(column.name()).map(|known| known.pg_type.name.clone()).unwrap_or_default()
                }
                _ => String::new(),
            })
            .collect();
        let mut lossy = HashMap::new();
        // Which ways may lose something is known when all columns are there.
        if let (Some(found), true) = (&found, change.created.iter().all(Option::is_none)) {
            let columns = target::copy_columns(found, schema, options)?;
            let encoder = CopyEncoder::try_new(schema, &columns, options.copy_options(&profile))?;
            lossy.extend(encoder.casts().iter().map(|cast| (cast.column.clone(), cast.lossy.clone())));
        }
        plan.casts = schema
            .columns()
            .iter()
            .zip(known)
            .map(|(column, to)| Cast {
                column: column.name().to_owned(),
                from: column.data_type().to_string(),
                to,
                lossy: lossy.remove(column.name()).flatten(),
            })
            .collect();
        if self.shared.options.timestamp_ns == TimestampNs::Truncate {
            plan.notes.push("nanoseconds are cut off (timestamp_ns=truncate)".to_owned());
        }
        Ok(plan)
    }

    async fn plan_ending(&self) -> Result<Ending> {
        self.made.lock().await.ending(&self.shared.options)
    }

    async fn prepare(&self, table: &TableId, schema: &Arc<Schema>) -> Result<()> {
        let table = target::renamed(table, &self.shared.options);
        let mut control = self.control().await?;
        let control = connected(&mut control)?;
        let options = &self.shared.options;
        let profile = self.shared.profile(control).await?;
        options.chosen_strategy(&profile)?;
        let place = self
            .lifecycle
            .lock()
            .await
            .table(control, options, self.shared.claimed().as_ref(), &table)
            .await?;
        let (mut found, change) = self.look(control, &place, schema).await?;
        self.mark(control, &table, schema, found.is_none()).await?;
        if !change.statements.is_empty() {
            for statement in &change.statements {
                tracing::info!(table = %table, "{statement}");
                match control.simple_query(statement).await {
                    Ok(_) => {}
                    // Somebody else made it between our look and our statement.
                    Err(error) if matches!(error.code(), Some("23505" | "42P07" | "42701")) => {}
                    Err(error) => {
                        let error = error.context(format!("cannot make {} ready", change.name));
                        return Err(blocked::explained(control, error, &change.name).await);
                    }
                }
            }
            found = self.look(control, &place, schema).await?.0;
        }
        let key = change.key;
        let found = found.ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("{} was made, and is gone again", change.name))
        })?;
        // A way that does not exist is found here, before the first row.
        let columns = target::copy_columns(&found, schema, options)?;
        CopyEncoder::try_new(schema, &columns, options.copy_options(&profile))
            .map_err(|error| error.context(format!("cannot write to {}", change.name)))?;
        Way::new(&found, schema, key.as_ref(), options, &profile, 1)?;
        if self.shared.expects_changes() {
            self.check_changes(control, &found, schema).await?;
        }
        let claimed = self.shared.claimed();
        let lifecycle = self.lifecycle.lock().await;
        let mut identities = self.identities.lock().await;
        identities.note(control, claimed.as_ref(), lifecycle.job(), &found, schema).await?;
        self.shared.learn(table, found);
        Ok(())
    }

    async fn open(&self, _lane: &Lane) -> Result<PostgresWriter> {
        PostgresWriter::connect(Arc::clone(&self.shared)).await
    }
}
