//! SIGINT and SIGTERM: the first stops gracefully, the second at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use kwsync_core::{Error, Result};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Which signal came.
#[derive(Clone, Default)]
pub(crate) struct Stopped(Arc<AtomicU8>);

impl Stopped {
    /// 128 and the number of the signal; that of SIGINT when there was none.
    pub(crate) fn status(&self) -> u8 {
        match self.0.load(Ordering::Relaxed) {
            0 => 130,
            status => status,
        }
    }
}

/// Cancels `cancel` at the first signal; the second one ends the process.
pub(crate) fn cancel_on_signal(cancel: CancellationToken) -> Result<Stopped> {
    let fault = |error| Error::io("cannot watch for signals", error);
    let mut interrupt = signal(SignalKind::interrupt()).map_err(fault)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(fault)?;
    let stopped = Stopped::default();
    let status = stopped.clone();
    tokio::spawn(async move {
        loop {
            let number = tokio::select! {
                _ = interrupt.recv() => 130,
                _ = terminate.recv() => 143,
            };
            if status.0.swap(number, Ordering::Relaxed) != 0 {
                std::process::exit(i32::from(number));
            }
            eprintln!("kwsync: stopping: what was read is written and committed; once more stops at once");
            cancel.cancel();
        }
    });
    Ok(stopped)
}
