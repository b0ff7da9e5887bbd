//! Rows that go into a table in the order of its key.

use std::sync::Arc;

use kwsync_core::testkit::PgServer;
use kwsync_core::{
    Column, DataType, JobId, Lane, RowCounts, Schema, Settled, Sink, TableBatch, Value, Writer,
};
use kwsync_sinks::postgres::{PostgresSink, Sort};

use super::support::{Random, options};

const ROWS: u64 = 200_000;

fn batch(table: &str, schema: &Arc<Schema>, numbers: impl IntoIterator<Item = i64>) -> TableBatch {
    let row = |n: i64| vec![Value::Int(n), Value::Text(format!("row {n}").into())];
    let rows: Vec<_> = numbers.into_iter().map(row).collect();
    TableBatch::from_rows(table, Arc::clone(schema), &rows).unwrap()
}

fn schema() -> Arc<Schema> {
    Arc::new(
        Schema::new(vec![Column::new("n", DataType::Int64), Column::new("note", DataType::Text)]).unwrap(),
    )
}

/// How often a row lies before one with a smaller key.
fn falls(server: &PgServer, database: &str) -> u64 {
    let sql =
        "SELECT count(*) FROM (SELECT n < lag(n) OVER (ORDER BY ctid) AS falls FROM t) AS q WHERE falls";
    server.psql(database, sql).trim().parse().unwrap()
}

/// Rows out of the order of the key are ordered over many batches, and what the server refuses of them is told with the
/// record that it came from.
#[tokio::test]
async fn batches_are_ordered_together() {
    let Some(server) = PgServer::shared() else { return };
    let mut random = Random::new();
    let schema = schema();
    let mut numbers: Vec<i64> = (0..ROWS as i64).collect();
    for at in (1..numbers.len()).rev() {
        numbers.swap(at, random.below(at as u64 + 1) as usize);
    }
    for (sort, most_falls) in [(Sort::Auto, 8), (Sort::None, u64::MAX)] {
        let database = server.create_database();
        server.psql(&database, "CREATE TABLE t (n bigint PRIMARY KEY CHECK (n % 10000 <> 77), note text)");
        let sink = PostgresSink::new(options(server, &database).with_sort(sort));
        sink.prepare(&"t".into(), &schema).await.unwrap();
        let mut writer = sink.open(&Lane { job: JobId::new("test"), index: 0, generation: 1 }).await.unwrap();
        let mut settled = Settled::default();
        for part in numbers.chunks(5_000) {
            settled.merge(writer.write(&batch("t", &schema, part.iter().copied())).await.unwrap());
        }
        settled.merge(writer.close().await.unwrap());
        let RowCounts { written, rejected, .. } = settled.total();
        assert_eq!((written, rejected), (ROWS - ROWS / 10_000, ROWS / 10_000));
        let mut refused: Vec<String> =
            settled.rejects.iter().map(|reject| String::from_utf8_lossy(&reject.raw).into_owned()).collect();
        refused.sort_unstable();
        let mut expected: Vec<String> = (0..ROWS / 10_000)
            .map(|nth| format!("{{\"n\":{n},\"note\":\"row {n}\"}}", n = nth * 10_000 + 77))
            .collect();
        expected.sort_unstable();
        assert_eq!(refused, expected);
        let stored = "SELECT count(*), sum(n), bool_and(note = 'row ' || n) FROM t";
        let sum: u64 = (0..ROWS).filter(|n| n % 10_000 != 77).sum();
        assert_eq!(server.psql(&database, stored), format!("{written}|{sum}|t\n"));
        let falls = falls(server, &database);
        assert!(falls <= most_falls, "{sort:?}: {falls}");
        assert!(sort != Sort::None || falls > ROWS / 4, "not sorted, and yet only {falls} fall");
    }
}

/// What waits to be ordered goes before what another table gets, for that may refer to it; and before a commit.
#[tokio::test]
async fn what_waits_goes_before_other_tables_and_commits() {
    let Some(server) = PgServer::shared() else { return };
    let database = server.create_database();
    server.psql(
        &database,
        "CREATE TABLE t (n bigint PRIMARY KEY, note text);
         CREATE TABLE child (n bigint PRIMARY KEY REFERENCES t (n), note text)",
    );
    let schema = schema();
    let sink = PostgresSink::new(options(server, &database));
    let mut writer = sink.open(&Lane { job: JobId::new("test"), index: 0, generation: 1 }).await.unwrap();
    let mut settled = Settled::default();
    for table in ["t", "child"] {
        sink.prepare(&table.into(), &schema).await.unwrap();
    }
    for round in 0..10i64 {
        for table in ["t", "child"] {
            let falling = (round * 1_000..(round + 1) * 1_000).rev();
            settled.merge(writer.write(&batch(table, &schema, falling)).await.unwrap());
        }
        if round % 3 == 0 {
            settled.merge(writer.flush().await.unwrap());
            let there = server.psql(&database, "SELECT count(*) FROM t JOIN child USING (n)");
            assert_eq!(there, format!("{}\n", (round + 1) * 1_000));
        }
    }
    settled.merge(writer.close().await.unwrap());
    let RowCounts { written, rejected, .. } = settled.total();
    assert_eq!((written, rejected), (20_000, 0), "{:?}", settled.rejects.first());
    assert_eq!(falls(server, &database), 0);
}

/// Where rows refer to others of their table, none overtakes one of an earlier batch.
#[tokio::test]
async fn rows_that_refer_to_earlier_ones_find_them() {
    let Some(server) = PgServer::shared() else { return };
    let database = server.create_database();
    server.psql(&database, "CREATE TABLE t (n bigint PRIMARY KEY, parent bigint REFERENCES t (n))");
    let columns = vec![Column::new("n", DataType::Int64), Column::new("parent", DataType::Int64)];
    let schema = Arc::new(Schema::new(columns).unwrap());
    let sink = PostgresSink::new(options(server, &database));
    sink.prepare(&"t".into(), &schema).await.unwrap();
    let mut writer = sink.open(&Lane { job: JobId::new("test"), index: 0, generation: 1 }).await.unwrap();
    let mut settled = Settled::default();
    let numbers: Vec<i64> = (0..ROWS as i64).rev().collect();
    for part in numbers.chunks(10_000) {
        let parent = |n: i64| if n + 1 < ROWS as i64 { Value::Int(n + 1) } else { Value::Null };
        let rows: Vec<_> = part.iter().map(|n| vec![Value::Int(*n), parent(*n)]).collect();
        let batch = TableBatch::from_rows("t", Arc::clone(&schema), &rows).unwrap();
        settled.merge(writer.write(&batch).await.unwrap());
    }
    settled.merge(writer.close().await.unwrap());
    let RowCounts { written, rejected, .. } = settled.total();
    assert_eq!((written, rejected), (ROWS, 0), "{:?}", settled.rejects.first());
}
