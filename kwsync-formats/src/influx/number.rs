//! Exact numbers, eight digits at a time.

#[cfg(feature = "arrow")]
use super::scan::Window;

/// A number of the line protocol, with the type its suffix gives it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    /// `42i`
    I64(i64),
    /// `42u`
    U64(u64),
    /// `42`, `4.2`, `4e2`
    F64(f64),
}

/// Why a number was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NumberError {
    /// An integer suffix on what is no integer.
    BadInteger,
    /// Does not fit 64 bits.
    IntegerOverflow,
    /// No number at all.
    BadFloat,
    /// Would be infinite.
    FloatOverflow,
}

pub(crate) const POW10: [u64; 20] = {
    let mut table = [1u64; 20];
    let mut i = 1;
    while i < 20 {
        table[i] = table[i - 1] * 10;
        i += 1;
    }
    table
};

pub(crate) const EXACT_POW10: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
    1e19, 1e20, 1e21, 1e22,
];

/// Eight bytes at `at`, little endian; bytes past the end read as zero, which is no digit.
#[inline(always)]
fn load8(data: &[u8], at: usize) -> u64 {
    let rest = data.get(at..).unwrap_or_default();
    match rest.first_chunk::<8>() {
        Some(bytes) => u64::from_le_bytes(*bytes),
        None => load_tail(rest),
    }
}

#[cold]
fn load_tail(rest: &[u8]) -> u64 {
    rest.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte))
}

/// Value of the digits that `word` begins with, and how many there are (0 to 8).
#[inline(always)]
pub(crate) fn digits_of_word(word: u64) -> (u64, usize) {
    let digits = word ^ 0x3030_3030_3030_3030;
    // The high bit of a byte is set where it is no digit; a carry spoils only bytes after the first such.
    let stops = (digits.wrapping_add(0x7676_7676_7676_7676) | digits) & 0x8080_8080_8080_8080;
    let count = (stops.trailing_zeros() / 8) as usize;
    // Leading zeros move the digits to the end. Two shifts, because one of 64 is not allowed.
    let aligned = digits << (4 * (8 - count)) << (4 * (8 - count));
    let pairs = aligned.wrapping_mul(10).wrapping_add(aligned >> 8);
    let value = ((pairs & 0x0000_00ff_0000_00ff).wrapping_mul(0x000f_4240_0000_0064))
        .wrapping_add(((pairs >> 16) & 0x0000_00ff_0000_00ff).wrapping_mul(0x0000_2710_0000_0001));
    (value >> 32, count)
}

/// The run of digits at `at`: its value modulo 2^64 (exact up to 19 digits) and its length.
#[inline(always)]
pub(crate) fn digit_run(data: &[u8], at: usize) -> (u64, usize) {
    let (value, count) = digits_of_word(load8(data, at));
    if count < 8 { (value, count) } else { digit_run_long(data, at, value) }
}

#[inline]
pub(crate) fn digit_run_long(data: &[u8], at: usize, first: u64) -> (u64, usize) {
    let (mut value, mut count) = (first, 8);
    loop {
        let (more, n) = digits_of_word(load8(data, at + count));
        value = value.wrapping_mul(POW10[n]).wrapping_add(more);
        count += n;
        if n < 8 {
            return (value, count);
        }
    }
}

/// Digits as u64 if they fit.
#[cold]
pub(crate) fn long_u64(digits: &[u8]) -> Option<u64> {
    digits
        .iter()
        .try_fold(0u64, |value, &d| value.checked_mul(10)?.checked_add(u64::from(d.wrapping_sub(b'0'))))
}

#[inline(always)]
fn byte(data: &[u8], at: usize) -> u8 {
    data.get(at).copied().unwrap_or(0)
}

#[inline(always)]
pub(crate) fn signed(value: u64, negative: bool) -> Option<i64> {
    if negative {
        (value <= 1 << 63).then(|| (value as i64).wrapping_neg())
    } else {
        i64::try_from(value).ok()
    }
}

/// The signed integer (no suffix) at `at`, and where it ends. `None` if there is none or it overflows;
/// the end then tells the two apart (`end == at` when there are no digits).
#[inline(always)]
pub(crate) fn integer(data: &[u8], at: usize) -> (Option<i64>, usize) {
    let negative = byte(data, at) == b'-';
    let start = at + usize::from(negative);
    let (value, count) = digit_run(data, start);
    if count == 0 {
        return (None, at);
    }
    let value = if count <= 19 { Some(value) } else { long_u64(&data[start..start + count]) };
    (value.and_then(|v| signed(v, negative)), start + count)
}

