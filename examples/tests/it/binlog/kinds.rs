//! What comes by the stream is what comes by the copy: all types, all kinds of changes.

use super::{Following, servers};

/// A row of each type, one of other ends, and one of nulls; `id` first.
const TYPES: &str = "
CREATE TABLE t (id int PRIMARY KEY, b1 bool, i8 tinyint, u8 tinyint unsigned, i16 smallint, u16 smallint unsigned, i24 mediumint, u24 mediumint unsigned,
    i32 int, u32 int unsigned, i64 bigint, u64 bigint unsigned, f4 float, f8 double, n decimal(30,10), n2 decimal(9,9), n3 decimal(65,0), bi bit(13), b64 bit(64),
    y year, d date, dt datetime, dt3 datetime(3), dt6 datetime(6), ts timestamp NULL, ts4 timestamp(4) NULL, ts6 timestamp(6) NULL, ti time, ti6 time(6),
    c char(5), vc varchar(9), long_vc varchar(700), tt tinytext, tx text, mt mediumtext, lt longtext, bin binary(6), vb varbinary(7), tb tinyblob, bl blob,
    mb mediumblob, lb longblob, e enum('sad','it''s','ü€'), e1 enum('ä','b') CHARACTER SET latin1, s set('a','b','c d','ü'), js json, u uuid, i6 inet6, i4 inet4,
    g geometry, l1 varchar(300) CHARACTER SET latin1, c5 char(200) CHARACTER SET cp1251, k8 text CHARACTER SET koi8r, cp text CHARACTER SET cp850, gb text CHARACTER SET gbk,
    g2 text CHARACTER SET gb2312, b5 text CHARACTER SET big5, sj text CHARACTER SET sjis, c9 text CHARACTER SET cp932, uj text CHARACTER SET ujis, ej text CHARACTER SET eucjpms,
    ek text CHARACTER SET euckr, u1 varchar(9) CHARACTER SET utf16, ul varchar(9) CHARACTER SET utf16le, uc char(9) CHARACTER SET ucs2, u3 varchar(9) CHARACTER SET utf32,
    m3 varchar(9) CHARACTER SET utf8mb3, a7 char(3) CHARACTER SET ascii, gr text CHARACTER SET greek, he text CHARACTER SET hebrew, th text CHARACTER SET tis620) CHARACTER SET utf8mb4;
INSERT INTO t VALUES
 (1, true, -128, 255, -32768, 65535, -8388608, 16777215, -2147483648, 4294967295, -9223372036854775808, 18446744073709551615, 1.5e-10, 0.1,
    -12345678901234567890.0001, 0.000000001, -99999999999999999999999999999999999999999999999999999999999999999, b'1000000000001', b'1111', 2155, '2024-02-29',
    '2024-02-29 23:59:59', '1000-01-01 00:00:00.001', '9999-12-31 23:59:59.999999', '2038-01-19 03:14:07', '1970-01-01 00:00:01.0001', '2024-02-29 23:59:59.999999',
    '23:59:59', '00:00:00.000001', 'ab ', 'ü€', REPEAT('ü', 400), 'tiny', 'te\\\\xt\\n\\t\"', REPEAT('m', 70000), '😀', 'ab', 'v\\0b', x'00ff5c', REPEAT('b', 300), REPEAT('c', 70000), x'',
    'it''s', 'ä', 'a,c d,ü', '{\"a\": [1, null, \"ü\"]}', '8a6e0804-2bd0-4672-b79d-d97027f9071a', '2001:db8::1', '10.1.2.3', ST_GeomFromText('POINT(1.5 -2e20)'),
    'äöü€ÿ', 'Привет', 'Привет', 'Çüé░█', '中文', '中文', '中文', 'ソ日本', 'ソ日本①', '日本語', '日本語', '한국어', 'a😀', '😀b', 'ü€', '😀', '日本', 'abc', 'Αθήνα', 'שלום', 'ไทย'),
 (2, false, 127, 0, 32767, 0, 8388607, 0, 2147483647, 0, 9223372036854775807, 0, -0.0, -1.7976931348623157e308, 0, -0.999999999, 0, b'0', b'0', 0, '1000-01-01',
    '1000-01-01 00:00:00', '9999-12-31 23:59:59.999', '1000-01-01 00:00:00.000001', '1970-01-01 00:00:01', '2038-01-19 03:14:07.9999', '1970-01-01 00:00:01', '00:00:00',
    '23:59:59.999999', '', '', '', '', '', '', '', '', '', '', '', '', x'00', 'sad', 'b', '', '1', 'bf2b9f84-5f1d-11ee-8c99-0242ac120000', '::', '0.0.0.0',
    ST_GeomFromText('GEOMETRYCOLLECTION(POLYGON((0 0,1 0,1 1,0 0)),MULTIPOINT(1 1,2 2),LINESTRING(0 0,1 1))'), '', '', '', '', '', '', '', '', '', '', '', '', '', '', '', '', '', '', '', '', '');
