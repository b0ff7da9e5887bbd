use super::*;

const JOB: &str = r#"{"job": {
  "content": [{
    "reader": {
      "name": "mysqlreader",
      "parameter": {
        "username": "me", "password": "hunter2",
        "column": ["k_timestamp", "usage"],
        "connection": [{"table": ["cpu"], "jdbcUrl": ["jdbc:mysql://h:3306/db"]}]
      }
    },
    "writer": {
      "name": "kaiwudbwriter",
      "parameter": {
        "username": "me", "password": "hunter2",
        "jdbcUrl": "jdbc:kaiwudb://k:26257/tsdb",
        "table": "cpu",
        "column": ["k_timestamp", "usage"]
      }
    }
  }],
  "setting": {"speed": {"channel": 1}}
}}"#;

/// The job with one text replaced by another.
fn job(old: &str, new: &str) -> Result<Translation> {
    assert!(JOB.contains(old), "{old}");
    read("job.json", &JOB.replacen(old, new, 1))
}

fn only(old: &str, new: &str) -> PipelineSpec {
    let mut made = job(old, new).unwrap_or_else(|error| panic!("{new}: {}", error.report()));
    assert_eq!(made.specs.len(), 1, "{new}");
    made.specs.remove(0)
}

fn fault(old: &str, new: &str) -> String {
    let error = job(old, new).err().unwrap_or_else(|| panic!("{new} is fine"));
    assert_eq!(error.kind().exit_status(), 2);
    let report = error.report();
    assert!(!report.contains("hunter2"), "{report}");
    report
}

#[test]
fn ten_mistakes() {
    for (old, new, wanted) in [
        // a misspelt key
        (
            "\"table\": \"cpu\"",
            "\"tabel\": \"cpu\"",
            "KaiwuDBWriter-00: Invalid configuration: unknown key `job.content[0].writer.parameter.tabel`, did you mean `table`? (job.json, line 16, column 9)",
        ),
        // a wrong type
        (
            "\"username\": \"me\"",
            "\"username\": [\"me\"]",
            "KaiwuDBWriter-02: Invalid value: `job.content[0].reader.parameter.username` takes one text, but a list stands here (job.json, line 6, column 21)",
        ),
        // a missing brace
        (
            "{\"speed\": {\"channel\": 1}}\n}}",
            "{\"speed\": {\"channel\": 1}\n}}",
            "KaiwuDBWriter-00: Invalid configuration: this `{` is never closed (job.json, line 1, column 1)",
        ),
        // a word where a number belongs
        (
            "\"channel\": 1",
            "\"channel\": \"fast\"",
            "`job.setting.speed.channel` takes a whole number from 1 to 1024, and \"fast\" is none (job.json, line 21, column 36)",
        ),
        // an unknown reader
        (
            "\"mysqlreader\"",
            "\"mysqlraeder\"",
            "KaiwuDBWriter-02: Invalid value: `job.content[0].reader.name`: there is no reader \"mysqlraeder\", did you mean `mysqlreader`? (job.json, line 4, column 15)",
        ),
        // two tables for one writer
        (
            "\"table\": \"cpu\"",
            "\"table\": [\"cpu\", \"mem\"]",
            "`job.content[0].writer.parameter.table` has 2 tables (cpu, mem), but a writer writes one (job.json, line 16, column 18)",
        ),
        // column counts that differ
        (
            "\"column\": [\"k_timestamp\", \"usage\"]\n      }\n    }\n  }]",
            "\"column\": [\"k_timestamp\"]\n      }\n    }\n  }]",
            "2 columns are read, but `job.content[0].writer.parameter.column` has 1 (job.json, line 17, column 19)",
        ),
        // a bad address, a bad port
        (
            "jdbc:kaiwudb://k:26257",
            "jdbc:postgresql://k:26257",
            "kaiwudbwriter takes jdbc:kaiwudb://, and this is `postgresql`",
        ),
        ("h:3306/db", "h:port/db", "`port` is no port"),
        // a bad mode, a bad time
        (
            "\"table\": \"cpu\"",
            "\"table\": \"cpu\", \"writeMode\": \"APPEND\"",
            "takes one of INSERT, UPDATE, and \"APPEND\" is none",
        ),
        // something is missing
        (
            "\"jdbcUrl\": \"jdbc:kaiwudb://k:26257/tsdb\",",
            "",
            "KaiwuDBWriter-01: Missing required value: `job.content[0].writer.parameter.jdbcUrl` is missing (job.json, line 13, column 20)",
        ),
        (
            "\"username\": \"me\", \"password\": \"hunter2\",\n        \"column\"",
            "\"column\"",
            "`job.content[0].reader.parameter.password` is missing",
        ),
        // a limit that is none
        (
            "\"speed\": {\"channel\": 1}",
            "\"errorLimit\": {\"percentage\": 2}",
            "takes a share from 0 to 1, as 0.02 for 2 %, and \"2\" is none",
        ),
        // not possible here
        ("\"setting\"", "\"setings\"", "unknown key `job.setings`, did you mean `setting`?"),
        (
            "\"content\": [{",
            "\"content\": [{\"transformer\": [],",
            "KaiwuDBWriter-05: Feature not supported: `job.content[0].transformer`",
        ),
        (
            "[\"k_timestamp\", \"usage\"]\n      }\n    }\n  }]",
            "[\"*\"]\n      }\n    }\n  }]",
            "KaiwuDBWriter-05: Feature not supported: `job.content[0].writer.parameter.column` is `*`",
        ),
    ] {
        let report = fault(old, new);
        assert!(report.contains(wanted), "{new}:\n{report}\n{wanted}");
    }
    assert!(fault(JOB, "{\"content\": []}").contains("`job` is missing"));
    assert!(
        fault(JOB, "{\"job\": {\"content\": []}}")
            .contains("KaiwuDBWriter-01: Missing required value: `job.content` is missing")
    );
}

