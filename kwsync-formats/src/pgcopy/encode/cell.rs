//! Values that are ready to be copied, and the copying.

use arrow_array::Array;
use arrow_buffer::{Buffer, NullBuffer};
use kwsync_core::Result;

use super::super::fault::Faults;
use super::super::form::Form;
use super::super::options::CopyOptions;
use super::column::{self, Scratch};

/// Bytes that may be written behind the end of a value, and are overwritten by the next.
pub(super) const SLACK: usize = 16;

/// A prepared column: `bytes` is no less than what all its values need, without their length words.
#[derive(Debug)]
pub(super) struct Column<'a> {
    pub(super) cells: Cells<'a>,
    pub(super) nulls: Option<&'a NullBuffer>,
    pub(super) bytes: usize,
}

/// Where the values are.
#[derive(Debug)]
pub(super) enum Cells<'a> {
    Null,
    One(&'a [u8]),
    Two(&'a [i16]),
    Four(&'a [i32]),
    Eight(&'a [i64]),
    /// So many bytes each.
    Fixed(&'a [u8], usize),
    /// One more offset than values.
    Offsets32(&'a [i32], &'a [u8]),
    Offsets64(&'a [i64], &'a [u8]),
    Offsets(&'a [usize], &'a [u8]),
    View(&'a [u128], &'a [Buffer]),
    /// Places in a table.
    Keyed(&'a [u32], &'a Table),
}

/// Values with their length words, one behind the other.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// One more than values.
    pub(super) offsets: Vec<usize>,
    pub(super) bytes: Vec<u8>,
    /// The longest value, with its length word.
    pub(super) longest: usize,
}

impl Table {
    /// Encodes all values of an array.
    pub(super) fn fill(
        &mut self,
        array: &dyn Array,
        form: &Form,
        options: &CopyOptions,
        scratch: &mut Scratch,
        faults: &mut Faults,
    ) -> Result<()> {
        let column = column::prepare(array, form, options, scratch, faults)?;
        self.offsets.clear();
        self.offsets.reserve(array.len() + 1);
        self.offsets.push(0);
        self.bytes.clear();
        self.bytes.resize(array.len() * 4 + column.bytes + SLACK, 0);
        let (mut at, mut longest) = (0, 0);
        for row in 0..array.len() {
            let end = put(&column, row, &mut self.bytes, at);
            longest = longest.max(end - at);
            at = end;
            self.offsets.push(at);
        }
        self.bytes.truncate(at);
        self.longest = longest;
        Ok(())
    }
}

/// Writes one value and its length word at `at`, and returns where the next one goes. Up to [`SLACK`] bytes behind
/// that are overwritten.
#[inline(always)]
pub(super) fn put(column: &Column<'_>, row: usize, buffer: &mut [u8], at: usize) -> usize {
    if column.nulls.is_some_and(|nulls| nulls.is_null(row)) {
        word(buffer, at, u32::MAX);
        return at + 4;
    }
    match &column.cells {
        Cells::Null => {
            word(buffer, at, u32::MAX);
            at + 4
        }
        Cells::One(values) => {
            sixteen(buffer, at, u128::from(1_u32.swap_bytes()) | u128::from(values[row]) << 32);
            at + 5
        }
        Cells::Two(values) => {
            let value = values[row].swap_bytes() as u16;
            sixteen(buffer, at, u128::from(2_u32.swap_bytes()) | u128::from(value) << 32);
            at + 6
        }
        Cells::Four(values) => {
            let value = values[row].swap_bytes() as u32;
            sixteen(buffer, at, u128::from(4_u32.swap_bytes()) | u128::from(value) << 32);
            at + 8
        }
        Cells::Eight(values) => {
            let value = values[row].swap_bytes() as u64;
            sixteen(buffer, at, u128::from(8_u32.swap_bytes()) | u128::from(value) << 32);
            at + 12
        }
        Cells::Fixed(values, width) => {
            bytes(buffer, at, values.get(row * width..(row + 1) * width).unwrap_or_default())
        }
        Cells::Offsets32(offsets, values) => {
            bytes(buffer, at, &values[offsets[row] as usize..offsets[row + 1] as usize])
        }
        Cells::Offsets64(offsets, values) => {
            bytes(buffer, at, &values[offsets[row] as usize..offsets[row + 1] as usize])
        }
        Cells::Offsets(offsets, values) => bytes(buffer, at, &values[offsets[row]..offsets[row + 1]]),
        Cells::View(views, buffers) => {
            let view = views[row];
            let length = view as u32;
            if length <= 12 {
                // A short view is a length and the text, zeros behind it: but for the length's byte order it is what
                // COPY wants.
                sixteen(buffer, at, (view >> 32) << 32 | u128::from(length.swap_bytes()));
                return at + 4 + length as usize;
            }
            let (index, from) = ((view >> 64) as u32 as usize, (view >> 96) as u32 as usize);
            bytes(buffer, at, &buffers[index][from..from + length as usize])
        }
        Cells::Keyed(keys, table) => {
            let key = keys[row] as usize;
            let value = &table.bytes[table.offsets[key]..table.offsets[key + 1]];
            buffer[at..at + value.len()].copy_from_slice(value);
            at + value.len()
        }
    }
}

#[inline(always)]
fn word(buffer: &mut [u8], at: usize, value: u32) {
    buffer[at..at + 4].copy_from_slice(&value.to_be_bytes());
}

/// The bytes of `value`, the lowest first.
#[inline(always)]
fn sixteen(buffer: &mut [u8], at: usize, value: u128) {
    buffer[at..at + 16].copy_from_slice(&value.to_le_bytes());
}

#[inline(always)]
fn bytes(buffer: &mut [u8], at: usize, value: &[u8]) -> usize {
    word(buffer, at, value.len() as u32);
    let end = at + 4 + value.len();
    buffer[at + 4..end].copy_from_slice(value);
    end
}
