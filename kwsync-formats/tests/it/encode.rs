//! What is written is read back the same, and what cannot be written is named.

use std::sync::Arc;

use bytes::Bytes;
use kwsync_core::{Column, DataType, Decoder, Encoder, ErrorKind, Role, Schema, TableBatch, TimeUnit, Value};
use kwsync_formats::influx::{
    LineDecoder, LineEncoder, LineOptions, MissingTimestamp, Precision, TagEncoding, lines, write_line,
};
use proptest::prelude::*;

use crate::inputs;
use crate::output::{Output, decode, options};

fn batches(input: &[u8], options: LineOptions) -> Vec<TableBatch> {
    let mut decoder = LineDecoder::new(options);
    let (mut rest, mut batches) = (Bytes::copy_from_slice(input), Vec::new());
    while !rest.is_empty() {
        rest = rest.slice(decoder.decode(&rest).unwrap()..);
        batches.extend(decoder.flush().unwrap().batches);
    }
    decoder.finish().unwrap();
    batches.extend(decoder.flush().unwrap().batches);
    batches
}

fn encode(batches: &[TableBatch]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = LineEncoder::new(Precision::Ns);
    for batch in batches {
        let half = batch.rows() / 2;
        encoder.encode(batch, 0..half, &mut out).unwrap();
        encoder.encode(batch, half..batch.rows(), &mut out).unwrap();
    }
    out
}

