use super::*;
use crate::spec::PipelineSpec;

fn only(text: &str) -> PipelineSpec {
    let mut made = read(text).unwrap_or_else(|error| panic!("{text}: {}", error.report()));
    assert_eq!(made.specs.len(), 1);
    made.specs.remove(0)
}

#[test]
fn every_way_to_write_a_flag() {
    let wanted = only(
        "taosx run -f a.lp -t discard: -p '{\"parse\": {}}' -T add-tag:a=b -T rename-table:prefix:x -j 2",
    );
    for text in [
        "kwsync --from a.lp --to discard: --parser '{\"parse\": {}}' --transform add-tag:a=b --transform rename-table:prefix:x --jobs 2 -vvv --verbose",
        "taosx -fa.lp -t=discard: --parser=\"{\\\"parse\\\": {}}\" -Tadd-tag:a=b -Trename-table:prefix:x -j2",
        "# a comment\ntaosx run \\\n  --from=a.lp --to=discard: -p {\\\"parse\\\":\\ {}} \\\n  -T 'add-tag:a=b' -T \"rename-table:prefix:x\" \\\n -v --jobs=2\n",
    ] {
        assert_eq!(only(text), wanted, "{text}");
    }
    let text: Vec<_> = wanted.transforms.iter().map(ToString::to_string).collect();
    assert_eq!(
        (wanted.jobs, text.as_slice()),
        (2, &["add-tag:a=b".to_owned(), "rename-table:prefix:x".to_owned()][..])
    );
}

#[test]
fn rejects_go_where_the_target_says() {
    let of = |text: &str| only(text).errors.to_string();
    assert_eq!(of("taosx -f taos://a/db -t 'taos://b/db?assert&failes-to=bad.jsonl'"), "reject:bad.jsonl");
    assert_eq!(of("taosx -f taos://a/db -t 'taos://b/db?fails-to=/tmp/bad.jsonl'"), "reject:/tmp/bad.jsonl");
    assert_eq!(of("taosx -f taos://a/db -t 'tdengine://b/db?failes-to=bad.jsonl'"), "reject:bad.jsonl");
    assert_eq!(of("taosx -f taos://a/db -t 'taos://b/db?failes-to='"), "fail");
    let error = read("taosx -f taos://a/db -t 'taos://b/db?failes-to=x://a:b:c'").unwrap_err().report();
    assert!(error.contains("failes-to=x://a:b:c"), "{error}");
}

#[test]
fn ten_mistakes() {
    let base = "taosx run -f a.lp -t discard: ";
    for (text, wanted) in [
        // a misspelt flag
        (format!("{base} --jbos 3"), "there is no flag `--jbos`, did you mean `--jobs`?"),
        (format!("{base} -x 3"), "there is no flag `-x`"),
        // a word where a number belongs
        (format!("{base} -j many"), "`jobs` takes a whole number from 1, and \"many\" is none (--jobs)"),
        // a missing brace, in the parser
        (
            format!("{base} -p '{{\"parse\": {{\"a\": 1}}'"),
            "this `{` is never closed (--parser, line 1, column 1)",
        ),
        // a quote that is not closed
        ("taosx run \\\n -f 'a.lp -t discard:".to_owned(), "a quote is not closed: the `'` in line 2"),
        // an unknown transform
        (
            format!("{base} -T rename-tabel:prefix:x"),
            "`transforms[0]`: there is no transform \"rename-tabel\", did you mean `rename-table`?",
        ),
        // a transform without a value
        (format!("{base} -T add-tag:site"), "needs a name and a value"),
        // a bad regular expression, a group that it lacks
        (format!("{base} -T 'rename-table:replace_with_regex:^(a::b'"), "unclosed group"),
        (format!("{base} -T 'rename-table:replace_with_regex:^a(?<old>.*)::b_$old_x'"), "write ${old}_x"),
        (format!("{base} -T rename-table:replace_with_regex:^a"), "lacks `::`"),
        // a bad template
        (format!("{base} -T rename-table:template:{{tabel}}"), "{table}, {stable} and {old}"),
        // an address without an end
        ("taosx run -f a.lp".to_owned(), "`to` is missing"),
        ("taosx run -f taos://h:port/db -t discard:".to_owned(), "`port` is no port"),
        // an & outside of quotes leaves a word behind
        ("taosx run -f a.lp b.lp -t discard:".to_owned(), "\"b.lp\" belongs to no flag"),
        ("taosx run -f".to_owned(), "the flag `-f` has no value"),
        ("run -f a -t b".to_owned(), "stands before the command"),
        (String::new(), "there is no command"),
    ] {
        let error = read(&text).err().unwrap_or_else(|| panic!("{text} is fine"));
        assert_eq!(error.kind(), crate::ErrorKind::Config);
        assert!(error.report().contains(wanted), "{text}:\n{}", error.report());
    }
    let report = read("taosx -f a.lp -t discard: taosx -f a.lp -t discard: -j 0").unwrap_err().report();
    assert!(report.contains("command 2: `jobs` takes"), "{report}");
}

#[test]
fn no_secret_is_told() {
    for text in [
        "taosx run -f taos://root:hunter2@h:port/db -t discard:",
        "taosx -f 'influxdb://h?token=hunter2' -j x",
    ] {
        let report = read(text).unwrap_err().report();
        assert!(!report.contains("hunter2"), "{report}");
    }
}
