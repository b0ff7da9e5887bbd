//! Readers of what is no database of SQL.

use super::plugin::{Family, Plugin};
use super::reader::{Read, column_list, column_texts, output_name};
use crate::config::Dsn;
use crate::spec::document::{Fields, Node, Value, Wrong};
use crate::spec::time;

fn host(fields: &Fields<'_>, key: &'static str, driver: &str, example: &str) -> Option<Dsn> {
    let text = fields.required(key, &format!("the address, as {example}"))?;
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest).trim_end_matches('/');
    let secure = text.starts_with("https://");
    let driver = if secure { driver.replace("+http", "+https") } else { driver.to_owned() };
    match format!("{driver}://{rest}").parse::<Dsn>() {
        Ok(dsn) => Some(dsn),
        Err(error) => {
            let message = format!("`{}`: {}", fields.path(key), error.message());
            fields.fault(key, Wrong::Value, message, Some(format!("write {example}")));
            None
        }
    }
}

pub(super) fn mongo(parameter: &Fields<'_>) -> Option<Read> {
    let before = parameter.faults().len();
    let mut hosts = Vec::new();
    for (path, node) in parameter.items("address") {
        match node.scalar().and_then(|text| format!("mongodb://{text}").parse::<Dsn>().ok()) {
            Some(dsn) => hosts.extend(dsn.hosts().iter().cloned()),
            None => {
                parameter.faults().add(&node.place, Wrong::Value, format!("`{path}` takes HOST:PORT"), None)
            }
        }
    }
    if hosts.is_empty() {
        parameter.missing_unless_there("address", "the servers, as [\"HOST:27017\"]");
    }
    let database = parameter.required("dbName", "the database");
    let collection = parameter.required("collectionName", "the collection");
    let columns = named_columns(parameter);
    let mut dsn =
        "mongodb://h".parse::<Dsn>().ok()?.with_hosts(hosts).with_object(database.unwrap_or_default());
    if let Some(user) = parameter.filled("userName") {
        dsn = dsn.with_user(user);
    }
    if let Some(password) = parameter.filled("userPassword") {
        dsn = dsn.with_password(password.into());
    }
    dsn = dsn.with_param("tables", collection.map(str::to_owned));
    if !columns.is_empty() {
        let names: Vec<_> = columns.iter().map(|column| column.name.clone()).collect();
        dsn = dsn.with_param("columns", Some(column_list(&names)));
        let types: Vec<_> = columns
            .iter()
            .filter_map(|column| column.kind.as_ref().map(|kind| format!("{}:{kind}", column.name)))
            .collect();
        if !types.is_empty() {
            dsn = dsn.with_param("types", Some(types.join(",")));
        }
        let splitters: serde_json::Map<_, _> = columns
            .iter()
            .filter_map(|column| Some((column.name.clone(), column.splitter.clone()?.into())))
            .collect();
        if !splitters.is_empty() {
            dsn = dsn.with_param("splitters", Some(serde_json::Value::Object(splitters).to_string()));
        }
    }
    if parameter.filled("userName").is_some() && parameter.filled("authDb").is_none() {
        // As the reader of DataX has it.
        dsn = dsn.with_param("auth_db", database.map(str::to_owned));
    }
    for (key, name) in [("query", "where"), ("authDb", "auth_db")] {
        if let Some(text) = parameter.filled(key) {
            dsn = dsn.with_param(name, Some(text.to_owned()));
        }
    }
    (parameter.faults().len() == before).then(|| Read {
        sources: vec![dsn],
        columns: Some(columns.into_iter().map(|column| Some(column.name)).collect()),
        expressions: Vec::new(),
        quote: '"',
        by_position: false,
        family: Family::MongoDb,
    })
}

/// A column of documents.
struct NamedColumn {
    name: String,
    kind: Option<String>,
    /// What stands between the items of an array.
    splitter: Option<String>,
}

/// Columns as texts, or as objects of a name and a type.
fn named_columns(parameter: &Fields<'_>) -> Vec<NamedColumn> {
    let mut columns = Vec::new();
    for (path, node) in parameter.items("column") {
        match &node.value {
            Value::Map(_) => {
                let Some(fields) = Fields::of(node, path, parameter.faults()) else { continue };
                let (name, kind) = (fields.required("name", "the column"), fields.filled("type"));
                let splitter = fields.get("splitter").and_then(Node::scalar).map(str::to_owned);
                let kind = kind.map(str::to_owned);
                columns.extend(name.map(|name| NamedColumn { name: name.to_owned(), kind, splitter }));
                fields.finish();
            }
            _ => columns.extend(node.scalar().map(|name| NamedColumn {
                name: name.to_owned(),
                kind: None,
                splitter: None,
            })),
        }
    }
    if columns.is_empty() {
        parameter.missing_unless_there("column", "the columns, as [{\"name\": \"a\", \"type\": \"string\"}]");
    }
    columns
}

