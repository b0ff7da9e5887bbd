//! JSON by a mapping: taosX's examples, every fault of a configuration, any cutting.

use kwsync_core::config::{Dsn, OpenOptions, Registry};
use kwsync_core::{DataType, Decoded, Decoder, Input, Metadata, Position, Role, TimeUnit, Value};
use kwsync_formats::Limits;
use kwsync_formats::influx::MissingTimestamp;
use kwsync_formats::json::Records;
use kwsync_formats::json::mapping::{Mapping, MappingDecoder, MappingOptions, Subtables};
use proptest::prelude::*;

use crate::json::{limits, same_for_all_cuts};
use crate::output::NOW;

/// The parser of the manual's MQTT example.
const METERS: &str = r#"{"parse": {"payload": {"json": [
    {"name": "ts", "alias": "ts", "cast": "TIMESTAMP"}, {"name": "id", "alias": "id", "cast": "INT"},
    {"name": "voltage", "alias": "voltage", "cast": "INT"}, {"name": "phase", "alias": "phase", "cast": "FLOAT"},
    {"name": "current", "alias": "current", "cast": "FLOAT"}, {"name": "groupid", "alias": "groupid", "cast": "INT"},
    {"name": "location", "alias": "location", "cast": "VARCHAR(20)"}]}},
  "model": {"name": "d{id}", "using": "meters", "columns": ["ts", "id", "current", "voltage", "phase"], "tags": ["groupid", "location"]}}"#;

/// And its message, on many lines.
const METER: &str = "{\n  \"id\": 1,\n  \"current\": 10.77,\n  \"voltage\": 222,\n  \"phase\": 0.77,\n  \"groupid\": 7,\n  \"location\": \"California.SanDiego\"\n}";

fn options(text: &str) -> MappingOptions {
    MappingOptions::new(Mapping::parse(text).unwrap()).with_limits(limits())
}

/// Decodes messages with what they carry.
fn messages(options: MappingOptions, messages: &[(&str, Metadata)]) -> Decoded {
    let mut decoder = MappingDecoder::new(options);
    decoder.begin(std::sync::Arc::new(Input::new("topic")), Position { line: 0, ..Position::START });
    for (text, metadata) in messages {
        decoder.message(metadata);
        decoder.decode_slice(text.as_bytes()).unwrap();
        decoder.end_record().unwrap();
    }
    decoder.flush().unwrap()
}

fn codes(decoded: &Decoded) -> Vec<&str> {
    decoded.rejects.iter().map(|reject| reject.code.as_str()).collect()
}

#[test]
fn mqtt_example() {
    let decoded = messages(options(METERS), &[(METER, Metadata::new()), (METER, Metadata::new())]);
    assert!(decoded.rejects.is_empty(), "{:?}", decoded.rejects);
    let batch = &decoded.batches[0];
    assert_eq!((batch.table().name(), batch.rows()), ("meters", 2));
    let columns: Vec<_> =
        batch.schema().columns().iter().map(|c| (c.name(), c.role(), c.data_type().to_string())).collect();
    let expected = [
        ("ts", Role::Timestamp, "timestamptz(ms)"),
        ("groupid", Role::Tag, "i32"),
        ("location", Role::Tag, "varchar(20)"),
        ("tbname", Role::PrimaryTag, "text"),
        ("id", Role::Field, "i32"),
        ("current", Role::Field, "f32"),
        ("voltage", Role::Field, "i32"),
        ("phase", Role::Field, "f32"),
    ];
    assert_eq!(columns, expected.map(|(name, role, data_type)| (name, role, data_type.to_owned())));
    let row = batch.row(1);
    assert_eq!(row.get("ts").unwrap(), Value::Timestamp(NOW / 1_000_000, TimeUnit::Millisecond, true));
    assert_eq!(row.get("current").unwrap(), Value::Float32(10.77));
    assert_eq!(row.get("tbname").unwrap(), Value::Text("d1".into()));
    assert_eq!(decoded.counts.missing_timestamps, 2);
    assert_eq!(batch.origin().raw(1), Some(METER.as_bytes()));
    let refused = messages(
        options(METERS).with_missing_timestamp(MissingTimestamp::Reject),
        &[(METER, Metadata::new())],
    );
    assert_eq!(codes(&refused), ["missing_timestamp"]);
    for (subtables, table, columns) in [(Subtables::Drop, "meters", 7), (Subtables::Table, "d1", 7)] {
        let decoded = messages(options(METERS).with_subtables(subtables), &[(METER, Metadata::new())]);
        let batch = &decoded.batches[0];
        assert_eq!((batch.table().name(), batch.schema().columns().len()), (table, columns));
    }
}

