//! Values that are ready to be copied, and the copying.

use arrow_array::Array;
use arrow_buffer::{Buffer, NullBuffer, ScalarBuffer};
use kwsync_core::Result;

use super::super::fault::Faults;
use super::super::form::Form;
use super::super::options::CopyOptions;
use super::column::{self, Scratch};
use super::nul::zeros;
use super::room::{Room, SLACK, append, store};

/// A prepared column: `bytes` is no less than what all its values need, without their length words.
#[derive(Debug)]
pub(super) struct Column<'a> {
    pub(super) cells: Cells<'a>,
    pub(super) nulls: Option<&'a NullBuffer>,
    pub(super) bytes: usize,
    /// Whether a NUL is a fault.
    pub(super) text: bool,
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
    View(Views<'a>),
    /// Places in a table.
    Keyed(&'a [u32], &'a Table),
}

/// Views, and the two places where most of what they show is: the views themselves, and the first buffer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Views<'a> {
    views: &'a [u128],
    own: &'a [u8],
    first: &'a [u8],
    buffers: &'a [Buffer],
}

impl<'a> Views<'a> {
    pub(super) fn new(views: &'a ScalarBuffer<u128>, buffers: &'a [Buffer]) -> Self {
        let first = buffers.first().map_or(&[][..], |buffer| buffer.as_slice());
        Self { views, own: views.inner().as_slice(), first, buffers }
    }

    /// Where a value is, and its length.
    #[inline(always)]
    fn find(&self, row: usize) -> (&'a [u8], usize, usize) {
        let view = self.views[row];
        let length = view as u32 as usize;
        let (index, from) = ((view >> 64) as u32 as usize, (view >> 96) as u32 as usize);
        if length > 12 && index > 0 {
            return (self.buffers[index].as_slice(), from, length);
        }
        // No branch: whether a text is short is hard to foretell.
        let short = length <= 12;
        let place = if short { self.own } else { self.first };
        (place, if short { row * 16 + 4 } else { from }, length)
    }
}

/// Values with their length words, one behind the other.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// One more than values.
    pub(super) offsets: Vec<usize>,
    pub(super) bytes: Vec<u8>,
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
        let mut nul = false;
        let offsets = &mut self.offsets;
        append(&mut self.bytes, array.len() * 4 + column.bytes, |room| {
            let mut at = 0;
            for row in 0..array.len() {
                at = put(&column, row, room, at, &mut nul);
                offsets.push(at);
            }
            at
        });
        // Room to read on behind the last value.
        self.bytes.resize(self.bytes.len() + SLACK, 0);
        if nul {
            super::text::find_nuls(array, faults);
            faults.found.sort_by_key(|(row, _)| *row);
        }
        Ok(())
    }
}

/// Neighbouring columns that are written in one go.
#[derive(Debug)]
pub(super) enum Group<'a, 'b> {
    /// Eight bytes each, and no nulls.
    Eight(Vec<&'a [i64]>),
    /// Views of text, with or without nulls.
    Views(Vec<(Views<'a>, Option<&'a NullBuffer>)>),
    Other(&'b Column<'a>),
}

impl<'a, 'b> Group<'a, 'b> {
    /// The groups of some columns with `count` rows.
    pub(super) fn of(columns: &'b [Column<'a>], count: usize) -> Vec<Self> {
        let mut groups: Vec<Self> = Vec::with_capacity(columns.len());
        for column in columns {
            match (&column.cells, column.nulls, groups.last_mut()) {
                (Cells::Eight(values), None, Some(Self::Eight(of))) => of.push(&values[..count]),
                (Cells::Eight(values), None, _) => groups.push(Self::Eight(vec![&values[..count]])),
                (Cells::View(views), nulls, Some(Self::Views(of))) if column.text => of.push((*views, nulls)),
                (Cells::View(views), nulls, _) if column.text => {
                    groups.push(Self::Views(vec![(*views, nulls)]))
                }
                _ => groups.push(Self::Other(column)),
            }
        }
        groups
    }

