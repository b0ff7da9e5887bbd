//! Rows one at a time: for looking at a batch, and for building one by hand.

use std::sync::Arc;

use arrow_array::builder::{
    BinaryViewBuilder, BooleanBuilder, FixedSizeBinaryBuilder, PrimitiveBuilder, StringViewBuilder,
};
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Decimal128Type, Decimal256Type, Float32Type, Float64Type, Int8Type,
    Int16Type, Int32Type, Int64Type, IntervalMonthDayNanoType, Time32MillisecondType, Time32SecondType,
    Time64MicrosecondType, Time64NanosecondType, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, ListArray};
use arrow_buffer::{IntervalMonthDayNano, NullBufferBuilder, OffsetBufferBuilder};
use arrow_schema::{DataType as Arrow, Field};

use super::{Column, Origin, Schema, TableBatch, TableId, Value};
use crate::{Error, ErrorKind, Location, Result};

/// One row of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    batch: &'a TableBatch,
    index: usize,
}

impl<'a> Row<'a> {
    pub(crate) fn new(batch: &'a TableBatch, index: usize) -> Self {
        Self { batch, index }
    }

    /// The columns.
    pub fn schema(&self) -> &'a Arc<Schema> {
        self.batch.schema()
    }

    /// The value of a column.
    ///
    /// # Errors
    /// `NotFound` when there is no such column.
    pub fn get(&self, name: &str) -> Result<Value<'a>> {
        match self.schema().index_of(name) {
            Some(index) => self.at(index),
            None => Err(Error::new(
                ErrorKind::NotFound,
                format!("no column {name:?} in table {}", self.batch.table()),
            )),
        }
    }

    /// The value of the column at `index`, in the order of the schema.
    ///
    /// # Errors
    /// `Unsupported` for an Arrow type that no column has.
    ///
    /// # Panics
    /// When there is no such column.
    pub fn at(&self, index: usize) -> Result<Value<'a>> {
        Value::of(self.batch.batch().column(index).as_ref(), self.index)
    }

    /// The row as a JSON object, columns in order; what goes into a reject when the input's bytes are gone.
    pub fn to_json(&self) -> serde_json::Value {
        let mut object = serde_json::Map::new();
        for (index, column) in self.schema().columns().iter().enumerate() {
            let value = self.at(index).map_or(serde_json::Value::Null, |value| value.to_json());
            object.insert(column.name().to_owned(), value);
        }
        serde_json::Value::Object(object)
    }
}