fn kafka(offset: i64) -> Metadata {
    Metadata::new()
        .with_topic("tp1")
        .with_partition(3)
        .with_offset(offset)
        .with_key(&b"k"[..])
        .with_timestamp(1_700_000_000_123)
}

/// Both of the manual's Kafka examples.
#[test]
fn kafka_examples() {
    let whole = r#"{"parse":{"ts":{"as":"timestamp(ms)"},"topic":{"as":"varchar","alias":"t"},"partition":{"as":"int","alias":"p"},"offset":{"as":"bigint","alias":"o"},"key":{"as":"binary","alias":"k"},"value":{"as":"binary","alias":"v"}},"model":[{"name":"t_{t}","using":"kafka_data","tags":["t","p"],"columns":["ts","o","k","v"]}]}"#;
    let text = "{\"id\": 1,\n \"message\": \"hello\"}\n";
    let decoded = messages(options(whole), &[(text, kafka(7)), ("plain", kafka(8))]);
    assert!(decoded.rejects.is_empty(), "{:?}", decoded.rejects);
    let row = decoded.batches[0].row(0);
    let get = |name: &str| row.get(name).unwrap().to_string();
    assert_eq!(decoded.batches[0].table().name(), "kafka_data");
    assert_eq!(
        [get("ts"), get("t"), get("p"), get("o"), get("k"), get("v"), get("tbname")],
        ["2023-11-14T22:13:20.123Z", "tp1", "3", "7", "k", text, "t_tp1"]
    );

    let parsed = r#"{"parse":{"ts":{"as":"timestamp(ms)"},"topic":{"as":"varchar","alias":"t"},"partition":{"as":"int","alias":"p"},"offset":{"as":"bigint","alias":"o"},"value":{"json":["id::int","message::binary"]}},"model":[{"name":"t_{t}","using":"kafka_data","tags":["t","p"],"columns":["ts","o","id","message"]}]}"#;
    let decoded = messages(
        options(parsed),
        &[(text, kafka(7)), ("[{\"id\":2},{\"id\":\"3\"}]", kafka(8)), ("plain", kafka(9))],
    );
    assert_eq!(codes(&decoded), ["not_an_object"]);
    let batch = &decoded.batches[0];
    let ids: Vec<_> = (0..batch.rows())
        .map(|i| (batch.row(i).get("id").unwrap().to_string(), batch.row(i).get("o").unwrap().to_string()))
        .collect();
    assert_eq!(ids, [("1", "7"), ("2", "8"), ("3", "8")].map(|(a, b)| (a.to_owned(), b.to_owned())));
    assert_eq!(batch.row(1).get("message").unwrap(), Value::Null);
}

#[test]
fn messages_without_a_parser() {
    let options = MappingOptions::new(Mapping::messages()).with_limits(limits());
    let decoded = messages(options, &[("a\nb", kafka(1)), ("\u{1}", Metadata::new().with_topic("tp2"))]);
    assert!(decoded.rejects.is_empty(), "{:?}", decoded.rejects);
    let tables: Vec<_> = decoded.batches.iter().map(|batch| batch.table().name()).collect();
    assert_eq!(tables, ["tp1", "tp2"]);
    let names: Vec<_> = decoded.batches[0].schema().columns().iter().map(|column| column.name()).collect();
    assert_eq!(names, ["ts", "topic", "partition", "offset", "key", "value"]);
    assert_eq!(decoded.batches[0].row(0).get("value").unwrap(), Value::Bytes(b"a\nb"[..].into()));
}

