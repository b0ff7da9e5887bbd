//! Groups of consumers: how they are divided, and what their processes may not do.

use super::read::world;
use crate::support::{Job, until};

/// By the cooperative protocol a member that stays keeps what it has while another one comes and goes.
#[test]
fn a_cooperative_group_shares_and_hands_over() {
    let Some((_, cluster, server, place, database)) = world() else { return };
    cluster.create("cooperative", 4, &[]);
    let lines: Vec<String> = (0..12_000).map(|n| format!("m n={n}i {n}000")).collect();
    cluster.send("cooperative", lines.iter().enumerate().map(|(n, line)| (n as i32 % 4, &**line)));
    let from = format!(
        "kafka://{}?topics=cooperative&group=coop&timeout=never&format=line_influxdb&kafka.partition.assignment.strategy=cooperative-sticky&kafka.session.timeout.ms=2000&kafka.heartbeat.interval.ms=300",
        cluster.brokers
    );
    let to = server.dsn(&database);
    let mut arguments =
        vec!["run", "-f", &from, "-t", &to, "-v", "--commit-rows", "300", "--rate-rows", "2500"];
    arguments.extend(["--retries", "20"]);
    let count = || {
        let there = server.psql(&database, "SELECT to_regclass('m') IS NOT NULL");
        let sql = if there == "t\n" { "SELECT count(*) FROM m" } else { "SELECT 0" };
        server.psql(&database, sql).trim().parse::<usize>().unwrap()
    };
    let first = Job::start(&place, &arguments);
    until("the first rows", || count() > 500);
    let second = Job::start(&place, &arguments);
    until("rows of both", || count() > 5_000);
    second.kill();
    until("all rows", || count() >= 12_000);
    until("the last offsets", || cluster.committed("coop", "cooperative") == 12_000);
    let err = first.terminate().expect(143).err();
    assert_eq!(server.psql(&database, "SELECT count(*), count(DISTINCT n) FROM m"), "12000|12000\n");
    // It gave up only what the other one got, in one piece; an eager group takes everything away each time.
    let before = err.split("stopping: ").next().unwrap();
    let taken: Vec<&str> = before.lines().filter(|line| line.contains("takes partitions away")).collect();
    assert!(!taken.is_empty() && taken.iter().all(|line| !line.contains("partitions=4")), "{err}");
}

/// One process of several may neither start the job over nor empty the table of all.
#[test]
fn a_group_is_not_started_over() {
    let Some((_, cluster, server, place, database)) = world() else { return };
    cluster.create("shared", 1, &[]);
    cluster.send("shared", [(0, "m n=1i 1000")]);
    let from =
        format!("kafka://{}?topics=shared&group=over&timeout=1500&format=line_influxdb", cluster.brokers);
    let to = server.dsn(&database);
    place.run(&["run", "-f", &from, "-t", &to]).expect(0);
    let err = place.run(&["run", "-f", &from, "-t", &to, "--restart"]).expect(2).err();
    assert!(err.contains("cannot be started over") && err.contains("--reset-offsets"), "{err}");
    for mode in ["replace", "truncate"] {
        let ran = place.run(&["run", "-f", &from, "-t", &format!("{to}?mode={mode}")]);
        assert_ne!(ran.status(), 0, "{mode}");
        println!("{mode}: {}", ran.err());
        assert!(ran.err().contains(mode), "{}", ran.err());
    }
    assert_eq!(server.psql(&database, "SELECT count(*) FROM m"), "1\n");
    // Partitions that are read alone are no such thing: they are read again.
    let alone =
        from.replace("topics=shared", "topic_partitions=shared:0").replace("group=over", "group=alone");
    place.run(&["run", "-f", &alone, "-t", &to]).expect(0);
    assert_eq!(server.psql(&database, "SELECT count(*) FROM m"), "2\n");
}

/// Topics by a regular expression: those that match, and those that come to match while the job runs.
#[test]
fn topics_by_a_regular_expression() {
    let Some((_, cluster, server, place, database)) = world() else { return };
    for (n, topic) in ["plant.a", "plant.b", "plants", "other.plant.a"].into_iter().enumerate() {
        cluster.create(topic, 1, &[]);
        cluster.send(topic, [(0, &*format!("m n={n}i {n}000"))]);
    }
    server.psql(&database, "CREATE TABLE m (\"time\" timestamptz, n bigint)");
    let from = format!(
        "kafka://{}?topics_regex=plant[.].*&group=plants&timeout=never&format=line_influxdb&kafka.topic.metadata.refresh.interval.ms=300",
        cluster.brokers
    );
    let job = Job::start(&place, &["run", "-f", &from, "-t", &server.dsn(&database), "--quiet"]);
    let numbers = || server.psql(&database, "SELECT string_agg(n::text, ' ' ORDER BY n) FROM m");
    until("the rows of both", || numbers() == "0 1\n");
    cluster.create("plant.c", 1, &[]);
    cluster.send("plant.c", [(0, "m n=7i 7000")]);
    until("the row of the new topic", || numbers() == "0 1 7\n");
    job.terminate().expect(143);
    assert_eq!(numbers(), "0 1 7\n");
}
