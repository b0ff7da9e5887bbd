//! Against the stand-in: what is asked of it, and what becomes of its answers.

use kwsync_core::config::{Dsn, Params};
use kwsync_core::testkit::tdengine::TdengineServer;
use kwsync_core::{DataType, ErrorKind, Reader, Result, Role, Source, TableBatch, TimeUnit};
use serde_json::{Value as Json, json};

use super::{PARAMS, TdengineOptions, TdengineSource};
use crate::series::stand_in::{read_all, rows};

fn source(server: &TdengineServer, rest: &str) -> Result<TdengineSource> {
    let dsn: Dsn = format!("taos+http://127.0.0.1:{}/{rest}", server.port).parse()?;
    let params = Params::parse("taos", PARAMS, dsn.params())?;
    Ok(TdengineSource::new(TdengineOptions::from_dsn(&dsn, &params)?))
}

/// Meters `d0` to `d3`, each with so many rows, a second apart; and a table without tags.
fn server(each: usize) -> TdengineServer {
    let server = TdengineServer::start();
    server.run("CREATE DATABASE `power` PRECISION 'ms'");
    server.run("CREATE STABLE `power`.`meters` (`ts` TIMESTAMP, `voltage` INT) TAGS (`location` VARCHAR(20), `groupid` INT)");
    for meter in 0..4 {
        let rows: Vec<_> =
            (0..each).map(|at| format!("({},{at})", 1_700_000_000_000 + at as i64 * 1_000)).collect();
        server.run(&format!(
            "INSERT INTO `power`.`d{meter}` USING `power`.`meters` (`location`,`groupid`) TAGS ('a{meter}',{meter}) (`ts`,`voltage`) VALUES {}",
            rows.join("")
        ));
    }
    server.run("CREATE TABLE `power`.`log` (`ts` TIMESTAMP, `id` BIGINT PRIMARY KEY, `text` NCHAR(20))");
    server.run("INSERT INTO `power`.`log` (`ts`,`id`,`text`) VALUES (1,1,'x') (1,2,NULL)");
    server
}

async fn all(server: &TdengineServer, rest: &str) -> Vec<TableBatch> {
    read_all(&source(server, rest).unwrap(), 1)
        .await
        .unwrap_or_else(|error| panic!("{rest}: {}", error.report()))
}

fn of(batches: &[TableBatch], table: &str) -> Vec<Json> {
    rows(&batches.iter().filter(|batch| batch.table().name() == table).cloned().collect::<Vec<_>>())
}

#[tokio::test]
async fn supertables_with_their_subtables_and_other_tables() {
    let server = server(50);
    let batches = all(&server, "power").await;
    let (meters, log) = (of(&batches, "meters"), of(&batches, "log"));
    assert_eq!((meters.len(), log.len()), (200, 2));
    assert_eq!(
        meters[5],
        json!({"ts": "2023-11-14T22:13:21.000Z", "voltage": 1, "tbname": "d1", "location": "a1", "groupid": 1})
    );
    assert_eq!(log[1], json!({"ts": "1970-01-01T00:00:00.001Z", "id": 2, "text": null}));
    let schema = batches.iter().find(|batch| batch.table().name() == "meters").unwrap().schema();
    let roles: Vec<_> = schema.columns().iter().map(|column| (column.name(), column.role())).collect();
    assert_eq!(
        roles,
        [
            ("ts", Role::Timestamp),
            ("voltage", Role::Field),
            ("tbname", Role::PrimaryTag),
            ("location", Role::Tag),
            ("groupid", Role::Tag)
        ]
    );
    assert_eq!(schema.key(), ["tbname", "ts"]);
    let log = source(&server, "power?tables=log").unwrap();
    log.splits(1, &[]).await.unwrap();
    assert_eq!(log.tables()[0].1.key(), ["ts", "id"]);
}

#[tokio::test]
async fn what_is_asked_for_and_no_more() {
    let server = server(10);
    for (rest, wanted) in [
        ("power?stables=meters", (40, 0)),
        ("power.meters", (40, 0)),
        ("power.log", (0, 2)),
        ("power.d2", (10, 0)),
        ("power?tables=meters.d0,d1,log", (20, 2)),
        ("power?tables=meters.d0\nd1&stables=meters", (40, 0)),
        ("power.meters?where=groupid > 1", (20, 0)),
        ("power.meters?begin=2023-11-14T22:13:22Z&end=2023-11-14T22:13:24Z", (8, 0)),
        ("power.meters?begin=2024-01-01", (0, 0)),
    ] {
        let batches = all(&server, rest).await;
        assert_eq!((of(&batches, "meters").len(), of(&batches, "log").len()), wanted, "{rest}");
    }
    let batches = all(
        &server,
        "power.meters?columns=ts,VOLTAGE,9001 as id,'x' as host,tbname,groupid&end=2023-11-14T22:13:21Z",
    )
    .await;
    assert_eq!(
        of(&batches, "meters")[1],
        json!({"ts": "2023-11-14T22:13:20.000Z", "voltage": 0, "id": 9001, "host": "x", "tbname": "d1", "groupid": 1})
    );
    for (rest, kind, wanted) in [
        ("power?stables=meter", ErrorKind::NotFound, "did you mean `meters`?"),
        ("power?tables=d9", ErrorKind::NotFound, "no table \"d9\""),
        ("power?tables=log.d1", ErrorKind::NotFound, "no table \"log.d1\""),
        ("nothing", ErrorKind::NotFound, "no database \"nothing\""),
        ("power.meters?columns=voltage", ErrorKind::Config, "leaves out \"ts\""),
        ("power.meters?columns=ts,nothing", ErrorKind::Schema, "0x2602"),
    ] {
        let error = read_all(&source(&server, rest).unwrap(), 1).await.unwrap_err();
        assert!(error.kind() == kind && error.report().contains(wanted), "{rest}: {}", error.report());
    }
}

