//! The stream of a slot: a task reads it, gathers changes, and answers the server in time, however slow the target is.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use kwsync_core::system::postgres::ddl::{literal, quote};
use kwsync_core::system::postgres::wire::{Connection, CopyBoth};
use kwsync_core::{Change, Error, ErrorKind, Input, Result, Retry, Schema, SourceBatch, TableBatch, TableId};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::super::config::PostgresSourceOptions;
use super::super::relation::{Asked, Shape, look_up};
use super::super::session::first;
use super::ChangesSpec;
use super::config::Wire;
use super::lsn::Lsn;
use super::pgoutput::{Field, Message, Old, Relation};
use super::slot;
use super::table::{Followed, Known};
use crate::relational::changes::{Changing, Extent, Flow, Operations, Place, Told, Values};

/// How often the server hears of us, unless it wants to more often.
const STATUS: Duration = Duration::from_secs(10);
/// How often it is asked whether there is more, by one who is to end.
const ASK: Duration = Duration::from_millis(100);
/// How often it is looked whether the tables are those that they were.
const LOOK: Duration = Duration::from_secs(10);
/// Microseconds from 1970 to 2000.
const EPOCH: i64 = 946_684_800_000_000;

/// What a task has to do.
pub(super) struct Streaming {
    pub(super) options: Arc<PostgresSourceOptions>,
    pub(super) spec: ChangesSpec,
    pub(super) at: Option<Lsn>,
    pub(super) told: watch::Receiver<Told<Lsn>>,
    pub(super) input: Arc<Input>,
}

/// A task at work.
struct Stream {
    options: Arc<PostgresSourceOptions>,
    /// For looking at the catalog.
    session: Connection,
    copy: CopyBoth,
    told: watch::Receiver<Told<Lsn>>,
    input: Arc<Input>,
    tables: Vec<Followed>,
    followed: HashMap<u32, Arc<Followed>>,
    /// The tables as the server has told them, and in which words.
    relations: HashMap<u32, (Vec<u8>, Option<Arc<Known>>)>,
    flow: Flow<Lsn, Known>,
    operations: Operations,
    binary: bool,
}

impl Streaming {
    /// Reads from `at` on until the job is to end, or nobody takes the batches any more.
    pub(super) async fn run(self, sender: &mpsc::Sender<Result<SourceBatch>>) -> Result<()> {
        let Self { options, spec, at, told, input } = self;
        let mut session = Connection::connect(&options.connect).await?;
        let at = at.unwrap_or(spec.start);
        let found = slot::released(&mut session, &spec.slot).await?;
        match found {
            None => return Err(slot::lost(&spec.slot, at, "it is gone")),
            Some(slot::Slot { fault: Some(why), .. }) => return Err(slot::lost(&spec.slot, at, &why)),
            Some(slot::Slot { confirmed: Some(confirmed), .. }) if confirmed > at => {
                let why = format!("it has been moved on to {confirmed}, or was made anew");
                return Err(slot::lost(&spec.slot, at, &why));
            }
            Some(_) => {}
        }
        // A row that security hides would be taken for one that is gone.
        session.simple_query("SET row_security = off").await?;
        let ends: Lsn = first(&mut session, "SELECT pg_catalog.pg_current_wal_flush_lsn()").await?.parse()?;
        if at > ends {
            let why = format!(
                "the server's log ends at {ends}: it is another server, or was restored from a backup"
            );
            return Err(slot::lost(&spec.slot, at, &why));
        }
        let mut binary = options.changes.as_ref().is_some_and(|changes| changes.wire == Wire::Auto)
            && version(&session) >= 14
            && !is_text(&options);
        let mut followed = HashMap::new();
        still_the_same(&mut session, &spec.tables).await?;
        for table in &spec.tables {
            let table = Arc::new(table.clone());
            let Some(schema) = now(&mut session, &options, &table).await? else {
                tracing::warn!(table = %table.asked, "the table is gone");
                continue;
            };
            binary &= schema
                .columns()
                .iter()
                .all(|column| !matches!(column.data_type(), kwsync_core::DataType::Other(_)));
            // So that it is made in the target, and what comes first may be a delete.
            let none = TableBatch::empty(table.table.clone(), schema)?;
            if sender.send(Ok(SourceBatch::new(vec![none], at.position()))).await.is_err() {
                return Ok(());
            }
            table.oids.iter().for_each(|oid| drop(followed.insert(*oid, Arc::clone(&table))));
        }
        let until = match options.changes.as_ref().map(|changes| changes.extent) {
            Some(Extent::CaughtUp) => Some(ends),
            _ => None,
        };
        let operations = options.changes.as_ref().map(|changes| changes.operations).unwrap_or_default();
        let timeout = "SELECT setting FROM pg_catalog.pg_settings WHERE name = 'wal_sender_timeout'";
        let timeout: u64 = first(&mut session, timeout).await?.parse().unwrap_or(0);
        let interval = if timeout == 0 { STATUS } else { STATUS.min(Duration::from_millis(timeout / 3)) };
        let copy = begin(&options, &spec, at, binary).await?;
        tracing::info!(slot = spec.slot, at = %at, binary, "following changes");
        let stream = Stream {
            options,
            session,
            copy,
            told,
            input,
            tables: spec.tables,
            followed,
            relations: HashMap::new(),
            flow: Flow::new(at, until),
            operations,
            binary,
        };
        stream.run(sender, interval).await
    }
}

