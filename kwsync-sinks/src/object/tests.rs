use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;

use kwsync_core::config::{Dsn, OpenOptions, Params, Registry};
use kwsync_core::system::object::{ObjectClient, ObjectOptions};
use kwsync_core::testkit::{S3Server, SlowWay};
use kwsync_core::{
    Checkpoint, Column, DataType, Delivered, Delivery, ErrorKind, JobId, Lane, Result, Retry, Run, Schema,
    Sink, SplitPosition, TableBatch, TableId, Value, Writer,
};
use kwsync_formats::json::{NdjsonEncoder, NdjsonOptions, NonFinite};
use kwsync_formats::{ipc, parquet};

use super::*;

fn json() -> FileFormat {
    let options = NdjsonOptions::new().with_non_finite(NonFinite::Reject);
    FileFormat::Records {
        name: "json",
        encoders: Arc::new(move || Ok(Box::new(NdjsonEncoder::new(options.clone())))),
    }
}

fn made(address: &str, format: FileFormat) -> Result<ObjectSink> {
    let dsn: Dsn = address.parse().unwrap();
    let params = Params::parse("sink `s3`", PARAMS, dsn.params())?;
    let (connection, object) = ObjectOptions::from_dsn(&dsn, &params)?;
    let options = ObjectSinkOptions::from_params(&params, object.as_deref())?;
    ObjectSink::new(ObjectClient::new(connection)?, format, options)
}

fn sink(server: &S3Server, more: &str) -> ObjectSink {
    made(&format!("{}{more}", server.address("out/")), json()).unwrap()
}

fn lane(generation: u64, index: usize) -> Lane {
    Lane { job: JobId::new("job/1"), index, generation }
}

fn rows(table: impl Into<TableId>, numbers: std::ops::Range<i64>) -> TableBatch {
    let schema = Arc::new(Schema::new(vec![Column::new("n", DataType::Int64)]).unwrap());
    let rows: Vec<_> = numbers.map(|n| vec![Value::Int(n)]).collect();
    TableBatch::from_rows(table, schema, &rows).unwrap()
}

/// Rows of a kibibyte each.
fn wide(numbers: std::ops::Range<i64>) -> TableBatch {
    let columns = vec![Column::new("n", DataType::Int64), Column::new("x", DataType::Text)];
    // What does not shrink.
    let text = |n: i64| {
        (0..64)
            .map(|k| format!("{:016x}", (n * 64 + k).wrapping_mul(0x9e37_79b9_7f4a_7c15_u64 as i64)))
            .collect::<String>()
    };
    let rows: Vec<_> = numbers.map(|n| vec![Value::Int(n), Value::Text(text(n).into())]).collect();
    TableBatch::from_rows("t", Arc::new(Schema::new(columns).unwrap()), &rows).unwrap()
}

fn start(split: &str, generation: u64) -> Checkpoint {
    Checkpoint::start(JobId::new("job/1"), split.into(), generation)
}

fn after(checkpoint: &Checkpoint) -> Checkpoint {
    checkpoint.next(SplitPosition(1.into()), false)
}

/// The numbers in the objects, by folder, in order.
fn numbers(server: &S3Server) -> BTreeMap<String, Vec<i64>> {
    let mut tables: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for (key, bytes) in server.objects() {
        let folder = key.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned();
        let batches: Option<Vec<_>> = if key.ends_with(".parquet") {
            let reader = parquet::BatchReader::from_bytes(bytes.clone().into(), &parquet::ReadOptions::new());
            Some(reader.unwrap().map(Result::unwrap).collect())
        } else if key.ends_with(".arrow") {
            let reader =
                ipc::BatchReader::try_new(std::io::Cursor::new(bytes.clone()), &ipc::ReadOptions::new());
            Some(reader.unwrap().map(Result::unwrap).collect())
        } else {
            None
        };
        let mut text = String::new();
        if let Some(batches) = batches {
            for batch in batches {
                let schema = Arc::new(Schema::from_arrow(&batch.schema()).unwrap());
                let rows = batch.num_rows();
                let batch = TableBatch::new("t", schema, batch, kwsync_core::Origin::unknown(rows)).unwrap();
                let mut out = Vec::new();
                kwsync_core::Encoder::encode(&mut NdjsonEncoder::default(), &batch, 0..rows, &mut out)
                    .unwrap();
                text.push_str(std::str::from_utf8(&out).unwrap());
            }
        } else if bytes.starts_with(&[0x1f, 0x8b]) {
            flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_string(&mut text).unwrap();
        } else {
            text = String::from_utf8(bytes).unwrap();
        }
        let values = text
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["n"].as_i64().unwrap());
        tables.entry(folder).or_default().extend(values);
    }
    tables.values_mut().for_each(|values| values.sort_unstable());
    tables
}

