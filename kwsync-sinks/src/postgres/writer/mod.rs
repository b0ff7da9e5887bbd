//! One lane's session: a transaction at a time, and in it one segment of rows after the other, each behind a savepoint.

mod changes;
mod flight;
mod gather;
mod pace;
mod segment;
mod send;
mod textual;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use kwsync_core::system::postgres::catalog::CatalogTable;
use kwsync_core::system::postgres::profile::Profile;
use kwsync_core::system::postgres::wire::{Connection, Frame};
use kwsync_core::{
    Backoff, Change, Checkpoint, Delivered, Error, ErrorKind, Result, RowCounts, Schema, Settled, TableBatch,
    TableId, Writer,
};
use kwsync_formats::pgcopy::CopyEncoder;

use self::flight::Flight;
use self::gather::Gathered;
use self::pace::Pace;
use self::segment::{Place, Segment};
use self::send::Taught;
use self::textual::Textual;
use super::checkpoint;
use super::config::{Mode, Strategy};
use super::key::{self, Arranged, Key};
use super::shared::{Claimed, Shared};
use super::target;
use super::way::{self, Form, Way};

/// Rows up to which an INSERT is faster than a merge.
const FEW_ROWS: usize = 2_000;
/// Rows below which a batch waits for the next one of its table, or for the commit.
const SMALL_ROWS: usize = 4_096;
/// Bytes of batches above which nothing waits.
const SMALL_BYTES: usize = 4 << 20;
/// How often a lost server is looked for to learn whether it has committed.
const DOUBT_TRIES: u32 = 10;
/// Rows that may be left waiting when the first refusals are told early.
const WAITING_ROWS: usize = 1 << 17;

/// Writes one lane's rows. See [`PostgresSink`](super::PostgresSink).
#[derive(Debug)]
pub struct PostgresWriter {
    shared: Arc<Shared>,
    profile: Arc<Profile>,
    connection: Option<Connection>,
    encodings: HashMap<Place, Encoding>,
    /// Encodings made so far.
    made: usize,
    taught: Taught,
    frame: Frame,
    gathered: Gathered,
    /// Tables that are to be emptied before anything else is sent.
    emptied: Vec<String>,
    /// Rows that have to be sent, in order.
    backlog: VecDeque<Segment>,
    /// Bytes that small batches in it keep alive.
    small_bytes: usize,
    /// Rows that were sent, and whose answers were not read yet.
    flight: VecDeque<Flight>,
    pace: Pace,
    /// Whether BEGIN was sent.
    begun: bool,
    /// Whether the transaction must go back to its savepoint before anything else.
    undo: bool,
    /// Rows of the open transaction that the server has taken.
    counts: HashMap<TableId, RowCounts>,
    /// What the call under way will tell.
    told: Settled,
    /// Rows refused by the server so far, and at which number the next call returns early to tell.
    refused: u64,
    tell_at: u64,
    state: State,
}

/// What a call that is under way has done; a dropped future leaves it behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Clean,
    Busy,
    Committing,
}

/// How rows of one set of columns are encoded.
#[derive(Debug)]
struct Encoding {
    schema: Arc<Schema>,
    /// The catalog's table that the encoder was made for.
    table: Arc<CatalogTable>,
    encoder: CopyEncoder,
    /// For COPY of another form than BINARY.
    text: Option<Textual>,
    key: Option<Key>,
    way: Way,
    /// The way of segments with few rows, where it is another.
    few: Option<Way>,
    /// What tells how many rows were updated so far.
    count: Option<String>,
    /// Tells its statements apart from those of others in this session.
    number: usize,
}

impl Encoding {
    /// How the rows of a segment go in.
    fn way_of(&self, segment: &Segment) -> &Way {
        self.few.as_ref().filter(|_| segment.rows() <= FEW_ROWS).unwrap_or(&self.way)
    }

    /// Ends a COPY of its rows.
    fn end_copy(&self, frame: &mut Frame) {
        if self.text.is_none() {
            CopyEncoder::write_trailer(frame.copy_data());
        }
        frame.end_copy_data();
        frame.copy_done();
    }
}

