//! Rejects as messages of a topic.

use std::collections::BTreeSet;

use kwsync_core::testkit::KafkaServer;

use super::cluster::Cluster;
use super::connect::{sink, stand_in};
use super::read::world;
use crate::support::{Job, until};

/// The record, its key and its headers are those of the message; headers beside them say where it stood, and why.
#[test]
fn poison_goes_to_a_topic_as_it_was() {
    let Some((_, cluster, server, place, database)) = world() else { return };
    cluster.create("toxic", 1, &[]);
    cluster.send("toxic", [(0, "m n=1i 1000"), (0, "m n=2i 2000\nm n=oops 3000\nm n=4i 4000")]);
    cluster.send_with("toxic", "car-7", ("trace", "abc"), b"\xff\xfe");
    cluster.send("toxic", [(0, "m n=5i 5000")]);
    let from = format!("kafka://{}?topics=toxic&timeout=1500&format=line_influxdb", cluster.brokers);
    let to = server.dsn(&database);
    let errors = format!("reject:kafka://{}/toxic-dead", cluster.brokers);
    let arguments = ["run", "-f", &from, "-t", &to, "--errors", &errors, "--job", "toxic"];
    let plan = place.run(&[&arguments[..], &["--dry-run"]].concat()).expect(0).out();
    assert!(plan.contains(&format!("rejects go to topic toxic-dead of Kafka {}", cluster.brokers)), "{plan}");
    assert!(!cluster.has("toxic-dead"), "a dry run makes nothing");
    let ran = place.run(&[&arguments[..], &["--log-errors"]].concat()).expect(3);
    assert_eq!(ran.err().matches("record refused: ").count(), 2, "{}", ran.err());
    assert_eq!(server.psql(&database, "SELECT string_agg(n::text, ',' ORDER BY n) FROM m"), "1,2,4,5\n");
    let letters = cluster.all("toxic-dead");
    assert_eq!(letters.len(), 2);
    // Of a message with several records that one alone which was refused: the others are in the database.
    let first = &letters[0];
    assert_eq!((&*first.payload, &first.key), ("m n=oops 3000", &None));
    for (name, value) in [
        ("__connect.errors.topic", "toxic"),
        ("__connect.errors.partition", "0"),
        ("__connect.errors.offset", "1"),
        ("__connect.errors.connector.name", "toxic"),
        ("__connect.errors.stage", "VALUE_CONVERTER"),
        ("kwsync.stage", "decode"),
        ("kwsync.split", "kafka:toxic[0]"),
        ("kwsync.format", "line_influxdb"),
        ("kwsync.line", "2"),
        ("kwsync.column", "5"),
        ("kwsync.byte", "16"),
        ("kwsync.record", "2"),
    ] {
        assert_eq!(first.header(name), Some(value), "{name} of {first:?}");
    }
    let code = first.header("kwsync.code").unwrap();
    assert_eq!(first.header("__connect.errors.exception.class.name"), Some(code));
    assert!(!first.header("__connect.errors.exception.message").unwrap().is_empty());
    let second = &letters[1];
    assert_eq!((&*second.bytes, second.key.as_deref()), (&b"\xff\xfe"[..], Some("car-7")));
    assert_eq!((second.header("trace"), second.header("__connect.errors.offset")), (Some("abc"), Some("2")));
    let original = cluster.all("toxic");
    assert_eq!(second.timestamp, original[2].timestamp);
    // They are messages as any: mended, they are read from there.
    cluster.send("toxic-dead", [(0, "m n=3i 3000")]);
    let from = from.replace("topics=toxic", "topics=toxic-dead");
    place.run(&["run", "-f", &from, "-t", &to, "--errors", "skip"]).expect(3);
    assert_eq!(server.psql(&database, "SELECT string_agg(n::text, ',' ORDER BY n) FROM m"), "1,2,3,4,5\n");
}

/// Rows that a database refuses, and records of a file, go there, too; without context headers if so wished.
#[test]
fn rejects_of_other_sources_and_stages() {
    let Some((_, cluster, server, place, database)) = world() else { return };
    place.write("in.lp", "m n=1i 1000\nm n=-2i 2000\nm n=x 3000\n");
    server.psql(&database, "CREATE TABLE m (\"time\" timestamptz, n bigint CHECK (n > 0))");
    let to = server.dsn(&database);
    let run = |topic: &str, more: &[&str]| {
        let errors = format!("reject:kafka://{}/{topic}?partitions=1", cluster.brokers);
        place.run(&[&["run", "-f", "in.lp", "-t", &to, "--errors", &errors][..], more].concat())
    };
    run("other-dead", &[]).expect(3);
    let letters = cluster.all("other-dead");
    let mut seen: Vec<_> = letters
        .iter()
        .map(|letter| {
            let of = |name| letter.header(name).unwrap();
            (&*letter.payload, of("kwsync.stage"), of("__connect.errors.stage"), of("kwsync.line"))
        })
        .collect();
    seen.sort_unstable();
    assert_eq!(
        seen,
        [("m n=-2i 2000", "write", "TASK_PUT", "2"), ("m n=x 3000", "decode", "VALUE_CONVERTER", "3")]
    );
    assert!(letters[0].header("__connect.errors.topic").is_none() && letters[0].key.is_none());
    // A budget counts them, and whoever looks why it is spent finds them.
    let ran = run("spent-dead", &["--max-errors", "1", "--restart"]).expect(4);
    assert!(ran.err().contains("2 of 3 records rejected, 1 allowed"), "{}", ran.err());
    assert!(!cluster.all("spent-dead").is_empty());
    let errors = format!("reject:kafka://{}/bare-dead?context_headers=false", cluster.brokers);
    place.run(&["run", "-f", "in.lp", "-t", "discard:", "--errors", &errors]).expect(3);
    assert!(cluster.all("bare-dead").iter().all(|letter| letter.headers.is_empty()));
}

