//! Where batches go: plan, prepare, write, settle.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::Arc;

use serde::Serialize;

use crate::{BoxFuture, Checkpoint, JobId, Reject, Result, Schema, TableBatch, TableId};

/// What a target promises about rows that are sent again after a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Delivery {
    /// No row is lost; after a fault some may be there twice.
    AtLeastOnce,
    /// No row is lost, and a row that is sent again replaces itself.
    Idempotent,
    /// Every row is there once: the checkpoint is stored in the data's own transaction.
    ExactlyOnce,
}

impl fmt::Display for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AtLeastOnce => "at-least-once",
            Self::Idempotent => "idempotent",
            Self::ExactlyOnce => "exactly-once",
        })
    }
}

/// What a sink can do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Capabilities {
    /// The connector's name.
    pub name: &'static str,
    /// The best delivery that it offers.
    pub delivery: Delivery,
    /// Whether [`Writer::flush_with`] stores the checkpoint itself.
    pub stores_checkpoints: bool,
    /// Whether several lanes may write at once.
    pub parallel: bool,
    /// Whether [`Sink::prepare`] of a table that was prepared before waits for the transactions of those who write to
    /// it (`ALTER TABLE`). The pipeline commits before it calls it then.
    pub exclusive_prepare: bool,
    /// Whether it takes [changes](crate::Change) beside rows. A pipeline whose source [yields them](crate::Source::yields_changes) refuses a
    /// sink that does not.
    pub changes: bool,
}

impl Capabilities {
    /// Capabilities of a sink that writes at least once, in parallel, and stores no checkpoints.
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            delivery: Delivery::AtLeastOnce,
            stores_checkpoints: false,
            parallel: true,
            exclusive_prepare: false,
            changes: false,
        }
    }

    /// Sets the best delivery.
    #[must_use]
    pub fn with_delivery(mut self, delivery: Delivery) -> Self {
        self.delivery = delivery;
        self
    }

    /// Sets whether the sink stores checkpoints itself.
    #[must_use]
    pub fn with_checkpoints(mut self, stores: bool) -> Self {
        self.stores_checkpoints = stores;
        self
    }

    /// Sets whether changing a table waits for those who write to it.
    #[must_use]
    pub fn with_exclusive_prepare(mut self, exclusive: bool) -> Self {
        self.exclusive_prepare = exclusive;
        self
    }

    /// Sets whether it takes changes.
    #[must_use]
    pub fn with_changes(mut self, changes: bool) -> Self {
        self.changes = changes;
        self
    }

    /// Sets whether several lanes may write at once.
    #[must_use]
    pub fn with_parallel(mut self, parallel: bool) -> Self {
        self.parallel = parallel;
        self
    }
}

/// One column's way from the batch into the target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cast {
    /// The column.
    pub column: String,
    /// Its type in the batch, as [`DataType`](crate::DataType) prints it.
    pub from: String,
    /// The target's own type.
    pub to: String,
    /// What may be lost, and the option that allows it; `None` when the way is exact.
    pub lossy: Option<String>,
}

/// What writing a table will do. It is data: making one executes nothing, so that it serves as the dry run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Plan {
    /// The table as the target will know it.
    pub table: String,
    /// Statements that will run before the first row, in order (DDL).
    pub statements: Vec<String>,
    /// How rows are written: `COPY BINARY`, `Parquet files` ...
    pub strategy: String,
    /// What happens to each column.
    pub casts: Vec<Cast>,
    /// What is promised about faults.
    pub delivery: Delivery,
    /// What else the reader should know.
    pub notes: Vec<String>,
    /// What the columns are in their source, and will not be here: defaults, lists of values, a key, indexes.
    pub left_out: Vec<String>,
}

/// What will be done when all rows of all tables are there. It is data, as a [`Plan`] is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Ending {
    /// Statements that will run, in order: indexes, foreign keys.
    pub statements: Vec<String>,
    /// What tables have in their source, and will not have here, since it concerns other tables.
    pub left_out: Vec<String>,
}

