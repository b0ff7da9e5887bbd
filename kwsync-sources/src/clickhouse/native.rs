//! The format Native: blocks of columns, each block with the names and types of its own.

use std::sync::Arc;

use kwsync_core::system::clickhouse::types::Type;
use kwsync_core::{Error, ErrorKind, Result};

use super::answer::complaint;
use super::node::{Broken, Input, Node, VarInt};

/// Most bytes of a block, and of what is held of earlier ones.
pub(super) const MOST_BYTES: usize = 512 << 20;
/// The longest name, and the longest type.
const MOST_NAME: u64 = 1 << 20;
/// So much of the end is kept, in case that it says why it is one.
const TAIL: usize = 16 << 10;

/// A column of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) name: Arc<str>,
    /// The type in the server's words.
    pub(super) text: Arc<str>,
    pub(super) is: Type,
}

#[derive(Debug)]
enum State {
    Columns(VarInt),
    Rows(VarInt),
    NameLength(VarInt),
    Name(usize, Vec<u8>),
    TypeLength(VarInt),
    Type(usize, Vec<u8>),
    Prefix,
    Values,
}

/// Takes the bytes of a result, in whatever pieces, and holds the rows of the blocks that are whole.
#[derive(Debug)]
pub(super) struct Blocks {
    fields: Arc<[Field]>,
    pub(super) nodes: Vec<Node>,
    state: State,
    /// The column in hand, and the rows of its block.
    at: usize,
    block: usize,
    /// Rows of all blocks that are whole.
    rows: usize,
    tail: Vec<u8>,
    /// What is wrong; what comes behind it may say why.
    fault: Option<Fault>,
}

impl Blocks {
    pub(super) fn new(fields: &Arc<[Field]>) -> Self {
        Self {
            nodes: fields.iter().map(|field| Node::of(&field.is)).collect(),
            fields: Arc::clone(fields),
            state: State::Columns(VarInt::default()),
            at: 0,
            block: 0,
            rows: 0,
            tail: Vec::new(),
            fault: None,
        }
    }

    /// Rows that can be taken.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Bytes that are held, about.
    pub(super) fn bytes(&self) -> usize {
        self.nodes.iter().map(Node::bytes).sum()
    }

    /// Whether nothing of a block is in hand.
    fn is_between(&self) -> bool {
        matches!(self.state, State::Columns(number) if number == VarInt::default())
    }

    /// The columns of the rows that are held, which are held no longer. Only where a block has ended.
    pub(super) fn take(&mut self) -> Vec<Node> {
        self.rows = 0;
        let fresh = self.fields.iter().map(|field| Node::of(&field.is)).collect();
        std::mem::replace(&mut self.nodes, fresh)
    }

