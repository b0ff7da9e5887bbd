//! Points of a real InfluxDB 1, by the command.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicBool, Ordering};

use kwsync_core::testkit::{InfluxServer, PgServer};

use super::kill::kills;
use super::support::{Job, Place, until};

/// 2023-11-14 22:13:20 UTC, in nanoseconds.
const NOVEMBER: u64 = 1_700_000_000_000_000_000;
const SECOND: u64 = 1_000_000_000;
const RANGE: &str = "beginTime=2023-11-01T00:00:00+0800&endTime=2024-02-01T00:00:00Z";

fn address(influx: &InfluxServer, db: &str, more: &str) -> String {
    format!("influxdb+http://127.0.0.1:{}/?version=1.6&bucket={db}&{more}", influx.port())
}

fn count(server: &PgServer, db: &str, sql: &str) -> u64 {
    let found = server.try_psql(db, sql, b"").unwrap_or_default();
    String::from_utf8_lossy(&found).trim().parse().unwrap_or(0)
}

/// Points of a measurement, one a second from `first` on, of ten hosts.
fn points(measurement: &str, numbers: std::ops::Range<u64>) -> String {
    let mut lines = String::new();
    for n in numbers {
        writeln!(lines, "{measurement},host=h{} n={n}i,s=\"row {n}\" {}", n % 10, NOVEMBER + n * SECOND)
            .unwrap();
    }
    lines
}

/// An InfluxDB that asks for users: an administrator, one who may read, and one who may not.
fn with_users() -> Option<InfluxServer> {
    let influx = InfluxServer::start("auth-enabled = true\n", "")?;
    let ask = |login: &str, statement: &str| {
        let encoded: String = statement.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let (status, body) = influx.request("POST", &format!("/query?{login}&q={encoded}"), "").unwrap();
        assert_eq!(status, 200, "{body}");
    };
    ask("", "CREATE USER admin WITH PASSWORD 's3cret' WITH ALL PRIVILEGES");
    for statement in [
        "CREATE DATABASE test_bucket",
        "CREATE USER test WITH PASSWORD '123456'",
        "CREATE USER other WITH PASSWORD 'topsecret'",
        "GRANT READ ON test_bucket TO test",
    ] {
        ask("u=admin&p=s3cret", statement);
    }
    let lines = "cpu,host=a usage=0.5,n=1i 1700000000000000000\ncpu,host=b usage=1 1700000060000000000\nmem free=7i 1700000000000000000\n";
    let (status, body) = influx.request("POST", "/write?db=test_bucket&u=admin&p=s3cret", lines).unwrap();
    assert_eq!(status, 204, "{body}");
    Some(influx)
}

/// The command of taosX's manual, with another host and target; it has no end, and is stopped.
#[test]
fn the_command_of_the_manual() {
    let (Some(influx), Some(server)) = (with_users(), PgServer::shared()) else { return };
    let (place, to) = (Place::new(), server.create_database());
    let text = std::fs::read_to_string(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../kwsync-core/tests/golden/taosx/influxdb.sh"
    ))
    .unwrap();
    let from = text.split("--from \"").nth(1).unwrap().split('"').next().unwrap();
    let from = from.replace("192.168.1.10:8086", &format!("127.0.0.1:{}", influx.port()));
    let job = Job::start(&place, &["run", "--from", &from, "--to", &server.dsn(&to), "-vv"]);
    until("all points", || {
        count(server, &to, "SELECT count(*) FROM cpu") == 2
            && count(server, &to, "SELECT count(*) FROM mem") == 1
    });
    let ran = job.terminate();
    assert_eq!(ran.status(), 143, "{}", ran.err());
    assert!(!ran.err().contains("123456"), "{}", ran.err());
    assert_eq!(
        server.psql(&to, "SELECT time AT TIME ZONE 'UTC', host, n, usage FROM cpu ORDER BY time"),
        "2023-11-14 22:13:20|a|1|0.5\n2023-11-14 22:14:20|b||1\n"
    );
}

