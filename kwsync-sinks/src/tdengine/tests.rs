//! Against the stand-in: what statements make of it, what is refused, and what comes again.

use std::sync::Arc;

use kwsync_core::config::{Dsn, Params};
use kwsync_core::testkit::tdengine::{Literal, TdengineServer};
use kwsync_core::{
    Column, DataType, Error, ErrorKind, JobId, Lane, Result, Role, Run, Schema, Settled, Sink, TableBatch,
    TimeUnit, Value, Writer,
};

use super::{PARAMS, TdengineOptions, TdengineSink, TdengineWriter};

fn sink(server: &TdengineServer, rest: &str) -> Result<TdengineSink> {
    let dsn: Dsn = format!("taos+http://127.0.0.1:{}/{rest}", server.port).parse()?;
    let params = Params::parse("taos", PARAMS, dsn.params())?;
    Ok(TdengineSink::new(TdengineOptions::from_dsn(&dsn, &params)?))
}

fn server() -> TdengineServer {
    let server = TdengineServer::start();
    server.run("CREATE DATABASE `power` PRECISION 'ms'");
    server
}

async fn writer(sink: &TdengineSink, batch: &TableBatch) -> Result<TdengineWriter> {
    sink.prepare(batch.table(), batch.schema()).await?;
    sink.open(&Lane { job: JobId::new("test"), index: 0, generation: 1 }).await
}

async fn write(sink: &TdengineSink, batch: &TableBatch) -> Result<Settled> {
    let mut writer = writer(sink, batch).await?;
    let mut settled = writer.write(batch).await?;
    settled.merge(writer.flush().await?);
    let counts = settled.total();
    assert_eq!(counts.rows(), batch.rows() as u64);
    assert_eq!(counts.rejected, settled.rejects.len() as u64);
    Ok(settled)
}

fn ms(time: i64) -> Value<'static> {
    Value::Timestamp(time, TimeUnit::Millisecond, true)
}

fn text(text: &str) -> Value<'static> {
    Value::Text(text.to_owned().into())
}

fn meters() -> Arc<Schema> {
    Arc::new(
        Schema::new(vec![
            Column::new("ts", DataType::TimestampTz(TimeUnit::Millisecond)).with_role(Role::Timestamp),
            Column::new("voltage", DataType::Int32),
            Column::new("note", DataType::Text),
            Column::new("location", DataType::Text).with_role(Role::Tag),
            Column::new("groupid", DataType::Int32).with_role(Role::Tag),
        ])
        .unwrap(),
    )
}

fn meter(time: i64, voltage: i64, location: &str) -> Vec<Value<'static>> {
    vec![ms(time), Value::Int(voltage), text("ok"), text(location), Value::Int(7)]
}

fn named(rows: &[(i64, i64, &str, &str)]) -> TableBatch {
    let mut columns = meters().columns().to_vec();
    columns.insert(3, Column::new("tbname", DataType::Text).with_role(Role::PrimaryTag));
    let rows: Vec<_> = rows
        .iter()
        .map(|(time, voltage, child, location)| {
            let mut row = meter(*time, *voltage, location);
            row.insert(3, text(child));
            row
        })
        .collect();
    TableBatch::from_rows("meters", Arc::new(Schema::new(columns).unwrap()), &rows).unwrap()
}

fn codes(settled: &Settled) -> Vec<String> {
    settled.rejects.iter().map(|reject| reject.code.to_string()).collect()
}

#[tokio::test]
async fn tags_make_subtables_and_the_same_in_every_run() {
    let server = server();
    let rows: Vec<_> =
        (0..1_000).map(|at| meter(at, at, ["Berlin", "O'Hare \\ `x`", ""][at as usize % 3])).collect();
    let batch = TableBatch::from_rows("meters", meters(), &rows).unwrap();
    for _ in 0..2 {
        let settled = write(&sink(&server, "power?batch-size=300").unwrap(), &batch).await.unwrap();
        assert_eq!(settled.total().written, 1_000);
        assert_eq!(server.count("power"), 1_000);
    }
    let state = server.state();
    let database = &state.databases["power"];
    assert_eq!((database.supers.len(), database.tables.len()), (1, 3));
    assert!(
        database
            .tables
            .iter()
            .all(|(name, table)| name.starts_with("meters_") && table.home.as_deref() == Some("meters"))
    );
    let hare = database
        .tables
        .values()
        .find(|table| table.tags["location"] == Literal::Text("O'Hare \\ `x`".to_owned()))
        .unwrap();
    assert_eq!(hare.rows.len(), 333);
    let inserts: Vec<_> = state.statements.iter().filter(|sql| sql.starts_with("INSERT")).collect();
    // Several tables a statement; who is known to be there is not made again.
    assert!(
        inserts.len() == 8 && inserts[0].matches("USING").count() == 1 && !inserts[3].contains("USING"),
        "{inserts:?}"
    );
}

