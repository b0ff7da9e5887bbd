//! What the servers that speak PostgreSQL's protocol can do.
//!
//! A [`Profile`] is a table of facts about one server. It is [probed](Profile::probe) when a session opens, or chosen by
//! name. Whoever writes to a server asks the profile what it may send, and never the server's name.

use std::fmt;
use std::str::FromStr;

#[cfg(feature = "postgres")]
use super::wire::Connection;
use crate::{Error, Result};

/// A kind of server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Server {
    /// PostgreSQL, and what keeps to it (TimescaleDB, Citus, PolarDB).
    PostgreSql,
    /// A relational database of KWDB.
    Kwdb,
    /// A time-series database of KWDB.
    KwdbTimeSeries,
    /// Greenplum and AnalyticDB for PostgreSQL.
    Greenplum,
    /// CockroachDB.
    Cockroach,
}

impl Server {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::PostgreSql, Self::Kwdb, Self::KwdbTimeSeries, Self::Greenplum, Self::Cockroach];

    /// The name by which it is chosen.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PostgreSql => "postgres",
            Self::Kwdb => "kwdb",
            Self::KwdbTimeSeries => "kwdb-ts",
            Self::Greenplum => "greenplum",
            Self::Cockroach => "cockroach",
        }
    }

    /// Where servers listen that an address of this scheme means, unless it says otherwise.
    pub fn default_port(scheme: &str) -> u16 {
        match scheme {
            "kwdb" | "kaiwudb" | "cockroach" | "cockroachdb" | "crdb" => 26_257,
            "adb" | "analyticdb" | "adb4pg" => 3_432,
            _ => 5_432,
        }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Server {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|server| server.as_str() == text).ok_or_else(|| {
            let known: Vec<_> = Self::ALL.iter().map(|server| server.as_str()).collect();
            Error::config(format!("{text:?} is no profile"))
                .with_hint(format!("known are {}", known.join(", ")))
        })
    }
}

/// What one server can do.
///
/// # Examples
/// ```
/// use kwsync_core::system::postgres::profile::{Profile, Server};
///
/// let ts = Profile::of(Server::KwdbTimeSeries, None);
/// assert!(!ts.copy_text && !ts.transactions);
/// let gp = Profile::from_version("PostgreSQL 9.4.24 (Greenplum Database 6.20.0 build commit:abc)", false);
/// assert_eq!(gp.server, Server::Greenplum);
/// assert!(gp.copy_binary && !gp.on_conflict);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Profile {
    /// The kind of server.
    pub server: Server,
    /// The version of PostgreSQL that it is, or is made from, major and minor.
    pub version: (u16, u16),
    /// COPY BINARY into tables.
    pub copy_binary: bool,
    /// COPY TEXT into tables.
    pub copy_text: bool,
    /// COPY may share a query with other statements.
    pub copy_beside_others: bool,
    /// Prepared INSERTs with binary parameters store what was sent.
    pub prepared_insert: bool,
    /// Transactions hold for the rows written, and can be rolled back.
    pub transactions: bool,
    /// Savepoints within them.
    pub savepoints: bool,
    /// `SET CONSTRAINTS`.
    pub deferrable: bool,
    /// `INSERT ... ON CONFLICT`.
    pub on_conflict: bool,
    /// Rows that replaced others can be told by `xmax`.
    pub xmax: bool,
    /// Statistics tell how many rows a transaction has updated; known only once a server was [asked](Self::probe).
    pub statistics: bool,
    /// Statements are ended after a time (`statement_timeout`), be it by the role's or the database's setting or the session's;
    /// known only once a server was [asked](Self::probe).
    pub timed: bool,
    /// Temporary tables.
    pub temp_tables: bool,
    /// `unnest` of several arrays.
    pub unnest: bool,
    /// `CREATE UNLOGGED TABLE`.
    pub unlogged: bool,
    /// Tables are spread over nodes: `DISTRIBUTED BY`, and storage options by `WITH`.
    pub distributed: bool,
    /// Tables have tags and primary tags.
    pub tags: bool,
    /// numeric has infinities.
    pub numeric_infinity: bool,
    /// The longest name, in bytes.
    pub name_bytes: usize,
    /// The longest message that it takes, in bytes.
    pub message_bytes: usize,
}

