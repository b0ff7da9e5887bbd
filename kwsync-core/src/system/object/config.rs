//! Addresses and parameters that source and sink have in common.

use std::time::Duration;

use crate::config::{Dsn, Param, Params, Secret};
use crate::{Error, Result};

const SECOND: Duration = Duration::from_secs(1);

/// The parameters of the connection.
pub const PARAMS: [Param; 14] = [
    Param::text("bucket", "the bucket, where the host of the address is the endpoint: s3://HOST?bucket=B, oss://HOST bucket=B"),
    Param::text("endpoint", "the service, as https://HOST[:PORT]; http:// for one without TLS; default: Amazon's, or AWS_ENDPOINT_URL"),
    Param::text("region", "the region that requests are signed for; default: AWS_REGION, else as the endpoint says, else us-east-1"),
    Param::text("id", "the id of the access key; default: AWS_ACCESS_KEY_ID")
        .with_aliases(&["access_key_id", "accessKeyId"]),
    Param::text("key", "the secret of the access key; default: AWS_SECRET_ACCESS_KEY")
        .with_aliases(&["secret_access_key", "accessKeySecret"])
        .secret(),
    Param::text("token", "the token of a temporary access key; default: AWS_SESSION_TOKEN")
        .with_aliases(&["session_token", "security_token"])
        .secret(),
    Param::choice(
        "credentials",
        &["auto", "anonymous", "instance"],
        "auto: id and key, or the environment; anonymous: a public bucket; instance: the role of the machine",
    )
    .with_default("auto"),
    Param::choice(
        "addressing",
        &["auto", "path", "virtual"],
        "where the bucket stands: in the path, or in front of the host; auto: in front for Amazon and Alibaba Cloud",
    )
    .with_default("auto"),
    Param::text("ca", "the authorities to trust (PEM, as @FILE); default: those of the machine"),
    Param::duration("oss_connect_timeout", SECOND, "how long connecting may take").with_default("10s"),
    Param::duration("oss_dns_cache_timeout", SECOND, "names are looked up for each connection").ignored(),
    Param::int(
        "oss_speed_limit",
        0,
        i64::MAX,
        "bytes a second below which a transfer is given up after oss_speed_time; 0 is no limit",
    )
    .with_default("1024"),
    Param::duration("oss_speed_time", SECOND, "how long a transfer may be slower than oss_speed_limit")
        .with_default("15s"),
    Param::flag("async", "reading is always ahead of loading").ignored(),
];

/// Two lists of parameters as one.
///
/// # Panics
/// When `N` is not the length of both together; a list that is a constant does not compile then.
pub const fn joined<const N: usize>(first: &[Param], second: &[Param]) -> [Param; N] {
    assert!(first.len() + second.len() == N, "N is the length of both");
    let mut all = [PARAMS[0]; N];
    let mut at = 0;
    while at < N {
        all[at] = if at < first.len() { first[at] } else { second[at - first.len()] };
        at += 1;
    }
    all
}

/// Whose service an address names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// `s3:`
    S3,
    /// `oss:`
    Oss,
}

impl Service {
    /// The driver of its addresses.
    pub fn driver(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Oss => "oss",
        }
    }
}

/// Where the bucket stands in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addressing {
    /// `https://host/bucket/key`
    Path,
    /// `https://bucket.host/key`
    Virtual,
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// An access key.
    Key {
        /// Its id
        id: String,
        /// Its secret
        key: Secret,
        /// The token that goes with it where it is temporary
        token: Option<Secret>,
    },
    /// Whom the environment names: a web identity, a container's role.
    Environment,
    /// The role of the machine.
    Instance,
    /// Nobody: requests are not signed.
    Anonymous,
}

/// When a transfer is too slow to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpeedLimit {
    /// Bytes a second; 0 is no limit.
    pub bytes: u64,
    /// How long it may be slower than that.
    pub time: Duration,
}

impl SpeedLimit {
    /// Whether `bytes` are too few for the time that was waited for them.
    pub(super) fn is_missed(&self, bytes: u64, waited: Duration) -> bool {
        self.bytes > 0 && waited >= self.time && (bytes as f64) < self.bytes as f64 * waited.as_secs_f64()
    }
}

/// A bucket, and how it is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ObjectOptions {
    /// Whose service it is.
    pub service: Service,
    /// The bucket.
    pub bucket: String,
    /// `https://host[:port]` without the bucket; `None` for Amazon's own.
    pub endpoint: Option<String>,
    /// The region that requests are signed for.
    pub region: String,
    /// Who asks.
    pub credentials: Credentials,
    /// Where the bucket stands.
    pub addressing: Addressing,
    /// The authorities to trust (PEM) where they are not those of the machine.
    pub ca: Option<String>,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// When a transfer is given up.
    pub speed: SpeedLimit,
}