#[test]
fn all_faults_at_once() {
    let text = JOB
        .replace("\"channel\": 1", "\"channel\": 0")
        .replace("\"mysqlreader\"", "\"x\"")
        .replace("\"table\": \"cpu\"", "\"tble\": \"cpu\"");
    let report = read("job.json", &text).unwrap_err().report();
    assert!(report.starts_with("3 faults: (1) ") && report.contains("(3) "), "{report}");
    assert!(report.contains("known readers are: mysqlreader, "), "{report}");
}

#[test]
fn both_shapes_of_connections() {
    let flat = only(
        "\"connection\": [{\"table\": [\"cpu\"], \"jdbcUrl\": [\"jdbc:mysql://h:3306/db\"]}]",
        "\"table\": \"cpu\", \"jdbcUrl\": \"jdbc:mysql://h:3306/db\"",
    );
    assert_eq!(flat, only("hunter2", "hunter2"));
    let report = fault("\"connection\"", "\"table\": \"x\", \"connection\"");
    assert!(report.contains("stands beside `connection`"), "{report}");

    // Several addresses are several hosts, tried in order; several connections are several pipelines.
    let spec =
        only("[\"jdbc:mysql://h:3306/db\"]", "[\"jdbc:mysql://h:3306/db\", \"jdbc:mysql://h2:3307/db\"]");
    assert_eq!(spec.from.dsn().unwrap().hosts().len(), 2);
    let two = job(
        "\"connection\": [",
        "\"preSql\": [], \"connection\": [{\"table\": [\"a\", \"b\"], \"jdbcUrl\": \"jdbc:mysql://g/db\"},",
    );
    assert!(two.unwrap_err().report().contains("unknown key"));
    let two = job(
        "\"connection\": [",
        "\"connection\": [{\"table\": [\"a\", \"b\"], \"jdbcUrl\": \"jdbc:mysql://g/db\"},",
    )
    .unwrap();
    assert_eq!(two.specs.len(), 2);
    assert_eq!(two.specs[0].from.dsn().unwrap().get("tables"), Some("a,b"));
    assert_eq!(two.notes, ["the rows of 3 tables go into one"]);
}

#[test]
fn statements_run_once_and_know_the_table() {
    let two = "{\"table\": [\"cpu\"], \"jdbcUrl\": [\"jdbc:mysql://g:3306/db\"]}, {\"table\"";
    let text = JOB.replacen("{\"table\"", two, 1).replace(
        "\"table\": \"cpu\"",
        "\"table\": \"tsdb.cpu\", \"preSql\": [\"\", \"delete from @table\"], \"postSql\": \"select 1\"",
    );
    let made = read("job.json", &text).unwrap();
    assert_eq!(made.specs[0].pre_sql, ["delete from tsdb.cpu"]);
    assert!(made.specs[1].pre_sql.is_empty() && made.specs[0].post_sql.is_empty());
    assert_eq!(made.specs[1].post_sql, ["select 1"]);
    // The schema that is the database itself says nothing; another one does.
    assert_eq!(made.specs[0].to.dsn().unwrap().get("schema"), None);
    let spec = only("\"table\": \"cpu\"", "\"table\": \"\\\"s.t\\\".`c`\"");
    let to = spec.to.dsn().unwrap();
    assert_eq!((to.get("schema"), to.get("table")), (Some("s.t"), Some("c")));
}