impl Profile {
    /// The facts of a kind of server; `version` is the one of PostgreSQL that it is made from, where that is known.
    pub fn of(server: Server, version: Option<(u16, u16)>) -> Self {
        let default = match server {
            Server::PostgreSql => (12, 0),
            Server::Kwdb | Server::KwdbTimeSeries | Server::Cockroach => (9, 5),
            Server::Greenplum => (9, 4),
        };
        let version = version.unwrap_or(default);
        let base = Self {
            server,
            version,
            copy_binary: true,
            copy_text: true,
            copy_beside_others: true,
            prepared_insert: true,
            transactions: true,
            savepoints: true,
            deferrable: true,
            on_conflict: version >= (9, 5),
            xmax: true,
            statistics: false,
            timed: false,
            temp_tables: true,
            unnest: version >= (9, 4),
            unlogged: true,
            distributed: false,
            tags: false,
            numeric_infinity: version >= (14, 0),
            name_bytes: 63,
            message_bytes: 1 << 30,
        };
        match server {
            Server::PostgreSql => base,
            // Its ON CONFLICT asks for the distribution key, and its segments do not agree on xmax.
            Server::Greenplum => Self { deferrable: false, xmax: false, distributed: true, ..base },
            Server::Cockroach => Self {
                copy_beside_others: false,
                deferrable: false,
                xmax: false,
                temp_tables: false,
                unlogged: false,
                ..base
            },
            Server::Kwdb => Self {
                copy_binary: false,
                copy_beside_others: false,
                deferrable: false,
                xmax: false,
                temp_tables: false,
                unnest: false,
                unlogged: false,
                name_bytes: 128,
                message_bytes: 128 << 20,
                ..base
            },
            // Prepared INSERTs go around its type checks: timestamps and tags are corrupted silently.
            Server::KwdbTimeSeries => Self {
                copy_binary: false,
                copy_text: false,
                copy_beside_others: false,
                prepared_insert: false,
                transactions: false,
                savepoints: false,
                deferrable: false,
                on_conflict: false,
                xmax: false,
                temp_tables: false,
                unnest: false,
                unlogged: false,
                tags: true,
                name_bytes: 128,
                message_bytes: 128 << 20,
                ..base
            },
        }
    }

    /// The profile of a server that answers so to `SELECT version()`; `time_series` tells a database of that kind.
    pub fn from_version(banner: &str, time_series: bool) -> Self {
        let number = |prefix: &str| {
            let rest = banner.split_once(prefix)?.1;
            let mut parts = rest.split(|c: char| !c.is_ascii_digit());
            let major = parts.next()?.parse().ok()?;
            Some((major, parts.next().and_then(|minor| minor.parse().ok()).unwrap_or(0)))
        };
        if banner.contains("KaiwuDB") || banner.contains("KWDB") {
            Self::of(if time_series { Server::KwdbTimeSeries } else { Server::Kwdb }, None)
        } else if banner.contains("CockroachDB") {
            Self::of(Server::Cockroach, None)
        } else if banner.contains("Greenplum") || banner.contains("AnalyticDB") {
            Self::of(Server::Greenplum, number("PostgreSQL "))
        } else {
            Self::of(Server::PostgreSql, number("PostgreSQL "))
        }
    }

    /// Asks a server what it is.
    ///
    /// # Errors
    /// What the server says.
    ///
    /// # Cancel safety
    /// Dropping the future breaks the session.
    #[cfg(feature = "postgres")]
    pub async fn probe(connection: &mut Connection) -> Result<Self> {
        let banner = first(connection, "SELECT version()").await?;
        let time_series = (banner.contains("KaiwuDB") || banner.contains("KWDB"))
            && first(
                connection,
                "SELECT databatype FROM pg_catalog.pg_database WHERE datname = current_database()",
            )
            .await?
            .contains("SERIES");
        let mut profile = Self::from_version(&banner, time_series);
        if profile.server == Server::PostgreSql {
            profile.statistics = first(connection, "SHOW track_counts").await? == "on";
        }
        // Not asked of KWDB, whose answer nobody has seen.
        if !matches!(profile.server, Server::Kwdb | Server::KwdbTimeSeries) {
            profile.timed = first(connection, "SHOW statement_timeout").await? != "0";
        }
        Ok(profile)
    }