impl Ending {
    /// An ending that does nothing.
    pub fn new() -> Self {
        Self::default()
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.statements.is_empty() {
            writeln!(f, "when all rows are there:")?;
        }
        for statement in &self.statements {
            writeln!(f, "  {};", statement.trim_end_matches(';'))?;
        }
        self.left_out.iter().try_for_each(|what| writeln!(f, "not carried over: {what}"))
    }
}

impl Plan {
    /// A plan without statements, casts and notes.
    pub fn new(table: impl Into<String>, strategy: impl Into<String>, delivery: Delivery) -> Self {
        Self {
            table: table.into(),
            statements: Vec::new(),
            strategy: strategy.into(),
            casts: Vec::new(),
            delivery,
            notes: Vec::new(),
            left_out: Vec::new(),
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "table {}: {}, {}", self.table, self.strategy, self.delivery)?;
        for statement in &self.statements {
            writeln!(f, "  {};", statement.trim_end_matches(';'))?;
        }
        for cast in &self.casts {
            write!(f, "  {}: {} -> {}", cast.column, cast.from, cast.to)?;
            match &cast.lossy {
                Some(loss) => writeln!(f, " ({loss})")?,
                None => writeln!(f)?,
            }
        }
        self.left_out.iter().try_for_each(|what| writeln!(f, "  not carried over: {what}"))?;
        self.notes.iter().try_for_each(|note| writeln!(f, "  note: {note}"))
    }
}

/// What became of rows of one table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RowCounts {
    /// Rows that are new in the target.
    pub written: u64,
    /// Rows that replaced others.
    pub updated: u64,
    /// Rows that were there and are gone, since a change says so.
    pub deleted: u64,
    /// Rows that were dropped on purpose, because the target had them.
    pub ignored: u64,
    /// Rows that the target refused.
    pub rejected: u64,
}

impl RowCounts {
    /// All rows whose fate is told here.
    pub fn rows(&self) -> u64 {
        self.written + self.updated + self.deleted + self.ignored + self.rejected
    }
}

impl std::ops::AddAssign for RowCounts {
    fn add_assign(&mut self, other: Self) {
        self.written += other.written;
        self.updated += other.updated;
        self.deleted += other.deleted;
        self.ignored += other.ignored;
        self.rejected += other.rejected;
    }
}

/// Rows that were settled by a call: their fate is known and final.
#[derive(Debug, Default)]
pub struct Settled {
    /// The counts of each table.
    pub tables: BTreeMap<TableId, RowCounts>,
    /// The rows that the target refused; as many as the counts say.
    pub rejects: Vec<Reject>,
    /// Bytes sent or written.
    pub bytes: u64,
    /// Values changed because an option allows it.
    pub coerced: u64,
}

impl Settled {
    /// `rows` rows that are new in `table`, and nothing else.
    pub fn written(table: &TableId, rows: usize) -> Self {
        let mut settled = Self::default();
        settled.add(table, RowCounts { written: rows as u64, ..RowCounts::default() });
        settled
    }

    /// Adds rows of a table.
    pub fn add(&mut self, table: &TableId, counts: RowCounts) {
        match self.tables.get_mut(table) {
            Some(known) => *known += counts,
            None => {
                self.tables.insert(table.clone(), counts);
            }
        }
    }

    /// The counts of all tables together.
    pub fn total(&self) -> RowCounts {
        self.tables.values().fold(RowCounts::default(), |mut total, counts| {
            total += *counts;
            total
        })
    }

    /// Adds what another call settled.
    pub fn merge(&mut self, other: Self) {
        for (table, counts) in other.tables {
            self.add(&table, counts);
        }
        self.rejects.extend(other.rejects);
        self.bytes += other.bytes;
        self.coerced += other.coerced;
    }
}

/// Which lane of which job opens a writer.
#[derive(Clone, Debug)]
pub struct Lane {
    /// The job.
    pub job: JobId,
    /// The number of the lane, from 0.
    pub index: usize,
    /// Which run of the job this is.
    pub generation: u64,
}

/// A run of a job, as a sink is told of it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Run {
    /// The job.
    pub job: JobId,
    /// Which run of the job this is.
    pub generation: u64,
    /// Whether no earlier run has settled anything: only then may a target be emptied or replaced.
    pub fresh: bool,
    /// Whether the input can be read again from a position, so that checkpoints are of use.
    pub resumable: bool,
    /// Whether processes of the job [share](crate::Parts::Shared) the input: none of them may empty or replace a target.
    pub shared: bool,
}

