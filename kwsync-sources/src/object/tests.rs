use std::io::Write;
use std::sync::Arc;

use kwsync_core::config::{OpenOptions, Registry};
use kwsync_core::system::object::{ObjectClient, ObjectOptions};
use kwsync_core::testkit::{S3Server, SlowWay};
use kwsync_core::{
    ByteReader, ByteSource, Error, ErrorKind, Position, Reader, Result, Retry, Source, Split, SplitPosition,
    Value,
};

use super::*;
use crate::file::Compression;

/// The client of an address, and what it reads.
fn parts(address: &str) -> Result<(ObjectClient, ObjectSourceOptions)> {
    let dsn: kwsync_core::config::Dsn = address.parse().unwrap();
    let params = kwsync_core::config::Params::parse("source `s3`", PARAMS, dsn.params())?;
    let (connection, object) = ObjectOptions::from_dsn(&dsn, &params)?;
    let options = ObjectSourceOptions::from_params(&params, object.as_deref())?;
    Ok((ObjectClient::new(connection)?, options))
}

fn source(address: &str) -> Result<ObjectSource> {
    parts(address).map(|(client, options)| ObjectSource::new(client, options))
}

async fn splits(source: &ObjectSource) -> Result<Vec<Split>> {
    ByteSource::splits(source, 2, &[]).await
}

/// The keys that an address stands for.
async fn keys(address: &str) -> Result<Vec<String>> {
    let splits = splits(&source(address)?).await?;
    Ok(splits
        .iter()
        .map(|split| split.id.strip_prefix("s3://bkt/").unwrap_or(&split.id).to_owned())
        .collect())
}

async fn read(source: &ObjectSource, split: &Split, at: Option<&SplitPosition>) -> Result<Vec<u8>> {
    let mut reader = ByteSource::open(source, split, at).await?;
    let mut bytes = Vec::new();
    while let Some(chunk) = reader.next_chunk().await? {
        bytes.extend_from_slice(&chunk.bytes);
    }
    Ok(bytes)
}

