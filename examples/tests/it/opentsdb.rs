//! The command of taosX's manual for OpenTSDB, against a stand-in: a real one cannot be had here.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};

use kwsync_core::testkit::PgServer;

use super::support::{Job, Place, until};

/// Answers each query with all points of its metric; what lies outside of the range is for the source to leave out.
fn serve(stream: TcpStream) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut stream = stream;
    loop {
        let (mut first, mut line, mut length) = (String::new(), String::new(), 0);
        if reader.read_line(&mut first)? == 0 {
            return Ok(());
        }
        while reader.read_line(&mut line)? > 2 {
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            line.clear();
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let answer = if first.contains("/api/version") {
            r#"{"version":"2.3.1"}"#
        } else if String::from_utf8_lossy(&body).contains("test_metric1") {
            r#"[{"metric":"test_metric1","tags":{"host":"a"},"dps":{"1685548799999":0,"1685548800000":1,"1685548801500":2.5}},
                {"metric":"test_metric1","tags":{"host":"b"},"dps":{"1685548800000":7}}]"#
        } else {
            r#"[{"metric":"test_metric2","tags":{"dc":"x"},"dps":[[1685548860000,3]]}]"#
        };
        write!(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{answer}",
            answer.len()
        )?;
    }
}

#[test]
fn the_command_of_the_manual_for_opentsdb() {
    let Some(server) = PgServer::shared() else { return };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || drop(serve(stream)));
        }
    });
    let (place, to) = (Place::new(), server.create_database());
    let text = std::fs::read_to_string(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../kwsync-core/tests/golden/taosx/opentsdb.sh"
    ))
    .unwrap();
    let from = text.split("--from \"").nth(1).unwrap().split('"').next().unwrap();
    let from = from.replace("192.168.1.10:4242", &format!("127.0.0.1:{port}"));
    let job = Job::start(&place, &["run", "--from", &from, "--to", &server.dsn(&to), "-vv"]);
    let count = |table: &str| {
        let found = server.try_psql(&to, &format!("SELECT count(*) FROM {table}"), b"").unwrap_or_default();
        String::from_utf8_lossy(&found).trim().parse::<u64>().unwrap_or(0)
    };
    until("all points", || count("test_metric1") == 3 && count("test_metric2") == 1);
    assert_eq!(job.terminate().status(), 143);
    assert_eq!(
        server
            .psql(&to, "SELECT extract(epoch FROM k_timestamp), value, host FROM test_metric1 ORDER BY 1, 3"),
        "1685548800.000000|1|a\n1685548800.000000|7|b\n1685548801.500000|2.5|a\n"
    );
    // With an end, by lanes: below it.
    let to = server.create_database();
    let bounded = format!("{from}&endTime=2023-05-31T16:00:01Z");
    let ran = place
        .run(&["run", "--from", &bounded, "--to", &server.dsn(&to), "-j", "2", "--report", "json"])
        .expect(0);
    let report: serde_json::Value = serde_json::from_str(&ran.out()).unwrap();
    assert_eq!(report["rows_written"], 2, "{report}");
}
