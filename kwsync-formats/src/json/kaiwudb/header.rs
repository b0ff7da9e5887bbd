//! The declared columns and tags.

use kwsync_core::{Column, DataType, Role, TableId, TimeUnit};

use crate::build::Kind;
use crate::framing::Fault;
use crate::json::read::{Field, Nested, Object, Reader, Span, What};

/// What an object says of its table.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) id: TableId,
    pub(super) columns: Vec<Column>,
    /// It has no tags.
    pub(super) relational: bool,
}

/// Where the parts of an object lie.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Parts {
    pub(super) table: Option<Span>,
    pub(super) columns: Option<Span>,
    pub(super) tags: Option<Span>,
    pub(super) data: Option<Span>,
    pub(super) end: usize,
    pub(super) lines: u32,
    pub(super) line_start: usize,
    /// A key that the object should not have, and a part that is not what it should be
    pub(super) unknown: Option<Span>,
    pub(super) wrong: Option<(usize, &'static str)>,
}

impl Parts {
    /// Reads the outermost object at `at`; its rows are only leapt over.
    pub(super) fn read(data: &[u8], at: usize, one_line: bool) -> Result<Self, crate::json::read::Stop> {
        let mut reader = Reader::new(data, at, one_line);
        let mut parts = Self::default();
        reader.at += 1;
        let mut first = true;
        loop {
            if first && reader.peek() == Some(b'}') {
                break;
            }
            first = false;
            let key = reader.key()?;
            let start = reader.at;
            let byte = data.get(start).copied().unwrap_or(0);
            let value = match byte {
                b'[' if key.of(data) == b"data" => reader.leap()?,
                b'"' => reader.string()?,
                _ => reader.skip()?,
            };
            let null = value.of(data) == b"null" && byte == b'n';
            let mut take = |slot: &mut Option<Span>, opens: u8, what: &'static str| {
                if byte == opens {
                    *slot = Some(value);
                } else if !null {
                    parts.wrong = Some((start, what));
                }
            };
            match key.of(data) {
                b"table" => take(&mut parts.table, b'"', "the table's name is no string"),
                b"columns" => take(&mut parts.columns, b'[', "the columns are no array"),
                b"tags" => take(&mut parts.tags, b'[', "the tags are no array"),
                b"data" => take(&mut parts.data, b'[', "the data are no array"),
                _ => parts.unknown = Some(key),
            }
            match reader.peek() {
                Some(b',') => reader.at += 1,
                Some(b'}') => break,
                Some(_) => {
                    return Err(crate::json::read::Stop::Bad(
                        "bad_json",
                        "a comma or } is missing here",
                        reader.at,
                    ));
                }
                None => return Err(crate::json::read::Stop::Open),
            }
        }
        parts.end = reader.at + 1;
        (parts.lines, parts.line_start) = reader.lines();
        Ok(parts)
    }

    /// The header's bytes, to be told from others'.
    pub(super) fn key(&self, data: &[u8], out: &mut Vec<u8>) {
        out.clear();
        for part in [self.table, self.columns, self.tags] {
            out.extend_from_slice(part.map_or(&b""[..], |span| span.of(data)));
            out.push(0);
        }
    }
}

impl Header {
    /// What the parts say.
    pub(super) fn read(
        parts: &Parts,
        data: &[u8],
        at: usize,
        unit: TimeUnit,
        object: &mut Object,
    ) -> Result<Self, Fault> {
        if let Some((at, reason)) = parts.wrong {
            return Err(Fault::new("bad_schema", reason, at));
        }
        if let Some(key) = parts.unknown {
            let name = String::from_utf8_lossy(key.of(data)).into_owned();
            let reason = format!("the object has table, columns, tags and data, and no {name:?}");
            return Err(Fault::new("unknown_key", reason, key.start));
        }
        let table = parts.table.map(|span| span.text(data)).filter(|name| !name.is_empty());
        let Some(table) = table else {
            return Err(Fault::new("bad_schema", "the object has no table", at));
        };
        let id = TableId::new(String::from_utf8_lossy(&table).as_ref());
        let of = |fault: Fault| Fault { table: Some(id.clone()), ..fault };
        let Some(span) = parts.columns else {
            return Err(of(Fault::new("bad_schema", "the object has no columns", at)));
        };
        let mut columns = list(data, span, unit, false, object).map_err(of)?;
        let tags = match parts.tags {
            Some(span) => list(data, span, unit, true, object).map_err(of)?,
            None => Vec::new(),
        };
        let relational = tags.is_empty();
        let Some(first) = columns.first_mut() else {
            return Err(of(Fault::new("bad_schema", "the table has no columns", span.start)));
        };
        if !relational {
            if !is_time(first.data_type()) {
                let reason = format!(
                    "the first column of a time-series table is a timestamp, and {:?} is none",
                    first.name()
                );
                return Err(of(Fault::new("bad_schema", reason, span.start)));
            }
            *first = first.clone().with_role(Role::Timestamp).with_nullable(false);
            if !tags.iter().any(|tag| tag.role() == Role::PrimaryTag) {
                let at = parts.tags.map_or(at, |span| span.start);
                return Err(of(Fault::new("bad_schema", "no tag is primary", at)));
            }
        }
        columns.extend(tags);
        for (i, column) in columns.iter().enumerate() {
            if columns.iter().take(i).any(|other| other.name() == column.name()) {
                let reason = format!("two columns are named {:?}", column.name());
                return Err(of(Fault::new("bad_schema", reason, span.start)));
            }
        }
        Ok(Self { id, columns, relational })
    }
}

pub(super) fn is_time(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Timestamp(_) | DataType::TimestampTz(_))
}