#[tokio::test]
async fn names_of_subtables_come_from_the_rows_or_a_template() {
    let server = server();
    let batch = named(&[
        (1, 1, "d1", "a"),
        (2, 2, "d 2", "b"),
        (3, 3, "d.3", "c"),
        (4, 4, "", "d"),
        (5, 5, "d1", "a"),
    ]);
    let settled = write(&sink(&server, "power").unwrap(), &batch).await.unwrap();
    assert_eq!((settled.total().written, codes(&settled)), (3, vec!["bad_name".to_owned(); 2]));
    let rows: Vec<_> = (0..4).map(|at| meter(at, at, ["x", "y"][at as usize % 2])).collect();
    let batch = TableBatch::from_rows("other", meters(), &rows).unwrap();
    write(&sink(&server, "power?subtable={table}_d{groupid}_{location}").unwrap(), &batch).await.unwrap();
    let names: Vec<_> = server.state().databases["power"].tables.keys().cloned().collect();
    assert_eq!(names, ["d 2", "d1", "other_d7_x", "other_d7_y"]);
    let error = write(&sink(&server, "power?subtable=d{id}").unwrap(), &batch).await.unwrap_err();
    assert!(error.message().contains("\"id\""), "{error}");
}

#[tokio::test]
async fn every_type_arrives_as_it_was() {
    let server = TdengineServer::start();
    let unit = TimeUnit::Nanosecond;
    let columns = [
        (
            "ts",
            DataType::TimestampTz(unit),
            Value::Timestamp(1_700_000_000_000_000_001, unit, true),
            "1700000000000000001",
        ),
        ("b", DataType::Bool, Value::Bool(true), "true"),
        ("i8", DataType::Int8, Value::Int(-128), "-128"),
        ("i16", DataType::Int16, Value::Int(-5), "-5"),
        ("i32", DataType::Int32, Value::Int(i32::MIN.into()), "-2147483648"),
        ("i64", DataType::Int64, Value::Int(i64::MIN), "-9223372036854775808"),
        ("u8", DataType::UInt8, Value::UInt(255), "255"),
        ("u16", DataType::UInt16, Value::UInt(65_535), "65535"),
        ("u32", DataType::UInt32, Value::UInt(u32::MAX.into()), "4294967295"),
        ("u64", DataType::UInt64, Value::UInt(u64::MAX), "18446744073709551615"),
        ("f32", DataType::Float32, Value::Float32(0.1), "0.1"),
        ("f64", DataType::Float64, Value::Float64(1e-300), "1e-300"),
        (
            "t",
            DataType::TimestampTz(TimeUnit::Second),
            Value::Timestamp(-1, TimeUnit::Second, true),
            "-1000000000",
        ),
        ("s", DataType::VarChar(Some(20)), text("it's \\ \"ä\"\n"), "it's \\ \"ä\"\n"),
        ("n", DataType::NVarChar(Some(4)), text("温度"), "温度"),
        ("x", DataType::VarBytes(Some(3)), Value::Bytes(vec![0, 1, 255].into()), "\\x0001ff"),
        ("d", DataType::Numeric(Some((38, 3))), Value::Decimal("123456".parse().unwrap(), 3), "123.456"),
        ("date", DataType::Date, Value::Date(0), "1970-01-01"),
        ("u", DataType::Uuid, Value::Bytes(vec![0xab; 16].into()), "abababab-abab-abab-abab-abababababab"),
        ("j", DataType::Json, text("{\"a\":1}"), "{\"a\":1}"),
    ];
    let schema: Vec<_> =
        columns.iter().map(|(name, data_type, ..)| Column::new(*name, data_type.clone())).collect();
    let row: Vec<_> = columns.iter().map(|(_, _, value, _)| value.clone()).collect();
    let nulls: Vec<_> = columns
        .iter()
        .enumerate()
        .map(|(at, _)| if at == 0 { Value::Timestamp(7, unit, true) } else { Value::Null })
        .collect();
    let batch = TableBatch::from_rows("all", Arc::new(Schema::new(schema).unwrap()), &[row, nulls]).unwrap();
    // The database is made in the precision of the rows.
    write(&sink(&server, "fine?assert").unwrap(), &batch).await.unwrap();
    let state = server.state();
    assert_eq!(state.databases["fine"].precision, "ns");
    let rows = &state.databases["fine"].tables["all"].rows;
    let row = &rows[&(1_700_000_000_000_000_001, Literal::Null)];
    for (name, _, _, wanted) in &columns {
        let found = match &row[*name] {
            Literal::Bool(value) => value.to_string(),
            Literal::Number(value) | Literal::Text(value) => value.clone(),
            Literal::Null => "null".to_owned(),
        };
        assert_eq!(found, *wanted, "{name}");
    }
    assert!(rows[&(7, Literal::Null)].iter().all(|(name, value)| name == "ts" || *value == Literal::Null));
}

