//! Objects whose columns are found as they come.

use std::collections::HashMap;
use std::sync::Arc;

use kwsync_core::{Column, DataType, Role, Schema, SchemaRegistry, TableId, TimeUnit};

use super::engine::{Engine, framed, stamp};
use super::read::{Field, Nested, What};
use super::records::{Next, Records};
use super::shape::{Part, Use};
use crate::build::{Kind, Misfit, NONE, Rule, Tables, Target};
use crate::framing::{Fault, Limits, Output, Piece, Read, RecordDecoder, RecordFormat};
use crate::influx::MissingTimestamp;

/// What becomes of objects within objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Objects {
    /// Each of their values is a column, named by the path to it: `engine.rpm`.
    #[default]
    Columns,
    /// Each is one column of JSON text.
    Json,
}

/// What becomes of a value whose column is of another type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Conflict {
    /// The record is the reject `type_conflict`.
    #[default]
    Reject,
    /// The value is null, and counted as coerced.
    Null,
}

/// Options of a [`JsonDecoder`].
#[derive(Clone, Debug)]
pub struct JsonOptions {
    table: String,
    table_key: Option<String>,
    objects: Objects,
    conflict: Conflict,
    records: Records,
    time: Option<String>,
    unit: TimeUnit,
    missing: MissingTimestamp,
    types: Option<Arc<Schema>>,
    limits: Limits,
}

impl Default for JsonOptions {
    fn default() -> Self {
        Self {
            table: "json".to_owned(),
            table_key: None,
            objects: Objects::default(),
            conflict: Conflict::default(),
            records: Records::default(),
            time: None,
            unit: TimeUnit::Millisecond,
            missing: MissingTimestamp::default(),
            types: None,
            limits: Limits::default(),
        }
    }
}

impl JsonOptions {
    /// The defaults: one table named `json`, no time column.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The table of objects that do not name their own.
    #[must_use]
    pub fn with_table(mut self, name: impl Into<String>) -> Self {
        self.table = name.into();
        self
    }

    /// The key whose value, a string, is the table's name.
    #[must_use]
    pub fn with_table_key(mut self, key: impl Into<String>) -> Self {
        self.table_key = Some(key.into());
        self
    }

    /// What becomes of objects within objects (default: a column for each value).
    #[must_use]
    pub fn with_objects(mut self, objects: Objects) -> Self {
        self.objects = objects;
        self
    }

    /// What becomes of a value whose column is of another type (default: the record is refused).
    #[must_use]
    pub fn with_conflict(mut self, conflict: Conflict) -> Self {
        self.conflict = conflict;
        self
    }

    /// How objects lie in the input.
    #[must_use]
    pub fn with_records(mut self, records: Records) -> Self {
        self.records = records;
        self
    }

    /// The key of the row's time: an integer that counts `unit` since 1970, or text as RFC 3339 has it.
    #[must_use]
    pub fn with_time(mut self, key: impl Into<String>, unit: TimeUnit) -> Self {
        self.time = Some(key.into());
        self.unit = unit;
        self
    }

    /// What becomes of a record without a time, where one is asked for (default: the time of arrival).
    #[must_use]
    pub fn with_missing_timestamp(mut self, policy: MissingTimestamp) -> Self {
        self.missing = policy;
        self
    }

    /// Columns whose types are given: values are cast to them, or refused where that is not exact. Numbers may stand as
    /// text; other columns are found as they come.
    #[must_use]
    pub fn with_types(mut self, types: Arc<Schema>) -> Self {
        self.types = Some(types);
        self
    }

    /// Bounds of memory, and the clock.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }
}

/// Decoder of JSON objects, one a line or one after another or in an array: each is a row, each key a column.
///
/// A column has the type of its first value that is not null: bool, integer, float, text; arrays are JSON text. A
/// float in a column of integers makes it a column of floats, if all its integers are floats exactly (up to 2^53);
/// otherwise another type is the reject `type_conflict`. Integers are never rounded.
///
/// # Examples
///
/// ```
/// use kwsync_core::Decoder;
/// use kwsync_formats::json::{JsonDecoder, JsonOptions};
///
/// let mut decoder = JsonDecoder::new(JsonOptions::new().with_table("cars"));
/// decoder.decode(&"{\"id\":7,\"engine\":{\"rpm\":900}}\n{\"id\":".into())?;
/// decoder.decode(&"8,\"engine\":{\"rpm\":1100.5}}\n{oops}\n".into())?;
/// decoder.finish()?;
/// let decoded = decoder.flush()?;
/// let names: Vec<_> = decoded.batches[0].schema().columns().iter().map(|c| c.name().to_owned()).collect();
/// assert_eq!(names, ["id", "engine.rpm"]);
/// assert_eq!(decoded.batches[0].rows(), 2);
/// assert_eq!(decoded.rejects[0].code, "bad_json");
/// # Ok::<(), kwsync_core::Error>(())
/// ```
#[derive(Debug)]
pub struct JsonDecoder(RecordDecoder<Infer>);

