//! Against a real MariaDB.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kwsync_core::config::{OpenOptions, Registry};
use kwsync_core::testkit::MariaServer;
use kwsync_core::{DynSource, Error, ErrorKind, Reject, Result, Split, SplitPosition, TableBatch};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

fn source_at(dsn: &str) -> Result<Box<dyn DynSource>> {
    let mut registry = Registry::new();
    register(&mut registry);
    registry.source(&dsn.parse()?, &OpenOptions::new())
}

fn source(server: &MariaServer, db: &str, parameters: &str) -> Result<Box<dyn DynSource>> {
    source_at(&format!("{}?{parameters}", server.dsn(db)))
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

async fn read_all(source: &dyn DynSource, splits: &[Split]) -> Result<Read> {
    let mut all = Read::default();
    for split in splits {
        let read = read_from(source, split, None, usize::MAX).await?;
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

#[tokio::test(flavor = "multi_thread")]
async fn every_type_is_read() {
    let Some(server) = MariaServer::shared() else { return };
    let db = server.create_database();
    // Type, value as SQL, the type it is here, the value as text here.
    let cases: &[(&str, &str, &str, &str)] = &[
        ("tinyint", "-128", "i8", "-128"),
        ("tinyint unsigned", "255", "u8", "255"),
        ("tinyint(1)", "2", "i8", "2"),
        ("smallint", "-32768", "i16", "-32768"),
        ("smallint unsigned", "65535", "u16", "65535"),
        ("mediumint", "-8388608", "i32", "-8388608"),
        ("mediumint unsigned", "16777215", "u32", "16777215"),
        ("int", "2147483647", "i32", "2147483647"),
        ("int unsigned", "4294967295", "u32", "4294967295"),
        ("bigint", "-9223372036854775808", "i64", "-9223372036854775808"),
        ("bigint unsigned", "18446744073709551615", "u64", "18446744073709551615"),
        ("float", "1.5", "f32", "1.5"),
        ("double", "0.1", "f64", "0.1"),
        ("decimal(10,2)", "-12345678.9", "numeric(10,2)", "-12345678.90"),
        (
            "decimal(65,30)",
            "12345678901234567890123456789012345.123456789012345678901234567891",
            "numeric(65,30)",
            "12345678901234567890123456789012345.123456789012345678901234567891",
        ),
        ("decimal(5,0) unsigned", "99999", "numeric(5,0)", "99999"),
        ("bit(1)", "b'1'", "bit(1)", "1"),
        ("bit(12)", "b'101'", "bit(12)", "000000000101"),
        ("char(4)", "'ab'", "char(4)", "ab"),
        ("varchar(20)", "'naïve 😀'", "varchar(20)", "naïve 😀"),
        ("varchar(20) CHARACTER SET latin1", "'né'", "varchar(20)", "né"),
        ("tinytext", "'t'", "text", "t"),
        ("longtext", "'it''s'", "text", "it's"),
        ("binary(3)", "x'0100'", "bytes", "\\x010000"),
        ("varbinary(9)", "x'00ff'", "bytes", "\\x00ff"),
        ("blob", "x'00'", "bytes", "\\x00"),
        ("enum('a','b''c')", "'b''c'", "text", "b'c"),
        ("set('x','y','z')", "'z,x'", "text", "x,z"),
        ("date", "'2024-02-29'", "date", "2024-02-29"),
        ("datetime", "'1000-01-01 00:00:00'", "timestamp(s)", "1000-01-01T00:00:00"),
        ("datetime(3)", "'9999-12-31 23:59:59.999'", "timestamp(ms)", "9999-12-31T23:59:59.999"),
        ("datetime(6)", "'1969-12-31 23:59:59.5'", "timestamp(us)", "1969-12-31T23:59:59.500000"),
        (
            "timestamp(6) NULL",
            "'2024-01-01 00:00:00.000001'",
            "timestamptz(us)",
            "2024-01-01T00:00:00.000001Z",
        ),
        ("time(6)", "'23:59:59.999999'", "time(us)", "23:59:59.999999"),
        ("year", "1901", "i16", "1901"),
        ("json", "'{\"a\": [1, null]}'", "json", "{\"a\": [1, null]}"),
        ("uuid", "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'", "uuid", "\\xa0eebc999c0b4ef8bb6d6bb9bd380a11"),
        ("inet6", "'::1'", "inet", "::1"),
        ("point", "ST_GeomFromText('POINT(1 2)')", "geometry", "POINT(1 2)"),
    ];
    let columns: Vec<_> = cases.iter().enumerate().map(|(at, (t, ..))| format!("c{at} {t}")).collect();
    let values: Vec<_> = cases.iter().map(|(_, sql, ..)| *sql).collect();
    let nulls = vec!["NULL"; cases.len()].join(", ");
    server.sql(&db, &format!("SET time_zone = '+00:00'; CREATE TABLE `odd.name` ({}); INSERT INTO `odd.name` VALUES ({}), ({nulls})", columns.join(", "), values.join(", ")));
    let source = source(server, &db, "table=`odd.name`").unwrap();
    let read = read_all(source.as_ref(), &source.splits(1, &[]).await.unwrap()).await.unwrap();
    assert!(read.rejects.is_empty(), "{:?}", read.rejects);
    assert_eq!(read.batches[0].table().to_string(), "odd.name");
    for (at, (sql, _, data_type, expected)) in cases.iter().enumerate() {
        let name = format!("c{at}");
        assert_eq!(
            read.batches[0].schema().column(&name).unwrap().data_type().to_string(),
            *data_type,
            "{sql}"
        );
        assert_eq!(read.column(&name), [*expected, "null"], "{sql}");
    }
    let notes = source.notes().join("\n");
    for words in ["is set('x','y','z'), which is read as text", "as WKT", "cannot be read on from the middle"]
    {
        assert!(notes.contains(words), "{words}: {notes}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn values_without_a_counterpart_are_told() {
    let Some(server) = MariaServer::shared() else { return };
    let db = server.create_database();
    server.sql(&db, "SET sql_mode = ''; CREATE TABLE t (id int PRIMARY KEY, d date, ts datetime NOT NULL, v time(1)); INSERT INTO t VALUES (1, '2024-01-01', '2024-01-01', '10:00'), (2, '0000-00-00', '2024-01-01', '10:00'), (3, '2024-02-00', '2024-01-01', '10:00'), (4, '2024-01-01', 0, '10:00'), (5, '2024-01-01', '2024-01-01', '838:59:59'), (6, '2024-01-01', '2024-01-01', '-00:00:00.5')");
    let read = async |parameters: &str| {
        let source = source(server, &db, parameters).unwrap();
        read_all(source.as_ref(), &source.splits(1, &[]).await.unwrap()).await.unwrap()
    };
    let told = read("table=t").await;
    assert_eq!(told.column("id"), ["1"]);
    let codes: Vec<_> = told.rejects.iter().map(|reject| reject.code.as_str()).collect();
    assert_eq!(codes, ["zero_date", "zero_date", "zero_date", "time_out_of_range", "time_out_of_range"]);
    assert_eq!(told.rejects[0].position.record, 2);
    assert!(told.rejects[0].raw.starts_with(b"2, '0000-00-00'"), "{:?}", told.rejects[0].raw);
    let nulls = read("table=t&zero_dates=null&time_as=text").await;
    assert_eq!((nulls.rows(), nulls.rejects.len()), (6, 0));
    assert_eq!(nulls.column("d")[1..3], ["null", "null"]);
    assert_eq!(nulls.column("ts")[3], "null");
    assert_eq!(nulls.column("v")[4..], ["838:59:59", "-00:00:00.5"]);
    let spans = read("table=t&zero_dates=null&time_as=interval").await;
    assert_eq!(spans.column("v")[5], "0 mons 0 days -500000000 ns");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_ways_of_cutting_give_every_row_once() {
    let Some(server) = MariaServer::shared() else { return };
    let db = server.create_database();
    server.sql(&db, "CREATE TABLE t (id int PRIMARY KEY, grp int); INSERT INTO t SELECT seq, IF(seq % 10 = 7, NULL, seq % 10) FROM seq_1_to_9000 WHERE seq % 9 > 0; CREATE TABLE words (k varchar(40) CHARACTER SET latin1 NOT NULL, n int NOT NULL, id int, UNIQUE (k, n)); INSERT INTO words SELECT CONCAT('É\\'', id % 50), id, id FROM t; CREATE TABLE big (id bigint unsigned PRIMARY KEY); INSERT INTO big VALUES (0), (9007199254740993), (9007199254740994), (18446744073709551615); CREATE TABLE loose (id int); INSERT INTO loose SELECT id FROM t");
    let expected: Vec<i64> = (1..=9000).filter(|n| n % 9 > 0).collect();
    for (parameters, pieces) in [
        ("table=t&splits=1", 1),
        ("table=t&splits=7", 7),
        ("table=t&splits=4&split_by=grp", 4),
        ("table=words", 1),
        ("table=words&splits=3&split_by=id", 3),
    ] {
        let source = source(server, &db, &format!("{parameters}&batch_rows=700")).unwrap();
        let splits = source.splits(2, &[]).await.unwrap();
        assert_eq!(splits.len(), pieces, "{parameters}");
        assert_eq!(read_all(source.as_ref(), &splits).await.unwrap().sorted("id"), expected, "{parameters}");
        // On from behind every batch, by a source that knows nothing but the splits.
        let again = super::tests::source(server, &db, &format!("{parameters}&batch_rows=700")).unwrap();
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
                assert!(guard < 50, "{parameters}");
            }
        }
        assert_eq!(all.sorted("id"), expected, "resumed {parameters}");
    }
    let big = source(server, &db, "table=big&splits=3&batch_rows=1").unwrap();
    let read = read_all(big.as_ref(), &big.splits(1, &[]).await.unwrap()).await.unwrap();
    assert_eq!(read.column("id"), ["0", "9007199254740993", "9007199254740994", "18446744073709551615"]);
    let loose = source(server, &db, "table=loose&splits=2&split_by=id").unwrap();
    let splits = loose.splits(1, &[]).await.unwrap();
    assert!(!splits[0].resumable);
    assert_eq!(read_all(loose.as_ref(), &splits).await.unwrap().sorted("id"), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_tells_where_a_row_is_whatever_is_called_like_it() {
    let Some(server) = MariaServer::shared() else { return };
    let db = server.create_database();
    server.sql(&db, "CREATE TABLE t (b int, a varchar(9), name varchar(9), PRIMARY KEY (b, a)); INSERT INTO t SELECT seq, CONCAT('a', 100 - seq), CONCAT('n', seq) FROM seq_1_to_100 ORDER BY RAND()");
    for columns in
        ["*", "name,b", "name,b as n,a", "7 as b,name,b as n", "-b as a,name", "'x' as b,name", "name"]
    {
        let source = source(server, &db, &format!("table=t&columns={columns}")).unwrap();
        let splits = source.splits(1, &[]).await.unwrap();
        let all = read_from(source.as_ref(), &splits[0], None, usize::MAX).await.unwrap();
        assert_eq!(all.column("name"), (1..=100).map(|n| format!("n{n}")).collect::<Vec<_>>(), "{columns}");
        let position = all.position.unwrap();
        // A text of a key as SQL has it, by its bytes: a0, a3.
        assert_eq!(position.0, serde_json::json!(["100", "_utf8mb4 x'6130'"]), "{columns}");
        let at = SplitPosition(serde_json::json!(["97", "_utf8mb4 x'6133'"]));
        let rest = read_from(source.as_ref(), &splits[0], Some(&at), usize::MAX).await.unwrap();
        assert_eq!(rest.column("name"), ["n98", "n99", "n100"], "{columns}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_columns_queries_and_faults() {
    let Some(server) = MariaServer::shared() else { return };
    let db = server.create_database();
    server.sql(&db, "CREATE TABLE t (id int PRIMARY KEY COMMENT 'the key', name varchar(9) NOT NULL); INSERT INTO t SELECT seq, CONCAT('n', seq) FROM seq_1_to_100; CREATE VIEW v AS SELECT id, name FROM t; CREATE TABLE empty (a int, b int, PRIMARY KEY (b, a)); CREATE TABLE kwsync_checkpoint (id int)");
    let read = async |parameters: &str| -> Result<(Read, Vec<String>)> {
        let source = source(server, &db, parameters)?;
        let splits = source.splits(2, &[]).await?;
        Ok((read_all(source.as_ref(), &splits).await?, source.notes()))
    };
    let (rows, _) =
        read("table=t&column=9001 as id,`id` as n,concat(name, ',') as name&where=id <= 3 OR id = 7 -- few")
            .await
            .unwrap();
    assert_eq!(rows.column("n"), ["1", "2", "3", "7"]);
    assert_eq!(rows.column("id"), ["9001"; 4]);
    assert_eq!(rows.column("name")[3], "n7,");
    let (rows, _) = read("querySql=SELECT id * 2 AS d FROM t;&splitPk=d&splits=3&table=late").await.unwrap();
    assert_eq!(rows.sorted("d"), (1..=100).map(|n| n * 2).collect::<Vec<_>>());
    assert_eq!(rows.batches[0].table().name(), "late");
    let (rows, _) = read("table=v&split_by=id&splits=3").await.unwrap();
    assert_eq!(rows.rows(), 100);
    let (rows, _) = read("tables=*").await.unwrap();
    let names: BTreeSet<_> = rows.batches.iter().map(|batch| batch.table().to_string()).collect();
    assert_eq!(names.into_iter().collect::<Vec<_>>(), ["empty", "t"]);
    let schema = rows.batches[0].schema();
    assert_eq!(schema.key(), ["b", "a"]);
    let schema = rows.batches.last().unwrap().schema();
    assert_eq!((schema.key(), schema.columns()[0].comment()), (vec!["id"], Some("the key")));
    assert!(!schema.columns()[1].is_nullable());
    for (parameters, kind, words) in [
        ("table=nope", ErrorKind::NotFound, "there is no table nope"),
        ("table=t&columns=absent", ErrorKind::Schema, "absent"),
        ("query=SELEC 1", ErrorKind::Schema, "SQL syntax"),
        ("table=t&split_by=absent", ErrorKind::Config, "it has id, name"),
        ("query=SELECT id %25 10 AS d FROM t&split_by=d", ErrorKind::Schema, "twice"),
        ("", ErrorKind::Config, "does not say what to read"),
    ] {
        let error = error_of(read(parameters).await);
        assert_eq!(error.kind(), kind, "{parameters}: {error}");
        assert!(error.report().contains(words), "{parameters}: {}", error.report());
    }
    // A wrong password is told, and not shown.
    let wrong = format!("mysql://{}:h1dden@127.0.0.1:{}/{db}?table=t", server.user(), server.port());
    let error = error_of(source_at(&wrong).unwrap().splits(1, &[]).await);
    assert_eq!(error.kind(), ErrorKind::Auth, "{error}");
    assert!(!format!("{error:?}{}", error.report()).contains("h1dden"));
    // Without the right to lock tables, each lane has a moment of its own, and it is said.
    server.sql(&db, &format!("CREATE USER IF NOT EXISTS poor@'127.0.0.1' IDENTIFIED BY 'p'; GRANT SELECT ON {db}.* TO poor@'127.0.0.1'"));
    let poor = source_at(&format!("mysql://poor:p@127.0.0.1:{}/{db}?table=t", server.port())).unwrap();
    let splits = poor.splits(2, &[]).await.unwrap();
    assert!(poor.notes().iter().any(|note| note.contains("a moment of its own")), "{:?}", poor.notes());
    assert_eq!(read_all(poor.as_ref(), &splits).await.unwrap().rows(), 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_lanes_are_of_one_moment() {
    let Some(server) = MariaServer::shared() else { return };
    let db = server.create_database();
    server.sql(&db, "CREATE TABLE t (id int PRIMARY KEY, v int) ENGINE=InnoDB; INSERT INTO t SELECT seq, 0 FROM seq_1_to_2000");
    let source = source(server, &db, "table=t&splits=4").unwrap();
    let splits = source.splits(4, &[]).await.unwrap();
    let mut readers = Vec::new();
    for split in &splits {
        server.sql(&db, "UPDATE t SET v = v + 1");
        // All sessions are in use at the same time.
        readers.push(source.open(split, None).await.unwrap());
    }
    let mut all = Read::default();
    for reader in &mut readers {
        while let Some(batch) = reader.next().await.unwrap() {
            all.batches.extend(batch.decoded.batches);
        }
    }
    assert_eq!(all.rows(), 2000);
    assert_eq!(all.column("v").into_iter().collect::<BTreeSet<_>>().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_restarted_is_read_on() {
    let Some(server) = MariaServer::start() else { return };
    let db = server.create_database();
    server.sql(&db, "CREATE TABLE t (id int PRIMARY KEY, v text) ENGINE=InnoDB; INSERT INTO t SELECT seq, REPEAT('x', 2000) FROM seq_1_to_20000");
    let source = source(&server, &db, "table=t&batch_rows=1000").unwrap();
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
    assert_eq!(
        (error.kind(), error.retry()),
        (ErrorKind::Unavailable, kwsync_core::Retry::Backoff),
        "{error}"
    );
    server.restart();
    let mut all = Read { batches: first.decoded.batches, ..Read::default() };
    let rest = read_from(source.as_ref(), &splits[0], Some(&first.position), usize::MAX).await.unwrap();
    all.batches.extend(rest.batches);
    assert_eq!(all.sorted("id"), (1..=20000).collect::<Vec<i64>>());
}

/// A way to `server` that asks our own client to sign in by a plugin that it does not know; the library's client goes through, and
/// so asks for files. Returns its port, and counts those it has sent away.
async fn picky(server: &MariaServer) -> (u16, Arc<AtomicUsize>) {
    const LOCAL_FILES: u8 = 0x80;
    async fn pass(mut client: TcpStream, port: u16, sent_away: &AtomicUsize) -> std::io::Result<()> {
        let mut server = TcpStream::connect(("127.0.0.1", port)).await?;
        client.write_all(&packet(&mut server).await?).await?;
        let response = packet(&mut client).await?;
        if response[4] & LOCAL_FILES == 0 {
            sent_away.fetch_add(1, Ordering::Relaxed);
            let asks = b"\xfedialog\0password?";
            client.write_all(&[&[asks.len() as u8, 0, 0, 2], &asks[..]].concat()).await?;
            client.read_to_end(&mut Vec::new()).await?;
            return Ok(());
        }
        server.write_all(&response).await?;
        tokio::io::copy_bidirectional(&mut client, &mut server).await?;
        Ok(())
    }
    async fn packet(socket: &mut TcpStream) -> std::io::Result<Vec<u8>> {
        let mut packet = vec![0; 4];
        socket.read_exact(&mut packet).await?;
        let length = u32::from_le_bytes([packet[0], packet[1], packet[2], 0]) as usize;
        packet.resize(4 + length, 0);
        socket.read_exact(&mut packet[4..]).await?;
        Ok(packet)
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (to, sent_away) = (server.port(), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&sent_away);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let counted = Arc::clone(&counted);
            tokio::spawn(async move { pass(client, to, &counted).await.ok() });
        }
    });
    (port, sent_away)
}

#[tokio::test(flavor = "multi_thread")]
async fn where_our_client_cannot_sign_in_the_librarys_reads() {
    let Some(server) = MariaServer::shared() else { return };
    let db = server.create_database();
    server.sql(&db, "SET sql_mode = ''; CREATE TABLE t (id int PRIMARY KEY, d date, v text); INSERT INTO t SELECT seq, IF(seq = 7, 0, '2024-01-01'), REPEAT('x', seq % 50) FROM seq_1_to_5000; CREATE TABLE empty (id int PRIMARY KEY)");
    let (port, sent_away) = picky(server).await;
    let direct = server.dsn(&db);
    let around = direct.replace(&format!(":{}/", server.port()), &format!(":{port}/"));
    let mut all = Vec::new();
    for address in [direct, around] {
        let source = source_at(&format!("{address}?tables=*&splits=3&batch_rows=700")).unwrap();
        let splits = source.splits(3, &[]).await.unwrap();
        let mut readers = Vec::new();
        for split in &splits {
            readers.push(source.open(split, None).await.unwrap());
        }
        let mut told = Vec::new();
        for reader in &mut readers {
            while let Some(batch) = reader.next().await.unwrap() {
                let decoded = &batch.decoded;
                let rows: Vec<_> = decoded.batches.iter().map(TableBatch::rows).collect();
                let rejects: Vec<_> = decoded
                    .rejects
                    .iter()
                    .map(|reject| (reject.position.record, reject.raw.clone()))
                    .collect();
                told.push((batch.position.0.clone(), rows, rejects, batch.bytes));
            }
        }
        all.push(told);
    }
    assert_eq!(all[0], all[1]);
    assert_eq!(all[0].iter().flat_map(|(_, rows, ..)| rows).sum::<usize>(), 4999);
    assert!(all[0].iter().any(|(_, _, rejects, _)| rejects.len() == 1 && rejects[0].1.starts_with(b"7, ")));
    assert_eq!(sent_away.load(Ordering::Relaxed), 1, "it is tried once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reading_that_is_given_up_is_begun_anew() {
    let Some(server) = MariaServer::shared() else { return };
    let db = server.create_database();
    server.sql(&db, "CREATE TABLE t (id int PRIMARY KEY, v text) ENGINE=InnoDB; INSERT INTO t SELECT seq, REPEAT('x', 2000) FROM seq_1_to_20000");
    let source = source(server, &db, "table=t&batch_rows=1000").unwrap();
    let splits = source.splits(1, &[]).await.unwrap();
    for _ in 0..3 {
        let mut reader = source.open(&splits[0], None).await.unwrap();
        assert!(reader.next().await.unwrap().is_some());
        // In the middle of the rows, and of the wait for more.
        drop(reader);
    }
    let read = read_all(source.as_ref(), &splits).await.unwrap();
    assert_eq!(read.sorted("id"), (1..=20000).collect::<Vec<i64>>());
    // A session that has read to the end is used again.
    let again = read_all(source.as_ref(), &splits).await.unwrap();
    assert_eq!(again.rows(), 20000);
}
