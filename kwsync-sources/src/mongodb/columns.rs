//! Documents into columns.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_array::builder::{
    ArrayBuilder, BinaryViewBuilder, BooleanBuilder, Decimal128Builder, Decimal256Builder,
    FixedSizeBinaryBuilder, Float64Builder, Int32Builder, Int64Builder, StringViewBuilder,
    TimestampMillisecondBuilder,
};
use kwsync_core::arrow::buffer::i256;
use kwsync_core::arrow::schema::DataType as Arrow;
use kwsync_core::{Column as SchemaColumn, DataType, Error, ErrorKind, Result, Schema, TimeUnit};
use serde::{Deserialize, Serialize};

use super::bson::{Broken, Doc, Elem, NO_NAME, decimal, hex, unhex};

/// Bytes of a block of text. Left to itself a builder grows them to 2 MiB, of which each column of each batch keeps one alive.
const BLOCK_BYTES: u32 = 64 << 10;
/// Up to this every whole number has a float.
const EXACT: i64 = 1 << 53;

/// What a column holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Of(DataType),
    /// The items of an array with this between them.
    Joined(String),
}

impl Target {
    pub(super) fn date() -> Self {
        Self::Of(DataType::TimestampTz(TimeUnit::Millisecond))
    }

    pub(super) fn data_type(&self) -> DataType {
        match self {
            Self::Of(of) => of.clone(),
            Self::Joined(_) => DataType::Text,
        }
    }

    /// Whether columns can be of a type.
    pub(super) fn is_known(of: &DataType) -> bool {
        Builder::of(of).is_some()
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Of(of) => of.fmt(f),
            Self::Joined(between) => write!(f, "array({between:?})"),
        }
    }
}

/// A column, as a split has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Column {
    /// The field, or the path of one; and what the column is called.
    pub(super) name: String,
    of: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    splitter: Option<String>,
    #[serde(default)]
    pub(super) key: bool,
}

impl Column {
    pub(super) fn new(name: impl Into<String>, target: &Target) -> Self {
        let splitter = if let Target::Joined(between) = target { Some(between.clone()) } else { None };
        Self { name: name.into(), of: target.data_type().to_string(), splitter, key: false }
    }

    pub(super) fn target(&self) -> Result<Target> {
        match &self.splitter {
            Some(between) => Ok(Target::Joined(between.clone())),
            None => self.of.parse().map(Target::Of),
        }
    }
}

/// The schema of columns.
pub(super) fn schema(columns: &[Column]) -> Result<Arc<Schema>> {
    let columns = columns.iter().map(|column| {
        let made = SchemaColumn::new(column.name.as_str(), column.target()?.data_type());
        Ok(if column.key { made.with_nullable(false).with_key(1, 1) } else { made })
    });
    Ok(Arc::new(Schema::new(columns.collect::<Result<_>>()?)?))
}

/// Why a document cannot be a row.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) code: &'static str,
    pub(super) reason: String,
}

/// Where the fields of a document go.
#[derive(Debug, Default)]
struct Places {
    names: Vec<(String, Place)>,
    by_name: HashMap<String, usize>,
}

#[derive(Debug, Default)]
struct Place {
    column: Option<usize>,
    within: Option<Places>,
}

impl Places {
    fn add(&mut self, path: &str, column: usize) {
        let (name, rest) = match path.split_once('.') {
            Some((name, rest)) => (name, Some(rest)),
            None => (path, None),
        };
        let next = self.names.len();
        let at = *self.by_name.entry(name.to_owned()).or_insert(next);
        if at == next {
            self.names.push((name.to_owned(), Place::default()));
        }
        let Some((_, place)) = self.names.get_mut(at) else { return };
        match rest {
            Some(rest) => place.within.get_or_insert_default().add(rest, column),
            None => place.column = Some(column),
        }
    }

    /// The place of a name; documents mostly have theirs in one order, so the one behind the last is tried first.
    fn find(&self, name: &str, next: usize) -> Option<(usize, &Place)> {
        let at = match self.names.get(next) {
            Some((known, _)) if known == name => next,
            _ => *self.by_name.get(name)?,
        };
        self.names.get(at).map(|(_, place)| (at, place))
    }
}

