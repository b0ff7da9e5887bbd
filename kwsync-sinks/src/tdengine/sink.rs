//! The sink: what the server has, what is made, and what the writers share.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use kwsync_core::system::tdengine::{
    CHILD_COLUMN, CatalogColumn, CatalogTable, ColumnType, Features, Parts, Refusal, RefusalClass, Session,
    column_name, create_database, create_table, database_name, table_name,
};
use kwsync_core::{
    Backoff, Capabilities, Cast, DataType, Delivery, Error, ErrorKind, JobId, Lane, Location, Plan, Result,
    Retry, Run, Schema, Sink, TableId, TimeUnit,
};
use tokio::sync::Mutex as AsyncMutex;

use super::config::{Create, TdengineOptions};
use super::layout::{Layout, Target, is_tag, tag_as_column};
use super::writer::TdengineWriter;

/// What the writers of a sink share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) options: TdengineOptions,
    /// The tables that are ready, by what the rows call them.
    tables: RwLock<HashMap<TableId, Arc<Target>>>,
    /// The session for looking and for DDL.
    control: AsyncMutex<Option<Session>>,
}

/// What makes a table ready, and what it is then.
struct Ready {
    statements: Vec<String>,
    /// As it is, or will be.
    target: Target,
    /// Whether it is there as it is.
    found: bool,
}

impl Shared {
    /// The table that rows of `table` go to.
    pub(super) fn name<'t>(&'t self, table: &'t TableId) -> &'t str {
        self.options.table.as_deref().unwrap_or_else(|| table.name())
    }

    /// The table as it was prepared last.
    pub(super) fn ready(&self, table: &TableId) -> Option<Arc<Target>> {
        self.tables.read().unwrap_or_else(PoisonError::into_inner).get(table).cloned()
    }

    pub(super) fn session(&self) -> Result<Session> {
        Session::new(&self.options.connect)
    }

    /// A session for INSERTs, whose patience is their own.
    pub(super) fn insert_session(&self) -> Result<Session> {
        let mut connect = self.options.connect.clone();
        if let Some(longest) = self.options.insert_timeout {
            let mut http = (*connect.http).clone();
            http.timeout = http.timeout.max(longest);
            connect.http = Arc::new(http);
        }
        Session::new(&connect)
    }

    pub(super) fn backoff(&self) -> Backoff {
        Backoff::new(Duration::from_millis(200), Duration::from_secs(10), self.options.attempts)
    }

    fn no_database(&self, session: &Session) -> Error {
        let text = format!("there is no database {:?} at {}", self.options.connect.database, session.place());
        Error::new(ErrorKind::NotFound, text)
            .with_hint("create it, or let it be made by the parameter assert: taos://HOST:6041/DB?assert")
    }

    /// Makes the database before statements of the operator's are run, which may be about tables in it.
    async fn make_database(&self) -> Result<()> {
        // Without a precision it waits for the rows, which tell theirs.
        let Some(Some(precision)) = self.options.assert else { return Ok(()) };
        let mut control = self.control.lock().await;
        let session = self.connected(&mut control)?;
        let database = &self.options.connect.database;
        session.features().await?;
        if session.precision(database).await?.is_some() {
            return Ok(());
        }
        match session.execute(create_database(database, precision)?).await {
            Err(error) if !Refusal::of(&error).is_some_and(|r| r.class() == RefusalClass::Exists) => {
                Err(error.context(format!("cannot make the database {database:?}")))
            }
            _ => Ok(()),
        }
    }

    /// Runs statements of the operator's.
    async fn run(&self, what: &str, statements: &[String]) -> Result<()> {
        let mut control = self.control.lock().await;
        let session = self.connected(&mut control)?;
        for statement in statements {
            let done = session.execute_once(statement.clone()).await;
            done.map_err(|error| {
                let early = self.options.assert == Some(None)
                    && Refusal::of(&error).is_some_and(|r| r.class() == RefusalClass::NoDatabase);
                let error = error.context(format!("{what}: {statement}"));
                match early {
                    true => error.with_hint("pre_sql runs before the rows tell the precision: with assert&precision=ms, us or ns the database is made first"),
                    false => error,
                }
            })?;
        }
        Ok(())
    }

