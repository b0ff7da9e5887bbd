//! What a reader may choose, and fields into columns.

use kwsync_core::{Column, DataType, Role, TableId, TimeUnit};

use super::options::{DelimitedOptions, Form};
use super::split::Field;
use crate::Limits;
use crate::build::{Cell, Chunk, Data, Kind, Misfit, Str, Table};
use crate::influx::number::{self, Number};
use crate::influx::scan::Window;

/// Where the types of columns come from that are not given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Types {
    /// The first thousand records, or 256 KiB of them: bool, i64, f64, date, timestamp, else text.
    #[default]
    Infer,
    /// All are text.
    Text,
}

/// A column whose name is given, and perhaps its type.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Given {
    name: String,
    column: Option<Column>,
}

impl Given {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn has_type(&self) -> bool {
        self.column.is_some()
    }

    pub(super) fn column(&self) -> Column {
        self.column.clone().unwrap_or_else(|| Column::new(self.name.as_str(), DataType::Text))
    }
}

/// What is read, beside how it is written.
#[derive(Debug, Clone)]
pub struct ReadOptions {
    pub(super) table: Option<TableId>,
    pub(super) columns: Vec<Given>,
    pub(super) types: Types,
    pub(super) time: Option<String>,
    pub(super) tags: Vec<String>,
    pub(super) precision: TimeUnit,
    pub(super) limits: Limits,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self {
            table: None,
            columns: Vec::new(),
            types: Types::Infer,
            time: None,
            tags: Vec::new(),
            precision: TimeUnit::Nanosecond,
            limits: Limits::default(),
        }
    }
}

impl ReadOptions {
    /// Everything as it comes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The table (default: the name of the file without its endings, else `input`).
    #[must_use]
    pub fn with_table(mut self, table: impl Into<TableId>) -> Self {
        self.table = Some(table.into());
        self
    }

    /// A column, after those named before, and its type; without one it is found out. With a header the types are
    /// those of the columns of these names, in whatever order they stand.
    #[must_use]
    pub fn with_column(mut self, name: impl Into<String>, data_type: Option<DataType>) -> Self {
        let name = name.into();
        let column = data_type.map(|data_type| Column::new(name.as_str(), data_type));
        self.columns.push(Given { name, column });
        self
    }

    /// All columns of a schema, with their types and roles.
    #[must_use]
    pub fn with_schema(mut self, schema: &kwsync_core::Schema) -> Self {
        let given = |column: &Column| Given { name: column.name().to_owned(), column: Some(column.clone()) };
        self.columns.extend(schema.columns().iter().map(given));
        self
    }

    /// Where types come from that are not given.
    #[must_use]
    pub const fn with_types(mut self, types: Types) -> Self {
        self.types = types;
        self
    }

    /// The column that is the row's time.
    #[must_use]
    pub fn with_time(mut self, column: impl Into<String>) -> Self {
        self.time = Some(column.into());
        self
    }

    /// A column that is a tag.
    #[must_use]
    pub fn with_tag(mut self, column: impl Into<String>) -> Self {
        self.tags.push(column.into());
        self
    }

    /// What integers count in columns of timestamps (default nanoseconds).
    #[must_use]
    pub const fn with_precision(mut self, unit: TimeUnit) -> Self {
        self.precision = unit;
        self
    }

    /// Bounds of memory.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    pub(super) fn role_of(&self, name: &str) -> Role {
        if self.time.as_deref() == Some(name) {
            Role::Timestamp
        } else if self.tags.iter().any(|tag| tag == name) {
            Role::Tag
        } else {
            Role::Field
        }
    }
}

/// The table that a file is named after: `/data/cpu.csv.gz` is `cpu`.
pub(super) fn table_of(split: &str) -> TableId {
    let file = split.rsplit(['/', '\\']).next().unwrap_or_default();
    let name = file.trim_start_matches('.').split('.').next().unwrap_or_default();
    TableId::new(if name.is_empty() || name == "-" { "input" } else { name })
}

impl DelimitedOptions {
    /// Whether the field is a null.
    #[inline(always)]
    pub(super) fn is_null(&self, field: &Field, data: &[u8], force: bool, force_not: bool) -> bool {
        let null = self.null.as_bytes();
        if field.end - field.start != null.len() || (!null.is_empty() && field.of(data) != null) {
            return false;
        }
        match self.form {
            Form::Text => true,
            Form::Csv if field.escaped => false,
            Form::Csv if field.quoted => force,
            Form::Csv => !force_not,
        }
    }
}

/// A column, and what its fields need.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slot {
    pub(super) column: u32,
    pub(super) plain: Plain,
    pub(super) force_null: bool,
    pub(super) force_not_null: bool,
}

/// Types whose values mostly go straight into the column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plain {
    Int64,
    Float64,
    Text,
    None,
}

