//! What becomes of tables while they are followed, and of what was under way when it began.

use std::io::Write;
use std::process::{Command, Stdio};

use kwsync_core::testkit::{MariaServer, PgServer};

use super::super::support::until;
use super::{Following, servers};

/// Runs a statement as a client that speaks latin1.
fn in_latin1(maria: &MariaServer, database: &str, sql: &str) {
    let mut client = Command::new("mariadb")
        .args(["--no-defaults", "--default-character-set=latin1", "-h", "127.0.0.1", "-D", database])
        .args(["-u", maria.user(), &format!("-p{}", maria.password()), &format!("-P{}", maria.port())])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let bytes: Vec<u8> = sql.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
    client.stdin.take().unwrap().write_all(&bytes).unwrap();
    assert!(client.wait().unwrap().success(), "{sql}");
}

/// The rows of a transaction that is prepared lie before the place where a stream begins: it does not begin until that is over.
#[test]
fn binlog_waits_for_transactions_that_are_prepared() {
    let Some(maria) = MariaServer::start_with(MariaServer::LOGGED) else { return };
    let Some(pg) = PgServer::shared() else { return };
    let following =
        Following::new((&maria, pg), "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)");
    let prepare = |name: &str, id: u32| {
        following.sql(&format!(
            "XA START '{name}'; INSERT INTO t VALUES ({id}); XA END '{name}'; XA PREPARE '{name}'"
        ));
    };
    prepare("stays", 2);
    for (mode, lanes) in [("history", "1"), ("history", "2"), ("realtime", "1")] {
        let ran = following.run(mode, &["--quiet", "--jobs", lanes]).expect(1);
        let said = ran.err();
        assert!(said.contains("\"stays\"") && said.contains("XA RECOVER"), "{said}");
    }
    following.sql("XA COMMIT 'stays'");
    // One that is over soon is waited for.
    prepare("goes", 3);
    std::thread::scope(|scope| {
        scope.spawn(|| following.sql("DO SLEEP(1); XA COMMIT 'goes'"));
        following.catch_up(0);
    });
    following.catch_up(0);
    following.assert_equal("t", "id");
    assert_eq!(following.there("SELECT count(*) FROM t"), "3\n");
}

/// Alterations after which rows would be taken for others, or would change without a word in the log: told while the job follows, and when it
/// comes back.
#[test]
fn binlog_tells_of_alterations_that_it_cannot_follow() {
    let Some(servers) = servers() else { return };
    const MADE: &str = "CREATE TABLE t (id int PRIMARY KEY, v int NOT NULL, n decimal(9,3), d datetime(6)); CREATE TABLE p (id int PRIMARY KEY);
        INSERT INTO t VALUES (1, 1, 1.125, NOW(6))";
    let cases = [
        (
            "ALTER TABLE t DROP PRIMARY KEY, ADD PRIMARY KEY (id, v)",
            &["told apart by its key (id)", "(id, v)"][..],
        ),
        ("ALTER TABLE t DROP PRIMARY KEY", &["told apart by its key (id)", "none"]),
        (
            "ALTER TABLE t ADD FOREIGN KEY (v) REFERENCES p (id) ON DELETE CASCADE",
            &["CASCADE", "cascades=target"],
        ),
        ("ALTER TABLE t MODIFY n decimal(9,1)", &["\"n\"", "rounded"]),
        ("ALTER TABLE t MODIFY d datetime(3)", &["\"d\"", "rounded"]),
        ("ALTER IGNORE TABLE t ADD UNIQUE (v)", &["IGNORE"]),
    ];
    let told = |said: &str, change: &str, words: &[&str]| {
        for word in words.iter().chain(&["--restart"]) {
            assert!(said.contains(word), "{change}: {word}: {said}");
        }
    };
    let begun: Vec<_> = cases
        .iter()
        .map(|(change, words)| {
            let following = Following::new(servers, MADE);
            following.sql("INSERT INTO p VALUES (1)");
            following.catch_up(0);
            following.sql(&format!("INSERT INTO p VALUES (2); {change}"));
            told(&following.run("history", &["--quiet"]).expect(1).err(), change, words);
            (Following::new(servers, MADE), change, words)
        })
        .collect();
    for (following, change, words) in begun.into_iter().take(3) {
        following.sql("INSERT INTO p VALUES (1)");
        let mut job = following.start();
        following.until_equal(&mut job, "t", "id,v");
        following.sql(change);
        until("the job has ended", || job.has_ended());
        told(&job.end().expect(1).err(), change, words);
    }
    // What does no harm.
    let following = Following::new(servers, MADE);
    following.catch_up(0);
    following.sql(
        "ALTER TABLE t ADD UNIQUE i (id), DROP PRIMARY KEY; ALTER TABLE t MODIFY n decimal(12,4), MODIFY v bigint NOT NULL; CREATE INDEX x ON t (v);
         DROP INDEX x ON t; UPDATE t SET v = 2; INSERT INTO t VALUES (2, 3, 0.5, NOW(6))",
    );
    following.catch_up(0);
    following.assert_equal("t", "id,v");
}

