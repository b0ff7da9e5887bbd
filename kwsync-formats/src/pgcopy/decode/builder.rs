//! Columns under construction.

use std::sync::Arc;

use arrow_array::builder::{
    ArrayBuilder, BinaryViewBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, Decimal256Builder,
    FixedSizeBinaryBuilder, Float32Builder, Float64Builder, Int16Builder, Int32Builder, Int64Builder,
    IntervalMonthDayNanoBuilder, StringViewBuilder, Time64MicrosecondBuilder, TimestampMicrosecondBuilder,
    UInt32Builder,
};
use arrow_array::{ArrayRef, ListArray};
use arrow_buffer::{IntervalMonthDayNano, NullBufferBuilder, OffsetBuffer, ScalarBuffer};
use arrow_schema::{DataType as Arrow, Field, TimeUnit};
use kwsync_core::{Error, ErrorKind, Result};

use super::super::fault::Fault;
use super::super::form::Form;
use super::read;

/// Bytes of a block of text. Left to itself a builder grows them to 2 MiB, of which each column of each batch keeps one alive.
const BLOCK_BYTES: u32 = 64 << 10;

#[derive(Debug)]
pub(super) enum Builder {
    Bool(BooleanBuilder),
    I16(Int16Builder),
    I32(Int32Builder),
    I64(Int64Builder),
    U32(UInt32Builder),
    F32(Float32Builder),
    F64(Float64Builder),
    Decimal128(Decimal128Builder, i8),
    Decimal256(Decimal256Builder, i8),
    Text(StringViewBuilder),
    Bytes(BinaryViewBuilder),
    Date(Date32Builder),
    Time(Time64MicrosecondBuilder),
    Timestamp(TimestampMicrosecondBuilder),
    Interval(IntervalMonthDayNanoBuilder),
    Uuid(FixedSizeBinaryBuilder),
    List(Box<List>),
}

#[derive(Debug)]
pub(super) struct List {
    items: Builder,
    item_type: Arrow,
    offsets: Vec<i32>,
    valid: NullBufferBuilder,
}

/// The same for each of the plain ones.
macro_rules! each {
    ($self:expr, $builder:ident => $do:expr, $list:ident => $of_list:expr) => {
        match $self {
            Self::Bool($builder) => $do,
            Self::I16($builder) => $do,
            Self::I32($builder) => $do,
            Self::I64($builder) => $do,
            Self::U32($builder) => $do,
            Self::F32($builder) => $do,
            Self::F64($builder) => $do,
            Self::Decimal128($builder, _) => $do,
            Self::Decimal256($builder, _) => $do,
            Self::Text($builder) => $do,
            Self::Bytes($builder) => $do,
            Self::Date($builder) => $do,
            Self::Time($builder) => $do,
            Self::Timestamp($builder) => $do,
            Self::Interval($builder) => $do,
            Self::Uuid($builder) => $do,
            Self::List($list) => $of_list,
        }
    };
}

impl Builder {
    pub(super) fn of(arrow: &Arrow) -> Option<Self> {
        Some(match arrow {
            Arrow::Boolean => Self::Bool(BooleanBuilder::new()),
            Arrow::Int16 => Self::I16(Int16Builder::new()),
            Arrow::Int32 => Self::I32(Int32Builder::new()),
            Arrow::Int64 => Self::I64(Int64Builder::new()),
            Arrow::UInt32 => Self::U32(UInt32Builder::new()),
            Arrow::Float32 => Self::F32(Float32Builder::new()),
            Arrow::Float64 => Self::F64(Float64Builder::new()),
            Arrow::Decimal128(_, scale) => {
                Self::Decimal128(Decimal128Builder::new().with_data_type(arrow.clone()), *scale)
            }
            Arrow::Decimal256(_, scale) => {
                Self::Decimal256(Decimal256Builder::new().with_data_type(arrow.clone()), *scale)
            }
            Arrow::Utf8View => Self::Text(StringViewBuilder::new().with_fixed_block_size(BLOCK_BYTES)),
            Arrow::BinaryView => Self::Bytes(BinaryViewBuilder::new().with_fixed_block_size(BLOCK_BYTES)),
            Arrow::Date32 => Self::Date(Date32Builder::new()),
            Arrow::Time64(TimeUnit::Microsecond) => Self::Time(Time64MicrosecondBuilder::new()),
            Arrow::Timestamp(TimeUnit::Microsecond, _) => {
                Self::Timestamp(TimestampMicrosecondBuilder::new().with_data_type(arrow.clone()))
            }
            Arrow::Interval(_) => Self::Interval(IntervalMonthDayNanoBuilder::new()),
            Arrow::FixedSizeBinary(16) => Self::Uuid(FixedSizeBinaryBuilder::new(16)),
            Arrow::List(field) => Self::List(Box::new(List {
                items: Self::of(field.data_type())?,
                item_type: field.data_type().clone(),
                offsets: vec![0],
                valid: NullBufferBuilder::new(0),
            })),
            _ => return None,
        })
    }

