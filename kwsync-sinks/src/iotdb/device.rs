//! Which device a row belongs to.

use std::str::FromStr;
use std::sync::Arc;

use kwsync_core::system::iotdb::{Path, of_device_comment};
use kwsync_core::{Column, Error, ErrorKind, Result, Role, Schema, TableBatch, TableId, Value};

/// The node of a tag that has no value. A tag that has this value is refused, so that two series never become one.
const NO_TAG: &str = "__null__";

/// The path of a device below its database.
///
/// # Examples
/// ```
/// use kwsync_sinks::iotdb::IotdbOptions;
/// use kwsync_core::system::iotdb::ConnectConfig;
///
/// let mut options = IotdbOptions::new(ConnectConfig::new("localhost", 6667), Some("root.plant".parse()?));
/// options.device = "{site}.{table}_{host}.{tags}".parse()?;
/// # Ok::<(), kwsync_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    text: String,
    nodes: Vec<Vec<Piece>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Table,
    Tag(String),
    Tags,
}

impl Default for Template {
    fn default() -> Self {
        let nodes = vec![vec![Piece::Table], vec![Piece::Tags]];
        Self { text: "{table}.{tags}".to_owned(), nodes }
    }
}

impl FromStr for Template {
    type Err = Error;

    /// # Errors
    /// `Config` for an empty node, a brace that is not closed, or `{tags}` beside something else in a node.
    fn from_str(text: &str) -> Result<Self> {
        let wrong = |what: &str| {
            Error::config(format!("device={text}: {what}"))
                .with_hint("nodes stand between dots, as in device={table}.{host}.{tags}")
        };
        let mut nodes = vec![Vec::new()];
        let mut rest = text;
        let push = |nodes: &mut Vec<Vec<Piece>>, piece| {
            if let Some(last) = nodes.last_mut() {
                last.push(piece);
            }
        };
        while let Some(next) = rest.find(['{', '.']) {
            let (before, behind) = rest.split_at(next);
            if !before.is_empty() {
                push(&mut nodes, Piece::Text(before.to_owned()));
            }
            rest = match behind.strip_prefix('{') {
                None => {
                    nodes.push(Vec::new());
                    behind.get(1..).unwrap_or_default()
                }
                Some(behind) => {
                    let (name, behind) =
                        behind.split_once('}').ok_or_else(|| wrong("a brace is not closed"))?;
                    push(
                        &mut nodes,
                        match name {
                            "" => return Err(wrong("{} names no tag")),
                            "table" => Piece::Table,
                            "tags" => Piece::Tags,
                            name => Piece::Tag(name.to_owned()),
                        },
                    );
                    behind
                }
            };
        }
        if !rest.is_empty() {
            push(&mut nodes, Piece::Text(rest.to_owned()));
        }
        if nodes.iter().any(Vec::is_empty) {
            return Err(wrong("a node is empty"));
        }
        if nodes.iter().any(|node| node.len() > 1 && node.contains(&Piece::Tags)) {
            return Err(wrong("{tags} becomes nodes of its own, and stands alone between dots"));
        }
        Ok(Self { text: text.to_owned(), nodes })
    }
}

/// How the device of a row is found in batches of one schema.
#[derive(Clone, Debug)]
pub(super) enum Naming {
    /// A column has the whole path, which lies in `home` at its source.
    Whole { column: usize, home: Path, aligned: bool },
    /// By the template.
    Nodes(Vec<Vec<Part>>),
}

#[derive(Clone, Debug)]
pub(super) enum Part {
    Text(String),
    Column(usize),
}

