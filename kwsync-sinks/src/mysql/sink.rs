//! Plan and preparation: what the catalog has, and what is made.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use kwsync_core::system::mysql::catalog::CatalogColumn;
use kwsync_core::system::mysql::session::error;
use kwsync_core::{
    Capabilities, Checkpoint, DataType, Delivery, Ending, Error, ErrorKind, JobId, Lane, Plan, Result, Run,
    Schema, Sink, TableId,
};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use tokio::sync::Mutex;

use super::checkpoint;
use super::config::{DeliveryMode, MysqlOptions, Strategy};
use super::load;
use super::made::{self, Made};
use super::target;
use super::writer::MysqlWriter;

/// What the writers of a sink share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) options: MysqlOptions,
    /// The table as SQL names it and its columns, when it was prepared last.
    tables: RwLock<HashMap<TableId, Arc<Known>>>,
    claimed: RwLock<Option<Claimed>>,
}

/// A table that is ready.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) name: String,
    pub(super) columns: Vec<CatalogColumn>,
    /// Whether a savepoint can take back what was written.
    pub(super) revocable: bool,
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
    pub(super) fn claimed(&self) -> Option<Claimed> {
        self.claimed.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn table(&self, table: &TableId) -> Option<Arc<Known>> {
        self.tables.read().unwrap_or_else(PoisonError::into_inner).get(table).cloned()
    }

    /// Another session, in which nothing is rounded or cut off without an error as far as the server tells.
    pub(super) async fn connect(&self) -> Result<Conn> {
        let mut connection = self.options.connect.connect().await?;
        let sql = "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,NO_AUTO_VALUE_ON_ZERO,\
                   ERROR_FOR_DIVISION_BY_ZERO'";
        connection.query_drop(sql).await.map_err(error)?;
        Ok(connection)
    }
}

/// Writes to MySQL and MariaDB.
///
/// # Examples
/// ```no_run
/// use kwsync_core::system::mysql::session::ConnectConfig;
/// use kwsync_sinks::mysql::{MysqlOptions, MysqlSink};
///
/// let connect = ConnectConfig::new("localhost", 3306, "me").with_database("metrics");
/// let sink = MysqlSink::new(MysqlOptions::new(connect));
/// ```
#[derive(Debug)]
pub struct MysqlSink {
    shared: Arc<Shared>,
    /// The session for looking at the catalog and for DDL; it holds no transaction between calls.
    control: Mutex<Option<Conn>>,
    /// The job of the run.
    job: RwLock<Option<JobId>>,
    made: Mutex<Made>,
}

impl MysqlSink {
    /// A sink for the server and with the options given. Nothing is connected yet.
    pub fn new(options: MysqlOptions) -> Self {
        let shared = Shared { options, tables: RwLock::default(), claimed: RwLock::default() };
        Self {
            shared: Arc::new(shared),
            control: Mutex::new(None),
            job: RwLock::default(),
            made: Mutex::default(),
        }
    }

    /// Does something in the control session; one that failed is not used again.
    async fn controlled<T>(&self, what: impl AsyncFnOnce(&mut Conn) -> Result<T>) -> Result<T> {
        let mut held = self.control.lock().await;
        let known = match held.take() {
            Some(mut connection) => connection.ping().await.is_ok().then_some(connection),
            None => None,
        };
        let mut connection = match known {
            Some(connection) => connection,
            None => {
                let mut connection = self.shared.connect().await?;
                // A day, if nothing is said.
                let seconds = self.shared.options.lock_timeout.as_secs().max(1);
                let sql = format!("SET SESSION lock_wait_timeout = {seconds}");
                connection.query_drop(sql).await.map_err(error)?;
                connection
            }
        };
        let done = what(&mut connection).await.map_err(|error| match error.code() {
            Some("1205") => error.with_hint(
                "somebody uses the table, and SHOW FULL PROCESSLIST says who; lock_timeout= waits longer for them",
            ),
            _ => error,
        });
        if done.is_ok() {
            *held = Some(connection);
        }
        done
    }

    /// Notes what a table is to have when the rows are there. The mark comes before the table: one without the other is a table that is
    /// made yet.
    async fn mark(&self, control: &mut Conn, table: &TableId, schema: &Schema, made: bool) -> Result<()> {
        if schema.columns().iter().all(|column| column.home().is_none()) {
            return Ok(());
        }
        let (own, _) = made::of(table, schema, made, &self.shared.options);
        let job = self.job.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let (Some(claimed), Some(job)) = (self.shared.claimed(), job) {
            control.query_drop(made::mark(&own, &claimed, &job)?).await.map_err(error)?;
        }
        self.made.lock().await.meet(own);
        Ok(())
    }

