//! [`Node`]s evaluated over rows.

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use arrow_arith::{boolean, numeric, temporal};
use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use arrow_array::{
    Array, ArrayRef, BooleanArray, NullArray, RecordBatch, TimestampMicrosecondArray, UInt32Array,
    new_null_array,
};
use arrow_ord::cmp;
use arrow_schema::{ArrowError, DataType as Arrow};
use arrow_select::filter::filter_record_batch;

use super::coerce::{Cell, alike, is_text, numbers, together};
use super::node::{Arithmetic, Compare, Node};
use crate::{DataType, TableBatch};

/// Why there is no value.
#[derive(Debug)]
pub(super) enum Fault {
    /// The expression does not fit the table.
    Table(String),
    /// It does not fit one of the rows.
    Row(String),
}

impl From<ArrowError> for Fault {
    fn from(error: ArrowError) -> Self {
        match error {
            ArrowError::ArithmeticOverflow(reason) => Self::Row(reason),
            ArrowError::DivideByZero => Self::Row("division by zero".to_owned()),
            ArrowError::CastError(reason)
            | ArrowError::ParseError(reason)
            | ArrowError::ComputeError(reason) => Self::Row(reason),
            ArrowError::InvalidArgumentError(reason) if reason.contains("too large") => Self::Row(reason),
            ArrowError::InvalidArgumentError(reason) | ArrowError::NotYetImplemented(reason) => {
                Self::Table(reason)
            }
            other => Self::Table(other.to_string()),
        }
    }
}

pub(super) type Evaluation = Result<Cell, Fault>;

/// The rows that an expression is evaluated for.
#[derive(Clone, Debug)]
pub(super) struct Context<'a> {
    pub(super) batch: &'a TableBatch,
    columns: RecordBatch,
    /// The place of each row in the batch.
    rows: Rows,
    now: i64,
}

#[derive(Clone, Debug)]
enum Rows {
    From(usize),
    At(Arc<[usize]>),
}

impl<'a> Context<'a> {
    pub(super) fn new(batch: &'a TableBatch) -> Self {
        let now = UNIX_EPOCH.elapsed().map_or(0, |since| since.as_micros() as i64);
        Self { batch, columns: batch.batch().clone(), rows: Rows::From(0), now }
    }

    pub(super) fn slice(&self, start: usize, len: usize) -> Self {
        let rows = match &self.rows {
            Rows::From(first) => Rows::From(first + start),
            Rows::At(rows) => Rows::At(rows.get(start..start + len).unwrap_or_default().into()),
        };
        Self { columns: self.columns.slice(start, len), rows, ..self.clone() }
    }

    /// The rows for which `mask` is true.
    fn filter(&self, mask: &BooleanArray) -> Result<Self, Fault> {
        let rows: Vec<usize> = self
            .row_numbers()
            .zip(mask)
            .filter(|(_, keep)| *keep == Some(true))
            .map(|(row, _)| row)
            .collect();
        Ok(Self {
            columns: filter_record_batch(&self.columns, mask)?,
            rows: Rows::At(rows.into()),
            ..self.clone()
        })
    }

    pub(super) fn len(&self) -> usize {
        self.columns.num_rows()
    }

    /// Where the rows stand in the batch.
    pub(super) fn row_numbers(&self) -> impl Iterator<Item = usize> {
        (0..self.len()).map(|row| match &self.rows {
            Rows::From(first) => first + row,
            Rows::At(rows) => rows.get(row).copied().unwrap_or_default(),
        })
    }

    /// The time at which the batch was looked at.
    pub(super) fn now(&self) -> Cell {
        let now = TimestampMicrosecondArray::from(vec![self.now]).with_timezone("UTC");
        Cell::one(Arc::new(now))
    }

    /// The values of all rows, and their type.
    pub(super) fn evaluate(&self, node: &Node) -> Result<(ArrayRef, DataType), Fault> {
        let cell = self.cell(node)?;
        let data_type = match &cell.data_type {
            Some(data_type) => data_type.clone(),
            None => DataType::from_arrow(cell.arrow())
                .ok_or_else(|| Fault::Table(format!("no column holds the result, {}", cell.arrow())))?,
        };
        let array = if *cell.arrow() == Arrow::Null {
            new_null_array(&data_type.to_arrow(), self.len())
        } else {
            cell.expand(self.len())?
        };
        Ok((array, data_type))
    }

