use super::*;

fn fault(parsed: crate::Result<Node>) -> String {
    parsed.err().map(|error| error.report()).unwrap_or_else(|| panic!("this parses"))
}

#[test]
fn json_as_people_write_it() {
    let text = "\u{feff}{\n  // a comment\n  \"a\": [1, \"x\\u00e9\", true, null,], /* another */\n  \"ä\": {\"n\": 1.50},\n}";
    let node = parse_json("j", text).unwrap();
    assert_eq!(node.to_json(), serde_json::json!({"a": [1, "xé", true, null], "ä": {"n": 1.5}}));
    let Value::Map(entries) = &node.value else { panic!() };
    assert_eq!(entries[1].value.place.to_string(), "j, line 4, column 8");
}

#[test]
fn faults_of_json_name_the_place_and_the_mend() {
    for (text, place, what) in [
        ("{\n \"a\": {\n  \"b\": 1\n}\n", "line 1, column 1", "missing `}`"),
        ("{\"a\": [1, 2", "line 1, column 7", "missing `]`"),
        ("{\"a\": [1, 2}", "line 1, column 12", "the `]` of a list"),
        ("{\"a\": 1}}", "line 1, column 9", "a `}` too many"),
        ("{\"a\": 1\n \"b\": 2}", "line 1, column 8", "a comma is missing"),
        ("{\"a\" 1}", "line 1, column ", "a key without `:`"),
        ("{\"a\": }", "line 1, column 7", "missing before it: a value"),
        ("{a: 1}", "line 1, column 2", "in double quotes"),
        ("{\"a\": yes}", "line 1, column 7", "put text in double quotes"),
        ("{\"a\": 'x'}", "line 1, column 7", "double quotes"),
        ("{\"a\": \"x\n}", "line 1, column 7", "not closed"),
        ("{\"a\": 1,\n \"a\": 2}", "line 2, column 2", "stands twice, first in line 1"),
        ("{} {}", "line 1, column 4", "behind the end"),
        ("", "j is empty", ""),
    ] {
        let report = fault(parse_json("j", text));
        assert!(report.contains(place) && report.contains(what), "{text}: {report}");
    }
    let deep = "[".repeat(5_000);
    assert!(fault(parse_json("j", &deep)).contains("within each other"));
    let deep = format!("{}{}", "[".repeat(300), "]".repeat(300));
    assert!(fault(parse_json("j", &deep)).contains("within each other"));
}

#[test]
fn excerpts_show_no_secret() {
    assert!(fault(parse_json("j", "{\"table\": cpu}")).contains("    {\"table\": cpu}\n"));
    let report = fault(parse_json("j", "{\"password\": hunter2}"));
    assert!(report.contains("line 1, column 14") && !report.contains("hunter2"), "{report}");
    let report = fault(parse_yaml("y", "to: postgres://u:hunter2@h/db: x: y\n"));
    assert!(!report.contains("hunter2"), "{report}");
}

#[test]
fn yaml_of_the_core_schema() {
    let text = "# a job\na: text with # no comment\nn: 0x10\nwhole: 12\nfloat: 1.5e3\non: yes\noff: False\nnone: ~\nquoted: \"12\"\n\
                list:\n- a\n- {b: c}\nfolded: >\n  one\n  two\nliteral: |\n  x\n";
    assert_eq!(
        parse_yaml("y", text).unwrap().to_json(),
        serde_json::json!({
            "a": "text with", "n": "0x10", "whole": 12, "float": 1500.0, "on": "yes", "off": false, "none": null,
            "quoted": "12", "list": ["a", {"b": "c"}], "folded": "one two\n", "literal": "x\n",
        })
    );
    for (text, what) in [
        ("a: [1, 2\nb: 3\n", "line "),
        ("a: 1\n b: 2\n", "line 2"),
        ("a: 1\na: 2\n", "stands twice, first in line 1"),
        ("a: &x 1\nb: *x\n", "write the value itself"),
        ("a: 1\n---\nb: 2\n", "a second document"),
        ("? [a]\n: 1\n", "a key is text"),
        ("# nothing\n", "y is empty"),
        ("", "y is empty"),
    ] {
        let report = fault(parse_yaml("y", text));
        assert!(report.contains(what), "{text}: {report}");
    }
    assert!(
        fault(parse_yaml("y", &format!("{}{}", "[".repeat(150), "]".repeat(150))))
            .contains("within each other")
    );
    fault(parse_yaml("y", &"[".repeat(5_000)));
}

#[test]
fn properties_as_java_reads_them() {
    let text = "# comment\n! another\nname=Sink\n topics : a,b\nempty=\nalone\nlong = one \\\n   two\nkey\\ with\\=signs=v\n\
                u=\\u00e9\\ud83d\\ude00\\t.\nname=Sink\n";
    assert_eq!(
        parse_properties("p", text).unwrap().to_json(),
        serde_json::json!({
            "name": "Sink", "topics": "a,b", "empty": "", "alone": "", "long": "one two", "key with=signs": "v", "u": "é😀\t.",
        })
    );
    assert!(fault(parse_properties("p", "a=1\n a=2\n")).contains("p, line 2, column 2"));
    assert!(fault(parse_properties("p", "a=\\u12\n")).contains("four hexadecimal digits"));
}

mod any_text {
    use proptest::prelude::*;

    use crate::spec::kafka_connect::{self, Worker};
    use crate::spec::{PipelineSpec, datax, taosx};

    /// Text of the pieces that the forms are made of, and of anything.
    fn text() -> impl Strategy<Value = String> {
        let pieces = prop::sample::select(vec![
            "{",
            "}",
            "[",
            "]",
            ":",
            ",",
            "\"",
            "'",
            "\\",
            "\n",
            "  ",
            "- ",
            "#",
            "//",
            "/*",
            "*/",
            "&a",
            "*a",
            "? ",
            "|",
            ">",
            "!!",
            "%",
            "---",
            "\"job\":",
            "\"content\":",
            "\"reader\":",
            "\"name\":",
            "\"mysqlreader\"",
            "\"parameter\":",
            "\"column\":",
            "\"*\"",
            "\"config\":",
            "\"connector.class\":",
            "\"KwdbSinkConnector\"",
            "from: ",
            "to: ",
            "a.lp",
            "taosx ",
            "run ",
            "-f ",
            "-t ",
            "-T ",
            "rename-table:replace_with_regex:",
            "(",
            "::",
            "$",
            "${",
            "=",
            "é",
            "\u{feff}",
            "\u{0}",
            "1",
            "-1",
            "1e999",
            "null",
            "true",
            "\\u00",
            "\t",
            "\r\n",
        ]);
        prop_oneof![prop::collection::vec(pieces, 0..40).prop_map(|pieces| pieces.concat()), any::<String>(),]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]

        #[test]
        fn no_form_breaks_on_any_text(text in text()) {
            for name in ["x.json", "x.yaml", "x.properties"] {
                PipelineSpec::parse(name, &text).ok();
                datax::read(name, &text).ok();
                kafka_connect::read(name, &text, &Worker::default()).ok();
                Worker::from_properties(name, &text).ok();
            }
            taosx::read(&text).ok();
            datax::substitute(&text, &[("a".to_owned(), text.clone())]);
        }
    }
}