#[tokio::test]
async fn one_bad_row_costs_no_other() {
    let server = server();
    let mut rows: Vec<_> = (0..500).map(|at| meter(at, at, ["a", "b"][at as usize % 2])).collect();
    // Seen here, and seen by the server alone.
    rows[17][1] = Value::Null;
    rows[18][0] = Value::Null;
    rows[99][2] = text("a\0b");
    rows[250][2] = text("poison");
    rows[251][0] = ms(40_000_000_000_000);
    rows[400][2] = text(&"long".repeat(300));
    let batch = TableBatch::from_rows("meters", meters(), &rows).unwrap();
    for code in [0x2600_u16, 0x2653, 0x021f] {
        server.state().poison = Some(("poison".to_owned(), code));
        let settled = write(&sink(&server, "power").unwrap(), &batch).await.unwrap();
        assert_eq!((settled.total().written, settled.total().rejected), (495, 5));
        let mut found = codes(&settled);
        found.sort();
        let mut wanted = vec![
            "missing_timestamp".into(),
            "nul_byte".into(),
            format!("0x{code:04X}"),
            "0x060B".into(),
            "text_too_long".into(),
        ];
        wanted.sort();
        assert_eq!(found, wanted);
        assert_eq!(server.count("power"), 495);
    }
    // A statement that is too long for the server is cut until it fits.
    server.state().most_sql = 2_000;
    let settled = write(&sink(&server, "power").unwrap(), &batch.slice(0, 200)).await.unwrap();
    assert_eq!(settled.total().rejected, 2);
    // What no statement can hold is a reject, and not the end.
    server.state().most_sql = 60;
    let settled = write(&sink(&server, "power").unwrap(), &batch.slice(0, 3)).await;
    assert!(settled.is_err_and(|error| error.code() == Some("0x0219")));
}

/// A server that cannot read what is sent at all is no fault of the rows.
#[tokio::test]
async fn rows_that_nobody_can_read_end_the_job() {
    let server = server();
    let rows: Vec<_> = (0..1_000).map(|at| meter(at, at, "a")).collect();
    let batch = TableBatch::from_rows("meters", meters(), &rows).unwrap();
    server.state().poison = Some(("ok".to_owned(), 0x2600));
    let error = write(&sink(&server, "power").unwrap(), &batch).await.unwrap_err();
    assert!(error.message().contains("cannot read any of the rows"), "{error}");
    assert!(server.state().inserts < 100);
}

#[tokio::test]
async fn what_was_lost_is_sent_again() {
    let server = server();
    {
        let mut state = server.state();
        state.cut_before = vec![2];
        state.cut_after = vec![4];
        state.refuse.insert(6, 0x000b);
        state.refuse.insert(7, 0x0914);
    }
    let rows: Vec<_> = (0..100).map(|at| meter(at, at, "a")).collect();
    let batch = TableBatch::from_rows("meters", meters(), &rows).unwrap();
    let settled = write(&sink(&server, "power?batch-size=20").unwrap(), &batch).await.unwrap();
    assert_eq!((settled.total().written, server.count("power")), (100, 100));
    assert_eq!(server.state().inserts, 5 + 4);
    // Not without an end.
    let next = server.state().inserts + 1;
    server.state().refuse.extend((next..next + 50).map(|at| (at, 0x000b)));
    let error = write(&sink(&server, "power?connect_attempts=2").unwrap(), &batch).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Unavailable, Some("0x000B")));
    assert!(error.hint().is_some_and(|hint| hint.contains("6030")));
}

