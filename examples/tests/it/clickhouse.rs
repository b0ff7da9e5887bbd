//! ClickHouse as a source, by the command.

use kwsync_core::testkit::{ClickHouseServer, MariaServer, PgServer};

use super::kill::{kills, start_and_kill};
use super::support::{Job, Place, until};

fn count(server: &PgServer, db: &str, table: &str) -> u64 {
    let count = server.try_psql(db, &format!("SELECT count(*) FROM {table}"), b"").unwrap_or_default();
    String::from_utf8_lossy(&count).trim().parse().unwrap_or(0)
}

/// Every type that the server has, null and the ends of what it holds among them, as PostgreSQL shows it.
#[test]
fn every_type_goes_over_as_it_is() {
    let (Some(from), Some(to)) = (ClickHouseServer::shared(), PgServer::shared()) else { return };
    let (place, source, target) = (Place::new(), from.create_database(), to.create_database());
    from.sql(&format!("CREATE TABLE {source}.`every \"type` (id UInt64, i8 Int8, i16 Int16, i32 Int32, i64 Int64, u8 UInt8, u16 UInt16, u32 UInt32, u64 UInt64, f32 Float32, f64 Float64, d9 Decimal(9, 4), d18 Decimal(18, 2), d38 Decimal(38, 10), s String, bin String, f FixedString(3), d Date, dt DateTime, dz DateTime('Europe/Berlin'), e8 Enum8('a' = 1, 'b\\'c' = -2), e16 Enum16('x' = 300), u UUID, n Nullable(Int32), ns Nullable(String), nd Nullable(DateTime), l LowCardinality(String), ln LowCardinality(Nullable(String)), a Array(Int32), an Array(Nullable(String)), ad Array(Decimal(9, 2)), aa Array(Array(UInt8)), t Tuple(UInt8, String), atu Tuple(String, Array(Nullable(Float64))), al Array(LowCardinality(String)), nest Nested(k String, v Nullable(UInt64))) ENGINE = MergeTree ORDER BY id"));
    from.sql(&format!("INSERT INTO {source}.`every \"type` SELECT 1, -128, -32768, -2147483648, -9223372036854775808, 255, 65535, 4294967295, 18446744073709551615, 1.5, 0.1, toDecimal32('-12345.6789', 4), toDecimal64('9999999999999999.99', 2), toDecimal128('1234567890123456789012345678.0123456789', 10), 'it\\'s \"é\" \\\\ 漢字', unhex('00FF41'), 'ab', toDate('2105-12-31'), toDateTime('2024-07-01 12:00:00'), toDateTime('2024-07-01 12:00:00', 'Europe/Berlin'), 'b\\'c', 'x', toUUID('61f0c404-5cb3-11e7-907b-a6006ad3dba0'), NULL AS z1, NULL AS z2, NULL AS z3, 'low', NULL AS z4, [1, -2], ['x', NULL, ''], [toDecimal32('0.10', 2)], [[1, 2], []], (7, 't\"'), ('p', [NULL, 0.5]), ['l', 'm', 'l'], ['k1', 'k2'], [NULL, 18446744073709551615]"));
    from.sql(&format!("INSERT INTO {source}.`every \"type` (id, bin, d, e8, e16, n, ns, nd, ln) SELECT 2, '', '1970-01-01', 'a', 'x', 5, '', toDateTime('1970-01-01 08:00:00'), ''"));
    let dsn = format!("{}?tables=*&binary=bin", from.dsn(&source));
    place.run(&["run", "--from", &dsn, "--to", &to.dsn(&target)]).expect(0);
    let row = |id: u8| {
        to.psql(&target, &format!("SET timezone = 'UTC'; SELECT id, i8, i16, i32, i64, u8, u16, u32, u64, f32, f64, d9, d18, d38, s, bin, f, d, dt, dz, e8, e16, u, coalesce(n::text, '-'), coalesce(ns, '-'), coalesce(nd::text, '-'), l, coalesce(ln, '-'), a, an, ad, aa, t, atu, al, \"nest.k\", \"nest.v\" FROM \"every \"\"type\" WHERE id = {id}")).lines().last().unwrap().to_owned()
    };
    assert_eq!(
        row(1),
        "1|-128|-32768|-2147483648|-9223372036854775808|255|65535|4294967295|18446744073709551615|1.5|0.1|-12345.6789|9999999999999999.99|1234567890123456789012345678.0123456789|it's \"é\" \\ 漢字|\\x00ff41|ab|2105-12-31|2024-07-01 04:00:00+00|2024-07-01 10:00:00+00|b'c|x|61f0c404-5cb3-11e7-907b-a6006ad3dba0|-|-|-|low|-|{1,-2}|{x,NULL,\"\"}|{0.10}|[[1,2],[]]|[7,\"t\\\"\"]|[\"p\",[null,0.5]]|{l,m,l}|{k1,k2}|{NULL,18446744073709551615}"
    );
    assert_eq!(
        row(2),
        "2|0|0|0|0|0|0|0|0|0|0|0.0000|0.00|0.0000000000||\\x||1970-01-01|1970-01-01 00:00:00+00|1970-01-01 00:00:00+00|a|x|00000000-0000-0000-0000-000000000000|5||1970-01-01 00:00:00+00|||{}|{}|{}|[]|[0,\"\"]|[\"\",[]]|{}|{}|{}"
    );
    // The schema as it would be made, and a comparison of both sides.
    let ddl = place.run(&["ddl", "--from", &dsn, "--to", &to.dsn(&to.create_database())]).expect(0).out();
    for part in [
        "\"u64\" numeric(20,0) NOT NULL",
        "\"n\" integer",
        "\"dt\" timestamp",
        "CHECK (\"e8\" IN ('b''c', 'a'))",
    ] {
        assert!(ddl.contains(part), "{part}: {ddl}");
    }
    place.run(&["verify", "--from", &dsn, "--to", &format!("{}?tables=*", to.dsn(&target))]).expect(0);
    to.psql(&target, "UPDATE \"every \"\"type\" SET d38 = d38 + 0.0000000001 WHERE id = 1");
    place.run(&["verify", "--from", &dsn, "--to", &format!("{}?tables=*", to.dsn(&target))]).expect(3);
}