impl Naming {
    /// How the devices of rows of `table` are named.
    ///
    /// # Errors
    /// `Config` for a template that names a tag which the rows lack, or that leaves one out: two series would become one.
    pub(super) fn of(
        table: &TableId,
        schema: &Schema,
        template: &Template,
        device_column: &str,
    ) -> Result<Self> {
        let columns = schema.columns();
        let whole = columns
            .iter()
            .position(|column| column.name() == device_column && column.role() == Role::PrimaryTag);
        if let Some(column) = whole {
            let said = columns.get(column).and_then(|column| of_device_comment(column.comment()?));
            let (home, aligned) = said.unwrap_or_else(|| (home_of(table), false));
            return Ok(Self::Whole { column, home, aligned });
        }
        let is_tag = |column: &Column| matches!(column.role(), Role::Tag | Role::PrimaryTag);
        let tags: Vec<usize> = (0..columns.len()).filter(|at| columns.get(*at).is_some_and(is_tag)).collect();
        let named = |piece: &Piece| match piece {
            Piece::Tag(name) => {
                tags.iter().copied().find(|at| columns.get(*at).is_some_and(|c| c.name() == name))
            }
            _ => None,
        };
        let pieces = || template.nodes.iter().flatten();
        let mut rest: Vec<usize> =
            tags.iter().copied().filter(|tag| !pieces().any(|piece| named(piece) == Some(*tag))).collect();
        // By name: which tag a file has first must not decide where rows go.
        rest.sort_by_key(|tag| columns.get(*tag).map(Column::name));
        if let Some(left) = rest.first().filter(|_| !pieces().any(|piece| *piece == Piece::Tags)) {
            let name = columns.get(*left).map_or("", Column::name);
            return Err(Error::config(format!(
                "device={} leaves out the tag {name:?} of {table}: its series would become one",
                template.text
            ))
            .with_hint(format!(
                "add {{{name}}} or {{tags}} to it, or drop the tag: -T drop-columns:{name}"
            )));
        }
        let mut nodes = Vec::new();
        for node in &template.nodes {
            if node.as_slice() == [Piece::Tags] {
                nodes.extend(rest.iter().map(|tag| vec![Part::Column(*tag)]));
                continue;
            }
            let mut parts = Vec::new();
            for piece in node {
                parts.push(match piece {
                    Piece::Text(text) => Part::Text(text.clone()),
                    Piece::Table => Part::Text(table.name().to_owned()),
                    piece => Part::Column(named(piece).ok_or_else(|| {
                        Error::config(format!(
                            "device={} asks for a tag that {table} does not have",
                            template.text
                        ))
                        .with_hint("a column becomes a tag by -T tags:NAME")
                    })?),
                });
            }
            nodes.push(parts);
        }
        Ok(Self::Nodes(nodes))
    }

    /// The columns that name the device.
    pub(super) fn columns(&self) -> Vec<usize> {
        match self {
            Self::Whole { column, .. } => vec![*column],
            Self::Nodes(nodes) => {
                let part = |part: &Part| match part {
                    Part::Column(at) => Some(*at),
                    Part::Text(_) => None,
                };
                nodes.iter().flatten().filter_map(part).collect()
            }
        }
    }

    /// The device of a row, in `database`.
    ///
    /// # Errors
    /// `Data` for values that name none.
    pub(super) fn device(&self, database: Option<&Path>, batch: &TableBatch, row: usize) -> Result<Path> {
        let path = self.path(database, batch, row)?;
        let reserved =
            |node: &&String| ["time", "timestamp"].iter().any(|word| node.eq_ignore_ascii_case(word));
        match path.nodes().iter().find(reserved) {
            None => Ok(path),
            Some(node) => {
                let text = format!("IoTDB takes no path with a node called {node:?}");
                Err(Error::new(ErrorKind::Data, text).with_code("no_path_node"))
            }
        }
    }

    fn path(&self, database: Option<&Path>, batch: &TableBatch, row: usize) -> Result<Path> {
        let row = batch.row(row);
        match self {
            Self::Whole { column, home, .. } => {
                let value = row.at(*column)?;
                let path = match &value {
                    Value::Text(text) if text.starts_with("root.") => text.parse::<Path>().ok(),
                    _ => None,
                };
                let no_device = || {
                    Error::new(ErrorKind::Data, format!("{value} is no path of a device"))
                        .with_code("no_device")
                };
                let path = path.ok_or_else(no_device)?;
                let Some(database) = database else { return Ok(path) };
                let behind = path.behind(home).or_else(|| path.nodes().get(1..)).unwrap_or_default();
                behind.iter().try_fold(database.clone(), |path, node| path.join(node.as_str()))
            }
            Self::Nodes(nodes) => {
                let mut path = database.cloned().ok_or_else(no_database)?;
                for node in nodes {
                    let mut name = String::new();
                    for part in node {
                        match part {
                            Part::Text(text) => name.push_str(text),
                            Part::Column(at) => match row.at(*at)? {
                                Value::Null => name.push_str(NO_TAG),
                                value => {
                                    let text = value.to_string();
                                    if text == NO_TAG {
                                        let text = format!("the tag's value {NO_TAG} stands for none here");
                                        return Err(Error::new(ErrorKind::Data, text).with_code("no_device"));
                                    }
                                    name.push_str(&text);
                                }
                            },
                        }
                    }
                    path = path.join(name)?;
                }
                Ok(path)
            }
        }
    }
}

/// The database that rows of a table of IoTDB's come from.
pub(super) fn home_of(table: &TableId) -> Path {
    format!("root.{}", table.name()).parse().unwrap_or_else(|_| Path::root())
}

pub(super) fn no_database() -> Error {
    Error::config("the address names no database")
        .with_hint("write iotdb://HOST:6667/NAME, for the database root.NAME")
}

/// Rows of a batch by the device that they belong to.
pub(super) struct Group {
    pub(super) device: Arc<str>,
    pub(super) rows: Vec<usize>,
}
