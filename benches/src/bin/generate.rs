//! Writes line protocol to standard output: `generate KIND BYTES`, with BYTES such as 5G.

use std::io::Write;

use kwsync_bench::line_protocol::{Kind, generate};

fn bytes(text: &str) -> Option<u64> {
    let (digits, shift) = match text.char_indices().last()? {
        (at, 'G') => (text.get(..at)?, 30),
        (at, 'M') => (text.get(..at)?, 20),
        (at, 'K') => (text.get(..at)?, 10),
        _ => (text, 0),
    };
    digits.parse::<u64>().ok().map(|n| n << shift)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<_> = std::env::args().collect();
    let kind = args.get(1).and_then(|name| Kind::ALL.into_iter().find(|kind| kind.name() == name));
    let (Some(kind), Some(mut left)) = (kind, args.get(2).and_then(|text| bytes(text))) else {
        return Err("usage: generate cpu|iot|sens|nasty BYTES".into());
    };
    let block = generate(kind, 32 << 20);
    let mut out = std::io::stdout().lock();
    while left > 0 {
        out.write_all(block.as_bytes())?;
        left = left.saturating_sub(block.len() as u64);
    }
    Ok(())
}
