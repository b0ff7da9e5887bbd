//! Readers and their requests, without sockets.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::header::{CONTENT_ENCODING, HeaderValue};
use hyper::{HeaderMap, StatusCode};
use kwsync_core::config::{Dsn, OpenOptions, Params, Registry};
use kwsync_core::{ErrorKind, Position, Reader, Reject, SourceBatch, Stage, TableBatch};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::oneshot;

use super::answer::{self, Style};
use super::auth::Auth;
use super::formats::{Formats, Key};
use super::http::of_form;
use super::queue::{Hold, Outcome, Queue, Refused, Request, Settled};
use super::server::{Phase, Shared};
use super::{ListenOptions, ListenReader, PARAMS, body};

fn shared(change: impl FnOnce(&mut ListenOptions)) -> Arc<Shared> {
    let mut registry = Registry::new();
    kwsync_formats::register(&mut registry);
    let mut options = ListenOptions::new("127.0.0.1", 0);
    change(&mut options);
    let formats = Formats::new(registry, OpenOptions::new(), &options).unwrap();
    let queue = Queue::new(options.max_waiting);
    Arc::new(Shared::new(options, formats, queue).unwrap())
}

fn put(shared: &Shared, body: &str) -> Result<oneshot::Receiver<Outcome>, Arc<str>> {
    put_as(shared, body, false)
}

fn put_as(shared: &Shared, body: &str, accept: bool) -> Result<oneshot::Receiver<Outcome>, Arc<str>> {
    let key = shared.formats.of("line_influxdb", Vec::new(), None).unwrap();
    put_of(shared, key, body, accept)
}

fn put_of(
    shared: &Shared,
    key: Key,
    body: &str,
    accept: bool,
) -> Result<oneshot::Receiver<Outcome>, Arc<str>> {
    let (answer, answered) = oneshot::channel();
    let mut hold = shared.queue.hold();
    assert!(hold.cover(body.len()));
    let request = Request {
        key,
        body: Bytes::from(body.to_owned()),
        input: shared.queue.input("POST /write", "a test"),
        at: Position::START,
        accept,
        answer: Some(answer),
        _hold: hold,
    };
    shared.queue.put(request).map(|()| answered)
}

fn settled(answered: &mut oneshot::Receiver<Outcome>) -> Settled {
    match answered.try_recv() {
        Ok(Outcome::Settled(settled)) => settled,
        other => panic!("{other:?}"),
    }
}

fn rows(batch: &SourceBatch) -> usize {
    batch.decoded.batches.iter().map(TableBatch::rows).sum()
}

/// The next batch, if one is due without anything else coming.
async fn due(reader: &mut ListenReader) -> Option<SourceBatch> {
    let mut next = std::pin::pin!(reader.next());
    // Ready at the first look, or it waits for somebody.
    std::future::poll_fn(|context| match next.as_mut().poll(context) {
        std::task::Poll::Ready(batch) => std::task::Poll::Ready(batch.unwrap()),
        std::task::Poll::Pending => std::task::Poll::Ready(None),
    })
    .await
}

#[tokio::test]
async fn what_comes_during_a_commit_is_committed_together() {
    let shared = shared(|_| {});
    let mut reader = ListenReader::new(Arc::clone(&shared));
    assert!(due(&mut reader).await.is_none());
    let mut first = put(&shared, "a n=1i 1").unwrap();
    let batch = due(&mut reader).await.unwrap();
    assert!(batch.commit && rows(&batch) == 1);
    // One is being committed: the next ones are gathered.
    let mut others: Vec<_> =
        (0..5).map(|n| put(&shared, &format!("a n={n}i 1\na n={n}i 2")).unwrap()).collect();
    assert!(due(&mut reader).await.is_none());
    assert!(first.try_recv().is_err());
    reader.commit(&batch.position).await.unwrap();
    assert_eq!(settled(&mut first).rows, 1);
    let batch = due(&mut reader).await.unwrap();
    assert!(batch.commit && rows(&batch) == 10);
    assert!(others.iter_mut().all(|other| other.try_recv().is_err()));
    reader.commit(&batch.position).await.unwrap();
    assert!(others.iter_mut().all(|other| settled(other).is_whole()));
}

