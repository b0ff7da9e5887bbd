//! The parameters of the source `listen`.

use std::time::Duration;

use kwsync_core::config::{Dsn, Param, Params, Secret};
use kwsync_core::{Error, Result};

/// The port of HTTP, where the address names none: InfluxDB's.
pub const DEFAULT_PORT: u16 = 8086;
/// The port of telnet, where the address names none: OpenTSDB's.
pub const DEFAULT_TELNET_PORT: u16 = 4242;

/// The parameters. Those of the formats stand behind the format's name and a dot.
pub static PARAMS: &[Param] = &[
    Param::text("telnet", "where to listen for OpenTSDB's telnet protocol as well: HOST:PORT"),
    Param::text("telnet_format", "the format of the lines that come there").with_default("line_opentsdb"),
    Param::choice(
        "ack",
        &["commit", "accept"],
        "when a request is answered: once its rows are committed, or once they are read",
    )
    .with_default("commit"),
    Param::choice(
        "database",
        &["ignore", "schema", "column"],
        "what db= or bucket= of a request becomes: nothing, the schema of the tables, or a tag",
    )
    .with_default("ignore"),
    Param::text("database_column", "the tag of database=column").with_default("database"),
    Param::list("databases", "the only databases and buckets that may be named; default: any"),
    Param::duration(
        "linger",
        Duration::from_millis(1),
        "how long a request waits for others to be committed with it, when nothing else is being committed",
    )
    .with_default("0ms"),
    Param::duration(
        "answer_timeout",
        Duration::from_secs(1),
        "how long a request waits for its commit before it is told to come again",
    )
    .with_default("30s"),
    Param::duration(
        "client_timeout",
        Duration::from_secs(1),
        "how long a client may take for the head of a request, and to go on with its body",
    )
    .with_default("30s"),
    Param::size("max_body", "the longest body, after decompression").with_default("64MiB"),
    Param::size("max_waiting", "bytes of all bodies that are not committed; more are told to come again")
        .with_default("256MiB"),
    Param::int("max_connections", 1, 65_536, "most connections of each port at a time").with_default("1024"),
    Param::text("token", "what clients must show: Authorization: Token X or Bearer X").secret(),
    Param::text("user", "the user that clients must name: by basic authentication, or u= and p="),
    Param::text("password", "the password of user").secret(),
    Param::text("cert", "our certificate and those above it (PEM), as @FILE; TLS is used then"),
    Param::text("key", "its key (PEM), as @FILE").with_aliases(&["cert_key"]).secret(),
    Param::prefix("line_influxdb.", "a parameter of line protocol, for every request: line_influxdb.tags"),
    Param::prefix("line_opentsdb.", "a parameter of telnet lines"),
    Param::prefix("json_opentsdb.", "a parameter of OpenTSDB's JSON"),
    Param::prefix("json_kaiwudb.", "a parameter of KaiwuDB's JSON"),
    Param::prefix("json.", "a parameter of JSON"),
    Param::prefix("csv.", "a parameter of CSV"),
    Param::prefix("text.", "a parameter of TEXT"),
];

/// What the name of a database or bucket becomes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum DatabaseMode {
    /// Nothing.
    #[default]
    Ignore,
    /// The schema of the tables, which must be there.
    Schema,
    /// A tag of this name.
    Column(String),
}

/// When a request is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum AckMode {
    /// Once its rows are committed.
    #[default]
    Commit,
    /// Once they are read: a fault may still lose them.
    Accept,
}

/// Where [`ListenSource`](super::ListenSource) listens, and how. `Debug` hides what clients must show.
///
/// # Examples
/// ```
/// use kwsync_sources::listen::ListenOptions;
///
/// let mut options = ListenOptions::new("127.0.0.1", 0);
/// options.token = Some("s3cret".into());
/// assert!(options.warnings().is_empty());
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ListenOptions {
    /// The name or number to listen at.
    pub host: String,
    /// The port of HTTP; 0 is any.
    pub port: u16,
    /// Name and port of telnet.
    pub telnet: Option<(String, u16)>,
    /// The format of telnet's lines.
    pub telnet_format: String,
    /// When a request is answered.
    pub ack: AckMode,
    /// What databases become.
    pub database: DatabaseMode,
    /// The only databases that may be named; empty is any.
    pub databases: Vec<String>,
    /// How long a request waits for others.
    pub linger: Duration,
    /// How long it waits for its commit.
    pub answer_timeout: Duration,
    /// How long a client may be slow.
    pub client_timeout: Duration,
    /// Bytes of the longest body.
    pub max_body: usize,
    /// Bytes of all bodies that wait.
    pub max_waiting: usize,
    /// Most connections of a port.
    pub max_connections: usize,
    /// What clients must show.
    pub token: Option<Secret>,
    /// User and password that clients must name.
    pub credentials: Option<(String, Secret)>,
    /// Our certificate and key (PEM).
    pub identity: Option<(String, Secret)>,
    /// Parameters of formats: the format, the name, the value.
    pub formats: Vec<(String, String, String)>,
}

