use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kwsync_core::config::{OpenOptions, Registry};
use kwsync_core::{
    Checkpoint, Column, DataType, Delivered, Delivery, ErrorKind, JobId, Lane, Schema, Sink, SplitPosition,
    TableBatch, TableId, TimeUnit, Value, Writer,
};
use kwsync_formats::ipc;
use kwsync_formats::json::{NdjsonEncoder, NdjsonOptions, NonFinite};
use kwsync_formats::parquet::{BatchReader, ReadOptions};

use super::*;

#[test]
fn the_name_of_the_directory_may_tell_the_format() {
    for (address, format) in [
        ("file:out", "parquet"),
        ("file:out.csv", "csv"),
        ("file:/tmp/2024.d/x.lp", "line_influxdb"),
        ("file:out.d", "parquet"),
    ] {
        assert_eq!(config::guess_format(&address.parse().unwrap()), Some(format), "{address}");
    }
}

fn json() -> FileFormat {
    let options = NdjsonOptions::new().with_non_finite(NonFinite::Reject);
    FileFormat::Records {
        name: "json",
        encoders: Arc::new(move || Ok(Box::new(NdjsonEncoder::new(options.clone())))),
    }
}

fn sink(dir: &Path, format: FileFormat) -> FileSink {
    FileSink::new(dir, format, FileSinkOptions::new()).unwrap()
}

fn lane(generation: u64, index: usize) -> Lane {
    Lane { job: JobId::new("job/1"), index, generation }
}

fn rows(table: impl Into<TableId>, numbers: std::ops::Range<i64>) -> TableBatch {
    let schema = Arc::new(Schema::new(vec![Column::new("n", DataType::Int64)]).unwrap());
    let rows: Vec<_> = numbers.map(|n| vec![Value::Int(n)]).collect();
    TableBatch::from_rows(table, schema, &rows).unwrap()
}

fn start(split: &str, generation: u64) -> Checkpoint {
    Checkpoint::start(JobId::new("job/1"), split.into(), generation)
}

fn after(checkpoint: &Checkpoint) -> Checkpoint {
    checkpoint.next(SplitPosition(1.into()), false)
}

/// Every file below a directory, its path from there on.
fn files(dir: &Path) -> Vec<PathBuf> {
    fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
        for entry in dir.read_dir().unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { walk(&path, found) } else { found.push(path) }
        }
    }
    let mut found = Vec::new();
    walk(dir, &mut found);
    found.sort();
    found.iter().map(|path| path.strip_prefix(dir).unwrap().to_owned()).collect()
}

