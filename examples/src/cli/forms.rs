//! Jobs in the forms of other tools: `kwsync job`, `kwsync connect`, `kwsync external`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use kwsync::connect::Connectors;
use kwsync_core::config::Expand;
use kwsync_core::spec::kafka_connect::{self, Worker};
use kwsync_core::spec::{PipelineSpec, TransformSpec, Translation, datax, external};
use kwsync_core::{Budget, Error, ErrorPolicy, Result};

use tokio_util::sync::CancellationToken;

use super::args::{ReportForm, read_text};
use super::series::{self, Closing, How, Watch};
use super::{say, signals};

/// What may be said beside a file that says all else; it wins over the file.
#[derive(Debug, Args)]
pub(crate) struct OverArgs {
    /// Change rows on their way, behind what the file does to them; repeat it
    #[arg(short = 'T', long, value_name = "T")]
    pub(crate) transform: Vec<String>,
    /// How many lanes read and write at the same time
    #[arg(short, long, value_name = "N")]
    pub(crate) jobs: Option<usize>,
    /// Name the job; a named job keeps its state and reads only what is new when run again
    #[arg(long, value_name = "NAME")]
    pub(crate) job: Option<String>,
    /// Forget what an earlier run of this job has done
    #[arg(long)]
    pub(crate) restart: bool,
    /// Show what would be done, and do nothing
    #[arg(long, visible_alias = "explain")]
    pub(crate) dry_run: bool,
    /// Show the job as specs of `kwsync run --spec`, as JSON with their passwords, and do nothing
    #[arg(long)]
    pub(crate) show_spec: bool,
    /// The form of the report at the end
    #[arg(long, value_enum, default_value = "text", env = "KWSYNC_REPORT")]
    pub(crate) report: ReportForm,
    /// What happens to records that cannot be loaded: fail, skip, or reject:PATH (PATH-1, PATH-2 and so on for a job of
    /// several pipelines), or reject:kafka://BROKER:9092/TOPIC
    #[arg(long, value_name = "WHAT")]
    pub(crate) errors: Option<String>,
    /// How many of them may be: a number or a share such as 0.5%
    #[arg(long, value_name = "N|P%")]
    pub(crate) max_errors: Option<String>,
    /// Log each of them, with its place and its reason
    #[arg(long)]
    pub(crate) log_errors: bool,
    /// Where the state of jobs is kept: file:DIR
    #[arg(long, value_name = "DSN", env = "KWSYNC_CHECKPOINT")]
    pub(crate) checkpoint: Option<String>,
    /// Serve counters for Prometheus on this address while the job runs
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) metrics: Option<SocketAddr>,
    /// No progress, no text report
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

impl OverArgs {
    pub(super) fn apply(&self, specs: &mut [PipelineSpec]) -> Result<()> {
        if self.jobs == Some(0) {
            return Err(Error::config("--jobs 0 would do nothing").with_hint("give at least 1"));
        }
        let transforms =
            self.transform.iter().map(|text| text.parse()).collect::<Result<Vec<TransformSpec>>>()?;
        let errors = self.errors.as_deref().map(str::parse::<ErrorPolicy>).transpose();
        let errors = errors.map_err(|error| error.context("--errors"))?;
        let budget = self.max_errors.as_deref().map(str::parse::<Budget>).transpose();
        let budget = budget.map_err(|error| error.context("--max-errors"))?;
        let several = specs.len() > 1;
        for (at, spec) in specs.iter_mut().enumerate() {
            spec.transforms.extend(transforms.iter().cloned());
            spec.jobs = self.jobs.unwrap_or(spec.jobs);
            spec.restart |= self.restart;
            spec.errors = match &errors {
                // A file for each: a pipeline that starts cuts off what is in its own.
                Some(ErrorPolicy::Reject(path)) if several => ErrorPolicy::Reject(numbered(path, at + 1)),
                Some(errors) => errors.clone(),
                None => spec.errors.clone(),
            };
            spec.max_errors = budget.unwrap_or(spec.max_errors);
            spec.log_errors |= self.log_errors;
            if let Some(name) = &self.job {
                spec.job = Some(if several { format!("{name}-{}", at + 1) } else { name.clone() });
            }
            if let Some(checkpoint) = &self.checkpoint {
                spec.checkpoint = Some(checkpoint.as_str().into());
            }
        }
        Ok(())
    }

