//! Lines to Arrow batches.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use kwsync_core::{
    Column, DataType, Decoded, Decoder, Error, ErrorKind, Input, Position, Result, SchemaRegistry, TableId,
};

use super::boundary::Ends;
use super::charset::Charset;
use super::infer::Guess;
use super::options::{DelimitedOptions, Form, Header};
use super::read::{self, Given, Plain, ReadOptions, Slot, Types};
use super::split::{Field, Split, Splitter, UNTERMINATED_QUOTE};
use crate::build::{Chunk, Misfit, NONE, Rule, Tables};
use crate::framing::{Boundary, Extent, Fault, Output, Piece, Read, RecordDecoder, RecordFormat};

/// So many records, or so many bytes of them, tell the types.
const SAMPLE_RECORDS: u32 = 1000;
const SAMPLE_BYTES: usize = 256 << 10;

/// Decoder of PostgreSQL's TEXT and CSV: bytes in, Arrow batches of one table out.
///
/// The table's name is given, or is that of the file. The columns' names are given, or stand in the header, or
/// are `c1`, `c2` and so on. Their types are given, or all text, or told from the first thousand records; a
/// later record that does not fit is refused.
///
/// # Examples
/// ```
/// use kwsync_core::{Decoder, Value};
/// use kwsync_formats::delimited::{DelimitedDecoder, DelimitedOptions, Header, ReadOptions};
///
/// let options = DelimitedOptions::csv().with_header(Header::Names);
/// let mut decoder = DelimitedDecoder::new(options, ReadOptions::new().with_table("cpu"))?;
/// decoder.decode(&"host,usage\na,1.5\n\"b, c\",\n".into())?;
/// decoder.finish()?;
/// let decoded = decoder.flush()?;
/// let batch = &decoded.batches[0];
/// assert_eq!(batch.row(1).get("host")?, Value::Text("b, c".into()));
/// assert_eq!(batch.row(0).get("usage")?, Value::Float64(1.5));
/// assert_eq!(batch.row(1).get("usage")?, Value::Null);
/// # Ok::<(), kwsync_core::Error>(())
/// ```
#[derive(Debug)]
pub struct DelimitedDecoder {
    inner: RecordDecoder<Lines>,
}

impl DelimitedDecoder {
    /// A decoder with schemas of its own.
    ///
    /// # Errors
    /// `Config` when the options do not go together.
    pub fn new(options: DelimitedOptions, read: ReadOptions) -> Result<Self> {
        let options = options.check()?;
        if options.header == Header::Match && read.columns.is_empty() {
            return Err(Error::config("header=match needs the columns to compare with (columns=)"));
        }
        let limits = read.limits.clone();
        // No types have to be found out.
        let given = !read.columns.is_empty() && read.columns.iter().all(Given::has_type);
        let told = given || read.types == Types::Text;
        let splitter = Splitter::new(&options);
        let lines = Lines {
            // What an encoding makes of a backslash is known only when the line has been read.
            outer: Splitter::new(&if options.charset == Charset::Utf8 || options.form == Form::Csv {
                options.clone()
            } else {
                options.clone().with_escape(None).with_delimiter(None)
            }),
            splitter,
            sample: if told || limits.max_record_bytes < 2 * SAMPLE_BYTES { 1 } else { SAMPLE_RECORDS },
            header: options.header != Header::None,
            options,
            read,
            registry: Arc::default(),
            names: Vec::new(),
            named: false,
            begun: false,
            unclosed: None,
            id: TableId::new("input"),
            table: NONE,
            columns: Vec::new(),
            slots: Vec::new(),
            fields: Vec::new(),
            line: Vec::new(),
            scratch: Vec::new(),
            ended: false,
            fatal: None,
        };
        Ok(Self { inner: RecordDecoder::new(lines, limits, Tables::new(Arc::default())) })
    }

    /// Shares the schemas of a job.
    #[must_use]
    pub fn with_registry(mut self, registry: Arc<SchemaRegistry>) -> Self {
        self.inner.output.tables.set_registry(Arc::clone(&registry));
        self.inner.format.registry = registry;
        self
    }

    fn fatal<T>(&mut self, done: Result<T>) -> Result<T> {
        match self.inner.format.fatal.take() {
            Some(error) => Err(error),
            None => done,
        }
    }
}

