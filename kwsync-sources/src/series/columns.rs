//! Values of points into columns.

use std::sync::Arc;

use arrow_array::builder::{BooleanBuilder, Float64Builder, Int64Builder, StringViewBuilder, UInt64Builder};
use arrow_array::{ArrayRef, BooleanArray, TimestampMillisecondArray, TimestampNanosecondArray};
use bytes::Bytes;
use kwsync_core::{
    DataType, DecodeCounts, Error, ErrorKind, Input, Origin, Position, RecordRef, Reject, Result, Schema,
    Segment, Stage, TableBatch, TableId, TimeUnit,
};

use crate::relational::Page;

/// The types of fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum FieldType {
    Float,
    Integer,
    Unsigned,
    String,
    Boolean,
}

/// Bytes of a block of text. Left to itself a builder grows them to 2 MiB, of which each column of each batch keeps one alive.
const BLOCK_BYTES: u32 = 64 << 10;

/// What a column holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    Time,
    Tag(String),
    Field(String, FieldType),
    /// Floats in some places and integers in others: floats, as far as they are exact.
    Widened(String),
}

/// A name for a column that no other has: with a number behind it where it is taken.
pub(crate) fn free_name(name: &str, columns: &[kwsync_core::Column], taken: impl Fn(&str) -> bool) -> String {
    let mut free = name.to_owned();
    let mut number = 0;
    while taken(&free) || columns.iter().any(|column| column.name() == free) {
        number += 1;
        free = format!("{name}_{number}");
    }
    free
}

/// A value as it came.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Cell<'a> {
    Null,
    Bool(bool),
    Int(i64),
    UInt(u64),
    Float(f64),
    Text(&'a str),
}

enum Column {
    Float(Float64Builder),
    Int(Int64Builder),
    UInt(UInt64Builder),
    Bool(BooleanBuilder),
    Text(StringViewBuilder),
    /// The value as a float, once it has come, and then as an integer.
    Widened(Option<Option<f64>>, Float64Builder),
}

/// Points of a measurement under construction. The time of each comes first, then its values in the order of the layout.
pub(crate) struct Columns {
    table: TableId,
    schema: Arc<Schema>,
    input: Arc<Input>,
    /// Where the time stands.
    time: usize,
    columns: Vec<Column>,
    /// The column of each value that comes.
    targets: Vec<usize>,
    times: Vec<i128>,
    /// Values of the row that is being read.
    at: usize,
    bad: Vec<(usize, String)>,
    /// Points that were given before.
    record: u64,
    bytes: usize,
    format: &'static str,
}

impl Columns {
    /// For tables of `schema`, whose columns hold `items`; `format` is what rejects are said to be of.
    pub(crate) fn new(table: &TableId, schema: &Arc<Schema>, items: &[Item], format: &'static str) -> Self {
        let (mut columns, mut targets, mut time) = (Vec::new(), Vec::new(), 0);
        for (at, item) in items.iter().enumerate() {
            let column = match item {
                Item::Time => {
                    time = at;
                    continue;
                }
                Item::Tag(_) | Item::Field(_, FieldType::String) => {
                    Column::Text(StringViewBuilder::new().with_fixed_block_size(BLOCK_BYTES))
                }
                Item::Field(_, FieldType::Float) => Column::Float(Float64Builder::new()),
                Item::Field(_, FieldType::Integer) => Column::Int(Int64Builder::new()),
                Item::Field(_, FieldType::Unsigned) => Column::UInt(UInt64Builder::new()),
                Item::Field(_, FieldType::Boolean) => Column::Bool(BooleanBuilder::new()),
                Item::Widened(_) => {
                    targets.push(columns.len());
                    Column::Widened(None, Float64Builder::new())
                }
            };
            targets.push(columns.len());
            columns.push(column);
        }
        Self {
            table: table.clone(),
            schema: Arc::clone(schema),
            input: Arc::new(Input::new(table.to_string())),
            time,
            columns,
            targets,
            times: Vec::new(),
            at: 0,
            bad: Vec::new(),
            record: 0,
            bytes: 0,
            format,
        }
    }

    pub(crate) fn rows(&self) -> usize {
        self.times.len()
    }

    /// About so many bytes of memory.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Begins a point, at a time in nanoseconds.
    pub(crate) fn begin(&mut self, time: impl Into<i128>) {
        self.times.push(time.into());
        self.at = 0;
        self.bytes += 8;
    }