fn of(entries: &[(&str, std::ops::Range<i64>)]) -> BTreeMap<String, Vec<i64>> {
    entries.iter().map(|(name, range)| ((*name).to_owned(), range.clone().collect())).collect()
}

macro_rules! server {
    () => {{
        let Some(server) = S3Server::start() else { return };
        server
    }};
}

#[tokio::test]
async fn a_folder_for_each_table() {
    for format in [FileFormat::Parquet, FileFormat::Arrow, json()] {
        let server = server!();
        let sink = made(&server.address("out/"), format.clone()).unwrap();
        assert_eq!(sink.capabilities().delivery, Delivery::Idempotent);
        sink.start(&Run::first(JobId::new("job/1"))).await.unwrap();
        let mut writer = sink.open(&lane(1, 0)).await.unwrap();
        for (table, range) in [("a/b", 0..3), ("c", 0..1), ("a/b", 3..5)] {
            assert_eq!(writer.write(&rows(table, range)).await.unwrap().total().rows(), 0);
        }
        // Nothing is visible before the commit.
        assert_eq!(numbers(&server), of(&[]));
        let settled = writer.flush().await.unwrap();
        assert_eq!(settled.tables[&"a/b".into()].written, 5);
        assert_eq!(settled.tables[&"c".into()].written, 1);
        assert!(settled.bytes > 0);
        writer.write(&rows("c", 1..4)).await.unwrap();
        assert_eq!(writer.close().await.unwrap().total().written, 3);
        drop(writer);
        assert_eq!(numbers(&server), of(&[("out/a%2Fb", 0..5), ("out/c", 0..4)]), "{format:?}");
        assert_eq!(server.objects().len(), 3);
        sink.finish(&JobId::new("job/1")).await.unwrap();
        assert_eq!(server.keys().len(), 3, "{:?}", server.keys());
        assert_eq!(server.unfinished(), [""; 0]);
    }
}

#[tokio::test]
async fn names_of_prefix_and_dir() {
    let server = server!();
    for (parameter, begins, dots) in [
        ("prefix=osstest/exp/outfromhdb", "osstest/exp/outfromhdb_t-", true),
        ("dir=osstest/exp/", "osstest/exp/t.", false),
    ] {
        let sink = made(&format!("{}&{parameter}&file_rows=2", server.address("")), json()).unwrap();
        let mut writer = sink.open(&lane(1, 0)).await.unwrap();
        writer.write(&rows("t", 0..5)).await.unwrap();
        writer.close().await.unwrap();
        let plan = sink.plan(&"t".into(), rows("t", 0..1).schema()).await.unwrap().to_string();
        assert!(plan.contains("s3://bkt/osstest/exp/"), "{plan}");
        sink.finish(&JobId::new("job/1")).await.unwrap();
        let keys: Vec<_> = server.keys().into_iter().filter(|key| key.starts_with(begins)).collect();
        assert_eq!(keys.len(), 3, "{:?}", server.keys());
        for key in keys {
            let rest = key.strip_prefix(begins).unwrap();
            assert_eq!(rest.ends_with(".ndjson"), dots, "{key}");
            assert!(dots || rest.bytes().all(|byte| byte.is_ascii_digit()), "{key}");
        }
    }
    assert_eq!(numbers(&server)["osstest/exp"].len(), 10);
}

