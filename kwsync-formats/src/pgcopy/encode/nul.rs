//! Zero bytes in a block.

/// A bit for each byte that is zero, the first byte's the lowest.
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
#[inline(always)]
pub(super) fn zeros(block: &[u8; 16]) -> u32 {
    use std::arch::x86_64::{_mm_cmpeq_epi8, _mm_loadu_si128, _mm_movemask_epi8, _mm_setzero_si128};
    // SAFETY: the block has the 16 bytes that are loaded, at any alignment; SSE2 is part of x86-64.
    unsafe {
        _mm_movemask_epi8(_mm_cmpeq_epi8(_mm_loadu_si128(block.as_ptr().cast()), _mm_setzero_si128())) as u32
    }
}

/// A bit for each byte that is zero, the first byte's the lowest.
#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
pub(super) fn zeros(block: &[u8; 16]) -> u32 {
    block.iter().enumerate().fold(0, |bits, (at, byte)| bits | u32::from(*byte == 0) << at)
}
