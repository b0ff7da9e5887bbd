//! Points to Arrow.

use std::sync::Arc;

use kwsync_core::{Column, DataType, Role, Schema, SchemaRegistry, TableId, TimeUnit};

use super::{ClockUnit, Metric};
use crate::build::{Cell, Kind, Misfit, NONE, Rule, Str, Tables, Target};
use crate::framing::{Fault, Limits, Output, Piece, Read, RecordDecoder, RecordFormat};
use crate::json::engine::{Engine, framed};
use crate::json::read::{Field, Nested, What, number};
use crate::json::records::{Next, Records};
use crate::json::shape::{Part, Use};

/// Options of an [`OpentsdbJsonDecoder`].
#[derive(Clone, Debug, Default)]
pub struct OpentsdbJsonOptions {
    metric: Metric,
    unit: ClockUnit,
    time_column: Option<String>,
    text_values: bool,
    limits: Limits,
}

impl OpentsdbJsonOptions {
    /// The defaults: a table for each metric, seconds or milliseconds by size, strings that are numbers as numbers.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What a metric's name says of table and columns.
    #[must_use]
    pub fn with_metric(mut self, metric: Metric) -> Self {
        self.metric = metric;
        self
    }

    /// The unit of the timestamps.
    #[must_use]
    pub fn with_unit(mut self, unit: ClockUnit) -> Self {
        self.unit = unit;
        self
    }

    /// The name of the time column.
    #[must_use]
    pub fn with_time_column(mut self, name: impl Into<String>) -> Self {
        self.time_column = Some(name.into());
        self
    }

    /// A value that is a string stays text, also where it is a number.
    #[must_use]
    pub fn with_text_values(mut self, text: bool) -> Self {
        self.text_values = text;
        self
    }

    /// Bounds of memory.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }
}

/// Decoder of OpenTSDB's JSON: one point, an array of points, or points one after another.
///
/// A point becomes a row of its metric's table: the time in milliseconds, the value (bool, integer, float or text, the
/// first type of a column stands; a float in a column of integers makes it one of floats where that is exact), and a
/// column of text for each tag. A key that points do not have is the reject `unknown_key`.
///
/// # Examples
///
/// ```
/// use kwsync_core::Decoder;
/// use kwsync_formats::json::opentsdb::{OpentsdbJsonDecoder, OpentsdbJsonOptions};
///
/// let mut decoder = OpentsdbJsonDecoder::new(OpentsdbJsonOptions::new());
/// let points = r#"[{"metric":"cpu.user","timestamp":1700000000,"value":42,"tags":{"host":"a"}},
///                  {"metric":"cpu.user","timestamp":1700000001000,"value":43.5,"tags":{"host":"b"}}]"#;
/// decoder.decode(&points.into())?;
/// decoder.finish()?;
/// let batch = decoder.flush()?.batches.remove(0);
/// assert_eq!(batch.table().name(), "cpu.user");
/// assert_eq!(batch.row(1).to_json().to_string(), r#"{"host":"b","timestamp":"2023-11-14T22:13:21.000Z","value":43.5}"#);
/// # Ok::<(), kwsync_core::Error>(())
/// ```
#[derive(Debug)]
pub struct OpentsdbJsonDecoder(RecordDecoder<Points>);

crate::framing::record_decoder!(OpentsdbJsonDecoder);

impl OpentsdbJsonDecoder {
    /// A decoder with schemas of its own.
    #[must_use]
    pub fn new(options: OpentsdbJsonOptions) -> Self {
        let limits = options.limits.clone();
        let format = Points { engine: Engine::new(Records::Values), options };
        Self(RecordDecoder::new(format, limits, Tables::new(Arc::default())))
    }

    /// Shares the schemas of a job.
    #[must_use]
    pub fn with_registry(mut self, registry: Arc<SchemaRegistry>) -> Self {
        self.0.output.tables.set_registry(registry);
        self
    }

    /// Gives a table its schema: values are cast to it, or refused where that is not exact; so is a point that has
    /// other tags.
    #[must_use]
    pub fn with_target(mut self, table: TableId, schema: Arc<Schema>) -> Self {
        let unit = match self.0.format.options.unit {
            ClockUnit::S => TimeUnit::Second,
            ClockUnit::Ms | ClockUnit::Auto => TimeUnit::Millisecond,
        };
        self.0.output.tables.set_target(table, Target { schema, closed: true, unit, text: true });
        self
    }
}

struct Points {
    options: OpentsdbJsonOptions,
    engine: Engine,
}

