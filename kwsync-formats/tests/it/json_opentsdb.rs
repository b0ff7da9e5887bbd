//! OpenTSDB's JSON: what is taken and refused, under any cutting, and written back.

use std::collections::BTreeMap;

use kwsync_core::{Decoder, Encoder, TimeUnit, Value};
use kwsync_formats::Limits;
use kwsync_formats::json::opentsdb::{
    ClockUnit, Metric, OpentsdbJsonDecoder, OpentsdbJsonEncoder, OpentsdbJsonOptions,
};
use proptest::prelude::*;

use crate::json::{limits, same_for_all_cuts};
use crate::output::{Output, drive};

fn options() -> OpentsdbJsonOptions {
    OpentsdbJsonOptions::new().with_limits(limits())
}

fn text(input: &str, options: OpentsdbJsonOptions) -> Output {
    drive(&mut OpentsdbJsonDecoder::new(options), input.as_bytes(), &[], false)
}

fn stamp(ms: i64) -> Value<'static> {
    Value::Timestamp(ms, TimeUnit::Millisecond, true)
}

/// The example of KWDB's documentation.
#[test]
fn seed() {
    let input = r#"[{"metric":"ts_json_opentsdb_tb.c1","timestamp":1648432611249,"value":10.3,"tags":{"tag_name":"tag_value"}},{"metric":"ts_json_opentsdb_tb.c2","timestamp":1648432611339,"value":219,"tags":{"tag_name":"tag_value"}},{"metric":"ts_json_opentsdb_tb.c1","timestamp":1648432611340,"value":12.6,"tags":{"tag_name":"tag_value"}},{"metric":"ts_json_opentsdb_tb.c2","timestamp":1648432611250,"value":218,"tags":{"tag_name":"tag_value"}}]"#;
    for (metric, tables, columns) in [
        (
            Metric::Verbatim,
            ["ts_json_opentsdb_tb.c1", "ts_json_opentsdb_tb.c2"],
            ["tag_name", "timestamp", "value"],
        ),
        (
            Metric::Underscore,
            ["ts_json_opentsdb_tb_c1", "ts_json_opentsdb_tb_c2"],
            ["k_timestamp", "tag_name", "value"],
        ),
    ] {
        let output = text(input, options().with_metric(metric));
        assert!(output.rejects.is_empty());
        assert_eq!(output.tables.keys().collect::<Vec<_>>(), tables);
        let row = &output.tables[tables[0]][1];
        assert_eq!(row.values.keys().collect::<Vec<_>>(), columns);
        assert_eq!(row.values["value"], Value::Float64(12.6));
        assert_eq!(row.values["tag_name"], Value::Text("tag_value".into()));
        assert!(row.raw.starts_with(b"{\"metric\"") && row.raw.ends_with(b"}}"));
        assert_eq!(row.position.record, 3);
    }
    let output = text(input, options().with_metric(Metric::Split));
    let rows = &output.tables["ts_json_opentsdb_tb"];
    assert_eq!(rows.len(), 4);
    assert_eq!(rows[1].values["c2"], Value::Int(219));
    assert_eq!(rows[1].values["timestamp"], stamp(1_648_432_611_339));
    assert!(!rows[1].values.contains_key("c1"));
}

