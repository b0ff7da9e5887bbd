//! One column of any type.

use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, Float64Array, Int64Array, UInt64Array};
use arrow_buffer::{BooleanBuffer, BooleanBufferBuilder, NullBuffer, ScalarBuffer};

use super::dictionary::Refused;
use super::{Dictionary, Pool, Text};

/// How tags lie in memory.
///
/// Views are the default because they are quicker to make: 1.4 times where a line has ten short tags, 1.1 to 1.2
/// times where it has two or three. A dictionary takes a quarter of the memory, and spares a sink that groups
/// rows by tag, or writes Parquet, the work of finding the distinct values again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum TagEncoding {
    /// As `Utf8View`, short values in the view itself
    #[default]
    View,
    /// As `Dictionary(UInt32, Utf8)`. A later batch's dictionary extends an earlier one; a column that has more
    /// than 65,536 values or 4 MiB of them is `Utf8View` for the rest of the stream.
    Dictionary,
}

/// The values. With a tag of its own, which is quicker to look at than a niche in one of the vectors.
#[derive(Debug)]
#[repr(u8)]
pub(crate) enum Data {
    I64(Vec<i64>),
    U64(Vec<u64>),
    F64(Vec<f64>),
    Bool(Vec<bool>),
    Text(Text),
    Dictionary(Dictionary),
}

/// A builder: values and, once there is a null, which of them are valid.
#[derive(Debug)]
pub(crate) struct Column {
    pub(crate) data: Data,
    /// Bits for the values up to the last null; what follows is valid.
    valid: Option<BooleanBufferBuilder>,
    /// Values of the last batch
    usual: usize,
}

impl Column {
    pub(crate) const fn new(data: Data) -> Self {
        Self { data, valid: None, usual: 0 }
    }

    #[inline(always)]
    pub(crate) fn len(&self) -> usize {
        match &self.data {
            Data::I64(v) => v.len(),
            Data::U64(v) => v.len(),
            Data::F64(v) => v.len(),
            Data::Bool(v) => v.len(),
            Data::Text(v) => v.views.len(),
            Data::Dictionary(v) => v.keys.len(),
        }
    }

    /// Bytes held for values.
    pub(crate) fn bytes(&self) -> usize {
        match &self.data {
            Data::Bool(v) => v.len(),
            Data::Text(v) => v.bytes(),
            Data::Dictionary(v) => v.bytes(),
            _ => self.len() * 8,
        }
    }

    /// Takes back the values from `len` on. They must be valid ones.
    pub(crate) fn truncate(&mut self, len: usize) {
        match &mut self.data {
            Data::I64(v) => v.truncate(len),
            Data::U64(v) => v.truncate(len),
            Data::F64(v) => v.truncate(len),
            Data::Bool(v) => v.truncate(len),
            Data::Text(v) => v.views.truncate(len),
            Data::Dictionary(v) => v.keys.truncate(len),
        }
    }

    /// Forgets all values.
    pub(crate) fn clear(&mut self) {
        self.valid = None;
        match &mut self.data {
            Data::Text(v) => v.clear(),
            _ => self.truncate(0),
        }
    }

    /// Appends a text that what holds it will not outlive. `None` if it is not UTF-8 and that matters.
    pub(crate) fn push_text(&mut self, value: &[u8]) -> Option<()> {
        if let Data::Dictionary(values) = &mut self.data {
            match values.push(value) {
                Ok(()) => return Some(()),
                Err(Refused::NotText) => return None,
                Err(Refused::Full) => {
                    let valid = self.valid.as_ref();
                    let is_valid = |row| valid.is_none_or(|valid| row >= valid.len() || valid.get_bit(row));
                    self.data = Data::Text(values.to_plain(is_valid));
                }
            }
        }
        if let Data::Text(values) = &mut self.data {
            values.push_copy(value, 0, value.len());
        }
        Some(())
    }

    /// Fills up with nulls.
    #[inline]
    pub(crate) fn pad(&mut self, to: usize) {
        if self.len() < to {
            self.pad_some(to);
        }
    }

    fn pad_some(&mut self, to: usize) {
        let len = self.len();
        let valid = self.valid.get_or_insert_with(|| BooleanBufferBuilder::new(to));
        valid.append_n(len - valid.len(), true);
        valid.append_n(to - len, false);
        match &mut self.data {
            Data::I64(v) => v.resize(to, 0),
            Data::U64(v) => v.resize(to, 0),
            Data::F64(v) => v.resize(to, 0.0),
            Data::Bool(v) => v.resize(to, false),
            Data::Text(v) => v.views.resize(to, 0),
            Data::Dictionary(v) => v.keys.resize(to, 0),
        }
    }

    /// Makes room for as many values as the last batch had, if there is none.
    pub(crate) fn prepare(&mut self, pool: &Pool) {
        match &mut self.data {
            Data::I64(v) if v.capacity() == 0 => *v = pool.i64s.take(self.usual),
            Data::F64(v) if v.capacity() == 0 => *v = pool.f64s.take(self.usual),
            Data::Text(v) if v.views.capacity() == 0 => v.views = pool.views.take(self.usual),
            _ => {}
        }
    }

    /// The array of `rows` rows, and an empty builder.
    pub(crate) fn finish(&mut self, rows: usize, input_bytes: usize, pool: &Pool) -> ArrayRef {
        fn take<T>(values: &mut Vec<T>) -> Vec<T> {
            let room = Vec::with_capacity(values.len());
            std::mem::replace(values, room)
        }
        self.pad(rows);
        self.usual = rows;
        let nulls = self.valid.take().map(|mut valid| {
            valid.append_n(rows - valid.len(), true);
            NullBuffer::new(valid.finish())
        });
        match &mut self.data {
            Data::I64(v) => Arc::new(Int64Array::new(pool.i64s.lend(std::mem::take(v)), nulls)),
            Data::U64(v) => Arc::new(UInt64Array::new(ScalarBuffer::from(take(v)), nulls)),
            Data::F64(v) => Arc::new(Float64Array::new(pool.f64s.lend(std::mem::take(v)), nulls)),
            Data::Bool(v) => Arc::new(BooleanArray::new(BooleanBuffer::from(take(v)), nulls)),
            Data::Text(v) => v.finish(nulls, input_bytes, &pool.views),
            Data::Dictionary(v) => v.finish(nulls),
        }
    }
}
