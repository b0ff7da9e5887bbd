//! The command line.

mod args;
mod connectors;
mod convert;
mod dbsync;
mod ddl;
mod demo;
mod forms;
mod metrics;
mod pipe;
mod points;
mod progress;
mod run;
mod series;
mod serve;
mod signals;
mod verify;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use kwsync_core::{Error, Result};

use args::{Cli, Command};

pub(crate) fn main() -> ExitCode {
    let cli = match Cli::try_parse_from(arguments()) {
        Ok(cli) => cli,
        Err(error) => {
            // clap writes help and version to stdout with status 0, faults to stderr with status 2.
            let status = error.exit_code();
            if error.print().is_err() {
                return ExitCode::FAILURE;
            }
            return ExitCode::from(u8::try_from(status).unwrap_or(2));
        }
    };
    log_to_stderr(cli.verbose);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&Error::io("cannot start the runtime", error)),
    };
    let done = runtime.block_on(async {
        match cli.command {
            Command::Demo(args) => demo::run(&args).await,
            Command::Run(args) => run::run(&args).await,
            Command::Serve(args) => serve::run(*args).await,
            Command::Job(args) => forms::job(&args).await,
            Command::Connect(args) => forms::connect(&args).await,
            Command::Dbsync(args) => dbsync::run(&args).await,
            Command::External(args) => forms::external(&args).await,
            Command::Convert(args) => convert::run(&args).await,
            Command::Ddl(args) => ddl::run(&args).await,
            Command::Verify(args) => verify::run(&args).await,
            Command::Pipe(args) => pipe::run(&args).await,
            Command::Connectors(args) => connectors::run(&args),
        }
    });
    // A read of standard input that nobody waits for any more must not hold up the exit.
    runtime.shutdown_background();
    match done {
        Ok(status) => ExitCode::from(status),
        Err(error) => fail(&error),
    }
}

/// Writes to standard output. A reader that has seen enough (`| head`) is no fault.
fn say(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::io("cannot write to standard output", error))
        }
        _ => Ok(()),
    }
}

fn fail(error: &Error) -> ExitCode {
    eprintln!("kwsync: {}", error.report());
    ExitCode::from(error.kind().exit_status())
}

/// `kwsync -f A -t B` means `kwsync run -f A -t B`.
fn arguments() -> Vec<OsString> {
    let mut arguments: Vec<_> = std::env::args_os().collect();
    let is_run = arguments.get(1).and_then(|first| first.to_str()).is_some_and(|first| {
        first.starts_with('-') && !matches!(first, "-h" | "--help" | "-V" | "--version")
    });
    if is_run {
        arguments.insert(1, "run".into());
    }
    arguments
}

fn log_to_stderr(verbose: u8) {
    let level = match verbose {
        0 => tracing::Level::WARN,
        1 => tracing::Level::INFO,
        2 => tracing::Level::DEBUG,
        _ => tracing::Level::TRACE,
    };
    tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr).with_target(false).init();
}
