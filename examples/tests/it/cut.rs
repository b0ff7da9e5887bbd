//! A connection that is cut at every message of the exchange, one after the other.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kwsync_core::testkit::PgServer;

use super::support::Place;

/// Passes messages between clients and a server, and cuts the connection on which message `cut` would pass.
struct Proxy {
    port: u16,
    passed: Arc<AtomicU64>,
    cut: Arc<AtomicU64>,
}

impl Proxy {
    fn start(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (passed, cut) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(u64::MAX)));
        let counters = (Arc::clone(&passed), Arc::clone(&cut));
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (client, server) = (client.unwrap(), TcpStream::connect(("127.0.0.1", server)).unwrap());
                for (from, to, startup) in [(&client, &server, true), (&server, &client, false)] {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    to.set_nodelay(true).unwrap();
                    let counters = counters.clone();
                    std::thread::spawn(move || pass(from, to, startup, &counters.0, &counters.1));
                }
            }
        });
        Self { port, passed, cut }
    }
}

/// One direction of a connection, message by message.
fn pass(mut from: TcpStream, mut to: TcpStream, mut startup: bool, passed: &AtomicU64, cut: &AtomicU64) {
    let mut message = Vec::new();
    loop {
        let head = if std::mem::take(&mut startup) { 4 } else { 5 };
        message.resize(head, 0);
        if from.read_exact(&mut message).is_err() {
            break;
        }
        let length = u32::from_be_bytes(message[head - 4..].try_into().unwrap()) as usize;
        message.resize(head - 4 + length, 0);
        if from.read_exact(&mut message[head..]).is_err()
            || passed.fetch_add(1, Ordering::SeqCst) == cut.load(Ordering::SeqCst)
            || to.write_all(&message).is_err()
        {
            break;
        }
    }
    // Both ends learn of it; one that is gone already need not.
    for end in [&from, &to] {
        drop(end.shutdown(Shutdown::Both));
    }
}

/// A database whose connections are cut.
struct Victim<'a> {
    server: &'a PgServer,
    proxy: Proxy,
    place: Place,
    database: String,
}

const ROWS: u64 = 60;

impl<'a> Victim<'a> {
    fn new(server: &'a PgServer) -> Self {
        let (place, database) = (Place::new(), server.create_database());
        // Line 31 is one that the server refuses.
        place.write("in.lp", (1..=ROWS).map(|n| format!("t n={n}i {n}000\n")).collect::<String>());
        server.psql(&database, "CREATE TABLE t (\"time\" timestamptz, n bigint CHECK (n <> 31))");
        Self { server, proxy: Proxy::start(server.port()), place, database }
    }

    /// Loads the rows anew, with a cut at that message, and tells how many messages passed and whether a commit was in doubt.
    fn load(&self, cut: u64) -> (u64, bool) {
        let Self { server, proxy, place, database } = self;
        server.psql(database, "DROP TABLE IF EXISTS kwsync_checkpoint; TRUNCATE t");
        proxy.passed.store(0, Ordering::SeqCst);
        proxy.cut.store(cut, Ordering::SeqCst);
        let to = server.dsn(database).replace(&format!(":{}/", server.port()), &format!(":{}/", proxy.port));
        let to = format!("{to}?sslmode=disable&connect_attempts=3");
        let ran = place.run(&[
            "-f",
            "in.lp?split=lines&split_bytes=256",
            "-t",
            &to,
            "--restart",
            "--errors",
            "reject:bad.jsonl",
            "--batch-rows",
            "20",
            "--commit-rows",
            "20",
            "--report",
            "json",
            "-v",
        ]);
        let report: serde_json::Value = serde_json::from_str(&ran.out()).unwrap_or_default();
        let stored = server.psql(database, "SELECT count(*), count(DISTINCT n), sum(n) FROM t");
        let good = ROWS - 1;
        let sum = ROWS * (ROWS + 1) / 2 - 31;
        assert_eq!(ran.status(), 3, "cut at {cut}: {}", ran.err());
        assert_eq!(stored, format!("{good}|{good}|{sum}\n"), "cut at {cut}: {}", ran.err());
        assert_eq!(report["rows_written"], good, "cut at {cut}: {report}");
        assert_eq!(report["delivery"], "exactly-once");
        (proxy.passed.load(Ordering::SeqCst), ran.err().contains("had gone through"))
    }
}

#[test]
fn a_connection_cut_at_any_message_loses_and_doubles_nothing() {
    let Some(server) = PgServer::shared() else { return };
    let (all, _) = Victim::new(server).load(u64::MAX);
    assert!(all > 50, "{all} messages");
    let (next, resolved) = (AtomicU64::new(0), AtomicU64::new(0));
    // Each load waits before it connects again, so several go side by side.
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let victim = Victim::new(server);
                loop {
                    let cut = next.fetch_add(1, Ordering::SeqCst);
                    if cut >= all {
                        break;
                    }
                    let (_, in_doubt) = victim.load(cut);
                    resolved.fetch_add(in_doubt.into(), Ordering::SeqCst);
                }
            });
        }
    });
    assert!(resolved.into_inner() > 0, "no commit was ever in doubt");
}
