//! A session: OP_MSG over TCP or TLS, one command at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use base64::Engine;
use kwsync_core::config::{Host, Secret};
use kwsync_core::system::trust as tls;
use kwsync_core::{Error, ErrorKind, Result};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::bson::Doc;
use super::scram::{Mechanism, Scram};
use super::written::Written;

const OP_MSG: i32 = 2013;
/// Servers send no message that is longer than 48,000,000 bytes.
const MOST_BYTES: usize = 64 << 20;
/// The first request of a process; any number would do.
static REQUESTS: AtomicI32 = AtomicI32::new(1);

/// Where the servers are, and how to sign in.
#[derive(Clone, Debug)]
pub(super) struct Connect {
    pub(super) hosts: Vec<Host>,
    pub(super) user: Option<(String, Secret)>,
    /// The database that knows the user.
    pub(super) auth_db: String,
    pub(super) mechanism: Option<Mechanism>,
    pub(super) tls: bool,
    pub(super) ca: Option<String>,
    /// Whether a secondary will do.
    pub(super) secondary: bool,
    pub(super) connect_timeout: Duration,
    pub(super) timeout: Duration,
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A session that is signed in.
pub(super) struct Session {
    stream: Box<dyn Stream>,
    place: String,
    timeout: Duration,
    /// Whether the server is a secondary, and has to be told that this is meant.
    secondary: bool,
    /// An answer was left half read.
    broken: bool,
}

/// An answer: one document.
#[derive(Debug)]
pub(super) struct Reply(Vec<u8>);

impl Reply {
    pub(super) fn doc(&self) -> Result<Doc<'_>> {
        Ok(Doc::new(&self.0)?)
    }

    pub(super) fn bytes(&self) -> usize {
        self.0.len()
    }
}

impl Session {
    /// Connects to the first of the servers that answers and may be read from.
    pub(super) async fn open(connect: &Connect) -> Result<Self> {
        let config = match (connect.tls, &connect.ca) {
            (false, _) => None,
            (true, Some(ca)) => Some(tls::client_config(tls::roots_of(ca)?, None)?),
            (true, None) => Some(tls::client_config(tls::roots_of_machine()?, None)?),
        };
        let (mut second, mut last) = (None, None);
        for host in &connect.hosts {
            match timeout(connect.connect_timeout, Self::greet(connect, host, config.as_ref())).await {
                Ok(Ok(session)) if session.secondary && second.is_none() => second = Some(session),
                Ok(Ok(session)) if session.secondary => drop(session),
                Ok(Ok(session)) => return session.sign_in(connect).await,
                Ok(Err(error)) => last = Some(error),
                Err(_) => {
                    let text = format!(
                        "cannot connect to MongoDB at {}: no answer within {:?}",
                        place(host),
                        connect.connect_timeout
                    );
                    last = Some(
                        Error::new(ErrorKind::Timeout, text)
                            .with_hint("check host and port, or raise connect_timeout="),
                    );
                }
            }
        }
        match (second, last) {
            (Some(session), _) if connect.secondary => session.sign_in(connect).await,
            (Some(session), None) => Err(Error::config(format!("the server at {} is a secondary", session.place))
                .with_hint("name the primary, or all servers of the set, or read from it with readPreference=secondaryPreferred")),
            (_, Some(error)) => Err(error),
            (_, None) => Err(Error::config("the address names no server")),
        }
    }

