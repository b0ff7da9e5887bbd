//! What is refused, and what to do about it.

use kwsync_core::testkit::PgServer;

use super::super::support::Place;
use super::Following;

/// A table without a key is refused, or followed by its inserts alone, which are there once.
#[test]
fn changes_of_tables_without_a_key() {
    let Some(server) = PgServer::shared() else { return };
    let mut following = Following::new(
        server,
        "CREATE TABLE k (v int); CREATE TABLE t (id int PRIMARY KEY); INSERT INTO k VALUES (1), (1)",
    );
    let said = following.catch_up(2).err();
    assert!(
        said.contains("public.k has no key")
            && said.contains("REPLICA IDENTITY")
            && said.contains("keyless=inserts"),
        "{said}"
    );
    assert_eq!(following.slots(), "0\n", "nothing was touched");
    following.more = "&keyless=inserts";
    following.catch_up(0);
    following.sql("INSERT INTO k VALUES (1), (2); UPDATE k SET v = 9 WHERE v = 2; INSERT INTO t VALUES (1)");
    following.catch_up(0);
    assert_eq!(server.psql(&following.to, "SELECT v, count(*) FROM k GROUP BY v ORDER BY v"), "1|3\n2|1\n");
    assert!(following.is_equal("t"));
    following.forget();
    // Somebody's own publication may have more than this: what cannot be carried is an error, and not lost.
    let mut given = Following::new(
        server,
        "CREATE TABLE k (v int); ALTER TABLE k REPLICA IDENTITY FULL; CREATE PUBLICATION all_k FOR TABLE k",
    );
    given.more = "&keyless=inserts&publication=all_k";
    given.catch_up(0);
    given.sql("INSERT INTO k VALUES (1); DELETE FROM k");
    let said = given.catch_up(2).err();
    assert!(said.contains("public.k") && said.contains("no key") && said.contains("delete"), "{said}");
    given.sql(&format!(
        "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = '{}'",
        given.from
    ));
}

