//! Sessions: connecting, the catalog, and what errors mean.

use std::collections::BTreeMap;

use arrow_odbc::odbc_api::{
    Connection, ConnectionOptions, Cursor, Environment, Error as OdbcError, environment,
};
use kwsync_core::{Error, ErrorKind, Result, Retry, classify_sqlstate};

use super::config::{ConnectionString, OdbcSourceOptions};
use super::dialect::{Dialect, Server};

/// A session, which stays on the thread that opened it.
pub(super) struct Session {
    pub(super) connection: Connection<'static>,
    pub(super) dialect: Dialect,
    told: Told,
}

/// What messages are made from.
#[derive(Clone, Debug)]
pub(super) struct Told(ConnectionString);

/// A table as the catalog has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) catalog: Option<String>,
    /// The schema; MySQL's database.
    pub(super) schema: Option<String>,
    pub(super) name: String,
    pub(super) view: bool,
}

/// What the catalog says of a column.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) type_name: String,
    pub(super) nullable: bool,
    pub(super) comment: Option<String>,
}

fn drivers() -> Result<&'static Environment> {
    environment().map_err(|error| {
        Error::new(ErrorKind::Unsupported, "the ODBC driver manager cannot be used")
            .with_source(error)
            .with_hint("install unixODBC")
    })
}

impl Session {
    pub(super) fn open(options: &OdbcSourceOptions) -> Result<Self> {
        let told = Told(options.connection.clone());
        let seconds = u32::try_from(options.connect_timeout.as_secs()).unwrap_or(u32::MAX).max(1);
        let settings = ConnectionOptions { login_timeout_sec: Some(seconds), ..ConnectionOptions::default() };
        let connection = drivers()?
            .connect_with_connection_string(options.connection.text.expose(), settings)
            .map_err(|error| {
                let made = told.error(error);
                let lacks = matches!(made.code(), Some("IM002" | "IM003" | "01000"));
                let made = if lacks { made.with_hint(installed()) } else { made };
                made.context(format!("cannot connect to {}", options.connection.place))
            })?;
        let name = connection.database_management_system_name().map_err(|error| told.error(error))?;
        let quote = connection.identifier_quote_char().ok().flatten();
        let session = Self { connection, dialect: Dialect::of(&name, quote), told };
        for sql in session.dialect.begin() {
            session.connection.execute(sql, (), None).map_err(|error| session.error(error))?;
        }
        Ok(session)
    }

    pub(super) fn error(&self, error: OdbcError) -> Error {
        self.told.error(error)
    }

    pub(super) fn told(&self) -> Told {
        self.told.clone()
    }

    /// The rows of a short result, as texts.
    pub(super) fn texts(&self, sql: &str) -> Result<Vec<Vec<Option<String>>>> {
        let cursor = self.connection.execute(sql, (), None).map_err(|error| self.error(error))?;
        match cursor {
            Some(cursor) => self.rows(cursor),
            None => Ok(Vec::new()),
        }
    }

    fn rows(&self, mut cursor: impl Cursor) -> Result<Vec<Vec<Option<String>>>> {
        let columns = cursor.num_result_cols().map_err(|error| self.error(error))?;
        let mut rows = Vec::new();
        let mut buffer = Vec::new();
        while let Some(mut row) = cursor.next_row().map_err(|error| self.error(error))? {
            let mut texts = Vec::new();
            for at in 1..=columns.max(0) as u16 {
                let is = row.get_wide_text(at, &mut buffer).map_err(|error| self.error(error))?;
                texts.push(is.then(|| String::from_utf16_lossy(&buffer)));
            }
            rows.push(texts);
        }
        Ok(rows)
    }

    /// All tables and views that the session sees, but for the server's own.
    pub(super) fn tables(&self) -> Result<Vec<Found>> {
        let statement = self.connection.preallocate().map_err(|error| self.error(error))?;
        let cursor =
            statement.into_tables_cursor("", "", "", "TABLE,VIEW").map_err(|error| self.error(error))?;
        let own =
            ["information_schema", "pg_catalog", "pg_toast", "sys", "mysql", "performance_schema", "system"];
        let mut found = Vec::new();
        for row in self.rows(cursor)? {
            let part = |at: usize| row.get(at).cloned().flatten().filter(|text| !text.is_empty());
            let (catalog, schema, kind) = (part(0), part(1), part(3).unwrap_or_default());
            // MySQL's databases are catalogs to ODBC.
            let schema = if self.dialect.server == Server::MySql { catalog.clone() } else { schema };
            let Some(name) = part(2) else { continue };
            let system =
                schema.as_ref().is_some_and(|schema| own.contains(&schema.to_ascii_lowercase().as_str()));
            if !system && !name.starts_with("sqlite_") {
                found.push(Found { catalog, schema, name, view: kind.contains("VIEW") });
            }
        }
        Ok(found)
    }

