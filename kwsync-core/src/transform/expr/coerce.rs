//! Values of different types brought together.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type};
use arrow_array::{Array, ArrayRef, Datum, UInt32Array};
use arrow_cast::CastOptions;
use arrow_schema::{ArrowError, DataType as Arrow, TimeUnit};

use super::super::cast::cast;
use super::eval::Fault;
use crate::DataType;

/// The values of a step: one a row, or one for all of them.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    pub(super) array: ArrayRef,
    pub(super) scalar: bool,
    /// How a literal was written.
    pub(super) text: Option<Arc<str>>,
    /// What a column or a cast says that the values are.
    pub(super) data_type: Option<DataType>,
}

impl Datum for Cell {
    fn get(&self) -> (&dyn Array, bool) {
        (self.array.as_ref(), self.scalar)
    }
}

impl Cell {
    pub(super) fn rows(array: ArrayRef) -> Self {
        Self { array, scalar: false, text: None, data_type: None }
    }

    pub(super) fn one(array: ArrayRef) -> Self {
        Self { scalar: true, ..Self::rows(array) }
    }

    /// With the same scalarness as what it was made from.
    pub(super) fn like(array: ArrayRef, scalar: bool) -> Self {
        Self { scalar, ..Self::rows(array) }
    }

    pub(super) fn arrow(&self) -> &Arrow {
        self.array.data_type()
    }

    /// A value for each of `rows` rows.
    pub(super) fn expand(self, rows: usize) -> Result<ArrayRef, Fault> {
        if !self.scalar {
            return Ok(self.array);
        }
        let zeros = UInt32Array::from(vec![0; rows]);
        Ok(arrow_select::take::take(&self.array, &zeros, None)?)
    }

    /// The type in words, for messages.
    pub(super) fn named(&self) -> String {
        let known = self.data_type.clone().or_else(|| DataType::from_arrow(self.arrow()));
        known.map_or_else(|| self.arrow().to_string(), |known| known.to_string())
    }

    /// The same values as `to`. A text that cannot be read as that, or a number that does not fit, is a fault of its row.
    pub(super) fn cast(self, to: &Arrow) -> Result<Self, Fault> {
        if self.arrow() == to {
            return Ok(self);
        }
        let options = CastOptions { safe: false, ..CastOptions::default() };
        let from = self.named();
        let array = cast(&self.array, to, &options).map_err(|error| match error {
            ArrowError::CastError(reason) | ArrowError::ParseError(reason) => Fault::Row(reason),
            ArrowError::NotYetImplemented(_) | ArrowError::InvalidArgumentError(_) => {
                Fault::Table(format!("{from} cannot become {to}"))
            }
            other => other.into(),
        })?;
        Ok(Self { array, text: None, data_type: None, ..self })
    }

    /// The same; a literal as it was written: 0.1 as a decimal, not as the float nearest to it.
    fn exact(self, to: &Arrow) -> Result<Self, Fault> {
        let literal = self.scalar && self.text.is_some();
        let cast = match &self.text {
            Some(text) if to.is_decimal() && *self.arrow() == Arrow::Float64 => one_text(text).cast(to),
            _ => self.cast(to),
        };
        match cast {
            // It would be at fault in every row.
            Err(Fault::Row(reason)) if literal => Err(Fault::Table(reason)),
            other => other,
        }
    }

    /// Floats of which equal ones are the same bits: Arrow orders by bits, and knows -0 and 0 apart.
    pub(super) fn canonical(self) -> Self {
        let plain = |value: f64| if value.is_nan() { f64::NAN } else { value + 0.0 };
        let array: ArrayRef = match self.arrow() {
            Arrow::Float64 => {
                Arc::new(self.array.as_primitive::<Float64Type>().unary::<_, Float64Type>(plain))
            }
            Arrow::Float32 => Arc::new(
                self.array
                    .as_primitive::<Float32Type>()
                    .unary::<_, Float32Type>(|value| if value.is_nan() { f32::NAN } else { value + 0.0 }),
            ),
            _ => return self,
        };
        Self { array, ..self }
    }

