use proptest::prelude::*;

use super::*;

/// What an address must come apart into.
#[derive(Debug, Default, PartialEq)]
struct Parts {
    scheme: String,
    user: Option<String>,
    password: Option<String>,
    hosts: Vec<(String, Option<u16>)>,
    object: Option<String>,
    params: Vec<(String, Option<String>)>,
}

fn parts(text: &str) -> Parts {
    let dsn: Dsn = text.parse().unwrap_or_else(|error: Error| panic!("{text}: {}", error.report()));
    Parts {
        scheme: dsn.scheme(),
        user: dsn.user().map(str::to_owned),
        password: dsn.password().map(|password| password.expose().to_owned()),
        hosts: dsn.hosts().iter().map(|host| (host.name().to_owned(), host.port())).collect(),
        object: dsn.object().map(str::to_owned),
        params: dsn.params().map(|(name, value)| (name.to_owned(), value.map(str::to_owned))).collect(),
    }
}

/// `user:password` before the host, hosts as `name:port name:port`, parameters as pairs.
fn expected(scheme: &str, login: &str, hosts: &str, object: &str, params: &[(&str, Option<&str>)]) -> Parts {
    let (user, password) = login.split_once(':').unwrap_or((login, ""));
    let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    Parts {
        scheme: scheme.to_owned(),
        user: some(user),
        password: some(password),
        hosts: hosts
            .split_whitespace()
            .map(|host| match host.rsplit_once(':') {
                Some((name, port)) => (name.to_owned(), Some(port.parse().unwrap())),
                None => (host.to_owned(), None),
            })
            .collect(),
        object: some(object),
        params: params.iter().map(|(name, value)| ((*name).to_owned(), value.map(str::to_owned))).collect(),
    }
}

const OPC_TABLE: &str = r#"{"stable_prefix": "meters", "column_configs": [{"column_name": "received_time", "column_type": "timestamp", "column_alias": "ts", "is_primary_key": true }, {"column_name": "original_time", "column_type": "timestamp", "column_alias": "ts_2", "is_primary_key": false }, {"column_name": "value", "column_alias": "valueaa", "is_primary_key": false }, {"column_name": "quality", "column_type": "int", "column_alias": "quality11", "is_primary_key": false } ] }"#;

#[test]
fn only_who_listens_has_a_port_0() {
    assert_eq!("listen://127.0.0.1:0".parse::<Dsn>().unwrap().hosts()[0].port(), Some(0));
    assert!("listen://127.0.0.1:65536".parse::<Dsn>().is_err());
    assert!("mqtt://127.0.0.1:0".parse::<Dsn>().is_err());
}

