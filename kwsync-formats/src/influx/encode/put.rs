//! Writing into bytes that are already there. Pieces of fixed length are copied whole, also where fewer bytes are
//! meant: that is one instruction, and the next piece overwrites what was too much. Each function takes the place to
//! write at and returns the one behind; where there is no room it panics, so the caller plans for the longest value
//! and [`SLACK`].

use std::cell::Cell;

use super::cells::{Fault, NOT_FINITE};
use crate::influx::number::POW10;
use crate::influx::scan::{name_mask, string_mask};
use crate::influx::write::name_fault;

/// Bytes behind the end of a value that may be written to.
pub(super) const SLACK: usize = 32;
/// The longest number with its suffix, and the longest boolean.
pub(super) const LONGEST_NUMBER: usize = 28;

/// The most bytes that a text of so many may take: each escaped, and quotes.
pub(super) const fn longest_text(len: usize) -> usize {
    2 * len + 2
}

#[inline(always)]
fn block<const N: usize>(buf: &mut [u8], at: usize, bytes: [u8; N]) {
    buf[at..at + N].copy_from_slice(&bytes);
}

/// Writes a byte.
#[inline(always)]
pub(super) fn byte(buf: &mut [u8], at: usize, byte: u8) -> usize {
    buf[at] = byte;
    at + 1
}

/// Writes bytes of any number.
#[inline(always)]
pub(super) fn bytes(buf: &mut [u8], at: usize, bytes: &[u8]) -> usize {
    let end = at + bytes.len();
    buf[at..end].copy_from_slice(bytes);
    end
}

/// What stands before each value of a column, or before each row.
#[derive(Debug)]
pub(super) struct Prefix {
    head: [u8; 32],
    all: Vec<u8>,
}

impl Prefix {
    pub(super) fn new(all: Vec<u8>) -> Self {
        let mut head = [0; 32];
        let len = all.len().min(head.len());
        head[..len].copy_from_slice(&all[..len]);
        Self { head, all }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.all
    }

    #[inline(always)]
    pub(super) fn write(&self, buf: &mut [u8], at: usize) -> usize {
        if self.all.len() <= self.head.len() {
            block(buf, at, self.head);
            at + self.all.len()
        } else {
            bytes(buf, at, &self.all)
        }
    }
}

/// The digits of 0 to 999, and in the fourth byte how many.
const SMALL: [[u8; 4]; 1000] = {
    let mut all = [[0; 4]; 1000];
    let mut n = 0;
    while n < 1000 {
        let [a, b, c] = [b'0' + (n / 100) as u8, b'0' + (n / 10 % 10) as u8, b'0' + (n % 10) as u8];
        all[n] = match n {
            0..10 => [c, 0, 0, 1],
            10..100 => [b, c, 0, 2],
            _ => [a, b, c, 3],
        };
        n += 1;
    }
    all
};

/// The eight digits of a number below 10^8, the first in the lowest byte, as values and not yet as characters. All
/// are computed at once, in lanes of one word.
#[inline(always)]
const fn eight_digits(value: u32) -> u64 {
    let fours = (value / 10_000) as u64 | ((value % 10_000) as u64) << 32;
    let hundreds = ((fours * 10_486) >> 20) & 0x0000_007f_0000_007f;
    let twos = hundreds | (fours - hundreds * 100) << 16;
    let tens = ((twos * 103) >> 10) & 0x000f_000f_000f_000f;
    tens | (twos - tens * 10) << 8
}

/// How many of eight digits there are up to the last that is not zero. Without a newer instruction set, counting
/// zeros from the other end is slow.
#[inline(always)]
const fn significant(digits: u64) -> usize {
    8 - digits.swap_bytes().trailing_zeros() as usize / 8
}

const ZEROS: u64 = 0x3030_3030_3030_3030;
const EIGHT_DIGITS: u64 = 100_000_000;

/// What a number is written to: its bytes, and those that are written too much.
type Room = [u8; 48];

#[inline(always)]
fn room(buf: &mut [u8], at: usize) -> &mut Room {
    match buf[at..].first_chunk_mut() {
        Some(room) => room,
        None => no_room(),
    }
}

/// Never called: a row's room is planned from the widest that its values can be. A plan that is wrong must end here, as an index
/// out of bounds would, rather than in wrong bytes.
#[cold]
fn no_room() -> ! {
    panic!("less room than planned")
}

