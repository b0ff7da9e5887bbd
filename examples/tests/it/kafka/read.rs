//! From Kafka.

use std::collections::BTreeMap;
use std::time::Duration;

use kwsync_core::testkit::tdengine::TdengineServer;
use kwsync_core::testkit::{KafkaServer, PgServer};

use super::cluster::Cluster;
use crate::kill::kills;
use crate::support::{Job, Place, until};

/// A database, a cluster, and a place to work in; nothing where something is not installed.
pub(super) fn world() -> Option<(&'static KafkaServer, Cluster, &'static PgServer, Place, String)> {
    let (broker, server) = (KafkaServer::shared()?, PgServer::shared()?);
    Some((broker, Cluster::new(broker), server, Place::new(), server.create_database()))
}

/// Both examples of taosX's documentation, with PostgreSQL in TDengine's role.
#[test]
fn the_examples_of_taosx() {
    let Some((_, cluster, server, place, database)) = world() else { return };
    for (topic, partitions, text) in [("tx1", 5, "hello"), ("tx2", 1, "aaa")] {
        cluster.create(topic, partitions, &[]);
        let messages: Vec<_> =
            (1..=5).map(|id| format!("{{\"id\": {id}, \"message\": \"{text}\"}}")).collect();
        cluster.send(topic, messages.iter().enumerate().map(|(n, text)| (n as i32 % partitions, &**text)));
    }
    let plain = r#"{"parse":{"ts":{"as":"timestamp(ms)"},"topic":{"as":"varchar","alias":"t"},"partition":{"as":"int","alias":"p"},"offset":{"as":"bigint","alias":"o"},"key":{"as":"binary","alias":"k"},"value":{"as":"binary","alias":"v"}},"model":[{"name":"t_{t}","using":"kafka_data","tags":["t","p"],"columns":["ts","o","k","v"]}]}"#;
    let json = r#"{"parse":{"ts":{"as":"timestamp(ms)"},"topic":{"as":"varchar","alias":"t"},"partition":{"as":"int","alias":"p"},"offset":{"as":"bigint","alias":"o"},"value":{"json":["id::int","message::binary"]}},"model":[{"name":"t_{t}","using":"json_data","tags":["t","p"],"columns":["ts","o","id","message"]}]}"#;
    let from = format!("kafka://{}/?topics=tx1,tx2&timeout=2000", cluster.brokers);
    for parser in [plain, json] {
        place.run(&["run", "-f", &from, "-t", &server.dsn(&database), "--parser", parser]).expect(0);
    }
    let sql = "SELECT tbname, t, p, o, k IS NULL, v::json->>'message', now() - ts < interval '1 hour' FROM kafka_data ORDER BY t, p, o";
    let rows = server.psql(&database, sql);
    let mut expected: String = (0..5).map(|p| format!("t_tx1|tx1|{p}|0|t|hello|t\n")).collect();
    expected.extend((0..5).map(|o| format!("t_tx2|tx2|0|{o}|t|aaa|t\n")));
    assert_eq!(rows, expected);
    let sql = "SELECT t, p, o, id, message FROM json_data ORDER BY t, p, o";
    let mut expected: String = (0..5).map(|p| format!("tx1|{p}|0|{}|hello\n", p + 1)).collect();
    expected.extend((0..5).map(|o| format!("tx2|0|{o}|{}|aaa\n", o + 1)));
    assert_eq!(server.psql(&database, sql), expected);
    // Into what stands for a TDengine: names are those of the topics alone, so that rows of one time are one there.
    let taos = TdengineServer::start();
    taos.run("CREATE DATABASE `kafka_to_taos` PRECISION 'ms'");
    let to = format!("taos+http://127.0.0.1:{}/kafka_to_taos", taos.port);
    place.run(&["run", "-f", &from, "-t", &to, "--parser", plain]).expect(0);
    let names: Vec<_> = taos.state().databases["kafka_to_taos"].tables.keys().cloned().collect();
    assert_eq!(names, ["t_tx1", "t_tx2"]);
    // Chosen partitions alone.
    let from = format!("kafka://{}/?topic_partitions=tx1:1..2,tx2:0&timeout=2000", cluster.brokers);
    let other = server.create_database();
    place.run(&["run", "-f", &from, "-t", &server.dsn(&other), "--parser", json, "-j", "2"]).expect(0);
    assert_eq!(
        server.psql(&other, "SELECT count(*), min(p), max(p) FILTER (WHERE t = 'tx1') FROM json_data"),
        "7|0|2\n"
    );
}

