//! Requests that wait to be read, and the memory that they may take.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;
use kwsync_core::{Input, Position};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};

use super::formats::Key;

/// The unit of the bound of memory.
const UNIT: usize = 1 << 10;
/// Refused records of a request that its answer may tell of.
pub(super) const MOST_TOLD: usize = 64;

/// A body, and who waits for what becomes of it.
pub(super) struct Request {
    /// What tells its decoder from others.
    pub(super) key: Key,
    pub(super) body: Bytes,
    /// By whose split rejects are known to be this request's.
    pub(super) input: Arc<Input>,
    /// Where the body begins in it.
    pub(super) at: Position,
    /// Whether it is answered once it is read.
    pub(super) accept: bool,
    /// Gone once it has been answered.
    pub(super) answer: Option<oneshot::Sender<Outcome>>,
    /// Its share of the memory, free again when it has settled.
    pub(super) _hold: Hold,
}

impl Request {
    /// Whether its rows are still to be written: nobody has been told of them, and nobody waits.
    fn is_wanted(&self) -> bool {
        self.answer.as_ref().is_none_or(|answer| !answer.is_closed())
    }

    /// Answers, if nobody has.
    pub(super) fn answer(&mut self, outcome: Outcome) {
        if let Some(answer) = self.answer.take() {
            // Whoever has hung up comes again.
            drop(answer.send(outcome));
        }
    }
}

/// What became of a request.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    /// What could be read is committed, or with `ack=accept` read.
    Settled(Settled),
    /// It is not committed, and will not be.
    Ended(Arc<str>),
}

/// Rows and refused records of a request.
#[derive(Clone, Debug, Default)]
pub(super) struct Settled {
    /// Rows that were read; those that the target refused later are among them.
    pub(super) rows: u64,
    /// Records that were refused, on whatever way.
    pub(super) refused: u64,
    /// Of these, the rows that had been read.
    pub(super) refused_rows: u64,
    /// The first of them.
    pub(super) first: Vec<Refused>,
    /// Why nothing more could be read, where the body as a whole is at fault.
    pub(super) fault: Option<String>,
}

impl Settled {
    /// Whether all of it is there.
    pub(super) fn is_whole(&self) -> bool {
        self.refused == 0 && self.fault.is_none()
    }

    /// Rows that are there.
    pub(super) fn written(&self) -> u64 {
        self.rows.saturating_sub(self.refused_rows)
    }
}

/// A record that is not there.
#[derive(Clone, Debug)]
pub(super) struct Refused {
    pub(super) line: u64,
    pub(super) reason: String,
    pub(super) raw: Bytes,
}

/// A share of the memory of all bodies.
pub(super) struct Hold {
    room: Arc<Semaphore>,
    /// All that there is.
    most: usize,
    permit: Option<OwnedSemaphorePermit>,
    units: usize,
    /// Those that wait: some of them may not be wanted any more.
    waiting: Weak<Mutex<State>>,
}

impl Hold {
    /// Makes it large enough for `bytes`; false where there is no room now.
    pub(super) fn cover(&mut self, bytes: usize) -> bool {
        let more = bytes.div_ceil(UNIT).max(1).saturating_sub(self.units);
        if more == 0 {
            return true;
        }
        let Ok(more) = u32::try_from(more) else { return false };
        let acquire = || Arc::clone(&self.room).try_acquire_many_owned(more).ok();
        let Some(got) = acquire().or_else(|| {
            self.purge();
            acquire()
        }) else {
            return false;
        };
        self.take(got, more);
        true
    }

    /// Bytes that it covers.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.units * UNIT
    }

    /// Drops those that nobody waits for: they must not take the room of others.
    fn purge(&self) {
        if let Some(state) = self.waiting.upgrade() {
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            state.waiting.retain(Request::is_wanted);
        }
    }

    /// Gives back what is more than it takes for `bytes`.
    pub(super) fn shrink(&mut self, bytes: usize) {
        let less = self.units.saturating_sub(bytes.div_ceil(UNIT).max(1));
        if let Some(freed) = self.permit.as_mut().and_then(|permit| permit.split(less)) {
            self.units -= less;
            drop(freed);
        }
    }

    /// The same, when there is room; what is larger than the whole waits for all of it.
    pub(super) async fn wait_to_cover(&mut self, bytes: usize) {
        let more = bytes.div_ceil(UNIT).clamp(1, self.most).saturating_sub(self.units);
        let Ok(more) = u32::try_from(more) else { return };
        if more as usize > self.room.available_permits() {
            self.purge();
        }
        if more > 0
            && let Ok(got) = Arc::clone(&self.room).acquire_many_owned(more).await
        {
            self.take(got, more);
        }
    }

    fn take(&mut self, got: OwnedSemaphorePermit, units: u32) {
        self.units += units as usize;
        match &mut self.permit {
            Some(permit) => permit.merge(got),
            None => self.permit = Some(got),
        }
    }
}

