//! Rows as INSERT statements of literals.

use std::io::Write;
use std::ops::Range;

use kwsync_core::{Error, ErrorKind, Location, Result, Schema, TableBatch, TimeUnit, Value};

use super::SeriesType;
use crate::exact::{is_exact_float, scale};
use crate::influx::write::{write_f64, write_float, write_i64, write_u64};
use crate::pgcopy::RowFault;

/// A column or tag of the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InsertColumn {
    /// Its name.
    pub name: String,
    /// Its type.
    pub series_type: SeriesType,
    /// Whether it takes no null: the timestamp and the primary tags.
    pub not_null: bool,
}

impl InsertColumn {
    /// A column that may be null.
    pub fn new(name: impl Into<String>, series_type: SeriesType) -> Self {
        Self { name: name.into(), series_type, not_null: false }
    }

    /// Whether it takes no null.
    #[must_use]
    pub const fn with_not_null(mut self, not_null: bool) -> Self {
        self.not_null = not_null;
        self
    }
}

/// What may be lost on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct InsertOptions {
    truncate_times: bool,
}

impl InsertOptions {
    /// Nothing is lost: what a column cannot hold exactly refuses its row.
    #[must_use]
    pub const fn new() -> Self {
        Self { truncate_times: false }
    }

    /// Cuts off what is finer than a timestamp's column; each value is counted.
    #[must_use]
    pub const fn with_truncate_times(mut self, truncate: bool) -> Self {
        self.truncate_times = truncate;
        self
    }
}

/// Writes rows as `INSERT INTO ... VALUES (...),(...)` with literals alone, which is what KWDB's quick way for time
/// series asks for, and which has none of the faults of its prepared INSERT.
///
/// Types, lengths and ranges are checked here, row by row, so that one row that does not fit costs no other.
/// Timestamps are integers in the unit of their column. Text is in single quotes, bytes are `'\x...'`.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use kwsync_core::{Column, DataType, Schema, TableBatch, TimeUnit, Value};
/// use kwsync_formats::kwdb::{InsertColumn, InsertEncoder, InsertOptions, SeriesType};
///
/// let schema = Arc::new(Schema::new(vec![
///     Column::new("k_timestamp", DataType::TimestampTz(TimeUnit::Nanosecond)),
///     Column::new("usage", DataType::Float64),
///     Column::new("host", DataType::Text),
/// ])?);
/// let targets = [
///     InsertColumn::new("k_timestamp", SeriesType::Timestamp(TimeUnit::Millisecond, true)).with_not_null(true),
///     InsertColumn::new("usage", SeriesType::Float8),
///     InsertColumn::new("host", SeriesType::VarChar(64)).with_not_null(true),
/// ];
/// let row = |ns, host: &'static str| vec![Value::Timestamp(ns, TimeUnit::Nanosecond, true), Value::Float64(1.5), Value::Text(host.into())];
/// let batch = TableBatch::from_rows("cpu", Arc::clone(&schema), &[row(5_000_000, "it's"), row(1, "b")])?;
/// let mut encoder = InsertEncoder::try_new("\"cpu\"", &schema, &targets, InsertOptions::new())?;
/// let mut sql = Vec::new();
/// encoder.begin(&mut sql);
/// let faults = encoder.encode(&batch, 0..2, &mut sql)?;
/// assert_eq!(sql, br#"INSERT INTO "cpu" ("k_timestamp", "usage", "host") VALUES (5,1.5,'it''s')"#);
/// assert_eq!(faults[0].code, "timestamp_precision");
/// # Ok::<(), kwsync_core::Error>(())
/// ```
#[derive(Debug)]
pub struct InsertEncoder {
    head: Vec<u8>,
    targets: Vec<InsertColumn>,
    options: InsertOptions,
    coerced: u64,
}

