//! What is known of the brokers.

use crate::config::{Dsn, Host};
use crate::spec::document::{self, Faults, Fields, Wrong};
use crate::{Error, Result};

/// The brokers that a connector reads from or writes to.
///
/// # Examples
/// ```
/// use kwsync_core::spec::kafka_connect::Worker;
///
/// let worker = Worker::from_properties("connect-distributed.properties", "bootstrap.servers=b1:9092,b2:9092\ngroup.id=x\n")?;
/// assert_eq!(worker, Worker::new("b1:9092,b2:9092")?);
/// assert_eq!(Worker::default(), Worker::new("localhost:9092")?);
/// # Ok::<(), kwsync_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Worker {
    brokers: Dsn,
    notes: Vec<String>,
}

impl Default for Worker {
    /// `localhost:9092`.
    fn default() -> Self {
        Self { brokers: Dsn::of_host("kafka", Host::new("localhost", Some(9_092))), notes: Vec::new() }
    }
}

impl Worker {
    /// The brokers of a list between commas: `host:port,host:port`.
    ///
    /// # Errors
    /// `Config` for what is no such list.
    pub fn new(bootstrap_servers: &str) -> Result<Self> {
        let list: Vec<_> =
            bootstrap_servers.split(',').map(str::trim).filter(|host| !host.is_empty()).collect();
        // A listener may stand before the host, as in PLAINTEXT://host:9092.
        let hosts: Vec<_> =
            list.iter().map(|host| host.rsplit_once("://").map_or(*host, |(_, host)| host)).collect();
        if hosts.is_empty() || hosts.iter().any(|host| host.contains(['/', '?', '@', ' '])) {
            return Err(Error::config(format!("{bootstrap_servers:?} is no list of brokers"))
                .with_hint("write HOST:9092,HOST:9092"));
        }
        let brokers = format!("kafka://{}", hosts.join(",")).parse::<Dsn>();
        let brokers = brokers.map_err(|error| {
            Error::config(format!("{bootstrap_servers:?} is no list of brokers: {}", error.message()))
                .with_hint("write HOST:9092,HOST:9092")
        })?;
        Ok(Self { brokers, notes: Vec::new() })
    }

    /// The brokers that the file of a worker names: `bootstrap.servers` of `connect-distributed.properties`. What else such a
    /// file has is about the worker's process.
    ///
    /// # Errors
    /// `Config` when they are missing or no list; `Unsupported` when they ask for SASL.
    pub fn from_properties(name: &str, text: &str) -> Result<Self> {
        let root = document::parse_properties(name, text)?;
        let faults = Faults::default();
        let mut made = None;
        if let Some(fields) = Fields::of(&root, "", &faults) {
            let list = fields.required("bootstrap.servers", "the brokers, as HOST:9092,HOST:9092");
            made = list.map(Self::new);
            if let Some(Err(error)) = &made {
                let text = format!("`bootstrap.servers`: {}", error.message());
                fields.fault("bootstrap.servers", Wrong::Value, text, error.hint().map(str::to_owned));
            }
            let protocol = fields.filled("security.protocol").unwrap_or("PLAINTEXT").to_ascii_uppercase();
            match (protocol.as_str(), &mut made) {
                ("PLAINTEXT", _) => {}
                ("SSL", Some(Ok(worker))) => {
                    worker.brokers = worker.brokers.clone().with_param("use_ssl", Some("true".to_owned()));
                    worker.notes.push("certificates of Java key stores are not read: brokers are verified by the system's authorities".to_owned());
                }
                ("SSL", _) => {}
                _ => fields.fault(
                    "security.protocol",
                    Wrong::Unsupported,
                    format!("`security.protocol` {protocol} has no counterpart here"),
                    Some("use a listener of PLAINTEXT or SSL, given by --bootstrap-servers".to_owned()),
                ),
            }
            fields.skip_prefix("");
            fields.finish();
        }
        faults.finish(|_| "")?;
        made.unwrap_or_else(|| Err(Error::config(format!("{name} names no brokers"))))
    }

    /// The address of the brokers.
    pub(super) fn dsn(&self) -> Dsn {
        self.brokers.clone()
    }

    pub(super) fn notes(&self) -> &[String] {
        &self.notes
    }
}