    async fn statements(&self, what: &str, sql: Option<&str>) -> Result<()> {
        let Some(sql) = sql else { return Ok(()) };
        self.controlled(async |control: &mut Conn| {
            control.query_drop(sql).await.map_err(|found| error(found).context(what))
        })
        .await
    }
}

impl Sink for MysqlSink {
    type Writer = MysqlWriter;

    fn capabilities(&self) -> Capabilities {
        let once = self.shared.claimed().is_some();
        Capabilities::new("mysql")
            .with_exclusive_prepare(true)
            .with_checkpoints(once)
            .with_delivery(if once { Delivery::ExactlyOnce } else { Delivery::AtLeastOnce })
    }

    async fn start(&self, run: &Run) -> Result<()> {
        let options = &self.shared.options;
        *self.job.write().unwrap_or_else(PoisonError::into_inner) = Some(run.job.clone());
        let mut fresh = run.fresh;
        if options.delivery != DeliveryMode::AtLeastOnce && run.resumable {
            let table = checkpoint::table_name(&options.checkpoint_table)?;
            let claimed = self
                .controlled(async |control: &mut Conn| {
                    control.query_drop(checkpoint::create(&table)).await.map_err(error)?;
                    checkpoint::claim_job(control, &table, &run.job, run.generation).await
                })
                .await;
            match claimed {
                Ok((generation, new)) => {
                    fresh &= new;
                    *self.shared.claimed.write().unwrap_or_else(PoisonError::into_inner) =
                        Some(Claimed { table: table.into(), generation });
                }
                Err(error)
                    if options.delivery == DeliveryMode::Auto && error.kind() == ErrorKind::Permission =>
                {
                    tracing::warn!(error = %error, "no checkpoints in the target: delivery is at least once");
                }
                Err(error) => return Err(error),
            }
        }
        match fresh {
            true => self.statements("pre_sql", options.pre_sql.as_deref()).await,
            false => Ok(()),
        }
    }

    async fn finish(&self, job: &JobId) -> Result<()> {
        let (made, claimed) = (self.made.lock().await.clone(), self.shared.claimed());
        let options = &self.shared.options;
        self.controlled(async |control: &mut Conn| {
            made.finish(control, options, claimed.as_ref(), job).await
        })
        .await?;
        // A run that goes on has nothing to do to them again.
        *self.made.lock().await = Made::default();
        self.statements("post_sql", self.shared.options.post_sql.as_deref()).await
    }

    async fn forget(&self, job: &JobId) -> Result<()> {
        let options = &self.shared.options;
        if options.delivery == DeliveryMode::AtLeastOnce {
            return Ok(());
        }
        let table = checkpoint::table_name(&options.checkpoint_table)?;
        let forgotten =
            self.controlled(async |control: &mut Conn| checkpoint::forget(control, &table, job).await).await;
        match forgotten {
            // There was never any.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Permission) => Ok(()),
            done => done,
        }
    }

    async fn begin(&self, checkpoint: &Checkpoint) -> Result<Checkpoint> {
        let Some(claimed) = self.shared.claimed() else { return Ok(checkpoint.clone()) };
        let mine = Checkpoint { generation: claimed.generation, ..checkpoint.clone() };
        self.controlled(async |control: &mut Conn| checkpoint::claim(control, &claimed.table, &mine).await)
            .await
    }

    async fn take_over(&self, checkpoint: &Checkpoint) -> Result<Checkpoint> {
        let Some(claimed) = self.shared.claimed() else { return Ok(checkpoint.clone()) };
        let mine = Checkpoint { generation: claimed.generation, ..checkpoint.clone() };
        self.controlled(async |control: &mut Conn| {
            checkpoint::take_over(control, &claimed.table, &mine).await
        })
        .await
    }

