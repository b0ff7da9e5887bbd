//! From an endpoint to a session: socket, TLS, startup message, authentication.

use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{
    ChannelBinding, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramSha256,
};
use postgres_protocol::message::backend::{AuthenticationSaslBody, Message};
use postgres_protocol::message::frontend;
use rustls::pki_types::ServerName;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use fallible_iterator::FallibleIterator;

use super::config::{ConnectConfig, Endpoint, SslMode};
use super::connection::{Connection, protocol};
use super::error::ServerError;
use super::tls;
use crate::system::stream::{Socket, Stream};
use crate::{Error, ErrorKind, Result};

/// The socket, with TLS as asked.
pub(super) async fn open(config: &ConnectConfig, endpoint: &Endpoint) -> Result<Stream> {
    let fault = |error| Error::io(format!("cannot connect to {endpoint}"), error);
    let (mut socket, host) = match endpoint {
        Endpoint::Tcp(host, port) => {
            let socket = TcpStream::connect((host.as_str(), *port)).await.map_err(fault)?;
            socket.set_nodelay(true).map_err(fault)?;
            (Socket::Tcp(socket), host.as_str())
        }
        Endpoint::Unix(dir, port) => {
            let path = dir.join(format!(".s.PGSQL.{port}"));
            return UnixStream::connect(path)
                .await
                .map(|socket| Stream::Clear(Socket::Unix(socket)))
                .map_err(fault);
        }
    };
    if config.ssl_mode == SslMode::Disable {
        return Ok(Stream::Clear(socket));
    }
    let mut request = bytes::BytesMut::new();
    frontend::ssl_request(&mut request);
    socket.write_all(&request).await.map_err(fault)?;
    let mut answer = [0];
    socket.read_exact(&mut answer).await.map_err(fault)?;
    match (answer[0], config.ssl_mode) {
        (b'S', _) => {
            let name = ServerName::try_from(host.to_owned())
                .map_err(|_| Error::config(format!("{host:?} is no name that a certificate can hold")))?;
            let connector = TlsConnector::from(Arc::new(tls::client_config(config)?));
            let tls = connector.connect(name, socket).await.map_err(|error| handshake(endpoint, error))?;
            Ok(Stream::Tls(Box::new(tls)))
        }
        (_, SslMode::Prefer) => Ok(Stream::Clear(socket)),
        _ => {
            Err(Error::new(ErrorKind::Tls, format!("{endpoint} does not offer TLS, and sslmode asks for it"))
                .with_hint("turn TLS on at the server, or use sslmode=prefer or disable"))
        }
    }
}

fn handshake(endpoint: &Endpoint, error: std::io::Error) -> Error {
    let why = error.to_string();
    let hint = if why.contains("UnknownIssuer") {
        "its certificate comes from an authority that sslrootcert does not hold; give the right one"
    } else if why.contains("NotValidForName") || why.contains("not valid for name") {
        "its certificate names another host: use that name in the address, or sslmode=verify-ca"
    } else if why.contains("Expired") {
        "its certificate has expired: renew it"
    } else {
        "check sslmode, sslrootcert, sslcert and sslkey"
    };
    Error::new(ErrorKind::Tls, format!("no TLS with {endpoint}: {why}")).with_source(error).with_hint(hint)
}

/// A session, signed in and ready.
pub(super) async fn connect(config: &ConnectConfig, endpoint: &Endpoint) -> Result<Connection> {
    let stream = open(config, endpoint).await?;
    let binding = binding(&stream);
    let mut connection = Connection::new(stream, config, endpoint);
    connection.start()?;
    let mut parameters =
        vec![("user", config.user.as_str()), ("database", &config.database), ("client_encoding", "UTF8")];
    parameters.extend(config.session.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    frontend::startup_message(parameters, &mut connection.output)
        .map_err(|error| Error::config("a name in the address holds a NUL").with_source(error))?;
    connection.send().await?;
    authenticate(&mut connection, config, binding).await?;
    match connection.until_ready().await? {
        None => Ok(connection),
        Some(error) => Err(refused(endpoint, config, error)),
    }
}

fn refused(endpoint: &Endpoint, config: &ConnectConfig, error: ServerError) -> Error {
    Error::from(error)
        .context(format!("{endpoint} refuses user {:?}, database {:?}", config.user, config.database))
}

async fn authenticate(connection: &mut Connection, config: &ConnectConfig, binding: Binding) -> Result<()> {
    let endpoint = connection.endpoint().clone();
    loop {
        match connection.receive().await? {
            Message::AuthenticationOk => return Ok(()),
            Message::AuthenticationCleartextPassword => {
                let password = password(config, &endpoint)?;
                password_message(connection, password).await?;
            }
            Message::AuthenticationMd5Password(body) => {
                let password = password(config, &endpoint)?;
                let hash = md5_hash(config.user.as_bytes(), password, body.salt());
                password_message(connection, hash.as_bytes()).await?;
            }
            Message::AuthenticationSasl(body) => {
                let password = password(config, &endpoint)?;
                scram(connection, &body, password, &binding).await?;
            }
            Message::ErrorResponse(body) => {
                let error = ServerError::parse(body.fields()).map_err(protocol)?;
                return Err(refused(&endpoint, config, error));
            }
            _ => {
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    format!("{endpoint} asks for a way to sign in that is not known"),
                )
                .with_hint("password, md5, scram-sha-256, cert and trust are"));
            }
        }
    }
}

