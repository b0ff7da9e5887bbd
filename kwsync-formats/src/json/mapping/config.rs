//! The text of a mapping, and all that can be wrong with it.

use kwsync_core::config::did_you_mean;
use kwsync_core::{DataType, Error, Result};
use serde_json::{Map, Value};

use super::path::Path;
use super::types::{self, data_type};

/// Where a field's value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum From {
    /// The message's time
    Ts,
    Topic,
    Partition,
    Offset,
    Key,
    /// As a JSON object.
    Headers,
    /// All bytes of the message
    Body,
    /// A value of the message's JSON
    Json(Path),
}

/// A value that columns, tags and names may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) alias: String,
    pub(super) from: From,
    /// `None` where the first value chooses.
    pub(super) data_type: Option<DataType>,
}

/// A part of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Text(String),
    /// Index of a source
    Value(usize),
}

/// What rows are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Model {
    pub(super) name: Vec<Part>,
    pub(super) using: Option<String>,
    /// Indices of sources
    pub(super) columns: Vec<usize>,
    pub(super) tags: Vec<usize>,
}

/// A checked mapping.
///
/// # Examples
/// ```
/// use kwsync_formats::json::mapping::Mapping;
///
/// let error = Mapping::parse(
///     r#"{"parse": {"payload": {"json": ["ts::timestamp", {"name": "voltage", "cast": "INTT"}]}},
///         "model": {"name": "d{id}", "colums": ["ts", "voltge"]}}"#,
/// ).unwrap_err();
/// let text = error.to_string();
/// assert!(text.contains("parse.payload.json[1].cast: there is no type \"INTT\", did you mean `int`?"), "{text}");
/// assert!(text.contains("model.colums: unknown key, did you mean `columns`?"), "{text}");
/// assert!(text.contains("model.name: there is no field `id`"), "{text}");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    pub(super) sources: Vec<Source>,
    pub(super) models: Vec<Model>,
    /// The message is JSON.
    pub(super) json: bool,
}

/// Reads a mapping and keeps what is wrong with it.
#[derive(Default)]
struct Check {
    faults: Vec<String>,
    sources: Vec<Source>,
    json: bool,
}

/// The type of a field whose type is none
const UNKNOWN: &str = "?";

const META: [&str; 8] = ["ts", "topic", "partition", "offset", "key", "headers", "value", "payload"];

impl Mapping {
    /// Reads a mapping. All faults are told at once, each with the path of its key and the nearest known name.
    ///
    /// # Errors
    /// `Config`.
    pub fn parse(text: &str) -> Result<Self> {
        let value: Value = serde_json::from_str(text).map_err(|error| {
            Error::config(format!("the parser is no JSON: {error}"))
                .with_hint("give it as JSON, or as @FILE with the name of a file that holds it")
        })?;
        let mut check = Check::default();
        let Value::Object(outer) = value else {
            return Err(
                Error::config("the parser is no JSON object").with_hint("it has the keys parse and model")
            );
        };
        check.known(&outer, "", &["parse", "model"]);
        match outer.get("parse") {
            Some(Value::Object(parse)) => check.parse(parse),
            Some(_) => check.fault("parse", "is no object"),
            None => check.fault("parse", "is missing"),
        }
        let models = match outer.get("model") {
            Some(Value::Object(model)) => vec![check.model(model, "model")],
            Some(Value::Array(list)) if !list.is_empty() => list
                .iter()
                .enumerate()
                .map(|(i, model)| match model {
                    Value::Object(model) => check.model(model, &format!("model[{i}]")),
                    _ => {
                        check.fault(&format!("model[{i}]"), "is no object");
                        None
                    }
                })
                .collect(),
            Some(_) => {
                check.fault("model", "is neither an object nor a list of them");
                Vec::new()
            }
            None => {
                check.fault("model", "is missing");
                Vec::new()
            }
        };
        if check.faults.is_empty() {
            let models = models.into_iter().flatten().collect();
            return Ok(Self { sources: check.sources, models, json: check.json });
        }
        let faults: Vec<_> = match check.faults.as_slice() {
            [fault] => vec![fault.clone()],
            all => all.iter().enumerate().map(|(i, fault)| format!("({}) {fault}", i + 1)).collect(),
        };
        Err(Error::config(format!("parser: {}", faults.join("; "))))
    }

