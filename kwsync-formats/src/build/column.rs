//! One column of any type.

use std::sync::Arc;

use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Decimal128Type, Int32Type, Int64Type, Time32MillisecondType,
    Time32SecondType, Time64MicrosecondType, Time64NanosecondType, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};
use arrow_array::{
    ArrayRef, BooleanArray, FixedSizeBinaryArray, Float32Array, Float64Array, Int8Array, Int16Array,
    Int32Array, Int64Array, PrimitiveArray, UInt8Array, UInt16Array, UInt32Array, UInt64Array,
};
use arrow_buffer::{ArrowNativeType, BooleanBuffer, BooleanBufferBuilder, Buffer, NullBuffer, ScalarBuffer};
use arrow_schema::{DataType as Arrow, TimeUnit};
use kwsync_core::DataType;

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
    I8(Vec<i8>),
    I16(Vec<i16>),
    /// Also days, and times of day in seconds or milliseconds
    I32(Vec<i32>),
    U8(Vec<u8>),
    U16(Vec<u16>),
    U32(Vec<u32>),
    F32(Vec<f32>),
    /// Decimals of up to 38 digits, and how many stand behind the point
    I128(Vec<i128>, u8, i8),
    Bytes(Text),
    Uuid(Vec<[u8; 16]>),
}

impl Data {
    /// What holds values of a type; `None` for types that are made of others.
    pub(crate) fn of(data_type: &DataType) -> Option<Self> {
        Some(match data_type.to_arrow() {
            Arrow::Boolean => Self::Bool(Vec::new()),
            Arrow::Int8 => Self::I8(Vec::new()),
            Arrow::Int16 => Self::I16(Vec::new()),
            Arrow::Int32 | Arrow::Date32 | Arrow::Time32(_) => Self::I32(Vec::new()),
            Arrow::Int64 | Arrow::Time64(_) | Arrow::Timestamp(..) => Self::I64(Vec::new()),
            Arrow::UInt8 => Self::U8(Vec::new()),
            Arrow::UInt16 => Self::U16(Vec::new()),
            Arrow::UInt32 => Self::U32(Vec::new()),
            Arrow::UInt64 => Self::U64(Vec::new()),
            Arrow::Float32 => Self::F32(Vec::new()),
            Arrow::Float64 => Self::F64(Vec::new()),
            Arrow::Decimal128(precision, scale) => Self::I128(Vec::new(), precision, scale),
            Arrow::Utf8View => Self::Text(Text::default()),
            Arrow::BinaryView => Self::Bytes(Text::default()),
            Arrow::FixedSizeBinary(16) => Self::Uuid(Vec::new()),
            _ => return None,
        })
    }
}

