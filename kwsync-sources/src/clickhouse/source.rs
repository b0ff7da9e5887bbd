//! Splits of tables, and readers.

use std::sync::{Arc, Mutex, PoisonError};

use kwsync_core::system::clickhouse::sql::quote;
use kwsync_core::{
    DecodeCounts, Decoded, Error, ErrorKind, Input, Reader, Result, Schema, Source, SourceBatch, Split,
    SplitPosition, TableBatch, TableId,
};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::answer::Session;
use super::batches::{Batching, Made};
use super::catalog;
use super::config::ClickHouseOptions;
use super::cursor::{Cursor, query_id};
use super::plan;
use super::shape::{Key, Shape};
use crate::relational::{self, Batches, CursorOptions, CursorSpec, Follow};

/// Tables and queries of ClickHouse.
///
/// # Examples
/// ```no_run
/// use kwsync_core::config::{Dsn, Params};
/// use kwsync_core::{Reader, Source};
/// use kwsync_sources::clickhouse::{ClickHouseOptions, ClickHouseSource, PARAMS};
///
/// # async fn read() -> kwsync_core::Result<()> {
/// let dsn: Dsn = "clickhouse://me@localhost:8123/shop?tables=orders".parse()?;
/// let params = Params::parse("clickhouse", PARAMS, dsn.params())?;
/// let source = ClickHouseSource::new(ClickHouseOptions::from_dsn(&dsn, &params)?);
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
pub struct ClickHouseSource {
    options: Arc<ClickHouseOptions>,
    notes: Mutex<Vec<String>>,
    tables: Mutex<Vec<(TableId, Arc<Schema>)>>,
}

/// A piece whose rows come in no order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Piece {
    /// The table with its database; none for a query.
    asked: Option<TableId>,
    /// The column by which it is cut.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    by: Option<String>,
    /// Which of its values belong to the piece.
    #[serde(default)]
    rows: Rows,
    what: serde_json::Value,
}

/// The rows of a piece, by the column that it is cut by; values are written as digits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Rows {
    /// All of them.
    #[default]
    All,
    /// Those from the first value on, below the second.
    Between(Option<String>, Option<String>),
    /// Those without a value.
    Nulls,
}

impl ClickHouseSource {
    /// A source with the options given. Nothing is connected yet.
    pub fn new(options: ClickHouseOptions) -> Self {
        Self { options: Arc::new(options), notes: Mutex::default(), tables: Mutex::default() }
    }

    fn note(&self, note: String) {
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        if !notes.contains(&note) {
            notes.push(note);
        }
    }

    fn tell(&self, table: &TableId, shape: &Shape) {
        shape.notes.iter().for_each(|note| self.note(note.clone()));
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        if tables.iter().all(|(known, _)| known != table) {
            tables.push((table.clone(), Arc::clone(&shape.schema)));
        }
    }

    /// What a piece that is read in order says of what is read.
    fn cursor_of_pieces(&self) -> serde_json::Value {
        serde_json::json!({ "pieces": self.options.what() })
    }

    /// The tables or queries that splits are of.
    fn known(&self, known: &[Split]) -> Result<Vec<Option<TableId>>> {
        known
            .iter()
            .map(|split| match self.piece(split) {
                Some(piece) => piece.map(|piece| piece.asked),
                None => CursorSpec::of(split, &self.cursor_of_pieces()).map(|spec| spec.table),
            })
            .collect()
    }

    /// What a split says of a piece that is read in no order; none if it is read in order.
    fn piece(&self, split: &Split) -> Option<Result<Piece>> {
        split.spec.get("what")?;
        let wrong = || {
            let text = format!("the job has begun to read `{}` in another way: {}", split.id, split.spec);
            Error::config(text).with_hint("use another --job, or --restart")
        };
        Some(match serde_json::from_value::<Piece>(split.spec.clone()) {
            Ok(piece) if piece.what == self.options.what() => Ok(piece),
            Ok(_) => Err(wrong()),
            Err(error) => Err(wrong().with_source(error)),
        })
    }

