//! Numbers and bytes off the front of an event.

use crate::{Error, ErrorKind};

/// What is left of an event.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

/// The error of an event that does not hold what it should.
#[cold]
pub(super) fn broken(what: &str) -> Error {
    Error::new(ErrorKind::Protocol, format!("the server's binary log has {what} that cannot be read"))
}

impl<'a> Bytes<'a> {
    pub(super) fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// So many bytes, the lowest first.
    pub(super) fn little(&mut self, length: usize) -> Option<u64> {
        let bytes = self.take(length.min(8))?;
        Some(bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// So many bytes, the highest first.
    pub(super) fn big(&mut self, length: usize) -> Option<u64> {
        let bytes = self.take(length.min(8))?;
        Some(bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// A length as the protocol encodes it.
    pub(super) fn length(&mut self) -> Option<usize> {
        let number = match self.u8()? {
            small @ 0..=0xfa => small.into(),
            0xfc => self.little(2)?,
            0xfd => self.little(3)?,
            0xfe => self.u64()?,
            0xfb | 0xff => return None,
        };
        usize::try_from(number).ok()
    }

    /// Bytes behind their length.
    pub(super) fn counted(&mut self) -> Option<&'a [u8]> {
        let length = self.length()?;
        self.take(length)
    }
}
