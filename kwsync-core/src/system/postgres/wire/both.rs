//! COPY in both directions: the streaming replication protocol.

use bytes::{Buf, BytesMut};
use postgres_protocol::message::backend::Message;
use postgres_protocol::message::frontend;

use super::connection::{Connection, protocol};
use super::error::ServerError;
use crate::{Error, Result};

/// What answers a statement that starts a stream in both directions, which the parser of messages does not know.
const COPY_BOTH: u8 = b'W';

/// A stream in both directions under way, as `START_REPLICATION` begins it. It has the connection to itself; dropped, it closes it.
///
/// # Examples
/// ```no_run
/// # async fn read(config: kwsync_core::system::postgres::wire::ConnectConfig) -> kwsync_core::Result<()> {
/// use kwsync_core::system::postgres::wire::{Connection, CopyBoth};
///
/// let connection = Connection::connect(&config.with_session("replication", "database")).await?;
/// let sql = "START_REPLICATION SLOT s LOGICAL 0/0 (proto_version '1', publication_names 'p')";
/// let mut stream = CopyBoth::start(connection, sql).await?;
/// while let Some(message) = stream.next().await? {
///     println!("{} bytes", message.len());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct CopyBoth {
    connection: Connection,
}

impl CopyBoth {
    /// Starts `sql` by the simple protocol.
    ///
    /// # Errors
    /// What the server says.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection.
    pub async fn start(mut connection: Connection, sql: &str) -> Result<Self> {
        connection.start()?;
        frontend::query(sql, &mut connection.output)
            .map_err(|error| Error::config("a statement holds a NUL").with_source(error))?;
        connection.send().await?;
        loop {
            if connection.input.first() == Some(&COPY_BOTH) {
                if let Some(message) = take(&mut connection.input) {
                    drop(message);
                    return Ok(Self { connection });
                }
            } else if let Some(message) = connection.parse()? {
                match connection.note(message)? {
                    Some(Message::ErrorResponse(body)) => {
                        return Err(ServerError::parse(body.fields()).map_or_else(protocol, Error::from));
                    }
                    Some(_) => return Err(connection.unexpected(sql)),
                    None => {}
                }
                continue;
            }
            connection.fill().await?;
        }
    }

    /// The next message of the stream, or `None` when the server has ended it.
    ///
    /// # Errors
    /// What the server says, as that it shuts down; when the connection is lost.
    ///
    /// # Cancel safety
    /// Nothing is lost: the next call returns the message.
    pub async fn next(&mut self) -> Result<Option<BytesMut>> {
        loop {
            if let Some(message) = self.ready()? {
                return Ok(message);
            }
            self.connection.fill().await?;
        }
    }

    /// As [`next`](Self::next), if it is here already: `None` where one would have to wait.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub fn ready(&mut self) -> Result<Option<Option<BytesMut>>> {
        loop {
            if self.connection.input.first() == Some(&b'd') {
                return Ok(take(&mut self.connection.input).map(Some));
            }
            let Some(message) = self.connection.parse()? else { return Ok(None) };
            match self.connection.note(message)? {
                Some(Message::ErrorResponse(body)) => {
                    return Err(ServerError::parse(body.fields()).map_or_else(protocol, Error::from));
                }
                Some(Message::CopyDone | Message::ReadyForQuery(_)) => return Ok(Some(None)),
                _ => {}
            }
        }
    }

    /// Sends a message on the stream.
    ///
    /// # Errors
    /// When the connection is lost.
    ///
    /// # Cancel safety
    /// A message that was sent in part breaks the stream: do not go on with it.
    pub async fn send(&mut self, message: &[u8]) -> Result<()> {
        let length = (message.len() + 4) as u32;
        self.connection.output.extend_from_slice(b"d");
        self.connection.output.extend_from_slice(&length.to_be_bytes());
        self.connection.output.extend_from_slice(message);
        self.connection.send().await
    }

    /// Ends the stream from this side, and closes the connection.
    ///
    /// # Errors
    /// When the connection is lost.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection.
    pub async fn finish(mut self) -> Result<()> {
        frontend::copy_done(&mut self.connection.output);
        self.connection.send().await?;
        self.connection.close().await
    }
}

/// The body of the first message, if it is whole.
fn take(input: &mut BytesMut) -> Option<BytesMut> {
    let &[_, a, b, c, d] = input.first_chunk()?;
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    if input.len() <= length || length < 4 {
        return None;
    }
    let mut message = input.split_to(1 + length);
    message.advance(5);
    Some(message)
}