INSERT INTO t (id) VALUES (3);";

/// The rows that are there by the stream, beside those of the copy; the columns of each that differ.
fn differing(following: &Following<'_>) -> String {
    following.there(
        "SELECT l.id, a.key, a.value, b.value FROM t l JOIN t r ON r.id = l.id + 100, json_each_text(row_to_json(l)) a JOIN LATERAL \
         (SELECT * FROM json_each_text(row_to_json(r)) x WHERE x.key = a.key) b ON true WHERE a.value IS DISTINCT FROM b.value AND a.key <> 'id'",
    )
}

#[test]
fn binlog_has_every_type_as_the_copy_has_it() {
    let Some(servers) = servers() else { return };
    let following = Following::new(servers, TYPES);
    let report = following.report();
    assert_eq!(
        (&report["rows_written"], &report["delivery"]),
        (&3.into(), &"exactly-once".into()),
        "{report}"
    );
    following.sql("CREATE TEMPORARY TABLE c AS SELECT * FROM t; UPDATE c SET id = id + 100; INSERT INTO t SELECT * FROM c");
    let report = following.report();
    assert_eq!(following.there("SELECT count(*) FROM t"), "6\n", "{report}");
    assert_eq!(differing(&following), "");
    assert_eq!(
        following.there("SELECT l1, rtrim(c5), gb, sj, ek, u1, th, e1, s, k8 FROM t WHERE id = 101"),
        "äöü€ÿ|Привет|中文|ソ日本|한국어|a😀|ไทย|ä|a,c d,ü|Привет\n"
    );
    assert_eq!(
        following.there("SELECT u64, n, ts, ti6, encode(bin, 'hex'), i6, g FROM t WHERE id = 101"),
        "18446744073709551615|-12345678901234567890.0001000000|2038-01-19 03:14:07+00|00:00:00.000001|616200000000|2001:db8::1|POINT(1.5 -2e20)\n"
    );
    // Updates of whole rows, of keys, deletes, all in one transaction with others that come to nothing.
    following.sql(
        "BEGIN; UPDATE t SET tx = 'new' WHERE id = 1; UPDATE t SET id = 7 WHERE id = 2; DELETE FROM t WHERE id = 101; SAVEPOINT s; \
         DELETE FROM t; ROLLBACK TO s; INSERT INTO t (id, tx) VALUES (8, 'a'), (9, 'b'); DELETE FROM t WHERE id = 9; UPDATE t SET tx = 'c' WHERE id = 8; COMMIT; \
         BEGIN; DELETE FROM t; ROLLBACK",
    );
    let report = following.report();
    assert_eq!((&report["rows_deleted"], &report["rows_rejected"]), (&2.into(), &0.into()), "{report}");
    following.assert_equal("t", "id,tx,i64,vc,d");
}

