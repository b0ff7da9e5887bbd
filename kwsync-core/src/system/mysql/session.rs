//! How to reach a server, and what its errors mean.

use std::path::PathBuf;
use std::time::Duration;

use mysql_async::{Conn, Opts, OptsBuilder, SslOpts};

use crate::config::{Dsn, Params, Secret};
use crate::{Error, ErrorKind, Result, Retry};

/// Where MySQL listens unless the address says otherwise.
pub const DEFAULT_PORT: u16 = 3306;

/// How every session begins. One zone and one character set, whatever the server has: what comes is exact, and what is refused
/// is said.
pub(super) const INIT: [&str; 2] = [
    "SET NAMES utf8mb4",
    "SET SESSION time_zone = '+00:00', SESSION wait_timeout = 28800, SESSION net_read_timeout = 3600, \
     SESSION net_write_timeout = 3600, SESSION group_concat_max_len = 1048576",
];

/// When TLS is used, and what is checked; the words are MySQL's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SslMode {
    /// Never TLS.
    Disabled,
    /// TLS if the server offers it, without a check of its certificate; in clear otherwise.
    #[default]
    Preferred,
    /// TLS or no connection, without a check of the certificate.
    Required,
    /// TLS, and the certificate must come from a trusted authority.
    VerifyCa,
    /// As `verify_ca`, and the certificate must name the host.
    VerifyIdentity,
}

/// How to reach a server and who to be there.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnectConfig {
    /// Where the server may be; the first that answers is taken.
    pub hosts: Vec<(String, u16)>,
    /// The user.
    pub user: String,
    /// The password, if one is needed.
    pub password: Option<Secret>,
    /// The database.
    pub database: Option<String>,
    /// When TLS is used.
    pub ssl_mode: SslMode,
    /// Certificates of the authorities to trust (PEM), beside the usual ones.
    pub ssl_ca: Option<PathBuf>,
    /// How long connecting may take, for each host.
    pub connect_timeout: Duration,
}

impl ConnectConfig {
    /// A server at `host:port` and the user.
    pub fn new(host: impl Into<String>, port: u16, user: impl Into<String>) -> Self {
        Self {
            hosts: vec![(host.into(), port)],
            user: user.into(),
            password: None,
            database: None,
            ssl_mode: SslMode::default(),
            ssl_ca: None,
            connect_timeout: Duration::from_secs(10),
        }
    }

    /// Hosts, user, password and database of an address, with the parameters `ssl_mode`, `ssl_ca` and `connect_timeout`, which
    /// must be declared.
    ///
    /// # Errors
    /// `Config` when no user can be found, or the path is no name of a database.
    pub fn from_params(dsn: &Dsn, params: &Params) -> Result<Self> {
        let env = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let user = dsn.user().filter(|user| !user.is_empty()).map(str::to_owned).or_else(|| env("USER"));
        let user = user.ok_or_else(|| {
            Error::config("the address names no user").with_hint("write mysql://USER@host:port/database")
        })?;
        let mut config = Self::new("localhost", DEFAULT_PORT, user);
        let hosts: Vec<_> = dsn
            .hosts()
            .iter()
            .filter(|host| !host.name().is_empty())
            .map(|host| (host.name().to_owned(), host.port_or(DEFAULT_PORT)))
            .collect();
        if !hosts.is_empty() {
            config.hosts = hosts;
        }
        let path = dsn.object().map(|object| object.trim_start_matches('/')).filter(|path| !path.is_empty());
        if let Some(path) = path.filter(|path| path.contains('/')) {
            return Err(Error::config(format!("{path:?} is no name of a database"))
                .with_hint("write /DATABASE?table=TABLE"));
        }
        config.database = path.map(str::to_owned);
        config.password = dsn.password().cloned().or_else(|| env("MYSQL_PWD").map(Secret::new));
        config.ssl_mode = match params.choice("ssl_mode") {
            Some("disabled") => SslMode::Disabled,
            Some("required") => SslMode::Required,
            Some("verify_ca") => SslMode::VerifyCa,
            Some("verify_identity") => SslMode::VerifyIdentity,
            _ => SslMode::Preferred,
        };
        config.ssl_ca = params.text("ssl_ca").map(Into::into);
        if let Some(timeout) = params.duration("connect_timeout") {
            config.connect_timeout = timeout;
        }
        Ok(config)
    }

