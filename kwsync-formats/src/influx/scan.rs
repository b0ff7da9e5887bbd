//! Finding the next byte that matters, sixteen bytes at a time.

/// True for bytes that end or break a plain name or tag value: space and control characters,
/// `,`, `=`, backslash and DEL.
#[inline(always)]
pub(crate) const fn stops_name(byte: u8) -> bool {
    byte <= b' ' || matches!(byte, b',' | b'=' | b'\\' | 0x7f)
}

/// Offset of the first byte at or after `at` for which [`stops_name`] holds; `data.len()` if none.
#[inline(always)]
pub(crate) fn name_stop(data: &[u8], at: usize) -> usize {
    let mut at = at;
    loop {
        let rest = data.get(at..).unwrap_or_default();
        match rest.first_chunk::<16>() {
            Some(block) => match name_mask(block) {
                0 => at += 16,
                mask => return at + mask.trailing_zeros() as usize,
            },
            None => return at + rest.iter().position(|&b| stops_name(b)).unwrap_or(rest.len()),
        }
    }
}

/// Offset of the first `"`, backslash or newline at or after `at`; `data.len()` if none.
#[inline(always)]
pub(crate) fn string_stop(data: &[u8], at: usize) -> usize {
    let mut at = at;
    loop {
        let rest = data.get(at..).unwrap_or_default();
        match rest.first_chunk::<16>() {
            Some(block) => match string_mask(block) {
                0 => at += 16,
                mask => return at + mask.trailing_zeros() as usize,
            },
            None => {
                let stop = rest.iter().position(|&b| matches!(b, b'"' | b'\\' | b'\n'));
                return at + stop.unwrap_or(rest.len());
            }
        }
    }
}

#[cfg(feature = "arrow")]
pub(crate) use imp::Prefix;
pub(crate) use imp::name_mask;
pub(crate) use imp::string_mask;
#[cfg(feature = "arrow")]
pub(crate) use window::{KEY, Window};

#[cfg(feature = "arrow")]
mod window {
    //! Reading ahead without a bounds check for every byte: one check covers a key and the start of its value.
    //! Offsets are masked, so that the compiler sees by itself that the rest needs none.

    /// Bytes in a window: the longest key, and a value's sign, digits, point and digits.
    const LEN: usize = 64;
    /// Keys are shorter than this.
    pub(crate) const KEY: usize = 32;

