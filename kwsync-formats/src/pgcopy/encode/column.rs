//! One column of a block: checked, converted, measured.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Float32Type, Float64Type, IntervalMonthDayNanoType,
    Time32MillisecondType, Time32SecondType, Time64MicrosecondType, Time64NanosecondType,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};
use arrow_array::{Array, ArrayRef, PrimitiveArray, downcast_integer_array};
use arrow_schema::{DataType as Arrow, IntervalUnit, TimeUnit};
use kwsync_core::{Error, ErrorKind, Result};

use super::super::fault::{Fault, Faults};
use super::super::form::Form;
use super::super::options::{CopyOptions, TimestampNs, TimestampZone};
use super::super::{DATES, EPOCH_DAYS, EPOCH_MICROS, MAX_VALUE, TIMESTAMPS, calendar, parse};
use super::cell::{Cells, Column, Table, Views};
use super::text::{self, Strings};
use super::{list, number, unexpected};

/// Room for converted values, kept from block to block.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    pub(super) variable: Variable,
    one: Vec<u8>,
    pub(super) two: Vec<i16>,
    pub(super) four: Vec<i32>,
    pub(super) eight: Vec<i64>,
    keys: Vec<u32>,
    /// Of a list: its items.
    pub(super) items: Option<Box<(Table, Self)>>,
}

/// Values of any length.
#[derive(Debug, Default)]
pub(super) struct Variable {
    bytes: Vec<u8>,
    offsets: Vec<usize>,
}

impl Variable {
    /// Values made by `write`; what is left of one that fails is taken back.
    pub(super) fn fill<'a>(
        &'a mut self,
        array: &'a dyn Array,
        faults: &mut Faults,
        mut write: impl FnMut(usize, &mut Vec<u8>) -> Result<(), Fault>,
    ) -> Column<'a> {
        self.bytes.clear();
        self.offsets.clear();
        self.offsets.push(0);
        for row in 0..array.len() {
            let began = self.bytes.len();
            if array.is_valid(row)
                && let Err(fault) = write(row, &mut self.bytes)
            {
                self.bytes.truncate(began);
                faults.add(row, fault);
            }
            self.offsets.push(self.bytes.len());
        }
        Column {
            bytes: self.bytes.len(),
            cells: Cells::Offsets(&self.offsets, &self.bytes),
            nulls: array.nulls(),
            text: false,
        }
    }
}

/// Converts every value that is not null.
pub(super) fn convert<T: ArrowPrimitiveType, V: Default>(
    array: &PrimitiveArray<T>,
    out: &mut Vec<V>,
    faults: &mut Faults,
    convert: impl Fn(T::Native) -> Result<V, Fault>,
) {
    out.clear();
    out.extend(array.values().iter().enumerate().map(|(row, value)| match convert(*value) {
        Ok(value) => value,
        Err(fault) => {
            if array.is_valid(row) {
                faults.add(row, fault);
            }
            V::default()
        }
    }));
}

/// The same over text.
pub(super) fn read<V: Default>(
    strings: Strings<'_>,
    array: &dyn Array,
    out: &mut Vec<V>,
    faults: &mut Faults,
    mut read: impl FnMut(&str) -> Result<V, Fault>,
) {
    out.clear();
    out.extend((0..array.len()).map(|row| {
        if array.is_null(row) {
            return V::default();
        }
        read(strings.value(row)).unwrap_or_else(|fault| {
            faults.add(row, fault);
            V::default()
        })
    }));
}

#[cold]
fn float_precision(value: impl std::fmt::Display, target: &str) -> Fault {
    Fault::new("float_precision", format!("{target} cannot hold {value} exactly; make the column numeric"))
}

/// Values in the units of the column, `quantum` of which make up the finest step it keeps. `time` names the kind for
/// the code.
struct Seconds {
    quantum: i64,
    cut: bool,
    code: &'static str,
}

impl Seconds {
    /// For values in microseconds, of which the column keeps `digits` digits of the second.
    fn new(digits: u32, options: &CopyOptions, code: &'static str) -> Self {
        Self {
            quantum: 10_i64.pow(6 - digits.min(6)),
            cut: options.timestamp_ns == TimestampNs::Truncate,
            code,
        }
    }

