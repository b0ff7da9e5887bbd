//! Loading into a real PostgreSQL.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use kwsync_core::testkit::PgServer;

use super::support::{Place, Point, points, sample_data};

/// The rows of every table of a database, in the form of points. Which text columns are tags is told by `seen`.
fn stored(server: &PgServer, database: &str, seen: &[Point]) -> Vec<Point> {
    let mut tags: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for point in seen {
        tags.entry(&point.table).or_default().extend(point.tags.keys().map(String::as_str));
    }
    let tables = server.psql(
        database,
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND relname <> 'kwsync_checkpoint'",
    );
    let mut all = Vec::new();
    for table in tables.lines() {
        let quoted = table.replace('"', "\"\"");
        // pg_typeof and the value's own text, which is exact.
        let columns = server.psql(
            database,
            &format!("SELECT attname || '|' || atttypid::regtype FROM pg_attribute WHERE attrelid = '\"{quoted}\"'::regclass AND attnum > 0 ORDER BY attnum"),
        );
        let columns: Vec<(&str, &str)> = columns.lines().map(|line| line.rsplit_once('|').unwrap()).collect();
        let pairs: Vec<_> = columns
            .iter()
            .map(|(name, _)| {
                format!("'{}', \"{}\"::text", name.replace('\'', "''"), name.replace('"', "\"\""))
            })
            .collect();
        // A function takes at most a hundred arguments.
        let objects: Vec<_> =
            pairs.chunks(40).map(|pairs| format!("jsonb_build_object({})", pairs.join(", "))).collect();
        let rows = server.psql(database, &format!("SELECT {} FROM \"{quoted}\"", objects.join(" || ")));
        for row in rows.lines() {
            let row: serde_json::Map<String, serde_json::Value> = serde_json::from_str(row).unwrap();
            let mut point = Point {
                table: table.to_owned(),
                tags: BTreeMap::new(),
                fields: BTreeMap::new(),
                timestamp: None,
            };
            for (name, data_type) in &columns {
                let Some(text) = row[*name].as_str() else { continue };
                let is_tag = tags.get(table).is_some_and(|tags| tags.contains(name));
                let field = |kind: &str, text: String| (kind.to_owned(), text);
                let value = match *data_type {
                    "bigint" if *name == "time" => {
                        point.timestamp = text.parse().ok();
                        continue;
                    }
                    "text" if is_tag => {
                        point.tags.insert((*name).to_owned(), text.to_owned());
                        continue;
                    }
                    "bigint" => field("i64", text.to_owned()),
                    "numeric" => field("u64", text.to_owned()),
                    "boolean" => field("bool", text.to_owned()),
                    "double precision" => field("f64", text.parse::<f64>().unwrap().to_string()),
                    "text" => field("string", text.to_owned()),
                    other => panic!("{name} is {other}"),
                };
                point.fields.insert((*name).to_owned(), value);
            }
            all.push(point);
        }
    }
    all.sort();
    all
}

#[test]
fn what_lands_in_postgres_is_what_the_parser_saw() {
    let (Some(data), Some(server)) = (sample_data(), PgServer::shared()) else { return };
    let mut files = 0;
    for entry in std::fs::read_dir(data).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if !(name.ends_with(".lp") || name.ends_with(".influx")) {
            continue;
        }
        files += 1;
        let (place, database) = (Place::new(), server.create_database());
        let path = path.to_str().unwrap();
        let precision = if ["home-sensor-data.lp", "water.lp"].contains(&name.as_str()) { "s" } else { "ns" };
        let seen = place
            .run(&["convert", "--from", "line_influxdb", "--to", "points", "--precision", precision, path])
            .expect(0);
        let mut seen = points(&seen.out());
        seen.sort();
        let to = format!("{}?timestamp_ns=bigint", server.dsn(&database));
        let from = format!("{path}?precision={precision}");
        let ran = place.run(&["run", "--from", &from, "--to", &to, "--report", "json"]).expect(0);
        let report: serde_json::Value = serde_json::from_str(&ran.out()).unwrap();
        assert_eq!(report["rows_written"], seen.len() as u64, "{name}");
        let landed = stored(server, &database, &seen);
        assert_eq!(seen.len(), landed.len(), "{name}");
        for (seen, landed) in seen.iter().zip(&landed) {
            assert_eq!(seen, landed, "{name}");
        }
    }
    assert!(files >= 7, "{files}");
}

