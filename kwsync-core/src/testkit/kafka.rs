//! An Apache Kafka of one broker in a temporary folder.

use std::fs;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// Kills the broker when the test process closes the pipe, however it ends.
const KEEPER: &str =
    r#""$@" & broker=$!; read -r _; kill -9 "$broker" 2>/dev/null; wait "$broker" 2>/dev/null"#;
/// The release that `dev/setup` fetches.
const RELEASE: &str = "3.9.1";

/// A broker, in KRaft mode. It listens in the clear, with user `me` and password `s3cret` (SASL PLAIN and SCRAM), and, where
/// there is `openssl` to make certificates, by TLS. Topics must be made before they are used.
#[derive(Debug)]
pub struct KafkaServer {
    keeper: Mutex<Option<Child>>,
    dir: tempfile::TempDir,
    jars: PathBuf,
    /// In the clear, with a password, by TLS, and the controller's.
    ports: [u16; 4],
    tls: bool,
}

impl KafkaServer {
    /// The broker that all tests of a process share, with topics of their own.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<KafkaServer>> = OnceLock::new();
        SHARED.get_or_init(Self::start).as_ref()
    }

    /// A broker for one test; `None`, and a line that says so, where Java or Kafka is not installed. The environment
    /// variable `KWSYNC_KAFKA` names the folder of its jars where it is not the usual one.
    ///
    /// # Panics
    /// When it is installed and does not start.
    pub fn start() -> Option<Self> {
        let cache = std::env::var_os("XDG_CACHE_HOME")
            .map(PathBuf::from)
            .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")));
        let usual = cache.unwrap_or_default().join("kwsync").join(format!("kafka-{RELEASE}"));
        let jars = std::env::var_os("KWSYNC_KAFKA").map_or(usual, PathBuf::from);
        let java = Command::new("java").arg("-version").stderr(Stdio::null()).status().is_ok();
        if !java || !jars.join(format!("kafka_2.13-{RELEASE}.jar")).exists() {
            println!(
                "SKIPPED: Apache Kafka is not installed (dev/setup fetches it; it needs Java and Maven)"
            );
            return None;
        }
        match Self::try_start(jars) {
            Ok(server) => Some(server),
            Err(error) => panic!("Kafka does not start: {error}"),
        }
    }

    fn try_start(jars: PathBuf) -> io::Result<Self> {
        let dir = tempfile::tempdir()?;
        let tls = super::postgres::make_certificates(dir.path())?;
        if tls {
            let chain = ["server.crt", "server.key"].map(|name| fs::read_to_string(dir.path().join(name)));
            let [certificate, key] = chain;
            fs::write(dir.path().join("server.pem"), key? + &certificate?)?;
        }
        let mut server = Self { keeper: Mutex::new(None), dir, jars, ports: [0; 4], tls };
        // Another process may take a port between the look and the start.
        for _ in 0..8 {
            server.ports = [free_port()?, free_port()?, free_port()?, free_port()?];
            server.configure()?;
            let data = server.path("data");
            if data.exists() {
                fs::remove_dir_all(&data)?;
            }
            let mut format = server.java("kafka.tools.StorageTool");
            format
                .args(["format", "-t", "a3dzeW5jLXRlc3RraXQtMQ", "-c"])
                .arg(server.path("server.properties"));
            for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512"] {
                format.args(["--add-scram", &format!("{mechanism}=[name=me,password=s3cret]")]);
            }
            super::postgres::run(&mut format)?;
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
        let dir = self.dir.path().display();
        let [clear, password, tls, controller] = self.ports;
        let mut listeners = format!("CLEAR://127.0.0.1:{clear},PASSWORD://127.0.0.1:{password}");
        let mut map = "CLEAR:PLAINTEXT,PASSWORD:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT".to_owned();
        let mut text = String::new();
        if self.tls {
            listeners.push_str(&format!(",TLS://127.0.0.1:{tls}"));
            map.push_str(",TLS:SSL");
            text.push_str(&format!(
                "ssl.keystore.type=PEM\nssl.keystore.location={dir}/server.pem\nssl.truststore.type=PEM\n\
                 ssl.truststore.location={dir}/ca.crt\n"
            ));
        }
        text.push_str(&format!(
            "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@127.0.0.1:{controller}\n\
             listeners={listeners},CONTROLLER://127.0.0.1:{controller}\nadvertised.listeners={listeners}\n\
             controller.listener.names=CONTROLLER\ninter.broker.listener.name=CLEAR\n\
             listener.security.protocol.map={map}\nsasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512\n\
             listener.name.password.plain.sasl.jaas.config=\
             org.apache.kafka.common.security.plain.PlainLoginModule required user_me=\"s3cret\";\n\
             listener.name.password.scram-sha-256.sasl.jaas.config=\
             org.apache.kafka.common.security.scram.ScramLoginModule required;\n\
             listener.name.password.scram-sha-512.sasl.jaas.config=\
             org.apache.kafka.common.security.scram.ScramLoginModule required;\n\
             log.dirs={dir}/data\nauto.create.topics.enable=false\noffsets.topic.replication.factor=1\n\
             offsets.topic.num.partitions=1\ntransaction.state.log.replication.factor=1\n\
             transaction.state.log.min.isr=1\ntransaction.state.log.num.partitions=1\n\
             group.initial.rebalance.delay.ms=0\ngroup.min.session.timeout.ms=1000\nlog.cleaner.enable=false\n\
             log.retention.check.interval.ms=1000\nlog.initial.task.delay.ms=100\n"
        ));
        fs::write(self.path("server.properties"), text)
    }

    fn java(&self, class: &str) -> Command {
        let mut java = Command::new("java");
        // Small and soon there: it lives for seconds.
        java.args(["-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp"])
            .arg(self.jars.join("*"))
            .arg(class);
        java
    }

    fn run(&self) -> io::Result<()> {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.path("log"))?;
        let java = self.java("kafka.Kafka");
        let mut keeper = Command::new("/bin/sh");
        keeper.args(["-c", KEEPER, "kwsync-kafka-keeper"]).arg(java.get_program()).args(java.get_args());
        keeper.arg(self.path("server.properties"));
        keeper.stdin(Stdio::piped()).stdout(log.try_clone()?).stderr(log);
        *self.keeper.lock().unwrap_or_else(PoisonError::into_inner) = Some(keeper.spawn()?);
        Ok(())
    }

    fn wait(&self) -> io::Result<()> {
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.ports[0])).is_err() {
            if began.elapsed() > Duration::from_secs(60) {
                return Err(io::Error::other(self.log()));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Kills the broker.
    pub fn stop(&self) {
        if let Some(mut keeper) = self.keeper.lock().unwrap_or_else(PoisonError::into_inner).take() {
            drop(keeper.stdin.take());
            // It ends by itself now.
            drop(keeper.wait());
        }
    }

    /// Kills the broker where it runs, and starts it again with all that it had, on the same ports.
    ///
    /// # Panics
    /// When it does not come back.
    pub fn restart(&self) {
        self.stop();
        if let Err(error) = self.run().and_then(|()| self.wait()) {
            panic!("Kafka does not come back: {error}");
        }
    }

    /// `HOST:PORT`, in the clear.
    pub fn brokers(&self) -> String {
        format!("127.0.0.1:{}", self.ports[0])
    }

    /// `HOST:PORT`, where it asks for user `me` and password `s3cret`.
    pub fn with_password(&self) -> String {
        format!("127.0.0.1:{}", self.ports[1])
    }

    /// `HOST:PORT` with TLS, and the certificate of the authority to trust.
    pub fn tls(&self) -> Option<(String, PathBuf)> {
        self.tls.then(|| (format!("127.0.0.1:{}", self.ports[2]), self.path("ca.crt")))
    }

    /// What the broker has written.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }
}

impl Drop for KafkaServer {
    fn drop(&mut self) {
        self.stop();
    }
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
