//! The shape of an object: its keys and all else between its values, byte for byte. Objects of one shape differ in
//! their values only, so the next one is compared with its likely shape instead of being taken apart.

use std::collections::HashMap;

use kwsync_core::{DataType, TimeUnit};

use super::read::scan::string_mask;
use super::read::string::{self, End};
use super::read::{Object, Reader, What, number};
use crate::build::{Cell, Chunk, Data, EXACT, INLINE, Kind, NONE, Rule, Str, Table, Tables, Text, clock_ms};
use crate::influx::number as digits;
use crate::influx::scan::{KEY, Prefix, Window};

/// What becomes of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Slot {
    I64,
    F64,
    Bool,
    /// Text of at most so many bytes as [`Op::scale`] says
    Text,
    /// An array or object, as text
    Json,
    /// An integer of another unit
    Time,
    I32,
    I16,
    F32,
    /// Whatever else a column may take
    Other,
    /// There is no column yet: only null is known.
    Null,
}

/// What stands before a value, and the column that the value belongs to.
#[derive(Debug)]
struct Op {
    prefix: Prefix,
    /// What follows the prefix, of a text that is longer than the prefix can hold.
    rest: Box<[u8]>,
    column: u32,
    slot: Slot,
    nullable: bool,
    /// Of a time, units of the column in one of the input, or 0 for seconds or milliseconds; of a text, the most bytes
    scale: i64,
}

/// What a value of an object is to become.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Use {
    /// Index of the value among the object's
    pub(crate) field: u32,
    /// Its column, or [`NONE`]
    pub(crate) column: u32,
    pub(crate) part: Part,
}

/// How a value takes part in a shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// It goes into its column, as the column's type says.
    Column,
    /// The same, and it may not be null.
    Required,
    /// It is part of the shape: another value, another shape.
    Fixed,
    /// It is null, and must be.
    Null,
}

#[derive(Debug)]
struct Shape {
    scope: u32,
    table: u32,
    ops: Box<[Op]>,
    tail: Box<[u8]>,
    /// Everything between the values, for telling shapes apart
    text: Box<[u8]>,
    /// The column that gets the time of receipt
    stamp: u32,
    /// The shape that followed this one last
    next: u32,
}

/// More shapes than this, and all are forgotten: nothing is gained where each object has its own.
const MAX_SHAPES: usize = 8192;
/// Places for beginnings of objects.
const HEADS: usize = 1024;
/// In the text of a shape, where a value stands; no byte of UTF-8.
const HOLE: u8 = 0xff;
/// Text before a value that is compared at once.
const HEAD: usize = KEY - 2;

/// The shapes of a stream.
#[derive(Debug)]
pub(crate) struct Shapes {
    all: Vec<Shape>,
    /// The last two shapes of objects that begin alike, by a hash of their first bytes: few of them, and many
    heads: [Box<[[u32; 2]]>; 2],
    by_hash: HashMap<u64, u32>,
    text: Vec<u8>,
    last: u32,
}

impl Default for Shapes {
    fn default() -> Self {
        let heads = || vec![[NONE; 2]; HEADS].into_boxed_slice();
        Self {
            all: Vec::new(),
            heads: [heads(), heads()],
            by_hash: HashMap::new(),
            text: Vec::new(),
            last: NONE,
        }
    }
}

/// A row that has been read and not committed yet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    pub(crate) shape: u32,
    pub(crate) table: u32,
    /// After the closing brace
    pub(crate) end: usize,
    /// The column that gets the time of receipt
    pub(crate) stamp: u32,
}

const K: u64 = 0x9e37_79b9_7f4a_7c15;

#[inline(always)]
fn word(data: &[u8], at: usize) -> u64 {
    data.get(at..).and_then(|rest| rest.first_chunk::<8>()).map_or(0, |b| u64::from_le_bytes(*b))
}

/// The places of the object that begins at `at`.
#[inline(always)]
fn heads(data: &[u8], at: usize) -> [usize; 2] {
    let place = |state: u64| (state >> 54) as usize;
    let short = word(data, at).wrapping_mul(K);
    let more = (1..4).fold(short, |state, i| (state.rotate_left(5) ^ word(data, at + 8 * i)).wrapping_mul(K));
    [place(more), place(short)]
}