#[tokio::test]
async fn linger_waits_for_others() {
    let long = shared(|options| options.linger = Duration::from_secs(3_600));
    let mut reader = ListenReader::new(Arc::clone(&long));
    let first = put(&long, "a n=1i 1").unwrap();
    let second = put(&long, "a n=2i 1").unwrap();
    assert!(due(&mut reader).await.is_none());
    drop((first, second));
    let short = shared(|options| options.linger = Duration::from_millis(1));
    let mut reader = ListenReader::new(Arc::clone(&short));
    let first = put(&short, "a n=1i 1").unwrap();
    assert_eq!(rows(&reader.next().await.unwrap().unwrap()), 1);
    drop(first);
}

#[tokio::test]
async fn a_long_request_goes_in_parts_and_is_answered_at_its_end() {
    let shared = shared(|_| {});
    let mut reader = ListenReader::new(Arc::clone(&shared));
    let mut short = put(&shared, "a n=0i 1").unwrap();
    let mut long = put(&shared, &(0..20_000).map(|n| format!("a n={n}i {n}\n")).collect::<String>()).unwrap();
    let (mut read, mut parts) = (0, 0);
    loop {
        let batch = due(&mut reader).await.unwrap();
        read += rows(&batch);
        parts += 1;
        // The lane commits in between for its own reasons.
        reader.commit(&batch.position).await.unwrap();
        if batch.commit {
            break;
        }
        assert!(long.try_recv().is_err());
    }
    assert!(parts > 1);
    assert_eq!((read, settled(&mut short).rows, settled(&mut long).rows), (20_001, 1, 20_000));
    let mut after = put(&shared, "a n=1i 1").unwrap();
    let batch = due(&mut reader).await.unwrap();
    reader.commit(&batch.position).await.unwrap();
    assert!(settled(&mut after).is_whole());
}

/// What is refused in an earlier part of a long request is told, too, when it is answered before its commit.
#[tokio::test]
async fn who_waits_for_no_commit_is_told_of_all_parts() {
    let shared = shared(|_| {});
    let mut reader = ListenReader::new(Arc::clone(&shared));
    let body = format!("nonsense\n{}bad", (0..20_000).map(|n| format!("a n={n}i {n}\n")).collect::<String>());
    let mut answered = put_as(&shared, &body, true).unwrap();
    let mut parts = 0;
    while !due(&mut reader).await.unwrap().commit {
        parts += 1;
        assert!(answered.try_recv().is_err());
    }
    assert!(parts > 0);
    let told = settled(&mut answered);
    assert_eq!((told.rows, told.refused), (20_000, 2));
    assert_eq!(told.first.iter().map(|refused| refused.line).collect::<Vec<_>>(), [1, 20_002]);
}

#[tokio::test]
async fn refused_rows_are_told_to_whom_they_belong() {
    let shared = shared(|_| {});
    let mut reader = ListenReader::new(Arc::clone(&shared));
    let mut good = put(&shared, "a n=1i 1").unwrap();
    let mut bad = put(&shared, "a n=2i 1\nnonsense\na n=3i 2").unwrap();
    let batch = due(&mut reader).await.unwrap();
    let mut rejects = batch.decoded.rejects.clone();
    // The target refuses the row of line 3.
    let own = &batch.decoded.batches[0];
    rejects.push(own.reject(2, kwsync_core::Stage::Write, "23514", "it is refused"));
    reader.refused(&rejects);
    reader.commit(&batch.position).await.unwrap();
    assert!(settled(&mut good).is_whole());
    let told = settled(&mut bad);
    assert_eq!((told.rows, told.refused, told.written()), (2, 2, 1));
    assert_eq!(told.first.iter().map(|refused| refused.line).collect::<Vec<_>>(), [2, 3]);
    // A row that has lost where it came from is told to all that it may have come from.
    let mut one = put(&shared, "a n=1i 1").unwrap();
    let batch = due(&mut reader).await.unwrap();
    let lost = Reject { split: String::new(), ..rejects[1].clone() };
    reader.refused(&[lost]);
    reader.commit(&batch.position).await.unwrap();
    assert!(!settled(&mut one).is_whole());
}

