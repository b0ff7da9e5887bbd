//! Files of Java properties: `key=value` lines.

use std::sync::Arc;

use super::{Entry, Lines, Node, Place, Value};
use crate::Result;

/// The pairs of `text`, all values as text. Comments start with `#` or `!`; `=`, `:` or a blank ends a key; a backslash at
/// the end of a line joins it with the next one.
pub(crate) fn parse(name: &str, text: &str) -> Result<Node> {
    let lines = Lines::of(name, text.strip_prefix('\u{feff}').unwrap_or(text));
    let mut entries: Vec<Entry> = Vec::new();
    let mut numbered = lines.text.lines().enumerate();
    while let Some((index, first)) = numbered.next() {
        let start = first.trim_start_matches([' ', '\t', '\u{c}']);
        if start.is_empty() || start.starts_with(['#', '!']) {
            continue;
        }
        let column = first.chars().count() - start.chars().count() + 1;
        let place =
            Place { origin: Arc::clone(&lines.origin), line: index as u64 + 1, column: column as u64 };
        let mut logical = start.to_owned();
        while ends_in_backslash(&logical) {
            logical.pop();
            let Some((_, next)) = numbered.next() else { break };
            logical.push_str(next.trim_start_matches([' ', '\t', '\u{c}']));
        }
        let (key, value) = split(&logical);
        let unescaped = |text: &str| {
            unescape(text).ok_or_else(|| {
                lines
                    .fault(&place, "`\\u` without four hexadecimal digits".to_owned())
                    .with_hint("write a backslash as `\\\\`")
            })
        };
        let (key, value) = (unescaped(key)?, unescaped(value)?);
        if let Some(old) = entries.iter().find(|entry| entry.key == key) {
            if old.value.scalar() == Some(&value) {
                continue;
            }
            let text = format!("the key `{key}` stands twice, first in line {}", old.place.line);
            return Err(lines.fault(&place, text).with_hint("leave one out"));
        }
        entries.push(Entry { key, value: Node::text(value, place.clone()), place });
    }
    Ok(Node { value: Value::Map(entries), place: lines.place(0) })
}

fn ends_in_backslash(text: &str) -> bool {
    text.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1
}

/// Key and value, still escaped.
fn split(line: &str) -> (&str, &str) {
    let mut escaped = false;
    let end = line
        .char_indices()
        .find(|(_, c)| {
            let ends = !escaped && matches!(c, '=' | ':' | ' ' | '\t' | '\u{c}');
            escaped = *c == '\\' && !escaped;
            ends
        })
        .map_or(line.len(), |(at, _)| at);
    let (key, rest) = line.split_at_checked(end).unwrap_or((line, ""));
    let rest = rest.trim_start_matches([' ', '\t', '\u{c}']);
    let rest = rest.strip_prefix(['=', ':']).unwrap_or(rest);
    (key, rest.trim_start_matches([' ', '\t', '\u{c}']))
}

fn unescape(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    // Characters beyond the first plane come as two escapes.
    let mut units: Vec<u16> = Vec::new();
    while let Some(c) = chars.next() {
        let escape = (c == '\\').then(|| chars.next()).flatten();
        if escape == Some('u') {
            let digits: String = chars.by_ref().take(4).collect();
            units.push(u16::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 4)?);
            continue;
        }
        out.extend(
            char::decode_utf16(units.drain(..)).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)),
        );
        match escape {
            Some('t') => out.push('\t'),
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('f') => out.push('\u{c}'),
            Some(other) => out.push(other),
            None => out.push(c),
        }
    }
    out.extend(char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)));
    Some(out)
}