/// All eight digits of a number below 10^8.
#[inline(always)]
fn padded(room: &mut Room, at: usize, value: u32) -> usize {
    block(room, at, (eight_digits(value) | ZEROS).to_le_bytes());
    at + 8
}

/// The digits of a number below 10^8.
#[inline(always)]
fn short(room: &mut Room, at: usize, value: u32) -> usize {
    match SMALL.get(value as usize) {
        Some(&digits) => {
            block(room, at, digits);
            // Three at most; so the compiler sees that as well.
            at + usize::from(digits[3] & 3)
        }
        None => {
            let digits = eight_digits(value);
            let zeros = digits.trailing_zeros() / 8;
            block(room, at, ((digits | ZEROS) >> (zeros * 8)).to_le_bytes());
            at + 8 - zeros as usize
        }
    }
}

#[inline(never)]
fn long(room: &mut Room, from: usize, value: u64) -> usize {
    let (high, low) = (value / EIGHT_DIGITS, (value % EIGHT_DIGITS) as u32);
    let at = if high < EIGHT_DIGITS {
        short(room, from & 1, high as u32)
    } else {
        let at = short(room, from & 1, (high / EIGHT_DIGITS) as u32);
        padded(room, at, (high % EIGHT_DIGITS) as u32)
    };
    padded(room, at, low)
}

/// The digits of `value` from 0 or 1 on.
#[inline(always)]
fn digits(room: &mut Room, from: usize, value: u64) -> usize {
    if value < EIGHT_DIGITS { short(room, from, value as u32) } else { long(room, from, value) }
}

/// Writes the digits of an unsigned integer, and what stands behind them.
#[inline(always)]
pub(super) fn unsigned(buf: &mut [u8], at: usize, value: u64, suffix: u8) -> usize {
    let room = room(buf, at);
    let len = digits(room, 0, value);
    room[len] = suffix;
    at + len + 1
}

/// Writes the sign and the digits of an integer, and what stands behind them.
#[inline(always)]
pub(super) fn signed(buf: &mut [u8], at: usize, value: i64, suffix: u8) -> usize {
    let room = room(buf, at);
    room[0] = b'-';
    let len = digits(room, usize::from(value < 0), value.unsigned_abs());
    room[len] = suffix;
    at + len + 1
}

/// Timestamps, of which one has most digits of the one before.
#[derive(Default)]
pub(super) struct Stamps {
    /// All but the last eight digits
    high: u64,
    digits: [u8; 16],
    len: usize,
}

impl Stamps {
    /// Writes a space, the timestamp and a line feed.
    #[inline(always)]
    pub(super) fn write(&mut self, buf: &mut [u8], at: usize, value: i64) -> usize {
        let at = byte(buf, at, b' ');
        if value < EIGHT_DIGITS as i64 {
            return signed(buf, at, value, b'\n');
        }
        let (high, low) = (value as u64 / EIGHT_DIGITS, value as u64 % EIGHT_DIGITS);
        if high != self.high {
            let mut room = [0; 48];
            self.len = digits(&mut room, 0, high) & 15;
            self.digits = *room.first_chunk().unwrap_or(&[0; 16]);
            self.high = high;
        }
        let room = room(buf, at);
        block(room, 0, self.digits);
        let len = padded(room, self.len & 15, low as u32);
        room[len] = b'\n';
        at + len + 1
    }
}

/// Three digits, the zeros in front among them, and in the fourth byte how many there are up to the last that is not
/// zero.
const THREE: [[u8; 4]; 1000] = {
    let mut all = [[0; 4]; 1000];
    let mut n = 0;
    while n < 1000 {
        let count = match n {
            0 => 0,
            _ if n % 100 == 0 => 1,
            _ if n % 10 == 0 => 2,
            _ => 3,
        };
        all[n] = [b'0' + (n / 100) as u8, b'0' + (n / 10 % 10) as u8, b'0' + (n % 10) as u8, count];
        n += 1;
    }
    all
};

/// Floats of a column: which way of writing one is tried first depends on the ones before. Each way writes the same.
#[derive(Debug, Default)]
pub(super) struct Floats {
    /// For how many more there is no look for three decimals
    fine: Cell<u8>,
    /// The same, for eight
    wide: Cell<u8>,
}

