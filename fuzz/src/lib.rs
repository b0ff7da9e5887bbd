//! What the targets share: a decoder run over an input that is cut into chunks.

use bytes::{Buf, Bytes};
use kwsync_core::{DecodeCounts, Decoder, Position, TableBatch};

/// What came out: rows by table in order of the tables' names, rejects, counts, the place where it ended, and the error
/// that ended it.
#[derive(Debug, PartialEq)]
pub struct Output {
    pub rows: Vec<(String, Position, String)>,
    pub rejects: Vec<String>,
    pub counts: DecodeCounts,
    pub end: Position,
    pub error: Option<String>,
}

/// A row, without its nulls: columns that come later are null in one batch and missing in another.
pub fn json(batch: &TableBatch, row: usize) -> String {
    let mut row = batch.row(row).to_json();
    if let Some(row) = row.as_object_mut() {
        row.retain(|_, value| !value.is_null());
    }
    row.to_string()
}

fn flush(decoder: &mut dyn Decoder, output: &mut Output) {
    let decoded = decoder.flush().expect("flush");
    for batch in &decoded.batches {
        batch.batch().columns().iter().for_each(|column| column.to_data().validate_full().expect("valid"));
        for i in 0..batch.rows() {
            let position = batch.origin().position(i).expect("position");
            output.rows.push((batch.table().name().to_owned(), position, json(batch, i)));
        }
    }
    output.rejects.extend(decoded.rejects.iter().map(|reject| format!("{reject:?}")));
    output.counts += decoded.counts;
}

/// Decodes `input` in chunks of `chunk` bytes.
pub fn decode(input: &[u8], chunk: usize, decoder: &mut dyn Decoder) -> Output {
    let mut output = Output {
        rows: Vec::new(),
        rejects: Vec::new(),
        counts: DecodeCounts::default(),
        end: Position::START,
        error: None,
    };
    let done = (|| {
        for piece in input.chunks(chunk.max(1)) {
            let mut piece = Bytes::copy_from_slice(piece);
            while !piece.is_empty() {
                let used = decoder.decode(&piece)?;
                assert!(used == piece.len() || decoder.wants_flush());
                piece.advance(used);
                if decoder.wants_flush() {
                    flush(decoder, &mut output);
                }
            }
        }
        decoder.finish()
    })();
    if let Err(error) = done {
        // Rows before it may have been flushed or not.
        output.error = Some(error.to_string());
        (output.rows, output.rejects) = (Vec::new(), Vec::new());
        output.counts = DecodeCounts::default();
        return output;
    }
    flush(decoder, &mut output);
    output.rows.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.cmp(&b.1)));
    output.end = decoder.position();
    assert_eq!(output.end.byte as usize, input.len());
    output
}
