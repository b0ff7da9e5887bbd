//! What can be typed.

use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};
use kwsync_core::config::Expand;
use kwsync_core::spec::{PipelineSpec, Settings};
use kwsync_core::{Error, Result};

use super::dbsync::DbsyncArgs;
use super::forms::{ConnectArgs, ExternalArgs, JobArgs};
use super::serve::{self, ServeArgs};
use super::verify::VerifyArgs;

/// Moves time-series and relational data between files and databases, fast and without losing a row.
#[derive(Debug, Parser)]
#[command(name = "kwsync", version, arg_required_else_help = true)]
#[command(after_help = "`kwsync -f FROM -t TO` without a command is `kwsync run`.\n\
    Exit status: 0 done, 1 failed, 2 wrong usage or configuration, 3 done with rejects, 4 too many rejects,\n\
    130 or 143 interrupted (run the same command again to resume).")]
pub(crate) struct Cli {
    /// Say more: -v what happens, -vv in detail, -vvv everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Load the bundled data set into Parquet files under ./kwsync-demo; needs no server
    Demo(DemoArgs),
    /// Move data from one address to another
    Run(Box<RunArgs>),
    /// Listen for rows by HTTP and telnet, as InfluxDB and OpenTSDB do, and write them; runs until a signal stops it
    Serve(Box<ServeArgs>),
    /// Run a job of DataX, or print one to be filled in
    Job(Box<JobArgs>),
    /// Run a sink or a source of Kafka Connect
    Connect(Box<ConnectArgs>),
    /// Migrate a database as rds_dbsync's mysql2pgsql and pgsql2pgsql do, by its my.cfg
    Dbsync(Box<DbsyncArgs>),
    /// Run statements of external tables on object storage, as AnalyticDB for PostgreSQL has them
    External(Box<ExternalArgs>),
    /// Turn bytes of one format into another, from standard input to standard output unless named
    Convert(ConvertArgs),
    /// Print the statements that would make the tables of a migration, and what they leave out
    Ddl(DdlArgs),
    /// Compare the tables of both sides, row by row, by value; the exit status is 3 where they differ
    Verify(VerifyArgs),
    /// Make, start, stop, drop and show pipes, and run them; a prompt when nothing is typed
    Pipe(PipeArgs),
    /// Show every source, sink and format with its parameters
    Connectors(ConnectorsArgs),
}

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Where to write
    #[arg(long, default_value = "kwsync-demo")]
    pub(crate) dir: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct DdlArgs {
    /// Where the tables are
    #[arg(short, long, value_name = "DSN")]
    pub(crate) from: String,
    /// Where they would be made
    #[arg(short, long, value_name = "DSN")]
    pub(crate) to: String,
    /// The schema that the tables would be made in, as schema= in the target's address
    #[arg(short, long, value_name = "NAME")]
    pub(crate) schema: Option<String>,
    /// Change tables and columns on their way; repeat it, they apply in order (see docs/transforms.md)
    #[arg(short = 'T', long, value_name = "T")]
    pub(crate) transform: Vec<String>,
}

impl DdlArgs {
    pub(crate) fn spec(&self) -> Result<PipelineSpec> {
        let mut to = self.to.clone();
        if let Some(schema) = &self.schema {
            let encoded: String = schema.bytes().map(|byte| format!("%{byte:02X}")).collect();
            to.push_str(&format!("{}schema={encoded}", if to.contains('?') { '&' } else { '?' }));
        }
        let mut settings = Settings::new().with_flag("from", "--from", self.from.as_str());
        settings = settings.with_flag("to", "--to", to.as_str());
        for transform in &self.transform {
            settings = settings.with_flag("transforms", "--transform", transform.as_str());
        }
        settings.spec()
    }
}