#[tokio::test]
async fn every_type_comes_as_it_is() {
    let server = TdengineServer::start();
    server.run("CREATE DATABASE `all` PRECISION 'ns'");
    server.run(
        "CREATE STABLE `all`.`t` (`ts` TIMESTAMP, `b` BOOL, `i8` TINYINT, `i16` SMALLINT, `i32` INT, `i64` BIGINT, `u8` TINYINT UNSIGNED, \
         `u16` SMALLINT UNSIGNED, `u32` INT UNSIGNED, `u64` BIGINT UNSIGNED, `f32` FLOAT, `f64` DOUBLE, `s` VARCHAR(30), `n` NCHAR(9), \
         `x` VARBINARY(3), `d` DECIMAL(38, 3), `t2` TIMESTAMP) TAGS (`j` JSON)",
    );
    let head = "INSERT INTO `all`.`c` USING `all`.`t` (`j`) TAGS ('{\"k\":[1,\"]\"]}') \
                (`ts`,`b`,`i8`,`i16`,`i32`,`i64`,`u8`,`u16`,`u32`,`u64`,`f32`,`f64`,`s`,`n`,`x`,`d`,`t2`) VALUES ";
    server.run(&format!(
        "{head} (1700000000000000001,true,-128,-5,-2147483648,-9223372036854775808,255,65535,4294967295,18446744073709551615,0.1,1e-300,\
         'it\\'s \\\\ \"ä\"\n','温度','\\x0001ff',123456789012345678901234567890.5,-1) (7,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,\
         NULL,NULL,NULL,NULL,NULL,NULL)"
    ));
    let batches = all(&server, "all").await;
    let found = of(&batches, "t");
    assert!(
        found[0]
            .as_object()
            .unwrap()
            .iter()
            .all(|(name, value)| { ["ts", "tbname", "j"].contains(&name.as_str()) || value.is_null() })
    );
    let row = &found[1];
    for (name, wanted) in [
        ("ts", json!("2023-11-14T22:13:20.000000001Z")),
        ("b", json!(true)),
        ("i8", json!(-128)),
        ("i16", json!(-5)),
        ("i32", json!(i32::MIN)),
        ("i64", json!(i64::MIN)),
        ("u8", json!(255)),
        ("u16", json!(65_535)),
        ("u32", json!(u32::MAX)),
        ("u64", json!(u64::MAX)),
        ("f64", json!(1e-300)),
        ("s", json!("it's \\ \"ä\"\n")),
        ("n", json!("温度")),
        ("t2", json!("1969-12-31T23:59:59.999999999Z")),
        ("tbname", json!("c")),
    ] {
        assert_eq!(row[name], wanted, "{name}");
    }
    let values: Vec<_> = ["f32", "x", "d", "j"]
        .iter()
        .map(|name| batches.last().unwrap().row(0).get(name).unwrap().to_string())
        .collect();
    assert_eq!(values, ["0.1", "\\x0001ff", "123456789012345678901234567890.500", "{\"k\":[1,\"]\"]}"]);
    let types: Vec<_> = ["ts", "s", "n", "x", "d", "j"]
        .iter()
        .map(|name| batches[0].schema().column(name).unwrap().data_type().clone())
        .collect();
    assert_eq!(
        types,
        [
            DataType::TimestampTz(TimeUnit::Nanosecond),
            DataType::VarChar(Some(30)),
            DataType::NVarChar(Some(9)),
            DataType::VarBytes(Some(3)),
            DataType::Numeric(Some((38, 3))),
            DataType::Json
        ]
    );
    server.run("CREATE TABLE `all`.`g` (`ts` TIMESTAMP, `v` INT, `g` GEOMETRY(100))");
    let error = read_all(&source(&server, "all.g").unwrap(), 1).await.unwrap_err();
    assert!(error.report().contains("columns=NAME,NAME"), "{}", error.report());
    assert!(all(&server, "all.g?columns=ts,v").await.is_empty());
}

