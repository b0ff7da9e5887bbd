//! COPY, in and out, by the simple protocol.

use bytes::{Buf, Bytes};
use fallible_iterator::FallibleIterator;
use postgres_protocol::IsNull;
use postgres_protocol::message::backend::Message;
use postgres_protocol::message::frontend;

use super::connection::{Connection, protocol};
use super::error::ServerError;
use super::query::affected;
use crate::{Delivered, Error, ErrorKind, Result};

/// Bytes at the front of a buffer for [`CopyIn::send`] that belong to the protocol: its message's header.
pub const COPY_HEADER_BYTES: usize = 5;

/// The longest message that is sent; the protocol counts in i32, and servers take less (KWDB: 128 MiB).
const MAX_MESSAGE: usize = 64 << 20;

/// `COPY ... FROM STDIN` under way. Finish it, or [`fail`](Self::fail) it; dropped, it breaks the session, and the
/// server rolls the COPY back.
#[derive(Debug)]
pub struct CopyIn<'a> {
    connection: &'a mut Connection,
}

impl Connection {
    /// Starts `sql`, which is one `COPY ... FROM STDIN`, by the simple protocol.
    ///
    /// # Errors
    /// What the server says; the session goes on.
    ///
    /// # Cancel safety
    /// Dropping the future breaks the session.
    pub async fn copy_in(&mut self, sql: &str) -> Result<CopyIn<'_>> {
        self.start_copy(sql).await?;
        match self.receive().await? {
            Message::CopyInResponse(_) => Ok(CopyIn { connection: self }),
            other => Err(self.no_copy(other, sql).await),
        }
    }

    /// Starts `sql`, which is one `COPY ... TO STDOUT`, by the simple protocol.
    ///
    /// # Errors
    /// What the server says; the session goes on.
    ///
    /// # Cancel safety
    /// Dropping the future breaks the session.
    pub async fn copy_out(&mut self, sql: &str) -> Result<CopyOut<'_>> {
        self.start_copy(sql).await?;
        match self.receive().await? {
            Message::CopyOutResponse(_) => Ok(CopyOut { connection: self, rows: None, done: false }),
            other => Err(self.no_copy(other, sql).await),
        }
    }

    /// Starts `sql`, which is one SELECT, and has its rows come as COPY BINARY would send them, header and trailer
    /// included: for servers, and what stands before them, that have no `COPY ... TO STDOUT`. All its columns must have a
    /// binary form.
    ///
    /// # Errors
    /// What the server says, here or from the first call for data on; the session goes on.
    ///
    /// # Cancel safety
    /// Dropping the future breaks the session.
    pub async fn select_out(&mut self, sql: &str) -> Result<CopyOut<'_>> {
        self.start()?;
        let nul = |error: std::io::Error| Error::config("a statement holds a NUL").with_source(error);
        frontend::parse("", sql, [], &mut self.output).map_err(nul)?;
        // No parameters, and all results in binary.
        let bound = frontend::bind(
            "",
            "",
            [],
            std::iter::empty::<()>(),
            |(), _| Ok(IsNull::Yes),
            [1],
            &mut self.output,
        );
        bound.map_err(|_| Error::new(ErrorKind::Internal, "a statement cannot be bound"))?;
        frontend::execute("", 0, &mut self.output).map_err(nul)?;
        frontend::sync(&mut self.output);
        self.send().await?;
        Ok(CopyOut { connection: self, rows: Some(Rows::Before), done: false })
    }

    async fn start_copy(&mut self, sql: &str) -> Result<()> {
        self.start()?;
        frontend::query(sql, &mut self.output)
            .map_err(|error| Error::config("a statement holds a NUL").with_source(error))?;
        self.send().await
    }

    async fn no_copy(&mut self, message: Message, sql: &str) -> Error {
        match message {
            Message::ErrorResponse(body) => match ServerError::parse(body.fields()) {
                Ok(error) => match self.until_ready().await {
                    Ok(_) => error.into(),
                    Err(lost) => lost,
                },
                Err(error) => protocol(error),
            },
            _ => self.unexpected(sql),
        }
    }

    /// [`copy_in`](Self::copy_in) for one who keeps the connection and calls [`copy_send`](Self::copy_send) and
    /// [`copy_finish`](Self::copy_finish) on it.
    ///
    /// # Errors
    /// As [`copy_in`](Self::copy_in).
    ///
    /// # Cancel safety
    /// Dropping the future breaks the session.
    pub async fn copy_start(&mut self, sql: &str) -> Result<()> {
        self.copy_in(sql).await.map(|_| ())
    }

    /// As [`CopyIn::send`], with a COPY under way.
    ///
    /// # Errors
    /// As [`CopyIn::send`].
    ///
    /// # Cancel safety
    /// As [`CopyIn::send`].
    pub async fn copy_send(&mut self, frame: &mut [u8]) -> Result<()> {
        let length = frame.len().saturating_sub(1);
        if length > MAX_MESSAGE || frame.len() < COPY_HEADER_BYTES {
            return Err(Error::new(ErrorKind::Limit, format!("a COPY message of {length} bytes")));
        }
        if let Some((tag, rest)) = frame.split_first_mut() {
            *tag = b'd';
            rest.get_mut(..4).unwrap_or_default().copy_from_slice(&(length as u32).to_be_bytes());
        }
        if self.send_while_listening(frame).await? {
            return Ok(());
        }
        // The server ends a COPY early only with an error. The message was cut off: the session is lost.
        let fault = self.copy_fault().await;
        self.busy = true;
        Err(fault)
    }

    /// What the server said that ended a COPY early.
    async fn copy_fault(&mut self) -> Error {
        match self.receive().await {
            Ok(Message::ErrorResponse(body)) => {
                ServerError::parse(body.fields()).map_or_else(protocol, Error::from)
            }
            Ok(_) => self.unexpected("COPY data"),
            Err(error) => error,
        }
    }
}

