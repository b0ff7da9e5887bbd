//! Columns of numbers: integers, numeric and money.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Decimal128Type, Decimal256Type, Float32Type, Float64Type, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};
use arrow_array::{Array, downcast_integer_array};
use arrow_buffer::i256;
use arrow_schema::{DataType as Arrow, TimeUnit};
use kwsync_core::Result;

use super::super::fault::{Fault, Faults};
use super::super::form::Form;
use super::super::numeric;
use super::super::options::CopyOptions;
use super::cell::{Cells, Column};
use super::column::{Scratch, convert, read};
use super::text::Strings;
use super::unexpected;

#[cold]
fn integer_overflow(value: impl std::fmt::Display, target: &str) -> Fault {
    Fault::new(
        "integer_overflow",
        format!("{value} does not go into {target}; make the column of a wider type"),
    )
}

fn integer_name(form: &Form) -> &'static str {
    match form {
        Form::Int2 => "smallint",
        Form::Int4 => "integer",
        Form::Int8 => "bigint",
        _ => "oid",
    }
}

/// An integer that a float is, exactly.
fn whole(value: f64) -> Result<i128, Fault> {
    // Every float below 2^100 that has no fraction is an i128.
    if value.trunc() == value && value.abs() < 1e30 {
        return Ok(value as i128);
    }
    Err(Fault::new(
        "not_an_integer",
        format!("{value} is no integer; make the column double precision or numeric"),
    ))
}

/// An integer that a decimal is, exactly.
fn whole_decimal(value: i256, scale: i8) -> Result<i128, Fault> {
    let ten = i256::from_i128(10);
    let fault = || {
        Fault::new(
            "not_an_integer",
            format!("{value} / 10^{scale} is no integer that fits; make the column numeric"),
        )
    };
    let mut rest = value;
    for _ in 0..scale {
        if rest % ten != i256::ZERO {
            return Err(fault());
        }
        rest = rest.wrapping_div(ten);
    }
    for _ in scale..0 {
        rest = rest.checked_mul(ten).ok_or_else(fault)?;
    }
    rest.to_i128().ok_or_else(fault)
}

pub(super) fn integers<'a>(
    array: &'a dyn Array,
    form: &Form,
    scratch: &'a mut Scratch,
    faults: &mut Faults,
) -> Result<Column<'a>> {
    use arrow_array::types::{Int16Type, Int32Type, Int64Type};
    let (rows, nulls, arrow) = (array.len(), array.nulls(), array.data_type());
    let target = integer_name(form);
    let fixed =
        |cells: Cells<'a>, width: usize| Ok(Column { cells, nulls, bytes: rows * width, text: false });
    /// Any source into integers of one width.
    fn into<V: Default + TryFrom<i128>>(
        array: &dyn Array,
        out: &mut Vec<V>,
        faults: &mut Faults,
        form: &Form,
        target: &str,
    ) -> Result<()> {
        let fit = |value: i128| V::try_from(value).map_err(|_| integer_overflow(value, target));
        match array.data_type() {
            Arrow::Float32 => {
                convert(array.as_primitive::<Float32Type>(), out, faults, |value| fit(whole(value.into())?));
            }
            Arrow::Float64 => {
                convert(array.as_primitive::<Float64Type>(), out, faults, |value| fit(whole(value)?));
            }
            Arrow::Decimal128(_, scale) => {
                convert(array.as_primitive::<Decimal128Type>(), out, faults, |value| {
                    fit(whole_decimal(i256::from_i128(value), *scale)?)
                });
            }
            Arrow::Decimal256(_, scale) => {
                convert(array.as_primitive::<Decimal256Type>(), out, faults, |value| {
                    fit(whole_decimal(value, *scale)?)
                });
            }
            _ => downcast_integer_array!(
                array => convert(array, out, faults, |value| {
                    V::try_from(i128::from(value)).map_err(|_| integer_overflow(value, target))
                }),
                other => return Err(unexpected(other, form))
            ),
        }
        Ok(())
    }
    match (form, arrow) {
        (Form::Int2, Arrow::Int16) => {
            return fixed(Cells::Two(array.as_primitive::<Int16Type>().values()), 2);
        }
        (Form::Int4, Arrow::Int32) => {
            return fixed(Cells::Four(array.as_primitive::<Int32Type>().values()), 4);
        }
        (Form::Int8, Arrow::Int64) => {
            return fixed(Cells::Eight(array.as_primitive::<Int64Type>().values()), 8);
        }
        (Form::Int8, Arrow::Timestamp(unit, _)) => {
            let values = match unit {
                TimeUnit::Second => array.as_primitive::<TimestampSecondType>().values(),
                TimeUnit::Millisecond => array.as_primitive::<TimestampMillisecondType>().values(),
                TimeUnit::Microsecond => array.as_primitive::<TimestampMicrosecondType>().values(),
                TimeUnit::Nanosecond => array.as_primitive::<TimestampNanosecondType>().values(),
            };
            return fixed(Cells::Eight(values), 8);
        }
        _ => {}
    }
    match form {
        Form::Int2 => {
            into(array, &mut scratch.two, faults, form, target)?;
            fixed(Cells::Two(&scratch.two), 2)
        }
        Form::Int4 => {
            into(array, &mut scratch.four, faults, form, target)?;
            fixed(Cells::Four(&scratch.four), 4)
        }
        Form::Int8 => {
            into(array, &mut scratch.eight, faults, form, target)?;
            fixed(Cells::Eight(&scratch.eight), 8)
        }
        _ => {
            let mut out: Vec<u32> = Vec::new();
            into(array, &mut out, faults, form, target)?;
            scratch.four.clear();
            scratch.four.extend(out.into_iter().map(|value| value as i32));
            fixed(Cells::Four(&scratch.four), 4)
        }
    }
}