    /// How to make a table ready for rows of a schema.
    async fn look(&self, session: &mut Session, table: &TableId, schema: &Schema) -> Result<Ready> {
        let name = self.name(table);
        let at = |error: Error| {
            let place = error.location().cloned().unwrap_or_default();
            error.with_location(place.with_table(name))
        };
        let options = &self.options;
        let database = &options.connect.database;
        let parts = Parts::of(schema, &options.time_column).map_err(at)?;
        let features = session.features().await?;
        let mut statements = Vec::new();
        let unit = match (session.precision(database).await?, options.assert) {
            (Some(unit), Some(Some(wanted))) if unit != wanted => {
                let text = format!(
                    "the database {database:?} has the precision {}, and precision={} is asked for",
                    unit.as_str(),
                    wanted.as_str()
                );
                return Err(Error::new(ErrorKind::Schema, text)
                    .with_hint("leave precision= out, or name another database"));
            }
            (Some(unit), _) => unit,
            (None, Some(precision)) => {
                let of_rows = match schema.columns().get(parts.time).map(|time| time.data_type()) {
                    Some(DataType::Timestamp(unit) | DataType::TimestampTz(unit)) => *unit,
                    _ => TimeUnit::Millisecond,
                };
                let unit = match precision.unwrap_or(of_rows) {
                    // Databases have no seconds.
                    TimeUnit::Second => TimeUnit::Millisecond,
                    unit => unit,
                };
                statements.push(create_database(database, unit)?);
                unit
            }
            (None, None) => return Err(self.no_database(session)),
        };
        let found =
            if statements.is_empty() { session.describe(database, name).await.map_err(at)? } else { None };
        let Some(found) = found else {
            if options.create == Create::Never {
                return Err(at(Error::new(ErrorKind::NotFound, format!("there is no table {name} in {database}"))
                    .with_hint("create it, or let it be made: create=missing; names are as they were written: case counts")));
            }
            let made = create_table(database, name, schema, &parts, options.lengths, features).map_err(at)?;
            statements.push(made);
            let table = self.made(name, schema, &parts, features).map_err(at)?;
            let target = Target { table, is_child: false, unit };
            return Ok(Ready { statements, target, found: false });
        };
        let homes = match found.has_tags() {
            true => session.homes(database, &[name.to_owned()]).await?,
            false => Vec::new(),
        };
        let is_child = homes.iter().any(|(_, home)| home.is_some());
        let mut target = Target { table: found, is_child, unit };
        target.takes_names(&parts)?;
        let kind = if target.is_super() { "STABLE" } else { "TABLE" };
        let full = format!("{}.{}", database_name(database)?, table_name(name)?);
        let types = parts.types(schema, options.lengths, features).map_err(at)?;
        for (at_column, column) in schema.columns().iter().enumerate() {
            if Some(at_column) == parts.child || target.place(column, at_column == parts.time).is_some() {
                continue;
            }
            let missing = |what: &str| {
                Error::new(ErrorKind::Schema, format!("{name} has no {what} {:?}", column.name()))
                    .with_location(Location::new().with_table(name).with_column(column.name()))
            };
            if is_tag(column) && !target.is_super() && !target.is_child {
                return Err(tag_as_column(name, column));
            }
            let leave = format!("leave it out: -T drop-columns:{}", column.name());
            if options.create == Create::Never {
                return Err(missing("column")
                    .with_hint(format!("add it, let it be added with create=missing, or {leave}")));
            }
            if target.is_child {
                return Err(missing("column").with_hint(format!(
                    "columns and tags of a subtable are those of its supertable: write to that, or {leave}"
                )));
            }
            let tag = is_tag(column) && target.is_super();
            let made = types.get(at_column).copied().flatten().ok_or_else(|| missing("column"))?;
            let length = if tag { options.lengths.tag } else { options.lengths.column };
            // A second tag beside JSON is none, and nothing but a tag is JSON.
            let made = if made == ColumnType::Json { ColumnType::VarChar(length) } else { made };
            let what = if tag { "TAG" } else { "COLUMN" };
            statements.push(format!(
                "ALTER {kind} {full} ADD {what} {} {made}",
                column_name(column.name()).map_err(at)?
            ));
            target.table.columns.push(CatalogColumn {
                name: column.name().to_owned(),
                column_type: Some(made),
                type_name: made.to_string(),
                tag,
                key: false,
            });
        }
        let found = statements.is_empty();
        Ok(Ready { statements, target, found })
    }

