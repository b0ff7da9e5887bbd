//! What a server says went wrong.

use std::fmt;

use fallible_iterator::FallibleIterator;
use postgres_protocol::message::backend::ErrorFields;

use crate::{Error, ErrorKind, Location, SqlStateClass, classify_sqlstate};

/// An error or a notice as the server sent it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerError {
    /// `ERROR`, `FATAL`, `PANIC`, `WARNING`, `NOTICE` ...
    pub severity: String,
    /// SQLSTATE, five characters.
    pub code: String,
    /// One line.
    pub message: String,
    /// More about it; may hold users' data.
    pub detail: Option<String>,
    /// The server's advice.
    pub hint: Option<String>,
    /// Where it happened: for COPY, `COPY t, line 3, column c`.
    pub context: Option<String>,
    /// The schema of the table.
    pub schema: Option<String>,
    /// The table.
    pub table: Option<String>,
    /// The column.
    pub column: Option<String>,
    /// The constraint.
    pub constraint: Option<String>,
}

impl ServerError {
    pub(super) fn parse(mut fields: ErrorFields<'_>) -> std::io::Result<Self> {
        let mut error = Self::default();
        while let Some(field) = fields.next()? {
            let text = String::from_utf8_lossy(field.value_bytes()).into_owned();
            match field.type_() {
                // The untranslated severity, where the server sends it, comes after the translated one.
                b'S' | b'V' => error.severity = text,
                b'C' => error.code = text,
                b'M' => error.message = text,
                b'D' => error.detail = Some(text),
                b'H' => error.hint = Some(text),
                b'W' => error.context = Some(text),
                b's' => error.schema = Some(text),
                b't' => error.table = Some(text),
                b'c' => error.column = Some(text),
                b'n' => error.constraint = Some(text),
                _ => {}
            }
        }
        Ok(error)
    }

    /// The row, from 1, that a COPY into `table` stumbled over, by the last line of the context that speaks of it.
    /// Only the first number behind the known name counts, since the names of tables are hostile: a table may be
    /// called `x, line 3`.
    pub fn copy_line(&self, table: &str) -> Option<u64> {
        let start = format!("COPY {table}, ");
        let line = self.context.as_deref()?.lines().rev().find_map(|line| line.strip_prefix(&start))?;
        let digits = line.find(|c: char| c.is_ascii_digit())?;
        let rest = line.get(digits..)?;
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        rest.get(..end)?.parse().ok()
    }

    /// Whose fault it is.
    pub fn class(&self) -> SqlStateClass {
        classify_sqlstate(&self.code).0
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.severity, self.message)?;
        if let Some(context) = self.context.as_deref().and_then(|context| context.lines().next()) {
            write!(f, " ({context})")?;
        }
        Ok(())
    }
}

impl std::error::Error for ServerError {}

impl From<ServerError> for Error {
    fn from(server: ServerError) -> Self {
        let (_, kind) = classify_sqlstate(&server.code);
        let hint = match (&server.hint, kind) {
            (Some(hint), _) => Some(hint.clone()),
            (None, kind) => advice(kind, &server.code).map(str::to_owned),
        };
        let mut place = Location::new();
        if let Some(table) = &server.table {
            place = place.with_table(table.as_str());
        }
        if let Some(column) = &server.column {
            place = place.with_column(column.as_str());
        }
        let mut error = Self::new(kind, server.message.clone()).with_code(server.code.clone());
        if !place.is_empty() {
            error = error.with_location(place);
        }
        if let Some(hint) = hint {
            error = error.with_hint(hint);
        }
        error.with_source(server)
    }
}

/// What a person can do about an error for which the server has no hint.
fn advice(kind: ErrorKind, code: &str) -> Option<&'static str> {
    Some(match (kind, code) {
        (ErrorKind::Auth, _) => "check the user and the password; a password is best given as ${VARIABLE}",
        (_, "3D000") => "check the database's name in the address, or create the database",
        (_, "42P01") => "create the table, or let it be created with create=missing",
        (_, "3F000") => "create the schema first",
        (_, "25006") => "the server or the database is read-only: connect to the primary",
        (ErrorKind::Permission, _) => "grant the user the right it needs",
        (ErrorKind::DiskFull, _) => "free space on the server, then run the same command again: it resumes",
        (ErrorKind::Unavailable, "53300") => {
            "the server has no connection left: use fewer --jobs, or raise its limit"
        }
        (ErrorKind::Unavailable, _) => {
            "the server is going down or starting; run the same command again: it resumes"
        }
        _ => return None,
    })
}
