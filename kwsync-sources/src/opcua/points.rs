//! Which nodes are read, and into which tables and columns.

use std::collections::BTreeSet;

use kwsync_core::{DataType, Error, Result, TimeUnit};
use opcua::types::NodeId;
use serde::Deserialize;

/// The column for the name of the subtable.
pub(super) const SUBTABLE: &str = "tbname";

/// A node, and where its values go.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Point {
    /// The node, as `ns=2;i=2`.
    pub(super) node: NodeId,
    /// The table, in which `{type}` is the type of the value.
    pub(super) table: String,
    /// The name of the subtable.
    pub(super) subtable: String,
    /// The columns, the time of the row among them.
    pub(super) columns: Vec<PointColumn>,
    /// Further tags: name, type, value.
    pub(super) tags: Vec<(String, DataType, Option<String>)>,
}

/// A column of a point.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PointColumn {
    pub(super) name: String,
    pub(super) holds: Holds,
}

/// What a column holds.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Holds {
    /// When the value came; whether it is the time of the row.
    Received { unit: TimeUnit, key: bool },
    /// The time that the server gives.
    Original { unit: TimeUnit, key: bool },
    /// The value, in a type of its own or that of the node.
    Value(Option<DataType>),
    /// The status code.
    Quality(Quality),
}

/// How a status code is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Quality {
    /// Its number.
    #[default]
    BigInt,
    /// Its 32 bits as a signed number.
    Int,
    /// Its number, unsigned.
    UInt,
    /// Its name.
    Text,
}

impl Holds {
    pub(super) fn is_key(&self) -> bool {
        matches!(self, Self::Received { key: true, .. } | Self::Original { key: true, .. })
    }
}

impl Point {
    /// The points of `NODEID::CODE`, several between commas, in tables of the form of `opc_table_config`.
    ///
    /// # Errors
    /// `Config` for what is no node, for tables without a time of the row or a value, and for a node that is named twice.
    ///
    /// # Examples
    /// ```
    /// use kwsync_sources::opcua::Point;
    ///
    /// let tables = r#"{"stable_prefix": "meters", "column_configs": [
    ///     {"column_name": "received_time", "is_primary_key": true}, {"column_name": "value"}]}"#;
    /// let points = Point::of_nodes("ns=2;i=2::boiler,ns=2;s=a,b::pump", tables)?;
    /// assert_eq!((points[1].node(), points[1].subtable()), ("ns=2;s=a,b".to_owned(), "pump"));
    /// # Ok::<(), kwsync_core::Error>(())
    /// ```
    pub fn of_nodes(nodes: &str, tables: &str) -> Result<Vec<Self>> {
        from_nodes(nodes, tables)
    }

    /// The points of the lines of a CSV file, as `csv_config_file` has them.
    ///
    /// # Errors
    /// `Config`, with the line, for what is no node, type or table.
    pub fn of_csv(text: &str) -> Result<Vec<Self>> {
        from_csv(text)
    }

    /// The node as OPC UA writes it.
    pub fn node(&self) -> String {
        self.node.to_string()
    }

    /// The name of the subtable.
    pub fn subtable(&self) -> &str {
        &self.subtable
    }

    /// The type that the value is to have, where one is given.
    pub(super) fn value_type(&self) -> Option<&DataType> {
        self.columns.iter().find_map(|column| match &column.holds {
            Holds::Value(data_type) => data_type.as_ref(),
            _ => None,
        })
    }

    /// The table for values of a type.
    pub(super) fn table_for(&self, value: &DataType) -> String {
        self.table.replace("{type}", word(value))
    }
}

