//! One session with a server.

use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::Poll;

use bytes::BytesMut;
use postgres_protocol::message::backend::Message;
use postgres_protocol::message::frontend;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::config::{ConnectConfig, Endpoint};
use super::error::ServerError;
use super::pipeline::Pipe;
use super::startup;
use crate::system::stream::Stream;
use crate::{Error, ErrorKind, Result};

/// Bytes asked of the socket at a time.
const READ_BYTES: usize = 64 << 10;

/// Something the server said without being asked: a warning or a notice.
pub type Notice = ServerError;

/// One session. All methods take `&mut self`: a session is used by one task at a time.
pub struct Connection {
    pub(super) stream: Stream,
    pub(super) input: BytesMut,
    pub(super) output: BytesMut,
    endpoint: Endpoint,
    config: ConnectConfig,
    key: Option<(i32, i32)>,
    parameters: HashMap<String, String>,
    notices: Vec<Notice>,
    /// The status of the last ReadyForQuery: `I`dle, in a `T`ransaction, or in a failed one (`E`).
    status: u8,
    /// Whether an exchange is under way; if a future is dropped then, the session is lost.
    pub(super) busy: bool,
    pub(super) pipe: Pipe,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("endpoint", &self.endpoint.to_string())
            .field("status", &char::from(self.status))
            .field("broken", &self.busy)
            .finish_non_exhaustive()
    }
}

impl Connection {
    /// Connects to the first endpoint that answers, and signs in.
    ///
    /// # Errors
    /// `Unavailable` or `Timeout` when nobody answers, `Tls` when TLS cannot be agreed on as asked, `Auth` and
    /// `NotFound` when the server refuses user or database.
    ///
    /// # Cancel safety
    /// Dropping the future closes the socket.
    pub async fn connect(config: &ConnectConfig) -> Result<Self> {
        let mut last = None;
        for endpoint in &config.endpoints {
            let connecting = startup::connect(config, endpoint);
            let connected =
                tokio::time::timeout(config.connect_timeout, connecting).await.unwrap_or_else(|_| {
                    let seconds = config.connect_timeout.as_secs();
                    Err(Error::new(ErrorKind::Timeout, format!("no answer from {endpoint} in {seconds} s"))
                        .with_hint("check host and port, and whether a firewall stands between"))
                });
            match connected {
                Ok(connection) => return Ok(connection),
                // Another host will not know the password better.
                Err(error) if error.kind() == ErrorKind::Auth => return Err(error),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| Error::config("the address names no host")))
    }

    pub(super) fn new(stream: Stream, config: &ConnectConfig, endpoint: &Endpoint) -> Self {
        Self {
            stream,
            input: BytesMut::new(),
            output: BytesMut::new(),
            endpoint: endpoint.clone(),
            config: config.clone(),
            key: None,
            parameters: HashMap::new(),
            notices: Vec::new(),
            status: b'I',
            busy: false,
            pipe: Pipe::default(),
        }
    }

