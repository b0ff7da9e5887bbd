//! A session with a server: who it is, and what it refuses.

use std::collections::BTreeMap;
use std::sync::Arc;

use hyper::StatusCode;
use kwsync_core::{Error, ErrorKind, Result, TableId};

use super::config::{InfluxOptions, InfluxVersion};
use super::layout::{Keys, Layout};
use crate::series::Sending;
use crate::series::{Answer, Ask, Http, TOO_LARGE, http_date, kind_of};

/// Rows of a document until it is known how large they are.
const FIRST_ROWS: usize = 1_000;

/// A session; connects as it is asked.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) http: Http,
    pub(super) options: Arc<InfluxOptions>,
    /// Rows of a document of version 1.
    pub(super) document_rows: usize,
}

impl Session {
    /// A session with a server that is of the version and has the database that the address says.
    pub(super) async fn open(options: Arc<InfluxOptions>) -> Result<Self> {
        let http = Http::new(Arc::clone(&options.http))?;
        let document_rows = FIRST_ROWS.min(options.batch_rows);
        let mut session = Self { http, options, document_rows };
        session.ping().await?;
        if let InfluxVersion::V1 { retention_policy } = session.options.version.clone() {
            session.check_database(retention_policy.as_deref()).await?;
        }
        Ok(session)
    }

    /// Asks who is there, and compares the version.
    async fn ping(&mut self) -> Result<Answer> {
        let answer = self.http.ask(&Ask::get("/ping")).await?;
        let header = answer.headers.get("x-influxdb-version").and_then(|value| value.to_str().ok());
        let Some(found) = header.map(|text| text.trim_start_matches('v').to_owned()) else {
            return Ok(answer);
        };
        let place = self.options.http.place();
        let asked = &self.options.asked_version;
        let text = format!("the server at {place} is InfluxDB {found}, and the address says version={asked}");
        match (&self.options.version, found.split('.').next()) {
            (InfluxVersion::V1 { .. }, Some("2")) => Err(Error::config(text)
                .with_hint("give version=2.x, with orgId= and token= in place of username= and password=")),
            (InfluxVersion::V2 { .. }, Some("1")) => Err(Error::config(text)
                .with_hint("give version=1.x, with username= and password= in place of orgId= and token=")),
            _ => Ok(answer),
        }
    }

    /// The server's clock, in nanoseconds: what its answers are dated with.
    pub(super) async fn clock(&mut self) -> Result<i128> {
        let answer = self.ping().await?;
        let date = answer.headers.get("date").and_then(|value| value.to_str().ok()).and_then(http_date);
        date.ok_or_else(|| Error::new(ErrorKind::Protocol, "the server does not tell the time"))
    }

    /// The keys of measurements that have points in a range, of all where none is named. Version 1 does not look at the range.
    pub(super) async fn keys(
        &mut self,
        measurements: &[String],
        range: (i128, i128),
    ) -> Result<BTreeMap<String, Keys>> {
        match self.options.version {
            InfluxVersion::V1 { .. } => self.ql_keys(measurements).await,
            InfluxVersion::V2 { .. } => self.flux_keys(measurements, range).await,
        }
    }

    /// The time of the first or the last point in a range.
    pub(super) async fn end(
        &mut self,
        measurement: &str,
        range: (i128, i128),
        last: bool,
    ) -> Result<Option<i128>> {
        match self.options.version {
            InfluxVersion::V1 { .. } => self.ql_end(measurement, range, last).await,
            InfluxVersion::V2 { .. } => self.flux_end(measurement, range, last).await,
        }
    }

    /// Sends the points of a range, from its first time on and below its second, in the order of time; returns how many there were. What
    /// was kept back is to be sent then.
    pub(super) async fn read(
        &mut self,
        table: &TableId,
        layout: &Layout,
        range: (i128, i128),
        sending: &mut Sending<'_>,
    ) -> Result<u64> {
        match self.options.version {
            InfluxVersion::V1 { .. } => self.ql_read(table, layout, range, sending).await,
            InfluxVersion::V2 { .. } => self.flux_read(table, layout, range, sending).await,
        }
    }
}

/// What the server complains of in an answer that began well.
pub(super) fn complaint(said: &str) -> Error {
    refused(StatusCode::OK, said)
}

/// What the server complains of, as an error.
pub(super) fn refused(status: StatusCode, said: &str) -> Error {
    let said: String = said.trim().chars().take(300).collect();
    let has = |part: &str| said.contains(part);
    let text = format!("InfluxDB: {}", if said.is_empty() { status.to_string() } else { said.clone() });
    let of = |kind| Error::new(kind, text.clone());
    if status == StatusCode::UNAUTHORIZED || has("authorization failed") {
        return of(ErrorKind::Auth)
            .with_hint("check username= and password=; of version 2 token= and orgId=");
    }
    if status == StatusCode::FORBIDDEN || has("not authorized") {
        return of(ErrorKind::Permission)
            .with_hint("the user needs the right to read the database: GRANT READ ON \"db\" TO \"user\"");
    }
    if has("database not found") {
        return of(ErrorKind::NotFound)
            .with_hint("check bucket=, which is the database, or DB/RETENTION_POLICY");
    }
    if has("could not find bucket") || has("organization not found") || has("organization name") {
        return of(ErrorKind::NotFound)
            .with_hint("check bucket= and orgId=; a token sees only what it may read");
    }
    if has("retention policy not found") {
        return of(ErrorKind::NotFound).with_hint("check the part of bucket= behind the /");
    }
    if has("query-timeout limit exceeded") || has("query timeout") || said == "timeout" {
        return of(ErrorKind::Timeout).with_code(TOO_LARGE).with_hint(
            "even a second of it takes longer than query-timeout of the server's configuration allows: raise that, or read less with columns=",
        );
    }
    if has("max-select-") {
        return of(ErrorKind::Limit).with_code(TOO_LARGE).with_hint(
            "even a second of it is more than the limit in the server's configuration: raise that, or read less with columns=",
        );
    }
    if has("max-concurrent-queries")
        || has("query interrupted")
        || has("query killed")
        || has("shutting down")
    {
        return of(ErrorKind::Unavailable);
    }
    if has("HTTPS server") {
        return of(ErrorKind::Config)
            .with_hint("the server speaks TLS: the address begins with influxdb+https");
    }
    let made = of(kind_of(status));
    match status {
        StatusCode::NOT_FOUND => made.with_hint(
            "check host and port: this server does not answer as an InfluxDB of the version that the address says",
        ),
        status if status.is_redirection() => made.with_hint("give the address that it leads to"),
        _ => made,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_have_their_kinds() {
        for (status, said, kind) in [
            (401, "authorization failed", ErrorKind::Auth),
            (200, "database not found: x", ErrorKind::NotFound),
            (403, "error authorizing query: u not authorized to execute statement", ErrorKind::Permission),
            (200, "max-select-point limit exceeed: (12/10)", ErrorKind::Limit),
            (200, "query-timeout limit exceeded", ErrorKind::Timeout),
            (200, "max-concurrent-queries limit exceeded(1, 1)", ErrorKind::Unavailable),
            (503, "", ErrorKind::Unavailable),
            (404, "404 page not found", ErrorKind::NotFound),
            (400, "error parsing query: found x", ErrorKind::Protocol),
            (500, "engine is closed", ErrorKind::Server),
        ] {
            let error = refused(StatusCode::from_u16(status).unwrap(), said);
            assert_eq!(error.kind(), kind, "{said}");
            assert!(!error.message().ends_with(": "), "{error}");
        }
    }
}
