use super::support::{Place, Point, parquet_points, points, sample_data};

fn sorted(mut points: Vec<Point>) -> Vec<Point> {
    points.sort();
    points
}

#[test]
fn what_lands_in_parquet_is_what_the_parser_saw() {
    let Some(data) = sample_data() else { return };
    let mut files = 0;
    for entry in std::fs::read_dir(data).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if !(name.ends_with(".lp") || name.ends_with(".influx")) {
            continue;
        }
        files += 1;
        let place = Place::new();
        let path = path.to_str().unwrap();
        let precision = if ["home-sensor-data.lp", "water.lp"].contains(&name.as_str()) { "s" } else { "ns" };
        let seen = place
            .run(&["convert", "--from", "line_influxdb", "--to", "points", "--precision", precision, path])
            .expect(0);
        let from = format!("{path}?precision={precision}");
        let ran = place
            .run(&["run", "--from", &from, "--to", "file:out?format=parquet", "--report", "json"])
            .expect(0);
        let (seen, landed) = (sorted(points(&seen.out())), sorted(parquet_points(&place.path("out"))));
        assert_eq!(seen.len(), landed.len(), "{name}");
        for (seen, landed) in seen.iter().zip(&landed) {
            assert_eq!(seen, landed, "{name}");
        }
        let report: serde_json::Value = serde_json::from_str(&ran.out()).unwrap();
        assert_eq!(report["rows_written"], seen.len() as u64, "{name}");
        println!("{name}: {} rows equal", seen.len());
    }
    assert!(files >= 7, "{files}");
}

#[test]
fn gzip_patterns_and_lanes_load_the_same_rows() {
    let place = Place::new();
    let lines = |from: u64| {
        (from..from + 1_000).map(|n| format!("cpu,host=h{} n={n}i {n}\n", n % 7)).collect::<String>()
    };
    let mut zip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut zip, lines(0).as_bytes()).unwrap();
    place.write("a.lp.gz", zip.finish().unwrap());
    place.write("b.lp", lines(1_000));
    place.write("c.lp", lines(2_000));
    place.run(&["-f", "*.lp*?format=lp", "-t", "file:out?format=parquet", "-j", "2"]).expect(0);
    let landed = sorted(parquet_points(&place.path("out")));
    let all: String = [lines(0), lines(1_000), lines(2_000)].concat();
    place.write("all.txt", all);
    let seen = place.run(&["convert", "-f", "lp", "-t", "points", "all.txt"]).expect(0);
    assert_eq!(landed, sorted(points(&seen.out())));
}

#[test]
fn ndjson_and_transforms() {
    let place = Place::new();
    place.write("in.lp", "cpu,host=a usage=1i,idle=2.5 1\n");
    let arguments = [
        "run",
        "-f",
        "in.lp",
        "-t",
        "file:out?format=json",
        "-T",
        "add-tag:site=b",
        "-T",
        "drop-columns:idle",
        "-T",
        "rename-table:prefix:raw_",
    ];
    place.run(&arguments).expect(0);
    let dir = place.path("out").join("raw_cpu");
    let file = std::fs::read_dir(dir).unwrap().next().unwrap().unwrap().path();
    let row: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    assert_eq!((&row["host"], &row["site"], &row["usage"]), (&"a".into(), &"b".into(), &1.into()));
    assert!(row.get("idle").is_none(), "{row}");
}

#[test]
fn a_named_job_reads_only_what_is_new() {
    let place = Place::new();
    place.write("in.lp", "cpu n=1i 1\ncpu n=2i 2\n");
    let run = || {
        place
            .run(&["-f", "in.lp", "-t", "file:out?format=parquet", "--job", "j", "--report", "json"])
            .expect(0)
    };
    let read = |out: String| serde_json::from_str::<serde_json::Value>(&out).unwrap()["rows_read"].as_u64();
    assert_eq!(read(run().out()), Some(2));
    assert_eq!(read(run().out()), Some(0));
    place.write("in.lp", "cpu n=1i 1\ncpu n=2i 2\ncpu n=3i 3\n");
    assert_eq!(read(run().out()), Some(1));
    assert_eq!(parquet_points(&place.path("out")).len(), 3);
}

#[test]
fn a_dry_run_touches_nothing() {
    let place = Place::new();
    place.write("in.lp", "cpu,host=a usage=1i 1\n");
    let ran = place.run(&["run", "-f", "in.lp", "-t", "file:out?format=parquet", "--dry-run"]).expect(0);
    assert!(ran.out().contains("table cpu") && ran.out().contains("precision=ns (default)"), "{}", ran.out());
    assert!(!place.path("out").exists() && !place.path("state").exists());
}
