//! Addresses: where data comes from and where it goes.

mod parse;
#[cfg(test)]
mod tests;
mod write;

use std::fmt;
use std::str::FromStr;

use super::expand::Expand;
use super::param::Param;
use super::secret::{Secret, is_secret_name};
use crate::error::{Error, Result};

/// The address of a source or a sink.
///
/// | form | example |
/// |---|---|
/// | `driver[+protocol]://[user[:password]@]host[:port][,host2:port2][/object][?key=value&...]` | `influxdb+http://h:8086/?version=1.7` |
/// | the same with an empty host | `taos:///db?assert` |
/// | `driver:path[?key=value&...]` | `local:/dir`, `file:./x.lp?precision=s` |
/// | a bare path, a pattern, or `-` for standard input and output: the driver `file` | `data/*.lp` |
/// | `jdbc:` of mysql, postgresql, clickhouse, kaiwudb, TAOS-RS | `jdbc:mysql://h:3306/db?useSSL=false` |
/// | `driver://host key=value key=value`, as in `LOCATION('oss://...')` | `oss://host prefix=a bucket=b` |
///
/// A host is any text without `/ ? : @ ,` and blanks: `Matrikon.OPC.Simulation.1` is one. IPv6 stands in
/// brackets. Every part is percent-decoded after it has been split off; in the values of parameters only
/// `&` and `%` need encoding: `+` is never a space, `#` never starts a fragment, and `= ; , : { } "` and
/// blanks stand for themselves. A key may stand alone (`assert`), may repeat, and an empty value counts as
/// not given. Drivers and protocols are lower case, whatever was typed.
///
/// In `driver:path` a `?` starts the parameters only where they look like some (`?key=` or a lone word);
/// elsewhere it is a wildcard of the path. In a bare path nothing is percent-decoded but the parameters.
///
/// `Display` and `Debug` show `***` in the place of passwords and of parameters whose name says secret.
///
/// # Examples
/// ```
/// use kwsync_core::config::Dsn;
///
/// let dsn: Dsn = "tmq+ws://root:taosdata@localhost:6030/db1?timeout=never".parse()?;
/// assert_eq!((dsn.driver(), dsn.protocol(), dsn.object()), ("tmq", Some("ws"), Some("db1")));
/// assert_eq!(dsn.hosts()[0].port(), Some(6030));
/// assert_eq!(dsn.get("timeout"), Some("never"));
/// assert_eq!(dsn.to_string(), "tmq+ws://root:***@localhost:6030/db1?timeout=never");
/// # Ok::<(), kwsync_core::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Dsn {
    driver: String,
    protocol: Option<String>,
    is_path: bool,
    user: Option<String>,
    password: Option<Secret>,
    hosts: Vec<Host>,
    object: Option<String>,
    params: Vec<DsnParam>,
}

/// One host of an address, with its port if it names one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Host {
    name: String,
    port: Option<u16>,
}

impl Host {
    /// A host, and its port where it is not the driver's own.
    pub fn new(name: impl Into<String>, port: Option<u16>) -> Self {
        Self { name: name.into(), port }
    }

    /// The name or number as typed, without the brackets of IPv6.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The port, if one was given.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// The port, or that which the driver uses by default.
    pub fn port_or(&self, default: u16) -> u16 {
        self.port.unwrap_or(default)
    }
}

/// One `key` or `key=value` of an address.
#[derive(Clone, PartialEq, Eq)]
struct DsnParam {
    name: String,
    value: Option<String>,
    secret: bool,
}

/// Parameters that do not tell which rows are read, or where they go: patience, sizes, and how to connect.
const HOW: &[&str] = &[
    "timeout",
    "connect_timeout",
    "connect_attempts",
    "connect_backoff",
    "statement_timeout",
    "lock_timeout",
    "keep_alive",
    "linger",
    "latency",
    "lost_messages",
    "query_interval",
    "poll_interval",
    "interval",
    "readWindow",
    "read_window",
    "window",
    "window_s",
    "splitIntervalS",
    "window_bytes",
    "batch_rows",
    "batch_size",
    "fetch_rows",
    "fetch",
    "fetchSize",
    "fetch_size",
    "batchSize",
    "statement_rows",
    "batch-size",
    "max-sql-length",
    "timeout-per-table",
    "failes-to",
    "fails-to",
    "receive_maximum",
    "application_name",
    "log_level",
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "ssl_mode",
    "ssl_ca",
    "use_ssl",
    "ca",
    "cert",
    "cert_key",
    "sasl_mechanism",
    "oss_connect_timeout",
    "oss_dns_cache_timeout",
    "oss_speed_limit",
    "oss_speed_time",
    "num_parallel_worker",
    "async",
];

