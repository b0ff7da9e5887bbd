//! Writing line protocol: texts with their escapes, numbers with their suffixes.

use super::Line;
#[cfg(feature = "arrow")]
use super::parse::Names;

/// Appends `line` as one line of its own: single separators, and a line feed at the end. Comments, blanks and
/// carriage returns around it are gone; names and strings are as they were written.
///
/// # Examples
///
/// ```
/// use kwsync_formats::influx::{lines, write_line};
/// let mut out = Vec::new();
/// for line in lines(b"# of two hosts\n  cpu,host=a\\ b  idle=.5,on=t   17  \r\ncpu idle=1") {
///     write_line(&line.unwrap(), &mut out);
/// }
/// assert_eq!(out, b"cpu,host=a\\ b idle=.5,on=t 17\ncpu idle=1\n");
/// ```
pub fn write_line(line: &Line<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(line.measurement.raw().as_bytes());
    if !line.tags.is_empty() {
        out.push(b',');
        out.extend_from_slice(line.tags.as_bytes());
    }
    out.push(b' ');
    out.extend_from_slice(line.fields.as_bytes());
    if let Some(timestamp) = line.timestamp {
        out.push(b' ');
        write_i64(timestamp, out);
    }
    out.push(b'\n');
}

#[cfg(feature = "arrow")]
/// Appends `text` with the escapes of `kind`.
pub(super) fn write_escaped(text: &[u8], kind: Names, out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(at) = rest.iter().position(|&byte| kind.escapes(byte)) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(&[b'\\', rest[at]]);
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}

#[cfg(feature = "arrow")]
/// Why `text` cannot be written as a name or a tag value.
pub(super) fn name_fault(text: &[u8]) -> Option<&'static str> {
    match text.last() {
        None => Some("is empty"),
        Some(b'\\') => Some("ends in a backslash"),
        _ if text.iter().any(|byte| byte.is_ascii_control()) => Some("holds a control character"),
        _ => None,
    }
}

const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[0; 2]; 100];
    let mut i = 0;
    while i < 100 {
        pairs[i] = [b'0' + i as u8 / 10, b'0' + i as u8 % 10];
        i += 1;
    }
    pairs
};

/// Appends the digits of `value`.
#[inline(always)]
pub(crate) fn write_u64(value: u64, out: &mut Vec<u8>) {
    if value < 10 {
        out.push(b'0' + value as u8);
    } else if value < 100 {
        out.extend_from_slice(&PAIRS[value as usize]);
    } else {
        write_many(value, out);
    }
}

#[inline(never)]
fn write_many(mut value: u64, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    while value >= 100 {
        at -= 2;
        digits[at..at + 2].copy_from_slice(&PAIRS[(value % 100) as usize]);
        value /= 100;
    }
    if value >= 10 {
        at -= 2;
        digits[at..at + 2].copy_from_slice(&PAIRS[value as usize]);
    } else {
        at -= 1;
        digits[at] = b'0' + value as u8;
    }
    out.extend_from_slice(&digits[at..]);
}

/// Appends the sign and the digits of `value`.
#[inline(always)]
pub(crate) fn write_i64(value: i64, out: &mut Vec<u8>) {
    if value < 0 {
        out.push(b'-');
    }
    write_u64(value.unsigned_abs(), out);
}

/// Appends a float, which is finite, with the fewest digits that read back the same; whole numbers without a point.
#[cfg(any(feature = "kwdb", feature = "tdengine"))]
pub(crate) fn write_f64(value: f64, out: &mut Vec<u8>) {
    let whole = value.abs() as u64;
    if whole < 1_000_000_000 && whole as f64 == value.abs() {
        if value.is_sign_negative() {
            out.push(b'-');
        }
        write_u64(whole, out);
    } else {
        write_float(value, out);
    }
}

/// The same of any width, and whole numbers with a point.
#[cfg(feature = "arrow")]
pub(crate) fn write_float(value: impl zmij::Float, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(zmij::Buffer::new().format_finite(value).as_bytes());
    // `1e+300`: not every reader of line protocol takes the sign, which says nothing.
    let plus = [3, 4].map(|from_end| out.len().saturating_sub(from_end));
    if let Some(at) = plus.into_iter().find(|&at| at > start && out.get(at) == Some(&b'+')) {
        out.remove(at);
    }
}
