use std::io::BufReader;

use kwsync_core::{RejectReader, Stage};

use super::support::{Place, parquet_points};

#[test]
fn one_broken_line_in_a_thousand_costs_only_itself() {
    let place = Place::new();
    let mut text = String::new();
    let mut wanted = Vec::new();
    for n in 0..20_000 {
        let line = match n % 4_000 {
            1_001 => "cpu,host=a usage=\"oops 1".to_owned(),
            2_002 => format!("cpu,host=a usage=1x,n={n}i {n}"),
            3_003 => "# a comment with a stray \" in it".to_owned(),
            _ => format!("cpu,host=a usage=1.5,n={n}i {n}"),
        };
        if matches!(n % 4_000, 1_001 | 2_002) {
            wanted.push((n + 1, text.len() as u64, line.clone()));
        }
        text.push_str(&line);
        text.push('\n');
    }
    place.write("in.lp", &text);
    let ran = place
        .run(&[
            "-f",
            "in.lp",
            "-t",
            "file:out?format=parquet",
            "--errors",
            "reject:bad.jsonl",
            "--report",
            "json",
        ])
        .expect(3);
    let report: serde_json::Value = serde_json::from_str(&ran.out()).unwrap();
    assert_eq!((report["rows_written"].as_u64(), report["rows_rejected"].as_u64()), (Some(19_985), Some(10)));
    assert_eq!(parquet_points(&place.path("out")).len(), 19_985);

    let file = BufReader::new(std::fs::File::open(place.path("bad.jsonl")).unwrap());
    let rejects: Vec<_> = RejectReader::new(file, "bad.jsonl").collect::<Result<_, _>>().unwrap();
    assert_eq!(rejects.len(), wanted.len());
    for (reject, (line, byte, raw)) in rejects.iter().zip(&wanted) {
        assert_eq!((reject.position.line, &reject.raw[..]), (*line, raw.as_bytes()));
        let column = reject.position.column;
        assert_eq!(reject.position.byte, byte + column - 1, "the byte is that of the column");
        assert_eq!(reject.stage, Stage::Decode);
        let code = if raw.contains('"') { "unterminated_string" } else { "bad_number" };
        assert!(reject.code == code || reject.code.starts_with("bad_"), "{} for {raw}", reject.code);
        assert!(!reject.reason.is_empty());
    }
}

#[test]
fn fail_stops_with_a_caret_below_the_fault() {
    let place = Place::new();
    place.write("in.lp", "cpu usage=1i 1\ncpu usage=1x 2\n");
    let ran = place.run(&["-f", "in.lp", "-t", "file:out?format=parquet"]).expect(1);
    let err = ran.err();
    assert!(err.contains("in.lp, line 2, column"), "{err}");
    let lines: Vec<_> = err.lines().collect();
    let at = lines.iter().position(|line| line.trim() == "cpu usage=1x 2").unwrap();
    let caret = lines[at + 1].find('^').unwrap();
    let before = lines[at].get(..caret).unwrap();
    assert!(before.ends_with("usage=") || before.ends_with("usage=1"), "{err}");
    assert!(err.contains("--errors"), "{err}");
}

#[test]
fn too_many_rejects_stop_the_job() {
    let place = Place::new();
    place.write("in.lp", "bad\n".repeat(10));
    let run = |limit: &str| {
        place.run(&["-f", "in.lp", "-t", "discard:", "--errors", "skip", "--max-errors", limit, "--restart"])
    };
    let ran = run("9").expect(4);
    assert!(ran.err().contains("10 of 10 records rejected, 9 allowed"), "{}", ran.err());
    run("10").expect(3);
    run("50%").expect(4);
}

#[test]
fn a_job_that_stops_for_its_rejects_shows_them_and_no_other_file_is_taken_for_them() {
    let place = Place::new();
    place.write("in.lp", "bad\n".repeat(10));
    let run = |path: &str| {
        let errors = format!("reject:{path}");
        place.run(&["-f", "in.lp", "-t", "discard:", "--errors", &errors, "--max-errors", "3"])
    };
    run("bad.jsonl").expect(4);
    let kept = std::fs::read_to_string(place.path("bad.jsonl")).unwrap();
    assert!(kept.lines().count() > 3 && kept.contains("missing_fields"), "{kept}");
    // Again: the same rejects, not twice.
    run("bad.jsonl").expect(4);
    assert_eq!(std::fs::read_to_string(place.path("bad.jsonl")).unwrap(), kept);

    let ran = run("in.lp").expect(2);
    assert!(ran.err().contains("no reject file"), "{}", ran.err());
    assert_eq!(std::fs::read_to_string(place.path("in.lp")).unwrap(), "bad\n".repeat(10));
}

