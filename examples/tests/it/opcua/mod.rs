//! Nodes of a real server of OPC UA into files and into PostgreSQL.

mod server;

use std::time::Duration;

use kwsync_core::testkit::PgServer;
use opcua::nodes::Variable;
use opcua::types::{
    Array, ByteString, DataTypeId, DataValue, DateTime, Guid, LocalizedText, NodeId, QualifiedName,
    StatusCode, UAString, Variant, VariantScalarTypeId,
};

use self::server::{Server, USER, certificate};
use crate::support::{Job, Place, Ran, until};

const PLAIN: &str = r#"{"stable_prefix": "p", "column_configs": [
    {"column_name": "received_time", "column_alias": "ts", "is_primary_key": true}, // when it came
    {"column_name": "value"}, {"column_name": "quality", "column_type": "varchar"}]}"#;

/// The rows of the JSON files of a table.
fn rows(place: &Place, table: &str) -> Vec<serde_json::Value> {
    let Ok(dir) = std::fs::read_dir(place.path("out").join(table)) else { return Vec::new() };
    let mut files: Vec<_> = dir.map(|file| file.unwrap().path()).collect();
    files.sort();
    let texts = files.iter().map(|file| std::fs::read_to_string(file).unwrap());
    texts
        .flat_map(|text| text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<_>>())
        .collect()
}

/// The example of taosX's documentation, with PostgreSQL in TDengine's role.
#[test]
fn the_example_of_taosx() {
    let (Some(server), Some(target)) = (Server::start(false), PgServer::shared()) else { return };
    let (place, database) = (Place::new(), target.create_database());
    let nodes = [server.variable(2, 1.5_f32), server.variable(3, 2.5_f32)];
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/../kwsync-core/tests/golden/taosx/opc-ua-nodes.sh");
    let command = std::fs::read_to_string(golden).unwrap();
    let from = command.split("-f \"").nth(1).unwrap().split("\" \\").next().unwrap().replace("\\\"", "\"");
    let from = from
        .replace("uauser:uapass@localhost:4840", &format!("uauser:ua%2Fp%40ss@localhost:{}", server.port()))
        .replace("ns=2;", &format!("ns={};", nodes[0].namespace));
    let to = format!("{}?timestamp_ns=truncate", target.dsn(&database));
    // What is there is shown before anything is touched.
    let ran = place.run(&["run", "-f", &from, "-t", &to, "--dry-run"]).expect(0);
    assert!(ran.out().contains("meters_float") && ran.out().contains("quality11"), "{}", ran.out());
    assert!(!ran.out().contains("p@ss") && !ran.out().contains("p%40ss"), "{}", ran.out());
    let job =
        Job::start(&place, &["run", "-f", &format!("{from}&timeout=3s"), "-t", &to, "--report", "json"]);
    until("the subscription", || nodes.iter().all(|node| server.is_watched(node)));
    let count = || {
        let table = target.psql(&database, "SELECT to_regclass('meters_float') IS NOT NULL");
        match table.trim() {
            "t" => target.psql(&database, "SELECT count(*) FROM meters_float").trim().parse::<u64>().unwrap(),
            _ => 0,
        }
    };
    server.set(&nodes[0], 7.25_f32);
    server.set_bad(&nodes[1], 9.0_f32, StatusCode::BadSensorFailure);
    let ran = job.end().expect(0);
    assert!(count() >= 4, "{}", ran.err());
    let last = target.psql(
        &database,
        "SELECT DISTINCT ON (tbname) tbname, valueaa, quality11, now() - ts < interval '1 minute', now() - ts_2 < interval '1 minute' \
         FROM meters_float ORDER BY tbname, ts DESC",
    );
    // 0x808C0000 in 32 bits.
    assert_eq!(last, "DSF1312|7.25|0|t|t\nDSF1313||-2138308608|t|t\n");
    let columns = target.psql(
        &database,
        "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = 'meters_float' ORDER BY ordinal_position",
    );
    assert!(columns.starts_with("ts|timestamp") && columns.contains("valueaa|real\n"), "{columns}");
    let report: serde_json::Value = serde_json::from_str(&ran.out()).unwrap();
    assert_eq!(report["delivery"], "at-least-once", "{report}");
}

