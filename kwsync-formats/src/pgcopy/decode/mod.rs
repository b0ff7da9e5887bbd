//! COPY BINARY to batches.

mod builder;
mod read;

use std::sync::Arc;

use bytes::Bytes;
use kwsync_core::system::postgres::types::{PgKind, PgType, oid};
use kwsync_core::{
    Column, DataType, DecodeCounts, Decoded, Decoder, Error, ErrorKind, Input, Location, Origin, Position,
    RecordRef, Reject, Result, Schema, Segment, Stage, TableBatch, TableId,
};

use self::builder::Builder;
use super::form::Form;
use super::options::CopyColumn;
use super::{HEADER, MAX_VALUE};

/// Reads a COPY BINARY stream, such as `COPY ... TO STDOUT (FORMAT binary)` sends, into batches of one table.
///
/// A value without a counterpart here is a reject of its row: `numeric_nan` (NaN and infinities in a numeric with
/// bounds), `infinite_time`, `array_dimensions`, `array_bounds`, `bad_utf8`, `bad_value`.
#[derive(Debug)]
pub struct CopyDecoder {
    table: TableId,
    schema: Arc<Schema>,
    columns: Vec<Source>,
    batch_rows: usize,
    batch_bytes: usize,
    state: State,
    /// The record in hand, as far as earlier chunks had it.
    partial: Vec<u8>,
    scan: Scan,
    /// The values of it that were found so far.
    fields: Vec<Field>,
    block: Block,
    input: Arc<Input>,
    /// Of the first byte that belongs to no finished record.
    at: Position,
    /// Of the first record that is buffered.
    base: Position,
    records: Vec<RecordRef>,
    /// Rows that were refused, to be left out.
    bad: Vec<bool>,
    refused: usize,
    bytes: usize,
    rejects: Vec<Reject>,
    counts: DecodeCounts,
}

#[derive(Debug)]
struct Source {
    name: String,
    form: Form,
    builder: Builder,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Header,
    Rows,
    Done,
}

/// Rows whose columns are built together: one type after the other, instead of every type for each row.
const BLOCK_ROWS: usize = 256;
const BLOCK_BYTES: usize = 256 << 10;

/// Where a value begins, and its length; -1 for a null.
type Field = (u32, i32);

/// Rows that were found, and whose columns have not been built.
#[derive(Debug, Default)]
struct Block {
    bytes: Vec<u8>,
    /// Row by row.
    fields: Vec<Field>,
    rows: usize,
}

impl Block {
    /// The values of one of so many columns.
    fn values(&self, column: usize, columns: usize) -> impl Iterator<Item = Option<&[u8]>> {
        let fields = self.fields.get(column..).unwrap_or_default().iter().step_by(columns.max(1));
        fields.map(|(start, length)| {
            let start = *start as usize;
            let length = usize::try_from(*length).ok()?;
            // The scan has seen that it is there.
            Some(self.bytes.get(start..start + length).unwrap_or_default())
        })
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.fields.clear();
        self.rows = 0;
    }
}

/// How far the record in hand has been looked through.
#[derive(Clone, Copy, Debug, Default)]
struct Scan {
    at: usize,
    fields: usize,
}

/// What the bytes in hand are.
enum Step {
    /// A whole record of this length.
    Record(usize),
    Trailer,
    /// At least so many bytes in all are needed to know more.
    More(usize),
}

impl CopyDecoder {
    /// The schema of a stream's columns: each of its type's own [`DataType`], arrays of one dimension.
    ///
    /// # Errors
    /// `Schema` when two columns have one name.
    pub fn schema_of(columns: &[CopyColumn]) -> Result<Schema> {
        Schema::new(columns.iter().map(|c| Column::new(c.name.as_str(), c.pg_type.data_type())).collect())
    }

    /// Whether the binary form of a type is known; columns of others are read as text, by a cast in the query.
    pub fn reads(pg_type: &PgType) -> bool {
        Form::of(pg_type).is_some()
    }

