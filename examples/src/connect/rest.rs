//! The REST interface: <https://kafka.apache.org/documentation/#connect_rest>.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use kwsync_core::{Error, ErrorKind, Result};
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::manager::unknown;
use super::{ConnectorState, Connectors};

/// Bytes of the longest request.
const LONGEST: usize = 1 << 20;
/// Most clients at a time.
const MOST: usize = 64;
/// How long a client may take to say what it wants.
const PATIENCE: Duration = Duration::from_secs(30);

impl Connectors {
    /// Starts the connectors, and answers requests until `cancel` is cancelled; then each connector writes and commits what
    /// it has read.
    ///
    /// There is no password: whoever reaches the port may do everything. Bind it to 127.0.0.1, or put something before it.
    ///
    /// # Errors
    /// None now; a later version may have some.
    ///
    /// # Cancel safety
    /// Dropping the future breaks the connectors off; they resume from their last commit.
    pub async fn serve(&self, listener: TcpListener, cancel: CancellationToken) -> Result<()> {
        let place = listener.local_addr().map_or_else(|_| String::new(), |address| address.to_string());
        self.start_all();
        let room = std::sync::Arc::new(tokio::sync::Semaphore::new(MOST));
        loop {
            let accepted = tokio::select! {
                () = cancel.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // As when there are too many files open: others may be closed soon.
                    tracing::warn!(error = %error, "a client could not be let in");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let Ok(permit) = std::sync::Arc::clone(&room).acquire_owned().await else { break };
            let (own, place, cancel) = (self.clone(), place.clone(), cancel.clone());
            tokio::spawn(async move {
                let _permit = permit;
                let answered = service_fn(|request| {
                    let (own, place) = (own.clone(), place.clone());
                    // By itself: a client that hangs up must not break off what it has asked for.
                    async move {
                        let answer = tokio::spawn(async move { own.answer(request, &place).await });
                        Ok::<_, Infallible>(answer.await.unwrap_or_else(|_| {
                            let mut response = Response::new(Full::new(Bytes::new()));
                            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
                            response
                        }))
                    }
                });
                let connection = hyper::server::conn::http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(PATIENCE)
                    .serve_connection(TokioIo::new(stream), answered);
                tokio::select! {
                    served = connection => if let Err(fault) = served {
                        tracing::debug!(error = %fault, "a client broke off");
                    },
                    () = cancel.cancelled() => {}
                }
            });
        }
        self.halt_all().await;
        Ok(())
    }

    async fn answer(&self, request: Request<Incoming>, place: &str) -> Response<Full<Bytes>> {
        let path = request.uri().path().to_owned();
        let (status, body) = match self.route(request, place).await {
            Ok(answer) => answer,
            Err(error) => {
                let status = match error.kind() {
                    ErrorKind::NotFound => StatusCode::NOT_FOUND,
                    ErrorKind::Conflict => StatusCode::CONFLICT,
                    ErrorKind::Config | ErrorKind::Unsupported | ErrorKind::Data | ErrorKind::Usage => {
                        StatusCode::BAD_REQUEST
                    }
                    ErrorKind::Limit => StatusCode::PAYLOAD_TOO_LARGE,
                    _ => StatusCode::INTERNAL_SERVER_ERROR,
                };
                tracing::warn!(path, status = status.as_u16(), error = %error, "refused");
                (status, Some(json!({"error_code": status.as_u16(), "message": error.report()})))
            }
        };
        let text = body.map_or_else(Bytes::new, |body| Bytes::from(body.to_string()));
        let mut response = Response::new(Full::new(text));
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }

    async fn route(&self, request: Request<Incoming>, place: &str) -> Result<(StatusCode, Option<Value>)> {
        let method = request.method().clone();
        let path = request.uri().path().to_owned();
        let query = request.uri().query().unwrap_or_default().to_owned();
        let parts: Vec<String> = path
            .split('/')
            .filter(|part| !part.is_empty())
            .map(|part| percent_decoded(part).ok_or_else(|| Error::config(format!("{part:?} is no name"))))
            .collect::<Result<_>>()?;
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let known = |name: &str| if self.state(name).is_some() { Ok(()) } else { Err(unknown(name)) };
        let done = |status| Ok((status, None));
        match (&method, &parts[..]) {
            (&Method::GET, []) => {
                let version = concat!("kwsync-", env!("CARGO_PKG_VERSION"));
                Ok((StatusCode::OK, Some(json!({"version": version, "commit": "", "kafka_cluster_id": ""}))))
            }
            (&Method::GET, ["connectors"]) => {
                let names = self.names();
                let expand: Vec<&str> =
                    query.split('&').filter_map(|pair| pair.strip_prefix("expand=")).collect();
                if expand.is_empty() {
                    return Ok((StatusCode::OK, Some(json!(names))));
                }
                let mut all = Map::new();
                for name in names {
                    let mut one = Map::new();
                    for what in &expand {
                        let value = match *what {
                            "status" => self.status(&name, place)?,
                            "info" => self.info(&name)?,
                            _ => continue,
                        };
                        one.insert((*what).to_owned(), value);
                    }
                    all.insert(name, one.into());
                }
                Ok((StatusCode::OK, Some(all.into())))
            }
            (&Method::POST, ["connectors"]) => {
                let mut posted = object(request).await?;
                let config = match posted.remove("config") {
                    Some(Value::Object(config)) => config,
                    _ => {
                        return Err(Error::config("`config` is missing: {\"name\": ..., \"config\": {...}}"));
                    }
                };
                let name = match posted.get("name").or(config.get("name")) {
                    Some(Value::String(name)) if !name.trim().is_empty() => name.trim().to_owned(),
                    _ => return Err(Error::config("`name` is missing: {\"name\": ..., \"config\": {...}}")),
                };
                self.put(&name, config, false).await?;
                Ok((StatusCode::CREATED, Some(self.info(&name)?)))
            }
            (&Method::GET, ["connectors", name]) => Ok((StatusCode::OK, Some(self.info(name)?))),
            (&Method::DELETE, ["connectors", name]) => {
                self.delete(name).await?;
                done(StatusCode::NO_CONTENT)
            }
            (&Method::GET, ["connectors", name, "config"]) => {
                let config = self.config(name).ok_or_else(|| unknown(name))?;
                Ok((StatusCode::OK, Some(config.into())))
            }
            (&Method::PUT, ["connectors", name, "config"]) => {
                let name = (*name).to_owned();
                let new = self.put(&name, object(request).await?, true).await?;
                let status = if new { StatusCode::CREATED } else { StatusCode::OK };
                Ok((status, Some(self.info(&name)?)))
            }
            (&Method::GET, ["connectors", name, "status"]) => {
                Ok((StatusCode::OK, Some(self.status(name, place)?)))
            }
            (&Method::GET, ["connectors", name, "tasks"]) => {
                let config = self.config(name).ok_or_else(|| unknown(name))?;
                let tasks = self.task_ids(name)?.into_iter().map(|id| json!({"id": id, "config": config}));
                Ok((StatusCode::OK, Some(tasks.collect())))
            }
            (&Method::GET, ["connectors", name, "tasks", id, "status"]) => {
                let status = self.status(name, place)?;
                let task = id.parse::<usize>().ok().and_then(|id| status["tasks"].get(id).cloned());
                let task = task.ok_or_else(|| {
                    Error::new(ErrorKind::NotFound, format!("connector {name:?} has no task {id}"))
                })?;
                Ok((StatusCode::OK, Some(task)))
            }
            (&Method::GET, ["connectors", name, "topics"]) => {
                let topics = self.topics(name).ok_or_else(|| unknown(name))?;
                Ok((StatusCode::OK, Some(json!({*name: {"topics": topics}}))))
            }
            (&Method::PUT, ["connectors", name, "pause"]) => {
                self.set(name, ConnectorState::Paused).await?;
                done(StatusCode::ACCEPTED)
            }
            (&Method::PUT, ["connectors", name, "resume"]) => {
                self.set(name, ConnectorState::Running).await?;
                done(StatusCode::ACCEPTED)
            }
            (&Method::PUT, ["connectors", name, "stop"]) => {
                self.set(name, ConnectorState::Stopped).await?;
                done(StatusCode::NO_CONTENT)
            }
            // A task is a lane, and lanes start together.
            (
                &Method::POST,
                ["connectors", name, "restart"] | ["connectors", name, "tasks", _, "restart"],
            ) => {
                self.restart(name).await?;
                done(StatusCode::NO_CONTENT)
            }
            (&Method::GET, ["connector-plugins"]) => {
                let plugin = |kind: &str, name: &str| {
                    json!({
                        "class": format!("com.kaiwudb.kafka.connect.{kind}.{name}"),
                        "type": kind,
                        "version": env!("CARGO_PKG_VERSION"),
                    })
                };
                let all =
                    json!([plugin("sink", "KwdbSinkConnector"), plugin("source", "KwdbSourceConnector")]);
                Ok((StatusCode::OK, Some(all)))
            }
            (_, ["connectors", name, ..]) => {
                known(name)?;
                Ok((
                    StatusCode::METHOD_NOT_ALLOWED,
                    Some(refused(StatusCode::METHOD_NOT_ALLOWED, &method, &path)),
                ))
            }
            (_, [] | ["connectors"] | ["connector-plugins"]) => Ok((
                StatusCode::METHOD_NOT_ALLOWED,
                Some(refused(StatusCode::METHOD_NOT_ALLOWED, &method, &path)),
            )),
            _ => Ok((StatusCode::NOT_FOUND, Some(refused(StatusCode::NOT_FOUND, &method, &path)))),
        }
    }

    fn task_ids(&self, name: &str) -> Result<Vec<Value>> {
        let tasks = self.tasks(name).ok_or_else(|| unknown(name))?;
        Ok((0..tasks).map(|task| json!({"connector": name, "task": task})).collect())
    }

    fn info(&self, name: &str) -> Result<Value> {
        let config = self.config(name).ok_or_else(|| unknown(name))?;
        Ok(json!({"name": name, "config": config, "tasks": self.task_ids(name)?, "type": self.kind(name)}))
    }

    fn status(&self, name: &str, place: &str) -> Result<Value> {
        let (state, trace) = self.state(name).ok_or_else(|| unknown(name))?;
        let tasks = self.tasks(name).unwrap_or(1);
        // The connector itself is there; what fails are its tasks.
        let own = if state == ConnectorState::Failed { ConnectorState::Running } else { state };
        let task = |id: usize| {
            let mut task = json!({"id": id, "state": state.as_str(), "worker_id": place});
            if let Some(trace) = &trace {
                task["trace"] = trace.as_str().into();
            }
            task
        };
        // A connector that is stopped has no tasks.
        let tasks: Vec<Value> =
            if state == ConnectorState::Stopped { Vec::new() } else { (0..tasks).map(task).collect() };
        Ok(json!({
            "name": name,
            "connector": {"state": own.as_str(), "worker_id": place},
            "tasks": tasks,
            "type": self.kind(name),
        }))
    }
}

fn refused(status: StatusCode, method: &Method, path: &str) -> Value {
    let text = match status {
        StatusCode::NOT_FOUND => format!("there is no {path} here"),
        _ => format!("{path} takes no {method}"),
    };
    json!({"error_code": status.as_u16(), "message": text})
}

/// The object of a body. It must say that it is JSON: a page in somebody's browser cannot say that unasked.
async fn object(request: Request<Incoming>) -> Result<Map<String, Value>> {
    let json = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if json.is_none_or(|kind| kind.split(';').next().unwrap_or("").trim() != "application/json") {
        return Err(Error::config("the body must be JSON").with_hint("-H 'Content-Type: application/json'"));
    }
    let body = tokio::time::timeout(PATIENCE, Limited::new(request.into_body(), LONGEST).collect()).await;
    let body = body.map_err(|_| Error::new(ErrorKind::Timeout, "the body does not end"))?;
    let body = body
        .map_err(|fault| Error::new(ErrorKind::Limit, format!("the body cannot be read: {fault}")))?
        .to_bytes();
    serde_json::from_slice(&body)
        .map_err(|fault| Error::config(format!("the body is no JSON object: {fault}")))
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        rest = more;
        match first {
            b'%' => {
                let (code, more) = rest.split_at_checked(2)?;
                bytes.push(u8::from_str_radix(std::str::from_utf8(code).ok()?, 16).ok()?);
                rest = more;
            }
            byte => bytes.push(*byte),
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_from_paths() {
        for (text, name) in
            [("a", Some("a")), ("a%20b%2Fc", Some("a b/c")), ("%", None), ("%zz", None), ("%ff", None)]
        {
            assert_eq!(percent_decoded(text).as_deref(), name, "{text}");
        }
    }
}