/// Why a value cannot be written.
type Fault = (&'static str, String);

impl InsertEncoder {
    /// An encoder for rows of `schema` into `table`, which is quoted already. `targets` are the target's columns of the
    /// same names, in the order of the schema.
    ///
    /// # Errors
    /// `Schema` with the code `no_exact_cast` where a type has no exact way into its column; `NotFound` for a column
    /// that is not among the targets.
    pub fn try_new(
        table: &str,
        schema: &Schema,
        targets: &[InsertColumn],
        options: InsertOptions,
    ) -> Result<Self> {
        let mut own = Vec::with_capacity(targets.len());
        for column in schema.columns() {
            let place = || Location::new().with_table(table).with_column(column.name());
            let Some(target) = targets.iter().find(|target| target.name == column.name()) else {
                let text = format!("the table has no column {:?}", column.name());
                return Err(Error::new(ErrorKind::NotFound, text).with_location(place()));
            };
            if let Err(hint) = target.series_type.takes(column.data_type()) {
                let text =
                    format!("there is no exact way from {} to {}", column.data_type(), target.series_type);
                return Err(Error::new(ErrorKind::Schema, text)
                    .with_code("no_exact_cast")
                    .with_location(place())
                    .with_hint(hint));
            }
            own.push(target.clone());
        }
        let names: Vec<String> =
            own.iter().map(|target| format!("\"{}\"", target.name.replace('"', "\"\""))).collect();
        let head = format!("INSERT INTO {table} ({}) VALUES ", names.join(", "));
        Ok(Self { head: head.into_bytes(), targets: own, options, coerced: 0 })
    }

    /// Begins a statement: everything up to its rows.
    pub fn begin(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.head);
    }

    /// Whether `out` is a statement without a row.
    #[must_use]
    pub fn is_empty(&self, out: &[u8]) -> bool {
        out.ends_with(&self.head)
    }

    /// Appends rows to a statement that was begun. Rows that do not fit are left out and returned.
    ///
    /// # Errors
    /// `Unsupported` for an Arrow type that no column has.
    ///
    /// # Panics
    /// When `rows` reaches beyond the batch.
    pub fn encode(
        &mut self,
        batch: &TableBatch,
        rows: Range<usize>,
        out: &mut Vec<u8>,
    ) -> Result<Vec<RowFault>> {
        assert!(rows.end <= batch.rows(), "rows {rows:?} of {}", batch.rows());
        let mut faults = Vec::new();
        let mut first = self.is_empty(out);
        let arrays = batch.batch().columns();
        'rows: for row in rows {
            let start = out.len();
            out.extend_from_slice(if first { b"(" } else { b",(" });
            let coerced = self.coerced;
            for (index, (target, array)) in self.targets.iter().zip(arrays).enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                let value = Value::of(array.as_ref(), row)?;
                let done = write(target, &value, self.options, &mut self.coerced, out);
                if let Err((code, reason)) = done {
                    out.truncate(start);
                    self.coerced = coerced;
                    let reason = format!("column {:?}: {reason}", target.name);
                    faults.push(RowFault { row, column: index, code, reason });
                    continue 'rows;
                }
            }
            out.push(b')');
            first = false;
        }
        Ok(faults)
    }

    /// Values that an option has changed so far.
    #[must_use]
    pub const fn coerced(&self) -> u64 {
        self.coerced
    }
}