/// The numbers in the files that have a name, by folder, in order.
fn numbers(dir: &Path) -> BTreeMap<String, Vec<i64>> {
    let mut tables: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for file in files(dir) {
        if file.starts_with(".kwsync") {
            continue;
        }
        let folder = file.parent().unwrap().display().to_string();
        let path = dir.join(&file);
        let whole = |path| std::fs::File::open(path).unwrap();
        let batches: Option<Vec<_>> = match file.extension().unwrap().to_str() {
            Some("parquet") => {
                let reader = BatchReader::from_file(whole(&path), &ReadOptions::new()).unwrap();
                Some(reader.map(Result::unwrap).collect())
            }
            Some("arrow") => {
                let reader = ipc::BatchReader::try_new(whole(&path), &ipc::ReadOptions::new()).unwrap();
                Some(reader.map(Result::unwrap).collect())
            }
            _ => None,
        };
        let text = if let Some(batches) = batches {
            let mut text = Vec::new();
            for batch in batches {
                let schema = Arc::new(Schema::from_arrow(&batch.schema()).unwrap());
                let rows = batch.num_rows();
                let batch = TableBatch::new("t", schema, batch, kwsync_core::Origin::unknown(rows)).unwrap();
                kwsync_core::Encoder::encode(&mut NdjsonEncoder::default(), &batch, 0..rows, &mut text)
                    .unwrap();
            }
            String::from_utf8(text).unwrap()
        } else {
            std::fs::read_to_string(path).unwrap()
        };
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

#[tokio::test]
async fn a_folder_for_each_table() {
    for format in [FileFormat::Parquet, FileFormat::Arrow, json()] {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("new/out");
        let sink = sink(&root, format.clone());
        assert_eq!(sink.capabilities().delivery, Delivery::Idempotent);
        let mut writer = sink.open(&lane(1, 0)).await.unwrap();
        for (table, range) in [("a/b", 0..3), ("c", 0..1), ("a/b", 3..5)] {
            let batch = rows(table, range);
            sink.prepare(batch.table(), batch.schema()).await.unwrap();
            assert_eq!(writer.write(&batch).await.unwrap().total().rows(), 0);
        }
        // Nothing has a name before the commit.
        assert!(files(&root).iter().all(|file| file.extension().unwrap() == "part"), "{:?}", files(&root));
        let settled = writer.flush().await.unwrap();
        assert_eq!(settled.tables[&"a/b".into()].written, 5);
        assert_eq!(settled.tables[&"c".into()].written, 1);
        assert!(settled.bytes > 0);
        writer.write(&rows("c", 1..4)).await.unwrap();
        assert_eq!(writer.close().await.unwrap().total().written, 3);
        drop(writer);
        assert_eq!(numbers(&root), of(&[("a%2Fb", 0..5), ("c", 0..4)]), "{format:?}");
        assert_eq!(files(&root).len(), 3);
        assert!(!root.join(".kwsync").exists());
    }
}

#[tokio::test]
async fn files_end_by_rows_and_bytes() {
    for (options, expected) in [
        (FileSinkOptions::new().with_file_rows(40), 3),
        (FileSinkOptions::new().with_file_bytes(1), 4),
        (FileSinkOptions::new().with_buffer_bytes(1), 1),
    ] {
        for format in [FileFormat::Parquet, FileFormat::Arrow, json()] {
            let dir = tempfile::tempdir().unwrap();
            let sink = FileSink::new(dir.path(), format, options.clone()).unwrap();
            let mut writer = sink.open(&lane(1, 0)).await.unwrap();
            for part in 0..4 {
                writer.write(&rows("t", part * 25..(part + 1) * 25)).await.unwrap();
            }
            assert_eq!(writer.close().await.unwrap().total().written, 100);
            drop(writer);
            assert_eq!(numbers(dir.path()), of(&[("t", 0..100)]));
            assert_eq!(files(dir.path()).len(), expected, "{options:?}");
        }
    }
}

#[tokio::test]
async fn many_tables_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let options = FileSinkOptions::new().with_fsync(false);
    let sink = FileSink::new(dir.path(), json(), options).unwrap();
    let mut writer = sink.open(&lane(1, 0)).await.unwrap();
    for table in 0..600 {
        writer.write(&rows(format!("t{table}").as_str(), 0..1)).await.unwrap();
    }
    assert_eq!(writer.close().await.unwrap().tables.len(), 600);
    assert_eq!(numbers(dir.path()).len(), 600);
}

#[tokio::test]
async fn a_dropped_writer_commits_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let sink = sink(dir.path(), FileFormat::Parquet);
    let mut writer = sink.open(&lane(1, 0)).await.unwrap();
    writer.write(&rows("t", 0..10)).await.unwrap();
    drop(writer);
    assert_eq!(files(dir.path()), Vec::<PathBuf>::new());
}

/// The process is killed: nothing of it is dropped.
fn kill(writer: FileWriter, sink: FileSink) {
    std::mem::forget(writer);
    std::mem::forget(sink);
}

#[tokio::test]
async fn killed_before_the_commit() {
    let dir = tempfile::tempdir().unwrap();
    let old = sink(dir.path(), FileFormat::Parquet);
    old.begin(&start("s", 1)).await.unwrap();
    let mut writer = old.open(&lane(1, 0)).await.unwrap();
    writer.write(&rows("t", 0..10)).await.unwrap();
    kill(writer, old);
    assert_eq!(files(dir.path()).len(), 1);

    let new = sink(dir.path(), FileFormat::Parquet);
    assert_eq!(new.begin(&start("s", 2)).await.unwrap(), start("s", 2));
    assert_eq!(files(dir.path()), Vec::<PathBuf>::new());
    let mut writer = new.open(&lane(2, 0)).await.unwrap();
    writer.write(&rows("t", 0..10)).await.unwrap();
    writer.close().await.unwrap();
    drop(writer);
    assert_eq!(numbers(dir.path()), of(&[("t", 0..10)]));
    assert!(!dir.path().join(".kwsync").exists());
}

