//! OpenTSDB telnet beside line protocol, and CSV beside arrow-csv: the medians by CPU time, and their ratio.
//! Arguments: megabytes of data (default 32), rounds (default 9), and `csv` to decode CSV and nothing else.

use bytes::Bytes;
use kwsync_bench::{delimited, line_protocol};
use kwsync_core::{Encoder, TimeUnit};
use kwsync_formats::delimited::{DelimitedEncoder, DelimitedOptions};
use kwsync_formats::influx::{LineDecoder, LineOptions};
use kwsync_formats::opentsdb::{TelnetDecoder, TelnetEncoder, TelnetOptions};
use kwsync_peers::measure::{median, timed};
use kwsync_peers::text::{arrow_csv, csv, decode};

fn main() {
    let mut args = std::env::args().skip(1);
    let mut next = |usual: usize| args.next().and_then(|text| text.parse().ok()).unwrap_or(usual);
    let (bytes, rounds) = (next(32) << 20, next(9).max(1));
    if std::env::args().nth(3).as_deref() == Some("csv") {
        // For a profiler.
        let text = Bytes::from(delimited::generate(bytes));
        let rows: usize = (0..rounds).map(|_| decode(&text, csv())).sum();
        return println!("{rows} rows of CSV");
    }
    let line = Bytes::from(line_protocol::generate(line_protocol::Kind::Cpu, bytes));
    let batches = kwsync_peers::batches(&line);
    let mut telnet = Vec::new();
    for batch in &batches {
        TelnetEncoder::new(TimeUnit::Nanosecond).encode(batch, 0..batch.rows(), &mut telnet).expect("points");
        if telnet.len() > bytes {
            break;
        }
    }
    let telnet = Bytes::from(telnet);
    let options = || TelnetOptions::new().with_precision(kwsync_formats::influx::Precision::Ns);
    let text = Bytes::from(delimited::generate(bytes));
    let (mut lines, mut puts, mut ours, mut theirs, mut write) = (vec![], vec![], vec![], vec![], vec![]);
    let (mut points, mut rows, mut written) = (0, 0, 0);
    for _ in 0..rounds {
        lines.push(timed(|| decode(&line, LineDecoder::new(LineOptions::default()))).0);
        let (time, n) = timed(|| decode(&telnet, TelnetDecoder::new(options())));
        (points, _) = (n, puts.push(time));
        let (time, n) = timed(|| decode(&text, csv()));
        ours.push(time);
        let (time, m) = timed(|| arrow_csv(&text));
        theirs.push(time);
        assert_eq!(n, m);
        rows = n;
        let mut encoder = DelimitedEncoder::new(DelimitedOptions::csv()).expect("options");
        let mut out = Vec::new();
        let (time, ()) = timed(|| {
            for batch in &batches {
                encoder.encode(batch, 0..batch.rows(), &mut out).expect("rows");
            }
        });
        write.push(time);
        written = out.len();
    }
    let show = |name: &str, size: usize, rows: usize, seconds: f64| {
        let speed = size as f64 / 1e9 / seconds;
        println!("{name:32} {speed:>8.3} GB/s {:>8.2} Mrows/s", rows as f64 / 1e6 / seconds);
        speed
    };
    let rows_of_lines = batches.iter().map(|batch| batch.rows()).sum();
    let lp = show("line protocol cpu to Arrow", line.len(), rows_of_lines, median(lines));
    let put = show("OpenTSDB telnet to Arrow", telnet.len(), points, median(puts));
    let ours = show("CSV to Arrow", text.len(), rows, median(ours));
    let theirs = show("CSV to Arrow, arrow-csv", text.len(), rows, median(theirs));
    show("Arrow to CSV", written, rows_of_lines, median(write));
    println!("telnet / line protocol {:.2}, CSV / arrow-csv {:.2}", put / lp, ours / theirs);
}
