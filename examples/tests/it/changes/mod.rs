//! Inserts, updates and deletes of PostgreSQL, followed by logical replication.

mod copies;
mod edges;
mod faults;
mod kinds;
mod random;

use kwsync_core::testkit::PgServer;

use super::support::{Job, Place, until};

/// A job that follows all tables of a database.
pub(super) struct Following<'a> {
    pub(super) server: &'a PgServer,
    pub(super) place: Place,
    pub(super) from: String,
    pub(super) to: String,
    /// Behind the address of the source.
    pub(super) more: &'static str,
    /// Behind that of the target.
    pub(super) target: &'static str,
}

impl<'a> Following<'a> {
    /// Databases in which these statements make the tables of the source.
    pub(super) fn new(server: &'a PgServer, sql: &str) -> Self {
        let (from, to) = (server.create_database(), server.create_database());
        server.psql(&from, sql);
        Self { server, place: Place::new(), from, to, more: "", target: "" }
    }

    pub(super) fn source(&self) -> String {
        format!("{}?tables=*&changes=true{}", self.server.dsn(&self.from), self.more)
    }

    /// The arguments of a run under a name that no other test has.
    pub(super) fn arguments(&self, mode: &str) -> Vec<String> {
        let target = format!("{}?{}", self.server.dsn(&self.to), self.target.trim_start_matches('&'));
        let source = format!("{}&mode={mode}", self.source());
        ["run", "--from", &source, "--to", &target, "--job", &format!("j-{}", self.from)]
            .map(str::to_owned)
            .to_vec()
    }

    pub(super) fn start(&self) -> Job {
        let arguments = self.arguments("all");
        let arguments: Vec<&str> = arguments
            .iter()
            .map(String::as_str)
            .chain(["--quiet", "--retries", "30", "--retry-wait", "500"])
            .collect();
        Job::start(&self.place, &arguments)
    }

    /// Copies and follows until it has caught up; what it has to say.
    pub(super) fn catch_up(&self, status: i32) -> super::support::Ran {
        let arguments = self.arguments("history");
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).chain(["--report", "json"]).collect();
        self.place.run(&arguments).expect(status)
    }

    pub(super) fn sql(&self, sql: &str) {
        self.server.psql(&self.from, sql);
    }

    /// All rows of a table, as one text.
    pub(super) fn rows(&self, database: &str, table: &str) -> Result<String, String> {
        let sql = format!(
            "SELECT count(*), md5(coalesce(string_agg(r, '|' ORDER BY r), '')) FROM (SELECT t::text AS r FROM {table} t) x"
        );
        self.server.try_psql(database, &sql, b"").map(|out| String::from_utf8_lossy(&out).into_owned())
    }

    pub(super) fn is_equal(&self, table: &str) -> bool {
        self.rows(&self.to, table).is_ok_and(|there| Ok(there) == self.rows(&self.from, table))
    }

    /// Waits until a table is the same on both sides.
    #[track_caller]
    pub(super) fn until_equal(&self, job: &mut Job, table: &str) {
        until(table, || {
            assert!(!job.has_ended(), "the job has ended");
            self.is_equal(table)
        });
    }

    /// Whether the slot of the job is there, and how far it has come.
    pub(super) fn slots(&self) -> String {
        let sql = format!("SELECT count(*) FROM pg_replication_slots WHERE database = '{}'", self.from);
        self.server.psql("postgres", &sql)
    }

    /// Ends the job for good.
    pub(super) fn forget(&self) {
        let arguments = self.arguments("all");
        let arguments: Vec<&str> =
            arguments.iter().map(String::as_str).chain(["--forget", "--quiet"]).collect();
        self.place.run(&arguments).expect(0);
        assert_eq!(self.slots(), "0\n");
        assert_eq!(self.server.psql(&self.from, "SELECT count(*) FROM pg_publication"), "0\n");
    }
}