fn lines(count: usize) -> Vec<u8> {
    (0..count).flat_map(|n| format!("cpu,host=h{} usage={n}i {n}\n", n % 7).into_bytes()).collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

macro_rules! server {
    () => {{
        let Some(server) = S3Server::start() else { return };
        server
    }};
}

/// The names of the manual; a file system cannot hold `filename` beside `filename/aa`, so they come in two turns.
#[tokio::test]
async fn prefix() {
    let server = server!();
    for key in [
        "test/filenameexxx",
        "test/filename/aa",
        "test/filenameyyy/aa",
        "test/filenameyyy/bb/aa",
        "test/other",
    ] {
        server.put(key, "x\n");
    }
    let with = |prefix: &str| format!("{}&prefix={prefix}", server.address(""));
    assert_eq!(
        keys(&with("test/filename")).await.unwrap(),
        ["test/filename/aa", "test/filenameexxx", "test/filenameyyy/aa", "test/filenameyyy/bb/aa"]
    );
    assert_eq!(keys(&with("test/filename/")).await.unwrap(), ["test/filename/aa"]);
    server.put("test2/filename", "x\n");
    server.put("test2/filenameexxx", "x\n");
    server.put("test2/filename.gz", "");
    assert_eq!(keys(&with("test2/filename")).await.unwrap(), ["test2/filename", "test2/filenameexxx"]);
    // Nothing in a prefix is a pattern.
    let error = keys(&with("test/file*")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("no object begins with s3://bkt/test/file*"), "{error}");
}

#[tokio::test]
async fn dir_filepath_and_addresses() {
    let server = server!();
    for key in [
        "d/a.csv",
        "d/b",
        "d/sub/c.csv",
        "d/sub/.hidden",
        "d/.kwsync/job/run-1-1/run",
        "da/x.csv",
        "f",
        "f.1",
        "f.2",
        "f.4",
        "g.1",
        "empty/",
        "_no/x.csv",
    ] {
        match key.strip_suffix('/') {
            Some(folder) => std::fs::create_dir_all(server.root().join("bkt").join(folder)).unwrap(),
            None => server.put(key, "x\n"),
        }
    }
    let with = |parameter: &str| format!("{}&{parameter}", server.address(""));
    assert_eq!(keys(&with("dir=d/")).await.unwrap(), ["d/a.csv", "d/b"]);
    assert_eq!(keys(&with("prefix=d/")).await.unwrap(), ["d/a.csv", "d/b", "d/sub/.hidden", "d/sub/c.csv"]);
    assert!(keys(&with("dir=empty/")).await.unwrap_err().hint().unwrap().contains("prefix= does not"));
    assert_eq!(keys(&with("filepath=f")).await.unwrap(), ["f", "f.1", "f.2"]);
    assert_eq!(keys(&with("filepath=g")).await.unwrap(), ["g.1"]);
    let error = keys(&with("filepath=h")).await.unwrap_err();
    assert!(error.to_string().contains("there is no object s3://bkt/h"), "{error}");

    let at = |object: &str| server.address(object);
    assert_eq!(keys(&at("d/a.csv")).await.unwrap(), ["d/a.csv"]);
    assert_eq!(keys(&at("d/")).await.unwrap(), ["d/a.csv", "d/b", "d/sub/c.csv"]);
    assert_eq!(keys(&at("d/*.csv")).await.unwrap(), ["d/a.csv"]);
    assert_eq!(keys(&at("d*/**/*.csv")).await.unwrap(), ["d/a.csv", "d/sub/c.csv", "da/x.csv"]);
    assert_eq!(keys(&at("*/x.csv")).await.unwrap(), ["_no/x.csv", "da/x.csv"]);
    let error = keys(&at("e")).await.unwrap_err();
    assert!(error.to_string().contains("there is no object s3://bkt/e"), "{error}");
    assert!(error.hint().unwrap().contains("s3://bkt/e/"), "{error:?}");
    // The form of a statement, whose host is the service.
    let oss = format!(
        "oss+http://127.0.0.1:{} dir=d/ id={} key={} bucket=bkt",
        server.port(),
        kwsync_core::testkit::ACCESS_KEY,
        kwsync_core::testkit::SECRET_KEY
    );
    assert_eq!(keys(&oss).await.unwrap(), ["oss://bkt/d/a.csv", "oss://bkt/d/b"]);
}

#[tokio::test]
async fn more_objects_than_a_page_has() {
    let server = server!();
    for n in 0..1_234 {
        server.put(&format!("many/{n:04}.lp"), format!("cpu usage={n}\n"));
    }
    let source = source(&format!("{}&dir=many/", server.address(""))).unwrap();
    let found = splits(&source).await.unwrap();
    assert_eq!(found.len(), 1_234);
    assert!(found.windows(2).all(|two| two[0].id < two[1].id));
    assert_eq!(read(&source, &found[1_233], None).await.unwrap(), b"cpu usage=1233\n");
    // What is known stays as it is, and what has come is added.
    server.put("many/1234.lp", "cpu usage=1234\n");
    let more = ByteSource::splits(&source, 2, &found).await.unwrap();
    assert_eq!((more.len(), &more[..1_234]), (1_235, &found[..]));
}

#[tokio::test]
async fn bytes_from_anywhere() {
    let server = server!();
    let text = lines(20_000);
    server.put("plain.lp", &text);
    let (a, b) = text.split_at(text.len() / 3);
    server.put("two.lp.gz", [gzip(a), gzip(b)].concat());
    server.put("one.lp", b"x");
    server.put("none.lp", b"");
    for key in ["plain.lp", "two.lp.gz"] {
        let source = source(&format!("{}&chunk=4KiB", server.address(key))).unwrap();
        let split = splits(&source).await.unwrap().remove(0);
        assert_eq!(split.bytes, Some(text.len() as u64).filter(|_| key == "plain.lp"));
        assert_eq!(read(&source, &split, None).await.unwrap(), text);
        let reader = ByteSource::open(&source, &split, None).await.unwrap();
        for byte in [0, 1, 4_096, 100_001, text.len() - 1, text.len()] {
            let at = reader.position(Position { byte: byte as u64, ..Position::START });
            assert_eq!(read(&source, &split, Some(&at)).await.unwrap(), text[byte..], "{key} from {byte}");
        }
    }
    // As it is, where that is asked for.
    let packed = source(&format!("{}&compression=none", server.address("two.lp.gz"))).unwrap();
    let split = splits(&packed).await.unwrap().remove(0);
    assert_eq!(read(&packed, &split, None).await.unwrap()[..2], [0x1f, 0x8b]);
    let one = source(&server.address("one.lp")).unwrap();
    let split = splits(&one).await.unwrap().remove(0);
    assert_eq!(read(&one, &split, None).await.unwrap(), b"x");
    assert!(splits(&source(&server.address("none.lp")).unwrap()).await.unwrap().is_empty());
}

#[tokio::test]
async fn damaged_gzip() {
    let server = server!();
    let whole = gzip(&lines(5_000));
    server.put("cut.gz", &whole[..whole.len() - 100]);
    let mut bad = whole.clone();
    bad[whole.len() / 2] ^= 0xff;
    bad[whole.len() / 2 + 1] ^= 0xff;
    server.put("bad.gz", &bad);
    for (key, expected) in
        [("cut.gz", "ends in the middle of its gzip data"), ("bad.gz", "damaged gzip data")]
    {
        let source = source(&server.address(key)).unwrap();
        let split = splits(&source).await.unwrap().remove(0);
        let error = read(&source, &split, None).await.unwrap_err();
        assert!(error.to_string().contains(expected) && error.kind() == ErrorKind::Io, "{key}: {error}");
    }
}

#[tokio::test]
async fn an_object_that_was_changed() {
    let server = server!();
    server.put("x.lp", "cpu usage=1\ncpu usage=2\n");
    let source = source(&server.address("x.lp")).unwrap();
    let known = splits(&source).await.unwrap();
    let mut reader = ByteSource::open(&source, &known[0], None).await.unwrap();
    reader.next_chunk().await.unwrap().unwrap();
    let at = reader.position(Position { byte: 12, ..Position::START });
    assert_eq!(read(&source, &known[0], Some(&at)).await.unwrap(), b"cpu usage=2\n");
    let told = |error: Error, how: &str| {
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        assert!(error.to_string().contains("s3://bkt/x.lp was changed since the job began"), "{error}");
        assert!(error.to_string().contains(how), "{error}");
        assert!(error.hint().unwrap().contains("--restart"));
    };
    // Of the same size, and in the same second or not: the ETag tells.
    server.put("x.lp", "cpu usage=3\ncpu usage=4\n");
    told(read(&source, &known[0], Some(&at)).await.unwrap_err(), "ETag");
    server.put("x.lp", "cpu usage=1\ncpu usage=2\ncpu usage=3\n");
    told(read(&source, &known[0], Some(&at)).await.unwrap_err(), "36 bytes instead of 24");
    told(ByteSource::splits(&source, 1, &known).await.unwrap_err(), "36 bytes instead of 24");
    std::fs::remove_file(server.root().join("bkt/x.lp")).unwrap();
    let error = read(&source, &known[0], Some(&at)).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::NotFound, Some("NoSuchKey")), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_goes_and_comes_back() {
    let server = Arc::new(server!());
    let text = lines(600_000);
    server.put("x.lp", &text);
    let source = source(&format!("{}&chunk=64KiB", server.address("x.lp"))).unwrap();
    let split = splits(&source).await.unwrap().remove(0);
    let mut reader = ByteSource::open(&source, &split, None).await.unwrap();
    let mut bytes = Vec::new();
    while let Some(chunk) = reader.next_chunk().await.unwrap() {
        let before = bytes.len() / (4 << 20);
        bytes.extend_from_slice(&chunk.bytes);
        if bytes.len() / (4 << 20) > before {
            // Killed, whatever is on its way.
            let server = Arc::clone(&server);
            tokio::task::spawn_blocking(move || server.restart()).await.unwrap();
        }
    }
    assert!(bytes == text, "{} of {} bytes", bytes.len(), text.len());
    assert!(text.len() > 3 * (4 << 20));
}

#[tokio::test]
async fn what_is_refused() {
    let server = server!();
    server.put("x.lp", "x\n");
    let address = server.address("x.lp");
    let fault = |address: String| async move { keys(&address).await.unwrap_err() };

    let error = fault(address.replace("key=s3cret+/key", "key=hunter2")).await;
    assert_eq!((error.kind(), error.code()), (ErrorKind::Auth, Some("SignatureDoesNotMatch")), "{error}");
    assert!(error.to_string().contains("code 403, error_code SignatureDoesNotMatch"), "{error}");
    assert!(error.hint().unwrap().contains("check key="), "{error:?}");
    assert!(!format!("{error:?}{}", error.report()).contains("hunter2"));

    let error = fault(address.replace("id=KWSYNCTEST", "id=SOMEBODY")).await;
    assert!(matches!(error.kind(), ErrorKind::Auth | ErrorKind::Permission), "{error:?}");
    let error = fault(address.replace("s3://bkt/", "s3://nobucket/")).await;
    assert_eq!((error.kind(), error.code()), (ErrorKind::NotFound, Some("NoSuchBucket")), "{error}");
    assert!(error.hint().unwrap().contains("make the bucket nobucket first"), "{error:?}");
    let error = fault(address.replace("&key=s3cret+/key", "&credentials=anonymous")).await;
    assert_eq!(error.kind(), ErrorKind::Permission, "{error}");
    assert_eq!(fault(server.address("y.lp")).await.kind(), ErrorKind::NotFound);

    let port = server.port();
    drop(server);
    let error = fault(address).await;
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::Backoff), "{error}");
    assert!(error.to_string().contains("refused"), "{error}");
    let none = format!("s3://bkt/x.lp?endpoint=https://127.0.0.1:{port}&id=a&key=b");
    assert_eq!(keys(&none).await.unwrap_err().kind(), ErrorKind::Unavailable);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_too_slowly() {
    let server = server!();
    let text = lines(100_000);
    server.put("x.lp", &text);
    let way = SlowWay::to(server.port());
    let through = |more: &str| {
        let address = server.address("x.lp").replace(&server.endpoint(), &way.endpoint());
        source(&format!("{address}&chunk=64KiB&{more}")).unwrap()
    };
    let limited = through("oss_speed_limit=100000&oss_speed_time=1");
    let split = splits(&limited).await.unwrap().remove(0);
    assert_eq!(read(&limited, &split, None).await.unwrap().len(), text.len());
    let mut reader = ByteSource::open(&limited, &split, None).await.unwrap();
    reader.next_chunk().await.unwrap().unwrap();
    way.set_rate(20_000);
    let error = loop {
        match reader.next_chunk().await {
            Ok(chunk) => assert!(chunk.is_some(), "all of it came"),
            Err(error) => break error,
        }
    };
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Timeout, Retry::Never), "{error}");
    assert_eq!(error.code(), Some("too_slow"));
    assert!(error.to_string().contains("reading s3://bkt/x.lp is given up"), "{error}");
    assert!(error.hint().unwrap().contains("it resumes"));
    // As slow, and fast enough where less is asked for; a server that says nothing at all is not.
    let patient = through("oss_speed_limit=1000&oss_speed_time=1");
    let mut reader = ByteSource::open(&patient, &split, None).await.unwrap();
    for _ in 0..2 {
        reader.next_chunk().await.unwrap().unwrap();
    }
    way.set_rate(1);
    let error = splits(&patient).await.unwrap_err();
    assert_eq!(error.code(), Some("too_slow"), "{error}");
}

