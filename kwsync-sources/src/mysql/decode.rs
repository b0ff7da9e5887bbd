//! Values of the protocol into columns.

use std::sync::Arc;

use arrow_array::builder::{
    ArrayBuilder, BinaryViewBuilder, Date32Builder, Decimal128Builder, Decimal256Builder,
    FixedSizeBinaryBuilder, Float32Builder, Float64Builder, Int8Builder, Int16Builder, Int32Builder,
    Int64Builder, IntervalMonthDayNanoBuilder, StringViewBuilder, Time64MicrosecondBuilder,
    TimestampMicrosecondBuilder, TimestampMillisecondBuilder, TimestampSecondBuilder, UInt8Builder,
    UInt16Builder, UInt32Builder, UInt64Builder,
};
use arrow_array::{ArrayRef, BooleanArray};
use kwsync_core::arrow::buffer::{IntervalMonthDayNano, i256};
use kwsync_core::arrow::schema::DataType as Arrow;
use kwsync_core::{DataType, Error, ErrorKind, Result, Schema, TimeUnit};
use mysql_async::Value;

use super::config::ZeroDates;

/// Bytes of a block of text. Left to itself a builder grows them to 2 MiB, of which each column of each batch keeps one alive.
const BLOCK_BYTES: u32 = 64 << 10;

/// Why a value cannot be taken.
pub(super) struct Fault {
    pub(super) code: &'static str,
    pub(super) reason: String,
}

impl Fault {
    fn new(code: &'static str, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into() }
    }
}

/// Columns under construction.
pub(super) struct Columns {
    schema: Arc<Schema>,
    columns: Vec<Column>,
    zero_dates: ZeroDates,
    /// Rows that stay.
    good: Vec<bool>,
    bytes: usize,
}

enum Column {
    I8(Int8Builder),
    I16(Int16Builder),
    I32(Int32Builder),
    I64(Int64Builder),
    U8(UInt8Builder),
    U16(UInt16Builder),
    U32(UInt32Builder),
    U64(UInt64Builder),
    F32(Float32Builder),
    F64(Float64Builder),
    Decimal128(Decimal128Builder, i8),
    Decimal256(Decimal256Builder, i8),
    Text(StringViewBuilder),
    /// So many bits as text.
    Bits(StringViewBuilder, usize),
    Bytes(BinaryViewBuilder),
    Uuid(FixedSizeBinaryBuilder),
    Date(Date32Builder),
    Time(Time64MicrosecondBuilder),
    Interval(IntervalMonthDayNanoBuilder),
    Seconds(TimestampSecondBuilder),
    Millis(TimestampMillisecondBuilder),
    Micros(TimestampMicrosecondBuilder),
}

macro_rules! each {
    ($self:expr, $builder:ident => $do:expr) => {
        match $self {
            Self::I8($builder) => $do,
            Self::I16($builder) => $do,
            Self::I32($builder) => $do,
            Self::I64($builder) => $do,
            Self::U8($builder) => $do,
            Self::U16($builder) => $do,
            Self::U32($builder) => $do,
            Self::U64($builder) => $do,
            Self::F32($builder) => $do,
            Self::F64($builder) => $do,
            Self::Decimal128($builder, _) => $do,
            Self::Decimal256($builder, _) => $do,
            Self::Text($builder) => $do,
            Self::Bits($builder, _) => $do,
            Self::Bytes($builder) => $do,
            Self::Uuid($builder) => $do,
            Self::Date($builder) => $do,
            Self::Time($builder) => $do,
            Self::Interval($builder) => $do,
            Self::Seconds($builder) => $do,
            Self::Millis($builder) => $do,
            Self::Micros($builder) => $do,
        }
    };
}

impl Columns {
    pub(super) fn new(schema: &Arc<Schema>, zero_dates: ZeroDates) -> Result<Self> {
        let columns = schema
            .columns()
            .iter()
            .map(|column| {
                Column::of(column.data_type()).ok_or_else(|| {
                    let text = format!("column {:?}: no way to {}", column.name(), column.data_type());
                    Error::new(ErrorKind::Internal, text)
                })
            })
            .collect::<Result<_>>()?;
        Ok(Self { schema: Arc::clone(schema), columns, zero_dates, good: Vec::new(), bytes: 0 })
    }

    pub(super) fn rows(&self) -> usize {
        self.good.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds a row, or says which column cannot have its value.
    pub(super) fn push<'a>(
        &mut self,
        values: impl Iterator<Item = &'a Value>,
    ) -> Result<(), (String, Fault)> {
        let mut fault = None;
        for ((column, own), value) in self.columns.iter_mut().zip(self.schema.columns()).zip(values) {
            if fault.is_some() {
                column.push_null();
                continue;
            }
            self.bytes += match value {
                Value::Bytes(bytes) => bytes.len() + 4,
                _ => 8,
            };
            if let Err(found) = column.push(value, self.zero_dates) {
                column.push_null();
                fault = Some((own.name().to_owned(), found));
            }
        }
        self.good.push(fault.is_none());
        fault.map_or(Ok(()), Err)
    }

