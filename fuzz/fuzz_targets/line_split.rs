//! However line protocol is cut into chunks, the same rows, rejects and positions come out. The first byte of
//! the input sets the size of the chunks, the second the bound on rows, the third the limit on lines.
#![no_main]

use bytes::{Buf, Bytes};
use kwsync_core::{DecodeCounts, Decoder, Position};
use kwsync_formats::influx::{LineDecoder, LineOptions};
use libfuzzer_sys::fuzz_target;

/// Rows by table in order of the tables' names, rejects, counts, and the place where it ended.
type Output = (Vec<(String, Position, String)>, Vec<String>, DecodeCounts, Position);

fn flush(decoder: &mut LineDecoder, output: &mut Output) {
    let decoded = decoder.flush().expect("flush");
    for batch in &decoded.batches {
        batch.batch().columns().iter().for_each(|column| column.to_data().validate_full().expect("valid"));
        for i in 0..batch.rows() {
            let position = batch.origin().position(i).expect("position");
            let mut row = batch.row(i).to_json();
            if let Some(row) = row.as_object_mut() {
                // Columns that come later are null in one batch and missing in another.
                row.retain(|_, value| !value.is_null());
            }
            output.0.push((batch.table().name().to_owned(), position, row.to_string()));
        }
    }
    output.1.extend(decoded.rejects.iter().map(|reject| format!("{reject:?}")));
    output.2 += decoded.counts;
}

fn decode(input: &[u8], chunk: usize, options: LineOptions) -> Output {
    let mut decoder = LineDecoder::new(options.with_clock(|| 1));
    let mut output = (Vec::new(), Vec::new(), DecodeCounts::default(), Position::START);
    for piece in input.chunks(chunk) {
        let mut piece = Bytes::copy_from_slice(piece);
        while !piece.is_empty() {
            let used = decoder.decode(&piece).expect("decode");
            assert!(used == piece.len() || decoder.wants_flush());
            piece.advance(used);
            if decoder.wants_flush() {
                flush(&mut decoder, &mut output);
            }
        }
    }
    decoder.finish().expect("finish");
    flush(&mut decoder, &mut output);
    output.0.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.cmp(&b.1)));
    output.3 = decoder.position();
    output
}

fuzz_target!(|input: &[u8]| {
    let [chunk, rows, limit, input @ ..] = input else { return };
    let limit = if *limit == 0 { 1 << 20 } else { usize::from(*limit) };
    let options = || LineOptions::default().with_max_line_bytes(limit);
    let whole = decode(input, input.len().max(1), options());
    let cut = decode(input, usize::from(*chunk).max(1), options().with_batch_rows(usize::from(*rows)));
    assert_eq!(whole, cut);
    assert_eq!(whole.2.records as usize, whole.0.len() + whole.1.len());
    assert_eq!(whole.3.byte as usize, input.len());
});
