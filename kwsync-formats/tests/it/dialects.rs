//! The dialects with typed values: what docs/formats.md says of them, one test a row.

use kwsync_formats::influx::{Dialect, FieldValue, Precision, lines, write_point};

fn points(dialect: Dialect, input: &str) -> Vec<String> {
    let points = lines(input.as_bytes()).with_dialect(dialect).map(|line| match line {
        Ok(line) => {
            let mut out = Vec::new();
            write_point(&line, Precision::Ns, &mut out).unwrap();
            let text = String::from_utf8(out).unwrap();
            text.split_once("\"fields\":").unwrap().1.trim_end().trim_end_matches('}').to_owned()
        }
        Err(error) => error.reason().code().to_owned(),
    });
    points.collect()
}

/// What becomes of the value `value`: `type text`, or the code of the reject.
fn value(dialect: Dialect, value: &str) -> String {
    let input = format!("m f={value} 1");
    let all: Vec<_> = lines(input.as_bytes()).with_dialect(dialect).collect();
    assert_eq!(all.len(), 1, "{input}");
    let line = match &all[0] {
        Ok(line) => line,
        Err(error) => return error.reason().code().to_owned(),
    };
    let (_, value) = line.fields().next().unwrap();
    let text = match value {
        FieldValue::Str(text) | FieldValue::NStr(text) | FieldValue::Geometry(text) => text.to_string(),
        FieldValue::Bytes(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
        FieldValue::I64(v) => v.to_string(),
        FieldValue::U64(v) => v.to_string(),
        FieldValue::F64(v) => v.to_string(),
        FieldValue::Bool(v) => v.to_string(),
        FieldValue::I8(v) => v.to_string(),
        FieldValue::I16(v) => v.to_string(),
        FieldValue::I32(v) => v.to_string(),
        FieldValue::U8(v) => v.to_string(),
        FieldValue::U16(v) => v.to_string(),
        FieldValue::U32(v) => v.to_string(),
        FieldValue::F32(v) => v.to_string(),
        other => panic!("{other:?}"),
    };
    format!("{} {text}", value.type_name())
}

macro_rules! values {
    ($dialect:ident, $name:ident: $($input:expr => $expected:expr),+ $(,)?) => {
        #[test]
        fn $name() {
            $(assert_eq!(value(Dialect::$dialect, $input), $expected, "{}", $input);)+
        }
    };
}

values!(Kwdb, kwdb_numbers:
    "11i16" => "i16 11", "21i32" => "i32 21", "31i64" => "i64 31", "31i" => "i64 31", "-3i" => "i64 -3",
    "1.8f32" => "f32 1.8", "0.16f64" => "f64 0.16", "0.16" => "f64 0.16", "1648432611249" => "f64 1648432611249",
    "32768i16" => "out_of_range", "-32768i16" => "i16 -32768", "2147483648i32" => "out_of_range",
    "9223372036854775808i" => "integer_overflow", "1e39f32" => "out_of_range", "1e400" => "float_overflow",
    "1u" => "bad_suffix", "1i8" => "bad_suffix", "1f16" => "bad_suffix", "1.5i" => "bad_integer", "i16" => "bad_value",
    "--1" => "bad_float", "1x" => "bad_float",
    // Rounded once: by way of the double it would be 16777216.
    "16777217.0000001f32" => "f32 16777218",
);
values!(Kwdb, kwdb_booleans:
    "true" => "bool true", "TRUE" => "bool true", "fAlse" => "bool false", "t" => "bad_value", "truely" => "bad_value",
);
values!(Kwdb, kwdb_strings:
    "\"a\"" => "string a", "'a'" => "string a", "L\"a\"" => "nstring a", "\\\"rfv\\\"" => "string rfv",
    "L\\\"ikl\\\"" => "nstring ikl", "\"\"" => "string ", "\"a b,c=d\"" => "string a b,c=d",
    "\"a\\ b\\,c\\=d\\\"e\\\\f\"" => "string a b,c=d\"e\\f", "'it\\'s \"x\"'" => "string it's \"x\"",
    "\\\"say \\\\\\\"hi\\\\\\\" and \\\\\\\\ \\\"" => "string say \"hi\" and \\ ",
    "\"a" => "unterminated_string", "\\\"a\"" => "unterminated_string", "\"a\"b" => "text_after_string",
    "L" => "bad_value", "B\"a\"" => "bad_value",
);
values!(Kwdb, kwdb_bytes:
    "\"\\x313233\"" => "bytes 123", "\"\\\\x313233\"" => "bytes 123", "\\\"\\x31\\\"" => "bytes 1",
    "\\\"\\\\x313233\\\"" => "bytes 123", "\"\\x\"" => "bytes ", "\"\\x3\"" => "string \\x3", "'\\x31'" => "string \\x31",
    "\"\\xzz\"" => "string \\xzz",
);
values!(Tdengine, tdengine_values:
    "1i8" => "i8 1", "1i16" => "i16 1", "1i32" => "i32 1", "1i64" => "i64 1", "1i" => "i64 1",
    "1u8" => "u8 1", "1u16" => "u16 1", "1u32" => "u32 1", "1u64" => "u64 1", "18446744073709551615u" => "u64 18446744073709551615",
    "128i8" => "out_of_range", "256u8" => "out_of_range", "-1u8" => "bad_integer", "18446744073709551616u" => "integer_overflow",
    "1.5f32" => "f32 1.5", "1.5" => "f64 1.5", "t" => "bool true", "FALSE" => "bool false", "tRUE" => "bad_value",
    "\"a\"" => "string a", "L\"a\"" => "nstring a", "B\"abc\"" => "bytes abc", "B\"\\x6162\"" => "bytes ab",
    "B\"\\x616\"" => "bad_bytes", "G\"POINT(1 2)\"" => "geometry POINT(1 2)", "\"a\\\\b\\\"c\"" => "string a\\b\"c",
    "'a'" => "bad_value", "\"\\x31\"" => "string \\x31",
);

#[test]
fn the_documented_lines_of_kwdb() {
    let input = concat!(
        r#"tb,tag_name=tag_value c1=11i16,c2=21i32,c3=31i64,c4=11.8f32,c5=0.16f64,c6=true,c7=\"112132\",c9='a',c10=L\"1\",c13=1648432611249 1648432611249000000"#,
        "\n",
        r#"tb,tag_name=tag_value c7=\"\\x313233\",c13=\"2023-08-11 12:12:10.249\" 1648432611249000000"#,
    );
    assert_eq!(
        points(Dialect::Kwdb, input),
        [
            concat!(
                r#"[["c1","i16","11"],["c2","i32","21"],["c3","i64","31"],["c4","f32","11.8"],["c5","f64","0.16"],"#,
                r#"["c6","bool","true"],["c7","string","112132"],["c9","string","a"],["c10","nstring","1"],"#,
                r#"["c13","f64","1648432611249"]],"timestamp":1648432611249000000"#
            ),
            concat!(
                r#"[["c7","bytes","\\x313233"],["c13","string","2023-08-11 12:12:10.249"]],"#,
                r#""timestamp":1648432611249000000"#
            ),
        ]
    );
}

#[test]
fn names_have_one_spelling() {
    for (dialect, name, expected) in [
        (Dialect::Kwdb, r"a\ b\=c\,d\\e\qf", Err("bad_escape")),
        (Dialect::Kwdb, r#"a\ b\=c\,d\\e\"f"#, Ok(r#"a b=c,d\e"f"#)),
        (Dialect::Kwdb, r#"a"b"#, Err("bad_escape")),
        (Dialect::Tdengine, r#"a"b"#, Ok(r#"a"b"#)),
        (Dialect::Tdengine, r"a\\b", Ok(r"a\b")),
        (Dialect::Tdengine, r"a\b", Err("bad_escape")),
    ] {
        let input = format!("m {name}=1");
        let line = lines(input.as_bytes()).with_dialect(dialect).next().unwrap();
        let found = line.map(|line| line.fields().next().unwrap().0.to_string());
        assert_eq!(
            found.as_deref().map_err(|error| error.reason().code()),
            expected.map(str::to_owned).as_deref().map_err(|code| *code),
            "{dialect:?} {name}"
        );
    }
}

#[test]
fn tags_and_ends() {
    let tag = |dialect, input: &str| {
        let line = lines(input.as_bytes()).with_dialect(dialect).next().unwrap();
        line.map(|line| line.tags().next().unwrap().1.to_string()).map_err(|error| error.reason().code())
    };
    assert_eq!(tag(Dialect::Kwdb, r#"m,t=a\"b\\c\ d f=1"#), Ok(r#"a"b\c d"#.to_owned()));
    assert_eq!(tag(Dialect::Kwdb, r"m,t=C:\dir f=1"), Ok(r"C:\dir".to_owned()));
    assert_eq!(tag(Dialect::Tdengine, r"m,t=a\\b f=1 1 and more"), Ok(r"a\b".to_owned()));
    assert_eq!(tag(Dialect::Kwdb, "m,t=a f=1 1 more"), Err("trailing_text"));
    assert_eq!(tag(Dialect::Kwdb, "m,t=a=b f=1"), Err("unescaped_equals"));
    assert_eq!(tag(Dialect::Kwdb, "m,t= f=1"), Err("empty_tag_value"));
    // One record a physical line.
    let codes = points(Dialect::Tdengine, "m f=\"a\nb\" 1\r\n# comment\nm f=1i8 1\r\n");
    assert_eq!(
        codes,
        ["unterminated_string", "missing_field_value", "[[\"f\",\"i8\",\"1\"]],\"timestamp\":1"]
    );
}

#[test]
fn the_precision_told_from_the_size() {
    for (written, nanoseconds) in [
        (1_700_000_000, 1_700_000_000_000_000_000),
        (1_700_000_000_000, 1_700_000_000_000_000_000),
        (1_700_000_000_000_000, 1_700_000_000_000_000_000),
        (1_700_000_000_000_000_000, 1_700_000_000_000_000_000),
        (-5, -5_000_000_000),
        (0, 0),
    ] {
        assert_eq!(Precision::Auto.to_nanoseconds(written), Some(nanoseconds));
    }
    assert_eq!("auto".parse(), Ok(Precision::Auto));
}
