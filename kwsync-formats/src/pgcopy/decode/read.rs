//! Values out of their binary form.

use std::fmt::Write;

use arrow_buffer::i256;

use super::super::fault::Fault;
use super::super::{EPOCH_DAYS, EPOCH_MICROS};

#[cold]
pub(super) fn bad() -> Fault {
    Fault::new("bad_value", "the bytes are not a value of the column's type")
}

#[cold]
pub(super) fn infinite() -> Fault {
    Fault::new(
        "infinite_time",
        "infinity is no date or time here; leave such rows out, or read the column as text",
    )
}

/// The next field: `Some(None)` for a null.
#[allow(clippy::option_option, reason = "no field and a null are two things")]
pub(super) fn field<'a>(rest: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let (length, tail) = rest.split_first_chunk::<4>()?;
    let length = i32::from_be_bytes(*length);
    if length == -1 {
        *rest = tail;
        return Some(None);
    }
    let (value, tail) = tail.split_at_checked(usize::try_from(length).ok()?)?;
    *rest = tail;
    Some(Some(value))
}

pub(super) fn fixed<const N: usize>(value: &[u8]) -> Result<[u8; N], Fault> {
    value.try_into().map_err(|_| bad())
}

pub(super) fn text(value: &[u8]) -> Result<&str, Fault> {
    simdutf8::basic::from_utf8(value)
        .map_err(|_| Fault::new("bad_utf8", "the text is not UTF-8; set client_encoding to UTF8"))
}

/// Days since 1970.
pub(super) fn date(value: &[u8]) -> Result<i32, Fault> {
    let days = i32::from_be_bytes(fixed(value)?);
    days.checked_add(EPOCH_DAYS).filter(|_| days != i32::MIN).ok_or_else(infinite)
}

/// Microseconds since 1970.
pub(super) fn timestamp(value: &[u8]) -> Result<i64, Fault> {
    let micros = i64::from_be_bytes(fixed(value)?);
    micros.checked_add(EPOCH_MICROS).filter(|_| micros != i64::MIN).ok_or_else(infinite)
}

/// The lengths of an array's dimensions, and its items.
pub(super) fn array(value: &[u8]) -> Result<(Vec<usize>, &[u8]), Fault> {
    let word = |at: usize| {
        let word = value.get(at..).and_then(|rest| rest.first_chunk::<4>()).ok_or_else(bad)?;
        Ok(i32::from_be_bytes(*word))
    };
    let count = usize::try_from(word(0)?).ok().filter(|count| *count <= 6).ok_or_else(bad)?;
    let mut dimensions = Vec::with_capacity(count);
    for index in 0..count {
        let length =
            usize::try_from(word(12 + 8 * index)?).ok().filter(|length| *length > 0).ok_or_else(bad)?;
        if word(16 + 8 * index)? != 1 {
            return Err(Fault::new("array_bounds", "the array's first item does not have the number 1"));
        }
        dimensions.push(length);
    }
    Ok((dimensions, value.get(12 + 8 * count..).ok_or_else(bad)?))
}

/// A numeric as PostgreSQL prints it.
pub(super) fn numeric_text(value: &[u8]) -> Result<String, Fault> {
    let words: Vec<u16> = value.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
    let [count, weight, sign, scale, groups @ ..] = words.as_slice() else { return Err(bad()) };
    if !value.len().is_multiple_of(2)
        || groups.len() != usize::from(*count)
        || groups.iter().any(|group| *group > 9999)
    {
        return Err(bad());
    }
    match *sign {
        0 | 0x4000 => {}
        0xc000 => return Ok("NaN".to_owned()),
        0xd000 => return Ok("Infinity".to_owned()),
        0xf000 => return Ok("-Infinity".to_owned()),
        _ => return Err(bad()),
    }
    // Groups of zeros in front do not count, as in PostgreSQL's numeric_recv.
    let zeros = groups.iter().take_while(|group| **group == 0).count();
    let groups = groups.get(zeros..).unwrap_or_default();
    let weight = if groups.is_empty() { 0 } else { i32::from(*weight as i16) - zeros as i32 };
    let group =
        |power: i32| usize::try_from(weight - power).ok().and_then(|at| groups.get(at)).copied().unwrap_or(0);
    let mut text = String::new();
    let four = |text: &mut String, group: u16| {
        // Writing to a String does not fail.
        write!(text, "{group:04}").unwrap_or_default();
    };
    if weight < 0 {
        text.push('0');
    } else {
        write!(text, "{}", group(weight)).unwrap_or_default();
        (0..weight).rev().for_each(|power| four(&mut text, group(power)));
    }
    let scale = usize::from(*scale & 0x3fff);
    if scale > 0 {
        text.push('.');
        let end = text.len() + scale;
        (1..).take(scale.div_ceil(4)).for_each(|power: i32| four(&mut text, group(-power)));
        text.truncate(end);
    }
    // Neither has a zero a sign.
    if *sign == 0x4000 && text.bytes().any(|byte| matches!(byte, b'1'..=b'9')) {
        text.insert(0, '-');
    }
    Ok(text)
}

