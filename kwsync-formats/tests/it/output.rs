//! What a decoder puts out, in a form that can be compared.

use std::collections::BTreeMap;

use bytes::{Buf, Bytes};
use kwsync_core::{DecodeCounts, Decoder, Position, Reject, Value};
use kwsync_formats::influx::{LineDecoder, LineOptions, MissingTimestamp};

/// A row: its place, its bytes, and its values that are not null, by column.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct OutRow {
    pub(crate) position: Position,
    pub(crate) raw: Vec<u8>,
    pub(crate) values: BTreeMap<String, Value<'static>>,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Output {
    pub(crate) tables: BTreeMap<String, Vec<OutRow>>,
    pub(crate) rejects: Vec<Reject>,
    pub(crate) counts: DecodeCounts,
    pub(crate) end: Position,
}

pub(crate) const NOW: i64 = 1_700_000_000_000_000_001;

pub(crate) fn options() -> LineOptions {
    LineOptions::default().with_clock(|| NOW).with_missing_timestamp(MissingTimestamp::Receive)
}

impl Output {
    fn flush(&mut self, decoder: &mut dyn Decoder) {
        let decoded = decoder.flush().expect("flush");
        for batch in decoded.batches {
            let rows = self.tables.entry(batch.table().name().to_owned()).or_default();
            for i in 0..batch.rows() {
                let row = batch.row(i);
                let values = batch
                    .schema()
                    .columns()
                    .iter()
                    .map(|column| {
                        (column.name().to_owned(), row.get(column.name()).expect("value").into_owned())
                    })
                    .filter(|(_, value)| *value != Value::Null)
                    .collect();
                rows.push(OutRow {
                    position: batch.origin().position(i).expect("position"),
                    raw: batch.origin().raw(i).expect("raw").to_vec(),
                    values,
                });
            }
        }
        self.rejects.extend(decoded.rejects);
        self.counts += decoded.counts;
    }
}

/// Decodes `input` cut at `cuts`, flushing whenever asked to. Checks the contract on the way.
pub(crate) fn decode(input: &[u8], cuts: &[usize], options: LineOptions, slices: bool) -> Output {
    drive(&mut LineDecoder::new(options), input, cuts, slices)
}

/// The same with any decoder.
pub(crate) fn drive(decoder: &mut dyn Decoder, input: &[u8], cuts: &[usize], slices: bool) -> Output {
    let mut output = Output::default();
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| (*cut).min(input.len())).collect();
    cuts.push(input.len());
    cuts.sort_unstable();
    let mut at = 0;
    for cut in cuts {
        // A copy, so that reading past its end would show.
        let mut chunk = Bytes::from(input[at..cut].to_vec());
        at = cut;
        while !chunk.is_empty() {
            let used =
                if slices { decoder.decode_slice(&chunk) } else { decoder.decode(&chunk) }.expect("decode");
            assert!(used == chunk.len() || decoder.wants_flush(), "used {used} of {}", chunk.len());
            chunk.advance(used);
            if decoder.wants_flush() {
                output.flush(decoder);
                assert_eq!(decoder.buffered_rows(), 0);
            }
        }
        assert!(decoder.position().byte <= at as u64);
    }
    decoder.finish().expect("finish");
    assert!(!decoder.has_partial_record());
    output.flush(decoder);
    output.end = decoder.position();
    assert_eq!(output.end.byte, input.len() as u64);
    output
}
