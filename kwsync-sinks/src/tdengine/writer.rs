//! One lane's rows, as statements.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use bytes::Bytes;
use kwsync_core::system::tdengine::{Refusal, RefusalClass, Session, table_name};
use kwsync_core::{
    Delivered, Error, ErrorKind, Result, Retry, RowCounts, Settled, Stage, TableBatch, TableId, Writer,
};
use kwsync_formats::tdengine::Literals;

use super::config::Create;
use super::layout::Layout;
use super::sink::Shared;
use super::tags::{Child, update};

/// Subtables that are remembered to be there.
const MOST_KNOWN: usize = 1 << 20;
/// So many rows in a row that the server calls bad syntax, and none before that it has taken, are no fault of rows.
const MOST_UNREAD: u32 = 32;
/// So many rows of a batch that are refused one by one, all for the same reason, while none is taken: whether it goes on like that is asked first.
const MOST_SINGLE: u32 = 32;
/// The subtable is one of another supertable: no row of it will be taken.
const ELSEWHERE: u16 = 0x061d;

/// Writes one lane's rows; each statement is settled when it is answered.
#[derive(Debug)]
pub struct TdengineWriter {
    shared: Arc<Shared>,
    session: Option<Session>,
    /// How the columns that each table had last are written.
    layouts: HashMap<TableId, Arc<Layout>>,
    /// The session that looks at tags and changes them.
    looking: Option<Session>,
    /// Subtables that a statement has made or found, by a hash of supertable and name: a hash of the tags that they were given last.
    known: HashMap<u64, u64>,
    /// Rows of a batch that has not been written to its end.
    pending: Option<(TableBatch, HashSet<u32>)>,
    warned: bool,
    /// Rows that the server could not read, before it has taken one.
    unread: u32,
    taken: bool,
}

/// Rows of one table or subtable.
struct Group {
    /// `` `db`.`name` ``
    name: Vec<u8>,
    /// The tags as literals, where it is a subtable.
    tags: Vec<u8>,
    /// The subtable, and the row that has its tags.
    child: Child,
    /// Of the supertable's and the subtable's name.
    key: u64,
    /// Of the tags.
    hash: u64,
}

/// What became of the rows of a batch.
enum Outcome {
    Done,
    /// Those that are left where the table, or a column of it, is gone.
    Gone(HashSet<u32>, Error),
    /// Those that are left where it may not be worth while to go on.
    Paused(HashSet<u32>),
}

/// A row in the order in which it is written: its group, and its place in the batch. One that was refused belongs to none.
type Place = (u32, u32);
const REFUSED: u32 = u32::MAX;

/// A batch on its way.
struct Work<'a> {
    batch: &'a TableBatch,
    layout: &'a Layout,
    groups: Vec<Group>,
    order: Vec<Place>,
    settled: Settled,
}

/// A statement, and what it holds.
struct Statement {
    sql: Vec<u8>,
    rows: u64,
    changed: u64,
    /// The places from the first one up to this one are in it.
    end: usize,
    /// Whether it leaves out the supertable of subtables that are known.
    short: bool,
}

fn hash_of(value: impl Hash) -> u64 {
    let mut hash = DefaultHasher::new();
    value.hash(&mut hash);
    hash.finish()
}

