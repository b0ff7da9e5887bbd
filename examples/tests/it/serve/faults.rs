//! Mistakes, and what is said of them.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use kwsync_core::testkit::PgServer;

use super::Served;
use crate::support::{Place, until};

#[test]
fn mistakes_of_the_operator_have_their_messages() {
    let place = Place::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let in_use = format!("127.0.0.1:{port}");
    let telnet_in_use = format!("listen://127.0.0.1:0?telnet=127.0.0.1:{port}");
    for (listen, expected) in [
        (&*in_use, "another program listens on 127.0.0.1:"),
        (&*telnet_in_use, "another program listens on 127.0.0.1:"),
        ("192.0.2.1:8086", "this machine has no such address"),
        ("postgres://h/db", "where rows go is --to"),
        ("localhost:8086/write", "is no address"),
        ("listen://127.0.0.1:0/write", "has no path"),
        ("listen://127.0.0.1:0?tokn=x", "did you mean `token`?"),
        ("listen://127.0.0.1:0?csv.headr=true", "did you mean `header`?"),
        ("listen://127.0.0.1:0?line_influxdb.precision=h", "line_influxdb"),
        ("listen://127.0.0.1:0?telnet=a/b", "write HOST:PORT"),
        (
            "listen://127.0.0.1:0?telnet=127.0.0.1:0&telnet_format=line_opentsd",
            "did you mean `line_opentsdb`?",
        ),
        ("listen://127.0.0.1:0?cert=x", "cert and key go together"),
        ("listen://127.0.0.1:0?cert=x&key=y", "cert holds no certificates"),
        ("listen://127.0.0.1:0?user=me", "user and password go together"),
        ("listen://127.0.0.1:0?max_body=2MiB&max_waiting=1MiB", "max_waiting is less than max_body"),
        ("listen://127.0.0.1:0?ack=never", "commit"),
        ("listen://127.0.0.1:0,127.0.0.2:0", "one address"),
    ] {
        let ran = place.run(&["serve", "--to", "discard:", "--listen", listen]).expect(2);
        assert!(ran.err().contains(expected), "{listen}: {}", ran.err());
    }
    let ran = place.run(&["serve", "--listen", "127.0.0.1:0"]).expect(2);
    assert!(ran.err().contains("--to"), "{}", ran.err());
}

#[test]
fn a_dry_run_warns_and_listens_nowhere() {
    let place = Place::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = format!("listen://0.0.0.0:{}?ack=accept", taken.local_addr().unwrap().port());
    let ran = place.run(&["serve", "--to", "discard:", "--listen", &listen, "--dry-run"]).expect(0);
    for expected in ["whoever reaches 0.0.0.0:", "ack=accept", "max_body=64MiB (default)"] {
        assert!(ran.out().contains(expected), "{expected}: {}", ran.out());
    }
    let listen = format!("{listen}&token=t0psecret");
    let ran = place.run(&["serve", "--to", "discard:", "--listen", &listen, "--dry-run"]).expect(0);
    assert!(!ran.out().contains("whoever") && !ran.out().contains("t0psecret"), "{}", ran.out());
}