/// A value's column, kind, and text where that is not as it stands.
type Measured = (Column, Kind, Option<Vec<u8>>);

/// The parts of a point.
struct Point {
    metric: (u32, Field),
    time: (u32, Field),
    value: (u32, Field),
    /// The object of the tags
    tags: u32,
}

impl Points {
    fn rule(&self) -> Rule {
        match self.options.unit {
            ClockUnit::Auto => Rule::Clock,
            ClockUnit::S => Rule::Cast { unit: TimeUnit::Second, text: false },
            ClockUnit::Ms => Rule::Cast { unit: TimeUnit::Millisecond, text: false },
        }
    }

    #[inline(never)]
    fn general(&mut self, piece: Piece<'_>, output: &mut Output) -> Read {
        let Piece { data, at, .. } = piece;
        if let Err(read) = self.engine.parse(piece, Nested::Open, output) {
            return read;
        }
        let end = self.engine.object.end;
        let fixed = self.engine.object.get(data, b"metric").map_or(NONE, |(i, _)| i as u32);
        if let Some(row) =
            self.engine.shapes.find(0, piece.chunk, at, &self.engine.object, fixed, &mut output.tables)
            && let Some(read) = self.engine.accept(row, piece, output)
        {
            return read;
        }
        let extent = self.engine.framing.after_object(data, &self.engine.object);
        match self.row(piece, output) {
            Ok((table, repeated)) => {
                output.commit(table, at, end - at, 0);
                if repeated == 0 {
                    let Engine { shapes, object, uses, .. } = &mut self.engine;
                    shapes.learn((0, table, NONE), data, at, object, uses, &mut output.tables);
                }
                output.counts.duplicate_fields += repeated;
                Read::Taken(extent)
            }
            Err(fault) => Read::Refused(extent, end - at, fault),
        }
    }

    /// The point's parts, the last of each where it stands several times, and how many were repeated.
    fn point(&self, piece: Piece<'_>) -> Result<(Point, u64), Fault> {
        let (mut metric, mut time, mut value, mut tags) = (None, None, None, NONE);
        let (mut repeated, mut objects) = (0, 0);
        for (i, field) in self.engine.object.fields.iter().enumerate() {
            if field.parent != NONE {
                continue;
            }
            let key = if field.key.escaped {
                field.key.text(piece.data)
            } else {
                field.key.of(piece.data).to_vec()
            };
            let slot = match key.as_slice() {
                b"metric" => &mut metric,
                b"timestamp" => &mut time,
                b"value" => &mut value,
                b"tags" => {
                    match field.what {
                        What::Object => tags = i as u32,
                        What::Value(Kind::Null) => {}
                        What::Value(_) => {
                            return Err(Fault::new("bad_tags", "the tags are no object", field.start()));
                        }
                    }
                    objects += 1;
                    continue;
                }
                other => {
                    let reason = format!(
                        "a point has metric, timestamp, value and tags, and no {:?}",
                        String::from_utf8_lossy(other)
                    );
                    return Err(Fault::new("unknown_key", reason, field.key.start));
                }
            };
            repeated += u64::from(slot.is_some());
            *slot = Some((i as u32, *field));
        }
        repeated += u64::saturating_sub(objects, 1);
        let missing = |name: &str| Fault::new("missing_key", format!("the point has no {name}"), piece.at);
        Ok((
            Point {
                metric: metric.ok_or_else(|| missing("metric"))?,
                time: time.ok_or_else(|| missing("timestamp"))?,
                value: value.ok_or_else(|| missing("value"))?,
                tags,
            },
            repeated,
        ))
    }

    /// Table, time column and value column of a metric.
    fn place(&self, metric: &str) -> Option<(TableId, &str, String)> {
        let (table, time, value) = match self.options.metric {
            Metric::Verbatim => (metric.to_owned(), "timestamp", "value".to_owned()),
            Metric::Underscore => (metric.replace('.', "_"), "k_timestamp", "value".to_owned()),
            Metric::Split => {
                let (table, column) = metric.rsplit_once('.')?;
                (table.to_owned(), "timestamp", column.to_owned())
            }
        };
        let time = self.options.time_column.as_deref().unwrap_or(time);
        (!table.is_empty() && !value.is_empty()).then(|| (TableId::new(table), time, value))
    }

