//! Rows of a cursor as columns of integers, floats, text and bytes: by blocks, or one by one.

use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_array::builder::{
    ArrayBuilder, BinaryBuilder, Float32Builder, Float64Builder, Int64Builder, StringBuilder,
};
use arrow_odbc::odbc_api::{Cursor, CursorRow, Error as OdbcError, Nullable, ResultSetMetadata};
use arrow_odbc::{OdbcReader as Blocks, OdbcReaderBuilder, TextEncoding};
use kwsync_core::arrow::schema::{ArrowError, DataType as Arrow, Field, Schema as ArrowSchema};
use kwsync_core::{Error, ErrorKind, Result};

use super::convert::{Fault, Faults};
use super::session::Told;
use super::types::{Fetch, Way};

/// Bounds of a batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) rows: usize,
    pub(super) bytes: usize,
}

/// Fetched rows, and the faults that were seen on the way.
pub(super) type Fetched = (Vec<ArrayRef>, Faults);

/// Why a block could not be fetched.
pub(super) enum Failed {
    /// A value is longer than the driver had said.
    TooLong,
    Error(Error),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// Fetches blocks.
pub(super) fn blocks<C: Cursor>(cursor: C, ways: &[Way], bounds: Bounds) -> Result<Blocks<C>> {
    let field = |way: &Way| match way.fetch {
        Fetch::Int => Arrow::Int64,
        Fetch::Float32 => Arrow::Float32,
        Fetch::Float64 => Arrow::Float64,
        Fetch::Text => Arrow::Utf8,
        Fetch::Bytes => Arrow::Binary,
    };
    // Names do not matter here, nor whether drivers know that a column is never null.
    let fields: Vec<_> =
        ways.iter().enumerate().map(|(at, way)| Field::new(at.to_string(), field(way), true)).collect();
    let mut builder = OdbcReaderBuilder::new();
    builder
        .with_schema(Arc::new(ArrowSchema::new(fields)))
        .with_max_num_rows_per_batch(bounds.rows)
        .with_max_bytes_per_batch(bounds.bytes)
        .with_payload_text_encoding(TextEncoding::Utf16)
        .with_fallibale_allocations(true);
    builder.build(cursor).map_err(|error| {
        Error::new(ErrorKind::Limit, format!("rows cannot be fetched by blocks: {error}"))
            .with_hint("use fetch=rows")
    })
}

/// The next block; none at the end.
pub(super) fn next_block<C: Cursor>(blocks: &mut Blocks<C>, told: &Told) -> Result<Option<Fetched>, Failed> {
    match blocks.next() {
        None => Ok(None),
        Some(Ok(batch)) => {
            let rows = batch.num_rows();
            Ok(Some((batch.columns().to_vec(), vec![None; rows])))
        }
        Some(Err(ArrowError::ExternalError(error))) => match error.downcast::<OdbcError>() {
            Ok(error) if matches!(*error, OdbcError::TooLargeValueForBuffer { .. }) => Err(Failed::TooLong),
            Ok(error) => Err(Failed::Error(told.error(*error))),
            Err(error) => Err(Failed::Error(
                Error::new(ErrorKind::Protocol, format!("the driver sent what cannot be read: {error}"))
                    .with_hint("use fetch=rows"),
            )),
        },
        Some(Err(error)) => {
            Err(Failed::Error(Error::new(ErrorKind::Protocol, "a block cannot be read").with_source(error)))
        }
    }
}

enum Column {
    Int(Int64Builder),
    Float32(Float32Builder),
    Float64(Float64Builder),
    Text(StringBuilder),
    Bytes(BinaryBuilder),
}

/// Fetches rows one by one, values of any length.
pub(super) struct Rows<C> {
    cursor: C,
    columns: Vec<Column>,
    bounds: Bounds,
    wide: Vec<u16>,
    bytes: Vec<u8>,
    text: String,
}

impl<C: Cursor + ResultSetMetadata> Rows<C> {
    pub(super) fn new(cursor: C, ways: &[Way], bounds: Bounds) -> Self {
        let column = |way: &Way| match way.fetch {
            Fetch::Int => Column::Int(Int64Builder::new()),
            Fetch::Float32 => Column::Float32(Float32Builder::new()),
            Fetch::Float64 => Column::Float64(Float64Builder::new()),
            Fetch::Text => Column::Text(StringBuilder::new()),
            Fetch::Bytes => Column::Bytes(BinaryBuilder::new()),
        };
        let columns = ways.iter().map(column).collect();
        Self { cursor, columns, bounds, wide: Vec::new(), bytes: Vec::new(), text: String::new() }
    }

