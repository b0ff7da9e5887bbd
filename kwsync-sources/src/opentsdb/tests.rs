//! A server of OpenTSDB by a stand-in that answers as its manual says: a real one cannot be had here.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use kwsync_core::config::{Dsn, Params};
use kwsync_core::{ErrorKind, Reader, Role, Source, SplitPosition};
use serde_json::{Value, json};

use super::{OpenTsdbOptions, OpenTsdbSource, PARAMS};
use crate::series::stand_in::{Reply, Request, StandIn, parsed, read_all, rows};

/// 2023-06-01 00:00:00 UTC in milliseconds.
const JUNE: i64 = 1_685_577_600_000;

/// Points in milliseconds by metric and tags.
type Store = Arc<Mutex<BTreeMap<String, Vec<(Value, BTreeMap<i64, Value>)>>>>;

/// Answers what the source asks: versions, names, series that are not aggregated, the greatest value of each day.
fn answer(request: &Request, store: &Store, most: usize) -> Reply {
    let store = store.lock().unwrap();
    if request.path == "/api/version" {
        return Reply::ok(r#"{"version":"2.3.1","short_revision":"x"}"#);
    }
    if request.path.starts_with("/api/suggest?type=metrics&max=") {
        return Reply::ok(json!(store.keys().collect::<Vec<_>>()).to_string());
    }
    assert_eq!(request.path, "/api/query?arrays");
    let asked: Value = serde_json::from_str(&request.body).unwrap();
    let query = &asked["queries"][0];
    assert_eq!((&query["aggregator"], &asked["msResolution"]), (&json!("none"), &json!(true)));
    // Few digits are seconds; both ends belong to the range.
    let time = |value: &Value| {
        let number = value.as_i64().unwrap();
        if number < 10_000_000_000 { number * 1_000 } else { number }
    };
    let (start, end) = (time(&asked["start"]), time(&asked["end"]));
    if end <= start {
        let said = format!("End time [{end}] must be greater than the start time [{start}]");
        let text = json!({"error": {"code": 400, "message": said}});
        return Reply { status: 400, ..Reply::ok(text.to_string()) };
    }
    let metric = query["metric"].as_str().unwrap();
    let Some(series) = store.get(metric) else {
        let text =
            json!({"error": {"code": 400, "message": format!("No such name for 'metrics': '{metric}'")}});
        return Reply { status: 400, ..Reply::ok(text.to_string()) };
    };
    let (mut all, mut count) = (Vec::new(), 0);
    for (tags, points) in series {
        let mut dps: Vec<(i64, Value)> =
            points.range(start..=end).map(|(at, value)| (*at, value.clone())).collect();
        if query["downsample"] == "1d-max" {
            dps = dps.into_iter().map(|(at, value)| (at - at.rem_euclid(86_400_000), value)).collect();
            dps.dedup_by_key(|(at, _)| *at);
        } else {
            count += dps.len();
        }
        if !dps.is_empty() {
            all.push(json!({"metric": metric, "tags": tags, "aggregateTags": [], "dps": dps}));
        }
    }
    if count > most {
        let text = json!({"error": {"code": 413, "message": "Sorry, you have attempted to fetch more data than our limit"}});
        return Reply { status: 413, ..Reply::ok(text.to_string()) };
    }
    Reply { gzip: true, ..Reply::ok(Value::from(all).to_string()) }
}

fn server(most: usize) -> (StandIn, Store) {
    let store = Store::default();
    let own = Arc::clone(&store);
    (StandIn::start("", move |request| answer(request, &own, most)), store)
}

fn put(store: &Store, metric: &str, tags: Value, points: impl IntoIterator<Item = (i64, Value)>) {
    let mut store = store.lock().unwrap();
    let series = store.entry(metric.to_owned()).or_default();
    match series.iter_mut().find(|(known, _)| *known == tags) {
        Some((_, known)) => known.extend(points),
        None => series.push((tags, points.into_iter().collect())),
    }
}

fn source(server: &StandIn, parameters: &str) -> OpenTsdbSource {
    let dsn: Dsn = format!("opentsdb+http://127.0.0.1:{}/?{parameters}", server.port).parse().unwrap();
    let params = Params::parse("opentsdb", PARAMS, dsn.params()).unwrap();
    OpenTsdbSource::new(OpenTsdbOptions::from_dsn(&dsn, &params).unwrap())
}

const DAY: &str = "beginTime=2023-06-01T08:00:00+0800&endTime=2023-06-02";

#[tokio::test]
async fn series_are_rows_of_their_metric() {
    let (server, store) = server(usize::MAX);
    put(
        &store,
        "sys.cpu",
        json!({"host": "a", "value": "v"}),
        [
            (JUNE - 1, json!(0)),
            (JUNE, json!(1)),
            (JUNE + 1_500, json!(9_007_199_254_740_992_i64)),
            (JUNE + 86_400_000, json!(9)),
        ],
    );
    put(&store, "sys.cpu", json!({"host": "b"}), [(JUNE, json!(-0.5)), (JUNE + 1_500, json!("NaN"))]);
    put(&store, "other", json!({"x": "y"}), [(JUNE, json!(1))]);
    put(&store, "elsewhen", json!({"x": "y"}), [(JUNE - 1, json!(1))]);
    let batches = read_all(&source(&server, &format!("{DAY}&metrics=sys.cpu")), 1).await.unwrap();
    // From the begin on, and below the end; a tag that is called as the value makes way.
    assert_eq!(
        rows(&batches),
        parsed(&[
            r#"{"k_timestamp":"2023-06-01T00:00:00.000Z","value":1.0,"host":"a","value_1":"v"}"#,
            r#"{"k_timestamp":"2023-06-01T00:00:00.000Z","value":-0.5,"host":"b","value_1":null}"#,
            r#"{"k_timestamp":"2023-06-01T00:00:01.500Z","value":9007199254740992.0,"host":"a","value_1":"v"}"#,
            r#"{"k_timestamp":"2023-06-01T00:00:01.500Z","value":"NaN","host":"b","value_1":null}"#,
        ])
    );
    assert_eq!(batches[0].table().name(), "sys_cpu");
    let roles: Vec<Role> = batches[0].schema().columns().iter().map(|column| column.role()).collect();
    assert_eq!(roles, [Role::Timestamp, Role::Field, Role::Tag, Role::Tag]);
    // All metrics that have points then; under other names.
    let all = source(&server, &format!("{DAY}&metric=verbatim"));
    let mut tables: Vec<String> =
        read_all(&all, 2).await.unwrap().iter().map(|batch| batch.table().name().to_owned()).collect();
    tables.sort();
    tables.dedup();
    assert_eq!(tables, ["other", "sys.cpu"]);
    assert_eq!(all.tables().len(), 2);
}

#[tokio::test]
async fn windows_fit_the_server_and_lanes() {
    let (server, store) = server(500);
    // A point each tenth of a second for a quarter of an hour: 600 a minute, more than the server gives at once.
    put(&store, "m", json!({"h": "a"}), (0..9_000).map(|n| (JUNE + n * 100, json!(n))));
    for lanes in [1, 3] {
        let batches =
            read_all(&source(&server, &format!("{DAY}&metrics=m&batch_rows=100")), lanes).await.unwrap();
        let mut numbers: Vec<f64> = Vec::new();
        for batch in &batches {
            for row in 0..batch.rows() {
                numbers.push(batch.row(row).get("value").unwrap().to_string().parse().unwrap());
            }
        }
        assert_eq!(numbers, (0..9_000).map(f64::from).collect::<Vec<_>>(), "{lanes} lanes");
    }
    let cut = source(&server, &format!("{DAY}&metrics=m")).splits(3, &[]).await.unwrap();
    assert!(cut.len() > 3, "{}", cut.len());
    // The end may not have come yet: later runs read on.
    assert!(cut.iter().all(|split| split.continues), "{cut:?}");
}

/// A metric of which the server cannot tell the days at once is read like any other.
#[tokio::test]
async fn what_is_too_large_to_be_looked_at_is_read() {
    let store = Store::default();
    put(&store, "m", json!({"h": "a"}), (0..100).map(|n| (JUNE + n * 1_000, json!(n))));
    let server = StandIn::start("", move |request| {
        if request.body.contains("1d-max") {
            return Reply { status: 413, ..Reply::ok("") };
        }
        answer(request, &store, usize::MAX)
    });
    for lanes in [1, 3] {
        let source = source(&server, &format!("{DAY}&metrics=m"));
        let found = rows(&read_all(&source, lanes).await.unwrap());
        assert_eq!((found.len(), &found[99]["h"]), (100, &json!("a")));
    }
    // It was asked for once a source.
    let asked = server.asked.lock().unwrap();
    assert_eq!(asked.iter().filter(|request| request.body.contains("1d-max")).count(), 2);
}

/// A reader asks for what it reads: not for every metric.
#[tokio::test]
async fn a_reader_looks_at_its_own_metric() {
    let (server, store) = server(usize::MAX);
    for metric in ["a", "b", "c"] {
        put(&store, metric, json!({"h": "a"}), [(JUNE, json!(1))]);
    }
    let splits = source(&server, DAY).splits(1, &[]).await.unwrap();
    server.asked.lock().unwrap().clear();
    // As another process would.
    let mut reader = source(&server, DAY).open(&splits[1], None).await.unwrap();
    while reader.next().await.unwrap().is_some() {}
    let asked = server.asked.lock().unwrap();
    let others = asked.iter().filter(|request| {
        request.body.contains("\"metric\":\"a\"") || request.body.contains("\"metric\":\"c\"")
    });
    assert_eq!((splits.len(), others.count()), (3, 0));
}

/// Two metrics that would become one table are refused: nothing in its rows would tell them apart.
#[tokio::test]
async fn metrics_are_not_merged() {
    let (server, store) = server(usize::MAX);
    for metric in ["a.b", "a_b", "c.d"] {
        put(&store, metric, json!({"h": "a"}), [(JUNE, json!(1))]);
    }
    let error = read_all(&source(&server, DAY), 1).await.unwrap_err();
    assert!(
        error.kind() == ErrorKind::Config
            && error.report().contains("\"a.b\" and \"a_b\" would both become the table \"a_b\""),
        "{}",
        error.report()
    );
    for fine in ["metric=verbatim", "metric=split", "metrics=a.b,c.d", "metrics=a.b,a.b"] {
        assert!(!read_all(&source(&server, &format!("{DAY}&{fine}")), 1).await.unwrap().is_empty(), "{fine}");
    }
}

/// A window of a millisecond or less is one, and gives what lies in it.
#[tokio::test]
async fn windows_of_a_millisecond_are_asked_for() {
    let (server, store) = server(usize::MAX);
    put(&store, "m", json!({"h": "a"}), (0..3).map(|n| (JUNE + n, json!(n))));
    let short = "beginTime=2023-06-01&endTime=2023-06-01T00:00:00.001&metrics=m";
    let batches = read_all(&source(&server, short), 1).await.unwrap();
    assert_eq!(rows(&batches).len(), 1);
    // Reading goes on behind the last millisecond but one, and behind the last, of the minute that is a window.
    for last in [59_998, 59_999] {
        let metric = format!("m{last}");
        put(&store, &metric, json!({"h": "a"}), [last, last + 1, 60_500].map(|at| (JUNE + at, json!(at))));
        let source = source(&server, &format!("{DAY}&metrics={metric}"));
        let split = &source.splits(1, &[]).await.unwrap()[0];
        let nanos = i128::from(JUNE + last) * 1_000_000;
        let at = json!({metric: {"kind": "timestamptz(ns)", "value": nanos.to_string()}});
        let mut reader = source.open(split, Some(&SplitPosition(at))).await.unwrap();
        let mut batches = Vec::new();
        while let Some(read) = reader.next().await.unwrap() {
            batches.extend(read.decoded.batches);
        }
        assert_eq!(rows(&batches).len(), 2, "{last}");
    }
}

/// Integers that are no floats are refused, each with its row.
#[tokio::test]
async fn inexact_integers_are_rejects() {
    let (server, store) = server(usize::MAX);
    put(&store, "m", json!({"h": "a"}), [(JUNE, json!(9_007_199_254_740_993_i64)), (JUNE + 1_000, json!(2))]);
    let source = source(&server, &format!("{DAY}&metrics=m"));
    let split = &source.splits(1, &[]).await.unwrap()[0];
    let mut reader = source.open(split, None).await.unwrap();
    let (mut rejects, mut good) = (Vec::new(), 0);
    while let Some(read) = reader.next().await.unwrap() {
        rejects.extend(read.decoded.rejects);
        good += read.decoded.batches.iter().map(|batch| batch.rows()).sum::<usize>();
    }
    assert_eq!((rejects.len(), good), (1, 1));
    assert!(
        rejects[0].reason.contains("9007199254740993") && rejects[0].code == "inexact_integer",
        "{rejects:?}"
    );
}

/// What is refused is passed: it is told once, also where nothing comes behind it, and by a reader that goes on from there.
#[tokio::test]
async fn rejects_are_told_once() {
    let (server, store) = server(usize::MAX);
    put(&store, "m", json!({"h": "a"}), [(JUNE, json!(1)), (JUNE + 1_000, json!(9_007_199_254_740_993_i64))]);
    let source = source(&server, "beginTime=2023-06-01&lag=0&query_interval=0&poll_interval=0&metrics=m");
    let split = &source.splits(1, &[]).await.unwrap()[0];
    let mut reader = source.open(split, None).await.unwrap();
    let (mut rejects, mut found) = (0, 0);
    let mut position = None;
    while rejects == 0 {
        let read = reader.next().await.unwrap().unwrap();
        (rejects, position) = (read.decoded.rejects.len(), Some(read.position));
    }
    put(&store, "m", json!({"h": "a"}), [(JUNE + 2_000, json!(2))]);
    let mut again = source.open(split, position.as_ref()).await.unwrap();
    for reader in [&mut reader, &mut again] {
        loop {
            let read = reader.next().await.unwrap().unwrap();
            rejects += read.decoded.rejects.len();
            let rows: usize = read.decoded.batches.iter().map(|batch| batch.rows()).sum();
            found += rows;
            if rows > 0 {
                break;
            }
        }
    }
    assert_eq!((rejects, found), (1, 2));
}

/// Without an end: points, tags and metrics that come, each once, also by another reader that goes on from a position.
#[tokio::test]
async fn what_comes_is_read() {
    let (server, store) = server(usize::MAX);
    put(&store, "a", json!({"h": "a"}), [(JUNE, json!(1))]);
    let source = source(&server, "beginTime=2023-06-01&lag=0&query_interval=0&poll_interval=0");
    let splits = source.splits(1, &[]).await.unwrap();
    let mut reader = source.open(&splits[0], None).await.unwrap();
    let more = async |reader: &mut super::OpenTsdbReader| -> (String, SplitPosition) {
        loop {
            let read = reader.next().await.unwrap().unwrap();
            let came = rows(&read.decoded.batches);
            if let Some(row) = came.first() {
                assert_eq!(came.len(), 1);
                return (row.to_string(), read.position);
            }
        }
    };
    assert!(more(&mut reader).await.0.contains("\"h\":\"a\""));
    put(&store, "a", json!({"h": "a", "new": "tag"}), [(JUNE + 1_000, json!(2))]);
    assert!(more(&mut reader).await.0.contains("\"new\":\"tag\""));
    put(&store, "b", json!({"x": "y"}), [(JUNE, json!(3))]);
    let (row, position) = more(&mut reader).await;
    assert!(row.contains("\"x\":\"y\""), "{row}");
    drop(reader);
    put(&store, "a", json!({"h": "a"}), [(JUNE + 2_000, json!(4))]);
    let mut again = source.open(&splits[0], Some(&position)).await.unwrap();
    let (row, _) = more(&mut again).await;
    assert!(row.contains("\"value\":4"), "{row}");
}

#[tokio::test]
async fn refusals_say_what_to_do() {
    let (server, store) = server(usize::MAX);
    put(&store, "sys.cpu", json!({"h": "a"}), [(JUNE, json!(1))]);
    let error = read_all(&source(&server, &format!("{DAY}&metrics=sys.cpuu")), 1).await.unwrap_err();
    assert!(
        error.kind() == ErrorKind::NotFound && error.report().contains("did you mean `sys.cpu`?"),
        "{}",
        error.report()
    );
    for (reply, kind, expected) in [
        (r#"{"version":"2.2.0"}"#, ErrorKind::Unsupported, "from 2.3 on"),
        ("<html>", ErrorKind::Protocol, "check host and port"),
    ] {
        let server = StandIn::start("", move |_| Reply::ok(reply));
        let error = read_all(&source(&server, DAY), 1).await.unwrap_err();
        assert!(error.kind() == kind && error.report().contains(expected), "{}", error.report());
    }
    let server = StandIn::start("", |_| Reply { status: 401, ..Reply::ok("") });
    let error = read_all(&source(&server, DAY), 1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Auth, "{}", error.report());
}
