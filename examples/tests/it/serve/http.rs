//! Each endpoint there and back.

use kwsync_core::testkit::PgServer;

use super::{Served, gzip};
use crate::support::Place;

#[test]
fn each_endpoint_there_and_back() {
    let Some(server) = PgServer::shared() else { return };
    let database = server.create_database();
    let served = Served::start(&server.dsn(&database), &[]);
    // A row is there when the answer is.
    let is = |sql: &str, expected: &str| assert_eq!(server.psql(&database, sql).trim(), expected, "{sql}");

    served.post("/write?db=any&rp=autogen&precision=s", "cpu,host=a usage=0.5 1700000000\n").expect(204);
    is("SELECT host, usage, time FROM cpu", "a|0.5|2023-11-14 22:13:20+00");
    for (precision, time) in [
        ("ms", "1700000000001"),
        ("u", "1700000000002000"),
        ("us", "1700000000003000"),
        ("n", "1700000000004000000"),
    ] {
        served
            .post(&format!("/write?precision={precision}"), format!("cpu,host=b usage=1 {time}"))
            .expect(204);
    }
    is(
        "SELECT string_agg(to_char(time, 'MS'), ',' ORDER BY time) FROM cpu WHERE host = 'b'",
        "001,002,003,004",
    );
    served
        .post("/api/v2/write?org=o&bucket=b&precision=ms", "mem,host=a free=7i 1700000000000\nmem free=8i")
        .expect(204);
    is("SELECT count(*), sum(free) FROM mem", "2|15");

    let points = r#"[{"metric":"sys.load","timestamp":1700000000,"value":42,"tags":{"host":"a"}},
        {"metric":"sys.load","timestamp":1700000001,"value":43,"tags":{"host":"b"}}]"#;
    served.post("/api/put", points).expect(204);
    let summary = served.post("/api/put?summary", points).expect(200).json();
    assert_eq!(summary, serde_json::json!({"success": 2, "failed": 0}));
    let details = served.post("/api/put?details", points).expect(200).json();
    assert_eq!(details, serde_json::json!({"success": 2, "failed": 0, "errors": []}));
    is("SELECT count(*), count(DISTINCT host), sum(value) FROM \"sys.load\"", "6|2|255");

    served.post("/ingest/line_influxdb", "lp n=1i 1000").expect(204);
    served.post("/ingest/lp", "lp n=2i 2000").expect(204);
    is("SELECT sum(n) FROM lp", "3");
    served
        .post("/ingest/line_opentsdb", "put tel.a 1700000000 1 host=a\ntel.a 1700000001 2 host=b\n")
        .expect(204);
    is("SELECT sum(value) FROM \"tel.a\"", "3");
    served.post("/ingest/json_opentsdb", points).expect(204);
    is("SELECT count(*) FROM \"sys.load\"", "8");
    served.post("/ingest/json?table=rows", "[{\"a\": 1,\n \"b\": \"x\"}, {\"a\": 2}]").expect(204);
    served.post("/ingest/json?table=rows", "{\"a\": 3}\n{\"a\": 4}\n").expect(204);
    is("SELECT count(*), sum(a), max(b) FROM rows", "4|10|x");
    served.post("/ingest/csv?table=paper&header=true", "id,note\n1,one\n2,\"two, and more\"\n").expect(204);
    served.post("/ingest/csv?table=paper&header=true", "note,id\nthree,3\n").expect(204);
    is("SELECT string_agg(note, ';' ORDER BY id) FROM paper", "one;two, and more;three");
    served.post("/ingest/text?table=tabs&columns=id%20int8,note%20text", "1\tone\n2\t\\N\n").expect(204);
    is("SELECT count(*), count(note) FROM tabs", "2|1");
    let kaiwudb = r#"{"table": "kaiwu", "columns": [{"name": "ts", "type": "TIMESTAMPTZ"}, {"name": "v", "type": "INT4"}],
        "tags": [{"name": "site", "type": "VARCHAR", "length": 64, "primary": true}],
        "data": [{"ts": 1700000000000, "v": 1, "site": "a"}, {"ts": 1700000001000, "v": 2, "site": "b"}]}"#;
    served.post("/ingest/json_kaiwudb", kaiwudb).expect(204);
    is("SELECT string_agg(site || v, ',' ORDER BY ts) FROM kaiwu", "a1,b2");

    served.get("/ping").expect(204);
    served.send("HEAD", "/ping", &[], b"").unwrap().expect(204);
    assert_eq!(served.get("/health").expect(200).json()["status"], "pass");
    assert!(served.get("/api/version").expect(200).json()["version"].is_string());
    served.post("/query?q=CREATE+DATABASE+%22telegraf%22", "").expect(200).says("results");
    served.post("/query", "q=CREATE+DATABASE+%22telegraf%22").expect(200).says("results");
    served.post("/write", "").expect(204);

    let ran = served.terminate();
    assert_eq!(ran.status(), 143, "{}", ran.err());
    assert!(ran.out().contains("at-least-once"), "{}", ran.out());
}