/// The same of object storage alone: elsewhere some of these names mean what is read.
const HOW_OF_BUCKETS: &[&str] = &[
    "id",
    "access_key_id",
    "accessKeyId",
    "region",
    "addressing",
    "chunk",
    "buffer_bytes",
    "oss_flush_block_size",
];

impl Dsn {
    /// An address of `driver` and a path, as `driver:path` is; nothing in `path` is decoded.
    pub fn of_path(driver: &str, path: impl Into<String>) -> Self {
        let mut dsn = Self::empty(driver);
        dsn.is_path = true;
        dsn.object = Some(path.into()).filter(|path| !path.is_empty());
        dsn
    }

    /// An address of `driver` and one host.
    pub fn of_host(driver: &str, host: Host) -> Self {
        let mut dsn = Self::empty(driver);
        dsn.hosts.push(host);
        dsn
    }

    fn empty(driver: &str) -> Self {
        Self {
            driver: driver.to_ascii_lowercase(),
            protocol: None,
            is_path: false,
            user: None,
            password: None,
            hosts: Vec::new(),
            object: None,
            params: Vec::new(),
        }
    }

    /// The system: `taos` of `taos+ws://...`; always lower case.
    pub fn driver(&self) -> &str {
        &self.driver
    }

    /// The way to it: `ws` of `taos+ws://...`; always lower case.
    pub fn protocol(&self) -> Option<&str> {
        self.protocol.as_deref()
    }

    /// `driver+protocol`, or the driver alone.
    pub fn scheme(&self) -> String {
        match &self.protocol {
            Some(protocol) => format!("{}+{protocol}", self.driver),
            None => self.driver.clone(),
        }
    }

    /// The user.
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// The password.
    pub fn password(&self) -> Option<&Secret> {
        self.password.as_ref()
    }

    /// The hosts in the order given; none where the host was left empty and in `driver:path`.
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// What follows the host, without its first `/`: a database, `database.table`, a bucket; or the path of
    /// `driver:path`.
    pub fn object(&self) -> Option<&str> {
        self.object.as_deref()
    }

    /// The path of a driver of files: that of `driver:path`, or `/` and the object of `driver:///object`.
    ///
    /// # Errors
    /// If the address names a host or has no path; the hint shows the form that was meant.
    pub fn path(&self) -> Result<String> {
        let driver = &self.driver;
        if let Some(host) = self.hosts.first() {
            let object = self.object.as_ref().map(|object| format!("/{object}")).unwrap_or_default();
            return Err(Error::config(format!(
                "`{self}` names the host `{}`, but files are local",
                host.name
            ))
            .with_hint(format!("write `{driver}:{}{object}`, or `{driver}:///dir/file`", host.name)));
        }
        match &self.object {
            Some(path) if self.is_path => Ok(path.clone()),
            Some(object) => Ok(format!("/{object}")),
            None => Err(Error::config(format!("`{self}` has no path"))
                .with_hint(format!("write `{driver}:./file` or `{driver}:/dir/file`"))),
        }
    }

