//! Where the job begins and ends, and what it keeps at the server.

use kwsync_core::testkit::PgServer;

use super::super::support::until;
use super::Following;

/// A job with a name reads on at each run; it keeps its slot, which is dropped when it is forgotten.
#[test]
fn changes_are_caught_up_with_run_by_run() {
    let Some(server) = PgServer::shared() else { return };
    let following = Following::new(
        server,
        "CREATE TABLE t (id int PRIMARY KEY, v int, twice int GENERATED ALWAYS AS (v * 2) STORED); INSERT INTO t SELECT g, g FROM generate_series(1, 1000) g; CREATE TABLE none (id int PRIMARY KEY)",
    );
    let count = |report: &serde_json::Value, what: &str| report[what].as_u64().unwrap();
    let run = || serde_json::from_str::<serde_json::Value>(&following.catch_up(0).out()).unwrap();
    assert_eq!(count(&run(), "rows_written"), 1000);
    assert_eq!((count(&run(), "rows_read"), following.slots().as_str()), (0, "1\n"));
    following.sql(
        "UPDATE t SET v = 0 WHERE id <= 100; INSERT INTO t VALUES (1001, 1); DELETE FROM t WHERE id > 990",
    );
    let report = run();
    // In one transaction: of a row that came and went only that is left.
    assert_eq!(
        (count(&report, "rows_updated"), count(&report, "rows_deleted"), count(&report, "rows_written")),
        (100, 10, 0),
        "{report}"
    );
    let sums = |database: &str| server.psql(database, "SELECT count(*), sum(id), sum(v) FROM t");
    assert_eq!(sums(&following.to), sums(&following.from));
    // A column that the server works out is not carried; a table without rows is made.
    assert_eq!(
        server.psql(
            &following.to,
            "SELECT count(*) FROM information_schema.columns WHERE table_name IN ('t', 'none')"
        ),
        "3\n"
    );
    following.forget();
    assert_eq!(server.psql(&following.to, "SELECT count(*) FROM kwsync_checkpoint"), "0\n");
    // Begun anew, it copies again; with its slot there is nobody else's.
    let arguments = following.arguments("history");
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).chain(["--restart", "--quiet"]).collect();
    following.place.run(&arguments).expect(1);
    server.psql(&following.to, "TRUNCATE t");
    following.place.run(&arguments).expect(0);
    assert_eq!((sums(&following.to), following.slots().as_str()), (sums(&following.from), "1\n"));
    following.forget();
}

/// Without a name the job is over when it ends, and leaves nothing behind.
#[test]
fn changes_of_a_job_without_a_name_leave_no_slot() {
    let Some(server) = PgServer::shared() else { return };
    let following = Following::new(server, "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)");
    let (from, to) = (following.source(), server.dsn(&following.to));
    following.place.run(&["run", "--from", &from, "--to", &to, "--quiet"]).expect(0);
    assert!(following.is_equal("t"));
    assert_eq!(
        (
            following.slots().as_str(),
            server.psql(&following.from, "SELECT count(*) FROM pg_publication").as_str()
        ),
        ("0\n", "0\n")
    );
}

/// From now on, through a slot and a publication that were made before.
#[test]
fn changes_alone_by_a_given_slot() {
    let Some(server) = PgServer::shared() else { return };
    let mut following = Following::new(
        server,
        "CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t VALUES (1, 1); CREATE PUBLICATION mine FOR TABLE t",
    );
    let slot = format!("given_{}", following.from);
    following.sql(&format!("SELECT pg_create_logical_replication_slot('{slot}', 'pgoutput')"));
    following.sql("INSERT INTO t VALUES (2, 2)");
    let more = format!("&slot={slot}&publication=mine");
    following.more = Box::leak(more.into_boxed_str());
    let arguments = following.arguments("all");
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    // A copy has to begin with the slot.
    let said = following.place.run(&arguments).expect(2).err();
    assert!(said.contains("is there already") && said.contains("mode=realtime"), "{said}");
    let arguments = following.arguments("realtime");
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).chain(["--quiet"]).collect();
    let mut job = super::super::support::Job::start(&following.place, &arguments);
    let there = |wanted: &str| {
        server
            .try_psql(&following.to, "SELECT id, v FROM t ORDER BY id", b"")
            .is_ok_and(|out| out == wanted.as_bytes())
    };
    until("what came since the slot", || there("2|2\n"));
    // What was there before is not there to be updated or deleted; the insert of an update is.
    following.sql("UPDATE t SET v = 5 WHERE id = 2; INSERT INTO t VALUES (3, 3)");
    until("what comes", || !job.has_ended() && there("2|5\n3|3\n"));
    assert_eq!(job.terminate().status(), 143);
    // The slot is somebody's own, and stays.
    let arguments = following.arguments("realtime");
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).chain(["--forget"]).collect();
    let said = following.place.run(&arguments).expect(0).err();
    assert!(said.contains("is kept"), "{said}");
    assert_eq!(following.slots(), "1\n");
    following.sql(&format!("SELECT pg_drop_replication_slot('{slot}')"));
}

