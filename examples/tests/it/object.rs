//! Objects of a bucket, read and written by the command, against s3s-fs.

use std::collections::BTreeMap;
use std::io::{Read, Write};

use kwsync_core::testkit::{PgServer, S3Server};

use super::kill::{kills, start_and_kill};
use super::support::{Job, Place, Ran, until};

/// The second of row 0.
const BEGIN: u64 = 1_700_000_000;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn lines(numbers: std::ops::Range<u64>) -> String {
    let line = |n| {
        let seconds = BEGIN + n;
        format!("t{},host=h{} n={n}i,s=\"row {n}\" {seconds}000000000\n", n % 2, n % 7)
    };
    numbers.map(line).collect()
}

/// The rows of line protocol, by their times, in order.
fn landed(server: &S3Server) -> Vec<u64> {
    let mut found: Vec<u64> = server
        .objects()
        .iter()
        .flat_map(|(_, bytes)| {
            let text = std::str::from_utf8(bytes).unwrap();
            let time = |line: &str| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap();
            text.lines().map(|line| time(line) / 1_000_000_000 - BEGIN).collect::<Vec<_>>()
        })
        .collect();
    found.sort_unstable();
    found
}

/// Files of a folder for each table, unpacked and put together.
fn tables(files: impl IntoIterator<Item = (String, Vec<u8>)>) -> BTreeMap<String, Vec<u8>> {
    let mut tables: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for (path, bytes) in files {
        let folder = path.rsplit('/').nth(1).unwrap().to_owned();
        let table = tables.entry(folder).or_default();
        match bytes.starts_with(&[0x1f, 0x8b]) {
            true => drop(flate2::read::MultiGzDecoder::new(bytes.as_slice()).read_to_end(table).unwrap()),
            false => table.extend(bytes),
        }
    }
    tables
}

fn files(dir: &std::path::Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push((path.display().to_string(), std::fs::read(&path).unwrap())),
        }
    }
    found.sort();
    found
}

/// Every format: the same bytes in objects as in files, and the same rows out of both.
#[test]
fn each_format_there_and_back() {
    let Some(server) = S3Server::start() else { return };
    let place = Place::new();
    place.write("in.lp", lines(0..3_000));
    for (format, more, back) in [
        ("line_influxdb", "", ""),
        ("line_influxdb", "&compression=gzip", ""),
        ("csv", "&header=true", "&header=true&table=t"),
        ("text", "", "&columns=time,host,n,s&table=t"),
        ("json", "&compression=gzip", "&table=t"),
        ("line_opentsdb", "", ""),
        ("json_opentsdb", "", ""),
        ("json_kaiwudb", "", ""),
        ("parquet", "", ""),
        ("parquet", "&compression=snappy", ""),
        ("arrow", "&compression=lz4", ""),
    ] {
        let case = format!("{format}{more}");
        let select: &[&str] = match format {
            // A number a point is what these hold.
            "line_opentsdb" | "json_opentsdb" => &["-T", "drop-columns:s"],
            // A table with tags has a primary one there.
            "json_kaiwudb" => &["-T", "set-role:primary_tag=host"],
            _ => &[],
        };
        let run = |from: &str, to: &str, select: &[&str]| {
            place.run(&[&["run", "-f", from, "-t", to, "--quiet"], select].concat()).expect(0);
        };
        run("in.lp", &format!("file:file?format={format}{more}"), select);
        run("in.lp", &format!("{}&format={format}{more}", server.address("out/")), select);
        let (written, objects) = (tables(files(&place.path("file"))), tables(server.objects()));
        assert!(written == objects && written.len() == 2, "{case}: {:?}", objects.keys());
        for (source, target) in [
            (format!("file:file/t0?format={format}{back}"), "file:one?format=json"),
            (format!("{}&format={format}{back}", server.address("out/t0/")), "file:two?format=json"),
        ] {
            run(&source, target, &[]);
        }
        let (one, two) = (tables(files(&place.path("one"))), tables(files(&place.path("two"))));
        assert!(!one.is_empty() && one.values().eq(two.values()), "{case}: {one:?} {two:?}");
        let rows = one.values().next().unwrap().iter().filter(|byte| **byte == b'\n').count();
        assert_eq!(rows, 1_500, "{case}");
        for folder in ["file", "one", "two"] {
            std::fs::remove_dir_all(place.path(folder)).unwrap();
        }
        std::fs::remove_dir_all(server.root().join("bkt/out")).unwrap();
    }
}