    /// A decoder of a stream that has `columns`, into batches of `schema`, whose columns are these in the same order.
    /// Types are as [`schema_of`](Self::schema_of) says; an array may have more dimensions, and a tid may be an integer: 65,536 times
    /// its block, and its item.
    ///
    /// # Errors
    /// `Schema` for other columns, and for a type whose binary form is not known.
    pub fn try_new(table: impl Into<TableId>, schema: &Arc<Schema>, columns: &[CopyColumn]) -> Result<Self> {
        let fault = |text: String| Error::new(ErrorKind::Schema, text);
        if schema.columns().len() != columns.len() {
            return Err(fault(format!(
                "{} columns for a schema of {}",
                columns.len(),
                schema.columns().len()
            )));
        }
        let sources = columns
            .iter()
            .zip(schema.columns())
            .map(|(column, own)| {
                let name = &column.name;
                let form = Form::of(&column.pg_type).ok_or_else(|| {
                    fault(format!(
                        "column {name:?}: the binary form of {} is not known here",
                        column.pg_type.name
                    ))
                    .with_hint(format!("read it as text: SELECT ... {name}::text"))
                })?;
                let place = column.pg_type.oid == oid::TID && *own.data_type() == DataType::Int64;
                if own.name() != name || !place && leaf(own.data_type()) != leaf(&pg_leaf(&column.pg_type)) {
                    return Err(fault(format!(
                        "column {name:?} is {}, and the schema has {:?} as {}",
                        column.pg_type.name,
                        own.name(),
                        own.data_type()
                    )));
                }
                let builder = Builder::of(&own.data_type().to_arrow())
                    .ok_or_else(|| fault(format!("column {name:?}: no way to {}", own.data_type())))?;
                Ok(Source { name: name.clone(), form, builder })
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            table: table.into(),
            schema: Arc::clone(schema),
            columns: sources,
            batch_rows: 65_536,
            batch_bytes: 16 << 20,
            state: State::Header,
            partial: Vec::new(),
            scan: Scan::default(),
            fields: Vec::new(),
            block: Block::default(),
            input: Arc::new(Input::new("")),
            at: Position::default(),
            base: Position::default(),
            records: Vec::new(),
            bad: Vec::new(),
            refused: 0,
            bytes: 0,
            rejects: Vec::new(),
            counts: DecodeCounts::default(),
        })
    }

    /// Sets the bounds of a batch: rows, and bytes of input; 65,536 and 16 MiB if not said.
    #[must_use]
    pub fn with_batch(mut self, rows: usize, bytes: usize) -> Self {
        self.batch_rows = rows.max(1);
        self.batch_bytes = bytes.clamp(1, 1 << 30);
        self
    }

    fn broken(&self, text: String) -> Error {
        Error::new(ErrorKind::Data, format!("this is no COPY BINARY of these columns: {text}"))
            .with_code("bad_copy")
            .with_location(Location::new().with_input(self.input.name()).with_position(self.at))
    }

    /// Looks through `bytes`, which begin where the record in hand does.
    fn step(&mut self, bytes: &[u8]) -> Result<Step> {
        let word = |at: usize| bytes.get(at..).and_then(|rest| rest.first_chunk::<4>()).copied();
        if self.state == State::Header {
            let known = bytes.len().min(11);
            if bytes[..known] != HEADER[..known] {
                return Err(self.broken("it does not begin with PGCOPY".into()));
            }
            let (Some(flags), Some(extension)) = (word(11), word(15)) else { return Ok(Step::More(19)) };
            if u32::from_be_bytes(flags) >> 16 != 0 {
                return Err(self.broken(format!("flags {:#x} are not known", u32::from_be_bytes(flags))));
            }
            let length = 19 + u32::from_be_bytes(extension) as usize;
            if length > 1 << 20 {
                return Err(self.broken(format!("a header of {length} bytes")));
            }
            return Ok(if bytes.len() < length { Step::More(length) } else { Step::Record(length) });
        }
        if self.scan.at == 0 {
            let Some(count) = bytes.first_chunk::<2>() else { return Ok(Step::More(2)) };
            match i16::from_be_bytes(*count) {
                -1 => return Ok(Step::Trailer),
                count if count as usize == self.columns.len() => {
                    self.scan = Scan { at: 2, fields: 0 };
                    self.fields.clear();
                }
                count => {
                    return Err(
                        self.broken(format!("a row of {count} columns where {} belong", self.columns.len()))
                    );
                }
            }
        }
        while self.scan.fields < self.columns.len() {
            let Some(length) = word(self.scan.at) else { return Ok(Step::More(self.scan.at + 4)) };
            let length = i32::from_be_bytes(length);
            let taken = match length {
                -1 => 0,
                length => usize::try_from(length)
                    .ok()
                    .filter(|length| *length <= MAX_VALUE)
                    .ok_or_else(|| self.broken(format!("a value of {length} bytes")))?,
            };
            let start = u32::try_from(self.scan.at + 4)
                .map_err(|_| self.broken("a row of more than 4 GiB".to_owned()))?;
            let end = self.scan.at + 4 + taken;
            if bytes.len() < end {
                return Ok(Step::More(end));
            }
            self.fields.push((start, length));
            self.scan = Scan { at: end, fields: self.scan.fields + 1 };
        }
        Ok(Step::Record(self.scan.at))
    }

