//! Records host metrics from /proc as line protocol: the data set that `kwsync demo` loads was made with it.
//!
//! `cargo run --release --example capture -- NAME INTERVAL_MS SAMPLES > host-metrics.lp` (Linux)

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// `name=1i,other=2i` out of the first `names.len()` numbers of `values`.
fn fields<'a>(names: &[&str], values: impl Iterator<Item = &'a str>) -> String {
    let pairs: Vec<_> = names.iter().zip(values).map(|(name, value)| format!("{name}={value}i")).collect();
    pairs.join(",")
}

fn sample(host: &str, now: u128, out: &mut String) -> std::fmt::Result {
    const CPU: [&str; 8] = ["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"];
    const NET: [&str; 4] = ["rx_bytes", "rx_packets", "rx_errs", "rx_drop"];
    const DISK: [&str; 11] = [
        "reads",
        "reads_merged",
        "sectors_read",
        "read_ms",
        "writes",
        "writes_merged",
        "sectors_written",
        "write_ms",
        "in_flight",
        "io_ms",
        "weighted_ms",
    ];
    for line in read("/proc/stat").lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some(name) if name.starts_with("cpu") => {
                writeln!(out, "cpu,host={host},cpu={name} {} {now}", fields(&CPU, words))?;
            }
            Some(name @ ("ctxt" | "processes" | "procs_running" | "procs_blocked")) => {
                writeln!(out, "kernel,host={host} {name}={}i {now}", words.next().unwrap_or("0"))?;
            }
            _ => {}
        }
    }
    let memory: Vec<_> = read("/proc/meminfo")
        .lines()
        .take(25)
        .filter_map(|line| {
            let (name, value) = line.split_once(':')?;
            let name = name.to_lowercase().replace('(', "_").replace(')', "");
            Some(format!("{name}={}i", value.split_whitespace().next()?.parse::<u64>().ok()? * 1024))
        })
        .collect();
    writeln!(out, "mem,host={host} {} {now}", memory.join(","))?;
    let load = read("/proc/loadavg");
    let load: Vec<_> = load.split_whitespace().collect();
    if let [one, five, fifteen, tasks, last] = load[..] {
        writeln!(
            out,
            "load,host={host} load1={one},load5={five},load15={fifteen},tasks=\"{tasks}\",last_pid={last}i {now}"
        )?;
    }
    for line in read("/proc/net/dev").lines().skip(2) {
        if let Some((name, values)) = line.split_once(':').filter(|(name, _)| !name.contains("ifb")) {
            let values: Vec<_> = values.split_whitespace().collect();
            let sent =
                fields(&["tx_bytes", "tx_packets", "tx_errs", "tx_drop"], values.iter().skip(8).copied());
            let received = fields(&NET, values.iter().copied());
            writeln!(out, "net,host={host},interface={} {received},{sent} {now}", name.trim())?;
        }
    }
    for line in read("/proc/diskstats").lines() {
        let mut words = line.split_whitespace().skip(2);
        if let Some(name) =
            words.next().filter(|name| !["loop", "ram", "zram"].iter().any(|skip| name.starts_with(skip)))
        {
            writeln!(out, "disk,host={host},device={name} {} {now}", fields(&DISK, words))?;
        }
    }
    for kind in ["cpu", "io", "memory"] {
        for line in read(&format!("/proc/pressure/{kind}")).lines() {
            if let Some((scope, values)) = line.split_once(' ') {
                let values = values.replace(' ', ",");
                writeln!(out, "pressure,host={host},resource={kind},scope={scope} {values}i {now}")?;
            }
        }
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let host = arguments.next().unwrap_or_else(|| "localhost".to_owned());
    let interval = Duration::from_millis(arguments.next().as_deref().unwrap_or("1000").parse()?);
    let samples: u64 = arguments.next().as_deref().unwrap_or("60").parse()?;
    let mut out = std::io::stdout().lock();
    for _ in 0..samples {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
        let mut text = String::new();
        sample(&host, now, &mut text)?;
        out.write_all(text.as_bytes())?;
        std::thread::sleep(interval);
    }
    Ok(())
}
