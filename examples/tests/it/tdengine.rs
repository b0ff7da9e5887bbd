//! TDengine, by the command, against a stand-in: a real one cannot be had here.

use std::fmt::Write;

use kwsync_core::testkit::tdengine::{Database, Literal, TdengineServer};
use kwsync_core::testkit::{InfluxServer, Mosquitto, PgServer};
use serde_json::{Value, json};

use super::kill::{kills, start_and_kill};
use super::support::{Job, Place, block, until};

/// 2023-11-14 22:13:20 UTC, in milliseconds.
const NOVEMBER: u64 = 1_700_000_000_000;

fn dsn(server: &TdengineServer, rest: &str) -> String {
    format!("taos+http://root:taosdata@127.0.0.1:{}/{rest}", server.port)
}

/// A database with a supertable of every type, whose subtables have names that need backquotes, one with a JSON tag, and a table
/// with a second key.
fn filled(precision: &str) -> TdengineServer {
    let server = TdengineServer::start();
    server.run(&format!("CREATE DATABASE `db1` PRECISION '{precision}'"));
    server.run(
        "CREATE STABLE `db1`.`every type` (`ts` TIMESTAMP, `b` BOOL, `i8` TINYINT, `i16` SMALLINT, `i32` INT, `i64` BIGINT, `u8` TINYINT UNSIGNED, \
         `u16` SMALLINT UNSIGNED, `u32` INT UNSIGNED, `u64` BIGINT UNSIGNED, `f32` FLOAT, `f64` DOUBLE, `s` VARCHAR(30), `n` NCHAR(9), \
         `x` VARBINARY(3), `d` DECIMAL(38, 3), `t2` TIMESTAMP) TAGS (`location` VARCHAR(24), `groupid` INT, `seen` TIMESTAMP)",
    );
    let columns = "(`ts`,`b`,`i8`,`i16`,`i32`,`i64`,`u8`,`u16`,`u32`,`u64`,`f32`,`f64`,`s`,`n`,`x`,`d`,`t2`)";
    for (child, tags) in [("d1", "'Berlin',7,1"), ("d 2'\"", "'it\\'s \\\\',NULL,NULL"), ("温度", "'',-1,-1")]
    {
        server.run(&format!(
            "INSERT INTO `db1`.`{child}` USING `db1`.`every type` (`location`,`groupid`,`seen`) TAGS ({tags}) {columns} VALUES \
             (1700000000001,true,-128,-5,-2147483648,-9223372036854775808,255,65535,4294967295,18446744073709551615,0.1,1e-300,\
             'it\\'s \\\\ \"ä\"\n','温度','\\x0001ff',123456789012345678901234567890.5,-1) (-7,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,\
             NULL,NULL,NULL,NULL,NULL,NULL) (1700000000002,false,1,1,1,9007199254740993,1,1,1,1,-1.5,0,'','','\\x',-0.001,0)"
        ));
    }
    server.run("CREATE STABLE `db1`.`j` (`ts` TIMESTAMP, `v` INT) TAGS (`tag` JSON)");
    server.run(
        "INSERT INTO `db1`.`j1` USING `db1`.`j` (`tag`) TAGS ('{\"k\":[1,\"]\"]}') (`ts`,`v`) VALUES (1,1)",
    );
    server.run("CREATE TABLE `db1`.`log` (`ts` TIMESTAMP, `id` BIGINT PRIMARY KEY, `text` NCHAR(20))");
    server.run("INSERT INTO `db1`.`log` (`ts`,`id`,`text`) VALUES (1,1,'x') (1,2,NULL)");
    server
}