#[test]
fn a_resumed_job_judges_types_as_before() {
    let place = Place::new();
    // The first type of a column stands, also for a run that begins behind it.
    place.write("in.lp", "cpu v=1.5 1\n");
    let run = |errors: &str| {
        place.run(&["-f", "in.lp", "-t", "file:out?format=parquet", "--job", "j", "--errors", errors])
    };
    run("fail").expect(0);
    place.write("in.lp", "cpu v=1.5 1\ncpu v=2i 2\ncpu v=2.5 3\n");
    let ran = run("skip").expect(3);
    assert!(ran.out().contains("rejected               1 rows"), "{}", ran.out());
    let values: Vec<_> =
        parquet_points(&place.path("out")).into_iter().map(|point| point.fields["v"].1.clone()).collect();
    assert_eq!(values.len(), 2);
    assert!(values.contains(&"1.5".to_owned()) && values.contains(&"2.5".to_owned()), "{values:?}");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_fault() {
    let place = Place::new();
    let script = format!("{} connectors | head -1; echo ${{PIPESTATUS[0]}}", env!("CARGO_BIN_EXE_kwsync"));
    let ran = place.command_of("bash", &["-c", &script]).output().unwrap();
    let out = String::from_utf8(ran.stdout).unwrap();
    assert!(out.ends_with("\n0\n"), "{out}");
    assert!(ran.stderr.is_empty(), "{}", String::from_utf8_lossy(&ran.stderr));
}

/// Status, what the message must hold, and the arguments.
#[test]
fn mistakes_get_one_line_that_says_what_to_do() {
    let place = Place::new();
    place.write("in.lp", "cpu usage=1i 1\n");
    place.write("secret.lp", "cpu usage=1i 1\n");
    let out = "file:out?format=parquet";
    let cases: &[(i32, &[&str], &[&str])] = &[
        (1, &["missing.lp", "check the path"], &["-f", "missing.lp", "-t", out]),
        (2, &["precison", "precision"], &["-f", "in.lp?precison=s", "-t", out]),
        (2, &["weeks", "s, ms, us"], &["-f", "in.lp?precision=weeks", "-t", out]),
        (2, &["line_influx", "line_influxdb"], &["-f", "in.lp?format=line_influx", "-t", out]),
        (2, &["postgers", "kwsync connectors"], &["-f", "in.lp", "-t", "postgers://u:hunter2@h/db"]),
        (2, &["--errors", "reject:PATH"], &["-f", "in.lp", "-t", out, "--errors", "ignore"]),
        (2, &["--max-errors", "0.5%"], &["-f", "in.lp", "-t", out, "--max-errors", "some"]),
        (2, &["add-tag:NAME=VALUE"], &["-f", "in.lp", "-t", out, "-T", "add-tag:x"]),
        (2, &["--jobs"], &["-f", "in.lp", "-t", out, "--jobs", "0"]),
        (2, &["--from"], &["run", "-t", out]),
        (2, &["connectors"], &["connectors", "fiel"]),
        (2, &["KWSYNC_NO_SUCH_VARIABLE"], &["-f", "${KWSYNC_NO_SUCH_VARIABLE}.lp", "-t", out]),
        (1, &["cannot"], &["-f", "in.lp", "-t", "file:/proc/nowhere?format=parquet"]),
    ];
    for (status, wanted, arguments) in cases {
        let ran = place.run(arguments).expect(*status);
        let err = ran.err();
        for part in *wanted {
            assert!(err.contains(part), "{arguments:?}: {part} is not in {err}");
        }
        assert!(!err.contains("panicked") && !err.contains("hunter2"), "{err}");
    }
    assert!(!place.path("out").exists(), "a faulty command touches nothing");
}

#[test]
fn a_full_disk_says_so_and_leaves_no_half_file() {
    let place = Place::new();
    let full = place.path("full");
    std::fs::create_dir(&full).unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=256k", "tmpfs", full.to_str().unwrap()])
        .output()
        .is_ok_and(|ran| ran.status.success());
    if !mounted {
        println!("SKIPPED: a full disk needs the right to mount a small tmpfs");
        return;
    }
    let text: String = (0..60_000u64)
        .map(|n| format!("cpu,host=h{n} v={} {n}\n", n.wrapping_mul(0x9e37_79b9_7f4a_7c15) % 1_000_003))
        .collect();
    place.write("in.lp", text);
    let ran = place.run(&["-f", "in.lp", "-t", "file:full/out?format=parquet"]);
    let left = super::support::parquet_files(&full);
    let unmounted = std::process::Command::new("umount").arg(&full).status();
    assert!(unmounted.is_ok_and(|status| status.success()));
    let ran = ran.expect(1);
    assert!(ran.err().contains("No space left"), "{}", ran.err());
    assert!(ran.err().contains("free some space"), "{}", ran.err());
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn signals_stop_gracefully_and_the_job_resumes() {
    let place = Place::new();
    let text: String = (0..50_000u64).map(|n| format!("cpu n={n}i {n}\n")).collect();
    place.write("in.lp", text);
    let arguments =
        ["-f", "in.lp", "-t", "file:out?format=parquet", "--report", "json", "--commit-rows", "1000"];
    let slow = [&arguments[..], &["--rate-rows", "20000"]].concat();
    for (signal, status) in [("-INT", 130), ("-TERM", 143)] {
        let child = place.command(&slow).stdout(std::process::Stdio::piped()).spawn().unwrap();
        let before = parquet_files_of(&place);
        while parquet_files_of(&place) <= before {
            std::thread::yield_now();
        }
        let sent =
            std::process::Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
        assert!(sent.success());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(status));
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["status"], "interrupted");
        assert_eq!(report["rows_read"], report["rows_written"]);
    }
    place.run(&arguments).expect(0);
    let mut landed: Vec<_> =
        parquet_points(&place.path("out")).into_iter().map(|point| point.timestamp).collect();
    landed.sort_unstable();
    assert_eq!(landed, (0..50_000).map(Some).collect::<Vec<_>>());
}

fn parquet_files_of(place: &Place) -> usize {
    let out = place.path("out");
    if out.is_dir() { super::support::parquet_files(&out).len() } else { 0 }
}