/// Everything that is missing is told at once, each with what to do; a dry run tells it too, and makes nothing.
#[test]
fn changes_need_rights_keys_and_settings() {
    let Some(server) = PgServer::start() else { return };
    let following = Following::new(
        &server,
        "CREATE TABLE t (id int PRIMARY KEY); CREATE UNLOGGED TABLE un (id int PRIMARY KEY); CREATE TABLE k (v int);
         CREATE ROLE poor LOGIN PASSWORD 'poor'; GRANT USAGE ON SCHEMA public TO poor",
    );
    // The plan of what can be done, without a slot.
    let mut arguments = following.arguments("all");
    arguments[2] = arguments[2].replace("tables=*", "table=t");
    let dry: Vec<&str> = arguments.iter().map(String::as_str).chain(["--dry-run"]).collect();
    let shown = following.place.run(&dry).expect(0).out();
    for words in ["CREATE PUBLICATION", "holds the server's log back", "--forget", "changes", "exactly-once"]
    {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    assert_eq!(
        (
            following.slots().as_str(),
            server.psql(&following.from, "SELECT count(*) FROM pg_publication").as_str()
        ),
        ("0\n", "0\n")
    );
    for setting in ["wal_level = replica", "max_replication_slots = 0", "max_wal_senders = 0"] {
        server.psql(&following.from, &format!("ALTER SYSTEM SET {setting}"));
    }
    server.restart();
    let poor = following.source().replace("//postgres:", "//poor:").replace("s3cret%2F%3A%40%3F", "poor");
    let place = Place::new();
    for more in [&[][..], &["--dry-run"]] {
        let to = server.dsn(&following.to);
        let said = place.run(&[&["run", "--from", &poor, "--to", &to], more].concat()).expect(2).err();
        for words in [
            "wal_level is \"replica\"",
            "all 0 replication slots are taken",
            "max_wal_senders is 0",
            "\"poor\" has not the right REPLICATION",
            "public.un is unlogged",
            "public.k has no key",
            "may not make a publication in the database",
            "public.t is not the user's own",
            "GRANT CREATE ON DATABASE",
            "ALTER ROLE \"poor\" REPLICATION",
        ] {
            assert!(said.contains(words), "{words}: {said}");
        }
    }
}

/// The target needs the key, and rights; what takes rows only is refused by name, and so is a transform that judges rows.
#[test]
fn changes_need_a_target_that_takes_them() {
    let Some(server) = PgServer::shared() else { return };
    let following =
        Following::new(server, "CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t VALUES (1, 1)");
    server.psql(&following.to, "CREATE TABLE t (id int, v int)");
    let said = following.catch_up(2).err();
    assert!(
        said.contains("public.t") && said.contains("by the key (id)") && said.contains("ADD PRIMARY KEY"),
        "{said}"
    );
    server.psql(&following.to, "ALTER TABLE t ADD PRIMARY KEY (id)");
    let role = format!("w_{}", following.to);
    server.psql(&following.to, &format!("CREATE ROLE {role} LOGIN PASSWORD 'w'; GRANT ALL ON SCHEMA public TO {role}; GRANT INSERT, SELECT ON t TO {role}"));
    let to = server
        .dsn(&following.to)
        .replace("//postgres:", &format!("//{role}:"))
        .replace("s3cret%2F%3A%40%3F", "w");
    let source = following.source();
    let said = following.place.run(&["run", "--from", &source, "--to", &to, "--dry-run"]).expect(1).err();
    assert!(said.contains("UPDATE, DELETE, TRUNCATE") && said.contains("GRANT"), "{said}");
    let said =
        following.place.run(&["run", "--from", &source, "--to", "file:out?format=parquet"]).expect(2).err();
    assert!(said.contains("the sink `file` takes rows only"), "{said}");
    let good = server.dsn(&following.to);
    let said =
        following.place.run(&["run", "--from", &source, "--to", &good, "-T", "filter:v > 0"]).expect(2).err();
    assert!(said.contains("cannot judge"), "{said}");
    let replace = format!("{good}?mode=replace");
    let said =
        following.place.run(&["run", "--from", &source, "--to", &replace, "--dry-run"]).expect(2).err();
    assert!(said.contains("mode=replace"), "{said}");
    let wrong = format!("{source}&where=v > 0");
    let said = following.place.run(&["run", "--from", &wrong, "--to", &good]).expect(2).err();
    assert!(said.contains("`where` and changes=true contradict"), "{said}");
    // A new name, columns left out and added: those go along.
    server.psql(&following.to, "DROP TABLE t");
    let mut arguments = following.arguments("history");
    arguments.extend(
        [
            "-T",
            "rename-table:prefix:raw_",
            "-T",
            "rename-column:id=key",
            "-T",
            "drop-columns:v",
            "-T",
            "add-tag:site=x",
            "--quiet",
        ]
        .map(str::to_owned),
    );
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    following.place.run(&arguments).expect(0);
    following.sql(
        "INSERT INTO t VALUES (2, 2), (3, 3); DELETE FROM t WHERE id = 1; UPDATE t SET id = 4 WHERE id = 3",
    );
    following.place.run(&arguments).expect(0);
    assert_eq!(server.psql(&following.to, "SELECT key, site FROM raw_t ORDER BY key"), "2|x\n4|x\n");
    following.forget();
}

/// A row that the target refuses is a reject that says what was to be done with it.
#[test]
fn changes_that_are_refused_say_what_they_were() {
    let Some(server) = PgServer::shared() else { return };
    let following = Following::new(
        server,
        "CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t VALUES (1, 1), (2, 2)",
    );
    server.psql(&following.to, "CREATE TABLE t (id int PRIMARY KEY, v int CHECK (v < 100))");
    following.catch_up(0);
    following.sql("UPDATE t SET v = 500 WHERE id = 1; UPDATE t SET v = 3 WHERE id = 2");
    let said = following.catch_up(1).err();
    assert!(said.contains("upsert") && said.contains("t_v_check"), "{said}");
    let arguments = following.arguments("history");
    let arguments: Vec<&str> =
        arguments.iter().map(String::as_str).chain(["--errors", "reject:bad.jsonl", "--quiet"]).collect();
    following.place.run(&arguments).expect(3);
    assert_eq!(server.psql(&following.to, "SELECT * FROM t ORDER BY id"), "1|1\n2|3\n");
    let reject: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(following.place.path("bad.jsonl")).unwrap()).unwrap();
    assert_eq!((&reject["code"], &reject["table"]), (&"23514".into(), &"t".into()), "{reject}");
    assert!(reject["reason"].as_str().unwrap().starts_with("upsert: "), "{reject}");
    following.forget();
}