pub(super) fn numerics<'a>(
    array: &'a dyn Array,
    bounds: numeric::Bounds,
    options: &CopyOptions,
    scratch: &'a mut Scratch,
    faults: &mut Faults,
) -> Result<Column<'a>> {
    let infinity = options.numeric_infinity;
    if let Some(strings) = Strings::of(array) {
        return Ok(scratch
            .variable
            .fill(array, faults, |row, out| numeric::from_text(strings.value(row), infinity, bounds, out)));
    }
    Ok(match array.data_type() {
        Arrow::Float32 => {
            let values = array.as_primitive::<Float32Type>().values();
            scratch
                .variable
                .fill(array, faults, |row, out| numeric::from_float(values[row], infinity, bounds, out))
        }
        Arrow::Float64 => {
            let values = array.as_primitive::<Float64Type>().values();
            scratch
                .variable
                .fill(array, faults, |row, out| numeric::from_float(values[row], infinity, bounds, out))
        }
        Arrow::Decimal128(_, scale) => {
            let values = array.as_primitive::<Decimal128Type>().values();
            match u32::try_from(*scale) {
                Ok(scale) => scratch
                    .variable
                    .fill(array, faults, |row, out| numeric::from_i128(values[row], scale, bounds, out)),
                Err(_) => scratch.variable.fill(array, faults, |row, out| {
                    numeric::from_i256(i256::from_i128(values[row]), i64::from(*scale), bounds, out)
                }),
            }
        }
        Arrow::Decimal256(_, scale) => {
            let values = array.as_primitive::<Decimal256Type>().values();
            scratch.variable.fill(array, faults, |row, out| {
                numeric::from_i256(values[row], i64::from(*scale), bounds, out)
            })
        }
        _ => downcast_integer_array!(
            array => {
                let values = array.values();
                scratch.variable.fill(array, faults, |row, out| {
                    numeric::from_i128(i128::from(values[row]), 0, bounds, out)
                })
            },
            other => return Err(unexpected(other, &Form::Numeric(bounds)))
        ),
    })
}

/// Cents, by way of numeric's own reading.
pub(super) fn money<'a>(
    array: &'a dyn Array,
    scratch: &'a mut Scratch,
    faults: &mut Faults,
) -> Result<Column<'a>> {
    let cents = |value: Option<i128>| {
        value.and_then(|value| i64::try_from(value).ok()).ok_or_else(|| {
            Fault::new(
                "numeric_overflow",
                "the value has more digits than money takes; make the column numeric",
            )
        })
    };
    let fine = || {
        Fault::new(
            "numeric_scale",
            "the value has more than the two digits that money keeps; make the column numeric",
        )
    };
    let scaled = |value: i128, scale: i8| {
        let steps = 10_i128.checked_pow(u32::from((scale - 2).unsigned_abs()));
        match (scale > 2, steps) {
            (false, Some(steps)) => cents(value.checked_mul(steps)),
            (true, Some(steps)) if value % steps == 0 => cents(Some(value / steps)),
            _ if value == 0 => Ok(0),
            (false, None) => cents(None),
            _ => Err(fine()),
        }
    };
    let out = &mut scratch.eight;
    match array.data_type() {
        Arrow::Decimal128(_, scale) => {
            convert(array.as_primitive::<Decimal128Type>(), out, faults, |value| scaled(value, *scale));
        }
        Arrow::Decimal256(_, scale) => {
            convert(array.as_primitive::<Decimal256Type>(), out, faults, |value| {
                value.to_i128().map_or_else(|| cents(None), |value| scaled(value, *scale))
            });
        }
        _ => match Strings::of(array) {
            Some(strings) => read(strings, array, out, faults, |text| {
                let (value, scale) = numeric::small(text)
                    .ok_or_else(|| Fault::text("bad_numeric", text, "amount of money"))?;
                scaled(value, scale)
            }),
            None => downcast_integer_array!(
                array => convert(array, out, faults, |value| scaled(i128::from(value), 0)),
                other => return Err(unexpected(other, &Form::Money))
            ),
        },
    }
    Ok(Column { cells: Cells::Eight(out), nulls: array.nulls(), bytes: array.len() * 8, text: false })
}
