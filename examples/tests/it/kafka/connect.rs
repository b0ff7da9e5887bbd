//! Configurations of KaiwuDB's connector for Kafka Connect, as they stand; a stand-in plays KWDB.

use kwsync_core::testkit::kwdb::{Kwdb, Literal};

use super::read::world;
use crate::support::{Job, until};

const MESSAGE: &str = r#"{"table":"ts_json_kaiwudb_tb","columns":[{"name":"ts","type":"TIMESTAMPTZ","length":64},{"name":"c1","type":"INT2","length":16},{"name":"c2","type":"INT4","length":32},{"name":"c3","type":"INT8","length":64},{"name":"c4","type":"FLOAT4","length":32},{"name":"c5","type":"FLOAT8","length":64},{"name":"c6","type":"BOOL","length":1}],"tags":[{"name":"location","type":"VARCHAR","length":64,"primary":true,"nullable":false},{"name":"temperature","type":"FLOAT4","length":64,"primary":false,"nullable":true}],"data":[{"ts":1690855924005,"c1":11,"c2":21,"c3":2535208944865431245,"c4":6.14545,"c5":5.15656,"c6":true,"location":"tianjin","temperature":35.5},{"ts":1691853703011,"c1":12,"c2":22,"c3":6422208944865124578,"c4":1.01635,"c5":0.53533,"c6":false,"location":"tianjin","temperature":35.5}]}"#;

pub(super) fn sink(kwdb: &Kwdb, topic: &str) -> String {
    format!(
        r#"{{"name": "KwdbSinkConnector", "config": {{
            "connector.class": "com.kaiwudb.kafka.connect.sink.KwdbSinkConnector", "tasks.max": "5", "topics": "{topic}",
            "connection.url": "jdbc:kaiwudb://127.0.0.1:{}", "connection.user": "test", "connection.password": "s3cret",
            "connection.database": "tsdb", "connection.attempts": 3, "connection.backoff.ms": 5000, "max.retries": 3,
            "retry.backoff.ms": 3000, "batch.size": 1000, "protocol.type": "json_kaiwudb", "timestamp.precision": "ms",
            "key.converter": "org.apache.kafka.connect.storage.StringConverter",
            "value.converter": "org.apache.kafka.connect.storage.StringConverter"}}}}"#,
        kwdb.port
    )
}

pub(super) fn rows(kwdb: &Kwdb, table: &str) -> usize {
    let state = kwdb.state.lock().unwrap();
    state.tables.get(table).map_or(0, |table| table.rows.len())
}

/// A database that listens as long as this lives.
pub(super) fn stand_in() -> (tokio::runtime::Runtime, Kwdb) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let kwdb = runtime.block_on(Kwdb::start());
    (runtime, kwdb)
}

/// From a topic into time series, and from there, by the other connector, into topics that are named as it names them; a
/// table that is new is found while it runs.
#[test]
fn both_connectors_run_as_they_stand() {
    let Some((_, cluster, _, place, _)) = world() else { return };
    let (_runtime, kwdb) = stand_in();
    cluster.create("kw-tsdb-json", 3, &[]);
    cluster.send("kw-tsdb-json", [(0, MESSAGE)]);
    place.write("sink.json", sink(&kwdb, "kw-tsdb-json"));
    let brokers = ["--bootstrap-servers", &cluster.brokers, "--quiet"];
    let mut job = Job::start(&place, &[&["connect", "sink.json"][..], &brokers].concat());
    until("two rows", || rows(&kwdb, "ts_json_kaiwudb_tb") == 2 || job.has_ended());
    // What comes later is written too; the rows are those of the message.
    cluster.send("kw-tsdb-json", [(2, &*MESSAGE.replace("tianjin", "beijing"))]);
    until("four rows", || rows(&kwdb, "ts_json_kaiwudb_tb") == 4 || job.has_ended());
    let state = kwdb.state.lock().unwrap();
    let table = &state.tables["ts_json_kaiwudb_tb"];
    let columns: Vec<_> =
        table.columns.iter().map(|column| (&*column.name, &*column.sql_type, column.primary)).collect();
    assert_eq!(columns[0], ("ts", "TIMESTAMPTZ(3)", false));
    assert!(columns.contains(&("location", "VARCHAR(64)", true)), "{columns:?}");
    assert!(table.rows.values().any(|row| row["c3"] == Literal::Number("6422208944865124578".into())));
    drop(state);
    until("the offsets", || cluster.committed("connect-KwdbSinkConnector", "kw-tsdb-json") == 2);

    let source = format!(
        r#"{{"name": "KwdbSourceConnector", "config": {{
            "connector.class": "com.kaiwudb.kafka.connect.source.KwdbSourceConnector", "tasks.max": 1,
            "connection.url": "jdbc:kaiwudb://127.0.0.1:{}", "connection.user": "test", "connection.password": "s3cret",
            "connection.database": "benchmark", "connection.attempts": 3, "connection.backoff.ms": 5000,
            "poll.interval.ms": 200, "topic.prefix": "kw", "topic.delimiter": "-", "fetch.max.rows": 100,
            "query.interval.ms": 100, "topic.per.stable": true, "topic.ignore.db": false, "out.format": "json_kaiwudb",
            "read.method": "query", "key.converter": "org.apache.kafka.connect.storage.StringConverter",
            "value.converter": "org.apache.kafka.connect.storage.StringConverter"}}}}"#,
        kwdb.port
    );
    place.write("source.json", source);
    let mut out = Job::start(&place, &[&["connect", "source.json"][..], &brokers].concat());
    let topic = "kw-benchmark-ts_json_kaiwudb_tb";
    let messages = |topic: &str| if cluster.has(topic) { cluster.all(topic) } else { Vec::new() };
    until("the rows as messages", || messages(topic).len() >= 4 || out.has_ended());
    kwdb.run("CREATE TABLE IF NOT EXISTS \"later\" (\"k_timestamp\" TIMESTAMPTZ(3) NOT NULL, \"v\" INT8) TAGS (\"id\" INT8 NOT NULL) PRIMARY TAGS (\"id\")");
    kwdb.run("INSERT INTO \"later\" (\"k_timestamp\", \"v\", \"id\") VALUES (1705962142224,1,7)");
    until("a new table's topic", || !messages("kw-benchmark-later").is_empty() || out.has_ended());
    let later = messages("kw-benchmark-later");
    let value: serde_json::Value = serde_json::from_str(&later[0].payload).unwrap();
    assert_eq!(
        (&value["table"], &value["data"][0]["k_timestamp"]),
        (&"later".into(), &1_705_962_142_224_i64.into())
    );
    assert_eq!(value["tags"][0]["name"], "id");
    // What was written goes round: the sink takes what the source makes.
    let first: serde_json::Value = serde_json::from_str(&messages(topic)[0].payload).unwrap();
    assert_eq!(first["data"][0]["c3"], 2_535_208_944_865_431_245_i64);
    job.terminate().expect(143);
    out.terminate().expect(143);
}
