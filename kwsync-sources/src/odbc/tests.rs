//! Against real servers, by Debian's drivers for PostgreSQL, MariaDB and SQLite.

use std::io::Write;

use arrow_odbc::odbc_api::{ConnectionOptions, environment};
use kwsync_core::config::{OpenOptions, Registry};
use kwsync_core::testkit::{MariaServer, PgServer};
use kwsync_core::{DynSource, Error, ErrorKind, Reject, Result, Retry, Split, SplitPosition, TableBatch};

use super::*;

fn source(dsn: &str) -> Result<Box<dyn DynSource>> {
    let mut registry = Registry::new();
    register(&mut registry);
    registry.source(&dsn.parse()?, &OpenOptions::new())
}

/// Whether a driver is installed; says so loudly where it is not.
fn has(driver: &str, package: &str) -> bool {
    let drivers = environment().and_then(|environment| environment.drivers()).unwrap_or_default();
    let there = drivers.iter().any(|found| found.description == driver);
    if !there {
        writeln!(
            std::io::stderr(),
            "SKIPPED: no ODBC driver {driver:?} here; install it with: apt-get install {package}"
        )
        .ok();
    }
    there
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

fn postgres(server: &PgServer, db: &str) -> Option<String> {
    has("PostgreSQL Unicode", "odbc-postgresql").then(|| {
        let (user, password) = (server.superuser(), encoded(server.password()));
        format!("odbc://{user}:{password}@127.0.0.1:{}/{db}?driver=PostgreSQL%20Unicode", server.port())
    })
}

fn maria(server: &MariaServer, db: &str) -> Option<String> {
    has("MariaDB Unicode", "odbc-mariadb").then(|| {
        let (user, password) = (server.user(), encoded(server.password()));
        format!("odbc://{user}:{password}@127.0.0.1:{}/{db}?driver=MariaDB%20Unicode", server.port())
    })
}

/// A file of SQLite and its address.
struct Sqlite {
    _dir: tempfile::TempDir,
    dsn: String,
    text: String,
}

impl Sqlite {
    fn new() -> Option<Self> {
        if !has("SQLite3", "libsqliteodbc") {
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.db").to_str().unwrap().to_owned();
        let text = format!("Driver=SQLite3;Database={path};");
        Some(Self { _dir: dir, dsn: format!("odbc://{path}?driver=SQLite3"), text })
    }

    fn run(&self, sql: &str) {
        let connection =
            environment().unwrap().connect_with_connection_string(&self.text, ConnectionOptions::default());
        for statement in sql.split(";\n").filter(|statement| !statement.trim().is_empty()) {
            connection.as_ref().unwrap().execute(statement, (), None).unwrap();
        }
    }
}

#[derive(Default)]
struct Read {
    batches: Vec<TableBatch>,
    rejects: Vec<Reject>,
    position: Option<SplitPosition>,
}

impl Read {
    fn rows(&self) -> usize {
        self.batches.iter().map(TableBatch::rows).sum()
    }

    fn column(&self, name: &str) -> Vec<String> {
        let values = |batch: &TableBatch| -> Vec<String> {
            (0..batch.rows()).map(|row| batch.row(row).get(name).unwrap().to_string()).collect()
        };
        self.batches.iter().flat_map(values).collect()
    }

    fn types(&self) -> Vec<String> {
        let columns = self.batches[0].schema().columns();
        columns.iter().map(|column| column.data_type().to_string()).collect()
    }

    fn sorted(&self, name: &str) -> Vec<i64> {
        let mut all: Vec<i64> = self.column(name).iter().map(|text| text.parse().unwrap()).collect();
        all.sort_unstable();
        all
    }
}

async fn read_from(
    source: &dyn DynSource,
    split: &Split,
    at: Option<&SplitPosition>,
    most: usize,
) -> Result<Read> {
    let mut reader = source.open(split, at).await?;
    let mut read = Read::default();
    while read.batches.len() < most {
        let Some(batch) = reader.next().await? else { break };
        read.batches.extend(batch.decoded.batches);
        read.rejects.extend(batch.decoded.rejects);
        read.position = Some(batch.position);
    }
    Ok(read)
}

async fn read(dsn: &str) -> Result<Read> {
    let source = source(dsn)?;
    let mut all = Read::default();
    for split in source.splits(2, &[]).await? {
        let read = read_from(source.as_ref(), &split, None, usize::MAX).await?;
        all.batches.extend(read.batches);
        all.rejects.extend(read.rejects);
    }
    Ok(all)
}

fn error_of<T>(result: Result<T>) -> Error {
    match result {
        Ok(_) => panic!("this should have failed"),
        Err(error) => error,
    }
}

/// Type, value as SQL, the type it is here, the value as text here.
type Case = (&'static str, &'static str, &'static str, &'static str);

/// Reads one row of values and one of nulls, each way of fetching.
async fn check(dsn: &str, cases: &[Case]) {
    for fetch in ["auto", "rows"] {
        let read = read(&format!("{dsn}&table=odd.name&fetch={fetch}").replace("odd.name", "%22odd.name%22"))
            .await
            .unwrap();
        assert!(read.rejects.is_empty(), "{:?}", read.rejects);
        assert_eq!(read.batches[0].table().to_string(), "odd.name");
        for (at, (sql, _, data_type, expected)) in cases.iter().enumerate() {
            assert_eq!(read.types()[at], *data_type, "{sql}");
            assert_eq!(read.column(&format!("c {at}")), [*expected, "null"], "{sql} {fetch}");
        }
    }
}

/// Statements that make the table of [`check`], with names between `quote`.
fn table(cases: &[Case], quote: char) -> [String; 2] {
    let name = |at: usize| format!("{quote}c {at}{quote}");
    let columns: Vec<_> = cases.iter().enumerate().map(|(at, (t, ..))| format!("{} {t}", name(at))).collect();
    let values: Vec<_> = cases.iter().map(|(_, sql, ..)| *sql).collect();
    let nulls = vec!["NULL"; cases.len()].join(", ");
    let table = format!("{quote}odd.name{quote}");
    [
        format!("CREATE TABLE {table} ({})", columns.join(", ")),
        format!("INSERT INTO {table} VALUES ({}), ({nulls})", values.join(", ")),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn postgresqls_types() {
    let Some(server) = PgServer::shared() else { return };
    let db = server.create_database();
    let Some(dsn) = postgres(server, &db) else { return };
    let cases: &[Case] = &[
        ("smallint", "-32768", "i16", "-32768"),
        ("integer", "2147483647", "i32", "2147483647"),
        ("bigint", "-9223372036854775808", "i64", "-9223372036854775808"),
        ("real", "0.1", "f32", "0.1"),
        ("double precision", "0.1", "f64", "0.1"),
        ("numeric(12,3)", "-0.5", "numeric(12,3)", "-0.500"),
        (
            "numeric(70,10)",
            "123456789012345678901234567890.0123456789",
            "numeric(70,10)",
            "123456789012345678901234567890.0123456789",
        ),
        (
            "numeric",
            "1234567890123456789012345678901234567890.123456789",
            "numeric",
            "1234567890123456789012345678901234567890.123456789",
        ),
        ("boolean", "true", "bool", "true"),
        ("char(5)", "'ab'", "char(5)", "ab   "),
        ("varchar(20)", "'naïve 😀'", "varchar(20)", "naïve 😀"),
        ("text", "'it''s \\'", "text", "it's \\"),
        ("bytea", "'\\x00ff'", "bytes", "\\x00ff"),
        ("date", "'2024-02-29'", "date", "2024-02-29"),
        ("time", "'23:59:59.999999'", "time(us)", "23:59:59.999999"),
        ("timestamp", "'0001-01-01 00:00:00.000001'", "timestamp(us)", "0001-01-01T00:00:00.000001"),
        ("timestamptz", "'2024-01-01 00:00:00.5+02'", "timestamptz(us)", "2023-12-31T22:00:00.500000Z"),
        ("uuid", "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'", "uuid", "\\xa0eebc999c0b4ef8bb6d6bb9bd380a11"),
        ("jsonb", "'{\"a\": [1, null]}'", "jsonb", "{\"a\": [1, null]}"),
    ];
    for statement in table(cases, '"') {
        server.psql(&db, &statement);
    }
    check(&dsn, cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadbs_types() {
    let Some(server) = MariaServer::shared() else { return };
    let db = server.create_database();
    let Some(dsn) = maria(server, &db) else { return };
    let cases: &[Case] = &[
        ("tinyint", "-128", "i8", "-128"),
        ("tinyint unsigned", "255", "u8", "255"),
        ("smallint unsigned", "65535", "u16", "65535"),
        ("int", "-2147483648", "i32", "-2147483648"),
        ("int unsigned", "4294967295", "u32", "4294967295"),
        ("bigint", "-9223372036854775808", "i64", "-9223372036854775808"),
        ("bigint unsigned", "18446744073709551615", "u64", "18446744073709551615"),
        ("float", "1.5", "f32", "1.5"),
        ("double", "0.1", "f64", "0.1"),
        ("decimal(10,2)", "-12345678.9", "numeric(10,2)", "-12345678.90"),
        (
            "decimal(60,20)",
            "1234567890123456789012345678901234567890.5",
            "numeric(60,20)",
            "1234567890123456789012345678901234567890.50000000000000000000",
        ),
        ("char(4)", "'ab'", "char(4)", "ab"),
        ("varchar(20) CHARACTER SET utf8mb4", "'naïve 😀'", "varchar(20)", "naïve 😀"),
        ("longtext", "'it''s'", "text", "it's"),
        ("varbinary(9)", "x'00ff'", "bytes", "\\x00ff"),
        ("longblob", "x'00'", "bytes", "\\x00"),
        ("date", "'2024-02-29'", "date", "2024-02-29"),
        ("datetime(6)", "'1000-01-01 00:00:00.000001'", "timestamp(us)", "1000-01-01T00:00:00.000001"),
        ("time(6)", "'23:59:59.999999'", "time(us)", "23:59:59.999999"),
    ];
    server.sql(&db, &table(cases, '`').join("; "));
    check(&dsn, cases).await;
    // Dates that are none cost their rows.
    server.sql(&db, "SET sql_mode = ''; CREATE TABLE z (id int PRIMARY KEY, d date, v time); INSERT INTO z VALUES (1, '2024-01-01', '10:00'), (2, '2024-02-00', '10:00'), (3, '2024-01-01', '838:59:59')");
    let read = read(&format!("{dsn}&table=z")).await.unwrap();
    assert_eq!(read.column("id"), ["1"], "{:?}", read.rejects);
    let told: Vec<_> =
        read.rejects.iter().map(|reject| (reject.code.as_str(), reject.position.record)).collect();
    assert_eq!(told, [("date_out_of_range", 2), ("time_out_of_range", 3)]);
    assert!(read.rejects[0].raw.starts_with(b"2, "), "{:?}", read.rejects[0].raw);
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlites_types() {
    let Some(sqlite) = Sqlite::new() else { return };
    let cases: &[Case] = &[
        ("integer", "-9223372036854775808", "i64", "-9223372036854775808"),
        ("bigint", "5", "i64", "5"),
        ("double", "0.1", "f64", "0.1"),
        ("varchar(5)", "'longer than said: naïve ' || char(128512)", "text", "longer than said: naïve 😀"),
        ("text", "'it''s'", "text", "it's"),
        ("blob", "x'00ff'", "bytes", "\\x00ff"),
        ("date", "'2024-02-29'", "date", "2024-02-29"),
    ];
    sqlite.run(&table(cases, '"').join(";\n"));
    check(&sqlite.dsn, cases).await;
}

/// Rows in several pieces, on from behind every batch, by each server.
async fn cut_and_resumed(dsn: &str) {
    let expected: Vec<i64> = (1..=3000).filter(|n| n % 9 > 0).collect();
    for (parameters, pieces) in [
        ("table=t", 1),
        ("table=t&splits=5", 5),
        ("table=t&splits=4&split_by=grp", 4),
        ("table=t&fetch=rows&splits=2", 2),
        ("table=words", 1),
        ("table=words&splits=3&split_by=id", 3),
        ("query=SELECT id, name FROM words WHERE id > 0&split_by=id&splits=3", 3),
    ] {
        let dsn = format!("{dsn}&{parameters}&batch_rows=700");
        let first = source(&dsn).unwrap();
        let splits = first.splits(2, &[]).await.unwrap();
        assert_eq!(splits.len(), pieces, "{dsn}");
        let mut whole = Read::default();
        for split in &splits {
            whole.batches.extend(read_from(first.as_ref(), split, None, usize::MAX).await.unwrap().batches);
        }
        assert_eq!(whole.sorted("id"), expected, "{dsn}");
        // By a source that knows nothing but the splits.
        let again = source(&dsn).unwrap();
        assert_eq!(again.splits(1, &splits).await.unwrap(), splits);
        let mut all = Read::default();
        for split in &splits {
            let (mut at, mut guard) = (None, 0);
            loop {
                let read = read_from(again.as_ref(), split, at.as_ref(), 1).await.unwrap();
                if read.rows() == 0 {
                    break;
                }
                at = read.position;
                all.batches.extend(read.batches);
                guard += 1;
                assert!(guard < 50, "{dsn}");
            }
        }
        assert_eq!(all.sorted("id"), expected, "resumed {dsn}");
    }
    // Without a key there is no reading on from the middle, and one with doubles is found out.
    let loose = source(&format!("{dsn}&query=SELECT id FROM t ORDER BY id")).unwrap();
    let splits = loose.splits(1, &[]).await.unwrap();
    assert!(!splits[0].resumable && loose.notes().iter().any(|note| note.contains("split_by=")));
    assert_eq!(
        read_from(loose.as_ref(), &splits[0], None, 9).await.unwrap().column("id").len(),
        expected.len()
    );
    let error = error_of(read(&format!("{dsn}&query=SELECT grp FROM t WHERE grp > 2&split_by=grp")).await);
    assert!(error.to_string().contains("has a value twice"), "{error}");
    // A table without rows is told of, too.
    let empty = read(&format!("{dsn}&table=empty")).await.unwrap();
    assert_eq!((empty.batches.len(), empty.rows()), (1, 0));
    assert_eq!(empty.batches[0].schema().key(), ["b", "a"]);
    // All tables, but one.
    let tables = source(&format!("{dsn}&tables=*&exclude=empty")).unwrap();
    tables.splits(1, &[]).await.unwrap();
    let mut names: Vec<_> = tables.tables().iter().map(|(table, _)| table.to_string()).collect();
    names.sort();
    assert_eq!(names, ["t", "words"]);
    for (parameters, kind, words) in [
        ("table=nope", ErrorKind::NotFound, "there is no table nope"),
        ("table=t&columns=absent", ErrorKind::Schema, "absent"),
        ("query=SELEC 1", ErrorKind::Schema, "SELEC"),
        ("table=words&split_by=name&splits=3", ErrorKind::Config, "no column of numbers"),
        ("", ErrorKind::Config, "does not say what to read"),
    ] {
        let error = error_of(read(&format!("{dsn}&{parameters}")).await);
        let same = error.kind() == kind || (kind == ErrorKind::Schema && error.kind() == ErrorKind::Server);
        assert!(same, "{parameters}: {:?} {error}", error.kind());
        assert!(error.report().contains(words), "{parameters}: {}", error.report());
    }
    // Expressions and conditions.
    let some = read(&format!("{dsn}&table=t&columns=9001 as id,id as n&where=id <= 3 OR id = 7 -- few"))
        .await
        .unwrap();
    assert_eq!(
        (some.column("n"), some.column("id")),
        (["1", "2", "3", "7"].map(String::from).to_vec(), vec!["9001".to_owned(); 4])
    );
}

const SCHEMA: &str = "CREATE TABLE t (id int NOT NULL PRIMARY KEY, grp int, name varchar(40));\n\
                      CREATE TABLE words (k varchar(40) NOT NULL, n int NOT NULL, id int, name varchar(9), PRIMARY KEY (k, n));\n\
                      CREATE TABLE empty (a int NOT NULL, b int NOT NULL, PRIMARY KEY (b, a))";

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_is_cut_and_read_on() {
    let Some(server) = PgServer::shared() else { return };
    let db = server.create_database();
    let Some(dsn) = postgres(server, &db) else { return };
    server.psql(&db, SCHEMA);
    server.psql(&db, "INSERT INTO t SELECT n, nullif(n % 10, 7), 'n' || n FROM generate_series(1, 3000) n WHERE n % 9 > 0; INSERT INTO words SELECT E'É\\\\''' || id % 50, id, id, 'w' FROM t; COMMENT ON COLUMN t.id IS 'the key'");
    cut_and_resumed(&dsn).await;
    let wrong = dsn.replace(&encoded(server.password()), "h1dden");
    let error = error_of(read(&format!("{wrong}&table=t")).await);
    assert_eq!(error.kind(), ErrorKind::Auth, "{error}");
    assert!(!format!("{error:?}{}", error.report()).contains("h1dden"));
    let gone = dsn.replace("PostgreSQL%20Unicode", "No%20Such");
    let error = error_of(read(&format!("{gone}&table=t")).await);
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    assert!(error.hint().unwrap().contains("PostgreSQL Unicode"), "{}", error.report());
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_is_cut_and_read_on() {
    let Some(server) = MariaServer::shared() else { return };
    let db = server.create_database();
    let Some(dsn) = maria(server, &db) else { return };
    server.sql(&db, SCHEMA);
    server.sql(&db, "INSERT INTO t SELECT seq, NULLIF(seq % 10, 7), CONCAT('n', seq) FROM seq_1_to_3000 WHERE seq % 9 > 0; INSERT INTO words SELECT CONCAT('É\\\\''', id % 50), id, id, 'w' FROM t");
    cut_and_resumed(&dsn).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_is_cut_and_read_on() {
    let Some(sqlite) = Sqlite::new() else { return };
    sqlite.run(SCHEMA);
    sqlite.run("INSERT INTO t WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 3000) SELECT n, nullif(n % 10, 7), 'n' || n FROM s WHERE n % 9 > 0;\nINSERT INTO words SELECT 'É\\''' || id % 50, id, id, 'w' FROM t");
    cut_and_resumed(&sqlite.dsn).await;
}

/// Values of any length; where blocks are forced and a value is longer than the driver said, the rest comes row by row.
#[tokio::test(flavor = "multi_thread")]
async fn long_values_are_whole() {
    let Some(sqlite) = Sqlite::new() else { return };
    sqlite.run("CREATE TABLE t (id integer PRIMARY KEY, v varchar(5), w varchar(5));\nINSERT INTO t WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 500) SELECT n, 'ab', CASE n WHEN 300 THEN hex(zeroblob(1500000)) ELSE 'x' END FROM s");
    for fetch in ["auto", "blocks"] {
        let read = read(&format!("{}&table=t&fetch={fetch}&batch_rows=100", sqlite.dsn)).await.unwrap();
        assert_eq!(read.sorted("id"), (1..=500).collect::<Vec<i64>>(), "{fetch}");
        let lengths: usize = read.column("w").iter().map(String::len).sum();
        assert_eq!(lengths, 499 + 3_000_000, "{fetch}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_restarted_is_read_on() {
    let Some(server) = PgServer::start() else { return };
    let db = server.create_database();
    let Some(dsn) = postgres(&server, &db) else { return };
    server.psql(&db, "CREATE TABLE t (id int PRIMARY KEY, v varchar(2000)); INSERT INTO t SELECT n, repeat('x', 2000) FROM generate_series(1, 20000) n");
    let source = source(&format!("{dsn}&table=t&batch_rows=500")).unwrap();
    let splits = source.splits(1, &[]).await.unwrap();
    let mut reader = source.open(&splits[0], None).await.unwrap();
    let first = reader.next().await.unwrap().unwrap();
    server.stop_immediately();
    let error = loop {
        match reader.next().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the server was stopped"),
            Err(error) => break error,
        }
    };
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::Backoff), "{error}");
    server.restart();
    let mut all = Read { batches: first.decoded.batches, ..Read::default() };
    let rest = read_from(source.as_ref(), &splits[0], Some(&first.position), usize::MAX).await.unwrap();
    all.batches.extend(rest.batches);
    assert_eq!(all.sorted("id"), (1..=20000).collect::<Vec<i64>>());
}
