//! The parameters of the MongoDB source.

use std::collections::BTreeMap;
use std::time::Duration;

use kwsync_core::config::{Dsn, Param, Params, Secret};
use kwsync_core::{DataType, Error, ErrorKind, Result};

use super::columns::Target;
use super::scram::Mechanism;
use super::session::Connect;
use super::written::{self, Written};
use crate::relational::{CursorOptions, Pattern, items, with_cursor};

/// The parameters.
pub static PARAMS: &[Param] = with_cursor![
    Param::list("tables", "the collections, and patterns with *; dots belong to their names")
        .with_aliases(&["table", "collection", "collections", "collectionName"]),
    Param::list("exclude", "collections to leave out, as tables="),
    Param::text("columns", "fields, and paths as a.b into documents, between commas; default: what the first documents have")
        .with_aliases(&["column"]),
    Param::text(
        "types",
        "the types of columns, as NAME:TYPE between commas: those of other sources, and string, long, int, double, bool, date, bytes, \
         array, json; others are inferred",
    ),
    Param::text("splitters", "what stands between the items of a column of the type array, as {\"NAME\": \",\"}; default: a comma"),
    Param::text("where", "a condition that the documents fulfil, as JSON in MongoDB's words: {\"n\": {\"$gt\": 5}}")
        .with_aliases(&["query"]),
    Param::choice("nested", &["json", "columns"], "documents within documents are JSON, or a column for each of their fields")
        .with_default("json"),
    Param::int("sample", 0, i64::MAX, "how many documents are looked at for columns and types; 0: all of them").with_default("1000"),
    Param::choice(
        "unknown_fields",
        &["reject", "ignore"],
        "where columns are inferred: a document with a field that is none of them is a reject, or the field is left out",
    )
    .with_default("reject"),
    Param::int("splits", 1, 10_000, "into how many pieces each collection is cut; default: by its documents"),
    Param::int("split_rows", 1, i64::MAX, "about how many documents a piece has").with_default("1000000"),
    Param::text("auth_db", "the database that knows the user, often admin; default: the one of the address").with_aliases(&["authSource", "authDb"]),
    Param::choice("auth_mechanism", &["SCRAM-SHA-256", "SCRAM-SHA-1"], "how to sign in; default: the best that the user has")
        .with_aliases(&["authMechanism"]),
    Param::choice("read_preference", &["primary", "secondaryPreferred"], "whether a secondary will do where no primary is among the servers")
        .with_default("primary")
        .with_aliases(&["readPreference"]),
    Param::flag("tls", "use TLS").with_default("false").with_aliases(&["ssl"]),
    Param::text("ca", "with TLS: certificates of the authorities to trust (PEM), as @FILE; default: those of the machine"),
    Param::int("batch_rows", 1, 1 << 20, "most rows of a batch").with_default("65536").with_aliases(&["fetchSize", "fetch_size", "batchSize"]),
    Param::size("batch_size", "most bytes of a batch, about; the server sends up to 16 MiB at once").with_default("8MiB"),
    Param::duration("connect_timeout", Duration::from_secs(1), "how long connecting may take").with_default("10s"),
    Param::duration("timeout", Duration::from_secs(1), "how long the server may be silent").with_default("5m"),
    Param::text("replicaSet", "servers are taken as they answer").ignored(),
    Param::text("directConnection", "servers are taken as they answer").ignored(),
    Param::text("retryReads", "what is lost is read again").ignored(),
    Param::text("maxPoolSize", "each lane has a session").ignored(),
    Param::text("appName", "it is kwsync").ignored(),
];

