//! The loader against a real server.

use std::collections::BTreeMap;
use std::time::Duration;

use kwsync_core::Value;
use kwsync_core::testkit::PgServer;
use kwsync_sinks::postgres::{LoadCode, LoadRow, Loader, LoaderConfig};

fn config(server: &PgServer, database: &str) -> LoaderConfig {
    LoaderConfig::from_address(&server.dsn(database)).unwrap().with_retry_interval(Duration::from_millis(50))
}

fn count(server: &PgServer, database: &str, table: &str) -> String {
    server.psql(database, &format!("SELECT count(*) FROM {table}")).trim().to_owned()
}

#[tokio::test]
async fn rows_maps_and_structures() {
    let Some(server) = PgServer::shared() else { return };
    let db = server.create_database();
    server.psql(
        &db,
        "CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE TABLE t (id int PRIMARY KEY, name varchar(10) NOT NULL, n numeric(10,2), at timestamp, atz timestamptz,
         day date, flag bool, b bytea, u uuid, j jsonb, f real, m mood, made int GENERATED ALWAYS AS (id * 2) STORED)",
    );
    let mut loader = Loader::connect(config(server, &db).with_all_columns("t")).await.unwrap();
    let info = loader.table_info("t").unwrap();
    assert_eq!((info.table.to_string().as_str(), info.primary_key), ("public.t", vec!["id".to_owned()]));
    let columns = loader.column_info("t").unwrap();
    assert!(!columns[1].nullable && columns[2].nullable && !columns[12].writable);
    assert_eq!(columns[1].type_name, "character varying(10)");

    let mut row = LoadRow::new(12);
    row.set_column(0, "1").set_column(1, 17).set_column(2, 1.5).set_column(3, "2018-01-01 08:00:00");
    row.set_column(4, 1_514_764_800_000_i64)
        .set_column(5, "2018-01-01")
        .set_column(6, "yes")
        .set_column(7, vec![1, 255]);
    row.set_column(8, "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11")
        .set_column(9, "{\"a\": 1}")
        .set_column(10, "0.1");
    row.set_column(11, "ok");
    loader.add_row("t", &row).await.unwrap();
    row.update_column(0, 2).update_column(3, 1_514_764_800_000_i64).update_column(8, Value::Null);
    loader.add_rows("t", [&row]).await.unwrap();
    let map = BTreeMap::from([("id", "3"), ("name", ""), ("n", "12.25")]);
    loader.add_map("t", map.clone()).await.unwrap();
    loader.add_maps("t", [[("id", 4), ("name", 4)]]).await.unwrap();
    #[derive(serde::Serialize)]
    struct Row {
        id: u32,
        name: String,
        j: Vec<u8>,
        n: Option<f64>,
    }
    loader.add("t", &Row { id: 5, name: "five".to_owned(), j: vec![1, 2], n: None }).await.unwrap();
    assert_eq!(loader.buffered_rows(), 5);
    assert_eq!(loader.stop().await.unwrap_err().code(), LoadCode::Stop);
    loader.commit().await.unwrap();
    loader.stop().await.unwrap();
    assert_eq!(loader.counts().written, 5);
    let rows = server.psql(&db, "SET timezone = 'UTC'; SELECT * FROM t ORDER BY id");
    assert_eq!(
        rows,
        "1|17|1.50|2018-01-01 08:00:00|2018-01-01 00:00:00+00|2018-01-01|t|\\x01ff|a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11|{\"a\": 1}|0.1|ok|2\n\
         2|17|1.50|2018-01-01 00:00:00|2018-01-01 00:00:00+00|2018-01-01|t|\\x01ff||{\"a\": 1}|0.1|ok|4\n\
         3||12.25||||||||||6\n4|4|||||||||||8\n5|five||||||||[1, 2]|||10\n"
    );
}

