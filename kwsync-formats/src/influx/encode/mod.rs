//! Arrow batches to line protocol.

mod cells;
mod put;
mod typed;

use std::ops::Range;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};
use arrow_array::{Array, ArrayRef};
use arrow_buffer::NullBuffer;
use arrow_schema::{DataType as Arrow, TimeUnit};
use kwsync_core::{Column, Encoder, Error, ErrorKind, Location, Result, Role, Schema, TableBatch, TableId};

use self::cells::{Cells, Fault};
use self::put::Prefix;
use super::write::{name_fault, write_escaped};
use super::{Dialect, Precision};

/// Writes each row as a line of InfluxDB line protocol.
///
/// The table's name is the measurement. Columns of the roles tag and primary tag are tags, those of the role
/// field are fields, and the column of the role timestamp is the timestamp. Nulls are left out; a row without any
/// field cannot be written. Integers get their suffix `i` or `u`, floats the fewest digits that read back the
/// same; a tag is text, whatever its type. What is written, [`LineDecoder`](super::LineDecoder) reads back.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use kwsync_core::{Column, DataType, Encoder, Role, Schema, TableBatch, Value};
/// use kwsync_formats::influx::{LineEncoder, Precision};
///
/// let columns = vec![
///     Column::new("host", DataType::Text).with_role(Role::Tag),
///     Column::new("n", DataType::Int64),
///     Column::new("note", DataType::Text),
/// ];
/// let row = vec![Value::Text("a b".into()), Value::Int(1), Value::Text("say \"hi\"".into())];
/// let batch = TableBatch::from_rows("cpu", Arc::new(Schema::new(columns)?), &[row])?;
/// let mut out = Vec::new();
/// LineEncoder::new(Precision::Ns).encode(&batch, 0..1, &mut out)?;
/// assert_eq!(out, b"cpu,host=a\\ b n=1i,note=\"say \\\"hi\\\"\"\n");
/// # Ok::<(), kwsync_core::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct LineEncoder {
    precision: Precision,
    dialect: Dialect,
    known: Option<Known>,
}

/// What is the same for all rows of a table.
#[derive(Debug)]
struct Known {
    table: TableId,
    schema: Arc<Schema>,
    measurement: Prefix,
    time: Option<usize>,
    /// Index, and what stands before the value
    tags: Vec<(usize, Prefix)>,
    fields: Vec<(usize, Prefix)>,
}

impl LineEncoder {
    /// An encoder that writes timestamps in this unit.
    #[must_use]
    pub const fn new(precision: Precision) -> Self {
        Self { precision, dialect: Dialect::Influx, known: None }
    }

    /// Writes this dialect (default `influx`). Those with typed values have one record a line, so a string with a
    /// line feed cannot be written; in `kwdb` unsigned integers take the next wider signed type, and a time in a
    /// field is text.
    #[must_use]
    pub fn with_dialect(mut self, dialect: Dialect) -> Self {
        self.dialect = dialect;
        self
    }
}

impl Known {
    fn new(batch: &TableBatch, dialect: Dialect) -> Result<Self> {
        let name_fault = if dialect == Dialect::Influx { name_fault } else { typed::name_fault };
        let table = batch.table();
        let name = table.name().as_bytes();
        let fault = match name.first() {
            Some(b'#') => Some("begins with '#', as a comment does"),
            _ if name.starts_with(super::lines::BOM) => Some("begins with a byte order mark"),
            _ => name_fault(name),
        };
        if let Some(fault) = fault {
            let text = format!("the name of table {table} {fault}: line protocol cannot write it");
            return Err(Error::new(ErrorKind::Data, text).with_code("bad_name"));
        }
        let mut measurement = Vec::new();
        write_escaped(name, dialect.measurement(), &mut measurement);
        let mut known = Self {
            table: table.clone(),
            schema: Arc::clone(batch.schema()),
            measurement: Prefix::new(measurement),
            time: None,
            tags: Vec::new(),
            fields: Vec::new(),
        };
        for (index, column) in batch.schema().columns().iter().enumerate() {
            let list = match column.role() {
                Role::Timestamp if known.time.is_none() => {
                    known.time = Some(index);
                    continue;
                }
                Role::Tag | Role::PrimaryTag => &mut known.tags,
                _ => &mut known.fields,
            };
            if let Some(fault) = name_fault(column.name().as_bytes()) {
                let text = format!("the column's name {fault}: line protocol cannot write it");
                return Err(place(Error::new(ErrorKind::Data, text), batch, column).with_code("bad_name"));
            }
            let mut key = vec![b','];
            write_escaped(column.name().as_bytes(), dialect.key(), &mut key);
            key.push(b'=');
            list.push((index, Prefix::new(key)));
        }
        Ok(known)
    }
}