/// Whether a stream of this process has met values that come as text alone.
fn is_text(options: &PostgresSourceOptions) -> bool {
    options.changes.as_ref().is_some_and(|changes| changes.as_text.load(Ordering::Relaxed))
}

/// What tells of a row that cannot be found.
fn key_not_sent(table: &Known) -> Error {
    let text = format!(
        "a row of {} was updated, and the server did not send its key, which is a long value",
        table.followed.asked
    );
    Error::new(ErrorKind::Unsupported, text)
        .with_hint("the latest minor version of the server sends it; or follow the table by a shorter key, and begin anew with --restart")
}

fn version(connection: &Connection) -> u32 {
    let told = connection.parameter("server_version").unwrap_or_default();
    told.split(|c: char| !c.is_ascii_digit()).next().and_then(|major| major.parse().ok()).unwrap_or(10)
}

/// The columns that a table has now, as a copy of it would have them; none where it is gone.
async fn now(
    session: &mut Connection,
    options: &PostgresSourceOptions,
    followed: &Followed,
) -> Result<Option<Arc<Schema>>> {
    let (schema, name) = (followed.asked.schema(), followed.asked.name());
    let Some(relation) = kwsync_core::system::postgres::relations::named(session, schema, name).await? else {
        return Ok(None);
    };
    let asked = Asked::look(session, relation).await?.with_identity(session).await?;
    let stored = asked.stored.first().cloned().unwrap_or_else(|| asked.relation.clone());
    let shape = Shape::of_table(session, options, &asked, &stored).await?;
    Ok(Some(shape.schema))
}

/// Makes sure that each table is the one that it was when the job began, or gone: changes come by object ids, and those of a table
/// that was made anew would not be followed, nor be told of.
///
/// # Errors
/// `Conflict` for a table under another name, or another table under its name.
async fn still_the_same(session: &mut Connection, followed: &[Followed]) -> Result<()> {
    let own = |table: &Followed| table.oids.first().copied().unwrap_or_default();
    let oids: Vec<String> = followed.iter().map(|table| own(table).to_string()).collect();
    if followed.is_empty() {
        return Ok(());
    }
    let of = |table: &Followed| {
        format!("({}, {})", literal(table.asked.schema().unwrap_or_default()), literal(table.asked.name()))
    };
    let names: Vec<String> = followed.iter().map(of).collect();
    let sql = format!(
        "SELECT c.oid, n.nspname, c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.oid IN ({}) OR (n.nspname, c.relname) IN ({})",
        oids.join(", "),
        names.join(", ")
    );
    let rows = session.query(&sql, &[]).await?.rows;
    let mut by_name = HashMap::new();
    let mut by_oid = HashMap::new();
    for row in 0..rows.len() {
        let (Some(oid), Some(schema), Some(name)) = (rows.get(row, 0), rows.get(row, 1), rows.get(row, 2))
        else {
            continue;
        };
        let oid: u32 = oid.parse().unwrap_or_default();
        by_name.insert((schema, name), oid);
        by_oid.insert(oid, (schema, name));
    }
    let faults = followed.iter().filter_map(|table| {
        let asked = &table.asked;
        let name = (asked.schema().unwrap_or_default(), asked.name());
        let text = match (by_name.get(&name), by_oid.get(&own(table))) {
            (Some(oid), _) if *oid == own(table) => return None,
            (None, None) => return None,
            (_, Some((schema, name))) => {
                format!("the table {asked} is called {} now", TableId::with_schema(*schema, *name))
            }
            (Some(_), None) => format!("the table {asked} was dropped and made anew since the job began"),
        };
        Some(Error::new(ErrorKind::Conflict, text).with_hint(
            "the changes of what has this name now are not followed: begin anew with --restart, which copies the tables again (with mode=truncate \
             for the target, what is there goes first)",
        ))
    });
    Error::all(faults).map_err(|error| error.with_retry(Retry::Never))
}