    fn len(&self) -> usize {
        each!(self, builder => builder.len(), list => list.offsets.len() - 1)
    }

    pub(super) fn push_null(&mut self) {
        each!(self, builder => builder.append_null(), list => list.close(false));
    }

    /// Adds values. After a fault, which is told with the place of its value among these, there is a null.
    pub(super) fn push_all<'a>(
        &mut self,
        form: &Form,
        values: impl Iterator<Item = Option<&'a [u8]>>,
        mut fault: impl FnMut(usize, Fault),
    ) {
        use read::fixed;
        /// One kind of values, so that the loop knows what it does.
        macro_rules! all {
            ($to:expr, $value:ident => $read:expr) => {
                for (row, value) in values.enumerate() {
                    let Some($value) = value else {
                        $to.append_null();
                        continue;
                    };
                    match $read {
                        Ok(read) => $to.append_value(read),
                        Err(found) => {
                            $to.append_null();
                            fault(row, found);
                        }
                    }
                }
            };
        }
        match (&mut *self, form) {
            (Self::Bool(to), Form::Bool) => all!(to, value => fixed::<1>(value).map(|byte| byte != [0])),
            (Self::I16(to), Form::Int2) => all!(to, value => fixed(value).map(i16::from_be_bytes)),
            (Self::I32(to), Form::Int4) => all!(to, value => fixed(value).map(i32::from_be_bytes)),
            (Self::I64(to), Form::Int8) => all!(to, value => fixed(value).map(i64::from_be_bytes)),
            (Self::I64(to), Form::Tid) => all!(to, value => read::tid(value)),
            (Self::F32(to), Form::Float4) => all!(to, value => fixed(value).map(f32::from_be_bytes)),
            (Self::F64(to), Form::Float8) => all!(to, value => fixed(value).map(f64::from_be_bytes)),
            (Self::Decimal128(to, scale), Form::Numeric(_)) => {
                all!(to, value => read::decimal128(value, *scale));
            }
            (Self::Text(to), Form::Text(of)) if !of.versioned => all!(to, value => read::text(value)),
            (Self::Bytes(to), Form::Bytea) => all!(to, value => Ok::<_, Fault>(value)),
            (Self::Date(to), Form::Date) => all!(to, value => read::date(value)),
            (Self::Timestamp(to), Form::Timestamp(..)) => all!(to, value => read::timestamp(value)),
            (builder, _) => {
                for (row, value) in values.enumerate() {
                    if let Err(found) = builder.push(form, value) {
                        fault(row, found);
                    }
                }
            }
        }
    }

    /// Adds a value. After a fault there is a null in its place.
    pub(super) fn push(&mut self, form: &Form, value: Option<&[u8]>) -> Result<(), Fault> {
        let Some(value) = value else {
            self.push_null();
            return Ok(());
        };
        if let (Self::List(list), Form::Array { item, .. }) = (&mut *self, form) {
            return list.push_array(item, value);
        }
        let before = self.len();
        let result = self.push_value(form, value);
        if result.is_err() && self.len() == before {
            self.push_null();
        }
        result
    }

    fn push_value(&mut self, form: &Form, value: &[u8]) -> Result<(), Fault> {
        use read::fixed;
        match (self, form) {
            (Self::Bool(to), Form::Bool) => to.append_value(fixed::<1>(value)? != [0]),
            (Self::I16(to), Form::Int2) => to.append_value(i16::from_be_bytes(fixed(value)?)),
            (Self::I32(to), Form::Int4) => to.append_value(i32::from_be_bytes(fixed(value)?)),
            (Self::I64(to), Form::Int8) => to.append_value(i64::from_be_bytes(fixed(value)?)),
            (Self::U32(to), Form::Oid) => to.append_value(u32::from_be_bytes(fixed(value)?)),
            (Self::F32(to), Form::Float4) => to.append_value(f32::from_be_bytes(fixed(value)?)),
            (Self::F64(to), Form::Float8) => to.append_value(f64::from_be_bytes(fixed(value)?)),
            (Self::Decimal128(to, _), Form::Money) => {
                to.append_value(i64::from_be_bytes(fixed(value)?).into());
            }
            (Self::Decimal128(to, scale), Form::Numeric(_)) => {
                to.append_value(read::decimal128(value, *scale)?);
            }
            (Self::Decimal256(to, scale), Form::Numeric(_)) => {
                to.append_value(read::decimal(value, *scale)?);
            }
            (Self::Text(to), Form::Text(of)) => {
                let value = match value.split_first() {
                    Some((1, text)) if of.versioned => text,
                    _ if of.versioned => {
                        return Err(Fault::new("bad_value", "jsonb of a version that is not known"));
                    }
                    _ => value,
                };
                to.append_value(read::text(value)?);
            }
            (Self::Text(to), Form::Numeric(_)) => to.append_value(read::numeric_text(value)?),
            (Self::Text(to), Form::TimeTz(_)) => to.append_value(read::timetz_text(value)?),
            (Self::Text(to), Form::Inet { .. }) => {
                to.append_value(super::super::parse::inet_text(value).ok_or_else(read::bad)?);
            }
            (Self::Text(to), Form::Mac(length)) => to.append_value(read::mac_text(value, *length)?),
            (Self::Text(to), Form::Bits { .. }) => to.append_value(read::bits_text(value)?),
            (Self::Text(to), Form::Tid) => to.append_value(read::tid_text(value)?),
            (Self::Bytes(to), Form::Bytea) => to.append_value(value),
            (Self::Date(to), Form::Date) => to.append_value(read::date(value)?),
            (Self::Time(to), Form::Time(_)) => to.append_value(i64::from_be_bytes(fixed(value)?)),
            (Self::Timestamp(to), Form::Timestamp(..)) => to.append_value(read::timestamp(value)?),
            (Self::Interval(to), Form::Interval(_)) => {
                let bytes = fixed::<16>(value)?;
                let number = u128::from_be_bytes(bytes);
                let micros = (number >> 64) as i64;
                let nanos = micros.checked_mul(1_000).ok_or_else(|| {
                    Fault::new(
                        "interval_out_of_range",
                        format!("{micros} microseconds are more than 292 years of nanoseconds"),
                    )
                })?;
                to.append_value(IntervalMonthDayNano::new(number as i32, (number >> 32) as i32, nanos));
            }
            (Self::Uuid(to), Form::Uuid) => {
                to.append_value(fixed::<16>(value)?).map_err(|_| read::bad())?;
            }
            _ => return Err(read::bad()),
        }
        Ok(())
    }

    /// The array, and an empty builder again.
    pub(super) fn finish(&mut self) -> Result<ArrayRef> {
        Ok(each!(self, builder => ArrayBuilder::finish(builder), list => {
            let items = list.items.finish()?;
            let offsets = std::mem::replace(&mut list.offsets, vec![0]);
            let field = Arc::new(Field::new("item", list.item_type.clone(), true));
            let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
            let made = ListArray::try_new(field, offsets, items, list.valid.finish());
            Arc::new(made.map_err(|error| Error::new(ErrorKind::Internal, "cannot make a list").with_source(error))?)
        }))
    }
}

