//! A throw-away MariaDB.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::postgres::{make_certificates, owner_when_root, run};

const USER: &str = "kwsync";
const PASSWORD: &str = "s3cret/:@?";
/// The password in an address.
const PASSWORD_ENCODED: &str = "s3cret%2F%3A%40%3F";

/// As for PostgreSQL: the server lives no longer than the pipe to the test process is open.
const KEEPER: &str = r#"
top=$1; shift
"$@" </dev/null >>"$top/log" 2>&1 &
read -r how
case "$how" in immediate) kill -KILL $!;; *) kill -TERM $!;; esac
wait $!
[ -n "$how" ] || rm -rf "$top"
"#;

/// A MariaDB server of our own in a temporary folder, on a free port of 127.0.0.1, with InnoDB that does not wait for the disk. It
/// stops, and its folder goes, when it is dropped or the process ends, even by SIGKILL.
///
/// # Examples
/// ```no_run
/// # use kwsync_core::testkit::MariaServer;
/// let Some(server) = MariaServer::shared() else { return }; // has said SKIPPED
/// let db = server.create_database();
/// assert_eq!(server.sql(&db, "SELECT 1 + 1"), "2\n");
/// ```
#[derive(Debug)]
pub struct MariaServer {
    top: PathBuf,
    port: u16,
    /// What stands before the server's command line, to drop root's rights.
    as_user: Vec<OsString>,
    keeper: Mutex<Option<Child>>,
    databases: AtomicU32,
    tls: bool,
    /// What stands at the end of the server's command line.
    options: Vec<String>,
}

impl MariaServer {
    /// What makes the server write a binary log of rows, as whoever follows changes needs it.
    pub const LOGGED: &[&str] = &[
        "--log-bin=bin",
        "--binlog-format=ROW",
        "--binlog-row-image=FULL",
        "--binlog-row-metadata=FULL",
        "--server-id=1",
        "--gtid-strict-mode=1",
    ];

