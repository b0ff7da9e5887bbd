//! Against a real MariaDB.

use std::sync::Arc;

use kwsync_core::arrow::buffer::i256;
use kwsync_core::system::mysql::session::ConnectConfig;
use kwsync_core::testkit::MariaServer;
use kwsync_core::{
    Checkpoint, Column, DataType, Error, ErrorKind, JobId, Lane, Result, Run, Schema, Settled, Sink,
    SplitPosition, TableBatch, TableId, TimeUnit, Value, Writer,
};

use super::*;

fn options(server: &MariaServer, db: &str) -> MysqlOptions {
    let connect = ConnectConfig::new("127.0.0.1", server.port(), server.user());
    MysqlOptions::new(connect.with_password(server.password().into()).with_database(db))
}

fn batch(columns: &[(&str, &str)], rows: &[Vec<Value<'_>>]) -> TableBatch {
    let columns = columns.iter().map(|(name, data_type)| Column::new(*name, data_type.parse().unwrap()));
    TableBatch::from_rows("t", Arc::new(Schema::new(columns.collect()).unwrap()), rows).unwrap()
}

fn text(text: &str) -> Value<'_> {
    Value::Text(text.into())
}

async fn load(options: MysqlOptions, batches: &[TableBatch]) -> Result<Settled> {
    let sink = MysqlSink::new(options);
    let job = JobId::new("job");
    sink.start(&Run::first(job.clone())).await?;
    let mut writer = sink.open(&Lane { job: job.clone(), index: 0, generation: 1 }).await?;
    let mut settled = Settled::default();
    for batch in batches {
        sink.prepare(batch.table(), batch.schema()).await?;
        settled.merge(writer.write(batch).await?);
    }
    settled.merge(writer.flush().await?);
    sink.finish(&job).await?;
    Ok(settled)
}

