//! Requests and their paths.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Limited};
use hyper::body::{Body, Incoming};
use hyper::header::{ALLOW, AUTHORIZATION, HeaderValue};
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use kwsync_core::ErrorKind;
use kwsync_core::config::did_you_mean;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{oneshot, watch};

use super::answer::{self, Answer, Fault, Style};
use super::body;
use super::config::AckMode;
use super::formats::Key;
use super::queue::{self, Outcome};
use super::server::{Phase, Shared, ended};

/// Every path, as a client that asks for another one is told.
const PATHS: &str = "POST /write, POST /api/v2/write, POST /api/put, POST /ingest/FORMAT, GET /ping, GET /health, GET /api/version";
/// Bytes of the longest form.
const LONGEST_FORM: usize = 64 << 10;
/// Parameters of a request that say nothing to the format.
const OURS: [&str; 14] = [
    "db",
    "rp",
    "u",
    "p",
    "org",
    "orgID",
    "bucket",
    "consistency",
    "pretty",
    "chunked",
    "summary",
    "details",
    "sync",
    "sync_timeout",
];

/// Speaks HTTP with a client until it goes, or the server ends.
pub(super) async fn serve<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(
    stream: S,
    from: SocketAddr,
    shared: &Arc<Shared>,
    phase: watch::Receiver<Phase>,
) {
    let answered = service_fn(|request: Request<Incoming>| {
        let shared = Arc::clone(shared);
        async move { Ok::<_, Infallible>(respond(request, from, &shared).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(shared.options.client_timeout)
        .serve_connection(TokioIo::new(stream), answered);
    let mut connection = std::pin::pin!(connection);
    let served = tokio::select! {
        served = connection.as_mut() => served,
        // Whoever has asked gets an answer, and asks no more.
        () = ended(phase) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(fault) = served {
        tracing::debug!(client = %from, error = %fault, "a client broke off");
    }
}

/// A request's parameters, decoded.
struct Query(Vec<(String, String)>);

impl Query {
    fn of(request: &Request<Incoming>) -> Self {
        let query = request.uri().query().unwrap_or_default();
        Self(form_urlencoded::parse(query.as_bytes()).into_owned().collect())
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Whether it stands there, alone or with `true`.
    fn has(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| !matches!(value, "false" | "0"))
    }
}

async fn respond(request: Request<Incoming>, from: SocketAddr, shared: &Shared) -> Answer {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let query = Query::of(&request);
    let answered = route(request, &query, from, shared).await;
    // Without the query: passwords stand there.
    tracing::debug!(client = %from, %method, path, status = answered.status().as_u16(), "answered");
    answered
}

async fn route(request: Request<Incoming>, query: &Query, from: SocketAddr, shared: &Shared) -> Answer {
    let path = request.uri().path().trim_end_matches('/').to_owned();
    let get = matches!(*request.method(), Method::GET | Method::HEAD);
    let post = matches!(*request.method(), Method::POST | Method::PUT);
    let opentsdb = Style::Opentsdb { summary: query.has("summary"), details: query.has("details") };
    let (style, name) = match path.as_str() {
        "/ping" if get => return answer::empty(StatusCode::NO_CONTENT),
        "/health" if get => return health(shared),
        "/api/version" if get || post => return version(),
        "/query" if get || post => {
            let asked = match query.get("q") {
                Some(asked) => Some(asked.to_owned()),
                None => of_form("q", request.into_body(), shared.options.client_timeout).await,
            };
            return statement(asked.as_deref());
        }
        "/ping" | "/health" => return not_allowed(&request, "GET, HEAD"),
        "/write" => (Style::Influx, "line_influxdb"),
        "/api/v2/write" => (Style::Influx2, "line_influxdb"),
        "/api/put" => (opentsdb, "json_opentsdb"),
        "" | "/ingest" => return unknown(&path),
        other => match other.strip_prefix("/ingest/") {
            Some(format) if !format.contains('/') => (Style::Influx, format),
            _ => return unknown(&path),
        },
    };
    if !post {
        return not_allowed(&request, "POST");
    }
    match write(name, style, query, request.headers().clone(), request, from, shared).await {
        Ok(answer) => answer,
        Err(fault) => fault.answer(style),
    }
}

/// Takes a body in, and waits for what becomes of it.
async fn write(
    format: &str,
    style: Style,
    query: &Query,
    headers: HeaderMap,
    request: Request<Incoming>,
    from: SocketAddr,
    shared: &Shared,
) -> Result<Answer, Fault> {
    let header = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    if !shared.auth.allows(header, query.get("u"), query.get("p")) {
        let text = "unauthorized: show the token (Authorization: Token X), or user and password";
        return Err(Fault::new(StatusCode::UNAUTHORIZED, text));
    }
    if let Some(reason) = shared.queue.closed() {
        return Err(Fault::new(StatusCode::SERVICE_UNAVAILABLE, &*reason));
    }
    let key = chosen(format, style, query, shared)?;
    let path = request.uri().path().to_owned();
    let (body, hold) = body::read(shared, &headers, request.into_body()).await?;
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(answer::settled(style, &queue::Settled::default()));
    }
    let (answer, answered) = oneshot::channel();
    let taken = shared.queue.put(queue::Request {
        key,
        body,
        input: shared.queue.input(&format!("POST {path}"), &from.to_string()),
        at: kwsync_core::Position::START,
        accept: shared.options.ack == AckMode::Accept,
        answer: Some(answer),
        _hold: hold,
    });
    taken.map_err(|reason| Fault::new(StatusCode::SERVICE_UNAVAILABLE, &*reason))?;
    match tokio::time::timeout(shared.options.answer_timeout, answered).await {
        Ok(Ok(Outcome::Settled(settled))) => Ok(answer::settled(style, &settled)),
        Ok(Ok(Outcome::Ended(reason))) => Err(Fault::new(StatusCode::SERVICE_UNAVAILABLE, &*reason)),
        Ok(Err(_)) => Err(Fault::new(StatusCode::SERVICE_UNAVAILABLE, "the server has stopped")),
        Err(_) => {
            let text = "the rows are not committed yet, since the target does not take them now; come again (answer_timeout)";
            Err(Fault::new(StatusCode::SERVICE_UNAVAILABLE, text))
        }
    }
}

/// The decoder that a request asks for.
fn chosen(format: &str, style: Style, query: &Query, shared: &Shared) -> Result<Key, Fault> {
    let mut asked = Vec::new();
    for (name, value) in &query.0 {
        match name.as_str() {
            "precision" => asked.extend(precision(style, format, value)?),
            name if OURS.contains(&name) => {}
            name => asked.push((name.to_owned(), value.clone())),
        }
    }
    let database = query.get("db").or_else(|| query.get("bucket"));
    shared.formats.of(format, asked, database).map_err(|error| {
        let status = match error.kind() {
            ErrorKind::NotFound => StatusCode::NOT_FOUND,
            _ => StatusCode::BAD_REQUEST,
        };
        Fault::new(status, error.report())
    })
}

/// InfluxDB's precision as the format calls it.
fn precision(style: Style, format: &str, value: &str) -> Result<Option<(String, String)>, Fault> {
    if value.is_empty() {
        return Ok(None);
    }
    let ours = match value {
        "n" => "ns",
        "u" | "µ" | "µs" => "us",
        other => other,
    };
    let line = style == Style::Influx2 || matches!(format, "line_influxdb" | "influx" | "lp" | "line");
    if line && !matches!(ours, "s" | "ms" | "us" | "ns" | "auto") {
        let meant = did_you_mean(value, ["s", "ms", "us", "ns"]);
        let text = format!("invalid precision {value:?}{meant}; known are ns (n), us (u), ms and s");
        return Err(Fault::new(StatusCode::BAD_REQUEST, text));
    }
    Ok(Some(("precision".to_owned(), ours.to_owned())))
}

/// InfluxDB's health: whether rows get to the target now.
fn health(shared: &Shared) -> Answer {
    let (status, pass, message) = match shared.queue.closed() {
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, "fail", reason.to_string()),
        None if shared.queue.is_read() => (StatusCode::OK, "pass", "ready for writes".to_owned()),
        None => (StatusCode::SERVICE_UNAVAILABLE, "fail", "the target cannot be reached now".to_owned()),
    };
    let version = env!("CARGO_PKG_VERSION");
    let value =
        json!({"name": "kwsync", "message": message, "status": pass, "checks": [], "version": version});
    answer::json_answer(status, &value)
}

fn version() -> Answer {
    let value = json!({
        "version": "2.4.0",
        "short_revision": "",
        "full_revision": "",
        "repo": concat!("kwsync ", env!("CARGO_PKG_VERSION")),
        "repo_status": "MINT",
        "user": "",
        "host": "",
        "timestamp": "0",
    });
    answer::json_answer(StatusCode::OK, &value)
}

/// A value of a small form, as Telegraf sends its statements; none where it does not come.
pub(super) async fn of_form<B>(name: &str, body: B, patience: Duration) -> Option<String>
where
    B: Body,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let body = tokio::time::timeout(patience, Limited::new(body, LONGEST_FORM).collect()).await.ok()?.ok()?;
    let body = body.to_bytes();
    let mut values = form_urlencoded::parse(&body);
    values.find(|(known, _)| known == name).map(|(_, value)| value.into_owned())
}

/// Clients of InfluxDB 1.x make their database before they write: that is nothing to do here.
fn statement(asked: Option<&str>) -> Answer {
    let text = asked.unwrap_or_default().trim().to_ascii_uppercase();
    if text.starts_with("CREATE DATABASE") {
        return answer::json_answer(StatusCode::OK, &json!({"results": [{"statement_id": 0}]}));
    }
    let text = "nothing can be queried here; ask the database that the rows go to";
    Fault::new(StatusCode::BAD_REQUEST, text).answer(Style::Influx)
}

fn unknown(path: &str) -> Answer {
    let path = if path.is_empty() { "/" } else { path };
    let text = format!("there is no {path} here; there are {PATHS}");
    Fault::new(StatusCode::NOT_FOUND, text).answer(Style::Influx)
}

fn not_allowed(request: &Request<Incoming>, allowed: &'static str) -> Answer {
    let text = format!("{} takes {allowed}, and no {}", request.uri().path(), request.method());
    let mut answer = Fault::new(StatusCode::METHOD_NOT_ALLOWED, text).answer(Style::Influx);
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    answer
}
