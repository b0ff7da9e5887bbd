//! Changes: the split that comes after the others, transactions that are not over, and who takes them.

use std::sync::Mutex;
use std::time::Duration;

use super::tests::Memory;
use super::*;
use crate::{
    Capabilities, Change, Column, DataType, Lane, Reader, Settled, Sink, Source, SourceBatch, Split,
    SplitPosition, TableBatch, Value, Writer,
};

/// Three splits of ten rows, and a last one of a transaction in parts; `cut` leaves its end out.
#[derive(Clone)]
struct Copied {
    sink: Log,
    cut: bool,
}

/// What was committed, and how many rows each commit had.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<(Change, u64)>>>);

struct Parts {
    batches: VecDeque<SourceBatch>,
    cut: bool,
}

struct LogWriter(Log, Vec<(Change, u64)>);

fn batch(rows: i64, change: Change, position: u64) -> SourceBatch {
    let schema = Arc::new(Schema::new(vec![Column::new("n", DataType::Int64).with_key(1, 1)]).unwrap());
    let rows: Vec<_> = (0..rows).map(|n| vec![Value::Int(n)]).collect();
    let batch = TableBatch::from_rows("t", schema, &rows).unwrap().with_change(change);
    SourceBatch::new(vec![batch], SplitPosition(position.into()))
}

impl Source for Copied {
    type Reader = Parts;

    fn yields_changes(&self) -> bool {
        true
    }

    async fn splits(&self, _lanes: usize, _known: &[Split]) -> Result<Vec<Split>> {
        let mut splits: Vec<_> = (0..3).map(|n| Split::whole(format!("{n}"))).collect();
        splits.push(Split { after_others: true, ..Split::whole("last") });
        Ok(splits)
    }

    async fn open(&self, split: &Split, _at: Option<&SplitPosition>) -> Result<Parts> {
        let part = |rows, unfinished| SourceBatch {
            unfinished,
            commit: !unfinished,
            ..batch(rows, Change::Upsert, 1)
        };
        let batches = if split.after_others {
            let committed: u64 = self.sink.0.lock().unwrap().iter().map(|(_, rows)| rows).sum();
            assert_eq!(committed, 30, "all others are committed before");
            let delete = SourceBatch { commit: true, ..batch(2, Change::Delete, 2) };
            let parts = [part(4, true), part(3, true)].into_iter();
            if self.cut {
                [delete].into_iter().chain(parts).collect()
            } else {
                [delete].into_iter().chain(parts).chain([part(1, false)]).collect()
            }
        } else {
            VecDeque::from([batch(10, Change::Rows, 1)])
        };
        Ok(Parts { batches, cut: self.cut && split.after_others })
    }
}

impl Reader for Parts {
    async fn next(&mut self) -> Result<Option<SourceBatch>> {
        match self.batches.pop_front() {
            None if self.cut => std::future::pending().await,
            batch => Ok(batch),
        }
    }
}

impl Sink for Log {
    type Writer = LogWriter;

    fn capabilities(&self) -> Capabilities {
        Capabilities::new("log").with_changes(true)
    }

    async fn open(&self, _lane: &Lane) -> Result<LogWriter> {
        Ok(LogWriter(self.clone(), Vec::new()))
    }
}

impl Writer for LogWriter {
    async fn write(&mut self, batch: &TableBatch) -> Result<Settled> {
        self.1.push((batch.change(), batch.rows() as u64));
        Ok(Settled::default())
    }

    async fn flush(&mut self) -> Result<Settled> {
        let mut settled = Settled::default();
        for (change, rows) in self.1.drain(..) {
            settled.merge(Settled::written(&"t".into(), rows as usize));
            self.0.0.lock().unwrap().push((change, rows));
        }
        Ok(settled)
    }
}

fn pipeline(sink: &Log, cut: bool, lanes: usize) -> Pipeline {
    let source = Copied { sink: sink.clone(), cut };
    let options = PipelineOptions::new().with_lanes(lanes).with_commit(1, 1, Duration::from_millis(1));
    Pipeline::new(JobId::new("changes"), Arc::new(source), Arc::new(sink.clone())).with_options(options)
}

#[tokio::test]
async fn the_last_split_waits_and_its_transactions_are_whole() {
    for lanes in [1, 3] {
        let sink = Log::default();
        let outcome = pipeline(&sink, false, lanes).run().await;
        assert!(outcome.error.is_none(), "{:?}", outcome.error);
        let log = sink.0.lock().unwrap().clone();
        let changes: Vec<_> = log.iter().filter(|(change, _)| change.is_change()).copied().collect();
        assert_eq!(
            changes,
            [(Change::Delete, 2), (Change::Upsert, 4), (Change::Upsert, 3), (Change::Upsert, 1)]
        );
    }
}

#[tokio::test]
async fn what_is_not_over_is_not_committed_when_the_job_stops() {
    let sink = Log::default();
    let stop = CancellationToken::new();
    let running = tokio::spawn(pipeline(&sink, true, 2).with_cancel(stop.clone()).run());
    while sink.0.lock().unwrap().len() < 4 {
        tokio::task::yield_now().await;
    }
    // Time enough for what must not happen: the interval of commits is a millisecond.
    tokio::time::sleep(Duration::from_millis(50)).await;
    stop.cancel();
    let outcome = running.await.unwrap();
    assert_eq!(outcome.exit_status(), 130);
    let log = sink.0.lock().unwrap().clone();
    assert_eq!(log.iter().filter(|(change, _)| *change == Change::Upsert).count(), 0, "{log:?}");
    assert_eq!(outcome.report.rows_written, 32);
}

#[tokio::test]
async fn who_takes_rows_only_is_refused_by_name() {
    let log = Log::default();
    let source = Copied { sink: log.clone(), cut: false };
    let outcome = Pipeline::new(JobId::new("refused"), Arc::new(source.clone()), Arc::new(Memory::default()))
        .run()
        .await;
    let error = outcome.error.unwrap();
    assert!(error.message().contains("the sink `memory` takes rows only"), "{error}");
    let rename = Arc::new(crate::RenameTable::template("x_{table}").unwrap());
    let named = Arc::new(crate::NameColumns::new(vec!["m".to_owned()]).unwrap());
    let made = |transform: Arc<dyn Transform>| {
        Pipeline::new(JobId::new("j"), Arc::new(source.clone()), Arc::new(log.clone()))
            .with_transform(transform)
            .check()
    };
    made(rename).unwrap();
    assert!(made(named).unwrap_err().message().contains("cannot judge"));
}
