//! Splits of tables, sessions, and readers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use kwsync_core::system::mysql::catalog::{self, CatalogTable};
use kwsync_core::system::mysql::keys;
use kwsync_core::{Change, Error, ErrorKind, Input, Result, Schema, Source, Split, SplitPosition, TableId};
use mysql_async::Conn;

use super::changes::config::ChangesOptions;
use super::changes::{self, ChangesSpec};
use super::config::{MysqlSourceOptions, Qualified};
use super::cursor::Cursor;
use super::cut;
use super::reader::{MysqlReader, Reading};
use super::sessions::{Sessions, good_bye};
use super::shape::{Shape, Table};
use crate::relational::changes::Extent;
use crate::relational::ranged::{Range, Spec, What, after};
use crate::relational::{self, Follow};

/// Tables and queries of a MySQL or MariaDB server.
///
/// # Examples
/// ```no_run
/// use kwsync_core::system::mysql::session::ConnectConfig;
/// use kwsync_core::{Reader, Source};
/// use kwsync_sources::mysql::{MysqlSource, MysqlSourceOptions};
///
/// # async fn read() -> kwsync_core::Result<()> {
/// let connect = ConnectConfig::new("localhost", 3306, "me").with_database("shop");
/// let source = MysqlSource::new(MysqlSourceOptions::new(connect).with_tables(["orders"])?);
/// for split in source.splits(1, &[]).await? {
///     let mut reader = source.open(&split, None).await?;
///     while let Some(read) = reader.next().await? {
///         for batch in read.decoded.batches {
///             println!("{} rows of {}", batch.rows(), batch.table());
///         }
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct MysqlSource {
    options: Arc<MysqlSourceOptions>,
    sessions: Arc<Sessions>,
    shapes: tokio::sync::Mutex<HashMap<Option<TableId>, Arc<Shape>>>,
    notes: Mutex<Vec<String>>,
    tables: Mutex<Vec<(TableId, Arc<Schema>)>>,
    /// Where changes are followed, what of.
    following: Mutex<Option<ChangesSpec>>,
}

impl MysqlSource {
    /// A source with the options given. Nothing is connected yet.
    pub fn new(options: MysqlSourceOptions) -> Self {
        let options = Arc::new(options);
        Self {
            sessions: Arc::new(Sessions::new(Arc::clone(&options))),
            options,
            shapes: tokio::sync::Mutex::default(),
            notes: Mutex::default(),
            tables: Mutex::default(),
            following: Mutex::default(),
        }
    }

    fn what(&self) -> What {
        let options = &self.options;
        What::new(&options.columns, options.condition.as_deref(), options.query.as_deref())
    }

    fn note(&self, note: String) {
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        if !notes.contains(&note) {
            notes.push(note);
        }
    }

    fn tell(&self, table: &TableId, schema: &Arc<Schema>) {
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        if tables.iter().all(|(known, _)| known != table) {
            tables.push((table.clone(), Arc::clone(schema)));
        }
    }

    /// As [`shape`](Self::shape), by a session of its own where it is not known yet.
    async fn shape_of(&self, asked: Option<&TableId>) -> Result<Arc<Shape>> {
        if let Some(shape) = self.known_shape(asked).await {
            return Ok(shape);
        }
        let mut planner = self.options.connect.connect().await?;
        let shape = self.shape(&mut planner, asked).await?;
        good_bye(planner).await;
        Ok(shape)
    }

    async fn known_shape(&self, asked: Option<&TableId>) -> Option<Arc<Shape>> {
        self.shapes.lock().await.get(&asked.cloned()).map(Arc::clone)
    }

    async fn shape(&self, connection: &mut Conn, asked: Option<&TableId>) -> Result<Arc<Shape>> {
        if let Some(shape) = self.known_shape(asked).await {
            return Ok(shape);
        }
        let shape = match asked {
            Some(id) => {
                let table = look(connection, id).await?;
                Shape::of_table(connection, &self.options, id, &table).await?
            }
            None => {
                let query = self.options.query.as_deref().unwrap_or_default();
                Shape::of_query(connection, &self.options, query).await?
            }
        };
        shape.notes.iter().for_each(|note| self.note(note.clone()));
        let shape = Arc::new(shape);
        self.shapes.lock().await.insert(asked.cloned(), Arc::clone(&shape));
        Ok(shape)
    }

