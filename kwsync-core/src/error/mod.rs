//! One error type that answers four questions: what went wrong ([`ErrorKind`]), whether to try again
//! ([`Retry`]), whether the rows arrived all the same ([`Delivered`]), and where it happened ([`Location`]).

mod backoff;
mod kind;
mod location;
mod sqlstate;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;

pub use backoff::Backoff;
pub use kind::{Delivered, ErrorKind, Retry};
pub use location::{Location, Position, caret};
pub use sqlstate::{SqlStateClass, classify_sqlstate};

/// `Result` with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, where, and what to do about it.
///
/// The value is one pointer wide, so that `Result<(), Error>` costs eight bytes on the hot path.
///
/// `Display` prints this layer only, on one line; [`source`](std::error::Error::source) is the next
/// layer, and [`Error::report`] prints all of them with the excerpt and the hint.
///
/// # Examples
/// ```
/// use kwsync_core::{Error, ErrorKind, Retry};
///
/// let error = Error::new(ErrorKind::Unavailable, "cannot connect to db1:5432")
///     .with_retry(Retry::Backoff)
///     .with_hint("check that the server runs and that the port is right");
/// assert_eq!(error.to_string(), "cannot connect to db1:5432");
/// assert!(error.report().contains("check that the server runs"));
/// ```
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    retry: Retry,
    delivered: Delivered,
    message: Cow<'static, str>,
    hint: Option<Cow<'static, str>>,
    code: Option<Cow<'static, str>>,
    location: Option<Box<Location>>,
    source: Option<Box<dyn std::error::Error + Send + Sync + 'static>>,
}

/// For adapters whose callers bring their own I/O.
impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Self::io("cannot read the input", error)
    }
}

