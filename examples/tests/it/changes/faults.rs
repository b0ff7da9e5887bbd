//! Servers that go, slots that go, and transactions of any size.

use kwsync_core::testkit::PgServer;

use super::super::support::until;
use super::Following;

/// Either server goes down, by a crash or as it is told to, while changes come: nothing is lost or there twice.
#[test]
fn changes_outlast_servers_that_go_down() {
    let Some(server) = PgServer::start() else { return };
    let Some(other) = PgServer::start() else { return };
    let following = Following::new(
        &server,
        "CREATE TABLE t (id serial PRIMARY KEY, v int); CREATE TABLE k (v int); INSERT INTO t (v) VALUES (0)",
    );
    let to = other.create_database();
    let source = format!("{}&keyless=inserts&mode=all", following.source());
    let target = other.dsn(&to);
    let arguments = [
        "run",
        "--from",
        &source,
        "--to",
        &target,
        "--job",
        "outlast",
        "--quiet",
        "--retries",
        "100",
        "--retry-wait",
        "300",
    ];
    let mut job = super::super::support::Job::start(&following.place, &arguments);
    let sums = "SELECT count(*), sum(v), (SELECT count(*) FROM k), (SELECT count(DISTINCT v) FROM k) FROM t";
    let equal = |job: &mut super::super::support::Job| {
        until("both are equal", || {
            assert!(!job.has_ended(), "the job has ended");
            other.try_psql(&to, sums, b"") == server.try_psql(&following.from, sums, b"")
        });
    };
    equal(&mut job);
    for round in 0..4 {
        let change = format!(
            "INSERT INTO t (v) SELECT g FROM generate_series(1, 500) g; UPDATE t SET v = v + 1 WHERE id % 3 = {round} % 3; INSERT INTO k SELECT 1000 * {round} + g FROM generate_series(1, 500) g"
        );
        following.sql(&change);
        match round {
            0 => server.stop_immediately(),
            1 => other.stop_immediately(),
            2 => server.restart(),
            _ => other.restart(),
        }
        if round < 2 {
            [&server, &other][round].restart();
        }
        equal(&mut job);
    }
    assert_eq!(job.terminate().status(), 143);
    assert_eq!(other.psql(&to, "SELECT count(*), count(DISTINCT v) FROM k"), "2000|2000\n");
}

/// A slot that is gone, or was made anew, cannot go on, and the job says so instead of leaving changes out.
#[test]
fn changes_that_the_server_no_longer_has_are_told() {
    let Some(server) = PgServer::shared() else { return };
    let following = Following::new(server, "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)");
    let mut job = following.start();
    following.until_equal(&mut job, "t");
    until("the slot is read", || {
        server.psql(
            &following.from,
            &format!("SELECT active FROM pg_replication_slots WHERE database = '{}'", following.from),
        ) == "t\n"
    });
    let slot = server.psql(
        &following.from,
        &format!("SELECT slot_name FROM pg_replication_slots WHERE database = '{}'", following.from),
    );
    let slot = slot.trim();
    // Under its feet.
    let drop = format!(
        "SELECT pg_terminate_backend(active_pid, 5000) FROM pg_replication_slots WHERE slot_name = '{slot}' AND active; SELECT pg_drop_replication_slot('{slot}')"
    );
    until("the slot is dropped", || server.try_psql(&following.from, &drop, b"").is_ok());
    let ran = job.end();
    assert!(
        ran.err().contains(slot) && ran.err().contains("it is gone") && ran.err().contains("--restart"),
        "{}",
        ran.err()
    );
    assert_eq!(ran.status(), 1);
    following.sql("INSERT INTO t VALUES (2)");
    following.sql(&format!("SELECT pg_create_logical_replication_slot('{slot}', 'pgoutput')"));
    let said = following.catch_up(1).err();
    assert!(said.contains("was made anew") && said.contains("--restart"), "{said}");
    let arguments = following.arguments("history");
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).chain(["--restart", "--quiet"]).collect();
    server.psql(&following.to, "TRUNCATE t");
    following.place.run(&arguments).expect(0);
    assert!(following.is_equal("t"));
    following.forget();
}

/// A large transaction comes in parts and is there as one: memory does not grow with it, nobody sees a part, and a kill in its midst leaves none.
#[test]
fn changes_of_many_rows_in_one_transaction() {
    in_one_transaction(100_000);
}

