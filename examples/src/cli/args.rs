//! What can be typed.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use kwsync_core::spec::{PipelineSpec, TransformSpec};
use kwsync_core::{Budget, Error, ErrorPolicy, Result};

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
    /// Turn bytes of one format into another, from standard input to standard output unless named
    Convert(ConvertArgs),
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
    pub(crate) from: String,
    /// Where data goes
    #[arg(short, long, value_name = "DSN", allow_hyphen_values = true)]
    pub(crate) to: String,
    /// The parser configuration as JSON, or @FILE
    #[arg(short, long, value_name = "JSON|@FILE")]
    pub(crate) parser: Option<String>,
    /// Change rows on their way; repeat it, they apply in order (see docs/transforms.md)
    #[arg(short = 'T', long, value_name = "T")]
    pub(crate) transform: Vec<String>,
    /// How many lanes read and write at the same time
    #[arg(short, long, value_name = "N", default_value_t = 1, env = "KWSYNC_JOBS")]
    pub(crate) jobs: usize,
    /// Name the job; a named job keeps its state and reads only what is new when run again
    #[arg(long, value_name = "NAME")]
    pub(crate) job: Option<String>,
    /// Forget what an earlier run of this job has done
    #[arg(long)]
    pub(crate) restart: bool,
    /// Show what would be done, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// The form of the report at the end
    #[arg(long, value_enum, default_value = "text", env = "KWSYNC_REPORT")]
    pub(crate) report: ReportForm,
    /// What happens to records that cannot be loaded: fail, skip, or reject:PATH
    #[arg(long, value_name = "WHAT", default_value = "fail", env = "KWSYNC_ERRORS")]
    pub(crate) errors: String,
    /// How many of them may be: a number or a share such as 0.5%
    #[arg(long, value_name = "N|P%", env = "KWSYNC_MAX_ERRORS")]
    pub(crate) max_errors: Option<String>,
    /// Rows of a batch
    #[arg(long, value_name = "N")]
    pub(crate) batch_rows: Option<usize>,
    /// Bytes of a batch
    #[arg(long, value_name = "N")]
    pub(crate) batch_bytes: Option<usize>,
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
    pub(crate) rate_bytes: Option<u64>,
    /// A statement for the target to run before the first row, once for a job; repeat it
    #[arg(long, value_name = "SQL")]
    pub(crate) pre_sql: Vec<String>,
    /// A statement for the target to run when all rows have settled; repeat it
    #[arg(long, value_name = "SQL")]
    pub(crate) post_sql: Vec<String>,
    /// How often a fault that may pass is tried again
    #[arg(long, value_name = "N", env = "KWSYNC_RETRIES")]
    pub(crate) retries: Option<u32>,
    /// Where the state of jobs is kept: file:DIR
    #[arg(long, value_name = "DSN", env = "KWSYNC_CHECKPOINT")]
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
        let mut spec = PipelineSpec::new(self.from.as_str(), self.to.as_str()).with_jobs(self.jobs);
        if self.jobs == 0 {
            return Err(Error::config("--jobs 0 would do nothing").with_hint("give at least 1"));
        }
        spec.parser = match &self.parser {
            Some(text) => Some(kwsync_core::config::Expand::from_environment().value("parser", text)?),
            None => None,
        };
        spec.transforms =
            self.transform.iter().map(|text| text.parse()).collect::<Result<Vec<TransformSpec>>>()?;
        spec.job = self.job.clone();
        spec.restart = self.restart;
        spec.errors = self.errors.parse::<ErrorPolicy>().map_err(|error| error.context("--errors"))?;
        if let Some(text) = &self.max_errors {
            spec.max_errors = text.parse::<Budget>().map_err(|error| error.context("--max-errors"))?;
        }
        (spec.batch_rows, spec.batch_bytes) = (self.batch_rows, self.batch_bytes);
        (spec.commit_rows, spec.linger_ms) = (self.commit_rows, self.linger);
        (spec.rate_rows, spec.rate_bytes) = (self.rate_rows, self.rate_bytes);
        (spec.pre_sql, spec.post_sql) = (self.pre_sql.clone(), self.post_sql.clone());
        spec.retries = self.retries;
        spec.checkpoint = self.checkpoint.as_deref().map(Into::into);
        Ok(spec)
    }
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