    async fn query_splits(&self, connection: &mut Conn) -> Result<Vec<Split>> {
        let shape = self.shape(connection, None).await?;
        let table = self.options.query_table();
        self.tell(&table, &shape.schema);
        let (key, ranges) = match &self.options.split_by {
            Some(name) => {
                shape.column(name, "the query")?;
                // Looking for the ends runs the query once more, so only where it was asked for.
                let pieces = self.options.splits.unwrap_or(1);
                let ranges = cut::ranges(connection, shape.from(), name, true, pieces).await?;
                (vec![name.clone()], ranges)
            }
            None => {
                self.note(
                    "the query is read in one piece, and cannot be read on from the middle; split_by= can name a column of \
                     it whose values are distinct"
                        .to_owned(),
                );
                (Vec::new(), vec![None])
            }
        };
        self.made(&table, None, key, false, ranges, None)
    }

    async fn table_splits(&self, connection: &mut Conn, lanes: usize, known: &[Spec]) -> Result<Vec<Split>> {
        let mut splits = Vec::new();
        let all = asked(connection, &self.options, true).await?;
        for found in &all {
            let id = TableId::with_schema(found.schema.as_str(), found.name.as_str());
            if known.iter().any(|spec| spec.asked.as_ref() == Some(&id)) {
                continue;
            }
            let table = look(connection, &id).await?;
            let shape = self.shape(connection, Some(&id)).await?;
            let (mut key, mut unique) = (table.key(), true);
            let pieces = cut::count(&self.options, found, lanes);
            let by = match &self.options.split_by {
                Some(name) => {
                    let column = table.column(name).ok_or_else(|| {
                        let there: Vec<_> = table.columns.iter().map(|column| column.name.as_str()).collect();
                        Error::config(format!("split_by={name}: {id} has no such column"))
                            .with_hint(format!("it has {}", there.join(", ")))
                    })?;
                    if key.is_empty() && found.view {
                        (key, unique) = (vec![name.clone()], false);
                    }
                    Some(column)
                }
                None => key.first().and_then(|name| table.column(name)),
            };
            if key.is_empty() {
                self.note(format!(
                    "{id} cannot be read on from the middle: it has no primary key, and no unique index without nulls"
                ));
            }
            let ranges = match by.filter(|column| column.is_integer()) {
                Some(column) => {
                    cut::ranges(connection, shape.from(), &column.name, column.nullable, pieces).await?
                }
                None => {
                    if pieces > 1 {
                        self.note(format!(
                            "{id} is read in one piece: there is no column of integers to cut it by"
                        ));
                    }
                    vec![None]
                }
            };
            let name = named(&self.options, &all, found);
            self.tell(&name, &shape.schema);
            table.left_behind(&id).into_iter().for_each(|note| self.note(note));
            splits.extend(self.made(&name, Some(&id), key, unique, ranges, Some(found.bytes))?);
        }
        Ok(splits)
    }

    /// The splits of a copy and, behind it, that of the stream.
    async fn change_splits(
        &self,
        changes: &ChangesOptions,
        lanes: usize,
        known: &[Split],
    ) -> Result<Vec<Split>> {
        let follow = |spec: &ChangesSpec| {
            *self.following.lock().unwrap_or_else(PoisonError::into_inner) = Some(spec.clone());
        };
        if !known.is_empty() {
            let not_following = || {
                Error::config("the job of this name has read tables, and followed no changes")
                    .with_hint("use another --job, or --restart")
            };
            follow(&known.iter().find_map(ChangesSpec::of).ok_or_else(not_following)??);
            return Ok(known.to_vec());
        }
        let (spec, notes) = changes::begin(&self.options, changes, &self.sessions, lanes).await?;
        follow(&spec);
        let mut splits = Vec::new();
        if changes.extent != Extent::Realtime {
            let mut planner = self.options.connect.connect().await?;
            splits = self.table_splits(&mut planner, lanes, &[]).await?;
            good_bye(planner).await;
            for split in &splits {
                let asked = Spec::of(split, "MySQL", &self.what())?.asked;
                if let Some(asked) = asked.filter(|asked| !spec.has(asked)) {
                    let text =
                        format!("the table {asked} was made while the job began, and would not be followed");
                    return Err(Error::new(ErrorKind::Conflict, text)
                        .with_hint("run the job again: nothing was copied yet"));
                }
            }
        }
        notes.into_iter().for_each(|note| self.note(note));
        splits.push(spec.into_split()?);
        Ok(splits)
    }

