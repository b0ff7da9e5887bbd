//! Jobs of DataX between real servers, PostgreSQL in the role of KWDB.

use kwsync_core::testkit::PgServer;

use super::support::{Place, block};

/// The password as it stands in a job.
fn json(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A job of one content: both databases on `server`, parameters of reader and writer beside the logins.
fn content(server: &PgServer, databases: (&str, &str), reader: &str, writer: &str) -> String {
    let (user, password, port) = (json(server.superuser()), json(server.password()), server.port());
    let (from, to) = databases;
    format!(
        r#"{{"reader": {{"name": "postgresqlreader", "parameter": {{"username": {user}, "password": {password}, {reader},
            "connection": [{{"table": ["src"], "jdbcUrl": ["jdbc:postgresql://127.0.0.1:{port}/{from}"]}}]}}}},
          "writer": {{"name": "kaiwudbwriter", "parameter": {{"username": {user}, "password": {password}, {writer},
            "jdbcUrl": "jdbc:kaiwudb://127.0.0.1:{port}/{to}"}}}}}}"#
    )
}

#[test]
fn the_documented_job_runs() {
    let Some(server) = PgServer::shared() else { return };
    let place = Place::new();
    let (from, to) = (server.create_database(), server.create_database());
    server.psql(&from, "CREATE TABLE cpu (id int PRIMARY KEY, ts timestamptz, usage int, site text, host text); INSERT INTO cpu SELECT n, timestamptz '2024-05-01Z' + n * interval '1 s', n, 'b', 'h' || n FROM generate_series(1, 2000) n");
    server.psql(&to, "CREATE TABLE cpu (hostname text, k_timestamp timestamptz, usage_user bigint); INSERT INTO cpu VALUES ('old', now(), -1), ('kept', now(), 1)");
    let text = block("migrating/datax.md", "json", 0)
        .replace(
            "jdbc:postgresql://SOURCE_HOST:5432/metrics",
            &format!("jdbc:postgresql://127.0.0.1:{}/{from}", server.port()),
        )
        .replace(
            "jdbc:kaiwudb://KWDB_HOST:26257/benchmark",
            &format!("jdbc:kaiwudb://127.0.0.1:{}/{to}", server.port()),
        )
        .replace("\"SOURCE_USER\"", &json(server.superuser()))
        .replace("\"KWDB_USER\"", &json(server.superuser()))
        .replace("\"SOURCE_PASSWORD\"", "\"${SOURCE_SECRET}\"")
        .replace("\"KWDB_PASSWORD\"", &json(server.password()));
    place.write("job.json", text);
    let run = |arguments: &[&str]| {
        let mut command = place.command(arguments);
        super::support::Ran::of(command.env("SOURCE_SECRET", server.password()).output().unwrap())
    };
    let dry = run(&["job", "job.json", "--dry-run"]).expect(0).out();
    assert!(dry.contains("transform name-columns:k_timestamp,usage_user,hostname"), "{dry}");
    assert!(!dry.contains(server.password()), "{dry}");
    assert_eq!(server.psql(&to, "SELECT count(*) FROM cpu"), "2\n");

    let out = run(&["job", "job.json"]).expect(0).out();
    assert_eq!(server.psql(&to, "SELECT count(*), sum(usage_user), min(hostname) FROM cpu WHERE usage_user < 1000 AND hostname LIKE 'b-%'"), "999|499500|b-h1\n");
    assert_eq!(server.psql(&to, "SELECT hostname FROM cpu WHERE hostname NOT LIKE 'b-%'"), "kept\n");
    let closing: Vec<_> =
        out.lines().skip_while(|line| !line.contains("[job-0] INFO  JobContainer -")).skip(1).collect();
    let names: Vec<_> = closing.iter().map(|line| line.split(" : ").next().unwrap().trim()).collect();
    let shown = block("migrating/datax.md", "", 1);
    let documented: Vec<_> = shown.lines().map(|line| line.split(" : ").next().unwrap().trim()).collect();
    assert_eq!(names, documented, "{out}");
    assert!(closing[5].ends_with(": 999") && closing[6].ends_with(": 0"), "{out}");
}

