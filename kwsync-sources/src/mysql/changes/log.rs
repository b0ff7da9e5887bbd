//! The log as it is read: from a place on, event by event.

use std::sync::Arc;

use kwsync_core::system::mysql::binlog::{Decoder, Event, Header};
use kwsync_core::system::mysql::wire::{BinlogRequest, BinlogStream, Connected, Connection};
use kwsync_core::{Error, ErrorKind, Result, Retry};

use super::place::BinlogPlace;
use super::server::{Server, lost};
use crate::mysql::config::MysqlSourceOptions;

/// How often the server says that it is there, in nanoseconds.
const HEARTBEAT: u64 = 10_000_000_000;

fn not_taken(error: Error) -> Error {
    // Whoever has signed in and may not be a replica gets this.
    if error.code() == Some("1045") {
        let text =
            "the server does not take the job as a replica: the user has not the right REPLICATION SLAVE";
        return Error::new(ErrorKind::Permission, text)
            .with_hint(
                "GRANT REPLICATION SLAVE ON *.* TO the user: without it the server does not send its log",
            )
            .with_source(error);
    }
    error.context("the server does not take the job as a replica")
}

async fn connect(options: &MysqlSourceOptions) -> Result<Box<Connection>> {
    match Connection::connect(&options.connect).await? {
        Connected::Ready(session) => Ok(session),
        Connected::Unsupported(how) => {
            let text = format!(
                "the server wants the user to sign in by {how}, and its log is read by sessions that do not know that"
            );
            Err(Error::new(ErrorKind::Unsupported, text).with_hint(
                "use TLS (ssl_mode=required), or give the user mysql_native_password or caching_sha2_password",
            ))
        }
    }
}

/// A log under way.
#[derive(Debug)]
pub(super) struct Log {
    stream: BinlogStream,
    decoder: Decoder,
    /// What lies behind the last event.
    pub(super) file: Arc<str>,
    pub(super) at: u64,
    begun: BinlogPlace,
}

impl Log {
    /// Asks for the log from a place on.
    pub(super) async fn open(
        options: &MysqlSourceOptions,
        server: &Server,
        place: &BinlogPlace,
        (number, name): (u32, &str),
    ) -> Result<Self> {
        let at = u32::try_from(place.at).map_err(|_| {
            let text =
                format!("a stream cannot begin at {place}: the protocol has 32 bits for a place in a file");
            Error::new(ErrorKind::Limit, text)
                .with_retry(Retry::Never)
                .with_hint("a transaction of more than 4 GiB ends there; begin anew with --restart")
        })?;
        let mut session = connect(options).await?;
        let checked = server.get("binlog_checksum").is_some_and(|how| how.eq_ignore_ascii_case("CRC32"));
        let checksum = if checked { "CRC32" } else { "NONE" };
        session
            .execute(&format!(
                "SET @master_binlog_checksum = '{checksum}', @source_binlog_checksum = '{checksum}', \
                 @master_heartbeat_period = {HEARTBEAT}, @source_heartbeat_period = {HEARTBEAT}, @mariadb_slave_capability = 4"
            ))
            .await?;
        let request = BinlogRequest { server_id: number, name, file: &place.file, at };
        let stream = BinlogStream::start(session, &request).await.map_err(not_taken)?;
        let decoder = Decoder::new(server.flavor(), checked);
        Ok(Self { stream, decoder, file: Arc::clone(&place.file), at: place.at, begun: place.clone() })
    }

    /// Signs in as a log is read, and registers as a replica, so that what is refused is told before anything is copied.
    pub(super) async fn try_out(options: &MysqlSourceOptions, (number, name): (u32, &str)) -> Result<()> {
        let mut session = connect(options).await?;
        let request = BinlogRequest { server_id: number, name, file: "", at: 4 };
        BinlogStream::register(&mut session, &request).await.map_err(not_taken)
    }

    /// The next event, in bytes; `None` when the server has ended the stream.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<u8>>> {
        let next = self.stream.next().await;
        next.map_err(|error| self.refused(error))
    }

    /// The same, if it is here already.
    pub(super) fn ready(&mut self) -> Result<Option<Option<Vec<u8>>>> {
        let ready = self.stream.ready();
        ready.map_err(|error| self.refused(error))
    }

    /// What the server says of a log that it cannot send.
    fn refused(&self, error: Error) -> Error {
        match error.code() {
            Some("1236") => {
                let place = BinlogPlace::new(Arc::clone(&self.file), self.at.max(self.begun.at));
                lost(&place, &error.to_string()).with_source(error)
            }
            _ => error,
        }
    }

    /// Reads an event, and moves on behind it.
    pub(super) fn read<'a>(&mut self, packet: &'a [u8]) -> Result<(Header, Event<'a>)> {
        let (header, event) = self.decoder.event(packet)?;
        match &event {
            Event::Rotate { at, file } => (self.file, self.at) = (file.as_ref().into(), *at),
            Event::Heartbeat => {}
            _ if header.is_artificial() => {}
            // In 32 bits, of files that may be longer.
            _ => {
                let end = self.at & !0xffff_ffff | u64::from(header.end);
                self.at = if end < self.at { end + (1 << 32) } else { end };
            }
        }
        Ok((header, event))
    }

    pub(super) fn here(&self) -> BinlogPlace {
        BinlogPlace::new(Arc::clone(&self.file), self.at)
    }
}