#[derive(Debug, Args)]
pub(crate) struct ConnectorsArgs {
    /// One of them, in detail
    pub(crate) name: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum ReportForm {
    Text,
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Where data comes from: a file, a pattern, '-', or driver://...
    #[arg(short, long, value_name = "DSN", allow_hyphen_values = true)]
    pub(crate) from: Option<String>,
    /// Where data goes
    #[arg(short, long, value_name = "DSN", allow_hyphen_values = true)]
    pub(crate) to: Option<String>,
    /// A file with all of this, YAML or JSON, or a my.cfg of rds_dbsync; flags win over it, and it wins over variables KWSYNC_JOBS and so on
    #[arg(long, value_name = "FILE")]
    pub(crate) spec: Option<PathBuf>,
    /// The parser configuration as JSON, or @FILE
    #[arg(short, long, value_name = "JSON|@FILE")]
    pub(crate) parser: Option<String>,
    /// Change rows on their way; repeat it, they apply in order (see docs/transforms.md)
    #[arg(short = 'T', long, value_name = "T")]
    pub(crate) transform: Vec<String>,
    /// How many lanes read and write at the same time; 1 unless given
    #[arg(short, long, value_name = "N")]
    pub(crate) jobs: Option<usize>,
    /// Name the job; a named job keeps its state and reads only what is new when run again
    #[arg(long, value_name = "NAME")]
    pub(crate) job: Option<String>,
    /// Forget what an earlier run of this job has done
    #[arg(long)]
    pub(crate) restart: bool,
    /// End the job for good: forget what it has done, here and in the target, and what the source keeps for it, as a replication slot; move nothing
    #[arg(long, conflicts_with_all = ["restart", "dry_run"])]
    pub(crate) forget: bool,
    /// Show what would be done, and do nothing
    #[arg(long, visible_alias = "explain")]
    pub(crate) dry_run: bool,
    /// The form of the report at the end
    #[arg(long, value_enum, default_value = "text", env = "KWSYNC_REPORT")]
    pub(crate) report: ReportForm,
    /// What happens to records that cannot be loaded: fail (the default), skip, reject:PATH, or
    /// reject:kafka://BROKER:9092/TOPIC
    #[arg(long, value_name = "WHAT")]
    pub(crate) errors: Option<String>,
    /// How many of them may be: a number or a share such as 0.5%
    #[arg(long, value_name = "N|P%")]
    pub(crate) max_errors: Option<String>,
    /// Log each of them, with its place and its reason
    #[arg(long)]
    pub(crate) log_errors: bool,
    /// Rows of a batch
    #[arg(long, value_name = "N")]
    pub(crate) batch_rows: Option<usize>,
    /// Bytes of a batch
    #[arg(long, value_name = "N")]
    pub(crate) batch_bytes: Option<String>,
    /// Rows between two commits of a lane
    #[arg(long, value_name = "N")]
    pub(crate) commit_rows: Option<u64>,
    /// Milliseconds that a row may wait for others
    #[arg(long, value_name = "MS")]
    pub(crate) linger: Option<u64>,
    /// At most so many rows a second
    #[arg(long, value_name = "N")]
    pub(crate) rate_rows: Option<u64>,
    /// At most so many bytes of input a second
    #[arg(long, value_name = "N")]
    pub(crate) rate_bytes: Option<String>,
    /// A statement for the target to run before the first row, once for a job; repeat it
    #[arg(long, value_name = "SQL")]
    pub(crate) pre_sql: Vec<String>,
    /// A statement for the target to run when all rows have settled; repeat it
    #[arg(long, value_name = "SQL")]
    pub(crate) post_sql: Vec<String>,
    /// How often a fault that may pass is tried again
    #[arg(long, value_name = "N")]
    pub(crate) retries: Option<u32>,
    /// Milliseconds of the longest wait between two tries
    #[arg(long, value_name = "MS")]
    pub(crate) retry_wait: Option<u64>,
    /// Where the state of jobs is kept: file:DIR
    #[arg(long, value_name = "DSN")]
    pub(crate) checkpoint: Option<String>,
    /// Serve counters in Prometheus' text form on this address while the job runs: 127.0.0.1:9187
    #[arg(long, value_name = "HOST:PORT", env = "KWSYNC_METRICS")]
    pub(crate) metrics: Option<std::net::SocketAddr>,
    /// No progress, no text report
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

impl RunArgs {
    pub(crate) fn spec(&self) -> Result<PipelineSpec> {
        // What is no text is not for us, and must not stop anybody.
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| name.into_string().ok().zip(value.into_string().ok()));
        let mut settings = Settings::new().with_environment(variables);
        if self.from.as_deref().is_some_and(serve::is_service) {
            let unset =
                |(name, _): &(&str, &str)| std::env::var_os(name).is_none_or(|value| value.is_empty());
            settings = settings.with_environment(serve::DEFAULTS.into_iter().filter(unset));
        }
        if let Some(path) = &self.spec {
            let (name, text) = (path.display().to_string(), read_text(path)?);
            settings = match path.extension().is_some_and(|ending| ending == "cfg") {
                true => settings.with_file(&name, &super::dbsync::as_json(&name, &text)?)?,
                false => settings.with_file(&name, &text)?,
            };
        }
        let number = |value: Option<u64>| value.map(|value| value.to_string());
        let count = |value: Option<usize>| value.map(|value| value.to_string());
        for (key, flag, value) in [
            ("from", "--from", self.from.clone()),
            ("to", "--to", self.to.clone()),
            ("parser", "--parser", self.parser.clone()),
            ("job", "--job", self.job.clone()),
            ("restart", "--restart", self.restart.then(|| "true".to_owned())),
            ("jobs", "--jobs", count(self.jobs)),
            ("errors", "--errors", self.errors.clone()),
            ("log_errors", "--log-errors", self.log_errors.then(|| "true".to_owned())),
            ("max_errors", "--max-errors", self.max_errors.clone()),
            ("batch_rows", "--batch-rows", count(self.batch_rows)),
            ("batch_bytes", "--batch-bytes", self.batch_bytes.clone()),
            ("commit_rows", "--commit-rows", number(self.commit_rows)),
            ("linger_ms", "--linger", number(self.linger)),
            ("rate_rows", "--rate-rows", number(self.rate_rows)),
            ("rate_bytes", "--rate-bytes", self.rate_bytes.clone()),
            ("retries", "--retries", number(self.retries.map(u64::from))),
            ("retry_wait_ms", "--retry-wait", number(self.retry_wait)),
            ("checkpoint", "--checkpoint", self.checkpoint.clone()),
        ] {
            if let Some(value) = value {
                settings = settings.with_flag(key, flag, value);
            }
        }
        for (key, flag, values) in [
            ("transforms", "--transform", &self.transform),
            ("pre_sql", "--pre-sql", &self.pre_sql),
            ("post_sql", "--post-sql", &self.post_sql),
        ] {
            settings =
                values.iter().fold(settings, |settings, value| settings.with_flag(key, flag, value.as_str()));
        }
        settings.spec()?.expand_parser(&Expand::from_environment())
    }
}

/// The text of a file of configuration.
pub(crate) fn read_text(path: &Path) -> Result<String> {
    let shown = path.display();
    let bytes = std::fs::read(path).map_err(|error| {
        // Wrong usage rather than a fault of the system: nothing has been touched.
        let fault = Error::io(format_args!("cannot read {shown}"), error);
        Error::config(fault.message().to_owned()).with_hint(fault.hint().unwrap_or_default().to_owned())
    })?;
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Error::config(format!("{shown} is not UTF-8 (byte {at})")).with_hint("save it as UTF-8")
    })
}