/// The type as a word in names of tables.
pub(super) fn word(data_type: &DataType) -> &'static str {
    match data_type {
        DataType::Bool => "bool",
        DataType::Int8 => "tinyint",
        DataType::Int16 => "smallint",
        DataType::Int32 => "int",
        DataType::Int64 => "bigint",
        DataType::UInt8 => "tinyint_unsigned",
        DataType::UInt16 => "smallint_unsigned",
        DataType::UInt32 => "int_unsigned",
        DataType::UInt64 => "bigint_unsigned",
        DataType::Float32 => "float",
        DataType::Float64 => "double",
        DataType::TimestampTz(_) | DataType::Timestamp(_) => "timestamp",
        DataType::Uuid => "guid",
        DataType::Bytes => "varbinary",
        DataType::Json => "json",
        DataType::NChar(_) | DataType::NVarChar(_) => "nchar",
        _ => "varchar",
    }
}

/// A type as TDengine writes it.
fn named_type(text: &str) -> Option<DataType> {
    let lower = text.trim().to_ascii_lowercase();
    let (name, argument) = match lower.split_once('(') {
        Some((name, rest)) => (name.trim(), Some(rest.strip_suffix(')')?.trim())),
        None => (lower.as_str(), None),
    };
    let length = match argument {
        Some(text) if name != "timestamp" => Some(text.parse::<u32>().ok().filter(|length| *length > 0)?),
        _ => None,
    };
    let made = match name {
        "b" | "bool" | "boolean" => DataType::Bool,
        "i8" | "tinyint" => DataType::Int8,
        "i16" | "smallint" => DataType::Int16,
        "i32" | "int" | "integer" => DataType::Int32,
        "i64" | "bigint" => DataType::Int64,
        "u8" | "tinyint unsigned" => DataType::UInt8,
        "u16" | "smallint unsigned" => DataType::UInt16,
        "u32" | "int unsigned" => DataType::UInt32,
        "u64" | "bigint unsigned" => DataType::UInt64,
        "f32" | "float" => DataType::Float32,
        "f64" | "double" => DataType::Float64,
        "timestamp" => DataType::TimestampTz(match argument {
            Some(unit) => unit.parse().ok()?,
            None => TimeUnit::Nanosecond,
        }),
        "json" => DataType::Json,
        "varchar" | "binary" | "string" => {
            return Some(length.map_or(DataType::Text, |n| DataType::VarChar(Some(n))));
        }
        "nchar" => return Some(length.map_or(DataType::Text, |n| DataType::NVarChar(Some(n)))),
        "varbinary" => return Some(DataType::Bytes),
        _ => return None,
    };
    (length.is_none() && (argument.is_none() || name == "timestamp")).then_some(made)
}

fn no_type(subject: &str, text: &str) -> Error {
    Error::config(format!("{subject}: {text:?} is no type"))
        .with_hint("examples: bool, int, bigint unsigned, float, double, timestamp(us), varchar(20), json")
}

fn node_id(text: &str) -> Result<NodeId> {
    let text = text.trim();
    // Namespace 0 may be written.
    text.parse().map_err(|_| {
        Error::config(format!("{text:?} is no NodeId"))
            .with_hint("write ns=2;i=2, ns=2;s=name, ns=2;g=GUID or ns=2;b=BASE64")
    })
}