impl PostgresWriter {
    pub(super) async fn connect(shared: Arc<Shared>) -> Result<Self> {
        let mut connection = shared.connect().await?;
        let profile = shared.profile(&mut connection).await?;
        Ok(Self {
            shared,
            profile,
            connection: Some(connection),
            encodings: HashMap::new(),
            made: 0,
            taught: Taught::default(),
            frame: Frame::default(),
            gathered: Gathered::default(),
            emptied: Vec::new(),
            backlog: VecDeque::new(),
            small_bytes: 0,
            flight: VecDeque::new(),
            pace: Pace::default(),
            begun: false,
            undo: false,
            counts: HashMap::new(),
            told: Settled::default(),
            refused: 0,
            tell_at: 1,
            state: State::Clean,
        })
    }

    /// Refuses to go on after a call that was broken off: its transaction is rolled back with its connection.
    fn check(&mut self) -> Result<()> {
        let delivered = match self.state {
            State::Clean => return Ok(()),
            State::Busy => Delivered::No,
            State::Committing => Delivered::InDoubt,
        };
        self.forget();
        Err(Error::new(ErrorKind::Unavailable, "a call was broken off, and its transaction is rolled back")
            .with_delivered(delivered))
    }

    /// Drops the connection and all that belongs to its transaction.
    fn forget(&mut self) {
        self.connection = None;
        self.taught = Taught::default();
        self.frame.clear();
        self.gathered.clear();
        self.emptied.clear();
        self.backlog.clear();
        self.flight.clear();
        (self.begun, self.undo) = (false, false);
        self.counts.clear();
        self.told = Settled::default();
        self.state = State::Clean;
    }

    /// The session; another one when there is none, or the one there was is broken.
    async fn session(&mut self) -> Result<&mut Connection> {
        let connection = match self.connection.take() {
            Some(connection) if self.begun || !connection.is_broken() => connection,
            _ => {
                self.taught = Taught::default();
                self.shared.connect().await?
            }
        };
        Ok(self.connection.insert(connection))
    }

    async fn accept(&mut self, batch: &TableBatch) -> Result<()> {
        if batch.rows() == 0 && batch.change() != Change::Truncate {
            return Ok(());
        }
        if batch.change() != Change::Truncate {
            self.empty().await?;
        }
        if batch.change().is_change() {
            return self.accept_change(batch).await;
        }
        self.plan(batch).await?;
        let key = self
            .encodings
            .get(&(batch.table().clone(), Change::Rows))
            .and_then(|encoding| encoding.key.as_ref());
        let gathers = match key.filter(|key| key.gather) {
            Some(key) => !self.gathered.is_empty() || !key::is_ordered(batch, key)?,
            None => false,
        };
        if !gathers || !self.gathered.takes(batch) {
            self.release().await?;
        }
        if !gathers {
            return self.arrange(vec![batch.clone()]).await;
        }
        self.gathered.push(batch.clone());
        if self.gathered.is_full() { self.release().await } else { Ok(()) }
    }

    /// Sends what waits to be ordered together.
    async fn release(&mut self) -> Result<()> {
        match self.gathered.take() {
            none if none.is_empty() => Ok(()),
            batches => self.arrange(batches).await,
        }
    }

    /// Sends batches of one table in the order of its key, if it has one.
    async fn arrange(&mut self, batches: Vec<TableBatch>) -> Result<()> {
        let Some(table) = batches.first().map(|batch| batch.table().clone()) else { return Ok(()) };
        let key =
            self.encodings.get(&(table.clone(), Change::Rows)).and_then(|encoding| encoding.key.as_ref());
        let Arranged { batches, folded, rejects } = match key {
            Some(key) => key::arrange(batches, key)?,
            None => Arranged { batches, folded: 0, rejects: Vec::new() },
        };
        if folded > 0 {
            self.counts.entry(table.clone()).or_default().ignored += folded;
        }
        let rejected = rejects.len() as u64;
        if rejected > 0 {
            self.told.add(&table, RowCounts { rejected, ..RowCounts::default() });
            self.told.rejects.extend(rejects);
        }
        for batch in &batches {
            self.enqueue(batch).await?;
        }
        Ok(())
    }