/// Objects, plain and packed, into PostgreSQL, killed at random moments: each row once.
#[test]
fn kill_while_importing_exactly_once() {
    const ROWS: u64 = 120_000;
    let (Some(server), Some(postgres)) = (S3Server::start(), PgServer::shared()) else { return };
    let (kills, mut random) = kills();
    let (place, database) = (Place::new(), postgres.create_database());
    for part in 0..6 {
        let text = lines(part * ROWS / 6..(part + 1) * ROWS / 6);
        match part % 2 {
            0 => server.put(&format!("in/{part}.lp"), text),
            _ => server.put(&format!("in/{part}.lp.gz"), gzip(text.as_bytes())),
        }
    }
    let from = format!("{}&dir=in/&format=line_influxdb&chunk=64KiB", server.address(""));
    let to = postgres.dsn(&database);
    let arguments = ["run", "-f", &from, "-t", &to, "-j", "2", "--commit-rows", "5000", "--quiet"];
    let slow = [&arguments[..], &["--rate-rows", "60000"]].concat();
    for _ in 0..kills {
        start_and_kill(&place, &slow, &mut random);
    }
    place.run(&arguments).expect(0);
    assert_eq!(
        postgres.psql(
            &database,
            "SELECT count(*), count(DISTINCT n), sum(n) FROM (TABLE t0 UNION ALL TABLE t1) x"
        ),
        format!("{ROWS}|{ROWS}|{}\n", ROWS * (ROWS - 1) / 2)
    );
}

/// The same for an export: each row is there once in the end, and nothing is left over.
#[test]
fn kill_while_exporting() {
    const ROWS: u64 = 120_000;
    let Some(server) = S3Server::start() else { return };
    let (kills, mut random) = kills();
    let place = Place::new();
    place.write("in.lp", lines(0..ROWS));
    let to = format!("{}&format=line_influxdb", server.address("out/"));
    let arguments = [
        "run",
        "-f",
        "in.lp?split=lines&split_bytes=256KiB",
        "-t",
        &to,
        "-j",
        "2",
        "--commit-rows",
        "5000",
        "--quiet",
    ];
    let slow = [&arguments[..], &["--rate-rows", "60000"]].concat();
    for _ in 0..kills {
        start_and_kill(&place, &slow, &mut random);
    }
    place.run(&arguments).expect(0);
    assert_eq!(landed(&server), (0..ROWS).collect::<Vec<_>>());
    assert!(server.keys().iter().all(|key| !key.contains(".kwsync")), "{:?}", server.keys());
    // An upload that was begun and not yet noted when the process died escapes, at most one a lane.
    assert!(server.unfinished().len() as u64 <= 2 * kills, "{:?}", server.unfinished());
}