    /// A parameter that the server has told: `server_version`, `TimeZone` ...
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str)
    }

    /// Warnings and notices since the last call.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    /// Whether a transaction is open, failed or not.
    pub fn in_transaction(&self) -> bool {
        self.status != b'I'
    }

    /// Whether the session cannot be used any more: an exchange was broken off.
    pub fn is_broken(&self) -> bool {
        self.busy
    }

    /// What can cancel a statement of this session from elsewhere; `None` where the server gave no key (KWDB).
    pub fn cancel_token(&self) -> Option<CancelToken> {
        let (process, secret) = self.key?;
        Some(CancelToken { config: self.config.clone(), endpoint: self.endpoint.clone(), process, secret })
    }

    /// Says good-bye and closes the socket.
    ///
    /// # Errors
    /// `Unavailable` when the socket is gone already.
    ///
    /// # Cancel safety
    /// Dropping the future closes the socket without a word, which the server takes as well.
    pub async fn close(mut self) -> Result<()> {
        self.output.clear();
        frontend::terminate(&mut self.output);
        self.send().await?;
        self.stream.shutdown().await.map_err(|error| self.lost(error))
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Marks the beginning of an exchange.
    pub(super) fn start(&mut self) -> Result<()> {
        if self.busy {
            return Err(Error::new(
                ErrorKind::Unavailable,
                format!("the session with {} is broken", self.endpoint),
            )
            .with_hint("an exchange was broken off; connect again"));
        }
        self.busy = true;
        self.output.clear();
        Ok(())
    }

    /// Sends what is in `output`.
    pub(super) async fn send(&mut self) -> Result<()> {
        let mut output = std::mem::take(&mut self.output);
        let sent = match self.stream.write_all_buf(&mut output).await {
            Ok(()) => self.stream.flush().await,
            Err(error) => Err(error),
        };
        output.clear();
        self.output = output;
        match sent {
            Ok(()) => Ok(()),
            Err(error) => Err(self.reason_or(error).await),
        }
    }

    /// Sends `bytes` and reads at the same time what the server has to say: an error of it ends a COPY at once, and
    /// a server that waits for us to read can never make both sides wait for each other. True when all was sent;
    /// false when the server has said something first.
    pub(super) async fn send_while_listening(&mut self, bytes: &[u8]) -> Result<bool> {
        let mut sent = 0;
        while sent < bytes.len() {
            let done = {
                let (stream, input) = (&mut self.stream, &mut self.input);
                poll_fn(|cx| {
                    let mut room = [0; 1 << 10];
                    let mut room = ReadBuf::new(&mut room);
                    match Pin::new(&mut *stream).poll_read(cx, &mut room) {
                        Poll::Ready(Ok(())) => {
                            input.extend_from_slice(room.filled());
                            return Poll::Ready(Ok(Done::Read(room.filled().len())));
                        }
                        Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                        Poll::Pending => {}
                    }
                    let rest = bytes.get(sent..).unwrap_or_default();
                    Pin::new(&mut *stream).poll_write(cx, rest).map_ok(Done::Wrote)
                })
                .await
            };
            match done {
                Ok(Done::Wrote(0)) | Ok(Done::Read(0)) => {
                    return Err(self.lost(io::ErrorKind::UnexpectedEof.into()));
                }
                Ok(Done::Wrote(n)) => sent += n,
                Ok(Done::Read(_)) => {
                    // Notices and the like are taken out: they are no reason to stop, and must not pile up.
                    while self.has_message(b"NSA") {
                        if let Some(message) = self.parse()? {
                            self.note(message)?;
                        }
                    }
                    if self.has_message(b"E") {
                        return Ok(false);
                    }
                }
                Err(error) => return Err(self.reason_or(error).await),
            }
        }
        Ok(true)
    }

    /// The next message, notices and parameters taken out. An ErrorResponse is returned as a message.
    pub(super) async fn receive(&mut self) -> Result<Message> {
        loop {
            while let Some(message) = self.parse()? {
                if let Some(message) = self.note(message)? {
                    return Ok(message);
                }
            }
            self.fill().await?;
        }
    }

    /// Reads what the socket has.
    pub(super) async fn fill(&mut self) -> Result<()> {
        self.input.reserve(READ_BYTES);
        match self.stream.read_buf(&mut self.input).await {
            Ok(0) => Err(self.lost(io::ErrorKind::UnexpectedEof.into())),
            Ok(_) => Ok(()),
            Err(error) => Err(self.lost(error)),
        }
    }

    pub(super) fn parse(&mut self) -> Result<Option<Message>> {
        Message::parse(&mut self.input).map_err(|error| {
            Error::new(ErrorKind::Protocol, format!("{} does not speak PostgreSQL's protocol", self.endpoint))
                .with_source(error)
                .with_hint("check that host and port are those of a PostgreSQL server")
        })
    }

    /// Keeps notices and parameters; returns any other message.
    pub(super) fn note(&mut self, message: Message) -> Result<Option<Message>> {
        match message {
            Message::NoticeResponse(body) => {
                let notice = ServerError::parse(body.fields()).map_err(protocol)?;
                tracing::info!(severity = %notice.severity, code = %notice.code, "{}", notice.message);
                // A server that chats through a long load must not fill our memory.
                if self.notices.len() < 100 {
                    self.notices.push(notice);
                }
                Ok(None)
            }
            Message::ParameterStatus(body) => {
                let (name, value) = (body.name().map_err(protocol)?, body.value().map_err(protocol)?);
                self.parameters.insert(name.to_owned(), value.to_owned());
                Ok(None)
            }
            Message::NotificationResponse(_) => Ok(None),
            Message::BackendKeyData(body) => {
                self.key = Some((body.process_id(), body.secret_key()));
                Ok(None)
            }
            Message::ReadyForQuery(body) => {
                self.status = body.status();
                self.busy = false;
                Ok(Some(Message::ReadyForQuery(body)))
            }
            other => Ok(Some(other)),
        }
    }

    /// Reads up to ReadyForQuery and returns the first error on the way.
    pub(super) async fn until_ready(&mut self) -> Result<Option<ServerError>> {
        let mut first = None;
        loop {
            match self.receive().await? {
                Message::ReadyForQuery(_) => return Ok(first),
                Message::ErrorResponse(body) => {
                    let error = ServerError::parse(body.fields()).map_err(protocol)?;
                    let fatal = matches!(error.severity.as_str(), "FATAL" | "PANIC");
                    first.get_or_insert(error);
                    if fatal {
                        // No ReadyForQuery follows: the server closes the connection.
                        return Ok(first);
                    }
                }
                _ => {}
            }
        }
    }

    /// Whether the first message is complete and one of these.
    fn has_message(&self, tags: &[u8]) -> bool {
        let Some(&[tag, a, b, c, d]) = self.input.first_chunk() else { return false };
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        self.input.len() > length && tags.contains(&tag)
    }

    /// The error for a socket that failed while sending: what the server said before it hung up, if it did.
    pub(super) async fn reason_or(&mut self, error: io::Error) -> Error {
        let reading = async {
            loop {
                match self.receive().await {
                    Ok(Message::ErrorResponse(body)) => return ServerError::parse(body.fields()).ok(),
                    Ok(_) => {}
                    Err(_) => return None,
                }
            }
        };
        let said = tokio::time::timeout(std::time::Duration::from_millis(200), reading).await.ok().flatten();
        self.busy = true;
        said.map_or_else(|| self.lost(error), Error::from)
    }

    /// The error for a socket that is gone.
    pub(super) fn lost(&mut self, error: io::Error) -> Error {
        self.busy = true;
        let timed_out = error.kind() == io::ErrorKind::TimedOut;
        let text = format!("lost the connection to {}", self.endpoint);
        Error::new(if timed_out { ErrorKind::Timeout } else { ErrorKind::Unavailable }, text)
            .with_source(error)
            .with_hint("the server went away or was restarted; its log may say why")
    }

    pub(super) fn unexpected(&mut self, what: &str) -> Error {
        self.busy = true;
        Error::new(ErrorKind::Protocol, format!("{} answered out of turn to {what}", self.endpoint))
    }
}

