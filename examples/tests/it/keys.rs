//! Indexes and foreign keys go over with their tables, and are made when the rows are there.

use std::process::Stdio;
use std::time::{Duration, Instant};

use kwsync_core::testkit::{MariaServer, PgServer};

use super::support::Place;

/// Three tables that point to each other in a circle, one of them to itself, with keys of several columns and awkward names.
const CIRCLE: &str = "
CREATE TABLE `a b` (id int PRIMARY KEY, boss int, other int, code varchar(20) NOT NULL, `n\"` int, note text, UNIQUE KEY idx (code, `n\"`), KEY k (`n\"`), KEY pre (note(10)), FULLTEXT KEY words (note));
CREATE TABLE c (x int, y varchar(10), a_id int, v int, PRIMARY KEY (x, y), KEY k (v, a_id), CONSTRAINT `to a` FOREIGN KEY (a_id) REFERENCES `a b` (id) ON DELETE CASCADE);
CREATE TABLE d (id int PRIMARY KEY, x int, y varchar(10), CONSTRAINT to_c FOREIGN KEY (x, y) REFERENCES c (x, y) ON DELETE SET NULL ON UPDATE CASCADE);
ALTER TABLE `a b` ADD CONSTRAINT self FOREIGN KEY (boss) REFERENCES `a b` (id), ADD CONSTRAINT to_d FOREIGN KEY (other) REFERENCES d (id);
INSERT INTO `a b` (id, code, `n\"`) SELECT seq, CONCAT('c', seq), seq % 10 FROM seq_1_to_3000;
INSERT INTO c SELECT seq, 'y', 1 + seq % 3000, seq FROM seq_1_to_2000;
INSERT INTO d SELECT seq, seq, 'y' FROM seq_1_to_1000;
UPDATE `a b` SET boss = 1 + id % 3000, other = 1 + id % 1000;";

/// Indexes and foreign keys as the server prints them, without the schema.
fn of_postgres(server: &PgServer, db: &str) -> Vec<String> {
    let sql = "SELECT conrelid::regclass || ': ' || conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint WHERE contype = 'f'
        UNION ALL SELECT replace(pg_get_indexdef(indexrelid), 'public.', '') FROM pg_index JOIN pg_class c ON c.oid = indrelid WHERE relnamespace = 'public'::regnamespace AND NOT indisprimary ORDER BY 1";
    server.psql(db, sql).lines().map(str::to_owned).collect()
}

fn of_mariadb(server: &MariaServer, db: &str) -> Vec<String> {
    let indexes = server.sql(db, "SELECT CONCAT(TABLE_NAME, ': ', INDEX_NAME, IF(NON_UNIQUE, ' (', ' unique ('), GROUP_CONCAT(CONCAT(COLUMN_NAME, IFNULL(CONCAT(' ', SUB_PART), '')) ORDER BY SEQ_IN_INDEX), ')') FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = DATABASE() AND INDEX_NAME <> 'PRIMARY' AND INDEX_TYPE = 'BTREE' AND TABLE_NAME <> 'kwsync_checkpoint' GROUP BY TABLE_NAME, INDEX_NAME, NON_UNIQUE ORDER BY 1");
    let keys = server.sql(db, "SELECT CONCAT(k.TABLE_NAME, ': ', k.CONSTRAINT_NAME, ' (', GROUP_CONCAT(k.COLUMN_NAME ORDER BY k.ORDINAL_POSITION), ') -> ', k.REFERENCED_TABLE_NAME, ' (', GROUP_CONCAT(k.REFERENCED_COLUMN_NAME ORDER BY k.ORDINAL_POSITION), ') ', r.DELETE_RULE, ' ', r.UPDATE_RULE) FROM information_schema.KEY_COLUMN_USAGE k JOIN information_schema.REFERENTIAL_CONSTRAINTS r ON r.CONSTRAINT_SCHEMA = k.CONSTRAINT_SCHEMA AND r.CONSTRAINT_NAME = k.CONSTRAINT_NAME WHERE k.TABLE_SCHEMA = DATABASE() AND k.REFERENCED_TABLE_NAME IS NOT NULL GROUP BY k.TABLE_NAME, k.CONSTRAINT_NAME ORDER BY 1");
    indexes.lines().chain(keys.lines()).map(str::to_owned).collect()
}

