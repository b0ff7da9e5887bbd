//! What a reader reads.

use super::jdbc;
use super::plugin::{self, Family, Plugin, READERS};
use super::stores;
use crate::config::{Dsn, Secret};
use crate::spec::document::{Fields, Wrong};
use crate::spec::time;

/// The sources of one reader and the columns that they have.
pub(super) struct Read {
    /// One for each connection, or for each query of it.
    pub(super) sources: Vec<Dsn>,
    /// The columns by position, each with its name where that is known; `None` where even their number is not.
    pub(super) columns: Option<Vec<Option<String>>>,
    /// What the columns are read by, for sources that take expressions.
    pub(super) expressions: Vec<String>,
    /// The quotes of names in expressions.
    pub(super) quote: char,
    /// Whether columns have to be named by their positions, though their names look right.
    pub(super) by_position: bool,
    pub(super) family: Family,
}

/// Keys that tune the tool's own way of reading.
const IGNORED: [&str; 6] = ["fetchSize", "mandatoryEncoding", "session", "hint", "encoding", "checkSlave"];

pub(super) fn read(fields: Fields<'_>, notes: &mut Vec<String>) -> Option<Read> {
    let (plugin, parameter) = plugin::open(fields, &READERS, "reader")?;
    for key in IGNORED {
        if parameter.get(key).is_some() {
            notes.push(format!("`{}` is ignored: it has no counterpart here", parameter.path(key)));
        }
    }
    let read = match plugin.family {
        Family::Sql | Family::Tdengine | Family::Kaiwudb => sql(plugin, &parameter, notes),
        Family::MongoDb => stores::mongo(&parameter),
        Family::InfluxDb => stores::influx(plugin, &parameter, notes),
        Family::OpenTsdb => stores::opentsdb(&parameter, notes),
    };
    parameter.finish();
    read
}

/// One connection of a database: where it is, and what is read there.
struct Connection {
    dsn: Option<Dsn>,
    tables: Vec<String>,
    queries: Vec<String>,
}

fn sql(plugin: &Plugin, parameter: &Fields<'_>, notes: &mut Vec<String>) -> Option<Read> {
    let before = parameter.faults().len();
    let (user, password) = login(parameter);
    let connections = connections(plugin, parameter, notes);
    let columns = column_texts(parameter);
    let filter = parameter.filled("where");
    let split_by = parameter.filled("splitPk");
    let by_query = connections.iter().any(|connection| !connection.queries.is_empty());

    let mut own: Vec<(&str, String)> = Vec::new();
    if plugin.family == Family::Kaiwudb {
        own = windows(parameter, by_query, notes);
    } else if plugin.family == Family::Tdengine {
        for (key, name) in
            [("beginDateTime", "begin"), ("endDateTime", "end"), ("splitInterval", "split_interval")]
        {
            if let Some(text) = parameter.filled(key) {
                own.push((name, text.to_owned()));
            }
        }
    }
    let tables: usize = connections.iter().map(|connection| connection.tables.len()).sum();
    if !by_query {
        if columns.is_empty() {
            parameter.missing_unless_there(
                "column",
                "the columns to read, in the order of the writer's; all: [\"*\"]",
            );
        }
        if tables == 0 && !parameter.has("connection") {
            parameter.missing_unless_there("table", "the table to read");
        }
        if plugin.family == Family::Kaiwudb && tables > 1 {
            parameter.fault(
                "table",
                Wrong::Form,
                format!("`{}` has {tables} tables, but {} reads one", parameter.path("table"), plugin.name),
                Some("write a content for each table".to_owned()),
            );
        } else if tables > 1 {
            notes.push(format!("the rows of {tables} tables go into one"));
        }
    } else {
        let ignored: Vec<_> = [
            ("table", tables > 0),
            ("column", !columns.is_empty()),
            ("where", filter.is_some()),
            ("splitPk", split_by.is_some()),
        ]
        .into_iter()
        .filter_map(|(key, given)| given.then_some(key))
        .collect();
        if !ignored.is_empty() {
            notes.push(format!("{} ignored: `querySql` wins", ignored.join(", ")));
        }
    }
    let mut sources = Vec::new();
    for connection in connections {
        let Some(mut dsn) = connection.dsn else { continue };
        if let Some(user) = user {
            dsn = dsn.with_user(user);
        }
        if let Some(password) = password {
            dsn = dsn.with_password(Secret::from(password));
        }
        if by_query {
            sources.extend(
                connection.queries.into_iter().map(|query| dsn.clone().with_param("query", Some(query))),
            );
            continue;
        }
        dsn = dsn.with_param("tables", Some(connection.tables.join(",")));
        for (name, value) in [("where", filter), ("split_by", split_by)] {
            if let Some(value) = value {
                dsn = dsn.with_param(name, Some(value.to_owned()));
            }
        }
        for (name, value) in &own {
            dsn = dsn.with_param(*name, Some(value.clone()));
        }
        sources.push(dsn);
    }
    if parameter.faults().len() > before {
        return None;
    }
    let names = columns.iter().map(|column| output_name(column)).collect();
    let by_name = !by_query && columns != ["*"];
    Some(Read {
        sources,
        columns: (!by_query).then_some(names),
        expressions: if by_name { columns } else { Vec::new() },
        quote: if matches!(plugin.driver, "mysql" | "taos") { '`' } else { '"' },
        by_position: by_query,
        family: plugin.family,
    })
}

