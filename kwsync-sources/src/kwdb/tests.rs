//! Against a stand-in that answers as KWDB does. What a server of PostgreSQL's kind must do alike is tested with the other
//! sources that read by a cursor.

use std::time::Duration;

use kwsync_core::config::{OpenOptions, Registry};
use kwsync_core::testkit::kwdb::Kwdb;
use kwsync_core::{DynSource, Error, ErrorKind, Result, Role, Split, SplitPosition, TableBatch};

use super::*;

const CPU: &str = "CREATE TABLE IF NOT EXISTS \"cpu\" (\"k_timestamp\" TIMESTAMPTZ(3) NOT NULL, \"usage\" FLOAT8, \"n\" INT4) TAGS (\"host\" VARCHAR(20) NOT NULL, \"site\" NVARCHAR(9)) PRIMARY TAGS (\"host\")";
/// 2024-05-01 10:00:00 in milliseconds.
const BEGIN: i64 = 1_714_557_600_000;

fn source(kwdb: &Kwdb, parameters: &str) -> Result<Box<dyn DynSource>> {
    let mut registry = Registry::new();
    register(&mut registry);
    let address = format!("kwdb://root@127.0.0.1:{}/benchmark?{parameters}", kwdb.port);
    registry.source(&address.parse()?, &OpenOptions::new())
}

async fn read(source: &dyn DynSource, split: &Split, at: Option<&SplitPosition>) -> Vec<TableBatch> {
    let mut reader = source.open(split, at).await.unwrap();
    let mut all = Vec::new();
    while let Some(batch) = reader.next().await.unwrap() {
        assert!(batch.decoded.rejects.is_empty());
        all.extend(batch.decoded.batches);
    }
    all
}

async fn read_all(source: &dyn DynSource, lanes: usize) -> Vec<TableBatch> {
    let mut all = Vec::new();
    for split in source.splits(lanes, &[]).await.unwrap() {
        all.extend(read(source, &split, None).await);
    }
    all
}

fn column(batches: &[TableBatch], name: &str) -> Vec<String> {
    let values = |batch: &TableBatch| -> Vec<String> {
        (0..batch.rows()).map(|row| batch.row(row).get(name).unwrap().to_string()).collect()
    };
    batches.iter().flat_map(values).collect()
}

fn error_of<T>(result: Result<T>) -> Error {
    match result {
        Ok(_) => panic!("this should have failed"),
        Err(error) => error,
    }
}

