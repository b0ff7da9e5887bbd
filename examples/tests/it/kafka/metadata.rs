//! Where reading begins, and what messages carry.

use kwsync_core::testkit::KafkaServer;

use super::read::world;
use crate::support::{Job, until};

/// Headers, of each message its own, as a column and in expressions, with the other columns that a message has.
#[test]
fn each_message_has_its_own_headers() {
    let Some((_, cluster, server, place, database)) = world() else { return };
    cluster.create("carried", 1, &[]);
    cluster.send_with("carried", "k0", ("trace", "t0"), b"{\"n\": 0}");
    cluster.send("carried", [(0, "{\"n\": 1}")]);
    cluster.send_with("carried", "k2", ("span", "s2"), b"{\"n\": 2}");
    let parser = r#"{"parse":{"ts":{"as":"timestamp(ms)"},"topic":{"as":"varchar","alias":"t"},"partition":{"as":"int","alias":"p"},"offset":{"as":"bigint","alias":"o"},"key":{"as":"varchar","alias":"k"},"headers":{"as":"json","alias":"h"},"value":{"json":["n::int"]}},"model":[{"name":"d_{t}","using":"carried","tags":["t","p"],"columns":["ts","o","k","h","n"]}]}"#;
    let from = format!("kafka://{}?topics=carried&timeout=1500", cluster.brokers);
    let to = server.dsn(&database);
    place
        .run(&[
            "run",
            "-f",
            &from,
            "-t",
            &to,
            "--parser",
            parser,
            "-T",
            "compute:trace=message_header('trace')",
        ])
        .expect(0);
    let sql = "SELECT t, p, o, k, h->>'trace', h->>'span', trace, n, now() - ts < interval '1 hour' FROM carried ORDER BY o";
    assert_eq!(
        server.psql(&database, sql),
        "carried|0|0|k0|t0||t0|0|t\ncarried|0|1|||||1|t\ncarried|0|2|k2||s2||2|t\n"
    );
}

/// The first message of a time or later; what comes from now on; the beginning.
#[test]
fn reading_begins_where_it_is_told() {
    let Some((_, cluster, server, place, _)) = world() else { return };
    // They are of times long past.
    cluster.create("begun", 2, &[("retention.ms", "-1")]);
    let base = 1_700_000_000_000_i64;
    for n in 0..20 {
        cluster.send_at("begun", (n % 2) as i32, base + n * 1_000, &format!("m n={n}i {n}000"));
    }
    for (fallback, expected) in [
        ("Earliest".to_owned(), "20|0"),
        (format!("ByTime({})", base + 12_000), "8|12"),
        // Between two messages, and before the first one.
        (format!("ByTime({})", base + 12_500), "7|13"),
        (format!("ByTime({})", base - 1), "20|0"),
        (format!("bytime({})", base + 3_600_000), "0|"),
        ("Latest".to_owned(), "0|"),
    ] {
        for group in ["", "&group=by-"] {
            let group = if group.is_empty() {
                String::new()
            } else {
                format!("{group}{}", expected.replace('|', "-")) + &fallback
            };
            let database = server.create_database();
            server.psql(&database, "CREATE TABLE m (\"time\" timestamptz, n bigint)");
            let from = format!(
                "kafka://{}?topics=begun&timeout=1500&format=line_influxdb&fallback_offset={fallback}{group}",
                cluster.brokers
            );
            place.run(&["run", "-f", &from, "-t", &server.dsn(&database)]).expect(0);
            assert_eq!(
                server.psql(&database, "SELECT count(*), min(n) FROM m").trim(),
                expected,
                "{fallback} {group}"
            );
        }
    }
}

/// What the retention has deleted before it was read is told, and passed over only when that is asked for; so is a topic that
/// was made anew behind the job's back.
#[test]
fn messages_that_are_gone_are_told() {
    let Some((_, cluster, server, place, database)) = world() else { return };
    cluster.create("leaky", 2, &[]);
    let send = |topic: &str, numbers: std::ops::Range<i32>| {
        let lines: Vec<String> = numbers.map(|n| format!("m n={n}i {n}000")).collect();
        cluster.send(topic, lines.iter().enumerate().map(|(at, line)| (at as i32 % 2, &**line)));
    };
    send("leaky", 0..10);
    server.psql(&database, "CREATE TABLE m (\"time\" timestamptz, n bigint)");
    let from =
        format!("kafka://{}?topics=leaky&group=leaky&timeout=1500&format=line_influxdb", cluster.brokers);
    let to = server.dsn(&database);
    let numbers = || server.psql(&database, "SELECT string_agg(n::text, ' ' ORDER BY n) FROM m");
    place.run(&["run", "-f", &from, "-t", &to]).expect(0);
    // Of each partition the first five are read; numbers 10, 12 and 14 go from the first one.
    send("leaky", 10..20);
    cluster.delete_before("leaky", 0, 8);
    let err = place.run(&["run", "-f", &from, "-t", &to, "--retries", "0"]).expect(1).err();
    assert!(err.contains("leaky[0]") && err.contains("lost_messages=skip"), "{err}");
    place.run(&["run", "-f", &format!("{from}&lost_messages=skip"), "-t", &to]).expect(0);
    assert_eq!(numbers(), "0 1 2 3 4 5 6 7 8 9 11 13 15 16 17 18 19\n");
    // Made anew with one partition less, and with other messages.
    cluster.delete("leaky");
    until("the end of the topic", || !cluster.has("leaky"));
    cluster.create("leaky", 1, &[]);
    cluster.send("leaky", [(0, "m n=20i 20000")]);
    let err = place.run(&["run", "-f", &from, "-t", &to, "--retries", "0"]).expect(1).err();
    assert!(err.contains("leaky[0] at offset 10"), "{err}");
    place.run(&["run", "-f", &format!("{from}&lost_messages=skip"), "-t", &to]).expect(0);
    assert_eq!(numbers(), "0 1 2 3 4 5 6 7 8 9 11 13 15 16 17 18 19 20\n");
}