#[test]
fn keys_go_from_mariadb_to_postgres_and_back() {
    let (Some(maria), Some(postgres)) = (MariaServer::shared(), PgServer::shared()) else { return };
    let (place, from, to) = (Place::new(), maria.create_database(), postgres.create_database());
    maria.sql(&from, CIRCLE);
    let source = format!("{}?tables=*", maria.dsn(&from));
    let dry = place.run(&["run", "--from", &source, "--to", &postgres.dsn(&to), "--dry-run"]).expect(0).out();
    for words in [
        "not carried over: index \"pre\": it covers only the start of \"note\"",
        "index \"words\": it is of the kind FULLTEXT",
        "when all rows are there:",
        "CREATE UNIQUE INDEX \"a b_idx\" ON \"a b\" (\"code\", \"n\"\"\");",
    ] {
        assert!(dry.contains(words), "{words}: {dry}");
    }
    place.run(&["run", "--from", &source, "--to", &postgres.dsn(&to), "--jobs", "2", "--quiet"]).expect(0);
    let expected = [
        "\"a b\": self FOREIGN KEY (boss) REFERENCES \"a b\"(id)",
        "\"a b\": to_d FOREIGN KEY (other) REFERENCES d(id)",
        "CREATE INDEX \"a b_k\" ON \"a b\" USING btree (\"n\"\"\")",
        "CREATE INDEX \"a b_self\" ON \"a b\" USING btree (boss)",
        "CREATE INDEX \"a b_to_d\" ON \"a b\" USING btree (other)",
        "CREATE INDEX c_k ON c USING btree (v, a_id)",
        "CREATE INDEX \"c_to a\" ON c USING btree (a_id)",
        "CREATE INDEX d_to_c ON d USING btree (x, y)",
        "CREATE UNIQUE INDEX \"a b_idx\" ON \"a b\" USING btree (code, \"n\"\"\")",
        "c: to a FOREIGN KEY (a_id) REFERENCES \"a b\"(id) ON DELETE CASCADE",
        "d: to_c FOREIGN KEY (x, y) REFERENCES c(x, y) ON UPDATE CASCADE ON DELETE SET NULL",
    ];
    let sorted = |mut lines: Vec<String>| {
        lines.sort();
        lines
    };
    assert_eq!(sorted(of_postgres(postgres, &to)), sorted(expected.map(str::to_owned).to_vec()));
    // The statements by hand make the same, in their order.
    let by_hand = postgres.create_database();
    let ddl = place.run(&["ddl", "--from", &source, "--to", &postgres.dsn(&by_hand)]).expect(0).out();
    postgres.psql(&by_hand, &ddl);
    assert_eq!(of_postgres(postgres, &by_hand), of_postgres(postgres, &to));
    // To another PostgreSQL, under other names: keys find their tables.
    let third = postgres.create_database();
    let source = format!("{}?tables=*", postgres.dsn(&to));
    let change = ["-T", "rename-table:prefix:m_", "-T", "rename-column:id=nr"];
    let run = ["run", "--from", &source, "--to", &postgres.dsn(&third), "--quiet"];
    place.run(&[&run[..], &change].concat()).expect(0);
    let renamed = of_postgres(postgres, &third);
    assert!(
        renamed
            .contains(&"m_c: to a FOREIGN KEY (a_id) REFERENCES \"m_a b\"(nr) ON DELETE CASCADE".to_owned()),
        "{renamed:?}"
    );
    assert!(
        renamed.contains(&"CREATE INDEX \"a b_k\" ON \"m_a b\" USING btree (\"n\"\"\")".to_owned()),
        "{renamed:?}"
    );
    assert_eq!(renamed.len(), expected.len());
    // Back into MariaDB all is as it was, but for what PostgreSQL did not take.
    let back = maria.create_database();
    place.run(&["run", "--from", &source, "--to", &maria.dsn(&back), "--quiet"]).expect(0);
    let first: Vec<_> = of_mariadb(maria, &from).into_iter().filter(|line| !line.contains("pre (")).collect();
    let plain =
        |line: &String| line.replace("a b: a b_", "a b: ").replace("c: c_", "c: ").replace("d: d_", "d: ");
    let second: Vec<_> = of_mariadb(maria, &back).iter().map(plain).collect();
    assert_eq!(
        sorted(first.iter().map(|line| line.replace("RESTRICT", "NO ACTION")).collect()),
        sorted(second.iter().map(|line| line.replace("RESTRICT", "NO ACTION")).collect())
    );
    place.run(&["verify", "--from", &source, "--to", &format!("{}?tables=*", maria.dsn(&back))]).expect(0);
}