impl Read {
    /// Adds the columns to the sources. An expression without a name gets that of the column which it goes to, and so does
    /// one whose name stands twice; the server would find names of its own.
    pub(super) fn with_columns(mut self, targets: &[String]) -> Self {
        if self.expressions.is_empty() {
            return self;
        }
        let names = self.columns.get_or_insert_default();
        if targets.len() == names.len()
            && targets != ["*"]
            && !names.iter().any(|name| name.as_deref() == Some("*"))
        {
            for (at, target) in targets.iter().enumerate() {
                let known = names.get(at).cloned().flatten();
                let twice = known.is_some() && names.iter().skip(at + 1).any(|other| *other == known);
                let unclear =
                    known.is_none() && self.expressions.get(at).is_none_or(|text| may_be_named(text));
                if (known.is_some() && !twice) || unclear {
                    continue;
                }
                if let (Some(expression), Some(name)) = (self.expressions.get_mut(at), names.get_mut(at)) {
                    let quote = self.quote;
                    let doubled = target.replace(quote, &format!("{quote}{quote}"));
                    let plain = unaliased(expression).to_owned();
                    *expression = format!("{plain} as {quote}{doubled}{quote}");
                    *name = Some(target.clone());
                }
            }
        }
        let list = column_list(&self.expressions);
        self.sources =
            self.sources.into_iter().map(|dsn| dsn.with_param("columns", Some(list.clone()))).collect();
        self
    }
}

/// Whether the last word of an expression may be its name, as in `usage u`, for which `as` is not needed.
fn may_be_named(expression: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let before = expression.trim_end_matches(is_word);
    let word = expression.get(before.len()..).unwrap_or_default();
    let ends = |c: char| is_word(c) || matches!(c, ')' | '\'' | '"' | '`');
    let stands_apart = before.ends_with(char::is_whitespace) && before.trim_end().ends_with(ends);
    !word.is_empty() && stands_apart && !["end", "null"].iter().any(|known| word.eq_ignore_ascii_case(known))
}

/// An expression without the name that it gives itself.
fn unaliased(expression: &str) -> &str {
    let named = output_name(expression).is_some();
    let at = expression.to_ascii_lowercase().rfind(" as ").filter(|_| named);
    at.and_then(|at| expression.get(..at)).unwrap_or(expression)
}

fn login<'a>(parameter: &Fields<'a>) -> (Option<&'a str>, Option<&'a str>) {
    let user = parameter.required("username", "the user of the database");
    // An empty one is fine: servers may let anybody in.
    let password = parameter.text("password");
    if password.is_none() {
        parameter.missing_unless_there("password", "the user's password");
    }
    (user, password.filter(|password| !password.is_empty()))
}

/// The connections of both shapes: `connection` with lists, or everything beside each other.
fn connections(plugin: &Plugin, parameter: &Fields<'_>, notes: &mut Vec<String>) -> Vec<Connection> {
    let nested = parameter.items("connection");
    let flat = ["jdbcUrl", "table", "querySql"].into_iter().find(|key| parameter.has(key));
    if nested.is_empty() {
        return vec![connection(plugin, parameter, notes)];
    }
    if let Some(key) = flat {
        // They are known keys, only not here.
        for key in ["jdbcUrl", "table", "querySql"] {
            parameter.get(key);
        }
        let text = format!("`{}` stands beside `connection`, which has its own", parameter.path(key));
        parameter.fault(key, Wrong::Form, text, Some(format!("keep `{key}` in one of the two places")));
    }
    let open = |(path, node): (String, &_)| {
        let fields = Fields::of(node, path, parameter.faults())?;
        let connection = connection(plugin, &fields, notes);
        fields.finish();
        Some(connection)
    };
    nested.into_iter().filter_map(open).collect()
}

