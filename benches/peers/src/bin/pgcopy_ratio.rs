//! Encodes the same rows as COPY BINARY by kwsync and by pgpq in turn and prints the medians by CPU time, and their
//! ratio. Arguments: megabytes of line protocol that the rows are made of (default 8), rounds (default 15).

use bytes::BytesMut;
use kwsync_peers::measure::{median, timed};
use kwsync_peers::pgcopy::{Rows, Tags};

/// Encodings under one look at the clock, which itself costs some microseconds.
const REPEAT: usize = 16;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let megabytes: usize = args.first().and_then(|a| a.parse().ok()).unwrap_or(8);
    let rounds: usize = args.get(1).and_then(|a| a.parse().ok()).unwrap_or(15);
    println!(
        "{:10} {:>7} {:>14} {:>14} {:>14} {:>8}",
        "tags", "B/row", "kwsync Mrow/s", "pgpq Mrow/s", "memcpy Mrow/s", "ratio"
    );
    for tags in [Tags::View, Tags::Utf8, Tags::Dictionary] {
        let rows = Rows::generate(megabytes << 20, tags);
        let (mut ours, mut theirs) = (Vec::new(), BytesMut::new());
        let bytes = rows.kwsync(&mut ours);
        assert_eq!(bytes, rows.pgpq(&mut theirs));
        assert!(ours == theirs, "not the same bytes");
        let copy = ours.clone();
        let (mut kwsync, mut pgpq, mut memcpy) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rounds.max(1) {
            kwsync.push(timed(|| (0..REPEAT).map(|_| rows.kwsync(&mut ours)).sum::<usize>()).0);
            pgpq.push(timed(|| (0..REPEAT).map(|_| rows.pgpq(&mut theirs)).sum::<usize>()).0);
            let copying = timed(|| {
                for _ in 0..REPEAT {
                    ours.copy_from_slice(std::hint::black_box(&copy));
                }
            });
            memcpy.push(copying.0);
        }
        let million = (rows.rows() * REPEAT) as f64 / 1e6;
        let (kwsync, pgpq, memcpy) =
            (million / median(kwsync), million / median(pgpq), million / median(memcpy));
        println!(
            "{:10} {:>7.1} {kwsync:>14.2} {pgpq:>14.2} {memcpy:>14.2} {:>8.2}",
            format!("{tags:?}"),
            bytes as f64 / rows.rows() as f64,
            kwsync / pgpq
        );
    }
}
