//! What addresses of series over HTTP have in common.

use std::time::Duration;

use kwsync_core::config::{Dsn, Params};
use kwsync_core::{Error, Result};

use super::HttpOptions;
use super::times::moment;
use crate::relational::{CursorOptions, Mode, Span};

/// How late points may be where reading goes on and nothing else is said: agents send every ten seconds.
const LAG: &str = "10s";

/// The server of an address; `form` is what one looks like.
///
/// # Errors
/// `Config` for another protocol than HTTP, several hosts, or a path.
pub(crate) fn http_of(
    dsn: &Dsn,
    params: &Params,
    what: &'static str,
    default_port: u16,
    form: &str,
) -> Result<HttpOptions> {
    let driver = dsn.driver();
    let tls = match dsn.protocol() {
        None | Some("http") => false,
        Some("https") => true,
        Some(other) => {
            return Err(Error::config(format!("{what} is not reached by {other:?}"))
                .with_hint(format!("the address begins with {driver}+http or {driver}+https")));
        }
    };
    let [host] = dsn.hosts() else {
        return Err(
            Error::config(format!("an address of {what} names one server")).with_hint(form.to_owned())
        );
    };
    if let Some(object) = dsn.object().filter(|object| !object.trim_matches('/').is_empty()) {
        return Err(Error::config(format!("the address has the path {object:?}, which means nothing here"))
            .with_hint(format!("what is read is said by parameters: {form}")));
    }
    let time = |name: &str, default: u64| params.duration(name).unwrap_or(Duration::from_secs(default));
    let mut http = HttpOptions::new(what, host.name(), host.port_or(default_port));
    http.tls = tls;
    http.ca = params.text("ca").map(str::to_owned);
    http.connect_timeout = time("connect_timeout", 10);
    http.timeout = time("timeout", 300);
    Ok(http)
}

/// The times that are read, and in what steps: `beginTime`, `endTime`, `readWindow`, `lag`.
#[derive(Debug)]
pub(crate) struct Range {
    begin: i128,
    end: Option<i128>,
    /// Nanoseconds.
    pub(crate) unit: i128,
    lag: Option<Span>,
}

impl Range {
    /// # Errors
    /// `Config` for what is no time, and for an end that is not behind the begin.
    pub(crate) fn of(params: &Params) -> Result<Self> {
        let text = |name: &str| params.text(name).map(str::trim).filter(|text| !text.is_empty());
        let begin = moment("beginTime", text("beginTime").unwrap_or_default())?;
        let end = text("endTime").map(|text| moment("endTime", text)).transpose()?;
        if end.is_some_and(|end| end <= begin) {
            return Err(Error::config("endTime is not after beginTime")
                .with_hint("times without a zone are in UTC, and others as their zone says"));
        }
        let seconds = match params.choice("readWindow") {
            Some("D") => 86_400,
            Some("H") => 3_600,
            _ => 60,
        };
        let lag = match params.duration("lag") {
            None if end.is_none() => Some(Span::parse("lag", LAG)?),
            lag => lag.map(Span::Time),
        };
        Ok(Self { begin, end, unit: seconds * 1_000_000_000, lag })
    }

    /// How they are read.
    pub(crate) fn cursor(&self, params: &Params, batch_rows: usize) -> CursorOptions {
        let time = |name: &str, default: u64| params.duration(name).unwrap_or(Duration::from_secs(default));
        CursorOptions {
            column: Some("time".to_owned()),
            mode: if self.end.is_none() { Mode::All } else { Mode::History },
            begin: Some(self.begin.to_string()),
            end: self.end.map(|end| end.to_string()),
            lag: self.lag,
            query_interval: time("query_interval", 1),
            poll_interval: time("poll_interval", 5),
            fetch_rows: Some(batch_rows),
            ..CursorOptions::default()
        }
    }
}
