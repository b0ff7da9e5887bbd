//! A job that is being watched, and one that is slowed down.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::time::Duration;

use crate::support::{Place, Ran};

/// What the counters' port answers, once it does.
fn scrape(port: u16) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

#[test]
fn counters_are_served_while_a_job_runs() {
    let place = Place::new();
    let lines: String = (0..4_000).map(|n| format!("cpu,host=h{} n={n}i {n}\n", n % 7)).collect();
    place.write("in.lp", lines);
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("127.0.0.1:{port}");
    let arguments = [
        "-f",
        "in.lp",
        "-t",
        "file:out?format=json",
        "--job",
        "watched",
        "--rate-rows",
        "2000",
        "--metrics",
        &address,
        "-vv",
        "--report",
        "json",
    ];
    let mut child = place.command(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let rows = |text: &str| -> Option<u64> {
        let line = text.lines().find(|line| line.starts_with("kwsync_rows_read_total{"))?;
        assert!(line.contains("job=\"watched\""), "{line}");
        line.rsplit(' ').next()?.parse().ok()
    };
    // The job takes two seconds; the counters rise meanwhile.
    let mut seen = Vec::new();
    while child.try_wait().unwrap().is_none() {
        seen.extend(scrape(port).as_deref().and_then(rows));
        std::thread::sleep(Duration::from_millis(20));
    }
    let ran = Ran::of(child.wait_with_output().unwrap()).expect(0);
    assert!(seen.iter().any(|n| (1..4_000).contains(n)) && seen.is_sorted(), "{seen:?}");
    let log = ran.err();
    assert!(log.contains("job{job=watched}:lane{lane=0}") && log.contains("committed"), "{log}");

    // Two thousand rows a second, no matter that a decoder would take eight thousand at a time.
    let report: serde_json::Value = serde_json::from_str(&ran.out()).unwrap();
    assert_eq!(report["rows_written"], 4_000);
    assert!(report["seconds"].as_f64().unwrap() >= 1.9, "{report}");
}

#[test]
fn a_port_that_is_taken_is_said() {
    let place = Place::new();
    place.write("in.lp", "cpu n=1i 1\n");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ran = place.run(&["-f", "in.lp", "-t", "file:out?format=json", "--metrics", &address]).expect(2);
    assert!(ran.err().contains(&address) && ran.err().contains("another one"), "{}", ran.err());
    assert!(!place.path("out").exists());
}
