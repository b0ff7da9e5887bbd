//! Runs kwsync and its peer in turn over the same data and prints the medians by CPU time, and their ratio.
//! Arguments: megabytes of data (default 32), rounds (default 9), kinds (default all).

use std::time::Duration;

use bytes::Bytes;
use kwsync_bench::line_protocol::{Kind, generate};
use kwsync_formats::influx::{LineOptions, TagEncoding};

/// CPU time of this thread so far, by the kernel's own count, which it brings up to date when one yields.
fn cpu_time() -> Duration {
    std::thread::yield_now();
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let ns = text.split_whitespace().next().and_then(|ns| ns.parse().ok());
    ns.map_or_else(|| std::time::UNIX_EPOCH.elapsed().unwrap_or_default(), Duration::from_nanos)
}

fn timed(run: impl FnOnce() -> usize) -> (Duration, usize) {
    let start = cpu_time();
    let rows = run();
    (cpu_time().saturating_sub(start), rows)
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64().max(1e-9)
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let megabytes: usize = args.first().and_then(|a| a.parse().ok()).unwrap_or(32);
    let rounds: usize = args.get(1).and_then(|a| a.parse().ok()).unwrap_or(9);
    println!(
        "{:6} {:>7} {:>10} {:>10} {:>10} {:>10} {:>10} {:>10} {:>8} {:>8} {:>8}",
        "data",
        "B/line",
        "arrow GB/s",
        "Mrows/s",
        "dict GB/s",
        "lines GB/s",
        "peer GB/s",
        "write GB/s",
        "arrow/x",
        "dict/x",
        "lines/x"
    );
    for kind in Kind::ALL {
        if args.len() > 2 && !args[2..].iter().any(|name| name == kind.name()) {
            continue;
        }
        let text = generate(kind, megabytes << 20);
        let bytes = Bytes::from(text.clone());
        let (mut arrow, mut dict, mut lines, mut peer) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let (batches, mut out, mut write) = (kwsync_peers::batches(&bytes), Vec::new(), Vec::new());
        let mut rows = 0;
        for _ in 0..rounds.max(1) {
            let (time, n) = timed(|| kwsync_peers::kwsync(&bytes, LineOptions::default()));
            arrow.push(time);
            let options = LineOptions::default().with_tag_encoding(TagEncoding::Dictionary);
            let (time, d) = timed(|| kwsync_peers::kwsync(&bytes, options));
            dict.push(time);
            let (time, m) = timed(|| kwsync_peers::kwsync_lines(&bytes));
            lines.push(time);
            let (time, k) = timed(|| kwsync_peers::influxdb_line_protocol(&text));
            peer.push(time);
            write.push(timed(|| kwsync_peers::encode(&batches, &mut out)).0);
            assert!(n == d && d == m && m == k, "{n}, {d}, {m} and {k} rows");
            rows = n;
        }
        let size = text.len() as f64 / 1e9;
        let speed = |times| size / median(times);
        let (arrow, dict, lines, peer) = (speed(arrow), speed(dict), speed(lines), speed(peer));
        let write = out.len() as f64 / 1e9 / median(write);
        let line = text.len() as f64 / rows as f64;
        println!(
            "{:6} {line:>7.1} {arrow:>10.3} {:>10.2} {dict:>10.3} {lines:>10.3} {peer:>10.3} {write:>10.3} {:>8.2} {:>8.2} {:>8.2}",
            kind.name(),
            arrow * 1000.0 / line,
            arrow / peer,
            dict / peer,
            lines / peer
        );
    }
}