/// Times beyond a day, and dates that are none.
#[test]
fn binlog_has_values_that_other_servers_have_not() {
    let Some(servers) = servers() else { return };
    let mut following = Following::new(
        servers,
        "CREATE TABLE t (id int PRIMARY KEY, ti time, ti3 time(3), d date, dt datetime(2), ts timestamp NULL, e enum('a','b')); SET sql_mode = '';
         INSERT INTO t VALUES (1, '838:59:59', '-838:59:59', '0000-00-00', '0000-00-00', '0000-00-00', 'a'), (2, '-00:00:01', '-12:13:14.567', '2024-00-10', '2024-02-00 10:00:00.25', '2024-01-01', 'b'),
            (3, '24:00:00', '-00:00:00.001', '2024-01-01', '2024-01-01', '1970-01-01 00:00:01', 'a')",
    );
    following.more = "&zero_dates=null&time_as=interval".to_owned();
    following.catch_up(0);
    following.sql("SET sql_mode = ''; INSERT INTO t SELECT id + 100, ti, ti3, d, dt, ts, e FROM t");
    following.catch_up(0);
    assert_eq!(following.there("SELECT count(*) FROM t"), "6\n");
    assert_eq!(differing(&following), "");
    assert_eq!(
        following.there("SELECT ti, ti3, d, dt, e FROM t WHERE id > 100 ORDER BY id"),
        "838:59:59|-838:59:59|||a\n-00:00:01|-12:13:14.567|||b\n24:00:00|-00:00:00.001|2024-01-01|2024-01-01 00:00:00|a\n"
    );
    // Where they are not wanted, each costs itself, and says what was to be done.
    let mut strict = Following::new(servers, "CREATE TABLE t (id int PRIMARY KEY, d date)");
    strict.catch_up(0);
    strict.sql(
        "SET sql_mode = ''; INSERT INTO t VALUES (1, '2024-01-01'), (2, '0000-00-00'), (3, '2024-01-03')",
    );
    strict.more = String::new();
    let ran = strict.run("history", &["--errors", "skip", "--report", "json"]).expect(3);
    assert_eq!(strict.there("SELECT id FROM t ORDER BY id"), "1\n3\n", "{}", ran.err());
}

/// Text in every character of sets of several bytes means what the server says it means.
#[test]
fn binlog_has_every_character_of_a_set() {
    let Some(servers) = servers() else { return };
    let sets = ["gbk", "big5", "cp932", "ujis"];
    let mut schema = String::new();
    for set in sets {
        schema
            .push_str(&format!("CREATE TABLE {set} (id int PRIMARY KEY, c varchar(9) CHARACTER SET {set});"));
    }
    let following = Following::new(servers, &schema);
    following.catch_up(0);
    for set in sets {
        // Every character of two or three bytes that the server takes, and makes one of Unicode of; its client writes a backslash twice.
        let sql = format!(
            "SET sql_mode = ''; INSERT IGNORE INTO {set} SELECT a.seq * 256 + b.seq, CONVERT(CHAR(a.seq * 256 + b.seq) USING {set}) FROM seq_129_to_254 a JOIN seq_64_to_254 b; \
             INSERT IGNORE INTO {set} SELECT 9371648 + a.seq * 256 + b.seq, CONVERT(CHAR(9371648 + a.seq * 256 + b.seq) USING {set}) FROM seq_161_to_254 a JOIN seq_161_to_254 b; \
             DELETE FROM {set} WHERE c IS NULL OR CHAR_LENGTH(c) <> 1 OR HEX(CONVERT(c USING utf8mb4)) IN ('', '3F', '5C')"
        );
        following.sql(&sql);
    }
    following.catch_up(0);
    for set in sets {
        let [own, there] = following.both(set, "id,c").unwrap();
        assert!(own.len() > 5_000, "{set}: {}", own.len());
        let other: Vec<_> = own.iter().zip(&there).filter(|(own, there)| own != there).collect();
        println!("{set}: {} characters, {} otherwise", own.len(), other.len());
        assert!(own.len() == there.len() && other.is_empty(), "{set}: {:?}", &other[..other.len().min(20)]);
    }
}