    /// The pieces of one table, or of a query.
    async fn cut(
        &self,
        session: &mut Session,
        asked: Option<&catalog::Table>,
        shape: &Shape,
        key: Option<Key>,
        lanes: usize,
    ) -> Result<Vec<Split>> {
        let options = &self.options;
        let id = asked.map(catalog::Table::id);
        let name = id.clone().unwrap_or_else(|| query_id(&options.query_table()));
        let mut rows = asked.map_or(0, |table| table.rows);
        let mut pieces = plan::pieces(options, rows, lanes);
        let mut cut = plan::Cut::default();
        let mut ordered = options.ordered && key.is_some();
        if let Some(key) = &key {
            // Of a few rows nothing is to be known, and of some tables the server does not tell how many there are.
            let few = asked.is_some_and(|table| table.counted && table.engine.ends_with("MergeTree"))
                && rows < 65_536;
            let weighed = ordered && options.split_by.is_none();
            if !few || pieces > 1 || key.is_nullable() {
                if asked.is_none_or(|table| table.rows == 0) && options.splits.is_none() {
                    rows = plan::cut(session, options, shape, key, 1, false).await?.rows;
                    pieces = plan::pieces(options, rows, lanes);
                }
                cut = plan::cut(session, options, shape, key, pieces, weighed).await?;
            }
            if cut.is_coarse() && weighed {
                ordered = false;
                self.note(format!(
                    "{name} is read in no order: too many of its rows have one value of {:?} to be held together; split_by= can name \
                     another column",
                    key.name
                ));
            }
        }
        if !ordered {
            self.note(format!(
                "{name} cannot be read on from the middle of a piece: {}",
                match (options.ordered, key.is_some()) {
                    (false, _) => "order=none",
                    (true, true) => "it is read in no order",
                    (true, false) => "split_by= can name a column of integers, dates or times",
                }
            ));
        }
        let ends: Vec<Option<i128>> =
            [None].into_iter().chain(cut.bounds.iter().copied().map(Some)).chain([None]).collect();
        let mut made = Vec::with_capacity(ends.len());
        for pair in ends.windows(2) {
            let [from, to] = pair else { continue };
            let text = |value: &Option<i128>| value.map(|value| value.to_string());
            let spec = match (&key, ordered) {
                (Some(_), true) => CursorSpec {
                    table: Some(name.clone()),
                    range: Some((text(from), text(to))),
                    cursor: self.cursor_of_pieces(),
                    ..CursorSpec::default()
                }
                .into_split(String::new(), false)?,
                (Some(key), false) => {
                    self.unordered(id.as_ref(), Some(key), Rows::Between(text(from), text(to)))?
                }
                (None, _) => self.unordered(id.as_ref(), None, Rows::All)?,
            };
            made.push(spec);
        }
        if cut.nulls {
            made.push(self.unordered(id.as_ref(), key.as_ref(), Rows::Nulls)?);
        }
        let count = made.len();
        let bytes = asked.map(|table| table.bytes / count.max(1) as u64).filter(|bytes| *bytes > 0);
        for (at, split) in made.iter_mut().enumerate() {
            let id = if count == 1 { name.to_string() } else { format!("{name}#{}", at + 1) };
            *split = Split { id: id.into(), bytes, ..split.clone() };
        }
        Ok(made)
    }

    fn unordered(&self, asked: Option<&TableId>, by: Option<&Key>, rows: Rows) -> Result<Split> {
        let by = by.map(|key| key.name.clone());
        let piece = Piece { asked: asked.cloned(), by, rows, what: self.options.what() };
        let spec = serde_json::to_value(piece).map_err(|error| {
            Error::new(ErrorKind::Internal, "cannot write a split down").with_source(error)
        })?;
        Ok(Split { spec, resumable: false, ..Split::whole("") })
    }

    async fn pieces(&self, lanes: usize, known: &[Split]) -> Result<Vec<Split>> {
        let done = self.known(known)?;
        let options = &self.options;
        let mut session = Session::new(options)?;
        let mut splits = known.to_vec();
        let cursor = Cursor::new(options);
        self.note(
            "each piece is read at a moment of its own: ClickHouse has no snapshot that queries could share"
                .to_owned(),
        );
        if let Some(query) = &options.query {
            let shape = Shape::of_query(&mut session, options, query).await?;
            let key = cursor.query_key(&shape)?;
            self.tell(&options.query_table(), &shape);
            if known.is_empty() {
                splits.extend(self.cut(&mut session, None, &shape, key, lanes).await?);
            }
            return Ok(splits);
        }
        for table in catalog::asked(&mut session, options, true).await? {
            let id = table.id();
            let columns = catalog::columns(&mut session, &id).await?;
            let key = cursor.key(&table, &columns)?;
            let shape = Shape::of_table(&mut session, options, &id, &columns).await?;
            self.tell(&options.called(&id), &shape);
            if !done.contains(&Some(id)) {
                splits.extend(self.cut(&mut session, Some(&table), &shape, key, lanes).await?);
            }
        }
        Ok(splits)
    }