#[tokio::test]
async fn tables_are_made_and_grow() {
    let server = server();
    server
        .run("CREATE STABLE `power`.`meters` (`time` TIMESTAMP, `voltage` INT) TAGS (`location` VARCHAR(3))");
    let rows = [meter(1, 1, "a"), meter(2, 2, "Berlin")];
    let batch = TableBatch::from_rows("meters", meters(), &rows).unwrap();
    let never = sink(&server, "power?create=never").unwrap();
    let error = never.prepare(batch.table(), batch.schema()).await.unwrap_err();
    assert!(error.report().contains("no column \"note\""), "{}", error.report());
    let plan = sink(&server, "power").unwrap().plan(batch.table(), batch.schema()).await.unwrap();
    assert_eq!(
        plan.statements,
        [
            "ALTER STABLE `power`.`meters` ADD COLUMN `note` VARCHAR(1024)",
            "ALTER STABLE `power`.`meters` ADD TAG `groupid` INT"
        ]
    );
    assert!(
        plan.notes.iter().any(|note| note.contains("\"ts\" goes to the table's time, \"time\"")),
        "{:?}",
        plan.notes
    );
    assert!(server.state().statements.iter().all(|sql| !sql.starts_with("ALTER")));
    // A tag that is too short refuses its row, unless it may grow.
    let settled = write(&sink(&server, "power").unwrap(), &batch).await.unwrap();
    assert_eq!((settled.total().written, codes(&settled)), (1, vec!["text_too_long".to_owned()]));
    let settled = write(&sink(&server, "power?create=evolve").unwrap(), &batch).await.unwrap();
    assert_eq!(settled.total().written, 2);
    assert_eq!(server.state().databases["power"].supers["meters"].tags[0].sql_type, "VARCHAR(12)");
    for (rest, wanted) in
        [("nothing", "no database \"nothing\""), ("power?table=x&create=never", "no table x")]
    {
        let error = write(&sink(&server, rest).unwrap(), &batch).await.unwrap_err();
        assert!(error.kind() == ErrorKind::NotFound && error.message().contains(wanted), "{error}");
    }
}

#[tokio::test]
async fn tables_that_go_come_back() {
    let server = server();
    let sink = sink(&server, "power?batch-size=10").unwrap();
    let rows: Vec<_> = (0..40).map(|at| meter(at, at, ["a", "b"][at as usize % 2])).collect();
    let batch = TableBatch::from_rows("meters", meters(), &rows).unwrap();
    let mut writer = writer(&sink, &batch).await.unwrap();
    writer.write(&batch).await.unwrap();
    let child = server.state().databases["power"].tables.keys().next().cloned().unwrap();
    for statement in [format!("DROP TABLE `power`.`{child}`"), "DROP STABLE `power`.`meters`".to_owned()] {
        server.run(&statement);
        let settled = writer.write(&batch).await.unwrap();
        assert_eq!(settled.total().written, 40, "{statement}");
        assert_eq!(server.count("power"), 40, "{statement}");
    }
    // But not where nothing may be made.
    let never = self::sink(&server, "power?create=never").unwrap();
    let mut writer = self::writer(&never, &batch).await.unwrap();
    server.run("DROP STABLE `power`.`meters`");
    let error = writer.write(&batch).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
}

#[tokio::test]
async fn tags_of_subtables_change_if_that_is_asked_for() {
    let server = server();
    write(&sink(&server, "power").unwrap(), &named(&[(1, 1, "d1", "a"), (1, 1, "d2", "b")])).await.unwrap();
    let location = |child: &str| server.state().databases["power"].tables[child].tags["location"].clone();
    let moved = named(&[(2, 2, "d1", "c"), (2, 2, "d2", "b"), (3, 3, "d3", "e"), (4, 4, "d3", "f")]);
    write(&sink(&server, "power").unwrap(), &moved).await.unwrap();
    assert_eq!(location("d1"), Literal::Text("a".to_owned()));
    write(&sink(&server, "power?update-tags").unwrap(), &moved).await.unwrap();
    assert_eq!(
        [location("d1"), location("d2"), location("d3")],
        ["c", "b", "f"].map(|tag| Literal::Text(tag.to_owned()))
    );
    let altered = server.state().statements.iter().filter(|sql| sql.contains("SET TAG")).count();
    // Those alone that had others.
    assert_eq!(altered, 2);
    assert_eq!(server.count("power"), 6);
}