    /// The next value of the point; says what is wrong with it.
    pub(crate) fn push(&mut self, cell: Cell<'_>) -> Result<(), String> {
        let Some(target) = self.targets.get(self.at).copied() else {
            return Err(format!("a point has more than {} values", self.targets.len()));
        };
        self.at += 1;
        self.bytes += if let Cell::Text(text) = cell { text.len() + 16 } else { 9 };
        let Some(column) = self.columns.get_mut(target) else { return Err("a column is missing".to_owned()) };
        let name = || {
            let at = target + usize::from(target >= self.time);
            self.schema.columns().get(at).map(|column| column.name().to_owned()).unwrap_or_default()
        };
        match (column, cell) {
            (Column::Float(builder), Cell::Null) => builder.append_null(),
            (Column::Int(builder), Cell::Null) => builder.append_null(),
            (Column::UInt(builder), Cell::Null) => builder.append_null(),
            (Column::Bool(builder), Cell::Null) => builder.append_null(),
            (Column::Text(builder), Cell::Null) => builder.append_null(),
            (Column::Bool(builder), Cell::Bool(value)) => builder.append_value(value),
            (Column::Text(builder), Cell::Text(value)) => builder.append_value(value),
            (Column::Int(builder), Cell::Int(value)) => builder.append_value(value),
            (Column::UInt(builder), Cell::UInt(value)) => builder.append_value(value),
            (Column::UInt(builder), Cell::Int(value)) if value >= 0 => {
                builder.append_value(value.unsigned_abs())
            }
            (Column::Float(builder), cell) => match float(cell) {
                Some(value) => builder.append_value(value),
                None => return Err(unfit(&name(), "float", cell)),
            },
            (Column::Widened(first @ None, _), cell) => match (cell, float(cell)) {
                (Cell::Null, _) => *first = Some(None),
                (_, Some(value)) => *first = Some(Some(value)),
                (cell, None) => return Err(unfit(&name(), "float", cell)),
            },
            (Column::Widened(first, builder), cell) => {
                let value = first.take().flatten();
                builder.append_option(value);
                if let (Some(value), Cell::Int(integer)) = (value, cell)
                    && !is_same(value, integer)
                {
                    let reason = format!("column {:?}: no float is exactly {integer}", name());
                    self.bad.push((self.times.len() - 1, reason));
                }
            }
            (Column::Int(_), cell) => return Err(unfit(&name(), "integer", cell)),
            (Column::UInt(_), cell) => return Err(unfit(&name(), "unsigned", cell)),
            (Column::Bool(_), cell) => return Err(unfit(&name(), "boolean", cell)),
            (Column::Text(_), cell) => return Err(unfit(&name(), "text", cell)),
        }
        Ok(())
    }

    /// Ends a point.
    pub(crate) fn end(&mut self) -> Result<(), String> {
        if self.at == self.targets.len() {
            return Ok(());
        }
        Err(format!("a point has {} values, and {} were asked for", self.at, self.targets.len()))
    }

    /// Times, in the unit of their column.
    fn stamps(&self, times: &[i128]) -> ArrayRef {
        let of = |nanos: i128| times.iter().map(move |time| time.div_euclid(nanos) as i64);
        match self.schema.columns().get(self.time).map(kwsync_core::Column::data_type) {
            Some(DataType::TimestampTz(TimeUnit::Millisecond)) => {
                Arc::new(TimestampMillisecondArray::from_iter_values(of(1_000_000)).with_timezone("UTC"))
            }
            _ => Arc::new(TimestampNanosecondArray::from_iter_values(of(1)).with_timezone("UTC")),
        }
    }