    /// The last value given for `name`; `None` where it is absent, empty, or has no value.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.params()
            .filter(|(key, _)| *key == name)
            .filter_map(|(_, value)| value)
            .rfind(|value| !value.is_empty())
    }

    /// Whether `name` is given, alone or with a value that is not empty.
    pub fn has(&self, name: &str) -> bool {
        self.params().any(|(key, value)| key == name && value != Some(""))
    }

    /// Every parameter in the order given: `(name, None)` for a key alone, `(name, Some(""))` for `key=`.
    pub fn params(&self) -> impl DoubleEndedIterator<Item = (&str, Option<&str>)> {
        self.params.iter().map(|param| (param.name.as_str(), param.value.as_deref()))
    }

    /// Adds a parameter behind those that are there.
    #[must_use]
    pub fn with_param(mut self, name: impl Into<String>, value: Option<String>) -> Self {
        let name = name.into();
        self.params.push(DsnParam { secret: is_secret_name(&name), name, value });
        self
    }

    /// Takes all parameters away.
    #[must_use]
    pub fn without_params(mut self) -> Self {
        self.params.clear();
        self
    }

    /// Sets the driver, in lower case, and the protocol that goes with it.
    #[must_use]
    pub fn with_driver(mut self, driver: &str, protocol: Option<&str>) -> Self {
        self.driver = driver.to_ascii_lowercase();
        self.protocol = protocol.map(str::to_ascii_lowercase);
        self
    }

    /// Sets the hosts, to be tried in this order.
    #[must_use]
    pub fn with_hosts(mut self, hosts: impl IntoIterator<Item = Host>) -> Self {
        self.hosts = hosts.into_iter().collect();
        self
    }

    /// Sets the user.
    #[must_use]
    pub fn with_user(mut self, user: impl Into<String>) -> Self {
        self.user = Some(user.into());
        self
    }

    /// Sets the password.
    #[must_use]
    pub fn with_password(mut self, password: Secret) -> Self {
        self.password = Some(password);
        self
    }

    /// Sets the object: a database, a table, a bucket.
    #[must_use]
    pub fn with_object(mut self, object: impl Into<String>) -> Self {
        self.object = Some(object.into()).filter(|object| !object.is_empty());
        self
    }

    /// Redacts from now on, besides the parameters whose name says secret, those that are declared so.
    pub fn redact(&mut self, declared: &[Param]) {
        for param in &mut self.params {
            param.secret |= declared.iter().any(|known| known.is_secret() && known.is_called(&param.name));
        }
    }

    /// Replaces `${NAME}` in the user, password, hosts, object and values, and a value `@path` by the text
    /// of that file: once, with nothing of what came in expanded again. Only for addresses that the
    /// operator typed, never for those that came over the network.
    ///
    /// # Errors
    /// All unset variables and unreadable files at once, each with the part of the address it stands in.
    pub fn expand(mut self, expand: &Expand<'_>) -> Result<Self> {
        let mut faults = super::Faults::default();
        if let Some(user) = &mut self.user {
            faults.check(expand.variables("the user", user).map(|text| *user = text));
        }
        if let Some(password) = &mut self.password {
            faults.check(
                expand.variables("the password", password.expose()).map(|text| *password = text.into()),
            );
        }
        for host in &mut self.hosts {
            faults.check(expand.variables("the host", &host.name).map(|text| host.name = text));
        }
        if let Some(object) = &mut self.object {
            faults.check(expand.variables("the path", object).map(|text| *object = text));
        }
        for param in &mut self.params {
            if let Some(value) = &mut param.value {
                faults.check(expand.value(&param.name, value).map(|text| *value = text));
            }
        }
        faults.finish("the address cannot be expanded")?;
        Ok(self)
    }

    /// The address in which a leading `@` and `$$` stand for themselves when it is [expanded](Self::expand); `${NAME}` stays
    /// a variable. For addresses whose values come from files that know neither.
    #[must_use]
    pub fn literal(mut self) -> Self {
        let plain = |text: &str| text.replace("$$", "$$$$");
        self.user = self.user.map(|user| plain(&user));
        self.password = self.password.map(|password| plain(password.expose()).into());
        self.object = self.object.map(|object| plain(&object));
        for value in self.params.iter_mut().filter_map(|param| param.value.as_mut()) {
            *value = plain(value);
            if value.starts_with('@') {
                value.insert(0, '@');
            }
        }
        self
    }

    /// The address with its secrets, ready to be parsed again.
    pub fn to_string_with_secrets(&self) -> String {
        write::write(self, write::Secrets::Shown)
    }

    /// The address by which a job is known: [`canonical`](Self::canonical), and without the parameters that say how to read
    /// and write and not what: an operator who gives a job that has stopped more time, or tells it to pass over messages that
    /// were lost, goes on with that job.
    pub fn identity(&self) -> String {
        let mut known = self.clone();
        known.params.retain(|param| !HOW.contains(&param.name.as_str()));
        if matches!(self.driver(), "s3" | "oss") {
            // Whose access key it is says nothing of the bucket, and a temporary key is another one every day.
            known.user = None;
            known.params.retain(|param| !HOW_OF_BUCKETS.contains(&param.name.as_str()));
        }
        known.canonical()
    }

    /// The address without secrets and empty values, its parameters in the order of their names.
    pub fn canonical(&self) -> String {
        let mut plain = self.clone();
        plain.password = None;
        plain.params.retain(|param| !param.secret && param.value.as_deref() != Some(""));
        plain.params.sort_by(|a, b| a.name.cmp(&b.name));
        write::write(&plain, write::Secrets::Shown)
    }
}

impl FromStr for Dsn {
    type Err = Error;

    /// # Errors
    /// [`Config`](crate::ErrorKind::Config), with the column and a caret below the fault; never with a password.
    fn from_str(text: &str) -> Result<Self> {
        parse::parse(text)
    }
}

impl fmt::Display for Dsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&write::write(self, write::Secrets::Redacted))
    }
}

impl fmt::Debug for Dsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dsn({self})")
    }
}
