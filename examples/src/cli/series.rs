//! Pipelines one after the other, as one job.

use std::net::SocketAddr;
use std::sync::Arc;

use kwsync::Job;
use kwsync_core::spec::{Translation, datax};
use kwsync_core::{BoxFuture, Earlier, Error, Outcome, Progress, Report, Result};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::args::ReportForm;
use super::run::{json, shown};
use super::{metrics, progress, say, signals};

/// How a job ends for those who watch.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Closing {
    /// With the report alone.
    Plain,
    /// With the lines and the codes of DataX.
    DataX,
}

pub(crate) struct How {
    pub(crate) dry_run: bool,
    pub(crate) quiet: bool,
    pub(crate) report: ReportForm,
    pub(crate) metrics: Option<SocketAddr>,
    /// Whether the user has named the job, whose state then is kept.
    pub(crate) named: bool,
    pub(crate) closing: Closing,
    /// What looks at each pipeline while it runs.
    pub(crate) watch: Option<Watch>,
}

/// Looks at a running pipeline.
pub(crate) type Watch = Box<dyn Fn(Arc<Progress>) -> BoxFuture<'static, ()> + Send + Sync>;

/// Runs all pipelines; the first that fails ends the job. When the job runs again, those that had ended well are not done
/// again.
pub(crate) async fn run(made: Translation, how: &How) -> Result<u8> {
    let Translation { mut specs, notes, .. } = made;
    if !how.quiet || how.dry_run {
        notes.iter().for_each(|note| eprintln!("kwsync: note: {note}"));
    }
    let several = specs.len() > 1;
    if several && !how.named {
        for (at, spec) in specs.iter_mut().enumerate() {
            // A name keeps the state until all are done; the number keeps two that are alike apart.
            spec.job = Some(format!("{}-{}", spec.job_id()?, at + 1));
        }
    }
    let registry = kwsync::registry();
    let headed = |error: Error| match how.closing {
        Closing::Plain => error,
        Closing::DataX => {
            let code = datax::code(error.kind());
            error.context(code)
        }
    };
    // All of them before the first starts: a fault of the last should not show after hours.
    let faults = specs.iter().filter_map(|spec| Job::new(spec, &registry).err());
    Error::all(faults).map_err(headed)?;
    if how.dry_run {
        for (at, spec) in specs.iter().enumerate() {
            if several {
                say(&format!("pipeline {} of {}\n", at + 1, specs.len()))?;
            }
            say(&shown(&Job::new(spec, &registry)?.preview().await.map_err(headed)?))?;
        }
        return Ok(0);
    }
    if let Some(address) = how.metrics {
        metrics::serve(address)?;
    }
    let cancel = CancellationToken::new();
    let stopped = signals::cancel_on_signal(cancel.clone())?;
    let started = chrono::Local::now();
    let mut outcomes: Vec<Outcome> = Vec::new();
    for (at, spec) in specs.iter().enumerate() {
        let earlier = earlier(&outcomes, at + 1 < specs.len());
        let job = Job::new(spec, &registry)?.with_earlier(earlier).with_cancel(cancel.clone());
        if !how.quiet && job.resumes().await? {
            eprintln!("kwsync: resuming where the last run stopped (--restart starts over)");
        }
        let bar = progress::show(job.progress(), how.quiet);
        let watching =
            how.watch.as_ref().map(|watch| AbortOnDropHandle::new(tokio::spawn(watch(job.progress()))));
        let outcome = job.run().await;
        drop(watching);
        bar.finish().await;
        let outcome = outcome?;
        let failed = outcome.error.is_some();
        outcomes.push(outcome);
        if failed {
            break;
        }
    }
    let failed = outcomes.last().is_some_and(|outcome| outcome.error.is_some());
    if several && !how.named && !failed {
        for spec in &specs {
            Job::new(spec, &registry)?.forget().await?;
        }
    }
    let reports: Vec<&Report> = outcomes.iter().map(|outcome| &outcome.report).collect();
    match how.report {
        ReportForm::Json => {
            let all = outcomes.iter().map(json).collect::<Result<Vec<_>>>()?;
            say(&format!("{}\n", serde_json::json!({"pipelines": all, "notes": notes})))?;
        }
        ReportForm::Text if how.quiet => {}
        ReportForm::Text => {
            for report in &reports {
                say(&report.to_string())?;
            }
            if how.closing == Closing::DataX {
                say(&summary(started, &reports))?;
            }
        }
    }
    let mut status = if reports.iter().any(|report| report.rows_rejected > 0) { 3 } else { 0 };
    if let Some(outcome) = outcomes.pop()
        && failed
    {
        status = match outcome.exit_status() {
            130 => stopped.status(),
            status => status,
        };
        if let Some(error) = outcome.error {
            eprintln!("kwsync: {}", headed(error).report());
        }
    }
    Ok(status)
}

/// What the pipelines so far have counted: the budget is the job's, not each one's.
fn earlier(outcomes: &[Outcome], more_follow: bool) -> Earlier {
    let reports = outcomes.iter().map(|outcome| &outcome.report);
    reports.fold(Earlier { more_follow, ..Earlier::default() }, |earlier, report| Earlier {
        records: earlier.records + report.records_read.max(report.rows_read).max(report.rows_rejected),
        rejected: earlier.rejected + report.rows_rejected,
        ..earlier
    })
}

fn summary(started: chrono::DateTime<chrono::Local>, reports: &[&Report]) -> String {
    let ended = chrono::Local::now();
    let seconds = (ended - started).as_seconds_f64();
    let time = |at: chrono::DateTime<chrono::Local>| at.format("%Y-%m-%d %H:%M:%S").to_string();
    let all = datax::Summary::new(time(started), time(ended), seconds);
    let all = reports.iter().fold(all, |all, report| all.with_report(report));
    format!("{} [job-0] INFO  JobContainer -\n{all}", ended.format("%Y-%m-%d %H:%M:%S%.3f"))
}