#[tokio::test]
async fn conflicts_and_failed_rows() {
    let Some(server) = PgServer::shared() else { return };
    let db = server.create_database();
    server
        .psql(&db, "CREATE TABLE t (id int PRIMARY KEY, n int CHECK (n < 100)); INSERT INTO t VALUES (1, 1)");
    let mut loader = Loader::connect(config(server, &db).with_all_columns("t")).await.unwrap();
    let mut row = LoadRow::new(2);
    for (id, n) in [(1, 5), (2, 5), (3, 500), (4, 5), (2, 6)] {
        loader.add_row("t", row.set_column(0, id).set_column(1, n)).await.unwrap();
    }
    let error = loader.commit().await.unwrap_err();
    assert_eq!(error.code(), LoadCode::CommitRows);
    let failed = error.failed_rows();
    assert_eq!(failed.len(), 1);
    assert_eq!(
        (failed[0].values.as_slice(), failed[0].code.as_str()),
        (&[Value::Int(3), Value::Int(500)][..], "23514")
    );
    assert!(error.to_string().starts_with("COMMIT_ERROR_DATA_LIST (101): 1 rows"), "{error}");
    // The others are in; the keys that were there already were dropped.
    assert_eq!(
        server.psql(&db, "SELECT string_agg(id || ':' || n, ' ' ORDER BY id) FROM t").trim(),
        "1:1 2:5 4:5"
    );
    assert_eq!((loader.buffered_rows(), loader.counts().written, loader.counts().ignored), (0, 2, 2));
    loader.stop().await.unwrap();

    // Without insert_ignore a key that is there is a failed row.
    let strict = config(server, &db).with_all_columns("t").with_insert_ignore(false);
    let mut loader = Loader::connect(strict).await.unwrap();
    loader.add_row("t", row.set_values([1, 9])).await.unwrap();
    loader.add_row("t", row.set_values([9, 9])).await.unwrap();
    let failed = loader.commit().await.unwrap_err().into_failed_rows();
    assert_eq!((failed.len(), failed[0].code.as_str()), (1, "23505"));
    assert_eq!(count(server, &db, "t"), "4");
}

#[tokio::test]
async fn what_does_not_fit_is_not_added() {
    let Some(server) = PgServer::shared() else { return };
    let db = server.create_database();
    server.psql(&db, "CREATE TABLE t (id int, name text)");
    let mut loader = Loader::connect(config(server, &db).with_table("t", ["name", "id"])).await.unwrap();
    let mut row = LoadRow::new(2);
    for (values, text) in [
        (vec!["a", "x"], "column \"id\" of table public.t: \"x\" is no i32"),
        (vec!["a", "3000000000"], "column \"id\" of table public.t: \"3000000000\" is no i32"),
        (vec!["a"], "the row has 1 values, and table public.t 2 columns"),
    ] {
        let error = loader.add_row("t", row.set_values(values)).await.unwrap_err();
        assert_eq!(
            (error.code(), std::error::Error::source(&error).unwrap().to_string().as_str()),
            (LoadCode::AddData, text)
        );
    }
    let error = loader.add_map("t", [("nam", "x")]).await.unwrap_err();
    assert!(error.to_string().contains("\"nam\" is not among the configured ones"), "{error}");
    assert_eq!(loader.add_row("other", &row).await.unwrap_err().code(), LoadCode::AddData);
    assert_eq!(loader.buffered_rows(), 0);
    // Empty texts as nulls, by choice.
    let nulls = config(server, &db).with_all_columns("t").with_empty_as_null(true);
    let mut loader = Loader::connect(nulls).await.unwrap();
    loader.add_map("t", [("id", ""), ("name", "")]).await.unwrap();
    loader.commit().await.unwrap();
    assert_eq!(server.psql(&db, "SELECT id IS NULL, name IS NULL FROM t").trim(), "t|t");
}

#[tokio::test]
async fn numbers_and_lists_are_looked_at_before_they_are_buffered() {
    let Some(server) = PgServer::shared() else { return };
    let db = server.create_database();
    server.psql(&db, "CREATE TABLE t (f float8, g real, l int4[])");
    let mut loader = Loader::connect(config(server, &db).with_all_columns("t")).await.unwrap();
    for (name, value) in [("f", "1e400"), ("f", "1e-400"), ("g", "1e300"), ("f", "x")] {
        assert_eq!(
            loader.add_map("t", [(name, value)]).await.unwrap_err().code(),
            LoadCode::AddData,
            "{value}"
        );
    }
    let list = |items: Vec<Value<'static>>| [("l", Value::List(items))];
    let error = loader.add_map("t", list(vec![Value::Text("x".into())])).await.unwrap_err();
    assert_eq!(error.code(), LoadCode::AddData);
    assert_eq!(loader.buffered_rows(), 0);
    loader.add_map("t", [("f", "-Infinity"), ("g", "0e5")]).await.unwrap();
    loader.add_map("t", list(vec![Value::Int(1), Value::Null])).await.unwrap();
    loader.commit().await.unwrap();
    assert_eq!(server.psql(&db, "SELECT * FROM t"), "-Infinity|0|\n||{1,NULL}\n");
}