/// Values of every type, as they are; what has no place is refused by itself.
#[test]
fn every_type_arrives_exactly() {
    let Some(server) = Server::start(true) else { return };
    let place = Place::new();
    let at = DateTime::from((2024, 2, 29, 23, 59, 59, 123_456_700));
    let ints = |values: &[i32]| values.iter().map(|value| Variant::from(*value)).collect::<Vec<_>>();
    let cases: Vec<(Variant, &str, serde_json::Value)> = vec![
        (true.into(), "bool", true.into()),
        ((-128_i8).into(), "tinyint", (-128).into()),
        (255_u8.into(), "tinyint_unsigned", 255.into()),
        (i16::MIN.into(), "smallint", i16::MIN.into()),
        (u16::MAX.into(), "smallint_unsigned", u16::MAX.into()),
        (i32::MIN.into(), "int", i32::MIN.into()),
        (u32::MAX.into(), "int_unsigned", u32::MAX.into()),
        (i64::MIN.into(), "bigint", i64::MIN.into()),
        (u64::MAX.into(), "bigint_unsigned", u64::MAX.into()),
        (0.1_f32.into(), "float", serde_json::from_str("0.1").unwrap()),
        (f64::MIN_POSITIVE.into(), "double", f64::MIN_POSITIVE.into()),
        (UAString::from("Grüße, \"Welt\"\n").into(), "varchar", "Grüße, \"Welt\"\n".into()),
        (at.into(), "timestamp", "2024-02-29T23:59:59.123456700Z".into()),
        (Guid::from_bytes([0x12; 16]).into(), "guid", "12121212-1212-1212-1212-121212121212".into()),
        (ByteString::from(&[0_u8, 255, 10][..]).into(), "varbinary", serde_json::Value::Null),
        (LocalizedText::new("de", "Kessel").into(), "varchar", "Kessel".into()),
        (QualifiedName::new(2, "Pumpe").into(), "varchar", "2:Pumpe".into()),
        (Variant::from(NodeId::new(3, "x")), "varchar", "ns=3;s=x".into()),
        (Variant::StatusCode(StatusCode::BadTimeout), "int_unsigned", 0x800A_0000_u32.into()),
        (
            Array::new(VariantScalarTypeId::Int32, ints(&[1, -2, 3])).unwrap().into(),
            "json",
            serde_json::json!([1, -2, 3]),
        ),
        (
            Array::new_multi(VariantScalarTypeId::Int32, ints(&[1, 2, 3, 4, 5, 6]), vec![2_u32, 3])
                .unwrap()
                .into(),
            "json",
            serde_json::json!([[1, 2, 3], [4, 5, 6]]),
        ),
        (
            Array::new(VariantScalarTypeId::Double, vec![Variant::from(0.1), Variant::from(f64::NAN)])
                .unwrap()
                .into(),
            "json",
            serde_json::json!([0.1, "NaN"]),
        ),
    ];
    let mut csv = "point_id,stable,tbname,ts_col,value_col,quality_col,tag::VARCHAR(20)::kind\n".to_owned();
    for (number, (value, kind, _)) in cases.iter().enumerate() {
        let id = server.variable(number as u32 + 10, value.clone());
        csv.push_str(&format!("{id},t{number}_{{type}},t_{{ns}}_{{id}},at,val,q,{kind}\n"));
    }
    // Types that are made of others: a time of UTC, a number of any kind, and one that is refused.
    let utc = server.id(100);
    server.add(
        &utc,
        Variable::new_data_value(&utc, "utc", "utc", DataTypeId::UtcTime, None, None, Variant::from(at)),
    );
    let number = server.id(101);
    server.add(
        &number,
        Variable::new_data_value(&number, "any", "any", DataTypeId::Number, None, None, Variant::from(5_i16)),
    );
    let far = server.id(102);
    server.add(&far, Variable::new(&far, "far", "far", DateTime::ymd(3000, 1, 1)));
    csv.push_str(&format!(
        "{utc},utc_{{type}},utc,at,val,q,\n{number},any_{{type}},any,at,val,q,\n{far},far,far,at,val,q,\n"
    ));
    place.write("nodes.csv", &csv);
    let from = format!(
        "opc+ua://127.0.0.1:{}?csv_config_file=@nodes.csv&timeout=1500&interval=100ms",
        server.port()
    );
    let ran = place
        .run(&[
            "run",
            "-f",
            &from,
            "-t",
            "file:out?format=json",
            "--errors",
            "reject:bad.jsonl",
            "--report",
            "json",
        ])
        .expect(3);
    for (number, (_, kind, expected)) in cases.iter().enumerate() {
        let found = rows(&place, &format!("t{number}_{kind}"));
        assert_eq!(found.len(), 1, "{kind}: {}", ran.err());
        let row = &found[0];
        if !expected.is_null() {
            let value = match &row["val"] {
                // Files of JSON may hold JSON as text.
                serde_json::Value::String(text) if *kind == "json" => serde_json::from_str(text).unwrap(),
                value => value.clone(),
            };
            assert_eq!(&value, expected, "{kind}");
        }
        assert_eq!((&row["q"], &row["kind"]), (&0.into(), &(*kind).into()), "{row}");
        assert_eq!(row["tbname"], format!("t_{}_{}", server.id(0).namespace, number + 10), "{row}");
    }
    assert_eq!(
        rows(&place, "t14_varbinary")[0]["val"].as_str().unwrap().to_lowercase().replace("\\x", ""),
        "00ff0a"
    );
    assert_eq!(rows(&place, "utc_timestamp").len(), 1);
    assert_eq!(rows(&place, "any_smallint")[0]["val"], 5);
    let rejects = std::fs::read_to_string(place.path("bad.jsonl")).unwrap();
    assert!(rejects.contains("3000-01-01") && rejects.contains("has no place in a timestamp"), "{rejects}");
    assert_eq!(rejects.lines().count(), 1, "{rejects}");
}