/// The number at `at` with its suffix, and where it ends. Text may follow; the caller checks that.
///
/// # Errors
///
/// With the reason and the offset where the number stopped making sense.
#[inline(always)]
pub(crate) fn number(data: &[u8], at: usize) -> Result<(Number, usize), (NumberError, usize)> {
    let negative = byte(data, at) == b'-';
    let start = at + usize::from(negative);
    let (whole, count) = digit_run(data, start);
    let end = start + count;
    match byte(data, end) {
        b'.' => {}
        b'i' if count > 0 => {
            let value = if count <= 19 { Some(whole) } else { long_u64(&data[start..end]) };
            return match value.and_then(|v| signed(v, negative)) {
                Some(v) => Ok((Number::I64(v), end + 1)),
                None => Err((NumberError::IntegerOverflow, at)),
            };
        }
        b'u' if count > 0 => {
            if negative {
                return Err((NumberError::BadInteger, at));
            }
            let value = if count <= 19 { Some(whole) } else { long_u64(&data[start..end]) };
            return value.map(|v| (Number::U64(v), end + 1)).ok_or((NumberError::IntegerOverflow, at));
        }
        b'e' | b'E' if count > 0 => return float_with_exponent(data, at, end),
        _ if count > 0 => {
            return if count <= 19 {
                Ok((Number::F64(assemble(data, at, end, whole, 0, negative)), end))
            } else {
                slow_float(data, at, end)
            };
        }
        _ => return Err((NumberError::BadFloat, end)),
    }
    let point = end;
    let (fraction, decimals) = digit_run(data, point + 1);
    let end = point + 1 + decimals;
    if count + decimals == 0 {
        return Err((NumberError::BadFloat, end));
    }
    match byte(data, end) {
        b'e' | b'E' => return float_with_exponent(data, at, end),
        b'i' | b'u' => return Err((NumberError::BadInteger, end)),
        _ => {}
    }
    if count + decimals > 19 {
        return slow_float(data, at, end);
    }
    let mantissa = whole * POW10[decimals] + fraction;
    Ok((Number::F64(assemble(data, at, end, mantissa, decimals, negative)), end))
}

/// The signed integer with its `i` at `at` of `window`, and its length; `None` if it is none or a long one.
#[inline(always)]
#[cfg(feature = "arrow")]
pub(crate) fn short_integer(window: Window<'_>, at: usize) -> Option<(i64, usize)> {
    let first = window.word(at, 0);
    let negative = first & 0xff == u64::from(b'-');
    let word = if negative { window.word(at, 1) } else { first };
    let (value, count) = digits_of_word(word);
    // Below eight digits the byte after them is in the word.
    if count == 8 || count == 0 || (word >> (8 * count)) & 0xff != u64::from(b'i') {
        return None;
    }
    let value = value as i64;
    Some((if negative { -value } else { value }, usize::from(negative) + count + 1))
}

/// The integer of less than eight digits at `at` of `window`, and its length; what follows is not looked at.
#[inline(always)]
#[cfg(feature = "delimited")]
pub(crate) fn short_digits(window: Window<'_>, at: usize) -> Option<(i64, usize)> {
    let first = window.word(at, 0);
    let negative = first & 0xff == u64::from(b'-');
    let word = if negative { window.word(at, 1) } else { first };
    let (value, count) = digits_of_word(word);
    if count == 8 || count == 0 {
        return None;
    }
    let value = value as i64;
    Some((if negative { -value } else { value }, usize::from(negative) + count))
}

/// A float with less than eight digits before and after its point, if any, and its length. What follows is not
/// looked at.
#[inline(always)]
#[cfg(feature = "arrow")]
pub(crate) fn short_float(window: Window<'_>, at: usize) -> Option<(f64, usize)> {
    let first = window.word(at, 0);
    let negative = first & 0xff == u64::from(b'-');
    let word = if negative { window.word(at, 1) } else { first };
    let (whole, count) = digits_of_word(word);
    if count == 8 || count == 0 {
        return None;
    }
    let len = usize::from(negative) + count;
    let (magnitude, len) = if (word >> (8 * count)) & 0xff == u64::from(b'.') {
        let (fraction, decimals) = digits_of_word(window.word(at, len + 1));
        if decimals == 8 {
            return None;
        }
        ((whole * POW10[decimals] + fraction) as i64 as f64 / EXACT_POW10[decimals], len + 1 + decimals)
    } else {
        (whole as i64 as f64, len)
    };
    Some((if negative { -magnitude } else { magnitude }, len))
}

/// `mantissa / 10^decimals`, correctly rounded. `decimals` is at most 19.
#[inline(always)]
pub(crate) fn assemble(
    data: &[u8],
    at: usize,
    end: usize,
    mantissa: u64,
    decimals: usize,
    negative: bool,
) -> f64 {
    // Clinger: both exact, one rounding.
    let magnitude = if mantissa <= 1 << 53 {
        mantissa as f64 / EXACT_POW10[decimals]
    } else if let Some(value) = eisel_lemire(mantissa, decimals) {
        value
    } else {
        // A tie that 128 bits cannot settle, or the like: rare.
        return text(data, at, end).parse().unwrap_or(f64::NAN);
    };
    if negative { -magnitude } else { magnitude }
}

