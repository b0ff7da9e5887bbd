//! An object storage in a temporary folder: s3s-fs.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Stops the server when the test process closes the pipe, however it ends, or by the signal that it writes there.
const KEEPER: &str =
    r#""$@" & server=$!; read -r how; kill "-${how:-9}" "$server" 2>/dev/null; wait "$server""#;

/// The id of the access key that the server knows.
pub const ACCESS_KEY: &str = "KWSYNCTEST";
/// Its secret.
pub const SECRET_KEY: &str = "s3cret+/key";

/// A server that checks signatures and keeps objects as files: a folder for each bucket.
#[derive(Debug)]
pub struct S3Server {
    keeper: Mutex<Option<Child>>,
    program: PathBuf,
    dir: tempfile::TempDir,
    port: u16,
}

/// Where dev/setup installs it.
fn program() -> Option<PathBuf> {
    if let Some(given) = std::env::var_os("KWSYNC_S3S_FS") {
        return Some(PathBuf::from(given)).filter(|path| path.is_file());
    }
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(Path::new(&std::env::var_os("HOME")?).join(".cache")))?;
    Some(cache.join("kwsync/s3s-fs/bin/s3s-fs")).filter(|path| path.is_file())
}

impl S3Server {
    /// Starts one with the bucket `bkt`; `None`, and a line that says so, where s3s-fs is not installed.
    ///
    /// # Panics
    /// When it is installed and does not start.
    pub fn start() -> Option<Self> {
        let Some(program) = program() else {
            println!("SKIPPED: s3s-fs is not installed (dev/setup installs it)");
            return None;
        };
        match Self::try_start(program) {
            Ok(server) => Some(server),
            Err(error) => panic!("s3s-fs does not start: {error}"),
        }
    }

    fn try_start(program: PathBuf) -> io::Result<Self> {
        let dir = tempfile::tempdir()?;
        fs::create_dir_all(dir.path().join("root/bkt"))?;
        let mut server = Self { keeper: Mutex::new(None), program, dir, port: 0 };
        // Another process may take the port between the look and the start.
        for _ in 0..8 {
            server.port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
            server.run()?;
            if server.wait().is_ok() {
                return Ok(server);
            }
            server.stop();
        }
        Err(io::Error::other("no port stays free"))
    }

    fn run(&self) -> io::Result<()> {
        let mut keeper = Command::new("/bin/sh");
        keeper.args(["-c", KEEPER, "kwsync-s3-keeper"]).arg(&self.program);
        keeper.args(["--host", "127.0.0.1", "--port", &self.port.to_string()]);
        keeper.args(["--access-key", ACCESS_KEY, "--secret-key", SECRET_KEY]).arg(self.root());
        let log = fs::File::options().create(true).append(true).open(self.dir.path().join("log"))?;
        keeper.env("RUST_LOG", "warn").env("NO_COLOR", "1");
        keeper.stdin(Stdio::piped()).stdout(log.try_clone()?).stderr(log);
        *self.keeper.lock().unwrap_or_else(PoisonError::into_inner) = Some(keeper.spawn()?);
        Ok(())
    }

    fn wait(&self) -> io::Result<()> {
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            if began.elapsed() > Duration::from_secs(10) {
                return Err(io::Error::other(self.log()));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Kills the server at once, whatever it does. An upload that it was completing may be lost: s3s-fs forgets the upload before
    /// it makes the object, which a service does at once.
    pub fn stop(&self) {
        self.end("");
    }

    fn end(&self, signal: &str) {
        if let Some(mut keeper) = self.keeper.lock().unwrap_or_else(PoisonError::into_inner).take() {
            if let Some(mut pipe) = keeper.stdin.take() {
                // Closing it is enough for a keeper that cannot read any more.
                drop(pipe.write_all(signal.as_bytes()));
            }
            // It ends by itself now.
            drop(keeper.wait());
        }
    }

    /// Kills the server and starts it again on the same port, with all that was complete.
    ///
    /// # Panics
    /// When it does not come back.
    pub fn restart(&self) {
        self.stop();
        self.come_back();
    }

    /// Like [`restart`](Self::restart), but what is being answered is answered before.
    ///
    /// # Panics
    /// When it does not come back.
    pub fn restart_in_order(&self) {
        self.end("INT\n");
        self.come_back();
    }

    fn come_back(&self) {
        if let Err(error) = self.run().and_then(|()| self.wait()) {
            panic!("s3s-fs does not come back: {error}");
        }
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `http://127.0.0.1:PORT`
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// An address of `object` in the bucket `bkt`, with the access key; more parameters may follow.
    pub fn address(&self, object: &str) -> String {
        format!("s3://bkt/{object}?endpoint={}&id={ACCESS_KEY}&key={SECRET_KEY}", self.endpoint())
    }

    /// The folder of the buckets.
    pub fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    /// What the server has said.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Puts an object into the bucket `bkt`, by its file.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn put(&self, key: &str, bytes: impl AsRef<[u8]>) {
        let path = self.root().join("bkt").join(key);
        let made = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&path, bytes));
        if let Err(error) = made {
            panic!("cannot put {key}: {error}");
        }
    }

