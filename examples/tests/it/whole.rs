//! Whole databases: rds_dbsync's my.cfg, lists of tables, and the comparison of both sides.

use kwsync_core::testkit::{MariaServer, PgServer};

use super::support::Place;

/// Tables with many types, awkward names, and rows that no key tells apart.
const SCHEMA: &str = "
CREATE TABLE t1 (id INT PRIMARY KEY, name VARCHAR(20) NOT NULL, f FLOAT, d DOUBLE, n DECIMAL(20,6), b BIT(3), flag TINYINT(1), u BIGINT UNSIGNED);
INSERT INTO t1 SELECT seq, concat('n\u{e4}me ', seq), seq / 3, seq / 7, seq / 9, b'101', seq % 2, 18446744073709551615 - seq FROM seq_1_to_2000;
CREATE TABLE t2 (c1 BIGINT PRIMARY KEY, at DATETIME(6), day DATE, doc JSON, raw VARBINARY(20), c CHAR(9), e ENUM('a','b'), t TIME(3));
INSERT INTO t2 SELECT seq, '2024-01-01' + INTERVAL seq * 1000003 MICROSECOND, '1999-12-31' + INTERVAL seq DAY, concat('{\"k\": [', seq, ', 1.0], \"a\": null}'), unhex(hex(seq)), 'c ', 'b', '12:00:00.250' FROM seq_138000_to_139887;
CREATE TABLE `odd name` (`sp an` INT, note TEXT);
INSERT INTO `odd name` SELECT seq % 5, NULLIF(concat('x', seq % 7), 'x3') FROM seq_1_to_500;
CREATE TABLE empty (id INT PRIMARY KEY);";

fn my_cfg(maria: &MariaServer, from: &str, server: &PgServer, to: &str) -> String {
    format!(
        "[src.mysql]\nhost = \"127.0.0.1\"\nport = \"{}\"\nuser = \"{}\"\npassword = \"{}\"\ndb = \"{from}\"\nencodingdir = \"share\"\nencoding = \"utf8\"\n\n[desc.pgsql]\nconnect_string = \"host=127.0.0.1 dbname={to} port={} user={} password='{}'\"\n",
        maria.port(),
        maria.user(),
        maria.password(),
        server.port(),
        server.superuser(),
        server.password().replace('\\', "\\\\").replace('\'', "\\'"),
    )
}

#[test]
fn a_database_by_my_cfg_is_the_same_on_both_sides() {
    let (Some(server), Some(maria)) = (PgServer::shared(), MariaServer::shared()) else { return };
    let (place, from, to) = (Place::new(), maria.create_database(), server.create_database());
    maria.sql(&from, SCHEMA);
    place.write("my.cfg", my_cfg(maria, &from, server, &to));
    let ddl = place.run(&["dbsync", "-d", "-n"]).expect(0).out();
    assert!(ddl.contains("CREATE TABLE") && ddl.contains("\"odd name\""), "{ddl}");
    assert_eq!(server.psql(&to, "SELECT to_regclass('t1') IS NULL"), "t\n");
    place.run(&["dbsync", "-j", "2"]).expect(0);
    let status = "SELECT state, full_s_start <= full_s_end FROM db_sync_status";
    assert_eq!(server.psql(&to, status), "done|t\n");
    // The address of a sink stands for the tables that the source has.
    let source = format!("{}?tables=*", maria.dsn(&from));
    let target = format!("{}?mode=upsert&create=missing", server.dsn(&to));
    let verify = |more: &[&str]| {
        place.run(&[&["verify", "--from", &source, "--to", &target, "--jobs", "2"], more].concat())
    };
    let same = verify(&[]).expect(0).out();
    assert!(same.ends_with("4 tables: 4 equal, 0 different, 0 missing\n"), "{same}");
    // And back the other way, into MariaDB, from what PostgreSQL has made of it.
    let back = maria.create_database();
    let forth = format!("{}?tables=*&exclude=db_sync_status", server.dsn(&to));
    place.run(&["run", "--from", &forth, "--to", &maria.dsn(&back), "--quiet"]).expect(0);
    let both = format!("{}?tables=*", maria.dsn(&back));
    place.run(&["verify", "--from", &source, "--to", &both]).expect(0);
    place.run(&["verify", "--from", &forth, "--to", &both]).expect(0);
    // What differs is named: a changed value, a row that is gone, one too many, a row without a key, a table.
    server.psql(&to, "UPDATE t1 SET n = n + 0.000001 WHERE id = 7; DELETE FROM t1 WHERE id = 9; INSERT INTO t2 (c1) VALUES (5); UPDATE \"odd name\" SET note = 'y' WHERE ctid = (SELECT min(ctid) FROM \"odd name\"); DROP TABLE empty");
    let told = verify(&["--keys", "9"]).expect(3).out();
    for line in [
        "differs: id=7\n",
        "only in the source: id=9\n",
        "only in the target: c1=5\n",
        "note=y\n",
        "missing in the target\n",
    ] {
        assert!(told.contains(line), "{line} {told}");
    }
    assert!(told.ends_with("4 tables: 0 equal, 3 different, 1 missing\n"), "{told}");
    let report: serde_json::Value =
        serde_json::from_str(&verify(&["--report", "json", "--keys", "0"]).expect(3).out()).unwrap();
    let t1 = report["tables"].as_array().unwrap().iter().find(|one| one["table"] == "t1").unwrap();
    assert_eq!(
        (&t1["rows_from"], &t1["rows_to"], &t1["verdict"]),
        (&2000.into(), &1999.into(), &"different".into())
    );
    // A column that did not go over.
    server.psql(&to, "ALTER TABLE t2 DROP COLUMN day");
    let told = verify(&[]).expect(3).out();
    assert!(told.contains("the target lacks the column \"day\""), "{told}");
}

