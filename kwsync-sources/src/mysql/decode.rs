//! Values of the protocol into columns.

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
use kwsync_core::system::mysql::wire::{Cell, Malformed};
use kwsync_core::{DataType, Error, ErrorKind, Schema, TimeUnit};

use super::config::ZeroDates;

/// Bytes of a block of text. Left to itself a builder grows them to 2 MiB, of which each column of each batch keeps one alive.
const BLOCK_BYTES: u32 = 64 << 10;

/// The most days of a time. Servers send up to 34; so many nanoseconds fit into 64 bits.
pub(super) const MOST_DAYS: u32 = 100_000;

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
    pub(super) fn new(schema: &Schema, zero_dates: ZeroDates) -> kwsync_core::Result<Self> {
        let columns = schema
            .columns()
            .iter()
            .map(|column| {
                Column::of(column.data_type()).ok_or_else(|| {
                    let text = format!("column {:?}: no way to {}", column.name(), column.data_type());
                    Error::new(ErrorKind::Internal, text)
                })
            })
            .collect::<kwsync_core::Result<_>>()?;
        Ok(Self { columns, zero_dates, good: Vec::new(), bytes: 0 })
    }

    pub(super) fn rows(&self) -> usize {
        self.good.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds a row, or says which column, by its place, cannot have its value. What is malformed leaves the columns unfit for use.
    pub(super) fn push<'a>(
        &mut self,
        mut cells: impl Iterator<Item = Result<Cell<'a>, Malformed>>,
    ) -> Result<Option<(usize, Fault)>, Malformed> {
        let mut fault = None;
        for (at, column) in self.columns.iter_mut().enumerate() {
            let cell = cells.next().ok_or(Malformed)??;
            if fault.is_some() {
                column.push_null();
                continue;
            }
            self.bytes += match cell {
                Cell::Bytes(bytes) => bytes.len() + 4,
                _ => 8,
            };
            if let Err(found) = column.push(cell, self.zero_dates) {
                column.push_null();
                fault = Some((at, found));
            }
        }
        self.good.push(fault.is_none());
        Ok(fault)
    }

    /// The good rows.
    pub(super) fn finish(&mut self) -> kwsync_core::Result<Vec<ArrayRef>> {
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

#[cold]
fn bad(cell: Cell<'_>) -> Fault {
    let kind = match cell {
        Cell::Null => "null",
        Cell::Bytes(_) => "text",
        Cell::Int(_) | Cell::UInt(_) => "an integer",
        Cell::Float(_) | Cell::Double(_) => "a float",
        Cell::Date(..) => "a date",
        Cell::Time(..) => "a time",
    };
    Fault::new("bad_value", format!("the server sent {kind}, which is no value of the column's type"))
}

fn int<T: TryFrom<i64> + TryFrom<u64>>(cell: Cell<'_>) -> Result<T, Fault> {
    match cell {
        Cell::Int(number) => T::try_from(number).map_err(|_| bad(cell)),
        Cell::UInt(number) => T::try_from(number).map_err(|_| bad(cell)),
        _ => Err(bad(cell)),
    }
}

fn bytes(cell: Cell<'_>) -> Result<&[u8], Fault> {
    match cell {
        Cell::Bytes(bytes) => Ok(bytes),
        _ => Err(bad(cell)),
    }
}

fn text(cell: Cell<'_>) -> Result<&str, Fault> {
    simdutf8::basic::from_utf8(bytes(cell)?).map_err(|_| Fault::new("bad_utf8", "the text is not UTF-8"))
}

/// As [`decimal`], where the number has no more than 38 digits.
fn decimal128(cell: Cell<'_>, scale: i8) -> Result<i128, Fault> {
    match quick_decimal(bytes(cell)?, scale) {
        Some(number) => Ok(number),
        None => decimal(cell, scale)?.to_i128().ok_or_else(|| bad(cell)),
    }
}

/// A plain number of up to 38 digits; the others take the long way, which says what is wrong.
fn quick_decimal(bytes: &[u8], scale: i8) -> Option<i128> {
    const CHUNK: u32 = 18;
    let (negative, text) = match bytes.split_first() {
        Some((b'-', rest)) => (true, rest),
        _ => (false, bytes),
    };
    // Digits are gathered by so many as 64 bits hold. What is too long wraps, and is not taken in the end.
    let (mut number, mut chunk, mut in_chunk, mut digits, mut point) = (0_i128, 0_i64, 0, 0, None);
    for (at, byte) in text.iter().enumerate() {
        match byte {
            b'0'..=b'9' => {
                digits += 1;
                chunk = chunk * 10 + i64::from(byte - b'0');
                in_chunk += 1;
                if in_chunk == CHUNK {
                    number = number.wrapping_mul(10_i128.pow(CHUNK)).wrapping_add(chunk.into());
                    (chunk, in_chunk) = (0, 0);
                }
            }
            b'.' if point.is_none() => point = Some(at),
            _ => return None,
        }
    }
    if !(1..=38).contains(&digits) {
        return None;
    }
    if digits < CHUNK {
        number = chunk.into();
    } else {
        number = number * 10_i128.pow(in_chunk) + i128::from(chunk);
    }
    let behind = point.map_or(0, |at| text.len() - at - 1);
    let lacking = usize::try_from(scale).ok()?.checked_sub(behind)?;
    // Servers send all digits behind the point.
    if lacking > 0 {
        number = number.checked_mul(10_i128.checked_pow(u32::try_from(lacking).ok()?)?)?;
    }
    Some(if negative { -number } else { number })
}

/// A decimal as an integer of `scale` digits behind the point.
fn decimal(cell: Cell<'_>, scale: i8) -> Result<i256, Fault> {
    let text = text(cell)?;
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let scale = usize::from(scale.unsigned_abs());
    if part.len() > scale {
        return Err(Fault::new(
            "numeric_scale",
            format!("{text} has more than {scale} digits behind the point"),
        ));
    }
    i256::from_string(&format!("{whole}{part:0<scale$}")).ok_or_else(|| bad(cell))
}

/// A UUID by its 32 hexadecimal digits, whatever hyphens stand among them.
fn uuid(text: &[u8]) -> Option<[u8; 16]> {
    let (mut number, mut digits) = (0_u128, 0);
    for byte in text.iter().filter(|byte| **byte != b'-') {
        let digit = char::from(*byte).to_digit(16)?;
        number = number << 4 | u128::from(digit);
        digits += 1;
    }
    (digits == 32).then(|| number.to_be_bytes())
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
fn moment(cell: Cell<'_>, zero_dates: ZeroDates) -> Result<Option<(i32, i64)>, Fault> {
    let Cell::Date(year, month, day, hour, minute, second, micros) = cell else { return Err(bad(cell)) };
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
fn span(cell: Cell<'_>) -> Result<i64, Fault> {
    let Cell::Time(negative, days, hours, minutes, seconds, micros) = cell else { return Err(bad(cell)) };
    if days > MOST_DAYS {
        return Err(bad(cell));
    }
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
    fn push(&mut self, cell: Cell<'_>, zero_dates: ZeroDates) -> Result<(), Fault> {
        if matches!(cell, Cell::Null) {
            self.push_null();
            return Ok(());
        }
        match self {
            Self::I8(to) => to.append_value(int(cell)?),
            Self::I16(to) => to.append_value(int(cell)?),
            Self::I32(to) => to.append_value(int(cell)?),
            Self::I64(to) => to.append_value(int(cell)?),
            Self::U8(to) => to.append_value(int(cell)?),
            Self::U16(to) => to.append_value(int(cell)?),
            Self::U32(to) => to.append_value(int(cell)?),
            Self::U64(to) => to.append_value(int(cell)?),
            Self::F32(to) => match cell {
                Cell::Float(number) => to.append_value(number),
                _ => return Err(bad(cell)),
            },
            Self::F64(to) => match cell {
                Cell::Double(number) => to.append_value(number),
                Cell::Float(number) => to.append_value(number.into()),
                _ => return Err(bad(cell)),
            },
            Self::Decimal128(to, scale) => to.append_value(decimal128(cell, *scale)?),
            Self::Decimal256(to, scale) => to.append_value(decimal(cell, *scale)?),
            Self::Text(to) => match cell {
                Cell::Time(..) => to.append_value(span_text(span(cell)?)),
                _ => to.append_value(text(cell)?),
            },
            Self::Bits(to, count) => {
                let bytes = bytes(cell)?;
                let all = bytes.len() * 8;
                let bit = |at: usize| match bytes.get(at / 8) {
                    Some(byte) if byte & (0x80 >> (at % 8)) != 0 => '1',
                    _ => '0',
                };
                let bits: String = (all.saturating_sub(*count)..all).map(bit).collect();
                to.append_value(bits);
            }
            Self::Bytes(to) => to.append_value(bytes(cell)?),
            Self::Uuid(to) => {
                let found = uuid(bytes(cell)?).ok_or_else(|| bad(cell))?;
                to.append_value(found).map_err(|_| bad(cell))?;
            }
            Self::Date(to) => match moment(cell, zero_dates)? {
                Some((days, _)) => to.append_value(days),
                None => to.append_null(),
            },
            Self::Time(to) => {
                let micros = span(cell)?;
                if !(0..86_400_000_000).contains(&micros) {
                    let text =
                        format!("{} is no time of day; time_as=interval or text reads it", span_text(micros));
                    return Err(Fault::new("time_out_of_range", text));
                }
                to.append_value(micros);
            }
            Self::Interval(to) => to.append_value(IntervalMonthDayNano::new(0, 0, span(cell)? * 1_000)),
            Self::Seconds(to) => match moment(cell, zero_dates)? {
                Some((days, micros)) => to.append_value(i64::from(days) * 86_400 + micros / 1_000_000),
                None => to.append_null(),
            },
            Self::Millis(to) => match moment(cell, zero_dates)? {
                Some((days, micros)) => to.append_value(i64::from(days) * 86_400_000 + micros / 1_000),
                None => to.append_null(),
            },
            Self::Micros(to) => match moment(cell, zero_dates)? {
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
        for (text, scale, number) in [
            ("0", 0, 0),
            ("-12.5", 3, -12_500),
            ("18446744073709551615", 2, 1_844_674_407_370_955_161_500),
            ("12345678901234567.8", 2, 1_234_567_890_123_456_780),
            ("123456789012345678", 0, 123_456_789_012_345_678),
            ("12345678901234567.89", 2, 1_234_567_890_123_456_789),
            ("-9999999999999999999999999999.9999999999", 10, -(10_i128.pow(38) - 1)),
            ("-9999999999.99999999", 8, -999_999_999_999_999_999),
            ("-0.000001", 6, -1),
            ("7", 30, 7 * 10_i128.pow(30)),
        ] {
            assert_eq!(quick_decimal(text.as_bytes(), scale), Some(number), "{text}");
            assert_eq!(
                decimal(Cell::Bytes(text.as_bytes()), scale).ok().and_then(|long| long.to_i128()),
                Some(number),
                "{text}"
            );
        }
        let too_long = ["9".repeat(37), "9".repeat(39), "9".repeat(400)];
        for text in ["", "-", ".", "1e5", "1.2.3", "1.234", "--1"]
            .into_iter()
            .chain(too_long.iter().map(String::as_str))
        {
            assert_eq!(quick_decimal(text.as_bytes(), 2), None, "{text}");
        }
    }
}