    /// Whether these are numbers that are kept as text.
    fn is_kept_number(&self) -> bool {
        matches!(self.data_type, Some(DataType::Numeric(_))) && is_text(self.arrow())
    }

    /// Numbers that are kept as text, because no Arrow type holds all of them, as floats.
    fn number(self) -> Result<Self, Fault> {
        match self.data_type {
            Some(DataType::Numeric(_)) if is_text(self.arrow()) => self.cast(&Arrow::Float64),
            _ => Ok(self),
        }
    }
}

fn one_text(text: &str) -> Cell {
    Cell::one(Arc::new(arrow_array::StringViewArray::from(vec![text])))
}

/// All as one type, that of the values that a `CASE` or `coalesce` may have, and what the columns say that it is.
pub(super) fn alike(cells: Vec<Cell>) -> Result<(Vec<Cell>, Option<DataType>), Fault> {
    let number =
        |cell: &Cell| cell.text.is_some() && cell.arrow().is_numeric() || *cell.arrow() == Arrow::Null;
    if cells.iter().any(Cell::is_kept_number)
        && cells.iter().all(|cell| cell.is_kept_number() || number(cell))
    {
        // Exact, as they are kept.
        let cells = cells.into_iter().map(|cell| match &cell.text {
            Some(text) => Ok(one_text(text)),
            None => cell.cast(&Arrow::Utf8View),
        });
        return Ok((cells.collect::<Result<_, _>>()?, Some(DataType::Numeric(None))));
    }
    let mut known =
        cells.iter().filter(|cell| *cell.arrow() != Arrow::Null).map(|cell| cell.data_type.as_ref());
    let first = known.next().flatten();
    let data_type = first.filter(|first| known.all(|other| other == Some(first))).cloned();
    let mut common: Option<Cell> = None;
    for cell in &cells {
        common = Some(match common {
            None => cell.clone(),
            Some(before) => together(before, cell.clone())?.0,
        });
    }
    let Some(common) = common else { return Ok((cells, data_type)) };
    let to = common.arrow().clone();
    let cells = cells.into_iter().map(|cell| cell.number()?.exact(&to)).collect::<Result<Vec<_>, _>>()?;
    Ok((cells, data_type.filter(|data_type| data_type.is_stored_as(&to))))
}

pub(super) fn is_text(arrow: &Arrow) -> bool {
    matches!(arrow, Arrow::Utf8 | Arrow::LargeUtf8 | Arrow::Utf8View)
}

/// Both as one type, in which they can be compared and calculated with.
pub(super) fn together(left: Cell, right: Cell) -> Result<(Cell, Cell), Fault> {
    let (left, right) = (left.number()?, right.number()?);
    if left.arrow() == right.arrow() {
        return Ok((left, right));
    }
    let Some(common) = common(&left, &right) else {
        return Err(Fault::Table(format!(
            "{} and {} do not go together; say what is meant with CAST(... AS type)",
            left.named(),
            right.named()
        )));
    };
    Ok((left.exact(&common)?, right.exact(&common)?))
}

/// Both as numbers that can be calculated with. Decimals keep the digits that each has: a product has as many behind the
/// point as both together.
pub(super) fn numbers(left: Cell, right: Cell) -> Result<(Cell, Cell), Fault> {
    let (left, right) = (left.number()?, right.number()?);
    if !left.arrow().is_decimal() && !right.arrow().is_decimal() {
        return together(left, right);
    }
    let (Some(a), Some(b)) = (decimal(&left, right.arrow()), decimal(&right, left.arrow())) else {
        return together(left, right);
    };
    let wide = [&a, &b].iter().any(|arrow| matches!(arrow, Arrow::Decimal256(..)));
    let to = |arrow| match arrow {
        Arrow::Decimal128(precision, scale) if wide => Arrow::Decimal256(precision, scale),
        other => other,
    };
    Ok((left.exact(&to(a))?, right.exact(&to(b))?))
}

