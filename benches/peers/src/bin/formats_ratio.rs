//! Every format beside its peers in one run: a table in Markdown on standard output, and the ratios as `FILE.svg`.
//! Arguments: megabytes of data (default 32), rounds (default 9), where to draw (default benches/formats.svg).

use std::time::Duration;

use bytes::Bytes;
use kwsync_bench::{delimited, json, line_protocol};
use kwsync_core::{Encoder, TimeUnit};
use kwsync_formats::influx::{LineOptions, Precision};
use kwsync_formats::opentsdb::{TelnetDecoder, TelnetEncoder, TelnetOptions};
use kwsync_peers::chart::{Bar, svg};
use kwsync_peers::measure::{median, timed};
use kwsync_peers::text;

/// One row of the table: medians by turns, ours first.
struct Row {
    name: String,
    bytes: usize,
    rows: usize,
    ours: f64,
    peer: Option<(&'static str, f64)>,
}

type Run<'a> = Box<dyn Fn() -> usize + 'a>;

fn by_turns(
    rounds: usize,
    (name, bytes): (String, usize),
    ours: Run<'_>,
    peers: Vec<(&'static str, Run<'_>)>,
) -> Vec<Row> {
    let mut own: Vec<Duration> = Vec::new();
    let mut others: Vec<Vec<Duration>> = peers.iter().map(|_| Vec::new()).collect();
    let mut rows = 0;
    for _ in 0..rounds {
        let (time, n) = timed(&ours);
        own.push(time);
        rows = n;
        for ((_, peer), times) in peers.iter().zip(&mut others) {
            times.push(timed(peer).0);
        }
    }
    let ours = median(own);
    if peers.is_empty() {
        return vec![Row { name, bytes, rows, ours, peer: None }];
    }
    let pairs = peers.iter().zip(others);
    pairs
        .map(|((peer, _), times)| Row {
            name: name.clone(),
            bytes,
            rows,
            ours,
            peer: Some((peer, median(times))),
        })
        .collect()
}

fn main() -> std::io::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, usual: usize| args.get(at).and_then(|text| text.parse().ok()).unwrap_or(usual);
    let (size, rounds) = (number(0, 32) << 20, number(1, 9).max(1));
    let path = args.get(2).map_or("benches/formats.svg", String::as_str);
    let mut rows = Vec::new();
    for kind in line_protocol::Kind::ALL {
        let data = line_protocol::generate(kind, size);
        let bytes = Bytes::from(data.clone());
        let named = (format!("line protocol, {}", kind.name()), bytes.len());
        rows.extend(by_turns(
            rounds,
            named,
            Box::new(|| kwsync_peers::kwsync(&bytes, LineOptions::default())),
            vec![(
                "influxdb-line-protocol, parsing alone",
                Box::new(|| kwsync_peers::influxdb_line_protocol(&data)),
            )],
        ));
    }
    let line = Bytes::from(line_protocol::generate(line_protocol::Kind::Cpu, size));
    let batches = kwsync_peers::batches(&line);
    let mut telnet = Vec::new();
    for batch in &batches {
        let mut out = Vec::new();
        TelnetEncoder::new(TimeUnit::Nanosecond).encode(batch, 0..batch.rows(), &mut out).expect("points");
        telnet.append(&mut out);
        if telnet.len() > size {
            break;
        }
    }
    let telnet = Bytes::from(telnet);
    let options = || TelnetOptions::new().with_precision(Precision::Ns);
    rows.extend(by_turns(
        rounds,
        ("OpenTSDB telnet".to_owned(), telnet.len()),
        Box::new(|| text::decode(&telnet, TelnetDecoder::new(options()))),
        Vec::new(),
    ));
    for kind in json::Kind::ALL {
        let data = json::generate(kind, size);
        let cut = if kind == json::Kind::Opentsdb {
            data.replace("},{\"metric", "}\n{\"metric").replace(['[', ']'], "")
        } else {
            data.clone()
        };
        let bytes = Bytes::from(data);
        rows.extend(by_turns(
            rounds,
            (format!("JSON, {}", kind.name()), bytes.len()),
            Box::new(|| kwsync_peers::json::kwsync(kind, &bytes)),
            vec![
                ("arrow-json", Box::new(|| kwsync_peers::json::arrow_json(kind, cut.as_bytes()))),
                ("sonic-rs into structs", Box::new(|| kwsync_peers::json::sonic(kind, &bytes))),
            ],
        ));
    }
    let csv = Bytes::from(delimited::generate(size));
    rows.extend(by_turns(
        rounds,
        ("CSV".to_owned(), csv.len()),
        Box::new(|| text::decode(&csv, text::csv())),
        vec![("arrow-csv", Box::new(|| text::arrow_csv(&csv)))],
    ));
    println!(
        "| data | B/row | kwsync, GB/s | M rows/s | peer | peer, GB/s | ratio |\n|---|---|---|---|---|---|---|"
    );
    let mut bars = Vec::new();
    for row in &rows {
        let speed = |seconds: f64| row.bytes as f64 / 1e9 / seconds;
        let (own, per_row) = (speed(row.ours), row.bytes as f64 / row.rows as f64);
        let rate = row.rows as f64 / 1e6 / row.ours;
        match row.peer {
            Some((peer, seconds)) => {
                let ratio = seconds / row.ours;
                println!(
                    "| {} | {per_row:.0} | {own:.2} | {rate:.2} | {peer} | {:.3} | {ratio:.1} |",
                    row.name,
                    speed(seconds)
                );
                let peer = peer.split(',').next().unwrap_or(peer);
                bars.push(Bar {
                    name: format!("{} / {peer}", row.name),
                    ratio,
                    note: format!(" ({own:.2} GB/s)"),
                });
            }
            None => println!("| {} | {per_row:.0} | {own:.2} | {rate:.2} | | | |", row.name),
        }
    }
    std::fs::write(path, svg("Bytes to Arrow batches: how many times as quick as the peer, one core", &bars))
}