/// All that a database has: supertables, subtables with tags, rows; numbers as what they are.
fn all(server: &TdengineServer, database: &str) -> Vec<String> {
    let state = server.state();
    let Database { supers, tables, .. } = &state.databases[database];
    let mut found: Vec<String> = supers.iter().map(|(name, table)| format!("{name}: {table:?}")).collect();
    let plain = |literal: &Literal| match literal {
        Literal::Number(number) => number.parse::<i128>().map_or_else(
            |_| {
                number.parse::<f64>().map_or_else(
                    |_| number.clone(),
                    |float| format!("{float:e} {}", number.trim_end_matches('0')),
                )
            },
            |number| number.to_string(),
        ),
        other => format!("{other:?}"),
    };
    for (name, table) in tables {
        let tags: Vec<_> = table.tags.iter().map(|(name, tag)| format!("{name}={}", plain(tag))).collect();
        found.push(format!("{name} of {:?} {:?}: {tags:?}", table.home, table.columns));
        for ((time, key), row) in &table.rows {
            let row: Vec<_> = row.iter().map(|(name, value)| format!("{name}={}", plain(value))).collect();
            found.push(format!("{name} {time} {} {row:?}", plain(key)));
        }
    }
    // Digits that say nothing are the server's business.
    found.iter().map(|line| line.replace("1e-300 1e-3\"", "1e-300\"").replace(".500 ", ".5 ")).collect()
}

#[test]
fn every_type_goes_there_and_back() {
    for precision in ["ms", "us", "ns"] {
        let server = filled(precision);
        let place = Place::new();
        let (from, to) = (dsn(&server, "db1"), dsn(&server, "db2?assert"));
        let plan = place.run(&["run", "--from", &from, "--to", &to, "--dry-run"]).expect(0).out();
        assert!(
            plan.contains(&format!("CREATE DATABASE IF NOT EXISTS `db2` PRECISION '{precision}'")),
            "{plan}"
        );
        assert!(
            plan.contains(
                "CREATE STABLE IF NOT EXISTS `db2`.`j` (`ts` TIMESTAMP, `v` INT) TAGS (`tag` JSON)"
            ),
            "{plan}"
        );
        assert!(!server.state().databases.contains_key("db2"));
        let ddl = place.run(&["ddl", "--from", &from, "--to", &to]).expect(0).out();
        assert!(ddl.contains("`id` BIGINT PRIMARY KEY, `text` NCHAR(20))"), "{ddl}");
        // Twice, and nothing is there twice.
        for _ in 0..2 {
            let ran = place.run(&["run", "--from", &from, "--to", &to, "--report", "json"]).expect(0);
            let report: Value = serde_json::from_str(&ran.out()).unwrap();
            assert_eq!(
                (&report["rows_written"], &report["delivery"]),
                (&json!(12), &json!("idempotent")),
                "{report}"
            );
            assert_eq!(all(&server, "db1"), all(&server, "db2"), "{precision}");
        }
        // By way of files, as a backup.
        place.run(&["run", "-f", &from, "-t", "local:backup/"]).expect(0);
        place.run(&["run", "-f", "local:backup/", "-t", &dsn(&server, "db3?assert")]).expect(0);
        assert_eq!(all(&server, "db1"), all(&server, "db3"), "{precision}");
    }
}

#[test]
fn supertables_go_into_postgres() {
    let Some(postgres) = PgServer::shared() else { return };
    let (server, place, database) = (filled("ms"), Place::new(), postgres.create_database());
    place.run(&["run", "-f", &dsn(&server, "db1"), "-t", &postgres.dsn(&database), "-j", "2"]).expect(0);
    let sql = "SELECT tbname, location, groupid, i64, u64, d, s, encode(x, 'hex') FROM \"every type\" WHERE i8 < 0 ORDER BY tbname COLLATE \"C\"";
    let row = |child: &str, tags: &str| {
        format!(
            "{child}|{tags}|-9223372036854775808|18446744073709551615|123456789012345678901234567890.500|it's \\ \"ä\"\n|0001ff\n"
        )
    };
    let wanted = [row("d 2'\"", "it's \\|"), row("d1", "Berlin|7"), row("温度", "|-1")].concat();
    assert_eq!(postgres.psql(&database, sql), wanted);
    assert_eq!(postgres.psql(&database, "SELECT count(*), count(i8) FROM \"every type\""), "9|6\n");
    assert_eq!(postgres.psql(&database, "SELECT tbname, tag->'k'->>1 FROM j"), "j1|]\n");
    // A subtable has a row a time, and so has the target.
    let twice = "INSERT INTO log SELECT * FROM log";
    assert!(postgres.try_psql(&database, twice, b"").is_err());
}