    /// Sets the password.
    #[must_use]
    pub fn with_password(mut self, password: Secret) -> Self {
        self.password = Some(password);
        self
    }

    /// Sets the database.
    #[must_use]
    pub fn with_database(mut self, database: impl Into<String>) -> Self {
        self.database = Some(database.into());
        self
    }

    fn options(&self, host: &str, port: u16, tls: bool) -> Opts {
        let ssl = tls.then(|| {
            let check = matches!(self.ssl_mode, SslMode::VerifyCa | SslMode::VerifyIdentity);
            let mut ssl = SslOpts::default()
                .with_danger_accept_invalid_certs(!check)
                .with_danger_skip_domain_validation(self.ssl_mode != SslMode::VerifyIdentity);
            if let Some(ca) = &self.ssl_ca {
                ssl = ssl.with_root_certs(vec![ca.clone().into()]);
            }
            ssl
        });
        OptsBuilder::default()
            .ip_or_hostname(host)
            .tcp_port(port)
            .user(Some(&self.user))
            .pass(self.password.as_ref().map(|password| password.expose().to_owned()))
            .db_name(self.database.clone())
            .prefer_socket(Some(false))
            .ssl_opts(ssl)
            .init(INIT.to_vec())
            .into()
    }

    /// Connects to the first host that answers, and signs in.
    ///
    /// # Errors
    /// `Unavailable` or `Timeout` when nobody answers, `Tls` when TLS cannot be agreed on as asked, `Auth` and `NotFound` when
    /// the server refuses user or database.
    ///
    /// # Cancel safety
    /// Dropping the future closes the socket.
    pub async fn connect(&self) -> Result<Conn> {
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            // Another thread may have been quicker, which is as good.
            drop(rustls::crypto::ring::default_provider().install_default());
        }
        let mut last = None;
        for (host, port) in &self.hosts {
            let mut tls = self.ssl_mode != SslMode::Disabled;
            loop {
                let connecting = Conn::new(self.options(host, *port, tls));
                let connected = tokio::time::timeout(self.connect_timeout, connecting).await;
                let place = format!("{host}:{port}");
                let found = match connected {
                    Ok(Ok(connection)) => return Ok(connection),
                    Ok(Err(mysql_async::Error::Driver(
                        mysql_async::DriverError::NoClientSslFlagFromServer,
                    ))) => {
                        if self.ssl_mode == SslMode::Preferred {
                            tls = false;
                            continue;
                        }
                        no_tls(&place)
                    }
                    Ok(Err(found)) => error(found).context(format!("cannot connect to {place}")),
                    Err(_) => no_answer(&place, self.connect_timeout),
                };
                if found.kind() == ErrorKind::Auth {
                    return Err(found);
                }
                last = Some(found);
                break;
            }
        }
        Err(last.unwrap_or_else(|| Error::config("the address names no host")))
    }
}

/// What an error of the client means.
pub fn error(error: mysql_async::Error) -> Error {
    use mysql_async::Error as E;
    match error {
        E::Server(server) => of_server(server),
        E::Io(mysql_async::IoError::Tls(tls)) => {
            Error::new(ErrorKind::Tls, "TLS could not be agreed on").with_source(tls)
        }
        E::Io(io) => lost(io),
        E::Driver(mysql_async::DriverError::PacketTooLarge) => {
            Error::new(ErrorKind::Limit, "a value is larger than a packet may be")
                .with_hint("raise max_allowed_packet at the server")
        }
        E::Driver(
            driver
            @ (mysql_async::DriverError::ConnectionClosed | mysql_async::DriverError::PoolDisconnected),
        ) => closed(driver),
        other => {
            let text = "the server's answer was not understood";
            Error::new(ErrorKind::Protocol, text).with_source(other)
        }
    }
}

