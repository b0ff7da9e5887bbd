//! The examples of docs/migrating/analyticdb.md, with PostgreSQL in AnalyticDB's role.

use kwsync_core::testkit::{MariaServer, PgServer};

use super::support::{Place, block};

/// The words of the `nth` command of the document, addresses replaced.
fn command(nth: usize, replace: &[(&str, &str)]) -> Vec<String> {
    let mut text = block("migrating/analyticdb.md", "sh", nth).replace("\\\n", " ");
    for (old, new) in replace {
        assert!(text.contains(old), "{old} is not in {text}");
        text = text.replace(old, new);
    }
    let words = text.split('\'').enumerate().flat_map(|(index, part)| match index % 2 {
        1 => vec![part.to_owned()],
        _ => part.split_whitespace().map(str::to_owned).collect(),
    });
    words.skip(1).collect()
}

fn run(place: &Place, words: &[String]) -> crate::support::Ran {
    place.run(&words.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn copy_with_greenplums_options() {
    let Some(server) = PgServer::shared() else { return };
    let (place, database) = (Place::new(), server.create_database());
    place.write("orders.txt", "1|2024-01-01 00:00:00+00|first\n2|NULL\nx|2024-01-01 00:00:00+00|bad\n3\n");
    let words = command(0, &[("adb://USER:PASSWORD@HOST:3432/shop", &server.dsn(&database))]);
    run(&place, &words).expect(3);
    let rows = server.psql(&database, "SELECT id, at IS NULL, note FROM public.orders ORDER BY id");
    assert_eq!(rows.trim(), "1|f|first\n2|t|\n3|t|");
    let rejects = std::fs::read_to_string(place.path("orders-bad.jsonl")).unwrap();
    assert!(rejects.contains("\"line\":3"), "{rejects}");
}

#[test]
fn mysql2pgsql() {
    let (Some(server), Some(source)) = (PgServer::shared(), MariaServer::shared()) else { return };
    let (place, database, from) = (Place::new(), server.create_database(), source.create_database());
    source.sql(
        &from,
        "CREATE TABLE t1 (id INT PRIMARY KEY, name VARCHAR(20) NOT NULL COMMENT 'who');
         INSERT INTO t1 VALUES (1, 'a'), (2, 'b');
         CREATE TABLE t2 (id BIGINT PRIMARY KEY, price DECIMAL(10,2)); INSERT INTO t2 VALUES (7, 1.50);
         CREATE TABLE t3 (id INT PRIMARY KEY)",
    );
    let words = command(
        4,
        &[
            ("mysql://USER:PASSWORD@HOST:3306/shop", &source.dsn(&from)),
            ("adb://USER:PASSWORD@HOST:3432/shop", &server.dsn(&database)),
            // Of Greenplum's tables only.
            ("&distributed_by=id", ""),
        ],
    );
    run(&place, &words).expect(0);
    assert_eq!(server.psql(&database, "SELECT * FROM t1 ORDER BY id").trim(), "1|a\n2|b");
    assert_eq!(server.psql(&database, "SELECT * FROM t2").trim(), "7|1.50");
    assert_eq!(server.psql(&database, "SELECT to_regclass('t3') IS NULL").trim(), "t");
    let key = "SELECT count(*) FROM pg_index WHERE indrelid = 't1'::regclass AND indisprimary";
    assert_eq!(server.psql(&database, key).trim(), "1");
}

/// The documented `my.cfg`, and the documented list of tables.
#[test]
fn dbsync() {
    let (Some(server), Some(source)) = (PgServer::shared(), MariaServer::shared()) else { return };
    let (place, database, from) = (Place::new(), server.create_database(), source.create_database());
    source.sql(&from, "CREATE TABLE t1 (id INT PRIMARY KEY); INSERT INTO t1 SELECT seq FROM seq_1_to_10; CREATE TABLE t2 (c1 INT); INSERT INTO t2 SELECT seq FROM seq_138880_to_138893");
    let mut text = block("migrating/analyticdb.md", "", 0);
    for (old, new) in [
        ("192.168.1.1\"", "127.0.0.1\"".to_owned()),
        ("\"3306\"", format!("\"{}\"", source.port())),
        ("user = \"test\"", format!("user = \"{}\"", source.user())),
        ("password = \"test\"", format!("password = \"{}\"", source.password())),
        ("db = \"test\"", format!("db = \"{from}\"")),
        ("host=192.168.1.2", "host=127.0.0.1".to_owned()),
        ("dbname=test", format!("dbname={database}")),
        ("port=3432", format!("port={}", server.port())),
        ("user=test", format!("user={}", server.superuser())),
        (
            "password=pgsql",
            format!("password='{}'", server.password().replace('\\', "\\\\").replace('\'', "\\'")),
        ),
    ] {
        assert!(text.contains(old), "{old} is not in {text}");
        text = text.replace(old, &new);
    }
    place.write("my.cfg", text);
    place.write("tab_list.txt", "t1\nt2 : select * from t2 where c1 > 138888\n");
    run(&place, &command(3, &[])).expect(0);
    let counts = "SELECT (SELECT count(*) FROM public.t1), (SELECT count(*) FROM public.t2)";
    assert_eq!(server.psql(&database, counts), "10|5\n");
}