#[test]
fn registered() {
    let mut registry = Registry::new();
    register(&mut registry);
    kwsync_formats::register(&mut registry);
    let open = |dsn: &str| registry.source(&dsn.parse().unwrap(), &OpenOptions::new()).map(drop);
    let key = "id=i&key=hunter2";
    open(&format!("s3://bkt/x.lp?{key}&oss_dns_cache_timeout=60&async=false")).unwrap();
    open(&format!("s3://bkt/x.parquet?{key}")).unwrap();
    open("oss://oss-cn-hangzhou.aliyuncs.com prefix=osstest/example id=XXX key=XXX bucket=testbucket compressiontype=gzip format=csv").unwrap();
    for (address, expected) in [
        (format!("s3://bkt/x.lp?{key}&prefx=a"), "did you mean `prefix`?"),
        (format!("s3://bkt/x?{key}"), "does not say which format its records have"),
        (format!("s3://bkt/x.lp?{key}&compressiontype=zip"), "did you mean `gzip`?"),
        (format!("s3://b?{key}&format=csv"), "not said which objects are read"),
    ] {
        let error = open(&address).unwrap_err().report();
        assert!(error.contains(expected) && !error.contains("hunter2"), "{address}: {error}");
    }
}

#[cfg(any(feature = "ipc", feature = "parquet"))]
mod batches {
    use arrow_array::{ArrayRef, Int64Array, RecordBatch};

