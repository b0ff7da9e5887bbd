//! A server of MongoDB's wire protocol in a temporary folder: mongo-java-server, which keeps all in memory.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

const VERSION: &str = "mongo-1.47.0";

/// Ends with its standard input, however the test process ends.
const SERVER: &str = r#"
import de.bwaldvogel.mongo.MongoServer;
import de.bwaldvogel.mongo.ServerVersion;
import de.bwaldvogel.mongo.backend.memory.MemoryBackend;

public class Server {
    public static void main(String[] arguments) throws Exception {
        MongoServer server = new MongoServer(new MemoryBackend().version(ServerVersion.MONGO_5_0));
        server.bind("127.0.0.1", Integer.parseInt(arguments[0]));
        while (System.in.read() >= 0) {}
        Runtime.getRuntime().halt(0);
    }
}
"#;

/// A document of a test, field by field.
#[derive(Clone, Debug, Default)]
pub struct MongoDocument(Vec<u8>);

impl MongoDocument {
    /// A document without fields.
    pub fn new() -> Self {
        Self(Vec::new())
    }

    /// A field of any kind: the number of its type in BSON, and its bytes.
    #[must_use]
    pub fn raw(mut self, kind: u8, name: &str, bytes: &[u8]) -> Self {
        self.0.push(kind);
        self.0.extend(name.as_bytes());
        self.0.push(0);
        self.0.extend(bytes);
        self
    }

    /// A string.
    #[must_use]
    pub fn text(self, name: &str, value: &str) -> Self {
        let mut bytes = (value.len() as i32 + 1).to_le_bytes().to_vec();
        bytes.extend(value.as_bytes());
        bytes.push(0);
        self.raw(0x02, name, &bytes)
    }

    /// An integer of 32 bits.
    #[must_use]
    pub fn int32(self, name: &str, value: i32) -> Self {
        self.raw(0x10, name, &value.to_le_bytes())
    }

    /// An integer of 64 bits.
    #[must_use]
    pub fn int64(self, name: &str, value: i64) -> Self {
        self.raw(0x12, name, &value.to_le_bytes())
    }

    /// A double.
    #[must_use]
    pub fn double(self, name: &str, value: f64) -> Self {
        self.raw(0x01, name, &value.to_le_bytes())
    }

    /// A date, in milliseconds.
    #[must_use]
    pub fn date(self, name: &str, millis: i64) -> Self {
        self.raw(0x09, name, &millis.to_le_bytes())
    }

    /// An ObjectId.
    #[must_use]
    pub fn object_id(self, name: &str, id: [u8; 12]) -> Self {
        self.raw(0x07, name, &id)
    }

    /// A boolean.
    #[must_use]
    pub fn boolean(self, name: &str, value: bool) -> Self {
        self.raw(0x08, name, &[value.into()])
    }

    /// Null.
    #[must_use]
    pub fn null(self, name: &str) -> Self {
        self.raw(0x0a, name, &[])
    }

    /// Bytes of a kind: 0 for any, 4 for a UUID.
    #[must_use]
    pub fn binary(self, name: &str, kind: u8, value: &[u8]) -> Self {
        let mut bytes = (value.len() as i32).to_le_bytes().to_vec();
        bytes.push(kind);
        bytes.extend(value);
        self.raw(0x05, name, &bytes)
    }

    /// A document within it.
    #[must_use]
    pub fn document(self, name: &str, value: &Self) -> Self {
        let bytes = value.finished();
        self.raw(0x03, name, &bytes)
    }

    /// An array; the names of its items are numbers.
    #[must_use]
    pub fn array(self, name: &str, items: &Self) -> Self {
        let bytes = items.finished();
        self.raw(0x04, name, &bytes)
    }

    /// With length and end.
    pub fn finished(&self) -> Vec<u8> {
        let mut out = (self.0.len() as i32 + 5).to_le_bytes().to_vec();
        out.extend(&self.0);
        out.push(0);
        out
    }
}

/// A server of its own. Nobody has to sign in, and nobody can.
#[derive(Debug)]
pub struct MongoServer {
    child: Mutex<Option<Child>>,
    dir: tempfile::TempDir,
    jars: PathBuf,
    port: u16,
    made: AtomicUsize,
}

