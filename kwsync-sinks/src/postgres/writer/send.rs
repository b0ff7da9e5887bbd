//! A segment as messages: for COPY they are streamed, for INSERT they are made in memory.

use std::collections::HashSet;

use kwsync_core::system::postgres::wire::{Connection, Frame};
use kwsync_core::{Error, ErrorKind, Result, RowCounts, Settled, Stage};
use kwsync_formats::pgcopy::{CopyEncoder, RowFault};

use super::super::way::{self, UNNEST_ROWS, Way};
use super::Encoding;
use super::segment::{Piece, Segment};

/// Bytes that are sent at a time.
const MESSAGE_BYTES: usize = 1 << 20;
/// Rows encoded at a time, as a message of their own: the server holds a message whole before it looks at its rows, so it is not
/// to grow with wide ones.
const PIECE_ROWS: usize = 512;

/// A row that cannot be encoded.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) row: usize,
    pub(super) code: String,
    pub(super) reason: String,
}

impl From<RowFault> for Fault {
    fn from(fault: RowFault) -> Self {
        Self { row: fault.row, code: fault.code.to_owned(), reason: fault.reason }
    }
}

/// What a session has been taught, which ends with it.
#[derive(Debug, Default)]
pub(super) struct Taught {
    /// Prepared statements.
    pub(super) statements: HashSet<String>,
    /// Temporary tables.
    pub(super) stages: HashSet<String>,
}

/// Where the messages of a segment go, and what is told of its rows.
pub(super) struct Outlet<'a> {
    pub(super) connection: &'a mut Connection,
    pub(super) frame: &'a mut Frame,
    pub(super) taught: &'a mut Taught,
    pub(super) told: &'a mut Settled,
    /// What comes before the rows: the savepoint.
    pub(super) opening: String,
    /// Whether COPY may share a query with it.
    pub(super) together: bool,
}

impl Outlet<'_> {
    /// Sends or queues a segment, but for the end of a plain COPY, for which see [`Encoding::end_copy`].
    /// Returns how many answers will tell its fate.
    pub(super) async fn put(&mut self, encoding: &mut Encoding, segment: &mut Segment) -> Result<usize> {
        match encoding.way_of(segment).clone() {
            Way::Copy { copy, .. } => {
                let asked = self.open_copy(&copy, encoding)?;
                self.stream(encoding, &mut segment.pieces).await?;
                Ok(asked)
            }
            Way::Merge { stage, create, copy, merge, .. } => {
                if self.taught.stages.insert(stage.clone()) {
                    // Before the savepoint, so that it outlives a refused segment.
                    self.opening = match self.opening.rsplit_once(';') {
                        Some((before, savepoint)) => format!("{before}; {create};{savepoint}"),
                        None => {
                            format!("{}; RELEASE SAVEPOINT kwsync; {create}; SAVEPOINT kwsync", self.opening)
                        }
                    };
                }
                let asked = self.open_copy(&copy, encoding)?;
                self.stream(encoding, &mut segment.pieces).await?;
                encoding.end_copy(self.frame);
                let merge = match &encoding.count {
                    Some(count) => format!("{count}; {merge}; {count}"),
                    None => merge,
                };
                self.frame.query(&format!("{merge}; TRUNCATE {stage}"))?;
                Ok(asked + 1)
            }
            Way::Insert { into, columns, types } => {
                self.open_insert(encoding)?;
                let rows = self.rows(encoding, segment)?;
                let mut left = rows.as_slice();
                let mut most = Way::insert_rows(columns);
                while !left.is_empty() {
                    while most > left.len() {
                        most /= 2;
                    }
                    let (now, later) = left.split_at(most);
                    left = later;
                    let name = format!("kwsync_{}_{most}", encoding.number);
                    if self.taught.statements.insert(name.clone()) {
                        let types = types.iter().copied().cycle().take(columns * most).collect::<Vec<_>>();
                        let sql = way::insert(&into, columns, most);
                        self.frame.close_statement(&name)?;
                        self.frame.parse(&name, &sql, types.into_iter())?;
                    }
                    let out = self.frame.bind(&name, (columns * most) as u16);
                    now.iter().for_each(|row| out.extend_from_slice(row));
                    self.frame.end_bind();
                    self.ship(MESSAGE_BYTES).await?;
                }
                self.close_insert(encoding)
            }
            Way::Unnest { sql, items } => {
                self.open_insert(encoding)?;
                let rows = self.rows(encoding, segment)?;
                let name = format!("kwsync_{}", encoding.number);
                if self.taught.statements.insert(name.clone()) {
                    self.frame.close_statement(&name)?;
                    self.frame.parse(&name, &sql, std::iter::empty())?;
                }
                for rows in rows.chunks(UNNEST_ROWS) {
                    let columns = arrays(rows, &items)?;
                    let out = self.frame.bind(&name, items.len() as u16);
                    columns.iter().for_each(|column| out.extend_from_slice(column));
                    self.frame.end_bind();
                    self.ship(MESSAGE_BYTES).await?;
                }
                self.close_insert(encoding)
            }
        }
    }

    /// Asks for what comes before the rows, and for COPY. Returns the number of answers.
    fn open_copy(&mut self, copy: &str, encoding: &Encoding) -> Result<usize> {
        let answers = if self.together {
            self.frame.query(&format!("{}; {copy}", self.opening))?;
            1
        } else {
            self.frame.query(&self.opening)?;
            self.frame.query(copy)?;
            2
        };
        if encoding.text.is_none() {
            CopyEncoder::write_header(self.frame.copy_data());
        }
        Ok(answers)
    }

    /// Bytes sent and queued so far.
    pub(super) fn bytes(&self) -> u64 {
        self.told.bytes + self.frame.len() as u64
    }

    /// Asks for what comes before INSERTs.
    fn open_insert(&mut self, encoding: &Encoding) -> Result<()> {
        match &encoding.count {
            Some(count) => self.frame.query(&format!("{}; {count}", self.opening)),
            None => self.frame.query(&self.opening),
        }
    }

    /// Ends INSERTs. Returns the number of answers of the whole segment.
    fn close_insert(&mut self, encoding: &Encoding) -> Result<usize> {
        self.frame.sync();
        match &encoding.count {
            Some(count) => self.frame.query(count).map(|()| 3),
            None => Ok(2),
        }
    }

    /// Streams rows as the data of the COPY that is open.
    pub(super) async fn stream(&mut self, encoding: &mut Encoding, pieces: &mut [Piece]) -> Result<()> {
        let coerced = encoding.encoder.coerced();
        let mut fresh = false;
        for piece in pieces {
            let mut faults = Vec::new();
            let mut from = piece.rows.start;
            while from < piece.rows.end {
                let rows = from..piece.rows.end.min(from + PIECE_ROWS);
                from = rows.end;
                let out = self.frame.copy_data();
                match &mut encoding.text {
                    Some(text) => {
                        faults.extend(text.encode(&mut encoding.encoder, &piece.batch, rows, out)?)
                    }
                    None => {
                        let refused = encoding.encoder.encode(&piece.batch, rows, out)?;
                        faults.extend(refused.into_iter().map(Fault::from));
                    }
                }
                self.frame.end_copy_data();
                if self.frame.len() >= MESSAGE_BYTES {
                    self.ship(MESSAGE_BYTES).await?;
                }
            }
            fresh |= tell(self.told, piece, faults);
        }
        if fresh {
            // Rows that are sent again would be counted again.
            self.told.coerced += encoding.encoder.coerced() - coerced;
        }
        Ok(())
    }

    /// Sends the frame once it has so many bytes.
    async fn ship(&mut self, from: usize) -> Result<()> {
        if self.connection.has_fault() {
            // Nobody will read it; what cannot be encoded is found out all the same.
            self.frame.clear();
        } else if self.frame.len() >= from {
            self.told.bytes += self.frame.len() as u64;
            self.connection.pipe(self.frame).await?;
        }
        Ok(())
    }

    /// The rows of a segment, each as its values with their lengths before them.
    fn rows(&mut self, encoding: &mut Encoding, segment: &mut Segment) -> Result<Vec<Vec<u8>>> {
        let mut all = Vec::with_capacity(segment.rows());
        let coerced = encoding.encoder.coerced();
        let mut fresh = false;
        let mut bytes = Vec::new();
        for piece in &mut segment.pieces {
            bytes.clear();
            let faults = encoding.encoder.encode(&piece.batch, piece.rows.clone(), &mut bytes)?;
            fresh |= tell(self.told, piece, faults.into_iter().map(Fault::from).collect());
            let mut rest = bytes.as_slice();
            while !rest.is_empty() {
                let (row, behind) = split_row(rest)?;
                all.push(row.to_vec());
                rest = behind;
            }
        }
        if fresh {
            self.told.coerced += encoding.encoder.coerced() - coerced;
        }
        Ok(all)
    }
}

