//! An Apache IoTDB of one config node and one data node in a temporary folder.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// Kills the node when the test process closes the pipe, however it ends.
const KEEPER: &str = r#""$@" & node=$!; read -r _; kill -9 "$node" 2>/dev/null; wait "$node" 2>/dev/null"#;
/// The release that `dev/setup` fetches.
const RELEASE: &str = "2.0.1-beta";
/// `root:root`, as HTTP wants it.
const BASIC: &str = "cm9vdDpyb290";
/// What the data node reaches into.
const OPENED: [&str; 6] =
    ["java.util.concurrent", "java.lang", "java.util", "java.nio", "java.io", "java.net"];

/// A server with user and password `root`, times in milliseconds, and the REST service, by which a test looks without us.
#[derive(Debug)]
pub struct IotdbServer {
    nodes: [Mutex<Option<Child>>; 2],
    dir: tempfile::TempDir,
    jars: PathBuf,
    /// RPC, REST, and those among the nodes.
    ports: [u16; 8],
}

impl IotdbServer {
    /// The server that all tests of a process share, with databases of their own.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<IotdbServer>> = OnceLock::new();
        SHARED.get_or_init(Self::start).as_ref()
    }

    /// A server for one test; `None`, and a line that says so, where Java or IoTDB is not installed. The environment
    /// variable `KWSYNC_IOTDB` names the folder of its jars where it is not the usual one.
    ///
    /// # Panics
    /// When it is installed and does not start.
    pub fn start() -> Option<Self> {
        let cache = std::env::var_os("XDG_CACHE_HOME")
            .map(PathBuf::from)
            .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")));
        let usual = cache.unwrap_or_default().join("kwsync").join(format!("iotdb-{RELEASE}"));
        let jars = std::env::var_os("KWSYNC_IOTDB").map_or(usual, PathBuf::from);
        let java = Command::new("java").arg("-version").stderr(Stdio::null()).status().is_ok();
        if !java || !jars.join(format!("iotdb-server-{RELEASE}.jar")).exists() {
            println!(
                "SKIPPED: Apache IoTDB is not installed (dev/setup fetches it; it needs Java and Maven)"
            );
            return None;
        }
        match Self::try_start(jars) {
            Ok(server) => Some(server),
            Err(error) => panic!("IoTDB does not start: {error}"),
        }
    }

    fn try_start(jars: PathBuf) -> io::Result<Self> {
        let dir = tempfile::tempdir()?;
        let mut server = Self { nodes: [Mutex::new(None), Mutex::new(None)], dir, jars, ports: [0; 8] };
        // Another process may take a port between the look and the start.
        for _ in 0..4 {
            for port in &mut server.ports {
                *port = free_port()?;
            }
            server.configure()?;
            server.run_config_node()?;
            if server.wait(2).and_then(|()| server.run_data_node()).and_then(|()| server.ready()).is_ok() {
                return Ok(server);
            }
            server.stop();
            for folder in ["data", "ext"] {
                let folder = server.path(folder);
                if folder.exists() {
                    fs::remove_dir_all(folder)?;
                }
            }
        }
        Err(io::Error::other(server.log()))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn configure(&self) -> io::Result<()> {
        let [rpc, rest, config, config_consensus, internal, exchange, schema, data] = self.ports;
        fs::create_dir_all(self.path("conf"))?;
        fs::write(self.path("conf/iotdb-system.properties.template"), "")?;
        fs::write(
            self.path("conf/iotdb-system.properties"),
            format!(
                "cn_internal_address=127.0.0.1\ncn_internal_port={config}\ncn_consensus_port={config_consensus}\n\
                 cn_seed_config_node=127.0.0.1:{config}\ndn_seed_config_node=127.0.0.1:{config}\n\
                 dn_rpc_address=127.0.0.1\ndn_rpc_port={rpc}\ndn_internal_address=127.0.0.1\n\
                 dn_internal_port={internal}\ndn_mpp_data_exchange_port={exchange}\n\
                 dn_schema_region_consensus_port={schema}\ndn_data_region_consensus_port={data}\n\
                 config_node_consensus_protocol_class=org.apache.iotdb.consensus.ratis.RatisConsensus\n\
                 schema_region_consensus_protocol_class=org.apache.iotdb.consensus.simple.SimpleConsensus\n\
                 data_region_consensus_protocol_class=org.apache.iotdb.consensus.simple.SimpleConsensus\n\
                 schema_replication_factor=1\ndata_replication_factor=1\n\
                 schema_region_per_data_node=1\ndata_region_per_data_node=2\n\
                 disk_space_warning_threshold=0.001\nwal_mode=SYNC\n\
                 enable_rest_service=true\nrest_service_port={rest}\n"
            ),
        )
    }

    fn run(&self, node: usize, options: &[String], class: &str) -> io::Result<()> {
        let log =
            fs::OpenOptions::new().create(true).append(true).open(self.path(["config.log", "log"][node]))?;
        let top = self.dir.path().display();
        let mut keeper = Command::new("/bin/sh");
        keeper.args(["-c", KEEPER, "kwsync-iotdb-keeper", "java"]).args(options);
        // Small and soon there: it lives for a minute.
        keeper.args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp"]).arg(self.jars.join("*"));
        for home in ["CONFIGNODE_HOME", "IOTDB_HOME", "CONFIGNODE_DATA_HOME", "IOTDB_DATA_HOME"] {
            keeper.arg(format!("-D{home}={top}"));
        }
        keeper.args([format!("-DCONFIGNODE_CONF={top}/conf"), format!("-DIOTDB_CONF={top}/conf")]);
        keeper.args([class, "-s"]).current_dir(self.dir.path());
        keeper.stdin(Stdio::piped()).stdout(log.try_clone()?).stderr(log);
        *self.nodes[node].lock().unwrap_or_else(PoisonError::into_inner) = Some(keeper.spawn()?);
        Ok(())
    }

    fn run_config_node(&self) -> io::Result<()> {
        self.run(0, &["-Xmx256m".to_owned()], "org.apache.iotdb.confignode.service.ConfigNode")
    }

    fn run_data_node(&self) -> io::Result<()> {
        let mut options: Vec<String> =
            OPENED.iter().map(|package| format!("--add-opens=java.base/{package}=ALL-UNNAMED")).collect();
        options.extend(["-Xmx384m".to_owned(), "-XX:MaxDirectMemorySize=256m".to_owned()]);
        self.run(1, &options, "org.apache.iotdb.db.service.DataNode")
    }

    /// Waits until somebody listens.
    fn wait(&self, port: usize) -> io::Result<()> {
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.ports[port])).is_err() {
            if began.elapsed() > Duration::from_secs(180) {
                return Err(io::Error::other(self.log()));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    /// Waits until statements are answered: the port is open before that.
    fn ready(&self) -> io::Result<()> {
        self.wait(0)?;
        self.wait(1)?;
        let began = Instant::now();
        loop {
            match self.request("query", "SHOW DATABASES") {
                Ok(answer) if answer.get("column_names").is_some() => return Ok(()),
                _ if began.elapsed() > Duration::from_secs(120) => return Err(io::Error::other(self.log())),
                _ => std::thread::sleep(Duration::from_millis(200)),
            }
        }
    }

    fn kill(&self, node: usize) {
        if let Some(mut keeper) = self.nodes[node].lock().unwrap_or_else(PoisonError::into_inner).take() {
            drop(keeper.stdin.take());
            // It ends by itself now.
            drop(keeper.wait());
        }
    }

    /// Kills the data node, with SIGKILL.
    pub fn stop_data_node(&self) {
        self.kill(1);
    }

    /// Kills the data node where it runs, and starts it again with all that it had, on the same ports.
    ///
    /// # Panics
    /// When it does not come back.
    pub fn restart(&self) {
        self.kill(1);
        if let Err(error) = self.run_data_node().and_then(|()| self.ready()) {
            panic!("IoTDB does not come back: {error}");
        }
    }

    fn stop(&self) {
        self.kill(1);
        self.kill(0);
    }

    /// `HOST:PORT` of the RPC service.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.ports[0])
    }

    /// The port of the RPC service.
    pub fn port(&self) -> u16 {
        self.ports[0]
    }

    /// The address of a database (or of none: `""`), with user and password.
    pub fn dsn(&self, database: &str) -> String {
        format!("iotdb://root:root@{}/{database}", self.address())
    }

    /// The answer of a query, by the REST service: `timestamps`, and `values` column by column.
    ///
    /// # Panics
    /// When the server refuses.
    pub fn query(&self, sql: &str) -> serde_json::Value {
        match self.settled("query", sql) {
            Ok(answer) if answer.get("values").is_some() => answer,
            other => panic!("{sql}: {other:?}"),
        }
    }

    /// The answer once the nodes see each other: on a busy machine the config node may lose sight of the data node.
    fn settled(&self, what: &str, sql: &str) -> io::Result<serde_json::Value> {
        let began = Instant::now();
        loop {
            let answer = self.request(what, sql)?;
            let busy = answer["code"] == 305 || answer["code"] == 301;
            if !busy || began.elapsed() > Duration::from_secs(120) {
                return Ok(answer);
            }
            std::thread::sleep(Duration::from_millis(300));
        }
    }

    /// The values that series below `path` have in all.
    ///
    /// # Panics
    /// When the server refuses.
    pub fn count(&self, path: &str) -> u64 {
        let answer = self.query(&format!("SELECT count(*) FROM {path}"));
        let columns = answer["values"].as_array().cloned().unwrap_or_default();
        columns.iter().filter_map(|column| column.get(0)?.as_u64()).sum()
    }

    /// Runs a statement without a result, by the REST service.
    ///
    /// # Panics
    /// When the server refuses.
    pub fn execute(&self, sql: &str) {
        match self.settled("nonQuery", sql) {
            Ok(answer) if answer["code"] == 200 => {}
            other => panic!("{sql}: {other:?}"),
        }
    }

    fn request(&self, what: &str, sql: &str) -> io::Result<serde_json::Value> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.ports[1]))?;
        let body = serde_json::json!({ "sql": sql }).to_string();
        let head = format!(
            "POST /rest/v2/{what} HTTP/1.0\r\nHost: localhost\r\nAuthorization: Basic {BASIC}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes())?;
        stream.write_all(body.as_bytes())?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let text = String::from_utf8_lossy(&answer).into_owned();
        let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        serde_json::from_str(body).map_err(|_| io::Error::other(text))
    }

    /// What the data node has written.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }
}

impl Drop for IotdbServer {
    fn drop(&mut self) {
        self.stop();
    }
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