fn hash(scope: u32, bytes: &[u8]) -> u64 {
    let mut chunks = bytes.chunks_exact(8);
    let mut state = bytes.len() as u64 ^ u64::from(scope) << 32;
    let mut add = |word: u64| state = (state.rotate_left(5) ^ word).wrapping_mul(K);
    for chunk in &mut chunks {
        add(chunk.first_chunk::<8>().map_or(0, |c| u64::from_le_bytes(*c)));
    }
    chunks.remainder().iter().for_each(|byte| add((*byte).into()));
    state ^ (state >> 29)
}

impl Shapes {
    /// Reads the object at `at` if it has a shape that is likely. Its values are in their columns then, and the row
    /// is neither checked for UTF-8 nor committed. If not, nothing has changed.
    #[inline(always)]
    pub(crate) fn guess(
        &mut self,
        scope: u32,
        chunk: Chunk<'_>,
        at: usize,
        tables: &mut Tables,
    ) -> Option<Row> {
        let next = self.all.get(self.last as usize).map_or(NONE, |last| last.next);
        self.try_one(next, scope, chunk, at, tables)
            .or_else(|| self.guess_by_head(next, scope, chunk, at, tables))
    }

    #[inline(never)]
    fn guess_by_head(
        &mut self,
        tried: u32,
        scope: u32,
        chunk: Chunk<'_>,
        at: usize,
        tables: &mut Tables,
    ) -> Option<Row> {
        let places = heads(chunk.bytes, at);
        let mut done = [tried, NONE, NONE, NONE];
        for (i, place) in places.into_iter().enumerate() {
            for shape in self.heads[i].get(place).copied().unwrap_or([NONE; 2]) {
                if done.contains(&shape) {
                    continue;
                }
                done.rotate_right(1);
                done[0] = shape;
                if let Some(row) = self.try_one(shape, scope, chunk, at, tables) {
                    self.note(shape, chunk.bytes, at);
                    return Some(row);
                }
            }
        }
        None
    }

    #[inline]
    fn try_one(
        &mut self,
        index: u32,
        scope: u32,
        chunk: Chunk<'_>,
        at: usize,
        tables: &mut Tables,
    ) -> Option<Row> {
        let shape = self.all.get(index as usize)?;
        if shape.scope != scope {
            return None;
        }
        let table = tables.get_mut(shape.table)?;
        if table.active != index {
            // Cheap, and most wrong guesses end here.
            if !begins(shape, chunk.bytes, at) {
                return None;
            }
            table.activate(index, shape.ops.iter().map(|op| op.column));
        }
        let Some(end) = read(shape, table, chunk, at) else {
            table.roll_back(shape.ops.iter().map(|op| op.column));
            return None;
        };
        Some(Row { shape: index, table: shape.table, end, stamp: shape.stamp })
    }

    /// Takes back a row that was read.
    #[cold]
    pub(crate) fn roll_back(&self, row: Row, tables: &mut Tables) {
        if let (Some(shape), Some(table)) = (self.all.get(row.shape as usize), tables.get_mut(row.table)) {
            table.roll_back(shape.ops.iter().map(|op| op.column));
            table.active = NONE;
        }
    }

    /// Notes that a row of this shape has been committed.
    #[inline(always)]
    pub(crate) fn follow(&mut self, shape: u32) {
        if let Some(last) = self.all.get_mut(self.last as usize) {
            last.next = shape;
        }
        self.last = shape;
    }

    fn note(&mut self, shape: u32, data: &[u8], at: usize) {
        for (heads, place) in self.heads.iter_mut().zip(heads(data, at)) {
            if let Some(place) = heads.get_mut(place)
                && place[0] != shape
            {
                *place = [shape, place[0]];
            }
        }
    }

