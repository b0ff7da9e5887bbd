//! Rows that the server refuses: each of them is found, and none else.

use std::collections::BTreeSet;

use kwsync_core::testkit::PgServer;

use super::support::Place;

/// Line numbers, codes and stages of a reject file.
fn rejected(place: &Place, name: &str) -> Vec<(u64, String, String)> {
    let text = std::fs::read_to_string(place.path(name)).unwrap();
    let mut all: Vec<_> = text
        .lines()
        .map(|line| {
            let reject: serde_json::Value = serde_json::from_str(line).unwrap();
            let text = |name: &str| reject[name].as_str().unwrap().to_owned();
            assert!(!text("reason").is_empty() && text("raw").contains("n="), "{line}");
            (reject["position"]["line"].as_u64().unwrap(), text("code"), text("stage"))
        })
        .collect();
    all.sort();
    all
}

const ROWS: u64 = 20_000;

/// Loads `n` from 1 to [`ROWS`] into the table that `ddl` makes, and expects just the rows `bad` to be refused with
/// `code`.
fn refuses(ddl: &str, table: &str, bad: &BTreeSet<u64>, code: &str) {
    refuses_with(ddl, table, bad, code, "");
}

/// The same with parameters of the sink.
fn refuses_with(ddl: &str, table: &str, bad: &BTreeSet<u64>, code: &str, options: &str) {
    let Some(server) = PgServer::shared() else { return };
    let (place, database) = (Place::new(), server.create_database());
    server.psql(&database, ddl);
    let text: String = (1..=ROWS)
        .map(|n| format!("t k={}i,n={n}i {n}000\n", if bad.contains(&n) { -1 } else { n as i64 }))
        .collect();
    place.write("in.lp", text);
    let table_name = table.replace(' ', "%20");
    let to = format!("{}?table={table_name}&create=never{options}", server.dsn(&database));
    let arguments = ["-f", "in.lp", "-t", &to, "--errors", "reject:bad.jsonl", "--report", "json"];
    let ran = place.run(&arguments).expect(3);
    let expected: Vec<_> = bad.iter().map(|n| (*n, code.to_owned(), "write".to_owned())).collect();
    assert_eq!(rejected(&place, "bad.jsonl"), expected, "{ddl} {options}");
    let quoted = table.replace('"', "\"\"");
    let good = ROWS - bad.len() as u64;
    let sum = (1..=ROWS).filter(|n| !bad.contains(n)).sum::<u64>();
    let stored =
        server.psql(&database, &format!("SELECT count(*), count(DISTINCT n), sum(n) FROM \"{quoted}\""));
    assert_eq!(stored, format!("{good}|{good}|{sum}\n"), "{ddl}");
    let report: serde_json::Value = serde_json::from_str(&ran.out()).unwrap();
    assert_eq!(
        (&report["rows_written"], &report["rows_rejected"]),
        (&good.into(), &(bad.len() as u64).into())
    );
    // Whoever allows none is told which it was, and nothing stays.
    server.psql(&database, &format!("TRUNCATE \"{quoted}\""));
    let ran = place.run(&["-f", "in.lp", "-t", &to, "--restart"]).expect(1);
    let first = bad.first().unwrap();
    assert!(ran.err().contains(&format!("in.lp, line {first}")) && ran.err().contains(code), "{}", ran.err());
    assert_eq!(server.psql(&database, &format!("SELECT count(*) FROM \"{quoted}\"")), "0\n");
    // More than allowed stop it.
    if bad.len() > 3 {
        place
            .run(&["-f", "in.lp", "-t", &to, "--restart", "--errors", "skip", "--max-errors", "2"])
            .expect(4);
    }
}

fn some() -> BTreeSet<u64> {
    [1, 2, 500, 501, 777, 9_000, 12_345, 19_999, ROWS].into()
}

#[test]
fn constraints_with_a_line() {
    let columns = "\"time\" timestamptz, n bigint";
    refuses(&format!("CREATE TABLE t ({columns}, k bigint CHECK (k > 0))"), "t", &some(), "23514");
    refuses(
        &format!("CREATE DOMAIN pos AS bigint CHECK (VALUE > 0); CREATE TABLE t ({columns}, k pos)"),
        "t",
        &some(),
        "23514",
    );
    // A name that looks like the server's own words.
    refuses(
        &format!("CREATE TABLE \"x, line 3, column \"\"k\"\"\" ({columns}, k bigint CHECK (k > 0))"),
        "x, line 3, column \"k\"",
        &some(),
        "23514",
    );
    refuses(
        &format!(
            "CREATE TABLE t ({columns}, k bigint); CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN IF NEW.k < 0 THEN RAISE EXCEPTION 'COPY t, line 7: no'; END IF; RETURN NEW; END $$;
             CREATE TRIGGER b BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()"
        ),
        "t",
        &some(),
        "P0001",
    );
}

