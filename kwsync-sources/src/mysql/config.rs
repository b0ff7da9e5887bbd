//! The parameters of the MySQL source.

use std::time::Duration;

use kwsync_core::config::{Dsn, Param, Params};
use kwsync_core::system::mysql::session::ConnectConfig;
use kwsync_core::{Error, Result, TableId};

use crate::relational::{CursorOptions, Pattern, items, with_cursor};

/// The parameters.
pub static PARAMS: &[Param] = with_cursor![
    Param::list(
        "tables",
        "the tables: TABLE, DATABASE.TABLE, patterns with *; quote a part that holds a dot",
    )
    .with_aliases(&["table"]),
    Param::list("exclude", "tables to leave out, as tables="),
    Param::text("columns", "expressions between commas, such as id,9001 as site; default: all columns")
        .with_aliases(&["column"]),
    Param::text("where", "a condition that the rows fulfil"),
    Param::text("query", "a statement whose rows are read instead of tables; table= names their table then")
        .with_aliases(&["querySql", "query_sql"]),
    Param::text(
        "split_by",
        "the column of integers by which rows are cut; of a query or view one whose values are distinct",
    )
    .with_aliases(&["splitPk", "split_pk"]),
    Param::int(
        "splits",
        1,
        100_000,
        "into how many pieces each table is cut; default: by its size and the lanes",
    ),
    Param::int("split_rows", 1, i64::MAX, "about how many rows a piece has, by the server's statistics"),
    Param::choice("snapshot", &["shared", "none"], "read all at one moment, or each lane at its own")
        .with_default("shared"),
    Param::choice(
        "zero_dates",
        &["reject", "null"],
        "0000-00-00 and dates of which a part is zero: reject the row, or make them null",
    )
    .with_default("reject"),
    Param::choice(
        "time_as",
        &["time", "interval", "text"],
        "what time columns are; those below zero or of 24 hours and more are no time of day",
    )
    .with_default("time"),
    Param::text(
        "timezone",
        "the zone of the times in DATETIME columns, for reading by a cursor: an offset such as +08:00, or a zone that the server knows",
    )
    .with_default("+00:00"),
    Param::int("batch_rows", 1, 1 << 20, "most rows of a batch")
        .with_default("65536")
        .with_aliases(&["fetchSize", "fetch_size"]),
    Param::size("batch_size", "most bytes of a batch, about").with_default("2MiB"),
    Param::choice(
        "ssl_mode",
        &["disabled", "preferred", "required", "verify_ca", "verify_identity"],
        "when TLS is used and what is checked, as with MySQL's own clients",
    )
    .with_default("preferred"),
    Param::text("ssl_ca", "file of the authorities to trust (PEM), beside the usual ones"),
    Param::duration("connect_timeout", Duration::from_secs(1), "how long connecting may take")
        .with_default("10s"),
    Param::text("useUnicode", "text is always Unicode").ignored(),
    Param::text("characterEncoding", "the session's is always utf8mb4").ignored(),
    Param::text("useSSL", "see ssl_mode").ignored(),
];

/// What becomes of dates of which a part is zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ZeroDates {
    /// The row is rejected.
    #[default]
    Reject,
    /// They become null.
    Null,
}

/// What columns of the type time are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TimeAs {
    /// Times of day; others are rejected.
    #[default]
    Time,
    /// Intervals.
    Interval,
    /// Text.
    Text,
}

/// How [`MysqlSource`](super::MysqlSource) reads.
#[derive(Clone, Debug)]
pub struct MysqlSourceOptions {
    pub(super) connect: ConnectConfig,
    pub(super) tables: Vec<Pattern>,
    pub(super) exclude: Vec<Pattern>,
    pub(super) columns: Vec<String>,
    pub(super) condition: Option<String>,
    pub(super) query: Option<String>,
    pub(super) split_by: Option<String>,
    pub(super) splits: Option<usize>,
    pub(super) split_rows: Option<u64>,
    pub(super) shared_snapshot: bool,
    pub(super) zero_dates: ZeroDates,
    pub(super) time_as: TimeAs,
    pub(super) batch_rows: usize,
    pub(super) batch_bytes: usize,
    pub(super) timezone: String,
    pub(super) cursor: CursorOptions,
}

impl MysqlSourceOptions {
    /// Nothing to read yet, from a server.
    pub fn new(connect: ConnectConfig) -> Self {
        Self {
            connect,
            tables: Vec::new(),
            exclude: Vec::new(),
            columns: Vec::new(),
            condition: None,
            query: None,
            split_by: None,
            splits: None,
            split_rows: None,
            shared_snapshot: true,
            zero_dates: ZeroDates::default(),
            time_as: TimeAs::default(),
            batch_rows: 65_536,
            batch_bytes: 2 << 20,
            timezone: "+00:00".to_owned(),
            cursor: CursorOptions::default(),
        }
    }

    /// The options of an address and its checked parameters.
    ///
    /// # Errors
    /// `Config` when the address names no user, or there is nothing to read, or parameters contradict each other.
    pub fn from_dsn(dsn: &Dsn, params: &Params) -> Result<Self> {
        let mut options =
            Self::new(ConnectConfig::from_params(dsn, params)?).with_tables(params.list("tables"))?;
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
        options.split_rows = params.int("split_rows").and_then(|rows| u64::try_from(rows).ok());
        options.shared_snapshot = params.choice("snapshot") != Some("none");
        if params.choice("zero_dates") == Some("null") {
            options.zero_dates = ZeroDates::Null;
        }
        options.time_as = match params.choice("time_as") {
            Some("interval") => TimeAs::Interval,
            Some("text") => TimeAs::Text,
            _ => TimeAs::Time,
        };
        if let Some(rows) = params.int("batch_rows").and_then(|rows| usize::try_from(rows).ok()) {
            options.batch_rows = rows;
        }
        if let Some(bytes) = params.size("batch_size") {
            options.batch_bytes = usize::try_from(bytes).unwrap_or(usize::MAX).clamp(1 << 10, 1 << 30);
        }
        if let Some(zone) = params.text("timezone") {
            zone.clone_into(&mut options.timezone);
        }
        options.cursor = CursorOptions::from_params(params, true)?;
        options.check()?;
        Ok(options)
    }

    /// The table that the rows of a query belong to.
    pub(super) fn query_table(&self) -> TableId {
        match self.tables.first().and_then(|pattern| pattern.exact()) {
            Some((Some(schema), name)) => TableId::with_schema(schema, name),
            Some((None, name)) => TableId::new(name),
            None => TableId::new("query"),
        }
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

    /// Sets the tables: `TABLE`, `DATABASE.TABLE`, patterns with `*`.
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

    /// Sets the bounds of a batch: rows, and bytes, about.
    #[must_use]
    pub fn with_batch(mut self, rows: usize, bytes: usize) -> Self {
        self.batch_rows = rows.max(1);
        self.batch_bytes = bytes.clamp(1 << 10, 1 << 30);
        self
    }
}
