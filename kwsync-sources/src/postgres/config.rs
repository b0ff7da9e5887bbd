//! The parameters of the PostgreSQL source.

use std::time::Duration;

use kwsync_core::config::{Dsn, Param, Params};
use kwsync_core::system::postgres::profile::Server;
use kwsync_core::system::postgres::wire::ConnectConfig;
use kwsync_core::{Error, JobId, Result, TableId};

use super::changes::config::{ChangesOptions, Wire};
use crate::relational::changes::{Operations, Order};
use crate::relational::{CursorOptions, Pattern, items, with_cursor};

/// The parameters.
pub static PARAMS: &[Param] = with_cursor![
    Param::list("tables", "the tables: TABLE, SCHEMA.TABLE, patterns with *; quote a part that holds a dot")
        .with_aliases(&["table"]),
    Param::list("exclude", "tables to leave out, as tables="),
    Param::text("schema", "the schema of tables that name none; default: along the search path, for patterns all"),
    Param::text("columns", "expressions between commas, such as id,9001 as site; default: all columns")
        .with_aliases(&["column"]),
    Param::text("where", "a condition that the rows fulfil"),
    Param::text("query", "a statement whose rows are read instead of tables; table= names their table then")
        .with_aliases(&["querySql", "query_sql"]),
    Param::choice(
        "split",
        &["auto", "key", "ctid", "none"],
        "how tables are cut for several lanes: by the primary key, by the places of the rows, or not; auto takes the \
         key where the rows lie in its order",
    )
    .with_default("auto"),
    Param::text("split_by", "the column by which rows are cut; of a query or view one whose values are distinct")
        .with_aliases(&["splitPk", "split_pk"]),
    Param::int("splits", 1, 100_000, "into how many pieces each table is cut; default: by its size and the lanes"),
    Param::int("split_rows", 1, i64::MAX, "about how many rows a piece has, by the server's statistics"),
    Param::choice("snapshot", &["shared", "none"], "read all at one moment, or each piece at its own")
        .with_default("shared"),
    Param::choice("qualified", &["auto", "always", "never"], "whether tables keep their schema; auto: if there are several")
        .with_default("auto"),
    Param::choice("fetch", &["copy", "select"], "how rows are fetched; select for what has no COPY ... TO STDOUT")
        .with_default("copy"),
    Param::flag("row_security", "read only the rows that the policies of row security show, instead of refusing")
        .with_default("false"),
    Param::text("timezone", "the session's time zone, which counts for conditions and for what comes as text")
        .with_default("UTC"),
    Param::int("batch_rows", 1, 1 << 20, "most rows of a batch").with_default("65536").with_aliases(&["fetchSize", "fetch_size"]),
    Param::size("batch_size", "most bytes of a batch, as the server sends them").with_default("2MiB"),
    Param::flag("changes", "follow inserts, updates and deletes by logical replication: after a copy, and until the job has caught up; mode=all \
                            does not end, mode=realtime does not copy")
        .with_default("false"),
    Param::text("slot", "with changes=true: the replication slot; default: one of the job's own"),
    Param::text("publication", "with changes=true: the publication; default: one of the job's own"),
    Param::choice("keyless", &["refuse", "inserts"], "with changes=true: what becomes of tables without a replica identity; \
                                                      inserts follows those alone")
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
        "with changes=true: which changes are carried: insert, update, delete, truncate; alter, columns that are added, always; default: all",
    ),
    Param::choice("values", &["auto", "text"], "with changes=true: whether values come in binary form where the server can")
        .with_default("auto"),
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
    Param::text("application_name", "how the session is called at the server").with_default("kwsync"),
];

/// How tables are cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SplitMode {
    /// By key where the rows lie in its order, else by place.
    #[default]
    Auto,
    /// By the primary key.
    Key,
    /// By the places of the rows.
    Ctid,
    /// Not at all.
    Never,
}

/// Whether tables keep their schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Qualified {
    Auto,
    Always,
    Never,
}

/// How [`PostgresSource`](super::PostgresSource) reads.
#[derive(Clone, Debug)]
pub struct PostgresSourceOptions {
    pub(super) connect: ConnectConfig,
    pub(super) tables: Vec<Pattern>,
    pub(super) exclude: Vec<Pattern>,
    pub(super) schema: Option<String>,
    pub(super) columns: Vec<String>,
    pub(super) condition: Option<String>,
    pub(super) query: Option<String>,
    pub(super) split: SplitMode,
    pub(super) split_by: Option<String>,
    pub(super) splits: Option<usize>,
    pub(super) split_rows: Option<u64>,
    pub(super) shared_snapshot: bool,
    pub(super) qualified: Qualified,
    /// By SELECT instead of COPY.
    pub(super) select: bool,
    pub(super) row_security: bool,
    pub(super) timezone: String,
    pub(super) batch_rows: usize,
    pub(super) batch_bytes: usize,
    pub(super) cursor: CursorOptions,
    /// Where changes are followed.
    pub(super) changes: Option<ChangesOptions>,
}

impl PostgresSourceOptions {
    /// Nothing to read yet, from a server.
    pub fn new(connect: ConnectConfig) -> Self {
        Self {
            connect,
            tables: Vec::new(),
            exclude: Vec::new(),
            schema: None,
            columns: Vec::new(),
            condition: None,
            query: None,
            split: SplitMode::Auto,
            split_by: None,
            splits: None,
            split_rows: None,
            shared_snapshot: true,
            qualified: Qualified::Auto,
            select: false,
            row_security: false,
            timezone: "UTC".to_owned(),
            batch_rows: 65_536,
            batch_bytes: 2 << 20,
            cursor: CursorOptions::default(),
            changes: None,
        }
    }

