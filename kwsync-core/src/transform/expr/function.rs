//! The functions that expressions have.

use std::borrow::Cow;
use std::sync::Arc;

use arrow_arith::boolean;
use arrow_array::builder::StringViewBuilder;
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{Array, ArrayRef, BooleanArray, Int64Array, StringViewArray, TimestampMillisecondArray};
use arrow_ord::cmp;
use arrow_schema::DataType as Arrow;

use super::coerce::{Cell, is_text, together};
use super::eval::{Context, Evaluation, Fault, true_only};
use super::node::Node;
use crate::config::did_you_mean;

/// A function by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    Abs,
    ByteOffset,
    Ceil,
    Coalesce,
    Concat,
    Floor,
    InputName,
    /// `||`: null where one side is.
    Join,
    Left,
    Length,
    LineNumber,
    Lower,
    MessageHeader,
    MessageKey,
    MessageOffset,
    MessageTime,
    Now,
    NullIf,
    Partition,
    RecordNumber,
    Replace,
    Right,
    Round,
    SchemaName,
    SplitPart,
    StartsWith,
    Substr,
    TableName,
    Topic,
    Trim,
    TrimEnd,
    TrimStart,
    Upper,
}

/// Name, function, the least and the most arguments.
const ALL: &[(&str, Function, usize, usize)] = &[
    ("abs", Function::Abs, 1, 1),
    ("byte_offset", Function::ByteOffset, 0, 0),
    ("ceil", Function::Ceil, 1, 1),
    ("ceiling", Function::Ceil, 1, 1),
    ("char_length", Function::Length, 1, 1),
    ("coalesce", Function::Coalesce, 1, usize::MAX),
    ("concat", Function::Concat, 1, usize::MAX),
    ("current_timestamp", Function::Now, 0, 0),
    ("floor", Function::Floor, 1, 1),
    ("input_name", Function::InputName, 0, 0),
    ("left", Function::Left, 2, 2),
    ("length", Function::Length, 1, 1),
    ("line_number", Function::LineNumber, 0, 0),
    ("lower", Function::Lower, 1, 1),
    ("ltrim", Function::TrimStart, 1, 1),
    ("message_header", Function::MessageHeader, 1, 1),
    ("message_key", Function::MessageKey, 0, 0),
    ("message_offset", Function::MessageOffset, 0, 0),
    ("message_time", Function::MessageTime, 0, 0),
    ("now", Function::Now, 0, 0),
    ("nullif", Function::NullIf, 2, 2),
    ("partition", Function::Partition, 0, 0),
    ("record_number", Function::RecordNumber, 0, 0),
    ("replace", Function::Replace, 3, 3),
    ("right", Function::Right, 2, 2),
    ("round", Function::Round, 1, 2),
    ("rtrim", Function::TrimEnd, 1, 1),
    ("schema_name", Function::SchemaName, 0, 0),
    ("split_part", Function::SplitPart, 3, 3),
    ("starts_with", Function::StartsWith, 2, 2),
    ("substr", Function::Substr, 2, 3),
    ("substring", Function::Substr, 2, 3),
    ("table_name", Function::TableName, 0, 0),
    ("topic", Function::Topic, 0, 0),
    ("trim", Function::Trim, 1, 1),
    ("upper", Function::Upper, 1, 1),
];

impl Function {
    pub(super) fn named(name: &str) -> Result<Self, String> {
        let found = ALL.iter().find(|(known, ..)| known.eq_ignore_ascii_case(name));
        found.map(|(_, function, ..)| *function).ok_or_else(|| {
            let meant = did_you_mean(name, ALL.iter().map(|(name, ..)| *name));
            format!("there is no function `{name}`{meant}")
        })
    }

    /// How many arguments it takes, at least and at most.
    pub(super) fn arguments(self) -> (usize, usize) {
        ALL.iter()
            .find(|(_, function, ..)| *function == self)
            .map_or((2, 2), |(_, _, least, most)| (*least, *most))
    }