#[test]
fn nanoseconds_are_lost_only_when_told() {
    let Some(server) = PgServer::shared() else { return };
    let (place, database) = (Place::new(), server.create_database());
    place.write("in.lp", "cpu n=1i 1700000000000000001\ncpu n=2i 1700000000000001000\n");
    let run = |options: &str, errors: &str| {
        let to = format!("{}?{options}", server.dsn(&database));
        place.run(&["-f", "in.lp", "-t", &to, "--errors", errors])
    };
    let ran = run("timestamp_ns=reject", "fail").expect(1);
    assert!(ran.err().contains("timestamp_ns=truncate"), "{}", ran.err());
    assert!(ran.err().contains("in.lp, line 1"), "{}", ran.err());
    run("timestamp_ns=reject", "skip").expect(3);
    assert_eq!(server.psql(&database, "SELECT n FROM cpu"), "2\n");
    run("timestamp_ns=truncate", "fail").expect(0);
    let times = server.psql(&database, "SET timezone = 'UTC'; SELECT time FROM cpu ORDER BY n, time");
    assert_eq!(
        times,
        "2023-11-14 22:13:20+00\n2023-11-14 22:13:20.000001+00\n2023-11-14 22:13:20.000001+00\n"
    );
}

#[test]
fn tables_grow_and_are_left_alone_when_told() {
    let Some(server) = PgServer::shared() else { return };
    let (place, database) = (Place::new(), server.create_database());
    let to = |options: &str| format!("{}?timestamp_ns=truncate&{options}", server.dsn(&database));
    place.write("a.lp", "cpu,host=a n=1i 1\n");
    place.write("b.lp", "cpu,host=a,\"rack\"=r m=2.5 2\n");
    let ran = place.run(&["-f", "a.lp", "-t", &to("create=never")]).expect(1);
    assert!(ran.err().contains("create=missing"), "{}", ran.err());
    let dry = place.run(&["-f", "a.lp", "-t", &to(""), "--dry-run"]).expect(0).out();
    assert!(dry.contains("CREATE TABLE IF NOT EXISTS \"cpu\" (\"time\" timestamptz"), "{dry}");
    place.run(&["-f", "a.lp", "-t", &to("")]).expect(0);
    let ran = place.run(&["-f", "b.lp", "-t", &to("create=never")]).expect(1);
    assert!(ran.err().contains("drop-columns"), "{}", ran.err());
    place.run(&["-f", "b.lp", "-t", &to("")]).expect(0);
    assert_eq!(
        server.psql(
            &database,
            r#"SELECT host, n, "\"rack\"", m FROM cpu ORDER BY m"#.replace("\\\"", "\"\"").as_str()
        ),
        "a||r|2.5\na|1||\n"
    );
    // A table of the user's own: types are the table's, a default fills what the rows do not have.
    server.psql(&database, "CREATE TABLE own (id bigserial PRIMARY KEY, \"time\" timestamptz, host varchar(3), n smallint NOT NULL)");
    place.write("c.lp", "x,host=abc n=7i 1000\nx,host=abcd n=7i 2000\nx,host=a n=70000i 3000\n");
    let ran = place.run(&["-f", "c.lp", "-t", &to("table=own"), "--errors", "reject:bad.jsonl"]).expect(3);
    assert!(ran.out().contains("rejected"), "{}", ran.out());
    assert_eq!(server.psql(&database, "SELECT id, host, n FROM own"), "1|abc|7\n");
    let bad = std::fs::read_to_string(place.path("bad.jsonl")).unwrap();
    assert!(
        bad.contains("\"line\":2") && bad.contains("\"line\":3") && bad.contains("\"stage\":\"encode\""),
        "{bad}"
    );
}

#[test]
fn columns_that_appear_under_way_do_not_lock_the_job_out() {
    let Some(server) = PgServer::shared() else { return };
    let (place, database) = (Place::new(), server.create_database());
    let mut text = String::new();
    for n in 0..60_000u64 {
        text.push_str(&format!("t{} n={n}i,c{}=1i {n}000\n", n % 2, n / 10_000));
    }
    place.write("in.lp", text);
    let started = Instant::now();
    place
        .run(&[
            "-f",
            "in.lp?split=lines&split_bytes=200KiB",
            "-t",
            &server.dsn(&database),
            "-j",
            "3",
            "--batch-rows",
            "1000",
        ])
        .expect(0);
    assert_eq!(
        server.psql(&database, "SELECT count(*), sum(n) FROM (TABLE t0 UNION ALL TABLE t1) x"),
        "60000|1799970000\n"
    );
    assert!(started.elapsed() < Duration::from_secs(60));
}

