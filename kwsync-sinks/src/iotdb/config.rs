//! The parameters of the IoTDB sink.

use std::time::Duration;

use kwsync_core::config::{Dsn, Param, Params};
use kwsync_core::system::iotdb::{ConnectConfig, DEVICE_COLUMN, Path};
use kwsync_core::{Error, Result};

use super::device::Template;

/// The parameters.
pub static PARAMS: &[Param] = &[
    Param::list("node-urls", "nodes of the cluster beside those of the address, as HOST:PORT; the first that answers is taken")
        .with_aliases(&["node_urls"]),
    Param::text("user", "the user, where the address names none; default: root").with_aliases(&["username"]),
    Param::text("password", "the password, where the address has none; default: root").secret(),
    Param::text(
        "device",
        "the path of a row's device below the database: nodes between dots, with {table}, {TAG} for the value of a tag, and {tags} \
         for those of all others, one node each",
    )
    .with_default("{table}.{tags}"),
    Param::text(
        "device_column",
        "the column that holds the whole path of a row's device, where rows come from IoTDB: a primary tag of this name",
    )
    .with_default("device"),
    Param::text("time_column", "the column of the time, where the rows have none of that role").with_default("time"),
    Param::choice(
        "aligned",
        &["auto", "true", "false"],
        "whether devices that are made are aligned; auto: as in their source, else not. Devices that are there stay as they are",
    )
    .with_default("auto"),
    Param::choice(
        "create",
        &["missing", "never"],
        "make databases and series that are missing, or refuse rows for which there are none",
    )
    .with_default("missing"),
    Param::choice(
        "timestamp_ns",
        &["reject", "truncate"],
        "times finer than the server's precision: reject the row, or cut them off",
    )
    .with_default("reject"),
    Param::int("tablet_rows", 1, 100_000, "the most rows of a device in one request").with_default("10000").with_aliases(&["batchSize"]),
    Param::flag("ordered", "one lane writes, in the order of the source; on for iotdb+thrift-sync").with_aliases(&["sync"]),
    Param::duration("connect_timeout", Duration::from_secs(1), "how long connecting may take, for each node").with_default("10s"),
    Param::duration("timeout", Duration::from_secs(1), "how long an answer may take").with_default("5m"),
    Param::int("connect_attempts", 1, 1_000_000, "how often a request is sent again, over a new connection where it was lost")
        .with_default("8"),
    Param::text("version", "what IoTDB's own sinks tell the other side").ignored(),
    Param::text("batch.enable", "rows are always sent many at a time").ignored(),
    Param::text("batch.max-delay-seconds", "see the command's --linger").ignored(),
    Param::text("batch.size-bytes", "see tablet_rows").ignored(),
];

/// Whether devices that are made are aligned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Aligned {
    /// As in their source, else not.
    #[default]
    Auto,
    /// All of them.
    Yes,
    /// None of them.
    No,
}

/// How [`IotdbSink`](super::IotdbSink) writes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct IotdbOptions {
    /// How to reach the server.
    pub connect: ConnectConfig,
    /// The database that rows go to; without one, rows of IoTDB go to the paths that they come from.
    pub database: Option<Path>,
    /// The path of a device below the database.
    pub device: Template,
    /// The column that holds the whole path of a device, where rows come from IoTDB.
    pub device_column: String,
    /// The column of the time, where none has that role.
    pub time_column: String,
    /// Whether devices that are made are aligned.
    pub aligned: Aligned,
    /// Whether databases and series that are missing are made.
    pub create: bool,
    /// Whether what is finer than the server's precision is cut off.
    pub truncate_times: bool,
    /// The most rows of a device in one request.
    pub tablet_rows: usize,
    /// Whether one lane writes, in order.
    pub ordered: bool,
    /// How often a request is sent again.
    pub attempts: u32,
}

impl IotdbOptions {
    /// The defaults, for a server and a database.
    pub fn new(connect: ConnectConfig, database: Option<Path>) -> Self {
        Self {
            connect,
            database,
            device: Template::default(),
            device_column: DEVICE_COLUMN.to_owned(),
            time_column: "time".to_owned(),
            aligned: Aligned::Auto,
            create: true,
            truncate_times: false,
            tablet_rows: 10_000,
            ordered: false,
            attempts: 8,
        }
    }

    /// The options of an address and its checked parameters.
    ///
    /// # Errors
    /// `Config` for an address without a host, a database that is no path, or a template that is none.
    pub fn from_dsn(dsn: &Dsn, params: &Params) -> Result<Self> {
        let database =
            dsn.object().map(|object| object.trim_matches('/')).filter(|object| !object.is_empty());
        let mut options =
            Self::new(ConnectConfig::from_params(dsn, params)?, database.map(database_of).transpose()?);
        if let Some(template) = params.text("device") {
            options.device = template.parse()?;
        }
        for (name, target) in
            [("device_column", &mut options.device_column), ("time_column", &mut options.time_column)]
        {
            if let Some(column) = params.text(name) {
                column.clone_into(target);
            }
        }
        options.aligned = match params.choice("aligned") {
            Some("true") => Aligned::Yes,
            Some("false") => Aligned::No,
            _ => Aligned::Auto,
        };
        options.create = params.choice("create") != Some("never");
        options.truncate_times = params.choice("timestamp_ns") == Some("truncate");
        if let Some(rows) = params.int("tablet_rows").and_then(|rows| usize::try_from(rows).ok()) {
            options.tablet_rows = rows;
        }
        options.ordered = params.flag("ordered") || dsn.protocol() == Some("thrift-sync");
        if let Some(attempts) = params.int("connect_attempts").and_then(|count| u32::try_from(count).ok()) {
            options.attempts = attempts;
        }
        Ok(options)
    }
}

/// The path of a database, with or without its root.
pub(super) fn database_of(text: &str) -> Result<Path> {
    let path: Path = match text == "root" || text.starts_with("root.") {
        true => text.parse()?,
        false => format!("root.{text}").parse()?,
    };
    match path.nodes().len() {
        1 => Err(Error::config("root is no database")
            .with_hint("write iotdb://HOST:6667/NAME, for the database root.NAME")),
        _ => Ok(path),
    }
}