/// Killed at any moment and started again: every poison message has its dead letter, and every row is there once.
#[test]
fn no_dead_letter_is_missing_whoever_is_killed() {
    let Some((_, cluster, server, place, database)) = world() else { return };
    cluster.create("plague", 2, &[]);
    let good = |n: usize| n % 10 != 3;
    let text = |n: usize| if good(n) { format!("m n={n}i {n}000") } else { format!("m n=bad{n} {n}000") };
    let lines: Vec<String> = (0..20_000).map(text).collect();
    cluster.send("plague", lines.iter().enumerate().map(|(n, line)| (n as i32 % 2, &**line)));
    let from = format!(
        "kafka://{}?topics=plague&group=p&timeout=never&format=line_influxdb&kafka.session.timeout.ms=1500&kafka.heartbeat.interval.ms=300",
        cluster.brokers
    );
    let to = server.dsn(&database);
    let errors = format!("reject:kafka://{}/plague-dead", cluster.brokers);
    let mut arguments = vec!["run", "-f", &from, "-t", &to, "--errors", &errors, "--quiet"];
    arguments.extend(["--commit-rows", "500", "--rate-rows", "6000", "--retries", "20"]);
    let count = || {
        let there = server.psql(&database, "SELECT to_regclass('m') IS NOT NULL");
        let sql = if there == "t\n" { "SELECT count(*) FROM m" } else { "SELECT 0" };
        server.psql(&database, sql).trim().parse::<usize>().unwrap()
    };
    for aim in [1_500, 6_000, 11_000] {
        let job = Job::start(&place, &arguments);
        until("more rows", || count() >= aim);
        job.kill();
    }
    let job = Job::start(&place, &arguments);
    until("all rows", || count() >= 18_000);
    until("the last offsets", || cluster.committed("p", "plague") == 20_000);
    job.terminate().expect(143);
    assert_eq!(server.psql(&database, "SELECT count(*), count(DISTINCT n) FROM m"), "18000|18000\n");
    let letters = cluster.all("plague-dead");
    let dead: BTreeSet<&str> = letters.iter().map(|letter| &*letter.payload).collect();
    let poison: BTreeSet<&str> =
        lines.iter().enumerate().filter(|(n, _)| !good(*n)).map(|(_, line)| &**line).collect();
    assert_eq!(dead, poison);
    // Those that are there twice say that they are the same.
    let places: BTreeSet<_> = letters
        .iter()
        .map(|letter| (letter.header("__connect.errors.partition"), letter.header("__connect.errors.offset")))
        .collect();
    assert_eq!(places.len(), 2_000);
}

/// Brokers of dead letters that are gone stop the job with a message, and nothing is committed without its dead letter.
#[test]
fn brokers_that_are_gone_lose_no_reject() {
    let Some((_, cluster, server, place, database)) = world() else { return };
    let Some(other) = KafkaServer::start() else { return };
    cluster.create("orphans", 1, &[]);
    cluster.send("orphans", [(0, "m n=1i 1000")]);
    let from = format!(
        "kafka://{}?topics=orphans&group=o&timeout=never&format=line_influxdb&kafka.session.timeout.ms=2000&kafka.heartbeat.interval.ms=300",
        cluster.brokers
    );
    let to = server.dsn(&database);
    let errors = format!(
        "reject:kafka://{}/orphans-dead?kafka.message.timeout.ms=1500&connect_timeout=2s",
        other.brokers()
    );
    let arguments = ["run", "-f", &from, "-t", &to, "--errors", &errors, "--quiet", "--retries", "0"];
    let mut job = Job::start(&place, &arguments);
    until("the row", || cluster.committed("o", "orphans") == 1 || job.has_ended());
    other.stop();
    cluster.send("orphans", [(0, "m n=2i 2000\nm n=bad 3000")]);
    until("its end", || job.has_ended());
    let err = job.end().err();
    assert!(err.contains("1 rejects do not get to topic orphans-dead of Kafka"), "{err}");
    assert_eq!(cluster.committed("o", "orphans"), 1);
    assert_eq!(server.psql(&database, "SELECT count(*) FROM m"), "1\n");
    // Nor does a job begin without them.
    let err = place.run(&arguments).err();
    assert!(err.contains("rejects cannot go to topic orphans-dead of Kafka"), "{err}");
    other.restart();
    let job = Job::start(&place, &arguments);
    until("the rest", || cluster.committed("o", "orphans") == 2);
    job.terminate().expect(143);
    assert_eq!(server.psql(&database, "SELECT count(*) FROM m"), "2\n");
    let letters = Cluster::new(&other).all("orphans-dead");
    assert_eq!(letters.iter().map(|letter| &*letter.payload).collect::<Vec<_>>(), ["m n=bad 3000"]);
}

