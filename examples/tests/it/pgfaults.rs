//! Faults of a server: nothing is rejected for them, nothing is lost, nothing is there twice.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use kwsync_core::testkit::PgServer;

use super::support::{Place, Ran};

const ROWS: u64 = 60_000;

/// A load of [`ROWS`] rows that can be made slow, and its table.
struct Load<'a> {
    server: &'a PgServer,
    place: Place,
    database: String,
    to: String,
}

impl<'a> Load<'a> {
    fn new(server: &'a PgServer, table: &str) -> Self {
        let (place, database) = (Place::new(), server.create_database());
        server.psql(&database, &format!("CREATE TABLE t (\"time\" timestamptz, n bigint) {table}"));
        place.write("in.lp", (0..ROWS).map(|n| format!("t n={n}i {n}000\n")).collect::<String>());
        let to = server.dsn(&database);
        Self { server, place, database, to }
    }

    fn command(&self, options: &[&str]) -> Command {
        let fixed =
            ["run", "-f", "in.lp?split=lines&split_bytes=64KiB", "-t", &self.to, "--commit-rows", "5000"];
        let errors = ["--errors", "reject:bad.jsonl", "--report", "json"];
        self.place.command(&[&fixed[..], &errors[..], options].concat())
    }

    fn run(&self, options: &[&str]) -> Ran {
        Ran::of(self.command(options).output().unwrap())
    }

    fn count(&self) -> u64 {
        let count = self.server.try_psql(&self.database, "SELECT count(*) FROM t", b"").unwrap_or_default();
        String::from_utf8_lossy(&count).trim().parse().unwrap_or(0)
    }

    /// Starts a slow load and returns once some of it has been committed.
    #[track_caller]
    fn start(&self, options: &[&str]) -> std::process::Child {
        let before = self.count();
        let mut command = self.command(&[&["--rate-rows", "40000"], options].concat());
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        let child = command.spawn().unwrap();
        wait_for(|| self.count() > before);
        child
    }

    /// Every row is there once, none was rejected, and the report agrees.
    #[track_caller]
    fn complete(&self, ran: &Ran) {
        let stored = self.server.psql(&self.database, "SELECT count(*), count(DISTINCT n), sum(n) FROM t");
        assert_eq!(stored, format!("{ROWS}|{ROWS}|{}\n", ROWS * (ROWS - 1) / 2), "{}", ran.err());
        assert_eq!(std::fs::read_to_string(self.place.path("bad.jsonl")).unwrap(), "");
        let report: serde_json::Value = serde_json::from_str(&ran.out()).unwrap();
        assert_eq!(report["delivery"], "exactly-once");
        assert_eq!(report["rows_rejected"], 0);
    }
}

#[track_caller]
fn wait_for(condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < Duration::from_secs(60), "waited for a minute");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_statement_that_takes_too_long() {
    let Some(server) = PgServer::shared() else { return };
    let mut load = Load::new(server, "");
    server.psql(
        &load.database,
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN IF NEW.n = 30000 THEN PERFORM pg_sleep(600); END IF; RETURN NEW; END $$;
         CREATE TRIGGER slow BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()",
    );
    let to = load.to.clone();
    load.to = format!("{to}?statement_timeout=2s");
    let ran = load.run(&["--retries", "1"]).expect(1);
    assert!(ran.err().contains("57014"), "{}", ran.err());
    let held = load.count();
    assert!(held > 0 && held <= 30_000, "{held}");
    server.psql(&load.database, "DROP TRIGGER slow ON t");
    let ran = load.run(&[]).expect(0);
    load.complete(&ran);
}

