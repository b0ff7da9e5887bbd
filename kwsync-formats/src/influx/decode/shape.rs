//! The shape of a line: its measurement and keys, byte for byte, and the type of each value. Lines of one shape
//! differ in their values only, so the next one is compared with its likely shape instead of being taken apart.

use std::collections::HashMap;

use super::table::Table;
use crate::influx::parse::{Record, Span, Value};
use crate::influx::scan::{KEY, Prefix};

/// What stands before a value, and the column that the value belongs to.
#[derive(Debug)]
pub(super) struct Op {
    pub(super) prefix: Prefix,
    /// What follows the prefix, of a key that is longer than the prefix can hold.
    pub(super) rest: Box<[u8]>,
    pub(super) column: u32,
    pub(super) kind: Kind,
}

/// What kind of value to expect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    Tag,
    I64,
    U64,
    F64,
    Bool,
    Str,
}

impl Kind {
    const fn of(letter: u8) -> Self {
        match letter {
            b'i' => Self::I64,
            b'u' => Self::U64,
            b'f' => Self::F64,
            b'b' => Self::Bool,
            _ => Self::Str,
        }
    }
}

#[derive(Debug)]
pub(super) struct Shape {
    pub(super) table: u32,
    pub(super) ops: Box<[Op]>,
    /// The text between the values, for telling shapes apart.
    text: Box<[u8]>,
    columns: Box<[u32]>,
    /// The shape that followed this one last.
    pub(super) next: u32,
}

pub(super) const NONE: u32 = u32::MAX;
/// More shapes than this, and all are forgotten: nothing is gained where each line has its own.
const MAX_SHAPES: usize = 1024;

#[derive(Debug)]
pub(super) struct Shapes {
    pub(super) all: Vec<Shape>,
    /// The last two shapes of lines that begin alike, by a hash of their first eight bytes
    heads: [[u32; 2]; HEADS],
    by_hash: HashMap<u64, u32>,
    text: Vec<u8>,
    cuts: Vec<usize>,
    /// The shape of the last line
    pub(super) last: u32,
}

/// Places for beginnings of lines.
const HEADS: usize = 256;

impl Default for Shapes {
    fn default() -> Self {
        Self {
            all: Vec::new(),
            heads: [[NONE; 2]; HEADS],
            by_hash: HashMap::new(),
            text: Vec::new(),
            cuts: Vec::new(),
            last: NONE,
        }
    }
}

/// The place of the line that begins at `at`.
#[inline(always)]
fn head(data: &[u8], at: usize) -> usize {
    let word = data.get(at..).and_then(|rest| rest.first_chunk::<8>()).map_or(0, |b| u64::from_le_bytes(*b));
    (word.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as usize
}

const fn letter(value: &Value) -> u8 {
    match value {
        Value::I64(_) => b'i',
        Value::U64(_) => b'u',
        Value::F64(_) => b'f',
        Value::Bool(_) => b'b',
        Value::Str(_) => b's',
        Value::I8(_) => b'1',
        Value::I16(_) => b'2',
        Value::I32(_) => b'4',
        Value::U8(_) => b'5',
        Value::U16(_) => b'6',
        Value::U32(_) => b'7',
        Value::F32(_) => b'8',
        Value::NStr(_) => b'n',
        Value::Bytes { .. } => b'y',
        Value::Geometry(_) => b'g',
    }
}

fn hash(bytes: &[u8]) -> u64 {
    const K: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut chunks = bytes.chunks_exact(8);
    let mut state = bytes.len() as u64;
    for chunk in &mut chunks {
        let word = chunk.first_chunk::<8>().map_or(0, |c| u64::from_le_bytes(*c));
        state = (state.rotate_left(5) ^ word).wrapping_mul(K);
    }
    for &byte in chunks.remainder() {
        state = (state.rotate_left(5) ^ u64::from(byte)).wrapping_mul(K);
    }
    state ^ (state >> 29)
}

impl Shapes {
    /// Spells the shape of `record` into `self.text`: the text before each value, then one letter a field.
    fn spell(&mut self, data: &[u8], record: &Record) {
        self.text.clear();
        self.cuts.clear();
        self.text.extend_from_slice(record.measurement.of(data));
        let mut key = |span: &Span, separator| {
            self.text.push(separator);
            self.text.extend_from_slice(span.of(data));
            self.text.push(b'=');
            self.cuts.push(self.text.len());
        };
        record.tags.iter().for_each(|(span, _)| key(span, b','));
        for (i, (span, _)) in record.fields.iter().enumerate() {
            key(span, if i == 0 { b' ' } else { b',' });
        }
        self.text.extend(record.fields.iter().map(|(_, value)| letter(value)));
    }

    /// The shape of `record`, if it is known.
    pub(super) fn find(&mut self, data: &[u8], record: &Record) -> Option<u32> {
        self.spell(data, record);
        let found = *self.by_hash.get(&hash(&self.text))?;
        let shape = self.all.get(found as usize)?;
        (*shape.text == *self.text).then_some(found)
    }

    /// The columns of the record that was looked for last, if its shape was found.
    pub(super) fn columns(&self, shape: u32) -> &[u32] {
        self.all.get(shape as usize).map_or(&[], |shape| &shape.columns)
    }

    /// Remembers the shape that was looked for last and not found.
    pub(super) fn insert(&mut self, table: u32, columns: &[u32], tags: usize, tables: &mut [Table]) -> u32 {
        if self.all.len() >= MAX_SHAPES {
            self.clear(tables);
        }
        let letters = self.text.get(self.cuts.last().copied().unwrap_or(0)..).unwrap_or_default();
        let mut kinds =
            std::iter::repeat_n(Kind::Tag, tags).chain(letters.iter().map(|&letter| Kind::of(letter)));
        let mut start = 0;
        let mut ops = Vec::with_capacity(columns.len());
        for (&column, &end) in columns.iter().zip(&self.cuts) {
            let text = self.text.get(start..end).unwrap_or_default();
            let (head, rest) = text.split_at(text.len().min(KEY - 1));
            // Never empty: there is a separator and an '='.
            if let Some(prefix) = Prefix::new(head) {
                ops.push(Op { prefix, rest: rest.into(), column, kind: kinds.next().unwrap_or(Kind::Tag) });
            }
            start = end;
        }
        let index = self.all.len() as u32;
        self.by_hash.insert(hash(&self.text), index);
        self.all.push(Shape {
            table,
            ops: ops.into(),
            text: self.text.as_slice().into(),
            columns: columns.into(),
            next: NONE,
        });
        index
    }

    fn clear(&mut self, tables: &mut [Table]) {
        self.all.clear();
        self.by_hash.clear();
        self.heads = [[NONE; 2]; HEADS];
        self.last = NONE;
        tables.iter_mut().for_each(|table| table.active = NONE);
    }

    /// Notes that a line of shape `shape` has come.
    #[inline(always)]
    pub(super) fn follow(&mut self, shape: u32) {
        if let Some(last) = self.all.get_mut(self.last as usize) {
            last.next = shape;
        }
        self.last = shape;
    }

    /// Two guesses at the line at `at` by its first bytes.
    #[inline]
    pub(super) fn like(&self, data: &[u8], at: usize) -> [u32; 2] {
        self.heads.get(head(data, at)).copied().unwrap_or([NONE; 2])
    }

    /// Notes that the line at `at` has this shape.
    #[inline]
    pub(super) fn note(&mut self, shape: u32, data: &[u8], at: usize) {
        if let Some(place) = self.heads.get_mut(head(data, at))
            && place[0] != shape
        {
            *place = [shape, place[0]];
        }
    }
}