impl Work<'_> {
    fn refuse(&mut self, row: usize, stage: Stage, code: &str, reason: &str) {
        self.settled.add(self.batch.table(), RowCounts { rejected: 1, ..RowCounts::default() });
        self.settled.rejects.push(self.batch.reject(row, stage, code.to_owned(), reason.to_owned()));
    }

    /// Puts rows into groups, `only` some or all; those that belong to none are refused.
    fn group(&mut self, only: Option<&HashSet<u32>>, warned: &mut bool, update_tags: bool) -> Result<()> {
        let leaves_out = |row: usize| only.is_some_and(|only| !only.contains(&(row as u32)));
        let (batch, layout) = (self.batch, self.layout);
        let Some(((encoder, each), naming)) = layout.tags.as_ref().zip(layout.naming.as_ref()) else {
            let child = Child { name: layout.target.table.name.clone(), row: 0 };
            let name = layout.name.clone().into_bytes();
            self.groups.push(Group { name, tags: Vec::new(), child, key: 0, hash: 0 });
            self.order =
                (0..batch.rows()).filter(|row| !leaves_out(*row)).map(|row| (0, row as u32)).collect();
            return Ok(());
        };
        let literals = encoder.bind(batch);
        let single: Vec<Literals<'_>> = each.iter().map(|one| one.bind(batch)).collect();
        let mut by_key: HashMap<Vec<u8>, std::result::Result<u32, (String, String)>> = HashMap::new();
        let (mut tags, mut key, mut last) = (Vec::new(), Vec::new(), None::<u32>);
        let mut rows: Vec<Vec<u32>> = Vec::new();
        for row in (0..batch.rows()).filter(|row| !leaves_out(*row)) {
            tags.clear();
            if let Err(fault) = literals.write(row, &mut tags)? {
                self.refuse(row, Stage::Encode, fault.code, &fault.reason);
                continue;
            }
            // Rows that follow each other are often of one subtable.
            if let Some(at) = last.filter(|_| !naming.is_free())
                && self.groups.get(at as usize).is_some_and(|group| group.tags == tags)
            {
                rows[at as usize].push(row as u32);
                continue;
            }
            key.clear();
            if let Err(error) = naming.key(batch, row, &tags, &mut key) {
                self.refuse(row, Stage::Encode, error.code().unwrap_or("no_subtable"), error.message());
                continue;
            }
            let known = match by_key.get(&key) {
                Some(known) => known,
                None => {
                    let mut values = Vec::with_capacity(single.len());
                    for one in &single {
                        let mut value = Vec::new();
                        // It was written with the others before.
                        drop(one.write(row, &mut value)?);
                        values.push(value);
                    }
                    let made = match naming.name(&layout.target.table.name, &key, &values) {
                        Ok(name) => {
                            let full = format!("{}{}", layout.database, table_name(&name)?);
                            let child = Child { name, row };
                            let tags = tags.clone();
                            self.groups.push(Group { name: full.into_bytes(), tags, child, key: 0, hash: 0 });
                            rows.push(Vec::new());
                            Ok(self.groups.len() as u32 - 1)
                        }
                        Err(error) if error.kind() == ErrorKind::Data => {
                            Err((error.code().unwrap_or("bad_name").to_owned(), error.message().to_owned()))
                        }
                        Err(error) => return Err(error),
                    };
                    by_key.entry(key.clone()).or_insert(made)
                }
            };
            match known {
                Ok(at) => {
                    let at = *at;
                    let group = &mut self.groups[at as usize];
                    if group.tags != tags {
                        if update_tags {
                            (group.tags, group.child.row) = (tags.clone(), row);
                        } else if !std::mem::replace(warned, true) {
                            tracing::warn!(
                                subtable = group.child.name,
                                "rows of one subtable have different tags, and those of the first stay: update-tags changes them"
                            );
                        }
                    }
                    rows[at as usize].push(row as u32);
                    last = Some(at);
                }
                Err((code, reason)) => {
                    let (code, reason) = (code.clone(), reason.clone());
                    self.refuse(row, Stage::Encode, &code, &reason);
                }
            }
        }
        for group in &mut self.groups {
            // A name alone may be one of several supertables.
            (group.key, group.hash) = (hash_of((&layout.name, &group.name)), hash_of(&group.tags));
        }
        self.order.reserve(rows.iter().map(Vec::len).sum());
        for (at, rows) in rows.into_iter().enumerate() {
            self.order.extend(rows.into_iter().map(|row| (at as u32, row)));
        }
        Ok(())
    }

    /// A statement of the rows from a place on and below another, as many as it may have; rows that do not fit their columns are refused.
    fn encode(
        &mut self,
        shared: &Shared,
        literals: &Literals<'_>,
        known: &HashMap<u64, u64>,
        (start, stop): (usize, usize),
    ) -> Result<Statement> {
        let options = &shared.options;
        let room = (stop - start).saturating_mul(64).min(options.statement_bytes) + 4_096;
        let mut made =
            Statement { sql: Vec::with_capacity(room), rows: 0, changed: 0, end: start, short: false };
        made.sql.extend_from_slice(b"INSERT INTO ");
        let mut open = None;
        while made.end < stop && made.rows < options.statement_rows as u64 {
            let (at, row) = self.order[made.end];
            if at == REFUSED {
                made.end += 1;
                continue;
            }
            let (before, short) = (made.sql.len(), made.short);
            if open != Some(at) {
                let group = &self.groups[at as usize];
                if made.rows > 0 {
                    made.sql.push(b' ');
                }
                made.sql.extend_from_slice(&group.name);
                if self.layout.tags.is_some() {
                    if known.get(&group.key) == Some(&group.hash) {
                        made.short = true;
                    } else {
                        made.sql.extend_from_slice(&self.layout.using);
                        made.sql.extend_from_slice(&group.tags);
                        made.sql.push(b')');
                    }
                }
                made.sql.extend_from_slice(&self.layout.columns);
            }
            made.sql.push(b'(');
            match literals.write(row as usize, &mut made.sql)? {
                Ok(_) if made.rows > 0 && made.sql.len() >= options.statement_bytes => {
                    made.sql.truncate(before);
                    made.short = short;
                    break;
                }
                Ok(changed) => {
                    made.sql.push(b')');
                    made.rows += 1;
                    made.changed += changed;
                    open = Some(at);
                }
                Err(fault) => {
                    made.sql.truncate(before);
                    made.short = short;
                    self.order[made.end].0 = REFUSED;
                    self.refuse(row as usize, Stage::Encode, fault.code, &fault.reason);
                }
            }
            made.end += 1;
        }
        Ok(made)
    }

    /// The rows of ranges that were not refused.
    fn left(&self, open: &[(usize, usize)]) -> HashSet<u32> {
        let places = open.iter().flat_map(|(start, stop)| &self.order[*start..*stop]);
        places.filter(|(at, _)| *at != REFUSED).map(|(_, row)| *row).collect()
    }

    /// The groups of rows from a place on and below another.
    fn groups_of(&self, (start, stop): (usize, usize)) -> impl Iterator<Item = &Group> {
        let mut last = REFUSED;
        self.order[start..stop].iter().filter_map(move |(at, _)| {
            let fresh = *at != REFUSED && *at != last;
            last = if *at == REFUSED { last } else { *at };
            fresh.then(|| self.groups.get(*at as usize)).flatten()
        })
    }
}

