//! Text columns as views: short values inline, long ones in the input chunk or in the column's own buffer.
#![allow(unsafe_code)]

use std::sync::Arc;

use arrow_array::{ArrayRef, BinaryViewArray, StringViewArray};
use arrow_buffer::{Buffer, NullBuffer};
use bytes::Bytes;

use super::Stack;

/// Longest value that a view holds itself.
pub(crate) const INLINE: usize = 12;

/// `MASKS[n]` keeps the first n bytes of a little-endian word.
const MASKS: [u128; INLINE + 1] = {
    let mut masks = [0u128; INLINE + 1];
    let mut n = 1;
    while n <= INLINE {
        masks[n] = (1 << (8 * n)) - 1;
        n += 1;
    }
    masks
};

/// A piece of input.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Chunk<'a> {
    pub(crate) bytes: &'a [u8],
    /// The same bytes, if values may be left in them
    pub(crate) shared: Option<&'a Bytes>,
    /// Tells one chunk from the next.
    pub(crate) id: u64,
}

/// Builder of a text column.
#[derive(Debug, Default)]
pub(crate) struct Text {
    pub(crate) views: Vec<u128>,
    /// Buffer 0: values that were copied, because they had escapes or because it saves memory.
    own: Vec<u8>,
    /// Buffers 1 and up: chunks of the input.
    chunks: Vec<Buffer>,
    chunk_bytes: usize,
    last_chunk: u64,
    /// Bytes of values longer than [`INLINE`] in `chunks`.
    used: usize,
    /// The last batch used little of its chunks: copy from now on.
    copy: bool,
}

#[inline(always)]
pub(super) fn short_view(word: u128, len: usize) -> u128 {
    ((word & MASKS[len]) << 32) | len as u128
}

#[inline(always)]
fn long_view(value: &[u8], buffer: u32, offset: usize) -> u128 {
    let prefix = value.first_chunk::<4>().map_or(0, |b| u32::from_le_bytes(*b));
    value.len() as u128 | u128::from(prefix) << 32 | u128::from(buffer) << 64 | (offset as u128) << 96
}

impl Text {
    /// Appends the first `len` bytes, at most [`INLINE`], of `block`.
    #[inline(always)]
    pub(crate) fn push_short(&mut self, block: &[u8; 16], len: usize) {
        self.views.push(short_view(u128::from_le_bytes(*block), len));
    }

    /// Appends `data[start..end]`, copying what does not fit into the view.
    #[inline(always)]
    pub(crate) fn push_copy(&mut self, data: &[u8], start: usize, end: usize) {
        let len = end - start;
        if len <= INLINE
            && let Some(block) = data.get(start..).and_then(|rest| rest.first_chunk::<16>())
        {
            self.views.push(short_view(u128::from_le_bytes(*block), len));
        } else {
            self.push_long(data, start, end);
        }
    }

    #[inline]
    fn push_long(&mut self, data: &[u8], start: usize, end: usize) {
        let (rest, len) = (data.get(start..).unwrap_or_default(), end - start);
        let offset = self.own.len();
        match rest.first_chunk::<32>() {
            // A copy of fixed length is two instructions; what is too much is cut off.
            Some(block) if len <= 32 => {
                self.own.extend_from_slice(block);
                self.own.truncate(offset + len);
            }
            _ => self.own.extend_from_slice(rest.get(..len).unwrap_or_default()),
        }
        self.seal(offset);
    }

    /// The view of what stands in `own` from `offset` on.
    #[inline(always)]
    fn seal(&mut self, offset: usize) {
        let value = self.own.get(offset..).unwrap_or_default();
        if value.len() > INLINE {
            self.views.push(long_view(value, 0, offset));
        } else {
            let mut block = [0; 16];
            block[..value.len()].copy_from_slice(value);
            self.views.push(short_view(u128::from_le_bytes(block), value.len()));
            self.own.truncate(offset);
        }
    }

