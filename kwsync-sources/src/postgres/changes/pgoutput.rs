//! Messages of the plugin pgoutput, version 1 of its protocol, as PostgreSQL's documentation has them ("Logical Replication Message Formats").

use kwsync_core::{Error, ErrorKind, Result};

use super::lsn::Lsn;

/// A message of the stream of a slot.
#[derive(Debug, PartialEq)]
pub(super) enum Message<'a> {
    Begin {
        /// Where the transaction's commit lies.
        at: Lsn,
    },
    Commit {
        /// What lies behind it: the position when all of it has settled.
        end: Lsn,
    },
    Relation(Relation<'a>),
    Insert {
        relation: u32,
        new: Tuple<'a>,
    },
    Update {
        relation: u32,
        old: Option<Old<'a>>,
        new: Tuple<'a>,
    },
    Delete {
        relation: u32,
        old: Old<'a>,
    },
    Truncate {
        relations: Vec<u32>,
    },
    /// An origin, a type, a message: nothing to do.
    Other,
}

/// A table as it is from here on.
#[derive(Debug, PartialEq)]
pub(super) struct Relation<'a> {
    pub(super) oid: u32,
    pub(super) schema: &'a str,
    pub(super) name: &'a str,
    pub(super) columns: Vec<RelationColumn<'a>>,
}

#[derive(Debug, PartialEq)]
pub(super) struct RelationColumn<'a> {
    /// Whether it is of the replica identity; each is where that is FULL.
    pub(super) key: bool,
    pub(super) name: &'a str,
    pub(super) type_oid: u32,
    pub(super) modifier: i32,
}

/// What a row was before.
#[derive(Debug, PartialEq)]
pub(super) struct Old<'a> {
    /// Whether all of it is there, and not the key alone.
    pub(super) whole: bool,
    pub(super) values: Tuple<'a>,
}

pub(super) type Tuple<'a> = Vec<Field<'a>>;

/// A value of a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Field<'a> {
    Null,
    /// A long value that lies elsewhere and did not change.
    Unchanged,
    Text(&'a [u8]),
    Binary(&'a [u8]),
}

struct Bytes<'a>(&'a [u8]);

fn broken() -> Error {
    Error::new(ErrorKind::Protocol, "the server sent a message of changes that cannot be read")
}

impl<'a> Bytes<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or_else(broken)?;
        self.0 = rest;
        Ok(taken)
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N]> {
        self.take(N)?.try_into().map_err(|_| broken())
    }

    fn byte(&mut self) -> Result<u8> {
        self.fixed::<1>().map(|[byte]| byte)
    }

    fn short(&mut self) -> Result<usize> {
        self.fixed().map(u16::from_be_bytes).map(usize::from)
    }

    fn word(&mut self) -> Result<u32> {
        self.fixed().map(u32::from_be_bytes)
    }

    fn lsn(&mut self) -> Result<Lsn> {
        self.fixed().map(u64::from_be_bytes).map(Lsn)
    }

    fn text(&mut self) -> Result<&'a str> {
        let length = self.0.iter().position(|byte| *byte == 0).ok_or_else(broken)?;
        let text = self.take(length)?;
        self.byte()?;
        std::str::from_utf8(text).map_err(|_| broken())
    }

    fn tuple(&mut self) -> Result<Tuple<'a>> {
        let count = self.short()?;
        let mut fields = Vec::with_capacity(count);
        for _ in 0..count {
            fields.push(match self.byte()? {
                b'n' => Field::Null,
                b'u' => Field::Unchanged,
                b't' => {
                    let length = self.word()? as usize;
                    Field::Text(self.take(length)?)
                }
                b'b' => {
                    let length = self.word()? as usize;
                    Field::Binary(self.take(length)?)
                }
                _ => return Err(broken()),
            });
        }
        Ok(fields)
    }
}

impl<'a> Message<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self> {
        let mut bytes = Bytes(bytes);
        let bytes = &mut bytes;
        Ok(match bytes.byte()? {
            b'B' => Self::Begin { at: bytes.lsn()? },
            b'C' => {
                bytes.byte()?;
                bytes.lsn()?;
                Self::Commit { end: bytes.lsn()? }
            }
            b'R' => {
                let (oid, schema, name) = (bytes.word()?, bytes.text()?, bytes.text()?);
                bytes.byte()?;
                let count = bytes.short()?;
                let mut columns = Vec::with_capacity(count);
                for _ in 0..count {
                    let key = bytes.byte()? & 1 == 1;
                    let name = bytes.text()?;
                    columns.push(RelationColumn {
                        key,
                        name,
                        type_oid: bytes.word()?,
                        modifier: bytes.word()? as i32,
                    });
                }
                Self::Relation(Relation { oid, schema, name, columns })
            }
            b'I' => {
                let relation = bytes.word()?;
                match bytes.byte()? {
                    b'N' => Self::Insert { relation, new: bytes.tuple()? },
                    _ => return Err(broken()),
                }
            }
            b'U' => {
                let relation = bytes.word()?;
                let mut old = None;
                let mut kind = bytes.byte()?;
                if matches!(kind, b'K' | b'O') {
                    old = Some(Old { whole: kind == b'O', values: bytes.tuple()? });
                    kind = bytes.byte()?;
                }
                if kind != b'N' {
                    return Err(broken());
                }
                Self::Update { relation, old, new: bytes.tuple()? }
            }
            b'D' => {
                let relation = bytes.word()?;
                let whole = bytes.byte()? == b'O';
                Self::Delete { relation, old: Old { whole, values: bytes.tuple()? } }
            }
            b'T' => {
                let count = bytes.word()? as usize;
                // CASCADE and RESTART IDENTITY: all tables that were emptied are listed, and sequences are not carried.
                bytes.byte()?;
                let relations = (0..count).map(|_| bytes.word()).collect::<Result<_>>()?;
                Self::Truncate { relations }
            }
            b'O' | b'Y' | b'M' => Self::Other,
            other => {
                let text = format!(
                    "the server sent a message of changes of the unknown kind {:?}",
                    char::from(other)
                );
                return Err(Error::new(ErrorKind::Protocol, text));
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_with_its_old_key() {
        let bytes = b"U\0\0\0\x07K\0\x01t\0\0\0\x011N\0\x02b\0\0\0\x02abu";
        let Message::Update { relation: 7, old: Some(old), new } = Message::parse(bytes).unwrap() else {
            panic!()
        };
        assert_eq!(old, Old { whole: false, values: vec![Field::Text(b"1")] });
        assert_eq!(new, [Field::Binary(b"ab"), Field::Unchanged]);
        for cut in 0..bytes.len() {
            assert!(Message::parse(&bytes[..cut]).is_err(), "{cut}");
        }
    }
}