    /// A table as it is made.
    fn made(&self, name: &str, schema: &Schema, parts: &Parts, features: Features) -> Result<CatalogTable> {
        let types = parts.types(schema, self.options.lengths, features)?;
        let column = |at: &usize, tag: bool| {
            let column = schema.columns().get(*at)?;
            let made = types.get(*at).copied().flatten()?;
            Some(CatalogColumn {
                name: column.name().to_owned(),
                column_type: Some(made),
                type_name: made.to_string(),
                tag,
                key: parts.key == Some(*at) && features.composite_key,
            })
        };
        let mut columns: Vec<_> =
            std::iter::once(&parts.time).chain(&parts.fields).filter_map(|at| column(at, false)).collect();
        columns.extend(parts.tags.iter().filter_map(|at| column(at, true)));
        Ok(CatalogTable { name: name.to_owned(), columns })
    }

    /// Makes a table ready for rows of a schema.
    pub(super) async fn prepare(&self, table: &TableId, schema: &Arc<Schema>) -> Result<Arc<Target>> {
        let mut control = self.control.lock().await;
        let session = self.connected(&mut control)?;
        let mut backoff = self.backoff();
        let target = loop {
            match self.make(session, table, schema).await {
                Ok(target) => break Arc::new(target),
                Err(error) if error.retry() == Retry::Never => return Err(error),
                Err(error) => {
                    let Some(wait) = backoff.next_wait() else { return Err(error) };
                    tracing::warn!(%error, "the table is looked at again");
                    tokio::time::sleep(wait).await;
                }
            }
        };
        // Here, and not with the first row, types that do not go together are told.
        Layout::of(&self.options, schema, &target)?;
        self.learn(table, &target);
        Ok(target)
    }

    fn learn(&self, table: &TableId, target: &Arc<Target>) {
        self.tables.write().unwrap_or_else(PoisonError::into_inner).insert(table.clone(), Arc::clone(target));
    }

