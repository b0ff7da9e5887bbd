//! Values of the binary protocol, borrowed from their packet.

use std::fmt;

use mysql_async::Value;
use mysql_common::constants::{ColumnFlags, ColumnType};
use mysql_common::packets::Column;

use crate::{Error, ErrorKind, Result};

/// A value: what [`Value`] owns, borrowed.
// Whole words: left to itself the compiler packs the parts of dates behind the tag, and copies every cell in pieces that overlap.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(u64)]
pub enum Cell<'a> {
    /// None.
    Null,
    /// Text, decimals, bits, bytes: whatever comes with a length.
    Bytes(&'a [u8]),
    /// An integer.
    Int(i64),
    /// An integer beyond [`i64::MAX`].
    UInt(u64),
    /// A float of single precision.
    Float(f32),
    /// A float of double precision.
    Double(f64),
    /// Year, month, day, hour, minute, second, microseconds.
    Date(u16, u8, u8, u8, u8, u8, u32),
    /// Whether it is negative; days, hours, minutes, seconds, microseconds.
    Time(bool, u32, u8, u8, u8, u32),
}

impl<'a> From<&'a Value> for Cell<'a> {
    fn from(value: &'a Value) -> Self {
        match *value {
            Value::NULL => Self::Null,
            Value::Bytes(ref bytes) => Self::Bytes(bytes),
            Value::Int(number) => Self::Int(number),
            Value::UInt(number) => Self::UInt(number),
            Value::Float(number) => Self::Float(number),
            Value::Double(number) => Self::Double(number),
            Value::Date(year, month, day, hour, minute, second, micros) => {
                Self::Date(year, month, day, hour, minute, second, micros)
            }
            Value::Time(negative, days, hours, minutes, seconds, micros) => {
                Self::Time(negative, days, hours, minutes, seconds, micros)
            }
        }
    }
}

impl From<Cell<'_>> for Value {
    fn from(cell: Cell<'_>) -> Self {
        match cell {
            Cell::Null => Self::NULL,
            Cell::Bytes(bytes) => Self::Bytes(bytes.to_vec()),
            Cell::Int(number) => Self::Int(number),
            Cell::UInt(number) => Self::UInt(number),
            Cell::Float(number) => Self::Float(number),
            Cell::Double(number) => Self::Double(number),
            Cell::Date(year, month, day, hour, minute, second, micros) => {
                Self::Date(year, month, day, hour, minute, second, micros)
            }
            Cell::Time(negative, days, hours, minutes, seconds, micros) => {
                Self::Time(negative, days, hours, minutes, seconds, micros)
            }
        }
    }
}

/// A row that ends before its values do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the server sent a row that ends before its values do")
    }
}

impl std::error::Error for Malformed {}

impl From<Malformed> for Error {
    fn from(malformed: Malformed) -> Self {
        Self::new(ErrorKind::Protocol, malformed.to_string()).with_source(malformed)
    }
}

/// How the values of a column lie in a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Bytes,
    I8,
    U8,
    I16,
    U16,
    I32,
    U32,
    I64,
    U64,
    F32,
    F64,
    Date,
    Time,
    Null,
}

impl Kind {
    pub(super) fn of(column: &Column) -> Result<Self> {
        use ColumnType as C;
        let unsigned = column.flags().contains(ColumnFlags::UNSIGNED_FLAG);
        Ok(match (column.column_type(), unsigned) {
            (
                C::MYSQL_TYPE_STRING
                | C::MYSQL_TYPE_VAR_STRING
                | C::MYSQL_TYPE_BLOB
                | C::MYSQL_TYPE_TINY_BLOB
                | C::MYSQL_TYPE_MEDIUM_BLOB
                | C::MYSQL_TYPE_LONG_BLOB
                | C::MYSQL_TYPE_SET
                | C::MYSQL_TYPE_ENUM
                | C::MYSQL_TYPE_DECIMAL
                | C::MYSQL_TYPE_VARCHAR
                | C::MYSQL_TYPE_BIT
                | C::MYSQL_TYPE_NEWDECIMAL
                | C::MYSQL_TYPE_GEOMETRY
                | C::MYSQL_TYPE_VECTOR
                | C::MYSQL_TYPE_JSON,
                _,
            ) => Self::Bytes,
            (C::MYSQL_TYPE_TINY, false) => Self::I8,
            (C::MYSQL_TYPE_TINY, true) => Self::U8,
            (C::MYSQL_TYPE_SHORT | C::MYSQL_TYPE_YEAR, false) => Self::I16,
            (C::MYSQL_TYPE_SHORT | C::MYSQL_TYPE_YEAR, true) => Self::U16,
            (C::MYSQL_TYPE_LONG | C::MYSQL_TYPE_INT24, false) => Self::I32,
            (C::MYSQL_TYPE_LONG | C::MYSQL_TYPE_INT24, true) => Self::U32,
            (C::MYSQL_TYPE_LONGLONG, false) => Self::I64,
            (C::MYSQL_TYPE_LONGLONG, true) => Self::U64,
            (C::MYSQL_TYPE_FLOAT, _) => Self::F32,
            (C::MYSQL_TYPE_DOUBLE, _) => Self::F64,
            (
                C::MYSQL_TYPE_TIMESTAMP | C::MYSQL_TYPE_DATE | C::MYSQL_TYPE_NEWDATE | C::MYSQL_TYPE_DATETIME,
                _,
            ) => Self::Date,
            (C::MYSQL_TYPE_TIME, _) => Self::Time,
            (C::MYSQL_TYPE_NULL, _) => Self::Null,
            (other, _) => {
                let text = format!("column {:?}: the server sends {other:?}", column.name_str());
                return Err(Error::new(ErrorKind::Protocol, text)
                    .with_hint("no server sends values of this type; cast the column to another"));
            }
        })
    }