    use super::*;

    fn batch(from: i64, to: i64) -> RecordBatch {
        let column: ArrayRef = Arc::new(Int64Array::from_iter_values(from..to));
        RecordBatch::try_from_iter([("n", column)]).unwrap()
    }

    /// All numbers from `from` on, and the positions in between.
    async fn numbers<S: Source>(
        source: &S,
        split: &Split,
        at: Option<&SplitPosition>,
    ) -> Result<(Vec<i64>, Vec<(usize, SplitPosition)>)> {
        let mut reader = Source::open(source, split, at).await?;
        let (mut read, mut places) = (Vec::new(), Vec::new());
        while let Some(next) = reader.next().await? {
            for batch in &next.decoded.batches {
                assert_eq!(batch.table().name(), "a/b");
                for row in 0..batch.rows() {
                    let Value::Int(n) = batch.row(row).get("n").unwrap() else { panic!("no number") };
                    read.push(n);
                }
            }
            places.push((read.len(), next.position));
        }
        Ok((read, places))
    }

    async fn there_and_back(source: ObjectBatchSource, rows: i64) {
        let split = Source::splits(&source, 2, &[]).await.unwrap().remove(0);
        let (read, places) = numbers(&source, &split, None).await.unwrap();
        assert_eq!(read, (0..rows).collect::<Vec<_>>());
        assert!(places.len() > 2);
        for (count, place) in &places {
            let (rest, _) = numbers(&source, &split, Some(place)).await.unwrap();
            assert_eq!(rest, (*count as i64..rows).collect::<Vec<_>>());
        }
    }