    pub(super) fn cell(&self, node: &Node) -> Evaluation {
        Ok(match node {
            Node::Column(name) => self.column(name)?,
            Node::Literal(array, text) => Cell { text: text.clone(), ..Cell::one(Arc::clone(array)) },
            Node::Not(inner) => {
                let (mask, scalar) = self.boolean(inner)?;
                Cell::like(Arc::new(boolean::not(&mask)?), scalar)
            }
            Node::Negative(inner) => {
                let cell = self.cell(inner)?;
                let cell = if *cell.arrow() == Arrow::Null { cell.cast(&Arrow::Int64)? } else { cell };
                Cell::like(numeric::neg(&cell.array)?, cell.scalar)
            }
            Node::IsNull(inner, negated) => {
                let cell = self.cell(inner)?;
                let is = if *negated { boolean::is_not_null } else { boolean::is_null };
                Cell::like(Arc::new(is(&cell.array)?), cell.scalar)
            }
            Node::Is(inner, wanted, negated) => {
                let (mask, scalar) = self.boolean(inner)?;
                let is: BooleanArray =
                    mask.iter().map(|value| Some((value == Some(*wanted)) != *negated)).collect();
                Cell::like(Arc::new(is), scalar)
            }
            Node::And(parts) => self.logic(parts, true)?,
            Node::Or(parts) => self.logic(parts, false)?,
            Node::In(value, list) => {
                let value = self.cell(value)?;
                let mut any = BooleanArray::from(vec![false; self.len()]);
                for item in list {
                    let equal = self.compared(Compare::Equal, value.clone(), self.cell(item)?)?;
                    any = boolean::or_kleene(&any, equal.expand(self.len())?.as_boolean())?;
                }
                Cell::rows(Arc::new(any))
            }
            Node::Compare(operator, left, right) => {
                self.compared(*operator, self.cell(left)?, self.cell(right)?)?
            }
            Node::Arithmetic(operator, left, right) => self.arithmetic(*operator, left, right)?,
            Node::Like(text, pattern, exact, negated) => {
                let text = self.text(text)?;
                let pattern =
                    Cell::one(Arc::new(arrow_array::StringViewArray::from(vec![&**pattern])) as ArrayRef);
                let like = match (exact, negated) {
                    (true, false) => arrow_string::like::like,
                    (true, true) => arrow_string::like::nlike,
                    (false, false) => arrow_string::like::ilike,
                    (false, true) => arrow_string::like::nilike,
                };
                Cell::like(Arc::new(like(&text, &pattern)?), text.scalar)
            }
            Node::Regex(text, pattern, exact, negated) => {
                let text = self.text(text)?;
                let flags = (!exact).then_some("i");
                let found = arrow_string::regexp::regexp_is_match_scalar(
                    text.array.as_string_view(),
                    pattern,
                    flags,
                )?;
                let found = if *negated { boolean::not(&found)? } else { found };
                Cell::like(Arc::new(found), text.scalar)
            }
            Node::Case(cases, otherwise) => self.case(cases, otherwise.as_deref())?,
            Node::Cast(inner, to) => self.cast(self.cell(inner)?, to)?,
            Node::Extract(part, inner) => {
                let cell = self.cell(inner)?;
                let cell = match cell.arrow() {
                    // The fields are those of UTC.
                    Arrow::Timestamp(unit, Some(_)) => {
                        let local = Arrow::Timestamp(*unit, None);
                        cell.cast(&local)?
                    }
                    _ => cell,
                };
                Cell::like(temporal::date_part(&cell.array, *part)?, cell.scalar)
            }
            Node::Call(function, arguments) => function.call(self, arguments)?,
        })
    }

    /// A column in its plain encoding; nulls where the table has none of that name.
    fn column(&self, name: &str) -> Evaluation {
        let Some(index) = self.batch.schema().index_of(name) else {
            return Ok(Cell::one(Arc::new(NullArray::new(1))));
        };
        let array = Arc::clone(self.columns.column(index));
        let plain = match array.data_type() {
            Arrow::Dictionary(_, values) if is_text(values) => Some(Arrow::Utf8View),
            Arrow::Dictionary(_, values) => Some((**values).clone()),
            Arrow::Utf8 | Arrow::LargeUtf8 => Some(Arrow::Utf8View),
            Arrow::Binary | Arrow::LargeBinary => Some(Arrow::BinaryView),
            _ => None,
        };
        let cell = match plain {
            Some(plain) => Cell::rows(array).cast(&plain)?,
            None => Cell::rows(array),
        };
        let data_type = self.batch.schema().columns().get(index).map(|column| column.data_type().clone());
        Ok(Cell { data_type, ..cell })
    }