/// The table of docs/formats.md.
#[test]
fn conformance() {
    let point = |value: &str| format!(r#"{{"metric":"m","timestamp":1,"value":{value}}}"#);
    let with = |rest: &str| format!(r#"{{"metric":"m","timestamp":1,"value":1{rest}}}"#);
    let cases: Vec<(String, Result<Value<'static>, &str>)> = vec![
        (point("9007199254740993"), Ok(Value::Int(9_007_199_254_740_993))),
        (point("-9223372036854775808"), Ok(Value::Int(i64::MIN))),
        (point("18446744073709551615"), Ok(Value::UInt(u64::MAX))),
        (point("18446744073709551616"), Err("integer_overflow")),
        (point("1.5e3"), Ok(Value::Float64(1500.0))),
        (point("true"), Ok(Value::Bool(true))),
        (point("\"on\""), Ok(Value::Text("on".into()))),
        (point("\"10.3\""), Ok(Value::Float64(10.3))),
        (point("\"1\\u0032\""), Ok(Value::Int(12))),
        (point("null"), Err("missing_value")),
        (point("[1]"), Err("bad_value")),
        (point("{}"), Err("bad_value")),
        (point("NaN"), Err("bad_json")),
        (with(",\"tags\":{}"), Ok(Value::Int(1))),
        (with(",\"tags\":null"), Ok(Value::Int(1))),
        (with(",\"tags\":{\"a\":null}"), Ok(Value::Int(1))),
        (with(",\"tags\":{\"a\":1.50,\"b\":true}"), Ok(Value::Int(1))),
        (with(",\"tags\":{\"a\":[]}"), Err("bad_tags")),
        (with(",\"tags\":{\"a\":{\"b\":1}}"), Err("bad_tags")),
        (with(",\"tags\":\"a\""), Err("bad_tags")),
        (with(",\"tags\":{\"value\":\"a\"}"), Err("column_clash")),
        (with(",\"tags\":{\"\":\"a\"}"), Err("column_clash")),
        (with(",\"extra\":1"), Err("unknown_key")),
        (with(",\"value\":2"), Ok(Value::Int(2))),
        (r#"{"timestamp":1,"value":1}"#.to_owned(), Err("missing_key")),
        (r#"{"metric":"m","value":1}"#.to_owned(), Err("missing_key")),
        (r#"{"metric":"m","timestamp":1}"#.to_owned(), Err("missing_key")),
        (r#"{"metric":"","timestamp":1,"value":1}"#.to_owned(), Err("bad_metric")),
        (r#"{"metric":7,"timestamp":1,"value":1}"#.to_owned(), Err("bad_metric")),
        (r#"{"metric":"m","timestamp":"1","value":1}"#.to_owned(), Err("bad_timestamp")),
        (r#"{"metric":"m","timestamp":1.5,"value":1}"#.to_owned(), Err("bad_timestamp")),
        (r#"{"metric":"m","timestamp":-1,"value":1}"#.to_owned(), Err("bad_timestamp")),
        (r#"{"metric":"m","timestamp":null,"value":1}"#.to_owned(), Err("bad_timestamp")),
        (r#"{"metric":"m","timestamp":1,"value":1"#.to_owned(), Err("incomplete_record")),
    ];
    for (input, expected) in cases {
        let output = text(&input, options());
        match expected {
            Ok(value) => {
                assert!(output.rejects.is_empty(), "{input}: {:?}", output.rejects);
                assert_eq!(output.tables["m"][0].values["value"], value, "{input}");
            }
            Err(code) => {
                let codes: Vec<_> = output.rejects.iter().map(|r| r.code.as_str()).collect();
                assert_eq!(codes, [code], "{input}: {:?}", output.rejects);
                assert!(output.tables.is_empty());
            }
        }
    }
    let output = text(&with(",\"tags\":{\"a\":1.50,\"b\":true}"), options());
    assert_eq!(output.tables["m"][0].values["a"], Value::Text("1.50".into()));
    let output = text(&point("\"10.3\""), options().with_text_values(true));
    assert_eq!(output.tables["m"][0].values["value"], Value::Text("10.3".into()));
    assert_eq!(text(&point("1"), options().with_metric(Metric::Split)).rejects[0].code, "bad_metric");
}

#[test]
fn units() {
    let input = "{\"metric\":\"m\",\"timestamp\":1648432611,\"value\":1}{\"metric\":\"m\",\"timestamp\":1648432611249,\"value\":2}".repeat(2);
    let times = |output: &Output| {
        output.tables["m"].iter().map(|row| row.values["timestamp"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(times(&text(&input, options()))[..2], [stamp(1_648_432_611_000), stamp(1_648_432_611_249)]);
    let ms = text(&input, options().with_unit(ClockUnit::Ms));
    assert_eq!(times(&ms)[..2], [stamp(1_648_432_611), stamp(1_648_432_611_249)]);
    let s = text(&input.replace("1648432611249", "9223372036854775807"), options().with_unit(ClockUnit::S));
    assert_eq!(s.rejects[0].code, "timestamp_overflow");
}

#[test]
fn a_bad_point_costs_itself() {
    let good = r#"{"metric":"m","timestamp":1,"value":1,"tags":{"a":"b"}}"#;
    let bad = r#"{"metric":"m","timestamp":1,"value":true,"tags":{"new":"b"}}"#;
    let output =
        text(&format!("[{good},{bad},{good}]{good}\n[\n{good},\n{{oops}},\n{good}\n]\n{good}"), options());
    let codes: Vec<_> =
        output.rejects.iter().map(|r| (r.code.as_str(), r.position.line, r.position.record)).collect();
    assert_eq!(codes, [("type_conflict", 1, 2), ("bad_json", 4, 6)]);
    assert_eq!(&output.rejects[0].raw[..], bad.as_bytes());
    assert_eq!(output.tables["m"].len(), 6);
    assert!(output.tables["m"].iter().all(|row| !row.values.contains_key("new")));
    // Points may come in an array that is longer than any record may be.
    let many = format!("[{}{good}]", format!("{good},\n").repeat(1000));
    let output = text(&many, options().with_limits(limits().with_max_record_bytes(100)));
    assert_eq!((output.tables["m"].len(), output.rejects.len()), (1001, 0));
    let output = text("[", options());
    assert_eq!(output.rejects[0].code, "incomplete_record");
}

#[test]
fn a_number_in_a_string_is_text_where_the_column_is() {
    let point = |value: &str| format!(r#"{{"metric":"m","timestamp":1,"value":{value}}}"#);
    let output = text(&[point("\"a\""), point("\"7\""), point("7")].concat(), options());
    assert_eq!(output.tables["m"].len(), 2);
    assert_eq!(output.rejects[0].code, "type_conflict");
    let output = text(&[point("7"), point("\"8\""), point("\"a\"")].concat(), options());
    assert_eq!(output.tables["m"].len(), 2);
    assert_eq!(output.rejects[0].code, "type_conflict");
}

type Point = (String, i64, String, BTreeMap<String, String>);

fn point() -> impl Strategy<Value = Point> {
    let value = prop_oneof![
        4 => (-1000i64..1000).prop_map(|v| v.to_string()),
        1 => any::<i64>().prop_map(|v| v.to_string()),
        2 => (-1000i64..1000).prop_map(|v| format!("{v}.5")),
        1 => any::<bool>().prop_map(|v| v.to_string()),
        1 => "[a-z]{0,20}".prop_map(|v| format!("\"{v}\"")),
        1 => Just("\"7\"".to_owned()),
        1 => Just("null".to_owned()),
    ];
    let tags = prop::collection::btree_map("[abc]", "[a-z\u{e9}\"\\\\]{0,16}", 0..4);
    ("m[.][ab]", prop_oneof![0..1i64 << 41, any::<i64>()], value, tags)
}

fn write(point: &Point, blanks: bool) -> String {
    let (metric, time, value, tags) = point;
    let tags = serde_json::to_string(tags).unwrap();
    let gap = if blanks { "\n " } else { "" };
    format!(
        "{{{gap}\"metric\":{gap}\"{metric}\",\"timestamp\":{time},{gap}\"value\":{value},\"tags\":{tags}{gap}}}"
    )
}

fn make(metric: Metric) -> impl Fn(Limits) -> Box<dyn Decoder> {
    move |limits| {
        Box::new(OpentsdbJsonDecoder::new(OpentsdbJsonOptions::new().with_metric(metric).with_limits(limits)))
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn points(
        points in prop::collection::vec(point(), 0..12),
        repeat in 1usize..4,
        blanks in any::<bool>(),
        array in any::<bool>(),
        split in any::<bool>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..2),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        rows in 1usize..9,
        most in 40usize..400,
    ) {
        let points: Vec<String> = std::iter::repeat_n(&points, repeat).flatten().map(|point| write(point, blanks)).collect();
        let mut input = if array { format!("[{}]\n", points.join(",")) } else { points.join("\n") }.into_bytes();
        let metric = if split { Metric::Split } else { Metric::Verbatim };
        let whole = same_for_all_cuts(&make(metric), &input, &cuts, rows, &limits)?;
        prop_assert_eq!(whole.counts.records as usize, points.len());
        same_for_all_cuts(&make(metric), &input, &cuts, rows, &|| limits().with_max_record_bytes(most))?;
        if !input.is_empty() {
            for (at, byte) in changes {
                let at = at.index(input.len());
                input[at] = byte;
            }
            same_for_all_cuts(&make(metric), &input, &cuts, rows, &limits)?;
        }
    }

    /// What was read is written and read again.
    #[test]
    fn round_trip(points in prop::collection::vec(point(), 1..12), split in any::<bool>()) {
        let metric = if split { Metric::Split } else { Metric::Verbatim };
        let input: String = points.iter().map(|point| write(point, false)).collect();
        let mut decoder = OpentsdbJsonDecoder::new(OpentsdbJsonOptions::new().with_metric(metric).with_unit(ClockUnit::Ms));
        decoder.decode(&input.into()).unwrap();
        decoder.finish().unwrap();
        let decoded = decoder.flush().unwrap();
        let mut encoder = OpentsdbJsonEncoder::new(metric, ClockUnit::Ms);
        for batch in decoded.batches {
            let mut out = Vec::new();
            encoder.encode(&batch, 0..batch.rows(), &mut out).unwrap();
            // The first value's type stands, so each comes again as what the column is.
            let mut decoder = OpentsdbJsonDecoder::new(OpentsdbJsonOptions::new().with_metric(metric).with_unit(ClockUnit::Ms))
                .with_target(batch.table().clone(), std::sync::Arc::clone(batch.schema()));
            decoder.decode(&out.into()).unwrap();
            decoder.finish().unwrap();
            let again = decoder.flush().unwrap();
            prop_assert!(again.rejects.is_empty(), "{:?}", again.rejects);
            let rows = |batch: &kwsync_core::TableBatch| (0..batch.rows()).map(|i| batch.row(i).to_json()).collect::<Vec<_>>();
            prop_assert_eq!(rows(&again.batches[0]), rows(&batch));
        }
    }
}

#[test]
fn what_cannot_be_written() {
    let batch = |rows: &str| {
        let mut decoder = kwsync_formats::json::JsonDecoder::new(
            kwsync_formats::json::JsonOptions::new().with_time("ts", TimeUnit::Microsecond).with_table("t"),
        );
        decoder.decode(&rows.to_owned().into()).unwrap();
        decoder.finish().unwrap();
        decoder.flush().unwrap().batches.remove(0)
    };
    let mut out = b"before".to_vec();
    let mut encoder = OpentsdbJsonEncoder::new(Metric::Split, ClockUnit::Ms);
    for (rows, code) in [
        ("{\"ts\":1000,\"a\":1}\n{\"ts\":1001,\"a\":2}", "timestamp_precision"),
        ("{\"ts\":1000,\"a\":1}\n{\"ts\":1000}", "no_fields"),
    ] {
        let error = encoder.encode(&batch(rows), 0..2, &mut out).unwrap_err();
        assert_eq!((error.code(), error.location().and_then(|place| place.row())), (Some(code), Some(1)));
        assert_eq!(out, b"before");
    }
}