#[test]
fn a_right_that_is_taken_away() {
    let Some(server) = PgServer::shared() else { return };
    let mut load = Load::new(server, "");
    let role = format!("loader_{}", load.database);
    server.psql(
        &load.database,
        &format!("CREATE ROLE {role} LOGIN PASSWORD 'x'; GRANT ALL ON SCHEMA public TO {role}; GRANT INSERT ON t TO {role}"),
    );
    load.to = format!("postgres://{role}:x@127.0.0.1:{}/{}", server.port(), load.database);
    let child = load.start(&[]);
    server.psql(&load.database, &format!("REVOKE INSERT ON t FROM {role}"));
    let ran = Ran::of(child.wait_with_output().unwrap()).expect(1);
    assert!(ran.err().contains("42501") && ran.err().contains("grant"), "{}", ran.err());
    server.psql(&load.database, &format!("GRANT INSERT ON t TO {role}"));
    let ran = load.run(&[]).expect(0);
    load.complete(&ran);
}

/// Two processes that do not know of each other run the same job, as on two machines: one of them is fenced off.
#[test]
fn a_job_that_another_machine_takes_over() {
    let Some(server) = PgServer::shared() else { return };
    let load = Load::new(server, "");
    let first = load.start(&[]);
    let mut second = load.command(&[]);
    let second = Ran::of(second.env("XDG_STATE_HOME", load.place.path("other")).output().unwrap()).expect(0);
    let first = Ran::of(first.wait_with_output().unwrap()).expect(1);
    assert!(first.err().contains("taken job") && first.err().contains("another process"), "{}", first.err());
    let stored = server.psql(&load.database, "SELECT count(*), count(DISTINCT n) FROM t");
    assert_eq!(stored, format!("{ROWS}|{ROWS}\n"), "{}", second.err());
}

#[test]
fn a_deadlock() {
    let Some(server) = PgServer::shared() else { return };
    let (place, database) = (Place::new(), server.create_database());
    server.psql(
        &database,
        "CREATE TABLE t (\"time\" timestamptz PRIMARY KEY, n bigint);
         INSERT INTO t VALUES (timestamptz 'epoch', -1), (timestamptz 'epoch' + interval '1 ms', -1)",
    );
    place.write("in.lp", "t n=1i 0\nt n=2i 1000000\n");
    // Holds the second row, waits until somebody waits for it, and then wants the first.
    let other = "SET deadlock_timeout = '1h'; BEGIN; UPDATE t SET n = -2 WHERE time > timestamptz 'epoch';
        SELECT pg_advisory_lock(7);
        DO $$ BEGIN WHILE NOT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database()
            AND wait_event_type = 'Lock') LOOP PERFORM pg_sleep(0.01), pg_stat_clear_snapshot(); END LOOP; END $$;
        UPDATE t SET n = -2 WHERE time = timestamptz 'epoch'; COMMIT";
    std::thread::scope(|scope| {
        scope.spawn(|| server.psql(&database, other));
        wait_for(|| {
            server.psql(&database, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == "1\n"
        });
        let to = format!("{}?mode=upsert", server.dsn(&database));
        let ran = place.run(&["-f", "in.lp", "-t", &to, "--report", "json", "-v"]).expect(0);
        assert!(ran.err().contains("40P01"), "{}", ran.err());
        let report: serde_json::Value = serde_json::from_str(&ran.out()).unwrap();
        assert_eq!(report["rows_updated"], 2);
    });
    assert_eq!(server.psql(&database, "SELECT n FROM t ORDER BY time"), "1\n2\n");
}

#[test]
fn the_server_is_killed() {
    // Its own server, since others must not go down with it.
    let Some(server) = PgServer::start() else { return };
    let load = Load::new(&server, "");
    let child = load.start(&[]);
    // One of its processes dies by SIGKILL: all others are stopped at once, and the server recovers.
    let pid = server.psql(
        &load.database,
        "SELECT pid FROM pg_stat_activity WHERE application_name = 'kwsync' AND state <> 'idle' LIMIT 1",
    );
    let pid = if pid.is_empty() {
        server.psql(
            &load.database,
            "SELECT pid FROM pg_stat_activity WHERE application_name = 'kwsync' LIMIT 1",
        )
    } else {
        pid
    };
    assert!(Command::new("kill").args(["-9", pid.trim()]).status().unwrap().success());
    let ran = Ran::of(child.wait_with_output().unwrap()).expect(0);
    load.complete(&ran);
    let report: serde_json::Value = serde_json::from_str(&ran.out()).unwrap();
    assert_eq!(report["rows_written"], ROWS);
}