/// A column that the target does not take is forgotten, and what it has taken stands.
#[tokio::test]
async fn what_was_refused_is_not_learned() {
    let shared = shared(|_| {});
    let mut reader = ListenReader::new(Arc::clone(&shared));
    let mut columns = Vec::new();
    for (line, refuse) in
        [("a n=1i 1", false), ("a n=2i,x=\"odd\" 1", true), ("a n=3i 1", false), ("a x=4i 1", false)]
    {
        let mut answered = put(&shared, line).unwrap();
        let batch = due(&mut reader).await.unwrap();
        let own = &batch.decoded.batches[0];
        let names: Vec<String> = own
            .schema()
            .columns()
            .iter()
            .map(|column| format!("{}:{}", column.name(), column.data_type()))
            .collect();
        columns.push(names.join(" "));
        if refuse {
            reader.refused(&[own.reject(0, kwsync_core::Stage::Write, "cannot_prepare", "no such column")]);
        }
        reader.commit(&batch.position).await.unwrap();
        assert_eq!(settled(&mut answered).is_whole(), !refuse);
    }
    let n = columns[0].clone();
    assert_eq!(columns[2], n, "{columns:?}");
    assert!(columns[1].starts_with(&n) && columns[1] != n && columns[3].ends_with("x:i64"), "{columns:?}");
    // Another type of what stands is the fault of its line alone.
    let mut bad = put(&shared, "a n=\"odd\" 1\na n=5i 1").unwrap();
    let batch = due(&mut reader).await.unwrap();
    assert_eq!((rows(&batch), batch.decoded.rejects.len()), (1, 1));
    reader.refused(&batch.decoded.rejects);
    reader.commit(&batch.position).await.unwrap();
    assert_eq!(settled(&mut bad).refused, 1);
}

/// What a request of CSV calls its columns is nothing to remember.
#[tokio::test]
async fn headers_of_requests_are_not_kept() {
    let shared = shared(|_| {});
    let mut reader = ListenReader::new(Arc::clone(&shared));
    for _ in 0..3 {
        let params = [("header", "true"), ("table", "t")];
        let params = params.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let key = shared.formats.of("csv", params, None).unwrap();
        let mut answered = put_of(&shared, key, "a,b\n1,2\n", false).unwrap();
        let batch = due(&mut reader).await.unwrap();
        reader.commit(&batch.position).await.unwrap();
        assert_eq!(settled(&mut answered).rows, 1);
    }
    let known = shared.formats.learned.of(None).tables();
    assert_eq!(known.iter().map(|(table, _)| table.name()).collect::<Vec<_>>(), ["t"]);
}

/// A row that is refused for itself says nothing of its columns.
#[tokio::test]
async fn refusals_of_rows_are_no_refusals_of_columns() {
    let shared = shared(|_| {});
    let mut reader = ListenReader::new(Arc::clone(&shared));
    for (stage, code, forgets) in [
        (Stage::Transform, "expression_fails", 0),
        (Stage::Write, "23505", 0),
        (Stage::Write, "P0001", 0),
        (Stage::Write, "44000", 0),
        (Stage::Write, "duplicate_key", 0),
        (Stage::Transform, "cannot_transform", 1),
        (Stage::Transform, "column_clash", 1),
        (Stage::Write, "type_conflict", 1),
        (Stage::Write, "cannot_prepare", 1),
        (Stage::Write, "42501", 1),
    ] {
        let before = shared.formats.learned.epoch();
        let mut answered = put(&shared, "a n=1i 1").unwrap();
        let batch = due(&mut reader).await.unwrap();
        reader.refused(&[batch.decoded.batches[0].reject(0, stage, code, "no")]);
        reader.commit(&batch.position).await.unwrap();
        assert_eq!(settled(&mut answered).refused, 1);
        assert_eq!(shared.formats.learned.epoch() - before, forgets, "{code}");
    }
}

/// Where the job is slowed down, a request goes in small parts.
#[tokio::test]
async fn batches_are_as_small_as_is_asked_for() {
    let shared = shared(|_| {});
    let mut reader = ListenReader::new(Arc::clone(&shared));
    reader.limit_batches(50, u64::MAX);
    let mut long = put(&shared, &(0..1_000).map(|n| format!("a n={n}i {n}\n")).collect::<String>()).unwrap();
    let mut short: Vec<_> = (0..200).map(|n| put(&shared, &format!("a n={n}i 1")).unwrap()).collect();
    let mut read = 0;
    while read < 1_200 {
        let batch = due(&mut reader).await.unwrap();
        assert!((1..=100).contains(&rows(&batch)), "{}", rows(&batch));
        read += rows(&batch);
        reader.commit(&batch.position).await.unwrap();
    }
    assert_eq!(settled(&mut long).rows, 1_000);
    assert!(short.iter_mut().all(|answered| settled(answered).is_whole()));
}

