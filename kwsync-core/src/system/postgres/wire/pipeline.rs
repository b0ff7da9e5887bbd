//! Exchanges that do not wait for each other: a frame of messages is sent, and the answers are read when they come.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use fallible_iterator::FallibleIterator;
use postgres_protocol::message::backend::Message;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::connection::{Connection, protocol};
use super::error::ServerError;
use super::query::{QueryResult, Rows};
use crate::{Error, ErrorKind, Result};

/// The longest message that is sent; the protocol counts in i32, and servers take less (KWDB: 128 MiB).
const MAX_MESSAGE: usize = 64 << 20;

/// Messages to be sent in one go.
///
/// # Examples
/// ```
/// use kwsync_core::system::postgres::wire::Frame;
///
/// let mut frame = Frame::default();
/// frame.query("COPY t FROM STDIN")?;
/// frame.copy_data().extend_from_slice(b"1\n");
/// frame.end_copy_data();
/// frame.copy_done();
/// assert_eq!(frame.len(), 23 + 7 + 5);
/// # Ok::<(), kwsync_core::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct Frame {
    bytes: Vec<u8>,
    /// Where the message that is being filled begins.
    open: Option<usize>,
    /// Answers that the server will give.
    answers: usize,
}

/// What the server said to one query, or to the messages before one Sync.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Answer {
    /// What each statement returned that succeeded.
    pub results: Vec<QueryResult>,
    /// The fault that ended it.
    pub fault: Option<ServerError>,
}

/// What is under way on a connection.
#[derive(Debug, Default)]
pub(super) struct Pipe {
    due: usize,
    current: Answer,
    rows: Rows,
    answers: VecDeque<Answer>,
}

fn nul() -> Error {
    Error::config("a statement holds a NUL")
}

impl Frame {
    /// Bytes so far.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Forgets all of it.
    pub fn clear(&mut self) {
        self.bytes.clear();
        (self.open, self.answers) = (None, 0);
    }

    /// Statements by the simple protocol; one answer.
    ///
    /// # Errors
    /// `Config` when there is a NUL in them.
    pub fn query(&mut self, sql: &str) -> Result<()> {
        if sql.contains('\0') {
            return Err(nul());
        }
        self.begin(b'Q');
        self.bytes.extend_from_slice(sql.as_bytes());
        self.bytes.push(0);
        self.end();
        self.answers += 1;
        Ok(())
    }

    /// Where COPY data are appended, until [`end_copy_data`](Self::end_copy_data).
    pub fn copy_data(&mut self) -> &mut Vec<u8> {
        if self.open.is_none() {
            self.begin(b'd');
        }
        &mut self.bytes
    }

    /// Ends a message of COPY data; one that is too long becomes several.
    pub fn end_copy_data(&mut self) {
        let Some(start) = self.open else { return };
        let length = self.bytes.len() - start - 5;
        if length > MAX_MESSAGE {
            let data = self.bytes.split_off(start + 5);
            self.bytes.truncate(start);
            for part in data.chunks(MAX_MESSAGE) {
                self.begin(b'd');
                self.bytes.extend_from_slice(part);
                self.end();
            }
            return;
        }
        self.end();
    }

    /// The end of a COPY.
    pub fn copy_done(&mut self) {
        self.begin(b'c');
        self.end();
    }

    /// Prepares `sql` under `name`; parameters have the types with these ids, 0 where the server shall choose.
    ///
    /// # Errors
    /// `Config` when there is a NUL in it.
    pub fn parse(&mut self, name: &str, sql: &str, types: impl ExactSizeIterator<Item = u32>) -> Result<()> {
        if sql.contains('\0') || name.contains('\0') {
            return Err(nul());
        }
        self.begin(b'P');
        self.text(name);
        self.text(sql);
        self.bytes.extend_from_slice(&(types.len() as u16).to_be_bytes());
        for id in types {
            self.bytes.extend_from_slice(&id.to_be_bytes());
        }
        self.end();
        Ok(())
    }

    /// Forgets the prepared statement `name`, if there is one.
    ///
    /// # Errors
    /// `Config` when there is a NUL in it.
    pub fn close_statement(&mut self, name: &str) -> Result<()> {
        if name.contains('\0') {
            return Err(nul());
        }
        self.begin(b'C');
        self.bytes.push(b'S');
        self.text(name);
        self.end();
        Ok(())
    }

    /// Binds `count` parameters, all in binary form, to the statement `name`. The caller appends them to what is
    /// returned, each behind its length as a row of COPY BINARY has it, and calls [`end_bind`](Self::end_bind).
    pub fn bind(&mut self, name: &str, count: u16) -> &mut Vec<u8> {
        self.begin(b'B');
        self.text("");
        self.text(name);
        for number in [1_u16, 1, count] {
            self.bytes.extend_from_slice(&number.to_be_bytes());
        }
        &mut self.bytes
    }

    /// Ends a bind and executes it; its rows come as text.
    pub fn end_bind(&mut self) {
        self.bytes.extend_from_slice(&[0, 0]);
        self.end();
        self.begin(b'E');
        self.bytes.extend_from_slice(&[0; 5]);
        self.end();
    }