    /// The good rows.
    pub(super) fn finish(&mut self) -> Result<Vec<ArrayRef>> {
        self.bytes = 0;
        let good = std::mem::take(&mut self.good);
        let mut arrays: Vec<ArrayRef> = self.columns.iter_mut().map(Column::finish).collect();
        if good.iter().any(|good| !good) {
            let keep = BooleanArray::from(good);
            for array in &mut arrays {
                *array = arrow_select::filter::filter(array.as_ref(), &keep).map_err(|error| {
                    Error::new(ErrorKind::Internal, "cannot filter a batch").with_source(error)
                })?;
            }
        }
        Ok(arrays)
    }
}

fn bad(value: &Value) -> Fault {
    let kind = match value {
        Value::NULL => "null",
        Value::Bytes(_) => "text",
        Value::Int(_) | Value::UInt(_) => "an integer",
        Value::Float(_) | Value::Double(_) => "a float",
        Value::Date(..) => "a date",
        Value::Time(..) => "a time",
    };
    Fault::new("bad_value", format!("the server sent {kind}, which is no value of the column's type"))
}

fn int<T: TryFrom<i64> + TryFrom<u64>>(value: &Value) -> Result<T, Fault> {
    match value {
        Value::Int(number) => T::try_from(*number).map_err(|_| bad(value)),
        Value::UInt(number) => T::try_from(*number).map_err(|_| bad(value)),
        _ => Err(bad(value)),
    }
}

fn text(value: &Value) -> Result<&str, Fault> {
    match value {
        Value::Bytes(bytes) => {
            std::str::from_utf8(bytes).map_err(|_| Fault::new("bad_utf8", "the text is not UTF-8"))
        }
        _ => Err(bad(value)),
    }
}

/// As [`decimal`], where the number has no more than 38 digits.
fn decimal128(value: &Value, scale: i8) -> Result<i128, Fault> {
    match quick_decimal(value, scale) {
        Some(number) => Ok(number),
        None => decimal(value, scale)?.to_i128().ok_or_else(|| bad(value)),
    }
}

/// A plain number with room in 128 bits; the others take the long way, which says what is wrong.
fn quick_decimal(value: &Value, scale: i8) -> Option<i128> {
    let Value::Bytes(bytes) = value else { return None };
    let (negative, text) = match bytes.split_first() {
        Some((b'-', rest)) => (true, rest),
        _ => (false, bytes.as_slice()),
    };
    let (mut number, mut digits, mut behind) = (0_u64, 0_u32, None);
    for byte in text {
        match byte {
            b'0'..=b'9' => {
                number = number.checked_mul(10)?.checked_add(u64::from(byte - b'0'))?;
                digits += 1;
                behind = behind.map(|behind: u32| behind + 1);
            }
            b'.' if behind.is_none() => behind = Some(0),
            _ => return None,
        }
    }
    let lacking = u32::try_from(scale).ok()?.checked_sub(behind.unwrap_or(0)).filter(|_| digits > 0)?;
    let number = i128::from(number).checked_mul(10_i128.checked_pow(lacking)?)?;
    Some(if negative { -number } else { number })
}

/// A decimal as an integer of `scale` digits behind the point.
fn decimal(value: &Value, scale: i8) -> Result<i256, Fault> {
    let text = text(value)?;
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let scale = usize::from(scale.unsigned_abs());
    if part.len() > scale {
        return Err(Fault::new(
            "numeric_scale",
            format!("{text} has more than {scale} digits behind the point"),
        ));
    }
    i256::from_string(&format!("{whole}{part:0<scale$}")).ok_or_else(|| bad(value))
}

