//! `kwsync serve`.

use std::net::SocketAddr;
use std::path::Path;

use clap::Args;
use kwsync_core::config::{Dsn, Registry};
use kwsync_core::{Error, Result};
use kwsync_sources::listen::{self, Listening};

use super::args::{ReportForm, RunArgs};
use super::run;

/// What is set where nobody has set it: one client's bad line, or a database that is away for an hour, is no reason to end a
/// service.
pub(super) const DEFAULTS: [(&str, &str); 3] =
    [("KWSYNC_ERRORS", "skip"), ("KWSYNC_RETRIES", "4294967295"), ("KWSYNC_RETRY_WAIT_MS", "2000")];

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Where rows go
    #[arg(short, long, value_name = "DSN")]
    to: String,
    /// Where to listen for HTTP: HOST:PORT (port 0 is any), or listen://HOST:PORT?token=@FILE&... with more parameters
    #[arg(short, long, value_name = "ADDR|DSN", default_value = "127.0.0.1:8086", env = "KWSYNC_LISTEN")]
    listen: String,
    /// Where to listen for OpenTSDB's telnet protocol: HOST:PORT
    #[arg(long, value_name = "ADDR", env = "KWSYNC_TELNET")]
    telnet: Option<String>,
    /// The parser configuration of /ingest/json as JSON, or @FILE
    #[arg(short, long, value_name = "JSON|@FILE")]
    parser: Option<String>,
    /// Change rows on their way; repeat it, they apply in order (see docs/transforms.md)
    #[arg(short = 'T', long, value_name = "T")]
    transform: Vec<String>,
    /// How many lanes write at the same time; 1 unless given
    #[arg(short, long, value_name = "N")]
    jobs: Option<usize>,
    /// Show what would be done, and do nothing
    #[arg(long, visible_alias = "explain")]
    dry_run: bool,
    /// The form of the report at the end
    #[arg(long, value_enum, default_value = "text", env = "KWSYNC_REPORT")]
    report: ReportForm,
    /// What happens to records that cannot be loaded, beside the answer: skip (the default), reject:PATH,
    /// reject:kafka://BROKER:9092/TOPIC, or fail, which ends the service
    #[arg(long, value_name = "WHAT")]
    errors: Option<String>,
    /// How many of them may be, before the service ends
    #[arg(long, value_name = "N|P%")]
    max_errors: Option<String>,
    /// Log each of them, with its place and its reason
    #[arg(long)]
    log_errors: bool,
    /// Rows of a batch
    #[arg(long, value_name = "N")]
    batch_rows: Option<usize>,
    /// Bytes of a batch
    #[arg(long, value_name = "N")]
    batch_bytes: Option<String>,
    /// At most so many rows a second
    #[arg(long, value_name = "N")]
    rate_rows: Option<u64>,
    /// At most so many bytes of input a second
    #[arg(long, value_name = "N")]
    rate_bytes: Option<String>,
    /// A statement for the target to run before the first row; repeat it
    #[arg(long, value_name = "SQL")]
    pre_sql: Vec<String>,
    /// How often a fault that may pass is tried again; without an end unless given
    #[arg(long, value_name = "N")]
    retries: Option<u32>,
    /// Milliseconds of the longest wait between two tries; 2000 unless given
    #[arg(long, value_name = "MS")]
    retry_wait: Option<u64>,
    /// Serve counters in Prometheus' text form on this address: 127.0.0.1:9187
    #[arg(long, value_name = "HOST:PORT", env = "KWSYNC_METRICS")]
    metrics: Option<SocketAddr>,
    /// No progress, no text report
    #[arg(short, long)]
    quiet: bool,
}

/// Runs until a signal stops it.
pub(crate) async fn run(args: ServeArgs) -> Result<u8> {
    let from = source(&args.listen, args.telnet.as_deref())?;
    run::run(&RunArgs {
        from: Some(from),
        to: Some(args.to),
        spec: None,
        parser: args.parser,
        transform: args.transform,
        jobs: args.jobs,
        job: None,
        restart: false,
        forget: false,
        dry_run: args.dry_run,
        report: args.report,
        errors: args.errors,
        max_errors: args.max_errors,
        log_errors: args.log_errors,
        batch_rows: args.batch_rows,
        batch_bytes: args.batch_bytes,
        commit_rows: None,
        linger: None,
        rate_rows: args.rate_rows,
        rate_bytes: args.rate_bytes,
        pre_sql: args.pre_sql,
        post_sql: Vec::new(),
        retries: args.retries,
        retry_wait: args.retry_wait,
        checkpoint: None,
        metrics: args.metrics,
        quiet: args.quiet,
    })
    .await
}

/// The address of the source.
fn source(listen: &str, telnet: Option<&str>) -> Result<String> {
    let mut from = match listen.split_once("://") {
        Some(("listen", _)) => listen.to_owned(),
        Some((other, _)) => {
            return Err(Error::config(format!("--listen takes no {other}:// address"))
                .with_hint("give HOST:PORT, or listen://HOST:PORT?token=@FILE; where rows go is --to"));
        }
        None if listen.contains(['?', '/']) || Path::new(listen).exists() => {
            return Err(Error::config(format!("--listen {listen:?} is no address"))
                .with_hint("give HOST:PORT, or listen://HOST:PORT?token=@FILE"));
        }
        None => format!("listen://{listen}"),
    };
    if let Some(telnet) = telnet {
        from.push_str(if from.contains('?') { "&" } else { "?" });
        from.push_str(&format!("telnet={telnet}"));
    }
    Ok(from)
}

/// Whether a job listens, so that it runs until it is stopped.
pub(super) fn is_service(from: &str) -> bool {
    from.parse::<Dsn>().is_ok_and(|from| from.driver() == "listen")
}

/// Every connector of this build; one that listens says where.
pub(super) fn registry() -> Registry {
    let mut registry = kwsync::registry();
    listen::register_with(&mut registry, announce);
    registry
}

fn announce(listening: &Listening) {
    let (http, tcp) = if listening.tls { ("https", "telnet+tls") } else { ("http", "telnet") };
    eprintln!("kwsync: listening on {http}://{}", listening.http);
    if let Some(telnet) = listening.telnet {
        eprintln!("kwsync: listening on {tcp}://{telnet}");
    }
}