#[test]
fn columns_go_by_position() {
    let names = |spec: &PipelineSpec| spec.transforms.first().map(ToString::to_string);
    assert_eq!(names(&only("hunter2", "hunter2")), None);
    let column = "\"column\": [\"k_timestamp\", \"usage\"],\n        \"connection\"";
    let named = |list: &str| only(column, &format!("\"column\": {list},\n        \"connection\""));
    let wanted = Some("name-columns:k_timestamp,usage".to_owned());
    assert_eq!(names(&named("[\"ts\", \"usage\"]")), wanted);
    assert_eq!(names(&named("[\"now() AS k_timestamp\", \"`usage`\"]")), None);
    // What has no name, or one that stands twice, is named after the column that it goes to.
    let columns = |spec: &PipelineSpec| spec.from.dsn().unwrap().get("columns").unwrap().to_owned();
    let spec = named("[\"k_timestamp\", \"usage + 1\"]");
    assert_eq!((columns(&spec), names(&spec)), ("k_timestamp,usage + 1 as `usage`".to_owned(), None));
    let spec = named("[\"'x'\", \"NULL\"]");
    assert_eq!((columns(&spec), names(&spec)), ("'x' as `k_timestamp`,NULL as `usage`".to_owned(), None));
    let spec = named("[\"cast(a as int)\", \"case when a then b end\"]");
    assert_eq!(columns(&spec), "cast(a as int) as `k_timestamp`,case when a then b end as `usage`");
    let spec = named("[\"ts t\", \"cast(a as int) b\"]");
    assert_eq!((columns(&spec), names(&spec)), ("ts t,cast(a as int) b".to_owned(), wanted.clone()));
    let spec = named("[\"a\", \"a\"]");
    assert_eq!((columns(&spec), names(&spec)), ("a as `k_timestamp`,a".to_owned(), wanted.clone()));
    assert_eq!(names(&named("[\"*\"]")), wanted);
    assert_eq!(named("[\"*\"]").from.dsn().unwrap().get("columns"), None);
    let spec = named("[\"k_timestamp\", \"concat(a, b) as usage\"]");
    assert_eq!(spec.from.dsn().unwrap().get("columns"), Some("k_timestamp,concat(a, b) as usage"));
    assert_eq!(names(&spec), None);
}

#[test]
fn a_query_wins() {
    let made = job(
        "{\"table\": [\"cpu\"]",
        "{\"table\": [\"cpu\"], \"querySql\": [\"select a, b from x;\", \"select c, d from y\"]",
    )
    .unwrap();
    let queries: Vec<_> =
        made.specs.iter().map(|spec| spec.from.dsn().unwrap().get("query").unwrap().to_owned()).collect();
    assert_eq!(queries, ["select a, b from x", "select c, d from y"]);
    assert_eq!(made.notes, ["table, column ignored: `querySql` wins"]);
    assert!(made.specs.iter().all(|spec| spec.transforms.len() == 1));
}

#[test]
fn settings_become_options() {
    let spec = only(
        "{\"speed\": {\"channel\": 1}}",
        "{\"speed\": {\"channel\": \"4\", \"byte\": 1048576, \"record\": -1}, \"errorLimit\": {\"record\": 10, \"percentage\": 0.5}}",
    );
    assert_eq!((spec.jobs, spec.rate_bytes, spec.rate_rows), (4, Some(1_048_576), None));
    assert_eq!((spec.errors, spec.max_errors), (ErrorPolicy::Skip, Budget::Count(10)));
    let spec = only("{\"speed\": {\"channel\": 1}}", "{\"errorLimit\": {\"percentage\": 0.02}}");
    assert_eq!(spec.max_errors, Budget::Percent(2.0));
    let spec =
        only("\"table\": \"cpu\"", "\"table\": \"cpu\", \"writeMode\": \"Update\", \"batchSize\": \"50\"");
    let to = spec.to.dsn().unwrap();
    assert_eq!((to.get("mode"), to.get("statement_rows")), (Some("upsert"), Some("50")));
}