/// Days since 1970-01-01; none for a date that the calendar does not have.
fn days(year: u16, month: u8, day: u8) -> Option<i32> {
    let (y, m, d) = (i32::from(year), i32::from(month), i32::from(day));
    let leap = y % 4 == 0 && (y % 100 != 0 || y % 400 == 0);
    let length = match m {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 28 + i32::from(leap),
        _ => return None,
    };
    if !(1..=length).contains(&d) {
        return None;
    }
    // Years from March on, so that the leap day is the last.
    let y = if m <= 2 { y - 1 } else { y };
    let era = y.div_euclid(400);
    let of_era = y.rem_euclid(400);
    let of_year = (153 * ((m + 9) % 12) + 2) / 5 + d - 1;
    Some(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
}

/// Days and microseconds of a date; `Ok(None)` for one that becomes null.
fn moment(value: &Value, zero_dates: ZeroDates) -> Result<Option<(i32, i64)>, Fault> {
    let Value::Date(year, month, day, hour, minute, second, micros) = *value else { return Err(bad(value)) };
    let Some(days) = days(year, month, day) else {
        if zero_dates == ZeroDates::Null {
            return Ok(None);
        }
        let text = format!("{year:04}-{month:02}-{day:02} is no date; zero_dates=null makes it null");
        return Err(Fault::new("zero_date", text));
    };
    let seconds = i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second);
    Ok(Some((days, seconds * 1_000_000 + i64::from(micros))))
}

/// Microseconds of a time, below zero too.
fn span(value: &Value) -> Result<i64, Fault> {
    let Value::Time(negative, days, hours, minutes, seconds, micros) = *value else { return Err(bad(value)) };
    let total =
        (i64::from(days) * 24 + i64::from(hours)) * 3600 + i64::from(minutes) * 60 + i64::from(seconds);
    let total = total * 1_000_000 + i64::from(micros);
    Ok(if negative { -total } else { total })
}