#[tokio::test]
async fn rows_of_one_time_are_kept_apart_by_a_key() {
    let server = server();
    let schema = Arc::new(
        Schema::new(vec![
            Column::new("ts", DataType::TimestampTz(TimeUnit::Millisecond)).with_key(1, 2),
            Column::new("id", DataType::Int64).with_key(2, 2),
            Column::new("v", DataType::Float64),
        ])
        .unwrap(),
    );
    let row = |id, v| vec![ms(1), Value::Int(id), Value::Float64(v)];
    let batch = TableBatch::from_rows("events", schema, &[row(1, 0.5), row(2, 1.5), row(1, 2.5)]).unwrap();
    let counts = write(&sink(&server, "power").unwrap(), &batch).await.unwrap().total();
    assert_eq!((server.count("power"), counts.written, counts.updated), (2, 2, 1));
    let state = server.state();
    let rows = &state.databases["power"].tables["events"].rows;
    assert_eq!(rows[&(1, Literal::Number("1".to_owned()))]["v"], Literal::Number("2.5".to_owned()));
}

#[tokio::test]
async fn tables_that_do_not_go_together_are_told_before_the_first_row() {
    let server = server();
    server.run("CREATE STABLE `power`.`s` (`ts` TIMESTAMP, `v` INT) TAGS (`t` INT)");
    server.run("CREATE TABLE `power`.`p` (`ts` TIMESTAMP, `voltage` VARCHAR(9), `g` GEOMETRY(100))");
    server.run("INSERT INTO `power`.`c` USING `power`.`s` (`t`) TAGS (1) (`ts`,`v`) VALUES (1,1)");
    let plain = |name: &'static str| {
        let schema = Schema::new(vec![
            Column::new("ts", DataType::TimestampTz(TimeUnit::Millisecond)),
            Column::new(name, DataType::Int32),
        ]);
        TableBatch::from_rows("x", Arc::new(schema.unwrap()), &[vec![ms(5), Value::Int(5)]]).unwrap()
    };
    let expect = async |rest: &str, batch: &TableBatch, wanted: &str| {
        let error: Error = write(&sink(&server, rest).unwrap(), batch).await.unwrap_err();
        assert!(error.report().contains(wanted), "{rest}: {}", error.report());
    };
    expect("power.s", &plain("v"), "the rows have none of its tags").await;
    expect("power.p", &plain("voltage"), "no exact way from i32 to VARCHAR(9)").await;
    expect("power.p", &plain("g"), "no exact way from i32 to GEOMETRY").await;
    expect("power.c", &plain("w"), "those of its supertable").await;
    expect("power.p", &named(&[(1, 1, "d1", "a")]), "which subtable they belong to").await;
    // A subtable takes rows as a table does.
    write(&sink(&server, "power.c").unwrap(), &plain("v")).await.unwrap();
    assert_eq!(server.state().databases["power"].tables["c"].rows.len(), 2);
    server.state().version = "2.6.0.30".to_owned();
    expect("power.c", &plain("v"), "is TDengine 2.6.0.30").await;
    server.state().login = ("root".to_owned(), "hunter2".to_owned());
    expect("power.c", &plain("v"), "[0x0357] Authentication failure").await;
}

fn of_host(table: &str, rows: &[(i64, &str)]) -> TableBatch {
    let schema = Schema::new(vec![
        Column::new("ts", DataType::TimestampTz(TimeUnit::Millisecond)).with_role(Role::Timestamp),
        Column::new("v", DataType::Int32),
        Column::new("host", DataType::Text).with_role(Role::Tag),
    ]);
    let rows: Vec<_> =
        rows.iter().map(|(time, host)| vec![ms(*time), Value::Int(*time), text(host)]).collect();
    TableBatch::from_rows(table, Arc::new(schema.unwrap()), &rows).unwrap()
}