/// What a client of telnet is told before it is let go.
async fn telnet(
    shared: &Arc<Shared>,
    sends: impl AsyncFnOnce(&mut tokio::io::WriteHalf<DuplexStream>),
) -> String {
    let (ours, theirs) = tokio::io::duplex(1 << 10);
    let (_open, phase) = tokio::sync::watch::channel(Phase::Open);
    let (mut from, mut to) = tokio::io::split(theirs);
    let client = async {
        let mut told = String::new();
        tokio::select! {
            biased;
            read = from.read_to_string(&mut told) => drop(read.unwrap()),
            () = async {
                sends(&mut to).await;
                std::future::pending::<()>().await;
            } => {}
        }
        told
    };
    let address = "127.0.0.1:1".parse().unwrap();
    tokio::join!(super::telnet::serve(ours, address, shared, phase), client).1
}

#[tokio::test]
async fn lines_of_telnet_end_in_time_and_are_not_too_long() {
    let shared = shared(|options| options.client_timeout = Duration::from_millis(1));
    // It comes byte by byte, each in time.
    let slow = telnet(&shared, async |to| {
        while to.write_all(b"x").await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(slow.contains("the line does not end"), "{slow}");
    let shared = self::shared(|options| options.client_timeout = Duration::from_secs(3_600));
    let long = telnet(&shared, async |to| to.write_all(&[b'x'; 70_000]).await.unwrap_or(())).await;
    assert!(long.contains("the line is longer than 64 KiB"), "{long}");
}

#[tokio::test]
async fn statements_are_read_out_of_forms() {
    let form = |text: &'static str| Full::new(Bytes::from_static(text.as_bytes()));
    let patience = Duration::from_secs(3_600);
    let asked = of_form("q", form("db=x&q=CREATE+DATABASE+%22tele%22"), patience).await;
    assert_eq!(asked.as_deref(), Some("CREATE DATABASE \"tele\""));
    assert_eq!(of_form("q", form("db=x"), patience).await, None);
    let long = Full::new(Bytes::from(format!("q={}", "x".repeat(70_000))));
    assert_eq!(of_form("q", long, patience).await, None);
}

#[tokio::test]
async fn who_has_hung_up_is_not_written_and_the_end_is_told() {
    let shared = shared(|_| {});
    let mut reader = ListenReader::new(Arc::clone(&shared));
    drop(put(&shared, "a n=1i 1").unwrap());
    let mut second = put(&shared, "a n=2i 1").unwrap();
    let batch = due(&mut reader).await.unwrap();
    assert_eq!(rows(&batch), 1);
    drop(reader);
    assert!(!shared.queue.is_read() && second.try_recv().is_err());
    let mut third = put(&shared, "a n=3i 1").unwrap();
    shared.queue.end("it is over");
    for answered in [&mut second, &mut third] {
        assert!(matches!(answered.try_recv(), Ok(Outcome::Ended(reason)) if &*reason == "it is over"));
    }
    assert!(put(&shared, "a n=4i 1").is_err());
    // A reader that comes late finds nothing, and what it holds is answered, too.
    let mut reader = ListenReader::new(Arc::clone(&shared));
    assert!(reader.last_batch().unwrap().is_none());
}

#[tokio::test]
async fn what_came_before_the_stop_is_still_read() {
    let shared = shared(|_| {});
    let mut reader = ListenReader::new(Arc::clone(&shared));
    let mut waiting: Vec<_> = (0..3).map(|n| put(&shared, &format!("a n={n}i 1")).unwrap()).collect();
    let batch = reader.last_batch().unwrap().unwrap();
    assert_eq!(rows(&batch), 3);
    assert!(reader.last_batch().unwrap().is_none());
    assert!(put(&shared, "a n=4i 1").is_err());
    reader.commit(&batch.position).await.unwrap();
    assert!(waiting.iter_mut().all(|answered| settled(answered).is_whole()));
}

/// What happens next.
#[derive(Clone, Debug)]
enum Step {
    /// A request of so many rows comes.
    Put(usize),
    /// The reader is asked.
    Read(usize),
    /// What was read is committed.
    Commit(usize),
    /// The lane breaks off and begins anew.
    Fail(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..2_000_usize).prop_map(Step::Put),
        4 => (0..2_usize).prop_map(Step::Read),
        3 => (0..2_usize).prop_map(Step::Commit),
        1 => (0..2_usize).prop_map(Step::Fail),
    ]
}

proptest! {
    /// Two lanes, in any order of events: who is answered, all of its rows are committed; and in the end everybody is.
    #[test]
    fn answers_come_after_commits(steps in proptest::collection::vec(step(), 0..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let shared = shared(|_| {});
            let new = || ListenReader::new(Arc::clone(&shared));
            let mut readers = [new(), new()];
            // What each lane has read and not committed.
            let mut under_way: [Vec<SourceBatch>; 2] = [Vec::new(), Vec::new()];
            let mut committed = std::collections::BTreeSet::<(i64, i64)>::new();
            let mut clients = Vec::new();
            let end = [Step::Read(0), Step::Commit(0), Step::Read(1), Step::Commit(1)];
            let last = std::iter::repeat_n(end, 80).flatten();
            for step in steps.into_iter().chain(last) {
                match step {
                    Step::Put(count) => {
                        let id = clients.len() as i64;
                        let body: String = (0..count).map(|n| format!("a c={id}i,n={n}i 1\n")).collect();
                        clients.push((count, put(&shared, &body).unwrap(), false));
                    }
                    Step::Read(lane) => {
                        if let Some(batch) = due(&mut readers[lane]).await {
                            under_way[lane].push(batch);
                        }
                    }
                    Step::Commit(lane) => {
                        let Some(last) = under_way[lane].last().map(|batch| batch.position.clone()) else { continue };
                        for batch in under_way[lane].drain(..).flat_map(|batch| batch.decoded.batches) {
                            for row in 0..batch.rows() {
                                let value = |name| match batch.row(row).get(name).unwrap() {
                                    kwsync_core::Value::Int(value) => value,
                                    other => panic!("{other:?}"),
                                };
                                committed.insert((value("c"), value("n")));
                            }
                        }
                        readers[lane].commit(&last).await.unwrap();
                    }
                    Step::Fail(lane) => {
                        under_way[lane].clear();
                        readers[lane] = new();
                    }
                }
                for (id, (count, answered, told)) in clients.iter_mut().enumerate().filter(|(_, client)| !client.2) {
                    if let Ok(outcome) = answered.try_recv() {
                        let Outcome::Settled(settled) = outcome else { panic!("{outcome:?}") };
                        assert_eq!(settled.rows, *count as u64);
                        let there = committed.range((id as i64, 0)..(id as i64 + 1, 0)).count();
                        assert_eq!(there, *count, "request {id} was answered too early");
                        *told = true;
                    }
                }
            }
            assert!(clients.iter().all(|client| client.2), "not all are answered");
        });
    }
}