/// Three processes of a group share the partitions; killed at random, with the broker restarted, every message is there once.
#[test]
fn a_group_is_exactly_once_whoever_dies() {
    let given = |name: &str, default: usize| {
        std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let messages = given("KWSYNC_MESSAGES", 24_000).next_multiple_of(8);
    let restarts = given("KWSYNC_RESTARTS", 1);
    let (_, mut random) = kills();
    let kills = given("KWSYNC_KILLS", 4);
    let Some((_, _, server, place, database)) = world() else { return };
    // A broker of its own: it is killed too.
    let Some(own) = KafkaServer::start() else { return };
    let cluster = Cluster::new(&own);
    cluster.create("once", 8, &[]);
    let lines: Vec<String> =
        (0..messages).map(|n| format!("m n={n}i {n}000\nm n={}i {n}000", n + messages)).collect();
    cluster.send("once", lines.iter().enumerate().map(|(n, line)| (n as i32 % 8, &**line)));
    let from = format!(
        "kafka://{}?topics=once&group=g&timeout=never&format=line_influxdb&kafka.session.timeout.ms=1500&kafka.heartbeat.interval.ms=300",
        cluster.brokers
    );
    let to = server.dsn(&database);
    // About five seconds for all of it, if nobody died; long ones take longer.
    let rate = (messages / 5).clamp(5_000, 60_000).to_string();
    let commit = (messages / 50).clamp(500, 20_000).to_string();
    let arguments = [
        "run",
        "-f",
        &from,
        "-t",
        &to,
        "--commit-rows",
        &commit,
        "--rate-rows",
        &rate,
        "--retries",
        "60",
        "--quiet",
    ];
    let count = || {
        let there = server.psql(&database, "SELECT to_regclass('m') IS NOT NULL");
        let sql = if there == "t\n" { "SELECT count(*) FROM m" } else { "SELECT 0" };
        server.psql(&database, sql).trim().parse::<usize>().unwrap()
    };
    let mut jobs: Vec<Job> = (0..3).map(|_| Job::start(&place, &arguments)).collect();
    for step in 1..=kills {
        let aim = step * 2 * messages / (kills + 2);
        until("more rows", || count() >= aim);
        std::thread::sleep(Duration::from_millis(random(300)));
        if step * restarts / kills > (step - 1) * restarts / kills {
            own.restart();
        }
        jobs.remove(random(3) as usize).kill();
        jobs.push(Job::start(&place, &arguments));
    }
    until("all rows", || count() >= 2 * messages);
    // What is there twice would still come.
    until("the last offsets", || cluster.committed("g", "once") == messages as i64);
    for mut job in jobs {
        assert!(!job.has_ended());
        job.terminate().expect(143);
    }
    assert_eq!(
        server.psql(&database, "SELECT count(*), count(DISTINCT n), min(n), max(n) FROM m"),
        format!("{0}|{0}|0|{1}\n", 2 * messages, 2 * messages - 1),
        "after {kills} kills"
    );
    // And every partition was seen through, by whomever.
    let ended =
        format!("SELECT count(*) FROM kwsync_checkpoint WHERE position = '{{\"offset\":{}}}'", messages / 8);
    assert_eq!(server.psql(&database, &ended), "8\n");
}

/// Into files, whose offsets the group keeps: none is missing.
#[test]
fn a_group_is_at_least_once_into_files() {
    let Some((_, cluster, _, place, _)) = world() else { return };
    cluster.create("files", 3, &[]);
    let lines: Vec<String> = (0..3_000).map(|n| format!("m n={n}i {n}")).collect();
    cluster.send("files", lines.iter().enumerate().map(|(n, line)| (n as i32 % 3, &**line)));
    let from = format!(
        "kafka://{}?topics=files&group=f&timeout=1500&format=line_influxdb&kafka.session.timeout.ms=2000&kafka.heartbeat.interval.ms=300",
        cluster.brokers
    );
    let slow = [
        "run",
        "-f",
        &from,
        "-t",
        "file:out?format=csv",
        "--commit-rows",
        "200",
        "--rate-rows",
        "1500",
        "--quiet",
    ];
    let job = Job::start(&place, &slow);
    until("something committed", || cluster.committed("f", "files") > 300);
    job.kill();
    place.run(&["run", "-f", &from, "-t", "file:out?format=csv", "-j", "2"]).expect(0);
    let mut seen: BTreeMap<u64, u64> = BTreeMap::new();
    for file in std::fs::read_dir(place.path("out/m")).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        for line in text.lines() {
            let n = line.split(',').next_back().unwrap().parse().unwrap_or_else(|_| panic!("{line}"));
            *seen.entry(n).or_default() += 1;
        }
    }
    assert_eq!(seen.len(), 3_000);
    assert_eq!(cluster.committed("f", "files"), 3_000);
    // Nothing is left for another run.
    let report =
        place.run(&["run", "-f", &from, "-t", "file:out?format=csv", "--report", "json"]).expect(0).out();
    assert!(report.contains("\"rows_read\":0") || report.contains("\"rows_read\": 0"), "{report}");
}

