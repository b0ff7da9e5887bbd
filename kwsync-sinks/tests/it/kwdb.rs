//! Time series into a stand-in that is as strict as KWDB.

use std::sync::Arc;

use kwsync_core::system::postgres::wire::ConnectConfig;
use kwsync_core::testkit::kwdb::{Kwdb, Literal};
use kwsync_core::{
    Column, DataType, Delivery, ErrorKind, JobId, Lane, Result, Role, Schema, Settled, Sink, TableBatch,
    TimeUnit, Value, Writer,
};
use kwsync_sinks::kwdb::KwdbSink;
use kwsync_sinks::postgres::{Create, Mode, PostgresOptions};

fn options(kwdb: &Kwdb) -> PostgresOptions {
    PostgresOptions::new(ConnectConfig::new("127.0.0.1", kwdb.port, "root", "benchmark"))
}

async fn load(sink: &KwdbSink, batches: &[TableBatch]) -> Result<Settled> {
    let mut settled = Settled::default();
    let mut writer = sink.open(&Lane { job: JobId::new("test"), index: 0, generation: 1 }).await?;
    for batch in batches {
        sink.prepare(batch.table(), batch.schema()).await?;
        settled.merge(writer.write(batch).await?);
    }
    settled.merge(writer.flush().await?);
    settled.merge(writer.close().await?);
    let rows: usize = batches.iter().map(TableBatch::rows).sum();
    assert_eq!(settled.total().rows(), rows as u64);
    assert_eq!(settled.total().rejected, settled.rejects.len() as u64);
    Ok(settled)
}

fn schema() -> Arc<Schema> {
    let columns = vec![
        Column::new("time", DataType::TimestampTz(TimeUnit::Nanosecond)).with_role(Role::Timestamp),
        Column::new("host", DataType::Text).with_role(Role::Tag),
        Column::new("usage", DataType::Float64),
        Column::new("n", DataType::Int64),
        Column::new("note", DataType::Text),
    ];
    Arc::new(Schema::new(columns).unwrap())
}

fn batch(rows: impl IntoIterator<Item = (i64, &'static str, i64, &'static str)>) -> TableBatch {
    let row = |(ns, host, n, note): (i64, &'static str, i64, &'static str)| {
        let (host, note) = (Value::Text(host.into()), Value::Text(note.into()));
        vec![Value::Timestamp(ns, TimeUnit::Nanosecond, true), host, Value::Float64(0.5), Value::Int(n), note]
    };
    let rows: Vec<_> = rows.into_iter().map(row).collect();
    TableBatch::from_rows("cpu", schema(), &rows).unwrap()
}

fn many(count: i64) -> TableBatch {
    batch((0..count).map(|n| (n, if n % 2 == 0 { "a" } else { "it's" }, n, "note")))
}

#[tokio::test]
async fn tables_are_made_and_rows_arrive() {
    let kwdb = Kwdb::start().await;
    let sink = KwdbSink::new(options(&kwdb)).with_statement_rows(100);
    let batch = many(1_050);
    let plan = sink.plan(batch.table(), batch.schema()).await.unwrap();
    assert_eq!(
        plan.to_string(),
        "table \"cpu\": INSERT of literals, up to 100 rows a statement, idempotent\n  \
         CREATE TABLE IF NOT EXISTS \"cpu\" (\"time\" TIMESTAMPTZ(9) NOT NULL, \"usage\" FLOAT8, \"n\" INT8, \
         \"note\" VARCHAR(65534)) TAGS (\"host\" VARCHAR(128) NOT NULL) PRIMARY TAGS (\"host\");\n  \
         note: time series know no transactions: each statement counts for itself\n"
    );
    let settled = load(&sink, &[batch]).await.unwrap();
    assert_eq!(settled.total().written, 1_050);
    let state = kwdb.state.lock().unwrap();
    assert_eq!((state.tables["cpu"].rows.len(), state.inserts), (1_050, 11));
    let row = &state.tables["cpu"].rows[&vec![Literal::Text("it's".into()), Literal::Number("7".into())]];
    assert_eq!(row["n"], Literal::Number("7".into()));
    // Not one statement that could take the way that corrupts: no placeholder, one statement a query.
    assert!(state.statements.iter().all(|sql| !sql.contains('$') && !sql.contains(';')));
}