/// Single-row updates in transactions of their own, all at once and as they come. Run it alone: `it changes::copies::measured --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn measured() {
    const UPDATES: u32 = 200_000;
    let Some(server) = PgServer::shared() else { return };
    let schema = "CREATE TABLE t (id int PRIMARY KEY, v int, s text); INSERT INTO t SELECT g, 0, 'row ' || g FROM generate_series(1, 100000) g";
    let following = Following::new(server, schema);
    following.catch_up(0);
    let write = format!(
        "DO $$ BEGIN FOR i IN 1..{UPDATES} LOOP UPDATE t SET v = i WHERE id = 1 + (i * 7919) % 100000; COMMIT; END LOOP; END $$"
    );
    let began = std::time::Instant::now();
    following.sql(&write);
    println!("the source wrote {:.0} a second", f64::from(UPDATES) / began.elapsed().as_secs_f64());
    let began = std::time::Instant::now();
    let report = following.catch_up(0).out();
    println!("caught up: {:.0} a second\n{report}", f64::from(UPDATES) / began.elapsed().as_secs_f64());
    assert!(following.is_equal("t"));
    let mut job = following.start();
    let began = std::time::Instant::now();
    following.sql(&write.replace("v = i ", "v = -i "));
    let wrote = began.elapsed();
    until("all", || !job.has_ended() && following.is_equal("t"));
    println!(
        "as they came: written in {:.1} s, equal {:.2} s later",
        wrote.as_secs_f64(),
        (began.elapsed() - wrote).as_secs_f64()
    );
    job.terminate();
    following.forget();
}

/// Partitions come as the table that they belong to; tables of several schemas keep theirs.
#[test]
fn changes_of_partitions_and_schemas() {
    let Some(server) = PgServer::shared() else { return };
    let following = Following::new(
        server,
        "CREATE SCHEMA \"o.p\"; CREATE TABLE \"o.p\".\"a b\" (id int PRIMARY KEY, \"V\" int);
         CREATE TABLE m (at date, n int, PRIMARY KEY (at, n)) PARTITION BY RANGE (at);
         CREATE TABLE m1 PARTITION OF m FOR VALUES FROM ('2024-01-01') TO ('2024-02-01');
         CREATE TABLE m2 PARTITION OF m FOR VALUES FROM ('2024-02-01') TO ('2024-03-01');
         INSERT INTO m SELECT '2024-01-01'::date + g, g FROM generate_series(0, 50) g",
    );
    server.psql(&following.to, "CREATE SCHEMA \"o.p\"");
    following.catch_up(0);
    following.sql("INSERT INTO \"o.p\".\"a b\" VALUES (1, 2); UPDATE m SET at = at + 31 WHERE n = 1; DELETE FROM m WHERE n = 40; INSERT INTO m VALUES ('2024-01-05', 7)");
    following.catch_up(0);
    assert!(
        following.is_equal("m") && following.is_equal("\"o.p\".\"a b\""),
        "{}",
        server.psql(&following.to, "TABLE m")
    );
    following.forget();
}

/// pgsql2pgsql by its my.cfg: a copy, then the stream, with the times of each in `db_sync_status`.
#[test]
fn changes_by_my_cfg_and_its_status() {
    let Some(server) = PgServer::shared() else { return };
    let following = Following::new(
        server,
        "CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t SELECT g, g FROM generate_series(1, 100) g",
    );
    let at = |db: &str| {
        let password = server.password().replace('\\', "\\\\").replace('\'', "\\'");
        format!(
            "connect_string = \"host=127.0.0.1 dbname={db} port={} user={} password='{password}'\"",
            server.port(),
            server.superuser()
        )
    };
    let local = server.create_database();
    let text = format!(
        "[src.pgsql]\n{}\n[local.pgsql]\n{}\n[desc.pgsql]\n{}\n",
        at(&following.from),
        at(&local),
        at(&following.to)
    );
    following.place.write("my.cfg", text);
    let arguments = ["dbsync", "--incremental", "--job", &format!("cfg-{}", following.from), "--quiet"];
    let status = || {
        let sql =
            "SELECT state, full_s_start <= full_s_end, full_s_end <= increment_s_start FROM db_sync_status";
        String::from_utf8(server.try_psql(&local, sql, b"").unwrap_or_default()).unwrap()
    };
    let mut job = super::super::support::Job::start(&following.place, &arguments);
    until("the stream is on", || {
        assert!(!job.has_ended(), "the job has ended");
        status() == "incremental|t|t\n"
    });
    following.sql("UPDATE t SET v = 0 WHERE id = 1; DELETE FROM t WHERE id = 2");
    following.until_equal(&mut job, "t");
    assert_eq!(job.terminate().status(), 143);
    assert_eq!(status(), "interrupted|t|t\n");
    let times = || server.psql(&local, "SELECT full_s_start, increment_s_start FROM db_sync_status");
    let before = times();
    following.sql("INSERT INTO t VALUES (200, 1)");
    let mut job = super::super::support::Job::start(&following.place, &arguments);
    following.until_equal(&mut job, "t");
    until("the stream is on again", || status() == "incremental|t|t\n");
    assert_eq!(times(), before, "the times are those of the beginning");
    assert_eq!(job.terminate().status(), 143);
    following.sql(&format!(
        "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = '{}'",
        following.from
    ));
}
