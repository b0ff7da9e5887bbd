//! One pass over one kind of data, for counting instructions: KIND MEGABYTES [PASSES] [dictionary].

use bytes::Bytes;
use kwsync_bench::line_protocol::{Kind, generate};
use kwsync_formats::influx::{LineOptions, TagEncoding};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let kind = Kind::ALL
        .into_iter()
        .find(|kind| args.first().is_some_and(|a| a == kind.name()))
        .unwrap_or(Kind::Cpu);
    let megabytes: usize = args.get(1).and_then(|a| a.parse().ok()).unwrap_or(2);
    let passes: usize = args.get(2).and_then(|a| a.parse().ok()).unwrap_or(1);
    let bytes = Bytes::from(generate(kind, megabytes << 20));
    let tags = if args.get(3).is_some() { TagEncoding::Dictionary } else { TagEncoding::View };
    for _ in 0..passes {
        let options = LineOptions::default().with_tag_encoding(tags);
        println!("{} rows", kwsync_peers::kwsync(&bytes, options));
    }
}