#[tokio::test]
async fn large_objects_in_parts() {
    let server = server!();
    for (more, objects) in [("", 3), ("&compressiontype=gzip&compressionlevel=1", 2)] {
        let address = format!(
            "{}&oss_file_max_size=8&oss_flush_block_size=5&num_parallel_worker=2{more}",
            server.address("out/")
        );
        let sink = made(&address, json()).unwrap();
        let mut writer = sink.open(&lane(1, 0)).await.unwrap();
        // 20 MiB
        for part in 0..20 {
            writer.write(&wide(part * 1_000..(part + 1) * 1_000)).await.unwrap();
        }
        // What has 5 MiB is under way before the commit, and not visible.
        assert_eq!(server.objects().len(), 0);
        let settled = writer.close().await.unwrap();
        let found = server.objects();
        assert_eq!((settled.total().written, found.len()), (20_000, objects), "{more}");
        let bytes: usize = found.iter().map(|(_, bytes)| bytes.len()).sum();
        assert_eq!(settled.bytes, bytes as u64);
        for (key, bytes) in &found {
            assert!(bytes.len() < 10 << 20, "{key}: {}", bytes.len());
            assert_eq!(key.ends_with(".ndjson.gz"), !more.is_empty());
        }
        assert_eq!(numbers(&server), of(&[("out/t", 0..20_000)]));
        sink.finish(&JobId::new("job/1")).await.unwrap();
        std::fs::remove_dir_all(server.root().join("bkt/out")).unwrap();
    }
}

/// A run that is killed: nothing of its drop is done, as far as the bucket can see.
fn kill(writer: ObjectWriter, sink: ObjectSink) {
    std::mem::forget((writer, sink));
}

#[tokio::test]
async fn a_commit_that_was_not_recorded_is_undone() {
    for (recorded, kills) in [(false, 0), (true, 0), (false, 2), (true, 2)] {
        let server = server!();
        let old = sink(&server, "");
        let first = old.begin(&start("s", 1)).await.unwrap();
        let other = old.begin(&start("other", 1)).await.unwrap();
        let mut writer = old.open(&lane(1, 0)).await.unwrap();
        writer.write(&rows("t", 0..10)).await.unwrap();
        writer.flush_with(&[after(&first), after(&other)]).await.unwrap();
        // That one is recorded, which the next commit shows.
        writer.write(&rows("t", 10..20)).await.unwrap();
        writer.write(&rows("u", 0..5)).await.unwrap();
        writer.flush_with(&[after(&after(&first))]).await.unwrap();
        // And one that is on its way.
        writer.write(&wide(20..8_000)).await.unwrap();
        kill(writer, old);
        assert_eq!(numbers(&server), of(&[("out/t", 0..20), ("out/u", 0..5)]));

        // Runs that are killed before they begin with the split keep what is needed to decide.
        for generation in 2..2 + kills {
            let lost = sink(&server, "");
            let writer = lost.open(&lane(generation, 0)).await.unwrap();
            lost.begin(&Checkpoint { generation, ..after(&other) }).await.unwrap();
            kill(writer, lost);
        }
        let generation = 2 + kills;
        let new = sink(&server, "");
        let stored = if recorded { after(&after(&first)) } else { after(&first) };
        new.begin(&Checkpoint { generation, ..stored }).await.unwrap();
        let expected =
            if recorded { of(&[("out/t", 0..20), ("out/u", 0..5)]) } else { of(&[("out/t", 0..10)]) };
        assert_eq!(numbers(&server), expected, "recorded {recorded}, {kills} kills");
        assert_eq!(server.unfinished(), [""; 0]);
        let mut writer = new.open(&lane(generation, 0)).await.unwrap();
        writer.close().await.unwrap();
        new.finish(&JobId::new("job/1")).await.unwrap();
        assert!(server.keys().iter().all(|key| !key.contains(".kwsync")), "{:?}", server.keys());
    }
}

#[tokio::test]
async fn what_a_killed_run_had_begun_is_given_up() {
    let server = server!();
    let old = sink(&server, "&oss_flush_block_size=5");
    let mut writer = old.open(&lane(1, 0)).await.unwrap();
    writer.write(&wide(0..12_000)).await.unwrap();
    while server.unfinished().len() < 2 {
        tokio::task::yield_now().await;
    }
    kill(writer, old);
    let new = sink(&server, "");
    let mut writer = new.open(&lane(2, 0)).await.unwrap();
    assert_eq!(server.unfinished(), [""; 0]);
    writer.write(&rows("t", 0..3)).await.unwrap();
    writer.close().await.unwrap();
    assert_eq!(numbers(&server), of(&[("out/t", 0..3)]));
}