    fn connected<'c>(&self, control: &'c mut Option<Session>) -> Result<&'c mut Session> {
        if control.is_none() {
            *control = Some(self.session()?);
        }
        control.as_mut().ok_or_else(|| Error::new(ErrorKind::Internal, "the control session is gone"))
    }

    async fn make(&self, session: &mut Session, table: &TableId, schema: &Schema) -> Result<Target> {
        let ready = self.look(session, table, schema).await?;
        if ready.found {
            return Ok(ready.target);
        }
        for statement in ready.statements {
            match session.execute(statement.clone()).await {
                // Another lane or job was first, or the answer got lost.
                Err(error) if Refusal::of(&error).is_some_and(|r| r.class() == RefusalClass::Exists) => {}
                done => {
                    done.map_err(|error| error.context(format!("cannot prepare {table}: {statement}")))?;
                }
            }
        }
        // What is there is what counts: somebody else may have made it.
        let again = self.look(session, table, schema).await?;
        if again.found {
            return Ok(again.target);
        }
        let text = format!("{} is not as it was made: {}", self.name(table), again.statements.join("; "));
        Err(Error::new(ErrorKind::Conflict, text))
    }

    /// Makes columns and tags longer.
    pub(super) async fn widen(
        &self,
        table: &TableId,
        schema: &Arc<Schema>,
        wanted: &[(String, u32)],
    ) -> Result<Arc<Target>> {
        let mut control = self.control.lock().await;
        let session = self.connected(&mut control)?;
        let mut backoff = self.backoff();
        loop {
            // One that is made already is long enough when it is looked at again.
            match self.lengthen(session, table, schema, wanted).await {
                Err(error) if error.retry() != Retry::Never => {
                    let Some(wait) = backoff.next_wait() else { return Err(error) };
                    tracing::warn!(%error, "the columns are looked at again");
                    tokio::time::sleep(wait).await;
                }
                done => return done,
            }
        }
    }

    async fn lengthen(
        &self,
        session: &mut Session,
        table: &TableId,
        schema: &Schema,
        wanted: &[(String, u32)],
    ) -> Result<Arc<Target>> {
        let name = self.name(table);
        let database = &self.options.connect.database;
        let full = format!("{}.{}", database_name(database)?, table_name(name)?);
        let target = self.look(session, table, schema).await?.target;
        let kind = if target.is_super() { "STABLE" } else { "TABLE" };
        for (column, length) in wanted {
            let Some(known) = target.table.column(column) else { continue };
            let Some(now) = known.column_type else { continue };
            let enough = match now {
                ColumnType::VarChar(own) | ColumnType::NChar(own) | ColumnType::VarBinary(own) => {
                    own >= *length
                }
                _ => true,
            };
            if enough {
                continue;
            }
            let what = if known.tag { "TAG" } else { "COLUMN" };
            let mut error = None;
            // More than is needed, or every longer text would be a statement; if that is too much, what is needed.
            let wider = [length.saturating_mul(2), *length].map(|length| now.with_length(length, known.tag));
            for made in wider.into_iter().flatten() {
                let statement = format!("ALTER {kind} {full} MODIFY {what} {} {made}", column_name(column)?);
                match session.execute(statement).await {
                    Ok(_) => {
                        error = None;
                        break;
                    }
                    Err(refused) if Refusal::of(&refused).is_some() && refused.retry() == Retry::Never => {
                        error = Some(refused);
                    }
                    Err(refused) => return Err(refused),
                }
            }
            if let Some(error) = error {
                // A row has no room for it: the texts that are too long are rejects, then.
                tracing::warn!(%error, table = name, column, "a column cannot be made longer");
            }
        }
        let target = Arc::new(self.look(session, table, schema).await?.target);
        self.learn(table, &target);
        Ok(target)
    }
}

/// Writes to TDengine.
///
/// # Examples
/// ```
/// use kwsync_core::system::tdengine::ConnectConfig;
/// use kwsync_sinks::tdengine::{TdengineOptions, TdengineSink};
///
/// let mut options = TdengineOptions::new(ConnectConfig::new("localhost", 6041, "power"));
/// options.statement_rows = 10_000;
/// let sink = TdengineSink::new(options);
/// ```
#[derive(Debug)]
pub struct TdengineSink {
    shared: Arc<Shared>,
}

impl TdengineSink {
    /// A sink with the options given. Nothing is connected yet.
    pub fn new(options: TdengineOptions) -> Self {
        let shared = Shared { options, tables: RwLock::default(), control: AsyncMutex::new(None) };
        Self { shared: Arc::new(shared) }
    }
}

impl Sink for TdengineSink {
    type Writer = TdengineWriter;

    fn capabilities(&self) -> Capabilities {
        Capabilities::new("taos").with_delivery(Delivery::Idempotent)
    }

