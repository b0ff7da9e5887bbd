//! Jobs in files.

use kwsync_core::spec::{PipelineSpec, Settings};

use super::support::{Place, block, parquet_points};

#[test]
fn a_file_says_all_and_flags_win() {
    let place = Place::new();
    place.write("in.lp", "cpu,host=a n=1i 1\nbad\ncpu,host=b n=2i 2\n");
    place.write(
        "job.yaml",
        "# nightly\nfrom: in.lp\nto: file:out?format=parquet\nerrors: reject:bad.jsonl\ntransforms:\n  - add-tag:site=berlin\n  - rename-table:prefix:raw_\n",
    );
    place.run(&["run", "--spec", "job.yaml"]).expect(3);
    assert!(std::fs::read_to_string(place.path("bad.jsonl")).unwrap().contains("\"line\":2"));
    let points = parquet_points(&place.path("out"));
    assert_eq!(points.len(), 2);
    assert!(points.iter().all(|point| point.table == "raw_cpu" && point.tags["site"] == "berlin"));

    // The same as JSON, with a flag for a key of the file, and a variable for one that it leaves out.
    place.write(
        "job.json",
        r#"{"from": "in.lp", "to": "discard:", "errors": "fail", /* too few */ "max_errors": 0,}"#,
    );
    place.run(&["run", "--spec", "job.json", "--to", "file:two?format=parquet"]).expect(1);
    place.run(&["run", "--spec", "job.json", "--errors", "skip", "--restart"]).expect(4);
    let ran = place.command(&["run", "--spec", "job.json", "--max-errors", "5", "--dry-run"]);
    let mut ran = ran;
    let shown = ran.env("KWSYNC_JOBS", "three").output().unwrap();
    let said = String::from_utf8(shown.stderr).unwrap();
    assert!(
        said.contains("`jobs` takes a whole number from 1, and \"three\" is none (variable KWSYNC_JOBS)"),
        "{said}"
    );
    let mut all = place.command(&["run"]);
    all.env("KWSYNC_FROM", "in.lp")
        .env("KWSYNC_TO", "file:three?format=parquet")
        .env("KWSYNC_ERRORS", "skip");
    all.env("NO_TEXT", <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"\xff"));
    assert_eq!(all.status().unwrap().code(), Some(3));
    let plan = place.run(&["run", "--spec", "job.yaml", "--dry-run"]).expect(0).out();
    assert!(plan.contains("transform add-tag:site=berlin") && plan.contains("table raw_cpu"), "{plan}");
}

