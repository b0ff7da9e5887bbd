//! The parameters of the PostgreSQL sink.

use std::time::Duration;

use kwsync_core::config::{Dsn, Param, Params};
use kwsync_core::system::made::CarriedIndexes;
use kwsync_core::system::postgres::profile::{Profile, Server};
use kwsync_core::system::postgres::wire::ConnectConfig;
use kwsync_core::{Error, ErrorKind, Result};
use kwsync_formats::pgcopy::{self, CopyOptions};

/// Where PostgreSQL listens unless the address says otherwise.
pub const DEFAULT_PORT: u16 = 5432;

/// The parameters.
pub static PARAMS: &[Param] = &[
    Param::text("schema", "the schema of the tables; default: along the search path"),
    Param::text("table", "write all rows to this table"),
    Param::choice(
        "profile",
        &["auto", "postgres", "kwdb", "kwdb-ts", "greenplum", "cockroach"],
        "what the server is; auto: as it says itself",
    )
    .with_default("auto"),
    Param::choice(
        "mode",
        &["insert", "insert-ignore", "upsert", "update", "append", "truncate", "replace"],
        "what becomes of rows that the table has already, and of the table: append makes none, truncate empties it \
         before the first row, replace loads another one and swaps them at the end",
    )
    .with_default("insert"),
    Param::choice(
        "strategy",
        &["auto", "copy-binary", "copy-text", "copy-csv", "copy-simple", "merge", "insert", "unnest"],
        "how rows are sent: COPY into the table, COPY into a temporary table and a merge, INSERT of many rows, or \
         INSERT of arrays",
    )
    .with_default("auto"),
    Param::choice(
        "definitions",
        &["full", "columns"],
        "what tables that are made have: also the defaults, identities and enums of their source, or columns and key only",
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
    Param::list("key", "the columns that tell rows apart; default: those of the table's primary key"),
    Param::choice("duplicates", &["last", "first", "error"], "which row of a batch stays among those with one key")
        .with_default("last"),
    Param::choice("sort", &["auto", "key", "none"], "the order of a batch; auto: by key where the table has one")
        .with_default("auto"),
    Param::text("pre_sql", "statements to run before the first row, once for a job"),
    Param::text("post_sql", "statements to run when all rows have settled"),
    Param::choice(
        "create",
        &["missing", "never", "evolve"],
        "make tables and columns that are missing, or refuse; evolve also widens columns: smallint to bigint, real to \
         double precision, varchar to a longer one",
    )
    .with_default("missing"),
    Param::int("statement_rows", 1, 100_000, "KWDB's time series: the most rows of one INSERT").with_default("10000"),
    Param::list("primary_tags", "KWDB: the tags that tell series apart; default: all, if there are no more than four"),
    Param::list("tags", "KWDB: columns of relational rows that are tags, beside those of primary_tags"),
    Param::list("distributed_by", "Greenplum: the columns by which new tables are spread, or RANDOMLY"),
    Param::text("table_options", "Greenplum: what new tables have in WITH (...), as APPENDONLY=true"),
    Param::flag("unlogged", "make tables without a write-ahead log: faster, and empty after a crash of the server")
        .with_default("false"),
    Param::choice(
        "delivery",
        &["auto", "exactly-once", "at-least-once"],
        "exactly-once keeps the checkpoint in the target, in the data's transaction; auto does where it may",
    )
    .with_default("auto"),
    Param::text("checkpoint_table", "the table of the checkpoints, made when it is missing")
        .with_default("kwsync_checkpoint"),
    Param::choice(
        "constraints",
        &["immediate", "declared"],
        "when deferred constraints are checked: with each batch, so that their rows are found, or at the commit",
    )
    .with_default("immediate"),
    Param::choice(
        "timestamp_ns",
        &["reject", "truncate", "bigint"],
        "nanoseconds, of which the server keeps none: reject the row, cut them off, or make the column a bigint",
    )
    .with_default("reject"),
    Param::choice(
        "sslmode",
        &["disable", "allow", "prefer", "require", "verify-ca", "verify-full"],
        "when TLS is used and what is checked, as with libpq",
    )
    .with_default("prefer"),
    Param::text("sslrootcert", "file of the authorities to trust (PEM)"),
    Param::text("sslcert", "file of our own certificate (PEM)"),
    Param::text("sslkey", "file of its key (PEM)"),
    Param::text("host", "the folder of a Unix-domain socket"),
    Param::int("port", 1, 65_535, "the port, with host="),
    Param::duration("connect_timeout", Duration::from_secs(1), "how long connecting may take").with_default("10s"),
    Param::int("connect_attempts", 1, 1_000, "how often connecting is tried before it counts as a fault")
        .with_default("1"),
    Param::duration("connect_backoff", Duration::from_secs(1), "the longest wait between two attempts")
        .with_default("5s"),
    Param::duration("statement_timeout", Duration::from_millis(1), "how long the server may take for a statement"),
    Param::duration(
        "lock_timeout",
        Duration::from_millis(1),
        "how long a statement that makes, changes or empties a table waits for those who use it, each time it is tried",
    )
    .with_default("30s"),
    Param::choice(
        "replication_role",
        &["origin", "replica"],
        "replica: no triggers and no foreign keys, as when a server replicates by itself; the user has to be a superuser",
    )
    .with_default("origin"),
    Param::text("application_name", "how the session is called at the server").with_default("kwsync"),
];

/// Whether tables and columns are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Create {
    /// What is missing is made.
    #[default]
    Missing,
    /// What is missing is an error.
    Never,
    /// What is missing is made, and columns too narrow for the rows are widened, never narrowed.
    Evolve,
}