/// A database with tables of several kinds: each goes over once, whatever it is cut by, and what hides other tables does not.
#[test]
fn whole_databases_conditions_and_queries() {
    let (Some(from), Some(to)) = (ClickHouseServer::shared(), PgServer::shared()) else { return };
    let (place, source, target) = (Place::new(), from.create_database(), to.create_database());
    from.sql(&format!("CREATE TABLE {source}.points (site String, at DateTime, n UInt32) ENGINE = MergeTree ORDER BY (at, site)"));
    from.sql(&format!("INSERT INTO {source}.points SELECT concat('s', toString(number % 7)), toDateTime(1700000000 + intDiv(number, 3)), number FROM numbers(30000)"));
    from.sql(&format!(
        "CREATE TABLE {source}.named (name String, n Nullable(Int32)) ENGINE = MergeTree ORDER BY name"
    ));
    from.sql(&format!("INSERT INTO {source}.named SELECT toString(number), if(number % 10 = 0, NULL, toInt32(number) - 500) FROM numbers(1000)"));
    from.sql(&format!("CREATE TABLE {source}.empty (id Int64) ENGINE = Log"));
    from.sql(&format!("CREATE TABLE {source}.latest (id UInt32, v String, version UInt32) ENGINE = ReplacingMergeTree(version) ORDER BY id"));
    for version in 1..=2 {
        from.sql(&format!(
            "INSERT INTO {source}.latest SELECT number, 'v{version}', {version} FROM numbers(100)"
        ));
    }
    from.sql(&format!("CREATE VIEW {source}.seen AS SELECT * FROM {source}.points"));
    let all = format!("{}?tables=*&splits=4&exclude=latest", from.dsn(&source));
    let dry = place.run(&["run", "--from", &all, "--to", &to.dsn(&target), "--dry-run"]).expect(0).out();
    for part in
        ["moment of its own", "named cannot be read on from the middle of a piece: split_by=", "points#4"]
    {
        assert!(dry.contains(part), "{part}: {dry}");
    }
    place.run(&["run", "--from", &all, "--to", &to.dsn(&target), "--jobs", "2"]).expect(0);
    let found = to.psql(&target, "SELECT count(*), count(DISTINCT n), sum(n), max(site), (SELECT count(*) FROM empty), (SELECT count(*) - count(n) FROM named), to_regclass('seen') IS NULL FROM points");
    assert_eq!(found, "30000|30000|449985000|s6|0|100|t\n");
    // Cut by a column with nulls, which are a piece of their own, under an expression that is called as the column is.
    let cut = format!(
        "{}?table=named&split_by=n&splits=3&where=n > -400 OR n IS NULL&columns=concat('x', name) AS name,toString(n) AS n,9001 AS site",
        from.dsn(&source)
    );
    let other = to.create_database();
    place.run(&["run", "--from", &cut, "--to", &to.dsn(&other), "--jobs", "2"]).expect(0);
    assert_eq!(
        to.psql(&other, "SELECT count(*), count(n), min(name), sum(n::int), min(site) FROM named"),
        "910|810|x0|40500|9001\n"
    );
    for (parameters, expected) in [
        ("table=latest&final=true", "100|v2\n"),
        ("table=latest&order=none", "200|v1\n"),
        ("table=latest&query=SELECT id, any(v) AS v FROM latest GROUP BY id -- all of it", "100|v"),
        ("table=latest&query=SELECT id, v FROM latest&split_by=id&splits=5", "200|v1\n"),
        ("table=latest&compression=gzip&splits=2", "200|v1\n"),
        ("table=latest&cursor=id&begin=10&end=20", "20|v1\n"),
    ] {
        let to_db = to.create_database();
        let dsn = format!("{}?{parameters}", from.dsn(&source));
        place.run(&["run", "--from", &dsn, "--to", &to.dsn(&to_db), "--jobs", "2"]).expect(0);
        let found = to.psql(&to_db, "SELECT count(*), min(v) FROM latest");
        assert!(found.starts_with(expected), "{parameters}: {found}");
    }
    // Who may change no setting reads, too.
    let reader = from.dsn(&source).replace(from.user(), from.reader());
    let to_db = to.create_database();
    place.run(&["run", "--from", &format!("{reader}?table=points"), "--to", &to.dsn(&to_db)]).expect(0);
    assert_eq!(count(to, &to_db, "points"), 30_000);
}