    /// What has been read, `bytes` of the server's.
    pub(crate) fn finish(&mut self, bytes: u64) -> Result<Page> {
        let times = std::mem::take(&mut self.times);
        let bad = std::mem::take(&mut self.bad);
        self.bytes = 0;
        let mut arrays: Vec<ArrayRef> = self.columns.iter_mut().map(Column::finish).collect();
        arrays.insert(self.time.min(arrays.len()), self.stamps(&times));
        let base = Position { record: self.record + 1, ..Position::default() };
        let segment = Segment { input: Arc::clone(&self.input), bytes: None, base };
        let refs =
            (0..times.len() as u32).map(|record| RecordRef { record, ..RecordRef::default() }).collect();
        let origin = Origin::new([segment], refs);
        self.record += times.len() as u64;
        let counts = DecodeCounts { records: times.len() as u64, ..DecodeCounts::default() };
        let batch = TableBatch::from_columns(self.table.clone(), Arc::clone(&self.schema), arrays, origin)?;
        if bad.is_empty() {
            return Ok(Page { batches: vec![(batch, times)], rejects: Vec::new(), counts, bytes });
        }
        let refused = bad.iter().filter_map(|(row, reason)| {
            let reject = Reject {
                format: self.format.to_owned(),
                raw: Bytes::from(batch.row(*row).to_json().to_string()),
                ..batch.reject(*row, Stage::Decode, "inexact_integer", reason.clone())
            };
            Some((*times.get(*row)?, reject))
        });
        let refused = refused.collect();
        let keep: Vec<bool> = (0..times.len()).map(|row| bad.iter().all(|(bad, _)| *bad != row)).collect();
        let kept = |row: &usize| keep.get(*row).copied().unwrap_or(true);
        let rows: Vec<usize> = (0..times.len()).filter(kept).collect();
        let mask = BooleanArray::from(keep.clone());
        let arrays = batch.batch().columns().iter().map(|array| {
            arrow_select::filter::filter(array.as_ref(), &mask)
                .map_err(|error| Error::new(ErrorKind::Internal, "cannot filter a batch").with_source(error))
        });
        let origin = batch.origin().take(rows.iter().copied());
        let arrays = arrays.collect::<Result<Vec<_>>>()?;
        let batch = TableBatch::from_columns(self.table.clone(), Arc::clone(&self.schema), arrays, origin)?;
        let times = rows.iter().filter_map(|row| times.get(*row).copied()).collect();
        let of = batch.slice(0, 0);
        let mut page = Page { batches: vec![(batch, times)], rejects: Vec::new(), counts, bytes };
        page.refuse(&of, refused);
        Ok(page)
    }
}

impl Column {
    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Float(builder) | Self::Widened(_, builder) => Arc::new(builder.finish()),
            Self::Int(builder) => Arc::new(builder.finish()),
            Self::UInt(builder) => Arc::new(builder.finish()),
            Self::Bool(builder) => Arc::new(builder.finish()),
            Self::Text(builder) => Arc::new(builder.finish()),
        }
    }
}

/// A number as the float that it is: the server writes whole ones without a point.
fn float(cell: Cell<'_>) -> Option<f64> {
    match cell {
        Cell::Float(value) => Some(value),
        Cell::Int(value) => Some(value as f64),
        Cell::UInt(value) => Some(value as f64),
        _ => None,
    }
}

/// Whether a value that the server gave as a float and as an integer is the same. Of a float the integer is its whole part, or
/// anything where that has no room: only one of 2^53 and more could be an integer that was rounded.
fn is_same(float: f64, integer: i64) -> bool {
    if float.abs() < 9_007_199_254_740_992.0 || float.abs() > 9_223_372_036_854_775_808.0 {
        return true;
    }
    if float == 9_223_372_036_854_775_808.0 {
        // An integer this near to the end was rounded up; a float gives no such one.
        return integer < i64::MAX - 1023;
    }
    float as i64 == integer
}

fn unfit(column: &str, wanted: &str, cell: Cell<'_>) -> String {
    let kind = match cell {
        Cell::Null => "null",
        Cell::Bool(_) => "a boolean",
        Cell::Int(_) | Cell::UInt(_) => "an integer",
        Cell::Float(_) => "a float",
        Cell::Text(_) => "a text",
    };
    format!("column {column:?} is {wanted} by the server's list of keys, and {kind} came")
}

#[cfg(test)]
mod tests {
    use super::is_same;

    #[test]
    fn integers_that_are_no_floats_are_told() {
        for integer in [0, 1, -5, 1 << 53, i64::MIN, 1 << 62] {
            assert!(is_same(integer as f64, integer), "{integer}");
        }
        for integer in [(1 << 53) + 1, -(1 << 53) - 1, i64::MAX, i64::MAX - 511, i64::MIN + 1] {
            assert!(!is_same(integer as f64, integer), "{integer}");
        }
        // Floats, with their whole part, or what a processor makes of it.
        for (float, integer) in [(1.5, 1), (-0.25, 0), (1e300, i64::MIN), (1e18, 1_000_000_000_000_000_000)] {
            assert!(is_same(float, integer), "{float}");
        }
        assert!(is_same(9_223_372_036_854_775_808.0, i64::MIN));
    }
}
