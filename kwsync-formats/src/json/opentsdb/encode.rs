//! Rows as points.

use std::ops::Range;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};
use arrow_array::{Array, ArrayRef};
use kwsync_core::{DataType, Encoder, Error, ErrorKind, Location, Result, Role, TableBatch, TimeUnit};

use super::{ClockUnit, Metric};
use crate::build::{by_size, scale_time};
use crate::json::NonFinite;
use crate::json::escape::write_string;
use crate::json::ndjson::Cells;

/// Writes each value of a row as one point of its own, a point a line, in the order of the columns.
///
/// The time is the column of the role timestamp, else the first of a timestamp type; columns of the roles tag and
/// primary tag are tags, nulls left out; every other column that is not null is a point of the metric `table.column`.
/// With [`Metric::Verbatim`] and [`Metric::Underscore`] a column named `value` is a point of the metric `table`, so
/// that what a decoder of the same option read comes out again.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use kwsync_core::{Column, DataType, Encoder, Role, Schema, TableBatch, TimeUnit, Value};
/// use kwsync_formats::json::opentsdb::{ClockUnit, Metric, OpentsdbJsonEncoder};
///
/// let schema = Arc::new(Schema::new(vec![
///     Column::new("time", DataType::TimestampTz(TimeUnit::Second)).with_role(Role::Timestamp),
///     Column::new("host", DataType::Text).with_role(Role::Tag),
///     Column::new("user", DataType::Int64),
/// ])?);
/// let row = vec![Value::Timestamp(1_700_000_000, TimeUnit::Second, true), Value::Text("a".into()), Value::Int(42)];
/// let batch = TableBatch::from_rows("cpu", schema, &[row])?;
/// let mut out = Vec::new();
/// OpentsdbJsonEncoder::new(Metric::Split, ClockUnit::S).encode(&batch, 0..1, &mut out)?;
/// assert_eq!(out, b"{\"metric\":\"cpu.user\",\"timestamp\":1700000000,\"value\":42,\"tags\":{\"host\":\"a\"}}\n");
/// # Ok::<(), kwsync_core::Error>(())
/// ```
#[derive(Debug)]
pub struct OpentsdbJsonEncoder {
    metric: Metric,
    unit: TimeUnit,
    by_size: bool,
}

impl OpentsdbJsonEncoder {
    /// An encoder of metrics like these; [`ClockUnit::Auto`] writes milliseconds, and where those have too
    /// few digits to be told from seconds, seconds.
    #[must_use]
    pub fn new(metric: Metric, unit: ClockUnit) -> Self {
        let by_size = unit == ClockUnit::Auto;
        let unit = if unit == ClockUnit::S { TimeUnit::Second } else { TimeUnit::Millisecond };
        Self { metric, unit, by_size }
    }

    fn metric(&self, table: &str, column: &str) -> String {
        if self.metric != Metric::Split && column == "value" {
            table.to_owned()
        } else {
            format!("{table}.{column}")
        }
    }
}

/// The integers of a time column, and their unit.
pub(in crate::json) fn times(array: &ArrayRef, data_type: &DataType) -> Option<(Vec<i64>, TimeUnit)> {
    let (DataType::Timestamp(unit) | DataType::TimestampTz(unit)) = data_type else { return None };
    let values: &[i64] = match unit {
        TimeUnit::Second => array.as_primitive_opt::<TimestampSecondType>()?.values(),
        TimeUnit::Millisecond => array.as_primitive_opt::<TimestampMillisecondType>()?.values(),
        TimeUnit::Microsecond => array.as_primitive_opt::<TimestampMicrosecondType>()?.values(),
        TimeUnit::Nanosecond => array.as_primitive_opt::<TimestampNanosecondType>()?.values(),
    };
    Some((values.to_vec(), *unit))
}

fn fault(batch: &TableBatch, column: &str, row: usize, code: &'static str, text: &'static str) -> Error {
    let place = Location::new()
        .with_table(batch.table().to_string().as_str())
        .with_column(column)
        .with_row(row as u64);
    Error::new(ErrorKind::Data, text).with_code(code).with_location(place)
}