/// What becomes of rows that the table has already, and of the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Rows are inserted; one that is there already is rejected.
    #[default]
    Insert,
    /// Rows that are there already are dropped, and counted as ignored.
    InsertIgnore,
    /// Rows that are there already are replaced.
    Upsert,
    /// Only rows that are there already are replaced; others are counted as ignored.
    Update,
    /// As insert, into tables that exist: none is made.
    Append,
    /// The table is emptied before the first row.
    Truncate,
    /// Rows go to a new table that takes the place of the old one when all have settled.
    Replace,
}

impl std::fmt::Display for Mode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Insert => "insert",
            Self::InsertIgnore => "insert-ignore",
            Self::Upsert => "upsert",
            Self::Update => "update",
            Self::Append => "append",
            Self::Truncate => "truncate",
            Self::Replace => "replace",
        })
    }
}

/// How rows are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Strategy {
    /// COPY BINARY where the mode allows it, else a merge.
    #[default]
    Auto,
    /// COPY BINARY into the table.
    CopyBinary,
    /// COPY TEXT into the table.
    CopyText,
    /// COPY CSV into the table. A row that is refused is found by halves.
    CopyCsv,
    /// COPY BINARY into a temporary table, then one statement into the table.
    Merge,
    /// Prepared INSERTs of many rows, their values in binary form.
    Insert,
    /// Prepared INSERTs of one array a column.
    Unnest,
}

impl std::fmt::Display for Strategy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::CopyBinary => "COPY BINARY",
            Self::CopyText => "COPY TEXT",
            Self::CopyCsv => "COPY CSV",
            Self::Merge => "COPY BINARY into a temporary table, then a merge",
            Self::Insert => "prepared INSERT of many rows",
            Self::Unnest => "prepared INSERT of arrays",
        })
    }
}

/// Which row of a batch stays among those with the same key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Duplicates {
    /// The last; the others are counted as ignored.
    #[default]
    Last,
    /// The first; the others are counted as ignored.
    First,
    /// The first; the others are rejected.
    Error,
}

/// The order of the rows of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Sort {
    /// By key where the table has one: it makes its indexes grow in order.
    #[default]
    Auto,
    /// By key.
    Key,
    /// As they come.
    None,
}

/// What becomes of nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TimestampNs {
    /// A row whose timestamp has some is rejected.
    #[default]
    Reject,
    /// They are cut off.
    Truncate,
    /// Columns of nanoseconds are made as bigint: nanoseconds since 1970.
    BigInt,
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

