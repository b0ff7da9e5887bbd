//! Lines that differ only in their time, value and tag values go straight into the columns.

use std::collections::HashMap;

use super::options::TelnetOptions;
use super::parse::token_end;
use crate::build::{Chunk, Data, EXACT, INLINE, NONE, Table};
use crate::influx::number::{self, Number};
use crate::influx::scan::{Prefix, Window, name_mask};

/// What lines of one metric with the same tags have in common.
#[derive(Debug)]
pub(super) struct Shape {
    /// `put METRIC ` or `METRIC `
    head: Box<[u8]>,
    pub(super) table: u32,
    pub(super) time: u32,
    pub(super) value: u32,
    /// ` KEY=` and the column
    tags: Box<[(Prefix, u32)]>,
    pub(super) columns: Box<[u32]>,
    /// The shape that came after this one last
    next: u32,
}

/// More shapes than this, and all are forgotten.
const MAX_SHAPES: usize = 4096;

#[derive(Debug)]
pub(super) struct Shapes {
    all: Vec<Shape>,
    by_head: HashMap<Box<[u8]>, u32>,
    last: u32,
}

impl Default for Shapes {
    fn default() -> Self {
        Self { all: Vec::new(), by_head: HashMap::new(), last: NONE }
    }
}

impl Shapes {
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    #[inline(always)]
    pub(super) fn get(&self, shape: u32) -> Option<&Shape> {
        self.all.get(shape as usize)
    }

    /// The shape that is likely next.
    #[inline(always)]
    pub(super) fn guess(&self) -> u32 {
        self.get(self.last).map_or(NONE, |shape| shape.next)
    }

    /// The last shape of lines that begin with `head`.
    pub(super) fn find(&self, head: &[u8]) -> Option<u32> {
        self.by_head.get(head).copied()
    }

    /// Says that a line had this shape.
    #[inline(always)]
    pub(super) fn follow(&mut self, shape: u32) {
        if let Some(last) = self.all.get_mut(self.last as usize) {
            last.next = shape;
        }
        self.last = shape;
    }

    /// Remembers a shape. True if all others were forgotten for it, and with them what tables are filled for.
    pub(super) fn insert(
        &mut self,
        head: &[u8],
        (table, time, value): (u32, u32, u32),
        tags: &[(&[u8], u32)],
    ) -> (u32, bool) {
        let full = self.all.len() >= MAX_SHAPES;
        if full {
            self.clear();
        }
        let mut prefixes = Vec::with_capacity(tags.len());
        for (key, column) in tags {
            let text = [b" ", *key, b"="].concat();
            // A longer key takes the general way each time.
            let Some(prefix) = Prefix::new(&text) else { return (NONE, full) };
            prefixes.push((prefix, *column));
        }
        let index = self.all.len() as u32;
        let columns = [time, value].into_iter().chain(tags.iter().map(|(_, column)| *column)).collect();
        self.all.push(Shape {
            head: head.into(),
            table,
            time,
            value,
            tags: prefixes.into(),
            columns,
            next: NONE,
        });
        self.by_head.insert(head.into(), index);
        (index, full)
    }
}

/// The line's end, and the next one's start.
pub(super) type Ends = (usize, usize);

impl Shape {
    /// Reads the line at `start` if it has this shape: the row is in the columns then, but not yet committed. If not,
    /// nothing has changed.
    #[inline(always)]
    pub(super) fn read(
        &self,
        index: u32,
        table: &mut Table,
        chunk: Chunk<'_>,
        start: usize,
        options: &TelnetOptions,
    ) -> Option<Ends> {
        let data = chunk.bytes;
        if !data.get(start..)?.starts_with(&self.head) {
            return None;
        }
        let at = start + self.head.len();
        // Also -0, which is no time.
        if data.get(at) == Some(&b'-') {
            return None;
        }
        let (time, end) = number::integer(data, at);
        let time = options.time((time.filter(|time| *time >= 0)?, None))?;
        if data.get(end) != Some(&b' ') {
            return None;
        }
        let at = end + 1;
        if table.active != index {
            table.activate(index, self.columns.iter().copied());
        }
        let ends = self.values(table, chunk, at, time);
        if ends.is_none() {
            table.roll_back(self.columns.iter().copied());
        }
        ends
    }

    #[inline(always)]
    fn values(&self, table: &mut Table, chunk: Chunk<'_>, at: usize, time: i64) -> Option<Ends> {
        let data = chunk.bytes;
        let mut at = self.value(table, data, at)?;
        for (prefix, column) in &self.tags {
            let window = Window::new(data, at)?;
            let value = prefix.matches(window)?;
            let Data::Text(values) = &mut table.columns.get_mut(*column as usize)?.data else { return None };
            let block = window.block(value);
            let mask = name_mask(block);
            let len = mask.trailing_zeros() as usize;
            at += value;
            if mask != 0 && len.wrapping_sub(1) < INLINE && matches!(block[len & 15], b' ' | b'\n') {
                values.push_short(block, len);
                at += len;
            } else {
                let end = token_end(data, at);
                // A second '=' makes it no tag.
                if end == at || data.get(at..end)?.contains(&b'=') {
                    return None;
                }
                values.push_copy(data, at, end);
                at = end;
            }
        }
        let Data::I64(times) = &mut table.columns.get_mut(self.time as usize)?.data else { return None };
        let next = match data.get(at)? {
            b'\n' => at + 1,
            b'\r' if data.get(at + 1) == Some(&b'\n') => at + 2,
            _ => return None,
        };
        times.push(time);
        Some((at, next))
    }

    /// Puts the value at `at` into its column, if it is of its type; returns its end.
    #[inline(always)]
    fn value(&self, table: &mut Table, data: &[u8], at: usize) -> Option<usize> {
        let (integer, end) = number::integer(data, at);
        let whole = matches!(data.get(end), Some(b' ' | b'\n' | b'\r'));
        let column = table.columns.get_mut(self.value as usize)?;
        match (&mut column.data, integer) {
            (Data::I64(values), Some(value)) if whole => values.push(value),
            (Data::F64(values), Some(value)) if whole && value.unsigned_abs() <= EXACT => {
                values.push(value as f64);
            }
            (Data::F64(values), _) if !whole => match number::number(data, at) {
                Ok((Number::F64(value), end)) => {
                    values.push(value);
                    return matches!(data.get(end), Some(b' ' | b'\n' | b'\r')).then_some(end);
                }
                _ => return None,
            },
            _ => return None,
        }
        Some(end)
    }
}