/// The service is killed and comes back while objects are read, and while they are written.
#[test]
fn a_service_that_is_restarted() {
    const ROWS: u64 = 60_000;
    let (Some(server), Some(postgres)) = (S3Server::start(), PgServer::shared()) else { return };
    let (place, database) = (Place::new(), postgres.create_database());
    let text = lines(0..ROWS);
    server.put("in/a.lp", &text);
    place.write("in.lp", &text);
    let from = format!("{}&chunk=64KiB", server.address("in/*.lp"));
    let to = format!("{}&format=line_influxdb", server.address("out/"));
    let slow = ["--commit-rows", "2000", "--rate-rows", "20000", "--quiet"];
    let postgres_dsn = postgres.dsn(&database);
    let reading = Job::start(&place, &[&["run", "-f", &from, "-t", &postgres_dsn], &slow[..]].concat());
    let count = || {
        let count = postgres.try_psql(&database, "SELECT count(*) FROM t0", b"").unwrap_or_default();
        String::from_utf8_lossy(&count).trim().parse().unwrap_or(0_u64)
    };
    until("the first rows", || count() > 1_000);
    server.restart();
    reading.end().expect(0);
    let told = postgres.psql(&database, "SELECT count(*), sum(n) FROM (TABLE t0 UNION ALL TABLE t1) x");
    assert_eq!(told, format!("{ROWS}|{}\n", ROWS * (ROWS - 1) / 2));

    std::fs::remove_dir_all(server.root().join("bkt/in")).unwrap();
    let writing = Job::start(&place, &[&["run", "-f", "in.lp", "-t", &to], &slow[..]].concat());
    until("the first objects", || server.objects().len() > 4);
    server.restart_in_order();
    writing.end().expect(0);
    assert_eq!(landed(&server), (0..ROWS).collect::<Vec<_>>());
}

/// A job with a name reads what is new, and refuses what was changed.
#[test]
fn a_named_job_reads_what_is_new() {
    let Some(server) = S3Server::start() else { return };
    let place = Place::new();
    server.put("in/a.lp", lines(0..10));
    let from = server.address("in/*.lp");
    let arguments = ["run", "-f", &from, "-t", "file:out?format=line_influxdb", "--job", "n", "--quiet"];
    place.run(&arguments).expect(0);
    server.put("in/b.lp", lines(10..20));
    place.run(&arguments).expect(0);
    let rows: usize = files(&place.path("out"))
        .iter()
        .map(|(_, bytes)| bytes.iter().filter(|b| **b == b'\n').count())
        .sum();
    assert_eq!(rows, 20);
    server.put("in/a.lp", lines(0..11));
    let ran = place.run(&arguments).expect(1);
    assert!(ran.err().contains("s3://bkt/in/a.lp was changed since the job began"), "{}", ran.err());
}

#[test]
fn typical_mistakes() {
    let Some(server) = S3Server::start() else { return };
    let place = Place::new();
    server.put("in/a.lp", lines(0..10));
    let address = server.address("in/a.lp");
    let read = |from: &str, status: i32, expected: &[&str]| {
        let mut command = place.command(&["run", "-f", from, "-t", "discard:"]);
        command.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY");
        let ran = Ran::of(command.output().unwrap()).expect(status);
        for part in expected {
            assert!(ran.err().contains(part), "{from}: {}", ran.err());
        }
        assert!(!ran.err().contains("s3cret"), "{}", ran.err());
    };
    read(&address, 0, &[]);
    // The name of a parameter, a wrong key, a bucket and an object that are not there, two selections, no key at all.
    read(&address.replace("endpoint=", "endpont="), 2, &["did you mean `endpoint`?"]);
    read(&address.replace("+/key", "-"), 1, &["error_code SignatureDoesNotMatch", "check key="]);
    read(
        &address.replace("s3://bkt/", "s3://nobucket/"),
        1,
        &["NoSuchBucket", "make the bucket nobucket first"],
    );
    read(&server.address("in/b.lp"), 1, &["there is no object s3://bkt/in/b.lp"]);
    read(&format!("{address}&dir=in/"), 2, &["said twice"]);
    read(&format!("s3://bkt/in/a.lp?endpoint={}", server.endpoint()), 2, &["there is no access key"]);
    read(&address.replace("in/a.lp", "in/a"), 2, &["does not say which format"]);
    // A dry run asks the bucket, and writes nothing.
    place.write("in.lp", lines(0..10));
    let to = server.address("out/");
    let ran = place.run(&["run", "-f", "in.lp", "-t", &to, "--dry-run"]).expect(0);
    assert!(ran.out().contains("into s3://bkt/out/t0/") && ran.out().contains("key=***"), "{}", ran.out());
    let wrong = to.replace("s3://bkt/", "s3://nobucket/");
    let ran = place.run(&["run", "-f", "in.lp", "-t", &wrong, "--dry-run"]).expect(1);
    assert!(ran.err().contains("NoSuchBucket"), "{}", ran.err());
    assert_eq!(server.keys(), ["in/a.lp"]);
    // The access key from the environment, as the tools of Amazon take it.
    let mut command = place.command(&[
        "run",
        "-f",
        &format!("s3://bkt/in/a.lp?endpoint={}", server.endpoint()),
        "-t",
        "discard:",
    ]);
    command.env("AWS_ACCESS_KEY_ID", kwsync_core::testkit::ACCESS_KEY);
    command.env("AWS_SECRET_ACCESS_KEY", kwsync_core::testkit::SECRET_KEY);
    assert!(command.output().unwrap().status.success());
}

