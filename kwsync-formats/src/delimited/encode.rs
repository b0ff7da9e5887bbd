//! Rows as lines.

use std::ops::Range;
use std::sync::Arc;

use kwsync_core::{Column, Encoder, Error, ErrorKind, Location, Result, Schema, TableBatch, TableId};

use super::cells::Cells;
use super::charset::Charset;
use super::options::{DelimitedOptions, Form, Header};
use crate::framing::BOM;

/// Writes each row as a line of PostgreSQL's TEXT or CSV, all columns in their order.
///
/// What is written, PostgreSQL's COPY with the same options reads to the same values, and so does
/// [`DelimitedDecoder`](super::DelimitedDecoder). With a header the names of the first batch's columns stand first; a file
/// with a header holds one table.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use kwsync_core::{Column, DataType, Encoder, Schema, TableBatch, Value};
/// use kwsync_formats::delimited::{DelimitedEncoder, DelimitedOptions, Header};
///
/// let columns = vec![Column::new("id", DataType::Int64), Column::new("note", DataType::Text)];
/// let rows = [vec![Value::Int(1), Value::Text("a, \"b\"".into())], vec![Value::Int(2), Value::Null]];
/// let batch = TableBatch::from_rows("t", Arc::new(Schema::new(columns)?), &rows)?;
/// let mut out = Vec::new();
/// DelimitedEncoder::new(DelimitedOptions::csv().with_header(Header::Names))?.encode(&batch, 0..2, &mut out)?;
/// assert_eq!(out, b"id,note\n1,\"a, \"\"b\"\"\"\n2,\n");
/// # Ok::<(), kwsync_core::Error>(())
/// ```
#[derive(Debug)]
pub struct DelimitedEncoder {
    options: DelimitedOptions,
    /// The table whose header has been written
    headed: Option<(TableId, Arc<Schema>)>,
    /// Bytes that a field may not hold unless it is escaped or quoted
    special: [bool; 256],
    cell: Vec<u8>,
}

/// What a value cannot be written for.
type Fault = (&'static str, String);

impl DelimitedEncoder {
    /// An encoder with these options.
    ///
    /// # Errors
    /// `Config` when the options do not go together.
    pub fn new(options: DelimitedOptions) -> Result<Self> {
        let options = options.check()?;
        let mut special = [false; 256];
        let bytes = [Some(b'\n'), Some(b'\r'), options.delimiter, options.quote];
        let escape = if options.form == Form::Text { options.escape } else { None };
        for byte in bytes.into_iter().chain([escape]).flatten() {
            special[usize::from(byte)] = true;
        }
        if escape.is_some() {
            [0x08, 0x0b, 0x0c, b'\t'].into_iter().for_each(|byte: u8| special[usize::from(byte)] = true);
        }
        Ok(Self { options, headed: None, special, cell: Vec::new() })
    }

    fn header(&mut self, batch: &TableBatch, out: &mut Vec<u8>) -> Result<()> {
        if self.options.header == Header::None {
            return Ok(());
        }
        if let Some((table, schema)) = &self.headed {
            if table == batch.table()
                && (Arc::ptr_eq(schema, batch.schema()) || same_names(schema, batch.schema()))
            {
                return Ok(());
            }
            let text = format!(
                "the header is that of table {table}, and now come other columns (table {}); a file with a header holds one table with the same columns throughout",
                batch.table()
            );
            return Err(Error::new(ErrorKind::Schema, text)
                .with_hint("write each table into a file of its own, or leave the header out"));
        }
        let began = out.len();
        for (index, column) in batch.schema().columns().iter().enumerate() {
            self.cell.clear();
            self.cell.extend_from_slice(column.name().as_bytes());
            self.field(index, false, batch.schema().columns().len(), out)
                .map_err(|fault| at(fault, batch, column, None))?;
        }
        out.extend_from_slice(self.options.line_end());
        self.encode_text(began, out).map_err(|()| not_in_encoding("the header", batch, None))?;
        self.headed = Some((batch.table().clone(), Arc::clone(batch.schema())));
        Ok(())
    }

    /// Appends the value in `self.cell` as field number `index` of `count`.
    fn field(
        &mut self,
        index: usize,
        force: bool,
        count: usize,
        out: &mut Vec<u8>,
    ) -> std::result::Result<(), Fault> {
        self.separator(index, out)?;
        let cell = std::mem::take(&mut self.cell);
        // At the start of a file a reader would drop it.
        let like_mark = index == 0 && cell.starts_with(BOM);
        let done = self.value(&cell, force, like_mark, count, out);
        self.cell = cell;
        done
    }

    fn separator(&self, index: usize, out: &mut Vec<u8>) -> std::result::Result<(), Fault> {
        match self.options.delimiter {
            _ if index == 0 => {}
            Some(delimiter) => out.push(delimiter),
            None => {
                let text =
                    "is the second of a row, and without a delimiter (delimiter=off) a line is one field";
                return Err(("too_many_columns", text.to_owned()));
            }
        }
        Ok(())
    }

    fn value(
        &self,
        cell: &[u8],
        force: bool,
        like_mark: bool,
        count: usize,
        out: &mut Vec<u8>,
    ) -> std::result::Result<(), Fault> {
        let options = &self.options;
        let special = cell.iter().any(|&byte| self.special[usize::from(byte)]);
        let like_null = cell == options.null.as_bytes();
        // Alone on its line this would end the data.
        let like_end = count == 1 && cell == b"\\.";
        if cell.contains(&0) {
            return Err(("nul_byte", "holds a NUL, which PostgreSQL's text cannot".to_owned()));
        }
        match (options.form, options.quote) {
            (Form::Csv, Some(quote)) if special || like_null || like_end || like_mark || force => {
                out.push(quote);
                let escape = options.escape.unwrap_or(quote);
                for &byte in cell {
                    if byte == quote || byte == escape {
                        out.push(escape);
                    }
                    out.push(byte);
                }
                out.push(quote);
            }
            (Form::Text, _) if (special || like_mark) && options.escape.is_some() => {
                let (escape, start) = (options.escape.unwrap_or(b'\\'), out.len());
                if like_mark {
                    out.push(escape);
                }
                for &byte in cell {
                    let letter = match byte {
                        0x08 => b'b',
                        0x0b => b'v',
                        0x0c => b'f',
                        b'\n' => b'n',
                        b'\r' => b'r',
                        b'\t' => b't',
                        other => other,
                    };
                    if self.special[usize::from(byte)] {
                        out.push(escape);
                    }
                    out.push(letter);
                }
                if out.get(start..) == Some(options.null.as_bytes()) {
                    return Err(reads_as_null(&options.null));
                }
            }
            // An escape that changes nothing but how it looks.
            (Form::Text, _)
                if (like_null || like_end) && options.escape == Some(b'\\') && !cell.is_empty() =>
            {
                let (first, rest) = cell.split_at(1);
                out.extend_from_slice(format!("\\{:03o}", first.first().unwrap_or(&0)).as_bytes());
                out.extend_from_slice(rest);
            }
            _ if special => {
                let text =
                    "holds a delimiter or a line end, and nothing is quoted or escaped with these options";
                return Err(("needs_quoting", text.to_owned()));
            }
            _ if like_null => {
                return Err(reads_as_null(&options.null));
            }
            _ if like_end => {
                return Err(("needs_quoting", "reads like the end of the data (\\.)".to_owned()));
            }
            _ if like_mark => {
                return Err((
                    "needs_quoting",
                    "begins with a byte order mark, which readers drop".to_owned(),
                ));
            }
            _ => out.extend_from_slice(cell),
        }
        Ok(())
    }
}

fn reads_as_null(null: &str) -> Fault {
    ("reads_as_null", format!("reads like a null ({null:?}); choose another null="))
}

fn same_names(a: &Schema, b: &Schema) -> bool {
    a.columns().len() == b.columns().len()
        && a.columns().iter().zip(b.columns()).all(|(a, b)| a.name() == b.name())
}

fn at((code, text): Fault, batch: &TableBatch, column: &Column, row: Option<usize>) -> Error {
    let table = batch.table().to_string();
    let place = Location::new().with_table(table.as_str()).with_column(column.name());
    let place = match row {
        Some(row) => place.with_row(row as u64),
        None => place,
    };
    let what = if row.is_some() { "value" } else { "column's name" };
    Error::new(ErrorKind::Data, format!("the {what} {text}")).with_code(code).with_location(place)
}

impl Encoder for DelimitedEncoder {
    fn format(&self) -> &'static str {
        match self.options.form {
            Form::Text => "text",
            Form::Csv => "csv",
        }
    }

    fn encode(&mut self, batch: &TableBatch, rows: Range<usize>, out: &mut Vec<u8>) -> Result<()> {
        assert!(rows.end <= batch.rows(), "rows {rows:?} of {}", batch.rows());
        let (began, headed) = (out.len(), self.headed.is_some());
        let done = self.header(batch, out).and_then(|()| self.rows(batch, rows, out));
        if done.is_err() {
            out.truncate(began);
            if !headed {
                self.headed = None;
            }
        }
        done
    }
}