/// A value on its way into its column.
#[derive(Debug)]
enum Cell<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Cow<'a, str>),
    Bytes(Cow<'a, [u8]>),
    Decimal(i256),
}

enum Builder {
    Bool(BooleanBuilder),
    I32(Int32Builder),
    I64(Int64Builder),
    F64(Float64Builder),
    Text(StringViewBuilder),
    Bytes(BinaryViewBuilder),
    Uuid(FixedSizeBinaryBuilder),
    Millis(TimestampMillisecondBuilder),
    Decimal128(Decimal128Builder),
    Decimal256(Decimal256Builder),
}

impl Builder {
    fn of(of: &DataType) -> Option<Self> {
        let arrow = of.to_arrow();
        Some(match (of, arrow.clone()) {
            (_, Arrow::Boolean) => Self::Bool(BooleanBuilder::new()),
            (_, Arrow::Int32) => Self::I32(Int32Builder::new()),
            (_, Arrow::Int64) => Self::I64(Int64Builder::new()),
            (_, Arrow::Float64) => Self::F64(Float64Builder::new()),
            (
                DataType::Text
                | DataType::VarChar(_)
                | DataType::Json
                | DataType::Jsonb
                | DataType::Numeric(_),
                Arrow::Utf8View,
            ) => Self::Text(StringViewBuilder::new().with_fixed_block_size(BLOCK_BYTES)),
            (_, Arrow::BinaryView) => {
                Self::Bytes(BinaryViewBuilder::new().with_fixed_block_size(BLOCK_BYTES))
            }
            (DataType::Uuid, _) => Self::Uuid(FixedSizeBinaryBuilder::new(16)),
            (DataType::TimestampTz(TimeUnit::Millisecond), _) => {
                Self::Millis(TimestampMillisecondBuilder::new().with_data_type(arrow))
            }
            (_, Arrow::Decimal128(..)) => Self::Decimal128(Decimal128Builder::new().with_data_type(arrow)),
            (_, Arrow::Decimal256(..)) => Self::Decimal256(Decimal256Builder::new().with_data_type(arrow)),
            _ => return None,
        })
    }

    fn push(&mut self, cell: &Cell<'_>) -> bool {
        match (self, cell) {
            (Self::Bool(to), Cell::Bool(value)) => to.append_value(*value),
            (Self::I32(to), Cell::Int(value)) => to.append_option(i32::try_from(*value).ok()),
            (Self::I64(to), Cell::Int(value)) => to.append_value(*value),
            (Self::Millis(to), Cell::Int(value)) => to.append_value(*value),
            (Self::F64(to), Cell::Float(value)) => to.append_value(*value),
            (Self::Text(to), Cell::Text(value)) => to.append_value(value),
            (Self::Bytes(to), Cell::Bytes(value)) => to.append_value(value),
            (Self::Uuid(to), Cell::Bytes(value)) => return to.append_value(value).is_ok(),
            (Self::Decimal128(to), Cell::Decimal(value)) => to.append_option(value.to_i128()),
            (Self::Decimal256(to), Cell::Decimal(value)) => to.append_value(*value),
            (Self::Bool(to), _) => to.append_null(),
            (Self::I32(to), _) => to.append_null(),
            (Self::I64(to), _) => to.append_null(),
            (Self::F64(to), _) => to.append_null(),
            (Self::Text(to), _) => to.append_null(),
            (Self::Bytes(to), _) => to.append_null(),
            (Self::Uuid(to), _) => to.append_null(),
            (Self::Millis(to), _) => to.append_null(),
            (Self::Decimal128(to), _) => to.append_null(),
            (Self::Decimal256(to), _) => to.append_null(),
        }
        true
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Bool(from) => ArrayBuilder::finish(from),
            Self::I32(from) => ArrayBuilder::finish(from),
            Self::I64(from) => ArrayBuilder::finish(from),
            Self::F64(from) => ArrayBuilder::finish(from),
            Self::Text(from) => ArrayBuilder::finish(from),
            Self::Bytes(from) => ArrayBuilder::finish(from),
            Self::Uuid(from) => ArrayBuilder::finish(from),
            Self::Millis(from) => ArrayBuilder::finish(from),
            Self::Decimal128(from) => ArrayBuilder::finish(from),
            Self::Decimal256(from) => ArrayBuilder::finish(from),
        }
    }
}