    /// Appends what `write` appends.
    pub(crate) fn push_with(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let offset = self.own.len();
        write(&mut self.own);
        self.seal(offset);
    }

    /// Appends bytes of the chunk; they stay where they are if they are long.
    #[inline(always)]
    pub(crate) fn push_ref(&mut self, chunk: Chunk<'_>, start: usize, end: usize) {
        let shared = match chunk.shared {
            Some(shared) if end - start > INLINE && !self.copy => shared,
            _ => return self.push_copy(chunk.bytes, start, end),
        };
        if self.last_chunk != chunk.id {
            self.last_chunk = chunk.id;
            self.chunk_bytes += shared.len();
            self.chunks.push(Buffer::from(shared.clone()));
        }
        self.used += end - start;
        let value = chunk.bytes.get(start..end).unwrap_or_default();
        self.views.push(long_view(value, self.chunks.len() as u32, start));
    }

    /// Forgets all values.
    pub(crate) fn clear(&mut self) {
        let mut views = std::mem::take(&mut self.views);
        views.clear();
        *self = Self { views, copy: self.copy, ..Self::default() };
    }

    /// Bytes held beside the input's.
    pub(crate) fn bytes(&self) -> usize {
        self.views.len() * 16 + self.own.len()
    }

    /// The column, and an empty builder. `input_bytes` is what the batch was made from.
    ///
    /// Every value must have been part of valid UTF-8, cut at ASCII characters.
    pub(crate) fn finish(
        &mut self,
        nulls: Option<NullBuffer>,
        input_bytes: usize,
        pool: &Stack<u128>,
    ) -> ArrayRef {
        let (views, buffers) = self.parts(input_bytes);
        // SAFETY: every view was made by this builder, from bytes that its user knows to be UTF-8; buffers and
        // offsets are those it was made with. Views of rolled-back rows are gone with their rows.
        Arc::new(unsafe { StringViewArray::new_unchecked(pool.lend(views), buffers.into(), nulls) })
    }

    /// The same, of bytes that need not be text.
    pub(crate) fn finish_bytes(
        &mut self,
        nulls: Option<NullBuffer>,
        input_bytes: usize,
        pool: &Stack<u128>,
    ) -> ArrayRef {
        let (views, buffers) = self.parts(input_bytes);
        // SAFETY: as above, and bytes need not be UTF-8.
        Arc::new(unsafe { BinaryViewArray::new_unchecked(pool.lend(views), buffers.into(), nulls) })
    }

    /// The views and the buffers that they point into.
    fn parts(&mut self, input_bytes: usize) -> (Vec<u128>, Vec<Buffer>) {
        let mut views = std::mem::take(&mut self.views);
        let mut own = std::mem::take(&mut self.own);
        let mut chunks = std::mem::take(&mut self.chunks);
        if self.copy {
            // Long values make up much of the input by now: leave them there.
            self.copy = own.len().saturating_mul(4) < input_bytes;
        } else if self.chunk_bytes > self.used.saturating_mul(4) {
            self.copy = true;
            for view in &mut views {
                let (buffer, offset) = ((*view >> 64) as u32 as usize, (*view >> 96) as u32 as usize);
                let len = *view as u32 as usize;
                if len > INLINE
                    && let Some(chunk) = buffer.checked_sub(1).and_then(|i| chunks.get(i))
                {
                    let place = own.len();
                    own.extend_from_slice(&chunk[offset..offset + len]);
                    *view = (*view & u128::from(u64::MAX)) | (place as u128) << 96;
                }
            }
            chunks.clear();
        }
        self.chunk_bytes = 0;
        self.used = 0;
        self.last_chunk = 0;
        self.own = Vec::with_capacity(own.len());
        let mut buffers = Vec::with_capacity(chunks.len() + 1);
        if !own.is_empty() || !chunks.is_empty() {
            if own.capacity() > 2 * own.len() {
                own.shrink_to_fit();
            }
            buffers.push(Buffer::from_vec(own));
        }
        buffers.append(&mut chunks);
        (views, buffers)
    }
}
