//! What a measurement is made of, and what is read of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use kwsync_core::config::did_you_mean;
use kwsync_core::{Column, DataType, Error, ErrorKind, Result, Role, Schema, TimeUnit};

use crate::series::{FieldType, Item, free_name};

/// The types of fields as InfluxDB names them.
impl FieldType {
    /// By the name that the server has for it.
    pub(super) fn of(name: &str) -> Option<Self> {
        Some(match name {
            "float" => Self::Float,
            "integer" => Self::Integer,
            "unsigned" => Self::Unsigned,
            "string" => Self::String,
            "boolean" => Self::Boolean,
            _ => return None,
        })
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Float => "float",
            Self::Integer => "integer",
            Self::Unsigned => "unsigned",
            Self::String => "string",
            Self::Boolean => "boolean",
        }
    }

    fn data_type(self) -> DataType {
        match self {
            Self::Float => DataType::Float64,
            Self::Integer => DataType::Int64,
            Self::Unsigned => DataType::UInt64,
            Self::String => DataType::Text,
            Self::Boolean => DataType::Bool,
        }
    }
}

/// Keys of a measurement, as the server lists them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Keys {
    pub(super) fields: BTreeMap<String, Vec<FieldType>>,
    pub(super) tags: Vec<String>,
}

/// What is read of a measurement, in this order.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub(super) items: Vec<Item>,
    pub(super) schema: Arc<Schema>,
    pub(super) notes: Vec<String>,
}

impl Layout {
    /// As [`Layout::of`], of keys that are those of one window: a column that has no values there is left out. None if no field is left.
    ///
    /// # Errors
    /// `Schema` for a field whose types have no common one.
    pub(super) fn within(measurement: &str, keys: &Keys, columns: &[String]) -> Result<Option<Self>> {
        let has = |column: &str| {
            column == "*"
                || matches(column, "time")
                || keys.fields.keys().chain(&keys.tags).any(|name| matches(column, name))
        };
        let there: Vec<String> = columns.iter().filter(|column| has(column)).cloned().collect();
        let asked = |name: &String| there.iter().any(|column| column == "*" || matches(column, name));
        if !columns.is_empty() && !keys.fields.keys().any(asked) {
            return Ok(None);
        }
        Self::of(measurement, keys, &there).map(Some)
    }

    /// The time, the tags and the fields; of `columns`, where there are some, those.
    ///
    /// # Errors
    /// `Schema` for a field whose types have no common one; `NotFound` for a column that is not there.
    pub(super) fn of(measurement: &str, keys: &Keys, columns: &[String]) -> Result<Self> {
        let named = |name: &str| columns.is_empty() || columns.iter().any(|column| matches(column, name));
        for column in columns.iter().filter(|column| !matches(column, "time") && *column != "*") {
            let known = || keys.fields.keys().chain(&keys.tags).map(String::as_str);
            if !known().any(|name| matches(column, name)) {
                let text = format!(
                    "{measurement} has no field and no tag {column}{}",
                    did_you_mean(column, known())
                );
                return Err(Error::new(ErrorKind::NotFound, text)
                    .with_hint("columns= lists fields and tags, between commas"));
            }
        }
        let all = columns.iter().any(|column| column == "*");
        let named = |name: &str| all || named(name);
        let mut items = vec![Item::Time];
        items.extend(keys.tags.iter().filter(|tag| named(tag)).cloned().map(Item::Tag));
        for (name, types) in keys.fields.iter().filter(|(name, _)| named(name)) {
            items.push(match types.as_slice() {
                [one] => Item::Field(name.clone(), *one),
                [FieldType::Float, FieldType::Integer] => Item::Widened(name.clone()),
                types => return Err(mixed(measurement, name, types)),
            });
        }
        if !columns.is_empty() && !all {
            // As they were asked for.
            let place = |item: &Item| match item {
                Item::Time => {
                    columns.iter().position(|column| matches(column, "time")).map_or(0, |at| at + 1)
                }
                Item::Tag(name) | Item::Field(name, _) | Item::Widened(name) => {
                    columns.iter().position(|column| matches(column, name)).map_or(usize::MAX, |at| at + 1)
                }
            };
            items.sort_by_key(place);
        }
        if !items.iter().any(|item| matches!(item, Item::Field(..) | Item::Widened(_))) {
            let text = format!("{measurement}: no field is asked for, and points are found by their fields");
            return Err(Error::config(text).with_hint("add one to columns="));
        }
        let (mut named, mut notes) = (Vec::new(), Vec::new());
        // Fields and the time keep their names.
        let taken = |name: &str| name == "time" || keys.fields.contains_key(name);
        for item in &items {
            named.push(match item {
                Item::Time => Column::new("time", DataType::TimestampTz(TimeUnit::Nanosecond))
                    .with_role(Role::Timestamp)
                    .with_nullable(false),
                Item::Field(name, field_type) => Column::new(name.as_str(), field_type.data_type()),
                Item::Widened(name) => {
                    notes.push(format!(
                        "{measurement}: the field {name:?} is float and integer in different shards, and is read as float; an \
                         integer that is no float exactly is refused"
                    ));
                    Column::new(name.as_str(), DataType::Float64)
                }
                Item::Tag(name) => {
                    let free = free_name(name, &named, taken);
                    if free != *name {
                        notes.push(format!("{measurement}: {name:?} is a tag and a field; the tag is the column {free:?}"));
                    }
                    Column::new(free, DataType::Text).with_role(Role::Tag)
                }
            });
        }
        Ok(Self { items, schema: Arc::new(Schema::new(named)?), notes })
    }
}