fn lines(rows: u64) -> String {
    let mut text = String::new();
    for n in 0..rows {
        writeln!(text, "cpu,host=h{},dc=eu n={n}i,s=\"row {n}\" {}000000", n % 20, NOVEMBER + n).unwrap();
    }
    text
}

/// Killed at random moments and started again, a load is complete, and no row is there twice.
#[test]
fn killed_at_any_moment() {
    const ROWS: u64 = 60_000;
    let (kills, mut random) = kills();
    let (server, place) = (TdengineServer::start(), Place::new());
    server.run("CREATE DATABASE `plant`");
    place.write("in.lp", lines(ROWS));
    let to = dsn(&server, "plant?batch-size=500");
    let arguments = [
        "run",
        "-f",
        "in.lp?split=lines&split_bytes=128KiB",
        "-t",
        &to,
        "-j",
        "2",
        "--commit-rows",
        "2000",
        "--quiet",
    ];
    let slow = [&arguments[..], &["--rate-rows", "60000"]].concat();
    for _ in 0..kills.div_ceil(2) {
        start_and_kill(&place, &slow, &mut random);
    }
    place.run(&arguments).expect(0);
    assert_eq!((server.count("plant"), server.state().databases["plant"].tables.len()), (ROWS as usize, 20));
    // And from there: exactly once.
    let Some(postgres) = PgServer::shared() else { return };
    let database = postgres.create_database();
    let (from, to) = (dsn(&server, "plant?batch_rows=1000"), postgres.dsn(&database));
    let arguments = ["run", "-f", &from, "-t", &to, "-j", "2", "--commit-rows", "2000", "--quiet"];
    let slow = [&arguments[..], &["--rate-rows", "60000"]].concat();
    for _ in 0..kills.div_ceil(2) {
        start_and_kill(&place, &slow, &mut random);
    }
    // The last run meets an answer that is cut, whenever the others were killed.
    server.state().cut_answers = 1;
    place.run(&arguments).expect(0);
    assert_eq!(server.state().cut_answers, 0);
    let found = postgres
        .psql(&database, "SELECT count(*), count(DISTINCT n), sum(n), count(DISTINCT tbname) FROM cpu");
    assert_eq!(found, format!("{ROWS}|{ROWS}|{}|20\n", ROWS * (ROWS - 1) / 2));
}

#[test]
fn what_the_server_refuses_is_in_the_reject_file() {
    let (server, place) = (TdengineServer::start(), Place::new());
    let mut text = lines(5_000);
    writeln!(text, "cpu,host=h1 n=1i,s=\"poison\" {NOVEMBER}000000\ncpu,host=h1 n=1i {NOVEMBER}000001")
        .unwrap();
    place.write("in.lp", text);
    {
        let mut state = server.state();
        state.poison = Some(("poison".to_owned(), 0x2653));
        state.cut_after = vec![1];
        state.refuse.insert(3, 0x0914);
    }
    // As taosX has it, in the address of the target.
    let to = dsn(&server, "plant?failes-to=bad.jsonl");
    let (before, after) = ("CREATE DATABASE `plant` PRECISION 'us'", "CREATE DATABASE `done`");
    let arguments =
        ["run", "-f", "in.lp", "-t", &to, "--report", "json", "--pre-sql", before, "--post-sql", after];
    let ran = place.run(&arguments).expect(3);
    assert!(server.state().databases.contains_key("done"));
    let report: Value = serde_json::from_str(&ran.out()).unwrap();
    assert_eq!((&report["rows_written"], &report["rows_rejected"]), (&json!(5_000), &json!(2)), "{report}");
    let bad = std::fs::read_to_string(place.path("bad.jsonl")).unwrap();
    for wanted in
        ["\"0x2653\"", "\"line\":5001", "timestamp_precision", "timestamp_ns=truncate", "\"line\":5002"]
    {
        assert!(bad.contains(wanted), "{wanted}: {bad}");
    }
    assert_eq!(server.count("plant"), 5_000);
}

