//! What clients are told, each in the words of the server that it takes this one for.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};
use serde_json::{Value, json};

use super::queue::Settled;

/// An answer with a body in memory.
pub(super) type Answer = Response<Full<Bytes>>;

/// In whose words an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// InfluxDB 1.x, and what is our own.
    Influx,
    /// InfluxDB 2.x.
    Influx2,
    /// OpenTSDB; whether counts and errors are asked for.
    Opentsdb { summary: bool, details: bool },
}

/// Why a request is refused as a whole.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    status: StatusCode,
    text: String,
}

impl Fault {
    pub(super) fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self { status, text: text.into() }
    }

    /// There is no room for it.
    pub(super) fn busy() -> Self {
        let text = "too many requests wait for their commit; come again (max_waiting)";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, text)
    }

    pub(super) fn answer(&self, style: Style) -> Answer {
        let mut answer = json_answer(self.status, &body(style, self.status, &self.text, None));
        let headers = answer.headers_mut();
        match self.status {
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            StatusCode::UNAUTHORIZED => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"kwsync\""));
            }
            _ => {}
        }
        answer
    }
}

/// An answer without a body.
pub(super) fn empty(status: StatusCode) -> Answer {
    with_version(status, Bytes::new())
}

/// An answer of JSON.
pub(super) fn json_answer(status: StatusCode, value: &Value) -> Answer {
    let mut answer = with_version(status, Bytes::from(format!("{value}\n")));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

fn with_version(status: StatusCode, bytes: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(bytes));
    *answer.status_mut() = status;
    // Clients of InfluxDB want to know with whom they speak.
    answer.headers_mut().insert(
        HeaderName::from_static("x-influxdb-version"),
        HeaderValue::from_static(concat!("kwsync-", env!("CARGO_PKG_VERSION"))),
    );
    answer.headers_mut().insert(HeaderName::from_static("x-influxdb-build"), HeaderValue::from_static("OSS"));
    answer
}

fn body(style: Style, status: StatusCode, text: &str, line: Option<u64>) -> Value {
    match style {
        Style::Influx => json!({"error": text}),
        Style::Influx2 => {
            let code = match status {
                StatusCode::BAD_REQUEST => "invalid",
                StatusCode::UNAUTHORIZED => "unauthorized",
                StatusCode::NOT_FOUND => "not found",
                StatusCode::PAYLOAD_TOO_LARGE => "request too large",
                StatusCode::SERVICE_UNAVAILABLE => "unavailable",
                _ => "internal error",
            };
            let mut value = json!({"code": code, "message": text});
            if let Some(line) = line.filter(|line| *line > 0) {
                value["line"] = line.into();
            }
            value
        }
        Style::Opentsdb { .. } => json!({"error": {"code": status.as_u16(), "message": text}}),
    }
}

/// What is told when rows are committed, or read.
pub(super) fn settled(style: Style, settled: &Settled) -> Answer {
    if let Style::Opentsdb { summary, details } = style
        && (summary || details)
    {
        return counts(details, settled);
    }
    if settled.is_whole() {
        return empty(StatusCode::NO_CONTENT);
    }
    let status = StatusCode::BAD_REQUEST;
    let text = told(settled);
    let line = settled.first.first().map(|refused| refused.line);
    json_answer(status, &body(style, status, &text, line))
}

/// `partial write: line 3: ...; line 7: ... dropped=2`, as InfluxDB begins also where nothing is written: by these words some
/// clients know that coming again is of no use.
fn told(settled: &Settled) -> String {
    /// As many as a person reads.
    const SHOWN: usize = 5;
    let mut reasons: Vec<String> = settled.fault.iter().cloned().collect();
    reasons.extend(settled.first.iter().take(SHOWN).map(|refused| match refused.line {
        0 => refused.reason.clone(),
        line => format!("line {line}: {}", refused.reason),
    }));
    let more = settled.refused.saturating_sub(SHOWN as u64);
    if more > 0 {
        reasons.push(format!("and {more} more"));
    }
    let head = if settled.written() > 0 { "" } else { "nothing is written: " };
    format!("partial write: {head}{} dropped={}", reasons.join("; "), settled.refused.max(1))
}

/// OpenTSDB's counts.
fn counts(details: bool, settled: &Settled) -> Answer {
    let failed = settled.refused + u64::from(settled.fault.is_some() && settled.refused == 0);
    let mut value = json!({"success": settled.written(), "failed": failed});
    if details {
        let of_body = settled.fault.iter().map(|fault| json!({"datapoint": null, "error": fault}));
        let of_points = settled.first.iter().map(|refused| {
            let point = serde_json::from_slice::<Value>(&refused.raw)
                .unwrap_or_else(|_| String::from_utf8_lossy(&refused.raw).into_owned().into());
            json!({"datapoint": point, "error": refused.reason})
        });
        value["errors"] = of_body.chain(of_points).collect();
    }
    let status = if settled.is_whole() { StatusCode::OK } else { StatusCode::BAD_REQUEST };
    json_answer(status, &value)
}