/// Killed at random moments and started again: no row is missing and none is there twice, though many have one value of what the
/// table is cut by.
#[test]
fn killed_and_started_again() {
    let (Some(from), Some(to)) = (ClickHouseServer::shared(), PgServer::shared()) else { return };
    let (kills, mut random) = kills();
    let (place, source, target) = (Place::new(), from.create_database(), to.create_database());
    from.sql(&format!(
        "CREATE TABLE {source}.t (k UInt32, n UInt64, s String) ENGINE = MergeTree ORDER BY k"
    ));
    from.sql(&format!("INSERT INTO {source}.t SELECT intDiv(number, 90), number, concat('row ', toString(number)) FROM numbers(60000)"));
    let dsn = format!("{}?table=t&splits=5&batch_rows=1000", from.dsn(&source));
    let to_dsn = to.dsn(&target);
    let fixed = ["run", "--from", &dsn, "--to", &to_dsn, "--jobs", "2", "--commit-rows", "2000", "--quiet"];
    let slow = [&fixed[..], &["--rate-rows", "40000"]].concat();
    for _ in 0..kills.min(4) {
        start_and_kill(&place, &slow, &mut random);
    }
    place.run(&fixed).expect(0);
    assert_eq!(
        to.psql(&target, "SELECT count(*), count(DISTINCT n), sum(n) FROM t"),
        "60000|60000|1799970000\n"
    );
}