/// The lines of taosX's manual, with other hosts.
#[test]
fn the_commands_of_taosx() {
    let (server, place) = (filled("ms"), Place::new());
    server.run("CREATE STABLE `db1`.`stable1` (`ts` TIMESTAMP, `v` INT) TAGS (`t` INT)");
    server.run(
        "INSERT INTO `db1`.`prefix1_cpu` USING `db1`.`stable1` (`t`) TAGS (1) (`ts`,`v`) VALUES (1,1) (2,2)",
    );
    server.run("CREATE STABLE `db1`.`stable2` (`ts` TIMESTAMP, `v` INT) TAGS (`t` INT)");
    let golden = |name: &str| {
        let path = format!("{}/../kwsync-core/tests/golden/taosx/{name}.sh", env!("CARGO_MANIFEST_DIR"));
        std::fs::read_to_string(path).unwrap()
    };
    let own = |text: &str, database: &str| {
        let at = format!("127.0.0.1:{}", server.port);
        ["td1:6041", "td1:6030", "td2:6041", "td2:6030", "192.168.1.20:6041"]
            .iter()
            .fold(text.to_owned(), |text, host| text.replace(host, &at))
            .replace("<username>:<password>@", "root:taosdata@")
            .replace("taos+wss", "taos+ws")
            .replace("&token=<token>", "")
            .replace("/db2", &format!("/{database}"))
    };
    let run = |line: &str| {
        let made = kwsync_core::spec::taosx::read(line).unwrap();
        let spec = &made.specs[0];
        let mut arguments = vec![
            "run".to_owned(),
            "-f".to_owned(),
            spec.from.dsn().unwrap().to_string_with_secrets(),
            "-t".to_owned(),
            spec.to.dsn().unwrap().to_string_with_secrets(),
        ];
        arguments
            .extend(spec.transforms.iter().flat_map(|transform| ["-T".to_owned(), transform.to_string()]));
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        place.run(&arguments)
    };
    run(&own(&golden("tdengine-websocket"), "ws")).expect(0);
    assert_eq!(server.count("ws"), 2);
    assert_eq!(server.state().databases["ws"].supers.len(), 2);
    for (at, line) in golden("transforms").lines().enumerate() {
        let line = own(line, &format!("t{at}?assert")).replace("/db1", "/db1.stable1");
        run(&line).expect(0);
        let state = server.state();
        let database = &state.databases[&format!("t{at}")];
        let names = |names: &mut dyn Iterator<Item = &String>| names.cloned().collect::<Vec<String>>();
        let (supers, tables) = (names(&mut database.supers.keys()), names(&mut database.tables.keys()));
        let wanted = [
            ("stable1", "prefix1_cpu"),
            ("p_stable1", "p_prefix1_cpu"),
            ("stable1", "prefix2__cpu"),
            ("stable1_s", "stable1_s_prefix1_cpu"),
        ];
        assert_eq!(
            (supers, tables),
            (vec![wanted[at].0.to_owned()], vec![wanted[at].1.to_owned()]),
            "{line}"
        );
        if at == 0 {
            assert_eq!(database.tables["prefix1_cpu"].tags["site"], Literal::Text("berlin".to_owned()));
        }
    }
    // The native protocol is refused by name, before anything is touched.
    let error = run(golden("tdengine-26-native").as_str()).expect(2).err();
    assert!(
        error.contains("td1:6030 is TDengine's native protocol") && error.contains("taos://td1:6041/db1"),
        "{error}"
    );
    // CSV, as the documentation has it.
    place.write("meters.csv", "ts,current,voltage,location\n2024-05-01T00:00:00Z,10.5,220,Berlin\n2024-05-01T00:00:01Z,10.25,221,Berlin\n");
    let command = block("tdengine.md", "sh", 1);
    let command = command
        .replace("HOST:6041", &format!("127.0.0.1:{}", server.port))
        .replace("USER:PASSWORD", "root:taosdata");
    let command = command.replacen("kwsync run", &format!("'{}' run", env!("CARGO_BIN_EXE_kwsync")), 1);
    super::support::Ran::of(place.command_of("sh", &["-c", &command]).output().unwrap()).expect(0);
    let state = server.state();
    let child = &state.databases["power"].tables["d_Berlin"];
    assert_eq!((child.rows.len(), child.home.as_deref()), (2, Some("meters")));
}