    async fn plan(&self, table: &TableId, schema: &Arc<Schema>) -> Result<Plan> {
        let shared = &self.shared;
        let mut control = shared.control.lock().await;
        let session = shared.connected(&mut control)?;
        let ready = shared.look(session, table, schema).await?;
        let target = Arc::new(ready.target);
        let layout = Layout::of(&shared.options, schema, &target)?;
        let strategy = format!(
            "INSERT of literals{}, up to {} rows or {} bytes a statement",
            if target.is_super() { " into subtables" } else { "" },
            shared.options.statement_rows,
            shared.options.statement_bytes
        );
        let mut plan = Plan::new(layout.name.clone(), strategy, Delivery::Idempotent);
        plan.statements = ready.statements;
        let tags = layout.tags.iter().flat_map(|(tags, _)| tags.targets());
        for written in layout.values.targets().iter().chain(tags) {
            let Some(column) = schema.columns().get(written.column) else { continue };
            plan.casts.push(Cast {
                column: column.name().to_owned(),
                from: column.data_type().to_string(),
                to: written.column_type.to_string(),
                lossy: None,
            });
            if column.name() != written.name {
                plan.notes.push(format!(
                    "column {:?} goes to the table's time, {:?}",
                    column.name(),
                    written.name
                ));
            }
        }
        let counted: Vec<_> = schema
            .columns()
            .iter()
            .filter(|column| matches!(column.data_type(), DataType::VarChar(Some(_)) | DataType::Char(_)))
            .filter(|column| {
                let known = target.table.column(column.name()).and_then(|known| known.column_type);
                matches!(known, Some(ColumnType::VarChar(_)))
            })
            .map(|column| column.name().to_owned())
            .collect();
        // Of rows that come from TDengine, which name their subtables, the lengths are in bytes already.
        if !counted.is_empty() && schema.column(CHILD_COLUMN).is_none() {
            plan.notes.push(format!(
                "VARCHAR(n) has n bytes there, and many systems count characters: -T cast:NAME=nvarchar(n) makes room for n characters ({})",
                counted.join(", ")
            ));
        }
        let unit = target.unit.as_str();
        plan.notes.push(format!(
            "times are {unit} there; finer ones are rejected, if timestamp_ns=truncate is not given"
        ));
        let of = if target.is_super() { "its subtable" } else { "the table" };
        let key = match target.table.columns.iter().find(|column| column.key) {
            Some(key) => format!("of the same time and {:?}", key.name),
            None => "of the same time".to_owned(),
        };
        plan.notes.push(format!("a row replaces the one {key} that {of} has: {of} keeps one of them"));
        let wider: Vec<_> = schema
            .columns()
            .iter()
            .filter(|column| column.key().is_some() && column.name() != CHILD_COLUMN && !is_tag(column))
            .filter(|column| {
                let known = target.table.column(column.name());
                !known.is_some_and(|known| known.key || target.table.time() == Some(known))
            })
            .map(|column| column.name().to_owned())
            .collect();
        if !wider.is_empty() {
            plan.left_out
                .push(format!("the primary key's {}: rows are told apart by their time", wider.join(", ")));
        }
        let defined = schema.columns().iter().filter(|c| c.default().is_some() || c.values().is_some());
        plan.left_out.extend(defined.map(|column| format!("default and values of {:?}", column.name())));
        Ok(plan)
    }

    async fn prepare(&self, table: &TableId, schema: &Arc<Schema>) -> Result<()> {
        self.shared.prepare(table, schema).await.map(drop)
    }

    async fn start(&self, run: &Run) -> Result<()> {
        let shared = &self.shared;
        if run.fresh && !shared.options.pre_sql.is_empty() {
            shared.make_database().await?;
            shared.run("pre_sql", &shared.options.pre_sql).await?;
        }
        if shared.options.assert.is_none() {
            // Told at once, and not with the first row.
            let mut control = shared.control.lock().await;
            let session = shared.connected(&mut control)?;
            session.features().await?;
            if session.precision(&shared.options.connect.database).await?.is_none() {
                return Err(shared.no_database(session));
            }
        }
        Ok(())
    }

    async fn finish(&self, _job: &JobId) -> Result<()> {
        self.shared.run("post_sql", &self.shared.options.post_sql).await
    }

    async fn open(&self, _lane: &Lane) -> Result<TdengineWriter> {
        Ok(TdengineWriter::new(Arc::clone(&self.shared)))
    }
}