/// Every type, and names that are data.
#[test]
fn values_arrive_as_they_were_written() {
    let (Some(influx), Some(server)) = (InfluxServer::shared(), PgServer::shared()) else { return };
    let (place, db, to) = (Place::new(), influx.create_database(), server.create_database());
    influx.write(
        &db,
        concat!(
            "all,t=a f=0.1,i=9007199254740993i,b=true,s=\"\" 1700000000000000000\n",
            "all,t=b f=1e300,i=-9223372036854775808i,b=false,s=\"ü \\\"q\\\" \\\\ <&> line\nend, 'x'\" 1700000001000000000\n",
            "all f=-0.0,i=9223372036854775807i 1700000002000001000\n",
            "all,t=a f=18446744073709551615 1700000003000000000\n",
            "all,t=a f=5e-324 1700000004000000000\n",
            "we\\ \"i\\,rd\\\\.m'é,ta\\ g\\=\"k=v\\ 1,x=\"q f\\ \\,\\=\\\"k'=1i,x=2i 1700000000000000000\n",
        ),
    );
    let from = address(influx, &db, RANGE);
    let ran = place.run(&["run", "--from", &from, "--to", &server.dsn(&to), "--report", "json"]).expect(0);
    let report: serde_json::Value = serde_json::from_str(&ran.out()).unwrap();
    assert_eq!(
        (&report["rows_written"], &report["delivery"]),
        (&6.into(), &"exactly-once".into()),
        "{report}"
    );
    assert_eq!(
        server.psql(
            &to,
            "SELECT extract(epoch FROM time), t, f, i, b, s IS NULL, s FROM \"all\" ORDER BY time"
        ),
        "1700000000.000000|a|0.1|9007199254740993|t|f|\n\
         1700000001.000000|b|1e+300|-9223372036854775808|f|f|ü \"q\" \\ <&> line\nend, 'x'\n\
         1700000002.000001||-0|9223372036854775807||t|\n\
         1700000003.000000|a|1.8446744073709552e+19|||t|\n\
         1700000004.000000|a|5e-324|||t|\n"
    );
    let types = "SELECT string_agg(column_name || ' ' || udt_name, ',' ORDER BY ordinal_position) FROM information_schema.columns WHERE table_name = 'all'";
    assert_eq!(server.psql(&to, types), "time timestamptz,t text,b bool,f float8,i int8,s text\n");
    // Names that no line protocol of ours would let in: a tag and a field of one name among them.
    let odd = server.psql(
        &to,
        "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' AND table_name LIKE 'we%'",
    );
    let odd = odd.trim_end();
    assert_eq!(
        server.psql(&to, &format!("SELECT to_jsonb(t) - 'time' FROM \"{}\" t", odd.replace('"', "\"\""))),
        "{\"x\": 2, \"x_1\": \"\\\"q\", \"f ,=\\\"k'\": 1, \"ta g=\\\"k\": \"v 1\"}\n"
    );
    let plan = place.run(&["run", "--from", &from, "--to", &server.dsn(&to), "--dry-run"]).expect(0).out();
    assert!(plan.contains("is a tag and a field; the tag is the column \"x_1\""), "{plan}");
    // To the nanosecond, where the target can, at the very ends of time.
    influx.write(
        &db,
        "ends v=1i -9223372036854775806\nends v=2i 9223372036854775806\nends v=3i 1700000000000000001\n",
    );
    let ends = address(
        influx,
        &db,
        "measurements=ends&beginTime=1677-09-21T00:12:43.145224194Z&endTime=2262-04-11T23:47:16.854775806Z",
    );
    place.run(&["run", "--from", &ends, "--to", "file:out?format=json"]).expect(0);
    let read = || -> String {
        let dir = std::fs::read_dir(place.path("out").join("ends")).unwrap();
        dir.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap()).collect()
    };
    assert!(read().contains("145224194") && read().contains("2023-11-14T22:13:20.000000001Z"), "{}", read());
    // Below the end.
    assert_eq!(read().lines().count(), 2, "{}", read());
}

