//! Events: their head, and what is in those that matter to whoever follows rows.

use std::borrow::Cow;

use flate2::Crc;

use super::bytes::{Bytes, broken};
use super::inflate::inflate;
use super::table_map::TableMap;
use crate::{Error, ErrorKind, Result};

/// Whose log it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Flavor {
    /// MySQL and its kind.
    #[default]
    MySql,
    /// MariaDB.
    MariaDb,
}

/// The head of an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Header {
    /// When the statement began, in seconds since 1970; 0 for what the server makes up for the stream.
    pub timestamp: u32,
    /// The number of its kind.
    pub kind: u8,
    /// The server that wrote it first.
    pub server_id: u32,
    /// Its bytes, head and checksum among them.
    pub size: u32,
    /// The place behind it in its file, in its lower 32 bits; 0 for what the server makes up.
    pub end: u32,
    /// Flags.
    pub flags: u16,
}

impl Header {
    /// Whether the event is not in the file, but made up for the stream.
    pub fn is_artificial(&self) -> bool {
        self.flags & 0x20 != 0 || self.end == 0
    }
}

/// What became of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowsKind {
    /// They were inserted.
    Insert,
    /// They were updated: each comes as it was, and as it is.
    Update,
    /// They were deleted.
    Delete,
}

/// Rows of one table.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rows<'a> {
    /// The number under which the table was told last.
    pub table: u64,
    /// What became of them.
    pub kind: RowsKind,
    /// How many columns the table has.
    pub columns: usize,
    /// A bit for each column that is there, of rows as they were, or of the only ones there are.
    pub present: &'a [u8],
    /// The same of updated rows as they are.
    pub present_after: &'a [u8],
    /// The images.
    pub data: Cow<'a, [u8]>,
    /// Whether the statement ends here.
    pub ends_statement: bool,
}

/// A statement.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Query<'a> {
    /// The database it was run in.
    pub schema: &'a [u8],
    /// What it says.
    pub sql: Cow<'a, [u8]>,
    /// Whether text in double quotes is a name in it (`ANSI_QUOTES`).
    pub ansi_quotes: bool,
    /// The number of a collation of the character set it is written in, where the log tells.
    pub charset: Option<u16>,
}

/// An event.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event<'a> {
    /// How the events behind are written.
    Format,
    /// The next file, and where in it the next event lies.
    Rotate {
        /// The place.
        at: u64,
        /// The file's name.
        file: Cow<'a, str>,
    },
    /// A statement.
    Query(Query<'a>),
    /// The end of a transaction.
    Commit,
    /// A transaction of two phases is prepared; what becomes of it is told later.
    Prepared {
        /// Whether it is committed with that.
        one_phase: bool,
    },
    /// A table that rows will be of.
    Table(TableMap),
    /// Rows.
    Rows(Rows<'a>),
    /// Rows of which only parts of JSON are there; the number of their table.
    PartialRows(u64),
    /// The global identifier of what comes.
    Gtid {
        /// In the server's own words.
        id: String,
        /// Whether a statement that is no transaction comes.
        standalone: bool,
        /// Whether it stands in the place of BEGIN.
        begins: bool,
    },
    /// Nothing new.
    Heartbeat,
    /// The server has lost events, and says so.
    Incident(String),
    /// A transaction in a form that is not read here (`binlog_transaction_compression`).
    Packed,
    /// What does not matter to rows.
    Other,
    /// What is not known, and may matter.
    Unknown,
}

/// Reads events one after the other; it knows how those of a stream are written.
///
/// # Examples
/// ```
/// use kwsync_core::system::mysql::binlog::{Decoder, Event, Flavor};
///
/// // The end of a transaction, without a checksum.
/// let mut event = [0_u8; 27];
/// (event[4], event[9], event[13]) = (16, 27, 100);
/// let mut decoder = Decoder::new(Flavor::MySql, false);
/// let (header, event) = decoder.event(&event)?;
/// assert_eq!((header.end, event), (100, Event::Commit));
/// # Ok::<(), kwsync_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Decoder {
    flavor: Flavor,
    /// Whether four bytes of checksum stand behind each event.
    checked: bool,
    /// Whether numbers of tables have four bytes, as before 5.1.4.
    short_ids: bool,
}