    /// Text, one value a row or one for all.
    pub(super) fn text(&self, node: &Node) -> Evaluation {
        let cell = self.cell(node)?;
        if is_text(cell.arrow()) || *cell.arrow() == Arrow::Null {
            return cell.cast(&Arrow::Utf8View);
        }
        Err(Fault::Table(format!("{} stands where text belongs; cast it: CAST(... AS text)", cell.named())))
    }

    /// Truth values.
    pub(super) fn boolean(&self, node: &Node) -> Result<(BooleanArray, bool), Fault> {
        let cell = self.cell(node)?;
        if *cell.arrow() != Arrow::Boolean && *cell.arrow() != Arrow::Null {
            return Err(Fault::Table(format!("{} is neither true nor false", cell.named())));
        }
        let cell = cell.cast(&Arrow::Boolean)?;
        Ok((cell.array.as_boolean().clone(), cell.scalar))
    }

    fn truth(&self, node: &Node) -> Evaluation {
        let (mask, scalar) = self.boolean(node)?;
        Ok(Cell::like(Arc::new(mask), scalar))
    }

    /// `AND` where `all` is true, else `OR`. A part counts only where those before it do not decide.
    fn logic(&self, parts: &[Node], all: bool) -> Evaluation {
        let mut known = BooleanArray::from(vec![all; self.len()]);
        for part in parts {
            let open: BooleanArray = known.iter().map(|value| Some(value != Some(!all))).collect();
            let part = self.only(&open, |context| context.truth(part))?.expand(self.len())?;
            let part = part.as_boolean();
            known = if all { boolean::and_kleene(&known, part)? } else { boolean::or_kleene(&known, part)? };
        }
        Ok(Cell::rows(Arc::new(known)))
    }

    /// What `evaluate` gives for the rows of `mask`. The others, whose value does not count, may be computed as well, but
    /// a fault in one of them is none: `CASE WHEN n <> 0 THEN 1 / n END`.
    fn only(&self, mask: &BooleanArray, evaluate: impl Fn(&Self) -> Evaluation) -> Evaluation {
        match evaluate(self) {
            Err(Fault::Row(_)) if mask.true_count() < mask.len() => {}
            done => return done,
        }
        let some = evaluate(&self.filter(mask)?)?;
        if some.scalar {
            return Ok(some);
        }
        let mut next = 0;
        let places: UInt32Array = mask
            .iter()
            .map(|keep| {
                let place = (keep == Some(true)).then_some(next);
                next += u32::from(place.is_some());
                place
            })
            .collect();
        Ok(Cell { array: arrow_select::take::take(&some.array, &places, None)?, ..some })
    }

    fn compared(&self, operator: Compare, left: Cell, right: Cell) -> Evaluation {
        let (left, right) = together(left, right)?;
        let scalar = left.scalar && right.scalar;
        if *left.arrow() == Arrow::Null {
            // Nothing is known of either.
            let known = matches!(operator, Compare::Distinct | Compare::NotDistinct);
            let value = known.then_some(operator == Compare::NotDistinct);
            return Ok(Cell::one(Arc::new(BooleanArray::from(vec![value]))));
        }
        let (left, right) = (left.canonical(), right.canonical());
        let compare = match operator {
            Compare::Equal => cmp::eq,
            Compare::NotEqual => cmp::neq,
            Compare::Less => cmp::lt,
            Compare::LessOrEqual => cmp::lt_eq,
            Compare::Greater => cmp::gt,
            Compare::GreaterOrEqual => cmp::gt_eq,
            Compare::Distinct => cmp::distinct,
            Compare::NotDistinct => cmp::not_distinct,
        };
        Ok(Cell::like(Arc::new(compare(&left, &right)?), scalar))
    }