/// Whether a column of `columns=` is this one; names may stand in double quotes there.
fn matches(column: &str, name: &str) -> bool {
    column == name
        || column
            .strip_prefix('"')
            .and_then(|rest| rest.strip_suffix('"'))
            .is_some_and(|inner| inner.replace("\"\"", "\"") == name)
}

fn mixed(measurement: &str, field: &str, types: &[FieldType]) -> Error {
    let names: Vec<_> = types.iter().map(|one| one.name()).collect();
    let text = format!(
        "{measurement}: the field {field:?} is {} in different shards, and no type holds all of them exactly",
        names.join(" and ")
    );
    Error::new(ErrorKind::Schema, text).with_hint(
        "leave the field out with columns=, or the measurement with measurements=; or write the older values anew, with one type",
    )
}

#[cfg(test)]
mod tests {
    use super::FieldType::{Boolean, Float, Integer, String as Text};
    use super::*;

    fn keys() -> Keys {
        let mut keys = Keys { tags: vec!["host".to_owned(), "n".to_owned()], ..Keys::default() };
        for (name, types) in [("n", vec![Integer]), ("n_1", vec![Text]), ("v", vec![Float, Integer])] {
            keys.fields.insert(name.to_owned(), types);
        }
        keys
    }

    #[test]
    fn tags_and_fields_become_columns() {
        let names = |columns: &[&str]| {
            let columns: Vec<String> = columns.iter().map(|&column| column.to_owned()).collect();
            let layout = Layout::of("m", &keys(), &columns).unwrap();
            layout.schema.columns().iter().map(|column| column.name().to_owned()).collect::<Vec<_>>()
        };
        // A tag that is called as a field makes way, as it does in the server's own SELECT *.
        assert_eq!(names(&[]), ["time", "host", "n_2", "n", "n_1", "v"]);
        assert_eq!(names(&["v", "time", "host"]), ["v", "time", "host"]);
        assert_eq!(names(&["\"v\""]), ["time", "v"]);
        assert_eq!(names(&["*"]).len(), 6);
        let layout = Layout::of("m", &keys(), &[]).unwrap();
        assert!(layout.notes.len() == 2 && layout.notes[0].contains("\"n_2\""), "{:?}", layout.notes);
    }

    #[test]
    fn a_window_may_lack_columns() {
        let names = |columns: &[&str]| {
            let columns: Vec<String> = columns.iter().map(|&column| column.to_owned()).collect();
            let layout = Layout::within("m", &keys(), &columns).unwrap()?;
            Some(layout.schema.columns().iter().map(|column| column.name().to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(names(&["later", "v", "time", "\"zone\""]).unwrap(), ["v", "time"]);
        assert_eq!(names(&["later", "host"]), None);
        assert_eq!(names(&[]).unwrap().len(), 6);
        assert_eq!(names(&["*"]).unwrap().len(), 6);
    }

    #[test]
    fn what_cannot_be_read_says_so() {
        let of = |columns: &[&str], keys: &Keys| {
            let columns: Vec<String> = columns.iter().map(|&column| column.to_owned()).collect();
            Layout::of("m", keys, &columns).unwrap_err().report()
        };
        assert!(of(&["hots"], &keys()).contains("did you mean `host`?"));
        assert!(of(&["host"], &keys()).contains("no field is asked for"));
        let mut bad = keys();
        bad.fields.insert("v".to_owned(), vec![Float, Text, Boolean]);
        assert!(of(&[], &bad).contains("is float and string and boolean in different shards"));
        assert!(Layout::of("m", &bad, &["n".to_owned()]).is_ok());
    }
}