impl Decoder for DelimitedDecoder {
    fn format(&self) -> &'static str {
        self.inner.format()
    }

    fn begin(&mut self, input: Arc<Input>, at: Position) {
        let name = input.name().to_owned();
        self.inner.begin(input, at);
        let lines = &mut self.inner.format;
        lines.begun = true;
        if at.byte > 0 {
            lines.begin_in_the_middle(&name);
        } else if lines.read.table.is_none() {
            // Another file may be another table.
            lines.columns.clear();
        }
    }

    fn decode(&mut self, chunk: &Bytes) -> Result<usize> {
        let done = self.inner.decode(chunk);
        self.fatal(done)
    }

    fn decode_slice(&mut self, bytes: &[u8]) -> Result<usize> {
        let done = self.inner.decode_slice(bytes);
        self.fatal(done)
    }

    fn end_record(&mut self) -> Result<()> {
        let done = self.inner.end_record();
        self.fatal(done)
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

/// The format: lines of one table.
#[derive(Debug)]
struct Lines {
    options: DelimitedOptions,
    read: ReadOptions,
    registry: Arc<SchemaRegistry>,
    /// Cuts the input into records
    outer: Splitter,
    /// Cuts a record into fields
    splitter: Splitter,
    sample: u32,
    /// The next record is the header
    header: bool,
    /// The columns' names, once they are known for this input
    names: Vec<String>,
    named: bool,
    /// The input has a name, by which a resumed job finds its header again
    begun: bool,
    /// Where data end, in the input, in which a quote was not closed
    unclosed: Option<u64>,
    id: TableId,
    table: u32,
    /// Of the table, in the order of the fields
    columns: Vec<u32>,
    slots: Vec<Slot>,
    fields: Vec<Field>,
    /// The record in UTF-8, if it is not so in the input
    line: Vec<u8>,
    scratch: Vec<u8>,
    /// The end marker has been read
    ended: bool,
    fatal: Option<Error>,
}

impl RecordFormat for Lines {
    type Boundary = Ends;

    fn name(&self) -> &'static str {
        match self.options.form {
            Form::Text => "text",
            Form::Csv => "csv",
        }
    }

    fn boundary(&self) -> Ends {
        let records = if self.header || !self.columns.is_empty() { 1 } else { self.sample };
        Ends::new(&self.outer, self.options.form, records, SAMPLE_BYTES)
    }

    fn line_end(&self) -> u8 {
        self.outer.line_end()
    }

    fn restart(&mut self, at: Position) {
        self.outer.restart();
        self.splitter.restart();
        self.unclosed = None;
        if at.byte == 0 {
            self.header = self.options.header != Header::None;
            if self.header {
                self.named = false;
                self.columns.clear();
            }
        }
        self.ended = false;
    }

    fn read(&mut self, piece: Piece<'_>, output: &mut Output) -> Read {
        if self.columns.is_empty() && !self.header {
            match self.settle(piece, output) {
                Ok(true) => {}
                Ok(false) => return Read::Incomplete,
                Err(fault) => return Read::Bad(fault),
            }
        }
        let (data, start) = (piece.data, piece.at);
        let unclosed = || Some(output.place().byte() + (data.len() - start) as u64);
        self.outer.unclosed = self.unclosed.is_some() && self.unclosed == unclosed();
        let (text_end, end) = match self.outer.split(data, start, piece.last, &mut self.fields) {
            Split::Record { text_end, end } => (text_end, end),
            Split::Incomplete => return Read::Incomplete,
            Split::EndMarker(end) => {
                self.ended = true;
                return Read::Taken(Extent::of(data, start, end));
            }
            Split::Bad(code, reason, at) => {
                if code == UNTERMINATED_QUOTE && self.outer.stays_unclosed() {
                    self.unclosed = unclosed();
                }
                self.no_header(code, reason);
                return Read::Bad(Fault::new(code, reason, at));
            }
        };
        let extent = match data.get(end.wrapping_sub(1)) {
            // The usual line
            Some(b'\n') if !self.fields.iter().any(|field| field.quoted || field.escaped) => {
                Extent { end, lines: 1, line_start: end }
            }
            _ => Extent::of(data, start, end),
        };
        if self.options.form == Form::Csv && data.get(start..text_end) == Some(b"\\.") {
            self.ended = true;
            return Read::Taken(extent);
        }
        match self.record(piece, output, text_end) {
            Ok(()) => Read::Taken(extent),
            Err(fault) => {
                if let Some(table) = output.tables.get_mut(self.table) {
                    table.roll_back_all();
                }
                self.no_header(fault.code, &fault.reason);
                Read::Refused(extent, text_end - start, fault)
            }
        }
    }
}