impl Connection {
    /// As [`CopyIn::finish`], with a COPY under way.
    ///
    /// # Errors
    /// As [`CopyIn::finish`].
    ///
    /// # Cancel safety
    /// As [`CopyIn::finish`].
    pub async fn copy_finish(&mut self) -> Result<u64> {
        CopyIn { connection: self }.finish().await
    }
}

impl CopyIn<'_> {
    /// Sends one message of COPY data; 1 to 2 MB are best. The first [`COPY_HEADER_BYTES`] of `frame` are the
    /// caller's to leave free; they are filled in here, so that nothing has to be copied.
    ///
    /// # Errors
    /// What the server says as soon as it says it: a bad row among those sent before, a failed server. The COPY
    /// has ended then, and the rest of the message was not sent, which breaks the session.
    ///
    /// # Cancel safety
    /// Dropping the future breaks the session; the server rolls the COPY back.
    pub async fn send(&mut self, frame: &mut [u8]) -> Result<()> {
        self.connection.copy_send(frame).await
    }

    /// Ends the COPY and returns the number of rows that it took.
    ///
    /// # Errors
    /// What the server says. Outside a transaction, delivery is in doubt when the connection is lost here.
    ///
    /// # Cancel safety
    /// Dropping the future breaks the session; outside a transaction the rows may have arrived.
    pub async fn finish(self) -> Result<u64> {
        let connection = self.connection;
        frontend::copy_done(&mut connection.output);
        let in_doubt = |error: Error| error.with_delivered(Delivered::InDoubt);
        connection.send().await?;
        let mut rows = 0;
        let mut fault = None;
        loop {
            match connection.receive().await.map_err(in_doubt)? {
                Message::CommandComplete(body) => rows = affected(body.tag().map_err(protocol)?),
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
                        None => Ok(rows),
                    };
                }
                _ => {}
            }
        }
    }

    /// Breaks the COPY off; the server takes none of its rows, and the session goes on.
    ///
    /// # Errors
    /// When the connection is lost.
    ///
    /// # Cancel safety
    /// Dropping the future breaks the session; the server rolls the COPY back.
    pub async fn fail(self, why: &str) -> Result<()> {
        let why = why.replace('\0', " ");
        frontend::copy_fail(&why, &mut self.connection.output).map_err(protocol)?;
        self.connection.send().await?;
        // The error that answers is our own.
        self.connection.until_ready().await.map(|_| ())
    }
}

