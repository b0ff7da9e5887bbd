//! The parameters of the TDengine sink.

use std::time::Duration;

use kwsync_core::config::{Dsn, Param, Params};
use kwsync_core::system::tdengine::{ConnectConfig, Lengths};
use kwsync_core::{Error, Result, TimeUnit};

use super::naming::Template;

/// What a server takes of a statement unless it is configured otherwise.
const MOST_SQL_BYTES: i64 = 64 << 20;

/// The parameters.
pub static PARAMS: &[Param] = &[
    Param::text("token", "a token that stands for user and password, as TDengine Cloud gives them").secret(),
    Param::text("ca", "with +https or +wss: certificates of the authorities to trust (PEM), as @FILE; default: those of the machine"),
    Param::flag("assert", "make the database if it is missing").with_default("false"),
    Param::choice("precision", &["ms", "us", "ns"], "with assert: the precision of a database that is made; default: that of the rows"),
    Param::text("table", "the table or supertable that all rows go to; default: that of each row"),
    Param::choice("mode", &["insert"], "rows of a time that is there replace what is there").with_default("insert"),
    Param::choice(
        "create",
        &["missing", "evolve", "never"],
        "make tables, columns and tags that are missing; make columns of text longer, too; or refuse rows for which there are none",
    )
    .with_default("missing"),
    Param::text("time_column", "the column of the time, where the rows have none of that role").with_default("ts"),
    Param::text(
        "subtable",
        "the name of a row's subtable, where it has no tbname: text with {table} and {TAG}, as d{id}; default: the supertable's name and a \
         hash of the tags",
    ),
    Param::int("text_length", 1, 65_517, "the length in bytes of columns that are made for texts without one").with_default("1024"),
    Param::int("tag_length", 1, 16_382, "the length in bytes of tags that are made for texts without one").with_default("256"),
    Param::choice("timestamp_ns", &["reject", "truncate"], "times finer than the database's precision: reject the row, or cut them off")
        .with_default("reject"),
    Param::flag("update-tags", "change the tags of subtables that are there and have others than their rows")
        .with_default("false")
        .with_aliases(&["update_tags"]),
    Param::int("batch-size", 1, 1_000_000, "the most rows of a statement").with_default("50000").with_aliases(&["batch_size", "batchSize"]),
    Param::int("max-sql-length", 1_000, MOST_SQL_BYTES, "the most bytes of a statement; the server takes 1,048,576 if it is not told otherwise")
        .with_default("800000")
        .with_aliases(&["max_sql_length"]),
    Param::duration("interval", Duration::from_millis(1), "how long to wait after each statement").with_default("0"),
    Param::text("failes-to", "write rejects to this file and go on: the same as --errors reject:FILE").with_aliases(&["fails-to"]),
    Param::duration("timeout-per-table", Duration::from_secs(1), "how long an INSERT may take as a whole; default: without an end, as long as the server is not silent for timeout"),
    Param::duration("connect_timeout", Duration::from_secs(1), "how long connecting may take").with_default("10s"),
    Param::duration("timeout", Duration::from_secs(1), "how long the server may be silent").with_default("5m"),
    Param::int("connect_attempts", 1, 1_000_000, "how often a statement is sent again while the server cannot be reached or is busy")
        .with_default("8"),
    Param::text("pre_sql", "statements to run before the first row, once for a job, with ; between them").with_aliases(&["preSql"]),
    Param::text("post_sql", "statements to run when all rows are there").with_aliases(&["postSql"]),
    Param::flag("force-stmt", "statements of literals are sent in any case").ignored(),
    Param::text("libraryPath", "TDengine's own client library is not used").ignored(),
    Param::text("configDir", "TDengine's own client library is not used").ignored(),
];

/// What is made at the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Create {
    /// Tables, columns and tags that are missing.
    #[default]
    Missing,
    /// These, and longer columns for longer texts.
    Evolve,
    /// Nothing.
    Never,
}

