//! JSON as people write it: with comments and with commas behind the last value.

use jsonc_parser::ast::{self, ObjectPropName};
use jsonc_parser::common::Ranged;
use jsonc_parser::errors::{ParseError, ParseErrorKind};
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};

use super::{Entry, Lines, MAX_DEPTH, Node, Value};
use crate::{Error, Result};

/// The tree of `text`, which is called `name` in errors.
pub(crate) fn parse(name: &str, text: &str) -> Result<Node> {
    // Editors of Windows put a mark at the start of a file.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = Lines::of(name, text);
    let options = ParseOptions {
        allow_comments: true,
        allow_trailing_commas: true,
        allow_loose_object_property_names: false,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        allow_hexadecimal_numbers: false,
        allow_unary_plus_numbers: false,
        allow_bare_decimal_point_numbers: false,
        allow_non_finite_numbers: false,
        allow_extended_string_escapes: false,
    };
    let parsed = parse_to_ast(text, &CollectOptions::default(), &options)
        .map_err(|error| syntax(&lines, text, &error))?;
    match parsed.value {
        Some(value) => node(&lines, &value, 0),
        None => Err(Error::config(format!("{name} is empty"))),
    }
}

fn node(lines: &Lines<'_>, value: &ast::Value<'_>, depth: usize) -> Result<Node> {
    let place = lines.place(value.range().start);
    if depth > MAX_DEPTH {
        return Err(lines.fault(&place, format!("more than {MAX_DEPTH} objects and lists within each other")));
    }
    let value = match value {
        ast::Value::StringLit(text) => Value::Text(text.value.to_string()),
        ast::Value::NumberLit(number) => Value::Number(number.value.to_owned()),
        ast::Value::BooleanLit(flag) => Value::Flag(flag.value),
        ast::Value::NullKeyword(_) => Value::Null,
        ast::Value::Array(array) => Value::List(
            array.elements.iter().map(|item| node(lines, item, depth + 1)).collect::<Result<_>>()?,
        ),
        ast::Value::Object(object) => {
            let mut entries: Vec<Entry> = Vec::with_capacity(object.properties.len());
            for property in &object.properties {
                let key = match &property.name {
                    ObjectPropName::String(text) => text.value.to_string(),
                    ObjectPropName::Word(word) => word.value.to_owned(),
                };
                let place = lines.place(property.range.start);
                if let Some(first) = entries.iter().find(|entry| entry.key == key) {
                    let text = format!("the key `{key}` stands twice, first in line {}", first.place.line);
                    return Err(lines.fault(&place, text).with_hint("leave one out"));
                }
                entries.push(Entry { key, place, value: node(lines, &property.value, depth + 1)? });
            }
            Value::Map(entries)
        }
    };
    Ok(Node { value, place })
}

fn syntax(lines: &Lines<'_>, text: &str, error: &ParseError) -> Error {
    let (what, hint) = match error.kind() {
        ParseErrorKind::UnterminatedObject => ("this `{` is never closed", "add the missing `}`"),
        ParseErrorKind::UnterminatedArray => ("this `[` is never closed", "add the missing `]`"),
        ParseErrorKind::UnexpectedCloseBrace => (
            "a `}` out of place",
            "take it away, or write what is missing before it: a value, or the `]` of a list",
        ),
        ParseErrorKind::UnexpectedCloseBracket => (
            "a `]` out of place",
            "take it away, or write what is missing before it: a value, or the `}` of an object",
        ),
        ParseErrorKind::MultipleRootJsonValues => {
            ("text behind the end of the configuration", "look for a `}` too many before it")
        }
        ParseErrorKind::ExpectedComma => ("a comma is missing here", "put one between two values"),
        ParseErrorKind::ExpectedColonAfterObjectKey => ("a key without `:`", "write \"key\": value"),
        ParseErrorKind::ExpectedObjectValue => ("a key without a value", "write \"key\": value"),
        ParseErrorKind::ExpectedStringObjectProperty | ParseErrorKind::UnexpectedTokenInObject => {
            ("no key where one belongs", "write \"key\": value, the key in double quotes")
        }
        ParseErrorKind::UnexpectedWord | ParseErrorKind::UnexpectedToken => (
            "neither text in quotes nor a number",
            "put text in double quotes; only true, false, null and numbers stand alone",
        ),
        ParseErrorKind::SingleQuotedStringsNotAllowed => ("text in single quotes", "use double quotes"),
        ParseErrorKind::String(_) => (
            "text that is not closed, or has an escape that JSON does not know",
            "end it with `\"`, and write a backslash as `\\\\`",
        ),
        ParseErrorKind::UnterminatedCommentBlock => ("a comment that is never closed", "end it with `*/`"),
        ParseErrorKind::NestingDepthExceeded => {
            ("too many objects and lists within each other", "flatten them")
        }
        _ => ("no JSON", ""),
    };
    let start = error.range().start.min(text.len());
    let place = lines.place(start);
    let what = if what == "no JSON" { format!("no JSON: {}", error.kind()) } else { what.to_owned() };
    let fault = lines.fault(&place, what);
    if hint.is_empty() { fault } else { fault.with_hint(hint) }
}
