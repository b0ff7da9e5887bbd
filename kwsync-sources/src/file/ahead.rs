//! Reading ahead on a thread of its own.

use kwsync_core::{Error, ErrorKind, Result};
use tokio::sync::mpsc;

/// What a thread reads, in order. A thread that broke off is told apart from one that came to its end: only what
/// says that it is the end of the input is taken for it.
#[derive(Debug)]
pub(crate) struct Ahead<T> {
    items: mpsc::Receiver<Result<Option<T>>>,
    name: String,
    ended: bool,
}

impl<T: Send + 'static> Ahead<T> {
    /// Runs `work`, which hands on what it reads from the input `name` until it is told that nobody listens any
    /// more; it is at most two items ahead. The thread ends when this value is dropped, or with the process: one
    /// that waits for a pipe holds nobody up.
    pub(crate) fn spawn(
        name: String,
        work: impl FnOnce(&mut dyn FnMut(T) -> bool) -> Result<()> + Send + 'static,
    ) -> Result<Self> {
        let (sender, items) = mpsc::channel(1);
        std::thread::Builder::new()
            .name("kwsync-file".to_owned())
            .spawn(move || {
                let result = work(&mut |item| sender.blocking_send(Ok(Some(item))).is_ok());
                // Nobody listens any more, or the end or the fault arrives.
                sender.blocking_send(result.map(|()| None)).ok();
            })
            .map_err(|error| Error::io("cannot start a thread", error))?;
        Ok(Self { items, name, ended: false })
    }

    /// The next item, or `None` at the end of the input.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub(crate) async fn next(&mut self) -> Result<Option<T>> {
        if self.ended {
            return Ok(None);
        }
        let item = self.items.recv().await.unwrap_or_else(|| {
            let text = format!("the reading of {} broke off before its end", self.name);
            Err(Error::new(ErrorKind::Internal, text))
        })?;
        self.ended = item.is_none();
        Ok(item)
    }
}
