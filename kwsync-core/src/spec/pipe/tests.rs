use std::time::Duration;

use super::*;

fn create(text: &str) -> PipeDefinition {
    match text.parse::<PipeStatement>().unwrap() {
        PipeStatement::Create(pipe) => pipe,
        other => panic!("{other:?}"),
    }
}

/// What a pipe would run: source, sink, transforms.
fn planned(text: &str) -> (String, String, Vec<String>) {
    let plan = create(text).plan().unwrap();
    let shown = |address: &crate::spec::Address| address.dsn().unwrap().to_string_with_secrets();
    let transforms = plan.spec.transforms.iter().map(ToString::to_string).collect();
    (shown(&plan.spec.from), shown(&plan.spec.to), transforms)
}

/// The statements that stand in IoTDB's documentation, as they stand there.
#[test]
fn what_the_documentation_shows() {
    let a2b = "create pipe a2b\nwith sink (\n'sink'='iotdb-thrift-sink',\n'sink.ip'='127.0.0.1',\n'sink.port'='6668'\n)";
    let unprefixed = a2b.replace("'sink.", "'");
    assert_eq!(
        planned(a2b),
        ("iotdb:?follow=true".into(), "iotdb+thrift-async://127.0.0.1:6668".into(), vec![])
    );
    assert_eq!(create(a2b), create(&unprefixed));
    let air_gap = a2b.replace("thrift-sink", "air-gap-sink");
    assert_eq!(planned(&air_gap).1, "iotdb+air-gap://127.0.0.1:6668");
    assert_eq!("start pipe a2b".parse::<PipeStatement>().unwrap(), PipeStatement::Start("a2b".into()));

    let full = "CREATE PIPE p1 -- PipeId is the name that uniquely identifies the sync task
        WITH SOURCE (
        -- Default IoTDB Data Extraction Plugin
        'source' = 'iotdb-source',
        -- Path prefix, only data that can match the path prefix will be extracted
        'source.pattern' = 'root.timecho',
        'source.historical.start-time' = '2011.12.03T10:15:30+01:00',
        'source.historical.end-time' = '2022.12.03T10:15:30+01:00',
        )
        WITH PROCESSOR (
        'processor' = 'do-nothing-processor',
        )
        WITH SINK (
        'sink' = 'iotdb-thrift-sink',
        'sink.ip' = '127.0.0.1',
        'sink.port' = '6667',
        )";
    let (from, to, transforms) = planned(full);
    assert_eq!(
        from,
        "iotdb:?historical.end-time=2022.12.03T10:15:30+01:00&historical.start-time=2011.12.03T10:15:30+01:00&pattern=root.timecho&follow=true"
    );
    assert_eq!((to.as_str(), transforms.len()), ("iotdb+thrift-async://127.0.0.1:6667", 0));

    // Two in one text without a semicolon; their sinks are one.
    let two = "CREATE PIPE pipe1 WITH SINK (
        'sink' = 'iotdb-thrift-sink', 'sink.ip' = 'localhost', 'sink.port' = '9999',
        )
        CREATE PIPE pipe2 WITH SINK (
        'sink' = 'iotdb-thrift-sink', 'sink.port' = '9999', 'sink.ip' = 'localhost',
        )";
    match PipeStatement::parse_all(two).unwrap().as_slice() {
        [PipeStatement::Create(one), PipeStatement::Create(other)] => {
            assert_eq!(one.sink_key(), other.sink_key());
        }
        other => panic!("{other:?}"),
    }

    for (text, expected) in [
        ("START PIPE p", PipeStatement::Start("p".into())),
        ("STOP PIPE iotdb-kafka", PipeStatement::Stop("iotdb-kafka".into())),
        ("DROP PIPE `a b`;", PipeStatement::Drop("a b".into())),
        ("SHOW PIPES", PipeStatement::Show(None)),
        ("show pipe 1st", PipeStatement::Show(Some("1st".into()))),
        ("SHOW PIPES\nWHERE SINK USED BY p1", PipeStatement::ShowSharing("p1".into())),
        ("SHOW PIPEPLUGINS", PipeStatement::ShowPlugins),
    ] {
        assert_eq!(text.parse::<PipeStatement>().unwrap(), expected, "{text}");
    }

    for (sink, address) in [
        (
            "'sink'='iotdb-thrift-sync-sink','sink.node-urls'='127.0.0.1:6667,127.0.0.1:6668'",
            "iotdb+thrift-sync://127.0.0.1:6667,127.0.0.1:6668",
        ),
        (
            "'sink'='iotdb-legacy-pipe-sink','sink.ip'='h','sink.port'='6667','sink.user'='root','sink.password'='r@t','sink.version'='1.1'",
            "iotdb+legacy://root:r%40t@h:6667?version=1.1",
        ),
        ("'sink'='do-nothing-sink'", "discard:"),
    ] {
        assert_eq!(planned(&format!("create pipe p with sink ({sink})")).1, address);
    }
}

