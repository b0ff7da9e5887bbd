//! The parameters of the InfluxDB source.

use std::sync::Arc;
use std::time::Duration;

use kwsync_core::config::{Dsn, Param, Params, Secret};
use kwsync_core::{Error, Result};

use crate::relational::{CursorOptions, items};
use crate::series::{HttpOptions, Range, http_of};

/// The parameters.
pub static PARAMS: &[Param] = &[
    Param::text("version", "the version of the server, as 1.7 or 2.x: it decides how to log in and to ask").required(),
    Param::text("username", "version 1: the user, who may read the database").with_aliases(&["user"]),
    Param::text("password", "version 1: the password").secret(),
    Param::text("orgId", "version 2: the organization, by id or name").with_aliases(&["org", "org_id"]),
    Param::text("token", "version 2: an API token that may read the bucket").secret(),
    Param::text("bucket", "version 1: the database, as DB or DB/RETENTION_POLICY; version 2: the bucket")
        .with_aliases(&["database", "db"])
        .required(),
    Param::list("measurements", "the measurements; default: all").with_aliases(&["measurement", "tables", "table"]),
    Param::text("columns", "fields and tags, between commas; default: all"),
    Param::text(
        "beginTime",
        "the time to begin at, as 2023-06-01T00:00:00+0800, ...Z or, in UTC, without a zone",
    )
    .with_aliases(&["begin", "begin_time", "beginDateTime"])
    .required(),
    Param::text("endTime", "the time before which reading ends; without it reading goes on")
        .with_aliases(&["end", "end_time", "endDateTime"]),
    Param::choice(
        "readWindow",
        &["D", "H", "M"],
        "a query takes in a day, an hour or a minute, and more where there are few points",
    )
    .with_default("M")
    .with_aliases(&["read_window"]),
    Param::int("window_s", 1, 1 << 31, "as readWindow, in seconds").with_aliases(&["splitIntervalS"]),
    Param::duration(
        "lag",
        Duration::from_secs(1),
        "read a point only when the server's clock has passed it by so much, so that points that are late by less are not \
         missed; default: 10s where reading goes on, else none",
    )
    .with_aliases(&["excursion"]),
    Param::duration("query_interval", Duration::from_secs(1), "how long to wait between two looks for new points")
        .with_default("1s")
        .with_aliases(&["interval"]),
    Param::duration(
        "poll_interval",
        Duration::from_secs(1),
        "how long to wait between two looks for measurements that are new or gone",
    )
    .with_default("5s"),
    Param::int("batch_rows", 1, 1 << 20, "most rows of a batch, save where more have one time").with_default("65536"),
    Param::size("batch_size", "most bytes of a batch, as the server sends them").with_default("8MiB"),
    Param::text("ca", "with +https: certificates of the authorities to trust (PEM), as @FILE; default: those of the machine"),
    Param::duration("connect_timeout", Duration::from_secs(1), "how long connecting may take").with_default("10s"),
    Param::duration("timeout", Duration::from_secs(1), "how long the server may be silent").with_default("5m"),
];

/// The version that is spoken, and what it asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InfluxVersion {
    /// InfluxQL over `/query`.
    V1 {
        /// The retention policy; none for the default one.
        retention_policy: Option<String>,
    },
    /// Flux over `/api/v2/query`.
    V2 {
        /// The organization, by id or name.
        org: String,
    },
}

/// How [`InfluxSource`](super::InfluxSource) reads. `Debug` hides password and token.
#[derive(Clone, Debug)]
pub struct InfluxOptions {
    pub(super) http: Arc<HttpOptions>,
    /// As the operator wrote it.
    pub(super) asked_version: String,
    pub(super) version: InfluxVersion,
    /// The database, or the bucket.
    pub(super) bucket: String,
    pub(super) measurements: Vec<String>,
    pub(super) columns: Vec<String>,
    /// Nanoseconds.
    pub(super) window: i128,
    pub(super) batch_rows: usize,
    pub(super) batch_bytes: usize,
    pub(super) cursor: CursorOptions,
}