impl Lines {
    /// Takes a record whose fields are known, up to `text_end`.
    fn record(
        &mut self,
        piece: Piece<'_>,
        output: &mut Output,
        text_end: usize,
    ) -> std::result::Result<(), Fault> {
        let (data, start) = (piece.data, piece.at);
        if self.ended {
            return Err(Fault::new("after_end_marker", "the end marker \\. stands before this line", start));
        }
        if self.options.charset == Charset::Utf8 {
            if let Err(at) = output.check(data, start, text_end) {
                return Err(Fault::new(
                    "invalid_utf8",
                    "the line is not valid UTF-8; say what it is with encoding=",
                    at,
                ));
            }
            if self.header {
                return self.take_header(data, output);
            }
            return self.row(piece.chunk, None, output, start, text_end - start);
        }
        let raw = data.get(start..text_end).unwrap_or_default();
        let Some(line) = self.options.charset.decode(raw) else {
            let reason = "the line has bytes that its encoding (encoding=) does not have";
            return Err(Fault::new("bad_encoding", reason, start));
        };
        let line = line.into_owned();
        let mut inner = self.splitter.within_line();
        match inner.split(&line, 0, true, &mut self.fields) {
            Split::Bad(code, reason, _) => return Err(Fault::new(code, reason, start)),
            Split::EndMarker(_) => {
                self.ended = true;
                return Ok(());
            }
            Split::Record { .. } | Split::Incomplete => {}
        }
        let done = if self.header {
            self.take_header(&line, output)
        } else {
            self.row(piece.chunk, Some(&line), output, start, text_end - start)
        };
        self.line = line;
        done
    }

    fn take_header(&mut self, data: &[u8], output: &Output) -> std::result::Result<(), Fault> {
        let mut names = Vec::with_capacity(self.fields.len());
        for field in &self.fields {
            self.scratch.clear();
            if field.escaped {
                self.splitter.undo(field.of(data), &mut self.scratch);
            } else {
                self.scratch.extend_from_slice(field.of(data));
            }
            names.push(String::from_utf8_lossy(&self.scratch).into_owned());
        }
        self.header = false;
        let expected = || self.read.columns.iter().map(|column| column.name().to_owned());
        if self.options.header == Header::Match && !names.iter().cloned().eq(expected()) {
            let expected: Vec<String> = expected().collect();
            let text = format!("the header is {names:?}, and {expected:?} was expected (header=match)");
            self.fatal = Some(Error::new(ErrorKind::Schema, text).with_code("header_mismatch"));
            self.names = expected;
            self.named = true;
            return Ok(());
        }
        let mut seen = HashSet::with_capacity(names.len());
        if let Some(twice) = names.iter().find(|name| !seen.insert(name.as_str())) {
            let text = format!("the header has {twice:?} twice");
            self.fatal = Some(Error::new(ErrorKind::Schema, text).with_hint("rename one, or give columns="));
        }
        if let Some(empty) = names.iter().position(String::is_empty) {
            self.fatal = Some(Error::new(
                ErrorKind::Schema,
                format!("column {} has no name in the header", empty + 1),
            ));
        }
        if self.begun && !output.input().is_once() && self.fatal.is_none() {
            self.keep_header(&names, output.input().name());
        }
        self.names = names;
        self.named = true;
        Ok(())
    }

    /// Keeps the header with the job's schemas, for an input that is read on from its middle.
    fn keep_header(&mut self, names: &[String], input: &str) {
        let id = header_of(input);
        for name in names {
            self.registry.claim(&id, &Column::new(name.as_str(), DataType::Text));
        }
        let kept = self.registry.get(&id);
        if kept
            .is_some_and(|kept| !kept.columns().iter().map(Column::name).eq(names.iter().map(String::as_str)))
        {
            let text = format!("the header of {input} is another one than when the job began");
            self.fatal = Some(Error::new(ErrorKind::Schema, text).with_hint("start the job over: --restart"));
        }
    }