    /// The next bytes of the input.
    #[derive(Clone, Copy)]
    pub(crate) struct Window<'a>(&'a [u8; LEN]);

    impl<'a> Window<'a> {
        /// The window at `at`, if the input goes on for so long.
        #[inline(always)]
        pub(crate) fn new(data: &'a [u8], at: usize) -> Option<Self> {
            data.get(at..)?.first_chunk().map(Self)
        }

        /// Sixteen bytes from `at`, which is below [`KEY`].
        #[inline(always)]
        pub(crate) fn block(self, at: usize) -> &'a [u8; 16] {
            debug_assert!(at < KEY);
            let at = at & (KEY - 1);
            self.0[at..at + 16].first_chunk().unwrap_or(&[0; 16])
        }

        /// The byte at `at`, which is below [`KEY`].
        #[inline(always)]
        #[cfg(feature = "json")]
        pub(crate) fn byte(self, at: usize) -> u8 {
            debug_assert!(at < KEY);
            self.0[at & (KEY - 1)]
        }

        /// Eight bytes from `at + more`, little endian; `at` is below [`KEY`] and `more` below 16.
        #[inline(always)]
        pub(crate) fn word(self, at: usize, more: usize) -> u64 {
            debug_assert!(at < KEY && more < 16);
            let at = (at & (KEY - 1)) + (more & 15);
            self.0[at..at + 8].first_chunk().map_or(0, |word| u64::from_le_bytes(*word))
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

    /// Bit i is set where byte i stops a name.
    #[inline(always)]
    pub(crate) fn name_mask(block: &[u8; 16]) -> u32 {
        let x = load(block);
        // SAFETY: SSE2 is there.
        unsafe {
            let eq = |byte: u8| _mm_cmpeq_epi8(x, _mm_set1_epi8(byte as i8));
            let low = _mm_cmpeq_epi8(_mm_min_epu8(x, _mm_set1_epi8(0x20)), x);
            let a = _mm_or_si128(low, eq(b','));
            let b = _mm_or_si128(eq(b'='), eq(b'\\'));
            _mm_movemask_epi8(_mm_or_si128(_mm_or_si128(a, b), eq(0x7f))) as u32
        }
    }

    /// Bit i is set where byte i is a quote, a backslash or a newline.
    #[inline(always)]
    pub(crate) fn string_mask(block: &[u8; 16]) -> u32 {
        let x = load(block);
        // SAFETY: SSE2 is there.
        unsafe {
            let eq = |byte: u8| _mm_cmpeq_epi8(x, _mm_set1_epi8(byte as i8));
            _mm_movemask_epi8(_mm_or_si128(_mm_or_si128(eq(b'"'), eq(b'\\')), eq(b'\n'))) as u32
        }
    }

    /// Whether `block` is `expected` where `mask` is set; `expected` is 0 elsewhere.
    #[cfg(feature = "arrow")]
    #[inline(always)]
    fn equal(block: &[u8; 16], mask: &[u8; 16], expected: &[u8; 16]) -> bool {
        // SAFETY: SSE2 is there.
        unsafe {
            let found = std::arch::x86_64::_mm_and_si128(load(block), load(mask));
            _mm_movemask_epi8(_mm_cmpeq_epi8(found, load(expected))) == 0xffff
        }
    }

    /// Up to 31 bytes that the input is expected to go on with, ready to be compared.
    #[cfg(feature = "arrow")]
    #[derive(Debug, Clone, Copy)]
    pub(crate) struct Prefix {
        first: [u8; 16],
        mask: [u8; 16],
        last: [u8; 16],
        len: u8,
    }

    #[cfg(feature = "arrow")]
    impl Prefix {
        /// `None` if `bytes` is empty or too long.
        pub(crate) fn new(bytes: &[u8]) -> Option<Self> {
            let len =
                u8::try_from(bytes.len()).ok().filter(|&len| len > 0 && usize::from(len) < super::KEY)?;
            let mut prefix = Self { first: [0; 16], mask: [0; 16], last: [0; 16], len };
            let head = bytes.len().min(16);
            prefix.first[..head].copy_from_slice(&bytes[..head]);
            prefix.mask[..head].fill(0xff);
            if let Some(last) = bytes.last_chunk::<16>() {
                prefix.last = *last;
            }
            Some(prefix)
        }

        /// The length of the prefix, if the window begins with it.
        #[inline(always)]
        pub(crate) fn matches(&self, window: super::Window<'_>) -> Option<usize> {
            let len = usize::from(self.len);
            let found = equal(window.block(0), &self.mask, &self.first)
                && (len <= 16 || equal(window.block(len - 16), &[0xff; 16], &self.last));
            found.then_some(len)
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod imp {
    //! The same by words of eight bytes.
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;

    /// High bit of every byte of `x` that is zero; exact, no false positives.
    #[inline(always)]
    const fn zero_bytes(x: u64) -> u64 {
        !(((x & !HIGH) + !HIGH) | x | !HIGH)
    }

    #[inline(always)]
    const fn eq(x: u64, byte: u8) -> u64 {
        zero_bytes(x ^ (ONES * byte as u64))
    }

    /// One bit a byte out of the high bits.
    #[inline(always)]
    const fn gather(high: u64) -> u32 {
        ((high >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56) as u32
    }

    #[inline(always)]
    fn both(block: &[u8; 16], word: impl Fn(u64) -> u64) -> u32 {
        let x = u128::from_le_bytes(*block);
        gather(word(x as u64)) | gather(word((x >> 64) as u64)) << 8
    }

    #[inline(always)]
    pub(crate) fn name_mask(block: &[u8; 16]) -> u32 {
        both(block, |x| {
            // Up to 0x20: adding 0x5f to the low seven bits does not reach the high bit.
            let low = !(((x & !HIGH) + ONES * 0x5f) | x) & HIGH;
            low | eq(x, b',') | eq(x, b'=') | eq(x, b'\\') | eq(x, 0x7f)
        })
    }

    #[inline(always)]
    pub(crate) fn string_mask(block: &[u8; 16]) -> u32 {
        both(block, |x| eq(x, b'"') | eq(x, b'\\') | eq(x, b'\n'))
    }

    /// Up to 31 bytes that the input is expected to go on with.
    #[cfg(feature = "arrow")]
    #[derive(Debug, Clone, Copy)]
    pub(crate) struct Prefix {
        bytes: [u8; 32],
        len: u8,
    }

    #[cfg(feature = "arrow")]
    impl Prefix {
        pub(crate) fn new(bytes: &[u8]) -> Option<Self> {
            let len =
                u8::try_from(bytes.len()).ok().filter(|&len| len > 0 && usize::from(len) < super::KEY)?;
            let mut prefix = Self { bytes: [0; 32], len };
            prefix.bytes[..bytes.len()].copy_from_slice(bytes);
            Some(prefix)
        }

        #[inline(always)]
        pub(crate) fn matches(&self, window: super::Window<'_>) -> Option<usize> {
            let len = usize::from(self.len);
            let (head, tail) = (window.block(0), window.block(16));
            let (first, last) = self.bytes.split_at(16);
            let found = head.starts_with(first.get(..len.min(16)).unwrap_or_default())
                && tail.starts_with(last.get(..len.saturating_sub(16)).unwrap_or_default());
            found.then_some(len)
        }
    }
}