/// 5^-q for q in 0..=27, as the upper 128 bits of the reciprocal rounded up, normalised.
const RECIPROCALS: [(u64, u64); 28] = {
    let mut table = [(0u64, 0u64); 28];
    let mut power: u64 = 1;
    let mut q = 0;
    while q < 28 {
        if q == 0 {
            table[0] = (1 << 63, 0);
        } else {
            // floor(2^(bits + 127) / power) + 1 by long division, 2^bits the next power of two.
            let bits = 64 - power.leading_zeros() as u64;
            let mut quotient: u128 = 0;
            let mut remainder: u128 = 1 << bits;
            quotient += remainder / power as u128;
            remainder %= power as u128;
            let mut step = 0;
            while step < 127 {
                remainder <<= 1;
                quotient = (quotient << 1) | (remainder / power as u128);
                remainder %= power as u128;
                step += 1;
            }
            quotient += 1;
            table[q] = ((quotient >> 64) as u64, quotient as u64);
        }
        if q < 27 {
            power *= 5;
        }
        q += 1;
    }
    table
};

/// Eisel and Lemire's algorithm for `mantissa * 10^-decimals`, `decimals` at most 27 and `mantissa` not 0.
/// The result is a normal number; `None` where 128 bits do not decide.
#[inline(always)]
fn eisel_lemire(mantissa: u64, decimals: usize) -> Option<f64> {
    let (high, low) = RECIPROCALS[decimals];
    let zeros = mantissa.leading_zeros();
    let normal = mantissa << zeros;
    let product = u128::from(normal) * u128::from(high);
    let (mut upper, mut lower) = ((product >> 64) as u64, product as u64);
    // 52 bits of fraction, the leading one, a rounding bit, and one in case the top bit is 0: 9 remain.
    if upper & 0x1ff == 0x1ff {
        let second = ((u128::from(normal) * u128::from(low)) >> 64) as u64;
        let carry;
        (lower, carry) = lower.overflowing_add(second);
        upper += u64::from(carry);
        if lower == u64::MAX {
            return None;
        }
    }
    let top = (upper >> 63) as u32;
    let mut fraction = upper >> (top + 9);
    // floor(log2(10^-q)) + 63, as in the paper.
    let exponent = ((-(decimals as i64) * (152_170 + 65_536)) >> 16) + 63;
    let mut exponent = exponent + i64::from(top) - i64::from(zeros) + 1023;
    // Halfway between two floats: round to even, if the product is exact.
    if lower <= 1 && decimals <= 4 && fraction & 3 == 1 && fraction << (top + 9) == upper {
        fraction &= !1;
    }
    fraction += fraction & 1;
    fraction >>= 1;
    if fraction >= 1 << 53 {
        fraction = 1 << 52;
        exponent += 1;
    }
    debug_assert!(exponent > 0 && exponent < 2046);
    Some(f64::from_bits(fraction & !(1 << 52) | (exponent as u64) << 52))
}

/// A float whose `e` stands at `mark`.
#[cold]
fn float_with_exponent(data: &[u8], at: usize, mark: usize) -> Result<(Number, usize), (NumberError, usize)> {
    let mut digits = mark + 1;
    if matches!(byte(data, digits), b'+' | b'-') {
        digits += 1;
    }
    let (_, count) = digit_run(data, digits);
    let end = digits + count;
    if count == 0 {
        return Err((NumberError::BadFloat, end));
    }
    if matches!(byte(data, end), b'i' | b'u') {
        return Err((NumberError::BadInteger, end));
    }
    slow_float(data, at, end)
}

/// The standard library's parser, for what the fast ways do not cover. The grammar has been checked.
#[cold]
fn slow_float(data: &[u8], at: usize, end: usize) -> Result<(Number, usize), (NumberError, usize)> {
    match text(data, at, end).parse::<f64>() {
        Ok(value) if value.is_finite() => Ok((Number::F64(value), end)),
        Ok(_) => Err((NumberError::FloatOverflow, at)),
        Err(_) => Err((NumberError::BadFloat, at)),
    }
}

fn text(data: &[u8], at: usize, end: usize) -> &str {
    data.get(at..end).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default()
}

/// A whole token as a number.
///
/// # Errors
///
/// [`NumberError`] if `token` is not one number of the line protocol, or does not fit its type.
///
/// # Examples
///
/// ```
/// use kwsync_formats::influx::number::{parse, Number, NumberError};
/// assert_eq!(parse(b"-9223372036854775808i"), Ok(Number::I64(i64::MIN)));
/// assert_eq!(parse(b"1.e5"), Ok(Number::F64(1e5)));
/// assert_eq!(parse(b"1e400"), Err(NumberError::FloatOverflow));
/// ```
pub fn parse(token: &[u8]) -> Result<Number, NumberError> {
    match number(token, 0) {
        Ok((value, end)) if end == token.len() => Ok(value),
        Ok((Number::F64(_), _)) => Err(NumberError::BadFloat),
        Ok(_) => Err(NumberError::BadInteger),
        Err((error, _)) => Err(error),
    }
}