    /// Ends an exchange of the extended protocol; one answer.
    pub fn sync(&mut self) {
        self.begin(b'S');
        self.end();
        self.answers += 1;
    }

    fn text(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.push(0);
    }

    fn begin(&mut self, tag: u8) {
        self.end();
        self.open = Some(self.bytes.len());
        self.bytes.extend_from_slice(&[tag, 0, 0, 0, 0]);
    }

    fn end(&mut self) {
        let Some(start) = self.open.take() else { return };
        let length = self.bytes.len() - start - 1;
        if let Some(field) = self.bytes.get_mut(start + 1..start + 5) {
            field.copy_from_slice(&(length as u32).to_be_bytes());
        }
    }
}

impl Connection {
    /// Sends a frame and empties it. What the server says meanwhile is kept for [`next_answer`](Self::next_answer).
    ///
    /// # Errors
    /// When the connection is lost or the server ends the session. A fault that the session survives is part of its
    /// answer.
    ///
    /// # Cancel safety
    /// Dropping the future breaks the session.
    pub async fn pipe(&mut self, frame: &mut Frame) -> Result<()> {
        frame.end();
        if self.pipe.due == 0 && frame.answers > 0 {
            self.start()?;
        }
        self.pipe.due += frame.answers;
        let sent = self.pipe_bytes(&frame.bytes).await;
        frame.clear();
        sent
    }

    async fn pipe_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        let mut sent = 0;
        let mut flushed = false;
        while !flushed {
            let (stream, input) = (&mut self.stream, &mut self.input);
            let done = poll_fn(|cx| {
                let mut room = [0; 1 << 10];
                let mut room = ReadBuf::new(&mut room);
                match Pin::new(&mut *stream).poll_read(cx, &mut room) {
                    Poll::Ready(Ok(())) => {
                        input.extend_from_slice(room.filled());
                        return Poll::Ready(Ok((room.filled().len(), 0)));
                    }
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => {}
                }
                match bytes.get(sent..).filter(|rest| !rest.is_empty()) {
                    Some(rest) => Pin::new(&mut *stream).poll_write(cx, rest).map_ok(|count| (0, count)),
                    None => Pin::new(&mut *stream).poll_flush(cx).map_ok(|()| {
                        flushed = true;
                        (0, 0)
                    }),
                }
            })
            .await;
            match done {
                Ok((0, 0)) if flushed => {}
                Ok((0, 0)) => return Err(self.lost(std::io::ErrorKind::UnexpectedEof.into())),
                Ok((0, count)) => sent += count,
                Ok(_) => self.absorb()?,
                Err(error) => return Err(self.reason_or(error).await),
            }
        }
        Ok(())
    }

    /// Answers that have come already, which [`next_answer`](Self::next_answer) returns without waiting.
    pub fn answers_ready(&self) -> usize {
        self.pipe.answers.len()
    }

    /// Whether the server has told of a fault that [`next_answer`](Self::next_answer) has not returned yet.
    pub fn has_fault(&self) -> bool {
        self.pipe.current.fault.is_some() || self.pipe.answers.iter().any(|answer| answer.fault.is_some())
    }

    /// Answers that were not taken yet.
    pub fn answers_due(&self) -> usize {
        self.pipe.due + self.pipe.answers.len()
    }

    /// The next answer, in the order of the questions.
    ///
    /// # Errors
    /// As [`pipe`](Self::pipe); `Internal` when no answer is due.
    ///
    /// # Cancel safety
    /// Nothing is lost: the next call returns the answer.
    pub async fn next_answer(&mut self) -> Result<Answer> {
        loop {
            self.absorb()?;
            if let Some(answer) = self.pipe.answers.pop_front() {
                return Ok(answer);
            }
            if self.pipe.due == 0 {
                return Err(Error::new(ErrorKind::Internal, "nothing was asked that could be answered"));
            }
            self.fill().await?;
        }
    }

    /// Takes in all messages that are complete.
    fn absorb(&mut self) -> Result<()> {
        while let Some(message) = self.parse()? {
            let Some(message) = self.note(message)? else { continue };
            let Pipe { due, current, rows, answers } = &mut self.pipe;
            match message {
                Message::RowDescription(body) => {
                    let names: Vec<String> =
                        body.fields().map(|field| Ok(field.name().to_owned())).collect().map_err(protocol)?;
                    *rows = Rows::new(names);
                }
                Message::DataRow(body) => rows.push(&body)?,
                Message::CommandComplete(body) => {
                    let tag = body.tag().map_err(protocol)?.to_owned();
                    current.results.push(QueryResult { rows: std::mem::take(rows), tag });
                }
                Message::ErrorResponse(body) => {
                    let error = ServerError::parse(body.fields()).map_err(protocol)?;
                    if matches!(error.severity.as_str(), "FATAL" | "PANIC") {
                        return Err(error.into());
                    }
                    current.fault.get_or_insert(error);
                }
                Message::ReadyForQuery(_) => {
                    answers.push_back(std::mem::take(current));
                    *due = due.saturating_sub(1);
                    self.busy = *due > 0;
                }
                _ => {}
            }
        }
        Ok(())
    }
}
