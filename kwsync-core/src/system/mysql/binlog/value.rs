//! Rows and their values.

use super::bytes::{Bytes, broken};
use super::event::{Rows, RowsKind};
use super::table_map::{MapColumn, TableMap, bit, kind};
use crate::Result;

/// A value as it lies in the log.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Raw<'a> {
    /// None.
    Null,
    /// An integer, a year, the number of an enum's value.
    Int(i64),
    /// An unsigned integer, the bits of a set.
    UInt(u64),
    /// A float of single precision.
    Float(f32),
    /// A float of double precision.
    Double(f64),
    /// Text in the column's character set, bytes, bits with the highest first.
    Bytes(&'a [u8]),
    /// A decimal, in the server's own form.
    Decimal(&'a [u8]),
    /// JSON, in MySQL's own form.
    Json(&'a [u8]),
    /// Year, month, day, hour, minute, second, microseconds.
    Date(u16, u8, u8, u8, u8, u8, u32),
    /// Whether it is negative; hours, minutes, seconds, microseconds.
    Time(bool, u16, u8, u8, u32),
    /// Seconds since 1970 in UTC, and microseconds; both 0 for none.
    Timestamp(i64, u32),
}

/// A row: a bit for each of its columns that is null, and the values of the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Image<'a> {
    present: &'a [u8],
    bytes: &'a [u8],
}

impl<'a> Image<'a> {
    /// The row of which [`write`](Self::write) wrote this.
    ///
    /// # Errors
    /// `Protocol` for what is none of a table of so many columns.
    pub fn of(written: &'a [u8], columns: usize) -> Result<Self> {
        let (present, bytes) =
            written.split_at_checked(columns.div_ceil(8)).ok_or_else(|| broken("a row"))?;
        Ok(Self { present, bytes })
    }

    /// Writes the row down: the columns that are there, and their values.
    pub fn write(&self, to: &mut Vec<u8>) {
        to.reserve(self.present.len() + self.bytes.len());
        to.extend_from_slice(self.present);
        to.extend_from_slice(self.bytes);
    }

    /// Whether a column is there.
    pub fn has(&self, at: usize) -> bool {
        bit(self.present, at)
    }

    /// Gives each value and the bytes it lies in, by the place of its column; those that are not there are left out.
    ///
    /// # Errors
    /// `Protocol` for a row that breaks off.
    pub fn values(&self, map: &TableMap, mut each: impl FnMut(usize, Raw<'a>, &'a [u8])) -> Result<()> {
        let mut rest = Bytes(self.bytes);
        scan(&mut rest, self.present, map, &mut each).ok_or_else(|| cannot(map))
    }
}

fn cannot(map: &TableMap) -> crate::Error {
    broken(&format!("a row of {}.{}", map.schema, map.name))
}

/// Reads one row off the front.
fn scan<'a>(
    rest: &mut Bytes<'a>,
    present: &[u8],
    map: &TableMap,
    each: &mut impl FnMut(usize, Raw<'a>, &'a [u8]),
) -> Option<()> {
    let there = (0..map.columns.len()).filter(|at| bit(present, *at)).count();
    let nulls = rest.take(there.div_ceil(8))?;
    let mut nth = 0;
    for (at, column) in map.columns.iter().enumerate() {
        if !bit(present, at) {
            continue;
        }
        if bit(nulls, nth) {
            each(at, Raw::Null, &[]);
        } else {
            let before = rest.0;
            let value = value(rest, column)?;
            each(at, value, before.get(..before.len() - rest.0.len())?);
        }
        nth += 1;
    }
    Some(())
}

