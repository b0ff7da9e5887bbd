//! What went wrong, by the codes of AnalyticDB's client, and which rows it cost.

use std::fmt;

use kwsync_core::{Delivered, Error, ErrorKind, TableId, Value};

/// The codes of AnalyticDB's client SDK.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LoadCode {
    /// 101: rows could not be committed; the error has them.
    CommitRows,
    /// 102: a commit failed for another reason; no row is lost from the buffer.
    CommitOther,
    /// 103: rows could not be added.
    AddData,
    /// 104: the server cannot be reached, or refuses us.
    Connect,
    /// 105: a connection could not be closed.
    Close,
    /// 106: the configuration is wrong.
    Config,
    /// 107: the loader could not be stopped, as rows are not committed.
    Stop,
    /// 999: anything else.
    Other,
}

impl LoadCode {
    /// The number.
    #[must_use]
    pub const fn number(self) -> u16 {
        match self {
            Self::CommitRows => 101,
            Self::CommitOther => 102,
            Self::AddData => 103,
            Self::Connect => 104,
            Self::Close => 105,
            Self::Config => 106,
            Self::Stop => 107,
            Self::Other => 999,
        }
    }

    /// The name that the SDK has for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::CommitRows => "COMMIT_ERROR_DATA_LIST",
            Self::CommitOther => "COMMIT_ERROR_OTHER",
            Self::AddData => "ADD_DATA_ERROR",
            Self::Connect => "CREATE_CONNECTION_ERROR",
            Self::Close => "CLOSE_CONNECTION_ERROR",
            Self::Config => "CONFIG_ERROR",
            Self::Stop => "STOP_ERROR",
            Self::Other => "OTHER",
        }
    }
}

/// A row that was not written, and why.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct FailedRow {
    /// The table.
    pub table: TableId,
    /// The values, in the order of the configured columns.
    pub values: Vec<Value<'static>>,
    /// A stable code: the server's SQLSTATE, or ours in snake case.
    pub code: String,
    /// The reason, for a person.
    pub reason: String,
}

/// An error of a [`Loader`](super::Loader).
#[derive(Debug)]
pub struct LoadError {
    code: LoadCode,
    rows: Vec<FailedRow>,
    error: Box<Error>,
}

impl LoadError {
    pub(super) fn new(code: LoadCode, error: Error) -> Self {
        Self { code, rows: Vec::new(), error: Box::new(error) }
    }

    pub(super) fn config(text: String) -> Self {
        Self::new(LoadCode::Config, Error::config(text))
    }

    pub(super) fn rows(rows: Vec<FailedRow>) -> Self {
        let first =
            rows.first().map_or(String::new(), |row| format!(": {} (table {})", row.reason, row.table));
        let text = format!("{} rows could not be committed{first}", rows.len());
        let error = Error::new(ErrorKind::Data, text)
            .with_hint("mend the rows and add them again, or leave them out");
        Self { code: LoadCode::CommitRows, rows, error: Box::new(error) }
    }

    /// The same, where something else failed as well: rows are still in the buffer for it.
    pub(super) fn with_failure(mut self, failure: Option<Error>) -> Self {
        if let Some(failure) = failure {
            let text =
                format!("{}; and others are still buffered, as {}", self.error.message(), failure.message());
            let delivered = failure.delivered();
            self.error =
                Box::new(Error::new(ErrorKind::Data, text).with_delivered(delivered).with_source(failure));
        }
        self
    }

    /// The code.
    #[must_use]
    pub const fn code(&self) -> LoadCode {
        self.code
    }

    /// The rows that it cost: they are no longer in the buffer.
    #[must_use]
    pub fn failed_rows(&self) -> &[FailedRow] {
        &self.rows
    }

    /// The same, taken out.
    #[must_use]
    pub fn into_failed_rows(self) -> Vec<FailedRow> {
        self.rows
    }

    /// Whether rows may have been committed although the commit failed.
    #[must_use]
    pub fn in_doubt(&self) -> bool {
        self.error.delivered() == Delivered::InDoubt
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.code.name(), self.code.number(), self.error.message())
    }
}

impl std::error::Error for LoadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.error)
    }
}
