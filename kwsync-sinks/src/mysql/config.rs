//! The parameters of the MySQL sink.

use std::time::Duration;

use kwsync_core::Result;
use kwsync_core::config::{Dsn, Param, Params};
use kwsync_core::system::made::CarriedIndexes;
use kwsync_core::system::mysql::session::ConnectConfig;

/// The parameters.
pub static PARAMS: &[Param] = &[
    Param::text("table", "write all rows to this table"),
    Param::text("schema", "the database of the tables; default: that of the address"),
    Param::choice(
        "mode",
        &["insert", "insert-ignore", "replace", "upsert"],
        "what becomes of rows that the table has already: the new one is rejected, or ignored; the old one is deleted, or \
         updated",
    )
    .with_default("insert")
    .with_aliases(&["writeMode"]),
    Param::choice(
        "strategy",
        &["auto", "insert", "load-data"],
        "how rows are sent: INSERT of many rows, or LOAD DATA LOCAL, which takes modes insert and replace; auto: by LOAD \
         DATA where the server allows it",
    )
    .with_default("auto"),
    Param::choice("create", &["missing", "never"], "make tables and columns that are missing, or refuse")
        .with_default("missing"),
    Param::choice(
        "definitions",
        &["full", "columns"],
        "what tables that are made have: also the defaults, AUTO_INCREMENT and enums of their source, or columns and key only",
    )
    .with_default("full"),
    Param::choice(
        "indexes",
        &["all", "unique", "none"],
        "which indexes of their source tables that are made get, beside the primary key, when all rows are there",
    )
    .with_default("all"),
    Param::flag("foreign_keys", "tables that are made get the foreign keys of their source, when all rows are there")
        .with_default("true"),
    Param::list("key", "the primary key of tables that are made; default: that of the rows in their source"),
    Param::int("statement_rows", 1, 100_000, "the most rows of one INSERT").with_default("4096").with_aliases(&["batchSize"]),
    Param::choice(
        "delivery",
        &["auto", "exactly-once", "at-least-once"],
        "exactly-once keeps the checkpoint in the target, in the data's transaction; auto does where it may",
    )
    .with_default("auto"),
    Param::text("checkpoint_table", "the table of the checkpoints, made when it is missing")
        .with_default("kwsync_checkpoint"),
    Param::choice("timestamp_ns", &["reject", "truncate"], "parts of a second that a column does not keep: reject the row, or cut them off")
        .with_default("reject"),
    Param::duration(
        "lock_timeout",
        Duration::from_secs(1),
        "how long a statement that makes or changes a table waits for those who use it, each time it is tried",
    )
    .with_default("30s"),
    Param::text("pre_sql", "statements to run before the first row, once for a job").with_aliases(&["preSql"]),
    Param::text("post_sql", "statements to run when all rows have settled").with_aliases(&["postSql"]),
    Param::choice(
        "ssl_mode",
        &["disabled", "preferred", "required", "verify_ca", "verify_identity"],
        "when TLS is used and what is checked, as with MySQL's own clients",
    )
    .with_default("preferred"),
    Param::text("ssl_ca", "file of the authorities to trust (PEM), beside the usual ones"),
    Param::duration("connect_timeout", Duration::from_secs(1), "how long connecting may take").with_default("10s"),
    Param::text("useUnicode", "text is always Unicode").ignored(),
    Param::text("characterEncoding", "the session's is always utf8mb4").ignored(),
    Param::text("useSSL", "see ssl_mode").ignored(),
];

/// What becomes of rows that the table has already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mode {
    /// The new row is rejected.
    #[default]
    Insert,
    /// The new row is dropped, and counted as ignored.
    InsertIgnore,
    /// The old row is deleted: `REPLACE`.
    Replace,
    /// The old row is updated: `ON DUPLICATE KEY UPDATE`.
    Upsert,
}

impl std::fmt::Display for Mode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Insert => "insert",
            Self::InsertIgnore => "insert-ignore",
            Self::Replace => "replace",
            Self::Upsert => "upsert",
        })
    }
}

/// How rows are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Strategy {
    /// LOAD DATA LOCAL where the server allows it and it can be exact, else INSERT.
    #[default]
    Auto,
    /// INSERT of many rows.
    Insert,
    /// LOAD DATA LOCAL, or an error where it cannot be used.
    LoadData,
}

/// What is promised about rows that are sent again after a fault.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DeliveryMode {
    /// Exactly once where the checkpoint table may be used, else at least once.
    #[default]
    Auto,
    /// Exactly once, or an error.
    ExactlyOnce,
    /// At least once: nothing is kept in the target.
    AtLeastOnce,
}

