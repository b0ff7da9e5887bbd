//! What happens to tables and rows that are there already.

use std::time::{Duration, Instant};

use kwsync_core::testkit::PgServer;

use super::support::Place;

const ROWS: u64 = 50_000;

fn lines() -> String {
    (0..ROWS).map(|n| format!("t n={n}i {n}000\n")).collect()
}

#[test]
fn a_table_is_emptied_once_for_a_job() {
    let Some(server) = PgServer::shared() else { return };
    let (place, database) = (Place::new(), server.create_database());
    server.psql(
        &database,
        "CREATE TABLE t (\"time\" timestamptz, n bigint); INSERT INTO t (n) VALUES (-1); CREATE TABLE log (what text)",
    );
    place.write("in.lp", lines());
    let to = format!("{}?mode=truncate", server.dsn(&database));
    let arguments =
        ["run", "-f", "in.lp?split=lines&split_bytes=64KiB", "-t", &to, "--commit-rows", "5000", "--quiet"];
    let sql = [
        "--pre-sql",
        "INSERT INTO log VALUES ('before')",
        "--post-sql",
        "INSERT INTO log VALUES ('it''s'); INSERT INTO log VALUES ('after')",
    ];
    let all = [&arguments[..], &sql[..]].concat();
    let dry = place.run(&[&all[..], &["--dry-run"]].concat()).expect(0).out();
    for part in [
        "TRUNCATE \"public\".\"t\"",
        "before the load: INSERT",
        "after the load: INSERT",
        "kwsync_checkpoint",
    ] {
        assert!(dry.contains(part), "{part}: {dry}");
    }
    assert_eq!(server.psql(&database, "SELECT n FROM t"), "-1\n", "a dry run");
    let slow = [&all[..], &["--rate-rows", "20000"]].concat();
    let count = || server.psql(&database, "SELECT count(*) FROM t").trim().parse::<u64>().unwrap();
    for _ in 0..3 {
        let before = count();
        let mut child = place.command(&slow).spawn().unwrap();
        let started = Instant::now();
        while count() <= before && started.elapsed() < Duration::from_secs(60) {
            std::thread::sleep(Duration::from_millis(5));
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert!(count() > 1 && count() < ROWS, "{}", count());
    server.psql(&database, "TRUNCATE log; INSERT INTO log VALUES ('cleared')");
    place.run(&all).expect(0);
    assert_eq!(
        server.psql(&database, "SELECT count(*), count(DISTINCT n), min(n) FROM t"),
        format!("{ROWS}|{ROWS}|0\n")
    );
    assert_eq!(server.psql(&database, "TABLE log"), "cleared\nit's\nafter\n");
    // Another run of the same command begins anew.
    place.run(&all).expect(0);
    assert_eq!(count(), ROWS);
    // Other sinks refuse statements.
    let ran = place.run(&[&["run", "-f", "in.lp", "-t", "discard:"], &sql[..]].concat()).expect(2);
    assert!(ran.err().contains("pre_sql"), "{}", ran.err());
}

#[test]
fn a_replaced_table_is_the_old_one_until_the_end() {
    let Some(server) = PgServer::shared() else { return };
    let (place, database) = (Place::new(), server.create_database());
    server.psql(
        &database,
        "CREATE TABLE t (id bigserial PRIMARY KEY, \"time\" timestamptz, n bigint CHECK (n < 40000)); INSERT INTO t (n) VALUES (-1)",
    );
    place.write("in.lp", lines());
    let to = format!("{}?mode=replace", server.dsn(&database));
    let arguments =
        ["run", "-f", "in.lp?split=lines&split_bytes=64KiB", "-t", &to, "--commit-rows", "5000", "--quiet"];
    place.run(&arguments).expect(1);
    assert_eq!(server.psql(&database, "SELECT n FROM t"), "-1\n");
    // Killed in the middle, the next run goes on with the same new table.
    let slow = [&arguments[..], &["--errors", "skip", "--rate-rows", "20000"]].concat();
    let mut child = place.command(&slow).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(400));
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(server.psql(&database, "SELECT n FROM t"), "-1\n");
    place.run(&[&arguments[..], &["--errors", "skip"]].concat()).expect(3);
    assert_eq!(
        server.psql(&database, "SELECT count(*), count(DISTINCT n), min(n), max(n) FROM t"),
        "40000|40000|0|39999\n"
    );
    server.psql(&database, "INSERT INTO t (n) VALUES (7)");
    assert_eq!(
        server.psql(
            &database,
            "SELECT relname FROM pg_class WHERE relname LIKE 'kwsync_new%' AND relkind = 'r'"
        ),
        ""
    );
    // A table that does not exist is made.
    let to = format!("{}?mode=replace&table=fresh", server.dsn(&database));
    place.run(&["run", "-f", "in.lp", "-t", &to]).expect(0);
    assert_eq!(server.psql(&database, "SELECT count(*) FROM fresh"), format!("{ROWS}\n"));
}

#[test]
fn upserts_by_the_command() {
    let Some(server) = PgServer::shared() else { return };
    let (place, database) = (Place::new(), server.create_database());
    place.write("a.lp", "cpu,host=a n=1i 1000\ncpu,host=b n=2i 1000\ncpu,host=a n=3i 1000\n");
    place.write("b.lp", "cpu,host=a n=9i 1000\ncpu,host=c n=4i 1000\n");
    let to = format!("{}?mode=upsert&key=host,time&create=missing", server.dsn(&database));
    let dry = place.run(&["-f", "a.lp", "-t", &to, "--dry-run"]).expect(0).out();
    assert!(dry.contains("PRIMARY KEY (\"host\", \"time\")") && dry.contains("key (host, time)"), "{dry}");
    let run = |file: &str, to: &str| {
        let ran = place.run(&["-f", file, "-t", to, "--report", "json"]).expect(0);
        let report: serde_json::Value = serde_json::from_str(&ran.out()).unwrap();
        ["rows_written", "rows_updated", "rows_ignored"].map(|name| report[name].as_u64().unwrap())
    };
    assert_eq!(run("a.lp", &to), [2, 0, 1]);
    assert_eq!(run("b.lp", &to), [1, 1, 0]);
    assert_eq!(server.psql(&database, "SELECT host, n FROM cpu ORDER BY host"), "a|9\nb|2\nc|4\n");
    assert_eq!(run("a.lp", &to.replace("mode=upsert", "mode=insert-ignore")), [0, 0, 3]);
    let ran = place.run(&["-f", "a.lp", "-t", &to.replace("key=host,time", "key=host")]).expect(2);
    assert!(ran.err().contains("cpu_pkey (host, time)"), "{}", ran.err());
    let ran =
        place.run(&["-f", "a.lp", "-t", &to.replace("create=missing", "strategy=copy-binary")]).expect(2);
    assert!(ran.err().contains("strategy=merge"), "{}", ran.err());
}
