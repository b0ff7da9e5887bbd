//! The parameters of the IoTDB source.

use std::time::Duration;

use kwsync_core::config::{Dsn, Param, Params};
use kwsync_core::system::iotdb::{ConnectConfig, DEVICE_COLUMN};
use kwsync_core::{Error, Result, TimeUnit};
use kwsync_formats::nanoseconds;

/// The parameters.
pub static PARAMS: &[Param] = &[
    Param::list("node-urls", "nodes of the cluster beside those of the address, as HOST:PORT; the first that answers is taken")
        .with_aliases(&["node_urls"]),
    Param::text("user", "the user, where the address names none; default: root").with_aliases(&["username"]),
    Param::text("password", "the password, where the address has none; default: root").secret(),
    Param::text(
        "pattern",
        "the beginning of the paths of series, with backquotes as the server prints them; not only whole nodes: root.a.1 takes \
         root.a.1TS; default: the path of the address, else root",
    ),
    Param::text("start-time", "the first time that is read: ISO, or a number in the server's precision; history.* means nothing then")
        .with_aliases(&["start_time", "beginTime"]),
    Param::text("end-time", "the last time that is read; history.* means nothing then").with_aliases(&["end_time", "endTime"]),
    Param::text("history.start-time", "the first time of history that is read").with_aliases(&["historical.start-time"]),
    Param::text("history.end-time", "the last time of history that is read").with_aliases(&["historical.end-time"]),
    Param::flag("history.enable", "whether what is there when the job begins is read").with_default("true").with_aliases(&["historical.enable"]),
    Param::flag(
        "follow",
        "whether reading goes on with what comes later. In a pipe it does, if 'realtime.enable'='false' does not say otherwise",
    )
    .with_aliases(&["realtime.enable"]),
    Param::duration(
        "lag",
        Duration::from_secs(1),
        "with follow: read a time only when the clock has passed it by so much; rows that are written later than that are missed",
    )
    .with_default("10s"),
    Param::duration("query_interval", Duration::from_secs(1), "with follow: how long to wait between two looks for what is new")
        .with_default("1s")
        .with_aliases(&["interval"]),
    Param::choice("tables", &["database", "device"], "what a table is: all devices of a database, or each by itself")
        .with_default("database"),
    Param::text("device_column", "the column that holds the path of the device").with_default("device"),
    Param::int("fetch_rows", 1, 1_000_000, "the most rows that are fetched at a time").with_default("10000").with_aliases(&["fetchSize"]),
    Param::duration("connect_timeout", Duration::from_secs(1), "how long connecting may take, for each node").with_default("10s"),
    Param::duration("timeout", Duration::from_secs(1), "how long an answer may take").with_default("5m"),
    Param::text("realtime.mode", "what is new is found by its time").ignored(),
    Param::text("realtime.loose-range", "ranges are exact").ignored(),
    Param::text("history.loose-range", "ranges are exact").ignored(),
    Param::text("forwarding-pipe-requests", "all that the server has is read, wherever it came from").ignored(),
    Param::text("inclusion", "inserted data is read, nothing else").ignored(),
    Param::text("inclusion.exclusion", "inserted data is read, nothing else").ignored(),
];

/// A time that the operator gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// In the server's precision.
    Units(i64),
    /// Nanoseconds since 1970.
    Nanos(i128),
}

impl Moment {
    /// Of a number, or of text as `2011-12-03T10:15:30+01:00`; the day may have dots: `2011.12.03T...`. Without a zone it is UTC.
    fn parse(name: &str, text: &str) -> Result<Self> {
        let text = text.trim();
        if let Ok(units) = text.parse() {
            return Ok(Self::Units(units));
        }
        let dashed = match text.split_at_checked(10) {
            Some((day, rest)) => format!("{}{rest}", day.replace('.', "-")),
            None => text.to_owned(),
        };
        nanoseconds(&dashed).map(Self::Nanos).ok_or_else(|| {
            Error::config(format!("{name}={text}: this is no time")).with_hint(
                "write YYYY-MM-DDTHH:MM:SS, with Z or +hh:mm if it is not UTC, or a number in the server's precision",
            )
        })
    }

    /// The first time, in `unit`, that is not before this.
    pub(super) fn first(self, unit: TimeUnit) -> i64 {
        match self {
            Self::Units(units) => units,
            Self::Nanos(nanos) => clamped(-(-nanos).div_euclid(i128::from(unit.nanos()))),
        }
    }

