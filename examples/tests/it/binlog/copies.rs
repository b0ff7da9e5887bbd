//! Where the job begins and ends, and what it reads.

use super::super::support::{Job, until};
use super::{Following, servers};

/// A job with a name reads on at each run.
#[test]
fn binlog_is_caught_up_with_run_by_run() {
    let Some(servers) = servers() else { return };
    let following = Following::new(
        servers,
        "CREATE TABLE t (id int PRIMARY KEY, v int, twice int AS (v * 2) STORED, thrice int AS (v * 3) VIRTUAL); INSERT INTO t (id, v) SELECT seq, seq FROM seq_1_to_1000;
         CREATE TABLE none (id int PRIMARY KEY)",
    );
    let count = |report: &serde_json::Value, what: &str| report[what].as_u64().unwrap();
    assert_eq!(count(&following.report(), "rows_written"), 1000);
    assert_eq!(count(&following.report(), "rows_read"), 0);
    following.sql("UPDATE t SET v = 0 WHERE id <= 100; INSERT INTO t (id, v) VALUES (1001, 1); DELETE FROM t WHERE id > 990");
    let report = following.report();
    // In one transaction: of a row that came and went only that is left.
    assert_eq!(
        (count(&report, "rows_updated"), count(&report, "rows_deleted"), count(&report, "rows_written")),
        (100, 10, 0),
        "{report}"
    );
    following.assert_equal("t", "id,v");
    // Columns that the server works out are not carried; a table without rows is made.
    let sql = "SELECT count(*) FROM information_schema.columns WHERE table_name IN ('t', 'none')";
    assert_eq!(following.there(sql), "3\n");
    // Begun anew, it copies again.
    let said = following.run("history", &["--restart", "--quiet"]).expect(1).err();
    assert!(said.contains("duplicate key") || said.contains("unique"), "{said}");
    following.there("TRUNCATE t");
    following.run("history", &["--restart", "--quiet"]).expect(0);
    following.assert_equal("t", "id,v");
}

/// From now on, without a copy.
#[test]
fn binlog_changes_alone() {
    let Some(servers) = servers() else { return };
    let following =
        Following::new(servers, "CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t VALUES (1, 1)");
    let arguments = following.arguments("realtime");
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).chain(["--quiet"]).collect();
    let mut job = Job::start(&following.place, &arguments);
    // The table is made when the stream is on.
    until("the stream is on", || {
        assert!(!job.has_ended());
        following.pg.try_psql(&following.to, "SELECT * FROM t", b"").is_ok()
    });
    following.sql("UPDATE t SET v = 5 WHERE id = 1; INSERT INTO t VALUES (3, 3)");
    until("what comes", || !job.has_ended() && following.is_equal("t", "id,v"));
    following.sql("DELETE FROM t WHERE id = 1");
    until("what comes", || !job.has_ended() && following.is_equal("t", "id,v"));
    assert_eq!(job.terminate().status(), 143);
}

/// All lanes read as of one place, while rows change, and tables are cut.
#[test]
fn binlog_copy_of_several_lanes_while_rows_change() {
    let Some(servers) = servers() else { return };
    let mut following = Following::new(
        servers,
        "CREATE TABLE a (id int PRIMARY KEY, v int); CREATE TABLE b (id int PRIMARY KEY, v int); INSERT INTO a SELECT seq, 0 FROM seq_1_to_20000; INSERT INTO b SELECT seq, 0 FROM seq_1_to_20000",
    );
    following.more = "&splits=7&batch_rows=500".to_owned();
    let arguments = following.arguments("all");
    let arguments: Vec<&str> =
        arguments.iter().map(String::as_str).chain(["--quiet", "--jobs", "3"]).collect();
    std::thread::scope(|scope| {
        let following = &following;
        let writing = scope.spawn(move || {
            for round in 0..30 {
                following.sql(&format!(
                    "BEGIN; UPDATE a SET v = v + 1 WHERE id % 30 = {round}; UPDATE b SET v = v + 1 WHERE id % 30 = {round}; DELETE FROM a WHERE id = {round} * 7; COMMIT; \
                     UPDATE b SET id = id + 100000 WHERE id BETWEEN {round} * 100 + 1 AND {round} * 100 + 10; INSERT INTO a VALUES (50000 + {round}, 1)"
                ));
            }
        });
        let mut job = Job::start(&following.place, &arguments);
        writing.join().unwrap();
        following.until_equal(&mut job, "a", "id,v");
        following.until_equal(&mut job, "b", "id,v");
        assert_eq!(job.terminate().status(), 143);
    });
}

/// Tables of several databases keep theirs as schemas; names with anything in them are names.
#[test]
fn binlog_of_several_databases() {
    let Some(servers) = servers() else { return };
    let mut following = Following::new(
        servers,
        "CREATE TABLE `a ``b` (id int PRIMARY KEY, `V x` int); INSERT INTO `a ``b` VALUES (1, 1)",
    );
    let other = following.maria.create_database();
    following
        .maria
        .sql(&other, "CREATE TABLE `a ``b` (id int PRIMARY KEY, w int); INSERT INTO `a ``b` VALUES (5, 5)");
    following.more = format!("&tables={other}.*");
    following.there(&format!("CREATE SCHEMA {other}; CREATE SCHEMA {}", following.from));
    following.catch_up(0);
    following.sql(&format!("BEGIN; UPDATE `a ``b` SET `V x` = 2; INSERT INTO {other}.`a ``b` VALUES (6, 6); COMMIT; TRUNCATE {other}.`a ``b`; INSERT INTO {other}.`a ``b` VALUES (7, 7)"));
    following.catch_up(0);
    assert_eq!(following.there(&format!("SELECT * FROM {}.\"a `b\"", following.from)), "1|2\n");
    assert_eq!(following.there(&format!("SELECT * FROM {other}.\"a `b\"")), "7|7\n");
}