    /// Runs what a file says, or shows it.
    pub(super) async fn run(&self, made: Translation, closing: Closing) -> Result<u8> {
        self.run_watched(made, closing, None).await
    }

    /// As [`run`](Self::run), and beside each pipeline what looks at it.
    pub(super) async fn run_watched(
        &self,
        mut made: Translation,
        closing: Closing,
        watch: Option<Watch>,
    ) -> Result<u8> {
        self.apply(&mut made.specs)?;
        if self.show_spec {
            let shown = serde_json::to_string_pretty(&made.specs).map_err(super::run::internal)?;
            say(&format!("{shown}\n"))?;
            return Ok(0);
        }
        let how = How {
            dry_run: self.dry_run,
            quiet: self.quiet,
            report: self.report,
            metrics: self.metrics,
            named: self.job.is_some(),
            closing,
            watch,
        };
        series::run(made, &how).await
    }
}

/// `bad.jsonl` as `bad-2.jsonl`.
fn numbered(path: &Path, number: usize) -> PathBuf {
    let mut name = path.file_stem().unwrap_or_default().to_owned();
    name.push(format!("-{number}"));
    if let Some(ending) = path.extension() {
        name.push(".");
        name.push(ending);
    }
    path.with_file_name(name)
}

#[derive(Debug, Args)]
pub(crate) struct JobArgs {
    /// The job: JSON; comments and commas behind a last value are fine
    #[arg(required_unless_present_any = ["template", "reader"])]
    pub(crate) file: Option<PathBuf>,
    /// Print a job of this reader and this writer, to be filled in
    #[arg(long, num_args = 2, value_names = ["READER", "WRITER"], conflicts_with = "file")]
    pub(crate) template: Vec<String>,
    /// With -w, the same as --template
    #[arg(short, long, value_name = "READER", requires = "writer", conflicts_with_all = ["file", "template"])]
    pub(crate) reader: Option<String>,
    /// With -r, the same as --template
    #[arg(short, long, value_name = "WRITER", requires = "reader")]
    pub(crate) writer: Option<String>,
    /// Values for what stands as ${NAME} in the job: "-Dname=value -Dname=value"; others come from the environment
    #[arg(short, long, value_name = "-Dname=value", allow_hyphen_values = true)]
    pub(crate) params: Vec<String>,
    /// Ignored: there is no Java here
    #[arg(long, value_name = "OPTIONS", allow_hyphen_values = true)]
    pub(crate) jvm: Option<String>,
    #[command(flatten)]
    pub(crate) over: OverArgs,
}

pub(crate) async fn job(args: &JobArgs) -> Result<u8> {
    let names = args.template.iter().chain(&args.reader).chain(&args.writer).collect::<Vec<_>>();
    if let [reader, writer] = names.as_slice() {
        say(&datax::template(reader, writer)?)?;
        return Ok(0);
    }
    let Some(path) = &args.file else {
        return Err(Error::config("no job is named").with_hint("kwsync job FILE.json"));
    };
    let text = datax::substitute(&read_text(path)?, &definitions(&args.params)?);
    let mut made = datax::read(&path.display().to_string(), &text)?;
    if args.jvm.is_some() {
        made.notes.push("--jvm is ignored: there is no Java here".to_owned());
    }
    args.over.run(made, Closing::DataX).await
}

/// `-Dname=value -Dname=value`, in one argument or in several.
fn definitions(params: &[String]) -> Result<Vec<(String, String)>> {
    let expand = Expand::from_environment();
    let mut made = Vec::new();
    for item in params.iter().flat_map(|text| text.split_whitespace()) {
        let pair = item.strip_prefix("-D").and_then(|pair| pair.split_once('='));
        let Some((name, value)) = pair.filter(|(name, _)| !name.is_empty()) else {
            return Err(Error::config(format!("--params: {item:?} defines nothing"))
                .with_hint("write --params \"-Dname=value -Dname=value\""));
        };
        made.push((name.to_owned(), expand.variables("--params", value)?));
    }
    Ok(made)
}