    pub(super) fn call(self, context: &Context<'_>, arguments: &[Node]) -> Evaluation {
        let argument = |index: usize| {
            arguments.get(index).ok_or_else(|| Fault::Table(format!("{self:?} lacks an argument")))
        };
        let text = |index| context.text(argument(index)?);
        let number = |index| integer(context.cell(argument(index)?)?);
        match self {
            Self::Lower => map(&text(0)?, |text| text.to_lowercase()),
            Self::Upper => map(&text(0)?, |text| text.to_uppercase()),
            Self::Trim => map(&text(0)?, |text| text.trim_matches(' ').to_owned()),
            Self::TrimStart => map(&text(0)?, |text| text.trim_start_matches(' ').to_owned()),
            Self::TrimEnd => map(&text(0)?, |text| text.trim_end_matches(' ').to_owned()),
            Self::Length => {
                let text = text(0)?;
                let lengths: Int64Array = text
                    .array
                    .as_string_view()
                    .iter()
                    .map(|text| text.map(|text| text.chars().count() as i64))
                    .collect();
                Ok(Cell::like(Arc::new(lengths), text.scalar))
            }
            Self::Join | Self::Concat => {
                let mut joined = self.shown(context, argument(0)?)?;
                for other in arguments.iter().skip(1) {
                    let other = self.shown(context, other)?;
                    joined = zip2(context, &joined, &other, |a, b| Some(format!("{}{}", a?, b?)))?;
                }
                Ok(joined)
            }
            Self::StartsWith => {
                let (text, prefix) = (text(0)?, text(1)?);
                let scalar = text.scalar && prefix.scalar;
                Ok(Cell::like(Arc::new(arrow_string::like::starts_with(&text, &prefix)?), scalar))
            }
            Self::Replace | Self::Left | Self::Right | Self::Substr | Self::SplitPart => {
                self.part(context, arguments)
            }
            Self::Abs => {
                let cell = numeric(context.cell(argument(0)?)?)?;
                let positive = match cell.arrow() {
                    Arrow::Float64 => {
                        Arc::new(cell.array.as_primitive::<Float64Type>().unary::<_, Float64Type>(f64::abs))
                            as ArrayRef
                    }
                    Arrow::Int64 => {
                        let array = cell.array.as_primitive::<Int64Type>();
                        Arc::new(array.try_unary::<_, Int64Type, _>(|value| {
                            value.checked_abs().ok_or_else(|| {
                                arrow_schema::ArrowError::ArithmeticOverflow(format!(
                                    "abs({value}) does not fit"
                                ))
                            })
                        })?)
                    }
                    _ => {
                        let negative = arrow_arith::numeric::neg(&cell.array)?;
                        let smaller = cmp::lt(&cell.array, &negative)?;
                        arrow_select::zip::zip(&smaller, &negative, &cell.array)?
                    }
                };
                Ok(Cell::like(positive, cell.scalar))
            }
            Self::Ceil => floats(context.cell(argument(0)?)?, f64::ceil),
            Self::Floor => floats(context.cell(argument(0)?)?, f64::floor),
            Self::Round => {
                let value = context.cell(argument(0)?)?;
                let digits = if arguments.len() == 1 { Some(0) } else { digits(&number(1)?)? };
                match digits {
                    Some(digits) => round(value, digits),
                    None => Ok(Cell::one(Arc::new(arrow_array::NullArray::new(1)))),
                }
            }
            Self::Coalesce => {
                let mut open = BooleanArray::from(vec![true; context.len()]);
                let mut branches = Vec::with_capacity(arguments.len());
                for argument in arguments {
                    let (_, cell) = context.branch(open.clone(), argument)?;
                    let values = cell.clone().expand(context.len())?;
                    let hit = boolean::and(&open, &boolean::is_not_null(&values)?)?;
                    open = boolean::and_not(&open, &hit)?;
                    branches.push((hit, cell));
                }
                context.merge(branches)
            }
            Self::NullIf => {
                let value = context.cell(argument(0)?)?;
                let data_type = value.data_type.clone();
                let (left, right) = together(value.clone(), context.cell(argument(1)?)?)?;
                let value = Cell::rows(value.expand(context.len())?);
                if *left.arrow() == Arrow::Null {
                    return Ok(value);
                }
                let left = Cell::rows(left.expand(context.len())?).canonical();
                let same = cmp::eq(&left, &right.canonical())?;
                let array = arrow_select::nullif::nullif(&value.array, &true_only(&same))?;
                Ok(Cell { data_type, ..Cell::rows(array) })
            }
            Self::TableName => Ok(one_text(context.batch.table().name())),
            Self::SchemaName => Ok(match context.batch.table().schema() {
                Some(schema) => one_text(schema),
                None => Cell::one(Arc::new(StringViewArray::from(vec![None::<&str>]))),
            }),
            Self::InputName => Ok(inputs(context, |input| Some(input.name()))),
            Self::Topic => Ok(inputs(context, crate::Input::topic)),
            Self::Partition => {
                let origin = context.batch.origin();
                let partition = |row| origin.input(row).and_then(|input| input.partition());
                let partitions: arrow_array::Int32Array = context.row_numbers().map(partition).collect();
                Ok(Cell::rows(Arc::new(partitions)))
            }
            Self::MessageHeader => {
                let names = context.text(argument(0)?)?.cast(&Arrow::Utf8View)?.expand(context.len())?;
                let names = names.as_string_view();
                let origin = context.batch.origin();
                let value = |(row, name): (usize, Option<&str>)| {
                    let message = origin.input(row)?.message()?;
                    std::str::from_utf8(message.header(name?)?).ok().map(str::to_owned)
                };
                let values: StringViewArray = context.row_numbers().zip(names.iter()).map(value).collect();
                Ok(Cell::rows(Arc::new(values)))
            }
            Self::MessageKey => Ok(inputs(context, |input| {
                input.message()?.key.as_deref().and_then(|key| std::str::from_utf8(key).ok())
            })),
            Self::MessageOffset => {
                let offsets: Int64Array = messages(context, |message| message.offset);
                Ok(Cell::rows(Arc::new(offsets)))
            }
            Self::MessageTime => {
                let times: TimestampMillisecondArray = messages(context, |message| message.timestamp);
                Ok(Cell::rows(Arc::new(times.with_timezone("UTC"))))
            }
            Self::LineNumber => positions(context, |position| (position.line > 0).then_some(position.line)),
            Self::ByteOffset => positions(context, |position| Some(position.byte)),
            Self::RecordNumber => {
                positions(context, |position| (position.record > 0).then_some(position.record))
            }
            Self::Now => Ok(context.now()),
        }
    }

