//! Random and mutated lines against a real InfluxDB 1.6 and a real VictoriaMetrics: both judge them as kwsync does and
//! give back what it read, save for what is listed here.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use kwsync_formats::influx::{FieldValue, lines};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
use serde_json::Value as Json;

use crate::inputs;

/// A server in a folder of its own, stopped when dropped.
struct Server {
    child: Child,
    port: u16,
    _dir: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Server {
    /// `None`, said loudly, where the program is not installed.
    fn start(
        program: &str,
        ready: &str,
        args: impl FnOnce(&std::path::Path, u16) -> Vec<String>,
    ) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let port = free_port();
        let child = Command::new(program)
            .args(args(dir.path(), port))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let Ok(child) = child else {
            println!("SKIPPED: {program} is not installed (dev/setup installs it)");
            return None;
        };
        let server = Self { child, port, _dir: dir };
        let began = Instant::now();
        while server.try_request("GET", ready, b"").is_none_or(|(status, _)| status >= 300) {
            assert!(began.elapsed() < Duration::from_secs(60), "{program} does not come up");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(server)
    }

    fn try_request(&self, method: &str, path: &str, body: &[u8]) -> Option<(u16, Vec<u8>)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        let head = format!(
            "{method} {path} HTTP/1.0\r\nHost: localhost\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        stream.write_all(&[head.as_bytes(), body].concat()).ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok()?;
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(&answer[..end]).into_owned();
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some((status, answer.split_off(end + 4)))
    }

    fn request(&self, method: &str, path: &str, body: &[u8]) -> (u16, Vec<u8>) {
        self.try_request(method, path, body).expect("an answer")
    }
}

fn encode(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// Deterministic values of a strategy.
fn sample<S: Strategy>(strategy: S, count: usize, seed: u8) -> Vec<S::Value> {
    let mut runner = TestRunner::new_with_rng(
        ProptestConfig::default(),
        TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]),
    );
    (0..count).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect()
}

/// A point as both sides can say it: measurement, tags, fields, time.
#[derive(Debug, PartialEq)]
struct Point {
    table: String,
    tags: BTreeMap<String, String>,
    fields: BTreeMap<String, String>,
    time: i64,
}

/// Floats by their bits, so that 1 and 1.0 are the same.
fn number(value: f64) -> String {
    // Neither of them keeps the sign of a zero.
    format!("number {:?}", value + 0.0)
}

fn ours(line: &kwsync_formats::influx::Line<'_>) -> Point {
    let text = |value: FieldValue<'_>| match value {
        FieldValue::I64(v) => number(v as f64),
        FieldValue::U64(v) => number(v as f64),
        FieldValue::F64(v) => number(v),
        FieldValue::Bool(v) => format!("bool {v}"),
        FieldValue::Str(v) => format!("text {v}"),
        other => panic!("{other:?}"),
    };
    Point {
        table: line.measurement().to_string(),
        tags: line.tags().map(|(key, value)| (key.to_string(), value.to_string())).collect(),
        fields: line.fields().map(|(key, value)| (key.to_string(), text(value))).collect(),
        time: line.timestamp().unwrap_or(0),
    }
}

/// What InfluxDB gives back of a database.
fn theirs(server: &Server, db: &str) -> Vec<Point> {
    let query = format!("/query?db={db}&epoch=ns&q={}", encode("SELECT * FROM /.*/ GROUP BY *"));
    let (status, body) = server.request("GET", &query, b"");
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
    let answer: Json = serde_json::from_slice(&body).unwrap();
    let series = answer["results"][0]["series"].as_array().cloned().unwrap_or_default();
    let mut points = Vec::new();
    for one in series {
        let tags = one["tags"].as_object().cloned().unwrap_or_default();
        let tags: BTreeMap<_, _> = tags
            .into_iter()
            .map(|(key, value)| (key, value.as_str().unwrap_or_default().to_owned()))
            .collect();
        let columns: Vec<_> =
            one["columns"].as_array().unwrap().iter().map(|c| c.as_str().unwrap().to_owned()).collect();
        for row in one["values"].as_array().unwrap() {
            let fields = columns.iter().zip(row.as_array().unwrap()).skip(1);
            let fields = fields.filter(|(_, value)| !value.is_null()).map(|(name, value)| {
                let text = match value {
                    Json::Number(value) => number(value.as_f64().unwrap()),
                    Json::Bool(value) => format!("bool {value}"),
                    other => format!("text {}", other.as_str().unwrap()),
                };
                (name.clone(), text)
            });
            points.push(Point {
                table: one["name"].as_str().unwrap().to_owned(),
                tags: tags.clone(),
                fields: fields.collect(),
                time: row[0].as_i64().unwrap(),
            });
        }
    }
    points
}

