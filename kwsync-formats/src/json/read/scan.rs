//! Finding the bytes that end a string or matter to the structure, sixteen at a time.

/// Bits of a block of sixteen bytes that are `"`, a backslash or a control character (below 0x20).
#[inline(always)]
pub(crate) fn string_mask(block: &[u8; 16]) -> u32 {
    imp::string_mask(block)
}

/// Offset of the first `"`, backslash or control character at or after `at`; `data.len()` if none.
#[inline(always)]
pub(crate) fn string_stop(data: &[u8], at: usize) -> usize {
    let mut at = at;
    loop {
        let rest = data.get(at..).unwrap_or_default();
        match rest.first_chunk::<16>() {
            Some(block) => match imp::string_mask(block) {
                0 => at += 16,
                mask => return at + mask.trailing_zeros() as usize,
            },
            None => {
                let stop = rest.iter().position(|&b| b == b'"' || b == b'\\' || b < 0x20);
                return at + stop.unwrap_or(rest.len());
            }
        }
    }
}

/// Follows brackets and strings, 64 bytes at a time: where the value ends is found without looking into it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Leap {
    depth: u64,
    /// In a string
    string: bool,
    /// After a backslash in it
    escape: bool,
}

impl Leap {
    /// Offset after the bracket that closes the first one of `data[at..]`, where such a bracket stands; `None` if it
    /// has not come. Pieces may be given one after another, each from its beginning.
    pub(crate) fn find(&mut self, data: &[u8], at: usize) -> Option<usize> {
        let mut at = at;
        while let Some(block) = data.get(at..).and_then(|rest| rest.first_chunk::<64>()) {
            let marks = imp::marks(block);
            if marks.backslashes != 0 || self.escape {
                if let Some(end) = self.step(block) {
                    return Some(at + end);
                }
            } else {
                // Every bit between two quotes: each bit is the parity of the quotes up to it.
                let mut inside = marks.quotes;
                for shift in [1, 2, 4, 8, 16, 32] {
                    inside ^= inside << shift;
                }
                if self.string {
                    inside = !inside;
                }
                let (opens, closes) = (marks.opens & !inside, marks.closes & !inside);
                if self.depth <= u64::from(closes.count_ones())
                    && let Some(end) = self.close(opens, closes)
                {
                    return Some(at + end);
                }
                self.depth = self.depth + u64::from(opens.count_ones()) - u64::from(closes.count_ones());
                self.string = inside >> 63 == 1;
            }
            at += 64;
        }
        let rest = data.get(at..).unwrap_or_default();
        self.step(rest).map(|end| at + end)
    }

    /// Offset after the bracket at which the depth is none.
    fn close(&self, opens: u64, closes: u64) -> Option<usize> {
        let mut depth = self.depth;
        let mut marks = opens | closes;
        while marks != 0 {
            let bit = marks.trailing_zeros();
            if closes >> bit & 1 == 0 {
                depth += 1;
            } else if depth <= 1 {
                return Some(bit as usize + 1);
            } else {
                depth -= 1;
            }
            marks &= marks - 1;
        }
        None
    }

    /// The same byte by byte.
    fn step(&mut self, bytes: &[u8]) -> Option<usize> {
        for (i, byte) in bytes.iter().enumerate() {
            if self.string {
                if std::mem::take(&mut self.escape) {
                    continue;
                }
                match byte {
                    b'"' => self.string = false,
                    b'\\' => self.escape = true,
                    _ => {}
                }
                continue;
            }
            match byte {
                b'"' => self.string = true,
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => {
                    if self.depth <= 1 {
                        return Some(i + 1);
                    }
                    self.depth -= 1;
                }
                _ => {}
            }
        }
        None
    }
}