#[derive(Debug, Args)]
pub(crate) struct PipeArgs {
    /// Statements: CREATE|START|STOP|DROP PIPE name, SHOW PIPES, SHOW PIPEPLUGINS; standard input when absent
    #[arg(value_name = "SQL")]
    pub(crate) statements: Vec<String>,
    /// Run the pipes until a signal stops them
    #[arg(long)]
    pub(crate) run: bool,
    /// Run the pipes until none is RUNNING any more
    #[arg(long)]
    pub(crate) until_done: bool,
    /// The folder of the definitions and checkpoints; the user's state folder when absent
    #[arg(long, value_name = "DIR", env = "KWSYNC_PIPES")]
    pub(crate) state: Option<PathBuf>,
    /// IoTDB's iotdb-common.properties, for what it says of pipes
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// As that version has it: with 1.3.0 a pipe that is made is STOPPED
    #[arg(long, value_name = "VERSION", value_parser = ["1.3.0", "1.3.1"])]
    pub(crate) pipe_compat: Option<String>,
    /// Serve counters in Prometheus' text form on this address while pipes run
    #[arg(long, value_name = "HOST:PORT", env = "KWSYNC_METRICS")]
    pub(crate) metrics: Option<std::net::SocketAddr>,
}

#[derive(Debug, Args)]
pub(crate) struct ConvertArgs {
    /// The format of the input, with its parameters: csv?header=true
    #[arg(short, long, value_name = "FORMAT[?KEY=VALUE&...]")]
    pub(crate) from: String,
    /// The format of the output; `points` shows what the parser saw
    #[arg(short, long, value_name = "FORMAT[?KEY=VALUE&...]")]
    pub(crate) to: String,
    /// The unit of timestamps in the input
    #[arg(long, value_name = "s|ms|us|ns|auto")]
    pub(crate) precision: Option<String>,
    /// What happens to records that cannot be read: fail, skip, or reject:PATH
    #[arg(long, value_name = "WHAT", default_value = "fail")]
    pub(crate) errors: String,
    /// The input; standard input when absent or '-'
    pub(crate) input: Option<String>,
    /// The output; standard output when absent or '-'
    pub(crate) output: Option<PathBuf>,
}
