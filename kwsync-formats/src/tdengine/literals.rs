//! Rows as literals between commas.

use std::io::Write;

use kwsync_core::system::tdengine::ColumnType;
use kwsync_core::{DataType, Error, ErrorKind, Location, Result, Schema, TableBatch, TimeUnit, Value};

use super::cells::Cells;
use crate::exact::{is_exact_float, scale};
use crate::influx::write::{write_f64, write_float, write_i64, write_u64};
use crate::pgcopy::RowFault;

/// A column or tag of the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiteralTarget {
    /// The place of its values among the columns of a batch.
    pub column: usize,
    /// Its name.
    pub name: String,
    /// Its type.
    pub column_type: ColumnType,
    /// Whether it takes no null: the time, and the second column of a key.
    pub not_null: bool,
}

impl LiteralTarget {
    /// A column that may be null.
    pub fn new(column: usize, name: impl Into<String>, column_type: ColumnType) -> Self {
        Self { column, name: name.into(), column_type, not_null: false }
    }

    /// Whether it takes no null.
    #[must_use]
    pub fn with_not_null(mut self, not_null: bool) -> Self {
        self.not_null = not_null;
        self
    }
}

/// The precision of the target, and what may be lost on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LiteralOptions {
    unit: TimeUnit,
    truncate_times: bool,
}

impl LiteralOptions {
    /// Times in `unit`; nothing is lost: what a column cannot hold exactly refuses its row.
    #[must_use]
    pub const fn new(unit: TimeUnit) -> Self {
        Self { unit, truncate_times: false }
    }

    /// Cuts off what is finer than the database's precision; each value is counted.
    #[must_use]
    pub const fn with_truncate_times(mut self, truncate: bool) -> Self {
        self.truncate_times = truncate;
        self
    }
}

/// Writes values of rows as literals of TDengine.
///
/// Types, lengths and ranges are checked here, row by row, so that one row that does not fit costs no other. Times are
/// integers in the precision of the database. Text is in single quotes, with a backslash before quotes and backslashes; bytes are `'\x...'`.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use kwsync_core::system::tdengine::ColumnType;
/// use kwsync_core::{Column, DataType, Schema, TableBatch, TimeUnit, Value};
/// use kwsync_formats::tdengine::{LiteralEncoder, LiteralOptions, LiteralTarget};
///
/// let schema = Arc::new(Schema::new(vec![
///     Column::new("ts", DataType::TimestampTz(TimeUnit::Nanosecond)),
///     Column::new("host", DataType::Text),
/// ])?);
/// let targets = vec![
///     LiteralTarget::new(0, "ts", ColumnType::Timestamp).with_not_null(true),
///     LiteralTarget::new(1, "host", ColumnType::VarChar(8)),
/// ];
/// let encoder = LiteralEncoder::try_new(&schema, targets, LiteralOptions::new(TimeUnit::Millisecond))?;
/// let row = |ns, host: &'static str| vec![Value::Timestamp(ns, TimeUnit::Nanosecond, true), Value::Text(host.into())];
/// let batch = TableBatch::from_rows("cpu", schema, &[row(5_000_000, "it's"), row(1, "b")])?;
/// let literals = encoder.bind(&batch);
/// let mut sql = Vec::new();
/// literals.write(0, &mut sql)?.unwrap();
/// assert_eq!(sql, br"5,'it\'s'");
/// assert_eq!(literals.write(1, &mut sql)?.unwrap_err().code, "timestamp_precision");
/// # Ok::<(), kwsync_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct LiteralEncoder {
    targets: Vec<LiteralTarget>,
    uuids: Vec<bool>,
    options: LiteralOptions,
}

