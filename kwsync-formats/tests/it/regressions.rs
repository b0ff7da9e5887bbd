//! What fuzzing has found, each in its smallest form.

use std::sync::Arc;

use kwsync_core::config::{Dsn, OpenOptions, Registry};
use kwsync_core::{Column, DataType, Decoder, Encoder, Role, Schema, TableBatch, TimeUnit, Value};
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

/// fuzz/seeds/round_trip/early: where the unit is told by the size of a number, milliseconds soon after 1970 would be
/// read as seconds.
#[test]
fn times_whose_unit_is_told_by_their_size() {
    let mut registry = Registry::new();
    kwsync_formats::register(&mut registry);
    let columns = vec![
        Column::new("timestamp", DataType::TimestampTz(TimeUnit::Millisecond)).with_role(Role::Timestamp),
        Column::new("value", DataType::Float64),
    ];
    let schema = Arc::new(Schema::new(columns).unwrap());
    for (format, times) in [("line_opentsdb", 6), ("json_opentsdb", 7)] {
        let all =
            [0, 2000, 4_294_967_000, 4_294_967_296, 1_700_000_000_123, 9_999_999_999_999, 99_999_999_999_999];
        let dsn: Dsn = "file:x".parse().unwrap();
        let write = |time| {
            let value = Value::Timestamp(time, TimeUnit::Millisecond, true);
            let row = vec![value.clone(), Value::Float64(0.5)];
            let batch = TableBatch::from_rows("m", Arc::clone(&schema), &[row]).unwrap();
            let mut encoder = registry.encoder(format, &dsn, &OpenOptions::new()).unwrap()().unwrap();
            let mut out = Vec::new();
            encoder.begin(&mut out).unwrap();
            encoder.encode(&batch, 0..1, &mut out)?;
            encoder.end(&mut out)?;
            Ok::<_, kwsync_core::Error>((value, out))
        };
        for time in &all[..times] {
            let (value, out) = write(*time).unwrap();
            let mut decoder = registry.decoder(format, &dsn, &OpenOptions::new()).unwrap()().unwrap();
            decoder.decode(&out.clone().into()).unwrap();
            decoder.finish().unwrap();
            let decoded = decoder.flush().unwrap();
            assert!(decoded.rejects.is_empty(), "{:?}", decoded.rejects);
            let found = decoded.batches[0].row(0).get("timestamp").unwrap().into_owned();
            assert_eq!(found, value, "{}", String::from_utf8_lossy(&out));
        }
        for time in [1, 2001, 4_294_967_295, -1000].iter().chain(&all[times..]) {
            assert!(write(*time).is_err(), "{format} {time}");
        }
    }
}
