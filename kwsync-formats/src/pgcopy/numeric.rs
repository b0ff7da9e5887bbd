//! numeric: groups of four decimal digits.
//!
//! On the wire: how many groups, the weight of the first (a power of 10,000), the sign, how many digits to show
//! behind the point, and the groups, each in two bytes.

use arrow_buffer::i256;

use super::fault::Fault;

const NEGATIVE: u16 = 0x4000;
const NAN: u16 = 0xc000;
const INFINITY: u16 = 0xd000;
const MINUS_INFINITY: u16 = 0xf000;
/// Digits before and behind the point that a numeric without bounds may have.
const MAX_WHOLE: i64 = 131_072;
const MAX_SCALE: i64 = 16_383;

/// Precision and scale of the column.
pub(crate) type Bounds = Option<(u16, i16)>;

fn header(groups: usize, weight: i64, sign: u16, scale: u32, out: &mut Vec<u8>) {
    let (groups, weight, scale) = (groups as u16, weight as i16, scale as u16);
    out.extend_from_slice(&groups.to_be_bytes());
    out.extend_from_slice(&weight.to_be_bytes());
    out.extend_from_slice(&sign.to_be_bytes());
    out.extend_from_slice(&scale.to_be_bytes());
}

#[cold]
fn overflow(bounds: Bounds) -> Fault {
    Fault::new(
        "numeric_overflow",
        match bounds {
            Some((p, s)) => {
                format!("the value has more digits before the point than numeric({p},{s}) takes")
            }
            None => "the value has more digits before the point than numeric takes".to_owned(),
        },
    )
}

#[cold]
fn too_fine(bounds: Bounds) -> Fault {
    Fault::new(
        "numeric_scale",
        match bounds {
            Some((p, s)) => {
                format!(
                    "the value has more digits than numeric({p},{s}) keeps: make the column's scale larger, or cast before"
                )
            }
            None => "the value has more digits behind the point than numeric takes".to_owned(),
        },
    )
}