#[test]
fn messages_go_into_subtables() {
    let Some(broker) = Mosquitto::start() else { return };
    let (server, place) = (TdengineServer::start(), Place::new());
    server.run("CREATE DATABASE `test`");
    place.write(
        "parser.json",
        r#"{"parse": {"payload": {"json": [
            {"name": "ts", "alias": "ts", "cast": "TIMESTAMP"}, {"name": "id", "alias": "id", "cast": "INT"},
            {"name": "voltage", "alias": "voltage", "cast": "INT"}, {"name": "phase", "alias": "phase", "cast": "FLOAT"},
            {"name": "current", "alias": "current", "cast": "FLOAT"}, {"name": "groupid", "alias": "groupid", "cast": "INT"},
            {"name": "location", "alias": "location", "cast": "VARCHAR(20)"}]}},
          "model": {"name": "d{id}", "using": "meters", "columns": ["ts", "id", "current", "voltage", "phase"],
            "tags": ["groupid", "location"]}}"#,
    );
    let from = format!(
        "mqtt://me:s3cret@127.0.0.1:{}?topics=testtopic/1::2&client_id=taos1&timeout=1s",
        broker.port()
    );
    let to = dsn(&server, "test?timestamp_ns=truncate").replace("taos+http", "taos+ws");
    let job = Job::start(&place, &["run", "-f", &from, "-t", &to, "--parser", "@parser.json"]);
    until("the subscription", || broker.log().contains("Sending SUBACK to taos1"));
    let message = r#"{"id": 1, "current": 10.77, "voltage": 222, "phase": 0.77, "groupid": 7, "location": "California.SanDiego"}"#;
    broker.publish("testtopic/1", 2, &format!("{message}\n"));
    job.end().expect(0);
    let state = server.state();
    let database = &state.databases["test"];
    let names: Vec<_> = database.supers["meters"].columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(names, ["ts", "id", "current", "voltage", "phase"]);
    let child = &database.tables["d1"];
    assert_eq!(child.tags["location"], Literal::Text("California.SanDiego".to_owned()));
    assert_eq!(child.rows.values().next().unwrap()["current"], Literal::Number("10.77".to_owned()));
}

#[test]
fn points_of_influxdb_go_into_subtables() {
    let Some(influx) = InfluxServer::shared() else { return };
    let (server, place, bucket) = (TdengineServer::start(), Place::new(), influx.create_database());
    influx.write(&bucket, &lines(1_000));
    let from = format!(
        "influxdb+http://127.0.0.1:{}/?version=1.7&bucket={bucket}&measurements=&beginTime=2023-06-01T00:00:00+0800&endTime=2024-01-01",
        influx.port()
    );
    // Nanoseconds, as the points have them; and whole milliseconds fit a database of those.
    server.run("CREATE DATABASE `test_db`");
    for database in ["fine?assert", "test_db"] {
        place.run(&["run", "--from", &from, "--to", &dsn(&server, database)]).expect(0);
    }
    let state = server.state();
    assert_eq!(state.databases["fine"].precision, "ns");
    for database in ["fine", "test_db"] {
        let found = &state.databases[database];
        let rows: usize = found.tables.values().map(|table| table.rows.len()).sum();
        assert_eq!((found.tables.len(), rows), (20, 1_000), "{database}");
        assert!(found.tables.keys().all(|name| name.starts_with("cpu_")));
    }
    // The same tags have the same subtable, whatever the database.
    let names = |database: &str| state.databases[database].tables.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names("fine"), names("test_db"));
}

