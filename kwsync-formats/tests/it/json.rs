//! JSON by inference: against a model, against serde_json, under any cutting of the input.

use std::collections::BTreeMap;
use std::sync::Arc;

use kwsync_core::{Column, DataType, Decoder, Position, Schema, TableId, TimeUnit, Value};
use kwsync_formats::Limits;
use kwsync_formats::influx::MissingTimestamp;
use kwsync_formats::json::{Conflict, JsonDecoder, JsonOptions, Objects, Records};
use proptest::prelude::*;

use crate::output::{NOW, Output, drive};

pub(crate) fn limits() -> Limits {
    Limits::new().with_clock(|| NOW)
}

fn options() -> JsonOptions {
    JsonOptions::new().with_table("t")
}

fn decode(input: &[u8], cuts: &[usize], options: JsonOptions, limits: Limits, slices: bool) -> Output {
    drive(&mut JsonDecoder::new(options.with_limits(limits)), input, cuts, slices)
}

fn text(input: &str, options: JsonOptions) -> Output {
    decode(input.as_bytes(), &[], options, limits(), false)
}

/// Integers that became floats when the column did look different before and after.
pub(crate) fn plain(mut output: Output) -> Output {
    for row in output.tables.values_mut().flatten() {
        for value in row.values.values_mut() {
            if let Value::Int(number) = value
                && number.unsigned_abs() <= 1 << 53
            {
                *value = Value::Float64(*number as f64);
            }
        }
    }
    for reject in &mut output.rejects {
        // The type that a column has by now stands in its message, and depends on where batches end.
        reject.reason = String::new();
    }
    output
}

/// Every cut gives the same.
pub(crate) fn same_for_all_cuts(
    make: &dyn Fn(Limits) -> Box<dyn Decoder>,
    input: &[u8],
    cuts: &[prop::sample::Index],
    rows: usize,
    limits: &dyn Fn() -> Limits,
) -> Result<Output, TestCaseError> {
    let run = |limits: Limits, cuts: &[usize], slices| plain(drive(&mut *make(limits), input, cuts, slices));
    let whole = run(limits(), &[], false);
    for row in whole.tables.values().flatten() {
        let start = row.position.byte as usize;
        prop_assert_eq!(&row.raw[..], &input[start..start + row.raw.len()]);
        let line = input[..start].iter().filter(|&&byte| byte == b'\n').count() as u64 + 1;
        prop_assert_eq!(row.position.line, line);
    }
    for reject in &whole.rejects {
        let at = reject.position.byte as usize;
        let line = input[..at].iter().filter(|&&byte| byte == b'\n').count() as u64 + 1;
        let start = input[..at].iter().rposition(|&byte| byte == b'\n').map_or(0, |n| n + 1);
        prop_assert_eq!(
            (reject.position.line, reject.position.column),
            (line, (at - start) as u64 + 1),
            "{:?}",
            reject
        );
    }
    let cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(input.len() + 1)).collect();
    prop_assert_eq!(&run(limits().with_batch_rows(rows), &cuts, false), &whole);
    prop_assert_eq!(&run(limits().with_batch_rows(rows), &cuts, true), &whole);
    let every: Vec<usize> = (0..input.len()).collect();
    prop_assert_eq!(&run(limits().with_batch_bytes(rows * 50), &every, true), &whole);
    prop_assert_eq!(&run(limits(), &every, false), &whole);
    prop_assert_eq!(&run(limits(), &[], true), &whole);
    Ok(whole)
}

fn check(
    input: &[u8],
    cuts: &[prop::sample::Index],
    rows: usize,
    mode: Records,
    most: usize,
) -> Result<Output, TestCaseError> {
    let make = |limits| {
        let options = options().with_records(mode).with_limits(limits);
        Box::new(JsonDecoder::new(options)) as Box<dyn Decoder>
    };
    same_for_all_cuts(&make, input, cuts, rows, &|| limits().with_max_record_bytes(most))
}

