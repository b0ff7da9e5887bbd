//! The parameters of the KWDB source.

use std::time::Duration;

use kwsync_core::config::{Dsn, Param, Params};
use kwsync_core::system::postgres::profile::Server;
use kwsync_core::system::postgres::wire::ConnectConfig;
use kwsync_core::{Error, Result, TableId};

use crate::relational::{CursorOptions, Pattern, items, with_cursor};

/// The parameters.
pub static PARAMS: &[Param] = with_cursor![
    Param::list("tables", "the tables: TABLE, SCHEMA.TABLE, patterns with *; default: all")
        .with_aliases(&["table"]),
    Param::list("exclude", "tables to leave out, as tables="),
    Param::text("schema", "the schema of tables that name none").with_default("public"),
    Param::text("columns", "columns, tags and expressions between commas; default: all columns, then all tags")
        .with_aliases(&["column"]),
    Param::text("where", "a condition that the rows fulfil"),
    Param::text("query", "a statement whose rows are read instead of tables; table= names their table then")
        .with_aliases(&["querySql", "query_sql"]),
    Param::int(
        "split_interval_s",
        1,
        i64::MAX / 1_000_000_000,
        "seconds of the windows of time that a table is read in; several make one piece where there would be too many",
    )
    .with_default("60")
    .with_aliases(&["splitIntervalS"]),
    Param::text("timezone", "the zone of times that are written without one, begin= and end= among them")
        .with_default("UTC"),
    Param::int("batch_rows", 1, 1 << 20, "most rows of a batch").with_default("65536"),
    Param::size("batch_size", "most bytes of a batch, as the server sends them").with_default("8MiB"),
    Param::choice(
        "sslmode",
        &["disable", "allow", "prefer", "require", "verify-ca", "verify-full"],
        "when TLS is used and what is checked, as with libpq",
    )
    .with_default("prefer"),
    Param::text("sslrootcert", "file of the authorities to trust (PEM)"),
    Param::text("sslcert", "file of our own certificate (PEM)"),
    Param::text("sslkey", "file of its key (PEM)"),
    Param::duration("connect_timeout", Duration::from_secs(1), "how long connecting may take").with_default("10s"),
    Param::int("connect_attempts", 1, 1_000, "how often connecting is tried before it counts as a fault")
        .with_default("1"),
    Param::duration("connect_backoff", Duration::from_secs(1), "the wait between two attempts").with_default("5s"),
    Param::text("application_name", "how the session is called at the server").with_default("kwsync"),
];

/// How [`KwdbSource`](super::KwdbSource) reads.
#[derive(Clone, Debug)]
pub struct KwdbSourceOptions {
    pub(super) connect: ConnectConfig,
    pub(super) tables: Vec<Pattern>,
    pub(super) exclude: Vec<Pattern>,
    pub(super) schema: String,
    pub(super) columns: Vec<String>,
    pub(super) condition: Option<String>,
    pub(super) query: Option<String>,
    pub(super) split_interval: Duration,
    pub(super) timezone: String,
    pub(super) batch_rows: usize,
    pub(super) batch_bytes: usize,
    pub(super) connect_attempts: u32,
    pub(super) connect_backoff: Duration,
    pub(super) cursor: CursorOptions,
}

impl KwdbSourceOptions {
    /// All tables of a database.
    pub fn new(connect: ConnectConfig) -> Self {
        Self {
            connect,
            tables: Vec::new(),
            exclude: Vec::new(),
            schema: "public".to_owned(),
            columns: Vec::new(),
            condition: None,
            query: None,
            split_interval: Duration::from_secs(60),
            timezone: "UTC".to_owned(),
            batch_rows: 65_536,
            batch_bytes: 8 << 20,
            connect_attempts: 1,
            connect_backoff: Duration::from_secs(5),
            cursor: CursorOptions::default(),
        }
    }

    /// The options of an address and its checked parameters.
    ///
    /// # Errors
    /// `Config` when the address names no user, or parameters contradict each other.
    pub fn from_dsn(dsn: &Dsn, params: &Params) -> Result<Self> {
        let connect = ConnectConfig::from_params(dsn, params, Server::default_port(dsn.driver()))?;
        let mut options = Self::new(connect).with_tables(params.list("tables"))?;
        options.exclude =
            params.list("exclude").iter().map(|text| Pattern::new(text)).collect::<Result<_>>()?;
        if let Some(schema) = params.text("schema") {
            schema.clone_into(&mut options.schema);
        }
        if let Some(columns) = params.text("columns") {
            options.columns = items("columns", columns)?;
        }
        options.condition = params.text("where").map(str::to_owned);
        options.query =
            params.text("query").map(|sql| sql.trim().trim_end_matches(';').trim_end().to_owned());
        if let Some(seconds) = params.int("split_interval_s").and_then(|seconds| u64::try_from(seconds).ok())
        {
            options.split_interval = Duration::from_secs(seconds);
        }
        if let Some(zone) = params.text("timezone") {
            zone.clone_into(&mut options.timezone);
        }
        if let Some(rows) = params.int("batch_rows").and_then(|rows| usize::try_from(rows).ok()) {
            options.batch_rows = rows;
        }
        if let Some(bytes) = params.size("batch_size") {
            options.batch_bytes = usize::try_from(bytes).unwrap_or(usize::MAX).clamp(1 << 10, 1 << 30);
        }
        if let Some(attempts) = params.int("connect_attempts").and_then(|tries| u32::try_from(tries).ok()) {
            options.connect_attempts = attempts;
        }
        if let Some(wait) = params.duration("connect_backoff") {
            options.connect_backoff = wait;
        }
        // Time series have a column of their own; a query has none that we know of.
        options.cursor = CursorOptions::from_params(params, options.query.is_some())?;
        options.check()?;
        Ok(options)
    }

    fn check(&self) -> Result<()> {
        if self.query.is_none() {
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

    /// The table that the rows of a query belong to.
    pub(super) fn query_table(&self) -> TableId {
        match self.tables.first().and_then(|pattern| pattern.exact()) {
            Some((Some(schema), name)) => TableId::with_schema(schema, name),
            Some((None, name)) => TableId::new(name),
            None => TableId::new("query"),
        }
    }

    /// Sets the tables: `TABLE`, `SCHEMA.TABLE`, patterns with `*`.
    ///
    /// # Errors
    /// `Config` for what is no name of a table.
    pub fn with_tables(mut self, tables: impl IntoIterator<Item = impl AsRef<str>>) -> Result<Self> {
        self.tables = tables.into_iter().map(|text| Pattern::new(text.as_ref())).collect::<Result<_>>()?;
        Ok(self)
    }

    /// Sets the columns, tags and expressions, between commas.
    ///
    /// # Errors
    /// `Config` where a quote or bracket is not closed.
    pub fn with_columns(mut self, columns: &str) -> Result<Self> {
        self.columns = items("columns", columns)?;
        Ok(self)
    }

    /// Sets the bounds of a batch: rows, and bytes as the server sends them.
    #[must_use]
    pub fn with_batch(mut self, rows: usize, bytes: usize) -> Self {
        self.batch_rows = rows.max(1);
        self.batch_bytes = bytes.clamp(1 << 10, 1 << 30);
        self
    }
}