/// Whether a way is to be tried.
#[inline(always)]
fn tried(skip: &Cell<u8>) -> bool {
    let more = skip.get();
    skip.set(more.saturating_sub(1));
    more == 0
}

impl Floats {
    /// Writes a float with the fewest digits that read back the same; whole numbers below 10^9 without a point.
    #[inline(always)]
    pub(super) fn write(&self, buf: &mut [u8], at: usize, value: f64) -> Result<usize, Fault> {
        const SKIP: u8 = 15;
        if tried(&self.fine) {
            if let Some(len) = three_decimals(room(buf, at), value) {
                return Ok(at + len);
            }
            self.fine.set(SKIP);
        }
        if tried(&self.wide) {
            if let Some(len) = eight_decimals(room(buf, at), value) {
                return Ok(at + len);
            }
            self.wide.set(SKIP);
        }
        if let Some(len) = many_digits(room(buf, at), value) {
            return Ok(at + len);
        }
        other_float64(buf, at, value)
    }
}

/// The integer `value * scale`, if `value` is the float nearest to that integer divided by `scale`. With less than
/// 10^15 for the integer and a power of ten for `scale`, the digits of the integer, without zeros at the end, are then
/// the fewest: decimals of at most fifteen digits are all different floats.
#[inline(always)]
fn decimal(value: f64, scale: f64) -> Option<u64> {
    /// Adding it leaves no room for a fraction in the 52 bits of a float.
    const ROUND: f64 = (1u64 << 52) as f64;
    let shifted = value * scale + ROUND;
    let exact = value < 1e7 && (shifted - ROUND) / scale == value;
    exact.then(|| shifted.to_bits() & ((1 << 52) - 1))
}

/// Writes a float below 10^7 that has at most three decimals.
#[inline(always)]
fn three_decimals(room: &mut Room, value: f64) -> Option<usize> {
    let n = decimal(value.abs(), 1e3)?;
    room[0] = b'-';
    let at = short(room, usize::from(value.is_sign_negative()), (n / 1000) as u32);
    let digits = THREE[(n % 1000) as usize];
    room[at] = b'.';
    block(room, at + 1, digits);
    let count = usize::from(digits[3]);
    Some(at + count + usize::from(count > 0))
}

/// Writes a float below 10^7 that has at most eight decimals.
#[inline(always)]
fn eight_decimals(room: &mut Room, value: f64) -> Option<usize> {
    let n = decimal(value.abs(), 1e8)?;
    if n < 1000 && n != 0 {
        // That small, it has an exponent.
        return None;
    }
    room[0] = b'-';
    let at = short(room, usize::from(value.is_sign_negative()), (n / EIGHT_DIGITS) as u32);
    let decimals = eight_digits((n % EIGHT_DIGITS) as u32);
    block(room, at + 1, (decimals | ZEROS).to_le_bytes());
    room[at] = b'.';
    let count = significant(decimals);
    Some(at + count + usize::from(count > 0))
}

/// For floats that are an integer below 2^53 divided by 2^4, 2^5 and so on: how many decimals bring neighbours between
/// a tenth and one apart, and how far apart they are then, in units of 2^-64. That is exact.
const APART: [(u64, u8); 59] = {
    let mut all = [(0, 0); 59];
    let mut i = 0;
    while i < all.len() {
        let (shift, mut decimals) = (i + 4, 0);
        while POW10[decimals + 1] <= 1 << shift {
            decimals += 1;
        }
        all[i] = (POW10[decimals] << (64 - shift), decimals as u8);
        i += 1;
    }
    all
};

