use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use super::*;
use crate::{
    Capabilities, Column, DataType, Decoded, Delivered, ErrorPolicy, Lane, Plan, Position, Reader, Reject,
    RejectReader, RenameTable, RowCounts, Settled, Sink, Source, SourceBatch, Split, SplitPosition, Stage,
    TableBatch, Value, Writer,
};

/// Splits of numbered rows, `batch` at a time; every `bad`-th row is a reject.
#[derive(Clone)]
struct Numbers {
    splits: u64,
    rows: u64,
    batch: u64,
    bad: u64,
    resumable: bool,
    continues: bool,
    pause: Duration,
}

impl Numbers {
    fn new(splits: u64, rows: u64, batch: u64) -> Self {
        Self { splits, rows, batch, bad: u64::MAX, resumable: true, continues: false, pause: Duration::ZERO }
    }

    fn all(&self) -> BTreeMap<i64, u64> {
        let numbers = 0..self.splits * self.rows;
        numbers.filter(|n| n % self.bad != self.bad - 1).map(|n| (n as i64, 1)).collect()
    }
}

struct NumbersReader {
    source: Numbers,
    from: u64,
    next: u64,
    end: u64,
}

impl Source for Numbers {
    type Reader = NumbersReader;

    async fn splits(&self, _lanes: usize, known: &[Split]) -> Result<Vec<Split>> {
        assert!(known.is_empty() || known.len() as u64 == self.splits);
        let split = |n: u64| Split {
            spec: serde_json::json!(n),
            bytes: Some(self.rows),
            resumable: self.resumable,
            continues: self.continues,
            ..Split::whole(format!("part {n}"))
        };
        Ok((0..self.splits).map(split).collect())
    }

    async fn open(&self, split: &Split, at: Option<&SplitPosition>) -> Result<NumbersReader> {
        let from = split.spec.as_u64().unwrap() * self.rows;
        let next = at.map_or(from, |at| at.0.as_u64().unwrap());
        Ok(NumbersReader { source: self.clone(), from, next, end: from + self.rows })
    }
}

impl Reader for NumbersReader {
    async fn next(&mut self) -> Result<Option<SourceBatch>> {
        if self.next == self.end {
            return Ok(None);
        }
        if !self.source.pause.is_zero() {
            tokio::time::sleep(self.source.pause).await;
        }
        let to = (self.next + self.source.batch).min(self.end);
        let bad = self.source.bad;
        let is_bad = |n: &u64| n % bad == bad - 1;
        let rows: Vec<_> =
            (self.next..to).filter(|n| !is_bad(n)).map(|n| vec![Value::Int(n as i64)]).collect();
        let rejects = (self.next..to)
            .filter(is_bad)
            .map(|n| Reject {
                position: Position { byte: n, line: n + 1, column: 1, record: n + 1 },
                split: format!("from {}", self.from),
                stage: Stage::Decode,
                format: "numbers".into(),
                table: None,
                code: "bad".into(),
                reason: "bad number".into(),
                raw: n.to_string().into(),
                message: None,
                at: None,
            })
            .collect();
        let schema = Arc::new(Schema::new(vec![Column::new("n", DataType::Int64)]).unwrap());
        let batches = vec![TableBatch::from_rows("numbers", schema, &rows)?];
        let counts = crate::DecodeCounts { records: to - self.next, ..Default::default() };
        let bytes = to - self.next;
        self.next = to;
        let position = SplitPosition(serde_json::json!(to));
        Ok(Some(SourceBatch { bytes, ..SourceBatch::of(Decoded { batches, rejects, counts }, position) }))
    }
}

/// What was committed: each number, and how often. Writes and commits fail as told.
#[derive(Clone, Default)]
pub(super) struct Memory {
    pub(super) rows: Arc<Mutex<BTreeMap<i64, u64>>>,
    batches: Arc<AtomicU64>,
    tables: Arc<Mutex<Vec<String>>>,
    pub(super) faults: Arc<Mutex<Vec<Error>>>,
    /// One write in this many fails.
    flaky: u64,
    broken: Arc<AtomicBool>,
}

pub(super) struct MemoryWriter {
    sink: Memory,
    open: Vec<i64>,
}

impl Memory {
    /// One write in `one_in` fails.
    pub(super) fn flaky(one_in: u64) -> Self {
        Self { flaky: one_in, ..Self::default() }
    }
}

