//! A Mosquitto in a temporary folder.

use std::fs;
use std::io::{self, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Stops the broker when the test process closes the pipe, however it ends.
const KEEPER: &str = r#""$@" & broker=$!; read -r _; kill "$broker" 2>/dev/null; wait "$broker""#;

/// A broker with a user `me`, password `s3cret`, who may see all topics but those below `secret/`. Sessions are kept over
/// restarts. It listens in the clear and, where there is `openssl` to make certificates, by TLS.
#[derive(Debug)]
pub struct Mosquitto {
    keeper: Mutex<Option<Child>>,
    dir: tempfile::TempDir,
    port: u16,
    tls_port: Option<u16>,
    certified_port: Option<u16>,
}

impl Mosquitto {
    /// Starts one; `None`, and a line that says so, where Mosquitto is not installed.
    ///
    /// # Panics
    /// When it is installed and does not start.
    pub fn start() -> Option<Self> {
        let installed = ["mosquitto", "mosquitto_pub", "mosquitto_passwd"].iter().all(|program| {
            Command::new(program).arg("-h").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
        });
        if !installed {
            println!("SKIPPED: mosquitto and mosquitto-clients are not installed (dev/setup installs them)");
            return None;
        }
        match Self::try_start() {
            Ok(broker) => Some(broker),
            Err(error) => panic!("Mosquitto does not start: {error}"),
        }
    }

    fn try_start() -> io::Result<Self> {
        let dir = tempfile::tempdir()?;
        let tls = super::postgres::make_certificates(dir.path())?;
        let made = Command::new("mosquitto_passwd")
            .args(["-b", "-c", "users", "me", "s3cret"])
            .current_dir(&dir)
            .output()?;
        if !made.status.success() {
            return Err(io::Error::other(String::from_utf8_lossy(&made.stderr).into_owned()));
        }
        fs::write(dir.path().join("rights"), "user me\ntopic readwrite #\ntopic deny secret/#\n")?;
        let mut broker =
            Self { keeper: Mutex::new(None), dir, port: 0, tls_port: None, certified_port: None };
        // Another process may take a port between the look and the start.
        for _ in 0..8 {
            broker.port = free_port()?;
            broker.tls_port = if tls { Some(free_port()?) } else { None };
            broker.certified_port = if tls { Some(free_port()?) } else { None };
            broker.configure()?;
            broker.run()?;
            if broker.wait().is_ok() {
                return Ok(broker);
            }
            broker.stop();
        }
        Err(io::Error::other("no port stays free"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn configure(&self) -> io::Result<()> {
        let dir = self.dir.path().display();
        let mut text = format!(
            "user root\npersistence true\npersistence_location {dir}/\nautosave_interval 1\nautosave_on_changes true\n\
             max_queued_messages 0\nallow_anonymous false\npassword_file {dir}/users\nacl_file {dir}/rights\n\
             log_dest file {dir}/log\nlog_type all\nlistener {} 127.0.0.1\n",
            self.port
        );
        if let Some(port) = self.tls_port {
            text.push_str(&format!(
                "listener {port} 127.0.0.1\ncafile {dir}/ca.crt\ncertfile {dir}/server.crt\nkeyfile {dir}/server.key\n"
            ));
        }
        if let Some(port) = self.certified_port {
            text.push_str(&format!(
                "listener {port} 127.0.0.1\ncafile {dir}/ca.crt\ncertfile {dir}/server.crt\nkeyfile {dir}/server.key\n\
                 require_certificate true\n"
            ));
        }
        fs::write(self.path("mosquitto.conf"), text)
    }

    fn run(&self) -> io::Result<()> {
        let mut keeper = Command::new("/bin/sh");
        keeper
            .args(["-c", KEEPER, "kwsync-mosquitto-keeper", "mosquitto", "-c"])
            .arg(self.path("mosquitto.conf"));
        keeper.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
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

    fn stop(&self) {
        if let Some(mut keeper) = self.keeper.lock().unwrap_or_else(PoisonError::into_inner).take() {
            drop(keeper.stdin.take());
            // It ends by itself now.
            drop(keeper.wait());
        }
    }

    /// Stops the broker and starts it again on the same port, with the sessions that it kept.
    ///
    /// # Panics
    /// When it does not come back.
    pub fn restart(&self) {
        self.stop();
        if let Err(error) = self.run().and_then(|()| self.wait()) {
            panic!("Mosquitto does not come back: {error}");
        }
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The port with TLS, and the certificate of the authority to trust.
    pub fn tls(&self) -> Option<(u16, PathBuf)> {
        Some((self.tls_port?, self.path("ca.crt")))
    }

    /// The port with TLS that asks for a certificate, and the files of one: the authority to trust, certificate, key.
    pub fn certified(&self) -> Option<(u16, [PathBuf; 3])> {
        Some((self.certified_port?, ["ca.crt", "client.crt", "client.key"].map(|name| self.path(name))))
    }

    /// What the broker has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// Publishes each line of `lines` as a message, in order.
    ///
    /// # Panics
    /// When the broker refuses.
    pub fn publish(&self, topic: &str, qos: u8, lines: &str) {
        let mut child = Command::new("mosquitto_pub")
            .args([
                "-h",
                "127.0.0.1",
                "-p",
                &self.port.to_string(),
                "-u",
                "me",
                "-P",
                "s3cret",
                "-V",
                "5",
                "-t",
                topic,
            ])
            .args(["-q", &qos.to_string(), "-l"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start mosquitto_pub: {error}"));
        let written = child.stdin.take().map(|mut pipe| pipe.write_all(lines.as_bytes()));
        let ended = child.wait();
        assert!(
            matches!(written, Some(Ok(()))) && ended.as_ref().is_ok_and(|status| status.success()),
            "mosquitto_pub: {ended:?}"
        );
    }

    /// The folder of the broker, for tests that look into it.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        self.stop();
    }
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
