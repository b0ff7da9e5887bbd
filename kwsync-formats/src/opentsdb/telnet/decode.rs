//! Lines to Arrow batches.

use std::sync::Arc;

use bytes::Bytes;
use kwsync_core::{
    Column, DataType, Decoded, Decoder, Input, Position, Result, Role, SchemaRegistry, TableId,
};

use super::options::TelnetOptions;
use super::parse::{self, Figure, Parts};
use super::shape::Shapes;
use crate::build::{Cell, Kind, Misfit, NONE, Rule, Str, Tables};
use crate::framing::{self, Extent, Fault, Output, Piece, Read, RecordDecoder, RecordFormat};

/// Decoder of OpenTSDB's telnet protocol: bytes in, one Arrow batch a table out.
///
/// Lines are `put METRIC TIME VALUE TAG=VALUE ...`, `put` being optional. A metric is a table
/// ([`MetricNames`](crate::opentsdb::MetricNames)) with a column for the time, one for the value, and one of text
/// for each tag. Other commands are refused by name.
///
/// # Examples
/// ```
/// use kwsync_core::{Decoder, Value};
/// use kwsync_formats::opentsdb::{MetricNames, TelnetDecoder, TelnetOptions};
///
/// let mut decoder = TelnetDecoder::new(TelnetOptions::new().with_metric(MetricNames::Split));
/// decoder.decode(&"put sys.cpu.user 1700000000 42 host=a\nsys.cpu.user 1700000000500 43 host=b\n".into())?;
/// decoder.finish()?;
/// let batch = decoder.flush()?.batches.remove(0);
/// assert_eq!(batch.table().name(), "sys.cpu");
/// assert_eq!(batch.row(1).get("user")?, Value::Int(43));
/// # Ok::<(), kwsync_core::Error>(())
/// ```
#[derive(Debug)]
pub struct TelnetDecoder {
    inner: RecordDecoder<Telnet>,
}

impl TelnetDecoder {
    /// A decoder with schemas of its own.
    #[must_use]
    pub fn new(options: TelnetOptions) -> Self {
        let limits = options.limits.clone();
        let format = Telnet { options, parts: Parts::default(), shapes: Shapes::default() };
        Self { inner: RecordDecoder::new(format, limits, Tables::new(Arc::default())) }
    }

    /// Shares the schemas of a job.
    #[must_use]
    pub fn with_registry(mut self, registry: Arc<SchemaRegistry>) -> Self {
        self.inner.output.tables.set_registry(registry);
        self
    }
}

impl Decoder for TelnetDecoder {
    fn format(&self) -> &'static str {
        self.inner.format()
    }

    fn begin(&mut self, input: Arc<Input>, at: Position) {
        self.inner.begin(input, at);
    }

    fn decode(&mut self, chunk: &Bytes) -> Result<usize> {
        self.inner.decode(chunk)
    }

    fn decode_slice(&mut self, bytes: &[u8]) -> Result<usize> {
        self.inner.decode_slice(bytes)
    }

    fn end_record(&mut self) -> Result<()> {
        self.inner.end_record()
    }

    fn flush(&mut self) -> Result<Decoded> {
        self.inner.flush()
    }

    fn wants_flush(&self) -> bool {
        self.inner.wants_flush()
    }

    fn position(&self) -> Position {
        self.inner.position()
    }

    fn has_partial_record(&self) -> bool {
        self.inner.has_partial_record()
    }

    fn buffered_rows(&self) -> usize {
        self.inner.buffered_rows()
    }

    fn buffered_bytes(&self) -> usize {
        self.inner.buffered_bytes()
    }

    fn reset(&mut self) {
        self.inner.reset();
    }
}

#[derive(Debug)]
struct Telnet {
    options: TelnetOptions,
    parts: Parts,
    shapes: Shapes,
}

impl RecordFormat for Telnet {
    type Boundary = framing::Lines;

    fn name(&self) -> &'static str {
        "line_opentsdb"
    }

    fn boundary(&self) -> framing::Lines {
        framing::Lines
    }

    fn reset(&mut self) {
        self.shapes.clear();
    }

    #[inline]
    fn read(&mut self, piece: Piece<'_>, output: &mut Output) -> Read {
        match self.fast(self.shapes.guess(), piece, output) {
            Some(read) => read,
            None => self.general(piece, output),
        }
    }
}

impl Telnet {
    /// Reads the line as one of this shape.
    #[inline(always)]
    fn fast(&mut self, index: u32, piece: Piece<'_>, output: &mut Output) -> Option<Read> {
        let shape = self.shapes.get(index)?;
        let table = output.tables.get_mut(shape.table)?;
        let (text_end, next) = shape.read(index, table, piece.chunk, piece.at, &self.options)?;
        // After the data there may be a line feed that is none of the input's.
        if next > piece.data.len() && !piece.last {
            table.roll_back(shape.columns.iter().copied());
            return None;
        }
        let (end, id) = (next.min(piece.data.len()), shape.table);
        if output.check(piece.data, piece.at, end).is_err() {
            if let Some(table) = output.tables.get_mut(id) {
                table.roll_back(shape.columns.iter().copied());
            }
            return None;
        }
        output.commit(id, piece.at, text_end - piece.at, 0);
        self.shapes.follow(index);
        let newline = piece.data.get(end - 1) == Some(&b'\n');
        Some(Read::Taken(Extent { end, lines: newline.into(), line_start: end }))
    }

