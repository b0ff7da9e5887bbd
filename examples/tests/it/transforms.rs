//! Transforms through the command.

use serde_json::Value;

use crate::support::{Place, Ran};

/// All rows of the NDJSON files of a table.
fn rows(place: &Place, table: &str) -> Vec<Value> {
    let files = std::fs::read_dir(place.path("out").join(table)).unwrap();
    let texts = files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap());
    let mut rows: Vec<Value> = texts
        .flat_map(|text| text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<_>>())
        .collect();
    rows.sort_by_key(|row| row["time"].to_string());
    rows
}

#[test]
fn rows_are_filtered_computed_masked_and_merged() {
    let place = Place::new();
    place.write(
        "in.lp",
        "cpu,host=web1 used=3i,total=4i 1\ncpu,host=web2 used=1i,total=4i 2\ncpu,host=db used=1i,total=0i 3\n\
         mem,host=web1 used=9i,total=10i 4\n",
    );
    let arguments = [
        "run",
        "-f",
        "in.lp",
        "-t",
        "file:out?format=json",
        "--report",
        "json",
        "--errors",
        "reject:bad.jsonl",
        "-T",
        "filter:host LIKE 'web%' OR host = 'db'",
        "-T",
        "compute:ratio=CAST(used * 100 / total AS smallint)",
        "-T",
        "filter:ratio > 50",
        "-T",
        "compute:line=line_number()",
        "-T",
        "hash:host=${HOST_KEY}",
        "-T",
        "merge-tables:all",
    ];
    let ran = Ran::of(place.command(&arguments).env("HOST_KEY", "key").output().unwrap()).expect(3);
    let report: Value = serde_json::from_str(&ran.out()).unwrap();
    let count = |name: &str| report[name].as_u64().unwrap();
    assert_eq!(count("rows_read"), 4);
    assert_eq!(count("rows_read"), count("rows_written") + count("rows_filtered") + count("rows_rejected"));
    assert_eq!((count("rows_filtered"), count("rows_rejected")), (1, 1));
    let all = rows(&place, "all");
    let shown: Vec<_> = all
        .iter()
        .map(|row| format!("{} {} {}", row["ratio"], row["line"], row["__dts_data_source"].as_str().unwrap()))
        .collect();
    let job = report["job"].as_str().unwrap();
    assert_eq!(shown, [format!("75 1 {job}:cpu"), format!("90 4 {job}:mem")]);
    assert_eq!(all[0]["host"], all[1]["host"]);
    assert_eq!(all[0]["host"].as_str().unwrap().len(), 64);
    let rejects = std::fs::read_to_string(place.path("bad.jsonl")).unwrap();
    assert!(rejects.contains("expression_fails") && rejects.contains("division by zero"), "{rejects}");
    assert!(rejects.contains("\"line\":3"), "{rejects}");
}

#[test]
fn a_transform_that_makes_no_sense_is_refused_before_anything_is_touched() {
    let place = Place::new();
    place.write("in.lp", "cpu n=1i 1\n");
    for (transform, wanted) in [
        ("filter:n >", "is no expression"),
        ("compute:x=lenght(host)", "did you mean `length`?"),
        ("hash:host=${NOT_SET_AT_ALL}", "NOT_SET_AT_ALL"),
        ("fliter:n > 1", "did you mean `filter`?"),
    ] {
        let ran = place.run(&["run", "-f", "in.lp", "-t", "file:out?format=json", "-T", transform]).expect(2);
        assert!(ran.err().contains(wanted), "{transform}: {}", ran.err());
    }
    assert!(!place.path("out").exists());
    // A filter on a column that is not there is no fault, but it is said.
    let ran =
        place.run(&["run", "-f", "in.lp", "-t", "file:out?format=json", "-T", "filter:N > 0"]).expect(0);
    assert!(
        ran.err().contains("did you mean `n`?") && ran.out().contains("filtered"),
        "{} {}",
        ran.err(),
        ran.out()
    );
}