/// What comes is followed, and a job that is stopped goes on where it was.
#[test]
fn rows_that_come_are_followed() {
    let (server, place) = (TdengineServer::start(), Place::new());
    server.run("CREATE DATABASE `db1`");
    server.run("CREATE STABLE `db1`.`m` (`ts` TIMESTAMP, `v` INT) TAGS (`t` INT)");
    let insert = |child: u64, from: u64| {
        let rows: String = (from..from + 10).map(|at| format!("({},{at})", NOVEMBER + at)).collect();
        server.run(&format!(
            "INSERT INTO `db1`.`d{child}` USING `db1`.`m` (`t`) TAGS ({child}) (`ts`,`v`) VALUES {rows}"
        ));
    };
    insert(1, 0);
    let from = dsn(&server, "db1?mode=all&interval=50ms&poll_interval=50ms&excursion=500ms");
    let to = dsn(&server, "db2?assert");
    let start = || {
        Job::start(
            &place,
            &["run", "-f", &from, "-t", &to, "--job", "follow", "--commit-rows", "1", "--quiet"],
        )
    };
    let job = start();
    until("the first rows", || server.count("db2") == 10);
    insert(2, 10);
    until("the next rows", || server.count("db2") == 20);
    // A supertable that is new, too.
    server.run("CREATE STABLE `db1`.`n` (`ts` TIMESTAMP, `v` INT) TAGS (`t` INT)");
    server.run(&format!(
        "INSERT INTO `db1`.`e1` USING `db1`.`n` (`t`) TAGS (1) (`ts`,`v`) VALUES ({NOVEMBER},1)"
    ));
    until("another table", || server.count("db2") == 21);
    assert_eq!(job.terminate().status(), 143);
    let before = server.state().statements.len();
    insert(1, 20);
    let job = start();
    until("what came between", || server.count("db2") == 31);
    job.kill();
    // What was given is not read again.
    let state = server.state();
    let again = state.statements[before..].iter().filter(|sql| sql.starts_with("INSERT INTO `db2`"));
    assert!(
        again.clone().count() > 0 && again.clone().all(|sql| !sql.contains(&format!("({NOVEMBER},0)"))),
        "{again:?}"
    );
}

#[test]
fn mistakes_say_what_to_do() {
    let (server, place) = (filled("ms"), Place::new());
    place.write("in.lp", lines(10));
    let login = dsn(&server, "db1").replace("root:taosdata", "root:hunter2");
    let nobody = dsn(&server, "db1").replace(&server.port.to_string(), "1");
    for (from, to, status, wanted) in [
        ("in.lp", dsn(&server, "nothing"), 1, "assert"),
        ("in.lp", dsn(&server, ""), 2, "names no database"),
        ("in.lp", login.clone(), 1, "[0x0357] Authentication failure"),
        (
            "in.lp",
            format!("{nobody}?connect_attempts=1"),
            1,
            "cannot connect to TDengine (taosAdapter) at 127.0.0.1:1",
        ),
        ("in.lp", dsn(&server, "db1?create=never"), 1, "there is no table cpu in db1"),
        ("in.lp", dsn(&server, "db1?asert"), 2, "did you mean `assert`?"),
        ("in.lp", dsn(&server, "db1?mode=upsert"), 2, "upsert"),
        ("in.lp", dsn(&server, "db1?table=a.b"), 1, "TDengine has no way to write in names"),
        (&dsn(&server, "db1?stables=every"), "discard:".to_owned(), 1, "no table \"every\""),
        ("tmq://root:taosdata@h:6041/db1", "discard:".to_owned(), 2, "tmq"),
    ] {
        let ran = place.run(&["run", "-f", from, "-t", &to, "--retries", "0"]).expect(status);
        assert!(ran.err().contains(wanted) && !ran.err().contains("hunter2"), "{from} {to}: {}", ran.err());
    }
}