    fn row(&mut self, piece: Piece<'_>, output: &mut Output) -> Result<(u32, u64), Fault> {
        let (point, repeated) = self.point(piece)?;
        let name = point.metric.1.value.text(piece.data);
        let name = String::from_utf8_lossy(&name).into_owned();
        let place = if point.metric.1.is_text() { self.place(&name) } else { None };
        let Some((id, time, value)) = place else {
            let reason = match self.options.metric {
                Metric::Split => "the metric is no string of a table, a dot and a column",
                _ => "the metric is no string, or empty",
            };
            return Err(Fault::new("bad_metric", reason, point.metric.1.start()));
        };
        let time = time.to_owned();
        let of = |misfit, at| Fault::of(misfit, &id, at);
        let fresh = output.tables.find(&id).is_none();
        let table = output.tables.open(&id).map_err(|misfit| of(misfit, piece.at))?;
        if fresh && output.tables.get(table).is_some_and(|rows| !rows.is_closed()) {
            let column = Column::new(time.as_str(), DataType::TimestampTz(TimeUnit::Millisecond))
                .with_role(Role::Timestamp)
                .with_nullable(false);
            output.tables.add(table, column, self.rule()).map_err(|misfit| {
                output.tables.discard(table);
                of(misfit, piece.at)
            })?;
        }
        self.engine.begin(table, output);
        match self.fill(piece, &point, (&time, &value), table, output) {
            Ok(more) => Ok((table, repeated + more)),
            Err((misfit, at)) => {
                self.engine.abandon(table, output);
                Err(of(misfit, at))
            }
        }
    }

    fn fill(
        &mut self,
        piece: Piece<'_>,
        point: &Point,
        (time, value): (&str, &str),
        table: u32,
        output: &mut Output,
    ) -> Result<u64, (Misfit, usize)> {
        let data = piece.data;
        // Nothing of the table changes before all else has been found good: first what is known.
        let find = |output: &Output, name: &str| {
            output.tables.get(table).and_then(|rows| rows.column(name.as_bytes()))
        };
        let is_text = find(output, value)
            .and_then(|column| output.tables.get(table)?.known(column))
            .is_some_and(|column| column.data_type() == &DataType::Text);
        let (column, kind, number) = self.value(piece, point.value.1, is_text)?;
        let value_at = point.value.1.start();
        let Some(time_column) = find(output, time) else {
            let reason = format!("the table has no column {time:?} for the time (time_column=)");
            return Err((Misfit::new("unknown_column", reason), point.time.1.start()));
        };
        let What::Value(time_kind) = point.time.1.what else {
            return Err((Misfit::new("bad_timestamp", "the timestamp is an object"), point.time.1.start()));
        };
        if !matches!(time_kind, Kind::Int(_)) {
            let reason = "the timestamp is no integer of seconds or milliseconds";
            return Err((Misfit::new("bad_timestamp", reason), point.time.1.start()));
        }
        let mut uses = std::mem::take(&mut self.engine.uses);
        let filled = (|| {
            let used = |field, column, part| Use { field, column, part };
            let push = |engine: &mut Engine, field: Field, kind, column, output: &mut Output| {
                engine
                    .push(piece, field, kind, column, table, output)
                    .map_err(|misfit| (misfit, field.start()))
            };
            push(&mut self.engine, point.time.1, time_kind, time_column, output)?;
            uses.push(used(point.metric.0, NONE, Part::Fixed));
            uses.push(used(point.time.0, time_column, Part::Column));
            let mut repeated = 0;
            let mut new = Vec::new();
            for i in 0..self.engine.object.fields.len() {
                let field = self.engine.object.fields[i];
                if field.parent == NONE || field.parent != point.tags {
                    if field.parent != NONE {
                        // Of tags that are repeated, or deeper.
                        let deeper = self.engine.object.fields.get(field.parent as usize);
                        if deeper.is_some_and(|outer| outer.parent != NONE) {
                            return Err((Misfit::new("bad_tags", "a tag is an object"), field.start()));
                        }
                    }
                    continue;
                }
                let What::Value(kind) = field.what else {
                    return Err((Misfit::new("bad_tags", "a tag is an object"), field.start()));
                };
                if kind == Kind::Json {
                    return Err((Misfit::new("bad_tags", "a tag is an array"), field.start()));
                }
                let name = field.key.text(data);
                let name = String::from_utf8_lossy(&name).into_owned();
                if name == time || name == value || name.is_empty() {
                    let reason = format!("a tag is named {name:?}, as the time or the value, or not at all");
                    return Err((Misfit::new("column_clash", reason), field.key.start));
                }
                match find(output, &name) {
                    Some(column) if !self.is_tag(table, column, output) => {
                        let reason = format!("tag {name:?} is no tag in the table; the first role stands");
                        return Err((Misfit::new("type_conflict", reason), field.key.start));
                    }
                    Some(column) => {
                        repeated += u64::from(output.tables.get(table).is_some_and(|rows| rows.has(column)));
                        push(&mut self.engine, field, kind, column, output)?;
                        uses.push(used(i as u32, column, Part::Column));
                    }
                    None if output.tables.get(table).is_some_and(|rows| rows.is_closed()) => {
                        let reason = format!("the table has no column {name:?}");
                        return Err((Misfit::new("unknown_column", reason), field.key.start));
                    }
                    None if kind == Kind::Null => uses.push(used(i as u32, NONE, Part::Null)),
                    None => {
                        uses.push(used(i as u32, NONE, Part::Column));
                        new.push((uses.len() - 1, name));
                    }
                }
            }
            let known = find(output, value);
            if known.is_some_and(|known| self.is_tag(table, known, output)) {
                let reason = format!("column {value:?} is a tag in the table; the first role stands");
                return Err((Misfit::new("type_conflict", reason), value_at));
            }
            let room = new.len() + usize::from(known.is_none());
            output.tables.check_room(table, room).map_err(|misfit| (misfit, piece.at))?;
            // A value that widens its column comes last of what may fail.
            let known = match known {
                Some(known) => known,
                None => output
                    .tables
                    .add(table, column.with_name(value), Rule::Infer)
                    .map_err(|m| (m, value_at))?,
            };
            if let Some(rows) = output.tables.get_mut(table) {
                let text = number
                    .as_deref()
                    .map_or(Str::Here(point.value.1.value.start, point.value.1.value.end), Str::Made);
                rows.push(known, piece.chunk, Cell::new(kind, text)).map_err(|misfit| (misfit, value_at))?;
            }
            uses.push(used(point.value.0, known, Part::Required));
            for (place, name) in new {
                let tag = Column::new(name, DataType::Text).with_role(Role::Tag);
                let rule = Rule::Cast { unit: TimeUnit::Millisecond, text: true };
                let Some(field) = uses.get(place).map(|used| self.engine.object.fields[used.field as usize])
                else {
                    continue;
                };
                let column = output.tables.add(table, tag, rule).map_err(|m| (m, field.key.start))?;
                let What::Value(kind) = field.what else { continue };
                repeated += u64::from(output.tables.get(table).is_some_and(|rows| rows.has(column)));
                push(&mut self.engine, field, kind, column, output)?;
                uses[place].column = column;
            }
            uses.sort_unstable_by_key(|used| used.field);
            Ok(repeated)
        })();
        self.engine.uses = uses;
        let repeated = filled?;
        if let Some(rows) = output.tables.get(table)
            && let Some(column) = rows.missing()
        {
            let reason = format!("column {:?} is missing, which it may not", column.name());
            return Err((Misfit::new("not_null", reason), piece.at));
        }
        Ok(repeated)
    }

