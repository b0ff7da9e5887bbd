//! The parameters of the ClickHouse source.

use std::sync::Arc;
use std::time::Duration;

use kwsync_core::config::{Dsn, Param, Params};
use kwsync_core::{Error, Result, TableId};

use crate::relational::{CursorOptions, Pattern, items, with_cursor};
use crate::series::{HttpOptions, http_of};

/// The parameters.
pub static PARAMS: &[Param] = with_cursor![
    Param::list(
        "tables",
        "the tables: TABLE, DATABASE.TABLE, patterns with *; quote a part that holds a dot",
    )
    .with_aliases(&["table"]),
    Param::list("exclude", "tables to leave out, as tables="),
    Param::text("columns", "expressions between commas, such as id,9001 AS site; default: all columns")
        .with_aliases(&["column"]),
    Param::text("where", "a condition that the rows fulfil"),
    Param::text("query", "a statement whose rows are read instead of tables; table= names their table then")
        .with_aliases(&["querySql", "query_sql"]),
    Param::text(
        "split_by",
        "the column of integers, dates or times by which rows are cut and in whose order they come; default: the first of the \
         sorting key",
    )
    .with_aliases(&["splitPk", "split_pk"]),
    Param::int("splits", 1, 10_000, "into how many pieces each table is cut; default: by its rows"),
    Param::int("split_rows", 1, i64::MAX, "about how many rows a piece has").with_default("1000000"),
    Param::choice(
        "order",
        &["auto", "none"],
        "rows in the order of split_by, so that a job can be read on from the middle, or as the server has them, which is faster",
    )
    .with_default("auto"),
    Param::flag("final", "read with FINAL: rows as merges of the engine leave them").with_default("false"),
    Param::list(
        "binary",
        "the columns of String and FixedString that hold bytes, or *; text that is not UTF-8 is a reject otherwise",
    ),
    Param::int("batch_rows", 1, 1 << 20, "most rows of a batch, and of a block of the server's")
        .with_default("65536")
        .with_aliases(&["fetchSize", "fetch_size"]),
    Param::size("batch_size", "most bytes of a batch, about; a block of the server's may be larger").with_default("8MiB"),
    Param::choice("compression", &["none", "gzip"], "how the server's answers are packed").with_default("none"),
    Param::text("ca", "with +https: certificates of the authorities to trust (PEM), as @FILE; default: those of the machine"),
    Param::duration("connect_timeout", Duration::from_secs(1), "how long connecting may take").with_default("10s"),
    Param::duration("timeout", Duration::from_secs(1), "how long the server may be silent; it is so while it sorts")
        .with_default("5m"),
    Param::flag("ssl", "the same as +https").with_default("false"),
    Param::text("useUnicode", "text is always Unicode").ignored(),
    Param::text("characterEncoding", "text is always UTF-8").ignored(),
];

/// How [`ClickHouseSource`](super::ClickHouseSource) reads. `Debug` hides the password.
#[derive(Clone, Debug)]
pub struct ClickHouseOptions {
    /// The servers, of which the first that answers is meant.
    pub(super) http: Vec<Arc<HttpOptions>>,
    /// The database that tables are in where nothing else is said.
    pub(super) database: String,
    pub(super) tables: Vec<Pattern>,
    pub(super) exclude: Vec<Pattern>,
    pub(super) columns: Vec<String>,
    pub(super) condition: Option<String>,
    pub(super) query: Option<String>,
    pub(super) split_by: Option<String>,
    pub(super) splits: Option<usize>,
    pub(super) split_rows: u64,
    pub(super) ordered: bool,
    pub(super) of_final: bool,
    pub(super) binary: Vec<String>,
    pub(super) batch_rows: usize,
    pub(super) batch_bytes: usize,
    pub(super) gzip: bool,
    pub(super) cursor: CursorOptions,
}

