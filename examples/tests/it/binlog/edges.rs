//! What is refused, and what to do about it.

use kwsync_core::testkit::{MariaServer, PgServer};

use super::super::support::until;
use super::{Following, servers};

/// An address with another user.
fn by(address: &str, user: &str, password: &str) -> String {
    let (scheme, rest) = address.split_once("//").unwrap();
    let (_, rest) = rest.split_once('@').unwrap();
    format!("{scheme}//{user}:{password}@{rest}")
}

/// A table without a key is refused, or followed by its inserts alone, which are there once.
#[test]
fn binlog_of_tables_without_a_key() {
    let Some(servers) = servers() else { return };
    let mut following = Following::new(
        servers,
        "CREATE TABLE k (v int); CREATE TABLE t (id int NOT NULL, v int, UNIQUE (id)); INSERT INTO k VALUES (1), (1); INSERT INTO t VALUES (1, 1)",
    );
    let said = following.catch_up(2).err();
    assert!(said.contains(".k has no primary key") && said.contains("keyless=inserts"), "{said}");
    following.more = "&keyless=inserts".to_owned();
    following.catch_up(0);
    following.sql("INSERT INTO k VALUES (1), (2); UPDATE k SET v = 9 WHERE v = 2; INSERT INTO t VALUES (2, 2); UPDATE t SET v = 7 WHERE id = 1; DELETE FROM k");
    following.catch_up(0);
    assert_eq!(following.there("SELECT v, count(*) FROM k GROUP BY v ORDER BY v"), "1|3\n2|1\n");
    following.assert_equal("t", "id,v");
    // Nobody knows which of these the copy has.
    let mut following = Following::new(servers, "CREATE TABLE m (v int) ENGINE=MyISAM");
    following.more = "&keyless=inserts".to_owned();
    let said = following.catch_up(2).err();
    assert!(said.contains(".m has no key") && said.contains("MyISAM has no snapshots"), "{said}");
}

/// Everything that is missing is told at once, each with what to do; a dry run tells it too, and makes nothing.
#[test]
fn binlog_needs_rights_keys_and_settings() {
    // This one has no log.
    let (Some(maria), Some(pg)) = (MariaServer::shared(), PgServer::shared()) else { return };
    let following = Following::new(
        (maria, pg),
        "CREATE TABLE k (v int); CREATE VIEW w AS SELECT 1 AS x; CREATE TABLE m (id int PRIMARY KEY) ENGINE=MEMORY; CREATE TABLE p (id int PRIMARY KEY);
         CREATE TABLE c (id int PRIMARY KEY, p int, FOREIGN KEY (p) REFERENCES p (id) ON DELETE CASCADE); CREATE TABLE z (id int PRIMARY KEY, v text COMPRESSED)",
    );
    let user = format!("poor{}", following.from);
    maria.sql("mysql", &format!("CREATE USER {user}@'127.0.0.1' IDENTIFIED BY 'poor'; GRANT SELECT ON {}.k TO {user}@'127.0.0.1'; GRANT INSERT ON {}.p TO {user}@'127.0.0.1'", following.from, following.from));
    let own = following.arguments("all");
    let poor = by(&own[2], &user, "poor");
    for (from, words) in [
        (
            own[2].replace("tables=*", "tables=*,w"),
            vec![
                "log_bin is \"OFF\"",
                "binlog_format is \"MIXED\"",
                ".k has no primary key",
                "keyless=inserts",
                ".w is a view",
                "MEMORY",
                "ON *.*",
                "CASCADE",
                "cascades=target",
                "COMPRESSED",
            ],
        ),
        (poor, vec!["REPLICATION SLAVE", "REPLICATION CLIENT", "GRANT SELECT", "log_bin"]),
    ] {
        let words: Vec<&str> = words.into_iter().filter(|word| *word != "ON *.*").collect();
        for more in [&[][..], &["--dry-run"]] {
            let said = following
                .place
                .run(&[&["run", "--from", &from, "--to", &own[4]], more].concat())
                .expect(2)
                .err();
            for word in &words {
                assert!(said.contains(word), "{word}: {said}");
            }
            assert!(!said.contains("poor@") && !said.contains(maria.password()), "{said}");
        }
    }
    assert_eq!(following.there("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"), "0\n");
}