#[tokio::test]
async fn killed_between_the_commit_and_its_record() {
    for recorded in [false, true] {
        for kills in 1..4 {
            let dir = tempfile::tempdir().unwrap();
            let old = sink(dir.path(), FileFormat::Parquet);
            let first = old.begin(&start("s", 1)).await.unwrap();
            let other = old.begin(&start("other", 1)).await.unwrap();
            let mut writer = old.open(&lane(1, 0)).await.unwrap();
            writer.write(&rows("t", 0..10)).await.unwrap();
            writer.flush_with(&[after(&first), after(&other)]).await.unwrap();
            // That one is recorded, which the next commit shows.
            writer.write(&rows("t", 10..20)).await.unwrap();
            writer.write(&rows("u", 0..5)).await.unwrap();
            writer.flush_with(&[after(&after(&first))]).await.unwrap();
            kill(writer, old);
            assert_eq!(numbers(dir.path()), of(&[("t", 0..20), ("u", 0..5)]));

            // Runs that are killed before they begin with the split keep what is needed to decide.
            for generation in 2..2 + kills {
                let lost = sink(dir.path(), FileFormat::Parquet);
                let writer = lost.open(&lane(generation, 0)).await.unwrap();
                lost.begin(&Checkpoint { generation, ..after(&other) }).await.unwrap();
                kill(writer, lost);
            }
            let generation = 2 + kills;
            let new = sink(dir.path(), FileFormat::Parquet);
            let stored = if recorded { after(&after(&first)) } else { after(&first) };
            new.begin(&Checkpoint { generation, ..stored }).await.unwrap();
            let expected = if recorded { of(&[("t", 0..20), ("u", 0..5)]) } else { of(&[("t", 0..10)]) };
            assert_eq!(numbers(dir.path()), expected, "recorded {recorded}, {kills} kills");
            let mut writer = new.open(&lane(generation, 0)).await.unwrap();
            writer.close().await.unwrap();
            drop(writer);
            assert!(!dir.path().join(".kwsync").exists(), "{:?}", files(dir.path()));
        }
    }
}

#[tokio::test]
async fn a_try_that_failed_is_undone_by_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let sink = sink(dir.path(), json());
    let first = sink.begin(&start("s", 1)).await.unwrap();
    let mut writer = sink.open(&lane(1, 0)).await.unwrap();
    writer.write(&rows("t", 0..10)).await.unwrap();
    writer.flush_with(&[after(&first)]).await.unwrap();
    // The checkpoint could not be stored: the lane is given up, and tried again by the same process.
    drop(writer);
    let mut writer = sink.open(&lane(1, 0)).await.unwrap();
    sink.begin(&first).await.unwrap();
    assert_eq!(numbers(dir.path()), of(&[]));
    writer.write(&rows("t", 0..10)).await.unwrap();
    writer.flush_with(&[after(&first)]).await.unwrap();
    writer.close().await.unwrap();
    drop(writer);
    assert_eq!(numbers(dir.path()), of(&[("t", 0..10)]));
    assert!(!dir.path().join(".kwsync").exists());
}

#[tokio::test]
async fn a_run_that_was_taken_over_names_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let old = sink(dir.path(), FileFormat::Parquet);
    let mut writing = old.open(&lane(2, 0)).await.unwrap();
    writing.write(&rows("t", 0..10)).await.unwrap();
    let mut idle = old.open(&lane(2, 1)).await.unwrap();

    let new = sink(dir.path(), FileFormat::Parquet);
    let mut writer = new.open(&lane(3, 0)).await.unwrap();
    writer.write(&rows("t", 100..110)).await.unwrap();
    let error = writing.flush_with(&[after(&start("s", 2))]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");
    assert_eq!(idle.write(&rows("t", 0..1)).await.unwrap_err().kind(), ErrorKind::Fenced);
    // Nor does it come back.
    let error = sink(dir.path(), FileFormat::Parquet).open(&lane(2, 0)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced);
    writer.close().await.unwrap();
    drop((writer, writing, idle));
    assert_eq!(numbers(dir.path()), of(&[("t", 100..110)]));
}