    /// Any value as text; for `concat`, nothing where there is none.
    fn shown(self, context: &Context<'_>, node: &Node) -> Evaluation {
        let cell = context.cell(node)?.cast(&Arrow::Utf8View)?;
        if self == Self::Join || cell.array.null_count() == 0 {
            return Ok(cell);
        }
        let filled: StringViewArray =
            cell.array.as_string_view().iter().map(|text| Some(text.unwrap_or_default())).collect();
        Ok(Cell::like(Arc::new(filled), cell.scalar))
    }

    /// `replace`, `left`, `right`, `substr`, `split_part`: counted in characters, from 1, as PostgreSQL counts.
    fn part(self, context: &Context<'_>, arguments: &[Node]) -> Evaluation {
        let rows = context.len();
        let mut cells = Vec::with_capacity(arguments.len());
        for (index, argument) in arguments.iter().enumerate() {
            let is_text = index == 0 || self == Self::Replace || self == Self::SplitPart && index == 1;
            let cell = if is_text { context.text(argument)? } else { integer(context.cell(argument)?)? };
            cells.push(cell.expand(rows)?);
        }
        let text_at = |index: usize, row: usize| {
            let array = cells.get(index)?.as_string_view_opt()?;
            array.is_valid(row).then(|| array.value(row))
        };
        let number_at = |index: usize, row: usize| {
            let array = cells.get(index)?.as_primitive_opt::<Int64Type>()?;
            array.is_valid(row).then(|| array.value(row))
        };
        let mut parts = StringViewBuilder::with_capacity(rows);
        for row in 0..rows {
            let part = text_at(0, row).and_then(|text| match self {
                Self::Left => Some(ends(text, number_at(1, row)?, false).into()),
                Self::Right => Some(ends(text, number_at(1, row)?, true).into()),
                Self::Replace => match (text_at(1, row)?, text_at(2, row)?) {
                    ("", _) => Some(text.into()),
                    (old, new) => Some(Cow::Owned(text.replace(old, new))),
                },
                Self::SplitPart => {
                    let (separator, wanted) = (text_at(1, row)?, number_at(2, row)?);
                    Some(nth(text, separator, wanted).into())
                }
                _ => {
                    let from = number_at(1, row)?;
                    let until = match arguments.len() {
                        2 => i64::MAX,
                        _ => from.saturating_add(number_at(2, row)?.max(0)),
                    };
                    Some(chars(text, from.saturating_sub(1), until.saturating_sub(1)).into())
                }
            });
            parts.append_option(part);
        }
        Ok(Cell::rows(Arc::new(parts.finish())))
    }
}

