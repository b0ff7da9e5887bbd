//! The parameters of the ODBC source, and the connection string that they make.

use std::fmt;
use std::time::Duration;

use kwsync_core::config::{Dsn, Param, Params, Secret};
use kwsync_core::{Error, Result};

use crate::relational::{Pattern, items};

/// The parameters.
pub static PARAMS: &[Param] = &[
    Param::text("driver", "the driver's name, as `odbcinst -q -d` lists it; default for sqlserver: ODBC Driver 18 for SQL Server"),
    Param::text("dsn", "a data source of odbc.ini, in place of driver and host"),
    Param::text("options", "more of the connection string, KEY=VALUE;KEY=VALUE; it wins over what the address says").secret(),
    Param::text("sid", "Oracle: the SID, in place of the service in the path"),
    Param::choice("encrypt", &["true", "false", "strict"], "SQL Server: whether the connection is encrypted"),
    Param::flag("trustServerCertificate", "SQL Server: take any certificate").with_aliases(&["trust_server_certificate"]),
    Param::list("tables", "the tables: TABLE, SCHEMA.TABLE, patterns with *; quote a part that holds a dot")
        .with_aliases(&["table"]),
    Param::list("exclude", "tables to leave out, as tables="),
    Param::text("columns", "expressions between commas, such as id,9001 as site; default: all columns")
        .with_aliases(&["column"]),
    Param::text("where", "a condition that the rows fulfil"),
    Param::text("query", "a statement whose rows are read instead of tables; table= names their table then")
        .with_aliases(&["querySql", "query_sql"]),
    Param::text(
        "split_by",
        "the column of numbers by which rows are cut; of a query or view one whose values are distinct",
    )
    .with_aliases(&["splitPk", "split_pk"]),
    Param::int("splits", 1, 100_000, "into how many pieces each table is cut; default: by the range of its key and the lanes"),
    Param::choice(
        "types",
        &["default", "dts"],
        "what SQL Server's columns become; dts: as Alibaba's Data Transmission Service has it, char(n) for varchar(n)",
    )
    .with_default("default"),
    Param::choice(
        "timestamp_unit",
        &["auto", "us", "ns"],
        "what times of more than six digits of the second become; auto: ns, which spans the years 1678 to 2261",
    )
    .with_default("auto"),
    Param::choice(
        "fetch",
        &["auto", "blocks", "rows"],
        "how rows come: many at once, or one by one, which takes values of any length; auto: by the columns",
    )
    .with_default("auto"),
    Param::int("batch_rows", 1, 1 << 20, "most rows of a batch")
        .with_default("16384")
        .with_aliases(&["fetchSize", "fetch_size"]),
    Param::size("batch_size", "most bytes of a batch, about").with_default("8MiB"),
    Param::duration("connect_timeout", Duration::from_secs(1), "how long connecting may take").with_default("10s"),
];

/// What SQL Server's columns become.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Types {
    /// What holds the same values.
    #[default]
    Default,
    /// As Alibaba's Data Transmission Service maps them.
    Dts,
}

/// What times of more than six digits of the second become.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TimestampUnit {
    /// Nanoseconds.
    #[default]
    Auto,
    /// Microseconds; a finer part is a reject.
    Micros,
    /// Nanoseconds.
    Nanos,
}

/// How rows come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum FetchBy {
    /// By blocks where all columns have a bound, else one by one.
    #[default]
    Auto,
    /// Many at once.
    Blocks,
    /// One by one.
    Rows,
}

/// A connection string. It may hold a password, and is never shown.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct ConnectionString {
    pub(super) text: Secret,
    pub(super) password: Option<Secret>,
    /// What to call it in messages.
    pub(super) place: String,
}

impl fmt::Debug for ConnectionString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ConnectionString").field(&self.place).finish()
    }
}

