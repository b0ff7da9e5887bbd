//! How to reach a server.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::config::{Dsn, Params, Secret};
use crate::{Error, Result};

/// When TLS is used, and what is checked; the words and their meaning are libpq's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SslMode {
    /// Never TLS.
    Disable,
    /// TLS if the server offers it, without a check of its certificate; in clear otherwise.
    #[default]
    Prefer,
    /// TLS or no connection. The certificate is checked only when `sslrootcert` is given.
    Require,
    /// TLS, and the certificate must come from an authority in `sslrootcert`.
    VerifyCa,
    /// As `verify-ca`, and the certificate must name the host.
    VerifyFull,
}

impl FromStr for SslMode {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "disable" => Ok(Self::Disable),
            "allow" | "prefer" => Ok(Self::Prefer),
            "require" => Ok(Self::Require),
            "verify-ca" => Ok(Self::VerifyCa),
            "verify-full" => Ok(Self::VerifyFull),
            _ => Err(Error::config(format!("{text:?} is no sslmode"))
                .with_hint("use disable, prefer, require, verify-ca or verify-full")),
        }
    }
}

/// One place where a server may listen.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// Host name or address, and port.
    Tcp(String, u16),
    /// The folder of a Unix-domain socket, and the port that is part of its name.
    Unix(PathBuf, u16),
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp(host, port) => write!(f, "{host}:{port}"),
            Self::Unix(dir, port) => write!(f, "{}/.s.PGSQL.{port}", dir.display()),
        }
    }
}

/// How to reach a server and who to be there.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnectConfig {
    /// Where the server may be; the first that answers is taken.
    pub endpoints: Vec<Endpoint>,
    /// The user.
    pub user: String,
    /// The password, if one is needed.
    pub password: Option<Secret>,
    /// The database.
    pub database: String,
    /// When TLS is used.
    pub ssl_mode: SslMode,
    /// Certificates of the authorities to trust (PEM).
    pub ssl_root_cert: Option<PathBuf>,
    /// Our own certificate (PEM), where the server asks for one.
    pub ssl_cert: Option<PathBuf>,
    /// The key of our own certificate (PEM).
    pub ssl_key: Option<PathBuf>,
    /// How long connecting may take, for each endpoint.
    pub connect_timeout: Duration,
    /// Parameters of the session, sent with the startup message: `application_name`, `search_path` ...
    pub session: Vec<(String, String)>,
}

impl ConnectConfig {
    /// A server at `host:port`, the database and the user.
    pub fn new(
        host: impl Into<String>,
        port: u16,
        user: impl Into<String>,
        database: impl Into<String>,
    ) -> Self {
        Self {
            endpoints: vec![Endpoint::Tcp(host.into(), port)],
            user: user.into(),
            password: None,
            database: database.into(),
            ssl_mode: SslMode::default(),
            ssl_root_cert: None,
            ssl_cert: None,
            ssl_key: None,
            connect_timeout: Duration::from_secs(10),
            session: vec![("application_name".to_owned(), "kwsync".to_owned())],
        }
    }

    /// Hosts, user, password and database of an address; `default_port` where none is given. A `host=` that starts
    /// with `/` is the folder of a Unix-domain socket. User and database default to `PGUSER` and `PGDATABASE`,
    /// then to the name of the operating system's user, as with libpq; the password to `PGPASSWORD`.
    ///
    /// # Errors
    /// `Config` when no user can be found.
    pub fn from_dsn(dsn: &Dsn, default_port: u16) -> Result<Self> {
        let env = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let user = dsn.user().filter(|user| !user.is_empty()).map(str::to_owned);
        let user = user.or_else(|| env("PGUSER")).or_else(|| env("USER")).ok_or_else(|| {
            Error::config("the address names no user").with_hint("write driver://USER@host:port/database")
        })?;
        let path =
            dsn.object().map(|object| object.trim_start_matches('/')).filter(|object| !object.is_empty());
        let database = path.map(str::to_owned).or_else(|| env("PGDATABASE")).unwrap_or_else(|| user.clone());
        let mut endpoints: Vec<_> = dsn
            .hosts()
            .iter()
            .filter(|host| !host.name().is_empty())
            .map(|host| Endpoint::Tcp(host.name().to_owned(), host.port_or(default_port)))
            .collect();
        if let Some(dir) = dsn.get("host").filter(|host| host.starts_with('/')) {
            let port = dsn.get("port").and_then(|port| port.parse().ok()).unwrap_or(default_port);
            endpoints = vec![Endpoint::Unix(dir.into(), port)];
        }
        if endpoints.is_empty() {
            endpoints.push(Endpoint::Tcp("localhost".to_owned(), default_port));
        }
        let mut config = Self::new("", default_port, user, database);
        config.endpoints = endpoints;
        config.password = dsn.password().cloned().or_else(|| env("PGPASSWORD").map(Secret::new));
        Ok(config)
    }

    /// As [`from_dsn`](Self::from_dsn), with the parameters that the connectors of this family have in common:
    /// `sslmode`, `sslrootcert`, `sslcert`, `sslkey`, `connect_timeout`, `application_name`. All must be declared.
    ///
    /// # Errors
    /// `Config` when no user can be found, or the path is no name of a database.
    pub fn from_params(dsn: &Dsn, params: &Params, default_port: u16) -> Result<Self> {
        let mut config = Self::from_dsn(dsn, default_port)?;
        if config.database.contains('/') {
            return Err(Error::config(format!("{:?} is no name of a database", config.database))
                .with_hint("write /DATABASE?table=TABLE"));
        }
        if let Some(mode) = params.choice("sslmode") {
            config.ssl_mode = mode.parse()?;
        }
        config.ssl_root_cert = params.text("sslrootcert").map(Into::into);
        config.ssl_cert = params.text("sslcert").map(Into::into);
        config.ssl_key = params.text("sslkey").map(Into::into);
        if let Some(timeout) = params.duration("connect_timeout") {
            config.connect_timeout = timeout;
        }
        if let Some(name) = params.text("application_name") {
            config.session.clear();
            config = config.with_session("application_name", name);
        }
        Ok(config)
    }

    /// Sets the password.
    #[must_use]
    pub fn with_password(mut self, password: Secret) -> Self {
        self.password = Some(password);
        self
    }

    /// Sets when TLS is used.
    #[must_use]
    pub fn with_ssl_mode(mut self, mode: SslMode) -> Self {
        self.ssl_mode = mode;
        self
    }

    /// Sets the file of the authorities to trust.
    #[must_use]
    pub fn with_ssl_root_cert(mut self, path: impl Into<PathBuf>) -> Self {
        self.ssl_root_cert = Some(path.into());
        self
    }

    /// Adds a parameter of the session.
    #[must_use]
    pub fn with_session(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.session.push((name.into(), value.into()));
        self
    }
}
