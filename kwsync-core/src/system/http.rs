//! A client of HTTP/1.1, over one connection at a time, with TLS by rustls: for databases that are spoken to by HTTP.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flate2::write::GzDecoder;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HOST, HeaderValue,
};
use hyper::{HeaderMap, Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::trust;
use crate::config::Secret;
use crate::{Error, ErrorKind, Result};

/// The code of what a server cannot answer at once; of less it may.
pub const TOO_LARGE: &str = "query_too_large";

/// What of a body that is no rows is read: enough for a message.
const MOST_TEXT: usize = 64 << 20;

/// Bytes of a body that are unpacked at once.
const MOST_PACKED: usize = 16 << 10;

/// Where a server is, and how to speak to it.
///
/// # Examples
/// ```
/// use kwsync_core::system::http::HttpOptions;
///
/// let mut options = HttpOptions::new("TDengine", "localhost", 6041);
/// options.log_in("root", None);
/// assert_eq!(options.place(), "localhost:6041");
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HttpOptions {
    /// What the server is, as messages call it.
    pub what: &'static str,
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Whether TLS is used.
    pub tls: bool,
    /// The authorities to trust where they are not those of the machine (PEM).
    pub ca: Option<String>,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// How long the server may be silent.
    pub timeout: Duration,
    /// The header that says who asks.
    pub authorization: Option<Secret>,
    /// What goes behind every path, encoded: `token=...`.
    pub query: Option<Secret>,
}

impl HttpOptions {
    /// A server without TLS, of whom nobody asks who we are; ten seconds to connect, five minutes for an answer.
    pub fn new(what: &'static str, host: impl Into<String>, port: u16) -> Self {
        Self {
            what,
            host: host.into(),
            port,
            tls: false,
            ca: None,
            connect_timeout: Duration::from_secs(10),
            timeout: Duration::from_secs(300),
            authorization: None,
            query: None,
        }
    }

    /// Logs in by user and password.
    pub fn log_in(&mut self, user: &str, password: Option<&Secret>) {
        let password = password.map(Secret::expose).unwrap_or_default();
        self.authorization = Some(Secret::new(format!("Basic {}", base64(&format!("{user}:{password}")))));
    }

    /// The server as a person names it.
    pub fn place(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        format!("{host}:{}", self.port)
    }
}

/// A session with a server: connects when something is asked, and again when the connection has gone.
#[derive(Debug)]
pub struct Http {
    options: Arc<HttpOptions>,
    tls: Option<Arc<ClientConfig>>,
    connection: Option<Connection>,
}

#[derive(Debug)]
struct Connection {
    sender: SendRequest<Full<Bytes>>,
    task: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One request.
#[derive(Clone, Debug)]
pub struct Ask {
    /// GET, POST.
    pub method: Method,
    /// Path and query, encoded.
    pub path: String,
    /// What is asked for.
    pub accept: &'static str,
    /// What the body is.
    pub content_type: Option<&'static str>,
    /// The body.
    pub body: Bytes,
}

impl Ask {
    /// A question for JSON.
    pub fn get(path: impl Into<String>) -> Self {
        Self {
            method: Method::GET,
            path: path.into(),
            accept: "application/json",
            content_type: None,
            body: Bytes::new(),
        }
    }

    /// A question with a body, for JSON.
    pub fn post(path: impl Into<String>, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self { method: Method::POST, content_type: Some(content_type), body: body.into(), ..Self::get(path) }
    }
}

impl Http {
    /// A client. Nothing is connected yet.
    ///
    /// # Errors
    /// `Tls` and `Config` for authorities that cannot be used.
    pub fn new(options: Arc<HttpOptions>) -> Result<Self> {
        let tls = match (options.tls, &options.ca) {
            (false, _) => None,
            (true, Some(ca)) => Some(trust::client_config(trust::roots_of(ca)?, None)?),
            (true, None) => Some(trust::client_config(trust::roots_of_machine()?, None)?),
        };
        Ok(Self { options, tls, connection: None })
    }

    async fn connect(&self) -> Result<Connection> {
        let options = &self.options;
        let place = options.place();
        let what = format!("cannot connect to {} at {place}", options.what);
        let connecting = async {
            let address = (options.host.as_str(), options.port);
            let stream = TcpStream::connect(address).await.map_err(|error| {
                let made = Error::io(&what, error);
                if made.kind() != ErrorKind::Io {
                    return made;
                }
                Error::new(ErrorKind::Unavailable, made.message().to_owned())
                    .with_hint("check the name of the host, and that it can be reached from here")
            })?;
            // Requests are small and answers are waited for.
            drop(stream.set_nodelay(true));
            let Some(tls) = &self.tls else { return shake(stream, &what).await };
            let name = ServerName::try_from(options.host.clone()).map_err(|_| {
                Error::config(format!("{:?} is no name that a certificate could have", options.host))
            })?;
            let connector = TlsConnector::from(Arc::clone(tls));
            let stream = connector.connect(name, stream).await.map_err(|error| {
                let is_tls = error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>());
                if !is_tls {
                    return Error::io(&what, error);
                }
                Error::new(ErrorKind::Tls, format!("{what}: {error}")).with_hint(
                    "the certificate must be signed by an authority of ca=, or of this machine; without TLS the address begins with +http",
                )
            })?;
            shake(stream, &what).await
        };
        timeout(options.connect_timeout, connecting).await.unwrap_or_else(|_| {
            let text = format!("{what}: no answer within {:?}", options.connect_timeout);
            Err(Error::new(ErrorKind::Timeout, text)
                .with_hint("check host and port, or raise connect_timeout="))
        })
    }

    /// Makes sure of a connection; true if it has served before.
    async fn ready(&mut self) -> Result<bool> {
        if let Some(connection) = &mut self.connection
            && timeout(self.options.timeout, connection.sender.ready()).await.is_ok_and(|ready| ready.is_ok())
        {
            return Ok(true);
        }
        self.connection = None;
        self.connection = Some(self.connect().await?);
        Ok(false)
    }

    /// Leaves the connection: what is asked next is asked over a new one, and so once at most.
    pub fn disconnect(&mut self) {
        self.connection = None;
    }

    fn request(&self, ask: &Ask) -> Result<Request<Full<Bytes>>> {
        let mut request = Request::new(Full::new(ask.body.clone()));
        *request.method_mut() = ask.method.clone();
        let path = match &self.options.query {
            Some(query) => {
                let sign = if ask.path.contains('?') { '&' } else { '?' };
                format!("{}{sign}{}", ask.path, query.expose())
            }
            None => ask.path.clone(),
        };
        *request.uri_mut() = path
            .parse()
            .map_err(|error| Error::new(ErrorKind::Internal, "a path is none").with_source(error))?;
        let value = |text: &str| {
            HeaderValue::from_str(text)
                .map_err(|_| Error::config("host, user or token hold characters that HTTP does not take"))
        };
        let headers = request.headers_mut();
        headers.insert(HOST, value(&self.options.place())?);
        headers.insert(ACCEPT, HeaderValue::from_static(ask.accept));
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        if let Some(content_type) = ask.content_type {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        }
        if let Some(secret) = &self.options.authorization {
            let mut value = value(secret.expose())?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        Ok(request)
    }

    /// Asks, and returns the answer when its head is there. What is asked must change nothing, or the same when it is asked twice: it is
    /// asked again where the server had closed a connection that it kept.
    ///
    /// # Errors
    /// `Unavailable`, `Timeout`, `Tls`, `Protocol` where there is no answer; an answer of any status is one.
    ///
    /// # Cancel safety
    /// The connection of a question that is dropped is not used again.
    pub async fn ask(&mut self, ask: &Ask) -> Result<Answer> {
        let mut again = true;
        loop {
            let reused = self.ready().await?;
            let request = self.request(ask)?;
            let Some(connection) = &mut self.connection else {
                return Err(Error::new(ErrorKind::Internal, "there is no connection"));
            };
            let sent = timeout(self.options.timeout, connection.sender.send_request(request)).await;
            let response = match sent {
                Ok(Ok(response)) => response,
                Ok(Err(_)) if reused && again => {
                    (self.connection, again) = (None, false);
                    continue;
                }
                Ok(Err(error)) => {
                    self.connection = None;
                    return Err(lost(&self.options, error));
                }
                Err(_) => {
                    self.connection = None;
                    return Err(silent(&self.options));
                }
            };
            let (head, body) = response.into_parts();
            let gzip = head.headers.get(CONTENT_ENCODING).is_some_and(|value| value == "gzip");
            return Ok(Answer {
                status: head.status,
                headers: head.headers,
                body,
                packed: Bytes::new(),
                gzip: gzip.then(|| GzDecoder::new(Vec::new())),
                options: Arc::clone(&self.options),
            });
        }
    }
}

async fn shake<S>(stream: S, what: &str) -> Result<Connection>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| Error::new(ErrorKind::Unavailable, format!("{what}: {error}")).with_source(error))?;
    let task = tokio::spawn(async move {
        if let Err(error) = connection.await {
            // Whoever waits for an answer is told, too.
            tracing::debug!(%error, "a connection has ended");
        }
    });
    Ok(Connection { sender, task })
}

