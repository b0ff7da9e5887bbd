//! The text formats, and arrow-csv beside ours.

use std::sync::Arc;

use bytes::{Buf, Bytes};
use kwsync_bench::delimited;
use kwsync_core::{DataType, Decoder};
use kwsync_formats::delimited::{DelimitedDecoder, DelimitedOptions, ReadOptions};

use crate::CHUNK;

/// Decodes everything and returns the number of rows.
///
/// # Panics
/// If a record is refused, or a decoder fails.
#[must_use]
pub fn decode(input: &Bytes, mut decoder: impl Decoder) -> usize {
    let mut rows = 0;
    let mut flush = |decoder: &mut dyn Decoder| {
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

/// Reads CSV with arrow-csv and returns the number of rows.
///
/// # Panics
/// If a row is refused.
#[must_use]
pub fn arrow_csv(input: &Bytes) -> usize {
    use arrow_schema_59::{DataType as Arrow, Field, Schema};
    let fields = delimited::COLUMNS.map(|(name, kind)| {
        let data_type = match kind {
            "i64" => Arrow::Int64,
            "f64" => Arrow::Float64,
            _ => Arrow::Utf8,
        };
        Field::new(name, data_type, true)
    });
    let schema = Arc::new(Schema::new(fields.to_vec()));
    let reader = arrow_csv_59::ReaderBuilder::new(schema).with_batch_size(8192);
    let batches = reader.build_buffered(std::io::Cursor::new(input)).expect("reader");
    batches.map(|batch| batch.expect("batch").num_rows()).sum()
}

/// A decoder of the benchmark's CSV, its types given.
///
/// # Panics
/// Never; the options go together.
#[must_use]
pub fn csv() -> DelimitedDecoder {
    let read = delimited::COLUMNS.iter().fold(ReadOptions::new(), |read, (name, kind)| {
        read.with_column(*name, Some(kind.parse::<DataType>().expect("type")))
    });
    DelimitedDecoder::new(DelimitedOptions::csv(), read).expect("options")
}
