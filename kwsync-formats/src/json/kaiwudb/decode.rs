//! Objects of schema and rows to Arrow.

use std::collections::HashMap;
use std::sync::Arc;

use kwsync_core::{Role, SchemaRegistry, TableId, TimeUnit};

use super::header::{Header, Parts};
use crate::build::Kind;
use crate::build::{Misfit, NONE, Rule, Tables};
use crate::framing::{Extent, Fault, Limits, Output, Piece, Read, RecordDecoder, RecordFormat};
use crate::json::engine::{Engine, framed};
use crate::json::read::{Nested, Reader, Stop, What};
use crate::json::records::{Next, Records};
use crate::json::shape::{Part, Use};

/// Headers that are remembered; more, and all are forgotten.
const MAX_HEADERS: usize = 1024;

/// Options of a [`KaiwudbJsonDecoder`].
#[derive(Clone, Debug)]
pub struct KaiwudbJsonOptions {
    unit: TimeUnit,
    records: Records,
    limits: Limits,
}

impl Default for KaiwudbJsonOptions {
    fn default() -> Self {
        Self { unit: TimeUnit::Millisecond, records: Records::default(), limits: Limits::default() }
    }
}

impl KaiwudbJsonOptions {
    /// The defaults: milliseconds, an object a line.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The unit of the timestamps, and of their columns.
    #[must_use]
    pub fn with_unit(mut self, unit: TimeUnit) -> Self {
        self.unit = unit;
        self
    }

    /// How objects lie in the input.
    #[must_use]
    pub fn with_records(mut self, records: Records) -> Self {
        self.records = records;
        self
    }

    /// Bounds of memory.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }
}

/// Decoder of KaiwuDB's JSON: one object holds the name of a table, its columns, its tags, and rows.
///
/// Values are checked against the declared types. A row that does not fit is refused alone; its reject holds the row
/// with its header, so that it can be read again. Objects with tags are of time-series tables: their first column is
/// the time, as integers of the unit asked for or as text. Objects without are of relational tables, whose times are
/// text.
///
/// # Examples
///
/// ```
/// use kwsync_core::Decoder;
/// use kwsync_formats::json::kaiwudb::{KaiwudbJsonDecoder, KaiwudbJsonOptions};
///
/// let mut decoder = KaiwudbJsonDecoder::new(KaiwudbJsonOptions::new());
/// let object = r#"{"table":"t","columns":[{"name":"ts","type":"TIMESTAMPTZ","length":64},{"name":"c","type":"INT2"}],
///     "tags":[{"name":"site","type":"VARCHAR","length":64,"primary":true,"nullable":false}],
///     "data":[{"ts":1700000000000,"c":1,"site":"a"},{"ts":1700000000001,"c":99999,"site":"a"}]}"#;
/// decoder.decode(&object.replace('\n', "").into())?;
/// decoder.finish()?;
/// let decoded = decoder.flush()?;
/// assert_eq!(decoded.batches[0].rows(), 1);
/// assert_eq!(decoded.rejects[0].code, "integer_overflow");
/// # Ok::<(), kwsync_core::Error>(())
/// ```
#[derive(Debug)]
pub struct KaiwudbJsonDecoder(RecordDecoder<Objects>);

crate::framing::record_decoder!(KaiwudbJsonDecoder);

impl KaiwudbJsonDecoder {
    /// A decoder with schemas of its own.
    #[must_use]
    pub fn new(options: KaiwudbJsonOptions) -> Self {
        let limits = options.limits.clone();
        let format = Objects {
            engine: Engine::new(options.records),
            options,
            headers: Vec::new(),
            by_key: HashMap::new(),
            scopes: 0,
            key: Vec::new(),
        };
        Self(RecordDecoder::new(format, limits, Tables::new(Arc::default())))
    }

    /// Shares the schemas of a job.
    #[must_use]
    pub fn with_registry(mut self, registry: Arc<SchemaRegistry>) -> Self {
        self.0.output.tables.set_registry(registry);
        self
    }
}