/// Columns under construction.
pub(super) struct Columns {
    places: Places,
    targets: Vec<Target>,
    names: Vec<String>,
    builders: Vec<Builder>,
    strict: bool,
    rows: usize,
    bytes: usize,
}

impl Columns {
    /// With `strict` a field that no column is of is a fault.
    pub(super) fn new(columns: &[Column], strict: bool) -> Result<Self> {
        let mut places = Places::default();
        let (mut targets, mut builders) = (Vec::new(), Vec::new());
        for (at, column) in columns.iter().enumerate() {
            places.add(&column.name, at);
            let target = column.target()?;
            builders.push(Builder::of(&target.data_type()).ok_or_else(|| {
                Error::new(ErrorKind::Internal, format!("column {:?}: no way to {target}", column.name))
            })?);
            targets.push(target);
        }
        let names = columns.iter().map(|column| column.name.clone()).collect();
        Ok(Self { places, targets, names, builders, strict, rows: 0, bytes: 0 })
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds a document as a row, or says why it is none; nothing has been added then.
    pub(super) fn push(&mut self, doc: Doc<'_>) -> Result<Result<(), Fault>, Broken> {
        let mut cells: Vec<Cell<'_>> = self.targets.iter().map(|_| Cell::Null).collect();
        let took = self.take(&self.places, doc, "", &mut cells)?;
        if let Err(fault) = took {
            return Ok(Err(fault));
        }
        for (builder, cell) in self.builders.iter_mut().zip(&cells) {
            self.bytes += match cell {
                Cell::Text(text) => text.len() + 16,
                Cell::Bytes(bytes) => bytes.len() + 16,
                _ => 9,
            };
            if !builder.push(cell) {
                return Err(Broken);
            }
        }
        self.rows += 1;
        Ok(Ok(()))
    }

    fn take<'a>(
        &self,
        places: &Places,
        doc: Doc<'a>,
        above: &str,
        cells: &mut [Cell<'a>],
    ) -> Result<Result<(), Fault>, Broken> {
        let mut next = 0;
        for found in doc.elems() {
            let (name, elem) = found?;
            let Some((at, place)) = places.find(name, next) else {
                if let (NO_NAME, Elem::Ill(bytes), true) = (name, elem, self.strict) {
                    let reason = format!("a field's name within {above:?} is not UTF-8: \\x{}", hex(bytes));
                    return Ok(Err(Fault { code: "bad_utf8", reason }));
                }
                if self.strict {
                    let reason = format!(
                        "the field {above}{name} is none of the columns that were inferred; sample=0 looks at all documents, \
                         unknown_fields=ignore leaves it out"
                    );
                    return Ok(Err(Fault { code: "unknown_field", reason }));
                }
                continue;
            };
            next = at + 1;
            if let Some(column) = place.column {
                let (Some(target), Some(cell)) = (self.targets.get(column), cells.get_mut(column)) else {
                    continue;
                };
                match convert(elem, target)? {
                    Some(value) => *cell = value,
                    None => {
                        let name = self.names.get(column).map(String::as_str).unwrap_or_default();
                        let mut value = String::new();
                        let whole = elem.json(&mut value)?;
                        let value: String = value.chars().take(200).collect();
                        let reason = format!(
                            "column {name:?}: {value} is {}, and the column is {target}",
                            elem.kind()
                        );
                        if !whole {
                            let reason = format!("column {name:?}: text that is not UTF-8: {value}");
                            return Ok(Err(Fault { code: "bad_utf8", reason }));
                        }
                        return Ok(Err(Fault { code: "type_conflict", reason }));
                    }
                }
            }
            match (&place.within, elem) {
                (Some(within), Elem::Doc(inner)) => {
                    if let Err(fault) = self.take(within, inner, &format!("{above}{name}."), cells)? {
                        return Ok(Err(fault));
                    }
                }
                // What is no document has no fields; where nothing else takes it, it would be lost.
                (Some(_), elem) if place.column.is_none() && elem != Elem::Null && self.strict => {
                    let reason = format!(
                        "the field {above}{name} is {}, and a document where columns were inferred",
                        elem.kind()
                    );
                    return Ok(Err(Fault { code: "type_conflict", reason }));
                }
                _ => {}
            }
        }
        Ok(Ok(()))
    }

    /// The rows.
    pub(super) fn finish(&mut self) -> Vec<ArrayRef> {
        (self.rows, self.bytes) = (0, 0);
        self.builders.iter_mut().map(Builder::finish).collect()
    }
}

/// A value as its column has it, where that is exact.
fn convert<'a>(elem: Elem<'a>, target: &Target) -> Result<Option<Cell<'a>>, Broken> {
    if elem == Elem::Null {
        return Ok(Some(Cell::Null));
    }
    let of = match target {
        Target::Of(of) => of,
        Target::Joined(between) => return joined(elem, between),
    };
    Ok(match of {
        DataType::Bool => match elem {
            Elem::Bool(value) => Some(Cell::Bool(value)),
            Elem::Text(text) => text.trim().parse().ok().map(Cell::Bool),
            _ => None,
        },
        DataType::Int32 => integer(elem).filter(|value| i32::try_from(*value).is_ok()).map(Cell::Int),
        DataType::Int64 => integer(elem).map(Cell::Int),
        DataType::Float64 => match elem {
            Elem::Double(value) => Some(Cell::Float(value)),
            Elem::Int32(value) => Some(Cell::Float(value.into())),
            Elem::Int64(value) if (-EXACT..=EXACT).contains(&value) => Some(Cell::Float(value as f64)),
            Elem::Text(text) => float(text.trim()).map(Cell::Float),
            _ => None,
        },
        DataType::TimestampTz(_) => match elem {
            Elem::Date(millis) => Some(Cell::Int(millis)),
            Elem::Timestamp(seconds, 0) => Some(Cell::Int(i64::from(seconds) * 1000)),
            Elem::ObjectId(_) => None,
            Elem::Text(text) => kwsync_formats::nanoseconds(text.trim())
                .filter(|nanos| nanos % 1_000_000 == 0)
                .and_then(|nanos| i64::try_from(nanos / 1_000_000).ok())
                .map(Cell::Int),
            _ => None,
        },
        DataType::Numeric(bounds) => match (numeric(elem), bounds) {
            (Some(text), Some((precision, scale))) => scaled(&text, *precision, *scale).map(Cell::Decimal),
            (Some(text), None) => Some(Cell::Text(text.into())),
            (None, _) => None,
        },
        DataType::Bytes | DataType::VarBytes(_) => match elem {
            Elem::Binary(_, bytes) => Some(Cell::Bytes(bytes.into())),
            Elem::ObjectId(id) => Some(Cell::Bytes(id[..].into())),
            _ => None,
        },
        DataType::Uuid => match elem {
            Elem::Binary(4, bytes) if bytes.len() == 16 => Some(Cell::Bytes(bytes.into())),
            Elem::Text(text) => {
                let digits: String = text.chars().filter(|c| *c != '-').collect();
                unhex(&digits).filter(|bytes| bytes.len() == 16).map(|bytes| Cell::Bytes(bytes.into()))
            }
            _ => None,
        },
        DataType::Json | DataType::Jsonb => json(elem)?.map(|text| Cell::Text(text.into())),
        _ => match elem {
            Elem::Text(text) => Some(Cell::Text(text.into())),
            elem => plain(elem)?.map(|text| Cell::Text(text.into())),
        },
    })
}

