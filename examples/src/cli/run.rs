//! `kwsync run`.

use std::io::IsTerminal;

use kwsync::{Job, Preview};
use kwsync_core::config::Provenance;
use kwsync_core::{Error, Outcome, Result};
use tokio_util::sync::CancellationToken;

use super::args::{ReportForm, RunArgs};
use super::{metrics, progress, say, serve, signals};

pub(crate) async fn run(args: &RunArgs) -> Result<u8> {
    let spec = args.spec()?;
    let job = Job::new(&spec, &serve::registry())?;
    if args.forget {
        job.forget().await?;
        if !args.quiet {
            eprintln!("kwsync: the job is forgotten; what it has written stays");
        }
        return Ok(0);
    }
    if args.dry_run {
        say(&shown(&job.preview().await?))?;
        return Ok(0);
    }
    if !args.quiet && job.resumes().await? {
        eprintln!("kwsync: resuming where the last run stopped (--restart starts over)");
    }
    if let Some(address) = args.metrics {
        metrics::serve(address)?;
    }
    let cancel = CancellationToken::new();
    let stopped = signals::cancel_on_signal(cancel.clone())?;
    let job = job.with_cancel(cancel);
    // A line every ten seconds, for years, tells nobody anything.
    let service = args.from.as_deref().is_some_and(serve::is_service) && !std::io::stderr().is_terminal();
    let shown = progress::show(job.progress(), args.quiet || service);
    let outcome = job.run().await;
    shown.finish().await;
    let outcome = outcome?;
    report(&outcome, args)?;
    Ok(match outcome.exit_status() {
        130 => stopped.status(),
        status => status,
    })
}

fn report(outcome: &Outcome, args: &RunArgs) -> Result<()> {
    match args.report {
        ReportForm::Json => say(&format!("{}\n", json(outcome)?))?,
        ReportForm::Text if !args.quiet => say(&outcome.report.to_string())?,
        ReportForm::Text => {}
    }
    if let Some(error) = &outcome.error {
        eprintln!("kwsync: {}", error.report());
    }
    Ok(())
}

/// What became of a job, as one object.
pub(super) fn json(outcome: &Outcome) -> Result<serde_json::Value> {
    let mut value = serde_json::to_value(&outcome.report).map_err(internal)?;
    if let Some(object) = value.as_object_mut() {
        if let Some(peak) = peak_memory() {
            object.insert("peak_memory_bytes".into(), peak.into());
        }
        if let Some(error) = &outcome.error {
            object.insert("error".into(), error.to_string().into());
            object.insert("error_kind".into(), error.kind().as_str().into());
        }
    }
    Ok(value)
}

/// The most memory that this process has held, where the system tells (Linux).
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib << 10)
}

pub(super) fn internal(error: serde_json::Error) -> Error {
    Error::new(kwsync_core::ErrorKind::Internal, "cannot write the report").with_source(error)
}

pub(super) fn shown(preview: &Preview) -> String {
    let mut text = String::new();
    let mut line = |line: String| {
        text.push_str(&line);
        text.push('\n');
    };
    line(format!("job {}: nothing is done (dry run)", preview.job));
    for (kind, params) in &preview.params {
        for setting in params.settings() {
            let note = match setting.provenance {
                Provenance::Default => " (default)",
                _ => "",
            };
            if let Some(value) = setting.value {
                let value = if setting.param.is_secret() { "***" } else { value };
                line(format!("  {kind} {}={value}{note}", setting.param.name()));
            }
        }
        for name in params.ignored() {
            line(format!("  {kind} {name} is ignored: it means nothing here"));
        }
    }
    for transform in &preview.transforms {
        line(format!("  transform {transform}"));
    }
    line(format!("splits: {}", preview.splits.len()));
    for split in preview.splits.iter().take(20) {
        match split.bytes {
            Some(bytes) => line(format!("  {} ({bytes} bytes)", split.id)),
            None => line(format!("  {}", split.id)),
        }
    }
    if preview.splits.len() > 20 {
        line(format!("  ... and {} more", preview.splits.len() - 20));
    }
    for note in &preview.notes {
        line(format!("note: {note}"));
    }
    if preview.plans.is_empty() {
        line("tables: known only when data is read".to_owned());
    }
    for plan in &preview.plans {
        line(plan.to_string().trim_end().to_owned());
    }
    preview.ending.to_string().lines().for_each(|text| line(text.to_owned()));
    text
}