    /// The last time, in `unit`, that is not behind this.
    pub(super) fn last(self, unit: TimeUnit) -> i64 {
        match self {
            Self::Units(units) => units,
            Self::Nanos(nanos) => clamped(nanos.div_euclid(i128::from(unit.nanos()))),
        }
    }
}

fn clamped(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}

/// What a table is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TableOf {
    /// All devices of a database.
    #[default]
    Database,
    /// One device.
    Device,
}

/// What [`IotdbSource`](super::IotdbSource) reads.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct IotdbOptions {
    /// How to reach the server.
    pub connect: ConnectConfig,
    /// The beginning of the paths of series.
    pub pattern: String,
    /// The first and the last time that are read, history or not.
    pub range: (Option<Moment>, Option<Moment>),
    /// The first and the last time of history.
    pub history: (Option<Moment>, Option<Moment>),
    /// Whether history is read at all.
    pub with_history: bool,
    /// Whether reading goes on with what comes later.
    pub follow: bool,
    /// How far behind the clock it stays then.
    pub lag: Duration,
    /// How long it waits between two looks.
    pub query_interval: Duration,
    /// What a table is.
    pub tables: TableOf,
    /// The column that holds the path of the device.
    pub device_column: String,
    /// The most rows that are fetched at a time.
    pub fetch_rows: usize,
}

impl IotdbOptions {
    /// The defaults, for a server: everything that it has, once.
    pub fn new(connect: ConnectConfig) -> Self {
        Self {
            connect,
            pattern: "root".to_owned(),
            range: (None, None),
            history: (None, None),
            with_history: true,
            follow: false,
            lag: Duration::from_secs(10),
            query_interval: Duration::from_secs(1),
            tables: TableOf::Database,
            device_column: DEVICE_COLUMN.to_owned(),
            fetch_rows: 10_000,
        }
    }

    /// The options of an address and its checked parameters.
    ///
    /// # Errors
    /// `Config` for an address without a host, a pattern that does not begin with root, and what is no time.
    pub fn from_dsn(dsn: &Dsn, params: &Params) -> Result<Self> {
        let mut options = Self::new(ConnectConfig::from_params(dsn, params)?);
        let object = dsn.object().map(|object| object.trim_matches('/')).filter(|object| !object.is_empty());
        match (params.text("pattern"), object) {
            (Some(pattern), _) => pattern.trim().clone_into(&mut options.pattern),
            // A path is whole nodes: root.plant is not root.plant2.
            (None, Some(path)) if path != "root" => {
                options.pattern = format!("{}.", path.trim_end_matches('.'))
            }
            _ => {}
        }
        if !options.pattern.starts_with("root") {
            return Err(Error::config(format!("pattern={}: paths begin with root", options.pattern))
                .with_hint(format!("did you mean root.{}?", options.pattern)));
        }
        let moment = |name: &str| params.text(name).map(|text| Moment::parse(name, text)).transpose();
        options.range = (moment("start-time")?, moment("end-time")?);
        options.history = (moment("history.start-time")?, moment("history.end-time")?);
        options.with_history = params.flag("history.enable");
        options.follow = params.flag("follow");
        if !options.with_history && !options.follow {
            return Err(Error::config("history.enable=false without follow leaves nothing to read")
                .with_hint("add follow=true to read what comes from now on"));
        }
        for (name, target) in [("lag", &mut options.lag), ("query_interval", &mut options.query_interval)] {
            if let Some(time) = params.duration(name) {
                *target = time;
            }
        }
        options.tables = match params.choice("tables") {
            Some("device") => TableOf::Device,
            _ => TableOf::Database,
        };
        if let Some(column) = params.text("device_column") {
            column.clone_into(&mut options.device_column);
        }
        if let Some(rows) = params.int("fetch_rows").and_then(|rows| usize::try_from(rows).ok()) {
            options.fetch_rows = rows;
        }
        Ok(options)
    }

    /// The first and the last time of history, in `unit`; `range` goes before.
    pub(super) fn history_in(&self, unit: TimeUnit) -> (i64, i64) {
        let (first, last) = match self.range {
            (None, None) => self.history,
            range => range,
        };
        (first.map_or(i64::MIN, |first| first.first(unit)), last.map_or(i64::MAX, |last| last.last(unit)))
    }

    /// The first and the last time that are read at all, in `unit`.
    pub(super) fn range_in(&self, unit: TimeUnit) -> (i64, i64) {
        let (first, last) = self.range;
        (first.map_or(i64::MIN, |first| first.first(unit)), last.map_or(i64::MAX, |last| last.last(unit)))
    }
}
