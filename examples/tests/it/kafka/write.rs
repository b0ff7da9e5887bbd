//! Into Kafka.

use super::cluster::Message;
use super::read::world;
use crate::support::{Job, until};

/// Rows go through topics in each of the four formats into PostgreSQL and back out into topics, and stay what they are.
#[test]
fn all_four_formats_there_and_back() {
    let Some((_, cluster, server, place, _)) = world() else { return };
    let points: String = (0..500)
        .map(|n| {
            format!(
                "cpu,host=h{},region=r{} usage={}.5 {}000000\n",
                n % 7,
                n % 3,
                n,
                1_700_000_000_000_u64 + n
            )
        })
        .collect();
    place.write("in.lp", &points);
    // Some formats have one value a metric, and all have milliseconds.
    let wide: String = (0..500)
        .map(|n| {
            format!(
                "cpu,host=h{},region=r{} usage={n}.5,n={n}i,up=t,note=\"it's \\\"{n}\\\"\" {}000000\n",
                n % 7,
                n % 3,
                1_700_000_000_000_u64 + n
            )
        })
        .collect();
    place.write("wide.lp", &wide);
    for (format, input, table) in [
        ("line_influxdb&precision=ms", "wide.lp", "cpu"),
        ("json_kaiwudb&precision=ms", "wide.lp", "cpu"),
        ("json_opentsdb&time_column=time", "in.lp", "cpu_usage"),
        ("line_opentsdb&time_column=time", "in.lp", "cpu_usage"),
    ] {
        let name = format.split('&').next().unwrap();
        let out =
            format!("kafka://{}?topic_prefix=out&key=tags&partitions=3&format={format}", cluster.brokers);
        let mut arguments = vec![
            "run",
            "-f",
            input,
            "-t",
            &out,
            "-T",
            "cast:time=timestamptz(ms)",
            "-T",
            "set-role:primary_tag=host,region",
        ];
        if input == "in.lp" {
            // One value a metric: a table of it, as OpenTSDB has it.
            arguments.extend(["-T", "rename-table:suffix:_usage", "-T", "rename-column:usage=value"]);
        }
        place.run(&arguments).expect(0);
        let topic = format!("out-{table}");
        let sent = cluster.all(&topic);
        assert_eq!(sent.len(), 500, "{format}");
        // A series stays in its partition.
        let partition = |host: &str| {
            let mut all: Vec<i32> = sent
                .iter()
                .filter(|message| {
                    message.key.as_deref().is_some_and(|key| key.starts_with(&format!("host={host},")))
                })
                .map(|message| message.partition)
                .collect();
            all.dedup();
            all.len()
        };
        assert!((1..=3).contains(&partition("h1")), "{format}");
        assert_eq!(sent[0].key.as_deref().map(|key| key.starts_with("host=h")), Some(true));
        let database = server.create_database();
        let read =
            |topic: &str| format!("kafka://{}?topics={topic}&timeout=1500&format={format}", cluster.brokers);
        let to = server.dsn(&database);
        place.run(&["run", "-f", &read(&topic), "-t", &to, "-T", "cast:time=timestamptz(ms)"]).expect(0);
        let there = server.psql(
            &database,
            &format!(
                "SELECT count(*), count(DISTINCT time), sum(usage)::text FROM (SELECT *{} FROM {table}) x",
                if input == "in.lp" { ", value AS usage" } else { "" }
            ),
        );
        assert_eq!(there, "500|500|125000\n", "{format}");
        if input == "wide.lp" {
            assert_eq!(
                server.psql(&database, "SELECT note, up, host FROM cpu WHERE n = 8"),
                "it's \"8\"|t|h1\n"
            );
        }
        // And out again.
        let back =
            format!("kafka://{}?topic=back-{name}&key=tags&partitions=3&format={format}", cluster.brokers);
        let from = format!("{}?tables={table}", server.dsn(&database));
        place
            .run(&[
                "run",
                "-f",
                &from,
                "-t",
                &back,
                "-T",
                "set-role:timestamp=time",
                "-T",
                "set-role:primary_tag=host,region",
            ])
            .expect(0);
        let sorted = |messages: Vec<Message>| {
            let mut all: Vec<_> =
                messages.into_iter().map(|message| (message.key, message.payload)).collect();
            all.sort_unstable();
            all
        };
        assert_eq!(sorted(cluster.all(&format!("back-{name}"))), sorted(sent), "{format}");
        cluster.delete(&topic);
        until("its end", || !cluster.has(&topic));
    }
}

