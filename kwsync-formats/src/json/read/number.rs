//! Numbers as JSON has them, exactly.

use crate::build::Kind;
use crate::influx::number::{self, POW10};

/// Why a number is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NumberFault {
    /// Not as JSON has them
    Grammar,
    /// A float beyond what 64 bits hold
    Overflow,
}

/// The number at `at`, and where it ends; the fault and where it stands otherwise. What follows is not looked at:
/// where the data end with the number, it may go on.
pub(crate) fn number(data: &[u8], at: usize) -> Result<(Kind, usize), (NumberFault, usize)> {
    let byte = |at: usize| data.get(at).copied().unwrap_or(0);
    let negative = byte(at) == b'-';
    let start = at + usize::from(negative);
    let (whole, count) = number::digit_run(data, start);
    let mut end = start + count;
    if count == 0 || (count > 1 && byte(start) == b'0') {
        return Err((NumberFault::Grammar, start));
    }
    let (mut fraction, mut decimals) = (0, 0);
    let mut float = false;
    if byte(end) == b'.' {
        (fraction, decimals) = number::digit_run(data, end + 1);
        end += 1 + decimals;
        if decimals == 0 {
            return Err((NumberFault::Grammar, end));
        }
        float = true;
    }
    let mut slow = count + decimals > 19;
    if matches!(byte(end), b'e' | b'E') {
        let sign = usize::from(matches!(byte(end + 1), b'+' | b'-'));
        let (_, digits) = number::digit_run(data, end + 1 + sign);
        end += 1 + sign + digits;
        if digits == 0 {
            return Err((NumberFault::Grammar, end));
        }
        (float, slow) = (true, true);
    }
    if !float {
        let value = if count <= 19 {
            Some(whole)
        } else {
            number::long_u64(data.get(start..end).unwrap_or_default())
        };
        return Ok((
            match value {
                Some(value) => match number::signed(value, negative) {
                    Some(value) => Kind::Int(value),
                    None if negative => Kind::Huge,
                    None => Kind::UInt(value),
                },
                None => Kind::Huge,
            },
            end,
        ));
    }
    let value = if slow {
        let text = data.get(at..end).and_then(|text| std::str::from_utf8(text).ok());
        text.and_then(|text| text.parse().ok()).unwrap_or(f64::NAN)
    } else {
        number::assemble(data, at, end, whole * POW10[decimals] + fraction, decimals, negative)
    };
    if value.is_finite() { Ok((Kind::Float(value), end)) } else { Err((NumberFault::Overflow, at)) }
}
