//! From an address to a session: socket, TLS, signing in.

use std::io;
use std::sync::Arc;

use mysql_common::constants::CapabilityFlags;
use mysql_common::packets::{AuthPlugin, AuthSwitchRequest, HandshakePacket, HandshakeResponse, SslRequest};
use mysql_common::proto::MySerialize;
use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::connection::{Connected, Connection, not_understood, parse, server_error};
use super::input::{Input, add_packet};
use crate::system::mysql::session::{ConnectConfig, INIT, SslMode, closed, lost, no_tls};
use crate::system::stream::{Socket, Stream};
use crate::system::tls::{Checks, add_roots};
use crate::{Error, ErrorKind, Result};

/// The longest packet that is taken from the server.
const MAX_PACKET: u32 = 1 << 30;
/// utf8mb4_general_ci; the session's is set behind.
const COLLATION: u8 = 45;

/// What the two sides have to agree on.
const NEEDED: CapabilityFlags =
    CapabilityFlags::CLIENT_PROTOCOL_41.union(CapabilityFlags::CLIENT_SECURE_CONNECTION);

/// What is asked for, where the server has it: no LOCAL INFILE, no statements in one, no compression.
const WANTED: CapabilityFlags = NEEDED
    .union(CapabilityFlags::CLIENT_LONG_PASSWORD)
    .union(CapabilityFlags::CLIENT_TRANSACTIONS)
    .union(CapabilityFlags::CLIENT_DEPRECATE_EOF)
    .union(CapabilityFlags::CLIENT_PLUGIN_AUTH);

/// What the server says of itself.
#[derive(Debug)]
struct Greeting {
    capabilities: CapabilityFlags,
    nonce: Vec<u8>,
    plugin: AuthPlugin<'static>,
}

/// A session, signed in and ready.
pub(super) async fn connect(config: &ConnectConfig, host: &str, port: u16) -> Result<Connected> {
    let place = format!("{host}:{port}");
    let connecting = async {
        let mut socket = TcpStream::connect((host, port)).await.map_err(lost)?;
        socket.set_nodelay(true).map_err(lost)?;
        let mut input = Input::default();
        let greeting = greeting(&mut socket, &mut input, &place).await?;
        if !greeting.capabilities.contains(NEEDED) {
            return Ok(Connected::Unsupported("the protocol before version 4.1".to_owned()));
        }
        let mut capabilities = greeting.capabilities & WANTED;
        if config.database.is_some() {
            capabilities |= CapabilityFlags::CLIENT_CONNECT_WITH_DB;
        }
        let offered = greeting.capabilities.contains(CapabilityFlags::CLIENT_SSL);
        if !offered && !matches!(config.ssl_mode, SslMode::Disabled | SslMode::Preferred) {
            return Err(no_tls(&place));
        }
        let secure = offered && config.ssl_mode != SslMode::Disabled;
        let stream = if secure {
            capabilities |= CapabilityFlags::CLIENT_SSL;
            let mut request = Vec::new();
            SslRequest::new(capabilities, MAX_PACKET, COLLATION).serialize(&mut request);
            let tls = encrypted(config, host, socket, &mut input, &request).await?;
            Stream::Tls(Box::new(tls))
        } else {
            Stream::Clear(Socket::Tcp(socket))
        };
        let mut connection = Connection::new(stream, input, capabilities, place.clone());
        if let Some(unknown) = sign_in(&mut connection, config, greeting, secure).await? {
            return Ok(Connected::Unsupported(unknown));
        }
        connection.busy = false;
        for sql in INIT {
            connection.execute(sql).await?;
        }
        Ok(Connected::Ready(Box::new(connection)))
    };
    connecting.await.map_err(|error: Error| error.context(format!("cannot connect to {place}")))
}

/// The first packet of a session.
async fn greeting(socket: &mut TcpStream, input: &mut Input, place: &str) -> Result<Greeting> {
    let span = loop {
        if let Some(span) = input.packet()? {
            break span;
        }
        if input.fill(socket).await.map_err(lost)? == 0 {
            return Err(closed(io::Error::from(io::ErrorKind::UnexpectedEof)));
        }
    };
    let packet = input.bytes(&span);
    let strange = || not_understood(place, "its greeting");
    if packet.first() == Some(&0xff) {
        return Err(server_error(packet, CapabilityFlags::empty()).unwrap_or_else(strange));
    }
    // How long the nonce is; mysql_common cannot do with more than 127 bytes.
    let version = packet.iter().skip(1).position(|byte| *byte == 0).ok_or_else(strange)?;
    if packet.get(version + 22).is_some_and(|length| *length > 0x7f) {
        return Err(strange());
    }
    let found: HandshakePacket<'_> = parse(packet, ()).map_err(|error| strange().with_source(error))?;
    let plugin = match found.auth_plugin() {
        Some(AuthPlugin::CachingSha2Password) => AuthPlugin::CachingSha2Password,
        // What the server begins with is only a guess: it asks for the user's own way then.
        _ => AuthPlugin::MysqlNativePassword,
    };
    Ok(Greeting { capabilities: found.capabilities(), nonce: found.nonce(), plugin })
}