/// Every change, in its order, while the target is slow and while it is away.
#[test]
fn changes_arrive_in_order_and_none_is_lost() {
    const CHANGES: u32 = 3_000;
    let (Some(server), Some(target)) = (Server::start(true), PgServer::start()) else { return };
    let (place, database) = (Place::new(), target.create_database());
    let nodes: Vec<NodeId> = (0..3).map(|number| server.variable(number + 1, 0_u32)).collect();
    let list: Vec<String> = nodes.iter().enumerate().map(|(at, node)| format!("{node}::n{at}")).collect();
    place.write("tables.json", PLAIN);
    let from = format!(
        "opcua://127.0.0.1:{}?ua.nodes={}&opc_table_config=@tables.json&interval=50ms&sampling=0&queue=10000&concurrent=2&batch_size=64",
        server.port(),
        list.join(",")
    );
    let to = target.dsn(&database);
    let arguments = ["run", "-f", &from, "-t", &to, "--commit-rows", "200", "--retries", "50", "--quiet"];
    let job = Job::start(&place, &arguments);
    until("the subscription", || nodes.iter().all(|node| server.is_watched(node)));
    let count = || {
        let found =
            target.try_psql(&database, "SELECT count(DISTINCT (tbname, value)) FROM p_int_unsigned", b"");
        String::from_utf8_lossy(&found.unwrap_or_default()).trim().parse::<u32>().unwrap_or(0)
    };
    for change in 1..=CHANGES {
        for node in &nodes {
            server.set(node, change);
        }
        if change % 100 == 0 {
            std::thread::sleep(Duration::from_millis(30));
        }
        if change == CHANGES / 2 {
            until("rows", || count() > 100);
            target.stop_immediately();
        }
        if change == CHANGES * 3 / 4 {
            target.restart();
        }
    }
    until("all changes", || count() >= 3 * CHANGES);
    let ran = job.terminate();
    assert_eq!(ran.status(), 143, "{}", ran.err());
    let sql = "SELECT tbname, count(DISTINCT value), min(value), max(value), bool_and(quality = 'Good') FROM p_int_unsigned GROUP BY 1 ORDER BY 1";
    let per_node = target.psql(&database, sql);
    for (at, line) in per_node.lines().enumerate() {
        // The value that was there first, too.
        assert_eq!(line, format!("n{at}|{}|0|{CHANGES}|t", CHANGES + 1), "{per_node}");
    }
    assert_eq!(per_node.lines().count(), nodes.len(), "{per_node}");
    // In the order in which they came they are in the order in which they were set.
    let sql = "SELECT count(*) FROM (SELECT value - lag(value) OVER (PARTITION BY tbname ORDER BY ts) AS step FROM \
               (SELECT DISTINCT tbname, ts, value FROM p_int_unsigned) AS once) AS steps WHERE step < 0";
    assert_eq!(target.psql(&database, sql).trim(), "0");
    let twice =
        target.psql(&database, "SELECT count(*) - count(DISTINCT (tbname, value)) FROM p_int_unsigned");
    println!("{} rows twice; {}", twice.trim(), ran.err());
}