    /// Every fact with its name, for a person to read.
    pub fn facts(&self) -> Vec<(&'static str, String)> {
        let yes = |is: bool| if is { "yes" } else { "no" }.to_owned();
        vec![
            ("server", self.server.to_string()),
            ("PostgreSQL version", format!("{}.{}", self.version.0, self.version.1)),
            ("COPY BINARY", yes(self.copy_binary)),
            ("COPY TEXT", yes(self.copy_text)),
            ("COPY beside other statements", yes(self.copy_beside_others)),
            ("prepared INSERT", yes(self.prepared_insert)),
            ("transactions", yes(self.transactions)),
            ("savepoints", yes(self.savepoints)),
            ("SET CONSTRAINTS", yes(self.deferrable)),
            ("ON CONFLICT", yes(self.on_conflict)),
            ("xmax tells updates", yes(self.xmax)),
            ("statistics tell updates", yes(self.statistics)),
            ("statement timeout", yes(self.timed)),
            ("temporary tables", yes(self.temp_tables)),
            ("unnest", yes(self.unnest)),
            ("unlogged tables", yes(self.unlogged)),
            ("DISTRIBUTED BY", yes(self.distributed)),
            ("tags", yes(self.tags)),
            ("numeric infinity", yes(self.numeric_infinity)),
            ("bytes of a name", self.name_bytes.to_string()),
            ("bytes of a message", self.message_bytes.to_string()),
        ]
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (name, value)) in self.facts().into_iter().enumerate() {
            write!(f, "{}{name}: {value}", if at == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

#[cfg(feature = "postgres")]
async fn first(connection: &mut Connection, sql: &str) -> Result<String> {
    let results = connection.simple_query(sql).await?;
    Ok(results.first().and_then(|result| result.rows.get(0, 0)).unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_told_by_what_they_say() {
        let of = |banner| {
            let profile = Profile::from_version(banner, true);
            (profile.server, profile.version)
        };
        let cases = [
            ("PostgreSQL 15.13 (Debian 15.13-0) on x86_64-pc-linux-gnu", Server::PostgreSql, (15, 13)),
            ("PostgreSQL 17devel on x86_64", Server::PostgreSql, (17, 0)),
            ("EnterpriseDB Advanced Server", Server::PostgreSql, (12, 0)),
            ("KaiwuDB V3.2.1 (x86_64-linux-gnu, built 2026)", Server::KwdbTimeSeries, (9, 5)),
            ("CockroachDB CCL v23.1.11 (x86_64-pc-linux-gnu)", Server::Cockroach, (9, 5)),
            ("PostgreSQL 9.4.24 (Greenplum Database 6.20.0) on x86_64", Server::Greenplum, (9, 4)),
            ("PostgreSQL 12.12 (Greenplum Database 7.1.0) on x86_64", Server::Greenplum, (12, 12)),
        ];
        for (banner, server, version) in cases {
            assert_eq!(of(banner), (server, version), "{banner}");
        }
        assert_eq!(Profile::from_version("KaiwuDB V3.2.1", false).server, Server::Kwdb);
        for server in Server::ALL {
            assert_eq!(server.as_str().parse::<Server>().unwrap(), server);
        }
        assert!("oracle".parse::<Server>().is_err());
    }

    #[test]
    fn ports() {
        let ports = ["postgres", "kwdb", "adb", "greenplum", "cockroach"].map(Server::default_port);
        assert_eq!(ports, [5_432, 26_257, 3_432, 5_432, 26_257]);
    }
}