impl Plain {
    pub(super) fn of(column: Option<&Column>) -> Self {
        match column.map(Column::data_type) {
            Some(DataType::Int64) => Self::Int64,
            Some(DataType::Float64) => Self::Float64,
            Some(DataType::Text) => Self::Text,
            _ => Self::None,
        }
    }
}

/// Puts a field that stands in the chunk into a column that is filled up to the row in hand. False if that takes
/// more; then nothing has changed.
#[inline(always)]
pub(super) fn push_plain(table: &mut Table, slot: &Slot, chunk: Chunk<'_>, field: &Field) -> bool {
    let Some(column) = table.columns.get_mut(slot.column as usize) else { return false };
    let (data, start, len) = (chunk.bytes, field.start, field.end - field.start);
    match (slot.plain, &mut column.data) {
        (Plain::Int64, Data::I64(values)) => {
            let short = Window::new(data, start).and_then(|window| number::short_digits(window, 0));
            match short.filter(|(_, end)| *end == len) {
                Some((value, _)) => values.push(value),
                None => match number::integer(data, start) {
                    (Some(value), end) if end == field.end => values.push(value),
                    _ => return false,
                },
            }
        }
        (Plain::Float64, Data::F64(values)) => {
            let short = Window::new(data, start).and_then(|window| number::short_float(window, 0));
            match short.filter(|(_, end)| *end == len) {
                Some((value, _)) => values.push(value),
                None => match number::number(data, start) {
                    Ok((Number::F64(value), end)) if end == field.end => values.push(value),
                    _ => return false,
                },
            }
        }
        (Plain::Text, Data::Text(values)) => values.push_ref(chunk, field.start, field.end),
        _ => return false,
    }
    true
}

/// PostgreSQL's words for floats that are no numbers.
fn special(text: &[u8]) -> Option<f64> {
    let is = |word: &str| text.eq_ignore_ascii_case(word.as_bytes());
    match text.first()? {
        b'n' | b'N' if is("nan") => Some(f64::NAN),
        b'i' | b'I' if is("infinity") || is("inf") => Some(f64::INFINITY),
        b'-' if is("-infinity") || is("-inf") => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

/// PostgreSQL's other words for a boolean.
fn boolean(text: &[u8]) -> Option<&'static [u8]> {
    let is = |words: &[&str]| words.iter().any(|word| text.eq_ignore_ascii_case(word.as_bytes()));
    if is(&["true", "t", "yes", "y", "on", "1"]) {
        return Some(b"t");
    }
    is(&["false", "f", "no", "n", "off", "0"]).then_some(b"f")
}

/// A year before the first one as a number: `0044-03-15 BC` is `-0043-03-15`.
fn before_christ(text: &[u8]) -> Option<Vec<u8>> {
    let rest = std::str::from_utf8(text.strip_suffix(b" BC")?).ok()?;
    let (year, rest) = rest.split_once('-')?;
    let year: i64 = year.parse().ok()?;
    let sign = if year > 1 { "-" } else { "" };
    Some(format!("{sign}{:04}-{rest}", year - 1).into_bytes())
}

/// Puts a field that is no null into a column that is filled up to the row in hand. `made` is its text, if it does
/// not stand in the chunk as it is.
#[inline(never)]
pub(super) fn push(
    table: &mut Table,
    index: u32,
    chunk: Chunk<'_>,
    field: &Field,
    made: Option<&[u8]>,
) -> Result<(), Misfit> {
    let text = made.unwrap_or_else(|| field.of(chunk.bytes));
    let mut own = None;
    match table.fast(index) {
        Some((Data::F64(values), _)) => {
            let float = match number::parse(text) {
                Ok(Number::F64(value)) => Some(value),
                _ => special(text),
            };
            if let Some(value) = float {
                values.push(value);
                return Ok(());
            }
        }
        Some((Data::F32(values), _)) => {
            if let Some(value) = special(text) {
                values.push(value as f32);
                return Ok(());
            }
        }
        Some((Data::Bool(_), _)) => own = boolean(text).map(<[u8]>::to_vec),
        Some((_, DataType::Date | DataType::Timestamp(_) | DataType::TimestampTz(_))) => {
            own = before_christ(text);
        }
        _ => {}
    }
    let place = match (&own, made) {
        (Some(own), _) => Str::Made(own.as_slice()),
        (None, Some(text)) => Str::Made(text),
        (None, None) => Str::Here(field.start, field.end),
    };
    // A time may be an integer as well.
    let kind = match table.known(index).map(Column::data_type) {
        Some(DataType::Timestamp(_) | DataType::TimestampTz(_)) => match number::integer(text, 0) {
            (Some(value), end) if end == text.len() => Kind::Int(value),
            _ => Kind::Text,
        },
        _ => Kind::Text,
    };
    table.push(index, chunk, Cell::new(kind, place))
}
