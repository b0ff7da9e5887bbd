//! Batches to COPY BINARY.
//!
//! Rows are taken in blocks that stay in the cache. Of a block each column is prepared first: values are checked
//! and brought into what can be copied, and are measured. Then the rows are written, one after the other, into
//! memory that is known to suffice; nothing can go wrong there any more.

mod cell;
mod column;
mod list;
mod nul;
mod number;
mod room;
mod text;

use std::ops::Range;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType as Arrow;
use kwsync_core::{Cast, Error, ErrorKind, Location, Result, Schema, TableBatch};

use self::cell::{Column, Group, Table};
use self::column::Scratch;
use self::room::{append, store};
use super::fault::{Faults, RowFault};
use super::form::{self, Form};
use super::options::{CopyColumn, CopyOptions};
use super::{HEADER, TRAILER};

/// Rows that are prepared together.
const BLOCK: usize = 1024;

/// Writes batches of one table as COPY BINARY, for the columns of one target.
///
/// The module's page has the table of what goes into what.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use kwsync_core::system::postgres::types::{PgType, oid};
/// use kwsync_core::{Column, DataType, Schema, TableBatch, Value};
/// use kwsync_formats::pgcopy::{CopyColumn, CopyEncoder, CopyOptions};
///
/// let schema = Arc::new(Schema::new(vec![Column::new("n", DataType::Int64)])?);
/// let batch = TableBatch::from_rows("t", Arc::clone(&schema), &[vec![Value::Int(7)], vec![Value::Int(70_000)]])?;
/// let target = CopyColumn::new("n", PgType::base(oid::INT2, -1, "smallint"));
/// let mut encoder = CopyEncoder::try_new(&schema, &[target], CopyOptions::new())?;
///
/// let mut out = Vec::new();
/// CopyEncoder::write_header(&mut out);
/// let faults = encoder.encode(&batch, 0..2, &mut out)?;
/// CopyEncoder::write_trailer(&mut out);
/// assert_eq!(out[19..], [0, 1, 0, 0, 0, 2, 0, 7, 0xff, 0xff]);
/// assert_eq!((faults[0].row, faults[0].code), (1, "integer_overflow"));
/// # Ok::<(), kwsync_core::Error>(())
/// ```
#[derive(Debug)]
pub struct CopyEncoder {
    targets: Vec<Target>,
    options: CopyOptions,
    /// The schema that `source` of the targets was looked up in.
    schema: Arc<Schema>,
    casts: Vec<Cast>,
    coerced: u64,
}

/// One column of the target, and where its values come from.
#[derive(Debug)]
struct Target {
    name: String,
    form: Form,
    /// The column of the batch.
    source: usize,
    scratch: Scratch,
    dictionary: Option<Dictionary>,
}

/// The values of a dictionary, encoded once for all batches that share it.
#[derive(Debug)]
struct Dictionary {
    values: ArrayRef,
    table: Table,
    faults: Faults,
}

impl CopyEncoder {
    /// An encoder of batches of `schema` into the columns `targets`, in the order of the COPY's column list. Each is
    /// taken from the batch's column of the same name; a column of the batch that no target names is left out.
    ///
    /// # Errors
    /// `Schema`, with the code `no_exact_cast`, for a pair of types without an exact way, and for a target that the
    /// schema does not have.
    pub fn try_new(schema: &Arc<Schema>, targets: &[CopyColumn], options: CopyOptions) -> Result<Self> {
        if targets.len() > i16::MAX as usize {
            return Err(Error::new(ErrorKind::Schema, format!("a row of {} columns", targets.len())));
        }
        let mut casts = Vec::new();
        let targets = targets
            .iter()
            .map(|target| {
                let source = source_of(schema, &target.name)?;
                let from = schema.columns()[source].data_type();
                let (form, cast) = form::plan(&target.name, from, &target.pg_type, &options)?;
                casts.extend(cast);
                Ok(Target {
                    name: target.name.clone(),
                    form,
                    source,
                    scratch: Scratch::default(),
                    dictionary: None,
                })
            })
            .collect::<Result<_>>()?;
        Ok(Self { targets, options, schema: Arc::clone(schema), casts, coerced: 0 })
    }