/// The characters of `text` from `from` to before `until`, counted from 0.
fn chars(text: &str, from: i64, until: i64) -> &str {
    let place = |n: i64| match usize::try_from(n) {
        Err(_) => 0,
        Ok(n) => text.char_indices().nth(n).map_or(text.len(), |(place, _)| place),
    };
    let (from, until) = (place(from), place(until));
    text.get(from..until.max(from)).unwrap_or_default()
}

/// The first or last `count` characters, or all but `-count`.
fn ends(text: &str, count: i64, last: bool) -> &str {
    let all = text.chars().count() as i64;
    let taken = if count < 0 { (all + count).max(0) } else { count.min(all) };
    if last { chars(text, all - taken, all) } else { chars(text, 0, taken) }
}

/// The `wanted`-th part of `text`, counted from 1, or from -1 at the end.
fn nth<'a>(text: &'a str, separator: &str, wanted: i64) -> &'a str {
    if separator.is_empty() {
        return if matches!(wanted, 1 | -1) { text } else { "" };
    }
    match wanted {
        0 => "",
        1.. => text.split(separator).nth(wanted as usize - 1).unwrap_or_default(),
        _ => text.rsplit(separator).nth(wanted.unsigned_abs() as usize - 1).unwrap_or_default(),
    }
}

fn one_text(text: &str) -> Cell {
    Cell::one(Arc::new(StringViewArray::from(vec![text])))
}

fn map(cell: &Cell, change: impl Fn(&str) -> String) -> Evaluation {
    let mut texts = StringViewBuilder::with_capacity(cell.array.len());
    for text in cell.array.as_string_view() {
        texts.append_option(text.map(&change));
    }
    Ok(Cell::like(Arc::new(texts.finish()), cell.scalar))
}

/// A text out of two, row by row.
fn zip2(
    context: &Context<'_>,
    left: &Cell,
    right: &Cell,
    make: impl Fn(Option<&str>, Option<&str>) -> Option<String>,
) -> Evaluation {
    let scalar = left.scalar && right.scalar;
    let rows = if scalar { 1 } else { context.len() };
    let at = |cell: &Cell, row: usize| if cell.scalar { 0 } else { row };
    let (a, b) = (left.array.as_string_view(), right.array.as_string_view());
    let mut texts = StringViewBuilder::with_capacity(rows);
    for row in 0..rows {
        let (a, b) = (text_of(a, at(left, row)), text_of(b, at(right, row)));
        texts.append_option(make(a, b));
    }
    Ok(Cell::like(Arc::new(texts.finish()), scalar))
}

fn text_of(texts: &StringViewArray, row: usize) -> Option<&str> {
    texts.is_valid(row).then(|| texts.value(row))
}

fn integer(cell: Cell) -> Evaluation {
    if cell.arrow().is_integer() || *cell.arrow() == Arrow::Null {
        return cell.cast(&Arrow::Int64);
    }
    Err(Fault::Table(format!("{} stands where a whole number belongs", cell.named())))
}

/// Integers as i64, floats as f64, decimals as they are.
fn numeric(cell: Cell) -> Evaluation {
    let kept_as_text = matches!(cell.data_type, Some(crate::DataType::Numeric(_))) && is_text(cell.arrow());
    match cell.arrow() {
        Arrow::Null => cell.cast(&Arrow::Float64),
        other if other.is_decimal() => Ok(cell),
        Arrow::UInt64 => cell.cast(&Arrow::Decimal128(20, 0)),
        other if other.is_integer() => cell.cast(&Arrow::Int64),
        other if other.is_floating() || kept_as_text => cell.cast(&Arrow::Float64),
        _ => Err(Fault::Table(format!("{} stands where a number belongs", cell.named()))),
    }
}

