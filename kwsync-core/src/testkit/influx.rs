//! An InfluxDB 1 in a temporary folder.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// Stops the server when the test process closes the pipe, however it ends.
const KEEPER: &str =
    r#""$@" & server=$!; read -r _; kill -9 "$server" 2>/dev/null; wait "$server" 2>/dev/null"#;

/// An InfluxDB of its own, over HTTP.
#[derive(Debug)]
pub struct InfluxServer {
    keeper: Mutex<Option<Child>>,
    dir: tempfile::TempDir,
    port: u16,
    rpc_port: u16,
    tls: bool,
    /// Lines of its configuration, by section.
    sections: String,
    made: AtomicUsize,
}

impl InfluxServer {
    /// The server that all tests of a process share, with databases of their own. Nobody has to log in.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<InfluxServer>> = OnceLock::new();
        SHARED.get_or_init(|| Self::start("", "")).as_ref()
    }

    /// A server for one test, with lines of its own in the section `http` of its configuration and with further sections;
    /// `None`, and a line that says so, where InfluxDB is not installed.
    ///
    /// # Panics
    /// When it is installed and does not start.
    pub fn start(http: &str, sections: &str) -> Option<Self> {
        Self::start_as(http, sections, false)
    }

    /// As [`start`](Self::start), by TLS with the certificate of [`ca`](Self::ca).
    ///
    /// # Panics
    /// When it does not start.
    pub fn start_tls() -> Option<Self> {
        Self::start_as("", "", true)
    }

    fn start_as(http: &str, sections: &str, tls: bool) -> Option<Self> {
        if Command::new("influxd")
            .arg("version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_err()
        {
            println!("SKIPPED: influxdb is not installed (dev/setup installs it)");
            return None;
        }
        match Self::try_start(http, sections, tls) {
            Ok(server) => Some(server),
            Err(error) => panic!("InfluxDB does not start: {error}"),
        }
    }

    fn try_start(http: &str, sections: &str, tls: bool) -> io::Result<Self> {
        let dir = tempfile::tempdir()?;
        let mut http = http.to_owned();
        if tls {
            if !super::postgres::make_certificates(dir.path())? {
                return Err(io::Error::other("there is no openssl to make certificates"));
            }
            let path = dir.path().display();
            http.push_str(&format!(
                "https-enabled = true\nhttps-certificate = \"{path}/server.crt\"\nhttps-private-key = \"{path}/server.key\"\n"
            ));
        }
        let mut server = Self {
            keeper: Mutex::new(None),
            dir,
            port: 0,
            rpc_port: 0,
            tls,
            sections: format!("{http}{sections}"),
            made: AtomicUsize::new(0),
        };
        // Another process may take a port between the look and the start.
        for _ in 0..8 {
            (server.port, server.rpc_port) = (free_port()?, free_port()?);
            server.configure(&server.sections)?;
            server.run()?;
            if server.wait().is_ok() {
                return Ok(server);
            }
            server.stop();
        }
        Err(io::Error::other(server.log()))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn configure(&self, sections: &str) -> io::Result<()> {
        let (dir, rpc, port) = (self.dir.path().display(), self.rpc_port, self.port);
        fs::write(
            self.path("influxdb.conf"),
            format!(
                "bind-address = \"127.0.0.1:{rpc}\"\nreporting-disabled = true\n[meta]\ndir = \"{dir}/meta\"\n[data]\n\
                 dir = \"{dir}/data\"\nwal-dir = \"{dir}/wal\"\n[monitor]\nstore-enabled = false\n[http]\n\
                 bind-address = \"127.0.0.1:{port}\"\nlog-enabled = false\n{sections}"
            ),
        )
    }

    fn run(&self) -> io::Result<()> {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.path("log"))?;
        let mut keeper = Command::new("/bin/sh");
        keeper
            .args(["-c", KEEPER, "kwsync-influx-keeper", "influxd", "-config"])
            .arg(self.path("influxdb.conf"));
        keeper.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(log);
        *self.keeper.lock().unwrap_or_else(PoisonError::into_inner) = Some(keeper.spawn()?);
        Ok(())
    }

    fn wait(&self) -> io::Result<()> {
        let began = Instant::now();
        loop {
            let up = if self.tls {
                TcpStream::connect(("127.0.0.1", self.port)).is_ok()
            } else {
                self.request("GET", "/ping", "").is_ok_and(|(status, _)| status < 300)
            };
            if up {
                return Ok(());
            }
            if began.elapsed() > Duration::from_secs(20) {
                return Err(io::Error::other(self.log()));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Stops the server at once, as a fault of its machine would.
    pub fn stop(&self) {
        if let Some(mut keeper) = self.keeper.lock().unwrap_or_else(PoisonError::into_inner).take() {
            drop(keeper.stdin.take());
            // It ends by itself now.
            drop(keeper.wait());
        }
    }

    /// Starts it again on the same port, with what it had written down.
    ///
    /// # Panics
    /// When it does not come back.
    pub fn restart(&self) {
        self.stop();
        if let Err(error) = self.run().and_then(|()| self.wait()) {
            panic!("InfluxDB does not come back: {error}");
        }
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The certificate of the authority that signed the server's.
    pub fn ca(&self) -> PathBuf {
        self.path("ca.crt")
    }

    /// What the server has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// Makes a database of its own, and returns its name.
    ///
    /// # Panics
    /// When the server refuses.
    pub fn create_database(&self) -> String {
        let name = format!("t{}_{}", std::process::id(), self.made.fetch_add(1, Ordering::Relaxed));
        self.query("", &format!("CREATE DATABASE {name}"));
        name
    }

    /// Runs statements of InfluxQL, and returns the answer.
    ///
    /// # Panics
    /// When the server refuses.
    pub fn query(&self, database: &str, statements: &str) -> String {
        let path = format!("/query?epoch=ns&db={}&q={}", encode(database), encode(statements));
        match self.request("POST", &path, "") {
            Ok((200, body)) if !body.contains("\"error\"") => body,
            other => panic!("{statements}: {other:?}"),
        }
    }

    /// Writes lines of line protocol; `database` may go on as `db&rp=policy`.
    ///
    /// # Panics
    /// When the server refuses.
    pub fn write(&self, database: &str, lines: &str) {
        match self.request("POST", &format!("/write?precision=ns&db={database}"), lines) {
            Ok((204, _)) => {}
            other => panic!("{other:?}"),
        }
    }

    /// Sends one request in the clear, and returns status and body.
    ///
    /// # Errors
    /// When the server is away.
    pub fn request(&self, method: &str, path: &str, body: &str) -> io::Result<(u16, String)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        let head = format!(
            "{method} {path} HTTP/1.0\r\nHost: localhost\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes())?;
        stream.write_all(body.as_bytes())?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let text = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        status.map(|status| (status, body.to_owned())).ok_or_else(|| io::Error::other("no answer"))
    }
}

impl Drop for InfluxServer {
    fn drop(&mut self) {
        self.stop();
    }
}

fn encode(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
