//! Servers that go, logs that go, and transactions of any size.

use kwsync_core::testkit::{MariaServer, PgServer};

use super::super::support::{Job, until};
use super::{Following, servers};

/// The source goes down, by a crash or as it is told to, while changes come; then its log goes, and then it is another server: each is told.
#[test]
fn binlog_outlasts_a_server_that_goes_down_and_tells_of_a_log_that_goes() {
    let Some(maria) = MariaServer::start_with(MariaServer::LOGGED) else { return };
    let Some(pg) = PgServer::shared() else { return };
    let following = Following::new(
        (&maria, pg),
        "CREATE TABLE t (id int AUTO_INCREMENT PRIMARY KEY, v int); CREATE TABLE k (id int PRIMARY KEY, v int); INSERT INTO t (v) VALUES (0)",
    );
    let mut job = following.start();
    following.until_equal(&mut job, "t", "id,v");
    for round in 0..2 {
        following.sql(&format!(
            "INSERT INTO t (v) SELECT seq FROM seq_1_to_500; UPDATE t SET v = v + 1 WHERE id % 3 = {round}; INSERT INTO k SELECT 1000 * {round} + seq, seq FROM seq_1_to_500; FLUSH BINARY LOGS"
        ));
        if round == 0 {
            maria.stop_immediately();
        }
        maria.restart();
        following.until_equal(&mut job, "t", "id,v");
        following.until_equal(&mut job, "k", "id,v");
    }
    assert_eq!(job.terminate().status(), 143);
    // What was written meanwhile is lost with its file.
    following.sql("INSERT INTO t (v) VALUES (1); FLUSH BINARY LOGS; FLUSH BINARY LOGS");
    let last = maria.sql("mysql", "SHOW BINARY LOGS");
    let last = last.lines().last().and_then(|line| line.split('\t').next()).unwrap().to_owned();
    until("the log is gone", || {
        maria.sql("mysql", &format!("PURGE BINARY LOGS TO '{last}'"));
        maria.sql("mysql", "SHOW BINARY LOGS").lines().count() == 1
    });
    let said = following.catch_up(1).err();
    assert!(said.contains("PURGE BINARY LOGS") && said.contains("--restart"), "{said}");
    following.there("TRUNCATE t; TRUNCATE k");
    following.run("history", &["--restart", "--quiet"]).expect(0);
    following.assert_equal("t", "id,v");
    // A log that was begun anew has files of the same names, and other transactions.
    following.sql("INSERT INTO t (v) VALUES (2)");
    following.catch_up(0);
    maria.sql(&following.from, "RESET MASTER; INSERT INTO t (v) SELECT seq FROM seq_1_to_2000; FLUSH BINARY LOGS; FLUSH BINARY LOGS; FLUSH BINARY LOGS; FLUSH BINARY LOGS; FLUSH BINARY LOGS; FLUSH BINARY LOGS; FLUSH BINARY LOGS; FLUSH BINARY LOGS");
    let said = following.catch_up(1).err();
    assert!(said.contains("begun anew") && said.contains("--restart"), "{said}");
    // And another server has another number.
    following.there("TRUNCATE t; TRUNCATE k");
    following.run("history", &["--restart", "--quiet"]).expect(0);
    maria.sql("mysql", "SET GLOBAL server_id = 77");
    let said = following.catch_up(1).err();
    assert!(said.contains("another server") && said.contains("77"), "{said}");
}

/// A large transaction comes in parts and is there as one: memory does not grow with it, nobody sees a part, and a kill in its midst leaves none.
#[test]
fn binlog_changes_of_many_rows_in_one_transaction() {
    in_one_transaction(100_000);
}

/// The same of a million rows.
#[test]
#[ignore = "dev/soak"]
fn binlog_changes_of_a_million_rows_in_one_transaction() {
    in_one_transaction(1_000_000);
}

fn in_one_transaction(rows: u32) {
    let Some(servers) = servers() else { return };
    let following = Following::new(
        servers,
        "CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE other (id int PRIMARY KEY)",
    );
    following.catch_up(0);
    following.sql(&format!(
        "BEGIN; INSERT INTO t SELECT seq, CONCAT(REPEAT('x', 100), seq) FROM seq_1_to_{rows}; INSERT INTO other VALUES (1); UPDATE t SET v = 'u' WHERE id % 1000 = 0; COMMIT"
    ));
    let count = || following.there("SELECT count(*) FROM t");
    let written = format!(
        "SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = '{}' AND xact_start < clock_timestamp() - interval '200 ms' AND pid <> pg_backend_pid()",
        following.to
    );
    // Killed while it writes.
    let mut job = following.start();
    until("the transaction is under way", || {
        assert!(!job.has_ended());
        following.there(&written).contains('t')
    });
    assert_eq!(count(), "0\n");
    job.kill();
    assert_eq!(count(), "0\n");
    let report = following.report();
    following.assert_equal("t", "id,v");
    following.assert_equal("other", "id");
    let peak = report["peak_memory_bytes"].as_u64().unwrap();
    println!("peak memory {} MiB", peak >> 20);
    assert!(peak < 400 << 20, "{peak} bytes");
}

/// A target that goes down, and one that does not answer for a while.
#[test]
fn binlog_outlasts_a_target_that_goes_down() {
    let Some(maria) = MariaServer::shared_logged() else { return };
    let Some(pg) = PgServer::start() else { return };
    let following = Following::new(
        (maria, &pg),
        "CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t VALUES (0, 0)",
    );
    let mut job = following.start();
    following.until_equal(&mut job, "t", "id,v");
    for round in 0..2 {
        following.sql(&format!("INSERT INTO t SELECT 1000 * {round} + seq, seq FROM seq_1_to_900; UPDATE t SET v = v + 1 WHERE id % 3 = {round}"));
        if round == 0 {
            pg.stop_immediately();
        }
        pg.restart();
        following.until_equal(&mut job, "t", "id,v");
    }
    assert_eq!(job.terminate().status(), 143);
}

/// Two processes with the number of one replica throw each other out; neither loses anything, nor writes it twice.
#[test]
fn binlog_of_two_replicas_with_one_number() {
    let Some(servers) = servers() else { return };
    let mut one = Following::new(servers, "CREATE TABLE t (id int PRIMARY KEY, v int)");
    let mut two = Following::new(servers, "CREATE TABLE t (id int PRIMARY KEY, v int)");
    (one.more, two.more) = ("&server_id=4711".to_owned(), "&server_id=4711".to_owned());
    let mut first = one.start();
    one.until_equal(&mut first, "t", "id,v");
    until("the replica is known", || one.maria.sql("mysql", "SHOW SLAVE HOSTS").contains("4711"));
    // Told before anything is touched.
    let said = two.run("all", &["--dry-run"]).expect(2).err();
    assert!(said.contains("server_id=4711") && said.contains("replica"), "{said}");
    // The same job again is nobody else: the older of the two goes, and comes again.
    let second: Job = one.start();
    one.sql("INSERT INTO t SELECT seq, seq FROM seq_1_to_100");
    until("rows", || one.is_equal("t", "id,v"));
    second.kill();
    first.kill();
    // Whatever they did to each other, what comes now comes once.
    one.sql("UPDATE t SET v = v + 1; INSERT INTO t VALUES (1000, 1)");
    one.catch_up(0);
    one.assert_equal("t", "id,v");
}