fn write(
    target: &InsertColumn,
    value: &Value<'_>,
    options: InsertOptions,
    coerced: &mut u64,
    out: &mut Vec<u8>,
) -> std::result::Result<(), Fault> {
    match (target.series_type, value) {
        (_, Value::Null) if target.not_null => {
            return Err(("not_null", "a null where the table takes none".to_owned()));
        }
        (_, Value::Null) => out.extend_from_slice(b"NULL"),
        (SeriesType::Timestamp(unit, _), Value::Timestamp(value, own, _)) => {
            let (time, exact) = scale(*value, *own, unit).ok_or_else(|| range(&target.series_type, value))?;
            if !exact && !options.truncate_times {
                let reason = format!(
                    "the time has digits beyond {} (timestamp_ns=truncate cuts them off)",
                    target.series_type
                );
                return Err(("timestamp_precision", reason));
            }
            if !holds(unit, time) {
                return Err(range(&target.series_type, value));
            }
            *coerced += u64::from(!exact);
            write_i64(time, out);
        }
        (SeriesType::Int2 | SeriesType::Int4 | SeriesType::Int8, Value::Int(value)) => {
            let fits = match target.series_type {
                SeriesType::Int2 => i16::try_from(*value).is_ok(),
                SeriesType::Int4 => i32::try_from(*value).is_ok(),
                _ => true,
            };
            if !fits {
                return Err(overflow(&target.series_type, value));
            }
            write_i64(*value, out);
        }
        (SeriesType::Int2 | SeriesType::Int4 | SeriesType::Int8, Value::UInt(value)) => {
            let fits = match target.series_type {
                SeriesType::Int2 => i16::try_from(*value).is_ok(),
                SeriesType::Int4 => i32::try_from(*value).is_ok(),
                _ => i64::try_from(*value).is_ok(),
            };
            if !fits {
                return Err(overflow(&target.series_type, value));
            }
            write_u64(*value, out);
        }
        (SeriesType::Float8, Value::Float64(value)) if value.is_finite() => write_f64(*value, out),
        (SeriesType::Float8, Value::Float32(value)) if value.is_finite() => write_f64(f64::from(*value), out),
        (SeriesType::Float4, Value::Float32(value)) if value.is_finite() => write_float(*value, out),
        (SeriesType::Float4, Value::Float64(value)) if value.is_finite() => {
            let narrow = *value as f32;
            if f64::from(narrow) != *value {
                return Err(("float_precision", format!("{value} is no FLOAT4 exactly")));
            }
            write_float(narrow, out);
        }
        (SeriesType::Float4 | SeriesType::Float8, Value::Float32(_) | Value::Float64(_)) => {
            return Err((
                "not_finite",
                "NaN and infinities cannot be written to KWDB's time series".to_owned(),
            ));
        }
        (SeriesType::Float4 | SeriesType::Float8, Value::Int(value)) => {
            exact_float(value.unsigned_abs(), &target.series_type)?;
            write_i64(*value, out);
        }
        (SeriesType::Float4 | SeriesType::Float8, Value::UInt(value)) => {
            exact_float(*value, &target.series_type)?;
            write_u64(*value, out);
        }
        (SeriesType::Bool, Value::Bool(value)) => {
            out.extend_from_slice(if *value { b"true" } else { b"false" });
        }
        (SeriesType::VarBytes(limit), Value::Bytes(bytes)) => hex(bytes, limit, out)?,
        (SeriesType::VarBytes(limit), Value::Text(text)) => hex(text.as_bytes(), limit, out)?,
        (_, Value::Text(text)) => {
            let length = match target.series_type {
                SeriesType::Char(limit) | SeriesType::VarChar(limit) => (text.len(), limit),
                SeriesType::NChar(limit) | SeriesType::NVarChar(limit) if text.len() > limit as usize => {
                    (text.chars().count(), limit)
                }
                _ => (0, 0),
            };
            if length.0 > length.1 as usize {
                let reason = format!("{} where {} takes {}", length.0, target.series_type, length.1);
                return Err(("text_too_long", reason));
            }
            quoted(text, out)?;
        }
        (_, other) => return Err(("no_exact_cast", format!("{other} is no {}", target.series_type))),
    }
    Ok(())
}

/// The years 0 to 2969; with nanoseconds 1970 to 2261.
fn holds(unit: TimeUnit, time: i64) -> bool {
    const FIRST: i64 = -62_167_219_200;
    const LAST: i64 = 31_556_908_800;
    const LAST_NANOS: i64 = 9_214_646_400;
    let seconds = time.div_euclid(1_000_000_000 / unit.nanos());
    match unit {
        TimeUnit::Nanosecond => (0..LAST_NANOS).contains(&seconds),
        _ => (FIRST..LAST).contains(&seconds),
    }
}

#[cold]
fn range(series_type: &SeriesType, value: &i64) -> Fault {
    ("timestamp_out_of_range", format!("the time {value} is outside of what {series_type} holds"))
}