#[test]
fn failures_are_counted_up_to_the_limit() {
    let Some(server) = PgServer::shared() else { return };
    let place = Place::new();
    let (from, to) = (server.create_database(), server.create_database());
    server.psql(
        &from,
        "CREATE TABLE src (id int, v int); INSERT INTO src SELECT n, n % 10 FROM generate_series(1, 100) n",
    );
    server.psql(
        &to,
        "CREATE TABLE dst (k int PRIMARY KEY, v int CHECK (v <> 3)); CREATE TABLE log (what text)",
    );
    let job = |mode: &str, limit: &str| {
        let writer = format!(
            r#""table": "dst", "column": ["k", "v"], "writeMode": "{mode}", "preSql": ["DELETE FROM @table"], "postSql": ["INSERT INTO log VALUES ('done')"]"#
        );
        let one = content(server, (&from, &to), r#""column": ["id", "v"]"#, &writer);
        format!(r#"{{"job": {{"content": [{one}], "setting": {{"errorLimit": {limit}}}}}}}"#)
    };
    // Ten of a hundred rows are refused.
    place.write("job.json", job("insert", "{\"record\": 10}"));
    let out = place.run(&["job", "job.json"]).expect(3).out();
    assert!(out.contains("Total Records Read   : 100\nTotal Failures       : 10\n"), "{out}");
    assert_eq!(server.psql(&to, "SELECT count(*) FROM dst"), "90\n");
    assert_eq!(server.psql(&to, "SELECT count(*) FROM log"), "1\n");
    place.write("job.json", job("insert", "{\"record\": 9}"));
    let ran = place.run(&["job", "job.json"]).expect(4);
    assert!(
        ran.err().contains("KaiwuDBWriter-02: Invalid value: 10 of 100 records rejected, 9 allowed"),
        "{}",
        ran.err()
    );
    place.write("job.json", job("insert", "{\"percentage\": 0.1}"));
    place.run(&["job", "job.json", "--restart", "--errors", "reject:bad.jsonl"]).expect(3);
    assert_eq!(std::fs::read_to_string(place.path("bad.jsonl")).unwrap().lines().count(), 10);

    // UPDATE replaces rows of the same key.
    server.psql(&to, "UPDATE dst SET v = 100 WHERE k = 1");
    let upsert = job("UPDATE", "{\"record\": 10}").replace("DELETE FROM @table", "");
    place.write("job.json", upsert);
    place.run(&["job", "job.json"]).expect(3);
    assert_eq!(server.psql(&to, "SELECT count(*), max(v) FROM dst"), "90|9\n");
}

#[test]
fn contents_run_in_order_and_what_is_done_stays_done() {
    let Some(server) = PgServer::shared() else { return };
    let place = Place::new();
    let (from, to) = (server.create_database(), server.create_database());
    server.psql(&from, "CREATE TABLE src (id int PRIMARY KEY, v text); INSERT INTO src SELECT n, 'x' || n FROM generate_series(1, 50) n");
    server.psql(&to, "CREATE TABLE one (a int, b text)");
    let reader = r#""column": ["id", "v"]"#;
    let all: Vec<_> = ["one", "two"]
        .map(|table| {
            content(server, (&from, &to), reader, &format!(r#""table": "{table}", "column": ["a", "b"]"#))
        })
        .into();
    place.write("job.json", format!(r#"{{"job": {{"content": [{}]}}}}"#, all.join(",")));
    // The second table is missing, and DataX makes none.
    let said = place.run(&["job", "job.json"]).expect(1).err();
    assert!(said.contains("KaiwuDBWriter-0") && said.contains("two"), "{said}");
    assert_eq!(server.psql(&to, "SELECT count(*) FROM one"), "50\n");
    server.psql(&to, "CREATE TABLE two (b text, a int)");
    let out = place.run(&["job", "job.json"]).expect(0).out();
    assert!(out.contains("Total Records Read   : 50\n"), "{out}");
    assert_eq!(
        server.psql(&to, "SELECT (SELECT count(*) FROM one), (SELECT count(DISTINCT a) FROM two)"),
        "50|50\n"
    );
    // What cannot be loaded is kept for each.
    server.psql(&to, "DELETE FROM one; DELETE FROM two; ALTER TABLE one ADD CHECK (a <> 7); ALTER TABLE two ADD CHECK (a > 2)");
    let out =
        place.run(&["job", "job.json", "--errors", "reject:bad.jsonl", "--max-errors", "3"]).expect(3).out();
    assert!(out.contains("Total Failures       : 3\n"), "{out}");
    let kept = |name: &str| std::fs::read_to_string(place.path(name)).unwrap().lines().count();
    assert_eq!((kept("bad-1.jsonl"), kept("bad-2.jsonl")), (1, 2));
    // One limit for both.
    server.psql(&to, "DELETE FROM one; DELETE FROM two");
    let ran = place.run(&["job", "job.json", "--errors", "skip", "--max-errors", "2"]).expect(4);
    assert!(ran.err().contains("3 of 100 records rejected, 2 allowed"), "{}", ran.err());
    // A share is one of all records: a fiftieth of the first content, and a twenty-fifth of the second.
    let share = |share: &str| {
        server.psql(&to, "DELETE FROM one; DELETE FROM two");
        let setting = format!(r#""setting": {{"errorLimit": {{"percentage": {share}}}}}"#);
        place.write("share.json", format!(r#"{{"job": {{"content": [{}], {setting}}}}}"#, all.join(",")));
        place.run(&["job", "share.json", "--errors", "skip", "--restart"])
    };
    share("0.03").expect(3);
    let said = share("0.029").expect(4).err();
    assert!(said.contains("3 of 100 records rejected, 2.9% allowed"), "{said}");
    server.psql(&to, "ALTER TABLE one DROP CONSTRAINT one_a_check; ALTER TABLE two DROP CONSTRAINT two_a_check; DELETE FROM one; DELETE FROM two");
    place.run(&["job", "job.json", "--restart"]).expect(0);
    // All is done: the same command loads again.
    place.run(&["job", "job.json"]).expect(0);
    assert_eq!(
        server.psql(&to, "SELECT (SELECT count(*) FROM one), (SELECT count(*) FROM two)"),
        "100|100\n"
    );
}

#[test]
fn queries_and_definitions() {
    let Some(server) = PgServer::shared() else { return };
    let place = Place::new();
    let (from, to) = (server.create_database(), server.create_database());
    server.psql(
        &from,
        "CREATE TABLE src (id int, v text); INSERT INTO src SELECT n, 'x' || n FROM generate_series(1, 50) n",
    );
    server.psql(&to, "CREATE TABLE dst (a int, b text)");
    let writer = r#""table": "dst", "column": ["a", "b"]"#;
    let text = content(server, (&from, &to), r#""column": ["id", "v"]"#, writer).replace(
        r#""table": ["src"]"#,
        r#""querySql": ["select id * 2 as double, v from src where id <= ${most}", "select id, upper(v) as w from src where v = '${text}'"]"#,
    );
    place.write(
        "job.json",
        format!(r#"{{"job": {{"content": [{text}], "setting": {{"speed": {{"channel": 1}}}}}}}}"#),
    );
    let ran = place.run(&["job", "job.json", "-p", "-Dmost=3 -Dtext=x50"]).expect(0);
    assert!(ran.err().contains("column ignored: `querySql` wins"), "{}", ran.err());
    assert_eq!(server.psql(&to, "SELECT a, b FROM dst ORDER BY a"), "2|x1\n4|x2\n6|x3\n50|X50\n");
    // Counts that differ are told by the first rows.
    place.write(
        "job.json",
        format!(r#"{{"job": {{"content": [{}]}}}}"#, text.replace("id * 2 as double, v", "id")),
    );
    let said = place.run(&["job", "job.json", "-p", "-Dmost=3 -Dtext=x50"]).expect(1).err();
    assert!(
        said.contains("KaiwuDBWriter-04") && said.contains("1 columns are read, but 2 are written"),
        "{said}"
    );
}