/// Columns by name.
type Names = HashMap<Box<[u8]>, u32>;

/// A header that has come before.
struct Known {
    key: Box<[u8]>,
    id: TableId,
    table: u32,
    scope: u32,
    columns: Names,
    /// Columns that may not be null
    required: Vec<u32>,
}

struct Objects {
    options: KaiwudbJsonOptions,
    engine: Engine,
    headers: Vec<Known>,
    by_key: HashMap<Box<[u8]>, u32>,
    /// Shapes belong to a header; so many there have been.
    scopes: u32,
    key: Vec<u8>,
}

impl Objects {
    /// The header of the object, made known if it is new.
    fn header(&mut self, parts: &Parts, piece: Piece<'_>, output: &mut Output) -> Result<usize, Fault> {
        let data = piece.data;
        parts.key(data, &mut self.key);
        if parts.unknown.is_none()
            && parts.wrong.is_none()
            && let Some(known) = self.by_key.get(self.key.as_slice())
        {
            return Ok(*known as usize);
        }
        let header = Header::read(parts, data, piece.at, self.options.unit, &mut self.engine.object)?;
        if self.headers.len() >= MAX_HEADERS {
            self.headers.clear();
            self.by_key.clear();
        }
        let of = |misfit| Fault::of(misfit, &header.id, piece.at);
        let fresh = output.tables.find(&header.id).is_none();
        let table = output.tables.open(&header.id).map_err(of)?;
        let (columns, required) = self.columns(&header, table, fresh, output).map_err(|misfit| {
            if fresh {
                output.tables.discard(table);
            }
            of(misfit)
        })?;
        self.scopes += 1;
        let key: Box<[u8]> = self.key.as_slice().into();
        let scope = self.scopes;
        self.headers.push(Known { key: key.clone(), id: header.id, table, scope, columns, required });
        self.by_key.insert(key, self.headers.len() as u32 - 1);
        Ok(self.headers.len() - 1)
    }

    /// The table's columns of this header. None is made unless all agree.
    fn columns(
        &self,
        header: &Header,
        table: u32,
        fresh: bool,
        output: &mut Output,
    ) -> Result<(Names, Vec<u32>), Misfit> {
        let known = |output: &Output, name: &str| {
            output.tables.get(table).and_then(|rows| rows.column(name.as_bytes()))
        };
        let new = header.columns.iter().filter(|column| known(output, column.name()).is_none()).count();
        output.tables.check_room(table, new)?;
        let rule = match header.relational {
            true => Rule::Written,
            false => Rule::Cast { unit: self.options.unit, text: false },
        };
        let (mut columns, mut required) = (HashMap::new(), Vec::new());
        for pass in [true, false] {
            for column in &header.columns {
                if known(output, column.name()).is_some() != pass && pass {
                    continue;
                }
                // Rows that are there lack it.
                let own = column.clone().with_nullable(column.is_nullable() || !fresh);
                let index = output.tables.add(table, own, rule)?;
                columns.insert(column.name().as_bytes().into(), index);
                if !pass && !column.is_nullable() {
                    required.push(index);
                }
            }
        }
        Ok((columns, required))
    }