fn password<'a>(config: &'a ConnectConfig, endpoint: &Endpoint) -> Result<&'a [u8]> {
    config.password.as_ref().map(|password| password.expose().as_bytes()).ok_or_else(|| {
        Error::new(ErrorKind::Auth, format!("{endpoint} asks for a password of user {:?}", config.user))
            .with_hint("write user:${VARIABLE}@host in the address, or set PGPASSWORD")
    })
}

async fn password_message(connection: &mut Connection, password: &[u8]) -> Result<()> {
    frontend::password_message(password, &mut connection.output)
        .map_err(|error| Error::config("the password holds a NUL").with_source(error))?;
    connection.send().await
}

/// What binds SCRAM to the TLS channel: the hash of the server's certificate, where we know how it is hashed.
enum Binding {
    Clear,
    Tls(Option<Vec<u8>>),
}

fn binding(stream: &Stream) -> Binding {
    let Stream::Tls(tls) = stream else { return Binding::Clear };
    let certificate = tls.get_ref().1.peer_certificates().and_then(<[_]>::first);
    Binding::Tls(certificate.and_then(|certificate| end_point_hash(certificate)))
}

/// RFC 5929, tls-server-end-point, for certificates signed with SHA-256, which nearly all are: found by the
/// object identifiers of the signature algorithm. Others sign in without channel binding.
fn end_point_hash(certificate: &[u8]) -> Option<Vec<u8>> {
    const SHA256_RSA: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b];
    const SHA256_ECDSA: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
    let has = |oid: &[u8]| certificate.windows(oid.len()).any(|window| window == oid);
    (has(SHA256_RSA) || has(SHA256_ECDSA))
        .then(|| ring::digest::digest(&ring::digest::SHA256, certificate).as_ref().to_vec())
}

async fn scram(
    connection: &mut Connection,
    body: &AuthenticationSaslBody,
    password: &[u8],
    binding: &Binding,
) -> Result<()> {
    let (mut plain, mut plus) = (false, false);
    let mut mechanisms = body.mechanisms();
    while let Some(mechanism) = mechanisms.next().map_err(protocol)? {
        plain |= mechanism == SCRAM_SHA_256;
        plus |= mechanism == SCRAM_SHA_256_PLUS;
    }
    let (mechanism, channel) = match binding {
        Binding::Tls(Some(hash)) if plus => {
            (SCRAM_SHA_256_PLUS, ChannelBinding::tls_server_end_point(hash.clone()))
        }
        Binding::Tls(Some(_)) if plain => (SCRAM_SHA_256, ChannelBinding::unrequested()),
        _ if plain => (SCRAM_SHA_256, ChannelBinding::unsupported()),
        _ => {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "the server offers no SASL mechanism that is known",
            )
            .with_hint("SCRAM-SHA-256 and SCRAM-SHA-256-PLUS are"));
        }
    };
    let auth = |error: std::io::Error| {
        Error::new(ErrorKind::Auth, "signing in by SCRAM failed")
            .with_source(error)
            .with_hint("check the password")
    };
    let mut scram = ScramSha256::new(password, channel);
    frontend::sasl_initial_response(mechanism, scram.message(), &mut connection.output).map_err(protocol)?;
    connection.send().await?;
    match connection.receive().await? {
        Message::AuthenticationSaslContinue(body) => scram.update(body.data()).map_err(auth)?,
        other => return Err(refusal(connection, other)),
    }
    frontend::sasl_response(scram.message(), &mut connection.output).map_err(protocol)?;
    connection.send().await?;
    match connection.receive().await? {
        Message::AuthenticationSaslFinal(body) => scram.finish(body.data()).map_err(auth),
        other => Err(refusal(connection, other)),
    }
}

fn refusal(connection: &mut Connection, message: Message) -> Error {
    match message {
        Message::ErrorResponse(body) => match ServerError::parse(body.fields()) {
            Ok(error) => {
                Error::from(error).context(format!("{} refuses the password", connection.endpoint()))
            }
            Err(error) => protocol(error),
        },
        _ => connection.unexpected("a password"),
    }
}
