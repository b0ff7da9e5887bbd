//! KaiwuDB's JSON: the documentation's examples, what is refused, any cutting, and written back.

use std::sync::Arc;

use kwsync_core::{Column, DataType, Decoder, Encoder, Role, Schema, TableBatch, TimeUnit, Value};
use kwsync_formats::Limits;
use kwsync_formats::json::Records;
use kwsync_formats::json::kaiwudb::{KaiwudbJsonDecoder, KaiwudbJsonEncoder, KaiwudbJsonOptions};
use proptest::prelude::*;

use crate::json::{limits, same_for_all_cuts};
use crate::output::{Output, drive};

fn options() -> KaiwudbJsonOptions {
    KaiwudbJsonOptions::new().with_limits(limits())
}

fn text(input: &str) -> Output {
    drive(&mut KaiwudbJsonDecoder::new(options()), input.as_bytes(), &[], false)
}

fn decode(input: &str, options: KaiwudbJsonOptions) -> kwsync_core::Decoded {
    let mut decoder = KaiwudbJsonDecoder::new(options);
    decoder.decode(&input.to_owned().into()).unwrap();
    decoder.finish().unwrap();
    decoder.flush().unwrap()
}

/// What the sink connector's documentation shows: tags before the data, `primary`.
const SINK: &str = r#"{"table":"ts_json_kaiwudb_tb","columns":[{"name":"ts","type":"TIMESTAMPTZ","length":64},{"name":"c1","type":"INT2","length":16},{"name":"c2","type":"INT4","length":32},{"name":"c3","type":"INT8","length":64},{"name":"c4","type":"FLOAT4","length":32},{"name":"c5","type":"FLOAT8","length":64},{"name":"c6","type":"BOOL","length":1}],"tags":[{"name":"location","type":"VARCHAR","length":64,"primary":true,"nullable":false},{"name":"temperature","type":"FLOAT4","length":64,"primary":false,"nullable":true}],"data":[{"ts":1690855924005,"c1":11,"c2":21,"c3":2535208944865431245,"c4":6.14545,"c5":5.15656,"c6":true,"location":"tianjin","temperature":35.5},{"ts":1691853703011,"c1":12,"c2":22,"c3":6422208944865124578,"c4":1.01635,"c5":0.53533,"c6":false,"location":"tianjin","temperature":35.5}]}"#;

/// What the source connector writes: the data before the tags, `isPrimary`, nulls.
const SOURCE: &str = r#"{"table":"cpu_kaiwudb_tb","columns":[{"name":"k_timestamp","type":"TIMESTAMP","length":64},{"name":"usage_user","type":"INT8","length":64},{"name":"usage_system","type":"INT8","length":64}],"data":[{"k_timestamp":1705962142224,"usage_user":1,"usage_system":2,"id":647470401348904608,"hostname":"locahost","region":"beijing","rack":null}],"tags":[{"name":"id","type":"INT8","length":64,"isPrimary":true,"nullable":false},{"name":"hostname","type":"VARCHAR","length":254,"isPrimary":false,"nullable":false},{"name":"region","type":"VARCHAR","length":254,"isPrimary":false,"nullable":false},{"name":"rack","type":"VARCHAR","length":254,"isPrimary":false,"nullable":true}]}"#;

#[test]
fn examples() {
    let output = text(&format!("{SINK}\n{SOURCE}\n{SINK}\n"));
    assert!(output.rejects.is_empty(), "{:?}", output.rejects);
    assert_eq!(output.counts.records, 5);
    let rows = &output.tables["ts_json_kaiwudb_tb"];
    assert_eq!(rows.len(), 4);
    let row = &rows[1].values;
    assert_eq!(row["ts"], Value::Timestamp(1_691_853_703_011, TimeUnit::Millisecond, true));
    assert_eq!((&row["c1"], &row["c3"]), (&Value::Int(12), &Value::Int(6_422_208_944_865_124_578)));
    assert_eq!((&row["c4"], &row["c5"]), (&Value::Float32(1.01635), &Value::Float64(0.53533)));
    assert_eq!(
        (&row["location"], &row["temperature"]),
        (&Value::Text("tianjin".into()), &Value::Float32(35.5))
    );
    assert!(rows[1].raw.starts_with(b"{\"ts\":1691853703011") && rows[1].raw.ends_with(b"35.5}"));
    assert_eq!(
        rows.iter().map(|row| (row.position.line, row.position.record)).collect::<Vec<_>>(),
        [(1, 1), (1, 2), (3, 4), (3, 5)]
    );
    let row = &output.tables["cpu_kaiwudb_tb"][0].values;
    assert_eq!(row["id"], Value::Int(647_470_401_348_904_608));
    assert_eq!(row["k_timestamp"], Value::Timestamp(1_705_962_142_224, TimeUnit::Millisecond, false));
    assert!(!row.contains_key("rack"));
    let batch = &decode(SOURCE, options()).batches[0];
    let roles: Vec<_> =
        batch.schema().columns().iter().map(|c| (c.name(), c.role(), c.is_nullable())).collect();
    assert_eq!(
        roles,
        [
            ("k_timestamp", Role::Timestamp, false),
            ("id", Role::PrimaryTag, false),
            ("hostname", Role::Tag, false),
            ("region", Role::Tag, false),
            ("rack", Role::Tag, true),
            ("usage_user", Role::Field, true),
            ("usage_system", Role::Field, true),
        ]
    );
}