    async fn greet(connect: &Connect, host: &Host, tls: Option<&Arc<ClientConfig>>) -> Result<Self> {
        let place = place(host);
        let what = format!("cannot connect to MongoDB at {place}");
        let stream = TcpStream::connect((host.name(), host.port_or(27017))).await.map_err(|error| {
            let made = Error::io(&what, error);
            if made.kind() != ErrorKind::Io {
                return made;
            }
            Error::new(ErrorKind::Unavailable, made.message().to_owned())
                .with_hint("check the name of the host, and that it can be reached from here")
        })?;
        // Requests are small and answers are waited for.
        drop(stream.set_nodelay(true));
        let stream: Box<dyn Stream> = match tls {
            None => Box::new(stream),
            Some(config) => {
                let name = ServerName::try_from(host.name().to_owned()).map_err(|_| {
                    Error::config(format!("{:?} is no name that a certificate could have", host.name()))
                })?;
                let stream = TlsConnector::from(Arc::clone(config)).connect(name, stream).await.map_err(|error| {
                    Error::new(ErrorKind::Tls, format!("{what}: {error}"))
                        .with_hint("the certificate must be signed by an authority of ca=, or of this machine; without TLS leave tls=true out")
                })?;
                Box::new(stream)
            }
        };
        let mut session = Self { stream, place, timeout: connect.timeout, secondary: false, broken: false };
        let client = Written::new()
            .doc("driver", &Written::new().text("name", "kwsync").text("version", env!("CARGO_PKG_VERSION")))
            .doc("os", &Written::new().text("type", std::env::consts::OS));
        let hello = Written::new().i32("hello", 1).text("$db", "admin").doc("client", &client);
        let reply = match session.command(&hello).await {
            // Servers before 4.4 know it by another name.
            Err(error) if error.code() == Some("59") => {
                session
                    .command(&Written::new().i32("isMaster", 1).text("$db", "admin").doc("client", &client))
                    .await?
            }
            other => other?,
        };
        let doc = reply.doc()?;
        let is = |name: &str| Ok::<_, Error>(doc.number(name)?.is_some_and(|number| number != 0.0));
        if doc.number("maxWireVersion")?.unwrap_or(0.0) < 6.0 {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("the server at {} is older than MongoDB 3.6", session.place),
            ));
        }
        session.secondary = is("secondary")?;
        let readable = session.secondary || is("isWritablePrimary")? || is("ismaster")?;
        if !readable {
            return Err(Error::new(
                ErrorKind::Unavailable,
                format!("the server at {} is neither primary nor secondary", session.place),
            )
            .with_hint("its set may be choosing a primary, or it may be an arbiter"));
        }
        Ok(session)
    }

    async fn sign_in(mut self, connect: &Connect) -> Result<Self> {
        let Some((user, password)) = &connect.user else { return Ok(self) };
        let mechanism = match connect.mechanism {
            Some(mechanism) => mechanism,
            None => self.mechanism(connect, user).await?,
        };
        let refused = |error: Error| match error.code() {
            Some("18") => error.with_kind_hint(user, &connect.auth_db),
            _ => error,
        };
        let mut scram = Scram::new(mechanism, user, password)?;
        let start = Written::new()
            .i32("saslStart", 1)
            .text("mechanism", mechanism.name())
            .bytes("payload", scram.first().as_bytes())
            .text("$db", &connect.auth_db);
        let mut reply = self.command(&start).await.map_err(refused)?;
        let mut proved = false;
        for _ in 0..4 {
            let doc = reply.doc()?;
            let payload = payload(doc)?;
            let next = if proved {
                scram.check(&payload)?;
                String::new()
            } else {
                scram.proof(&payload)?
            };
            if proved && doc.number("done")?.is_some_and(|done| done != 0.0) {
                return Ok(self);
            }
            let conversation = doc.number("conversationId")?.unwrap_or(1.0) as i32;
            let go_on = Written::new()
                .i32("saslContinue", 1)
                .i32("conversationId", conversation)
                .bytes("payload", next.as_bytes())
                .text("$db", &connect.auth_db);
            let was_proved = std::mem::replace(&mut proved, true);
            reply = self.command(&go_on).await.map_err(refused)?;
            if was_proved && reply.doc()?.number("done")?.is_some_and(|done| done != 0.0) {
                return Ok(self);
            }
        }
        Err(Error::new(ErrorKind::Protocol, "signing in comes to no end"))
    }

    /// The best mechanism that the user has.
    async fn mechanism(&mut self, connect: &Connect, user: &str) -> Result<Mechanism> {
        let hello = Written::new()
            .i32("isMaster", 1)
            .text("saslSupportedMechs", &format!("{}.{user}", connect.auth_db))
            .text("$db", "admin");
        let reply = self.command(&hello).await?;
        let Some(names) = reply.doc()?.doc("saslSupportedMechs")? else { return Ok(Mechanism::Sha1) };
        let mut found = Mechanism::Sha1;
        for name in names.elems() {
            let (_, name) = name?;
            if name.text().as_deref() == Some(Mechanism::Sha256.name()) {
                found = Mechanism::Sha256;
            }
        }
        Ok(found)
    }

    /// Runs a command, and returns the answer of one that went well.
    pub(super) async fn command(&mut self, command: &Written) -> Result<Reply> {
        if self.broken {
            return Err(Error::new(ErrorKind::Unavailable, "the session was broken off"));
        }
        self.broken = true;
        let asked = timeout(self.timeout, self.exchange(command)).await;
        let reply = asked.map_err(|_| {
            let text = format!("MongoDB at {} says nothing for {:?}", self.place, self.timeout);
            Error::new(ErrorKind::Timeout, text)
                .with_hint("raise timeout=, or find out what the server is busy with")
        })??;
        self.broken = false;
        let doc = reply.doc()?;
        if doc.number("ok")?.is_some_and(|ok| ok == 1.0) {
            return Ok(reply);
        }
        let code = doc.number("code")?.map(|code| code as i64);
        Err(refused(code, doc.text("errmsg")?.unwrap_or("it does not say why")))
    }

    async fn exchange(&mut self, command: &Written) -> Result<Reply> {
        let lost = |place: &str, error: std::io::Error| {
            Error::new(ErrorKind::Unavailable, format!("the connection to MongoDB at {place} is lost"))
                .with_source(error)
                .with_hint("its log may say why; with TLS the address has tls=true")
        };
        let mut body = command.clone();
        if self.secondary {
            body = body.doc("$readPreference", &Written::new().text("mode", "secondaryPreferred"));
        }
        let body = body.finished();
        let request = REQUESTS.fetch_add(1, Ordering::Relaxed);
        let mut message = Vec::with_capacity(21 + body.len());
        for part in [21 + body.len() as i32, request, 0, OP_MSG, 0] {
            message.extend(part.to_le_bytes());
        }
        message.push(0);
        message.extend(body);
        self.stream.write_all(&message).await.map_err(|error| lost(&self.place, error))?;
        self.stream.flush().await.map_err(|error| lost(&self.place, error))?;
        let mut head = [0_u8; 16];
        self.stream.read_exact(&mut head).await.map_err(|error| lost(&self.place, error))?;
        let number = |at: usize| {
            let bytes = head.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).unwrap_or_default();
            i32::from_le_bytes(bytes)
        };
        let wrong = |what: &str| {
            Error::new(
                ErrorKind::Protocol,
                format!("what listens at {} does not speak as MongoDB does: {what}", self.place),
            )
            .with_hint("check host and port; with TLS the address has tls=true")
        };
        let length = usize::try_from(number(0)).unwrap_or(0);
        if !(21..=MOST_BYTES).contains(&length) || number(12) != OP_MSG {
            return Err(wrong("it sent no message of the kind OP_MSG"));
        }
        if number(8) != request {
            return Err(wrong("it answers another question"));
        }
        let mut body = Vec::new();
        // As it comes: the length may be a lie.
        let taken = (&mut self.stream).take(length as u64 - 16).read_to_end(&mut body).await;
        let taken = taken.map_err(|error| lost(&self.place, error))?;
        if taken != length - 16 {
            return Err(lost(&self.place, std::io::ErrorKind::UnexpectedEof.into()));
        }
        let flags = body.first_chunk::<4>().map(|flags| u32::from_le_bytes(*flags)).unwrap_or_default();
        if flags & 1 != 0 {
            // A checksum, which TCP and TLS have, too.
            body.truncate(body.len().saturating_sub(4));
        }
        if body.get(4) != Some(&0) {
            return Err(wrong("its message does not begin with a document"));
        }
        body.drain(..5);
        Ok(Reply(body))
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("place", &self.place).finish_non_exhaustive()
    }
}

