//! `kwsync dbsync`: whole databases, by the `my.cfg` of rds_dbsync.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use kwsync_core::config::Expand;
use kwsync_core::spec::dbsync::{self, SourceKind, SyncOptions};
use kwsync_core::spec::{Address, PipelineSpec};
use kwsync_core::system::postgres::wire::{ConnectConfig, Connection};
use kwsync_core::{Error, Progress, Result};

use super::args::read_text;
use super::ddl;
use super::forms::OverArgs;
use super::series::{Closing, Watch};

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Source {
    Mysql,
    Pgsql,
}

#[derive(Debug, Args)]
pub(crate) struct DbsyncArgs {
    /// The file with the addresses of both sides
    #[arg(default_value = "my.cfg")]
    pub(crate) file: PathBuf,
    /// A file with the tables, one a line: TABLE, or TABLE : select ...; all tables of the database when absent
    #[arg(short, long, value_name = "FILE")]
    pub(crate) list: Option<PathBuf>,
    /// Print the statements that would make the tables, and do nothing
    #[arg(short, long)]
    pub(crate) ddl: bool,
    /// Leave the definitions of partitions out of them, which is always so
    #[arg(short, long, requires = "ddl")]
    pub(crate) no_partitions: bool,
    /// The schema of the tables in the target
    #[arg(short, long, value_name = "SCHEMA", default_value = "public")]
    pub(crate) schema: String,
    /// Follow inserts, updates and deletes once all tables are there, until it is stopped, as pgsql2pgsql does; of [src.mysql] by the binary log
    #[arg(short, long, conflicts_with = "ddl")]
    pub(crate) incremental: bool,
    /// Which source to read, where the file has two
    #[arg(long, value_enum)]
    pub(crate) source: Option<Source>,
    #[command(flatten)]
    pub(crate) over: OverArgs,
}

pub(crate) async fn run(args: &DbsyncArgs) -> Result<u8> {
    let list = match &args.list {
        Some(path) => Some((path.display().to_string(), read_text(path)?)),
        None => None,
    };
    let options = SyncOptions {
        source: args.source.map(|source| match source {
            Source::Mysql => SourceKind::Mysql,
            Source::Pgsql => SourceKind::Postgres,
        }),
        list,
        jobs: args.over.jobs,
        schema: Some(args.schema.clone()),
        incremental: args.incremental,
    };
    let sync = dbsync::read(&args.file.display().to_string(), &read_text(&args.file)?, &options)?;
    if args.ddl {
        for spec in &sync.translation.specs {
            ddl::show(spec).await?;
        }
        return Ok(0);
    }
    if args.over.dry_run || args.over.show_spec {
        return args.over.run(sync.translation, Closing::Plain).await;
    }
    let job = job_name(args, &sync.translation.specs)?;
    let status = Arc::new(Status::open(&sync.status, job, args.incremental)?);
    status.begin(args.over.restart).await?;
    let watch: Option<Watch> = args.incremental.then(|| {
        let status = Arc::clone(&status);
        let watch: Watch = Box::new(move |progress| Box::pin(when_copied(Arc::clone(&status), progress)));
        watch
    });
    let done = args.over.run_watched(sync.translation, Closing::Plain, watch).await;
    let state = match &done {
        Ok(0) => "done",
        Ok(3) => "done with rejects",
        Ok(130 | 143) => "interrupted",
        _ => "failed",
    };
    // A fault here must not hide what became of the migration.
    if let Err(error) = status.end(state).await {
        eprintln!("kwsync: {}", error.context("db_sync_status").report());
    }
    done
}

/// A `my.cfg` as a spec file of `kwsync run`.
pub(super) fn as_json(name: &str, text: &str) -> Result<String> {
    let sync = dbsync::read(name, text, &SyncOptions::default())?;
    sync.translation.notes.iter().for_each(|note| eprintln!("kwsync: note: {note}"));
    let Some(spec) = sync.translation.specs.first() else {
        return Err(Error::config(format!("{name} names nothing to migrate")));
    };
    let said = serde_json::json!({"from": spec.from, "to": spec.to, "jobs": spec.jobs});
    Ok(said.to_string())
}

/// What tells the migration from others: its name, or what makes its first pipeline the one it is.
fn job_name(args: &DbsyncArgs, specs: &[PipelineSpec]) -> Result<String> {
    match (&args.over.job, specs.first()) {
        (Some(name), _) => Ok(name.clone()),
        (None, Some(spec)) => Ok(spec.job_id()?.to_string()),
        (None, None) => Err(Error::config("there is nothing to migrate")),
    }
}