/// What PostgreSQL's indexes say beyond columns is listed; the parameters leave the others out.
#[test]
fn what_is_not_carried_is_listed() {
    let (Some(maria), Some(postgres)) = (MariaServer::shared(), PgServer::shared()) else { return };
    let (place, from) = (Place::new(), postgres.create_database());
    postgres.psql(&from, "CREATE TABLE p (id int PRIMARY KEY, mail text UNIQUE, doc jsonb, at timestamptz, UNIQUE (at) DEFERRABLE); CREATE INDEX down ON p (at DESC, id); CREATE INDEX low ON p (lower(mail)); CREATE INDEX \"some\" ON p (id) WHERE id > 5; CREATE INDEX gin ON p USING gin (doc); CREATE TABLE q (id int PRIMARY KEY, p_id int REFERENCES p DEFERRABLE, mail text REFERENCES p (mail)); CREATE TABLE r (id int REFERENCES p ON DELETE SET DEFAULT)");
    let source = format!("{}?tables=*", postgres.dsn(&from));
    let dry =
        |from: &str, to: &str| place.run(&["run", "--from", from, "--to", to, "--dry-run"]).expect(0).out();
    let (there, back) = (postgres.create_database(), maria.create_database());
    let told = dry(&source, &postgres.dsn(&there));
    for words in [
        "index \"low\": it is over an expression: CREATE INDEX low ON public.p USING btree (lower(mail))",
        "index \"some\": it covers some rows only",
        "index \"gin\": it is of the kind gin",
        "index \"p_at_key\": it is deferrable",
        "foreign key \"q_p_id_fkey\" is deferrable, which is not kept",
        "CREATE INDEX \"down\" ON \"p\" (\"at\" DESC, \"id\");",
        "CREATE UNIQUE INDEX \"p_mail_key\"",
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }
    let told = dry(&source, &maria.dsn(&back));
    for words in [
        "not carried over: index \"p_mail_key\": its columns are longer than the 3072 bytes",
        "not carried over: foreign key \"r_id_fkey\" is ON DELETE SET DEFAULT",
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }
    // A table that is pointed to and does not come along.
    let alone = format!("{}?table=q", postgres.dsn(&from));
    let told = dry(&alone, &postgres.dsn(&there));
    assert!(
        told.contains("foreign key \"q_p_id_fkey\" of q: public.p is not among the tables of this job"),
        "{told}"
    );
    // A column that does not come along.
    let part = format!("{}?table=p&columns=id", postgres.dsn(&from));
    let told = dry(&part, &postgres.dsn(&there));
    assert!(told.contains("index or foreign key \"down\": columns of it do not come along"), "{told}");
    for (with, indexes, keys) in [
        ("", 2, 3),
        ("?indexes=unique&foreign_keys=false", 1, 0),
        ("?indexes=none", 0, 2),
        ("?definitions=columns", 0, 0),
    ] {
        let to = postgres.create_database();
        let target = format!("{}{with}", postgres.dsn(&to));
        // Without the unique index nothing can point to what it covers.
        let status = if with.ends_with("indexes=none") { 1 } else { 0 };
        place.run(&["run", "--from", &source, "--to", &target, "--quiet"]).expect(status);
        let made = of_postgres(postgres, &to);
        assert_eq!(
            made.iter().filter(|line| line.starts_with("CREATE")).count(),
            indexes,
            "{with}: {made:?}"
        );
        assert_eq!(made.iter().filter(|line| !line.starts_with("CREATE")).count(), keys, "{with}: {made:?}");
    }
}

