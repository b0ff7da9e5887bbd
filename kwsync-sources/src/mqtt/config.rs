//! The parameters of the MQTT source.

use std::str::FromStr;
use std::time::Duration;

use kwsync_core::config::{Dsn, Param, Params, Secret};
use kwsync_core::{Error, Result};

/// The parameters, beside those of the format.
pub static PARAMS: &[Param] = &[
    Param::list("topics", "topics as FILTER::QOS, with the wildcards + and #; without ::QOS it is 1")
        .required(),
    Param::text(
        "client_id",
        "the name of the session at the broker, which only one client may have at a time",
    )
    .required(),
    Param::choice("version", &["3.1", "3.1.1", "5.0", "5"], "the version of MQTT; 3.1 is spoken as 3.1.1")
        .with_default("3.1"),
    Param::flag("clean_session", "whether the broker forgets the session, and what was published meanwhile")
        .with_default("true"),
    Param::duration("keep_alive", Duration::from_secs(1), "how long the connection may be silent")
        .with_default("60s"),
    Param::text("ca", "certificates of the authorities to trust (PEM), as @FILE; TLS is used then"),
    Param::text("cert", "our own certificate (PEM), as @FILE; TLS is used then"),
    Param::text("cert_key", "its key (PEM), as @FILE").secret(),
    Param::duration("connect_timeout", Duration::from_secs(1), "how long connecting may take")
        .with_default("10s"),
    Param::duration_or_never("timeout", Duration::from_millis(1), "end when no message comes for so long")
        .with_default("never"),
    Param::duration(
        "linger",
        Duration::from_millis(1),
        "how long a message waits for others before it is committed",
    )
    .with_default("20ms"),
    Param::int("receive_maximum", 1, 65_535, "with 5.0: most messages that are not acknowledged")
        .with_default("4096"),
    Param::text("log_level", "ignored: -v says more").ignored(),
];

/// What a broker promises for a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Qos {
    /// At most once.
    AtMostOnce,
    /// At least once.
    AtLeastOnce,
    /// Exactly once.
    ExactlyOnce,
}

/// The version that is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MqttVersion {
    /// 3.1.1
    V4,
    /// 5.0
    V5,
}

/// A topic to listen to, as `sensors/+/temperature::1`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TopicFilter {
    /// The topic, which may have the wildcards `+` and `#`.
    pub filter: String,
    /// The most that is asked of the broker.
    pub qos: Qos,
}

impl FromStr for TopicFilter {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (filter, qos) = match text.rsplit_once("::") {
            Some((filter, qos)) => (filter, qos.trim()),
            None => (text, "1"),
        };
        let qos = match qos {
            "0" => Qos::AtMostOnce,
            "1" => Qos::AtLeastOnce,
            "2" => Qos::ExactlyOnce,
            other => {
                return Err(Error::config(format!("topic {text:?}: {other:?} is no quality of service"))
                    .with_hint("write FILTER::0, FILTER::1 or FILTER::2"));
            }
        };
        let levels: Vec<&str> = filter.split('/').collect();
        let misplaced = levels.iter().enumerate().any(|(index, level)| {
            level.contains('#') && (*level != "#" || index + 1 != levels.len())
                || level.contains('+') && *level != "+"
        });
        if filter.is_empty() || filter.contains('\0') || misplaced {
            return Err(Error::config(format!("{filter:?} is no topic")).with_hint(
                "# stands alone in the last level, + alone in any: sensors/+/temperature, sensors/#",
            ));
        }
        Ok(Self { filter: filter.to_owned(), qos })
    }
}

/// What [`MqttSource`](super::MqttSource) connects to, and how. `Debug` hides password and key.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MqttOptions {
    /// Name or number of the broker.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// User and password.
    pub credentials: Option<(String, Secret)>,
    /// What to listen to.
    pub topics: Vec<TopicFilter>,
    /// The name of the session.
    pub client_id: String,
    /// The version.
    pub version: MqttVersion,
    /// Whether the broker forgets the session.
    pub clean_session: bool,
    /// How long the connection may be silent.
    pub keep_alive: Duration,
    /// Certificates of the authorities to trust (PEM); TLS is used where there are some.
    pub ca: Option<String>,
    /// Our own certificate and key (PEM).
    pub identity: Option<(String, Secret)>,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// The end, when no message comes for so long; [`Duration::MAX`] is never.
    pub timeout: Duration,
    /// How long a message waits for others before it is committed.
    pub linger: Duration,
    /// Most messages that are not acknowledged (5.0).
    pub receive_maximum: u16,
}

impl MqttOptions {
    /// The defaults, for one broker.
    pub fn new(
        host: impl Into<String>,
        port: u16,
        client_id: impl Into<String>,
        topics: Vec<TopicFilter>,
    ) -> Self {
        Self {
            host: host.into(),
            port,
            credentials: None,
            topics,
            client_id: client_id.into(),
            version: MqttVersion::V4,
            clean_session: true,
            keep_alive: Duration::from_secs(60),
            ca: None,
            identity: None,
            connect_timeout: Duration::from_secs(10),
            timeout: Duration::MAX,
            linger: Duration::from_millis(20),
            receive_maximum: 4096,
        }
    }

