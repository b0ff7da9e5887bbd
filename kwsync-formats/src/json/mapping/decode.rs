//! Messages to Arrow, as a mapping says.

use std::collections::HashMap;
use std::sync::Arc;

use kwsync_core::{Column, DataType, Metadata, Position, Role, SchemaRegistry, TableId, TimeUnit};

use super::config::{From, Mapping, Model, Part, Source};
use crate::build::{Cell, Kind, Misfit, NONE, Rule, Str, Tables};
use crate::framing::{
    Boundary, Extent, Fault, Limits, Lines, Output, Piece, Read, RecordDecoder, RecordFormat,
};
use crate::influx::MissingTimestamp;
use crate::json::engine::{Engine, stamp};
use crate::json::read::{Nested, string};
use crate::json::records::{Follow, Next, Records};

/// What becomes of a subtable's name where the target has no subtables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Subtables {
    /// The rows go into the table that `using` names, and the name into its column `tbname`, a primary tag.
    #[default]
    Column,
    /// The rows go into the table that `using` names, and the name nowhere.
    Drop,
    /// The name is the table's.
    Table,
}

/// Options of a [`MappingDecoder`].
#[derive(Clone, Debug)]
pub struct MappingOptions {
    mapping: Arc<Mapping>,
    subtables: Subtables,
    missing: MissingTimestamp,
    records: Records,
    limits: Limits,
}

impl MappingOptions {
    /// The defaults with this mapping.
    #[must_use]
    pub fn new(mapping: Mapping) -> Self {
        Self {
            mapping: Arc::new(mapping),
            subtables: Subtables::default(),
            missing: MissingTimestamp::default(),
            records: Records::default(),
            limits: Limits::default(),
        }
    }

    /// What becomes of subtables' names.
    #[must_use]
    pub fn with_subtables(mut self, subtables: Subtables) -> Self {
        self.subtables = subtables;
        self
    }

    /// What becomes of a message that lacks the first column of a model: it gets the time of receipt (the default), or
    /// is refused. The first column is never null.
    #[must_use]
    pub fn with_missing_timestamp(mut self, policy: MissingTimestamp) -> Self {
        self.missing = policy;
        self
    }

    /// How objects lie in the input.
    #[must_use]
    pub fn with_records(mut self, records: Records) -> Self {
        self.records = records;
        self
    }

    /// Bounds of memory, and the clock.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }
}

/// Decoder of messages by a mapping: each message, or each object of it, becomes a row for each of the mapping's models.
///
/// Values are cast to the types that the mapping gives them, numbers also from text, or the message is refused where
/// that is not exact. What a message lacks is null. Fields without a type get that of their first value.
///
/// # Examples
///
/// The example of taosX's manual: the message has no time, so it gets that of its receipt.
/// ```
/// use kwsync_core::Decoder;
/// use kwsync_formats::json::mapping::{Mapping, MappingDecoder, MappingOptions};
///
/// let mapping = Mapping::parse(r#"{
///     "parse": {"payload": {"json": [
///         {"name": "ts", "alias": "ts", "cast": "TIMESTAMP"},
///         {"name": "id", "alias": "id", "cast": "INT"},
///         {"name": "$.data.voltage", "alias": "voltage", "cast": "INT"},
///         {"name": "location", "alias": "location", "cast": "VARCHAR(20)"}
///     ]}},
///     "model": {"name": "d{id}", "using": "meters", "columns": ["ts", "voltage"], "tags": ["location"]}
/// }"#)?;
/// let mut decoder = MappingDecoder::new(MappingOptions::new(mapping));
/// decoder.decode(&r#"{"id": 1, "data": {"voltage": 222}, "location": "California.SanDiego"}"#.into())?;
/// decoder.end_record()?;
/// let batch = decoder.flush()?.batches.remove(0);
/// assert_eq!(batch.table().name(), "meters");
/// let names: Vec<_> = batch.schema().columns().iter().map(|column| column.name()).collect();
/// assert_eq!(names, ["ts", "location", "tbname", "voltage"]);
/// assert_eq!(batch.row(0).get("tbname")?.to_string(), "d1");
/// # Ok::<(), kwsync_core::Error>(())
/// ```
#[derive(Debug)]
pub struct MappingDecoder(RecordDecoder<Mapped>);

crate::framing::record_decoder!(MappingDecoder);