/// With a transactional id a killed job leaves nothing that a reader of committed messages would see twice within a commit,
/// and the next run fences it off.
#[test]
fn transactions_are_whole() {
    let Some((_, cluster, _, place, _)) = world() else { return };
    cluster.create("whole", 2, &[]);
    place.write("in.lp", (0..20_000).map(|n| format!("m n={n}i {n}\n")).collect::<String>());
    let to = format!("kafka://{}?topic=whole&format=line_influxdb&transactional_id=t", cluster.brokers);
    let slow = [
        "run",
        "-f",
        "in.lp?split=lines",
        "-t",
        &to,
        "--commit-rows",
        "2000",
        "--rate-rows",
        "6000",
        "--quiet",
    ];
    let job = Job::start(&place, &slow);
    until("a commit", || cluster.all("whole").len() >= 2_000);
    job.kill();
    // A reader of committed messages sees the end of the one that died only when it is fenced off.
    place.run(&["run", "-f", "in.lp?split=lines", "-t", &to, "--commit-rows", "2000", "--quiet"]).expect(0);
    let mut seen = vec![0_u32; 20_000];
    for message in cluster.all("whole") {
        let n: usize =
            message.payload.split("n=").nth(1).unwrap().split('i').next().unwrap().parse().unwrap();
        seen[n] += 1;
    }
    assert!(seen.iter().all(|count| *count >= 1), "a row is missing");
    // At least once: what was committed and not recorded is there again, in whole commits.
    let twice = seen.iter().filter(|count| **count > 1).count();
    assert!(seen.iter().all(|count| *count <= 2) && twice <= 2_000 + 8_192, "{twice} rows are there twice");
}

/// A row that no message can hold costs itself; what the brokers refuse says so.
#[test]
fn faults_of_writing() {
    let Some((_, cluster, _, place, _)) = world() else { return };
    cluster.create("small", 1, &[]);
    let lines = format!("m s=\"a\" 1\nm s=\"{}\" 2\nm s=\"c\" 3\n", "x".repeat(3_000_000));
    place.write("in.lp", lines);
    let to = format!("kafka://{}?topic=small&format=line_influxdb&message_rows=3", cluster.brokers);
    let ran = place.run(&["run", "-f", "in.lp", "-t", &to, "--errors", "reject:bad.jsonl"]).expect(3);
    assert_eq!(cluster.all("small").len(), 2, "{}", ran.err());
    let rejects = std::fs::read_to_string(place.path("bad.jsonl")).unwrap();
    assert!(rejects.contains("message_too_large") && rejects.lines().count() == 1);
    place.write("fine.lp", "m s=\"a\" 1\n");
    for (to, expected) in [
        (
            format!(
                "kafka://{}?topic=none&create=never&format=line_influxdb&kafka.message.timeout.ms=2000&kafka.topic.metadata.propagation.max.ms=500",
                cluster.brokers
            ),
            "topic none",
        ),
        (format!("kafka://{}?key=nix", cluster.brokers), "no column \"nix\""),
        ("kafka://127.0.0.1:1?connect_timeout=1s".to_owned(), "nobody may listen"),
        (format!("kafka://{}?format=parquet", cluster.brokers), "parquet"),
    ] {
        let err = place.run(&["run", "-f", "fine.lp", "-t", &to, "--retries", "0"]).err();
        assert!(err.contains(expected), "{to}: {err}");
    }
    let plan = place.run(&["run", "-f", "in.lp", "-t", &to, "--dry-run"]).expect(0).out();
    assert!(plan.contains("topic small"), "{plan}");
}

/// A broker refuses a batch of messages as a whole for one that is too large: that one costs itself, and the others arrive.
#[test]
fn a_batch_that_the_brokers_refuse_costs_the_large_message() {
    let Some((_, cluster, _, place, _)) = world() else { return };
    // The client lets through what the topic does not take.
    cluster.create("narrow", 1, &[("max.message.bytes", "2000")]);
    let large = "x".repeat(5_000);
    let lines: String = (0..200)
        .map(|n| if n == 77 { format!("m s=\"{large}\" {n}\n") } else { format!("m s=\"{n}\" {n}\n") })
        .collect();
    place.write("in.lp", lines);
    let to = format!("kafka://{}?topic=narrow&format=line_influxdb", cluster.brokers);
    place.run(&["run", "-f", "in.lp", "-t", &to, "--errors", "reject:bad.jsonl"]).expect(3);
    let rejects = std::fs::read_to_string(place.path("bad.jsonl")).unwrap();
    assert_eq!(rejects.lines().count(), 1, "{rejects}");
    assert!(rejects.contains("message_too_large") && rejects.contains(&large), "{rejects}");
    let mut seen: Vec<String> = cluster.all("narrow").into_iter().map(|message| message.payload).collect();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 199);
    // In a transaction nothing of it can stay, and the job says so.
    let to = format!("{to}&transactional_id=narrow");
    let ran =
        place.run(&["run", "-f", "in.lp", "-t", &to, "--errors", "skip", "--retries", "0", "--restart"]);
    assert!(ran.status() != 0 && ran.err().contains("topic narrow"), "{}", ran.err());
}
