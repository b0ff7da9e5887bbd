//! Sources behind which somebody waits for an answer.

use std::sync::Mutex;

use super::tests::{Memory, MemoryWriter};
use super::*;
use crate::{
    AddColumn, Capabilities, Column, DataType, Decoded, ErrorPolicy, Input, Lane, Origin, Plan, Position,
    Reader, RecordRef, Reject, Segment, Sink, Source, SourceBatch, Split, SplitPosition, Stage, TableBatch,
    Value,
};

/// One batch, which waits for its commit; then silence, and another one when it is stopped. It notes what it is told.
#[derive(Clone, Default)]
struct Asks {
    told: Arc<Mutex<Vec<String>>>,
    /// What the first batch holds instead.
    first: Option<TableBatch>,
    /// Whether the last one is of another table.
    moves: bool,
    /// Whether the second one comes at once.
    hurries: bool,
}

struct AsksReader {
    source: Asks,
    given: u64,
}

impl Asks {
    fn note(&self, text: String) {
        self.told.lock().unwrap().push(text);
    }

    fn told(&self) -> Vec<String> {
        self.told.lock().unwrap().clone()
    }
}

impl Source for Asks {
    type Reader = AsksReader;

    fn answers(&self) -> bool {
        true
    }

    async fn end(&self, fault: Option<&Error>) {
        self.note(format!("end {:?}", fault.map(Error::kind)));
    }

    async fn splits(&self, _lanes: usize, _known: &[Split]) -> Result<Vec<Split>> {
        Ok(vec![Split { resumable: false, redelivers: true, ..Split::whole("asks") }])
    }

    async fn open(&self, _split: &Split, _at: Option<&SplitPosition>) -> Result<AsksReader> {
        Ok(AsksReader { source: self.clone(), given: 0 })
    }
}

impl AsksReader {
    fn batch(&mut self) -> Result<SourceBatch> {
        self.given += 1;
        let schema = Arc::new(Schema::new(vec![Column::new("n", DataType::Int64)])?);
        let rows = [vec![Value::Int(self.given as i64)]];
        let reject = Reject {
            position: Position::default(),
            split: "asks".into(),
            stage: Stage::Decode,
            format: "numbers".into(),
            table: None,
            code: "bad".into(),
            reason: "bad number".into(),
            raw: "x".into(),
            message: None,
            at: None,
        };
        let table = if self.source.moves && self.given > 1 { "others" } else { "numbers" };
        let own = TableBatch::from_rows(table, schema, &rows)?;
        let first = self.source.first.clone().filter(|_| self.given == 1);
        let decoded =
            Decoded { batches: vec![first.unwrap_or(own)], rejects: vec![reject], ..Decoded::default() };
        Ok(SourceBatch { commit: true, ..SourceBatch::of(decoded, SplitPosition(self.given.into())) })
    }
}

impl Reader for AsksReader {
    async fn next(&mut self) -> Result<Option<SourceBatch>> {
        match self.given {
            0 => self.batch().map(Some),
            1 if self.source.hurries => self.batch().map(Some),
            _ => std::future::pending().await,
        }
    }

    fn is_interruptible(&self) -> bool {
        true
    }

    fn last_batch(&mut self) -> Result<Option<SourceBatch>> {
        if self.given == 1 { self.batch().map(Some) } else { Ok(None) }
    }

    fn refused(&mut self, rejects: &[Reject]) {
        let codes: Vec<&str> = rejects.iter().map(|reject| reject.code.as_str()).collect();
        self.source.note(format!("refused {}", codes.join(" ")));
    }

    async fn commit(&mut self, position: &SplitPosition) -> Result<()> {
        self.source.note(format!("commit {}", position.0));
        Ok(())
    }
}

/// A sink that does not take every table, and takes its time over each.
#[derive(Clone)]
struct Picky {
    memory: Memory,
    takes: fn(&TableId, &Schema) -> Result<()>,
}

impl Sink for Picky {
    type Writer = MemoryWriter;

    fn capabilities(&self) -> Capabilities {
        Sink::capabilities(&self.memory)
    }

