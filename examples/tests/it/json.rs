//! The formats of JSON by the command.

use super::support::Place;

const OBJECT: &str = r#"{"table":"cpu","columns":[{"name":"k_timestamp","type":"TIMESTAMP","length":64},{"name":"user","type":"INT8","length":64},{"name":"idle","type":"FLOAT8","length":64}],"data":[{"k_timestamp":1705962142224,"user":9007199254740993,"idle":0.5,"host":"a"},{"k_timestamp":1705962142225,"user":2,"idle":null,"host":"b"}],"tags":[{"name":"host","type":"VARCHAR","length":254,"isPrimary":true,"nullable":false}]}"#;

#[test]
fn each_into_each_other() {
    let place = Place::new();
    place.write("in.json", format!("{OBJECT}\n"));
    let points = place.run(&[
        "convert",
        "-f",
        "json_kaiwudb",
        "-t",
        "json_opentsdb?metric=split",
        "in.json",
        "points.json",
    ]);
    points.expect(0);
    let text = std::fs::read_to_string(place.path("points.json")).unwrap();
    let first =
        r#"{"metric":"cpu.user","timestamp":1705962142224,"value":9007199254740993,"tags":{"host":"a"}}"#;
    assert_eq!((text.lines().next(), text.lines().count()), (Some(first), 3));
    let json = place
        .run(&["convert", "-f", "json_opentsdb?metric=split", "-t", "json?table_key=t", "points.json"])
        .expect(0)
        .out();
    assert_eq!(
        json.lines().next(),
        Some(r#"{"t":"cpu","timestamp":"2024-01-22T22:22:22.224Z","host":"a","user":9007199254740993}"#)
    );
    let again =
        place.run(&["convert", "-f", "json_kaiwudb", "-t", "json_kaiwudb", "in.json"]).expect(0).out();
    let parse = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    assert_eq!(parse(&again), parse(OBJECT));
}

#[test]
fn a_parser_maps_messages() {
    let place = Place::new();
    place.write("in.json", "{\"id\":1,\"data\":{\"v\":222}}\n{\"id\":2,\"data\":{\"v\":\"x\"}}\n{\"id\":2,\"data\":{\"v\":223}}\n");
    place.write(
        "parser.json",
        r#"{"parse": {"ts": "timestamp", "payload": {"json": ["id::int", "$.data.v::int"]}}, "model": {"name": "d{id}", "using": "meters", "columns": ["ts", "v"], "tags": ["id"]}}"#,
    );
    let ran = place.run(&[
        "run",
        "-f",
        "file:in.json?format=json&subtables=table",
        "-t",
        "file:out?format=json",
        "-p",
        "@parser.json",
        "--errors",
        "reject:bad.jsonl",
    ]);
    ran.expect(3);
    let mut tables: Vec<_> =
        std::fs::read_dir(place.path("out")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    tables.sort();
    assert_eq!(tables, ["d1", "d2"]);
    let reject = std::fs::read_to_string(place.path("bad.jsonl")).unwrap();
    assert!(reject.contains(r#""line":2"#) && reject.contains("type_conflict"), "{reject}");
    let wrong = place.run(&[
        "run",
        "-f",
        "file:in.json?format=json",
        "-t",
        "file:out2",
        "-p",
        r#"{"parse": {"ts": "timestamp"}, "model": {"name": "t", "colums": ["ts"]}}"#,
    ]);
    assert!(wrong.expect(2).err().contains("model.colums: unknown key, did you mean `columns`?"));
}