/// A body has a share for all that it takes in memory, and those that nobody waits for have none.
#[tokio::test]
async fn bodies_are_counted_as_they_are() {
    let shared = shared(|options| options.max_waiting = 64 << 10);
    let (bytes, hold) = read(&shared, "identity", vec![b'a'; 20 << 10]).await.unwrap();
    assert_eq!((bytes.len(), hold.bytes()), (20 << 10, 20 << 10));
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(&[b'a'; 33 << 10]).unwrap();
    let (bytes, packed) = read(&shared, "gzip", encoder.finish().unwrap()).await.unwrap();
    assert_eq!((bytes.len(), packed.bytes()), (33 << 10, 33 << 10));
    drop((hold, packed));
    let gone = put(&shared, &"a n=1i 1\n".repeat(6_000)).unwrap();
    assert!(!shared.queue.hold().cover(32 << 10));
    drop(gone);
    assert!(shared.queue.hold().cover(32 << 10));
}

#[test]
fn memory_is_bounded_and_free_again() {
    let queue = Queue::new(10 << 10);
    let (mut one, mut two) = (queue.hold(), queue.hold());
    assert!(one.cover(1) && one.cover(6 << 10) && two.cover(4 << 10));
    assert!(!two.cover((4 << 10) + 1) && !queue.hold().cover(1));
    drop(one);
    assert!(two.cover(10 << 10));
}

/// What a body becomes, or the status of its refusal.
async fn read(shared: &Shared, encoding: &'static str, bytes: Vec<u8>) -> Result<(Bytes, Hold), StatusCode> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static(encoding));
    let read = body::read(shared, &headers, Full::new(Bytes::from(bytes))).await;
    read.map_err(|fault| fault.answer(Style::Influx).status())
}