impl ListenOptions {
    /// HTTP at one address, and the defaults.
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self {
            host: host.into(),
            port,
            telnet: None,
            telnet_format: "line_opentsdb".to_owned(),
            ack: AckMode::Commit,
            database: DatabaseMode::Ignore,
            databases: Vec::new(),
            linger: Duration::ZERO,
            answer_timeout: Duration::from_secs(30),
            client_timeout: Duration::from_secs(30),
            max_body: 64 << 20,
            max_waiting: 256 << 20,
            max_connections: 1024,
            token: None,
            credentials: None,
            identity: None,
            formats: Vec::new(),
        }
    }

    /// The options of an address and its checked parameters.
    ///
    /// # Errors
    /// `Config` for an address that is none, and for parts that do not go together.
    pub fn from_dsn(dsn: &Dsn, params: &Params) -> Result<Self> {
        let (host, port) = match dsn.hosts() {
            [host] => (host.name().to_owned(), host.port_or(DEFAULT_PORT)),
            [] => ("127.0.0.1".to_owned(), DEFAULT_PORT),
            _ => {
                return Err(Error::config("there is one address to listen at")
                    .with_hint("listen://127.0.0.1:8086; 0.0.0.0 is every address of this machine"));
            }
        };
        if let Some(object) = dsn.object() {
            return Err(Error::config(format!(
                "the address to listen at has no path, and `/{object}` is one"
            ))
            .with_hint("the paths are fixed: /write, /api/v2/write, /api/put, /ingest/FORMAT"));
        }
        let text = |name: &str| params.text(name).filter(|text| !text.is_empty()).map(str::to_owned);
        let identity = match (text("cert"), text("key")) {
            (Some(cert), Some(key)) => Some((cert, key.into())),
            (None, None) => None,
            _ => {
                return Err(Error::config("cert and key go together")
                    .with_hint("give both: cert=@server.crt&key=@server.key"));
            }
        };
        let user = text("user").or_else(|| dsn.user().filter(|user| !user.is_empty()).map(str::to_owned));
        let password = params.secret("password").or_else(|| dsn.password().cloned());
        let credentials = match (user, password) {
            (Some(user), Some(password)) => Some((user, password)),
            (None, None) => None,
            _ => {
                return Err(Error::config("user and password go together")
                    .with_hint("give both: user=me&password=@FILE, or user:password@ in the address"));
            }
        };
        let database = match params.choice("database") {
            Some("schema") => DatabaseMode::Schema,
            Some("column") => {
                DatabaseMode::Column(text("database_column").unwrap_or_else(|| "database".to_owned()))
            }
            _ => DatabaseMode::Ignore,
        };
        let size = |name: &str, default: usize| {
            params.size(name).and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(default)
        };
        let time = |name: &str, default: Duration| params.duration(name).unwrap_or(default);
        let defaults = Self::new(host, port);
        let (max_body, max_waiting) =
            (size("max_body", defaults.max_body), size("max_waiting", defaults.max_waiting));
        if max_body == 0 || max_waiting < max_body {
            return Err(Error::config("max_waiting is less than max_body: such a body would never be taken")
                .with_hint("make max_waiting several times as large as max_body"));
        }
        let mut formats = Vec::new();
        for prefix in PARAMS.iter().map(Param::name).filter(|name| name.ends_with('.')) {
            let format = prefix.trim_end_matches('.');
            let own = params.prefixed(prefix);
            formats.extend(own.map(|(name, value)| (format.to_owned(), name.to_owned(), value.to_owned())));
        }
        Ok(Self {
            telnet: text("telnet").map(|text| address(&text)).transpose()?,
            telnet_format: text("telnet_format").unwrap_or(defaults.telnet_format),
            ack: if params.choice("ack") == Some("accept") { AckMode::Accept } else { AckMode::Commit },
            database,
            databases: params.list("databases").to_vec(),
            linger: time("linger", defaults.linger),
            answer_timeout: time("answer_timeout", defaults.answer_timeout),
            client_timeout: time("client_timeout", defaults.client_timeout),
            max_body,
            max_waiting,
            max_connections: params
                .int("max_connections")
                .and_then(|n| usize::try_from(n).ok())
                .unwrap_or(defaults.max_connections),
            token: params.secret("token"),
            credentials,
            identity,
            formats,
            ..Self::new(defaults.host, port)
        })
    }

    /// What the operator should think of before strangers do.
    pub fn warnings(&self) -> Vec<String> {
        let open = |host: &str| {
            !(host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback()))
        };
        let mut warnings = Vec::new();
        if open(&self.host) && self.token.is_none() && self.credentials.is_none() {
            warnings.push(format!(
                "whoever reaches {} may write: give token=, or user= and password=",
                shown(&self.host, self.port)
            ));
        }
        if let Some((host, port)) = self.telnet.as_ref().filter(|(host, _)| open(host)) {
            let place = shown(host, *port);
            warnings.push(format!("whoever reaches {place} may write: telnet knows no password"));
        }
        if self.ack == AckMode::Accept {
            warnings.push(
                "ack=accept: what was answered and is not committed yet is lost with this process".to_owned(),
            );
        }
        if self.database == DatabaseMode::Schema && self.databases.is_empty() {
            warnings.push(
                "database=schema: clients choose any schema; databases= names those that they may".to_owned(),
            );
        }
        warnings
    }

    /// The address of HTTP as a person names it.
    pub(super) fn place(&self) -> String {
        shown(&self.host, self.port)
    }
}

/// `host:port`, with the brackets of IPv6.
pub(super) fn shown(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// `HOST`, `HOST:PORT`, `[::1]:PORT`.
fn address(text: &str) -> Result<(String, u16)> {
    let fault = || {
        Error::config(format!("telnet={text} is no address")).with_hint("write HOST:PORT, as 127.0.0.1:4242")
    };
    let dsn: Dsn = format!("listen://{text}").parse().map_err(|_| fault())?;
    match dsn.hosts() {
        [host] if dsn.object().is_none() && !host.name().is_empty() => {
            Ok((host.name().to_owned(), host.port_or(DEFAULT_TELNET_PORT)))
        }
        _ => Err(fault()),
    }
}
