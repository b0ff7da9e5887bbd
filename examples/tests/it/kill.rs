use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kwsync_core::testkit::PgServer;

use super::support::{Place, parquet_points};

/// How often to kill: 10 times, unless told otherwise; and random numbers whose seed is printed.
pub(crate) fn kills() -> (u64, impl FnMut(u64) -> u64) {
    let kills: u64 = std::env::var("KWSYNC_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(10);
    let mut seed =
        std::env::var("KWSYNC_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(|| {
            SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |now| now.as_nanos() as u64)
        });
    println!("KWSYNC_SEED={seed}");
    (kills, move |below: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % below
    })
}

/// Starts the command and kills it up to 420 ms later.
pub(crate) fn start_and_kill(place: &Place, arguments: &[&str], random: &mut impl FnMut(u64) -> u64) {
    let mut child = place.command(arguments).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(20 + random(400)));
    child.kill().unwrap();
    child.wait().unwrap();
}

/// The same into PostgreSQL, where the checkpoint is part of the data's transaction; bad rows lie among the good ones,
/// and each of them is in the reject file.
#[test]
fn kill_while_loading_into_postgres_exactly_once() {
    const ROWS: u64 = 120_000;
    let Some(server) = PgServer::shared() else { return };
    let (kills, mut random) = kills();
    let (place, database) = (Place::new(), server.create_database());
    server
        .psql(&database, "CREATE TABLE t0 (\"time\" timestamptz, n bigint CHECK (n % 10000 <> 778), s text)");
    place.write(
        "in.lp",
        (0..ROWS).map(|n| format!("t{} n={n}i,s=\"row {n}\" {n}000\n", n % 2)).collect::<String>(),
    );
    let bad: Vec<u64> = (0..ROWS).filter(|n| n % 2 == 0 && n % 10_000 == 778).collect();
    let to = server.dsn(&database);
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
        "--errors",
        "reject:bad.jsonl",
    ];
    let slow = [&arguments[..], &["--rate-rows", "60000"]].concat();
    for _ in 0..kills {
        start_and_kill(&place, &slow, &mut random);
        let twice = "SELECT count(*) - count(DISTINCT n) FROM";
        for table in ["t0", "t1"] {
            let found = server.try_psql(&database, &format!("{twice} {table}"), b"").unwrap_or_default();
            assert!(found.is_empty() || found == b"0\n", "{table}: {}", String::from_utf8_lossy(&found));
        }
    }
    let status = place.run(&arguments).status();
    assert!(status == 0 || status == 3, "{status}");
    let good = ROWS - bad.len() as u64;
    let sum = ROWS * (ROWS - 1) / 2 - bad.iter().sum::<u64>();
    assert_eq!(
        server.psql(
            &database,
            "SELECT count(*), count(DISTINCT n), sum(n) FROM (TABLE t0 UNION ALL TABLE t1) x"
        ),
        format!("{good}|{good}|{sum}\n")
    );
    // A kill between the reject file and the commit leaves the same reject there twice; none is missing.
    let text = std::fs::read_to_string(place.path("bad.jsonl")).unwrap();
    let mut lines: Vec<u64> = text
        .lines()
        .map(|line| {
            let reject: serde_json::Value = serde_json::from_str(line).unwrap();
            reject["position"]["line"].as_u64().unwrap() - 1
        })
        .collect();
    lines.sort_unstable();
    lines.dedup();
    assert_eq!(lines, bad);
    assert_eq!(server.psql(&database, "SELECT count(*) FROM kwsync_checkpoint"), "0\n");
}

/// Killed at random moments and started again, a load is complete in the end, and no row is there twice.
#[test]
fn kill_at_any_moment_loses_and_doubles_nothing() {
    const ROWS: u64 = 120_000;
    let (kills, mut random) = kills();
    let place = Place::new();
    let text: String = (0..ROWS).map(|n| format!("t{} n={n}i,s=\"row {n}\" {n}\n", n % 3)).collect();
    place.write("in.lp", text);
    let arguments = [
        "run",
        "-f",
        "in.lp?split=lines&split_bytes=256KiB",
        "-t",
        "file:out?format=parquet",
        "-j",
        "2",
        "--commit-rows",
        "5000",
        "--quiet",
    ];
    // The whole load takes about two seconds at this rate, so that kills fall into all of it.
    let slow = [&arguments[..], &["--rate-rows", "60000"]].concat();
    for _ in 0..kills {
        let mut child = place.command(&slow).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(20 + random(300)));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    place.run(&arguments).expect(0);
    let mut landed: Vec<_> =
        parquet_points(&place.path("out")).into_iter().map(|point| point.timestamp).collect();
    landed.sort_unstable();
    assert_eq!(landed, (0..ROWS as i64).map(Some).collect::<Vec<_>>());
}