#[test]
fn a_full_disk_at_the_server() {
    let Some(server) = PgServer::shared() else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap().to_owned();
    let mount = |options: &str| {
        Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs", &path])
            .output()
            .unwrap()
            .status
            .success()
    };
    if !mount("size=2m,mode=0777") {
        println!("SKIPPED: a full disk needs the right to mount a tmpfs");
        return;
    }
    let dropped = Mounted(path.clone());
    // The folder above is root's own.
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(folder.path().parent().unwrap(), open).ok();
    let space = format!("small_{}", std::process::id());
    let inner = format!("{path}/space");
    std::fs::create_dir(&inner).unwrap();
    let owner = server.psql("postgres", "SHOW data_directory");
    assert!(
        Command::new("chown").args(["--reference", owner.trim(), &inner]).status().unwrap().success(),
        "chown"
    );
    server.psql("postgres", &format!("CREATE TABLESPACE {space} LOCATION '{inner}'"));
    let load = Load::new(server, &format!("TABLESPACE {space}"));
    let ran = load.run(&[]).expect(1);
    assert!(ran.err().contains("53100") && ran.err().contains("hint"), "{}", ran.err());
    assert!(load.count() < ROWS);
    let grown = Command::new("mount").args(["-o", "remount,size=64m", &path]).status().unwrap();
    assert!(grown.success());
    let ran = load.run(&[]).expect(0);
    load.complete(&ran);
    server.psql(&load.database, "DROP TABLE t");
    server.psql("postgres", &format!("DROP TABLESPACE {space}"));
    drop(dropped);
}

/// Unmounts in the end.
struct Mounted(String);

impl Drop for Mounted {
    fn drop(&mut self) {
        Command::new("umount").arg(&self.0).status().ok();
    }
}

/// A table that somebody uses cannot be changed; the job does not wait for ever, and says who that is.
#[test]
fn a_lock_that_is_not_to_be_had_is_told_with_its_holder() {
    let Some(server) = PgServer::shared() else { return };
    let (place, db) = (Place::new(), server.create_database());
    server.psql(&db, "CREATE TABLE t (id int)");
    let input = place.write("in.csv", "id,more\n1,2\n");
    let mut holder = place
        .command_of(
            "psql",
            &["-X", "-q", "-A", "-t", &format!("{}?application_name=report", server.dsn(&db))],
        )
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut words = holder.stdin.take().unwrap();
    words.write_all(b"BEGIN; SELECT 'holds ' || count(*) FROM t;\n").unwrap();
    let mut said = String::new();
    BufReader::new(holder.stdout.take().unwrap()).read_line(&mut said).unwrap();
    assert_eq!(said, "holds 0\n");
    let (from, to) = (format!("{}?header=true", input.display()), server.dsn(&db));
    for (target, what) in [
        (format!("{to}?table=t&lock_timeout=200ms"), "cannot make \"public\".\"t\" ready"),
        (format!("{to}?table=t&mode=truncate&lock_timeout=200ms"), "mode=truncate"),
    ] {
        let failed =
            place.run(&["run", "--from", &from, "--to", &target, "--retries", "1", "--quiet"]).expect(1);
        for words in [
            what,
            "of postgres (\"report\", idle in transaction) has held AccessShareLock for",
            "lock_timeout",
        ] {
            assert!(failed.err().contains(words), "{words}: {}", failed.err());
        }
    }
    // Once it is let go, the same command goes through.
    words.write_all(b"COMMIT;\n").unwrap();
    drop(words);
    holder.wait().unwrap();
    let target = format!("{to}?table=t&lock_timeout=10s");
    place.run(&["run", "--from", &from, "--to", &target, "--quiet"]).expect(0);
    assert_eq!(server.psql(&db, "SELECT id, more FROM t"), "1|2\n");
}