#[test]
fn mistakes_of_clients_have_their_answers() {
    let served = Served::start("discard:", &[]);
    served.get("/nowhere").expect(404).says("there is no /nowhere here").says("POST /api/v2/write");
    served.get("/").expect(404).says("POST /write");
    served.post("/ingest", "").expect(404).says("/ingest/FORMAT");
    let reply = served.get("/write").expect(405).says("takes POST");
    assert!(reply.head.contains("allow: post"), "{reply:?}");
    served.post("/ping", "").expect(405).says("GET, HEAD");
    served.post("/write?precision=h", "a n=1i 1000").expect(400).says("invalid precision");
    served.post("/write?precison=s", "a n=1i 1000").expect(400).says("did you mean `precision`?");
    served.post("/api/v2/write?precision=weeks", "a n=1i 1000").expect(400).says("\"code\":\"invalid\"");
    served.post("/ingest/jsn", "{}").expect(400).says("did you mean `json`?");
    served.post("/ingest/parquet", "PAR1").expect(400).says("cannot be read here");
    served.post("/ingest/csv", "1,2").expect(400).says("?table=NAME");
    served.post("/ingest/csv?table=t&headr=true", "1,2").expect(400).says("did you mean `header`?");
    served.post("/query?q=SELECT+1", "").expect(400).says("nothing can be queried");
    // No HTTP at all.
    let mut stream = TcpStream::connect(served.http).unwrap();
    stream.write_all(b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    served.post("/write", "a n=1i 1000").expect(204);
}

/// Who is slow is let go, and holds up nobody else for longer.
#[test]
fn slow_clients_are_let_go() {
    let served = Served::start(
        "discard:",
        &["--listen", "listen://127.0.0.1:0?client_timeout=1s&max_connections=2&telnet=127.0.0.1:0"],
    );
    let half = |to, text: &[u8]| {
        let mut stream = TcpStream::connect(to).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.write_all(text).unwrap();
        stream
    };
    let end = |mut stream: TcpStream| {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    let head = half(served.http, b"POST /write HTTP/1.1\r\nHost: ");
    let body = half(served.http, b"POST /write HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\na n=");
    // No place is free until one of them goes.
    served.post("/write", "a n=1i 1000").expect(204);
    let (head, body) = (end(head), end(body));
    assert!(head.is_empty() || head.starts_with("HTTP/1.1 408"), "{head}");
    assert!(body.starts_with("HTTP/1.1 408") && body.contains("client_timeout"), "{body}");
    let line = half(served.telnet.unwrap(), b"put a 1 1 ");
    assert!(end(line).contains("the line does not end"));
}

/// More than may wait is told to come again; what waits is bounded.
#[test]
fn who_comes_when_too_many_wait_is_told() {
    let Some(server) = PgServer::start() else { return };
    let database = server.create_database();
    let served = Served::start(
        &server.dsn(&database),
        &["--listen", "listen://127.0.0.1:0?max_body=64KiB&max_waiting=128KiB", "--retry-wait", "200"],
    );
    served.post("/write", "w n=0i 1000").expect(204);
    server.stop_immediately();
    let body: String = (0..3_000).map(|n| format!("w n={n}i {n}000\n")).collect();
    let at = served.http;
    let threads: Vec<_> = (0..12)
        .map(|_| {
            let body = body.clone();
            std::thread::spawn(move || super::send(at, "POST", "/write", &[], body.as_bytes()).unwrap())
        })
        .collect();
    until("those that are told", || threads.iter().filter(|thread| thread.is_finished()).count() >= 8);
    server.restart();
    let replies: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    let busy = replies.iter().filter(|reply| reply.status == 503 && reply.body.contains("max_waiting"));
    assert!(
        busy.clone().count() >= 8 && busy.clone().all(|reply| reply.head.contains("retry-after")),
        "{replies:?}"
    );
    assert!(replies.iter().any(|reply| reply.status == 204), "{replies:?}");
}

/// A job that fails says why to all that wait.
#[test]
fn a_job_that_fails_tells_those_that_wait() {
    let Some(server) = PgServer::shared() else { return };
    let database = server.create_database();
    let served = Served::start(&server.dsn(&database), &["--errors", "fail"]);
    served.post("/write", "f n=1i 1000").expect(204);
    let reply = served.post("/write", "f n=2i 2000\nnonsense\n").expect(503);
    assert!(reply.body.contains("the server has stopped"), "{reply:?}");
    let ran = served.end();
    assert_eq!(ran.status(), 1, "{}", ran.err());
    assert_eq!(server.psql(&database, "SELECT sum(n) FROM f").trim(), "1");
}

/// One client's columns do not end the job of all others; a database that is not there yet is waited for.
#[test]
fn what_one_client_sends_costs_others_nothing() {
    let Some(server) = PgServer::start() else { return };
    let database = server.create_database();
    server.psql(&database, "CREATE SCHEMA locked; CREATE ROLE writer LOGIN PASSWORD 'w'; CREATE TABLE c (time timestamptz, n bigint, site text); GRANT INSERT, SELECT ON c TO writer");
    let port = server.port();
    server.stop_immediately();
    let to = format!("postgres://writer:w@127.0.0.1:{port}/{database}");
    let served = std::thread::scope(|scope| {
        let starting = scope.spawn(|| Served::start(&to, &["-T", "add-tag:site=x", "--retry-wait", "100"]));
        server.restart();
        starting.join().unwrap()
    });
    served.post("/write", "c n=1i 1000").expect(204);
    // The transform's tag, and a table that this user may not make.
    served.post("/write", "c,site=y n=2i 2000").expect(400).says("site");
    served.post("/write", "other n=1i 1000").expect(400).says("permission denied");
    served.post("/write", "c n=\"text\" 3000").expect(400).says("nothing is written");
    served.post("/write", "c n=4i 4000").expect(204);
    assert_eq!(server.psql(&database, "SELECT sum(n), count(*), max(site) FROM c").trim(), "5|2|x");
}