impl ObjectOptions {
    /// Those of an address, whose parameters are checked, and what follows the bucket in it: a key, a pattern, a folder.
    /// What is not given comes from the environment of the process.
    ///
    /// # Errors
    /// `Config` for an address without bucket, an endpoint that is none, and an access key of which a part is missing.
    pub fn from_dsn(dsn: &Dsn, params: &Params) -> Result<(Self, Option<String>)> {
        Self::read(dsn, params, &|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    }

    pub(super) fn read(
        dsn: &Dsn,
        params: &Params,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<(Self, Option<String>)> {
        let service = if dsn.driver() == "oss" { Service::Oss } else { Service::S3 };
        let place = Place::of(dsn, params, service, env)?;
        let known = |names: &[&str]| names.iter().find_map(|name| env(name));
        let region = params
            .text("region")
            .map(str::to_owned)
            .or_else(|| place.endpoint.as_deref().and_then(region_of))
            .or_else(|| known(&["AWS_REGION", "AWS_DEFAULT_REGION"]))
            .unwrap_or_else(|| "us-east-1".to_owned());
        let addressing = match params.choice("addressing") {
            Some("path") => Addressing::Path,
            Some("virtual") => Addressing::Virtual,
            // A certificate covers one name in front of its host.
            _ if place.bucket.contains('.') => Addressing::Path,
            _ if place.endpoint.as_deref().is_none_or(is_of_a_cloud) => Addressing::Virtual,
            _ => Addressing::Path,
        };
        let time = |name: &str, default: u64| params.duration(name).unwrap_or(Duration::from_secs(default));
        let options = Self {
            service,
            bucket: place.bucket,
            endpoint: place.endpoint,
            region,
            credentials: credentials(dsn, params, service, env)?,
            addressing,
            ca: params.text("ca").map(str::to_owned),
            connect_timeout: time("oss_connect_timeout", 10),
            speed: SpeedLimit {
                bytes: params
                    .int("oss_speed_limit")
                    .and_then(|bytes| bytes.try_into().ok())
                    .unwrap_or_default(),
                time: time("oss_speed_time", 15).max(Duration::from_millis(1)),
            },
        };
        Ok((options, dsn.object().map(str::to_owned)))
    }

    /// An object as a person names it.
    pub fn place(&self, key: &str) -> String {
        format!("{}://{}/{key}", self.service.driver(), self.bucket)
    }
}

/// Where the bucket is.
struct Place {
    bucket: String,
    endpoint: Option<String>,
}

impl Place {
    fn of(
        dsn: &Dsn,
        params: &Params,
        service: Service,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self> {
        let driver = service.driver();
        let form =
            format!("write {driver}://BUCKET/KEY?endpoint=https://HOST, or {driver}://HOST bucket=BUCKET");
        let [host] = dsn.hosts() else {
            return Err(Error::config(format!("`{driver}:` names no bucket")).with_hint(form));
        };
        let given = params.text("endpoint").map(endpoint).transpose()?;
        let scheme = match dsn.protocol() {
            None | Some("https") => "https",
            Some("http") => "http",
            Some(other) => {
                return Err(Error::config(format!("object storage is not reached by {other:?}"))
                    .with_hint(format!("write {driver}: or {driver}+http: in front of the host")));
            }
        };
        if let Some(bucket) = params.text("bucket") {
            let name = host.name();
            let port = host.port().map(|port| format!(":{port}")).unwrap_or_default();
            let named = if name.contains(':') { format!("[{name}]{port}") } else { format!("{name}{port}") };
            if given.is_some() && name != bucket {
                return Err(Error::config(format!(
                    "the address names the endpoint twice: {named}, and endpoint="
                ))
                .with_hint(form));
            }
            let endpoint = match given {
                Some(endpoint) => endpoint,
                None => endpoint(&format!("{scheme}://{named}"))?,
            };
            return Ok(Self { bucket: bucket.to_owned(), endpoint: Some(endpoint) });
        }
        let bucket = host.name();
        if host.port().is_some() || is_of_a_cloud(&format!("https://{bucket}")) {
            return Err(Error::config(format!("{bucket} is an endpoint, and no bucket is named"))
                .with_hint(format!("add bucket=NAME, or {form}")));
        }
        if dsn.protocol().is_some() {
            return Err(Error::config(format!(
                "{driver}+{scheme}: stands before an endpoint, not before a bucket"
            ))
            .with_hint(format!("write {driver}://{bucket}/...?endpoint={scheme}://HOST")));
        }
        let names: &[&str] = match service {
            Service::S3 => &["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"],
            Service::Oss => &["OSS_ENDPOINT"],
        };
        let endpoint = match given {
            Some(endpoint) => Some(endpoint),
            None => names.iter().find_map(|name| env(name)).map(|text| endpoint(&text)).transpose()?,
        };
        let endpoint = match (endpoint, service) {
            (None, Service::Oss) => match params.text("region") {
                Some(region) => {
                    let region = region.strip_prefix("oss-").unwrap_or(region);
                    Some(format!("https://oss-{region}.aliyuncs.com"))
                }
                None => {
                    return Err(Error::config("an address of OSS names no endpoint").with_hint(
                        "add endpoint=https://oss-cn-hangzhou.aliyuncs.com, as the bucket's page shows it",
                    ));
                }
            },
            (endpoint, _) => endpoint,
        };
        Ok(Self { bucket: bucket.to_owned(), endpoint })
    }
}

/// `https://host[:port]` of what was typed.
fn endpoint(text: &str) -> Result<String> {
    let text = text.trim().trim_end_matches('/');
    let (scheme, host) = text.split_once("://").unwrap_or(("https", text));
    let wrong = |why: &str| {
        Err(Error::config(format!("endpoint={text} is wrong: {why}")).with_hint(
            "write https://HOST[:PORT], without bucket and path; http:// where the service has no TLS",
        ))
    };
    let scheme = scheme.to_ascii_lowercase();
    if scheme != "https" && scheme != "http" {
        return wrong("it is neither https:// nor http://");
    }
    if host.is_empty() || host.contains(['/', '?', '@', ' ']) {
        return wrong("it is no host with a port");
    }
    Ok(format!("{scheme}://{host}"))
}

/// The host of an endpoint, without its port.
fn host_of(endpoint: &str) -> &str {
    let host = endpoint.split_once("://").map_or(endpoint, |(_, host)| host);
    host.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok()).map_or(host, |(host, _)| host)
}

fn is_of_a_cloud(endpoint: &str) -> bool {
    let host = host_of(endpoint).to_ascii_lowercase();
    ["aliyuncs.com", "amazonaws.com", "amazonaws.com.cn"]
        .iter()
        .any(|cloud| host.strip_suffix(cloud).is_some_and(|front| front.is_empty() || front.ends_with('.')))
}

/// `oss-cn-hangzhou` of `oss-cn-hangzhou-internal.aliyuncs.com`, `eu-west-1` of `s3.eu-west-1.amazonaws.com`.
fn region_of(endpoint: &str) -> Option<String> {
    let host = host_of(endpoint);
    let region = match host.strip_suffix(".aliyuncs.com") {
        Some(region) => region.strip_suffix("-internal").unwrap_or(region),
        None => host.strip_prefix("s3.")?.strip_suffix(".cn").unwrap_or(host.strip_prefix("s3.")?),
    };
    let region = region.strip_suffix(".amazonaws.com").unwrap_or(region);
    (!region.contains('.')).then(|| region.to_owned())
}

fn credentials(
    dsn: &Dsn,
    params: &Params,
    service: Service,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Credentials> {
    match params.choice("credentials") {
        Some("anonymous") => return Ok(Credentials::Anonymous),
        Some("instance") => return Ok(Credentials::Instance),
        _ => {}
    }
    let id = params.text("id").or(dsn.user()).map(str::to_owned);
    let key = params.secret("key").or_else(|| dsn.password().cloned());
    let incomplete = |which: &str, other: &str| {
        Err(Error::config(format!("the access key is incomplete: there is {which}, and no {other}"))
            .with_hint("an access key is id= and key=; key=${NAME} takes it from the environment"))
    };
    match (id, key) {
        (Some(id), Some(key)) => return Ok(Credentials::Key { id, key, token: params.secret("token") }),
        (Some(_), None) => return incomplete("an id=", "key="),
        (None, Some(_)) => return incomplete("a key=", "id="),
        (None, None) => {}
    }
    let oss = [["OSS_ACCESS_KEY_ID", "OSS_ACCESS_KEY_SECRET", "OSS_SESSION_TOKEN"]];
    let aws = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"];
    let sets = oss.into_iter().filter(|_| service == Service::Oss).chain([aws]);
    for [id_name, key_name, token] in sets {
        match (env(id_name), env(key_name)) {
            (Some(id), Some(key)) => {
                let token = params.secret("token").or_else(|| env(token).map(Secret::from));
                return Ok(Credentials::Key { id, key: key.into(), token });
            }
            (Some(_), None) => return incomplete(id_name, key_name),
            (None, Some(_)) => return incomplete(key_name, id_name),
            (None, None) => {}
        }
    }
    let roles = [
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    ];
    if roles.iter().any(|name| env(name).is_some()) {
        return Ok(Credentials::Environment);
    }
    Err(Error::config("there is no access key for the bucket").with_hint(
        "add id= and key=, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; credentials=instance takes the role of \
         the machine, credentials=anonymous none",
    ))
}
