//! Results: serialized `TsBlock`s.
//!
//! A block has the number of its columns, their types, the number of rows, the encodings (that of the time first), the times, and
//! the columns; all big endian.

use std::sync::Arc;

use arrow_array::builder::{BinaryBuilder, BooleanBuilder, PrimitiveBuilder, StringBuilder};
use arrow_array::types::{ArrowPrimitiveType, Date32Type, Float32Type, Float64Type, Int32Type, Int64Type};
use arrow_array::types::{TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType};
use arrow_array::{Array, ArrayRef, Int64Array, UInt32Array};

use super::SeriesType;
use super::status::protocol;
use crate::{Error, ErrorKind, Result, TimeUnit};

/// Bytes that are read from the front.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (taken, rest) =
            self.0.split_at_checked(count).ok_or_else(|| protocol("a block of a result ends too soon"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8> {
        Ok(self.take(1)?.first().copied().unwrap_or_default())
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N]> {
        let taken = self.take(N)?;
        taken.try_into().map_err(|_| protocol("a block of a result ends too soon"))
    }

    fn length(&mut self) -> Result<usize> {
        usize::try_from(i32::from_be_bytes(self.fixed()?))
            .map_err(|_| protocol("a block of a result has a negative length"))
    }

    /// As many bits as `rows`, the highest of each byte first.
    fn bits(&mut self, rows: usize) -> Result<Bits<'a>> {
        Ok(Bits(self.take(rows.div_ceil(8))?))
    }

    fn nulls(&mut self, rows: usize) -> Result<Option<Bits<'a>>> {
        match self.byte()? {
            0 => Ok(None),
            _ => self.bits(rows).map(Some),
        }
    }
}

#[derive(Clone, Copy)]
struct Bits<'a>(&'a [u8]);

impl Bits<'_> {
    fn at(self, row: usize) -> bool {
        self.0.get(row / 8).is_some_and(|byte| byte & (0x80 >> (row % 8)) != 0)
    }
}

/// The times of a block and its columns.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) times: Int64Array,
    pub(super) columns: Vec<ArrayRef>,
}

/// Reads a block whose columns are of `types`, in its own order; `None` where nobody asks for the column. `unit` is the server's
/// precision.
pub(super) fn read(bytes: &[u8], types: &[Option<SeriesType>], unit: TimeUnit) -> Result<Block> {
    let mut input = Input(bytes);
    let count = input.length()?;
    let stored = input.take(count)?.to_vec();
    let rows = input.length()?;
    let time_encoding = input.byte()?;
    let encodings = input.take(count)?.to_vec();
    let times = column(&mut input, time_encoding, SeriesType::Int64, rows, unit)?;
    let mut columns = Vec::with_capacity(count);
    for (at, encoding) in encodings.into_iter().enumerate() {
        let own = stored.get(at).and_then(|code| SeriesType::from_code(i32::from(*code)));
        let series = types.get(at).copied().flatten().or(own);
        let series = series.ok_or_else(|| protocol("a block of a result has a column of an unknown type"))?;
        columns.push(column(&mut input, encoding, series, rows, unit)?);
    }
    let times = times.as_any().downcast_ref::<Int64Array>().cloned();
    Ok(Block { times: times.ok_or_else(|| protocol("a block of a result has no times"))?, columns })
}

fn column(
    input: &mut Input<'_>,
    encoding: u8,
    series: SeriesType,
    rows: usize,
    unit: TimeUnit,
) -> Result<ArrayRef> {
    match encoding {
        0 => {
            let nulls = input.nulls(rows)?;
            let bits = input.bits(rows)?;
            let mut values = BooleanBuilder::with_capacity(rows);
            for row in 0..rows {
                values.append_option((!is_null(nulls, row)).then(|| bits.at(row)));
            }
            Ok(Arc::new(values.finish()))
        }
        1 => match series {
            SeriesType::Float => fixed::<Float32Type, 4>(input, rows, |bytes| Ok(f32::from_be_bytes(bytes))),
            SeriesType::Date => fixed::<Date32Type, 4>(input, rows, |bytes| day(i32::from_be_bytes(bytes))),
            _ => fixed::<Int32Type, 4>(input, rows, |bytes| Ok(i32::from_be_bytes(bytes))),
        },
        2 => match (series, unit) {
            (SeriesType::Double, _) => {
                fixed::<Float64Type, 8>(input, rows, |bytes| Ok(f64::from_be_bytes(bytes)))
            }
            (SeriesType::Timestamp, TimeUnit::Nanosecond) => moments::<TimestampNanosecondType>(input, rows),
            (SeriesType::Timestamp, TimeUnit::Microsecond) => {
                moments::<TimestampMicrosecondType>(input, rows)
            }
            (SeriesType::Timestamp, _) => moments::<TimestampMillisecondType>(input, rows),
            _ => fixed::<Int64Type, 8>(input, rows, |bytes| Ok(i64::from_be_bytes(bytes))),
        },
        3 => binary(input, series, rows),
        // One value for all rows.
        4 => {
            let inner = input.byte()?;
            if inner == 4 {
                return Err(protocol("a block of a result repeats what is repeated"));
            }
            let one = column(input, inner, series, 1, unit)?;
            arrow_select::take::take(&one, &UInt32Array::from(vec![0; rows]), None)
                .map_err(|error| Error::new(ErrorKind::Internal, format!("cannot repeat a value: {error}")))
        }
        other => Err(protocol(format!("a block of a result has the unknown encoding {other}"))),
    }
}