/// How [`MongoDbSource`](super::MongoDbSource) reads. `Debug` hides the password.
#[derive(Clone, Debug)]
pub struct MongoDbOptions {
    pub(super) connect: Connect,
    pub(super) database: String,
    pub(super) tables: Vec<Pattern>,
    pub(super) exclude: Vec<Pattern>,
    pub(super) columns: Vec<String>,
    pub(super) types: BTreeMap<String, Target>,
    /// The condition, as it was written and as it is sent.
    pub(super) condition: Option<(String, Written)>,
    pub(super) nested: bool,
    pub(super) sample: u64,
    pub(super) ignores_unknown: bool,
    pub(super) splits: Option<usize>,
    pub(super) split_rows: u64,
    pub(super) batch_rows: usize,
    pub(super) batch_bytes: usize,
    pub(super) cursor: CursorOptions,
}

/// The name of a collection as a pattern: dots are its own.
fn pattern(text: &str) -> Result<Pattern> {
    Pattern::new(&undotted(text))
}

/// A name without dots, which patterns would take for something else.
pub(super) fn undotted(name: &str) -> String {
    name.replace('.', "\u{1}")
}

impl MongoDbOptions {
    /// The options of an address and its checked parameters.
    ///
    /// # Errors
    /// `Config` when there is nothing to read, the condition is no JSON, or parameters contradict each other; `Unsupported` for
    /// `mongodb+srv`.
    pub fn from_dsn(dsn: &Dsn, params: &Params) -> Result<Self> {
        const FORM: &str = "mongodb://USER:PASSWORD@HOST:27017/DATABASE?tables=a,b";
        if let Some(protocol) = dsn.protocol() {
            let text = format!("MongoDB is not reached by {protocol:?} here");
            return Err(Error::new(ErrorKind::Unsupported, text)
                .with_hint("name the servers themselves: mongodb://HOST:27017,HOST2:27017/DATABASE, with tls=true where they want it"));
        }
        let database = dsn.object().map(|name| name.trim_matches('/')).filter(|name| !name.is_empty());
        let database = database
            .ok_or_else(|| Error::config("the address names no database").with_hint(format!("write {FORM}")))?
            .to_owned();
        if dsn.hosts().is_empty() {
            return Err(Error::config("the address names no server").with_hint(format!("write {FORM}")));
        }
        let user = dsn.user().filter(|user| !user.is_empty()).map(|user| {
            (user.to_owned(), dsn.password().cloned().unwrap_or_else(|| Secret::new(String::new())))
        });
        let text = |name: &str| params.text(name).map(str::trim).filter(|text| !text.is_empty());
        let number = |name: &str| params.int(name).and_then(|number| usize::try_from(number).ok());
        let time = |name: &str, default: u64| params.duration(name).unwrap_or(Duration::from_secs(default));
        let patterns = |name: &str| -> Result<Vec<Pattern>> {
            params.list(name).iter().map(|text| pattern(text)).collect()
        };
        let mut columns = text("columns").map(|text| items("columns", text)).transpose()?.unwrap_or_default();
        if columns == ["*"] {
            columns.clear();
        }
        let splitters: BTreeMap<String, String> = match text("splitters") {
            Some(text) => serde_json::from_str(text).map_err(|error| {
                Error::config(format!("splitters={text}: {error}")).with_hint("write {\"NAME\": \",\"}")
            })?,
            None => BTreeMap::new(),
        };
        let mut types = BTreeMap::new();
        for item in text("types").map(|text| items("types", text)).transpose()?.unwrap_or_default() {
            let (name, of) = item.rsplit_once(':').ok_or_else(|| {
                Error::config(format!("types={item}: no type is named"))
                    .with_hint("write NAME:TYPE, as n:long")
            })?;
            let target = Target::parse(of, splitters.get(name))
                .map_err(|error| error.context(format!("types={item}")))?;
            types.insert(name.to_owned(), target);
        }
        for (name, list) in
            [("types", types.keys().collect::<Vec<_>>()), ("splitters", splitters.keys().collect())]
        {
            if let Some(odd) = list.into_iter().find(|odd| !columns.is_empty() && !columns.contains(odd)) {
                return Err(Error::config(format!("{name}= is about {odd:?}, which is none of columns="))
                    .with_hint(format!("columns are {}", columns.join(", "))));
            }
        }
        let condition = match text("where").filter(|text| *text != "{}") {
            Some(text) => Some((text.to_owned(), written::query(text)?)),
            None => None,
        };
        let tables = patterns("tables")?;
        if tables.is_empty() {
            return Err(Error::config("the address does not say what to read")
                .with_hint("add table=COLLECTION, tables=a,b, or tables=* for all"));
        }
        Ok(Self {
            connect: Connect {
                hosts: dsn.hosts().to_vec(),
                user,
                auth_db: text("auth_db").unwrap_or(&database).to_owned(),
                mechanism: params.choice("auth_mechanism").map(|name| match name {
                    "SCRAM-SHA-1" => Mechanism::Sha1,
                    _ => Mechanism::Sha256,
                }),
                tls: params.flag("tls"),
                ca: params.text("ca").map(str::to_owned),
                secondary: params.choice("read_preference") == Some("secondaryPreferred"),
                connect_timeout: time("connect_timeout", 10),
                timeout: time("timeout", 300),
            },
            database,
            tables,
            exclude: patterns("exclude")?,
            columns,
            types,
            condition,
            nested: params.choice("nested") == Some("columns"),
            sample: params.int("sample").and_then(|rows| u64::try_from(rows).ok()).unwrap_or(1000),
            ignores_unknown: params.choice("unknown_fields") == Some("ignore"),
            splits: number("splits"),
            split_rows: params
                .int("split_rows")
                .and_then(|rows| u64::try_from(rows).ok())
                .unwrap_or(1_000_000),
            batch_rows: number("batch_rows").unwrap_or(65_536),
            batch_bytes: params.size("batch_size").map_or(8 << 20, |bytes| {
                usize::try_from(bytes).unwrap_or(usize::MAX).clamp(1 << 10, 1 << 30)
            }),
            cursor: CursorOptions::from_params(params, true)?,
        })
    }