/// As [`decimal`], where the number has no more than 38 digits.
pub(super) fn decimal128(value: &[u8], scale: i8) -> Result<i128, Fault> {
    match quick_decimal(value, scale) {
        Some(number) => Ok(number),
        None => decimal(value, scale)?.to_i128().ok_or_else(bad),
    }
}

/// A number that is whole in units of the scale and has room in 128 bits; the others take the long way, which says what is wrong.
fn quick_decimal(value: &[u8], scale: i8) -> Option<i128> {
    let (head, groups) = value.split_first_chunk::<8>()?;
    let [a, b, c, d, e, f, _, _] = *head;
    let (count, weight, sign) =
        (u16::from_be_bytes([a, b]), i16::from_be_bytes([c, d]), u16::from_be_bytes([e, f]));
    if groups.len() != 2 * usize::from(count) || sign & !0x4000 != 0 {
        return None;
    }
    let mut number = 0_i128;
    if count <= 4 {
        let mut small = 0_u64;
        for group in groups.chunks_exact(2) {
            small = small * 10_000 + u64::from(group_of(group)?);
        }
        number = small.into();
    } else {
        for group in groups.chunks_exact(2) {
            number = number.checked_mul(10_000)?.checked_add(group_of(group)?.into())?;
        }
    }
    // The power of ten of the last digit, in units of the scale.
    let power = 4 * (i32::from(weight) + 1 - i32::from(count)) + i32::from(scale);
    let ten = 10_i128.checked_pow(power.unsigned_abs())?;
    number = match (power >= 0, u64::try_from(number), u64::try_from(ten)) {
        _ if number == 0 => 0,
        (true, ..) => number.checked_mul(ten)?,
        // Division of 128 bits is slow.
        (false, Ok(number), Ok(ten)) if number % ten == 0 => (number / ten).into(),
        (false, ..) if number % ten == 0 => number / ten,
        _ => return None,
    };
    Some(if sign == 0 { number } else { -number })
}

fn group_of(bytes: &[u8]) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.first_chunk()?)).filter(|group| *group <= 9999)
}

/// A numeric as an integer of `scale` digits behind the point.
pub(super) fn decimal(value: &[u8], scale: i8) -> Result<i256, Fault> {
    let text = numeric_text(value)?;
    let (whole, part) = text.split_once('.').unwrap_or((&text, ""));
    if !whole.ends_with(|last: char| last.is_ascii_digit()) {
        return Err(Fault::new(
            "numeric_nan",
            format!("{text} is no decimal; read the column as double precision or text"),
        ));
    }
    let scale = usize::from(scale.unsigned_abs());
    let (kept, cut) = part.split_at_checked(scale).unwrap_or((part, ""));
    if cut.bytes().any(|digit| digit != b'0') {
        return Err(Fault::new(
            "numeric_scale",
            format!("{text} has more than {scale} digits behind the point"),
        ));
    }
    i256::from_string(&format!("{whole}{kept:0<scale$}")).ok_or_else(bad)
}