    /// Writes the values of one row, as [`put`] does.
    #[inline(always)]
    pub(super) fn put(&self, row: usize, buffer: &mut Room, mut at: usize, nul: &mut bool) -> usize {
        match self {
            Self::Eight(columns) => {
                let to = &mut buffer[at..at + 12 * columns.len()];
                for (values, to) in columns.iter().zip(to.chunks_exact_mut(12)) {
                    let mut both = [0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0];
                    both[4..].copy_from_slice(&values[row].to_be_bytes());
                    store(to, 0, &both);
                }
                at + 12 * columns.len()
            }
            Self::Views(columns) => {
                for (views, nulls) in columns {
                    if nulls.is_some_and(|nulls| nulls.is_null(row)) {
                        word(buffer, at, u32::MAX);
                        at += 4;
                        continue;
                    }
                    let (place, from, length) = views.find(row);
                    at = text(buffer, at, place, from, length, nul, true);
                }
                at
            }
            Self::Other(column) => put(column, row, buffer, at, nul),
        }
    }
}

/// Writes one value and its length word at `at`, and returns where the next one goes. Up to [`SLACK`] bytes behind
/// that are overwritten. `nul` becomes true when text has a NUL in it.
#[inline(always)]
pub(super) fn put(column: &Column<'_>, row: usize, buffer: &mut Room, at: usize, nul: &mut bool) -> usize {
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
            let (from, to) = (offsets[row] as usize, offsets[row + 1] as usize);
            text(buffer, at, values, from, to - from, nul, column.text)
        }
        Cells::Offsets64(offsets, values) => {
            let (from, to) = (offsets[row] as usize, offsets[row + 1] as usize);
            text(buffer, at, values, from, to - from, nul, column.text)
        }
        Cells::Offsets(offsets, values) => bytes(buffer, at, &values[offsets[row]..offsets[row + 1]]),
        Cells::View(views) => {
            let (place, from, length) = views.find(row);
            text(buffer, at, place, from, length, nul, column.text)
        }
        Cells::Keyed(keys, table) => {
            let key = keys[row] as usize;
            let (from, to) = (table.offsets[key], table.offsets[key + 1]);
            // Behind the last value there is room to read on.
            if to - from <= 32 {
                store(buffer, at, &table.bytes[from..from + 32]);
            } else {
                store(buffer, at, &table.bytes[from..to]);
            }
            at + to - from
        }
    }
}

#[inline(always)]
fn word(buffer: &mut Room, at: usize, value: u32) {
    store(buffer, at, &value.to_be_bytes());
}

/// The bytes of `value`, the lowest first.
#[inline(always)]
fn sixteen(buffer: &mut Room, at: usize, value: u128) {
    store(buffer, at, &value.to_le_bytes());
}

#[inline(always)]
fn bytes(buffer: &mut Room, at: usize, value: &[u8]) -> usize {
    word(buffer, at, value.len() as u32);
    let end = at + 4 + value.len();
    store(buffer, at + 4, value);
    end
}

#[inline(always)]
fn text(
    buffer: &mut Room,
    at: usize,
    place: &[u8],
    from: usize,
    length: usize,
    nul: &mut bool,
    check: bool,
) -> usize {
    if length <= 16
        && let Some(sixteen) = place.get(from..from + 16).and_then(|bytes| bytes.first_chunk::<16>())
    {
        let mut both = [0; 20];
        both[..4].copy_from_slice(&(length as u32).to_be_bytes());
        both[4..].copy_from_slice(sixteen);
        store(buffer, at, &both);
        *nul |= check & (zeros(sixteen) & ((1 << length) - 1) != 0);
        return at + 4 + length;
    }
    let value = &place[from..from + length];
    *nul |= check && memchr::memchr(0, value).is_some();
    bytes(buffer, at, value)
}
