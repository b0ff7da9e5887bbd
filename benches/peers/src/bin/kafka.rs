//! Messages of a real Kafka into a real PostgreSQL by `kwsync run`: how many a second, where the time goes, and how soon a
//! message is a committed row. Arguments: rows in thousands (default 1000), rounds (default 3), the kwsync binary (default
//! target/release/kwsync).

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use kwsync_bench::line_protocol::{Kind, generate};
use kwsync_core::testkit::{KafkaServer, PgServer};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

type Failure = Box<dyn std::error::Error>;

/// CPU seconds of a run, by who spent them. Threads of the client library, the thread that takes messages from it, and all
/// others of `kwsync`, which decode and encode; and the servers.
#[derive(Clone, Copy, Debug, Default)]
struct Spent {
    library: f64,
    taking: f64,
    workers: f64,
    postgres: f64,
    broker: f64,
}

impl Spent {
    fn kwsync(&self) -> f64 {
        self.library + self.taking + self.workers
    }

    fn all(&self) -> f64 {
        self.kwsync() + self.postgres + self.broker
    }
}

/// Ticks of a `stat` below /proc, those of children that have ended apart, and the name.
fn stat(path: &std::path::Path) -> Option<(String, f64, f64)> {
    let text = std::fs::read_to_string(path).ok()?;
    let (before, after) = text.rsplit_once(')')?;
    let name = before.split_once('(')?.1.to_owned();
    let fields: Vec<f64> = after.split_whitespace().map(|field| field.parse().unwrap_or(0.0)).collect();
    // A hundred ticks are a second on Linux, whatever the machine.
    Some((name, (fields.get(11)? + fields.get(12)?) / 100.0, (fields.get(13)? + fields.get(14)?) / 100.0))
}

/// What all processes of this name have spent, with those of their children that have ended.
fn of_processes(name: &str) -> f64 {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let found = processes.filter_map(|process| stat(&process.path().join("stat")));
    found.filter(|(known, ..)| known == name).map(|(_, own, ended)| own + ended).sum()
}

