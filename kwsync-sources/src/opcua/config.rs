//! The parameters of the OPC UA source.

use std::time::Duration;

use kwsync_core::config::{Dsn, Param, Params, Secret};
use kwsync_core::{Error, ErrorKind, Result};

use super::points::{Point, from_csv, from_nodes};
use super::trust::{Identity, Trust};

/// The parameters.
pub static PARAMS: &[Param] = &[
    Param::text("ua.nodes", "the nodes as NODEID::CODE, several between commas; with opc_table_config"),
    Param::text(
        "opc_table_config",
        "tables and columns for ua.nodes: JSON with stable_prefix and column_configs, or @FILE",
    ),
    Param::text("csv_config_file", "nodes, tables and columns as CSV, as @FILE; goes before ua.nodes"),
    Param::duration(
        "interval",
        Duration::from_secs(1),
        "how often the server looks at values, and tells of changes",
    )
    .with_default("1s"),
    Param::duration(
        "sampling",
        Duration::from_millis(1),
        "how often the server looks at values, where that is not the interval; 0 asks for every change",
    ),
    Param::int(
        "queue",
        1,
        1_000_000,
        "the most changes of a node that the server keeps until it can tell of them",
    )
    .with_default("1000"),
    Param::int("concurrent", 1, 64, "subscriptions that the nodes are dealt to").with_default("1"),
    Param::int("batch_size", 1, 100_000, "values that are handed on together").with_default("100"),
    Param::duration("batch_timeout", Duration::from_secs(1), "the longest that a value waits for others")
        .with_default("20s"),
    Param::duration("connect_timeout", Duration::from_secs(1), "how long connecting may take")
        .with_default("10s"),
    Param::duration("request_timeout", Duration::from_secs(1), "how long an answer may take")
        .with_default("10s"),
    Param::duration_or_never("timeout", Duration::from_millis(1), "end when no value comes for so long")
        .with_default("never"),
    Param::choice(
        "security_policy",
        &["None", "Basic128Rsa15", "Basic256", "Basic256Sha256", "Aes128Sha256RsaOaep", "Aes256Sha256RsaPss"],
        "how messages are signed and encrypted",
    )
    .with_default("None"),
    Param::choice(
        "security_mode",
        &["None", "Sign", "SignAndEncrypt"],
        "whether messages are signed, and encrypted",
    )
    .with_default("None"),
    Param::text("certificate", "our own certificate, a path to PEM or DER, or PEM as @FILE"),
    Param::text("private_key", "its key, a path to PEM, or PEM as @FILE").secret(),
    Param::text(
        "server_certificate",
        "certificates to trust, the server's own: a path to PEM or DER, or PEM as @FILE; any trusts whatever answers",
    ),
    Param::text(
        "application_uri",
        "the name of this program at the server; default: that in the certificate",
    ),
    Param::flag("enable", "refused: what came is not kept a second time"),
    Param::text("path", "ignored without enable").ignored(),
    Param::text("keep", "ignored without enable").ignored(),
    Param::text("debug", "ignored: -vv says more").ignored(),
];

/// How messages are signed and encrypted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SecurityPolicy {
    /// Not at all.
    #[default]
    None,
    /// Broken: SHA-1 and RSA with PKCS 1.5.
    Basic128Rsa15,
    /// Broken: SHA-1.
    Basic256,
    /// AES-256, SHA-256, RSA-OAEP.
    Basic256Sha256,
    /// AES-128, SHA-256, RSA-OAEP.
    Aes128Sha256RsaOaep,
    /// AES-256, SHA-256, RSA-PSS.
    Aes256Sha256RsaPss,
}

/// Whether messages are signed, and encrypted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SecurityMode {
    /// Neither.
    #[default]
    None,
    /// Nobody can change them.
    Sign,
    /// Nobody can change or read them.
    SignAndEncrypt,
}

/// What a connection is secured with. `Debug` hides the key.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Security {
    /// The algorithms.
    pub policy: SecurityPolicy,
    /// What they are used for.
    pub mode: SecurityMode,
    /// Our own certificate and key; needed unless the mode is none.
    pub identity: Option<Identity>,
    /// Which servers are trusted; needed unless the mode is none.
    pub trust: Option<Trust>,
}