/// `value / 10^scale`.
pub(crate) fn from_i128(value: i128, scale: u32, bounds: Bounds, out: &mut Vec<u8>) -> Result<(), Fault> {
    let magnitude = value.unsigned_abs();
    let Ok(small) = u64::try_from(magnitude) else {
        return from_digits(value < 0, magnitude.to_string().as_bytes(), i64::from(scale), bounds, out);
    };
    if scale > 16 || small > u64::MAX / 1_000 || bounds.is_some() {
        let mut digits = [0; 20];
        let mut rest = small;
        let mut at = digits.len();
        while rest > 0 {
            at -= 1;
            digits[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        return from_digits(value < 0, digits.get(at..).unwrap_or_default(), i64::from(scale), bounds, out);
    }
    let behind = scale.div_ceil(4);
    let mut rest = small * 10_u64.pow(behind * 4 - scale);
    // Twenty digits make five groups at most.
    let mut groups = [0_u16; 5];
    let mut count = 0;
    let mut skipped = 0;
    while rest > 0 {
        let group = (rest % 10_000) as u16;
        rest /= 10_000;
        if group == 0 && count == 0 {
            skipped += 1;
        } else {
            groups[count] = group;
            count += 1;
        }
    }
    if count == 0 {
        header(0, 0, 0, scale, out);
        return Ok(());
    }
    let weight = (count + skipped) as i64 - 1 - i64::from(behind);
    header(count, weight, if value < 0 { NEGATIVE } else { 0 }, scale, out);
    for group in groups[..count].iter().rev() {
        out.extend_from_slice(&group.to_be_bytes());
    }
    Ok(())
}

/// `value / 10^scale`.
pub(crate) fn from_i256(value: i256, scale: i64, bounds: Bounds, out: &mut Vec<u8>) -> Result<(), Fault> {
    let text = value.to_string();
    let (negative, digits) = text.strip_prefix('-').map_or((false, text.as_str()), |digits| (true, digits));
    from_digits(negative, digits.as_bytes(), scale, bounds, out)
}

/// Decimal digits, the last `scale` of them behind the point (a negative scale: so many zeros follow).
fn from_digits(
    negative: bool,
    digits: &[u8],
    scale: i64,
    bounds: Bounds,
    out: &mut Vec<u8>,
) -> Result<(), Fault> {
    let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
    let digits = digits.get(zeros..).unwrap_or_default();
    let shown = scale.clamp(0, MAX_SCALE) as u32;
    // Digits before the point; negative when zeros follow the point first.
    let point = digits.len() as i64 - scale;
    let trailing = digits.iter().rev().take_while(|digit| **digit == b'0').count();
    let digits = digits.get(..digits.len() - trailing).unwrap_or_default();
    if digits.is_empty() {
        header(0, 0, 0, shown, out);
        return Ok(());
    }
    let behind = digits.len() as i64 - point;
    let (most_whole, most_behind) = match bounds {
        Some((precision, scale)) => (i64::from(precision) - i64::from(scale), i64::from(scale)),
        None => (MAX_WHOLE, MAX_SCALE),
    };
    if point > most_whole {
        return Err(overflow(bounds));
    }
    if behind > most_behind {
        return Err(too_fine(bounds));
    }
    let weight = (point + 3).div_euclid(4) - 1;
    // The first group has one to four digits.
    let first = (point - 4 * weight) as usize;
    let groups = (4 - first + digits.len()).div_ceil(4);
    header(groups, weight, if negative { NEGATIVE } else { 0 }, shown, out);
    let (head, tail) = digits.split_at(first.min(digits.len()));
    for (group, width) in std::iter::once((head, first)).chain(tail.chunks(4).map(|group| (group, 4))) {
        let mut value = group.iter().fold(0_u16, |value, digit| value * 10 + u16::from(digit - b'0'));
        for _ in group.len()..width {
            value *= 10;
        }
        out.extend_from_slice(&value.to_be_bytes());
    }
    Ok(())
}

/// The shortest decimal that reads back as this float.
pub(crate) fn from_float(
    value: impl Into<f64> + std::fmt::LowerExp,
    infinity: bool,
    bounds: Bounds,
    out: &mut Vec<u8>,
) -> Result<(), Fault> {
    use std::io::Write;
    let mut buffer = [0_u8; 40];
    let mut rest = &mut buffer[..];
    // Neither f32 nor f64 needs more than 24 bytes; NaN and inf are told apart below.
    if write!(rest, "{value:e}").is_ok() {
        let length = 40 - rest.len();
        let text = std::str::from_utf8(&buffer[..length]).unwrap_or_default();
        return from_text(text, infinity, bounds, out);
    }
    Err(Fault::new("bad_numeric", format!("{} does not go into a numeric", value.into())))
}

/// What PostgreSQL reads as a numeric: digits, a point, an exponent; NaN; infinity.
pub(crate) fn from_text(text: &str, infinity: bool, bounds: Bounds, out: &mut Vec<u8>) -> Result<(), Fault> {
    let fault = || Fault::text("bad_numeric", text, "number");
    let (negative, rest) = match text.as_bytes().split_first() {
        Some((b'-', rest)) => (true, rest),
        Some((b'+', rest)) => (false, rest),
        _ => (false, text.as_bytes()),
    };
    if rest.eq_ignore_ascii_case(b"nan") {
        header(0, 0, NAN, 0, out);
        return Ok(());
    }
    if rest.eq_ignore_ascii_case(b"inf") || rest.eq_ignore_ascii_case(b"infinity") {
        if !infinity || bounds.is_some() {
            return Err(Fault::new(
                "numeric_infinity",
                "infinity does not go into a numeric with bounds, nor into any before PostgreSQL 14 (numeric_infinity=true says that the server is newer)",
            ));
        }
        // The server itself shows 32 digits for an infinity.
        header(0, 0, if negative { MINUS_INFINITY } else { INFINITY }, 32, out);
        return Ok(());
    }
    let (mantissa, exponent) = match rest.iter().position(|byte| matches!(byte, b'e' | b'E')) {
        Some(at) => {
            let exponent = rest.get(at + 1..).and_then(|e| std::str::from_utf8(e).ok()).ok_or_else(fault)?;
            (rest.get(..at).unwrap_or_default(), exponent.parse::<i32>().map_err(|_| fault())?)
        }
        None => (rest, 0),
    };
    let point = mantissa.iter().position(|byte| *byte == b'.');
    let digits = mantissa.iter().filter(|byte| byte.is_ascii_digit()).count();
    if digits == 0 || digits + usize::from(point.is_some()) != mantissa.len() {
        return Err(fault());
    }
    let behind = point.map_or(0, |point| mantissa.len() - point - 1) as i64;
    let scale = behind - i64::from(exponent);
    if point.is_none() {
        return from_digits(negative, mantissa, scale, bounds, out);
    }
    let mut stack = [0_u8; 40];
    let without = mantissa.iter().copied().filter(u8::is_ascii_digit);
    if digits <= stack.len() {
        stack.iter_mut().zip(without).for_each(|(to, from)| *to = from);
        return from_digits(negative, &stack[..digits], scale, bounds, out);
    }
    from_digits(negative, &without.collect::<Vec<u8>>(), scale, bounds, out)
}

/// A short decimal: its digits as an integer, and how many stand behind the point.
pub(crate) fn small(text: &str) -> Option<(i128, i8)> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let sign = usize::from(whole.starts_with(['-', '+']));
    let digits = whole.len() - sign + part.len();
    let all = whole.bytes().skip(sign).chain(part.bytes()).all(|byte| byte.is_ascii_digit());
    if !all || !(1..=38).contains(&digits) {
        return None;
    }
    Some((format!("{whole}{part}").parse().ok()?, part.len() as i8))
}