impl Rows<'_> {
    /// Gives each row: as it was, and as it is, as far as there are both.
    ///
    /// # Errors
    /// `Protocol` for rows that are none of the table, and what `each` returns.
    pub fn each<'a>(
        &'a self,
        map: &TableMap,
        mut each: impl FnMut(Option<Image<'a>>, Option<Image<'a>>) -> Result<()>,
    ) -> Result<()> {
        if self.columns != map.columns.len() {
            return Err(cannot(map));
        }
        let mut rest = Bytes(&self.data);
        let mut image = |present: &'a [u8]| {
            let before = rest.0;
            scan(&mut rest, present, map, &mut |_, _, _| {})?;
            let bytes = before.get(..before.len() - rest.0.len())?;
            // A table without columns that are there would go on for ever.
            (!bytes.is_empty()).then_some((Image { present, bytes }, rest.is_empty()))
        };
        if self.data.is_empty() {
            return Ok(());
        }
        loop {
            let (first, mut done) = image(self.present).ok_or_else(|| cannot(map))?;
            match self.kind {
                RowsKind::Insert => each(None, Some(first))?,
                RowsKind::Delete => each(Some(first), None)?,
                RowsKind::Update => {
                    let (second, over) = image(self.present_after).ok_or_else(|| cannot(map))?;
                    done = over;
                    each(Some(first), Some(second))?;
                }
            }
            if done {
                return Ok(());
            }
        }
    }
}

fn value<'a>(rest: &mut Bytes<'a>, column: &MapColumn) -> Option<Raw<'a>> {
    use kind as k;
    let meta = usize::from(column.meta);
    let unsigned = column.unsigned == Some(true);
    let integer = |number: u64, bits: u32| match unsigned {
        true => Raw::UInt(number),
        false => Raw::Int((number << (64 - bits)) as i64 >> (64 - bits)),
    };
    Some(match column.kind {
        k::NULL => Raw::Null,
        k::TINY => integer(rest.little(1)?, 8),
        k::SHORT => integer(rest.little(2)?, 16),
        k::INT24 => integer(rest.little(3)?, 24),
        k::LONG => integer(rest.little(4)?, 32),
        k::LONGLONG => integer(rest.little(8)?, 64),
        k::FLOAT => Raw::Float(f32::from_le_bytes(rest.array()?)),
        k::DOUBLE => Raw::Double(f64::from_le_bytes(rest.array()?)),
        k::NEWDECIMAL => {
            let (precision, scale) = (meta >> 8, meta & 0xff);
            Raw::Decimal(rest.take(decimal_bytes(precision, scale)?)?)
        }
        k::YEAR => match rest.u8()? {
            0 => Raw::Int(0),
            year => Raw::Int(1900 + i64::from(year)),
        },
        k::DATE | k::NEWDATE => {
            let number = rest.little(3)? as u32;
            Raw::Date((number >> 9) as u16, (number >> 5 & 15) as u8, (number & 31) as u8, 0, 0, 0, 0)
        }
        k::TIME => {
            let number = (rest.little(3)? << 40) as i64 >> 40;
            let (negative, all) = (number < 0, number.unsigned_abs());
            Raw::Time(negative, (all / 10_000) as u16, (all / 100 % 100) as u8, (all % 100) as u8, 0)
        }
        k::DATETIME => {
            let number = rest.little(8)?;
            let (date, clock) = (number / 1_000_000, number % 1_000_000);
            Raw::Date(
                (date / 10_000) as u16,
                (date / 100 % 100) as u8,
                (date % 100) as u8,
                (clock / 10_000) as u8,
                (clock / 100 % 100) as u8,
                (clock % 100) as u8,
                0,
            )
        }
        k::TIMESTAMP => Raw::Timestamp(i64::from(rest.u32()?), 0),
        k::TIMESTAMP2 => {
            let seconds = rest.big(4)?;
            Raw::Timestamp(seconds as i64, fraction(rest, meta)?)
        }
        k::DATETIME2 => {
            // 40 bits: a sign that is always set, 17 of months, 5 of days, 5 of hours, 6 of minutes, 6 of seconds.
            let number = rest.big(5)? & 0x7f_ffff_ffff;
            let micros = fraction(rest, meta)?;
            let months = number >> 22;
            Raw::Date(
                (months / 13) as u16,
                (months % 13) as u8,
                (number >> 17 & 31) as u8,
                (number >> 12 & 31) as u8,
                (number >> 6 & 63) as u8,
                (number & 63) as u8,
                micros,
            )
        }
        k::TIME2 => time2(rest, meta)?,
        k::BIT => Raw::Bytes(rest.take(meta.div_ceil(8))?),
        k::ENUM => Raw::Int(rest.little(meta.clamp(1, 2))? as i64),
        k::SET => Raw::UInt(rest.little(meta.clamp(1, 8))?),
        k::VARCHAR | k::VAR_STRING | k::STRING => {
            let length = rest.little(if meta < 256 { 1 } else { 2 })?;
            Raw::Bytes(rest.take(length as usize)?)
        }
        k::TINY_BLOB..=k::BLOB | k::GEOMETRY => {
            let length = rest.little(Some(meta).filter(|meta| (1..=4).contains(meta))?)?;
            Raw::Bytes(rest.take(usize::try_from(length).ok()?)?)
        }
        k::JSON => {
            let length = rest.little(Some(meta).filter(|meta| (1..=4).contains(meta))?)?;
            Raw::Json(rest.take(usize::try_from(length).ok()?)?)
        }
        _ => return None,
    })
}