#[cold]
fn overflow(series_type: &SeriesType, value: impl std::fmt::Display) -> Fault {
    ("integer_overflow", format!("{value} does not fit {series_type}"))
}

fn exact_float(magnitude: u64, series_type: &SeriesType) -> std::result::Result<(), Fault> {
    let exact = is_exact_float(magnitude, *series_type == SeriesType::Float4);
    if exact { Ok(()) } else { Err(("float_precision", format!("{magnitude} is no {series_type} exactly"))) }
}

fn hex(bytes: &[u8], limit: u32, out: &mut Vec<u8>) -> std::result::Result<(), Fault> {
    if bytes.len() > limit as usize {
        return Err((
            "bytes_too_long",
            format!("{} bytes where VARBYTES({limit}) takes {limit}", bytes.len()),
        ));
    }
    out.extend_from_slice(b"'\\x");
    // Writing to a vector does not fail.
    bytes.iter().for_each(|byte| write!(out, "{byte:02x}").unwrap_or_default());
    out.push(b'\'');
    Ok(())
}

fn quoted(text: &str, out: &mut Vec<u8>) -> std::result::Result<(), Fault> {
    let bytes = text.as_bytes();
    if memchr::memchr(0, bytes).is_some() {
        return Err(("nul_byte", "the text holds a NUL, which SQL cannot".to_owned()));
    }
    out.push(b'\'');
    let mut rest = bytes;
    while let Some(at) = memchr::memchr(b'\'', rest) {
        out.extend_from_slice(&rest[..=at]);
        out.push(b'\'');
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'\'');
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kwsync_core::{Column, DataType};

    use super::*;

    fn one(
        data_type: DataType,
        series_type: &str,
        value: Value<'static>,
    ) -> std::result::Result<String, String> {
        let schema = Arc::new(Schema::new(vec![Column::new("c", data_type)]).unwrap());
        let targets = [InsertColumn::new("c", series_type.parse().unwrap())];
        let mut encoder = InsertEncoder::try_new("t", &schema, &targets, InsertOptions::new())
            .map_err(|error| error.code().unwrap_or_default().to_owned())?;
        let batch = TableBatch::from_rows("t", schema, &[vec![value]]).unwrap();
        let mut out = Vec::new();
        encoder.begin(&mut out);
        match encoder.encode(&batch, 0..1, &mut out).unwrap().first() {
            Some(fault) => Err(fault.code.to_owned()),
            None => Ok(String::from_utf8(out).unwrap().split_once("VALUES ").unwrap().1.to_owned()),
        }
    }

    #[test]
    fn values_as_kwdb_takes_them() {
        use DataType as T;
        let text = |text: &'static str| Value::Text(text.into());
        let time = |v, unit| Value::Timestamp(v, unit, true);
        let nanos = T::TimestampTz(TimeUnit::Nanosecond);
        for (from, to, value, expected) in [
            (T::Int64, "INT2", Value::Int(-32768), Ok("(-32768)")),
            (T::Int64, "INT2", Value::Int(32768), Err("integer_overflow")),
            (T::UInt64, "INT8", Value::UInt(u64::MAX), Err("integer_overflow")),
            (T::Float64, "FLOAT8", Value::Float64(0.1), Ok("(0.1)")),
            (T::Float64, "FLOAT8", Value::Float64(1e300), Ok("(1e300)")),
            (T::Float64, "FLOAT8", Value::Float64(f64::NAN), Err("not_finite")),
            (T::Float64, "FLOAT4", Value::Float64(0.1), Err("float_precision")),
            (T::Float64, "FLOAT4", Value::Float64(1e39), Err("float_precision")),
            (T::Float32, "FLOAT4", Value::Float32(0.1), Ok("(0.1)")),
            (T::Int64, "FLOAT8", Value::Int(9_007_199_254_740_993), Err("float_precision")),
            (T::Bool, "BOOL", Value::Bool(true), Ok("(true)")),
            (T::Text, "VARCHAR(3)", text("é"), Ok("('é')")),
            (T::Text, "VARCHAR(3)", text("éé"), Err("text_too_long")),
            (T::Text, "NVARCHAR(2)", text("éé"), Ok("('éé')")),
            (T::Text, "NVARCHAR(2)", text("ééé"), Err("text_too_long")),
            (T::Text, "VARCHAR", text("it's \\x41\n"), Ok("('it''s \\x41\n')")),
            (T::Text, "VARCHAR", text("a\0b"), Err("nul_byte")),
            (T::Text, "VARBYTES(4)", text("\\x41"), Ok("('\\x5c783431')")),
            (T::Bytes, "VARBYTES(4)", Value::Bytes(vec![0, 255].into()), Ok("('\\x00ff')")),
            (T::Bytes, "VARBYTES(1)", Value::Bytes(vec![0, 255].into()), Err("bytes_too_long")),
            (nanos.clone(), "TIMESTAMPTZ(3)", time(1_000_000, TimeUnit::Nanosecond), Ok("(1)")),
            (nanos.clone(), "TIMESTAMPTZ(3)", time(1, TimeUnit::Nanosecond), Err("timestamp_precision")),
            (nanos.clone(), "TIMESTAMPTZ(9)", time(-1, TimeUnit::Nanosecond), Err("timestamp_out_of_range")),
            (nanos.clone(), "TIMESTAMP", time(-5_000_000, TimeUnit::Nanosecond), Ok("(-5)")),
            (
                T::TimestampTz(TimeUnit::Second),
                "TIMESTAMPTZ(9)",
                time(i64::MAX, TimeUnit::Second),
                Err("timestamp_out_of_range"),
            ),
            (
                T::TimestampTz(TimeUnit::Second),
                "TIMESTAMPTZ(3)",
                time(31_556_908_800, TimeUnit::Second),
                Err("timestamp_out_of_range"),
            ),
            (T::Int64, "VARCHAR", Value::Int(1), Err("no_exact_cast")),
            (T::Text, "INT4", text("1"), Err("no_exact_cast")),
            (T::Int64, "INT4", Value::Null, Ok("(NULL)")),
        ] {
            let found = one(from, to, value.clone());
            assert_eq!(found.as_deref().map_err(String::as_str), expected, "{value} into {to}");
        }
        assert!("JSONB".parse::<SeriesType>().is_err());
        assert!("TIMESTAMPTZ(4)".parse::<SeriesType>().is_err());
    }

    #[test]
    fn a_row_that_does_not_fit_costs_no_other() {
        let schema = Arc::new(
            Schema::new(vec![Column::new("a", DataType::Int64), Column::new("b\"", DataType::Text)]).unwrap(),
        );
        let targets = [
            InsertColumn::new("b\"", SeriesType::VarChar(1)).with_not_null(true),
            InsertColumn::new("a", SeriesType::Int2),
        ];
        let row = |a, b: Option<&'static str>| {
            vec![Value::Int(a), b.map_or(Value::Null, |b| Value::Text(b.into()))]
        };
        let rows =
            [row(1, Some("long")), row(2, Some("x")), row(70000, Some("x")), row(3, None), row(4, Some("y"))];
        let batch = TableBatch::from_rows("t", Arc::clone(&schema), &rows).unwrap();
        let mut encoder = InsertEncoder::try_new("t", &schema, &targets, InsertOptions::new()).unwrap();
        let mut out = Vec::new();
        encoder.begin(&mut out);
        assert!(encoder.is_empty(&out));
        let faults = encoder.encode(&batch, 0..3, &mut out).unwrap();
        let more = encoder.encode(&batch, 3..5, &mut out).unwrap();
        let codes: Vec<_> = faults.iter().chain(&more).map(|fault| (fault.row, fault.code)).collect();
        assert_eq!(codes, [(0, "text_too_long"), (2, "integer_overflow"), (3, "not_null")]);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "INSERT INTO t (\"a\", \"b\"\"\") VALUES (2,'x'),(4,'y')"
        );
    }
}