/// Databases and retention policies, measurements and columns as asked for; transforms.
#[test]
fn only_what_is_asked_for() {
    let (Some(influx), Some(server)) = (InfluxServer::shared(), PgServer::shared()) else { return };
    let (place, db, to) = (Place::new(), influx.create_database(), server.create_database());
    influx
        .query(&db, &format!("CREATE RETENTION POLICY \"two.years\" ON \"{db}\" DURATION 0s REPLICATION 1"));
    influx.write(&db, &points("cpu", 0..100));
    influx.write(&db, &points("mem", 0..10));
    influx.write(&db, &points("disk", 0..10));
    influx.write(&format!("{db}&rp=two.years"), &points("old", 0..7));
    let run = |bucket: &str, more: &str, transforms: &[&str]| {
        let from = address(influx, bucket, &format!("{RANGE}&{more}"));
        let to = server.dsn(&to);
        let mut arguments = vec!["run", "--from", &from, "--to", &to, "--report", "json"];
        transforms.iter().for_each(|transform| arguments.extend(["-T", transform]));
        let report: serde_json::Value = serde_json::from_str(&place.run(&arguments).expect(0).out()).unwrap();
        report["rows_written"].as_u64().unwrap()
    };
    assert_eq!(run(&format!("{db}/two.years"), "", &[]), 7);
    assert_eq!(
        run(&db, "measurements=cpu,mem&columns=s,host", &["add-tag:site=berlin", "rename-table:prefix:raw_"]),
        110
    );
    assert_eq!(
        server.psql(&to, "SELECT s, host, site FROM raw_mem ORDER BY time LIMIT 1"),
        "row 0|h0|berlin\n"
    );
    assert_eq!(
        run(&db, "measurements=cpu&readWindow=H", &["filter:n >= 90", "rename-table:prefix:late_"]),
        10
    );
    let narrow = "measurements=cpu&beginTime=2023-11-15T06:13:30+08:00&endTime=2023-11-14T22:13:40";
    let from = address(influx, &db, narrow);
    let ran = place.run(&["run", "--from", &from, "--to", &server.dsn(&to), "-T", "rename-table:prefix:n_"]);
    ran.expect(0);
    // From the begin on, and below the end.
    assert_eq!(server.psql(&to, "SELECT min(n), max(n) FROM n_cpu"), "10|19\n");
    let tables = "SELECT string_agg(table_name, ',' ORDER BY table_name) FROM information_schema.tables WHERE table_schema = 'public' AND table_name NOT LIKE '%kwsync%'";
    assert_eq!(server.psql(&to, tables), "late_cpu,n_cpu,old,raw_cpu,raw_mem\n");
}

/// Killed at random moments, by lanes: each point once.
#[test]
fn kill_while_reading_influxdb() {
    const POINTS: u64 = 60_000;
    let (Some(influx), Some(server)) = (InfluxServer::shared(), PgServer::shared()) else { return };
    let (place, db, to) = (Place::new(), influx.create_database(), server.create_database());
    for start in (0..POINTS).step_by(20_000) {
        influx.write(&db, &points("cpu", start..start + 20_000));
    }
    influx.write(&db, &points("mem", 0..20_000));
    let from = address(influx, &db, &format!("{RANGE}&readWindow=M&batch_rows=500"));
    let target = server.dsn(&to);
    let arguments = ["run", "--from", &from, "--to", &target, "-j", "4", "--commit-rows", "1000", "--quiet"];
    let slow = [&arguments[..], &["--rate-rows", "30000"]].concat();
    let (kills, mut random) = kills();
    let had = |table: &str| count(server, &to, &format!("SELECT count(*) FROM {table}"));
    for _ in 0..kills.min(6) {
        let job = Job::start(&place, &slow);
        let before = had("cpu");
        until("some points", || had("cpu") > before || before >= POINTS);
        std::thread::sleep(std::time::Duration::from_millis(random(200)));
        job.kill();
        assert_eq!(had("cpu"), count(server, &to, "SELECT count(DISTINCT n) FROM cpu"));
    }
    let cut = count(server, &to, "SELECT count(DISTINCT split) FROM kwsync_checkpoint");
    assert!(cut >= 3, "one lane only: {cut} splits");
    place.run(&arguments).expect(0);
    for (table, all) in [("cpu", POINTS), ("mem", 20_000)] {
        let sums = server.psql(&to, &format!("SELECT count(*), count(DISTINCT n), sum(n) FROM {table}"));
        assert_eq!(sums, format!("{all}|{all}|{}\n", all * (all - 1) / 2), "{table}");
    }
}

struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Without an end: points come while it reads, is killed and started again; fields, tags and measurements that are new come too.
#[test]
fn points_that_come_arrive_exactly_once() {
    let (Some(influx), Some(server)) = (InfluxServer::shared(), PgServer::shared()) else { return };
    let (place, db, to) = (Place::new(), influx.create_database(), server.create_database());
    influx.write(&db, &points("cpu", 0..1_000));
    let from = address(
        influx,
        &db,
        "beginTime=2023-11-01&lag=1s&query_interval=20ms&poll_interval=200ms&batch_rows=64",
    );
    let target = format!("{}?timestamp_ns=truncate", server.dsn(&to));
    let arguments = ["run", "--from", &from, "--to", &target, "--commit-rows", "100", "--quiet"];
    let arrived = || count(server, &to, "SELECT count(*) FROM cpu");
    let stop = AtomicBool::new(false);
    let written = std::thread::scope(|scope| {
        // The writer ends with the test, however that ends.
        let stopping = Stop(&stop);
        let writing = scope.spawn(|| {
            let mut n = 1_000;
            while !stop.load(Ordering::Relaxed) {
                // Fifty points of one moment, the server's own.
                let lines: String =
                    (n..n + 50).map(|n| format!("cpu,host=h{},more=m{} n={n}i\n", n % 50, n / 50)).collect();
                influx.write(&db, &lines);
                n += 50;
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            n
        });
        for _ in 0..4 {
            let job = Job::start(&place, &arguments);
            let had = arrived();
            until("points", || arrived() >= had + 100);
            job.kill();
        }
        drop(stopping);
        writing.join().unwrap()
    });
    let job = Job::start(&place, &arguments);
    until("all points", || arrived() >= written);
    influx.write(&db, "cpu,host=h1,zone=z fresh=\"yes\"\nnet bytes=5i\n");
    until("a new field", || {
        count(server, &to, "SELECT count(*) FROM cpu WHERE fresh = 'yes' AND zone = 'z'") == 1
    });
    until("a new measurement", || count(server, &to, "SELECT count(*) FROM net WHERE bytes = 5") == 1);
    assert_eq!(job.terminate().status(), 143);
    assert_eq!(
        server.psql(&to, "SELECT count(*), count(DISTINCT n), max(n) FROM cpu WHERE n IS NOT NULL"),
        format!("{written}|{written}|{}\n", written - 1)
    );
}

/// Years without a point take few questions.
#[test]
fn silence_is_jumped_over() {
    let (Some(influx), Some(server)) = (InfluxServer::shared(), PgServer::shared()) else { return };
    let (place, db, to) = (Place::new(), influx.create_database(), server.create_database());
    let years: String =
        (0..20_u64).map(|year| format!("m n={year}i {}\n", year * 31_536_000 * SECOND)).collect();
    influx.write(&db, &years);
    let from = address(influx, &db, "beginTime=1970-01-01&endTime=2100-01-01&readWindow=M");
    let ran = place.run(&["run", "--from", &from, "--to", &server.dsn(&to), "-vvv"]).expect(0);
    assert_eq!(server.psql(&to, "SELECT count(*) FROM m"), "20\n");
    let asked = ran.err().matches("asking").count();
    assert!((20..70).contains(&asked), "{asked} questions: {}", ran.err());
}

/// A server that goes away comes back, and nothing is lost or there twice.
#[test]
fn a_restart_of_the_server() {
    let (Some(server), Some(influx)) = (PgServer::shared(), InfluxServer::start("", "")) else { return };
    let (place, db, to) = (Place::new(), influx.create_database(), server.create_database());
    influx.write(&db, &points("cpu", 0..20_000));
    let target = format!("{}?timestamp_ns=truncate", server.dsn(&to));
    let from = address(
        &influx,
        &db,
        "beginTime=2023-11-01&measurements=cpu&lag=100ms&query_interval=20ms&batch_rows=500",
    );
    let arguments = ["run", "--from", &from, "--to", &target, "--retry-wait", "100", "--commit-rows", "1000"];
    let job = Job::start(&place, &[&arguments[..], &["--rate-rows", "20000"]].concat());
    let arrived = || count(server, &to, "SELECT count(*) FROM cpu");
    // In the middle of an answer, perhaps.
    until("some points", || arrived() > 0);
    influx.restart();
    until("the points", || arrived() == 20_000);
    influx.restart();
    influx.write(&db, "cpu,host=h1 n=20000i\n");
    until("a point behind the restart", || arrived() == 20_001);
    let ran = job.terminate();
    assert_eq!(ran.status(), 143, "{}", ran.err());
    assert_eq!(server.psql(&to, "SELECT count(DISTINCT n), max(n) FROM cpu"), "20001|20000\n");
}

/// A field that is float in one shard and integer in another is float, as far as that is exact.
#[test]
fn fields_of_two_types() {
    let (Some(influx), Some(server)) = (InfluxServer::shared(), PgServer::shared()) else { return };
    let (place, db, to) = (Place::new(), influx.create_database(), server.create_database());
    // Shards are a week long.
    let at = |week: u64| NOVEMBER + week * 8 * 86_400 * SECOND;
    influx.write(&db, &format!("num,h=a v=1.5 {}\n", at(0)));
    influx.write(&db, &format!("num,h=a v=9007199254740993i {}\nnum,h=b v=4i {}\n", at(1), at(1)));
    influx.write(&db, &format!("num,h=a v=1e300 {}\n", at(2)));
    let from = address(influx, &db, RANGE);
    let target = server.dsn(&to);
    let said = place.run(&["run", "--from", &from, "--to", &target]).expect(1).err();
    assert!(said.contains("no float is exactly 9007199254740993"), "{said}");
    let ran =
        place.run(&["run", "--from", &from, "--to", &target, "--errors", "reject:bad.jsonl", "--restart"]);
    ran.expect(3);
    assert_eq!(server.psql(&to, "SELECT string_agg(v::text, ' ' ORDER BY time) FROM num"), "1.5 4 1e+300\n");
    let rejects = std::fs::read_to_string(place.path("bad.jsonl")).unwrap();
    assert!(rejects.contains("inexact_integer") && rejects.contains("\\\"h\\\":\\\"a\\\""), "{rejects}");
    let plan = place.run(&["run", "--from", &from, "--to", &target, "--dry-run"]).expect(0).out();
    assert!(plan.contains("is float and integer in different shards"), "{plan}");
    influx.write(&db, &format!("num,h=a v=\"x\" {}\n", at(3)));
    let said = place.run(&["run", "--from", &from, "--to", &target]).expect(1).err();
    assert!(said.contains("float and integer and string") && said.contains("leave the field out"), "{said}");
}

#[test]
fn tls_with_an_authority() {
    let (Some(influx), Some(server)) = (InfluxServer::start_tls(), PgServer::shared()) else { return };
    let (place, to) = (Place::new(), server.create_database());
    let ca = influx.ca();
    let made = std::process::Command::new("curl")
        .args(["-sf", "--cacert", ca.to_str().unwrap(), "--data-urlencode", "q=CREATE DATABASE d"])
        .arg(format!("https://localhost:{}/query", influx.port()))
        .status()
        .unwrap();
    let wrote = std::process::Command::new("curl")
        .args(["-sf", "--cacert", ca.to_str().unwrap(), "--data-binary", "cpu n=1i 1700000000000000000"])
        .arg(format!("https://localhost:{}/write?db=d", influx.port()))
        .status()
        .unwrap();
    assert!(made.success() && wrote.success());
    let run = |scheme: &str, more: &str| {
        let from =
            format!("influxdb+{scheme}://localhost:{}/?version=1.6&bucket=d&{RANGE}{more}", influx.port());
        place.run(&["run", "--from", &from, "--to", &server.dsn(&to), "--retries", "0"])
    };
    run("https", &format!("&ca=@{}", ca.display())).expect(0);
    assert_eq!(server.psql(&to, "SELECT n FROM cpu"), "1\n");
    let said = run("https", "").expect(1).err();
    assert!(said.contains("must be signed by an authority"), "{said}");
    let ran = run("http", "");
    assert_ne!(ran.status(), 0);
    assert!(ran.err().contains("TLS") || ran.err().contains("+https"), "{}", ran.err());
}

#[test]
fn ten_mistakes() {
    let (Some(influx), Some(server)) = (with_users(), PgServer::shared()) else { return };
    let (place, to) = (Place::new(), server.create_database());
    let login = "username=test&password=123456";
    let port = influx.port();
    let mut told = BTreeMap::new();
    for (port, parameters, status, wanted) in [
        (
            port,
            format!("version=1.7&username=test&password=wr0ng&bucket=test_bucket&{RANGE}"),
            1,
            "check username= and password=",
        ),
        (port, format!("version=1.7&bucket=test_bucket&{RANGE}"), 1, "check username= and password="),
        (
            port,
            format!("version=1.7&username=other&password=topsecret&bucket=test_bucket&{RANGE}"),
            1,
            "GRANT READ",
        ),
        (
            port,
            format!("version=1.7&username=admin&password=s3cret&bucket=test_buckt&{RANGE}"),
            1,
            "database not found",
        ),
        (
            port,
            format!("version=1.7&{login}&bucket=test_bucket/autogne&{RANGE}"),
            1,
            "did you mean `autogen`?",
        ),
        (
            port,
            format!("version=1.7&{login}&bucket=test_bucket&measurements=cpuu&{RANGE}"),
            1,
            "did you mean `cpu`?",
        ),
        (
            port,
            format!("version=1.7&{login}&bucket=test_bucket&measurements=cpu&columns=usgae&{RANGE}"),
            1,
            "did you mean `usage`?",
        ),
        (
            port,
            format!("version=2.7&orgId=o&token=topsecret&bucket=test_bucket&{RANGE}"),
            2,
            "give version=1.x",
        ),
        (port, format!("version=1.7&{login}&bucket=test_bucket&beginTime=yesterday"), 2, "this is no time"),
        (port, format!("version=1.7&{login}&bucket=test_bucket"), 2, "beginTime"),
        (port, format!("version=1.7&{login}&bukcet=test_bucket&{RANGE}"), 2, "did you mean `bucket`?"),
        (server.port(), format!("version=1.7&{login}&bucket=test_bucket&{RANGE}"), 1, "check host and port"),
        (
            1,
            format!("version=1.7&{login}&bucket=test_bucket&{RANGE}"),
            1,
            "cannot connect to InfluxDB at 127.0.0.1:1",
        ),
    ] {
        let from = format!("influxdb+http://127.0.0.1:{port}/?{parameters}");
        let ran = place.run(&["run", "--from", &from, "--to", &server.dsn(&to), "--retries", "0"]);
        let said = ran.err();
        assert_eq!(ran.status(), status, "{parameters}: {said}");
        assert!(said.contains(wanted), "{parameters}: {wanted}: {said}");
        for secret in ["wr0ng", "topsecret", "123456", "s3cret"] {
            assert!(!said.contains(secret), "{said}");
        }
        told.insert(said, wanted);
    }
    assert!(told.len() >= 11, "{told:#?}");
    // Nothing was made in the target.
    assert_eq!(
        server.psql(&to, "SELECT count(*) FROM information_schema.tables WHERE table_name = 'cpu'"),
        "0\n"
    );
}

/// DataX's reader of InfluxDB, as its job has it: columns go by their position into a table that is there.
#[test]
fn a_job_of_datax() {
    let (Some(influx), Some(server)) = (with_users(), PgServer::shared()) else { return };
    let (place, to) = (Place::new(), server.create_database());
    server.psql(&to, "CREATE TABLE load (k_timestamp timestamptz, usage_user float8, hostname text)");
    let json = |text: &str| serde_json::Value::from(text).to_string();
    let (user, password) = (json(server.superuser()), json(server.password()));
    place.write(
        "job.json",
        format!(
            r#"{{"job": {{"setting": {{"speed": {{"channel": 2}}}}, "content": [{{
                "reader": {{"name": "influxdb10reader", "parameter": {{"username": "test", "password": "123456",
                    "column": ["time", "usage", "host"], "splitIntervalS": 3600,
                    "connection": [{{"endpoint": "http://127.0.0.1:{}", "database": "test_bucket", "table": ["cpu"]}}],
                    "beginDateTime": "2023-11-01 00:00:00", "endDateTime": "2023-11-14 22:14:000"}}}},
                "writer": {{"name": "kaiwudbwriter", "parameter": {{"username": {user}, "password": {password}, "table": "load",
                    "column": ["k_timestamp", "usage_user", "hostname"],
                    "jdbcUrl": "jdbc:kaiwudb://127.0.0.1:{}/{to}"}}}}}}]}}}}"#,
            influx.port(),
            server.port()
        ),
    );
    let ran = place.run(&["job", "job.json"]).expect(0);
    assert!(!ran.err().contains("123456") && !ran.out().contains("123456"), "{}", ran.err());
    assert_eq!(
        server.psql(&to, "SELECT k_timestamp AT TIME ZONE 'UTC', usage_user, hostname FROM load"),
        "2023-11-14 22:13:20|0.5|a\n"
    );
}
