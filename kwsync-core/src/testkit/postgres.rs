//! A throw-away PostgreSQL.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

const USER: &str = "postgres";
const PASSWORD: &str = "s3cret/:@?";
/// The password in an address.
const PASSWORD_ENCODED: &str = "s3cret%2F%3A%40%3F";

/// Runs the server beside a shell that waits for its standard input, a pipe from the test process. The pipe closes
/// when that process ends, however it ends: then the server is stopped and its folder removed. A word on the pipe
/// stops the server only. (A signal on the parent's death would not do: it comes at the end of the *thread*.)
const KEEPER: &str = r#"
top=$1; shift
"$@" </dev/null >>"$top/log" 2>&1 &
read -r how
case "$how" in immediate) kill -QUIT $!;; *) kill -INT $!;; esac
wait $!
[ -n "$how" ] || rm -rf "$top"
"#;

/// A PostgreSQL server of our own in a temporary folder, on a free port of 127.0.0.1: `wal_level=logical`, fsync off
/// (what was committed survives a crash of the server, though not of the machine),
/// TLS with a certificate of its own CA, trust on the Unix socket, SCRAM on TCP. It stops, and its folder goes, when
/// it is dropped or the process ends, even by SIGKILL.
///
/// # Examples
/// ```no_run
/// # use kwsync_core::testkit::PgServer;
/// let Some(server) = PgServer::shared() else { return }; // has said SKIPPED
/// let db = server.create_database();
/// assert_eq!(server.psql(&db, "SELECT 1 + 1"), "2\n");
/// ```
#[derive(Debug)]
pub struct PgServer {
    bin: PathBuf,
    top: PathBuf,
    port: u16,
    tls: bool,
    /// What stands before the server's command line, to drop root's rights.
    as_user: Vec<OsString>,
    keeper: Mutex<Option<Child>>,
    databases: AtomicU32,
}