/// What may be wrong with the place of dead letters is told before anything is read.
#[test]
fn mistakes_in_the_place_of_dead_letters() {
    let Some((broker, cluster, _, place, _)) = world() else { return };
    cluster.create("dead-faults", 1, &[]);
    place.write("in.lp", "m n=1i 1000\n");
    let (brokers, password) = (&cluster.brokers, broker.with_password());
    for (errors, status, expected) in [
        (
            format!("reject:kafak://{brokers}/dead-faults"),
            2,
            "there is no dead-letter target `kafak`, did you mean `kafka`?",
        ),
        ("reject:mqtt://h/dead".to_owned(), 2, "`mqtt` is a source, and no dead-letter target"),
        (format!("reject:kafka://{brokers}/dead-faults?creat=never"), 2, "did you mean `create`?"),
        (format!("reject:kafka://{brokers}"), 2, "no topic is named"),
        (format!("reject:kafka://{brokers}/dead-fautls?create=never"), 1, "did you mean `dead-faults`?"),
        (format!("reject:kafka://{brokers}/threefold?replication=3"), 1, "replication=1"),
        ("reject:kafka://127.0.0.1:1/dead?connect_timeout=1s".to_owned(), 1, "nobody may listen"),
        (format!("reject:kafka://me:hunter2@{password}/dead-faults?connect_timeout=2s"), 1, "uthentication"),
        (format!("reject:kafka://{brokers}/dead-faults?kafka.no.such=hunter2"), 2, "no.such"),
    ] {
        let ran = place.run(&["run", "-f", "in.lp", "-t", "discard:", "--errors", &errors, "--retries", "0"]);
        let err = ran.err();
        assert!(err.contains(expected) && !err.contains("hunter2"), "{errors}: {err}");
        assert_eq!(ran.status() == 2, status == 2, "{errors}: {err}");
        assert_ne!(ran.status(), 0, "{errors}");
    }
    let ran = place.run(&[
        "convert",
        "-f",
        "line_influxdb",
        "-t",
        "ndjson",
        "in.lp",
        "--errors",
        "reject:kafka://h/t",
    ]);
    assert!(ran.expect(2).err().contains("`kwsync run` takes addresses"));
}

/// What a sink of Kafka Connect says of errors holds here: its topic, its headers, its log.
#[test]
fn a_connector_has_its_dead_letter_queue() {
    let Some((_, cluster, _, place, _)) = world() else { return };
    let (_runtime, kwdb) = stand_in();
    cluster.create("queue", 1, &[]);
    cluster.send_with("queue", "k1", ("trace", "abc"), b"{\"table\": 7}");
    let with = |keys: &str| {
        sink(&kwdb, "queue").replace("\"tasks.max\": \"5\"", &format!("\"tasks.max\": 1, {keys}"))
    };
    let queue = r#""errors.tolerance": "all", "errors.deadletterqueue.topic.name": "queue-dead",
        "errors.deadletterqueue.topic.replication.factor": 1, "errors.deadletterqueue.context.headers.enable": true,
        "errors.log.enable": true, "errors.log.include.messages": true"#;
    place.write("sink.json", with(queue));
    let brokers = ["--bootstrap-servers", &*cluster.brokers, "--quiet"];
    let mut job = Job::start(&place, &[&["connect", "sink.json"][..], &brokers].concat());
    until("the offset", || cluster.committed("connect-KwdbSinkConnector", "queue") == 1 || job.has_ended());
    let err = job.terminate().expect(143).err();
    assert!(err.contains("record refused: ") && err.contains("offset=0"), "{err}");
    let letters = cluster.all("queue-dead");
    assert_eq!(letters.len(), 1);
    let letter = &letters[0];
    assert_eq!((&*letter.payload, letter.key.as_deref()), ("{\"table\": 7}", Some("k1")));
    assert_eq!(letter.header("trace"), Some("abc"));
    assert_eq!(letter.header("__connect.errors.connector.name"), Some("KwdbSinkConnector"));
    assert_eq!(letter.header("__connect.errors.topic"), Some("queue"));
    // The framework's default is three replicas, and here is one broker.
    let queue =
        r#""errors.tolerance": "all", "errors.deadletterqueue.topic.name": "queue-three", "max.retries": 0"#;
    place.write("three.json", with(queue).replace("\"max.retries\": 3,", ""));
    let err = place.run(&[&["connect", "three.json"][..], &brokers].concat()).err();
    assert!(err.contains("errors.deadletterqueue.topic.replication.factor"), "{err}");
}