/// How [`PostgresSink`](super::PostgresSink) writes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PostgresOptions {
    /// How to reach the server.
    pub connect: ConnectConfig,
    /// The schema of tables that name none.
    pub schema: Option<String>,
    /// The table that all rows go to.
    pub table: Option<String>,
    /// What the server is; none: as it says itself.
    pub profile: Option<Server>,
    /// What becomes of rows that the table has already.
    pub mode: Mode,
    /// How rows are sent.
    pub strategy: Strategy,
    /// The columns that tell rows apart; none: those of the table's primary key.
    pub key: Vec<String>,
    /// Which row of a batch stays among those with the same key.
    pub duplicates: Duplicates,
    /// The order of the rows of a batch.
    pub sort: Sort,
    /// Statements to run before the first row, once for a job.
    pub pre_sql: Option<String>,
    /// Statements to run when all rows have settled.
    pub post_sql: Option<String>,
    /// Whether tables and columns are made.
    pub create: Create,
    /// KWDB: the tags that tell series apart.
    pub primary_tags: Vec<String>,
    /// KWDB: columns of relational rows that are tags.
    pub tags: Vec<String>,
    /// Whether tables that are made have the defaults, identities and enums of their source.
    pub definitions: bool,
    /// Which indexes of their source they get when the rows are there; none without definitions.
    pub indexes: CarriedIndexes,
    /// Whether they get the foreign keys of their source when the rows are there; not without definitions.
    pub foreign_keys: bool,
    /// Greenplum: the columns by which new tables are spread; one that is called RANDOMLY, alone, means just that.
    pub distributed_by: Vec<String>,
    /// Greenplum: what new tables have in `WITH (...)`.
    pub table_options: Option<String>,
    /// Whether tables are made without a write-ahead log.
    pub unlogged: bool,
    /// What becomes of nanoseconds.
    pub timestamp_ns: TimestampNs,
    /// What is promised about rows that are sent again.
    pub delivery: DeliveryMode,
    /// The table of the checkpoints.
    pub checkpoint_table: String,
    /// Whether deferred constraints are checked with each batch; otherwise a row that breaks one fails the commit.
    pub immediate_constraints: bool,
    /// How long a statement that makes, changes or empties a table waits for those who use the table.
    pub lock_timeout: Duration,
    /// How often connecting is tried before it counts as a fault.
    pub connect_attempts: u32,
    /// The longest wait between two attempts.
    pub connect_backoff: Duration,
}

impl PostgresOptions {
    /// The defaults, for a server.
    pub fn new(connect: ConnectConfig) -> Self {
        Self {
            connect,
            schema: None,
            table: None,
            profile: None,
            mode: Mode::default(),
            strategy: Strategy::default(),
            key: Vec::new(),
            duplicates: Duplicates::default(),
            sort: Sort::default(),
            pre_sql: None,
            post_sql: None,
            create: Create::default(),
            primary_tags: Vec::new(),
            tags: Vec::new(),
            definitions: true,
            indexes: CarriedIndexes::All,
            foreign_keys: true,
            distributed_by: Vec::new(),
            table_options: None,
            unlogged: false,
            timestamp_ns: TimestampNs::default(),
            delivery: DeliveryMode::default(),
            checkpoint_table: "kwsync_checkpoint".to_owned(),
            immediate_constraints: true,
            lock_timeout: Duration::from_secs(30),
            connect_attempts: 1,
            connect_backoff: Duration::from_secs(5),
        }
    }

