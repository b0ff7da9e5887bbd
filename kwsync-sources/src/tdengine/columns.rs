//! Values of rows into columns.

use std::sync::Arc;

use arrow_array::builder::{
    BinaryViewBuilder, BooleanBuilder, Decimal128Builder, Float32Builder, Float64Builder, Int8Builder,
    Int16Builder, Int32Builder, Int64Builder, StringViewBuilder, UInt8Builder, UInt16Builder, UInt32Builder,
    UInt64Builder,
};
use arrow_array::{ArrayRef, TimestampMicrosecondArray, TimestampMillisecondArray, TimestampNanosecondArray};
use bytes::Bytes;
use kwsync_core::{
    DataType, DecodeCounts, Error, ErrorKind, Input, Origin, Position, RecordRef, Reject, Result, Schema,
    Segment, Stage, TableBatch, TableId, TimeUnit,
};
use kwsync_formats::nanoseconds;

use super::answer::{Cell, cell, unescaped};
use super::tables::Table;
use crate::relational::Page;

/// Bytes of a block of text. Left to itself a builder grows them to 2 MiB, of which each column of each batch keeps one alive.
const BLOCK_BYTES: u32 = 64 << 10;

/// A column under construction.
enum Column {
    Bool(BooleanBuilder),
    Int8(Int8Builder),
    Int16(Int16Builder),
    Int32(Int32Builder),
    Int64(Int64Builder),
    UInt8(UInt8Builder),
    UInt16(UInt16Builder),
    UInt32(UInt32Builder),
    UInt64(UInt64Builder),
    Float32(Float32Builder),
    Float64(Float64Builder),
    Time(Vec<Option<i64>>, TimeUnit),
    Text(StringViewBuilder),
    Bytes(BinaryViewBuilder),
    /// Digits, and how many of them stand behind the point.
    Decimal(Decimal128Builder, u8, i8),
}

/// A value that a column takes.
enum Parsed<'a> {
    Null,
    Bool(bool),
    Int(i64),
    UInt(u64),
    Float32(f32),
    Float64(f64),
    Text(std::borrow::Cow<'a, str>),
    Bytes(Vec<u8>),
    Decimal(i128),
}

/// Why a value cannot be taken: a fault of the row, or of the answer.
enum Misfit {
    Row(&'static str, String),
    Answer,
}

/// Rows of a table under construction.
pub(super) struct Columns {
    table: TableId,
    schema: Arc<Schema>,
    input: Arc<Input>,
    columns: Vec<Column>,
    time_at: usize,
    /// The times of the rows in nanoseconds.
    times: Vec<i128>,
    /// The places of the rows among all that came, from 1.
    records: Vec<u64>,
    refused: Vec<(i128, Reject)>,
    record: u64,
    bytes: usize,
}

impl Columns {
    pub(super) fn new(table: &Table) -> Self {
        let columns = table.info.schema.columns().iter().map(|column| match column.data_type() {
            DataType::Bool => Column::Bool(BooleanBuilder::new()),
            DataType::Int8 => Column::Int8(Int8Builder::new()),
            DataType::Int16 => Column::Int16(Int16Builder::new()),
            DataType::Int32 => Column::Int32(Int32Builder::new()),
            DataType::Int64 => Column::Int64(Int64Builder::new()),
            DataType::UInt8 => Column::UInt8(UInt8Builder::new()),
            DataType::UInt16 => Column::UInt16(UInt16Builder::new()),
            DataType::UInt32 => Column::UInt32(UInt32Builder::new()),
            DataType::UInt64 => Column::UInt64(UInt64Builder::new()),
            DataType::Float32 => Column::Float32(Float32Builder::new()),
            DataType::Float64 => Column::Float64(Float64Builder::new()),
            DataType::TimestampTz(unit) => Column::Time(Vec::new(), *unit),
            DataType::VarBytes(_) => {
                Column::Bytes(BinaryViewBuilder::new().with_fixed_block_size(BLOCK_BYTES))
            }
            DataType::Numeric(Some((precision, scale))) => {
                Column::Decimal(Decimal128Builder::new(), *precision as u8, *scale as i8)
            }
            _ => Column::Text(StringViewBuilder::new().with_fixed_block_size(BLOCK_BYTES)),
        });
        Self {
            table: table.info.table.clone(),
            schema: Arc::clone(&table.info.schema),
            input: Arc::new(Input::new(table.info.table.to_string())),
            columns: columns.collect(),
            time_at: table.time_at,
            times: Vec::new(),
            records: Vec::new(),
            refused: Vec::new(),
            record: 0,
            bytes: 0,
        }
    }

