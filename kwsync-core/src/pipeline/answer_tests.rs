//! Sources behind which somebody waits for an answer.

use std::sync::Mutex;

use super::tests::Memory;
use super::*;
use crate::{
    AddColumn, Column, DataType, Decoded, ErrorPolicy, Position, Reader, Reject, Source, SourceBatch, Split,
    SplitPosition, Stage, TableBatch, Value,
};

/// One batch, which waits for its commit; then silence, and another one when it is stopped. It notes what it is told.
#[derive(Clone, Default)]
struct Asks {
    told: Arc<Mutex<Vec<String>>>,
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
        let decoded = Decoded {
            batches: vec![TableBatch::from_rows("numbers", schema, &rows)?],
            rejects: vec![reject],
            ..Decoded::default()
        };
        Ok(SourceBatch { commit: true, ..SourceBatch::of(decoded, SplitPosition(self.given.into())) })
    }
}

impl Reader for AsksReader {
    async fn next(&mut self) -> Result<Option<SourceBatch>> {
        match self.given {
            0 => self.batch().map(Some),
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

fn pipeline(source: &Asks, sink: &Memory, cancel: &CancellationToken) -> Pipeline {
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