/// Writes a float from 2^-10 to 2^49 that is not whole and no power of two. One multiplication brings it to the digits
/// before and behind the last decimal that could be needed, without an error; zmij does the same for floats of any
/// size, by powers of ten that are rounded.
#[inline(always)]
fn many_digits(room: &mut Room, value: f64) -> Option<usize> {
    const MANTISSA: u32 = f64::MANTISSA_DIGITS - 1;
    let bits = value.to_bits();
    let fraction = bits & ((1 << MANTISSA) - 1);
    let shift = (1023 + MANTISSA).wrapping_sub((bits >> MANTISSA) as u32 & 0x7ff);
    let &(apart, scale) = APART.get(shift.wrapping_sub(4) as usize)?;
    if fraction == 0 {
        return None;
    }
    let scale = usize::from(scale);
    let scaled = u128::from(fraction | 1 << MANTISSA) * u128::from(apart);
    let (whole, rest) = ((scaled >> 64) as u64, scaled as u64);
    // What is less than half of that away reads back the same, exactly half if the mantissa is even.
    let half = apart / 2 + (1 - (fraction & 1));
    let (down, (_, up)) = (rest < half, rest.overflowing_add(half - 1));
    let near = down | up;
    let whole = whole + u64::from(up);
    // Else one more decimal is needed, the nearest one; of two that are as near, the even one.
    let nearest = ((u128::from(rest) * 10 + (1 << 63)) >> 64) as u8;
    let last = if rest == 1 << 62 { 2 } else { nearest };
    let high = eight_digits((whole / EIGHT_DIGITS) as u32);
    let low = eight_digits((whole % EIGHT_DIGITS) as u32);
    // Of sixteen digits, zeros at both ends do not count, and with the last decimal there are seventeen.
    let first = usize::from(whole < POW10[15]);
    let len = match (near, low) {
        (true, 0) => significant(high),
        (true, _) => 8 + significant(low),
        (false, _) => 17,
    };
    let all = u128::from(low | ZEROS) << 64 | u128::from(high | ZEROS);
    let text = if first == 0 { all } else { all >> 8 };
    room[0] = b'-';
    let at = (bits >> 63) as usize;
    let end = if scale < 15 || (scale == 15 && first == 0) {
        let point = 16 - scale;
        if len <= point {
            return None;
        }
        block(room, at, text.to_le_bytes());
        let before = point - first;
        block(room, at + before + 1, (all >> (8 * (point & 15))).to_le_bytes());
        room[at + before] = b'.';
        room[at + 17 - first] = b'0' + last;
        at + len + 1 - first
    } else {
        // Zero, the point, and at most three more zeros.
        block(room, at, *b"0.000000");
        let from = at + 2 + scale - 16 + first;
        block(room, from, text.to_le_bytes());
        room[from + 16 - first] = b'0' + last;
        from + len - first
    };
    Some(end)
}

#[inline(never)]
fn other_float64(buf: &mut [u8], at: usize, value: f64) -> Result<usize, Fault> {
    let whole = value.abs() as u64;
    if whole < 1_000_000_000 && whole as f64 == value.abs() {
        let room = room(buf, at);
        room[0] = b'-';
        return Ok(at + digits(room, usize::from(value.is_sign_negative()), whole));
    }
    float(buf, at, value)
}

/// Writes a float with the fewest digits that read back the same; whole numbers with a point.
pub(super) fn float(buf: &mut [u8], at: usize, value: impl zmij::Float + Into<f64>) -> Result<usize, Fault> {
    let size = value.into().abs();
    if !size.is_finite() {
        return Err(NOT_FINITE);
    }
    let mut digits = zmij::Buffer::new();
    let digits = digits.format_finite(value).as_bytes();
    if size >= 1e12
        && let Some(plus) = digits.iter().position(|&byte| byte == b'+')
    {
        // `1e+300`: not every reader of line protocol takes the sign, which says nothing.
        let at = bytes(buf, at, &digits[..plus]);
        return Ok(bytes(buf, at, &digits[plus + 1..]));
    }
    Ok(bytes(buf, at, digits))
}

/// Sixteen bytes from `at`, zeros behind the end of the text.
#[inline(always)]
fn load(text: &[u8], at: usize) -> u128 {
    let rest = text.get(at..).unwrap_or_default();
    let len = rest.len();
    if let Some(block) = rest.first_chunk() {
        u128::from_le_bytes(*block)
    } else if let Some(block) = text.last_chunk() {
        // What is before `at` is shifted out. Two shifts, because one of 128 is not allowed.
        u128::from_le_bytes(*block) >> (8 * (15 - len)) >> 8
    } else if let (Some(first), Some(last)) = (rest.first_chunk(), rest.last_chunk()) {
        // The bytes that both have are the same.
        u128::from(u64::from_le_bytes(*first)) | u128::from(u64::from_le_bytes(*last)) << (8 * (len - 8))
    } else if let (Some(first), Some(last)) = (rest.first_chunk(), rest.last_chunk()) {
        u128::from(u32::from_le_bytes(*first)) | u128::from(u32::from_le_bytes(*last)) << (8 * (len - 4))
    } else {
        rest.iter().rev().fold(0, |block, &byte| block << 8 | u128::from(byte))
    }
}