    pub(super) fn rows(&self) -> usize {
        self.times.len()
    }

    /// About so many bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.times.is_empty() && self.refused.is_empty()
    }

    /// Takes a row, without its brackets; one that cannot be held is refused.
    ///
    /// # Errors
    /// `Protocol` for what is no row of the table.
    pub(super) fn push(&mut self, row: &[u8]) -> Result<()> {
        let wrong = |what: &str| {
            Error::new(ErrorKind::Protocol, format!("the server sent a row of {}: {what}", self.table))
                .with_hint("the table may have been altered while it was read: run the job again")
        };
        self.record += 1;
        let mut rest = row;
        let mut parsed = Vec::with_capacity(self.columns.len());
        let mut fault = None;
        let mut time = None;
        for (at, (column, about)) in self.columns.iter().zip(self.schema.columns()).enumerate() {
            let value = cell(&mut rest)?.ok_or_else(|| wrong("it has too few values"))?;
            let value = match parse(column, value) {
                Ok(value) => value,
                Err(Misfit::Row(code, reason)) => {
                    fault.get_or_insert((code, format!("column {:?}: {reason}", about.name())));
                    Parsed::Null
                }
                Err(Misfit::Answer) => {
                    return Err(wrong(&format!(
                        "column {:?} is {}, and {value:?} came",
                        about.name(),
                        about.data_type()
                    )));
                }
            };
            if at == self.time_at
                && let (Parsed::Int(value), Column::Time(_, unit)) = (&value, column)
            {
                time = Some(i128::from(*value) * i128::from(unit.nanos()));
            }
            parsed.push(value);
        }
        if cell(&mut rest)?.is_some() {
            return Err(wrong("it has too many values"));
        }
        let time = time.ok_or_else(|| wrong("it has no time"))?;
        self.bytes += row.len() + 16;
        if let Some((code, reason)) = fault {
            let raw = Bytes::copy_from_slice(row);
            self.refuse(time, code, reason, raw)?;
            return Ok(());
        }
        for (column, value) in self.columns.iter_mut().zip(parsed) {
            column.push(value);
        }
        self.times.push(time);
        self.records.push(self.record);
        Ok(())
    }

    fn refuse(&mut self, time: i128, code: &'static str, reason: String, raw: Bytes) -> Result<()> {
        let of = self.batch(Vec::new(), &[self.record], self.empty())?;
        let reject =
            Reject { format: "tdengine".to_owned(), raw, ..of.reject(0, Stage::Decode, code, reason) };
        self.refused.push((time, reject));
        Ok(())
    }

    /// One row of nulls: what a reject is made of.
    fn empty(&self) -> Option<Vec<ArrayRef>> {
        let null =
            |column: &kwsync_core::Column| arrow_array::new_null_array(&column.data_type().to_arrow(), 1);
        Some(self.schema.columns().iter().map(null).collect())
    }

    fn batch(
        &self,
        arrays: Vec<ArrayRef>,
        records: &[u64],
        nulls: Option<Vec<ArrayRef>>,
    ) -> Result<TableBatch> {
        let base = Position { record: 1, ..Position::default() };
        let segment = Segment { input: Arc::clone(&self.input), bytes: None, base };
        let refs = records.iter().map(|record| RecordRef {
            record: u32::try_from(record - 1).unwrap_or(u32::MAX),
            ..RecordRef::default()
        });
        let origin = Origin::new([segment], refs.collect());
        match nulls {
            None => TableBatch::from_columns(self.table.clone(), Arc::clone(&self.schema), arrays, origin),
            Some(nulls) => {
                // Nulls may stand here where the table takes none.
                let columns = self.schema.columns().iter().map(|column| column.clone().with_nullable(true));
                let schema = Arc::new(Schema::new(columns.collect())?);
                TableBatch::from_columns(self.table.clone(), schema, nulls, origin)
            }
        }
    }

    /// What has been read, `bytes` of the server's.
    ///
    /// # Errors
    /// `Internal` where the columns do not go together.
    pub(super) fn finish(&mut self, bytes: u64) -> Result<Page> {
        let times = std::mem::take(&mut self.times);
        let records = std::mem::take(&mut self.records);
        let refused = std::mem::take(&mut self.refused);
        self.bytes = 0;
        let arrays: Vec<ArrayRef> = self.columns.iter_mut().map(Column::finish).collect::<Result<_>>()?;
        let batch = self.batch(arrays, &records, None)?;
        let counts =
            DecodeCounts { records: (times.len() + refused.len()) as u64, ..DecodeCounts::default() };
        let of = batch.slice(0, 0);
        let mut page = Page { batches: vec![(batch, times)], rejects: Vec::new(), counts, bytes };
        page.refuse(&of, refused);
        Ok(page)
    }
}

