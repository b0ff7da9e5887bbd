//! The parameters of the OpenTSDB source.

use std::sync::Arc;
use std::time::Duration;

use kwsync_core::config::{Dsn, Param, Params};
use kwsync_core::{Error, Result};
use kwsync_formats::opentsdb::MetricNames;

use crate::relational::CursorOptions;
use crate::series::{HttpOptions, Range, http_of};

/// The parameters.
pub static PARAMS: &[Param] = &[
    Param::list("metrics", "the metrics; default: all").with_aliases(&["tables", "table"]),
    Param::choice(
        "metric",
        &["underscore", "verbatim", "split"],
        "the table of tb.c1: tb_c1 with k_timestamp and value; tb.c1 with timestamp and value; tb, with the value in the column c1",
    )
    .with_default("underscore"),
    Param::text(
        "beginTime",
        "the time to begin at, as 2023-06-01T00:00:00+0800, ...Z or, in UTC, without a zone",
    )
    .with_aliases(&["begin", "begin_time", "beginDateTime"])
    .required(),
    Param::text("endTime", "the time before which reading ends; without it reading goes on")
        .with_aliases(&["end", "end_time", "endDateTime"]),
    Param::choice(
        "readWindow",
        &["D", "H", "M"],
        "a query takes in a day, an hour or a minute, and more where there are few points",
    )
    .with_default("M")
    .with_aliases(&["read_window"]),
    Param::duration(
        "lag",
        Duration::from_secs(1),
        "read a point only when the clock has passed it by so much, so that points that are late by less are not missed; default: \
         10s where reading goes on, else none",
    )
    .with_aliases(&["excursion"]),
    Param::duration("query_interval", Duration::from_secs(1), "how long to wait between two looks for new points")
        .with_default("1s")
        .with_aliases(&["interval"]),
    Param::duration("poll_interval", Duration::from_secs(1), "how long to wait between two looks for metrics that are new")
        .with_default("60s"),
    Param::int("batch_rows", 1, 1 << 20, "most rows of a batch, save where more have one time").with_default("65536"),
    Param::size("window_bytes", "most bytes of an answer; what is more is asked for in shorter windows")
        .with_default("64MiB"),
    Param::text("ca", "with +https: certificates of the authorities to trust (PEM), as @FILE; default: those of the machine"),
    Param::duration("connect_timeout", Duration::from_secs(1), "how long connecting may take").with_default("10s"),
    Param::duration("timeout", Duration::from_secs(1), "how long the server may be silent").with_default("5m"),
];

/// How [`OpenTsdbSource`](super::OpenTsdbSource) reads.
#[derive(Clone, Debug)]
pub struct OpenTsdbOptions {
    pub(super) http: Arc<HttpOptions>,
    pub(super) metrics: Vec<String>,
    pub(super) names: MetricNames,
    /// Nanoseconds.
    pub(super) window: i128,
    pub(super) batch_rows: usize,
    pub(super) window_bytes: usize,
    pub(super) cursor: CursorOptions,
}

impl OpenTsdbOptions {
    /// The options of an address and its checked parameters.
    ///
    /// # Errors
    /// `Config` for what contradicts itself: host, path, times.
    pub fn from_dsn(dsn: &Dsn, params: &Params) -> Result<Self> {
        let mut http = http_of(
            dsn,
            params,
            "OpenTSDB",
            4242,
            "opentsdb+http://HOST:4242/?metrics=METRIC&beginTime=2023-06-01T00:00:00Z",
        )?;
        if let Some(user) = dsn.user().filter(|user| !user.is_empty()) {
            http.log_in(user, dsn.password());
        }
        let names =
            params.choice("metric").unwrap_or("underscore").parse::<MetricNames>().map_err(Error::config)?;
        let range = Range::of(params)?;
        let batch_rows =
            params.int("batch_rows").and_then(|rows| usize::try_from(rows).ok()).unwrap_or(65_536);
        let bytes =
            params.size("window_bytes").and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(64 << 20);
        Ok(Self {
            http: Arc::new(http),
            metrics: params.list("metrics").to_vec(),
            names,
            window: range.unit,
            batch_rows,
            window_bytes: bytes.clamp(1 << 10, 1 << 30),
            cursor: range.cursor(params, batch_rows),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(address: &str) -> Result<OpenTsdbOptions> {
        let dsn: Dsn = address.parse().unwrap();
        let params = Params::parse("opentsdb", PARAMS, dsn.params())?;
        OpenTsdbOptions::from_dsn(&dsn, &params)
    }

    #[test]
    fn the_address_of_the_manual() {
        let made = options("opentsdb+http://192.168.1.10:4242/?metrics=test_metric1,test_metric2&beginTime=2023-06-01T00:00:00+0800&readWindow=M").unwrap();
        assert_eq!(
            (made.metrics.len(), made.names, made.window),
            (2, MetricNames::Underscore, 60_000_000_000)
        );
        assert!(made.cursor.mode.follows());
        // As DataX's job becomes an address.
        let made = options("opentsdb+http://h:4242?beginTime=2024-05-01 00:00:00&endTime=2024-05-01 00:10:00&metrics=m.a&metric=underscore").unwrap();
        assert!(!made.cursor.mode.follows());
    }

    #[test]
    fn addresses_say_what_to_do() {
        for (address, expected) in [
            ("opentsdb+http://h:4242/?metrics=a", "`beginTime` is missing"),
            ("opentsdb+http://h:4242/?beginTime=now", "beginTime=now: this is no time"),
            ("opentsdb+telnet://h:4242/?beginTime=2023-06-01", "not reached by \"telnet\""),
            ("opentsdb+http://h:4242/?beginTime=2023-06-01&metics=a", "did you mean `metrics`?"),
            (
                "opentsdb+http://h:4242/?beginTime=2023-06-01&endTime=2023-06-01",
                "endTime is not after beginTime",
            ),
            ("opentsdb+http://h:4242/x?beginTime=2023-06-01", "the path \"x\""),
        ] {
            let error = options(address).unwrap_err().report();
            assert!(error.contains(expected), "{address}: {error}");
        }
    }
}