    /// The schema of tables that are named without one; none where all are looked through.
    pub(super) fn default_schema(&self) -> Option<String> {
        let one = |sql: &str| self.texts(sql).ok()?.into_iter().next()?.into_iter().next()?;
        match self.dialect.server {
            Server::PostgreSql => one("SELECT current_schema()"),
            Server::MySql => one("SELECT DATABASE()"),
            Server::MsSql => one("SELECT SCHEMA_NAME()"),
            Server::Oracle => one("SELECT SYS_CONTEXT('USERENV', 'CURRENT_SCHEMA') FROM DUAL"),
            Server::Sqlite | Server::Other => None,
        }
    }

    /// The columns of a table by name.
    pub(super) fn columns(&self, table: &Found) -> Result<BTreeMap<String, Known>> {
        let statement = self.connection.preallocate().map_err(|error| self.error(error))?;
        let (catalog, schema) = self.place(table);
        // Names are patterns there; the rows say which table they are of.
        let cursor = statement
            .into_columns_cursor(catalog.unwrap_or_default(), schema.unwrap_or_default(), &table.name, "")
            .map_err(|error| self.error(error))?;
        let mut columns = BTreeMap::new();
        for row in self.rows(cursor)? {
            let part = |at: usize| row.get(at).cloned().flatten();
            let (Some(of), Some(name)) = (part(2), part(3)) else { continue };
            if of != table.name || schema.is_some_and(|schema| part(1).as_deref() != Some(schema)) {
                continue;
            }
            columns.insert(
                name,
                Known {
                    type_name: part(5).unwrap_or_default(),
                    // 0: no nulls.
                    nullable: part(10).as_deref().map(str::trim) != Some("0"),
                    comment: part(11).filter(|text| !text.is_empty()),
                },
            );
        }
        Ok(columns)
    }

    /// The columns of a table's primary key in order; none where it has none, or the driver does not tell.
    pub(super) fn key(&self, table: &Found) -> Vec<String> {
        let text = |text: Option<&str>| self.dialect.text(text.unwrap_or_default());
        let name = text(Some(&table.name));
        // Of these the drivers give the columns in another order.
        let own = match self.dialect.server {
            Server::MySql => Some(format!(
                "SELECT COLUMN_NAME FROM information_schema.KEY_COLUMN_USAGE WHERE CONSTRAINT_NAME = 'PRIMARY' \
                 AND TABLE_SCHEMA = {} AND TABLE_NAME = {name} ORDER BY ORDINAL_POSITION",
                text(table.schema.as_deref())
            )),
            Server::Sqlite => {
                Some(format!("SELECT name FROM pragma_table_info({name}) WHERE pk > 0 ORDER BY pk"))
            }
            _ => None,
        };
        if let Some(sql) = own {
            let rows = self.texts(&sql).unwrap_or_default();
            return rows.into_iter().filter_map(|row| row.into_iter().next().flatten()).collect();
        }
        let Ok(statement) = self.connection.preallocate() else { return Vec::new() };
        let (catalog, schema) = self.place(table);
        let Ok(cursor) = statement.into_primary_keys_cursor(catalog, schema, &table.name) else {
            return Vec::new();
        };
        let Ok(rows) = self.rows(cursor) else { return Vec::new() };
        let mut parts: Vec<(i32, String)> = rows
            .iter()
            .filter_map(|row| {
                let at = row.get(4)?.as_ref()?.trim().parse().ok()?;
                Some((at, row.get(3)?.clone()?))
            })
            .collect();
        parts.sort();
        parts.into_iter().map(|(_, name)| name).collect()
    }

    /// The catalog and the schema of a table as ODBC has them.
    fn place<'a>(&self, table: &'a Found) -> (Option<&'a str>, Option<&'a str>) {
        match self.dialect.server {
            Server::MySql => (table.catalog.as_deref(), None),
            _ => (None, table.schema.as_deref()),
        }
    }
}

/// The drivers of this machine, as a hint.
fn installed() -> String {
    let names: Vec<String> = drivers()
        .ok()
        .and_then(|environment| environment.drivers().ok())
        .map(|drivers| drivers.into_iter().map(|driver| driver.description).collect())
        .unwrap_or_default();
    match names.is_empty() {
        true => "no ODBC driver is installed here (odbcinst -q -d)".to_owned(),
        false => format!("installed here are: {}", names.join(", ")),
    }
}