impl TableBatch {
    /// A batch out of rows of values in the order of the columns; their origin is unknown.
    ///
    /// # Errors
    /// `Data`, with row and column, for a value that is not of its column's type or does not fit into it, and
    /// for a row with another number of values than there are columns.
    pub fn from_rows(
        table: impl Into<TableId>,
        schema: Arc<Schema>,
        rows: &[Vec<Value<'_>>],
    ) -> Result<Self> {
        let table = table.into();
        for (index, row) in rows.iter().enumerate() {
            if row.len() != schema.columns().len() {
                let text = format!("{} values for {} columns", row.len(), schema.columns().len());
                return Err(Error::new(ErrorKind::Data, text)
                    .with_location(Location::new().with_table(table.name()).with_row(index as u64)));
            }
        }
        let mut arrays = Vec::with_capacity(schema.columns().len());
        for (index, column) in schema.columns().iter().enumerate() {
            let values = rows.iter().map(|row| row.get(index).unwrap_or(&Value::Null));
            let array = build(&column.data_type().to_arrow(), values, rows.len())
                .map_err(|(row, fault)| fault_at(&table, column, row, &fault))?;
            if !column.is_nullable() && array.null_count() > 0 {
                let row = (0..array.len()).find(|row| array.is_null(*row)).unwrap_or(0);
                return Err(fault_at(&table, column, row, "null in a column that may not be null"));
            }
            arrays.push(array);
        }
        Self::from_columns(table, schema, arrays, Origin::unknown(rows.len()))
    }
}

fn fault_at(table: &TableId, column: &Column, row: usize, fault: &str) -> Error {
    Error::new(ErrorKind::Data, fault.to_owned()).with_location(
        Location::new().with_table(table.name()).with_column(column.name()).with_row(row as u64),
    )
}

type Fault = (usize, String);

fn build<'v>(
    arrow: &Arrow,
    values: impl Iterator<Item = &'v Value<'v>>,
    rows: usize,
) -> std::result::Result<ArrayRef, Fault> {
    macro_rules! primitive {
        ($arrow_type:ty, $convert:expr) => {{ primitive::<$arrow_type>(arrow, values, rows, $convert) }};
    }
    fn int<T: TryFrom<i64> + TryFrom<u64>>(value: &Value<'_>) -> Option<T> {
        match value {
            Value::Int(value) => T::try_from(*value).ok(),
            Value::UInt(value) => T::try_from(*value).ok(),
            _ => None,
        }
    }
    use arrow_schema::TimeUnit as Unit;
    fn stamp(value: &Value<'_>, unit: Unit, zoned: bool) -> Option<i64> {
        match value {
            Value::Timestamp(value, own, own_zoned) if Unit::from(*own) == unit && *own_zoned == zoned => {
                Some(*value)
            }
            _ => None,
        }
    }
    fn time(value: &Value<'_>, unit: Unit) -> Option<i64> {
        match value {
            Value::Time(value, own) if Unit::from(*own) == unit => Some(*value),
            _ => None,
        }
    }
    match arrow {
        Arrow::Boolean => {
            let mut builder = BooleanBuilder::with_capacity(rows);
            for (row, value) in values.enumerate() {
                match value {
                    Value::Null => builder.append_null(),
                    Value::Bool(value) => builder.append_value(*value),
                    other => return Err(misfit(row, other, arrow)),
                }
            }
            Ok(Arc::new(builder.finish()))
        }
        Arrow::Int8 => primitive!(Int8Type, int),
        Arrow::Int16 => primitive!(Int16Type, int),
        Arrow::Int32 => primitive!(Int32Type, int),
        Arrow::Int64 => primitive!(Int64Type, int),
        Arrow::UInt8 => primitive!(UInt8Type, int),
        Arrow::UInt16 => primitive!(UInt16Type, int),
        Arrow::UInt32 => primitive!(UInt32Type, int),
        Arrow::UInt64 => primitive!(UInt64Type, int),
        Arrow::Float32 => primitive!(Float32Type, |value| match value {
            Value::Float32(value) => Some(*value),
            _ => None,
        }),
        Arrow::Float64 => primitive!(Float64Type, |value| match value {
            Value::Float64(value) => Some(*value),
            Value::Float32(value) => Some(f64::from(*value)),
            _ => None,
        }),
        Arrow::Decimal128(precision, scale) => primitive!(Decimal128Type, |value| match value {
            Value::Decimal(value, own) if own == scale => {
                value.to_i128().filter(|value| digits(*value) <= u32::from(*precision))
            }
            _ => None,
        }),
        Arrow::Decimal256(_, scale) => primitive!(Decimal256Type, |value| match value {
            Value::Decimal(value, own) if own == scale => Some(*value),
            _ => None,
        }),
        Arrow::Date32 => primitive!(Date32Type, |value| match value {
            Value::Date(days) => Some(*days),
            _ => None,
        }),
        Arrow::Time32(Unit::Second) => {
            primitive!(Time32SecondType, |value| i32::try_from(time(value, Unit::Second)?).ok())
        }
        Arrow::Time32(_) => {
            primitive!(Time32MillisecondType, |value| i32::try_from(time(value, Unit::Millisecond)?).ok())
        }
        Arrow::Time64(Unit::Microsecond) => {
            primitive!(Time64MicrosecondType, |value| time(value, Unit::Microsecond))
        }
        Arrow::Time64(_) => primitive!(Time64NanosecondType, |value| time(value, Unit::Nanosecond)),
        Arrow::Timestamp(unit, zone) => {
            let zoned = zone.is_some();
            match unit {
                Unit::Second => primitive!(TimestampSecondType, |value| stamp(value, Unit::Second, zoned)),
                Unit::Millisecond => {
                    primitive!(TimestampMillisecondType, |value| stamp(value, Unit::Millisecond, zoned))
                }
                Unit::Microsecond => {
                    primitive!(TimestampMicrosecondType, |value| stamp(value, Unit::Microsecond, zoned))
                }
                Unit::Nanosecond => {
                    primitive!(TimestampNanosecondType, |value| stamp(value, Unit::Nanosecond, zoned))
                }
            }
        }
        Arrow::Interval(_) => primitive!(IntervalMonthDayNanoType, |value| match value {
            Value::Interval(months, days, nanos) => Some(IntervalMonthDayNano::new(*months, *days, *nanos)),
            _ => None,
        }),
        Arrow::Utf8View => {
            let mut builder = StringViewBuilder::with_capacity(rows);
            for (row, value) in values.enumerate() {
                match value {
                    Value::Null => builder.append_null(),
                    Value::Text(text) => builder.append_value(text),
                    other => return Err(misfit(row, other, arrow)),
                }
            }
            Ok(Arc::new(builder.finish()))
        }
        Arrow::BinaryView => {
            let mut builder = BinaryViewBuilder::with_capacity(rows);
            for (row, value) in values.enumerate() {
                match value {
                    Value::Null => builder.append_null(),
                    Value::Bytes(bytes) => builder.append_value(bytes),
                    other => return Err(misfit(row, other, arrow)),
                }
            }
            Ok(Arc::new(builder.finish()))
        }
        Arrow::FixedSizeBinary(size) => {
            let mut builder = FixedSizeBinaryBuilder::with_capacity(rows, *size);
            for (row, value) in values.enumerate() {
                match value {
                    Value::Null => builder.append_null(),
                    Value::Bytes(bytes) => builder
                        .append_value(bytes)
                        .map_err(|_| (row, format!("{} bytes where the column takes {size}", bytes.len())))?,
                    other => return Err(misfit(row, other, arrow)),
                }
            }
            Ok(Arc::new(builder.finish()))
        }
        Arrow::List(item) => {
            let (mut items, mut offsets) = (Vec::new(), OffsetBufferBuilder::<i32>::new(rows));
            let mut nulls = NullBufferBuilder::new(rows);
            for (row, value) in values.enumerate() {
                match value {
                    Value::Null => {
                        nulls.append_null();
                        offsets.push_length(0);
                    }
                    Value::List(list) => {
                        nulls.append_non_null();
                        offsets.push_length(list.len());
                        items.extend(list.iter());
                    }
                    other => return Err(misfit(row, other, arrow)),
                }
            }
            let count = items.len();
            let items = build(item.data_type(), items.into_iter(), count)?;
            let field = Arc::new(Field::new("item", item.data_type().clone(), true));
            ListArray::try_new(field, offsets.finish(), items, nulls.finish())
                .map(|list| Arc::new(list) as ArrayRef)
                .map_err(|error| (0, error.to_string()))
        }
        other => Err((0, format!("columns of the Arrow type {other} cannot be built from values"))),
    }
}

fn primitive<'v, T: ArrowPrimitiveType>(
    arrow: &Arrow,
    values: impl Iterator<Item = &'v Value<'v>>,
    rows: usize,
    convert: impl Fn(&Value<'_>) -> Option<T::Native>,
) -> std::result::Result<ArrayRef, Fault> {
    let mut builder = PrimitiveBuilder::<T>::with_capacity(rows).with_data_type(arrow.clone());
    for (row, value) in values.enumerate() {
        match (value, convert(value)) {
            (Value::Null, _) => builder.append_null(),
            (_, Some(native)) => builder.append_value(native),
            (other, None) => return Err(misfit(row, other, arrow)),
        }
    }
    Ok(Arc::new(builder.finish()))
}

fn digits(value: i128) -> u32 {
    value.unsigned_abs().checked_ilog10().map_or(1, |log| log + 1)
}

fn misfit(row: usize, value: &Value<'_>, arrow: &Arrow) -> Fault {
    (row, format!("{value} does not fit into a column of {arrow}"))
}