/// So many rows, a second apart, over two hosts.
fn fill(kwdb: &Kwdb, table: &str, numbers: std::ops::Range<i64>) {
    let rows: Vec<_> =
        numbers.map(|n| format!("({},{}.5,{n},'h{}','s')", BEGIN + n * 1_000, n, n % 2)).collect();
    kwdb.run(&format!(
        "INSERT INTO \"{table}\" (\"k_timestamp\", \"usage\", \"n\", \"host\", \"site\") VALUES {}",
        rows.join(",")
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_of_time_series_is_read() {
    let kwdb = Kwdb::start().await;
    kwdb.run("CREATE TABLE IF NOT EXISTS \"t\" (\"k\" TIMESTAMPTZ(9) NOT NULL, \"t3\" TIMESTAMP(3), \"t6\" TIMESTAMPTZ(6), \"i2\" INT2, \"i4\" INT4, \"i8\" INT8, \"f4\" FLOAT4, \"f8\" FLOAT8, \"b\" BOOL, \"c\" CHAR(3), \"nc\" NCHAR(3), \"vc\" VARCHAR(20), \"nv\" NVARCHAR(20), \"vb\" VARBYTES(9), \"g\" GEOMETRY) TAGS (\"host\" VARCHAR(20) NOT NULL, \"rack\" INT4) PRIMARY TAGS (\"host\")");
    kwdb.run("INSERT INTO \"t\" (\"k\", \"t3\", \"t6\", \"i2\", \"i4\", \"i8\", \"f4\", \"f8\", \"b\", \"c\", \"nc\", \"vc\", \"nv\", \"vb\", \"g\", \"host\", \"rack\") VALUES (1714557600123456789,1714557600123,-1,-32768,2147483647,-9223372036854775808,0.0000001,0.1,true,'abc','äöü','it''s','naïve 😀','\\x00ff','POINT(1 2)','a',7),(1714557600123456790,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'a',NULL)");
    let source = source(&kwdb, "table=t").unwrap();
    let splits = source.splits(1, &[]).await.unwrap();
    let all = read(source.as_ref(), &splits[0], None).await;
    let rows: Vec<_> = all.iter().filter(|batch| batch.rows() > 0).collect();
    let row = rows[0].row(0);
    for (name, data_type, value) in [
        ("k", "timestamptz(ns)", "2024-05-01T10:00:00.123456789Z"),
        ("t3", "timestamp(ms)", "2024-05-01T10:00:00.123"),
        ("t6", "timestamptz(us)", "1969-12-31T23:59:59.999999Z"),
        ("i2", "i16", "-32768"),
        ("i4", "i32", "2147483647"),
        ("i8", "i64", "-9223372036854775808"),
        ("f4", "f32", "0.0000001"),
        ("f8", "f64", "0.1"),
        ("b", "bool", "true"),
        ("c", "char(3)", "abc"),
        ("nc", "nchar(3)", "äöü"),
        ("vc", "varchar(20)", "it's"),
        ("nv", "nvarchar(20)", "naïve 😀"),
        ("vb", "varbytes(9)", "\\x00ff"),
        ("g", "geometry", "POINT(1 2)"),
        ("host", "varchar(20)", "a"),
        ("rack", "i32", "7"),
    ] {
        let column = rows[0].schema().column(name).unwrap();
        let got = (column.data_type().to_string(), row.get(name).unwrap().to_string());
        assert_eq!(got, (data_type.to_owned(), value.to_owned()), "{name}");
    }
    let role = |name: &str| rows[0].schema().column(name).unwrap().role();
    assert_eq!(
        [role("k"), role("i4"), role("host"), role("rack")],
        [Role::Timestamp, Role::Field, Role::PrimaryTag, Role::Tag]
    );
    assert_eq!(column(&all, "k")[1], "2024-05-01T10:00:00.123456790Z");
    assert_eq!(column(&all, "i8")[1], "null");
    // Nothing was asked that KWDB has not.
    let state = kwdb.state.lock().unwrap();
    assert!(state.statements.iter().all(|sql| !sql.contains("COPY") && !sql.contains("BEGIN")));
}

#[tokio::test(flavor = "multi_thread")]
async fn windows_are_read_by_lanes_and_on_from_their_middle() {
    let kwdb = Kwdb::start().await;
    kwdb.run(CPU);
    fill(&kwdb, "cpu", 0..300);
    let all = source(&kwdb, "table=cpu&batch_rows=20").unwrap();
    // Five windows of a minute; the last is open and is read on by later runs.
    let splits = all.splits(2, &[]).await.unwrap();
    assert_eq!(splits.len(), 5);
    assert_eq!(
        splits.iter().map(|split| split.continues).collect::<Vec<_>>(),
        [false, false, false, false, true]
    );
    let mut numbers = Vec::new();
    for split in &splits {
        let batches = read(all.as_ref(), split, None).await;
        assert_eq!(batches.iter().map(TableBatch::rows).sum::<usize>(), 60);
        numbers.extend(column(&batches, "n"));
    }
    assert_eq!(numbers, (0..300).map(|n| n.to_string()).collect::<Vec<_>>());
    let mut reader = all.open(&splits[1], None).await.unwrap();
    let (mut had, mut position) = (0, None);
    while had < 20 {
        let batch = reader.next().await.unwrap().unwrap();
        had += batch.decoded.batches.iter().map(TableBatch::rows).sum::<usize>();
        position = Some(batch.position);
    }
    let rest = read(all.as_ref(), &splits[1], position.as_ref()).await;
    assert_eq!(rest.iter().map(TableBatch::rows).sum::<usize>(), 60 - had);
    // From begin on and below end; what was cut once is not cut again.
    let bounded = source(&kwdb, "table=cpu&ts_column=k_timestamp&begin=2024-05-01 10:01:00&end=2024-05-01 10:02:30&split_interval_s=10").unwrap();
    assert_eq!(
        column(&read_all(bounded.as_ref(), 4).await, "n"),
        (60..150).map(|n| n.to_string()).collect::<Vec<_>>()
    );
    let splits = bounded.splits(4, &[]).await.unwrap();
    assert_eq!((splits.len(), splits.iter().any(|split| split.continues)), (9, false));
    fill(&kwdb, "cpu", 300..310);
    assert_eq!(bounded.splits(1, &splits).await.unwrap(), splits);
    let wrong = source(&kwdb, "table=cpu&begin=yesterday").unwrap();
    let error = error_of(wrong.splits(1, &[]).await);
    assert!(
        error.kind() == ErrorKind::Config && error.to_string().contains("is no value of the cursor"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_conditions_and_tables_as_asked() {
    let kwdb = Kwdb::start().await;
    kwdb.run(CPU);
    kwdb.run(&CPU.replace("cpu", "mem"));
    fill(&kwdb, "cpu", 0..10);
    fill(&kwdb, "mem", 0..4);
    let some = source(&kwdb, "table=cpu&columns=n, 9001 AS k, host&where=\"host\" = 'h1'").unwrap();
    let batches = read_all(some.as_ref(), 1).await;
    assert_eq!(column(&batches, "n"), ["1", "3", "5", "7", "9"]);
    assert_eq!(column(&batches, "k"), vec!["9001"; 5]);
    let all = source(&kwdb, "").unwrap();
    assert_eq!(read_all(all.as_ref(), 1).await.iter().map(TableBatch::rows).sum::<usize>(), 14);
    assert_eq!(all.tables().len(), 2);
    let but = source(&kwdb, "tables=*&exclude=m*").unwrap();
    assert_eq!(read_all(but.as_ref(), 1).await.iter().map(TableBatch::rows).sum::<usize>(), 10);
    let error = error_of(source(&kwdb, "table=nothing").unwrap().splits(1, &[]).await);
    assert!(error.kind() == ErrorKind::NotFound && error.to_string().contains("nothing"), "{error}");
}

/// As the source of a topic: from a time on and without an end; tables come and go.
#[tokio::test(flavor = "multi_thread")]
async fn reading_goes_on_and_tables_come_and_go() {
    let kwdb = Kwdb::start().await;
    kwdb.run(CPU);
    fill(&kwdb, "cpu", 0..10);
    let source = source(
        &kwdb,
        "connect_attempts=3&connect_backoff=5000ms&follow=true&begin=2024-05-01 10:00:05&poll_interval=30ms&query_interval=10ms&fetch_rows=2",
    )
    .unwrap();
    let splits = source.splits(4, &[]).await.unwrap();
    assert_eq!(splits.len(), 1);
    let mut reader = source.open(&splits[0], None).await.unwrap();
    let mut more = async |table: &str, rows: usize| {
        let mut got = Vec::new();
        let mut last = None;
        let waiting = async {
            while got.len() < rows {
                let batch = reader.next().await.unwrap().unwrap();
                for batch in batch.decoded.batches.iter().filter(|batch| batch.rows() > 0) {
                    assert_eq!(batch.table().name(), table);
                    assert!(batch.rows() <= 2);
                    got.extend(column(std::slice::from_ref(batch), "n"));
                }
                last = Some(batch.position);
            }
        };
        tokio::time::timeout(Duration::from_secs(60), waiting).await.unwrap();
        (got, last.unwrap())
    };
    assert_eq!(more("cpu", 5).await.0, ["5", "6", "7", "8", "9"]);
    fill(&kwdb, "cpu", 10..12);
    assert_eq!(more("cpu", 2).await.0, ["10", "11"]);
    kwdb.run(&CPU.replace("cpu", "mem"));
    fill(&kwdb, "mem", 7..9);
    let (got, position) = more("mem", 2).await;
    assert_eq!((got, position.0.as_object().unwrap().len()), (vec!["7".to_owned(), "8".to_owned()], 2));
    kwdb.run("DROP TABLE \"cpu\"");
    // What the position no longer has is seen with the next rows.
    let mut n = 9;
    loop {
        fill(&kwdb, "mem", n..n + 1);
        n += 1;
        if more("mem", 1).await.1.0.as_object().unwrap().len() == 1 {
            break;
        }
    }
    kwdb.run(CPU);
    fill(&kwdb, "cpu", 6..7);
    assert_eq!(more("cpu", 1).await.0, ["6"]);
    drop(reader);
}