/// `kwsync run` with a source that listens is the same.
#[test]
fn run_listens_as_well() {
    let Some(server) = PgServer::shared() else { return };
    let database = server.create_database();
    let to = server.dsn(&database);
    let served = Served::command(&[
        "run",
        "--from",
        "listen://127.0.0.1:0?json.table=events&json.time=at",
        "--to",
        &to,
        "-T",
        "add-tag:site=berlin",
        "--report",
        "json",
    ]);
    served.post("/ingest/json", "{\"at\": 1700000000000, \"n\": 1}\nnonsense\n").expect(400).says("line 2");
    assert_eq!(
        server.psql(&database, "SELECT n, site, at FROM events").trim(),
        "1|berlin|2023-11-14 22:13:20+00"
    );
    let ran = served.terminate();
    let report: serde_json::Value = serde_json::from_str(&ran.out()).unwrap();
    assert_eq!((&report["rows_written"], &report["rows_rejected"]), (&1.into(), &1.into()), "{report}");
}

/// Good rows go in, bad ones are told of, wherever on their way they are refused.
#[test]
fn bad_lines_cost_themselves() {
    let Some(server) = PgServer::shared() else { return };
    let database = server.create_database();
    server.psql(&database, "CREATE TABLE small (time timestamptz, n bigint CHECK (n < 100), s varchar(3))");
    server.psql(&database, "CREATE INDEX small_at ON small (time)");
    let served = Served::start(&server.dsn(&database), &["--errors", "reject:bad.jsonl"]);
    let count = |sql: &str| server.psql(&database, sql).trim().to_owned();

    let reply = served.post("/write", "m n=1i 1000\nm n=2i 2000\nm n= 3\nm n=4i 4000\nno line\n").expect(400);
    let error = reply.json()["error"].as_str().unwrap().to_owned();
    assert!(error.starts_with("partial write: line 3: ") && error.ends_with("dropped=2"), "{error}");
    assert!(error.contains("line 5: "), "{error}");
    assert_eq!(count("SELECT sum(n) FROM m"), "7");
    let reply = served.post("/api/v2/write?bucket=b", "m n=5i 5000\nm n=oops 6000").expect(400);
    assert_eq!((&reply.json()["code"], &reply.json()["line"]), (&"invalid".into(), &2.into()), "{reply:?}");
    assert_eq!(count("SELECT sum(n) FROM m"), "12");
    served.post("/write", "nonsense").expect(400).says("nothing is written: line 1: ").says("dropped=1");

    // What the target refuses: a check, a length, a type that its column does not have.
    let reply = served
        .post("/write", "small n=1i 1000\nsmall n=100i 2000\nsmall s=\"long\" 3000\nsmall n=2i 4000")
        .expect(400);
    let error = reply.json()["error"].as_str().unwrap().to_owned();
    assert!(error.starts_with("partial write: ") && error.ends_with("dropped=2"), "{error}");
    assert!(error.contains("line 2: ") && error.contains("line 3: "), "{error}");
    assert_eq!(count("SELECT sum(n), count(*) FROM small"), "3|2");
    served.post("/write", "small n=\"text\" 1000").expect(400).says("nothing is written");
    served.post("/write", "m n=\"text\" 1000").expect(400).says("nothing is written");
    // Tables and columns that cannot be had: a column of the system's own, the name of an index.
    served
        .post("/write", "sys xmin=1i 1000\nsys n=1i 2000")
        .expect(400)
        .says("line 1: ")
        .says("system column");
    assert_eq!(count("SELECT sum(n), count(*) FROM sys"), "1|1");
    served.post("/write", "small_at n=1i 1000").expect(400).says("nothing is written");
    // And it goes on.
    served.post("/write", "small n=3i 5000").expect(204);
    assert_eq!(count("SELECT sum(n), count(*) FROM small"), "6|3");

    let points = r#"[{"metric":"p","timestamp":1700000000,"value":1,"tags":{"h":"a"}},{"metric":"p","timestamp":1700000000,"valeu":1,"tags":{"h":"a"}}]"#;
    let details = served.post("/api/put?details", points).expect(400).json();
    assert_eq!((&details["success"], &details["failed"]), (&1.into(), &1.into()), "{details}");
    assert_eq!(details["errors"][0]["datapoint"]["valeu"], 1, "{details}");
    served.post("/api/put", points).expect(400).says("partial write");
    assert_eq!(count("SELECT count(*) FROM p"), "2");

    let rejects = std::fs::read_to_string(served.path("bad.jsonl")).unwrap();
    assert!(rejects.contains("m n=oops 6000") && rejects.contains("small n=100i 2000"), "{rejects}");
    let ran = served.terminate();
    assert_eq!(ran.status(), 143, "{}", ran.err());
}