impl Error {
    /// An error of `kind`; `message` is one line that says what went wrong, without a full stop.
    ///
    /// Retry and delivery start as the kind's own defaults ([`ErrorKind::retry`], [`Delivered::No`]).
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner {
            kind,
            retry: kind.retry(),
            delivered: Delivered::No,
            message: message.into(),
            hint: None,
            code: None,
            location: None,
            source: None,
        }))
    }

    /// An error from the operating system; the kind follows [`std::io::ErrorKind`], and the hint says
    /// what to do about the common ones. `what` names the action and its object: `cannot open x.lp`.
    pub fn io(what: impl fmt::Display, error: std::io::Error) -> Self {
        use std::io::ErrorKind as Io;
        let (kind, hint) = match error.kind() {
            Io::NotFound => (ErrorKind::NotFound, "check the path"),
            Io::PermissionDenied => {
                (ErrorKind::Permission, "check the permissions of the file and of the folders above it")
            }
            Io::StorageFull | Io::QuotaExceeded => {
                (ErrorKind::DiskFull, "free some space, then run the same command again: it resumes")
            }
            Io::ReadOnlyFilesystem => {
                (ErrorKind::Permission, "the file system is read-only; choose another place")
            }
            Io::IsADirectory => {
                (ErrorKind::NotFound, "this is a directory; give a file, or a pattern such as 'dir/*'")
            }
            Io::ConnectionRefused => {
                (ErrorKind::Unavailable, "check that the server runs and that host and port are right")
            }
            Io::ConnectionReset | Io::ConnectionAborted | Io::BrokenPipe | Io::UnexpectedEof => {
                (ErrorKind::Unavailable, "the other side closed the connection; its log may say why")
            }
            Io::TimedOut => (ErrorKind::Timeout, "the other side did not answer in time"),
            _ => (ErrorKind::Io, ""),
        };
        let message = format!("{what}: {}", plain_io(&error));
        let made = Self::new(kind, message).with_source(error);
        if hint.is_empty() { made } else { made.with_hint(hint) }
    }

    /// A configuration error: nothing has been touched.
    pub fn config(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Config, message)
    }

    /// Sets whether trying again may help.
    #[must_use]
    pub fn with_retry(mut self, retry: Retry) -> Self {
        self.0.retry = retry;
        self
    }

    /// Sets whether the rows of the failed call have arrived.
    #[must_use]
    pub fn with_delivered(mut self, delivered: Delivered) -> Self {
        self.0.delivered = delivered;
        self
    }

    /// Sets the one-line advice: what the reader can do.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Sets the stable machine-readable code: a SQLSTATE, or a reason such as `type_conflict`.
    #[must_use]
    pub fn with_code(mut self, code: impl Into<Cow<'static, str>>) -> Self {
        self.0.code = Some(code.into());
        self
    }

    /// Sets the place.
    #[must_use]
    pub fn with_location(mut self, location: Location) -> Self {
        self.0.location = Some(Box::new(location));
        self
    }

    /// Sets the cause.
    #[must_use]
    pub fn with_source(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync + 'static>>,
    ) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// One error for all of `errors`, so that they can be mended in one go; nothing if there are none. Kind and place are
    /// those of the first.
    ///
    /// # Errors
    /// If there are any.
    pub fn all(errors: impl IntoIterator<Item = Self>) -> Result<()> {
        let mut errors: Vec<_> = errors.into_iter().collect();
        if errors.len() <= 1 {
            return errors.pop().map_or(Ok(()), Err);
        }
        let said: Vec<_> =
            errors.iter().enumerate().map(|(at, error)| format!("({}) {error}", at + 1)).collect();
        let mut hints: Vec<_> = errors.iter().filter_map(Self::hint).collect();
        hints.dedup();
        let kind = errors.first().map_or(ErrorKind::Config, Self::kind);
        let error = Self::new(kind, format!("{} faults: {}", said.len(), said.join("; ")));
        Err(if hints.is_empty() { error } else { error.with_hint(hints.join("; ")) })
    }

    /// Puts `what: ` before the message, to say what was being done.
    #[must_use]
    pub fn context(mut self, what: impl fmt::Display) -> Self {
        self.0.message = format!("{what}: {}", self.0.message).into();
        self
    }

    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether trying again may help.
    pub fn retry(&self) -> Retry {
        self.0.retry
    }

    /// Whether the rows of the failed call have arrived.
    pub fn delivered(&self) -> Delivered {
        self.0.delivered
    }

    /// The advice, if there is one.
    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// The machine-readable code: a SQLSTATE or a reject reason.
    pub fn code(&self) -> Option<&str> {
        self.0.code.as_deref()
    }

    /// Where it happened.
    pub fn location(&self) -> Option<&Location> {
        self.0.location.as_deref()
    }

    /// The message without place and cause.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The whole story for a person: message, place, excerpt with a caret, causes that add something,
    /// and the hint, over as many lines as it takes.
    pub fn report(&self) -> String {
        let mut text = self.to_string();
        if let Some(excerpt) = self.0.location.as_ref().and_then(|place| place.excerpt()) {
            text.push('\n');
            text.push_str(excerpt);
        }
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            let line = error.to_string();
            if !line.is_empty() && !text.contains(&line) {
                text.push_str("\n  caused by: ");
                text.push_str(&line);
            }
            cause = error.source();
        }
        if let Some(hint) = &self.0.hint {
            text.push_str("\n  hint: ");
            text.push_str(hint);
        }
        text
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        if let Some(code) = &self.0.code {
            write!(f, " [{code}]")?;
        }
        match &self.0.location {
            Some(place) if !place.is_empty() => write!(f, " ({place})"),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.0;
        f.debug_struct("Error")
            .field("kind", &inner.kind)
            .field("retry", &inner.retry)
            .field("delivered", &inner.delivered)
            .field("message", &inner.message)
            .field("hint", &inner.hint)
            .field("code", &inner.code)
            .field("location", &inner.location)
            .field("source", &inner.source)
            .finish()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

/// The text of an I/O error without Rust's "(os error 28)", which tells an operator nothing.
fn plain_io(error: &std::io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(end) => text.get(..end).unwrap_or(&text).to_owned(),
        None => text,
    }
}