fn silent(options: &HttpOptions) -> Error {
    let text = format!("{} at {} says nothing for {:?}", options.what, options.place(), options.timeout);
    Error::new(ErrorKind::Timeout, text).with_hint("raise timeout=, or find out what the server is busy with")
}

fn lost(options: &HttpOptions, error: hyper::Error) -> Error {
    let place = options.place();
    if error.is_parse() {
        let text = format!("what listens at {place} does not speak HTTP");
        let hint = if options.tls {
            "check host and port"
        } else {
            "check host and port; with TLS the address begins with +https"
        };
        return Error::new(ErrorKind::Protocol, text).with_source(error).with_hint(hint);
    }
    Error::new(ErrorKind::Unavailable, format!("the connection to {} at {place} is lost", options.what))
        .with_source(error)
        .with_hint(format!(
            "its log may say why; if it never answers, check host and port, and that it is {}",
            options.what
        ))
}

/// An answer whose body comes in pieces.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    body: Incoming,
    /// What has come of the body and is not unpacked yet.
    packed: Bytes,
    gzip: Option<GzDecoder<Vec<u8>>>,
    options: Arc<HttpOptions>,
}

impl Answer {
    /// The next piece of the body, unpacked; none at its end.
    ///
    /// # Errors
    /// `Unavailable` where it breaks off, `Timeout` where the server is silent.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        loop {
            if !self.packed.is_empty() {
                // A little of it at once: a thousandfold may come out.
                let some = self.packed.split_to(self.packed.len().min(MOST_PACKED));
                let Some(gzip) = &mut self.gzip else { return Ok(Some(some)) };
                let wrote = gzip.write_all(&some).and_then(|()| gzip.flush());
                let unpacked = std::mem::take(gzip.get_mut());
                wrote.map_err(|error| self.broken(error))?;
                if !unpacked.is_empty() {
                    return Ok(Some(Bytes::from(unpacked)));
                }
                continue;
            }
            let frame = timeout(self.options.timeout, self.body.frame());
            let frame = frame.await.map_err(|_| silent(&self.options))?;
            let Some(frame) = frame else {
                let Some(gzip) = self.gzip.take() else { return Ok(None) };
                let rest = gzip.finish().map_err(|error| self.broken(error))?;
                return Ok((!rest.is_empty()).then(|| Bytes::from(rest)));
            };
            let frame = frame.map_err(|error| lost(&self.options, error))?;
            let Ok(data) = frame.into_data() else { continue };
            if self.gzip.is_none() && !data.is_empty() {
                return Ok(Some(data));
            }
            self.packed = data;
        }
    }

    fn broken(&self, error: std::io::Error) -> Error {
        let text =
            format!("{} at {} sent a body that gzip cannot read", self.options.what, self.options.place());
        Error::new(ErrorKind::Unavailable, text).with_source(error)
    }

    /// The whole body, where it is no rows.
    ///
    /// # Errors
    /// As [`bytes`](Self::bytes).
    pub async fn text(&mut self) -> Result<String> {
        Ok(String::from_utf8_lossy(&self.bytes(MOST_TEXT).await?).into_owned())
    }

    /// The whole body, which may not be larger than `most`.
    ///
    /// # Errors
    /// `Limit`, as [`TOO_LARGE`], where it is; and as [`chunk`](Self::chunk).
    pub async fn bytes(&mut self, most: usize) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            if bytes.len() + chunk.len() > most {
                let said = format!("{} sent more than {most} bytes at once", self.options.what);
                return Err(Error::new(ErrorKind::Limit, said).with_code(TOO_LARGE));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }
}