    #[cold]
    fn fault(&self, timestamp: bool) -> Fault {
        let code = if timestamp { "timestamp_ns" } else { self.code };
        Fault::new(
            code,
            "the value has finer parts of a second than the column keeps; timestamp_ns=truncate cuts them off, timestamp_ns=bigint keeps them in a bigint",
        )
    }

    /// Microseconds out of nanoseconds.
    #[inline(always)]
    fn micros(&self, nanos: i64, timestamp: bool, coerced: &std::cell::Cell<u64>) -> Result<i64, Fault> {
        let (micros, rest) = (nanos.div_euclid(1_000), nanos.rem_euclid(1_000));
        if rest != 0 {
            if !self.cut {
                return Err(self.fault(timestamp));
            }
            // Counted once, also where the column cuts off more.
            if self.quantum == 1 || micros.rem_euclid(self.quantum) == 0 {
                coerced.set(coerced.get() + 1);
            }
        }
        self.steps(micros, coerced)
    }

    #[inline(always)]
    fn steps(&self, micros: i64, coerced: &std::cell::Cell<u64>) -> Result<i64, Fault> {
        if self.quantum == 1 {
            return Ok(micros);
        }
        let rest = micros.rem_euclid(self.quantum);
        if rest != 0 {
            if !self.cut {
                return Err(self.fault(false));
            }
            coerced.set(coerced.get() + 1);
        }
        micros.checked_sub(rest).ok_or_else(out_of_range)
    }
}

#[cold]
fn out_of_range() -> Fault {
    Fault::new("timestamp_out_of_range", "PostgreSQL has timestamps from 4714-11-24 BC to 294276 AD only")
}

/// Microseconds since 1970 to those since 2000.
#[inline(always)]
fn pg_timestamp(micros: i64) -> Result<i64, Fault> {
    micros.checked_sub(EPOCH_MICROS).filter(|made| TIMESTAMPS.contains(made)).ok_or_else(out_of_range)
}

#[inline(always)]
fn pg_date(days: i64) -> Result<i32, Fault> {
    i32::try_from(days - i64::from(EPOCH_DAYS)).ok().filter(|days| DATES.contains(days)).ok_or_else(|| {
        Fault::new("date_out_of_range", "PostgreSQL has dates from 4714-11-24 BC to 5874897 AD only")
    })
}

#[inline(always)]
fn pg_time(micros: i64) -> Result<i64, Fault> {
    if (0..=86_400_000_000).contains(&micros) {
        return Ok(micros);
    }
    Err(Fault::new("time_out_of_range", format!("{micros} microseconds are no time of day")))
}

/// Rows of a dictionary whose values stand in `table`; `bad` are the values that cannot be written.
pub(super) fn keyed<'a>(
    array: &'a ArrayRef,
    table: &'a Table,
    bad: &Faults,
    scratch: &'a mut Scratch,
    faults: &mut Faults,
) -> Result<Column<'a>> {
    let Some(dictionary) = array.as_any_dictionary_opt() else {
        return Err(Error::new(ErrorKind::Internal, "a dictionary that is none"));
    };
    let keys = dictionary.keys();
    let out = &mut scratch.keys;
    out.clear();
    // What stands under a null may be anything.
    let last = table.offsets.len().saturating_sub(2);
    downcast_integer_array!(
        keys => out.extend(keys.values().iter().map(|key| (*key as usize).min(last) as u32)),
        other => return Err(unexpected(other, &Form::Int4))
    );
    if table.offsets.len() < 2 {
        return Ok(Column { cells: Cells::Null, nulls: None, bytes: 0, text: false });
    }
    if !bad.found.is_empty() {
        for (row, key) in out.iter().enumerate() {
            if array.is_valid(row)
                && let Ok(at) = bad.found.binary_search_by_key(&(*key as usize), |(value, _)| *value)
            {
                let fault = &bad.found[at].1;
                faults.add(row, Fault::new(fault.code, fault.reason.clone()));
            }
        }
    }
    let bytes = out.iter().map(|key| table.offsets[*key as usize + 1] - table.offsets[*key as usize]).sum();
    Ok(Column { cells: Cells::Keyed(out, table), nulls: array.nulls(), bytes, text: false })
}

