//! Against a real server.

use std::collections::BTreeSet;

use kwsync_core::config::{OpenOptions, Registry};
use kwsync_core::system::postgres::wire::ConnectConfig;
use kwsync_core::testkit::PgServer;
use kwsync_core::{
    DynSource, Error, ErrorKind, Reader, Reject, Result, Source, Split, SplitPosition, TableBatch, Value,
};

use super::*;

fn options(server: &PgServer, db: &str) -> PostgresSourceOptions {
    let connect = ConnectConfig::new("127.0.0.1", server.port(), server.superuser(), db);
    PostgresSourceOptions::new(connect.with_password(server.password().into()))
}

fn source(server: &PgServer, db: &str, parameters: &str) -> Result<Box<dyn DynSource>> {
    let mut registry = Registry::new();
    register(&mut registry);
    let dsn = format!("{}?{parameters}", server.dsn(db)).parse()?;
    registry.source(&dsn, &OpenOptions::new())
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

    /// The values of a column, as text.
    fn column(&self, name: &str) -> Vec<String> {
        let values = |batch: &TableBatch| -> Vec<String> {
            (0..batch.rows()).map(|row| batch.row(row).get(name).unwrap().to_string()).collect()
        };
        self.batches.iter().flat_map(values).collect()
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

async fn read_all(source: &dyn DynSource, splits: &[Split]) -> Result<Read> {
    let mut all = Read::default();
    for split in splits {
        let read = read_from(source, split, None, usize::MAX).await?;
        all.batches.extend(read.batches);
        all.rejects.extend(read.rejects);
    }
    Ok(all)
}

fn sorted(read: &Read, column: &str) -> Vec<i64> {
    let mut all: Vec<i64> = read.column(column).iter().map(|text| text.parse().unwrap()).collect();
    all.sort_unstable();
    all
}

fn numbers(range: std::ops::RangeInclusive<i64>) -> Vec<i64> {
    range.collect()
}

fn error_of<T>(result: Result<T>) -> Error {
    match result {
        Ok(_) => panic!("this should have failed"),
        Err(error) => error,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_is_read() {
    let Some(server) = PgServer::shared() else { return };
    let db = server.create_database();
    server.psql(&db, "CREATE TYPE mood AS ENUM ('sad', 'fine'); CREATE DOMAIN small AS integer CHECK (value < 100); CREATE TYPE pair AS (a int, b text)");
    // Type, values as SQL, what they are as text here.
    let cases: &[(&str, &str, &str)] = &[
        ("boolean", "true", "true"),
        ("smallint", "-32768", "-32768"),
        ("integer", "2147483647", "2147483647"),
        ("bigint", "-9223372036854775808", "-9223372036854775808"),
        ("oid", "4294967295", "4294967295"),
        ("real", "1.5", "1.5"),
        ("double precision", "0.1", "0.1"),
        ("numeric", "123456789012345678901234567890.000000001", "123456789012345678901234567890.000000001"),
        ("numeric(10,2)", "-12345678.9", "-12345678.90"),
        ("money", "-12.34", "-12.34"),
        ("char(4)", "'ab'", "ab  "),
        ("varchar(20)", "'naïve'", "naïve"),
        ("text", "'it''s'", "it's"),
        ("name", "'n'", "n"),
        ("bytea", "'\\x00ff'", "\\x00ff"),
        ("date", "'2024-02-29'", "2024-02-29"),
        ("time", "'23:59:59.999999'", "23:59:59.999999"),
        ("timetz", "'12:30:00+02'", "12:30:00+02"),
        ("timestamp", "'1969-12-31 23:59:59.5'", "1969-12-31T23:59:59.500000"),
        ("timestamptz", "'2024-01-01 00:00:00+01'", "2023-12-31T23:00:00.000000Z"),
        ("interval", "'1 mon 2 days 3 hours'", "1 mons 2 days 10800000000000 ns"),
        ("json", "'{\"a\": 1}'", "{\"a\": 1}"),
        ("jsonb", "'{\"a\":1}'", "{\"a\": 1}"),
        ("uuid", "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'", "\\xa0eebc999c0b4ef8bb6d6bb9bd380a11"),
        ("inet", "'10.0.0.1/8'", "10.0.0.1/8"),
        ("cidr", "'10.0.0.0/8'", "10.0.0.0/8"),
        ("macaddr", "'08:00:2b:01:02:03'", "08:00:2b:01:02:03"),
        ("macaddr8", "'08:00:2b:01:02:03:04:05'", "08:00:2b:01:02:03:04:05"),
        ("bit(3)", "'101'", "101"),
        ("varbit(8)", "'1011'", "1011"),
        ("xml", "'<a/>'", "<a/>"),
        ("integer[]", "'{1,NULL,3}'", "{1,null,3}"),
        ("text[]", "'{a,\"b c\"}'", "{a,b c}"),
        ("mood", "'fine'", "fine"),
        ("small", "7", "7"),
        // As their text.
        ("int4range", "'[1,5)'", "[1,5)"),
        ("point", "'(1,2)'", "(1,2)"),
        ("tsvector", "'fat cat'", "'cat' 'fat'"),
        ("pair", "'(1,x)'", "(1,x)"),
        ("tid", "'(3,4)'", "(3,4)"),
        ("mood[]", "'{sad,fine}'", "{sad,fine}"),
        ("int4range[]", "'{\"[1,2)\"}'", "{\"[1,2)\"}"),
        ("interval year to month", "'1 year'", "1 year"),
    ];
    let columns: Vec<_> = cases.iter().enumerate().map(|(at, (t, ..))| format!("c{at} {t}")).collect();
    let values: Vec<_> = cases.iter().map(|(_, sql, _)| *sql).collect();
    server.psql(&db, &format!("CREATE TABLE \"Odd.name\" ({})", columns.join(", ")));
    let nulls = vec!["NULL"; cases.len()].join(", ");
    server.psql(&db, &format!("INSERT INTO \"Odd.name\" VALUES ({}), ({nulls})", values.join(", ")));

    for fetch in ["copy", "select"] {
        let source = source(server, &db, &format!("table=\"Odd.name\"&fetch={fetch}")).unwrap();
        let splits = source.splits(1, &[]).await.unwrap();
        assert_eq!(splits.len(), 1);
        let read = read_all(source.as_ref(), &splits).await.unwrap();
        assert!(read.rejects.is_empty(), "{:?}", read.rejects);
        assert_eq!(read.batches[0].table().to_string(), "Odd.name");
        for (at, (pg_type, _, expected)) in cases.iter().enumerate() {
            let got = read.column(&format!("c{at}"));
            assert_eq!(got, [*expected, "null"], "{pg_type} by {fetch}");
        }
        let notes = source.notes();
        for text in ["int4range", "point", "tsvector", "pair", "tid", "interval year to month"] {
            assert!(
                notes.iter().any(|note| note.contains(&format!("is {text}, which is read as its text"))),
                "{text}: {notes:?}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_counterpart_is_a_reject_of_its_row_alone() {
    let Some(server) = PgServer::shared() else { return };
    let db = server.create_database();
    server.psql(&db, "CREATE TABLE t (id int PRIMARY KEY, n numeric(5,1), d date, ts timestamptz, a int[])");
    server.psql(&db, "INSERT INTO t VALUES (1, 1, '2024-01-01', now(), '{1}'), (2, 'NaN', '2024-01-01', now(), '{1}'), (3, 1, 'infinity', now(), '{1}'), (4, 1, '2024-01-01', '-infinity', '{1}'), (5, 1, '2024-01-01', now(), '{{1},{2}}'), (6, 2, '2024-01-01', now(), '[0:1]={1,2}')");
    let source = source(server, &db, "table=t").unwrap();
    let read = read_all(source.as_ref(), &source.splits(1, &[]).await.unwrap()).await.unwrap();
    assert_eq!(read.column("id"), ["1"]);
    let codes: Vec<_> = read.rejects.iter().map(|reject| reject.code.as_str()).collect();
    assert_eq!(codes, ["numeric_nan", "infinite_time", "infinite_time", "array_dimensions", "array_bounds"]);
    // Read as text, all of them come.
    let source = super::tests::source(
        server,
        &db,
        "table=t&columns=id,n::text,d::text as d,ts::text as ts,a::text as a",
    )
    .unwrap();
    let read = read_all(source.as_ref(), &source.splits(1, &[]).await.unwrap()).await.unwrap();
    assert_eq!((read.rows(), read.rejects.len()), (6, 0));
    assert_eq!(read.column("n")[1], "NaN");
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_carry_keys_nulls_and_comments() {
    let Some(server) = PgServer::shared() else { return };
    let db = server.create_database();
    server.psql(&db, "CREATE TABLE t (a text NOT NULL, b int, c varchar(7), PRIMARY KEY (b, a)); COMMENT ON COLUMN t.c IS 'the third'");
    let source = source(server, &db, "table=t").unwrap();
    let read = read_all(source.as_ref(), &source.splits(1, &[]).await.unwrap()).await.unwrap();
    // A table without rows is told of, too.
    assert_eq!((read.batches.len(), read.rows()), (1, 0));
    let schema = read.batches[0].schema();
    assert_eq!(schema.key(), ["b", "a"]);
    let nullable: Vec<_> = schema.columns().iter().map(|column| column.is_nullable()).collect();
    assert_eq!(nullable, [false, false, true]);
    assert_eq!(schema.column("c").unwrap().comment(), Some("the third"));
    assert_eq!(schema.column("c").unwrap().data_type().to_string(), "varchar(7)");
}

/// Every way of cutting gives every row once, and so does reading on from behind any batch.
#[tokio::test(flavor = "multi_thread")]
async fn all_ways_of_cutting_give_every_row_once() {
    let Some(server) = PgServer::shared() else { return };
    let db = server.create_database();
    server.psql(&db, "CREATE TABLE t (id int PRIMARY KEY, k text UNIQUE NOT NULL, grp int, pad text)");
    server.psql(&db, "INSERT INTO t SELECT n, md5(n::text), nullif(n % 10, 7), repeat('x', 100) FROM generate_series(-5000, 4999) n ORDER BY random(); DELETE FROM t WHERE id % 9 = 0; ANALYZE t");
    let expected: Vec<i64> = (-5000..5000).filter(|n| n % 9 != 0).collect();
    for (parameters, kind) in [
        ("splits=1&split=key", "key"),
        ("splits=7&split=key", "key"),
        ("splits=7&split=ctid", "ctid"),
        ("splits=1&split=ctid", "ctid"),
        ("splits=5&split_by=k", "key"),
        ("splits=4&split_by=grp", "ctid"),
        ("split_rows=3000", "key"),
        ("split=none&where=true", "key"),
        ("splits=7&split=ctid&fetch=select", "ctid"),
    ] {
        let source = source(server, &db, &format!("table=t&batch_rows=500&{parameters}")).unwrap();
        let splits = source.splits(2, &[]).await.unwrap();
        let wanted = parameters.strip_prefix("splits=").and_then(|rest| rest.split("&").next()?.parse().ok());
        assert_eq!(
            splits.len(),
            wanted.unwrap_or(if parameters.starts_with("split_rows") { 3 } else { 1 }),
            "{parameters}: {splits:?}"
        );
        let order = serde_json::to_string(&splits[0].spec["order"]).unwrap();
        assert!(order.contains(kind), "{parameters}: {order}");
        let read = read_all(source.as_ref(), &splits).await.unwrap();
        assert_eq!(sorted(&read, "id"), expected, "{parameters}");

        // On from behind every batch, by a source that knows nothing but the splits.
        let again =
            super::tests::source(server, &db, &format!("table=t&batch_rows=500&{parameters}")).unwrap();
        let known = again.splits(1, &splits).await.unwrap();
        assert_eq!(known, splits);
        let mut all = Read::default();
        for split in &known {
            let (mut at, mut guard) = (None, 0);
            loop {
                let read = read_from(again.as_ref(), split, at.as_ref(), 1).await.unwrap();
                if read.rows() == 0 {
                    break;
                }
                at = read.position;
                all.batches.extend(read.batches);
                guard += 1;
                assert!(guard < 50, "{parameters}");
            }
        }
        assert_eq!(sorted(&all, "id"), expected, "resumed {parameters}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_columns_and_queries() {
    let Some(server) = PgServer::shared() else { return };
    let db = server.create_database();
    server.psql(&db, "CREATE TABLE t (id int PRIMARY KEY, name text); INSERT INTO t SELECT n, 'n' || n FROM generate_series(1, 100) n; CREATE VIEW v AS SELECT id, upper(name) AS name FROM t");
    let read = async |parameters: &str| -> Result<(Read, Vec<String>)> {
        let source = source(server, &db, parameters)?;
        let splits = source.splits(2, &[]).await?;
        Ok((read_all(source.as_ref(), &splits).await?, source.notes()))
    };
    let (rows, _) = read(
        "table=t&columns=9001 as site, id as n,coalesce(name, 'a,b') as name&where=id <= 3 OR id = 7 -- few",
    )
    .await
    .unwrap();
    assert_eq!(rows.column("n"), ["1", "2", "3", "7"]);
    assert_eq!(rows.column("site"), ["9001"; 4]);
    assert_eq!(rows.column("name")[3], "n7");
    // DataX's names for the same.
    let (rows, _) = read("table=t&column=id&where=id < 3&splitPk=id&splits=2").await.unwrap();
    assert_eq!(sorted(&rows, "id"), [1, 2]);
    let (rows, notes) = read("querySql=SELECT id, name FROM t WHERE id > 90;&table=late").await.unwrap();
    assert_eq!((rows.rows(), rows.batches[0].table().name()), (10, "late"));
    assert!(notes[0].contains("in one piece"), "{notes:?}");
    let (rows, _) = read("query=SELECT id * 2 AS id FROM t&split_by=id&splits=4").await.unwrap();
    assert_eq!(sorted(&rows, "id"), (1..=100).map(|n| n * 2).collect::<Vec<_>>());
    let (rows, notes) = read("table=v").await.unwrap();
    assert_eq!(rows.rows(), 100);
    assert!(notes[0].contains("no table of its own"), "{notes:?}");
    let (rows, _) = read("table=v&split_by=id&splits=3").await.unwrap();
    assert_eq!(sorted(&rows, "id"), numbers(1..=100));

    for (parameters, kind, words) in [
        ("table=nope", ErrorKind::NotFound, "there is no table nope to read"),
        ("tables=x_*", ErrorKind::NotFound, "no table is called as x_* says"),
        ("table=t&columns=id,absent", ErrorKind::Schema, "absent"),
        ("table=t&columns=id + 1", ErrorKind::Config, "has no name"),
        ("table=t&columns=id,name as id", ErrorKind::Schema, "two columns are named \"id\""),
        ("table=t&split_by=absent", ErrorKind::Config, "it has id, name"),
        ("query=SELEC 1", ErrorKind::Schema, "syntax error"),
        ("query=SELECT 1 AS a&where=true", ErrorKind::Config, "`where` goes with tables"),
        ("", ErrorKind::Config, "does not say what to read"),
        ("query=SELECT id %25 10 AS d FROM t&split_by=d", ErrorKind::Schema, "twice"),
        (
            "query=SELECT nullif(id, 3) AS d FROM t&split_by=d&splits=2",
            ErrorKind::Schema,
            "is null in some rows",
        ),
    ] {
        let error = error_of(read(parameters).await);
        assert_eq!(error.kind(), kind, "{parameters}: {error}");
        assert!(error.report().contains(words), "{parameters}: {}", error.report());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_tells_where_a_row_is_whatever_is_called_like_it() {
    let Some(server) = PgServer::shared() else { return };
    let db = server.create_database();
    server.psql(&db, "CREATE TABLE s (id smallint PRIMARY KEY, name text); INSERT INTO s SELECT n, 'n' || n FROM generate_series(1, 100) n; CREATE TABLE i (id int PRIMARY KEY, name text); INSERT INTO i SELECT * FROM s; CREATE TABLE b (id bigint PRIMARY KEY, name text); INSERT INTO b SELECT * FROM s; CREATE TABLE v (id varchar(9) COLLATE \"C\" PRIMARY KEY, name text); INSERT INTO v SELECT lpad(id::text, 3, '0'), name FROM s; CREATE TABLE c (id char(9) PRIMARY KEY, name text); INSERT INTO c SELECT * FROM v");
    for table in ["s", "i", "b", "v", "c"] {
        // As it is; beside others; renamed; hidden behind others of its name; not there at all.
        for columns in ["*", "name,id", "name,id as n", "7 as id,name,id as n", "'x' as id,name", "name"] {
            let source = source(server, &db, &format!("table={table}&columns={columns}&split=key")).unwrap();
            let splits = source.splits(1, &[]).await.unwrap();
            let all = read_from(source.as_ref(), &splits[0], None, usize::MAX).await.unwrap();
            let mut names = all.column("name");
            names.sort_unstable_by_key(|name| name.trim_start_matches('n').parse::<i32>().unwrap());
            assert_eq!(names, (1..=100).map(|n| format!("n{n}")).collect::<Vec<_>>(), "{table}, {columns}");
            assert_eq!(all.position, Some(SplitPosition("100".into())), "{table}, {columns}");
            let at = SplitPosition(if matches!(table, "v" | "c") { "097" } else { "97" }.into());
            let rest = read_from(source.as_ref(), &splits[0], Some(&at), usize::MAX).await.unwrap();
            assert_eq!(rest.column("name"), ["n98", "n99", "n100"], "{table}, {columns}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_are_found_by_patterns_and_rows_where_they_lie() {
    let Some(server) = PgServer::shared() else { return };
    let db = server.create_database();
    server.psql(&db, "CREATE SCHEMA other; CREATE TABLE m_a (id int); CREATE TABLE m_b (id int); CREATE TABLE other.m_a (id int); CREATE TABLE x (id int); CREATE VIEW m_v AS SELECT 1 AS id; CREATE TABLE kwsync_checkpoint (id int);
        CREATE TABLE parts (id int, at int, PRIMARY KEY (id, at)) PARTITION BY RANGE (at); CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (10);
        CREATE TABLE parts_2 (at int NOT NULL, gone int, id int NOT NULL); ALTER TABLE parts_2 DROP COLUMN gone; ALTER TABLE parts ATTACH PARTITION parts_2 FOR VALUES FROM (10) TO (20);
        INSERT INTO parts SELECT n, n FROM generate_series(0, 19) n;
        CREATE TABLE base (id int); CREATE TABLE child (extra int) INHERITS (base); INSERT INTO base VALUES (1); INSERT INTO child VALUES (2, 5)");
    let tables = async |parameters: &str| -> (Vec<String>, Read) {
        let source = source(server, &db, parameters).unwrap();
        let splits = source.splits(1, &[]).await.unwrap();
        let read = read_all(source.as_ref(), &splits).await.unwrap();
        let names: BTreeSet<_> = read.batches.iter().map(|batch| batch.table().to_string()).collect();
        (names.into_iter().collect(), read)
    };
    assert_eq!(tables("tables=m_*&schema=public").await.0, ["m_a", "m_b"]);
    assert_eq!(tables("tables=m_*").await.0, ["other.m_a", "public.m_a", "public.m_b"]);
    assert_eq!(tables("tables=*&exclude=m_*,base,child,parts").await.0, ["x"]);
    assert_eq!(tables("tables=x,other.m_a&qualified=never").await.0, ["m_a", "x"]);
    let (names, read) = tables("table=parts").await;
    assert_eq!(names, ["parts"]);
    assert_eq!(sorted(&read, "id"), numbers(0..=19));
    assert_eq!(sorted(&read, "at"), numbers(0..=19));
    assert_eq!(read.batches[0].schema().key(), ["id", "at"]);
    let (_, read) = tables("table=base").await;
    assert_eq!(sorted(&read, "id"), [1, 2]);
}

/// The copy is of one moment, whatever is written while it is made.
#[tokio::test(flavor = "multi_thread")]
async fn all_splits_are_of_one_moment() {
    let Some(server) = PgServer::shared() else { return };
    let db = server.create_database();
    server.psql(&db, "CREATE TABLE a (id int PRIMARY KEY, v int); CREATE TABLE b (id int PRIMARY KEY, v int); INSERT INTO a SELECT n, 0 FROM generate_series(1, 2000) n; INSERT INTO b SELECT * FROM a");
    for split in ["key", "ctid"] {
        let source = source(server, &db, &format!("tables=a,b&splits=3&split={split}")).unwrap();
        let splits = source.splits(3, &[]).await.unwrap();
        assert_eq!(splits.len(), 6);
        let mut all = Read::default();
        for split in &splits {
            server.psql(&db, "BEGIN; UPDATE a SET v = v + 1; UPDATE b SET v = v + 1; COMMIT");
            all.batches.extend(read_from(source.as_ref(), split, None, usize::MAX).await.unwrap().batches);
        }
        assert_eq!(all.rows(), 4000, "{split}");
        let values: BTreeSet<_> = all.column("v").into_iter().collect();
        assert_eq!(values.len(), 1, "{split}: {values:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_was_changed_is_read_on_by_key_and_not_by_place() {
    let Some(server) = PgServer::shared() else { return };
    let db = server.create_database();
    server.psql(&db, "CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t SELECT n, 0 FROM generate_series(1, 3000) n");
    let begin = async |split: &str| {
        let parameters = format!("table=t&splits=2&batch_rows=100&split={split}");
        let source = source(server, &db, &parameters).unwrap();
        let splits = source.splits(2, &[]).await.unwrap();
        let read = read_from(source.as_ref(), &splits[0], None, 3).await.unwrap();
        (parameters, splits, read)
    };
    // Nothing was changed: both go on, in a snapshot of their own.
    for split in ["key", "ctid"] {
        let (parameters, splits, mut read) = begin(split).await;
        let again = source(server, &db, &parameters).unwrap();
        let at = read.position.clone();
        read.batches
            .extend(read_from(again.as_ref(), &splits[0], at.as_ref(), usize::MAX).await.unwrap().batches);
        read.batches.extend(read_from(again.as_ref(), &splits[1], None, usize::MAX).await.unwrap().batches);
        assert_eq!(sorted(&read, "id"), numbers(1..=3000), "{split}");
    }
    let (by_key, key_splits, mut read) = begin("key").await;
    let (by_place, place_splits, _) = begin("ctid").await;
    // A row moves to another place.
    server.psql(&db, "UPDATE t SET v = 1 WHERE id = 2900");
    let again = source(server, &db, &by_key).unwrap();
    let at = read.position.clone();
    read.batches
        .extend(read_from(again.as_ref(), &key_splits[0], at.as_ref(), usize::MAX).await.unwrap().batches);
    read.batches.extend(read_from(again.as_ref(), &key_splits[1], None, usize::MAX).await.unwrap().batches);
    assert_eq!(sorted(&read, "id"), numbers(1..=3000));
    drop(again);
    let again = source(server, &db, &by_place).unwrap();
    let error = error_of(read_from(again.as_ref(), &place_splits[1], None, usize::MAX).await);
    assert!(error.to_string().contains("public.t was changed since the job began"), "{error}");
    assert_eq!(error.retry(), kwsync_core::Retry::Never);
    // What still reads would hold it up.
    drop(again);
    server.psql(&db, "VACUUM FULL t");
    let again = source(server, &db, &by_place).unwrap();
    let error = error_of(read_from(again.as_ref(), &place_splits[1], None, usize::MAX).await);
    assert!(error.to_string().contains("was written anew"), "{error}");
    // Asked for something else, the job is not the same.
    let other = source(server, &db, &format!("{by_key}&where=id > 5")).unwrap();
    assert!(error_of(other.splits(1, &key_splits).await).to_string().contains("another condition"));
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_say_what_and_where() {
    let Some(server) = PgServer::start() else { return };
    let db = server.create_database();
    server.psql(&db, "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT n, repeat('x', 2000) FROM generate_series(1, 20000) n; CREATE TABLE gone (id int); CREATE TABLE shut (id int); CREATE ROLE reader LOGIN PASSWORD 'r'; GRANT SELECT ON t, shut TO reader; CREATE TABLE guarded (id int); ALTER TABLE guarded ENABLE ROW LEVEL SECURITY; GRANT SELECT ON guarded TO reader");
    let as_reader = |parameters: &str| {
        let dsn = format!("postgres://reader:r@127.0.0.1:{}/{db}?{parameters}", server.port());
        let mut registry = Registry::new();
        register(&mut registry);
        registry.source(&dsn.parse().unwrap(), &OpenOptions::new()).unwrap()
    };
    // A table that is dropped, and a right that is taken, between the plan and the reading.
    let dropped = source(&server, &db, "table=gone").unwrap();
    let splits = dropped.splits(1, &[]).await.unwrap();
    drop(dropped);
    server.psql(&db, "DROP TABLE gone");
    let dropped = source(&server, &db, "table=gone").unwrap();
    let error = error_of(read_all(dropped.as_ref(), &splits).await);
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    assert!(error.report().contains("gone") && error.report().contains("--restart"), "{}", error.report());
    let shut = as_reader("table=shut");
    let splits = shut.splits(1, &[]).await.unwrap();
    server.psql(&db, "REVOKE SELECT ON shut FROM reader");
    let error = error_of(read_all(shut.as_ref(), &splits).await);
    assert_eq!((error.kind(), error.code()), (ErrorKind::Permission, Some("42501")), "{error}");
    assert!(error.to_string().contains("cannot read public.shut"), "{error}");
    // Rows that a policy hides are not left out silently.
    let guarded = as_reader("table=guarded");
    let error = error_of(guarded.splits(1, &[]).await).report();
    assert!(error.contains("row-level security") && error.contains("row_security=true"), "{error}");
    let allowed = as_reader("table=guarded&row_security=true");
    assert_eq!(read_all(allowed.as_ref(), &allowed.splits(1, &[]).await.unwrap()).await.unwrap().rows(), 0);

    // The server is restarted in the middle: reading goes on from the last position, in a new snapshot.
    let source =
        PostgresSource::new(options(&server, &db).with_tables(["t"]).unwrap().with_batch(1000, 1 << 20));
    let splits = Source::splits(&source, 1, &[]).await.unwrap();
    let mut reader = Source::open(&source, &splits[0], None).await.unwrap();
    let first = reader.next().await.unwrap().unwrap();
    server.stop_immediately();
    let error = loop {
        match reader.next().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the server was stopped"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert_eq!(error.retry(), kwsync_core::Retry::Backoff);
    server.restart();
    let mut ids: Vec<i64> = Vec::new();
    let mut take = |batches: &[TableBatch]| {
        for batch in batches {
            ids.extend((0..batch.rows()).map(|row| match batch.row(row).get("id").unwrap() {
                Value::Int(id) => id,
                other => panic!("{other}"),
            }));
        }
    };
    take(&first.decoded.batches);
    let mut reader = Source::open(&source, &splits[0], Some(&first.position)).await.unwrap();
    while let Some(batch) = reader.next().await.unwrap() {
        take(&batch.decoded.batches);
    }
    ids.sort_unstable();
    assert_eq!(ids, numbers(1..=20000));
}