    fn general(&mut self, piece: Piece<'_>, output: &mut Output) -> Read {
        let (data, start) = (piece.data, piece.at);
        let rest = data.get(start..).unwrap_or_default();
        let (len, end) = match memchr::memchr(b'\n', rest) {
            Some(n) => (n, start + n + 1),
            None if piece.last => (rest.len(), data.len()),
            None => return Read::Incomplete,
        };
        let extent = Extent::of(data, start, end);
        let line = rest.get(..len).unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let text_end = start + line.len();
        if line.iter().all(|byte| *byte == b' ') {
            return Read::Taken(extent);
        }
        if let Err(at) = output.check(data, start, end) {
            return Read::Refused(
                extent,
                line.len(),
                Fault::new("invalid_utf8", "the line is not valid UTF-8", at),
            );
        }
        if let Err((code, reason, at)) = self.parts.read(data, start, text_end) {
            return Read::Refused(extent, line.len(), Fault::new(code, reason, at));
        }
        // Another line of this metric may have been read before, with the same tags.
        let head = data.get(start..self.parts.metric.1 + 1).unwrap_or_default();
        if let Some(shape) = self.shapes.find(head).filter(|shape| *shape != self.shapes.guess())
            && let Some(read) = self.fast(shape, piece, output)
        {
            return read;
        }
        match self.row(piece, output, text_end) {
            Ok(()) => Read::Taken(extent),
            Err(fault) => Read::Refused(extent, line.len(), fault),
        }
    }

    fn row(
        &mut self,
        piece: Piece<'_>,
        output: &mut Output,
        text_end: usize,
    ) -> std::result::Result<(), Fault> {
        let data = piece.data;
        let parts = &self.parts;
        let text = |span: parse::Span| String::from_utf8_lossy(parse::of(data, span)).into_owned();
        let names = self.options.metric.of(&text(parts.metric));
        let id = TableId::new(names.table);
        let at = |misfit: Misfit, at: usize| Fault::of(misfit, &id, at);
        let time_column = self.options.time_column.as_deref().unwrap_or(names.time);
        let Some(time) = self.options.time(parts.time) else {
            let misfit = Misfit::new("timestamp_overflow", "the time does not fit; check the precision");
            return Err(at(misfit, parts.time_at));
        };
        for (key, _) in &parts.tags {
            let key_text = parse::of(data, *key);
            if key_text == names.value.as_bytes() || key_text == time_column.as_bytes() {
                let reason = format!(
                    "a tag is named {:?} like the column of the value or the time",
                    String::from_utf8_lossy(key_text)
                );
                return Err(at(Misfit::new("column_clash", reason), key.0));
            }
        }
        let start = parts.metric.0;
        let tables = &mut output.tables;
        let fresh = tables.find(&id).is_none();
        let table = tables.open(&id).map_err(|misfit| at(misfit, start))?;
        let new = parts.tags.iter().filter(|(key, _)| {
            tables.get(table).is_none_or(|table| table.column(parse::of(data, *key)).is_none())
        });
        let more = new.count() + if fresh { 2 } else { 0 };
        if more > 0 {
            tables.check_room(table, more).map_err(|misfit| at(misfit, start))?;
        }
        let unit = self.options.unit();
        let given = Rule::Cast { unit, text: false };
        let time_type = Column::new(time_column, DataType::TimestampTz(unit)).with_role(Role::Timestamp);
        let time_index =
            tables.add(table, time_type.with_nullable(false), given).map_err(|misfit| at(misfit, start))?;
        let (kind, data_type) = match parts.value {
            Some(Figure::Int(value)) => (Kind::Int(value), DataType::Int64),
            Some(Figure::Float(value)) => (Kind::Float(value), DataType::Float64),
            None => (Kind::Null, DataType::Float64),
        };
        let value_column = |data_type| Column::new(names.value.as_str(), data_type);
        let value_index = if self.options.floats {
            tables.add(table, value_column(DataType::Float64), given)
        } else {
            tables.add(table, value_column(data_type), Rule::Infer)
        }
        .map_err(|misfit| at(misfit, parts.value_span.0))?;
        let mut tags: Vec<(&[u8], u32)> = Vec::with_capacity(parts.tags.len());
        for (key, _) in &parts.tags {
            let column = Column::new(text(*key), DataType::Text).with_role(Role::Tag);
            let index = tables.add(table, column, Rule::Infer).map_err(|misfit| at(misfit, key.0))?;
            tags.push((parse::of(data, *key), index));
        }
        if let Some(rows) = tables.get_mut(table) {
            rows.active = NONE;
            let here = |(start, end): parse::Span| Str::Here(start, end);
            let time = Cell::new(Kind::Int(time), Str::Made(b""));
            let value = Cell::new(kind, here(parts.value_span));
            let cells = [(time_index, time, parts.time_at), (value_index, value, parts.value_span.0)];
            let tag_cells = parts
                .tags
                .iter()
                .zip(&tags)
                .map(|((_, span), (_, column))| (*column, Cell::new(Kind::Text, here(*span)), span.0));
            for (column, cell, place) in cells.into_iter().chain(tag_cells) {
                if let Err(misfit) = rows.push(column, piece.chunk, cell) {
                    rows.roll_back_all();
                    return Err(at(misfit, place));
                }
            }
        }
        output.commit(table, piece.at, text_end - piece.at, 0);
        let head = data.get(piece.at..parts.metric.1 + 1).unwrap_or_default();
        let (shape, forgotten) = self.shapes.insert(head, (table, time_index, value_index), &tags);
        if forgotten {
            output.tables.iter_mut().for_each(|table| table.active = NONE);
        }
        if shape != NONE {
            self.shapes.follow(shape);
        }
        Ok(())
    }
}
