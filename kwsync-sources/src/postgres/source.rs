//! Splits of tables, and readers for them.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use kwsync_core::system::postgres::relations;
use kwsync_core::system::postgres::wire::Connection;
use kwsync_core::{Change, Error, ErrorKind, Input, Result, Schema, Source, Split, SplitPosition, TableId};

use super::changes::config::ChangesOptions;
use super::changes::{self, ChangesSpec};
use super::config::{PostgresSourceOptions, Qualified};
use super::cursor::Cursor;
use super::cut::{self, Pieces};
use super::reader::{PostgresReader, Reading, unmoved};
use super::relation::{Asked, Shape, asked, gone};
use super::session::Sessions;
use super::spec::{Order, Spec, Taken, What, after};
use super::statement;
use crate::relational::changes::Extent;
use crate::relational::{self, Follow};

/// Tables and queries of a PostgreSQL server.
///
/// # Examples
/// ```no_run
/// use kwsync_core::system::postgres::wire::ConnectConfig;
/// use kwsync_core::{Reader, Source};
/// use kwsync_sources::postgres::{PostgresSource, PostgresSourceOptions};
///
/// # async fn read() -> kwsync_core::Result<()> {
/// let connect = ConnectConfig::new("localhost", 5432, "me", "shop");
/// let source = PostgresSource::new(PostgresSourceOptions::new(connect).with_tables(["public.orders"])?);
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
pub struct PostgresSource {
    options: Arc<PostgresSourceOptions>,
    sessions: Arc<Sessions>,
    /// The tables that were looked up, and how their rows are selected.
    shapes: tokio::sync::Mutex<HashMap<Read, Arc<Shape>>>,
    /// Tables of which it is known that in this snapshot their rows lie where they lay.
    unmoved: Mutex<HashSet<(u64, TableId)>>,
    notes: Mutex<Vec<String>>,
    tables: Mutex<Vec<(TableId, Arc<Schema>)>>,
    /// Where changes are followed, what of.
    following: Mutex<Option<ChangesSpec>>,
}

/// The table that was asked for, and the one its rows lie in; none for a query.
type Read = (Option<TableId>, Option<TableId>);

