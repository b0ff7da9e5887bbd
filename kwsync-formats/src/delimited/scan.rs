//! Finding the next byte that matters to the splitter, sixteen at a time.
#![allow(unsafe_code)]

/// Up to four bytes to look for; fewer are repeated.
#[derive(Debug, Clone, Copy)]
pub(super) struct Needles([u8; 4]);

impl Needles {
    pub(super) const fn new(bytes: [u8; 4]) -> Self {
        Self(bytes)
    }

    /// Offset of the first of them at or after `at`; `data.len()` if there is none.
    #[inline(always)]
    pub(super) fn find(&self, data: &[u8], at: usize) -> usize {
        let mut at = at;
        loop {
            let rest = data.get(at..).unwrap_or_default();
            match rest.first_chunk::<16>() {
                Some(block) => match mask(block, self.0) {
                    0 => at += 16,
                    mask => return at + mask.trailing_zeros() as usize,
                },
                None => return at + rest.iter().position(|byte| self.0.contains(byte)).unwrap_or(rest.len()),
            }
        }
    }
}

/// Bit i is set where byte i is one of the needles.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn mask(block: &[u8; 16], [a, b, c, d]: [u8; 4]) -> u32 {
    use std::arch::x86_64::{
        _mm_cmpeq_epi8, _mm_loadu_si128, _mm_movemask_epi8, _mm_or_si128, _mm_set1_epi8,
    };
    // SAFETY: SSE2 is part of every x86-64; the reference is valid for 16 bytes, and the load needs no alignment.
    unsafe {
        let x = _mm_loadu_si128(block.as_ptr().cast());
        let eq = |byte: u8| _mm_cmpeq_epi8(x, _mm_set1_epi8(byte as i8));
        _mm_movemask_epi8(_mm_or_si128(_mm_or_si128(eq(a), eq(b)), _mm_or_si128(eq(c), eq(d)))) as u32
    }
}

#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
fn mask(block: &[u8; 16], needles: [u8; 4]) -> u32 {
    block.iter().rev().fold(0, |mask, byte| mask << 1 | u32::from(needles.contains(byte)))
}
