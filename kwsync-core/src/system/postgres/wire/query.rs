//! Statements, by the simple and by the extended protocol.

use std::ops::Range;

use bytes::Bytes;
use fallible_iterator::FallibleIterator;
use postgres_protocol::message::backend::{DataRowBody, Message};
use postgres_protocol::message::frontend;

use super::connection::{Connection, protocol};
use super::error::ServerError;
use crate::{Error, Result};

/// What one statement returned.
#[derive(Clone, Debug, Default)]
pub struct QueryResult {
    /// The rows, if it returns rows.
    pub rows: Rows,
    /// The command tag: `SELECT 3`, `INSERT 0 5`, `CREATE TABLE`.
    pub tag: String,
}

impl QueryResult {
    /// Rows touched, as the tag tells; 0 where it tells none.
    pub fn affected(&self) -> u64 {
        affected(&self.tag)
    }
}

pub(super) fn affected(tag: &str) -> u64 {
    tag.rsplit(' ').next().and_then(|word| word.parse().ok()).unwrap_or(0)
}

/// Rows of text values.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    columns: Vec<String>,
    rows: Vec<(Bytes, Vec<Option<Range<usize>>>)>,
}

impl Rows {
    /// The names of the columns.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// A value as text; `None` when it is null, not UTF-8, or there is none.
    pub fn get(&self, row: usize, column: usize) -> Option<&str> {
        let (bytes, ranges) = self.rows.get(row)?;
        let range = ranges.get(column)?.clone()?;
        std::str::from_utf8(bytes.get(range)?).ok()
    }

    pub(super) fn new(columns: Vec<String>) -> Self {
        Self { columns, rows: Vec::new() }
    }

    pub(super) fn push(&mut self, body: &DataRowBody) -> Result<()> {
        let ranges = body.ranges().collect().map_err(protocol)?;
        self.rows.push((body.buffer_bytes().clone(), ranges));
        Ok(())
    }
}

/// A column that a statement returns.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Described {
    /// Its name.
    pub name: String,
    /// The table that it comes from as it is; 0 for an expression.
    pub table_oid: u32,
    /// Its number in that table, counted from 1; 0 for an expression.
    pub column: i16,
    /// The type, domains resolved.
    pub type_oid: u32,
    /// The type's modifier; -1 where there is none.
    pub modifier: i32,
}

impl Connection {
    /// What `sql`, one statement, returns. It is parsed and not run.
    ///
    /// # Errors
    /// As [`simple_query`](Self::simple_query).
    ///
    /// # Cancel safety
    /// Dropping the future breaks the session.
    pub async fn describe(&mut self, sql: &str) -> Result<Vec<Described>> {
        self.start()?;
        let nul = |error: std::io::Error| Error::config("a statement holds a NUL").with_source(error);
        frontend::parse("", sql, [], &mut self.output).map_err(nul)?;
        frontend::describe(b'S', "", &mut self.output).map_err(nul)?;
        frontend::sync(&mut self.output);
        self.send().await?;
        let mut columns = Vec::new();
        let mut fault = None;
        loop {
            match self.receive().await? {
                Message::RowDescription(body) => {
                    let mut fields = body.fields();
                    while let Some(field) = fields.next().map_err(protocol)? {
                        columns.push(Described {
                            name: field.name().to_owned(),
                            table_oid: field.table_oid(),
                            column: field.column_id(),
                            type_oid: field.type_oid(),
                            modifier: field.type_modifier(),
                        });
                    }
                }
                Message::ErrorResponse(body) => {
                    let error = ServerError::parse(body.fields()).map_err(protocol)?;
                    if matches!(error.severity.as_str(), "FATAL" | "PANIC") {
                        return Err(error.into());
                    }
                    fault.get_or_insert(error);
                }
                Message::ReadyForQuery(_) => {
                    return match fault {
                        Some(error) => Err(error.into()),
                        None => Ok(columns),
                    };
                }
                _ => {}
            }
        }
    }

