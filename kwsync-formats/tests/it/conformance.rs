//! The rows of the table in docs/formats.md, one test each: what servers disagree on, and what kwsync does.

use kwsync_formats::influx::{FieldValue, lines};

/// The reason that the only record of `input` is refused for, or `ok`.
fn verdict(input: &str) -> &'static str {
    bytes(input.as_bytes())
}

fn bytes(input: &[u8]) -> &'static str {
    let all: Vec<_> = lines(input).collect();
    assert_eq!(all.len(), 1, "{}", String::from_utf8_lossy(input));
    all[0].as_ref().map_or_else(|error| error.reason().code(), |_| "ok")
}

fn tag(input: &str) -> String {
    let line = lines(input.as_bytes()).next().unwrap().unwrap();
    line.tags().next().unwrap().1.to_string()
}

fn measurement(input: &str) -> String {
    lines(input.as_bytes()).next().unwrap().unwrap().measurement().to_string()
}

fn string(input: &str) -> String {
    let line = lines(input.as_bytes()).next().unwrap().unwrap();
    match line.fields().next().unwrap().1 {
        FieldValue::Str(text) => text.to_string(),
        other => panic!("{other:?}"),
    }
}

macro_rules! rows {
    ($($name:ident: $($input:expr => $code:literal),+;)*) => {
        $(#[test]
        fn $name() {
            $(assert_eq!(verdict($input), $code, "{:?}", $input);)+
        })*
    };
}

rows! {
    trailing_comma: "m f=1," => "trailing_comma", "m f=1, 17" => "trailing_comma", "m f=1,,g=2" => "trailing_comma", "m, f=1" => "empty_tag_key";
    duplicate_tag: "m,a=1,a=2 f=1" => "duplicate_tag", "m,a\\ b=1,a\\ b=1 f=1" => "duplicate_tag";
    duplicate_field: "m f=1,f=2" => "ok", "m f=1,f=2i" => "field_type_conflict";
    tag_and_field: "m,f=1 f=1" => "tag_field_clash";
    empty_tag: "m,a= f=1" => "empty_tag_value", "m,=1 f=1" => "empty_tag_key", "m,a f=1" => "missing_tag_value";
    equals_in_tag: "m,a=x=y f=1" => "unescaped_equals", "m,a=x\\=y f=1" => "ok";
    trailing_backslash: "m,a=x\\ f=1" => "unescaped_equals", "m\\ f=1" => "missing_fields";
    text_after_string: "m f=\"a\"b" => "text_after_string";
    unterminated_string: "m f=\"a 17" => "unterminated_string", "m f=\"a\\\" 17" => "unterminated_string";
    carriage_return: "m f=1 1\r\n" => "ok", "m f=1 1\r" => "control_character", "m f=1\r1\n" => "control_character";
    trailing_spaces: "m f=1  " => "ok", "m f=1 5  " => "ok", "  m f=1" => "ok", "m  f=1   5" => "ok";
    text_after_timestamp: "m f=1 5 x" => "trailing_text", "m f=1 5x" => "bad_timestamp", "m f=1 1.5" => "bad_timestamp";
    unsigned: "m f=1u" => "ok", "m f=-1u" => "bad_integer";
    integer_overflow: "m f=9223372036854775808i" => "integer_overflow", "m f=18446744073709551616u" => "integer_overflow",
        "m f=-9223372036854775808i" => "ok", "m f=18446744073709551615u" => "ok", "m f=00000000000000000000007i" => "ok";
    short_floats: "m f=1." => "ok", "m f=.5" => "ok", "m f=1.e5" => "ok", "m f=." => "bad_float", "m f=1e" => "bad_float";
    plus: "m f=+1.5" => "bad_value", "m f=+1i" => "bad_value", "m f=1e+5" => "ok";
    float_overflow: "m f=1e400" => "float_overflow", "m f=-1e400" => "float_overflow", "m f=1e-400" => "ok";
    nan: "m f=NaN" => "bad_value", "m f=inf" => "bad_value", "m f=-inf" => "bad_float";
    other_numbers: "m f=0x10" => "bad_float", "m f=1_000" => "bad_float", "m f=1.0i" => "bad_integer", "m f=1i2" => "bad_integer";
    booleans: "m f=t" => "ok", "m f=TRUE" => "ok", "m f=False" => "ok", "m f=tRUE" => "bad_value", "m f=truex" => "bad_value";
    timestamp_limits: "m f=1 -9223372036854775808" => "ok", "m f=1 9223372036854775807" => "ok",
        "m f=1 9223372036854775808" => "timestamp_overflow", "m f=1 +5" => "bad_timestamp";
    missing_timestamp: "m f=1" => "ok";
    control_characters: "m\0 f=1" => "control_character", "m\tf=1" => "control_character", "m,t=a\x7f f=1" => "control_character",
        "m f=\"\0\x01\"" => "ok";
    missing_parts: "m" => "missing_fields", ",t=a f=1" => "missing_measurement", "m f" => "missing_field_value",
        "m f= 5" => "missing_field_value", "m =1" => "empty_field_key";
    quotes_in_names: "\"m\" f=1" => "ok", "m,t=\"a\" \"f\"=1" => "ok", "m,t=\"a b\" f=1" => "missing_field_value";
}

#[test]
fn backslashes_outside_strings() {
    assert_eq!(tag("m,a=x\\\\y f=1"), "x\\\\y");
    assert_eq!(tag("m,a=x\\y f=1"), "x\\y");
    assert_eq!(tag("m,a=x\\,\\=\\ y f=1"), "x,= y");
    assert_eq!(tag("m,a=x\\\\,y f=1"), "x\\,y");
    assert_eq!(measurement("a\\=b f=1"), "a\\=b");
    assert_eq!(measurement("a=b f=1"), "a=b");
    assert_eq!(measurement("a\\,b\\ c f=1"), "a,b c");
}

#[test]
fn strings() {
    assert_eq!(string("m f=\"a\\\"b\\\\c\\nd\""), "a\"b\\c\\nd");
    assert_eq!(string("m f=\"a\nb\r\nc\" 5"), "a\nb\r\nc");
    assert_eq!(string("m f=\"a, b=c\""), "a, b=c");
}

#[test]
fn comments_and_blank_lines() {
    let input = "# a \"comment\n  # indented\n\n \t\r\nm f=1\n";
    let all: Vec<_> = lines(input.as_bytes()).collect();
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].as_ref().unwrap().position().line, 5);
}

#[test]
fn byte_order_mark() {
    assert_eq!(measurement("\u{feff}m f=1"), "m");
    assert_eq!(measurement("a\u{feff}m f=1"), "a\u{feff}m");
}

#[test]
fn invalid_utf8() {
    assert_eq!(bytes(b"m,t=\xff f=1"), "invalid_utf8");
    assert_eq!(bytes(b"m f=\"\xc3\""), "invalid_utf8");
    // A comment is no record.
    assert_eq!(bytes(b"# \xff\nm f=1\n"), "ok");
}

#[test]
fn a_bad_line_costs_that_line() {
    let input = "m f=\"stray\nm f=2 2\nm f=\"x\"\nm f=3\n";
    let all: Vec<_> = lines(input.as_bytes()).collect();
    let lines: Vec<_> = all.iter().map(|line| line.is_ok()).collect();
    assert_eq!(lines, [false, true, true, true]);
}