    async fn enqueue(&mut self, batch: &TableBatch) -> Result<()> {
        if self.backlog.is_empty() && self.more(batch).await? {
            // Rows that the server has refused meanwhile are in the backlog.
            return self.pump(false).await;
        }
        if batch.rows() < SMALL_ROWS {
            self.small_bytes += batch.retained_bytes();
        }
        match self.backlog.back_mut() {
            Some(last) if !last.alone && last.takes(batch) && last.rows() < SMALL_ROWS => last.push(batch),
            _ => {
                let mut segment = Segment::new(batch);
                // Rows with one key must not meet in one statement.
                let encoding = self.encodings.get(&segment.place());
                segment.alone = batch.change().is_change()
                    || encoding
                        .is_some_and(|encoding| encoding.key.as_ref().is_some_and(|key| key.fold.is_some()));
                self.backlog.push_back(segment);
            }
        }
        self.pump(false).await
    }

    /// Makes sure that there is an encoder for the batch's columns.
    async fn plan(&mut self, batch: &TableBatch) -> Result<()> {
        let target = target::renamed(batch.table(), &self.shared.options);
        let Some(table) = self.shared.table(&target) else {
            return Err(Error::new(ErrorKind::Internal, format!("table {target} has not been prepared")));
        };
        let place = (batch.table().clone(), Change::Rows);
        if let Some(known) = self.encodings.get(&place)
            && Arc::ptr_eq(&known.table, &table)
            && (Arc::ptr_eq(&known.schema, batch.schema()) || known.schema == *batch.schema())
        {
            return Ok(());
        }
        // Rows that wait are of the old columns.
        self.drain_all().await?;
        let schema = Arc::clone(batch.schema());
        let (options, profile) = (&self.shared.options, &self.profile);
        let columns = target::copy_columns(&table, &schema, options)?;
        let encoder = CopyEncoder::try_new(&schema, &columns, options.copy_options(profile))?;
        let key = key::find(Some(&table), &table.name, &schema, options, profile)?;
        self.made += 1;
        let way = Way::new(&table, &schema, key.as_ref(), options, profile, self.made)?;
        let text = match &way {
            Way::Copy { form: Form::Text, .. } => Some(Textual::new(&columns, false)?),
            Way::Copy { form: Form::Csv, .. } => Some(Textual::new(&columns, true)?),
            _ => None,
        };
        let merging = matches!(options.mode, Mode::Upsert | Mode::InsertIgnore) && profile.on_conflict;
        let few = (options.strategy == Strategy::Auto && merging && matches!(way, Way::Merge { .. }))
            .then(|| Way::of_few(&table, &schema, key.as_ref(), options, profile))
            .transpose()?;
        let count = way::count(&table, options, profile);
        let encoding = Encoding { schema, table, encoder, text, key, way, few, count, number: self.made };
        self.encodings.insert(place, encoding);
        Ok(())
    }

    /// Sends what waits. Unless `all`, a small rest may stay, and the first refusals are told early, so that whoever
    /// allows none learns of it at once.
    async fn pump(&mut self, all: bool) -> Result<()> {
        loop {
            let small = self.backlog.len() == 1
                && self.small_bytes < SMALL_BYTES
                && self.backlog.iter().all(|rest| rest.rows() < SMALL_ROWS);
            if small && !all {
                return Ok(());
            }
            let waiting: usize = self.backlog.iter().map(Segment::rows).sum();
            if !all && self.refused >= self.tell_at && waiting <= WAITING_ROWS {
                self.tell_at = self.refused * 2;
                return Ok(());
            }
            let Some(mut segment) = self.backlog.pop_front() else {
                self.small_bytes = 0;
                return Ok(());
            };
            let rows = self.pace.rows();
            let mut rest = Some(segment.split_off(rows)).filter(|rest| rest.rows() > 0);
            while rest.is_none()
                && let Some(next) = self.backlog.pop_front()
            {
                rest = segment.fill(next, rows);
            }
            if let Some(rest) = rest {
                self.backlog.push_front(rest);
            }
            self.send(segment).await?;
        }
    }

    /// Sends everything, and waits until the server has taken or refused it.
    async fn drain_all(&mut self) -> Result<()> {
        self.release().await?;
        loop {
            self.pump(true).await?;
            self.settle_all().await?;
            if self.backlog.is_empty() {
                break;
            }
        }
        if std::mem::take(&mut self.undo) {
            self.session().await?.simple_query("ROLLBACK TO SAVEPOINT kwsync").await?;
        }
        self.empty().await
    }