impl List {
    fn close(&mut self, valid: bool) {
        // As many items as one input batch has bytes, at most: far below 2^31.
        self.offsets.push(self.items.len() as i32);
        self.valid.append(valid);
    }

    fn depth(&self) -> usize {
        1 + match &self.items {
            Builder::List(inner) => inner.depth(),
            _ => 0,
        }
    }

    fn push_array(&mut self, item: &Form, value: &[u8]) -> Result<(), Fault> {
        let depth = self.depth();
        let shape = read::array(value).and_then(|(dimensions, items)| {
            if dimensions.is_empty() || dimensions.len() == depth {
                return Ok((dimensions, items));
            }
            Err(Fault::new(
                "array_dimensions",
                format!("an array of {} dimensions where the column has {depth}", dimensions.len()),
            ))
        });
        match shape {
            Ok((dimensions, mut items)) => {
                self.push_items(item, &dimensions, &mut items)?;
                if items.is_empty() { Ok(()) } else { Err(read::bad()) }
            }
            Err(fault) => {
                self.close(false);
                Err(fault)
            }
        }
    }

    /// One list, whose first dimension is the first of `dimensions`. It is closed after a fault, too.
    fn push_items(&mut self, item: &Form, dimensions: &[usize], rest: &mut &[u8]) -> Result<(), Fault> {
        let mut result = Ok(());
        if let Some((length, inner)) = dimensions.split_first() {
            for _ in 0..*length {
                result = match &mut self.items {
                    Builder::List(list) => list.push_items(item, inner, rest),
                    items => {
                        read::field(rest).ok_or_else(read::bad).and_then(|value| items.push(item, value))
                    }
                };
                if result.is_err() {
                    break;
                }
            }
        }
        self.close(true);
        result
    }
}