impl Run {
    /// The first run of a job whose input can be read again.
    pub fn first(job: JobId) -> Self {
        Self { job, generation: 1, fresh: true, resumable: true, shared: false }
    }
}

/// A target, shared by all lanes.
///
/// See `examples/own_sink.rs` of package `kwsync` for one written by hand.
pub trait Sink: Send + Sync {
    /// What writes for one lane.
    type Writer: Writer;

    /// What this sink can do.
    fn capabilities(&self) -> Capabilities;

    /// A sink of the same target for another job, which uses connections of this one where it can. `None` where nothing
    /// can be shared: then a second sink is made as the first one was.
    fn share(&self) -> Option<Self>
    where
        Self: Sized,
    {
        None
    }

    /// Whether this sink keeps the [positions](crate::Source::positions) of the job's source from now on: then they are
    /// part of its transactions, it [stores checkpoints](Capabilities::stores_checkpoints), and the source commits none.
    /// A pipeline asks it first of all.
    fn adopt(&self, positions: &Arc<dyn Any + Send + Sync>) -> bool {
        let _ = positions;
        false
    }

    /// Says that [changes](crate::Change) will come beside rows: [`plan`](Self::plan) and [`prepare`](Self::prepare) see to it that the tables
    /// can take them, by their key and by the rights on them. Only called where the [capabilities](Capabilities::changes) have them.
    fn expect_changes(&self) {}

    /// What writing rows of `schema` to `table` will do. Looks, but changes nothing.
    fn plan(&self, table: &TableId, schema: &Arc<Schema>) -> impl Future<Output = Result<Plan>> + Send {
        let _ = schema;
        let Capabilities { name, delivery, .. } = self.capabilities();
        let plan = Plan::new(table.to_string(), name, delivery);
        async { Ok(plan) }
    }

    /// What [`finish`](Self::finish) will do to the tables that were [planned](Self::plan) so far. Changes nothing.
    fn plan_ending(&self) -> impl Future<Output = Result<Ending>> + Send {
        async { Ok(Ending::new()) }
    }

    /// Makes the table ready: runs the plan's statements. Called before the first batch of each table and of
    /// each newer version of its schema; calls for one table do not overlap.
    fn prepare(&self, table: &TableId, schema: &Arc<Schema>) -> impl Future<Output = Result<()>> + Send {
        let _ = (table, schema);
        async { Ok(()) }
    }

    /// Called once a run, before the first split is read.
    fn start(&self, run: &Run) -> impl Future<Output = Result<()>> + Send {
        let _ = run;
        async { Ok(()) }
    }

    /// Called once all rows of all splits have settled and every writer is closed. What the tables that it made lack of their
    /// source, and what is faster made of rows that are there, is made here.
    fn finish(&self, job: &JobId) -> impl Future<Output = Result<()>> + Send {
        let _ = job;
        async { Ok(()) }
    }

    /// Forgets the checkpoints of a job that has ended or starts over, where the target
    /// [stores them](Capabilities::stores_checkpoints).
    fn forget(&self, job: &JobId) -> impl Future<Output = Result<()>> + Send {
        let _ = job;
        async { Ok(()) }
    }

    /// Called before a split is read: takes it over for this run of the job, and discards what an earlier run
    /// wrote behind `checkpoint` and could not record, where the target allows that. Returns where to start: the
    /// checkpoint given, or the target's own where it [stores checkpoints](Capabilities::stores_checkpoints).
    ///
    /// # Errors
    /// `Fenced` when a later run of the job has the split.
    ///
    /// Where the target stores checkpoints, the pipeline does not call it for a split that cannot be read again.
    fn begin(&self, checkpoint: &Checkpoint) -> impl Future<Output = Result<Checkpoint>> + Send {
        let checkpoint = checkpoint.clone();
        async { Ok(checkpoint) }
    }

    /// As [`begin`](Self::begin), for a part that processes of the job [share](crate::Parts::Shared) and that is this one's
    /// now: whoever had it before is fenced off, be its run earlier or later than this. The checkpoint that is returned
    /// has the generation with which this process commits.
    fn take_over(&self, checkpoint: &Checkpoint) -> impl Future<Output = Result<Checkpoint>> + Send {
        self.begin(checkpoint)
    }