/// The server goes away in the middle and comes back; later what is new is read on by a cursor.
#[test]
fn a_server_that_comes_back_and_what_is_new() {
    let (Some(from), Some(to)) = (ClickHouseServer::start(), PgServer::shared()) else { return };
    let (place, source, target) = (Place::new(), from.create_database(), to.create_database());
    from.sql(&format!(
        "CREATE TABLE {source}.t (id UInt32, at DateTime, s String) ENGINE = MergeTree ORDER BY id"
    ));
    from.sql(&format!(
        "INSERT INTO {source}.t SELECT number, toDateTime(1700000000 + number), 'x' FROM numbers(20000)"
    ));
    let (dsn, to_dsn) = (format!("{}?table=t&splits=2&batch_rows=500", from.dsn(&source)), to.dsn(&target));
    let job = Job::start(
        &place,
        &["run", "--from", &dsn, "--to", &to_dsn, "--commit-rows", "500", "--rate-rows", "8000"],
    );
    until("the first rows", || count(to, &target, "t") > 1_000);
    from.restart();
    job.end().expect(0);
    assert_eq!(to.psql(&target, "SELECT count(*), count(DISTINCT id) FROM t"), "20000|20000\n");
    let other = to.create_database();
    let (dsn, to_dsn) = (format!("{}?table=t&cursor=at", from.dsn(&source)), to.dsn(&other));
    let run = || place.run(&["run", "--from", &dsn, "--to", &to_dsn, "--job", "news", "--quiet"]).expect(0);
    run();
    // One at a time that was read already, and one behind it.
    from.sql(&format!(
        "INSERT INTO {source}.t VALUES (20000, 1700019999, 'late'), (20001, 1700030000, 'new')"
    ));
    run();
    assert_eq!(to.psql(&other, "SELECT count(*), count(DISTINCT id), max(id) FROM t"), "20002|20002|20001\n");
}

/// A row that is no row is told once, however often its value is looked at: it stays the newest one, rows of its value may be late or
/// not, and later ones come.
#[test]
fn a_bad_newest_row_is_told_once() {
    let (Some(from), Some(to)) = (ClickHouseServer::shared(), PgServer::shared()) else { return };
    let (place, source) = (Place::new(), from.create_database());
    from.sql(&format!(
        "CREATE TABLE {source}.t (id UInt32, at DateTime, s String) ENGINE = MergeTree ORDER BY id"
    ));
    from.sql(&format!(
        "INSERT INTO {source}.t SELECT number, toDateTime(1700000000 + number), if(number = 99, unhex('C328'), 'x') FROM numbers(100)"
    ));
    for (at, cursor) in ["id", "at&lag=1s"].into_iter().enumerate() {
        let target = to.create_database();
        let (dsn, to_dsn) = (format!("{}?table=t&cursor={cursor}", from.dsn(&source)), to.dsn(&target));
        let (job, file) = (format!("once{at}"), format!("bad{at}.jsonl"));
        let errors = format!("reject:{file}");
        let run = |status: i32| {
            place
                .run(&["run", "--from", &dsn, "--to", &to_dsn, "--job", &job, "--errors", &errors, "--quiet"])
                .expect(status)
        };
        run(3);
        run(0);
        let bad = std::fs::read_to_string(place.path(&file)).unwrap();
        assert_eq!(bad.matches("bad_utf8").count(), 1, "{bad}");
        assert_eq!(count(to, &target, "t"), 99);
    }
    // By a job that does not end.
    let target = to.create_database();
    let (dsn, to_dsn) = (
        format!("{}?tables=*&cursor=at&mode=all&query_interval=100ms&poll_interval=200ms", from.dsn(&source)),
        to.dsn(&target),
    );
    let job = Job::start(&place, &["run", "--from", &dsn, "--to", &to_dsn, "--errors", "reject:all.jsonl"]);
    until("the rows", || count(to, &target, "t") == 99);
    // A table that lacks the column ends nothing.
    from.sql(&format!("CREATE TABLE {source}.other (n UInt32) ENGINE = MergeTree ORDER BY n"));
    from.sql(&format!("CREATE TABLE {source}.later (at DateTime) ENGINE = MergeTree ORDER BY at"));
    from.sql(&format!("INSERT INTO {source}.later VALUES (1700000007)"));
    until("a table that came later", || count(to, &target, "later") == 1);
    from.sql(&format!("INSERT INTO {source}.t VALUES (200, 1700000200, 'x')"));
    until("one more", || count(to, &target, "t") == 100);
    let bad = std::fs::read_to_string(place.path("all.jsonl")).unwrap();
    assert_eq!(bad.matches("bad_utf8").count(), 1, "{bad}");
    drop(job);
}