    /// The options of an address and its checked parameters.
    ///
    /// # Errors
    /// `Config` for a topic that is none, and for parts that do not go together.
    pub fn from_dsn(dsn: &Dsn, params: &Params) -> Result<Self> {
        let [host] = dsn.hosts() else {
            return Err(Error::config("an address of MQTT names one broker")
                .with_hint("mqtt://user:password@host:1883?topics=sensors/#::1&client_id=kwsync"));
        };
        let text = |name: &str| params.text(name).filter(|text| !text.is_empty()).map(str::to_owned);
        let ca = text("ca");
        let identity = match (text("cert"), text("cert_key")) {
            (Some(cert), Some(key)) => Some((cert, key.into())),
            (None, None) => None,
            _ => {
                return Err(Error::config("cert and cert_key go together")
                    .with_hint("give both: cert=@client.crt&cert_key=@client.key"));
            }
        };
        let tls = dsn.driver() == "mqtts" || ca.is_some() || identity.is_some();
        if tls && ca.is_none() {
            return Err(Error::config("TLS needs the authorities to trust")
                .with_hint("give their certificates: ca=@ca.crt"));
        }
        let topics =
            params.list("topics").iter().map(|text| text.parse()).collect::<Result<Vec<TopicFilter>>>()?;
        let clean_session = params.flag("clean_session");
        if clean_session && topics.iter().any(|topic| topic.qos > Qos::AtMostOnce) {
            tracing::warn!(
                "clean_session=true: what is published while this job does not run is lost; clean_session=false keeps it"
            );
        }
        if !clean_session && topics.iter().any(|topic| topic.qos == Qos::ExactlyOnce) {
            tracing::warn!("clean_session=false: topics with ::2 are listened to with QoS 1");
        }
        let version = match params.choice("version") {
            Some("5.0" | "5") => MqttVersion::V5,
            Some("3.1") => {
                tracing::warn!("MQTT 3.1 is spoken as 3.1.1");
                MqttVersion::V4
            }
            _ => MqttVersion::V4,
        };
        let user = dsn.user().filter(|user| !user.is_empty());
        let time = |name: &str, default: Duration| params.duration(name).unwrap_or(default);
        let defaults = Self::new(host.name(), host.port_or(if tls { 8883 } else { 1883 }), "", topics);
        Ok(Self {
            credentials: user
                .map(|user| (user.to_owned(), dsn.password().cloned().unwrap_or_else(|| Secret::new("")))),
            client_id: text("client_id").unwrap_or_default(),
            version,
            clean_session,
            keep_alive: time("keep_alive", defaults.keep_alive),
            ca,
            identity,
            connect_timeout: time("connect_timeout", defaults.connect_timeout),
            timeout: time("timeout", defaults.timeout),
            linger: time("linger", defaults.linger),
            receive_maximum: params
                .int("receive_maximum")
                .and_then(|n| u16::try_from(n).ok())
                .unwrap_or(4096),
            ..defaults
        })
    }

    /// Whether the broker hands out again what was not acknowledged.
    pub fn redelivers(&self) -> bool {
        !self.clean_session && self.topics.iter().all(|topic| topic.qos > Qos::AtMostOnce)
    }

    /// The quality that is asked for. A session that is kept begins anew without what this program knew of a handshake of
    /// QoS 2, which the broker would not forget: with QoS 1 and a commit before each acknowledgement nothing is lost either.
    pub(super) fn asked(&self, topic: &TopicFilter) -> Qos {
        if self.clean_session { topic.qos } else { topic.qos.min(Qos::AtLeastOnce) }
    }

    /// The broker as a person names it.
    pub(super) fn place(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_read_with_their_quality() {
        for (text, filter, qos) in [
            ("a/b", "a/b", Qos::AtLeastOnce),
            ("testtopic/1::2", "testtopic/1", Qos::ExactlyOnce),
            ("+/x/#::0", "+/x/#", Qos::AtMostOnce),
            ("a::b::1", "a::b", Qos::AtLeastOnce),
        ] {
            assert_eq!(text.parse::<TopicFilter>().unwrap(), TopicFilter { filter: filter.into(), qos });
        }
        for text in ["a::3", "a::", "::1", "a#", "a/#/b", "a+/b", ""] {
            assert!(text.parse::<TopicFilter>().is_err(), "{text}");
        }
    }

    fn options(address: &str) -> Result<MqttOptions> {
        let dsn: Dsn = address.parse().unwrap();
        let params = Params::parse("mqtt", PARAMS, dsn.params())?;
        MqttOptions::from_dsn(&dsn, &params)
    }

    #[test]
    fn addresses_say_what_to_do() {
        let made = options("mqtt://u:secret@h:8883?topics=testtopic/1::2,b&version=3.1&clean_session=true&log_level=info&client_id=taosdata_1234&keep_alive=60&ca=PEM&cert=PEM&cert_key=topsecret").unwrap();
        assert_eq!((made.port, made.topics.len(), made.keep_alive), (8883, 2, Duration::from_secs(60)));
        let shown = format!("{made:?}");
        assert!(!shown.contains("secret"), "{shown}");
        assert!(!made.redelivers());
        let made = options("mqtt://h?topics=a&client_id=c&clean_session=false&timeout=500").unwrap();
        assert_eq!((made.port, made.timeout), (1883, Duration::from_millis(500)));
        assert!(made.redelivers());
        for (address, expected) in [
            ("mqtt://h?client_id=c", "topics"),
            ("mqtt://h?topics=a", "client_id"),
            ("mqtt://h?topics=a::9&client_id=c", "quality of service"),
            ("mqtt://h?topics=a&client_id=c&version=4", "3.1.1"),
            ("mqtt://h?topics=a&client_id=c&cert=x", "go together"),
            ("mqtts://h?topics=a&client_id=c", "ca=@ca.crt"),
            ("mqtt://h,i?topics=a&client_id=c", "one broker"),
            ("mqtt://h?topics=a&clientid=c", "did you mean `client_id`?"),
        ] {
            let error = options(address).unwrap_err().report();
            assert!(error.contains(expected), "{address}: {error}");
        }
    }
}