    /// Opens a writer for a lane.
    fn open(&self, lane: &Lane) -> impl Future<Output = Result<Self::Writer>> + Send;
}

/// Writes the batches of one lane.
///
/// Every row that was accepted by [`write`](Self::write) is told of exactly once in a [`Settled`]; the sums are
/// equal after [`flush`](Self::flush) and [`close`](Self::close).
///
/// # Cancel safety
/// A future of any method may be dropped. The writer is dirty then: its next call first rolls back what has not
/// been committed. Whether rows were delivered is in doubt only when COMMIT had been sent, and the error of that
/// next call says so.
pub trait Writer: Send {
    /// Accepts the rows of `batch`. They may settle now or at a later call.
    ///
    /// # Errors
    /// For faults of the system only; a row that is refused is a reject. [`Error::delivered`](crate::Error::delivered)
    /// tells what became of the rows accepted since the last flush.
    fn write(&mut self, batch: &TableBatch) -> impl Future<Output = Result<Settled>> + Send;

    /// Brings all accepted rows to the target, so that every row that it refuses is told, and commits nothing. The
    /// pipeline calls it before it commits: rejects must be judged, and be safe in their file, before the target holds
    /// what lies around them. A writer whose `write` tells of every reject has nothing to do.
    fn drain(&mut self) -> impl Future<Output = Result<Settled>> + Send {
        async { Ok(Settled::default()) }
    }

    /// Settles all accepted rows: commits.
    fn flush(&mut self) -> impl Future<Output = Result<Settled>> + Send;

    /// Settles all accepted rows together with `checkpoints`, one for each split that they came from, in one
    /// transaction where the sink [stores checkpoints](Capabilities::stores_checkpoints); otherwise like
    /// [`flush`](Self::flush). The checkpoints tell where each split stands once the rows have settled.
    fn flush_with(&mut self, checkpoints: &[Checkpoint]) -> impl Future<Output = Result<Settled>> + Send {
        let _ = checkpoints;
        self.flush()
    }

    /// Settles all accepted rows and releases the connection. Dropping a writer instead never blocks and never
    /// commits.
    fn close(&mut self) -> impl Future<Output = Result<Settled>> + Send {
        self.flush()
    }
}

/// [`Sink`] in a box; every sink is one.
pub trait DynSink: Send + Sync {
    /// As [`Sink::capabilities`].
    fn capabilities(&self) -> Capabilities;

    /// As [`Sink::share`].
    fn share(&self) -> Option<Box<dyn DynSink>>;

    /// As [`Sink::adopt`].
    fn adopt(&self, positions: &Arc<dyn Any + Send + Sync>) -> bool;

    /// As [`Sink::expect_changes`].
    fn expect_changes(&self);

    /// As [`Sink::plan`].
    fn plan<'a>(&'a self, table: &'a TableId, schema: &'a Arc<Schema>) -> BoxFuture<'a, Result<Plan>>;

    /// As [`Sink::plan_ending`].
    fn plan_ending(&self) -> BoxFuture<'_, Result<Ending>>;

    /// As [`Sink::prepare`].
    fn prepare<'a>(&'a self, table: &'a TableId, schema: &'a Arc<Schema>) -> BoxFuture<'a, Result<()>>;

    /// As [`Sink::start`].
    fn start<'a>(&'a self, run: &'a Run) -> BoxFuture<'a, Result<()>>;

    /// As [`Sink::finish`].
    fn finish<'a>(&'a self, job: &'a JobId) -> BoxFuture<'a, Result<()>>;

    /// As [`Sink::forget`].
    fn forget<'a>(&'a self, job: &'a JobId) -> BoxFuture<'a, Result<()>>;

    /// As [`Sink::begin`].
    fn begin<'a>(&'a self, checkpoint: &'a Checkpoint) -> BoxFuture<'a, Result<Checkpoint>>;

    /// As [`Sink::take_over`].
    fn take_over<'a>(&'a self, checkpoint: &'a Checkpoint) -> BoxFuture<'a, Result<Checkpoint>>;

    /// As [`Sink::open`].
    fn open<'a>(&'a self, lane: &'a Lane) -> BoxFuture<'a, Result<Box<dyn DynWriter>>>;
}

