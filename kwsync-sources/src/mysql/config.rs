//! The parameters of the MySQL source.

use std::time::Duration;

use kwsync_core::config::{Dsn, Param, Params};
use kwsync_core::system::mysql::session::ConnectConfig;
use kwsync_core::{Error, JobId, Result, TableId};

use super::changes::config::ChangesOptions;
use crate::relational::changes::{Operations, Order};
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
        "qualified",
        &["auto", "always", "never"],
        "whether tables keep their database as a schema; auto: where changes of several are followed",
    )
    .with_default("auto"),
    Param::flag(
        "changes",
        "follow inserts, updates and deletes by the binary log: after a copy, and until the job has caught up; mode=all does not end, \
         mode=realtime does not copy",
    )
    .with_default("false"),
    Param::int(
        "server_id",
        1,
        u32::MAX as i64,
        "with changes=true: the number of the job as a replica, which no other may have; default: one made of the job's name",
    ),
    Param::choice(
        "keyless",
        &["refuse", "inserts"],
        "with changes=true: what becomes of tables without a key; inserts follows those alone",
    )
    .with_default("refuse"),
    Param::choice(
        "cascades",
        &["refuse", "target"],
        "with changes=true: what becomes of tables whose rows the server changes by foreign keys without a word in its log; target: \
         the target does the same by its own",
    )
    .with_default("refuse"),
    Param::choice(
        "order",
        &["auto", "source", "table"],
        "with changes=true: apply changes in the order of the source, or the net effect of each table; auto keeps the order \
         where tables refer to each other or have several unique indexes",
    )
    .with_default("auto"),
    Param::list(
        "operations",
        "with changes=true: which changes are carried: insert, update, delete, truncate, alter (columns that are added); default: all",
    ),
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

/// Whether tables keep their database as a schema.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Qualified {
    /// Where changes of several databases are followed.
    #[default]
    Auto,
    Always,
    Never,
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
    pub(super) qualified: Qualified,
    /// Where changes are followed.
    pub(super) changes: Option<ChangesOptions>,
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
            qualified: Qualified::default(),
            changes: None,
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
        options.qualified = match params.choice("qualified") {
            Some("always") => Qualified::Always,
            Some("never") => Qualified::Never,
            _ => Qualified::Auto,
        };
        let changes = params.flag("changes");
        options.cursor = CursorOptions::from_params(params, !changes)?;
        if changes {
            options.changes = Some(ChangesOptions {
                extent: options.cursor.mode.into(),
                job: None,
                server_id: params.int("server_id").and_then(|id| u32::try_from(id).ok()),
                keyless: params.choice("keyless") == Some("inserts"),
                cascades: params.choice("cascades") == Some("target"),
                order: Order::of(params),
                operations: Operations::of(params)?,
            });
        } else if let Some(name) = ["server_id", "operations"].iter().find(|name| params.is_given(name)) {
            return Err(Error::config(format!("`{name}` is of changes, which are not followed"))
                .with_hint("add changes=true"));
        }
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

    /// Says which job reads: the server knows it by that.
    pub(super) fn with_job(mut self, job: &JobId) -> Self {
        if let Some(changes) = &mut self.changes {
            changes.job = Some(job.as_str().to_owned());
        }
        self
    }

    fn check(&self) -> Result<()> {
        if self.changes.is_some() {
            let cursor = &self.cursor;
            let beside = [
                ("query", self.query.is_some()),
                ("columns", !self.columns.is_empty()),
                ("where", self.condition.is_some()),
                ("cursor", cursor.column.is_some()),
                ("begin", cursor.begin.is_some()),
                ("end", cursor.end.is_some()),
                ("lookback", cursor.lookback.is_some()),
                ("snapshot=none", !self.shared_snapshot),
            ];
            if let Some((name, _)) = beside.iter().find(|(_, given)| *given) {
                return Err(Error::config(format!("`{name}` and changes=true contradict each other"))
                    .with_hint(
                        "changes are of whole tables: tables=, exclude=; -T drop-columns leaves columns out",
                    ));
            }
        }
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