/// Starts the stream.
async fn begin(
    options: &PostgresSourceOptions,
    spec: &ChangesSpec,
    at: Lsn,
    binary: bool,
) -> Result<CopyBoth> {
    let mut config = options.connect.clone();
    for (name, value) in [
        ("replication", "database"),
        ("DateStyle", "ISO"),
        ("IntervalStyle", "postgres"),
        ("extra_float_digits", "3"),
        ("TimeZone", options.timezone.as_str()),
    ] {
        config = config.with_session(name, value);
    }
    let connection = Connection::connect(&config).await?;
    let names: Vec<_> = spec.publications.iter().map(|name| quote(name)).collect::<Result<_>>()?;
    let binary = if binary { ", binary 'true'" } else { "" };
    let sql = format!(
        "START_REPLICATION SLOT {} LOGICAL {at} (proto_version '1', publication_names {}{binary})",
        quote(&spec.slot)?,
        literal(&names.join(","))
    );
    CopyBoth::start(connection, &sql)
        .await
        .map_err(|error| error.context(format!("cannot read the slot {:?} from {at}", spec.slot)))
}

impl Stream {
    async fn run(mut self, sender: &mpsc::Sender<Result<SourceBatch>>, interval: Duration) -> Result<()> {
        let mut next = Instant::now();
        let mut looked = Instant::now();
        loop {
            // What is here already is gathered first: the more there is, the fewer commits.
            self.flow.look_for_the_end();
            while !self.flow.is_full() && !self.flow.reached {
                match self.copy.ready()? {
                    Some(message) => self.take(message).await?,
                    None => break,
                }
                self.flow.look_for_the_end();
            }
            let due = self.flow.is_due();
            if self.flow.is_over()? {
                return self.end().await;
            }
            tokio::select! {
                biased;
                changed = self.told.changed() => {
                    let told = self.told.borrow_and_update().clone();
                    self.flow.settle(told.settled);
                    if told.close || changed.is_err() {
                        return self.end().await;
                    }
                    self.report(false).await?;
                }
                () = tokio::time::sleep_until(next) => {
                    if looked.elapsed() >= LOOK {
                        still_the_same(&mut self.session, &self.tables).await?;
                        looked = Instant::now();
                    }
                    self.report(self.flow.is_on_its_way()).await?;
                    next = Instant::now() + if self.flow.is_on_its_way() { ASK } else { interval };
                }
                permit = sender.reserve(), if due => match permit {
                    Ok(permit) => permit.send(Ok(self.flow.batch(&self.input)?)),
                    Err(_) => return Ok(()),
                },
                message = self.copy.next(), if !self.flow.is_full() && !self.flow.reached => self.take(message?).await?,
            }
        }
    }

    /// Tells the server what has settled; `ask` wants an answer.
    async fn report(&mut self, ask: bool) -> Result<()> {
        let settled = self.flow.settled;
        let received = self.flow.last.max(settled);
        let now = std::time::UNIX_EPOCH.elapsed().unwrap_or_default().as_micros() as i64 - EPOCH;
        let mut message = vec![b'r'];
        for number in [received.0, settled.0, settled.0] {
            message.extend_from_slice(&number.to_be_bytes());
        }
        message.extend_from_slice(&now.to_be_bytes());
        message.push(u8::from(ask));
        self.copy.send(&message).await
    }

    /// The last word to the server. What it does not hear it will send again, and be told that it is known.
    async fn end(mut self) -> Result<()> {
        let bye = async {
            self.report(false).await?;
            self.copy.finish().await
        };
        if let Ok(Err(error)) = tokio::time::timeout(Duration::from_secs(2), bye).await {
            tracing::debug!(%error, "the stream ended otherwise");
        }
        Ok(())
    }

    async fn take(&mut self, message: Option<impl AsRef<[u8]> + Send + Sync>) -> Result<()> {
        let Some(message) = message else {
            return Err(Error::new(ErrorKind::Unavailable, "the server has ended the stream of changes")
                .with_hint("it is going down; the stream goes on where it was"));
        };
        let message = message.as_ref();
        match message.first() {
            // 'w', where it begins, where the log ends, the time.
            Some(b'w') => {
                let data = message.get(25..).unwrap_or_default();
                self.flow.bytes += data.len() as u64;
                self.change(data).await
            }
            // 'k', where the log has been read to, the time, whether an answer is wanted.
            Some(b'k') => {
                let end =
                    message.get(1..9).and_then(|end| end.first_chunk::<8>()).copied().map(u64::from_be_bytes);
                let wanted = message.get(17) == Some(&1);
                if !self.flow.within {
                    self.flow.nothing_until(Lsn(end.unwrap_or(0)));
                    self.flow.hurry |= wanted;
                }
                if wanted { self.report(false).await } else { Ok(()) }
            }
            _ => Ok(()),
        }
    }