/// Tables of one name in two databases, and a value that very many rows have.
#[test]
fn tables_of_several_databases_and_a_heavy_value() {
    let (Some(from), Some(to)) = (ClickHouseServer::shared(), PgServer::shared()) else { return };
    let (place, target) = (Place::new(), to.create_database());
    let (one, two) = (from.create_database(), from.create_database());
    for (database, rows) in [(&one, 10), (&two, 20)] {
        from.sql(&format!("CREATE TABLE {database}.t (id UInt32) ENGINE = MergeTree ORDER BY id"));
        from.sql(&format!("INSERT INTO {database}.t SELECT number FROM numbers({rows})"));
        to.psql(&target, &format!("CREATE SCHEMA \"{database}\""));
    }
    let found = || {
        to.psql(
            &target,
            &format!("SELECT (SELECT count(*) FROM \"{one}\".t), (SELECT count(*) FROM \"{two}\".t)"),
        )
    };
    for parameters in ["", "&order=none", "&cursor=id"] {
        let dsn = format!("{}?tables=t,{two}.t{parameters}", from.dsn(&one));
        place.run(&["run", "--from", &dsn, "--to", &to.dsn(&target)]).expect(0);
        assert_eq!(found(), "10|20\n", "{parameters}");
        to.psql(&target, &format!("DROP TABLE \"{one}\".t, \"{two}\".t"));
    }
    // On average a value has four rows.
    from.sql(&format!("CREATE TABLE {one}.heavy (k UInt32, n UInt32) ENGINE = MergeTree ORDER BY k"));
    from.sql(&format!(
        "INSERT INTO {one}.heavy SELECT if(number % 4 = 0, number, 5), number FROM numbers(100000)"
    ));
    let dsn = format!("{}?table=heavy", from.dsn(&one));
    let dry = place.run(&["run", "--from", &dsn, "--to", &to.dsn(&target), "--dry-run"]).expect(0).out();
    assert!(dry.contains("heavy is read in no order: too many of its rows have one value of \"k\""), "{dry}");
    let dsn = format!("{dsn}&split_by=n");
    let dry = place.run(&["run", "--from", &dsn, "--to", &to.dsn(&target), "--dry-run"]).expect(0).out();
    assert!(!dry.contains("in no order"), "{dry}");
}