    async fn commit(&mut self, checkpoints: &[Checkpoint]) -> Result<()> {
        self.drain_all().await?;
        let claimed = self.shared.claimed().filter(|_| !checkpoints.is_empty());
        if let Some(claimed) = &claimed {
            let begin = !std::mem::replace(&mut self.begun, true);
            let advance = checkpoint::advance(&claimed.table, checkpoints);
            let connection = self.session().await?;
            if begin {
                connection.simple_query("BEGIN").await?;
            }
            // Answered before COMMIT is sent: from here on the rows are locked until the fate of the transaction is
            // known, and whoever looks at them waits for it.
            let moved = connection.simple_query(&advance).await?;
            if let Some(lost) = moved.iter().position(|result| result.affected() != 1) {
                let job = &checkpoints.get(lost).unwrap_or(&checkpoints[0]).job;
                return Err(checkpoint::fenced(job));
            }
        }
        if self.begun {
            self.state = State::Committing;
            let connection = self.session().await?;
            let committed = connection.simple_query("COMMIT").await;
            self.begun = false;
            match committed {
                Ok(results) if results.iter().all(|result| result.tag == "COMMIT") => {}
                Ok(_) => return Err(Error::new(ErrorKind::Server, "the server rolled the transaction back")),
                Err(error) => self.resolve(error, claimed.as_ref(), checkpoints).await?,
            }
        }
        for (table, counts) in self.counts.drain() {
            self.told.add(&table, counts);
        }
        Ok(())
    }

    /// What became of a commit that ended with an error: nothing to say when it went through after all.
    async fn resolve(
        &mut self,
        error: Error,
        claimed: Option<&Claimed>,
        checkpoints: &[Checkpoint],
    ) -> Result<()> {
        let error = error.context("cannot commit");
        // An answer of the server means that it has rolled back, but for the codes that say that it does not know, or
        // that it went down; without an answer nobody knows.
        let unknown = match error.code() {
            None | Some("08007" | "40003") => true,
            Some(code) => code.starts_with("57P"),
        };
        if !unknown {
            return Err(error.with_delivered(Delivered::No));
        }
        let Some(claimed) = claimed else { return Err(error.with_delivered(Delivered::InDoubt)) };
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5), DOUBT_TRIES);
        loop {
            let looked: Result<_> = async {
                let mut connection = self.shared.connect().await?;
                let committed =
                    checkpoint::is_committed(&mut connection, &claimed.table, checkpoints).await?;
                Ok((connection, committed))
            }
            .await;
            match looked {
                Ok((connection, true)) => {
                    tracing::info!(
                        "the connection was lost while committing, and the commit had gone through"
                    );
                    self.connection = Some(connection);
                    self.taught = Taught::default();
                    return Ok(());
                }
                Ok((_, false)) => return Err(error.with_delivered(Delivered::No)),
                Err(fault) if fault.kind() == ErrorKind::Fenced => return Err(fault),
                Err(fault) => match backoff.next_wait() {
                    Some(wait) => tokio::time::sleep(wait).await,
                    None => return Err(error.with_source(fault).with_delivered(Delivered::InDoubt)),
                },
            }
        }
    }

    /// Ends a call: what it has to tell, or a clean slate after a fault.
    fn end(&mut self, done: Result<()>) -> Result<Settled> {
        match done {
            Ok(()) => {
                self.state = State::Clean;
                Ok(std::mem::take(&mut self.told))
            }
            Err(error) => {
                self.forget();
                Err(error)
            }
        }
    }
}

impl Writer for PostgresWriter {
    async fn write(&mut self, batch: &TableBatch) -> Result<Settled> {
        self.check()?;
        self.state = State::Busy;
        let done = self.accept(batch).await;
        self.end(done)
    }

    async fn drain(&mut self) -> Result<Settled> {
        self.check()?;
        self.state = State::Busy;
        let done = self.drain_all().await;
        self.end(done)
    }

    async fn flush(&mut self) -> Result<Settled> {
        self.flush_with(&[]).await
    }

    async fn flush_with(&mut self, checkpoints: &[Checkpoint]) -> Result<Settled> {
        self.check()?;
        self.state = State::Busy;
        let done = self.commit(checkpoints).await;
        self.end(done)
    }

    async fn close(&mut self) -> Result<Settled> {
        let settled = self.flush().await?;
        if let Some(connection) = self.connection.take() {
            self.shared.release(connection).await;
        }
        Ok(settled)
    }
}
