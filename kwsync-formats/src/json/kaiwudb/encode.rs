//! Rows as objects of schema and rows.

use std::ops::Range;
use std::sync::Arc;

use kwsync_core::{
    Column, DataType, Encoder, Error, ErrorKind, Location, Result, Role, Schema, TableBatch, TimeUnit,
};

use super::header::is_time;
use crate::build::scale_time;
use crate::json::NonFinite;
use crate::json::escape::write_string;
use crate::json::ndjson::Cells;
use crate::json::opentsdb::times;

/// Writes rows as KWDB's source connector does: one object a line, with `table`, `columns`, `data` and `tags`.
///
/// A batch with columns of the roles tag or primary tag is of a time-series table: its times are integers in the unit
/// asked for. Others are relational: no tags, and times are text. Lengths are written where the type has one.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use kwsync_core::{Column, DataType, Encoder, Schema, TableBatch, TimeUnit, Value};
/// use kwsync_formats::json::kaiwudb::KaiwudbJsonEncoder;
///
/// let schema = Arc::new(Schema::new(vec![Column::new("n", DataType::Int32)])?);
/// let batch = TableBatch::from_rows("t", schema, &[vec![Value::Int(1)], vec![Value::Null]])?;
/// let mut out = Vec::new();
/// KaiwudbJsonEncoder::new(TimeUnit::Millisecond).encode(&batch, 0..2, &mut out)?;
/// let text = String::from_utf8(out)?;
/// assert_eq!(text, "{\"table\":\"t\",\"columns\":[{\"name\":\"n\",\"type\":\"INT4\",\"length\":32}],\"data\":[{\"n\":1},{\"n\":null}]}\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct KaiwudbJsonEncoder {
    unit: TimeUnit,
    rows: usize,
    known: Option<(Arc<Schema>, Vec<u8>, Vec<u8>)>,
}

impl KaiwudbJsonEncoder {
    /// An encoder that writes times in this unit.
    #[must_use]
    pub fn new(unit: TimeUnit) -> Self {
        Self { unit, rows: 100, known: None }
    }

    /// Sets how many rows stand in one object at most (default 100).
    #[must_use]
    pub fn with_rows(mut self, rows: usize) -> Self {
        self.rows = rows.max(1);
        self
    }
}

/// KWDB's name of a type, and its length.
fn name_of(data_type: &DataType) -> Option<(String, Option<u32>)> {
    let (name, length) = match data_type {
        DataType::Bool => ("BOOL", Some(1)),
        DataType::Int8 | DataType::Int16 | DataType::UInt8 => ("INT2", Some(16)),
        DataType::Int32 | DataType::UInt16 => ("INT4", Some(32)),
        DataType::Int64 | DataType::UInt32 => ("INT8", Some(64)),
        DataType::Float32 => ("FLOAT4", Some(32)),
        DataType::Float64 => ("FLOAT8", Some(64)),
        DataType::UInt64 => ("DECIMAL(20,0)", None),
        DataType::Numeric(None) => ("DECIMAL", None),
        DataType::Numeric(Some((precision, scale))) => {
            return Some((format!("DECIMAL({precision},{scale})"), None));
        }
        DataType::Money => ("DECIMAL(19,2)", None),
        DataType::Char(length) => ("CHAR", Some(*length)),
        DataType::NChar(length) => ("NCHAR", Some(*length)),
        DataType::VarChar(length) => ("VARCHAR", *length),
        DataType::NVarChar(length) => ("NVARCHAR", *length),
        DataType::Bytes => ("BYTES", None),
        DataType::VarBytes(length) => ("VARBYTES", *length),
        DataType::Date => ("DATE", None),
        DataType::Time(unit) => return Some((format!("TIME({})", digits(*unit)), None)),
        DataType::Timestamp(_) => ("TIMESTAMP", Some(64)),
        DataType::TimestampTz(_) => ("TIMESTAMPTZ", Some(64)),
        DataType::Json | DataType::Jsonb => ("JSONB", None),
        DataType::Uuid => ("UUID", None),
        DataType::Inet => ("INET", None),
        DataType::Geometry => ("GEOMETRY", None),
        DataType::Array(_) | DataType::Interval | DataType::Other(_) => return None,
        _ => ("STRING", None),
    };
    Some((name.to_owned(), length))
}

const fn digits(unit: TimeUnit) -> u32 {
    match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 3,
        TimeUnit::Microsecond => 6,
        TimeUnit::Nanosecond => 9,
    }
}

fn is_tag(column: &Column) -> bool {
    matches!(column.role(), Role::Tag | Role::PrimaryTag)
}

