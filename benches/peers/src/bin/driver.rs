//! What the pipeline itself costs: ready-made batches into `discard`, and a load beside the slower of its two ends.
//! Arguments: MiB of line protocol (default 256), rounds (default 5).

use std::sync::Arc;
use std::time::{Duration, Instant};

use kwsync_bench::line_protocol::{Kind, generate};
use kwsync_core::config::{Dsn, OpenOptions, Registry};
use kwsync_core::{
    DynSink, DynSource, JobId, Lane, Pipeline, PipelineOptions, Reader, Result, Source, SourceBatch, Split,
    SplitPosition, TableBatch, TableId,
};
use kwsync_peers::measure::median;
use kwsync_sinks::discard::DiscardSink;

/// The same batch, over and over.
struct Ready {
    batch: TableBatch,
    splits: u64,
    batches: u64,
}

struct ReadyReader {
    batch: TableBatch,
    next: u64,
    end: u64,
}

impl Source for Ready {
    type Reader = ReadyReader;

    async fn splits(&self, _lanes: usize, _known: &[Split]) -> Result<Vec<Split>> {
        Ok((0..self.splits).map(|n| Split::whole(format!("part {n}"))).collect())
    }

    async fn open(&self, _split: &Split, _at: Option<&SplitPosition>) -> Result<ReadyReader> {
        Ok(ReadyReader { batch: self.batch.clone(), next: 0, end: self.batches })
    }
}

impl Reader for ReadyReader {
    async fn next(&mut self) -> Result<Option<SourceBatch>> {
        if self.next == self.end {
            return Ok(None);
        }
        self.next += 1;
        Ok(Some(SourceBatch::new(vec![self.batch.clone()], SplitPosition(self.next.into()))))
    }
}

#[tokio::main]
async fn main() {
    let mut args = std::env::args().skip(1).map_while(|text| text.parse::<usize>().ok());
    let (mib, rounds) = (args.next().unwrap_or(256), args.next().unwrap_or(5).max(1));
    let text = generate(Kind::Cpu, mib << 20);
    let all = kwsync_peers::batches(&text.clone().into_bytes().into());
    let one = all.iter().max_by_key(|batch| batch.rows()).expect("a batch").clone();

    for lanes in [1, 2] {
        let (batches, rows) = (20_000, one.rows() as u64);
        let source: Arc<dyn DynSource> = Arc::new(Ready { batch: one.clone(), splits: lanes, batches });
        let mut times = Vec::new();
        for _ in 0..rounds {
            let sink: Arc<dyn DynSink> = Arc::new(DiscardSink::new());
            times.push(run(Arc::clone(&source), sink, lanes as usize).await);
        }
        let total = (batches * rows * lanes) as f64;
        println!(
            "ready-made batches of {rows} rows into discard, {lanes} lanes: {:.0} M rows/s",
            total / 1e6 / median(times)
        );
    }

    let dir = std::env::temp_dir().join(format!("kwsync-driver-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a folder");
    let file = dir.join("in.lp");
    std::fs::write(&file, &text).expect("the input");
    let mut registry = Registry::new();
    kwsync_formats::register(&mut registry);
    kwsync_sources::register(&mut registry);
    kwsync_sinks::register(&mut registry);
    let out = dir.join("out");
    let (from, to) = (Dsn::of_path("file", file.display().to_string()), out.display().to_string());
    let to: Dsn = format!("file:{to}?format=parquet").parse().expect("an address");
    let (mut reading, mut writing, mut both, mut beside) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let source = || -> Arc<dyn DynSource> {
            registry.source(&from, &OpenOptions::new()).expect("the source").into()
        };
        let sink =
            || -> Arc<dyn DynSink> { registry.sink(&to, &OpenOptions::new()).expect("the sink").into() };
        reading.push(drain(source().as_ref()).await);
        // Empty before each, or a writer would pick names that are not taken.
        std::fs::remove_dir_all(&out).ok();
        writing.push(fill(sink().as_ref(), &all).await);
        std::fs::remove_dir_all(&out).ok();
        both.push(run(source(), sink(), 1).await);
        std::fs::remove_dir_all(&out).ok();
        // What two cores of one machine take from each other, without a pipeline between them.
        let (began, other) = (Instant::now(), source());
        let other = tokio::spawn(async move { drain(other.as_ref()).await });
        fill(sink().as_ref(), &all).await;
        other.await.expect("an end");
        beside.push(began.elapsed());
        std::fs::remove_dir_all(&out).ok();
    }
    let (reading, writing, both, beside) = (median(reading), median(writing), median(both), median(beside));
    println!(
        "line protocol ({mib} MiB) to Parquet: reading alone {reading:.2} s, writing alone {writing:.2} s, \
         a job {both:.2} s, {:.2} times the slower; both ends at once, unconnected, {beside:.2} s, and the job {:.2} times that",
        both / reading.max(writing),
        both / beside
    );
    std::fs::remove_dir_all(&dir).expect("the folder goes");
}

async fn run(source: Arc<dyn DynSource>, sink: Arc<dyn DynSink>, lanes: usize) -> Duration {
    let began = Instant::now();
    let outcome = Pipeline::new(JobId::new("bench"), source, sink)
        .with_options(PipelineOptions::new().with_lanes(lanes))
        .run()
        .await;
    assert!(outcome.error.is_none(), "{:?}", outcome.error);
    began.elapsed()
}

/// Reads everything and keeps nothing.
async fn drain(source: &dyn DynSource) -> Duration {
    let began = Instant::now();
    for split in source.splits(1, &[]).await.expect("splits") {
        let mut reader = source.open(&split, None).await.expect("a reader");
        while reader.next().await.expect("rows").is_some() {}
    }
    began.elapsed()
}

/// Writes batches that are there, with commits as a pipeline makes them.
async fn fill(sink: &dyn DynSink, batches: &[TableBatch]) -> Duration {
    let began = Instant::now();
    let job = JobId::new("bench");
    let run = kwsync_core::Run::first(job.clone());
    sink.start(&run).await.expect("a start");
    let lane = Lane { job: job.clone(), index: 0, generation: 1 };
    let mut writer = sink.open(&lane).await.expect("a writer");
    let mut known: Vec<TableId> = Vec::new();
    let (options, mut rows, mut bytes) = (PipelineOptions::new(), 0, 0);
    for batch in batches {
        if !known.contains(batch.table()) {
            sink.prepare(batch.table(), batch.schema()).await.expect("a table");
            known.push(batch.table().clone());
        }
        writer.write(batch).await.expect("rows");
        rows += batch.rows() as u64;
        bytes += batch.retained_bytes() as u64;
        if rows >= options.commit_rows || bytes >= options.commit_bytes {
            writer.flush().await.expect("a flush");
            (rows, bytes) = (0, 0);
        }
    }
    writer.flush().await.expect("a flush");
    writer.close().await.expect("an end");
    sink.finish(&job).await.expect("an end");
    began.elapsed()
}
