//! Faults of a database that is read: what is said, and that the accounting holds.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use kwsync_core::testkit::{MariaServer, PgServer};

use super::support::{Place, Ran};

#[track_caller]
fn wait_for(condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < Duration::from_secs(60), "waited for a minute");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn spawn(place: &Place, arguments: &[&str]) -> Child {
    place.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn count(server: &PgServer, db: &str, table: &str) -> u64 {
    let count = server.try_psql(db, &format!("SELECT count(*) FROM {table}"), b"").unwrap_or_default();
    String::from_utf8_lossy(&count).trim().parse().unwrap_or(0)
}

fn report(ran: &Ran) -> serde_json::Value {
    serde_json::from_str(&ran.out()).unwrap()
}

/// The options of a run that is slow enough for something to happen in it, and that tells of itself.
const SLOW: [&str; 8] =
    ["--commit-rows", "500", "--rate-rows", "8000", "--report", "json", "--errors", "reject:bad.jsonl"];

#[test]
fn a_source_that_is_restarted_in_the_middle() {
    let (Some(maria), Some(postgres)) = (MariaServer::start(), PgServer::shared()) else { return };
    let (place, from, to) = (Place::new(), maria.create_database(), postgres.create_database());
    maria.sql(&from, "CREATE TABLE t (id int PRIMARY KEY, v varchar(40)) ENGINE=InnoDB; INSERT INTO t SELECT seq, CONCAT('v', seq) FROM seq_1_to_20000");
    let source = format!("{}?table=t&batch_rows=200&splits=2", maria.dsn(&from));
    let target = postgres.dsn(&to);
    let fixed = ["run", "--from", &source, "--to", &target];
    let child = spawn(&place, &[&fixed[..], &SLOW[..]].concat());
    wait_for(|| count(postgres, &to, "t") > 1_000);
    maria.stop_immediately();
    maria.restart();
    let ran = Ran::of(child.wait_with_output().unwrap()).expect(0);
    assert!(count(postgres, &to, "t") == 20_000);
    let sums = "SELECT count(DISTINCT id), sum(id), max(v) FROM t";
    assert_eq!(postgres.psql(&to, sums), "20000|200010000|v9999\n");
    let told = report(&ran);
    assert_eq!((&told["rows_written"], &told["rows_rejected"]), (&20_000.into(), &0.into()), "{}", ran.out());
}

/// Rows are changed, moved to a range that is read later, added and deleted while others are read: what arrives is of one moment.
#[test]
fn rows_that_change_between_splits() {
    let (Some(maria), Some(postgres)) = (MariaServer::shared(), PgServer::shared()) else { return };
    let place = Place::new();
    let (mine, theirs) = (maria.create_database(), postgres.create_database());
    let rows = "CREATE TABLE t (id int PRIMARY KEY, v int NOT NULL)";
    maria.sql(&mine, &format!("{rows} ENGINE=InnoDB; INSERT INTO t SELECT seq, 1 FROM seq_1_to_12000"));
    postgres.psql(&theirs, &format!("{rows}; INSERT INTO t SELECT n, 1 FROM generate_series(1, 12000) n"));
    let change = "UPDATE t SET v = 2; UPDATE t SET id = id + 100000 WHERE id < 3000; DELETE FROM t WHERE id = 11000; INSERT INTO t VALUES (11500000, 7)";
    for (source, of_maria) in [(maria.dsn(&mine), true), (postgres.dsn(&theirs), false)] {
        let to = postgres.create_database();
        let (source, target) = (format!("{source}?table=t&batch_rows=200&splits=6"), postgres.dsn(&to));
        let fixed = ["run", "--from", &source, "--to", &target, "--jobs", "2"];
        let child = spawn(&place, &[&fixed[..], &SLOW[..]].concat());
        wait_for(|| count(postgres, &to, "t") > 500);
        match of_maria {
            true => maria.sql(&mine, change),
            false => postgres.psql(&theirs, change),
        };
        Ran::of(child.wait_with_output().unwrap()).expect(0);
        assert_eq!(
            postgres.psql(&to, "SELECT count(*), sum(v), min(id), max(id) FROM t"),
            "12000|12000|1|12000\n",
            "of MariaDB: {of_maria}"
        );
    }
}

/// A table that is dropped before its turn, and a right that is taken away: the run says which, what was done stays done, and the
/// next run reads only the rest.
#[test]
fn a_dropped_table_and_a_lost_privilege() {
    let Some(server) = PgServer::shared() else { return };
    let (place, from, to) = (Place::new(), server.create_database(), server.create_database());
    let role = format!("reader_{from}");
    server.psql(&from, &format!("CREATE TABLE a (id int PRIMARY KEY); INSERT INTO a SELECT generate_series(1, 4000); CREATE TABLE z AS SELECT * FROM a; ALTER TABLE z ADD PRIMARY KEY (id); CREATE ROLE {role} LOGIN PASSWORD 'x'; GRANT SELECT ON a, z TO {role}"));
    let source = format!("postgres://{role}:x@127.0.0.1:{}/{from}?tables=a,z&batch_rows=200", server.port());
    let target = server.dsn(&to);
    let arguments = [&["run", "--from", &source, "--to", &target][..], &SLOW[..]].concat();
    for (fault, mend, words, live) in [
        (
            format!("REVOKE SELECT ON z FROM {role}"),
            format!("GRANT SELECT ON z TO {role}"),
            ["permission denied for table z", "rant"],
            true,
        ),
        (
            "ALTER TABLE z RENAME TO y".to_owned(),
            "ALTER TABLE y RENAME TO z".to_owned(),
            ["there is no table z to read", "dropped or renamed"],
            // While a run holds its snapshot, the server lets nobody rename the table.
            false,
        ),
    ] {
        server.psql(&to, "DROP TABLE IF EXISTS a, z");
        let mut child = spawn(&place, &arguments);
        wait_for(|| count(server, &to, "a") > 500);
        let ran = if live {
            server.psql(&from, &fault);
            Ran::of(child.wait_with_output().unwrap()).expect(1)
        } else {
            child.kill().unwrap();
            child.wait().unwrap();
            server.psql(&from, &fault);
            place.run(&arguments).expect(1)
        };
        for word in words {
            assert!(ran.err().contains(word), "{word}: {}", ran.err());
        }
        assert_eq!(count(server, &to, "z"), 0);
        let had = count(server, &to, "a");
        server.psql(&from, &mend);
        let ran = place.run(&arguments).expect(0);
        assert_eq!((count(server, &to, "a"), count(server, &to, "z")), (4_000, 4_000));
        assert_eq!(report(&ran)["rows_written"], 8_000 - had, "{}", ran.out());
    }
}

/// A type that the target has no word for comes as text, which is said; a value that does not fit costs its row and no other.
#[test]
fn a_type_without_a_counterpart_and_values_that_do_not_fit() {
    let (Some(maria), Some(postgres)) = (MariaServer::shared(), PgServer::shared()) else { return };
    let (place, from, to) = (Place::new(), postgres.create_database(), maria.create_database());
    postgres.psql(&from, "CREATE TABLE odd (id int PRIMARY KEY, r int4range, p point); INSERT INTO odd VALUES (1, '[1,5)', '(1,2)'), (2, NULL, NULL); CREATE TABLE tight (id int PRIMARY KEY, n numeric, w text, d date); INSERT INTO tight SELECT n, n, 'w' || n, '2024-01-01' FROM generate_series(1, 1000) n; UPDATE tight SET n = 1e9 WHERE id = 100; UPDATE tight SET n = 1.005 WHERE id = 200; UPDATE tight SET w = repeat('x', 11) WHERE id = 300; UPDATE tight SET d = 'infinity' WHERE id = 400; UPDATE tight SET n = 'NaN' WHERE id = 500; UPDATE tight SET d = '12000-01-01' WHERE id = 600");
    maria.sql(
        &to,
        "CREATE TABLE tight (id int PRIMARY KEY, n decimal(8,2), w varchar(10), d date) ENGINE=InnoDB",
    );
    let source = format!("{}?tables=*", postgres.dsn(&from));
    let target = maria.dsn(&to);
    let fixed = ["run", "--from", &source, "--to", &target];
    let dry = place.run(&[&fixed[..], &["--dry-run"]].concat()).expect(0).out();
    assert!(dry.contains("column \"r\" of public.odd is int4range, which is read as its text"), "{dry}");
    let ran =
        place.run(&[&fixed[..], &["--errors", "reject:bad.jsonl", "--report", "json"]].concat()).expect(3);
    let told = report(&ran);
    assert_eq!((&told["rows_written"], &told["rows_rejected"]), (&996.into(), &6.into()), "{}", ran.out());
    assert_eq!(maria.sql(&to, "SELECT r, p FROM odd ORDER BY id"), "[1,5)\t(1,2)\nNULL\tNULL\n");
    assert_eq!(maria.sql(&to, "SELECT COUNT(*), SUM(id) FROM tight"), "994\t498400\n");
    let bad = std::fs::read_to_string(place.path("bad.jsonl")).unwrap();
    for (code, words) in [
        ("numeric_overflow", "1000000000"),
        ("numeric_scale", "1.005"),
        ("text_too_long", "11 characters where the column takes 10"),
        ("date_out_of_range", "12000"),
    ] {
        assert!(bad.lines().any(|line| line.contains(code) && line.contains(words)), "{code}: {bad}");
    }
    assert_eq!(bad.lines().count(), 6, "{bad}");
}