/// A server that does not have the TLS that was asked for.
pub(super) fn no_tls(place: &str) -> Error {
    Error::new(ErrorKind::Tls, format!("{place} does not offer TLS"))
        .with_hint("enable it there, or use ssl_mode=preferred where the network can be trusted")
}

/// A server that does not answer in time.
pub(super) fn no_answer(place: &str, timeout: Duration) -> Error {
    Error::new(ErrorKind::Timeout, format!("no answer from {place} in {} s", timeout.as_secs()))
        .with_hint("check host and port, and whether a firewall stands between")
}

/// A socket that failed.
pub(super) fn lost(io: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Unavailable, "lost the connection to the server")
        .with_source(io)
        .with_hint("the server went away or was restarted; its log may say why")
}

/// A socket that the server has closed.
pub(super) fn closed(source: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Unavailable, "the server closed the connection").with_source(source)
}

/// Whose fault an error number tells of; an unknown one is the system's, so that no row is thrown away for it.
pub(super) fn of_server(server: mysql_async::ServerError) -> Error {
    use ErrorKind as K;
    let (kind, hint) = match server.code {
        1045 | 1698 | 3118 | 1820 => {
            (K::Auth, "check the user and the password; a password is best given as ${VARIABLE}")
        }
        1044 | 1142 | 1143 | 1227 | 1370 | 1410 => (K::Permission, "grant the user the right it needs"),
        1290 | 1792 | 1836 => {
            (K::Permission, "the server or the session is read-only, or an option forbids it")
        }
        1049 => (K::NotFound, "check the database's name in the address, or create the database"),
        1146 | 1051 | 1109 => (K::NotFound, "check database and name of the table; case may count"),
        1048 | 1062 | 1216 | 1217 | 1264 | 1265 | 1292 | 1364 | 1365 | 1366 | 1367 | 1406 | 1411 | 1416
        | 1451 | 1452 | 1526 | 1557 | 1586 | 1644 | 1690 | 1761 | 1762 | 3140 | 3819 | 4025 | 1425 | 1426
        | 1427 => (K::Data, ""),
        1205 | 1213 | 1020 => (K::Conflict, "other transactions were in the way"),
        1021 | 1114 | 3 | 28 => {
            (K::DiskFull, "free space on the server, then run the same command again: it resumes")
        }
        1040 | 1041 | 1203 | 1226 => {
            (K::Unavailable, "the server has no connection left: use fewer --jobs, or raise its limit")
        }
        1053 | 1077 | 1079 | 1152 | 1158..=1161 | 1184 | 1317 | 1927 | 2006 | 2013 => (
            K::Unavailable,
            "the server is going down, or ended the session; run the same command again: it resumes",
        ),
        1153 => (K::Limit, "raise max_allowed_packet at the server"),
        1969 | 3024 => (K::Timeout, "the server has a limit on the time of a statement"),
        1060 | 1054 | 1064 | 1067 | 1071 | 1072 | 1074 | 1118 | 1136 | 1166 | 1170 | 1222 | 1267 | 1305
        | 1318 | 1582 | 4078 => (K::Schema, ""),
        1235 => (K::Unsupported, ""),
        _ => (K::Server, ""),
    };
    let mut made = Error::new(kind, server.message.clone()).with_code(server.code.to_string());
    if kind == K::Server {
        made = made.with_retry(Retry::Never);
    }
    if !hint.is_empty() {
        made = made.with_hint(hint);
    }
    made.with_source(mysql_async::Error::Server(server))
}
