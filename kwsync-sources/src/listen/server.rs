//! Sockets and connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use kwsync_core::{Error, ErrorKind, Result, Retry};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use super::auth::Auth;
use super::config::{ListenOptions, shown};
use super::formats::Formats;
use super::queue::Queue;
use super::source::GOODBYE;
use super::{http, telnet, tls};

/// How long a client is silent before the system asks whether it is still there.
const SILENCE: Duration = Duration::from_secs(60);

/// Where requests are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Listening {
    /// The address of HTTP.
    pub http: SocketAddr,
    /// The address of telnet.
    pub telnet: Option<SocketAddr>,
    /// Whether by TLS.
    pub tls: bool,
}

/// How far the server has gone down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    Open,
    /// Nobody new is let in; what came is committed.
    Closing,
    /// Everybody is told, and goes.
    Ended,
}

/// Waits until everybody is to go.
pub(super) async fn ended(mut phase: watch::Receiver<Phase>) {
    // Without a server it has ended as well.
    drop(phase.wait_for(|phase| *phase == Phase::Ended).await);
}

/// What all connections share.
pub(super) struct Shared {
    pub(super) options: ListenOptions,
    pub(super) formats: Formats,
    pub(super) queue: Queue,
    pub(super) auth: Auth,
    tls: Option<TlsAcceptor>,
    phase: watch::Sender<Phase>,
}

impl Shared {
    /// # Errors
    /// `Config` for a certificate or key that cannot be used.
    pub(super) fn new(options: ListenOptions, formats: Formats, queue: Queue) -> Result<Self> {
        let tls = tls::acceptor(&options)?;
        let auth = Auth::new(&options)?;
        Ok(Self { options, formats, queue, auth, tls, phase: watch::Sender::new(Phase::Open) })
    }

    /// Lets nobody in any more, and takes no more requests.
    pub(super) fn stop(&self, reason: &str) {
        self.queue.close(reason);
        self.advance(Phase::Closing);
    }

    fn advance(&self, phase: Phase) {
        self.phase.send_if_modified(|now| {
            let later = *now < phase;
            *now = phase.max(*now);
            later
        });
    }
}

/// The tasks that let clients in.
pub(super) struct Server {
    shared: Arc<Shared>,
    listening: Listening,
    tasks: std::sync::Mutex<Vec<JoinHandle<()>>>,
}

impl Server {
    pub(super) async fn start(shared: &Arc<Shared>) -> Result<Self> {
        let options = &shared.options;
        let http = bind(&options.host, options.port).await?;
        let telnet = match &options.telnet {
            Some((host, port)) => Some(bind(host, *port).await?),
            None => None,
        };
        let local = |listener: &TcpListener| {
            listener.local_addr().map_err(|error| Error::io("cannot tell the address", error))
        };
        let listening = Listening {
            http: local(&http)?,
            telnet: telnet.as_ref().map(local).transpose()?,
            tls: shared.tls.is_some(),
        };
        let mut tasks = vec![tokio::spawn(accept(http, Arc::clone(shared), Protocol::Http))];
        tasks.extend(telnet.map(|telnet| tokio::spawn(accept(telnet, Arc::clone(shared), Protocol::Telnet))));
        Ok(Self { shared: Arc::clone(shared), listening, tasks: tasks.into() })
    }

    pub(super) fn listening(&self) -> &Listening {
        &self.listening
    }

    /// Lets the last answers out, and closes everything.
    pub(super) async fn end(&self) {
        self.shared.advance(Phase::Ended);
        let tasks =
            std::mem::take(&mut *self.tasks.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        for task in tasks {
            // It ends by itself soon.
            drop(task.await);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.queue.end("the server has stopped");
        self.shared.advance(Phase::Ended);
    }
}

async fn bind(host: &str, port: u16) -> Result<TcpListener> {
    let place = shown(host, port);
    TcpListener::bind((host, port)).await.map_err(|error| {
        let hint = match error.kind() {
            std::io::ErrorKind::AddrInUse => {
                format!("another program listens on {place}; `ss -ltnp` shows which, or choose another port (0 is any)")
            }
            std::io::ErrorKind::AddrNotAvailable => {
                "this machine has no such address; 127.0.0.1 is itself alone, 0.0.0.0 all of its addresses".to_owned()
            }
            std::io::ErrorKind::PermissionDenied => "ports below 1024 need the right to them".to_owned(),
            _ => "an address is HOST:PORT, as 127.0.0.1:8086".to_owned(),
        };
        Error::new(ErrorKind::Config, format!("cannot listen on {place}: {error}"))
            .with_hint(hint)
            .with_retry(Retry::Never)
    })
}

#[derive(Clone, Copy)]
enum Protocol {
    Http,
    Telnet,
}

/// Lets clients in until the server closes, and waits for them to go when it ends.
async fn accept(listener: TcpListener, shared: Arc<Shared>, protocol: Protocol) {
    let mut phase = shared.phase.subscribe();
    let mut clients = JoinSet::new();
    let mut listener = Some(listener);
    loop {
        let full = clients.len() >= shared.options.max_connections;
        let accepted = tokio::select! {
            changed = phase.changed() => {
                match changed {
                    Ok(()) if *phase.borrow_and_update() < Phase::Ended => {
                        // Whoever comes now is refused, and tries elsewhere.
                        listener = None;
                        continue;
                    }
                    _ => break,
                }
            }
            Some(_) = clients.join_next() => continue,
            accepted = next(listener.as_ref()), if !full => accepted,
        };
        match accepted {
            Ok((stream, from)) => {
                let (shared, phase) = (Arc::clone(&shared), phase.clone());
                clients.spawn(serve(stream, from, shared, phase, protocol));
            }
            Err(error) => {
                // As when there are too many files open: others may be closed soon.
                tracing::warn!(error = %error, "a client could not be let in");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    let all_gone = async { while clients.join_next().await.is_some() {} };
    // Who does not go is cut off, with the set.
    drop(tokio::time::timeout(GOODBYE, all_gone).await);
}

async fn next(listener: Option<&TcpListener>) -> std::io::Result<(TcpStream, SocketAddr)> {
    match listener {
        Some(listener) => listener.accept().await,
        None => std::future::pending().await,
    }
}

async fn serve(
    stream: TcpStream,
    from: SocketAddr,
    shared: Arc<Shared>,
    phase: watch::Receiver<Phase>,
    protocol: Protocol,
) {
    // A small answer must not wait for more of it.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(error = %error, "no TCP_NODELAY");
    }
    // A client of telnet may be silent for ever; one whose machine has gone is not to keep its place.
    let alive = socket2::TcpKeepalive::new().with_time(SILENCE);
    if let Err(error) = socket2::SockRef::from(&stream).set_tcp_keepalive(&alive) {
        tracing::debug!(error = %error, "no SO_KEEPALIVE");
    }
    match &shared.tls {
        None => speak(stream, from, &shared, phase, protocol).await,
        Some(acceptor) => {
            match tokio::time::timeout(shared.options.client_timeout, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => speak(stream, from, &shared, phase, protocol).await,
                Ok(Err(error)) => tracing::debug!(client = %from, error = %error, "no TLS with a client"),
                Err(_) => tracing::debug!(client = %from, "a client does not begin with TLS"),
            }
        }
    }
}

async fn speak<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(
    stream: S,
    from: SocketAddr,
    shared: &Arc<Shared>,
    phase: watch::Receiver<Phase>,
    protocol: Protocol,
) {
    match protocol {
        Protocol::Http => http::serve(stream, from, shared, phase).await,
        Protocol::Telnet => telnet::serve(stream, from, shared, phase).await,
    }
}