/// A fault of the server's in the middle of its rows is told, and what was read of it is no more than what was right.
#[test]
fn what_goes_wrong_is_said() {
    let (Some(from), Some(to)) = (ClickHouseServer::shared(), PgServer::shared()) else { return };
    let (place, source, target) = (Place::new(), from.create_database(), to.create_database());
    from.sql(&format!("CREATE TABLE {source}.t (id UInt32, s String) ENGINE = MergeTree ORDER BY id"));
    from.sql(&format!("INSERT INTO {source}.t SELECT number, if(number = 77, unhex('C328'), toString(number)) FROM numbers(1000)"));
    from.sql(&format!("CREATE TABLE {source}.states (id UInt32, a AggregateFunction(sum, UInt32)) ENGINE = AggregatingMergeTree ORDER BY id"));
    let dsn = from.dsn(&source);
    let to_dsn = to.dsn(&target);
    let wrong_password = dsn.replace("w%40rd", "wrong");
    let closed = "clickhouse://127.0.0.1:1/d?table=t".to_owned();
    for (address, status, words) in [
        (format!("{dsn}?table=tt"), 1, "there is no table tt in database"),
        (format!("{dsn}?table=T"), 1, "the case of the name"),
        (
            format!(
                "clickhouse://{}:p%3Aass%2Fw%40rd@127.0.0.1:{}/nowhere?table=t",
                from.user(),
                from.port()
            ),
            1,
            "nowhere",
        ),
        (format!("{wrong_password}?table=t"), 1, "check user and password"),
        (format!("{dsn}?table=t&columns=idd"), 2, "idd"),
        (format!("{dsn}?table=t&where=id >"), 2, "where= and query= are in ClickHouse's SQL"),
        (format!("{dsn}?table=t&query=SELECT"), 2, "SQL"),
        (format!("{dsn}?table=t&split_by=s"), 2, "integers to 64 bit"),
        (format!("{dsn}?table=t&split_by=x"), 2, "it has id, s"),
        (format!("{dsn}?table=states"), 2, "finalizeAggregation"),
        (
            format!(
                "{dsn}?table=t&query=SELECT number AS id, sleep(0.0005) + throwIf(number = 900000) AS s FROM numbers(1000000)&batch_rows=1000"
            ),
            1,
            "throwIf",
        ),
        (format!("{dsn}?table=t"), 1, "binary=COLUMN"),
        (closed, 1, "cannot connect to ClickHouse at 127.0.0.1:1"),
        (format!("{dsn}?tabel=t"), 2, "did you mean `table`"),
    ] {
        let to_db = to.create_database();
        let ran = place.run(&["run", "--from", &address, "--to", &to.dsn(&to_db), "--max-errors", "0"]);
        let err = ran.err();
        assert!(err.contains(words), "{address}: {words}: {err}");
        assert!(!err.contains(from.password()) && !err.contains("w%40rd"), "{err}");
        assert_eq!(ran.status(), status, "{address}: {err}");
    }
    // A profile that cuts results short makes an error of it, not fewer rows.
    from.sql(&format!("CREATE TABLE {source}.many (id UInt32) ENGINE = MergeTree ORDER BY id"));
    from.sql(&format!("INSERT INTO {source}.many SELECT number FROM numbers(60000)"));
    for (bound, words) in [(false, "code 396"), (true, "result_overflow_mode other than throw")] {
        let address = dsn.replace(from.user(), from.hasty(bound));
        let to_db = to.create_database();
        let ran = place.run(&[
            "run",
            "--from",
            &format!("{address}?table=many&batch_rows=1000"),
            "--to",
            &to.dsn(&to_db),
        ]);
        assert!(ran.err().contains(words), "{words}: {}", ran.err());
        assert_eq!(ran.status(), 1);
    }
    let ran = place.run(&[
        "run",
        "--from",
        &format!("{dsn}?table=t"),
        "--to",
        &to_dsn,
        "--errors",
        "reject:bad.jsonl",
    ]);
    ran.expect(3);
    let bad = std::fs::read_to_string(place.path("bad.jsonl")).unwrap();
    assert!(bad.contains("bad_utf8") && bad.contains("\\\\xc328") && bad.contains("77"), "{bad}");
    assert_eq!(to.psql(&target, "SELECT count(*) FROM t"), "999\n");
}