    async fn plan(&self, table: &TableId, schema: &Arc<Schema>) -> Result<Plan> {
        let options = &self.shared.options;
        let table = target::renamed(table, options);
        let change = self
            .controlled(async |control: &mut Conn| target::look(control, &table, schema, options).await)
            .await?;
        let once = options.delivery != DeliveryMode::AtLeastOnce;
        let delivery = if once { Delivery::ExactlyOnce } else { Delivery::AtLeastOnce };
        // Of a table that will be made, the types that it is made with.
        let targets = match change.statements.is_empty() {
            true => target::targets(&change.name, &change.found, schema)?,
            false => Vec::new(),
        };
        let allowed = match options.strategy {
            Strategy::Insert => false,
            _ => self.controlled(load::is_allowed).await?,
        };
        let revocable = change.engine.as_deref().is_none_or(is_revocable);
        let hindrance = load::hindrance(options, allowed, revocable, &targets);
        let geometry = schema.columns().iter().any(|column| *column.data_type() == DataType::Geometry);
        let hindrance = hindrance.or(geometry.then_some("it does not read geometries"));
        let insert = format!("INSERT of up to {} rows", options.statement_rows);
        let way = match load::chosen(options, hindrance)? {
            true => "LOAD DATA LOCAL".to_owned(),
            false => insert,
        };
        let strategy = format!("{way}, mode {}, one transaction a commit", options.mode);
        let mut plan = Plan::new(change.name.clone(), strategy, delivery);
        if once {
            plan.notes.push("delivery is exactly once where the checkpoint table may be made".to_owned());
        }
        if let Some(why) = hindrance.filter(|_| options.strategy == Strategy::Auto) {
            plan.notes.push(format!("LOAD DATA LOCAL is not used: {why}"));
        }
        if let Some(engine) = change.engine.as_ref().filter(|engine| !is_transactional(engine)) {
            plan.notes.push(format!("its engine {engine} has no transactions: delivery is at least once"));
        }
        plan.casts = target::casts(&change.found, schema);
        plan.statements = change.statements;
        plan.left_out = change.left_out;
        let (own, lacking) = made::of(&table, schema, change.found.is_empty(), options);
        plan.left_out.extend(lacking);
        self.made.lock().await.plan(own);
        Ok(plan)
    }

    async fn plan_ending(&self) -> Result<Ending> {
        self.made.lock().await.ending()
    }

    async fn prepare(&self, table: &TableId, schema: &Arc<Schema>) -> Result<()> {
        let options = &self.shared.options;
        let place = target::renamed(table, options);
        let ready = self
            .controlled(async |control: &mut Conn| {
                let mut change = target::look(control, &place, schema, options).await?;
                self.mark(control, &place, schema, change.found.is_empty()).await?;
                if !change.statements.is_empty() {
                    for statement in &change.statements {
                        tracing::info!(table = %place, "{statement}");
                        match control.query_drop(statement.as_str()).await.map_err(error) {
                            Ok(()) => {}
                            // Somebody else made it between our look and our statement.
                            Err(error) if matches!(error.code(), Some("1050" | "1060")) => {}
                            Err(error) => {
                                return Err(error.context(format!("cannot make {} ready", change.name)));
                            }
                        }
                    }
                    change = target::look(control, &place, schema, options).await?;
                }
                if let Some(engine) = change.engine.as_ref().filter(|engine| !is_transactional(engine)) {
                    if options.delivery == DeliveryMode::ExactlyOnce {
                        let text = format!("the engine {engine} of {} has no transactions", change.name);
                        return Err(Error::new(ErrorKind::Unsupported, text)
                            .with_hint("use delivery=at-least-once, or make the table one of InnoDB"));
                    }
                    tracing::warn!(table = %change.name, %engine, "no transactions: rows may be there twice after a fault");
                }
                target::targets(&change.name, &change.found, schema)?;
                let revocable = change.engine.as_deref().is_none_or(is_revocable);
                Ok(Known { name: change.name, columns: change.found, revocable })
            })
            .await?;
        self.shared
            .tables
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(table.clone(), Arc::new(ready));
        Ok(())
    }

    async fn open(&self, _lane: &Lane) -> Result<MysqlWriter> {
        MysqlWriter::connect(Arc::clone(&self.shared)).await
    }
}

fn is_transactional(engine: &str) -> bool {
    !matches!(
        engine.to_ascii_lowercase().as_str(),
        "myisam" | "aria" | "memory" | "csv" | "archive" | "mrg_myisam"
    )
}

/// Whether a savepoint takes back what was written; of views and rare engines nobody knows.
fn is_revocable(engine: &str) -> bool {
    engine.eq_ignore_ascii_case("innodb")
}
