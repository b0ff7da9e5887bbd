//! OpenTSDB's telnet protocol: lines in, errors out.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use kwsync_core::Position;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, timeout_at};

use super::config::AckMode;
use super::queue::{Hold, Outcome, Request};
use super::server::{Phase, Shared, ended};

/// Bytes of lines that are taken at a time.
const PIECE: usize = 256 << 10;
/// Room that a client has without a share of the memory of all bodies.
const SMALLEST: usize = 4 << 10;
/// Bytes of the longest line.
const LONGEST: usize = 64 << 10;
const VERSION: &str = concat!("kwsync ", env!("CARGO_PKG_VERSION"), ", as OpenTSDB 2.4\n");
const HELP: &str = "available commands: put help version exit quit\n";

/// A client.
struct Session<'a, S> {
    stream: S,
    from: String,
    shared: &'a Shared,
    /// Whether lines begin with a command.
    commands: bool,
    /// Where the next line begins.
    at: Position,
    /// The share of the memory that the lines which are being read have.
    hold: Hold,
}

/// Whether a client goes on.
#[derive(PartialEq)]
enum Next {
    Go,
    Close,
}

/// Takes lines from a client until it goes, or the server closes. The next lines are read once those before are committed:
/// who sends faster is slowed down by TCP.
pub(super) async fn serve<S: AsyncRead + AsyncWrite + Send + Unpin>(
    stream: S,
    from: SocketAddr,
    shared: &Arc<Shared>,
    phase: watch::Receiver<Phase>,
) {
    let commands = matches!(shared.options.telnet_format.as_str(), "line_opentsdb" | "telnet");
    let at = Position { byte: 0, line: 1, column: 1, record: 0 };
    let mut session =
        Session { stream, from: from.to_string(), shared, commands, at, hold: shared.queue.hold() };
    let served = tokio::select! {
        // First, or what became of the last lines would not be told.
        biased;
        served = session.run() => served,
        () = ended(phase) => Ok(()),
    };
    if let Err(error) = served {
        tracing::debug!(client = session.from, error = %error, "a client broke off");
    }
    // It may have gone already.
    drop(session.stream.shutdown().await);
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Session<'_, S> {
    async fn run(&mut self) -> std::io::Result<()> {
        let patience = self.shared.options.client_timeout;
        let mut buffer = BytesMut::new();
        // Bytes that hold no line end; by when their line must end; whether the client sends more than there was room for.
        let (mut searched, mut until, mut is_fast) = (0, None, false);
        loop {
            let new = buffer.get(searched..).unwrap_or_default();
            if let Some(last) = memchr::memrchr(b'\n', new) {
                let lines = buffer.split_to(searched + last + 1).freeze();
                (searched, until) = (0, None);
                if self.take(lines).await? == Next::Close {
                    return Ok(());
                }
                continue;
            }
            searched = buffer.len();
            if searched > LONGEST {
                return self.say("put: illegal argument: the line is longer than 64 KiB\n").await;
            }
            // A client may be silent between lines, and not within one.
            let now = Instant::now();
            let end = if buffer.is_empty() { now + patience } else { *until.get_or_insert(now + patience) };
            if end <= now {
                return self.say("put: illegal argument: the line does not end\n").await;
            }
            let room = if is_fast && self.hold.cover(PIECE) { PIECE } else { SMALLEST };
            buffer.reserve(room.saturating_sub(buffer.len()).max(SMALLEST));
            let read = match timeout_at(end, self.stream.read_buf(&mut buffer)).await {
                Ok(read) => read?,
                Err(_) if buffer.is_empty() => {
                    (buffer, is_fast, self.hold) = (BytesMut::new(), false, self.shared.queue.hold());
                    continue;
                }
                // The next round says so.
                Err(_) => continue,
            };
            is_fast = buffer.len() == buffer.capacity();
            if read == 0 {
                if !buffer.is_empty() {
                    self.take(buffer.freeze()).await?;
                }
                return Ok(());
            }
        }
    }

    /// Takes whole lines, in order.
    async fn take(&mut self, lines: Bytes) -> std::io::Result<Next> {
        let (mut from, mut to) = (0, 0);
        while to < lines.len() {
            let rest = lines.get(to..).unwrap_or_default();
            let end = to + memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
            let line = lines.get(to..end).unwrap_or_default().trim_ascii();
            let command = self.command(line);
            if command.is_none() {
                to = end;
                continue;
            }
            if self.write(lines.slice(from..to)).await? == Next::Close {
                return Ok(Next::Close);
            }
            self.at.byte += (end - to) as u64;
            self.at.line += 1;
            (from, to) = (end, end);
            match command.unwrap_or_default() {
                "exit" | "quit" => return Ok(Next::Close),
                "version" => self.say(VERSION).await?,
                "help" => self.say(HELP).await?,
                other => {
                    let other: String = other.chars().take(64).filter(|c| !c.is_control()).collect();
                    self.say(&format!("unknown command: {other}.  Try `help'.\n")).await?;
                }
            }
        }
        self.write(lines.slice(from..to)).await
    }

    /// The command of a line that is no point.
    fn command<'l>(&self, line: &'l [u8]) -> Option<&'l str> {
        let first = line.split(u8::is_ascii_whitespace).next().unwrap_or_default();
        match first {
            b"put" | b"" if self.commands => None,
            _ if self.commands => Some(std::str::from_utf8(first).unwrap_or("(no text)")),
            b"exit" | b"quit" if first.len() == line.len() => std::str::from_utf8(first).ok(),
            _ => None,
        }
    }

    /// Has lines written, and tells of those that cannot be.
    async fn write(&mut self, lines: Bytes) -> std::io::Result<Next> {
        if lines.iter().all(u8::is_ascii_whitespace) {
            self.pass(&lines);
            return Ok(Next::Go);
        }
        let shared = self.shared;
        let Ok(key) = shared.formats.of(&shared.options.telnet_format, Vec::new(), None) else {
            // It was checked before.
            return Ok(Next::Close);
        };
        let mut hold = std::mem::replace(&mut self.hold, shared.queue.hold());
        if !hold.cover(lines.len()) {
            // Nobody keeps some of the room while it waits for more, or two could wait for each other.
            hold = shared.queue.hold();
            hold.wait_to_cover(lines.len()).await;
        }
        let (answer, answered) = oneshot::channel();
        let put = shared.queue.put(Request {
            key,
            input: shared.queue.input("telnet", &self.from),
            body: lines.clone(),
            at: self.at,
            accept: shared.options.ack == AckMode::Accept,
            answer: Some(answer),
            _hold: hold,
        });
        self.pass(&lines);
        let outcome = match put {
            Ok(()) => answered.await.unwrap_or_else(|_| Outcome::Ended("the server has stopped".into())),
            Err(reason) => Outcome::Ended(reason),
        };
        match outcome {
            Outcome::Settled(settled) => {
                let mut text = String::new();
                for refused in &settled.first {
                    text.push_str(&format!(
                        "put: illegal argument: {} (line {})\n",
                        refused.reason, refused.line
                    ));
                }
                let more = settled.refused.saturating_sub(settled.first.len() as u64);
                if more > 0 {
                    text.push_str(&format!("put: illegal argument: {more} more lines\n"));
                }
                if let Some(fault) = &settled.fault {
                    text.push_str(&format!("put: {}\n", fault.replace('\n', " ")));
                }
                self.say(&text).await?;
                Ok(Next::Go)
            }
            Outcome::Ended(reason) => {
                self.say(&format!("put: {reason}; the last lines are not committed\n")).await?;
                Ok(Next::Close)
            }
        }
    }

    /// Goes on behind these lines.
    fn pass(&mut self, lines: &[u8]) {
        let count = memchr::memchr_iter(b'\n', lines).count() as u64;
        self.at.byte += lines.len() as u64;
        self.at.line += count;
        self.at.record += count;
    }

    async fn say(&mut self, text: &str) -> std::io::Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        // Who does not read what it is told is no client for long.
        let written = tokio::time::timeout(self.shared.options.client_timeout, async {
            self.stream.write_all(text.as_bytes()).await?;
            self.stream.flush().await
        });
        written.await.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
    }
}
