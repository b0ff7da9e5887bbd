//! From topic to topic: rows and offsets in one transaction.

use std::time::Duration;

use super::cluster::Cluster;
use super::read::world;
use crate::kill::kills;
use crate::support::{Job, until};

/// How often each number is there, for who reads committed messages alone.
fn seen(cluster: &Cluster, topic: &str, numbers: usize) -> Vec<u32> {
    let mut seen = vec![0_u32; numbers];
    for message in cluster.all(topic) {
        let n: usize =
            message.payload.split("n=").nth(1).unwrap().split('i').next().unwrap().parse().unwrap();
        seen[n] += 1;
    }
    seen
}

/// Two processes of a group copy a topic; killed at random, each row is in the other topic once.
#[test]
fn topic_to_topic_is_exactly_once_whoever_dies() {
    const MESSAGES: usize = 12_000;
    let Some((_, cluster, _, place, _)) = world() else { return };
    let (_, mut random) = kills();
    cluster.create("eos-in", 4, &[]);
    cluster.create("eos-out", 4, &[]);
    // Two rows a message, and one message in a hundred whose rows are all filtered: its offset is committed all the same.
    let line = |n: usize| match n % 100 {
        7 => "skip n=0i 1".to_owned(),
        _ => format!("m n={n}i {n}000\nm n={}i {n}000", n + MESSAGES),
    };
    let lines: Vec<String> = (0..MESSAGES).map(line).collect();
    cluster.send("eos-in", lines.iter().enumerate().map(|(n, line)| (n as i32 % 4, &**line)));
    let from = format!(
        "kafka://{}?topics=eos-in&group=eos&timeout=never&format=line_influxdb&latency=200ms&kafka.session.timeout.ms=1500&kafka.heartbeat.interval.ms=300",
        cluster.brokers
    );
    // What a process leaves open when it is killed is ended after this.
    let to = |id: char| {
        format!(
            "kafka://{}?topic=eos-out&format=line_influxdb&transactional_id=eos-{id}&kafka.transaction.timeout.ms=5000",
            cluster.brokers
        )
    };
    let filter = "filter:table_name() <> 'skip'";
    let start = |id: char| {
        let to = to(id);
        let mut arguments = vec!["run", "-f", &from, "-t", &to, "-T", filter, "--job", "eos", "--quiet"];
        arguments.extend(["--commit-rows", "500", "--rate-rows", "3000", "--retries", "60"]);
        Job::start(&place, &arguments)
    };
    let to_a = to('a');
    let plan = place.run(&["run", "-f", &from, "-t", &to_a, "--dry-run"]).expect(0).out();
    assert!(plan.contains("tables: known only when data is read") || plan.contains("exactly-once"), "{plan}");
    let committed = || cluster.committed("eos", "eos-in") as usize;
    let mut jobs = vec![start('a'), start('b')];
    for step in 1..=4 {
        until("more commits", || committed() >= step * MESSAGES / 8);
        std::thread::sleep(Duration::from_millis(random(300)));
        let dies = random(2) as usize;
        jobs.remove(dies).kill();
        jobs.insert(dies, start(['a', 'b'][dies]));
    }
    until("all commits", || committed() == MESSAGES);
    for mut job in jobs {
        assert!(!job.has_ended(), "{}", job.end().err());
        job.terminate().expect(143);
    }
    let seen = seen(&cluster, "eos-out", 2 * MESSAGES);
    for (n, count) in seen.into_iter().enumerate() {
        let expected = u32::from(n % MESSAGES % 100 != 7);
        assert_eq!(count, expected, "row {n}");
    }
}

/// A message that is larger than a batch is committed in parts, and goes on where it was.
#[test]
fn a_message_of_many_batches_goes_on_within() {
    const ROWS: usize = 20_000;
    let Some((_, cluster, _, place, _)) = world() else { return };
    cluster.create("eos-large", 1, &[("max.message.bytes", "10000000")]);
    cluster.create("eos-parts", 1, &[]);
    let text: Vec<String> = (0..ROWS).map(|n| format!("m n={n}i {n}")).collect();
    cluster.send("eos-large", [(0, &*text.join("\n"))]);
    let from = format!(
        "kafka://{}?topics=eos-large&group=large&timeout=never&format=line_influxdb",
        cluster.brokers
    );
    let to = format!(
        "kafka://{}?topic=eos-parts&format=line_influxdb&transactional_id=parts&kafka.transaction.timeout.ms=10000",
        cluster.brokers
    );
    let mut arguments = vec!["run", "-f", &from, "-t", &to, "--quiet", "--report", "json"];
    arguments.extend(["--commit-rows", "1000"]);
    let job = Job::start(&place, &[&arguments[..], &["--rate-rows", "1000"]].concat());
    until("a part", || cluster.all("eos-parts").len() >= 1_000);
    job.kill();
    let before = cluster.all("eos-parts").len();
    assert!(before < ROWS, "it was killed too late to show anything");
    let job = Job::start(&place, &arguments);
    until("all of it", || cluster.committed("large", "eos-large") == 1);
    let ran = job.terminate().expect(143);
    assert!(seen(&cluster, "eos-parts", ROWS).iter().all(|count| *count == 1));
    let report: serde_json::Value = serde_json::from_str(&ran.out()).unwrap();
    assert_eq!(report["delivery"], "exactly-once", "{report}");
    assert!(report["rows_read"].as_u64().unwrap() < ROWS as u64, "{report}");
}

