//! Messages of a real broker into files and into PostgreSQL.

use kwsync_core::testkit::{Mosquitto, PgServer};

use crate::support::{Job, Place, until};

fn subscribed(broker: &Mosquitto, client: &str) -> usize {
    broker.log().matches(&format!("Sending SUBACK to {client}")).count()
}

/// The example of taosX's documentation, with PostgreSQL in TDengine's role.
#[test]
fn the_example_of_taosx() {
    let (Some(broker), Some(server)) = (Mosquitto::start(), PgServer::shared()) else { return };
    let (place, database) = (Place::new(), server.create_database());
    place.write(
        "parser.json",
        r#"{"parse": {"payload": {"json": [
            {"name": "ts", "alias": "ts", "cast": "TIMESTAMP"}, {"name": "id", "alias": "id", "cast": "INT"},
            {"name": "voltage", "alias": "voltage", "cast": "INT"}, {"name": "phase", "alias": "phase", "cast": "FLOAT"},
            {"name": "current", "alias": "current", "cast": "FLOAT"}, {"name": "groupid", "alias": "groupid", "cast": "INT"},
            {"name": "location", "alias": "location", "cast": "VARCHAR(20)"}]}},
          "model": {"name": "d{id}", "using": "meters", "columns": ["ts", "id", "current", "voltage", "phase"],
            "tags": ["groupid", "location"]}}"#,
    );
    let from = format!(
        "mqtt://me:s3cret@127.0.0.1:{}?topics=testtopic/1::2&version=3.1&clean_session=true&log_level=info&client_id=1234&keep_alive=60&timeout=1s",
        broker.port()
    );
    let to = format!("{}?timestamp_ns=truncate", server.dsn(&database));
    let job = Job::start(
        &place,
        &["run", "-f", &from, "-t", &to, "--parser", "@parser.json", "--report", "json", "-v"],
    );
    until("the subscription", || subscribed(&broker, "1234") == 1);
    let message = r#"{"id": 1, "current": 10.77, "voltage": 222, "phase": 0.77, "groupid": 7, "location": "California.SanDiego"}"#;
    broker.publish("testtopic/1", 2, &format!("{message}\n"));
    let ran = job.end().expect(0);
    assert!(
        ran.err().contains("MQTT 3.1 is spoken as 3.1.1") && ran.err().contains("clean_session=true"),
        "{}",
        ran.err()
    );
    let row = server.psql(
        &database,
        "SELECT tbname, id, current, voltage, phase, groupid, location, now() - ts < interval '1 minute' FROM meters",
    );
    assert_eq!(row.trim(), "d1|1|10.77|222|0.77|7|California.SanDiego|t");
    let report: serde_json::Value = serde_json::from_str(&ran.out()).unwrap();
    assert_eq!(
        (&report["rows_written"], &report["delivery"]),
        (&1.into(), &"at-least-once".into()),
        "{report}"
    );
}

/// Killed, and its broker restarted, a job with a session that is kept loses nothing.
#[test]
fn a_session_that_is_kept_loses_nothing() {
    const MESSAGES: usize = 3_000;
    let (Some(broker), Some(server)) = (Mosquitto::start(), PgServer::shared()) else { return };
    for version in ["3.1.1", "5.0"] {
        let (place, database) = (Place::new(), server.create_database());
        let client = format!("kept-{version}");
        let from = format!(
            "mqtt://me:s3cret@127.0.0.1:{}?topics={client}/%23::2&version={version}&clean_session=false&client_id={client}&table=cars&timeout=never",
            broker.port()
        );
        let to = server.dsn(&database);
        let arguments = [
            "run",
            "-f",
            &from,
            "-t",
            &to,
            "--job",
            "cars",
            "--retries",
            "50",
            "--quiet",
            "-T",
            "compute:n=CAST(n AS bigint)",
        ];
        // The session begins with the first subscription.
        let job = Job::start(&place, &arguments);
        until("the subscription", || subscribed(&broker, &client) == 1);
        // One of them is larger than what a client takes by default.
        let pad = |n| if n == 7 { "x".repeat(50_000) } else { String::new() };
        let lines: String =
            (0..MESSAGES).map(|n| format!("{{\"n\": {n}, \"pad\": \"{}\"}}\n", pad(n))).collect();
        broker.publish(&format!("{client}/a"), 1, &lines);
        let count = || {
            let sql = "SELECT to_regclass('cars') IS NOT NULL";
            match server.psql(&database, sql).trim() {
                "t" => server
                    .psql(&database, "SELECT count(DISTINCT n) FROM cars")
                    .trim()
                    .parse::<usize>()
                    .unwrap(),
                _ => 0,
            }
        };
        until("the first rows", || count() > 0);
        drop(job);
        for _ in 0..3 {
            let before = count();
            let job = Job::start(&place, &arguments);
            until("more rows", || count() > before || before == MESSAGES);
            drop(job);
        }
        let job = Job::start(&place, &arguments);
        let sessions = subscribed(&broker, &client);
        until("the last subscription", || subscribed(&broker, &client) > sessions);
        let sessions = subscribed(&broker, &client);
        broker.restart();
        until("the connection", || subscribed(&broker, &client) > sessions);
        until("all rows", || count() == MESSAGES);
        let ran = job.terminate();
        assert_eq!(ran.status(), 143, "{}", ran.err());
        let twice = server.psql(&database, "SELECT count(*) - count(DISTINCT n) FROM cars");
        println!("version {version}: {} rows twice", twice.trim());
    }
}

