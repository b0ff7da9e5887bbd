//! Splits of collections, and readers.

use std::sync::{Arc, Mutex, PoisonError};

use kwsync_core::{
    DecodeCounts, Decoded, Error, ErrorKind, Input, Reader, Result, Schema, Source, SourceBatch, Split,
    SplitPosition, TableBatch, TableId,
};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::columns::{self, Column};
use super::config::MongoDbOptions;
use super::cursor::Cursor;
use super::plan;
use super::reading::{Find, Made, Making, documents};
use super::session::Session;
use super::written::{Key, Written};
use crate::relational::{self, Batches, CursorSpec, Follow};

/// Collections of MongoDB.
///
/// # Examples
/// ```no_run
/// use kwsync_core::config::{Dsn, Params};
/// use kwsync_core::{Reader, Source};
/// use kwsync_sources::mongodb::{MongoDbOptions, MongoDbSource, PARAMS};
///
/// # async fn read() -> kwsync_core::Result<()> {
/// let dsn: Dsn = "mongodb://localhost/shop?tables=orders".parse()?;
/// let params = Params::parse("mongodb", PARAMS, dsn.params())?;
/// let source = MongoDbSource::new(MongoDbOptions::from_dsn(&dsn, &params)?);
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
pub struct MongoDbSource {
    options: Arc<MongoDbOptions>,
    notes: Mutex<Vec<String>>,
    tables: Mutex<Vec<(TableId, Arc<Schema>)>>,
}

/// What a split says to the source that opens it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Spec {
    collection: String,
    /// The columns as they were found: what is inferred later may be something else.
    columns: Vec<Column>,
    /// The documents whose `_id` is from this one on, and below that one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    what: serde_json::Value,
}