fn once(points: &[Point]) -> Result<()> {
    let mut seen = BTreeSet::new();
    for point in points {
        let node = point.node();
        if !seen.insert(node.clone()) {
            return Err(Error::config(format!("the node {node} is named twice"))
                .with_hint("a node goes into one table; for another one make another job"));
        }
    }
    Ok(())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Tables {
    stable_prefix: String,
    column_configs: Vec<ColumnConfig>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ColumnConfig {
    column_name: String,
    column_type: Option<String>,
    column_alias: Option<String>,
    #[serde(default)]
    is_primary_key: bool,
}

/// The points of `ua.nodes` and `opc_table_config`.
pub(super) fn from_nodes(nodes: &str, tables: &str) -> Result<Vec<Point>> {
    let tables: Tables = jsonc_parser::parse_to_serde_value(tables, &jsonc_parser::ParseOptions::default())
        .map_err(|error| {
            Error::config(format!("opc_table_config cannot be read: {error}")).with_hint(
                "write {\"stable_prefix\": \"meters\", \"column_configs\": [{\"column_name\": \"received_time\", \"is_primary_key\": true}, \
                 {\"column_name\": \"value\"}]}",
            )
        })?;
    let columns = columns(&tables.column_configs)?;
    let mut points = Vec::new();
    let mut waiting = String::new();
    for part in nodes.split(',') {
        if !waiting.is_empty() {
            waiting.push(',');
        }
        waiting.push_str(part);
        // A comma may stand in the name of a node.
        let Some((node, code)) = waiting.rsplit_once("::") else { continue };
        let code = code.trim();
        if code.is_empty() {
            return Err(
                Error::config(format!("ua.nodes: {waiting:?} has no code")).with_hint("write NODEID::CODE")
            );
        }
        points.push(Point {
            node: node_id(node).map_err(|error| error.context("ua.nodes"))?,
            table: format!("{}_{{type}}", tables.stable_prefix),
            subtable: code.to_owned(),
            columns: columns.clone(),
            tags: Vec::new(),
        });
        waiting.clear();
    }
    if !waiting.trim().is_empty() || points.is_empty() {
        return Err(Error::config(format!("ua.nodes: {waiting:?} has no code"))
            .with_hint("write NODEID::CODE, several between commas: ns=2;i=2::boiler,ns=2;i=3::pump"));
    }
    once(&points)?;
    Ok(points)
}

fn columns(configs: &[ColumnConfig]) -> Result<Vec<PointColumn>> {
    let mut columns: Vec<PointColumn> = Vec::new();
    for config in configs {
        let subject = format!("opc_table_config: {}", config.column_name);
        let name =
            config.column_alias.as_deref().filter(|alias| !alias.is_empty()).unwrap_or(&config.column_name);
        let given = config.column_type.as_deref().filter(|text| !text.trim().is_empty());
        let data_type =
            given.map(|text| named_type(text).ok_or_else(|| no_type(&subject, text))).transpose()?;
        let unit = |default| match &data_type {
            None => Ok(default),
            Some(DataType::TimestampTz(unit)) if given.is_some_and(|text| text.contains('(')) => Ok(*unit),
            Some(DataType::TimestampTz(_)) => Ok(default),
            Some(_) => Err(Error::config(format!(
                "{subject}: a time is a timestamp, and no {}",
                given.unwrap_or_default()
            ))
            .with_hint("write timestamp, or timestamp(ms)")),
        };
        let key = config.is_primary_key;
        let holds = match config.column_name.as_str() {
            "received_time" => Holds::Received { unit: unit(TimeUnit::Microsecond)?, key },
            "original_time" => Holds::Original { unit: unit(TimeUnit::Nanosecond)?, key },
            "value" | "quality" if key => {
                return Err(Error::config(format!("{subject} cannot be the primary key"))
                    .with_hint("that is received_time or original_time"));
            }
            "value" => Holds::Value(data_type),
            "quality" => Holds::Quality(match &data_type {
                None | Some(DataType::Int64) => Quality::BigInt,
                Some(DataType::Int32) => Quality::Int,
                Some(DataType::UInt32) => Quality::UInt,
                Some(DataType::Text | DataType::VarChar(_) | DataType::NVarChar(_)) => Quality::Text,
                Some(_) => {
                    return Err(Error::config(format!(
                        "{subject}: a quality is no {}",
                        given.unwrap_or_default()
                    ))
                    .with_hint("write bigint, int (its 32 bits), int unsigned or varchar (its name)"));
                }
            }),
            other => {
                return Err(Error::config(format!("opc_table_config: there is no column_name {other:?}"))
                    .with_hint("known are received_time, original_time, value and quality"));
            }
        };
        let same =
            |column: &PointColumn| std::mem::discriminant(&column.holds) == std::mem::discriminant(&holds);
        if columns.iter().any(same) {
            return Err(Error::config(format!("{subject} stands twice")).with_hint("leave one out"));
        }
        columns.push(PointColumn { name: name.to_owned(), holds });
    }
    checked("opc_table_config", &columns, &[])?;
    Ok(columns)
}

fn checked(
    subject: &str,
    columns: &[PointColumn],
    tags: &[(String, DataType, Option<String>)],
) -> Result<()> {
    if columns.iter().filter(|column| column.holds.is_key()).count() != 1 {
        return Err(Error::config(format!("{subject}: one column is the time of a row"))
            .with_hint("say is_primary_key of received_time or of original_time"));
    }
    if !columns.iter().any(|column| matches!(column.holds, Holds::Value(_))) {
        return Err(Error::config(format!("{subject}: no column holds the value"))
            .with_hint("add {\"column_name\": \"value\"}"));
    }
    let mut names = BTreeSet::from([SUBTABLE]);
    for name in columns.iter().map(|column| &column.name).chain(tags.iter().map(|tag| &tag.0)) {
        if !names.insert(name.as_str()) {
            return Err(Error::config(format!("{subject}: two columns are named {name:?}"))
                .with_hint(format!("give one another name; {SUBTABLE} is the name of the subtable")));
        }
    }
    Ok(())
}

/// The points of a file with a line for each, as taosX has it.
pub(super) fn from_csv(text: &str) -> Result<Vec<Point>> {
    let mut lines = records(text.strip_prefix('\u{feff}').unwrap_or(text))?.into_iter();
    // Templates have a line of explanations before the names.
    let header = lines.by_ref().take(2).find(|(_, cells)| cells.iter().any(|cell| cell == "point_id"));
    let Some((_, header)) = header else {
        return Err(Error::config("csv_config_file: there is no column point_id")
            .with_hint("the first line names the columns: point_id,stable,tbname,value_col,type,quality_col,ts_col,received_ts_col"));
    };
    for (at, name) in header.iter().enumerate() {
        if header.iter().take(at).any(|other| other == name) && !name.is_empty() {
            return Err(Error::config(format!("csv_config_file: the column {name:?} stands twice")));
        }
    }
    let mut points = Vec::new();
    for (line, cells) in lines {
        let subject = format!("csv_config_file, line {line}");
        if cells.len() != header.len() {
            let text = format!("{subject}: {} cells under {} names", cells.len(), header.len());
            return Err(Error::config(text).with_hint("a cell with a comma stands in quotes"));
        }
        if let Some(point) = csv_point(&subject, &header, &cells)? {
            points.push(point);
        }
    }
    if points.is_empty() {
        return Err(Error::config("csv_config_file names no node")
            .with_hint("a line for each node follows the names"));
    }
    once(&points)?;
    Ok(points)
}

fn csv_point(subject: &str, header: &[String], cells: &[String]) -> Result<Option<Point>> {
    let cell = |name: &str| {
        let at = header.iter().position(|column| column == name)?;
        cells.get(at).map(|cell| cell.trim()).filter(|cell| !cell.is_empty())
    };
    let must = |name: &str| {
        cell(name).ok_or_else(|| {
            Error::config(format!("{subject}: {name} is empty"))
                .with_hint("every line needs point_id, stable and tbname")
        })
    };
    match cell("enable").or_else(|| cell("enabled")) {
        None | Some("1") => {}
        Some("0") => return Ok(None),
        Some(other) => {
            return Err(Error::config(format!("{subject}: enable is 0 or 1, and {other:?} is neither")));
        }
    }
    for name in
        ["value_transform", "ts_transform", "received_ts_transform", "request_ts_transform", "request_ts_col"]
    {
        if cell(name).is_some() {
            return Err(Error::config(format!("{subject}: {name} is not there"))
                .with_hint("empty it; -T compute:COLUMN=EXPRESSION computes with values and times"));
        }
    }
    let id = must("point_id")?;
    let node = node_id(id).map_err(|error| error.context(subject))?;
    let (namespace, identifier) = (node.namespace.to_string(), node.identifier.to_string());
    let identifier = identifier.split_once('=').map_or(identifier.as_str(), |(_, rest)| rest);
    let subtable = must("tbname")?.replace("{ns}", &namespace).replace("{id}", identifier).replace('.', "_");
    let given = cell("type");
    let data_type = given.map(|text| named_type(text).ok_or_else(|| no_type(subject, text))).transpose()?;
    let mut columns = Vec::new();
    // Of two times the first is that of the row.
    for name in header {
        let key = columns.is_empty();
        let holds = match name.as_str() {
            "ts_col" => Holds::Original { unit: TimeUnit::Nanosecond, key },
            "received_ts_col" => Holds::Received { unit: TimeUnit::Microsecond, key },
            _ => continue,
        };
        if let Some(name) = cell(name) {
            columns.push(PointColumn { name: name.to_owned(), holds });
        }
    }
    if columns.is_empty() {
        columns.push(PointColumn {
            name: "ts".to_owned(),
            holds: Holds::Original { unit: TimeUnit::Nanosecond, key: true },
        });
    }
    let value = cell("value_col").unwrap_or("val");
    columns.push(PointColumn { name: value.to_owned(), holds: Holds::Value(data_type) });
    if let Some(quality) = cell("quality_col") {
        columns.push(PointColumn { name: quality.to_owned(), holds: Holds::Quality(Quality::BigInt) });
    }
    let mut tags = Vec::new();
    for (at, name) in header.iter().enumerate() {
        let Some(tag) = name.strip_prefix("tag::") else { continue };
        let Some((kind, tag)) = tag.split_once("::").filter(|(_, tag)| !tag.is_empty()) else {
            return Err(Error::config(format!("csv_config_file: the column {name:?} is no tag"))
                .with_hint("write tag::VARCHAR(200)::name"));
        };
        let data_type = named_type(kind).ok_or_else(|| no_type("csv_config_file", kind))?;
        let text = cells.get(at).filter(|cell| !cell.is_empty()).cloned();
        tags.push((tag.to_owned(), data_type, text));
    }
    checked(subject, &columns, &tags)?;
    let table = must("stable")?.replace('.', "_");
    Ok(Some(Point { node, table, subtable, columns, tags }))
}

/// The records of a CSV file with the line in which each begins, blank ones left out.
fn records(text: &str) -> Result<Vec<(usize, Vec<String>)>> {
    let (mut records, mut cells, mut cell) = (Vec::new(), Vec::new(), String::new());
    let (mut line, mut begin, mut quoted) = (1, 1, false);
    let mut chars = text.chars().peekable();
    loop {
        match chars.next() {
            Some('"') if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                cell.push('"');
            }
            Some('"') if quoted || cell.trim().is_empty() => {
                quoted = !quoted;
                if quoted {
                    cell.clear();
                }
            }
            Some(c) if quoted => {
                line += usize::from(c == '\n');
                cell.push(c);
            }
            Some(',') => cells.push(std::mem::take(&mut cell)),
            Some('\r') if chars.peek() == Some(&'\n') => {}
            end @ (Some('\n') | None) => {
                if quoted {
                    return Err(Error::config(format!(
                        "csv_config_file, line {begin}: a quote is not closed"
                    )));
                }
                cells.push(std::mem::take(&mut cell));
                let record = std::mem::take(&mut cells);
                if record.iter().any(|cell| !cell.trim().is_empty()) {
                    records.push((begin, record));
                }
                if end.is_none() {
                    return Ok(records);
                }
                line += 1;
                begin = line;
            }
            Some(c) => cell.push(c),
        }
    }
}