/// A value and how it may be written.
fn value() -> impl Strategy<Value = (Value<'static>, String)> {
    let string = prop_oneof![
        4 => "[a-z ]{0,14}", 1 => "[a-z]{13,60}", 1 => "[\u{e9}\u{65e5}\u{1f600}\"\\\\\n\t/]{0,8}", 1 => "[\\x00-\\x1f]{1,3}",
    ];
    prop_oneof![
        1 => Just((Value::Null, "null".to_owned())),
        1 => any::<bool>().prop_map(|v| (Value::Bool(v), v.to_string())),
        2 => (-300i64..300).prop_map(|v| (Value::Int(v), v.to_string())),
        1 => any::<i64>().prop_map(|v| (Value::Int(v), v.to_string())),
        2 => (-9_999i64..9_999, 1usize..4).prop_map(|(v, d)| {
            let text = format!("{}.{:0d$}", v, v.unsigned_abs() % 10u64.pow(d as u32));
            (Value::Float64(text.parse().unwrap()), text)
        }),
        1 => any::<f64>().prop_filter("finite", |v| v.is_finite()).prop_map(|v| {
            let text = format!("{v:e}");
            (Value::Float64(v), text)
        }),
        3 => (string, any::<bool>()).prop_map(|(v, ascii)| {
            let mut text = serde_json::to_string(&v).unwrap();
            if ascii {
                let units: Vec<u16> = text.encode_utf16().collect();
                text = units.iter().map(|u| if *u < 128 { char::from(*u as u8).to_string() } else { format!("\\u{u:04X}") }).collect();
            }
            (Value::Text(v.into()), text)
        }),
        1 => Just((Value::Text("[1, {\"a\":[]}]".into()), "[1, {\"a\":[]}]".to_owned())),
    ]
}