#[tokio::test]
async fn a_job_that_begins_anew_removes_nothing_that_has_a_name() {
    let dir = tempfile::tempdir().unwrap();
    let old = sink(dir.path(), json());
    let mut writer = old.open(&lane(7, 0)).await.unwrap();
    writer.write(&rows("t", 0..5)).await.unwrap();
    writer.flush_with(&[after(&start("s", 7))]).await.unwrap();
    writer.write(&rows("t", 5..9)).await.unwrap();
    kill(writer, old);
    let new = sink(dir.path(), json());
    new.begin(&start("s", 1)).await.unwrap();
    assert_eq!(numbers(dir.path()), of(&[("t", 0..5)]));
    assert_eq!(files(dir.path()).len(), 1);
}

#[tokio::test]
async fn a_future_that_is_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let sink = sink(dir.path(), FileFormat::Parquet);
    let mut writer = sink.open(&lane(1, 0)).await.unwrap();
    writer.write(&rows("t", 0..10)).await.unwrap();
    // Polled once while it cannot get on, and dropped: it goes on in the background, but nobody has seen it end.
    let state = Arc::clone(&writer.state);
    fn poll_once<T>(future: impl Future<Output = T>) {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(std::pin::pin!(future).poll(&mut context).is_pending());
    }
    {
        let _held = state.lock().unwrap();
        poll_once(writer.write(&rows("t", 10..20)));
    }
    // The rows that were accepted before are gone with it, and that is said.
    let error = writer.write(&rows("t", 20..30)).await.unwrap_err();
    assert_eq!((error.kind(), error.delivered()), (ErrorKind::Unavailable, Delivered::No));
    assert_eq!(numbers(dir.path()), of(&[]));
    writer.write(&rows("t", 20..30)).await.unwrap();
    assert_eq!(writer.flush().await.unwrap().total().written, 10);
    assert_eq!(numbers(dir.path()), of(&[("t", 20..30)]));
    writer.write(&rows("t", 30..40)).await.unwrap();
    {
        let _held = state.lock().unwrap();
        poll_once(writer.flush());
        // Dropped in its turn, before it could say so.
        poll_once(writer.write(&rows("t", 40..50)));
    }
    let error = writer.write(&rows("t", 40..50)).await.unwrap_err();
    assert_eq!((error.kind(), error.delivered()), (ErrorKind::Unavailable, Delivered::InDoubt));
    assert_eq!(writer.close().await.unwrap().total().rows(), 0);
}

#[tokio::test]
async fn a_dropped_write_that_is_overtaken_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let sink = sink(dir.path(), json());
    let mut writer = sink.open(&lane(1, 0)).await.unwrap();
    let state = Arc::clone(&writer.state);
    {
        let mut held = state.lock().unwrap();
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(std::pin::pin!(writer.write(&rows("t", 0..1))).poll(&mut context).is_pending());
        // As if the next call had taken the lock before it, which the system is free to let happen.
        held.number = 2;
    }
    while Arc::strong_count(&state) > 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(files(dir.path()), Vec::<PathBuf>::new());
    assert_eq!(writer.flush().await.unwrap_err().delivered(), Delivered::No);
    writer.write(&rows("t", 1..3)).await.unwrap();
    assert_eq!(writer.close().await.unwrap().total().written, 2);
    assert_eq!(numbers(dir.path()), of(&[("t", 1..3)]));
}