/// How [`OdbcSource`](super::OdbcSource) reads.
#[derive(Clone, Debug)]
pub struct OdbcSourceOptions {
    pub(super) connection: ConnectionString,
    pub(super) connect_timeout: Duration,
    pub(super) tables: Vec<Pattern>,
    pub(super) exclude: Vec<Pattern>,
    pub(super) columns: Vec<String>,
    pub(super) condition: Option<String>,
    pub(super) query: Option<String>,
    pub(super) split_by: Option<String>,
    pub(super) splits: Option<usize>,
    pub(super) types: Types,
    pub(super) timestamp_unit: TimestampUnit,
    pub(super) fetch: FetchBy,
    pub(super) batch_rows: usize,
    pub(super) batch_bytes: usize,
}

impl OdbcSourceOptions {
    /// Nothing to read yet, from what a connection string of ODBC leads to. Messages call it `place`.
    pub fn new(connection_string: Secret, place: impl Into<String>) -> Self {
        let connection = ConnectionString { text: connection_string, password: None, place: place.into() };
        Self {
            connection,
            connect_timeout: Duration::from_secs(10),
            tables: Vec::new(),
            exclude: Vec::new(),
            columns: Vec::new(),
            condition: None,
            query: None,
            split_by: None,
            splits: None,
            types: Types::default(),
            timestamp_unit: TimestampUnit::default(),
            fetch: FetchBy::default(),
            batch_rows: 16_384,
            batch_bytes: 8 << 20,
        }
    }

    /// The options of an address and its checked parameters.
    ///
    /// # Errors
    /// `Config` when the address does not say where to connect to or what to read, or parameters contradict each other.
    pub fn from_dsn(dsn: &Dsn, params: &Params) -> Result<Self> {
        let mut options = Self::new(Secret::new(""), "").with_tables(params.list("tables"))?;
        options.connection = connection_string(dsn, params)?;
        options.exclude =
            params.list("exclude").iter().map(|text| Pattern::new(text)).collect::<Result<_>>()?;
        if let Some(columns) = params.text("columns") {
            options.columns = items("columns", columns)?;
        }
        options.condition = params.text("where").map(str::to_owned);
        options.query =
            params.text("query").map(|sql| sql.trim().trim_end_matches(';').trim_end().to_owned());
        options.split_by = params.text("split_by").map(str::to_owned);
        options.splits = params.int("splits").and_then(|splits| usize::try_from(splits).ok());
        options.types = if params.choice("types") == Some("dts") { Types::Dts } else { Types::Default };
        options.timestamp_unit = match params.choice("timestamp_unit") {
            Some("us") => TimestampUnit::Micros,
            Some("ns") => TimestampUnit::Nanos,
            _ => TimestampUnit::Auto,
        };
        options.fetch = match params.choice("fetch") {
            Some("blocks") => FetchBy::Blocks,
            Some("rows") => FetchBy::Rows,
            _ => FetchBy::Auto,
        };
        if let Some(rows) = params.int("batch_rows").and_then(|rows| usize::try_from(rows).ok()) {
            options.batch_rows = rows;
        }
        if let Some(bytes) = params.size("batch_size") {
            options.batch_bytes = usize::try_from(bytes).unwrap_or(usize::MAX).clamp(1 << 10, 1 << 30);
        }
        if let Some(timeout) = params.duration("connect_timeout") {
            options.connect_timeout = timeout;
        }
        options.check()?;
        Ok(options)
    }

    fn check(&self) -> Result<()> {
        if self.query.is_none() {
            if self.tables.is_empty() {
                return Err(Error::config("the address does not say what to read")
                    .with_hint("add table=TABLE, tables=a,b, tables=* for all, or query=SELECT ..."));
            }
            return Ok(());
        }
        let beside = [
            ("columns", !self.columns.is_empty()),
            ("where", self.condition.is_some()),
            ("exclude", !self.exclude.is_empty()),
        ];
        if let Some((name, _)) = beside.iter().find(|(_, given)| *given) {
            return Err(Error::config(format!("`{name}` goes with tables, and the address has a query"))
                .with_hint("put it into the query"));
        }
        if self.tables.len() > 1 || self.tables.iter().any(|pattern| pattern.exact().is_none()) {
            return Err(Error::config("the rows of a query are of one table")
                .with_hint("name it with table=TABLE, or leave the name out"));
        }
        Ok(())
    }