/// A row that points nowhere: all else is made, the job fails and says so, and goes on when it is mended.
#[test]
fn a_key_that_rows_break_is_told_and_made_later() {
    let (Some(maria), Some(postgres)) = (MariaServer::shared(), PgServer::shared()) else { return };
    let (place, from) = (Place::new(), maria.create_database());
    maria.sql(&from, "CREATE TABLE a (id int PRIMARY KEY, v int, KEY by_v (v)); CREATE TABLE b (id int PRIMARY KEY, a_id int, CONSTRAINT to_a FOREIGN KEY (a_id) REFERENCES a (id)); INSERT INTO a SELECT seq, seq FROM seq_1_to_100; INSERT INTO b SELECT seq, seq FROM seq_1_to_100; SET foreign_key_checks = 0; INSERT INTO b VALUES (1000, 7777)");
    let (there, back) = (postgres.create_database(), maria.create_database());
    let source = format!("{}?tables=*", maria.dsn(&from));
    for (target, mend, name) in [
        (postgres.dsn(&there), &(|sql: &str| drop(postgres.psql(&there, sql))) as &dyn Fn(&str), "\"b\""),
        (maria.dsn(&back), &|sql: &str| drop(maria.sql(&back, sql)), "`b`"),
    ] {
        let run = || place.run(&["run", "--from", &source, "--to", &target, "--quiet"]);
        for _ in 0..2 {
            let said = run().expect(1).err();
            for words in [
                "all rows are there, but an index or foreign key could not be made: ALTER TABLE",
                name,
                "to_a",
                "run the same command again",
            ] {
                assert!(said.contains(words), "{words}: {said}");
            }
        }
        mend("DELETE FROM b WHERE id = 1000");
        run().expect(0);
    }
    assert_eq!(
        of_postgres(postgres, &there),
        [
            "CREATE INDEX a_by_v ON a USING btree (v)",
            "CREATE INDEX b_to_a ON b USING btree (a_id)",
            "b: to_a FOREIGN KEY (a_id) REFERENCES a(id)"
        ]
    );
    assert_eq!(postgres.psql(&there, "SELECT count(*) FROM b"), "100\n");
    assert_eq!(
        of_mariadb(maria, &back),
        ["a: by_v (v)", "b: to_a (a_id)", "b: to_a (a_id) -> a (id) RESTRICT RESTRICT"]
    );
    assert_eq!(maria.sql(&back, "SELECT COUNT(*) FROM b"), "100\n");
}

/// Twenty tables; the process is killed when some of them are there. They are not read again, and get their keys all the same.
#[test]
fn twenty_tables_killed_in_the_middle() {
    let (Some(maria), Some(postgres)) = (MariaServer::shared(), PgServer::shared()) else { return };
    let (place, from, to) = (Place::new(), maria.create_database(), postgres.create_database());
    for n in 0..20 {
        let before = if n == 0 { 19 } else { n - 1 };
        maria.sql(&from, &format!("CREATE TABLE t{n:02} (id int PRIMARY KEY, v int, u int, UNIQUE KEY by_v (v), KEY by_u (u)); INSERT INTO t{n:02} SELECT seq, seq, seq FROM seq_1_to_3000; SET foreign_key_checks = 0; ALTER TABLE t{n:02} ADD CONSTRAINT k{n} FOREIGN KEY (u) REFERENCES t{before:02} (v)"));
    }
    let source = format!("{}?tables=*&batch_rows=500", maria.dsn(&from));
    let target = postgres.dsn(&to);
    let arguments = [
        "run",
        "--from",
        &source,
        "--to",
        &target,
        "--rate-rows",
        "6000",
        "--commit-rows",
        "1000",
        "--quiet",
    ];
    let finished = || -> Vec<String> {
        let sql = "SELECT split FROM kwsync_checkpoint WHERE done AND sequence > 0 ORDER BY 1";
        match postgres.psql(&to, "SELECT to_regclass('kwsync_checkpoint') IS NULL").trim() {
            "t" => Vec::new(),
            _ => postgres.psql(&to, sql).lines().map(str::to_owned).collect(),
        }
    };
    let mut child = place.command(&arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while finished().len() < 5 && Instant::now() < deadline {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it was killed");
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let done = finished();
    assert!((5..20).contains(&done.len()), "{done:?}");
    // Whoever reads a finished table again finds this row.
    for n in 0..20 {
        maria.sql(&from, &format!("SET foreign_key_checks = 0; INSERT INTO t{n:02} VALUES (-1, -1, NULL)"));
    }
    place.run(&arguments).expect(0);
    for n in 0..20 {
        let rows = postgres
            .psql(&to, &format!("SELECT count(*), count(DISTINCT id), min(id) FROM t{n:02} WHERE id > 0"));
        assert_eq!(rows, "3000|3000|1\n", "t{n:02}");
        let table = format!("{from}.t{n:02}");
        if done.contains(&table) {
            let again = postgres.psql(&to, &format!("SELECT count(*) FROM t{n:02} WHERE id = -1"));
            assert_eq!(again, "0\n", "{table} was read again");
        }
    }
    assert_eq!(of_postgres(postgres, &to).len(), 60);
}