    /// The server that all tests of this process share; give each test a database of its own.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<MariaServer>> = OnceLock::new();
        SHARED.get_or_init(Self::start).as_ref()
    }

    /// As [`shared`](Self::shared), with a [binary log](Self::LOGGED).
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub fn shared_logged() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<MariaServer>> = OnceLock::new();
        SHARED.get_or_init(|| Self::start_with(Self::LOGGED)).as_ref()
    }

    /// As [`start`](Self::start), with more on the server's command line.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub fn start_with(options: &[&str]) -> Option<Self> {
        Self::start_if_there(false, options)
    }

    /// As [`start`](Self::start), with TLS; its certificate is for `localhost` and 127.0.0.1. `None`, and said so, also where there
    /// is no `openssl` to make one.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub fn start_tls() -> Option<Self> {
        if found("openssl").is_none() {
            writeln!(io::stderr(), "SKIPPED: no openssl here to make certificates").ok();
            return None;
        }
        Self::start_if_there(true, &[])
    }

    /// The certificate of the authority that signed the server's, where it has TLS.
    pub fn ca_cert_path(&self) -> PathBuf {
        self.top.join("ca.crt")
    }

    /// A server for one test. `None`, with a loud `SKIPPED: ...` on standard error, where MariaDB is not installed.
    ///
    /// # Panics
    /// When MariaDB is installed but does not start.
    pub fn start() -> Option<Self> {
        Self::start_if_there(false, &[])
    }

    fn start_if_there(tls: bool, options: &[&str]) -> Option<Self> {
        let programs = [server_program(), found("mariadb-install-db"), found("mariadb")];
        if programs.iter().any(Option::is_none) {
            let mut stderr = io::stderr();
            writeln!(stderr, "SKIPPED: no MariaDB here (mariadbd, mariadb-install-db, mariadb); install it with: apt-get install mariadb-server").ok();
            return None;
        }
        Some(Self::start_new(tls, options).unwrap_or_else(|error| panic!("cannot start MariaDB: {error}")))
    }

    fn start_new(tls: bool, options: &[&str]) -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("kwsync-my-").tempdir()?;
        let top = folder.path().to_owned();
        fs::set_permissions(&top, fs::Permissions::from_mode(0o755))?;
        let owner = owner_when_root(&top)?;
        let mut as_user: Vec<OsString> = Vec::new();
        if let Some((uid, gid)) = owner {
            chown(&top, Some(uid), Some(gid))?;
            as_user = vec![
                "setpriv".into(),
                format!("--reuid={uid}").into(),
                format!("--regid={gid}").into(),
                "--clear-groups".into(),
                "--".into(),
            ];
        }
        let mut server = Self {
            top: top.clone(),
            port: 0,
            as_user,
            keeper: Mutex::new(None),
            databases: AtomicU32::new(0),
            tls,
            options: options.iter().map(|option| (*option).to_owned()).collect(),
        };
        if tls {
            make_certificates(&top)?;
            if let Some((uid, gid)) = owner {
                chown(top.join("server.key"), Some(uid), Some(gid))?;
            }
        }
        let mut install = server.command("mariadb-install-db");
        install.args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"]);
        install.args(["--skip-name-resolve", "--innodb-log-file-size=16M"]);
        install.arg(format!("--datadir={}", top.join("data").display()));
        run(&mut install)?;
        // From here on the keeper removes the folder.
        drop(folder.keep());
        for _ in 0..8 {
            server.port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
            server.run_server()?;
            match server.wait_until_ready() {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => server.stop("fast"),
                Err(error) => return Err(error),
                Ok(()) => {
                    let rights = format!(
                        "CREATE USER {USER}@'127.0.0.1' IDENTIFIED BY '{PASSWORD}'; \
                         GRANT ALL ON *.* TO {USER}@'127.0.0.1' WITH GRANT OPTION"
                    );
                    server.sql("mysql", &rights);
                    return Ok(server);
                }
            }
        }
        Err(io::Error::other("no port stays free"))
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The name of a user with all rights.
    pub fn user(&self) -> &str {
        USER
    }

    /// That user's password, in which some characters need care in an address.
    pub fn password(&self) -> &str {
        PASSWORD
    }

    /// The address of a database.
    pub fn dsn(&self, database: &str) -> String {
        format!("mysql://{USER}:{PASSWORD_ENCODED}@127.0.0.1:{}/{database}", self.port)
    }

    /// Creates an empty database and returns its name.
    ///
    /// # Panics
    /// When the server refuses.
    pub fn create_database(&self) -> String {
        let name = format!("t{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.sql("mysql", &format!("CREATE DATABASE {name} CHARACTER SET utf8mb4"));
        name
    }

    /// Runs SQL as root by the command-line client and returns what it prints: rows without headings, tabs between the columns.
    ///
    /// # Panics
    /// When a statement fails.
    pub fn sql(&self, database: &str, sql: &str) -> String {
        self.try_sql(database, sql).unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// Like [`sql`](Self::sql).
    ///
    /// # Errors
    /// What the client says.
    ///
    /// # Panics
    /// When the client cannot be started.
    pub fn try_sql(&self, database: &str, sql: &str) -> Result<String, String> {
        let mut client = Command::new("mariadb");
        client.args(["--no-defaults", "-N", "-B", "-u", "root", "--default-character-set=utf8mb4"]);
        client.arg("-S").arg(self.top.join("my.sock")).arg("-D").arg(database).args(["-e", sql]);
        let out = client.output().unwrap_or_else(|error| panic!("cannot start mariadb: {error}"));
        match out.status.success() {
            true => Ok(String::from_utf8_lossy(&out.stdout).into_owned()),
            false => Err(String::from_utf8_lossy(&out.stderr).into_owned()),
        }
    }

    /// Kills the server as a crash would. Returns when it is down.
    pub fn stop_immediately(&self) {
        self.stop("immediate");
    }

    /// Starts the server again on the same port, after a clean stop where it still runs. Returns when it takes connections.
    ///
    /// # Panics
    /// When it does not start.
    pub fn restart(&self) {
        self.stop("fast");
        if let Err(error) = self.run_server().and_then(|()| self.wait_until_ready()) {
            panic!("cannot start MariaDB again: {error}");
        }
    }

    fn command(&self, program: &str) -> Command {
        let mut command = match self.as_user.split_first() {
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(program);
                command
            }
            None => Command::new(program),
        };
        // The usual folder may not be open to that user.
        command.current_dir(&self.top).env("TMPDIR", &self.top);
        command
    }

    fn run_server(&self) -> io::Result<()> {
        let program = server_program().ok_or(io::ErrorKind::NotFound)?;
        let mut keeper = Command::new("/bin/sh");
        keeper.args(["-c", KEEPER, "kwsync-mariadb-keeper"]).arg(&self.top).args(&self.as_user);
        keeper
            .arg(program)
            .arg("--no-defaults")
            .arg(format!("--datadir={}", self.top.join("data").display()));
        keeper.arg(format!("--port={}", self.port)).arg("--bind-address=127.0.0.1");
        keeper.arg(format!("--socket={}", self.top.join("my.sock").display()));
        keeper.arg(format!("--pid-file={}", self.top.join("pid").display()));
        keeper.arg(format!("--tmpdir={}", self.top.display()));
        keeper.args(["--local-infile=1", "--skip-name-resolve", "--innodb-flush-log-at-trx-commit=2"]);
        keeper.args([
            "--innodb-buffer-pool-size=128M",
            "--max-allowed-packet=16M",
            "--innodb-log-file-size=64M",
        ]);
        if self.tls {
            for (option, file) in
                [("ssl-ca", "ca.crt"), ("ssl-cert", "server.crt"), ("ssl-key", "server.key")]
            {
                keeper.arg(format!("--{option}={}", self.top.join(file).display()));
            }
        }
        keeper.args(&self.options);
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

    fn log(&self) -> String {
        fs::read(self.top.join("log"))
            .map_or_else(|_| String::new(), |log| String::from_utf8_lossy(&log).into_owned())
    }

    fn wait_until_ready(&self) -> io::Result<()> {
        let deadline = Instant::now() + Duration::from_secs(60);
        while Instant::now() < deadline {
            if self.try_sql("mysql", "SELECT 1").is_ok() {
                return Ok(());
            }
            if self.log().contains("Address already in use") {
                return Err(io::ErrorKind::AddrInUse.into());
            }
            std::thread::sleep(Duration::from_millis(30));
        }
        Err(io::Error::other(format!("not ready within a minute; its log:\n{}", self.log())))
    }
}

impl Drop for MariaServer {
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

fn server_program() -> Option<PathBuf> {
    Some(PathBuf::from("/usr/sbin/mariadbd")).filter(|path| path.is_file()).or_else(|| found("mariadbd"))
}

fn found(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).map(|dir| dir.join(program)).find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_crashes_restarts_and_leaves_nothing() {
        let Some(server) = MariaServer::start() else { return };
        let db = server.create_database();
        server.sql(&db, "CREATE TABLE t (a int) ENGINE=InnoDB; INSERT INTO t VALUES (1)");
        server.restart();
        assert_eq!(server.sql(&db, "SELECT * FROM t"), "1\n");
        server.stop_immediately();
        assert!(server.try_sql(&db, "SELECT 1").is_err());
        let top = server.top.clone();
        drop(server);
        assert!(!top.exists());
    }
}