impl PostgresSource {
    /// A source with the options given. Nothing is connected yet.
    pub fn new(options: PostgresSourceOptions) -> Self {
        let options = Arc::new(options);
        Self {
            sessions: Arc::new(Sessions::new(Arc::clone(&options))),
            options,
            shapes: tokio::sync::Mutex::default(),
            unmoved: Mutex::default(),
            notes: Mutex::default(),
            tables: Mutex::default(),
            following: Mutex::default(),
        }
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

    async fn query_splits(&self, query: &str, lanes: usize) -> Result<Vec<Split>> {
        let mut held = self.sessions.coordinator().await?;
        let own = held.get()?;
        let shape = Shape::of_query(&mut own.connection, query).await?;
        shape.notes.iter().for_each(|note| self.note(note.clone()));
        self.tell(&self.options.query_table(), &shape.schema);
        let column = match &self.options.split_by {
            Some(name) => {
                let column = shape.column(name, &"the query")?;
                Some((name.as_str(), column.pg_type.name.as_str(), column.pg_type.oid))
            }
            None => None,
        };
        if lanes > 1 && column.is_none() {
            tracing::debug!("a query without split_by is read by one lane");
        }
        let pieces = cut::query(own, &self.options, &shape.from, column).await?;
        let taken = own.snapshot.taken(0);
        self.made(pieces, &self.options.query_table(), None, None, &taken, None)
    }

    async fn table_splits(&self, lanes: usize, known: &[Spec]) -> Result<Vec<Split>> {
        let mut held = self.sessions.coordinator().await?;
        let own = held.get()?;
        if !own.snapshot.is_shared() {
            self.note("each piece is read at a moment of its own, not all at one".to_owned());
        }
        let found = asked(&mut own.connection, &self.options, true).await?;
        let qualified = self.is_qualified(&found);
        let mut splits = Vec::new();
        for relation in &found {
            let id = TableId::with_schema(relation.schema.as_str(), relation.name.as_str());
            if known.iter().any(|spec| spec.asked.as_ref() == Some(&id)) {
                continue;
            }
            let table = named(relation, qualified);
            let look = self.look(&mut own.connection, relation.clone()).await?;
            look.left_behind().into_iter().for_each(|note| self.note(note));
            for stored in &look.stored {
                let stored_id = TableId::with_schema(stored.schema.as_str(), stored.name.as_str());
                let catalog = match stored.oid == relation.oid {
                    true => Arc::clone(&look.catalog),
                    false => Arc::new(super::relation::look_up(&mut own.connection, &stored_id).await?),
                };
                let shape = self.shape_of(&mut own.connection, &look, stored).await?;
                shape.notes.iter().for_each(|note| self.note(note.clone()));
                self.tell(&table, &shape.schema);
                let pieces = cut::table(own, &self.options, stored, &catalog, lanes).await?;
                let taken = own.snapshot.taken(stored.file);
                splits.extend(self.made(
                    pieces,
                    &table,
                    Some(&id),
                    Some(&stored_id),
                    &taken,
                    Some(stored.bytes),
                )?);
            }
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
            follow(&known.iter().find_map(ChangesSpec::of).ok_or_else(not_following)??);
            return Ok(known.to_vec());
        }
        // A try before this one may have begun in the snapshot of a slot that is gone.
        self.sessions.end().await;
        let mut names = HashMap::new();
        {
            let mut connection = Connection::connect(&self.options.connect).await?;
            let found = asked(&mut connection, &self.options, true).await?;
            let qualified = self.is_qualified(&found);
            names.extend(found.iter().map(|relation| (relation.oid, named(relation, qualified))));
        }
        let name = |table: &Asked| names.get(&table.relation.oid).cloned().unwrap_or_else(|| table.id());
        let begun = changes::begin(&self.options, changes, name).await?;
        follow(&begun.spec);
        let mut splits = Vec::new();
        if let Some((session, snapshot)) = begun.snapshot {
            self.sessions.read_in(snapshot);
            splits = self.table_splits(lanes, &[]).await?;
            // The session of the copy holds the snapshot now.
            drop(session);
            for split in &splits {
                let asked = Spec::of(split, &self.options)?.asked;
                if let Some(asked) = asked.filter(|asked| !begun.spec.has(asked)) {
                    let text =
                        format!("the table {asked} was made while the job began, and would not be followed");
                    return Err(Error::new(ErrorKind::Conflict, text)
                        .with_hint("run the job again: nothing was copied yet"));
                }
            }
        }
        begun.notes.into_iter().for_each(|note| self.note(note));
        splits.push(begun.spec.into_split()?);
        Ok(splits)
    }

    /// The key by which changes of a table are told.
    fn followed_key(&self, asked: Option<&TableId>) -> Vec<String> {
        let following = self.following.lock().unwrap_or_else(PoisonError::into_inner);
        following.as_ref().map_or_else(Vec::new, |spec| spec.key(asked).to_vec())
    }

    /// A table as it is read.
    async fn look(&self, connection: &mut Connection, relation: relations::Relation) -> Result<Asked> {
        let look = Asked::look(connection, relation).await?;
        match self.options.changes {
            Some(_) => look.with_identity(connection).await,
            None => Ok(look),
        }
    }

    /// Whether tables keep their schema.
    fn is_qualified(&self, found: &[relations::Relation]) -> bool {
        let schemas: HashSet<&str> = found.iter().map(|relation| relation.schema.as_str()).collect();
        match self.options.qualified {
            Qualified::Auto => schemas.len() > 1,
            Qualified::Always => true,
            Qualified::Never => false,
        }
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
        pieces: Pieces,
        table: &TableId,
        asked: Option<&TableId>,
        stored: Option<&TableId>,
        taken: &Taken,
        bytes: Option<u64>,
    ) -> Result<Vec<Split>> {
        let Pieces { order, ranges, note } = pieces;
        if let Some(note) = note {
            self.note(note);
        }
        let name = match (asked, stored) {
            (Some(asked), Some(stored)) if asked != stored => format!("{asked}/{stored}"),
            (Some(asked), _) => asked.to_string(),
            (None, _) => format!("query:{table}"),
        };
        let count = ranges.len();
        let spec = |range| Spec {
            table: table.clone(),
            asked: asked.cloned(),
            stored: stored.cloned(),
            order: order.clone(),
            range,
            what: What::of(&self.options),
            taken: taken.clone(),
        };
        let id = |at: usize| if count == 1 { name.clone() } else { format!("{name}#{}", at + 1) };
        ranges
            .into_iter()
            .enumerate()
            .map(|(at, range)| spec(range).into_split(id(at), bytes.map(|bytes| bytes / count as u64)))
            .collect()
    }

    async fn shape_of(
        &self,
        connection: &mut Connection,
        look: &Asked,
        stored: &relations::Relation,
    ) -> Result<Arc<Shape>> {
        let id = |relation: &relations::Relation| {
            Some(TableId::with_schema(relation.schema.as_str(), relation.name.as_str()))
        };
        let key = (id(&look.relation), id(stored));
        let mut shapes = self.shapes.lock().await;
        if let Some(shape) = shapes.get(&key) {
            return Ok(Arc::clone(shape));
        }
        let shape = Arc::new(Shape::of_table(connection, &self.options, look, stored).await?);
        shapes.insert(key, Arc::clone(&shape));
        Ok(shape)
    }

    /// The shape that a split's rows have.
    async fn shape(&self, connection: &mut Connection, spec: &Spec) -> Result<Arc<Shape>> {
        let key = (spec.asked.clone(), spec.stored.clone());
        if let Some(shape) = self.shapes.lock().await.get(&key) {
            return Ok(Arc::clone(shape));
        }
        let (Some(asked), Some(stored)) = (&spec.asked, &spec.stored) else {
            let query = self.options.query.as_deref().unwrap_or_default();
            let shape = Arc::new(Shape::of_query(connection, query).await?);
            self.shapes.lock().await.insert(key, Arc::clone(&shape));
            return Ok(shape);
        };
        let relation = relations::named(connection, asked.schema(), asked.name()).await?;
        let relation = relation.ok_or_else(|| gone(asked, &self.options))?;
        let look = self.look(connection, relation).await?;
        let lies = look.stored.iter().find(|relation| {
            Some(relation.schema.as_str()) == stored.schema() && relation.name == stored.name()
        });
        let lies = lies.ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("{stored}, which held rows of {asked}, is gone"))
                .with_hint("begin anew with --restart")
        })?;
        self.shape_of(connection, &look, lies).await
    }
}

