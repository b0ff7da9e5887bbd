//! The sink: which of the two kinds the database is, and what follows from it.

use std::sync::{Arc, OnceLock};

use kwsync_core::system::postgres::profile::{Profile, Server};
use kwsync_core::system::postgres::wire::Connection;
use kwsync_core::{
    Capabilities, Checkpoint, Error, ErrorKind, JobId, Lane, Plan, Result, Run, Schema, Sink, TableId,
};
use tokio::sync::Mutex;

use super::catalog;
use super::series::{STATEMENT_ROWS, Series};
use super::writer::{KwdbWriter, SeriesWriter};
use crate::postgres::{PostgresOptions, PostgresSink};

/// Writes to a database of KWDB.
///
/// # Examples
/// ```
/// use kwsync_core::system::postgres::wire::ConnectConfig;
/// use kwsync_sinks::kwdb::KwdbSink;
/// use kwsync_sinks::postgres::PostgresOptions;
///
/// let connect = ConnectConfig::new("localhost", 26257, "root", "benchmark");
/// let sink = KwdbSink::new(PostgresOptions::new(connect)).with_statement_rows(5_000);
/// ```
#[derive(Debug)]
pub struct KwdbSink {
    options: PostgresOptions,
    statement_rows: usize,
    kind: OnceLock<Kind>,
    /// The session for the catalog and DDL
    control: Mutex<Option<Connection>>,
}

#[derive(Debug)]
enum Kind {
    Relational(Box<PostgresSink>),
    Series(Arc<Series>),
}

impl KwdbSink {
    /// A sink for the server and with the options given. Nothing is connected yet.
    #[must_use]
    pub fn new(options: PostgresOptions) -> Self {
        Self { options, statement_rows: STATEMENT_ROWS, kind: OnceLock::new(), control: Mutex::new(None) }
    }

    /// The most rows of one statement for time series (default 10,000).
    #[must_use]
    pub fn with_statement_rows(mut self, rows: usize) -> Self {
        self.statement_rows = rows.max(1);
        self
    }

    /// The control session, connected, and the kind of the database, asked once.
    async fn control(&self) -> Result<(&Kind, tokio::sync::MutexGuard<'_, Option<Connection>>)> {
        let mut control = self.control.lock().await;
        if control.as_ref().is_none_or(Connection::is_broken) {
            *control = Some(Connection::connect(&self.options.connect).await?);
        }
        if self.kind.get().is_none()
            && let Some(connection) = control.as_mut()
        {
            let server = match self.options.profile {
                Some(server) => server,
                None => Profile::probe(connection).await?.server,
            };
            let kind = if server == Server::KwdbTimeSeries {
                let series = Series::new(self.options.clone(), self.statement_rows)?;
                series.ask_rule(connection).await?;
                Kind::Series(Arc::new(series))
            } else {
                Kind::Relational(Box::new(PostgresSink::new(self.options.clone())))
            };
            // Under the lock nobody else sets it.
            drop(self.kind.set(kind));
        }
        let kind = self
            .kind
            .get()
            .ok_or_else(|| Error::new(ErrorKind::Internal, "the kind of database is unknown"))?;
        Ok((kind, control))
    }
}

fn connected(control: &mut Option<Connection>) -> Result<&mut Connection> {
    control.as_mut().ok_or_else(|| Error::new(ErrorKind::Internal, "the control session is gone"))
}

impl Sink for KwdbSink {
    type Writer = KwdbWriter;

    fn capabilities(&self) -> Capabilities {
        match self.kind.get() {
            Some(Kind::Relational(sink)) => sink.capabilities(),
            Some(Kind::Series(series)) => Capabilities::new("kwdb").with_delivery(series.delivery()),
            None => Capabilities::new("kwdb"),
        }
    }

    async fn plan(&self, table: &TableId, schema: &Arc<Schema>) -> Result<Plan> {
        let (kind, mut control) = self.control().await?;
        match kind {
            Kind::Relational(sink) => sink.plan(table, schema).await,
            Kind::Series(series) => series.plan(connected(&mut control)?, table, schema).await,
        }
    }

    async fn prepare(&self, table: &TableId, schema: &Arc<Schema>) -> Result<()> {
        let (kind, mut control) = self.control().await?;
        let series = match kind {
            Kind::Relational(sink) => return sink.prepare(table, schema).await,
            Kind::Series(series) => series,
        };
        let connection = connected(&mut control)?;
        let ready = series.look(connection, table, schema).await?;
        for statement in &ready.statements {
            let done = connection.simple_query(statement).await;
            done.map_err(|error| error.context(format!("cannot prepare {table}: {statement}")))?;
        }
        let target = series.target(table);
        let found = match ready.found.filter(|_| ready.statements.is_empty()) {
            Some(found) => found,
            None => catalog::table(connection, &target)
                .await?
                .ok_or_else(|| Error::new(ErrorKind::NotFound, format!("table {target} is gone again")))?,
        };
        // Here, and not with the first row, types that do not go together are told.
        series.encoder(&found, schema)?;
        series.learn(target, found);
        Ok(())
    }

    async fn start(&self, run: &Run) -> Result<()> {
        let (kind, _control) = self.control().await?;
        match kind {
            Kind::Relational(sink) => sink.start(run).await,
            Kind::Series(_) => Ok(()),
        }
    }

    async fn finish(&self, job: &JobId) -> Result<()> {
        match self.kind.get() {
            Some(Kind::Relational(sink)) => sink.finish(job).await,
            _ => Ok(()),
        }
    }

    async fn forget(&self, job: &JobId) -> Result<()> {
        let (kind, _control) = self.control().await?;
        match kind {
            Kind::Relational(sink) => sink.forget(job).await,
            Kind::Series(_) => Ok(()),
        }
    }

    async fn begin(&self, checkpoint: &Checkpoint) -> Result<Checkpoint> {
        match self.kind.get() {
            Some(Kind::Relational(sink)) => sink.begin(checkpoint).await,
            _ => Ok(checkpoint.clone()),
        }
    }

    async fn open(&self, lane: &Lane) -> Result<KwdbWriter> {
        let (kind, _control) = self.control().await?;
        Ok(match kind {
            Kind::Relational(sink) => KwdbWriter::Relational(Box::new(sink.open(lane).await?)),
            Kind::Series(series) => KwdbWriter::Series(Box::new(SeriesWriter::new(Arc::clone(series)))),
        })
    }
}