#[test]
fn bodies_are_read_within_bounds() {
    let Some(server) = PgServer::shared() else { return };
    let database = server.create_database();
    let served = Served::start(
        &server.dsn(&database),
        &["--listen", "listen://127.0.0.1:0?max_body=1MiB&max_waiting=2MiB"],
    );
    let gz = [("Content-Encoding", "gzip")];
    let zipped = [gzip(b"z n=1i 1000\nz n=2i "), gzip(b"2000\n")].concat();
    served.send("POST", "/write", &gz, &zipped).unwrap().expect(204);
    assert_eq!(server.psql(&database, "SELECT sum(n) FROM z").trim(), "3");
    served.send("POST", "/write", &gz, b"").unwrap().expect(204);

    served.send("POST", "/write", &gz, b"z n=1i 1000").unwrap().expect(400).says("no gzip");
    served.send("POST", "/write", &gz, &zipped[..20]).unwrap().expect(400).says("no gzip");
    let other = [("Content-Encoding", "br")];
    served.send("POST", "/write", &other, b"z n=1i 1000").unwrap().expect(415).says("gzip is");
    // A few KiB that become a GiB.
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    (0..64).for_each(|_| std::io::Write::write_all(&mut bomb, &vec![b'\n'; 16 << 20]).unwrap());
    served.send("POST", "/write", &gz, bomb.finish().unwrap()).unwrap().expect(413).says("max_body");
    let long = [("Content-Length", "1000000000")];
    served.send("POST", "/write", &long, b"").unwrap().expect(413).says("max_body");
    served.post("/write", "z n=3i 3000").expect(204);
    assert_eq!(server.psql(&database, "SELECT sum(n) FROM z").trim(), "6");
}

#[test]
fn only_who_may_write_does() {
    let Some(server) = PgServer::shared() else { return };
    let database = server.create_database();
    let to = server.dsn(&database);
    let served = Served::start(
        &to,
        &["--listen", "listen://127.0.0.1:0?token=t0psecret&user=me&password=pa:ss", "-vvv"],
    );
    let with =
        |header: &str| served.send("POST", "/write", &[("Authorization", header)], b"a n=1i 1000").unwrap();
    served.post("/write", "a n=1i 1000").expect(401).says("unauthorized");
    for refused in
        ["Token t0psecre", "Token t0psecret1", "Bearer", "Basic bWU6cGE6c1M=", "Digest x", "Token me:pa"]
    {
        with(refused).expect(401);
    }
    served.post("/write?u=me&p=wrong", "a n=1i 1000").expect(401);
    for taken in ["Token t0psecret", "Bearer t0psecret", "Basic bWU6cGE6c3M=", "Token me:pa:ss"] {
        with(taken).expect(204);
    }
    served.post("/write?u=me&p=pa:ss", "a n=1i 1000").expect(204);
    served.post("/api/put", "[]").expect(401).says("\"error\":{\"code\":401");
    served.get("/ping").expect(204);
    assert_eq!(server.psql(&database, "SELECT count(*) FROM a").trim(), "5");
    let err = served.err();
    assert!(!err.contains("t0psecret") && !err.contains("pa:ss"), "{err}");
}

