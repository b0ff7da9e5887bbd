//! Where refused records go that do not go to a file.

use std::fmt;

use super::Reject;
use crate::{BoxFuture, JobId, Result};

/// A place for refused records beside the reject file: a topic of dead letters. One serves a job; its lanes take turns.
///
/// What was appended stays, so that a job which is killed before its commit, and meets the same records again, appends them
/// once more: at least once. The place in the input tells which are the same.
///
/// # Examples
/// ```
/// use std::sync::Mutex;
///
/// use kwsync_core::{BoxFuture, DeadLetters, JobId, Reject, Result};
///
/// /// Keeps the reasons.
/// #[derive(Debug, Default)]
/// struct Reasons(Mutex<Vec<String>>);
///
/// impl DeadLetters for Reasons {
///     fn place(&self) -> String {
///         "memory".to_owned()
///     }
///
///     fn prepare(&self) -> BoxFuture<'_, Result<()>> {
///         Box::pin(async { Ok(()) })
///     }
///
///     fn append<'a>(&'a self, _job: &'a JobId, rejects: &'a [Reject]) -> BoxFuture<'a, Result<()>> {
///         self.0.lock().unwrap().extend(rejects.iter().map(|reject| reject.reason.clone()));
///         Box::pin(async { Ok(()) })
///     }
/// }
/// ```
pub trait DeadLetters: fmt::Debug + Send + Sync {
    /// What a person calls it: `topic dead-letters of Kafka broker:9092`.
    fn place(&self) -> String;

    /// Looks whether rejects would arrive, and makes what is missing. It is called when a job starts, before anything is
    /// read.
    ///
    /// The error says what stands in the way: a topic that is missing, brokers that cannot be reached.
    fn prepare(&self) -> BoxFuture<'_, Result<()>>;

    /// Appends rejects of a job, and returns when they are durable: what lies around them is committed after that.
    ///
    /// An error leaves it open which of them are there; the caller appends all of them again, or stops. Dropping the future
    /// does the same.
    fn append<'a>(&'a self, job: &'a JobId, rejects: &'a [Reject]) -> BoxFuture<'a, Result<()>>;
}