/// Silence ends a job only where nothing is left to come: a broker that is away for longer than the timeout does not.
#[test]
fn a_broker_that_is_away_ends_no_job() {
    let Some((_, _, server, place, database)) = world() else { return };
    let Some(own) = KafkaServer::start() else { return };
    let cluster = super::cluster::Cluster::new(&own);
    cluster.create("away", 2, &[]);
    cluster.create("empty", 1, &[]);
    let pad = "x".repeat(1_000);
    let lines: Vec<String> = (0..6_000).map(|n| format!("m s=\"{pad}\",n={n}i {n}000")).collect();
    cluster.send("away", lines.iter().enumerate().map(|(n, line)| (n as i32 % 2, &**line)));
    let to = server.dsn(&database);
    // Little of it is fetched ahead.
    let from = format!(
        "kafka://{}?topics=away&timeout=100ms&format=line_influxdb&kafka.queued.max.messages.kbytes=64&kafka.fetch.message.max.bytes=16384",
        cluster.brokers
    );
    server.psql(&database, "CREATE TABLE m (\"time\" timestamptz, s text, n bigint)");
    let mut arguments = vec!["run", "-f", &from, "-t", &to, "--rate-rows", "2000", "--commit-rows", "200"];
    arguments.extend(["--report", "json"]);
    let mut job = Job::start(&place, &arguments);
    let count = || server.psql(&database, "SELECT count(DISTINCT n) FROM m").trim().parse::<usize>().unwrap();
    until("the first rows", || count() > 500);
    own.restart();
    until("its end", || job.has_ended());
    job.end().expect(0);
    assert_eq!(server.psql(&database, "SELECT count(*), count(DISTINCT n) FROM m"), "6000|6000\n");
    // Where there is nothing, that is known.
    place.run(&["run", "-f", &from.replace("=away", "=empty"), "-t", "discard:"]).expect(0);
}

/// A target that stands still for a while has the client pause and fetch again what it had: nothing of it is missing, however
/// short the silence that ends the job.
#[test]
fn a_target_that_stands_still_ends_no_job() {
    let Some((_, cluster, server, place, database)) = world() else { return };
    cluster.create("standing", 2, &[]);
    let lines: Vec<String> = (0..40_000).map(|n| format!("m n={n}i {n}000")).collect();
    cluster.send("standing", lines.iter().enumerate().map(|(n, line)| (n as i32 % 2, &**line)));
    server.psql(&database, "CREATE TABLE m (\"time\" timestamptz, n bigint)");
    let from = format!("kafka://{}?topics=standing&timeout=20ms&format=line_influxdb", cluster.brokers);
    let to = server.dsn(&database);
    for seconds in ["0.4", "1.1", "2.3"] {
        server.psql(&database, "TRUNCATE m");
        // Nobody writes into the table while this sleeps.
        let hold = format!("BEGIN; LOCK TABLE m IN SHARE MODE; SELECT pg_sleep({seconds}); COMMIT");
        std::thread::scope(|scope| {
            let holder = scope.spawn(|| server.psql(&database, &hold));
            let held = "SELECT count(*) FROM pg_locks WHERE relation = 'm'::regclass AND mode = 'ShareLock' AND granted";
            until("the lock", || holder.is_finished() || server.psql(&database, held) == "1\n");
            place.run(&["run", "-f", &from, "-t", &to, "--restart", "--batch-rows", "500"]).expect(0);
        });
        assert_eq!(
            server.psql(&database, "SELECT count(*), count(DISTINCT n) FROM m"),
            "40000|40000\n",
            "{seconds} s"
        );
    }
}

/// The command that the README prints, with the addresses of the test in place of those it names.
#[test]
fn the_line_of_the_readme_runs_as_printed() {
    let Some((_, _, server, place, database)) = world() else { return };
    // A cluster of its own, since the names of topics and groups are the README's.
    let Some(own) = KafkaServer::start() else { return };
    let cluster = super::cluster::Cluster::new(&own);
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md")).unwrap();
    let lines: Vec<&str> =
        readme.lines().filter(|line| line.starts_with("kwsync run --from 'kafka://")).collect();
    assert_eq!(lines.len(), 1, "{lines:?}");
    let line = lines[0].split(" #").next().unwrap().trim();
    assert!(
        line.contains("kafka://broker:9092?") && line.contains("postgres://me@localhost/metrics"),
        "{line}"
    );
    let line = line
        .replace("broker:9092", &cluster.brokers)
        .replace("postgres://me@localhost/metrics", &format!("'{}'", server.dsn(&database)))
        .replacen("kwsync", &format!("exec {}", env!("CARGO_BIN_EXE_kwsync")), 1);
    cluster.create("metrics", 2, &[]);
    cluster.send("metrics", [(0, "cpu,host=a usage=0.5 1000"), (1, "cpu,host=b usage=1.5 2000")]);
    let job = crate::support::Job::of(place.command_of("/bin/sh", &["-c", &line]));
    let rows = || {
        let there = server.psql(&database, "SELECT to_regclass('cpu') IS NOT NULL") == "t\n";
        if there {
            server.psql(&database, "SELECT host, usage FROM cpu ORDER BY host")
        } else {
            String::new()
        }
    };
    crate::support::until("the rows", || rows() == "a|0.5\nb|1.5\n");
    crate::support::until("the offsets", || cluster.committed("g1", "metrics") == 2);
    job.terminate().expect(143);
}
