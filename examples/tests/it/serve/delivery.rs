//! What was answered is there, whatever happens.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kwsync_core::testkit::PgServer;

use super::{Served, send};
use crate::kill::kills;
use crate::support::until;

/// Clients that write numbered rows, each number until it is taken.
struct Clients {
    stop: Arc<AtomicBool>,
    /// The numbers that were answered with 204.
    taken: Arc<Mutex<BTreeSet<u64>>>,
    /// Other answers.
    others: Arc<Mutex<Vec<String>>>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Clients {
    fn start(to: SocketAddr, clients: u64) -> Self {
        let (stop, taken, others) = (Arc::new(AtomicBool::new(false)), Arc::default(), Arc::default());
        let threads = (0..clients)
            .map(|client| {
                let (stop, taken, others) = (Arc::clone(&stop), Arc::clone(&taken), Arc::clone(&others));
                std::thread::spawn(move || write(to, client, &stop, &taken, &others))
            })
            .collect();
        Self { stop, taken, others, threads }
    }

    fn count(&self) -> usize {
        self.taken.lock().unwrap().len()
    }

    fn others(&self) -> Vec<String> {
        self.others.lock().unwrap().clone()
    }

    /// The numbers that were taken, once all clients have ended.
    fn end(self) -> BTreeSet<u64> {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
        Arc::into_inner(self.taken).unwrap().into_inner().unwrap()
    }
}

fn write(
    to: SocketAddr,
    client: u64,
    stop: &AtomicBool,
    taken: &Mutex<BTreeSet<u64>>,
    others: &Mutex<Vec<String>>,
) {
    let mut number = client * 1_000_000;
    while !stop.load(Ordering::Relaxed) {
        // Ten rows a request, so that a request that is there in part would show.
        let rows: Vec<u64> = (number..number + 10).collect();
        let body: String = rows.iter().map(|n| format!("k,c={client} n={n}i {n}000\n")).collect();
        match send(to, "POST", "/write", &[], body.as_bytes()) {
            Ok(reply) if reply.status == 204 => {
                taken.lock().unwrap().extend(rows);
                number += 10;
            }
            Ok(reply) => {
                assert_eq!(reply.status, 503, "{reply:?}");
                others.lock().unwrap().push(format!("{} {}", reply.head, reply.body));
                std::thread::sleep(Duration::from_millis(20));
            }
            // Nobody is there now.
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

fn rows(server: &PgServer, database: &str) -> BTreeSet<u64> {
    let text = server.psql(database, "SELECT DISTINCT n FROM k");
    text.lines().map(|line| line.parse().unwrap()).collect()
}

/// Killed again and again while clients write, with its port taken over by the next: no row is lost that was answered.
#[test]
fn no_answered_row_is_lost_by_sigkill() {
    let Some(server) = PgServer::shared() else { return };
    let (kills, mut random) = kills();
    let database = server.create_database();
    let to = server.dsn(&database);
    let mut served = Served::start(&to, &["--jobs", "2"]);
    let at = served.http;
    let clients = Clients::start(at, 16);
    for _ in 0..kills {
        let before = clients.count();
        until("more rows", || clients.count() > before + 100);
        // Anywhere within what is going on.
        std::thread::sleep(Duration::from_micros(random(30_000)));
        served.kill();
        served = Served::start(&to, &["--jobs", "2", "--listen", &at.to_string()]);
    }
    let before = clients.count();
    until("more rows", || clients.count() > before + 100);
    let taken = clients.end();
    let found = rows(server, &database);
    assert!(taken.is_subset(&found), "lost: {:?}", taken.difference(&found).take(10).collect::<Vec<_>>());
    let twice = server.psql(&database, "SELECT count(*) - count(DISTINCT n) FROM k");
    println!("{} rows taken over {kills} kills, {} twice", taken.len(), twice.trim());
    assert_eq!(served.terminate().status(), 143);
}

/// The database goes down as by a crash, and comes again: clients wait or are told to come again.
#[test]
fn no_answered_row_is_lost_with_the_database() {
    let Some(server) = PgServer::start() else { return };
    let database = server.create_database();
    let served = Served::start(
        &server.dsn(&database),
        &["--listen", "listen://127.0.0.1:0?answer_timeout=1s", "--retry-wait", "200"],
    );
    let clients = Clients::start(served.http, 8);
    for _ in 0..3 {
        let before = clients.count();
        until("more rows", || clients.count() > before + 100);
        let told = clients.others().len();
        server.stop_immediately();
        until("an answer", || clients.others().len() > told);
        until("bad health", || served.get("/health").status == 503);
        server.restart();
    }
    let before = clients.count();
    until("more rows", || clients.count() > before + 100);
    assert_eq!(served.get("/health").expect(200).json()["status"], "pass");
    let others = clients.others();
    assert!(others.iter().all(|other| other.contains("retry-after: 1")), "{others:?}");
    assert!(others.iter().any(|other| other.contains("not committed yet")), "{others:?}");
    let taken = clients.end();
    let found = rows(&server, &database);
    assert!(taken.is_subset(&found), "lost: {:?}", taken.difference(&found).take(10).collect::<Vec<_>>());
    assert_eq!(served.terminate().status(), 143);
}

/// Stopped under load it commits what came, and answers.
#[test]
fn sigterm_commits_what_came() {
    let Some(server) = PgServer::shared() else { return };
    let database = server.create_database();
    let served = Served::start(&server.dsn(&database), &["--report", "json"]);
    let clients = Clients::start(served.http, 16);
    until("rows", || clients.count() > 500);
    let ran = served.terminate();
    assert_eq!(ran.status(), 143, "{}", ran.err());
    let taken = clients.end();
    let found = rows(server, &database);
    assert!(taken.is_subset(&found), "lost: {:?}", taken.difference(&found).take(10).collect::<Vec<_>>());
    let report: serde_json::Value = serde_json::from_str(&ran.out()).unwrap();
    let count = server.psql(&database, "SELECT count(*) FROM k");
    assert_eq!(report["rows_written"].to_string(), count.trim(), "{report}");
    assert_eq!(report["delivery"], "at-least-once", "{report}");
}

/// What has come when it is stopped is committed, although its table is in somebody's hands just then.
#[test]
fn requests_that_wait_are_committed_together() {
    const CLIENTS: u64 = 1_000;
    let Some(server) = PgServer::shared() else { return };
    let database = server.create_database();
    server.psql(&database, "CREATE TABLE g (time timestamptz, n bigint)");
    let served = Served::start(&server.dsn(&database), &[]);
    served.post("/write", "g n=1i 1000").expect(204);
    // While the table is locked, everybody waits.
    let to = server.dsn(&database);
    let (locked, go) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let holder = {
        let (locked, go, database) = (Arc::clone(&locked), Arc::clone(&go), database.clone());
        std::thread::spawn(move || {
            let server = PgServer::shared().unwrap();
            // Held until a row of another table says to go on.
            server.psql(&database, "CREATE TABLE go (n int)");
            locked.store(true, Ordering::Relaxed);
            server.psql(
                &database,
                "DO $$ BEGIN LOCK TABLE g; PERFORM pg_notify('locked', ''); WHILE NOT EXISTS (SELECT FROM go) LOOP PERFORM pg_sleep(0.02); END LOOP; END $$",
            );
            go.store(true, Ordering::Relaxed);
        })
    };
    let is_locked = "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted AND relation = 'g'::regclass";
    until("the lock", || locked.load(Ordering::Relaxed) && server.psql(&database, is_locked).trim() == "1");
    let at = served.http;
    let threads: Vec<_> = (2..2 + CLIENTS)
        .map(|n| {
            std::thread::Builder::new()
                .stack_size(128 << 10)
                .spawn(move || {
                    send(at, "POST", "/write", &[], format!("g n={n}i {n}000").as_bytes()).unwrap().status
                })
                .unwrap()
        })
        .collect();
    // The first of them waits for the lock; the others wait for it.
    let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'g'::regclass";
    until("a waiting COPY", || server.psql(&database, waits).trim() == "1");
    assert!(!go.load(Ordering::Relaxed) && threads.iter().all(|thread| !thread.is_finished()));
    // All of them have been let in once the server holds as many connections.
    until("all clients", || established(at) >= CLIENTS as usize);
    server.psql(&database, "INSERT INTO go VALUES (1)");
    holder.join().unwrap();
    let answers: Vec<u16> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    assert!(answers.iter().all(|status| *status == 204), "{answers:?}");
    let found = server.psql(&database, "SELECT count(DISTINCT n), count(DISTINCT xmin::text) < 50 FROM g");
    assert_eq!(
        found.trim(),
        format!("{}|t", CLIENTS + 1),
        "{}",
        server.psql(&database, "SELECT xmin, count(*) FROM g GROUP BY 1")
    );
    drop((served, to));
}

/// Connections of this machine to a port that are open, at the server's end.
fn established(at: SocketAddr) -> usize {
    let port = format!(":{:04X}", at.port());
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let open = |line: &&str| {
        let mut words = line.split_whitespace().skip(1);
        words.next().is_some_and(|local| local.ends_with(&port)) && words.nth(1) == Some("01")
    };
    table.lines().filter(open).count()
}

/// With `ack=accept` an answer comes before the commit, and the rows come after it.
#[test]
fn accepted_rows_come_although_the_database_was_away() {
    let Some(server) = PgServer::start() else { return };
    let database = server.create_database();
    let served = Served::start(
        &server.dsn(&database),
        &["--listen", "listen://127.0.0.1:0?ack=accept", "--retry-wait", "200"],
    );
    served.post("/write", "k n=1i 1000").expect(204);
    until("the first row", || {
        server.try_psql(&database, "SELECT n FROM k", b"").is_ok_and(|out| out == b"1\n")
    });
    server.stop_immediately();
    served.post("/write", "k n=2i 2000\nbad").expect(400).says("partial write: line 2");
    server.restart();
    until("the second row", || server.psql(&database, "SELECT count(DISTINCT n) FROM k").trim() == "2");
    assert!(served.err().contains("ack=accept"), "{}", served.err());
}