#[test]
fn windows_of_time() {
    let kaiwudb = JOB
        .replace("mysqlreader", "kaiwudbreader")
        .replace("jdbc:mysql://h:3306/db", "jdbc:kaiwudb://h:26257/db");
    let read_with = |keys: &str| {
        read("job.json", &kaiwudb.replacen("\"connection\"", &format!("{keys}, \"connection\""), 1))
    };
    let made = read_with("\"tsColumn\": \"ts\", \"beginDateTime\": \"2024-05-01 10:00:000\", \"endTime\": \"2024-05-02\", \"splitIntervalS\": 3600").unwrap();
    let from = made.specs[0].from.dsn().unwrap();
    let got =
        ["ts_column", "begin", "end", "split_interval_s"].map(|name| from.get(name).unwrap().to_owned());
    assert_eq!(got, ["ts", "2024-05-01 10:00:00", "2024-05-02 00:00:00", "3600"]);
    assert_eq!(made.notes.len(), 1);
    for (keys, wanted) in [
        ("\"beginTime\": \"2024-05-01\"", "`job.content[0].reader.parameter.tsColumn` is missing"),
        (
            "\"tsColumn\": \"ts\", \"beginTime\": \"2024-05-02\", \"endTime\": \"2024-05-02\"",
            "is not after the begin",
        ),
        (
            "\"tsColumn\": \"ts\", \"beginTime\": \"2024-05-02\", \"beginDateTime\": \"2024-05-01\"",
            "means the same as `beginDateTime`",
        ),
        ("\"tsColumn\": \"ts\", \"endTime\": \"tomorrow\"", "takes a time such as"),
        ("\"tsColumn\": \"ts\", \"splitIntervalS\": \"1m\"", "takes a whole number"),
    ] {
        let report = read_with(keys).unwrap_err().report();
        assert!(report.contains(wanted), "{keys}: {report}");
    }
    // It reads one table.
    let report = read("job.json", &kaiwudb.replacen("[\"cpu\"]", "[\"a\", \"b\"]", 1)).unwrap_err().report();
    assert!(report.contains("kaiwudbreader reads one"), "{report}");
}

#[test]
fn every_template_reads() {
    for reader in plugin::READERS {
        for writer in plugin::WRITERS {
            let text = template(reader.name, writer.name).unwrap();
            let made = read("job.json", &text).unwrap_or_else(|error| panic!("{text}\n{}", error.report()));
            let spec = &made.specs[0];
            assert_eq!(
                (made.specs.len(), spec.from.dsn().unwrap().scheme().as_str()),
                (
                    1,
                    match reader.family {
                        plugin::Family::Tdengine => "taos+http",
                        _ => reader.driver,
                    }
                )
            );
            assert_eq!(spec.max_errors, Budget::Count(0));
        }
    }
}

