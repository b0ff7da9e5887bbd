//! Rows as points.

use std::io::Write;
use std::ops::Range;

use kwsync_core::{Column, Encoder, Error, ErrorKind, Location, Result, Role, TableBatch, TimeUnit, Value};

use crate::build::by_size;

/// Writes each row as points of OpenTSDB's telnet protocol, one for each field that is not null.
///
/// The metric is `table.column`, and the table alone where its one field is named `value`, as decoding has it. Tags
/// and primary tags are tags; null ones are left out.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use kwsync_core::{Column, DataType, Encoder, Role, Schema, TableBatch, TimeUnit, Value};
/// use kwsync_formats::opentsdb::TelnetEncoder;
///
/// let schema = Schema::new(vec![
///     Column::new("time", DataType::TimestampTz(TimeUnit::Millisecond)).with_role(Role::Timestamp),
///     Column::new("host", DataType::Text).with_role(Role::Tag),
///     Column::new("user", DataType::Int64),
///     Column::new("idle", DataType::Float64),
/// ])?;
/// let time = Value::Timestamp(1_700_000_000_500, TimeUnit::Millisecond, true);
/// let row = vec![time, Value::Text("a".into()), Value::Int(42), Value::Float64(0.5)];
/// let batch = TableBatch::from_rows("cpu", Arc::new(schema), &[row])?;
/// let mut out = Vec::new();
/// TelnetEncoder::new(TimeUnit::Millisecond).encode(&batch, 0..1, &mut out)?;
/// assert_eq!(out, b"put cpu.user 1700000000500 42 host=a\nput cpu.idle 1700000000500 0.5 host=a\n");
/// # Ok::<(), kwsync_core::Error>(())
/// ```
#[derive(Debug)]
pub struct TelnetEncoder {
    unit: TimeUnit,
    by_size: bool,
    put: bool,
}

impl TelnetEncoder {
    /// An encoder that writes times in this unit; OpenTSDB itself reads seconds and milliseconds.
    #[must_use]
    pub const fn new(unit: TimeUnit) -> Self {
        Self { unit, by_size: false, put: true }
    }

    /// Writes milliseconds of which the reader tells by their size that they are none of seconds, as OpenTSDB does:
    /// before 1970-02-19 17:02:48 there are only whole seconds, and a time of more than 13 digits is refused.
    #[must_use]
    pub const fn by_size() -> Self {
        Self { unit: TimeUnit::Millisecond, by_size: true, put: true }
    }

    /// Whether each line begins with `put` (default); KWDB's Kafka connector writes lines without it.
    #[must_use]
    pub const fn with_put(mut self, put: bool) -> Self {
        self.put = put;
        self
    }
}

/// What a value or name cannot be written for.
pub(super) type Fault = &'static str;

const NO_SIZE: Fault = "has a time that would be read in another unit, which is told by the number of digits; choose the unit (precision=)";

pub(super) fn place(text: String, batch: &TableBatch, column: &Column, row: usize) -> Error {
    let table = batch.table().to_string();
    let place = Location::new().with_table(table.as_str()).with_column(column.name()).with_row(row as u64);
    Error::new(ErrorKind::Data, text).with_code("not_in_opentsdb").with_location(place)
}

/// The columns of a batch by what they are in a point.
pub(super) struct Layout {
    pub(super) time: Option<usize>,
    pub(super) tags: Vec<usize>,
    /// Index, and the metric
    pub(super) fields: Vec<(usize, String)>,
}

impl Layout {
    pub(super) fn of(batch: &TableBatch) -> Self {
        let columns = batch.schema().columns();
        let with = |wanted: fn(Role) -> bool| -> Vec<usize> {
            (0..columns.len()).filter(|i| columns.get(*i).is_some_and(|c| wanted(c.role()))).collect()
        };
        let fields = with(|role| role == Role::Field);
        let alone = fields.len() == 1;
        let metric = |index: &usize| {
            let name = columns.get(*index).map_or("", |column| column.name());
            let table = batch.table().name();
            (*index, if alone && name == "value" { table.to_owned() } else { format!("{table}.{name}") })
        };
        Self {
            time: with(|role| role == Role::Timestamp).first().copied(),
            tags: with(|role| matches!(role, Role::Tag | Role::PrimaryTag)),
            fields: fields.iter().map(metric).collect(),
        }
    }