    /// Reads the rows of the object.
    fn rows(&mut self, header: usize, parts: &Parts, piece: Piece<'_>, output: &mut Output) {
        let Some(span) = parts.data else { return };
        let Piece { data, at: start, chunk, .. } = piece;
        let inner = data.get(..span.end).unwrap_or_default();
        let Some((scope, table)) = self.headers.get(header).map(|known| (known.scope, known.table)) else {
            return;
        };
        let mut at = span.start + 1;
        let (mut lines, mut counted) = (0, start);
        let mut comma = true;
        loop {
            while matches!(inner.get(at), Some(b' ' | b'\t' | b'\r' | b'\n')) {
                at += 1;
            }
            match inner.get(at) {
                Some(b'{') if comma => {}
                Some(b',') if !comma => {
                    (comma, at) = (true, at + 1);
                    continue;
                }
                Some(b']') if !comma || at == span.start + 1 => return,
                _ if inner.get(span.start + 1..at).is_some_and(|rows| rows.trim_ascii().is_empty())
                    && inner.get(at) == Some(&b']') =>
                {
                    return;
                }
                _ => {
                    let reason = "the data are an array of objects; a row or a comma is missing here";
                    let fault = Fault::new("bad_json", reason, at);
                    let rest = span.end.saturating_sub(at + 1);
                    self.refuse(header, data, at, rest, fault, output);
                    return;
                }
            }
            comma = false;
            if parts.lines > 0 {
                lines +=
                    memchr::memchr_iter(b'\n', inner.get(counted..at).unwrap_or_default()).count() as u32;
                counted = at;
            }
            if let Some(row) = self.engine.shapes.guess(scope, chunk, at, &mut output.tables) {
                if row.end < span.end {
                    output.commit(table, at, row.end - at, lines);
                    self.engine.shapes.follow(row.shape);
                    at = row.end;
                    continue;
                }
                self.engine.shapes.roll_back(row, &mut output.tables);
            }
            at = self.row(header, piece, inner, at, lines, output);
        }
    }

    /// Takes a row apart; returns its end.
    #[inline(never)]
    fn row(
        &mut self,
        header: usize,
        piece: Piece<'_>,
        inner: &[u8],
        at: usize,
        lines: u32,
        output: &mut Output,
    ) -> usize {
        let one_line = self.engine.framing.one_line();
        let read = self.engine.object.read(inner, at, one_line, Nested::Keep);
        if let Err(stop) = read {
            let mut reader = Reader::new(inner, at, one_line);
            // By its brackets it is a row, or the array would not be one.
            let end = reader.leap().map_or(inner.len() - 1, |span| span.end.min(inner.len() - 1));
            let fault = match stop {
                Stop::Bad(code, reason, at) => Fault::new(code, reason, at.min(end)),
                Stop::Open => Fault::new("bad_json", "the row is not closed", end),
            };
            self.refuse(header, piece.data, at, end - at, fault, output);
            return end;
        }
        let end = self.engine.object.end;
        let Some(known) = self.headers.get(header) else { return end };
        let (scope, table) = (known.scope, known.table);
        let object = &self.engine.object;
        if let Some(row) = self.engine.shapes.find(scope, piece.chunk, at, object, NONE, &mut output.tables)
            && row.end == end
        {
            output.commit(table, at, end - at, lines);
            self.engine.shapes.follow(row.shape);
            return end;
        }
        self.engine.begin(table, output);
        match self.fill(header, piece, at, output) {
            Ok(repeated) => {
                output.commit(table, at, end - at, lines);
                output.counts.duplicate_fields += repeated;
                if repeated == 0 {
                    let Engine { shapes, object, uses, .. } = &mut self.engine;
                    shapes.learn((scope, table, NONE), inner, at, object, uses, &mut output.tables);
                }
            }
            Err((misfit, place)) => {
                self.engine.abandon(table, output);
                let Some(id) = self.headers.get(header).map(|known| known.id.clone()) else { return end };
                self.refuse(header, piece.data, at, end - at, Fault::of(misfit, &id, place), output);
            }
        }
        end
    }