/// What COPY BINARY begins with: its signature, no flags, no extension.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// What it ends with.
const TRAILER: &[u8] = &[0xff; 2];

/// How far rows of a SELECT are that pass for a COPY.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rows {
    Before,
    Among,
}

/// `COPY ... TO STDOUT`, or a SELECT in its place, under way.
#[derive(Debug)]
pub struct CopyOut<'a> {
    connection: &'a mut Connection,
    /// For a SELECT. A message with a row is laid out as the row in COPY BINARY.
    rows: Option<Rows>,
    done: bool,
}

impl CopyOut<'_> {
    /// The next piece of data, as the server cut it (a row at a time, as a rule), or `None` at the end.
    ///
    /// # Errors
    /// What the server says; the session goes on.
    ///
    /// # Cancel safety
    /// Nothing is lost: the next call returns the data.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        if self.done {
            return Ok(None);
        }
        if self.rows == Some(Rows::Before) {
            self.rows = Some(Rows::Among);
            return Ok(Some(Bytes::from_static(HEADER)));
        }
        loop {
            match self.connection.receive().await? {
                Message::CopyData(body) => return Ok(Some(body.into_bytes())),
                Message::DataRow(body) => {
                    let count = body.ranges().count().map_err(protocol)? as u16;
                    return Ok(Some([count.to_be_bytes().as_slice(), body.buffer_bytes()].concat().into()));
                }
                Message::ErrorResponse(body) => {
                    let error = ServerError::parse(body.fields()).map_err(protocol)?;
                    self.done = true;
                    self.connection.until_ready().await?;
                    return Err(error.into());
                }
                Message::ReadyForQuery(_) => {
                    self.done = true;
                    return Ok(self.rows.map(|_| Bytes::from_static(TRAILER)));
                }
                _ => {}
            }
        }
    }

    /// Passes on all data that has arrived, piece by piece as the server cut it, and waits where there is none. False
    /// at the end. Pieces are not taken out of the buffer one by one, which makes it faster than
    /// [`next`](Self::next).
    ///
    /// # Errors
    /// What the server says: the session goes on. What `take` says: the session is broken.
    ///
    /// # Cancel safety
    /// Nothing is lost: the next call goes on.
    pub async fn read(&mut self, mut take: impl FnMut(&[u8]) -> Result<()> + Send) -> Result<bool> {
        let tag = if self.rows.is_some() { b'D' } else { b'd' };
        if !self.done && self.rows == Some(Rows::Before) {
            self.rows = Some(Rows::Among);
            take(HEADER)?;
        }
        while !self.done {
            let mut used = 0;
            let mut taken = Ok(());
            while let Some((&[kind, a, b, c, d], rest)) =
                self.connection.input.get(used..).and_then(|input| input.split_first_chunk::<5>())
            {
                if kind != tag {
                    break;
                }
                let length = u32::from_be_bytes([a, b, c, d]) as usize;
                let Some(data) = length.checked_sub(4).and_then(|length| rest.get(..length)) else { break };
                used += 1 + length;
                taken = take(data);
                if taken.is_err() {
                    break;
                }
            }
            self.connection.input.advance(used);
            taken?;
            if used > 0 {
                return Ok(true);
            }
            // No whole piece of data is there: another message is, or more must come.
            match self.connection.parse()? {
                None => self.connection.fill().await?,
                Some(message) => match self.connection.note(message)? {
                    Some(Message::ErrorResponse(body)) => {
                        let error = ServerError::parse(body.fields()).map_err(protocol)?;
                        self.done = true;
                        self.connection.until_ready().await?;
                        return Err(error.into());
                    }
                    Some(Message::ReadyForQuery(_)) => {
                        self.done = true;
                        if self.rows.is_some() {
                            take(TRAILER)?;
                            return Ok(true);
                        }
                    }
                    // Data of a length that makes no sense was refused by the parser.
                    _ => {}
                },
            }
        }
        Ok(false)
    }
}