/// The statements of AnalyticDB: out of the bucket into a table, and out of it into the bucket again.
#[test]
fn external_tables() {
    let (Some(server), Some(postgres)) = (S3Server::start(), PgServer::shared()) else { return };
    let (place, database) = (Place::new(), postgres.create_database());
    let rows = |numbers: std::ops::Range<u64>| {
        numbers.map(|n| format!("2024-01-0{}\t{n}\t1.5\tit's {n}\n", n % 9 + 1)).collect::<String>()
    };
    server.put("osstest/example.1.gz", gzip(rows(0..500).as_bytes()));
    server.put(
        "osstest/example/deep.gz",
        gzip((rows(500..1_000) + "2024-01-01\tno number\t1\tx\n").as_bytes()),
    );
    let location = format!(
        "oss+http://127.0.0.1:{} id={} key={} bucket=bkt",
        server.port(),
        kwsync_core::testkit::ACCESS_KEY,
        kwsync_core::testkit::SECRET_KEY
    );
    place.write(
        "move.sql",
        format!(
            "# in\ncreate readable external table ossexample (date date, volume int, open float, note text)
            location('{location}\nprefix=osstest/example compressiontype=gzip')
            FORMAT 'csv' (QUOTE '' DELIMITER E'\\t') ENCODING 'utf8' LOG ERRORS SEGMENT REJECT LIMIT 5;
            insert into example select * from ossexample;
            create WRITABLE external table ossexample_exp (LIKE example)
            location('{location} dir=osstest/exp/') FORMAT 'csv' (FORCE QUOTE note) DISTRIBUTED BY (date);
            insert into ossexample_exp select * from example;"
        ),
    );
    let to = postgres.dsn(&database);
    // The target is there, as INSERT needs it.
    postgres.psql(&database, "CREATE TABLE example (date date, volume int, open float, note text)");
    let ran = place.run(&["external", "move.sql", "--database", &to, "--jobs", "2"]).expect(3);
    assert!(!ran.err().contains("s3cret+"), "{}", ran.err());
    assert_eq!(
        postgres.psql(&database, "SELECT count(*), sum(volume), min(date), max(open) FROM example"),
        "1000|499500|2024-01-01|1.5\n"
    );
    let rejects = std::fs::read_to_string(place.path("ossexample.jsonl")).unwrap();
    assert!(
        rejects.lines().count() == 1 && rejects.contains("no number") && rejects.contains("deep.gz"),
        "{rejects}"
    );
    let written: Vec<_> =
        server.objects().into_iter().filter(|(key, _)| key.starts_with("osstest/exp/")).collect();
    let text: String = written.iter().map(|(_, bytes)| std::str::from_utf8(bytes).unwrap()).collect();
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    assert_eq!((lines.len(), lines[0]), (1_000, "2024-01-01,0,1.5,\"it's 0\""));
    assert!(written.iter().all(|(key, _)| key.starts_with("osstest/exp/example.")), "{:?}", server.keys());
    // What is wrong is told before anything is done.
    let wrong =
        std::fs::read_to_string(place.path("move.sql")).unwrap().replace("prefix=osstest", "prefx=osstest");
    place.write("wrong.sql", wrong);
    let ran = place.run(&["external", "wrong.sql", "--database", &to]).expect(2);
    assert!(ran.err().contains("did you mean `prefix`?"), "{}", ran.err());
}