    fn arithmetic(&self, operator: Arithmetic, left: &Node, right: &Node) -> Evaluation {
        let (left, right) = (self.cell(left)?, self.cell(right)?);
        let whole = left.arrow().is_integer() && right.arrow().is_integer();
        let (left, right) = numbers(left, right)?;
        if *left.arrow() == Arrow::Null {
            return Ok(Cell::one(Arc::new(NullArray::new(1))));
        }
        if !left.arrow().is_numeric() {
            return Err(Fault::Table(format!("{} is no number", left.named())));
        }
        // Small integers are calculated with as large ones: 100 * 100 is no fault because it fits no byte.
        let wide = match left.arrow() {
            Arrow::UInt64 => Some(Arrow::Decimal128(20, 0)),
            other if other.is_integer() => Some(Arrow::Int64),
            Arrow::Float32 | Arrow::Float16 => Some(Arrow::Float64),
            _ => None,
        };
        let (left, right) = match wide {
            Some(wide) => (left.cast(&wide)?, right.cast(&wide)?),
            None => (left, right),
        };
        let calculate = match operator {
            Arithmetic::Add => numeric::add,
            Arithmetic::Subtract => numeric::sub,
            Arithmetic::Multiply => numeric::mul,
            Arithmetic::Divide => numeric::div,
            Arithmetic::Remainder => numeric::rem,
        };
        let scalar = left.scalar && right.scalar;
        if operator == Arithmetic::Divide && whole && left.arrow().is_decimal() {
            // Whole numbers of 64 bits without a sign, which decimals stand for here.
            let rest = Cell::like(numeric::rem(&left, &right)?, scalar);
            let left = Cell::like(numeric::sub(&left, &rest)?, scalar);
            return Cell::like(numeric::div(&left, &right)?, scalar).cast(&Arrow::Decimal128(20, 0));
        }
        Ok(Cell::like(calculate(&left, &right)?, scalar))
    }

    fn case(&self, cases: &[(Node, Node)], otherwise: Option<&Node>) -> Evaluation {
        let mut open = BooleanArray::from(vec![true; self.len()]);
        let mut branches = Vec::with_capacity(cases.len() + 1);
        for (when, then) in cases {
            let when = self.only(&open, |context| context.truth(when))?.expand(self.len())?;
            let hit = boolean::and(&open, &true_only(when.as_boolean()))?;
            open = boolean::and_not(&open, &hit)?;
            branches.push(self.branch(hit, then)?);
        }
        if let Some(otherwise) = otherwise {
            branches.push(self.branch(open, otherwise)?);
        }
        self.merge(branches)
    }

    /// The values of `node` for the rows of `mask`.
    pub(super) fn branch(&self, mask: BooleanArray, node: &Node) -> Result<(BooleanArray, Cell), Fault> {
        let cell = self.only(&mask, |context| context.cell(node))?;
        Ok((mask, cell))
    }

    /// One array out of several, each of which counts for the rows of its mask; null for the others.
    pub(super) fn merge(&self, branches: Vec<(BooleanArray, Cell)>) -> Evaluation {
        let (masks, cells): (Vec<_>, Vec<_>) = branches.into_iter().unzip();
        let (cells, data_type) = alike(cells)?;
        let mut all: Option<ArrayRef> = None;
        for (mask, cell) in masks.iter().zip(cells) {
            let array = cell.expand(self.len())?;
            all = Some(match all {
                None => arrow_select::nullif::nullif(&array, &boolean::not(mask)?)?,
                Some(before) => arrow_select::zip::zip(mask, &array, &before)?,
            });
        }
        let array = all.ok_or_else(|| Fault::Table("a CASE without a case".to_owned()))?;
        Ok(Cell { data_type, ..Cell::rows(array) })
    }

    fn cast(&self, cell: Cell, to: &DataType) -> Evaluation {
        let arrow = to.to_arrow();
        let cell = if cell.arrow().is_floating() && arrow.is_integer() {
            // Rounded as PostgreSQL does it; Arrow would cut the digits off.
            let floats = cell.cast(&Arrow::Float64)?;
            let rounded =
                floats.array.as_primitive::<Float64Type>().unary::<_, Float64Type>(f64::round_ties_even);
            Cell::like(Arc::new(rounded), floats.scalar)
        } else if arrow.is_integer() {
            match cell.arrow() {
                Arrow::Decimal128(..) => cell.cast(&Arrow::Decimal128(38, 0))?,
                Arrow::Decimal256(..) => cell.cast(&Arrow::Decimal256(76, 0))?,
                _ => cell,
            }
        } else {
            cell
        };
        let cell = cell.cast(&arrow)?;
        Ok(Cell { data_type: Some(to.clone()), ..cell })
    }
}

/// False where nothing is known.
pub(super) fn true_only(mask: &BooleanArray) -> BooleanArray {
    match mask.nulls() {
        Some(valid) => BooleanArray::new(mask.values() & valid.inner(), None),
        None => mask.clone(),
    }
}