    /// Takes the record that `bytes` are.
    fn record(&mut self, bytes: &[u8]) {
        self.scan = Scan::default();
        if self.state == State::Header {
            self.state = State::Rows;
            self.at.byte += bytes.len() as u64;
            return;
        }
        self.at.record += 1;
        if self.records.is_empty() {
            self.base = self.at;
        }
        let start = (self.at.byte - self.base.byte) as u32;
        let record = self.records.len() as u32;
        self.records.push(RecordRef { segment: 0, start, len: bytes.len() as u32, line: 0, record });
        self.bad.push(false);
        self.counts.records += 1;
        self.bytes += bytes.len();
        self.at.byte += bytes.len() as u64;
        let base = self.block.bytes.len() as u32;
        self.block.bytes.extend_from_slice(bytes);
        self.block.fields.extend(self.fields.iter().map(|(start, length)| (base + start, *length)));
        self.block.rows += 1;
        if self.block.rows >= BLOCK_ROWS || self.block.bytes.len() >= BLOCK_BYTES {
            self.build();
        }
    }

    /// Builds the columns of the rows that wait.
    fn build(&mut self) {
        let block = std::mem::take(&mut self.block);
        let first = self.records.len() - block.rows;
        let mut faults = Vec::new();
        let count = self.columns.len();
        for (at, column) in self.columns.iter_mut().enumerate() {
            let bad = &mut self.bad;
            column.builder.push_all(&column.form, block.values(at, count), |row, fault| {
                // The first fault of a row is what it is refused for.
                if let Some(bad) = bad.get_mut(first + row)
                    && !std::mem::replace(bad, true)
                {
                    faults.push((row, at, fault));
                }
            });
        }
        faults.sort_by_key(|(row, ..)| *row);
        self.refused += faults.len();
        for (row, column, fault) in faults {
            let Some(record) = self.records.get(first + row).copied() else { continue };
            let position = Position {
                byte: self.base.byte + u64::from(record.start),
                record: self.base.record + u64::from(record.record),
                ..self.base
            };
            let start = record.start - self.records.get(first).map_or(0, |first| first.start);
            let raw = block.bytes.get(start as usize..(start + record.len) as usize).unwrap_or_default();
            let name = self.columns.get(column).map_or("", |column| &column.name);
            let reason = format!("column {name:?}: {}", fault.reason);
            self.reject_at(position, fault.code, reason, raw);
        }
        self.block = block;
        self.block.clear();
    }

    fn reject(&mut self, code: &str, reason: String, raw: &[u8]) {
        self.reject_at(self.at, code, reason, raw);
    }

    fn reject_at(&mut self, at: Position, code: &str, reason: String, raw: &[u8]) {
        self.rejects.push(Reject {
            position: self.input.resolve(at),
            split: self.input.split().to_owned(),
            stage: Stage::Decode,
            format: self.format().to_owned(),
            table: Some(self.table.clone()),
            code: code.to_owned(),
            reason,
            raw: Bytes::copy_from_slice(raw),
            message: None,
            at: None,
        });
    }
}

/// The item of an array's type; any other type as it is.
fn leaf(data_type: &DataType) -> &DataType {
    match data_type {
        DataType::Array(item) => leaf(item),
        other => other,
    }
}

fn pg_leaf(pg_type: &PgType) -> DataType {
    match &pg_type.kind {
        PgKind::Array(item) => DataType::Array(Box::new(item.data_type())),
        _ => pg_type.data_type(),
    }
}