fn parse<'a>(column: &Column, value: Cell<'a>) -> std::result::Result<Parsed<'a>, Misfit> {
    let digits = |number: &'a [u8]| std::str::from_utf8(number).map_err(|_| Misfit::Answer);
    Ok(match (column, value) {
        (_, Cell::Null) => Parsed::Null,
        (Column::Bool(_), Cell::Bool(value)) => Parsed::Bool(value),
        (Column::Int8(_) | Column::Int16(_) | Column::Int32(_) | Column::Int64(_), Cell::Number(number)) => {
            let value: i64 = digits(number)?.parse().map_err(|_| Misfit::Answer)?;
            let fits = match column {
                Column::Int8(_) => i8::try_from(value).is_ok(),
                Column::Int16(_) => i16::try_from(value).is_ok(),
                Column::Int32(_) => i32::try_from(value).is_ok(),
                _ => true,
            };
            if !fits {
                return Err(Misfit::Answer);
            }
            Parsed::Int(value)
        }
        (
            Column::UInt8(_) | Column::UInt16(_) | Column::UInt32(_) | Column::UInt64(_),
            Cell::Number(number),
        ) => {
            let value: u64 = digits(number)?.parse().map_err(|_| Misfit::Answer)?;
            let fits = match column {
                Column::UInt8(_) => u8::try_from(value).is_ok(),
                Column::UInt16(_) => u16::try_from(value).is_ok(),
                Column::UInt32(_) => u32::try_from(value).is_ok(),
                _ => true,
            };
            if !fits {
                return Err(Misfit::Answer);
            }
            Parsed::UInt(value)
        }
        (Column::Float32(_), Cell::Number(number)) => {
            Parsed::Float32(digits(number)?.parse().map_err(|_| Misfit::Answer)?)
        }
        (Column::Float64(_), Cell::Number(number)) => {
            Parsed::Float64(digits(number)?.parse().map_err(|_| Misfit::Answer)?)
        }
        (Column::Time(_, unit), Cell::Text(text, false)) => {
            let nanos = nanoseconds(digits(text)?).ok_or(Misfit::Answer)?;
            let unit = i128::from(unit.nanos());
            if nanos.rem_euclid(unit) != 0 {
                return Err(Misfit::Answer);
            }
            Parsed::Int(i64::try_from(nanos.div_euclid(unit)).map_err(|_| Misfit::Answer)?)
        }
        (Column::Text(_), Cell::Text(text, escapes)) => match unescaped(text, escapes) {
            Some(text) => Parsed::Text(text),
            None => {
                let reason = "a VARCHAR holds bytes that are no UTF-8 (compute it as VARBINARY: columns=CAST(NAME AS VARBINARY) as NAME)";
                return Err(Misfit::Row("invalid_utf8", reason.to_owned()));
            }
        },
        // Tags of JSON come as they are.
        (Column::Text(_), Cell::Json(text)) => Parsed::Text(digits(text)?.into()),
        (Column::Bytes(_), Cell::Text(text, _)) => {
            // `\x` stands before the digits in some versions, with the backslash escaped.
            let text = text.strip_prefix(b"\\\\x").unwrap_or(text);
            let (pairs, odd) = text.as_chunks::<2>();
            let digit = |byte: &u8| char::from(*byte).to_digit(16);
            let bytes: Option<Vec<u8>> =
                pairs.iter().map(|[high, low]| Some((digit(high)? << 4 | digit(low)?) as u8)).collect();
            match bytes.filter(|_| odd.is_empty()) {
                Some(bytes) => Parsed::Bytes(bytes),
                None => return Err(Misfit::Answer),
            }
        }
        (Column::Decimal(_, _, scale), Cell::Text(text, false) | Cell::Number(text)) => {
            Parsed::Decimal(decimal(digits(text)?, *scale).ok_or(Misfit::Answer)?)
        }
        _ => return Err(Misfit::Answer),
    })
}