impl Encoder for OpentsdbJsonEncoder {
    fn format(&self) -> &'static str {
        "json_opentsdb"
    }

    fn encode(&mut self, batch: &TableBatch, rows: Range<usize>, out: &mut Vec<u8>) -> Result<()> {
        assert!(rows.end <= batch.rows(), "rows {rows:?} of {}", batch.rows());
        let columns = batch.schema().columns();
        let is_time =
            |i: &usize| matches!(columns[*i].data_type(), DataType::Timestamp(_) | DataType::TimestampTz(_));
        let time = (0..columns.len())
            .find(|i| columns[*i].role() == Role::Timestamp && is_time(i))
            .or_else(|| (0..columns.len()).find(is_time));
        let arrays = batch.batch().columns();
        let found = time.and_then(|i| Some((i, times(&arrays[i], columns[i].data_type())?)));
        let Some((time, (values, unit))) = found else {
            let place = Location::new().with_table(batch.table().to_string().as_str());
            return Err(Error::new(
                ErrorKind::Unsupported,
                "a point needs a time, and no column is a timestamp",
            )
            .with_location(place));
        };
        let key = |name: &str| {
            let mut key = Vec::with_capacity(name.len() + 3);
            write_string(name, &mut key);
            key
        };
        let table = batch.table().to_string();
        let (mut tags, mut fields) = (Vec::new(), Vec::new());
        for (i, column) in columns.iter().enumerate().filter(|(i, _)| *i != time) {
            let cells = Cells::new(&arrays[i], column.data_type())?;
            if matches!(column.role(), Role::Tag | Role::PrimaryTag) {
                tags.push((key(column.name()), cells));
            } else {
                fields.push((i, key(&self.metric(&table, column.name())), cells));
            }
        }
        let began = out.len();
        let mut written = Vec::new();
        for row in rows {
            let name = columns[time].name();
            let stamp = if arrays[time].is_null(row) {
                Err(fault(batch, name, row, "missing_timestamp", "a point needs a time, and it is null"))
            } else {
                let scaled = values.get(row).and_then(|value| scale_time(*value, unit, self.unit));
                scaled.and_then(|time| if self.by_size { by_size(time) } else { Some(time) }).ok_or_else(|| {
                    let text = "the time has digits beyond the precision of the points, or would be read as seconds";
                    fault(batch, name, row, "timestamp_precision", text)
                })
            };
            let stamp = match stamp {
                Ok(stamp) => stamp,
                Err(error) => {
                    out.truncate(began);
                    return Err(error);
                }
            };
            written.clear();
            for (name, cells) in tags.iter().filter(|(_, cells)| !cells.is_null(row)) {
                if !written.is_empty() {
                    written.push(b',');
                }
                written.extend_from_slice(name);
                written.push(b':');
                let start = written.len();
                cells.write(row, NonFinite::Text, &mut written);
                if written.get(start) != Some(&b'"') {
                    written.insert(start, b'"');
                    written.push(b'"');
                }
            }
            let mut points = 0;
            for (column, metric, cells) in fields.iter().filter(|(.., cells)| !cells.is_null(row)) {
                out.extend_from_slice(b"{\"metric\":");
                out.extend_from_slice(metric);
                out.extend_from_slice(format!(",\"timestamp\":{stamp},\"value\":").as_bytes());
                let start = out.len();
                if !cells.write(row, NonFinite::Reject, out) || out.get(start) == Some(&b'[') {
                    out.truncate(began);
                    let name = columns[*column].name();
                    let text = "a point's value is a finite number, true, false or a string";
                    return Err(fault(batch, name, row, "bad_value", text));
                }
                out.extend_from_slice(b",\"tags\":{");
                out.extend_from_slice(&written);
                out.extend_from_slice(b"}}\n");
                points += 1;
            }
            if points == 0 {
                out.truncate(began);
                return Err(fault(batch, "", row, "no_fields", "the row has no value to make a point of"));
            }
        }
        Ok(())
    }
}