type Record = Vec<(String, (Value<'static>, String))>;

fn key() -> impl Strategy<Value = String> {
    prop_oneof![5 => "[a-d]", 1 => Just("a key that is longer than one window holds at once".to_owned()), 1 => Just("\u{e9}\"".to_owned())]
}

fn record() -> impl Strategy<Value = Record> {
    prop::collection::vec((key(), value()), 1..6)
}

fn write(record: &Record, blanks: bool, out: &mut String) {
    let gap = if blanks { " " } else { "" };
    out.push('{');
    for (i, (key, (_, text))) in record.iter().enumerate() {
        let comma = if i > 0 { "," } else { "" };
        out.push_str(&format!("{comma}{gap}{}:{gap}{text}", serde_json::to_string(key).unwrap()));
    }
    out.push_str(gap);
    out.push('}');
}

/// What becomes of the records: rows, and how many are refused.
fn model(records: &[Record]) -> (Vec<BTreeMap<String, Value<'static>>>, usize) {
    #[derive(Clone, PartialEq, Debug)]
    enum Type {
        Int(bool),
        Other(&'static str),
    }
    let mut types: BTreeMap<String, Type> = BTreeMap::new();
    let (mut rows, mut refused) = (Vec::new(), 0);
    for record in records {
        let (mut new, mut row, mut good) = (types.clone(), BTreeMap::new(), true);
        // Known columns come first, so that a refused record leaves no new one.
        for pass in [true, false] {
            for (i, (key, (value, text))) in record.iter().enumerate() {
                let last = record.iter().rposition(|(other, _)| other == key) == Some(i);
                if types.contains_key(key) != pass || !last {
                    continue;
                }
                let exact = |value: &i64| value.unsigned_abs() <= 1 << 53;
                let own = new.get(key).cloned();
                let fits = match (value, &own) {
                    (Value::Null, _) => {
                        row.remove(key);
                        continue;
                    }
                    (Value::Int(v), None) => {
                        new.insert(key.clone(), Type::Int(exact(v)));
                        true
                    }
                    (Value::Int(v), Some(Type::Int(all))) => {
                        new.insert(key.clone(), Type::Int(*all && exact(v)));
                        true
                    }
                    (Value::Int(v), Some(Type::Other("f64"))) => {
                        exact(v) || format!("{:.0}", *v as f64) == v.to_string()
                    }
                    (Value::Float64(_), Some(Type::Int(true))) => {
                        new.insert(key.clone(), Type::Other("f64"));
                        true
                    }
                    (other, known) => {
                        let name = match other {
                            Value::Bool(_) => "bool",
                            Value::Float64(_) => "f64",
                            Value::Int(_) => "i64",
                            _ if text.starts_with('[') => "json",
                            _ => "text",
                        };
                        let same = known.as_ref().is_none_or(|known| *known == Type::Other(name));
                        if known.is_none() {
                            new.insert(key.clone(), Type::Other(name));
                        }
                        same
                    }
                };
                good &= fits;
                row.insert(key.clone(), value.clone());
            }
            if !good {
                break;
            }
        }
        if good && !new.is_empty() {
            types = new;
            rows.push(row);
        } else {
            refused += 1;
        }
    }
    (rows, refused)
}

fn numbers(row: &BTreeMap<String, Value<'static>>) -> BTreeMap<String, Value<'static>> {
    let value = |value: &Value<'static>| match value {
        Value::Int(number) if number.unsigned_abs() <= 1 << 53 => Value::Float64(*number as f64),
        Value::Int(number) => Value::Text(number.to_string().into()),
        Value::Float64(number) if number.fract() == 0.0 && number.abs() > 9_007_199_254_740_992.0 => {
            Value::Text(format!("{number:.0}").into())
        }
        // An integer -0 has no sign.
        Value::Float64(number) if *number == 0.0 => Value::Float64(0.0),
        other => other.clone(),
    };
    row.iter().map(|(key, own)| (key.clone(), value(own))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// Good objects, in all ways of writing them, against the model.
    #[test]
    fn objects(
        records in prop::collection::vec(record(), 0..12),
        repeat in 1usize..4,
        blanks in any::<bool>(),
        array in any::<bool>(),
        end in prop_oneof![Just("\n"), Just("\r\n"), Just("\n\n"), Just("")],
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        rows in 1usize..9,
    ) {
        let records: Vec<Record> = std::iter::repeat_n(records, repeat).flatten().collect();
        let mut input = String::new();
        for (i, record) in records.iter().enumerate() {
            if array {
                input.push(if i == 0 { '[' } else { ',' });
            }
            write(record, blanks, &mut input);
            input.push_str(end);
        }
        if array && !records.is_empty() {
            input.push(']');
        }
        let output = check(input.as_bytes(), &cuts, rows, Records::Auto, 1 << 20)?;
        let (expected, refused) = model(&records);
        let got: Vec<_> = output.tables.get("t").map(Vec::as_slice).unwrap_or_default().iter().map(|row| numbers(&row.values)).collect();
        let expected: Vec<_> = expected.iter().map(numbers).collect();
        prop_assert_eq!(got, expected, "{}", input);
        prop_assert_eq!(output.rejects.len(), refused);
    }

    /// Broken lines: taken or refused as serde_json does.
    #[test]
    fn mutated(
        records in prop::collection::vec(record(), 1..8),
        changes in prop::collection::vec((any::<prop::sample::Index>(), prop_oneof![Just(b'"'), Just(b'{'), Just(b'}'), Just(b'['), Just(b']'), Just(b','), Just(b':'), Just(b'\\'), Just(b'0'), Just(b'-'), Just(b'.'), Just(b'e'), Just(b'\n'), Just(b' '), Just(b'n'), any::<u8>()]), 0..5),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        rows in 1usize..9,
        values in any::<bool>(),
    ) {
        let mut input = String::new();
        for record in &records {
            write(record, false, &mut input);
            input.push('\n');
        }
        let mut input = input.into_bytes();
        for (at, byte) in changes {
            let at = at.index(input.len());
            input[at] = byte;
        }
        let mode = if values { Records::Values } else { Records::Lines };
        let output = check(&input, &cuts, rows, mode, 1 << 20)?;
        if mode == Records::Lines {
            let grammar = |code: &str| !matches!(code, "type_conflict" | "inexact" | "integer_overflow" | "no_values");
            let bad = output.rejects.iter().filter(|reject| grammar(&reject.code)).count();
            let mut expected = 0;
            for line in input.split(|byte| *byte == b'\n') {
                let text = line.trim_ascii();
                // Several values on a line, and arrays of objects, are fine here.
                let mut stream = serde_json::Deserializer::from_slice(text).into_iter::<serde_json::Value>();
                expected += usize::from(!stream.all(|value| value.is_ok_and(|value| value.is_object() || value.as_array().is_some_and(|all| all.iter().all(serde_json::Value::is_object)))));
            }
            // An array that is open at the end of its line goes on.
            if !input.contains(&b'[') {
                prop_assert_eq!(bad, expected, "{} {:?}", String::from_utf8_lossy(&input), output.rejects);
            }
        }
    }

    /// Anything at all.
    #[test]
    fn soup(
        input in prop::collection::vec(prop_oneof![
            4 => "[{}\\[\\]\",:\\\\ 0-9a-f\n-]{0,9}".prop_map(String::into_bytes),
            2 => Just(b"{\"a\":1}".to_vec()),
            1 => Just(b"{\"a\":1,\n \"b\":[1,\n2]}\n".to_vec()),
            1 => prop::collection::vec(any::<u8>(), 0..4),
        ], 0..12),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        rows in 1usize..5,
        values in any::<bool>(),
        most in 1usize..60,
    ) {
        let mode = if values { Records::Values } else { Records::Lines };
        check(&input.concat(), &cuts, rows, mode, 1 << 20)?;
        check(&input.concat(), &cuts, rows, mode, most)?;
        // After a byte order mark, which a cut may fall into, columns are those of the bytes.
        let marked = [&b"\xef\xbb\xbf"[..], &input.concat()].concat();
        check(&marked, &cuts, rows, mode, 1 << 20)?;
    }
}

fn codes(output: &Output) -> Vec<(&str, u64, u64)> {
    output.rejects.iter().map(|r| (r.code.as_str(), r.position.line, r.position.column)).collect()
}

/// The table of docs/formats.md: what is taken, and what is refused as what.
#[test]
fn conformance() {
    let cases: &[(&str, Result<&str, &str>)] = &[
        (r#"{"a":1}"#, Ok(r#"{"a":1}"#)),
        (r#" {"a" : 1 } "#, Ok(r#"{"a":1}"#)),
        (r#"{"a":9007199254740993}"#, Ok(r#"{"a":9007199254740993}"#)),
        (r#"{"a":18446744073709551615}"#, Ok(r#"{"a":18446744073709551615}"#)),
        (r#"{"a":18446744073709551616}"#, Err("integer_overflow")),
        (r#"{"a":1.5e3}"#, Ok(r#"{"a":1500.0}"#)),
        (r#"{"a":1e400}"#, Err("float_overflow")),
        (r#"{"a":01}"#, Err("bad_number")),
        (r#"{"a":1.}"#, Err("bad_number")),
        (r#"{"a":.5}"#, Err("bad_json")),
        (r#"{"a":+1}"#, Err("bad_json")),
        (r#"{"a":NaN}"#, Err("bad_json")),
        (r#"{"a":tru}"#, Err("bad_json")),
        (r#"{"a":"\u00e9\ud83d\ude00\n"}"#, Ok(r#"{"a":"é😀\n"}"#)),
        (r#"{"a":"\ud83d"}"#, Err("bad_escape")),
        (r#"{"a":"\x"}"#, Err("bad_escape")),
        ("{\"a\":\"\t\"}", Err("control_character")),
        ("{\"a\":\"\u{7f}\"}", Ok("{\"a\":\"\u{7f}\"}")),
        (r#"{"a":[1,{"b":null}]}"#, Ok(r#"{"a":"[1,{\"b\":null}]"}"#)),
        (r#"{"a":[1,]}"#, Err("bad_json")),
        (r#"{"a":{"b":{"c":true}},"d":"x"}"#, Ok(r#"{"a.b.c":true,"d":"x"}"#)),
        (r#"{"a":1,}"#, Err("bad_json")),
        (r#"{a:1}"#, Err("bad_json")),
        (r#"{'a':1}"#, Err("bad_json")),
        (r#"{"a":1,"a":2}"#, Ok(r#"{"a":2}"#)),
        (r#"{"a":1 /* c */}"#, Err("bad_json")),
        (r#"{"a":1"#, Err("incomplete_record")),
        (r#"{}"#, Err("no_values")),
        (r#"{"a":null}"#, Err("no_values")),
        (r#"1"#, Err("not_an_object")),
        (r#"[1]"#, Err("not_an_object")),
        (r#"[{"a":1},]"#, Err("not_an_object")),
        (r#"[{"a":1}"#, Err("incomplete_record")),
        (r#"[{"a":1}]"#, Ok(r#"{"a":1}"#)),
    ];
    for (input, expected) in cases {
        let output = text(input, options());
        let row = output.tables.get("t").and_then(|rows| rows.last());
        match expected {
            Ok(expected) => {
                assert!(output.rejects.is_empty(), "{input}: {:?}", output.rejects);
                let row: serde_json::Map<String, serde_json::Value> =
                    row.unwrap().values.iter().map(|(k, v)| (k.clone(), v.to_json())).collect();
                let expected: serde_json::Value = serde_json::from_str(expected).unwrap();
                assert_eq!(serde_json::Value::Object(row), expected, "{input}");
            }
            Err(code) => {
                assert_eq!(output.rejects.len(), 1, "{input}: {output:?}");
                assert_eq!(output.rejects[0].code, *code, "{input}: {}", output.rejects[0].reason);
            }
        }
    }
    let bytes = decode(b"{\"a\":\"\xff\"}\n{\"a\":\"b\"}", &[], options(), limits(), false);
    assert_eq!(codes(&bytes), [("invalid_utf8", 1, 7)]);
    assert_eq!(bytes.tables["t"].len(), 1);
}

#[test]
fn types_widen_only_where_that_is_exact() {
    let output = text(
        "{\"a\":null}\n{\"a\":1}\n{\"a\":1.5}\n{\"a\":9007199254740993}\n{\"a\":true}\n{\"a\":\"x\"}\n{\"a\":[]}\n{\"a\":2}\n",
        options(),
    );
    assert_eq!(
        codes(&output).iter().map(|c| (c.0, c.1)).collect::<Vec<_>>(),
        [("no_values", 1), ("inexact", 4), ("type_conflict", 5), ("type_conflict", 6), ("type_conflict", 7)]
    );
    assert_eq!(
        output.tables["t"].iter().map(|row| row.values["a"].clone()).collect::<Vec<_>>(),
        [1.0, 1.5, 2.0].map(Value::Float64)
    );
    assert_eq!(output.rejects[2].at, Some(5));
    // Above 2^53 an integer column stays one.
    let output = text("{\"a\":9007199254740993}\n{\"a\":0.5}\n", options());
    assert_eq!(codes(&output), [("type_conflict", 2, 6)]);
    assert_eq!(output.tables["t"][0].values["a"], Value::Int(9_007_199_254_740_993));
    let output = text("{\"a\":1}\n{\"a\":\"x\"}\n{\"a\":3}\n", options().with_conflict(Conflict::Null));
    assert_eq!((output.rejects.len(), output.counts.coerced, output.tables["t"].len()), (0, 1, 3));
    assert!(output.tables["t"][1].values.is_empty());
}

#[test]
fn tables_by_key() {
    let input = "{\"tb\":\"x\",\"a\":1}\n{\"a\":2,\"tb\":\"y\"}\n{\"a\":3}\n{\"tb\":7,\"a\":4}\n{\"tb\":\"\",\"a\":1}\n".repeat(3);
    let output = text(&input, options().with_table_key("tb"));
    let rows: Vec<_> =
        output.tables.iter().map(|(name, rows)| (name.as_str(), rows.len(), rows[0].values.len())).collect();
    assert_eq!(rows, [("t", 3, 1), ("x", 3, 1), ("y", 3, 1)]);
    assert_eq!(codes(&output).len(), 6);
    assert_eq!(codes(&output)[0], ("bad_table", 4, 7));
    let many = text(
        "{\"tb\":\"x\",\"a\":1}\n{\"tb\":\"y\",\"a\":1}\n{\"tb\":\"x\",\"b\":1}\n",
        options().with_table_key("tb").with_limits(limits()),
    );
    assert!(many.rejects.is_empty());
    let input = b"{\"tb\":\"x\",\"a\":1}\n{\"tb\":\"y\",\"a\":1}\n{\"tb\":\"x\",\"b\":1}\n";
    let few = decode(
        input,
        &[],
        options().with_table_key("tb"),
        limits().with_max_tables(1).with_max_columns(1),
        false,
    );
    assert_eq!(codes(&few), [("too_many_tables", 2, 1), ("too_many_columns", 3, 1)]);
}

#[test]
fn times() {
    let stamp = |ns| Value::Timestamp(ns, TimeUnit::Nanosecond, true);
    let time = || options().with_time("ts", TimeUnit::Millisecond);
    let input = "{\"ts\":1700000000000,\"a\":1}\n{\"a\":2}\n{\"ts\":null,\"a\":3}\n{\"ts\":\"2023-11-14T22:13:20.5Z\",\"a\":4}\n{\"ts\":\"soon\",\"a\":5}\n{\"ts\":9223372036854775807,\"a\":1}\n".repeat(2);
    let output = text(&input, time());
    let got: Vec<_> = output.tables["t"].iter().take(4).map(|row| row.values["ts"].clone()).collect();
    assert_eq!(
        got,
        [stamp(1_700_000_000_000_000_000), stamp(NOW), stamp(NOW), stamp(1_700_000_000_500_000_000)]
    );
    assert_eq!(output.counts.missing_timestamps, 4);
    assert_eq!(codes(&output)[..2], [("bad_timestamp", 5, 7), ("timestamp_overflow", 6, 7)]);
    let output = text(&input, time().with_missing_timestamp(MissingTimestamp::Reject));
    assert_eq!(codes(&output)[..2], [("missing_timestamp", 2, 1), ("missing_timestamp", 3, 1)]);
    let output = text(&input, time().with_missing_timestamp(MissingTimestamp::Null));
    assert!(!output.tables["t"][1].values.contains_key("ts"));
    assert_eq!(output.tables["t"].len(), 8);
}

#[test]
fn objects_as_text() {
    let output = text("{\"a\":{\"b\":1},\"c\":2}\n", options().with_objects(Objects::Json));
    assert_eq!(output.tables["t"][0].values["a"], Value::Text("{\"b\":1}".into()));
}

#[test]
fn given_types() {
    let types =
        Schema::new(vec![Column::new("a", DataType::Int16), Column::new("s", DataType::VarChar(Some(3)))])
            .unwrap();
    let input =
        "{\"a\":\"7\",\"s\":\"abc\",\"x\":1.5}\n{\"a\":70000}\n{\"s\":\"abcd\"}\n{\"s\":5,\"a\":null}\n"
            .repeat(2);
    let output = text(&input, options().with_types(Arc::new(types.clone())));
    assert_eq!(codes(&output)[..2], [("integer_overflow", 2, 6), ("too_long", 3, 6)]);
    assert_eq!(output.tables["t"].len(), 4);
    assert_eq!(output.tables["t"][0].values["a"], Value::Int(7));
    let mut decoder = JsonDecoder::new(options()).with_target(TableId::new("t"), Arc::new(types));
    let output = drive(&mut decoder, input.as_bytes(), &[], false);
    assert_eq!(codes(&output)[0], ("unknown_column", 1, 21));
}

/// In files an object is one line; where there are none it may be many.
#[test]
fn lines_and_values() {
    let input = "{\"a\":\n1}\n{\"a\":2}\n";
    let output = text(input, options());
    assert_eq!(codes(&output), [("bad_json", 1, 6), ("not_an_object", 2, 1)]);
    assert_eq!(output.tables["t"].len(), 1);
    let output = text(input, options().with_records(Records::Values));
    assert!(output.rejects.is_empty());
    assert_eq!(output.tables["t"][1].position, Position { byte: 9, line: 3, column: 1, record: 2 });
    // A fault costs its line; what is indented deeper is no object of its own.
    let input = "{\n  \"a\": 1,\n  \"b\":\n  {\"c\": 1},\n  oops\n}\n{\"a\":2}\n";
    let output = text(input, options().with_records(Records::Values));
    assert_eq!(codes(&output)[0], ("bad_json", 5, 3));
    assert_eq!(output.tables["t"].len(), 1, "{output:?}");
    // A message is all lines.
    let mut decoder = JsonDecoder::new(options().with_records(Records::Values));
    decoder.decode(&"{\"a\":1".into()).unwrap();
    decoder.end_record().unwrap();
    decoder.decode(&"{\n\"a\":1\n}".into()).unwrap();
    decoder.end_record().unwrap();
    let decoded = decoder.flush().unwrap();
    assert_eq!((decoded.batches[0].rows(), decoded.rejects[0].code.as_str()), (1, "incomplete_record"));
}

#[test]
fn deep_and_wide() {
    let deep = |n: usize| format!("{{\"a\":{}{}}}\n", "[".repeat(n), "]".repeat(n));
    assert!(text(&deep(128), options()).rejects.is_empty());
    assert_eq!(text(&deep(129), options()).rejects[0].code, "too_deep");
    let objects = |n: usize| format!("{}1{}\n", "{\"a\":".repeat(n), "}".repeat(n));
    assert!(text(&objects(128), options()).rejects.is_empty());
    assert_eq!(text(&objects(129), options()).rejects[0].code, "too_deep");
    let wide: String = (0..5000).map(|i| format!(",\"c{i}\":1")).collect();
    let output = text(&format!("{{\"a\":1{wide}}}\n{{\"a\":1}}\n"), options());
    assert_eq!(codes(&output), [("too_many_columns", 1, 1)]);
    assert_eq!(output.tables["t"].len(), 1);
}
