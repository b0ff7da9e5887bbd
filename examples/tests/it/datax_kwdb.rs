//! The jobs of KaiwuDB's documentation that read from KWDB, PostgreSQL in its role.

use kwsync_core::testkit::{MariaServer, PgServer};

use super::support::Place;

const SERIES: &str = "CREATE TABLE cpu (k_timestamp timestamptz NOT NULL, usage_user int8 NOT NULL, usage_system int8 NOT NULL, usage_idle int8 NOT NULL, id int8 NOT NULL, hostname varchar NOT NULL, region varchar NOT NULL, datacenter varchar NOT NULL)";

fn documented(name: &str) -> serde_json::Value {
    let path = format!("{}/../kwsync-core/tests/golden/datax/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    // It has commas behind last values, which serde_json does not take.
    let mut tidy = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once(',') {
        tidy.push_str(before);
        if !after.trim_start().starts_with(['}', ']']) {
            tidy.push(',');
        }
        rest = after;
    }
    tidy.push_str(rest);
    serde_json::from_str(&tidy).unwrap()
}

/// Login and database of a reader or writer.
fn at_kwdb(parameter: &mut serde_json::Value, server: &PgServer, db: &str) {
    parameter["username"] = server.superuser().into();
    parameter["password"] = server.password().into();
    parameter["jdbcUrl"] = format!("jdbc:kaiwudb://127.0.0.1:{}/{db}", server.port()).into();
}

fn fill(server: &PgServer, db: &str) {
    server.psql(db, &format!("{SERIES}; INSERT INTO cpu SELECT timestamptz '2024-05-01 08:00Z' + n * interval '1 min', n, 2 * n, 100, n % 10, 'h' || n % 10, 'r', 'd' FROM generate_series(0, 2999) n"));
}

/// Of fifty hours the window of a day.
#[test]
fn a_window_goes_into_mysql() {
    let (Some(server), Some(maria)) = (PgServer::shared(), MariaServer::shared()) else { return };
    let (place, from, to) = (Place::new(), server.create_database(), maria.create_database());
    fill(server, &from);
    maria.sql(&to, "CREATE TABLE cpu (k_timestamp timestamp(3) NOT NULL, usage_user bigint, usage_system bigint, usage_idle bigint, id bigint, hostname varchar(20), region varchar(20), datacenter varchar(20))");
    let mut job = documented("kaiwudb-to-mysql");
    let content = &mut job["job"]["content"][0];
    at_kwdb(&mut content["reader"]["parameter"], server, &from);
    let writer = &mut content["writer"]["parameter"];
    writer["username"] = maria.user().into();
    writer["password"] = maria.password().into();
    writer["connection"][0]["jdbcUrl"] = format!(
        "jdbc:mysql://127.0.0.1:{}/{to}?useSSL=false&useUnicode=true&characterEncoding=utf8",
        maria.port()
    )
    .into();
    place.write("job.json", job.to_string());
    let out = place.run(&["job", "job.json", "--jobs", "2"]).expect(0).out();
    assert!(out.contains("Total Records Read   : 1440\nTotal Failures       : 0\n"), "{out}");
    let sql = "SET time_zone = '+00:00'; SELECT count(*), count(DISTINCT usage_user), min(k_timestamp), max(k_timestamp) FROM cpu";
    assert_eq!(maria.sql(&to, sql), "1440\t1440\t2024-05-01 10:00:00.000\t2024-05-02 09:59:00.000\n");
}

#[test]
fn a_query_goes_into_another_database() {
    let Some(server) = PgServer::shared() else { return };
    let (place, from, to) = (Place::new(), server.create_database(), server.create_database());
    fill(server, &from);
    server.psql(&to, SERIES);
    let mut job = documented("kaiwudb-to-kaiwudb");
    let content = &mut job["job"]["content"][0];
    at_kwdb(&mut content["reader"]["parameter"], server, &from);
    at_kwdb(&mut content["writer"]["parameter"], server, &to);
    place.write("job.json", job.to_string());
    let out = place.run(&["job", "job.json"]).expect(0).out();
    assert!(out.contains("Total Records Read   : 3000\nTotal Failures       : 0\n"), "{out}");
    let digest = "SELECT count(*), md5(string_agg(cpu::text, ';' ORDER BY usage_user)) FROM cpu";
    assert_eq!(server.psql(&to, digest), server.psql(&from, digest));
}