/// What the rows of a table are called.
fn named(relation: &relations::Relation, qualified: bool) -> TableId {
    match qualified {
        true => TableId::with_schema(relation.schema.as_str(), relation.name.as_str()),
        false => TableId::new(relation.name.as_str()),
    }
}

/// The error of a copy that cannot be read on.
fn again(split: &str) -> Error {
    let text = format!(
        "`{split}` is of a table without a key, and its copy was interrupted: rows that have come since would be there twice"
    );
    Error::new(ErrorKind::Unsupported, text).with_hint("empty the target and begin anew with --restart")
}

fn not_following() -> Error {
    Error::config("the job of this name has read tables, and followed no changes")
        .with_hint("use another --job, or --restart")
}

impl Source for PostgresSource {
    type Reader = PostgresReader;

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
        // Their columns are told, too, where they are not copied.
        let mut splits = self.table_splits(lanes, &[]).await?;
        if changes.extent == Extent::Realtime {
            splits.clear();
        }
        splits.push(spec.into_split()?);
        notes.into_iter().for_each(|note| self.note(note));
        Ok(splits)
    }

    async fn forget(&self) -> Result<()> {
        match &self.options.changes {
            Some(changes) => changes::forget(&self.options, changes).await,
            None => Ok(()),
        }
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
        let specs = known.iter().map(|split| Spec::of(split, &self.options)).collect::<Result<Vec<_>>>()?;
        let mut splits = known.to_vec();
        match &self.options.query {
            Some(_) if !known.is_empty() => {}
            Some(query) => splits.extend(self.query_splits(query, lanes).await?),
            None => splits.extend(self.table_splits(lanes, &specs).await?),
        }
        Ok(splits)
    }

    async fn open(&self, split: &Split, at: Option<&SplitPosition>) -> Result<PostgresReader> {
        if self.options.cursor.column.is_some() {
            let cursor = Cursor::new(Arc::clone(&self.options));
            let spec = relational::CursorSpec::of(split, &cursor.what()?)?;
            let options = self.options.cursor.clone();
            return Ok(PostgresReader::follow(
                Follow { database: Arc::new(cursor), options, spec },
                at.cloned(),
            ));
        }
        if let Some(spec) = ChangesSpec::of(split) {
            // What was copied is there: nobody needs the snapshot any more.
            self.sessions.end().await;
            return Ok(PostgresReader::stream(spec?.open(&self.options, at)?));
        }
        let spec = Spec::of(split, &self.options)?;
        let mut after = after(at)?;
        if spec.order == Order::None && after.is_some() {
            let text = format!("`{}` cannot be read on from the middle", split.id);
            return Err(Error::new(ErrorKind::Unsupported, text).with_hint(
                "empty the target and begin anew with --restart; split_by= would have made it possible",
            ));
        }
        let mut lane = self.sessions.lane().await?;
        let by_place = spec.order == Order::Ctid;
        let late = self.options.changes.is_some() && !lane.snapshot.is(&spec.taken);
        let mut by_what_changes = by_place && !lane.snapshot.is(&spec.taken);
        if late {
            let key = self.followed_key(spec.asked.as_ref());
            if key.is_empty() {
                return Err(again(&split.id));
            }
            // By its key a row that moves is deleted and comes whole. Otherwise it might be where the copy has been, and the
            // stream need not tell all of it.
            by_what_changes = !matches!(&spec.order, Order::Key { column, .. } if key.contains(column));
            if by_what_changes && spec.range.is_none() {
                // Its rows are upserted: all of it may be read again.
                (after, by_what_changes) = (None, false);
            }
        }
        if let (true, Some(stored)) = (by_what_changes, &spec.stored) {
            let checked = (lane.snapshot.number, stored.clone());
            let known = self.unmoved.lock().unwrap_or_else(PoisonError::into_inner).contains(&checked);
            if !known {
                unmoved(&mut lane, stored, &spec.taken).await?;
                self.unmoved.lock().unwrap_or_else(PoisonError::into_inner).insert(checked);
            }
        }
        let shape = self.shape(&mut lane.connection, &spec).await?;
        let statement =
            statement::select(&spec, &shape, self.options.condition.as_deref(), after.as_deref())?;
        // By place, no index must lead the server another way through the table.
        let indexes = if by_place { "off" } else { "on" };
        let sql =
            format!("SET LOCAL enable_indexscan = {indexes}; SET LOCAL enable_indexonlyscan = {indexes}");
        lane.connection.simple_query(&sql).await?;
        tracing::debug!(split = %split.id, sql = %statement.sql, "reading");
        let name = match &spec.asked {
            Some(table) => table.to_string(),
            None => "the query".to_owned(),
        };
        Ok(PostgresReader::start(Reading {
            sessions: Arc::clone(&self.sessions),
            options: Arc::clone(&self.options),
            lane,
            statement,
            order: spec.order,
            table: spec.table,
            schema: Arc::clone(&shape.schema),
            input: Input::new(name).with_split(Arc::clone(&split.id)),
            after,
            batch_rows: self.options.batch_rows,
            batch_bytes: self.options.batch_bytes,
            // The stream will bring again what this snapshot has beyond that of the slot.
            change: if late { Change::Upsert } else { Change::Rows },
        }))
    }
}