/// Notes when the copy is over and the stream begins.
async fn when_copied(status: Arc<Status>, progress: Arc<Progress>) {
    loop {
        let now = progress.snapshot();
        // The stream is the last of the pieces, and has no end.
        if now.splits_total > 0 && now.splits_done + 1 >= now.splits_total {
            if let Err(error) = status.copied().await {
                eprintln!("kwsync: {}", error.context("db_sync_status").report());
            }
            return;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// The row of a migration in the table `db_sync_status`.
struct Status {
    config: ConnectConfig,
    job: String,
    incremental: bool,
}

const CREATE: &str = "CREATE TABLE IF NOT EXISTS db_sync_status (job text PRIMARY KEY, full_s_start timestamptz NOT NULL, \
                      full_s_end timestamptz, state text NOT NULL, increment_s_start timestamptz)";
/// A table of an earlier version lacks it; not every server knows IF NOT EXISTS here.
const HAS_INCREMENT: &str = "SELECT 1 FROM pg_catalog.pg_attribute WHERE attrelid = 'db_sync_status'::regclass \
                             AND attname = 'increment_s_start' AND NOT attisdropped";
const ADD_INCREMENT: &str = "ALTER TABLE db_sync_status ADD COLUMN increment_s_start timestamptz";
/// One that was broken off goes on; one that was done begins anew.
const AGAIN: &str = "UPDATE db_sync_status SET full_s_start = CASE WHEN full_s_end IS NULL OR state IN ('failed', 'interrupted') \
                     THEN full_s_start ELSE now() END, full_s_end = NULL, state = 'running' WHERE job = $1";
const FIRST: &str = "INSERT INTO db_sync_status (job, full_s_start, state) VALUES ($1, now(), 'running')";
/// The times of an incremental one stay those of its beginning, unless it is begun anew.
const ON: &str = "UPDATE db_sync_status SET state = 'running' WHERE job = $1";
const ANEW: &str = "UPDATE db_sync_status SET full_s_start = now(), full_s_end = NULL, increment_s_start = NULL, state = 'running' WHERE job = $1";
const COPIED: &str = "UPDATE db_sync_status SET full_s_end = coalesce(full_s_end, now()), increment_s_start = coalesce(increment_s_start, now()), \
                      state = 'incremental' WHERE job = $1";
const STOPPED: &str = "UPDATE db_sync_status SET state = $2 WHERE job = $1";
const END: &str = "UPDATE db_sync_status SET full_s_end = now(), state = $2 WHERE job = $1";

impl Status {
    fn open(address: &Address, job: String, incremental: bool) -> Result<Self> {
        let dsn = address.dsn()?.expand(&Expand::from_environment())?;
        let mut config = ConnectConfig::from_dsn(&dsn, 5_432)?;
        if let Some(mode) = dsn.get("sslmode") {
            config = config.with_ssl_mode(mode.parse()?);
        }
        if let Some(path) = dsn.get("sslrootcert") {
            config = config.with_ssl_root_cert(path);
        }
        Ok(Self { config, job, incremental })
    }

    async fn begin(&self, restart: bool) -> Result<()> {
        let mut connection = Connection::connect(&self.config).await?;
        connection.simple_query(CREATE).await?;
        if self.incremental && connection.query(HAS_INCREMENT, &[]).await?.rows.is_empty() {
            connection.simple_query(ADD_INCREMENT).await?;
        }
        let again = match (self.incremental, restart) {
            (false, _) => AGAIN,
            (true, false) => ON,
            (true, true) => ANEW,
        };
        if connection.query(again, &[Some(&self.job)]).await?.affected() == 0 {
            connection.query(FIRST, &[Some(&self.job)]).await?;
        }
        Ok(())
    }

    /// The copy is over, and changes are followed.
    async fn copied(&self) -> Result<()> {
        let mut connection = Connection::connect(&self.config).await?;
        connection.query(COPIED, &[Some(&self.job)]).await.map(|_| ())
    }

    /// In a session of its own: the first would have been idle for hours.
    async fn end(&self, state: &str) -> Result<()> {
        let mut connection = Connection::connect(&self.config).await?;
        let end = if self.incremental { STOPPED } else { END };
        connection.query(end, &[Some(&self.job), Some(state)]).await.map(|_| ())
    }
}