impl Sink for Memory {
    type Writer = MemoryWriter;

    fn capabilities(&self) -> Capabilities {
        Capabilities::new("memory")
    }

    async fn plan(&self, table: &TableId, _schema: &Arc<Schema>) -> Result<Plan> {
        Ok(Plan::new(table.name(), "memory", Sink::capabilities(self).delivery))
    }

    async fn prepare(&self, table: &TableId, _schema: &Arc<Schema>) -> Result<()> {
        self.tables.lock().unwrap().push(table.name().to_owned());
        Ok(())
    }

    async fn open(&self, _lane: &Lane) -> Result<MemoryWriter> {
        Ok(MemoryWriter { sink: self.clone(), open: Vec::new() })
    }
}

impl Writer for MemoryWriter {
    async fn write(&mut self, batch: &TableBatch) -> Result<Settled> {
        if let Some(fault) = self.sink.faults.lock().unwrap().pop() {
            return Err(fault);
        }
        if self.sink.broken.load(Ordering::Relaxed) {
            return Err(Error::new(ErrorKind::Unavailable, "gone"));
        }
        let count = self.sink.batches.fetch_add(1, Ordering::Relaxed);
        if self.sink.flaky > 0 && count % self.sink.flaky == self.sink.flaky - 1 {
            return Err(Error::new(ErrorKind::Conflict, "deadlock").with_delivered(Delivered::No));
        }
        for row in 0..batch.rows() {
            let Value::Int(n) = batch.row(row).at(0)? else { panic!("no number") };
            self.open.push(n);
        }
        Ok(Settled::default())
    }

    async fn flush(&mut self) -> Result<Settled> {
        let mut settled = Settled::default();
        settled.add(&"numbers".into(), RowCounts { written: self.open.len() as u64, ..RowCounts::default() });
        let mut rows = self.sink.rows.lock().unwrap();
        for n in self.open.drain(..) {
            *rows.entry(n).or_default() += 1;
        }
        Ok(settled)
    }
}

fn pipeline(source: &Numbers, sink: &Memory) -> Pipeline {
    Pipeline::new(JobId::new("test"), Arc::new(source.clone()), Arc::new(sink.clone()))
}

