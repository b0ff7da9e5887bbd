//! A generated schema goes from MariaDB to PostgreSQL and back, and is the same by value.

use std::fmt::Write;
use std::time::UNIX_EPOCH;

use kwsync_core::testkit::{MariaServer, PgServer};

use super::support::Place;

const TABLES: usize = 60;
const ROWS: usize = 40;

/// Types, and a value of each for the row `n`, from 1 on.
const TYPES: [(&str, &str); 36] = [
    ("tinyint", "n - 20"),
    ("tinyint(1)", "n % 2"),
    ("tinyint unsigned", "n + 200"),
    ("smallint", "n - 32000"),
    ("smallint unsigned", "65535 - n"),
    ("mediumint", "n * -1000"),
    ("int", "n - 50"),
    ("int unsigned", "4294967295 - n"),
    ("bigint", "n * 1000003 - 9000000000000000000"),
    ("bigint unsigned", "18446744073709551615 - n"),
    ("float", "n / 8"),
    ("double", "n / 7"),
    ("decimal(30,6)", "n / 3"),
    ("decimal(60,20)", "n * 12345678901234567890.5"),
    ("decimal(5,0) unsigned", "n * 7"),
    ("bit(1)", "n % 2"),
    ("bit(10)", "n % 1024"),
    ("bit(64)", "18446744073709551615 - n"),
    ("char(9)", "CONCAT('c', n)"),
    ("varchar(60)", "CONCAT('é''\\\\\\n😀', n)"),
    ("varchar(20) CHARACTER SET latin1", "CONCAT('né', n)"),
    ("tinytext", "CONCAT('(,) NULL ', n)"),
    ("longtext", "REPEAT('x', n * 20)"),
    ("binary(20)", "UNHEX(SHA1(n))"),
    ("varbinary(40)", "UNHEX(SHA1(n))"),
    ("longblob", "REPEAT(UNHEX('00ff0a'), n)"),
    ("date", "'1000-01-01' + INTERVAL n * 3000 DAY"),
    ("datetime", "'1969-12-31 23:59:59' - INTERVAL n HOUR"),
    ("datetime(3)", "'9999-01-01' + INTERVAL n * 1001000 MICROSECOND"),
    ("timestamp(6) NULL", "'2030-01-01' + INTERVAL n * 1000001 MICROSECOND"),
    ("time(6)", "SEC_TO_TIME(n * 80.5)"),
    ("year", "1901 + n"),
    ("json", "JSON_ARRAY(n, NULL, 'it''s')"),
    ("enum('a','it''s')", "IF(n % 2, 'a', 'it''s')"),
    ("set('p','q','r')", "1 + n % 7"),
    ("uuid", "INSERT('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a00', 35, 2, LPAD(n, 2, '0'))"),
];

const NAMES: [&str; 15] = [
    "plain",
    "With Blank",
    "quo\"te",
    "dot.ted",
    "ünï",
    "select",
    "back`tick",
    "semi;colon",
    "per%cent",
    "-dash",
    "1digit",
    "ИМЯ",
    "it's",
    "a,b",
    "(x)",
];

/// xorshift64*: the same tables for the same seed.
struct Dice(u64);

impl Dice {
    fn upto(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % end
    }
}