#[test]
fn databases_become_what_they_are_told_to() {
    let Some(server) = PgServer::shared() else { return };
    let database = server.create_database();
    server.psql(&database, "CREATE SCHEMA one; CREATE SCHEMA two");
    let to = server.dsn(&database);
    let served = Served::start(&to, &["--listen", "listen://127.0.0.1:0?database=schema"]);
    served.post("/write?db=one", "t v=1i 1000").expect(204);
    // Another type: it is another table.
    served.post("/api/v2/write?bucket=two", "t v=1.5 1000").expect(204);
    served.post("/write?db=three", "t v=1i 1000").expect(400).says("three");
    served.post("/write", "t v=3i 1000").expect(204);
    assert_eq!(
        server
            .psql(&database, "SELECT v FROM one.t UNION ALL SELECT v FROM two.t UNION ALL SELECT v FROM t")
            .trim(),
        "1\n1.5\n3"
    );
    drop(served);
    let served = Served::start(&to, &["--listen", "listen://127.0.0.1:0?database=column&databases=one,two"]);
    served.post("/write?db=one", "c v=1i 1000\n").expect(204);
    served.post("/write?db=two", "c v=2i 1000\n").expect(204);
    served.post("/write?db=three", "c v=2i 1000\n").expect(404).says("database not found: \\\"three\\\"");
    served.post("/write?db=two", "c,database=x v=3i 1000\nc v=4i 2000").expect(400).says("database_column=");
    assert_eq!(server.psql(&database, "SELECT database, v FROM c ORDER BY v").trim(), "one|1\ntwo|2");
}

/// By TLS, with an authority of our own.
#[test]
fn tls_is_spoken_with_a_certificate() {
    let place = Place::new();
    let made = std::process::Command::new("openssl")
        .args("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -days 1 -keyout own.key -out own.crt".split(' '))
        .current_dir(place.path(""))
        .output();
    if !made.is_ok_and(|made| made.status.success())
        || std::process::Command::new("curl").arg("-V").output().is_err()
    {
        println!("SKIPPED: no openssl or no curl here");
        return;
    }
    let (cert, key) = (place.path("own.crt"), place.path("own.key"));
    let listen = format!("listen://127.0.0.1:0?cert=@{}&key=@{}", cert.display(), key.display());
    let served = Served::start("file:out?format=json", &["--listen", &listen]);
    assert!(served.err().contains("listening on https://127.0.0.1:"), "{}", served.err());
    let url = format!("https://127.0.0.1:{}/write", served.http.port());
    let sent = std::process::Command::new("curl")
        .args([
            "-sS",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
            "--data-binary",
            "cpu n=1i 1000",
            &url,
            "--cacert",
        ])
        .arg(&cert)
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&sent.stdout), "204", "{sent:?}");
    let files = std::fs::read_dir(served.path("out").join("cpu")).unwrap();
    let rows: String = files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap()).collect();
    assert!(rows.contains("\"n\":1"), "{rows}");
}

/// The client of InfluxDB 1.x, where it is installed.
#[test]
fn the_client_of_influxdb_writes() {
    if std::process::Command::new("influx").arg("-version").output().is_err() {
        println!("SKIPPED: no influx here; install it with: apt-get install influxdb-client");
        return;
    }
    let Some(server) = PgServer::shared() else { return };
    let database = server.create_database();
    let served = Served::start(&server.dsn(&database), &[]);
    let sent = std::process::Command::new("influx")
        .args(["-host", "127.0.0.1", "-port", &served.http.port().to_string(), "-database", "any"])
        .args(["-precision", "s", "-execute", "INSERT weather,place=berlin degrees=21.5 1700000000"])
        .output()
        .unwrap();
    assert!(sent.status.success(), "{sent:?}");
    assert_eq!(
        server.psql(&database, "SELECT place, degrees, time FROM weather").trim(),
        "berlin|21.5|2023-11-14 22:13:20+00"
    );
}