#[test]
fn names_are_data() {
    let Some(server) = PgServer::shared() else { return };
    let (place, database) = (Place::new(), server.create_database());
    place.write("in.lp", "a\"b;drop\\ table\\ x,Tag's=v é\"f=1i 1000\n");
    place.run(&["-f", "in.lp", "-t", &server.dsn(&database)]).expect(0);
    assert_eq!(server.psql(&database, "SELECT \"Tag's\", \"é\"\"f\" FROM \"a\"\"b;drop table x\""), "v|1\n");
    let long = format!("{} n=1i 1\n", "x".repeat(80));
    place.write("long.lp", long);
    let ran = place.run(&["-f", "long.lp", "-t", &server.dsn(&database)]).expect(1);
    assert!(ran.err().contains("name_too_long"), "{}", ran.err());
    // A name that cannot be costs its own rows only, and spoils no table for the others.
    place.write(
        "mixed.lp",
        format!("good n=1i 1000\ngood {}=1i 2000\n{} n=1i 3000\n", "c".repeat(70), "x".repeat(80)),
    );
    let to = server.dsn(&database);
    place.run(&["-f", "mixed.lp", "-t", &to, "--errors", "reject:bad.jsonl"]).expect(3);
    let stored = server.psql(&database, "SET timezone = 'UTC'; TABLE good");
    assert_eq!(stored, "1970-01-01 00:00:00.000001+00|1\n");
    let bad = std::fs::read_to_string(place.path("bad.jsonl")).unwrap();
    assert_eq!(bad.matches("\"code\":\"name_too_long\"").count(), 2, "{bad}");
}

#[test]
fn many_tables_into_one_do_not_wait_for_themselves() {
    let Some(server) = PgServer::shared() else { return };
    let (place, database) = (Place::new(), server.create_database());
    let text: String =
        (0..40_000u64).map(|n| format!("t{} c{}={n}i {n}000\n", n / 9_000, n / 9_000)).collect();
    place.write("in.lp", text);
    let to = format!("{}?table=all", server.dsn(&database));
    place.run(&["-f", "in.lp", "-t", &to, "--batch-rows", "500"]).expect(0);
    assert_eq!(
        server.psql(&database, "SELECT count(*), count(c0), count(c4) FROM \"all\""),
        "40000|9000|4000\n"
    );
}

#[test]
fn mistakes_and_faults_get_one_line_without_secrets() {
    let Some(server) = PgServer::shared() else { return };
    let (place, database) = (Place::new(), server.create_database());
    place.write("in.lp", "cpu,host=a n=1i 1000\n");
    server.psql(&database, "CREATE TABLE misfit (\"time\" timestamptz, host uuid, n date)");
    server.psql(
        &database,
        "CREATE TABLE strict (\"time\" timestamptz, host text CHECK (host <> 'a'), n bigint)",
    );
    server.psql(
        &database,
        "CREATE ROLE reader LOGIN PASSWORD 'topsecret'; CREATE TABLE cpu (\"time\" timestamptz, host text, n bigint)",
    );
    let port = server.port();
    let good = server.dsn(&database);
    let password = server.password().to_owned();
    let with = |options: &str| format!("{good}?{options}");
    let cases: Vec<(i32, &[&str], String)> = vec![
        (
            1,
            &["cannot connect to 127.0.0.1:1", "Connection refused", "hint"],
            format!("postgres://u:topsecret@127.0.0.1:1/{database}?connect_timeout=2s"),
        ),
        (1, &["database", "does not exist"], server.dsn("nowhere")),
        (
            1,
            &["password authentication failed"],
            format!("postgres://postgres:topsecret@127.0.0.1:{port}/{database}"),
        ),
        (1, &["permission denied"], format!("postgres://reader:topsecret@127.0.0.1:{port}/{database}")),
        (2, &["sslrootcert"], with("sslmode=verify-full")),
        (2, &["ssl_mode", "sslmode"], with("ssl_mode=disable")),
        (1, &["n"], with("table=misfit")),
        (1, &["strict", "check constraint", "line 1"], with("table=strict")),
    ];
    for (status, wanted, to) in cases {
        let ran = place.run(&["-f", "in.lp", "-t", &to, "--restart", "--quiet"]);
        let err = ran.err();
        assert_eq!(ran.status(), status, "{to}: {err}");
        for part in wanted {
            assert!(err.contains(part), "{part} is not in {err}");
        }
        assert!(!err.contains("topsecret") && !err.contains(&password) && !err.contains("panicked"), "{err}");
    }
    if server.ca_cert_path().is_some() {
        let foreign = place.path("foreign.crt");
        let made = std::process::Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-subj",
                "/CN=foreign",
                "-days",
                "2",
                "-keyout",
            ])
            .arg(place.path("foreign.key"))
            .arg("-out")
            .arg(&foreign)
            .output()
            .unwrap();
        assert!(made.status.success());
        let ran = place
            .run(&[
                "-f",
                "in.lp",
                "-t",
                &with(&format!("sslmode=verify-ca&sslrootcert={}", foreign.display())),
            ])
            .expect(1);
        assert!(ran.err().contains("sslrootcert does not hold"), "{}", ran.err());
    }
}

