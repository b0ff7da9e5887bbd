//! Runs kwsync and its peers in turn over the same JSON and prints the medians by CPU time, and their ratios.
//! Arguments: megabytes of data (default 32), rounds (default 9), kinds (default all).

use bytes::Bytes;
use kwsync_bench::json::{Kind, generate};
use kwsync_peers::json;
use kwsync_peers::measure::{median, timed};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let megabytes: usize = args.first().and_then(|a| a.parse().ok()).unwrap_or(32);
    let rounds: usize = args.get(1).and_then(|a| a.parse().ok()).unwrap_or(9);
    println!(
        "{:9} {:>7} {:>11} {:>9} {:>10} {:>10} {:>8} {:>8}",
        "data", "B/row", "kwsync GB/s", "Mrows/s", "arrow-json", "sonic-rs", "/arrow", "/sonic"
    );
    for kind in Kind::ALL {
        if args.len() > 2 && !args[2..].iter().any(|name| name == kind.name()) {
            continue;
        }
        let text = generate(kind, megabytes << 20);
        // arrow-json reads objects one after another, not arrays of them.
        let cut = if kind == Kind::Opentsdb {
            text.replace("},{\"metric", "}\n{\"metric").replace(['[', ']'], "")
        } else {
            text.clone()
        };
        let bytes = Bytes::from(text);
        let (mut own, mut arrow, mut sonic) = (Vec::new(), Vec::new(), Vec::new());
        let mut rows = 0;
        for _ in 0..rounds.max(1) {
            let (time, n) = timed(|| json::kwsync(kind, &bytes));
            own.push(time);
            let (time, m) = timed(|| json::arrow_json(kind, cut.as_bytes()));
            arrow.push(time);
            let (time, k) = timed(|| json::sonic(kind, &bytes));
            sonic.push(time);
            assert!(n == k && (n == m || kind == Kind::Kaiwudb), "{n}, {m} and {k} rows");
            rows = n;
        }
        let size = bytes.len() as f64 / 1e9;
        let speed = |times| size / median(times);
        let (own, arrow, sonic) = (speed(own), speed(arrow), speed(sonic));
        let row = bytes.len() as f64 / rows as f64;
        println!(
            "{:9} {row:>7.1} {own:>11.3} {:>9.2} {arrow:>10.3} {sonic:>10.3} {:>8.2} {:>8.2}",
            kind.name(),
            own * 1000.0 / row,
            own / arrow,
            own / sonic
        );
    }
}