fn not_in_encoding(what: &str, batch: &TableBatch, row: Option<usize>) -> Error {
    let table = batch.table().to_string();
    let place = Location::new().with_table(table.as_str());
    let place = row.map_or(place.clone(), |row| place.with_row(row as u64));
    let text = format!("{what} has a character that the encoding does not have; choose encoding=UTF8");
    Error::new(ErrorKind::Data, text).with_code("not_in_encoding").with_location(place)
}

impl DelimitedEncoder {
    /// Puts what stands behind `began` into the encoding asked for.
    fn encode_text(&self, began: usize, out: &mut Vec<u8>) -> std::result::Result<(), ()> {
        if self.options.charset == Charset::Utf8 {
            return Ok(());
        }
        let line = out.split_off(began);
        self.options.charset.encode(&String::from_utf8_lossy(&line), out).ok_or(())
    }

    fn rows(&mut self, batch: &TableBatch, rows: Range<usize>, out: &mut Vec<u8>) -> Result<()> {
        let columns = batch.schema().columns();
        let cells: Vec<(Cells<'_>, bool)> = columns
            .iter()
            .zip(batch.batch().columns())
            .map(|(column, array)| {
                let force = self.options.force_quote.has(column.name());
                (Cells::new(array.as_ref(), column.data_type()), force)
            })
            .collect();
        for row in rows {
            let began = out.len();
            for (index, ((cells, force), column)) in cells.iter().zip(columns).enumerate() {
                self.cell.clear();
                let value = cells.write(row, &mut self.cell)?;
                let done = if value {
                    self.field(index, *force, columns.len(), out)
                } else {
                    self.separator(index, out).map(|()| out.extend_from_slice(self.options.null.as_bytes()))
                };
                done.map_err(|fault| at(fault, batch, column, Some(row)))?;
            }
            out.extend_from_slice(self.options.line_end());
            self.encode_text(began, out).map_err(|()| not_in_encoding("the row", batch, Some(row)))?;
        }
        Ok(())
    }
}
