use super::*;
use crate::spec::PipelineSpec;

const SINK_JSON: &str = r#"{
  "name": "cpu",
  "config": {
    "connector.class": "com.kaiwudb.kafka.connect.sink.KwdbSinkConnector",
    "tasks.max": "5",
    "topics": "a, b",
    "connection.url": "jdbc:kaiwudb://k:26257",
    "connection.user": "me",
    "connection.password": "hunter2",
    "connection.database": "tsdb",
    "connection.attempts": 3,
    "batch.size": 1000,
    "protocol.type": "json_kaiwudb",
    "timestamp.precision": "ms",
    "value.converter": "org.apache.kafka.connect.storage.StringConverter"
  }
}"#;

fn with(old: &str, new: &str) -> Result<Translation> {
    assert!(SINK_JSON.contains(old), "{old}");
    read("sink.json", &SINK_JSON.replacen(old, new, 1), &Worker::default())
}

fn only(made: Result<Translation>) -> PipelineSpec {
    made.unwrap_or_else(|error| panic!("{}", error.report())).specs.remove(0)
}

#[test]
fn ten_mistakes() {
    for (old, new, wanted) in [
        // a misspelt key
        (
            "\"topics\"",
            "\"topcis\"",
            "unknown key `config.topcis`, did you mean `topics`? (sink.json, line 6, column 5)",
        ),
        // a wrong type
        (
            "\"a, b\"",
            "[\"a\", \"b\"]",
            "`config.topics` takes one text, but a list stands here (sink.json, line 6, column 15)",
        ),
        // a missing brace
        ("\n  }\n}", "\n  }", "this `{` is never closed (sink.json, line 1, column 1)"),
        // a word where a number belongs
        (
            "\"5\"",
            "\"five\"",
            "`config.tasks.max` takes a whole number from 1 to 1024, and \"five\" is none (sink.json, line 5, column 18)",
        ),
        // an unknown connector
        (
            "sink.KwdbSinkConnector",
            "sink.KwdbSinkConector",
            "there is no connector \"com.kaiwudb.kafka.connect.sink.KwdbSinkConector\", did you mean `com.kaiwudb.kafka.connect.sink.KwdbSinkConnector`?",
        ),
        // an unknown format
        (
            "\"json_kaiwudb\"",
            "\"json_kaiwu\"",
            "`config.protocol.type` takes one of json_kaiwudb, json_opentsdb, line_opentsdb, line_influxdb, and \"json_kaiwu\" is none",
        ),
        // a bad precision
        (
            "\"ms\"",
            "\"s\"",
            "`timestamp.precision` of json_kaiwudb is one of ms, us, ns, and \"s\" is none (sink.json, line 14, column 28)",
        ),
        // two databases
        (
            "k:26257\"",
            "k:26257/other\"",
            "`connection.url` names the database \"other\", and `connection.database` \"tsdb\" (sink.json, line 10, column 28)",
        ),
        // a wrong address
        (
            "jdbc:kaiwudb://",
            "jdbc:mysql://",
            "`connection.url` takes the address of a KaiwuDB, and this is `mysql`",
        ),
        ("k:26257", "k:port", "`port` is no port"),
        // something is missing
        ("\"connection.user\": \"me\",", "", "`config.connection.user` is missing"),
        ("\"timestamp.precision\": \"ms\",", "", "`config.timestamp.precision` is missing"),
        // no number of attempts
        (
            "\"connection.attempts\": 3",
            "\"connection.attempts\": 0",
            "takes a whole number from 1 to 1000, and \"0\" is none",
        ),
        // what has no counterpart
        (
            "storage.StringConverter",
            "json.JsonConverter",
            "`value.converter` org.apache.kafka.connect.json.JsonConverter has no counterpart here",
        ),
        (
            "\"topics\"",
            "\"transforms\": \"t\", \"transforms.t.type\": \"x\", \"topics\"",
            "`transforms` of the framework have no counterpart here",
        ),
    ] {
        let error = with(old, new).err().unwrap_or_else(|| panic!("{new} is fine"));
        assert_eq!(error.kind().exit_status(), 2);
        let report = error.report();
        assert!(report.contains(wanted) && !report.contains("hunter2"), "{new}:\n{report}\n{wanted}");
    }
    let report = with("\"a, b\"", "\"\"").unwrap_err().report();
    assert!(
        report.contains("`config.topics` is missing") && report.contains("the topics to read"),
        "{report}"
    );
    assert!(
        read("x.json", "{\"name\": \"x\"}", &Worker::default())
            .unwrap_err()
            .report()
            .contains("`config` is missing")
    );
    for (list, wanted) in [("", "no list of brokers"), ("h:x", "is no port"), ("u:p@h", "no list of brokers")]
    {
        assert!(Worker::new(list).unwrap_err().report().contains(wanted), "{list}");
    }
}