/// Prepares one column; `faults` counts from its first row.
pub(super) fn prepare<'a>(
    array: &'a dyn Array,
    form: &Form,
    options: &CopyOptions,
    scratch: &'a mut Scratch,
    faults: &mut Faults,
) -> Result<Column<'a>> {
    let rows = array.len();
    let arrow = array.data_type();
    let nulls = array.nulls();
    let fixed =
        |cells: Cells<'a>, width: usize| Ok(Column { cells, nulls, bytes: rows * width, text: false });
    let coerced = std::cell::Cell::new(0);
    if *arrow == Arrow::Null {
        return Ok(Column { cells: Cells::Null, nulls: None, bytes: 0, text: false });
    }
    let strings = Strings::of(array);
    let column = match form {
        Form::Text(of) => match strings {
            Some(strings) => Ok(text::text(strings, *of, scratch, faults)),
            None => Err(unexpected(arrow, form)),
        },
        Form::Bool if *arrow == Arrow::Boolean => {
            scratch.one.clear();
            scratch.one.extend(array.as_boolean().values().iter().map(u8::from));
            fixed(Cells::One(&scratch.one), 1)
        }
        Form::Int2 | Form::Int4 | Form::Int8 | Form::Oid => {
            return number::integers(array, form, scratch, faults);
        }
        Form::Float4 => {
            let out = &mut scratch.four;
            match arrow {
                Arrow::Float32 => {
                    return fixed(
                        Cells::Four(array.as_primitive::<Float32Type>().values().inner().typed_data()),
                        4,
                    );
                }
                Arrow::Float64 => convert(array.as_primitive::<Float64Type>(), out, faults, |value| {
                    let small = value as f32;
                    if f64::from(small) == value || value.is_nan() {
                        Ok(small.to_bits() as i32)
                    } else {
                        Err(float_precision(value, "real"))
                    }
                }),
                _ => downcast_integer_array!(
                    array => convert(array, out, faults, |value| {
                        let small = value as f32;
                        if small as i128 == i128::from(value) {
                            Ok(small.to_bits() as i32)
                        } else {
                            Err(float_precision(value, "real"))
                        }
                    }),
                    other => return Err(unexpected(other, form))
                ),
            }
            fixed(Cells::Four(out), 4)
        }
        Form::Float8 => {
            let out = &mut scratch.eight;
            match arrow {
                Arrow::Float64 => {
                    return fixed(
                        Cells::Eight(array.as_primitive::<Float64Type>().values().inner().typed_data()),
                        8,
                    );
                }
                Arrow::Float32 => convert(array.as_primitive::<Float32Type>(), out, faults, |value| {
                    Ok(f64::from(value).to_bits() as i64)
                }),
                _ => downcast_integer_array!(
                    array => convert(array, out, faults, |value| {
                        let float = value as f64;
                        if float as i128 == i128::from(value) {
                            Ok(float.to_bits() as i64)
                        } else {
                            Err(float_precision(value, "double precision"))
                        }
                    }),
                    other => return Err(unexpected(other, form))
                ),
            }
            fixed(Cells::Eight(out), 8)
        }
        Form::Numeric(bounds) => return number::numerics(array, *bounds, options, scratch, faults),
        Form::Money => return number::money(array, scratch, faults),
        Form::Bytea => return bytes(array, scratch, faults, |_| Ok(())),
        Form::Uuid => {
            if let Some(strings) = strings {
                return Ok(scratch.variable.fill(array, faults, |row, out| {
                    out.extend_from_slice(&parse::uuid(strings.value(row))?);
                    Ok(())
                }));
            }
            return bytes(array, scratch, faults, |bytes| {
                if bytes.len() == 16 {
                    return Ok(());
                }
                Err(Fault::new("bad_uuid", format!("{} bytes where a UUID has 16", bytes.len())))
            });
        }
        Form::Date => {
            let out = &mut scratch.four;
            match strings {
                Some(strings) => read(strings, array, out, faults, |text| pg_date(calendar::date(text)?)),
                None if *arrow == Arrow::Date32 => {
                    convert(array.as_primitive::<Date32Type>(), out, faults, |days| pg_date(days.into()));
                }
                None => return Err(unexpected(arrow, form)),
            }
            fixed(Cells::Four(out), 4)
        }
        Form::Time(digits) => {
            let seconds = Seconds::new(*digits, options, "time_precision");
            let out = &mut scratch.eight;
            let nanos = |nanos| pg_time(seconds.micros(nanos, false, &coerced)?);
            let micros = |micros| pg_time(seconds.steps(micros, &coerced)?);
            match (strings, arrow) {
                (Some(strings), _) => read(strings, array, out, faults, |text| nanos(calendar::time(text)?)),
                (_, Arrow::Time32(TimeUnit::Second)) => {
                    convert(array.as_primitive::<Time32SecondType>(), out, faults, |value| {
                        micros(i64::from(value) * 1_000_000)
                    });
                }
                (_, Arrow::Time32(_)) => {
                    convert(array.as_primitive::<Time32MillisecondType>(), out, faults, |value| {
                        micros(i64::from(value) * 1_000)
                    });
                }
                (_, Arrow::Time64(TimeUnit::Microsecond)) => {
                    convert(array.as_primitive::<Time64MicrosecondType>(), out, faults, micros);
                }
                (_, Arrow::Time64(_)) => {
                    convert(array.as_primitive::<Time64NanosecondType>(), out, faults, nanos);
                }
                _ => return Err(unexpected(arrow, form)),
            }
            fixed(Cells::Eight(out), 8)
        }
        Form::TimeTz(digits) => {
            let Some(strings) = strings else { return Err(unexpected(arrow, form)) };
            let seconds = Seconds::new(*digits, options, "time_precision");
            Ok(scratch.variable.fill(array, faults, |row, out| {
                let (nanos, east) = calendar::timetz(strings.value(row))?;
                let micros = pg_time(seconds.micros(nanos, false, &coerced)?)?;
                out.extend_from_slice(&micros.to_be_bytes());
                out.extend_from_slice(&(-(east as i32)).to_be_bytes());
                Ok(())
            }))
        }
        Form::Timestamp(digits, zoned) => {
            let seconds = Seconds::new(*digits, options, "timestamp_precision");
            let out = &mut scratch.eight;
            let micros = |micros: i64| pg_timestamp(seconds.steps(micros, &coerced)?);
            let times = |value: i64, by: i64| micros(value.checked_mul(by).ok_or_else(out_of_range)?);
            match (strings, arrow) {
                (Some(strings), _) => read(strings, array, out, faults, |text| {
                    let (whole, nanos, offset) = calendar::timestamp(text)?;
                    if offset.is_some() != *zoned && options.timestamp_zone == TimestampZone::Reject {
                        let reason = if *zoned {
                            "has no offset from UTC; timestamp_zone=utc takes it as UTC"
                        } else {
                            "has an offset from UTC, and the column has none; timestamp_zone=utc loads it in UTC"
                        };
                        return Err(Fault::new("bad_timestamp", format!("{text:?} {reason}")));
                    }
                    let whole = whole.checked_mul(1_000_000).ok_or_else(out_of_range)?;
                    let part = seconds.micros(nanos, true, &coerced)?;
                    pg_timestamp(whole.checked_add(part).ok_or_else(out_of_range)?)
                }),
                (_, Arrow::Timestamp(TimeUnit::Second, _)) => {
                    convert(array.as_primitive::<TimestampSecondType>(), out, faults, |value| {
                        times(value, 1_000_000)
                    });
                }
                (_, Arrow::Timestamp(TimeUnit::Millisecond, _)) => {
                    convert(array.as_primitive::<TimestampMillisecondType>(), out, faults, |value| {
                        times(value, 1_000)
                    });
                }
                (_, Arrow::Timestamp(TimeUnit::Microsecond, _)) => {
                    convert(array.as_primitive::<TimestampMicrosecondType>(), out, faults, micros);
                }
                (_, Arrow::Timestamp(TimeUnit::Nanosecond, _)) => {
                    convert(array.as_primitive::<TimestampNanosecondType>(), out, faults, |value| {
                        pg_timestamp(seconds.micros(value, true, &coerced)?)
                    });
                }
                (_, Arrow::Date32) => {
                    convert(array.as_primitive::<Date32Type>(), out, faults, |days| {
                        times(i64::from(days), 86_400_000_000)
                    });
                }
                _ => return Err(unexpected(arrow, form)),
            }
            fixed(Cells::Eight(out), 8)
        }
        Form::Interval(digits) if *arrow == Arrow::Interval(IntervalUnit::MonthDayNano) => {
            let seconds = Seconds::new(*digits, options, "interval_precision");
            let values = array.as_primitive::<IntervalMonthDayNanoType>();
            Ok(scratch.variable.fill(array, faults, |row, out| {
                let value = values.value(row);
                let micros = seconds.micros(value.nanoseconds, false, &coerced)?;
                out.extend_from_slice(&micros.to_be_bytes());
                out.extend_from_slice(&value.days.to_be_bytes());
                out.extend_from_slice(&value.months.to_be_bytes());
                Ok(())
            }))
        }
        Form::Inet { .. } | Form::Mac(_) | Form::Bits { .. } => {
            let Some(strings) = strings else { return Err(unexpected(arrow, form)) };
            Ok(scratch.variable.fill(array, faults, |row, out| {
                let text = strings.value(row);
                match form {
                    Form::Inet { cidr } => parse::inet(text, *cidr, out),
                    Form::Mac(length) => parse::mac(text, *length, out),
                    Form::Bits { length, varying } => parse::bits(text, *length, *varying, out),
                    _ => Ok(()),
                }
            }))
        }
        Form::Array { oid, item } => list::lists(array, *oid, item, options, scratch, faults),
        _ => Err(unexpected(arrow, form)),
    };
    faults.coerced += coerced.get();
    column
}