/// A message that cannot be read costs itself, and its reject says which it was.
#[test]
fn poison_is_rejected_with_its_place() {
    let Some((_, cluster, server, place, database)) = world() else { return };
    cluster.create("poison", 1, &[]);
    cluster.send("poison", [(0, "m n=1i 1000"), (0, "m n=2i 2000\nm n=oops 3000\nm n=4i 4000")]);
    cluster.send_with("poison", "car-7", ("trace", "abc"), b"\xff\xfe");
    cluster.send("poison", [(0, "m n=5i 5000")]);
    let from = format!("kafka://{}?topics=poison&timeout=1500&format=line_influxdb", cluster.brokers);
    let to = server.dsn(&database);
    place.run(&["run", "-f", &from, "-t", &to, "--errors", "reject:bad.jsonl"]).expect(3);
    assert_eq!(server.psql(&database, "SELECT string_agg(n::text, ',' ORDER BY n) FROM m"), "1,2,4,5\n");
    let text = std::fs::read_to_string(place.path("bad.jsonl")).unwrap();
    let rejects: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rejects.len(), 2, "{text}");
    assert_eq!(
        (&rejects[0]["split"], &rejects[0]["message"]["offset"]),
        (&"kafka:poison[0]".into(), &1.into())
    );
    let message = &rejects[1]["message"];
    assert_eq!(
        (&message["offset"], &message["key"], &message["headers"][0][1], &rejects[1]["raw_base64"]),
        (&2.into(), &"car-7".into(), &"abc".into(), &"//4=".into())
    );
    // The functions of expressions know the same.
    let other = server.create_database();
    let to = server.dsn(&other);
    let mut arguments = vec!["run", "-f", &from, "-t", &to, "--errors", "skip"];
    for transform in [
        "compute:o=message_offset()",
        "compute:k=message_key()",
        "compute:p=partition()",
        "compute:t=topic()",
        "filter:message_offset() <> 1",
    ] {
        arguments.extend(["-T", transform]);
    }
    place.run(&arguments).expect(3);
    assert_eq!(
        server.psql(&other, "SELECT n, o, k, p, t FROM m ORDER BY n"),
        "1|0||0|poison\n5|3||0|poison\n"
    );
}