    async fn plan(&self, table: &TableId, schema: &Arc<Schema>) -> Result<Plan> {
        Sink::plan(&self.memory, table, schema).await
    }

    async fn prepare(&self, table: &TableId, schema: &Arc<Schema>) -> Result<()> {
        tokio::task::yield_now().await;
        (self.takes)(table, schema)
    }

    async fn open(&self, lane: &Lane) -> Result<MemoryWriter> {
        Sink::open(&self.memory, lane).await
    }
}

fn pipeline<S: Sink + Clone + 'static>(source: &Asks, sink: &S, cancel: &CancellationToken) -> Pipeline {
    let options = PipelineOptions::new().with_errors(ErrorPolicy::Skip);
    Pipeline::new(JobId::new("test"), Arc::new(source.clone()), Arc::new(sink.clone()))
        .with_options(options)
        .with_cancel(cancel.clone())
}

async fn until(done: impl Fn() -> bool) {
    while !done() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_is_told_and_what_came_last_is_written() {
    let (source, sink, cancel) = (Asks::default(), Memory::default(), CancellationToken::new());
    let run = tokio::spawn(pipeline(&source, &sink, &cancel).run());
    until(|| source.told().len() == 2).await;
    cancel.cancel();
    let outcome = run.await.unwrap();
    assert_eq!(outcome.error.map(|error| error.kind()), Some(ErrorKind::Cancelled));
    let expected = ["refused bad", "commit 1", "refused bad", "commit 2", "end Some(Cancelled)"];
    assert_eq!(source.told(), expected);
    assert_eq!(sink.rows.lock().unwrap().keys().copied().collect::<Vec<_>>(), [1, 2]);
}

/// Rows that a transform does not fit are refused, and the job of all others goes on.
#[tokio::test(flavor = "multi_thread")]
async fn rows_that_a_transform_does_not_fit_cost_themselves() {
    let (source, sink, cancel) = (Asks::default(), Memory::default(), CancellationToken::new());
    let clash = pipeline(&source, &sink, &cancel).with_transform(Arc::new(AddColumn::field("n", "x")));
    let run = tokio::spawn(clash.run());
    until(|| source.told().len() == 2).await;
    assert!(!run.is_finished());
    cancel.cancel();
    drop(run.await.unwrap());
    assert_eq!(source.told()[..2], ["refused bad cannot_transform", "commit 1"]);
    assert!(sink.rows.lock().unwrap().is_empty());
}

/// A fault that ends the job is told at its end, after a try that nobody was told of.
#[tokio::test(flavor = "multi_thread")]
async fn the_fault_that_ends_the_job_is_told() {
    let (source, sink, cancel) = (Asks::default(), Memory::default(), CancellationToken::new());
    let faults = [ErrorKind::DiskFull, ErrorKind::Conflict].map(|kind| Error::new(kind, "a fault"));
    sink.faults.lock().unwrap().extend(faults);
    let outcome = pipeline(&source, &sink, &cancel).run().await;
    assert_eq!(outcome.error.map(|error| error.kind()), Some(ErrorKind::DiskFull));
    assert_eq!(source.told(), ["end Some(DiskFull)"]);
}

/// A table that is not there, or that has too many columns, costs its rows.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_cannot_be_had_costs_its_rows() {
    let missing = |_: &TableId, _: &Schema| Err(Error::new(ErrorKind::NotFound, "there is no table numbers"));
    let full = |_: &TableId, _: &Schema| {
        Err(Error::new(ErrorKind::Limit, "tables can have at most 1600 columns").with_code("54011"))
    };
    for (takes, code) in [(missing as fn(&TableId, &Schema) -> Result<()>, "cannot_prepare"), (full, "54011")]
    {
        let (source, cancel) = (Asks::default(), CancellationToken::new());
        let sink = Picky { memory: Memory::default(), takes };
        let run = tokio::spawn(pipeline(&source, &sink, &cancel).run());
        until(|| source.told().len() == 2 || run.is_finished()).await;
        assert!(!run.is_finished(), "{:?}", run.await.unwrap().error);
        cancel.cancel();
        drop(run.await.unwrap());
        assert_eq!(source.told()[..2], [format!("refused bad {code}"), "commit 1".to_owned()]);
    }
}