/// The server is stopped and started: the job comes back by itself, also to a node that is made late.
#[test]
fn a_server_that_is_restarted() {
    let Some(server) = Server::start(true) else { return };
    let place = Place::new();
    let node = server.variable(1, 1_i64);
    // Not there again when the server is started again.
    let late = server.id(2);
    let add = || server.add(&late, Variable::new(&late, "late", "late", 5_i64));
    add();
    place.write("tables.json", PLAIN);
    let from = format!(
        "opcua://127.0.0.1:{}?ua.nodes={node}::a,{late}::b&opc_table_config=@tables.json&interval=50ms&sampling=0&batch_size=1",
        server.port()
    );
    let job = Job::start(
        &place,
        &["run", "-f", &from, "-t", "file:out?format=json", "--report", "json", "--commit-rows", "1"],
    );
    // A file may be renamed, or grow, while it is looked at.
    let has = |value: i64| {
        let files = std::fs::read_dir(place.path("out").join("p_bigint")).into_iter().flatten().flatten();
        files.filter_map(|file| std::fs::read_to_string(file.path()).ok()).any(|text| {
            text.lines()
                .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
                .any(|row| row["value"] == value)
        })
    };
    for round in 0..2 {
        until("the subscription", || server.is_watched(&node));
        server.set(&node, 10_i64 + round);
        until("the value", || has(10 + round));
        if round == 1 {
            add();
            until("the node that came late", || server.is_watched(&late));
        } else {
            server.stop();
            server.start_again();
        }
    }
    let ran = job.terminate();
    assert_eq!(ran.status(), 143, "{}", ran.err());
    assert!(ran.err().contains("connecting again"), "{}", ran.err());
    let mut found = rows(&place, "p_bigint");
    found.sort_by_key(|row| row["ts"].to_string());
    let of_a = found.iter().filter(|row| row["tbname"] == "a");
    let values: Vec<i64> = of_a.map(|row| row["value"].as_i64().unwrap()).collect();
    assert_eq!(values, [1, 10, 1, 11], "{}", ran.err());
}