/// Why a value cannot be written.
type Fault = (&'static str, String);

impl LiteralEncoder {
    /// An encoder for values of `schema`'s columns, in the order of the targets.
    ///
    /// # Errors
    /// `Schema` with the code `no_exact_cast` where a type has no exact way into its column; `Internal` for a target of no column.
    pub fn try_new(schema: &Schema, targets: Vec<LiteralTarget>, options: LiteralOptions) -> Result<Self> {
        let mut uuids = Vec::with_capacity(targets.len());
        for target in &targets {
            let column = schema
                .columns()
                .get(target.column)
                .ok_or_else(|| Error::new(ErrorKind::Internal, "a target of no column"))?;
            if let Err(hint) = target.column_type.takes(column.data_type()) {
                let text =
                    format!("there is no exact way from {} to {}", column.data_type(), target.column_type);
                return Err(Error::new(ErrorKind::Schema, text)
                    .with_code("no_exact_cast")
                    .with_location(Location::new().with_column(column.name()))
                    .with_hint(hint));
            }
            uuids.push(*column.data_type() == DataType::Uuid);
        }
        Ok(Self { targets, uuids, options })
    }

    /// The columns and tags that are written.
    pub fn targets(&self) -> &[LiteralTarget] {
        &self.targets
    }

    /// The values of a batch.
    ///
    /// # Panics
    /// When the batch has fewer columns than the schema that the encoder is for.
    pub fn bind<'a>(&'a self, batch: &'a TableBatch) -> Literals<'a> {
        let columns = batch.batch().columns();
        let cells = self.targets.iter().map(|target| Cells::of(columns[target.column].as_ref())).collect();
        Literals { encoder: self, cells }
    }
}

/// The values of a batch that are to be written.
pub struct Literals<'a> {
    encoder: &'a LiteralEncoder,
    cells: Vec<Cells<'a>>,
}

impl std::fmt::Debug for Literals<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Literals").field("encoder", &self.encoder).finish_non_exhaustive()
    }
}

impl Literals<'_> {
    /// Appends the values of a row with commas between them; returns how many values an option has changed. Nothing is appended of a
    /// row that does not fit.
    ///
    /// # Errors
    /// `Unsupported` for an Arrow type that no column has.
    ///
    /// # Panics
    /// When the batch has no such row.
    pub fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<std::result::Result<u64, RowFault>> {
        let start = out.len();
        let mut changed = 0;
        for (at, cells) in self.cells.iter().enumerate() {
            let target = &self.encoder.targets[at];
            if at > 0 {
                out.push(b',');
            }
            let value = cells.get(row)?;
            let value = match value {
                Value::Bytes(bytes) if self.encoder.uuids[at] => Value::Text(uuid(&bytes).into()),
                value => value,
            };
            match write(target, &value, self.encoder.options, out) {
                Ok(cut) => changed += u64::from(cut),
                Err((code, reason)) => {
                    out.truncate(start);
                    let reason = format!("column {:?}: {reason}", target.name);
                    return Ok(Err(RowFault { row, column: at, code, reason }));
                }
            }
        }
        Ok(Ok(changed))
    }

    /// The columns and tags that have a length, and texts or bytes longer than it: their places among the targets, and how long.
    pub fn too_long(&self) -> Vec<(usize, u32)> {
        let mut found = Vec::new();
        for (at, (target, cells)) in self.encoder.targets.iter().zip(&self.cells).enumerate() {
            let (length, characters) = match target.column_type {
                ColumnType::VarChar(length) | ColumnType::VarBinary(length) => (length, false),
                ColumnType::NChar(length) => (length, true),
                _ => continue,
            };
            let longest = cells.longest(characters).unwrap_or(0);
            if longest > length as usize {
                found.push((at, u32::try_from(longest).unwrap_or(u32::MAX)));
            }
        }
        found
    }
}