fn connection(plugin: &Plugin, fields: &Fields<'_>, notes: &mut Vec<String>) -> Connection {
    let filled = |key| -> Vec<String> {
        let texts = fields.texts(key).unwrap_or_default();
        texts
            .into_iter()
            .map(|text| text.trim().trim_end_matches(';').to_owned())
            .filter(|text| !text.is_empty())
            .collect()
    };
    let (tables, queries) = (filled("table"), filled("querySql"));
    Connection { dsn: address_of(plugin, fields, true, notes), tables, queries }
}

/// The address in `jdbcUrl`. Of several, the first that answers is meant: their hosts are tried in order.
pub(super) fn address_of(
    plugin: &Plugin,
    fields: &Fields<'_>,
    reads: bool,
    notes: &mut Vec<String>,
) -> Option<Dsn> {
    let example = format!("jdbc:{}://HOST:{}/DATABASE", plugin.jdbc, plugin.port);
    let texts = fields.texts("jdbcUrl").unwrap_or_default();
    let mut found: Option<Dsn> = None;
    for text in texts.into_iter().filter(|text| !text.trim().is_empty()) {
        let dsn = match address(plugin, text) {
            Ok(dsn) => dsn,
            Err((message, hint)) => {
                let text = format!("`{}`: {message}", fields.path("jdbcUrl"));
                fields.fault(
                    "jdbcUrl",
                    Wrong::Value,
                    text,
                    Some(hint.unwrap_or_else(|| format!("write {example}"))),
                );
                return None;
            }
        };
        found = Some(match found {
            None => dsn,
            Some(first)
                if first.clone().with_hosts([]).canonical() == dsn.clone().with_hosts([]).canonical() =>
            {
                let hosts: Vec<_> = first.hosts().iter().chain(dsn.hosts()).cloned().collect();
                first.with_hosts(hosts)
            }
            Some(first) => {
                notes.push(format!(
                    "of the addresses in `{}` only the first is used: they differ in more than the host",
                    fields.path("jdbcUrl")
                ));
                first
            }
        });
    }
    if found.is_none() && !fields.has("jdbcUrl") {
        fields.missing("jdbcUrl", &format!("the address, as {example}"));
    } else if found.is_none() {
        fields.fault(
            "jdbcUrl",
            Wrong::Missing,
            format!("`{}` is empty", fields.path("jdbcUrl")),
            Some(format!("write {example}")),
        );
    }
    found.map(|dsn| jdbc::carry_over(plugin, dsn, reads, notes))
}

fn address(plugin: &Plugin, text: &str) -> Result<Dsn, (String, Option<String>)> {
    // Not among the addresses of JDBC that are addresses here, too.
    let others = ["oracle", "sqlserver", "clickhouse"];
    if others.contains(&plugin.jdbc) {
        return foreign(plugin, text).ok_or_else(|| (format!("no address of {}", plugin.name), None));
    }
    let dsn: Dsn = text
        .parse()
        .map_err(|error: crate::Error| (error.message().to_owned(), error.hint().map(str::to_owned)))?;
    let expected = match plugin.jdbc {
        "postgresql" => "postgresql",
        "TAOS-RS" => "taos",
        other => other,
    };
    let own = text.trim_start().get(..5).is_some_and(|start| start.eq_ignore_ascii_case("jdbc:"));
    if !own || dsn.driver() != expected {
        return Err((
            format!("{} takes jdbc:{}://, and this is `{}`", plugin.name, plugin.jdbc, dsn.driver()),
            None,
        ));
    }
    if dsn.hosts().is_empty() {
        return Err(("the address has no host".to_owned(), None));
    }
    let protocol = dsn.protocol().map(str::to_owned);
    Ok(dsn.with_driver(plugin.driver, protocol.as_deref()))
}

/// `jdbc:oracle:thin:@//host:port/service`, `jdbc:oracle:thin:@host:port:sid`, `jdbc:sqlserver://host:port;DatabaseName=x`,
/// `jdbc:clickhouse://host:port/db`.
fn foreign(plugin: &Plugin, text: &str) -> Option<Dsn> {
    let rest = text.trim().strip_prefix("jdbc:")?.strip_prefix(plugin.jdbc)?;
    let rest = rest.strip_prefix(":thin:@").or_else(|| rest.strip_prefix(':'))?;
    let rest = rest.strip_prefix("//").unwrap_or(rest);
    let rest = match plugin.jdbc {
        "sqlserver" => {
            let mut parts = rest.split(';').filter(|part| !part.is_empty());
            let host = parts.next()?;
            let (database, others): (Vec<_>, Vec<_>) = parts
                .filter_map(|part| part.split_once('='))
                .partition(|(name, _)| name.eq_ignore_ascii_case("databaseName"));
            let query: Vec<_> = others.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let database = database.first().map_or("", |(_, value)| value);
            format!("{host}/{database}?{}", query.join("&"))
        }
        "oracle" if !rest.contains('/') => {
            let (host, sid) = rest.rsplit_once(':')?;
            format!("{host}/?sid={sid}")
        }
        _ => rest.to_owned(),
    };
    format!("{}://{rest}", plugin.driver).parse().ok()
}