#[test]
fn every_shape_is_the_same() {
    let posted = only(with("a, b", "a, b"));
    let root: serde_json::Value = serde_json::from_str(SINK_JSON).unwrap();
    let mut config = root["config"].as_object().unwrap().clone();
    config.insert("name".to_owned(), "cpu".into());
    let put = serde_json::Value::from(config.clone()).to_string();
    assert_eq!(only(read("sink.json", &put, &Worker::default())), posted);
    let pairs: Vec<_> = config
        .iter()
        .map(|(key, value)| format!("{key} = {}", value.as_str().map_or(value.to_string(), str::to_owned)))
        .collect();
    let properties = only(read("sink.properties", &pairs.join("\n"), &Worker::default()));
    assert_eq!(properties, posted);
    assert_eq!(
        (posted.jobs, posted.job.as_deref(), posted.retries, posted.retry_wait_ms),
        (5, Some("cpu"), Some(3), Some(3_000))
    );
    let said = with("\"name\": \"cpu\"", "\"name\": \"cpu\", \"x\": 1").unwrap_err().report();
    assert!(said.contains("unknown key `x`"), "{said}");
}

#[test]
fn formats_and_what_follows_from_them() {
    let made = |format: &str, precision: &str| {
        let text = SINK_JSON.replace("json_kaiwudb", format).replace("\"ms\"", &format!("\"{precision}\""));
        read("sink.json", &text, &Worker::default())
    };
    for (format, precisions, create) in [
        ("json_kaiwudb", &["ms", "us", "ns"][..], "missing"),
        ("json_opentsdb", &["s", "ms"], "missing"),
        ("line_opentsdb", &["s", "ms"], "missing"),
        ("line_influxdb", &["ms", "us", "ns"], "never"),
    ] {
        for precision in ["s", "ms", "us", "ns"] {
            let made = made(format, precision);
            assert_eq!(made.is_ok(), precisions.contains(&precision), "{format} {precision}");
            let Ok(made) = made else { continue };
            let spec = &made.specs[0];
            let (from, to) = (spec.from.dsn().unwrap(), spec.to.dsn().unwrap());
            assert_eq!((from.get("precision"), to.get("create")), (Some(precision), Some(create)));
            assert_eq!(from.get("dialect").is_some(), format == "line_influxdb");
            assert_eq!(spec.transforms.len(), usize::from(format.ends_with("opentsdb")));
        }
    }
    let spec = only(with("\"topics\"", "\"errors.tolerance\": \"all\", \"topics\""));
    assert_eq!(spec.errors, crate::ErrorPolicy::Skip);
    let dead = |more: &str| {
        with("\"topics\"", &format!("\"errors.deadletterqueue.topic.name\": \"dead\", {more} \"topics\""))
    };
    let none = dead("").unwrap();
    assert_eq!(none.specs[0].errors, crate::ErrorPolicy::Fail);
    assert!(none.notes.iter().any(|note| note.contains("`errors.tolerance` is none")), "{:?}", none.notes);
    let spec = only(dead("\"errors.tolerance\": \"all\","));
    assert_eq!(
        (spec.errors.to_string(), spec.log_errors),
        (
            "reject:kafka://localhost:9092/dead?partitions=1&replication=3&context_headers=false".to_owned(),
            false
        )
    );
    let spec = only(dead(
        "\"errors.tolerance\": \"all\", \"errors.deadletterqueue.topic.replication.factor\": \"1\", \
         \"errors.deadletterqueue.context.headers.enable\": \"true\", \"errors.log.enable\": true, \
         \"errors.log.include.messages\": false,",
    ));
    assert!(spec.errors.to_string().ends_with("replication=1&context_headers=true") && spec.log_errors);
    for (more, wanted) in [
        ("\"errors.deadletterqueue.topic.nam\": \"x\",", "did you mean `errors.deadletterqueue.topic.name`?"),
        ("\"errors.deadletterqueue.topic.replication.factor\": 0,", "a whole number from 1 to 32767"),
        ("\"errors.tolerance\": \"some\",", "one of none, all"),
        ("\"errors.deadletterqueue.context.headers.enable\": \"yes please\",", "true or false"),
    ] {
        let report = dead(more).unwrap_err().report();
        assert!(report.contains(wanted) && report.contains("sink.json, line 6"), "{more}: {report}");
    }
    let report = with("\"topics\"", "\"errors.deadletterqueue.topic.name\": \"a b\", \"topics\"")
        .unwrap_err()
        .report();
    assert!(report.contains("\"a b\" is no name of a topic"), "{report}");
    let made = with("\"topics\"", "\"errors.retry.timeout\": 1, \"topics\"").unwrap();
    assert_eq!(
        made.notes.iter().filter(|note| note.contains("`errors.retry.timeout` is ignored")).count(),
        1
    );
    let made = with("\"topics\"", "\"consumer.override.max.poll.records\": \"1\", \"topics\"").unwrap();
    assert!(made.notes.iter().any(|note| note.contains("`consumer.override.max.poll.records` is ignored")));
}

