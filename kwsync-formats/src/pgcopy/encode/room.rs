//! Memory that is written before it is ever read: clearing it first would cost a tenth of the encoder's time.
#![allow(unsafe_code)]

use std::mem::MaybeUninit;

/// Bytes that may be written behind the end of a value, and are overwritten by the next.
pub(super) const SLACK: usize = 32;

/// Memory to write to.
pub(super) type Room = [MaybeUninit<u8>];

/// Copies `bytes` to `at`.
///
/// # Panics
/// When there is no room.
#[inline(always)]
pub(super) fn store(room: &mut Room, at: usize, bytes: &[u8]) {
    let to = &mut room[at..at + bytes.len()];
    // SAFETY: both are as long as `bytes`, and a `&mut` overlaps with nothing.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to.as_mut_ptr().cast(), bytes.len()) }
}

/// Appends what `write` writes to the room it is given, `bound` bytes and [`SLACK`]. It returns how much it has
/// written, all of it, from the start on.
pub(super) fn append(out: &mut Vec<u8>, bound: usize, write: impl FnOnce(&mut Room) -> usize) {
    out.reserve(bound + SLACK);
    let written = write(out.spare_capacity_mut());
    assert!(written <= bound, "{written} bytes written where {bound} were planned");
    // SAFETY: `reserve` made room for `bound`, and `write` has written this much. `put` and its like write one value
    // behind the other without a gap, and count what they wrote.
    unsafe { out.set_len(out.len() + written) }
}