    /// Sets the tables: `TABLE`, `SCHEMA.TABLE`, patterns with `*`.
    ///
    /// # Errors
    /// `Config` for what is no name of a table.
    pub fn with_tables(mut self, tables: impl IntoIterator<Item = impl AsRef<str>>) -> Result<Self> {
        self.tables = tables.into_iter().map(|text| Pattern::new(text.as_ref())).collect::<Result<_>>()?;
        Ok(self)
    }

    /// Sets into how many pieces each table is cut.
    #[must_use]
    pub fn with_splits(mut self, splits: usize) -> Self {
        self.splits = Some(splits.max(1));
        self
    }

    /// Sets how rows come.
    #[must_use]
    pub fn with_fetch(mut self, fetch: FetchBy) -> Self {
        self.fetch = fetch;
        self
    }

    /// Sets the bounds of a batch: rows, and bytes, about.
    #[must_use]
    pub fn with_batch(mut self, rows: usize, bytes: usize) -> Self {
        self.batch_rows = rows.max(1);
        self.batch_bytes = bytes.clamp(1 << 10, 1 << 30);
        self
    }
}

/// The connection string of an address. Of a key that stands twice drivers take the first.
fn connection_string(dsn: &Dsn, params: &Params) -> Result<ConnectionString> {
    let mut text = String::new();
    let mut add = |key: &str, value: &str| text.push_str(&format!("{key}={};", quoted(value)));
    let driver = params.text("driver");
    let server = dsn.hosts().first().filter(|host| !host.name().is_empty());
    let object = dsn.object().unwrap_or_default();
    let (kind, default_driver) = match dsn.driver() {
        "sqlserver" => ("sqlserver", Some("ODBC Driver 18 for SQL Server")),
        "oracle" => ("oracle", None),
        _ => ("odbc", None),
    };
    let name = match (params.text("dsn"), driver.or(default_driver)) {
        (Some(name), None) => {
            add("DSN", name);
            name
        }
        (Some(name), Some(_)) if driver.is_none() => {
            add("DSN", name);
            name
        }
        (Some(_), Some(_)) => {
            return Err(Error::config("the address has both `dsn` and `driver`")
                .with_hint("keep the one that says what to connect to"));
        }
        (None, Some(name)) => {
            add("Driver", name);
            name
        }
        (None, None) => {
            return Err(Error::config("the address does not say which ODBC driver to use")
                .with_hint("add driver=NAME, as `odbcinst -q -d` lists them, or dsn=NAME of odbc.ini"));
        }
    };
    let driver = driver.or(default_driver).unwrap_or_default().to_ascii_lowercase();
    match (kind, server) {
        ("oracle", Some(host)) => {
            let (server, port) = (host.name(), host.port_or(1521));
            match params.text("sid") {
                Some(sid) => add(
                    "DBQ",
                    &format!(
                        "(DESCRIPTION=(ADDRESS=(PROTOCOL=TCP)(HOST={server})(PORT={port}))(CONNECT_DATA=(SID={sid})))"
                    ),
                ),
                None => add("DBQ", &format!("//{server}:{port}/{object}")),
            }
        }
        // FreeTDS has the port apart.
        ("sqlserver", Some(host)) if !driver.contains("freetds") => {
            add("Server", &format!("{},{}", host.name(), host.port_or(1433)));
        }
        (_, Some(host)) => {
            add("Server", host.name());
            let default = if kind == "sqlserver" { Some(1433) } else { None };
            if let Some(port) = host.port().or(default) {
                add("Port", &port.to_string());
            }
        }
        (_, None) => {}
    }
    if kind != "oracle" && !object.is_empty() {
        // Of files, without a host, the path.
        let file = server.is_none() && driver.contains("sqlite");
        add("Database", &if file { dsn.path()? } else { object.to_owned() });
    }
    if let Some(user) = dsn.user() {
        add("UID", user);
    }
    if let Some(password) = dsn.password() {
        add("PWD", password.expose());
    }
    if let Some(encrypt) = params.choice("encrypt") {
        add(
            "Encrypt",
            match encrypt {
                "true" => "yes",
                "false" => "no",
                other => other,
            },
        );
    }
    if params.flag("trustServerCertificate") {
        add("TrustServerCertificate", "yes");
    }
    // Rows by and by, not all of a table at once in the client's memory.
    if driver.contains("postgres") {
        add("UseDeclareFetch", "1");
        add("Fetch", "8192");
    } else if driver.contains("maria") || driver.contains("mysql") {
        // No cache, and a cursor that only goes forward.
        add("OPTION", "3145728");
    }
    let mut place = match server {
        Some(host) => format!("{} by {name:?}", host.name()),
        None => format!("{name:?}"),
    };
    if !object.is_empty() {
        place = format!("{object} at {place}");
    }
    let options = params.secret("options");
    let first = options.as_ref().map(|text| text.expose().trim().trim_end_matches(';'));
    let first = first.filter(|text| !text.is_empty()).map(|text| format!("{text};")).unwrap_or_default();
    let text = Secret::new(format!("{first}{text}"));
    Ok(ConnectionString { text, password: dsn.password().cloned(), place })
}

