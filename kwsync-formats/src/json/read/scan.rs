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

/// Offset of the first quote or bracket at or after `at`; `data.len()` if none.
#[inline(always)]
pub(crate) fn structure_stop(data: &[u8], at: usize) -> usize {
    let mut at = at;
    loop {
        let rest = data.get(at..).unwrap_or_default();
        match rest.first_chunk::<16>() {
            Some(block) => match imp::structure_mask(block) {
                0 => at += 16,
                mask => return at + mask.trailing_zeros() as usize,
            },
            None => {
                let stop = rest.iter().position(|&b| matches!(b, b'"' | b'[' | b']' | b'{' | b'}'));
                return at + stop.unwrap_or(rest.len());
            }
        }
    }
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

    #[inline(always)]
    pub(super) fn structure_mask(block: &[u8; 16]) -> u32 {
        let x = load(block);
        // SAFETY: SSE2 is there.
        unsafe {
            // `[` and `{`, `]` and `}` differ in one bit.
            let folded = _mm_or_si128(x, _mm_set1_epi8(0x20));
            let eq = |byte: u8| _mm_cmpeq_epi8(folded, _mm_set1_epi8(byte as i8));
            let quote = _mm_cmpeq_epi8(x, _mm_set1_epi8(b'"' as i8));
            _mm_movemask_epi8(_mm_or_si128(_mm_or_si128(eq(b'{'), eq(b'}')), quote)) as u32
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod imp {
    //! The same, byte by byte in a form that compilers turn into vector code.
    #[inline(always)]
    fn mask(block: &[u8; 16], stops: impl Fn(u8) -> bool) -> u32 {
        block.iter().enumerate().fold(0, |mask, (i, &byte)| mask | u32::from(stops(byte)) << i)
    }

    #[inline(always)]
    pub(super) fn string_mask(block: &[u8; 16]) -> u32 {
        mask(block, |byte| byte == b'"' || byte == b'\\' || byte < 0x20)
    }

    #[inline(always)]
    pub(super) fn structure_mask(block: &[u8; 16]) -> u32 {
        mask(block, |byte| byte == b'"' || matches!(byte | 0x20, b'{' | b'}'))
    }
}
