//! The queue between a reading and a writing task: bounded in bytes, not in messages.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// The unit of the byte bound; a permit counts as many as its message holds.
const UNIT: usize = 1 << 10;

pub(super) struct Sender<T> {
    messages: mpsc::UnboundedSender<(T, OwnedSemaphorePermit)>,
    room: Arc<Semaphore>,
    units: usize,
}

pub(super) struct Receiver<T> {
    messages: mpsc::UnboundedReceiver<(T, OwnedSemaphorePermit)>,
}

/// A queue that holds at most `bytes`; a message larger than that passes alone. The channel below is unbounded
/// in messages, but no message enters it without its share of the bytes.
pub(super) fn queue<T>(bytes: usize) -> (Sender<T>, Receiver<T>) {
    let units = (bytes / UNIT).clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
    let (sender, receiver) = mpsc::unbounded_channel();
    (
        Sender { messages: sender, room: Arc::new(Semaphore::new(units)), units },
        Receiver { messages: receiver },
    )
}

impl<T> Sender<T> {
    /// Waits for room, then sends. False when the receiver is gone.
    pub(super) async fn send(&self, message: T, bytes: usize) -> bool {
        let units = bytes.div_ceil(UNIT).clamp(1, self.units) as u32;
        match Arc::clone(&self.room).acquire_many_owned(units).await {
            Ok(permit) => self.messages.send((message, permit)).is_ok(),
            Err(_) => false,
        }
    }
}

impl<T> Receiver<T> {
    /// The next message; its room is free again at once, since what the writer holds has its own bound.
    pub(super) async fn recv(&mut self) -> Option<T> {
        self.messages.recv().await.map(|(message, _permit)| message)
    }
}
