//! One session with a server.

use std::io;

use mysql_common::constants::{CapabilityFlags, Command};
use mysql_common::io::ParseBuf;
use mysql_common::packets::ErrPacket;
use mysql_common::proto::MyDeserialize;
use tokio::io::AsyncWriteExt;

use super::input::{Input, Span, add_packet};
use super::startup;
use crate::system::mysql::session::{ConnectConfig, closed, lost, no_answer, of_server};
use crate::system::stream::{Socket, Stream};
use crate::{Error, ErrorKind, Result};

/// One session. All methods take `&mut self`: a session is used by one task at a time.
pub struct Connection {
    pub(super) stream: Stream,
    pub(super) input: Input,
    pub(super) capabilities: CapabilityFlags,
    place: String,
    /// A statement that is to be closed with the next command: nothing answers that.
    closing: Option<u32>,
    /// Whether an exchange is under way; if a future is dropped then, the session is lost.
    pub(super) busy: bool,
}

/// What became of connecting.
#[derive(Debug)]
pub enum Connected {
    /// A session.
    Ready(Box<Connection>),
    /// The server asks for a way to sign in that is not known here; this is its name.
    Unsupported(String),
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("place", &self.place)
            .field("broken", &self.busy)
            .finish_non_exhaustive()
    }
}

impl Connection {
    /// Connects to the first host that answers, signs in, and makes the session what
    /// [`ConnectConfig::connect`] makes it.
    ///
    /// # Errors
    /// As [`ConnectConfig::connect`].
    ///
    /// # Cancel safety
    /// Dropping the future closes the socket.
    pub async fn connect(config: &ConnectConfig) -> Result<Connected> {
        let mut last = None;
        for (host, port) in &config.hosts {
            let connecting = startup::connect(config, host, *port);
            let connected = tokio::time::timeout(config.connect_timeout, connecting)
                .await
                .unwrap_or_else(|_| Err(no_answer(&format!("{host}:{port}"), config.connect_timeout)));
            match connected {
                Ok(connected) => return Ok(connected),
                // Another host will not know the password better.
                Err(error) if error.kind() == ErrorKind::Auth => return Err(error),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| Error::config("the address names no host")))
    }

    /// A session that signs in.
    pub(super) fn new(stream: Stream, input: Input, capabilities: CapabilityFlags, place: String) -> Self {
        Self { stream, input, capabilities, place, closing: None, busy: true }
    }

    /// Whether the session cannot be used any more: an exchange was broken off.
    pub fn is_broken(&self) -> bool {
        self.busy
    }

    /// Asks the server whether it is there.
    ///
    /// # Errors
    /// `Unavailable` when it is not.
    ///
    /// # Cancel safety
    /// Dropping the future breaks the session.
    pub async fn ping(&mut self) -> Result<()> {
        self.command(Command::COM_PING, &[]).await?;
        self.until_done("a ping").await
    }

    /// Runs a statement that returns no rows.
    ///
    /// # Errors
    /// What the server says: the session goes on. `Protocol` for a statement that does return rows: the session is broken.
    ///
    /// # Cancel safety
    /// Dropping the future breaks the session.
    pub async fn execute(&mut self, sql: &str) -> Result<()> {
        self.command(Command::COM_QUERY, sql.as_bytes()).await?;
        self.until_done("a statement without rows").await
    }

    pub(super) async fn until_done(&mut self, what: &str) -> Result<()> {
        let packet = self.receive().await?;
        match self.input.bytes(&packet).first() {
            Some(0x00) => {
                self.busy = false;
                Ok(())
            }
            _ => Err(self.not_understood(&format!("in answer to {what}"))),
        }
    }

    /// Marks the beginning of an exchange and sends a command.
    pub(super) async fn command(&mut self, command: Command, argument: &[u8]) -> Result<()> {
        if self.busy {
            let text = format!("the session with {} is broken", self.place);
            return Err(Error::new(ErrorKind::Unavailable, text)
                .with_hint("an exchange was broken off; connect again"));
        }
        self.busy = true;
        let mut output = Vec::with_capacity(argument.len() + 32);
        if let Some(statement) = self.closing.take() {
            add_packet(&mut output, 0, [&[Command::COM_STMT_CLOSE as u8], &statement.to_le_bytes()]);
        }
        self.input.number = add_packet(&mut output, 0, [&[command as u8], argument]);
        self.write(&output).await
    }

    /// Closes a statement when the next command is sent.
    pub(super) fn close_later(&mut self, statement: u32) {
        self.closing = Some(statement);
    }

    /// Sends the next packet of an exchange.
    pub(super) async fn send(&mut self, payload: &[u8]) -> Result<()> {
        let mut output = Vec::new();
        self.input.number = add_packet(&mut output, self.input.number, [payload, &[]]);
        self.write(&output).await
    }

    async fn write(&mut self, output: &[u8]) -> Result<()> {
        self.stream.write_all(output).await.map_err(lost)?;
        self.stream.flush().await.map_err(lost)
    }

    /// The next packet. What the server says is wrong ends the exchange.
    pub(super) async fn receive(&mut self) -> Result<Span> {
        loop {
            if let Some(span) = self.input.packet()? {
                if self.input.bytes(&span).first() == Some(&0xff) {
                    return Err(self.refused(&span));
                }
                return Ok(span);
            }
            self.fill().await?;
        }
    }

    /// Reads what the socket has.
    pub(super) async fn fill(&mut self) -> Result<()> {
        match self.input.fill(&mut self.stream).await {
            Ok(0) => Err(closed(io::Error::from(io::ErrorKind::UnexpectedEof))),
            Ok(_) => Ok(()),
            Err(error) => Err(lost(error)),
        }
    }

    /// What the server says in a packet of an error. The session goes on.
    pub(super) fn refused(&mut self, span: &Span) -> Error {
        match server_error(self.input.bytes(span), self.capabilities) {
            Some(error) => {
                self.busy = false;
                error
            }
            None => self.not_understood("in place of an error"),
        }
    }

    pub(super) fn not_understood(&self, place: &str) -> Error {
        not_understood(&self.place, place)
    }
}

/// An error that a packet holds.
pub(super) fn server_error(packet: &[u8], capabilities: CapabilityFlags) -> Option<Error> {
    // Before the two sides have agreed, and where a server is in great need, there is no SQLSTATE.
    let parsed = parse::<ErrPacket<'_>>(packet, capabilities)
        .or_else(|_| parse::<ErrPacket<'_>>(packet, CapabilityFlags::empty()));
    match parsed {
        Ok(ErrPacket::Error(error)) => Some(of_server(error.into())),
        _ => None,
    }
}

/// What is no answer of a server: which, and in place of what.
pub(super) fn not_understood(server: &str, place: &str) -> Error {
    let text = format!("the answer of {server} was not understood: {place}");
    Error::new(ErrorKind::Protocol, text)
        .with_hint("check that host and port are those of a MySQL or MariaDB server")
}

impl Drop for Connection {
    /// Says good-bye where that can be done at once; else the server finds the socket closed, and its log says so.
    fn drop(&mut self) {
        if let (false, Stream::Clear(Socket::Tcp(socket))) = (self.busy, &self.stream) {
            let mut output = Vec::new();
            add_packet(&mut output, 0, [&[Command::COM_QUIT as u8], &[]]);
            drop(socket.try_write(&output));
        }
    }
}

/// Reads a packet as one of mysql_common's.
pub(super) fn parse<'a, T: MyDeserialize<'a>>(packet: &'a [u8], context: T::Ctx) -> io::Result<T> {
    ParseBuf(packet).parse(context)
}
