//! The binary log as a server sends it to its replicas.

use mysql_common::constants::Command;

use super::connection::Connection;
use crate::{Error, ErrorKind, Result};

/// Whoever answers for a replica, in the server's list of them; its length is told in a byte.
const MOST_NAME: usize = 60;

/// From where the log is read, and as whom.
#[derive(Clone, Debug)]
pub struct BinlogRequest<'a> {
    /// The number that no other replica and no server of the same source may have.
    pub server_id: u32,
    /// What the server's list of replicas shows.
    pub name: &'a str,
    /// The file.
    pub file: &'a str,
    /// The place of an event in it, in bytes; the first is at 4.
    pub at: u32,
}

/// The log under way. It has the session to itself; dropped, it closes it.
///
/// # Examples
/// ```no_run
/// # async fn read(config: kwsync_core::system::mysql::session::ConnectConfig) -> kwsync_core::Result<()> {
/// use kwsync_core::system::mysql::binlog::{Decoder, Flavor};
/// use kwsync_core::system::mysql::wire::{BinlogRequest, BinlogStream, Connected, Connection};
///
/// let Connected::Ready(mut session) = Connection::connect(&config).await? else { return Ok(()) };
/// session.execute("SET @master_binlog_checksum = 'NONE'").await?;
/// let request = BinlogRequest { server_id: 4711, name: "me", file: "bin.000001", at: 4 };
/// let mut stream = BinlogStream::start(session, &request).await?;
/// let mut decoder = Decoder::new(Flavor::MySql, false);
/// while let Some(event) = stream.next().await? {
///     println!("{:?}", decoder.event(&event)?);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct BinlogStream {
    connection: Box<Connection>,
}

impl BinlogStream {
    /// Registers as a replica, and asks for the log.
    ///
    /// # Errors
    /// What the server says of the registration; of the request it says so in the stream.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection.
    pub async fn start(mut connection: Box<Connection>, request: &BinlogRequest<'_>) -> Result<Self> {
        Self::register(&mut connection, request).await?;
        let mut dump = request.at.to_le_bytes().to_vec();
        // It waits at the end of the log.
        dump.extend_from_slice(&0_u16.to_le_bytes());
        dump.extend_from_slice(&request.server_id.to_le_bytes());
        dump.extend_from_slice(request.file.as_bytes());
        connection.command(Command::COM_BINLOG_DUMP, &dump).await?;
        Ok(Self { connection })
    }

    /// Registers as a replica alone, which shows whether the server would take it as one.
    ///
    /// # Errors
    /// What the server says.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the connection unusable.
    pub async fn register(connection: &mut Connection, request: &BinlogRequest<'_>) -> Result<()> {
        let name: String = request.name.chars().filter(char::is_ascii_graphic).take(MOST_NAME).collect();
        let mut register = request.server_id.to_le_bytes().to_vec();
        register.push(name.len() as u8);
        register.extend_from_slice(name.as_bytes());
        // No user, no password, no port; no rank, no source.
        register.extend_from_slice(&[0; 12]);
        connection.command(Command::COM_REGISTER_SLAVE, &register).await?;
        connection.until_done("the registration of a replica").await
    }

    /// The next event, or `None` when the server has ended the stream.
    ///
    /// # Errors
    /// What the server says, as that it does not have the file; when the connection is lost.
    ///
    /// # Cancel safety
    /// Nothing is lost: the next call returns the event.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>> {
        loop {
            if let Some(event) = self.ready()? {
                return Ok(event);
            }
            self.connection.fill().await?;
        }
    }

    /// As [`next`](Self::next), if it is here already: `None` where one would have to wait.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub fn ready(&mut self) -> Result<Option<Option<Vec<u8>>>> {
        let Some(span) = self.connection.input.packet()? else { return Ok(None) };
        match self.connection.input.bytes(&span) {
            [0x00, event @ ..] => Ok(Some(Some(event.to_vec()))),
            [0xff, ..] => {
                let error = self.connection.refused(&span);
                self.connection.busy = true;
                Err(error)
            }
            [0xfe, rest @ ..] if rest.len() < 8 => Ok(Some(None)),
            _ => Err(Error::new(ErrorKind::Protocol, "the server sent what is no event of its binary log")),
        }
    }
}