    /// The options of an address and its checked parameters.
    ///
    /// # Errors
    /// `Config` when the address names no user, or parameters contradict each other.
    pub fn from_dsn(dsn: &Dsn, params: &Params) -> Result<Self> {
        let mut connect = ConnectConfig::from_params(dsn, params, Server::default_port(dsn.driver()))?;
        if let Some(timeout) = params.duration("statement_timeout") {
            connect = connect.with_session("statement_timeout", timeout.as_millis().to_string());
        }
        if params.choice("replication_role") == Some("replica") {
            connect = connect.with_session("session_replication_role", "replica");
        }
        let mut options = Self::new(connect);
        options.schema = params.text("schema").map(str::to_owned);
        options.table = params.text("table").map(str::to_owned);
        options.create = match params.choice("create") {
            Some("never") => Create::Never,
            Some("evolve") => Create::Evolve,
            _ => Create::Missing,
        };
        options.primary_tags = params.list("primary_tags").to_vec();
        options.tags = params.list("tags").to_vec();
        options.definitions = params.choice("definitions") != Some("columns");
        if let Some(timeout) = params.duration("lock_timeout") {
            options.lock_timeout = timeout;
        }
        options.indexes = CarriedIndexes::named(params.choice("indexes"));
        options.foreign_keys = params.flag("foreign_keys");
        options.distributed_by = params.list("distributed_by").to_vec();
        options.table_options = params.text("table_options").map(str::to_owned);
        options.unlogged = params.flag("unlogged");
        options.timestamp_ns = match params.choice("timestamp_ns") {
            Some("truncate") => TimestampNs::Truncate,
            Some("bigint") => TimestampNs::BigInt,
            _ => TimestampNs::Reject,
        };
        options.profile = match params.choice("profile") {
            None | Some("auto") => None,
            Some(name) => Some(name.parse()?),
        };
        options.mode = match params.choice("mode") {
            Some("insert-ignore") => Mode::InsertIgnore,
            Some("upsert") => Mode::Upsert,
            Some("update") => Mode::Update,
            Some("append") => Mode::Append,
            Some("truncate") => Mode::Truncate,
            Some("replace") => Mode::Replace,
            _ => Mode::Insert,
        };
        options.strategy = match params.choice("strategy") {
            Some("copy-binary") => Strategy::CopyBinary,
            // All COPYs here go by the simple protocol; TEXT is what every server takes.
            Some("copy-text" | "copy-simple") => Strategy::CopyText,
            Some("copy-csv") => Strategy::CopyCsv,
            Some("merge") => Strategy::Merge,
            Some("insert") => Strategy::Insert,
            Some("unnest") => Strategy::Unnest,
            _ => Strategy::Auto,
        };
        options.key = params.list("key").to_vec();
        options.duplicates = match params.choice("duplicates") {
            Some("first") => Duplicates::First,
            Some("error") => Duplicates::Error,
            _ => Duplicates::Last,
        };
        options.sort = match params.choice("sort") {
            Some("key") => Sort::Key,
            Some("none") => Sort::None,
            _ => Sort::Auto,
        };
        options.pre_sql = params.text("pre_sql").map(str::to_owned);
        options.post_sql = params.text("post_sql").map(str::to_owned);
        if options.mode == Mode::Append {
            options.create = Create::Never;
        }
        options.check()?;
        options.delivery = match params.choice("delivery") {
            Some("exactly-once") => DeliveryMode::ExactlyOnce,
            Some("at-least-once") => DeliveryMode::AtLeastOnce,
            _ => DeliveryMode::Auto,
        };
        if let Some(table) = params.text("checkpoint_table") {
            options.checkpoint_table = table.to_owned();
        }
        options.immediate_constraints = params.choice("constraints") != Some("declared");
        if let Some(attempts) = params.int("connect_attempts") {
            options.connect_attempts = attempts as u32;
        }
        if let Some(longest) = params.duration("connect_backoff") {
            options.connect_backoff = longest;
        }
        Ok(options)
    }

    /// Whether mode and strategy go together.
    fn check(&self) -> Result<()> {
        let plain = !matches!(self.mode, Mode::InsertIgnore | Mode::Upsert | Mode::Update);
        match self.strategy {
            Strategy::CopyBinary | Strategy::CopyText | Strategy::CopyCsv if !plain => Err(Error::config(
                format!("mode={} is more than COPY can do", self.mode),
            )
            .with_hint("use strategy=merge, which copies into a temporary table first, or strategy=auto")),
            Strategy::Insert | Strategy::Unnest if self.mode == Mode::Update => {
                Err(Error::config("mode=update is done by a merge").with_hint("use strategy=merge or auto"))
            }
            _ => Ok(()),
        }
    }

