//! The parameters of the TDengine source.

use std::time::Duration;

use kwsync_core::config::{Dsn, Param, Params};
use kwsync_core::system::tdengine::ConnectConfig;
use kwsync_core::{Error, ErrorKind, Result};

use crate::relational::{CursorOptions, Mode, Span, items};
use crate::series::moment;

/// The parameters.
pub static PARAMS: &[Param] = &[
    Param::text("token", "a token that stands for user and password, as TDengine Cloud gives them").secret(),
    Param::text("ca", "with +https or +wss: certificates of the authorities to trust (PEM), as @FILE; default: those of the machine"),
    Param::text("stables", "the supertables, between commas; default: all, and the tables that belong to none")
        .with_aliases(&["stable"]),
    Param::text(
        "tables",
        "tables: {stable}.{table} or {table}, between commas or, as @FILE, one a line; a supertable stands for all of its subtables",
    )
    .with_aliases(&["table"]),
    Param::text("columns", "the columns and tags to read, and expressions with names, between commas; default: all, and tbname"),
    Param::text("where", "a condition that the rows fulfil, as SQL"),
    Param::choice("mode", &["history", "realtime", "all"], "what is there; what comes from now on; both").with_default("history"),
    Param::text("begin", "the time to begin at, as 2023-06-01T00:00:00+0800, ...Z or, in UTC, without a zone")
        .with_aliases(&["start", "beginTime", "beginDateTime"]),
    Param::text("end", "the time before which reading ends").with_aliases(&["endTime", "endDateTime"]),
    Param::text("lookback", "mode=realtime begins so long before now").with_aliases(&["restro", "retro"]),
    Param::text("lag", "read a row only when the server's clock has passed its time by so much; default: 500ms where reading goes on, else none")
        .with_aliases(&["excursion"]),
    Param::duration("query_interval", Duration::from_secs(1), "how long to wait between two looks for new rows")
        .with_default("1s")
        .with_aliases(&["interval"]),
    Param::duration("poll_interval", Duration::from_secs(1), "how long to wait between two looks for tables that are new, changed or gone")
        .with_default("5s"),
    Param::duration("window", Duration::from_secs(1), "how much time a query takes in at first; more where there are few rows, less where many")
        .with_default("1h")
        .with_aliases(&["split_interval", "splitInterval", "readWindow"]),
    Param::int("batch_rows", 1, 1 << 20, "most rows of a batch, save where more have one time").with_default("65536"),
    Param::size("batch_size", "most bytes of a batch, save where more have one time").with_default("16MiB"),
    Param::duration("connect_timeout", Duration::from_secs(1), "how long connecting may take").with_default("10s"),
    Param::duration("timeout", Duration::from_secs(1), "how long the server may be silent").with_default("5m"),
    Param::text("query", "is not read: say with columns= and where= what is wanted"),
    Param::text("split_by", "tables are cut by their time").ignored(),
    Param::flag("select-from-stable", "subtables are read from their supertable in any case").ignored(),
    Param::text("libraryPath", "TDengine's own client library is not used").ignored(),
    Param::text("configDir", "TDengine's own client library is not used").ignored(),
];

/// How [`TdengineSource`](super::TdengineSource) reads.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TdengineOptions {
    pub(super) connect: ConnectConfig,
    pub(super) stables: Vec<String>,
    pub(super) tables: Vec<String>,
    pub(super) columns: Vec<String>,
    pub(super) filter: Option<String>,
    /// Nanoseconds.
    pub(super) window: i128,
    pub(super) batch_rows: usize,
    pub(super) batch_bytes: usize,
    pub(super) cursor: CursorOptions,
}