/// Many tables into one: rows are told apart by their key and by the table that they come from.
#[test]
fn binlog_of_tables_that_are_merged() {
    let Some(servers) = servers() else { return };
    let following = Following::new(
        servers,
        "CREATE TABLE o1 (id int PRIMARY KEY, v int); CREATE TABLE o2 LIKE o1; INSERT INTO o1 VALUES (1, 1), (2, 2); INSERT INTO o2 VALUES (1, 10), (3, 30)",
    );
    let run = |status| following.run("history", &["--quiet", "-T", "merge-tables:orders"]).expect(status);
    run(0);
    following.sql("UPDATE o1 SET v = 7 WHERE id = 1; DELETE FROM o2 WHERE id = 3; INSERT INTO o2 VALUES (2, 20); UPDATE o2 SET id = 9 WHERE id = 1");
    run(0);
    let source = |table: &str| format!("m-{}-{}:{}.{table}", following.to, following.from, following.from);
    assert_eq!(
        following.there("SELECT id, v, __dts_data_source FROM orders ORDER BY 3, 1"),
        format!("1|7|{o1}\n2|2|{o1}\n2|20|{o2}\n9|10|{o2}\n", o1 = source("o1"), o2 = source("o2"))
    );
    // One of them is emptied, and the others are not.
    following.sql("TRUNCATE o1");
    let said = run(2).err();
    assert!(said.contains("emptied") && said.contains("operations="), "{said}");
}

/// dbsync by its my.cfg: a copy, then the stream.
#[test]
fn binlog_by_my_cfg() {
    let Some(servers) = servers() else { return };
    let following = Following::new(
        servers,
        "CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t SELECT seq, seq FROM seq_1_to_100",
    );
    let (maria, pg) = servers;
    let quoted = |password: &str| password.replace('\\', "\\\\").replace('\'', "\\'");
    let text = format!(
        "[src.mysql]\nhost = \"127.0.0.1\"\nport = \"{}\"\nuser = \"{}\"\npassword = \"{}\"\ndb = \"{}\"\n[desc.pgsql]\nconnect_string = \"host=127.0.0.1 dbname={} port={} user={} password='{}'\"\n",
        maria.port(),
        maria.user(),
        maria.password(),
        following.from,
        following.to,
        pg.port(),
        pg.superuser(),
        quoted(pg.password())
    );
    following.place.write("my.cfg", text);
    let job = format!("cfg-{}", following.to);
    let mut job = Job::start(&following.place, &["dbsync", "--incremental", "--job", &job, "--quiet"]);
    until("the stream is on", || {
        assert!(!job.has_ended(), "the job has ended");
        following
            .pg
            .try_psql(&following.to, "SELECT state FROM db_sync_status", b"")
            .is_ok_and(|state| state == b"incremental\n")
    });
    following
        .sql("UPDATE t SET v = 0 WHERE id = 1; DELETE FROM t WHERE id = 2; INSERT INTO t VALUES (200, 1)");
    following.until_equal(&mut job, "t", "id,v");
    assert_eq!(job.terminate().status(), 143);
}

/// Single-row updates in transactions of their own, all at once and as they come. Run it alone: `it binlog::copies::measured --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn measured() {
    const UPDATES: u32 = 100_000;
    let Some(servers) = servers() else { return };
    let following = Following::new(
        servers,
        "CREATE TABLE t (id int PRIMARY KEY, v int, s text); INSERT INTO t SELECT seq, 0, CONCAT('row ', seq) FROM seq_1_to_100000",
    );
    following.catch_up(0);
    let write = |sign: &str| {
        format!(
            "delimiter //\nBEGIN NOT ATOMIC DECLARE i int DEFAULT 1; WHILE i <= {UPDATES} DO UPDATE t SET v = {sign}i WHERE id = 1 + (i * 7919) % 100000; SET i = i + 1; END WHILE; END//"
        )
    };
    let rate = |began: std::time::Instant| f64::from(UPDATES) / began.elapsed().as_secs_f64();
    let began = std::time::Instant::now();
    following.sql(&write(""));
    println!("the source wrote {:.0} a second", rate(began));
    let began = std::time::Instant::now();
    let report = following.catch_up(0).out();
    println!("caught up: {:.0} a second\n{report}", rate(began));
    following.assert_equal("t", "id,v");
    let mut job = following.start();
    let began = std::time::Instant::now();
    following.sql(&write("-"));
    let wrote = began.elapsed();
    following.until_equal(&mut job, "t", "id,v");
    println!(
        "as they came: written in {:.1} s, equal {:.2} s later",
        wrote.as_secs_f64(),
        (began.elapsed() - wrote).as_secs_f64()
    );
    job.terminate();
}