/// What InfluxDB 1.6 takes and kwsync refuses, by the reason (docs/formats.md has each row).
const STRICTER: &[&str] =
    &["text_after_string", "control_character", "tag_field_clash", "invalid_utf8", "field_type_conflict"];

/// Whether a line that kwsync reads is one that InfluxDB 1.6 is known to judge or store in another way.
fn is_listed(line: &[u8]) -> bool {
    let text = String::from_utf8_lossy(line);
    let point = lines(line).next().and_then(Result::ok);
    let Some(point) = point else { return true };
    // Unsigned integers, line ends of Windows, times at the limits.
    let unsigned = point.fields().any(|(_, value)| matches!(value, FieldValue::U64(_)));
    let time = point.timestamp().unwrap_or(0);
    let edge = !(-9_223_372_036_854_775_000..=9_223_372_036_854_775_000).contains(&time);
    // A field or tag named time is its own; of a field that comes twice it keeps one or the other.
    let named_time =
        point.tags().any(|(key, _)| key == "time") || point.fields().any(|(key, _)| key == "time");
    // It looks for quotes in names, too, and has its own mind about backslashes before them.
    let odd = |name: &str| name.contains(['"', '\\']);
    let odd_name = odd(&point.measurement().unescape())
        || point.tags().any(|(key, value)| odd(&key.unescape()) || odd(&value.unescape()))
        || point.fields().any(|(key, _)| odd(&key.unescape()));
    unsigned || edge || named_time || odd_name || text.contains('\r') || point.repeated_fields() > 0
}

#[test]
fn influxdb_reads_lines_as_we_do() {
    let start = |dir: &std::path::Path, port: u16| {
        let path = dir.display();
        let config = format!(
            "bind-address = \"127.0.0.1:{}\"\nreporting-disabled = true\n[meta]\ndir = \"{path}/meta\"\n[data]\n\
             dir = \"{path}/data\"\nwal-dir = \"{path}/wal\"\n[http]\nbind-address = \"127.0.0.1:{port}\"\nlog-enabled = false\n\
             [monitor]\nstore-enabled = false\n",
            free_port()
        );
        std::fs::write(dir.join("influxdb.conf"), config).unwrap();
        vec!["-config".to_owned(), dir.join("influxdb.conf").display().to_string()]
    };
    let Some(server) = Server::start("influxd", "/ping", start) else { return };
    let mut inputs: Vec<Vec<u8>> =
        sample(inputs::line(), 150, 1).into_iter().map(String::into_bytes).collect();
    inputs.extend(sample(inputs::shaped(), 50, 2).into_iter().map(String::into_bytes));
    inputs.extend(
        sample(inputs::mutated(), 150, 3)
            .into_iter()
            .filter_map(|many| many.split_inclusive(|byte| *byte == b'\n').next().map(<[u8]>::to_vec)),
    );
    let (mut same, mut refused, mut listed) = (0, 0, 0);
    for (index, input) in inputs.iter().enumerate() {
        let all: Vec<_> = lines(input).collect();
        let [verdict] = all.as_slice() else { continue };
        let shown = String::from_utf8_lossy(input).into_owned();
        let db = format!("d{index}");
        let (status, _) =
            server.request("POST", &format!("/query?q={}", encode(&format!("CREATE DATABASE {db}"))), b"");
        assert_eq!(status, 200);
        let (status, body) = server.request("POST", &format!("/write?db={db}&precision=ns"), input);
        let taken = status == 204;
        let why = String::from_utf8_lossy(&body).into_owned();
        match verdict {
            _ if verdict.is_ok() && is_listed(input) => listed += 1,
            Err(error) if taken => {
                assert!(
                    STRICTER.contains(&error.reason().code()),
                    "InfluxDB takes, we refuse ({error}): {shown:?}"
                );
                listed += 1;
            }
            Err(_) => refused += 1,
            Ok(line) => {
                assert!(taken, "we read, InfluxDB refuses ({why}): {shown:?}");
                let mut found = theirs(&server, &db);
                assert_eq!(found.len(), 1, "{shown:?}");
                let mut own = ours(line);
                if line.timestamp().is_none() {
                    // It is the time of arrival.
                    (own.time, found[0].time) = (0, 0);
                }
                // Tags that other points of the database have are empty; here there are none.
                assert_eq!(found[0], own, "{shown:?}");
                same += 1;
            }
        }
        server.request("POST", &format!("/query?q={}", encode(&format!("DROP DATABASE {db}"))), b"");
    }
    println!("{same} lines read alike, {refused} refused alike, {listed} of the listed kinds");
    assert!(same > 100 && refused > 30, "{same} read alike, {refused} refused alike");
}