impl TdengineOptions {
    /// The options of an address and its checked parameters.
    ///
    /// # Errors
    /// `Config` for what contradicts itself; `Unsupported` for the native protocol.
    pub fn from_dsn(dsn: &Dsn, params: &Params) -> Result<Self> {
        let connect = ConnectConfig::from_params(dsn, params)?;
        if params.is_given("query") {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "queries of one's own are not read from TDengine",
            )
            .with_hint(
                "name the table with tables=, and say with columns= and where= what is wanted of it",
            ));
        }
        let list = |name: &str| -> Vec<String> {
            let text = params.text(name).unwrap_or_default();
            let names = text.split([',', '\n', '\r']).map(str::trim).filter(|name| !name.is_empty());
            names.map(str::to_owned).collect()
        };
        let (stables, mut tables) = (list("stables"), list("tables"));
        if let Some(table) = &connect.table {
            if !stables.is_empty() || !tables.is_empty() {
                return Err(Error::config(format!(
                    "the address names {table:?}, and stables= or tables= others"
                ))
                .with_hint(
                    "write the database alone before them: taos+http://HOST:6041/DATABASE?tables=...",
                ));
            }
            tables.push(table.clone());
        }
        let columns = match params.text("columns").map(str::trim) {
            None | Some("" | "*") => Vec::new(),
            Some(text) => items("columns", text)?,
        };
        let text = |name: &str| params.text(name).map(str::trim).filter(|text| !text.is_empty());
        let at =
            |name: &str| -> Result<Option<i128>> { text(name).map(|text| moment(name, text)).transpose() };
        let (begin, end) = (at("begin")?, at("end")?);
        if let (Some(begin), Some(end)) = (begin, end)
            && end <= begin
        {
            return Err(Error::config("end is not after begin")
                .with_hint("times without a zone are in UTC, and others as their zone says"));
        }
        let span = |name: &str| text(name).map(|text| Span::parse(name, text)).transpose();
        let batch_rows =
            params.int("batch_rows").and_then(|rows| usize::try_from(rows).ok()).unwrap_or(65_536);
        let bytes =
            params.size("batch_size").and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(16 << 20);
        let time = |name: &str, default: u64| params.duration(name).unwrap_or(Duration::from_secs(default));
        let cursor = CursorOptions {
            column: Some("time".to_owned()),
            mode: match params.choice("mode") {
                Some("realtime") => Mode::Realtime,
                Some("all") => Mode::All,
                _ => Mode::History,
            },
            begin: begin.map(|begin| begin.to_string()),
            end: end.map(|end| end.to_string()),
            lag: span("lag")?,
            lookback: span("lookback")?,
            query_interval: time("query_interval", 1),
            poll_interval: time("poll_interval", 5),
            fetch_rows: Some(batch_rows),
            ..CursorOptions::default()
        };
        cursor.check()?;
        Ok(Self {
            connect,
            stables,
            tables,
            columns,
            filter: text("where").map(str::to_owned),
            window: time("window", 3_600).max(Duration::from_secs(1)).as_nanos() as i128,
            batch_rows,
            batch_bytes: bytes.clamp(1 << 10, 1 << 30),
            cursor,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(address: &str) -> Result<TdengineOptions> {
        let dsn: Dsn = address.parse().unwrap();
        TdengineOptions::from_dsn(&dsn, &Params::parse("taos", PARAMS, dsn.params())?)
    }

    #[test]
    fn addresses_of_the_manual() {
        let made =
            options("taos+ws://u:p@td1:6041/db1?stables=stable1,stable2&mode=all&excursion=2s&interval=5s")
                .unwrap();
        assert_eq!((made.stables.len(), made.cursor.mode.follows()), (2, true));
        assert_eq!(made.cursor.query_interval, Duration::from_secs(5));
        let made =
            options("taos://h/db.meters?begin=2024-01-01&end=2024-02-01&columns=ts, 9001 as id").unwrap();
        assert_eq!((made.tables.as_slice(), made.columns.len()), (&["meters".to_owned()][..], 2));
        let made = options("taos://h/db?tables=meters.d0\nd1\n\n&mode=realtime&restro=10m").unwrap();
        assert_eq!(made.tables, ["meters.d0", "d1"]);
    }

    #[test]
    fn addresses_say_what_to_do() {
        for (address, wanted) in [
            ("taos://td1:6030/db1?libraryPath=./libtaos.so.2.6.0.30&mode=all", "native protocol"),
            ("taos://h/db.x?tables=y", "the address names \"x\""),
            ("taos://h/db?begin=now", "begin=now: this is no time"),
            ("taos://h/db?begin=2024-02-01&end=2024-02-01", "end is not after begin"),
            ("taos://h/db?mode=all&end=2024-02-01", "contradict each other"),
            ("taos://h/db?restro=10m", "mode=realtime"),
            ("taos://h/db?stabels=x", "did you mean `stables`?"),
            ("taos://h/db?columns=a,,b", "an expression is missing"),
            ("taos://h/db?query=SELECT 1", "columns= and where="),
        ] {
            let error = options(address).unwrap_err().report();
            assert!(error.contains(wanted), "{address}: {error}");
        }
    }
}