    /// Puts the values of a row into their columns; returns how many keys were repeated.
    fn fill(
        &mut self,
        header: usize,
        piece: Piece<'_>,
        at: usize,
        output: &mut Output,
    ) -> Result<u64, (Misfit, usize)> {
        let mut repeated = 0;
        let Some(table) = self.headers.get(header).map(|known| known.table) else { return Ok(0) };
        for i in 0..self.engine.object.fields.len() {
            let field = self.engine.object.fields[i];
            let What::Value(kind) = field.what else { continue };
            let Some(known) = self.headers.get(header) else { break };
            let column = match field.key.escaped {
                false => known.columns.get(field.key.of(piece.data)),
                true => known.columns.get(field.key.text(piece.data).as_slice()),
            };
            let Some(&column) = column else {
                let name = String::from_utf8_lossy(&field.key.text(piece.data)).into_owned();
                let reason = format!("column {name:?} is not declared for table {}", known.id);
                return Err((Misfit::new("unknown_column", reason), field.key.start));
            };
            let required = known.required.contains(&column);
            repeated += u64::from(output.tables.get(table).is_some_and(|rows| rows.has(column)));
            if required && kind == Kind::Null {
                let misfit = output.tables.get(table).map(|rows| rows.null_misfit(column));
                return Err((misfit.unwrap_or_else(|| Misfit::new("not_null", "null")), field.start()));
            }
            self.engine
                .push(piece, field, kind, column, table, output)
                .map_err(|misfit| (misfit, field.start()))?;
            let part = if required { Part::Required } else { Part::Column };
            self.engine.uses.push(Use { field: i as u32, column, part });
        }
        if let (Some(known), Some(rows)) = (self.headers.get(header), output.tables.get(table)) {
            let lacking = known.required.iter().find(|column| !rows.has(**column)).copied();
            let lacking = lacking.and_then(|column| rows.known(column)).or_else(|| rows.missing());
            if let Some(column) = lacking {
                let what = match column.role() {
                    Role::Tag | Role::PrimaryTag => "tag",
                    Role::Timestamp | Role::Field => "column",
                };
                let reason =
                    format!("{what} {:?} of table {} is missing, which it may not", column.name(), known.id);
                return Err((Misfit::new("not_null", reason), at));
            }
        }
        Ok(repeated)
    }

    /// Refuses a part of the data, with the header that it takes to read it again.
    fn refuse(&self, header: usize, data: &[u8], at: usize, len: usize, fault: Fault, output: &mut Output) {
        let row = data.get(at..at + len).unwrap_or_default();
        let raw = self.headers.get(header).map(|known| {
            let mut raw = Vec::with_capacity(known.key.len() + len + 64);
            let mut parts = known.key.split(|byte| *byte == 0);
            let mut part = |name: &str, quote: &str, raw: &mut Vec<u8>| {
                let Some(text) = parts.next().filter(|text| !text.is_empty()) else { return };
                raw.extend_from_slice(format!("\"{name}\":{quote}").as_bytes());
                raw.extend_from_slice(text);
                raw.extend_from_slice(quote.as_bytes());
                raw.push(b',');
            };
            raw.push(b'{');
            part("table", "\"", &mut raw);
            part("columns", "", &mut raw);
            part("tags", "", &mut raw);
            raw.extend_from_slice(b"\"data\":[");
            raw.extend_from_slice(row);
            raw.extend_from_slice(b"]}");
            raw
        });
        let table = fault.table.clone().or_else(|| self.headers.get(header).map(|known| known.id.clone()));
        output.refuse(data, at, len, Fault { table, ..fault }, raw);
    }
}

impl RecordFormat for Objects {
    framed!("json_kaiwudb");

    fn read(&mut self, piece: Piece<'_>, output: &mut Output) -> Read {
        if let Next::Read(read) = self.engine.framing.next(piece, output.place()) {
            return read;
        }
        let Piece { data, at, .. } = piece;
        let parts = match Parts::read(data, at, self.engine.framing.one_line()) {
            Ok(parts) => parts,
            Err(stop) => return self.engine.framing.stop(piece, output.place(), stop),
        };
        if let Err(fault) = output.check(data, at, parts.end) {
            return self.engine.framing.bad(
                piece,
                output.place(),
                Fault::new("invalid_utf8", "not UTF-8", fault),
            );
        }
        let header = self.header(&parts, piece, output);
        let after = self.engine.framing.after(data, parts.end);
        let extent = if after.lines > 0 {
            Extent { lines: after.lines + parts.lines, ..after }
        } else {
            Extent { lines: parts.lines, line_start: parts.line_start, ..after }
        };
        match header {
            Ok(header) => {
                self.rows(header, &parts, piece, output);
                Read::Taken(extent)
            }
            Err(fault) => Read::Refused(extent, parts.end - at, fault),
        }
    }
}