fn place(error: Error, batch: &TableBatch, column: &Column) -> Error {
    let table = batch.table().to_string();
    error.with_location(Location::new().with_table(table.as_str()).with_column(column.name()))
}

/// The timestamps of a batch and how they become those written.
struct Times<'a> {
    values: &'a [i64],
    nulls: Option<&'a NullBuffer>,
    /// Multiplied by this, then divided by that
    scale: (i64, i64),
}

impl<'a> Times<'a> {
    fn new(array: &'a ArrayRef, precision: Precision) -> Option<Self> {
        let Arrow::Timestamp(unit, _) = array.data_type() else { return None };
        let (values, nanos) = match unit {
            TimeUnit::Second => (array.as_primitive::<TimestampSecondType>().values(), 1_000_000_000),
            TimeUnit::Millisecond => (array.as_primitive::<TimestampMillisecondType>().values(), 1_000_000),
            TimeUnit::Microsecond => (array.as_primitive::<TimestampMicrosecondType>().values(), 1_000),
            TimeUnit::Nanosecond => (array.as_primitive::<TimestampNanosecondType>().values(), 1),
        };
        let wanted = precision.nanoseconds();
        let scale = ((nanos / wanted).max(1), (wanted / nanos).max(1));
        Some(Self { values, nulls: array.nulls(), scale })
    }

    /// The timestamp of a row that has one; an error if it is not a whole one of 64 bits.
    #[inline(always)]
    fn get(&self, row: usize) -> std::result::Result<Option<i64>, &'static str> {
        if self.nulls.is_some_and(|nulls| nulls.is_null(row)) {
            return Ok(None);
        }
        let value = self.values[row];
        match self.scale {
            (1, 1) => Ok(Some(value)),
            (by, 1) => value.checked_mul(by).map(Some).ok_or("does not fit 64 bits in the precision chosen"),
            (_, by) if value % by == 0 => Ok(Some(value / by)),
            _ => Err("has digits beyond the precision chosen; take a finer one: precision=ns"),
        }
    }
}

/// A column, what stands before its values, and its index.
struct Part<'a, C> {
    key: &'a Prefix,
    cells: C,
    index: usize,
}

impl Encoder for LineEncoder {
    fn format(&self) -> &'static str {
        "line_influxdb"
    }

    fn encode(&mut self, batch: &TableBatch, rows: Range<usize>, out: &mut Vec<u8>) -> Result<()> {
        assert!(rows.end <= batch.rows(), "rows {rows:?} of {}", batch.rows());
        let fresh = self
            .known
            .take()
            .filter(|known| Arc::ptr_eq(&known.schema, batch.schema()) && known.table == *batch.table());
        let known = match fresh {
            Some(known) => known,
            None => Known::new(batch, self.dialect)?,
        };
        let began = out.len();
        let result = Batch::new(&known, batch, self.precision).and_then(|batch| match self.dialect {
            Dialect::Influx => write_rows(&batch, rows, out),
            dialect => typed::write_rows(&batch, dialect, rows, out),
        });
        self.known = Some(known);
        if result.is_err() {
            out.truncate(began);
        }
        result
    }
}

fn parts<'a, C>(
    keys: &'a [(usize, Prefix)],
    batch: &'a TableBatch,
    cells: impl Fn(&'a dyn Array, &'a Column) -> Option<C>,
) -> Result<Vec<Part<'a, C>>> {
    keys.iter()
        .map(|(index, key)| {
            let (array, column) = (batch.batch().column(*index), &batch.schema().columns()[*index]);
            let cells = cells(array, column).ok_or_else(|| unsupported(batch, column))?;
            Ok(Part { key, cells, index: *index })
        })
        .collect()
}