    /// The options under which changes of rows are applied, whatever is said of rows.
    pub(super) fn for_changes(&self) -> Self {
        self.clone().with_mode(Mode::Upsert).with_strategy(Strategy::Auto)
    }

    /// The strategy, chosen where none is forced.
    ///
    /// # Errors
    /// `Config` when the server cannot do what was asked for.
    pub(super) fn chosen_strategy(&self, profile: &Profile) -> Result<Strategy> {
        let merging = matches!(self.mode, Mode::InsertIgnore | Mode::Upsert | Mode::Update);
        let chosen = match (self.strategy, merging) {
            (Strategy::Auto, true) if profile.temp_tables => Strategy::Merge,
            (Strategy::Auto, false) if profile.copy_binary => Strategy::CopyBinary,
            (Strategy::Auto, false) if profile.copy_text => Strategy::CopyText,
            (Strategy::Auto, _) => Strategy::Insert,
            (chosen, _) => chosen,
        };
        let possible = match chosen {
            Strategy::Merge => profile.temp_tables && profile.copy_binary,
            Strategy::Insert => profile.prepared_insert && (!merging || profile.on_conflict),
            Strategy::Unnest => {
                profile.prepared_insert && profile.unnest && (!merging || profile.on_conflict)
            }
            Strategy::CopyText => profile.copy_text,
            // A server that takes one form only takes TEXT.
            Strategy::CopyCsv => profile.copy_text && profile.copy_binary,
            _ => profile.copy_binary,
        };
        if !possible || !profile.transactions || (self.mode == Mode::Update && chosen != Strategy::Merge) {
            let text = format!("mode={} by {chosen} is not possible on {}", self.mode, profile.server);
            return Err(Error::new(ErrorKind::Unsupported, text)
                .with_hint("--dry-run shows what the server can do; choose another strategy= or mode="));
        }
        Ok(chosen)
    }

    /// What the encoder is told.
    pub(super) fn copy_options(&self, profile: &Profile) -> CopyOptions {
        let policy = match self.timestamp_ns {
            TimestampNs::Truncate => pgcopy::TimestampNs::Truncate,
            TimestampNs::Reject | TimestampNs::BigInt => pgcopy::TimestampNs::Reject,
        };
        CopyOptions::default().with_timestamp_ns(policy).with_numeric_infinity(profile.numeric_infinity)
    }

    /// Sets the schema of tables that name none.
    #[must_use]
    pub fn with_schema(mut self, schema: impl Into<String>) -> Self {
        self.schema = Some(schema.into());
        self
    }

    /// Sets whether tables and columns are made.
    #[must_use]
    pub fn with_create(mut self, create: Create) -> Self {
        self.create = create;
        self
    }

    /// Sets what becomes of rows that the table has already.
    #[must_use]
    pub fn with_mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// Sets the order of the rows of a batch.
    #[must_use]
    pub fn with_sort(mut self, sort: Sort) -> Self {
        self.sort = sort;
        self
    }

    /// Sets the columns that tell rows apart.
    #[must_use]
    pub fn with_key(mut self, key: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.key = key.into_iter().map(Into::into).collect();
        self
    }

    /// Sets how rows are sent.
    #[must_use]
    pub fn with_strategy(mut self, strategy: Strategy) -> Self {
        self.strategy = strategy;
        self
    }

    /// Sets what is promised about rows that are sent again.
    #[must_use]
    pub fn with_delivery(mut self, delivery: DeliveryMode) -> Self {
        self.delivery = delivery;
        self
    }

    /// Sets what becomes of nanoseconds.
    #[must_use]
    pub fn with_timestamp_ns(mut self, policy: TimestampNs) -> Self {
        self.timestamp_ns = policy;
        self
    }
}