    /// The mapping of messages for which there is none: one row a message, into a table named as its topic, with
    /// `ts`, `topic`, `partition`, `offset`, `key` and `value`.
    #[must_use]
    pub fn messages() -> Self {
        let source = |alias: &str, from, data_type| Source {
            alias: alias.to_owned(),
            from,
            data_type: Some(data_type),
        };
        let time = DataType::TimestampTz(kwsync_core::TimeUnit::Millisecond);
        Self {
            sources: vec![
                source("ts", From::Ts, time),
                source("topic", From::Topic, DataType::VarChar(None)),
                source("partition", From::Partition, DataType::Int32),
                source("offset", From::Offset, DataType::Int64),
                source("key", From::Key, DataType::VarBytes(None)),
                source("value", From::Body, DataType::VarBytes(None)),
            ],
            models: vec![Model {
                name: vec![Part::Value(1)],
                using: None,
                columns: (0..6).collect(),
                tags: Vec::new(),
            }],
            json: false,
        }
    }
}

impl Check {
    fn fault(&mut self, at: &str, what: impl std::fmt::Display) {
        self.faults.push(format!("{at}: {what}"));
    }

    /// Names keys that should not be there.
    fn known(&mut self, object: &Map<String, Value>, at: &str, names: &[&str]) {
        for key in object.keys().filter(|key| !names.contains(&key.as_str())) {
            let place = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
            let meant = did_you_mean(key, names.iter().copied());
            self.fault(&place, format!("unknown key{meant}"));
        }
    }