    /// The columns whose type changes on the way or whose values may be refused, for a sink's plan.
    pub fn casts(&self) -> &[Cast] {
        &self.casts
    }

    /// Values changed so far because an option allows it (`timestamp_ns=truncate`). A row that is left out counts
    /// with the values in it that were changed before.
    pub fn coerced(&self) -> u64 {
        self.coerced
    }

    /// Appends what stands before the first row of a stream.
    pub fn write_header(out: &mut Vec<u8>) {
        out.extend_from_slice(HEADER);
    }

    /// Appends what stands behind the last row. PostgreSQL does not ask for it.
    pub fn write_trailer(out: &mut Vec<u8>) {
        out.extend_from_slice(&TRAILER);
    }

    /// Appends the rows `rows` of `batch`. Rows that cannot be held exactly are left out and returned, in order. Batches
    /// of the schema may lie in memory in any encoding, and in another one each time.
    ///
    /// # Errors
    /// `Schema` when the batch lacks a column or has it with another type. `out` then ends where it ended before.
    ///
    /// # Panics
    /// When `rows` reaches beyond the batch.
    pub fn encode(
        &mut self,
        batch: &TableBatch,
        rows: Range<usize>,
        out: &mut Vec<u8>,
    ) -> Result<Vec<RowFault>> {
        assert!(rows.start <= rows.end && rows.end <= batch.rows(), "rows {rows:?} of {}", batch.rows());
        self.learn(batch.schema())?;
        let began = out.len();
        let mut faults = Vec::new();
        let result = self.encode_rows(batch, rows, out, &mut faults);
        if result.is_err() {
            out.truncate(began);
        }
        result.map(|()| faults)
    }

    fn encode_rows(
        &mut self,
        batch: &TableBatch,
        rows: Range<usize>,
        out: &mut Vec<u8>,
        faults: &mut Vec<RowFault>,
    ) -> Result<()> {
        let arrays = self
            .targets
            .iter_mut()
            .map(|target| {
                let array = batch.batch().column(target.source);
                target.resolve(array, rows.clone(), &self.options)
            })
            .collect::<Result<Vec<_>>>()?;
        let began = out.len();
        for from in rows.clone().step_by(BLOCK) {
            let count = BLOCK.min(rows.end - from);
            let block: Vec<ArrayRef> =
                arrays.iter().map(|array| array.slice(from - rows.start, count)).collect();
            let mut found: Vec<(usize, usize, super::fault::Fault)> = Vec::new();
            let mut cells = Vec::with_capacity(block.len());
            for (index, (target, array)) in self.targets.iter_mut().zip(&block).enumerate() {
                let mut here = Faults::default();
                let dictionary = target.dictionary.as_ref();
                let prepared = match dictionary {
                    Some(dictionary) => column::keyed(
                        array,
                        &dictionary.table,
                        &dictionary.faults,
                        &mut target.scratch,
                        &mut here,
                    ),
                    None => column::prepare(
                        array.as_ref(),
                        &target.form,
                        &self.options,
                        &mut target.scratch,
                        &mut here,
                    ),
                };
                cells.push(prepared.map_err(|error| at_column(error, &target.name))?);
                self.coerced += here.coerced;
                found.extend(here.found.into_iter().map(|(row, fault)| (row, index, fault)));
            }
            let start = out.len();
            if write_rows(&cells, count, &mut found, out) {
                // There is a NUL in text. That is seen while copying, and so rare that copying twice costs less.
                out.truncate(start);
                let mut here = Faults::default();
                for (index, (cell, array)) in cells.iter().zip(&block).enumerate() {
                    if cell.text {
                        text::find_nuls(array.as_ref(), &mut here);
                        found.extend(here.found.drain(..).map(|(row, fault)| (row, index, fault)));
                    }
                }
                write_rows(&cells, count, &mut found, out);
            }
            let names = self.targets.iter().map(|target| target.name.as_str()).collect::<Vec<_>>();
            faults.extend(
                found
                    .into_iter()
                    .map(|(row, index, fault)| RowFault::new(from + row, index, names[index], fault)),
            );
            if from == rows.start {
                // The other rows will need about as much as these.
                let expected = (out.len() - began) / count * (rows.len() - count);
                out.reserve(expected + expected / 16);
            }
        }
        Ok(())
    }