/// A target that has gone as a whole is nobody's fault.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_not_there_ends_the_job() {
    let takes = |_: &TableId, _: &Schema| Err(Error::io("no folder", std::io::ErrorKind::NotFound.into()));
    let (source, cancel) = (Asks::default(), CancellationToken::new());
    let sink = Picky { memory: Memory::default(), takes };
    let outcome = pipeline(&source, &sink, &cancel).run().await;
    assert_eq!(outcome.error.map(|error| error.kind()), Some(ErrorKind::NotFound));
}

/// Of the rows of several clients in a batch, those of the one at fault are refused.
#[tokio::test(flavor = "multi_thread")]
async fn a_fault_without_a_column_costs_its_client_alone() {
    let takes = |_: &TableId, schema: &Schema| match schema.index_of("x") {
        Some(_) => Err(Error::new(ErrorKind::Permission, "no right to the table").with_code("42501")),
        None => Ok(()),
    };
    let columns = ["n", "x"].map(|name| Column::new(name, DataType::Int64).with_nullable(true));
    let schema = Arc::new(Schema::new(columns.to_vec()).unwrap());
    let rows = [
        vec![Value::Int(7), Value::Null],
        vec![Value::Int(8), Value::Int(1)],
        vec![Value::Int(9), Value::Null],
    ];
    let batch = TableBatch::from_rows("numbers", Arc::clone(&schema), &rows).unwrap();
    let segments: Vec<Segment> = (0..3)
        .map(|n| Segment {
            input: Arc::new(Input::new(format!("request {n}"))),
            bytes: None,
            base: Position::START,
        })
        .collect();
    let refs = (0..3).map(|segment| RecordRef { segment, ..RecordRef::default() }).collect();
    let batch =
        TableBatch::new("numbers", schema, batch.batch().clone(), Origin::new(segments, refs)).unwrap();
    let (source, cancel) = (Asks { first: Some(batch), ..Asks::default() }, CancellationToken::new());
    let sink = Picky { memory: Memory::default(), takes };
    let run = tokio::spawn(pipeline(&source, &sink, &cancel).run());
    until(|| source.told().len() == 2 || run.is_finished()).await;
    assert_eq!(source.told()[..2], ["refused bad 42501", "commit 1"]);
    assert_eq!(sink.memory.rows.lock().unwrap().keys().copied().collect::<Vec<_>>(), [7, 9]);
    cancel.cancel();
    drop(run.await.unwrap());
}

/// A stop waits for the table of rows that were read.
#[tokio::test(flavor = "multi_thread")]
async fn what_came_last_is_written_into_a_table_of_its_own() {
    let (source, cancel) = (Asks { moves: true, ..Asks::default() }, CancellationToken::new());
    let sink = Picky { memory: Memory::default(), takes: |_, _| Ok(()) };
    let run = tokio::spawn(pipeline(&source, &sink, &cancel).run());
    until(|| source.told().len() == 2).await;
    cancel.cancel();
    drop(run.await.unwrap());
    assert_eq!(sink.memory.rows.lock().unwrap().keys().copied().collect::<Vec<_>>(), [1, 2]);
}

/// Who was committed is told, also when the next write fails before anybody could tell.
#[tokio::test]
async fn a_fault_behind_a_commit_does_not_hide_it() {
    let (source, cancel) = (Asks { hurries: true, ..Asks::default() }, CancellationToken::new());
    let sink = Memory::flaky(2);
    let options = PipelineOptions { retries: 0, ..PipelineOptions::new() }.with_errors(ErrorPolicy::Skip);
    let outcome = pipeline(&source, &sink, &cancel).with_options(options).run().await;
    assert_eq!(outcome.error.map(|error| error.kind()), Some(ErrorKind::Conflict));
    assert_eq!(source.told(), ["refused bad", "commit 1", "end Some(Conflict)"]);
}