/// What [`OpcUaSource`](super::OpcUaSource) reads, and how. `Debug` hides password and key.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct OpcUaOptions {
    /// The address as OPC UA writes it: `opc.tcp://host:4840/path`.
    pub url: String,
    /// User and password.
    pub credentials: Option<(String, Secret)>,
    /// How the connection is secured.
    pub security: Security,
    /// The name of this program at the server, where it is not that of the certificate.
    pub application_uri: Option<String>,
    /// The nodes, and where their values go.
    pub points: Vec<Point>,
    /// How often the server tells of changes.
    pub interval: Duration,
    /// How often it looks at values; zero is every change.
    pub sampling: Duration,
    /// The most changes of a node that the server keeps until it can tell of them.
    pub queue: u32,
    /// Subscriptions that the nodes are dealt to.
    pub concurrent: usize,
    /// Values that are handed on together.
    pub batch_size: usize,
    /// The longest that a value waits for others.
    pub batch_timeout: Duration,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// How long an answer may take.
    pub request_timeout: Duration,
    /// The end, when no value comes for so long; [`Duration::MAX`] is never.
    pub timeout: Duration,
}

impl OpcUaOptions {
    /// The defaults, for a server (`opc.tcp://host:4840`) and its nodes.
    pub fn new(url: impl Into<String>, points: Vec<Point>) -> Self {
        Self {
            url: url.into(),
            credentials: None,
            security: Security::default(),
            application_uri: None,
            points,
            interval: Duration::from_secs(1),
            sampling: Duration::from_secs(1),
            queue: 1000,
            concurrent: 1,
            batch_size: 100,
            batch_timeout: Duration::from_secs(20),
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(10),
            timeout: Duration::MAX,
        }
    }

    /// The options of an address and its checked parameters. Reads the files of certificates that are given as paths.
    ///
    /// # Errors
    /// `Config` for nodes and tables that are none, and for parts that do not go together; `Unsupported` for `enable`.
    pub fn from_dsn(dsn: &Dsn, params: &Params) -> Result<Self> {
        let [host] = dsn.hosts() else {
            return Err(Error::config("an address of OPC UA names one server").with_hint(
                "opcua://user:password@host:4840/path?ua.nodes=ns=2;i=2::code&opc_table_config=@tables.json",
            ));
        };
        let text = |name: &str| params.text(name).filter(|text| !text.trim().is_empty());
        if params.flag("enable") {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "enable=true: what came is not kept a second time",
            )
            .with_hint("leave it out; another job can write the same nodes to files: -t file:PATH"));
        }
        let points = match (text("csv_config_file"), text("ua.nodes"), text("opc_table_config")) {
            (Some(csv), nodes, tables) => {
                if nodes.is_some() || tables.is_some() {
                    tracing::warn!("csv_config_file is there: ua.nodes and opc_table_config mean nothing");
                }
                from_csv(csv)?
            }
            (None, Some(nodes), Some(tables)) => from_nodes(nodes, tables)?,
            (None, None, None) => {
                return Err(Error::config("no nodes are named").with_hint(
                    "give ua.nodes=ns=2;i=2::code with opc_table_config=@tables.json, or csv_config_file=@nodes.csv",
                ));
            }
            (None, nodes, _) => {
                let (there, lacking) = match nodes {
                    Some(_) => ("ua.nodes", "opc_table_config"),
                    None => ("opc_table_config", "ua.nodes"),
                };
                return Err(Error::config(format!("{there} is there and {lacking} is not"))
                    .with_hint("give both, or csv_config_file"));
            }
        };
        let name = match host.name() {
            name if name.contains(':') && !name.starts_with('[') => format!("[{name}]"),
            name => name.to_owned(),
        };
        let path = dsn.object().unwrap_or_default().trim_start_matches('/');
        let slash = if path.is_empty() { "" } else { "/" };
        let mut options = Self::new(format!("opc.tcp://{name}:{}{slash}{path}", host.port_or(4840)), points);
        options.security = security(params)?;
        options.application_uri = text("application_uri").map(str::to_owned);
        options.credentials = dsn
            .user()
            .filter(|user| !user.is_empty())
            .map(|user| (user.to_owned(), dsn.password().cloned().unwrap_or_else(|| Secret::new(""))));
        for (name, time) in [
            ("interval", &mut options.interval),
            ("batch_timeout", &mut options.batch_timeout),
            ("connect_timeout", &mut options.connect_timeout),
            ("request_timeout", &mut options.request_timeout),
            ("timeout", &mut options.timeout),
        ] {
            if let Some(given) = params.duration(name) {
                *time = given;
            }
        }
        for (name, time) in [
            ("interval", options.interval),
            ("connect_timeout", options.connect_timeout),
            ("request_timeout", options.request_timeout),
        ] {
            if time < Duration::from_millis(1) {
                return Err(Error::config(format!("{name} is nothing")).with_hint("the least is 1ms"));
            }
        }
        options.sampling = params.duration("sampling").unwrap_or(options.interval);
        let number = |name: &str| params.int(name).and_then(|number| usize::try_from(number).ok());
        options.queue = number("queue").and_then(|queue| u32::try_from(queue).ok()).unwrap_or(options.queue);
        options.concurrent = number("concurrent").unwrap_or(options.concurrent);
        options.batch_size = number("batch_size").unwrap_or(options.batch_size);
        Ok(options)
    }
}

