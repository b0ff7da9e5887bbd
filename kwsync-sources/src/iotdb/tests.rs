use kwsync_core::TimeUnit;
use kwsync_core::config::{Dsn, Params};

use super::catalog::below;
use super::config::{IotdbOptions, Moment, PARAMS};

fn options(dsn: &str) -> kwsync_core::Result<IotdbOptions> {
    let dsn: Dsn = dsn.parse()?;
    IotdbOptions::from_dsn(&dsn, &Params::parse("iotdb", PARAMS, dsn.params())?)
}

#[test]
fn a_pattern_is_a_prefix_of_text() {
    assert_eq!(below("root"), "root");
    assert_eq!(below("root.aligned.1"), "root.aligned");
    assert_eq!(below("root.`a.b`.c"), "root.`a.b`");
    assert_eq!(below("root.`a.b"), "root");
    assert_eq!(options("iotdb://h/root.ln").unwrap().pattern, "root.ln.");
    assert_eq!(below("root.ln."), "root.ln");
    assert!(options("iotdb://h?pattern=ln").unwrap_err().report().contains("did you mean root.ln?"));
}

#[test]
fn times_are_inclusive_whatever_the_precision() {
    let of = |dsn: &str| options(dsn).unwrap();
    let all = of(
        "iotdb://h?start-time=1970.01.01T01:00:00.0005%2B01:00&end-time=1970-01-01T00:00:01.9999&history.start-time=7",
    );
    assert_eq!(all.range.0, Some(Moment::Nanos(500_000)));
    // The range puts history's own aside.
    assert_eq!(all.history_in(TimeUnit::Millisecond), (1, 1_999));
    assert_eq!(all.history_in(TimeUnit::Microsecond), (500, 1_999_900));
    let history = of("iotdb://h?historical.start-time=-5&history.end-time=1706704494000");
    assert_eq!(history.history_in(TimeUnit::Nanosecond), (-5, 1_706_704_494_000));
    assert_eq!(history.range_in(TimeUnit::Nanosecond), (i64::MIN, i64::MAX));
    assert!(options("iotdb://h?start-time=soon").unwrap_err().report().contains("no time"));
    assert!(options("iotdb://h?history.enable=false").unwrap_err().report().contains("nothing to read"));
    assert!(options("iotdb:").unwrap_err().report().contains("source.ip"));
}
