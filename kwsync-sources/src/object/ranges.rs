//! An object as something that can be read anywhere, by a thread that may wait.

use std::collections::VecDeque;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use kwsync_core::system::object::{ObjectClient, ObjectInfo};
use kwsync_core::{Error, Result};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// Bytes that are fetched at a time.
const BLOCK: u64 = 1 << 20;
/// Blocks that are remembered: the columns of a row group are read side by side.
const BLOCKS: usize = 64;

/// A block that is wanted, and who waits for it.
type Ask = (Range<u64>, oneshot::Sender<Result<Bytes>>);

/// Fetches for a thread that waits. The requests are made by a task, which ends when this is dropped.
#[derive(Debug)]
pub(super) struct Fetching(JoinHandle<()>);

impl Drop for Fetching {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The thread's side; clones share what is remembered.
#[derive(Clone, Debug)]
pub(super) struct Ranges {
    len: u64,
    asks: mpsc::Sender<Ask>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// The blocks that were used last, by their numbers; the newest at the end.
    blocks: Mutex<VecDeque<(u64, Bytes)>>,
    /// What went wrong, as it was: those who read wrap it.
    fault: Mutex<Option<Error>>,
}

impl Ranges {
    /// To be called where there is a runtime.
    pub(super) fn open(client: &ObjectClient, object: &ObjectInfo) -> (Self, Fetching) {
        let (asks, mut asked) = mpsc::channel::<Ask>(1);
        let (client, object) = (client.clone(), object.clone());
        let len = object.size;
        let task = tokio::spawn(async move {
            while let Some((range, answer)) = asked.recv().await {
                // Whoever has asked may be gone.
                drop(answer.send(client.range(&object, range).await));
            }
        });
        (Self { len, asks, shared: Arc::default() }, Fetching(task))
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// What went wrong with the service, if that is why reading failed.
    pub(super) fn take_fault(&self) -> Option<Error> {
        self.shared.fault.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The bytes of a range, all of them. Waits.
    pub(super) fn read(&self, range: Range<u64>) -> io::Result<Bytes> {
        let range = range.start..range.end.min(self.len);
        let first = range.start / BLOCK;
        let part = |number: u64| {
            let block = self.block(number)?;
            let within = |at: u64| at.saturating_sub(number * BLOCK).min(block.len() as u64) as usize;
            Ok::<_, io::Error>(block.slice(within(range.start)..within(range.end)))
        };
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        if range.end <= (first + 1) * BLOCK {
            return part(first);
        }
        let mut bytes = BytesMut::with_capacity((range.end - range.start) as usize);
        for number in first..=(range.end - 1) / BLOCK {
            bytes.extend_from_slice(&part(number)?);
        }
        Ok(bytes.freeze())
    }

    fn block(&self, number: u64) -> io::Result<Bytes> {
        let mut blocks = self.shared.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = blocks.iter().position(|(known, _)| *known == number)
            && let Some(block) = blocks.remove(at)
        {
            let bytes = block.1.clone();
            blocks.push_back(block);
            return Ok(bytes);
        }
        let range = number * BLOCK..self.len.min((number + 1) * BLOCK);
        let (answer, answered) = oneshot::channel();
        let gone = || io::Error::new(io::ErrorKind::BrokenPipe, "nobody fetches any more");
        self.asks.blocking_send((range, answer)).map_err(|_| gone())?;
        let bytes = answered.blocking_recv().map_err(|_| gone())?.map_err(|error| {
            let text = error.to_string();
            *self.shared.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            io::Error::other(text)
        })?;
        if blocks.len() >= BLOCKS {
            blocks.pop_front();
        }
        blocks.push_back((number, bytes.clone()));
        Ok(bytes)
    }
}

/// An object as a file that is read from somewhere on.
#[derive(Debug)]
pub(super) struct Cursor {
    ranges: Ranges,
    at: u64,
}

impl Cursor {
    pub(super) fn new(ranges: Ranges) -> Self {
        Self { ranges, at: 0 }
    }
}

impl Read for Cursor {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        // Up to the end of a block: no more than one is waited for.
        let end = ((self.at / BLOCK + 1) * BLOCK).min(self.at.saturating_add(out.len() as u64));
        let bytes = self.ranges.read(self.at..end.max(self.at))?;
        if let Some(out) = out.get_mut(..bytes.len()) {
            out.copy_from_slice(&bytes);
        }
        self.at += bytes.len() as u64;
        Ok(bytes.len())
    }
}

impl Seek for Cursor {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let to = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.ranges.len.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = to.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "before the start"))?;
        Ok(self.at)
    }
}
