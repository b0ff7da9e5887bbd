use std::io::BufReader;

use super::*;

fn reject(raw: &'static [u8]) -> Reject {
    Reject {
        position: Position { byte: 12, line: 2, column: 5, record: 2 },
        split: "a.lp".into(),
        stage: Stage::Decode,
        format: "line_influxdb".into(),
        table: Some(TableId::with_schema("public", "cpu")),
        code: "bad_integer".into(),
        reason: "not an integer".into(),
        raw: Bytes::from_static(raw),
        message: None,
        at: None,
    }
}

#[test]
fn what_is_written_reads_back_whatever_the_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rejects.jsonl");
    let message = Metadata::new()
        .with_topic("cars")
        .with_partition(3)
        .with_offset(17)
        .with_timestamp(5)
        .with_key(&b"\xff"[..])
        .with_header("why", Some("because".into()))
        .with_header("why", None)
        .with_header("raw", Some(Bytes::from_static(b"\xfe")));
    let of_message = Reject { message: Some(Arc::new(message)), ..reject(b"m") };
    let mut all: Vec<_> = [&b"m f=xi"[..], b"", b"\xff", b"\xff\xfe", b"\xff\x00\x01", b"a\nb\"\\"]
        .into_iter()
        .map(reject)
        .collect();
    all.push(of_message);
    let mut writer = RejectWriter::open(&path, 0).unwrap();
    let length = writer.append(&all).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().len(), length);
    let reader = RejectReader::new(BufReader::new(std::fs::File::open(&path).unwrap()), "r");
    let back: Vec<_> = reader.collect::<Result<_, _>>().unwrap();
    assert_eq!(back, all);
}

#[test]
fn resuming_cuts_what_no_checkpoint_knows() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rejects.jsonl");
    let mut writer = RejectWriter::open(&path, 0).unwrap();
    let kept = writer.append(&[reject(b"one")]).unwrap();
    writer.append(&[reject(b"two")]).unwrap();
    drop(writer);
    let mut writer = RejectWriter::open(&path, kept).unwrap();
    writer.append(&[reject(b"three")]).unwrap();
    let reader = RejectReader::new(BufReader::new(std::fs::File::open(&path).unwrap()), "r");
    let raws: Vec<_> = reader.map(|reject| reject.unwrap().raw).collect();
    assert_eq!(raws, [&b"one"[..], b"three"]);
}

#[test]
fn a_broken_line_is_named() {
    let error = RejectReader::new(&b"\n{}\n"[..], "r.jsonl").next().unwrap().unwrap_err();
    assert!(error.to_string().contains("r.jsonl, line 2"), "{error}");
}

#[test]
fn budgets_stop_exactly_at_their_limit() {
    let three: Budget = "3".parse().unwrap();
    assert!(three.check(3, 10, true).is_ok());
    let error = three.check(4, 10, false).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Budget);
    assert!(error.to_string().contains("4 of 10"), "{error}");

    let share: Budget = "1%".parse().unwrap();
    assert!(share.check(5, 10, false).is_ok(), "too few records to judge");
    assert!(share.check(5, 10, true).is_err());
    assert!(share.check(10, 1_000, false).is_ok());
    assert!(share.check(11, 1_000, false).is_err());
    for wrong in ["", "x", "-1", "101%", "%"] {
        assert!(wrong.parse::<Budget>().is_err(), "{wrong}");
    }
}

#[test]
fn policies_read_as_they_are_written() {
    for text in ["fail", "skip", "reject:/tmp/x"] {
        assert_eq!(text.parse::<ErrorPolicy>().unwrap().to_string(), text);
    }
    let letters: ErrorPolicy = "reject:kafka://me:hunter2@b:9092/dead?kafka.sasl.x=hunter2".parse().unwrap();
    assert!(!letters.to_string().contains("me:hunter2"));
    let kept = String::from(letters.clone());
    assert_eq!(kept.parse::<ErrorPolicy>().unwrap(), letters);
    assert!(!format!("{letters:?}").contains("me:hunter2"));
    let path = ErrorPolicy::Reject("/tmp/x".into());
    assert_eq!("reject:file:///tmp/x".parse::<ErrorPolicy>().unwrap(), path);
    for wrong in ["", "reject", "reject:", "ignore", "reject:kafka://b:port/dead"] {
        assert!(wrong.parse::<ErrorPolicy>().is_err(), "{wrong}");
    }
}

#[test]
fn the_error_of_a_reject_points_at_the_column() {
    let report = reject(b"m f=xi").to_error().report();
    assert!(
        report.starts_with("not an integer [bad_integer] (a.lp, line 2, column 5, table cpu)\n"),
        "{report}"
    );
    assert!(report.contains("    m f=xi\n        ^"), "{report}");
}

#[test]
fn a_stream_appends_and_a_torn_line_is_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rejects.jsonl");
    for (torn, lines) in [("", 1), ("{\"position", 2), ("", 3)] {
        let mut writer = RejectWriter::append_to(&path).unwrap();
        writer.append(&[reject(b"x")]).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), lines, "{text}");
        std::fs::write(&path, text + torn).unwrap();
    }
    std::fs::write(&path, "somebody's data\n").unwrap();
    assert!(RejectWriter::append_to(&path).is_err());
}