impl MongoDbSource {
    /// A source with the options given. Nothing is connected yet.
    pub fn new(options: MongoDbOptions) -> Self {
        Self { options: Arc::new(options), notes: Mutex::default(), tables: Mutex::default() }
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

    fn spec(&self, split: &Split) -> Result<Spec> {
        let wrong = || {
            let text = format!("the job has begun to read `{}` in another way", split.id);
            Error::config(text).with_hint("use another --job, or --restart")
        };
        let spec: Spec =
            serde_json::from_value(split.spec.clone()).map_err(|error| wrong().with_source(error))?;
        if spec.what == self.options.what() { Ok(spec) } else { Err(wrong()) }
    }

    async fn pieces(&self, lanes: usize, known: &[Split]) -> Result<Vec<Split>> {
        let mut done = Vec::new();
        for split in known {
            let spec = self.spec(split)?;
            self.tell(&TableId::new(spec.collection.as_str()), &columns::schema(&spec.columns)?);
            done.push(spec.collection);
        }
        let mut session = Session::open(&self.options.connect).await?;
        let mut splits = known.to_vec();
        self.note(
            "each piece is read as it goes on, not at one moment: what is written meanwhile may be in it or not".to_owned(),
        );
        for collection in plan::collections(&mut session, &self.options, true).await? {
            if done.contains(&collection) {
                continue;
            }
            let cannot = |error: Error| error.context(format!("cannot read {collection}"));
            let (columns, notes) =
                plan::columns(&mut session, &self.options, &collection).await.map_err(cannot)?;
            notes.into_iter().for_each(|note| self.note(note));
            self.tell(&TableId::new(collection.as_str()), &columns::schema(&columns)?);
            let cut = plan::cut(&mut session, &self.options, &collection, lanes).await.map_err(cannot)?;
            if !cut.resumable {
                self.note(format!(
                    "{collection} is read in one piece, and cannot be read on from the middle: its values of _id are of several kinds"
                ));
            }
            let ends: Vec<Option<String>> = [None]
                .into_iter()
                .chain(cut.bounds.iter().map(|key| Some(key.text())))
                .chain([None])
                .collect();
            for (at, pair) in ends.windows(2).enumerate() {
                let [from, to] = pair else { continue };
                let spec = Spec {
                    collection: collection.clone(),
                    columns: columns.clone(),
                    from: from.clone(),
                    to: to.clone(),
                    what: self.options.what(),
                };
                let spec = serde_json::to_value(spec).map_err(|error| {
                    Error::new(ErrorKind::Internal, "cannot write a split down").with_source(error)
                })?;
                let name = format!("{}.{collection}", self.options.database);
                let id = if ends.len() == 2 { name } else { format!("{name}#{}", at + 1) };
                splits.push(Split { spec, resumable: cut.resumable, ..Split::whole(id) });
            }
        }
        Ok(splits)
    }
}

/// A bound of `_id`.
fn bound(operator: &str, text: &str) -> Result<Written> {
    let key = Key::parse(text).ok_or_else(|| {
        Error::config("the checkpoint has a position of another source")
            .with_hint("use another --job, or --restart")
    })?;
    Ok(Written::new().doc("_id", &Written::new().raw(operator, &key)))
}

impl Source for MongoDbSource {
    type Reader = MongoDbReader;

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
            self.tell(&table.info.table, &table.info.schema);
            table.notes.iter().for_each(|note| self.note(note.clone()));
        }
        Ok(splits)
    }

    async fn open(&self, split: &Split, at: Option<&SplitPosition>) -> Result<MongoDbReader> {
        if self.options.cursor.column.is_some() {
            let spec = CursorSpec::of(split, &self.options.what())?;
            let (database, options) = (Arc::new(Cursor::new(&self.options)), self.options.cursor.clone());
            let (follow, at) = (Follow { database, options, spec }, at.cloned());
            return Ok(MongoDbReader {
                batches: Batches::of(|sender| async move { follow.run(at, &sender).await }),
            });
        }
        let spec = self.spec(split)?;
        let options = Arc::clone(&self.options);
        let mut filters: Vec<Written> = options.condition.iter().map(|(_, filter)| filter.clone()).collect();
        filters.extend(spec.from.as_deref().map(|from| bound("$gte", from)).transpose()?);
        filters.extend(spec.to.as_deref().map(|to| bound("$lt", to)).transpose()?);
        let after = match at.map(|at| &at.0) {
            None | Some(serde_json::Value::Null) => None,
            Some(value) if split.resumable => Some(value.as_str().unwrap_or_default().to_owned()),
            Some(_) => {
                let text = format!("`{}` cannot be read on from the middle", split.id);
                return Err(Error::new(ErrorKind::Unsupported, text)
                    .with_hint("empty the target and begin anew with --restart"));
            }
        };
        filters.extend(after.as_deref().map(|after| bound("$gt", after)).transpose()?);
        let order = split.resumable.then_some(("_id", 1));
        let mut find = Find::new(&options, &spec.collection, filters, order);
        // Where columns are inferred, others are looked for, too.
        let strict = options.columns.is_empty() && !options.ignores_unknown;
        if !strict {
            find = find.with_fields(spec.columns.iter().map(|column| column.name.as_str()).chain(["_id"]));
        }
        let table = TableId::new(spec.collection.as_str());
        let schema = columns::schema(&spec.columns)?;
        let input = Arc::new(Input::new(split.id.to_string()).with_split(Arc::clone(&split.id)));
        let mut making = Making::new(&spec.columns, strict, &table, input)?;
        let reading = Reading { table, schema, resumable: split.resumable, after };
        let run = |sender: mpsc::Sender<Result<SourceBatch>>| async move {
            let cannot = |error: Error| error.context(format!("cannot read {}", reading.table));
            let mut session = Session::open(&options.connect).await?;
            // A collection without documents is a table, too: whoever takes it makes it.
            let none = TableBatch::empty(reading.table.clone(), Arc::clone(&reading.schema))?;
            if sender.send(Ok(SourceBatch::new(vec![none], reading.position(None)))).await.is_err() {
                return Ok(());
            }
            while let Some(reply) = find.page(&mut session).await.map_err(cannot)? {
                making.came(reply.bytes());
                for doc in documents(&reply)? {
                    making.add(doc?).map_err(cannot)?;
                    if making.is_full(options.batch_rows, options.batch_bytes) {
                        let batch = reading.batch(making.finish())?;
                        if sender.send(Ok(batch)).await.is_err() {
                            return Ok(());
                        }
                    }
                }
            }
            let made = making.finish();
            if made.rows > 0 && sender.send(reading.batch(made)).await.is_err() {
                return Ok(());
            }
            Ok(())
        };
        Ok(MongoDbReader { batches: Batches::of(run) })
    }
}

/// What a piece is read for.
struct Reading {
    table: TableId,
    schema: Arc<Schema>,
    resumable: bool,
    after: Option<String>,
}

impl Reading {
    fn position(&self, last: Option<&Key>) -> SplitPosition {
        let last = last.map(Key::text).or_else(|| self.after.clone()).filter(|_| self.resumable);
        SplitPosition(last.map_or(serde_json::Value::Null, serde_json::Value::from))
    }

    fn batch(&self, made: Made) -> Result<SourceBatch> {
        let Made { arrays, origin, rejects, rows, bytes, last } = made;
        if self.resumable && last.is_none() {
            return Err(Error::new(
                ErrorKind::Schema,
                format!("{}: an _id is of a kind that has no place in an order", self.table),
            )
            .with_hint("it appeared since the job began; run it with --restart"));
        }
        let position = self.position(last.as_ref());
        let counts = DecodeCounts { records: rows as u64, ..DecodeCounts::default() };
        let batches = match rows > rejects.len() {
            true => {
                vec![TableBatch::from_columns(self.table.clone(), Arc::clone(&self.schema), arrays, origin)?]
            }
            false => Vec::new(),
        };
        Ok(SourceBatch { bytes, ..SourceBatch::of(Decoded { batches, rejects, counts }, position) })
    }
}

/// Reads one split of a [`MongoDbSource`].
#[derive(Debug)]
pub struct MongoDbReader {
    batches: Batches,
}

impl Reader for MongoDbReader {
    async fn next(&mut self) -> Result<Option<SourceBatch>> {
        self.batches.next().await
    }

    fn is_interruptible(&self) -> bool {
        true
    }
}