#[test]
fn paths_and_types() {
    let mapping = r#"{"parse": {"value": {"json": [
        "ts::timestamp(us)", "$.a.b::int", {"name": "$['x y'].list[1].z", "alias": "z", "as": "double"},
        {"name": "$.list[2]", "alias": "third"}, {"name": "$.a", "alias": "all", "cast": "json"},
        {"name": "$.s", "alias": "quoted", "cast": "json"}, "free", "u::tinyint unsigned"]}},
      "model": {"name": "t", "columns": ["ts", "b", "z", "third", "all", "quoted", "free", "u"]}}"#;
    let message = r#"{"ts": "2024-01-01T00:00:00.000001Z", "a": {"b": "42"}, "x y": {"list": [0, {"z": 1.5}]}, "list": [[], {}, true], "s": "q\"", "free": 7, "u": 255}"#;
    let decoded = messages(options(mapping), &[(message, Metadata::new())]);
    assert!(decoded.rejects.is_empty(), "{:?}", decoded.rejects);
    let row = decoded.batches[0].row(0);
    assert_eq!(
        row.to_json().to_string(),
        r#"{"all":"{\"b\": \"42\"}","b":42,"free":7,"quoted":"\"q\\\"\"","third":true,"ts":"2024-01-01T00:00:00.000001Z","u":255,"z":1.5}"#
    );
    assert_eq!(decoded.batches[0].schema().column("free").unwrap().data_type(), &DataType::Int64);
    for (message, code) in [
        (r#"{"ts": 1, "u": 256}"#, "integer_overflow"),
        (r#"{"ts": 1, "a": {"b": "x"}}"#, "type_conflict"),
        (r#"{"ts": 1, "a": {"b": 1.5}}"#, "inexact"),
        (r#"{"ts": "soon"}"#, "bad_timestamp"),
        (r#"{"ts": 1, "free": true}"#, "type_conflict"),
        (r#"{"ts": 1"#, "incomplete_record"),
    ] {
        let all = messages(
            options(mapping),
            &[
                (r#"{"ts":1,"free":1}"#, Metadata::new()),
                (message, Metadata::new()),
                (r#"{"ts":2,"free":1}"#, Metadata::new()),
            ],
        );
        assert_eq!(codes(&all), [code], "{message}");
        assert_eq!(all.batches[0].rows(), 2);
    }
    // What is absent, or no way leads to, is null.
    let all =
        messages(options(mapping), &[(r#"{"ts": 1, "a": 5, "list": {"2": 1}, "x y": []}"#, Metadata::new())]);
    assert_eq!(all.batches[0].row(0).to_json()["z"], serde_json::Value::Null);
}

/// A message that one model cannot take is refused as a whole.
#[test]
fn several_models() {
    let mapping = r#"{"parse": {"value": {"json": ["ts::timestamp", "id::int", "free"]}}, "model": [
        {"name": "all", "columns": ["ts", "id"]}, {"name": "all", "columns": ["ts", "free"]}, {"name": "by_{id}", "columns": ["ts", "free"]}]}"#;
    let good = (r#"{"ts":1,"id":1,"free":1}"#, Metadata::new());
    let decoded = messages(
        options(mapping),
        &[
            good.clone(),
            (r#"{"ts":2,"free":2}"#, Metadata::new()),
            (r#"{"ts":3,"id":1,"free":"x"}"#, Metadata::new()),
            good,
        ],
    );
    assert_eq!(codes(&decoded), ["missing_name", "type_conflict"]);
    assert_eq!(decoded.rejects.iter().map(|r| r.position.record).collect::<Vec<_>>(), [2, 3]);
    let rows: Vec<_> = decoded.batches.iter().map(|batch| (batch.table().name(), batch.rows())).collect();
    assert_eq!(rows, [("all", 4), ("by_1", 2)]);
    assert_eq!(decoded.counts.records, 4);
    let rows: Vec<_> = (0..4).map(|i| decoded.batches[0].row(i).to_json().to_string()).collect();
    assert_eq!(rows[0], rows[2]);
    assert_eq!(rows[1], rows[3]);
    let positions: Vec<_> = (0..4).map(|i| decoded.batches[0].origin().position(i).unwrap().record).collect();
    assert_eq!(positions, [1, 1, 4, 4]);
}

/// Each fault names its key, and the nearest that is known; all are told at once.
#[test]
fn faults() {
    let fields = r#""parse": {"ts": "timestamp", "value": {"json": ["id::int", "v::double"]}}"#;
    let model = |model: &str| format!("{{{fields}, \"model\": {model}}}");
    let parse = |parse: &str| format!(r#"{{"parse": {parse}, "model": {{"name": "t", "columns": ["ts"]}}}}"#);
    let cases: &[(String, &[&str])] = &[
        ("{".to_owned(), &["the parser is no JSON: EOF"]),
        ("[]".to_owned(), &["is no JSON object"]),
        (
            "{\"modle\": {}}".to_owned(),
            &["modle: unknown key, did you mean `model`?", "parse: is missing", "model: is missing"],
        ),
        (model("{}"), &["model.name: is missing", "model.columns: needs a first column"]),
        (model("[]"), &["model: is neither"]),
        (model("[7]"), &["model[0]: is no object"]),
        (
            model(r#"{"name": "d{ids}", "columns": ["ts"]}"#),
            &["model.name: there is no field `ids`, did you mean `id`?"],
        ),
        (model(r#"{"name": "d{id", "columns": ["ts"]}"#), &["model.name: \"d{id\": a { is not closed"]),
        (
            model(r#"{"name": "t", "columns": ["id", "ts"]}"#),
            &["model.columns[0]: the first column is a timestamp, and `id` is none"],
        ),
        (model(r#"{"name": "t", "columns": ["ts", "ts"]}"#), &["model.columns[1]: `ts` stands twice"]),
        (
            model(r#"{"name": "t", "columns": ["ts", "id"], "tags": ["id"]}"#),
            &["model.tags[0]: `id` is a column already"],
        ),
        (
            model(r#"[{"name": "t", "columns": ["ts"]}, {"name": "t", "collumns": ["ts"]}]"#),
            &["model[1].collumns: unknown key, did you mean `columns`?"],
        ),
        (model(r#"{"name": "t", "columns": "ts"}"#), &["model.columns: is no list"]),
        (
            parse(r#"{"ts": {"as": "timstamp"}}"#),
            &["parse.ts.as: there is no type \"timstamp\", did you mean `timestamp`?"],
        ),
        (parse(r#"{"ts": {"alias": "ts"}}"#), &["parse.ts: as is missing"]),
        (
            parse(r#"{"ts": "timestamp", "topics": "int"}"#),
            &["parse.topics: a message has no such part, did you mean `topic`?"],
        ),
        (
            parse(r#"{"ts": "timestamp", "topic": {"as": "int", "alias": "ts"}}"#),
            &["parse.topic: there are two fields named `ts`"],
        ),
        (parse(r#"{"ts": "timestamp", "value": {"json": {}}}"#), &["parse.value.json: is no list"]),
        (
            parse(r#"{"ts": "timestamp", "value": {"json": ["$..x"]}}"#),
            &["parse.value.json[0]: \"$..x\": a path leads to one value"],
        ),
        (
            parse(r#"{"ts": "timestamp", "value": {"json": [{"alias": "x"}]}}"#),
            &["parse.value.json[0].name: is missing"],
        ),
        (
            parse(
                r#"{"ts": "timestamp", "value": {"json": [{"name": "x", "as": "int", "cast": "bigint"}]}}"#,
            ),
            &["as and cast contradict"],
        ),
        (
            parse(r#"{"ts": "timestamp", "value": {"json": [], "as": "int"}}"#),
            &["parse.value: json stands alone"],
        ),
        (
            parse(r#"{"ts": "timestamp", "value": "int", "payload": "int"}"#),
            &["value and payload are the same"],
        ),
    ];
    for (text, expected) in cases {
        let error = Mapping::parse(text).unwrap_err();
        assert_eq!(error.kind(), kwsync_core::ErrorKind::Config);
        for part in *expected {
            assert!(error.to_string().contains(part), "{text}\n{error}");
        }
    }
    assert_eq!(
        cases[2].1.len(),
        Mapping::parse(&cases[2].0).unwrap_err().to_string().matches("; (").count() + 1
    );
}

/// The format `json` takes the parser that stands beside the address.
#[test]
fn by_name() {
    let mut registry = Registry::new();
    kwsync_formats::register(&mut registry);
    let dsn: Dsn = "file:x.json?subtables=drop".parse().unwrap();
    let decoder = registry.decoder("json", &dsn, &OpenOptions::new().with_parser(METERS));
    let mut decoder = decoder.unwrap()().unwrap();
    decoder.decode(&METER.replace('\n', " ").into()).unwrap();
    decoder.finish().unwrap();
    assert_eq!(decoder.flush().unwrap().batches[0].table().name(), "meters");
    let error = registry.decoder("json", &dsn, &OpenOptions::new().with_parser("{}")).err().unwrap();
    assert!(error.to_string().contains("parse: is missing"), "{error}");
}

fn make(mode: Records) -> impl Fn(Limits) -> Box<dyn Decoder> {
    move |limits| {
        let mapping = r#"{"parse": {"value": {"json": ["ts::timestamp", "id::int", "$.a.b::double", "free", "s::varchar(5)"]}}, "model": [
            {"name": "d{id}", "using": "u", "columns": ["ts", "b", "free"], "tags": ["s"]}, {"name": "n{id}", "columns": ["ts", "free"]}]}"#;
        Box::new(MappingDecoder::new(options(mapping).with_records(mode).with_limits(limits)))
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn cuts(
        messages in prop::collection::vec((0i64..9, prop_oneof![3 => "[0-9]{1,3}", 1 => "true|null|[1-9][.]5|\"[a-z\u{e9}]{0,9}\"|[{]\"b\":1[}]"], prop_oneof![2 => "[1-3]", 1 => "null|\"x\"|1[.]5"]), 0..12),
        breaks in any::<bool>(),
        lines in any::<bool>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..2),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        rows in 1usize..9,
    ) {
        let gap = if breaks { "\n" } else { "" };
        let text: String = messages.iter().map(|(ts, value, id)| format!("{{\"ts\":{ts},{gap}\"free\":{value},\"a\":{value},\"id\":{id},\"s\":\"{ts}\"}}\n")).collect();
        let mut input = text.into_bytes();
        let mode = if lines { Records::Lines } else { Records::Values };
        same_for_all_cuts(&make(mode), &input, &cuts, rows, &limits)?;
        if !input.is_empty() {
            for (at, byte) in changes {
                let at = at.index(input.len());
                input[at] = byte;
            }
            same_for_all_cuts(&make(mode), &input, &cuts, rows, &limits)?;
        }
    }
}
