use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::support::{Place, parquet_points};

/// Killed at random moments and started again, a load is complete in the end, and no row is there twice.
#[test]
fn kill_at_any_moment_loses_and_doubles_nothing() {
    const ROWS: u64 = 120_000;
    let kills: u64 = std::env::var("KWSYNC_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(10);
    let mut seed =
        std::env::var("KWSYNC_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(|| {
            SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |now| now.as_nanos() as u64)
        });
    println!("KWSYNC_SEED={seed}");
    let mut random = move |below: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % below
    };
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
