//! What comes by the stream is what comes by the copy: all types, all kinds of changes.

use kwsync_core::testkit::PgServer;

use super::Following;

/// A row of each type, and one of nulls; `id` first.
const TYPES: &str = "
CREATE TYPE mood AS ENUM ('sad', 'it''s', 'ok'); CREATE DOMAIN price AS numeric(8, 2);
CREATE TYPE pair AS (a int, b text);
CREATE TABLE t (id int PRIMARY KEY, b bool, i2 int2, i4 int4, i8 int8, o oid, f4 float4, f8 float8, n numeric, np numeric(12, 3),
    m money, tx text, vc varchar(9), ch char(5), nm name, js json, jb jsonb, x xml, by bytea, d date, ti time, tz timetz, ts timestamp,
    tsz timestamptz, ts3 timestamp(3), iv interval, u uuid, ip inet, ci cidr, ma macaddr, m8 macaddr8, bi bit(4), vb varbit(7),
    e mood, p price, ai int[], at text[], an numeric[], ats timestamptz[], ae mood[], aa int[][]);
INSERT INTO t VALUES
 (1, true, -32768, 2147483647, -9223372036854775808, 4294967295, 1.5e-10, 0.1, -12345678901234567890.000100, 123456789.125,
    '-$1,234.56', E'a\\\\b\"c\\n\\tü€', 'ü€', 'ab', 'name', '{\"a\": [1, null]}', '{\"b\": \"ü\"}', '<a>b</a>', '\\x00ff5c27', '2024-02-29', '23:59:59.999999',
    '01:02:03.5-07:30', '0044-03-15 12:00:00 BC', '2024-02-29 23:59:59.123456+02', '1969-12-31 23:59:59.999', '1 year -2 mons 3 days -04:05:06.789',
    '8a6e0804-2bd0-4672-b79d-d97027f9071a', '10.1.2.3/24', '2001:db8::/32', '08:00:2b:01:02:03', '08:00:2b:01:02:03:04:05', '1010', '101',
    'it''s', 12.5, '{1,NULL,-3}', '{a,\"b,\\\"c\\\\\",NULL,\"NULL\",\"\"}', '{1.10,NaN}', '{2024-01-01 00:00:00+00}', '{sad,ok}', '{}'),
 (2, false, 0, 0, 0, 0, 'NaN', '-Infinity', 'NaN', 0, '0', '', '', '', '', 'null', '1', '', '', '0001-01-01', '24:00:00', '00:00:00+00', '0001-01-01',
    '12024-01-01 00:00:00+00', '2000-01-01', '00:00:00', '00000000-0000-0000-0000-000000000000', '::1', '0.0.0.0/0', '00:00:00:00:00:00',
    '00:00:00:00:00:00:00:00', '0000', '', 'sad', -0.01, '{}', '{}', '{}', NULL, NULL, NULL);
INSERT INTO t (id) VALUES (3);";

/// Rows that are there, and the same rows again by the stream; then all changed, and some gone.
fn same_by_both_ways(server: &PgServer, more: &'static str, schema: &str) {
    let mut following = Following::new(server, schema);
    following.more = more;
    let report: serde_json::Value = serde_json::from_str(&following.catch_up(0).out()).unwrap();
    assert_eq!(
        (&report["rows_written"], &report["delivery"]),
        (&3.into(), &"exactly-once".into()),
        "{report}"
    );
    assert!(following.is_equal("t"));
    // Only what the stream has brought is compared with what the copy has.
    following.sql("CREATE TEMP TABLE c AS TABLE t; UPDATE c SET id = id + 100; INSERT INTO t TABLE c");
    following.catch_up(0);
    assert!(
        following.is_equal("t"),
        "{:?}\n{:?}",
        server.psql(&following.from, "TABLE t"),
        server.psql(&following.to, "TABLE t")
    );
    let same = "SELECT count(*) FROM t AS l JOIN t AS r ON r.id = l.id + 100 WHERE substr(l::text, 3) = substr(r::text, 5)";
    assert_eq!(server.psql(&following.to, same), "3\n");
    // Updates of whole rows, of keys, deletes, all in one transaction with others that come to nothing.
    following.sql(
        "BEGIN; UPDATE t SET tx = 'new' WHERE id = 1; UPDATE t SET id = 7 WHERE id = 2; DELETE FROM t WHERE id = 101; SAVEPOINT s; \
         DELETE FROM t; ROLLBACK TO s; INSERT INTO t (id, tx) VALUES (8, 'a'), (9, 'b'); DELETE FROM t WHERE id = 9; UPDATE t SET tx = 'c' WHERE id = 8; COMMIT; \
         BEGIN; DELETE FROM t; ROLLBACK",
    );
    let report: serde_json::Value = serde_json::from_str(&following.catch_up(0).out()).unwrap();
    assert!(following.is_equal("t"), "{report}");
    assert_eq!((&report["rows_deleted"], &report["rows_rejected"]), (&2.into(), &0.into()), "{report}");
    following.forget();
}

#[test]
fn changes_of_every_type_as_binary_and_as_text() {
    let Some(server) = PgServer::shared() else { return };
    same_by_both_ways(server, "", TYPES);
    same_by_both_ways(server, "&values=text", TYPES);
}

