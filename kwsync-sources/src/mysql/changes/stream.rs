//! The stream of the binary log: a task reads it and gathers changes, as fast as the target takes them.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use kwsync_core::system::mysql::binlog::{Event, Query, Rows, RowsKind, TableMap};
use kwsync_core::{Error, ErrorKind, Input, Result, Retry, Schema, SourceBatch, TableBatch};
use mysql_async::Conn;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::ahead::Ahead;
use super::charset::Charsets;
use super::known::{Known, Now};
use super::listed::Listed;
use super::log::Log;
use super::place::{Altered, BinlogPlace};
use super::server::{self, Server};
use super::statements::gone;
use super::{ChangesSpec, Followed, precheck, replica};
use crate::mysql::config::MysqlSourceOptions;
use crate::mysql::shape::{Shape, Table};
use crate::mysql::source::look;
use crate::relational::changes::{Changing, Extent, Flow, Operations, Place, Told};

/// How often it is looked whether something is due.
const TICK: Duration = Duration::from_millis(500);
/// After which silence the server is taken for gone: it says something every ten seconds.
pub(super) const SILENCE: Duration = Duration::from_secs(60);

/// What a task has to do.
pub(super) struct Streaming {
    pub(super) options: Arc<MysqlSourceOptions>,
    pub(super) spec: ChangesSpec,
    pub(super) at: BinlogPlace,
    pub(super) told: watch::Receiver<Told<BinlogPlace>>,
    pub(super) input: Arc<Input>,
}

/// A task at work.
pub(super) struct Stream {
    options: Arc<MysqlSourceOptions>,
    server: Server,
    pub(super) log: Log,
    told: watch::Receiver<Told<BinlogPlace>>,
    input: Arc<Input>,
    tables: HashMap<(String, String), Arc<Followed>>,
    /// What each table was when the log told of it last.
    known: HashMap<String, Arc<Known>>,
    /// The tables of the transaction under way, by their numbers; none of those that are not followed.
    numbers: HashMap<u64, Option<Arc<Known>>>,
    charsets: Charsets,
    pub(super) flow: Flow<BinlogPlace, Known>,
    operations: Operations,
    replica: u32,
    /// Whether a transaction was begun that has an end of its own.
    pub(super) begun: bool,
    /// Whether it has changed rows of a table that is followed.
    pub(super) touched: bool,
    gtid: Arc<str>,
    altered: Arc<Vec<Altered>>,
    ahead: Ahead,
    heard: Instant,
}

/// The error of a server that says nothing.
pub(super) fn silent() -> Error {
    Error::new(ErrorKind::Unavailable, "the server has been silent for a minute")
        .with_hint("it went away, or a firewall has cut the connection; the stream goes on where it was")
}

impl Streaming {
    /// Reads from `at` on until the job is to end, or nobody takes the batches any more.
    pub(super) async fn run(self, sender: &mpsc::Sender<Result<SourceBatch>>) -> Result<()> {
        let Self { options, spec, at, told, input } = self;
        let mut session = options.connect.connect().await?;
        let server = Server::look(&mut session).await?;
        server::check(&mut session, &server, &spec.server, &at).await?;
        let charsets = Charsets::look(&mut session).await?;
        let minds_case = server.minds_case();
        let mut tables = HashMap::new();
        for table in &spec.tables {
            let table = Arc::new(table.clone());
            tables.insert(key(&table, minds_case), Arc::clone(&table));
            let Some(now) = now(&mut session, &options, &table).await? else {
                tracing::warn!(table = %table.asked, "the table is gone");
                continue;
            };
            // So that it is made in the target, and what comes first may be a delete.
            let none = TableBatch::empty(table.table.clone(), now.schema)?;
            if sender.send(Ok(SourceBatch::new(vec![none], at.position()))).await.is_err() {
                return Ok(());
            }
        }
        let changes = options.changes.clone().unwrap_or_default();
        let until = match changes.extent {
            Extent::CaughtUp => server::status(&mut session).await?.map(|status| status.place),
            _ => None,
        };
        let (number, name) = replica(&options, &changes);
        let log = Log::open(&options, &server, &at, (number, &name)).await?;
        drop(session.disconnect().await);
        tracing::info!(replica = number, at = %at, "following changes");
        let stream = Stream {
            options,
            server,
            log,
            told,
            input,
            tables,
            known: HashMap::new(),
            numbers: HashMap::new(),
            charsets,
            operations: changes.operations,
            replica: number,
            begun: false,
            touched: false,
            gtid: Arc::clone(&at.gtid),
            altered: Arc::clone(&at.altered),
            ahead: Ahead::default(),
            flow: Flow::new(at, until),
            heard: Instant::now(),
        };
        stream.run(sender).await
    }
}