impl TdengineWriter {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            session: None,
            looking: None,
            layouts: HashMap::new(),
            known: HashMap::new(),
            pending: None,
            warned: false,
            unread: 0,
            taken: false,
        }
    }

    /// How rows of the batch's columns are written.
    fn layout(&mut self, batch: &TableBatch) -> Result<Arc<Layout>> {
        let Some(target) = self.shared.ready(batch.table()) else {
            let text = format!("table {} has not been prepared", batch.table());
            return Err(Error::new(ErrorKind::Internal, text));
        };
        if let Some(known) = self.layouts.get(batch.table())
            && Arc::ptr_eq(&known.target, &target)
            && (Arc::ptr_eq(&known.schema, batch.schema()) || known.schema == *batch.schema())
        {
            return Ok(Arc::clone(known));
        }
        let made = Arc::new(Layout::of(&self.shared.options, batch.schema(), &target)?);
        self.layouts.insert(batch.table().clone(), Arc::clone(&made));
        Ok(made)
    }

    /// Makes columns longer for the texts of a batch, if that is asked for.
    async fn widened(&mut self, batch: &TableBatch) -> Result<Arc<Layout>> {
        let layout = self.layout(batch)?;
        if self.shared.options.create != Create::Evolve || layout.target.is_child {
            return Ok(layout);
        }
        let mut wanted = Vec::new();
        let tags = layout.tags.iter().map(|(tags, _)| tags);
        for encoder in std::iter::once(&layout.values).chain(tags) {
            let targets = encoder.targets();
            let long = encoder.bind(batch).too_long();
            wanted.extend(
                long.into_iter().filter_map(|(at, length)| Some((targets.get(at)?.name.clone(), length))),
            );
        }
        if wanted.is_empty() {
            return Ok(layout);
        }
        self.shared.widen(batch.table(), batch.schema(), &wanted).await?;
        self.layout(batch)
    }

    /// Writes the rows of a batch, some or all; with `may_pause` not all of them where the server takes none, and the rest later.
    async fn write_batch(
        &mut self,
        batch: &TableBatch,
        mut rest: Option<HashSet<u32>>,
        may_pause: bool,
    ) -> Result<Settled> {
        let mut layout = self.widened(batch).await?;
        let mut settled = Settled::default();
        // Once more where the table is no longer what it was when it was prepared.
        let mut again = true;
        loop {
            let mut work = Work {
                batch,
                layout: &layout,
                groups: Vec::new(),
                order: Vec::new(),
                settled: std::mem::take(&mut settled),
            };
            work.group(rest.as_ref(), &mut self.warned, self.shared.options.update_tags)?;
            match self.write_groups(&mut work, may_pause).await? {
                Outcome::Done => return Ok(work.settled),
                Outcome::Paused(left) => {
                    self.pending = Some((batch.clone(), left));
                    return Ok(work.settled);
                }
                Outcome::Gone(left, error) => {
                    if !std::mem::replace(&mut again, false) {
                        return Err(error);
                    }
                    tracing::warn!(%error, table = %batch.table(), "the table is looked at again");
                    settled = std::mem::take(&mut work.settled);
                    rest = Some(left);
                    self.known.clear();
                    self.shared.prepare(batch.table(), batch.schema()).await?;
                    layout = self.layout(batch)?;
                }
            }
        }
    }

    /// Writes what is left of an earlier batch.
    async fn write_pending(&mut self) -> Result<Settled> {
        match self.pending.take() {
            Some((batch, left)) => self.write_batch(&batch, Some(left), false).await,
            None => Ok(Settled::default()),
        }
    }

    /// Writes the rows of a batch.
    async fn write_groups(&mut self, work: &mut Work<'_>, may_pause: bool) -> Result<Outcome> {
        let layout = work.layout;
        let literals = layout.values.bind(work.batch);
        // The last range is the next one to be sent; what was refused as a whole comes again in halves.
        let mut open = vec![(0, work.order.len())];
        // The code of the rows that were refused one by one, and how many of them there were before the first that was taken.
        let (mut reason, mut alone, mut taken) = (String::new(), 0, false);
        while let Some((start, stop)) = open.pop() {
            let statement = work.encode(&self.shared, &literals, &self.known, (start, stop))?;
            let end = statement.end;
            if end < stop {
                open.push((end, stop));
            }
            if statement.rows == 0 {
                continue;
            }
            let (rows, changed, short) = (statement.rows, statement.changed, statement.short);
            let bytes = statement.sql.len() as u64;
            let error = match self.send(statement.sql).await {
                Ok(affected) => {
                    (self.taken, taken) = (true, true);
                    work.settled.bytes += bytes;
                    work.settled.coerced += changed;
                    // Rows of a statement that share table and time are put together before they are counted.
                    let written = affected.min(rows);
                    let counts = RowCounts { written, updated: rows - written, ..RowCounts::default() };
                    work.settled.add(work.batch.table(), counts);
                    self.remember(work, (start, end)).await?;
                    if !self.shared.options.interval.is_zero() {
                        tokio::time::sleep(self.shared.options.interval).await;
                    }
                    continue;
                }
                Err(error) => error,
            };
            let class = Refusal::of(&error).map(Refusal::class);
            match class {
                Some(RefusalClass::NoTable) if short => {
                    // One of them is gone: with its supertable the statement makes it again.
                    for group in work.groups_of((start, end)) {
                        self.known.remove(&group.key);
                    }
                    open.push((start, end));
                }
                Some(RefusalClass::NoTable | RefusalClass::NoColumn) => {
                    open.push((start, end));
                    return Ok(Outcome::Gone(work.left(&open), error));
                }
                Some(RefusalClass::Row)
                    if rows > 1
                        && Refusal::of(&error).is_some_and(|refusal| refusal.code == ELSEWHERE)
                        && work.groups_of((start, end)).nth(1).is_none() =>
                {
                    let code = error.code().unwrap_or("refused").to_owned();
                    for at in start..end {
                        let Some(place) = work.order.get_mut(at).filter(|place| place.0 != REFUSED) else {
                            continue;
                        };
                        place.0 = REFUSED;
                        let row = place.1 as usize;
                        work.refuse(row, Stage::Write, &code, error.message());
                    }
                }
                Some(RefusalClass::Row | RefusalClass::Length) if rows == 1 => {
                    let syntax =
                        Refusal::of(&error).is_some_and(|refusal| matches!(refusal.code, 0x0216 | 0x2600));
                    self.unread += u32::from(syntax && !self.taken);
                    if self.unread > MOST_UNREAD {
                        let error = error.context("the server cannot read any of the rows");
                        return Err(error.with_hint("its version may not know a type of the table: -T drop-columns: leaves columns out"));
                    }
                    let Some(place) = work.order[start..end].iter_mut().find(|(at, _)| *at != REFUSED) else {
                        return Err(error);
                    };
                    let row = place.1 as usize;
                    place.0 = REFUSED;
                    let code = error.code().unwrap_or("refused").to_owned();
                    work.refuse(row, Stage::Write, &code, error.message());
                    alone = if code == reason { alone + 1 } else { 1 };
                    reason = code;
                    if may_pause && !taken && alone > MOST_SINGLE {
                        let left = work.left(&open);
                        if !left.is_empty() {
                            return Ok(Outcome::Paused(left));
                        }
                    }
                }
                Some(RefusalClass::Row | RefusalClass::Length) => {
                    let middle = start + (end - start) / 2;
                    open.push((middle, end));
                    open.push((start, middle));
                }
                _ => return Err(error),
            }
        }
        Ok(Outcome::Done)
    }

    /// What is there by a statement that was executed.
    async fn remember(&mut self, work: &mut Work<'_>, range: (usize, usize)) -> Result<()> {
        if work.layout.tags.is_none() {
            return Ok(());
        }
        if self.known.len() > MOST_KNOWN {
            self.known.clear();
        }
        let new = |group: &&Group, known: &HashMap<u64, u64>| known.get(&group.key) != Some(&group.hash);
        let fresh: Vec<&Group> = work.groups_of(range).filter(|group| new(group, &self.known)).collect();
        if self.shared.options.update_tags && !fresh.is_empty() {
            let children: Vec<Child> = fresh.iter().map(|group| group.child.clone()).collect();
            let mut backoff = self.shared.backoff();
            loop {
                let mut session = match self.looking.take() {
                    Some(session) => session,
                    None => self.shared.session()?,
                };
                match update(&mut session, work.layout, work.batch, &children).await {
                    Ok(changed) => {
                        self.looking = Some(session);
                        if changed > 0 {
                            tracing::info!(changed, table = %work.batch.table(), "subtables have other tags now");
                        }
                        break;
                    }
                    Err(error) if error.retry() == Retry::Never => return Err(error),
                    Err(error) => {
                        let Some(wait) = backoff.next_wait() else { return Err(error) };
                        tracing::warn!(%error, "the tags are looked at again");
                        tokio::time::sleep(wait).await;
                    }
                }
            }
        }
        // Behind the update: what failed is done again.
        self.known.extend(fresh.iter().map(|group| (group.key, group.hash)));
        Ok(())
    }

    /// A session, taken out: one whose call is dropped is gone.
    fn session(&mut self) -> Result<Session> {
        match self.session.take() {
            Some(session) => Ok(session),
            None => self.shared.insert_session(),
        }
    }

    /// Sends a statement, again where the connection was lost or the server is busy: a row that is sent twice replaces itself. Returns
    /// the rows that the server counts: those of one table and time are one.
    async fn send(&mut self, sql: Vec<u8>) -> Result<u64> {
        let sql = Bytes::from(sql);
        let mut backoff = self.shared.backoff();
        loop {
            let mut session = self.session()?;
            let executing = session.execute(sql.clone());
            let done = match self.shared.options.insert_timeout {
                // All of it: a server that sends a little now and then is no quicker.
                Some(longest) => tokio::time::timeout(longest, executing).await.unwrap_or_else(|_| {
                    let text = format!("a statement of {} bytes took longer than {longest:?}", sql.len());
                    Err(Error::new(ErrorKind::Timeout, text)
                        .with_hint("raise timeout-per-table=, or lower batch-size="))
                }),
                None => executing.await,
            };
            let error = match done {
                Ok(affected) => {
                    self.session = Some(session);
                    return Ok(affected);
                }
                Err(error) if error.retry() == Retry::Never => {
                    self.session = Some(session);
                    return Err(error);
                }
                Err(error) => error,
            };
            let Some(wait) = backoff.next_wait() else {
                return Err(error.with_delivered(Delivered::InDoubt));
            };
            tracing::warn!(%error, bytes = sql.len(), "the statement is sent again");
            tokio::time::sleep(wait).await;
        }
    }
}

impl Writer for TdengineWriter {
    async fn write(&mut self, batch: &TableBatch) -> Result<Settled> {
        let mut settled = self.write_pending().await?;
        settled.merge(self.write_batch(batch, None, true).await?);
        Ok(settled)
    }

    async fn drain(&mut self) -> Result<Settled> {
        self.write_pending().await
    }

    async fn flush(&mut self) -> Result<Settled> {
        self.write_pending().await
    }

    async fn close(&mut self) -> Result<Settled> {
        let settled = self.write_pending().await?;
        (self.session, self.looking) = (None, None);
        Ok(settled)
    }
}