/// Signed, and encrypted; who is not trusted gets nothing.
#[test]
fn who_is_trusted() {
    let Some(server) = Server::start(false) else { return };
    let place = Place::new();
    assert!(certificate(&place.path(""), "own", "urn:kwsync:test:client"));
    assert!(certificate(&place.path(""), "other", "urn:kwsync:test:server"));
    let node = server.variable(1, 42_i32);
    place.write("tables.json", PLAIN);
    let run = |user: &str, more: &str| {
        let from = format!(
            "opcua://{user}127.0.0.1:{}?ua.nodes={node}::a&opc_table_config=@tables.json&interval=50ms&timeout=500&{more}",
            server.port()
        );
        let mut command =
            place.command(&["run", "-f", &from, "-t", "file:out?format=json", "--retries", "0", "-vvv"]);
        Ran::of(command.env("TMPDIR", place.path("tmp")).output().unwrap())
    };
    std::fs::create_dir(place.path("tmp")).unwrap();
    let own = "certificate=own.pem&private_key=own.key.pem";
    let trust = format!("server_certificate={}", server.path("server.pem").display());
    let user = "uauser:ua%2Fp%40ss@";
    let secrets = |text: &str| {
        let key = std::fs::read_to_string(place.path("own.key.pem")).unwrap();
        let key = key.lines().nth(1).unwrap();
        assert!(!text.contains(USER.1) && !text.contains("ua%2Fp%40ss") && !text.contains(key), "{text}");
        // As bytes.
        assert!(!text.contains("117, 97, 47, 112"), "{text}");
    };
    for (policy, mode) in [
        ("Basic256Sha256", "Sign"),
        ("Basic256Sha256", "SignAndEncrypt"),
        ("Basic256", "SignAndEncrypt"),
        ("Basic128Rsa15", "Sign"),
        ("Aes256Sha256RsaPss", "SignAndEncrypt"),
    ] {
        let ran =
            run(user, &format!("security_policy={policy}&security_mode={mode}&{own}&{trust}")).expect(0);
        secrets(&ran.err());
        let found = rows(&place, "p_int");
        assert!(found.len() == 1 && found[0]["value"] == 42, "{policy} {mode}: {}", ran.err());
        std::fs::remove_dir_all(place.path("out")).unwrap();
    }
    // Without security it is said what is in the clear, and not what it is.
    let ran = run(user, "").expect(0);
    assert!(ran.err().contains("the password goes in the clear"), "{}", ran.err());
    secrets(&ran.err());
    std::fs::remove_dir_all(place.path("out")).unwrap();
    let secure = "security_policy=Basic256Sha256&security_mode=SignAndEncrypt";
    // In the address by @FILE, and whoever answers.
    let text = "certificate=@own.pem&private_key=@own.key.pem&server_certificate=any";
    let ran = run(user, &format!("{secure}&{text}")).expect(0);
    assert!(ran.err().contains("whoever answers is trusted"), "{}", ran.err());
    secrets(&ran.err());
    let left: Vec<_> = std::fs::read_dir(place.path("tmp")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    std::fs::remove_dir_all(place.path("out")).unwrap();
    for (user, more, status, expected) in [
        (user, format!("{secure}&{own}&server_certificate=other.pem"), 1, "is not trusted: it has that of"),
        (user, format!("{secure}&{own}"), 2, "needs the server's certificate"),
        (user, format!("{secure}&{trust}"), 2, "needs certificate and private_key"),
        (
            user,
            format!("security_policy=Aes128Sha256RsaOaep&security_mode=Sign&{own}&{trust}"),
            2,
            "it offers no security_policy",
        ),
        ("uauser:n0tth1s@", format!("{secure}&{own}&{trust}"), 1, "user or password is refused"),
        ("uauser:n0tth1s@", String::new(), 1, "user or password is refused"),
        ("", format!("{secure}&{own}&{trust}"), 1, "lets nobody in without a name"),
    ] {
        let ran = run(user, &more).expect(status);
        assert!(ran.err().contains(expected), "{more}: {}", ran.err());
        assert!(!ran.err().contains("n0tth1s"), "{}", ran.err());
        secrets(&ran.err());
        assert!(rows(&place, "p_int").is_empty(), "{more}");
    }
}

#[test]
fn each_fault_has_its_message() {
    let Some(server) = Server::start(true) else { return };
    let place = Place::new();
    let node = server.variable(1, 42_i32);
    place.write("tables.json", PLAIN);
    let run = |port: u16, nodes: &str| {
        let from =
            format!("opcua://127.0.0.1:{port}?ua.nodes={nodes}&opc_table_config=@tables.json&timeout=500");
        place.run(&["run", "-f", &from, "-t", "discard:", "--retries", "0"])
    };
    let ran = run(server.port(), &format!("{node}::a,ns=2;i=998::b,ns=2;s=no, such::c")).expect(1);
    assert!(
        ran.err().contains("ns=2;i=998 (BadNodeIdUnknown (0x80340000))")
            && ran.err().contains("ns=2;s=no, such"),
        "{}",
        ran.err()
    );
    let ran = run(server.port(), "i=85::objects").expect(2);
    assert!(ran.err().contains("i=85 has no value"), "{}", ran.err());
    let ran = run(server.port(), "i=2256::status").expect(2);
    assert!(ran.err().contains("i=2256 holds structures"), "{}", ran.err());
    let ran = run(1, &format!("{node}::a")).expect(1);
    assert!(
        ran.err().contains("opc.tcp://127.0.0.1:1") && ran.err().contains("nobody may listen there"),
        "{}",
        ran.err()
    );
    // A value that changes its type is refused, and costs itself only.
    let from = format!(
        "opcua://127.0.0.1:{}?ua.nodes={node}::a&opc_table_config=@tables.json&interval=50ms&sampling=0&timeout=1s",
        server.port()
    );
    let job = Job::start(
        &place,
        &[
            "run",
            "-f",
            &from,
            "-t",
            "file:out?format=json",
            "--errors",
            "reject:bad.jsonl",
            "--report",
            "json",
        ],
    );
    until("the subscription", || server.is_watched(&node));
    server.set_as(&node, DataValue::new_now("text"));
    server.set(&node, 43_i32);
    job.end().expect(3);
    let values: Vec<i64> = rows(&place, "p_int").iter().map(|row| row["value"].as_i64().unwrap()).collect();
    assert_eq!(values, [42, 43]);
    let rejects = std::fs::read_to_string(place.path("bad.jsonl")).unwrap();
    assert!(rejects.contains("type_conflict") && rejects.contains("\\\"text\\\""), "{rejects}");
}