crate::framing::record_decoder!(JsonDecoder);

impl JsonDecoder {
    /// A decoder with schemas of its own.
    #[must_use]
    pub fn new(options: JsonOptions) -> Self {
        let limits = options.limits.clone();
        Self(RecordDecoder::new(Infer::new(options), limits, Tables::new(Arc::default())))
    }

    /// Shares the schemas of a job.
    #[must_use]
    pub fn with_registry(mut self, registry: Arc<SchemaRegistry>) -> Self {
        self.0.output.tables.set_registry(registry);
        self
    }

    /// Gives a table its schema: values are cast to it, or refused where that is not exact; so is a record that has
    /// other columns.
    #[must_use]
    pub fn with_target(mut self, table: TableId, schema: Arc<Schema>) -> Self {
        let unit = self.0.format.options.unit;
        self.0.output.tables.set_target(table, Target { schema, closed: true, unit, text: true });
        self
    }
}

struct Infer {
    options: JsonOptions,
    engine: Engine,
    /// Values whose columns are new
    fresh: Vec<(u32, String)>,
    /// Floats whose columns are of integers yet
    wider: Vec<(Field, u32)>,
}

impl Infer {
    fn new(options: JsonOptions) -> Self {
        Self { engine: Engine::new(options.records), options, fresh: Vec::new(), wider: Vec::new() }
    }

    #[inline(never)]
    fn general(&mut self, piece: Piece<'_>, output: &mut Output) -> Read {
        let Piece { data, at, .. } = piece;
        let nested = match self.options.objects {
            Objects::Columns => Nested::Open,
            Objects::Json => Nested::Keep,
        };
        if let Err(read) = self.engine.parse(piece, nested, output) {
            return read;
        }
        let end = self.engine.object.end;
        let named =
            self.options.table_key.as_ref().and_then(|key| self.engine.object.get(data, key.as_bytes()));
        let (fixed, named) = named.map_or((NONE, None), |(i, field)| (i as u32, Some(*field)));
        if let Some(row) =
            self.engine.shapes.find(0, piece.chunk, at, &self.engine.object, fixed, &mut output.tables)
            && let Some(read) = self.engine.accept(row, piece, output)
        {
            return read;
        }
        let extent = self.engine.framing.after_object(data, &self.engine.object);
        match self.row(piece, fixed, named, output) {
            Ok((table, stamped, repeated)) => {
                output.commit(table, at, end - at, 0);
                if repeated == 0 {
                    let key = (0, table, stamped);
                    self.engine.shapes.learn(
                        key,
                        data,
                        at,
                        &self.engine.object,
                        &self.engine.uses,
                        &mut output.tables,
                    );
                }
                output.counts.duplicate_fields += repeated;
                Read::Taken(extent)
            }
            Err(fault) => Read::Refused(extent, end - at, fault),
        }
    }

    /// Puts the values of the object into their columns. Returns the table, the column that got the time of receipt,
    /// and how many keys were repeated.
    fn row(
        &mut self,
        piece: Piece<'_>,
        fixed: u32,
        named: Option<Field>,
        output: &mut Output,
    ) -> Result<(u32, u32, u64), Fault> {
        let id = match named {
            Some(field) if field.is_text() => {
                let name = field.value.text(piece.data);
                if name.is_empty() {
                    return Err(Fault::new("bad_table", "the table's name is empty", field.start()));
                }
                TableId::new(String::from_utf8_lossy(&name).as_ref())
            }
            Some(field) if field.what != What::Value(Kind::Null) => {
                return Err(Fault::new("bad_table", "the table's name is no string", field.start()));
            }
            _ => TableId::new(self.options.table.as_str()),
        };
        let fresh = output.tables.find(&id).is_none();
        let table = output.tables.open(&id).map_err(|misfit| Fault::of(misfit, &id, piece.at))?;
        if fresh {
            self.prepare(table, output).map_err(|misfit| {
                output.tables.discard(table);
                Fault::of(misfit, &id, piece.at)
            })?;
        }
        self.engine.begin(table, output);
        let done = self.fill(piece, fixed, table, output);
        done.map_err(|(misfit, at)| {
            self.engine.abandon(table, output);
            Fault::of(misfit, &id, at)
        })
    }

