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
fn json_parquet_and_arrow_come_out_of_files_too() {
    let place = Place::new();
    place.write("in.lp", "cpu,host=a usage=1i 1\ncpu,host=b usage=2i 2\n");
    let json = place.run(&["convert", "-f", "lp", "-t", "json", "in.lp"]).expect(0).out();
    assert_eq!(json.lines().count(), 2);
    assert!(json.contains(r#""host":"a""#) && json.contains(r#""usage":1"#), "{json}");
    place.run(&["convert", "-f", "lp", "-t", "parquet", "in.lp", "out.parquet"]).expect(0);
    let head = std::fs::read(place.path("out.parquet")).unwrap();
    assert!(head.starts_with(b"PAR1") && head.ends_with(b"PAR1"));

    // Arrow as a file, and as a stream through a pipe; what comes back is what went in.
    place.run(&["convert", "-f", "lp", "-t", "arrow", "in.lp", "out.arrow"]).expect(0);
    assert!(std::fs::read(place.path("out.arrow")).unwrap().starts_with(b"ARROW1"));
    let back = place.run(&["convert", "-f", "arrow", "-t", "json", "out.arrow"]).expect(0).out();
    assert_eq!(back, json);
    place.write("in.json", &json);
    let script = r#""$0" convert -f lp -t arrow in.lp | "$0" convert -f arrow -t json"#;
    let ran = std::process::Command::new("sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_kwsync")])
        .current_dir(place.path("."))
        .output()
        .unwrap();
    assert_eq!((ran.status.code(), String::from_utf8_lossy(&ran.stdout).as_ref()), (Some(0), json.as_str()));

    place.run(&["convert", "-f", "lp", "-t", "arrow?compression=zstd", "in.lp", "small.arrow"]).expect(0);
    let back = place.run(&["convert", "-f", "arrow", "-t", "json", "small.arrow"]).expect(0).out();
    assert_eq!(back, json);
    for (to, expected) in
        [("arrow?compression=gzip", "one of none, lz4, zstd"), ("parquet?rows=1", "compression=zstd")]
    {
        let said = place.run(&["convert", "-f", "lp", "-t", to, "in.lp", "x"]).expect(2).err();
        assert!(said.contains(expected), "{said}");
    }

    place.write("two.lp", "cpu usage=1i 1\nmem free=2i 2\n");
    for format in ["parquet", "arrow"] {
        let ran = place.run(&["convert", "-f", "lp", "-t", format, "two.lp", "out.parquet"]).expect(1);
        let said = ran.err();
        assert!(said.contains("several tables") && said.contains(&format!("format={format}")), "{said}");
    }
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