const HEADER: usize = 19;

impl Decoder {
    /// A decoder for a stream that begins with events that have a checksum, or have none.
    pub fn new(flavor: Flavor, checked: bool) -> Self {
        Self { flavor, checked, short_ids: false }
    }

    /// Reads one event.
    ///
    /// # Errors
    /// `Protocol` for what is no event, has a checksum that is not its own, or breaks off.
    pub fn event<'a>(&mut self, packet: &'a [u8]) -> Result<(Header, Event<'a>)> {
        let cannot = || broken("an event");
        let mut rest = Bytes(packet);
        let mut head = || {
            Some(Header {
                timestamp: rest.u32()?,
                kind: rest.u8()?,
                server_id: rest.u32()?,
                size: rest.u32()?,
                end: rest.u32()?,
                flags: rest.u16()?,
            })
        };
        let header = head().ok_or_else(cannot)?;
        if header.size as usize != packet.len() {
            return Err(cannot());
        }
        let mut body = packet.get(HEADER..).unwrap_or_default();
        if header.kind == kind::FORMAT {
            self.format(body).ok_or_else(cannot)?;
        }
        // The event that says how events are written has a checksum wherever it can say so.
        if self.checked {
            let (data, sum) = packet.split_last_chunk::<4>().ok_or_else(cannot)?;
            let mut crc = Crc::new();
            crc.update(data);
            if crc.sum() != u32::from_le_bytes(*sum) {
                let text = format!(
                    "an event of the binary log that ends at {} has not its own checksum",
                    header.end
                );
                return Err(Error::new(ErrorKind::Protocol, text)
                    .with_hint("the log is damaged, or the network changed it: mysqlbinlog --verify-binlog-checksum tells"));
            }
            body = body.get(..body.len().saturating_sub(4)).unwrap_or_default();
        }
        let event = self.body(&header, body)?;
        Ok((header, event))
    }

    /// What the event of the format says: the version of the log, the server's, and lengths; behind them, since 5.6 and MariaDB 5.3, how
    /// events are checked, and its own checksum.
    fn format(&mut self, body: &[u8]) -> Option<()> {
        let mut rest = Bytes(body);
        if rest.u16()? < 4 {
            return None;
        }
        let server = rest.take(50)?;
        rest.take(4)?;
        if usize::from(rest.u8()?) != HEADER {
            return None;
        }
        let numbers: Vec<u32> = server
            .split(|byte| !byte.is_ascii_digit())
            .take(3)
            .map(|digits| {
                digits.iter().fold(0_u32, |number, digit| {
                    number.wrapping_mul(10).wrapping_add(u32::from(digit - b'0'))
                })
            })
            .collect();
        let maria = self.flavor == Flavor::MariaDb;
        let knows = numbers.as_slice() >= if maria { &[5, 3, 0] } else { &[5, 6, 1] };
        self.checked = knows && rest.0.iter().rev().nth(4) == Some(&1);
        self.short_ids = rest.0.get(usize::from(kind::TABLE_MAP) - 1) == Some(&6);
        Some(())
    }

    fn body<'a>(&self, header: &Header, body: &'a [u8]) -> Result<Event<'a>> {
        use kind as k;
        let mut rest = Bytes(body);
        let cannot = |what: &'static str| move || broken(what);
        Ok(match header.kind {
            k::FORMAT => Event::Format,
            k::ROTATE => {
                let at = rest.u64().ok_or_else(cannot("an event that begins a file"))?;
                Event::Rotate { at, file: String::from_utf8_lossy(rest.0) }
            }
            k::QUERY => Event::Query(query(rest, false).ok_or_else(cannot("a statement"))??),
            k::QUERY_COMPRESSED => Event::Query(query(rest, true).ok_or_else(cannot("a statement"))??),
            k::EXECUTE_LOAD => {
                let query = load(rest).ok_or_else(cannot("a statement that loads a file"))?;
                Event::Query(query)
            }
            k::XID => Event::Commit,
            k::XA_PREPARE => Event::Prepared { one_phase: rest.u8().is_some_and(|one| one != 0) },
            k::TABLE_MAP => {
                let map = TableMap::parse(rest, self.short_ids, self.flavor).ok_or_else(cannot("a table"))?;
                Event::Table(map)
            }
            k::PARTIAL_UPDATE => Event::PartialRows(self.table_id(&mut rest).ok_or_else(cannot("rows"))?),
            k::WRITE_V1 | k::UPDATE_V1 | k::DELETE_V1 => {
                self.rows(header.kind - k::WRITE_V1, rest, false, false)?
            }
            k::WRITE_V2 | k::UPDATE_V2 | k::DELETE_V2 => {
                self.rows(header.kind - k::WRITE_V2, rest, true, false)?
            }
            k::MARIA_WRITE_V1..=k::MARIA_DELETE_V1 => {
                self.rows(header.kind - k::MARIA_WRITE_V1, rest, false, true)?
            }
            k::MARIA_WRITE_V2..=k::MARIA_DELETE_V2 => {
                self.rows(header.kind - k::MARIA_WRITE_V2, rest, true, true)?
            }
            k::GTID => mysql_gtid(rest).ok_or_else(cannot("a global identifier"))?,
            k::ANONYMOUS_GTID => Event::Gtid { id: String::new(), standalone: false, begins: false },
            k::MARIA_GTID => {
                let mut parse = || Some((rest.u64()?, rest.u32()?, rest.u8()?));
                let (number, domain, flags) = parse().ok_or_else(cannot("a global identifier"))?;
                let standalone = flags & 1 != 0;
                Event::Gtid {
                    id: format!("{domain}-{}-{number}", header.server_id),
                    standalone,
                    begins: !standalone,
                }
            }
            k::HEARTBEAT | k::HEARTBEAT_V2 => Event::Heartbeat,
            k::INCIDENT => {
                let number = rest.u16().unwrap_or_default();
                let length = rest.u8().unwrap_or_default();
                let text = rest.take(length.into()).map(String::from_utf8_lossy).unwrap_or_default();
                Event::Incident(format!("{text} ({number})"))
            }
            k::TRANSACTION_PAYLOAD => Event::Packed,
            // STOP, INTVAR, USER_VAR, RAND, files to load, IGNORABLE, ROWS_QUERY, lists of identifiers, contexts; of MariaDB also
            // annotations, checkpoints, the beginning of encryption, which the server has taken off.
            3 | 5 | 6..=9 | 11..=14 | 17 | 28 | 29 | 35..=37 | 160 | 161 | 163 | 164 => Event::Other,
            _ if header.flags & 0x80 != 0 => Event::Other,
            _ => Event::Unknown,
        })
    }

    fn table_id(&self, rest: &mut Bytes<'_>) -> Option<u64> {
        rest.little(if self.short_ids { 4 } else { 6 })
    }

    fn rows<'a>(&self, nth: u8, rest: Bytes<'a>, second: bool, compressed: bool) -> Result<Event<'a>> {
        let mut rest = rest;
        let mut parse = || {
            let table = self.table_id(&mut rest)?;
            let flags = rest.u16()?;
            if second {
                // What else there is, with its own two bytes counted.
                let extra = usize::from(rest.u16()?).checked_sub(2)?;
                rest.take(extra)?;
            }
            let kind =
                [RowsKind::Insert, RowsKind::Update, RowsKind::Delete].get(usize::from(nth)).copied()?;
            let columns = rest.length()?;
            let present = rest.take(columns.div_ceil(8))?;
            let present_after =
                if kind == RowsKind::Update { rest.take(columns.div_ceil(8))? } else { present };
            let data = Cow::Borrowed(rest.0);
            let ends_statement = flags & 1 != 0;
            Some(Rows { table, kind, columns, present, present_after, data, ends_statement })
        };
        let mut rows = parse().ok_or_else(|| broken("rows"))?;
        if compressed {
            rows.data = Cow::Owned(inflate(&rows.data)?);
        }
        Ok(Event::Rows(rows))
    }
}

