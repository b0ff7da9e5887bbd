//! `kwsync serve` as clients of InfluxDB and OpenTSDB meet it.

mod delivery;
mod faults;
mod http;
mod telnet;

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Stdio};
use std::time::Duration;

use crate::support::{Place, Ran, until};

/// A server process; it goes with the test.
pub(super) struct Served {
    child: Child,
    place: Place,
    pub(super) http: SocketAddr,
    pub(super) telnet: Option<SocketAddr>,
}

impl Served {
    /// `kwsync serve --to TO ...`, once it says where it listens; at a port of its own unless `more` names one.
    #[track_caller]
    pub(super) fn start(to: &str, more: &[&str]) -> Self {
        let own: &[&str] = if more.contains(&"--listen") { &[] } else { &["--listen", "127.0.0.1:0"] };
        Self::command(&[&["serve", "--to", to], own, more].concat())
    }

    /// Any command that listens.
    #[track_caller]
    pub(super) fn command(arguments: &[&str]) -> Self {
        let place = Place::new();
        let file = |name: &str| File::create(place.path(name)).unwrap();
        let mut command = place.command(arguments);
        let mut child =
            command.stdin(Stdio::null()).stdout(file("stdout")).stderr(file("stderr")).spawn().unwrap();
        let err = || std::fs::read_to_string(place.path("stderr")).unwrap();
        let telnet = arguments.iter().any(|argument| argument.contains("telnet"));
        until("the address", || {
            assert!(child.try_wait().unwrap().is_none(), "it ended: {}", err());
            err().contains("listening on http") && (!telnet || err().contains("listening on telnet"))
        });
        let (mut http, mut telnet) = (None, None);
        for line in err().lines() {
            let Some((scheme, at)) =
                line.strip_prefix("kwsync: listening on ").and_then(|at| at.split_once("://"))
            else {
                continue;
            };
            let at: SocketAddr = at.parse().unwrap();
            if scheme.starts_with("http") { http = Some(at) } else { telnet = Some(at) }
        }
        Self { child, http: http.unwrap(), telnet, place }
    }

    pub(super) fn err(&self) -> String {
        std::fs::read_to_string(self.place.path("stderr")).unwrap()
    }

    pub(super) fn path(&self, name: &str) -> std::path::PathBuf {
        self.place.path(name)
    }

    pub(super) fn post(&self, target: &str, body: impl AsRef<[u8]>) -> Reply {
        self.send("POST", target, &[], body).unwrap()
    }

    pub(super) fn get(&self, target: &str) -> Reply {
        self.send("GET", target, &[], b"").unwrap()
    }

    pub(super) fn send(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: impl AsRef<[u8]>,
    ) -> std::io::Result<Reply> {
        send(self.http, method, target, headers, body.as_ref())
    }

    /// Asks it to stop, without waiting for that.
    pub(super) fn signal(&self) {
        let pid = self.child.id().to_string();
        assert!(std::process::Command::new("kill").arg(pid).status().unwrap().success());
    }

    /// What it leaves behind, once it has ended.
    pub(super) fn end(mut self) -> Ran {
        let status = self.child.wait().unwrap();
        let read = |name: &str| std::fs::read(self.place.path(name)).unwrap();
        Ran::of(std::process::Output { status, stdout: read("stdout"), stderr: read("stderr") })
    }

    pub(super) fn terminate(self) -> Ran {
        self.signal();
        self.end()
    }

    /// Kills it with SIGKILL.
    pub(super) fn kill(self) {}
}

impl Drop for Served {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// What a client got.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: String,
}

impl Reply {
    #[track_caller]
    pub(super) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    #[track_caller]
    pub(super) fn says(self, text: &str) -> Self {
        assert!(self.body.contains(text), "{text:?} is not in {self:?}");
        self
    }

    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// One request on a connection of its own.
pub(super) fn send(
    to: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> std::io::Result<Reply> {
    let mut stream = TcpStream::connect(to)?;
    stream.set_read_timeout(Some(Duration::from_secs(120)))?;
    let mut head = format!("{method} {target} HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n");
    headers.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
    if !headers.iter().any(|(name, _)| *name == "Content-Length") {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    head.push_str("\r\n");
    // Who answers before the end of the body may close before it, too.
    drop(stream.write_all(&[head.as_bytes(), body].concat()));
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    let text = String::from_utf8_lossy(&answer).into_owned();
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return Err(read.err().unwrap_or_else(|| std::io::ErrorKind::UnexpectedEof.into()));
    };
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap();
    Ok(Reply { status, head: head.to_ascii_lowercase(), body: body.to_owned() })
}

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