#[test]
fn by_every_way() {
    let ddl = "CREATE TABLE t (\"time\" timestamptz, n bigint PRIMARY KEY, k bigint CHECK (k > 0))";
    for options in [
        "strategy=copy-text",
        "strategy=copy-csv",
        "strategy=insert",
        "strategy=unnest",
        "strategy=merge",
        "mode=upsert",
        "mode=insert-ignore&strategy=merge",
        "mode=upsert&strategy=insert&sort=none",
        "mode=upsert&profile=greenplum",
    ] {
        refuses_with(ddl, "t", &some(), "23514", &format!("&{options}"));
    }
}

#[test]
fn no_partition_takes_it() {
    refuses(
        "CREATE TABLE t (\"time\" timestamptz, n bigint, k bigint) PARTITION BY RANGE (k);
         CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (10000);
         CREATE TABLE t2 PARTITION OF t FOR VALUES FROM (10000) TO (1000000)",
        "t",
        &some(),
        "23514",
    );
}

#[test]
fn the_first_of_equal_keys_stays() {
    // k is -1 in all of them: the first is good.
    let Some(server) = PgServer::shared() else { return };
    let (place, database) = (Place::new(), server.create_database());
    server.psql(&database, "CREATE TABLE t (\"time\" timestamptz, n bigint, k bigint PRIMARY KEY)");
    let bad = some();
    let text: String = (1..=ROWS)
        .map(|n| format!("t k={}i,n={n}i {n}000\n", if bad.contains(&n) { -1 } else { n as i64 }))
        .collect();
    place.write("in.lp", text);
    place.run(&["-f", "in.lp", "-t", &server.dsn(&database), "--errors", "reject:bad.jsonl"]).expect(3);
    let lines: Vec<_> = rejected(&place, "bad.jsonl").into_iter().map(|(line, ..)| line).collect();
    assert_eq!(lines, bad.iter().copied().skip(1).collect::<Vec<_>>());
    assert_eq!(server.psql(&database, "SELECT n FROM t WHERE k = -1"), "1\n");
}

#[test]
fn constraints_without_a_line() {
    let columns = "\"time\" timestamptz, n bigint";
    let parent =
        format!("CREATE TABLE p (id bigint PRIMARY KEY); INSERT INTO p SELECT generate_series(1, {ROWS});");
    for deferred in ["", " DEFERRABLE INITIALLY DEFERRED"] {
        refuses(
            &format!("{parent} CREATE TABLE t ({columns}, k bigint REFERENCES p (id){deferred})"),
            "t",
            &some(),
            "23503",
        );
    }
    refuses(
        &format!(
            "CREATE TABLE t ({columns}, k bigint); CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN IF NEW.k < 0 THEN RAISE EXCEPTION 'no' USING ERRCODE = '23000'; END IF; RETURN NEW; END $$;
             CREATE TRIGGER a AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()"
        ),
        "t",
        &some(),
        "23000",
    );
}

#[test]
fn every_row_is_refused() {
    let Some(server) = PgServer::shared() else { return };
    let (place, database) = (Place::new(), server.create_database());
    server.psql(&database, "CREATE TABLE t (\"time\" timestamptz, n bigint CHECK (n < 0))");
    place.write("in.lp", (1..=3_000).map(|n| format!("t n={n}i {n}000\n")).collect::<String>());
    let to = server.dsn(&database);
    place.run(&["-f", "in.lp", "-t", &to, "--errors", "reject:bad.jsonl"]).expect(3);
    assert_eq!(rejected(&place, "bad.jsonl").len(), 3_000);
    assert_eq!(server.psql(&database, "SELECT count(*) FROM t"), "0\n");
}

#[test]
fn a_fault_of_the_system_rejects_nothing() {
    let Some(server) = PgServer::shared() else { return };
    let (place, database) = (Place::new(), server.create_database());
    server.psql(
        &database,
        "CREATE TABLE t (\"time\" timestamptz, n bigint);
         CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN IF NEW.n = 700 THEN RAISE EXCEPTION 'full' USING ERRCODE = '53100'; END IF; RETURN NEW; END $$;
         CREATE TRIGGER b BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()",
    );
    place.write("in.lp", (1..=3_000).map(|n| format!("t n={n}i {n}000\n")).collect::<String>());
    let to = server.dsn(&database);
    let ran = place.run(&["-f", "in.lp", "-t", &to, "--errors", "reject:bad.jsonl"]).expect(1);
    assert!(ran.err().contains("53100"), "{}", ran.err());
    assert_eq!(rejected(&place, "bad.jsonl"), vec![]);
    assert_eq!(server.psql(&database, "SELECT count(*) FROM t"), "0\n");
}