/// Tables, and each one's rows in order, without their places.
fn rows(output: Output) -> Vec<(String, Vec<String>)> {
    let text = |row: crate::output::OutRow| format!("{:?}", row.values);
    output.tables.into_iter().map(|(table, rows)| (table, rows.into_iter().map(text).collect())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn read_back(input in inputs::any_input(), size in 1usize..20, dictionary in any::<bool>()) {
        prop_assume!(!input.windows(3).any(|three| three == b"\xef\xbb\xbf"));
        let options = || options().with_missing_timestamp(MissingTimestamp::Null);
        let tags = if dictionary { TagEncoding::Dictionary } else { TagEncoding::View };
        let batches = batches(&input, options().with_batch_rows(size).with_tag_encoding(tags));
        let written = encode(&batches);
        let again = decode(&written, &[], options(), false);
        prop_assert_eq!(&again.rejects, &[], "{}", String::from_utf8_lossy(&written));
        prop_assert_eq!(rows(again), rows(decode(&input, &[], options(), false)));
    }

    #[test]
    fn lines_read_back(input in inputs::any_input()) {
        prop_assume!(!input.windows(3).any(|three| three == b"\xef\xbb\xbf"));
        let (mut out, mut all) = (Vec::new(), Vec::new());
        for line in lines(&input).flatten() {
            write_line(&line, &mut out);
            all.push(line);
        }
        let again: Vec<_> = lines(&out).collect::<Result<_, _>>().unwrap();
        prop_assert_eq!(again.len(), all.len());
        for (a, b) in again.iter().zip(&all) {
            prop_assert_eq!(a.measurement(), b.measurement());
            prop_assert!(a.tags().eq(b.tags()) && a.fields().eq(b.fields()));
            prop_assert_eq!(a.timestamp(), b.timestamp());
        }
    }

    /// The same float back, and as few digits as the standard library needs.
    #[test]
    fn floats(f in prop_oneof![
        any::<f64>(), -1000.0..1000.0, (any::<i32>(), 0..8i32).prop_map(|(n, e)| f64::from(n) / 10f64.powi(e)),
        (any::<i64>(), 0..12i32).prop_map(|(n, e)| n as f64 / 10f64.powi(e)),
    ]) {
        prop_assume!(f.is_finite());
        let batch = one(vec![Column::new("f", DataType::Float64)], vec![Value::Float64(f)]);
        let line = written(&batch, Precision::Ns).unwrap();
        let text = line.trim_start_matches("m f=").trim_end();
        prop_assert_eq!(text.parse::<f64>().unwrap().to_bits(), f.to_bits());
        let count = |text: &str| text.split('e').next().unwrap().bytes().filter(u8::is_ascii_digit).collect::<Vec<_>>();
        let significant = |text: &str| {
            let digits = count(text);
            let from = digits.iter().position(|&b| b != b'0').unwrap_or(digits.len());
            let to = digits.iter().rposition(|&b| b != b'0').map_or(from, |n| n + 1);
            to - from
        };
        prop_assert_eq!(significant(text), significant(&format!("{f:e}")), "{}", text);
        prop_assert!(!text.contains('+'), "{}", text);
    }

    #[test]
    fn numbers(i in any::<i64>(), u in any::<u64>(), f in any::<f64>().prop_filter("finite", |f| f.is_finite()), s in 0u32..64) {
        let (i, u) = (i >> s, u >> s);
        let input = format!("m i={i}i,u={u}u,f={f:e} {i}\n");
        let output = decode(&encode(&batches(input.as_bytes(), options())), &[], options(), false);
        let row = &output.tables["m"][0].values;
        prop_assert_eq!((&row["i"], &row["u"]), (&Value::Int(i), &Value::UInt(u)));
        prop_assert!(matches!(row["f"], Value::Float64(v) if v.to_bits() == f.to_bits()), "{:?} is not {f:e}", row["f"]);
        prop_assert_eq!(&row["time"], &Value::Timestamp(i, TimeUnit::Nanosecond, true));
    }
}

fn one(columns: Vec<Column>, row: Vec<Value<'static>>) -> TableBatch {
    TableBatch::from_rows("m", Arc::new(Schema::new(columns).unwrap()), &[row]).unwrap()
}

fn written(batch: &TableBatch, precision: Precision) -> kwsync_core::Result<String> {
    let mut out = b"before".to_vec();
    let result = LineEncoder::new(precision).encode(batch, 0..batch.rows(), &mut out);
    if result.is_err() {
        assert_eq!(out, b"before", "an error leaves nothing behind");
    }
    result.map(|()| String::from_utf8(out).unwrap().split_off(6))
}

#[test]
fn other_types() {
    let time = || Column::new("t", DataType::Timestamp(TimeUnit::Millisecond)).with_role(Role::Timestamp);
    let columns = vec![
        Column::new("rack", DataType::Int16).with_role(Role::Tag),
        Column::new("up", DataType::Bool).with_role(Role::PrimaryTag),
        Column::new("small", DataType::UInt8),
        Column::new("f", DataType::Float32),
        Column::new("doc", DataType::Json),
        time(),
    ];
    let row = vec![
        Value::Int(-7),
        Value::Bool(true),
        Value::UInt(200),
        Value::Float32(0.1),
        Value::Text("{\"a\":1}".into()),
        Value::Timestamp(5000, TimeUnit::Millisecond, false),
    ];
    let batch = one(columns, row);
    let line = "m,rack=-7,up=true small=200u,f=0.1,doc=\"{\\\"a\\\":1}\" 5";
    assert_eq!(written(&batch, Precision::S).unwrap(), format!("{line}\n"));
    assert_eq!(written(&batch, Precision::Us).unwrap(), format!("{line}000000\n"));
    let row = |ms| vec![Value::Int(1), Value::Timestamp(ms, TimeUnit::Millisecond, false)];
    let batch = |ms| one(vec![Column::new("n", DataType::Int64), time()], row(ms));
    assert!(written(&batch(1500), Precision::S).unwrap_err().to_string().contains("precision"));
    assert!(written(&batch(i64::MAX), Precision::Ns).unwrap_err().to_string().contains("64 bits"));
}

#[test]
fn what_line_protocol_lacks() {
    let tag = |text: &'static str| {
        (Column::new("c", DataType::Text).with_role(Role::Tag), Value::Text(text.into()))
    };
    let data: Vec<(Column, Value<'static>)> = vec![
        tag(""),
        tag("ends in \\"),
        tag("two\nlines"),
        (Column::new("c", DataType::Float64), Value::Float64(f64::NAN)),
        (Column::new("c", DataType::Float32), Value::Float32(f32::INFINITY)),
    ];
    let n = || Column::new("n", DataType::Int64);
    for (column, value) in data {
        let error = written(&one(vec![n(), column], vec![Value::Int(1), value]), Precision::Ns).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Data);
        let text = format!("{error:?}");
        assert!(text.contains("\"c\"") && text.contains("row: Some(0)"), "{text}");
    }
    let date = one(vec![n(), Column::new("c", DataType::Date)], vec![Value::Int(1), Value::Date(3)]);
    let error = written(&date, Precision::Ns).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(format!("{error:?}").contains("\"c\""), "{error:?}");
    let none = one(vec![n(), Column::new("c", DataType::Date)], vec![Value::Int(1), Value::Null]);
    assert_eq!(written(&none, Precision::Ns).unwrap(), "m n=1i\n", "a column of nulls is left out");
    let error =
        written(&one(vec![n(), tag("x").0], vec![Value::Null, tag("x").1]), Precision::Ns).unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Data, Some("missing_fields")));
    for name in ["#m", "m\\", "a\tb"] {
        let error = written(&date.clone().with_table(name), Precision::Ns).unwrap_err();
        assert_eq!(error.code(), Some("bad_name"));
    }
}
