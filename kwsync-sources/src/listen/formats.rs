//! Decoders as requests ask for them: the format, its parameters, the database.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kwsync_core::config::{ConnectorInfo, ConnectorKind, Dsn, OpenOptions, ParamType, Registry};
use kwsync_core::{
    AddColumn, Decoder, DecoderFactory, Error, ErrorKind, Result, Stage, TableBatch, TableId, Transform,
    Transformed,
};

use super::config::{DatabaseMode, ListenOptions};
use super::learned::Learned;

/// Most sorts of decoders that are remembered; clients choose them.
const MOST: usize = 256;
/// Bytes of the longest name of a database.
const LONGEST_NAME: usize = 63;

/// What tells one sort of decoder from another.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Key {
    /// The format, by its own name.
    pub(super) format: &'static str,
    /// What the request says beside the address.
    params: Vec<(String, String)>,
    /// The database, where it makes a difference.
    pub(super) database: Option<Arc<str>>,
}

/// Makes decoders of every format.
pub(super) struct Formats {
    registry: Registry,
    /// The formats by all of their names.
    known: HashMap<&'static str, ConnectorInfo>,
    options: OpenOptions,
    given: Vec<(String, String, String)>,
    database: DatabaseMode,
    allowed: Vec<String>,
    /// What makes decoders, and when it was made.
    made: Mutex<HashMap<Key, (u64, DecoderFactory)>>,
    pub(super) learned: Learned,
}

impl Formats {
    /// # Errors
    /// `Config` for a parameter of a format that it does not have, and for an unknown telnet format.
    pub(super) fn new(registry: Registry, open: OpenOptions, options: &ListenOptions) -> Result<Self> {
        let all = registry.connectors().into_iter().filter(|info| info.kind() == ConnectorKind::Format);
        let named = |info: ConnectorInfo| {
            std::iter::once(info.name()).chain(info.aliases().iter().copied()).map(move |name| (name, info))
        };
        let known = all.flat_map(named).collect();
        let formats = Self {
            registry,
            known,
            options: open,
            given: options.formats.clone(),
            database: options.database.clone(),
            allowed: options.databases.clone(),
            made: Mutex::default(),
            learned: Learned::default(),
        };
        let mut names: Vec<&str> = options.formats.iter().map(|(format, ..)| format.as_str()).collect();
        names.dedup();
        for name in names {
            let info = formats.info(name)?;
            let key = Key { format: info.name(), params: Vec::new(), database: None };
            formats.make(&info, &formats.dsn(&info, &key), &key)?;
        }
        if options.telnet.is_some() {
            let telnet = formats.of(&options.telnet_format, Vec::new(), None);
            telnet.map_err(|error| error.context("telnet_format"))?;
        }
        Ok(formats)
    }

    /// The format called `name` that the parameters `asked` and the database of a request choose.
    ///
    /// # Errors
    /// `Config` for an unknown format, an unknown parameter or a wrong value; `NotFound` for a database that may not be named.
    pub(super) fn of(
        &self,
        name: &str,
        mut asked: Vec<(String, String)>,
        database: Option<&str>,
    ) -> Result<Key> {
        let info = self.info(name)?;
        asked.sort();
        let key = Key { format: info.name(), params: asked, database: self.database(database)? };
        if self.made().contains_key(&key) {
            return Ok(key);
        }
        let dsn = self.dsn(&info, &key);
        // Names are checked first: `tabel=` is no lack of a table.
        self.registry.decoder(info.name(), &dsn, &self.options)?;
        let table = info.params().iter().find(|param| param.name() == "table");
        if table.is_some_and(|table| table.default().is_none()) && dsn.get("table").is_none() {
            let name = info.name();
            return Err(Error::config(format!("the records of {name} do not say of which table they are"))
                .with_hint(format!("POST /ingest/{name}?table=NAME, or {name}.table=NAME for all")));
        }
        self.make(&info, &dsn, &key)?;
        Ok(key)
    }

    fn made(&self) -> MutexGuard<'_, HashMap<Key, (u64, DecoderFactory)>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A decoder for requests of `key`.
    pub(super) fn decoder(&self, key: &Key) -> Result<Box<dyn Decoder>> {
        let now = self.learned.epoch();
        let known = self.made().get(key).filter(|(epoch, _)| *epoch == now).map(|(_, made)| Arc::clone(made));
        match known {
            Some(made) => made(),
            None => {
                let info = self.info(key.format)?;
                self.make(&info, &self.dsn(&info, key), key)?()
            }
        }
    }

