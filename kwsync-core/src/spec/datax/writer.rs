//! What a writer writes, and where.

use super::plugin::{self, Family, Plugin, WRITERS};
use super::reader;
use crate::config::{Dsn, Secret};
use crate::spec::document::{Fields, Place, Wrong};

/// The target of one writer.
pub(super) struct Written {
    pub(super) sink: Dsn,
    pub(super) columns: Vec<String>,
    pub(super) columns_path: String,
    pub(super) columns_place: Option<Place>,
    pub(super) pre_sql: Vec<String>,
    pub(super) post_sql: Vec<String>,
    pub(super) batch_rows: Option<usize>,
    pub(super) batch_bytes: Option<usize>,
}

/// Keys that tune the tool's own way of writing.
const IGNORED: [&str; 5] = ["session", "emptyAsNull", "dateFormat", "encoding", "ignoreTagsUnmatched"];

pub(super) fn read(fields: Fields<'_>, source: Option<&Family>, notes: &mut Vec<String>) -> Option<Written> {
    let (plugin, parameter) = plugin::open(fields, &WRITERS, "writer")?;
    for key in IGNORED {
        if parameter.get(key).is_some() {
            notes.push(format!("`{}` is ignored: it has no counterpart here", parameter.path(key)));
        }
    }
    let written = write(plugin, &parameter, source, notes);
    parameter.finish();
    written
}

fn write(
    plugin: &Plugin,
    parameter: &Fields<'_>,
    source: Option<&Family>,
    notes: &mut Vec<String>,
) -> Option<Written> {
    let before = parameter.faults().len();
    // Metrics of OpenTSDB are tables of their own, with two columns.
    let by_metric = source == Some(&Family::OpenTsdb);
    let user = parameter.required("username", "the user of the database");
    let password = parameter.text("password");
    if password.is_none() {
        parameter.missing_unless_there("password", "the user's password");
    }
    let nested = parameter.items("connection");
    let (mut dsn, tables) = match nested.as_slice() {
        [] => target(plugin, parameter, by_metric, notes),
        [(path, node), rest @ ..] => {
            if !rest.is_empty() {
                let text = format!(
                    "`{}` has {} connections, but a writer has one target",
                    parameter.path("connection"),
                    nested.len()
                );
                parameter.fault("connection", Wrong::Form, text, Some("write a content for each".to_owned()));
            }
            let open = Fields::of(node, path.clone(), parameter.faults()).map(|fields| {
                let found = target(plugin, &fields, by_metric, notes);
                fields.finish();
                found
            });
            open.unwrap_or_default()
        }
    };
    if let (Some(user), Some(found)) = (user, dsn.take()) {
        let found = found.with_user(user);
        dsn = Some(match password.filter(|password| !password.is_empty()) {
            Some(password) => found.with_password(Secret::from(password)),
            None => found,
        });
    }
    let table = tables.into_iter().next();
    let columns: Vec<_> = parameter
        .texts("column")
        .unwrap_or_default()
        .into_iter()
        .map(|name| plain_name(name.trim()))
        .filter(|name| !name.is_empty())
        .collect();
    if columns.is_empty() && !by_metric {
        parameter.missing_unless_there("column", "the columns of the table, in the order of the reader's");
    } else if by_metric && !columns.is_empty() {
        notes.push(format!(
            "`{}` is ignored: each metric is a table of k_timestamp and value",
            parameter.path("column")
        ));
    }
    let mode = mode(plugin, parameter);
    let statements = |key: &'static str| -> Vec<String> {
        let texts = parameter.texts(key).unwrap_or_default();
        let filled = texts.into_iter().map(str::trim).filter(|text| !text.is_empty());
        // The tool's own placeholder.
        filled
            .map(|text| {
                table.as_deref().map_or_else(|| text.to_owned(), |table| text.replace("@table", table))
            })
            .collect()
    };
    let (pre_sql, post_sql) = (statements("preSql"), statements("postSql"));
    let batch: Option<usize> = parameter.whole("batchSize", 1..=100_000, true);
    let batch_bytes = parameter.whole("batchByteSize", 1..=usize::MAX, false);
    let columns_place = parameter.get("column").map(|node| node.place.clone());
    if parameter.faults().len() > before {
        return None;
    }
    let mut sink = dsn?;
    if let Some(table) = table.filter(|_| !by_metric) {
        sink = with_table(sink, &table);
    }
    sink = sink.with_param("mode", Some(mode.to_owned()));
    sink = sink.with_param("create", Some(if by_metric { "missing" } else { "never" }.to_owned()));
    let mut batch_rows = batch;
    if let (Family::Kaiwudb, Some(rows)) = (plugin.family, batch) {
        // It bounds one statement; larger batches on the way there cost nothing.
        sink = sink.with_param("statement_rows", Some(rows.to_string()));
        batch_rows = None;
    } else if let (Family::Tdengine, Some(rows)) = (plugin.family, batch) {
        sink = sink.with_param("batch-size", Some(rows.to_string()));
        batch_rows = None;
    }
    Some(Written {
        sink,
        columns: if by_metric { Vec::new() } else { columns },
        columns_path: parameter.path("column"),
        columns_place,
        pre_sql,
        post_sql,
        batch_rows,
        batch_bytes,
    })
}

