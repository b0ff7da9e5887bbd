//! Tables of the nodes, and rows of their values.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use kwsync_core::{
    Column, DataType, DecodeCounts, Decoded, Error, ErrorKind, Input, Location, Origin, Position, RecordRef,
    Reject, Result, Role, Schema, Segment, Stage, TableBatch, TableId, TimeUnit, Value,
};
use opcua::types::{DateTime, NodeId};

use super::buffer::{Handed, Sample};
use super::points::{Holds, Point, Quality, SUBTABLE};
use super::values::{in_unit, nanoseconds, value_for};

/// What a column of a row is made of.
#[derive(Clone, Debug)]
enum Cell {
    Received(TimeUnit),
    Original(TimeUnit, bool),
    Value(DataType),
    Quality(Quality),
    Fixed(Value<'static>),
}

#[derive(Debug)]
struct Planned {
    node: NodeId,
    table: usize,
    /// One for each column of the table.
    cells: Vec<Cell>,
}

/// Where each node's values go.
#[derive(Debug)]
pub(super) struct Plan {
    points: Vec<Planned>,
    tables: Vec<(TableId, Arc<Schema>)>,
    input: Arc<Input>,
    /// The names of the server's namespaces when this was made.
    namespaces: Vec<String>,
}

impl Plan {
    /// For points whose values are of these types, as the server has them.
    pub(super) fn new(server: &str, points: &[Point], types: &[DataType]) -> Result<Self> {
        let mut names: BTreeMap<String, usize> = BTreeMap::new();
        let mut tables: Vec<(TableId, Vec<Column>)> = Vec::new();
        let mut made: Vec<(usize, Vec<(String, Cell)>)> = Vec::new();
        let mut places: BTreeMap<(usize, &str, &str), &NodeId> = BTreeMap::new();
        for (point, own) in points.iter().zip(types) {
            let value = point.value_type().unwrap_or(own);
            let name = point.table_for(value);
            let table = *names.entry(name.clone()).or_insert_with(|| {
                tables.push((TableId::new(name.as_str()), Vec::new()));
                tables.len() - 1
            });
            let Some((id, columns)) = tables.get_mut(table) else { continue };
            for column in point.columns.iter().filter(|column| matches!(column.holds, Holds::Value(_))) {
                let place = (table, point.subtable.as_str(), column.name.as_str());
                if let Some(other) = places.insert(place, &point.node) {
                    let text = format!(
                        "{} and {other} both go into this column of the subtable {:?}",
                        point.node, point.subtable
                    );
                    return Err(Error::config(text)
                        .with_location(
                            Location::new().with_table(id.name()).with_column(column.name.as_str()),
                        )
                        .with_hint(
                            "give each node a code (in a CSV: tbname) of its own, or value_col of its own",
                        ));
                }
            }
            let mut cells = Vec::new();
            // The time of the row stands first, tags last.
            let (key, others): (Vec<_>, Vec<_>) =
                point.columns.iter().partition(|column| column.holds.is_key());
            for column in key.into_iter().chain(others) {
                let (data_type, cell) = match &column.holds {
                    Holds::Received { unit, .. } => (DataType::TimestampTz(*unit), Cell::Received(*unit)),
                    Holds::Original { unit, key } => {
                        (DataType::TimestampTz(*unit), Cell::Original(*unit, *key))
                    }
                    Holds::Value(_) => (value.clone(), Cell::Value(value.clone())),
                    Holds::Quality(quality) => (quality_type(*quality), Cell::Quality(*quality)),
                };
                let mut made = Column::new(column.name.as_str(), data_type);
                if column.holds.is_key() {
                    made = made.with_role(Role::Timestamp).with_nullable(false);
                }
                add(columns, made).map_err(|text| clash(id, point, &column.name, &text))?;
                cells.push((column.name.clone(), cell));
            }
            for (name, data_type, text) in &point.tags {
                let column = Column::new(name.as_str(), data_type.clone()).with_role(Role::Tag);
                add(columns, column).map_err(|text| clash(id, point, name, &text))?;
                let value = match text {
                    Some(text) => tag(text, data_type)
                        .ok_or_else(|| clash(id, point, name, &format!("{text:?} is no {data_type}")))?,
                    None => Value::Null,
                };
                cells.push((name.clone(), Cell::Fixed(value)));
            }
            let subtable =
                Column::new(SUBTABLE, DataType::Text).with_role(Role::PrimaryTag).with_nullable(false);
            add(columns, subtable).map_err(|text| clash(id, point, SUBTABLE, &text))?;
            let name = Value::Text(Cow::Owned(point.subtable.clone()));
            cells.push((SUBTABLE.to_owned(), Cell::Fixed(name)));
            made.push((table, cells));
        }
        let mut finished = Vec::with_capacity(tables.len());
        for (id, mut columns) in tables {
            columns.sort_by_key(|column| match column.role() {
                Role::Timestamp => 0,
                Role::Field => 1,
                Role::Tag => 2,
                Role::PrimaryTag => 3,
            });
            if columns.iter().filter(|column| column.role() == Role::Timestamp).count() > 1 {
                return Err(Error::config(format!("the nodes of table {id} have different times of a row"))
                    .with_hint("let them all have the same one, or give them tables of their own"));
            }
            finished.push((id, Arc::new(Schema::new(columns)?)));
        }
        let planned = made.into_iter().zip(points).filter_map(|((table, mut cells), point)| {
            let (_, schema) = finished.get(table)?;
            // Nodes that share a table may each have columns of their own.
            let cells = schema.columns().iter().map(|column| {
                let at = cells.iter().position(|(name, _)| name == column.name());
                at.map_or(Cell::Fixed(Value::Null), |at| cells.swap_remove(at).1)
            });
            Some(Planned { node: point.node.clone(), table, cells: cells.collect() })
        });
        Ok(Self {
            points: planned.collect(),
            tables: finished,
            input: Arc::new(Input::new(server)),
            namespaces: Vec::new(),
        })
    }