/// The digits of a number, so many of them behind the point.
fn decimal(text: &str, scale: i8) -> Option<i128> {
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |digits| (true, digits));
    let (whole, behind) = digits.split_once('.').unwrap_or((digits, ""));
    let scale = usize::try_from(scale).ok()?;
    if behind.len() > scale || whole.is_empty() {
        return None;
    }
    let mut value = 0_i128;
    let zeros = std::iter::repeat_n(b'0', scale - behind.len());
    for digit in whole.bytes().chain(behind.bytes()).chain(zeros) {
        let digit = digit.checked_sub(b'0').filter(|digit| *digit < 10)?;
        value = value.checked_mul(10)?.checked_add(digit.into())?;
    }
    Some(if negative { -value } else { value })
}

impl Column {
    fn push(&mut self, value: Parsed<'_>) {
        macro_rules! append {
            ($builder:expr, $value:expr) => {
                match $value {
                    Parsed::Int(value) => $builder.append_value(value as _),
                    Parsed::UInt(value) => $builder.append_value(value as _),
                    _ => $builder.append_null(),
                }
            };
        }
        match self {
            Self::Bool(builder) => {
                builder.append_option(if let Parsed::Bool(value) = value { Some(value) } else { None })
            }
            Self::Int8(builder) => append!(builder, value),
            Self::Int16(builder) => append!(builder, value),
            Self::Int32(builder) => append!(builder, value),
            Self::Int64(builder) => append!(builder, value),
            Self::UInt8(builder) => append!(builder, value),
            Self::UInt16(builder) => append!(builder, value),
            Self::UInt32(builder) => append!(builder, value),
            Self::UInt64(builder) => append!(builder, value),
            Self::Float32(builder) => {
                builder.append_option(if let Parsed::Float32(value) = value { Some(value) } else { None });
            }
            Self::Float64(builder) => {
                builder.append_option(if let Parsed::Float64(value) = value { Some(value) } else { None });
            }
            Self::Time(values, _) => {
                values.push(if let Parsed::Int(value) = value { Some(value) } else { None })
            }
            Self::Text(builder) => {
                builder.append_option(if let Parsed::Text(text) = &value {
                    Some(text.as_ref())
                } else {
                    None
                });
            }
            Self::Bytes(builder) => {
                builder.append_option(if let Parsed::Bytes(bytes) = &value {
                    Some(bytes.as_slice())
                } else {
                    None
                });
            }
            Self::Decimal(builder, ..) => {
                builder.append_option(if let Parsed::Decimal(value) = value { Some(value) } else { None });
            }
        }
    }

    fn finish(&mut self) -> Result<ArrayRef> {
        Ok(match self {
            Self::Bool(builder) => Arc::new(builder.finish()),
            Self::Int8(builder) => Arc::new(builder.finish()),
            Self::Int16(builder) => Arc::new(builder.finish()),
            Self::Int32(builder) => Arc::new(builder.finish()),
            Self::Int64(builder) => Arc::new(builder.finish()),
            Self::UInt8(builder) => Arc::new(builder.finish()),
            Self::UInt16(builder) => Arc::new(builder.finish()),
            Self::UInt32(builder) => Arc::new(builder.finish()),
            Self::UInt64(builder) => Arc::new(builder.finish()),
            Self::Float32(builder) => Arc::new(builder.finish()),
            Self::Float64(builder) => Arc::new(builder.finish()),
            Self::Text(builder) => Arc::new(builder.finish()),
            Self::Bytes(builder) => Arc::new(builder.finish()),
            Self::Time(values, unit) => {
                let values = std::mem::take(values);
                match unit {
                    TimeUnit::Nanosecond => {
                        Arc::new(TimestampNanosecondArray::from(values).with_timezone("UTC"))
                    }
                    TimeUnit::Microsecond => {
                        Arc::new(TimestampMicrosecondArray::from(values).with_timezone("UTC"))
                    }
                    _ => Arc::new(TimestampMillisecondArray::from(values).with_timezone("UTC")),
                }
            }
            Self::Decimal(builder, precision, scale) => {
                let array =
                    builder.finish().with_precision_and_scale(*precision, *scale).map_err(|error| {
                        Error::new(ErrorKind::Protocol, "a DECIMAL has more digits than its type")
                            .with_source(error)
                    })?;
                Arc::new(array)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::decimal;

    #[test]
    fn decimals_keep_their_digits() {
        for (text, scale, wanted) in [
            ("123.45", 3, Some(123_450)),
            ("-0.001", 3, Some(-1)),
            ("7", 0, Some(7)),
            ("99999999999999999999999999999999999999", 0, Some(10_i128.pow(38) - 1)),
            ("1.234", 2, None),
            ("1e5", 2, None),
            ("", 2, None),
            (".5", 2, None),
        ] {
            assert_eq!(decimal(text, scale), wanted, "{text}");
        }
    }
}
