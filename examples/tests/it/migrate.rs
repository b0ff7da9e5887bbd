//! From database to database, by the command.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;
use std::time::{Duration, Instant};

use kwsync_core::testkit::{MariaServer, PgServer};

use super::support::{Place, parquet_files};

/// Tables with awkward names, keys and types.
const SCHEMA: &str = r#"
CREATE TABLE "Order Lines" (id bigint PRIMARY KEY, "when" timestamptz NOT NULL, amount numeric(12,3), tags text[], doc jsonb, raw bytea, "sp an" interval);
CREATE TABLE pairs (b int, a text, v double precision, PRIMARY KEY (b, a));
CREATE TABLE loose (n int, t text, r int4range);
CREATE TABLE empty (id int PRIMARY KEY, name varchar(9) NOT NULL);
INSERT INTO "Order Lines" SELECT n, '2024-01-01Z'::timestamptz + n * interval '17 s', (n * 37 % 1000003)::numeric / 1000, ARRAY[md5(n::text), NULL], jsonb_build_object('n', n), decode(md5(n::text), 'hex'), n * interval '1 day 3 s' FROM generate_series(1, 30000) n;
INSERT INTO pairs SELECT n % 50, 'a"' || n, sqrt(n) FROM generate_series(1, 5000) n;
INSERT INTO loose SELECT nullif(n % 7, 3), CASE WHEN n % 5 > 0 THEN E'line\n\\' || n END, int4range(n, n + 5) FROM generate_series(1, 4000) n;
"#;

/// A digest of each table's rows, whatever their order.
fn digests(server: &PgServer, db: &str) -> Vec<String> {
    let tables = server.psql(
        db,
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND relname <> 'kwsync_checkpoint' ORDER BY 1",
    );
    tables
        .lines()
        .map(|table| {
            let sql =
                format!("SELECT count(*), md5(string_agg(t::text, ';' ORDER BY t::text)) FROM \"{table}\" t");
            format!("{table}: {}", server.psql(db, &sql).trim())
        })
        .collect()
}

#[test]
fn a_database_goes_over_with_its_keys_and_types() {
    let Some(server) = PgServer::shared() else { return };
    let (place, from, to) = (Place::new(), server.create_database(), server.create_database());
    server.psql(&from, SCHEMA);
    let source = format!("{}?tables=*&splits=3", server.dsn(&from));
    let dry = place.run(&["run", "--from", &source, "--to", &server.dsn(&to), "--dry-run"]).expect(0);
    assert!(
        dry.out().contains("column \"r\" of public.loose is int4range, which is read as its text"),
        "{}",
        dry.out()
    );
    let ran = place
        .run(&["run", "--from", &source, "--to", &server.dsn(&to), "--jobs", "2", "--report", "json"])
        .expect(0);
    let report: serde_json::Value = serde_json::from_str(&ran.out()).unwrap();
    assert_eq!(report["rows_written"], 39_000, "{}", ran.out());
    assert_eq!(digests(server, &from), digests(server, &to));
    let described = |db: &str| {
        server.psql(db, "SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, i.indkey FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND c.relname <> 'kwsync_checkpoint' ORDER BY 1, 2")
    };
    assert_eq!(described(&from), described(&to));
    // Into files, and from there into a database again: keys and types go with them.
    place.run(&["run", "--from", &source, "--to", "file:out?format=parquet"]).expect(0);
    assert!(parquet_files(&place.path("out")).len() >= 3);
    let again = server.create_database();
    place.run(&["run", "--from", "out", "--to", &server.dsn(&again)]).expect(0);
    // Parquet has no intervals: they are text on the way.
    server
        .psql(&again, "ALTER TABLE \"Order Lines\" ALTER \"sp an\" TYPE interval USING \"sp an\"::interval");
    let full: Vec<_> = digests(server, &from).into_iter().filter(|line| !line.starts_with("empty")).collect();
    let back: Vec<_> =
        digests(server, &again).into_iter().filter(|line| !line.starts_with("empty")).collect();
    assert_eq!(full, back);
}