#[tokio::test]
async fn configurations_that_are_wrong() {
    let Some(server) = PgServer::shared() else { return };
    let db = server.create_database();
    server.psql(&db, "CREATE TABLE t (id int, twice int GENERATED ALWAYS AS (id * 2) STORED)");
    let empty: [&str; 0] = [];
    let base = || config(server, &db);
    for (config, text) in [
        (base(), "no table is configured"),
        (base().with_table("t", empty), "has no columns"),
        (base().with_all_columns("t").with_table("t", ["id"]), "configured twice"),
        (base().with_table("t", ["id", "id"]), "has column \"id\" twice"),
        (base().with_table("t", ["ID"]), "has no column \"ID\"; it has id, twice"),
        (base().with_table("t", ["twice"]), "cannot be written"),
        (base().with_all_columns("nowhere"), "table public.nowhere does not exist"),
        (base().with_all_columns("t").with_parallel(0), "parallel is 0"),
        (base().with_all_columns("t").with_commit_size(0), "commit_size is 0"),
    ] {
        let error = Loader::connect(config).await.unwrap_err();
        assert_eq!(error.code(), LoadCode::Config);
        assert!(error.to_string().contains(text), "{error}");
        assert!(error.to_string().starts_with("CONFIG_ERROR (106)"), "{error}");
    }
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let lost = LoaderConfig::new("127.0.0.1", "db", "me").with_port(port).with_all_columns("t");
    assert_eq!(Loader::connect(lost).await.unwrap_err().code(), LoadCode::Connect);
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_by_itself_over_several_connections() {
    let Some(server) = PgServer::shared() else { return };
    let db = server.create_database();
    server.psql(&db, "CREATE TABLE a (id int PRIMARY KEY, name text); CREATE TABLE b (id int, name text)");
    let config = config(server, &db).with_all_columns("a").with_all_columns("b").with_commit_size(100_000);
    let mut loader = Loader::connect(config).await.unwrap();
    let mut row = LoadRow::new(2);
    let mut most = 0;
    for id in 0..30_000 {
        row.set_column(0, id).set_column(1, format!("name of number {id}"));
        loader.add_row(if id % 3 == 0 { "b" } else { "a" }, &row).await.unwrap();
        most = most.max(loader.buffered_rows());
    }
    assert!(most < 6_000, "{most} rows were buffered");
    loader.commit().await.unwrap();
    loader.stop().await.unwrap();
    assert_eq!((count(server, &db, "a"), count(server, &db, "b")), ("20000".to_owned(), "10000".to_owned()));
    assert_eq!(loader.add_row("a", &row).await.unwrap_err().code(), LoadCode::AddData);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_goes_away_and_comes_back() {
    let Some(server) = PgServer::start() else { return };
    let db = server.create_database();
    server.psql(&db, "CREATE TABLE t (id int PRIMARY KEY, name text)");
    let config = config(&server, &db).with_all_columns("t").with_retry_times(2);
    let mut loader = Loader::connect(config).await.unwrap();
    let mut row = LoadRow::new(2);
    for id in 0..2_000 {
        loader.add_row("t", row.set_column(0, id).set_column(1, "x")).await.unwrap();
    }
    server.stop_immediately();
    let error = loader.commit().await.unwrap_err();
    assert_eq!(error.code(), LoadCode::CommitOther, "{error}");
    assert_eq!(loader.buffered_rows(), 2_000);
    server.restart();
    loader.commit().await.unwrap();
    assert_eq!(count(&server, &db, "t"), "2000");
    // Sessions that were open are gone, which the next commit makes up for.
    loader.add_row("t", row.set_column(0, 2_000)).await.unwrap();
    server.stop_immediately();
    server.restart();
    loader.commit().await.unwrap();
    assert_eq!(loader.counts().written, 2_001);
    assert!(loader.counts().retries > 0);
    loader.add_row("t", row.set_column(0, 2_001)).await.unwrap();
    assert_eq!(loader.force_stop(), 1);
}
