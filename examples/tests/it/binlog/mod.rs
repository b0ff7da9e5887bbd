//! Inserts, updates and deletes of MariaDB, followed by its binary log into PostgreSQL.

mod copies;
mod edges;
mod faults;
mod kinds;
mod later;
mod random;

use kwsync_core::testkit::{MariaServer, PgServer};

use super::support::{Job, Place, Ran, until};

/// A job that follows all tables of a database.
pub(super) struct Following<'a> {
    pub(super) maria: &'a MariaServer,
    pub(super) pg: &'a PgServer,
    pub(super) place: Place,
    pub(super) from: String,
    pub(super) to: String,
    /// Behind the address of the source.
    pub(super) more: String,
    /// Behind that of the target.
    pub(super) target: String,
}

/// The servers that the tests share.
pub(super) fn servers() -> Option<(&'static MariaServer, &'static PgServer)> {
    Some((MariaServer::shared_logged()?, PgServer::shared()?))
}

impl<'a> Following<'a> {
    /// Databases in which these statements make the tables of the source.
    pub(super) fn new((maria, pg): (&'a MariaServer, &'a PgServer), sql: &str) -> Self {
        let (from, to) = (maria.create_database(), pg.create_database());
        maria.sql(&from, sql);
        Self { maria, pg, place: Place::new(), from, to, more: String::new(), target: String::new() }
    }

    /// The arguments of a run under a name that no other test has.
    pub(super) fn arguments(&self, mode: &str) -> Vec<String> {
        let source = format!("{}?tables=*&changes=true&mode={mode}{}", self.maria.dsn(&self.from), self.more);
        let target = format!("{}?{}", self.pg.dsn(&self.to), self.target.trim_start_matches('&'));
        ["run", "--from", &source, "--to", &target, "--job", &format!("m-{}-{}", self.to, self.from)]
            .map(str::to_owned)
            .to_vec()
    }

    pub(super) fn run(&self, mode: &str, more: &[&str]) -> Ran {
        let arguments = self.arguments(mode);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).chain(more.iter().copied()).collect();
        self.place.run(&arguments)
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
    pub(super) fn catch_up(&self, status: i32) -> Ran {
        self.run("history", &["--report", "json"]).expect(status)
    }

    pub(super) fn report(&self) -> serde_json::Value {
        serde_json::from_str(&self.catch_up(0).out()).unwrap()
    }

    pub(super) fn sql(&self, sql: &str) {
        self.maria.sql(&self.from, sql);
    }

    pub(super) fn there(&self, sql: &str) -> String {
        self.pg.psql(&self.to, sql)
    }

    /// The rows of a table on both sides, by these columns, in order.
    pub(super) fn both(&self, table: &str, columns: &str) -> Result<[Vec<String>; 2], String> {
        let list = |quote: &str, text: &str| {
            let each =
                columns.split(',').map(|name| format!("COALESCE(CAST({quote}{name}{quote} AS {text}), '~')"));
            each.collect::<Vec<_>>().join(", ")
        };
        let own = format!("SELECT CONCAT_WS('|', {}) FROM `{table}`", list("`", "CHAR"));
        let theirs = format!("SELECT concat_ws('|', {}) FROM \"{table}\"", list("\"", "text"));
        let there = self.pg.try_psql(&self.to, &theirs, b"")?;
        let there = String::from_utf8_lossy(&there).into_owned();
        Ok([self.maria.try_sql(&self.from, &own)?, there].map(|text| {
            let mut rows: Vec<String> = text.lines().map(str::to_owned).collect();
            rows.sort_unstable();
            rows
        }))
    }

    pub(super) fn is_equal(&self, table: &str, columns: &str) -> bool {
        self.both(table, columns).is_ok_and(|[own, there]| own == there)
    }

    #[track_caller]
    pub(super) fn assert_equal(&self, table: &str, columns: &str) {
        let [own, there] = self.both(table, columns).unwrap();
        assert_eq!(own, there, "{table}");
    }

    /// Waits until a table is the same on both sides.
    #[track_caller]
    pub(super) fn until_equal(&self, job: &mut Job, table: &str, columns: &str) {
        until(table, || {
            assert!(!job.has_ended(), "the job has ended");
            self.is_equal(table, columns)
        });
    }
}