fn is_null(nulls: Option<Bits<'_>>, row: usize) -> bool {
    nulls.is_some_and(|bits| bits.at(row))
}

fn values<T: ArrowPrimitiveType, const N: usize>(
    input: &mut Input<'_>,
    rows: usize,
    mut of: impl FnMut([u8; N]) -> Result<T::Native>,
) -> Result<PrimitiveBuilder<T>> {
    let nulls = input.nulls(rows)?;
    let mut built = PrimitiveBuilder::<T>::new();
    for row in 0..rows {
        match is_null(nulls, row) {
            true => built.append_null(),
            false => built.append_value(of(input.fixed()?)?),
        }
    }
    Ok(built)
}

fn fixed<T: ArrowPrimitiveType, const N: usize>(
    input: &mut Input<'_>,
    rows: usize,
    of: impl FnMut([u8; N]) -> Result<T::Native>,
) -> Result<ArrayRef> {
    Ok(Arc::new(values::<T, N>(input, rows, of)?.finish()))
}

fn moments<T: ArrowPrimitiveType<Native = i64> + arrow_array::types::ArrowTimestampType>(
    input: &mut Input<'_>,
    rows: usize,
) -> Result<ArrayRef> {
    let array = values::<T, 8>(input, rows, |bytes| Ok(i64::from_be_bytes(bytes)))?.finish();
    Ok(Arc::new(array.with_timezone("UTC")))
}

fn binary(input: &mut Input<'_>, series: SeriesType, rows: usize) -> Result<ArrayRef> {
    let nulls = input.nulls(rows)?;
    if series == SeriesType::Blob {
        let mut values = BinaryBuilder::new();
        for row in 0..rows {
            match is_null(nulls, row) {
                true => values.append_null(),
                false => {
                    let length = input.length()?;
                    values.append_value(input.take(length)?);
                }
            }
        }
        return Ok(Arc::new(values.finish()));
    }
    let mut values = StringBuilder::new();
    for row in 0..rows {
        if is_null(nulls, row) {
            values.append_null();
            continue;
        }
        let length = input.length()?;
        let text = std::str::from_utf8(input.take(length)?).map_err(|_| {
            Error::new(ErrorKind::Schema, "a value of type TEXT is no UTF-8")
                .with_hint("bytes belong into a series of type BLOB; leave this one out with pattern=")
        })?;
        values.append_value(text);
    }
    Ok(Arc::new(values.finish()))
}

/// Days since 1970 of a date as IoTDB has it: 20240229.
fn day(date: i32) -> Result<i32> {
    let (year, month, day) = (date / 10_000, date / 100 % 100, date % 100);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return Err(protocol(format!("{date} is no date")));
    }
    // Civil days, by eras of 400 years that begin in March.
    let year = i64::from(if month <= 2 { year - 1 } else { year });
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * i64::from((month + 9) % 12) + 2) / 5 + i64::from(day) - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    i32::try_from(days).map_err(|_| protocol(format!("{date} is no date")))
}

/// A day, counted from 1970-01-01, as IoTDB has it: 20240229; `None` outside of the years 1000 to 9999, which is where its own
/// dates end.
pub fn date_number(days: i32) -> Option<i32> {
    let shifted = i64::from(days) + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let years = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * years + years / 4 - years / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = years + era * 400 + i64::from(month <= 2);
    (1000..=9999).contains(&year).then(|| i32::try_from(year * 10_000 + month * 100 + day).ok()).flatten()
}