/// The plan of what can be done.
#[test]
fn binlog_dry_run_tells_the_plan() {
    let Some(servers) = servers() else { return };
    let following = Following::new(
        servers,
        "CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE u (id int PRIMARY KEY, v int UNIQUE)",
    );
    let shown = following.run("all", &["--dry-run"]).expect(0).out();
    for words in ["replica", "keeps its log", "--restart", "one after the other", "changes", "exactly-once"] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    assert_eq!(following.there("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"), "0\n");
    // With rights that are enough and no more, which do not let it lock tables.
    let user = format!("enough{}", following.from);
    following.maria.sql("mysql", &format!("CREATE USER {user}@'127.0.0.1' IDENTIFIED BY 'e'; GRANT SELECT ON {}.* TO {user}@'127.0.0.1'; GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO {user}@'127.0.0.1'", following.from));
    following
        .sql("INSERT INTO t SELECT seq FROM seq_1_to_3000; INSERT INTO u SELECT seq, seq FROM seq_1_to_3000");
    let own = following.arguments("history");
    let from = by(&own[2], &user, "e");
    let from = format!("{from}&splits=3");
    following
        .place
        .run(&["run", "--from", &from, "--to", &own[4], "--job", &own[6], "--jobs", "3", "--quiet"])
        .expect(0);
    following.assert_equal("u", "id,v");
    following.sql("UPDATE u SET v = v + 10000 WHERE id < 50; DELETE FROM t WHERE id = 7");
    following
        .place
        .run(&["run", "--from", &from, "--to", &own[4], "--job", &own[6], "--jobs", "3", "--quiet"])
        .expect(0);
    following.assert_equal("u", "id,v");
    following.assert_equal("t", "id");
    // Where rights may come by a role, the server is asked, and says so before anything is copied.
    let user = format!("role{}", following.from);
    following.maria.sql("mysql", &format!("CREATE ROLE of_{user}; CREATE USER {user}@'127.0.0.1' IDENTIFIED BY 'r'; GRANT of_{user} TO {user}@'127.0.0.1'; GRANT SELECT ON {}.* TO {user}@'127.0.0.1'; GRANT REPLICATION CLIENT ON *.* TO {user}@'127.0.0.1'", following.from));
    let from = by(&own[2], &user, "r");
    let said = following.place.run(&["run", "--from", &from, "--to", &own[4], "--dry-run"]).expect(2).err();
    assert!(said.contains("GRANT REPLICATION SLAVE ON *.* TO role"), "{said}");
}

