//! A session with a server: what it is asked, and what it refuses.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use hyper::StatusCode;
use kwsync_core::{Error, ErrorKind, Result};
use serde::Deserialize;

use super::answer::{Refusal, Series};
use super::config::OpenTsdbOptions;
use crate::series::{Answer, Ask, Http, TOO_LARGE, http_date, kind_of};

/// More metrics than any server has.
const ALL: u32 = 100_000_000;
/// Milliseconds to nanoseconds.
pub(super) const MILLI: i128 = 1_000_000;

/// A session; connects as it is asked.
#[derive(Debug)]
pub(super) struct Session {
    http: Http,
    options: Arc<OpenTsdbOptions>,
}

#[derive(Deserialize)]
struct Version {
    version: String,
}

impl Session {
    /// A session with a server that gives series as they are.
    pub(super) async fn open(options: Arc<OpenTsdbOptions>) -> Result<Self> {
        let mut session = Self { http: Http::new(Arc::clone(&options.http))?, options };
        let mut answer = session.version().await?;
        let text = answer.text().await?;
        let place = session.options.http.place();
        let version = serde_json::from_str::<Version>(&text).map_err(|error| {
            Error::new(
                ErrorKind::Protocol,
                format!("what listens at {place} does not say that it is an OpenTSDB"),
            )
            .with_source(error)
            .with_hint("check host and port")
        })?;
        let mut parts = version.version.split(['.', '-']).map(|part| part.parse::<u32>().unwrap_or(0));
        let number = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
        if number < (2, 3) {
            let text = format!("the server at {place} is OpenTSDB {}", version.version);
            return Err(Error::new(ErrorKind::Unsupported, text)
                .with_hint("series that are not aggregated are there from 2.3 on"));
        }
        Ok(session)
    }

    async fn version(&mut self) -> Result<Answer> {
        let mut answer = self.http.ask(&Ask::get("/api/version")).await?;
        if answer.status == StatusCode::OK {
            return Ok(answer);
        }
        Err(refused(answer.status, &answer.text().await?))
    }

    /// The clock, in nanoseconds: what the server dates its answers with, or ours where it does not.
    pub(super) async fn clock(&mut self) -> Result<i128> {
        let answer = self.version().await?;
        let date = answer.headers.get("date").and_then(|value| value.to_str().ok()).and_then(http_date);
        let ours =
            || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as i128);
        Ok(date.unwrap_or_else(ours))
    }

    /// All metrics.
    pub(super) async fn metrics(&mut self) -> Result<Vec<String>> {
        let mut answer = self.http.ask(&Ask::get(format!("/api/suggest?type=metrics&max={ALL}"))).await?;
        let text = answer.text().await?;
        if answer.status != StatusCode::OK {
            return Err(refused(answer.status, &text));
        }
        serde_json::from_str(&text).map_err(|error| unreadable("its metrics", error))
    }

    /// The series of a metric in a range of nanoseconds, from the first on and below the second; perhaps with points outside of it.
    /// `downsample` makes fewer points of them.
    pub(super) async fn series(
        &mut self,
        metric: &str,
        (from, to): (i128, i128),
        downsample: Option<&str>,
    ) -> Result<Vec<Series>> {
        let start = -(-from).div_euclid(MILLI);
        // The end belongs to the range, and must lie behind the start.
        let end = (-(-to).div_euclid(MILLI) - 1).max(start + 1);
        let mut query = serde_json::json!({"aggregator": "none", "metric": metric});
        if let (Some(downsample), Some(query)) = (downsample, query.as_object_mut()) {
            query.insert("downsample".to_owned(), downsample.into());
        }
        let body = serde_json::json!({
            "start": time(start, start.div_euclid(1_000)),
            "end": time(end, end.div_euclid(1_000) + 1),
            "msResolution": true,
            "noAnnotations": true,
            "queries": [query],
        });
        tracing::debug!(%body, "asking");
        // As lists: objects would have to be unique, and are longer.
        let mut answer =
            self.http.ask(&Ask::post("/api/query?arrays", "application/json", body.to_string())).await?;
        if answer.status != StatusCode::OK {
            return Err(refused(answer.status, &answer.text().await?));
        }
        let body = answer.bytes(self.options.window_bytes).await.map_err(|error| match error.code() {
            Some(TOO_LARGE) => error.with_hint("even a second of it is more: raise window_bytes="),
            _ => error,
        })?;
        serde_json::from_slice(&body).map_err(|error| unreadable("points", error))
    }

    /// Whether a fault means that there is no such metric.
    pub(super) fn is_unknown(error: &Error) -> bool {
        error.kind() == ErrorKind::NotFound
    }
}