#[test]
fn every_connector_is_a_plugin() {
    let (from, to, transforms) = planned(
        "CREATE PIPE p WITH SOURCE ('source'='file', 'source.dsn'='in/*.lp?precision=s')
         WITH PROCESSOR ('processor'='transforms', '1'='filter:n > 1', '2'='add-tag:site=b')
         WITH SINK ('sink'='postgres', 'dsn'='postgres://u:p@h/db', 'mode'='upsert', 'sink.conflict'='id')",
    );
    assert_eq!(from, "file:in/*.lp?precision=s");
    assert_eq!(to, "postgres://u:p@h/db?conflict=id&mode=upsert");
    assert_eq!(transforms, ["filter:n > 1", "add-tag:site=b"]);
    let (from, to, transforms) = planned(
        "CREATE PIPE p WITH SOURCE ('source'='file', 'path'='a?b.lp')
         WITH PROCESSOR ('processor'='drop-columns', 'processor.value'='a,b')
         WITH SINK ('sink'='postgres', 'host'='h', 'port'='5433', 'user'='u', 'password'='p:w', 'database'='d')",
    );
    assert_eq!(
        (from.as_str(), transforms.as_slice()),
        ("file:a%3Fb.lp", &["drop-columns:a,b".to_owned()][..])
    );
    assert_eq!(to, "postgres://u:p%3Aw@h:5433/d");

    let plan = create(
        "create pipe p with source ('source'='file','path'='a.lp','jobs'='4','parser'='@p.json','realtime.interval'='5m')
         with processor ('processor'='my-own','threshold'='3') with sink ('sink'='discard')",
    )
    .plan()
    .unwrap();
    assert_eq!((plan.spec.jobs, plan.spec.parser.as_deref()), (4, Some("@p.json")));
    assert_eq!(plan.realtime, Some(Duration::from_secs(300)));
    let (name, attributes) = plan.processor.unwrap();
    assert_eq!((name.as_str(), attributes.get("threshold")), ("my-own", Some("3")));
}