#[test]
fn addresses_that_people_use() {
    let opc = format!(
        "opcua://uauser:uapass@localhost:4840?ua.nodes=ns=2;i=2::DSF1312,ns=2;i=3::DSF1313&opc_table_config={OPC_TABLE}"
    );
    let token = "OZ2sB6Ie6qcKcYAmcHnL-i3STfLVg_IRPQjPIzjsAQ4aUxCWzYhDesNape1tp8IsX9AH0ld41C-clTgo08CGYA==";
    let influx2 = format!(
        "influxdb+http://192.168.1.10:8086/?version=2.7&orgId=3233855dc7e37d8d&token={token}&bucket=test_bucket&measurements=&beginTime=2023-06-01T00:00:00+0800&readWindow=M"
    );
    let mysql: &[(&str, Option<&str>)] =
        &[("useSSL", Some("false")), ("useUnicode", Some("true")), ("characterEncoding", Some("utf8"))];
    let cases: Vec<(&str, Parts)> = vec![
        // JDBC
        (
            "jdbc:mysql://127.0.0.1:3306/mysql_db?useSSL=false&useUnicode=true&characterEncoding=utf8",
            expected("mysql", "", "127.0.0.1:3306", "mysql_db", mysql),
        ),
        (
            "jdbc:mysql://127.0.0.1:3306/test_db?useSSL=false&useUnicode=true&characterEncoding=utf8",
            expected("mysql", "", "127.0.0.1:3306", "test_db", mysql),
        ),
        (
            "jdbc:mysql://127.0.0.1:3306/ecommerce_db?useSSL=false&useUnicode=true&characterEncoding=utf8",
            expected("mysql", "", "127.0.0.1:3306", "ecommerce_db", mysql),
        ),
        (
            "jdbc:mysql://127.0.0.1:3306/benchmark?useSSL=false&useUnicode=true&characterEncoding=utf8",
            expected("mysql", "", "127.0.0.1:3306", "benchmark", mysql),
        ),
        (
            "jdbc:kaiwudb://127.0.0.1:26257/benchmark",
            expected("kaiwudb", "", "127.0.0.1:26257", "benchmark", &[]),
        ),
        (
            "jdbc:kaiwudb://127.0.0.1:26257/order_db",
            expected("kaiwudb", "", "127.0.0.1:26257", "order_db", &[]),
        ),
        (
            "jdbc:kaiwudb://127.0.0.1:26257/tdengine_kwdb",
            expected("kaiwudb", "", "127.0.0.1:26257", "tdengine_kwdb", &[]),
        ),
        (
            "jdbc:clickhouse://h:8123/db?user=me&ssl=true",
            expected("clickhouse", "me", "h:8123", "db", &[("ssl", Some("true"))]),
        ),
        ("jdbc:kaiwudb://127.0.0.1:26257/source", expected("kaiwudb", "", "127.0.0.1:26257", "source", &[])),
        ("jdbc:kaiwudb://127.0.0.1:26257/target", expected("kaiwudb", "", "127.0.0.1:26257", "target", &[])),
        ("jdbc:kaiwudb://localhost:26257", expected("kaiwudb", "", "localhost:26257", "", &[])),
        (
            "jdbc:TAOS-RS://127.0.0.1:6041/test_db?timestampFormat=STRING",
            expected("taos+http", "", "127.0.0.1:6041", "test_db", &[("timestampFormat", Some("STRING"))]),
        ),
        (
            "jdbc:postgresql://db1:5432,db2:5433/app?user=me&password=p%40ss&ssl=true",
            expected("postgresql", "me:p@ss", "db1:5432 db2:5433", "app", &[("ssl", Some("true"))]),
        ),
        // TDengine
        (
            "tmq+ws://root:taosdata@localhost:6030/db1?timeout=never",
            expected("tmq+ws", "root:taosdata", "localhost:6030", "db1", &[("timeout", Some("never"))]),
        ),
        (
            "tmq://root:taosdata@localhost:6030/db1?group.id=taosx1&client.id=taosx&timeout=never&offset=2:10",
            expected(
                "tmq",
                "root:taosdata",
                "localhost:6030",
                "db1",
                &[
                    ("group.id", Some("taosx1")),
                    ("client.id", Some("taosx")),
                    ("timeout", Some("never")),
                    ("offset", Some("2:10")),
                ],
            ),
        ),
        (
            "taos://root:taosdata@another.com:6030/db2",
            expected("taos", "root:taosdata", "another.com:6030", "db2", &[]),
        ),
        ("taos:///db1?assert", expected("taos", "", "", "db1", &[("assert", None)])),
        (
            "taos://td1:6030/db1?libraryPath=./libtaos.so.2.6.0.30&mode=all",
            expected(
                "taos",
                "",
                "td1:6030",
                "db1",
                &[("libraryPath", Some("./libtaos.so.2.6.0.30")), ("mode", Some("all"))],
            ),
        ),
        (
            "taos://td2:6030/db2?libraryPath=./libtaos.so.3.0.1.8&assert ",
            expected(
                "taos",
                "",
                "td2:6030",
                "db2",
                &[("libraryPath", Some("./libtaos.so.3.0.1.8")), ("assert", None)],
            ),
        ),
        (
            "taos+ws://<username>:<password>@td1:6041/db1?stables=stable1,stable2",
            expected(
                "taos+ws",
                "<username>:<password>",
                "td1:6041",
                "db1",
                &[("stables", Some("stable1,stable2"))],
            ),
        ),
        (
            "taos+wss://td2:6041/db2?assert&token=<token> ",
            expected("taos+wss", "", "td2:6041", "db2", &[("assert", None), ("token", Some("<token>"))]),
        ),
        ("tmq://root:taosdata@td1:6030/db1", expected("tmq", "root:taosdata", "td1:6030", "db1", &[])),
        (
            "taos://root:taosdata@td2:6030/db1?assert",
            expected("taos", "root:taosdata", "td2:6030", "db1", &[("assert", None)]),
        ),
        ("taos://tdengine:6030/opc", expected("taos", "", "tdengine:6030", "opc", &[])),
        ("taos+ws://tdengine:6041/opc", expected("taos+ws", "", "tdengine:6041", "opc", &[])),
        ("taos://tdengine:6030/pi", expected("taos", "", "tdengine:6030", "pi", &[])),
        (
            "taos+http://192.168.1.20:6041/test_db",
            expected("taos+http", "", "192.168.1.20:6041", "test_db", &[]),
        ),
        ("taos+ws://192.168.1.20:6041/test", expected("taos+ws", "", "192.168.1.20:6041", "test", &[])),
        (
            "taos://192.168.1.92:6030/kafka_to_taos",
            expected("taos", "", "192.168.1.92:6030", "kafka_to_taos", &[]),
        ),
        (
            "taos://192.168.0.201:6030/kafka_to_taos",
            expected("taos", "", "192.168.0.201:6030", "kafka_to_taos", &[]),
        ),
        ("taos://h/db.stable", expected("taos", "", "h", "db.stable", &[])),
        // OPC and PI
        (
            opc.as_str(),
            expected(
                "opcua",
                "uauser:uapass",
                "localhost:4840",
                "",
                &[
                    ("ua.nodes", Some("ns=2;i=2::DSF1312,ns=2;i=3::DSF1313")),
                    ("opc_table_config", Some(OPC_TABLE)),
                ],
            ),
        ),
        (
            "opcua://<server-info>?csv_config_file=@<file_path>",
            expected("opcua", "", "<server-info>", "", &[("csv_config_file", Some("@<file_path>"))]),
        ),
        (
            "opc+da://Matrikon.OPC.Simulation.1?nodes=localhost&da.tags=Random.Real8::tb3::c1::int",
            expected(
                "opc+da",
                "",
                "Matrikon.OPC.Simulation.1",
                "",
                &[("nodes", Some("localhost")), ("da.tags", Some("Random.Real8::tb3::c1::int"))],
            ),
        ),
        (
            "pi://WIN-2OA23UM12TN/Met1?TemplateForPIPoint=template1,template2&TemplateForAFElement=template3,template4",
            expected(
                "pi",
                "",
                "WIN-2OA23UM12TN",
                "Met1",
                &[
                    ("TemplateForPIPoint", Some("template1,template2")),
                    ("TemplateForAFElement", Some("template3,template4")),
                ],
            ),
        ),
        (
            "pi://<username>:<password>@PIServerName/AFDatabaseName?PISystemName=pisys&MaxWaitLen=1000&UpdateInterval=10000",
            expected(
                "pi",
                "<username>:<password>",
                "PIServerName",
                "AFDatabaseName",
                &[
                    ("PISystemName", Some("pisys")),
                    ("MaxWaitLen", Some("1000")),
                    ("UpdateInterval", Some("10000")),
                ],
            ),
        ),
        // InfluxDB and OpenTSDB
        (
            "influxdb+http://192.168.1.10:8086/?version=1.7&username=test&password=123456&bucket=test_bucket&measurements=&beginTime=2023-06-01T00:00:00+0800&readWindow=M",
            expected(
                "influxdb+http",
                "",
                "192.168.1.10:8086",
                "",
                &[
                    ("version", Some("1.7")),
                    ("username", Some("test")),
                    ("password", Some("123456")),
                    ("bucket", Some("test_bucket")),
                    ("measurements", Some("")),
                    ("beginTime", Some("2023-06-01T00:00:00+0800")),
                    ("readWindow", Some("M")),
                ],
            ),
        ),
        (
            influx2.as_str(),
            expected(
                "influxdb+http",
                "",
                "192.168.1.10:8086",
                "",
                &[
                    ("version", Some("2.7")),
                    ("orgId", Some("3233855dc7e37d8d")),
                    ("token", Some(token)),
                    ("bucket", Some("test_bucket")),
                    ("measurements", Some("")),
                    ("beginTime", Some("2023-06-01T00:00:00+0800")),
                    ("readWindow", Some("M")),
                ],
            ),
        ),
        (
            "opentsdb+http://192.168.1.10:4242/?metrics=test_metric1,test_metric2&beginTime=2023-06-01T00:00:00+0800&readWindow=M",
            expected(
                "opentsdb+http",
                "",
                "192.168.1.10:4242",
                "",
                &[
                    ("metrics", Some("test_metric1,test_metric2")),
                    ("beginTime", Some("2023-06-01T00:00:00+0800")),
                    ("readWindow", Some("M")),
                ],
            ),
        ),
        // MQTT and Kafka
        (
            "mqtt://<username>:<password>@<mqtt-broker-ip>:8883?topics=testtopic/1::2&version=3.1&clean_session=true&log_level=info&client_id=taosdata_1234&keep_alive=60&ca=@/home/admin/certs/ca.crt&cert=@/home/admin/certs/client.crt&cert_key=@/home/admin/certs/client.key",
            expected(
                "mqtt",
                "<username>:<password>",
                "<mqtt-broker-ip>:8883",
                "",
                &[
                    ("topics", Some("testtopic/1::2")),
                    ("version", Some("3.1")),
                    ("clean_session", Some("true")),
                    ("log_level", Some("info")),
                    ("client_id", Some("taosdata_1234")),
                    ("keep_alive", Some("60")),
                    ("ca", Some("@/home/admin/certs/ca.crt")),
                    ("cert", Some("@/home/admin/certs/client.crt")),
                    ("cert_key", Some("@/home/admin/certs/client.key")),
                ],
            ),
        ),
        (
            "mqtt://admin:123456@192.168.1.10:1883?topics=testtopic/1::2&version=3.1&clean_session=true&log_level=info&client_id=1234&keep_alive=60",
            expected(
                "mqtt",
                "admin:123456",
                "192.168.1.10:1883",
                "",
                &[
                    ("topics", Some("testtopic/1::2")),
                    ("version", Some("3.1")),
                    ("clean_session", Some("true")),
                    ("log_level", Some("info")),
                    ("client_id", Some("1234")),
                    ("keep_alive", Some("60")),
                ],
            ),
        ),
        (
            "mqtt://h?topics=a/+/b::1,c/#::0&client_id=x",
            expected("mqtt", "", "h", "", &[("topics", Some("a/+/b::1,c/#::0")), ("client_id", Some("x"))]),
        ),
        (
            "kafka://192.168.1.92:9092/?topics=tp1,tp2&timeout=5000",
            expected(
                "kafka",
                "",
                "192.168.1.92:9092",
                "",
                &[("topics", Some("tp1,tp2")), ("timeout", Some("5000"))],
            ),
        ),
        (
            "kafka://b1:9092,b2:9093,b3?topic_partitions=tp1:0..2,tp2:1",
            expected("kafka", "", "b1:9092 b2:9093 b3", "", &[("topic_partitions", Some("tp1:0..2,tp2:1"))]),
        ),
        ("grpc://<taosx-ip>:6055", expected("grpc", "", "<taosx-ip>:6055", "", &[])),
        ("http://localhost:8083/connectors", expected("http", "", "localhost:8083", "connectors", &[])),
        // Object storage: the location of an external table
        (
            "oss://oss-cn-hangzhou.aliyuncs.com\nprefix=osstest/example id=XXX\nkey=XXX bucket=testbucket compressiontype=gzip",
            expected(
                "oss",
                "",
                "oss-cn-hangzhou.aliyuncs.com",
                "",
                &[
                    ("prefix", Some("osstest/example")),
                    ("id", Some("XXX")),
                    ("key", Some("XXX")),
                    ("bucket", Some("testbucket")),
                    ("compressiontype", Some("gzip")),
                ],
            ),
        ),
        (
            "oss://oss-cn-hangzhou.aliyuncs.com\nfilepath=osstest/example.csv id=XXX\nkey=XXX bucket=testbucket",
            expected(
                "oss",
                "",
                "oss-cn-hangzhou.aliyuncs.com",
                "",
                &[
                    ("filepath", Some("osstest/example.csv")),
                    ("id", Some("XXX")),
                    ("key", Some("XXX")),
                    ("bucket", Some("testbucket")),
                ],
            ),
        ),
        (
            "oss://oss_endpoint dir=[folder/[folder/]...]/file_name",
            expected("oss", "", "oss_endpoint", "", &[("dir", Some("[folder/[folder/]...]/file_name"))]),
        ),
        // Files
        ("local:/path_directory/", expected("local", "", "", "/path_directory/", &[])),
        ("local:/dir?assert", expected("local", "", "", "/dir", &[("assert", None)])),
        (
            "file:./x.lp?format=line_influxdb",
            expected("file", "", "", "./x.lp", &[("format", Some("line_influxdb"))]),
        ),
        ("csv:/data/x%20y.csv?header", expected("csv", "", "", "/data/x y.csv", &[("header", None)])),
        ("csv:a%3Fb.csv", expected("csv", "", "", "a?b.csv", &[])),
        ("./x.lp", expected("file", "", "", "./x.lp", &[])),
        ("/data/x.lp", expected("file", "", "", "/data/x.lp", &[])),
        ("-", expected("file", "", "", "-", &[])),
        ("data/2024-??-*.lp", expected("file", "", "", "data/2024-??-*.lp", &[])),
        (
            "data/2024-??.lp?precision=s",
            expected("file", "", "", "data/2024-??.lp", &[("precision", Some("s"))]),
        ),
        ("data/a?b", expected("file", "", "", "data/a?b", &[])),
        ("./100%.lp", expected("file", "", "", "./100%.lp", &[])),
        ("./12:30.lp", expected("file", "", "", "./12:30.lp", &[])),
        (r"C:\data\x.lp", expected("file", "", "", r"C:\data\x.lp", &[])),
        // PostgreSQL
        ("postgres://me@/app", expected("postgres", "me", "", "app", &[])),
        (
            "postgresql:///app?host=/run/pg",
            expected("postgresql", "", "", "app", &[("host", Some("/run/pg"))]),
        ),
        (
            "kwdb://root:p%40s%2Fs%3Fw%3Ao%25rd@db:26257/ts",
            expected("kwdb", "root:p@s/s?w:o%rd", "db:26257", "ts", &[]),
        ),
        ("postgres://me:p@ss#w&d@h/db", expected("postgres", "me:p@ss#w&d", "h", "db", &[])),
        ("postgres://me:a=b@h/db?x=y@z", expected("postgres", "me:a=b", "h", "db", &[("x", Some("y@z"))])),
        // Rough edges
        ("MySQL+SSL://H", expected("mysql+ssl", "", "H", "", &[])),
        ("x://h:/db", expected("x", "", "h", "db", &[])),
        ("x://", expected("x", "", "", "", &[])),
        (
            "x://h?a=1&&a=2&b=&c&",
            expected("x", "", "h", "", &[("a", Some("1")), ("a", Some("2")), ("b", Some("")), ("c", None)]),
        ),
        ("x://h?q=a+b c#d?e=f;g", expected("x", "", "h", "", &[("q", Some("a+b c#d?e=f;g"))])),
        (
            "x://h?q=%26%3D%E6%97%A5&%6B=v",
            expected("x", "", "h", "", &[("q", Some("&=日")), ("k", Some("v"))]),
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(parts(text), expected, "{text}");
        let dsn: Dsn = text.parse().unwrap();
        let again = dsn.to_string_with_secrets();
        assert_eq!(again.parse::<Dsn>().unwrap(), dsn, "{text} as {again}");
    }
}

#[test]
fn ipv6_hosts_stand_in_brackets() {
    let dsn: Dsn = "postgres://[::1]:5432,[fe80::1%25eth0],h:1/db".parse().unwrap();
    let hosts: Vec<_> = dsn.hosts().iter().map(|host| (host.name(), host.port())).collect();
    assert_eq!(hosts, [("::1", Some(5432)), ("fe80::1%eth0", None), ("h", Some(1))]);
    assert_eq!(dsn.to_string(), "postgres://[::1]:5432,[fe80::1%25eth0],h:1/db");
    assert_eq!(dsn.hosts()[1].port_or(26257), 26257);
}

#[test]
fn secrets_are_not_shown() {
    let text = "influxdb+http://me:hunter2@h:8086/?token=hunter3&bucket=b&password=&cert_key=@x";
    let mut dsn: Dsn = text.parse().unwrap();
    let shown = "influxdb+http://me:***@h:8086?token=***&bucket=b&password=&cert_key=***";
    assert_eq!(dsn.to_string(), shown);
    assert_eq!(format!("{dsn:?}"), format!("Dsn({shown})"));
    assert_eq!(dsn.canonical(), "influxdb+http://me@h:8086?bucket=b");
    dsn.redact(&[Param::text("bucket", "a bucket").with_aliases(&["b"]).secret()]);
    assert!(dsn.to_string().contains("bucket=***"), "{dsn}");
    assert_eq!(dsn.canonical(), "influxdb+http://me@h:8086");
}

#[test]
fn canonical_ignores_order_and_what_is_empty() {
    let a: Dsn = "kafka://h/?topics=a&timeout=1&group=".parse().unwrap();
    let b: Dsn = "KAFKA://h?timeout=1&topics=a".parse().unwrap();
    assert_eq!(a.canonical(), b.canonical());
    // The order of equal names is kept.
    let a: Dsn = "file:x?t=1&t=2".parse().unwrap();
    let b: Dsn = "file:x?t=2&t=1".parse().unwrap();
    assert_ne!(a.canonical(), b.canonical());
}

#[test]
fn faults_say_where_and_what_to_do() {
    for (text, message, excerpt) in [
        ("", "the address is empty", ""),
        ("  ", "the address is empty", ""),
        ("://h/db", "the address is wrong at column 1: `` is no name of a driver", "    ://h/db\n    ^"),
        (
            "my sql://h",
            "the address is wrong at column 1: `my sql` is no name of a driver",
            "    my sql://h\n    ^",
        ),
        (
            "taos+://h",
            "the address is wrong at column 1: `taos+` lacks a name beside its `+`",
            "    taos+://h\n    ^",
        ),
        (
            "jdbc:oracle://h",
            "the address is wrong at column 6: `jdbc:oracle` is not known",
            "    jdbc:oracle://h\n         ^",
        ),
        (
            "jdbc:mysql:h",
            "the address is wrong at column 6: `jdbc:` is not followed by `name://host`",
            "    jdbc:mysql:h\n         ^",
        ),
        (
            "x://h:70000/d",
            "the address is wrong at column 7: `70000` is no port",
            "    x://h:70000/d\n          ^",
        ),
        ("x://h:+80", "the address is wrong at column 7: `+80` is no port", "    x://h:+80\n          ^"),
        ("x://h:0", "the address is wrong at column 7: `0` is no port", "    x://h:0\n          ^"),
        (
            "x://::1/d",
            "the address is wrong at column 5: the host has more than one `:`",
            "    x://::1/d\n        ^",
        ),
        (
            "x://[::1/d",
            "the address is wrong at column 5: the brackets of the host are not closed before its port",
            "    x://[::1/d\n        ^",
        ),
        ("x://h,,g/d", "the address is wrong at column 7: a host is empty", "    x://h,,g/d\n          ^"),
        ("x://:80/d", "the address is wrong at column 5: a port without a host", "    x://:80/d\n        ^"),
        (
            "x://h?=1",
            "the address is wrong at column 7: a value without the name of a parameter",
            "    x://h?=1\n          ^",
        ),
        (
            "x://h?a=5%",
            "the address is wrong at column 10: `%` in the value of `a` is not followed by two hexadecimal digits other than 00",
            "    x://h?a=5%\n             ^",
        ),
        (
            "x://h?é=%zz1",
            "the address is wrong at column 9: `%` in the value of `é` is not followed by two hexadecimal digits other than 00",
            "    x://h?é=%zz1\n            ^",
        ),
        (
            "x://h?a=%00",
            "the address is wrong at column 9: `%` in the value of `a` is not followed by two hexadecimal digits other than 00",
            "    x://h?a=%00\n            ^",
        ),
        (
            "x://h/%FF",
            "the address is wrong at column 7: the object is not UTF-8 once decoded",
            "    x://h/%FF\n          ^",
        ),
    ] {
        let error = text.parse::<Dsn>().unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::Config);
        assert_eq!(error.to_string(), message, "{text}");
        assert_eq!(error.location().and_then(|place| place.excerpt()).unwrap_or_default(), excerpt, "{text}");
        assert!(error.hint().is_some(), "{text}");
    }
}