/// What a table is found by.
fn key(table: &Followed, minds_case: bool) -> (String, String) {
    place(table.asked.schema().unwrap_or_default(), table.asked.name(), minds_case)
}

fn place(schema: &str, name: &str, minds_case: bool) -> (String, String) {
    match minds_case {
        true => (schema.to_owned(), name.to_owned()),
        false => (schema.to_lowercase(), name.to_lowercase()),
    }
}

/// Makes sure that rows of a table are told apart as they were when the job began, and that all that changes them is in the log.
///
/// # Errors
/// `Conflict` where they are not.
pub(super) fn still(options: &MysqlSourceOptions, followed: &Followed, table: &Table) -> Result<()> {
    let asked = &followed.asked;
    if !followed.key.is_empty() && !table.is_followed_key(&followed.key) {
        let has = match table.followed_key() {
            key if key.is_empty() => "none".to_owned(),
            key => format!("({})", key.join(", ")),
        };
        return Err(gone(format!(
            "rows of {asked} are told apart by its key ({}), and that is gone or renamed: the table has {has} now",
            followed.key.join(", ")
        )));
    }
    let cascades = options.changes.as_ref().is_some_and(|changes| changes.cascades);
    match precheck::silent(asked, table).next() {
        Some(text) if !cascades => Err(Error::new(ErrorKind::Conflict, text)
            .with_retry(Retry::Never)
            .with_hint(format!("{}; then begin anew with --restart", precheck::CASCADES))),
        _ => Ok(()),
    }
}