impl Decoder for CopyDecoder {
    fn format(&self) -> &'static str {
        "pgcopy"
    }

    fn begin(&mut self, input: Arc<Input>, at: Position) {
        self.partial.clear();
        self.scan = Scan::default();
        self.state = State::Header;
        self.input = input;
        self.at = Position { line: 0, column: 0, ..at };
    }

    fn decode(&mut self, chunk: &Bytes) -> Result<usize> {
        self.decode_slice(chunk)
    }

    fn decode_slice(&mut self, bytes: &[u8]) -> Result<usize> {
        let mut used = 0;
        while used < bytes.len() && !self.wants_flush() {
            if self.state == State::Done {
                // Nothing follows the trailer.
                return Err(self.broken("bytes behind its end".into()));
            }
            let rest = &bytes[used..];
            if self.partial.is_empty() {
                match self.step(rest)? {
                    Step::Record(length) => {
                        self.record(&rest[..length]);
                        used += length;
                    }
                    Step::Trailer => {
                        self.state = State::Done;
                        self.at.byte += 2;
                        used += 2;
                    }
                    Step::More(_) => {
                        self.partial.extend_from_slice(rest);
                        used = bytes.len();
                    }
                }
                continue;
            }
            let partial = std::mem::take(&mut self.partial);
            let step = self.step(&partial);
            self.partial = partial;
            match step? {
                Step::Record(_) | Step::Trailer => {}
                Step::More(length) => {
                    let take = (length - self.partial.len()).min(rest.len());
                    self.partial.extend_from_slice(&rest[..take]);
                    used += take;
                }
            }
            let mut partial = std::mem::take(&mut self.partial);
            match self.step(&partial)? {
                Step::Record(_) => {
                    self.record(&partial);
                    partial.clear();
                }
                Step::Trailer => {
                    self.state = State::Done;
                    self.at.byte += 2;
                    partial.clear();
                }
                Step::More(_) => {}
            }
            self.partial = partial;
        }
        Ok(used)
    }

    fn end_record(&mut self) -> Result<()> {
        // Its own rejects come before that of what is cut off behind it.
        self.build();
        let partial = std::mem::take(&mut self.partial);
        if partial.is_empty() {
            return Ok(());
        }
        self.at.record += 1;
        self.reject("truncated", "the input ends in the middle of a row".to_owned(), &partial);
        self.at.byte += partial.len() as u64;
        self.scan = Scan::default();
        Ok(())
    }

    fn flush(&mut self) -> Result<Decoded> {
        self.build();
        let rows = std::mem::take(&mut self.records);
        let mut bad = std::mem::take(&mut self.bad);
        let rejects = std::mem::take(&mut self.rejects);
        let counts = std::mem::take(&mut self.counts);
        self.bytes = 0;
        let mut batches = Vec::new();
        if !rows.is_empty() {
            let mut arrays =
                self.columns.iter_mut().map(|column| column.builder.finish()).collect::<Result<Vec<_>>>()?;
            let mut rows = rows;
            if std::mem::take(&mut self.refused) > 0 {
                bad.iter_mut().for_each(|bad| *bad = !*bad);
                let mut good = bad.iter();
                rows.retain(|_| *good.next().unwrap_or(&false));
                let keep = arrow_array::BooleanArray::from(bad);
                for array in &mut arrays {
                    *array = arrow_select::filter::filter(array.as_ref(), &keep).map_err(|error| {
                        Error::new(ErrorKind::Internal, "cannot filter a batch").with_source(error)
                    })?;
                }
            }
            if !rows.is_empty() {
                let segment = Segment { input: Arc::clone(&self.input), bytes: None, base: self.base };
                let origin = Origin::new([segment], rows);
                let schema = Arc::clone(&self.schema);
                batches.push(TableBatch::from_columns(self.table.clone(), schema, arrays, origin)?);
            }
        }
        Ok(Decoded { batches, rejects, counts })
    }

    fn wants_flush(&self) -> bool {
        self.records.len() >= self.batch_rows || self.bytes >= self.batch_bytes
    }

    fn position(&self) -> Position {
        self.at
    }

    fn has_partial_record(&self) -> bool {
        !self.partial.is_empty()
    }

    fn buffered_rows(&self) -> usize {
        self.records.len() - self.refused
    }

    fn buffered_bytes(&self) -> usize {
        // A value takes at most four times as much here as in the stream: a boolean's field has five bytes.
        self.partial.capacity() + self.block.bytes.capacity() + 4 * self.bytes + self.records.len() * 24
    }

    fn reset(&mut self) {
        self.partial.clear();
        self.scan = Scan::default();
        self.records.clear();
        self.block.clear();
        self.bad.clear();
        self.rejects.clear();
        (self.refused, self.bytes, self.counts) = (0, 0, DecodeCounts::default());
        for column in &mut self.columns {
            // What it holds is dropped with the array.
            drop(column.builder.finish());
        }
    }
}