#[test]
fn faults_never_print_the_password() {
    for text in [
        "x://me:hunter2@h:port/db",
        "x://me:hunter2@h?=1",
        "x://me:hunter2/more@h/db",
        "x://me:hunter2?more@h/db",
        "x://me:hunter2?a=hunter2@h/db",
        "x://me:hunter2@h/hunter2@h",
        "x://me:12/hunter2@h/db",
        "x://me:12?hunter2@h/db",
        "x://me:hun%ter2@h/db",
        "x://me:%FFhunter2@h/db",
        "x://h?token=hunter2%zz",
        "x://h:port?token=hunter2",
        "x://h:port token=hunter2 bucket=b",
        "x://h?password=hunter2&=1",
        "x:y?password=hunter2&a=%zz",
        "x://me:hunter2@",
    ] {
        match text.parse::<Dsn>() {
            Err(error) => {
                let all = format!("{error} {error:?} {}", error.report());
                assert!(!all.contains("hun"), "{text}: {all}");
            }
            Ok(dsn) => assert!(!format!("{dsn} {dsn:?} {}", dsn.canonical()).contains("hunter2"), "{text}"),
        }
    }
}

#[test]
fn the_caret_stays_below_the_fault_when_a_password_is_hidden() {
    let error = "mysql://root:a-long-password@host:port/db".parse::<Dsn>().unwrap_err();
    assert_eq!(
        error.location().unwrap().excerpt().unwrap(),
        "    mysql://root:***@host:port/db\n                          ^"
    );
}