#[test]
fn stores_without_sql() {
    let (reader, rest) = (JOB.find("\"reader\"").unwrap(), JOB.find("\"writer\"").unwrap());
    let (before, behind) = (JOB.get(..reader).unwrap(), JOB.get(rest..).unwrap());
    let with = |text: &str| read("job.json", &format!("{before}{text},{behind}"));
    let from = |text: &str| {
        let made = with(text).unwrap_or_else(|error| panic!("{}", error.report()));
        made.specs[0].from.dsn().unwrap().to_string()
    };
    assert_eq!(
        from(
            r#""reader": {"name": "mongodbreader", "parameter": {"address": ["a:27017", "b:27018"], "userName": "me", "userPassword": "hunter2", "dbName": "db", "collectionName": "c", "column": [{"name": "_id", "type": "string"}, "x"], "query": "{}"}}"#
        ),
        "mongodb://me:***@a:27017,b:27018/db?tables=c&columns=_id,x&types=_id:string&auth_db=db&where={}"
    );
    assert_eq!(
        from(
            r#""reader": {"name": "mongodbreader", "parameter": {"address": ["a"], "dbName": "db", "authDb": "admin", "collectionName": "c", "column": [{"name": "t", "type": "Array", "splitter": ";"}, {"name": "a.b", "type": "document.string"}]}}"#
        ),
        r#"mongodb://a/db?tables=c&columns=t,a.b&types=t:Array,a.b:document.string&splitters={"t":";"}&auth_db=admin"#
    );
    assert_eq!(
        from(
            r#""reader": {"name": "influxdb20reader", "parameter": {"token": "hunter2", "connection": [{"endpoint": "https://h:8086/", "org": "o", "bucket": "b", "table": ["m"]}], "beginDateTime": "2024-05-01 00:00:00"}}"#
        ),
        "influxdb+https://h:8086?version=2.x&orgId=o&token=***&bucket=b&measurements=m&beginTime=2024-05-01 00:00:00"
    );
    let made = with(r#""reader": {"name": "opentsdbreader", "parameter": {"endpoint": "http://h:4242", "column": ["m.a"], "beginDateTime": "20240501000000"}}"#).unwrap();
    assert_eq!(
        made.specs[0].from.dsn().unwrap().to_string(),
        "opentsdb+http://h:4242?beginTime=2024-05-01 00:00:00&metrics=m.a&metric=underscore"
    );
    let to = made.specs[0].to.dsn().unwrap();
    assert_eq!((to.get("table"), to.get("create")), (None, Some("missing")));
    let report = with(r#""reader": {"name": "mongodbreader", "parameter": {"adress": ["a:1"], "collectionName": "c", "column": [{"nam": "x"}]}}"#).unwrap_err().report();
    for part in [
        "`job.content[0].reader.parameter.adress`, did you mean `address`?",
        "dbName` is missing",
        "column[0].nam`, did you mean `name`?",
    ] {
        assert!(report.contains(part), "{part}: {report}");
    }
}

#[test]
fn addresses_of_other_databases() {
    for (reader, url, wanted) in [
        ("oraclereader", "jdbc:oracle:thin:@//h:1521/svc", "oracle://me:***@h:1521/svc?tables"),
        ("oraclereader", "jdbc:oracle:thin:@h:1521:orcl", "oracle://me:***@h:1521?sid=orcl&tables"),
        (
            "sqlserverreader",
            "jdbc:sqlserver://h:1433;DatabaseName=db;encrypt=false",
            "sqlserver://me:***@h:1433/db?encrypt=false&tables",
        ),
        ("clickhousereader", "jdbc:clickhouse://h:8123/db", "clickhouse://me:***@h:8123/db?tables"),
        (
            "clickhousereader",
            "jdbc:clickhouse://h:8123/db?socket_timeout=9000&compress=1&ssl=true",
            "clickhouse://me:***@h:8123/db?timeout=9000ms&ssl=true&tables",
        ),
        ("postgresqlreader", "jdbc:postgresql://h:5432/db", "postgres://me:***@h:5432/db?tables"),
    ] {
        let text = JOB.replace("mysqlreader", reader).replace("jdbc:mysql://h:3306/db", url);
        let from = read("job.json", &text).unwrap().specs[0].from.dsn().unwrap().to_string();
        assert!(from.starts_with(wanted), "{from}");
    }
}

#[test]
fn properties_of_java_drivers() {
    let from = |query: &str| {
        let mut made = job("h:3306/db", &format!("h:3306/db?{query}")).unwrap();
        (made.specs.remove(0).from.dsn().unwrap().to_string(), made.notes)
    };
    let head = "mysql://me:***@h:3306/db";
    let tail = "tables=cpu&columns=k_timestamp,usage";
    for (query, wanted) in [
        ("useSSL=false", "ssl_mode=disabled&"),
        ("useSSL=true", "ssl_mode=preferred&"),
        ("useSSL=true&requireSSL=true", "ssl_mode=required&"),
        ("useSSL=true&verifyServerCertificate=true&requireSSL=true", "ssl_mode=verify_ca&"),
        ("zeroDateTimeBehavior=convertToNull", "zero_dates=null&"),
        ("connectTimeout=3000", "connect_timeout=3000ms&"),
        ("batch_rows=5", "batch_rows=5&"),
    ] {
        assert_eq!(from(query).0, format!("{head}?{wanted}{tail}"), "{query}");
    }
    let (address, notes) = from("useUnicode=true&characterEncoding=utf8&serverTimezone=UTC");
    assert_eq!(address, format!("{head}?{tail}"));
    assert_eq!(
        notes,
        [
            "useUnicode, characterEncoding, serverTimezone of the address ignored: they tune the driver of Java"
        ]
    );
    let to =
        |query: &str| only("k:26257/tsdb", &format!("k:26257/tsdb?{query}")).to.dsn().unwrap().to_string();
    assert!(to("ssl=true&currentSchema=s").contains("/tsdb?sslmode=verify-full&schema=s&table=cpu"));
    assert!(to("sslmode=require").contains("/tsdb?sslmode=require&table=cpu"));
}

#[test]
fn writers_of_mysql() {
    let text = JOB
        .replace("kaiwudbwriter", "mysqlwriter")
        .replace("\"jdbcUrl\": \"jdbc:kaiwudb://k:26257/tsdb\",\n        \"table\": \"cpu\"", "\"connection\": [{\"jdbcUrl\": \"jdbc:mysql://k:3306/db\", \"table\": [\"`other`.`cpu`\"]}], \"writeMode\": \"replace\", \"batchSize\": 100");
    let made = read("job.json", &text).unwrap_or_else(|error| panic!("{}", error.report()));
    let to = made.specs[0].to.dsn().unwrap().to_string();
    assert_eq!(to, "mysql://me:***@k:3306/other?table=cpu&mode=replace&create=never&statement_rows=100");
}