/// How [`TdengineSink`](super::TdengineSink) writes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TdengineOptions {
    /// How to reach the server, and which database is written.
    pub connect: ConnectConfig,
    /// Whether the database is made if it is missing, and its precision then; without one, that of the rows.
    pub assert: Option<Option<TimeUnit>>,
    /// The table that all rows go to.
    pub table: Option<String>,
    /// What is made at the server.
    pub create: Create,
    /// The column of the time, where none has that role.
    pub time_column: String,
    /// The names of subtables, where the rows have none.
    pub subtable: Option<Template>,
    /// Lengths of texts that have none of their own.
    pub lengths: Lengths,
    /// Whether what is finer than the database's precision is cut off.
    pub truncate_times: bool,
    /// Whether the tags of subtables that are there are changed.
    pub update_tags: bool,
    /// The most rows of a statement.
    pub statement_rows: usize,
    /// The most bytes of a statement.
    pub statement_bytes: usize,
    /// How long to wait after each statement.
    pub interval: Duration,
    /// How long an INSERT may take as a whole.
    pub insert_timeout: Option<Duration>,
    /// How often a statement is sent again.
    pub attempts: u32,
    /// Statements to run before the first row, once for a job.
    pub pre_sql: Vec<String>,
    /// Statements to run when all rows are there.
    pub post_sql: Vec<String>,
}

impl TdengineOptions {
    /// The defaults, for a server and a database.
    pub fn new(connect: ConnectConfig) -> Self {
        Self {
            table: connect.table.clone(),
            connect,
            assert: None,
            create: Create::Missing,
            time_column: "ts".to_owned(),
            subtable: None,
            lengths: Lengths::default(),
            truncate_times: false,
            update_tags: false,
            statement_rows: 50_000,
            statement_bytes: 800_000,
            interval: Duration::ZERO,
            insert_timeout: None,
            attempts: 8,
            pre_sql: Vec::new(),
            post_sql: Vec::new(),
        }
    }

    /// The options of an address and its checked parameters.
    ///
    /// # Errors
    /// `Config` for an address without a database, a template that is none, or a precision without `assert`; `Unsupported` for the native protocol.
    pub fn from_dsn(dsn: &Dsn, params: &Params) -> Result<Self> {
        let mut options = Self::new(ConnectConfig::from_params(dsn, params)?);
        options.insert_timeout = params.duration("timeout-per-table").filter(|time| !time.is_zero());
        let precision = params.choice("precision").map(str::parse).transpose()?;
        if precision.is_some() && !params.flag("assert") {
            return Err(Error::config(
                "precision= says how a database is made, and without assert none is made",
            )
            .with_hint("add assert, or leave precision= out"));
        }
        options.assert = params.flag("assert").then_some(precision);
        if let Some(table) = params.text("table").filter(|table| !table.is_empty()) {
            options.table = Some(table.to_owned());
        }
        options.create = match params.choice("create") {
            Some("never") => Create::Never,
            Some("evolve") => Create::Evolve,
            _ => Create::Missing,
        };
        if let Some(column) = params.text("time_column") {
            column.clone_into(&mut options.time_column);
        }
        options.subtable = params.text("subtable").map(str::parse).transpose()?;
        let number = |name: &str| params.int(name).and_then(|number| u32::try_from(number).ok());
        let defaults = Lengths::default();
        options.lengths = Lengths {
            column: number("text_length").unwrap_or(defaults.column),
            tag: number("tag_length").unwrap_or(defaults.tag),
        };
        options.truncate_times = params.choice("timestamp_ns") == Some("truncate");
        options.update_tags = params.flag("update-tags");
        if let Some(rows) = number("batch-size") {
            options.statement_rows = rows as usize;
        }
        if let Some(bytes) = number("max-sql-length") {
            options.statement_bytes = bytes as usize;
        }
        options.interval = params.duration("interval").unwrap_or_default();
        options.attempts = number("connect_attempts").unwrap_or(options.attempts);
        options.pre_sql = statements(params.text("pre_sql").unwrap_or_default());
        options.post_sql = statements(params.text("post_sql").unwrap_or_default());
        Ok(options)
    }
}

/// The statements between semicolons outside of quotes: the server takes one at a time.
fn statements(text: &str) -> Vec<String> {
    let mut found = vec![String::new()];
    let (mut quote, mut escaped) = (None, false);
    for c in text.chars() {
        match quote {
            Some(_) if std::mem::take(&mut escaped) => {}
            Some('\'' | '"') if c == '\\' => escaped = true,
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if matches!(c, '\'' | '"' | '`') => quote = Some(c),
            None if c == ';' => {
                found.push(String::new());
                continue;
            }
            None => {}
        }
        if let Some(last) = found.last_mut() {
            last.push(c);
        }
    }
    let filled = found.iter().map(|statement| statement.trim()).filter(|statement| !statement.is_empty());
    filled.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::statements;

    #[test]
    fn statements_come_apart() {
        assert_eq!(
            statements("DROP TABLE `a;b`;\nx = 'it\\';s';; y = \"a;\" ;"),
            ["DROP TABLE `a;b`", "x = 'it\\';s'", "y = \"a;\""]
        );
        assert!(statements(" ; ").is_empty());
    }
}
