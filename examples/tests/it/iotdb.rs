//! A real Apache IoTDB, by the command. What it holds is asked for by its REST service, not by us.

use std::fmt::Write;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use kwsync_core::testkit::{IotdbServer, PgServer};
use serde_json::{Value, json};

use super::kill::kills;
use super::support::{Job, Place, block, until};

/// 2023-11-14 22:13:20 UTC, in milliseconds.
const NOVEMBER: u64 = 1_700_000_000_000;
/// A column of every type, and names that need backquotes.
const SERIES: [(&str, &str, [&str; 3]); 12] = [
    ("b", "BOOLEAN", ["true", "false", "null"]),
    ("i", "INT32", ["-2147483648", "2147483647", "null"]),
    ("l", "INT64", ["-9223372036854775807", "9223372036854775807", "null"]),
    ("f", "FLOAT", ["1.5", "-0.1", "null"]),
    ("d", "DOUBLE", ["0.1", "-1.7976931348623157E308", "null"]),
    ("t", "TEXT", ["'ünï 时间'", "''", "null"]),
    ("ts", "TIMESTAMP", ["1700000000000", "-1", "null"]),
    ("dt", "DATE", ["'2024-02-29'", "'1000-01-01'", "null"]),
    ("bl", "BLOB", ["X'00ff10'", "X'61'", "null"]),
    ("s", "STRING", ["'a,b'", "'\"q\"'", "null"]),
    ("`1`", "INT32", ["1", "null", "null"]),
    ("`a.b ``c`", "DOUBLE", ["null", "null", "7"]),
];

/// Devices of every type, aligned and not, one with a name that needs backquotes, and one whose `i` is of another type.
fn fill(server: &IotdbServer, database: &str) {
    server.execute(&format!("CREATE DATABASE {database}"));
    let types = |separator: &str| -> Vec<String> {
        SERIES.iter().map(|(name, series, _)| format!("{name}{separator}{series}")).collect()
    };
    server.execute(&format!("CREATE ALIGNED TIMESERIES {database}.al.d1({})", types(" ").join(", ")));
    for device in ["pl.d2", "`x y`.`3`"] {
        for series in types(" ") {
            server.execute(&format!("CREATE TIMESERIES {database}.{device}.{series}"));
        }
    }
    server.execute(&format!("CREATE TIMESERIES {database}.other.i DOUBLE"));
    server.execute(&format!("INSERT INTO {database}.other(time, i) VALUES (5, 2.5)"));
    for device in ["al.d1", "pl.d2", "`x y`.`3`"] {
        for row in 0..3 {
            let there: Vec<_> = SERIES.iter().filter(|(.., values)| values[row] != "null").collect();
            let names: Vec<_> = there.iter().map(|(name, ..)| *name).collect();
            let values: Vec<_> = there.iter().map(|(.., values)| values[row]).collect();
            let (names, values) = (names.join(", "), values.join(", "));
            let aligned = if device == "al.d1" { "ALIGNED " } else { "" };
            let time = [-3, 0, 1_700_000_000_001_i64][row];
            server.execute(&format!(
                "INSERT INTO {database}.{device}(time, {names}) {aligned}VALUES ({time}, {values})"
            ));
        }
    }
}

/// All that a database has: series with types, devices with alignment, rows; without its name.
fn all(server: &IotdbServer, database: &str) -> Vec<Value> {
    let mut found = Vec::new();
    let plain = |value: Value| -> Value {
        serde_json::from_str(&value.to_string().replace(&format!("{database}."), "")).unwrap()
    };
    let series = server.query(&format!("SHOW TIMESERIES {database}.**"));
    let mut names: Vec<(String, String)> = Vec::new();
    for (name, kind) in
        series["values"][0].as_array().unwrap().iter().zip(series["values"][3].as_array().unwrap())
    {
        names.push((name.as_str().unwrap().to_owned(), kind.as_str().unwrap().to_owned()));
    }
    names.sort();
    let devices = server.query(&format!("SHOW DEVICES {database}.**"));
    found.push(plain(json!([devices["values"][0], devices["values"][1]])));
    for (name, kind) in names {
        let (device, measurement) = split(&name);
        let rows = server.query(&format!("SELECT {measurement} FROM {device}"));
        found.push(plain(json!([name, kind, rows["timestamps"], rows["values"]])));
    }
    found
}

