//! Values that have come and are not committed yet.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kwsync_core::{Error, Retry};
use opcua::types::{DateTime, StatusCode, Variant};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::values::weight;

/// Bytes of values that may be there. Then the server keeps them, as many as its queues hold.
const MAX_BYTES: usize = 32 << 20;
/// Values that may be there.
const MAX_SAMPLES: usize = 65_536;

/// A value as it came.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    /// Its place in the list of points.
    pub(super) point: usize,
    /// When it came: microseconds since 1970, each another.
    pub(super) received: i64,
    /// The server's time, and tens of picoseconds more.
    pub(super) original: Option<(DateTime, u16)>,
    pub(super) value: Option<Variant>,
    pub(super) status: StatusCode,
}

impl Sample {
    fn weight(&self) -> usize {
        size_of::<Self>() + self.value.as_ref().map_or(0, weight)
    }
}

/// Between the task that listens to the server and the reader. Values stay until they are committed, so that a reader that is opened
/// again after a fault of the target gets them once more: the server would not give them a second time.
#[derive(Default)]
pub(super) struct Buffer {
    state: Mutex<State>,
    /// Something has come.
    came: Notify,
    /// Something has gone.
    went: Notify,
    /// The task is to end.
    pub(super) stop: Notify,
    /// So many samples wait for no others.
    eager: u64,
}

/// Whether somebody is there to say something.
#[derive(Default)]
enum Server {
    /// Nobody knows yet.
    #[default]
    Awaited,
    There,
    /// For this reason it is not.
    Away(Error),
}

struct State {
    samples: VecDeque<Sample>,
    bytes: usize,
    /// Samples that were committed.
    settled: u64,
    /// Samples of those here that were handed out.
    handed: usize,
    /// Since when one waits to be handed out.
    waiting: Option<Instant>,
    /// When something came last.
    last: Instant,
    fault: Option<Error>,
    server: Server,
    /// Nothing more is taken.
    closed: bool,
}

impl Default for State {
    fn default() -> Self {
        let samples = VecDeque::new();
        Self {
            samples,
            bytes: 0,
            settled: 0,
            handed: 0,
            waiting: None,
            last: Instant::now(),
            fault: None,
            server: Server::default(),
            closed: false,
        }
    }
}

/// Samples that are handed out.
pub(super) struct Handed {
    pub(super) samples: Vec<Sample>,
    /// How many came before the first of them.
    pub(super) first: u64,
    /// Whether there is little room left, and none comes before these are committed.
    pub(super) full: bool,
}

impl Buffer {
    /// One whose first samples, so many, are handed out as they come: their tables are made then, and not when a job is about to stop,
    /// which waits for no table.
    pub(super) fn eager(first: usize) -> Self {
        Self { eager: first as u64, ..Self::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts samples behind the others, once there is room.
    pub(super) async fn push(&self, samples: Vec<Sample>) {
        loop {
            let room = self.went.notified();
            {
                let mut state = self.state();
                if state.closed {
                    return;
                }
                if state.samples.len() < MAX_SAMPLES && state.bytes < MAX_BYTES {
                    state.last = Instant::now();
                    state.waiting.get_or_insert(Instant::now());
                    state.bytes += samples.iter().map(Sample::weight).sum::<usize>();
                    state.samples.extend(samples);
                    break;
                }
            }
            room.await;
        }
        self.came.notify_one();
    }

    /// Tells the reader that nothing more comes.
    pub(super) fn fail(&self, fault: Error) {
        self.state().fault = Some(fault);
        self.came.notify_one();
    }

    /// The server is there, and says what it has to say.
    pub(super) fn there(&self) {
        let mut state = self.state();
        if matches!(state.server, Server::Awaited) {
            state.last = Instant::now();
        }
        state.server = Server::There;
        drop(state);
        self.came.notify_one();
    }

    /// The server is not there, or lets nobody in.
    pub(super) fn away(&self, why: Error) {
        self.state().server = Server::Away(why);
        self.came.notify_one();
    }

    /// Takes nothing more: what comes from now on came too late.
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.went.notify_one();
    }

    /// Begins anew with the first sample that is not committed.
    pub(super) fn rewind(&self) {
        let mut state = self.state();
        state.handed = 0;
        state.closed = false;
        state.last = Instant::now();
        state.waiting = (!state.samples.is_empty()).then(Instant::now);
    }

    /// Forgets what was committed: all before the sample of this number.
    pub(super) fn settle(&self, before: u64) {
        let mut state = self.state();
        let gone = usize::try_from(before.saturating_sub(state.settled)).unwrap_or(0).min(state.handed);
        let bytes: usize = state.samples.drain(..gone).map(|sample| sample.weight()).sum();
        state.bytes -= bytes.min(state.bytes);
        state.handed -= gone;
        state.settled += gone as u64;
        drop(state);
        self.went.notify_one();
    }

    /// At most so many samples that wait, or `None` when there are none.
    pub(super) fn take(&self, most: usize) -> Option<Handed> {
        let mut state = self.state();
        let (from, to) = (state.handed, state.samples.len().min(state.handed + most.max(1)));
        if from >= to {
            return None;
        }
        let samples: Vec<Sample> = state.samples.range(from..to).cloned().collect();
        let first = state.settled + from as u64;
        state.handed = to;
        state.waiting = (to < state.samples.len()).then(Instant::now);
        let crowded = to * 2 >= MAX_SAMPLES || state.bytes * 2 >= MAX_BYTES;
        let full = crowded && to == state.samples.len();
        Some(Handed { samples, first, full })
    }

    /// The next samples: `batch` of them, or fewer when one has waited for `longest`; `None` when nothing has come for `quiet` from a
    /// server that is there.
    ///
    /// # Errors
    /// What ended the task, once all that came before has been handed out; after `quiet`, why the server is away.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(super) async fn next(
        &self,
        batch: usize,
        longest: Duration,
        quiet: Duration,
    ) -> Result<Option<Handed>, Error> {
        loop {
            let until = {
                let mut state = self.state();
                let waiting = state.samples.len() - state.handed;
                let since = state.waiting.unwrap_or_else(Instant::now);
                // What fills the buffer is not worth waiting for.
                let crowded = state.samples.len() >= MAX_SAMPLES || state.bytes >= MAX_BYTES;
                let due = waiting >= batch
                    || crowded
                    || since.elapsed() >= longest
                    || state.fault.is_some()
                    || state.settled + (state.handed as u64) < self.eager;
                if waiting > 0 && due {
                    drop(state);
                    return Ok(self.take(batch));
                }
                if let Some(fault) = state.fault.take() {
                    return Err(fault);
                }
                match waiting {
                    0 if matches!(state.server, Server::Awaited) => None,
                    0 if state.last.elapsed() >= quiet => {
                        return match std::mem::take(&mut state.server) {
                            // So long it was to wait, and no longer.
                            Server::Away(why) => Err(why.with_retry(Retry::Never)),
                            server => {
                                state.server = server;
                                Ok(None)
                            }
                        };
                    }
                    0 => state.last.checked_add(quiet),
                    _ => since.checked_add(longest),
                }
            };
            match until {
                Some(until) => drop(tokio::time::timeout_at(until, self.came.notified()).await),
                None => self.came.notified().await,
            }
        }
    }
}
