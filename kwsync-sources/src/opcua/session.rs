//! A session at a server.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use kwsync_core::{Error, ErrorKind, Result};
use opcua::client::services::Read;
use opcua::client::transport::{ConnectorBuilder, TransportPollResult};
use opcua::client::{
    ClientBuilder, ClientConfig, ConnectionSource, IdentityToken, Session, SessionBuilder, UARequest,
};
use opcua::core::ResponseMessage;
use opcua::crypto::X509;
use opcua::types::{
    DateTime, EndpointDescription, GetEndpointsRequest, MessageSecurityMode, NodeId, RequestHeader,
    StatusCode, UserTokenPolicy, UserTokenType, VariableId, Variant,
};
use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing::Dispatch;
use tracing::instrument::{WithDispatch, WithSubscriber};

use super::config::{OpcUaOptions, SecurityMode, SecurityPolicy};
use super::trust::Store;

/// Bytes of the largest message that is taken.
const MAX_MESSAGE: usize = 64 << 20;
/// Bytes of a chunk of one.
const CHUNK: usize = 65_536;
/// Milliseconds that keys are used. The library reckons by the server's clock, so a short life would be none with a server whose clock is
/// ahead; servers make it shorter.
const CHANNEL_LIFETIME: u32 = 4 * 3_600_000;
/// Most nodes that are asked about at a time, where the server names no bound.
const AT_ONCE: usize = 500;

/// A session that is open, and the task that keeps it alive.
pub(super) struct Link {
    pub(super) session: Arc<Session>,
    task: JoinHandle<StatusCode>,
    /// Most nodes that the server takes in one request: to read, and to monitor.
    pub(super) at_once: (usize, usize),
    /// The names of its namespaces, by their numbers; none where it does not say.
    pub(super) namespaces: Vec<String>,
    /// Whether the password went out in the clear.
    pub(super) in_the_clear: bool,
    /// Seconds by which the server's clock is ahead of ours.
    pub(super) ahead: i64,
    _store: Store,
}

