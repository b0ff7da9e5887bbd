//! What is measured: the same work by kwsync and by its peers.

pub mod chart;
pub mod json;
pub mod measure;
pub mod pgcopy;
pub mod text;

use bytes::{Buf, Bytes};
use kwsync_core::{Decoder, Encoder, TableBatch};
use kwsync_formats::influx::{LineDecoder, LineEncoder, LineOptions, Precision};

/// Chunk size of the benchmarks, as a source would read.
pub const CHUNK: usize = 512 << 10;

/// Decodes `input` to finished Arrow batches and returns the number of rows.
///
/// # Panics
///
/// If a record is refused, or a decoder fails.
#[must_use]
pub fn kwsync(input: &Bytes, options: LineOptions) -> usize {
    let mut decoder = LineDecoder::new(options);
    let mut rows = 0;
    let mut flush = |decoder: &mut LineDecoder| {
        let decoded = decoder.flush().expect("batches");
        assert!(decoded.rejects.is_empty(), "{:?}", decoded.rejects.first());
        rows += decoded.batches.iter().map(|batch| batch.rows()).sum::<usize>();
    };
    let mut at = 0;
    while at < input.len() {
        let mut chunk = input.slice(at..input.len().min(at + CHUNK));
        at += chunk.len();
        while !chunk.is_empty() {
            let used = decoder.decode(&chunk).expect("decode");
            chunk.advance(used);
            if decoder.wants_flush() {
                flush(&mut decoder);
            }
        }
    }
    decoder.finish().expect("finish");
    flush(&mut decoder);
    rows
}

/// The batches that `input` decodes to.
///
/// # Panics
///
/// If a record is refused, or a decoder fails.
#[must_use]
pub fn batches(input: &Bytes) -> Vec<TableBatch> {
    let mut decoder = LineDecoder::new(LineOptions::default());
    let (mut rest, mut batches) = (input.clone(), Vec::new());
    while !rest.is_empty() {
        let used = decoder.decode(&rest).expect("decode");
        rest.advance(used);
        batches.extend(decoder.flush().expect("batches").batches);
    }
    batches
}

/// Encodes batches as line protocol into `out` and returns the number of rows.
///
/// # Panics
///
/// If a row cannot be written.
pub fn encode(batches: &[TableBatch], out: &mut Vec<u8>) -> usize {
    let mut encoder = LineEncoder::new(Precision::Ns);
    out.clear();
    for batch in batches {
        encoder.encode(batch, 0..batch.rows(), out).expect("rows");
    }
    batches.iter().map(TableBatch::rows).sum()
}

/// Iterates over kwsync's borrowed lines and their values.
///
/// # Panics
///
/// If a record is refused.
#[must_use]
pub fn kwsync_lines(input: &[u8]) -> usize {
    kwsync_formats::influx::lines(input)
        .map(|line| {
            let line = line.expect("line");
            std::hint::black_box(line.tags().count() + line.fields().count());
        })
        .count()
}

/// Parses `input` with the crate influxdb-line-protocol, and nothing more.
///
/// # Panics
///
/// If a line is refused.
#[must_use]
pub fn influxdb_line_protocol(input: &str) -> usize {
    influxdb_line_protocol::parse_lines(input)
        .map(|line| {
            std::hint::black_box(line.expect("line"));
        })
        .count()
}