fn write(
    target: &LiteralTarget,
    value: &Value<'_>,
    options: LiteralOptions,
    out: &mut Vec<u8>,
) -> std::result::Result<bool, Fault> {
    use ColumnType as T;
    let kind = target.column_type;
    match (kind, value) {
        (T::Timestamp, Value::Null) if target.not_null => {
            return Err(("missing_timestamp", "the row has no time".to_owned()));
        }
        (_, Value::Null) if target.not_null => {
            return Err(("not_null", "a null where the table takes none".to_owned()));
        }
        (_, Value::Null) => out.extend_from_slice(b"NULL"),
        (T::Timestamp, Value::Timestamp(value, own, _)) => {
            let Some((time, exact)) = scale(*value, *own, options.unit) else {
                let reason = format!("the time does not fit into 64 bits of {}", options.unit.as_str());
                return Err(("timestamp_out_of_range", reason));
            };
            if !exact && !options.truncate_times {
                let reason = format!(
                    "the time is finer than the database's {} (timestamp_ns=truncate cuts it off)",
                    options.unit.as_str()
                );
                return Err(("timestamp_precision", reason));
            }
            write_i64(time, out);
            return Ok(!exact);
        }
        (_, Value::Int(value)) if integer_range(kind).is_some() => {
            if !integer_range(kind).is_some_and(|range| range.contains(&i128::from(*value))) {
                return Err(overflow(kind, value));
            }
            write_i64(*value, out);
        }
        (_, Value::UInt(value)) if integer_range(kind).is_some() => {
            if !integer_range(kind).is_some_and(|range| range.contains(&i128::from(*value))) {
                return Err(overflow(kind, value));
            }
            write_u64(*value, out);
        }
        (T::Double, Value::Float64(value)) if value.is_finite() => write_f64(*value, out),
        (T::Double, Value::Float32(value)) if value.is_finite() => write_f64(f64::from(*value), out),
        (T::Float, Value::Float32(value)) if value.is_finite() => write_float(*value, out),
        (T::Float, Value::Float64(value)) if value.is_finite() => {
            let narrow = *value as f32;
            if f64::from(narrow) != *value {
                return Err(("float_precision", format!("{value} is no FLOAT exactly")));
            }
            write_float(narrow, out);
        }
        (T::Float | T::Double, Value::Float32(_) | Value::Float64(_)) => {
            return Err(("not_finite", "TDengine takes no NaN and no infinity".to_owned()));
        }
        (T::Float | T::Double, Value::Int(value)) => {
            exact_float(value.unsigned_abs(), kind)?;
            write_i64(*value, out);
        }
        (T::Float | T::Double, Value::UInt(value)) => {
            exact_float(*value, kind)?;
            write_u64(*value, out);
        }
        (T::Bool, Value::Bool(value)) => out.extend_from_slice(if *value { b"true" } else { b"false" }),
        (T::Decimal(precision, scale), Value::Decimal(..) | Value::Int(_) | Value::UInt(_)) => {
            let text = value.to_string();
            decimal(&text, precision, scale)?;
            out.extend_from_slice(text.as_bytes());
        }
        (T::VarBinary(limit), Value::Bytes(bytes)) => hex(bytes, limit, out)?,
        (T::VarBinary(limit), Value::Text(text)) => hex(text.as_bytes(), limit, out)?,
        (T::VarChar(limit), Value::Text(text)) => {
            fits(text.len(), limit, kind)?;
            quoted(text, out)?;
        }
        (T::NChar(limit), Value::Text(text)) => {
            if text.len() > limit as usize {
                fits(text.chars().count(), limit, kind)?;
            }
            quoted(text, out)?;
        }
        (T::Json, Value::Text(text)) => quoted(text, out)?,
        (
            T::VarChar(limit) | T::NChar(limit),
            Value::Decimal(..) | Value::Date(_) | Value::Time(..) | Value::Interval(..),
        ) => {
            let text = value.to_string();
            fits(text.len(), limit, kind)?;
            quoted(&text, out)?;
        }
        (_, other) => return Err(("no_exact_cast", format!("{other} is no {kind}"))),
    }
    Ok(false)
}

fn integer_range(kind: ColumnType) -> Option<std::ops::RangeInclusive<i128>> {
    use ColumnType as T;
    Some(match kind {
        T::TinyInt => i8::MIN.into()..=i8::MAX.into(),
        T::SmallInt => i16::MIN.into()..=i16::MAX.into(),
        T::Int => i32::MIN.into()..=i32::MAX.into(),
        T::BigInt => i64::MIN.into()..=i64::MAX.into(),
        T::TinyIntUnsigned => 0..=u8::MAX.into(),
        T::SmallIntUnsigned => 0..=u16::MAX.into(),
        T::IntUnsigned => 0..=u32::MAX.into(),
        T::BigIntUnsigned => 0..=u64::MAX.into(),
        _ => return None,
    })
}

#[cold]
fn overflow(kind: ColumnType, value: impl std::fmt::Display) -> Fault {
    ("integer_overflow", format!("{value} does not fit {kind}"))
}

fn exact_float(magnitude: u64, kind: ColumnType) -> std::result::Result<(), Fault> {
    match is_exact_float(magnitude, kind == ColumnType::Float) {
        true => Ok(()),
        false => Err(("float_precision", format!("{magnitude} is no {kind} exactly"))),
    }
}

