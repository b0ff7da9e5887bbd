//! The parameters of the PostgreSQL sink.

use std::time::Duration;

use kwsync_core::config::{Dsn, Param, Params};
use kwsync_core::system::postgres::wire::ConnectConfig;
use kwsync_core::{Error, Result};
use kwsync_formats::pgcopy::{self, CopyOptions};

/// Where PostgreSQL listens unless the address says otherwise.
pub const DEFAULT_PORT: u16 = 5432;

/// The parameters.
pub static PARAMS: &[Param] = &[
    Param::text("schema", "the schema of the tables; default: along the search path"),
    Param::text("table", "write all rows to this table"),
    Param::choice("create", &["missing", "never"], "make tables and columns that are missing, or refuse")
        .with_default("missing"),
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
    /// Whether tables and columns are made.
    pub create: Create,
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
            create: Create::default(),
            unlogged: false,
            timestamp_ns: TimestampNs::default(),
            delivery: DeliveryMode::default(),
            checkpoint_table: "kwsync_checkpoint".to_owned(),
            immediate_constraints: true,
            connect_attempts: 1,
            connect_backoff: Duration::from_secs(5),
        }
    }

    /// The options of an address and its checked parameters.
    ///
    /// # Errors
    /// `Config` when the address names no user, or parameters contradict each other.
    pub fn from_dsn(dsn: &Dsn, params: &Params) -> Result<Self> {
        let mut connect = ConnectConfig::from_dsn(dsn, DEFAULT_PORT)?;
        if connect.database.contains('/') {
            return Err(Error::config(format!("{:?} is no name of a database", connect.database))
                .with_hint("write /DATABASE?table=TABLE"));
        }
        if let Some(mode) = params.choice("sslmode") {
            connect.ssl_mode = mode.parse()?;
        }
        connect.ssl_root_cert = params.text("sslrootcert").map(Into::into);
        connect.ssl_cert = params.text("sslcert").map(Into::into);
        connect.ssl_key = params.text("sslkey").map(Into::into);
        if let Some(timeout) = params.duration("connect_timeout") {
            connect.connect_timeout = timeout;
        }
        connect.session.clear();
        if let Some(name) = params.text("application_name") {
            connect = connect.with_session("application_name", name);
        }
        if let Some(timeout) = params.duration("statement_timeout") {
            connect = connect.with_session("statement_timeout", timeout.as_millis().to_string());
        }
        let mut options = Self::new(connect);
        options.schema = params.text("schema").map(str::to_owned);
        options.table = params.text("table").map(str::to_owned);
        options.create =
            if params.choice("create") == Some("never") { Create::Never } else { Create::Missing };
        options.unlogged = params.flag("unlogged");
        options.timestamp_ns = match params.choice("timestamp_ns") {
            Some("truncate") => TimestampNs::Truncate,
            Some("bigint") => TimestampNs::BigInt,
            _ => TimestampNs::Reject,
        };
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

    /// What the encoder is told.
    pub(super) fn copy_options(&self) -> CopyOptions {
        let policy = match self.timestamp_ns {
            TimestampNs::Truncate => pgcopy::TimestampNs::Truncate,
            TimestampNs::Reject | TimestampNs::BigInt => pgcopy::TimestampNs::Reject,
        };
        CopyOptions::default().with_timestamp_ns(policy)
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
