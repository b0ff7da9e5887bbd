//! Values out of their binary form.

use std::fmt::Write;

use arrow_buffer::i256;

use super::super::fault::Fault;

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
    let mut text = String::new();
    match *sign {
        0 => {}
        0x4000 => text.push('-'),
        0xc000 => return Ok("NaN".to_owned()),
        0xd000 => return Ok("Infinity".to_owned()),
        0xf000 => return Ok("-Infinity".to_owned()),
        _ => return Err(bad()),
    }
    let weight = i32::from(*weight as i16);
    let group =
        |power: i32| usize::try_from(weight - power).ok().and_then(|at| groups.get(at)).copied().unwrap_or(0);
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
    Ok(text)
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

pub(super) fn bits_text(value: &[u8]) -> Result<String, Fault> {
    let (count, bytes) = value.split_first_chunk::<4>().ok_or_else(bad)?;
    let count = usize::try_from(i32::from_be_bytes(*count)).map_err(|_| bad())?;
    if bytes.len() != count.div_ceil(8) {
        return Err(bad());
    }
    let bit = |at: usize| if bytes[at / 8] & (0x80 >> (at % 8)) == 0 { '0' } else { '1' };
    Ok((0..count).map(bit).collect())
}