/// The value as JSON; none where a text in it is not UTF-8.
fn json(elem: Elem<'_>) -> Result<Option<String>, Broken> {
    let mut out = String::new();
    let whole = elem.json(&mut out)?;
    Ok(whole.then_some(out))
}

/// The text of a value; JSON where it is several.
fn plain(elem: Elem<'_>) -> Result<Option<String>, Broken> {
    match elem.text() {
        Some(text) => Ok(Some(text)),
        None => json(elem),
    }
}

fn joined<'a>(elem: Elem<'a>, between: &str) -> Result<Option<Cell<'a>>, Broken> {
    let Elem::Array(items) = elem else {
        return Ok(plain(elem)?.map(|text| Cell::Text(text.into())));
    };
    let mut out = String::new();
    for (nth, found) in items.elems().enumerate() {
        let (_, item) = found?;
        if nth > 0 {
            out.push_str(between);
        }
        if item != Elem::Null {
            let Some(text) = plain(item)? else { return Ok(None) };
            out.push_str(&text);
        }
    }
    Ok(Some(Cell::Text(out.into())))
}

/// A number whose digits come back from the float that it is.
fn float(text: &str) -> Option<f64> {
    let value: f64 = text.parse().ok()?;
    if !text.bytes().any(|byte| byte.is_ascii_digit()) {
        // NaN and the infinities by their names.
        return Some(value);
    }
    (value.is_finite() && significant(text)? == significant(&value.to_string())?).then_some(value)
}