    /// The input is read on from its middle: its header was read before.
    fn begin_in_the_middle(&mut self, input: &str) {
        if self.options.header == Header::None {
            return;
        }
        self.header = false;
        self.columns.clear();
        self.named = true;
        match self.registry.get(&header_of(input)) {
            Some(kept) => self.names = kept.columns().iter().map(|column| column.name().to_owned()).collect(),
            None if self.options.header == Header::Match => {
                self.names = self.read.columns.iter().map(|column| column.name().to_owned()).collect();
            }
            None => {
                let text =
                    format!("the header of {input} has not been read, and its middle cannot be without it");
                let error = Error::new(ErrorKind::Schema, text);
                self.fatal =
                    Some(error.with_hint("read the file from its start, as one piece (split=never)"));
            }
        }
    }

    /// The line that was refused was the header: no line behind it may be taken for one.
    fn no_header(&mut self, code: &'static str, reason: &str) {
        if std::mem::take(&mut self.header) {
            let text = format!("the header cannot be read: {reason}");
            self.fatal = Some(Error::new(ErrorKind::Schema, text).with_code(code));
        }
    }

    /// Learns the columns' names and types. False if that takes more of the input.
    #[cold]
    fn settle(&mut self, piece: Piece<'_>, output: &mut Output) -> std::result::Result<bool, Fault> {
        let rest = piece.data.get(piece.at..).unwrap_or_default();
        self.id = self.read.table.clone().unwrap_or_else(|| read::table_of(output.input().split()));
        let known = self.registry.get(&self.id);
        let sample = match self.boundary_of_sample().find_in(rest) {
            Some(end) => rest.get(..end).unwrap_or(rest),
            // A record that is longer than allowed does not take those before it along.
            None if piece.last || rest.len() >= self.read.limits.max_record_bytes => rest,
            None => return Ok(false),
        };
        let (guesses, count) = self.guess(sample);
        if !self.named {
            self.names = if !self.read.columns.is_empty() {
                self.read.columns.iter().map(|column| column.name().to_owned()).collect()
            } else {
                (1..=count.max(1)).map(|number| format!("c{number}")).collect()
            };
        }
        self.table = output.tables.open(&self.id).map_err(|misfit| Fault::of(misfit, &self.id, piece.at))?;
        let mut columns = Vec::with_capacity(self.names.len());
        for (index, name) in self.names.iter().enumerate() {
            let given = self.read.columns.iter().find(|column| column.name() == name);
            let earlier = known.as_ref().and_then(|schema| schema.column(name));
            let column = match (given.filter(|given| given.has_type()), earlier) {
                (Some(given), _) => given.column(),
                (None, Some(earlier)) => earlier.clone(),
                (None, None) => {
                    let guess = guesses.get(index).copied().unwrap_or_default();
                    let guess = if self.read.types == Types::Text { Guess::Text } else { guess };
                    Column::new(name.as_str(), self.data_type(name, guess)).with_role(self.read.role_of(name))
                }
            };
            let rule = Rule::Cast { unit: self.read.precision, text: true };
            let added = output.tables.add(self.table, column.clone(), rule).or_else(|misfit| {
                // Another lane may have been quicker, and told another type from its part.
                match self.registry.get(&self.id).and_then(|schema| schema.column(name).cloned()) {
                    Some(other) => output.tables.add(self.table, other, rule),
                    None => Err(misfit),
                }
            });
            columns.push(added.map_err(|misfit| Fault::of(misfit, &self.id, piece.at))?);
        }
        self.slots = columns
            .iter()
            .zip(&self.names)
            .map(|(&column, name)| Slot {
                column,
                plain: Plain::of(output.tables.get(self.table).and_then(|table| table.known(column))),
                force_null: self.options.force_null.has(name),
                force_not_null: self.options.force_not_null.has(name),
            })
            .collect();
        self.columns = columns;
        Ok(true)
    }

    fn boundary_of_sample(&self) -> Ends {
        Ends::new(&self.outer, self.options.form, self.sample, SAMPLE_BYTES)
    }

    fn data_type(&self, name: &str, guess: Guess) -> DataType {
        match guess {
            Guess::Int(_) if self.read.time.as_deref() == Some(name) => {
                DataType::TimestampTz(self.read.precision)
            }
            guess => guess.data_type(),
        }
    }