/// Runs a command of `kwsync` to its end: wall seconds, and who spent how much CPU time meanwhile. What a thread spends in
/// its last hundredths of a second is not seen.
fn timed(command: &str) -> Result<(f64, Spent), Failure> {
    let before = (of_processes("postgres"), of_processes("java"));
    let began = Instant::now();
    let script = format!("exec {command}");
    let mut child = Command::new("/bin/sh").args(["-c", &script]).stdout(Stdio::null()).spawn()?;
    let tasks = PathBuf::from(format!("/proc/{}/task", child.id()));
    let mut threads: HashMap<std::ffi::OsString, (String, f64)> = HashMap::new();
    let status = loop {
        for task in std::fs::read_dir(&tasks).into_iter().flatten().flatten() {
            if let Some((name, spent, _)) = stat(&task.path().join("stat")) {
                threads.insert(task.file_name(), (name, spent));
            }
        }
        match child.try_wait()? {
            Some(status) => break status,
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    };
    let wall = began.elapsed().as_secs_f64();
    if !status.success() {
        return Err(format!("{status}: {command}").into());
    }
    let mut spent = Spent {
        postgres: of_processes("postgres") - before.0,
        broker: of_processes("java") - before.1,
        ..Spent::default()
    };
    for (name, seconds) in threads.into_values() {
        match &*name {
            name if name.starts_with("rdk:") => spent.library += seconds,
            "kwsync-kafka" => spent.taking += seconds,
            _ => spent.workers += seconds,
        }
    }
    Ok((wall, spent))
}

/// Reads a topic by the client alone, two clients for its four partitions: wall seconds.
fn drain(brokers: &str, topic: &str, messages: usize) -> Result<f64, Failure> {
    let began = Instant::now();
    let read = |first: i32| -> Result<usize, KafkaError> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("group.id", "drain")
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .set("fetch.queue.backoff.ms", "20")
            .create()?;
        let mut list = TopicPartitionList::new();
        for partition in first..first + 2 {
            list.add_partition_offset(topic, partition, Offset::Beginning)?;
        }
        consumer.assign(&list)?;
        let (mut open, mut found) = (2, 0);
        while open > 0 {
            match consumer.poll(Duration::from_millis(100)) {
                Some(Ok(_)) => found += 1,
                Some(Err(KafkaError::PartitionEOF(_))) => open -= 1,
                Some(Err(fault)) => return Err(fault),
                None => {}
            }
        }
        Ok(found)
    };
    let found = std::thread::scope(|scope| {
        let lanes = [0, 2].map(|first| scope.spawn(move || read(first)));
        lanes.map(|lane| lane.join().unwrap_or(Ok(0))).into_iter().sum::<Result<usize, _>>()
    })?;
    assert_eq!(found, messages, "{topic}");
    Ok(began.elapsed().as_secs_f64())
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn send(producer: &BaseProducer, topic: &str, payload: &str, partition: i32) {
    let mut record = BaseRecord::<(), str>::to(topic).payload(payload).partition(partition);
    while let Err((_, back)) = producer.send(record) {
        producer.poll(Duration::from_millis(5));
        record = back;
    }
    producer.poll(Duration::ZERO);
}

/// A job that is ended with this.
struct Job(Child);

impl Drop for Job {
    fn drop(&mut self) {
        // It may have ended.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let thousands: usize = args.first().and_then(|a| a.parse().ok()).unwrap_or(1000);
    let rounds: usize = args.get(1).and_then(|a| a.parse().ok()).unwrap_or(3);
    let kwsync = PathBuf::from(args.get(2).map_or("target/release/kwsync", String::as_str));
    let (Some(broker), Some(server)) = (KafkaServer::start(), PgServer::start()) else { return Ok(()) };
    let database = server.create_database();
    let rows = thousands * 1000;
    let block = generate(Kind::Cpu, 8 << 20);
    let lines: Vec<&str> = block.lines().collect();
    let line = |n: usize| lines[n % lines.len()];

    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker.brokers()).set("linger.ms", "5");
    let producer: BaseProducer = config.create()?;
    let admin: AdminClient<_> = config.create()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let new = ["one", "hundred", "single", "latency"]
        .map(|topic| NewTopic::new(topic, 4, TopicReplication::Fixed(1)));
    for made in runtime.block_on(admin.create_topics(&new, &AdminOptions::new()))? {
        made.map_err(|(topic, code)| format!("{topic}: {code}"))?;
    }
    let dir = std::env::temp_dir().join(format!("kwsync-bench-{}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    let (mut file, mut bytes) = (String::new(), 0);
    for n in 0..rows {
        send(&producer, "one", line(n), (n % 4) as i32);
        bytes += line(n).len();
        file.push_str(line(n));
        file.push('\n');
    }
    for n in 0..rows / 100 {
        let payload: Vec<&str> = (n * 100..n * 100 + 100).map(line).collect();
        send(&producer, "hundred", &payload.join("\n"), (n % 4) as i32);
    }
    producer.flush(Duration::from_secs(120))?;
    let path = dir.join("cpu.lp");
    std::fs::write(&path, file)?;
    println!("{rows} rows of {} bytes on average, 4 partitions, 2 lanes", bytes / rows);

    let to = format!("'{}?unlogged=true&timestamp_ns=truncate&sslmode=disable'", server.dsn(&database));
    let tail = format!("--jobs 2 --restart --quiet --checkpoint file:{}", dir.join("state").display());
    let kafka = |topic: &str, format: &str| {
        format!(
            "{} run --from 'kafka://{}?topics={topic}&timeout=300ms&format={format}'",
            kwsync.display(),
            broker.brokers()
        )
    };
    let from_file = format!(
        "{} run --from '{}?format=line_influxdb&split=lines' --to {to} {tail}",
        kwsync.display(),
        path.display()
    );
    timed(&from_file)?;
    let count = || server.psql(&database, "SELECT count(*) FROM cpu").trim().parse::<usize>().unwrap_or(0);
    // Connecting, and waiting for the end of the silence, are no part of the work: a topic with a row in each partition (of a
    // silent one the first message is awaited for longer), and a file with one row.
    std::fs::write(dir.join("one.lp"), format!("{}\n", line(0)))?;
    (0..4).for_each(|partition| send(&producer, "single", line(0), partition));
    producer.flush(Duration::from_secs(10))?;
    let lonely = from_file.replace("cpu.lp", "one.lp");
    let loaded = |topic: &str| format!("{} --to {to} {tail}", kafka(topic, "line_influxdb"));
    let single = loaded("single");
    for (topic, what, messages) in
        [("one", "1 row a message", rows), ("hundred", "100 rows a message", rows / 100)]
    {
        let discarded = format!("{} --to discard: {tail}", kafka(topic, "line_influxdb"));
        let loaded = loaded(topic);
        let mut times = [(); 5].map(|()| (Vec::new(), Vec::new()));
        let mut drained = Vec::new();
        for _ in 0..rounds.max(1) {
            drained.push(drain(&broker.brokers(), topic, messages)?);
            for (at, command) in [&discarded, &loaded, &from_file, &single, &lonely].into_iter().enumerate() {
                server.psql(&database, "TRUNCATE cpu; CHECKPOINT");
                let (wall, spent) = timed(command)?;
                times[at].0.push(wall);
                times[at].1.push(spent);
                if at == 1 || at == 2 {
                    assert_eq!(count(), rows, "{command}");
                }
            }
        }
        let [discarded, loaded, file, single, lonely] = times.map(|(mut wall, mut spent)| {
            spent.sort_by(|a, b| a.all().total_cmp(&b.all()));
            (median(&mut wall), spent[spent.len() / 2])
        });
        println!("{what}:");
        let show = |name: &str, wall: f64, spent: Option<Spent>| {
            let cpu = spent.map_or(String::new(), |spent| {
                format!(
                    ", CPU: {:.2} s client library, {:.2} s taking, {:.2} s the rest of kwsync, {:.2} s PostgreSQL, {:.2} s broker",
                    spent.library, spent.taking, spent.workers, spent.postgres, spent.broker
                )
            });
            println!(
                "  {name:26} {wall:7.3} s, {:7.0} k messages/s, {:6.0} k rows/s{cpu}",
                messages as f64 / wall / 1000.0,
                rows as f64 / wall / 1000.0
            );
        };
        show("drained by the client", median(&mut drained), None);
        show("parsed and discarded", discarded.0, Some(discarded.1));
        show("into PostgreSQL", loaded.0, Some(loaded.1));
        show("the same from a file", file.0, Some(file.1));
        println!("  next to no rows: {:.3} s from Kafka, {:.3} s from a file", single.0, lonely.0);
        let all = loaded.1.all();
        println!(
            "  of the CPU time into PostgreSQL: client library {:.0} %, taking messages {:.0} %, decoding and encoding {:.0} %, PostgreSQL {:.0} %, broker {:.0} %",
            100.0 * loaded.1.library / all,
            100.0 * loaded.1.taking / all,
            100.0 * loaded.1.workers / all,
            100.0 * loaded.1.postgres / all,
            100.0 * loaded.1.broker / all
        );
        println!(
            "  from the file {:.2} times as fast, {:.2} times without connecting and the silence at the end",
            loaded.0 / file.0,
            (loaded.0 - single.0) / (file.0 - lonely.0)
        );
    }
    for per in [1, 100] {
        latency(&kwsync, &broker, &server, &producer, per)?;
    }
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}

/// How long from sending a message to seeing its last row, at 200 messages a second, by a session that looks all the time.
fn latency(
    kwsync: &std::path::Path,
    broker: &KafkaServer,
    server: &PgServer,
    producer: &BaseProducer,
    per: usize,
) -> Result<(), Failure> {
    const MESSAGES: usize = 1_000;
    let database = server.create_database();
    server.psql(&database, "CREATE TABLE m (\"time\" timestamptz, n bigint)");
    let from = format!(
        "kafka://{}?topics=latency&timeout=never&fallback_offset=Latest&format=line_influxdb&latency=20ms&linger=5ms",
        broker.brokers()
    );
    let child = Command::new(kwsync)
        .args([
            "run",
            "--from",
            &from,
            "--to",
            &server.dsn(&database),
            "--quiet",
            "--restart",
            "--job",
            "latency",
        ])
        .stdout(Stdio::null())
        .spawn()?;
    let _job = Job(child);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let text = format!(
        "host={} port={} user={} dbname={database}",
        server.socket_dir().display(),
        server.port(),
        server.superuser()
    );
    let (client, connection) = runtime.block_on(tokio_postgres::connect(&text, tokio_postgres::NoTls))?;
    runtime.spawn(connection);
    let seen = || -> Result<i64, tokio_postgres::Error> {
        let row = runtime.block_on(client.query_one("SELECT coalesce(max(n), -1) FROM m", &[]))?;
        Ok(row.get(0))
    };
    let payload = |n: usize| {
        let row = |row: usize| format!("m n={}i {}000", n * per + row, n + 1);
        (0..per).map(row).collect::<Vec<_>>().join("\n")
    };
    // The first goes until it is seen: then the job listens.
    let began = Instant::now();
    while seen()? < 0 {
        if began.elapsed() > Duration::from_secs(60) {
            return Err("the job does not listen".into());
        }
        send(producer, "latency", &payload(0), 0);
        producer.flush(Duration::from_secs(10))?;
        std::thread::sleep(Duration::from_millis(100));
    }
    let (mut sent, mut times) = (Vec::with_capacity(MESSAGES), Vec::with_capacity(MESSAGES));
    let (began, mut next) = (Instant::now(), 0);
    while next < MESSAGES {
        if sent.len() < MESSAGES && began.elapsed() >= Duration::from_millis(5) * sent.len() as u32 {
            send(producer, "latency", &payload(sent.len() + 1), 0);
            sent.push(Instant::now());
        }
        producer.poll(Duration::ZERO);
        let last = seen()?;
        while next < sent.len() && last >= ((next + 1) * per + per - 1) as i64 {
            times.push(sent[next].elapsed().as_secs_f64() * 1000.0);
            next += 1;
        }
        if began.elapsed() > Duration::from_secs(120) {
            return Err("messages did not arrive".into());
        }
    }
    times.sort_by(f64::total_cmp);
    println!(
        "{per} rows a message, 200 messages/s, latency=20ms: from sent to committed and seen, p50 {:.1} ms, p99 {:.1} ms",
        times[MESSAGES / 2],
        times[MESSAGES * 99 / 100]
    );
    Ok(())
}