/// The process is killed at several moments of a migration; it goes on where it was, and nothing is there twice.
#[test]
fn a_migration_that_is_killed_goes_on() {
    let Some(server) = PgServer::shared() else { return };
    let (place, from, to) = (Place::new(), server.create_database(), server.create_database());
    server.psql(&from, SCHEMA);
    for n in 0..8 {
        server.psql(
            &from,
            &format!("CREATE TABLE more_{n} AS SELECT * FROM \"Order Lines\" WHERE id % 8 = {n}"),
        );
    }
    let source = format!("{}?tables=*&splits=2&batch_rows=400", server.dsn(&from));
    let target = server.dsn(&to);
    let arguments =
        ["run", "--from", &source, "--to", &target, "--jobs", "2", "--rate-rows", "30000", "--quiet"];
    let stored = || -> u64 {
        let sql = "SELECT coalesce(sum(n_live_tup), 0) FROM pg_stat_user_tables WHERE relname <> 'kwsync_checkpoint'";
        server.psql(&to, "SELECT pg_stat_clear_snapshot()");
        server.psql(&to, sql).trim().parse().unwrap_or(0)
    };
    let (mut kills, mut finished) = (0, false);
    for step in 1..=4_u64 {
        let mut child =
            place.command(&arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        let done = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break Some(status);
            }
            if stored() >= step * 8_000 || Instant::now() > deadline {
                break None;
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        if let Some(status) = done {
            assert!(status.success());
            finished = true;
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
    }
    if !finished {
        place.run(&arguments).expect(0);
    }
    assert_eq!(digests(server, &from), digests(server, &to), "after {kills} kills");
    assert!(kills > 0);
}

/// From MariaDB, its odd types among them, into PostgreSQL.
#[test]
fn a_mariadb_goes_to_postgres() {
    let (Some(maria), Some(postgres)) = (MariaServer::shared(), PgServer::shared()) else { return };
    let (place, from, to) = (Place::new(), maria.create_database(), postgres.create_database());
    maria.sql(
        &from,
        "SET time_zone = '+00:00'; CREATE TABLE `Order Lines` (id bigint unsigned PRIMARY KEY, at datetime(6) NOT NULL, amount decimal(20,4), note varchar(40), raw blob, flags bit(5), kind enum('a', 'b'), doc json);
         INSERT INTO `Order Lines` SELECT seq, '2024-01-01' + INTERVAL seq MICROSECOND, seq / 7, IF(seq % 3, CONCAT('n\\'\\\\', seq), NULL), UNHEX(MD5(seq)), seq % 32, IF(seq % 2, 'a', 'b'), JSON_OBJECT('n', seq) FROM seq_1_to_20000;
         CREATE TABLE pairs (b int, a varchar(20), PRIMARY KEY (b, a)); INSERT INTO pairs SELECT seq % 50, CONCAT('x', seq) FROM seq_1_to_3000; CREATE TABLE empty (y year)",
    );
    let source = format!("{}?tables=*&splits=3&batch_rows=2000", maria.dsn(&from));
    place.run(&["run", "--from", &source, "--to", &postgres.dsn(&to), "--jobs", "2"]).expect(0);
    let there = maria.sql(&from, "SELECT id, at, amount, IFNULL(note, '-'), HEX(raw), BIN(flags), kind, doc FROM `Order Lines` ORDER BY id");
    let here = postgres.psql(&to, "SELECT concat_ws(E'\\t', id, to_char(at, 'YYYY-MM-DD HH24:MI:SS.US'), amount, replace(coalesce(note, '-'), '\\', '\\\\'), upper(encode(raw, 'hex')), coalesce(nullif(ltrim(flags::text, '0'), ''), '0'), kind, doc) FROM \"Order Lines\" ORDER BY id");
    let differs = there.lines().zip(here.lines()).find(|(there, here)| there != here);
    assert_eq!(differs, None);
    assert_eq!(there.lines().count(), 20_000);
    assert_eq!(postgres.psql(&to, "SELECT count(*) FROM pairs"), "3000\n");
    assert_eq!(postgres.psql(&to, "SELECT relname, indkey FROM pg_index JOIN pg_class c ON c.oid = indrelid WHERE indisprimary AND relnamespace = 'public'::regnamespace AND relname <> 'kwsync_checkpoint' ORDER BY 1"), "Order Lines|1\npairs|1 2\n");
}

/// A load into MariaDB is killed and started again: every row is there once.
#[test]
fn a_load_into_mariadb_that_is_killed_goes_on() {
    let (Some(maria), Some(postgres)) = (MariaServer::shared(), PgServer::shared()) else { return };
    let (place, from, to) = (Place::new(), postgres.create_database(), maria.create_database());
    postgres.psql(&from, "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT n, md5(n::text) FROM generate_series(1, 40000) n");
    // No key there: a row that came twice would be there twice.
    maria.sql(&to, "CREATE TABLE t (id int, v varchar(32)) ENGINE=InnoDB");
    let source = format!("{}?table=t&splits=3&batch_rows=500", postgres.dsn(&from));
    let target = maria.dsn(&to);
    let arguments = [
        "run",
        "--from",
        &source,
        "--to",
        &target,
        "--jobs",
        "2",
        "--commit-rows",
        "1000",
        "--rate-rows",
        "10000",
        "--quiet",
    ];
    let (mut kills, mut finished) = (0, false);
    // About forty commits in four seconds: the kills fall far from the end, after which a run would begin anew.
    for step in [2, 6, 10_u64] {
        let mut child =
            place.command(&arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        let done = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break Some(status);
            }
            let moved = maria.try_sql(&to, "SELECT COALESCE(SUM(sequence), 0) FROM kwsync_checkpoint");
            let moved = moved.is_ok_and(|moved| moved.trim().parse::<u64>().unwrap_or(0) >= step);
            if moved || Instant::now() > deadline {
                break None;
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        if let Some(status) = done {
            assert!(status.success());
            finished = true;
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
    }
    if !finished {
        place.run(&arguments).expect(0);
    }
    assert_eq!(
        maria.sql(&to, "SELECT COUNT(*), COUNT(DISTINCT id), MIN(id), MAX(id) FROM t"),
        "40000\t40000\t1\t40000\n",
        "after {kills} kills"
    );
    assert!(kills > 0);
}

/// What `kwsync ddl` prints can be run, and says what it leaves out.
#[test]
fn statements_of_a_migration_can_be_run_by_hand() {
    let (Some(maria), Some(postgres)) = (MariaServer::shared(), PgServer::shared()) else { return };
    let (place, theirs, ours) = (Place::new(), maria.create_database(), postgres.create_database());
    maria.sql(&theirs, "CREATE TABLE a (id int unsigned AUTO_INCREMENT PRIMARY KEY COMMENT 'the key''s', mood enum('x', 'it''s') NOT NULL DEFAULT 'x', n decimal(9,2) DEFAULT 1.5, big bigint unsigned, w varchar(9) DEFAULT 'it\\'s', f varchar(40) DEFAULT uuid(), at datetime(3) DEFAULT current_timestamp(3) ON UPDATE current_timestamp(3), bits bit(4) DEFAULT b'101', on_ bool DEFAULT true, kinds set('p', 'q'), UNIQUE u (big)); CREATE TABLE `b c` (y year, d datetime(3) NOT NULL); CREATE TABLE c (big bigint unsigned AUTO_INCREMENT PRIMARY KEY, twice bigint AS (1 + 1))");
    let source = format!("{}?tables=*", maria.dsn(&theirs));
    let ddl = place
        .run(&["ddl", "--from", &source, "--to", &postgres.dsn(&ours), "-T", "rename-column:y=year"])
        .expect(0)
        .out();
    for words in [
        "the default of column \"f\" of",
        "is not carried over: uuid()",
        "on update current_timestamp(3) is not carried over",
        "column \"twice\" of",
        "not carried over: \"big\" counts on by itself, which a column of numeric(20,0) cannot",
        "CREATE UNIQUE INDEX \"a_u\" ON \"a\" (\"big\");",
        "is set('p','q'), which is read as text",
        "\"id\" bigint GENERATED BY DEFAULT AS IDENTITY NOT NULL",
        "\"mood\" text DEFAULT 'x' CHECK (\"mood\" IN ('x', 'it''s')) NOT NULL",
        "\"n\" numeric(9,2) DEFAULT '1.50'",
        "\"w\" varchar(9) DEFAULT 'it''s'",
        "\"at\" timestamp(3) DEFAULT CURRENT_TIMESTAMP",
        "\"bits\" bit(4) DEFAULT '0101'",
        "PRIMARY KEY (\"id\")",
        "\"d\" timestamp(3) NOT NULL",
        "\"year\" smallint",
        "IS 'the key''s'",
    ] {
        assert!(ddl.contains(words), "{words}: {ddl}");
    }
    assert!(!ddl.contains("kwsync_checkpoint"), "{ddl}");
    // Nothing was made; run by hand, everything is.
    assert_eq!(
        postgres.psql(&ours, "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace"),
        "0\n"
    );
    postgres.psql(&ours, &ddl);
    // What the tables fill in by themselves is what it was.
    postgres.psql(&ours, "INSERT INTO a (big) VALUES (1), (2)");
    assert_eq!(
        postgres.psql(&ours, "SELECT id, mood, n, w, bits, on_, at IS NOT NULL FROM a ORDER BY id"),
        "1|x|1.50|it's|0101|1|t\n2|x|1.50|it's|0101|1|t\n"
    );
    // In a schema of its own.
    let named =
        place.run(&["ddl", "--from", &source, "--to", &postgres.dsn(&ours), "-s", "new one"]).expect(0).out();
    assert!(
        named.contains("CREATE SCHEMA IF NOT EXISTS \"new one\"") && named.contains("\"new one\".\"a\""),
        "{named}"
    );
    let back = maria.create_database();
    let source = format!("{}?tables=*", postgres.dsn(&ours));
    let ddl = place.run(&["ddl", "--from", &source, "--to", &maria.dsn(&back)]).expect(0).out();
    maria.sql(&back, &ddl);
    let made = maria.sql(&back, "SHOW CREATE TABLE a");
    for words in [
        "`id` bigint(20) NOT NULL AUTO_INCREMENT",
        "`w` varchar(9) DEFAULT 'it''s'",
        "`bits` bit(4) DEFAULT b'101'",
        "`at` datetime(6) DEFAULT current_timestamp(6)",
        "COMMENT 'the key''s'",
        "PRIMARY KEY (`id`)",
        "`mood` longtext",
        "`n` decimal(9,2) DEFAULT 1.50",
    ] {
        assert!(made.contains(words), "{words}: {made}");
    }
    let again = place.run(&["ddl", "--from", &source, "--to", &maria.dsn(&back)]).expect(0).out();
    assert!(again.contains("is there already"), "{again}");
}

/// PostgreSQL's enums, identities and defaults go to MariaDB and to another PostgreSQL, and numbers count on behind the rows.
#[test]
fn tables_fill_in_what_they_did_before() {
    let (Some(maria), Some(postgres)) = (MariaServer::shared(), PgServer::shared()) else { return };
    let (place, from) = (Place::new(), postgres.create_database());
    postgres.psql(&from, "CREATE TYPE mood AS ENUM ('low', 'it''s', 'high'); CREATE DOMAIN five AS int DEFAULT 5; CREATE TABLE t (id serial PRIMARY KEY, m mood NOT NULL DEFAULT 'low', at timestamptz DEFAULT now(), yes boolean DEFAULT true, raw bytea DEFAULT '\\x00ff', doc jsonb DEFAULT '{}', d date DEFAULT '2024-02-29', w varchar(9) DEFAULT 'a''b', s text DEFAULT 'x y', g uuid DEFAULT gen_random_uuid(), five five); CREATE TABLE u (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v int, twice int GENERATED ALWAYS AS (v * 2) STORED); INSERT INTO t (m) SELECT 'high' FROM generate_series(1, 500); INSERT INTO u (v) SELECT n FROM generate_series(1, 300) n");
    let source = format!("{}?tables=*", postgres.dsn(&from));
    let (there, back) = (postgres.create_database(), maria.create_database());
    // Behind the rows that came.
    let target = format!("{}?schema=new", postgres.dsn(&there));
    let first = format!("{}?table=t", postgres.dsn(&from));
    place.run(&["run", "--from", &first, "--to", &target]).expect(0);
    place.run(&["run", "--from", &format!("{}?table=u", postgres.dsn(&from)), "--to", &target]).expect(0);
    postgres.psql(&there, "INSERT INTO new.t DEFAULT VALUES; INSERT INTO new.u (v, twice) VALUES (7, 14)");
    assert_eq!(
        postgres.psql(
            &there,
            "SELECT id, m, at IS NOT NULL, yes, raw, doc, d, w, s, g, five FROM new.t WHERE m = 'low'"
        ),
        "501|low|t|t|\\x00ff|{}|2024-02-29|a'b|x y||\n"
    );
    assert_eq!(postgres.psql(&there, "SELECT id, v FROM new.u WHERE v = 7 ORDER BY id"), "7|7\n301|7\n");
    let dry = place.run(&["run", "--from", &source, "--to", &maria.dsn(&back), "--dry-run"]).expect(0).out();
    for words in [
        "the default of column \"g\" of public.t is not carried over: gen_random_uuid()",
        "column \"twice\" of public.u is generated",
    ] {
        assert!(dry.contains(words), "{words}: {dry}");
    }
    place.run(&["run", "--from", &source, "--to", &maria.dsn(&back)]).expect(0);
    maria.sql(&back, "INSERT INTO t (five) VALUES (1); INSERT INTO u (v) VALUES (7)");
    assert_eq!(
        maria.sql(
            &back,
            "SELECT id, m, at IS NOT NULL, yes, HEX(raw), doc, d, w, s, g FROM t WHERE m = 'low'"
        ),
        "501\tlow\t1\t1\t00FF\t{}\t2024-02-29\ta'b\tx y\tNULL\n"
    );
    assert_eq!(maria.sql(&back, "SELECT id FROM u WHERE v = 7 ORDER BY id"), "7\n301\n");
    assert!(maria.try_sql(&back, "INSERT INTO t (m) VALUES ('none')").is_err());
    // Or without all that.
    let plain = maria.create_database();
    let target = format!("{}?definitions=columns", maria.dsn(&plain));
    place.run(&["run", "--from", &source, "--to", &target]).expect(0);
    let made = maria.sql(&plain, "SHOW CREATE TABLE t");
    assert!(
        !made.contains("AUTO_INCREMENT") && !made.contains("enum") && !made.contains("DEFAULT 'x"),
        "{made}"
    );
}

/// Jobs of DataX from MySQL into PostgreSQL and back: columns by position, constants, conditions, queries.
#[test]
fn jobs_of_datax_move_rows_between_databases() {
    let (Some(maria), Some(postgres)) = (MariaServer::shared(), PgServer::shared()) else { return };
    let (place, theirs, ours) = (Place::new(), maria.create_database(), postgres.create_database());
    maria.sql(&theirs, "CREATE TABLE cpu (id int PRIMARY KEY, at datetime NOT NULL, load1 double, host varchar(20)); INSERT INTO cpu SELECT seq, '2024-01-01' + INTERVAL seq SECOND, seq / 4, CONCAT('h', seq % 5) FROM seq_1_to_5000; CREATE TABLE back (site int, id int, at datetime, load1 double, PRIMARY KEY (site, id))");
    postgres.psql(
        &ours,
        "CREATE TABLE usage (site int, id int, at timestamp, value double precision, PRIMARY KEY (site, id))",
    );
    let job = |reader: &str, columns: &str, read: &str, writer: &str, into: &str, write: &str| {
        format!(
            r#"{{"job": {{"content": [{{
                "reader": {{"name": "{reader}", "parameter": {{{login_from}, "column": {columns}, {read}}}}},
                "writer": {{"name": "{writer}", "parameter": {{{login_to}, "column": {into}, {write}}}}}
            }}], "setting": {{"speed": {{"channel": 2}}, "errorLimit": {{"record": 0}}}}}}}}"#,
            login_from = login(reader, maria, postgres),
            login_to = login(writer, maria, postgres),
        )
    };
    let mysql = format!("jdbc:mysql://127.0.0.1:{}/{theirs}?useSSL=false&useUnicode=true", maria.port());
    let pg = format!("jdbc:postgresql://127.0.0.1:{}/{ours}?sslmode=disable", postgres.port());
    let into_pg = format!(r#""connection": [{{"table": ["usage"], "jdbcUrl": "{pg}"}}]"#);
    let names = r#"["site", "id", "at", "value"]"#;
    // By table with a constant, a condition and splits, then by a query.
    place.write(
        "table.json",
        job(
            "mysqlreader",
            r#"["9001", "id", "at", "load1"]"#,
            &format!(r#""where": "id <= 4000", "splitPk": "id", "connection": [{{"table": ["cpu"], "jdbcUrl": ["{mysql}"]}}]"#),
            "postgresqlwriter",
            names,
            &into_pg,
        ),
    );
    place.run(&["job", "table.json"]).expect(0);
    place.write(
        "query.json",
        job(
            "mysqlreader",
            "[]",
            &format!(r#""connection": [{{"querySql": ["SELECT 9002, id, at, load1 FROM cpu WHERE id > 4000;"], "jdbcUrl": ["{mysql}"]}}]"#),
            "postgresqlwriter",
            names,
            &into_pg,
        ),
    );
    place.run(&["job", "query.json"]).expect(0);
    let sums = "SELECT site, count(*), sum(id), sum(value), max(at) FROM usage GROUP BY site ORDER BY site";
    assert_eq!(
        postgres.psql(&ours, sums),
        "9001|4000|8002000|2000500|2024-01-01 01:06:40\n9002|1000|4500500|1125125|2024-01-01 01:23:20\n"
    );
    place.write(
        "back.json",
        job(
            "postgresqlreader",
            r#"["site", "id", "at", "value"]"#,
            &format!(r#""connection": [{{"table": ["usage"], "jdbcUrl": ["{pg}"]}}]"#),
            "mysqlwriter",
            r#"["site", "id", "at", "load1"]"#,
            &format!(
                r#""writeMode": "replace", "connection": [{{"table": ["back"], "jdbcUrl": "{mysql}"}}]"#
            ),
        ),
    );
    place.run(&["job", "back.json"]).expect(0);
    let sums = "SELECT site, COUNT(*), SUM(id), SUM(load1), MAX(at) FROM back GROUP BY site ORDER BY site";
    assert_eq!(
        maria.sql(&theirs, sums),
        "9001\t4000\t8002000\t2000500\t2024-01-01 01:06:40\n9002\t1000\t4500500\t1125125\t2024-01-01 01:23:20\n"
    );
}

/// User and password of a plugin's server.
fn login(plugin: &str, maria: &MariaServer, postgres: &PgServer) -> String {
    let (user, password) = match plugin.starts_with("mysql") {
        true => (maria.user(), maria.password()),
        false => (postgres.superuser(), postgres.password()),
    };
    format!(r#""username": "{user}", "password": "{password}""#)
}

/// A table of MariaDB's that somebody uses cannot be changed; the job does not wait for a day, and says what to look for.
#[test]
fn a_lock_of_mariadb_that_is_not_to_be_had_is_told() {
    let Some(maria) = MariaServer::shared() else { return };
    let (place, db) = (Place::new(), maria.create_database());
    maria.sql(&db, "CREATE TABLE t (id int) ENGINE=InnoDB");
    let input = place.write("in.csv", "id,more\n1,2\n");
    let (port, password) = (maria.port().to_string(), format!("-p{}", maria.password()));
    let mut holder = place
        .command_of(
            "mariadb",
            &[
                "--no-defaults",
                "-N",
                "-B",
                "-n",
                "-h",
                "127.0.0.1",
                "-P",
                &port,
                "-u",
                maria.user(),
                &password,
                "-D",
                &db,
            ],
        )
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut words = holder.stdin.take().unwrap();
    words.write_all(b"BEGIN; SELECT CONCAT('holds ', COUNT(*)) FROM t;\n").unwrap();
    let mut said = String::new();
    BufReader::new(holder.stdout.take().unwrap()).read_line(&mut said).unwrap();
    assert_eq!(said, "holds 0\n");
    let (from, to) = (format!("{}?header=true", input.display()), maria.dsn(&db));
    let began = Instant::now();
    let target = format!("{to}?table=t&lock_timeout=1s");
    let failed = place.run(&["run", "--from", &from, "--to", &target, "--retries", "1", "--quiet"]).expect(1);
    for words in ["SHOW FULL PROCESSLIST", "lock_timeout=", "1205"] {
        assert!(failed.err().contains(words), "{words}: {}", failed.err());
    }
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
    // Once it is let go, the same command goes through.
    words.write_all(b"COMMIT;\n").unwrap();
    drop(words);
    holder.wait().unwrap();
    let target = format!("{to}?table=t&lock_timeout=10s");
    place.run(&["run", "--from", &from, "--to", &target, "--quiet"]).expect(0);
    assert_eq!(maria.sql(&db, "SELECT id, more FROM t"), "1\t2\n");
}