/// Signs in. Returns the name of the way that the server asks for, where that is not known here.
async fn sign_in(
    connection: &mut Connection,
    config: &ConnectConfig,
    greeting: Greeting,
    secure: bool,
) -> Result<Option<String>> {
    let password = config.password.as_ref().map(|password| password.expose());
    let Greeting { mut nonce, mut plugin, .. } = greeting;
    let mut response = Vec::new();
    HandshakeResponse::new(
        plugin.gen_data(password, &nonce).as_deref(),
        (5, 5, 5),
        Some(config.user.as_bytes()),
        config.database.as_ref().map(|name| name.as_bytes()),
        Some(plugin.borrow()),
        connection.capabilities,
        None,
        MAX_PACKET,
    )
    .serialize(&mut response);
    connection.send(&response).await?;
    let mut switched = false;
    loop {
        let span = connection.receive().await?;
        let packet = connection.input.bytes(&span);
        let answer = match packet {
            [0x00, ..] => return Ok(None),
            [0xfe] => return Ok(Some("mysql_old_password".to_owned())),
            [0xfe, ..] if !switched => {
                switched = true;
                let request: AuthSwitchRequest<'_> = parse(packet, ())
                    .map_err(|error| connection.not_understood("signing in").with_source(error))?;
                nonce = request.plugin_data().to_vec();
                plugin = match request.auth_plugin() {
                    known @ (AuthPlugin::MysqlNativePassword | AuthPlugin::CachingSha2Password) => {
                        known.into_owned()
                    }
                    other => return Ok(Some(String::from_utf8_lossy(other.as_bytes()).into_owned())),
                };
                plugin.gen_data(password, &nonce).map(|data| data.to_vec()).unwrap_or_default()
            }
            [0x01, 0x03] if plugin == AuthPlugin::CachingSha2Password => continue,
            // The server does not know the password from an earlier session, and wants all of it.
            [0x01, 0x04] if plugin == AuthPlugin::CachingSha2Password && secure => {
                let mut clear = password.unwrap_or_default().as_bytes().to_vec();
                clear.push(0);
                clear
            }
            [0x01, ..] => {
                let name = String::from_utf8_lossy(plugin.as_bytes()).into_owned();
                return Ok(Some(format!("{name} by a public key")));
            }
            _ => return Err(connection.not_understood("signing in")),
        };
        connection.send(&answer).await?;
    }
}

/// Asks for TLS, and agrees on it.
async fn encrypted(
    config: &ConnectConfig,
    host: &str,
    mut socket: TcpStream,
    input: &mut Input,
    request: &[u8],
) -> Result<TlsStream<Socket>> {
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| Error::config(format!("{host:?} is no name that a certificate can hold")))?;
    let connector = TlsConnector::from(Arc::new(client_config(config)?));
    if !input.is_empty() {
        // What comes in clear before TLS is of nobody knows whom.
        return Err(Error::new(ErrorKind::Tls, "the server went on in clear where TLS begins"));
    }
    let mut output = Vec::new();
    input.number = add_packet(&mut output, input.number, [request, &[]]);
    socket.write_all(&output).await.map_err(lost)?;
    connector.connect(name, Socket::Tcp(socket)).await.map_err(handshake)
}

fn handshake(error: io::Error) -> Error {
    match error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) {
        true => Error::new(ErrorKind::Tls, "TLS could not be agreed on").with_source(error),
        false => lost(error),
    }
}

/// What to check, as mysql_async does: the usual authorities, and those of `ssl_ca`.
fn client_config(config: &ConnectConfig) -> Result<ClientConfig> {
    // A provider of our own: the process may have another default, or two and none chosen.
    let provider = Arc::new(ring::default_provider());
    let checks = if matches!(config.ssl_mode, SslMode::VerifyCa | SslMode::VerifyIdentity) {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        if let Some(path) = &config.ssl_ca {
            add_roots(&mut roots, path)?;
        }
        let checks = Checks::chain(roots, &provider)
            .map_err(|error| Error::config("ssl_ca cannot be used").with_source(error))?;
        if config.ssl_mode == SslMode::VerifyIdentity { checks.with_name() } else { checks }
    } else {
        Checks::none(&provider)
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::new(ErrorKind::Tls, "TLS cannot be set up").with_source(error))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(checks));
    Ok(builder.with_no_client_auth())
}
