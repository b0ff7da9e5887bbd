use proptest::prelude::*;

use super::bytes::Bytes;
use super::*;

/// Bytes as `mariadb-binlog --hexdump` shows them.
fn hex(text: &str) -> Vec<u8> {
    text.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

/// A head of an event of this kind before a body.
fn event(kind: u8, body: &[u8]) -> Vec<u8> {
    let size = (body.len() + 19) as u32;
    let mut made = vec![1, 0, 0, 0, kind, 1, 0, 0, 0];
    made.extend(size.to_le_bytes());
    made.extend(size.to_le_bytes());
    made.extend([0, 0]);
    made.extend(body);
    made
}

/// A table of twenty columns that MariaDB 10.11 wrote, with all that it tells of them.
const TABLE: &str =
    "12 00 00 00 00 00 01 00 01 64 00 01 74 00 14 03 fe fe fe ff fc 0d 10 fe 0f fe fe fe 13 11 12 f6
    03 03 04 1a fe 10 fe 10 fe 04 04 04 04 01 fe 05 2c 01 fe 05 f7 01 f8 01 03 06 02 14 05 04 fe ff
    0f 01 01 40 02 07 3f 04 2e 05 08 06 08 07 01 00 04 33 02 69 64 01 75 02 69 36 02 69 34 01 67 02
    6a 73 01 79 01 62 01 63 02 76 63 02 62 69 01 65 01 73 02 74 33 02 74 73 02 64 74 02 64 63 01 76
    02 73 74 01 66 0a 01 08 05 05 02 01 78 01 79 06 05 02 01 61 01 fc 08 01 00";

/// The first row of it.
const ROWS: &str =
    "12 00 00 00 00 00 01 00 14 ff ff 0f 00 00 f0 01 00 00 00 10 8a 6e 08 04 2b d0 46 72 b7 9d d9 70
    27 f9 07 1a 10 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 01 04 01 02 03 04 19 00 00 00 00 00
    00 00 01 01 00 00 00 00 00 00 00 00 00 f0 3f 00 00 00 00 00 00 00 40 07 00 00 00 7b 22 61 22 3a
    31 7d 7c 00 05 02 61 62 01 00 fc 02 61 62 02 03 7f 3c b1 ec 78 65 92 00 80 01 e2 40 99 b2 42 00
    00 0c 7f ff ff ff ff cf c6 fe f6 cc 02 00 00 00 03 00 00 00 00 00 c0 3f";

fn table() -> TableMap {
    let bytes = event(19, &hex(TABLE));
    let mut decoder = Decoder::new(Flavor::MariaDb, false);
    let Event::Table(map) = decoder.event(&bytes).unwrap().1 else { panic!("no table") };
    map
}

#[test]
fn a_table_and_a_row_of_a_server() {
    let map = table();
    assert_eq!((map.id, map.schema.as_str(), map.name.as_str(), map.columns.len()), (18, "d", "t", 20));
    let names: Vec<_> = map.columns.iter().map(|column| column.name.as_deref().unwrap()).collect();
    assert_eq!(names[..12], ["id", "u", "i6", "i4", "g", "js", "y", "b", "c", "vc", "bi", "e"]);
    let told = |at: usize| {
        let column = &map.columns[at];
        (column.kind, column.meta, column.unsigned, column.collation)
    };
    assert_eq!(told(0), (3, 0, Some(false), None));
    assert_eq!(told(1), (254, 16, None, Some(63)));
    assert_eq!(told(5), (252, 4, None, Some(46)));
    assert_eq!(told(6), (13, 0, Some(true), None));
    assert_eq!(told(7), (16, 12, None, None));
    assert_eq!(told(9), (15, 300, None, Some(8)));
    assert_eq!(told(16), (246, 20 << 8 | 5, Some(false), None));
    assert_eq!(
        map.columns[11].values.as_deref().unwrap(),
        [b"a".as_slice().into(), b"\xfc".as_slice().into()]
    );
    assert_eq!((map.columns[0].nullable, map.columns[1].nullable), (false, true));
    let bytes = event(23, &hex(ROWS));
    let mut decoder = Decoder::new(Flavor::MariaDb, false);
    let Event::Rows(rows) = decoder.event(&bytes).unwrap().1 else { panic!("no rows") };
    assert_eq!((rows.table, rows.kind, rows.ends_statement), (18, RowsKind::Insert, true));
    let mut seen = 0;
    rows.each(&map, |before, after| {
        assert_eq!(before, None);
        seen += 1;
        let mut written = Vec::new();
        after.unwrap().write(&mut written);
        let image = Image::of(&written, 20).unwrap();
        let mut values = Vec::new();
        image.values(&map, |_, value, _| values.push(value)).unwrap();
        let mut decimal = Vec::new();
        let Raw::Decimal(bytes) = values[16] else { panic!() };
        assert!(write_decimal(bytes, map.columns[16].meta, &mut decimal));
        assert_eq!(decimal, b"-12345.67891");
        assert_eq!(values[0], Raw::Int(1));
        assert_eq!(values[3], Raw::Bytes(&[1, 2, 3, 4]));
        assert_eq!(values[5], Raw::Bytes(b"{\"a\":1}"));
        assert_eq!(values[6], Raw::Int(2024));
        assert_eq!(values[7], Raw::Bytes(&[0, 5]));
        assert_eq!(values[11..13], [Raw::Int(2), Raw::UInt(3)]);
        assert_eq!(values[13], Raw::Time(true, 12, 13, 14, 500_000));
        assert_eq!(values[14], Raw::Timestamp(1_704_067_200, 123_456));
        assert_eq!(values[15], Raw::Date(2024, 1, 1, 0, 0, 0, 120_000));
        assert_eq!(values[19], Raw::Float(1.5));
        Ok(())
    })
    .unwrap();
    assert_eq!(seen, 1);
}

#[test]
fn checksums_are_checked() {
    let mut bytes = event(16, &[0; 8]);
    let size = bytes.len() as u32 + 4;
    bytes[9..13].copy_from_slice(&size.to_le_bytes());
    let mut crc = flate2::Crc::new();
    crc.update(&bytes);
    bytes.extend(crc.sum().to_le_bytes());
    let mut decoder = Decoder::new(Flavor::MySql, true);
    assert_eq!(decoder.event(&bytes).unwrap().1, Event::Commit);
    bytes[20] ^= 1;
    assert!(decoder.event(&bytes).unwrap_err().to_string().contains("checksum"));
    assert!(decoder.event(&bytes[..30]).is_err());
}

#[test]
fn decimals_as_servers_print_them() {
    for (digits, bytes, text) in [
        (10 << 8 | 2, "80 00 00 00 00", "0.00"),
        (10 << 8 | 2, "7f ff ff ff fe", "-0.01"),
        (14 << 8 | 4, "81 0d fb 38 d2 04 d2", "1234567890.1234"),
        (14 << 8 | 4, "7e f2 04 c7 2d fb 2d", "-1234567890.1234"),
        (5 << 8, "81 81 cd", "98765"),
        (2 << 8 | 2, "99", "0.25"),
    ] {
        let mut made = Vec::new();
        assert!(write_decimal(&hex(bytes), digits, &mut made), "{text}");
        assert_eq!(String::from_utf8(made).unwrap(), text);
    }
    for (digits, bytes) in [(5 << 8, "81 81"), (2 << 8 | 2, "ff"), (2 << 8 | 5, "80")] {
        assert!(!write_decimal(&hex(bytes), digits, &mut Vec::new()), "{bytes}");
    }
}

#[test]
fn json_as_mysql_prints_it() {
    // {"a": "b"}, as the documentation of the format has it.
    let object = hex("00 01 00 0e 00 0b 00 01 00 0c 0c 00 61 01 62");
    let array = hex("02 04 00 15 00 05 fe ff 04 01 00 0b 10 00 04 00 00 00 00 00 00 00 00 f0 3f");
    for (bytes, text) in
        [(object, "{\"a\": \"b\"}"), (hex("04 00"), "null"), (hex("0c 02 22 0a"), "\"\\\"\\n\"")]
    {
        let mut made = Vec::new();
        assert!(write_json(&bytes, &mut made), "{text}");
        assert_eq!(String::from_utf8(made).unwrap(), text);
    }
    // Bytes, as lines of 76 characters.
    let mut made = Vec::new();
    let blob = [&[15, 252, 58][..], &[0; 58]].concat();
    assert!(write_json(&blob, &mut made));
    assert_eq!(String::from_utf8(made).unwrap(), format!("\"base64:type252:{}\nAA==\"", "A".repeat(76)));
    let mut made = Vec::new();
    assert!(!write_json(&array[..12], &mut made));
    for (number, text) in
        [(1.0, "1"), (0.1, "0.1"), (1e14, "100000000000000"), (1e15, "1e15"), (1.5e-20, "1.5e-20")]
    {
        assert_eq!(double(number), text);
    }
}

/// Containers that refer to themselves, each twice: what comes of them would have no end.
#[test]
fn json_of_who_means_ill_ends() {
    // An array of two arrays, both of which are itself.
    let bytes = hex("02 02 00 0a 00 02 00 00 02 00 00");
    let mut made = Vec::new();
    assert!(!write_json(&bytes, &mut made));
    assert!(made.len() < 2_000);
}

#[test]
fn statements_that_matter() {
    use Statement as S;
    let name = |text: &str| match text.split_once('.') {
        Some((schema, name)) => Name { schema: Some(schema.to_owned()), name: name.to_owned() },
        None => Name { schema: None, name: text.to_owned() },
    };
    let altered = |table, renamed: Option<&str>, moves: Option<&str>, columns| S::Alter {
        table: name(table),
        renamed: renamed.map(name),
        moves: moves.map(str::to_owned),
        with: None,
        columns,
    };
    let alter = |table, renamed, moves| altered(table, renamed, moves, false);
    let columns = |table, renamed| altered(table, renamed, None, true);
    let exchange = |with: &str, what: &str| S::Alter {
        table: name("t"),
        renamed: None,
        moves: Some(what.to_owned()),
        with: Some(name(with)),
        columns: false,
    };
    for (sql, expected) in [
        ("BEGIN", S::Begin),
        ("COMMIT", S::Commit),
        ("ROLLBACK TO `s`", S::RollbackTo),
        ("rollback", S::Rollback),
        ("XA END X'01'", S::Xa("END".to_owned())),
        ("truncate table `a``b`.`t`", S::Truncate(name("a`b.t"))),
        ("/* hi */ TRUNCATE t", S::Truncate(name("t"))),
        ("DROP TABLE IF EXISTS `d`.`t`,u /* generated by server */", S::Drop(vec![name("d.t"), name("u")])),
        ("DROP /*!40005 TEMPORARY */ TABLE IF EXISTS `t`", S::Other),
        ("drop database if exists d", S::DropDatabase("d".to_owned())),
        ("RENAME TABLE a TO b, c.d TO e", S::Rename(vec![(name("a"), name("b")), (name("c.d"), name("e"))])),
        ("ALTER TABLE t ADD COLUMN (a int, b int), RENAME COLUMN c TO d", columns("t", None)),
        ("ALTER TABLE `d`.t RENAME TO u", alter("d.t", Some("u"), None)),
        ("ALTER TABLE t ADD x varchar(9) DEFAULT 'rename to y', RENAME y", columns("t", Some("y"))),
        ("alter table t truncate partition p", alter("t", None, Some("TRUNCATE PARTITION"))),
        ("ALTER TABLE t DROP COLUMN `partition`, DROP x", columns("t", None)),
        ("ALTER TABLE t RENAME INDEX a TO b, ADD UNIQUE (x), DISABLE KEYS", alter("t", None, None)),
        ("ALTER TABLE t COMMENT 'x', ENGINE=InnoDB, DROP FOREIGN KEY f", alter("t", None, None)),
        ("ALTER TABLE t ADD INDEX (a), MODIFY b int", columns("t", None)),
        ("ALTER TABLE t ADD `index` int", columns("t", None)),
        ("ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES u (b) ON DELETE CASCADE", alter("t", None, None)),
        ("ALTER IGNORE TABLE t ADD UNIQUE (a)", alter("t", None, Some("IGNORE"))),
        ("DROP INDEX IF EXISTS i ON d.t", alter("d.t", None, None)),
        ("ALTER TABLE t DROP PARTITION p0", alter("t", None, Some("DROP PARTITION"))),
        (
            "ALTER TABLE t EXCHANGE PARTITION p WITH TABLE d.u WITHOUT VALIDATION",
            exchange("d.u", "EXCHANGE PARTITION"),
        ),
        ("ALTER TABLE t CONVERT PARTITION p TO TABLE u", exchange("u", "CONVERT PARTITION")),
        ("ALTER TABLE t CONVERT TABLE u TO PARTITION p VALUES LESS THAN (1)", exchange("u", "CONVERT TABLE")),
        ("CREATE OR REPLACE TABLE t (a int)", S::Drop(vec![name("t")])),
        ("CREATE TABLE t (a int)", S::Other),
        ("CREATE INDEX i ON t (a)", S::Other),
        ("INSERT INTO t VALUES (1)", S::Changes),
        ("SET STATEMENT max_statement_time=1 FOR TRUNCATE t", S::Truncate(name("t"))),
        ("-- x\n# y\nREPLACE t SELECT 1", S::Changes),
        ("", S::Other),
    ] {
        assert_eq!(S::parse(sql.as_bytes(), false), expected, "{sql}");
    }
    assert!(S::mentions(b"INSERT INTO `d`.`Order` VALUES ('t')", false, "order"));
    assert!(!S::mentions(b"INSERT INTO x VALUES ('t', \"t\") -- t", false, "t"));
    assert!(S::mentions(b"UPDATE \"t\" SET a = 1", true, "t"));
}

/// What stands before the character set of a statement, as MariaDB and MySQL write it; and what breaks off.
#[test]
fn the_character_set_of_a_statement() {
    for (variables, ansi_quotes, charset) in [
        ("00 00 00 00 00 01 04 00 00 00 00 00 00 00 06 03 73 74 64 04 08 00 08 00 2d 00", true, Some(8)),
        ("00 00 00 00 00 03 01 00 02 00 04 21 00 21 00 08 00 05 00", false, Some(33)),
        ("02 03 73 74 64 00 04 1c 00 1c 00 08 00", false, Some(28)),
        ("01 04 00 00 00 00 00 00 00 06 09 73", true, None),
        ("63 04 08 00", false, None),
        ("", false, None),
    ] {
        let variables = hex(variables);
        let mut body = vec![0; 8];
        body.extend([1, 0, 0, variables.len() as u8, 0]);
        body.extend(variables);
        body.extend(b"d\0TRUNCATE gr\xf6\xdfe");
        let bytes = event(2, &body);
        let mut decoder = Decoder::new(Flavor::MariaDb, false);
        let Event::Query(query) = decoder.event(&bytes).unwrap().1 else { panic!("no statement") };
        assert_eq!((query.schema, &*query.sql), (&b"d"[..], &b"TRUNCATE gr\xf6\xdfe"[..]));
        assert_eq!((query.ansi_quotes, query.charset), (ansi_quotes, charset));
    }
}

proptest! {
    /// Whatever bytes come: an event, or an error, and in no more memory than some times theirs.
    #[test]
    fn any_bytes_end(kind in 0_u8.., body in proptest::collection::vec(any::<u8>(), 0..200), maria: bool) {
        let flavor = if maria { Flavor::MariaDb } else { Flavor::MySql };
        let bytes = event(kind, &body);
        drop(Decoder::new(flavor, false).event(&bytes));
        drop(Decoder::new(flavor, true).event(&bytes));
        drop(Decoder::new(flavor, false).event(&body));
        let mut made = Vec::new();
        write_json(&body, &mut made);
        prop_assert!(made.len() <= 32 * body.len() + 1100);
        Statement::parse(&body, maria);
    }

    /// What a server wrote, with some bytes changed.
    #[test]
    fn almost_right_bytes_end(changes in proptest::collection::vec((0_usize..400, any::<u8>()), 0..6)) {
        let (mut map, mut rows) = (hex(TABLE), hex(ROWS));
        for (at, byte) in changes {
            if at < map.len() { map[at] = byte } else if let Some(own) = rows.get_mut(at - map.len()) { *own = byte }
        }
        let mut decoder = Decoder::new(Flavor::MariaDb, false);
        let mut known = table();
        if let Ok((_, Event::Table(map))) = decoder.event(&event(19, &map)) {
            known = map;
        }
        for kind in [23, 24, 25, 30, 166] {
            if let Ok((_, Event::Rows(rows))) = decoder.event(&event(kind, &rows)) {
                let mut count = 0;
                drop(rows.each(&known, |before, after| {
                    count += 1;
                    for image in before.into_iter().chain(after) {
                        image.values(&known, |at, value, _| {
                            if let Raw::Decimal(bytes) = value {
                                write_decimal(bytes, known.columns[at].meta, &mut Vec::new());
                            }
                        })?;
                    }
                    Ok(())
                }));
                prop_assert!(count <= rows.data.len());
            }
        }
    }

    #[test]
    fn statements_of_any_text_end(sql in "(alter|drop|rename|create|truncate| |table|to|,|\\(|\\)|`|'|\"|/\\*!?|\\*/|\\.|x|--|#|\n){0,30}") {
        Statement::parse(sql.as_bytes(), false);
        Statement::mentions(sql.as_bytes(), true, "x");
    }
}

#[test]
fn lengths_that_are_none() {
    for bytes in [&[0xfb_u8][..], &[0xff], &[0xfc, 1], &[0xfe, 1, 2], &[5, 1, 2]] {
        assert_eq!(Bytes(bytes).counted(), None, "{bytes:?}");
    }
}
