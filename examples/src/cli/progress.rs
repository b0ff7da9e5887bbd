//! What a person sees while a job runs: a bar on a terminal, lines in a log.

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle};
use kwsync_core::{Progress, Snapshot};
use tokio::task::JoinHandle;

/// Jobs shorter than this show nothing.
const QUIET_FOR: Duration = Duration::from_secs(1);
/// Between two lines in a log.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// The task that shows progress.
pub(crate) struct Shown {
    task: Option<JoinHandle<()>>,
    bar: Option<ProgressBar>,
}

/// Shows `progress` on standard error until it is finished.
pub(crate) fn show(progress: Arc<Progress>, quiet: bool) -> Shown {
    if quiet {
        return Shown { task: None, bar: None };
    }
    if !std::io::stderr().is_terminal() {
        let task = tokio::spawn(async move {
            loop {
                tokio::time::sleep(LOG_EVERY).await;
                eprintln!("kwsync: {}", line(&progress.snapshot()));
            }
        });
        return Shown { task: Some(task), bar: None };
    }
    let bar = ProgressBar::no_length();
    let shown = bar.clone();
    let task = tokio::spawn(async move {
        tokio::time::sleep(QUIET_FOR).await;
        let bar_style = "{bar:30} {percent:>3}% {msg} (eta {eta})";
        let plain_style = "{spinner} {msg}";
        loop {
            let now = progress.snapshot();
            let wanted = if now.bytes_total > 0 { bar_style } else { plain_style };
            if let Ok(style) = ProgressStyle::with_template(wanted) {
                shown.set_style(style);
            }
            if now.bytes_total > 0 {
                shown.set_length(now.bytes_total);
                shown.set_position(now.bytes_read.min(now.bytes_total));
            }
            shown.set_message(line(&now));
            shown.tick();
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    });
    Shown { task: Some(task), bar: Some(bar) }
}

fn line(now: &Snapshot) -> String {
    let seconds = now.elapsed.as_secs_f64().max(0.001);
    let rejected =
        if now.rejected > 0 { format!(", {} rejected", HumanCount(now.rejected)) } else { String::new() };
    format!(
        "{} rows read, {} settled{rejected}, {} rows/s, {}/s",
        HumanCount(now.rows_read),
        HumanCount(now.rows_settled),
        HumanCount((now.rows_read as f64 / seconds) as u64),
        HumanBytes((now.bytes_read as f64 / seconds) as u64)
    )
}

impl Shown {
    /// Takes the bar away.
    pub(crate) async fn finish(self) {
        if let Some(task) = self.task {
            task.abort();
            // The task is endless: what it returns is that it was aborted.
            drop(task.await);
        }
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}