#[tokio::test]
async fn an_existing_table_says_what_fits() {
    let kwdb = Kwdb::start().await;
    let made = Schema::new(vec![
        Column::new("k_timestamp", DataType::TimestampTz(TimeUnit::Millisecond)).with_role(Role::Timestamp),
        Column::new("usage", DataType::Float64),
        Column::new("n", DataType::Int16),
        Column::new("host", DataType::VarChar(Some(4))).with_role(Role::PrimaryTag),
    ]);
    let first = KwdbSink::new(options(&kwdb));
    first.prepare(&"cpu".into(), &Arc::new(made.unwrap())).await.unwrap();
    // Another sink finds the table: the time goes to its first column, `note` is added.
    let sink = KwdbSink::new(options(&kwdb));
    let ms = 1_000_000;
    let rows = [
        (ms, "a", 1, "x"),
        (ms + 1, "a", 2, "x"),
        (2 * ms, "long name", 3, "x"),
        (3 * ms, "b", 70_000, "x"),
        (4 * ms, "b", 5, "x"),
    ];
    let plan = sink.plan(&"cpu".into(), &schema()).await.unwrap();
    assert_eq!(plan.statements, ["ALTER TABLE \"cpu\" ADD COLUMN \"note\" VARCHAR(65534)"]);
    assert!(plan.notes[0].contains("goes to the table's time, \"k_timestamp\""), "{:?}", plan.notes);
    let settled = load(&sink, &[batch(rows)]).await.unwrap();
    let codes: Vec<_> = settled.rejects.iter().map(|reject| reject.code.as_str()).collect();
    assert_eq!(codes, ["timestamp_precision", "text_too_long", "integer_overflow"]);
    let state = kwdb.state.lock().unwrap();
    let keys: Vec<_> = state.tables["cpu"].rows.keys().cloned().collect();
    let key = |host: &str, time: &str| vec![Literal::Text(host.into()), Literal::Number(time.into())];
    assert_eq!(keys, [key("a", "1"), key("b", "4")]);
}

#[tokio::test]
async fn a_row_that_the_server_refuses_is_found_by_halves() {
    let kwdb = Kwdb::start().await;
    kwdb.state.lock().unwrap().poison = Some("poison".to_owned());
    let sink = KwdbSink::new(options(&kwdb)).with_statement_rows(64);
    let rows = batch((0..200).map(|n| (n, "a", n, if n == 77 || n == 150 { "poison" } else { "fine" })));
    let settled = load(&sink, &[rows]).await.unwrap();
    assert_eq!((settled.total().written, settled.total().rejected), (198, 2));
    assert!(
        settled
            .rejects
            .iter()
            .all(|reject| reject.code == "22026" && reject.reason.contains("does not like"))
    );
    let state = kwdb.state.lock().unwrap();
    assert_eq!(state.tables["cpu"].rows.len(), 198);
    assert!(state.inserts < 40, "{} statements", state.inserts);
}

#[tokio::test]
async fn lost_connections_cost_nothing() {
    let kwdb = Kwdb::start().await;
    {
        let mut state = kwdb.state.lock().unwrap();
        state.cut_before = vec![2, 3];
        state.cut_after = vec![5];
    }
    let sink = KwdbSink::new(options(&kwdb)).with_statement_rows(50);
    let settled = load(&sink, &[many(300)]).await.unwrap();
    assert_eq!(settled.total().written, 300);
    let state = kwdb.state.lock().unwrap();
    // The rows that were sent twice are there once.
    assert_eq!((state.tables["cpu"].rows.len(), state.inserts), (300, 9));
}

#[tokio::test]
async fn a_rule_that_keeps_rows_twice_is_not_trusted() {
    let kwdb = Kwdb::start().await;
    {
        let mut state = kwdb.state.lock().unwrap();
        state.rule = "keep.experimental".to_owned();
        state.cut_after = vec![2];
    }
    let sink = KwdbSink::new(options(&kwdb)).with_statement_rows(50);
    let plan = sink.plan(&"cpu".into(), &schema()).await.unwrap();
    assert_eq!(plan.delivery, Delivery::AtLeastOnce);
    assert!(plan.notes.iter().any(|note| note.contains("ts.dedup.rule")), "{:?}", plan.notes);
    let error = load(&sink, &[many(300)]).await.unwrap_err();
    assert!(error.message().contains("cut"), "{error}");
    // It was not sent again.
    assert_eq!(kwdb.state.lock().unwrap().inserts, 2);
}

#[tokio::test]
async fn what_cannot_be_is_told_before_the_first_row() {
    let kwdb = Kwdb::start().await;
    let mut upsert = options(&kwdb);
    upsert.mode = Mode::Upsert;
    let error = KwdbSink::new(upsert).prepare(&"cpu".into(), &schema()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.hint().is_some_and(|hint| hint.contains("ts.dedup.rule")), "{error:?}");
    let never = KwdbSink::new(options(&kwdb).with_create(Create::Never));
    assert_eq!(never.prepare(&"cpu".into(), &schema()).await.unwrap_err().kind(), ErrorKind::NotFound);
    let sink = KwdbSink::new(options(&kwdb));
    sink.prepare(&"cpu".into(), &schema()).await.unwrap();
    let lacking = Schema::new(vec![Column::new("usage", DataType::Float64)]).unwrap();
    let error = sink.prepare(&"cpu".into(), &Arc::new(lacking)).await.unwrap_err();
    assert!(error.message().contains("wants its time column \"time\""), "{error}");
    let other = Schema::new(vec![
        Column::new("time", DataType::TimestampTz(TimeUnit::Second)).with_role(Role::Timestamp),
        Column::new("host", DataType::Text).with_role(Role::Tag),
        Column::new("n", DataType::Text),
    ]);
    let error = sink.prepare(&"cpu".into(), &Arc::new(other.unwrap())).await.unwrap_err();
    assert_eq!(error.code(), Some("no_exact_cast"), "{error}");
}