#[tokio::test]
async fn a_try_that_failed_is_undone_by_the_next() {
    let server = server!();
    let sink = sink(&server, "");
    let first = sink.begin(&start("s", 1)).await.unwrap();
    let mut writer = sink.open(&lane(1, 0)).await.unwrap();
    writer.write(&rows("t", 0..10)).await.unwrap();
    writer.flush_with(&[after(&first)]).await.unwrap();
    // The checkpoint could not be stored: the lane is given up, and tried again by the same process.
    drop(writer);
    let mut writer = sink.open(&lane(1, 0)).await.unwrap();
    sink.begin(&first).await.unwrap();
    assert_eq!(numbers(&server), of(&[]));
    writer.write(&rows("t", 0..10)).await.unwrap();
    writer.flush_with(&[after(&first)]).await.unwrap();
    writer.close().await.unwrap();
    assert_eq!(numbers(&server), of(&[("out/t", 0..10)]));
}

#[tokio::test]
async fn a_run_that_was_taken_over_completes_nothing() {
    let server = server!();
    let old = sink(&server, "");
    let mut writing = old.open(&lane(2, 0)).await.unwrap();
    writing.write(&wide(0..6_000)).await.unwrap();

    let new = sink(&server, "");
    let mut writer = new.open(&lane(3, 0)).await.unwrap();
    writer.write(&rows("t", 100..110)).await.unwrap();
    let error = writing.flush_with(&[after(&start("s", 2))]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");
    // Nor does it come back.
    let error = sink(&server, "").open(&lane(2, 0)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced);
    writer.close().await.unwrap();
    assert_eq!(numbers(&server), of(&[("out/t", 100..110)]));
    assert_eq!(server.unfinished(), [""; 0]);
}

#[tokio::test]
async fn a_job_that_begins_anew_removes_no_object() {
    let server = server!();
    let old = sink(&server, "");
    let mut writer = old.open(&lane(7, 0)).await.unwrap();
    writer.write(&rows("t", 0..5)).await.unwrap();
    writer.flush_with(&[after(&start("s", 7))]).await.unwrap();
    writer.write(&rows("t", 5..9)).await.unwrap();
    kill(writer, old);
    let new = sink(&server, "");
    new.begin(&start("s", 1)).await.unwrap();
    assert_eq!(numbers(&server), of(&[("out/t", 0..5)]));
    // The runs of another job do not concern it.
    let other = sink(&server, "");
    let writer = other.open(&Lane { job: JobId::new("job"), index: 0, generation: 1 }).await.unwrap();
    kill(writer, other);
    let mut writer = new.open(&lane(1, 0)).await.unwrap();
    writer.write(&rows("t", 5..6)).await.unwrap();
    writer.close().await.unwrap();
    assert_eq!(numbers(&server), of(&[("out/t", 0..6)]));
}

#[tokio::test]
async fn a_future_that_is_dropped() {
    let server = server!();
    let sink = sink(&server, "");
    let mut writer = sink.open(&lane(1, 0)).await.unwrap();
    writer.write(&rows("t", 0..10)).await.unwrap();
    fn poll_once<T>(future: impl Future<Output = T>) {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(std::pin::pin!(future).poll(&mut context).is_pending());
    }
    poll_once(writer.write(&rows("t", 10..20)));
    // The rows that were accepted before are gone with it, and that is said.
    let error = writer.write(&rows("t", 20..30)).await.unwrap_err();
    assert_eq!((error.kind(), error.delivered()), (ErrorKind::Unavailable, Delivered::No));
    writer.write(&rows("t", 20..30)).await.unwrap();
    assert_eq!(writer.flush().await.unwrap().total().written, 10);
    assert_eq!(numbers(&server), of(&[("out/t", 20..30)]));
    writer.write(&rows("t", 30..40)).await.unwrap();
    poll_once(writer.flush());
    let error = writer.write(&rows("t", 40..50)).await.unwrap_err();
    assert_eq!((error.kind(), error.delivered()), (ErrorKind::Unavailable, Delivered::InDoubt));
    assert_eq!(writer.close().await.unwrap().total().rows(), 0);
    assert_eq!(numbers(&server), of(&[("out/t", 20..30)]));
}

#[tokio::test]
async fn rows_that_a_format_cannot_hold_are_rejected_alone() {
    let server = server!();
    let schema =
        Schema::new(vec![Column::new("n", DataType::Int64), Column::new("x", DataType::Float64)]).unwrap();
    let values: Vec<_> = (0..1_000)
        .map(|n| vec![Value::Int(n), Value::Float64(if n % 100 == 7 { f64::NAN } else { 1.0 })])
        .collect();
    let batch = TableBatch::from_rows("f", Arc::new(schema), &values).unwrap();
    let sink = sink(&server, "");
    let mut writer = sink.open(&lane(1, 0)).await.unwrap();
    writer.write(&batch).await.unwrap();
    let long = "x".repeat(300);
    writer.write(&rows(long.as_str(), 0..3)).await.unwrap();
    let settled = writer.close().await.unwrap();
    let counts = settled.tables[batch.table()];
    assert_eq!((counts.written, counts.rejected), (990, 10));
    assert_eq!(settled.tables[&TableId::new(long)].rejected, 3);
    assert_eq!(settled.rejects.len(), 13);
    let expected: Vec<i64> = (0..1_000).filter(|n| n % 100 != 7).collect();
    assert_eq!(numbers(&server)["out/f"], expected);
    // Where all are refused there is no object.
    let mut writer = sink.open(&lane(1, 0)).await.unwrap();
    writer.write(&batch.slice(7, 1)).await.unwrap();
    assert_eq!(writer.close().await.unwrap().total().rejected, 1);
    assert_eq!(server.objects().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uploads_that_go_too_slowly() {
    let server = server!();
    let way = SlowWay::to(server.port());
    let address = server.address("out/").replace(&server.endpoint(), &way.endpoint());
    let sink = made(&format!("{address}&oss_speed_limit=1000000&oss_speed_time=1"), json()).unwrap();
    let mut writer = sink.open(&lane(1, 0)).await.unwrap();
    writer.write(&rows("t", 0..10)).await.unwrap();
    writer.flush().await.unwrap();
    writer.write(&wide(0..30_000)).await.unwrap();
    way.set_rate(100_000);
    let error = writer.flush().await.unwrap_err();
    assert_eq!(
        (error.kind(), error.retry(), error.code()),
        (ErrorKind::Timeout, Retry::Never, Some("too_slow"))
    );
    assert!(error.to_string().contains("oss_speed_limit is 1000000 a second"), "{error}");
    assert_eq!(numbers(&server), of(&[("out/t", 0..10)]));
}

#[tokio::test]
async fn what_is_refused() {
    let server = server!();
    let run = Run::first(JobId::new("job/1"));
    let address = server.address("out/");
    let fault = |address: String| {
        let run = run.clone();
        async move { made(&address, json()).unwrap().start(&run).await.unwrap_err() }
    };
    let error = fault(address.replace("key=s3cret+/key", "key=hunter2")).await;
    assert_eq!((error.kind(), error.code()), (ErrorKind::Auth, Some("SignatureDoesNotMatch")), "{error}");
    let error = fault(address.replace("s3://bkt/", "s3://nobucket/")).await;
    assert_eq!((error.kind(), error.code()), (ErrorKind::NotFound, Some("NoSuchBucket")), "{error}");
    server.stop();
    assert_eq!(fault(address).await.kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn registered() {
    let server = server!();
    let mut registry = Registry::new();
    register(&mut registry);
    kwsync_formats::register(&mut registry);
    let open = |query: &str| {
        let dsn = format!("{}{query}", server.address("out/")).parse().unwrap();
        registry.sink(&dsn, &OpenOptions::new())
    };
    for (query, ending) in [
        ("", "parquet"),
        ("&format=json", "ndjson"),
        ("&format=ndjson&compressiontype=gzip&nulls=write", "gz"),
        ("&format=arrow&compression=lz4", "arrow"),
    ] {
        let sink = open(query).unwrap();
        let mut writer = sink.open(&lane(1, 0)).await.unwrap();
        writer.write(&rows("t", 0..1)).await.unwrap();
        writer.close().await.unwrap();
        assert!(server.objects().iter().any(|(key, _)| key.ends_with(ending)), "{:?}", server.keys());
    }
    let fault = |query: &str| open(query).err().unwrap().report();
    for (query, expected) in [
        ("&format=json&compression=zstd", "cannot be compressed that way"),
        ("&oss_flush_blocksize=5", "did you mean `oss_flush_block_size`?"),
        ("&oss_file_max_size=7", "a whole number from 8 to 4000"),
        ("&filepath=x", "filepath= is for reading"),
        ("&dir=x", "said twice"),
    ] {
        assert!(fault(query).contains(expected), "{query}: {}", fault(query));
    }
}