/// Rows and statements that the server has compressed.
#[test]
fn binlog_compressed_by_the_server() {
    let Some(servers) = servers() else { return };
    let following =
        Following::new(servers, "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'a')");
    following.catch_up(0);
    following.sql(
        "SET GLOBAL log_bin_compress = 1, GLOBAL log_bin_compress_min_len = 10; INSERT INTO t SELECT seq, REPEAT('x', 500) FROM seq_2_to_500; \
         UPDATE t SET v = REPEAT('y', 700) WHERE id % 3 = 0; DELETE FROM t WHERE id % 5 = 0; ALTER TABLE t COMMENT 'a comment that is long enough to be worth it'; \
         INSERT INTO t VALUES (1000, 'z'); SET GLOBAL log_bin_compress = 0",
    );
    following.catch_up(0);
    following.assert_equal("t", "id,v");
}

/// Tables that are emptied; columns that are added, dropped and renamed, and types that grow.
#[test]
fn binlog_carries_truncates_and_new_columns() {
    let Some(servers) = servers() else { return };
    let mut following = Following::new(
        servers,
        "CREATE TABLE a (id int PRIMARY KEY, v varchar(20)); CREATE TABLE b (id int PRIMARY KEY, n int);
         INSERT INTO a SELECT seq, 'v' FROM seq_1_to_50; INSERT INTO b SELECT seq, 0 FROM seq_1_to_50",
    );
    following.target = "&create=evolve".to_owned();
    following.catch_up(0);
    following.sql("UPDATE a SET v = 'x'; TRUNCATE a; TRUNCATE TABLE b; INSERT INTO a VALUES (1, 'new'); INSERT INTO b VALUES (1, 1)");
    following.catch_up(0);
    following.assert_equal("a", "id,v");
    following.assert_equal("b", "id,n");
    following.sql("TRUNCATE a");
    following.catch_up(0);
    assert_eq!(following.there("SELECT (SELECT count(*) FROM a), (SELECT count(*) FROM b)"), "0|1\n");
    following.sql(
        "INSERT INTO a SELECT seq, 'v' FROM seq_1_to_70000; ALTER TABLE a ADD w int DEFAULT 7 FIRST; INSERT INTO a SELECT seq, seq, 'v' FROM seq_70001_to_70010; \
         ALTER TABLE b MODIFY n bigint; INSERT INTO b VALUES (2, 1234567890123); ALTER TABLE a DROP v; INSERT INTO a VALUES (1, 300000); \
         ALTER TABLE a RENAME COLUMN w TO x; UPDATE a SET x = 5 WHERE id = 300000",
    );
    following.catch_up(0);
    assert_eq!(following.there("SELECT count(*), count(w), count(x), max(id) FROM a"), "70011|11|1|300000\n");
    assert_eq!(following.there("SELECT n FROM b WHERE id = 2"), "1234567890123\n");
    // A type that has no exact way into the old one is told.
    following.sql("ALTER TABLE b MODIFY n varchar(20); INSERT INTO b VALUES (3, 'word')");
    let said = following.catch_up(1).err();
    assert!(said.contains('n') && (said.contains("varchar") || said.contains("type")), "{said}");
}

/// Which changes are carried can be said.
#[test]
fn binlog_operations_that_are_wanted() {
    let Some(servers) = servers() else { return };
    let mut following = Following::new(
        servers,
        "CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t VALUES (1, 1), (2, 2)",
    );
    following.more = "&operations=insert,update".to_owned();
    following.catch_up(0);
    following.sql("DELETE FROM t WHERE id = 1; UPDATE t SET v = 5 WHERE id = 2; INSERT INTO t VALUES (3, 3); ALTER TABLE t ADD w int; INSERT INTO t VALUES (4, 4, 4)");
    following.catch_up(0);
    assert_eq!(following.there("SELECT * FROM t ORDER BY id"), "1|1\n2|5\n3|3\n4|4\n");
    following.sql("TRUNCATE t");
    following.catch_up(0);
    assert_eq!(following.there("SELECT count(*) FROM t"), "4\n");
    following.more = "&operations=inserts".to_owned();
    let said = following.catch_up(2).err();
    assert!(said.contains("no such operation"), "{said}");
}
