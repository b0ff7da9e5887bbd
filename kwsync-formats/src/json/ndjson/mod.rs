//! Rows as JSON objects, one a line.

mod cells;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::sync::Arc;

use kwsync_core::{Encoder, Error, ErrorKind, Location, Result, Schema, TableBatch};

pub(super) use self::cells::Cells;
use super::escape::write_string;

/// What becomes of a null.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Nulls {
    /// The object has no such key.
    #[default]
    Omit,
    /// `"key":null`.
    Write,
}

/// What becomes of a float that JSON has no number for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum NonFinite {
    /// The strings `"NaN"`, `"Infinity"`, `"-Infinity"`: nothing is lost.
    #[default]
    Text,
    /// `null`, whatever becomes of other nulls.
    Null,
    /// A fault of the row, with the code `non_finite`.
    Reject,
}

/// How [`NdjsonEncoder`] writes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct NdjsonOptions {
    /// What becomes of nulls.
    pub nulls: Nulls,
    /// What becomes of NaN and the infinities.
    pub non_finite: NonFinite,
    /// The key under which the table's name stands first in every object; `None` leaves it out.
    pub table_key: Option<String>,
}

impl NdjsonOptions {
    /// Nulls left out, NaN as text, no name of the table.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets what becomes of nulls.
    #[must_use]
    pub fn with_nulls(mut self, nulls: Nulls) -> Self {
        self.nulls = nulls;
        self
    }

    /// Sets what becomes of NaN and the infinities.
    #[must_use]
    pub fn with_non_finite(mut self, non_finite: NonFinite) -> Self {
        self.non_finite = non_finite;
        self
    }

    /// Writes the table's name first in every object, under this key.
    #[must_use]
    pub fn with_table_key(mut self, key: impl Into<String>) -> Self {
        self.table_key = Some(key.into());
        self
    }
}

/// Writes each row as one JSON object on a line of its own, columns in the order of the schema.
///
/// | type | JSON |
/// |---|---|
/// | integers | number, all digits |
/// | floats | number, the fewest digits that read back the same |
/// | bool | `true`, `false` |
/// | numeric, money | string of all digits: readers would round a number |
/// | text of any kind, JSON, XML | string |
/// | bytes | string `\x` and hexadecimal digits, as PostgreSQL writes bytea |
/// | uuid | string with hyphens |
/// | timestamp, timestamptz | string, RFC 3339 with 0, 3, 6 or 9 digits by unit; only the latter ends in `Z` |
/// | date, time | string, `2024-01-31`, `23:59:59.999` |
/// | interval | string, ISO 8601: `P1M2DT3.5S` |
/// | array | array |
///
/// Dictionaries and views are read in place.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use kwsync_core::{Column, DataType, Encoder, Schema, TableBatch, Value};
/// use kwsync_formats::json::{NdjsonEncoder, NdjsonOptions};
///
/// let schema = Arc::new(Schema::new(vec![Column::new("host", DataType::Text), Column::new("n", DataType::Int64)])?);
/// let batch = TableBatch::from_rows("cpu", schema, &[vec![Value::Text("a".into()), Value::Int(1)], vec![Value::Null, Value::Int(2)]])?;
/// let mut out = Vec::new();
/// NdjsonEncoder::new(NdjsonOptions::new()).encode(&batch, 0..2, &mut out)?;
/// assert_eq!(out, b"{\"host\":\"a\",\"n\":1}\n{\"n\":2}\n");
/// # Ok::<(), kwsync_core::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct NdjsonEncoder {
    options: NdjsonOptions,
    /// The schema that `keys` belong to.
    schema: Option<Arc<Schema>>,
    /// `"name":` of each column, escaped once.
    keys: Vec<Vec<u8>>,
}

impl NdjsonEncoder {
    /// An encoder of these options.
    pub fn new(options: NdjsonOptions) -> Self {
        Self { options, schema: None, keys: Vec::new() }
    }

    fn learn(&mut self, schema: &Arc<Schema>) {
        if self.schema.as_ref().is_some_and(|known| Arc::ptr_eq(known, schema)) {
            return;
        }
        self.keys = schema.columns().iter().map(|column| key(column.name())).collect();
        self.schema = Some(Arc::clone(schema));
    }
}

impl Encoder for NdjsonEncoder {
    fn format(&self) -> &'static str {
        "json"
    }

    fn encode(&mut self, batch: &TableBatch, rows: Range<usize>, out: &mut Vec<u8>) -> Result<()> {
        assert!(rows.end <= batch.rows(), "rows {rows:?} of {}", batch.rows());
        self.learn(batch.schema());
        let columns = batch.schema().columns().iter().zip(batch.batch().columns());
        let cells: Vec<Cells<'_>> =
            columns.map(|(column, array)| Cells::new(array, column.data_type())).collect::<Result<_>>()?;
        let mut start = vec![b'{'];
        if let Some(name) = &self.options.table_key {
            start.extend(key(name));
            write_string(&batch.table().to_string(), &mut start);
        }
        let began = out.len();
        for row in rows {
            out.extend_from_slice(&start);
            let mut first = start.len() == 1;
            for (index, (cells, key)) in cells.iter().zip(&self.keys).enumerate() {
                let null = cells.is_null(row);
                if null && self.options.nulls == Nulls::Omit {
                    continue;
                }
                if !std::mem::take(&mut first) {
                    out.push(b',');
                }
                out.extend_from_slice(key);
                if null {
                    out.extend_from_slice(b"null");
                } else if !cells.write(row, self.options.non_finite, out) {
                    out.truncate(began);
                    return Err(not_finite(batch, index, row));
                }
            }
            out.extend_from_slice(b"}\n");
        }
        Ok(())
    }
}

fn key(name: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(name.len() + 3);
    write_string(name, &mut key);
    key.push(b':');
    key
}

fn not_finite(batch: &TableBatch, column: usize, row: usize) -> Error {
    let name = batch.schema().columns().get(column).map_or("", |column| column.name());
    let place =
        Location::new().with_table(batch.table().to_string().as_str()).with_column(name).with_row(row as u64);
    Error::new(ErrorKind::Data, "JSON has no number for NaN and the infinities")
        .with_code("non_finite")
        .with_location(place)
        .with_hint("write them as text or as null: nonfinite=text|null")
}