/// Nothing goes in the clear, or to whoever answers, where security was asked for.
fn security(params: &Params) -> Result<Security> {
    let policy = match params.choice("security_policy") {
        Some("Basic128Rsa15") => SecurityPolicy::Basic128Rsa15,
        Some("Basic256") => SecurityPolicy::Basic256,
        Some("Basic256Sha256") => SecurityPolicy::Basic256Sha256,
        Some("Aes128Sha256RsaOaep") => SecurityPolicy::Aes128Sha256RsaOaep,
        Some("Aes256Sha256RsaPss") => SecurityPolicy::Aes256Sha256RsaPss,
        _ => SecurityPolicy::None,
    };
    let mode = match params.choice("security_mode") {
        Some("Sign") => SecurityMode::Sign,
        Some("SignAndEncrypt") => SecurityMode::SignAndEncrypt,
        _ => SecurityMode::None,
    };
    match (policy, mode) {
        (SecurityPolicy::None, SecurityMode::None) => return Ok(Security::default()),
        (SecurityPolicy::None, mode) => {
            return Err(Error::config(format!("security_mode={mode:?} needs a security_policy"))
                .with_hint("give security_policy=Basic256Sha256, or what the server offers"));
        }
        (policy, SecurityMode::None) => {
            return Err(Error::config(format!("security_policy={policy:?} needs a security_mode"))
                .with_hint("give security_mode=SignAndEncrypt, or security_mode=Sign"));
        }
        (SecurityPolicy::Basic128Rsa15 | SecurityPolicy::Basic256, _) => {
            tracing::warn!(
                "security_policy={policy:?} rests on SHA-1 and counts as broken; Basic256Sha256 does not"
            );
        }
        _ => {}
    }
    let text = |name: &str| params.text(name).filter(|text| !text.trim().is_empty());
    let identity = match (text("certificate"), params.secret("private_key")) {
        (Some(certificate), Some(key)) => Identity::new(certificate, &key)?,
        _ => {
            return Err(Error::config(format!("security_mode={mode:?} needs certificate and private_key"))
                .with_hint("give both: certificate=cert.pem&private_key=key.pem; the server must trust the certificate"));
        }
    };
    let Some(trust) = text("server_certificate") else {
        return Err(Error::config(format!("security_mode={mode:?} needs the server's certificate"))
            .with_hint(
                "give server_certificate=server.pem; server_certificate=any trusts whatever answers",
            ));
    };
    let trust = Trust::new(trust)?;
    if matches!(trust, Trust::Any) {
        tracing::warn!("server_certificate=any: whoever answers is trusted, and gets the password");
    }
    Ok(Security { policy, mode, identity: Some(identity), trust: Some(trust) })
}