/// What the log does not tell of is told by whoever follows it.
#[test]
fn binlog_tells_of_what_is_not_in_it() {
    let Some(servers) = servers() else { return };
    for (change, words) in [
        ("DROP TABLE t", &["was dropped"][..]),
        ("DROP TABLE t; CREATE TABLE t (id int PRIMARY KEY, v int)", &["was dropped or made anew"]),
        ("CREATE OR REPLACE TABLE t (id int PRIMARY KEY, v int)", &["made anew"]),
        ("RENAME TABLE t TO x", &["was renamed to x"]),
        ("ALTER TABLE t RENAME TO x", &["was renamed to x"]),
        ("RENAME TABLE t TO x, y TO t", &["was renamed"]),
        ("SET binlog_format = 'STATEMENT'; INSERT INTO t VALUES (9, 9)", &["binlog_format other than ROW"]),
        ("SET binlog_row_image = 'MINIMAL'; UPDATE t SET v = 2", &["binlog_row_image", "FULL"]),
        ("ALTER TABLE t CHANGE id ident int", &["its key (id)", "is gone or renamed"]),
        ("ALTER TABLE part TRUNCATE PARTITION p0", &["TRUNCATE PARTITION", "the log does not have them"]),
        ("ALTER TABLE part EXCHANGE PARTITION p0 WITH TABLE loose", &["EXCHANGE PARTITION", "loose"]),
        (
            "XA START 'x'; INSERT INTO t VALUES (9, 9); XA END 'x'; XA PREPARE 'x'; XA COMMIT 'x'",
            &["XA PREPARE"],
        ),
    ] {
        let following = Following::new(
            servers,
            "CREATE TABLE t (id int PRIMARY KEY, v int); CREATE TABLE y (id int PRIMARY KEY, v int); INSERT INTO t VALUES (1, 1);
             CREATE TABLE part (id int PRIMARY KEY) PARTITION BY RANGE (id) (PARTITION p0 VALUES LESS THAN (10), PARTITION p1 VALUES LESS THAN (100)); CREATE TABLE loose (id int PRIMARY KEY)",
        );
        following.catch_up(0);
        // What comes before it is there.
        following.sql(
            &format!("INSERT INTO y VALUES (5, 5); {change}; INSERT IGNORE INTO t VALUES (10, 10)").replace(
                "; INSERT IGNORE INTO t VALUES (10, 10)",
                if change.contains("ident") { "; INSERT INTO t VALUES (10, 10)" } else { "" },
            ),
        );
        let ran = following.run("history", &["--quiet"]);
        let said = ran.err();
        assert!(ran.status() == 1 || ran.status() == 2, "{change}: {} {said}", ran.status());
        for word in words.iter().chain(&["--restart"]) {
            assert!(said.contains(word), "{change}: {word}: {said}");
        }
    }
    // What does not matter does not.
    let following =
        Following::new(servers, "CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t VALUES (1, 1)");
    following.catch_up(0);
    following.sql(
        "CREATE TABLE other (id int PRIMARY KEY) ENGINE=MyISAM; SET binlog_format = 'STATEMENT'; INSERT INTO other VALUES (1); SET binlog_format = 'ROW'; DROP TABLE other; \
         CREATE TEMPORARY TABLE t2 (a int); DROP TEMPORARY TABLE t2; CREATE INDEX i ON t (v); ALTER TABLE t ENGINE=InnoDB; XA START 'y'; INSERT INTO t VALUES (2, 2); XA END 'y'; XA COMMIT 'y' ONE PHASE; \
         ANALYZE TABLE t; INSERT INTO t VALUES (3, 3); CREATE VIEW w AS SELECT * FROM t; CREATE TRIGGER tr BEFORE INSERT ON t FOR EACH ROW SET NEW.v = NEW.v + 1; INSERT INTO t VALUES (4, 4)",
    );
    following.catch_up(0);
    following.assert_equal("t", "id,v");
}