    /// What each field of the sample looks like, and how many the first record has.
    fn guess(&mut self, sample: &[u8]) -> (Vec<Guess>, usize) {
        let mut guesses: Vec<Guess> = Vec::new();
        let (mut at, mut count) = (0, 0);
        let (mut outer, mut fields) = (self.outer, Vec::new());
        outer.unclosed = false;
        while at < sample.len() {
            let (text_end, end) = match outer.split(sample, at, true, &mut fields) {
                Split::Record { text_end, end } => (text_end, end),
                other => {
                    let unclosed = matches!(other, Split::Bad(UNTERMINATED_QUOTE, ..));
                    outer.unclosed |= unclosed && outer.stays_unclosed();
                    let rest = sample.get(at..).unwrap_or_default();
                    at += memchr::memchr(outer.line_end(), rest).map_or(rest.len(), |n| n + 1);
                    continue;
                }
            };
            let raw = sample.get(at..text_end).unwrap_or_default();
            at = end;
            let line = if self.options.charset == Charset::Utf8 {
                None
            } else {
                let Some(line) = self.options.charset.decode(raw) else { continue };
                let mut inner = self.splitter.within_line();
                if !matches!(inner.split(&line, 0, true, &mut fields), Split::Record { .. }) {
                    continue;
                }
                Some(line)
            };
            let data = line.as_deref().unwrap_or(sample);
            if count == 0 {
                count = fields.len();
            }
            guesses.resize(guesses.len().max(fields.len()), Guess::Nothing);
            for (guess, field) in guesses.iter_mut().zip(&fields) {
                if *guess == Guess::Text || self.options.is_null(field, data, false, false) {
                    continue;
                }
                self.scratch.clear();
                let text = if field.escaped {
                    self.splitter.undo(field.of(data), &mut self.scratch);
                    &self.scratch
                } else {
                    field.of(data)
                };
                *guess = guess.and(Guess::of(text));
            }
        }
        (guesses, count)
    }

    /// Puts the fields into a row. `line` is what they lie in, if it is not the chunk.
    fn row(
        &mut self,
        chunk: Chunk<'_>,
        line: Option<&[u8]>,
        output: &mut Output,
        start: usize,
        len: usize,
    ) -> std::result::Result<(), Fault> {
        let place = |at: usize| if line.is_some() { start } else { at };
        let fault = |misfit: Misfit, at: usize| Fault::of(misfit, &self.id, place(at));
        let (found, wanted) = (self.fields.len(), self.columns.len());
        if found > wanted {
            let at = self.fields.get(wanted).map_or(start, |field| field.start);
            let reason = format!("the line has {found} fields, and the table {wanted} columns");
            return Err(fault(Misfit::new("extra_field", reason), at));
        }
        if found < wanted && !self.options.fill_missing_fields {
            let name = self.names.get(found).map_or("", String::as_str);
            let reason = format!(
                "the line has {found} fields of {wanted}; column {name:?} has none (fill_missing_fields makes them null)"
            );
            return Err(fault(Misfit::new("missing_field", reason), start + len));
        }
        let Some(table) = output.tables.get_mut(self.table) else { return Ok(()) };
        if table.active != 0 {
            table.activate(0, self.columns.iter().copied());
        }
        let data = line.unwrap_or(chunk.bytes);
        for (slot, field) in self.slots.iter().zip(&self.fields) {
            if self.options.is_null(field, data, slot.force_null, slot.force_not_null) {
                table.push_null(slot.column).map_err(|misfit| fault(misfit, field.start))?;
                continue;
            }
            if !field.escaped && line.is_none() && read::push_plain(table, slot, chunk, field) {
                continue;
            }
            let made = if field.escaped {
                self.scratch.clear();
                self.splitter.undo(field.of(data), &mut self.scratch);
                // `\xff` and the like may have made other bytes.
                if std::str::from_utf8(&self.scratch).is_err() {
                    let misfit = Misfit::new("invalid_utf8", "an escape makes bytes that are no UTF-8");
                    return Err(fault(misfit, field.start));
                }
                Some(self.scratch.as_slice())
            } else {
                line.map(|line| field.of(line))
            };
            read::push(table, slot.column, chunk, field, made)
                .map_err(|misfit| fault(misfit, field.start))?;
        }
        for slot in self.slots.iter().skip(found) {
            table.push_null(slot.column).map_err(|misfit| fault(misfit, start + len))?;
        }
        output.commit(self.table, start, len, 0);
        Ok(())
    }
}

/// Where the header of an input is kept among the schemas of the job; no table is named so.
fn header_of(input: &str) -> TableId {
    TableId::with_schema("\u{1}header", input)
}

impl Ends {
    fn find_in(mut self, bytes: &[u8]) -> Option<usize> {
        self.find(bytes)
    }
}