/// Names that are not ASCII, in statements of clients that do not speak UTF-8.
#[test]
fn binlog_reads_statements_in_other_character_sets() {
    let Some(servers) = servers() else { return };
    let following = Following::new(
        servers,
        "CREATE TABLE `größe` (id int PRIMARY KEY); INSERT INTO `größe` VALUES (1), (2); CREATE TABLE gr (id int PRIMARY KEY); INSERT INTO gr VALUES (1)",
    );
    following.catch_up(0);
    in_latin1(following.maria, &following.from, "TRUNCATE größe; INSERT INTO größe VALUES (3)");
    following.catch_up(0);
    assert_eq!(following.there("SELECT id FROM \"größe\""), "3\n");
    following.assert_equal("gr", "id");
    in_latin1(
        following.maria,
        &following.from,
        "SET binlog_format = 'STATEMENT'; INSERT INTO größe VALUES (4)",
    );
    let said = following.catch_up(2).err();
    assert!(said.contains("größe") && said.contains("binlog_format other than ROW"), "{said}");
}

/// MariaDB keeps a column that it shows to nobody for a unique index over long text.
#[test]
fn binlog_of_tables_with_hidden_columns() {
    let Some(servers) = servers() else { return };
    let following = Following::new(
        servers,
        "CREATE TABLE t (id int PRIMARY KEY, x text, b blob, UNIQUE (x), UNIQUE (b)); INSERT INTO t VALUES (1, 'a', 'b')",
    );
    following.catch_up(0);
    following.sql("INSERT INTO t VALUES (2, 'c', 'd'), (3, 'e', 'f'); UPDATE t SET x = 'z' WHERE id = 1; DELETE FROM t WHERE id = 3");
    following.catch_up(0);
    following.assert_equal("t", "id,x");
    assert_eq!(following.there("SELECT id, x, convert_from(b, 'UTF8') FROM t ORDER BY id"), "1|z|b\n2|c|d\n");
    following.sql("ALTER TABLE t ADD y int AFTER id; INSERT INTO t VALUES (4, 7, 'g', 'h')");
    following.catch_up(0);
    following.assert_equal("t", "id,y,x");
}

/// Columns that are gone by the time their rows are read have the values that they had.
#[test]
fn binlog_of_columns_that_were_dropped_since() {
    let Some(servers) = servers() else { return };
    let following = Following::new(
        servers,
        "CREATE TABLE t (id int PRIMARY KEY, u uuid, i6 inet6, i4 inet4, js json, x varchar(9) CHARACTER SET latin1)",
    );
    following.catch_up(0);
    following.sql(
        "INSERT INTO t VALUES (1, '8a6e0804-2bd0-4672-b79d-d97027f9071a', '2001:db8::1', '10.1.2.3', '{\"a\": 1}', 'ü'); \
         ALTER TABLE t DROP u, DROP i6, DROP i4, DROP js, DROP x; INSERT INTO t VALUES (2)",
    );
    following.catch_up(0);
    assert_eq!(
        following.there("SELECT u, i6, i4, js, x FROM t ORDER BY id"),
        "8a6e0804-2bd0-4672-b79d-d97027f9071a|2001:db8::1|10.1.2.3|{\"a\": 1}|ü\n||||\n"
    );
}