fn query(mut rest: Bytes<'_>, compressed: bool) -> Option<Result<Query<'_>>> {
    rest.take(8)?;
    let schema_length = rest.u8()?;
    rest.u16()?;
    let status = rest.u16()?;
    let (ansi_quotes, charset) = variables(Bytes(rest.take(status.into())?));
    let schema = rest.take(schema_length.into())?;
    rest.u8()?;
    let sql = if compressed {
        match inflate(rest.0) {
            Ok(sql) => Cow::Owned(sql),
            Err(error) => return Some(Err(error)),
        }
    } else {
        Cow::Borrowed(rest.0)
    };
    Some(Ok(Query { schema, sql, ansi_quotes, charset }))
}

/// Of the variables of a statement: whether the mode of SQL has `ANSI_QUOTES`, and the client's collation. What stands before these is known;
/// what stands behind does not matter.
fn variables(mut status: Bytes<'_>) -> (bool, Option<u16>) {
    let (mut ansi_quotes, mut charset) = (false, None);
    let mut read = || {
        while charset.is_none() {
            match status.u8()? {
                // Flags, and how numbers are made.
                0 | 3 => drop(status.u32()?),
                1 => ansi_quotes = status.u64()? & 4 != 0,
                // The catalog, with a zero behind it or without; the time zone.
                2 => {
                    let length = usize::from(status.u8()?);
                    status.take(length + 1)?;
                }
                5 | 6 => {
                    let length = usize::from(status.u8()?);
                    status.take(length)?;
                }
                4 => charset = Some(status.u16()?),
                _ => return None,
            }
        }
        Some(())
    };
    let _ = read();
    (ansi_quotes, charset)
}

/// As a statement, with the number of a file and what stands in for its name.
fn load(mut rest: Bytes<'_>) -> Option<Query<'_>> {
    rest.take(8)?;
    let schema_length = rest.u8()?;
    rest.u16()?;
    let status = rest.u16()?;
    rest.take(13)?;
    let (ansi_quotes, charset) = variables(Bytes(rest.take(status.into())?));
    let schema = rest.take(schema_length.into())?;
    rest.u8()?;
    Some(Query { schema, sql: Cow::Borrowed(rest.0), ansi_quotes, charset })
}

/// Flags, sixteen bytes of a server, a number.
fn mysql_gtid(mut rest: Bytes<'_>) -> Option<Event<'_>> {
    rest.u8()?;
    let server = u128::from_be_bytes(rest.array()?);
    let number = rest.u64()?;
    let hex = format!("{server:032x}");
    let part = |range: std::ops::Range<usize>| hex.get(range).unwrap_or_default();
    let id =
        format!("{}-{}-{}-{}-{}:{number}", part(0..8), part(8..12), part(12..16), part(16..20), part(20..32));
    Some(Event::Gtid { id, standalone: false, begins: false })
}

/// Numbers of the kinds of events.
mod kind {
    pub(super) const QUERY: u8 = 2;
    pub(super) const ROTATE: u8 = 4;
    pub(super) const FORMAT: u8 = 15;
    pub(super) const XID: u8 = 16;
    pub(super) const EXECUTE_LOAD: u8 = 18;
    pub(super) const TABLE_MAP: u8 = 19;
    pub(super) const WRITE_V1: u8 = 23;
    pub(super) const UPDATE_V1: u8 = 24;
    pub(super) const DELETE_V1: u8 = 25;
    pub(super) const INCIDENT: u8 = 26;
    pub(super) const HEARTBEAT: u8 = 27;
    pub(super) const WRITE_V2: u8 = 30;
    pub(super) const UPDATE_V2: u8 = 31;
    pub(super) const DELETE_V2: u8 = 32;
    pub(super) const GTID: u8 = 33;
    pub(super) const ANONYMOUS_GTID: u8 = 34;
    pub(super) const XA_PREPARE: u8 = 38;
    pub(super) const PARTIAL_UPDATE: u8 = 39;
    pub(super) const TRANSACTION_PAYLOAD: u8 = 40;
    pub(super) const HEARTBEAT_V2: u8 = 41;
    pub(super) const MARIA_GTID: u8 = 162;
    pub(super) const QUERY_COMPRESSED: u8 = 165;
    pub(super) const MARIA_WRITE_V1: u8 = 166;
    pub(super) const MARIA_DELETE_V1: u8 = 168;
    pub(super) const MARIA_WRITE_V2: u8 = 169;
    pub(super) const MARIA_DELETE_V2: u8 = 171;
}