fn error_of<T>(result: Result<T>) -> Error {
    match result {
        Ok(_) => panic!("this should have failed"),
        Err(error) => error,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_made_holds_what_comes() {
    let Some(server) = MariaServer::shared() else { return };
    let db = server.create_database();
    let us = TimeUnit::Microsecond;
    // Type, value, what the server says of it.
    let cases: Vec<(&str, Value<'static>, &str)> = vec![
        ("bool", Value::Bool(true), "1"),
        ("i8", Value::Int(-128), "-128"),
        ("i64", Value::Int(i64::MIN), "-9223372036854775808"),
        ("u64", Value::UInt(u64::MAX), "18446744073709551615"),
        ("f32", Value::Float32(0.1), "0.1"),
        ("f64", Value::Float64(-1.0e-300), "-1e-300"),
        ("numeric(40,5)", Value::Decimal(i256::from_i128(-12345), 5), "-0.12345"),
        (
            "numeric",
            text("1234567890123456789012345678901234567890.5"),
            "1234567890123456789012345678901234567890.5",
        ),
        ("char(4)", text("ab  "), "ab"),
        ("varchar(20)", text("it's \\ 😀"), "it's \\\\ 😀"),
        ("text", text("tab\there"), "tab\\there"),
        ("bytes", Value::Bytes(vec![0, 255].into()), "00FF"),
        ("date", Value::Date(-719_162), "0001-01-01"),
        ("time(us)", Value::Time(86_399_999_999, us), "23:59:59.999999"),
        ("timestamp(us)", Value::Timestamp(-1, us, false), "1969-12-31 23:59:59.999999"),
        (
            "timestamptz(ms)",
            Value::Timestamp(253_402_300_799_999, TimeUnit::Millisecond, true),
            "9999-12-31 23:59:59.999",
        ),
        ("json", text("{\"a\": 1}"), "{\"a\": 1}"),
        ("uuid", Value::Bytes(vec![0xa0; 16].into()), "a0a0a0a0-a0a0-a0a0-a0a0-a0a0a0a0a0a0"),
        ("bit(5)", text("10101"), "10101"),
        ("i32[]", Value::List(vec![Value::Int(1), Value::Null]), "[1,null]"),
        ("geometry", text("POINT(1 2)"), "POINT(1 2)"),
        ("inet", text("::1/64"), "::1/64"),
    ];
    for strategy in [Strategy::Insert, Strategy::LoadData] {
        // LOAD DATA does not read geometries.
        let cases: Vec<_> = cases
            .iter()
            .filter(|(t, ..)| strategy == Strategy::Insert || *t != "geometry")
            .cloned()
            .collect();
        server.sql(&db, "DROP TABLE IF EXISTS t");
        let columns: Vec<(String, &str)> =
            cases.iter().enumerate().map(|(at, (t, ..))| (format!("c{at}"), *t)).collect();
        let columns: Vec<(&str, &str)> = columns.iter().map(|(name, t)| (name.as_str(), *t)).collect();
        let values: Vec<Value<'_>> = cases.iter().map(|(_, value, _)| value.clone()).collect();
        let rows = [values, vec![Value::Null; cases.len()]];
        let options = MysqlOptions { strategy, ..options(server, &db) };
        let settled = load(options, &[batch(&columns, &rows)]).await.unwrap();
        assert_eq!((settled.total().written, settled.rejects.len()), (2, 0), "{:?}", settled.rejects);
        for (at, (data_type, _, expected)) in cases.iter().enumerate() {
            let column = match *data_type {
                "bytes" => format!("HEX(c{at})"),
                "bit(5)" => format!("BIN(c{at})"),
                "geometry" => format!("ST_AsText(c{at})"),
                _ => format!("c{at}"),
            };
            assert_eq!(
                server.sql(&db, &format!("SELECT {column} FROM t")),
                format!("{expected}\nNULL\n"),
                "{data_type} {strategy:?}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_is_a_reject_and_nothing_is_rounded() {
    let Some(server) = MariaServer::shared() else { return };
    let db = server.create_database();
    // Column, type here, a value that fits, one that does not, and what is said.
    let ns = TimeUnit::Nanosecond;
    let cases: Vec<(&str, &str, Value<'static>, Value<'static>, &str)> = vec![
        ("tinyint unsigned", "i64", Value::Int(255), Value::Int(256), "integer_overflow"),
        ("int", "f64", Value::Float64(2.0), Value::Float64(1.5), "not_an_integer"),
        ("float", "f64", Value::Float64(0.5), Value::Float64(0.1), "float_precision"),
        ("double", "f64", Value::Float64(0.1), Value::Float64(f64::NAN), "float_not_finite"),
        ("double", "u64", Value::UInt(1 << 60), Value::UInt(u64::MAX), "float_precision"),
        ("decimal(5,2)", "f64", Value::Float64(1.25), Value::Float64(1.005), "numeric_scale"),
        ("decimal(5,2)", "i64", Value::Int(999), Value::Int(1000), "numeric_overflow"),
        ("decimal(9,2)", "numeric", text("1.50"), text("NaN"), "bad_numeric"),
        ("varchar(3)", "text", text("äöü"), text("abc "), "text_too_long"),
        ("varchar(9) CHARACTER SET latin1", "text", text("é"), text("😀"), "1366"),
        ("enum('a','b')", "text", text("a"), text("c"), "1265"),
        (
            "datetime(3)",
            "timestamp(ns)",
            Value::Timestamp(1_000_000, ns, false),
            Value::Timestamp(1, ns, false),
            "timestamp_precision",
        ),
        (
            "timestamp NULL",
            "timestamptz(s)",
            Value::Timestamp(5, TimeUnit::Second, true),
            Value::Timestamp(-5, TimeUnit::Second, true),
            "1292",
        ),
        ("date", "date", Value::Date(0), Value::Date(3_000_000), "date_out_of_range"),
        ("json", "text", text("[]"), text("{"), "4025"),
        ("int CHECK (c12 < 5)", "i32", Value::Int(4), Value::Int(5), "4025"),
        (
            "time",
            "interval",
            Value::Interval(0, 1, 3_600_000_000_000),
            Value::Interval(1, 0, 0),
            "time_out_of_range",
        ),
        ("int NOT NULL", "i32", Value::Int(1), Value::Null, "1048"),
    ];
    for ((sql, data_type, good, bad, code), strategy) in
        cases.iter().flat_map(|case| [(case, Strategy::Insert), (case, Strategy::LoadData)])
    {
        server.sql(&db, &format!("CREATE OR REPLACE TABLE t (id int PRIMARY KEY, c12 {sql})"));
        let rows: Vec<_> =
            (0..7).map(|id| vec![Value::Int(id), if id == 4 { bad.clone() } else { good.clone() }]).collect();
        let options = MysqlOptions { strategy, ..options(server, &db) };
        let settled = load(options, &[batch(&[("id", "i32"), ("c12", *data_type)], &rows)]).await.unwrap();
        assert_eq!(settled.total().written, 6, "{sql} {strategy:?}");
        let codes: Vec<_> =
            settled.rejects.iter().map(|reject| (reject.code.as_str(), reject.position.record)).collect();
        assert_eq!(codes, [(*code, 5)], "{sql} {strategy:?}: {:?}", settled.rejects);
        assert_eq!(server.sql(&db, "SELECT GROUP_CONCAT(id ORDER BY id) FROM t"), "0,1,2,3,5,6\n", "{sql}");
    }
    // Where there is no exact way at all, nothing is begun.
    server.sql(&db, "CREATE OR REPLACE TABLE t (d date)");
    let error = error_of(load(options(server, &db), &[batch(&[("d", "i64")], &[vec![Value::Int(1)]])]).await);
    assert_eq!((error.kind(), error.code()), (ErrorKind::Schema, Some("no_exact_cast")), "{error}");
    let mut truncate = options(server, &db);
    truncate.truncate_seconds = true;
    server.sql(&db, "CREATE OR REPLACE TABLE t (d datetime)");
    let rows = [vec![Value::Timestamp(1_999_999_999, ns, false)]];
    let settled = load(truncate, &[batch(&[("d", "timestamp(ns)")], &rows)]).await.unwrap();
    assert_eq!((settled.coerced, server.sql(&db, "SELECT d FROM t").trim()), (1, "1970-01-01 00:00:01"));
}

#[tokio::test(flavor = "multi_thread")]
async fn modes_say_what_becomes_of_rows_that_are_there() {
    let Some(server) = MariaServer::shared() else { return };
    for (mode, counts, rejects, table) in [
        (Mode::Insert, (2, 0, 0), 2, "1,old;2,old;3,new;4,new"),
        (Mode::InsertIgnore, (2, 0, 2), 0, "1,old;2,old;3,new;4,new"),
        (Mode::Upsert, (2, 2, 0), 0, "1,new;2,old;3,new;4,new"),
        // A row that replaces an equal one looks to the server like a new one.
        (Mode::Replace, (3, 1, 0), 0, "1,new;2,old;3,new;4,new"),
    ] {
        let loads = matches!(mode, Mode::Insert | Mode::Replace);
        let strategies =
            if loads { vec![Strategy::Insert, Strategy::LoadData] } else { vec![Strategy::Auto] };
        for (statement_rows, strategy) in
            [1, 100].into_iter().flat_map(|rows| strategies.iter().map(move |strategy| (rows, *strategy)))
        {
            let db = server.create_database();
            server.sql(&db, "CREATE TABLE t (id int PRIMARY KEY, v varchar(9)); INSERT INTO t VALUES (1, 'old'), (2, 'old')");
            let rows: Vec<_> = [(1, "new"), (2, "old"), (3, "new"), (4, "new")]
                .map(|(id, v)| vec![Value::Int(id), text(v)])
                .to_vec();
            let mut options = options(server, &db);
            (options.mode, options.statement_rows, options.strategy) = (mode, statement_rows, strategy);
            let settled = load(options, &[batch(&[("id", "i32"), ("v", "text")], &rows)]).await.unwrap();
            let total = settled.total();
            assert_eq!((total.written, total.updated, total.ignored), counts, "{mode} {statement_rows}");
            assert_eq!((settled.rejects.len(), total.rejected), (rejects, rejects as u64), "{mode}");
            assert_eq!(total.rows(), 4);
            let there =
                server.sql(&db, "SELECT GROUP_CONCAT(CONCAT(id, ',', v) ORDER BY id SEPARATOR ';') FROM t");
            assert_eq!(there.trim(), table, "{mode} {statement_rows}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_and_columns_are_made_or_refused() {
    let Some(server) = MariaServer::shared() else { return };
    let db = server.create_database();
    let columns = vec![
        Column::new("a", DataType::Int32).with_nullable(false).with_key(2, 2),
        Column::new("b", DataType::Text).with_nullable(false).with_key(1, 2).with_comment("it's"),
    ];
    let schema = Arc::new(Schema::new(columns).unwrap());
    let rows = TableBatch::from_rows("t", schema, &[vec![Value::Int(1), text("x")]]).unwrap();
    let mut never = options(server, &db);
    never.create = false;
    assert_eq!(error_of(load(never.clone(), std::slice::from_ref(&rows)).await).kind(), ErrorKind::NotFound);
    let sink = MysqlSink::new(options(server, &db));
    let plan = sink.plan(&TableId::new("t"), rows.schema()).await.unwrap();
    assert!(plan.statements[0].contains("PRIMARY KEY (`b`, `a`)"), "{plan}");
    load(options(server, &db), &[rows]).await.unwrap();
    let made = server.sql(&db, "SHOW CREATE TABLE t");
    for words in ["PRIMARY KEY (`b`,`a`)", "COMMENT 'it''s'", "int(11) NOT NULL"] {
        assert!(made.contains(words), "{words}: {made}");
    }
    let more = batch(
        &[("a", "i32"), ("b", "text"), ("c", "f64")],
        &[vec![Value::Int(2), text("y"), Value::Float64(0.5)]],
    );
    let error = error_of(load(never, std::slice::from_ref(&more)).await);
    assert!(error.to_string().contains("has no column \"c\""), "{error}");
    load(options(server, &db), &[more]).await.unwrap();
    assert_eq!(server.sql(&db, "SELECT c FROM t ORDER BY a"), "NULL\n0.5\n");
    let fewer = batch(&[("a", "i32")], &[vec![Value::Int(2)]]);
    let error = error_of(load(options(server, &db), &[fewer]).await);
    assert!(error.to_string().contains("wants column \"b\""), "{error}");
}

/// Data and checkpoint are there both or not at all, and a run that was taken over can commit nothing.
#[tokio::test(flavor = "multi_thread")]
async fn checkpoints_go_with_the_data() {
    let Some(server) = MariaServer::shared() else { return };
    let db = server.create_database();
    let rows = |id: i64| batch(&[("id", "i64")], &[vec![Value::Int(id)]]);
    let job = JobId::new("it's");
    let begin = async |generation: u64| {
        let sink = MysqlSink::new(options(server, &db));
        sink.start(&Run::first(job.clone())).await.unwrap();
        assert!(sink.capabilities().stores_checkpoints);
        sink.prepare(rows(0).table(), rows(0).schema()).await.unwrap();
        let start = Checkpoint::start(job.clone(), "a\\b".into(), generation);
        let at = sink.begin(&start).await.unwrap();
        let writer = sink.open(&Lane { job: job.clone(), index: 0, generation }).await.unwrap();
        (sink, at, writer)
    };
    let (_first, at, mut writer) = begin(1).await;
    writer.write(&rows(1)).await.unwrap();
    let one = at.next(SplitPosition(serde_json::json!(["1"])), false);
    writer.flush_with(std::slice::from_ref(&one)).await.unwrap();
    // Written, and not committed.
    writer.write(&rows(2)).await.unwrap();
    let (second, at, mut other) = begin(1).await;
    assert_eq!((at.position.clone(), at.sequence), (one.position.clone(), 1));
    let two = one.next(SplitPosition(serde_json::json!(["2"])), false);
    let error = error_of(writer.flush_with(&[two]).await);
    assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");
    drop(writer);
    other.write(&rows(3)).await.unwrap();
    other.flush_with(&[at.next(SplitPosition(serde_json::json!(["3"])), true)]).await.unwrap();
    assert_eq!(server.sql(&db, "SELECT id FROM t ORDER BY id"), "1\n3\n");
    second.forget(&job).await.unwrap();
    assert_eq!(server.sql(&db, "SELECT COUNT(*) FROM kwsync_checkpoint"), "0\n");
}

/// What is a delimiter to LOAD DATA, or has a meaning there, is text like any other.
#[tokio::test(flavor = "multi_thread")]
async fn load_data_takes_any_text_and_any_bytes() {
    let Some(server) = MariaServer::start() else { return };
    let db = server.create_database();
    server.sql(
        &db,
        "CREATE TABLE t (id int PRIMARY KEY, v longtext, w varchar(40), b longblob) CHARSET utf8mb4",
    );
    let pieces = [
        "'", "\"", "\\", ",", "(", ")", "\n", "\r", "\t", "\0", "\u{1a}", "NULL", "\\N", "x'", "é", "😀", " ",
    ];
    let mut texts: Vec<String> = vec![String::new(), "x'00'".to_owned(), "y".repeat(3 << 20)];
    for one in pieces {
        texts.extend(pieces.iter().map(|other| format!("{one}{other}{one}")));
    }
    let rows: Vec<Vec<Value<'_>>> = texts
        .iter()
        .enumerate()
        .map(|(id, all)| {
            let short = Value::Text(if all.len() < 40 { all.as_str().into() } else { "-".into() });
            vec![Value::Int(id as i64), text(all), short, Value::Bytes(all.as_bytes().to_vec().into())]
        })
        .collect();
    let columns = [("id", "i32"), ("v", "text"), ("w", "text"), ("b", "bytes")];
    let options = MysqlOptions { strategy: Strategy::LoadData, ..options(&server, &db) };
    // Were it taken back and sent by INSERT, the server would have counted that; the only INSERT is that of the job.
    let inserted = || -> u64 {
        let told = server.sql(&db, "SHOW GLOBAL STATUS LIKE 'Com_insert'");
        told.split_whitespace().nth(1).and_then(|count| count.parse().ok()).unwrap()
    };
    let before = inserted();
    let settled = load(options, &[batch(&columns, &rows)]).await.unwrap();
    assert_eq!((settled.total().written, settled.rejects.len()), (rows.len() as u64, 0));
    assert_eq!(inserted() - before, 1);
    let there = server.sql(&db, "SELECT HEX(v), HEX(b), IF(w = '-', '-', HEX(w)) FROM t ORDER BY id");
    for (line, all) in there.lines().zip(&texts) {
        let hex: String = all.bytes().map(|byte| format!("{byte:02X}")).collect();
        let short = if all.len() < 40 { hex.clone() } else { "-".to_owned() };
        assert_eq!(line, format!("{hex}\t{hex}\t{short}"), "{:?}", all.get(..20));
    }
    assert_eq!(there.lines().count(), texts.len());
}

/// The plan says which way rows take, and why not the faster one.
#[tokio::test(flavor = "multi_thread")]
async fn load_data_is_left_where_it_cannot_be_exact() {
    let Some(server) = MariaServer::start() else { return };
    let db = server.create_database();
    server.sql(&db, "CREATE TABLE plain (id int PRIMARY KEY, v varchar(3)) ENGINE=InnoDB; CREATE TABLE old (id int) ENGINE=MyISAM; CREATE TABLE place (id geometry) ENGINE=InnoDB");
    let plan = async |table: &str, data_type: &str, mode: Mode, strategy: Strategy| {
        let sink = MysqlSink::new(MysqlOptions { mode, strategy, ..options(&server, &db) });
        let schema = Arc::clone(batch(&[("id", data_type)], &[]).schema());
        sink.plan(&TableId::new(table), &schema).await.map(|plan| plan.to_string())
    };
    for (table, data_type, mode, words) in [
        ("plain", "i32", Mode::Insert, "LOAD DATA LOCAL, mode insert"),
        ("plain", "i32", Mode::Replace, "LOAD DATA LOCAL, mode replace"),
        ("new", "i32", Mode::Insert, "LOAD DATA LOCAL, mode insert"),
        ("plain", "i32", Mode::Upsert, "INSERT of up to 4096 rows, mode upsert"),
        ("old", "i32", Mode::Insert, "not one of InnoDB"),
        ("place", "geometry", Mode::Insert, "does not read geometries"),
        ("new", "geometry", Mode::Insert, "does not read geometries"),
    ] {
        let told = plan(table, data_type, mode, Strategy::Auto).await.unwrap();
        assert!(told.contains(words), "{words}: {told}");
        let forced = plan(table, data_type, mode, Strategy::LoadData).await;
        assert_eq!(forced.is_ok(), words.starts_with("LOAD"), "{table} {mode}: {forced:?}");
    }
    server.sql(&db, "SET GLOBAL local_infile = 0");
    let told = plan("plain", "i32", Mode::Insert, Strategy::Auto).await.unwrap();
    assert!(told.contains("LOAD DATA LOCAL is not used: the server does not allow it"), "{told}");
    let error = error_of(plan("plain", "i32", Mode::Insert, Strategy::LoadData).await);
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    // And rows go in all the same.
    let rows: Vec<_> = (0..200).map(|id| vec![Value::Int(id)]).collect();
    let mut options = options(&server, &db);
    options.table = Some("plain".to_owned());
    let settled = load(options, &[batch(&[("id", "i32")], &rows)]).await.unwrap();
    assert_eq!(settled.total().written, 200);
}