#[tokio::test]
async fn bodies_are_bounded_before_they_are_unpacked_too() {
    let shared = shared(|options| options.max_body = 1 << 10);
    let member = |text: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    };
    let two = [member(b"a n=1i 1\n"), member(b"a n=2i 1")].concat();
    assert_eq!(&*read(&shared, "gzip", two).await.unwrap().0, b"a n=1i 1\na n=2i 1");
    // They become nothing, and go on.
    let empty = member(b"").repeat(100);
    assert_eq!(read(&shared, "gzip", empty).await.err(), Some(StatusCode::PAYLOAD_TOO_LARGE));
    assert_eq!(
        read(&shared, "gzip", member(&[b'a'; 2_000])).await.err(),
        Some(StatusCode::PAYLOAD_TOO_LARGE)
    );
    assert!(read(&shared, "identity", vec![b'a'; 1 << 10]).await.is_ok());
    assert_eq!(read(&shared, "identity", vec![b'a'; 1_025]).await.err(), Some(StatusCode::PAYLOAD_TOO_LARGE));
}

/// Clients know by the first words that coming again is of no use.
#[tokio::test]
async fn a_body_that_is_refused_is_told_in_the_words_of_influxdb() {
    let refused = Refused { line: 3, reason: "no number".to_owned(), raw: Bytes::new() };
    let mut told = Settled { rows: 1, refused: 1, first: vec![refused], ..Settled::default() };
    for (rows, text) in [
        (1, "partial write: line 3: no number dropped=1"),
        (0, "partial write: nothing is written: line 3: no number dropped=1"),
    ] {
        told.rows = rows;
        let answer = answer::settled(Style::Influx, &told);
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["error"], text);
    }
}

#[test]
fn names_and_tokens_are_compared_as_a_whole() {
    let mut options = ListenOptions::new("0.0.0.0", 1);
    assert!(Auth::new(&options).unwrap().allows(None, None, None));
    options.credentials = Some(("me".to_owned(), "pa:ss".into()));
    options.token = Some("tok".into());
    let auth = Auth::new(&options).unwrap();
    assert!(
        auth.allows(Some("bearer tok"), None, None) && auth.allows(Some(" Token  me:pa:ss "), None, None)
    );
    assert!(
        auth.allows(Some("Basic bWU6cGE6c3M="), None, None) && auth.allows(None, Some("me"), Some("pa:ss"))
    );
    // A token in the place of a password, as clients of InfluxDB 1.x have it.
    assert!(auth.allows(None, Some("anybody"), Some("tok")));
    for header in
        ["", "tok", "Token", "Token to", "Token tokk", "Basic tok", "Basic bWU6cGE6c3M", "Bearer me"]
    {
        assert!(!auth.allows(Some(header), None, None), "{header}");
    }
    assert!(!auth.allows(None, Some("me"), None) && !auth.allows(None, None, Some("tok")));
    for (token, password) in [("", "pass"), ("\n", "pass"), ("tok", "")] {
        let mut options = options.clone();
        (options.token, options.credentials) = (Some(token.into()), Some(("me".to_owned(), password.into())));
        assert!(Auth::new(&options).is_err_and(|error| error.kind() == ErrorKind::Config), "{token:?}");
    }
    let shown = format!("{options:?}");
    assert!(!shown.contains("tok\"") && !shown.contains("pa:ss"), "{shown}");
}

#[test]
fn addresses_are_read() {
    let read = |address: &str| {
        let dsn: Dsn = address.parse().unwrap();
        let params = Params::parse("listen", PARAMS, dsn.params()).unwrap();
        ListenOptions::from_dsn(&dsn, &params).unwrap()
    };
    let options = read("listen://me:s3cret@[::1]?telnet=[::1]:7&csv.header=true&json.table=t");
    assert_eq!(
        (&*options.host, options.port, options.telnet.as_ref()),
        ("::1", 8086, Some(&("::1".to_owned(), 7)))
    );
    let formats: Vec<_> = options.formats.iter().map(|(f, n, v)| format!("{f} {n} {v}")).collect();
    assert_eq!(formats, ["json table t", "csv header true"]);
    assert!(options.credentials.is_some() && options.warnings().is_empty());
    for (address, warnings) in [
        ("listen://0.0.0.0", 1),
        ("listen://0.0.0.0?telnet=0.0.0.0", 2),
        ("listen://0.0.0.0?token=x&telnet=host", 1),
        ("listen://localhost?ack=accept&database=schema", 2),
        ("listen://127.8.0.1", 0),
    ] {
        assert_eq!(read(address).warnings().len(), warnings, "{address}");
    }
}