/// A publication that was given is taken as it is where it has all that is followed, and refused where it would leave something out.
#[test]
fn changes_by_a_given_publication() {
    let Some(server) = PgServer::shared() else { return };
    let mut following = Following::new(
        server,
        "CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY); INSERT INTO a VALUES (1);
         CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10);
         CREATE PUBLICATION given FOR TABLE a WITH (publish = 'insert')",
    );
    following.more = "&publication=given";
    let said = following.catch_up(2).err();
    for words in [
        "does not publish update, delete, truncate",
        "the publication \"given\" does not have public.b",
        "publishes the partitions of public.p each under its own name",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    following.sql(
        "ALTER PUBLICATION given SET TABLE a WHERE (id < 5), b (id), p;
         ALTER PUBLICATION given SET (publish = 'insert, update, delete, truncate', publish_via_partition_root = true);
         ALTER TABLE b ADD v int",
    );
    let said = following.catch_up(2).err();
    for words in ["only the rows WHERE", "leaves out columns of public.b that the copy has: v"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert!(!said.contains("does not have") && !said.contains("does not publish"), "{said}");
    assert_eq!(following.slots(), "0\n", "nothing was made");
    following.sql("ALTER PUBLICATION given SET TABLE a, b, p");
    following.catch_up(0);
    following.sql(
        "DELETE FROM a; INSERT INTO a VALUES (2); INSERT INTO b VALUES (1, 2); INSERT INTO p VALUES (3)",
    );
    following.catch_up(0);
    for table in ["a", "b", "p"] {
        assert!(following.is_equal(table), "{table}");
    }
    following.sql(&format!(
        "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = '{}'",
        following.from
    ));
}

/// A slot that was given, without a publication: the server would never find the one that is made later.
#[test]
fn changes_by_a_slot_that_is_older_than_its_publication() {
    let Some(server) = PgServer::shared() else { return };
    let mut following = Following::new(server, "CREATE TABLE t (id int PRIMARY KEY)");
    let slot = format!("older_{}", following.from);
    following.sql(&format!("SELECT pg_create_logical_replication_slot('{slot}', 'pgoutput')"));
    following.more = Box::leak(format!("&slot={slot}").into_boxed_str());
    let arguments = following.arguments("realtime");
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let said = following.place.run(&arguments).expect(2).err();
    assert!(said.contains(&slot) && said.contains("older than the publication"), "{said}");
    assert_eq!(server.psql(&following.from, "SELECT count(*) FROM pg_publication"), "0\n");
    following.sql(&format!("SELECT pg_drop_replication_slot('{slot}')"));
}

/// What has a table's name now need not be the table: its changes would not come, and the job says so. So does it of another identity.
#[test]
fn changes_of_a_table_that_is_another_are_told() {
    let Some(server) = PgServer::shared() else { return };
    let following = Following::new(
        server,
        "CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE r (id int PRIMARY KEY); CREATE TABLE g (id int PRIMARY KEY);
         CREATE TABLE i (id int PRIMARY KEY, code int NOT NULL UNIQUE)",
    );
    following.catch_up(0);
    // One that is gone has nothing to tell.
    following.sql("DROP TABLE g");
    following.catch_up(0);
    following.sql("DROP TABLE t; CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1); ALTER TABLE r RENAME TO s");
    let said = following.catch_up(1).err();
    assert!(
        said.contains("public.t was dropped and made anew")
            && said.contains("public.r is called public.s now")
            && said.contains("--restart"),
        "{said}"
    );
    let arguments = following.arguments("history");
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).chain(["--restart", "--quiet"]).collect();
    following.place.run(&arguments).expect(0);
    assert!(following.is_equal("t") && following.is_equal("s"));
    following.sql("ALTER TABLE i REPLICA IDENTITY USING INDEX i_code_key; INSERT INTO i VALUES (1, 1); UPDATE i SET id = 2");
    let said = following.catch_up(1).err();
    assert!(
        said.contains("public.i") && said.contains("replica identity") && said.contains("--restart"),
        "{said}"
    );
    following.forget();
}