    /// The columns that a table has from the start.
    fn prepare(&self, table: u32, output: &mut Output) -> Result<(), Misfit> {
        if output.tables.get(table).is_some_and(|table| table.is_closed()) {
            return Ok(());
        }
        let rule = Rule::Cast { unit: self.options.unit, text: true };
        if let Some(time) = &self.options.time {
            let column = Column::new(time.as_str(), DataType::TimestampTz(TimeUnit::Nanosecond))
                .with_role(Role::Timestamp)
                .with_nullable(self.options.missing == MissingTimestamp::Null);
            output.tables.add(table, column, rule)?;
        }
        if let Some(types) = &self.options.types {
            for column in types.columns() {
                output.tables.add(table, column.clone(), rule)?;
            }
        }
        Ok(())
    }

    /// The column's name of a field.
    fn name(&self, data: &[u8], field: &Field) -> String {
        let mut name = String::from_utf8_lossy(&field.key.text(data)).into_owned();
        let mut parent = field.parent;
        while let Some(outer) = self.engine.object.fields.get(parent as usize) {
            name.insert(0, '.');
            name.insert_str(0, &String::from_utf8_lossy(&outer.key.text(data)));
            parent = outer.parent;
        }
        name
    }

    /// Whether the key of a field stands once more behind it: then that one counts.
    #[cold]
    fn comes_again(&self, data: &[u8], field: usize) -> bool {
        let (Some(own), Some(later)) =
            (self.engine.object.fields.get(field), self.engine.object.fields.get(field + 1..))
        else {
            return false;
        };
        let name = self.name(data, own);
        later.iter().any(|field| field.what != What::Object && self.name(data, field) == name)
    }

    fn fill(
        &mut self,
        piece: Piece<'_>,
        fixed: u32,
        table: u32,
        output: &mut Output,
    ) -> Result<(u32, u32, u64), (Misfit, usize)> {
        let Piece { data, at, .. } = piece;
        self.fresh.clear();
        self.wider.clear();
        let (mut repeated, mut fresh) = (0, 0);
        for i in 0..self.engine.object.fields.len() {
            let field = self.engine.object.fields[i];
            let What::Value(kind) = field.what else { continue };
            let mut used = Use { field: i as u32, column: NONE, part: Part::Column };
            if i as u32 == fixed {
                used.part = Part::Fixed;
                self.engine.uses.push(used);
                continue;
            }
            let name = self.name(data, &field);
            let Some(rows) = output.tables.get_mut(table) else { break };
            match rows.column(name.as_bytes()) {
                // A time that is null is one that is not there.
                Some(_) if kind == Kind::Null && self.options.time.as_deref() == Some(name.as_str()) => {
                    used.part = Part::Null;
                }
                Some(column) => {
                    repeated += u64::from(rows.has(column) || self.wider.iter().any(|(_, c)| *c == column));
                    used.column = column;
                    if matches!(kind, Kind::Float(_)) && rows.would_widen(column) {
                        // Not before all else of the record has been found good.
                        rows.roll_back(std::iter::once(column));
                        self.wider.push((field, column));
                        self.engine.uses.push(used);
                        continue;
                    }
                    if let Err(fault) = self.push(piece, field, kind, column, table, output) {
                        if !self.comes_again(data, i) {
                            return Err(fault);
                        }
                        repeated += 1;
                    }
                }
                None if rows.is_closed() => {
                    let reason = format!("table {} has no column {name:?}", rows.id);
                    return Err((Misfit::new("unknown_column", reason), field.key.start));
                }
                None => {
                    fresh += usize::from(kind != Kind::Null);
                    output.tables.check_room(table, fresh).map_err(|misfit| (misfit, at))?;
                    self.fresh.push((self.engine.uses.len() as u32, name));
                }
            }
            self.engine.uses.push(used);
        }
        for i in 0..self.wider.len() {
            let (field, column) = self.wider[i];
            let can = output.tables.get(table).is_some_and(|rows| rows.has(column) || rows.can_widen(column));
            if let (false, What::Value(kind)) = (can, field.what) {
                self.push(piece, field, kind, column, table, output)?;
            }
        }
        while let Some((field, column)) = self.wider.pop() {
            let later = output.tables.get(table).is_some_and(|rows| rows.has(column));
            if let (false, What::Value(kind)) = (later, field.what) {
                self.push(piece, field, kind, column, table, output)?;
            }
        }
        repeated += last_of_each(&mut self.fresh);
        for (place, name) in std::mem::take(&mut self.fresh) {
            let Some(field) = self
                .engine
                .uses
                .get(place as usize)
                .map(|used| self.engine.object.fields[used.field as usize])
            else {
                continue;
            };
            let What::Value(kind) = field.what else { continue };
            if kind == Kind::Null {
                if let Some(used) = self.engine.uses.get_mut(place as usize) {
                    used.part = Part::Null;
                }
                continue;
            }
            let data_type = match kind {
                Kind::Bool(_) => DataType::Bool,
                Kind::Int(_) => DataType::Int64,
                Kind::UInt(_) => DataType::UInt64,
                Kind::Float(_) => DataType::Float64,
                Kind::Json => DataType::Json,
                Kind::Text | Kind::Null => DataType::Text,
                Kind::Huge => {
                    let reason = format!("column {name:?}: the integer has more than 64 bits");
                    return Err((Misfit::new("integer_overflow", reason), field.start()));
                }
            };
            let column = output
                .tables
                .add(table, Column::new(name, data_type), Rule::Infer)
                .map_err(|misfit| (misfit, field.key.start))?;
            self.push(piece, field, kind, column, table, output)?;
            if let Some(used) = self.engine.uses.get_mut(place as usize) {
                used.column = column;
            }
        }
        let stamped = self.time(table, at, output)?;
        if let Some(rows) = output.tables.get_mut(table) {
            if rows.columns_known() == 0 {
                let reason = format!("the object has no value, and table {} no column yet", rows.id);
                return Err((Misfit::new("no_values", reason), at));
            }
            if let Some(column) = rows.missing() {
                let reason =
                    format!("column {:?} of table {} is missing, which it may not", column.name(), rows.id);
                return Err((Misfit::new("not_null", reason), at));
            }
        }
        Ok((table, stamped, repeated))
    }