#[test]
fn ten_mistakes_in_a_file() {
    let place = Place::new();
    place.write("in.lp", "cpu n=1i 1\n");
    let good = "from: in.lp\nto: 'discard:'\n";
    for (name, text, wanted) in [
        // a misspelt key
        (
            "a.yaml",
            format!("{good}max_eror: 3\n"),
            vec!["`max_eror`, did you mean `max_errors`?", "line 3, column 1"],
        ),
        // a wrong type
        (
            "b.yaml",
            "from: [in.lp]\nto: 'discard:'\n".into(),
            vec!["`from` takes one text, but a list", "line 1, column 7"],
        ),
        // a missing brace
        (
            "c.json",
            r#"{"from": "in.lp", "to": "discard:", "jobs": 2"#.into(),
            vec!["`{` is never closed", "line 1"],
        ),
        // a word where a number belongs
        (
            "d.yaml",
            format!("{good}jobs: two\n"),
            vec!["`jobs` takes a whole number from 1, and \"two\"", "line 3, column 7"],
        ),
        // an unknown source, and two faults at once
        (
            "e.yaml",
            "from: fiel:in.lp\nto: 'dicsard:'\n".into(),
            vec!["no source `fiel`, did you mean `file`?", "no sink `dicsard`, did you mean `discard`?"],
        ),
        // a job of another form
        ("f.json", r#"{"job": {"content": []}}"#.into(), vec!["a job of DataX", "kwsync job FILE"]),
        // a list that is none, items of a wrong type
        (
            "g.yaml",
            format!("{good}transforms:\n - 3\n - {{a: b}}\n"),
            vec!["`transforms[0]`: there is no transform \"3\"", "`transforms[1]` takes a text", "line 5"],
        ),
        // a bad regular expression
        (
            "h.yaml",
            format!("{good}transforms: ['rename-table:replace_with_regex:(a::b']\n"),
            vec!["`transforms[0]`", "unclosed group", "line 3, column 14"],
        ),
        // a bad precision
        (
            "i.yaml",
            "from: in.lp?precision=mss\nto: 'discard:'\n".into(),
            vec!["precision=mss", "one of ", "did you mean `ms`?"],
        ),
        // a missing end
        ("j.yaml", "from: in.lp\n".into(), vec!["`to` is missing", "j.yaml, line 1"]),
        // bad indentation
        ("k.yaml", "from: in.lp\n to: out\n".into(), vec!["no YAML", "k.yaml, line 2", "indentation"]),
        // sizes
        (
            "l.yaml",
            format!("{good}batch_bytes: 16 megs\n"),
            vec!["`batch_bytes` takes a number of bytes, as 4096, 64KiB"],
        ),
    ] {
        place.write(name, text);
        let said = place.run(&["run", "--spec", name]).expect(2).err();
        for part in wanted {
            assert!(said.contains(part), "{name}: {part}: {said}");
        }
    }
    // a missing file
    let said = place.run(&["run", "--spec", "absent.yaml"]).expect(2).err();
    assert!(said.contains("absent.yaml") && said.contains("check the path"), "{said}");
    let said = place.run(&["run", "-f", "in.lp"]).expect(2).err();
    assert!(said.contains("--to"), "{said}");
}

#[test]
fn what_is_not_built_is_refused_by_name() {
    let place = Place::new();
    let said = place.run(&["-f", "pi://h/db?UpdateInterval=10000", "-t", "discard:"]).expect(2).err();
    assert!(said.contains("no source `pi`") && said.contains("this build has the sources "), "{said}");
}

#[test]
fn a_parser_that_nobody_would_read_is_refused() {
    let place = Place::new();
    place.write("in.lp", "cpu n=1i 1\n");
    let said = place.run(&["-f", "in.lp", "-t", "discard:", "-p", "{\"parse\": {}}"]).expect(2).err();
    assert!(
        said.contains("the format `line_influxdb` takes no parser") && said.contains("format json"),
        "{said}"
    );
}

#[test]
fn the_documented_file_is_read_and_every_key_is_documented() {
    let text = block("spec.md", "yaml", 0);
    let mut spec = PipelineSpec::parse("nightly.yaml", &text).unwrap();
    assert_eq!((spec.jobs, spec.transforms.len(), spec.batch_bytes), (4, 2, Some(32 << 20)));
    assert_eq!((spec.max_errors.to_string().as_str(), spec.pre_sql.len()), ("0.5%", 1));

    // A spec with everything in it: serde, the reader of files and the document know the same keys.
    spec.parser = Some("{}".to_owned());
    spec.job = Some("nightly".to_owned());
    spec.restart = true;
    (spec.batch_rows, spec.linger_ms, spec.commit_rows) = (Some(1), Some(2), Some(3));
    (spec.rate_rows, spec.rate_bytes, spec.retries, spec.retry_wait_ms) =
        (Some(4), Some(5), Some(6), Some(7));
    spec.post_sql = vec!["SELECT 1".to_owned()];
    spec.checkpoint = Some("file:state".into());
    let written = serde_json::to_value(&spec).unwrap();
    assert_eq!(PipelineSpec::parse("nightly.json", &written.to_string()).unwrap(), spec);
    let document = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/spec.md")).unwrap();
    let mut from_environment = Settings::new();
    for (key, value) in written.as_object().unwrap() {
        assert!(document.contains(&format!("| `{key}` | ")), "{key} is not documented");
        let variable = format!("KWSYNC_{}", key.to_uppercase());
        assert_eq!(document.contains(&format!("`{variable}`")), !value.is_array(), "{variable}");
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        from_environment = from_environment.with_environment([(variable, value)]);
    }
    let mut all = from_environment.spec().unwrap();
    (all.transforms, all.pre_sql, all.post_sql) =
        (spec.transforms.clone(), spec.pre_sql.clone(), spec.post_sql.clone());
    assert_eq!(all, spec);
}