    /// The options of an address and its checked parameters.
    ///
    /// # Errors
    /// `Config` when the address names no user, or there is nothing to read, or parameters contradict each other.
    pub fn from_dsn(dsn: &Dsn, params: &Params) -> Result<Self> {
        let mut options =
            Self::new(ConnectConfig::from_params(dsn, params, Server::default_port(dsn.driver()))?);
        options = options.with_tables(params.list("tables"))?;
        options.exclude =
            params.list("exclude").iter().map(|text| Pattern::new(text)).collect::<Result<_>>()?;
        options.schema = params.text("schema").map(str::to_owned);
        if let Some(columns) = params.text("columns") {
            options = options.with_columns(columns)?;
        }
        options.condition = params.text("where").map(str::to_owned);
        options.query = params.text("query").map(trimmed);
        options.split = match params.choice("split") {
            Some("key") => SplitMode::Key,
            Some("ctid") => SplitMode::Ctid,
            Some("none") => SplitMode::Never,
            _ => SplitMode::Auto,
        };
        options.split_by = params.text("split_by").map(str::to_owned);
        options.splits = params.int("splits").and_then(|splits| usize::try_from(splits).ok());
        options.split_rows = params.int("split_rows").and_then(|rows| u64::try_from(rows).ok());
        options.shared_snapshot = params.choice("snapshot") != Some("none");
        options.qualified = match params.choice("qualified") {
            Some("always") => Qualified::Always,
            Some("never") => Qualified::Never,
            _ => Qualified::Auto,
        };
        options.select = params.choice("fetch") == Some("select");
        options.row_security = params.flag("row_security");
        if let Some(zone) = params.text("timezone") {
            zone.clone_into(&mut options.timezone);
        }
        if let Some(rows) = params.int("batch_rows").and_then(|rows| usize::try_from(rows).ok()) {
            options.batch_rows = rows;
        }
        if let Some(bytes) = params.size("batch_size") {
            options.batch_bytes = usize::try_from(bytes).unwrap_or(usize::MAX).clamp(1 << 10, 1 << 30);
        }
        let changes = params.flag("changes");
        options.cursor = CursorOptions::from_params(params, !changes)?;
        if changes {
            let operations = Operations::of(params)?;
            if !operations.alter {
                return Err(Error::config(
                    "operations= leaves alter out, and columns that are added come with their rows here",
                )
                .with_hint("name alter, too; -T drop-columns leaves columns out"));
            }
            options.changes = Some(ChangesOptions {
                as_text: Default::default(),
                extent: options.cursor.mode.into(),
                job: None,
                slot: params.text("slot").map(str::to_owned),
                publication: params.text("publication").map(str::to_owned),
                keyless: params.choice("keyless") == Some("inserts"),
                wire: if params.choice("values") == Some("text") { Wire::Text } else { Wire::Auto },
                order: Order::of(params),
                operations,
            });
        } else if let Some(name) =
            ["slot", "publication", "operations"].iter().find(|name| params.is_given(name))
        {
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

    /// Says which job reads: slot and publication are called by it.
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
                ("fetch=select", self.select),
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

    /// Sets the tables: `TABLE`, `SCHEMA.TABLE`, patterns with `*`.
    ///
    /// # Errors
    /// `Config` for what is no name of a table.
    pub fn with_tables(mut self, tables: impl IntoIterator<Item = impl AsRef<str>>) -> Result<Self> {
        self.tables = tables.into_iter().map(|text| Pattern::new(text.as_ref())).collect::<Result<_>>()?;
        Ok(self)
    }

    /// Sets the statement whose rows are read.
    #[must_use]
    pub fn with_query(mut self, query: impl AsRef<str>) -> Self {
        self.query = Some(trimmed(query.as_ref()));
        self
    }

    /// Sets the columns: expressions between commas, `*` for all.
    ///
    /// # Errors
    /// `Config` where a quote or bracket is not closed.
    pub fn with_columns(mut self, columns: &str) -> Result<Self> {
        self.columns = items("columns", columns)?;
        Ok(self)
    }

    /// Sets the condition that rows fulfil.
    #[must_use]
    pub fn with_condition(mut self, condition: impl Into<String>) -> Self {
        self.condition = Some(condition.into());
        self
    }

    /// Sets how tables are cut.
    #[must_use]
    pub fn with_split(mut self, split: SplitMode) -> Self {
        self.split = split;
        self
    }

    /// Sets the column by which rows are cut.
    #[must_use]
    pub fn with_split_by(mut self, column: impl Into<String>) -> Self {
        self.split_by = Some(column.into());
        self
    }

    /// Sets into how many pieces each table is cut.
    #[must_use]
    pub fn with_splits(mut self, splits: usize) -> Self {
        self.splits = Some(splits.max(1));
        self
    }

    /// Sets the bounds of a batch: rows, and bytes as the server sends them.
    #[must_use]
    pub fn with_batch(mut self, rows: usize, bytes: usize) -> Self {
        self.batch_rows = rows.max(1);
        self.batch_bytes = bytes.clamp(1 << 10, 1 << 30);
        self
    }

    /// Sets whether all is read at one moment.
    #[must_use]
    pub fn with_shared_snapshot(mut self, shared: bool) -> Self {
        self.shared_snapshot = shared;
        self
    }
}

/// A statement without the semicolon at its end.
fn trimmed(sql: &str) -> String {
    sql.trim().trim_end_matches(';').trim_end().to_owned()
}