/// Without an id, without a group, or into another cluster, nothing of the kind is promised.
#[test]
fn what_does_not_go_together_is_at_least_once() {
    let Some((_, cluster, _, place, _)) = world() else { return };
    cluster.create("eos-plain", 1, &[]);
    cluster.send("eos-plain", [(0, "m n=1i 1")]);
    let brokers = &cluster.brokers;
    let from =
        |more: &str| format!("kafka://{brokers}?topics=eos-plain&timeout=1500&format=line_influxdb{more}");
    let to =
        |more: &str| format!("kafka://{brokers}?topic=eos-other&partitions=1&format=line_influxdb{more}");
    for (from, to, delivery) in [
        (from("&group=eos-1"), to("&transactional_id=t1"), "exactly-once"),
        (from("&group=eos-2"), to(""), "at-least-once"),
        (from(""), to("&transactional_id=t3"), "at-least-once"),
    ] {
        let out = place.run(&["run", "-f", &from, "-t", &to, "--report", "json"]).expect(0).out();
        let report: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(report["delivery"], delivery, "{from} {to}");
    }
    assert_eq!(cluster.committed("eos-1", "eos-plain"), 1);
    assert_eq!(cluster.committed("eos-2", "eos-plain"), 1);
    // One of two processes with one id ends, and says why.
    let (from, to) =
        (from("&group=eos-4").replace("timeout=1500", "timeout=never"), to("&transactional_id=t4"));
    let arguments = ["run", "-f", &from, "-t", &to, "--quiet", "--rate-rows", "100"];
    let lines: Vec<String> = (0..3_000).map(|n| format!("m n={n}i {n}")).collect();
    cluster.send("eos-plain", lines.iter().map(|line| (0, &**line)));
    let mut first = Job::start(&place, &arguments);
    until("a commit", || cluster.committed("eos-4", "eos-plain") > 0 || first.has_ended());
    let second = Job::start(&place, &arguments);
    until("the end of the first", || first.has_ended());
    let err = first.end().err();
    assert!(err.contains("transactional_id over"), "{err}");
    second.terminate().expect(143);
}

/// A row that the target's topic does not take: no offset is committed beyond it before it is told.
#[test]
fn a_refused_row_is_not_passed_over() {
    let Some((_, cluster, _, place, _)) = world() else { return };
    cluster.create("refused-in", 1, &[]);
    cluster.create("refused-out", 1, &[]);
    let long = format!("m s=\"{}\" 2", "x".repeat(4_000));
    cluster.send("refused-in", ["m n=1i 1", &long, "m n=3i 3"].into_iter().map(|line| (0, line)));
    let from = format!(
        "kafka://{}?topics=refused-in&group=refused&timeout=3s&format=line_influxdb",
        cluster.brokers
    );
    let to = format!(
        "kafka://{}?topic=refused-out&format=line_influxdb&transactional_id=refused&kafka.message.max.bytes=2000",
        cluster.brokers
    );
    let run = |more: &[&str]| {
        let mut arguments =
            vec!["run", "-f", &from, "-t", &to, "--job", "refused", "--quiet", "--retries", "0"];
        arguments.extend(more);
        place.run(&arguments)
    };
    // Again and again, until somebody says what is to become of it.
    for _ in 0..2 {
        let said = run(&[]).expect(1).err();
        assert!(said.contains("2000") || said.contains("too large"), "{said}");
        assert!(cluster.committed("refused", "refused-in") <= 1);
        assert!(cluster.all("refused-out").is_empty());
    }
    run(&["--errors", "reject:refused.jsonl"]).expect(3);
    let rejects = std::fs::read_to_string(place.path("refused.jsonl")).unwrap();
    assert_eq!((rejects.lines().count(), rejects.contains("message_too_large")), (1, true), "{rejects}");
    let sent: Vec<_> = cluster.all("refused-out").into_iter().map(|message| message.payload).collect();
    assert_eq!(sent, ["m n=1i 1", "m n=3i 3"]);
    assert_eq!(cluster.committed("refused", "refused-in"), 3);
}