    /// With the names of the server's namespaces, by their numbers.
    pub(super) fn with_namespaces(mut self, namespaces: Vec<String>) -> Self {
        self.namespaces = namespaces;
        self
    }

    /// The names of the server's namespaces when this was made.
    pub(super) fn namespaces(&self) -> &[String] {
        &self.namespaces
    }

    pub(super) fn tables(&self) -> &[(TableId, Arc<Schema>)] {
        &self.tables
    }

    /// The node of a sample.
    pub(super) fn node(&self, point: usize) -> Option<&NodeId> {
        self.points.get(point).map(|planned| &planned.node)
    }

    /// Rows of what came, one for each value.
    pub(super) fn rows(&self, handed: &Handed) -> Result<Decoded> {
        let mut rows: Vec<(Vec<Vec<Value<'static>>>, Vec<RecordRef>)> = Vec::new();
        rows.resize_with(self.tables.len(), Default::default);
        let mut rejects = Vec::new();
        for (record, sample) in handed.samples.iter().enumerate() {
            let Some(planned) = self.points.get(sample.point) else { continue };
            match planned.row(sample) {
                Ok(row) => {
                    if let Some((rows, refs)) = rows.get_mut(planned.table) {
                        rows.push(row);
                        refs.push(RecordRef { record: record as u32, ..RecordRef::default() });
                    }
                }
                Err((code, reason)) => rejects.push(Reject {
                    position: Position { record: handed.first + record as u64 + 1, ..Position::default() },
                    split: self.input.split().to_owned(),
                    stage: Stage::Decode,
                    format: "opcua".to_owned(),
                    table: self.tables.get(planned.table).map(|(table, _)| table.clone()),
                    code: code.to_owned(),
                    reason: format!("{}: {reason}", planned.node),
                    raw: Bytes::from(raw(planned, sample)),
                    message: None,
                    at: None,
                }),
            }
        }
        let base = Position { record: handed.first + 1, ..Position::default() };
        let segments: Arc<[Segment]> = [Segment { input: Arc::clone(&self.input), bytes: None, base }].into();
        let mut batches = Vec::new();
        for ((table, schema), (rows, refs)) in self.tables.iter().zip(rows) {
            if rows.is_empty() {
                continue;
            }
            let made = TableBatch::from_rows(table.clone(), Arc::clone(schema), &rows)?;
            let (table, schema, batch, _) = made.into_parts();
            batches.push(TableBatch::new(table, schema, batch, Origin::new(Arc::clone(&segments), refs))?);
        }
        let counts = DecodeCounts { records: handed.samples.len() as u64, ..DecodeCounts::default() };
        Ok(Decoded { batches, rejects, counts })
    }
}

impl Planned {
    fn row(&self, sample: &Sample) -> std::result::Result<Vec<Value<'static>>, (&'static str, String)> {
        let cell = |cell: &Cell| {
            Ok(match cell {
                Cell::Received(unit) => {
                    let per = unit.nanos();
                    // Ours, so it may be as coarse as it was asked for.
                    let nanos = i128::from(sample.received) * 1_000;
                    Value::Timestamp(nanos.div_euclid(per.into()) as i64, *unit, true)
                }
                Cell::Original(unit, key) => match sample.original {
                    Some((time, picoseconds)) if !time.is_null() => {
                        let nanos = nanoseconds(&time, picoseconds);
                        let asked = match unit {
                            TimeUnit::Nanosecond => nanos,
                            // A coarser unit is what the operator asked for.
                            unit => nanos - nanos.rem_euclid(unit.nanos().into()),
                        };
                        in_unit(asked, *unit).ok_or_else(|| {
                            (
                                "bad_timestamp",
                                format!("its time, {time}, has no place in a timestamp of {}", unit.as_str()),
                            )
                        })?
                    }
                    _ if *key => {
                        let text = "the server gives no time for it, and original_time is the primary key";
                        return Err(("missing_timestamp", text.to_owned()));
                    }
                    _ => Value::Null,
                },
                // What a server says with a bad status is no value.
                Cell::Value(_) if sample.status.is_bad() => Value::Null,
                Cell::Value(data_type) => match &sample.value {
                    Some(value) => value_for(value, data_type).map_err(|reason| ("type_conflict", reason))?,
                    None => Value::Null,
                },
                Cell::Quality(Quality::BigInt | Quality::UInt) => Value::Int(sample.status.bits().into()),
                Cell::Quality(Quality::Int) => Value::Int(i64::from(sample.status.bits() as i32)),
                Cell::Quality(Quality::Text) => Value::Text(Cow::Owned(sample.status.to_string())),
                Cell::Fixed(value) => value.clone(),
            })
        };
        self.cells.iter().map(cell).collect()
    }
}

/// A value that finds no place, for the file of rejects.
fn raw(planned: &Planned, sample: &Sample) -> String {
    let value = sample.value.as_ref();
    let json = value.and_then(|value| value_for(value, &DataType::Json).ok()).map(|value| value.to_string());
    let value = match (json.and_then(|text| serde_json::from_str(&text).ok()), value) {
        (Some(json), _) => json,
        (None, Some(value)) => serde_json::Value::from(format!("{value:?}")),
        (None, None) => serde_json::Value::Null,
    };
    serde_json::json!({
        "node": planned.node.to_string(),
        "value": value,
        "status": sample.status.bits(),
        "original_time": sample.original.map(|(time, _): (DateTime, u16)| time.as_chrono().to_rfc3339()),
    })
    .to_string()
}

fn quality_type(quality: Quality) -> DataType {
    match quality {
        Quality::BigInt => DataType::Int64,
        Quality::Int => DataType::Int32,
        Quality::UInt => DataType::UInt32,
        Quality::Text => DataType::Text,
    }
}

/// Adds a column, unless it is there.
fn add(columns: &mut Vec<Column>, column: Column) -> std::result::Result<(), String> {
    match columns.iter().find(|known| known.name() == column.name()) {
        Some(known) if known.data_type() == column.data_type() && known.role() == column.role() => Ok(()),
        Some(known) => Err(format!(
            "it is {} for another node, and {} for this one",
            known.data_type(),
            column.data_type()
        )),
        None => {
            columns.push(column);
            Ok(())
        }
    }
}

fn clash(table: &TableId, point: &Point, column: &str, text: &str) -> Error {
    Error::new(ErrorKind::Config, format!("{}: {text}", point.node))
        .with_location(Location::new().with_table(table.name()).with_column(column))
        .with_hint("give the nodes tables of their own, as with {type} in the name, or columns of their own; or a type")
}

/// The value of a tag.
fn tag(text: &str, data_type: &DataType) -> Option<Value<'static>> {
    Some(match data_type {
        DataType::Bool => Value::Bool(text.trim().to_ascii_lowercase().parse().ok()?),
        DataType::Int8 => Value::Int(text.trim().parse::<i8>().ok()?.into()),
        DataType::Int16 => Value::Int(text.trim().parse::<i16>().ok()?.into()),
        DataType::Int32 => Value::Int(text.trim().parse::<i32>().ok()?.into()),
        DataType::Int64 => Value::Int(text.trim().parse().ok()?),
        DataType::UInt8 => Value::UInt(text.trim().parse::<u8>().ok()?.into()),
        DataType::UInt16 => Value::UInt(text.trim().parse::<u16>().ok()?.into()),
        DataType::UInt32 => Value::UInt(text.trim().parse::<u32>().ok()?.into()),
        DataType::UInt64 => Value::UInt(text.trim().parse().ok()?),
        DataType::Float32 => Value::Float32(text.trim().parse().ok()?),
        DataType::Float64 => Value::Float64(text.trim().parse().ok()?),
        DataType::VarChar(Some(most)) | DataType::NVarChar(Some(most))
            if text.chars().count() > *most as usize =>
        {
            return None;
        }
        DataType::Text | DataType::VarChar(_) | DataType::NVarChar(_) => {
            Value::Text(Cow::Owned(text.to_owned()))
        }
        _ => return None,
    })
}