impl MongoServer {
    /// The server that all tests of a process share, with databases of their own.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<MongoServer>> = OnceLock::new();
        SHARED.get_or_init(Self::start).as_ref()
    }

    /// A server for one test; `None`, and a line that says so, where its jars or Java are not installed.
    ///
    /// # Panics
    /// When it is installed and does not start.
    pub fn start() -> Option<Self> {
        let jars = std::env::var_os("KWSYNC_MONGO").map(PathBuf::from).or_else(|| {
            let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
            let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?;
            Some(cache.join("kwsync").join(VERSION))
        });
        let jars = jars.filter(|jars| jars.join("mongo-java-server-1.47.0.jar").exists());
        let java = Command::new("java").arg("-version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        let (Some(jars), true) = (jars, java.is_ok()) else {
            println!("SKIPPED: mongo-java-server or Java is not installed (dev/setup installs them)");
            return None;
        };
        match Self::try_start(jars) {
            Ok(server) => Some(server),
            Err(error) => panic!("mongo-java-server does not start: {error}"),
        }
    }

    fn try_start(jars: PathBuf) -> io::Result<Self> {
        let dir = tempfile::tempdir()?;
        fs::write(dir.path().join("Server.java"), SERVER)?;
        let mut server = Self { child: Mutex::new(None), dir, jars, port: 0, made: AtomicUsize::new(0) };
        // Another process may take a port between the look and the start.
        for _ in 0..4 {
            server.port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
            server.run()?;
            if server.wait().is_ok() {
                return Ok(server);
            }
            server.stop();
        }
        Err(io::Error::other(server.log()))
    }

    fn run(&self) -> io::Result<()> {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.dir.path().join("log"))?;
        let mut java = Command::new("java");
        java.args(["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp"])
            .arg(self.jars.join("*"));
        java.arg(self.dir.path().join("Server.java")).arg(self.port.to_string());
        java.stdin(Stdio::piped()).stdout(log.try_clone()?).stderr(log);
        *self.child.lock().unwrap_or_else(PoisonError::into_inner) = Some(java.spawn()?);
        Ok(())
    }

    fn wait(&self) -> io::Result<()> {
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let gone = match self.child.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
                Some(child) => child.try_wait()?.is_some(),
                None => true,
            };
            if gone || began.elapsed() > Duration::from_secs(60) {
                return Err(io::Error::other(self.log()));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Stops the server at once. What it had is gone.
    pub fn stop(&self) {
        if let Some(mut child) = self.child.lock().unwrap_or_else(PoisonError::into_inner).take() {
            drop(child.stdin.take());
            // It may have ended by itself.
            drop(child.kill());
            drop(child.wait());
        }
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address of a database.
    pub fn dsn(&self, database: &str) -> String {
        format!("mongodb://127.0.0.1:{}/{database}", self.port)
    }

    /// What the server has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// The name of a database that no other test has.
    pub fn create_database(&self) -> String {
        format!("t{}_{}", std::process::id(), self.made.fetch_add(1, Ordering::Relaxed))
    }

    /// Adds documents to a collection.
    ///
    /// # Panics
    /// When the server refuses.
    pub fn insert(&self, database: &str, collection: &str, documents: &[MongoDocument]) {
        for part in documents.chunks(1000) {
            let items = part.iter().enumerate().fold(MongoDocument::new(), |items, (at, document)| {
                items.document(&at.to_string(), document)
            });
            let command = MongoDocument::new()
                .text("insert", collection)
                .array("documents", &items)
                .text("$db", database);
            if let Err(error) = self.command(&command) {
                panic!("{collection}: {error}");
            }
        }
    }

    /// Runs a command, and returns the answer as it came.
    ///
    /// # Errors
    /// When the server is away, or refuses.
    pub fn command(&self, command: &MongoDocument) -> io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        let body = command.finished();
        let mut message = Vec::new();
        for part in [21 + body.len() as i32, 1, 0, 2013, 0] {
            message.extend(part.to_le_bytes());
        }
        message.push(0);
        message.extend(body);
        stream.write_all(&message)?;
        let mut head = [0; 16];
        stream.read_exact(&mut head)?;
        let length = i32::from_le_bytes([head[0], head[1], head[2], head[3]]);
        let mut answer = vec![0; usize::try_from(length - 16).unwrap_or(0)];
        stream.read_exact(&mut answer)?;
        let has = |text: &[u8]| answer.windows(text.len()).any(|window| window == text);
        if has(b"errmsg") || has(b"writeErrors") {
            return Err(io::Error::other(String::from_utf8_lossy(&answer).into_owned()));
        }
        Ok(answer)
    }
}

impl Drop for MongoServer {
    fn drop(&mut self) {
        self.stop();
    }
}