    /// The keys in the bucket `bkt` with their bytes, in order; without what the server or this program keeps for itself.
    ///
    /// # Panics
    /// When a file cannot be read.
    pub fn objects(&self) -> Vec<(String, Vec<u8>)> {
        let root = self.root().join("bkt");
        let mut found = Vec::new();
        for key in self.keys() {
            if !key.split('/').any(|name| name.starts_with('.')) {
                match fs::read(root.join(&key)) {
                    Ok(bytes) => found.push((key, bytes)),
                    Err(error) => panic!("cannot read {key}: {error}"),
                }
            }
        }
        found
    }

    /// All keys in the bucket `bkt`, in order.
    pub fn keys(&self) -> Vec<String> {
        let root = self.root().join("bkt");
        let (mut folders, mut keys) = (vec![root.clone()], Vec::new());
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.is_dir() {
                    folders.push(path);
                } else if let Ok(key) = path.strip_prefix(&root) {
                    keys.push(key.display().to_string());
                }
            }
        }
        keys.sort();
        keys
    }

    /// Names of the files in which the server keeps parts of uploads that are neither complete nor given up.
    pub fn unfinished(&self) -> Vec<String> {
        let files = fs::read_dir(self.root()).into_iter().flatten().flatten();
        let names = files.map(|entry| entry.file_name().to_string_lossy().into_owned());
        let mut names: Vec<_> = names.filter(|name| name.starts_with(".upload_id-")).collect();
        names.sort();
        names
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A way to a server on which bytes come slowly, in both directions. It ends with the process.
#[derive(Debug)]
pub struct SlowWay {
    port: u16,
    rate: Arc<AtomicU64>,
}

impl SlowWay {
    /// Listens, and passes on to `port` at full speed.
    ///
    /// # Panics
    /// When no port is to be had.
    pub fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0");
        let listener = listener.unwrap_or_else(|error| panic!("no port is to be had: {error}"));
        let own = listener.local_addr().map_or(0, |address| address.port());
        let rate = Arc::new(AtomicU64::new(u64::MAX));
        let shared = Arc::clone(&rate);
        std::thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let Ok(far) = TcpStream::connect(("127.0.0.1", port)) else { continue };
                let (Ok(near_too), Ok(far_too)) = (near.try_clone(), far.try_clone()) else { continue };
                let (up, down) = (Arc::clone(&shared), Arc::clone(&shared));
                std::thread::spawn(move || pass_on(near, far, &up));
                std::thread::spawn(move || pass_on(far_too, near_too, &down));
            }
        });
        Self { port: own, rate }
    }

    /// Lets so many bytes a second through from now on.
    pub fn set_rate(&self, bytes: u64) {
        self.rate.store(bytes, Ordering::Relaxed);
    }

    /// `http://127.0.0.1:PORT`
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

/// Twenty times a second what the rate allows.
fn pass_on(mut from: TcpStream, mut to: TcpStream, rate: &AtomicU64) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let most = (rate.load(Ordering::Relaxed) / 20).clamp(1, buffer.len() as u64) as usize;
        match from.read(&mut buffer[..most]) {
            Ok(0) | Err(_) => break,
            Ok(read) => {
                if to.write_all(&buffer[..read]).is_err() {
                    break;
                }
                if most < buffer.len() {
                    std::thread::sleep(Duration::from_millis(50));
                }
            }
        }
    }
    // The other direction ends by itself then.
    drop(to.shutdown(Shutdown::Both));
    drop(from.shutdown(Shutdown::Both));
}