fn quote(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

struct Table {
    name: String,
    /// Its columns, each as a text that is the same for the same value, whatever type it has come back as.
    columns: Vec<String>,
}

fn as_text(data_type: &str, column: &str) -> String {
    let is = |words: &[&str]| words.iter().any(|word| data_type.starts_with(word));
    if is(&["binary", "varbinary", "longblob"]) {
        format!("HEX({column})")
    } else if is(&["bit"]) {
        format!("BIN({column})")
    } else if is(&["datetime", "timestamp"]) {
        format!("CAST({column} AS DATETIME(6))")
    } else {
        format!("HEX(CONVERT({column} USING utf8mb4))")
    }
}

/// Tables of six columns each; every type is in some table, whatever the seed.
fn generate(dice: &mut Dice) -> (String, Vec<Table>) {
    let mut sql = String::from("SET time_zone = '+00:00';");
    let mut tables = Vec::new();
    for number in 0..TABLES {
        let name = quote(&format!("{}{number}", NAMES[dice.upto(NAMES.len())]));
        let mut columns = Vec::new();
        let (mut made, mut values) = (String::new(), String::new());
        for at in 0..6 {
            let (data_type, value) =
                TYPES[if at == 0 { number % TYPES.len() } else { dice.upto(TYPES.len()) }];
            let column = quote(&format!("{at} {}", NAMES[dice.upto(NAMES.len())]));
            write!(made, ", {column} {data_type}").unwrap();
            // Nulls in some columns, often, now and then or never.
            match dice.upto(4) {
                0 => write!(values, ", {value}").unwrap(),
                rare => write!(values, ", IF(n % {} = 0, NULL, {value})", rare * 2 + 1).unwrap(),
            }
            columns.push(as_text(data_type, &column));
        }
        let key = [
            ", PRIMARY KEY (id)",
            ", PRIMARY KEY (part, id)",
            ", UNIQUE (id)",
            "",
            ", PRIMARY KEY (id, part)",
        ][dice.upto(5)];
        // Some without rows.
        let rows = if dice.upto(10) == 0 { 0 } else { 1 + dice.upto(ROWS) };
        write!(
            sql,
            "CREATE TABLE {name} (id int NOT NULL, part varchar(5) NOT NULL{made}{key}) CHARSET=utf8mb4;
             INSERT INTO {name} SELECT n, n % 3{values} FROM (SELECT CAST(seq AS SIGNED) AS n FROM seq_1_to_{ROWS}) s WHERE n <= {rows};"
        )
        .unwrap();
        tables.push(Table { name, columns });
    }
    (sql, tables)
}

#[test]
fn sixty_generated_tables_go_to_postgresql_and_come_back() {
    let (Some(maria), Some(postgres)) = (MariaServer::shared(), PgServer::shared()) else { return };
    let given = std::env::var("KWSYNC_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = given.unwrap_or_else(|| UNIX_EPOCH.elapsed().unwrap().subsec_nanos().into());
    println!("KWSYNC_TEST_SEED={seed}");
    let (sql, tables) = generate(&mut Dice(seed | 1));
    let (place, from) = (Place::new(), maria.create_database());
    let (over, back) = (postgres.create_database(), maria.create_database());
    maria.sql(&from, &sql);
    for (from, to) in [(maria.dsn(&from), postgres.dsn(&over)), (postgres.dsn(&over), maria.dsn(&back))] {
        let source = format!("{from}?tables=*&splits=2");
        place.run(&["run", "--from", &source, "--to", &to, "--jobs", "2", "--quiet"]).expect(0);
    }
    // One statement a database: a client for each table would take longer than all the rest.
    let rows = |db: &str| {
        let mut sql = String::from("SET time_zone = '+00:00';");
        for Table { name, columns } in &tables {
            let texts: Vec<_> = columns.iter().map(|text| format!("IFNULL({text}, '-')")).collect();
            let title = name.replace('\'', "''");
            write!(
                sql,
                "SELECT '{title}', COUNT(*) FROM {name}; SELECT id, part, {} FROM {name} ORDER BY id;",
                texts.join(", ")
            )
            .unwrap();
        }
        maria.sql(db, &sql)
    };
    let (there, here) = (rows(&from), rows(&back));
    let differs = there.lines().zip(here.lines()).find(|(there, here)| there != here);
    assert_eq!(differs, None, "seed {seed}");
    assert_eq!(there.lines().count(), here.lines().count(), "seed {seed}");
    assert!(there.lines().count() > TABLES * 2, "{there}");
    // Keys come back, too.
    let keys = |db: &str| {
        maria.sql(db, &format!("SELECT TABLE_NAME, COLUMN_NAME, SEQ_IN_INDEX FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = '{db}' AND INDEX_NAME = 'PRIMARY' AND TABLE_NAME <> 'kwsync_checkpoint' ORDER BY 1, 3"))
    };
    assert_eq!(keys(&from), keys(&back), "seed {seed}");
}