/// What connections put requests into, and readers take them out of.
pub(super) struct Queue {
    state: Arc<Mutex<State>>,
    came: Notify,
    room: Arc<Semaphore>,
    units: usize,
    numbers: AtomicU64,
    readers: AtomicUsize,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Request>,
    /// Why nothing more is taken.
    closed: Option<Arc<str>>,
}

impl Queue {
    /// A queue of requests that hold `bytes` together at most.
    pub(super) fn new(bytes: usize) -> Self {
        let units = bytes.div_ceil(UNIT).clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
        Self {
            state: Arc::default(),
            came: Notify::new(),
            room: Arc::new(Semaphore::new(units)),
            units,
            numbers: AtomicU64::new(0),
            readers: AtomicUsize::new(0),
        }
    }

    /// A share of the memory, of nothing yet.
    pub(super) fn hold(&self) -> Hold {
        let waiting = Arc::downgrade(&self.state);
        Hold { room: Arc::clone(&self.room), most: self.units, permit: None, units: 0, waiting }
    }

    /// A name that no other request of this process has.
    pub(super) fn input(&self, what: &str, from: &str) -> Arc<Input> {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed) + 1;
        Arc::new(Input::new(format!("{what} from {from} (request {number})")).with_once(true))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a request behind the others.
    ///
    /// # Errors
    /// Why nothing is taken any more.
    pub(super) fn put(&self, request: Request) -> Result<(), Arc<str>> {
        let mut state = self.state();
        if let Some(reason) = &state.closed {
            return Err(Arc::clone(reason));
        }
        state.waiting.push_back(request);
        drop(state);
        self.came.notify_one();
        Ok(())
    }

    /// Puts requests that were taken back before the others, in their order. Whoever was not answered and does not wait any
    /// more is passed over when it is taken: it comes again by itself.
    pub(super) fn put_back(&self, requests: impl DoubleEndedIterator<Item = Request>) {
        let mut state = self.state();
        let closed = state.closed.clone();
        for mut request in requests.rev() {
            match &closed {
                Some(reason) => request.answer(Outcome::Ended(Arc::clone(reason))),
                None => state.waiting.push_front(request),
            }
        }
        drop(state);
        self.came.notify_one();
    }

    /// The next one, if one waits.
    pub(super) fn take_now(&self) -> Option<Request> {
        let mut state = self.state();
        while let Some(request) = state.waiting.pop_front() {
            if request.is_wanted() {
                return Some(request);
            }
        }
        None
    }

    /// The next one.
    ///
    /// # Cancel safety
    /// Nothing is taken when the future is dropped.
    pub(super) async fn take(&self) -> Request {
        loop {
            let came = self.came.notified();
            if let Some(request) = self.take_now() {
                return request;
            }
            came.await;
        }
    }

    /// Takes nothing more; what waits may still be read.
    pub(super) fn close(&self, reason: &str) {
        self.state().closed.get_or_insert_with(|| reason.into());
    }

    /// Takes nothing more, and answers all that wait.
    pub(super) fn end(&self, reason: &str) {
        let mut state = self.state();
        let reason: Arc<str> = reason.into();
        state.closed = Some(Arc::clone(&reason));
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        for mut request in waiting {
            request.answer(Outcome::Ended(Arc::clone(&reason)));
        }
    }

    /// Why nothing is taken any more.
    pub(super) fn closed(&self) -> Option<Arc<str>> {
        self.state().closed.clone()
    }

    /// Counts a reader that came, or one that went.
    pub(super) fn reader(&self, came: bool) {
        match came {
            true => self.readers.fetch_add(1, Ordering::Relaxed),
            false => self.readers.fetch_sub(1, Ordering::Relaxed),
        };
    }

    /// Whether somebody reads.
    pub(super) fn is_read(&self) -> bool {
        self.readers.load(Ordering::Relaxed) > 0
    }
}