    /// Reads a piece whose rows come in no order.
    async fn read(&self, split: &Split, piece: Piece) -> Result<ClickHouseReader> {
        let options = Arc::clone(&self.options);
        let mut session = Session::new(&options)?;
        let (table, shape, key) = match (&piece.asked, &options.query) {
            (Some(id), _) => {
                let columns = catalog::columns(&mut session, id).await?;
                let key = piece.by.as_ref().and_then(|by| columns.iter().find(|column| column.name == *by));
                let key = key.and_then(|column| Key::of(&column.name, &column.text));
                (options.called(id), Shape::of_table(&mut session, &options, id, &columns).await?, key)
            }
            (None, query) => {
                let query = query.as_deref().unwrap_or_default();
                let shape = Shape::of_query(&mut session, &options, query).await?;
                let key = piece.by.as_ref().and_then(|by| shape.key(by));
                (options.query_table(), shape, key)
            }
        };
        let mut conditions: Vec<String> = options.condition.iter().map(|sql| format!("({sql}\n)")).collect();
        if let Some(by) = &piece.by {
            let key = key.as_ref().ok_or_else(|| {
                Error::new(
                    ErrorKind::Schema,
                    format!("`{}`: the column {by:?} by which it is cut is gone", split.id),
                )
                .with_hint("begin anew with --restart")
            })?;
            let name = quote(by)?;
            let value = |text: &String| {
                text.parse::<i128>().map(|value| key.literal(value)).map_err(|_| {
                    Error::new(ErrorKind::Internal, format!("a split holds {text:?} for a number"))
                })
            };
            match &piece.rows {
                Rows::All => {}
                Rows::Nulls => conditions.push(format!("{name} IS NULL")),
                Rows::Between(from, to) => {
                    if key.is_nullable() {
                        conditions.push(format!("{name} IS NOT NULL"));
                    }
                    if let Some(from) = from {
                        conditions.push(format!("{name} >= {}", value(from)?));
                    }
                    if let Some(to) = to {
                        conditions.push(format!("{name} < {}", value(to)?));
                    }
                }
            }
        }
        let sql = shape.statement(None, &conditions)?;
        tracing::debug!(split = %split.id, %sql, "reading");
        let id = Arc::clone(&split.id);
        let name = piece.asked.as_ref().map_or_else(|| "the query".to_owned(), TableId::to_string);
        let input = Arc::new(Input::new(name.as_str()).with_split(id));
        let run = |sender: mpsc::Sender<Result<SourceBatch>>| async move {
            let cannot = |error: Error| error.context(format!("cannot read {name}"));
            let answer =
                session.ask(&format!("{sql}\nFORMAT Native"), options.batch_rows).await.map_err(cannot)?;
            let mut batching = Batching::new(answer, &shape.fields, &options, &table, input);
            // A table without rows is one, too: whoever takes it makes it.
            let none = TableBatch::empty(table.clone(), Arc::clone(&shape.schema))?;
            let begin = SplitPosition(serde_json::Value::Null);
            let mut batch = SourceBatch::new(vec![none], begin.clone());
            loop {
                if sender.send(Ok(batch)).await.is_err() {
                    return Ok(());
                }
                let Some(made) = batching.next().await.map_err(cannot)? else { return Ok(()) };
                let Made { arrays, origin, rejects, rows, bytes, .. } = made;
                let counts = DecodeCounts { records: rows as u64, ..DecodeCounts::default() };
                let batches = match rows > rejects.len() {
                    true => {
                        vec![TableBatch::from_columns(
                            table.clone(),
                            Arc::clone(&shape.schema),
                            arrays,
                            origin,
                        )?]
                    }
                    false => Vec::new(),
                };
                let decoded = Decoded { batches, rejects, counts };
                batch = SourceBatch { bytes, ..SourceBatch::of(decoded, begin.clone()) };
            }
        };
        Ok(ClickHouseReader { batches: Batches::of(run) })
    }
}

impl Source for ClickHouseSource {
    type Reader = ClickHouseReader;

    fn notes(&self) -> Vec<String> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn tables(&self) -> Vec<(TableId, Arc<Schema>)> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn splits(&self, lanes: usize, known: &[Split]) -> Result<Vec<Split>> {
        if self.options.cursor.column.is_none() {
            return self.pieces(lanes, known).await;
        }
        let cursor = Cursor::new(&self.options);
        let (splits, tables) =
            relational::splits(&cursor, &self.options.cursor, &self.options.what(), lanes, known).await?;
        for table in tables {
            self.tell(&table.info.table, &table.shape);
            if table.key.is_nullable() {
                let (asked, column) = (&table.info.asked, &table.info.column);
                self.note(format!("rows of {asked} without a value in {column:?} are not read"));
            }
        }
        Ok(splits)
    }

    async fn open(&self, split: &Split, at: Option<&SplitPosition>) -> Result<ClickHouseReader> {
        if let Some(piece) = self.piece(split) {
            let piece = piece?;
            if at.is_some_and(|at| !at.0.is_null()) {
                return Err(Error::config("the checkpoint has a position of another source")
                    .with_hint("use another --job, or --restart"));
            }
            return self.read(split, piece).await;
        }
        let by_cursor = self.options.cursor.column.is_some();
        let what = if by_cursor { self.options.what() } else { self.cursor_of_pieces() };
        let spec = CursorSpec::of(split, &what)?;
        let options = if by_cursor { self.options.cursor.clone() } else { CursorOptions::default() };
        let (database, at) = (Arc::new(Cursor::new(&self.options)), at.cloned());
        let follow = Follow { database, options, spec };
        Ok(ClickHouseReader { batches: Batches::of(|sender| async move { follow.run(at, &sender).await }) })
    }
}

/// Reads one split of a [`ClickHouseSource`].
#[derive(Debug)]
pub struct ClickHouseReader {
    batches: Batches,
}

impl Reader for ClickHouseReader {
    async fn next(&mut self) -> Result<Option<SourceBatch>> {
        self.batches.next().await
    }

    fn is_interruptible(&self) -> bool {
        true
    }
}