    /// Spells the shape of the object at `at` into `self.text`. The value of the field `fixed` is part of it.
    fn spell(&mut self, data: &[u8], at: usize, object: &Object, fixed: u32) {
        self.text.clear();
        let mut from = at;
        for (i, field) in object.fields.iter().enumerate() {
            if field.what != What::Object && i as u32 != fixed {
                self.text.extend_from_slice(data.get(from..field.start()).unwrap_or_default());
                self.text.push(HOLE);
                from = field.end();
            }
        }
        self.text.extend_from_slice(data.get(from..object.end).unwrap_or_default());
    }

    /// As [`guess`](Self::guess), for an object that has been taken apart, by all shapes that are known.
    pub(crate) fn find(
        &mut self,
        scope: u32,
        chunk: Chunk<'_>,
        at: usize,
        object: &Object,
        fixed: u32,
        tables: &mut Tables,
    ) -> Option<Row> {
        if object.lines > 0 {
            return None;
        }
        self.spell(chunk.bytes, at, object, fixed);
        let index = self.by_hash.get(&hash(scope, &self.text)).copied()?;
        if *self.all.get(index as usize)?.text != *self.text {
            return None;
        }
        let row = self.try_one(index, scope, chunk, at, tables)?;
        self.note(index, chunk.bytes, at);
        Some(row)
    }

    /// Remembers the shape of the object that was looked for last and not found; `uses` tells of its values, in
    /// order. Not for objects with repeated keys.
    pub(crate) fn learn(
        &mut self,
        (scope, table, stamp): (u32, u32, u32),
        data: &[u8],
        at: usize,
        object: &Object,
        uses: &[Use],
        tables: &mut Tables,
    ) {
        if object.lines > 0 {
            return;
        }
        if self.all.len() >= MAX_SHAPES {
            self.clear();
            tables.iter_mut().for_each(|table| table.active = NONE);
        }
        let Some(rows) = tables.get(table) else { return };
        let mut from = at;
        let mut ops = Vec::with_capacity(uses.len());
        for used in uses.iter().filter(|used| used.part != Part::Fixed) {
            let Some(field) = object.fields.get(used.field as usize) else { return };
            let text = data.get(from..field.start()).unwrap_or_default();
            let (head, rest) = text.split_at(text.len().min(HEAD));
            let (slot, scale) = slot(*used, rows);
            // Never empty: there is a brace, a comma or a colon.
            let Some(prefix) = Prefix::new(head) else { return };
            let nullable = used.part != Part::Required;
            ops.push(Op { prefix, rest: rest.into(), column: used.column, slot, nullable, scale });
            from = field.end();
        }
        let tail = data.get(from..object.end).unwrap_or_default();
        let shape = Shape {
            scope,
            table,
            ops: ops.into(),
            tail: tail.into(),
            text: self.text.as_slice().into(),
            stamp,
            next: NONE,
        };
        let hash = hash(scope, &self.text);
        let known = self.by_hash.get(&hash).copied();
        let index = match known.and_then(|index| Some((index, self.all.get_mut(index as usize)?))) {
            Some((index, old)) if old.scope == scope && old.text == shape.text => {
                *old = Shape { next: old.next, ..shape };
                if let Some(table) = tables.get_mut(table) {
                    table.active = NONE;
                }
                index
            }
            _ => {
                self.all.push(shape);
                self.all.len() as u32 - 1
            }
        };
        self.by_hash.insert(hash, index);
        self.note(index, data, at);
        self.follow(index);
    }

    /// Forgets all shapes.
    pub(crate) fn clear(&mut self) {
        let text = std::mem::take(&mut self.text);
        *self = Self { text, ..Self::default() };
    }
}