#[tokio::test]
async fn rows_of_two_supertables_do_not_mix() {
    let server = server();
    let sink = sink(&server, "power?subtable=d{host}").unwrap();
    let (cpu, rest) = (of_host("cpu", &[(1, "a"), (2, "a")]), of_host("cpu", &[(3, "a")]));
    let times: Vec<_> = (10..200).map(|time| (time, "a")).chain([(5, "b")]).collect();
    let mem = of_host("mem", &times);
    let mut writer = writer(&sink, &cpu).await.unwrap();
    sink.prepare(mem.table(), mem.schema()).await.unwrap();
    assert_eq!(writer.write(&cpu).await.unwrap().total().written, 2);
    let before = server.state().inserts;
    let settled = writer.write(&mem).await.unwrap();
    // `da` is one of cpu's: all of its rows are refused at once, and `db` is not touched by it.
    assert_eq!((settled.total().written, settled.total().rejected), (1, 190));
    assert!(settled.rejects.iter().all(|reject| reject.code == "0x061D"));
    assert!(server.state().inserts - before < 20, "{}", server.state().inserts - before);
    assert_eq!(writer.write(&rest).await.unwrap().total().written, 1);
    let state = server.state();
    let tables = &state.databases["power"].tables;
    assert_eq!((tables["da"].rows.len(), tables["da"].home.as_deref()), (3, Some("cpu")));
    assert_eq!((tables["db"].rows.len(), tables["db"].home.as_deref()), (1, Some("mem")));
}

#[tokio::test]
async fn tags_that_go_back_are_changed_back() {
    let server = server();
    let sink = sink(&server, "power?update-tags").unwrap();
    let batches: Vec<_> =
        ["a", "b", "a"].iter().zip(1..).map(|(tag, at)| named(&[(at, at, "d1", tag)])).collect();
    let mut writer = writer(&sink, &batches[0]).await.unwrap();
    for (batch, wanted) in batches.iter().zip(["a", "b", "a"]) {
        writer.write(batch).await.unwrap();
        let found = server.state().databases["power"].tables["d1"].tags["location"].clone();
        assert_eq!(found, Literal::Text(wanted.to_owned()));
    }
    assert_eq!(server.count("power"), 3);
}

/// Where nothing is taken it is asked whether that goes on, and what is left is told all the same.
#[tokio::test]
async fn a_batch_of_bad_rows_is_told_in_part_first() {
    let server = server();
    let rows: Vec<_> = (0..200).map(|at| meter(at, at, "a")).collect();
    let batch = TableBatch::from_rows("meters", meters(), &rows).unwrap();
    server.state().poison = Some(("ok".to_owned(), 0x2653));
    let mut writer = writer(&sink(&server, "power").unwrap(), &batch).await.unwrap();
    let settled = writer.write(&batch).await.unwrap();
    assert_eq!(settled.total().rejected, 33);
    assert!(server.state().inserts < 80, "{}", server.state().inserts);
    let settled = writer.drain().await.unwrap();
    assert_eq!((settled.total().rejected, settled.rejects.len()), (167, 167));
    assert_eq!(writer.flush().await.unwrap().total().rows(), 0);
    assert_eq!(server.count("power"), 0);
}

#[tokio::test]
async fn tags_do_not_become_columns_that_tell_nothing_apart() {
    let server = server();
    server.run("CREATE TABLE `power`.`plain` (`ts` TIMESTAMP, `v` INT, `host` VARCHAR(20))");
    server.run("CREATE TABLE `power`.`bare` (`ts` TIMESTAMP, `v` INT)");
    server.run("CREATE STABLE `power`.`s` (`ts` TIMESTAMP, `v` INT, `host` VARCHAR(20)) TAGS (`dc` INT)");
    for name in ["plain", "bare"] {
        let error = write(&sink(&server, "power").unwrap(), &of_host(name, &[(1, "a")])).await.unwrap_err();
        assert!(error.report().contains("-T set-role:field=host"), "{}", error.report());
    }
    assert_eq!(server.state().databases["power"].tables["bare"].columns.len(), 2);
    let with_dc = |host: &'static str| {
        let mut columns = of_host("s", &[]).schema().columns().to_vec();
        columns.push(Column::new("dc", DataType::Int32).with_role(Role::Tag));
        let row = vec![ms(1), Value::Int(1), text(host), Value::Int(7)];
        TableBatch::from_rows("s", Arc::new(Schema::new(columns).unwrap()), &[row]).unwrap()
    };
    let error = write(&sink(&server, "power").unwrap(), &with_dc("a")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Schema, "{error}");
    // With names of their own they are apart.
    for host in ["a", "b"] {
        write(&sink(&server, "power?subtable=s_{host}").unwrap(), &with_dc(host)).await.unwrap();
    }
    assert_eq!(server.count("power"), 2);
}

