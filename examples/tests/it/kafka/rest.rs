//! Kafka Connect's REST interface.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::connect::{rows, sink, stand_in};
use super::read::world;
use crate::support::{Place, until};

const MESSAGE: &str = r#"{"table":"rest","columns":[{"name":"ts","type":"TIMESTAMPTZ","length":64},{"name":"c1","type":"INT8","length":64}],"tags":[{"name":"id","type":"INT8","length":64,"primary":true,"nullable":false}],"data":[{"ts":1690855924005,"c1":11,"id":1}]}"#;

/// `kwsync connect --listen`, and where it listens.
struct Server {
    child: Child,
    url: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Server {
    fn start(place: &Place, arguments: &[&str]) -> Self {
        let all =
            [&["connect"][..], arguments, &["--listen", "127.0.0.1:0", "--state", "connectors"]].concat();
        let mut child = place.command(&all).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        let mut url = String::new();
        while !url.contains("http://") {
            url.clear();
            assert!(lines.read_line(&mut url).unwrap() > 0, "it ended");
        }
        // What it says later must not stop it.
        std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
        let url = url.trim().split("http://").nth(1).unwrap().trim_end_matches("/connectors").to_owned();
        Self { child, url: format!("http://{url}") }
    }

    fn ask(&self, method: &str, path: &str, body: Option<&str>) -> (u16, Value) {
        let mut curl = Command::new("curl");
        curl.args(["-s", "-X", method, "-w", "\n%{http_code}", "-H", "Content-Type: application/json"]);
        if let Some(body) = body {
            curl.args(["-d", body]);
        }
        let out = curl.arg(format!("{}{path}", self.url)).output().unwrap();
        let text = String::from_utf8(out.stdout).unwrap();
        let (body, status) = text.rsplit_once('\n').unwrap();
        let value = if body.is_empty() { Value::Null } else { serde_json::from_str(body).unwrap() };
        (status.parse().unwrap(), value)
    }

    fn terminate(mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").arg(pid).status().unwrap().success());
        assert_eq!(self.child.wait().unwrap().code(), Some(143));
    }
}

#[test]
fn connectors_are_told_what_to_do() {
    let Some((_, cluster, _, place, _)) = world() else { return };
    let (_runtime, kwdb) = stand_in();
    cluster.create("rest", 1, &[]);
    let brokers = ["--bootstrap-servers", &*cluster.brokers];
    let server = Server::start(&place, &brokers);
    assert_eq!(server.ask("GET", "/connectors", None), (200, serde_json::json!([])));
    let posted = sink(&kwdb, "rest");
    let (status, made) = server.ask("POST", "/connectors", Some(&posted));
    assert_eq!((status, &made["type"], made["tasks"].as_array().unwrap().len()), (201, &"sink".into(), 5));
    assert_eq!(made["config"]["connection.password"], "***");
    assert_eq!(server.ask("POST", "/connectors", Some(&posted)).0, 409);
    cluster.send("rest", [(0, MESSAGE)]);
    until("a row", || rows(&kwdb, "rest") == 1);
    let at = "/connectors/KwdbSinkConnector";
    let (_, status) = server.ask("GET", &format!("{at}/status"), None);
    assert_eq!(
        (&status["connector"]["state"], &status["tasks"][4]["state"]),
        (&"RUNNING".into(), &"RUNNING".into())
    );
    assert_eq!(server.ask("GET", &format!("{at}/topics"), None).1["KwdbSinkConnector"]["topics"][0], "rest");
    // Paused, nothing comes; resumed, all does.
    assert_eq!(server.ask("PUT", &format!("{at}/pause"), None).0, 202);
    assert_eq!(server.ask("GET", &format!("{at}/status"), None).1["connector"]["state"], "PAUSED");
    cluster.send("rest", [(0, &*MESSAGE.replace("\"id\":1", "\"id\":2"))]);
    assert_eq!(server.ask("POST", &format!("{at}/restart"), None).0, 204);
    assert_eq!(server.ask("GET", &format!("{at}/status"), None).1["connector"]["state"], "PAUSED");
    assert_eq!(rows(&kwdb, "rest"), 1);
    assert_eq!(server.ask("PUT", &format!("{at}/resume"), None).0, 202);
    until("the other row", || rows(&kwdb, "rest") == 2);
    // A change: the password that is not shown stays what it was.
    let (_, mut config) = server.ask("GET", &format!("{at}/config"), None);
    config["tasks.max"] = "1".into();
    let (status, changed) = server.ask("PUT", &format!("{at}/config"), Some(&config.to_string()));
    assert_eq!((status, changed["tasks"].as_array().unwrap().len()), (200, 1));
    assert!(
        std::fs::read_to_string(place.path("connectors/definitions/KwdbSinkConnector.json"))
            .unwrap()
            .contains("s3cret")
    );
    // Connectors survive the process.
    server.terminate();
    let server = Server::start(&place, &brokers);
    assert_eq!(server.ask("GET", "/connectors", None).1, serde_json::json!(["KwdbSinkConnector"]));
    cluster.send("rest", [(0, &*MESSAGE.replace("\"id\":1", "\"id\":3"))]);
    until("the third row", || rows(&kwdb, "rest") == 3);
    // One that cannot run says why.
    let broken = posted
        .replace("KwdbSinkConnector\", \"config", "broken\", \"config")
        .replace("\"rest\"", "\"nosuchtopic\"");
    let broken = broken.replace("\"max.retries\": 3", "\"max.retries\": 0");
    assert_eq!(server.ask("POST", "/connectors", Some(&broken)).0, 201);
    let state = || server.ask("GET", "/connectors/broken/status", None).1["tasks"][0].clone();
    until("the fault", || state()["state"] == "FAILED");
    assert!(state()["trace"].as_str().unwrap().contains("there is no topic \"nosuchtopic\""), "{}", state());
    let (_, all) = server.ask("GET", "/connectors?expand=status&expand=info", None);
    assert_eq!(all["broken"]["status"]["tasks"][0]["state"], "FAILED");
    assert_eq!(server.ask("DELETE", "/connectors/broken", None).0, 204);
    assert_eq!(server.ask("DELETE", at, None).0, 204);
    assert_eq!(server.ask("GET", "/connectors", None).1, serde_json::json!([]));
    // What is asked wrongly.
    for (method, path, body, status, expected) in [
        ("GET", "/connectors/none", None, 404, "no connector \"none\""),
        ("GET", "/nothing", None, 404, "no /nothing"),
        ("PATCH", "/connectors", None, 405, "takes no PATCH"),
        ("POST", "/connectors", Some("{"), 400, "no JSON object"),
        ("POST", "/connectors", Some("{\"name\": \"a\"}"), 400, "`config` is missing"),
        (
            "POST",
            "/connectors",
            Some("{\"name\": \"a\", \"config\": {\"connector.class\": \"x\"}}"),
            400,
            "no connector \"x\"",
        ),
        ("POST", "/connectors", Some(&*posted.replace("\"ms\"", "\"h\"")), 400, "timestamp.precision"),
    ] {
        let (answered, message) = server.ask(method, path, body);
        assert_eq!(answered, status, "{method} {path}: {message}");
        assert!(message["message"].as_str().unwrap().contains(expected), "{message}");
        assert!(!message.to_string().contains("s3cret"));
    }
    // An address with a password in it is shown as a whole as ***, which as a new value leaves it as it was.
    let secret = posted
        .replace("KwdbSinkConnector\", \"config", "secret\", \"config")
        .replace("jdbc:kaiwudb://", "jdbc:kaiwudb://test:hunter2@");
    let (status, made) = server.ask("POST", "/connectors", Some(&secret));
    assert_eq!((status, &made["config"]["connection.url"]), (201, &"***".into()), "{made}");
    for path in ["/connectors/secret", "/connectors/secret/config", "/connectors?expand=info&expand=status"] {
        let (_, shown) = server.ask("GET", path, None);
        assert!(!shown.to_string().contains("hunter2"), "{path}: {shown}");
    }
    let (_, config) = server.ask("GET", "/connectors/secret/config", None);
    assert_eq!(server.ask("PUT", "/connectors/secret/config", Some(&config.to_string())).0, 200);
    assert!(
        std::fs::read_to_string(place.path("connectors/definitions/secret.json"))
            .unwrap()
            .contains("test:hunter2@")
    );
    assert_eq!(server.ask("DELETE", "/connectors/secret", None).0, 204);
    // A form of a page in a browser is not JSON.
    let out = Command::new("curl")
        .args(["-s", "-d", &posted, &format!("{}/connectors", server.url)])
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&out.stdout).contains("must be JSON"));
    server.terminate();
}