fn fits(length: usize, limit: u32, kind: ColumnType) -> std::result::Result<(), Fault> {
    if length <= limit as usize {
        return Ok(());
    }
    let reason = match kind {
        ColumnType::NChar(_) => {
            format!("{length} characters where {kind} takes {limit} (create=evolve makes the column longer)")
        }
        _ => format!(
            "{length} bytes where {kind} takes {limit} (create=evolve makes the column longer; where n counts characters, \
             -T cast:NAME=nvarchar(n) makes room for them)"
        ),
    };
    Err(("text_too_long", reason))
}

/// Whether a column holds all digits of a number: the server would round it.
fn decimal(text: &str, precision: u8, scale: u8) -> std::result::Result<(), Fault> {
    let digits = text.trim_start_matches('-');
    let (whole, behind) = digits.split_once('.').unwrap_or((digits, ""));
    let (whole, behind) = (whole.trim_start_matches('0').len(), behind.trim_end_matches('0').len());
    if whole > usize::from(precision - scale.min(precision)) || behind > usize::from(scale) {
        return Err((
            "decimal_precision",
            format!("{text} does not fit DECIMAL({precision}, {scale}) exactly"),
        ));
    }
    Ok(())
}

fn hex(bytes: &[u8], limit: u32, out: &mut Vec<u8>) -> std::result::Result<(), Fault> {
    if bytes.len() > limit as usize {
        let reason = format!(
            "{} bytes where VARBINARY({limit}) takes {limit} (create=evolve makes the column longer)",
            bytes.len()
        );
        return Err(("bytes_too_long", reason));
    }
    out.extend_from_slice(b"'\\x");
    // Writing to a vector does not fail.
    bytes.iter().for_each(|byte| write!(out, "{byte:02x}").unwrap_or_default());
    out.push(b'\'');
    Ok(())
}

fn quoted(text: &str, out: &mut Vec<u8>) -> std::result::Result<(), Fault> {
    let start = out.len();
    out.push(b'\'');
    let mut rest = text.as_bytes();
    while let Some(at) = memchr::memchr3(b'\'', b'\\', 0, rest) {
        if rest[at] == 0 {
            out.truncate(start);
            return Err(("nul_byte", "the text holds a NUL, which SQL cannot".to_owned()));
        }
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(&[b'\\', rest[at]]);
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'\'');
    Ok(())
}