/// A target that stands still: the client pauses, stays in its group, and goes on.
#[test]
fn a_slow_database_pauses_consumption_and_nothing_else() {
    let Some((_, cluster, server, place, database)) = world() else { return };
    cluster.create("slow", 2, &[]);
    let pad = "x".repeat(2_000);
    let lines: Vec<String> = (0..60_000).map(|n| format!("m n={n}i,s=\"{pad}\" {n}000")).collect();
    cluster.send("slow", lines.iter().enumerate().map(|(n, line)| (n as i32 % 2, &**line)));
    server.psql(&database, "CREATE TABLE m (\"time\" timestamptz, n bigint, s text)");
    let from = format!(
        "kafka://{}?topics=slow&group=s&timeout=never&format=line_influxdb&kafka.session.timeout.ms=6000&kafka.heartbeat.interval.ms=500&kafka.max.poll.interval.ms=7000",
        cluster.brokers
    );
    let to = server.dsn(&database);
    let job = Job::start(&place, &["run", "-f", &from, "-t", &to, "-v", "--commit-rows", "2000"]);
    until("the first rows", || server.psql(&database, "SELECT count(*) > 0 FROM m") == "t\n");
    let lock = std::thread::scope(|scope| {
        let held = scope.spawn(|| server.psql(&database, "BEGIN; LOCK TABLE m; SELECT pg_sleep(9)"));
        let memory = || {
            let status = std::fs::read_to_string(format!("/proc/{}/status", job.pid())).unwrap();
            let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
            line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
        };
        let mut most = 0;
        while !held.is_finished() {
            most = most.max(memory());
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        held.join().unwrap();
        most
    });
    until("all rows", || server.psql(&database, "SELECT count(DISTINCT n) FROM m") == "60000\n");
    let ran = job.terminate();
    assert_eq!(ran.err().matches("assigns partitions").count(), 1, "{}", ran.err());
    assert_eq!(server.psql(&database, "SELECT count(*) FROM m"), "60000\n");
    // 120 MB are in the topic.
    assert!(lock < 400, "{lock} MiB");
}

/// One message for each thing that may be wrong.
#[test]
fn each_fault_has_its_message() {
    let Some((broker, cluster, server, place, database)) = world() else { return };
    cluster.create("faults", 2, &[]);
    let to = server.dsn(&database);
    let brokers = &cluster.brokers;
    let password = broker.with_password();
    let mut cases = vec![
        ("kafka://127.0.0.1:1?topics=faults&connect_timeout=2s".to_owned(), 5, "onnect"),
        (format!("kafka://{brokers}?topics=fualts"), 2, "did you mean `faults`?"),
        (format!("kafka://{brokers}?topic_partitions=faults:0..2"), 2, "no partition 2"),
        (format!("kafka://me:wrong@{password}?topics=faults&connect_timeout=3s"), 5, "uthentication"),
        (format!("kafka://{password}?topics=faults&connect_timeout=2s"), 5, "Kafka"),
        (format!("kafka://{brokers}?topics=faults&kafka.fetch.min.bytes=many"), 2, "fetch.min.bytes"),
        (format!("kafka://{brokers}?topics=faults&kafka.no.such=1"), 2, "no.such"),
    ];
    if cfg!(feature = "kafka-tls") {
        let (tls, ca) = broker.tls().expect("openssl is installed");
        cases.push((format!("kafka://{tls}?topics=faults&use_ssl=true&connect_timeout=3s"), 5, "ca="));
        cases.push((
            format!("kafka://{brokers}?topics=faults&ca={}&connect_timeout=2s", ca.display()),
            5,
            "Kafka",
        ));
        place
            .run(&["run", "-f", &format!("kafka://{tls}?topics=faults&ca={}", ca.display()), "-t", &to])
            .expect(0);
        for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512"] {
            let rest = format!("@{password}?topics=faults&sasl_mechanism={mechanism}");
            cases.push((format!("kafka://me:wrong{rest}&connect_timeout=3s"), 5, "uthentication"));
            place.run(&["run", "-f", &format!("kafka://me:s3cret{rest}"), "-t", &to]).expect(0);
        }
    } else {
        cases.push((format!("kafka://{brokers}?topics=faults&use_ssl=true"), 2, "kafka-tls"));
    }
    for (from, status, expected) in cases {
        let ran = place.run(&["run", "-f", &from, "-t", &to, "--retries", "0"]);
        let err = ran.err();
        println!("{from}\n{err}");
        assert!(err.contains(expected) && !err.contains("wrong@"), "{from}: {err}");
        assert_eq!(ran.status() != 0, status != 0, "{from}: {err}");
    }
    place.run(&["run", "-f", &format!("kafka://me:s3cret@{password}?topics=faults"), "-t", &to]).expect(0);
    // Deleted while it is read.
    cluster.create("shortlived", 1, &[]);
    cluster.send("shortlived", [(0, "m n=1i 1000")]);
    let from = format!(
        "kafka://{brokers}?topics=shortlived&timeout=never&format=line_influxdb&kafka.topic.metadata.refresh.interval.ms=300&kafka.topic.metadata.propagation.max.ms=500"
    );
    let mut job = Job::start(&place, &["run", "-f", &from, "-t", &to, "--retries", "0", "--quiet"]);
    until("the row", || server.psql(&database, "SELECT to_regclass('m') IS NOT NULL") == "t\n");
    cluster.delete("shortlived");
    until("its end", || job.has_ended());
    let err = job.end().err();
    assert!(err.contains("was the topic deleted?"), "{err}");
}