    /// What the rows of a split are: where changes are followed, and its session is of a later moment than the stream's beginning,
    /// the stream will bring again what has come since.
    fn change_of(&self, spec: &Spec, first: bool) -> Result<Change> {
        let following = self.following.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((keyed, steady)) = following.as_ref().map(|all| all.table(spec.asked.as_ref())) else {
            return Ok(Change::Rows);
        };
        if first && steady {
            return Ok(Change::Rows);
        }
        if !keyed {
            let name = spec.asked.as_ref().map(ToString::to_string).unwrap_or_default();
            let text = format!(
                "{name} has no key, and cannot be read as of the moment at which the stream begins: rows that have come since would be there twice"
            );
            return Err(Error::new(ErrorKind::Unsupported, text).with_hint(
                "empty the target and begin anew with --restart, with --jobs 1 if the copy was not interrupted (one lane reads as of that moment); or give it a primary key, or leave it out with exclude=",
            ));
        }
        Ok(Change::Upsert)
    }

    /// The splits of tables that are read by a cursor.
    async fn cursor_splits(&self, lanes: usize, known: &[Split]) -> Result<Vec<Split>> {
        let cursor = Cursor::new(Arc::clone(&self.options));
        let (splits, tables) =
            relational::splits(&cursor, &self.options.cursor, &cursor.what()?, lanes, known).await?;
        for table in tables {
            self.tell(&table.info.table, &table.info.schema);
            table.notes().into_iter().for_each(|note| self.note(note));
        }
        Ok(splits)
    }

    /// The splits of one table or query.
    fn made(
        &self,
        table: &TableId,
        asked: Option<&TableId>,
        key: Vec<String>,
        unique: bool,
        ranges: Vec<Option<Range>>,
        bytes: Option<u64>,
    ) -> Result<Vec<Split>> {
        let count = ranges.len();
        let name = asked.map_or_else(|| format!("query:{table}"), TableId::to_string);
        ranges
            .into_iter()
            .enumerate()
            .map(|(at, range)| {
                let spec = Spec {
                    table: table.clone(),
                    asked: asked.cloned(),
                    key: key.clone(),
                    unique,
                    range,
                    what: self.what(),
                };
                let id = if count == 1 { name.clone() } else { format!("{name}#{}", at + 1) };
                spec.into_split(id, bytes.map(|bytes| bytes / count as u64))
            })
            .collect()
    }
}

/// The tables that the options ask for. `strict` makes an error of a name or pattern that means none.
pub(super) async fn asked(
    connection: &mut Conn,
    options: &MysqlSourceOptions,
    strict: bool,
) -> Result<Vec<CatalogTable>> {
    let default = options.connect.database.as_deref();
    let all = catalog::tables(connection, None, None).await?;
    let mut found: Vec<CatalogTable> = Vec::new();
    for pattern in &options.tables {
        let before = found.len();
        for table in &all {
            let is = match pattern.exact() {
                Some((schema, name)) => schema.or(default) == Some(&table.schema) && name == table.name,
                None => {
                    !table.view
                        && table.name != "kwsync_checkpoint"
                        && pattern.matches(default, &table.schema, &table.name)
                }
            };
            let out = options.exclude.iter().any(|other| other.matches(default, &table.schema, &table.name));
            let twice = found.iter().any(|known| known.schema == table.schema && known.name == table.name);
            if is && !out && !twice {
                found.push(table.clone());
            }
        }
        if strict && found.len() == before && (pattern.exact().is_some() || options.exclude.is_empty()) {
            return Err(gone(&pattern, default));
        }
    }
    Ok(found)
}

/// What the rows of a table are called.
pub(super) fn named(options: &MysqlSourceOptions, all: &[CatalogTable], table: &CatalogTable) -> TableId {
    let qualified = match options.qualified {
        // Without changes they never were.
        Qualified::Auto => options.changes.is_some() && all.iter().any(|other| other.schema != table.schema),
        Qualified::Always => true,
        Qualified::Never => false,
    };
    match qualified {
        true => TableId::with_schema(table.schema.as_str(), table.name.as_str()),
        false => TableId::new(table.name.as_str()),
    }
}

/// A table as the catalog has it.
pub(super) async fn look(connection: &mut Conn, id: &TableId) -> Result<Table> {
    let schema = id.schema().unwrap_or_default();
    let columns = catalog::columns(connection, schema, id.name()).await?;
    if columns.is_empty() {
        return Err(gone(id, None));
    }
    let unique = catalog::unique_indexes(connection, schema, id.name()).await?;
    let keys = keys::keys(connection, schema, id.name()).await?;
    Ok(Table { columns, unique, keys })
}