#[test]
fn sources_and_their_defaults() {
    let text = "name=s\nconnector.class=KwdbSourceConnector\nconnection.url=jdbc:kaiwudb://k:26257\nconnection.user=me\n\
                connection.password=hunter2\nconnection.database=db\nout.format=line_influxdb\n";
    let worker = Worker::new("b1:9092,PLAINTEXT://b2:9092").unwrap();
    let spec = only(read("s.properties", text, &worker));
    assert_eq!(
        (spec.from.dsn().unwrap().to_string(), spec.to.dsn().unwrap().to_string()),
        (
            "kwdb://me:***@k:26257/db?connect_attempts=3&connect_backoff=5000ms&follow=true&poll_interval=5000ms&query_interval=1000ms&fetch_rows=100".to_owned(),
            "kafka://b1:9092,b2:9092?topic_delimiter=-&topic_database=db&topic_per_table=true&topic_ignore_database=false&topic_format_suffix=false&format=line_influxdb&dialect=kwdb".to_owned(),
        )
    );
    let spec = only(read(
        "s.properties",
        &format!("{text}timestamp.initial=2024-05-01 10:00:00\ntopic.prefix=kw\ntopic.per.stable=false\n"),
        &worker,
    ));
    assert_eq!(spec.from.dsn().unwrap().get("begin"), Some("2024-05-01 10:00:00"));
    assert_eq!(spec.to.dsn().unwrap().get("topic_per_table"), Some("false"));
    for (line, wanted) in [
        ("read.method=cdc", "`read.method` is query, and \"cdc\" is none"),
        ("timestamp.initial=now", "`timestamp.initial` takes a time"),
        ("topic.per.stable=maybe", "`topic.per.stable` takes true or false"),
        ("poll.intervall.ms=1", "did you mean `poll.interval.ms`?"),
        ("topics=a", "unknown key `topics`"),
    ] {
        let report = read("s.properties", &format!("{text}{line}\n"), &worker).unwrap_err().report();
        assert!(report.contains(wanted) && report.contains("s.properties, line 8"), "{line}: {report}");
    }
}

#[test]
fn brokers_of_a_worker() {
    let read = |text: &str| Worker::from_properties("w.properties", text);
    assert!(read("group.id=x\n").unwrap_err().report().contains("`bootstrap.servers` is missing"));
    let secure = read("bootstrap.servers=b:9093\nsecurity.protocol=SSL\n").unwrap();
    assert_eq!(secure.dsn().to_string(), "kafka://b:9093?use_ssl=true");
    assert_eq!(secure.notes().len(), 1);
    let report = read("bootstrap.servers=b:9093\nsecurity.protocol=SASL_SSL\n").unwrap_err().report();
    assert!(report.contains("`security.protocol` SASL_SSL has no counterpart"), "{report}");
}
