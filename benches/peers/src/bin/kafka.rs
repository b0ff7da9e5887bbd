//! Messages of a real Kafka into a real PostgreSQL by `kwsync run`: how many a second, where the time goes, and how soon a
//! message is a committed row. Arguments: rows in thousands (default 1000), rounds (default 3), the kwsync binary (default
//! target/release/kwsync).

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use kwsync_bench::line_protocol::{Kind, generate};
use kwsync_core::testkit::{KafkaServer, PgServer};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

type Failure = Box<dyn std::error::Error>;

/// Wall and CPU seconds of a command, as bash tells them.
fn timed(command: &str) -> Result<(f64, f64), String> {
    let script = format!("TIMEFORMAT='%R %U %S'; time {command} >/dev/null");
    let ran = Command::new("bash").args(["-c", &script]).output().map_err(|error| error.to_string())?;
    let err = String::from_utf8_lossy(&ran.stderr).into_owned();
    if !ran.status.success() {
        return Err(err);
    }
    let times: Vec<f64> =
        err.lines().last().unwrap_or("").split(' ').filter_map(|word| word.parse().ok()).collect();
    match times[..] {
        [wall, user, system] => Ok((wall, user + system)),
        _ => Err(err),
    }
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
    let new = ["one", "hundred", "latency"].map(|topic| NewTopic::new(topic, 4, TopicReplication::Fixed(1)));
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
    // The job waits for the end of the silence, which is no part of the work.
    let silence = 0.3;
    for (topic, what, messages) in
        [("one", "1 row a message", rows), ("hundred", "100 rows a message", rows / 100)]
    {
        // Text that is taken as it is: what is left is the client, and the way through the pipeline.
        let raw = format!("{} --to discard: {tail}", kafka(topic, "text&columns=line&delimiter=%01"));
        let parsed = format!("{} --to discard: {tail}", kafka(topic, "line_influxdb"));
        let loaded = format!("{} --to {to} {tail}", kafka(topic, "line_influxdb"));
        let mut times = [(); 4].map(|()| (Vec::new(), Vec::new()));
        for _ in 0..rounds.max(1) {
            for (at, command) in [&raw, &parsed, &loaded, &from_file].into_iter().enumerate() {
                server.psql(&database, "TRUNCATE cpu; CHECKPOINT");
                let (wall, cpu) = timed(command)?;
                times[at].0.push(if at == 3 { wall } else { wall - silence });
                times[at].1.push(cpu);
                if at >= 2 {
                    assert_eq!(count(), rows, "{command}");
                }
            }
        }
        let [raw, parsed, loaded, file] =
            times.map(|(mut wall, mut cpu)| (median(&mut wall), median(&mut cpu)));
        println!("{what}:");
        for (name, (wall, cpu)) in [
            ("the client alone", raw),
            ("and parsed", parsed),
            ("and in PostgreSQL", loaded),
            ("the same from a file", file),
        ] {
            println!(
                "  {name:22} {wall:7.3} s wall, {cpu:6.3} s CPU, {:7.0} k messages/s, {:6.0} k rows/s",
                messages as f64 / wall / 1000.0,
                rows as f64 / wall / 1000.0
            );
        }
        println!(
            "  of the CPU time: client {:.0} %, parsing {:.0} %, database {:.0} %; from the file {:.2} times as fast",
            100.0 * raw.1 / loaded.1,
            100.0 * (parsed.1 - raw.1).max(0.0) / loaded.1,
            100.0 * (loaded.1 - parsed.1).max(0.0) / loaded.1,
            loaded.0 / file.0
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
