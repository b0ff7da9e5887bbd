//! The parameters of reading by a cursor.

use std::time::Duration;

use kwsync_core::config::Params;
use kwsync_core::{Error, Result};

use super::value::Span;

/// The parameters of a source, and behind them those of reading by a cursor.
macro_rules! with_cursor {
    ($($own:expr,)*) => {
        &[
            $($own,)*
            kwsync_core::config::Param::text(
                "cursor",
                "the column of integers, dates or timestamps by whose values rows are read in order, and which tells what is new",
            )
            .with_aliases(&["ts_column", "tsColumn", "cursor_column"]),
            kwsync_core::config::Param::choice(
                "mode",
                &["history", "realtime", "all"],
                "with cursor=: what is there; what comes from now on; both",
            )
            .with_default("history"),
            kwsync_core::config::Param::flag("follow", "go on reading what comes: the same as mode=all")
                .with_default("false"),
            kwsync_core::config::Param::text("begin", "with cursor=: the first value to read")
                .with_aliases(&["beginDateTime", "beginTime"]),
            kwsync_core::config::Param::text("end", "with cursor=: the value before which reading ends")
                .with_aliases(&["endDateTime", "endTime"]),
            kwsync_core::config::Param::text(
                "lag",
                "read a value only when the server's clock has passed it by so much (of integers: when the greatest has), so \
                 that rows which are late by less are in order; default: 500ms where reading goes on and the cursor is a time, \
                 else none",
            )
            .with_aliases(&["excursion"]),
            kwsync_core::config::Param::text(
                "overlap",
                "read again so far behind the last value each time, and take the rows that were not there before",
            ),
            kwsync_core::config::Param::text(
                "lookback",
                "mode=realtime begins so long before now",
            )
            .with_aliases(&["restro", "retro"]),
            kwsync_core::config::Param::duration(
                "query_interval",
                std::time::Duration::from_secs(1),
                "how long to wait between two looks for new rows",
            )
            .with_default("1s")
            .with_aliases(&["interval"]),
            kwsync_core::config::Param::duration(
                "poll_interval",
                std::time::Duration::from_secs(1),
                "how long to wait between two looks for tables that are new, changed or gone",
            )
            .with_default("5s"),
            kwsync_core::config::Param::int(
                "fetch_rows",
                1,
                1 << 20,
                "with cursor=: most rows of a batch, save where more have one value; default: batch_rows",
            ),
        ]
    };
}
pub(crate) use with_cursor;

/// What is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mode {
    /// What is there.
    #[default]
    History,
    /// What comes.
    Realtime,
    /// Both.
    All,
}

impl Mode {
    /// Whether reading goes on.
    pub(crate) fn follows(self) -> bool {
        self != Self::History
    }
}

/// How a cursor is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CursorOptions {
    pub(crate) column: Option<String>,
    pub(crate) mode: Mode,
    pub(crate) begin: Option<String>,
    pub(crate) end: Option<String>,
    pub(crate) lag: Option<Span>,
    pub(crate) overlap: Option<Span>,
    pub(crate) lookback: Option<Span>,
    pub(crate) query_interval: Duration,
    pub(crate) poll_interval: Duration,
    pub(crate) fetch_rows: Option<usize>,
}

impl Default for CursorOptions {
    fn default() -> Self {
        Self {
            column: None,
            mode: Mode::History,
            begin: None,
            end: None,
            lag: None,
            overlap: None,
            lookback: None,
            query_interval: Duration::from_secs(1),
            poll_interval: Duration::from_secs(5),
            fetch_rows: None,
        }
    }
}

impl CursorOptions {
    /// The options among checked parameters. `column` is needed unless the source finds one by itself.
    pub(crate) fn from_params(params: &Params, needs_column: bool) -> Result<Self> {
        let span = |name| params.text(name).map(|text| Span::parse(name, text)).transpose();
        let mode = match params.choice("mode") {
            Some("realtime") => Mode::Realtime,
            Some("all") => Mode::All,
            _ if params.flag("follow") => Mode::All,
            _ => Mode::History,
        };
        let text = |name| params.text(name).filter(|text| !text.trim().is_empty()).map(str::to_owned);
        let made = Self {
            column: text("cursor"),
            mode,
            begin: text("begin"),
            end: text("end"),
            lag: span("lag")?,
            overlap: span("overlap")?,
            lookback: span("lookback")?,
            query_interval: params.duration("query_interval").unwrap_or(Duration::from_secs(1)),
            poll_interval: params.duration("poll_interval").unwrap_or(Duration::from_secs(5)),
            fetch_rows: params.int("fetch_rows").and_then(|rows| usize::try_from(rows).ok()),
        };
        if needs_column && made.column.is_none() {
            let beside = [
                ("mode", made.mode.follows()),
                ("begin", made.begin.is_some()),
                ("end", made.end.is_some()),
                ("lag", made.lag.is_some()),
                ("overlap", made.overlap.is_some()),
                ("lookback", made.lookback.is_some()),
            ];
            if let Some((name, _)) = beside.iter().find(|(_, given)| *given) {
                return Err(Error::config(format!("`{name}` needs a column to go by"))
                    .with_hint("name it: cursor=COLUMN, of integers, dates or timestamps"));
            }
        }
        made.check()?;
        Ok(made)
    }

    pub(crate) fn check(&self) -> Result<()> {
        if self.mode.follows() && self.end.is_some() {
            return Err(Error::config("`end` and reading that goes on contradict each other")
                .with_hint("leave `end` out, or read with mode=history"));
        }
        if self.mode == Mode::Realtime && self.begin.is_some() {
            return Err(Error::config("mode=realtime begins now, and `begin` says something else")
                .with_hint("use lookback=10m to begin so long before now, or mode=all with begin="));
        }
        // Whoever reads all has looked back as far as can be.
        if self.mode == Mode::History && self.lookback.is_some() {
            return Err(Error::config("`lookback` goes with mode=realtime")
                .with_hint("use mode=realtime, or begin= to say where to begin"));
        }
        Ok(())
    }
}
