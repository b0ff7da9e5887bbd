//! Strings: their escapes.

use super::scan::string_stop;

/// Appends what the text between the quotes of a valid string says.
pub(crate) fn unescape(raw: &[u8], out: &mut Vec<u8>) {
    let mut at = 0;
    while let Some(n) = memchr::memchr(b'\\', raw.get(at..).unwrap_or_default()) {
        out.extend_from_slice(raw.get(at..at + n).unwrap_or_default());
        let escape = at + n + 1;
        at = escape + 1;
        match raw.get(escape) {
            Some(b'u') => {
                let (char, end) =
                    unicode(raw, escape + 1).unwrap_or((char::REPLACEMENT_CHARACTER, escape + 5));
                out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
                at = end;
            }
            Some(b'b') => out.push(8),
            Some(b'f') => out.push(12),
            Some(b'n') => out.push(b'\n'),
            Some(b'r') => out.push(b'\r'),
            Some(b't') => out.push(b'\t'),
            Some(other) => out.push(*other),
            None => {}
        }
    }
    out.extend_from_slice(raw.get(at..).unwrap_or_default());
}

/// Four hexadecimal digits.
fn unit(data: &[u8], at: usize) -> Option<u32> {
    let digits = data.get(at..at + 4)?;
    digits.iter().try_fold(0, |value, digit| Some(value * 16 + (*digit as char).to_digit(16)?))
}

/// The character of a `\u` whose digits begin at `at`, and the end of its escape or pair of escapes.
fn unicode(data: &[u8], at: usize) -> Option<(char, usize)> {
    let first = unit(data, at)?;
    if let Some(char) = char::from_u32(first) {
        return Some((char, at + 4));
    }
    if first >= 0xdc00 || data.get(at + 4..at + 6)? != b"\\u" {
        return None;
    }
    let second = unit(data, at + 6).filter(|second| (0xdc00..0xe000).contains(second))?;
    Some((char::from_u32(0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00))?, at + 10))
}

/// What a string is found to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The closing quote, and whether there are escapes before it
    Quote(usize, bool),
    /// No string: code, reason, place
    Bad(&'static str, &'static str, usize),
    /// The data end before it does.
    Open,
}

/// Follows a string from the byte after its opening quote.
#[inline]
pub(crate) fn end(data: &[u8], at: usize) -> End {
    let stop = string_stop(data, at);
    match data.get(stop) {
        Some(b'"') => End::Quote(stop, false),
        _ => escaped_end(data, stop),
    }
}

fn escaped_end(data: &[u8], stop: usize) -> End {
    let mut at = stop;
    let mut escaped = false;
    loop {
        match data.get(at) {
            None => return End::Open,
            Some(b'"') => return End::Quote(at, escaped),
            Some(b'\\') => {
                escaped = true;
                match data.get(at + 1) {
                    None => return End::Open,
                    Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => at += 2,
                    Some(b'u') => match unicode(data, at + 2) {
                        Some((_, end)) => at = end,
                        None if could_go_on(data, at) => return End::Open,
                        None => {
                            return End::Bad(
                                "bad_escape",
                                "\\u needs four hexadecimal digits, and a surrogate its other half",
                                at,
                            );
                        }
                    },
                    Some(_) => return End::Bad("bad_escape", "no such escape in a string", at),
                }
            }
            Some(_) => {
                return End::Bad(
                    "control_character",
                    "a control character in a string; JSON has it as an escape",
                    at,
                );
            }
        }
        at = string_stop(data, at);
    }
}

/// Whether the `\u` at `at`, or the pair that begins there, is cut by the end of the data.
fn could_go_on(data: &[u8], at: usize) -> bool {
    let rest = data.get(at..).unwrap_or_default();
    rest.len() < 12
        && rest.iter().enumerate().all(|(i, byte)| match i {
            0 | 6 => *byte == b'\\',
            1 | 7 => *byte == b'u',
            _ => byte.is_ascii_hexdigit(),
        })
        // A pair goes on only if its first half is one.
        && (rest.len() < 6 || unit(rest, 2).is_some_and(|first| (0xd800..0xdc00).contains(&first)))
}