/// The jobs of KaiwuDB's documentation, PostgreSQL in the role of KWDB; and one into TDengine.
#[test]
fn jobs_of_datax() {
    let Some(postgres) = PgServer::shared() else { return };
    let (server, place, database) = (TdengineServer::start(), Place::new(), postgres.create_database());
    server.run("CREATE DATABASE `test_db`");
    let columns = "`k_timestamp` TIMESTAMP, `usage_user` BIGINT, `usage_system` BIGINT, `usage_idle` BIGINT";
    server.run(&format!("CREATE TABLE `test_db`.`cpu` ({columns})"));
    let rows: String =
        (0..300).map(|at| format!("({},{at},{},100)", NOVEMBER + at * 1_000, 2 * at)).collect();
    server.run(&format!(
        "INSERT INTO `test_db`.`cpu` (`k_timestamp`,`usage_user`,`usage_system`,`usage_idle`) VALUES {rows}"
    ));
    postgres.psql(&database, "CREATE TABLE cpu (k_timestamp timestamptz NOT NULL, usage_user int8, usage_system int8, usage_idle int8, id int8, hostname varchar, region varchar, datacenter varchar)");
    let path =
        format!("{}/../kwsync-core/tests/golden/datax/tdengine-table.json", env!("CARGO_MANIFEST_DIR"));
    let mut job: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let content = &mut job["job"]["content"][0];
    let address = format!("jdbc:TAOS-RS://127.0.0.1:{}/test_db?timestampFormat=STRING", server.port);
    content["reader"]["parameter"]["connection"][0]["jdbcUrl"][0] = address.clone().into();
    let writer = &mut content["writer"]["parameter"];
    writer["username"] = postgres.superuser().into();
    writer["password"] = postgres.password().into();
    writer["jdbcUrl"] = format!("jdbc:kaiwudb://127.0.0.1:{}/{database}", postgres.port()).into();
    place.write("job.json", job.to_string());
    let out = place.run(&["job", "job.json"]).expect(0).out();
    assert!(out.contains("Total Records Read   : 300\nTotal Failures       : 0\n"), "{out}");
    let found = postgres.psql(
        &database,
        "SELECT count(*), sum(usage_system), min(id), max(hostname || region || datacenter) FROM cpu",
    );
    assert_eq!(found, "300|89700|9001|localhostbeijingcenter\n");
    // And back: by position, into a table that is there.
    server.run(&format!("CREATE TABLE `test_db`.`back` ({columns}, `id` BIGINT, `host` VARCHAR(20))"));
    let job = json!({"job": {"setting": {"speed": {"channel": 1}}, "content": [{
        "reader": {"name": "postgresqlreader", "parameter": {"username": postgres.superuser(), "password": postgres.password(),
            "column": ["k_timestamp", "usage_user", "usage_system", "usage_idle", "id", "hostname"],
            "connection": [{"table": ["cpu"], "jdbcUrl": [format!("jdbc:postgresql://127.0.0.1:{}/{database}", postgres.port())]}]}},
        "writer": {"name": "tdenginewriter", "parameter": {"username": "root", "password": "taosdata",
            "column": ["k_timestamp", "usage_user", "usage_system", "usage_idle", "id", "host"],
            "connection": [{"table": ["back"], "jdbcUrl": address}], "batchSize": 100}}}]}});
    place.write("back.json", job.to_string());
    place.run(&["job", "back.json"]).expect(0);
    let state = server.state();
    assert_eq!(state.databases["test_db"].tables["back"].rows.len(), 300);
    assert!(state.inserts >= 4, "batchSize bounds a statement");
}
