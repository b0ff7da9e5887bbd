//! Loads a million rows into a table with a CHECK constraint: all good, then with 1,000 bad ones scattered among them
//! that only the server can refuse, in turn; checks that exactly those are in the reject file, and prints medians.
//! Arguments: rows in thousands (default 1000), bad rows (default 1000), rounds (default 3), the kwsync binary
//! (default target/release/kwsync).

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use kwsync_core::testkit::PgServer;

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, default: u64| args.get(at).and_then(|a| a.parse().ok()).unwrap_or(default);
    let (rows, bad, rounds) = (number(0, 1000) * 1000, number(1, 1000), number(2, 3));
    let kwsync = PathBuf::from(args.get(3).map_or("target/release/kwsync", String::as_str));
    let Some(server) = PgServer::start() else { return Ok(()) };
    let database = server.create_database();
    let dir = std::env::temp_dir().join(format!("kwsync-bench-{}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    // Scattered without a pattern, and the same each time.
    let is_bad =
        |n: u64| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20).is_multiple_of((rows / bad.max(1)).max(1));
    let mut expected = 0;
    for (name, with_bad) in [("clean.lp", false), ("bad.lp", true)] {
        let mut text = String::new();
        for n in 0..rows {
            let wrong = with_bad && is_bad(n);
            expected += u64::from(wrong);
            let value = if wrong { -1 } else { (n % 100) as i64 };
            writeln!(
                text,
                "load,host=host_{},region=eu-{} n={n}i,v={value}i,f={}.5 {n}000",
                n % 1000,
                n % 7,
                n % 977
            )?;
        }
        std::fs::write(dir.join(name), text)?;
    }
    server.psql(
        &database,
        "CREATE UNLOGGED TABLE load (\"time\" timestamptz, host text, region text, n bigint, v bigint CHECK (v >= 0), f float8)",
    );
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..rounds.max(1) {
        for (name, times) in ["clean.lp", "bad.lp"].into_iter().zip(&mut times) {
            server.psql(&database, "TRUNCATE load; CHECKPOINT");
            let rejects = dir.join("rejects.jsonl");
            let started = Instant::now();
            let ran = Command::new(&kwsync)
                .args(["run", "-f", dir.join(name).to_str().unwrap_or_default(), "-t"])
                .arg(format!("{}?sslmode=disable", server.dsn(&database)))
                .args(["--restart", "--quiet", "--checkpoint"])
                .arg(format!("file:{}", dir.join("state").display()))
                .args(["--errors", &format!("reject:{}", rejects.display())])
                .output()?;
            times.push(started.elapsed().as_secs_f64());
            let refused = if name == "bad.lp" { expected } else { 0 };
            assert_eq!(
                ran.status.code(),
                Some(if refused > 0 { 3 } else { 0 }),
                "{}",
                String::from_utf8_lossy(&ran.stderr)
            );
            let stored = server.psql(&database, "SELECT count(*), count(DISTINCT n) FROM load");
            assert_eq!(stored, format!("{0}|{0}\n", rows - refused));
            let mut lines = Vec::new();
            for line in std::fs::read_to_string(&rejects)?.lines() {
                let number = line.split("\"line\":").nth(1).and_then(|rest| rest.split(',').next());
                lines.push(number.unwrap_or_default().parse::<u64>()?);
            }
            lines.sort_unstable();
            let wrong: Vec<u64> = (0..rows).filter(|n| refused > 0 && is_bad(*n)).map(|n| n + 1).collect();
            assert_eq!(lines, wrong);
        }
    }
    let [clean, bad] = &mut times;
    let (clean, bad) = (median(clean), median(bad));
    println!(
        "{rows} rows, clean: {clean:.3} s; with {expected} bad ones: {bad:.3} s; ratio {:.2}",
        bad / clean
    );
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}