/// Writes the first `left` bytes of `piece` with their escapes; `None` if they are a name's and one is a control
/// character.
#[inline(always)]
fn escaped_piece<const STRING: bool>(
    buf: &mut [u8],
    mut at: usize,
    mut piece: u128,
    mut left: usize,
) -> Option<usize> {
    let bytes = piece.to_le_bytes();
    let mut mask = if STRING { string_mask(&bytes) } else { name_mask(&bytes) } & ((1 << left) - 1);
    loop {
        block(buf, at, piece.to_le_bytes());
        if mask == 0 {
            return Some(at + left);
        }
        let before = mask.trailing_zeros() as usize;
        piece >>= 8 * before;
        let special = piece as u8;
        at += before;
        buf[at] = b'\\';
        match special {
            b'"' | b'\\' if STRING => at += 1,
            _ if STRING => {}
            b' ' | b',' | b'=' => at += 1,
            b'\\' => {}
            _ => return None,
        }
        at = byte(buf, at, special);
        piece >>= 8;
        mask >>= before + 1;
        left -= before + 1;
    }
}

/// Writes a text with its escapes; `None` if it is a name and holds a control character.
#[inline(always)]
fn escaped<const STRING: bool>(buf: &mut [u8], mut at: usize, text: &[u8]) -> Option<usize> {
    let mut from = 0;
    while from < text.len() {
        let left = (text.len() - from).min(16);
        at = escaped_piece::<STRING>(buf, at, load(text, from), left)?;
        from += left;
    }
    Some(at)
}

/// Writes a string in its quotes.
#[inline(always)]
pub(super) fn string(buf: &mut [u8], at: usize, text: &[u8]) -> usize {
    let at = byte(buf, at, b'"');
    // Every string can be written.
    let at = escaped::<true>(buf, at, text).unwrap_or(at);
    byte(buf, at, b'"')
}

/// Writes the value of a tag.
#[inline(always)]
pub(super) fn tag(buf: &mut [u8], at: usize, text: &[u8]) -> Result<usize, Fault> {
    match text.last() {
        None | Some(b'\\') => {}
        _ => {
            if let Some(at) = escaped::<false>(buf, at, text) {
                return Ok(at);
            }
        }
    }
    Err(name_fault(text).unwrap_or("cannot be written"))
}

/// Writes the value of a tag that is the first `len` bytes of `text`, at most 15.
#[inline(always)]
pub(super) fn short_tag(buf: &mut [u8], at: usize, text: [u8; 16], len: usize) -> Result<usize, Fault> {
    if len > 0 && name_mask(&text) & ((1 << len) - 1) == 0 {
        block(buf, at, text);
        return Ok(at + len);
    }
    rare_tag(buf, at, text, len)
}

#[inline(never)]
fn rare_tag(buf: &mut [u8], at: usize, text: [u8; 16], len: usize) -> Result<usize, Fault> {
    let bytes = &text[..len];
    if let None | Some(b'\\') = bytes.last() {
        return tag(buf, at, bytes);
    }
    escaped_piece::<false>(buf, at, u128::from_le_bytes(text), len).map_or_else(|| tag(buf, at, bytes), Ok)
}

/// Writes the string that is the first `len` bytes of `text`, at most 15, in its quotes.
#[inline(always)]
pub(super) fn short_string(buf: &mut [u8], at: usize, text: [u8; 16], len: usize) -> usize {
    if string_mask(&text) & ((1 << len) - 1) == 0 {
        let room = room(buf, at);
        room[0] = b'"';
        block(room, 1, text);
        room[1 + (len & 15)] = b'"';
        return at + len + 2;
    }
    rare_string(buf, at, text, len)
}

#[inline(never)]
fn rare_string(buf: &mut [u8], at: usize, text: [u8; 16], len: usize) -> usize {
    let at = byte(buf, at, b'"');
    // Every string can be written.
    let at = escaped_piece::<true>(buf, at, u128::from_le_bytes(text), len).unwrap_or(at);
    byte(buf, at, b'"')
}