/// The columns that a table has now, as a copy of it would have them; none where it is gone.
async fn now(session: &mut Conn, options: &MysqlSourceOptions, followed: &Followed) -> Result<Option<Now>> {
    let table = match look(session, &followed.asked).await {
        Ok(table) => table,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    still(options, followed, &table)?;
    let listed = table.columns.iter().map(Listed::from).collect();
    let shape = Shape::of_table(session, options, &followed.asked, &table).await?;
    let mut schema = shape.schema;
    if options.changes.as_ref().is_some_and(|changes| !changes.operations.alter) {
        let was = |name: &str| followed.columns.iter().any(|column| column.name == name);
        let own = schema.columns().iter().filter(|column| was(column.name())).cloned();
        schema = Arc::new(Schema::new(own.collect())?);
    }
    Ok(Some(Now { schema, listed }))
}

impl Stream {
    async fn run(mut self, sender: &mpsc::Sender<Result<SourceBatch>>) -> Result<()> {
        let mut next = Instant::now() + TICK;
        loop {
            // What is here already is gathered first: the more there is, the fewer commits.
            self.flow.look_for_the_end();
            while !self.flow.is_full() && !self.flow.reached {
                match self.log.ready()? {
                    Some(packet) => self.take(packet).await?,
                    None => break,
                }
                self.flow.look_for_the_end();
            }
            let due = self.flow.is_due();
            if self.flow.is_over()? {
                return Ok(());
            }
            let reads = !self.flow.is_full() && !self.flow.reached;
            tokio::select! {
                biased;
                changed = self.told.changed() => {
                    let told = self.told.borrow_and_update().clone();
                    self.flow.settle(told.settled);
                    if told.close || changed.is_err() {
                        return Ok(());
                    }
                }
                () = tokio::time::sleep_until(next) => {
                    next = Instant::now() + TICK;
                    if !reads {
                        self.heard = next;
                    } else if self.heard.elapsed() > SILENCE {
                        return Err(silent());
                    }
                }
                permit = sender.reserve(), if due => match permit {
                    Ok(permit) => permit.send(Ok(self.flow.batch(&self.input)?)),
                    Err(_) => return Ok(()),
                },
                packet = self.log.next(), if reads => self.take(packet?).await?,
            }
        }
    }

    pub(super) fn followed(&self) -> impl Iterator<Item = &Arc<Followed>> {
        self.tables.values()
    }

    pub(super) fn minds_case(&self) -> bool {
        self.server.minds_case()
    }

    pub(super) fn find(&self, schema: &str, name: &str) -> Option<Arc<Followed>> {
        self.tables.get(&place(schema, name, self.minds_case())).cloned()
    }

    /// What the catalog had of a table when the stream last looked at it for an alteration.
    pub(super) fn columns_before(&self, table: &Followed) -> Vec<Listed> {
        let name = table.asked.to_string();
        let noted = self.altered.iter().find(|altered| altered.table == name && !altered.since.is_empty());
        noted.map_or_else(|| table.columns.clone(), |altered| altered.since.clone())
    }

    /// A statement as UTF-8.
    ///
    /// # Errors
    /// `Unsupported` where it may name a table that is followed, and nobody can tell.
    pub(super) async fn sql<'a>(&mut self, query: &Query<'a>) -> Result<Cow<'a, [u8]>> {
        if let Some(sql) = self.charsets.sql(&self.options, query).await? {
            return Ok(sql);
        }
        let foreign = |table: &&Arc<Followed>| !table.asked.to_string().is_ascii();
        if let Some(table) = self.followed().find(foreign) {
            let text =
                format!("a statement is in a character set that is not known, and may be of {}", table.asked);
            return Err(self.cannot(&text).with_hint(
                "leave tables out with exclude= whose names are not ASCII, or have clients speak utf8mb4; then begin anew with --restart",
            ));
        }
        Ok(query.sql.clone())
    }

    pub(super) async fn session(&self) -> Result<Conn> {
        self.options.connect.connect().await
    }

    pub(super) fn options(&self) -> &MysqlSourceOptions {
        &self.options
    }

    pub(super) fn forget(&mut self, table: &str) {
        self.known.remove(table);
    }

    /// Notes what became of a table's columns, for whoever reads on from here.
    pub(super) fn note(&mut self, altered: Altered) {
        let mut all: Vec<Altered> =
            self.altered.iter().filter(|known| known.table != altered.table).cloned().collect();
        all.push(altered);
        self.altered = Arc::new(all);
    }

    /// The place behind the last event.
    fn here(&self) -> BinlogPlace {
        BinlogPlace {
            file: Arc::clone(&self.log.file),
            at: self.log.at,
            gtid: Arc::clone(&self.gtid),
            altered: Arc::clone(&self.altered),
        }
    }

    /// A transaction, or a statement that is none, ends.
    pub(super) fn ends(&mut self) {
        (self.begun, self.touched) = (false, false);
        self.numbers.clear();
        self.flow.ends(self.here());
    }

    async fn take(&mut self, packet: Option<Vec<u8>>) -> Result<()> {
        let Some(packet) = packet else {
            return Err(Error::new(ErrorKind::Unavailable, "the server has ended the stream of changes")
                .with_hint("it is going down, or another replica has the number of this one (server_id); the stream goes on where it was"));
        };
        self.flow.bytes += packet.len() as u64;
        let (header, event) = self.log.read(&packet)?;
        match event {
            Event::Rows(rows) => self.rows(&rows)?,
            Event::Table(map) => self.table(map).await?,
            Event::Commit => self.ends(),
            Event::Query(query) => self.statement(&query).await?,
            Event::Gtid { id, begins, .. } => {
                self.flow.within = true;
                self.begun = begins;
                self.gtid = id.into();
            }
            Event::Prepared { one_phase } => {
                if self.touched && !one_phase {
                    return Err(self.cannot("a transaction of two phases (XA PREPARE) changes tables that are followed, and what becomes of it is not told there")
                        .with_hint("begin anew with --restart; changes by XA are followed with XA COMMIT ... ONE PHASE alone"));
                }
                self.ends();
            }
            Event::Format if !header.is_artificial() && self.flow.within && self.touched => {
                return Err(self.cannot("a transaction breaks off: the server has lost the end of its log")
                    .with_hint("the server went down while it wrote; begin anew with --restart, and consider sync_binlog=1"));
            }
            Event::Format if !header.is_artificial() && self.flow.within => self.ends(),
            Event::PartialRows(number) => {
                if let Some(Some(table)) = self.numbers.get(&number) {
                    return Err(self
                        .cannot(&format!(
                            "a row of {} has parts of JSON alone (binlog_row_value_options)",
                            table.followed.asked
                        ))
                        .with_hint(
                            "SET GLOBAL binlog_row_value_options = '', and begin anew with --restart",
                        ));
                }
            }
            Event::Packed => {
                return Err(self
                    .cannot("a transaction is compressed in MySQL's way (binlog_transaction_compression)")
                    .with_hint(
                        "SET GLOBAL binlog_transaction_compression = OFF, and begin anew with --restart",
                    ));
            }
            Event::Incident(what) => {
                return Err(self
                    .cannot(&format!("the server says that it has lost events: {what}"))
                    .with_hint("begin anew with --restart"));
            }
            Event::Unknown => {
                return Err(self.cannot(&format!("an event is of the kind {}, which is not known here", header.kind))
                    .with_hint("the server is newer than this program, or the feature behind it has to be turned off"));
            }
            _ => {}
        }
        if !self.flow.within {
            // The ends of files and what stands at their beginnings are places, too.
            self.flow.nothing_until(self.here());
        }
        // At the end, since it may have taken long to look something up.
        self.heard = Instant::now();
        Ok(())
    }

    /// The error of a log that cannot be followed at a place.
    pub(super) fn cannot(&self, what: &str) -> Error {
        Error::new(ErrorKind::Unsupported, format!("{what} (at {})", self.log.here()))
            .with_retry(Retry::Never)
    }

    /// A table of which rows will come.
    async fn table(&mut self, map: TableMap) -> Result<()> {
        let number = map.id;
        let Some(followed) = self.find(&map.schema, &map.name) else {
            self.numbers.insert(number, None);
            return Ok(());
        };
        let name = followed.asked.to_string();
        if let Some(known) = self.known.get(&name).filter(|known| known.is(&map)) {
            self.numbers.insert(number, Some(Arc::clone(known)));
            return Ok(());
        }
        let mut session = self.options.connect.connect().await?;
        let now = now(&mut session, &self.options, &followed).await?;
        let altered = self.altered.iter().find(|altered| altered.table == name).cloned();
        let listed = match altered {
            None => Some(followed.columns.clone()),
            Some(Altered { columns: Some(columns), .. }) => Some(columns),
            Some(_) if map.has_names() => None,
            Some(_) => {
                let here = self.log.here();
                let minds_case = self.server.minds_case();
                let tables = &self.tables;
                let is_followed =
                    |schema: &str, name: &str| tables.contains_key(&place(schema, name, minds_case));
                let columns = self
                    .ahead
                    .columns(
                        &mut session,
                        &self.options,
                        &self.server,
                        &here,
                        &followed,
                        self.replica,
                        &mut self.charsets,
                        is_followed,
                    )
                    .await?;
                let since = columns.clone();
                self.note(Altered { table: name.clone(), columns: Some(columns.clone()), since });
                Some(columns)
            }
        };
        let again = self.known.contains_key(&name) || !self.altered.is_empty();
        let told = map.clone();
        let known = Known::new(
            &mut session,
            &mut self.charsets,
            &self.options,
            followed,
            map,
            listed.as_deref(),
            now.as_ref(),
        )
        .await?
        .told(told);
        drop(session.disconnect().await);
        if again {
            tracing::info!(table = name, "the table may have other columns");
        }
        let known = Arc::new(known);
        self.known.insert(name, Arc::clone(&known));
        self.numbers.insert(number, Some(known));
        Ok(())
    }

    pub(super) async fn truncate(&mut self, table: &Arc<Followed>) -> Result<()> {
        if !self.operations.truncate {
            return Ok(());
        }
        let known = match self.known.get(&table.asked.to_string()) {
            Some(known) => Arc::clone(known),
            None => {
                let mut session = self.options.connect.connect().await?;
                // With the table what it was is gone: nothing of it is written any more.
                let Some(now) = now(&mut session, &self.options, table).await? else { return Ok(()) };
                drop(session.disconnect().await);
                Arc::new(Known::empty(Arc::clone(table), now.schema, &self.options))
            }
        };
        self.flow.gathered.truncate(&known);
        Ok(())
    }

    fn rows(&mut self, rows: &Rows<'_>) -> Result<()> {
        if rows.data.is_empty() {
            // What ends a statement whose rows were left out.
            return Ok(());
        }
        let Some(table) = self.numbers.get(&rows.table) else {
            let text = format!("the log has rows of a table {} that it did not tell of before", rows.table);
            return Err(Error::new(ErrorKind::Protocol, text));
        };
        let Some(table) = table.clone() else { return Ok(()) };
        self.touched = true;
        let carried = match rows.kind {
            RowsKind::Insert => self.operations.insert,
            RowsKind::Update => self.operations.update && table.is_keyed(),
            RowsKind::Delete => self.operations.delete && table.is_keyed(),
        };
        if !carried {
            return Ok(());
        }
        let gathered = &mut self.flow.gathered;
        rows.each(table.map(), |before, after| {
            let after = after.map(|after| table.values(&after, false)).transpose()?;
            let before = before.map(|before| table.values(&before, true)).transpose()?;
            match (before, after) {
                (None, Some(after)) => gathered.insert(&table, after),
                (Some(before), None) => gathered.delete(&table, before),
                (Some(before), Some(after)) if table.key_of(&before) == table.key_of(&after) => {
                    gathered.update(&table, after);
                }
                // Another key is another row.
                (Some(before), Some(after)) => {
                    gathered.delete(&table, before);
                    gathered.insert(&table, after);
                }
                (None, None) => {}
            }
            Ok(())
        })
    }
}