#[test]
fn victoria_metrics_reads_numbers_as_we_do() {
    let start = |dir: &std::path::Path, port: u16| {
        vec![
            format!("-storageDataPath={}", dir.display()),
            format!("-httpListenAddr=127.0.0.1:{port}"),
            "-retentionPeriod=100y".to_owned(),
            "-search.latencyOffset=0s".to_owned(),
        ]
    };
    let Some(server) = Server::start("victoria-metrics", "/health", start) else { return };
    // Its names are Prometheus', its values floats, its times milliseconds.
    let tag = "(host|dc)=[a-z]{1,3}(\\\\ [a-z])?";
    let value = "-?(0|[1-9][0-9]{0,5})(\\.[0-9]{1,6})?|[0-9]{1,9}i|[1-9]e[0-9]";
    let line = (prop::collection::vec(tag, 0..2), prop::collection::vec(value, 1..4));
    let mut input = String::new();
    for (index, (tags, fields)) in sample(line, 200, 4).into_iter().enumerate() {
        let tags: String = tags.iter().enumerate().map(|(i, tag)| format!(",t{i}{tag}")).collect();
        let fields: Vec<_> = fields.iter().enumerate().map(|(i, value)| format!("f{i}={value}")).collect();
        let time = 1_700_000_000_000_000_000_i64 + index as i64 * 60_000_000_000;
        input.push_str(&format!("m{tags} {} {time}\n", fields.join(",")));
    }
    let mut expected: BTreeMap<(String, BTreeMap<String, String>, i64), String> = BTreeMap::new();
    for line in lines(input.as_bytes()) {
        let point = ours(&line.unwrap());
        for (name, value) in point.fields {
            expected.insert((format!("m_{name}"), point.tags.clone(), point.time / 1_000_000), value);
        }
    }
    let (status, body) = server.request("POST", "/write", input.as_bytes());
    assert_eq!(status, 204, "{}", String::from_utf8_lossy(&body));
    let path =
        format!("/api/v1/export?match[]={}&start=1600000000&end=1900000000", encode("{__name__!=\"\"}"));
    let began = Instant::now();
    // What has been written can be read a moment later.
    let found = loop {
        server.request("GET", "/internal/force_flush", b"");
        let (status, body) = server.request("GET", &path, b"");
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
        let mut found = BTreeMap::new();
        for line in String::from_utf8(body).unwrap().lines() {
            let series: Json = serde_json::from_str(line).unwrap();
            let mut labels: BTreeMap<String, String> =
                serde_json::from_value(series["metric"].clone()).unwrap();
            let name = labels.remove("__name__").unwrap();
            let values = series["values"].as_array().unwrap().iter();
            for (value, time) in values.zip(series["timestamps"].as_array().unwrap()) {
                let key = (name.clone(), labels.clone(), time.as_i64().unwrap());
                found.insert(key, number(value.as_f64().unwrap()));
            }
        }
        if found.len() >= expected.len() || began.elapsed() > Duration::from_secs(30) {
            break found;
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    let differ = expected.iter().find(|(key, value)| found.get(key) != Some(value));
    assert_eq!(differ.map(|(key, value)| (key, value, found.get(key))), None);
    assert_eq!(found.len(), expected.len());
}
