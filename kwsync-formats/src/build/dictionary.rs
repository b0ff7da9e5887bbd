//! Text columns of few distinct values: each value once, and a key a row.
#![allow(unsafe_code)]

use std::sync::Arc;

use arrow_array::types::UInt32Type;
use arrow_array::{ArrayRef, DictionaryArray, StringArray, UInt32Array};
use arrow_buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};

use super::text::{INLINE, Text, short_view};

/// A column that would have more distinct values goes plain.
const MAX_ENTRIES: usize = 65_536;
/// A column whose distinct values take more bytes goes plain.
const MAX_BYTES: usize = 4 << 20;
/// So many entries in a row of the hash table that are not the one looked for, and the column goes plain: values
/// that were chosen to collide cost no more than that.
const MAX_PROBES: usize = 64;

/// Why a value was not appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The dictionary is full.
    Full,
    /// The value is not UTF-8.
    NotText,
}

/// Builder of a dictionary column. Its dictionary stays from batch to batch and only ever grows.
#[derive(Debug)]
pub(crate) struct Dictionary {
    pub(crate) keys: Vec<u32>,
    /// The distinct values one after another, and where each ends
    bytes: Vec<u8>,
    ends: Vec<i32>,
    /// What tells entries apart at a glance: a short value as its view, a long one by length and hash
    words: Vec<u128>,
    /// Open addressing: entry + 1, or 0
    slots: Vec<u32>,
    last: (u128, u32),
    /// The array of the first entries, as the last batch had it
    array: Option<(usize, ArrayRef)>,
}

impl Default for Dictionary {
    fn default() -> Self {
        Self {
            keys: Vec::new(),
            bytes: Vec::new(),
            ends: Vec::new(),
            words: Vec::new(),
            slots: vec![0; 64],
            last: (u128::MAX, 0),
            array: None,
        }
    }
}

const K: u64 = 0x9e37_79b9_7f4a_7c15;

#[inline(always)]
fn mix(word: u128) -> u64 {
    let state = ((word as u64).wrapping_mul(K) ^ (word >> 64) as u64).wrapping_mul(K);
    state ^ (state >> 32)
}

/// The word of a value that is longer than a view.
fn long_word(value: &[u8]) -> u128 {
    let mut chunks = value.chunks_exact(8);
    let mut state = 0;
    let mut add = |word: u64| state = (u64::rotate_left(state, 5) ^ word).wrapping_mul(K);
    for chunk in &mut chunks {
        add(chunk.first_chunk::<8>().map_or(0, |c| u64::from_le_bytes(*c)));
    }
    chunks.remainder().iter().for_each(|&byte| add(byte.into()));
    value.len() as u32 as u128 | u128::from(state) << 64
}

impl Dictionary {
    /// Appends the first `len` bytes, at most [`INLINE`], of `block`; false if that takes more than a look.
    #[inline(always)]
    pub(crate) fn push_short(&mut self, block: &[u8; 16], len: usize) -> bool {
        let word = short_view(u128::from_le_bytes(*block), len);
        if word == self.last.0 {
            self.keys.push(self.last.1);
            return true;
        }
        let mask = self.slots.len() - 1;
        let slot = self.slots.get(mix(word) as usize & mask).copied().unwrap_or(0);
        let key = slot.wrapping_sub(1);
        let found = self.words.get(key as usize) == Some(&word);
        if found {
            self.last = (word, key);
            self.keys.push(key);
        }
        found
    }

    /// Appends a value.
    pub(crate) fn push(&mut self, value: &[u8]) -> Result<(), Refused> {
        let short = value.len() <= INLINE;
        let word = if short {
            let mut block = [0; 16];
            block[..value.len()].copy_from_slice(value);
            short_view(u128::from_le_bytes(block), value.len())
        } else {
            long_word(value)
        };
        let mask = self.slots.len() - 1;
        let mut at = mix(word) as usize & mask;
        for _ in 0..MAX_PROBES {
            match self.slots.get(at).copied().unwrap_or(0).checked_sub(1) {
                None => return self.insert(at, value, word),
                Some(key) => {
                    if self.words.get(key as usize) == Some(&word) && (short || self.value(key) == value) {
                        // A word that is only likely to be the value's must not be found by a look.
                        if short {
                            self.last = (word, key);
                        }
                        self.keys.push(key);
                        return Ok(());
                    }
                }
            }
            at = (at + 1) & mask;
        }
        Err(Refused::Full)
    }

    #[cold]
    fn insert(&mut self, at: usize, value: &[u8], word: u128) -> Result<(), Refused> {
        // The record that it stands in has not been checked yet, and the dictionary outlives the record.
        if std::str::from_utf8(value).is_err() {
            return Err(Refused::NotText);
        }
        if self.words.len() >= MAX_ENTRIES || self.bytes.len() + value.len() > MAX_BYTES {
            return Err(Refused::Full);
        }
        let key = self.words.len() as u32;
        self.bytes.extend_from_slice(value);
        self.ends.push(self.bytes.len() as i32);
        self.words.push(word);
        self.keys.push(key);
        if let Some(slot) = self.slots.get_mut(at) {
            *slot = key + 1;
        }
        if self.words.len() * 2 > self.slots.len() {
            self.grow();
        }
        Ok(())
    }

    fn grow(&mut self) {
        let mask = self.slots.len() * 2 - 1;
        let mut slots = vec![0; mask + 1];
        for (key, &word) in (1..).zip(&self.words) {
            let mut at = mix(word) as usize & mask;
            while slots[at] != 0 {
                at = (at + 1) & mask;
            }
            slots[at] = key;
        }
        self.slots = slots;
    }

    /// The value of an entry.
    fn value(&self, key: u32) -> &[u8] {
        let end = |i: usize| self.ends.get(i).map_or(0, |&end| end as usize);
        let start = (key as usize).checked_sub(1).map_or(0, end);
        self.bytes.get(start..end(key as usize)).unwrap_or_default()
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        self.keys.len() * 4 + self.bytes.len() + self.words.len() * 20 + self.slots.len() * 4
    }

    /// The rows so far as a plain column; `valid` tells which of them have a value.
    pub(crate) fn to_plain(&self, valid: impl Fn(usize) -> bool) -> Text {
        let mut text = Text::default();
        for (row, &key) in self.keys.iter().enumerate() {
            let value = if valid(row) { self.value(key) } else { &[] };
            text.push_copy(value, 0, value.len());
        }
        text
    }

    /// The column, and a builder without rows.
    pub(crate) fn finish(&mut self, nulls: Option<NullBuffer>) -> ArrayRef {
        let values = match &self.array {
            Some((entries, array)) if *entries == self.words.len() => Arc::clone(array),
            _ => {
                let offsets = std::iter::once(0).chain(self.ends.iter().copied()).collect();
                let values = Buffer::from_vec(self.bytes.clone());
                // SAFETY: `insert` checked each value, and noted its end, in order.
                let array: ArrayRef = Arc::new(unsafe {
                    let offsets = OffsetBuffer::new_unchecked(offsets);
                    StringArray::new_unchecked(offsets, values, None)
                });
                self.array = Some((self.words.len(), Arc::clone(&array)));
                array
            }
        };
        let room = Vec::with_capacity(self.keys.len());
        let keys = std::mem::replace(&mut self.keys, room);
        let keys = UInt32Array::new(ScalarBuffer::from(keys), nulls);
        // SAFETY: every key that is not null is that of an entry, and `values` has all entries.
        Arc::new(unsafe { DictionaryArray::<UInt32Type>::new_unchecked(keys, values) })
    }
}