enum Done {
    Read(usize),
    Wrote(usize),
}

pub(super) fn protocol(error: io::Error) -> Error {
    Error::new(ErrorKind::Protocol, "the server sent a message that cannot be read").with_source(error)
}

/// Cancels a statement of a session from another task.
#[derive(Clone)]
pub struct CancelToken {
    config: ConnectConfig,
    endpoint: Endpoint,
    process: i32,
    secret: i32,
}

impl std::fmt::Debug for CancelToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CancelToken").field("process", &self.process).finish_non_exhaustive()
    }
}

impl CancelToken {
    /// Asks the server to cancel what the session is doing. The server may be done before.
    ///
    /// # Errors
    /// As [`Connection::connect`].
    ///
    /// # Cancel safety
    /// Dropping the future may or may not have asked.
    pub async fn cancel(&self) -> Result<()> {
        let stream = startup::open(&self.config, &self.endpoint).await?;
        let mut connection = Connection::new(stream, &self.config, &self.endpoint);
        frontend::cancel_request(self.process, self.secret, &mut connection.output);
        connection.send().await?;
        // The server closes without an answer.
        let mut rest = Vec::new();
        match connection.stream.read_to_end(&mut rest).await {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(()),
            Err(error) => Err(connection.lost(error)),
        }
    }
}