    /// The time of a row in units of `unit`.
    pub(super) fn time(
        &self,
        batch: &TableBatch,
        row: usize,
        unit: TimeUnit,
    ) -> std::result::Result<i64, Fault> {
        let Some(index) = self.time else {
            return Err("has no column of the role timestamp, and a point needs a time");
        };
        match batch.row(row).at(index) {
            Ok(Value::Timestamp(value, own, _)) => {
                let (own, unit) = (own.nanos(), unit.nanos());
                let value = if own >= unit {
                    value.checked_mul(own / unit)
                } else if value % (unit / own) == 0 {
                    Some(value / (unit / own))
                } else {
                    return Err(
                        "has a time with digits beyond the precision chosen; take a finer one (precision=)",
                    );
                };
                value.filter(|value| *value >= 0).ok_or("has a time before 1970 or beyond 64 bits")
            }
            _ => Err("has no time, and a point needs one"),
        }
    }
}

/// Whether `text` can stand between blanks.
fn check_token(text: &str) -> std::result::Result<(), Fault> {
    if text.is_empty() {
        return Err("is empty");
    }
    let bad = |byte: &u8| *byte <= b' ' || *byte == 0x7f || *byte == b'=';
    if text.as_bytes().iter().any(bad) {
        return Err("holds a blank, '=' or control character, which OpenTSDB's telnet protocol cannot");
    }
    Ok(())
}

impl Encoder for TelnetEncoder {
    fn format(&self) -> &'static str {
        "line_opentsdb"
    }

    fn encode(&mut self, batch: &TableBatch, rows: Range<usize>, out: &mut Vec<u8>) -> Result<()> {
        assert!(rows.end <= batch.rows(), "rows {rows:?} of {}", batch.rows());
        let began = out.len();
        let done = self.rows(batch, rows, out);
        if done.is_err() {
            out.truncate(began);
        }
        done
    }
}

impl TelnetEncoder {
    fn rows(&self, batch: &TableBatch, rows: Range<usize>, out: &mut Vec<u8>) -> Result<()> {
        let layout = Layout::of(batch);
        let columns = batch.schema().columns();
        let Some(any) = columns.first() else { return Ok(()) };
        let column = |index: usize| columns.get(index).unwrap_or(any);
        for (index, metric) in &layout.fields {
            check_token(metric).map_err(|fault| {
                place(format!("the metric {metric:?} {fault}"), batch, column(*index), rows.start)
            })?;
        }
        for index in &layout.tags {
            let name = column(*index).name();
            check_token(name).map_err(|fault| {
                place(format!("the tag's name {name:?} {fault}"), batch, column(*index), rows.start)
            })?;
        }
        let mut tags = Vec::new();
        for row in rows {
            let time = layout
                .time(batch, row, self.unit)
                .and_then(|time| {
                    if self.by_size {
                        by_size(time).filter(|time| *time < 10_000_000_000_000).ok_or(NO_SIZE)
                    } else {
                        Ok(time)
                    }
                })
                .map_err(|fault| place(format!("the row {fault}"), batch, any, row))?;
            tags.clear();
            for index in &layout.tags {
                let value = batch.row(row).at(*index)?;
                if value.is_null() {
                    continue;
                }
                let text = value.to_string();
                check_token(&text)
                    .map_err(|fault| place(format!("the tag {fault}"), batch, column(*index), row))?;
                write!(tags, " {}={text}", column(*index).name()).unwrap_or_default();
            }
            for (index, metric) in &layout.fields {
                let value = batch.row(row).at(*index)?;
                if value.is_null() {
                    continue;
                }
                let figure = figure(&value)
                    .map_err(|fault| place(format!("the value {fault}"), batch, column(*index), row))?;
                // Writing to a vector does not fail.
                let put = if self.put { "put " } else { "" };
                write!(out, "{put}{metric} {time} {figure}").unwrap_or_default();
                out.extend_from_slice(&tags);
                out.push(b'\n');
            }
        }
        Ok(())
    }
}

/// The text of a number.
fn figure(value: &Value<'_>) -> std::result::Result<String, Fault> {
    match value {
        Value::Int(value) => Ok(value.to_string()),
        Value::UInt(value) if i64::try_from(*value).is_ok() => Ok(value.to_string()),
        Value::UInt(_) => Err("does not fit OpenTSDB's signed 64 bits"),
        Value::Float32(value) if value.is_finite() => Ok(format!("{value:?}")),
        Value::Float64(value) if value.is_finite() => Ok(format!("{value:?}")),
        Value::Float32(_) | Value::Float64(_) => Err("is not finite, and OpenTSDB has no NaN or infinity"),
        Value::Decimal(..) => Ok(value.to_string()),
        _ => Err("is no number, and OpenTSDB has nothing else"),
    }
}