#[test]
fn mistakes_are_named_and_mended() {
    for (text, expected) in [
        ("CRAETE PIPE p", "did you mean `CREATE`?"),
        ("CREATE PIP p", "line 1, column 8: `PIP` where PIPE belongs"),
        ("START PIPE", "the statement ends where the name of a pipe belongs"),
        ("SHOW PIPE", "the name of a pipe"),
        ("SHOW PIPS", "PIPE, PIPES or PIPEPLUGINS"),
        ("CREATE PIPE p", "pipe p has no sink"),
        ("CREATE PIPE p WITH SINKS ('a'='b')", "SOURCE, PROCESSOR or SINK"),
        ("CREATE PIPE p WITH SINK ('sink'='discard'", "the statement ends where , or ) belongs"),
        (
            "CREATE PIPE p WITH SINK (\n'sink'='discard'\n'sink.ip'='h')",
            "line 3, column 1: a text in '...' where , or ) belongs",
        ),
        ("CREATE PIPE p WITH SINK ('sink' 'discard')", "where = belongs"),
        ("CREATE PIPE p WITH SINK (sink='discard')", "a key in '...'"),
        ("CREATE PIPE p WITH SINK ('sink'='discard)", "line 1"),
        (
            "CREATE PIPE p WITH SINK ('sink'='discard','ip'='a','sink.ip'='b')",
            "'ip' stands twice, as 'sink.ip' and before",
        ),
        ("CREATE PIPE p WITH SINK ('sink'='x') WITH SINK ('sink'='y')", "WITH SINK stands twice"),
        ("CREATE PIPE p WITH SINK ('ip'='h')", "SHOW PIPEPLUGINS"),
        ("SHOW PIPES WHERE SINK p", "where USED belongs"),
    ] {
        let report = PipeStatement::parse_all(text).unwrap_err().report();
        assert!(report.contains(expected), "{text}: {report}");
    }
    for (text, expected) in [
        ("with sink ('sink'='postgres')", "is not told where"),
        ("with sink ('sink'='postgres','dsn'='mysql://h/d')", "'sink'='mysql' goes with it"),
        ("with sink ('sink'='postgres','dsn'='postgres://h/d','ip'='h')", "'dsn' is the whole address"),
        ("with sink ('sink'='postgres','port'='1')", "a 'port' needs an 'ip'"),
        ("with sink ('sink'='postgres','ip'='h','node-urls'='a:1')", "give one or the other"),
        ("with processor ('processor'='fliter','value'='a') with sink ('sink'='discard')", ""),
        (
            "with processor ('processor'='filter','value'='a >') with sink ('sink'='discard')",
            "is no expression",
        ),
        ("with processor ('processor'='filter','valeu'='a') with sink ('sink'='discard')", "has no 'valeu'"),
        ("with processor ('value'='a') with sink ('sink'='discard')", "does nothing with 'value'"),
        ("with source ('jobs'='many') with sink ('sink'='discard')", "no number above 0"),
        ("with source ('realtime.interval'='soon') with sink ('sink'='discard')", "as in 500ms"),
    ] {
        match create(&format!("create pipe p {text}")).plan() {
            Err(error) => assert!(error.report().contains(expected), "{text}: {}", error.report()),
            // A processor that may be an embedder's own; whoever runs the pipe says that nobody has it.
            Ok(plan) => assert!(expected.is_empty() && plan.processor.is_some(), "{text}"),
        }
    }
}

#[test]
fn no_secret_is_shown() {
    let pipe = create(
        "create pipe p with source ('source'='file','path'='a') with sink ('sink'='postgres','dsn'='postgres://u:hunter2@h/d','cert_key'='hunter2')",
    );
    let shown = format!("{pipe:?} {} {:?}", pipe.sink, pipe.plan().unwrap());
    assert!(!shown.contains("hunter2"), "{shown}");
    let fault =
        PipeStatement::parse_all("create pipe p with sink ('password'='hunter2' 'x'='hunter2')").unwrap_err();
    assert!(!fault.report().contains("hunter2"), "{}", fault.report());
    for processor in [
        "'processor'='hash','value'='email=hunter2'",
        "'processor'='transforms','1'='hash:email=hunter2','2'='filter:a = 1'",
    ] {
        let pipe =
            create(&format!("create pipe p with processor ({processor}) with sink ('sink'='discard')"));
        let shown = format!("{pipe:?} {}", pipe.processor);
        assert!(!shown.contains("hunter2") && shown.contains("email=***"), "{shown}");
    }
    let stored = serde_json::to_string(&pipe).unwrap();
    assert_eq!(serde_json::from_str::<PipeDefinition>(&stored).unwrap(), pipe);
}

#[test]
fn settings_of_the_server() {
    let settings = PipeSettings::from_properties(
        "# pipe_sink_timeout_ms=1\npipe_subtask_executor_max_thread_num=3\npipe_connector_timeout_ms = 7000\n\
         pipe_sink_selector_number=4\n# pipe_lib_dir=ext/pipe\nother=1\n",
    )
    .unwrap();
    assert_eq!((settings.max_threads, settings.sink_timeout), (3, Duration::from_secs(7)));
    assert_eq!(settings.ignored, ["pipe_sink_selector_number"]);
    assert_eq!([1, 2, 4, 16].map(|cores| settings.lanes(cores)), [1, 1, 2, 3]);
    let fault = PipeSettings::from_properties("\npipe_sink_timeout_ms=soon").unwrap_err();
    assert!(fault.message().contains("line 2"), "{fault}");
}