fn committing_every(rows: u64) -> PipelineOptions {
    PipelineOptions { batch_rows: 100, retry_max_wait: Duration::from_millis(5), ..PipelineOptions::new() }
        .with_commit(rows, u64::MAX, Duration::from_secs(600))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_row_arrives_once_over_several_lanes() {
    let (source, sink) = (Numbers::new(7, 10_000, 37), Memory::default());
    let options = committing_every(1_000).with_lanes(3);
    let outcome = pipeline(&source, &sink).with_options(options).run().await;
    assert!(outcome.error.is_none(), "{:?}", outcome.error);
    assert_eq!(*sink.rows.lock().unwrap(), source.all());
    let report = outcome.report;
    assert_eq!((report.status, report.rows_read, report.rows_written), (Status::Done, 70_000, 70_000));
    assert_eq!(report.tables["numbers"].rows.written, 70_000);
    assert_eq!(report.bytes_read, 70_000);
    // Batches of 37 rows were put together to 100 and more.
    assert!(sink.batches.load(Ordering::Relaxed) < 70_000 / 100 + 100);
    assert_eq!(*sink.tables.lock().unwrap(), ["numbers"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_that_pass_lose_and_double_nothing() {
    let source = Numbers::new(4, 5_000, 50);
    let sink = Memory { flaky: 7, ..Memory::default() };
    let options = committing_every(200).with_lanes(2);
    let outcome = pipeline(&source, &sink).with_options(options).run().await;
    assert!(outcome.error.is_none(), "{:?}", outcome.error);
    assert_eq!(*sink.rows.lock().unwrap(), source.all());
    assert_eq!(outcome.report.rows_read, 20_000);
    assert!(outcome.report.rows_retried > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_that_stays_ends_the_job_and_the_next_run_resumes() {
    let source = Numbers::new(3, 1_000, 10);
    let sink = Memory::default();
    let store = Arc::new(MemoryStore::default());
    let mut options = committing_every(100);
    options.retries = 1;
    sink.faults.lock().unwrap().push(Error::new(ErrorKind::DiskFull, "no space"));
    let run = || {
        pipeline(&source, &sink).with_store(Arc::<MemoryStore>::clone(&store)).with_options(options.clone())
    };
    let outcome = run().run().await;
    assert_eq!(outcome.error.as_ref().map(Error::kind), Some(ErrorKind::DiskFull));
    assert_eq!((outcome.exit_status(), outcome.report.status), (1, Status::Failed));

    // The second run breaks down in the middle of the data.
    let progress = run();
    let watched = progress.progress();
    let broken = Arc::clone(&sink.broken);
    let watcher = tokio::spawn(async move {
        while watched.snapshot().rows_settled < 500 {
            tokio::task::yield_now().await;
        }
        broken.store(true, Ordering::Relaxed);
    });
    let mut slow = source.clone();
    slow.pause = Duration::from_millis(1);
    let outcome = Pipeline { source: Arc::new(slow), ..progress }.run().await;
    watcher.await.unwrap();
    assert_eq!(outcome.error.as_ref().map(Error::kind), Some(ErrorKind::Unavailable));
    let had = sink.rows.lock().unwrap().len();
    assert!((500..3_000).contains(&had), "{had}");

    sink.broken.store(false, Ordering::Relaxed);
    let outcome = run().run().await;
    assert!(outcome.error.is_none(), "{:?}", outcome.error);
    assert_eq!(outcome.report.rows_read as usize, 3_000 - had);
    assert_eq!(*sink.rows.lock().unwrap(), source.all());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_again_is_not_retried() {
    let mut source = Numbers::new(1, 1_000, 10);
    source.resumable = false;
    let sink = Memory { flaky: 3, ..Memory::default() };
    let outcome = pipeline(&source, &sink).with_options(committing_every(100)).run().await;
    let error = outcome.error.unwrap();
    assert!(error.to_string().contains("cannot be read again"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_on_request_commits_what_was_read() {
    let mut source = Numbers::new(2, 100_000, 10);
    source.pause = Duration::from_millis(1);
    let (sink, cancel) = (Memory::default(), CancellationToken::new());
    let store = Arc::new(MemoryStore::default());
    let job =
        pipeline(&source, &sink).with_cancel(cancel.clone()).with_store(Arc::<MemoryStore>::clone(&store));
    let progress = job.progress();
    let stopper = tokio::spawn(async move {
        while progress.snapshot().rows_read < 200 {
            tokio::task::yield_now().await;
        }
        cancel.cancel();
    });
    let outcome = job.with_options(committing_every(1_000_000)).run().await;
    stopper.await.unwrap();
    assert_eq!((outcome.exit_status(), outcome.report.status), (130, Status::Interrupted));
    let committed = sink.rows.lock().unwrap().len() as u64;
    assert_eq!(outcome.report.rows_written, committed);
    assert_eq!(outcome.report.rows_read, committed);
    assert!(committed >= 200);

    source.pause = Duration::ZERO;
    let outcome = pipeline(&source, &sink).with_store(store).run().await;
    assert!(outcome.error.is_none(), "{:?}", outcome.error);
    assert_eq!(*sink.rows.lock().unwrap(), source.all());
}

/// A split that continues is opened again by the next run of a job that keeps its state, and only what is new is read.
#[tokio::test(flavor = "multi_thread")]
async fn a_split_that_continues_is_read_on_by_the_next_run() {
    let mut source = Numbers::new(1, 1_000, 10);
    source.continues = true;
    let (sink, store) = (Memory::default(), Arc::new(MemoryStore::default()));
    for (rows, read) in [(1_000, 1_000), (1_500, 500), (1_500, 0)] {
        source.rows = rows;
        let job = pipeline(&source, &sink)
            .with_store(Arc::<MemoryStore>::clone(&store))
            .with_options(PipelineOptions { keep_state: true, ..PipelineOptions::new() });
        let progress = job.progress();
        let outcome = job.run().await;
        assert!(outcome.error.is_none(), "{:?}", outcome.error);
        assert_eq!((outcome.report.status, outcome.report.rows_read), (Status::Done, read));
        assert_eq!(progress.snapshot().splits_done, 1);
    }
    assert_eq!(*sink.rows.lock().unwrap(), source.all());
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_are_stopped_at_counted_or_kept() {
    let mut source = Numbers::new(2, 1_000, 64);
    source.bad = 100;
    let sink = Memory::default();
    let outcome = pipeline(&source, &sink).run().await;
    let error = outcome.error.as_ref().unwrap();
    assert_eq!((error.kind(), outcome.exit_status()), (ErrorKind::Data, 1));
    assert!(sink.rows.lock().unwrap().is_empty());

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("r.jsonl");
    let options = committing_every(300).with_errors(ErrorPolicy::Reject(path.clone()));
    let outcome = pipeline(&source, &sink).with_options(options.clone()).run().await;
    assert_eq!((outcome.exit_status(), outcome.report.rows_rejected), (3, 20));
    assert_eq!(*sink.rows.lock().unwrap(), source.all());
    let file = std::io::BufReader::new(std::fs::File::open(&path).unwrap());
    let mut raws: Vec<u64> = RejectReader::new(file, "r")
        .map(|reject| String::from_utf8(reject.unwrap().raw.to_vec()).unwrap().parse().unwrap())
        .collect();
    raws.sort_unstable();
    assert_eq!(raws, (0..2_000).filter(|n| n % 100 == 99).collect::<Vec<_>>());

    let limited = options.with_max_errors("5".parse().unwrap());
    let outcome = pipeline(&source, &Memory::default()).with_options(limited).run().await;
    assert_eq!(outcome.exit_status(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_do_not_wait_for_a_full_batch_when_the_input_pauses() {
    let mut source = Numbers::new(1, 3, 1);
    source.pause = Duration::from_millis(30);
    let sink = Memory::default();
    let mut options = PipelineOptions::new().with_commit(u64::MAX, u64::MAX, Duration::from_millis(5));
    options.linger = Duration::from_millis(5);
    let outcome = pipeline(&source, &sink).with_options(options).run().await;
    assert!(outcome.error.is_none(), "{:?}", outcome.error);
    assert_eq!(sink.batches.load(Ordering::Relaxed), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn transforms_apply_and_rates_hold() {
    let (source, sink) = (Numbers::new(1, 2_000, 100), Memory::default());
    let mut options = committing_every(100_000);
    options.rate_rows = 10_000;
    let rename = Arc::new(RenameTable::template("x_{table}").unwrap());
    let outcome = pipeline(&source, &sink).with_transform(rename).with_options(options).run().await;
    assert!(outcome.error.is_none(), "{:?}", outcome.error);
    assert_eq!(*sink.tables.lock().unwrap(), ["x_numbers"]);
    assert!(outcome.report.seconds >= 0.195, "{}", outcome.report.seconds);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_observer_sees_the_job_and_its_end() {
    let (source, sink) = (Numbers::new(2, 5_000, 100), Memory::default());
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seeing = Arc::clone(&seen);
    let mut options = committing_every(1_000);
    options.rate_rows = 50_000;
    let outcome = pipeline(&source, &sink)
        .with_options(options)
        .with_observer(Duration::from_millis(1), move |now| seeing.lock().unwrap().push(*now))
        .run()
        .await;
    let seen = seen.lock().unwrap();
    let last = seen.last().unwrap();
    assert_eq!((last.rows_settled, outcome.report.rows_written), (10_000, 10_000));
    assert!(seen.len() > 2 && seen.iter().any(|now| now.rows_settled < 10_000), "{}", seen.len());
    assert!(seen.windows(2).all(|pair| pair[0].rows_read <= pair[1].rows_read));
}

/// Rows come evenly: a reader is asked for batches of a twentieth of a second. On a clock of its own, since a machine
/// that is busy must not decide this.
#[tokio::test(start_paused = true)]
async fn a_rate_holds_within_five_percent() {
    for (rate, lanes, batch) in [(1_000, 1, 8_192), (50, 1, 100), (100_000, 2, 8_192)] {
        let limit = super::rate::RateLimit::new(rate, 0);
        let (rows, _) = limit.share(lanes).unwrap();
        let piece = rows.min(batch) as u64;
        let began = tokio::time::Instant::now();
        let mut passed = 0;
        while began.elapsed() < Duration::from_secs(10) {
            limit.take(piece, 0).await;
            passed += piece;
        }
        let wanted = rate * 10;
        assert!(passed.abs_diff(wanted) * 20 <= wanted, "{passed} rows where {wanted} may pass");
    }
}