    /// Whether a column is one of a tag.
    fn is_tag(&self, table: u32, column: u32, output: &Output) -> bool {
        let Some(rows) = output.tables.get(table) else { return false };
        let role = rows.known(column).map(|column| column.role());
        role == Some(Role::Tag) || role == Some(Role::PrimaryTag)
    }

    /// The value's column, if it is new, what the value is, and its text where that is not as it stands. A string that
    /// is a number is one, but for a column that is text already.
    fn value(&self, piece: Piece<'_>, field: Field, text_column: bool) -> Result<Measured, (Misfit, usize)> {
        let fault = |code, reason: &str| (Misfit::new(code, reason), field.start());
        let What::Value(kind) = field.what else { return Err(fault("bad_value", "the value is an object")) };
        let mut text = field.value.escaped.then(|| field.value.text(piece.data));
        let mut kind = kind;
        if kind == Kind::Text && !self.options.text_values && !text_column {
            let digits = field.value.text(piece.data);
            if let Ok((number, end)) = number::number(&digits, 0)
                && end == digits.len()
            {
                kind = number;
                text = Some(digits);
            }
        }
        let data_type = match kind {
            Kind::Bool(_) => DataType::Bool,
            Kind::Int(_) => DataType::Int64,
            Kind::UInt(_) => DataType::UInt64,
            Kind::Float(_) => DataType::Float64,
            Kind::Text => DataType::Text,
            Kind::Null => return Err(fault("missing_value", "the value is null")),
            Kind::Json => return Err(fault("bad_value", "the value is an array")),
            Kind::Huge => return Err(fault("integer_overflow", "the value has more than 64 bits")),
        };
        Ok((Column::new("value", data_type), kind, text))
    }
}

impl RecordFormat for Points {
    framed!("json_opentsdb");

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