#[tokio::test]
async fn rows_that_a_format_cannot_hold_are_rejected_alone() {
    let dir = tempfile::tempdir().unwrap();
    let schema = |data_type| {
        Arc::new(Schema::new(vec![Column::new("n", DataType::Int64), Column::new("x", data_type)]).unwrap())
    };
    let floats: Vec<_> = (0..1_000)
        .map(|n| vec![Value::Int(n), Value::Float64(if n % 100 == 7 { f64::NAN } else { 1.0 })])
        .collect();
    let floats = TableBatch::from_rows("f", schema(DataType::Float64), &floats).unwrap();
    let unit = TimeUnit::Second;
    let times: Vec<_> = (0..1_000)
        .map(|n| vec![Value::Int(n), Value::Timestamp(if n % 100 == 7 { i64::MAX } else { n }, unit, false)])
        .collect();
    let times = TableBatch::from_rows("t", schema(DataType::Timestamp(unit)), &times).unwrap();
    for (format, batch, code) in
        [(json(), floats, "non_finite"), (FileFormat::Parquet, times, "out_of_range")]
    {
        let dir = dir.path().join(code);
        let sink = sink(&dir, format);
        let mut writer = sink.open(&lane(1, 0)).await.unwrap();
        writer.write(&batch).await.unwrap();
        let settled = writer.close().await.unwrap();
        let counts = settled.tables[batch.table()];
        assert_eq!((counts.written, counts.rejected), (990, 10));
        assert_eq!(settled.rejects.len(), 10);
        for (reject, n) in settled.rejects.iter().zip((7..).step_by(100)) {
            assert_eq!(reject.code, code);
            let row: serde_json::Value = serde_json::from_slice(&reject.raw).unwrap();
            assert_eq!(row["n"], n);
        }
        let expected: Vec<i64> = (0..1_000).filter(|n| n % 100 != 7).collect();
        assert_eq!(numbers(&dir).into_values().next().unwrap(), expected);
    }
}

#[tokio::test]
async fn names_that_are_too_long() {
    let dir = tempfile::tempdir().unwrap();
    let long = "x".repeat(300);
    let sink = sink(dir.path(), json());
    let mut writer = sink.open(&lane(1, 0)).await.unwrap();
    let batch = rows(long.as_str(), 0..3);
    sink.prepare(batch.table(), batch.schema()).await.unwrap();
    writer.write(&batch).await.unwrap();
    let settled = writer.close().await.unwrap();
    assert_eq!((settled.total().rejected, settled.rejects.len()), (3, 3));
    assert_eq!(settled.rejects[0].code, "name_too_long");
    assert!(sink.plan(batch.table(), batch.schema()).await.unwrap().to_string().contains("too long"));

    let sink = FileSink::new(dir.path(), json(), FileSinkOptions::new().with_hash_names(true)).unwrap();
    let mut writer = sink.open(&lane(1, 0)).await.unwrap();
    writer.write(&batch).await.unwrap();
    assert_eq!(writer.close().await.unwrap().total().written, 3);
}

#[tokio::test]
async fn a_new_column_begins_a_new_parquet_file() {
    let dir = tempfile::tempdir().unwrap();
    let sink = sink(dir.path(), FileFormat::Parquet);
    let mut writer = sink.open(&lane(1, 0)).await.unwrap();
    let wider =
        Schema::new(vec![Column::new("n", DataType::Int64), Column::new("m", DataType::Text)]).unwrap();
    writer.write(&rows("t", 0..2)).await.unwrap();
    writer.write(&rows("t", 2..3)).await.unwrap();
    let row = vec![Value::Int(3), Value::Text("x".into())];
    writer.write(&TableBatch::from_rows("t", Arc::new(wider), &[row]).unwrap()).await.unwrap();
    writer.close().await.unwrap();
    assert_eq!(numbers(dir.path()), of(&[("t", 0..4)]));
    assert_eq!(files(dir.path()).len(), 2);
}

/// A small file system of its own; gone with the value.
struct Mounted(tempfile::TempDir);

impl Mounted {
    fn new(size: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mount = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", size, "tmpfs"])
            .arg(dir.path())
            .output();
        mount.is_ok_and(|made| made.status.success()).then_some(Self(dir))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        std::process::Command::new("umount").arg(self.0.path()).status().ok();
    }
}