/// The source connector's own bytes come out again, but for the length of what has none.
#[test]
fn written_as_the_source_connector_does() {
    let batch = decode(SOURCE, options()).batches.remove(0);
    let mut out = Vec::new();
    KaiwudbJsonEncoder::new(TimeUnit::Millisecond).encode(&batch, 0..1, &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    let parse = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    let mut expected = parse(SOURCE);
    assert_eq!(parse(&text), expected.take());
    assert!(text.find("\"data\"").unwrap() < text.find("\"tags\"").unwrap());
}

fn object(columns: &str, tags: &str, data: &str) -> String {
    format!("{{\"table\":\"t\",\"columns\":[{columns}],\"tags\":{tags},\"data\":[{data}]}}")
}

const TS: &str = r#"{"name":"ts","type":"TIMESTAMP"}"#;
const TAG: &str = r#"[{"name":"p","type":"VARCHAR","length":3,"primary":true,"nullable":false}]"#;

/// The table of docs/formats.md: whole objects.
#[test]
fn schemas() {
    let with = |column: &str| object(&format!("{TS},{column}"), TAG, r#"{"ts":1,"p":"a"}"#);
    let cases: Vec<(String, &str)> = vec![
        (with(r#"{"name":"c","type":"INT9"}"#), "bad_schema"),
        (with(r#"{"name":"c"}"#), "bad_schema"),
        (with(r#"{"type":"INT4"}"#), "bad_schema"),
        (with(r#"{"name":"ts","type":"INT4"}"#), "bad_schema"),
        (with(r#"{"name":"c","type":"INT4","unit":"s"}"#), "unknown_key"),
        (with(r#"{"name":"c","type":"INT4","length":"4"}"#), "bad_schema"),
        (with(r#"{"name":"c","type":"INT4","nullable":1}"#), "bad_schema"),
        (with(r#"{"name":"c","type":"INTERVAL"}"#), "unsupported_type"),
        (with("7"), "bad_schema"),
        (object(TS, r#"[{"name":"p","type":"INT4","primary":true,"isPrimary":false}]"#, ""), "bad_schema"),
        (object(TS, r#"[{"name":"p","type":"INT4","primary":true,"nullable":true}]"#, ""), "bad_schema"),
        (object(TS, r#"[{"name":"p","type":"INT4"}]"#, ""), "bad_schema"),
        (object(r#"{"name":"c","type":"INT4"}"#, TAG, ""), "bad_schema"),
        (object("", TAG, ""), "bad_schema"),
        (r#"{"columns":[],"data":[]}"#.to_owned(), "bad_schema"),
        (r#"{"table":"t","data":[]}"#.to_owned(), "bad_schema"),
        (r#"{"table":"t","columns":{},"data":[]}"#.to_owned(), "bad_schema"),
        (r#"{"table":"t","columns":[],"rows":[]}"#.to_owned(), "unknown_key"),
        (r#"{"table":"t","columns":[}"#.to_owned(), "bad_json"),
        (r#"{"table":"t","data":[{]}"#.to_owned(), "incomplete_record"),
    ];
    for (input, code) in cases {
        let output = text(&input);
        let codes: Vec<_> = output.rejects.iter().map(|r| r.code.as_str()).collect();
        assert_eq!(codes, [code], "{input}: {:?}", output.rejects);
        assert!(output.tables.is_empty(), "{input}");
        // And nothing of it stays behind.
        let output = text(&format!("{input}\n{}", object(TS, TAG, r#"{"ts":1,"p":"a"}"#)));
        assert_eq!((output.rejects.len(), output.tables["t"].len()), (1, 1), "{input}");
    }
    for fine in [
        object(TS, TAG, ""),
        object(TS, "null", ""),
        with(r#"{"name":"c","type":"float4","length":64}"#),
        with(r#"{"name":"c","type":"DECIMAL(10,2)"}"#),
        with(r#"{"name":"c","type":"VARBYTES","length":null}"#),
        r#"{"data":[],"columns":[{"name":"c","type":"INT4"}],"table":"t"}"#.to_owned(),
    ] {
        assert!(text(&fine).rejects.is_empty(), "{fine}: {:?}", text(&fine).rejects);
    }
    // The same table, declared otherwise.
    let again =
        object(&format!("{TS},{{\"name\":\"c\",\"type\":\"INT4\"}}"), TAG, r#"{"ts":1,"p":"a","c":1}"#);
    let other =
        object(&format!("{TS},{{\"name\":\"c\",\"type\":\"INT8\"}}"), TAG, r#"{"ts":1,"p":"a","c":1}"#);
    let more = object(
        &format!("{TS},{{\"name\":\"d\",\"type\":\"BOOL\",\"nullable\":false}}"),
        TAG,
        r#"{"ts":1,"p":"a","d":true},{"ts":2,"p":"a"}"#,
    );
    let output = text(&format!("{again}\n{other}\n{more}\n{again}"));
    assert_eq!(
        output.rejects.iter().map(|r| (r.code.as_str(), r.position.line)).collect::<Vec<_>>(),
        [("type_conflict", 2), ("not_null", 3)]
    );
    assert_eq!(output.tables["t"].len(), 3);
}

/// The table of docs/formats.md: rows.
#[test]
fn rows() {
    let columns = format!(
        r#"{TS},{{"name":"i","type":"INT2"}},{{"name":"f","type":"FLOAT4"}},{{"name":"b","type":"BOOL"}},{{"name":"s","type":"NVARCHAR","length":2}},{{"name":"y","type":"VARBYTES","length":2}}"#
    );
    let cases: &[(&str, Result<&str, &str>)] = &[
        (r#"{"ts":1,"p":"a"}"#, Ok("p")),
        (r#"{"ts":"2024-01-01 00:00:00.001","p":"a"}"#, Ok("ts")),
        (r#"{"p":"a","ts":1,"i":null}"#, Ok("ts")),
        (r#"{"ts":1,"p":"a","i":32767}"#, Ok("i")),
        (r#"{"ts":1,"p":"a","i":32768}"#, Err("integer_overflow")),
        (r#"{"ts":1,"p":"a","i":"1"}"#, Err("type_conflict")),
        (r#"{"ts":1,"p":"a","i":1.5}"#, Err("inexact")),
        (r#"{"ts":1,"p":"a","f":16777217}"#, Err("inexact")),
        (r#"{"ts":1,"p":"a","b":1}"#, Err("type_conflict")),
        (r#"{"ts":1,"p":"a","s":"日本"}"#, Ok("s")),
        (r#"{"ts":1,"p":"a","s":"日本語"}"#, Err("too_long")),
        (r#"{"ts":1,"p":"a","s":5}"#, Err("type_conflict")),
        (r#"{"ts":1,"p":"a","y":"\\x3132"}"#, Ok("y")),
        (r#"{"ts":1,"p":"a","y":"\\x313233"}"#, Err("too_long")),
        (r#"{"ts":1,"p":"long"}"#, Err("too_long")),
        (r#"{"ts":1,"p":null}"#, Err("not_null")),
        (r#"{"ts":1}"#, Err("not_null")),
        (r#"{"p":"a"}"#, Err("not_null")),
        (r#"{"ts":"soon","p":"a"}"#, Err("bad_timestamp")),
        (r#"{"ts":1,"p":"a","x":1}"#, Err("unknown_column")),
        (r#"{"ts":1,"p":"a",}"#, Err("bad_json")),
        (r#"{"ts":01,"p":"a"}"#, Err("bad_number")),
        (r#"{"ts":1,"p":"a","ts":2}"#, Ok("ts")),
        ("7", Err("bad_json")),
    ];
    let good = r#"{"ts":9,"p":"z"}"#;
    for (row, expected) in cases {
        let input = object(&columns, TAG, &format!("{good},{row},{good}"));
        let output = text(&input);
        match expected {
            Ok(column) => {
                assert!(output.rejects.is_empty(), "{row}: {:?}", output.rejects);
                assert!(output.tables["t"][1].values.contains_key(*column), "{row}");
                assert_eq!(output.tables["t"].len(), 3);
            }
            Err(code) => {
                assert_eq!(output.rejects.len(), 1, "{row}: {:?}", output.rejects);
                let reject = &output.rejects[0];
                assert_eq!((reject.code.as_str(), reject.position.record), (*code, 2), "{row}");
                let raw = String::from_utf8(reject.raw.to_vec()).unwrap();
                assert!(raw.contains(row) && raw.starts_with("{\"table\":\"t\",\"columns\":["), "{raw}");
                if *row != "7" {
                    assert_eq!(output.tables["t"].len(), 2, "{row}");
                    // The reject can be read again, with the same result.
                    let again = text(&raw);
                    assert_eq!(again.rejects[0].code, *code, "{raw}");
                }
            }
        }
    }
    // Relational tables: times are text.
    let columns = r#"{"name":"id","type":"INT4","nullable":false},{"name":"at","type":"TIMESTAMP"}"#;
    let output = text(&object(
        columns,
        "null",
        r#"{"id":1,"at":"2023-08-11 12:12:10.249"},{"id":2,"at":1690855924005},{"at":null},{"id":3}"#,
    ));
    assert_eq!(
        output.rejects.iter().map(|r| r.code.as_str()).collect::<Vec<_>>(),
        ["bad_timestamp", "not_null"]
    );
    assert_eq!(
        output.tables["t"][0].values["at"],
        Value::Timestamp(1_691_755_930_249, TimeUnit::Millisecond, false)
    );
}

fn make(mode: Records) -> impl Fn(Limits) -> Box<dyn Decoder> {
    move |limits| {
        Box::new(KaiwudbJsonDecoder::new(KaiwudbJsonOptions::new().with_records(mode).with_limits(limits)))
    }
}

fn row() -> impl Strategy<Value = String> {
    let value = prop_oneof![
        5 => (0..99i64).prop_map(|v| v.to_string()),
        1 => any::<i64>().prop_map(|v| v.to_string()),
        1 => Just("null".to_owned()), 1 => Just("1.5".to_owned()), 1 => Just("\"abc\"".to_owned()), 1 => Just("true".to_owned()),
    ];
    (0..1i64 << 40, prop::collection::vec(("[abcx]", value), 0..4), "[a-z\u{e9}]{0,4}").prop_map(
        |(ts, values, tag)| {
            let mut row = format!("{{\"ts\":{ts}");
            for (name, value) in values {
                row.push_str(&format!(",\"{name}\":{value}"));
            }
            format!("{row},\"p\":\"{tag}\"}}")
        },
    )
}

fn objects() -> impl Strategy<Value = String> {
    (prop::collection::vec(row(), 0..6), 0usize..3, any::<bool>(), any::<bool>(), 0usize..2).prop_map(
        |(rows, columns, first, breaks, table)| {
            let gap = if breaks { "\n" } else { "" };
            let mut fields = TS.to_owned();
            for (name, data_type) in
                [("a", "INT4"), ("b", "FLOAT8"), ("c", "VARCHAR")].iter().take(columns + 1)
            {
                fields.push_str(&format!(",{{\"name\":\"{name}\",\"type\":\"{data_type}\",\"length\":8}}"));
            }
            let data = format!("\"data\":[{gap}{}]", rows.join(&format!(",{gap}")));
            let tags = format!("\"tags\":{TAG}");
            let (one, two) = if first { (data, tags) } else { (tags, data) };
            format!("{{\"table\":\"t{table}\",{gap}\"columns\":[{fields}],{one},{two}}}\n")
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn cuts(
        objects in prop::collection::vec(objects(), 0..5),
        repeat in 1usize..3,
        changes in prop::collection::vec((any::<prop::sample::Index>(), prop_oneof![any::<u8>(), Just(b'"'), Just(b'}'), Just(b']'), Just(b'{')]), 0..3),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        rows in 1usize..9,
        lines in any::<bool>(),
        most in 100usize..900,
    ) {
        let mode = if lines { Records::Lines } else { Records::Values };
        let mut input = objects.concat().repeat(repeat).into_bytes();
        same_for_all_cuts(&make(mode), &input, &cuts, rows, &limits)?;
        same_for_all_cuts(&make(mode), &input, &cuts, rows, &|| limits().with_max_record_bytes(most))?;
        if !input.is_empty() {
            for (at, byte) in changes {
                let at = at.index(input.len());
                input[at] = byte;
            }
            same_for_all_cuts(&make(mode), &input, &cuts, rows, &limits)?;
        }
    }

    /// Rows of every type are written and read again.
    #[test]
    fn round_trip(
        rows in prop::collection::vec((0i64..1 << 41, any::<Option<i16>>(), any::<Option<i64>>(), any::<Option<f32>>(), any::<Option<f64>>(), any::<Option<bool>>(), prop::option::of("\\PC{0,9}"), prop::option::of(prop::collection::vec(any::<u8>(), 0..9)), "\\PC{1,9}"), 1..12),
        relational in any::<bool>(),
        each in 1usize..5,
    ) {
        let role = |role| if relational { Role::Field } else { role };
        let schema = Arc::new(Schema::new(vec![
            Column::new("ts", DataType::TimestampTz(TimeUnit::Millisecond)).with_role(role(Role::Timestamp)).with_nullable(false),
            Column::new("i16", DataType::Int16),
            Column::new("i64", DataType::Int64),
            Column::new("f32", DataType::Float32),
            Column::new("f64", DataType::Float64),
            Column::new("bool", DataType::Bool),
            Column::new("text", DataType::NVarChar(Some(9))),
            Column::new("bytes", DataType::VarBytes(Some(9))),
            Column::new("tag", DataType::VarChar(Some(9))).with_role(role(Role::PrimaryTag)).with_nullable(false),
        ]).unwrap());
        let finite = |value: Option<f64>| value.filter(|v| v.is_finite()).map_or(Value::Null, Value::Float64);
        let rows: Vec<Vec<Value<'static>>> = rows.into_iter().map(|(ts, a, b, c, d, e, f, g, h)| vec![
            Value::Timestamp(ts, TimeUnit::Millisecond, true),
            a.map_or(Value::Null, |v| Value::Int(v.into())),
            b.map_or(Value::Null, Value::Int),
            c.filter(|v| v.is_finite()).map_or(Value::Null, Value::Float32),
            finite(d),
            e.map_or(Value::Null, Value::Bool),
            f.map_or(Value::Null, |v| Value::Text(v.into())),
            g.map_or(Value::Null, |v| Value::Bytes(v.into())),
            Value::Text(h.into()),
        ]).collect();
        let batch = TableBatch::from_rows("t \"x\"", Arc::clone(&schema), &rows).unwrap();
        let mut out = Vec::new();
        let mut encoder = KaiwudbJsonEncoder::new(TimeUnit::Millisecond).with_rows(each);
        encoder.encode(&batch, 0..batch.rows(), &mut out).unwrap();
        let decoded = decode(std::str::from_utf8(&out).unwrap(), options());
        prop_assert!(decoded.rejects.is_empty(), "{:?}", decoded.rejects);
        let again = &decoded.batches[0];
        prop_assert_eq!(again.table(), batch.table());
        for column in schema.columns() {
            prop_assert_eq!(again.schema().column(column.name()), Some(column));
        }
        for i in 0..batch.rows() {
            prop_assert_eq!(again.row(i).to_json(), batch.row(i).to_json());
        }
    }
}

#[test]
fn what_cannot_be_written() {
    let ts = Column::new("ts", DataType::TimestampTz(TimeUnit::Nanosecond)).with_role(Role::Timestamp);
    let tag = Column::new("p", DataType::Text).with_role(Role::PrimaryTag);
    let schema = Arc::new(Schema::new(vec![ts, tag, Column::new("f", DataType::Float64)]).unwrap());
    let row = |ns, f| {
        vec![Value::Timestamp(ns, TimeUnit::Nanosecond, true), Value::Text("a".into()), Value::Float64(f)]
    };
    let mut encoder = KaiwudbJsonEncoder::new(TimeUnit::Millisecond);
    let mut out = b"before".to_vec();
    for (bad, code) in [(row(1, 1.0), "timestamp_precision"), (row(0, f64::NAN), "non_finite")] {
        let batch = TableBatch::from_rows("t", Arc::clone(&schema), &[row(0, 1.0), bad]).unwrap();
        let error = encoder.encode(&batch, 0..2, &mut out).unwrap_err();
        assert_eq!((error.code(), error.location().and_then(|place| place.row())), (Some(code), Some(1)));
        assert_eq!(out, b"before");
    }
}