fn unsupported(batch: &TableBatch, column: &Column) -> Error {
    let text = format!("line protocol has no {} for a {}", column.data_type(), column.role().as_str());
    place(Error::new(ErrorKind::Unsupported, text), batch, column)
        .with_hint("cast the column to text or to a number before, or leave it out")
}

/// What the loops over the rows of a batch have in common.
struct Batch<'a> {
    known: &'a Known,
    batch: &'a TableBatch,
    times: Option<(usize, Times<'a>)>,
}

impl<'a> Batch<'a> {
    fn new(known: &'a Known, batch: &'a TableBatch, precision: Precision) -> Result<Self> {
        let times = |index| match Times::new(batch.batch().column(index), precision) {
            Some(times) => Ok((index, times)),
            None => Err(unsupported(batch, &batch.schema().columns()[index])),
        };
        Ok(Self { known, batch, times: known.time.map(times).transpose()? })
    }

    #[inline(always)]
    fn time(&self, row: usize) -> Result<Option<i64>> {
        match &self.times {
            Some((index, times)) => times.get(row).map_err(|text| self.fault(row, *index, text)),
            None => Ok(None),
        }
    }

    #[cold]
    fn fault(&self, row: usize, index: usize, fault: Fault) -> Error {
        let column = &self.batch.schema().columns()[index];
        let error =
            Error::new(ErrorKind::Data, format!("the value {fault}")).with_code("not_in_line_protocol");
        let table = self.batch.table().to_string();
        error.with_location(
            Location::new().with_table(table.as_str()).with_column(column.name()).with_row(row as u64),
        )
    }

    #[cold]
    fn no_field(&self, row: usize) -> Error {
        let table = self.batch.table().to_string();
        Error::new(ErrorKind::Data, "the row has no field that is not null, and line protocol needs one")
            .with_code("missing_fields")
            .with_location(Location::new().with_table(table.as_str()).with_row(row as u64))
            .with_hint("leave such rows out, or make a column a field that is never null")
    }
}

/// Texts up to this length are planned for by the longest of the batch, longer ones row by row, so that one long text
/// does not make room for itself in every row.
const SHORT: usize = 256;
/// Room is made for so many bytes at a time, unless fewer rows are left.
const CHUNK: usize = 16 << 10;

/// Rows of the dialect `influx`.
fn write_rows(batch: &Batch<'_>, rows: Range<usize>, out: &mut Vec<u8>) -> Result<()> {
    let of = |array, _: &_| Cells::new(array);
    let known = batch.known;
    let (tags, fields) = (parts(&known.tags, batch.batch, of)?, parts(&known.fields, batch.batch, of)?);
    // A space, the timestamp and the line feed are no longer than a number.
    let mut longest = known.measurement.as_bytes().len() + put::LONGEST_NUMBER + put::SLACK;
    let mut long = Vec::new();
    for part in tags.iter().chain(&fields) {
        let text = part.cells.longest_text(rows.clone());
        longest += part.key.as_bytes().len() + put::LONGEST_NUMBER + put::longest_text(text.min(SHORT));
        if text > SHORT {
            long.push(&part.cells);
        }
    }
    let (mut at, mut stamps) = (out.len(), put::Stamps::default());
    for row in rows.clone() {
        let texts =
            long.iter().map(|cells| put::longest_text(cells.longest_text(row..row + 1))).sum::<usize>();
        let room = longest + texts;
        if out.len() - at < room {
            out.resize(at + room.max(CHUNK.min(longest.saturating_mul(rows.end - row))), 0);
        }
        let buf = out.as_mut_slice();
        at = known.measurement.write(buf, at);
        for part in &tags {
            if !part.cells.is_null(row) {
                at = part.key.write(buf, at);
                at = part.cells.write_tag(row, buf, at).map_err(|text| batch.fault(row, part.index, text))?;
            }
        }
        let end = at;
        for part in &fields {
            if !part.cells.is_null(row) {
                at = part.key.write(buf, at);
                at = part
                    .cells
                    .write_field(row, buf, at)
                    .map_err(|text| batch.fault(row, part.index, text))?;
            }
        }
        if at == end {
            return Err(batch.no_field(row));
        }
        // The first field comes after a space.
        buf[end] = b' ';
        at = match batch.time(row)? {
            Some(time) => stamps.write(buf, at, time),
            None => put::byte(buf, at, b'\n'),
        };
    }
    out.truncate(at);
    Ok(())
}