/// Device and measurement of a path.
fn split(path: &str) -> (&str, &str) {
    let mut at = 0;
    let mut quoted = false;
    for (place, c) in path.char_indices() {
        match c {
            '`' => quoted = !quoted,
            '.' if !quoted => at = place,
            _ => {}
        }
    }
    (path.get(..at).unwrap(), path.get(at + 1..).unwrap())
}

/// Another server, for one test at a time.
fn other() -> Option<(&'static IotdbServer, MutexGuard<'static, ()>)> {
    static OTHER: OnceLock<Option<IotdbServer>> = OnceLock::new();
    static ONE: Mutex<()> = Mutex::new(());
    let guard = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    OTHER.get_or_init(IotdbServer::start).as_ref().map(|server| (server, guard))
}

fn lines(rows: u64, bad: impl Fn(u64) -> bool) -> String {
    let mut text = String::new();
    for n in 0..rows {
        let nanos = u64::from(bad(n));
        writeln!(
            text,
            "cpu,host=h{},dc=eu n={n}i,half={}.5,s=\"row {n}\" {}{nanos:06}",
            n % 10,
            n / 2,
            NOVEMBER + n
        )
        .unwrap();
    }
    text
}

#[test]
fn every_type_goes_there_and_back() {
    let Some(server) = IotdbServer::shared() else { return };
    let place = Place::new();
    fill(server, "root.ty");
    let (from, to) = (server.dsn("root.ty"), server.dsn("ty2"));
    let plan = place.run(&["run", "--from", &from, "--to", &to, "--dry-run"]).expect(0).out();
    assert!(plan.contains("CREATE DATABASE root.ty2") && plan.contains("idempotent"), "{plan}");
    let ran = place.run(&["run", "--from", &from, "--to", &to, "--report", "json"]).expect(0);
    let report: Value = serde_json::from_str(&ran.out()).unwrap();
    assert_eq!(report["rows_written"], 10, "{report}");
    let (one, other) = (all(server, "root.ty"), all(server, "root.ty2"));
    assert_eq!(one.len(), 1 + 3 * SERIES.len() + 1);
    assert_eq!(one, other);
    // Again, and nothing is there twice.
    place.run(&["run", "--from", &from, "--to", &to]).expect(0);
    assert_eq!(one, all(server, "root.ty2"));

    // By way of Parquet, and of ranges that include their ends.
    place.run(&["run", "--from", &from, "--to", "file:out?format=parquet"]).expect(0);
    place.run(&["run", "--from", "out/**/*.parquet", "--to", &server.dsn("ty3")]).expect(0);
    assert_eq!(one, all(server, "root.ty3"));
    let range = format!("{from}?start-time=1970-01-01T00:00:00Z&end-time=5");
    place.run(&["run", "--from", &range, "--to", &server.dsn("ty4")]).expect(0);
    let rows = server.query("SELECT count(l) FROM root.ty4.pl.d2");
    assert_eq!(rows["values"][0][0], 1, "{rows}");
    assert_eq!(server.count("root.ty4.other"), 1);
}