/// Remembers which rows of a piece could not be encoded, and tells of them the first time. True then.
fn tell(told: &mut Settled, piece: &mut Piece, faults: Vec<Fault>) -> bool {
    piece.faults = faults.iter().map(|fault| fault.row).collect();
    if std::mem::replace(&mut piece.told, true) {
        return false;
    }
    if !faults.is_empty() {
        told.add(piece.batch.table(), RowCounts { rejected: faults.len() as u64, ..RowCounts::default() });
        let reject = |fault: Fault| piece.batch.reject(fault.row, Stage::Encode, fault.code, fault.reason);
        told.rejects.extend(faults.into_iter().map(reject));
    }
    true
}

fn broken() -> Error {
    Error::new(ErrorKind::Internal, "an encoded row cannot be read")
}

/// The value at the front, `None` for a null, and what is behind it.
fn split_value(bytes: &[u8]) -> Result<(&[u8], &[u8])> {
    let length = i32::from_be_bytes(*bytes.first_chunk::<4>().ok_or_else(broken)?);
    bytes.split_at_checked(4 + length.max(0) as usize).ok_or_else(broken)
}

/// The values of the first row, without their number, and the rows behind it.
fn split_row(bytes: &[u8]) -> Result<(&[u8], &[u8])> {
    let (count, values) = bytes.split_first_chunk::<2>().ok_or_else(broken)?;
    let mut rest = values;
    for _ in 0..u16::from_be_bytes(*count) {
        rest = split_value(rest)?.1;
    }
    values.split_at_checked(values.len() - rest.len()).ok_or_else(broken)
}

/// One array a column, each with its length before it.
fn arrays(rows: &[Vec<u8>], items: &[u32]) -> Result<Vec<Vec<u8>>> {
    let mut columns: Vec<Vec<u8>> = items
        .iter()
        .map(|item| {
            let mut column = vec![0; 4];
            // One dimension, perhaps with nulls, from 1 on.
            for number in [1, 1, *item, rows.len() as u32, 1] {
                column.extend_from_slice(&number.to_be_bytes());
            }
            column
        })
        .collect();
    for row in rows {
        let mut rest = row.as_slice();
        for column in &mut columns {
            let (value, behind) = split_value(rest)?;
            column.extend_from_slice(value);
            rest = behind;
        }
    }
    for column in &mut columns {
        let length = (column.len() - 4) as u32;
        if let Some(field) = column.first_chunk_mut::<4>() {
            *field = length.to_be_bytes();
        }
    }
    Ok(columns)
}
