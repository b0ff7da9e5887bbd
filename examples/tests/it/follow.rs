//! Tables that grow while they are read, by the command.

use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use kwsync_core::testkit::{MariaServer, PgServer};

use super::support::Place;

/// A process that is killed when a test fails.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn count(server: &PgServer, db: &str, sql: &str) -> u64 {
    let found = server.try_psql(db, sql, b"").unwrap_or_default();
    String::from_utf8_lossy(&found).trim().parse().unwrap_or(0)
}

fn wait_for(what: &str, done: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !done() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Rows come fifty at a time, all fifty of one moment, while the reader is killed and started again: each arrives once.
fn killed_and_exact(from: &str, insert: impl Fn(u64) + Sync, server: &PgServer, to: &str) {
    let place = Place::new();
    let source = format!("{from}?table=t&cursor=at&mode=all&lag=2s&query_interval=20ms&fetch_rows=16");
    let target = server.dsn(to);
    let arguments = ["run", "--from", &source, "--to", &target, "--commit-rows", "100", "--quiet"];
    let start = || Running(place.command(&arguments).stderr(Stdio::null()).spawn().unwrap());
    let arrived = || count(server, to, "SELECT count(*) FROM t");
    let stop = AtomicBool::new(false);
    let written = std::thread::scope(|scope| {
        let writing = scope.spawn(|| {
            let mut n = 0;
            while !stop.load(Ordering::Relaxed) {
                insert(n);
                n += 50;
            }
            n
        });
        for _ in 0..5 {
            let running = start();
            let had = arrived();
            wait_for("rows arrive", || arrived() >= had + 100);
            // SIGKILL.
            drop(running);
        }
        stop.store(true, Ordering::Relaxed);
        writing.join().unwrap()
    });
    let mut running = start();
    wait_for("all rows arrive", || arrived() >= written);
    // A stop on request ends what never ends by itself.
    let pid = running.0.id().to_string();
    assert!(place.command_of("kill", &["-INT", &pid]).status().unwrap().success());
    assert_eq!(running.0.wait().unwrap().code(), Some(130));
    let sums = "SELECT count(*), count(DISTINCT n), min(n), max(n) FROM t";
    assert_eq!(server.psql(to, sums), format!("{written}|{written}|0|{}\n", written - 1));
}

#[test]
fn a_growing_table_of_postgres_arrives_exactly_once() {
    let Some(server) = PgServer::shared() else { return };
    let (from, to) = (server.create_database(), server.create_database());
    server.psql(&from, "CREATE TABLE t (n bigint, at timestamptz)");
    let insert = |n: u64| {
        server.psql(&from, &format!("INSERT INTO t SELECT n, now() FROM generate_series({n}, {n} + 49) n"));
    };
    killed_and_exact(&server.dsn(&from), insert, server, &to);
}

#[test]
fn a_growing_table_of_mariadb_arrives_exactly_once() {
    let (Some(server), Some(maria)) = (PgServer::shared(), MariaServer::shared()) else { return };
    let (from, to) = (maria.create_database(), server.create_database());
    maria.sql(&from, "CREATE TABLE t (n bigint, at timestamp(3))");
    let insert = |n: u64| {
        let sql = format!("INSERT INTO t SELECT seq, now(3) FROM seq_{n}_to_{}", n + 49);
        maria.sql(&from, &sql);
    };
    killed_and_exact(&maria.dsn(&from), insert, server, &to);
}

/// A job with a name reads at each run what has come since the last one.
#[test]
fn a_named_job_reads_what_is_new() {
    let Some(server) = PgServer::shared() else { return };
    let (place, from, to) = (Place::new(), server.create_database(), server.create_database());
    server.psql(&from, "CREATE TABLE a (id int PRIMARY KEY, d date); CREATE TABLE b (id int, d date)");
    let source = format!("{}?tables=*&cursor=d", server.dsn(&from));
    let run = || {
        let target = server.dsn(&to);
        place
            .run(&["run", "--from", &source, "--to", &target, "--job", "daily", "--report", "json"])
            .expect(0)
            .out()
    };
    for (insert, new) in [
        (
            "INSERT INTO a VALUES (1, '2024-01-01'), (2, '2024-01-02'); INSERT INTO b VALUES (1, '2024-01-01')",
            3,
        ),
        ("SELECT 1", 0),
        (
            "INSERT INTO a VALUES (3, '2024-01-02'), (4, '2024-01-03'); INSERT INTO b VALUES (2, '2024-01-01')",
            3,
        ),
        ("CREATE TABLE c AS TABLE a; INSERT INTO b VALUES (2, '2024-01-01')", 5),
    ] {
        server.psql(&from, insert);
        let report: serde_json::Value = serde_json::from_str(&run()).unwrap();
        assert_eq!(report["rows_written"], new, "{insert}: {report}");
    }
    let sums =
        "SELECT (SELECT count(DISTINCT id) FROM a), (SELECT count(*) FROM b), (SELECT count(*) FROM c)";
    assert_eq!(server.psql(&to, sums), "4|3|4\n");
}