fn uuid(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(36);
    for (at, byte) in bytes.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kwsync_core::Column;

    use super::*;

    fn one(
        data_type: DataType,
        column_type: ColumnType,
        value: Value<'static>,
    ) -> std::result::Result<String, String> {
        let schema = Arc::new(Schema::new(vec![Column::new("c", data_type)]).unwrap());
        let targets = vec![LiteralTarget::new(0, "c", column_type)];
        let options = LiteralOptions::new(TimeUnit::Microsecond);
        let encoder = LiteralEncoder::try_new(&schema, targets, options)
            .map_err(|error| error.code().unwrap_or_default().to_owned())?;
        let batch = TableBatch::from_rows("t", schema, &[vec![value]]).unwrap();
        let mut out = b"x".to_vec();
        match encoder.bind(&batch).write(0, &mut out).unwrap() {
            Ok(_) => Ok(String::from_utf8(out.split_off(1)).unwrap()),
            Err(fault) => {
                assert_eq!(out, b"x");
                Err(fault.code.to_owned())
            }
        }
    }

    #[test]
    fn literals_of_every_type() {
        use ColumnType as C;
        use DataType as T;
        let text = |text: &'static str| Value::Text(text.into());
        let decimal = |text: &str| {
            let schema = Arc::new(Schema::new(vec![Column::new("c", T::Numeric(Some((38, 4))))]).unwrap());
            let digits: i128 = text.parse().unwrap();
            let value = Value::Decimal(digits.to_string().parse().unwrap(), 4);
            drop(schema);
            value
        };
        for (data_type, column_type, value, wanted) in [
            (T::Bool, C::Bool, Value::Bool(true), "true"),
            (T::Int64, C::BigInt, Value::Int(i64::MIN), "-9223372036854775808"),
            (T::UInt64, C::BigIntUnsigned, Value::UInt(u64::MAX), "18446744073709551615"),
            (T::UInt8, C::TinyInt, Value::UInt(127), "127"),
            (T::Int8, C::TinyIntUnsigned, Value::Int(7), "7"),
            (T::Float64, C::Double, Value::Float64(-0.5), "-0.5"),
            (T::Float64, C::Double, Value::Float64(1e300), "1e300"),
            (T::Float32, C::Float, Value::Float32(0.1), "0.1"),
            (T::Int32, C::Double, Value::Int(7), "7"),
            (
                T::TimestampTz(TimeUnit::Millisecond),
                C::Timestamp,
                Value::Timestamp(-5, TimeUnit::Millisecond, true),
                "-5000",
            ),
            (T::Text, C::VarChar(9), text("it's \\ok"), "'it\\'s \\\\ok'"),
            (T::Text, C::NChar(2), text("温度"), "'温度'"),
            (T::Text, C::VarChar(0), text(""), "''"),
            (T::Bytes, C::VarBinary(2), Value::Bytes(vec![0, 0xff].into()), "'\\x00ff'"),
            (T::Date, C::VarChar(16), Value::Date(0), "'1970-01-01'"),
            (T::Numeric(Some((38, 4))), C::Decimal(10, 2), decimal("-1234500"), "-123.4500"),
            (T::Json, C::Json, text("{\"a\":1}"), "'{\"a\":1}'"),
            (T::Text, C::VarChar(9), Value::Null, "NULL"),
            (
                T::Uuid,
                C::VarChar(36),
                Value::Bytes(vec![0x12; 16].into()),
                "'12121212-1212-1212-1212-121212121212'",
            ),
        ] {
            assert_eq!(one(data_type, column_type, value).as_deref(), Ok(wanted));
        }
        for (data_type, column_type, value, wanted) in [
            (T::Int64, C::Int, Value::Int(1 << 31), "integer_overflow"),
            (T::Int8, C::BigIntUnsigned, Value::Int(-1), "integer_overflow"),
            (T::Float64, C::Double, Value::Float64(f64::NAN), "not_finite"),
            (T::Float64, C::Float, Value::Float64(0.1), "float_precision"),
            (T::Int64, C::Double, Value::Int((1 << 53) + 1), "float_precision"),
            (
                T::TimestampTz(TimeUnit::Nanosecond),
                C::Timestamp,
                Value::Timestamp(1, TimeUnit::Nanosecond, true),
                "timestamp_precision",
            ),
            (
                T::TimestampTz(TimeUnit::Second),
                C::Timestamp,
                Value::Timestamp(i64::MAX, TimeUnit::Second, true),
                "timestamp_out_of_range",
            ),
            (T::Text, C::VarChar(5), text("温度"), "text_too_long"),
            (T::Text, C::NChar(1), text("温度"), "text_too_long"),
            (T::Text, C::VarChar(5), text("a\0"), "nul_byte"),
            (T::Bytes, C::VarBinary(1), Value::Bytes(vec![1, 2].into()), "bytes_too_long"),
            (T::Numeric(Some((38, 4))), C::Decimal(10, 2), decimal("12345"), "decimal_precision"),
            (T::Numeric(Some((38, 4))), C::Decimal(4, 2), decimal("1230000"), "decimal_precision"),
            (T::Text, C::Int, text("1"), "no_exact_cast"),
        ] {
            assert_eq!(one(data_type, column_type, value).unwrap_err(), wanted);
        }
    }

    #[test]
    fn what_is_too_long_is_seen_before() {
        let schema = Arc::new(
            Schema::new(vec![
                Column::new("a", DataType::Text),
                Column::new("b", DataType::Text),
                Column::new("c", DataType::Bytes),
            ])
            .unwrap(),
        );
        let targets = vec![
            LiteralTarget::new(0, "a", ColumnType::VarChar(5)),
            LiteralTarget::new(1, "b", ColumnType::NChar(2)),
            LiteralTarget::new(2, "c", ColumnType::VarBinary(1)),
        ];
        let encoder =
            LiteralEncoder::try_new(&schema, targets, LiteralOptions::new(TimeUnit::Second)).unwrap();
        let row =
            vec![Value::Text("温度".into()), Value::Text("温度".into()), Value::Bytes(vec![1, 2, 3].into())];
        let batch = TableBatch::from_rows("t", schema, &[row]).unwrap();
        assert_eq!(encoder.bind(&batch).too_long(), [(0, 6), (2, 3)]);
    }
}
