use super::*;

const MILLI: Duration = Duration::from_millis(1);

static PARAMS: &[Param] = &[
    Param::text("topics", "topics to read").with_aliases(&["topic.list"]).required(),
    Param::flag("assert", "create what is missing"),
    Param::flag("header", "the first line names the columns").with_default("true"),
    Param::int("qos", 0, 2, "quality of service").with_default("1"),
    Param::size("batch", "bytes of a batch").with_default("16MiB"),
    Param::duration_or_never("timeout", MILLI, "how long to wait").with_default("500ms"),
    Param::duration("linger", MILLI, "how long to gather"),
    Param::choice("format", &["line_influxdb", "json", "csv"], "format of records"),
    Param::list("tables", "tables to read"),
    Param::text("token", "access token").secret(),
    Param::int("pin", 0, 9999, "a secret number").secret(),
    Param::text("useUnicode", "a matter of JDBC").ignored(),
];

fn parse(pairs: &[(&str, Option<&str>)]) -> Result<Params> {
    Params::parse("source `test`", PARAMS, pairs.iter().copied())
}

fn one(name: &str, value: &str) -> Params {
    parse(&[("topics", Some("a")), (name, Some(value))])
        .unwrap_or_else(|error| panic!("{name}={value}: {error}"))
}

#[test]
fn defaults_and_types() {
    let params = parse(&[("topics", Some("a"))]).unwrap();
    assert_eq!(params.text("topics"), Some("a"));
    assert!(!params.flag("assert"));
    assert!(params.flag("header"));
    assert_eq!(params.int("qos"), Some(1));
    assert_eq!(params.size("batch"), Some(16 << 20));
    assert_eq!(params.duration("timeout"), Some(Duration::from_millis(500)));
    assert_eq!(params.duration("linger"), None);
    assert_eq!(params.choice("format"), None);
    assert!(params.list("tables").is_empty());
    assert_eq!(params.secret("token"), None);
    assert_eq!(params.provenance("qos"), Some(Provenance::Default));
    assert_eq!(params.provenance("linger"), None);
    assert!(params.is_given("topics"));

    for (text, on) in
        [("true", true), ("1", true), ("YES", true), ("on", true), ("false", false), ("off", false)]
    {
        assert_eq!(one("header", text).flag("header"), on, "{text}");
    }
    assert!(parse(&[("topics", Some("a")), ("assert", None)]).unwrap().flag("assert"));
    for (text, bytes) in [
        ("800_000", 800_000),
        ("64k", 65_536),
        ("64 KiB", 65_536),
        ("2MB", 2_000_000),
        ("1g", 1 << 30),
        ("7b", 7),
        ("0", 0),
    ] {
        assert_eq!(one("batch", text).size("batch"), Some(bytes), "{text}");
    }
    for (text, time) in [
        ("5000", Duration::from_secs(5)),
        ("500ms", Duration::from_millis(500)),
        ("30s", Duration::from_secs(30)),
        ("5m", Duration::from_secs(300)),
        ("2h", Duration::from_secs(7200)),
        ("7d", Duration::from_secs(604_800)),
        ("15us", Duration::from_micros(15)),
        ("never", Duration::MAX),
    ] {
        assert_eq!(one("timeout", text).duration("timeout"), Some(time), "{text}");
    }
    assert_eq!(one("format", "JSON").choice("format"), Some("json"));
    assert_eq!(one("tables", " a, b ,,c\nd\n").list("tables"), ["a", "b", "c", "d"]);
    assert_eq!(one("topic.list", "a").text("topics"), Some("a"));
    // Blanks are part of a text.
    assert_eq!(one("token", " x ").secret("token"), Some(Secret::from(" x ")));
}

#[test]
fn lists_gather_and_empty_is_not_given() {
    let params = parse(&[
        ("topics", Some("a")),
        ("tables", Some("a,b")),
        ("tables", Some("c")),
        ("qos", Some("")),
        ("format", Some("")),
    ])
    .unwrap();
    assert_eq!(params.list("tables"), ["a", "b", "c"]);
    assert_eq!(params.provenance("qos"), Some(Provenance::Default));
    assert_eq!(params.choice("format"), None);
}

#[test]
fn every_fault_at_once() {
    let error = parse(&[
        ("tipocs", Some("a")),
        ("qos", Some("3")),
        ("batch", Some("much")),
        ("timeout", Some("5 weeks")),
        ("linger", Some("never")),
        ("format", Some("jsno")),
        ("assert", Some("maybe")),
        ("tables", None),
        ("database", None),
        ("pin", Some("secret-pin")),
    ])
    .unwrap_err();
    assert_eq!(error.kind(), crate::ErrorKind::Config);
    assert_eq!(
        error.to_string(),
        "source `test`: 11 faults: (1) unknown parameter `tipocs`, did you mean `topics`?; \
         (2) `qos=3` is wrong: it takes a whole number from 0 to 2; \
         (3) `batch=much` is wrong: it takes a number of bytes, as 4096, 64KiB or 16MiB; \
         (4) `timeout=5 weeks` is wrong: it takes a time, as 500ms, 30s or 5m, or never; \
         (5) `linger=never` is wrong: it takes a time, as 500ms, 30s or 5m; \
         (6) `format=jsno` is wrong: it takes one of line_influxdb, json, csv, did you mean `json`?; \
         (7) `assert=maybe` is wrong: it takes true or false; \
         (8) `tables` is wrong: it takes a value: key=value; \
         (9) unknown parameter `database`; \
         (10) `pin=***` is wrong: it takes a whole number from 0 to 9999; \
         (11) the parameter `topics` is missing"
    );
    let hint = error.hint().unwrap();
    assert!(hint.contains("known are: topics, assert") && !hint.contains("useUnicode"), "{hint}");
    assert!(hint.contains("topics: topics to read"), "{hint}");
}

#[test]
fn overflow_is_a_fault() {
    for (name, text) in [
        ("batch", "99999999999999999999"),
        ("batch", "18446744073709551615k"),
        ("timeout", "18446744073709551615d"),
        ("qos", "99999999999999999999"),
        ("batch", ""),
    ] {
        let result = parse(&[("topics", Some("a")), (name, Some(text))]);
        assert_eq!(result.is_err(), !text.is_empty(), "{name}={text}");
    }
}

#[test]
fn twice() {
    assert!(parse(&[("topics", Some("a")), ("topic.list", Some("a"))]).is_ok());
    let error = parse(&[("topics", Some("a")), ("topic.list", Some("b"))]).unwrap_err();
    assert_eq!(error.to_string(), "source `test`: `topic.list` is given twice, with different values");
    assert!(error.hint().unwrap().contains("topics, topic.list"));
}

#[test]
fn shown_without_secrets() {
    let params = parse(&[
        ("topics", Some("a")),
        ("token", Some("hunter2")),
        ("useUnicode", Some("true")),
        ("assert", None),
    ])
    .unwrap();
    let shown: Vec<_> = params
        .settings()
        .filter_map(|s| Some((s.param.name(), s.value?, s.provenance == Provenance::Given)))
        .collect();
    assert_eq!(
        shown,
        [
            ("topics", "a", true),
            ("assert", "true", true),
            ("header", "true", false),
            ("qos", "1", false),
            ("batch", "16MiB", false),
            ("timeout", "500ms", false),
            ("token", "***", true),
            ("useUnicode", "true", true),
        ]
    );
    assert!(!format!("{params:?}").contains("hunter2"));
    assert_eq!(params.ignored().collect::<Vec<_>>(), ["useUnicode"]);
    assert_eq!(params.secret("token").unwrap().expose(), "hunter2");
}