/// A value of a connection string. Braces keep what would end it.
fn quoted(value: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | '/' | ',' | ':');
    match value.chars().all(plain) {
        true => value.to_owned(),
        false => format!("{{{}}}", value.replace('}', "}}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(address: &str) -> Result<ConnectionString> {
        let dsn: Dsn = address.parse()?;
        let params = Params::parse("odbc source", PARAMS, dsn.params())?;
        connection_string(&dsn, &params)
    }

    #[test]
    fn addresses_become_connection_strings() {
        for (address, text) in [
            (
                "sqlserver://me:p%3Bw%7D@h:1444/shop?encrypt=false",
                "Driver={ODBC Driver 18 for SQL Server};Server=h,1444;Database=shop;UID=me;PWD={p;w}}};Encrypt=no;",
            ),
            (
                "sqlserver://h/shop?driver=FreeTDS&trustServerCertificate=true",
                "Driver=FreeTDS;Server=h;Port=1433;Database=shop;TrustServerCertificate=yes;",
            ),
            ("oracle://me:p@h/svc?driver=Oracle", "Driver=Oracle;DBQ=//h:1521/svc;UID=me;PWD=p;"),
            (
                "oracle://h:1522?sid=orcl&driver=Oracle",
                "Driver=Oracle;DBQ={(DESCRIPTION=(ADDRESS=(PROTOCOL=TCP)(HOST=h)(PORT=1522))(CONNECT_DATA=(SID=orcl)))};",
            ),
            ("odbc:///var/lib/a.db?driver=SQLite3", "Driver=SQLite3;Database=/var/lib/a.db;"),
            (
                "odbc://u@h:5432/db?driver=PostgreSQL+Unicode&options=SSLmode=require",
                "SSLmode=require;Driver={PostgreSQL+Unicode};Server=h;Port=5432;Database=db;UID=u;UseDeclareFetch=1;Fetch=8192;",
            ),
            ("odbc://u@/?dsn=warehouse", "DSN=warehouse;UID=u;"),
        ] {
            assert_eq!(made(address).unwrap().text.expose(), text, "{address}");
        }
        assert!(made("odbc://h/db").unwrap_err().to_string().contains("which ODBC driver"));
        assert!(made("odbc://h/db?driver=x&dsn=y").unwrap_err().to_string().contains("both"));
        assert!(!format!("{:?}", made("odbc://u:h1dden@h/?driver=x").unwrap()).contains("h1dden"));
    }
}
