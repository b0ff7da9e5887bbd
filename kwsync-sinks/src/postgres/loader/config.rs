//! What a loader is made from. It cannot change once the loader is there.

use std::time::Duration;

use kwsync_core::TableId;
use kwsync_core::config::{Dsn, Secret};
use kwsync_core::system::postgres::wire::{ConnectConfig, Endpoint};

use super::error::{LoadCode, LoadError};

/// The port of AnalyticDB for PostgreSQL.
const DEFAULT_PORT: u16 = 3432;

/// The configuration of a [`Loader`](super::Loader).
///
/// # Examples
/// ```
/// use kwsync_sinks::postgres::LoaderConfig;
///
/// let config = LoaderConfig::new("localhost", "metrics", "me")
///     .with_port(5432)
///     .with_table("cpu", ["host", "usage"])
///     .with_all_columns("mem");
/// ```
#[derive(Clone, Debug)]
pub struct LoaderConfig {
    pub(super) connect: ConnectConfig,
    pub(super) schema: String,
    /// None of the columns: all of them
    pub(super) tables: Vec<(TableId, Option<Vec<String>>)>,
    pub(super) insert_ignore: bool,
    pub(super) empty_as_null: bool,
    pub(super) parallel: usize,
    pub(super) retry_times: u32,
    pub(super) retry_interval: Duration,
    pub(super) commit_size: usize,
}

impl LoaderConfig {
    /// A server at its usual port, 3432.
    pub fn new(host: impl Into<String>, database: impl Into<String>, user: impl Into<String>) -> Self {
        Self::from_connect(ConnectConfig::new(host, DEFAULT_PORT, user, database))
    }

    /// A server that is reached like this; TLS and session settings are set there.
    #[must_use]
    pub fn from_connect(connect: ConnectConfig) -> Self {
        Self {
            connect,
            schema: "public".to_owned(),
            tables: Vec::new(),
            insert_ignore: true,
            empty_as_null: false,
            parallel: 4,
            retry_times: 3,
            retry_interval: Duration::from_millis(1000),
            commit_size: 1_000_000,
        }
    }

    /// A server by its address: `postgres://me:secret@host:5432/metrics`.
    ///
    /// # Errors
    /// [`LoadCode::Config`] for what is no address, or one without a user.
    pub fn from_address(address: &str) -> Result<Self, LoadError> {
        let config = |error| LoadError::new(LoadCode::Config, error);
        let dsn: Dsn = address.parse().map_err(config)?;
        Ok(Self::from_connect(ConnectConfig::from_dsn(&dsn, DEFAULT_PORT).map_err(config)?))
    }

    /// The port (default 3432).
    #[must_use]
    pub fn with_port(mut self, port: u16) -> Self {
        for endpoint in &mut self.connect.endpoints {
            let (Endpoint::Tcp(_, own) | Endpoint::Unix(_, own)) = endpoint;
            *own = port;
        }
        self
    }

    /// The password.
    #[must_use]
    pub fn with_password(mut self, password: impl Into<String>) -> Self {
        self.connect = self.connect.with_password(Secret::new(password));
        self
    }

    /// The schema of tables that name none (default `public`).
    #[must_use]
    pub fn with_schema(mut self, schema: impl Into<String>) -> Self {
        self.schema = schema.into();
        self
    }

    /// A table and those of its columns that rows have, in the order of the rows; `*` alone is all of them.
    #[must_use]
    pub fn with_table(
        mut self,
        table: impl Into<TableId>,
        columns: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        let columns: Vec<String> = columns.into_iter().map(Into::into).collect();
        let all = matches!(columns.as_slice(), [only] if only == "*");
        self.tables.push((table.into(), (!all).then_some(columns)));
        self
    }

    /// A table and all its columns that can be written, in their order.
    #[must_use]
    pub fn with_all_columns(self, table: impl Into<TableId>) -> Self {
        self.with_table(table, ["*"])
    }

    /// Whether rows whose key is there already are dropped and counted (default), or refused.
    #[must_use]
    pub const fn with_insert_ignore(mut self, ignore: bool) -> Self {
        self.insert_ignore = ignore;
        self
    }

    /// Whether empty texts are nulls (default: they are not).
    #[must_use]
    pub const fn with_empty_as_null(mut self, null: bool) -> Self {
        self.empty_as_null = null;
        self
    }

    /// How many connections write at the same time (default 4).
    #[must_use]
    pub const fn with_parallel(mut self, connections: usize) -> Self {
        self.parallel = connections;
        self
    }

    /// How often a commit is tried again when the server or the connection fails (default 3).
    #[must_use]
    pub const fn with_retry_times(mut self, times: u32) -> Self {
        self.retry_times = times;
        self
    }

    /// The wait before it is tried again (default 1,000 ms).
    #[must_use]
    pub const fn with_retry_interval(mut self, interval: Duration) -> Self {
        self.retry_interval = interval;
        self
    }

    /// Commits by itself once so many bytes of rows are buffered (default 1,000,000).
    #[must_use]
    pub const fn with_commit_size(mut self, bytes: usize) -> Self {
        self.commit_size = bytes;
        self
    }

    /// The table with its schema.
    pub(super) fn qualified(&self, table: &TableId) -> TableId {
        match table.schema() {
            Some(_) => table.clone(),
            None => TableId::with_schema(self.schema.as_str(), table.name()),
        }
    }

    pub(super) fn check(&self) -> Result<(), LoadError> {
        let fault = |text: String| Err(LoadError::config(text));
        if self.tables.is_empty() {
            return fault("no table is configured; name each with its columns (with_table)".to_owned());
        }
        for (index, (table, columns)) in self.tables.iter().enumerate() {
            let name = self.qualified(table);
            if self.tables.iter().take(index).any(|(other, _)| self.qualified(other) == name) {
                return fault(format!("table {name} is configured twice"));
            }
            let Some(columns) = columns else { continue };
            if columns.is_empty() {
                return fault(format!("table {name} has no columns; name them, or \"*\" for all"));
            }
            if let Some(twice) =
                (1..columns.len()).find(|i| columns.iter().take(*i).any(|c| *c == columns[*i]))
            {
                return fault(format!("table {name} has column {:?} twice", columns[twice]));
            }
        }
        if self.parallel == 0 || self.parallel > 64 {
            return fault(format!("parallel is {}; choose 1 to 64", self.parallel));
        }
        if self.commit_size == 0 {
            return fault("commit_size is 0; choose some bytes".to_owned());
        }
        Ok(())
    }
}