impl PgServer {
    /// The server that all tests of this process share; give each test a database of its own.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<PgServer>> = OnceLock::new();
        SHARED.get_or_init(Self::start).as_ref()
    }

    /// A server for one test. `None`, with a loud `SKIPPED: ...` on standard error, where PostgreSQL is not installed.
    /// The environment variable `KWSYNC_POSTGRES_BIN` names the folder of its programs where it is not the usual one.
    ///
    /// # Panics
    /// When PostgreSQL is installed but does not start.
    pub fn start() -> Option<Self> {
        let Some(bin) = find_programs() else {
            let mut stderr = io::stderr();
            writeln!(stderr, "SKIPPED: no PostgreSQL here (no initdb in /usr/lib/postgresql/*/bin, in $PATH, or in $KWSYNC_POSTGRES_BIN); install it with: apt-get install postgresql").ok();
            return None;
        };
        Some(Self::start_from(bin).unwrap_or_else(|error| panic!("cannot start PostgreSQL: {error}")))
    }

    fn start_from(bin: PathBuf) -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("kwsync-pg-").tempdir()?;
        let top = folder.path().to_owned();
        let owner = owner_when_root(&top)?;
        let as_user = match owner {
            Some((uid, gid)) => vec![
                "setpriv".into(),
                format!("--reuid={uid}").into(),
                format!("--regid={gid}").into(),
                "--clear-groups".into(),
                "--".into(),
            ],
            None => Vec::new(),
        };
        let give = |path: &Path, mode: u32| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
            owner.map_or(Ok(()), |(uid, gid)| chown(path, Some(uid), Some(gid)))
        };
        give(&top, 0o755)?;
        let password = top.join("password");
        fs::write(&password, PASSWORD)?;
        give(&password, 0o600)?;
        let tls = make_certificates(&top)?;
        if tls {
            give(&top.join("server.key"), 0o600)?;
        }

        let data = top.join("data");
        let mut server = Self {
            bin,
            top: top.clone(),
            port: 0,
            tls,
            as_user,
            keeper: Mutex::new(None),
            databases: AtomicU32::new(0),
        };
        let mut initdb = server.command("initdb");
        initdb.arg("-D").arg(&data).args(["-U", USER, "-A", "scram-sha-256", "--auth-local=trust"]);
        initdb.args(["--no-sync", "-E", "UTF8", "--locale=C", "--pwfile"]).arg(&password);
        run(&mut initdb)?;
        let settings = format!(
            "listen_addresses = '127.0.0.1'\nunix_socket_directories = '{top}'\nmax_connections = 100\n\
             wal_level = logical\nfsync = off\nfull_page_writes = off\n\
             max_prepared_transactions = 10\ntimezone = 'UTC'\nlc_messages = 'C'\nssl = {tls}\n\
             ssl_cert_file = '{top}/server.crt'\nssl_key_file = '{top}/server.key'\n",
            top = top.display(),
        );
        fs::OpenOptions::new()
            .append(true)
            .open(data.join("postgresql.conf"))?
            .write_all(settings.as_bytes())?;

        // From here on the keeper removes the folder.
        drop(folder.keep());
        // Another process may take the port between the look and the start.
        for _ in 0..8 {
            server.port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
            server.run_server()?;
            match server.wait_until_ready() {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => server.stop("fast"),
                Err(error) => return Err(error),
                Ok(()) => return Ok(server),
            }
        }
        Err(io::Error::other("no port stays free"))
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The folder of the Unix socket.
    pub fn socket_dir(&self) -> &Path {
        &self.top
    }

    /// The name of the superuser.
    pub fn superuser(&self) -> &str {
        USER
    }

    /// The superuser's password, in which some characters need care in an address.
    pub fn password(&self) -> &str {
        PASSWORD
    }

    /// The certificate of the CA that signed the server's, which is for `localhost` and 127.0.0.1. `None` where there
    /// is no `openssl` to make one: the server then has no TLS.
    pub fn ca_cert_path(&self) -> Option<PathBuf> {
        self.tls.then(|| self.top.join("ca.crt"))
    }

    /// What the server has logged.
    pub fn log(&self) -> String {
        fs::read(self.top.join("log"))
            .map_or_else(|_| String::new(), |log| String::from_utf8_lossy(&log).into_owned())
    }

    /// The address of a database, by TCP.
    pub fn dsn(&self, database: &str) -> String {
        format!("postgres://{USER}:{PASSWORD_ENCODED}@127.0.0.1:{}/{database}", self.port)
    }

    /// Creates an empty database and returns its name.
    ///
    /// # Panics
    /// When the server refuses.
    pub fn create_database(&self) -> String {
        let name = format!("t{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.psql("postgres", &format!("CREATE DATABASE {name}"));
        name
    }

    /// Runs SQL as the superuser by psql and returns what it prints: unaligned rows without headings, `|` between the
    /// columns.
    ///
    /// # Panics
    /// When a statement fails.
    pub fn psql(&self, database: &str, sql: &str) -> String {
        match self.try_psql(database, sql, b"") {
            Ok(out) => String::from_utf8_lossy(&out).into_owned(),
            Err(error) => panic!("{sql}: {error}"),
        }
    }

    /// Like [`psql`](Self::psql), with data for `COPY ... FROM STDIN`, and bytes as they come from
    /// `COPY ... TO STDOUT`.
    ///
    /// # Errors
    /// What psql says.
    ///
    /// # Panics
    /// When psql cannot be started.
    pub fn try_psql(&self, database: &str, sql: &str, input: &[u8]) -> Result<Vec<u8>, String> {
        let mut psql = Command::new(self.bin.join("psql"));
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", USER, "-d", database, "-c", sql]);
        psql.arg("-h").arg(&self.top).arg("-p").arg(self.port.to_string());
        psql.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = psql.spawn().unwrap_or_else(|error| panic!("cannot start psql: {error}"));
        let mut stdin = child.stdin.take();
        std::thread::scope(|scope| {
            // On an error psql stops reading: what it says then matters more than the broken pipe.
            scope.spawn(move || stdin.as_mut().map(|pipe| pipe.write_all(input)));
            let out =
                child.wait_with_output().unwrap_or_else(|error| panic!("cannot wait for psql: {error}"));
            if out.status.success() {
                Ok(out.stdout)
            } else {
                Err(String::from_utf8_lossy(&out.stderr).into_owned())
            }
        })
    }

    /// Stops the server as a crash would: connections break, nothing is finished. Returns when it is down.
    pub fn stop_immediately(&self) {
        self.stop("immediate");
    }

    /// Starts the server again on the same port, after a fast stop where it still runs. Returns when it takes
    /// connections.
    ///
    /// # Panics
    /// When it does not start.
    pub fn restart(&self) {
        self.stop("fast");
        if let Err(error) = self.run_server().and_then(|()| self.wait_until_ready()) {
            panic!("cannot start PostgreSQL again: {error}");
        }
    }

    fn command(&self, program: &str) -> Command {
        let program = self.bin.join(program);
        let mut command = match self.as_user.split_first() {
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(program);
                command
            }
            None => Command::new(program),
        };
        // Nobody's own settings, and a folder that the other user may enter.
        for name in ["PGHOST", "PGPORT", "PGUSER", "PGDATA", "PGDATABASE", "PGPASSWORD", "PGOPTIONS"] {
            command.env_remove(name);
        }
        command.current_dir(&self.top);
        command
    }

    fn run_server(&self) -> io::Result<()> {
        let mut keeper = Command::new("/bin/sh");
        keeper.args(["-c", KEEPER, "kwsync-postgres-keeper"]).arg(&self.top).args(&self.as_user);
        keeper.arg(self.bin.join("postgres")).arg("-D").arg(self.top.join("data"));
        keeper.args(["-p", &self.port.to_string()]);
        keeper.current_dir("/").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        // Ctrl-C in a terminal is for the test process alone; the keeper follows by itself.
        keeper.process_group(0);
        *self.keeper.lock().unwrap_or_else(PoisonError::into_inner) = Some(keeper.spawn()?);
        Ok(())
    }

    fn stop(&self, how: &str) {
        if let Some(mut keeper) = self.keeper.lock().unwrap_or_else(PoisonError::into_inner).take() {
            if let Some(mut pipe) = keeper.stdin.take() {
                writeln!(pipe, "{how}").ok();
            }
            keeper.wait().ok();
        }
    }

    fn wait_until_ready(&self) -> io::Result<()> {
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut isready = self.command("pg_isready");
        isready.arg("-h").arg(&self.top).arg("-p").arg(self.port.to_string());
        isready.stdout(Stdio::null()).stderr(Stdio::null());
        while Instant::now() < deadline {
            if isready.status()?.success() {
                return Ok(());
            }
            if self.log().contains("could not create any TCP/IP sockets") {
                return Err(io::ErrorKind::AddrInUse.into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err(io::Error::other(format!("not ready within a minute; its log:\n{}", self.log())))
    }
}

impl Drop for PgServer {
    fn drop(&mut self) {
        let keeper = self.keeper.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        match keeper {
            Some(mut keeper) => {
                drop(keeper.stdin.take());
                keeper.wait().ok();
            }
            // It was stopped, and not started again.
            None => drop(fs::remove_dir_all(&self.top)),
        }
    }
}

fn find_programs() -> Option<PathBuf> {
    let complete = |folder: &PathBuf| ["initdb", "postgres", "psql"].iter().all(|p| folder.join(p).is_file());
    if let Some(folder) = std::env::var_os("KWSYNC_POSTGRES_BIN") {
        return Some(PathBuf::from(folder)).filter(complete);
    }
    let version = |folder: &PathBuf| {
        folder.file_name()?.to_str()?.parse::<u32>().ok().map(|number| (number, folder.join("bin")))
    };
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions.filter_map(|entry| version(&entry.path())).filter(|(_, bin)| complete(bin)).max();
    newest.map(|(_, bin)| bin).or_else(|| std::env::split_paths(&std::env::var_os("PATH")?).find(complete))
}

/// PostgreSQL refuses root: the user to run it as, when our own files are root's.
pub(super) fn owner_when_root(own: &Path) -> io::Result<Option<(u32, u32)>> {
    use std::os::unix::fs::MetadataExt;
    if fs::metadata(own)?.uid() != 0 {
        return Ok(None);
    }
    let users = fs::read_to_string("/etc/passwd")?;
    let found = ["postgres", "mysql", "nobody"].iter().find_map(|name| {
        let mut parts =
            users.lines().map(|line| line.split(':')).find(|parts| parts.clone().next() == Some(name))?;
        Some((parts.nth(2)?.parse().ok()?, parts.next()?.parse().ok()?))
    });
    found
        .map(Some)
        .ok_or_else(|| io::Error::other("run as root, and no user postgres, mysql or nobody to run it as"))
}

/// A CA and a server's certificate signed by it, for `localhost` and 127.0.0.1. `false` where there is no openssl.
pub(super) fn make_certificates(top: &Path) -> io::Result<bool> {
    const CONFIG: &str = "[req]\ndistinguished_name=dn\nprompt=no\nx509_extensions=ca\n[dn]\nCN=kwsync test CA\n\
        [ca]\nbasicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n\
        [server]\nbasicConstraints=CA:FALSE\nsubjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n\
        [client]\nbasicConstraints=CA:FALSE\nextendedKeyUsage=clientAuth\n";
    fs::write(top.join("tls.cnf"), CONFIG)?;
    let openssl = |arguments: &str| {
        let mut command = Command::new("openssl");
        command.args(arguments.split(' ')).current_dir(top);
        run(&mut command)
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -config tls.cnf";
    match openssl(&format!("req -x509 {key} -days 3650 -keyout ca.key -out ca.crt")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        other => other?,
    }
    openssl(&format!("req {key} -subj /CN=localhost -keyout server.key -out server.csr"))?;
    openssl(
        "x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 3650 -extfile tls.cnf \
         -extensions server -out server.crt",
    )?;
    openssl(&format!("req {key} -subj /CN=me -keyout client.key -out client.csr"))?;
    openssl(
        "x509 -req -in client.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 3650 -extfile tls.cnf \
         -extensions client -out client.crt",
    )?;
    Ok(true)
}

pub(super) fn run(command: &mut Command) -> io::Result<()> {
    let out = command.stdin(Stdio::null()).output()?;
    if out.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    Err(io::Error::other(format!("{}: {said}", command.get_program().to_string_lossy())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_crashes_restarts_and_leaves_nothing() {
        let Some(server) = PgServer::start() else { return };
        let db = server.create_database();
        server.psql(&db, "CREATE TABLE t (a int); INSERT INTO t VALUES (1)");
        server.stop_immediately();
        assert!(server.try_psql(&db, "SELECT 1", b"").is_err());
        server.restart();
        server.try_psql(&db, "COPY t FROM STDIN", b"2\n").unwrap();
        assert_eq!(server.psql(&db, "SELECT * FROM t"), "1\n2\n");
        assert_eq!(server.psql(&db, "SHOW wal_level"), "logical\n");
        if let Some(ca) = server.ca_cert_path() {
            // By TCP, the password from the address, the certificate and its name checked.
            let address = format!("{}?sslmode=verify-full&sslrootcert={}", server.dsn(&db), ca.display());
            let sql = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
            let out = Command::new(server.bin.join("psql")).args(["-XAtc", sql, &address]).output().unwrap();
            assert_eq!(String::from_utf8_lossy(&out.stdout), "t\n", "{out:?}");
        }
        let (top, port) = (server.top.clone(), server.port);
        drop(server);
        assert!(!top.exists());
        assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
    }
}