    fn options(selection: Selection) -> ObjectSourceOptions {
        ObjectSourceOptions::new(selection).with_compression(Compression::None)
    }

    fn client(server: &S3Server) -> ObjectClient {
        parts(&server.address("x.lp")).unwrap().0
    }

    #[cfg(feature = "parquet")]
    #[tokio::test]
    async fn parquet() {
        use kwsync_formats::parquet::{BatchWriter, Compression, WriteOptions};
        let server = server!();
        let settings = WriteOptions::new().with_row_group_rows(100_000).with_compression(Compression::None);
        let mut writer = BatchWriter::try_new(Vec::new(), &batch(0, 1).schema(), &settings).unwrap();
        // More than a block, and row groups over the seams of blocks.
        writer.write(&batch(0, 250_000)).unwrap();
        let file = writer.finish().unwrap();
        assert!(file.len() > 2 << 20, "{}", file.len());
        server.put("out/a%2Fb/1.parquet", &file);
        let source =
            ObjectBatchSource::parquet(client(&server), options(Selection::Folder("out/".to_owned())));
        there_and_back(source.clone(), 250_000).await;
        let split = Source::splits(&source, 2, &[]).await.unwrap().remove(0);
        server.put("out/a%2Fb/1.parquet", [&file[..], b"more"].concat());
        let error = numbers(&source, &split, None).await.unwrap_err();
        assert!(error.to_string().contains("was changed since the job began"), "{error}");
        server.put("out/a%2Fb/1.parquet", "no Parquet");
        let split = Source::splits(&source, 2, &[]).await.unwrap().remove(0);
        let error = numbers(&source, &split, None).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Data);
        assert!(error.to_string().contains("s3://bkt/out/a%2Fb/1.parquet"), "{error}");
    }

    #[cfg(feature = "ipc")]
    #[tokio::test]
    async fn arrow() {
        use kwsync_formats::ipc::{BatchWriter, Layout, WriteOptions};
        let server = server!();
        for layout in [Layout::File, Layout::Stream] {
            let settings = WriteOptions::new().with_layout(layout);
            let mut writer = BatchWriter::try_new(Vec::new(), &batch(0, 1).schema(), &settings).unwrap();
            (0..5).for_each(|n| writer.write(&batch(n * 50_000, (n + 1) * 50_000)).unwrap());
            server.put("out/a%2Fb/1.arrow", writer.finish().unwrap());
            let folder = options(Selection::Folder("out/".to_owned()));
            there_and_back(ObjectBatchSource::arrow(client(&server), folder), 250_000).await;
        }
    }
}
