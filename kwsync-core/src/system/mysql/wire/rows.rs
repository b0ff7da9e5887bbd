//! Rows of a statement as they come, by the binary protocol.

use std::ops::ControlFlow;

use mysql_common::constants::{CapabilityFlags, Command, StatusFlags};
use mysql_common::io::ParseBuf;
use mysql_common::packets::{
    Column, OkPacket, OkPacketDeserializer, OldEofPacket, ResultSetTerminator, StmtPacket,
};

use super::cell::{Cell, Kind, Malformed, length};
use super::connection::{Connection, parse};
use crate::{Error, ErrorKind, Result};

/// Bits of the map of nulls that stand before the first column's.
const NULLS_OFFSET: usize = 2;

/// The rows of a statement under way.
#[derive(Debug)]
pub struct Rows<'a> {
    connection: &'a mut Connection,
    kinds: Vec<Kind>,
    done: bool,
}

/// A row in its packet.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    kinds: &'a [Kind],
    nulls: &'a [u8],
    values: &'a [u8],
}

/// The values of a row, in order. After a [`Malformed`] there are none.
#[derive(Clone, Debug)]
pub struct Cells<'a> {
    kinds: std::slice::Iter<'a, Kind>,
    nulls: &'a [u8],
    /// The bit of the next value.
    at: usize,
    values: &'a [u8],
}

impl Connection {
    /// Runs a statement without parameters, and streams its rows by the binary protocol.
    ///
    /// # Errors
    /// What the server says: the session goes on.
    ///
    /// # Cancel safety
    /// Dropping the future breaks the session.
    pub async fn select(&mut self, sql: &str) -> Result<Rows<'_>> {
        self.command(Command::COM_STMT_PREPARE, sql.as_bytes()).await?;
        let span = self.receive().await?;
        let found: StmtPacket = parse(self.input.bytes(&span), ())
            .map_err(|error| self.not_understood("a prepared statement").with_source(error))?;
        if found.num_params() > 0 {
            let text = format!("the statement has {} parameters (?)", found.num_params());
            return Err(Error::new(ErrorKind::Schema, text).with_hint("put values in their place"));
        }
        self.definitions(found.num_columns().into()).await?;
        self.busy = false;
        let kinds = self.run(found.statement_id()).await?;
        Ok(Rows { connection: self, kinds, done: false })
    }

    async fn run(&mut self, statement: u32) -> Result<Vec<Kind>> {
        let mut argument = statement.to_le_bytes().to_vec();
        // No cursor; once.
        argument.extend([0, 1, 0, 0, 0]);
        self.command(Command::COM_STMT_EXECUTE, &argument).await?;
        self.close_later(statement);
        let span = self.receive().await?;
        let mut head = self.input.bytes(&span);
        let count = match head.first() {
            // Done, and no rows.
            Some(0x00) => None,
            _ => length(&mut head).and_then(|count| usize::try_from(count).ok()).filter(|_| head.is_empty()),
        };
        match count {
            // The protocol's own bound.
            Some(count @ 1..=0xffff) => self.definitions(count).await,
            _ => Err(self.not_understood("in place of a number of columns")),
        }
    }

    /// The columns that the server describes.
    async fn definitions(&mut self, count: usize) -> Result<Vec<Kind>> {
        let mut kinds = Vec::new();
        for _ in 0..count {
            let span = self.receive().await?;
            let column: Column = parse(self.input.bytes(&span), ())
                .map_err(|error| self.not_understood("a column").with_source(error))?;
            kinds.push(Kind::of(&column)?);
        }
        if count > 0 && !self.capabilities.contains(CapabilityFlags::CLIENT_DEPRECATE_EOF) {
            let span = self.receive().await?;
            if self.input.bytes(&span).first() != Some(&0xfe) {
                return Err(self.not_understood("behind the columns"));
            }
        }
        Ok(kinds)
    }

    /// What the server says at the end of rows.
    fn end(&self, packet: &[u8]) -> Result<StatusFlags> {
        let mut buffer = ParseBuf(packet);
        let end: std::io::Result<OkPacket<'_>> = if self
            .capabilities
            .contains(CapabilityFlags::CLIENT_DEPRECATE_EOF)
        {
            buffer.parse::<OkPacketDeserializer<'_, ResultSetTerminator>>(self.capabilities).map(Into::into)
        } else {
            buffer.parse::<OkPacketDeserializer<'_, OldEofPacket>>(self.capabilities).map(Into::into)
        };
        end.map(|end| end.status_flags())
            .map_err(|error| self.not_understood("the end of rows").with_source(error))
    }
}

impl Rows<'_> {
    /// How many columns the rows have.
    pub fn columns(&self) -> usize {
        self.kinds.len()
    }

    /// Passes on the rows that have arrived, until `take` breaks off, and waits where there is none. False at the end.
    ///
    /// # Errors
    /// What the server says: the session goes on. `Protocol` for what is no row: the session is broken.
    ///
    /// # Cancel safety
    /// Nothing is lost: the next call goes on.
    pub async fn read(&mut self, mut take: impl FnMut(Row<'_>) -> ControlFlow<()> + Send) -> Result<bool> {
        let mut some = false;
        while !self.done {
            let Some(span) = self.connection.input.packet()? else {
                if some {
                    return Ok(true);
                }
                self.connection.fill().await?;
                continue;
            };
            let packet = self.connection.input.bytes(&span);
            match packet.first() {
                Some(0x00) => {
                    some = true;
                    if take(Row::new(&self.kinds, packet)?).is_break() {
                        return Ok(true);
                    }
                }
                Some(0xfe) => {
                    if self.connection.end(packet)?.contains(StatusFlags::SERVER_MORE_RESULTS_EXISTS) {
                        return Err(self.connection.not_understood("more than one result"));
                    }
                    self.done = true;
                    self.connection.busy = false;
                }
                Some(0xff) => {
                    self.done = true;
                    return Err(self.connection.refused(&span));
                }
                _ => return Err(self.connection.not_understood("in place of a row")),
            }
        }
        Ok(some)
    }
}

impl<'a> Row<'a> {
    #[inline]
    pub(super) fn new(kinds: &'a [Kind], packet: &'a [u8]) -> std::result::Result<Self, Malformed> {
        let nulls = (kinds.len() + NULLS_OFFSET).div_ceil(8);
        let (nulls, values) =
            packet.get(1..).and_then(|packet| packet.split_at_checked(nulls)).ok_or(Malformed)?;
        Ok(Self { kinds, nulls, values })
    }

    /// The values, in order.
    #[inline]
    pub fn cells(&self) -> Cells<'a> {
        Cells { kinds: self.kinds.iter(), nulls: self.nulls, at: NULLS_OFFSET, values: self.values }
    }
}

impl<'a> Iterator for Cells<'a> {
    type Item = std::result::Result<Cell<'a>, Malformed>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let kind = *self.kinds.next()?;
        let null = self.nulls.get(self.at / 8).is_some_and(|byte| byte & (1 << (self.at % 8)) != 0);
        self.at += 1;
        if null {
            return Some(Ok(Cell::Null));
        }
        let cell = kind.cell(&mut self.values);
        if cell.is_none() {
            self.kinds = [].iter();
        }
        Some(cell.ok_or(Malformed))
    }
}