/// What a hint says of a refusal to sign in.
trait Refusal {
    fn with_kind_hint(self, user: &str, database: &str) -> Self;
}

impl Refusal for Error {
    fn with_kind_hint(self, user: &str, database: &str) -> Self {
        self.with_hint(format!(
            "check the password of {user:?}, and that the database {database:?} knows the user: authSource= names another"
        ))
    }
}

fn place(host: &Host) -> String {
    format!("{}:{}", host.name(), host.port_or(27017))
}

fn payload(doc: Doc<'_>) -> Result<String> {
    use super::bson::Elem;
    match doc.get("payload")? {
        Some(Elem::Binary(_, bytes)) => Ok(String::from_utf8_lossy(bytes).into_owned()),
        Some(Elem::Text(text)) => {
            let decoded = base64::engine::general_purpose::STANDARD.decode(text);
            Ok(decoded.map_or_else(|_| text.to_owned(), |bytes| String::from_utf8_lossy(&bytes).into_owned()))
        }
        _ => {
            Err(Error::new(ErrorKind::Protocol, "the server does not sign in as it should: it sends nothing"))
        }
    }
}

/// What the server complains of, as an error.
fn refused(code: Option<i64>, said: &str) -> Error {
    let said: String = said.chars().take(600).collect();
    let text = match code {
        Some(code) => format!("MongoDB: {said} (code {code})"),
        None => format!("MongoDB: {said}"),
    };
    let of = |kind| {
        let made = Error::new(kind, text.clone());
        match code {
            Some(code) => made.with_code(code.to_string()),
            None => made,
        }
    };
    match code {
        Some(18) => of(ErrorKind::Auth),
        Some(13 | 8000) => of(ErrorKind::Permission).with_hint(
            "the user needs the role read of the database; without a user the server may let nobody in",
        ),
        Some(26) => {
            of(ErrorKind::NotFound).with_hint("check the names of database and collection, whose case counts")
        }
        Some(2 | 9 | 14 | 17287) => {
            of(ErrorKind::Config).with_hint("query= is a condition in MongoDB's own words, as JSON")
        }
        Some(50 | 202 | 262) => of(ErrorKind::Timeout),
        Some(6 | 7 | 43 | 89 | 91 | 175 | 189 | 237 | 9001 | 10107 | 11600 | 11602 | 13435 | 13436) => {
            of(ErrorKind::Unavailable)
        }
        Some(292 | 96 | 146) => {
            of(ErrorKind::Limit).with_hint("allowDiskUse, or an index, would let the server sort")
        }
        _ => of(ErrorKind::Server),
    }
}
