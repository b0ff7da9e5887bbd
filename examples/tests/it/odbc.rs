//! From an ODBC driver, by the command.

use std::process::Stdio;
use std::time::{Duration, Instant};

use kwsync_core::testkit::{MariaServer, PgServer};

use super::support::Place;

/// The address of a database of MariaDB by its ODBC driver; none, said loudly, where that is not installed.
fn address(server: &MariaServer, db: &str) -> Option<String> {
    let drivers = std::fs::read_to_string("/etc/odbcinst.ini").unwrap_or_default();
    if !drivers.contains("[MariaDB Unicode]") {
        println!("SKIPPED: no ODBC driver for MariaDB here; install it with: apt-get install odbc-mariadb");
        return None;
    }
    let dsn = server.dsn(db).replacen("mysql:", "odbc:", 1);
    Some(format!("{dsn}?driver=MariaDB%20Unicode"))
}

/// A migration through a driver is killed and started again: every row is there once, what cannot be had is accounted for.
#[test]
fn a_migration_by_odbc_that_is_killed_goes_on() {
    let (Some(maria), Some(postgres)) = (MariaServer::shared(), PgServer::shared()) else { return };
    let (place, from, to) = (Place::new(), maria.create_database(), postgres.create_database());
    let Some(source) = address(maria, &from) else { return };
    maria.sql(&from, "SET sql_mode = ''; CREATE TABLE t (id int PRIMARY KEY, at datetime(6), v varchar(40)); INSERT INTO t SELECT seq, '2024-01-01' + INTERVAL seq SECOND, CONCAT('é😀', seq) FROM seq_1_to_20000; INSERT INTO t VALUES (20001, '2024-00-00', 'x'); CREATE TABLE words (k varchar(20) PRIMARY KEY, n decimal(9,2)); INSERT INTO words SELECT CONCAT('w', seq), seq / 4 FROM seq_1_to_500");
    let source = format!("{source}&tables=*&splits=3&batch_rows=400");
    let target = postgres.dsn(&to);
    let dry = place.run(&["run", "--from", &source, "--to", &target, "--dry-run"]).expect(0).out();
    assert!(dry.contains("each piece is read at a moment of its own"), "{dry}");
    let arguments = [
        "run",
        "--from",
        &source,
        "--to",
        &target,
        "--jobs",
        "2",
        "--commit-rows",
        "1000",
        "--rate-rows",
        "8000",
        "--errors",
        "reject:bad.jsonl",
        "--report",
        "json",
    ];
    let stored = || -> u64 {
        let count = postgres.try_psql(&to, "SELECT count(*) FROM t", b"").unwrap_or_default();
        String::from_utf8_lossy(&count).trim().parse().unwrap_or(0)
    };
    for least in [2_000, 6_000] {
        let mut child =
            place.command(&arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        while stored() < least {
            assert!(child.try_wait().unwrap().is_none(), "it was to be killed in the middle");
            assert!(Instant::now() < deadline, "waited for a minute");
            std::thread::sleep(Duration::from_millis(5));
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    place.run(&arguments).expect(3);
    assert_eq!(
        postgres.psql(&to, "SELECT count(*), count(DISTINCT id), max(id), max(at), max(v) FROM t"),
        "20000|20000|20000|2024-01-01 05:33:20|é😀9999\n"
    );
    assert_eq!(postgres.psql(&to, "SELECT count(*), sum(n) FROM words"), "500|31312.50\n");
    let bad = std::fs::read_to_string(place.path("bad.jsonl")).unwrap();
    assert_eq!(bad.lines().count(), 1, "{bad}");
    assert!(bad.contains("date_out_of_range") && bad.contains("2024-00-00"), "{bad}");
}