/// The declaration of a column or tag.
fn declare(column: &Column, out: &mut Vec<u8>) -> Result<()> {
    let Some((name, length)) = name_of(column.data_type()) else {
        let text = format!("KaiwuDB JSON has no type for {}", column.data_type());
        return Err(Error::new(ErrorKind::Unsupported, text)
            .with_location(Location::new().with_column(column.name()))
            .with_hint("cast the column to text or JSON before, or leave it out"));
    };
    if !out.is_empty() {
        out.push(b',');
    }
    out.extend_from_slice(b"{\"name\":");
    write_string(column.name(), out);
    out.extend_from_slice(format!(",\"type\":\"{name}\"").as_bytes());
    if let Some(length) = length {
        out.extend_from_slice(format!(",\"length\":{length}").as_bytes());
    }
    if is_tag(column) {
        let primary = column.role() == Role::PrimaryTag;
        let nullable = column.is_nullable() && !primary;
        out.extend_from_slice(format!(",\"isPrimary\":{primary},\"nullable\":{nullable}").as_bytes());
    } else if !column.is_nullable() && column.role() != Role::Timestamp {
        out.extend_from_slice(b",\"nullable\":false");
    }
    out.push(b'}');
    Ok(())
}

/// A column's values.
enum Values<'a> {
    Times(Vec<i64>, TimeUnit, Cells<'a>),
    Cells(Cells<'a>),
}

impl Encoder for KaiwudbJsonEncoder {
    fn format(&self) -> &'static str {
        "json_kaiwudb"
    }

    fn encode(&mut self, batch: &TableBatch, rows: Range<usize>, out: &mut Vec<u8>) -> Result<()> {
        assert!(rows.end <= batch.rows(), "rows {rows:?} of {}", batch.rows());
        let schema = batch.schema();
        let columns = schema.columns();
        let series = columns.iter().any(is_tag);
        // Columns, then tags; the time stands first.
        let mut order: Vec<usize> = (0..columns.len()).collect();
        order.sort_by_key(|i| (is_tag(&columns[*i]), columns[*i].role() != Role::Timestamp));
        if !self.known.as_ref().is_some_and(|(known, ..)| Arc::ptr_eq(known, schema)) {
            let (mut fields, mut tags) = (Vec::new(), Vec::new());
            for i in &order {
                let column = &columns[*i];
                declare(column, if is_tag(column) { &mut tags } else { &mut fields })?;
            }
            self.known = Some((Arc::clone(schema), fields, tags));
        }
        let Some((_, fields, tags)) = &self.known else { return Ok(()) };
        let first = order.first().map(|i| &columns[*i]);
        if series && !first.is_some_and(|column| is_time(column.data_type())) {
            let place = Location::new().with_table(batch.table().to_string().as_str());
            let text = "a table with tags needs a time, and its first column is no timestamp";
            return Err(Error::new(ErrorKind::Unsupported, text).with_location(place));
        }
        let mut values = Vec::with_capacity(order.len());
        for i in &order {
            let (column, array) = (&columns[*i], &batch.batch().columns()[*i]);
            let mut key = Vec::new();
            write_string(column.name(), &mut key);
            key.push(b':');
            let cells = Cells::new(array, column.data_type())?;
            let own = match times(array, column.data_type()) {
                Some((times, unit)) if series => Values::Times(times, unit, cells),
                _ => Values::Cells(cells),
            };
            values.push((*i, key, own));
        }
        let began = out.len();
        let mut next = rows.start;
        while next < rows.end {
            let end = rows.end.min(next + self.rows);
            out.extend_from_slice(b"{\"table\":");
            write_string(&batch.table().to_string(), out);
            out.extend_from_slice(b",\"columns\":[");
            out.extend_from_slice(fields);
            out.extend_from_slice(b"],\"data\":[");
            for row in next..end {
                out.extend_from_slice(if row == next { b"{" } else { b",{" });
                for (place, (i, key, values)) in values.iter().enumerate() {
                    if place > 0 {
                        out.push(b',');
                    }
                    out.extend_from_slice(key);
                    if let Err((code, text)) = write(values, row, self.unit, out) {
                        out.truncate(began);
                        let place = Location::new()
                            .with_table(batch.table().to_string().as_str())
                            .with_column(columns[*i].name())
                            .with_row(row as u64);
                        return Err(Error::new(ErrorKind::Data, text).with_code(code).with_location(place));
                    }
                }
                out.push(b'}');
            }
            out.push(b']');
            if series {
                out.extend_from_slice(b",\"tags\":[");
                out.extend_from_slice(tags);
                out.push(b']');
            }
            out.extend_from_slice(b"}\n");
            next = end;
        }
        Ok(())
    }
}

fn write(
    values: &Values<'_>,
    row: usize,
    unit: TimeUnit,
    out: &mut Vec<u8>,
) -> std::result::Result<(), (&'static str, &'static str)> {
    match values {
        Values::Times(_, _, cells) | Values::Cells(cells) if cells.is_null(row) => {
            out.extend_from_slice(b"null")
        }
        Values::Times(times, own, _) => {
            let time = times.get(row).and_then(|time| scale_time(*time, *own, unit));
            let Some(time) = time else {
                return Err((
                    "timestamp_precision",
                    "the time has digits beyond the precision (precision=us|ns)",
                ));
            };
            out.extend_from_slice(time.to_string().as_bytes());
        }
        Values::Cells(cells) => {
            if !cells.write(row, NonFinite::Reject, out) {
                return Err(("non_finite", "JSON has no number for NaN and the infinities"));
            }
        }
    }
    Ok(())
}
