//! Loads a million rows of 21 columns into PostgreSQL: `kwsync run` from line protocol, beside `psql \copy` of the same
//! rows prepared as a BINARY file, into the same table, in turn. Prints medians of wall time and the client's CPU time.
//! Arguments: rows in thousands (default 1000), rounds (default 5), the kwsync binary (default target/release/kwsync).

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use kwsync_bench::line_protocol::{Kind, generate};
use kwsync_core::testkit::PgServer;

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

/// `rows` thousand lines of the TSBS-like kind, written piece by piece.
fn write_lines(path: &Path, thousands: usize) -> std::io::Result<u64> {
    let block = generate(Kind::Cpu, 8 << 20);
    let mut file = std::io::BufWriter::new(std::fs::File::create(path)?);
    let mut left = thousands * 1000;
    let mut bytes = 0;
    while left > 0 {
        for line in block.lines().take(left) {
            file.write_all(line.as_bytes())?;
            file.write_all(b"\n")?;
            bytes += line.len() as u64 + 1;
        }
        left = left.saturating_sub(block.lines().count());
    }
    file.flush()?;
    Ok(bytes)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let thousands: usize = args.first().and_then(|a| a.parse().ok()).unwrap_or(1000);
    let rounds: usize = args.get(1).and_then(|a| a.parse().ok()).unwrap_or(5);
    let kwsync = PathBuf::from(args.get(2).map_or("target/release/kwsync", String::as_str));
    let Some(server) = PgServer::start() else { return Ok(()) };
    let database = server.create_database();
    let dir = std::env::temp_dir().join(format!("kwsync-bench-{}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    let (lines, binary) = (dir.join("cpu.lp"), dir.join("cpu.bin"));
    let bytes = write_lines(&lines, thousands)?;

    let dsn = format!("{}?unlogged=true&timestamp_ns=truncate&sslmode=disable", server.dsn(&database));
    let load = format!(
        "{} run --from {} --to '{dsn}' --restart --quiet --checkpoint file:{}",
        kwsync.display(),
        lines.display(),
        dir.join("state").display()
    );
    timed(&load)?;
    let psql = format!(
        "psql -X -q -h {} -p {} -U {} {database}",
        server.socket_dir().display(),
        server.port(),
        server.superuser()
    );
    timed(&format!("{psql} -c '\\copy cpu to {} (format binary)'", binary.display()))?;
    let rows = server.psql(&database, "SELECT count(*) FROM cpu");
    println!(
        "{} rows, {bytes} bytes of line protocol, {} bytes of COPY BINARY",
        rows.trim(),
        binary.metadata()?.len()
    );

    let (mut ours, mut theirs) = ((Vec::new(), Vec::new()), (Vec::new(), Vec::new()));
    for _ in 0..rounds.max(1) {
        for (command, times) in [
            (format!("{psql} -c '\\copy cpu from {} (format binary)'", binary.display()), &mut theirs),
            (load.clone(), &mut ours),
        ] {
            server.psql(&database, "TRUNCATE cpu; CHECKPOINT");
            let (wall, cpu) = timed(&command)?;
            times.0.push(wall);
            times.1.push(cpu);
            assert_eq!(server.psql(&database, "SELECT count(*) FROM cpu"), rows);
        }
    }
    let per = |seconds: f64| thousands as f64 / seconds;
    for (name, (wall, cpu)) in [("psql \\copy binary", &mut theirs), ("kwsync run", &mut ours)] {
        let (wall, cpu) = (median(wall), median(cpu));
        println!("{name:18} wall {wall:.3} s ({:.0} k rows/s)  client CPU {cpu:.3} s", per(wall));
    }
    println!("ratio of wall times: {:.3}", median(&mut ours.0) / median(&mut theirs.0));
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}