    /// Takes a value of this kind off the front of `rest`; `None` where that ends before.
    #[inline]
    pub(super) fn cell<'a>(self, rest: &mut &'a [u8]) -> Option<Cell<'a>> {
        Some(match self {
            Self::Bytes => {
                let length = length(rest)?;
                let (bytes, behind) = rest.split_at_checked(usize::try_from(length).ok()?)?;
                *rest = behind;
                Cell::Bytes(bytes)
            }
            Self::I8 => Cell::Int(i8::from_le_bytes(take(rest)?).into()),
            Self::U8 => Cell::Int(u8::from_le_bytes(take(rest)?).into()),
            Self::I16 => Cell::Int(i16::from_le_bytes(take(rest)?).into()),
            Self::U16 => Cell::Int(u16::from_le_bytes(take(rest)?).into()),
            Self::I32 => Cell::Int(i32::from_le_bytes(take(rest)?).into()),
            Self::U32 => Cell::Int(u32::from_le_bytes(take(rest)?).into()),
            Self::I64 => Cell::Int(i64::from_le_bytes(take(rest)?)),
            Self::U64 => {
                let number = u64::from_le_bytes(take(rest)?);
                i64::try_from(number).map_or(Cell::UInt(number), Cell::Int)
            }
            Self::F32 => Cell::Float(f32::from_le_bytes(take(rest)?)),
            Self::F64 => Cell::Double(f64::from_le_bytes(take(rest)?)),
            Self::Date => date(part(rest)?)?,
            Self::Time => time(part(rest)?)?,
            Self::Null => Cell::Null,
        })
    }
}

#[inline]
fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (bytes, behind) = rest.split_first_chunk()?;
    *rest = behind;
    Some(*bytes)
}

/// A length as the protocol encodes it. 0xfb and 0xff are none, and count as 0, as with mysql_common.
#[inline]
pub(super) fn length(rest: &mut &[u8]) -> Option<u64> {
    let [first] = take(rest)?;
    Some(match first {
        0..=0xfa => first.into(),
        0xfc => u16::from_le_bytes(take(rest)?).into(),
        0xfd => {
            let [a, b, c] = take(rest)?;
            u32::from_le_bytes([a, b, c, 0]).into()
        }
        0xfe => u64::from_le_bytes(take(rest)?),
        0xfb | 0xff => 0,
    })
}

/// The bytes of a date or time, which come with their number in one byte.
#[inline]
fn part<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let [length] = take(rest)?;
    let (bytes, behind) = rest.split_at_checked(length.into())?;
    *rest = behind;
    Some(bytes)
}

/// Zeros at the end are left out: of the microseconds, of the time, of all.
#[inline]
fn date(mut part: &[u8]) -> Option<Cell<'static>> {
    let length = part.len();
    let (mut date, mut clock, mut micros) = ((0, 0, 0), (0, 0, 0), 0);
    if length >= 4 {
        let [a, b, month, day] = take(&mut part)?;
        date = (u16::from_le_bytes([a, b]), month, day);
    }
    if length >= 7 {
        let [hour, minute, second] = take(&mut part)?;
        clock = (hour, minute, second);
    }
    if length == 11 {
        micros = u32::from_le_bytes(take(&mut part)?);
    }
    Some(Cell::Date(date.0, date.1, date.2, clock.0, clock.1, clock.2, micros))
}

#[inline]
fn time(mut part: &[u8]) -> Option<Cell<'static>> {
    let length = part.len();
    let (mut negative, mut days, mut clock, mut micros) = (false, 0, (0, 0, 0), 0);
    if length >= 8 {
        let [sign] = take(&mut part)?;
        negative = sign == 1;
        days = u32::from_le_bytes(take(&mut part)?);
        let [hours, minutes, seconds] = take(&mut part)?;
        clock = (hours, minutes, seconds);
    }
    if length == 12 {
        micros = u32::from_le_bytes(take(&mut part)?);
    }
    Some(Cell::Time(negative, days, clock.0, clock.1, clock.2, micros))
}
