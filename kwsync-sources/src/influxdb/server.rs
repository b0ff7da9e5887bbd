//! A session with a server of version 1, by InfluxQL.

use std::collections::BTreeMap;
use std::sync::Arc;

use hyper::StatusCode;
use kwsync_core::config::did_you_mean;
use kwsync_core::{Error, ErrorKind, Result, TableId};
use tokio::sync::mpsc;

use super::answer::{Small, document};
use super::columns::Columns;
use super::config::{InfluxOptions, InfluxVersion};
use super::influxql::{self, quote};
use super::layout::{FieldType, Keys, Layout};
use crate::relational::Page;
use crate::series::{Answer, Ask, Http, Lines, encode, http_date};

/// Rows of a document until it is known how large they are, and at most.
const FIRST_ROWS: usize = 1_000;
const MOST_ROWS: usize = 10_000;
/// The code of what the server cannot answer at once; over less time it may.
pub(super) const TOO_LARGE: &str = "query_too_large";
const FORM: &str = "application/x-www-form-urlencoded";

/// A session; connects as it is asked.
#[derive(Debug)]
pub(super) struct Session {
    http: Http,
    options: Arc<InfluxOptions>,
    document_rows: usize,
}

impl Session {
    /// A session with a server that is of the version and has the database that the address says.
    pub(super) async fn open(options: Arc<InfluxOptions>) -> Result<Self> {
        let http = Http::new(Arc::clone(&options.http))?;
        let document_rows = FIRST_ROWS.min(options.batch_rows);
        let mut session = Self { http, options, document_rows };
        session.ping().await?;
        let InfluxVersion::V1 { retention_policy } = session.options.version.clone() else {
            return Ok(session);
        };
        let database = session.options.bucket.clone();
        let small = session.list(&format!("SHOW RETENTION POLICIES ON {}", quote(&database))).await?;
        if let Some(wanted) = retention_policy {
            let series =
                small.results.iter().flat_map(|result| &result.series).flat_map(|series| &series.values);
            let names: Vec<&str> = series.filter_map(|row| row.first()?.as_str()).collect();
            if !names.contains(&wanted.as_str()) {
                let meant = did_you_mean(&wanted, names.iter().copied());
                let text = format!("the database {database:?} has no retention policy {wanted:?}{meant}");
                return Err(
                    Error::new(ErrorKind::NotFound, text).with_hint(format!("it has {}", names.join(", ")))
                );
            }
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

    /// Sends statements; `more` are parameters beside the database.
    async fn query(&mut self, statements: &str, more: &str) -> Result<Answer> {
        tracing::debug!(%statements, "asking");
        let mut path = format!("/query?db={}&epoch=ns{more}", encode(&self.options.bucket));
        if let InfluxVersion::V1 { retention_policy: Some(policy) } = &self.options.version {
            path.push_str(&format!("&rp={}", encode(policy)));
        }
        let ask = Ask::post(path, FORM, format!("q={}", encode(statements)));
        let mut answer = self.http.ask(&ask).await?;
        if answer.status == StatusCode::OK {
            return Ok(answer);
        }
        let status = answer.status;
        let text = answer.text().await?;
        let said = Small::of(&text).ok().and_then(|small| small.error().map(str::to_owned));
        Err(refused(status, &said.unwrap_or(text)))
    }

    /// Sends statements whose answer is short.
    async fn list(&mut self, statements: &str) -> Result<Small> {
        let mut answer = self.query(statements, "").await?;
        let small = Small::of(&answer.text().await?)?;
        match small.error() {
            Some(said) => Err(refused(StatusCode::OK, said)),
            None => Ok(small),
        }
    }

    /// The keys of measurements, of all where none is named.
    pub(super) async fn keys(&mut self, measurements: &[String]) -> Result<BTreeMap<String, Keys>> {
        let small = self.list(&influxql::keys(measurements)).await?;
        let [fields, tags] = small.results.as_slice() else {
            return Err(Error::new(ErrorKind::Protocol, "the server did not list its keys"));
        };
        let mut found: BTreeMap<String, Keys> = BTreeMap::new();
        for series in &fields.series {
            for row in &series.values {
                let [Some(name), Some(kind)] = [row.first(), row.get(1)].map(|cell| cell?.as_str()) else {
                    continue;
                };
                let Some(kind) = FieldType::of(kind) else {
                    let text = format!(
                        "{}: the field {name:?} has the type {kind:?}, which is not known",
                        series.name
                    );
                    return Err(Error::new(ErrorKind::Unsupported, text)
                        .with_hint("leave the measurement out with measurements="));
                };
                let types =
                    found.entry(series.name.clone()).or_default().fields.entry(name.to_owned()).or_default();
                types.push(kind);
                types.sort_unstable();
                types.dedup();
            }
        }
        for series in &tags.series {
            // Tags are listed for the whole database, fields for the retention policy.
            if let Some(keys) = found.get_mut(&series.name) {
                keys.tags =
                    series.values.iter().filter_map(|row| row.first()?.as_str().map(str::to_owned)).collect();
            }
        }
        Ok(found)
    }

    /// The time of the first or the last point between two times.
    pub(super) async fn end(
        &mut self,
        measurement: &str,
        from: i128,
        to: i128,
        last: bool,
    ) -> Result<Option<i128>> {
        let small = self.list(&influxql::end(measurement, from, to, last)).await?;
        let mut rows =
            small.results.iter().flat_map(|result| &result.series).flat_map(|series| &series.values);
        Ok(rows.next().and_then(|row| row.first()?.as_i64()).map(i128::from))
    }

    /// Sends the points from `from` on and below `to`, in the order of time; returns how many there were. `sent` tells whether some
    /// have gone out, also when the rest fails.
    pub(super) async fn read(
        &mut self,
        table: &TableId,
        layout: &Layout,
        (from, to): (i128, i128),
        pages: &mpsc::Sender<Page>,
        sent: &mut bool,
    ) -> Result<u64> {
        let statement = influxql::select(table.name(), &layout.items, from, to);
        let answer =
            self.query(&statement, &format!("&chunked=true&chunk_size={}", self.document_rows)).await?;
        let mut lines = Lines::new(answer, self.options.batch_bytes.saturating_mul(8).max(64 << 20));
        let mut columns = Columns::new(table, layout);
        let (mut rows, mut all, mut bytes, mut partial) = (0, 0_usize, 0, false);
        while let Some(line) = lines.next().await? {
            bytes += line.len() as u64 + 1;
            all += line.len();
            let before = columns.rows();
            let read = document(&line, &mut columns)?;
            if let Some(said) = read.error {
                return Err(refused(StatusCode::OK, &said));
            }
            rows += (columns.rows() - before) as u64;
            partial = read.partial;
            if columns.rows() >= self.options.batch_rows || columns.bytes() >= self.options.batch_bytes {
                *sent = true;
                send(pages, columns.finish(std::mem::take(&mut bytes))?).await?;
            }
        }
        if partial {
            return Err(Error::new(ErrorKind::Unavailable, "the server ended its answer early"));
        }
        if columns.rows() > 0 || bytes > 0 {
            *sent |= columns.rows() > 0;
            send(pages, columns.finish(bytes)?).await?;
        }
        if rows > 0 {
            // A document is held in memory as a whole.
            let each = all / usize::try_from(rows).unwrap_or(usize::MAX).max(1);
            let fit = self.options.batch_bytes / 4 / each.max(1);
            self.document_rows = fit.clamp(1, MOST_ROWS.min(self.options.batch_rows));
        }
        Ok(rows)
    }
}

async fn send(pages: &mpsc::Sender<Page>, page: Page) -> Result<()> {
    let gone = |_| Error::new(ErrorKind::Cancelled, "nobody takes the rows any more");
    pages.send(page).await.map_err(gone)
}

/// What the server complains of, as an error.
fn refused(status: StatusCode, said: &str) -> Error {
    let said: String = said.trim().chars().take(300).collect();
    let has = |part: &str| said.contains(part);
    let text = format!("InfluxDB: {}", if said.is_empty() { status.to_string() } else { said.clone() });
    let of = |kind| Error::new(kind, text.clone());
    if status == StatusCode::UNAUTHORIZED || has("authorization failed") {
        return of(ErrorKind::Auth).with_hint("check username= and password=");
    }
    if status == StatusCode::FORBIDDEN || has("not authorized") {
        return of(ErrorKind::Permission)
            .with_hint("the user needs the right to read the database: GRANT READ ON \"db\" TO \"user\"");
    }
    if has("database not found") {
        return of(ErrorKind::NotFound)
            .with_hint("check bucket=, which is the database, or DB/RETENTION_POLICY");
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
    match status {
        StatusCode::NOT_FOUND => of(ErrorKind::NotFound)
            .with_hint("check host and port: this server does not know /query of InfluxDB 1"),
        status if status.is_redirection() => {
            of(ErrorKind::Config).with_hint("give the address that it leads to")
        }
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::BAD_GATEWAY | StatusCode::TOO_MANY_REQUESTS => {
            of(ErrorKind::Unavailable)
        }
        StatusCode::GATEWAY_TIMEOUT => of(ErrorKind::Timeout),
        status if status.is_client_error() => of(ErrorKind::Protocol),
        _ => of(ErrorKind::Server),
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
