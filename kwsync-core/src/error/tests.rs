use super::*;
use std::time::Duration;

#[test]
fn an_error_costs_eight_bytes() {
    assert_eq!(size_of::<Result<(), Error>>(), 8);
}

#[test]
fn display_is_one_line_and_report_has_all() {
    let error = Error::new(ErrorKind::Data, "not an integer")
        .with_code("bad_integer")
        .with_location(
            Location::new()
                .with_input("a.lp")
                .with_position(Position { byte: 5, line: 1, column: 6, record: 1 })
                .with_excerpt(caret(b"cpu f=1x", 6)),
        )
        .with_hint("write 1i")
        .with_source(std::io::Error::other("inner"));
    assert_eq!(error.to_string(), "not an integer [bad_integer] (a.lp, line 1, column 6)");
    let report = error.report();
    assert!(report.contains("    cpu f=1x\n          ^"), "{report}");
    assert!(report.contains("caused by: inner"), "{report}");
    assert!(report.ends_with("hint: write 1i"), "{report}");
}

#[test]
fn io_errors_say_what_to_do_without_os_numbers() {
    let full = Error::io("cannot write x", std::io::Error::from_raw_os_error(28));
    assert_eq!(full.kind(), ErrorKind::DiskFull);
    assert_eq!(full.to_string(), "cannot write x: No space left on device");
    assert!(full.hint().is_some());
}

#[test]
fn the_table_of_kinds_is_consistent() {
    for kind in ErrorKind::ALL {
        assert!(!kind.as_str().is_empty());
        assert!(matches!(kind.exit_status(), 1 | 2 | 4 | 130), "{kind}");
    }
}

#[test]
fn only_row_faults_can_become_rejects() {
    for (code, class) in [
        ("22003", SqlStateClass::Row),
        ("23503", SqlStateClass::Row),
        ("42703", SqlStateClass::Schema),
        ("40P01", SqlStateClass::Conflict),
        ("53100", SqlStateClass::System),
        ("08006", SqlStateClass::System),
        ("57P01", SqlStateClass::System),
        ("XX000", SqlStateClass::System),
        ("zz", SqlStateClass::System),
    ] {
        assert_eq!(classify_sqlstate(code).0, class, "{code}");
    }
}

#[test]
fn backoff_grows_to_its_bound() {
    let mut backoff = Backoff::new(Duration::from_millis(10), Duration::from_millis(35), 5).with_seed(3);
    let waits: Vec<_> = std::iter::from_fn(|| backoff.next_wait()).collect();
    assert_eq!(waits.len(), 5);
    for (wait, full) in waits.iter().zip([10, 20, 35, 35, 35]) {
        assert!(*wait >= Duration::from_millis(full) / 2 && *wait <= Duration::from_millis(full), "{wait:?}");
    }
    backoff.reset();
    assert!(backoff.next_wait().is_some());
}