fn span_text(micros: i64) -> String {
    let (sign, all) = if micros < 0 { ("-", micros.unsigned_abs()) } else { ("", micros.unsigned_abs()) };
    let (seconds, part) = (all / 1_000_000, all % 1_000_000);
    let text = format!("{sign}{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    if part == 0 { text } else { format!("{text}.{part:06}").trim_end_matches('0').to_owned() }
}

impl Column {
    fn of(data_type: &DataType) -> Option<Self> {
        if let DataType::Bit(bits) = data_type {
            return Some(Self::Bits(
                StringViewBuilder::new().with_fixed_block_size(BLOCK_BYTES),
                *bits as usize,
            ));
        }
        let arrow = data_type.to_arrow();
        let zoned = arrow.clone();
        Some(match arrow {
            Arrow::Int8 => Self::I8(Int8Builder::new()),
            Arrow::Int16 => Self::I16(Int16Builder::new()),
            Arrow::Int32 => Self::I32(Int32Builder::new()),
            Arrow::Int64 => Self::I64(Int64Builder::new()),
            Arrow::UInt8 => Self::U8(UInt8Builder::new()),
            Arrow::UInt16 => Self::U16(UInt16Builder::new()),
            Arrow::UInt32 => Self::U32(UInt32Builder::new()),
            Arrow::UInt64 => Self::U64(UInt64Builder::new()),
            Arrow::Float32 => Self::F32(Float32Builder::new()),
            Arrow::Float64 => Self::F64(Float64Builder::new()),
            Arrow::Decimal128(_, scale) => {
                Self::Decimal128(Decimal128Builder::new().with_data_type(zoned), scale)
            }
            Arrow::Decimal256(_, scale) => {
                Self::Decimal256(Decimal256Builder::new().with_data_type(zoned), scale)
            }
            Arrow::Utf8View => Self::Text(StringViewBuilder::new().with_fixed_block_size(BLOCK_BYTES)),
            Arrow::BinaryView => Self::Bytes(BinaryViewBuilder::new().with_fixed_block_size(BLOCK_BYTES)),
            Arrow::FixedSizeBinary(16) => Self::Uuid(FixedSizeBinaryBuilder::new(16)),
            Arrow::Date32 => Self::Date(Date32Builder::new()),
            Arrow::Time64(_) => Self::Time(Time64MicrosecondBuilder::new()),
            Arrow::Interval(_) => Self::Interval(IntervalMonthDayNanoBuilder::new()),
            Arrow::Timestamp(unit, _) => match TimeUnit::from(unit) {
                TimeUnit::Second => Self::Seconds(TimestampSecondBuilder::new().with_data_type(zoned)),
                TimeUnit::Millisecond => {
                    Self::Millis(TimestampMillisecondBuilder::new().with_data_type(zoned))
                }
                _ => Self::Micros(TimestampMicrosecondBuilder::new().with_data_type(zoned)),
            },
            _ => return None,
        })
    }

    fn push_null(&mut self) {
        each!(self, builder => builder.append_null());
    }

    fn finish(&mut self) -> ArrayRef {
        each!(self, builder => ArrayBuilder::finish(builder))
    }

    /// Adds a value; after a fault nothing has been added.
    fn push(&mut self, value: &Value, zero_dates: ZeroDates) -> Result<(), Fault> {
        if *value == Value::NULL {
            self.push_null();
            return Ok(());
        }
        match self {
            Self::I8(to) => to.append_value(int(value)?),
            Self::I16(to) => to.append_value(int(value)?),
            Self::I32(to) => to.append_value(int(value)?),
            Self::I64(to) => to.append_value(int(value)?),
            Self::U8(to) => to.append_value(int(value)?),
            Self::U16(to) => to.append_value(int(value)?),
            Self::U32(to) => to.append_value(int(value)?),
            Self::U64(to) => to.append_value(int(value)?),
            Self::F32(to) => match value {
                Value::Float(number) => to.append_value(*number),
                _ => return Err(bad(value)),
            },
            Self::F64(to) => match value {
                Value::Double(number) => to.append_value(*number),
                Value::Float(number) => to.append_value((*number).into()),
                _ => return Err(bad(value)),
            },
            Self::Decimal128(to, scale) => to.append_value(decimal128(value, *scale)?),
            Self::Decimal256(to, scale) => to.append_value(decimal(value, *scale)?),
            Self::Text(to) => match value {
                Value::Time(..) => to.append_value(span_text(span(value)?)),
                _ => to.append_value(text(value)?),
            },
            Self::Bits(to, count) => {
                let Value::Bytes(bytes) = value else { return Err(bad(value)) };
                let all = bytes.len() * 8;
                let bit = |at: usize| match bytes.get(at / 8) {
                    Some(byte) if byte & (0x80 >> (at % 8)) != 0 => '1',
                    _ => '0',
                };
                let bits: String = (all.saturating_sub(*count)..all).map(bit).collect();
                to.append_value(bits);
            }
            Self::Bytes(to) => match value {
                Value::Bytes(bytes) => to.append_value(bytes),
                _ => return Err(bad(value)),
            },
            Self::Uuid(to) => {
                let digits: String = text(value)?.chars().filter(|c| *c != '-').collect();
                let number = u128::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 32);
                let bytes = number.ok_or_else(|| bad(value))?.to_be_bytes();
                to.append_value(bytes).map_err(|_| bad(value))?;
            }
            Self::Date(to) => match moment(value, zero_dates)? {
                Some((days, _)) => to.append_value(days),
                None => to.append_null(),
            },
            Self::Time(to) => {
                let micros = span(value)?;
                if !(0..86_400_000_000).contains(&micros) {
                    let text =
                        format!("{} is no time of day; time_as=interval or text reads it", span_text(micros));
                    return Err(Fault::new("time_out_of_range", text));
                }
                to.append_value(micros);
            }
            Self::Interval(to) => to.append_value(IntervalMonthDayNano::new(0, 0, span(value)? * 1_000)),
            Self::Seconds(to) => match moment(value, zero_dates)? {
                Some((days, micros)) => to.append_value(i64::from(days) * 86_400 + micros / 1_000_000),
                None => to.append_null(),
            },
            Self::Millis(to) => match moment(value, zero_dates)? {
                Some((days, micros)) => to.append_value(i64::from(days) * 86_400_000 + micros / 1_000),
                None => to.append_null(),
            },
            Self::Micros(to) => match moment(value, zero_dates)? {
                Some((days, micros)) => to.append_value(i64::from(days) * 86_400_000_000 + micros),
                None => to.append_null(),
            },
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_follow_the_calendar() {
        assert_eq!(days(1970, 1, 1), Some(0));
        assert_eq!(days(2000, 2, 29), Some(11_016));
        assert_eq!(days(9999, 12, 31), Some(2_932_896));
        assert_eq!(days(1, 1, 1), Some(-719_162));
        for (year, month, day) in
            [(0, 0, 0), (2024, 0, 1), (2024, 1, 0), (2023, 2, 29), (1900, 2, 29), (2024, 13, 1)]
        {
            assert_eq!(days(year, month, day), None, "{year}-{month}-{day}");
        }
    }

    #[test]
    fn the_short_way_to_a_decimal_ends_where_the_long_one_does() {
        let of = |text: &str| Value::Bytes(text.as_bytes().to_vec());
        for (text, scale, number) in [
            ("0", 0, 0),
            ("-12.5", 3, -12_500),
            ("18446744073709551615", 2, 1_844_674_407_370_955_161_500),
            ("-0.000001", 6, -1),
            ("7", 30, 7 * 10_i128.pow(30)),
        ] {
            assert_eq!(quick_decimal(&of(text), scale), Some(number), "{text}");
            assert_eq!(
                decimal(&of(text), scale).ok().and_then(|long| long.to_i128()),
                Some(number),
                "{text}"
            );
        }
        for text in ["", "-", ".", "1e5", "1.2.3", "18446744073709551616", "1.234"] {
            assert_eq!(quick_decimal(&of(text), 2), None, "{text}");
        }
    }
}
