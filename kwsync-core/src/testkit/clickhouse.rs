//! A ClickHouse in a temporary folder.

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

/// A ClickHouse of its own, over HTTP.
#[derive(Debug)]
pub struct ClickHouseServer {
    keeper: Mutex<Option<Child>>,
    dir: tempfile::TempDir,
    port: u16,
    tcp_port: u16,
    made: AtomicUsize,
}

impl ClickHouseServer {
    /// The server that all tests of a process share, with databases of their own.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<ClickHouseServer>> = OnceLock::new();
        SHARED.get_or_init(Self::start).as_ref()
    }

    /// A server for one test; `None`, and a line that says so, where ClickHouse is not installed.
    ///
    /// # Panics
    /// When it is installed and does not start.
    pub fn start() -> Option<Self> {
        let mut look = Command::new("clickhouse-server");
        if look.arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
            println!("SKIPPED: clickhouse-server is not installed (dev/setup installs it)");
            return None;
        }
        match Self::try_start() {
            Ok(server) => Some(server),
            Err(error) => panic!("ClickHouse does not start: {error}"),
        }
    }

    fn try_start() -> io::Result<Self> {
        let dir = tempfile::tempdir()?;
        let mut server =
            Self { keeper: Mutex::new(None), dir, port: 0, tcp_port: 0, made: AtomicUsize::new(0) };
        // Another process may take a port between the look and the start.
        for _ in 0..8 {
            (server.port, server.tcp_port) = (free_port()?, free_port()?);
            server.configure()?;
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

    fn configure(&self) -> io::Result<()> {
        let (dir, port, tcp) = (self.dir.path().display(), self.port, self.tcp_port);
        fs::write(
            self.path("config.xml"),
            format!(
                "<yandex><logger><level>warning</level><console>1</console></logger><http_port>{port}</http_port><tcp_port>{tcp}</tcp_port>\
                 <listen_host>127.0.0.1</listen_host><path>{dir}/data/</path><tmp_path>{dir}/tmp/</tmp_path>\
                 <users_config>users.xml</users_config><default_profile>default</default_profile>\
                 <default_database>default</default_database><mark_cache_size>5368709</mark_cache_size>\
                 <timezone>Asia/Shanghai</timezone></yandex>"
            ),
        )?;
        let user = |name: &str, password: &str, profile: &str| {
            format!(
                "<{name}><password>{password}</password><networks><ip>127.0.0.1</ip></networks><profile>{profile}</profile>\
                 <quota>default</quota></{name}>"
            )
        };
        fs::write(
            self.path("users.xml"),
            format!(
                "<yandex><profiles><default><max_memory_usage>2000000000</max_memory_usage></default><strict><readonly>1</readonly>\
                 </strict><hasty><max_result_rows>5000</max_result_rows><result_overflow_mode>break</result_overflow_mode></hasty>\
                 <bound><profile>hasty</profile><readonly>1</readonly></bound></profiles><quotas><default></default></quotas>\
                 <users>{}{}{}{}</users></yandex>",
                user(self.user(), self.password(), "default"),
                user(self.reader(), self.password(), "strict"),
                user(self.hasty(false), self.password(), "hasty"),
                user(self.hasty(true), self.password(), "bound")
            ),
        )
    }

    fn run(&self) -> io::Result<()> {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.path("log"))?;
        let mut keeper = Command::new("/bin/sh");
        keeper.args(["-c", KEEPER, "kwsync-clickhouse-keeper", "clickhouse-server"]);
        keeper.arg(format!("--config-file={}", self.path("config.xml").display()));
        keeper.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(log).current_dir(self.dir.path());
        *self.keeper.lock().unwrap_or_else(PoisonError::into_inner) = Some(keeper.spawn()?);
        Ok(())
    }

    fn wait(&self) -> io::Result<()> {
        let began = Instant::now();
        while !self.request("SELECT 1").is_ok_and(|(status, _)| status == 200) {
            if began.elapsed() > Duration::from_secs(20) {
                return Err(io::Error::other(self.log()));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
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
            panic!("ClickHouse does not come back: {error}");
        }
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The user who may do everything.
    pub fn user(&self) -> &'static str {
        "kwsync"
    }

    /// A user who may read, and change no setting.
    pub fn reader(&self) -> &'static str {
        "reader"
    }

    /// A user whose results are cut short behind 5000 rows, and who may not change that where it is `bound`.
    pub fn hasty(&self, bound: bool) -> &'static str {
        if bound { "bound" } else { "hasty" }
    }

    /// The password of all of them.
    pub fn password(&self) -> &'static str {
        "p:ass/w@rd"
    }

    /// The address of a database, for the user who may do everything.
    pub fn dsn(&self, database: &str) -> String {
        format!("clickhouse://{}:p%3Aass%2Fw%40rd@127.0.0.1:{}/{database}", self.user(), self.port)
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
        self.sql(&format!("CREATE DATABASE {name}"));
        name
    }

    /// Runs one statement, and returns the answer.
    ///
    /// # Panics
    /// When the server refuses.
    pub fn sql(&self, statement: &str) -> String {
        match self.request(statement) {
            Ok((200, body)) if !body.contains("DB::Exception") => body,
            other => panic!("{statement}: {other:?}"),
        }
    }

    /// Runs one statement, and returns status and answer.
    ///
    /// # Errors
    /// When the server is away.
    pub fn request(&self, statement: &str) -> io::Result<(u16, String)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        let head = format!(
            "POST /?allow_experimental_low_cardinality_type=1 HTTP/1.0\r\nHost: localhost\r\nX-ClickHouse-User: {}\r\nX-ClickHouse-Key: \
             {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            self.user(),
            self.password(),
            statement.len()
        );
        stream.write_all(head.as_bytes())?;
        stream.write_all(statement.as_bytes())?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let text = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        status.map(|status| (status, body.to_owned())).ok_or_else(|| io::Error::other("no answer"))
    }
}

impl Drop for ClickHouseServer {
    fn drop(&mut self) {
        self.stop();
    }
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
