//! The jobs of KaiwuDB's documentation, from MariaDB, PostgreSQL in the role of KWDB.

use kwsync_core::testkit::{MariaServer, PgServer};

use super::support::Place;

/// A job of KaiwuDB's documentation, from MariaDB into PostgreSQL.
fn documented(name: &str, mysql: (&MariaServer, &str), kwdb: (&PgServer, &str)) -> String {
    let path = format!("{}/../kwsync-core/tests/golden/datax/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let mut job: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let content = &mut job["job"]["content"][0];
    let reader = &mut content["reader"]["parameter"];
    reader["username"] = mysql.0.user().into();
    reader["password"] = mysql.0.password().into();
    reader["connection"][0]["jdbcUrl"][0] = format!(
        "jdbc:mysql://127.0.0.1:{}/{}?useSSL=false&useUnicode=true&characterEncoding=utf8",
        mysql.0.port(),
        mysql.1
    )
    .into();
    let writer = &mut content["writer"]["parameter"];
    writer["username"] = kwdb.0.superuser().into();
    writer["password"] = kwdb.0.password().into();
    writer["jdbcUrl"] = format!("jdbc:kaiwudb://127.0.0.1:{}/{}", kwdb.0.port(), kwdb.1).into();
    job.to_string()
}

#[test]
fn the_jobs_of_kaiwudbs_documentation_run() {
    let (Some(mysql), Some(kwdb)) = (MariaServer::shared(), PgServer::shared()) else { return };
    let place = Place::new();
    let (from, to) = (mysql.create_database(), kwdb.create_database());
    mysql.sql(&from, "CREATE TABLE cpu (id bigint PRIMARY KEY, k_timestamp timestamp(3) NOT NULL, usage_user bigint NOT NULL, usage_system bigint NOT NULL, usage_idle bigint NOT NULL); INSERT INTO cpu SELECT seq, TIMESTAMP'2024-05-01 00:00:00' + INTERVAL seq SECOND, seq, seq * 2, 100 FROM seq_1_to_3000; CREATE TABLE orders (order_id bigint PRIMARY KEY, created_at datetime, product_count int, total_amount double, customer_id int); INSERT INTO orders SELECT seq, '2024-05-01 10:00:00', seq, seq / 4, seq % 9 FROM seq_1_to_500");
    kwdb.psql(&to, "CREATE TABLE cpu (k_timestamp timestamptz NOT NULL, usage_user int8 NOT NULL, usage_system int8 NOT NULL, usage_idle int8 NOT NULL, id int8 NOT NULL, hostname varchar NOT NULL, region varchar NOT NULL, datacenter varchar NOT NULL); CREATE TABLE orders (order_id serial primary key, created_at timestamp, product_count int, total_amount float, customer_id int); INSERT INTO orders VALUES (9999, now(), 1, 0, 1)");
    for (name, rows) in [("mysql-to-series", 3_000), ("mysql-by-query", 1_000), ("mysql-by-where", 2_000)] {
        place.write("job.json", documented(name, (mysql, &from), (kwdb, &to)));
        let out = place.run(&["job", "job.json"]).expect(0).out();
        assert!(
            out.contains(&format!("Total Records Read   : {rows}\nTotal Failures       : 0\n")),
            "{name}: {out}"
        );
        let found = kwdb.psql(&to, "SELECT count(*), count(DISTINCT usage_user), min(id), max(hostname || region || datacenter) FROM cpu");
        assert_eq!(found, format!("{rows}|{rows}|9001|localhostbeijingcenter\n"), "{name}");
        kwdb.psql(&to, "TRUNCATE cpu");
    }
    place.write("job.json", documented("mysql-to-relational", (mysql, &from), (kwdb, &to)));
    place.run(&["job", "job.json", "--jobs", "2"]).expect(0);
    let found = kwdb.psql(&to, "SELECT count(*), sum(total_amount), min(created_at) FROM orders");
    assert_eq!(found, "500|31312.5|2024-05-01 10:00:00\n", "the old row is deleted by preSql");
}

#[test]
fn rows_go_into_mysql_as_its_writer_has_them() {
    let (Some(mysql), Some(postgres)) = (MariaServer::shared(), PgServer::shared()) else { return };
    let place = Place::new();
    let (from, to) = (postgres.create_database(), mysql.create_database());
    postgres.psql(&from, "CREATE TABLE src (id int PRIMARY KEY, v text); INSERT INTO src SELECT n, 'x' || n FROM generate_series(1, 300) n");
    mysql.sql(&to, "CREATE TABLE dst (k int PRIMARY KEY, v varchar(20)); INSERT INTO dst VALUES (1, 'old'), (1000, 'gone')");
    let job = |mode: &str| {
        serde_json::json!({"job": {"setting": {"speed": {"channel": 1}, "errorLimit": {"record": 1}}, "content": [{
            "reader": {"name": "postgresqlreader", "parameter": {
                "username": postgres.superuser(), "password": postgres.password(), "column": ["id", "v"], "splitPk": "id",
                "connection": [{"table": ["src"], "jdbcUrl": [format!("jdbc:postgresql://127.0.0.1:{}/{from}", postgres.port())]}]}},
            "writer": {"name": "mysqlwriter", "parameter": {
                "username": mysql.user(), "password": mysql.password(), "column": ["`k`", "v"], "writeMode": mode, "batchSize": 100,
                "preSql": ["DELETE FROM @table WHERE k > 500"],
                "connection": [{"table": ["dst"], "jdbcUrl": format!("jdbc:mysql://127.0.0.1:{}/{to}?useSSL=false&rewriteBatchedStatements=true", mysql.port())}]}}
        }]}})
        .to_string()
    };
    // The row that is there already is refused.
    place.write("job.json", job("insert"));
    let out = place.run(&["job", "job.json"]).expect(3).out();
    assert!(out.contains("Total Records Read   : 300\nTotal Failures       : 1\n"), "{out}");
    assert_eq!(mysql.sql(&to, "SELECT count(*), min(v), sum(k > 500) FROM dst"), "300\told\t0\n");
    place.write("job.json", job("REPLACE"));
    place.run(&["job", "job.json"]).expect(0);
    assert_eq!(mysql.sql(&to, "SELECT count(*), min(v) FROM dst"), "300\tx1\n");
}