/// The same of a million rows.
#[test]
#[ignore = "dev/soak"]
fn changes_of_a_million_rows_in_one_transaction() {
    in_one_transaction(1_000_000);
}

fn in_one_transaction(rows: u32) {
    let Some(server) = PgServer::shared() else { return };
    let following = Following::new(
        server,
        "CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE other (id int PRIMARY KEY)",
    );
    following.catch_up(0);
    following.sql(&format!(
        "BEGIN; INSERT INTO t SELECT g, repeat('x', 100) || g FROM generate_series(1, {rows}) g; INSERT INTO other VALUES (1); UPDATE t SET v = 'u' WHERE id % 1000 = 0; COMMIT"
    ));
    let count = || server.psql(&following.to, "SELECT count(*) FROM t");
    let written = format!(
        "SELECT coalesce(sum(n_tup_ins), 0) > 50000 FROM pg_stat_xact_user_tables UNION ALL SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = '{}' AND xact_start < clock_timestamp() - interval '300 ms' AND pid <> pg_backend_pid()",
        following.to
    );
    // Killed while it writes.
    let mut job = following.start();
    until("the transaction is under way", || {
        assert!(!job.has_ended());
        server.psql(&following.to, &written).contains('t')
    });
    assert_eq!(count(), "0\n");
    job.kill();
    assert_eq!(count(), "0\n");
    let report: serde_json::Value = serde_json::from_str(&following.catch_up(0).out()).unwrap();
    assert!(following.is_equal("t") && following.is_equal("other"));
    let peak = report["peak_memory_bytes"].as_u64().unwrap();
    println!("peak memory {} MiB", peak >> 20);
    assert!(peak < 400 << 20, "{peak} bytes");
    following.forget();
}

/// A transaction that takes long holds up the slot's beginning and nothing else: what it does comes when it is over, and what others do comes before.
#[test]
fn changes_of_a_long_transaction_come_when_it_is_over() {
    let Some(server) = PgServer::shared() else { return };
    let following =
        Following::new(server, "CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t VALUES (1, 1)");
    let mut job = following.start();
    following.until_equal(&mut job, "t");
    until("the stream is on", || {
        server.psql(
            &following.from,
            &format!("SELECT active FROM pg_replication_slots WHERE database = '{}'", following.from),
        ) == "t\n"
    });
    following.sql("BEGIN; UPDATE t SET v = 2 WHERE id = 1; PREPARE TRANSACTION 'long'");
    following.sql("INSERT INTO t VALUES (2, 2)");
    until("what others do", || server.psql(&following.to, "SELECT count(*) FROM t") == "2\n");
    assert_eq!(server.psql(&following.to, "SELECT v FROM t WHERE id = 1"), "1\n");
    following.sql("COMMIT PREPARED 'long'");
    following.until_equal(&mut job, "t");
    assert_eq!(job.terminate().status(), 143);
    following.forget();
}

/// A target that does not answer for longer than the source waits for a word: the stream is not lost, since the server's keepalives are
/// answered all the same.
#[test]
fn changes_outlast_a_target_that_is_slow() {
    let Some(server) = PgServer::shared() else { return };
    let following = Following::new(server, "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (0)");
    following.sql(&format!("ALTER DATABASE {} SET wal_sender_timeout = '1500ms'", following.from));
    let mut job = following.start();
    following.until_equal(&mut job, "t");
    let sql = format!(
        "SELECT active_pid FROM pg_replication_slots WHERE database = '{}' AND active",
        following.from
    );
    until("the stream is on", || !server.psql(&following.from, &sql).is_empty());
    let holder = server.psql(&following.from, &sql);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            server.psql(
                &following.to,
                "BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(6); COMMIT",
            )
        });
        let locks = format!(
            "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted AND database = (SELECT oid FROM pg_database WHERE datname = '{}')",
            following.to
        );
        until("the table is locked", || server.psql("postgres", &locks) != "0\n");
        following.sql("INSERT INTO t SELECT g FROM generate_series(1, 1000) g");
        // More than is gathered while a commit waits.
        for _ in 0..3 {
            following.sql(
                "INSERT INTO t SELECT g FROM generate_series(2000, 60000) g; DELETE FROM t WHERE id >= 2000",
            );
        }
    });
    following.until_equal(&mut job, "t");
    assert_eq!(server.psql(&following.from, &sql), holder, "the stream is the one that it was");
    assert_eq!(job.terminate().status(), 143);
    following.forget();
}