/// A type of which only the text is known makes all come as text, and is upserted, updated and found all the same.
#[test]
fn changes_of_types_that_only_the_server_knows() {
    let Some(server) = PgServer::shared() else { return };
    let schema = "CREATE TABLE t (id int PRIMARY KEY, r int4range, pt point, tx text, ts tsvector);
        INSERT INTO t VALUES (1, '[1,5)', '(1,2)', 'a', 'a fat cat'), (2, 'empty', NULL, NULL, NULL), (3, '(,)', '(0,0)', '', '')";
    let following = Following::new(server, schema);
    server.psql(&following.to, schema);
    server.psql(&following.to, "TRUNCATE t");
    following.catch_up(0);
    assert!(following.is_equal("t"));
    following.sql("INSERT INTO t SELECT id + 10, r, pt, tx, ts FROM t; UPDATE t SET r = '[3,4]' WHERE id = 1; DELETE FROM t WHERE id = 2");
    following.catch_up(0);
    assert!(following.is_equal("t"), "{}", server.psql(&following.to, "TABLE t"));
    following.forget();
}

/// Long values that lie elsewhere and did not change are not in the stream; none of them is lost, not even with another key.
#[test]
fn changes_leave_long_values_that_did_not_change() {
    let Some(server) = PgServer::shared() else { return };
    let schema = "CREATE TABLE t (id int PRIMARY KEY, n int, a text, b text NOT NULL);
        ALTER TABLE t ALTER a SET STORAGE EXTERNAL, ALTER b SET STORAGE EXTERNAL;
        INSERT INTO t SELECT g, 0, repeat('a' || g, 3000), repeat('b' || g, 3000) FROM generate_series(1, 20) g";
    for full in [false, true] {
        let following = Following::new(server, schema);
        if full {
            following.sql("ALTER TABLE t REPLICA IDENTITY FULL");
        }
        following.catch_up(0);
        // One, the other, both, none of them unchanged; twice in a transaction; with another key, once and twice.
        following.sql(
            "BEGIN; UPDATE t SET n = 1 WHERE id <= 10; UPDATE t SET a = repeat('A', 9000) WHERE id = 2; UPDATE t SET n = 2 WHERE id = 2; COMMIT; \
             UPDATE t SET b = repeat('B', 9000) WHERE id = 3; UPDATE t SET id = 104 WHERE id = 4; UPDATE t SET id = 105, n = 5 WHERE id = 5; \
             UPDATE t SET id = 205 WHERE id = 105; BEGIN; UPDATE t SET id = 106 WHERE id = 6; UPDATE t SET id = 6 WHERE id = 106; COMMIT; \
             UPDATE t SET id = 107 WHERE id = 7; DELETE FROM t WHERE id = 107; INSERT INTO t VALUES (300, 0, repeat('x', 9000), repeat('y', 9000)); \
             UPDATE t SET n = 9 WHERE id = 300; BEGIN; UPDATE t SET n = 8 WHERE id = 8; DELETE FROM t WHERE id = 8; COMMIT",
        );
        following.catch_up(0);
        assert!(following.is_equal("t"), "full: {full}");
        let lost = "SELECT count(*) FROM t WHERE a IS NULL OR length(a) < 6000 OR length(b) < 6000";
        assert_eq!(server.psql(&following.to, lost), "0\n");
        following.forget();
    }
}

/// Tables that are emptied; columns that are added, and types that grow.
#[test]
fn changes_carry_truncates_and_new_columns() {
    let Some(server) = PgServer::shared() else { return };
    let mut following = Following::new(
        server,
        "CREATE TABLE a (id int PRIMARY KEY, v text); CREATE TABLE b (id int PRIMARY KEY, a int REFERENCES a, n int);
         INSERT INTO a SELECT g, 'v' FROM generate_series(1, 50) g; INSERT INTO b SELECT g, g, 0 FROM generate_series(1, 50) g",
    );
    following.target = "&create=evolve";
    following.catch_up(0);
    following.sql("BEGIN; UPDATE a SET v = 'x'; TRUNCATE a, b; INSERT INTO a VALUES (1, 'new'); INSERT INTO b VALUES (1, 1, 1); COMMIT");
    following.catch_up(0);
    assert!(following.is_equal("a") && following.is_equal("b"));
    following.sql("TRUNCATE a CASCADE");
    following.catch_up(0);
    assert_eq!(
        server.psql(&following.to, "SELECT (SELECT count(*) FROM a), (SELECT count(*) FROM b)"),
        "0|0\n"
    );
    // In the midst of a transaction, too, and of one that is read in several parts.
    following.sql(
        "BEGIN; INSERT INTO a SELECT g, 'v' FROM generate_series(1, 200000) g; ALTER TABLE a ADD w int DEFAULT 7; INSERT INTO a SELECT g, 'v', g FROM generate_series(200001, 200010) g; COMMIT; \
         ALTER TABLE b ALTER n TYPE bigint; INSERT INTO b VALUES (1, 1, 1234567890123); ALTER TABLE a DROP v; INSERT INTO a VALUES (300000, 1)",
    );
    let arguments = following.arguments("history");
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    following.place.run(&arguments).expect(0);
    // Rows from before have what the server filled in without saying so: here, as the documentation says, nothing.
    let counts = "SELECT count(*), count(w), max(id) FROM a";
    assert_eq!(server.psql(&following.to, counts), "200011|11|300000\n");
    assert_eq!(server.psql(&following.to, "SELECT n FROM b"), "1234567890123\n");
    // A type that has no exact way into the old one is told.
    following.sql("ALTER TABLE b ALTER n TYPE text USING n::text; INSERT INTO b VALUES (2, 1, 'word')");
    let said = following.catch_up(1).err();
    assert!(said.contains('n') && (said.contains("text") || said.contains("type")), "{said}");
    following.forget();
}
