//! The decoders of JSON: however the input is cut, the same rows, rejects and positions come out; and what inference
//! takes for an object, serde_json takes for one with the same values. The first byte of the input picks the decoder
//! and how objects lie, the second the size of the chunks, the third the bound on rows, the fourth the limit on
//! records.
#![no_main]

use std::sync::LazyLock;

use bytes::{Buf, Bytes};
use kwsync_core::{DecodeCounts, Decoder, Position};
use kwsync_formats::Limits;
use kwsync_formats::json::kaiwudb::{KaiwudbJsonDecoder, KaiwudbJsonOptions};
use kwsync_formats::json::mapping::{Mapping, MappingDecoder, MappingOptions};
use kwsync_formats::json::opentsdb::{OpentsdbJsonDecoder, OpentsdbJsonOptions};
use kwsync_formats::json::{JsonDecoder, JsonOptions, Records};
use libfuzzer_sys::fuzz_target;

static MAPPING: LazyLock<Mapping> = LazyLock::new(|| {
    Mapping::parse(
        r#"{"parse": {"value": {"json": ["ts::timestamp", "id::int", "$.a.b[0]::double", "free", "s::varchar(5)"]}},
            "model": [{"name": "d{id}", "using": "u", "columns": ["ts", "b", "free"], "tags": ["s"]},
                      {"name": "n{id}", "columns": ["ts", "free"]}]}"#,
    )
    .expect("a mapping")
});

fn decoder(which: u8, limits: Limits) -> Box<dyn Decoder> {
    let records = if which & 4 == 0 { Records::Lines } else { Records::Values };
    match which & 3 {
        0 => Box::new(JsonDecoder::new(
            JsonOptions::new().with_table_key("table").with_records(records).with_limits(limits),
        )),
        1 => Box::new(OpentsdbJsonDecoder::new(OpentsdbJsonOptions::new().with_limits(limits))),
        2 => Box::new(KaiwudbJsonDecoder::new(KaiwudbJsonOptions::new().with_records(records).with_limits(limits))),
        _ => Box::new(MappingDecoder::new(
            MappingOptions::new(MAPPING.clone()).with_records(records).with_limits(limits),
        )),
    }
}

/// Rows by table in order of the tables' names, rejects, counts, and the place where it ended.
type Output = (Vec<(String, Position, String, String)>, Vec<String>, DecodeCounts, Position);

fn flush(decoder: &mut dyn Decoder, output: &mut Output) {
    let decoded = decoder.flush().expect("flush");
    for batch in &decoded.batches {
        batch.batch().columns().iter().for_each(|column| column.to_data().validate_full().expect("valid"));
        for i in 0..batch.rows() {
            let position = batch.origin().position(i).expect("position");
            let raw = String::from_utf8_lossy(batch.origin().raw(i).expect("raw")).into_owned();
            let mut row = batch.row(i).to_json();
            if let Some(row) = row.as_object_mut() {
                // Columns that come later are null in one batch and missing in another, and integers may have become
                // floats.
                row.retain(|_, value| !value.is_null());
                for value in row.values_mut() {
                    if let Some(number) = value.as_i64().filter(|n| n.unsigned_abs() <= 1 << 53) {
                        *value = (number as f64).into();
                    }
                }
            }
            output.0.push((batch.table().name().to_owned(), position, raw, row.to_string()));
        }
    }
    // Messages speak of what columns are by now.
    output.1.extend(decoded.rejects.iter().map(|r| format!("{} {:?} {:?} {:?}", r.code, r.position, r.raw, r.at)));
    output.2 += decoded.counts;
}

fn decode(which: u8, input: &[u8], chunk: usize, limits: Limits) -> Output {
    let mut decoder = decoder(which, limits.with_clock(|| 1));
    let mut output = (Vec::new(), Vec::new(), DecodeCounts::default(), Position::START);
    for piece in input.chunks(chunk) {
        let mut piece = Bytes::copy_from_slice(piece);
        while !piece.is_empty() {
            let used = decoder.decode(&piece).expect("decode");
            assert!(used == piece.len() || decoder.wants_flush());
            piece.advance(used);
            if decoder.wants_flush() {
                flush(&mut *decoder, &mut output);
            }
        }
    }
    decoder.finish().expect("finish");
    flush(&mut *decoder, &mut output);
    output.0.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.cmp(&b.1)));
    output.3 = decoder.position();
    output
}

fuzz_target!(|input: &[u8]| {
    let [which, chunk, rows, limit, input @ ..] = input else { return };
    let limit = if *limit == 0 { 1 << 20 } else { usize::from(*limit) };
    let limits = || Limits::new().with_max_record_bytes(limit);
    let whole = decode(*which, input, input.len().max(1), limits());
    let cut = decode(*which, input, usize::from(*chunk).max(1), limits().with_batch_rows(usize::from(*rows).max(1)));
    assert_eq!(whole, cut);
    assert_eq!(whole.3.byte as usize, input.len());
    if which & 3 == 0 {
        for (_, _, raw, row) in &whole.0 {
            let value: serde_json::Value = serde_json::from_str(raw).expect("what was taken is JSON");
            let row: serde_json::Value = serde_json::from_str(row).expect("a row");
            for (key, value) in value.as_object().expect("an object") {
                let same = match (value, row.get(key)) {
                    (serde_json::Value::String(text), Some(serde_json::Value::String(own))) => text == own,
                    (serde_json::Value::Bool(flag), Some(serde_json::Value::Bool(own))) => flag == own,
                    (serde_json::Value::Number(number), Some(serde_json::Value::Number(own))) => {
                        number.as_f64() == own.as_f64()
                    }
                    // Arrays are text, objects many columns, and the table's name is none.
                    _ => true,
                };
                assert!(same, "{key}: {value} became {row}");
            }
        }
    }
});