    /// What is read, as splits have it.
    pub(super) fn what(&self) -> serde_json::Value {
        let cursor = &self.cursor;
        let types: BTreeMap<_, _> =
            self.types.iter().map(|(name, target)| (name, target.to_string())).collect();
        serde_json::json!([
            self.database,
            self.columns,
            types,
            self.condition.as_ref().map(|(text, _)| text),
            self.nested,
            self.ignores_unknown,
            cursor.column,
            cursor.begin,
            cursor.end
        ])
    }

    /// Whether a collection is asked for.
    pub(super) fn asks_for(&self, pattern: &Pattern, name: &str) -> bool {
        let name = undotted(name);
        let system = name.starts_with("system\u{1}") && pattern.exact().is_none();
        pattern.matches(None, "", &name)
            && !system
            && !self.exclude.iter().any(|other| other.matches(None, "", &name))
    }
}

impl Target {
    /// A type by the name that DataX or another source has for it.
    pub(super) fn parse(text: &str, splitter: Option<&String>) -> Result<Self> {
        let lower = text.trim().to_ascii_lowercase();
        let plain = lower.strip_prefix("document.").unwrap_or(&lower);
        Ok(match plain {
            "string" | "objectid" | "document" => Self::Of(DataType::Text),
            "long" => Self::Of(DataType::Int64),
            "int" | "integer" => Self::Of(DataType::Int32),
            "double" | "float" => Self::Of(DataType::Float64),
            "boolean" => Self::Of(DataType::Bool),
            "date" => Self::date(),
            "binary" => Self::Of(DataType::Bytes),
            "decimal" => Self::Of(DataType::Numeric(None)),
            "array" => Self::Joined(splitter.cloned().unwrap_or_else(|| ",".to_owned())),
            other => {
                let of: DataType = other.parse()?;
                if !Self::is_known(&of) {
                    return Err(Error::new(ErrorKind::Unsupported, format!("no column of MongoDB is read as {of}"))
                        .with_hint("use string, int, long, double, bool, date, decimal, numeric(p,s), bytes, uuid, json or array"));
                }
                Self::Of(of)
            }
        })
    }
}
