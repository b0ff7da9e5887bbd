//! `kwsync pipe`: one statement, a file of them, or a prompt.

use std::io::{IsTerminal, Read, Write};
use std::path::PathBuf;

use kwsync::pipes::Pipes;
use kwsync_core::spec::{PipeSettings, PipeStatement};
use kwsync_core::{Error, Result};
use tokio_util::sync::CancellationToken;

use super::args::PipeArgs;
use super::{metrics, say, signals};

pub(crate) async fn run(args: &PipeArgs) -> Result<u8> {
    let pipes = open(args)?;
    let typed = match &args.statements[..] {
        [] if std::io::stdin().is_terminal() => return prompt(&pipes).await,
        [] if args.run || args.until_done => String::new(),
        [] => {
            let mut text = String::new();
            std::io::stdin()
                .read_to_string(&mut text)
                .map_err(|error| Error::io("cannot read statements from standard input", error))?;
            text
        }
        given => given.join(";\n"),
    };
    // All are read before the first is executed.
    for statement in PipeStatement::parse_all(&typed)? {
        say(&pipes.execute(&statement)?.to_string())?;
    }
    if !args.run && !args.until_done {
        return Ok(0);
    }
    if let Some(address) = args.metrics {
        metrics::serve(address)?;
    }
    let Some(runner) = pipes.runner()? else {
        return Err(Error::config("another process runs these pipes")
            .with_hint("statements reach it from here as well; --state names another folder"));
    };
    let cancel = CancellationToken::new();
    let stopped = signals::cancel_on_signal(cancel.clone())?;
    if args.until_done {
        runner.run_until_done(cancel.clone()).await?;
    } else {
        runner.run(cancel.clone()).await?;
    }
    Ok(if cancel.is_cancelled() { stopped.status() } else { 0 })
}

fn open(args: &PipeArgs) -> Result<Pipes> {
    let dir = args.state.clone().unwrap_or_else(|| kwsync::state_dir().join("pipes"));
    let mut pipes = Pipes::new(dir, kwsync::registry());
    if let Some(path) = &args.config {
        pipes = pipes.with_settings(settings(path)?);
    }
    if args.pipe_compat.as_deref() == Some("1.3.0") {
        pipes = pipes.created_stopped();
    }
    Ok(pipes)
}

fn settings(path: &PathBuf) -> Result<PipeSettings> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Error::io(format!("cannot read {}", path.display()), error))?;
    let settings =
        PipeSettings::from_properties(&text).map_err(|error| error.context(path.display().to_string()))?;
    for name in &settings.ignored {
        eprintln!("kwsync: {name} is ignored: it means nothing here");
    }
    Ok(settings)
}

/// Reads statements from a terminal and runs the pipes meanwhile, unless another process does.
async fn prompt(pipes: &Pipes) -> Result<u8> {
    let cancel = CancellationToken::new();
    let runner = match pipes.runner()? {
        Some(runner) => {
            println!("The pipes run as long as this prompt is open. `help` helps, `exit` ends.");
            Some(tokio::spawn(runner.run(cancel.clone())))
        }
        None => {
            println!("Another process runs the pipes. `help` helps, `exit` ends.");
            None
        }
    };
    let mut typed = String::new();
    loop {
        let asked = if typed.is_empty() { "kwsync> " } else { "      > " };
        print!("{asked}");
        std::io::stdout().flush().map_err(|error| Error::io("cannot write to the terminal", error))?;
        let read = tokio::task::spawn_blocking(|| {
            let mut line = String::new();
            std::io::stdin().read_line(&mut line).map(|bytes| (bytes, line))
        });
        let (bytes, line) = match read.await {
            Ok(Ok(read)) => read,
            Ok(Err(error)) => return Err(Error::io("cannot read from the terminal", error)),
            Err(_) => break,
        };
        let word = line.trim().trim_end_matches(';');
        if bytes == 0 || typed.is_empty() && matches!(word, "exit" | "quit") {
            break;
        }
        if typed.is_empty() && word == "help" {
            println!("{HELP}");
            continue;
        }
        typed.push_str(&line);
        match PipeStatement::parse_all(&typed) {
            // An empty line gives up waiting for the rest.
            Err(error) if error.code() == Some("incomplete") && !word.is_empty() && !line.contains(';') => {
                continue;
            }
            Err(error) => eprintln!("{}", error.report()),
            Ok(statements) => {
                for statement in statements {
                    match pipes.execute(&statement) {
                        Ok(answer) => print!("{answer}"),
                        Err(error) => {
                            eprintln!("{}", error.report());
                            break;
                        }
                    }
                }
            }
        }
        typed.clear();
    }
    cancel.cancel();
    if let Some(runner) = runner {
        println!("stopping: what was read is written and committed");
        runner.await.map_err(|_| Error::new(kwsync_core::ErrorKind::Internal, "the pipes broke off"))??;
    }
    Ok(0)
}

const HELP: &str = "\
CREATE PIPE name WITH SOURCE ('source'='file', 'path'='in/*.lp') WITH SINK ('sink'='postgres', 'dsn'='postgres://...')
START PIPE name      STOP PIPE name      DROP PIPE name
SHOW PIPES           SHOW PIPE name      SHOW PIPES WHERE SINK USED BY name
SHOW PIPEPLUGINS     exit
A statement ends with its line when it is whole, or with a semicolon.";
