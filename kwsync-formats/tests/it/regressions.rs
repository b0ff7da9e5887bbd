//! What fuzzing has found, each in its smallest form.

use std::sync::Arc;

use kwsync_core::{Column, DataType, Decoder, Encoder, Schema, TableBatch, Value};
use kwsync_formats::delimited::{DelimitedDecoder, DelimitedEncoder, DelimitedOptions, Header, ReadOptions};

/// fuzz/seeds/round_trip/mark: a reader drops a byte order mark where a file begins, so no field may look like one.
#[test]
fn a_first_field_that_begins_with_a_byte_order_mark() {
    let schema = Arc::new(
        Schema::new(vec![Column::new("\u{feff}a", DataType::Text), Column::new("b", DataType::Text)])
            .unwrap(),
    );
    let row = |a: &'static str| vec![Value::Text(a.into()), Value::Text("\u{feff}".into())];
    let rows = [row("\u{feff}"), row("\u{feff}x\ty\n\"\\"), row("\u{feff}\u{feff}")];
    let batch = TableBatch::from_rows("t", Arc::clone(&schema), &rows).unwrap();
    for options in [
        DelimitedOptions::csv(),
        DelimitedOptions::csv().with_header(Header::Names),
        DelimitedOptions::text(),
        DelimitedOptions::text().with_header(Header::Names),
    ] {
        for from in 0..rows.len() {
            let mut out = Vec::new();
            DelimitedEncoder::new(options.clone()).unwrap().encode(&batch, from..3, &mut out).unwrap();
            let read = ReadOptions::new().with_schema(&schema);
            let mut decoder = DelimitedDecoder::new(options.clone(), read).unwrap();
            decoder.decode_slice(&out).unwrap();
            decoder.finish().unwrap();
            let decoded = decoder.flush().unwrap();
            assert!(decoded.rejects.is_empty(), "{:?}", decoded.rejects);
            let batch = &decoded.batches[0];
            assert_eq!(batch.rows(), 3 - from);
            for (at, row) in rows[from..].iter().enumerate() {
                for (column, value) in batch.schema().columns().iter().zip(row) {
                    assert_eq!(&batch.row(at).get(column.name()).unwrap(), value);
                }
            }
        }
    }
}