#[test]
fn paths() {
    for (text, path) in [
        ("file:./x", "./x"),
        ("file:/x/y", "/x/y"),
        ("file:///x/y", "/x/y"),
        ("-", "-"),
        ("local:/dir/", "/dir/"),
        ("file:/%2Fx", "//x"),
    ] {
        let dsn: Dsn = text.parse().unwrap();
        assert_eq!(dsn.path().unwrap(), path, "{text}");
        assert_eq!(dsn.to_string().parse::<Dsn>().unwrap().path().unwrap(), path, "{text} as {dsn}");
    }
    let error = "file://data/x.lp".parse::<Dsn>().unwrap().path().unwrap_err();
    assert!(error.hint().unwrap().contains("`file:data/x.lp`"), "{:?}", error.hint());
    assert!("file:".parse::<Dsn>().unwrap().path().is_err());
    assert!("local:?a=1".parse::<Dsn>().unwrap().path().is_err());
}

#[test]
fn expansion() {
    let env = |name: &str| match name {
        "USER" => Some("me".to_owned()),
        "PASS" => Some("a@b$$".to_owned()),
        "DB" => Some("ts".to_owned()),
        _ => None,
    };
    let expand = Expand::with_variables(&env);
    let dsn: Dsn =
        "kwdb://${USER}:${PASS}@${DB}.local:26257/${DB}?a=x${USER}&b=$%7BUSER%7D&c&d=@@x".parse().unwrap();
    let dsn = dsn.expand(&expand).unwrap();
    assert_eq!(
        parts(&dsn.to_string_with_secrets()),
        expected(
            "kwdb",
            "me:a@b$$",
            "ts.local:26257",
            "ts",
            &[("a", Some("xme")), ("b", Some("me")), ("c", None), ("d", Some("@x"))]
        )
    );
    let error = "x://${NO}@h/?topics=${NOPE}&ca=@/no/such"
        .parse::<Dsn>()
        .unwrap()
        .expand(&expand)
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("the address cannot be expanded: 3 faults: (1) the user uses ${NO}"),
        "{error}"
    );
    assert!(
        error.contains("`topics` uses ${NOPE}") && error.contains("`ca` takes its value from"),
        "{error}"
    );
}