/// The digits of a number without zeros at either end, and the place of the first one.
fn significant(text: &str) -> Option<(String, i64)> {
    let (number, power) = match text.split_once(['e', 'E']) {
        Some((number, power)) => (number, power.parse::<i64>().ok()?),
        None => (text, 0),
    };
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let whole = whole.trim_start_matches(['-', '+']);
    let digits = format!("{whole}{part}");
    let zeros = digits.len() - digits.trim_start_matches('0').len();
    let kept = digits.trim_matches('0').to_owned();
    let place = if kept.is_empty() { 0 } else { power + whole.len() as i64 - zeros as i64 };
    Some((kept, place))
}

fn integer(elem: Elem<'_>) -> Option<i64> {
    match elem {
        Elem::Int32(value) => Some(value.into()),
        Elem::Int64(value) => Some(value),
        Elem::Double(value) if value.fract() == 0.0 && value.abs() <= EXACT as f64 => Some(value as i64),
        Elem::Decimal(bytes) => {
            let text = decimal(bytes);
            let whole = match text.split_once('.') {
                Some((whole, part)) if part.bytes().all(|digit| digit == b'0') => whole,
                Some(_) => return None,
                None => &text,
            };
            whole.parse().ok()
        }
        Elem::Text(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// Digits of a number that is exact.
fn numeric(elem: Elem<'_>) -> Option<String> {
    match elem {
        Elem::Int32(value) => Some(value.to_string()),
        Elem::Int64(value) => Some(value.to_string()),
        Elem::Decimal(bytes) => Some(decimal(bytes)),
        Elem::Double(value) if value.fract() == 0.0 && value.abs() <= EXACT as f64 => {
            Some((value as i64).to_string())
        }
        Elem::Text(text) => {
            let text = text.trim();
            let digits = text.strip_prefix('-').unwrap_or(text);
            let plain = digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
                && digits.starts_with(|c: char| c.is_ascii_digit())
                && digits.bytes().filter(|byte| *byte == b'.').count() <= 1;
            plain.then(|| text.to_owned())
        }
        _ => None,
    }
}

/// A number as an integer of `scale` digits behind the point.
fn scaled(text: &str, precision: u16, scale: i16) -> Option<i256> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let scale = usize::try_from(scale).ok()?;
    let part = if part.len() > scale { part.trim_end_matches('0') } else { part };
    if part.len() > scale {
        return None;
    }
    let digits = format!("{whole}{part:0<scale$}");
    let significant = digits.trim_start_matches(['-', '0']).len();
    if significant > usize::from(precision) {
        return None;
    }
    i256::from_string(&digits)
}