#[tokio::test]
async fn a_full_disk() {
    let Some(disk) = Mounted::new("size=4m") else {
        println!("SKIPPED: a_full_disk needs the right to mount a tmpfs");
        return;
    };
    let root = disk.0.path().join("out");
    for format in [FileFormat::Parquet, FileFormat::Arrow, json()] {
        let options = FileSinkOptions::new().with_compression(Compression::None);
        let sink = FileSink::new(&root, format, options).unwrap();
        let mut writer = sink.open(&lane(1, 0)).await.unwrap();
        let first = after(&start("s", 1));
        writer.write(&rows("t", 0..10)).await.unwrap();
        writer.flush_with(std::slice::from_ref(&first)).await.unwrap();
        let before = numbers(&root);
        let mut error = None;
        for part in 0..100 {
            let written = writer.write(&rows("t", part * 20_000..(part + 1) * 20_000)).await;
            if let Err(fault) = written.map(drop) {
                error = Some(fault);
                break;
            }
        }
        let error = match error {
            Some(error) => error,
            None => writer.flush_with(&[after(&first)]).await.unwrap_err(),
        };
        assert_eq!(error.kind(), ErrorKind::DiskFull, "{error}");
        assert_eq!(error.to_string().lines().count(), 1);
        assert!(error.hint().unwrap().contains("free some space"));
        // What was committed is whole, what was not is gone, and the next rows find room.
        assert_eq!(numbers(&root), before);
        writer.write(&rows("t", 10..20)).await.unwrap();
        writer.close().await.unwrap();
        drop(writer);
        assert!(files(&root).iter().all(|file| file.extension().unwrap() != "part"));
        std::fs::remove_dir_all(&root).unwrap();
    }
}

#[tokio::test]
async fn registered() {
    let dir = tempfile::tempdir().unwrap();
    let mut registry = Registry::new();
    register(&mut registry);
    kwsync_formats::register(&mut registry);
    let open = |query: &str| {
        let dsn = format!("file:{}{query}", dir.path().display()).parse().unwrap();
        registry.sink(&dsn, &OpenOptions::new())
    };
    for (query, ending) in [
        ("", "parquet"),
        ("?format=json", "ndjson"),
        ("?format=ndjson&compression=gzip&nulls=write", "gz"),
        ("?format=arrow&compression=lz4", "arrow"),
    ] {
        let sink = open(query).unwrap();
        let mut writer = sink.open(&lane(1, 0)).await.unwrap();
        writer.write(&rows("t", 0..1)).await.unwrap();
        writer.close().await.unwrap();
        let found = files(dir.path()).into_iter().find(|file| file.extension().unwrap() == ending);
        assert!(found.is_some(), "{:?}", files(dir.path()));
    }
    let fault = |query: &str| open(query).err().unwrap().to_string();
    assert_eq!(
        fault("?format=json&compression=zstd"),
        "files of the format json cannot be compressed that way"
    );
    for (format, good) in
        [("parquet", ""), ("arrow", "?format=arrow"), ("parquet", "?format=parquet&compression=gzip")]
    {
        assert!(open(good).is_ok());
        let other = if format == "arrow" { "snappy" } else { "lz4" };
        let error = open(&format!("?format={format}&compression={other}")).err().unwrap();
        assert!(error.hint().unwrap().contains("zstd"), "{error}");
    }
    assert_eq!(
        fault("?compression=zsdt"),
        "sink `file`: `compression=zsdt` is wrong: it takes one of auto, none, gzip, lz4, snappy, zstd, did you mean `zstd`?"
    );
    let dsn = "-".parse().unwrap();
    assert!(
        registry.sink(&dsn, &OpenOptions::new()).err().unwrap().to_string().contains("not standard output")
    );
    let plan = open("").unwrap();
    let schema =
        Arc::new(Schema::new(vec![Column::new("at", DataType::TimestampTz(TimeUnit::Second))]).unwrap());
    let plan = plan.plan(&"cpu".into(), &schema).await.unwrap().to_string();
    assert!(
        plan.starts_with("table cpu: parquet files, idempotent\n  at: timestamptz(s) -> timestamptz(ms)\n"),
        "{plan}"
    );
}