/// `change` on floats; whole numbers are whole already.
fn floats(cell: Cell, change: impl Fn(f64) -> f64) -> Evaluation {
    let cell = numeric(cell)?;
    let cell = match cell.arrow() {
        Arrow::Int64 => return Ok(cell),
        Arrow::Float64 => cell,
        _ => cell.cast(&Arrow::Float64)?,
    };
    let changed = cell.array.as_primitive::<Float64Type>().unary::<_, Float64Type>(change);
    Ok(Cell::like(Arc::new(changed), cell.scalar))
}

/// A number of digits, which is one for all rows.
fn digits(cell: &Cell) -> Result<Option<i32>, Fault> {
    let array = cell.array.as_primitive::<Int64Type>();
    match (cell.scalar, array.iter().next().flatten()) {
        (true, Some(digits @ -18..=300)) => Ok(Some(digits as i32)),
        (true, None) => Ok(None),
        _ => Err(Fault::Table("round takes one number of digits for all rows, from -18 on".to_owned())),
    }
}

/// Rounds as PostgreSQL does it: decimals and whole numbers away from zero, floats to the even digit.
fn round(cell: Cell, digits: i32) -> Evaluation {
    let cell = numeric(cell)?;
    match *cell.arrow() {
        Arrow::Decimal128(precision, scale) if digits >= 0 => {
            let kept = i8::try_from(digits).unwrap_or(scale).min(scale);
            cell.cast(&Arrow::Decimal128(precision, kept))
        }
        Arrow::Decimal256(precision, scale) if digits >= 0 => {
            let kept = i8::try_from(digits).unwrap_or(scale).min(scale);
            cell.cast(&Arrow::Decimal256(precision, kept))
        }
        Arrow::Int64 if digits < 0 => {
            let unit = 10i128.pow(digits.unsigned_abs());
            let rounded = cell.array.as_primitive::<Int64Type>().try_unary::<_, Int64Type, _>(|value| {
                let half = if value < 0 { -unit / 2 } else { unit / 2 };
                i64::try_from((i128::from(value) + half) / unit * unit).map_err(|_| {
                    arrow_schema::ArrowError::ArithmeticOverflow(format!(
                        "round({value}, {digits}) does not fit"
                    ))
                })
            })?;
            Ok(Cell::like(Arc::new(rounded), cell.scalar))
        }
        _ if digits == 0 => floats(cell, f64::round_ties_even),
        _ => {
            let factor = 10f64.powi(digits);
            floats(cell, move |value| (value * factor).round() / factor)
        }
    }
}

/// A text that each row's input has.
fn inputs(context: &Context<'_>, text: impl Fn(&crate::Input) -> Option<&str>) -> Cell {
    let origin = context.batch.origin();
    let mut texts = StringViewBuilder::with_capacity(context.len()).with_deduplicate_strings();
    for row in context.row_numbers() {
        texts.append_option(origin.input(row).and_then(|input| text(input)));
    }
    Cell::rows(Arc::new(texts.finish()))
}

/// A number that each row's message has.
fn messages<A: FromIterator<Option<i64>>>(
    context: &Context<'_>,
    number: impl Fn(&crate::Metadata) -> Option<i64>,
) -> A {
    let origin = context.batch.origin();
    let of = |row| origin.input(row).and_then(|input| input.message()).and_then(|message| number(message));
    context.row_numbers().map(of).collect()
}

fn positions(context: &Context<'_>, wanted: impl Fn(crate::Position) -> Option<u64>) -> Evaluation {
    let origin = context.batch.origin();
    let numbers: Int64Array = context
        .row_numbers()
        .map(|row| origin.position(row).and_then(&wanted).and_then(|number| i64::try_from(number).ok()))
        .collect();
    Ok(Cell::rows(Arc::new(numbers)))
}