/// The same for every kind of values that is a vector.
macro_rules! each {
    ($data:expr, $v:ident => $vector:expr, $text:ident => $of_text:expr, $dictionary:ident => $of_dictionary:expr) => {
        match $data {
            Data::I64($v) => $vector,
            Data::U64($v) => $vector,
            Data::F64($v) => $vector,
            Data::Bool($v) => $vector,
            Data::Text($text) | Data::Bytes($text) => $of_text,
            Data::Dictionary($dictionary) => $of_dictionary,
            Data::I8($v) => $vector,
            Data::I16($v) => $vector,
            Data::I32($v) => $vector,
            Data::U8($v) => $vector,
            Data::U16($v) => $vector,
            Data::U32($v) => $vector,
            Data::F32($v) => $vector,
            Data::I128($v, ..) => $vector,
            Data::Uuid($v) => $vector,
        }
    };
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
        each!(&self.data, v => v.len(), v => v.views.len(), v => v.keys.len())
    }

    /// Bytes held for values.
    pub(crate) fn bytes(&self) -> usize {
        each!(&self.data, v => size_of_val(v.as_slice()), v => v.bytes(), v => v.bytes())
    }

    /// Takes back the values from `len` on. They must be valid ones.
    pub(crate) fn truncate(&mut self, len: usize) {
        each!(&mut self.data, v => v.truncate(len), v => v.views.truncate(len), v => v.keys.truncate(len));
    }

    /// Takes back the values from `len` on, valid or not.
    #[cold]
    pub(crate) fn take_back(&mut self, len: usize) {
        self.truncate(len);
        if let Some(valid) = &mut self.valid
            && valid.len() > len
        {
            valid.truncate(len);
        }
    }

    /// Whether there is no room yet.
    pub(crate) fn is_fresh(&self) -> bool {
        match &self.data {
            Data::I64(v) => v.capacity() == 0,
            Data::F64(v) => v.capacity() == 0,
            Data::Text(v) | Data::Bytes(v) => v.views.capacity() == 0,
            _ => false,
        }
    }

    /// Forgets all values.
    pub(crate) fn clear(&mut self) {
        self.valid = None;
        match &mut self.data {
            Data::Text(v) | Data::Bytes(v) => v.clear(),
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

    /// Appends a null.
    #[inline]
    pub(crate) fn push_null(&mut self) {
        let len = self.len();
        let valid = self.valid.get_or_insert_with(|| BooleanBufferBuilder::new(len + 1));
        if valid.len() < len {
            valid.append_n(len - valid.len(), true);
        }
        valid.append(false);
        match &mut self.data {
            Data::Text(v) | Data::Bytes(v) => v.views.push(0),
            Data::I64(v) => v.push(0),
            Data::F64(v) => v.push(0.0),
            _ => self.pad_others(len + 1),
        }
    }

    fn pad_others(&mut self, to: usize) {
        each!(&mut self.data, v => v.resize(to, Default::default()), v => v.views.resize(to, 0), v => v.keys.resize(to, 0));
    }

    fn pad_some(&mut self, to: usize) {
        let len = self.len();
        let valid = self.valid.get_or_insert_with(|| BooleanBufferBuilder::new(to));
        valid.append_n(len - valid.len(), true);
        valid.append_n(to - len, false);
        self.pad_others(to);
    }

    /// Makes room for as many values as the last batch had, if there is none.
    pub(crate) fn prepare(&mut self, pool: &Pool) {
        match &mut self.data {
            Data::I64(v) if v.capacity() == 0 => *v = pool.i64s.take(self.usual),
            Data::F64(v) if v.capacity() == 0 => *v = pool.f64s.take(self.usual),
            Data::Text(v) | Data::Bytes(v) if v.views.capacity() == 0 => {
                v.views = pool.views.take(self.usual)
            }
            _ => {}
        }
    }

    /// The array of `rows` rows, and an empty builder.
    pub(crate) fn finish(&mut self, rows: usize, input_bytes: usize, pool: &Pool) -> ArrayRef {
        self.pad(rows);
        self.usual = rows;
        let nulls = self.valid.take().map(|mut valid| {
            valid.append_n(rows - valid.len(), true);
            NullBuffer::new(valid.finish())
        });
        match &mut self.data {
            Data::I64(v) => Arc::new(Int64Array::new(pool.i64s.lend(std::mem::take(v)), nulls)),
            Data::U64(v) => Arc::new(UInt64Array::new(values(v), nulls)),
            Data::F64(v) => Arc::new(Float64Array::new(pool.f64s.lend(std::mem::take(v)), nulls)),
            Data::Bool(v) => Arc::new(BooleanArray::new(BooleanBuffer::from(take(v)), nulls)),
            Data::Text(v) => v.finish(nulls, input_bytes, &pool.views),
            Data::Dictionary(v) => v.finish(nulls),
            Data::I8(v) => Arc::new(Int8Array::new(values(v), nulls)),
            Data::I16(v) => Arc::new(Int16Array::new(values(v), nulls)),
            Data::I32(v) => Arc::new(Int32Array::new(values(v), nulls)),
            Data::U8(v) => Arc::new(UInt8Array::new(values(v), nulls)),
            Data::U16(v) => Arc::new(UInt16Array::new(values(v), nulls)),
            Data::U32(v) => Arc::new(UInt32Array::new(values(v), nulls)),
            Data::F32(v) => Arc::new(Float32Array::new(values(v), nulls)),
            Data::I128(v, precision, scale) => {
                let array = PrimitiveArray::<Decimal128Type>::new(values(v), nulls);
                Arc::new(array.with_data_type(Arrow::Decimal128(*precision, *scale)))
            }
            Data::Bytes(v) => v.finish_bytes(nulls, input_bytes, &pool.views),
            Data::Uuid(v) => {
                let bytes = Buffer::from_vec(take(v).into_flattened());
                Arc::new(FixedSizeBinaryArray::new(16, bytes, nulls))
            }
        }
    }

    /// As [`finish`](Self::finish), the array being one of `data_type`.
    pub(crate) fn finish_as(
        &mut self,
        data_type: &DataType,
        rows: usize,
        input_bytes: usize,
        pool: &Pool,
    ) -> ArrayRef {
        let array = self.finish(rows, input_bytes, pool);
        match data_type.to_arrow() {
            Arrow::Date32 => same::<Int32Type, Date32Type>(&array),
            Arrow::Time32(TimeUnit::Second) => same::<Int32Type, Time32SecondType>(&array),
            Arrow::Time32(_) => same::<Int32Type, Time32MillisecondType>(&array),
            Arrow::Time64(TimeUnit::Microsecond) => same::<Int64Type, Time64MicrosecondType>(&array),
            Arrow::Time64(_) => same::<Int64Type, Time64NanosecondType>(&array),
            Arrow::Timestamp(unit, zone) => {
                let Some(array) = array.as_any().downcast_ref::<Int64Array>() else { return array };
                match unit {
                    TimeUnit::Second => zoned::<TimestampSecondType>(array, zone),
                    TimeUnit::Millisecond => zoned::<TimestampMillisecondType>(array, zone),
                    TimeUnit::Microsecond => zoned::<TimestampMicrosecondType>(array, zone),
                    TimeUnit::Nanosecond => zoned::<TimestampNanosecondType>(array, zone),
                }
            }
            _ => array,
        }
    }
}

fn take<T>(values: &mut Vec<T>) -> Vec<T> {
    let room = Vec::with_capacity(values.len());
    std::mem::replace(values, room)
}

fn values<T: ArrowNativeType>(values: &mut Vec<T>) -> ScalarBuffer<T> {
    ScalarBuffer::from(take(values))
}

fn zoned<T: arrow_array::types::ArrowTimestampType>(array: &Int64Array, zone: Option<Arc<str>>) -> ArrayRef {
    Arc::new(array.reinterpret_cast::<T>().with_timezone_opt(zone))
}

/// The same values of another type.
fn same<A: ArrowPrimitiveType, B: ArrowPrimitiveType<Native = A::Native>>(array: &ArrayRef) -> ArrayRef {
    match array.as_any().downcast_ref::<PrimitiveArray<A>>() {
        Some(array) => Arc::new(array.reinterpret_cast::<B>()),
        None => Arc::clone(array),
    }
}
