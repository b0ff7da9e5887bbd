use std::time::Duration;

use kwsync_core::{RenameTable, Transform};
use tokio_util::sync::CancellationToken;

use super::*;

fn pipes() -> (tempfile::TempDir, Pipes) {
    let dir = tempfile::tempdir().unwrap();
    let pipes = Pipes::new(dir.path().join("state"), crate::registry());
    (dir, pipes)
}

fn shown(pipes: &Pipes, statement: &str) -> Vec<PipeStatus> {
    match pipes.execute(&statement.parse().unwrap()).unwrap() {
        PipeAnswer::Pipes(shown) => shown,
        other => panic!("{other:?}"),
    }
}

const SINK: &str = "WITH SINK ('sink'='do-nothing-sink')";

#[test]
fn the_life_of_a_pipe() {
    let (dir, pipes) = pipes();
    let source = "WITH SOURCE ('source'='file', 'path'='in.lp')";
    let made =
        pipes.execute_all(&format!("CREATE PIPE p {source} {SINK}; CREATE PIPE q {source} {SINK}")).unwrap();
    assert!(made[0].to_string().starts_with("pipe p is RUNNING; no process runs pipes here"), "{}", made[0]);
    let [p, q] = &shown(&pipes, "SHOW PIPES")[..] else { panic!("two") };
    assert_eq!(
        (p.id.as_str(), q.id.as_str(), p.state, p.exception.as_str()),
        ("p", "q", PipeState::Running, "{}")
    );
    assert_eq!((p.source.as_str(), p.sink.as_str()), ("{path=in.lp, source=file}", "{sink=do-nothing-sink}"));
    assert_eq!(p.creation_time.len(), "2022-03-30T20:58:30.689".len());
    assert_eq!(shown(&pipes, "SHOW PIPES WHERE SINK USED BY p").len(), 2);

    let fault = pipes.execute_all(&format!("CREATE PIPE p {source} {SINK}")).unwrap_err();
    assert!(fault.message().contains("already"), "{fault}");
    for statement in ["STOP PIPE p", "STOP PIPE p", "START PIPE p", "START PIPE p", "STOP PIPE p"] {
        pipes.execute_all(statement).unwrap();
    }
    assert_eq!(shown(&pipes, "SHOW PIPE p")[0].state, PipeState::Stopped);
    // Another process that opens the folder sees the same.
    let other = Pipes::new(dir.path().join("state"), crate::registry());
    assert_eq!(shown(&other, "SHOW PIPES"), shown(&pipes, "SHOW PIPES"));
    pipes.execute_all("DROP PIPE q").unwrap();
    let fault = other.execute_all("START PIPE q").unwrap_err();
    assert!(fault.message().contains("there is no pipe q"), "{fault}");
    pipes.execute_all(&format!("CREATE PIPE nightly {source} {SINK}")).unwrap();
    let fault = other.execute_all("SHOW PIPE nihgtly").unwrap_err();
    assert!(fault.message().contains("did you mean `nightly`?"), "{fault}");

    let stopped = Pipes::new(dir.path().join("other"), crate::registry()).created_stopped();
    stopped.execute_all(&format!("CREATE PIPE p {source} {SINK}")).unwrap();
    assert_eq!(shown(&stopped, "SHOW PIPE p")[0].state, PipeState::Stopped);
}

#[test]
fn what_cannot_run_is_not_made() {
    let (_dir, pipes) = pipes();
    let file = "WITH SOURCE ('source'='file','path'='in.lp')";
    for (text, expected) in [
        (format!("{file} WITH SINK ('sink'='postgress','dsn'='postgress://h/d')"), "did you mean `postgres`?"),
        (format!("{file} WITH SINK ('sink'='postgres','dsn'='postgres://h/d','moed'='upsert')"), "did you mean `mode`?"),
        ("WITH SOURCE ('source'='file','path'='in.lp','precison'='s') WITH SINK ('sink'='discard')".into(), "did you mean `precision`?"),
        ("WITH SOURCE ('source'='file','path'='in.xyz') WITH SINK ('sink'='discard')".into(), "format"),
        (format!("{file} WITH PROCESSOR ('processor'='fliter','value'='n > 1') WITH SINK ('sink'='discard')"), "did you mean `filter`?"),
        ("WITH SINK ('sink'='iotdb-thrift-sink','ip'='127.0.0.1','port'='6668')".into(), "not told where IoTDB is"),
        (format!("{file} WITH SINK ('sink'='iotdb-air-gap-sink','ip'='127.0.0.1','port'='6668')"), "iotdb-thrift-sink"),
        (format!("{file} WITH SINK ('sink'='iotdb-legacy-pipe-sink','ip'='127.0.0.1','port'='6668')"), "iotdb-legacy-pipe-sink is not in this build"),
        (
            "WITH SOURCE ('source'='file','dsn'='x/out?format=json') WITH SINK ('sink'='file','dsn'='file:./x/out/?format=json')".into(),
            "would read what it writes",
        ),
        (
            "WITH SOURCE ('source'='file','path'='in.lp') WITH SINK ('sink'='file','dsn'='file:./in.lp?format=json')".into(),
            "would read what it writes",
        ),
    ] {
        let error = pipes.execute_all(&format!("CREATE PIPE p {text}")).unwrap_err();
        assert!(error.report().contains(expected), "{text}: {}", error.report());
    }
    assert!(shown(&pipes, "SHOW PIPES").is_empty());

    let hop = |name: &str, from: &str, to: &str| {
        let text = format!(
            "CREATE PIPE {name} WITH SOURCE ('source'='file','dsn'='{from}?format=json') WITH SINK ('sink'='file','dsn'='file:{to}?format=json')"
        );
        pipes.execute_all(&text).unwrap()[0].to_string()
    };
    assert!(!hop("a", "one", "two").contains("warning"));
    assert!(!hop("b", "two", "three").contains("warning"));
    assert!(hop("c", "three", "one").contains("warning: with the pipes that are there, c leads back"));
}