#[test]
fn a_server_that_goes_away_and_comes_back_loses_nothing() {
    // Its own server, since others must not go away with it.
    let Some(server) = PgServer::start() else { return };
    let (place, database) = (Place::new(), server.create_database());
    const ROWS: u64 = 100_000;
    place.write("in.lp", (0..ROWS).map(|n| format!("cpu n={n}i {n}000\n")).collect::<String>());
    let to = server.dsn(&database);
    let child = place
        .command(&[
            "-f",
            "in.lp",
            "-t",
            &to,
            "--commit-rows",
            "10000",
            "--rate-rows",
            "50000",
            "--report",
            "json",
        ])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    wait_for(|| server.try_psql(&database, "SELECT count(*) FROM cpu", b"").is_ok_and(|out| out != b"0\n"));
    server.stop_immediately();
    server.restart();
    let output = child.wait_with_output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{err}");
    assert!(err.contains("trying again"), "{err}");
    assert_eq!(
        server.psql(&database, "SELECT count(*), count(DISTINCT n) FROM cpu"),
        format!("{ROWS}|{ROWS}\n")
    );
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["rows_read"], ROWS);
    assert!(report["rows_retried"].as_u64().unwrap() > 0);
}

#[test]
fn kill_while_loading_and_run_again() {
    let Some(server) = PgServer::shared() else { return };
    let (place, database) = (Place::new(), server.create_database());
    const ROWS: u64 = 100_000;
    place.write("in.lp", (0..ROWS).map(|n| format!("cpu n={n}i {n}000\n")).collect::<String>());
    let to = format!("{}?delivery=at-least-once", server.dsn(&database));
    let arguments = ["-f", "in.lp", "-t", to.as_str(), "--commit-rows", "5000", "--quiet"];
    let slow = [&arguments[..], &["--rate-rows", "60000"]].concat();
    let count = || {
        server
            .try_psql(&database, "SELECT count(*) FROM cpu", b"")
            .map_or(0, |out| String::from_utf8_lossy(&out).trim().parse::<u64>().unwrap_or(0))
    };
    for _ in 0..3 {
        let before = count();
        let mut child = place.command(&slow).spawn().unwrap();
        wait_for(|| count() > before);
        child.kill().unwrap();
        child.wait().unwrap();
    }
    place.run(&arguments).expect(0);
    assert_eq!(
        server.psql(&database, "SELECT count(DISTINCT n), min(n), max(n) FROM cpu"),
        format!("{ROWS}|0|{}\n", ROWS - 1)
    );
    // At least once: one commit a kill, which ends with a batch, may be there twice, and no more.
    assert!(count() <= ROWS + 3 * (5_000 + 8_192), "{}", count());
    assert_eq!(server.psql(&database, "SELECT to_regclass('kwsync_checkpoint') IS NULL"), "t\n");
}

#[track_caller]
fn wait_for(condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < Duration::from_secs(60), "waited for a minute");
        std::thread::sleep(Duration::from_millis(5));
    }
}
