//! Finding the bytes that matter to the splitter, sixty-four at a time.
#![allow(unsafe_code)]

/// Bytes looked at together.
const BLOCK: usize = 64;

/// Up to four bytes to look for; fewer are repeated. None of them is NUL.
#[derive(Debug, Clone, Copy)]
pub(super) struct Needles([[u8; 16]; 4]);

impl Needles {
    pub(super) fn new(bytes: [u8; 4]) -> Self {
        Self(bytes.map(|byte| [byte; 16]))
    }

    /// Walks over the needles in `data` from `at` on.
    #[inline(always)]
    pub(super) fn walk<'a>(&'a self, data: &'a [u8], at: usize) -> Walk<'a> {
        let mut walk = Walk { needles: self, data, base: at, mask: 0 };
        walk.load();
        walk
    }

    /// Bit i is set where byte i is a needle.
    #[inline(always)]
    fn mask(&self, block: &[u8; BLOCK]) -> u64 {
        let (parts, _) = block.as_chunks::<16>();
        parts.iter().rev().fold(0, |mask, part| mask << 16 | u64::from(mask16(part, &self.0)))
    }
}

/// The places of needles, one after the other.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    needles: &'a Needles,
    data: &'a [u8],
    base: usize,
    mask: u64,
}

impl Walk<'_> {
    #[inline(always)]
    fn load(&mut self) {
        let rest = self.data.get(self.base..).unwrap_or_default();
        self.mask = match rest.first_chunk::<BLOCK>() {
            Some(block) => self.needles.mask(block),
            None => self.load_end(),
        };
    }

    #[inline(never)]
    fn load_end(&self) -> u64 {
        let rest = self.data.get(self.base..).unwrap_or_default();
        let mut block = [0; BLOCK];
        if let Some(start) = block.get_mut(..rest.len()) {
            start.copy_from_slice(rest);
        }
        self.needles.mask(&block)
    }

    /// Offset of the next needle; `data.len()` if there is none.
    #[inline(always)]
    pub(super) fn next(&mut self) -> usize {
        while self.mask == 0 {
            self.base += BLOCK;
            if self.base >= self.data.len() {
                return self.data.len();
            }
            self.load();
        }
        let stop = self.base + self.mask.trailing_zeros() as usize;
        self.mask &= self.mask - 1;
        stop
    }

    /// Goes on at `at`, past needles that are none.
    #[inline(always)]
    pub(super) fn skip(&mut self, at: usize) {
        if at >= self.base + BLOCK {
            self.base = at;
            self.load();
        } else {
            // Offsets only grow.
            self.mask &= u64::MAX.checked_shl((at - self.base.min(at)) as u32).unwrap_or(0);
        }
    }
}

/// Bit i is set where byte i is one of the needles.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn mask16(block: &[u8; 16], needles: &[[u8; 16]; 4]) -> u16 {
    use std::arch::x86_64::{__m128i, _mm_cmpeq_epi8, _mm_loadu_si128, _mm_movemask_epi8, _mm_or_si128};
    let load = |bytes: &[u8; 16]| -> __m128i {
        // SAFETY: SSE2 is part of every x86-64; the reference is valid for 16 bytes, and the load needs no alignment.
        unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
    };
    let [a, b, c, d] = needles;
    let x = load(block);
    // SAFETY: SSE2 is part of every x86-64.
    unsafe {
        let eq = |needle| _mm_cmpeq_epi8(x, load(needle));
        _mm_movemask_epi8(_mm_or_si128(_mm_or_si128(eq(a), eq(b)), _mm_or_si128(eq(c), eq(d)))) as u16
    }
}

#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
fn mask16(block: &[u8; 16], needles: &[[u8; 16]; 4]) -> u16 {
    let is_needle = |byte: &u8| needles.iter().any(|needle| needle[0] == *byte);
    block.iter().rev().fold(0, |mask, byte| mask << 1 | u16::from(is_needle(byte)))
}
