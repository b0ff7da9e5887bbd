//! UTF-8 checked once, in blocks, well ahead of the records that lie in them.
#![allow(unsafe_code)]

/// How much is checked at a time: enough to be fast, small enough to stay in the cache for the parser.
const BLOCK: usize = 64 << 10;

/// `bytes` as text.
///
/// # Safety
///
/// `bytes` must be valid UTF-8.
#[inline(always)]
pub(crate) unsafe fn trusted(bytes: &[u8]) -> &str {
    debug_assert!(std::str::from_utf8(bytes).is_ok());
    // SAFETY: the caller's promise.
    unsafe { std::str::from_utf8_unchecked(bytes) }
}

/// Remembers up to where a buffer is known to be valid.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Checked {
    /// Everything from the last record that was asked about up to here is valid.
    to: usize,
}

impl Checked {
    /// Is `data[start..end]`, which begins at a character, valid? Records are asked about in order.
    ///
    /// # Errors
    ///
    /// The offset of the first byte that is not.
    #[inline(always)]
    pub(crate) fn check(&mut self, data: &[u8], start: usize, end: usize) -> Result<(), usize> {
        if end <= self.to { Ok(()) } else { self.extend(data, start, end) }
    }

    #[cold]
    fn extend(&mut self, data: &[u8], start: usize, end: usize) -> Result<(), usize> {
        let from = self.to.max(start);
        let to = end.max(from.saturating_add(BLOCK)).min(data.len());
        self.to = match simdutf8::compat::from_utf8(data.get(from..to).unwrap_or_default()) {
            Ok(_) => to,
            Err(error) => from + error.valid_up_to(),
        };
        if self.to >= end { Ok(()) } else { Err(self.to) }
    }
}