fn gone(name: &dyn std::fmt::Display, database: Option<&str>) -> Error {
    let place = database.map(|name| format!(" in database {name:?}")).unwrap_or_default();
    Error::new(ErrorKind::NotFound, format!("there is no table {name}{place} to read")).with_hint(
        "check the database and the case of the name, and that the user may read it; it may have been dropped or renamed",
    )
}

impl Source for MysqlSource {
    type Reader = MysqlReader;

    fn notes(&self) -> Vec<String> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn tables(&self) -> Vec<(TableId, Arc<Schema>)> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn yields_changes(&self) -> bool {
        self.options.changes.is_some()
    }

    async fn preview(&self, lanes: usize) -> Result<Vec<Split>> {
        let Some(changes) = &self.options.changes else { return self.splits(lanes, &[]).await };
        let (spec, notes) = changes::preview(&self.options, changes).await?;
        let mut planner = self.options.connect.connect().await?;
        // Their columns are told, too, where they are not copied.
        let mut splits = self.table_splits(&mut planner, lanes, &[]).await?;
        good_bye(planner).await;
        if changes.extent == Extent::Realtime {
            splits.clear();
        }
        splits.push(spec.into_split()?);
        notes.into_iter().for_each(|note| self.note(note));
        Ok(splits)
    }

    async fn splits(&self, lanes: usize, known: &[Split]) -> Result<Vec<Split>> {
        if let Some(changes) = &self.options.changes {
            return self.change_splits(changes, lanes, known).await;
        }
        if known.iter().any(|split| ChangesSpec::of(split).is_some()) {
            return Err(Error::config("the job of this name follows changes")
                .with_hint("add changes=true, or use another --job, or --restart"));
        }
        if self.options.cursor.column.is_some() {
            return self.cursor_splits(lanes, known).await;
        }
        let specs =
            known.iter().map(|split| Spec::of(split, "MySQL", &self.what())).collect::<Result<Vec<_>>>()?;
        let mut splits = known.to_vec();
        if self.options.query.is_none() || known.is_empty() {
            // Looked at before the lanes' moment, which is as good: pieces are open at both ends.
            let mut planner = self.options.connect.connect().await?;
            splits.extend(match &self.options.query {
                Some(_) => self.query_splits(&mut planner).await?,
                None => self.table_splits(&mut planner, lanes, &specs).await?,
            });
            good_bye(planner).await;
        }
        if let Some(note) = self.sessions.open_all(lanes).await? {
            self.note(note);
        }
        Ok(splits)
    }

    async fn open(&self, split: &Split, at: Option<&SplitPosition>) -> Result<MysqlReader> {
        if self.options.cursor.column.is_some() {
            let cursor = Cursor::new(Arc::clone(&self.options));
            let spec = relational::CursorSpec::of(split, &cursor.what()?)?;
            let options = self.options.cursor.clone();
            return Ok(MysqlReader::follow(
                Follow { database: Arc::new(cursor), options, spec },
                at.cloned(),
            ));
        }
        if let Some(spec) = ChangesSpec::of(split) {
            // What was copied is there: nobody needs the snapshot any more.
            self.sessions.end();
            return Ok(MysqlReader::stream(spec?.open(&self.options, at)?));
        }
        let spec = Spec::of(split, "MySQL", &self.what())?;
        let after = after(at)?;
        if spec.key.is_empty() && after.is_some() {
            let text = format!("`{}` cannot be read on from the middle", split.id);
            return Err(Error::new(ErrorKind::Unsupported, text).with_hint(
                "empty the target and begin anew with --restart; a primary key would have made it possible",
            ));
        }
        let shape = self.shape_of(spec.asked.as_ref()).await?;
        let lane = self.sessions.lane().await?;
        let change = self.change_of(&spec, lane.first)?;
        let (sql, key_at) = shape.statement(&spec, self.options.condition.as_deref(), after.as_deref())?;
        tracing::debug!(split = %split.id, %sql, "reading");
        let name = spec.asked.as_ref().map_or_else(|| "the query".to_owned(), TableId::to_string);
        let reading = Reading {
            sessions: Arc::clone(&self.sessions),
            sql,
            key: spec.key,
            key_at,
            unique: spec.unique,
            table: spec.table,
            schema: Arc::clone(&shape.schema),
            input: Arc::new(Input::new(name).with_split(Arc::clone(&split.id))),
            after,
            last: Vec::new(),
            zero_dates: self.options.zero_dates,
            change,
            batch_rows: self.options.batch_rows,
            batch_bytes: self.options.batch_bytes,
        };
        Ok(MysqlReader::start(reading, lane))
    }
}