    fn learn(&mut self, schema: &Arc<Schema>) -> Result<()> {
        if Arc::ptr_eq(&self.schema, schema) {
            return Ok(());
        }
        let mut sources = Vec::with_capacity(self.targets.len());
        for target in &self.targets {
            let source = source_of(schema, &target.name)?;
            let (known, new) =
                (self.schema.columns()[target.source].data_type(), schema.columns()[source].data_type());
            if known != new {
                return Err(Error::new(
                    ErrorKind::Schema,
                    format!("column {:?} is {new}, but the load was planned for {known}", target.name),
                )
                .with_code("type_conflict"));
            }
            sources.push(source);
        }
        for (target, source) in self.targets.iter_mut().zip(sources) {
            target.source = source;
        }
        self.schema = Arc::clone(schema);
        Ok(())
    }
}

impl Target {
    /// The rows of a column. A dictionary that is much larger than what is asked of it is resolved; of another one
    /// all values are encoded, once.
    fn resolve(&mut self, array: &ArrayRef, rows: Range<usize>, options: &CopyOptions) -> Result<ArrayRef> {
        let part = array.slice(rows.start, rows.len());
        let Some(values) = dictionary_values(array.as_ref()) else {
            self.dictionary = None;
            return Ok(part);
        };
        if self.dictionary.as_ref().is_some_and(|known| Arc::ptr_eq(&known.values, values)) {
            return Ok(part);
        }
        if values.len() > 2 * rows.len() {
            self.dictionary = None;
            return flat(&part);
        }
        let mut table = self.dictionary.take().map(|dictionary| dictionary.table).unwrap_or_default();
        let mut faults = Faults::default();
        table.fill(values.as_ref(), &self.form, options, &mut self.scratch, &mut faults)?;
        self.dictionary = Some(Dictionary { values: Arc::clone(values), table, faults });
        Ok(part)
    }
}

fn dictionary_values(array: &dyn Array) -> Option<&ArrayRef> {
    use arrow_array::cast::AsArray;
    array.as_any_dictionary_opt().map(|dictionary| dictionary.values())
}

/// A dictionary's rows without the dictionary.
fn flat(array: &ArrayRef) -> Result<ArrayRef> {
    use arrow_array::cast::AsArray;
    let mut array = Arc::clone(array);
    while let Some(dictionary) = array.as_any_dictionary_opt() {
        let made = arrow_select::take::take(dictionary.values(), dictionary.keys(), None);
        array = made.map_err(|error| {
            Error::new(ErrorKind::Internal, "cannot read a dictionary").with_source(error)
        })?;
    }
    Ok(array)
}

fn source_of(schema: &Schema, name: &str) -> Result<usize> {
    schema.index_of(name).ok_or_else(|| {
        Error::new(ErrorKind::Schema, format!("the batch has no column {name:?} for the target's"))
    })
}

fn at_column(error: Error, name: &str) -> Error {
    error.with_location(Location::new().with_column(name))
}

/// A column that is not what its schema says: nothing that data can bring about.
fn unexpected(arrow: &Arrow, form: &Form) -> Error {
    Error::new(ErrorKind::Internal, format!("no way from {arrow} to {form:?}"))
}

/// Writes `count` rows but those that have a fault; `found` is left with the first fault of each, in order. Returns
/// whether there was a NUL in text.
fn write_rows(
    cells: &[Column<'_>],
    count: usize,
    found: &mut Vec<(usize, usize, super::fault::Fault)>,
    out: &mut Vec<u8>,
) -> bool {
    found.sort_by_key(|(row, column, _)| (*row, *column));
    found.dedup_by_key(|(row, _, _)| *row);
    let bound = count * 2 + cells.iter().map(|cell| count * 4 + cell.bytes).sum::<usize>();
    let groups = Group::of(cells, count);
    let mut nul = false;
    let width = (cells.len() as u16).to_be_bytes();
    let mut bad = found.iter().map(|(row, _, _)| *row).peekable();
    append(out, bound, |room| {
        let mut at = 0;
        for row in 0..count {
            if bad.peek() == Some(&row) {
                bad.next();
                continue;
            }
            store(room, at, &width);
            at += 2;
            for group in &groups {
                at = group.put(row, room, at, &mut nul);
            }
        }
        at
    });
    nul
}