#[test]
fn each_fault_has_its_message() {
    let Some(broker) = Mosquitto::start() else { return };
    let place = Place::new();
    let port = broker.port();
    let run = |address: &str, more: &str| {
        let from = format!("{address}?topics=a&client_id=c{more}");
        place.run(&["run", "-f", &from, "-t", "discard:", "--retries", "0"])
    };
    let ran = run(&format!("mqtt://me:topsecret@127.0.0.1:{port}"), "").expect(1);
    assert!(
        ran.err().contains("user or password is refused") && !ran.err().contains("topsecret"),
        "{}",
        ran.err()
    );
    let ran = run(&format!("mqtt://me:topsecret@127.0.0.1:{port}"), "&version=5").expect(1);
    assert!(ran.err().contains("user or password is refused"), "{}", ran.err());
    let ran = run("mqtt://127.0.0.1:1", "").expect(1);
    assert!(
        ran.err().contains("127.0.0.1:1") && ran.err().contains("nobody may listen there"),
        "{}",
        ran.err()
    );
    let Some((tls_port, ca)) = broker.tls() else { return };
    let ca = ca.display();
    // TLS works, with the authority that signed.
    for version in ["3.1.1", "5"] {
        let ran = run(
            &format!("mqtt://me:s3cret@localhost:{tls_port}"),
            &format!("&ca=@{ca}&version={version}&timeout=300"),
        )
        .expect(0);
        assert!(!ran.err().contains("error"), "{}", ran.err());
    }
    // Another authority did not.
    let made = std::process::Command::new("openssl")
        .args("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=other -days 1 -keyout other.key -out other.crt".split(' '))
        .current_dir(place.path(""))
        .output()
        .unwrap();
    assert!(made.status.success());
    let ran = run(&format!("mqtt://me:s3cret@localhost:{tls_port}"), "&ca=@other.crt").expect(1);
    assert!(ran.err().contains("signed by an authority of ca="), "{}", ran.err());
    let ran = run(&format!("mqtt://me:s3cret@127.0.0.1:{port}"), &format!("&ca=@{ca}")).expect(1);
    assert!(ran.err().contains("MQTT broker 127.0.0.1"), "{}", ran.err());
}

/// Messages that are no records cost themselves only, and are acknowledged once they are in the reject file.
#[test]
fn poison_goes_to_the_reject_file() {
    let Some(broker) = Mosquitto::start() else { return };
    let place = Place::new();
    let from = format!(
        "mqtt://me:s3cret@127.0.0.1:{}?topics=+/lp::1&version=5&clean_session=false&client_id=poison&format=line_influxdb&timeout=1s",
        broker.port()
    );
    let arguments = [
        "run",
        "-f",
        &from,
        "-t",
        "file:out?format=json",
        "--errors",
        "reject:bad.jsonl",
        "--report",
        "json",
        "--job",
        "p",
        "-T",
        "compute:device=split_part(topic(), '/', 1)",
    ];
    let job = Job::start(&place, &arguments);
    until("the subscription", || subscribed(&broker, "poison") == 1);
    broker.publish("a/lp", 1, "cpu n=1i 1\nno line at all\n");
    broker.publish("b/lp", 1, "cpu n=2i 2\n");
    let ran = job.end().expect(3);
    let report: serde_json::Value = serde_json::from_str(&ran.out()).unwrap();
    assert_eq!((&report["rows_written"], &report["rows_rejected"]), (&2.into(), &1.into()), "{report}");
    let rejects = std::fs::read_to_string(place.path("bad.jsonl")).unwrap();
    assert!(rejects.contains("no line at all"), "{rejects}");
    let dir = std::fs::read_dir(place.path("out").join("cpu")).unwrap();
    let rows: String = dir.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap()).collect();
    assert!(rows.contains("\"device\":\"a\"") && rows.contains("\"device\":\"b\""), "{rows}");
    // Nothing is handed out again.
    let again = Job::start(&place, &arguments).end().expect(0);
    let report: serde_json::Value = serde_json::from_str(&again.out()).unwrap();
    assert_eq!(report["rows_read"], 0, "{report}");
}

/// Where the broker keeps no session, the connection comes back by itself, and goes on with what is published then.
#[test]
fn a_clean_session_connects_again() {
    let Some(broker) = Mosquitto::start() else { return };
    for version in ["3.1.1", "5.0"] {
        let place = Place::new();
        let client = format!("clean-{version}");
        let from = format!(
            "mqtt://me:s3cret@127.0.0.1:{}?topics={client}::1&version={version}&client_id={client}&format=line_influxdb",
            broker.port()
        );
        let job = Job::start(&place, &["run", "-f", &from, "-t", "file:out?format=json", "--report", "json"]);
        until("the subscription", || subscribed(&broker, &client) == 1);
        broker.publish(&client, 1, "cpu n=1i 1\n");
        // Acknowledged, and so in its file.
        let acknowledged = || broker.log().matches(&format!("Received PUBACK from {client}")).count();
        until("the first message", || acknowledged() == 1);
        broker.restart();
        until("the connection", || subscribed(&broker, &client) == 2);
        broker.publish(&client, 1, "cpu n=2i 2\n");
        until("the second message", || acknowledged() == 2);
        let ran = job.terminate();
        let report: serde_json::Value = serde_json::from_str(&ran.out()).unwrap();
        assert_eq!((ran.status(), &report["rows_written"]), (143, &2.into()), "{report} {}", ran.err());
    }
}