#[test]
fn plugins_of_the_program_are_listed_and_used() {
    let (_dir, pipes) = pipes();
    let pipes = pipes.with_processor("shout", "writes names in capitals", |attributes| {
        let template = attributes.get("template").unwrap_or("{table}!");
        Ok(Arc::new(RenameTable::template(template)?) as Arc<dyn Transform>)
    });
    let PipeAnswer::Plugins(all) = pipes.execute(&PipeStatement::ShowPlugins).unwrap() else { panic!() };
    let find = |name: &str, kind: &str| all.iter().find(|plugin| plugin.name == name && plugin.kind == kind);
    assert_eq!(find("shout", "processor").map(|plugin| plugin.origin), Some("External"));
    for (name, kind) in [
        ("file", "source"),
        ("postgres", "sink"),
        ("do-nothing-processor", "processor"),
        ("filter", "processor"),
    ] {
        assert_eq!(find(name, kind).map(|plugin| plugin.origin), Some("Builtin"), "{name}");
    }
    let text = "CREATE PIPE p WITH SOURCE ('source'='file','path'='in.lp') WITH PROCESSOR ('processor'='SHOUT','template'='{oops}')";
    assert!(pipes.execute_all(&format!("{text} {SINK}")).is_err(), "its faults show when the pipe is made");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_process_runs_them_and_writes_down_why_one_stopped() {
    let (dir, pipes) = pipes();
    let input = dir.path().join("in.lp");
    std::fs::write(&input, "cpu n=1i 1\ncpu n=x 2\n").unwrap();
    let path = input.display();
    pipes
        .execute_all(&format!(
            "CREATE PIPE bad WITH SOURCE ('source'='file','path'='{path}') {SINK}
             CREATE PIPE gone WITH SOURCE ('source'='file','path'='{path}.gone.lp') {SINK}"
        ))
        .unwrap();
    let runner = pipes.runner().unwrap().expect("the first");
    assert!(pipes.runner().unwrap().is_none(), "the second must not run them too");
    let cancel = CancellationToken::new();
    tokio::time::timeout(Duration::from_secs(60), runner.run_until_done(cancel)).await.unwrap().unwrap();
    let bad = &shown(&pipes, "SHOW PIPE bad")[0];
    assert_eq!(bad.state, PipeState::Stopped);
    assert!(bad.exception.contains("line 2"), "{}", bad.exception);
    assert!(shown(&pipes, "SHOW PIPE gone")[0].exception.contains("in.lp.gone"), "{bad:?}");
    // Mended and made again, it runs.
    std::fs::write(&input, "cpu n=1i 1\ncpu n=2i 2\n").unwrap();
    pipes
        .execute_all(&format!(
            "DROP PIPE bad; CREATE PIPE bad WITH SOURCE ('source'='file','path'='{path}') {SINK}"
        ))
        .unwrap();
    assert_eq!(shown(&pipes, "SHOW PIPE bad")[0].exception, "{}");
    let runner = pipes.runner().unwrap().expect("the first is gone");
    tokio::time::timeout(Duration::from_secs(60), runner.run_until_done(CancellationToken::new()))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(shown(&pipes, "SHOW PIPE bad")[0].exception, "{}");
}

#[test]
fn settings_of_the_server_bound_pipes() {
    let (_dir, pipes) = pipes();
    let settings =
        PipeSettings::from_properties("pipe_sink_timeout_ms=7000\npipe_subtask_executor_max_thread_num=1")
            .unwrap();
    let pipes = pipes.with_settings(settings);
    let pipe = |sink: &str| -> PipePlan {
        let text = format!(
            "create pipe p with source ('source'='file','path'='in.lp','jobs'='64') with sink ({sink})"
        );
        let PipeStatement::Create(definition) = text.parse().unwrap() else { panic!() };
        pipes.check(&definition).unwrap()
    };
    let plan = pipe("'sink'='postgres','dsn'='postgres://u@h/d'");
    assert_eq!(plan.spec.jobs, 1);
    assert_eq!(plan.spec.to.dsn().unwrap().get("connect_timeout"), Some("7000ms"));
    let plan = pipe("'sink'='postgres','dsn'='postgres://u@h/d','connect_timeout'='1s'");
    assert_eq!(plan.spec.to.dsn().unwrap().get("connect_timeout"), Some("1s"));
    assert_eq!(pipe("'sink'='do-nothing-sink'").spec.to.dsn().unwrap().get("connect_timeout"), None);
}