#[tokio::test]
async fn rows_are_there_once_however_they_are_cut() {
    let server = server(1_000);
    // Batches end between times, and lanes have pieces of their own.
    for (rest, lanes) in [
        ("power.meters?batch_rows=7", 1),
        ("power.meters?window=1s&batch_rows=100", 1),
        ("power.meters?window=10s", 3),
    ] {
        let source = source(&server, rest).unwrap();
        let splits = source.splits(lanes, &[]).await.unwrap();
        assert!(lanes == 1 || splits.len() > 4, "{}", splits.len());
        let found = rows(&read_all(&source, lanes).await.unwrap());
        let mut keys: Vec<_> =
            found.iter().map(|row| (row["ts"].to_string(), row["tbname"].to_string())).collect();
        assert_eq!(keys.len(), 4_000, "{rest}");
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), 4_000, "{rest}");
    }
}

#[tokio::test]
async fn answers_that_end_early_lose_nothing() {
    let server = server(300);
    // As restfulRowLimit does it: without a word.
    server.state().row_limit = Some(101);
    let found = rows(&read_all(&source(&server, "power.meters?batch_rows=10").unwrap(), 1).await.unwrap());
    let mut keys: Vec<_> =
        found.iter().map(|row| (row["ts"].to_string(), row["tbname"].to_string())).collect();
    keys.dedup();
    assert_eq!((found.len(), keys.len()), (1_200, 1_200));
    // Where not even one time fits.
    server.state().row_limit = Some(3);
    let error = read_all(&source(&server, "power.meters").unwrap(), 1).await.unwrap_err();
    assert!(error.report().contains("restfulRowLimit"), "{}", error.report());
    server.state().row_limit = None;
    // Times that nanoseconds do not reach are told, unless they are not asked for.
    server.run("INSERT INTO `power`.`log` (`ts`,`id`) VALUES (31000000000000,1)");
    let error = read_all(&source(&server, "power.log").unwrap(), 1).await.unwrap_err();
    assert!(
        error.report().contains("1 rows of log") && error.report().contains("end="),
        "{}",
        error.report()
    );
    assert_eq!(all(&server, "power.log?end=2100-01-01").await[0].rows(), 2);
    server.run("DROP TABLE `power`.`log`");
    server.run("CREATE TABLE `power`.`log` (`ts` TIMESTAMP, `v` INT)");
    server.run("INSERT INTO `power`.`log` (`ts`,`v`) VALUES (1,1) (2,2)");
    // A connection that is cut is a fault, and no end of the rows.
    server.state().cut_answers = 1;
    let error = read_all(&source(&server, "power.log").unwrap(), 1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", error.report());
}

/// A fault behind taosAdapter before the first row looks like the end of the rows.
#[tokio::test]
async fn answers_without_a_row_are_not_taken_for_the_end() {
    let server = server(30);
    for piece in ["FIRST(", "LAST(", "COUNT(*)", "SELECT `ts`", "SERVER_VERSION", "ins_stables", "DESCRIBE"] {
        server.state().empty = Some((piece.to_owned(), usize::MAX));
        // Where a table ends is asked for lanes alone.
        let lanes = if piece == "LAST(" { 3 } else { 1 };
        let error = read_all(&source(&server, "power.meters?window=1s").unwrap(), lanes).await.err();
        assert_eq!(error.map(|error| error.kind()), Some(ErrorKind::Unavailable), "{piece}");
    }
    // Once alone, it is asked again.
    server.state().empty = Some(("SELECT `ts`".to_owned(), 1));
    assert_eq!(of(&all(&server, "power.meters").await, "meters").len(), 120);
    server.state().empty = None;
    // Lists are cut, too.
    server.state().row_limit = Some(4);
    server.run("CREATE STABLE `power`.`wide` (`ts` TIMESTAMP, `a` INT, `b` INT, `c` INT) TAGS (`d` INT)");
    for (rest, what) in [("power.wide", "DESCRIBE"), ("power?tables=d0,d1,d2,d3,log", "ins_tables")] {
        let error = read_all(&source(&server, rest).unwrap(), 1).await.unwrap_err();
        assert!(
            error.kind() == ErrorKind::Unavailable && error.report().contains(what),
            "{rest}: {}",
            error.report()
        );
    }
}

#[tokio::test]
async fn a_reader_goes_on_where_another_stopped() {
    let server = server(500);
    let source = source(&server, "power.meters?batch_rows=64").unwrap();
    let split = source.splits(1, &[]).await.unwrap().remove(0);
    let (mut found, mut position) = (Vec::new(), None);
    // Each reader gives two batches and is gone.
    loop {
        let mut reader = source.open(&split, position.as_ref()).await.unwrap();
        let mut ended = true;
        for _ in 0..2 {
            let Some(read) = reader.next().await.unwrap() else { break };
            found.extend(rows(&read.decoded.batches));
            ended &= read.decoded.batches.iter().all(|batch| batch.rows() == 0);
            position = Some(read.position);
        }
        if ended {
            break;
        }
    }
    let mut keys: Vec<_> =
        found.iter().map(|row| (row["ts"].to_string(), row["tbname"].to_string())).collect();
    keys.sort();
    keys.dedup();
    assert_eq!((found.len(), keys.len()), (2_000, 2_000));
}