/// Lets nobody hear what the library says: it writes down messages byte by byte before it encrypts them, passwords among them.
pub(super) fn quiet<F: Future>(future: F) -> WithDispatch<F> {
    future.with_subscriber(Dispatch::none())
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Link {
    /// Says good-bye, and waits a little for the server to hear it.
    pub(super) async fn close(mut self) {
        self.session.disable_reconnects();
        let said = async {
            // A good-bye that gets lost changes nothing.
            drop(quiet(self.session.disconnect()).await);
            drop((&mut self.task).await);
        };
        if timeout(Duration::from_secs(2), said).await.is_err() {
            tracing::debug!("the server was left without a good-bye");
        }
    }

    /// Opens a session.
    pub(super) async fn open(options: &OpcUaOptions) -> Result<Self> {
        let opened = async {
            let store = Store::new(options.security.identity.as_ref(), options.security.trust.as_ref())?;
            open(options, store).await
        };
        let opened = timeout(options.connect_timeout, quiet(opened)).await;
        let opened = opened.unwrap_or_else(|_| {
            Err(Error::new(ErrorKind::Timeout, "it does not answer")
                .with_hint("connect_timeout= gives it more time"))
        });
        opened.map_err(|error| error.context(format!("OPC UA server {}", options.url)))
    }
}

fn config(options: &OpcUaOptions) -> ClientConfig {
    let own = options.security.identity.as_ref().and_then(super::Identity::application_uri);
    let uri = options.application_uri.clone().or(own).unwrap_or_else(|| "urn:kwsync".to_owned());
    ClientBuilder::new()
        .application_name("kwsync")
        .application_uri(uri)
        .product_uri("urn:kwsync")
        .session_name("kwsync")
        .create_sample_keypair(false)
        .max_message_size(MAX_MESSAGE)
        .max_chunk_count(MAX_MESSAGE / CHUNK)
        .max_string_length(MAX_MESSAGE)
        .max_byte_string_length(MAX_MESSAGE)
        .max_array_length(MAX_MESSAGE / 8)
        .request_timeout(options.request_timeout)
        .keep_alive_interval(options.request_timeout.clamp(Duration::from_secs(1), Duration::from_secs(10)))
        .max_failed_keep_alive_count(1)
        // Whoever comes back makes a session of its own, and looks at its nodes again.
        .session_retry_limit(0)
        .recreate_subscriptions(false)
        // Else it would move every time that comes, those of values too, by the difference of the clocks.
        .ignore_clock_skew(false)
        .channel_lifetime(CHANNEL_LIFETIME)
        .into_config()
}

async fn open(options: &OpcUaOptions, store: Store) -> Result<Link> {
    let config = config(options);
    let at = way(options).await?;
    let (endpoint, ahead) = endpoint(options, &config, &store, &at).await?;
    let in_the_clear = options.credentials.is_some()
        && options.security.mode == SecurityMode::None
        && !endpoint.user_identity_tokens.iter().flatten().any(|policy| encrypts(options, policy));
    let url = endpoint.endpoint_url.as_ref();
    let at = At(url.replacen(authority(url), authority(&at), 1));
    let token = match &options.credentials {
        Some((user, password)) => IdentityToken::new_user_name(user.as_str(), password.expose()),
        None => IdentityToken::new_anonymous(),
    };
    let (session, events) = SessionBuilder::new(&config)
        .connect_to_endpoint_directly(endpoint)
        .map_err(|error| fault(error.status(), options))?
        .user_identity_token(token)
        .with_connector(at)
        .build(Arc::clone(&store.certificates))
        .map_err(|error| fault(error.status(), options))?;
    session.disable_reconnects();
    let mut link = Link {
        session: Arc::clone(&session),
        task: tokio::spawn(quiet(events.run())),
        at_once: (AT_ONCE, AT_ONCE),
        namespaces: Vec::new(),
        in_the_clear,
        ahead,
        _store: store,
    };
    tokio::select! {
        ended = &mut link.task => {
            let status = ended.unwrap_or(StatusCode::BadConnectionClosed);
            return Err(fault(status, options));
        }
        true = session.wait_for_connection() => {}
    }
    link.at_once = limits(&session).await;
    link.namespaces = namespaces(&session).await;
    Ok(link)
}

/// Where the connection goes, whatever the server is called.
struct At(String);

impl ConnectionSource for At {
    type Builder = String;

    fn get_connector(&self, _: &EndpointDescription) -> std::result::Result<String, opcua::types::Error> {
        Ok(self.0.clone())
    }
}

/// Host and port of an address.
fn authority(url: &str) -> &str {
    url.trim_start_matches("opc.tcp://").split('/').next().unwrap_or_default()
}

/// The address by a number that answers: the library looks only at the first that a name has.
async fn way(options: &OpcUaOptions) -> Result<String> {
    let url = options.url.as_str();
    let found = lookup_host(authority(url)).await.map_err(|error| {
        Error::new(ErrorKind::Unavailable, format!("its name leads nowhere: {error}"))
            .with_hint("check the name of the host")
    })?;
    let found: Vec<_> = found.collect();
    if found.len() > 1 {
        // One that is silent leaves time for the others, and for the session.
        let share = options.connect_timeout / u32::try_from(found.len() + 1).unwrap_or(u32::MAX);
        for address in found {
            if matches!(timeout(share, TcpStream::connect(address)).await, Ok(Ok(_))) {
                return Ok(url.replacen(authority(url), &address.to_string(), 1));
            }
        }
    }
    Ok(url.to_owned())
}

/// The endpoint to use: what the options ask for, or an error that says what there is.
async fn endpoint(
    options: &OpcUaOptions,
    config: &ClientConfig,
    store: &Store,
    at: &str,
) -> Result<(EndpointDescription, i64)> {
    let (found, ahead) = endpoints(options, config, store, at).await?;
    let uri = policy(options.security.policy).to_uri();
    let mode = match options.security.mode {
        SecurityMode::None => MessageSecurityMode::None,
        SecurityMode::Sign => MessageSecurityMode::Sign,
        SecurityMode::SignAndEncrypt => MessageSecurityMode::SignAndEncrypt,
    };
    let fits = |endpoint: &&EndpointDescription| {
        endpoint.security_mode == mode
            && endpoint.security_policy_uri.as_ref() == uri
            && endpoint.endpoint_url.as_ref().starts_with("opc.tcp:")
    };
    let path = |url: &str| {
        let rest = url.trim_start_matches("opc.tcp://");
        rest.split_once('/').map(|(_, path)| path.trim_end_matches('/').to_owned()).unwrap_or_default()
    };
    let wanted = path(&options.url);
    let same_path = found.iter().filter(fits).find(|endpoint| path(endpoint.endpoint_url.as_ref()) == wanted);
    let Some(endpoint) = same_path.or_else(|| found.iter().find(fits)) else {
        let offers: std::collections::BTreeSet<String> = found
            .iter()
            .map(|endpoint| {
                let uri = endpoint.security_policy_uri.as_ref();
                let name = uri.rsplit_once('#').map_or(uri, |(_, name)| name);
                format!("security_policy={name}&security_mode={:?}", endpoint.security_mode)
            })
            .collect();
        let text = format!(
            "it offers no security_policy={:?} with security_mode={:?}",
            options.security.policy, options.security.mode
        );
        let offers = offers.into_iter().collect::<Vec<_>>().join(", ");
        return Err(Error::config(text).with_hint(format!("it offers {offers}")));
    };
    let mut endpoint = endpoint.clone();
    trusted(options, &endpoint)?;
    endpoint.user_identity_tokens = Some(vec![token_policy(options, &endpoint)?]);
    // What a server calls itself may not lead to it from here.
    let authority = authority(&options.url);
    let path = path(endpoint.endpoint_url.as_ref());
    let slash = if path.is_empty() { "" } else { "/" };
    endpoint.endpoint_url = format!("opc.tcp://{authority}{slash}{path}").into();
    Ok((endpoint, ahead))
}

fn trusted(options: &OpcUaOptions, endpoint: &EndpointDescription) -> Result<()> {
    if options.security.mode == SecurityMode::None {
        return Ok(());
    }
    let der = endpoint.server_certificate.as_ref();
    if options.security.trust.as_ref().is_some_and(|trust| trust.has(der)) {
        return Ok(());
    }
    let shown = X509::from_byte_string(&endpoint.server_certificate).map_or_else(
        |_| "none that can be read".to_owned(),
        |found| {
            format!(
                "that of {} with the thumbprint {}",
                found.subject_name(),
                found.thumbprint().as_hex_string()
            )
        },
    );
    Err(Error::new(ErrorKind::Tls, format!("its certificate is not trusted: it has {shown}"))
        .with_hint("if that is the server, save its certificate and name it: server_certificate=@server.pem"))
}

/// Whether a password is encrypted by itself.
fn encrypts(options: &OpcUaOptions, policy: &UserTokenPolicy) -> bool {
    let uri = policy.security_policy_uri.as_ref();
    !uri.ends_with("#None") && (!uri.is_empty() || options.security.policy != SecurityPolicy::None)
}

/// How the user is told: in no case a password in the clear where security was asked for.
fn token_policy(options: &OpcUaOptions, endpoint: &EndpointDescription) -> Result<UserTokenPolicy> {
    let kind = if options.credentials.is_some() { UserTokenType::UserName } else { UserTokenType::Anonymous };
    let offered: Vec<&UserTokenPolicy> =
        endpoint.user_identity_tokens.iter().flatten().filter(|policy| policy.token_type == kind).collect();
    if kind == UserTokenType::Anonymous {
        return offered.first().map(|policy| (*policy).clone()).ok_or_else(|| {
            Error::new(ErrorKind::Auth, "it lets nobody in without a name")
                .with_hint("give a user: opcua://user:password@host:4840")
        });
    }
    if let Some(policy) = offered.iter().find(|policy| encrypts(options, policy)) {
        return Ok((*policy).clone());
    }
    match offered.first() {
        Some(policy) if options.security.mode == SecurityMode::SignAndEncrypt => Ok((*policy).clone()),
        Some(policy) if options.security.mode == SecurityMode::None => Ok((*policy).clone()),
        Some(_) => Err(Error::new(
            ErrorKind::Tls,
            "it wants the password in the clear, and security_mode=Sign does not hide it",
        )
        .with_hint("use security_mode=SignAndEncrypt")),
        None => Err(Error::new(ErrorKind::Auth, "it knows no users with passwords at this endpoint")
            .with_hint("leave the user out of the address, or choose another security_policy")),
    }
}

/// The library's name of a policy.
pub(super) fn policy(policy: SecurityPolicy) -> opcua::crypto::SecurityPolicy {
    use opcua::crypto::SecurityPolicy as Theirs;
    match policy {
        SecurityPolicy::None => Theirs::None,
        SecurityPolicy::Basic128Rsa15 => Theirs::Basic128Rsa15,
        SecurityPolicy::Basic256 => Theirs::Basic256,
        SecurityPolicy::Basic256Sha256 => Theirs::Basic256Sha256,
        SecurityPolicy::Aes128Sha256RsaOaep => Theirs::Aes128Sha256RsaOaep,
        SecurityPolicy::Aes256Sha256RsaPss => Theirs::Aes256Sha256RsaPss,
    }
}

/// What a server offers, which it says to anybody.
async fn endpoints(
    options: &OpcUaOptions,
    config: &ClientConfig,
    store: &Store,
    at: &str,
) -> Result<(Vec<EndpointDescription>, i64)> {
    let gone = |error: opcua::types::Error| fault(error.status(), options);
    let channel = SessionBuilder::new(config)
        .connect_to_endpoint_directly(EndpointDescription::from(options.url.as_str()))
        .and_then(|builder| builder.build_channel(Arc::clone(&store.certificates)))
        .map_err(gone)?;
    let connector = at.build().map_err(gone)?;
    let mut events = channel.connect_no_retry(&connector).await.map_err(gone)?;
    let request = GetEndpointsRequest {
        request_header: RequestHeader::new(&NodeId::null(), &DateTime::now(), channel.request_handle()),
        endpoint_url: options.url.as_str().into(),
        locale_ids: None,
        profile_uris: None,
    };
    let answer = {
        let asked = channel.send(request, options.request_timeout);
        tokio::pin!(asked);
        loop {
            tokio::select! {
                answer = &mut asked => break answer.map_err(gone)?,
                event = events.poll() => if let TransportPollResult::Closed(status) = event {
                    return Err(fault(status, options));
                }
            }
        }
    };
    let said = async {
        channel.close_channel().await;
        while !matches!(events.poll().await, TransportPollResult::Closed(_)) {}
    };
    if timeout(Duration::from_secs(1), said).await.is_err() {
        tracing::debug!("the server was left without a good-bye");
    }
    match answer {
        ResponseMessage::GetEndpoints(found) => {
            let status = found.response_header.service_result;
            if status.is_bad() {
                return Err(fault(status, options));
            }
            let ahead = (found.response_header.timestamp - DateTime::now()).num_seconds();
            Ok((found.endpoints.unwrap_or_default(), ahead))
        }
        ResponseMessage::ServiceFault(answer) => Err(fault(answer.response_header.service_result, options)),
        _ => Err(Error::new(ErrorKind::Protocol, "it answers something else than was asked")),
    }
}

/// How many nodes the server takes in one request.
async fn limits(session: &Session) -> (usize, usize) {
    let limit = async |node| match said(session, node).await {
        Some(Variant::UInt32(limit)) if limit > 0 => (limit as usize).min(AT_ONCE),
        _ => AT_ONCE,
    };
    let read = limit(VariableId::Server_ServerCapabilities_OperationLimits_MaxNodesPerRead).await;
    let watch = limit(VariableId::Server_ServerCapabilities_OperationLimits_MaxMonitoredItemsPerCall).await;
    (read, watch)
}

/// What a server says of itself, where it does. Asked for alone: it may take no more at a time.
async fn said(session: &Session, node: VariableId) -> Option<Variant> {
    let nodes = vec![NodeId::from(node).into()];
    let read = Read::new(session).nodes_to_read(nodes).send(session.channel()).await;
    read.ok()?.results?.into_iter().next()?.value
}

async fn namespaces(session: &Session) -> Vec<String> {
    let Some(Variant::Array(found)) = said(session, VariableId::Server_NamespaceArray).await else {
        return Vec::new();
    };
    let name = |value: &Variant| match value {
        Variant::String(name) => name.as_ref().to_owned(),
        _ => String::new(),
    };
    found.values.iter().map(name).collect()
}

/// Whether the numbers of the namespaces that nodes are in still mean what they did.
///
/// # Errors
/// `Schema` for a number that means something else, `Unavailable` for one that means nothing: the server may still be starting.
pub(super) fn same_namespaces(options: &OpcUaOptions, before: &[String], now: &[String]) -> Result<()> {
    for point in &options.points {
        let number = usize::from(point.node.namespace);
        let name = |names: &[String]| names.get(number).filter(|name| !name.is_empty()).cloned();
        match (name(before), name(now)) {
            (Some(before), Some(now)) if before != now => {
                let text = format!(
                    "{}: the namespace {number} was {before:?} and is {now:?} now, so {} may be another node",
                    options.url, point.node
                );
                return Err(Error::new(ErrorKind::Schema, text)
                    .with_hint("look the nodes up, and start again with the numbers that they have now"));
            }
            (Some(before), None) => {
                let text = format!("{}: the namespace {number}, {before:?}, is not there", options.url);
                return Err(
                    Error::new(ErrorKind::Unavailable, text).with_hint("the server may still be starting")
                );
            }
            _ => {}
        }
    }
    Ok(())
}

/// What a status says of a connection.
pub(super) fn fault(status: StatusCode, options: &OpcUaOptions) -> Error {
    let (kind, hint) = match status {
        StatusCode::BadUserAccessDenied
        | StatusCode::BadIdentityTokenRejected
        | StatusCode::BadIdentityTokenInvalid
        | StatusCode::BadUserSignatureInvalid => {
            (ErrorKind::Auth, "user or password is refused: opcua://user:password@host:4840")
        }
        StatusCode::BadSecurityChecksFailed
        | StatusCode::BadCertificateUntrusted
        | StatusCode::BadCertificateInvalid
        | StatusCode::BadCertificateTimeInvalid
        | StatusCode::BadCertificateUriInvalid
        | StatusCode::BadCertificateHostNameInvalid
        | StatusCode::BadCertificateUseNotAllowed
        | StatusCode::BadCertificateChainIncomplete
        | StatusCode::BadCertificateRevoked
        | StatusCode::BadSecurityPolicyRejected
        | StatusCode::BadSecurityModeRejected => (
            ErrorKind::Tls,
            "the server must trust our certificate, and the name in it must be that of application_uri",
        ),
        StatusCode::BadTcpEndpointUrlInvalid => (
            ErrorKind::Unavailable,
            "the server knows no such address; is the path right, as in opcua://host:4840/path?",
        ),
        StatusCode::BadTimeout | StatusCode::BadRequestTimeout => {
            (ErrorKind::Timeout, "request_timeout= gives it more time")
        }
        _ if options.security.mode != SecurityMode::None => (
            ErrorKind::Unavailable,
            "nobody may listen there, or the server may not trust our certificate yet and say nothing",
        ),
        _ => (ErrorKind::Unavailable, "nobody may listen there"),
    };
    Error::new(kind, format!("the session is not there: {}", named(status))).with_hint(hint)
}

/// A status by its name and number.
pub(super) fn named(status: StatusCode) -> String {
    format!("{status} (0x{:08X})", status.bits())
}