/// Bytes that travel as they are, if `check` says so.
fn bytes<'a>(
    array: &'a dyn Array,
    scratch: &'a mut Scratch,
    faults: &mut Faults,
    check: impl Fn(&[u8]) -> Result<(), Fault>,
) -> Result<Column<'a>> {
    let check = |bytes: &[u8]| {
        if bytes.len() > MAX_VALUE {
            return Err(text::too_large(bytes.len()));
        }
        check(bytes)
    };
    Ok(match array.data_type() {
        Arrow::FixedSizeBinary(width) => {
            let values = array.as_fixed_size_binary();
            if let Err(fault) = check(&vec![0; *width as usize]) {
                // All are of one length: the first fault is everyone's.
                for row in (0..array.len()).filter(|row| array.is_valid(*row)) {
                    faults.add(row, Fault::new(fault.code, fault.reason.clone()));
                }
            }
            Column {
                cells: Cells::Fixed(values.value_data(), *width as usize),
                nulls: array.nulls(),
                bytes: array.len() * *width as usize,
                text: false,
            }
        }
        Arrow::BinaryView => {
            let views = array.as_binary_view();
            let mut all = 0;
            for row in 0..array.len() {
                let value = views.value(row);
                all += value.len();
                if array.is_valid(row)
                    && let Err(fault) = check(value)
                {
                    faults.add(row, fault);
                }
            }
            Column {
                cells: Cells::View(Views::new(views.views(), views.data_buffers())),
                nulls: array.nulls(),
                bytes: all,
                text: false,
            }
        }
        Arrow::Binary => {
            let values = array.as_binary::<i32>();
            scratch.variable.fill(array, faults, |row, out| {
                check(values.value(row))?;
                out.extend_from_slice(values.value(row));
                Ok(())
            })
        }
        Arrow::LargeBinary => {
            let values = array.as_binary::<i64>();
            scratch.variable.fill(array, faults, |row, out| {
                check(values.value(row))?;
                out.extend_from_slice(values.value(row));
                Ok(())
            })
        }
        other => return Err(unexpected(other, &Form::Bytea)),
    })
}
