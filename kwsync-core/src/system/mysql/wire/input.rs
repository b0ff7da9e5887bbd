//! What has come from the socket, cut into packets.

use std::io;
use std::ops::Range;

use tokio::io::{AsyncRead, AsyncReadExt};

use crate::{Error, ErrorKind, Result};

/// Bytes asked of the socket at a time.
const READ_BYTES: usize = 128 << 10;
/// Least room to read into.
const ROOM: usize = 16 << 10;
/// The most that a frame carries. A packet goes on in the next frame as long as frames are full.
pub(super) const FRAME: usize = (1 << 24) - 1;
/// Bytes in front of a frame: its length in three, its number in one.
const HEADER: usize = 4;
/// The longest packet that a server sends: its `max_allowed_packet` can be no greater.
const PACKET: usize = 1 << 30;

/// What has come and was not taken yet.
#[derive(Debug, Default)]
pub(super) struct Input {
    /// What has come stands in `taken..filled`; behind that is room.
    buffer: Vec<u8>,
    taken: usize,
    filled: usize,
    /// The parts of a packet of several frames.
    joined: Vec<u8>,
    /// Whether more parts of it are to come.
    joining: bool,
    /// The number that the next frame must have.
    pub(super) number: u8,
}

/// Where a packet is, until the next is asked for or more is read.
#[derive(Debug)]
pub(super) enum Span {
    Buffer(Range<usize>),
    Joined,
}

impl Input {
    /// The next packet, if all of it has come.
    ///
    /// # Errors
    /// `Protocol` for frames out of their order, and packets without an end.
    #[inline]
    pub(super) fn packet(&mut self) -> Result<Option<Span>> {
        if !self.joining && !self.joined.is_empty() {
            // Its memory goes, too: few rows are so long.
            self.joined = Vec::new();
        }
        loop {
            let come = self.buffer.get(self.taken..self.filled).unwrap_or_default();
            let Some((&[a, b, c, number], come)) = come.split_first_chunk::<HEADER>() else {
                return Ok(None);
            };
            let length = u32::from_le_bytes([a, b, c, 0]) as usize;
            if number != self.number {
                let text = format!("the server sent packet {number} where {} was due", self.number);
                return Err(Error::new(ErrorKind::Protocol, text)
                    .with_hint("check that host and port are those of a MySQL or MariaDB server"));
            }
            let Some(frame) = come.get(..length) else { return Ok(None) };
            let start = self.taken + HEADER;
            self.taken = start + length;
            self.number = number.wrapping_add(1);
            if !self.joining && length < FRAME {
                return Ok(Some(Span::Buffer(start..self.taken)));
            }
            if self.joined.len() + length > PACKET + FRAME {
                return Err(Error::new(ErrorKind::Protocol, "the server sent a packet that does not end"));
            }
            self.joined.extend_from_slice(frame);
            self.joining = length == FRAME;
            if !self.joining {
                return Ok(Some(Span::Joined));
            }
        }
    }

    /// Whether all that has come was taken.
    pub(super) fn is_empty(&self) -> bool {
        self.taken == self.filled && !self.joining
    }

    /// The bytes of a packet.
    #[inline]
    pub(super) fn bytes(&self, span: &Span) -> &[u8] {
        match span {
            Span::Buffer(range) => self.buffer.get(range.clone()).unwrap_or_default(),
            Span::Joined => &self.joined,
        }
    }

    /// Reads what the socket has: bytes, or 0 at its end.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(super) async fn fill(&mut self, socket: &mut (impl AsyncRead + Unpin)) -> io::Result<usize> {
        self.make_room();
        let room = self.buffer.get_mut(self.filled..).unwrap_or_default();
        let read = socket.read(room).await?;
        self.filled += read;
        Ok(read)
    }

    fn make_room(&mut self) {
        if self.taken == self.filled {
            (self.taken, self.filled) = (0, 0);
            if self.buffer.len() > 8 * READ_BYTES {
                self.buffer = Vec::new();
            }
        }
        if self.buffer.len() - self.filled >= ROOM {
            return;
        }
        self.buffer.copy_within(self.taken..self.filled, 0);
        (self.taken, self.filled) = (0, self.filled - self.taken);
        if self.buffer.len() - self.filled < ROOM {
            // By what has come, not by what a header promises.
            let size = (2 * self.buffer.len()).clamp(READ_BYTES, FRAME + HEADER + READ_BYTES);
            self.buffer.resize(size, 0);
        }
    }
}

/// Adds a packet to `output`, in as many frames as it takes, and returns the number that the next frame has.
pub(super) fn add_packet(output: &mut Vec<u8>, mut number: u8, parts: [&[u8]; 2]) -> u8 {
    let [first, rest] = parts;
    let mut payload = first.iter().chain(rest).copied();
    let mut left = first.len() + rest.len();
    output.reserve(left + HEADER);
    loop {
        let length = left.min(FRAME);
        left -= length;
        output.extend_from_slice(&(length as u32).to_le_bytes()[..3]);
        output.push(number);
        output.extend(payload.by_ref().take(length));
        number = number.wrapping_add(1);
        // A full frame is always followed by another, be it empty.
        if length < FRAME {
            return number;
        }
    }
}