/// How [`MysqlSink`](super::MysqlSink) writes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MysqlOptions {
    /// How to reach the server.
    pub connect: ConnectConfig,
    /// The table that all rows go to.
    pub table: Option<String>,
    /// What becomes of rows that the table has already.
    pub mode: Mode,
    /// How rows are sent.
    pub strategy: Strategy,
    /// Whether tables and columns that are missing are made.
    pub create: bool,
    /// Whether tables that are made have the defaults and enums of their source.
    pub definitions: bool,
    /// Which indexes of their source they get when the rows are there; none without definitions.
    pub indexes: CarriedIndexes,
    /// Whether they get the foreign keys of their source when the rows are there; not without definitions.
    pub foreign_keys: bool,
    /// The primary key of tables that are made; none: that of the rows in their source.
    pub key: Vec<String>,
    /// The most rows of one INSERT.
    pub statement_rows: usize,
    /// What is promised about rows that are sent again.
    pub delivery: DeliveryMode,
    /// The table of the checkpoints.
    pub checkpoint_table: String,
    /// Whether parts of a second that a column does not keep are cut off.
    pub truncate_seconds: bool,
    /// How long a statement that makes or changes a table waits for those who use the table; whole seconds count.
    pub lock_timeout: Duration,
    /// Statements to run before the first row, once for a job.
    pub pre_sql: Option<String>,
    /// Statements to run when all rows have settled.
    pub post_sql: Option<String>,
}

impl MysqlOptions {
    /// The defaults, for a server.
    pub fn new(connect: ConnectConfig) -> Self {
        Self {
            connect,
            table: None,
            mode: Mode::default(),
            strategy: Strategy::default(),
            create: true,
            definitions: true,
            indexes: CarriedIndexes::All,
            foreign_keys: true,
            key: Vec::new(),
            statement_rows: 4096,
            delivery: DeliveryMode::default(),
            checkpoint_table: "kwsync_checkpoint".to_owned(),
            truncate_seconds: false,
            lock_timeout: Duration::from_secs(30),
            pre_sql: None,
            post_sql: None,
        }
    }

    /// The options of an address and its checked parameters.
    ///
    /// # Errors
    /// `Config` when the address names no user or no database.
    pub fn from_dsn(dsn: &Dsn, params: &Params) -> Result<Self> {
        let mut options = Self::new(ConnectConfig::from_params(dsn, params)?);
        if options.connect.database.is_none() && params.text("schema").is_none() {
            return Err(kwsync_core::Error::config("the address names no database")
                .with_hint("write mysql://USER@host:port/DATABASE"));
        }
        if let Some(schema) = params.text("schema") {
            options.connect.database = Some(schema.to_owned());
        }
        options.table = params.text("table").map(str::to_owned);
        options.mode = match params.choice("mode") {
            Some("insert-ignore") => Mode::InsertIgnore,
            Some("replace") => Mode::Replace,
            Some("upsert") => Mode::Upsert,
            _ => Mode::Insert,
        };
        options.strategy = match params.choice("strategy") {
            Some("insert") => Strategy::Insert,
            Some("load-data") => Strategy::LoadData,
            _ => Strategy::Auto,
        };
        options.create = params.choice("create") != Some("never");
        options.definitions = params.choice("definitions") != Some("columns");
        if let Some(timeout) = params.duration("lock_timeout") {
            options.lock_timeout = timeout;
        }
        options.indexes = CarriedIndexes::named(params.choice("indexes"));
        options.foreign_keys = params.flag("foreign_keys");
        options.key = params.list("key").to_vec();
        if let Some(rows) = params.int("statement_rows").and_then(|rows| usize::try_from(rows).ok()) {
            options.statement_rows = rows;
        }
        options.delivery = match params.choice("delivery") {
            Some("exactly-once") => DeliveryMode::ExactlyOnce,
            Some("at-least-once") => DeliveryMode::AtLeastOnce,
            _ => DeliveryMode::Auto,
        };
        if let Some(table) = params.text("checkpoint_table") {
            table.clone_into(&mut options.checkpoint_table);
        }
        options.truncate_seconds = params.choice("timestamp_ns") == Some("truncate");
        options.pre_sql = params.text("pre_sql").map(str::to_owned);
        options.post_sql = params.text("post_sql").map(str::to_owned);
        Ok(options)
    }
}
