//! When what was gathered is passed on, and how far the target has come with it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use kwsync_core::{Error, ErrorKind, Input, Position, Result, SourceBatch, SplitPosition};
use tokio::sync::watch;
use tokio::time::Instant;

use super::{Changing, Gathered};

/// Rows and bytes that are put together at most; a transaction with more comes in parts, and is committed as one.
const MOST_ROWS: usize = 65_536;
const MOST_BYTES: usize = 8 << 20;
/// Commits that may be under way: while one is, what comes is gathered for the next.
const COMMITS: usize = 2;
/// How often the position is moved on where nothing of ours comes.
const IDLE: Duration = Duration::from_secs(10);
/// How often the server may ask to have it moved on sooner, as it does when it goes down.
const HURRY: Duration = Duration::from_millis(500);

/// A place in a server's log.
pub(crate) trait Place: Clone + Ord + Send + Sync + 'static {
    /// As a checkpoint has it.
    fn position(&self) -> SplitPosition;

    /// The place that a checkpoint has.
    ///
    /// # Errors
    /// `Config` for what is no place of such a log.
    fn of(position: &SplitPosition) -> Result<Self>;

    /// The byte of the log, for messages.
    fn byte(&self) -> u64;
}

/// What a reader tells its task.
#[derive(Clone, Debug)]
pub(crate) struct Told<P> {
    pub(crate) settled: P,
    pub(crate) close: bool,
}

/// Tells the task of a stream what has settled.
#[derive(Debug)]
pub(crate) struct Telling<P>(watch::Sender<Told<P>>);

impl<P: Place> Telling<P> {
    /// What tells, and what is told.
    pub(crate) fn new(settled: P) -> (Self, watch::Receiver<Told<P>>) {
        let (telling, told) = watch::channel(Told { settled, close: false });
        (Self(telling), told)
    }

    pub(crate) fn settled(&self, position: &SplitPosition) -> Result<()> {
        let settled = P::of(position)?;
        self.0.send_modify(|told| {
            if settled > told.settled {
                told.settled = settled;
            }
        });
        Ok(())
    }

    /// Has the task say good-bye to the server, and waits until it has.
    pub(crate) async fn close(&self) {
        self.0.send_modify(|told| told.close = true);
        // A server that does not answer notices by itself.
        drop(tokio::time::timeout(Duration::from_secs(3), self.0.closed()).await);
    }
}

/// What has come of a stream, and was not settled yet.
#[derive(Debug)]
pub(crate) struct Flow<P, T> {
    pub(crate) gathered: Gathered<T>,
    /// Whether the stream is within a transaction.
    pub(crate) within: bool,
    /// Whether a part of it has been passed on.
    torn: bool,
    /// What lies behind the last transaction that was gathered.
    pub(crate) last: P,
    /// Where each commit under way ends.
    under_way: VecDeque<P>,
    pub(crate) settled: P,
    /// Up to where the server has nothing of ours, where that is further.
    idle: P,
    moved: Instant,
    /// Whether the server waits for us to move on.
    pub(crate) hurry: bool,
    /// The position that was passed on last.
    sent: P,
    /// Where the job is to end.
    until: Option<P>,
    pub(crate) reached: bool,
    /// Bytes that have come since the last batch.
    pub(crate) bytes: u64,
}

impl<P: Place, T: Changing> Flow<P, T> {
    pub(crate) fn new(at: P, until: Option<P>) -> Self {
        Self {
            gathered: Gathered::default(),
            within: false,
            torn: false,
            last: at.clone(),
            under_way: VecDeque::new(),
            settled: at.clone(),
            idle: at.clone(),
            moved: Instant::now(),
            hurry: false,
            sent: at,
            until,
            reached: false,
            bytes: 0,
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.gathered.rows >= MOST_ROWS || self.gathered.bytes >= MOST_BYTES
    }

    /// Whether the job is to end somewhere, and has not come there yet.
    #[cfg(feature = "postgres")]
    pub(crate) fn is_on_its_way(&self) -> bool {
        self.until.is_some() && !self.reached
    }

    /// The server has nothing of ours up to `place`.
    pub(crate) fn nothing_until(&mut self, place: P) {
        if !self.within && place > self.idle {
            self.idle = place;
        }
    }

    /// A transaction, or what stands alone, ends.
    pub(crate) fn ends(&mut self, behind: P) {
        self.within = false;
        if behind > self.last {
            self.last = behind;
        }
    }

    /// Whether something is to be passed on: whole transactions, a part of one that is large, or a position.
    pub(crate) fn is_due(&self) -> bool {
        if self.within {
            return self.is_full();
        }
        let wait = if self.hurry { HURRY } else { IDLE };
        let moved = (&self.last).max(&self.idle) > &self.sent
            && self.under_way.is_empty()
            && (self.reached || self.moved.elapsed() >= wait);
        let some = !self.gathered.is_empty() || self.torn || moved;
        some && self.under_way.len() < COMMITS
    }

    /// Whether the place where the job is to end has been reached: nothing more is read then, however much comes.
    pub(crate) fn look_for_the_end(&mut self) {
        let here = (&self.last).max(&self.idle);
        if !self.within && self.until.as_ref().is_some_and(|until| here >= until) {
            self.reached = true;
        }
    }

    /// Whether the job is at its end, and all has settled.
    ///
    /// # Errors
    /// `Internal` should something have been left.
    pub(crate) fn is_over(&self) -> Result<bool> {
        if !self.reached || self.is_due() || !self.under_way.is_empty() {
            return Ok(false);
        }
        // Nothing is read behind the place where the job is to end; so nothing can be waiting.
        if self.within || self.torn || !self.gathered.is_empty() {
            return Err(Error::new(
                ErrorKind::Internal,
                "the stream of changes ends before all was passed on",
            ));
        }
        Ok(true)
    }

    /// What was gathered.
    pub(crate) fn batch(&mut self, input: &Arc<Input>) -> Result<SourceBatch> {
        let part = self.within;
        let at = Position { byte: self.last.byte(), ..Position::default() };
        if !part && self.gathered.is_empty() && !self.torn && self.idle > self.last {
            self.last = self.idle.clone();
        }
        let decoded = self.gathered.take(input, at)?;
        self.torn = part;
        if !part {
            self.under_way.push_back(self.last.clone());
            (self.sent, self.moved, self.hurry) = (self.last.clone(), Instant::now(), false);
        }
        Ok(SourceBatch {
            bytes: std::mem::take(&mut self.bytes),
            commit: !part,
            unfinished: part,
            ..SourceBatch::of(decoded, self.last.position())
        })
    }

    pub(crate) fn settle(&mut self, settled: P) {
        if settled > self.settled {
            self.settled = settled;
        }
        while self.under_way.front().is_some_and(|end| *end <= self.settled) {
            self.under_way.pop_front();
        }
    }
}