#[test]
fn a_list_of_tables_with_queries() {
    let (Some(server), Some(maria)) = (PgServer::shared(), MariaServer::shared()) else { return };
    let (place, from, to) = (Place::new(), maria.create_database(), server.create_database());
    maria.sql(&from, SCHEMA);
    server.psql(&to, "CREATE SCHEMA shop");
    place.write("my.cfg", my_cfg(maria, &from, server, &to));
    place.write(
        "tab_list.txt",
        "t1  \nt2 : select * from t2 where c1 > 138888\nfew: select id, name from t1 where id <= 3\n",
    );
    let ran = place.run(&["dbsync", "-l", "tab_list.txt", "-s", "shop"]).expect(0);
    assert!(ran.out().contains("t2") && ran.out().contains("few"), "{}", ran.out());
    let counts = "SELECT (SELECT count(*) FROM shop.t1), (SELECT count(*) FROM shop.t2), (SELECT min(c1) FROM shop.t2), (SELECT max(id) FROM shop.few), to_regclass('shop.empty') IS NULL";
    assert_eq!(server.psql(&to, counts), "2000|999|138889|3|t\n");
    // The table of the status is beside the tables of the session, not in their schema.
    assert_eq!(server.psql(&to, "SELECT state FROM db_sync_status"), "done\n");
    place.write("wrong.cfg", "[src.mysql]\nhots = \"x\"\n");
    let said = place.run(&["dbsync", "wrong.cfg"]).expect(2).err();
    assert!(said.contains("wrong.cfg, line 2: there is no key hots, did you mean"), "{said}");
}

#[test]
fn my_cfg_is_a_spec_of_run() {
    let Some(server) = PgServer::shared() else { return };
    let (place, from, to, local) =
        (Place::new(), server.create_database(), server.create_database(), server.create_database());
    server.psql(&from, "CREATE TABLE a (id int PRIMARY KEY, v text); INSERT INTO a SELECT n, 'x' || n FROM generate_series(1, 100) n");
    let at = |db: &str| {
        format!(
            "connect_string = \"host=127.0.0.1 dbname={db} port={} user={} password='{}'\"",
            server.port(),
            server.superuser(),
            server.password().replace('\\', "\\\\").replace('\'', "\\'")
        )
    };
    let text =
        format!("[src.pgsql]\n{}\n[local.pgsql]\n{}\n[desc.pgsql]\n{}\n", at(&from), at(&local), at(&to));
    place.write("my.cfg", text);
    place.run(&["run", "--spec", "my.cfg", "--jobs", "1", "--quiet"]).expect(0);
    assert_eq!(server.psql(&to, "SELECT count(*) FROM a"), "100\n");
    // The state is kept in the local database, and a migration that fails says so.
    server.psql(&to, "TRUNCATE a; ALTER TABLE a ADD CHECK (id < 50)");
    place.run(&["dbsync", "--quiet"]).expect(1);
    let state = || server.psql(&local, "SELECT state, full_s_end IS NOT NULL FROM db_sync_status");
    assert_eq!(state(), "failed|t\n");
    server.psql(&to, "ALTER TABLE a DROP CONSTRAINT a_id_check");
    place.run(&["dbsync", "--quiet"]).expect(0);
    assert_eq!(state(), "done|t\n");
    assert_eq!(server.psql(&to, "SELECT count(*), to_regclass('db_sync_status') IS NULL FROM a"), "100|t\n");
}