    async fn change(&mut self, data: &[u8]) -> Result<()> {
        match Message::parse(data)? {
            Message::Begin { .. } => self.flow.within = true,
            Message::Commit { end } => self.flow.ends(end),
            Message::Relation(relation) => self.relation(data, &relation).await?,
            Message::Insert { relation, new } if self.operations.insert => {
                if let Some(table) = self.table(relation)? {
                    let values = table.values(&new)?;
                    self.flow.gathered.insert(&table, values);
                }
            }
            Message::Update { relation, old, new } if self.operations.update => {
                if let Some(table) = self.table(relation)? {
                    self.update(&table, old, &new).await?;
                }
            }
            Message::Delete { relation, old } if self.operations.delete => {
                if let Some(table) = self.table(relation)? {
                    if table.key.is_empty() {
                        return Err(table.keyless(Change::Delete));
                    }
                    let values = table.values(&old.values)?;
                    self.flow.gathered.delete(&table, values);
                }
            }
            Message::Truncate { relations } if self.operations.truncate => {
                for relation in relations {
                    if let Some(table) = self.table(relation)? {
                        self.flow.gathered.truncate(&table);
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The table of a change; none of one that is not followed.
    fn table(&self, oid: u32) -> Result<Option<Arc<Known>>> {
        match self.relations.get(&oid) {
            Some((_, known)) => Ok(known.clone()),
            None => {
                Err(Error::new(ErrorKind::Protocol, format!("the server did not tell of the table {oid}")))
            }
        }
    }

    async fn relation(&mut self, data: &[u8], relation: &Relation<'_>) -> Result<()> {
        let oid = relation.oid;
        if self.relations.get(&oid).is_some_and(|(words, _)| words == data) {
            return Ok(());
        }
        let Some(followed) = self.followed.get(&oid).cloned() else {
            tracing::debug!(table = %TableId::with_schema(relation.schema, relation.name), "not followed");
            self.relations.insert(oid, (data.to_vec(), None));
            return Ok(());
        };
        let again = self.relations.contains_key(&oid);
        let shape = now(&mut self.session, &self.options, &followed).await?;
        let known = Known::new(&mut self.session, followed, relation, shape.as_deref()).await?;
        if again {
            tracing::info!(table = %known.followed.asked, columns = known.schema().columns().len(), "the table has other columns");
        }
        if self.binary && !known.is_binary() {
            if let Some(changes) = &self.options.changes {
                changes.as_text.store(true, Ordering::Relaxed);
            }
            let text = format!("{} has a column now that comes as text alone", known.followed.asked);
            return Err(Error::new(ErrorKind::Conflict, text).with_hint("the stream is read again, as text"));
        }
        self.relations.insert(oid, (data.to_vec(), Some(Arc::new(known))));
        Ok(())
    }

    async fn update(&mut self, table: &Arc<Known>, old: Option<Old<'_>>, new: &[Field<'_>]) -> Result<()> {
        if table.key.is_empty() {
            return Err(table.keyless(Change::Update));
        }
        let mut values = table.values(new)?;
        let Some(old) = old else {
            if table.lacks_key(&values) {
                return Err(key_not_sent(table));
            }
            self.flow.gathered.update(table, values);
            return Ok(());
        };
        let before = table.values(&old.values)?;
        let mut before = if old.whole { before } else { table.key_only(before) };
        Known::fill(&mut values, &before);
        if table.lacks_key(&values) {
            return Err(key_not_sent(table));
        }
        let key = table.key_of(&before);
        if key == table.key_of(&values) {
            self.flow.gathered.update(table, values);
            return Ok(());
        }
        // Another key is another row: the old one goes, and the new one has to be known wholly.
        if let Some(state) = self.flow.gathered.state(table, &key) {
            Known::fill(&mut values, state);
        }
        let found = values.missing.is_empty() || self.look_up(table, &mut values).await?;
        before.missing.clear();
        self.flow.gathered.delete(table, before);
        if found {
            self.flow.gathered.insert(table, values);
        }
        Ok(())
    }

    /// Reads long values that did not change from the source, where the row has this key still. If it has not,
    /// whatever came later to it is still to come: it was deleted, or has another key.
    async fn look_up(&mut self, table: &Known, values: &mut Values) -> Result<bool> {
        let asked = &table.followed.asked;
        let catalog = match look_up(&mut self.session, asked).await {
            Ok(catalog) => catalog,
            // With the table its rows are gone.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        table.look_up(&mut self.session, &catalog, values, self.binary).await
    }
}
