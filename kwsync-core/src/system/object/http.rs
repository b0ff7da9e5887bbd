//! The HTTP client below the library: TLS of our own, transfers that stand still are given up, refusals keep their ids.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::Request;
use hyper::body::{Body, Frame, SizeHint};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody, HttpResponse,
    HttpResponseBody, HttpService,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio::time::timeout;

use super::error::{Refusal, TooSlow};
use super::{ObjectOptions, SpeedLimit};
use crate::{Error, ErrorKind, Result};

/// Bytes that are handed to a connection at a time, so that what has gone is known closely.
const FRAME: usize = 8 << 10;
/// How long an answer may take at least, once a request that changes something has gone.
const LEAST_ANSWER: Duration = Duration::from_secs(60);
/// What is read of the body of a refusal.
const MOST_REFUSAL: usize = 64 << 10;

/// Makes [`Watched`] clients.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    client: reqwest::Client,
    speed: SpeedLimit,
}

impl Connector {
    pub(super) fn new(options: &ObjectOptions) -> Result<Self> {
        let is_plain = options.endpoint.as_deref().is_some_and(|endpoint| endpoint.starts_with("http://"));
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls(options.ca.as_deref(), is_plain)?)
            .http1_only()
            .user_agent(concat!("kwsync/", env!("CARGO_PKG_VERSION")))
            // None for reading: it would run while a large part is on its way up.
            .connect_timeout(options.connect_timeout)
            .build()
            .map_err(|error| {
                Error::new(ErrorKind::Internal, "the HTTP client cannot be set up").with_source(error)
            })?;
        Ok(Self { client, speed: options.speed })
    }
}

/// Our own provider: the process may have another default, or two and none chosen.
fn tls(ca: Option<&str>, is_plain: bool) -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(pem) => {
            for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                let certificate = certificate.map_err(|error| {
                    Error::config(format!("ca holds no certificates in PEM form: {error}"))
                })?;
                roots.add(certificate).map_err(|error| {
                    Error::config("a certificate of ca cannot be used").with_source(error)
                })?;
            }
            if roots.is_empty() {
                return Err(
                    Error::config("ca holds no certificates").with_hint("a file is given as ca=@FILE")
                );
            }
        }
        None if is_plain => {}
        None => {
            // Some of a machine's certificates are always too odd to be used.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                return Err(Error::new(ErrorKind::Tls, "this machine trusts no authorities")
                    .with_hint("install the package ca-certificates, or give the authorities: ca=@ca.crt"));
            }
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::new(ErrorKind::Tls, "TLS cannot be set up").with_source(error))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

impl HttpConnector for Connector {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(Watched { client: self.client.clone(), speed: self.speed }))
    }
}

/// A client that gives up what stands still.
#[derive(Debug)]
struct Watched {
    client: reqwest::Client,
    speed: SpeedLimit,
}

#[async_trait::async_trait]
impl HttpService for Watched {
    async fn call(&self, request: HttpRequest) -> std::result::Result<HttpResponse, HttpError> {
        let (head, body) = request.into_parts();
        let changes = !head.method.is_safe();
        let length = body.content_length() as u64;
        let sent = Arc::new(AtomicU64::new(0));
        let body = reqwest::Body::wrap(Counted { body, rest: Bytes::new(), sent: Arc::clone(&sent) });
        let request =
            reqwest::Request::try_from(Request::from_parts(head, body)).map_err(|error| fault(&error))?;
        let response = self.answer(request, &sent, length, changes).await?;
        let (head, body) = hyper::Response::from(response).into_parts();
        let body = body.map_err(|error| fault(&error));
        if head.status.is_success() || head.status.as_u16() == 304 {
            return Ok(HttpResponse::from_parts(head, HttpResponseBody::new(body)));
        }
        let id = ["x-amz-request-id", "x-oss-request-id"].iter().find_map(|name| head.headers.get(*name));
        let id = id.and_then(|id| id.to_str().ok());
        // A refusal without a text is one all the same.
        let text = Limited::new(body, MOST_REFUSAL).collect().await.map(|body| body.to_bytes());
        let text = String::from_utf8_lossy(&text.unwrap_or_default()).into_owned();
        let marked = Refusal::of(head.status.as_u16(), &text, id).marked();
        Ok(HttpResponse::from_parts(head, HttpResponseBody::from(marked)))
    }
}

impl Watched {
    /// Sends, and waits for the head of the answer as long as something moves.
    async fn answer(
        &self,
        request: reqwest::Request,
        sent: &AtomicU64,
        length: u64,
        changes: bool,
    ) -> std::result::Result<reqwest::Response, HttpError> {
        let mut call = std::pin::pin!(self.client.execute(request));
        if self.speed.bytes == 0 {
            return call.await.map_err(|error| fault(&error));
        }
        let (mut before, mut answer) = (0, Duration::ZERO);
        loop {
            if let Ok(response) = timeout(self.speed.time, &mut call).await {
                return response.map_err(|error| fault(&error));
            }
            let gone = sent.load(Ordering::Relaxed);
            let slow = if gone >= length {
                answer += self.speed.time;
                // Whoever puts an object together may need a while.
                let patience = if changes { LEAST_ANSWER.max(self.speed.time) } else { self.speed.time };
                (answer >= patience).then(|| format!("no answer came for {answer:?}"))
            } else {
                self.speed.is_missed(gone - before, self.speed.time).then(|| {
                    let SpeedLimit { bytes, time } = self.speed;
                    format!(
                        "sent {} bytes in {time:?}, and oss_speed_limit is {bytes} a second",
                        gone - before
                    )
                })
            };
            before = gone;
            if let Some(slow) = slow {
                return Err(HttpError::new(HttpErrorKind::Unknown, TooSlow(slow)));
            }
        }
    }
}

/// What kind of fault it is: it says whether the library tries again.
fn fault(error: &reqwest::Error) -> HttpError {
    let kind = if error.is_connect() {
        // A timeout of connecting is one of these.
        HttpErrorKind::Connect
    } else if error.is_timeout() {
        HttpErrorKind::Timeout
    } else if error.is_decode() {
        HttpErrorKind::Decode
    } else {
        HttpErrorKind::Interrupted
    };
    // The last cause says most, and the address is told by whoever asked.
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    HttpError::new_boxed(kind, cause.to_string().into())
}

/// A body that counts what has been taken of it.
struct Counted {
    body: HttpRequestBody,
    rest: Bytes,
    sent: Arc<AtomicU64>,
}

impl Body for Counted {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, HttpError>>> {
        let this = self.get_mut();
        while this.rest.is_empty() {
            match Pin::new(&mut this.body).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => this.rest = data,
                    Err(frame) => return Poll::Ready(Some(Ok(frame))),
                },
                other => return other,
            }
        }
        let piece = this.rest.split_to(FRAME.min(this.rest.len()));
        this.sent.fetch_add(piece.len() as u64, Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let body = self.body.size_hint();
        SizeHint::with_exact(body.lower() + self.rest.len() as u64)
    }
}