pub(super) fn influx(plugin: &Plugin, parameter: &Fields<'_>, notes: &mut Vec<String>) -> Option<Read> {
    let before = parameter.faults().len();
    let nested: Option<Fields<'_>> = parameter
        .items("connection")
        .into_iter()
        .next()
        .and_then(|(path, node): (String, &Node)| Fields::of(node, path, parameter.faults()));
    let place = nested.as_ref().unwrap_or(parameter);
    let two = plugin.name.contains("20");
    let mut dsn = host(place, "endpoint", plugin.driver, "http://HOST:8086")?;
    dsn = dsn.with_param("version", Some(if two { "2.x" } else { "1.x" }.to_owned()));
    let login: [(&'static str, &str); 2] = if two {
        [("org", "orgId"), ("token", "token")]
    } else {
        [("username", "username"), ("password", "password")]
    };
    for (key, name) in login {
        let text = place.filled(key).or_else(|| parameter.filled(key));
        if let Some(text) = text {
            dsn = dsn.with_param(name, Some(text.to_owned()));
        } else if two {
            parameter.missing(key, "what InfluxDB 2 asks for");
        }
    }
    let bucket = place.either(&["bucket", "database"]).and_then(|(_, node)| node.scalar()).map(str::to_owned);
    if bucket.is_none() {
        place.missing(if two { "bucket" } else { "database" }, "where the measurements are");
    }
    dsn = dsn.with_param("bucket", bucket);
    let tables = place.texts("table").unwrap_or_default().join(",");
    dsn = dsn.with_param("measurements", Some(tables));
    for (key, name) in [("beginDateTime", "beginTime"), ("endDateTime", "endTime")] {
        dsn = match time_of(parameter, key, notes) {
            Some(text) => dsn.with_param(name, Some(text)),
            None => dsn,
        };
    }
    if let Some(seconds) = parameter.whole("splitIntervalS", 1..=u64::from(u32::MAX), true) {
        dsn = dsn.with_param("window_s", Some(seconds.to_string()));
    }
    let columns = column_texts(parameter);
    if let Some(nested) = nested {
        nested.finish();
    }
    if !columns.is_empty() && columns != ["*"] {
        dsn = dsn.with_param("columns", Some(column_list(&columns)));
    }
    (parameter.faults().len() == before).then(|| Read {
        sources: vec![dsn],
        columns: (!columns.is_empty()).then(|| columns.iter().map(|column| output_name(column)).collect()),
        expressions: Vec::new(),
        quote: '"',
        by_position: false,
        family: Family::InfluxDb,
    })
}

pub(super) fn opentsdb(parameter: &Fields<'_>, notes: &mut Vec<String>) -> Option<Read> {
    let before = parameter.faults().len();
    let mut dsn = host(parameter, "endpoint", "opentsdb+http", "http://HOST:4242");
    let metrics = column_texts(parameter);
    for (key, name) in [("beginDateTime", "beginTime"), ("endDateTime", "endTime")] {
        if let Some(text) = time_of(parameter, key, notes) {
            dsn = dsn.map(|dsn| dsn.with_param(name, Some(text)));
        }
    }
    if !parameter.has("beginDateTime") {
        parameter.missing("beginDateTime", "where reading starts, as 2024-05-01 10:00:00");
    }
    if parameter.get("splitIntervalMs").is_some() {
        notes.push(format!("`{}` is ignored: windows are chosen here", parameter.path("splitIntervalMs")));
    }
    if parameter.faults().len() > before {
        return None;
    }
    let dsn = dsn?
        .with_param("metrics", Some(metrics.join(",")))
        .with_param("metric", Some("underscore".to_owned()));
    Some(Read {
        sources: vec![dsn],
        columns: None,
        expressions: Vec::new(),
        quote: '"',
        by_position: false,
        family: Family::OpenTsdb,
    })
}

fn time_of(parameter: &Fields<'_>, key: &'static str, notes: &mut Vec<String>) -> Option<String> {
    let text = parameter.filled(key)?;
    match time::normal(text) {
        Some((normal, mended)) => {
            if mended {
                notes.push(format!(
                    "`{}` is read as {normal}: three digits stand where seconds belong",
                    parameter.path(key)
                ));
            }
            Some(normal)
        }
        None => {
            let message = format!(
                "`{}` takes a time such as 2024-05-01 10:00:00, and {text:?} is none",
                parameter.path(key)
            );
            parameter.fault(key, Wrong::Value, message, None);
            None
        }
    }
}