/// `12:30:00.5+02`, as PostgreSQL prints it.
pub(super) fn timetz_text(value: &[u8]) -> Result<String, Fault> {
    let bytes = fixed::<12>(value)?;
    let (micros, west) = bytes.split_first_chunk::<8>().ok_or_else(bad)?;
    let micros = i64::from_be_bytes(*micros);
    let east = i32::from_be_bytes(fixed(west)?).checked_neg().ok_or_else(bad)?;
    if !(0..=86_400_000_000).contains(&micros) {
        return Err(bad());
    }
    let (seconds, part) = (micros / 1_000_000, micros % 1_000_000);
    let mut text = format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    if part != 0 {
        text.push_str(format!(".{part:06}").trim_end_matches('0'));
    }
    let offset = east.unsigned_abs();
    let sign = if east < 0 { '-' } else { '+' };
    write!(text, "{sign}{:02}", offset / 3600).unwrap_or_default();
    if offset % 3600 != 0 {
        write!(text, ":{:02}", offset / 60 % 60).unwrap_or_default();
    }
    if offset % 60 != 0 {
        write!(text, ":{:02}", offset % 60).unwrap_or_default();
    }
    Ok(text)
}

pub(super) fn mac_text(value: &[u8], length: usize) -> Result<String, Fault> {
    if value.len() != length {
        return Err(bad());
    }
    Ok(value.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":"))
}

/// `(12,3)`: block and item.
pub(super) fn tid_text(value: &[u8]) -> Result<String, Fault> {
    let [a, b, c, d, e, f] = fixed(value)?;
    Ok(format!("({},{})", u32::from_be_bytes([a, b, c, d]), u16::from_be_bytes([e, f])))
}

/// Block and item in one number.
pub(super) fn tid(value: &[u8]) -> Result<i64, Fault> {
    let [a, b, c, d, e, f] = fixed(value)?;
    Ok(i64::from_be_bytes([0, 0, a, b, c, d, e, f]))
}

pub(super) fn bits_text(value: &[u8]) -> Result<String, Fault> {
    let (count, bytes) = value.split_first_chunk::<4>().ok_or_else(bad)?;
    let count = usize::try_from(i32::from_be_bytes(*count)).map_err(|_| bad())?;
    if bytes.len() != count.div_ceil(8) {
        return Err(bad());
    }
    let bit = |at: usize| if bytes[at / 8] & (0x80 >> (at % 8)) == 0 { '0' } else { '1' };
    Ok((0..count).map(bit).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_way_to_a_decimal_ends_where_the_long_one_does() {
        // Count, weight, sign, scale, groups.
        let of = |weight: i16, sign: u16, groups: &[u16]| {
            let mut bytes = (groups.len() as u16).to_be_bytes().to_vec();
            let digits = 4 * (groups.len() as i16 - weight - 1).max(0);
            for word in [weight as u16, sign, digits as u16].iter().chain(groups) {
                bytes.extend_from_slice(&word.to_be_bytes());
            }
            bytes
        };
        let (mut quick, mut slow) = (0, 0);
        for groups in
            [&[][..], &[1], &[9999], &[1, 2340], &[12, 0, 5], &[9999; 4], &[1; 5], &[9999; 9], &[9999; 12]]
        {
            for weight in [-3, -1, 0, 1, 4, 8, 11] {
                for (sign, scale) in [(0, 0), (0x4000, 3), (0, 6), (0, 30), (0xc000, 2)] {
                    let value = of(weight, sign, groups);
                    let long = decimal(&value, scale).and_then(|number| number.to_i128().ok_or_else(bad));
                    match quick_decimal(&value, scale) {
                        Some(number) => {
                            assert_eq!(
                                Ok(number),
                                long.map_err(|fault| fault.reason),
                                "{groups:?} {weight} {sign} {scale}"
                            );
                            quick += 1;
                        }
                        None => slow += 1,
                    }
                }
            }
        }
        assert!(quick > 90 && slow > 50, "{quick} {slow}");
        assert_eq!(quick_decimal(&of(0, 0, &[10_000]), 0), None);
        assert_eq!(quick_decimal(&[0, 1, 0], 0), None);
    }
}