    fn text<'a>(&mut self, object: &'a Map<String, Value>, at: &str, key: &str) -> Option<&'a str> {
        match object.get(key) {
            None => None,
            Some(Value::String(text)) => Some(text),
            Some(_) => {
                self.fault(&format!("{at}.{key}"), "is no string");
                None
            }
        }
    }

    fn data_type(&mut self, text: &str, at: &str) -> Option<DataType> {
        let found = data_type(text);
        if found.is_none() {
            let name = text.split('(').next().unwrap_or_default().trim();
            let meant = did_you_mean(name, types::NAMES);
            self.fault(at, format!("there is no type {text:?}{meant}"));
        }
        // So that nothing else is said of the field.
        found.or_else(|| Some(DataType::Other(UNKNOWN.into())))
    }

    fn add(&mut self, alias: &str, from: From, data_type: Option<DataType>, at: &str) {
        if self.sources.iter().any(|source| source.alias == alias) {
            self.fault(at, format!("there are two fields named `{alias}`"));
            return;
        }
        self.sources.push(Source { alias: alias.to_owned(), from, data_type });
    }

    fn parse(&mut self, parse: &Map<String, Value>) {
        // In the order in which a reader thinks of them.
        for name in META {
            let Some(value) = parse.get(name) else { continue };
            let at = format!("parse.{name}");
            let body = matches!(name, "value" | "payload");
            if body && name == "payload" && parse.contains_key("value") {
                self.fault(&at, "value and payload are the same");
                continue;
            }
            let from = match name {
                "ts" => From::Ts,
                "topic" => From::Topic,
                "partition" => From::Partition,
                "offset" => From::Offset,
                "key" => From::Key,
                "headers" => From::Headers,
                _ => From::Body,
            };
            match value {
                Value::String(text) => {
                    let data_type = self.data_type(text, &at);
                    self.add(name, from, data_type, &at);
                }
                Value::Object(object) => {
                    let known: &[&str] =
                        if body { &["as", "cast", "alias", "json"] } else { &["as", "cast", "alias"] };
                    self.known(object, &at, known);
                    if let Some(list) = object.get("json").filter(|_| body) {
                        self.json = true;
                        self.entries(list, &format!("{at}.json"));
                        if object.len() > 1 {
                            self.fault(&at, "json stands alone: as, cast and alias are the entries'");
                        }
                        continue;
                    }
                    let data_type = self.cast(object, &at);
                    let alias = self.text(object, &at, "alias").unwrap_or(name);
                    if data_type.is_none() && !object.contains_key("as") && !object.contains_key("cast") {
                        self.fault(&at, "as is missing");
                    }
                    self.add(alias, from, data_type, &at);
                }
                _ => self.fault(&at, "is neither an object nor a type"),
            }
        }
        for key in parse.keys().filter(|key| !META.contains(&key.as_str())) {
            let meant = did_you_mean(key, META);
            self.fault(&format!("parse.{key}"), format!("a message has no such part{meant}"));
        }
    }

    fn cast(&mut self, object: &Map<String, Value>, at: &str) -> Option<DataType> {
        let one = self.text(object, at, "as");
        let other = self.text(object, at, "cast");
        if let (Some(one), Some(other)) = (one, other)
            && one != other
        {
            self.fault(at, "as and cast contradict each other");
        }
        let key = if other.is_some() { "cast" } else { "as" };
        self.data_type(other.or(one)?, &format!("{at}.{key}"))
    }

    fn entries(&mut self, list: &Value, at: &str) {
        let Value::Array(list) = list else {
            self.fault(at, "is no list of fields");
            return;
        };
        for (i, entry) in list.iter().enumerate() {
            let at = format!("{at}[{i}]");
            let (path, alias, data_type) = match entry {
                Value::String(text) => match text.rsplit_once("::") {
                    Some((path, name)) => (path, None, self.data_type(name, &at)),
                    None => (text.as_str(), None, None),
                },
                Value::Object(object) => {
                    self.known(object, &at, &["name", "alias", "cast", "as"]);
                    let data_type = self.cast(object, &at);
                    let alias = self.text(object, &at, "alias");
                    let Some(path) = self.text(object, &at, "name") else {
                        if !object.contains_key("name") {
                            self.fault(&format!("{at}.name"), "is missing");
                        }
                        continue;
                    };
                    (path, alias, data_type)
                }
                _ => {
                    self.fault(&at, "is neither an object nor \"name::type\"");
                    continue;
                }
            };
            match Path::parse(path) {
                Ok(path) => {
                    let alias = alias.or_else(|| path.name()).unwrap_or_default().to_owned();
                    if alias.is_empty() {
                        self.fault(&at, "the field needs an alias");
                    } else {
                        self.add(&alias, From::Json(path), data_type, &at);
                    }
                }
                Err(fault) => self.fault(&at, fault),
            }
        }
    }

    fn source(&mut self, alias: &str, at: &str) -> Option<usize> {
        let found = self.sources.iter().position(|source| source.alias == alias);
        if found.is_none() {
            let names: Vec<String> = self.sources.iter().map(|source| source.alias.clone()).collect();
            let meant = did_you_mean(alias, names.iter().map(String::as_str));
            self.fault(at, format!("there is no field `{alias}`{meant}"));
        }
        found
    }

    fn list(&mut self, model: &Map<String, Value>, key: &str, at: &str) -> Vec<usize> {
        let at = format!("{at}.{key}");
        match model.get(key) {
            None => Vec::new(),
            Some(Value::Array(names)) => {
                let mut found = Vec::new();
                for (i, name) in names.iter().enumerate() {
                    let at = format!("{at}[{i}]");
                    let Value::String(name) = name else {
                        self.fault(&at, "is no string");
                        continue;
                    };
                    let Some(index) = self.source(name, &at) else { continue };
                    if found.contains(&index) {
                        self.fault(&at, format!("`{name}` stands twice"));
                    }
                    found.push(index);
                }
                found
            }
            Some(_) => {
                self.fault(&at, "is no list of fields");
                Vec::new()
            }
        }
    }

    fn model(&mut self, model: &Map<String, Value>, at: &str) -> Option<Model> {
        self.known(model, at, &["name", "using", "columns", "tags"]);
        let name = match self.text(model, at, "name") {
            Some(text) => self.template(text, &format!("{at}.name")),
            None => {
                if !model.contains_key("name") {
                    self.fault(&format!("{at}.name"), "is missing");
                }
                Vec::new()
            }
        };
        let using = self.text(model, at, "using").map(str::to_owned);
        if using.as_deref() == Some("") {
            self.fault(&format!("{at}.using"), "is empty");
        }
        let columns = self.list(model, "columns", at);
        let tags = self.list(model, "tags", at);
        for (i, tag) in tags.iter().enumerate() {
            if columns.contains(tag) {
                let alias = self.sources.get(*tag).map_or("", |source| &source.alias).to_owned();
                self.fault(&format!("{at}.tags[{i}]"), format!("`{alias}` is a column already"));
            }
        }
        match columns.first().and_then(|first| self.sources.get(*first)) {
            Some(source)
                if matches!(source.data_type, Some(DataType::TimestampTz(_) | DataType::Timestamp(_))) => {}
            Some(source) if source.data_type == Some(DataType::Other(UNKNOWN.into())) => {}
            Some(source) => {
                let what = format!("the first column is a timestamp, and `{}` is none", source.alias);
                self.fault(&format!("{at}.columns[0]"), what);
            }
            None if model
                .get("columns")
                .is_none_or(|columns| columns.as_array().is_some_and(Vec::is_empty)) =>
            {
                self.fault(&format!("{at}.columns"), "needs a first column, a timestamp");
            }
            None => {}
        }
        Some(Model { name, using, columns, tags })
    }

    /// `d{id}`
    fn template(&mut self, text: &str, at: &str) -> Vec<Part> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            let Some((alias, after)) = after.split_once('}') else {
                self.fault(at, format!("{text:?}: a {{ is not closed"));
                return parts;
            };
            if let Some(index) = self.source(alias.trim(), at) {
                parts.push(Part::Value(index));
            }
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        if text.is_empty() {
            self.fault(at, "is empty");
        }
        parts
    }
}