/// The type that holds the values of both.
fn common(left: &Cell, right: &Cell) -> Option<Arrow> {
    let (a, b) = (left.arrow(), right.arrow());
    if (a.is_decimal() || b.is_decimal())
        && let (Some(a), Some(b)) = (decimal(left, b), decimal(right, a))
    {
        return Some(wider(&a, &b));
    }
    Some(match (a, b) {
        (Arrow::Null, other) | (other, Arrow::Null) => other.clone(),
        (a, b) if a.is_integer() && b.is_integer() => {
            match (a.is_unsigned_integer(), b.is_unsigned_integer()) {
                (true, true) => Arrow::UInt64,
                _ if *a == Arrow::UInt64 || *b == Arrow::UInt64 => Arrow::Decimal128(20, 0),
                _ => Arrow::Int64,
            }
        }
        (a, b) if a.is_numeric() && b.is_numeric() => Arrow::Float64,
        (a, b) if is_text(a) && is_text(b) => Arrow::Utf8View,
        // A text in quotes takes the type of what it stands beside, as in SQL.
        (a, b) if is_text(a) && left.text.is_some() => b.clone(),
        (a, b) if is_text(b) && right.text.is_some() => a.clone(),
        (Arrow::Timestamp(a, zone), Arrow::Timestamp(b, other)) => {
            Arrow::Timestamp(finer(*a, *b), zone.clone().or_else(|| other.clone()))
        }
        (Arrow::Date32, Arrow::Timestamp(unit, zone)) | (Arrow::Timestamp(unit, zone), Arrow::Date32) => {
            Arrow::Timestamp(*unit, zone.clone())
        }
        (Arrow::Time32(_) | Arrow::Time64(_), Arrow::Time32(_) | Arrow::Time64(_)) => {
            Arrow::Time64(TimeUnit::Nanosecond)
        }
        (Arrow::Binary | Arrow::BinaryView, Arrow::Binary | Arrow::BinaryView) => Arrow::BinaryView,
        _ => return None,
    })
}

/// The decimal that holds an exact number; a float in an expression counts by the digits that were written.
fn decimal(cell: &Cell, other: &Arrow) -> Option<Arrow> {
    let arrow = match cell.arrow() {
        decimal @ (Arrow::Decimal128(..) | Arrow::Decimal256(..)) => decimal.clone(),
        integer if integer.is_integer() => {
            let digits = cell.text.as_ref().and_then(|text| u8::try_from(text.len()).ok());
            Arrow::Decimal128(digits.unwrap_or(20).min(20), 0)
        }
        Arrow::Float64 if other.is_decimal() => {
            let text = cell.text.as_deref()?;
            let digits = text.strip_prefix('-').unwrap_or(text);
            let (whole, behind) = digits.split_once('.').unwrap_or((digits, ""));
            if !format!("{whole}{behind}").bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            let (whole, behind) = (u8::try_from(whole.len()).ok()?, u8::try_from(behind.len()).ok()?);
            let digits = (whole + behind).max(1);
            (digits <= 38).then_some(Arrow::Decimal128(digits, behind as i8))?
        }
        _ => return None,
    };
    Some(arrow)
}

fn wider(a: &Arrow, b: &Arrow) -> Arrow {
    let parts = |arrow: &Arrow| match arrow {
        Arrow::Decimal128(precision, scale) | Arrow::Decimal256(precision, scale) => {
            (i16::from(*precision) - i16::from(*scale), i16::from(*scale))
        }
        _ => (0, 0),
    };
    let ((a_whole, a_scale), (b_whole, b_scale)) = (parts(a), parts(b));
    let scale = a_scale.max(b_scale);
    let precision = (a_whole.max(b_whole) + scale).clamp(1, 76);
    let wide = [a, b].iter().any(|arrow| matches!(arrow, Arrow::Decimal256(..)));
    if precision <= 38 && !wide {
        Arrow::Decimal128(precision as u8, scale as i8)
    } else {
        Arrow::Decimal256(precision as u8, scale as i8)
    }
}

fn finer(a: TimeUnit, b: TimeUnit) -> TimeUnit {
    let rank = |unit| match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 1,
        TimeUnit::Microsecond => 2,
        TimeUnit::Nanosecond => 3,
    };
    if rank(a) >= rank(b) { a } else { b }
}