/// The address and the tables, of which there must be one.
fn target(
    plugin: &Plugin,
    fields: &Fields<'_>,
    by_metric: bool,
    notes: &mut Vec<String>,
) -> (Option<Dsn>, Vec<String>) {
    let dsn = reader::address_of(plugin, fields, false, notes);
    let texts = fields.texts("table").unwrap_or_default();
    let tables: Vec<_> =
        texts.into_iter().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()).collect();
    if tables.len() > 1 {
        let text = format!(
            "`{}` has {} tables ({}), but a writer writes one",
            fields.path("table"),
            tables.len(),
            tables.join(", ")
        );
        fields.fault("table", Wrong::Form, text, Some("write a content for each table".to_owned()));
    } else if tables.is_empty() && !by_metric {
        if fields.has("table") {
            fields.fault(
                "table",
                Wrong::Missing,
                format!("`{}` is empty", fields.path("table")),
                Some("name the table to write".to_owned()),
            );
        } else {
            fields.missing("table", "the table to write");
        }
    }
    (dsn, tables)
}

fn mode(plugin: &Plugin, parameter: &Fields<'_>) -> &'static str {
    let words: &[(&str, &'static str)] = match plugin.driver {
        "mysql" => &[
            ("insert", "insert"),
            ("replace", "replace"),
            ("update", "upsert"),
            ("insert ignore", "insert-ignore"),
        ],
        "taos" => &[("insert", "insert")],
        _ => &[("insert", "insert"), ("update", "upsert")],
    };
    let wanted = words.iter().map(|(word, _)| word.to_uppercase()).collect::<Vec<_>>().join(", ");
    let chosen = parameter.parsed("writeMode", &format!("one of {wanted}"), |text| {
        words.iter().find(|(word, _)| word.eq_ignore_ascii_case(text)).map(|(_, mode)| *mode)
    });
    chosen.unwrap_or("insert")
}

/// `schema.table` as SQL writes it, with quotes or without. A schema that is the database itself says nothing.
fn with_table(sink: Dsn, text: &str) -> Dsn {
    let mut parts = Vec::new();
    let (mut part, mut quote) = (String::new(), None);
    for c in text.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '`') => quote = Some(c),
            (None, '.') => parts.push(std::mem::take(&mut part)),
            (_, c) => part.push(c),
        }
    }
    parts.push(part);
    let table = parts.pop().unwrap_or_default();
    let schema = parts.pop().filter(|schema| Some(schema.as_str()) != sink.object());
    let sink = match schema {
        Some(schema) => sink.with_param("schema", Some(schema)),
        None => sink,
    };
    sink.with_param("table", Some(table))
}

/// A column without the quotes of SQL.
fn plain_name(name: &str) -> String {
    for quote in ['"', '`'] {
        if let Some(inner) = name.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)) {
            return inner.to_owned();
        }
    }
    name.to_owned()
}