/// Jobs of DataX with clickhousereader, by table and by query.
#[test]
fn jobs_of_datax_with_clickhousereader() {
    let (Some(from), Some(to), Some(maria)) =
        (ClickHouseServer::shared(), PgServer::shared(), MariaServer::shared())
    else {
        return;
    };
    let (place, source, target, second) =
        (Place::new(), from.create_database(), to.create_database(), maria.create_database());
    from.sql(&format!("CREATE TABLE {source}.cpu (id UInt32, ts DateTime, usage Nullable(Float64), host String) ENGINE = MergeTree ORDER BY id"));
    from.sql(&format!("INSERT INTO {source}.cpu SELECT number, toDateTime(1714500000 + number), if(number % 5 = 0, NULL, number / 4), 'h' FROM numbers(2000)"));
    to.psql(&target, "CREATE TABLE cpu (k_timestamp timestamptz, usage_user float8, id bigint, site text)");
    maria.sql(&second, "CREATE TABLE cpu (id bigint PRIMARY KEY, u double)");
    let reader = |rest: serde_json::Value| {
        let mut parameter = serde_json::json!({"username": from.user(), "password": from.password()});
        for (key, value) in rest.as_object().unwrap() {
            parameter[key] = value.clone();
        }
        serde_json::json!({"name": "clickhousereader", "parameter": parameter})
    };
    let url = format!("jdbc:clickhouse://127.0.0.1:{}/{source}?socket_timeout=60000", from.port());
    // Of several addresses the first that answers is meant.
    let nobody = url.replace(&format!(":{}/", from.port()), ":1/");
    let writer = serde_json::json!({"name": "kaiwudbwriter", "parameter": {
        "username": to.superuser(), "password": to.password(), "jdbcUrl": format!("jdbc:kaiwudb://127.0.0.1:{}/{target}", to.port()),
        "table": "cpu", "column": ["k_timestamp", "usage_user", "id", "site"], "preSql": ["TRUNCATE cpu"]}});
    let job = |reader: serde_json::Value, writer: &serde_json::Value| {
        serde_json::json!({"job": {"content": [{"reader": reader, "writer": writer}], "setting": {"speed": {"channel": 2}}}}).to_string()
    };
    let by_table = reader(
        serde_json::json!({"column": ["ts", "usage", "id", "'berlin' as site"], "splitPk": "id", "where": "id >= 100",
        "connection": [{"table": ["cpu"], "jdbcUrl": [nobody, url]}]}),
    );
    place.write("job.json", job(by_table, &writer));
    let out = place.run(&["job", "job.json"]).expect(0).out();
    assert!(out.contains("Total Records Read   : 1900\nTotal Failures       : 0\n"), "{out}");
    let found = to.psql(&target, "SELECT count(*), count(usage_user), sum(id), min(site), extract(epoch FROM min(k_timestamp))::bigint FROM cpu");
    assert_eq!(found, "1900|1520|1994050|berlin|1714500100\n");
    let by_query = reader(
        serde_json::json!({"connection": [{"querySql": ["SELECT id, usage FROM cpu WHERE id < 50"], "jdbcUrl": [url]}]}),
    );
    let into_mysql = serde_json::json!({"name": "mysqlwriter", "parameter": {
        "username": maria.user(), "password": maria.password(), "column": ["id", "u"], "writeMode": "insert",
        "connection": [{"table": ["cpu"], "jdbcUrl": format!("jdbc:mysql://127.0.0.1:{}/{second}?useSSL=false", maria.port())}]}});
    place.write("job.json", job(by_query, &into_mysql));
    place.run(&["job", "job.json"]).expect(0);
    assert_eq!(maria.sql(&second, "SELECT count(*), count(u), sum(id) FROM cpu"), "50\t40\t1225\n");
    let template = place.run(&["job", "--template", "clickhousereader", "kaiwudbwriter"]).expect(0).out();
    assert!(template.contains("jdbc:clickhouse://HOST:8123/DATABASE"), "{template}");
}