/// A time in milliseconds, or in seconds where so few digits would be taken for those.
fn time(milliseconds: i128, seconds: i128) -> i64 {
    let few = milliseconds < 10_000_000_000;
    i64::try_from(if few { seconds } else { milliseconds }).unwrap_or(i64::MAX).max(0)
}

fn unreadable(what: &str, error: serde_json::Error) -> Error {
    Error::new(ErrorKind::Protocol, format!("the server sent {what} in a form that cannot be read"))
        .with_source(error)
        .with_hint("check host and port: an OpenTSDB answers in JSON")
}

/// What the server complains of, as an error.
fn refused(status: StatusCode, text: &str) -> Error {
    let said = serde_json::from_str::<Refusal>(text)
        .map_or_else(|_| text.to_owned(), |refusal| refusal.error.message);
    let said: String = said.trim().lines().next().unwrap_or_default().chars().take(300).collect();
    let text = format!("OpenTSDB: {}", if said.is_empty() { status.to_string() } else { said.clone() });
    let of = |kind| Error::new(kind, text.clone());
    if said.contains("No such name") {
        return of(ErrorKind::NotFound)
            .with_hint("check metrics=; names are as they were written, case counts");
    }
    if said.contains("exceeded the maximum") || said.contains("exceeded the memory limit") {
        return of(ErrorKind::Limit).with_code(TOO_LARGE).with_hint(
            "even a second of it is more than tsd.query.limits allow: raise them in the server's configuration",
        );
    }
    if said.to_ascii_lowercase().contains("timeout") || said.contains("timed out") {
        return of(ErrorKind::Timeout)
            .with_code(TOO_LARGE)
            .with_hint("raise tsd.query.timeout in the server's configuration");
    }
    let made = of(kind_of(status));
    match status {
        StatusCode::UNAUTHORIZED => made.with_hint("give opentsdb+http://USER:PASSWORD@HOST"),
        StatusCode::NOT_FOUND => made.with_hint("check host and port: this server has no /api of OpenTSDB"),
        StatusCode::PAYLOAD_TOO_LARGE => of(ErrorKind::Limit).with_code(TOO_LARGE),
        StatusCode::GATEWAY_TIMEOUT => made.with_code(TOO_LARGE),
        _ => made,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_have_their_kinds() {
        for (status, said, kind) in [
            (
                400,
                r#"{"error":{"code":400,"message":"No such name for 'metrics': 'x'","details":"..."}}"#,
                ErrorKind::NotFound,
            ),
            (
                413,
                r#"{"error":{"code":413,"message":"Sorry, you have attempted to fetch more data than our limit of 1000"}}"#,
                ErrorKind::Limit,
            ),
            (504, r#"{"error":{"code":504,"message":"Query timeout exceeded"}}"#, ErrorKind::Timeout),
            (404, "404 page not found", ErrorKind::NotFound),
            (503, "", ErrorKind::Unavailable),
            (500, "null", ErrorKind::Server),
        ] {
            assert_eq!(refused(StatusCode::from_u16(status).unwrap(), said).kind(), kind, "{said}");
        }
        assert_eq!((time(9_999_999_999, 9_999_999), time(10_000_000_000, 0)), (9_999_999, 10_000_000_000));
    }
}