/// How the values of a column are read, and their scale.
fn slot(used: Use, table: &Table) -> (Slot, i64) {
    match used.part {
        Part::Column | Part::Required => {}
        Part::Null | Part::Fixed => return (Slot::Null, 0),
    }
    let (Some(column), Some(known)) = (table.columns.get(used.column as usize), table.known(used.column))
    else {
        return (Slot::Null, 0);
    };
    match (&column.data, known.data_type(), table.rule(used.column)) {
        (Data::I64(_), DataType::Int64, _) => (Slot::I64, 0),
        (Data::I32(_), DataType::Int32, _) => (Slot::I32, 0),
        (Data::I16(_), DataType::Int16, _) => (Slot::I16, 0),
        (Data::F64(_), ..) => (Slot::F64, 0),
        (Data::F32(_), ..) => (Slot::F32, 0),
        (Data::Bool(_), ..) => (Slot::Bool, 0),
        (Data::Text(_), DataType::Json | DataType::Jsonb, Rule::Infer) => (Slot::Json, 0),
        (Data::Text(_), DataType::Json | DataType::Jsonb, _) => (Slot::Other, 0),
        (
            Data::Text(_),
            DataType::Char(most)
            | DataType::NChar(most)
            | DataType::VarChar(Some(most))
            | DataType::NVarChar(Some(most)),
            _,
        ) => (Slot::Text, (*most).into()),
        (Data::Text(_), ..) => (Slot::Text, i64::MAX),
        (Data::I64(_), DataType::Timestamp(own) | DataType::TimestampTz(own), Rule::Cast { unit, .. }) => {
            match scale(unit, *own) {
                Some(scale) => (Slot::Time, scale),
                None => (Slot::Other, 0),
            }
        }
        (Data::I64(_), _, Rule::Clock) => (Slot::Time, 0),
        _ => (Slot::Other, 0),
    }
}

fn scale(unit: TimeUnit, own: TimeUnit) -> Option<i64> {
    let scale = unit.nanos() / own.nanos();
    (scale > 0).then_some(scale)
}

/// Whether the object at `start` begins as objects of this shape do.
#[inline]
fn begins(shape: &Shape, data: &[u8], start: usize) -> bool {
    Window::new(data, start)
        .is_some_and(|window| shape.ops.first().is_some_and(|op| op.prefix.matches(window).is_some()))
}

/// Reads the object at `start`; returns its end.
#[inline(always)]
fn read(shape: &Shape, table: &mut Table, chunk: Chunk<'_>, start: usize) -> Option<usize> {
    let data = chunk.bytes;
    let mut at = start;
    for op in &shape.ops {
        let mut window = Window::new(data, at)?;
        // Where the value begins, in the window and in the input.
        let mut value = op.prefix.matches(window)?;
        at += value;
        if !op.rest.is_empty() {
            at = long_text(data, at, &op.rest)?;
            window = Window::new(data, at)?;
            value = 0;
        }
        let end = match table.columns.get_mut(op.column as usize) {
            Some(column) => match (op.slot, &mut column.data) {
                (Slot::Text, Data::Text(values)) => {
                    let block = window.block(value + 1);
                    let mask = string_mask(block);
                    let len = mask.trailing_zeros() as usize;
                    let short = mask != 0 && len <= INLINE && block[len & 15] == b'"';
                    if short && window.byte(value) == b'"' && len as i64 <= op.scale {
                        values.push_short(block, len);
                        Some(at + len + 2)
                    } else {
                        text(values, chunk, at, op.scale)
                    }
                }
                (Slot::I64, Data::I64(values)) => integer(window, value, data, at).map(|(number, end)| {
                    values.push(number);
                    end
                }),
                (Slot::F64, Data::F64(values)) => float(window, value, data, at).map(|(number, end)| {
                    values.push(number);
                    end
                }),
                (Slot::Time, Data::I64(values)) => {
                    integer(window, value, data, at).and_then(|(number, end)| {
                        values.push(match op.scale {
                            0 => clock_ms(number)?,
                            scale => number.checked_mul(scale)?,
                        });
                        Some(end)
                    })
                }
                (Slot::Bool, Data::Bool(values)) => {
                    let word = window.word(value, 0);
                    if word as u32 == u32::from_le_bytes(*b"true") {
                        values.push(true);
                        Some(at + 4)
                    } else if word & 0xff_ffff_ffff == u64::from_le_bytes(*b"false\0\0\0") {
                        values.push(false);
                        Some(at + 5)
                    } else {
                        None
                    }
                }
                (Slot::I32, Data::I32(values)) => {
                    integer(window, value, data, at).and_then(|(number, end)| {
                        values.push(i32::try_from(number).ok()?);
                        Some(end)
                    })
                }
                (Slot::I16, Data::I16(values)) => {
                    integer(window, value, data, at).and_then(|(number, end)| {
                        values.push(i16::try_from(number).ok()?);
                        Some(end)
                    })
                }
                (Slot::F32, Data::F32(values)) => float32(data, at).map(|(number, end)| {
                    values.push(number);
                    end
                }),
                (Slot::Json, Data::Text(values)) => json(values, chunk, at),
                (Slot::Other, _) => other(table, op.column, chunk, at),
                _ => None,
            },
            None => None,
        };
        at = match end {
            Some(end) => end,
            None if op.nullable => null(table, op.column, data, at)?,
            None => return None,
        };
    }
    let end = at + shape.tail.len();
    // Most often a brace or two.
    if shape.tail.len() <= 2 {
        let tail = data.get(at..end)?;
        if tail.last() != Some(&b'}') || tail.first() != shape.tail.first() {
            return None;
        }
    } else if data.get(at..end)? != &*shape.tail {
        return None;
    }
    if table.missing().is_some() {
        return None;
    }
    Some(end)
}