/// A log that does not tell the names of columns: those of the beginning, those that were looked up after one change, and the word that they
/// cannot be known after two.
#[test]
fn binlog_without_the_names_of_columns() {
    let mut options = MariaServer::LOGGED.to_vec();
    options.retain(|option| !option.contains("metadata"));
    let (Some(maria), Some(pg)) = (MariaServer::start_with(&options), PgServer::shared()) else { return };
    let mut following = Following::new(
        (&maria, pg),
        "CREATE TABLE t (id int unsigned PRIMARY KEY, a bigint unsigned, e enum('x','ü'), s set('p','q'), c varchar(20) CHARACTER SET latin1, b binary(3), n decimal(9,2));
         INSERT INTO t VALUES (1, 18446744073709551615, 'ü', 'p,q', 'ü', 'a', -1.5)",
    );
    following.target = "&create=evolve".to_owned();
    following.catch_up(0);
    following.sql("INSERT INTO t VALUES (4294967295, 18446744073709551614, 'x', 'q', 'ä', 'b', 2.25); CREATE INDEX i ON t (a)");
    following.catch_up(0);
    following.assert_equal("t", "id,a,e,s,c,n");
    // One change: the log says no more than that, up to now.
    following.sql("ALTER TABLE t ADD first int FIRST, RENAME COLUMN a TO z; INSERT INTO t VALUES (7, 2, 5, 'ü', '', 'x', 'c', 3)");
    following.catch_up(0);
    assert_eq!(following.there("SELECT first, z, e FROM t WHERE id = 2"), "7|5|ü\n");
    // What touches no columns is none.
    following.sql("ALTER TABLE t COMMENT 'x', ADD INDEX (z); INSERT INTO t VALUES (8, 30, 6, 'x', '', 'y', 'd', 4); ALTER TABLE t ENGINE=InnoDB; ALTER TABLE t DROP INDEX i, DISABLE KEYS");
    following.catch_up(0);
    assert_eq!(following.there("SELECT first, z, e FROM t WHERE id = 30"), "8|6|x\n");
    // A run that begins behind it knows them still.
    following.sql("INSERT INTO t VALUES (8, 3, 6, 'x', '', 'y', 'd', 4)");
    following.catch_up(0);
    assert_eq!(following.there("SELECT first, z, e FROM t WHERE id = 3"), "8|6|x\n");
    following.sql("ALTER TABLE t RENAME COLUMN z TO z2; INSERT INTO t VALUES (9, 4, 6, 'x', '', 'y', 'd', 4); ALTER TABLE t RENAME COLUMN z2 TO z3");
    let said = following.catch_up(1).err();
    assert!(said.contains("altered more than once") && said.contains("binlog_row_metadata"), "{said}");
    // Nor is it known where a hidden column stands.
    let following = Following::new((&maria, pg), "CREATE TABLE h (id int PRIMARY KEY, x text UNIQUE)");
    let said = following.catch_up(2).err();
    assert!(said.contains("hidden column") && said.contains("\"x\""), "{said}");
}

/// What is carried by foreign keys in the target is right with `cascades=target`.
#[test]
fn binlog_cascades_by_the_target() {
    let Some(servers) = servers() else { return };
    let mut following = Following::new(
        servers,
        "CREATE TABLE p (id int PRIMARY KEY); CREATE TABLE c (id int PRIMARY KEY, p int, FOREIGN KEY (p) REFERENCES p (id) ON DELETE CASCADE ON UPDATE CASCADE);
         INSERT INTO p SELECT seq FROM seq_1_to_20; INSERT INTO c SELECT seq, 1 + seq % 20 FROM seq_1_to_100",
    );
    following.more = "&cascades=target".to_owned();
    following.catch_up(0);
    following.there("ALTER TABLE c ADD FOREIGN KEY (p) REFERENCES p ON DELETE CASCADE ON UPDATE CASCADE");
    following.sql("DELETE FROM p WHERE id = 3; INSERT INTO c VALUES (200, 4); DELETE FROM p WHERE id = 4");
    following.catch_up(0);
    following.assert_equal("p", "id");
    following.assert_equal("c", "id,p");
}

/// A transaction of another that takes long holds up nothing.
#[test]
fn binlog_of_a_long_transaction_comes_when_it_is_over() {
    let Some(servers) = servers() else { return };
    let following =
        Following::new(servers, "CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t VALUES (1, 1)");
    let mut job = following.start();
    following.until_equal(&mut job, "t", "id,v");
    std::thread::scope(|scope| {
        let long = scope
            .spawn(|| following.sql("BEGIN; UPDATE t SET v = 2 WHERE id = 1; SELECT SLEEP(1.5); COMMIT"));
        following.sql("INSERT INTO t VALUES (2, 2)");
        until("what others do", || following.there("SELECT count(*) FROM t") == "2\n");
        assert_eq!(following.there("SELECT v FROM t WHERE id = 1"), "1\n");
        long.join().unwrap();
    });
    following.until_equal(&mut job, "t", "id,v");
    assert_eq!(job.terminate().status(), 143);
}