impl MappingDecoder {
    /// A decoder with schemas of its own.
    #[must_use]
    pub fn new(options: MappingOptions) -> Self {
        let limits = options.limits.clone();
        let format = Mapped {
            engine: Engine::new(options.records),
            opened: options.mapping.models.iter().map(|_| Opened::default()).collect(),
            options,
            metadata: Metadata::new(),
            lines: true,
            got: Vec::new(),
            made: Vec::new(),
            name: Vec::new(),
            done: Vec::new(),
            current: NONE,
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

/// Where the text of a value is: in the chunk, or among what was made for the record.
#[derive(Clone, Copy, Debug)]
enum Text {
    Here(usize, usize),
    Made(usize, usize),
}

/// A table and its columns as a model has them.
#[derive(Clone, Debug)]
struct Columns {
    table: u32,
    /// Columns, then tags; [`NONE`] for one whose type is not known yet
    columns: Vec<u32>,
    tbname: u32,
}

/// The tables of a model, by their names.
#[derive(Debug, Default)]
struct Opened {
    all: Vec<Columns>,
    by_name: HashMap<Box<[u8]>, u32>,
}

struct Mapped {
    options: MappingOptions,
    engine: Engine,
    opened: Vec<Opened>,
    metadata: Metadata,
    /// Messages that are no JSON end with their line.
    lines: bool,
    /// The values of the record, one a source
    got: Vec<(Kind, Text)>,
    made: Vec<u8>,
    name: Vec<u8>,
    /// Tables that have a row of the record
    done: Vec<u32>,
    /// The table whose row is under way
    current: u32,
}

/// Where a message ends.
pub(crate) enum Ends {
    Json(Follow),
    Lines(Lines),
    /// With the message
    Never,
}

impl Boundary for Ends {
    fn find(&mut self, bytes: &[u8]) -> Option<usize> {
        match self {
            Self::Json(follow) => follow.find(bytes),
            Self::Lines(lines) => lines.find(bytes),
            Self::Never => None,
        }
    }
}

impl Mapped {
    /// Finds the values of the record; `body` is the text of one that is no JSON.
    fn gather(&mut self, data: &[u8], at: usize, body: Option<(usize, usize)>) -> Result<(), Fault> {
        self.got.clear();
        self.made.clear();
        let mapping = Arc::clone(&self.options.mapping);
        for source in &mapping.sources {
            let made = |made: &mut Vec<u8>, kind, text: &[u8]| {
                let start = made.len();
                made.extend_from_slice(text);
                (kind, Text::Made(start, made.len()))
            };
            let number = |out: &mut Vec<u8>, value: Option<i64>| {
                value.map(|value| made(out, Kind::Int(value), value.to_string().as_bytes()))
            };
            let got = match &source.from {
                From::Ts => {
                    let per_ms = match source.data_type {
                        Some(DataType::TimestampTz(unit) | DataType::Timestamp(unit)) => {
                            (1_000_000 / unit.nanos(), unit == TimeUnit::Second)
                        }
                        _ => (1, false),
                    };
                    let scaled = self.metadata.timestamp.and_then(|ms| match per_ms {
                        (_, true) => Some(ms.div_euclid(1000)),
                        (factor, _) => ms.checked_mul(factor),
                    });
                    number(&mut self.made, scaled)
                }
                From::Partition => number(&mut self.made, self.metadata.partition.map(i64::from)),
                From::Offset => number(&mut self.made, self.metadata.offset),
                From::Topic => {
                    let topic = self.metadata.topic.as_deref();
                    topic.map(|topic| made(&mut self.made, Kind::Text, topic.as_bytes()))
                }
                From::Key => self.metadata.key.as_deref().map(|key| made(&mut self.made, Kind::Text, key)),
                From::Headers => {
                    let headers = self.metadata.headers_json();
                    headers.map(|text| made(&mut self.made, Kind::Json, text.as_bytes()))
                }
                From::Body => body.map(|(start, end)| (Kind::Text, Text::Here(start, end))),
                From::Json(path) => path.find(data, &self.engine.object).map(|(kind, span)| {
                    let whole = matches!(source.data_type, Some(DataType::Json | DataType::Jsonb));
                    match kind {
                        // Text as JSON keeps its quotes.
                        Kind::Text if whole => (Kind::Json, Text::Here(span.start - 1, span.end + 1)),
                        Kind::Text if span.escaped => {
                            let start = self.made.len();
                            string::unescape(span.of(data), &mut self.made);
                            (kind, Text::Made(start, self.made.len()))
                        }
                        _ => (kind, Text::Here(span.start, span.end)),
                    }
                }),
            };
            self.got.push(got.unwrap_or((Kind::Null, Text::Made(0, 0))));
            if source.from == From::Key
                && !is_bytes(source)
                && self.metadata.key.as_deref().is_some_and(|key| std::str::from_utf8(key).is_err())
            {
                return Err(Fault::new(
                    "invalid_utf8",
                    "the message's key is not UTF-8; read it as varbinary",
                    at,
                ));
            }
        }
        Ok(())
    }

    fn text<'a>(&'a self, data: &'a [u8], text: Text) -> &'a [u8] {
        match text {
            Text::Here(start, end) => data.get(start..end).unwrap_or_default(),
            Text::Made(start, end) => self.made.get(start..end).unwrap_or_default(),
        }
    }

    fn got(&self, source: usize) -> (Kind, Text) {
        self.got.get(source).copied().unwrap_or((Kind::Null, Text::Made(0, 0)))
    }

    /// The model's name for the record, into `self.name`.
    fn render(&mut self, data: &[u8], model: &Model, at: usize) -> Result<(), Fault> {
        let mut name = std::mem::take(&mut self.name);
        name.clear();
        for part in &model.name {
            match part {
                Part::Text(text) => name.extend_from_slice(text.as_bytes()),
                Part::Value(source) => {
                    let (kind, text) = self.got(*source);
                    if matches!(kind, Kind::Null | Kind::Json) {
                        let mapping = &self.options.mapping;
                        let alias = mapping.sources.get(*source).map_or("", |source| &source.alias);
                        let reason = format!("the name needs `{alias}`, and the message has none");
                        self.name = name;
                        return Err(Fault::new("missing_name", reason, at));
                    }
                    name.extend_from_slice(self.text(data, text));
                }
            }
        }
        self.name = name;
        if std::str::from_utf8(&self.name).is_err() {
            return Err(Fault::new("invalid_utf8", "the name that the message makes is not UTF-8", at));
        }
        Ok(())
    }

    /// The table of a model for the record, opened if it is new.
    fn open(&mut self, index: usize, model: &Model, output: &mut Output) -> Result<usize, (Misfit, TableId)> {
        let named = model.using.is_none() || self.options.subtables == Subtables::Table;
        let Some(opened) = self.opened.get_mut(index) else { return Ok(0) };
        let key: &[u8] = if named { &self.name } else { b"" };
        if let Some(place) = opened.by_name.get(key) {
            return Ok(*place as usize);
        }
        let id = match (&model.using, named) {
            (Some(using), false) => TableId::new(using.as_str()),
            _ => TableId::new(String::from_utf8_lossy(&self.name).as_ref()),
        };
        let of = |misfit| (misfit, id.clone());
        if id.name().is_empty() {
            return Err(of(Misfit::new("missing_name", "the name of the table is empty")));
        }
        let tables = &mut output.tables;
        let fresh = tables.find(&id).is_none();
        let table = tables.open(&id).map_err(of)?;
        let mapping = Arc::clone(&self.options.mapping);
        let tbname = !named && self.options.subtables == Subtables::Column;
        let add = || {
            let mut columns = Vec::new();
            let all = model.columns.iter().map(|i| (i, false)).chain(model.tags.iter().map(|i| (i, true)));
            for (place, (source, tag)) in all.enumerate() {
                let Some(source) = mapping.sources.get(*source) else { continue };
                columns.push(match &source.data_type {
                    Some(data_type) => {
                        let column = Column::new(source.alias.as_str(), data_type.clone());
                        let column = match (place, tag) {
                            (0, _) => column.with_role(Role::Timestamp).with_nullable(!fresh),
                            (_, true) => column.with_role(Role::Tag),
                            _ => column,
                        };
                        tables.add(table, column, rule(data_type))?
                    }
                    None => NONE,
                });
            }
            let tbname = match tbname {
                true => {
                    let column = Column::new("tbname", DataType::Text).with_role(Role::PrimaryTag);
                    let rule = Rule::Cast { unit: TimeUnit::Millisecond, text: true };
                    tables.add(table, column.with_nullable(!fresh), rule)?
                }
                false => NONE,
            };
            Ok(Columns { table, columns, tbname })
        };
        let columns = { add }().map_err(|misfit| {
            if fresh {
                output.tables.discard(table);
            }
            (misfit, id.clone())
        })?;
        let place = opened.all.len();
        opened.by_name.insert(key.into(), place as u32);
        opened.all.push(columns);
        Ok(place)
    }

    /// Puts a row into the table of a model.
    fn row(
        &mut self,
        index: usize,
        model: &Model,
        piece: Piece<'_>,
        output: &mut Output,
    ) -> Result<u32, Fault> {
        let Piece { data, at, chunk, .. } = piece;
        self.current = NONE;
        self.render(data, model, at)?;
        let place = self.open(index, model, output).map_err(|(misfit, id)| Fault::of(misfit, &id, at))?;
        let Some(columns) = self.opened.get(index).and_then(|opened| opened.all.get(place)) else {
            return Err(Fault::new("internal", "no table", at));
        };
        let (table, tbname) = (columns.table, columns.tbname);
        self.current = table;
        let id = output.tables.get(table).map_or_else(|| TableId::new(""), |rows| rows.id.clone());
        let fault = |misfit, text: Text| {
            Fault::of(misfit, &id, if let Text::Here(start, _) = text { start } else { at })
        };
        let count = columns.columns.len();
        for i in 0..count {
            let source = model.columns.iter().chain(&model.tags).nth(i).copied().unwrap_or(0);
            let (kind, text) = self.got(source);
            let mut column = self.column(index, place, i);
            if kind == Kind::Null {
                if i == 0 {
                    if self.options.missing == MissingTimestamp::Reject {
                        let reason =
                            "the message has no time for the first column; allow it with missing_ts=receive";
                        return Err(Fault { table: Some(id), ..Fault::new("missing_timestamp", reason, at) });
                    }
                    stamp(table, column, output);
                }
                continue;
            }
            if column == NONE {
                column = self
                    .choose(source, kind, i >= model.columns.len(), table, output)
                    .map_err(|misfit| fault(misfit, text))?;
                if let Some(slot) = self
                    .opened
                    .get_mut(index)
                    .and_then(|o| o.all.get_mut(place))
                    .and_then(|c| c.columns.get_mut(i))
                {
                    *slot = column;
                }
            }
            let cell = match text {
                Text::Here(start, end) => Cell::new(kind, Str::Here(start, end)),
                Text::Made(start, end) => {
                    Cell::new(kind, Str::Made(self.made.get(start..end).unwrap_or_default()))
                }
            };
            if let Some(rows) = output.tables.get_mut(table) {
                rows.push(column, chunk, cell).map_err(|misfit| fault(misfit, text))?;
            }
        }
        if let Some(rows) = output.tables.get_mut(table) {
            if tbname != NONE {
                let cell = Cell::new(Kind::Text, Str::Made(&self.name));
                rows.push(tbname, chunk, cell).map_err(|misfit| Fault::of(misfit, &id, at))?;
            }
            if let Some(column) = rows.missing() {
                let reason = format!("column {:?} of table {id} is missing, which it may not", column.name());
                return Err(Fault { table: Some(id), ..Fault::new("not_null", reason, at) });
            }
        }
        Ok(table)
    }

    fn column(&self, model: usize, place: usize, column: usize) -> u32 {
        let columns = self.opened.get(model).and_then(|opened| opened.all.get(place));
        columns.and_then(|columns| columns.columns.get(column)).copied().unwrap_or(NONE)
    }

    /// The column of a source without a type, by its first value.
    fn choose(
        &self,
        source: usize,
        kind: Kind,
        tag: bool,
        table: u32,
        output: &mut Output,
    ) -> Result<u32, Misfit> {
        let alias = self.options.mapping.sources.get(source).map_or("", |source| &source.alias);
        let data_type = match kind {
            Kind::Bool(_) => DataType::Bool,
            Kind::Int(_) => DataType::Int64,
            Kind::UInt(_) => DataType::UInt64,
            Kind::Float(_) => DataType::Float64,
            Kind::Json => DataType::Json,
            Kind::Text | Kind::Null => DataType::Text,
            Kind::Huge => {
                let reason = format!("column {alias:?}: the integer has more than 64 bits");
                return Err(Misfit::new("integer_overflow", reason));
            }
        };
        let role = if tag { Role::Tag } else { Role::Field };
        output.tables.add(table, Column::new(alias, data_type).with_role(role), Rule::Infer)
    }

    /// A row for each model, or none at all.
    fn rows(&mut self, piece: Piece<'_>, len: usize, output: &mut Output) -> Result<(), Fault> {
        let mapping = Arc::clone(&self.options.mapping);
        self.done.clear();
        let before = output.counts.missing_timestamps;
        for (index, model) in mapping.models.iter().enumerate() {
            match self.row(index, model, piece, output) {
                Ok(table) => {
                    if self.done.is_empty() {
                        output.commit(table, piece.at, len, 0);
                    } else {
                        output.commit_more(table, piece.at, len, 0);
                    }
                    self.done.push(table);
                }
                Err(fault) => {
                    if let Some(rows) = output.tables.get_mut(self.current) {
                        rows.abandon();
                    }
                    output.retract(&self.done, len);
                    output.counts.missing_timestamps = before;
                    return Err(fault);
                }
            }
        }
        Ok(())
    }

    /// A message that is no JSON.
    fn plain(&mut self, piece: Piece<'_>, output: &mut Output) -> Read {
        let Piece { data, at, last, .. } = piece;
        let rest = data.get(at..).unwrap_or_default();
        let (len, extent) = match memchr::memchr(b'\n', rest).filter(|_| self.lines) {
            Some(n) => (n, Extent { end: at + n + 1, lines: 1, line_start: at + n + 1 }),
            None if last => (rest.len(), Extent::of(data, at, data.len())),
            None => return Read::Incomplete,
        };
        let text = rest.get(..len).unwrap_or_default();
        let len = if self.lines { text.strip_suffix(b"\r").unwrap_or(text).len() } else { len };
        if len == 0 {
            return Read::Taken(extent);
        }
        let body = self.options.mapping.sources.iter().find(|source| source.from == From::Body);
        if body.is_some_and(|source| !is_bytes(source))
            && let Err(fault) = output.check(data, at, at + len)
        {
            return Read::Refused(extent, len, Fault::new("invalid_utf8", "not UTF-8", fault));
        }
        match self.gather(data, at, Some((at, at + len))).and_then(|()| self.rows(piece, len, output)) {
            Ok(()) => Read::Taken(extent),
            Err(fault) => Read::Refused(extent, len, fault),
        }
    }
}

fn is_bytes(source: &Source) -> bool {
    matches!(source.data_type, Some(DataType::VarBytes(_) | DataType::Bytes))
}

fn rule(data_type: &DataType) -> Rule {
    let unit = match data_type {
        DataType::Timestamp(unit) | DataType::TimestampTz(unit) => *unit,
        _ => TimeUnit::Millisecond,
    };
    Rule::Cast { unit, text: true }
}

impl RecordFormat for Mapped {
    type Boundary = Ends;

    fn name(&self) -> &'static str {
        "json"
    }

    fn boundary(&self) -> Ends {
        match (self.options.mapping.json, self.lines) {
            (true, _) => Ends::Json(self.engine.boundary()),
            (false, true) => Ends::Lines(Lines),
            (false, false) => Ends::Never,
        }
    }

    fn restart(&mut self, at: Position) {
        self.engine.framing.restart(at);
        self.lines = match self.options.records {
            Records::Auto => at.line != 0,
            Records::Lines => true,
            Records::Values => false,
        };
    }

    fn message(&mut self, metadata: &Metadata) {
        self.metadata = metadata.clone();
    }

    fn end(&mut self) -> Option<Fault> {
        self.metadata = Metadata::new();
        if self.options.mapping.json { self.engine.framing.end() } else { None }
    }

    fn reset(&mut self) {
        self.engine.framing.restart(Position::START);
    }

    fn read(&mut self, piece: Piece<'_>, output: &mut Output) -> Read {
        if !self.options.mapping.json {
            return self.plain(piece, output);
        }
        if let Next::Read(read) = self.engine.framing.next(piece, output.place()) {
            return read;
        }
        if let Err(read) = self.engine.parse(piece, Nested::Open, output) {
            return read;
        }
        let len = self.engine.object.end - piece.at;
        let extent = self.engine.framing.after_object(piece.data, &self.engine.object);
        match self.gather(piece.data, piece.at, None).and_then(|()| self.rows(piece, len, output)) {
            Ok(()) => Read::Taken(extent),
            Err(fault) => Read::Refused(extent, len, fault),
        }
    }
}