impl InfluxOptions {
    /// The options of an address and its checked parameters.
    ///
    /// # Errors
    /// `Config` for what is missing or contradicts itself: host, version, login, times.
    pub fn from_dsn(dsn: &Dsn, params: &Params) -> Result<Self> {
        const FORM: &str = "influxdb+http://HOST:8086/?version=1.7&username=USER&password=...&bucket=DB&beginTime=2023-06-01T00:00:00Z";
        let mut http = http_of(dsn, params, "InfluxDB", 8086, FORM)?;
        let text =
            |name: &str| params.text(name).map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned);
        let asked_version = text("version").unwrap_or_default();
        let bucket = text("bucket").unwrap_or_default();
        if bucket.contains(',') {
            return Err(Error::config(format!("bucket={bucket}: one bucket at a time"))
                .with_hint("run a job for each bucket"));
        }
        let (version, bucket) = match asked_version.trim_start_matches(['v', 'V']).split('.').next() {
            Some("1") => {
                let user = text("username")
                    .or_else(|| dsn.user().map(str::to_owned))
                    .filter(|user| !user.is_empty());
                let password = params.secret("password").or_else(|| dsn.password().cloned());
                match (user, password) {
                    (Some(user), password) => http.log_in(&user, password.as_ref()),
                    (None, Some(_)) => {
                        return Err(
                            Error::config("there is a password and no user").with_hint("add username=USER")
                        );
                    }
                    (None, None) => {}
                }
                let (database, policy) = match bucket.split_once('/') {
                    Some((database, policy)) => (database.to_owned(), Some(policy.to_owned())),
                    None => (bucket, None),
                };
                let retention_policy = policy.filter(|policy| !policy.is_empty());
                (InfluxVersion::V1 { retention_policy }, database)
            }
            Some("2") => {
                let (org, token) = (text("orgId"), params.secret("token"));
                let (Some(org), Some(token)) = (org, token) else {
                    return Err(Error::config(format!("version={asked_version} needs orgId= and token="))
                        .with_hint("InfluxDB 2 logs in by an API token, of an organization; user and password are of version 1"));
                };
                http.authorization = Some(Secret::new(format!("Token {}", token.expose())));
                (InfluxVersion::V2 { org }, bucket)
            }
            _ => {
                return Err(Error::config(format!("version={asked_version}: only 1.x and 2.x are known"))
                    .with_hint(
                        "InfluxDB 3 answers to version=1.x where it has the InfluxQL interface of version 1",
                    ));
            }
        };
        let range = Range::of(params)?;
        let window = params.int("window_s").map_or(range.unit, |seconds| i128::from(seconds) * 1_000_000_000);
        let size = params.size("batch_size").and_then(|bytes| usize::try_from(bytes).ok());
        let batch_rows =
            params.int("batch_rows").and_then(|rows| usize::try_from(rows).ok()).unwrap_or(65_536);
        Ok(Self {
            http: Arc::new(http),
            asked_version,
            version,
            bucket,
            measurements: params.list("measurements").to_vec(),
            columns: params
                .text("columns")
                .map(|text| items("columns", text))
                .transpose()?
                .unwrap_or_default(),
            window,
            batch_rows,
            batch_bytes: size.unwrap_or(8 << 20).clamp(1 << 10, 1 << 30),
            cursor: range.cursor(params, batch_rows),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relational::Mode;

    fn options(address: &str) -> Result<InfluxOptions> {
        let dsn: Dsn = address.parse().unwrap();
        let params = Params::parse("influxdb", PARAMS, dsn.params())?;
        InfluxOptions::from_dsn(&dsn, &params)
    }

    #[test]
    fn the_addresses_of_the_manual() {
        let made = options("influxdb+http://192.168.1.10:8086/?version=1.7&username=test&password=123456&bucket=test_bucket&measurements=&beginTime=2023-06-01T00:00:00+0800&readWindow=M").unwrap();
        assert_eq!(
            (made.bucket.as_str(), made.measurements.len(), made.window),
            ("test_bucket", 0, 60_000_000_000)
        );
        assert_eq!(made.version, InfluxVersion::V1 { retention_policy: None });
        assert_eq!(made.http.authorization.as_ref().unwrap().expose(), "Basic dGVzdDoxMjM0NTY=");
        assert_eq!(
            (made.cursor.mode, made.cursor.begin.as_deref()),
            (Mode::All, Some("1685548800000000000"))
        );
        assert!(!format!("{made:?}").contains("dGVzdDox"), "{made:?}");
        let made = options("influxdb+http://192.168.1.10:8086/?version=2.7&orgId=3233855dc7e37d8d&token=OZ2sB6Ie6qcKcYAmcHnL-i3STfLVg_IRPQjPIzjsAQ4aUxCWzYhDesNape1tp8IsX9AH0ld41C-clTgo08CGYA==&bucket=test_bucket&measurements=&beginTime=2023-06-01T00:00:00+0800&readWindow=M").unwrap();
        assert_eq!(made.version, InfluxVersion::V2 { org: "3233855dc7e37d8d".to_owned() });
        assert!(!format!("{made:?}").contains("OZ2sB6Ie"), "{made:?}");
        let made = options("influxdb+https://h/?version=1.x&bucket=db/two%20weeks&measurements=a,b&beginTime=2023-06-01&endTime=2023-06-02&readWindow=d").unwrap();
        assert_eq!(made.version, InfluxVersion::V1 { retention_policy: Some("two weeks".to_owned()) });
        assert_eq!((made.http.tls, made.http.port, made.window), (true, 8086, 86_400_000_000_000));
        assert_eq!((made.cursor.mode, made.cursor.lag, made.measurements.len()), (Mode::History, None, 2));
    }

    #[test]
    fn addresses_say_what_to_do() {
        for (parameters, expected) in [
            ("bucket=b&beginTime=2023-06-01", "`version` is missing"),
            ("version=1.7&beginTime=2023-06-01", "`bucket` is missing"),
            ("version=1.7&bucket=b", "`beginTime` is missing"),
            ("version=3.0&bucket=b&beginTime=2023-06-01", "only 1.x and 2.x are known"),
            ("version=1.7&bucket=a,b&beginTime=2023-06-01", "one bucket at a time"),
            ("version=1.7&bucket=b&beginTime=June", "beginTime=June: this is no time"),
            (
                "version=1.7&bucket=b&beginTime=2023-06-01&endTime=2023-05-01",
                "endTime is not after beginTime",
            ),
            ("version=1.7&bucket=b&beginTime=2023-06-01&readWindow=W", "readWindow"),
            ("version=1.7&bucket=b&beginTime=2023-06-01&password=hunter2", "add username=USER"),
            (
                "version=2.7&bucket=b&beginTime=2023-06-01&username=u&password=hunter2",
                "needs orgId= and token=",
            ),
            ("version=1.7&bucket=b&beginTim=2023-06-01", "did you mean `beginTime`?"),
        ] {
            let error = options(&format!("influxdb+http://h:8086/?{parameters}")).unwrap_err().report();
            assert!(error.contains(expected) && !error.contains("hunter2"), "{parameters}: {error}");
        }
        for (address, expected) in [
            ("influxdb+udp://h/?version=1.7&bucket=b&beginTime=2023-06-01", "not reached by \"udp\""),
            ("influxdb://h,i/?version=1.7&bucket=b&beginTime=2023-06-01", "names one server"),
            ("influxdb://h/db?version=1.7&bucket=b&beginTime=2023-06-01", "the path \"db\""),
        ] {
            let error = options(address).unwrap_err().report();
            assert!(error.contains(expected), "{address}: {error}");
        }
    }
}
