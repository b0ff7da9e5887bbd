use std::io::Write;
use std::process::Stdio;

use super::support::Place;

#[test]
fn points_show_what_the_parser_saw() {
    let place = Place::new();
    let input = "# comment\ncpu,host=a\\ b usage=42i,idle=.5,s=\"x\ny\" 1700000000\n\nmem free=1u\n";
    let mut child = place
        .command(&["convert", "--from", "line_influxdb", "--to", "points", "--precision", "s"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let out = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    let wanted = concat!(
        r#"{"line":2,"table":"cpu","tags":[["host","a b"]],"#,
        r#""fields":[["usage","i64","42"],["idle","f64","0.5"],["s","string","x\ny"]],"#,
        r#""timestamp":1700000000000000000}"#,
        "\n",
        r#"{"line":5,"table":"mem","tags":[],"fields":[["free","u64","1"]],"timestamp":null}"#,
        "\n"
    );
    assert_eq!(out, wanted);
}

#[test]
fn json_and_parquet_come_out_of_files_too() {
    let place = Place::new();
    place.write("in.lp", "cpu,host=a usage=1i 1\ncpu,host=b usage=2i 2\n");
    let json = place.run(&["convert", "-f", "lp", "-t", "json", "in.lp"]).expect(0).out();
    assert_eq!(json.lines().count(), 2);
    assert!(json.contains(r#""host":"a""#) && json.contains(r#""usage":1"#), "{json}");
    place.run(&["convert", "-f", "lp", "-t", "parquet", "in.lp", "out.parquet"]).expect(0);
    let head = std::fs::read(place.path("out.parquet")).unwrap();
    assert!(head.starts_with(b"PAR1") && head.ends_with(b"PAR1"));

    place.write("two.lp", "cpu usage=1i 1\nmem free=2i 2\n");
    let ran = place.run(&["convert", "-f", "lp", "-t", "parquet", "two.lp", "out.parquet"]).expect(1);
    assert!(ran.err().contains("several tables"), "{}", ran.err());
}

#[test]
fn a_bad_record_is_refused_as_asked() {
    let place = Place::new();
    place.write("in.lp", "cpu usage=1i 1\ncpu usage=x 2\ncpu usage=3i 3\n");
    let ran = place.run(&["convert", "-f", "lp", "-t", "points", "in.lp"]).expect(1);
    assert!(ran.err().contains("line 2, column 11"), "{}", ran.err());
    let ran = place.run(&["convert", "-f", "lp", "-t", "points", "--errors", "skip", "in.lp"]).expect(3);
    assert_eq!(ran.out().lines().count(), 2);
    assert!(ran.err().contains("1 records rejected"), "{}", ran.err());
}