    /// The next rows; none at the end.
    pub(super) fn next(&mut self, told: &Told) -> Result<Option<Fetched>> {
        let (mut faults, mut size) = (Faults::new(), 0);
        while faults.len() < self.bounds.rows && size < self.bounds.bytes {
            let Some(mut row) = self.cursor.next_row().map_err(|error| told.error(error))? else { break };
            let mut fault = None;
            for (at, column) in self.columns.iter_mut().enumerate() {
                let buffers = Buffers { wide: &mut self.wide, bytes: &mut self.bytes, text: &mut self.text };
                let (length, exact) =
                    take(&mut row, at, column, buffers).map_err(|error| told.error(error))?;
                size += length;
                if !exact && fault.is_none() {
                    let reason = "half of a character stands alone: the text is not UTF-16".to_owned();
                    fault = Some((at, Fault { code: "bad_text", reason }));
                }
            }
            faults.push(fault);
        }
        if faults.is_empty() {
            return Ok(None);
        }
        let arrays = self.columns.iter_mut().map(|column| match column {
            Column::Int(to) => ArrayBuilder::finish(to),
            Column::Float32(to) => ArrayBuilder::finish(to),
            Column::Float64(to) => ArrayBuilder::finish(to),
            Column::Text(to) => ArrayBuilder::finish(to),
            Column::Bytes(to) => ArrayBuilder::finish(to),
        });
        Ok(Some((arrays.collect(), faults)))
    }
}

struct Buffers<'a> {
    wide: &'a mut Vec<u16>,
    bytes: &'a mut Vec<u8>,
    text: &'a mut String,
}

/// Units of a buffer that is kept; a larger one would be cleared as a whole for each value that follows.
const KEPT: usize = 4 << 10;

/// A buffer as it was, unless a long value made it large.
fn small<T>(buffer: &mut Vec<T>) -> &mut Vec<T> {
    if buffer.capacity() > KEPT {
        *buffer = Vec::with_capacity(KEPT);
    }
    buffer
}

/// Takes a value of a row; its length, and whether all of it could be had.
fn take(
    row: &mut CursorRow<'_>,
    at: usize,
    column: &mut Column,
    buffers: Buffers<'_>,
) -> std::result::Result<(usize, bool), OdbcError> {
    let number = at as u16 + 1;
    match column {
        Column::Int(to) => {
            let mut value = Nullable::<i64>::null();
            row.get_data(number, &mut value)?;
            to.append_option(value.into_opt());
        }
        Column::Float32(to) => {
            let mut value = Nullable::<f32>::null();
            row.get_data(number, &mut value)?;
            to.append_option(value.into_opt());
        }
        Column::Float64(to) => {
            let mut value = Nullable::<f64>::null();
            row.get_data(number, &mut value)?;
            to.append_option(value.into_opt());
        }
        Column::Text(to) => {
            if !row.get_wide_text(number, small(buffers.wide))? {
                to.append_null();
                return Ok((1, true));
            }
            let mut exact = true;
            buffers.text.clear();
            buffers.text.extend(char::decode_utf16(buffers.wide.iter().copied()).map(|c| {
                c.unwrap_or_else(|_| {
                    exact = false;
                    char::REPLACEMENT_CHARACTER
                })
            }));
            to.append_value(&buffers.text);
            return Ok((buffers.text.len() + 4, exact));
        }
        Column::Bytes(to) => {
            match row.get_binary(number, small(buffers.bytes))? {
                true => to.append_value(&buffers.bytes),
                false => to.append_null(),
            }
            return Ok((buffers.bytes.len() + 4, true));
        }
    }
    Ok((8, true))
}