    /// Runs `sql`, one statement or several, by the simple protocol, and returns what each returned.
    ///
    /// # Errors
    /// What the server says, with its SQLSTATE; the session goes on.
    ///
    /// # Cancel safety
    /// Dropping the future breaks the session.
    pub async fn simple_query(&mut self, sql: &str) -> Result<Vec<QueryResult>> {
        self.start()?;
        frontend::query(sql, &mut self.output)
            .map_err(|error| Error::config("a statement holds a NUL").with_source(error))?;
        self.send().await?;
        let mut results = Vec::new();
        let mut rows = Rows::default();
        let mut fault = None;
        loop {
            match self.receive().await? {
                Message::RowDescription(body) => {
                    let mut fields = body.fields();
                    while let Some(field) = fields.next().map_err(protocol)? {
                        rows.columns.push(field.name().to_owned());
                    }
                }
                Message::DataRow(body) => rows.push(&body)?,
                Message::CommandComplete(body) => {
                    let tag = body.tag().map_err(protocol)?.to_owned();
                    results.push(QueryResult { rows: std::mem::take(&mut rows), tag });
                }
                Message::EmptyQueryResponse => {}
                Message::ErrorResponse(body) => {
                    let error = ServerError::parse(body.fields()).map_err(protocol)?;
                    if matches!(error.severity.as_str(), "FATAL" | "PANIC") {
                        return Err(error.into());
                    }
                    fault.get_or_insert(error);
                }
                Message::ReadyForQuery(_) => {
                    return match fault {
                        Some(error) => Err(error.into()),
                        None => Ok(results),
                    };
                }
                // COPY has methods of its own; here it is ended without a row.
                Message::CopyInResponse(_) => {
                    frontend::copy_fail("COPY is not expected here", &mut self.output).map_err(protocol)?;
                    self.send().await?;
                }
                _ => {}
            }
        }
    }

    /// Runs one statement by the extended protocol, its parameters as text; the server infers their types.
    ///
    /// # Errors
    /// As [`simple_query`](Self::simple_query).
    ///
    /// # Cancel safety
    /// Dropping the future breaks the session.
    pub async fn query(&mut self, sql: &str, parameters: &[Option<&str>]) -> Result<QueryResult> {
        self.start()?;
        let nul = |error: std::io::Error| Error::config("a statement holds a NUL").with_source(error);
        frontend::parse("", sql, [], &mut self.output).map_err(nul)?;
        frontend::bind(
            "",
            "",
            [],
            parameters.iter(),
            |parameter, out| match parameter {
                Some(text) => {
                    out.extend_from_slice(text.as_bytes());
                    Ok(postgres_protocol::IsNull::No)
                }
                None => Ok(postgres_protocol::IsNull::Yes),
            },
            [],
            &mut self.output,
        )
        .map_err(|_| Error::config("a statement has too many or too long parameters"))?;
        frontend::describe(b'P', "", &mut self.output).map_err(nul)?;
        frontend::execute("", 0, &mut self.output).map_err(nul)?;
        frontend::sync(&mut self.output);
        self.send().await?;
        let mut result = QueryResult::default();
        let mut fault = None;
        loop {
            match self.receive().await? {
                Message::RowDescription(body) => {
                    let mut fields = body.fields();
                    while let Some(field) = fields.next().map_err(protocol)? {
                        result.rows.columns.push(field.name().to_owned());
                    }
                }
                Message::DataRow(body) => result.rows.push(&body)?,
                Message::CommandComplete(body) => body.tag().map_err(protocol)?.clone_into(&mut result.tag),
                Message::ErrorResponse(body) => {
                    let error = ServerError::parse(body.fields()).map_err(protocol)?;
                    if matches!(error.severity.as_str(), "FATAL" | "PANIC") {
                        return Err(error.into());
                    }
                    fault.get_or_insert(error);
                }
                Message::ReadyForQuery(_) => {
                    return match fault {
                        Some(error) => Err(error.into()),
                        None => Ok(result),
                    };
                }
                _ => {}
            }
        }
    }
}