/// A null, which leaves a gap in the column; returns its end.
#[cold]
fn null(table: &mut Table, column: u32, data: &[u8], at: usize) -> Option<usize> {
    if !data.get(at..)?.starts_with(b"null") {
        return None;
    }
    if column != NONE {
        table.push_null(column).ok()?;
    }
    Some(at + 4)
}

#[inline(never)]
fn other(table: &mut Table, column: u32, chunk: Chunk<'_>, at: usize) -> Option<usize> {
    let mut reader = Reader::new(chunk.bytes, at, true);
    let (kind, span) = match chunk.bytes.get(at)? {
        b'{' | b'[' => (Kind::Json, reader.skip().ok()?),
        _ => reader.scalar().ok()?,
    };
    let end = reader.at;
    if span.escaped {
        let made = span.text(chunk.bytes);
        table.push(column, chunk, Cell::new(kind, Str::Made(&made))).ok()?;
    } else {
        table.push(column, chunk, Cell::new(kind, Str::Here(span.start, span.end))).ok()?;
    }
    Some(end)
}

#[cold]
fn long_text(data: &[u8], at: usize, rest: &[u8]) -> Option<usize> {
    data.get(at..)?.starts_with(rest).then_some(at + rest.len())
}

#[inline(never)]
fn text(values: &mut Text, chunk: Chunk<'_>, at: usize, most: i64) -> Option<usize> {
    if chunk.bytes.get(at) != Some(&b'"') {
        return None;
    }
    match string::end(chunk.bytes, at + 1) {
        End::Quote(end, _) if (end - at - 1) as i64 > most => None,
        End::Quote(end, false) => {
            values.push_ref(chunk, at + 1, end);
            Some(end + 1)
        }
        End::Quote(end, true) => {
            let raw = chunk.bytes.get(at + 1..end)?;
            values.push_with(|out| string::unescape(raw, out));
            Some(end + 1)
        }
        _ => None,
    }
}

#[inline(never)]
fn json(values: &mut Text, chunk: Chunk<'_>, at: usize) -> Option<usize> {
    if !matches!(chunk.bytes.get(at), Some(b'{' | b'[')) {
        return None;
    }
    let span = Reader::new(chunk.bytes, at, true).skip().ok()?;
    values.push_ref(chunk, span.start, span.end);
    Some(span.end)
}

/// Whether this byte after digits makes them a float.
#[inline(always)]
const fn makes_float(byte: u8) -> bool {
    matches!(byte, b'.' | b'e' | b'E')
}

/// The integer at `at` of the window, which is `place` in the data.
#[inline(always)]
fn integer(window: Window<'_>, at: usize, data: &[u8], place: usize) -> Option<(i64, usize)> {
    let first = window.word(at, 0);
    let negative = first & 0xff == u64::from(b'-');
    let word = if negative { window.word(at, 1) } else { first };
    let (value, count) = digits::digits_of_word(word);
    if count == 0 {
        return None;
    }
    if count == 8 {
        return long_integer(data, place);
    }
    let next = (word >> (8 * count)) as u8;
    if makes_float(next) || (count > 1 && word & 0xff == u64::from(b'0')) {
        return None;
    }
    let value = value as i64;
    Some((if negative { -value } else { value }, place + usize::from(negative) + count))
}