#[test]
fn a_pattern_is_no_path() {
    let Some(server) = IotdbServer::shared() else { return };
    let place = Place::new();
    // The seed's own example.
    for device in [
        "root.aligned.1TS",
        "root.aligned.1TS.`1`",
        "root.aligned.100TS",
        "root.aligned.`1`",
        "root.aligned.`123`",
    ] {
        server.execute(&format!("INSERT INTO {device}(time, v) VALUES (1, 1)"));
    }
    let from = format!("{}?pattern=root.aligned.1&tables=device", server.dsn(""));
    place.run(&["run", "--from", &from, "--to", "file:out?format=json"]).expect(0);
    let mut tables: Vec<String> = std::fs::read_dir(place.path("out"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.starts_with('.'))
        .collect();
    tables.sort();
    assert_eq!(tables.len(), 3, "{tables:?}");
    assert!(tables.iter().all(|table| table.contains("TS")), "{tables:?}");
}

#[test]
fn lines_become_devices_and_bad_rows_rejects() {
    let Some(server) = IotdbServer::shared() else { return };
    let place = Place::new();
    // One time is finer than a millisecond.
    place.write("in.lp", lines(100_000, |n| n == 77));
    let to = server.dsn("lines");
    let arguments = ["run", "-f", "in.lp", "-t", &to, "--errors", "reject:bad.jsonl", "--report", "json"];
    let ran = place.run(&arguments).expect(3);
    let report: Value = serde_json::from_str(&ran.out()).unwrap();
    assert_eq!((&report["rows_written"], &report["rows_rejected"]), (&json!(99_999), &json!(1)), "{report}");
    let bad = std::fs::read_to_string(place.path("bad.jsonl")).unwrap();
    assert!(
        bad.contains("timestamp_too_fine") && bad.contains("timestamp_ns=truncate") && bad.contains("n=77i"),
        "{bad}"
    );
    assert_eq!(server.count("root.lines.**"), 99_999 * 3);
    let sum = server.query("SELECT sum(n) FROM root.lines.cpu.eu.h7");
    let wanted: u64 = (0..100_000).filter(|n| n % 10 == 7 && *n != 77).sum();
    assert_eq!(sum["values"][0][0].as_f64(), Some(wanted as f64), "{sum}");

    // A series of another type takes what it can hold exactly; the rest is refused, and its rows are not written in part.
    server.execute("CREATE TIMESERIES root.mixed.m.v INT32");
    server.execute("CREATE TIMESERIES root.mixed.m.w DOUBLE");
    place.write("mixed.lp", "m v=1i,w=1i 1000000\nm v=3000000000i,w=2i 2000000\nm v=3i,w=9007199254740993i 3000000\nm v=4i 4000000\n");
    let to = server.dsn("mixed");
    place.run(&["run", "-f", "mixed.lp", "-t", &to, "--errors", "reject:mixed.jsonl"]).expect(3);
    let rows = server.query("SELECT v, w FROM root.mixed.m");
    assert_eq!(
        (&rows["timestamps"], &rows["values"]),
        (&json!([1, 4]), &json!([[1, 4], [1.0, null]])),
        "{rows}"
    );
    let bad = std::fs::read_to_string(place.path("mixed.jsonl")).unwrap();
    assert!(bad.lines().count() == 2 && bad.contains("v: 3000000000 cannot be INT32 exactly"), "{bad}");

    // Nothing is made where nothing may be.
    let to = format!("{}?create=never", server.dsn("mixed"));
    place.write("new.lp", "m v=5i 5000000\nm v=6i,x=1i 6000000\n");
    place.run(&["run", "-f", "new.lp", "-t", &to, "--errors", "reject:new.jsonl"]).expect(3);
    let bad = std::fs::read_to_string(place.path("new.jsonl")).unwrap();
    assert!(bad.lines().count() == 1 && bad.contains("no_series") && bad.contains("root.mixed.m.x"), "{bad}");
    assert_eq!(server.count("root.mixed.m"), 2 + 1 + 1);
    let to = format!("{}?create=never", server.dsn("nowhere"));
    let ran = place.run(&["run", "-f", "new.lp", "-t", &to]);
    assert!(ran.status() == 1 && ran.err().contains("there is no database root.nowhere"), "{}", ran.err());
}

#[test]
fn a_server_killed_while_it_loads_has_every_row_in_the_end() {
    const ROWS: u64 = 100_000;
    let Some((server, _guard)) = other() else { return };
    let place = Place::new();
    place.write("in.lp", lines(ROWS, |_| false));
    let to = server.dsn("killed");
    let job = Job::start(
        &place,
        &["run", "-f", "in.lp", "-t", &to, "--rate-rows", "20000", "--batch-rows", "1000", "-v"],
    );
    until("the first rows", || server.count("root.killed.**") > 0);
    server.stop_data_node();
    server.restart();
    let ran = job.end().expect(0);
    assert!(ran.err().contains("sent again") || ran.err().contains("trying again"), "{}", ran.err());
    assert_eq!(server.count("root.killed.**"), ROWS * 3);
}

#[test]
fn kwsync_killed_goes_on_from_and_into_iotdb() {
    const ROWS: u64 = 60_000;
    let (Some(server), Some(pg)) = (IotdbServer::shared(), PgServer::shared()) else { return };
    let (_, mut random) = kills();
    let (place, database) = (Place::new(), pg.create_database());
    place.write("in.lp", lines(ROWS, |_| false));
    let middle = server.dsn("resumed");
    let into = [
        "run",
        "-f",
        "in.lp?split=lines&split_bytes=256KiB",
        "-t",
        &middle,
        "-j",
        "2",
        "--commit-rows",
        "5000",
        "--quiet",
    ];
    let from = format!("{}?fetch_rows=1000", server.dsn("root.resumed"));
    let target = pg.dsn(&database);
    let out = ["run", "-f", &from, "-t", &target, "-j", "2", "--commit-rows", "5000", "--quiet"];
    for arguments in [&into[..], &out[..]] {
        let slow = [arguments, &["--rate-rows", "30000"]].concat();
        for _ in 0..3 {
            let mut child = place.command(&slow).spawn().unwrap();
            std::thread::sleep(Duration::from_millis(300 + random(700)));
            child.kill().unwrap();
            child.wait().unwrap();
        }
        place.run(arguments).expect(0);
    }
    assert_eq!(server.count("root.resumed.**"), ROWS * 3);
    let found =
        pg.psql(&database, "SELECT count(*), count(DISTINCT n), sum(n), count(DISTINCT device) FROM resumed");
    assert_eq!(found.trim(), format!("{ROWS}|{ROWS}|{}|10", ROWS * (ROWS - 1) / 2));
    let one = "SELECT time AT TIME ZONE 'UTC', device, half, s FROM resumed WHERE n = 12345";
    assert_eq!(
        pg.psql(&database, one).trim(),
        "2023-11-14 22:13:32.345|root.resumed.cpu.eu.h5|6172.5|row 12345"
    );
}

#[test]
fn what_is_wrong_is_said() {
    let Some(server) = IotdbServer::shared() else { return };
    let place = Place::new();
    place.write("in.lp", "m v=1i 1000000\n");
    let address = server.address();
    let fails = |from: &str, to: &str, status: i32, words: &[&str]| {
        let ran = place.run(&["run", "-f", from, "-t", to, "--retries", "0"]);
        assert_eq!(ran.status(), status, "{}", ran.err());
        for word in words {
            assert!(ran.err().contains(word), "{word}: {}", ran.err());
        }
        assert!(!ran.err().contains("s3cret"), "{}", ran.err());
    };
    fails("in.lp", &format!("iotdb://root:s3cret@{address}/x"), 1, &["user and password", "801"]);
    fails(&format!("iotdb://root:s3cret@{address}"), "discard:", 1, &["user and password"]);
    fails(
        "in.lp",
        "iotdb://root:root@127.0.0.1:1/x?connect_attempts=1",
        1,
        &["cannot connect to IoTDB at 127.0.0.1:1", "runs"],
    );
    fails("in.lp", &format!("iotdb://{address}/x?tablet_row=5"), 2, &["did you mean `tablet_rows`"]);
    fails("in.lp", &format!("iotdb://{address}"), 2, &["names no database"]);
    fails(&format!("iotdb://{address}?patern=root"), "discard:", 2, &["did you mean `pattern`"]);
    place.write("time.lp", "m timestamp=1i 1000000\n");
    fails("time.lp", &format!("iotdb://{address}/x"), 1, &["no measurement called \"timestamp\"", "rename"]);
    // Another service than the RPC service.
    let pg = PgServer::shared();
    if let Some(port) =
        pg.map(|pg| pg.dsn("x").rsplit('@').next().unwrap().split('/').next().unwrap().to_owned())
    {
        fails(
            "in.lp",
            &format!("iotdb://{port}/x?connect_timeout=2s&connect_attempts=1"),
            1,
            &["IoTDB", "RPC port"],
        );
    }
}

/// The quick start of the seed, between two servers; then what comes later, and the ordered sink.
#[test]
fn a_pipe_moves_what_is_there_and_what_comes() {
    let (Some(a), Some((b, _guard))) = (IotdbServer::shared(), other()) else { return };
    let place = Place::new();
    fill(a, "root.piped");
    let pipe = |statement: &str| place.run(&["pipe", "--state", "pipes", statement]);
    let source = format!(
        "'source'='iotdb-source', 'source.ip'='127.0.0.1', 'source.port'='{}', 'source.pattern'='root.piped', 'source.lag'='1s'",
        a.port()
    );
    let sink = |name: &str| {
        format!("with sink ('sink'='{name}', 'sink.ip'='127.0.0.1', 'sink.port'='{}')", b.port())
    };
    let quick = format!("create pipe a2b {}", sink("iotdb-thrift-sink"));
    let ran = pipe(&quick);
    assert!(ran.status() == 2 && ran.err().contains("'source.ip'"), "{}", ran.err());
    pipe(&format!("create pipe a2b with source ({source}) {}", sink("iotdb-thrift-sink"))).expect(0);
    let job = Job::start(&place, &["pipe", "--state", "pipes", "--run", "-v"]);
    let arrived = || b.query("SHOW DATABASES").to_string().contains("root.piped");
    until("the database", arrived);
    let wanted = a.count("root.piped.**");
    until("history", || b.count("root.piped.**") == wanted);
    assert_eq!(all(a, "root.piped"), all(b, "root.piped"));
    // What comes later, in a device that is new, too.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    a.execute(&format!("INSERT INTO root.piped.new.d(time, v) VALUES ({now}, 42)"));
    a.execute(&format!("INSERT INTO root.piped.pl.d2(time, i) VALUES ({now}, 43)"));
    until("what came later", || b.count("root.piped.**") == wanted + 2);
    let shown = pipe("SHOW PIPES").expect(0).out();
    assert!(shown.contains("|RUNNING|"), "{shown}");
    assert_eq!(job.terminate().status(), 143);
    assert_eq!(all(a, "root.piped"), all(b, "root.piped"));

    pipe("DROP PIPE a2b").expect(0);
    let once = format!("{source}, 'source.realtime.enable'='false'");
    let ordered =
        sink("iotdb-thrift-sync-sink").replace("'sink.port'", "'sink.database'='ordered', 'sink.port'");
    pipe(&format!("create pipe once with source ({once}) {ordered}")).expect(0);
    place.run(&["pipe", "--state", "pipes", "--until-done"]).expect(0);
    assert_eq!(b.count("root.ordered.**"), wanted + 2, "{}", pipe("SHOW PIPES").out());
    for (name, word) in
        [("iotdb-air-gap-sink", "iotdb-air-gap-sink"), ("iotdb-legacy-pipe-sink", "iotdb-legacy-pipe-sink")]
    {
        let ran = pipe(&format!("create pipe gone with source ({source}) {}", sink(name)));
        assert!(
            ran.status() == 2 && ran.err().contains(word) && ran.err().contains("iotdb-thrift-sink"),
            "{}",
            ran.err()
        );
    }
}

/// The first commands of docs/iotdb.md.
#[test]
fn the_examples_of_the_documentation() {
    let (Some(server), Some(pg)) = (IotdbServer::shared(), PgServer::shared()) else { return };
    let (place, database) = (Place::new(), pg.create_database());
    place.write("metrics.lp", "cpu,host=a,rack=1 usage=0.5,n=1i 1700000000000000000\ncpu,host=b,rack=1 usage=1 1700000060000000000\n");
    for line in block("iotdb.md", "", 0).lines() {
        let line = line.strip_prefix("$ kwsync ").unwrap();
        let line = line
            .replace("root:root@localhost:6667", &format!("root:root@{}", server.address()))
            .replace("/plant", "/documented")
            .replace("root.plant", "root.documented")
            .replace("postgres://me@localhost/metrics", &pg.dsn(&database));
        let words: Vec<&str> = line.split(' ').map(|word| word.trim_matches('\'')).collect();
        place.run(&words).expect(0);
    }
    let rows = server.query("SELECT usage, n FROM root.documented.cpu.a.`1`");
    assert_eq!(rows["values"], json!([[0.5], [1]]), "{rows}");
    let found = pg.psql(&database, "SELECT device, n, usage FROM documented ORDER BY time");
    assert_eq!(found.trim(), "root.documented.cpu.a.`1`|1|0.5\nroot.documented.cpu.b.`1`||1");
}