impl Told {
    /// What an error of a driver means.
    pub(super) fn error(&self, error: OdbcError) -> Error {
        let OdbcError::Diagnostics { record, .. } = &error else {
            // Its text has none of the connection string.
            return Error::new(ErrorKind::Protocol, self.clean(&error.to_string()));
        };
        let state = record.state.as_str().to_owned();
        let all = record.to_string();
        let message = all.split_once("Message: ").map_or(all.as_str(), |(_, message)| message);
        let (kind, hint) = kind(&state, record.native_error, message);
        let mut made = Error::new(kind, self.clean(message.trim())).with_code(state);
        if kind == ErrorKind::Server {
            made = made.with_retry(Retry::Never);
        }
        if !hint.is_empty() {
            made = made.with_hint(hint);
        }
        made
    }

    /// A message without the password, which some drivers quote.
    fn clean(&self, message: &str) -> String {
        let password = self.0.password.as_ref().map(|password| password.expose()).unwrap_or_default();
        let given = self.0.text.expose();
        let message = if password.len() > 2 { message.replace(password, "***") } else { message.to_owned() };
        if given.len() > 2 { message.replace(given, "***") } else { message }
    }
}

/// Whose fault it is. Drivers say `HY000` for much, so some are told by the server's own number or words.
fn kind(state: &str, native: i32, message: &str) -> (ErrorKind, &'static str) {
    use ErrorKind as K;
    let lower = message.to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    match state {
        "IM002" | "IM003" | "IM004" | "IM005" => return (K::Config, ""),
        "01000" if has(&["can't open lib"]) => return (K::Config, ""),
        "HYT00" | "HYT01" => {
            return (K::Timeout, "check host and port, and whether a firewall stands between");
        }
        "28000" | "28P01" => {
            return (K::Auth, "check the user and the password; a password is best given as ${VARIABLE}");
        }
        "42S02" => return (K::NotFound, "check schema and name of the table; case may count"),
        "HY008" => return (K::Cancelled, ""),
        _ => {}
    }
    if has(&["password authentication failed", "access denied for user", "login failed", "ora-01017"]) {
        return (K::Auth, "check the user and the password; a password is best given as ${VARIABLE}");
    }
    if has(&["permission denied", "command denied", "ora-01031", "permission was denied"])
        || matches!(native, 1142 | 1143)
    {
        return (K::Permission, "grant the user the right it needs");
    }
    if has(&["no such table", "ora-00942", "invalid object name", "does not exist"]) && !has(&["column"]) {
        return (K::NotFound, "check schema and name of the table; case may count");
    }
    let lost = [
        "server closed the connection",
        "terminating connection",
        "connection is dead",
        "no connection to the server",
        "server has gone away",
        "lost connection",
        "could not connect",
        "can't connect",
        "connection refused",
        "communication link failure",
        "shutting down",
        "starting up",
    ];
    if has(&lost) || matches!(native, 1053 | 1927 | 2002 | 2003 | 2006 | 2013) || state.starts_with("08") {
        return (K::Unavailable, "the server went away, or does not answer");
    }
    match classify_sqlstate(state).1 {
        // A fault of a value in a SELECT is the statement's.
        K::Data => (K::Schema, ""),
        kind => (kind, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drivers_errors_are_told_apart() {
        for (state, native, message, expected) in [
            ("IM002", 0, "Data source name not found", ErrorKind::Config),
            ("28000", 1045, "Access denied for user 'me'", ErrorKind::Auth),
            ("08001", 101, "FATAL: password authentication failed for user", ErrorKind::Auth),
            ("42S02", 1146, "Table 'a.b' doesn't exist", ErrorKind::NotFound),
            ("HY000", 1, "no such table: x", ErrorKind::NotFound),
            ("42P01", 1, "ERROR: relation \"x\" does not exist", ErrorKind::NotFound),
            ("42501", 1, "ERROR: permission denied for table t", ErrorKind::Permission),
            ("42000", 1142, "SELECT command denied to user", ErrorKind::Permission),
            ("08S01", 0, "Communication link failure", ErrorKind::Unavailable),
            ("HY000", 2013, "Lost connection to server during query", ErrorKind::Unavailable),
            (
                "57P01",
                0,
                "FATAL: terminating connection due to administrator command",
                ErrorKind::Unavailable,
            ),
            ("40001", 1205, "Transaction was deadlocked", ErrorKind::Conflict),
            ("42S22", 207, "Invalid column name 'x'", ErrorKind::Schema),
            ("22003", 0, "Arithmetic overflow", ErrorKind::Schema),
            ("HY000", 9, "something else", ErrorKind::Server),
        ] {
            assert_eq!(kind(state, native, message).0, expected, "{state} {message}");
        }
    }
}