/// [`Writer`] in a box; every writer is one.
pub trait DynWriter: Send {
    /// As [`Writer::write`].
    fn write<'a>(&'a mut self, batch: &'a TableBatch) -> BoxFuture<'a, Result<Settled>>;

    /// As [`Writer::drain`].
    fn drain(&mut self) -> BoxFuture<'_, Result<Settled>>;

    /// As [`Writer::flush`].
    fn flush(&mut self) -> BoxFuture<'_, Result<Settled>>;

    /// As [`Writer::flush_with`].
    fn flush_with<'a>(&'a mut self, checkpoints: &'a [Checkpoint]) -> BoxFuture<'a, Result<Settled>>;

    /// As [`Writer::close`].
    fn close(&mut self) -> BoxFuture<'_, Result<Settled>>;
}

impl<S: Sink + 'static> DynSink for S
where
    S::Writer: 'static,
{
    fn capabilities(&self) -> Capabilities {
        Sink::capabilities(self)
    }

    fn share(&self) -> Option<Box<dyn DynSink>> {
        Sink::share(self).map(|sink| Box::new(sink) as Box<dyn DynSink>)
    }

    fn adopt(&self, positions: &Arc<dyn Any + Send + Sync>) -> bool {
        Sink::adopt(self, positions)
    }

    fn expect_changes(&self) {
        Sink::expect_changes(self);
    }

    fn plan<'a>(&'a self, table: &'a TableId, schema: &'a Arc<Schema>) -> BoxFuture<'a, Result<Plan>> {
        Box::pin(Sink::plan(self, table, schema))
    }

    fn plan_ending(&self) -> BoxFuture<'_, Result<Ending>> {
        Box::pin(Sink::plan_ending(self))
    }

    fn prepare<'a>(&'a self, table: &'a TableId, schema: &'a Arc<Schema>) -> BoxFuture<'a, Result<()>> {
        Box::pin(Sink::prepare(self, table, schema))
    }

    fn start<'a>(&'a self, run: &'a Run) -> BoxFuture<'a, Result<()>> {
        Box::pin(Sink::start(self, run))
    }

    fn finish<'a>(&'a self, job: &'a JobId) -> BoxFuture<'a, Result<()>> {
        Box::pin(Sink::finish(self, job))
    }

    fn forget<'a>(&'a self, job: &'a JobId) -> BoxFuture<'a, Result<()>> {
        Box::pin(Sink::forget(self, job))
    }

    fn begin<'a>(&'a self, checkpoint: &'a Checkpoint) -> BoxFuture<'a, Result<Checkpoint>> {
        Box::pin(Sink::begin(self, checkpoint))
    }

    fn take_over<'a>(&'a self, checkpoint: &'a Checkpoint) -> BoxFuture<'a, Result<Checkpoint>> {
        Box::pin(Sink::take_over(self, checkpoint))
    }

    fn open<'a>(&'a self, lane: &'a Lane) -> BoxFuture<'a, Result<Box<dyn DynWriter>>> {
        Box::pin(async move { Ok(Box::new(Sink::open(self, lane).await?) as Box<dyn DynWriter>) })
    }
}

impl<W: Writer> DynWriter for W {
    fn write<'a>(&'a mut self, batch: &'a TableBatch) -> BoxFuture<'a, Result<Settled>> {
        Box::pin(Writer::write(self, batch))
    }

    fn drain(&mut self) -> BoxFuture<'_, Result<Settled>> {
        Box::pin(Writer::drain(self))
    }

    fn flush(&mut self) -> BoxFuture<'_, Result<Settled>> {
        Box::pin(Writer::flush(self))
    }

    fn flush_with<'a>(&'a mut self, checkpoints: &'a [Checkpoint]) -> BoxFuture<'a, Result<Settled>> {
        Box::pin(Writer::flush_with(self, checkpoints))
    }

    fn close(&mut self) -> BoxFuture<'_, Result<Settled>> {
        Box::pin(Writer::close(self))
    }
}