#[tokio::test]
async fn json_alone_and_the_precision_of_databases() {
    let server = server();
    let schema = Schema::new(vec![
        Column::new("ts", DataType::TimestampTz(TimeUnit::Millisecond)),
        Column::new("j", DataType::Json),
    ]);
    let batch =
        TableBatch::from_rows("docs", Arc::new(schema.unwrap()), &[vec![ms(1), text("{\"a\":1}")]]).unwrap();
    assert_eq!(write(&sink(&server, "power").unwrap(), &batch).await.unwrap().total().written, 1);
    assert_eq!(server.state().databases["power"].tables["docs"].columns[1].sql_type, "VARCHAR(1024)");
    let error = sink(&server, "power?precision=ms").unwrap_err();
    assert!(error.report().contains("add assert"), "{}", error.report());
    let error = write(&sink(&server, "power?assert&precision=us").unwrap(), &batch).await.unwrap_err();
    assert!(error.message().contains("has the precision ms"), "{error}");
    // Statements before the first row find the database that is to be made.
    let before =
        "fresh?assert&precision=us&pre_sql=CREATE TABLE `fresh`.`docs` (`ts` TIMESTAMP, `j` VARCHAR(9))";
    let sink = sink(&server, before).unwrap();
    sink.start(&Run::first(JobId::new("test"))).await.unwrap();
    assert_eq!(write(&sink, &batch).await.unwrap().total().written, 1);
    assert_eq!(server.state().databases["fresh"].precision, "us");
}

#[tokio::test]
async fn an_insert_has_a_time_of_its_own() {
    let server = server();
    server.state().delay = std::time::Duration::from_millis(1_200);
    let batch = TableBatch::from_rows("meters", meters(), &[meter(1, 1, "a")]).unwrap();
    let error = write(&sink(&server, "power?timeout-per-table=1s&connect_attempts=1").unwrap(), &batch)
        .await
        .unwrap_err();
    assert!(
        error.kind() == ErrorKind::Timeout && error.report().contains("timeout-per-table="),
        "{}",
        error.report()
    );
    let patient = sink(&server, "power?timeout=1s&timeout-per-table=1m&connect_attempts=1").unwrap();
    assert_eq!(write(&patient, &batch).await.unwrap().total().written, 1);
}

#[tokio::test]
async fn making_longer_has_patience_and_lists_that_are_cut_are_faults() {
    let server = server();
    let row = |time, note: &str| {
        let mut row = meter(time, 1, "a");
        row[2] = text(note);
        TableBatch::from_rows("meters", meters(), &[row]).unwrap()
    };
    let evolve = sink(&server, "power?create=evolve&text_length=4").unwrap();
    let mut writer = writer(&evolve, &row(1, "ok")).await.unwrap();
    // One answer without a word is looked at again.
    server.state().empty = Some(("DESCRIBE".to_owned(), 1));
    let settled = writer.write(&row(1, "a longer text")).await.unwrap();
    assert_eq!((settled.total().written, server.state().empty.as_ref().map(|(_, left)| *left)), (1, Some(0)));
    for piece in ["DESCRIBE", "ins_databases", "COUNT(*)", "SELECT `columns`"] {
        server.state().empty = Some((piece.to_owned(), usize::MAX));
        let sink = sink(&server, "power?assert&connect_attempts=1").unwrap();
        let error = sink.prepare(row(1, "ok").table(), row(1, "ok").schema()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{piece}: {}", error.report());
    }
    server.state().empty = None;
    server.state().row_limit = Some(3);
    let error = sink(&server, "power?connect_attempts=1")
        .unwrap()
        .prepare(row(1, "ok").table(), row(1, "ok").schema())
        .await;
    assert!(error.unwrap_err().report().contains("restfulRowLimit"));
}