/// What kind of fault a status is, where nothing else tells.
pub fn kind_of(status: StatusCode) -> ErrorKind {
    match status {
        StatusCode::UNAUTHORIZED => ErrorKind::Auth,
        StatusCode::FORBIDDEN => ErrorKind::Permission,
        StatusCode::NOT_FOUND => ErrorKind::NotFound,
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::BAD_GATEWAY | StatusCode::TOO_MANY_REQUESTS => {
            ErrorKind::Unavailable
        }
        StatusCode::GATEWAY_TIMEOUT => ErrorKind::Timeout,
        status if status.is_redirection() => ErrorKind::Config,
        status if status.is_client_error() => ErrorKind::Protocol,
        _ => ErrorKind::Server,
    }
}

/// A text as part of a query or a form.
pub fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// Base64 with padding.
fn base64(text: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for three in text.as_bytes().chunks(3) {
        let bits =
            three.iter().enumerate().fold(0_u32, |bits, (at, byte)| bits | u32::from(*byte) << (16 - 8 * at));
        for at in 0..4 {
            let digit = DIGITS.get((bits >> (18 - 6 * at)) as usize & 63).copied().unwrap_or(b'=');
            out.push(if at <= three.len() { char::from(digit) } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::base64;

    #[test]
    fn base64_of_any_length() {
        for (text, encoded) in
            [("", ""), ("a", "YQ=="), ("ab", "YWI="), ("abc", "YWJj"), ("abcd", "YWJjZA==")]
        {
            assert_eq!(base64(text), encoded);
        }
    }
}