impl ClickHouseOptions {
    /// The options of an address and its checked parameters.
    ///
    /// # Errors
    /// `Config` when there is nothing to read, parameters contradict each other, or the address is none.
    pub fn from_dsn(dsn: &Dsn, params: &Params) -> Result<Self> {
        const FORM: &str = "clickhouse://USER:PASSWORD@HOST:8123/DATABASE?tables=a,b";
        let database = dsn.object().map(|object| object.trim_matches('/')).filter(|name| !name.is_empty());
        let database = database.unwrap_or("default").to_owned();
        let plain = dsn.clone().with_object("");
        let mut http = Vec::new();
        for host in dsn.hosts() {
            let mut one =
                http_of(&plain.clone().with_hosts([host.clone()]), params, "ClickHouse", 8123, FORM)?;
            if let Some(user) = dsn.user().filter(|user| !user.is_empty()) {
                one.log_in(user, dsn.password());
            }
            one.tls |= params.flag("ssl");
            http.push(Arc::new(one));
        }
        if http.is_empty() {
            return Err(Error::config("the address names no server").with_hint(format!("write {FORM}")));
        }
        let patterns = |name: &str| -> Result<Vec<Pattern>> {
            params.list(name).iter().map(|text| Pattern::new(text)).collect()
        };
        let number = |name: &str| params.int(name).and_then(|number| usize::try_from(number).ok());
        let options = Self {
            http,
            database,
            tables: patterns("tables")?,
            exclude: patterns("exclude")?,
            columns: params
                .text("columns")
                .map(|text| items("columns", text))
                .transpose()?
                .unwrap_or_default(),
            condition: params.text("where").map(str::to_owned),
            query: params.text("query").map(|sql| sql.trim().trim_end_matches(';').trim_end().to_owned()),
            split_by: params
                .text("split_by")
                .map(|name| name.trim().to_owned())
                .filter(|name| !name.is_empty()),
            splits: number("splits"),
            split_rows: params
                .int("split_rows")
                .and_then(|rows| u64::try_from(rows).ok())
                .unwrap_or(1_000_000),
            ordered: params.choice("order") != Some("none"),
            of_final: params.flag("final"),
            binary: params.list("binary").to_vec(),
            batch_rows: number("batch_rows").unwrap_or(65_536),
            batch_bytes: params.size("batch_size").map_or(8 << 20, |bytes| {
                usize::try_from(bytes).unwrap_or(usize::MAX).clamp(1 << 10, 1 << 30)
            }),
            gzip: params.choice("compression") == Some("gzip"),
            cursor: CursorOptions::from_params(params, true)?,
        };
        options.check()?;
        Ok(options)
    }

    /// The table that the rows of a query belong to.
    pub(super) fn query_table(&self) -> TableId {
        match self.tables.first().and_then(|pattern| pattern.exact()) {
            Some((_, name)) => TableId::new(name),
            None => TableId::new("query"),
        }
    }

    /// Whether tables of several databases are asked for, so that their names alone do not tell them apart. By what is asked and not
    /// by what is there: a table that appears must not change what others are called.
    pub(super) fn of_several(&self) -> bool {
        let mut databases = self.tables.iter().map(|pattern| pattern.one_schema(&self.database));
        match databases.next() {
            Some(first) => first.is_none() || databases.any(|other| other != first),
            None => false,
        }
    }

    /// What the rows of a table are called.
    pub(super) fn called(&self, table: &TableId) -> TableId {
        if self.of_several() { table.clone() } else { TableId::new(table.name()) }
    }

    /// Whether the texts of a column are bytes.
    pub(super) fn is_binary(&self, column: &str) -> bool {
        self.binary.iter().any(|name| name == "*" || name == column)
    }

    /// What is read, as splits have it.
    pub(super) fn what(&self) -> serde_json::Value {
        let cursor = &self.cursor;
        serde_json::json!([
            self.columns,
            self.condition,
            self.query,
            self.split_by,
            self.of_final,
            self.binary,
            cursor.column,
            cursor.begin,
            cursor.end,
            self.of_several(),
        ])
    }

    fn check(&self) -> Result<()> {
        if self.cursor.column.is_some() && self.split_by.is_some() {
            return Err(Error::config("`cursor` and `split_by` are two ways to read")
                .with_hint("keep one of them: a cursor is read in one piece, whatever split_by= says"));
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
            ("final", self.of_final),
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
}
