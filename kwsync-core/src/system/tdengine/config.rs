//! Addresses.

use std::sync::Arc;
use std::time::Duration;

use crate::config::{Dsn, Params, Secret};
use crate::system::http::{HttpOptions, encode};
use crate::{Error, ErrorKind, Result};

/// The port of taosAdapter.
pub const DEFAULT_PORT: u16 = 6041;
/// The port of the native protocol.
const NATIVE_PORT: u16 = 6030;

const FORM: &str = "taos+http://USER:PASSWORD@HOST:6041/DATABASE";

/// How to reach a server, and what of it is meant.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnectConfig {
    /// Where it listens, and who asks.
    pub http: Arc<HttpOptions>,
    /// The database.
    pub database: String,
    /// The table behind the database, where the address names one.
    pub table: Option<String>,
}

impl ConnectConfig {
    /// A server without TLS, with the user `root` and the password that TDengine is installed with.
    pub fn new(host: impl Into<String>, port: u16, database: impl Into<String>) -> Self {
        let mut http = HttpOptions::new("TDengine (taosAdapter)", host, port);
        http.log_in("root", Some(&Secret::from("taosdata")));
        Self { http: Arc::new(http), database: database.into(), table: None }
    }

    /// What an address and its parameters `token`, `ca`, `connect_timeout` and `timeout` say.
    ///
    /// # Errors
    /// `Config` for several hosts, no database, or another protocol; `Unsupported` for the native one.
    pub fn from_params(dsn: &Dsn, params: &Params) -> Result<Self> {
        let tls = match dsn.protocol() {
            None | Some("http" | "ws") => false,
            Some("https" | "wss") => true,
            Some(other) => {
                return Err(Error::config(format!("TDengine is not reached by {other:?}"))
                    .with_hint(format!("write {FORM}, or taos+https, taos+ws, taos+wss")));
            }
        };
        let (host, port) = match dsn.hosts() {
            [] => ("localhost", DEFAULT_PORT),
            [host] => (host.name(), host.port_or(DEFAULT_PORT)),
            _ => {
                return Err(
                    Error::config("an address of TDengine names one server").with_hint(FORM.to_owned())
                );
            }
        };
        if port == NATIVE_PORT {
            let text = format!(
                "{host}:{NATIVE_PORT} is TDengine's native protocol, which needs TDengine's own client library and is not spoken here"
            );
            return Err(Error::new(ErrorKind::Unsupported, text).with_hint(format!(
                "give the port of taosAdapter, which comes with every TDengine 3: {}://{host}:{DEFAULT_PORT}/{}; libraryPath and configDir \
                 are not needed then",
                dsn.scheme(),
                dsn.object().unwrap_or("DATABASE"),
            )));
        }
        let object = dsn.object().unwrap_or_default().trim_matches('/');
        let (database, table) = match object.split_once('.') {
            Some((database, table)) => (database, Some(table)),
            None => (object, None),
        };
        if database.is_empty() || table == Some("") {
            return Err(Error::config("the address names no database").with_hint(FORM.to_owned()));
        }
        super::database_name(database).map_err(|error| Error::config(error.message().to_owned()))?;
        let mut http = HttpOptions::new("TDengine (taosAdapter)", host, port);
        http.tls = tls;
        http.ca = params.text("ca").map(str::to_owned);
        let time = |name: &str, default: u64| params.duration(name).unwrap_or(Duration::from_secs(default));
        http.connect_timeout = time("connect_timeout", 10);
        http.timeout = time("timeout", 300);
        let token = params.secret("token");
        match (dsn.user().filter(|user| !user.is_empty()), &token) {
            (Some(user), _) => http.log_in(user, dsn.password()),
            (None, None) => http.log_in("root", Some(&Secret::from("taosdata"))),
            (None, Some(_)) => {}
        }
        http.query = token.map(|token| Secret::new(format!("token={}", encode(token.expose()))));
        Ok(Self { http: Arc::new(http), database: database.to_owned(), table: table.map(str::to_owned) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Param;

    static PARAMS: &[Param] = &[
        Param::text("token", "a token").secret(),
        Param::text("ca", "authorities"),
        Param::duration("connect_timeout", Duration::from_secs(1), "patience"),
        Param::duration("timeout", Duration::from_secs(1), "patience"),
    ];

    fn config(address: &str) -> Result<ConnectConfig> {
        let dsn: Dsn = address.parse().unwrap();
        ConnectConfig::from_params(&dsn, &Params::parse("taos", PARAMS, dsn.params())?)
    }

    #[test]
    fn addresses_of_the_manual() {
        for (address, place, tls, database, table) in [
            ("taos://root:taosdata@h/db1", "h:6041", false, "db1", None),
            ("taos+http://192.168.1.20:6041/test_db", "192.168.1.20:6041", false, "test_db", None),
            ("taos+ws://h:6041/db1", "h:6041", false, "db1", None),
            ("taos+wss://h/db1?token=hunter2", "h:6041", true, "db1", None),
            ("taos:///db1", "localhost:6041", false, "db1", None),
            ("taos://h/db.meters", "h:6041", false, "db", Some("meters")),
            ("jdbc:TAOS-RS://127.0.0.1:6041/test_db", "127.0.0.1:6041", false, "test_db", None),
        ] {
            let made = config(address).unwrap();
            assert_eq!((made.http.place().as_str(), made.http.tls), (place, tls), "{address}");
            assert_eq!((made.database.as_str(), made.table.as_deref()), (database, table), "{address}");
            assert_eq!(made.http.authorization.is_none(), address.contains("token"), "{address}");
            assert!(!format!("{made:?}").contains("hunter2") && !format!("{made:?}").contains("dGFvc2RhdGE"));
        }
    }

    #[test]
    fn addresses_say_what_to_do() {
        for (address, wanted) in [
            ("taos://td1:6030/db1", "taos://td1:6041/db1"),
            ("taos+telnet://h/db", "not reached by \"telnet\""),
            ("taos://h", "names no database"),
            ("taos://h/db.", "names no database"),
            ("taos://a,b/db", "names one server"),
            ("taos://h/d`b", "d`b"),
        ] {
            let error = config(address).unwrap_err().report();
            assert!(error.contains(wanted), "{address}: {error}");
        }
    }
}
