//! Which cluster, and how to get in.

use rdkafka::ClientConfig;

use crate::config::{Dsn, Params, Secret};
use crate::{Error, ErrorKind, Result};

/// The parameters that a source and a sink have in common.
pub mod params {
    use crate::config::Param;
    use std::time::Duration;

    /// TLS.
    pub const USE_SSL: Param = Param::flag("use_ssl", "speak TLS; also where ca or cert is given");
    /// Whom to trust.
    pub const CA: Param =
        Param::text("ca", "certificates of the authorities to trust (PEM), as a path or @FILE");
    /// Who we are.
    pub const CERT: Param = Param::text("cert", "our own certificate (PEM), as a path or @FILE");
    /// And the proof.
    pub const CERT_KEY: Param = Param::text("cert_key", "its key (PEM), as a path or @FILE").secret();
    /// How a password is shown.
    pub const SASL_MECHANISM: Param = Param::choice(
        "sasl_mechanism",
        &["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"],
        "how user and password are shown to the brokers",
    )
    .with_default("PLAIN");
    /// Patience.
    pub const CONNECT_TIMEOUT: Param =
        Param::duration("connect_timeout", Duration::from_secs(1), "how long the first answer may take")
            .with_default("10s");
    /// Everything else.
    pub const PROPERTIES: Param =
        Param::prefix("kafka.", "a property of librdkafka, as kafka.client.rack=a").secret();
}

/// Which cluster, and how to get in. `Debug` hides password, key and properties.
///
/// # Examples
/// ```
/// use kwsync_core::config::{Dsn, Param, Params};
/// use kwsync_core::system::kafka::{ClientOptions, params};
///
/// static PARAMS: &[Param] = &[
///     params::USE_SSL, params::CA, params::CERT, params::CERT_KEY, params::SASL_MECHANISM, params::CONNECT_TIMEOUT,
///     params::PROPERTIES,
/// ];
/// let dsn: Dsn = "kafka://b1,b2:9093?kafka.client.rack=a".parse()?;
/// let options = ClientOptions::from_dsn(&dsn, &Params::parse("kafka", PARAMS, dsn.params())?)?;
/// assert_eq!(options.brokers(), "b1:9092,b2:9093");
/// # Ok::<(), kwsync_core::Error>(())
/// ```
#[derive(Clone)]
pub struct ClientOptions {
    brokers: String,
    properties: Vec<(String, Secret)>,
    connect_timeout: std::time::Duration,
}

impl std::fmt::Debug for ClientOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientOptions").field("brokers", &self.brokers).finish_non_exhaustive()
    }
}

impl ClientOptions {
    /// A cluster without TLS and password; `brokers` as `HOST:PORT,HOST:PORT`.
    pub fn new(brokers: impl Into<String>) -> Self {
        Self {
            brokers: brokers.into(),
            properties: Vec::new(),
            connect_timeout: std::time::Duration::from_secs(10),
        }
    }

    /// Sets a property of librdkafka.
    #[must_use]
    pub fn with_property(mut self, name: impl Into<String>, value: impl Into<Secret>) -> Self {
        self.properties.push((name.into(), value.into()));
        self
    }

    /// The options of an address and its checked parameters.
    ///
    /// # Errors
    /// `Config` for parts that do not go together, `Unsupported` for TLS and SCRAM in a build without the feature
    /// `kafka-tls`.
    pub fn from_dsn(dsn: &Dsn, params: &Params) -> Result<Self> {
        if dsn.hosts().is_empty() {
            return Err(Error::config("an address of Kafka names its brokers")
                .with_hint("kafka://host:9092,host:9092?topics=..."));
        }
        let text = |name: &str| params.text(name).filter(|text| !text.is_empty());
        let tls = dsn.driver() == "kafkas"
            || params.flag("use_ssl")
            || ["ca", "cert", "cert_key"].iter().any(|name| text(name).is_some());
        let hosts = dsn.hosts().iter().map(|host| format!("{}:{}", host.name(), host.port_or(9092)));
        let mut options = Self::new(hosts.collect::<Vec<_>>().join(","));
        options.connect_timeout = params.duration("connect_timeout").unwrap_or(options.connect_timeout);
        let user = dsn.user().filter(|user| !user.is_empty());
        let protocol = match (tls, user) {
            (false, None) => "plaintext",
            (true, None) => "ssl",
            (false, Some(_)) => "sasl_plaintext",
            (true, Some(_)) => "sasl_ssl",
        };
        options = options.with_property("security.protocol", protocol);
        let mechanism = params.choice("sasl_mechanism").unwrap_or("PLAIN");
        if (tls || (user.is_some() && mechanism != "PLAIN")) && !cfg!(feature = "kafka-tls") {
            let what = if tls { "TLS" } else { mechanism };
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("this build speaks to Kafka without {what}"),
            )
            .with_hint("build it with the feature kafka-tls, which needs OpenSSL"));
        }
        if let Some(user) = user {
            let password = dsn.password().cloned().unwrap_or_else(|| Secret::new(""));
            options = options
                .with_property("sasl.mechanism", mechanism)
                .with_property("sasl.username", user)
                .with_property("sasl.password", password);
        }
        if text("cert").is_some() != text("cert_key").is_some() {
            return Err(Error::config("cert and cert_key go together")
                .with_hint("give both: cert=client.crt&cert_key=client.key"));
        }
        for (name, property) in [("ca", "ssl.ca"), ("cert", "ssl.certificate"), ("cert_key", "ssl.key")] {
            let Some(value) = text(name) else { continue };
            // A path, as other programs have it, or what the file says.
            let ending = if value.contains("-----BEGIN") { "pem" } else { "location" };
            options = options.with_property(format!("{property}.{ending}"), value);
        }
        for (name, value) in params.prefixed("kafka.") {
            options = options.with_property(name, value);
        }
        Ok(options)
    }

    /// The brokers, as `HOST:PORT,HOST:PORT`.
    pub fn brokers(&self) -> &str {
        &self.brokers
    }

    /// How long the first answer may take.
    pub fn connect_timeout(&self) -> std::time::Duration {
        self.connect_timeout
    }

    /// The client's configuration: `defaults`, and what the user has set over it.
    pub fn config(&self, defaults: &[(&str, &str)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers).set("client.id", "kwsync");
        for (name, value) in defaults {
            config.set(*name, *value);
        }
        for (name, value) in &self.properties {
            config.set(name, value.expose());
        }
        config
    }
}