/// Bits of a block that are quotes, backslashes, opening and closing brackets.
struct Marks {
    quotes: u64,
    backslashes: u64,
    opens: u64,
    closes: u64,
}

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod imp {
    //! SSE2 is part of every x86-64, so nothing is detected at run time.
    use std::arch::x86_64::{
        __m128i, _mm_cmpeq_epi8, _mm_loadu_si128, _mm_min_epu8, _mm_movemask_epi8, _mm_or_si128,
        _mm_set1_epi8,
    };

    #[inline(always)]
    fn load(block: &[u8; 16]) -> __m128i {
        // SAFETY: the reference is valid for 16 bytes, and the load needs no alignment.
        unsafe { _mm_loadu_si128(block.as_ptr().cast()) }
    }

    #[inline(always)]
    pub(super) fn string_mask(block: &[u8; 16]) -> u32 {
        let x = load(block);
        // SAFETY: SSE2 is there.
        unsafe {
            let eq = |byte: u8| _mm_cmpeq_epi8(x, _mm_set1_epi8(byte as i8));
            let low = _mm_cmpeq_epi8(_mm_min_epu8(x, _mm_set1_epi8(0x1f)), x);
            _mm_movemask_epi8(_mm_or_si128(_mm_or_si128(eq(b'"'), eq(b'\\')), low)) as u32
        }
    }

    /// Marks of 64 bytes.
    #[inline(always)]
    pub(super) fn marks(block: &[u8; 64]) -> super::Marks {
        let mut marks = super::Marks { quotes: 0, backslashes: 0, opens: 0, closes: 0 };
        for (i, part) in block.as_chunks::<16>().0.iter().enumerate() {
            let x = load(part);
            // SAFETY: SSE2 is there.
            let [quotes, backslashes, opens, closes] = unsafe {
                // `[` and `{`, `]` and `}` differ in one bit.
                let folded = _mm_or_si128(x, _mm_set1_epi8(0x20));
                let mask = |eq: __m128i| u64::from(_mm_movemask_epi8(eq) as u32) << (16 * i);
                [
                    mask(_mm_cmpeq_epi8(x, _mm_set1_epi8(b'"' as i8))),
                    mask(_mm_cmpeq_epi8(x, _mm_set1_epi8(b'\\' as i8))),
                    mask(_mm_cmpeq_epi8(folded, _mm_set1_epi8(b'{' as i8))),
                    mask(_mm_cmpeq_epi8(folded, _mm_set1_epi8(b'}' as i8))),
                ]
            };
            marks.quotes |= quotes;
            marks.backslashes |= backslashes;
            marks.opens |= opens;
            marks.closes |= closes;
        }
        marks
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod imp {
    //! The same, byte by byte in a form that compilers turn into vector code.
    #[inline(always)]
    fn mask<const N: usize>(block: &[u8; N], stops: impl Fn(u8) -> bool) -> u64 {
        block.iter().enumerate().fold(0, |mask, (i, &byte)| mask | u64::from(stops(byte)) << i)
    }

    #[inline(always)]
    pub(super) fn string_mask(block: &[u8; 16]) -> u32 {
        mask(block, |byte| byte == b'"' || byte == b'\\' || byte < 0x20) as u32
    }

    #[inline(always)]
    pub(super) fn marks(block: &[u8; 64]) -> super::Marks {
        super::Marks {
            quotes: mask(block, |byte| byte == b'"'),
            backslashes: mask(block, |byte| byte == b'\\'),
            opens: mask(block, |byte| byte | 0x20 == b'{'),
            closes: mask(block, |byte| byte | 0x20 == b'}'),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where brackets close, by the plainest of ways.
    fn plain(data: &[u8]) -> Option<usize> {
        let mut leap = Leap::default();
        leap.step(data)
    }

    #[test]
    fn leaps() {
        let mut state = 1u64;
        let mut next = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as usize
        };
        for round in 0..20_000 {
            let letters: &[u8] =
                if round % 2 == 0 { b"{}[]\"aaaaaaaaaaaaaaaaaaaaaaaa" } else { b"{}[]\"\\aaaaaaaaa" };
            let mut data = vec![b'['; 1 + next() % 3];
            data.extend((0..next() % 300).map(|_| letters[next() % letters.len()]));
            let expected = plain(&data);
            assert_eq!(Leap::default().find(&data, 0), expected, "{}", String::from_utf8_lossy(&data));
            let cut = next() % data.len();
            let mut leap = Leap::default();
            let found =
                leap.find(&data[..cut], 0).or_else(|| leap.find(&data[cut..], 0).map(|end| cut + end));
            assert_eq!(found, expected, "{} cut at {cut}", String::from_utf8_lossy(&data));
        }
    }
}