/// The windows of time of KaiwuDB's reader.
fn windows(parameter: &Fields<'_>, by_query: bool, notes: &mut Vec<String>) -> Vec<(&'static str, String)> {
    let column = parameter.filled("tsColumn");
    let interval = parameter.whole("splitIntervalS", 1..=u64::from(u32::MAX), true);
    let mut bound = |names: [&'static str; 2]| {
        let (key, node) = parameter.either(&names)?;
        let text = node.scalar().filter(|text| !text.trim().is_empty());
        let Some(text) = text else {
            if node.scalar().is_none() {
                parameter.fault(key, Wrong::Value, format!("`{}` takes one text", parameter.path(key)), None);
            }
            return None;
        };
        match time::normal(text) {
            Some((normal, mended)) => {
                if mended {
                    notes.push(format!(
                        "`{}` is read as {normal}: three digits stand where seconds belong",
                        parameter.path(key)
                    ));
                }
                Some((key, normal))
            }
            None => {
                let text = format!(
                    "`{}` takes a time such as 2024-05-01 10:00:00, and {text:?} is none",
                    parameter.path(key)
                );
                parameter.fault(key, Wrong::Value, text, None);
                None
            }
        }
    };
    let begin = bound(["beginDateTime", "beginTime"]);
    let end = bound(["endDateTime", "endTime"]);
    if by_query {
        if column.is_some() || begin.is_some() || end.is_some() || interval.is_some() {
            notes.push(
                "tsColumn, beginDateTime, endDateTime, splitIntervalS ignored: `querySql` wins".to_owned(),
            );
        }
        return Vec::new();
    }
    if let (Some((_, begin)), Some((key, end))) = (&begin, &end)
        && time::is_comparable(begin, end)
        && end <= begin
    {
        let text = format!("`{}` ({end}) is not after the begin ({begin})", parameter.path(key));
        parameter.fault(
            key,
            Wrong::Value,
            text,
            Some("the window is from the begin up to, but without, the end".to_owned()),
        );
    }
    if column.is_none() && (begin.is_some() || end.is_some() || interval.is_some()) {
        parameter.missing("tsColumn", "the column of the times that beginDateTime and endDateTime are about");
    }
    let mut own: Vec<(&'static str, String)> = Vec::new();
    own.extend(column.map(|column| ("ts_column", column.to_owned())));
    own.extend(begin.map(|(_, begin)| ("begin", begin)));
    own.extend(end.map(|(_, end)| ("end", end)));
    own.extend(interval.map(|seconds| ("split_interval_s", seconds.to_string())));
    own
}

/// The columns as they are written: names and expressions.
pub(super) fn column_texts(parameter: &Fields<'_>) -> Vec<String> {
    let texts = parameter.texts("column").unwrap_or_default();
    texts.into_iter().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()).collect()
}

/// Columns between commas; commas within brackets and quotes are their own.
pub(super) fn column_list(columns: &[String]) -> String {
    columns.join(",")
}

/// What a column of a query is called: itself, or what stands behind its last `as`. `None` where only the server knows.
pub(super) fn output_name(column: &str) -> Option<String> {
    let unquoted = |name: &str| {
        let name = name.trim();
        let quoted = |quote: char| name.strip_prefix(quote).and_then(|inner| inner.strip_suffix(quote));
        let inner = quoted('"').or_else(|| quoted('`'));
        if let Some(inner) = inner {
            return (!inner.contains(['"', '`'])).then(|| inner.to_owned());
        }
        let plain = name == "*" || name.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '$');
        let literal = ["null", "true", "false"].iter().any(|known| name.eq_ignore_ascii_case(known));
        (plain && !literal && !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit()))
            .then(|| name.to_owned())
    };
    let folded = column.to_ascii_lowercase();
    match folded.rfind(" as ") {
        Some(at) => column.get(at + 4..).and_then(unquoted),
        None => unquoted(column),
    }
}