#[derive(Debug, Args)]
pub(crate) struct ConnectArgs {
    /// A sink or a source of Kafka Connect: JSON as it is posted, or properties
    #[arg(required_unless_present = "listen")]
    pub(crate) file: Option<PathBuf>,
    /// Run connectors until stopped, and listen for the requests of Kafka Connect's REST interface
    #[arg(
        long,
        value_name = "HOST:PORT",
        num_args = 0..=1,
        default_missing_value = "127.0.0.1:8083",
        conflicts_with_all = ["transform", "jobs", "job", "restart", "dry_run", "show_spec", "errors", "max_errors", "checkpoint"]
    )]
    pub(crate) listen: Option<SocketAddr>,
    /// Where connectors and their checkpoints are kept; a folder of the user's without it
    #[arg(long, value_name = "DIR", env = "KWSYNC_CONNECTORS", requires = "listen")]
    pub(crate) state: Option<PathBuf>,
    /// The brokers; localhost:9092 where nothing names them
    #[arg(long, value_name = "HOST:PORT,...", conflicts_with = "worker")]
    pub(crate) bootstrap_servers: Option<String>,
    /// The file of a worker that names the brokers: connect-distributed.properties
    #[arg(long, value_name = "FILE")]
    pub(crate) worker: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) over: OverArgs,
}

pub(crate) async fn connect(args: &ConnectArgs) -> Result<u8> {
    let worker = match (&args.bootstrap_servers, &args.worker) {
        (Some(list), _) => Worker::new(list).map_err(|error| error.context("--bootstrap-servers"))?,
        (None, Some(path)) => Worker::from_properties(&path.display().to_string(), &read_text(path)?)?,
        (None, None) => Worker::default(),
    };
    let Some(path) = &args.file else { return listen(args, worker, None).await };
    let (name, text) = (path.display().to_string(), read_text(path)?);
    if args.listen.is_some() {
        return listen(args, worker, Some(kafka_connect::config(&name, &text)?)).await;
    }
    let made = kafka_connect::read(&name, &text, &worker)?;
    args.over.run(made, Closing::Plain).await
}

#[derive(Debug, Args)]
pub(crate) struct ExternalArgs {
    /// A file of statements: CREATE [READABLE | WRITABLE] EXTERNAL TABLE, INSERT INTO ... SELECT
    pub(crate) file: PathBuf,
    /// The database that the other tables are in
    #[arg(short, long, value_name = "DSN")]
    pub(crate) database: String,
    #[command(flatten)]
    pub(crate) over: OverArgs,
}

pub(crate) async fn external(args: &ExternalArgs) -> Result<u8> {
    let (name, text) = (args.file.display().to_string(), read_text(&args.file)?);
    args.over.run(external::read(&name, &text, &args.database)?, Closing::Plain).await
}

/// Serves connectors, that of a file among them.
async fn listen(
    args: &ConnectArgs,
    worker: Worker,
    first: Option<(String, serde_json::Map<String, serde_json::Value>)>,
) -> Result<u8> {
    let Some(address) = args.listen else { return Ok(0) };
    let dir = args.state.clone().unwrap_or_else(|| kwsync::state_dir().join("connectors"));
    let connectors = Connectors::open(dir, worker, kwsync::registry())?;
    let listener = tokio::net::TcpListener::bind(address).await.map_err(|error| {
        Error::config(format!("cannot listen at {address}: {error}"))
            .with_hint("another program may have the port: --listen HOST:PORT")
    })?;
    let address = listener.local_addr().unwrap_or(address);
    if let Some(metrics) = args.over.metrics {
        super::metrics::serve(metrics)?;
    }
    let cancel = CancellationToken::new();
    let stopped = signals::cancel_on_signal(cancel.clone())?;
    if let Some((name, config)) = first {
        connectors.put(&name, config, true).await?;
    }
    if !args.over.quiet {
        eprintln!("kwsync: connectors are told what to do at http://{address}/connectors");
    }
    connectors.serve(listener, cancel.clone()).await?;
    Ok(if cancel.is_cancelled() { stopped.status() } else { 0 })
}