/// Columns or tags.
fn list(
    data: &[u8],
    span: Span,
    unit: TimeUnit,
    tags: bool,
    object: &mut Object,
) -> Result<Vec<Column>, Fault> {
    let end = span.end;
    // The span has been read before and is JSON.
    let mut reader = Reader::new(data.get(..end).unwrap_or_default(), span.start + 1, false);
    let mut columns = Vec::new();
    loop {
        match reader.peek() {
            Some(b'{') => {
                let at = reader.at;
                if object.read(data, at, false, Nested::Keep).is_err() {
                    return Err(Fault::new("bad_schema", "no column", at));
                }
                reader.at = object.end;
                columns.push(column(data, object, at, unit, tags)?);
            }
            Some(b',') => reader.at += 1,
            Some(b']') | None => return Ok(columns),
            Some(_) => {
                let what = if tags { "a tag is no object" } else { "a column is no object" };
                return Err(Fault::new("bad_schema", what, reader.at));
            }
        }
    }
}

fn column(data: &[u8], object: &Object, at: usize, unit: TimeUnit, tag: bool) -> Result<Column, Fault> {
    let text = |key: &[u8]| -> Result<Option<String>, Fault> {
        match object.get(data, key) {
            None => Ok(None),
            Some((_, field)) if field.is_text() => {
                Ok(Some(String::from_utf8_lossy(&field.value.text(data)).into_owned()))
            }
            Some((_, field)) => {
                let reason = format!("{} is no string", String::from_utf8_lossy(key));
                Err(Fault::new("bad_schema", reason, field.start()))
            }
        }
    };
    let flag = |key: &[u8]| -> Result<Option<bool>, Fault> {
        match object.get(data, key).map(|(_, field)| (field.what, field.start())) {
            None | Some((What::Value(Kind::Null), _)) => Ok(None),
            Some((What::Value(Kind::Bool(value)), _)) => Ok(Some(value)),
            Some((_, at)) => {
                let reason = format!("{} is neither true nor false", String::from_utf8_lossy(key));
                Err(Fault::new("bad_schema", reason, at))
            }
        }
    };
    for field in &object.fields {
        let known: &[&[u8]] = &[b"name", b"type", b"length", b"nullable", b"primary", b"isPrimary"];
        if !known.contains(&field.key.of(data)) {
            let name = String::from_utf8_lossy(field.key.of(data)).into_owned();
            let reason = format!("a column has name, type, length, nullable and primary, and no {name:?}");
            return Err(Fault::new("unknown_key", reason, field.key.start));
        }
    }
    let missing = |what: &str| Fault::new("bad_schema", format!("a column has no {what}"), at);
    let name = text(b"name")?.filter(|name| !name.is_empty()).ok_or_else(|| missing("name"))?;
    let written = text(b"type")?.ok_or_else(|| missing("type"))?;
    let length = match object.get(data, b"length") {
        None => None,
        Some((_, field)) => length(data, field)?,
    };
    let Some(data_type) = data_type(&written, length, unit) else {
        let reason = format!("column {name:?}: there is no type {written:?}");
        return Err(Fault::new("bad_schema", reason, at));
    };
    let primary = match (flag(b"primary")?, flag(b"isPrimary")?) {
        (Some(one), Some(other)) if one != other => {
            let reason = format!("column {name:?}: primary and isPrimary contradict each other");
            return Err(Fault::new("bad_schema", reason, at));
        }
        (one, other) => one.or(other).unwrap_or(false),
    };
    let nullable = flag(b"nullable")?;
    if primary && nullable == Some(true) && tag {
        let reason = format!("tag {name:?} is primary, and may not be null");
        return Err(Fault::new("bad_schema", reason, at));
    }
    let role = match (tag, primary) {
        (true, true) => Role::PrimaryTag,
        (true, false) => Role::Tag,
        (false, _) => Role::Field,
    };
    let nullable = nullable.unwrap_or(true) && !primary;
    Ok(Column::new(name, data_type).with_role(role).with_nullable(nullable))
}

fn length(data: &[u8], field: &Field) -> Result<Option<u32>, Fault> {
    match field.what {
        What::Value(Kind::Null) => Ok(None),
        What::Value(Kind::Int(length)) if u32::try_from(length).is_ok() => {
            Ok(u32::try_from(length).ok().filter(|length| *length > 0))
        }
        _ => {
            let shown = String::from_utf8_lossy(field.value.of(data)).into_owned();
            Err(Fault::new("bad_schema", format!("{shown} is no length"), field.start()))
        }
    }
}

/// The type of this name. A length binds only strings and bytes.
fn data_type(written: &str, length: Option<u32>, unit: TimeUnit) -> Option<DataType> {
    let upper = written.trim().to_ascii_uppercase();
    let bound = |data_type: DataType| match data_type {
        DataType::Char(1) => DataType::Char(length.unwrap_or(1)),
        DataType::NChar(1) => DataType::NChar(length.unwrap_or(1)),
        DataType::VarChar(None) => DataType::VarChar(length),
        DataType::NVarChar(None) => DataType::NVarChar(length),
        DataType::VarBytes(None) => DataType::VarBytes(length),
        other => other,
    };
    Some(match upper.as_str() {
        "TIMESTAMP" => DataType::Timestamp(unit),
        "TIMESTAMPTZ" => DataType::TimestampTz(unit),
        "FLOAT" => DataType::Float64,
        "BYTES" if length.is_some() => DataType::VarBytes(length),
        "STRING" => length.map_or(DataType::Text, |length| DataType::VarChar(Some(length))),
        _ => bound(upper.to_ascii_lowercase().parse().ok()?),
    })
}
