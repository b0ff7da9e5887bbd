//! Pipes through the command: their definitions outlive the processes that run them.

use std::io::Write;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use kwsync_core::testkit::PgServer;

use crate::support::{Place, Ran, block};

fn pipe(place: &Place, statement: &str) -> Ran {
    place.run(&["pipe", "--state", "pipes", statement])
}

/// A process that runs pipes; it goes with the test, however that ends.
struct Runner(Child);

impl Runner {
    fn start(place: &Place) -> Self {
        let mut command = place.command(&["pipe", "--state", "pipes", "--run", "-vv"]);
        let log = std::fs::File::create(place.path("runner.log")).unwrap();
        Self(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap())
    }

    /// SIGTERM, as a service manager sends it.
    fn stop(mut self) -> Option<i32> {
        let killed = std::process::Command::new("kill").arg(self.0.id().to_string()).status().unwrap();
        assert!(killed.success());
        self.0.wait().unwrap().code()
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Waits until `done` holds.
fn until(what: &str, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < Duration::from_secs(60), "{what} never came");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_pipe_killed_at_any_moment_goes_on_where_its_checkpoint_stands() {
    const ROWS: usize = 60_000;
    let Some(server) = PgServer::shared() else { return };
    let (place, database) = (Place::new(), server.create_database());
    place.write("in.lp", (0..ROWS).map(|n| format!("cpu n={n}i {n}000\n")).collect::<String>());
    let sink = server.dsn(&database);
    let made = pipe(
        &place,
        &format!(
            "CREATE PIPE a2b
             WITH SOURCE ('source'='file', 'source.path'='in.lp', 'split'='lines', 'split_bytes'='64KiB', 'jobs'='2')
             WITH PROCESSOR ('processor'='compute', 'value'='half=n / 2')
             WITH SINK ('sink'='postgres', 'sink.dsn'='{sink}',)"
        ),
    )
    .expect(0);
    assert!(made.out().contains("`kwsync pipe --run`"), "{}", made.out());
    let count = || -> usize {
        let sql = "SELECT CASE WHEN to_regclass('cpu') IS NULL THEN 0 ELSE (xpath('/row/c/text()', query_to_xml('SELECT count(*) AS c FROM cpu', false, true, '')))[1]::text::int END";
        server.psql(&database, sql).trim().parse().unwrap()
    };
    // Killed a few times; whatever was in flight belongs to a transaction that is rolled back.
    for _ in 0..5 {
        let before = count();
        let child = Runner::start(&place);
        until("a commit", || count() > before);
        drop(child);
        if count() == ROWS {
            break;
        }
    }
    place.run(&["pipe", "--state", "pipes", "--until-done"]).expect(0);
    let twice = server.psql(&database, "SELECT count(*), count(DISTINCT n), sum(half) FROM cpu");
    let halves: usize = (0..ROWS).map(|n| n / 2).sum();
    assert_eq!(twice.trim(), format!("{ROWS}|{ROWS}|{halves}"));
    let shown = pipe(&place, "SHOW PIPES").expect(0).out();
    assert!(shown.contains("|a2b|") && shown.contains("|STOPPED|"), "{shown}");
    assert!(shown.lines().any(|line| line.trim_end_matches(['|', ' ']).ends_with("|{}")), "{shown}");
    let password = server.password();
    assert!(!shown.contains(password), "{shown}");

    // What is new is moved when it is started again; dropped and made again, it starts over.
    place.write("in.lp", (0..ROWS + 5).map(|n| format!("cpu n={n}i {n}000\n")).collect::<String>());
    pipe(&place, "start pipe a2b").expect(0);
    place.run(&["pipe", "--state", "pipes", "--until-done"]).expect(0);
    assert_eq!(count(), ROWS + 5);
}

#[test]
fn two_pipes_with_one_sink_share_its_connections() {
    let Some(server) = PgServer::shared() else { return };
    let (place, database) = (Place::new(), server.create_database());
    for name in ["a", "b", "c"] {
        place.write(&format!("{name}.lp"), format!("{name} n=1i 1000\n"));
    }
    let sink = server.dsn(&database);
    for (name, sink) in [
        ("a", format!("'sink'='postgres', 'sink.dsn'='{sink}', 'sink.create'='missing'")),
        ("b", format!("'create'='missing', 'dsn'='{sink}', 'sink'='postgres'")),
        ("c", format!("'dsn'='{sink}', 'sink'='postgres'")),
    ] {
        let source = format!("'source'='file', 'path'='{name}.lp', 'realtime.interval'='200ms'");
        pipe(&place, &format!("CREATE PIPE {name} WITH SOURCE ({source}) WITH SINK ({sink})")).expect(0);
    }
    let sharing = pipe(&place, "SHOW PIPES WHERE SINK USED BY a").expect(0).out();
    assert!(sharing.contains("|a ") && sharing.contains("|b ") && !sharing.contains("|c "), "{sharing}");
    pipe(&place, "STOP PIPE c").expect(0);

    let child = Runner::start(&place);
    let rows = |table: &str| {
        let there = format!("SELECT to_regclass('{table}') IS NOT NULL");
        if server.psql(&database, &there).trim() != "t" {
            return 0;
        }
        server.psql(&database, &format!("SELECT count(*) FROM {table}")).trim().parse::<usize>().unwrap()
    };
    until("the first rows", || rows("a") == 1 && rows("b") == 1);
    // The realtime stage: what is appended is moved, for as long as the pipes run; and the sessions stay the same.
    let sessions = || {
        let sql = format!(
            "SELECT string_agg(pid::text, ',' ORDER BY pid) FROM pg_stat_activity WHERE datname = '{database}' AND pid <> pg_backend_pid()"
        );
        server.psql(&database, &sql).trim().to_owned()
    };
    let mut seen = std::collections::BTreeSet::new();
    for more in 2..=6 {
        for name in ["a", "b"] {
            // Appended: a file that is written anew is empty for a moment, and one that has shrunk stops a pipe.
            let path = place.path(&format!("{name}.lp"));
            let mut file = std::fs::File::options().append(true).open(path).unwrap();
            file.write_all(format!("{name} n={more}i {more}000\n").as_bytes()).unwrap();
        }
        until("an appended row", || {
            seen.extend(sessions().split(',').map(str::to_owned).filter(|pid| !pid.is_empty()));
            rows("a") == more && rows("b") == more
        });
    }
    // One session looks at the catalog for both, and a writer's session goes from job to job: each on its own, every one of
    // these runs would have opened two.
    assert!(seen.len() <= 4, "{seen:?}");
    assert_eq!(rows("c"), 0, "it is stopped");

    // Statements reach the pipes while they run.
    pipe(&place, "STOP PIPE a").expect(0);
    pipe(&place, "DROP PIPE b; START PIPE c").expect(0);
    until("the third pipe", || rows("c") == 1);
    let busy = place.run(&["pipe", "--state", "pipes", "--run"]).expect(2);
    assert!(busy.err().contains("another process runs these pipes"), "{}", busy.err());
    assert_eq!(child.stop(), Some(143));
}

#[test]
fn a_server_that_is_away_does_not_stop_a_pipe_and_a_wrong_password_does() {
    let Some(server) = PgServer::start() else { return };
    let (place, database) = (Place::new(), server.create_database());
    place.write("in.lp", "cpu n=1i 1000\n");
    let dsn = server.dsn(&database);
    let (user, host) = (dsn.split(':').nth(1).unwrap(), dsn.rsplit('@').next().unwrap());
    let wrong = format!("postgres:{user}:wrong-password@{host}");
    let source = "WITH SOURCE ('source'='file', 'path'='in.lp')";
    pipe(&place, &format!("CREATE PIPE good {source} WITH SINK ('sink'='postgres', 'dsn'='{dsn}')"))
        .expect(0);
    pipe(&place, &format!("CREATE PIPE bad {source} WITH SINK ('sink'='postgres', 'dsn'='{wrong}')"))
        .expect(0);
    server.stop_immediately();
    let child = Runner::start(&place);
    let tried = || std::fs::read_to_string(place.path("runner.log")).unwrap().contains("trying again");
    until("another try", tried);
    let state = |name: &str| pipe(&place, &format!("SHOW PIPE {name}")).expect(0).out();
    assert!(state("good").contains("|RUNNING|"), "{}", state("good"));
    server.restart();
    until("the row", || state("good").contains("|STOPPED|"));
    let log = std::fs::read_to_string(place.path("runner.log")).unwrap();
    assert_eq!(server.psql(&database, "SELECT n FROM cpu").trim(), "1", "{log}");
    until("the fault", || state("bad").contains("|STOPPED|"));
    let bad = state("bad");
    assert!(bad.contains("password authentication failed") && !bad.contains("wrong-password"), "{bad}");
    assert_eq!(child.stop(), Some(143));
}

#[test]
fn statements_come_from_a_file_and_faults_name_their_place() {
    let place = Place::new();
    place.write("in.lp", "cpu n=1i 1\n");
    let statements = "-- a file of statements\nCREATE PIPE p\nWITH SOURCE ('source'='file', 'path'='in.lp',)\nWITH SINK ('sink'='do-nothing-sink')\nSHOW PIPES\n";
    let file = std::fs::File::open(place.write("pipes.sql", statements)).unwrap();
    let ran = Ran::of(place.command(&["pipe", "--state", "pipes"]).stdin(file).output().unwrap()).expect(0);
    assert!(
        ran.out().contains("pipe p is RUNNING") && ran.out().contains("Total line number = 1"),
        "{}",
        ran.out()
    );
    let ran = pipe(&place, "SHOW PIPES\nDRAP PIPE p").expect(2);
    assert!(
        ran.err().contains("line 2, column 1") && ran.err().contains("did you mean `DROP`?"),
        "{}",
        ran.err()
    );
    assert!(!ran.out().contains("Total"), "nothing is executed of a text that cannot be read");
    place.write("iotdb-common.properties", "pipe_sink_timeout_ms=soon\n");
    let arguments = ["pipe", "--state", "pipes", "--config", "iotdb-common.properties", "SHOW PIPES"];
    let ran = place.run(&arguments).expect(2);
    assert!(ran.err().contains("line 1: pipe_sink_timeout_ms=soon"), "{}", ran.err());
}

/// The example of docs/migrating/iotdb.md.
#[test]
fn the_example_of_the_documentation() {
    let Some(server) = PgServer::shared() else { return };
    let (place, database) = (Place::new(), server.create_database());
    std::fs::create_dir(place.path("in")).unwrap();
    place.write("in/cpu.lp", "cpu usage_user=3 1000\ncpu usage_user=7 2000\n");
    let text = block("migrating/iotdb.md", "", 0);
    let statement = text.split("kwsync pipe \"").nth(1).unwrap().split("\"\n").next().unwrap();
    let mut statement = statement.to_owned();
    for (old, new) in [
        ("postgres://me@localhost/metrics", server.dsn(&database).as_str()),
        (", 'realtime.interval'='10s'", ""),
    ] {
        assert!(statement.contains(old), "{old} is not in {statement}");
        statement = statement.replace(old, new);
    }
    pipe(&place, &statement).expect(0);
    place.run(&["pipe", "--state", "pipes", "--until-done"]).expect(0);
    assert_eq!(server.psql(&database, "SELECT usage_user FROM cpu").trim(), "7");
}