#[test]
fn parameters_by_name() {
    let dsn: Dsn = "x://h?a=1&a=2&a=&b=&c".parse().unwrap();
    assert_eq!((dsn.get("a"), dsn.get("b"), dsn.get("c"), dsn.get("d")), (Some("2"), None, None, None));
    assert_eq!((dsn.has("a"), dsn.has("b"), dsn.has("c"), dsn.has("d")), (true, false, true, false));
    let dsn = dsn.with_param("d", None).with_user("u").with_password("p".into()).with_object("o");
    assert_eq!(dsn.to_string(), "x://u:***@h/o?a=1&a=2&a=&b=&c&d");
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        proptest::string::string_regex("[a-zA-Z0-9 %?&=@:/#+,;'\"{}\\[\\]\n$_.é日-]{0,12}").unwrap(),
        any::<String>().prop_map(|text| text.replace('\0', "")),
    ]
}

proptest! {
    /// What is written is read back the same, whatever the parts hold.
    #[test]
    fn round_trip(
        is_path: bool,
        user in proptest::option::of(text()),
        password in proptest::option::of(text()),
        hosts in proptest::collection::vec((text(), proptest::option::of(1u16..)), 0..3),
        object in proptest::option::of(text()),
        params in proptest::collection::vec((text(), proptest::option::of(text())), 0..4),
    ) {
        let filled = |text: &String| !text.is_empty();
        let mut dsn = Dsn::empty("driver");
        dsn.is_path = is_path;
        dsn.object = object.filter(filled);
        if !is_path {
            dsn.protocol = Some("ws".to_owned());
            dsn.user = user.filter(filled);
            dsn.password = password.filter(filled).map(Secret::from);
            dsn.hosts = hosts.into_iter().filter(|host| filled(&host.0)).map(|(name, port)| Host { name, port }).collect();
        }
        for (name, value) in params {
            // In a path only what looks like parameters is taken for some.
            let name = if is_path { format!("key{}", name.len()) } else { name };
            if !name.is_empty() {
                dsn = dsn.with_param(name, value);
            }
        }
        let text = dsn.to_string_with_secrets();
        prop_assert_eq!(text.parse::<Dsn>().map_err(|e| TestCaseError::fail(e.report()))?, dsn.clone(), "{}", text);
        prop_assert!(dsn.to_string().parse::<Dsn>().is_ok());
    }

    /// Any text gives an address or an error, and never a panic.
    #[test]
    fn any_text(text in text(), scheme in "(|x:|x://|jdbc:mysql://|xy:/?)") {
        let text = format!("{scheme}{text}");
        if let Ok(dsn) = text.parse::<Dsn>() {
            prop_assert_eq!(dsn.to_string_with_secrets().parse::<Dsn>().unwrap(), dsn);
        }
    }
}

#[test]
fn literal_addresses_expand_to_themselves() {
    let env = |name: &str| (name == "A").then(|| "one".to_owned());
    let expand = Expand::with_variables(&env);
    for value in ["@v > 1", "@@v", "a@b", "$$q$$", "$$$", "$1", "$"] {
        let dsn: Dsn = "x://h/o".parse().unwrap();
        let dsn =
            dsn.with_password(value.into()).with_user(value).with_param("where", Some(value.to_owned()));
        assert_eq!(dsn.clone().literal().expand(&expand).unwrap(), dsn, "{value}");
    }
    let dsn = "x://h?where=$$${A}".parse::<Dsn>().unwrap().literal().expand(&expand).unwrap();
    assert_eq!(dsn.get("where"), Some("$$one"));
}