    /// The parameters of the address and of the request, whose own word wins.
    fn dsn(&self, info: &ConnectorInfo, key: &Key) -> Dsn {
        let mut dsn = Dsn::of_path("listen", "");
        for (_, name, value) in self.given.iter().filter(|(format, ..)| format == info.name()) {
            let param = info.params().iter().find(|param| param.is_called(name));
            let is_list = param.is_some_and(|param| param.kind() == ParamType::List);
            let again = |(asked, _): &(String, String)| param.is_some_and(|param| param.is_called(asked));
            if is_list || !key.params.iter().any(again) {
                dsn = dsn.with_param(name.as_str(), Some(value.clone()));
            }
        }
        for (name, value) in &key.params {
            dsn = dsn.with_param(name.as_str(), Some(value.clone()));
        }
        // A body is a message, whose objects may go over lines, and whose lines are counted all the same.
        if info.params().iter().any(|param| param.name() == "records") && dsn.get("records").is_none() {
            dsn = dsn.with_param("records", Some("values".to_owned()));
        }
        dsn
    }

    /// Makes what makes the decoders of `key`, and remembers it.
    fn make(&self, info: &ConnectorInfo, dsn: &Dsn, key: &Key) -> Result<DecoderFactory> {
        let epoch = self.learned.epoch();
        let schemas = self.learned.of(self.schema(key.database.as_ref()));
        let options = self.options.clone().with_schemas(schemas);
        let made = self.registry.decoder(info.name(), dsn, &options)?;
        let mut known = self.made();
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(key.clone(), (epoch, Arc::clone(&made)));
        Ok(made)
    }

    /// The schema of the tables of a database: tables of one name are others in another, and so are their columns.
    pub(super) fn schema<'a>(&self, database: Option<&'a Arc<str>>) -> Option<&'a Arc<str>> {
        database.filter(|_| self.database == DatabaseMode::Schema)
    }

    /// The format called `name`.
    fn info(&self, name: &str) -> Result<ConnectorInfo> {
        if let Some(info) = self.known.get(name) {
            return Ok(*info);
        }
        // The registry knows the nearest name.
        let made = self.registry.decoder(name, &Dsn::of_path("listen", ""), &self.options);
        made.and_then(|_| Err(Error::config(format!("there is no format `{name}`"))))
    }

    /// The database as far as it makes a difference.
    fn database(&self, name: Option<&str>) -> Result<Option<Arc<str>>> {
        let Some(name) = name.filter(|name| !name.is_empty()) else { return Ok(None) };
        if !self.allowed.is_empty() && !self.allowed.iter().any(|allowed| allowed == name) {
            let text = format!("database not found: {name:?}");
            return Err(
                Error::new(ErrorKind::NotFound, text).with_hint("the operator names them by databases=")
            );
        }
        if self.database == DatabaseMode::Ignore {
            return Ok(None);
        }
        if name.len() > LONGEST_NAME || name.chars().any(char::is_control) {
            return Err(Error::config("the name of the database is too long, or holds control characters"));
        }
        Ok(Some(name.into()))
    }

    /// Rows as they belong into their database.
    pub(super) fn place(&self, batch: TableBatch, database: Option<&Arc<str>>) -> Result<Transformed> {
        let Some(database) = database else { return Ok(batch.into()) };
        match &self.database {
            DatabaseMode::Ignore => Ok(batch.into()),
            DatabaseMode::Schema => {
                let table = TableId::with_schema(Arc::clone(database), batch.table().name());
                Ok(batch.with_table(table).into())
            }
            DatabaseMode::Column(name) if batch.schema().index_of(name).is_some() => {
                let reason = format!(
                    "the column {name:?} is that of the database (database_column= calls it otherwise)"
                );
                let reject = |row| batch.reject(row, Stage::Transform, "column_clash", reason.as_str());
                let rejects = (0..batch.rows()).map(reject).collect();
                Ok(Transformed { batches: Vec::new(), rejects, filtered: 0 })
            }
            DatabaseMode::Column(name) => AddColumn::tag(name.as_str(), &**database).apply(batch),
        }
    }
}