    /// Takes bytes up to the end of a block, and says how many, and whether one has ended.
    ///
    /// # Errors
    /// As [`finish`](Self::finish); `Limit` for a block beyond all measure.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(usize, bool)> {
        if self.fault.is_some() {
            if self.tail.len() >= TAIL {
                return Err(self.wrong());
            }
            self.remember(bytes);
            return Ok((bytes.len(), false));
        }
        let mut input = Input { rest: bytes };
        let before = self.rows;
        match self.advance(&mut input) {
            Ok(()) if self.rows > before => {
                self.tail.clear();
                return Ok((bytes.len() - input.rest.len(), true));
            }
            Ok(()) if self.bytes() > MOST_BYTES => {
                let text = format!("a block of {} rows has more than {} MiB", self.block, MOST_BYTES >> 20);
                return Err(Error::new(ErrorKind::Limit, text)
                    .with_hint("ask for fewer rows at once: batch_rows=1000"));
            }
            Ok(()) => {}
            // The server may say more: what it complains of comes in place of rows.
            Err(fault) => self.fault = Some(fault),
        }
        self.remember(bytes);
        Ok((bytes.len(), false))
    }

    /// Makes sure that the result ends with a block.
    ///
    /// # Errors
    /// What the server complains of among its rows; `Protocol` for what is no result; `Schema` for columns that are others than they
    /// were; `Unavailable` where it ends too soon.
    pub(super) fn finish(&self) -> Result<()> {
        if self.fault.is_none() && self.is_between() { Ok(()) } else { Err(self.wrong()) }
    }

    fn remember(&mut self, bytes: &[u8]) {
        let keep = bytes.len().min(TAIL);
        if let Some(end) = bytes.get(bytes.len() - keep..) {
            if keep == TAIL {
                self.tail.clear();
            }
            self.tail.extend_from_slice(end);
        }
        if self.tail.len() > 2 * TAIL {
            self.tail.drain(..self.tail.len() - TAIL);
        }
    }

    fn wrong(&self) -> Error {
        complaint(&self.tail).unwrap_or_else(|| match &self.fault {
            Some(Fault::Broken(Broken(what))) => {
                Error::new(ErrorKind::Protocol, format!("the server's answer is no block of rows: {what}"))
                    .with_hint("check that the port is that of ClickHouse's HTTP interface")
            }
            Some(Fault::Changed(what)) => Error::new(ErrorKind::Schema, what.clone())
                .with_hint("the table was changed while it was read: run the job again"),
            None => Error::new(ErrorKind::Unavailable, "the server's answer ends in the middle of its rows")
                .with_hint("its log may say why"),
        })
    }

    /// To the end of a block, or of the bytes.
    fn advance(&mut self, input: &mut Input<'_>) -> Result<(), Fault> {
        while !input.rest.is_empty() {
            match &mut self.state {
                State::Columns(number) => {
                    let Some(columns) = number.take(input)? else { return Ok(()) };
                    if columns != self.fields.len() as u64 {
                        return Err(Broken("it has another number of columns").into());
                    }
                    self.state = State::Rows(VarInt::default());
                }
                State::Rows(number) => {
                    let Some(rows) = number.take(input)? else { return Ok(()) };
                    self.block = usize::try_from(rows)
                        .ok()
                        .filter(|rows| *rows <= 1 << 30)
                        .ok_or(Broken("it has more rows than any block"))?;
                    self.at = 0;
                    self.state = State::NameLength(VarInt::default());
                    self.nodes.iter_mut().for_each(Node::begin);
                }
                State::NameLength(number) => {
                    let Some(length) = number.take(input)? else { return Ok(()) };
                    if length > MOST_NAME {
                        return Err(Broken("a name is too long").into());
                    }
                    self.state = State::Name(length as usize, Vec::new());
                }
                State::Name(length, name) => {
                    name.extend_from_slice(input.some(*length - name.len()));
                    if name.len() < *length {
                        return Ok(());
                    }
                    let known = self.fields.get(self.at).map(|field| &field.name);
                    if known.is_none_or(|known| known.as_bytes() != name.as_slice()) {
                        let known = known.map(|known| known.to_string()).unwrap_or_default();
                        return Err(Fault::Changed(format!(
                            "a column is called {:?} where {known:?} was asked for",
                            String::from_utf8_lossy(name)
                        )));
                    }
                    self.state = State::TypeLength(VarInt::default());
                }
                State::TypeLength(number) => {
                    let Some(length) = number.take(input)? else { return Ok(()) };
                    if length > MOST_NAME {
                        return Err(Broken("a type is too long").into());
                    }
                    self.state = State::Type(length as usize, Vec::new());
                }
                State::Type(length, text) => {
                    text.extend_from_slice(input.some(*length - text.len()));
                    if text.len() < *length {
                        return Ok(());
                    }
                    if let Some(field) = self.fields.get(self.at)
                        && field.text.as_bytes() != text.as_slice()
                    {
                        // Old servers leave the zone out, which tells nothing of the values.
                        let said = String::from_utf8_lossy(text);
                        if !Type::parse(&said).is_ok_and(|found| found == field.is) {
                            return Err(Fault::Changed(format!(
                                "column {:?} is {said} where it was {}",
                                field.name, field.text
                            )));
                        }
                    }
                    // Of a block without rows nothing else comes.
                    if self.block == 0 {
                        self.next_column();
                    } else {
                        self.state = State::Prefix;
                    }
                }
                State::Prefix => {
                    let Some(node) = self.nodes.get_mut(self.at) else { return Ok(()) };
                    if !node.prefix(input)? {
                        return Ok(());
                    }
                    self.state = State::Values;
                }
                State::Values => {
                    let Some(node) = self.nodes.get_mut(self.at) else { return Ok(()) };
                    if !node.fill(input, self.block)? {
                        return Ok(());
                    }
                    if self.next_column() {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    /// True at the end of a block with rows.
    fn next_column(&mut self) -> bool {
        self.at += 1;
        if self.at < self.fields.len() {
            self.state = State::NameLength(VarInt::default());
            return false;
        }
        self.state = State::Columns(VarInt::default());
        self.rows += self.block;
        self.block > 0
    }
}

#[derive(Debug)]
enum Fault {
    Broken(Broken),
    Changed(String),
}

impl From<Broken> for Fault {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}