/// Microseconds from so many digits, two in a byte.
fn fraction(rest: &mut Bytes<'_>, digits: usize) -> Option<u32> {
    let bytes = digits.min(6).div_ceil(2);
    let number = rest.big(bytes)? as u32;
    number.checked_mul([1_000_000, 10_000, 100, 1].get(bytes).copied()?)
}

/// 24 bits: a sign, one that is not used, 10 of hours, 6 of minutes, 6 of seconds. What is negative is written as its complement,
/// the fraction among it.
fn time2(rest: &mut Bytes<'_>, digits: usize) -> Option<Raw<'static>> {
    let bytes = digits.min(6).div_ceil(2);
    let all = rest.big(3 + bytes)? as i64 - (0x80_0000_i64 << (8 * bytes));
    let (negative, all) = (all < 0, all.unsigned_abs());
    let (clock, part) = (all >> (8 * bytes), all & ((1 << (8 * bytes)) - 1));
    let micros = (part as u32).checked_mul([1_000_000, 10_000, 100, 1].get(bytes).copied()?)?;
    let micros = if bytes == 0 { 0 } else { micros };
    Some(Raw::Time(
        negative,
        (clock >> 12 & 0x3ff) as u16,
        (clock >> 6 & 63) as u8,
        (clock & 63) as u8,
        micros,
    ))
}

/// Bytes of so many digits that are left of a number of nines.
const PART: [usize; 10] = [0, 1, 1, 2, 2, 3, 3, 4, 4, 4];

fn decimal_bytes(precision: usize, scale: usize) -> Option<usize> {
    let whole = precision.checked_sub(scale)?;
    let bytes = |digits: usize| Some(digits / 9 * 4 + PART.get(digits % 9)?);
    Some(bytes(whole)? + bytes(scale)?)
}

/// Writes a decimal as text, with all digits behind the point, as servers do.
///
/// `meta` is that of its [column](MapColumn::meta). Returns whether the bytes are one.
pub fn write_decimal(bytes: &[u8], meta: u16, to: &mut Vec<u8>) -> bool {
    let mut write = || {
        let (precision, scale) = (usize::from(meta >> 8), usize::from(meta & 0xff));
        if bytes.len() != decimal_bytes(precision, scale)? {
            return None;
        }
        // The highest bit is turned round, and all are where the number is negative.
        let negative = bytes.first()? & 0x80 == 0;
        let mask = if negative { 0xff } else { 0 };
        let mut turned =
            bytes.iter().enumerate().map(|(at, byte)| byte ^ mask ^ if at == 0 { 0x80 } else { 0 });
        let mut group = |digits: usize, text: &mut String| {
            let length = *PART.get(digits)?;
            let number =
                turned.by_ref().take(length).fold(0_u32, |number, byte| number << 8 | u32::from(byte));
            if digits > 0 {
                text.push_str(&format!("{number:0digits$}"));
            }
            (number < 10_u32.pow(digits as u32)).then_some(())
        };
        let whole = precision - scale;
        let (mut before, mut behind) = (String::new(), String::new());
        group(whole % 9, &mut before)?;
        (0..whole / 9).try_for_each(|_| group(9, &mut before))?;
        (0..scale / 9).try_for_each(|_| group(9, &mut behind))?;
        group(scale % 9, &mut behind)?;
        let before = before.trim_start_matches('0');
        if negative {
            to.push(b'-');
        }
        to.extend_from_slice(if before.is_empty() { "0" } else { before }.as_bytes());
        if !behind.is_empty() {
            to.push(b'.');
            to.extend_from_slice(behind.as_bytes());
        }
        Some(())
    };
    write().is_some()
}