    /// Puts a value into its column.
    fn push(
        &mut self,
        piece: Piece<'_>,
        field: Field,
        kind: Kind,
        column: u32,
        table: u32,
        output: &mut Output,
    ) -> Result<(), (Misfit, usize)> {
        match self.engine.push(piece, field, kind, column, table, output) {
            Ok(()) => Ok(()),
            Err(misfit) if misfit.code == "type_conflict" && self.options.conflict == Conflict::Null => {
                if let Some(rows) = output.tables.get_mut(table) {
                    rows.push_null(column).map_err(|misfit| (misfit, field.start()))?;
                }
                output.counts.coerced += 1;
                Ok(())
            }
            Err(misfit) => Err((misfit, field.start())),
        }
    }

    /// Sees to the time of a row that has none.
    fn time(&self, table: u32, at: usize, output: &mut Output) -> Result<u32, (Misfit, usize)> {
        let Some(time) = &self.options.time else { return Ok(NONE) };
        let Some(rows) = output.tables.get(table) else { return Ok(NONE) };
        let Some(column) = rows.column(time.as_bytes()).filter(|column| !rows.has(*column)) else {
            return Ok(NONE);
        };
        match self.options.missing {
            MissingTimestamp::Null => Ok(NONE),
            MissingTimestamp::Receive => {
                stamp(table, column, output);
                Ok(column)
            }
            MissingTimestamp::Reject => {
                let reason =
                    format!("the record has no {time:?}; allow it with missing_timestamp=receive or null");
                Err((Misfit::new("missing_timestamp", reason), at))
            }
        }
    }
}

/// Keeps the last of those with one name; returns how many went.
fn last_of_each(fresh: &mut Vec<(u32, String)>) -> u64 {
    let before = fresh.len();
    if before > 1 {
        let last: HashMap<String, u32> = fresh.iter().map(|(place, name)| (name.clone(), *place)).collect();
        fresh.retain(|(place, name)| last.get(name) == Some(place));
    }
    (before - fresh.len()) as u64
}

impl RecordFormat for Infer {
    framed!("json");

    #[inline]
    fn read(&mut self, piece: Piece<'_>, output: &mut Output) -> Read {
        if let Next::Read(read) = self.engine.framing.next(piece, output.place()) {
            return read;
        }
        if let Some(row) = self.engine.shapes.guess(0, piece.chunk, piece.at, &mut output.tables)
            && let Some(read) = self.engine.accept(row, piece, output)
        {
            return read;
        }
        self.general(piece, output)
    }
}