#[inline]
fn long_integer(data: &[u8], at: usize) -> Option<(i64, usize)> {
    let start = at + usize::from(data.get(at) == Some(&b'-'));
    let (value, end) = digits::integer(data, at);
    let next = data.get(end).copied().unwrap_or(b'.');
    (!makes_float(next) && data.get(start) != Some(&b'0')).then_some((value?, end))
}

/// The number at `at` of the window, which is `place` in the data.
#[inline(always)]
fn float(window: Window<'_>, at: usize, data: &[u8], place: usize) -> Option<(f64, usize)> {
    let first = window.word(at, 0);
    let negative = first & 0xff == u64::from(b'-');
    let word = if negative { window.word(at, 1) } else { first };
    let (whole, count) = digits::digits_of_word(word);
    if count == 0 {
        return None;
    }
    if count == 8 || (count > 1 && word & 0xff == u64::from(b'0')) {
        return long_float(data, place);
    }
    let sign = usize::from(negative);
    let next = (word >> (8 * count)) as u8;
    if next != b'.' {
        if makes_float(next) {
            return long_float(data, place);
        }
        let value = whole as i64 as f64;
        // As an integer has no sign when it is zero.
        return Some((if negative && whole != 0 { -value } else { value }, place + sign + count));
    }
    let fraction = window.word(at, sign + count + 1);
    let (value, decimals) = digits::digits_of_word(fraction);
    if decimals == 8 {
        return many_decimals(data, place, (whole, sign + count), value);
    }
    let after = (fraction >> (8 * (decimals & 7))) as u8;
    if decimals == 0 || makes_float(after) {
        return long_float(data, place);
    }
    let mantissa = whole * digits::POW10[decimals] + value;
    let value = mantissa as i64 as f64 / digits::EXACT_POW10[decimals];
    Some((if negative { -value } else { value }, place + sign + count + 1 + decimals))
}

/// The float at `at` of which the digits before the point, their end, and eight behind it are known.
#[inline(never)]
fn many_decimals(data: &[u8], at: usize, (whole, point): (u64, usize), first: u64) -> Option<(f64, usize)> {
    let start = at + point + 1;
    let (fraction, decimals) = digits::digit_run_long(data, start, first);
    let end = start + decimals;
    // Up to seven digits stand before the point.
    if decimals > 12 + 7 - point.min(7) || makes_float(data.get(end).copied().unwrap_or(b'.')) {
        return long_float(data, at);
    }
    let mantissa = whole * digits::POW10[decimals] + fraction;
    let negative = data.get(at) == Some(&b'-');
    Some((digits::assemble(data, at, end, mantissa, decimals, negative), end))
}

#[inline(never)]
fn long_float(data: &[u8], at: usize) -> Option<(f64, usize)> {
    match number::number(data, at).ok()? {
        (Kind::Float(value), end) => Some((value, end)),
        (Kind::Int(value), end) if value.unsigned_abs() <= EXACT => Some((value as f64, end)),
        _ => None,
    }
}

/// Rounded once: from few digits by one exact division, else from the text.
#[inline(never)]
fn float32(data: &[u8], at: usize) -> Option<(f32, usize)> {
    let (kind, end) = number::number(data, at).ok()?;
    match kind {
        Kind::Int(value) if value.unsigned_abs() <= 1 << 24 => Some((value as f32, end)),
        Kind::Float(value) => {
            let text = data.get(at..end)?;
            // Fifteen digits and a float between two f32 by more than what the first rounding moved.
            let narrow = value as f32;
            let exact = text.len() <= 8 && f64::from(narrow) == value;
            let value = if exact { narrow } else { std::str::from_utf8(text).ok()?.parse().ok()? };
            value.is_finite().then_some((value, end))
        }
        _ => None,
    }
}
